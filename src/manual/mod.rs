//! The manual: chapters that explain what no single item does.

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("doors.md")]
#[doc = ""]
#[doc = "# A complete shim"]
#[doc = ""]
#[doc = "A layer of two members at the ends of a pipe in memory, and two stacks that use it. It is also what `tests/doors`"]
#[doc = "adds to threaded, polled and simulated stacks."]
#[doc = ""]
#[doc = "```"]
#[doc = include_str!("../../tests/doors/pipe.rs")]
#[doc = "fn main() -> Result<(), Box<dyn std::error::Error>> {"]
#[doc = "    let (one, other) = (Arc::new(PipeEnd::default()), Arc::new(PipeEnd::default()));"]
#[doc = "    let (server, client) = (o7s::Stack::new()?, o7s::Stack::new()?);"]
#[doc = "    let net = server.add(PipeShim::info(), |layer| PipeShim::new(layer, &one, &other))?;"]
#[doc = "    client.add(PipeShim::info(), |layer| PipeShim::new(layer, &other, &one))?;"]
#[doc = "    net.register(\"greet\")?;"]
#[doc = "    server.bind_handler(\"greet\", |flow| drop(flow.write(b\"hello\")))?;"]
#[doc = "    let flow = client.flow(\"greet\").qos(o7s::QosSpec::DATA).alloc()?;"]
#[doc = "    assert_eq!(flow.read(&mut [0; 64])?, 5);"]
#[doc = "    Ok(())"]
#[doc = "}"]
#[doc = "```"]
pub mod doors {}
