//! Stacks on several devices: layers, adjacencies and flows over all of them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use o7s::ipcp::unicast;
use o7s::sim::{Host, Link, Loss, Network};
use o7s::{ConnectOptions, IpcpHandle, LocalConfig, MemberError, QosSpec, UnicastLayer};

use super::world::{ms, secs};

/// One way.
const LATENCY: Duration = Duration::from_millis(2);

/// Two hosts with two devices each, IPv4 and IPv6, and a member on each with adjacencies over both.
struct Pair {
    net: Network,
    hosts: [Host; 2],
    members: [IpcpHandle; 2],
}

impl Pair {
    fn new(seed: u64) -> Self {
        let net = Network::new(seed);
        net.set_default_link(good());
        let host =
            |i: u8| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).udp6(&format!("fd00::{i}")).build();
        let hosts = [host(1), host(2)];
        let [a, b] = &hosts;
        let first = b.stack().unicast("b").over(&b.udp4()[0]).over(&b.udp6()[0]);
        let first = first.bootstrap(UnicastLayer::new("net")).unwrap();
        let second = a.stack().unicast("a").autobind(false).over(&a.udp4()[0]).over(&a.udp6()[0]);
        let second = net.block_on(second.enroll_async("b")).unwrap();
        for lower in [&a.udp4()[0], &a.udp6()[0]] {
            net.block_on(second.connect_with_async("b", ConnectOptions::new().over(lower))).unwrap();
        }
        net.run_for(secs(5));
        Self { net, hosts, members: [second, first] }
    }
}

/// The ends of what goes over a device, and ways of it to fail.
const DEVICES: [[&str; 2]; 2] = [["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]];

fn good() -> Link {
    Link::default().latency(LATENCY).rate(100_000_000)
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    /// Nothing passes.
    Silent,
    /// Nothing passes from the sender to the receiver, or nothing back.
    OneWay,
    WayBack,
    /// Everything passes, later than anybody waits for it.
    Late,
}

impl Failure {
    fn happen(self, net: &Network, [near, far]: [&str; 2]) {
        let dead = good().loss(Loss::Random(1.0));
        match self {
            Self::Silent => net.isolate(near),
            Self::OneWay => net.set_link(near, far, dead),
            Self::WayBack => net.set_link(far, near, dead),
            Self::Late => net.set_link_between(near, far, good().latency(secs(30))),
        }
    }

    /// The pause of a flow whose packets, or whose answers if it is only these that get lost, use the device is longer.
    fn least_pause(self) -> Duration {
        let detection = unicast::Config::default().detection;
        match self {
            // Nothing arrives until it is noticed; the last arrival and the one thereafter are a few milliseconds off.
            Self::Silent | Self::OneWay | Self::Late => detection / 4 * 3,
            // Packets arrive, but without answers the sender sends one at a time, at pauses that double: of those that make
            // up the time of detection the longest is a third of it at least.
            Self::WayBack => detection / 4,
        }
    }

    fn end(net: &Network, [near, far]: [&str; 2]) {
        net.heal();
        net.set_link_between(near, far, good());
    }
}

/// The longest pause of a reliable flow to the name "sink" at `b`, of which `a` writes a packet every half millisecond, and in
/// the course of which `fail` is called.
fn longest_pause(net: &Network, [a, b]: &[Host; 2], fail: impl FnOnce()) -> Duration {
    let listener = b.stack().bind("sink").unwrap();
    net.run_for(secs(1));
    let longest = Rc::new(Cell::new(Duration::ZERO));
    let (pause, clock) = (Rc::clone(&longest), net.clone());
    const PACKETS: u32 = 20_000;
    let receiving = net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        let mut last = clock.now();
        for expected in 0..PACKETS {
            let packet = flow.read_bytes().await.unwrap();
            assert_eq!(u32::from_be_bytes(packet[..4].try_into().unwrap()), expected);
            if expected > 0 {
                pause.set(pause.get().max(clock.now() - last));
            }
            last = clock.now();
        }
    });
    let (stack, clock) = (a.stack().clone(), net.clone());
    net.spawn(async move {
        let flow = stack.flow("sink").qos(QosSpec::DATA).alloc_async().await.unwrap();
        let mut packet = [7; 1000];
        for n in 0..PACKETS {
            packet[..4].copy_from_slice(&n.to_be_bytes());
            flow.write(&packet).await.unwrap();
            clock.sleep(Duration::from_micros(500)).await;
        }
        flow.close(secs(10)).await.unwrap();
    });
    net.run_for(secs(2));
    fail();
    net.block_on(receiving);
    longest.get()
}

#[test]
fn one_device_fails_and_a_reliable_flow_loses_nothing() {
    use Failure::{Late, OneWay, Silent, WayBack};
    for (device, failure) in DEVICES.into_iter().flat_map(|d| [Silent, OneWay, WayBack, Late].map(|f| (d, f))) {
        // Which device the packets of a flow take, and which those that answer, is a matter of chance.
        let pauses = [device[0].len() as u64, 1, 2, 3].map(|seed| a_device_fails(seed, device, failure));
        let longest = pauses.into_iter().max().unwrap();
        assert!(longest > failure.least_pause(), "device {}: {failure:?}: no flow used it: {pauses:?}", device[0]);
    }
}

/// The pause of a reliable flow, which loses nothing.
fn a_device_fails(seed: u64, device: [&str; 2], failure: Failure) -> Duration {
    let detection = unicast::Config::default().detection;
    let fails = format!("device {}: {failure:?}, seed {seed}", device[0]);
    let pair = Pair::new(seed);
    let net = &pair.net;
    let mut over: Vec<_> = [0, 1].into_iter().flat_map(|m| pair.members[m].connections()).map(|c| c.over).collect();
    over.sort();
    let [none, one, other] = [0, 4, 6].map(|at| over[at].clone());
    assert_eq!(
        over,
        [vec![none; 4], vec![one.clone(); 2], vec![other.clone(); 2]].concat(),
        "management and data, over both"
    );
    assert!(over[3].is_none() && one < other && one.is_some(), "{over:?}");
    pair.members[1].register("sink").unwrap();
    let pause = longest_pause(net, &pair.hosts, || failure.happen(net, device));
    // Besides the time of detection, four round trips: what is under way at the moment of the failure was sent before it, and
    // half a round later the neighbour is not heard any more; the end that misses it tells the other, if that does not; a packet
    // is sent again and answered; what is missing according to that is sent again, and perhaps once more what was sent meanwhile.
    assert!(pause <= detection + LATENCY * 8, "{pause:?}, {fails}");
    assert_eq!(pair.members[0].connections().len(), 2, "{fails}");
    Failure::end(net, device);
    net.run_for(secs(60));
    assert_eq!(pair.members[0].connections().len(), 4, "it is back, {fails}");
    pause
}

/// The longest pause of a flow between two of three members, each a neighbour of the others, when the link between these two
/// fails: there is another way once routes have been computed.
fn around(seed: u64) -> Duration {
    let net = Network::new(seed);
    net.set_default_link(good());
    let [a, b, c] = [1, 2, 3].map(|i| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).build());
    let member = |host: &Host, name| host.stack().unicast(name).over(&host.udp4()[0]);
    let first = member(&a, "a").bootstrap(UnicastLayer::new("net")).unwrap();
    let [second, third] =
        [(&b, "b"), (&c, "c")].map(|(h, name)| net.block_on(member(h, name).enroll_async("a")).unwrap());
    for (from, to) in [(&second, "a"), (&third, "a"), (&third, "b")] {
        net.block_on(from.connect_with_async(to, ConnectOptions::new())).unwrap();
    }
    net.run_for(secs(5));
    assert_eq!([&first, &second, &third].map(|m| m.connections().len()), [4; 3]);
    second.register("sink").unwrap();
    longest_pause(&net, &[a, b], || net.set_link_between("10.0.0.1", "10.0.0.2", good().loss(Loss::Random(1.0))))
}

#[test]
fn a_neighbour_is_lost_and_a_reliable_flow_goes_around() {
    let detection = unicast::Config::default().detection;
    for seed in 1..=4 {
        let pause = around(seed);
        // Over two links: the attempt, its answer and what is missing, and one link for the last that still arrived. Routes are
        // computed at once.
        assert!(pause <= detection + LATENCY * 10, "{pause:?}, seed {seed}");
        // Of both ways the one of a single hop was used.
        assert!(pause > detection / 4 * 3, "{pause:?}, seed {seed}: the flow went around from the beginning");
    }
}

#[test]
fn a_layer_that_a_neighbour_cannot_be_reached_over_is_told() {
    let pair = Pair::new(2);
    let (net, [a, b], [second, _]) = (&pair.net, &pair.hosts, &pair.members);
    let (v4, v6) = (&a.udp4()[0], &a.udp6()[0]);
    let over = |lower: &IpcpHandle| ConnectOptions::new().over(lower).timeout(secs(3));
    b.udp4()[0].register("elsewhere").unwrap();
    let unknown = net.block_on(second.connect_with_async("elsewhere", over(v6))).unwrap_err();
    let (name, ipcp) = ("elsewhere".parse().unwrap(), v6.info().name.clone());
    assert_eq!(unknown, MemberError::UnknownThere { name, ipcp });
    // Those of another stack, its own, and one that it was not made over.
    let unused = a.stack().local(LocalConfig::new("unused", "unused"));
    for lower in [&b.udp4()[0], second, &unused] {
        assert_eq!(net.block_on(second.connect_with_async("b", over(lower))), Err(MemberError::NoLayer));
        assert_eq!(second.keep_connected("b", over(lower)), Err(MemberError::NoLayer));
    }
    assert_eq!(second.connections().len(), 4);
    // Over the layers of its own it is a matter of the name only.
    for lower in [v4, v6] {
        net.block_on(second.connect_with_async("net", over(lower))).unwrap();
    }
    assert_eq!(second.connections().len(), 8);
}

/// Connections over a layer end with it, whoever waits for one is told, and nobody tries again.
#[test]
fn a_layer_is_left_while_connections_go_over_it() {
    let pair = Pair::new(3);
    let (net, [a, _], [second, _]) = (&pair.net, &pair.hosts, &pair.members);
    let v6 = &a.udp6()[0];
    let over = || ConnectOptions::new().over(v6);
    net.block_on(second.connect_with_async("net", over())).unwrap();
    let (member, how) = (second.clone(), over());
    let waiting = net.spawn(async move { member.connect_with_async("nobody", how).await });
    net.run_for(ms(500));
    v6.clone().leave();
    assert_eq!(net.block_on(waiting), Err(MemberError::NoLayer));
    net.run_for(secs(60));
    assert_eq!(second.connections().len(), 2, "those over the other device");
    assert!(!second.disconnect("net"), "it was given up");
    assert!(second.disconnect("b"));
    net.run_for(secs(1));
    assert!(second.connections().is_empty());
}
