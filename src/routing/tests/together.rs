//! Members of our own and references in one layer.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Member, Net, address, grid, line, random, ring};
use crate::base::rng::Rng;

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);
/// The reference forgets a link this long after it has heard of it last, at most; a withdrawal is the last it hears.
const FORGETS: Duration = Duration::from_secs(77);

/// A layer in which the listed members are references.
fn mixed(seed: u8, members: usize, references: &[usize], edges: &[(usize, usize)]) -> Net {
    let mut net = Net::new(seed);
    for member in 0..members {
        if references.contains(&member) {
            net.add_reference();
        } else {
            net.add(|_| {});
        }
    }
    edges.iter().for_each(|(a, b)| {
        net.connect(*a, *b);
    });
    net
}

fn references(net: &Net) -> Vec<usize> {
    let theirs = |m: &usize| matches!(net.members[*m], Member::Theirs(_));
    (0..net.members.len()).filter(theirs).collect()
}

/// All of ours have right routes to all.
fn check(net: &mut Net) {
    assert!(net.is_settled());
    for reference in references(net) {
        assert!(!net.reference(reference).listens_to().is_empty());
    }
}

#[test]
fn layers_of_both_kinds_converge() {
    for (seed, members, theirs, edges) in [
        (1, 2, &[1][..], line(2)),
        (2, 3, &[1], line(3)),
        (3, 3, &[0, 2], line(3)),
        (4, 12, &[0, 2, 4, 6, 8, 10], ring(12)),
        (5, 20, &[1, 2, 3, 7, 11, 12, 13, 19], grid(5, 4)),
    ] {
        let mut net = mixed(seed, members, theirs, &edges);
        net.settle(20 * SECOND).expect("it settles");
        for _ in 0..20 {
            net.run(10 * SECOND);
            check(&mut net);
        }
    }
}

#[test]
fn random_layers_of_both_kinds_converge() {
    for seed in 0..8 {
        let mut rng = Rng::from_seed([seed; 32]);
        let edges = random(&mut rng, 20, 12);
        let theirs: Vec<_> = (0..20).filter(|_| rng.chance(0.4)).collect();
        let mut net = mixed(seed, 20, &theirs, &edges);
        net.settle(20 * SECOND).expect("it settles");
        net.run(100 * SECOND);
        check(&mut net);
    }
}

#[test]
fn a_reference_with_a_full_database_before_it_is_not_left_behind() {
    let mut net = mixed(7, 12, &[11], &line(11));
    net.settle(SECOND).expect("it settles");
    let start = net.now;
    net.connect(10, 11);
    net.settle(3 * SECOND).expect("it settles");
    assert!(net.now - start < 2 * SECOND);
    net.run(5 * SECOND);
    assert_eq!(net.reference(11).lag(), 0, "it reads what arrives when it arrives");
}

#[test]
fn withdrawals_travel_through_references_and_do_not_outlive_the_link_there() {
    // A ring whose members 1 and 6 are references; the link between 3 and 4 fails.
    let mut net = mixed(8, 8, &[1, 6], &ring(8));
    net.settle(20 * SECOND).expect("it settles");
    for pause in [1, 7, 14] {
        net.run(pause * SECOND);
        net.set_whole(3, false);
        net.run(net.detection + TENTH);
        for ours in [0, 2, 3, 4, 5, 7] {
            let d = net.distances(ours);
            for dst in (0..8).filter(|dst| *dst != ours) {
                let hop = net.next_hop(ours, dst).expect("a ring without one link is a line");
                let hop = (0..8).find(|m| address(*m) == hop).unwrap();
                assert_eq!(net.distances(hop)[dst] + 1, d[dst], "from {ours} to {dst}");
            }
        }
        net.run(FORGETS);
        check(&mut net);
        for reference in [1, 6] {
            let key = (address(4).0, address(3).0);
            assert!(!net.reference(reference).lsdb.contains_key(&key), "the link is forgotten");
        }
        net.set_whole(3, true);
        net.settle(10 * SECOND).expect("it is back, for references too");
    }
}

#[test]
fn a_link_returns_while_references_remember_its_withdrawal() {
    let mut net = mixed(9, 8, &[1, 6], &ring(8));
    net.settle(20 * SECOND).expect("it settles");
    for _ in 0..4 {
        net.run(20 * SECOND);
        net.set_whole(3, false);
        net.run(5 * SECOND);
        net.set_whole(3, true);
        net.settle(10 * SECOND).expect("it is back");
        net.run(65 * SECOND);
        check(&mut net);
    }
}

#[test]
fn a_connection_to_a_reference_ends_and_is_made_again() {
    let mut net = mixed(10, 6, &[2, 4], &ring(6));
    net.settle(20 * SECOND).expect("it settles");
    for pause in [1, 20, 100] {
        net.run(30 * SECOND);
        net.disconnect(1);
        net.run(FORGETS);
        check(&mut net);
        net.reconnect(1);
        net.settle(20 * SECOND).expect("it is back");
        net.run(pause * SECOND);
        check(&mut net);
    }
    // At once: others remember its old numbers.
    net.run(50 * SECOND);
    net.disconnect(1);
    net.reconnect(1);
    net.settle(20 * SECOND).expect("it is back");
    net.run(100 * SECOND);
    check(&mut net);
}

#[test]
fn an_o7s_member_crashes_between_references() {
    let mut net = mixed(11, 9, &[1, 3, 5, 7], &grid(3, 3));
    net.settle(20 * SECOND).expect("it settles");
    net.run(30 * SECOND);
    net.crash(4);
    for edge in 0..net.edges.len() {
        if net.edges[edge].ends.contains(&4) {
            net.disconnect(edge);
        }
    }
    net.run(FORGETS);
    check(&mut net);
}

#[test]
fn withdrawals_do_not_revive_links_at_references() {
    // Two parts, 0 to 3 and 4 to 7, with a reference in each; link 1 fails while they are apart.
    let mut net = mixed(12, 8, &[3, 7], &[(0, 1), (1, 2), (0, 2), (0, 3), (4, 5), (5, 6), (4, 6), (4, 7), (0, 4)]);
    let bridge = 8;
    net.settle(20 * SECOND).expect("it settles");
    net.run(30 * SECOND);
    net.set_whole(bridge, false);
    net.run(SECOND);
    net.set_whole(1, false);
    net.run(50 * SECOND);
    let key = (address(2).0, address(1).0);
    assert!(net.reference(7).lsdb.contains_key(&key), "its copy is old, but not so old");
    net.set_whole(bridge, true);
    net.run(28 * SECOND);
    assert!(!net.reference(7).lsdb.contains_key(&key), "it has expired as it would have");
    net.settle(20 * SECOND).expect("it settles");
    // A new reference does not hear of links that are gone.
    net.set_whole(2, false);
    net.run(SECOND);
    let new = net.add_reference();
    net.connect(0, new);
    net.run(5 * SECOND);
    assert_eq!(net.next_hop(new, 6), Some(address(0)), "it knows the others");
    assert!(!net.reference(new).lsdb.contains_key(&(address(2).0, address(0).0)));
}
