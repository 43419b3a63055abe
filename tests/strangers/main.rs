//! Costs of a stranger's packets: replays, reflection, amplification, state. They cost the stranger more than us.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod accepts;
mod amplify;
mod handlers;
#[path = "../world/heap.rs"]
mod heap;
mod memory;
mod replay;
mod state;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::base::rng::Randomness;
use o7s::oap::client::Client;
use o7s::sim::{Host, Link, Network, Verdict};
use o7s::types::name::{HashAlg, Name};
use o7s::wire::udp::FlowRequest;
use o7s::{QosSpec, SecurityConfig};

const ENCRYPTED: &str = "X25519,aes-256-gcm";
const SERVER: &str = "10.0.0.1:3435";
const CLIENT: &str = "10.0.0.2:3435";

/// A server, a client, and an observer of every packet.
struct World {
    net: Network,
    server: Host,
    client: Host,
}

impl World {
    fn new(seed: u64, security: &str) -> Self {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(Duration::from_millis(10)));
        let security: SecurityConfig = security.parse().unwrap_or_default();
        let server = net.host("server").udp4("10.0.0.1").stack(|b| b.security(security.clone())).build();
        let client = net.host("client").udp4("10.0.0.2").stack(|b| b.security(security.clone())).build();
        Self { net, server, client }
    }

    /// Records the data that goes from `src` to `dst`, keepalives included, management not.
    fn record(&self, src: &str, dst: &str) -> Rc<RefCell<Vec<Vec<u8>>>> {
        let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let recorded: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let to = Rc::clone(&recorded);
        let rule = self.net.on_packet(move |p| {
            if p.src == src && p.dst == dst && p.data[..4] != [0; 4] {
                to.borrow_mut().push(p.data.to_vec());
            }
            Verdict::Pass
        });
        rule.keep();
        recorded
    }
}

/// A request in good form for a flow to `name`, as anybody can make one.
fn request(unix_nanos: u64, name: &str, qos: QosSpec, s_eid: u32, rng: &mut Randomness) -> Vec<u8> {
    let (_, data) = Client::start(unix_nanos, &SecurityConfig::default(), &[], rng).unwrap();
    FlowRequest { s_eid, qos, dst: HashAlg::Md5.hash(&Name::new(name).unwrap()), data: &data }.to_vec()
}
