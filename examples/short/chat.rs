//! A chat room: a broadcast layer, where everybody hears what anybody says.
//!
//! ```sh
//! chat ann 127.0.0.2             # the first in the room
//! chat bob 127.0.0.3 127.0.0.2   # another one, who enters by way of the first
//! ```

#![allow(clippy::indexing_slicing, reason = "a read says how much of the buffer it has filled")]

use std::error::Error;
use std::io::BufRead as _;
use std::net::Shutdown;
use std::thread;

use o7s::{BroadcastLayer, Stack, Udp4};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (name, own, via) = match args.as_slice() {
        [name, own] => (name, own, None),
        [name, own, via] => (name, own, Some(via)),
        _ => return Err("usage: chat NAME OWN-ADDRESS [ADDRESS-OF-ANOTHER]".into()),
    };
    // Underneath is UDP. There "room" is the name of any member of the room, here that of the one at `via`.
    let stack = Stack::new()?;
    let udp = Udp4::bind(own);
    let net = stack.udp4(if let Some(via) = via { udp.host("room", via) } else { udp })?;
    let member = stack.broadcast(&format!("member {name}")).over(&net);
    let member = if via.is_none() {
        member.bootstrap(BroadcastLayer::new("room"))?
    } else {
        let member = member.enroll("room")?;
        member.connect("room")?;
        member
    };
    // A program joins the layer with a flow. It is there for everybody in the room.
    let flow = stack.join("room")?;
    println!("{name} is in the room, at {}", net.local_addr().ok_or("a UDP layer has an address")?);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buf = [0; BroadcastLayer::MAX_PACKET];
            while let Ok(len) = flow.read(&mut buf) {
                println!("{}", String::from_utf8_lossy(&buf[..len]));
            }
        });
        let mut lines = std::io::stdin().lock().lines();
        let said = lines.try_for_each(|line| {
            flow.write(format!("{name}: {}", line?).as_bytes())?;
            Ok::<_, std::io::Error>(())
        });
        // Ends the thread that reads.
        flow.shutdown(Shutdown::Both);
        said
    })?;
    member.leave();
    Ok(())
}
