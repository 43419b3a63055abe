//! An echo server and a client of it, each with a stack of its own, over UDP on this host.

#![allow(clippy::indexing_slicing, reason = "a read says how much of the buffer it has filled")]

use std::error::Error;
use std::io::{Write as _, stdout};
use std::time::Duration;

use o7s::{Flow, QosSpec, Stack, Udp4};

fn main() -> Result<(), Box<dyn Error>> {
    // The server. It is bound to any port of this host that is free; alone on its host it would be at "10.9.0.2", for
    // instance, and the port that of the layer, 3435.
    let server = Stack::new()?;
    let net = server.udp4(Udp4::bind("127.0.0.1:0"))?;
    let at = net.local_addr().ok_or("a UDP layer has an address")?.to_string();
    // The name can be asked for in this layer, and the handler gets the flows to it, each on a thread of its own.
    net.register("echo")?;
    server.bind_handler("echo", echo)?;

    // The client. It says at which host the name is, and is bound to a port that the system draws.
    let client = Stack::new()?;
    client.udp4(Udp4::outgoing("127.0.0.1").host("echo", &at))?;
    // `DATA` is reliable; what is not asked for is a flow on which packets may get lost.
    let flow = client.flow("echo").qos(QosSpec::DATA).alloc()?;
    for line in ["hello", "is anybody there?"] {
        flow.write(line.as_bytes())?;
        let mut buf = [0; 1500];
        let len = flow.read(&mut buf)?;
        // `println!` would panic if nobody reads it any more.
        writeln!(stdout(), "{line:?} came back as {:?}", String::from_utf8_lossy(&buf[..len]))?;
    }
    // Waits until the server has everything, and knows that this was all.
    flow.close(Duration::from_secs(1))?;
    Ok(())
}

fn echo(flow: Flow) {
    let mut buf = [0; 1500];
    // One read is one packet. Reading ends with an error when the client closes the flow.
    while let Ok(len) = flow.read(&mut buf) {
        if flow.write(&buf[..len]).is_err() {
            break;
        }
    }
}
