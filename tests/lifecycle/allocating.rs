//! Allocations: names that cannot be reached, and futures that are given up.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use o7s::types::code::Code;
use o7s::{AllocError, ReadError, SecurityConfig, Stack, Udp4};

use super::{BOUND, PLACES, Place, finishes, impatient, settle, spawn, stacks, to_silent, within};

// ----- names and layers -----
#[test]
fn an_unreachable_name_is_reported_fast() {
    let (_, client) = stacks(Place::Udp);
    let stacks = [Stack::new().unwrap(), client];
    for stack in stacks {
        let failed = within("alloc", move || stack.flow("nowhere").alloc().map(drop));
        assert!(matches!(failed, Err(AllocError::Unreachable(_))), "{failed:?}");
        assert_eq!(failed.unwrap_err().code(), Code::NAME);
    }
}

#[test]
fn a_refusal_has_a_type() {
    let (server, client) = stacks(Place::Udp);
    let refused = client.flow("echo").timeout(BOUND).alloc().map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::NAME, "registered, and not bound");
    let listener = server.bind("echo").unwrap();
    let encrypted: SecurityConfig = "X25519".parse().unwrap();
    server.set_default_security(encrypted);
    let accepts = spawn(move || listener.accept_timeout(Duration::from_secs(2)).map(drop));
    let refused = client.flow("echo").timeout(BOUND).alloc().map(drop);
    assert!(matches!(refused, Err(AllocError::Refused { .. })), "it takes no plain flows: {refused:?}");
    assert!(finishes("accept", accepts).is_err(), "nothing is accepted");
}

#[test]
fn an_allocation_ends_at_its_deadline() {
    let (_socket, stack) = to_silent();
    let late = within("alloc", move || stack.flow("echo").timeout(Duration::from_millis(50)).alloc().map(drop));
    assert!(matches!(late, Err(AllocError::TimedOut(_))), "{late:?}");
}

#[test]
fn the_layer_of_the_highest_priority_is_asked_first() {
    let server = Stack::new().unwrap();
    let client = Stack::new().unwrap();
    let mut nets = Vec::new();
    let mut members = Vec::new();
    for i in 0..2 {
        let net = server.udp4(Udp4::bind("127.0.0.1:0").name(&format!("s{i}"))).unwrap();
        net.register("echo").unwrap();
        let at = net.local_addr().unwrap().to_string();
        let config = Udp4::bind("127.0.0.1:0").name(&format!("c{i}")).host("echo", &at).priority(i);
        members.push(client.udp4(config.system_resolver(false)).unwrap());
        nets.push(net);
    }
    server.bind_handler("echo", drop).unwrap();
    let used = |net: &o7s::IpcpHandle| net.rib().get("requests_in").unwrap();
    client.flow("echo").timeout(BOUND).alloc().unwrap();
    assert_eq!((used(&nets[0]), used(&nets[1])), (0, 1));
    members[0].set_priority(5);
    client.flow("echo").timeout(BOUND).alloc().unwrap();
    assert_eq!((used(&nets[0]), used(&nets[1])), (1, 1));
}

// ----- futures given up -----
#[test]
fn late_answers_to_abandoned_allocations_reset_the_flow() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let from = client.clone();
        let mut allocation = Box::pin(async move { from.flow("echo").qos(impatient(300)).alloc_async().await });
        let mut cx = Context::from_waker(Waker::noop());
        // Polled until the request has been sent: in a layer its directory is asked first.
        let asked = || server.rib().get("node/incoming");
        let before = asked();
        while asked() == before {
            assert!(allocation.as_mut().poll(&mut cx).is_pending());
            settle();
        }
        let far = within("accept", move || {
            let far = listener.accept();
            (far, listener)
        });
        // The answer is there, or on its way.
        drop(allocation);
        let far = far.0.unwrap();
        let gone = within("read", move || far.read(&mut [0; 8]));
        // It is no close, which would have been the end of a stream.
        assert_eq!(gone, Err(ReadError::Reset), "{place:?}");
        // A member of a layer has flows of its own.
        let flows = if place == Place::Layer { "ipcps/b/flows" } else { "node/flows" };
        while client.rib().get(flows) != Some(0) {
            settle();
        }
    }
}

#[test]
fn withdrawn_requests_leave_nothing_behind() {
    for place in [Place::Direct, Place::Local] {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let mut allocation = Box::pin(async move { client.flow("echo").alloc_async().await });
        assert!(allocation.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(allocation);
        let none = within("accept", move || (listener.accept_timeout(Duration::from_millis(50)).map(drop), listener));
        assert!(none.0.is_err(), "{place:?}");
        assert_eq!(server.rib().get("node/flows"), Some(0));
    }
}

/// A task that is dropped by its waker, as executors that are gone do.
struct Fragile(std::sync::Mutex<Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for Fragile {
    fn wake(self: Arc<Self>) {
        let task = self.0.lock().unwrap().take();
        drop(task);
    }
}

#[test]
fn a_waker_may_drop_what_it_wakes() {
    let check = |stack: Stack, end: Box<dyn FnOnce(&Stack) + Send>| {
        let inside = stack.clone();
        let task = async move {
            let listener = inside.bind("echo").unwrap();
            let accept = listener.accept_async();
            let _ = accept.await;
        };
        let task = Arc::new(Fragile(std::sync::Mutex::new(Some(Box::pin(task)))));
        let waker = Waker::from(Arc::clone(&task));
        {
            let mut slot = task.0.lock().unwrap();
            let pending = slot.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker));
            assert!(pending.is_pending());
        }
        drop((task, waker));
        within("the end of a listener whose task is gone", move || {
            end(&stack);
            drop(stack);
        });
    };
    check(Stack::new().unwrap(), Box::new(Stack::shutdown));
    let requested = |stack: &Stack| {
        let refused = stack.flow("echo").timeout(BOUND).alloc().map(drop);
        assert!(refused.is_err(), "{refused:?}");
    };
    check(Stack::new().unwrap(), Box::new(requested));
}
