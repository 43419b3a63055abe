//! Handlers that are busy, and the flows that have to make room for others then: those that keep a handler busy.

use std::net::UdpSocket;
use std::time::Duration;

use crossbeam_channel::Sender;
use o7s::node::Limits;
use o7s::{AllocError, QosSpec, ReadError, Stack, Udp4};

use super::*;

const RAW: QosSpec = QosSpec { ber: 1, ..QosSpec::RAW };

/// Says that the thread has ended that it belongs to.
struct Ended(Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

thread_local! {
    static ENDED: RefCell<Option<Ended>> = const { RefCell::new(None) };
}

/// A flow of one name is no handler's of another, however silent its requester is: it makes room for none.
#[test]
fn busy_handlers_cost_other_names_nothing() {
    let server = Stack::builder().limits(Limits::default().handlers(1)).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false)).unwrap();
    let at = net.local_addr().unwrap();
    for name in ["busy", "s"] {
        net.register(name).unwrap();
    }
    let (heard, hears) = crossbeam_channel::bounded(8);
    let (gives, given) = crossbeam_channel::bounded(8);
    let (ended, ends) = crossbeam_channel::bounded(8);
    server
        .bind_handler("busy", move |flow| {
            if flow.peer_data() == b"keep" {
                ENDED.set(Some(Ended(ended.clone())));
                let _ = gives.send(flow);
                return;
            }
            while let Ok(n) = flow.read(&mut [0; 64]) {
                let _ = heard.send(n);
            }
        })
        .unwrap();
    let client = Stack::new().unwrap();
    client.udp4(Udp4::bind("127.0.0.1:0").host("busy", &at.to_string()).system_resolver(false)).unwrap();
    let busy = |limit| client.flow("busy").qos(QosSpec::DATA).timeout(limit);
    // Two who only listen: one of a listener, one that a handler has handed on.
    let listener = server.bind("s").unwrap();
    let (socket, mut rng) = (UdpSocket::bind("127.0.0.1:0").unwrap(), Randomness::from_seed([9; 32]));
    let unix = server.node().clock().unix_nanos();
    socket.send_to(&request(unix, "s", RAW, 4711 << 8, &mut rng), at).unwrap();
    let quiet = listener.accept_timeout(Duration::from_secs(5)).unwrap();
    let (_, data) = Client::start(unix + 1, &SecurityConfig::default(), b"keep", &mut rng).unwrap();
    let dst = HashAlg::Md5.hash(&Name::new("busy").unwrap());
    socket.send_to(&FlowRequest { s_eid: 4712 << 8, qos: RAW, dst, data: &data }.to_vec(), at).unwrap();
    let kept = given.recv_timeout(Duration::from_secs(5)).unwrap();
    // From then on no handler has it, for certain.
    ends.recv_timeout(Duration::from_secs(10)).unwrap();
    // The handler is busy with somebody who is there.
    let holds = busy(Duration::from_secs(5)).alloc().unwrap();
    holds.write(b"here I am").unwrap();
    assert_eq!(hears.recv_timeout(Duration::from_secs(5)), Ok(9));
    for _ in 0..3 {
        let late = busy(Duration::from_millis(100)).alloc().map(drop);
        assert!(matches!(late, Err(AllocError::TimedOut(_))), "{late:?}");
    }
    for (which, flow) in [("the listener's", &quiet), ("handed on", &kept)] {
        assert_eq!(flow.try_read(&mut [0; 9]), Err(ReadError::WouldBlock), "{which}");
    }
    assert_eq!(server.rib().get("node/silent_shed"), Some(0));
}
