//! A server that was started again remembers no requests: what was recorded before is not served.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::sim::{Host, Link, Network, Verdict};
use o7s::{QosSpec, Udp4};

use crate::ends::{self, count};

const SERVER: &str = "10.0.0.2:3435";
const CLIENT: &str = "10.0.0.1:3435";

fn network() -> Network {
    let net = Network::new(22);
    net.set_default_link(Link::default().latency(Duration::from_millis(5)));
    net
}

fn serve(net: &Network) -> Host {
    let encrypted = |stack: o7s::Builder| stack.security("X25519".parse().unwrap());
    let host = net.host("server").udp4_with(SERVER, Udp4::bind(SERVER).table(net.names())).stack(encrypted).build();
    ends::serve(net, &host);
    host
}

#[test]
fn a_request_from_before_a_restart_is_not_served() {
    let net = network();
    let server = serve(&net);
    let client = net.host("client").udp4(CLIENT).stack(|s| s.security("X25519".parse().unwrap())).build();
    let recorded: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let answered: Rc<RefCell<usize>> = Rc::default();
    let (tape, answers) = (Rc::clone(&recorded), Rc::clone(&answered));
    let (from, to): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    net.on_packet(move |packet| {
        if (packet.src, packet.dst) == (from, to) {
            tape.borrow_mut().push(packet.data.to_vec());
        }
        *answers.borrow_mut() += usize::from(packet.src == to);
        Verdict::Pass
    })
    .keep();
    let flow = net.block_on(async { client.stack().flow("vault").qos(QosSpec::RAW).alloc_async().await.unwrap() });
    assert_eq!(count(&server, "accepted"), 1);
    let recorded = recorded.borrow().clone();
    assert!(!recorded.is_empty());

    server.crash();
    net.run_for(Duration::from_millis(300));
    let server = serve(&net);
    net.run_for(Duration::from_millis(300));
    let before = *answered.borrow();
    for datagram in &recorded {
        net.inject(CLIENT, SERVER, datagram);
    }
    net.run_for(Duration::from_secs(2));
    assert_eq!(count(&server, "accepted"), 0, "served again:\n{}", server.stack().rib());
    assert_eq!(*answered.borrow(), before, "nor is it answered");

    // Whoever asks now is served.
    let again = net.block_on(async { client.stack().flow("vault").qos(QosSpec::RAW).alloc_async().await.unwrap() });
    assert_eq!(count(&server, "accepted"), 1);
    drop((flow, again));
}
