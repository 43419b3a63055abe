//! Stacks that the application drives: no threads, no clock.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use o7s::base::time::Instant;
use o7s::settings::Limits;
use o7s::{AcceptError, AllocError, Flow, Listener, LocalConfig, QosSpec, ReadError, Stack, WriteError};

#[test]
fn a_polled_stack_has_no_threads_and_blocks_nowhere() {
    let stack = Stack::builder().polled().seed([1; 32]).build().unwrap();
    let listener = stack.bind("echo").unwrap();
    assert!(matches!(listener.accept(), Err(AcceptError::Polled)));
    assert!(matches!(stack.flow("echo").alloc(), Err(AllocError::Polled)));
    assert!(matches!(listener.try_accept(), Err(AcceptError::WouldBlock)));
}

#[test]
fn two_programs_talk_when_the_stack_is_polled() {
    let stack = Stack::builder().polled().seed([2; 32]).build().unwrap();
    let listener = stack.bind("echo").unwrap();
    let mut alloc = Box::pin(stack.flow("echo").qos(QosSpec::DATA).alloc_async());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(alloc.as_mut().poll(&mut cx).is_pending());
    let server = listener.try_accept().unwrap();
    let Poll::Ready(Ok(client)) = alloc.as_mut().poll(&mut cx) else { panic!("accepted, but not allocated") };
    let client = client.into_blocking();

    let mut now = Instant::ZERO;
    for i in 0..1000u32 {
        client.try_write(&i.to_be_bytes()).unwrap();
        let mut buf = [0; 16];
        assert_eq!(server.try_read(&mut buf), Ok(4));
        assert_eq!(server.try_read(&mut buf), Err(ReadError::WouldBlock));
        assert_eq!(server.read(&mut buf), Err(ReadError::Polled), "no thread would end the wait");
        now += Duration::from_millis(1);
        stack.poll(now);
    }
    assert_eq!(client.counters().tx_packets, 1000);
}

#[test]
fn poll_returns_the_next_deadline() {
    let limits = Limits::default().accept_wait(Duration::from_secs(1));
    let stack = Stack::builder().polled().seed([3; 32]).limits(limits).build().unwrap();
    assert_eq!(stack.poll(Instant::from_millis(1)), None, "nothing is to be done");
    let listener = stack.bind("echo").unwrap();
    let mut alloc = Box::pin(stack.flow("echo").timeout(Duration::from_secs(3)).alloc_async());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(alloc.as_mut().poll(&mut cx).is_pending());
    // Without an acceptor the request is refused after one second, not earlier.
    let due = stack.poll(Instant::from_millis(2)).unwrap();
    assert!(due <= Instant::from_millis(1001), "{due:?}");
    stack.poll(Instant::from_millis(990));
    assert!(alloc.as_mut().poll(&mut cx).is_pending());
    stack.poll(Instant::from_millis(1001));
    let Poll::Ready(Err(e)) = alloc.as_mut().poll(&mut cx) else { panic!("not refused") };
    assert_eq!(e.code(), o7s::types::code::Code::AGAIN);
    drop(listener);
}

#[test]
fn a_full_window_would_block() {
    let stack = Stack::builder().polled().seed([4; 32]).build().unwrap();
    let listener = stack.bind("sink").unwrap();
    let mut alloc = Box::pin(stack.flow("sink").qos(QosSpec::DATA).alloc_async());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(alloc.as_mut().poll(&mut cx).is_pending());
    let server = listener.try_accept().unwrap();
    let Poll::Ready(Ok(client)) = alloc.as_mut().poll(&mut cx) else { panic!("accepted, but not allocated") };
    let client = client.into_blocking();
    let mut written = 0u32;
    let refused = loop {
        match client.try_write(&written.to_be_bytes()) {
            Ok(_) => written += 1,
            Err(e) => break e,
        }
        assert!(written < 10_000, "the window has no end");
    };
    assert_eq!(refused, WriteError::WouldBlock);
    for i in 0..written {
        let mut buf = [0; 4];
        assert_eq!(server.try_read(&mut buf), Ok(4), "packet {i}");
        assert_eq!(u32::from_be_bytes(buf), i);
    }
}

/// Ends of a flow of the stack itself, the requester's first.
fn flow(stack: &Stack, listener: &Listener, qos: QosSpec) -> (Flow, Flow) {
    let mut alloc = Box::pin(stack.flow("sink").qos(qos).alloc_async());
    let mut cx = Context::from_waker(Waker::noop());
    let mut far = None;
    for _ in 0..10 {
        if let Poll::Ready(near) = alloc.as_mut().poll(&mut cx) {
            return (near.unwrap().into_blocking(), far.expect("accepted"));
        }
        far = far.or_else(|| listener.try_accept().ok());
        stack.poll(Instant::ZERO);
    }
    panic!("not allocated");
}

/// Polls until nothing is due, which is to come about soon.
#[track_caller]
fn settle(stack: &Stack, now: Instant) {
    let due = (0..1000).find(|_| stack.poll(now).is_none_or(|next| next > now));
    assert!(due.is_some(), "still due at {now:?}: {:?}", stack.poll(now));
}

/// However far the clock jumps, what was due meanwhile is done in a bounded number of polls, and what begins then goes on.
#[test]
fn a_clock_that_jumps_to_the_end_of_time_keeps_nothing_due() {
    use QosSpec as Q;

    let qualities = [Q::RAW, Q::RAW_NO_ERRORS, Q::BEST_EFFORT, Q::VIDEO, Q::VOICE, Q::DATA];
    // Those whose peers may be silent for as long as can be said are among them.
    let qualities = [qualities, qualities.map(|qos| Q { timeout: 0, ..qos })].concat();
    let limits = Limits::default().flow_timeout_max(Duration::MAX);
    let mut cx = Context::from_waker(Waker::noop());
    for (to, local) in [u64::MAX, u64::MAX - 1, 1 << 60].into_iter().flat_map(|to| [(to, false), (to, true)]) {
        let to = Instant::from_nanos(to);
        let stack = Stack::builder().polled().seed([5; 32]).limits(limits.clone()).build().unwrap();
        if local {
            stack.local(LocalConfig::new("local", "local")).register("sink").unwrap();
        }
        let listener = stack.bind("sink").unwrap();
        let open = || qualities.iter().map(|qos| flow(&stack, &listener, *qos)).collect::<Vec<_>>();
        let early = open();
        // Packets that nobody reads, in front of a closed window where there is one, and a request that nobody accepts.
        for (near, far) in &early {
            while near.counters().tx_packets < 300 && near.try_write(b"there").is_ok() {}
            far.try_write(b"back").unwrap();
        }
        let mut waits = Box::pin(stack.flow("sink").timeout(Duration::from_secs(3)).alloc_async());
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        settle(&stack, to);
        assert!(waits.as_mut().poll(&mut cx).is_ready(), "{to:?}, local {local}");
        let read = |end: &Flow| (0..1000).find_map(|_| end.try_read(&mut [0; 9]).err());
        for (near, far) in &early {
            assert_eq!([read(near), read(far)], [Some(ReadError::PeerGone); 2], "{to:?}, {:?}", near.qos());
        }
        // At the very end there is no time left for anything.
        let late = if to < Instant::from_nanos(u64::MAX) { open() } else { Vec::new() };
        settle(&stack, to);
        for (near, far) in &late {
            let mut buf = [0; 9];
            for (from, at) in [(near, far), (far, near)] {
                assert_eq!(from.try_write(b"there"), Ok(5), "{to:?}, {:?}", near.qos());
                assert_eq!(at.try_read(&mut buf), Ok(5), "{to:?}, {:?}", near.qos());
            }
        }
        settle(&stack, to);
        drop(late);
        settle(&stack, to);
        settle(&stack, Instant::from_nanos(u64::MAX));
    }
}
