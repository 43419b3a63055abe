//! A device, and a resolver: what a UDP layer is given from outside.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::thread::Builder;
use std::time::Duration;

use o7s::device::{Bell, BufCache, Datagram, Datagrams, FaultConfig, Faults, SendError};
use o7s::resolve::{Found, Resolver};
use o7s::{HashAlg, Name, NameHash};
use o7s::{QosSpec, Stack, Udp4};

use super::{BOUND, echo, round_trips};

/// A network in memory: every socket on it can be sent to.
#[derive(Default)]
struct Hub(Mutex<Vec<Weak<Plug>>>);

/// A device on it.
struct Plug {
    addr: SocketAddr,
    hub: Arc<Hub>,
    queue: Mutex<VecDeque<(SocketAddr, Vec<u8>)>>,
    bell: Bell,
}

impl Hub {
    fn plug(self: &Arc<Self>, addr: &str) -> Arc<Plug> {
        let (hub, queue, bell) = (Arc::clone(self), Mutex::default(), Bell::default());
        let plug = Arc::new(Plug { addr: addr.parse().unwrap(), hub, queue, bell });
        self.0.lock().unwrap().push(Arc::downgrade(&plug));
        plug
    }
}

impl Datagrams for Plug {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn max_datagram(&self) -> usize {
        9000
    }

    fn send(&self, dst: SocketAddr, data: &[u8], _: Option<usize>) -> Result<(), SendError> {
        let plugs = self.hub.0.lock().unwrap();
        let to = plugs.iter().filter_map(Weak::upgrade).find(|plug| plug.addr == dst).ok_or(SendError::Unreachable)?;
        to.queue.lock().unwrap().push_back((self.addr, data.to_vec()));
        to.bell.ring();
        Ok(())
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut queue = self.queue.lock().unwrap();
        let batch = queue.len().min(64);
        for (src, bytes) in queue.drain(..batch) {
            let mut data = cache.take(bytes.len());
            if data.extend_from_slice(&bytes).is_some() {
                out.push(Datagram::new(src, data));
            }
        }
        batch
    }

    fn wait(&self, timeout: Duration) {
        self.bell.wait(timeout);
    }

    fn interrupt(&self) {
        self.bell.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.bell.guard(timeout);
    }

    fn dismiss(&self) {
        self.bell.dismiss();
    }
}

/// Knows one name, and says so later, from a thread of its own.
struct Late(NameHash, SocketAddr);

impl Resolver for Late {
    fn resolve(&self, hash: &NameHash, found: Found) {
        let answer = (*hash == self.0).then_some(self.1);
        Builder::new().spawn(move || found.answer(answer)).unwrap();
    }
}

#[test]
fn flows_go_through_a_device_to_where_a_resolver_says() {
    let hub = Arc::new(Hub::default());
    let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
    let net = server.udp4_over(hub.plug("10.0.0.1:3435"), Udp4::bind("10.0.0.1").system_resolver(false)).unwrap();
    net.register("echo").unwrap();
    server.bind_handler("echo", echo).unwrap();
    let late = Arc::new(Late(HashAlg::Md5.hash(&Name::new("echo").unwrap()), net.local_addr().unwrap()));
    let config = Udp4::bind("10.0.0.2").resolver(late).system_resolver(false);
    client.udp4_over(hub.plug("10.0.0.2:3435"), config).unwrap();
    for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
        let flow = client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
        round_trips(&flow, 200);
    }
    assert!(client.flow("unknown").timeout(BOUND).alloc().is_err());
}

/// Loss, copies and delay in front of the devices of both ends cost reliable flows time; the stacks run their devices as
/// they are told to, through the faults.
#[test]
fn faults_in_front_of_devices_are_mended_by_reliable_flows() {
    let bad = FaultConfig::default().loss(0.1).duplicate(0.1).corrupt(0.05).jitter(Duration::from_millis(3));
    let hub = Arc::new(Hub::default());
    let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
    let there = Faults::new(hub.plug("10.0.0.1:3435"), 1, bad);
    assert_eq!(Datagrams::local_addr(&*there), there.inner().addr);
    let net = server.udp4_over(there, Udp4::bind("10.0.0.1").system_resolver(false)).unwrap();
    net.register("echo").unwrap();
    server.bind_handler("echo", echo).unwrap();
    let here = Faults::new(hub.plug("10.0.0.2:3435"), 2, bad);
    let config = Udp4::bind("10.0.0.2").host("echo", "10.0.0.1").system_resolver(false);
    client.udp4_over(here, config).unwrap();
    // With a checksum: there is no other that would notice what is damaged.
    let flow = client.flow("echo").qos(QosSpec { ber: 0, ..QosSpec::DATA }).checksum(true).timeout(BOUND);
    let flow = flow.alloc().unwrap();
    round_trips(&flow, 200);
    let stats = flow.frct_stats().unwrap();
    assert!(stats.retransmitted > 0, "{stats:?}");
    // A device that loses everything is one that nobody hears.
    let (deaf, hears) = (Stack::new().unwrap(), FaultConfig::default().loss(1.0));
    let config = Udp4::bind("10.0.0.3").host("echo", "10.0.0.1").system_resolver(false);
    deaf.udp4_over(Faults::new(hub.plug("10.0.0.3:3435"), 3, hears), config).unwrap();
    let unanswered = deaf.flow("echo").timeout(Duration::from_millis(300)).alloc().map(drop);
    assert!(matches!(unanswered, Err(o7s::AllocError::TimedOut(_))), "{unanswered:?}");
}
