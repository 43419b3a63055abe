//! Losses of a stream of packets by a failed link.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use o7s::UnicastLayer;
use o7s::base::time::Instant;
use o7s::sim::{Link, Loss, Network};
use o7s::types::id::Eid;
use o7s::types::layer::{CongestionAvoidance, RoutePolicy};

use super::layer::{Layer, Walk, noticed_after};
use super::{ms, secs, topology};

/// A packet of the stream each millisecond.
const EVERY: Duration = Duration::from_millis(1);

/// Effects of a failure on a stream of packets.
#[derive(Debug)]
pub(crate) struct Outage {
    /// Time from the failure until the member before the link had noticed.
    pub(crate) noticed: Duration,
    /// And the one behind it.
    pub(crate) noticed_behind: Duration,
    /// Time from the failure until the last lost packet was sent.
    pub(crate) last_lost: Duration,
    pub(crate) lost: usize,
}

impl Outage {
    /// Something was lost, and nothing that was sent later than so long after the first who could notice did.
    pub(crate) fn assert_over(&self, after: Duration) {
        assert!(self.lost > 0, "the stream did not go over the link");
        // Each end takes its half of the link back when it notices.
        let detected = self.noticed.min(self.noticed_behind);
        assert!(self.last_lost <= detected + after, "routes do not avoid the link: {self:?}");
    }

    /// Something was lost, and nothing after the one before the link had noticed.
    pub(crate) fn assert_over_when_noticed(&self) {
        assert!(self.lost > 0, "the stream did not go over the link");
        assert!(self.last_lost <= self.noticed, "the alternate is not used: {self:?}");
    }
}

/// A random layer whose members notice each other's end after a second.
pub(crate) fn layer(seed: u64, n: usize, links: usize, policy: RoutePolicy) -> Layer {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(1)));
    let edges = topology::random(n, links, &mut net.rng("edges"));
    layer_of(net, n, &edges, policy)
}

/// As [`layer`], with these links.
pub(crate) fn layer_of(net: Network, n: usize, edges: &[(usize, usize)], policy: RoutePolicy) -> Layer {
    // A sender that waits for news from the receiver would lose little, however long the way is gone.
    let config = UnicastLayer::new("net").routing(policy).congestion(CongestionAvoidance::None);
    let layer = Layer::build_with(net, n, edges, config, noticed_after(secs(1)));
    layer.converge(secs(10));
    layer.net.run_for(secs(2));
    layer
}

/// Returns `true` if all members can still be reached without a link.
pub(crate) fn can_do_without(layer: &Layer, (a, b): (usize, usize)) -> bool {
    let left: Vec<_> = layer.edges.iter().filter(|e| **e != (a.min(b), a.max(b))).copied().collect();
    topology::parts(layer.len(), &left).iter().all(|part| *part == 0)
}

/// Returns `true` if `a` has another neighbour than `b` whose way to `to` does not lead back to `a`.
pub(crate) fn has_alternate(layer: &Layer, (a, b): (usize, usize), to: usize) -> bool {
    let (distance, around) = (topology::distances(layer.len(), &layer.edges, to), layer.neighbours(a));
    around.into_iter().any(|n| n != b && distance[n] < 1 + distance[a])
}

/// A link on the way from one member to another that is as it should be.
pub(crate) fn link_on_the_way(layer: &Layer, (from, to): (usize, usize), suits: Suits) -> Option<(usize, usize)> {
    let Walk::Arrives(way) = layer.walk(from, to, Eid(1)) else { panic!("no way") };
    way.windows(2).map(|hop| (hop[0], hop[1])).find(|link| suits(layer, *link, to))
}

pub(crate) type Suits = fn(&Layer, (usize, usize), usize) -> bool;

/// Has member `from` stream to `to`, cuts a link on the way, and sees what gets lost.
pub(crate) fn cut_a_link(layer: &Layer, (from, to): (usize, usize), cut: (usize, usize)) -> Outage {
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
        assert!(net.now() - failed < secs(5), "{cut:?} is cut unnoticed");
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
