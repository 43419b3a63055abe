//! How soon routes avoid a failed link, and what is lost until then.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use o7s::UnicastLayer;
use o7s::base::time::Instant;
use o7s::sim::{Link, Loss, Network};
use o7s::types::id::Eid;
use o7s::types::layer::RoutePolicy;

use super::world::layer::{Layer, Walk, noticed_after};
use super::world::topology;
use super::world::{ms, secs};

/// A packet of the stream each millisecond.
const EVERY: Duration = Duration::from_millis(1);

/// What a failure did to a stream of packets.
#[derive(Debug)]
struct Outage {
    /// From the failure until the one before the link had noticed.
    noticed: Duration,
    /// And the one behind it.
    noticed_behind: Duration,
    /// From the failure until the last packet was sent that got lost.
    last_lost: Duration,
    lost: usize,
}

/// Whether everybody can still be reached without a link.
fn can_do_without(layer: &Layer, (a, b): (usize, usize)) -> bool {
    let left: Vec<_> = layer.edges.iter().filter(|e| **e != (a.min(b), a.max(b))).copied().collect();
    topology::parts(layer.len(), &left).iter().all(|part| *part == 0)
}

/// Whether `a` has another neighbour than `b` whose way to `to` does not lead back to `a`.
fn has_alternate(layer: &Layer, (a, b): (usize, usize), to: usize) -> bool {
    let (distance, around) = (topology::distances(layer.len(), &layer.edges, to), layer.neighbours(a));
    around.into_iter().any(|n| n != b && distance[n] < 1 + distance[a])
}

/// A link on the way from one member to another that is as it should be.
fn link_on_the_way(layer: &Layer, (from, to): (usize, usize), suits: Suits) -> Option<(usize, usize)> {
    let Walk::Arrives(way) = layer.walk(from, to, Eid(1)) else { panic!("no way") };
    way.windows(2).map(|hop| (hop[0], hop[1])).find(|link| suits(layer, *link, to))
}

type Suits = fn(&Layer, (usize, usize), usize) -> bool;

/// Has member `from` stream to `to`, cuts a link on the way, and sees what gets lost.
fn cut_a_link(layer: &Layer, (from, to): (usize, usize), cut: (usize, usize)) -> Outage {
    let net = &layer.net;
    let stream = format!("stream-{}", net.now().as_nanos());
    let listener = layer.hosts[to].stack().bind(&stream).unwrap();
    layer.members[to].register(&stream).unwrap();
    let arrived = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&arrived);
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        while let Ok(packet) = flow.read_bytes().await {
            sink.borrow_mut().push(u64::from_be_bytes(packet[..].try_into().unwrap()));
        }
    });
    net.run_for(secs(2));
    let flow = net.block_on(layer.hosts[from].stack().flow(&stream).timeout(secs(30)).alloc_async()).unwrap();
    let sent = Rc::new(RefCell::new(Vec::<Instant>::new()));
    let (clock, log) = (net.clone(), Rc::clone(&sent));
    net.spawn(async move {
        for number in 0..8000u64 {
            clock.sleep(EVERY).await;
            log.borrow_mut().push(clock.now());
            flow.write(&number.to_be_bytes()).await.unwrap();
        }
        clock.sleep(secs(5)).await;
    });
    net.run_for(secs(1));
    let failed = net.now();
    layer.set_link(cut, Link::default().loss(Loss::Random(1.0)));
    let ends = [cut.0, cut.1];
    let adjacent = ends.map(|i| layer.adjacencies(i).len());
    let mut noticed = [None; 2];
    while noticed.iter().any(Option::is_none) {
        net.run_for(Duration::from_micros(100));
        for (i, noticed) in noticed.iter_mut().enumerate() {
            if noticed.is_none() && layer.adjacencies(ends[i]).len() < adjacent[i] {
                *noticed = Some(net.now() - failed);
            }
        }
        assert!(net.now() - failed < secs(5), "nobody notices that {cut:?} is cut");
    }
    net.run_for(secs(3));
    layer.set_link(cut, Link::default().latency(ms(1)));
    net.run_for(secs(8));
    let arrived: std::collections::BTreeSet<_> = arrived.borrow().iter().copied().collect();
    let sent = sent.borrow();
    let lost: Vec<_> = (0..sent.len() as u64).filter(|n| !arrived.contains(n)).collect();
    let last = lost.last().map_or(Duration::ZERO, |n| sent[*n as usize] - failed);
    let [noticed, noticed_behind] = noticed.map(Option::unwrap);
    Outage { noticed, noticed_behind, last_lost: last, lost: lost.len() }
}

fn layer(seed: u64, n: usize, links: usize, policy: RoutePolicy) -> Layer {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(1)));
    let edges = topology::random(n, links, &mut net.rng("edges"));
    let layer = Layer::build_with(net, n, &edges, UnicastLayer::new("net").routing(policy), noticed_after(secs(1)));
    layer.converge(secs(10));
    layer.net.run_for(secs(2));
    layer
}

#[test]
fn routes_avoid_a_failed_link_within_100_ms_of_its_detection() {
    let layer = layer(21, 100, 200, RoutePolicy::Simple);
    for (from, to) in [(3, 97), (50, 20), (77, 8)] {
        let cut = link_on_the_way(&layer, (from, to), |layer, link, _| can_do_without(layer, link)).unwrap();
        let outage = cut_a_link(&layer, (from, to), cut);
        println!("100 members, link {cut:?} on the way from {from} to {to} fails: {outage:?}");
        assert!(outage.lost > 0, "the stream went over the link");
        // Each end takes its half of the link back when it notices.
        let detected = outage.noticed.min(outage.noticed_behind);
        assert!(outage.last_lost <= detected + ms(100), "{outage:?}");
        layer.net.run_for(secs(20));
    }
}

#[test]
fn with_an_alternate_nothing_is_lost_after_the_detection() {
    let mut cuts = 0;
    for seed in 30..34 {
        let layer = layer(seed, 30, 60, RoutePolicy::LoopFreeAlternates);
        let mut rng = layer.net.rng("pairs");
        for _ in 0..3 {
            let (from, to) = (rng.below(30) as usize, rng.below(30) as usize);
            if from == to {
                continue;
            }
            let Some(cut) = link_on_the_way(&layer, (from, to), has_alternate) else { continue };
            let outage = cut_a_link(&layer, (from, to), cut);
            println!("seed {seed}, link {cut:?} on the way from {from} to {to} fails: {outage:?}");
            assert!(outage.lost > 0, "the stream went over the link");
            assert!(outage.last_lost <= outage.noticed, "{outage:?}");
            cuts += 1;
            layer.net.run_for(secs(20));
        }
    }
    assert!(cuts > 4, "{cuts}");
}
