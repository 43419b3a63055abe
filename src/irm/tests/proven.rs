//! Whose requests come first in a backlog that is full: of those at proven addresses, and of those who cannot show theirs.

use alloc::vec::Vec;

use super::{asks, irm, name, of};
use crate::base::rng::Rng;
use crate::irm::{Caller, Irm, Limits, Refused};
use crate::types::name::Name;

fn unproven(host: u64) -> Caller {
    Caller { is_unproven: true, ..of(host) }
}

/// One with a backlog of that size.
fn of_size(backlog: usize) -> (Irm<u32>, Name) {
    let (mut irm, n) = (irm(), name("n"));
    irm.bind(&n).unwrap();
    irm.set_backlog(&n, backlog).unwrap();
    (irm, n)
}

/// Numbers of requests of a host that is proven, from that one on.
fn fill(irm: &mut Irm<u32>, n: &Name, host: u64, requests: core::ops::Range<u32>) {
    for request in requests {
        assert!(asks(irm, n, request, of(host)).unwrap().shed.is_empty());
    }
}

/// How many of those requests find room, one from each host, and which ones make it.
fn enter(irm: &mut Irm<u32>, n: &Name, callers: impl Iterator<Item = Caller>) -> (usize, Vec<u32>) {
    let (mut entered, mut shed) = (0, Vec::new());
    for caller in callers {
        if let Ok(placed) = asks(irm, n, 1_000_000, caller) {
            entered += 1;
            shed.extend(placed.shed);
        }
    }
    (entered, shed)
}

/// Of those whose addresses may be made up none pushes out another, and all of them make room.
#[test]
fn proven_requests_come_first() {
    let (mut irm, n) = of_size(4);
    for peer in 1..=4 {
        asks(&mut irm, &n, peer as u32, unproven(peer)).unwrap();
    }
    assert!(matches!(asks(&mut irm, &n, 5, unproven(5)), Err(Refused::Full(5, _))));
    // The newest ones go.
    for (peer, gone) in [(11, 4), (12, 3), (13, 2), (14, 1)] {
        assert_eq!(asks(&mut irm, &n, peer, of(peer.into())).unwrap().shed, [gone]);
    }
    // Two of one host, and one that has none.
    assert!(matches!(asks(&mut irm, &n, 15, of(11)), Err(Refused::Full(15, _))));
    assert!(matches!(asks(&mut irm, &n, 6, unproven(6)), Err(Refused::Full(6, _))));
}

/// As many hosts as a queue has parts, each with its own, keep it: from all who cannot show their addresses, but not from
/// another one that can.
#[test]
fn what_hosts_have_proven_gives_way_to_nobody_who_has_not() {
    let (mut irm, n) = of_size(32);
    for host in 0..8 {
        fill(&mut irm, &n, host.into(), host * 4..host * 4 + 4);
    }
    assert_eq!(enter(&mut irm, &n, (100..200).map(unproven)), (0, Vec::new()));
    assert_eq!(enter(&mut irm, &n, (0..8).map(unproven)), (0, Vec::new()), "nor in their names");
    assert_eq!(enter(&mut irm, &n, [of(200)].into_iter()).1.len(), 1);
}

/// One address of one's own is had easily: it keeps an eighth of the queue, and at least one request, from those who cannot show
/// theirs. More addresses keep as much each.
#[test]
fn who_has_proven_an_address_keeps_a_part_from_those_who_cannot() {
    for (backlog, hosts, kept) in
        [(64, 1, 8), (64, 3, 24), (64, 7, 56), (64, 8, 64), (8, 1, 1), (4, 1, 1), (2, 1, 1), (1, 1, 1)]
    {
        let (mut irm, n) = of_size(backlog);
        // Round by round, so that each has an equal share.
        for request in 0..1000 {
            let _ = asks(&mut irm, &n, request, of((request % hosts).into()));
        }
        let (entered, mut shed) = enter(&mut irm, &n, (100..300).map(unproven));
        shed.dedup();
        assert_eq!((entered, shed.len()), (backlog - kept, backlog - kept), "{backlog} places, {hosts} hosts");
        // They do not come back by asking for more.
        let again = (0..1000).map(|request| of(request % u64::from(hosts)));
        assert_eq!(enter(&mut irm, &n, again), (0, Vec::new()), "{backlog} places, {hosts} hosts");
    }
}

/// Whoever makes up the address of a host that is there changes nothing about what that has.
#[test]
fn a_made_up_address_uses_up_no_share_of_its_host() {
    let (mut irm, n) = of_size(32);
    assert_eq!(enter(&mut irm, &n, [7; 30].into_iter().map(unproven)), (30, Vec::new()));
    fill(&mut irm, &n, 7, 0..2);
    // Most are in its name, and the newest are its own: they stay.
    let (entered, shed) = enter(&mut irm, &n, (100..110).map(unproven));
    assert_eq!((entered, shed.iter().filter(|request| **request < 2).count()), (10, 0));
    for request in 2..4 {
        assert_eq!(asks(&mut irm, &n, request, of(7)).unwrap().shed, [1_000_000]);
    }
}

/// Who cannot show an address either is no better off behind a host that has more and can.
#[test]
fn unproven_hosts_have_fair_shares_beside_a_proven_one() {
    let (mut irm, n) = of_size(64);
    fill(&mut irm, &n, 7, 0..8);
    assert_eq!(enter(&mut irm, &n, (8..16).flat_map(|host| [host; 7]).map(unproven)), (56, Vec::new()));
    let (entered, shed) = enter(&mut irm, &n, (100..108).map(unproven));
    assert_eq!((entered, shed), (8, [1_000_000; 8].into()));
}

/// Whatever floods come, and in whosever names: what hosts have proven, and not more than their parts, stays, and finds room.
#[test]
fn floods_of_made_up_addresses_take_nothing_from_hosts_with_few() {
    for seed in 0..20 {
        let mut rng = Rng::from_seed([seed; 32]);
        let (mut irm, n) = of_size(64);
        let mut asked = 0;
        for step in 0..4000 {
            if step % 100 == 0 && asked < 5 * 8 {
                let host = u64::from(asked) % 5;
                let shed = asks(&mut irm, &n, asked, of(host)).map(|placed| placed.shed);
                assert!(shed.is_ok_and(|shed| shed.iter().all(|of| *of >= 1000)), "seed {seed}, step {step}");
                asked += 1;
            } else {
                // Few and many hosts, among them those that are there.
                let hosts = if step % 2 == 0 { 8 } else { 1 << 20 };
                let caller = unproven(rng.u64() % hosts);
                let shed = asks(&mut irm, &n, 1000 + step, caller).map(|placed| placed.shed);
                assert!(
                    shed.is_err() || shed.is_ok_and(|shed| shed.iter().all(|of| *of >= 1000)),
                    "seed {seed}, step {step}"
                );
            }
        }
        assert_eq!(asked, 40, "all of them have asked");
    }
}

/// A queue that is full in bytes: nothing that a host has proven is taken for a request that still finds no room, and what had to
/// make room for one that does not have enough is told so.
#[test]
fn what_a_host_has_proven_is_not_taken_for_nothing() {
    let mut irm = Irm::new(Limits { backlog: 64, backlog_bytes: 10_000, ..Limits::default() });
    let n = name("n");
    irm.bind(&n).unwrap();
    let large = |host| Caller { bytes: 1000, ..unproven(host) };
    let small = |host| Caller { bytes: 100, ..of(host) };
    for host in 0..9 {
        asks(&mut irm, &n, 1000 + host, large(host.into())).unwrap();
    }
    (0..10).for_each(|request| drop(asks(&mut irm, &n, request, small(7)).unwrap()));
    // It has more than its part of the requests, and less of the bytes than one of these.
    for host in 100..200 {
        assert_eq!(asks(&mut irm, &n, 2000, large(host)), Err(Refused::Full(2000, Vec::new())), "{host}");
    }
    // Those who have as much of it each are no better off, but one that fits is let in.
    assert_eq!(asks(&mut irm, &n, 3000, Caller { bytes: 100, ..unproven(300) }).unwrap().shed, [9]);
    // One at a time, which comes again, for what a host can show.
    assert_eq!(asks(&mut irm, &n, 4000, Caller { bytes: 150, ..of(8) }), Err(Refused::Full(4000, [8].into())));
    assert_eq!(asks(&mut irm, &n, 4000, Caller { bytes: 150, ..of(8) }).unwrap().shed, [7]);
}

/// A queue that was made smaller than what waits in it already: one that gives way makes no room, and stays.
#[test]
fn a_queue_that_was_made_smaller_takes_nothing_for_nothing() {
    let (mut irm, n) = of_size(8);
    fill(&mut irm, &n, 1, 0..4);
    (4..8).for_each(|request| drop(asks(&mut irm, &n, request, unproven(2)).unwrap()));
    irm.set_backlog(&n, 2).unwrap();
    for host in 100..110 {
        for caller in [unproven(host), of(host)] {
            assert_eq!(asks(&mut irm, &n, 2000, caller), Err(Refused::Full(2000, Vec::new())), "{host}");
        }
    }
}
