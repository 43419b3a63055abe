//! Memory held by packets that wait.

use std::cell::Cell;

use o7s::base::seq::Seq;
use o7s::node::Limits;
use o7s::wire::frct::{Flags, Pci};
use o7s::wire::udp::Mgmt;
use o7s::{QosSpec, aio};

use super::*;

const MIB: i64 = 1 << 20;

/// A server that does not read its flows, and strangers that have some of them.
struct Flood {
    net: Network,
    server: Host,
    flows: Vec<(String, u32)>,
    _held: Vec<aio::Flow>,
}

impl Flood {
    /// `per_host` flows for each of `hosts`.
    fn new(limits: Limits, qos: QosSpec, hosts: u32, per_host: u32) -> Self {
        let net = Network::new(21);
        net.set_default_link(Link::default().mtu(65_535));
        let server = net.host("server").udp4("10.0.0.1").stack(|b| b.limits(limits)).build();
        let listener = server.listen("s");
        let granted: Rc<Cell<u32>> = Rc::default();
        let eid = Rc::clone(&granted);
        let rule = net.on_packet(move |p| {
            if let Ok(Mgmt::Reply(reply)) = Mgmt::parse(p.data) {
                eid.set(reply.d_eid);
            }
            Verdict::Pass
        });
        rule.keep();
        let unix = server.stack().node().clock().unix_nanos();
        let mut rng = Randomness::from_seed([9; 32]);
        let (mut flows, mut held) = (Vec::new(), Vec::new());
        for host in 0..hosts {
            for i in 0..per_host {
                let from = format!("10.0.1.{}:{}", host + 1, 1000 + i);
                let request = request(unix + u64::from(i), "s", qos, (4711 + host * 1000 + i) << 8, &mut rng);
                granted.set(0);
                net.inject(&*from, SERVER, &request);
                held.push(net.block_on(listener.accept_async()).unwrap());
                // The reply may not have left yet.
                net.run_for(Duration::from_millis(10));
                assert_ne!(granted.get(), 0, "no reply");
                // The address proves to be the stranger's own.
                net.inject(&*from, SERVER, &granted.get().to_be_bytes());
                flows.push((from, granted.get()));
            }
        }
        Self { net, server, flows, _held: held }
    }

    /// Sends what `make` says to each of the flows, and what the stack holds for it then, besides the bytes on the wire.
    fn flood(&self, packets: u32, make: impl Fn(u32) -> Vec<u8>) -> (i64, i64) {
        self.settle();
        let (before, mut wire) = (heap::live(), 0);
        for n in 0..packets {
            for (from, eid) in &self.flows {
                let mut datagram = eid.to_be_bytes().to_vec();
                datagram.extend(make(n));
                wire += datagram.len() as i64;
                self.net.inject(from.as_str(), SERVER, &datagram);
            }
            if n % 16 == 0 {
                self.settle();
            }
        }
        self.settle();
        let rib = self.server.stack().rib();
        let ipcp = &rib.child("ipcps").unwrap().children[0];
        let lost: u64 = ["wrong_source", "malformed", "unknown_eid"].iter().map(|what| ipcp.get(what).unwrap()).sum();
        assert_eq!(lost, 0, "the flood does not get to the flows:\n{ipcp}");
        (heap::live() - before, wire)
    }

    /// As [`flood`](Self::flood), until the flows are quiet and have given back the buffers that circulate.
    fn flood_and_wait(&self, packets: u32, make: impl Fn(u32) -> Vec<u8>) -> (i64, i64) {
        let idle = || 2072 * self.server.stack().rib().get("node/idle_buffers").unwrap() as i64;
        self.settle();
        let before = heap::live() - idle();
        let (_, wire) = self.flood(packets, make);
        self.net.run_for(Duration::from_secs(1));
        (heap::live() - idle() - before, wire)
    }

    fn settle(&self) {
        let net = self.net.clone();
        self.net.block_on(async move { net.sleep(Duration::from_millis(100)).await });
    }

    /// Packets that were dropped for want of room, in a queue or in a window.
    fn refused(&self) -> u64 {
        let rib = self.server.stack().rib();
        let of = |flow: &o7s::rib::Rib| flow.get("overflow").unwrap() + flow.get("frct/out_of_window").unwrap_or(0);
        rib.child("flows").unwrap().children.iter().map(of).sum()
    }

    fn held(&self) -> i64 {
        self.server.stack().rib().child("node").unwrap().get("held_bytes").unwrap() as i64
    }
}

/// The first packet starts a run, the others come beyond a gap.
fn beyond_a_gap(n: u32, len: usize) -> Vec<u8> {
    let flags = if n == 0 { Flags::RDVS | Flags::DRF } else { Flags::DATA };
    let mut packet = Pci { flags, seqno: Seq(1000 + n), ..Pci::default() }.to_bytes().to_vec();
    packet.extend(vec![1; if n == 0 { 0 } else { len }]);
    packet
}

/// All in order, whatever window is advertised.
fn in_order(n: u32, len: usize) -> Vec<u8> {
    let flags = if n == 0 { Flags::RDVS | Flags::DRF } else { Flags::DATA };
    let mut packet = Pci { flags, seqno: Seq(1000 + n.max(1)), ..Pci::default() }.to_bytes().to_vec();
    packet.extend(vec![1; if n == 0 { 0 } else { len }]);
    packet
}

fn best_effort() -> QosSpec {
    QosSpec { ber: 1, ..QosSpec::BEST_EFFORT }
}

fn reliable() -> QosSpec {
    QosSpec { ber: 1, ..QosSpec::DATA }
}

fn raw() -> QosSpec {
    QosSpec { ber: 1, ..QosSpec::RAW }
}

#[test]
fn small_packets_behind_a_gap_hold_little() {
    let flood = Flood::new(Limits::default(), reliable(), 1, 4);
    let (held, wire) = flood.flood(4095, |n| beyond_a_gap(n, 1));
    assert!(held > 4 * 4000 * 8, "they are held: {held}");
    // 36 times the bytes of the wire with IP and UDP, when each of them kept a buffer of two kilobytes.
    assert!(held < 8 * (wire + 28 * 4 * 4095), "{wire} bytes hold {held}");
}

/// What strangers send to flows that nobody reads: the packets of one flow, of each flow of a peer, and of each flow of many
/// peers that are more than the bound, and how they are made.
struct Kind {
    qos: QosSpec,
    packets: [u32; 3],
    make: fn(u32) -> Vec<u8>,
}

fn kinds() -> [Kind; 5] {
    let large = [1500, 1500, 1000];
    [
        Kind { qos: reliable(), packets: large, make: |n| beyond_a_gap(n, 8000) },
        Kind { qos: reliable(), packets: large, make: |n| in_order(n, 8000) },
        Kind { qos: best_effort(), packets: large, make: |n| in_order(n, 8000) },
        Kind { qos: raw(), packets: large, make: |_| vec![1; 8000] },
        Kind { qos: raw(), packets: [50_000, 8000, 8000], make: |_| vec![1; 128] },
    ]
}

const FLOW: i64 = 2 * MIB;
const PEER: i64 = 5 * MIB;
const STACK: i64 = 12 * MIB;
/// What one flow may hold in front of its protocols as well.
const FRONT: i64 = 9 * MIB / 2;

fn limits() -> Limits {
    // Packets are not what is to be bounded.
    let limits = Limits::default().raw_queue(1 << 20);
    limits.flow_bytes(FLOW as usize).peer_bytes(PEER as usize).stack_bytes(STACK as usize)
}

/// More than the bound is refused, and what is held is about the bound: no more, and not much less, or something else was
/// in the way of the flood.
#[track_caller]
fn is_at(what: &str, flood: &Flood, (held, wire): (i64, i64), bound: i64, most: i64) {
    let (refused, counted) = (flood.refused(), flood.held());
    println!("{what}: {wire} bytes hold {held}, {counted} counted, of {bound}; {refused} packets refused");
    assert!(refused > 0, "{what}: nothing refused");
    assert!(held > bound / 2, "{what}: {wire} bytes hold only {held}");
    assert!(held < most, "{what}: {wire} bytes hold {held}");
}

/// Many flows, of which none holds more than a few packets: together they hold no more than few flows with many packets, and
/// all of it is counted.
#[test]
fn many_flows_that_hold_little_hold_no_more_together() {
    type Make = fn(u32) -> Vec<u8>;
    const FLOWS: u32 = 1000;
    // What else there is for a flow with a gap, or a queue, bytes.
    const MACHINES: i64 = FLOWS as i64 * 1024;
    let rows: [(&str, QosSpec, Make); 4] = [
        ("beyond a gap", reliable(), |n| beyond_a_gap(n, 600)),
        ("in order", reliable(), |n| in_order(n, 600)),
        ("best effort", best_effort(), |n| in_order(n, 600)),
        ("raw", raw(), |_| vec![1; 600]),
    ];
    for (what, qos, make) in rows {
        let flood = Flood::new(limits(), qos, 1, FLOWS);
        let (held, wire) = flood.flood_and_wait(16, make);
        is_at(what, &flood, (held, wire), PEER, PEER + MACHINES);
        assert!(flood.held() + MACHINES >= held, "{what}: {held} held, {} counted", flood.held());
    }
    // What is small takes little, from the first packet on.
    let flood = Flood::new(limits(), reliable(), 1, FLOWS);
    let (held, wire) = flood.flood_and_wait(16, |n| beyond_a_gap(n, 1));
    println!("small: {wire} bytes hold {held}, {} counted", flood.held());
    assert!(held < 4 * (wire + 28 * 16 * i64::from(FLOWS)), "{wire} bytes hold {held}");
    assert!(flood.held() + MACHINES >= held, "{held} held, {} counted", flood.held());
}

/// A flow of another host carries its messages while strangers have filled their own share, or the whole stack's.
#[test]
fn an_honest_flow_is_served_while_strangers_hold_all_they_may() {
    for (hosts, per_host) in [(1, 500), (4, 250)] {
        for qos in [reliable(), QosSpec::BEST_EFFORT] {
            let flood = Flood::new(limits(), reliable(), hosts, per_host);
            flood.flood(24, |n| beyond_a_gap(n, 600));
            assert!(flood.refused() > 0, "{hosts} hosts have filled nothing");
            let net = &flood.net;
            let client = net.host("client").udp4("10.0.0.2").build();
            let listener = flood.server.listen("t");
            let stack = client.stack().clone();
            let accepted = net.spawn(async move { listener.accept_async().await.unwrap() });
            let near = net.block_on(async move { stack.flow("t").qos(qos).alloc_async().await.unwrap() });
            let far = net.block_on(accepted);
            let sender = net.clone();
            let stats = far.as_blocking().into_async();
            let writer = net.spawn(async move {
                for n in 0..200_u32 {
                    near.write(&[&n.to_be_bytes()[..], &[0; 1000]].concat()).await.unwrap();
                    sender.sleep(Duration::from_millis(5)).await;
                }
                near
            });
            let reader = net.spawn(async move {
                for n in 0..200_u32 {
                    let got = far.read_bytes().await.unwrap();
                    assert_eq!(got[..4], n.to_be_bytes(), "{:?}", stats.as_blocking().counters());
                }
            });
            net.block_on(reader);
            let _near = net.block_on(writer);
        }
    }
}

fn flow_bytes() {
    for (n, kind) in kinds().into_iter().enumerate() {
        let flood = Flood::new(limits(), kind.qos, 1, 1);
        let held = flood.flood(kind.packets[0], kind.make);
        is_at(&format!("one flow, {n}"), &flood, held, FLOW, FLOW + FRONT + MIB / 2);
    }
}

fn peer_bytes() {
    for (n, kind) in kinds().into_iter().enumerate() {
        let flood = Flood::new(limits(), kind.qos, 1, 8);
        let held = flood.flood(kind.packets[1], kind.make);
        // The steps in which each flow charges what it holds, and the buffers that circulate.
        is_at(&format!("a peer's flows, {n}"), &flood, held, PEER, PEER + MIB);
        assert!(flood.held() <= PEER + MIB, "{}", flood.held());
    }
}

fn stack_bytes() {
    for (n, kind) in kinds().into_iter().enumerate() {
        let flood = Flood::new(limits(), kind.qos, 4, 4);
        let held = flood.flood(kind.packets[2], kind.make);
        is_at(&format!("the stack, {n}"), &flood, held, STACK, STACK + MIB);
        assert!(flood.held() <= STACK + MIB, "{}", flood.held());
    }
}

/// Requests that wait for an acceptor.
fn backlog_bytes() {
    const BOUND: i64 = MIB;
    let net = Network::new(23);
    let limits = Limits::default().backlog(1 << 20).backlog_bytes(BOUND as usize);
    let server = net.host("server").udp4("10.0.0.1").stack(|b| b.limits(limits)).build();
    let _listener = server.listen("s");
    let unix = server.stack().node().clock().unix_nanos();
    let mut rng = Randomness::from_seed([9; 32]);
    let before = heap::live();
    let mut wire = 0;
    for n in 0..4000u32 {
        let (_, data) = Client::start(unix, &SecurityConfig::default(), &[1; 1000], &mut rng).unwrap();
        let dst = HashAlg::Md5.hash(&Name::new("s").unwrap());
        let request = FlowRequest { s_eid: (4711 + n) << 8, qos: raw(), dst, data: &data }.to_vec();
        wire += request.len() as i64;
        net.inject(format!("10.0.1.{}:{}", 1 + n % 200, 1000 + n / 200).as_str(), SERVER, &request);
        if n % 16 == 0 {
            net.run_for(Duration::from_millis(10));
        }
    }
    net.run_for(Duration::from_millis(100));
    let (held, rib) = (heap::live() - before, server.stack().rib());
    let refused = rib.get("node/backlog_full").unwrap();
    println!("requests: {wire} bytes hold {held} of {BOUND}; {refused} refused");
    assert!(refused > 0, "{rib}");
    assert!(held > BOUND / 2, "{wire} bytes hold only {held}");
    // What else is remembered of each request, against its repetition.
    assert!(held < 3 * BOUND, "{wire} bytes hold {held}");
}

/// Packets that wait to be sent, or to be sent again, to a peer that is silent.
fn send_bytes() {
    const BOUND: i64 = 2 * MIB;
    for qos in [QosSpec::BEST_EFFORT, QosSpec::DATA] {
        let net = Network::new(24);
        let frct = o7s::settings::FrctConfig::default().send_bytes(BOUND as usize).send_queue(1 << 20).unsent(1 << 20);
        let limits = Limits::default().frct(frct);
        let server = net.host("server").udp4("10.0.0.1").build();
        let client = net.host("client").udp4("10.0.0.2").stack(|b| b.limits(limits)).build();
        let listener = server.listen("s");
        let stack = client.stack().clone();
        let accepted = net.spawn(async move { listener.accept_async().await.unwrap() });
        let flow = net.block_on(async move { stack.flow("s").qos(qos).alloc_async().await.unwrap() });
        let _far = net.block_on(accepted);
        net.isolate("10.0.0.1");
        let (before, mut written) = (heap::live(), 0);
        while flow.as_blocking().try_write(&[1; 1000]).is_ok() {
            written += 1000;
            assert!(written < 100 * MIB, "{qos:?}: the writer never waits");
            net.run_for(Duration::from_micros(10));
        }
        let held = heap::live() - before;
        println!("{qos:?}: {written} bytes written hold {held} of {BOUND}");
        assert!(held > BOUND / 2 && held < 2 * BOUND, "{qos:?}: {written} bytes written hold {held}");
    }
}

/// Messages in fragments: what is longer is not written, and what is read was no longer.
fn max_message() {
    const BOUND: i64 = 4 * MIB;
    let net = Network::new(25);
    // A message may be a quarter of what a flow holds.
    let frct = || o7s::settings::FrctConfig::default().max_message(BOUND as usize);
    let limits = || Limits::default().flow_bytes(4 * BOUND as usize).frct(frct());
    let host = |name: &str, at: &str| net.host(name).udp4(at).stack(|b| b.limits(limits())).build();
    let (server, client) = (host("server", "10.0.0.1"), host("client", "10.0.0.2"));
    let listener = server.listen("s");
    let stack = client.stack().clone();
    let accepted = net.spawn(async move { listener.accept_async().await.unwrap() });
    let flow = net.block_on(async move { stack.flow("s").qos(QosSpec::DATA).alloc_async().await.unwrap() });
    let far = net.block_on(accepted);
    let message = vec![1; BOUND as usize];
    let too_long = flow.as_blocking().try_write(&[&message[..], &[1]].concat());
    assert!(matches!(too_long, Err(o7s::WriteError::TooLarge { .. })), "{too_long:?}");
    let sent = net.spawn(async move { flow.write(&message).await.map(|n| (n, flow)) });
    let read = net.spawn(async move { (far.read_bytes().await.map(|bytes| bytes.len()), far) });
    assert_eq!(net.block_on(sent).unwrap().0, BOUND as usize);
    assert_eq!(net.block_on(read).0, Ok(BOUND as usize));
}

/// Every setting that bounds memory, and the flood that must not pass it. Bounds that are no settings are tested where they
/// are: of messages of management, of messages to the components of a member, of replies that can be sent again.
const BOUNDS: [(&str, fn()); 6] = [
    ("flow_bytes", flow_bytes),
    ("peer_bytes", peer_bytes),
    ("stack_bytes", stack_bytes),
    ("backlog_bytes", backlog_bytes),
    ("send_bytes", send_bytes),
    ("max_message", max_message),
];

#[test]
fn every_bound_in_bytes_holds() {
    for (name, flood) in BOUNDS {
        println!("{name}");
        flood();
    }
}

/// The settings of a stack that count bytes are those of which the documentation says so.
#[test]
fn every_setting_in_bytes_has_a_flood() {
    let text = [include_str!("../../src/node/limits.rs"), include_str!("../../src/frct/config.rs")].concat();
    let (mut doc, mut found) = (String::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("///") {
            doc += said;
            continue;
        }
        let setting = line.strip_prefix("pub fn ").map_or(line, |rest| rest.split('(').next().unwrap());
        let setting = setting.split(':').next().unwrap();
        if doc.contains("Sets ") && doc.contains("bytes") && !line.starts_with("#[") {
            found.push(setting.to_owned());
        }
        if !line.starts_with("#[") {
            doc.clear();
        }
    }
    found.sort();
    let mut rows: Vec<_> = BOUNDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    rows.sort();
    assert_eq!(found, rows);
}

#[test]
fn writers_wait_for_readers_before_much_is_queued() {
    for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
        let net = Network::new(22);
        let host = net.host("host").udp4("10.0.0.1").build();
        let listener = host.listen("x");
        let accepted = net.spawn(async move { listener.accept_async().await.unwrap() });
        let stack = host.stack().clone();
        let near = net.block_on(async move { stack.flow("x").qos(qos).alloc_async().await.unwrap() });
        let far = net.block_on(accepted);
        let (before, data) = (heap::live(), vec![1; 60_000]);
        let n = net.clone();
        let written = net.block_on(async move {
            let mut written = 0i64;
            while let Ok(Ok(len)) = n.timeout(Duration::from_secs(1), near.write(&data)).await {
                written += len as i64;
                assert!(written < 1000 * MIB, "{qos:?}: the writer never waits");
            }
            std::mem::forget(near);
            written
        });
        let held = heap::live() - before;
        assert!(held < 48 * MIB, "{qos:?}: {held} bytes for {written} written");
        drop(far);
    }
}
