use alloc::collections::BTreeSet;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::routing::graph::FAR;
use crate::types::layer::RoutePolicy;

const POLICIES: [RoutePolicy; 3] =
    [RoutePolicy::Simple, RoutePolicy::LoopFreeAlternates, RoutePolicy::EqualCostMultipath];
const NO_LIMITS: Limits = Limits { next_hops: usize::MAX, candidates: usize::MAX };

/// A graph with these usable links, and these that only the first end announces.
fn graph(both: &[(u64, u64)], one_way: &[(u64, u64)]) -> Graph {
    let mut graph = Graph::default();
    for (a, b) in both {
        let (from, to) = graph.name(Address(*a), Address(*b));
        graph.name(Address(*b), Address(*a));
        graph.connect(from, to);
    }
    for (a, b) in one_way {
        graph.name(Address(*a), Address(*b));
    }
    graph
}

fn routes(graph: &Graph, root: u64, policy: RoutePolicy) -> Routes {
    Paths::default().compute(graph, Address(root), policy::of(policy), NO_LIMITS)
}

/// `2: 2,3 · 4: 3` as routes; the first next hop, and the others in order of address.
fn parse(text: &str) -> Vec<(Address, Address, BTreeSet<Address>)> {
    let number = |text: &str| Address(text.trim().parse().unwrap());
    let rows = text.split('·').map(|row| {
        let (dst, hops) = row.split_once(':').unwrap();
        let hops: Vec<_> = hops.split(',').map(number).collect();
        (number(dst), hops[0], hops.into_iter().collect())
    });
    rows.collect()
}

fn normal(routes: &Routes) -> Vec<(Address, Address, BTreeSet<Address>)> {
    routes.iter().map(|(dst, hops)| (dst, hops[0], hops.iter().copied().collect())).collect()
}

/// Routes of the reference; its order of alternates is that in which links became known, and it repeats the first. It
/// uses neighbours of which only one end announces the link; here these are left out.
#[test]
fn routes_agree_with_the_reference() {
    let seven = [(1, 2), (2, 3), (1, 3), (3, 4), (4, 5), (2, 6), (6, 7), (3, 7)];
    let square = [(1, 2), (1, 3), (2, 4), (3, 4)];
    let line = [(1, 2), (2, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 6)];
    let two = [(1, 2), (2, 3), (3, 4), (4, 10), (1, 5), (5, 6), (6, 10)];
    let [simple, lfa, ecmp] = POLICIES;
    for (links, one_way, policy, expected) in [
        (&seven[..], &[][..], simple, "2:2 · 3:3 · 4:3 · 5:3 · 6:2 · 7:3"),
        (&seven, &[], lfa, "2:2,3 · 3:3,2 · 4:3,3,2 · 5:3,3,2 · 6:2,3,2 · 7:3,3,2"),
        (&seven, &[], ecmp, "2:2 · 3:3 · 4:3 · 5:3 · 6:2 · 7:3"),
        (&square, &[], simple, "2:2 · 3:3 · 4:2"),
        (&square, &[], lfa, "2:2 · 3:3 · 4:2,3,2"),
        (&square, &[], ecmp, "2:2 · 3:3 · 4:2,3"),
        (&line, &[(1, 5)], simple, "2:2 · 5:2 · 6:2 · 7:2 · 8:8 · 9:8"),
        (&line, &[(1, 5)], lfa, "2:2 · 5:2,2 · 6:2,8,2 · 7:2,8,2 · 8:8 · 9:8,8"),
        (&line, &[(1, 5)], ecmp, "2:2 · 5:2 · 6:2,8 · 7:2,8 · 8:8 · 9:8"),
        (&two, &[(1, 3)], ecmp, "2:2 · 3:2 · 4:2 · 5:5 · 6:5 · 10:5"),
    ] {
        assert_eq!(normal(&routes(&graph(links, one_way), 1, policy)), parse(expected), "{policy:?}");
    }
}

/// Its own test grows and shrinks a graph: so many destinations each time.
#[test]
fn routes_follow_a_changing_graph() {
    let mut g = graph(&[], &[]);
    let add = |g: &mut Graph, a: u64, b: u64| {
        let (a, b) = (g.name(Address(a), Address(b)).0, g.name(Address(b), Address(a)).0);
        g.connect(a, b);
        (a, b)
    };
    let count = |g: &Graph| POLICIES.map(|policy| routes(g, 1, policy).len());
    assert_eq!(count(&g), [0; 3], "nobody is known");
    let first = add(&mut g, 1, 2);
    assert_eq!(count(&g), [1; 3]);
    add(&mut g, 2, 3);
    assert_eq!(count(&g), [2; 3]);
    g.disconnect(first.0, first.1);
    assert_eq!(count(&g), [0; 3], "and nothing of old is left");
    g.unname(first.0, first.1);
    g.unname(first.1, first.0);
    assert!(g.find(Address(1)).is_none() && g.find(Address(2)).is_some());
    let again = add(&mut g, 1, 3);
    assert_eq!(again.0, first.0, "numbers are used again");
    assert_eq!(count(&g), [2; 3]);
}

#[test]
fn work_and_routes_are_limited() {
    let spokes: Vec<_> = (2..100).flat_map(|n| [(1, n), (n, 1000)]).collect();
    let g = graph(&spokes, &[]);
    let limits = Limits { next_hops: 5, candidates: 10 };
    for policy in POLICIES {
        let routes = Paths::default().compute(&g, Address(1), policy::of(policy), limits);
        let expected = if policy == RoutePolicy::Simple { 1 } else { 5 };
        assert_eq!(routes.get(Address(1000)).len(), expected);
        assert_eq!(routes.get(Address(1000))[0], Address(2));
    }
}

#[test]
fn an_alternate_that_avoids_the_neighbour_comes_first() {
    // 1 reaches 9 through 2. 3 is as far from it, but only through 2; 4 has a way of its own, which is as long.
    let g = graph(&[(1, 2), (2, 9), (1, 3), (3, 2), (1, 4), (4, 5), (5, 9), (4, 2)], &[]);
    assert_eq!(routes(&g, 1, RoutePolicy::LoopFreeAlternates).get(Address(9)), [2, 3, 4].map(Address));
    let g = graph(&[(1, 2), (2, 8), (8, 9), (1, 3), (3, 2), (1, 4), (4, 80), (80, 9)], &[]);
    assert_eq!(routes(&g, 1, RoutePolicy::LoopFreeAlternates).get(Address(9)), [2, 4, 3].map(Address));
}

/// All distances between `n` members, by Floyd and Warshall.
fn distances(n: usize, links: &BTreeSet<(usize, usize)>) -> Vec<Vec<u64>> {
    let mut d = vec![vec![u64::from(FAR); n]; n];
    (0..n).for_each(|i| d[i][i] = 0);
    for &(a, b) in links {
        (d[a][b], d[b][a]) = (1, 1);
    }
    for k in 0..n {
        for i in 0..n {
            for j in 0..n {
                d[i][j] = d[i][j].min(d[i][k] + d[k][j]);
            }
        }
    }
    d
}

/// A layer of up to 14 members whose addresses are in any order.
fn layer() -> impl Strategy<Value = (Vec<u64>, BTreeSet<(usize, usize)>)> {
    (2usize..14).prop_flat_map(|n| {
        let link = (0..n, 0..n).prop_filter_map("a link to itself", |(a, b)| (a != b).then_some((a.min(b), a.max(b))));
        let addresses = Just((0..n as u64).map(|i| 10 + 3 * i).collect::<Vec<_>>()).prop_shuffle();
        (addresses, proptest::collection::btree_set(link, 0..2 * n))
    })
}

proptest! {
    #[test]
    fn routes_agree_with_distances((addresses, links) in layer()) {
        let d = distances(addresses.len(), &links);
        let named: Vec<_> = links.iter().map(|(a, b)| (addresses[*a], addresses[*b])).collect();
        let g = graph(&named, &[]);
        let index = |address: Address| addresses.iter().position(|a| *a == address.0).unwrap();
        for s in 0..addresses.len() {
            let neighbours: BTreeSet<_> = (0..addresses.len()).filter(|n| d[s][*n] == 1).collect();
            let [simple, lfa, ecmp] = POLICIES.map(|policy| routes(&g, addresses[s], policy));
            for v in (0..addresses.len()).filter(|v| *v != s) {
                let dst = Address(addresses[v]);
                if d[s][v] >= u64::from(FAR) {
                    prop_assert!([&simple, &lfa, &ecmp].iter().all(|routes| routes.get(dst).is_empty()));
                    continue;
                }
                // The next hop of the lowest-addressed member among those one hop nearer.
                let mut at = v;
                while d[s][at] > 1 {
                    let nearer = (0..addresses.len()).filter(|u| d[*u][at] == 1 && d[s][*u] + 1 == d[s][at]);
                    at = nearer.min_by_key(|u| addresses[*u]).unwrap();
                }
                prop_assert_eq!(simple.get(dst), [Address(addresses[at])]);

                let alternates: BTreeSet<_> = lfa.get(dst)[1..].iter().map(|a| index(*a)).collect();
                let loop_free = |n: &usize| *n != at && d[*n][v] < d[*n][s] + d[s][v];
                prop_assert_eq!(lfa.get(dst)[0], Address(addresses[at]));
                prop_assert_eq!(alternates.len() + 1, lfa.get(dst).len());
                prop_assert_eq!(alternates, neighbours.iter().copied().filter(loop_free).collect::<BTreeSet<_>>());

                let equal: BTreeSet<_> = neighbours.iter().filter(|n| d[**n][v] + 1 == d[s][v]).copied().collect();
                let mut equal: Vec<_> = equal.into_iter().map(|n| Address(addresses[n])).collect();
                equal.sort_unstable();
                prop_assert_eq!(ecmp.get(dst), equal);
            }
        }
    }

    /// Hop by hop through the tables of all members a packet gets one hop nearer each time.
    #[test]
    fn routes_have_no_loops((addresses, links) in layer()) {
        let d = distances(addresses.len(), &links);
        let named: Vec<_> = links.iter().map(|(a, b)| (addresses[*a], addresses[*b])).collect();
        let g = graph(&named, &[]);
        let index = |address: Address| addresses.iter().position(|a| *a == address.0).unwrap();
        for policy in POLICIES {
            for s in 0..addresses.len() {
                for (dst, hops) in routes(&g, addresses[s], policy).iter() {
                    let most = if policy == RoutePolicy::EqualCostMultipath { hops.len() } else { 1 };
                    for hop in &hops[..most] {
                        prop_assert_eq!(d[index(*hop)][index(dst)] + 1, d[s][index(dst)]);
                    }
                }
            }
        }
    }

    /// After any changes the graph is as if it had been built from what is left.
    #[test]
    fn a_changed_graph_equals_a_new_one(
        changes in proptest::collection::vec((0u64..9, 0u64..9, any::<bool>()), 0..60),
    ) {
        let mut g = Graph::default();
        let mut links = BTreeSet::new();
        for (a, b, add) in changes {
            let (a, b) = (10 + a.min(b), 10 + a.max(b));
            let known = links.contains(&(a, b));
            if a != b && add && !known {
                let (from, to) = g.name(Address(a), Address(b));
                g.name(Address(b), Address(a));
                g.connect(from, to);
                links.insert((a, b));
            } else if known && !add {
                let (from, to) = (g.find(Address(a)).unwrap(), g.find(Address(b)).unwrap());
                g.disconnect(from, to);
                g.unname(from, to);
                g.unname(to, from);
                links.remove(&(a, b));
            }
        }
        let built = graph(&links.iter().copied().collect::<Vec<_>>(), &[]);
        prop_assert_eq!((g.len(), g.links()), (built.len(), built.links()));
        for root in 10..19 {
            for policy in POLICIES {
                prop_assert_eq!(routes(&g, root, policy), routes(&built, root, policy));
            }
        }
    }
}
