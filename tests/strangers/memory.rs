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
        let lost: u64 = ["wrong_source", "malformed"].iter().map(|what| ipcp.get(what).unwrap()).sum();
        assert_eq!(lost, 0, "the flood does not get to the flows:\n{ipcp}");
        (heap::live() - before, wire)
    }

    fn settle(&self) {
        let net = self.net.clone();
        self.net.block_on(async move { net.sleep(Duration::from_millis(100)).await });
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

#[test]
fn a_flow_a_peer_and_a_stack_have_a_bound_each() {
    let limits = || Limits::default().flow_bytes(2 << 20).peer_bytes(5 << 20).stack_bytes(12 << 20);
    for (qos, make) in [
        (reliable(), (|n| beyond_a_gap(n, 8000)) as fn(u32) -> Vec<u8>),
        (reliable(), |n| in_order(n, 8000)),
        (best_effort(), |n| in_order(n, 8000)),
        (raw(), |_| vec![1; 8000]),
        (raw(), |_| vec![1; 1]),
    ] {
        // Each with its share of what a flow may hold in front of its protocols as well.
        let (held, wire) = Flood::new(limits(), qos, 1, 1).flood(1500, make);
        assert!(held < 7 * MIB, "one flow: {wire} bytes hold {held}");
        let flood = Flood::new(limits(), qos, 1, 8);
        let (held, wire) = flood.flood(1500, make);
        // 5 MiB, the steps in which each flow charges what it holds, and the buffers that circulate.
        assert!(held < 10 * MIB, "a peer's flows: {wire} bytes hold {held}");
        assert!(flood.held() <= 6 * MIB, "{}", flood.held());
        let flood = Flood::new(limits(), qos, 4, 4);
        let (held, wire) = flood.flood(1000, make);
        assert!(held < 16 * MIB, "the stack: {wire} bytes hold {held}");
        assert!(flood.held() <= 13 * MIB, "{}", flood.held());
    }
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
