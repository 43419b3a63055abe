//! A neighbour that takes packets and acknowledges none, but keeps its N-1 flow alive: what waits in front of that flow is
//! counted, is not looked at all the time, and goes on when the neighbour takes more.

use std::time::Duration;

use o7s::sim::{Host, Link, Network, RuleGuard, Verdict};
use o7s::types::layer::CongestionAvoidance;
use o7s::{ConnectOptions, IpcpHandle, QosSpec, UnicastLayer, aio};

const SECOND: Duration = Duration::from_secs(1);

/// A member, and a neighbour with a reliable N-1 flow and a flow over it.
struct Neighbours {
    net: Network,
    member: Host,
    _hosts: (Host, IpcpHandle, IpcpHandle),
    near: aio::Flow,
    _far: aio::Flow,
}

impl Neighbours {
    fn new() -> Self {
        let net = Network::new(13);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        net.set_time_limit(Duration::from_secs(100_000));
        let [member, other] = [1, 3].map(|i| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).build());
        let layer = UnicastLayer::new("net").congestion(CongestionAvoidance::None);
        let first = member.stack().unicast("v").over(&member.udp4()[0]).bootstrap(layer).unwrap();
        let second = net.block_on(other.stack().unicast("a").over(&other.udp4()[0]).enroll_async("v")).unwrap();
        net.block_on(second.connect_with_async("v", ConnectOptions::new().qos(QosSpec::DATA))).unwrap();
        net.run_for(2 * SECOND);
        let listener = member.stack().bind("svc").unwrap();
        first.register("svc").unwrap();
        net.run_for(5 * SECOND);
        let stack = other.stack().clone();
        let accepted = net.spawn(async move { listener.accept_async().await.unwrap() });
        let far = net.block_on(async move { stack.flow("svc").qos(QosSpec::RAW).alloc_async().await.unwrap() });
        let near = net.block_on(accepted);
        far.as_blocking().try_write(b"here").unwrap();
        net.run_for(SECOND);
        Self { net, member, _hosts: (other, first, second), near, _far: far }
    }

    /// Sends so many packets of so many bytes to the neighbour.
    fn send(&self, packets: usize, len: usize) {
        for _ in 0..packets {
            self.near.as_blocking().try_write(&vec![7; len]).unwrap();
            self.net.run_for(Duration::from_micros(200));
        }
    }

    /// Packets that wait to be acknowledged, of the flow that has the most: the N-1 flow for data.
    fn unacknowledged(&self) -> usize {
        self.member.stack().node().endpoints().iter().map(|flow| flow.queue_lengths().1).max().unwrap()
    }

    /// Packets that wait in front of the N-1 flow, and bytes that are counted.
    fn waits(&self) -> (u64, u64) {
        let rib = self.member.stack().rib();
        let all = rib.child("ipcps").unwrap().children.iter().flat_map(|ipcp| &ipcp.children);
        let path = all.filter(|part| part.name.starts_with("dt.")).flat_map(|path| &path.children).next().unwrap();
        let queued = path.get("queued").unwrap();
        (queued, rib.get("node/held_bytes").unwrap())
    }
}

/// Nothing but keepalives comes from the neighbour until it is dropped.
fn silence(net: &Network) -> RuleGuard {
    net.on_packet(
        |p| {
            if p.src.ip().to_string() == "10.0.0.3" && p.data.len() > 4 { Verdict::Drop } else { Verdict::Pass }
        },
    )
}

#[test]
fn what_waits_for_a_neighbour_is_counted_and_left_alone() {
    let n = Neighbours::new();
    let (_, before) = n.waits();
    let silent = silence(&n.net);
    n.send(3000, 40);
    n.net.run_for(SECOND);
    let (queued, held) = n.waits();
    println!("{queued} packets wait, {held} bytes are counted");
    assert!(queued > 1000, "{queued}");
    // What a packet takes, with room for the headers of the layers below.
    assert!(held >= queued * 40 && held < queued * 1024, "{held} bytes for {queued} packets");
    let (mut looks, until) = (0, n.net.now() + 10 * SECOND);
    while n.net.now() < until {
        let next = n.member.stack().node().next_deadline().unwrap();
        n.net.run_for(next.since(n.net.now()).max(Duration::from_micros(1)));
        looks += 1;
    }
    println!("{looks} deadlines in 10 s");
    assert!(looks < 1000, "{looks} deadlines in 10 s");
    drop(silent);
    n.net.run_for(60 * SECOND);
    // What is left is what there was before: a packet that nobody reads. Now and then more is charged than is held.
    let given_back = (0..50).any(|_| {
        n.net.run_for(Duration::from_millis(77));
        n.waits() == (0, before)
    });
    assert!(given_back, "{before} before, {:?} after", n.waits());
}

#[test]
fn what_waits_goes_on_as_soon_as_the_neighbour_takes_more() {
    let n = Neighbours::new();
    let silent = silence(&n.net);
    n.send(1500, 40);
    n.net.run_for(5 * SECOND);
    let (before, _) = n.waits();
    assert!(before > 500, "{before}");
    let unacknowledged = n.unacknowledged();
    drop(silent);
    // It acknowledges something.
    while n.unacknowledged() >= unacknowledged {
        n.net.run_for(Duration::from_millis(1));
    }
    n.net.run_for(Duration::from_millis(60));
    let (after, _) = n.waits();
    println!("{before} waited, {after} do still");
    assert!(after < before / 2, "{before} before, {after} after");
}
