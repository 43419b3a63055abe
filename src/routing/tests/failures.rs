//! Connections and members that fail and come back.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, Path, address, grid, line, mesh, random, ring};
use crate::base::rng::Rng;
use crate::types::layer::RoutePolicy;

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

#[test]
fn a_hundred_members_route_around_a_failed_link_within_100_ms() {
    for seed in 0..2 {
        let edges = random(&mut Rng::from_seed([seed; 32]), 100, 80);
        let mut net = Net::of(seed, 100, &edges);
        net.settle(SECOND).expect("it settles");
        for _ in 0..6 {
            net.run(SECOND);
            let edge = net.rng.below(edges.len() as u64) as usize;
            let whole = net.edges[edge].whole;
            net.set_whole(edge, !whole);
            let took = net.settle(10 * SECOND).expect("it settles again");
            assert!(took <= net.detection + TENTH, "{took:?}");
        }
    }
}

#[test]
fn a_crashed_member_returns() {
    for change in [0, 1] {
        let mut net = Net::of(11, 36, &grid(6, 6));
        net.settle(SECOND).expect("it settles");
        net.run(40 * SECOND);
        net.crash(14);
        let took = net.settle(SECOND).expect("others avoid it");
        assert!(took <= net.detection + TENTH, "{took:?}");
        net.run(10 * SECOND);
        // With the same address and the same numbers as in its last life, or with higher ones.
        net.revive(14, |config| config.incarnation += change);
        for edge in 0..net.edges.len() {
            if net.edges[edge].ends.contains(&14) {
                net.disconnect(edge);
                net.reconnect(edge);
            }
        }
        let took = net.settle(10 * SECOND).expect("it is back");
        assert!(took < 2 * SECOND, "{took:?}");
        net.run(100 * SECOND);
        assert!(net.is_settled());
    }
}

#[test]
fn a_member_returns_with_fewer_connections() {
    let mut net = Net::of(12, 36, &grid(6, 6));
    net.settle(SECOND).expect("it settles");
    net.run(40 * SECOND);
    net.crash(14);
    // Before anybody has noticed.
    net.revive(14, |_| {});
    let edges: Vec<_> = (0..net.edges.len()).filter(|e| net.edges[*e].ends.contains(&14)).collect();
    edges.iter().for_each(|edge| net.disconnect(*edge));
    net.reconnect(edges[0]);
    net.settle(2 * SECOND).expect("it is back");
    net.run(SECOND);
    let links = net.ours(0).entries(Default::default()).filter(|e| e.src == address(14) && !e.withdrawn).count();
    assert_eq!(links, 1, "those that it has no more are withdrawn by it");
    net.run(100 * SECOND);
    assert!(net.is_settled());
}

#[test]
fn a_partition_heals() {
    for (seed, minutes) in [(1, 0), (2, 1), (3, 5)] {
        let mut net = Net::of(seed, 30, &ring(30));
        net.settle(SECOND).expect("it settles");
        for edge in [4, 19] {
            net.set_whole(edge, false);
        }
        let took = net.settle(SECOND).expect("two halves");
        assert!(took <= net.detection + TENTH, "{took:?}");
        net.run(60 * minutes * SECOND + SECOND);
        assert!(net.is_settled());
        for edge in [4, 19] {
            net.set_whole(edge, true);
        }
        // The flows were there all the time: what was not confirmed is repeated at least once in an update period.
        let took = net.settle(20 * SECOND).expect("one again");
        assert!(took < 16 * SECOND, "{took:?}");
        net.run(100 * SECOND);
        assert!(net.is_settled());
    }
}

#[test]
fn connections_end_and_are_made_again() {
    let mut net = Net::of(21, 20, &random(&mut Rng::from_seed([4; 32]), 20, 20));
    net.settle(SECOND).expect("it settles");
    for round in 0..100 {
        let edge = net.rng.below(net.edges.len() as u64) as usize;
        if net.edges[edge].connected {
            net.disconnect(edge);
        } else {
            net.reconnect(edge);
        }
        let pause = net.rng.below(30_000);
        net.run(Duration::from_millis(pause));
        assert!(net.settle(17 * SECOND).is_some(), "round {round}");
    }
}

#[test]
fn flapping_links_are_announced_ever_later() {
    let mut net = Net::of(31, 10, &ring(10));
    net.detection = Duration::from_millis(1);
    net.settle(SECOND).expect("it settles");
    net.run(20 * SECOND);
    let before = net.ours(5).stats();
    for flap in 0..400 {
        net.set_whole(0, flap % 2 == 1);
        net.run(Duration::from_millis(50));
    }
    let changes = net.ours(5).stats().withdrawn - before.withdrawn;
    assert!(changes < 30, "{changes} withdrawals of 400 heard of");
    net.settle(20 * SECOND).expect("it settles");
    net.run(100 * SECOND);
    assert!(net.is_settled());
}

#[test]
fn failures_are_survived_on_lossy_links() {
    for seed in 0..10 {
        let edges = random(&mut Rng::from_seed([50 + seed; 32]), 25, 20);
        let mut net = Net::of(seed, 25, &edges);
        net.path = Path::lossy();
        net.settle(20 * SECOND).expect("it settles");
        for _ in 0..5 {
            let edge = net.rng.below(edges.len() as u64) as usize;
            let whole = net.edges[edge].whole;
            net.set_whole(edge, !whole);
            let took = net.settle(40 * SECOND).expect("it settles again");
            assert!(took < 20 * SECOND, "{took:?}");
        }
    }
}

#[test]
fn no_loop_outlives_convergence() {
    let mut net = Net::of(41, 30, &grid(6, 5));
    net.settle(SECOND).expect("it settles");
    for round in 0..20 {
        let edge = net.rng.below(net.edges.len() as u64) as usize;
        net.set_whole(edge, round % 2 == 1);
        net.run(net.detection + TENTH);
        assert!(net.is_settled(), "round {round}");
        for from in 0..30 {
            for to in (0..30).filter(|to| *to != from) {
                let mut at = from;
                for _ in 0..30 {
                    let Some(hop) = net.next_hop(at, to) else { break };
                    at = (0..30).find(|m| address(*m) == hop).unwrap();
                }
                assert!(at == to || net.distances(from)[to] == u32::MAX, "{from} to {to} ends at {at}");
            }
        }
    }
}

#[test]
fn alternates_prevent_loss_after_detection() {
    let shapes = [
        (20, grid(5, 4)),
        (9, ring(9)),
        (12, mesh(12)),
        (25, random(&mut Rng::from_seed([6; 32]), 25, 20)),
        (25, random(&mut Rng::from_seed([7; 32]), 25, 40)),
    ];
    let mut protected = 0;
    for (seed, (members, edges)) in (0..).zip(shapes) {
        let mut net = Net::new(seed);
        for _ in 0..members {
            net.add(|config| config.timers.policy = RoutePolicy::LoopFreeAlternates);
        }
        edges.iter().for_each(|(a, b)| {
            net.connect(*a, *b);
        });
        for edge in (0..edges.len()).step_by(2) {
            net.settle(20 * SECOND).expect("it settles");
            net.run(20 * SECOND);
            // Whom the ends of the connection can reach without it, without telling anybody.
            let [a, b] = net.edges[edge].ends;
            let covered = [a, b].map(|end| {
                let other = if end == a { b } else { a };
                let covers = |dst: &usize| {
                    let hops = net.ours(end).routes().get(address(*dst)).to_vec();
                    *dst == end || hops.first() != Some(&address(other)) || hops.len() > 1
                };
                (0..members).filter(covers).collect::<BTreeSet<_>>()
            });
            let covered: BTreeSet<_> = covered[0].intersection(&covered[1]).copied().collect();
            net.set_whole(edge, false);
            net.run(net.detection);
            let mut sent = Vec::new();
            for _ in 0..40 {
                for from in 0..members {
                    sent.extend(covered.iter().map(|dst| (from, *dst, net.send(from, *dst))));
                }
                net.run(Duration::from_micros(2100));
            }
            net.run(TENTH);
            protected += sent.len();
            let lost: Vec<_> = sent.iter().filter(|(_, _, number)| !net.arrived[*number]).collect();
            assert!(lost.is_empty(), "{} of {} lost without {edge}: {:?}", lost.len(), sent.len(), lost[0]);
            net.arrived.clear();
            net.set_whole(edge, true);
        }
    }
    assert!(protected > 100_000, "{protected}");
}

#[test]
fn several_adjacencies_count_as_one_link() {
    let mut net = Net::of(51, 3, &line(3));
    let second = net.connect(0, 1);
    net.settle(SECOND).expect("it settles");
    let before = net.ours(2).stats();
    net.set_whole(0, false);
    net.run(SECOND);
    assert!(net.is_settled(), "the other adjacency is there");
    assert_eq!(net.ours(2).stats().withdrawn, before.withdrawn, "nobody has to know");
    net.set_whole(second, false);
    net.run(SECOND);
    assert!(net.is_settled(), "now the link is gone");
    net.set_whole(0, true);
    assert!(net.settle(5 * SECOND).is_some());
}
