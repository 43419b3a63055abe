//! Faults in layers that are watched.

use core::time::Duration;

use o7s::UnicastLayer;
use o7s::sim::{Link, Network};

use super::caught;
use super::world::layer::{self, Layer, address, noticed_after};
use super::world::plant::{self, Kind};
use super::world::topology::{self, Edges};
use super::world::traffic::{serve, service};
use super::world::watch::{Watch, assert_converged, is_whole};
use super::world::{lookups, ms, secs};

fn build(n: usize, edges: &Edges, noticed: Duration) -> (Layer, Watch) {
    let net = Network::new(1);
    net.set_default_link(Link::default().latency(ms(1)));
    let kind = layer::Kind { detection: Duration::ZERO, ..layer::Kind::default() };
    let layer = Layer::build_of(net, n, edges, UnicastLayer::new("net"), noticed_after(noticed), kind);
    layer.converge(secs(2));
    // They are told that it takes a second, whatever it takes.
    let mut watch = Watch::new(&layer, ms(300), secs(1));
    watch.run(&layer, secs(2));
    assert!(watch.armed > 0 && is_whole(&layer));
    (layer, watch)
}

fn cut(layer: &Layer, a: usize, b: usize) {
    layer.net.partition(&[address(a).as_str()], &[address(b).as_str()]);
}

#[test]
fn a_loop_outlives_convergence() {
    let (layer, mut watch) = build(6, &topology::ring(6), secs(1));
    // 0 goes the other way round, by 5, which has not heard of it and goes by 0.
    plant::lose(&layer.net, Kind::LinkState);
    cut(&layer, 0, 1);
    caught("a loop outlives convergence", || watch.run(&layer, secs(3)));
}

#[test]
fn a_black_hole_outlives_convergence() {
    let (layer, mut watch) = build(4, &topology::line(4), secs(1));
    cut(&layer, 1, 2);
    watch.run(&layer, secs(3));
    // 1 and 2 are neighbours again, but 0 and 3 do not hear of it.
    plant::lose(&layer.net, Kind::LinkState);
    layer.net.heal();
    caught("a black hole outlives convergence", || watch.run(&layer, secs(40)));
}

#[test]
fn a_dead_neighbour_is_not_noticed() {
    let (layer, mut watch) = build(3, &topology::line(3), secs(30));
    cut(&layer, 0, 1);
    watch.went_down(layer.net.now(), (0, 1));
    caught("has not noticed", || watch.run(&layer, secs(2)));
}

#[test]
fn a_member_leaves_silently() {
    let (mut layer, mut watch) = build(3, &topology::line(3), secs(1));
    layer.crash(2);
    watch.left(layer.net.now(), (1, 2), false);
    caught("has not noticed", || watch.run(&layer, secs(1)));
}

#[test]
fn one_end_does_not_notice_a_deaf_peer() {
    let (layer, mut watch) = build(3, &topology::line(3), secs(30));
    layer.net.set_link(address(0).as_str(), address(1).as_str(), Link::default().loss(o7s::sim::Loss::Random(1.0)));
    watch.went_down_one_way(layer.net.now(), (0, 1), true);
    caught("has not noticed", || watch.run(&layer, secs(5)));
}

#[test]
fn a_name_is_found_at_a_wrong_member() {
    let (layer, mut watch) = build(3, &topology::line(3), secs(1));
    (0..3).for_each(|i| watch.registered(&layer, &service(i), i));
    (0..3).for_each(|i| serve(&layer, i));
    watch.run(&layer, secs(2));
    layer.members[2].register(&service(0)).unwrap();
    caught("keeps a wrong address", || watch.run(&layer, secs(2)));
}

#[test]
fn a_table_grows_beyond_its_bound() {
    for table in ["lsdb", "adjacencies", "managements", "names", "dht/stats/keys", "dht/stats/contacts"] {
        let (layer, mut watch) = build(3, &topology::line(3), secs(1));
        (0..3).for_each(|i| watch.registered(&layer, &service(i), i));
        (0..3).for_each(|i| serve(&layer, i));
        watch.run(&layer, secs(2));
        watch.set_bound(table, 0);
        caught(&format!("{table} is "), || watch.run(&layer, secs(1)));
    }
}

#[test]
fn a_layer_does_not_converge() {
    let net = Network::new(1);
    net.set_default_link(Link::default().latency(ms(1)));
    plant::lose(&net, Kind::LinkState);
    let layer = Layer::build(net, 3, &topology::line(3), UnicastLayer::new("net"));
    caught("no way from", || layer.converge(secs(5)));
    caught("from 0 to ", || assert_converged(&layer));
    assert!(!is_whole(&layer));
}

#[test]
fn a_lookup_finds_nothing() {
    let (layer, _) = build(4, &topology::ring(4), secs(1));
    // No member is told of any name.
    plant::lose(&layer.net, Kind::Directory);
    lookups::register(&layer);
    layer.net.run_for(secs(2));
    let effort = lookups::query(&layer, 2, &mut layer.net.rng("lookups"));
    assert_eq!((effort.time.len(), effort.wrong.len()), (8, 8), "{effort:?}");
}
