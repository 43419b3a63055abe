use alloc::vec::Vec;

use super::*;
use crate::base::time::ManualClock;

/// All of the memory, and the time.
fn whole() -> (Arc<Meter>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(0));
    let timed: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    (Meter::whole(1 << 20, &timed), clock)
}

#[test]
fn the_backlog_counts_what_it_holds() {
    let mut backlog = Backlog::default();
    for n in 0..3 * SNUG_FROM {
        backlog.push_back(PacketBuf::copy_of(&alloc::vec![7; n]));
    }
    let sum = |b: &Backlog| b.iter().map(PacketBuf::memory).sum::<usize>();
    assert_eq!(backlog.bytes(), sum(&backlog));
    for n in 0..SNUG_FROM {
        assert_eq!(backlog.pop_front().unwrap().len(), n);
    }
    assert_eq!(backlog.bytes(), sum(&backlog));
    let mut taken = VecDeque::new();
    assert_eq!(backlog.move_to(SNUG_FROM, &mut taken), SNUG_FROM);
    assert_eq!((taken.len(), backlog.bytes()), (SNUG_FROM, sum(&backlog)));
    assert_eq!(backlog.move_to(1, &mut taken), 1);
    let mut others = VecDeque::new();
    assert_eq!(backlog.move_to(usize::MAX, &mut others), SNUG_FROM - 1);
    assert_eq!((taken.len() + others.len(), backlog.bytes(), backlog.len()), (2 * SNUG_FROM, 0, 0));
    backlog.push_back(PacketBuf::copy_of(b"x"));
    assert_eq!((backlog.take().len(), backlog.bytes(), backlog.len()), (1, 0, 0));
}

#[test]
fn a_meter_adds_up_and_is_given_back() {
    let (whole, _) = whole();
    let part = Meter::part(1 << 18, &whole);
    let mut one = Account::new(Some(Arc::clone(&part)));
    let mut two = Account::new(Some(Arc::clone(&part)));
    one.set(1 << 17);
    two.set(1 << 17);
    assert_eq!((part.used(), whole.used()), (1 << 18, 1 << 18));
    assert!(part.is_full() && !whole.is_full());
    assert!(one.is_full(1 << 17) && one.is_full(1000) && !one.is_full(0));
    one.set((1 << 17) + 1000);
    assert_eq!(part.used(), (1 << 18) + 1000, "to the byte when there is little");
    one.set(0);
    two.set((1 << 17) - 1000);
    assert_eq!(part.used(), (1 << 17) - 1000, "nothing is kept");
    drop(two);
    assert_eq!((part.used(), whole.used()), (0, 0));
}

#[test]
fn what_many_accounts_hold_is_charged_however_little_each_does() {
    let (whole, _) = whole();
    let part = Meter::part(1 << 19, &whole);
    let mut accounts: Vec<_> = (0..1000).map(|_| Account::new(Some(Arc::clone(&part)))).collect();
    let mut held = 0;
    for (n, account) in accounts.iter_mut().enumerate() {
        if !account.is_full(1) {
            account.set(2 + 2 * n);
            held += 2 + 2 * n;
        }
        assert!(part.used() >= held && whole.used() >= held, "{held} held, {} charged", part.used());
    }
    assert!(part.is_full() && held < (1 << 19) + 2000, "{held}");
    accounts.iter_mut().for_each(|account| account.set(0));
    // Those that had charged in advance while there was enough have not written down that they hold nothing.
    assert!(part.used() <= 1 << 18, "{}", part.used());
    accounts.iter_mut().for_each(|account| account.settle(0));
    assert_eq!((part.used(), whole.used()), (0, 0));
}

#[test]
fn packets_that_come_and_go_are_not_charged_one_by_one() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(0));
    let part = Meter::part(64 << 20, &Meter::whole(256 << 20, &clock));
    let mut account = Account::new(Some(Arc::clone(&part)));
    for held in [1, 2072, 0, 4096, 0, 1] {
        account.set(held);
        assert_eq!(part.used(), 4096, "{held}");
    }
    // A burst, and what is read of it.
    let mut changes = Vec::new();
    for held in (0..=100).chain((0..100).rev()).map(|packets| packets * 2072) {
        account.set(held);
        assert!(part.used() >= held && part.used() <= held + 2 * STEP, "{held} held, {} charged", part.used());
        changes.push(part.used());
    }
    changes.dedup();
    assert!(changes.len() < 20, "{changes:?}");
}

#[test]
fn who_holds_much_leaves_a_little_to_others() {
    let (whole, _) = whole();
    let part = Meter::part(1 << 19, &whole);
    let [mut much, mut little] = [0, 1].map(|_| Account::new(Some(Arc::clone(&part))));
    much.set((1 << 19) - (1 << 15));
    assert!(much.is_full(STEP) && !little.is_full(2072));
    little.set(1 << 15);
    assert!(little.is_full(2072) && little.is_full(1) && !little.is_full(0));
}

#[test]
fn one_account_at_a_time_borrows() {
    let (whole, _) = whole();
    let parts = [0, 1].map(|_| Meter::part(1 << 18, &whole));
    let [mut one, mut two] = [0, 1].map(|_| Account::new(Some(Arc::clone(&parts[0]))));
    let mut other = Account::new(Some(Arc::clone(&parts[1])));
    assert!(one.borrow() && one.borrow() && !two.borrow());
    assert!(!other.borrow(), "of another peer, but of the same stack");
    one.repay();
    assert!(other.borrow() && !one.borrow());
    drop(other);
    assert!(two.borrow() && !one.borrow());
}

#[test]
fn the_ends_of_a_backlog_are_reached() {
    let mut backlog = Backlog::default();
    for packet in [&b"first"[..], b"last"] {
        backlog.push_back(PacketBuf::copy_of(packet));
    }
    let whole = backlog.bytes();
    backlog.pull_front(2);
    assert_eq!((backlog.front().map(|p| &p[..]), backlog.bytes()), (Some(&b"rst"[..]), whole));
    assert_eq!(backlog.pop_back().as_deref(), Some(&b"last"[..]));
    assert_eq!((backlog.len(), backlog.bytes()), (1, whole / 2));
}

/// Accounts of each of `N` peers, two of one.
fn peers<const N: usize>(whole: &Arc<Meter>) -> [[Account; 2]; N] {
    core::array::from_fn(|_| {
        let part = Meter::part(1 << 18, whole);
        [0, 1].map(|_| Account::new(Some(Arc::clone(&part))))
    })
}

#[test]
fn a_long_loan_ends_when_another_account_wants_it() {
    let (whole, clock) = whole();
    let [[mut slow, mut slow_too], [mut other, _]] = peers(&whole);
    assert!(slow.borrow());
    clock.advance_to(Instant::from_millis(3_600_000));
    assert!(slow.borrow(), "for hours if nobody else wants it");
    assert!(other.borrow() && !slow.borrows() && !slow.borrow());
    slow.repay();
    assert!(other.borrows() && !slow_too.borrow(), "one that has lost it gives nothing back");
    other.repay();
    assert!(slow_too.borrow());
}

#[test]
fn a_peer_with_many_flows_has_no_more_loans_than_another() {
    let (whole, clock) = whole();
    let [[mut one, mut two], [mut other, _]] = peers(&whole);
    let mut borrowed = 0;
    for second in 0..100 {
        clock.advance_to(Instant::from_millis(1000 * second));
        // They are always there first.
        for account in [&mut one, &mut two] {
            account.borrow();
        }
        if other.borrow() {
            borrowed += 1;
        }
    }
    assert!((40..=60).contains(&borrowed), "{borrowed} of 100 seconds");
}

#[test]
fn a_loan_that_is_paid_back_goes_to_the_peer_that_was_refused() {
    let (whole, clock) = whole();
    let [[mut one, mut two], [mut other, _]] = peers(&whole);
    assert!(one.borrow() && !other.borrow());
    one.repay();
    assert!(!one.borrow() && !two.borrow(), "it is another's turn");
    clock.advance_to(Instant::from_millis(1000));
    assert!(other.borrow());
    other.repay();
    assert!(!two.borrow(), "the one asked before it");
    assert!(one.borrow() && !other.borrow());
    one.repay();
    clock.advance_to(Instant::from_millis(20_999));
    assert!(!two.borrow());
    clock.advance_to(Instant::from_millis(21_000));
    assert!(two.borrow(), "who does not come back does not keep it from others");
}

/// Accounts that ask at each of their pauses for an hour, and keep what they get for as long as they may: how many loans each
/// had, and how often it was refused in a row at most.
fn an_hour(clock: &ManualClock, accounts: &mut [(&mut Account, u64)]) -> Vec<(usize, usize)> {
    let mut had = alloc::vec![(0, 0); accounts.len()];
    let mut refused = alloc::vec![0; accounts.len()];
    for tick in 0..36_000 {
        clock.advance_to(Instant::from_millis(100 * tick));
        for (at, (account, pause)) in accounts.iter_mut().enumerate() {
            if tick % *pause != 0 || account.borrows() {
                continue;
            }
            if account.borrow() {
                (had[at].0, refused[at]) = (had[at].0 + 1, 0);
            } else {
                refused[at] += 1;
                had[at].1 = had[at].1.max(refused[at]);
            }
        }
    }
    had
}

/// What a sender does that waits for a window that was shut, in tenths of a second.
const SELDOM: u64 = 150;

#[test]
fn a_peer_that_asks_seldom_has_its_turn_among_those_that_ask_often() {
    let (whole, clock) = whole();
    let [[mut one, _], [mut two, _], [mut third, _], [mut fourth, _]] = peers(&whole);
    let had = an_hour(&clock, &mut [(&mut one, 1), (&mut two, 1), (&mut third, SELDOM), (&mut fourth, SELDOM)]);
    // Four turns of ten seconds, and a pause for each of the two that come late.
    for (loans, refused) in &had[2..] {
        assert!(*loans >= 36 && *refused <= 6, "{had:?}");
    }
}

#[test]
fn a_flow_that_asks_seldom_has_its_turn_among_others_of_its_peer() {
    let (whole, clock) = whole();
    let part = Meter::part(1 << 18, &whole);
    let [mut one, mut two, mut third] = [0, 1, 2].map(|_| Account::new(Some(Arc::clone(&part))));
    let had = an_hour(&clock, &mut [(&mut one, 1), (&mut two, 1), (&mut third, SELDOM)]);
    assert!(had[2].0 >= 36 && had[2].1 <= 6, "{had:?}");
}

#[test]
fn peers_that_are_new_do_not_go_before_one_that_waits() {
    let (whole, clock) = whole();
    let [[mut holder, _], [mut waits, _]] = peers(&whole);
    assert!(holder.borrow() && !waits.borrow());
    let mut refused = 1;
    for second in 1..=3600 {
        clock.advance_to(Instant::from_millis(1000 * second));
        let [[mut stranger, _]] = peers(&whole);
        stranger.borrow();
        if second % 15 == 0 {
            refused = if waits.borrow() { 0 } else { refused + 1 };
            assert!(refused <= 1, "{second} s: another new one has it each time");
        }
    }
}

#[test]
fn who_waits_no_more_keeps_the_loan_from_nobody() {
    let (whole, clock) = whole();
    let [[mut holder, _], [mut first, mut first_too], [mut second, _]] = peers(&whole);
    assert!(holder.borrow() && !first.borrow() && !second.borrow());
    holder.repay();
    assert!(!second.borrow(), "another was first");
    first.repay();
    assert!(second.borrow(), "and does not wait any more");
    assert!(!first.borrow() && !first_too.borrow());
    drop(first);
    second.repay();
    assert!(holder.borrow(), "the flow that waited is closed");
    holder.repay();
    assert!(first_too.borrow());
    assert!(!second.borrow() && !holder.borrow());
    drop((first_too, second));
    clock.advance_to(Instant::from_millis(1));
    assert!(holder.borrow());
}
