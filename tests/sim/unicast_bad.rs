//! Unicast layers on networks that do more than lose: deaf in one direction, doubling, swapping, damaging; on hosts
//! whose clocks are wrong; and with the default timeouts of members.

use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use o7s::base::time::ManualClock;
use o7s::sim::{EPOCH_UNIX_NANOS, Link, Loss, Network, Packet, Verdict};
use o7s::wire::udp::{Datagram, Mgmt};
use o7s::{AllocError, ConnectOptions, QosSpec, UnicastLayer};

use super::world::layer::{Kind, Layer, NOTICED, address, configured, name, noticed_after};
use super::world::plant;
use super::world::topology::{self, Edges};
use super::world::traffic::{Tally, serve, service, talk_over};
use super::world::watch::{HEALED, Watch, assert_converged, is_whole};
use super::world::{ENCRYPTED, ms, secs};

/// A service at each member.
fn watched(layer: &Layer, settle: Duration, noticed: Duration) -> Watch {
    layer.converge(secs(2));
    let mut watch = Watch::new(layer, settle, noticed);
    for i in 0..layer.len() {
        serve(layer, i);
        watch.registered(layer, &service(i), i);
    }
    watch.run(layer, secs(3));
    watch
}

/// All members talk to each other, over flows of this quality, and everything comes back.
fn everybody_talks(layer: &Layer, watch: &mut Watch, qos: QosSpec) {
    let pairs = layer.len() * (layer.len() - 1);
    talks(layer, watch, qos).assert_complete(pairs as u32, 5);
    watch.run(layer, watch.settle + secs(1));
    assert!(watch.armed > 0, "no loop could have been noticed");
}

/// As [`everybody_talks`], with any kind of end. Packets are so far apart that none overtakes another, which would then
/// be dropped where only order is promised.
fn talks(layer: &Layer, watch: &mut Watch, qos: QosSpec) -> Rc<Tally> {
    let tally = Rc::<Tally>::default();
    let n = layer.len();
    for (from, to) in (0..n).flat_map(|from| (0..n).filter(move |to| *to != from).map(move |to| (from, to))) {
        talk_over(layer, (from, to), qos, 5, ms(300), &tally);
    }
    let until = layer.net.now() + secs(120);
    while !tally.all_ended() && layer.net.now() < until {
        watch.run(layer, ms(500));
    }
    tally.assert_ended();
    tally
}

fn until_whole(layer: &Layer, watch: &mut Watch, limit: Duration) -> Duration {
    let begin = layer.net.now();
    while !is_whole(layer) {
        assert!(layer.net.now() - begin < limit, "not whole again after {limit:?}");
        watch.run(layer, ms(100));
    }
    layer.net.now() - begin
}

#[test]
fn a_one_way_link_is_avoided() {
    for (from, to) in [(0, 1), (1, 0)] {
        let net = Network::new(1);
        net.set_default_link(Link::default().latency(ms(1)));
        let edges = topology::ring(6);
        let layer = Layer::build_with(net, 6, &edges, UnicastLayer::new("net"), noticed_after(secs(1)));
        let mut watch = watched(&layer, ms(300), secs(1));
        layer.net.set_link(address(from).as_str(), address(to).as_str(), Link::default().loss(Loss::Random(1.0)));
        watch.went_down_one_way(layer.net.now(), (0, 1), false);
        watch.run(&layer, secs(5));
        assert!(watch.down_seen > 0, "no dead neighbour could have been noticed");
        everybody_talks(&layer, &mut watch, QosSpec::BEST_EFFORT);
        layer.set_link((0, 1), Link::default().latency(ms(1)));
        watch.came_up((0, 1));
        let after = until_whole(&layer, &mut watch, HEALED);
        println!("from {from} to {to}: in use again after {after:?}");
        everybody_talks(&layer, &mut watch, QosSpec::BEST_EFFORT);
    }
}

#[test]
fn duplication_and_reordering() {
    for seed in 0..2 {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(ms(5)).jitter(ms(2)).duplicate(0.3).reorder(0.3, ms(20)));
        let edges = topology::random(8, 12, &mut net.rng("edges"));
        let layer = Layer::build_with(net, 8, &edges, UnicastLayer::new("net"), noticed_after(secs(1)));
        let mut watch = watched(&layer, ms(500), secs(1));
        everybody_talks(&layer, &mut watch, QosSpec::DATA);
        // A first packet that is overtaken by the answer to what was sent before it comes too late where only order is
        // promised; none of the later ones, which nothing overtakes.
        let tally = talks(&layer, &mut watch, QosSpec::BEST_EFFORT);
        println!("seed {seed}: {} of {} did not come back", tally.missing.borrow().len(), tally.sent.get());
        assert_eq!(tally.sent.get(), 56 * 5, "{tally:?}");
        assert!(tally.missing.borrow().iter().all(|(_, _, number)| *number == 0), "{tally:?}");
        layer.net.run_for(secs(60));
        assert!(is_whole(&layer), "no connection was lost to what came late or twice");
        let stats = layer.net.stats();
        assert!(stats.duplicated > 1000 && stats.reordered > 1000, "{stats:?}");
    }
}

/// Encrypted, because nothing but UDP's checksum protects an N-1 flow that is not, and the simulation has none. For the
/// same reason damage begins when the layer is there.
#[test]
fn one_per_cent_corruption() {
    let net = Network::new(3);
    let link = Link::default().latency(ms(2));
    net.set_default_link(link);
    let edges = topology::random(6, 9, &mut net.rng("edges"));
    let kind = Kind { security: ENCRYPTED, ..Kind::default() };
    let layer = Layer::build_of(net, 6, &edges, UnicastLayer::new("net"), noticed_after(secs(10)), kind);
    let mut watch = watched(&layer, secs(4), secs(10));
    layer.net.set_default_link(link.corrupt(0.01));
    everybody_talks(&layer, &mut watch, QosSpec::DATA);
    watch.run(&layer, secs(120));
    let stats = layer.net.stats();
    assert!(stats.corrupted > 10, "{stats:?}");
    assert!(is_whole(&layer));
    for member in &layer.members {
        assert_eq!(member.rib().get("lsdb/unknown").unwrap_or(0), 0);
    }
}

/// A request whose time stamp is 100 ms in the future is refused; the clocks of two hosts are up to 80 ms apart.
#[test]
fn clocks_slightly_off() {
    let ahead = |i| match i {
        1 => -40,
        2 => 40,
        _ => 0,
    };
    let net = Network::new(4);
    net.set_default_link(Link::default().latency(ms(2)));
    let edges: Edges = topology::ring(5);
    let kind = Kind { ahead, ..Kind::default() };
    let layer = Layer::build_of(net, 5, &edges, UnicastLayer::new("net"), noticed_after(secs(1)), kind);
    let mut watch = watched(&layer, ms(300), secs(1));
    everybody_talks(&layer, &mut watch, QosSpec::DATA);
    watch.run(&layer, secs(60));
    assert!(is_whole(&layer));
}

/// One member crashes and returns, and a link fails and comes back, in a layer in which nothing was set.
#[test]
fn default_timeouts() {
    let net = Network::new(5);
    net.set_default_link(Link::default().latency(ms(1)));
    let mut layer = Layer::build_with(net, 9, &topology::grid(3, 3), UnicastLayer::new("net"), ConnectOptions::new());
    let mut watch = watched(&layer, ms(300), NOTICED);
    everybody_talks(&layer, &mut watch, QosSpec::BEST_EFFORT);
    layer.crash(4);
    layer.neighbours(4).into_iter().for_each(|i| watch.went_down(layer.net.now(), (4, i)));
    watch.run(&layer, NOTICED + secs(2));
    assert!(watch.down_seen > 0, "no dead neighbour could have been noticed");
    assert_converged(&layer);

    let joining = layer.revive(4).unwrap();
    layer.neighbours(4).into_iter().for_each(|i| watch.came_up((4, i)));
    while !joining.is_finished() {
        watch.run(&layer, ms(50));
    }
    let member = layer.net.block_on(joining).unwrap();
    layer.revived(4, member);
    serve(&layer, 4);
    watch.registered(&layer, &service(4), 4);
    let after = until_whole(&layer, &mut watch, HEALED);
    println!("in use again {after:?} after it was let in");

    layer.set_link((0, 1), Link::default().loss(Loss::Random(1.0)));
    watch.went_down(layer.net.now(), (0, 1));
    watch.run(&layer, NOTICED + secs(2));
    layer.set_link((0, 1), Link::default().latency(ms(1)));
    watch.came_up((0, 1));
    let after = until_whole(&layer, &mut watch, HEALED);
    println!("in use again {after:?} after the link came back");
    watch.run(&layer, secs(1));
    everybody_talks(&layer, &mut watch, QosSpec::BEST_EFFORT);
    assert_converged(&layer);
}

/// A process is killed and started again at once, under the same name and address, before anybody has missed it.
#[test]
fn a_member_that_was_not_missed_returns() {
    for away in [0, 400, 2000] {
        let net = Network::new(6);
        net.set_default_link(Link::default().latency(ms(1)));
        let mut layer = Layer::build_with(net, 6, &topology::ring(6), UnicastLayer::new("net"), ConnectOptions::new());
        let mut watch = watched(&layer, NOTICED + secs(2), NOTICED);
        layer.crash(3);
        layer.net.run_for(ms(away));
        let joining = layer.revive(3).unwrap();
        while !joining.is_finished() {
            watch.run(&layer, ms(50));
        }
        let member = layer.net.block_on(joining).unwrap();
        layer.revived(3, member);
        serve(&layer, 3);
        watch.registered(&layer, &service(3), 3);
        let after = until_whole(&layer, &mut watch, NOTICED + HEALED);
        println!("away for {away} ms: in use again after {after:?}");
        watch.run(&layer, secs(1));
        everybody_talks(&layer, &mut watch, QosSpec::BEST_EFFORT);
    }
}

/// An address that was configured is kept over a restart, however soon that is.
#[test]
fn a_member_with_a_configured_address_returns() {
    for away in [0, 1000, 20_000] {
        let net = Network::new(7);
        net.set_default_link(Link::default().latency(ms(1)));
        let (edges, kind) = (topology::ring(6), Kind { configured: true, ..Kind::default() });
        let mut layer = Layer::build_of(net, 6, &edges, UnicastLayer::new("net"), ConnectOptions::new(), kind);
        layer.converge(secs(10));
        assert_eq!(layer.address(3), configured(3));
        layer.crash(3);
        layer.net.run_for(ms(away));
        let joining = layer.revive(3).unwrap();
        let member = layer.net.block_on(joining).unwrap();
        layer.revived(3, member);
        let until = |done: &dyn Fn() -> bool| {
            let begin = layer.net.now();
            while !done() && layer.net.now() - begin < secs(60) {
                layer.net.run_for(ms(20));
            }
            layer.net.now() - begin
        };
        // The neighbour that it connects to itself uses the new connection at once, whatever it held before.
        let own = until(&|| layer.adjacencies(3) == [configured(2)] && layer.adjacencies(2).contains(&configured(3)));
        let whole = own + until(&|| is_whole(&layer));
        println!("away for {away} ms: connected after {own:?}, in use again after {whole:?}");
        assert!(own <= ms(200), "away for {away} ms: connected after {own:?}");
        // The other one is to connect to it, and nobody tells that one of the new life before it misses the old one. If it
        // has, it tries ever more seldom.
        let limit = if ms(away) < NOTICED { NOTICED - ms(away) + secs(1) } else { HEALED };
        assert!(whole <= limit, "away for {away} ms: in use again after {whole:?}");
        layer.net.run_for(NOTICED + HEALED);
        assert_eq!(layer.address(3), configured(3), "away for {away} ms");
        assert!(is_whole(&layer), "away for {away} ms");
    }
}

/// The acceptor of a flow must wait for its first packet for longer than it takes to ask again for a reply that was
/// lost. Here each reply is lost once.
#[test]
fn a_lost_reply_costs_no_attempt() {
    let net = Network::new(8);
    net.set_default_link(Link::default().latency(ms(1)));
    let layer = Layer::build_with(net, 2, &topology::line(2), UnicastLayer::new("net"), ConnectOptions::new());
    let mut watch = watched(&layer, ms(300), NOTICED);
    let mut seen = BTreeSet::new();
    let lose = move |packet: &Packet<'_>| match Datagram::parse(packet.data) {
        Ok(Datagram::Mgmt(Mgmt::Reply(reply))) if seen.insert(reply.d_eid) => Verdict::Drop,
        _ => Verdict::Pass,
    };
    layer.net.on_packet(lose).keep();
    layer.net.partition(&[address(0).as_str()], &[address(1).as_str()]);
    layer.net.run_for(NOTICED + secs(1));
    layer.net.heal();
    let after = until_whole(&layer, &mut watch, HEALED);
    println!("in use again after {after:?}");
}

/// A host whose clock is wrong by an hour is told so at once, and harms no other.
#[test]
fn a_clock_an_hour_off() {
    for ahead in [-3_600, 3_600] {
        let net = Network::new(9);
        net.set_default_link(Link::default().latency(ms(1)));
        let layer = Layer::build_with(net, 3, &topology::line(3), UnicastLayer::new("net"), noticed_after(secs(1)));
        let mut watch = watched(&layer, ms(300), secs(1));
        let net = &layer.net;
        let clock = Arc::new(ManualClock::new(EPOCH_UNIX_NANOS.wrapping_add_signed(ahead * 1_000_000_000)));
        clock.advance_to(net.now());
        let host = net.host("late").udp4("10.9.0.1").stack(|s| s.polled_with(&clock)).build();
        let _listener = layer.hosts[0].listen("anybody");
        let begin = net.now();
        let refused = net.block_on(host.stack().flow("anybody").timeout(secs(10)).alloc_async());
        assert!(matches!(refused, Err(AllocError::Refused { .. })), "{refused:?}");
        assert!(net.now() - begin < secs(1), "it is not asked again and again");
        let first = name(0);
        let joining = host.stack().unicast("late").over(&host.udp4()[0]).timeout(secs(10)).enroll_async(&first);
        assert!(net.block_on(joining).is_err());
        assert!(net.now() - begin < secs(12));
        everybody_talks(&layer, &mut watch, QosSpec::BEST_EFFORT);
    }
}

/// The member with the name is silent, and others are still looked for, when the time of the allocation is over.
#[test]
fn an_allocation_ends_while_a_name_is_looked_up() {
    for timeout in [ms(100), ms(700), ms(1500), secs(3), secs(30)] {
        let net = Network::new(10);
        net.set_default_link(Link::default().latency(ms(1)));
        let layer = Layer::build(net, 4, &topology::ring(4), UnicastLayer::new("net"));
        layer.converge(secs(2));
        serve(&layer, 2);
        layer.net.run_for(secs(1));
        plant::lose(&layer.net, plant::Kind::Directory);
        plant::lose(&layer.net, plant::Kind::Allocator);
        let begin = layer.net.now();
        let asking = layer.hosts[0].stack().flow(&service(2)).timeout(timeout).alloc_async();
        let failed = layer.net.block_on(asking);
        assert!(failed.is_err() && layer.net.now() - begin <= timeout, "{failed:?} at {:?}", layer.net.now());
    }
}
