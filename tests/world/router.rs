//! One member of a unicast layer between two neighbours that take and count everything: data transfer by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panics")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use o7s::QosSpec;
use o7s::base::buf::{BufCache, BufPool, PacketBuf};
use o7s::base::rng::Rng;
use o7s::base::time::{Clock, Instant, ManualClock};
use o7s::flow::{Endpoint, Env, FlowKey, Host, Outgoing, Params, Port};
use o7s::ipcp::unicast::{Config, Parts, Unicast};
use o7s::ipcp::{Alarm, Component, Connection, Member};
use o7s::types::id::{Address, Eid};
use o7s::types::name::HashAlg;
use o7s::wire::dt::{LayerSizes, Pci};
use o7s::wire::enroll::{LayerConfig, LayerKind, Unicast as Parameters};
use o7s::wire::link_state::Lsu;

const OWN: Address = Address(1);
const FROM: Address = Address(2);
const TO: Address = Address(3);
struct NoHost;

impl Host for NoHost {
    fn arm(&self, _: Instant, _: FlowKey) {}
    fn tick(&self, _: FlowKey) {}
    fn released(&self, _: FlowKey) {}
}

struct NoAlarm;

impl Alarm for NoAlarm {
    fn set(&self, _: Instant) {}
    fn rang(&self) {}
}

/// A device that takes everything, and counts.
#[derive(Default)]
struct Drain {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Port for Drain {
    fn send(&self, _: Instant, pkts: &mut Outgoing) {
        let bytes: usize = pkts.iter().map(|p| p.len()).sum();
        self.packets.fetch_add(pkts.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn release(&self, _: Instant) {}
}

/// A member between two neighbours, without any stack.
pub(crate) struct Router {
    _unicast: Arc<Unicast>,
    from: Arc<Endpoint>,
    out: Arc<Drain>,
    cache: BufCache,
    now: Instant,
}

impl Router {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(0));
        let now = Instant::from_millis(1000);
        clock.advance_to(now);
        let pool = BufPool::new(1024);
        let env = Arc::new(Env {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            pool: Arc::clone(&pool),
            host: Arc::new(NoHost),
            inline: true,
        });
        let parameters = Parameters::default();
        let layer = LayerConfig {
            name: "bench".parse().unwrap(),
            hash: HashAlg::Sha3_256,
            kind: LayerKind::Unicast(parameters),
        };
        let unicast = Unicast::new(Parts {
            name: "router".into(),
            layer,
            unicast: parameters,
            address: OWN,
            config: Config::default(),
            clock,
            pool: Arc::clone(&pool),
            rng: Rng::from_seed([1; 32]),
            requests: std::sync::Weak::<o7s::node::Node>::new(),
            connections: std::sync::Weak::<o7s::node::member::Membership>::new(),
            alarm: Box::new(|_: Waker| Arc::new(NoAlarm)),
        })
        .unwrap();
        let connect = |key, component, peer, port: Arc<Drain>| {
            let endpoint = Endpoint::new(key, &env);
            let params = Params { qos: QosSpec::NP1, frct: None, protection: None, rx_limit: 1024 };
            endpoint.activate(now, port, params);
            let connection = Connection {
                component,
                endpoint: Arc::clone(&endpoint),
                peer,
                ours: false,
                versions: Vec::new(),
                early: Vec::new(),
            };
            unicast.connected(now, connection).unwrap();
            endpoint
        };
        let out = Arc::new(Drain::default());
        let from = connect(1, Component::DataTransfer, FROM, Arc::default());
        connect(2, Component::DataTransfer, TO, Arc::clone(&out));
        let management = connect(3, Component::Management, TO, Arc::default());
        let link = Lsu { dst: OWN, src: TO, seqno: 1 };
        management.receive(now, [PacketBuf::copy_of(&link.to_bytes())]);
        Self { _unicast: unicast, from, out, cache: BufCache::new(&pool), now }
    }

    /// Has `n` packets of `len` bytes forwarded, header included, so many together.
    pub(crate) fn forward(&mut self, n: usize, len: usize, together: usize) {
        let sizes = LayerSizes::default();
        let pci = Pci { dst: TO, qos: 0, ttl: 60, ecn: 0, eid: Eid(0x1234_5678_9abc_def0) };
        let rounds = n / together;
        let before = self.out.packets.load(Ordering::Relaxed);
        for _ in 0..rounds {
            let cache = &mut self.cache;
            self.from.receive(
                self.now,
                (0..together).map(|_| {
                    let mut pkt = cache.take(len);
                    pci.emit(sizes, pkt.append(len).unwrap()).unwrap();
                    pkt
                }),
            );
        }
        assert_eq!(self.out.packets.load(Ordering::Relaxed) - before, (rounds * together) as u64, "all arrive");
    }
}
