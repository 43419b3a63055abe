//! Code of others that runs on the stack's threads: what it does wrong ends with it, and no lock is held meanwhile.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use o7s::ipcp::connect::enroll::Applicant;
use o7s::ipcp::shim::resolve::{Found, Resolver};
use o7s::types::name::NameHash;
use o7s::{AllocError, LocalConfig, QosSpec, ReadError, Stack, Udp4, UnicastLayer};

use super::{BOUND, Place, block_on, finishes, settle, spawn, stacks, to_silent, within};

/// Ends the caller as a bug would, without the noise.
fn bug<T>() -> T {
    std::panic::resume_unwind(Box::new("a bug in code of others"))
}

pub(super) fn panics(stack: &Stack) -> u64 {
    stack.rib().get("node/foreign_panics").unwrap()
}

/// The good service answers, on a flow that is open and on new ones.
fn served(client: &Stack) {
    let from = client.clone();
    within("the good service", move || {
        let flow = from.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
        flow.write(b"hello").unwrap();
        assert_eq!(flow.read_timeout(&mut [0; 9], BOUND).unwrap(), 5);
    });
}

/// Time of a test in which nothing comes.
pub(super) const SOON: Duration = Duration::from_millis(300);

fn echo(stack: &Stack) {
    let serve = |flow: o7s::Flow| {
        let mut buf = [0; 64];
        while let Ok(n) = flow.read(&mut buf) {
            let _ = flow.write(&buf[..n]);
        }
    };
    stack.bind_handler("echo", serve).unwrap();
}

#[test]
fn a_panicking_handler_ends_only_its_flow() {
    for place in [Place::Direct, Place::Local, Place::Udp] {
        let (server, client) = stacks(place);
        echo(&server);
        // Where there is no layer "bad" is reached by its name, else it is registered like any other.
        server.bind_factory("bad", |_| bug()).unwrap();
        server.bind_handler("worse", |_| bug()).unwrap();
        served(&client);
        let bad = server.clone();
        within("the bad service", move || {
            let late = bad.flow("bad").timeout(SOON).alloc().map(drop);
            assert!(matches!(late, Err(AllocError::TimedOut(_))), "{late:?}");
            let flow = bad.flow("worse").timeout(BOUND).alloc().unwrap();
            let _ = flow.read_timeout(&mut [0; 9], BOUND);
        });
        served(&client);
        assert!(panics(&server) >= 2, "{}", panics(&server));
    }
}

#[test]
fn the_flow_of_a_panicking_handler_is_reset() {
    for place in [Place::Direct, Place::Local, Place::Udp] {
        let (server, client) = stacks(place);
        // Between its answer and the rest of it, whole or in halves.
        server
            .bind_handler("echo", |flow| {
                let len = flow.read(&mut [0; 64]).unwrap();
                flow.write(b"part").unwrap();
                if len == 1 {
                    bug()
                }
                let (_reader, _writer) = flow.split();
                bug()
            })
            .unwrap();
        for (question, qos) in [("1", QosSpec::DATA), ("22", QosSpec::DATA), ("1", QosSpec::RAW)] {
            let from = client.clone();
            let end = within("a bad service", move || {
                let flow = from.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
                flow.write(question.as_bytes()).unwrap();
                loop {
                    if let Err(end) = flow.read_timeout(&mut [0; 9], BOUND) {
                        return end;
                    }
                }
            });
            assert_eq!(end, ReadError::Reset, "{place:?}, {question}, {qos:?}");
        }
    }
}

#[test]
fn a_panicking_handler_is_called_over_a_layer() {
    let (server, client) = stacks(Place::Udp);
    echo(&server);
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("bad").unwrap();
    server.bind_factory("bad", |_| bug()).unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("bad", &at)).unwrap();
    for _ in 0..2 {
        let from = client.clone();
        within("the bad service", move || {
            let late = from.flow("bad").timeout(SOON).alloc().map(drop);
            assert!(matches!(late, Err(AllocError::TimedOut(_))), "{late:?}");
        });
    }
    served(&client);
    assert!(panics(&server) >= 2);
}

#[test]
fn a_panicking_resolver_finds_nothing() {
    struct Broken;
    impl Resolver for Broken {
        fn resolve(&self, _: &NameHash, _: Found) {
            bug()
        }
    }
    let (server, client) = stacks(Place::Udp);
    echo(&server);
    let net = Udp4::bind("127.0.0.1:0").system_resolver(false).resolver(Arc::new(Broken));
    client.udp4(net).unwrap();
    let from = client.clone();
    let unknown = within("an unknown name", move || from.flow("nobody").timeout(BOUND).alloc().map(drop));
    assert!(matches!(unknown, Err(AllocError::Unreachable(_))), "{unknown:?}");
    served(&client);
    assert!(panics(&client) >= 1);
}

#[test]
fn a_panicking_admission_refuses() {
    let stack = Stack::new().unwrap();
    let wire = stack.local(LocalConfig::new("wire", "wire"));
    let admission = |_: &Applicant| -> Result<(), i32> { bug() };
    let a = stack.unicast("a").over(&wire).admission(Arc::new(admission));
    let _a = a.bootstrap(UnicastLayer::new("net")).unwrap();
    let joins = stack.clone();
    let denied = within("enrollment", move || joins.unicast("b").over(&wire).timeout(BOUND).enroll("a").map(drop));
    assert!(denied.is_err());
    assert!(panics(&stack) >= 1);
}

/// A waker of an executor that is broken.
pub(super) struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        bug()
    }
}

#[test]
fn a_panicking_waker_does_not_block_others() {
    let (server, client) = stacks(Place::Udp);
    let listener = Arc::new(server.bind("echo").unwrap());
    let broken = Waker::from(Arc::new(Broken));
    let mut cx = Context::from_waker(&broken);
    // One accepts and is woken in vain; another one waits.
    let mut lost = Box::pin(listener.accept_async());
    let other = Arc::clone(&listener);
    let accepts = spawn(move || block_on(async { other.accept_async().await.map(drop) }));
    settle();
    assert!(lost.as_mut().poll(&mut cx).is_pending());
    let from = client.clone();
    within("a flow to the other one", move || from.flow("echo").timeout(BOUND).alloc().map(drop)).unwrap();
    finishes("the other one", accepts).unwrap();
    assert!(panics(&server) >= 1);
    // A time limit that ends on the timers' thread, with a waker that panics: the others' limits go on.
    let (_silent, stack) = to_silent();
    let mut lost = Box::pin(stack.flow("echo").timeout(Duration::from_millis(20)).alloc_async());
    assert!(lost.as_mut().poll(&mut cx).is_pending());
    let from = stack.clone();
    let end =
        within("another time limit", move || from.flow("echo").timeout(Duration::from_millis(200)).alloc().map(drop));
    assert!(matches!(end, Err(AllocError::TimedOut(_))), "{end:?}");
    assert!(panics(&stack) >= 1);
}

#[test]
fn a_panicking_reply_ends_only_its_thread() {
    let (server, client) = stacks(Place::Udp);
    let listener = Arc::new(server.bind("echo").unwrap());
    let bad = Arc::clone(&listener);
    let accepts = spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bad.accept_with(|_| bug()).map(drop)));
        outcome.is_err()
    });
    let from = client.clone();
    // It is refused, and asks again: then there is no acceptor.
    let lost = within("the request", move || from.flow("echo").timeout(SOON).alloc().map(drop));
    assert!(lost.is_err());
    assert!(finishes("the bug", accepts), "the thread that brought the closure sees its panic");
    // Not only one: a repetition of the lost request may still wait, and the name is bound as long as its listener is.
    let accepts = spawn(move || while listener.accept().is_ok() {});
    within("the next one", move || client.flow("echo").timeout(BOUND).alloc().map(drop)).unwrap();
    server.shutdown();
    finishes("accept", accepts);
}

#[test]
fn a_polled_stack_survives_panicking_wakers() {
    let stack = Stack::builder().polled().build().unwrap();
    stack.on_wake(bug);
    let listener = stack.bind("echo").unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut allocation = Box::pin(stack.flow("echo").alloc_async());
    assert!(allocation.as_mut().poll(&mut cx).is_pending());
    assert!(listener.try_accept().is_ok());
    assert!(allocation.as_mut().poll(&mut cx).is_ready());
    assert!(panics(&stack) >= 1);
}

// ----- locks -----

/// A waker that reads all of the stack when it is dropped: it waits forever if a lock is held.
pub(super) struct Curious {
    pub(super) stack: Stack,
    pub(super) ended: Arc<AtomicUsize>,
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Curious {
    fn drop(&mut self) {
        drop(self.stack.bind("looking"));
        let _ = self.stack.rib();
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls with a waker that is held nowhere else, then with another one; then gives the future up. Returns how many
/// wakers have been dropped, which changes if some table keeps them until the end of the wait.
fn exchange_wakers<F: Future>(
    what: &'static str,
    stack: &Stack,
    future: impl FnOnce(Stack) -> F + Send + 'static,
) -> Arc<AtomicUsize> {
    let (stack, ended) = (stack.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&ended);
    within(what, move || {
        let mut future = Box::pin(future(stack.clone()));
        for _ in 0..3 {
            let waker = Waker::from(Arc::new(Curious { stack: stack.clone(), ended: Arc::clone(&count) }));
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "{what}");
        }
        drop(future);
    });
    ended
}

/// As [`exchange_wakers`], where all of them are dropped with the future.
fn ends_wakers<F: Future>(what: &'static str, stack: &Stack, future: impl FnOnce(Stack) -> F + Send + 'static) {
    let ended = exchange_wakers(what, stack, future);
    assert_eq!(ended.load(Ordering::SeqCst), 3, "{what}");
}

#[test]
fn no_lock_is_held_when_a_waker_ends() {
    let stack = Stack::new().unwrap();
    ends_wakers("accept", &stack, |s| async move {
        let listener = s.bind("echo").unwrap();
        listener.accept_async().await.map(drop)
    });
    let (_silent, asking) = to_silent();
    ends_wakers("allocation", &asking, |s| async move { s.flow("echo").timeout(BOUND).alloc_async().await.map(drop) });
    let (server, client) = stacks(Place::Udp);
    let _listener = server.bind("echo").unwrap();
    ends_wakers("accept over UDP", &server, |s| async move {
        let listener = s.bind("other").unwrap();
        listener.accept_async().await.map(drop)
    });
    /// Answers when it is dropped.
    struct Slow(std::sync::Mutex<Vec<Found>>);
    impl Resolver for Slow {
        fn resolve(&self, _: &NameHash, found: Found) {
            self.0.lock().unwrap().push(found);
        }
    }
    let slow = Arc::new(Slow(std::sync::Mutex::default()));
    let resolver = Arc::clone(&slow) as Arc<dyn Resolver>;
    client.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false).resolver(resolver)).unwrap();
    let ended =
        exchange_wakers(
            "look-up",
            &client,
            |s| async move { s.flow("far").timeout(BOUND).alloc_async().await.map(drop) },
        );
    let found = std::mem::take(&mut *slow.0.lock().unwrap());
    let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    within("the answer", move || found.into_iter().for_each(|f| f.answer(Some(nowhere))));
    assert_eq!(ended.load(Ordering::SeqCst), 3, "look-up");
}

#[test]
fn no_lock_of_a_member_is_held_when_a_waker_ends() {
    let stack = Stack::new().unwrap();
    let wire = stack.local(LocalConfig::new("wire", "wire"));
    let a = stack.unicast("a").over(&wire).bootstrap(UnicastLayer::new("net")).unwrap();
    let b = a.clone();
    let ended = exchange_wakers("connect", &stack, move |_| async move { b.connect_async("nobody").await.map(drop) });
    within("shutdown", move || {
        stack.shutdown();
        drop((a, wire, stack));
    });
    assert_eq!(ended.load(Ordering::SeqCst), 3, "connect");
}

#[test]
fn no_lock_is_held_when_a_polled_stack_is_due_earlier() {
    let stack = Stack::builder().polled().seed([9; 32]).build().unwrap();
    let (inside, looks) = (stack.clone(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&looks);
    let below = stack.local(LocalConfig::new("wire", "wire"));
    let member = stack.unicast("node").over(&below).bootstrap(UnicastLayer::new("net")).unwrap();
    let mut now = stack.now();
    while let Some(next) = stack.poll(now).filter(|next| *next < now + SOON) {
        now = next;
    }
    stack.on_wake(move || {
        inside.rib();
        seen.fetch_add(1, Ordering::Relaxed);
    });
    // The member has something to do, and sets its alarm.
    member.register("echo").unwrap();
    assert!(looks.load(Ordering::Relaxed) > 0);
    assert_eq!(panics(&stack), 0);
    stack.on_wake(|| {});
}
