//! Unicast layers whose members crash and return, whose links flap, which fall apart and grow together again, and that
//! lose a fifth of all messages.

use std::rc::Rc;

use o7s::sim::{Link, Loss, Network};
use o7s::types::id::{Address, Eid};
use o7s::{IpcpHandle, QosSpec, UnicastLayer};

use super::world::faults;
use super::world::layer::{Layer, Walk, address, noticed_after};
use super::world::topology;
use super::world::traffic::{Tally, serve, service, talk, talk_over};
use super::world::watch::{HEALED, LOSSY_SETTLE, Watch, assert_converged, is_whole};
use super::world::{ms, secs};

const LINK: u64 = 1;

/// A layer in which neighbours are missed after a second, with a service at each member.
fn build(seed: u64, n: usize, edges: &[(usize, usize)]) -> (Layer, Watch) {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(LINK)));
    let layer = Layer::build_with(net, n, edges, UnicastLayer::new("net"), noticed_after(secs(1)));
    let mut watch = Watch::new(&layer, ms(300), secs(1));
    for i in 0..n {
        serve(&layer, i);
        watch.registered(&layer, &service(i), i);
    }
    watch.run(&layer, secs(2));
    assert_converged(&layer);
    (layer, watch)
}

/// Returns the places of a name that a member finds.
fn locate(layer: &Layer, by: usize, name: &str) -> Vec<Address> {
    let member: &IpcpHandle = &layer.members[by];
    layer.net.block_on(member.locate_async(name)).unwrap()
}

#[test]
fn a_member_crashes_and_returns() {
    let (mut layer, mut watch) = build(11, 9, &topology::grid(3, 3));
    let before = layer.address(4);
    layer.crash(4);
    for i in layer.neighbours(4) {
        watch.went_down(layer.net.now(), (4, i));
    }
    watch.run(&layer, ms(1500));
    assert!(watch.down_seen > 0, "no dead neighbour could have been noticed");
    for i in layer.neighbours(4) {
        watch.came_up((4, i));
    }
    assert_converged(&layer);

    let joining = layer.revive(4).unwrap();
    while !joining.is_finished() {
        watch.run(&layer, ms(50));
    }
    let member = layer.net.block_on(joining).unwrap();
    layer.revived(4, member);
    assert_ne!(layer.address(4), before);
    serve(&layer, 4);
    watch.registered(&layer, &service(4), 4);
    watch.run(&layer, secs(5));
    assert_converged(&layer);

    for by in [0, 2, 8] {
        assert_eq!(locate(&layer, by, &service(4)).first(), Some(&layer.address(4)), "the new one comes first");
    }
    let tally = Rc::<Tally>::default();
    (0..9).filter(|i| *i != 4).for_each(|from| talk(&layer, from, 4, 3, ms(100), &tally));
    watch.run(&layer, secs(5));
    tally.assert_complete(8, 3);
    assert!(watch.armed > 0, "no loop could have been noticed");
}

/// A member that leaves says so: the others go around it at once, and do not wait until it is missed, which takes ten
/// seconds here.
#[test]
fn a_member_that_leaves_is_not_waited_for() {
    type End = fn(&Layer, usize);
    let leave: End = |layer, i| layer.members[i].clone().leave();
    let shutdown: End = |layer, i| layer.hosts[i].stack().shutdown();
    for (way, end) in [("leave", leave), ("shutdown", shutdown)] {
        // 0 and 3 on two ways, by 1 and by 2.
        let net = Network::new(15);
        net.set_default_link(Link::default().latency(ms(LINK)));
        let mut layer = Layer::build(net, 4, &[(1, 0), (2, 0), (3, 1), (3, 2)], UnicastLayer::new("net"));
        layer.converge(secs(2));
        serve(&layer, 3);
        layer.net.run_for(secs(1));
        let tally = Rc::<Tally>::default();
        talk(&layer, 0, 3, 100, ms(100), &tally);
        layer.net.run_for(secs(2) + ms(50));
        let Walk::Arrives(path) = layer.walk(0, 3, Eid(1)) else { panic!("no way") };
        end(&layer, path[1]);
        layer.dead.insert(path[1]);
        layer.net.run_for(ms(20));
        assert_converged(&layer);
        // What was on its way to it has the time to pass.
        layer.net.run_for(ms(600));
        for i in [0, 3] {
            assert_eq!(layer.members[i].connections().len(), 2, "{way}: only the other one is left");
        }
        layer.net.run_for(secs(15));
        println!("{way}: {tally:?}");
        tally.assert_complete(1, 100);
    }
}

/// A member repeats that it leaves until it is heard.
#[test]
fn a_lost_leave_is_repeated() {
    let net = Network::new(16);
    net.set_default_link(Link::default().latency(ms(LINK)));
    let layer = Layer::build(net, 3, &[(1, 0), (2, 1)], UnicastLayer::new("net"));
    layer.converge(secs(2));
    // The one in the middle leaves, whichever side made the connection.
    for other in [0, 2] {
        layer.set_link((1, other), Link::default().loss(Loss::Random(1.0)));
    }
    layer.members[1].clone().leave();
    layer.net.run_for(ms(10));
    for other in [0, 2] {
        layer.set_link((1, other), Link::default().latency(ms(LINK)));
    }
    layer.net.run_for(secs(1));
    for other in [0, 2] {
        assert_eq!(layer.members[other].connections(), [], "{other} has noticed");
    }
}

#[test]
fn a_link_flaps() {
    let (layer, mut watch) = build(12, 6, &topology::ring(6));
    let tally = Rc::<Tally>::default();
    (1..6).for_each(|to| talk(&layer, 0, to, 400, ms(100), &tally));
    for down in [300, 800, 1500, 3000, 2000, 1200] {
        layer.set_link((0, 1), Link::default().loss(Loss::Random(1.0)));
        watch.run(&layer, ms(down));
        layer.set_link((0, 1), Link::default().latency(ms(LINK)));
        watch.run(&layer, ms(4000 - down / 2));
    }
    watch.run(&layer, secs(20));
    assert_converged(&layer);
    assert_eq!(layer.adjacencies(0).len(), 2, "the link is back");
    tally.assert_ended();
    assert_eq!((tally.flows.get(), tally.sent.get()), (5, 2000), "{tally:?}");
    // Each time the way over the link is lost until that is noticed, for a second at most: 0.3, 0.8 and four times 1 s.
    // At ten packets a second, a tenth of a second for the news, that is 55 packets of each of the three flows to
    // members that are not nearer the other way round.
    assert!(tally.echoed.get() >= 2000 - 3 * 55, "{tally:?}");
    assert!(watch.armed > 0, "no loop could have been noticed");
}

#[test]
fn a_partitioned_layer_heals() {
    let (layer, mut watch) = build(13, 8, &topology::grid(4, 2));
    let hosts = |column: [usize; 2]| column.map(|x| [address(x), address(4 + x)]).concat();
    let (left, right) = (hosts([0, 1]), hosts([2, 3]));
    let texts = |all: &[String]| all.iter().map(|a| a.parse().unwrap()).collect::<Vec<core::net::IpAddr>>();
    layer.net.partition(&texts(&left), &texts(&right));
    watch.run(&layer, secs(2));
    // Each half goes on by itself, and names that come up are found there.
    for (at, by) in [(0, 5), (3, 6)] {
        layer.members[at].register("during").unwrap();
        watch.registered(&layer, "during", at);
        watch.run(&layer, secs(1));
        assert_eq!(locate(&layer, by, "during"), [layer.address(at)]);
    }
    watch.run(&layer, secs(10));
    layer.net.heal();
    watch.run(&layer, HEALED);
    assert!(is_whole(&layer));
    assert_converged(&layer);
    let tally = Rc::<Tally>::default();
    for (from, to) in [(0, 3), (3, 0), (5, 6), (1, 7), (4, 2)] {
        talk(&layer, from, to, 3, ms(100), &tally);
    }
    watch.run(&layer, secs(3));
    tally.assert_complete(5, 3);
    assert!(watch.armed > 0, "no loop could have been noticed");
}

#[test]
fn twenty_per_cent_message_loss() {
    for seed in 0..3 {
        let net = Network::new(100 + seed);
        net.set_default_link(Link::default().latency(ms(2)).loss(Loss::Random(0.2)));
        let edges = topology::random(9, 14, &mut net.rng("edges"));
        // With keepalives every quarter of it, a neighbour is taken for dead if four are lost in a row.
        let layer = Layer::build_with(net, 9, &edges, UnicastLayer::new("net"), noticed_after(secs(60)));
        layer.converge(LOSSY_SETTLE);
        let mut watch = Watch::new(&layer, LOSSY_SETTLE, secs(60));
        for i in 0..9 {
            serve(&layer, i);
            watch.registered(&layer, &service(i), i);
        }
        watch.run(&layer, secs(10));
        for by in 0..9 {
            for at in (0..9).filter(|at| *at != by) {
                assert_eq!(locate(&layer, by, &service(at)), [layer.address(at)], "seed {seed}, from {by} to {at}");
            }
        }
        let tally = Rc::<Tally>::default();
        (1..9).for_each(|to| talk_over(&layer, (0, to), QosSpec::DATA, 20, ms(100), &tally));
        watch.run(&layer, secs(400));
        tally.assert_complete_or_silent(8, 20);
        assert!(watch.armed > 0, "no loop could have been noticed");
    }
}

#[test]
fn random_layers_with_random_faults() {
    for seed in o7s::sim::seeds(0..6) {
        faults::run(seed);
    }
}
