//! Unicast layers in virtual time: networks of every shape, on which all members reach each other.

use std::rc::Rc;

use o7s::base::rng::Rng;
use o7s::ipcp::unicast::Config;
use o7s::sim::{Link, Network};
use o7s::types::id::Address;
use o7s::types::layer::RoutePolicy;
use o7s::{Name, QosSpec, UnicastLayer};

use super::world::layer::{Layer, NOTICED};
use super::world::topology::{self, Edges};
use super::world::traffic::{Tally, serve, talk};
use super::world::watch::{Watch, assert_converged};
use super::world::{ms, secs};

fn network(seed: u64) -> Network {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(1)));
    net
}

/// Builds the layer, has every member talk to every other, and watches.
fn everybody_talks_to_everybody(seed: u64, edges: Edges, layer: UnicastLayer) {
    let n = 1 + edges.iter().map(|(a, b)| *a.max(b)).max().unwrap();
    let layer = Layer::build(network(seed), n, &edges, layer);
    let mut watch = Watch::new(&layer, ms(300), NOTICED);
    layer.converge(secs(2));
    for i in 0..n {
        serve(&layer, i);
        watch.registered(&layer, &super::world::traffic::service(i), i);
    }
    watch.run(&layer, secs(1));
    let tally = Rc::<Tally>::default();
    for from in 0..n {
        for to in (0..n).filter(|to| *to != from) {
            talk(&layer, from, to, 5, ms(100), &tally);
        }
    }
    watch.run(&layer, secs(5));
    tally.assert_complete((n * (n - 1)) as u32, 5);
    assert!(watch.armed > 0, "no loop could have been noticed");
    assert_converged(&layer);
}

#[test]
fn members_in_a_line() {
    everybody_talks_to_everybody(1, topology::line(8), UnicastLayer::new("net"));
}

#[test]
fn members_in_a_ring() {
    everybody_talks_to_everybody(2, topology::ring(9), UnicastLayer::new("net"));
}

#[test]
fn members_in_a_star() {
    everybody_talks_to_everybody(3, topology::star(10), UnicastLayer::new("net"));
}

#[test]
fn members_in_a_full_mesh() {
    everybody_talks_to_everybody(4, topology::full_mesh(7), UnicastLayer::new("net"));
}

#[test]
fn members_in_a_grid() {
    for policy in [RoutePolicy::Simple, RoutePolicy::LoopFreeAlternates, RoutePolicy::EqualCostMultipath] {
        everybody_talks_to_everybody(5, topology::grid(4, 3), UnicastLayer::new("net").routing(policy));
    }
}

#[test]
fn random_graphs() {
    for seed in 0..4 {
        let mut rng = Rng::from_seed([0x72; 32]).split(&seed.to_string());
        let edges = topology::random(12, 18, &mut rng);
        everybody_talks_to_everybody(seed, edges, UnicastLayer::new("net"));
    }
}

#[test]
fn a_reliable_flow_through_a_line() {
    let layer = Layer::build(network(6), 3, &topology::line(3), UnicastLayer::new("net"));
    let net = &layer.net;
    let listener = layer.hosts[2].stack().bind("echo").unwrap();
    layer.members[2].register("echo").unwrap();
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        while let Ok(packet) = flow.read_bytes().await {
            flow.write(&packet).await.unwrap();
        }
    });
    net.block_on(net.sleep(secs(1)));
    let flow = net.block_on(layer.hosts[0].stack().flow("echo").qos(QosSpec::DATA).alloc_async()).unwrap();
    net.block_on(async {
        for i in 0..100u32 {
            flow.write(&i.to_be_bytes()).await.unwrap();
            assert_eq!(&*flow.read_bytes().await.unwrap(), i.to_be_bytes());
        }
    });
}

/// A new member with the address of another finds out as soon as it hears of the layer's links, and takes another.
#[test]
fn two_members_with_the_same_address() {
    let net = Network::new(2);
    net.set_default_link(Link::default().latency(ms(1)));
    let hosts: Vec<_> = (1..=4).map(|i| net.host(&format!("h{i}")).udp4(&format!("10.0.0.{i}")).build()).collect();
    let member = |i: usize, address| {
        let config = Config::default().address(address);
        hosts[i].stack().unicast(&format!("m{i}")).over(&hosts[i].udp4()[0]).config(config)
    };
    for (i, host) in hosts.iter().enumerate() {
        net.names().insert_at(&Name::new(&format!("m{i}")).unwrap(), host.udp4()[0].local_addr().unwrap());
    }
    let first = member(0, Some(Address(7))).bootstrap(UnicastLayer::new("net")).unwrap();
    let (second, third) = net.block_on(async {
        let second = member(1, None).enroll_async("m0").await.unwrap();
        second.connect_async("m0").await.unwrap();
        let other = member(3, None).enroll_async("m0").await.unwrap();
        other.connect_async("m0").await.unwrap();
        let third = member(2, Some(Address(7))).enroll_async("m1").await.unwrap();
        third.connect_async("m1").await.unwrap();
        // Long enough for the connections under the old address to be missed.
        net.sleep(secs(15)).await;
        (second, third)
    });
    assert_eq!(first.address(), Some(Address(7)), "who was there first keeps it");
    assert_ne!(third.address(), Some(Address(7)));
    assert_eq!(third.connections().len(), 2, "connected again");
    assert_eq!(second.connections().len(), 4);
    third.register("late").unwrap();
    let listener = hosts[2].stack().bind("late").unwrap();
    net.block_on(async {
        net.sleep(secs(1)).await;
        let asking = hosts[0].stack().flow("late").timeout(secs(5)).alloc_async();
        net.spawn(async move { drop(listener.accept_async().await.unwrap()) });
        asking.await.unwrap();
    });
}
