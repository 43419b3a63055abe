//! The cost of routes in a layer of 1 000 members with 8 links each, beside a textbook's algorithm, and of looking up
//! where a packet goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hint::black_box;
use std::time::Duration;

use o7s::base::rng::Rng;
use o7s::base::time::Instant;
use o7s::forward::pff::{ForwardingTable, NextHop};
use o7s::routing::{Config, Dialect, LinkState};
use o7s::types::id::{Address, N1FlowId};
use o7s::types::layer::RoutePolicy;
use o7s::types::routes::Routes;
use o7s::wire::link_state::Lsu;

use crate::measure::{each, in_turns, median};
use crate::table::{Bound, Row, time};

const MEMBERS: usize = 1000;
const LINKS: usize = 4000;
const DEGREE: usize = 8;
const RUNS: usize = 20;

/// The other ends of every member's links: a random graph in which no member has more than [`DEGREE`] links.
fn layer() -> Vec<BTreeSet<usize>> {
    let mut rng = Rng::from_seed([17; 32]);
    let mut links = vec![BTreeSet::new(); MEMBERS];
    let mut count = 0;
    for a in 0..MEMBERS {
        count += usize::from(links[a].insert((a + 1) % MEMBERS));
        links[(a + 1) % MEMBERS].insert(a);
    }
    // The last few members may find nobody whose links are not all taken.
    for _ in 0..1_000_000 {
        let [a, b] = [0; 2].map(|_| rng.below(MEMBERS as u64) as usize);
        if count < LINKS && a != b && links[a].len() < DEGREE && links[b].len() < DEGREE && links[a].insert(b) {
            links[b].insert(a);
            count += 1;
        }
    }
    // Member 0 has all of its own, which is what alternates depend on.
    assert!(count > LINKS - 20 && links[0].len() == DEGREE);
    links
}

fn address(member: usize) -> Address {
    Address((member as u64 + 1).wrapping_mul(0x9e37_79b9) & 0xffff_ffff)
}

/// Member 0 of a layer, and a link far away that comes and goes.
struct Member {
    routing: LinkState,
    now: Instant,
    news: Lsu,
}

impl Member {
    fn new(layer: &[BTreeSet<usize>], policy: RoutePolicy) -> Self {
        let mut config = Config::new(address(0));
        (config.timers.policy, config.timers.t_timeo) = (policy, 1_000_000);
        let mut routing = LinkState::new(config, Rng::from_seed([1; 32]));
        let now = Instant::ZERO;
        for (n, neighbour) in (2..).zip(&layer[0]) {
            routing.adjacency_up(now, N1FlowId(n), address(*neighbour));
        }
        routing.management_up(now, N1FlowId(1), address(*layer[0].first().unwrap()), Dialect::Confirming);
        for (a, links) in layer.iter().enumerate().skip(1) {
            for b in links {
                let update = Lsu { dst: address(*b), src: address(a), seqno: 1 << 32 };
                routing.handle_packet(now, N1FlowId(1), &update.to_bytes());
            }
        }
        let far = MEMBERS / 2;
        let news = Lsu { dst: address(far + 1), src: address(far), seqno: 1 << 32 };
        let mut member = Self { routing, now, news };
        assert_eq!(member.routes().len(), MEMBERS - 1);
        member
    }

    fn routes(&mut self) -> std::sync::Arc<Routes> {
        self.now += Duration::from_secs(1);
        self.routing.poll_routes(self.now);
        self.routing.routes().clone()
    }

    /// Seconds from the news that a link has gone or is back to the new routes.
    fn seconds(&mut self) -> f64 {
        each(1, || {
            let withdraws = self.news.seqno as u32 == 0;
            self.news.seqno += if withdraws { u64::from(u32::MAX) } else { 1 };
            self.routing.handle_packet(self.now, N1FlowId(1), &self.news.to_bytes());
            black_box(self.routes());
        })
    }
}

/// Dijkstra's algorithm with a heap, once for every member in `roots`.
fn textbook(graph: &[Vec<usize>], roots: &[usize]) -> u32 {
    let mut sum = 0;
    for root in roots {
        let mut distance = vec![u32::MAX; graph.len()];
        let mut heap = BinaryHeap::from([Reverse((0, *root))]);
        distance[*root] = 0;
        while let Some(Reverse((d, near))) = heap.pop() {
            for next in &graph[near] {
                if d + 1 < distance[*next] {
                    distance[*next] = d + 1;
                    heap.push(Reverse((d + 1, *next)));
                }
            }
        }
        sum += distance[graph.len() - 1];
    }
    sum
}

pub(crate) fn shortest_paths() -> Vec<Row> {
    let layer = layer();
    let graph: Vec<Vec<usize>> = layer.iter().map(|links| links.iter().copied().collect()).collect();
    let around: Vec<usize> = std::iter::once(0).chain(layer[0].iter().copied()).collect();
    let policies = [
        ("shortest paths, 1 000 nodes, 4 000 links", RoutePolicy::Simple, &around[..1]),
        ("the same with loop-free alternates, degree 8", RoutePolicy::LoopFreeAlternates, &around),
        ("the same with equal-cost multipath", RoutePolicy::EqualCostMultipath, &around),
    ];
    let rows = policies.map(|(what, policy, roots)| {
        let mut member = Member::new(&layer, policy);
        let mut seconds = || member.seconds();
        let mut textbook = || {
            each(1, || {
                black_box(textbook(&graph, roots));
            })
        };
        let [ours, other] = in_turns(RUNS, [&mut seconds, &mut textbook]);
        Row::info(what, time(ours), format!("{} x Dijkstra with a heap: {}", roots.len(), time(other)))
            .ratio(ours, other)
            .absolute(ours * 1e3)
            .must(Bound::AtMost(10.0))
            .aim(Bound::AtMost(1.0))
    });
    rows.into_iter().chain([updates(&layer)]).collect()
}

/// A round of announcements that change nothing, each of which is heard from one neighbour, passed on to the others and
/// confirmed by them.
fn updates(layer: &[BTreeSet<usize>]) -> Row {
    let mut member = Member::new(layer, RoutePolicy::Simple);
    let flows: Vec<N1FlowId> = (1..=DEGREE as u32).map(N1FlowId).collect();
    for (flow, neighbour) in flows.iter().zip(&layer[0]) {
        member.routing.management_up(member.now, *flow, address(*neighbour), Dialect::Confirming);
        let update = Lsu { dst: address(0), src: address(*neighbour), seqno: 2 << 32 };
        member.routing.handle_packet(member.now, *flow, &update.to_bytes());
    }
    let mut links: Vec<(usize, usize)> =
        layer.iter().enumerate().skip(1).flat_map(|(a, links)| links.iter().map(move |b| (a, *b))).collect();
    links.retain(|(a, b)| (*a, *b) != (MEMBERS / 2, MEMBERS / 2 + 1));
    let mut messages = 0;
    let mut round = |count: u64| {
        for (a, b) in &links {
            let update = Lsu { dst: address(*b), src: address(*a), seqno: (3 << 32) + count }.to_bytes();
            member.routing.handle_packet(member.now, flows[0], &update);
            member.now += Duration::from_millis(25);
            member.routing.handle_timeout(member.now);
            while let Some((flow, bytes)) = member.routing.poll_transmit(member.now) {
                messages += 2;
                member.routing.handle_packet(member.now, flow, &bytes);
            }
        }
    };
    round(0);
    let seconds = each(1, || round(1));
    let per_message = seconds / (messages / 2) as f64;
    Row::info("link-state update, sent or received", time(per_message), format!("{} links", links.len()))
}

struct Up(u32);

impl NextHop for Up {
    fn is_up(&self) -> bool {
        self.0 > 0
    }
}

pub(crate) fn forwarding_table() -> Vec<Row> {
    const LOOKUPS: usize = 100_000;
    let layer = layer();
    let mut rng = Rng::from_seed([5; 32]);
    let asked: Vec<(Address, u64)> =
        (0..LOOKUPS).map(|_| (address(1 + rng.below(MEMBERS as u64 - 1) as usize), rng.u64())).collect();
    let policies = [
        ("forwarding table, 1 000 destinations, simple", RoutePolicy::Simple),
        ("forwarding table, loop-free alternates", RoutePolicy::LoopFreeAlternates),
        ("forwarding table, equal-cost multipath", RoutePolicy::EqualCostMultipath),
    ];
    let rows = policies.map(|(what, policy)| {
        let routes = Member::new(&layer, policy).routes();
        let table = ForwardingTable::new(&routes, 1, |neighbour| [Up(neighbour.0 as u32 | 1)]);
        let tree: BTreeMap<Address, u32> = routes.iter().map(|(dst, hops)| (dst, hops[0].0 as u32 | 1)).collect();
        let sum = |seconds: f64| seconds / LOOKUPS as f64;
        let mut ours = || {
            sum(each(1, || {
                let found = asked.iter().map(|(dst, flow)| table.lookup(*dst, *flow).map_or(0, |up| up.0));
                black_box(found.fold(0, u32::wrapping_add));
            }))
        };
        let mut other = || {
            sum(each(1, || {
                let found = asked.iter().map(|(dst, _)| tree.get(dst).copied().unwrap_or(0));
                black_box(found.fold(0, u32::wrapping_add));
            }))
        };
        let [ours, other] = in_turns(RUNS, [&mut ours, &mut other]);
        Row::info(what, time(ours), format!("a BTreeMap, one hop: {}", time(other))).ratio(ours, other)
    });
    let routes = Member::new(&layer, RoutePolicy::LoopFreeAlternates).routes();
    let build = || ForwardingTable::new(&routes, 1, |neighbour| [Up(neighbour.0 as u32)]);
    let built = median((0..RUNS).map(|_| each(1, || drop(black_box(build())))).collect());
    rows.into_iter().chain([Row::info("building it", time(built), "")]).collect()
}
