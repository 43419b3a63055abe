//! A device of one's own under a UDP layer: a cable in memory, with a stack at each end.

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use o7s::device::{Bell, BufCache, Datagram, Datagrams, SendError};
use o7s::{QosSpec, Stack, Udp4};

/// What has arrived at one end and is still to be read.
#[derive(Default)]
struct Inbox {
    datagrams: Mutex<VecDeque<(SocketAddr, Vec<u8>)>>,
    /// Wakes the stack that waits for more.
    bell: Bell,
}

/// One end of the cable.
struct CableEnd {
    addr: SocketAddr,
    here: Arc<Inbox>,
    there: Arc<Inbox>,
}

impl Datagrams for CableEnd {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn max_datagram(&self) -> usize {
        9000
    }

    fn send(&self, _: SocketAddr, data: &[u8], _: Option<usize>) -> Result<(), SendError> {
        self.there.datagrams.lock().unwrap_or_else(PoisonError::into_inner).push_back((self.addr, data.to_vec()));
        self.there.bell.ring();
        Ok(())
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut arrived = self.here.datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = arrived.len().min(64);
        for (src, bytes) in arrived.drain(..batch) {
            // Buffers come from the stack, with room for its headers.
            let mut data = cache.take(bytes.len());
            if data.extend_from_slice(&bytes).is_some() {
                out.push(Datagram::new(src, data));
            }
        }
        batch
    }

    fn wait(&self, timeout: Duration) {
        self.here.bell.wait(timeout);
    }

    fn interrupt(&self) {
        self.here.bell.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.here.bell.guard(timeout);
    }

    fn dismiss(&self) {
        self.here.bell.dismiss();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (one, other) = (Arc::<Inbox>::default(), Arc::<Inbox>::default());
    let end = |addr: [u8; 4], here: &Arc<Inbox>, there: &Arc<Inbox>| {
        Arc::new(CableEnd { addr: (addr, 3435).into(), here: Arc::clone(here), there: Arc::clone(there) })
    };
    let (server, client) = (Stack::new()?, Stack::new()?);
    // The address is the device's own, and not said a second time.
    let net = server.udp4_over(end([10, 0, 0, 1], &one, &other), Udp4::bind("").system_resolver(false))?;
    net.register("greeter")?;
    server.bind_handler("greeter", |flow| {
        let _ = flow.write(b"hello through the cable");
    })?;
    client.udp4_over(end([10, 0, 0, 2], &other, &one), Udp4::bind("").host("greeter", "10.0.0.1"))?;
    let flow = client.flow("greeter").qos(QosSpec::DATA).alloc()?;
    let mut buf = [0; 64];
    let len = flow.read(&mut buf)?;
    println!("{}", String::from_utf8_lossy(buf.get(..len).unwrap_or_default()));
    Ok(())
}
