//! Neighbours behind whom packets have to be small: what goes elsewhere is as large as ever.

use std::time::Duration;

use o7s::device::Mac;
use o7s::sim::{Host, Link, Network, Verdict};
use o7s::{BroadcastLayer, ConnectOptions, Eth, Flow, IpcpHandle, QosSpec, UnicastLayer, aio};

const SECOND: Duration = Duration::from_secs(1);
const VICTIM: &str = "10.0.0.1";
const ATTACKER: &str = "10.0.0.3";
/// The attacker pretends not to get what is larger, bytes.
const TAKES: usize = 270;

/// A member, an honest neighbour, and one that chooses a reliable N-1 flow.
struct World {
    net: Network,
    hosts: [Host; 3],
    members: [IpcpHandle; 3],
}

impl World {
    fn hosts(seed: u64) -> (Network, [Host; 3]) {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        let hosts = [VICTIM, "10.0.0.2", ATTACKER].map(|at| net.host(&format!("host {at}")).udp4(at).build());
        (net, hosts)
    }

    fn unicast(seed: u64) -> Self {
        let (net, hosts) = Self::hosts(seed);
        let builder = |i: usize| hosts[i].stack().unicast(&format!("m{i}")).over(&hosts[i].udp4()[0]);
        let first = builder(0).bootstrap(UnicastLayer::new("net")).unwrap();
        let [second, third] = [1, 2].map(|i| net.block_on(builder(i).enroll_async("m0")).unwrap());
        Self { net, hosts, members: [first, second, third] }.connected()
    }

    fn broadcast(seed: u64) -> Self {
        let (net, hosts) = Self::hosts(seed);
        let builder = |i: usize| hosts[i].stack().broadcast(&format!("m{i}")).over(&hosts[i].udp4()[0]);
        let first = builder(0).bootstrap(BroadcastLayer::new("net")).unwrap();
        let [second, third] = [1, 2].map(|i| net.block_on(builder(i).enroll_async("m0")).unwrap());
        Self { net, hosts, members: [first, second, third] }.connected()
    }

    fn connected(self) -> Self {
        let Self { net, members: [_, honest, attacker], .. } = &self;
        net.block_on(honest.connect_async("m0")).unwrap();
        net.block_on(attacker.connect_with_async("m0", ConnectOptions::new().qos(QosSpec::DATA))).unwrap();
        net.run_for(5 * SECOND);
        self
    }

    fn withhold(&self) {
        let ends = [VICTIM, ATTACKER].map(|end| end.parse::<std::net::IpAddr>().unwrap());
        let withholds = self.net.on_packet(move |packet| {
            let there = [packet.src.ip(), packet.dst.ip()] == ends;
            if there && packet.data.len() > TAKES { Verdict::Drop } else { Verdict::Pass }
        });
        withholds.keep();
    }

    /// The least packet that the victim's stack knows for the limit of a path.
    fn limit(&self) -> Option<u64> {
        let rows = o7s::rib::prometheus(&self.hosts[0].stack().rib());
        let rows = rows.lines().filter(|row| row.contains("packet_limit") && !row.starts_with('#'));
        rows.filter_map(|row| row.split_whitespace().last()?.parse().ok()).min()
    }
}

/// A flow from one host to a program on another: the end there, and the one here.
fn flow(net: &Network, from: &Host, to: &Host, name: &str, qos: QosSpec) -> (aio::Flow, aio::Flow) {
    let (stack, name, listener) = (from.stack().clone(), name.to_owned(), to.stack().bind(name).unwrap());
    let asks = net.spawn(async move { stack.flow(&name).qos(qos).timeout(20 * SECOND).alloc_async().await });
    net.block_on(async move { (listener.accept_async().await.unwrap(), asks.await.unwrap()) })
}

#[test]
fn a_neighbour_that_withholds_large_packets_makes_only_its_own_small() {
    let world = World::unicast(7);
    let (net, [victim, honest, attacker]) = (&world.net, &world.hosts);
    world.members[0].register("near").unwrap();
    world.members[0].register("bad").unwrap();
    net.run_for(5 * SECOND);
    let (near, far) = flow(net, honest, victim, "near", QosSpec::RAW);
    let (talks, hears) = flow(net, attacker, victim, "bad", QosSpec::RAW);
    let before = near.as_blocking().max_packet();
    world.withhold();
    // What the victim says to it keeps the path in suspicion.
    for _ in 0..300 {
        let size = talks.as_blocking().max_packet();
        let _ = talks.as_blocking().try_write(&vec![7; size]);
        net.run_for(Duration::from_millis(100));
    }
    assert!(world.limit().is_some_and(|limit| limit < 300), "the path was found narrow: {:?}", world.limit());
    assert_eq!(near.as_blocking().max_packet(), before);
    assert_eq!(near.as_blocking().try_write(&[8; 1000]), Ok(1000));
    assert_eq!(net.block_on(far.read_bytes()).unwrap()[..], [8; 1000]);
    // Flows come about as before, and what goes over that path goes in pieces.
    let (again, _far) = flow(net, honest, victim, "near", QosSpec::DATA);
    assert!(again.as_blocking().max_packet() > 1300);
    let heard =
        || core::iter::from_fn(|| hears.as_blocking().try_read(&mut [0; 2000]).ok()).filter(|n| *n > 1000).count();
    heard();
    talks.as_blocking().try_write(&[9; 1100]).unwrap();
    net.run_for(5 * SECOND);
    assert!(heard() > 0);
}

#[test]
fn a_broadcast_neighbour_that_withholds_large_packets_makes_none_small() {
    let world = World::broadcast(8);
    let [here, honest, _attacker] = [0, 1, 2].map(|i| world.hosts[i].stack().join("net").unwrap());
    world.withhold();
    let heard = |flow: &Flow| core::iter::from_fn(|| flow.try_read(&mut [0; 2000]).ok()).max();
    for _ in 0..300 {
        let size = here.max_packet();
        let _ = here.try_write(&vec![7; size]);
        heard(&honest);
        world.net.run_for(Duration::from_millis(100));
    }
    assert!(world.limit().is_some_and(|limit| limit < 300), "the path was found narrow: {:?}", world.limit());
    assert_eq!(here.max_packet(), 1399);
    assert_eq!(here.try_write(&[8; 1399]), Ok(1399));
    world.net.run_for(SECOND);
    assert_eq!(heard(&honest), Some(1399));
}

/// A member with two interfaces, one of them narrow: whoever may connect there has nothing to say about the other.
#[test]
fn a_neighbour_on_a_narrow_device_makes_only_its_own_packets_small() {
    let net = Network::new(9);
    let switches = [net.switch(), net.switch()];
    let mac = |i: u8| Mac([2, 0, 0, 0, 0, i]);
    let middle = net.host("middle").eth_with(&switches[0], mac(1), Eth::dix("wide"));
    let middle = middle.eth_with(&switches[1], mac(2), Eth::dix("thin")).build();
    let ends = [0, 1]
        .map(|i| net.host(&format!("end {i}")).eth_with(&switches[i], mac(3), Eth::dix(["wide", "thin"][i])).build());
    for host in [&middle, &ends[1]] {
        host.interfaces().last().unwrap().set_mtu(400);
    }
    net.run_for(SECOND);
    let member = middle.stack().unicast("m").over(&middle.eth()[0]).over(&middle.eth()[1]);
    let member = member.bootstrap(UnicastLayer::new("net")).unwrap();
    let join = |i: usize| {
        let other = ends[i].stack().unicast(&format!("e{i}")).over(&ends[i].eth()[0]);
        let other = net.block_on(other.enroll_async("m")).unwrap();
        net.block_on(other.connect_async("m")).unwrap();
        other
    };
    let _wide = join(0);
    member.register("first").unwrap();
    net.run_for(5 * SECOND);
    let (near, far) = flow(&net, &ends[0], &middle, "first", QosSpec::RAW);
    let before = near.as_blocking().max_packet();
    assert!(before > 1400, "{before}");
    let thin = join(1);
    net.run_for(5 * SECOND);
    assert_eq!(near.as_blocking().max_packet(), before);
    near.as_blocking().try_write(&vec![8; before]).unwrap();
    assert_eq!(net.block_on(far.read_bytes()).unwrap().len(), before);
    // A flow over the narrow one has packets that fit there.
    thin.register("second").unwrap();
    net.run_for(5 * SECOND);
    let (far, near) = flow(&net, &middle, &ends[1], "second", QosSpec::RAW);
    let most = near.as_blocking().max_packet();
    assert!((340..400).contains(&most), "{most}");
    near.as_blocking().try_write(&vec![9; most]).unwrap();
    assert_eq!(net.block_on(far.read_bytes()).unwrap().len(), most);
    assert!(near.as_blocking().try_write(&vec![9; most + 1]).is_err());
}
