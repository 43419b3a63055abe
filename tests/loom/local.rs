//! Flows from memory to memory: a sender that should wait knows it.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;
use o7s::QosSpec;
use o7s::base::buf::PacketBuf;
use o7s::flow::{Endpoint, Params, Port};
use o7s::ipcp::local::LocalIpcp;
use o7s::ipcp::{Answer, Incoming, Info, Ipcp, Kind, Location, Reply, Request, Requests};
use o7s::types::name::NameHash;

use super::{NOW, check, params, pending};

/// The two sides of a request in one.
#[derive(Default)]
struct Desk {
    arrived: Mutex<Option<Incoming>>,
    port: Mutex<Option<Arc<dyn Port>>>,
}

impl Requests for Desk {
    fn incoming(&self, _now: o7s::base::time::Instant, request: Incoming) {
        *self.arrived.lock().unwrap() = Some(request);
    }
}

impl Answer for Desk {
    fn answered(&self, _token: u64, reply: Reply) {
        *self.port.lock().unwrap() = reply.result.ok();
    }
}

/// The port of one end, which leads to the other.
fn connect(near: &Arc<Endpoint>, far: &Arc<Endpoint>) -> Arc<dyn Port> {
    let desk = Arc::new(Desk::default());
    let requests: Arc<dyn Requests> = Arc::clone(&desk) as _;
    let layer = LocalIpcp::new(Info::new(Kind::Direct, "local", "local"), Arc::downgrade(&requests));
    let answer: Arc<dyn Answer> = Arc::clone(&desk) as _;
    let dst = NameHash::new(&[0; 32]).unwrap();
    let attempt = layer.request(
        NOW,
        Request { dst, at: Location::Here, qos: QosSpec::RAW, endpoint: near, answer, token: 0, data: &[] },
    );
    let arrived = desk.arrived.lock().unwrap().take().unwrap();
    let accepted = arrived.responder.accept(NOW, far, &[]).unwrap();
    far.activate(NOW, accepted.port, Params { rx_bytes: 1, ..params(None) });
    accepted.reply.send(NOW);
    drop(attempt);
    desk.port.lock().unwrap().take().unwrap()
}

/// More than an inbox takes without being busy.
fn large() -> PacketBuf {
    PacketBuf::copy_of(&vec![0; 1_200_000])
}

#[test]
fn a_sender_notices_a_busy_peer_while_another_sends() {
    check(|| {
        let (near, far) = (pending(0), pending(0));
        let port = connect(&near.endpoint, &far.endpoint);
        // Not read, so that the next one stays in the inbox.
        port.send(NOW, &mut [large()].into_iter().collect()).unwrap();
        let sender = {
            let port = Arc::clone(&port);
            thread::spawn(move || port.send(NOW, &mut [large()].into_iter().collect()).unwrap())
        };
        port.is_congested();
        sender.join().unwrap();
        assert!(far.endpoint.is_busy() && port.is_congested(), "it is busy, and no sender knows");
    });
}
