//! Bad input: floods, forgeries, replays, damage. Memory stays bounded, real flows go on working, drops are counted,
//! and we cannot be used to flood others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod forge;
#[path = "../world/frames.rs"]
mod frames;
mod live;
mod neighbours;
mod simulated;
mod sizes;
mod unicast;
mod waiting;

use std::time::Duration;

use o7s::node::Limits;
use o7s::rib::Rib;
use o7s::sim::{Host, Link, Network};
use o7s::types::name::{HashAlg, Name, NameHash};
use o7s::{QosSpec, Udp4, aio};

const ENCRYPTED: &str = "X25519,chacha20-poly1305";
const SERVER: &str = "10.0.0.2:3435";
const CLIENT: &str = "10.0.0.1:3435";

/// Bounds that a test can reach.
const MAX_FLOWS: usize = 100;
const BACKLOG: usize = 20;
const REPLAY: usize = 500;
const RESEND: usize = 50;

fn limits() -> Limits {
    Limits::default().backlog(BACKLOG).replay(REPLAY).resend(RESEND)
}

fn hash(name: &str) -> NameHash {
    HashAlg::Md5.hash(&Name::new(name).unwrap())
}

fn unix(net: &Network) -> u64 {
    net.clock().unix_nanos()
}

/// A value of the only IPCP of a stack.
fn shim(rib: &Rib, name: &str) -> u64 {
    rib.child("ipcps").unwrap().children[0].get(name).unwrap()
}

#[track_caller]
fn is_bounded(rib: &Rib) {
    let node = rib.child("node").unwrap();
    let at_most = |name: &str, limit: usize| {
        let n = node.get(name).unwrap();
        assert!(n <= limit as u64, "{name}: {n} > {limit}\n{node}");
    };
    // Flows that the layer refused are still being taken back when it is full.
    at_most("flows", MAX_FLOWS + BACKLOG);
    at_most("replay_remembered", REPLAY);
    at_most("resendable", RESEND);
    // One each for flows, sleepers, expiry, ticks.
    at_most("timers", 2 * MAX_FLOWS + BACKLOG + 8);
    assert!(shim(rib, "flows") <= MAX_FLOWS as u64);
    for name in &rib.child("names").unwrap().children {
        assert!(name.get("waiting").unwrap() <= BACKLOG as u64);
    }
}

/// A server that echoes and a client, in simulation, both encrypted.
struct World {
    net: Network,
    server: Host,
    client: Host,
}

impl World {
    fn new(seed: u64, security: &str) -> Self {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        let config = |s: o7s::Builder| match security {
            "" => s.limits(limits()),
            _ => s.limits(limits()).security(security.parse().unwrap()),
        };
        let udp = Udp4::bind(SERVER).table(net.names()).max_flows(MAX_FLOWS);
        let server = net.host("server").udp4_with(SERVER, udp).stack(config).build();
        let client = net.host("client").udp4(CLIENT).stack(config).build();
        Self { net, server, client }
    }

    /// Echoes whatever comes over any flow to "echo".
    fn serve(&self) {
        let listener = self.server.listen("echo");
        let net = self.net.clone();
        self.net.spawn(async move {
            while let Ok(flow) = listener.accept_async().await {
                net.spawn(async move {
                    while let Ok(data) = flow.read_bytes().await {
                        if flow.write(&data).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    async fn connect(&self, qos: QosSpec) -> aio::Flow {
        self.client.stack().flow("echo").qos(qos).alloc_async().await.unwrap()
    }

    fn rib(&self) -> Rib {
        self.server.stack().rib()
    }
}

async fn ping(net: &Network, flow: &aio::Flow, i: u32) -> Duration {
    let start = net.now();
    flow.write(&i.to_be_bytes()).await.unwrap();
    assert_eq!(&flow.read_bytes().await.unwrap()[..], i.to_be_bytes());
    net.now().since(start)
}
