//! Bad input: floods, forgeries, replays, damage. Memory stays bounded, real flows go on working, what is dropped is
//! counted, and nobody can use us to flood others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../world/frames.rs"]
mod frames;
mod neighbours;
mod unicast;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use o7s::base::rng::{Randomness, Rng};
use o7s::base::time::Clock as _;
use o7s::ipcp::shim::udp::Config;
use o7s::node::Limits;
use o7s::oap::client::Client;
use o7s::rib::Rib;
use o7s::sim::{Host, Link, Network, Verdict};
use o7s::types::name::{HashAlg, Name, NameHash};
use o7s::wire::oap::{Kex, Message};
use o7s::wire::udp::{FlowReply, FlowRequest, Mgmt};
use o7s::{AllocError, QosSpec, SecurityConfig, Stack, Udp4, UnicastLayer, aio};

const ENCRYPTED: &str = "X25519,chacha20-poly1305";
const SERVER: &str = "10.0.0.2:3435";
const CLIENT: &str = "10.0.0.1:3435";

/// Bounds that a test can reach.
const MAX_FLOWS: usize = 100;
const BACKLOG: usize = 20;
const REPLAY: usize = 500;
const RESEND: usize = 50;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.irm.backlog = BACKLOG;
    limits.replay = REPLAY;
    limits.resend = RESEND;
    limits
}

fn shim_config() -> Config {
    let mut config = Config::default();
    config.max_flows = MAX_FLOWS;
    config
}

fn hash(name: &str) -> NameHash {
    HashAlg::Md5.hash(&Name::new(name).unwrap())
}

// ----- forgeries -----

/// Makes datagrams that nobody should send.
struct Forge {
    rng: Rng,
    randomness: Randomness,
    /// A name that is registered at the victim.
    name: NameHash,
    /// A good request, to be sent again and again.
    recorded: Vec<u8>,
}

/// The kinds of datagrams that [`Forge::make`] makes.
const KINDS: u64 = 13;

impl Forge {
    fn new(rng: Rng, name: &str) -> Self {
        let randomness = Randomness::from_seed([0x66; 32]);
        Self { rng, randomness, name: hash(name), recorded: Vec::new() }
    }

    fn bytes(&mut self, max: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.rng.below(max + 1) as usize];
        self.rng.fill(&mut bytes);
        bytes
    }

    fn eid(&mut self) -> u32 {
        self.rng.u32() | 1
    }

    fn qos(&mut self) -> QosSpec {
        match self.rng.below(4) {
            0 => QosSpec::RAW,
            1 => QosSpec::DATA,
            2 => QosSpec { timeout: self.rng.below(3) as u32, ..QosSpec::DATA },
            _ => QosSpec {
                delay: self.rng.u32(),
                bandwidth: self.rng.u64(),
                availability: self.rng.u32() as u8,
                loss: self.rng.u32(),
                ber: self.rng.u32(),
                in_order: self.rng.chance(0.5),
                max_gap: self.rng.u32(),
                timeout: self.rng.u32(),
            },
        }
    }

    fn request(&mut self, dst: NameHash, data: &[u8]) -> Vec<u8> {
        FlowRequest { s_eid: self.eid(), qos: self.qos(), dst, data }.to_vec()
    }

    /// A request in which nothing is wrong.
    fn good(&mut self, unix_nanos: u64, config: &SecurityConfig) -> Vec<u8> {
        let oap = self.oap(unix_nanos, config);
        self.request(self.name, &oap)
    }

    fn oap(&mut self, unix_nanos: u64, config: &SecurityConfig) -> Vec<u8> {
        Client::start(unix_nanos, config, b"", &mut self.randomness).unwrap().1
    }

    fn make(&mut self, kind: u64, unix_nanos: u64) -> Vec<u8> {
        let plain = SecurityConfig::default();
        match kind {
            0 => self.bytes(200),
            1 => {
                // Management, with a code or without.
                let mut bytes = self.bytes(300);
                bytes.resize(bytes.len().max(48), 0);
                bytes[..4].fill(0);
                bytes[44] = self.rng.below(4) as u8;
                bytes
            }
            2 => {
                let oap = self.bytes(200);
                self.request(self.name, &oap)
            }
            3 => {
                // Unknown names.
                let oap = self.oap(unix_nanos, &plain);
                let mut other = [0; 16];
                self.rng.fill(&mut other);
                self.request(NameHash::new(&other).unwrap(), &oap)
            }
            4 => self.garbage_key(unix_nanos),
            5 => {
                // Too old, or from the future.
                let off = if self.rng.chance(0.5) { 30_000_000_000 } else { 5_000_000_000 };
                let time = if off > 10_000_000_000 { unix_nanos - off } else { unix_nanos + off };
                self.good(time, &plain)
            }
            6 if !self.recorded.is_empty() => self.recorded.clone(),
            6 | 7 => {
                self.recorded = self.good(unix_nanos, &plain);
                self.recorded.clone()
            }
            8 => {
                let good = self.good(unix_nanos, &plain);
                good[..self.rng.below(good.len() as u64) as usize].to_vec()
            }
            9 => {
                // Replies to nobody.
                let (s_eid, d_eid, data) = (self.eid(), self.eid(), self.bytes(100));
                let response = if self.rng.chance(0.5) { 0 } else { -(self.rng.below(2000) as i32) };
                FlowReply { s_eid, d_eid, response, data: &data }.to_vec()
            }
            10 | 11 => {
                // Data for EIDs that do not exist.
                let mut data = self.eid().to_be_bytes().to_vec();
                data.extend(self.bytes(1400));
                data
            }
            _ => {
                // A flipped bit.
                let mut bytes = self.good(unix_nanos, &plain);
                let bit = self.rng.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            }
        }
    }

    /// A request in good form, whose key is none.
    fn garbage_key(&mut self, unix_nanos: u64) -> Vec<u8> {
        let encrypted: SecurityConfig = ENCRYPTED.parse().unwrap();
        let good = self.oap(unix_nanos, &encrypted);
        let mut message = Message::parse_request(&good).unwrap();
        let mut key = message.kex.bytes.to_vec();
        let from = self.rng.below(key.len() as u64) as usize;
        self.rng.fill(&mut key[from..]);
        message.kex = Kex { bytes: &key, ..message.kex };
        let oap = message.to_vec().unwrap();
        self.request(self.name, &oap)
    }

    /// An address that belongs to somebody else.
    fn somebody(&mut self) -> SocketAddr {
        let ip = Ipv4Addr::new(11, self.rng.u32() as u8, self.rng.u32() as u8, self.rng.u32() as u8);
        SocketAddr::new(IpAddr::V4(ip), 1024 + self.rng.below(60_000) as u16)
    }
}

fn unix(net: &Network) -> u64 {
    net.clock().unix_nanos()
}

// ----- what is looked at -----

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
        let udp = Udp4::bind(SERVER).table(net.names()).config(shim_config());
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

// ----- in simulation -----

#[test]
fn a_flood_of_everything_is_survived() {
    let world = World::new(1, ENCRYPTED);
    let net = &world.net;
    world.serve();
    let mut forge = Forge::new(net.rng("forge"), "echo");
    net.block_on(async {
        let flow = world.connect(QosSpec::DATA).await;
        assert!(flow.as_blocking().is_encrypted());
        let inner = net.clone();
        let flood = net.spawn(async move {
            for i in 0..60_000u64 {
                let src = forge.somebody();
                let datagram = forge.make(i % KINDS, unix(&inner));
                inner.inject(src, SERVER, &datagram);
                if i % 30 == 0 {
                    inner.sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let mut pings = 0;
        while !flood.is_finished() {
            let took = ping(net, &flow, pings).await;
            assert!(took <= Duration::from_millis(50), "{took:?}");
            pings += 1;
            if pings % 10 == 0 {
                is_bounded(&world.rib());
            }
        }
        assert!(pings > 50, "{pings}");
    });
    let rib = world.rib();
    is_bounded(&rib);
    for (name, least) in [("malformed", 5000), ("unknown_eid", 9000), ("replies_unexpected", 4000), ("refused", 10_000)]
    {
        assert!(shim(&rib, name) >= least, "{name}\n{rib}");
    }
    for (name, least) in [("bad_oap", 10_000), ("replayed", 1)] {
        assert!(rib.child("node").unwrap().get(name).unwrap() >= least, "{name}\n{rib}");
    }
}

#[test]
fn whoever_is_answered_gets_no_more_than_was_sent_in_his_name() {
    for accepts in [true, false] {
        let world = World::new(2, "");
        let net = &world.net;
        if accepts {
            world.serve();
        }
        let listener = (!accepts).then(|| world.server.listen("echo"));
        let sent: Rc<RefCell<BTreeMap<SocketAddr, usize>>> = Rc::default();
        let (answered, refusals) = (Rc::clone(&sent), Rc::new(Cell::new(0)));
        let count = Rc::clone(&refusals);
        let server: SocketAddr = SERVER.parse().unwrap();
        net.on_packet(move |packet| {
            if packet.src == server {
                let refused = packet.data.get(12).is_some_and(|b| *b == 0xff);
                count.set(count.get() + usize::from(refused));
                // An acceptance has the hash of the request in it, by the protocol.
                let allowed = if refused { 1 } else { 2 };
                let left = answered.borrow_mut().remove(&packet.dst).unwrap_or(0);
                assert!(packet.data.len() <= allowed * left, "{} bytes for {left}", packet.data.len());
            }
            Verdict::Pass
        })
        .keep();
        let mut forge = Forge::new(net.rng("forge"), "echo");
        for i in 0..20_000u64 {
            let src = forge.somebody();
            // Not flows with keepalives: those are owed to whoever allocated them.
            let datagram = match forge.make(i % KINDS, unix(net)) {
                d if d.get(40..44).is_some_and(|timeout| timeout != [0; 4]) => continue,
                d => d,
            };
            *sent.borrow_mut().entry(src).or_default() += datagram.len();
            net.inject(src, SERVER, &datagram);
            if i % 100 == 0 {
                net.run_for(Duration::from_millis(1));
            }
        }
        net.run_for(Duration::from_secs(3));
        assert!(refusals.get() > 500, "{}", refusals.get());
        drop(listener);
    }
}

#[test]
fn requesters_that_never_complete_do_not_add_up() {
    for accepts in [true, false] {
        let world = World::new(3, "");
        let net = &world.net;
        if accepts {
            world.serve();
        }
        let listener = (!accepts).then(|| world.server.listen("echo"));
        let mut forge = Forge::new(net.rng("forge"), "echo");
        for i in 0..100_000u64 {
            let src = forge.somebody();
            let request = forge.good(unix(net), &SecurityConfig::default());
            net.inject(src, SERVER, &request);
            if i % 1000 == 0 {
                net.run_for(Duration::from_millis(20));
                is_bounded(&world.rib());
            }
        }
        net.run_for(Duration::from_secs(3));
        let rib = world.rib();
        is_bounded(&rib);
        assert_eq!(shim(&rib, "requests_in"), 100_000);
        assert!(shim(&rib, "refused") >= 90_000, "{rib}");
        if let Some(listener) = listener {
            assert_eq!(rib.get("names/echo/waiting"), Some(0), "{rib}");
            assert_eq!(rib.get("node/flows"), Some(0));
            // And it goes on as if nothing had been.
            net.block_on(async {
                let client = world.client.stack().clone();
                let near =
                    net.spawn(async move { client.flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap() });
                let far = listener.accept_async().await.unwrap();
                near.await.write(b"hello").await.unwrap();
                assert_eq!(&far.read_bytes().await.unwrap()[..], b"hello");
            });
        }
    }
}

#[test]
fn a_recorded_request_makes_one_flow() {
    let world = World::new(4, ENCRYPTED);
    let net = &world.net;
    world.serve();
    let requests = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&requests);
    let server: SocketAddr = SERVER.parse().unwrap();
    net.on_packet(move |packet| {
        if packet.dst == server && packet.data.starts_with(&[0; 4]) {
            record.borrow_mut().push((packet.src, packet.data.to_vec()));
        }
        Verdict::Pass
    })
    .keep();
    net.block_on(async {
        let flow = world.connect(QosSpec::DATA).await;
        let recorded = requests.borrow().clone();
        let (src, request) = recorded[0].clone();
        for i in 0..1000 {
            // From where it came and from elsewhere, soon and late.
            let src = if i % 2 == 0 { src } else { SocketAddr::new(src.ip(), 4000 + i as u16) };
            net.inject(src, SERVER, &request);
            net.sleep(Duration::from_millis(30)).await;
            if i % 100 == 0 {
                ping(net, &flow, i).await;
            }
        }
    });
    let rib = world.rib();
    assert_eq!(rib.get("node/accepted"), Some(1), "{rib}");
    assert!(rib.get("node/replayed").unwrap() > 500, "{rib}");
}

/// Records what the client sends over its flow, and lets a test send variations of it.
fn recorder(net: &Network) -> Rc<RefCell<Vec<Vec<u8>>>> {
    let packets: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let record = Rc::clone(&packets);
    let client: SocketAddr = CLIENT.parse().unwrap();
    net.on_packet(move |packet| {
        if packet.src == client
            && !packet.data.starts_with(&[0; 4])
            && packet.data.len() > 4
            && record.borrow().len() < 1000
        {
            record.borrow_mut().push(packet.data.to_vec());
        }
        Verdict::Pass
    })
    .keep();
    packets
}

#[test]
fn an_encrypted_flow_takes_no_forgeries() {
    let world = World::new(5, ENCRYPTED);
    let net = &world.net;
    world.serve();
    let packets = recorder(net);
    let mut rng = net.rng("forge");
    net.block_on(async {
        let flow = world.connect(QosSpec::DATA).await;
        for i in 0..2000 {
            ping(net, &flow, i).await;
            let recorded = packets.borrow().clone();
            let one = &recorded[rng.below(recorded.len() as u64) as usize];
            // Damaged, cut, lengthened, made up, and repeated as it was: all from the right address.
            let mut damaged = one.clone();
            let bit = 32 + rng.below((damaged.len() as u64 - 4) * 8) as usize;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let cut = one[..4 + rng.below(one.len() as u64 - 4) as usize].to_vec();
            let mut longer = one.clone();
            longer.push(0);
            let mut made_up = one.clone();
            rng.fill(&mut made_up[4..]);
            for forged in [damaged, cut, longer, made_up, one.clone()] {
                net.inject(CLIENT, SERVER, &forged);
                // And from a wrong one.
                net.inject("10.0.0.66:3435", SERVER, &forged);
            }
        }
        let bulk: Vec<u8> = (0..1000u32).flat_map(u32::to_be_bytes).collect();
        let max = flow.as_blocking().max_packet();
        for part in bulk.chunks(max) {
            flow.write(part).await.unwrap();
            assert_eq!(&flow.read_bytes().await.unwrap()[..], part);
        }
    });
    let rib = world.rib();
    assert!(shim(&rib, "wrong_source") >= 9000, "{rib}");
    let flow = &rib.child("flows").unwrap().children[0];
    let (forged, replayed) = (flow.get("bad_crypt").unwrap(), flow.get("replayed").unwrap());
    assert!(replayed >= 2000, "{rib}");
    assert!(forged + replayed >= 9900, "{rib}");
    assert_eq!(flow.get("frct/duplicates").unwrap() + flow.get("frct/late").unwrap(), 0, "{rib}");
}

#[test]
fn our_own_packets_come_back() {
    for security in [ENCRYPTED, ""] {
        let world = World::new(6, security);
        let net = &world.net;
        world.serve();
        // The network reflects everything that the client sends, in the server's name.
        let client: SocketAddr = CLIENT.parse().unwrap();
        let reflected: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let mirror = Rc::clone(&reflected);
        net.on_packet(move |packet| {
            if packet.src == client {
                mirror.borrow_mut().push(packet.data.to_vec());
            }
            Verdict::Pass
        })
        .keep();
        let inner = net.clone();
        net.spawn(async move {
            loop {
                for packet in reflected.take() {
                    inner.inject(SERVER, CLIENT, &packet);
                }
                inner.sleep(Duration::from_millis(1)).await;
            }
        });
        net.block_on(async {
            let flow = world.connect(QosSpec::DATA).await;
            for i in 0..200 {
                ping(net, &flow, i).await;
            }
        });
    }
}

/// The numbers by which we know flows have 32 random bits: nobody guesses one who has not been told.
#[test]
fn eids_are_random_in_all_their_bits() {
    let world = World::new(21, "");
    world.serve();
    let net = &world.net;
    let mut forge = Forge::new(net.rng("forge"), "echo");
    let eids: Rc<RefCell<Vec<u32>>> = Rc::default();
    let told = Rc::clone(&eids);
    let server: SocketAddr = SERVER.parse().unwrap();
    net.on_packet(move |p| {
        if p.src == server
            && let Ok(Mgmt::Reply(FlowReply { d_eid, response: 0, .. })) = Mgmt::parse(p.data)
        {
            told.borrow_mut().push(d_eid);
        }
        Verdict::Pass
    })
    .keep();
    for _ in 0..64 {
        let (src, request) = (forge.somebody(), forge.good(unix(net), &SecurityConfig::default()));
        net.inject(src, SERVER, &request);
        net.run_for(Duration::from_millis(30));
    }
    let eids = eids.borrow();
    assert!(eids.len() >= 60, "{}", eids.len());
    let (ones, zeros) = eids.iter().fold((0, 0), |(ones, zeros), e| (ones | e, zeros | !e));
    // A bit that is the same in all of them by chance: 2⁻⁵⁹ each.
    assert_eq!((ones, zeros), (u32::MAX, u32::MAX), "{eids:x?}");
    assert!(eids.iter().all(|e| *e >= 4096 && *e != u32::MAX), "a reference's, or nobody's");
    let mut distinct = eids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), eids.len());
}

/// Whoever asks a member for more flows than a neighbour needs gets no keys agreed on, and keeps no neighbour out.
#[test]
fn a_flood_of_requests_for_a_member_is_shed() {
    let net = Network::new(22);
    net.set_default_link(Link::default().latency(Duration::from_millis(5)));
    let security: SecurityConfig = ENCRYPTED.parse().unwrap();
    let host = |name: &str, at: &str| net.host(name).udp4(at).stack(move |b| b.security(security)).build();
    let (victim, neighbour) = (host("victim", SERVER), host("neighbour", CLIENT));
    let member = victim.stack().unicast("node").over(&victim.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    net.names().insert_at(&Name::new("node").unwrap(), SERVER.parse().unwrap());
    let mut forge = Forge::new(net.rng("forge"), "node");
    let attacker: SocketAddr = "10.6.6.6:3435".parse().unwrap();
    let count = |name: &str| victim.stack().rib().get(&format!("node/{name}")).unwrap();
    let flood = |forge: &mut Forge| {
        for _ in 0..300 {
            let request = forge.good(unix(&net), &security);
            net.inject(attacker, SERVER, &request);
        }
        net.run_for(Duration::from_millis(20));
    };
    for _ in 0..10 {
        flood(&mut forge);
    }
    assert!(count("shed") > 2900, "{}", count("shed"));
    assert!(count("flows") <= 40, "{}", count("flows"));
    // In the middle of it somebody joins and connects.
    let joins = net.spawn(async move {
        let b = neighbour.stack().unicast("other").over(&neighbour.udp4()[0]).enroll_async("node").await.unwrap();
        b.connect_async("node").await.unwrap();
        // Kept, or the member would be told that its neighbour has gone.
        (b.connections().len(), b, neighbour)
    });
    for _ in 0..100 {
        if joins.is_finished() {
            break;
        }
        flood(&mut forge);
    }
    let (connections, _b, _neighbour) = net.block_on(joins);
    assert_eq!(connections, 2);
    assert!(!member.connections().is_empty());
}

#[test]
fn replies_from_elsewhere_do_not_answer() {
    let world = World::new(7, "");
    let net = &world.net;
    let listener = world.server.listen("echo");
    let (client, other): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), "10.0.0.66:3435".parse().unwrap());
    // Whoever sees the request and is not the server says no, and yes.
    let inner = net.clone();
    net.on_packet(move |packet| {
        if packet.src == client && packet.data.starts_with(&[0; 4]) && packet.data[44] == 1 {
            let s_eid = u32::from_be_bytes(packet.data[4..8].try_into().unwrap());
            for response in [-1007, 0] {
                let reply = FlowReply { s_eid, d_eid: 77, response, data: &[] }.to_vec();
                inner.inject(other, client, &reply);
            }
        }
        Verdict::Pass
    })
    .keep();
    net.block_on(async {
        let stack = world.client.stack().clone();
        let near = net.spawn(async move { stack.flow("echo").qos(QosSpec::DATA).alloc_async().await });
        net.sleep(Duration::from_millis(100)).await;
        let far = listener.accept_async().await.unwrap();
        near.await.unwrap().write(b"hello").await.unwrap();
        assert_eq!(&far.read_bytes().await.unwrap()[..], b"hello");
    });
    assert!(shim(&world.client.stack().rib(), "replies_unexpected") >= 2);
}

#[test]
fn a_plain_flow_that_is_fed_garbage_harms_nobody_else() {
    let world = World::new(8, "");
    let net = &world.net;
    world.serve();
    let packets = recorder(net);
    let mut rng = net.rng("forge");
    net.block_on(async {
        for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
            let victim = world.connect(qos).await;
            ping(net, &victim, 1).await;
            let last = packets.borrow().last().cloned().unwrap();
            let other = world.connect(QosSpec::DATA).await;
            for i in 0..3000 {
                // Whoever can forge the address of a plain flow can break it; that is all he can do.
                let mut forged = last[..4].to_vec();
                forged.resize(4 + rng.below(60) as usize, 0);
                rng.fill(&mut forged[4..]);
                net.inject(CLIENT, SERVER, &forged);
                if i % 100 == 0 {
                    ping(net, &other, i).await;
                    is_bounded(&world.rib());
                }
            }
            drop(victim);
        }
    });
}

#[test]
fn floods_of_handlers_and_lookups_are_bounded() {
    let stack = Stack::new().unwrap();
    let mut config = Config::default();
    config.max_directory = 16;
    let net = stack.udp4(Udp4::bind("127.0.0.1:0").config(config).system_resolver(false)).unwrap();
    for i in 0..500 {
        let failed = stack.flow(&format!("name {i}")).alloc().map(drop);
        assert!(matches!(failed, Err(AllocError::Failed(_))));
    }
    let directory = net.counters().into_iter().find(|(name, _)| *name == "directory");
    assert!(directory.unwrap().1 <= 16);
}

// ----- against a live socket -----

/// A server that echoes, a client, and the server's address.
fn live() -> (Stack, Stack, SocketAddr) {
    let security: SecurityConfig = ENCRYPTED.parse().unwrap();
    let server = Stack::builder().limits(limits()).security(security).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").config(shim_config())).unwrap();
    net.register("echo").unwrap();
    server
        .bind_handler("echo", |flow| {
            let mut buf = [0; 2048];
            while let Ok(n) = flow.read(&mut buf) {
                if flow.write(&buf[..n]).is_err() {
                    return;
                }
            }
        })
        .unwrap();
    let addr = net.local_addr().unwrap();
    let client = Stack::builder().security(security).build().unwrap();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &addr.to_string()).system_resolver(false)).unwrap();
    (server, client, addr)
}

const BOUND: Duration = Duration::from_secs(20);

fn ping_live(flow: &o7s::Flow, i: u32) {
    let mut buf = [0; 64];
    flow.write(&i.to_be_bytes()).unwrap();
    assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(4));
    assert_eq!(buf[..4], i.to_be_bytes());
}

#[test]
fn a_live_socket_survives_a_flood() {
    let (server, client, addr) = live();
    let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flooding = Arc::clone(&stop);
    let clock = o7s::device::clock::OsClock::new();
    let flood = Builder::new()
        .spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut forge = Forge::new(Rng::from_seed([5; 32]), "echo");
            let mut sent = 0u64;
            while !flooding.load(Ordering::Relaxed) && sent < 200_000 {
                let datagram = forge.make(sent % KINDS, clock.unix_nanos());
                // A full buffer, or a refusal: so much the better.
                let _ = socket.send_to(&datagram, addr);
                sent += 1;
                if sent.is_multiple_of(64) {
                    std::thread::yield_now();
                }
            }
            sent
        })
        .unwrap();
    for i in 0..500 {
        ping_live(&flow, i);
        if i % 50 == 0 {
            is_bounded(&server.rib());
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(flood.join().unwrap() > 100);
    let rib = server.rib();
    is_bounded(&rib);
    assert!(shim(&rib, "unknown_eid") > 0 && shim(&rib, "refused") > 0, "{rib}");
    ping_live(&flow, 1000);
}

#[test]
fn a_live_socket_takes_datagrams_of_every_length() {
    let (server, client, addr) = live();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = Rng::from_seed([6; 32]);
    let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
    let mut random = vec![0; 9000];
    rng.fill(&mut random);
    for len in 0..=9000u32 {
        // Management: nothing but zeros, a request, a reply; and data.
        for code in 0..3 {
            let mut datagram = random[..len as usize].to_vec();
            let eid = datagram.len().min(4);
            datagram[..eid].fill(0);
            if let Some(at) = datagram.get_mut(44) {
                *at = code;
            }
            if code == 1 && len >= 63 {
                datagram[47..63].copy_from_slice(hash("echo").as_bytes());
            }
            socket.send_to(&datagram, addr).unwrap();
        }
        socket.send_to(&random[..len as usize], addr).unwrap();
        if len % 200 == 0 {
            ping_live(&flow, len);
        }
    }
    is_bounded(&server.rib());
    ping_live(&flow, 1);
}

#[test]
fn every_truncation_and_every_flipped_bit_of_a_request_is_survived() {
    let (server, client, addr) = live();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let clock = o7s::device::clock::OsClock::new();
    let mut forge = Forge::new(Rng::from_seed([7; 32]), "echo");
    let encrypted: SecurityConfig = ENCRYPTED.parse().unwrap();
    let good = forge.good(clock.unix_nanos(), &encrypted);
    for len in 0..good.len() {
        socket.send_to(&good[..len], addr).unwrap();
    }
    for bit in 0..good.len() * 8 {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        socket.send_to(&damaged, addr).unwrap();
        if bit % 100 == 0 {
            is_bounded(&server.rib());
        }
    }
    // The flows that came of it, if any, are silent; there is room for more.
    let flow = client.flow("echo").qos(QosSpec { timeout: 60_000, ..QosSpec::DATA }).timeout(BOUND).alloc();
    match flow {
        Ok(flow) => ping_live(&flow, 1),
        Err(AllocError::Failed(o7s::node::alloc::AllocError::Refused(_))) => {}
        Err(e) => panic!("{e}"),
    }
    is_bounded(&server.rib());
}
