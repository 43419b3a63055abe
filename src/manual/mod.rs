//! The manual: chapters that explain what no single item does.
//!
//! | chapter | for |
//! |---|---|
//! | [`getting_started`] | a first program: flows, qualities of service, servers, encryption |
//! | [`concepts`] | names, layers, recursion |
//! | [`security`] | what is protected, and what is not |
//! | [`operation`] | operating a layer: metrics, logs; finding out why a flow does not come up |
//! | [`configuration`] | the configuration file: every table and key |
//! | [`simulation`] | tests of whole networks in virtual time |
//! | [`embedding`] | stacks without threads, event loops, the state of `no_std` |
//! | [`doors`] | what a program can bring along: devices, layers, policies, ciphers |
//! | [`wire`] | the bytes, and the extensions between two ends of this library |
//! | [`differences`] | what differs from the reference implementation |
//! | [`glossary`] | the terms |

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("concepts.md")]
pub mod concepts {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("operation.md")]
pub mod operation {}

#[cfg(feature = "sim")]
#[doc = include_str!("simulation.md")]
pub mod simulation {}

#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = include_str!("wire.md")]
pub mod wire {}

#[doc = include_str!("differences.md")]
pub mod differences {}

#[doc = include_str!("glossary.md")]
pub mod glossary {}

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
#[doc = "    server.bind_handler(\"greet\", |flow| { let _ = flow.write(b\"hello\"); })?;"]
#[doc = "    let flow = client.flow(\"greet\").qos(o7s::QosSpec::DATA).alloc()?;"]
#[doc = "    assert_eq!(flow.read(&mut [0; 64])?, 5);"]
#[doc = "    Ok(())"]
#[doc = "}"]
#[doc = "```"]
pub mod doors {}

#[cfg(test)]
mod tests;
