//! Stacks that the application drives: no threads, no clock.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use o7s::base::time::Instant;
use o7s::{AcceptError, AllocError, QosSpec, ReadError, Stack, WriteError};

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
    let limits = o7s::settings::Limits::default().accept_wait(Duration::from_secs(1));
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
