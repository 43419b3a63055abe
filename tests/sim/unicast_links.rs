//! Members that leave, vanish and come back: what that costs the others.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use o7s::base::time::Instant;
use o7s::ipcp::Component;
use o7s::ipcp::unicast::Config;
use o7s::sim::{Host, Link, Network};
use o7s::types::id::{Address, Eid};
use o7s::{ConnectOptions, IpcpHandle, LocalConfig, Name, QosSpec, UnicastBuilder, UnicastLayer};

use super::world::layer::{Layer, Walk};
use super::world::{ms, secs};

/// One way of every link.
const LATENCY: Duration = Duration::from_millis(5);
/// Between two packets of the stream.
const EVERY: Duration = Duration::from_micros(200);
/// The most packets that can be on their way to a member two hops before the news that it has gone gets there.
const UNDER_WAY: usize = 50;

/// A diamond: from 0 to 3 by way of 1 or 2.
fn diamond(seed: u64) -> Layer {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(LATENCY));
    let layer = Layer::build(net, 4, &[(0, 1), (0, 2), (1, 3), (2, 3)], UnicastLayer::new("net"));
    layer.converge(secs(10));
    layer.net.run_for(secs(2));
    layer
}

/// A stream of numbered packets from member 0 to member 3.
struct Stream {
    sent: Rc<Cell<u32>>,
    arrived: Rc<RefCell<BTreeSet<u32>>>,
    /// The longest time between two that arrived.
    hole: Rc<Cell<Duration>>,
}

impl Stream {
    fn new(layer: &Layer) -> Self {
        let listener = layer.hosts[3].stack().bind("sink").unwrap();
        layer.members[3].register("sink").unwrap();
        layer.net.run_for(secs(1));
        let (sent, arrived) = (Rc::new(Cell::new(0_u32)), Rc::new(RefCell::new(BTreeSet::new())));
        let (sink, counter, clock) = (Rc::clone(&arrived), Rc::clone(&sent), layer.net.clone());
        let hole = Rc::new(Cell::new(Duration::ZERO));
        let (longest, now) = (Rc::clone(&hole), layer.net.clone());
        layer.net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            let mut last = now.now();
            while let Ok(packet) = flow.read_bytes().await {
                longest.set(longest.get().max(now.now() - last));
                last = now.now();
                sink.borrow_mut().insert(u32::from_be_bytes(packet[..].try_into().unwrap()));
            }
        });
        let stack = layer.hosts[0].stack().clone();
        layer.net.spawn(async move {
            let flow = stack.flow("sink").qos(QosSpec::RAW).alloc_async().await.unwrap();
            loop {
                let number = counter.get();
                flow.write(&number.to_be_bytes()).await.unwrap();
                counter.set(number + 1);
                clock.sleep(EVERY).await;
            }
        });
        layer.net.run_for(secs(1));
        assert!(sent.get() > 4000 && arrived.borrow().len() > 4000, "it flows");
        Self { sent, arrived, hole }
    }

    /// Packets that were sent from `first` on and have not arrived, although they have had the time.
    fn lost(&self, first: u32) -> usize {
        let arrived = self.arrived.borrow();
        (first..self.sent.get() - 200).filter(|number| !arrived.contains(number)).count()
    }
}

/// The router that packets from 0 to 3 take.
fn router(layer: &Layer) -> usize {
    let Walk::Arrives(way) = layer.walk(0, 3, Eid(1)) else { panic!("no way") };
    way[1]
}

#[test]
fn a_leaving_member_forwards_packets_on_their_way() {
    for seed in 0..4 {
        let mut layer = diamond(seed);
        let stream = Stream::new(&layer);
        let (router, first) = (router(&layer), stream.sent.get());
        layer.members.remove(router).leave();
        layer.net.run_for(secs(5));
        assert_eq!(stream.lost(first), 0);
    }
}

#[test]
fn shutting_down_loses_only_packets_on_their_way() {
    for (seed, dropped) in [(0, false), (1, true), (2, false), (3, true)] {
        let mut layer = diamond(seed);
        let stream = Stream::new(&layer);
        let (router, first) = (router(&layer), stream.sent.get());
        if dropped {
            drop((layer.members.remove(router), layer.hosts.remove(router)));
        } else {
            layer.hosts[router].stack().shutdown();
        }
        layer.net.run_for(secs(5));
        let lost = stream.lost(first);
        assert!((1..=UNDER_WAY).contains(&lost), "{lost} of those that were on their way");
    }
}

#[test]
fn a_member_that_vanishes_is_missed_in_two_seconds() {
    for seed in 0..4 {
        let layer = diamond(seed);
        let stream = Stream::new(&layer);
        let router = router(&layer);
        stream.hole.set(Duration::ZERO);
        layer.hosts[router].crash();
        layer.net.run_for(secs(10));
        let hole = stream.hole.get();
        let trip = 4 * LATENCY;
        // A sender that has lost an answer asks again after two round trips and a tenth of a second.
        assert!(hole > secs(1) && hole <= secs(2) + 3 * trip + ms(100), "{hole:?}, with default settings");
    }
}

/// Requests that nobody hears are no part of a path: whoever comes back after a while is missed as soon as ever.
#[test]
fn a_member_that_was_asked_in_vain_is_missed_as_soon() {
    for away in (0..12).map(|n| secs(3) + n * ms(570)) {
        let net = Network::new(1);
        net.set_default_link(Link::default().latency(LATENCY));
        let layer = Layer::build(net, 2, &[(0, 1)], UnicastLayer::new("net"));
        layer.converge(secs(20));
        layer.net.isolate("10.1.0.1");
        layer.net.run_for(away);
        assert_eq!(layer.adjacencies(0).len(), 0, "{away:?}");
        layer.net.heal();
        layer.converge(secs(20));
        layer.net.run_for(secs(1));
        layer.hosts[1].crash();
        layer.net.run_for(secs(2) + LATENCY + ms(50));
        assert_eq!(layer.adjacencies(0).len(), 0, "after {away:?} without a word");
    }
}

#[test]
fn a_long_path_is_given_the_time_it_needs() {
    // Four round trips are more than the two seconds of default; one must be less than the second that a handshake waits.
    let net = Network::new(1);
    net.set_default_link(Link::default().latency(ms(300)).jitter(ms(100)));
    let layer = Layer::build(net, 2, &[(0, 1)], UnicastLayer::new("net"));
    layer.converge(secs(20));
    let lost = || layer.members[0].rib().get("lost_connections").unwrap();
    let before = lost();
    layer.net.run_for(secs(600));
    assert_eq!(lost(), before);
    layer.hosts[1].crash();
    layer.net.run_for(secs(2));
    assert_eq!(layer.adjacencies(0).len(), 1, "not yet");
    layer.net.run_for(secs(8));
    assert_eq!(layer.adjacencies(0).len(), 0);
}

/// A host called `host-n` at 10.0.0.n, and the name `node-n` for its member.
fn host(net: &Network, n: usize) -> Host {
    let host = net.host(&format!("host-{n}")).udp4(&format!("10.0.0.{n}")).build();
    net.names().insert_at(&Name::new(&format!("node-{n}")).unwrap(), host.udp4()[0].local_addr().unwrap());
    host
}

fn member(host: &Host, n: usize, address: Option<u64>) -> UnicastBuilder {
    let config = Config::default().address(address.map(Address));
    host.stack().unicast(&format!("node-{n}")).over(&host.udp4()[0]).config(config)
}

/// Members 1 and 3, connected, without member 2 so far.
fn two_members(seed: u64) -> (Network, [(Host, IpcpHandle); 2]) {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(1)));
    let hosts = [1, 3].map(|n| host(&net, n));
    let first = member(&hosts[0], 1, None).bootstrap(UnicastLayer::new("net")).unwrap();
    let second = net.block_on(async {
        let second = member(&hosts[1], 3, None).enroll_async("node-1").await.unwrap();
        second.connect_async("node-1").await.unwrap();
        second
    });
    let [a, b] = hosts;
    (net, [(a, first), (b, second)])
}

/// Makes member 2, with a configured address, and connects it to 1.
fn join(net: &Network, host: &Host, address: u64) -> IpcpHandle {
    net.block_on(async {
        let member = member(host, 2, Some(address)).enroll_async("node-1").await.unwrap();
        member.connect_async("node-1").await.unwrap();
        member
    })
}

fn adjacencies(member: &IpcpHandle, to: u64) -> usize {
    let all = member.connections();
    all.iter().filter(|c| c.component == Component::DataTransfer && c.peer == Address(to)).count()
}

fn at(net: &Network) -> Duration {
    net.now() - Instant::ZERO
}

#[test]
fn a_configured_address_outlives_restarts() {
    for (seed, pause) in [(0, 0), (1, 1), (2, 20), (3, 70), (4, 100)] {
        let (net, [(_a, first), (_b, third)]) = two_members(seed);
        let before = host(&net, 2);
        let old = join(&net, &before, 7);
        net.run_for(secs(30));
        assert_eq!(old.address(), Some(Address(7)));
        before.crash();
        net.run_for(secs(pause));

        let after = host(&net, 2);
        let again = join(&net, &after, 7);
        let back = at(&net);
        while third.next_hop(Address(7), Eid(1)).is_none() || adjacencies(&first, 7) != 1 {
            net.run_for(ms(10));
            assert!(at(&net) < back + ms(800), "after a pause of {pause} s the old connection is still there");
        }
        net.run_for(secs(120));
        assert_eq!(again.address(), Some(Address(7)), "after a pause of {pause} s");
        assert_eq!(again.rib().get("address_conflicts"), Some(0));
        assert_eq!(again.rib().get("lost_connections"), Some(0));
    }
}

#[test]
fn address_conflicts_are_resolved_by_the_new_member() {
    for seed in 0..4 {
        let (net, [(_a, first), (_b, third)]) = two_members(seed);
        let true_host = host(&net, 2);
        let owner = join(&net, &true_host, 7);
        net.run_for(secs(30));
        let lost = owner.rib().get("lost_connections");
        let other_host = net.host("host-4").udp4("10.0.0.4").build();
        let other = net.block_on(async {
            let other = member(&other_host, 4, Some(7)).enroll_async("node-3").await.unwrap();
            other.connect_async("node-3").await.unwrap();
            other
        });
        net.run_for(secs(30));
        assert_ne!(other.address(), Some(Address(7)));
        assert_eq!((owner.address(), owner.rib().get("lost_connections")), (Some(Address(7)), lost));
        assert_eq!((adjacencies(&first, 7), adjacencies(&third, 7)), (1, 0));
        assert!(third.next_hop(Address(7), Eid(1)).is_some());
    }
}

#[test]
fn claiming_an_address_does_not_end_its_connection() {
    let (net, [(_a, first), _other]) = two_members(9);
    let true_host = host(&net, 2);
    let owner = join(&net, &true_host, 7);
    net.run_for(secs(10));
    let connected = || {
        let of_owner = first.connections();
        of_owner.into_iter().filter(|c| c.peer == Address(7)).map(|c| c.flow).collect::<BTreeSet<_>>()
    };
    let before = connected();
    assert_eq!(before.len(), 2);
    let liar_host = net.host("host-5").udp4("10.0.0.5").build();
    let liar = net.block_on(member(&liar_host, 5, Some(7)).enroll_async("node-1")).unwrap();
    liar.keep_connected("node-1", ConnectOptions::new()).unwrap();
    for _ in 0..1000 {
        net.run_for(ms(10));
        assert!(connected().is_superset(&before));
    }
    assert_eq!(owner.rib().get("lost_connections"), Some(0));
}

#[test]
fn a_new_member_with_the_address_of_its_neighbour_takes_another() {
    for seed in 0..4 {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(ms(1)));
        let [first_host, new_host] = [1, 2].map(|n| host(&net, n));
        let first = member(&first_host, 1, Some(7)).bootstrap(UnicastLayer::new("net")).unwrap();
        let new = join(&net, &new_host, 7);
        net.run_for(secs(30));
        let to = new.address().unwrap();
        assert_eq!(first.address(), Some(Address(7)), "it was there before");
        assert_ne!(to, Address(7));
        assert_eq!((first.next_hop(to, Eid(1)), new.next_hop(Address(7), Eid(1))), (Some(to), Some(Address(7))));
        assert_eq!(adjacencies(&first, to.0), 1);
    }
}

#[test]
fn a_new_member_takes_another_address_if_an_old_one_that_connects_to_it_does_not() {
    for seed in 0..4 {
        let (net, [(_a, first), (_b, third)]) = two_members(seed);
        net.run_for(secs(30));
        let old = third.address().unwrap();
        let new_host = host(&net, 2);
        net.block_on(async {
            let new = member(&new_host, 2, Some(old.0)).enroll_async("node-1").await.unwrap();
            third.connect_async("node-2").await.unwrap();
            assert_ne!(new.address(), Some(old));
        });
        net.run_for(secs(30));
        assert_eq!((third.address(), third.rib().get("lost_connections")), (Some(old), Some(0)));
        assert_eq!(adjacencies(&first, old.0), 1);
    }
}

#[test]
fn the_first_member_of_a_layer_keeps_a_claimed_address() {
    let net = Network::new(4);
    let [first_host, other_host] = [1, 2].map(|n| host(&net, n));
    let first = member(&first_host, 1, Some(7)).bootstrap(UnicastLayer::new("net")).unwrap();
    let other = member(&other_host, 2, Some(7)).bootstrap(UnicastLayer::new("net")).unwrap();
    for _ in 0..4 {
        net.block_on(other.connect_async("node-1")).unwrap_err();
    }
    net.run_for(secs(1));
    assert_eq!(first.address(), Some(Address(7)));
    assert!(first.rib().get("address_conflicts") >= Some(4));
}

#[test]
fn a_member_that_connects_to_itself_keeps_its_address() {
    let net = Network::new(3);
    let host = net.host("host").build();
    let below = host.stack().local(LocalConfig::new("wire", "wire"));
    let alone = host.stack().unicast("node").over(&below).bootstrap(UnicastLayer::new("net")).unwrap();
    let address = alone.address();
    let connected = net.block_on(alone.connect_with_async("net", ConnectOptions::new().timeout(secs(5))));
    assert!(connected.unwrap_err().to_string().contains("ourselves"));
    assert_eq!((alone.address(), alone.rib().get("address_conflicts")), (address, Some(0)));
}
