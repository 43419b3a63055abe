//! Members that lie.

use core::time::Duration;

use super::net::{Net, address, grid, mesh, ring};
use crate::types::id::Address;
use crate::wire::link_state::Lsu;

const SECOND: Duration = Duration::from_secs(1);
const LAST: u64 = u32::MAX as u64;

#[test]
fn floods_of_invented_links_are_bounded() {
    let mut net = Net::new(1);
    for _ in 0..9 {
        net.add(|config| (config.max_links, config.max_links_of_member) = (500, 50));
    }
    grid(3, 3).iter().for_each(|(a, b)| {
        net.connect(*a, *b);
    });
    net.settle(SECOND).expect("it settles");
    for round in 0..200 {
        for _ in 0..50 {
            let made_up = |net: &mut Net| Address(1 << 40 | net.rng.below(1 << 20));
            let seqno = net.rng.u64();
            let (src, dst) = match net.rng.below(3) {
                0 => (address(net.rng.below(9) as usize), made_up(&mut net)),
                1 => (made_up(&mut net), address(net.rng.below(9) as usize)),
                _ => (made_up(&mut net), made_up(&mut net)),
            };
            net.inject(0, 1, Lsu { dst, src, seqno });
        }
        net.run(Duration::from_millis(100));
        for member in 0..9 {
            let entries = net.ours(member).db.len();
            assert!(entries <= 500, "round {round}: {entries} links");
        }
    }
    assert!((0..9).all(|m| (0..9).all(|n| m == n || net.next_hop(m, n).is_some())), "the true links are there");
    net.settle(200 * SECOND).expect("what was made up is forgotten");
}

#[test]
fn forged_links_are_withdrawn_by_their_owner() {
    let mut net = Net::of(2, 16, &ring(16));
    net.settle(SECOND).expect("it settles");
    for (src, dst) in [(3, 11), (11, 3)] {
        net.inject(0, 0, Lsu { src: address(src), dst: address(dst), seqno: 5 << 32 });
    }
    net.run(Duration::from_millis(50));
    assert!(net.is_settled());
}

#[test]
fn a_forged_withdrawal_is_contradicted() {
    let mut net = Net::of(3, 16, &ring(16));
    net.settle(SECOND).expect("it settles");
    net.run(5 * SECOND);
    net.inject(0, 0, Lsu { src: address(8), dst: address(9), seqno: (7 << 32) + LAST });
    net.run(Duration::from_millis(10));
    assert!(!net.is_settled(), "it was believed");
    net.run(Duration::from_millis(100));
    assert!(net.is_settled(), "not for long");
}

#[test]
fn the_highest_numbers_freeze_a_link_only_until_it_expires() {
    for seqno in [u64::MAX - 1, u64::MAX - 2, u64::MAX - LAST, u64::MAX - LAST - 1] {
        let mut net = Net::of(4, 16, &ring(16));
        net.settle(SECOND).expect("it settles");
        net.inject(0, 0, Lsu { src: address(8), dst: address(9), seqno });
        net.run(SECOND);
        net.set_whole(8, false);
        net.settle(80 * SECOND).expect("the link is seen to fail, if only by expiry");
        net.set_whole(8, true);
        net.settle(100 * SECOND).expect("and to come back");
    }
}

#[test]
fn failures_spread_despite_forged_numbers() {
    for seqno in [u64::MAX - 1, u64::MAX - 2, u64::MAX - LAST, u64::MAX - LAST - 1] {
        let mut net = Net::of(4, 6, &ring(6));
        net.settle(SECOND).expect("it settles");
        net.run(SECOND);
        // Of the link from 3 to 4; then 4 dies, and cannot take back its half.
        net.inject(0, 0, Lsu { src: address(3), dst: address(4), seqno });
        net.run(SECOND);
        net.crash(4);
        let took = net.settle(5 * SECOND);
        assert!(took.is_some_and(|took| took < SECOND), "{seqno:x}: {took:?}");
    }
}

#[test]
fn forged_withdrawals_last_only_a_moment() {
    let mut net = Net::of(5, 4, &[(0, 1), (1, 2), (2, 3)]);
    net.settle(SECOND).expect("it settles");
    let (mut up, mut all) = (0, 0);
    for k in 0..3000 {
        if k % 10 == 0 {
            let entry = net.ours(0).entries(crate::base::time::Instant::ZERO);
            let known = entry.filter(|e| e.src == address(2) && e.dst == address(3)).map(|e| e.seqno).max().unwrap();
            net.inject(0, 0, Lsu { src: address(2), dst: address(3), seqno: known | LAST });
        }
        net.run(Duration::from_millis(20));
        all += 1;
        up += u32::from(net.next_hop(0, 3).is_some());
    }
    assert!(up * 100 >= all * 90, "five a second, and there is a way in {up} of {all} looks");
}

#[test]
fn links_of_dead_members_expire() {
    // One after the other joins by way of the last, which then stays.
    let mut net = Net::of(6, 3, &[(0, 1), (1, 2)]);
    net.settle(SECOND).expect("it settles");
    net.crash(0);
    net.crash(1);
    let dead = net.now;
    for last in 2..12 {
        net.run(25 * SECOND);
        let new = net.add(|_| {});
        net.connect(last, new);
        net.run(SECOND);
        let known = net.ours(new).entries(dead).any(|e| e.src == address(0) || e.src == address(1));
        assert!(!known || net.now < dead + 62 * SECOND, "{:?} later", net.now - dead);
    }
}

#[test]
fn two_members_with_one_address_do_not_flood_the_others() {
    let mut net = Net::of(5, 10, &mesh(10));
    net.settle(SECOND).expect("it settles");
    net.run(20 * SECOND);
    // Connected to one member each, in a layer of their own so far; both claim to be member 3.
    let before = net.carried;
    for n in 0..200 {
        let links = [(3, 100 + n % 3), (3, 5)];
        for (src, dst) in links {
            net.inject(0, 0, Lsu { src: address(src), dst: address(dst as usize), seqno: (n << 33) + 5 });
        }
        net.run(Duration::from_millis(100));
    }
    let carried = net.carried - before;
    // A refresh of all 90 directions costs about 90 * 90 updates, two of them in 20 s; each word of the quarrel 90.
    assert!(carried < 2 * 2 * 90 * 90 + 200 * 4 * 90, "{carried}");
    assert!(net.ours(3).stats().contested > 100);
}

#[test]
fn confirmations_do_not_repeat_without_end() {
    let mut net = Net::of(6, 4, &mesh(4));
    net.path.duplicate = 0.5;
    net.settle(SECOND).expect("it settles");
    net.run(5 * SECOND);
    let before = net.carried;
    net.run(150 * SECOND);
    // 12 directions over 6 connections, both ways, about 12 times; repeated coins add some.
    let carried = net.carried - before;
    assert!(carried < 3 * 12 * 12 * 12, "{carried}");
}
