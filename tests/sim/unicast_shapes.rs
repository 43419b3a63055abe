//! Layers on layers, several ways between neighbours, and what goes through them.

use core::cell::RefCell;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::rc::Rc;

use o7s::base::time::Instant;
use o7s::ipcp::shim::resolve::HostTable;
use o7s::sim::{Host, Link, Loss, Network, Packet, Verdict};
use o7s::{IpcpHandle, QosSpec, Stack, Udp4, UnicastLayer, aio};

use super::world::layer::{Kind, Layer, noticed_after};
use super::world::watch::LOSSY_SETTLE;
use super::world::{ENCRYPTED, Script, expect, ms, secs, send};
use super::world::{plant, topology};

/// Registers a name at a member, and allocates a reliable flow to it.
async fn flow_between(net: &Network, from: &Stack, at: &Stack, member: &IpcpHandle) -> (aio::Flow, aio::Flow) {
    let listener = at.bind("sink").unwrap();
    member.register("sink").unwrap();
    let accepting = net.spawn(async move { (listener.accept_async().await.unwrap(), listener) });
    // The directory needs a moment, and a few when messages are lost.
    net.sleep(secs(3)).await;
    let near = from.flow("sink").qos(QosSpec::DATA).timeout(secs(60)).alloc_async().await.unwrap();
    // The listener is kept until the answer has arrived: requests are repeated.
    let (far, _listener) = accepting.await;
    (near, far)
}

/// Both ways, and the flow is closed in order.
async fn carry(net: &Network, (near, far): (aio::Flow, aio::Flow), total: usize, largest: usize) {
    let there = Script::new(net, "there", total, largest);
    let received = net.clone();
    let reader = net.spawn(async move {
        expect(&far, Script::new(&received, "there", total, largest)).await;
        far
    });
    send(&near, there).await;
    let closing = near.close(secs(120));
    let far = reader.await;
    closing.await.expect("all of it is acknowledged");
    drop(far);
}

#[test]
fn a_mebibyte_through_five_lossy_hops() {
    for seed in 0..2 {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(ms(5)).loss(Loss::Random(0.05)));
        let layer = Layer::build_with(net, 6, &topology::line(6), UnicastLayer::new("net"), noticed_after(secs(60)));
        layer.converge(LOSSY_SETTLE);
        let net = &layer.net;
        net.block_on(async {
            let (from, at) = (layer.hosts[0].stack(), layer.hosts[5].stack());
            let flow = flow_between(net, from, at, &layer.members[5]).await;
            carry(net, flow, 1 << 20, 1200).await;
        });
    }
}

#[test]
fn an_encrypted_mebibyte_through_five_lossy_hops() {
    let net = Network::new(6);
    net.set_default_link(Link::default().latency(ms(5)).loss(Loss::Random(0.05)));
    let kind = Kind { security: ENCRYPTED, ..Kind::default() };
    let layer = Layer::build_of(net, 6, &topology::line(6), UnicastLayer::new("net"), noticed_after(secs(60)), kind);
    layer.converge(LOSSY_SETTLE);
    let net = &layer.net;
    net.block_on(async {
        let (from, at) = (layer.hosts[0].stack(), layer.hosts[5].stack());
        let (near, far) = flow_between(net, from, at, &layer.members[5]).await;
        assert!(near.as_blocking().is_encrypted());
        carry(net, (near, far), 1 << 20, 1100).await;
    });
}

/// Three layers: members of the middle one on the ends of a line, of the top one on top of these.
#[test]
fn towers_on_a_line() {
    let net = Network::new(7);
    net.set_default_link(Link::default().latency(ms(2)));
    let bottom = Layer::build(net, 4, &topology::line(4), UnicastLayer::new("bottom"));
    let net = &bottom.net;
    let over = |i: usize, name: &str, lower: &IpcpHandle| bottom.hosts[i].stack().unicast(name).over(lower);
    net.block_on(async {
        let mut lower = [bottom.members[0].clone(), bottom.members[3].clone()];
        for layer in ["middle", "top"] {
            let [a, b] = [format!("{layer}-a"), format!("{layer}-b")];
            let first = over(0, &a, &lower[0]).bootstrap(UnicastLayer::new(layer)).unwrap();
            let second = over(3, &b, &lower[1]).enroll_async(&a).await.unwrap();
            second.connect_async(&a).await.unwrap();
            net.sleep(secs(1)).await;
            lower = [first, second];
        }
        let (from, at) = (bottom.hosts[0].stack(), bottom.hosts[3].stack());
        let flow = flow_between(net, from, at, &lower[1]).await;
        carry(net, flow, 100_000, 1000).await;
        // Routers in between carry it and know nothing of it.
        for router in &bottom.members[1..3] {
            assert_eq!(router.rib().get("flows"), Some(0));
        }
    });
}

#[test]
fn a_tower_in_one_stack() {
    let net = Network::new(8);
    let host = net.host("tower").udp4("10.0.0.1").udp4("10.0.0.2").build();
    let stack = host.stack();
    let [a, b] = [&host.udp4()[0], &host.udp4()[1]];
    net.names().insert_at(&"bottom-a".parse().unwrap(), a.local_addr().unwrap());
    net.block_on(async {
        let mut lower = [a.clone(), b.clone()];
        for layer in ["bottom", "middle", "top"] {
            let name = format!("{layer}-a");
            let first = stack.unicast(&name).over(&lower[0]).bootstrap(UnicastLayer::new(layer)).unwrap();
            let second = stack.unicast(&format!("{layer}-b")).over(&lower[1]).enroll_async(&name).await.unwrap();
            second.connect_async(&name).await.unwrap();
            net.sleep(secs(1)).await;
            lower = [first, second];
        }
        assert_eq!(lower[0].connections().len(), 2);
    });
}

/// Two members with two networks between them: one fails, the flow goes on over the other.
#[test]
fn two_ways_to_the_same_neighbour() {
    let net = Network::new(9);
    net.set_default_link(Link::default().latency(ms(2)));
    let tables = [HostTable::new(), HostTable::new()];
    let host = |i: usize| -> Host {
        let mut host = net.host(&format!("host-{i}"));
        for (way, table) in tables.iter().enumerate() {
            let addr = format!("10.{way}.0.{}", 1 + i);
            host = host.udp4_with(&addr, Udp4::bind(&addr).table(table));
        }
        host.build()
    };
    let hosts = [host(0), host(1)];
    // Through the first network the second member connects to the first one, through the second network the reverse.
    tables[0].insert_at(&"node-0".parse().unwrap(), hosts[0].udp4()[0].local_addr().unwrap());
    tables[1].insert_at(&"node-1".parse().unwrap(), hosts[1].udp4()[1].local_addr().unwrap());
    let how = || noticed_after(secs(1));
    let member = |i: usize| {
        let host: &Host = &hosts[i];
        host.stack().unicast(&format!("node-{i}")).over(&host.udp4()[0]).over(&host.udp4()[1])
    };
    let a = member(0).bootstrap(UnicastLayer::new("net")).unwrap();
    net.block_on(async {
        let b = member(1).enroll_async("node-0").await.unwrap();
        b.connect_with_async("node-0", how()).await.unwrap();
        a.connect_with_async("node-1", how()).await.unwrap();
        assert_eq!((a.connections().len(), b.connections().len()), (4, 4));
        let (near, far) = flow_between(&net, hosts[0].stack(), hosts[1].stack(), &b).await;
        for way in 0..2 {
            near.write(b"before").await.unwrap();
            assert_eq!(&far.read_bytes().await.unwrap()[..], b"before");
            net.partition(&[format!("10.{way}.0.1").as_str()], &[format!("10.{way}.0.2").as_str()]);
            net.sleep(ms(1500)).await;
            assert_eq!(b.connections().len(), 2, "one way is gone");
            near.write(b"after").await.unwrap();
            assert_eq!(&far.read_bytes().await.unwrap()[..], b"after");
            net.heal();
            net.sleep(secs(10)).await;
            assert_eq!(b.connections().len(), 4, "it is back");
        }
    });
}

/// A flow of a layer of two members that are 20 µs apart, and the moments at which data and reports of congestion leave its
/// far end.
struct Watched {
    net: Network,
    _hosts: [Host; 2],
    flow: aio::Flow,
    far: aio::Flow,
    left: Rc<RefCell<Vec<(Instant, Leaving)>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Data,
    Report,
}

fn watched(seed: u64) -> Watched {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(Duration::from_micros(20)));
    let hosts = [1, 2].map(|i| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).build());
    let [near, at] = &hosts;
    let first = at.stack().unicast("a").over(&at.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    let second = net.block_on(near.stack().unicast("b").over(&near.udp4()[0]).enroll_async("a")).unwrap();
    net.block_on(second.connect_async("a")).unwrap();
    first.register("sink").unwrap();
    net.run_for(secs(3));
    let listener = at.stack().bind("sink").unwrap();
    let accepting = net.spawn(async move { listener.accept_async().await.unwrap() });
    let flow = net.block_on(near.stack().flow("sink").qos(QosSpec::RAW).alloc_async()).unwrap();
    let far = net.block_on(accepting);
    let left = Rc::new(RefCell::new(Vec::new()));
    let notes = Rc::clone(&left);
    let watch = move |packet: &Packet<'_>| {
        let leaving = match plant::kind(packet.data) {
            plant::Kind::Data => Leaving::Data,
            plant::Kind::Allocator => Leaving::Report,
            _ => return Verdict::Pass,
        };
        if packet.src.ip() == Ipv4Addr::new(10, 0, 0, 2) {
            notes.borrow_mut().push((packet.at, leaving));
        }
        Verdict::Pass
    };
    net.on_packet(watch).keep();
    Watched { net, _hosts: hosts, flow, far, left }
}

#[test]
fn no_answer_waits_for_a_report_of_congestion() {
    let Watched { net, flow, far, left, .. } = &watched(11);
    net.block_on(async {
        for _ in 0..200 {
            flow.write(&[1; 64]).await.unwrap();
            far.read(&mut [0; 64]).await.unwrap();
            far.write(&[2; 64]).await.unwrap();
            flow.read(&mut [0; 64]).await.unwrap();
        }
    });
    let left = left.borrow();
    let reports: Vec<_> = (0..left.len()).filter(|i| left[*i].1 == Leaving::Report).collect();
    assert!(reports.len() >= 20, "{} reports", reports.len());
    // The first is late, as nothing was told before. A question, one for every 64 packets, is answered at once.
    let before = reports[1..].iter().filter(|i| left[**i - 1] != (left[**i].0, Leaving::Data)).count();
    assert!(before <= 200 / 64, "{before} of {} reports do not go behind an answer", reports.len());
}

/// As many as are due without an answer, but for a packet by which the first is late.
#[test]
fn reports_of_congestion_do_not_wait_for_answers_that_do_not_come() {
    let Watched { net, flow, far, left, .. } = &watched(12);
    net.block_on(async {
        far.write(&[2; 64]).await.unwrap();
        flow.read(&mut [0; 64]).await.unwrap();
        for _ in 0..65 {
            flow.write(&[1; 64]).await.unwrap();
            far.read(&mut [0; 64]).await.unwrap();
            net.sleep(Duration::from_micros(10)).await;
        }
    });
    let reports = left.borrow().iter().filter(|left| left.1 == Leaving::Report).count();
    assert!(reports >= 8, "{reports} reports of 65 packets");
}
