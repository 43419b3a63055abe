//! More requests than a server has time for, and packets for flows that there are not: what they cost in memory, what honest ones
//! notice of them, and what comes back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::base::rng::{Randomness, Rng};
use o7s::oap::client::Client;
use o7s::sim::{Host, Link, Network, Verdict};
use o7s::types::name::{HashAlg, Name, NameHash};
use o7s::wire::udp::{FlowReply, FlowRequest, Mgmt};
use o7s::{QosSpec, SecurityConfig};

use crate::ends::{count, serve};
use crate::heap;

const SERVER: &str = "10.0.0.2:3435";
const MIB: i64 = 1 << 20;

fn encrypted() -> SecurityConfig {
    "X25519".parse().unwrap()
}

fn hash(name: &str) -> NameHash {
    HashAlg::Md5.hash(&Name::new(name).unwrap())
}

struct World {
    net: Network,
    server: Host,
    /// Datagrams of the server, by whom they went to.
    sent: Rc<RefCell<BTreeMap<SocketAddr, Vec<Vec<u8>>>>>,
}

impl World {
    fn new(seed: u64, security: SecurityConfig) -> Self {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        let server = net.host("server").udp4(SERVER).stack(|s| s.security(security)).build();
        Self { net, server, sent: Rc::default() }
    }

    /// Keeps what the server sends from now on.
    fn listen_in(self) -> Self {
        let (sent, from): (_, SocketAddr) = (Rc::clone(&self.sent), SERVER.parse().unwrap());
        let rule = self.net.on_packet(move |packet| {
            if packet.src == from {
                sent.borrow_mut().entry(packet.dst).or_default().push(packet.data.to_vec());
            }
            Verdict::Pass
        });
        rule.keep();
        self
    }

    fn unix(&self) -> u64 {
        self.net.clock().unix_nanos()
    }
}

/// Makes requests that are good for nothing, one kind after the other.
struct Bogus {
    rng: Rng,
    randomness: Randomness,
    /// One that is good but for its time and name.
    oap: Vec<u8>,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Noise instead of a security header.
    Noise,
    /// A second before the window, and after it.
    Old,
    Ahead,
    /// No encryption, where it is required.
    Plain,
    /// A key of a group that is weaker than what is configured, by its form.
    Unknown,
    /// A certificate where there are no authorities.
    Certificate,
    /// Cut in the middle.
    Cut,
    /// Two of the same.
    Twice,
}

const FAULTS: [Fault; 8] = [
    Fault::Noise,
    Fault::Old,
    Fault::Ahead,
    Fault::Plain,
    Fault::Unknown,
    Fault::Certificate,
    Fault::Cut,
    Fault::Twice,
];

impl Bogus {
    fn new(rng: Rng) -> Self {
        let mut randomness = Randomness::from_seed([0x44; 32]);
        let oap = Client::start(0, &encrypted(), b"", &mut randomness).unwrap().1;
        Self { rng, randomness, oap }
    }

    /// A request that is good but for this, for the name with this hash.
    fn make(&mut self, fault: Fault, unix: u64, dst: NameHash) -> Vec<u8> {
        let mut oap = match fault {
            Fault::Plain | Fault::Twice => {
                Client::start(unix, &SecurityConfig::default(), b"", &mut self.randomness).unwrap().1
            }
            _ => self.oap.clone(),
        };
        self.rng.fill(&mut oap[2..10]);
        oap[16..24].copy_from_slice(&unix.to_be_bytes());
        match fault {
            Fault::Noise => self.rng.fill(&mut oap),
            Fault::Old => oap[16..24].copy_from_slice(&(unix - 21_000_000_000).to_be_bytes()),
            Fault::Ahead => oap[16..24].copy_from_slice(&(unix + 1_000_000_000).to_be_bytes()),
            Fault::Unknown => oap[36] = 0x31,
            Fault::Certificate => {
                oap[30..32].copy_from_slice(&9_u16.to_be_bytes());
                oap.splice(36..36, *b"\x30\x07\x30\x05not a");
                oap.extend_from_slice(b"signed");
            }
            Fault::Cut => oap.truncate(20),
            Fault::Plain | Fault::Twice => {}
        }
        let s_eid = self.rng.u32() | 0x10_0000;
        FlowRequest { s_eid, qos: QosSpec::RAW, dst, data: &oap }.to_vec()
    }
}

/// Where the flood comes from, of all its requests.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// One host with all of its ports.
    Host,
    /// A few.
    Hosts,
    /// Made up, each of them.
    Anywhere,
}

impl Source {
    fn address(self, rng: &mut Rng, n: u64) -> SocketAddr {
        let port = 1024 + rng.below(60_000) as u16;
        let ip = match self {
            Self::Host => [10, 6, 6, 6],
            Self::Hosts => [10, 6, 6, (n % 16) as u8],
            // More than any table has room for; the simulated network remembers a way to each.
            Self::Anywhere => [11, 0, rng.below(64) as u8, rng.u32() as u8],
        };
        SocketAddr::from((ip, port))
    }
}

/// Asks for flows for a second, a hundred of them, each from another host; returns how long each took.
fn honest(world: &World) -> Rc<RefCell<Vec<Option<Duration>>>> {
    let took: Rc<RefCell<Vec<Option<Duration>>>> = Rc::default();
    for n in 0..100_u64 {
        let host = world.net.host(&format!("client {n}")).udp4(&format!("10.1.0.{n}"));
        let host = host.stack(|s| s.security(encrypted())).build();
        let (net, took) = (world.net.clone(), Rc::clone(&took));
        world.net.spawn(async move {
            net.sleep(Duration::from_millis(10 * n)).await;
            let begun = net.now();
            let flow = host.stack().flow("vault").qos(QosSpec::RAW).timeout(Duration::from_secs(5)).alloc_async().await;
            let done = flow.as_ref().ok().map(|_| net.now().since(begun));
            took.borrow_mut().push(done);
            // The host stays, and its flow.
            net.sleep(Duration::from_secs(3600)).await;
            drop((flow, host));
        });
    }
    took
}

/// 99 of 100 honest allocations took no more than a second.
fn are_served(took: &[Option<Duration>]) -> bool {
    let good = took.iter().flatten().filter(|took| **took <= Duration::from_secs(1)).count();
    took.len() == 100 && good >= 99
}

#[test]
fn a_hundred_thousand_bogus_requests_a_second_keep_nobody_out() {
    for from in [Source::Host, Source::Hosts, Source::Anywhere] {
        let world = World::new(51, encrypted());
        let _flows = serve(&world.net, &world.server);
        let took = honest(&world);
        let (mut bogus, mut rng) = (Bogus::new(world.net.rng("bogus")), world.net.rng("from"));
        let names = [hash("vault"), hash("nobody")];
        // 1200 ms, the honest ones in the first second of them.
        let mut flood = || {
            for n in 0..120_000_u64 {
                let request = bogus.make(FAULTS[n as usize / 2 % FAULTS.len()], world.unix(), names[n as usize % 2]);
                world.net.inject(from.address(&mut rng, n), SERVER, &request);
                if n % 100 == 0 {
                    world.net.run_for(Duration::from_millis(1));
                }
            }
        };
        let before = heap::begin();
        flood();
        let peak = heap::peak() - before;
        world.net.run_for(Duration::from_secs(5));
        let incoming = world.server.stack().rib();
        assert!(are_served(&took.borrow()), "{from:?}: {:?}", took.borrow());
        let ipcp = &incoming.child("ipcps").unwrap().children[0];
        let (asked, lost) = (ipcp.get("requests_in").unwrap(), ipcp.get("management_drops").unwrap());
        assert!(asked + lost >= 120_000, "{asked} and {lost}");
        println!("{from:?}: {peak} bytes at most, {lost} of {} not looked at", asked + lost);
        // The network of the simulation included, and the hundred flows with their hosts.
        assert!(peak < 64 * MIB, "{from:?}: {peak} bytes");
        assert_eq!(count(&world.server, "accepted"), 100, "{from:?}");
        // Nothing of it adds up.
        let before = heap::begin();
        flood();
        world.net.run_for(Duration::from_secs(5));
        let (peak, left) = (heap::peak() - before, heap::live() - before);
        println!("{from:?}: again {peak} bytes at most, {left} in the end");
        assert!(peak < 4 * MIB && left < MIB, "{from:?}: {peak} bytes, {left} in the end");
    }
}

/// Requests in which nothing is wrong, from hosts that do not go on: each costs a key exchange.
#[test]
fn a_flood_of_good_requests_is_shared_fairly() {
    for from in [Source::Host, Source::Hosts, Source::Anywhere] {
        let world = World::new(52, encrypted());
        // An acceptor that takes 200 flows a second.
        let listener = world.server.listen("vault");
        world.server.stack().set_backlog("vault", 64).unwrap();
        let net = world.net.clone();
        world.net.spawn(async move {
            let mut flows = Vec::new();
            while let Ok(flow) = listener.accept_async().await {
                flows.push(flow);
                net.sleep(Duration::from_millis(5)).await;
            }
        });
        let took = honest(&world);
        let (mut bogus, mut rng) = (Bogus::new(world.net.rng("bogus")), world.net.rng("from"));
        let before = heap::begin();
        for n in 0..120_000_u64 {
            // As good as any, of this library like the honest ones, and cheap to make: the key is always the same.
            let mut oap = bogus.oap.clone();
            bogus.rng.fill(&mut oap[2..10]);
            let mark = o7s::crypto::hash::sha256(&[b"o7s request 5", &oap[..11]]);
            oap[11..16].copy_from_slice(&mark[..5]);
            oap[16..24].copy_from_slice(&world.unix().to_be_bytes());
            let request =
                FlowRequest { s_eid: 0x10_0000 + n as u32, qos: QosSpec::RAW, dst: hash("vault"), data: &oap };
            world.net.inject(from.address(&mut rng, n), SERVER, &request.to_vec());
            if n % 100 == 0 {
                world.net.run_for(Duration::from_millis(1));
            }
        }
        let peak = heap::peak() - before;
        world.net.run_for(Duration::from_secs(5));
        println!("{from:?}: {peak} bytes at most");
        assert!(peak < 64 * MIB, "{from:?}: {peak} bytes");
        assert!(are_served(&took.borrow()), "{from:?}: {:?}", took.borrow());
    }
}

/// A name without room asks those who understand it to show that they are where they say, and tells others no more than before.
#[test]
fn references_are_not_asked_for_what_they_do_not_know() {
    let world = World::new(56, encrypted()).listen_in();
    let _listener = world.server.listen("vault");
    world.server.stack().set_backlog("vault", 4).unwrap();
    let mut randomness = Randomness::from_seed([5; 32]);
    let mut ask = |n: u8, is_o7s: bool| {
        let from: SocketAddr = format!("10.6.6.{n}:4000").parse().unwrap();
        let mut oap = Client::start(world.unix(), &encrypted(), b"", &mut randomness).unwrap().1;
        oap[15] ^= u8::from(!is_o7s);
        let request = FlowRequest { s_eid: 0x10_0000, qos: QosSpec::RAW, dst: hash("vault"), data: &oap }.to_vec();
        world.net.inject(from, SERVER, &request);
        world.net.run_for(Duration::from_millis(20));
        let answers = world.sent.borrow_mut().remove(&from).unwrap_or_default();
        answers.into_iter().map(|answer| (answer[12..16].to_vec(), answer.len())).collect::<Vec<_>>()
    };
    for n in 0..4 {
        assert_eq!(ask(n, n % 2 == 0), [], "it waits");
    }
    let again = (-11_i32).to_be_bytes().to_vec();
    assert_eq!(ask(10, false), [(again.clone(), FlowReply::OVERHEAD)]);
    assert_eq!(ask(11, true), [(again, FlowReply::OVERHEAD + 8)]);
}

/// Whoever does not go away is told less and less, so that nobody is flooded with refusals.
#[test]
fn refusals_become_rare_for_those_who_go_on() {
    let world = World::new(53, encrypted()).listen_in();
    let _flows = serve(&world.net, &world.server);
    let mut bogus = Bogus::new(world.net.rng("bogus"));
    let attacker: SocketAddr = "10.6.6.6:4000".parse().unwrap();
    for n in 0..60_000_u64 {
        let request = bogus.make(FAULTS[n as usize % FAULTS.len()], world.unix(), hash("vault"));
        // Of whichever port: it is one host.
        world.net.inject(SocketAddr::new(attacker.ip(), 4000 + (n % 500) as u16), SERVER, &request);
        if n % 1000 == 0 {
            world.net.run_for(Duration::from_secs(1));
        }
    }
    world.net.run_for(Duration::from_secs(1));
    let answers: usize =
        world.sent.borrow().iter().filter(|(to, _)| to.ip() == attacker.ip()).map(|(_, all)| all.len()).sum();
    assert!((30..500).contains(&answers), "{answers} answers to 60 000 requests in a minute");
    assert!(count(&world.server, "ignored") > 50_000, "{}", count(&world.server, "ignored"));
    // Another host hears at once that something is wrong, and this one again when it was quiet.
    for (host, pause) in [("10.6.6.7:4000", 0), ("10.6.6.6:5000", 130)] {
        world.net.run_for(Duration::from_secs(pause));
        let request = bogus.make(Fault::Plain, world.unix(), hash("vault"));
        world.net.inject(host, SERVER, &request);
        world.net.run_for(Duration::from_millis(20));
        assert_eq!(world.sent.borrow()[&host.parse().unwrap()].len(), 1, "{host}");
    }
    // And an honest program behind the address of the attacker has its flow all the while.
    let request = |bogus: &mut Bogus| bogus.make(Fault::Noise, 0, hash("vault"));
    for _ in 0..1000 {
        world.net.inject(attacker, SERVER, &request(&mut bogus));
    }
    let client = world.net.host("neighbour").udp4("10.6.6.6:3435").stack(|s| s.security(encrypted())).build();
    let flow =
        async { client.stack().flow("vault").qos(QosSpec::RAW).timeout(Duration::from_secs(1)).alloc_async().await };
    assert!(world.net.block_on(flow).is_ok());
}

/// What a request is answered that would be refused in any case does not say whether its name is here.
#[test]
fn refusals_do_not_tell_names() {
    let world = World::new(54, encrypted()).listen_in();
    let _flows = serve(&world.net, &world.server);
    // Names that are here; that are bound here, and not in the layer; that are not here.
    let _unregistered = world.server.stack().bind("inner").unwrap();
    let names = ["vault", "inner", "nobody"];
    for fault in FAULTS {
        let mut told = Vec::new();
        for (n, name) in names.into_iter().enumerate() {
            let mut bogus = Bogus::new(Rng::from_seed([9; 32]));
            let from: SocketAddr = format!("10.6.{n}.{}:4000", fault as u8).parse().unwrap();
            let begun = world.net.now();
            let request = bogus.make(fault, world.unix(), hash(name));
            for _ in 0..1 + usize::from(fault == Fault::Twice) {
                world.net.inject(from, SERVER, &request);
            }
            let mut answers = Vec::new();
            for _ in 0..40 {
                world.net.run_for(Duration::from_micros(500));
                let mut new = world.sent.borrow_mut().remove(&from).unwrap_or_default();
                answers.extend(new.drain(..).map(|answer| (world.net.now().since(begun), answer)));
            }
            told.push(answers);
        }
        assert!(!told[0].is_empty(), "{fault:?}: there is an answer");
        assert_eq!(told[0], told[1], "{fault:?}: bound, but not in the layer");
        assert_eq!(told[0], told[2], "{fault:?}: not here");
    }
    // Of before the server was started: it may have been served then, and is not answered.
    for (n, name) in names.into_iter().enumerate() {
        let from: SocketAddr = format!("10.6.{n}.99:4000").parse().unwrap();
        let unix = world.unix() - 2 * world.net.now().as_nanos();
        let oap = Client::start(unix, &encrypted(), b"", &mut Randomness::from_seed([n as u8; 32])).unwrap().1;
        let request = FlowRequest { s_eid: 0x10_0000, qos: QosSpec::RAW, dst: hash(name), data: &oap }.to_vec();
        world.net.inject(from, SERVER, &request);
        world.net.run_for(Duration::from_millis(50));
        assert!(!world.sent.borrow().contains_key(&from), "{name}");
    }
    // Whoever would be served learns it from the flow.
    let mut randomness = Randomness::from_seed([7; 32]);
    let codes = names.map(|name| {
        let oap = Client::start(world.unix(), &encrypted(), b"", &mut randomness).unwrap().1;
        let request = FlowRequest { s_eid: 0x10_0000, qos: QosSpec::RAW, dst: hash(name), data: &oap }.to_vec();
        world.net.inject("10.6.9.9:4000", SERVER, &request);
        world.net.run_for(Duration::from_millis(50));
        let answer = world.sent.borrow_mut().remove(&"10.6.9.9:4000".parse().unwrap()).unwrap().remove(0);
        let Ok(Mgmt::Reply(FlowReply { response, .. })) = Mgmt::parse(&answer) else { panic!("no reply") };
        response
    });
    assert_eq!(codes, [0, -1007, -1007]);
}

/// A million packets for flows that there are not, among a hundred that there are.
#[test]
fn a_scan_of_endpoint_ids_yields_nothing() {
    for security in [encrypted(), SecurityConfig::default()] {
        let world = World::new(55, security.clone()).listen_in();
        let flows = serve(&world.net, &world.server);
        let client = world.net.host("client").udp4("10.0.0.1:3435").stack(|s| s.security(security)).build();
        let stack = client.stack().clone();
        let eids: Rc<RefCell<Vec<u32>>> = Rc::default();
        let told = Rc::clone(&eids);
        let rule = world.net.on_packet(move |packet| {
            if let Ok(Mgmt::Reply(FlowReply { d_eid, response: 0, .. })) = Mgmt::parse(packet.data) {
                told.borrow_mut().push(d_eid);
            }
            Verdict::Pass
        });
        rule.keep();
        let qos = QosSpec { timeout: 600_000, ..QosSpec::RAW };
        let ours = world.net.block_on(async move {
            let mut ours = Vec::new();
            for _ in 0..100 {
                let flow = stack.flow("vault").qos(qos).alloc_async().await.unwrap();
                flow.write(b"first").await.unwrap();
                ours.push(flow);
            }
            ours
        });
        world.net.run_for(Duration::from_secs(1));
        world.sent.borrow_mut().clear();
        let (mut rng, eids) = (world.net.rng("scan"), eids.borrow().clone());
        assert_eq!(eids.len(), 100);
        for n in 0..1_000_000_u32 {
            // Of one port, of many, and of the host of the client: in order, at random, and near those that there are.
            let eid = match n % 4 {
                0 => n + 4096,
                1 => eids[n as usize / 4 % 100] ^ (1 << rng.below(32)),
                _ => rng.u32(),
            };
            if eid == 0 || eids.contains(&eid) {
                continue;
            }
            let from = SocketAddr::from(([10, if n % 3 == 0 { 0 } else { 6 }, 0, 1], 4000 + (n % 5000) as u16));
            world.net.inject(from, SERVER, &[&eid.to_be_bytes()[..], b"who is there?"].concat());
            if n % 500 == 0 {
                world.net.run_for(Duration::from_millis(1));
            }
        }
        world.net.run_for(Duration::from_millis(50));
        let strays = world.sent.borrow().iter().filter(|(to, _)| to.port() != 3435).count();
        assert_eq!(strays, 0, "somebody was answered");
        let rib = world.server.stack().rib();
        let ipcp = &rib.child("ipcps").unwrap().children[0];
        assert!(ipcp.get("unknown_eid").unwrap() > 999_000, "{ipcp}");
        // Right at last, after so many tries: it would have a probe for it, at once, were it anybody.
        for (n, eid) in eids.iter().enumerate() {
            let from = SocketAddr::from(([10, 0, 0, 1], 5000 + n as u16));
            world.net.inject(from, SERVER, &[&eid.to_be_bytes()[..], b"there it is"].concat());
        }
        world.net.run_for(Duration::from_millis(50));
        let strays = world.sent.borrow().iter().filter(|(to, _)| to.port() != 3435).count();
        assert_eq!(strays, 0, "a scanner has found a flow");
        for (flow, here) in flows.borrow().iter().zip(&ours) {
            assert_eq!(flow.as_blocking().try_read(&mut [0; 99]), Ok(5));
            assert!(flow.as_blocking().try_read(&mut [0; 99]).is_err(), "of nobody else");
            assert!(here.as_blocking().try_write(b"second").is_ok());
        }
        world.net.run_for(Duration::from_millis(50));
        let got = flows.borrow().iter().filter(|flow| flow.as_blocking().try_read(&mut [0; 99]) == Ok(6)).count();
        assert_eq!(got, 100);
    }
}
