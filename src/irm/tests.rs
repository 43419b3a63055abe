use core::task::{Poll, Waker};
use core::time::Duration;

use super::*;
use crate::base::time::Instant;
use crate::types::name::{HashAlg, Name};

fn name(s: &str) -> Name {
    Name::new(s).unwrap()
}

fn irm() -> Irm<u32> {
    Irm::new(Limits { backlog: 2, ..Limits::default() })
}

fn accept(irm: &mut Irm<u32>, l: ListenerId, w: &mut Option<WaiterId>) -> Option<u32> {
    match irm.poll_accept(l, w, Waker::noop()) {
        Poll::Ready(r) => r,
        Poll::Pending => None,
    }
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
        assert!(matches!(irm.place(Instant::ZERO, &n, 7), Placed::Assigned(_)));
        assert!(matches!(irm.place(Instant::ZERO, &n, 8), Placed::Assigned(_)), "the other one is idle");
        assert_eq!(accept(&mut irm, l[first], &mut w[first]), Some(7));
        assert_eq!(accept(&mut irm, l[1 - first], &mut w[1 - first]), Some(8));
    }
}

#[test]
fn the_backlog_is_bounded_and_expires() {
    let mut irm = irm();
    let n = name("echo");
    let l = irm.bind(&n).unwrap();
    assert!(matches!(irm.place(Instant::ZERO, &n, 1), Placed::Waiting(_)));
    assert!(matches!(irm.place(Instant::ZERO, &n, 2), Placed::Waiting(_)));
    assert!(matches!(irm.place(Instant::ZERO, &n, 3), Placed::Full(3)));
    let late = Instant::ZERO + Duration::from_secs(1);
    assert_eq!(irm.expire(Instant::ZERO + Duration::from_millis(999)), (vec![], Some(late)));
    assert_eq!(irm.expire(late), (vec![1, 2], None));
    assert_eq!(accept(&mut irm, l, &mut None), None);
}

#[test]
fn an_abandoned_accept_gives_its_request_back() {
    let mut irm = irm();
    let n = name("echo");
    let (a, b) = (irm.bind(&n).unwrap(), irm.bind(&n).unwrap());
    let (mut wa, mut wb) = (None, None);
    assert_eq!(accept(&mut irm, b, &mut wb), None);
    assert_eq!(accept(&mut irm, a, &mut wa), None);
    assert!(matches!(irm.place(Instant::ZERO, &n, 1), Placed::Assigned(_)));
    let (back, _) = irm.cancel(a, wa.unwrap()).unwrap();
    assert!(matches!(irm.place(Instant::ZERO, &n, back.unwrap()), Placed::Assigned(_)), "b takes it over");
    assert_eq!(accept(&mut irm, b, &mut wb), Some(1));
    assert_eq!(accept(&mut irm, b, &mut wb), None);
    assert!(matches!(irm.place(Instant::ZERO, &n, 2), Placed::Assigned(_)));
    let (back, _) = irm.cancel(b, wb.unwrap()).unwrap();
    assert!(matches!(irm.place(Instant::ZERO, &n, back.unwrap()), Placed::Waiting(_)), "nobody else accepts now");
    assert_eq!(accept(&mut irm, a, &mut None), Some(2));
}

#[test]
fn unbinding_the_last_listener_forgets_the_name_and_returns_its_requests() {
    let mut irm = irm();
    let n = name("echo");
    let l = irm.bind(&n).unwrap();
    let hash = HashAlg::Sha3_256.hash(&n);
    assert_eq!(irm.by_hash(HashAlg::Sha3_256, &hash), Some(&n));
    assert!(matches!(irm.place(Instant::ZERO, &n, 1), Placed::Waiting(_)));
    assert_eq!(irm.unbind(l).0, [1]);
    assert_eq!(irm.by_hash(HashAlg::Sha3_256, &hash), None);
    assert!(matches!(irm.place(Instant::ZERO, &n, 2), Placed::Unknown(2)));
    assert_eq!(irm.poll_accept(l, &mut None, Waker::noop()), Poll::Ready(None));
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
    assert!(matches!(irm.place(Instant::ZERO, &n, 1), Placed::Start(..)));
    assert_eq!(irm.set_factory(&n, &mut exchanged).unwrap(), [1]);
    assert!(exchanged.is_some(), "to be dropped outside");
    assert!(!irm.is_bound(&n));
}

#[test]
fn names_are_bounded() {
    let mut irm: Irm<u32> = Irm::new(Limits { names: 1, ..Limits::default() });
    irm.bind(&name("a")).unwrap();
    irm.bind(&name("a")).unwrap();
    assert_eq!(irm.bind(&name("b")), Err(BindError::Full(1)));
}
