//! A routed layer in one file: two programs reach each other through a third, and know of each other only by name.
//!
//! Here all three are stacks in one process, over UDP on this host. As programs on three hosts each would make its own part.

#![allow(clippy::disallowed_methods, reason = "a program may sleep; tests may not")]

use std::error::Error;
use std::time::Duration;

use o7s::{IpcpHandle, QosSpec, Stack, Udp4, UnicastLayer};

/// A stack with a UDP layer, in which the router is at `router`, and who is a member of the layer above by way of it.
fn member(name: &str, router: &str) -> Result<(Stack, IpcpHandle), Box<dyn Error>> {
    let stack = Stack::new()?;
    let udp = stack.udp4(Udp4::outgoing("127.0.0.1").host("router", router))?;
    let member = stack.unicast(name).over(&udp).enroll("router")?;
    // Neighbours, with a flow over UDP between them.
    member.connect("router")?;
    Ok((stack, member))
}

fn main() -> Result<(), Box<dyn Error>> {
    // The router has only to be there: its member of the layer forwards by itself. It is found by its name in the layer
    // below, where it was registered when it was made.
    let router = Stack::new()?;
    let udp = router.udp4(Udp4::bind("127.0.0.1:0"))?;
    let at = udp.local_addr().ok_or("a UDP layer has an address")?.to_string();
    let forwarding = router.unicast("router").over(&udp).bootstrap(UnicastLayer::new("campus"))?;

    // A name that is registered in the routed layer is found by all its members.
    let (server, layer) = member("server", &at)?;
    layer.register("clock")?;
    server.bind_handler("clock", |flow| {
        let _ = flow.write(b"noon");
    })?;

    let (client, _) = member("client", &at)?;
    // It takes some seconds until the news of a new member is everywhere; until then the name is unknown, or out of reach.
    let flow = loop {
        match client.flow("clock").qos(QosSpec::DATA).timeout(Duration::from_secs(5)).alloc() {
            Ok(flow) => break flow,
            Err(error) => eprintln!("not yet: {error}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let mut buf = [0; 64];
    let len = flow.read(&mut buf)?;
    let neighbours = forwarding.connections().len() / 2;
    println!("the clock says {:?}", String::from_utf8_lossy(buf.get(..len).unwrap_or_default()));
    println!("through the {} layer, by way of a router with {neighbours} neighbours", flow.layer());
    Ok(())
}
