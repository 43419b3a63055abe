use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use core::time::Duration;

use super::names::OFFER;
use super::*;
use crate::base::time::Instant;
use crate::types::name::{HashAlg, Name};

mod proven;

fn name(s: &str) -> Name {
    Name::new(s).unwrap()
}

fn irm() -> Irm<u32> {
    Irm::new(Limits { backlog: 2, accept_wait: Duration::from_secs(1), ..Limits::default() })
}

fn accept(irm: &mut Irm<u32>, l: ListenerId, w: &mut Option<WaiterId>) -> Option<u32> {
    match irm.poll_accept(l, w, &mut Some(Waker::noop().clone())) {
        Poll::Ready(taken) => taken.map(|taken| taken.request),
        Poll::Pending => None,
    }
}

/// Two who accept and wait; the first will be called first.
fn two_waiting(irm: &mut Irm<u32>, n: &Name) -> [(ListenerId, Option<WaiterId>); 2] {
    let mut both = [(irm.bind(n).unwrap(), None), (irm.bind(n).unwrap(), None)];
    for (l, w) in both.iter_mut().rev() {
        assert_eq!(accept(irm, *l, w), None);
    }
    both
}

/// Places a request. Returns the numbers of acceptors and factories to call.
fn place(irm: &mut Irm<u32>, now: Instant, n: &Name, request: u32) -> (usize, usize) {
    let mut calls = Calls::default();
    irm.place(now, n, request, Caller::default(), &mut calls).unwrap();
    (calls.wake.len(), calls.start.len())
}

fn after(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

#[test]
fn spillover_prefers_the_latest_acceptor_and_round_robin_the_longest_waiting() {
    for (policy, first) in [(LoadBalancing::Spillover, 1), (LoadBalancing::RoundRobin, 0)] {
        let mut irm = irm();
        let n = name("echo");
        let l = [irm.bind(&n).unwrap(), irm.bind(&n).unwrap()];
        irm.set_balancing(&n, policy).unwrap();
        let mut w = [None, None];
        for i in 0..2 {
            assert_eq!(accept(&mut irm, l[i], &mut w[i]), None);
        }
        assert_eq!(place(&mut irm, Instant::ZERO, &n, 7), (1, 0));
        assert_eq!(accept(&mut irm, l[1 - first], &mut w[1 - first]), None, "it was not asked");
        assert_eq!(place(&mut irm, Instant::ZERO, &n, 8), (1, 0), "the other one is idle");
        assert_eq!(accept(&mut irm, l[1 - first], &mut w[1 - first]), Some(8));
        assert_eq!(accept(&mut irm, l[first], &mut w[first]), Some(7));
    }
}

#[test]
fn the_backlog_is_bounded_and_expires() {
    let mut irm = irm();
    let n = name("echo");
    let l = irm.bind(&n).unwrap();
    let mut calls = Calls::default();
    for request in [1, 2] {
        irm.place(Instant::ZERO, &n, request, Caller::default(), &mut calls).unwrap();
    }
    assert_eq!(irm.place(Instant::ZERO, &n, 3, Caller::default(), &mut calls), Err(Refused::Full(3, Vec::new())));
    assert_eq!(calls.due, Some(after(1000)));
    for (at, late, due) in [(999, vec![], Some(after(1000))), (1000, vec![1], Some(after(1000)))] {
        let mut calls = Calls::default();
        assert_eq!(irm.expire(after(at), 1, &mut calls), late);
        assert_eq!(calls.due, due);
    }
    let mut calls = Calls::default();
    assert_eq!(irm.expire(after(1000), 9, &mut calls), [2]);
    assert_eq!(calls.due, None);
    assert_eq!(accept(&mut irm, l, &mut None), None);
}

#[test]
fn expiry_looks_at_the_names_that_are_due_and_at_no_other() {
    const NAMES: usize = 100_000;
    let mut irm = Irm::new(Limits { names: NAMES, accept_wait: Duration::from_secs(1000), ..Limits::default() });
    // A request waits at each, for a time of its own.
    for n in 0..NAMES {
        let (name, caller) =
            (name(&format!("name {n}")), Caller { wait: Some(Duration::from_millis(n as u64)), ..Caller::default() });
        irm.bind(&name).unwrap();
        irm.place(Instant::ZERO, &name, n, caller, &mut Calls::default()).unwrap();
    }
    for (at, late) in [(0, 1), (0, 0), (10, 10), (11, 1), (5011, 5000)] {
        let before = irm.looks();
        let expired = irm.expire(after(at), NAMES, &mut Calls::default());
        assert_eq!((expired.len(), irm.looks() - before), (late, late), "after {at} ms");
    }
    let (before, mut calls) = (irm.looks(), Calls::default());
    assert_eq!(irm.expire(after(6000), 64, &mut calls).len(), 64, "no more at a time");
    assert_eq!((irm.looks() - before, calls.due), (64, Some(after(5076))));
    let before = irm.looks();
    assert_eq!(irm.bound().count(), NAMES);
    assert_eq!(irm.looks() - before, NAMES, "whoever looks at all of them is seen");
}

#[test]
fn an_acceptor_that_does_not_come_keeps_nothing_from_others() {
    for other_waits in [true, false] {
        let mut irm = irm();
        let n = name("echo");
        let l = irm.bind(&n).unwrap();
        let (mut idle, mut there) = (None, None);
        if other_waits {
            assert_eq!(accept(&mut irm, l, &mut there), None);
        }
        assert_eq!(accept(&mut irm, l, &mut idle), None);
        assert_eq!(place(&mut irm, Instant::ZERO, &n, 1), (1, 0));
        assert_eq!(accept(&mut irm, l, &mut there), None, "the one that was woken has a moment");
        let mut calls = Calls::default();
        assert_eq!(irm.expire(Instant::ZERO + OFFER, 9, &mut calls), Vec::<u32>::new());
        assert_eq!((calls.wake.len(), calls.due), (1, Some(Instant::ZERO + OFFER * 2)));
        assert_eq!(accept(&mut irm, l, &mut idle), None, "it is the other one's now");
        assert_eq!(accept(&mut irm, l, &mut there), Some(1));
    }
}

#[test]
fn an_acceptor_that_comes_late_gets_what_nobody_else_took() {
    let mut irm = irm();
    let n = name("echo");
    let l = irm.bind(&n).unwrap();
    let mut w = None;
    assert_eq!(accept(&mut irm, l, &mut w), None);
    assert_eq!(place(&mut irm, Instant::ZERO, &n, 1), (1, 0));
    let mut calls = Calls::default();
    assert_eq!(irm.expire(Instant::ZERO + OFFER, 9, &mut calls), Vec::<u32>::new());
    assert_eq!((calls.wake.len(), calls.due), (0, Some(after(1000))));
    assert_eq!(accept(&mut irm, l, &mut w), Some(1));
    assert_eq!(irm.expire(after(2000), 9, &mut calls), Vec::<u32>::new());
}

#[test]
fn an_abandoned_accept_gives_its_request_back() {
    let mut irm = irm();
    let n = name("echo");
    let [(a, wa), (b, mut wb)] = two_waiting(&mut irm, &n);
    assert_eq!(place(&mut irm, Instant::ZERO, &n, 1), (1, 0));
    let mut calls = Calls::default();
    assert!(irm.cancel(Instant::ZERO, a, wa.unwrap(), &mut calls).is_none(), "it was woken with its waker");
    assert_eq!(calls.wake.len(), 1, "b takes it over");
    assert_eq!(accept(&mut irm, b, &mut wb), Some(1));
    assert_eq!(accept(&mut irm, b, &mut wb), None);
    assert_eq!(place(&mut irm, Instant::ZERO, &n, 2), (1, 0));
    let mut calls = Calls::default();
    assert!(irm.cancel(Instant::ZERO, b, wb.unwrap(), &mut calls).is_none());
    assert!(calls.wake.is_empty(), "nobody else accepts now");
    assert_eq!(accept(&mut irm, a, &mut None), Some(2));
    let mut idle = None;
    assert_eq!(accept(&mut irm, a, &mut idle), None);
    assert!(irm.cancel(Instant::ZERO, a, idle.unwrap(), &mut calls).is_some(), "to be dropped outside");
}

#[test]
fn a_waker_is_given_back_for_the_next_one() {
    struct Nothing;
    impl alloc::task::Wake for Nothing {
        fn wake(self: alloc::sync::Arc<Self>) {}
    }
    let mut irm = irm();
    let l = irm.bind(&name("echo")).unwrap();
    let (first, mut waiter) = (Waker::from(alloc::sync::Arc::new(Nothing)), None);
    let mut waker = Some(first.clone());
    assert!(irm.poll_accept(l, &mut waiter, &mut waker).is_pending());
    waker = Some(Waker::noop().clone());
    assert!(irm.poll_accept(l, &mut waiter, &mut waker).is_pending());
    assert!(waker.is_some_and(|w| w.will_wake(&first)), "to be dropped where no lock is held");
}

#[test]
fn unbinding_the_last_listener_forgets_the_name_and_returns_its_requests() {
    let mut irm = irm();
    let n = name("echo");
    let l = irm.bind(&n).unwrap();
    let hash = HashAlg::Sha3_256.hash(&n);
    assert_eq!(irm.by_hash(HashAlg::Sha3_256, &hash), Some(&n));
    assert_eq!(place(&mut irm, Instant::ZERO, &n, 1), (0, 0));
    let mut calls = Calls::default();
    assert_eq!(irm.unbind(Instant::ZERO, l, &mut calls), [1]);
    assert_eq!(irm.by_hash(HashAlg::Sha3_256, &hash), None);
    assert_eq!(irm.place(Instant::ZERO, &n, 2, Caller::default(), &mut calls), Err(Refused::Unknown(2)));
    assert!(matches!(irm.poll_accept(l, &mut None, &mut None), Poll::Ready(None)));
    assert_eq!(irm.expire(after(5000), 9, &mut calls), Vec::<u32>::new(), "nothing of it is left");
}

#[test]
fn a_listener_that_goes_leaves_its_requests_to_the_others() {
    let mut irm = irm();
    let n = name("echo");
    let [(a, _), (b, mut wb)] = two_waiting(&mut irm, &n);
    assert_eq!(place(&mut irm, Instant::ZERO, &n, 1), (1, 0));
    let mut calls = Calls::default();
    assert_eq!(irm.unbind(Instant::ZERO, a, &mut calls), Vec::<u32>::new());
    assert_eq!(calls.wake.len(), 1);
    assert_eq!(accept(&mut irm, b, &mut wb), Some(1));
}

#[test]
fn a_factory_is_started_when_nobody_accepts() {
    struct Never;
    impl Factory for Never {
        fn start(&self) {}
    }
    let mut irm = irm();
    let n = name("echo");
    let mut exchanged: Option<alloc::sync::Arc<dyn Factory>> = Some(alloc::sync::Arc::new(Never));
    irm.set_factory(&n, &mut exchanged).unwrap();
    assert!(exchanged.is_none());
    assert_eq!(place(&mut irm, Instant::ZERO, &n, 1), (0, 1));
    assert_eq!(irm.set_factory(&n, &mut exchanged).unwrap(), [1]);
    assert!(exchanged.is_some(), "to be dropped outside");
    assert!(!irm.is_bound(&n));
    assert_eq!(irm.expire(after(5000), 9, &mut Calls::default()), Vec::<u32>::new());
}

#[test]
fn names_are_bounded() {
    let mut irm: Irm<u32> = Irm::new(Limits { names: 1, ..Limits::default() });
    irm.bind(&name("a")).unwrap();
    irm.bind(&name("a")).unwrap();
    assert_eq!(irm.bind(&name("b")), Err(BindError::Full(1)));
}

fn asks(irm: &mut Irm<u32>, n: &Name, request: u32, caller: Caller) -> Result<Placed<u32>, Refused<u32>> {
    irm.place(Instant::ZERO, n, request, caller, &mut Calls::default())
}

fn of(peer: u64) -> Caller {
    Caller { host: peer, peer, ..Caller::default() }
}

#[test]
fn requests_wait_as_long_as_their_requesters() {
    let withdrawn = Some(Arc::new(AtomicBool::new(false)));
    for (caller, ms) in [
        (Caller::default(), 20_000),
        (Caller { wait: Some(Duration::from_millis(1230)), ..Caller::default() }, 1230),
        (Caller { wait: Some(Duration::from_secs(90)), ..Caller::default() }, 90_000),
        (Caller { withdrawn, ..Caller::default() }, 600_000),
    ] {
        let mut irm = Irm::new(Limits::default());
        let n = name("echo");
        irm.bind(&n).unwrap();
        asks(&mut irm, &n, 1, caller).unwrap();
        let mut calls = Calls::default();
        assert!(irm.expire(after(ms - 1), 9, &mut calls).is_empty());
        assert_eq!(irm.expire(after(ms), 9, &mut calls), [1]);
    }
}

#[test]
fn a_repeated_request_keeps_its_place_and_its_time() {
    let mut irm = irm();
    let n = name("echo");
    let l = irm.bind(&n).unwrap();
    let caller = |peer, id| Caller { id: Some([id; 16]), ..of(peer) };
    asks(&mut irm, &n, 1, caller(7, 1)).unwrap();
    asks(&mut irm, &n, 2, caller(8, 1)).unwrap();
    assert_eq!(asks(&mut irm, &n, 3, caller(9, 1)), Err(Refused::Full(3, Vec::new())), "the same id, but another peer");
    let mut calls = Calls::default();
    let placed = irm.place(after(900), &n, 4, caller(7, 1), &mut calls).unwrap();
    assert_eq!(placed, Placed { repeated: Some(1), shed: Vec::new() });
    assert_eq!(accept(&mut irm, l, &mut None), Some(4));
    assert_eq!(irm.expire(after(1000), 9, &mut calls), [2]);
}

#[test]
fn nobody_keeps_others_out_of_a_backlog() {
    let mut irm = Irm::new(Limits { backlog: 4, ..Limits::default() });
    let n = name("echo");
    let l = irm.bind(&n).unwrap();
    for request in 1..=4 {
        asks(&mut irm, &n, request, of(7)).unwrap();
    }
    assert_eq!(asks(&mut irm, &n, 5, of(7)), Err(Refused::Full(5, Vec::new())));
    for (request, shed) in [(11, 4), (12, 3)] {
        assert_eq!(asks(&mut irm, &n, request, of(8)), Ok(Placed { repeated: None, shed: vec![shed] }));
    }
    assert_eq!(asks(&mut irm, &n, 13, of(8)), Err(Refused::Full(13, Vec::new())), "each has its part");
    assert_eq!(asks(&mut irm, &n, 6, of(7)), Err(Refused::Full(6, Vec::new())));
    let order: Vec<_> = (0..4).filter_map(|_| accept(&mut irm, l, &mut None)).collect();
    assert_eq!(order, [1, 2, 11, 12]);
}

#[test]
fn a_backlog_is_bounded_in_bytes_and_by_name() {
    let mut irm = Irm::new(Limits { backlog_bytes: 1000, ..Limits::default() });
    let n = name("echo");
    let l = irm.bind(&n).unwrap();
    let large = |bytes| Caller { bytes, ..Caller::default() };
    asks(&mut irm, &n, 1, large(2000)).unwrap();
    assert_eq!(
        asks(&mut irm, &n, 2, large(1)),
        Err(Refused::Full(2, Vec::new())),
        "one may always wait, no second one"
    );
    assert_eq!(accept(&mut irm, l, &mut None), Some(1));
    asks(&mut irm, &n, 3, large(500)).unwrap();
    asks(&mut irm, &n, 4, large(500)).unwrap();
    assert_eq!(asks(&mut irm, &n, 5, large(1)), Err(Refused::Full(5, Vec::new())));
    let other = name("other");
    irm.bind(&other).unwrap();
    irm.set_backlog(&other, 1).unwrap();
    asks(&mut irm, &other, 6, of(1)).unwrap();
    assert_eq!(asks(&mut irm, &other, 7, of(2)), Err(Refused::Full(7, Vec::new())));
}

#[test]
fn a_repetition_takes_no_more_room_than_the_backlog_has() {
    let mut irm = Irm::new(Limits { backlog_bytes: 1000, ..Limits::default() });
    let n = name("echo");
    irm.bind(&n).unwrap();
    let asked = |id: u8, bytes| Caller { id: Some([id; 16]), bytes, ..of(7) };
    (1..=5).for_each(|id| drop(asks(&mut irm, &n, id, asked(id as u8, 100)).unwrap()));
    for (request, bytes) in (11..=15).zip([60_000; 5]) {
        let placed = asks(&mut irm, &n, request, asked(request as u8 - 10, bytes)).unwrap();
        assert_eq!(placed, Placed { repeated: Some(request), shed: Vec::new() }, "the earlier one stays");
    }
    asks(&mut irm, &n, 6, asked(6, 500)).unwrap();
    let placed = asks(&mut irm, &n, 16, asked(6, 450)).unwrap();
    assert_eq!(placed.repeated, Some(6), "one that is not larger takes its place");
    asks(&mut irm, &n, 7, asked(7, 50)).unwrap();
    assert_eq!(asks(&mut irm, &n, 8, asked(8, 1)), Err(Refused::Full(8, Vec::new())));
}

#[test]
fn ports_of_a_host_share_its_part_of_a_backlog() {
    let mut irm = Irm::new(Limits { backlog: 4, ..Limits::default() });
    let n = name("echo");
    irm.bind(&n).unwrap();
    let port = |peer| Caller { host: 1, peer, ..Caller::default() };
    (1..=4).for_each(|request| drop(asks(&mut irm, &n, request, port(request.into())).unwrap()));
    let other = Caller { host: 2, ..port(1) };
    assert_eq!(asks(&mut irm, &n, 5, other), Ok(Placed { repeated: None, shed: vec![4] }));
}

#[test]
fn requesters_that_gave_up_make_room() {
    let mut irm = irm();
    let n = name("echo");
    irm.bind(&n).unwrap();
    let flags = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
    for (request, flag) in (1..).zip(&flags) {
        asks(&mut irm, &n, request, Caller { withdrawn: Some(Arc::clone(flag)), ..of(7) }).unwrap();
    }
    flags[1].store(true, Ordering::Release);
    assert_eq!(asks(&mut irm, &n, 3, of(7)), Ok(Placed { repeated: None, shed: vec![2] }));
}

#[test]
fn a_request_that_is_held_back_is_nobodys_until_then() {
    let (mut irm, n) = (irm(), name("echo"));
    let (l, mut waits) = (irm.bind(&n).unwrap(), None);
    assert_eq!(accept(&mut irm, l, &mut waits), None);
    let held = |ms| Caller { held_until: Some(after(ms)), ..Caller::default() };
    let mut calls = Calls::default();
    irm.place(after(1), &n, 1, held(3), &mut calls).unwrap();
    assert_eq!((calls.wake.len(), calls.due), (0, Some(after(3))));
    assert!(!irm.has_work(l, waits) && !irm.has_work(l, None));
    assert_eq!(accept(&mut irm, l, &mut waits), None);
    assert_eq!(irm.expire(after(2), 9, &mut Calls::default()), Vec::<u32>::new());
    assert_eq!(accept(&mut irm, l, &mut waits), None);
    // One that comes meanwhile is not kept by it.
    assert_eq!(place(&mut irm, after(2), &n, 2), (1, 0));
    assert_eq!(accept(&mut irm, l, &mut waits), Some(2));
    assert_eq!(accept(&mut irm, l, &mut waits), None);
    let mut calls = Calls::default();
    assert_eq!(irm.expire(after(3), 9, &mut calls), Vec::<u32>::new());
    assert_eq!(calls.wake.len(), 1);
    assert_eq!(accept(&mut irm, l, &mut waits), Some(1));
    // The time to wait for an acceptor ends all the same, and what was to be held until now is not held.
    irm.place(after(4), &n, 3, held(5000), &mut Calls::default()).unwrap();
    assert_eq!(irm.expire(after(1004), 9, &mut Calls::default()), [3]);
    irm.place(after(2000), &n, 4, held(2000), &mut Calls::default()).unwrap();
    assert_eq!(accept(&mut irm, l, &mut None), Some(4));
}

#[test]
fn no_waker_is_dropped_in_here() {
    struct Noop;
    impl alloc::task::Wake for Noop {
        fn wake(self: Arc<Self>) {}
    }
    let (mut irm, n, held) = (irm(), name("echo"), Arc::new(Noop));
    let (l, mut waits) = (irm.bind(&n).unwrap(), None);
    let waker = || Some(Waker::from(Arc::clone(&held)));
    // One is kept, another one is brought along by the poll that takes a request nobody was woken for.
    let mut first = waker();
    assert!(irm.poll_accept(l, &mut waits, &mut first).is_pending());
    irm.place(after(0), &n, 1, Caller { held_until: Some(after(1)), ..Caller::default() }, &mut Calls::default())
        .unwrap();
    let mut calls = Calls::default();
    assert_eq!(irm.expire(after(1), 9, &mut calls), Vec::<u32>::new());
    let mut again = waker();
    let taken = irm.poll_accept(l, &mut waits, &mut again);
    assert!(matches!(&taken, Poll::Ready(Some(taken)) if taken.request == 1));
    assert_eq!(Arc::strong_count(&held), 3, "the one that was woken, and the one that was brought along");
    drop((taken, again, calls, first));
    assert_eq!(Arc::strong_count(&held), 1);
}
