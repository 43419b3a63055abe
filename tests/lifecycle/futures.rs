//! Every future that waits: its wakers may panic, use the stack and give the wait up, and nothing stops.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use o7s::types::device::Datagrams;
use o7s::{ConnectOptions, FlowSet, QosSpec, Stack, Udp4, UnicastLayer, aio};

use super::cable::Cable;
use super::foreign::{Broken, Curious, SOON, panics};
use super::{Place, block_on, finishes, mortal, pair, settle, spawn, to_silent, within};

/// Time limit of what nothing but time ends.
const BRIEF: Duration = Duration::from_millis(200);

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something to wait for, as often as one likes: as the first waiter or the second.
struct Wait {
    what: &'static str,
    /// Where the panics of those who wait are counted.
    stack: Stack,
    make: Box<dyn Fn(usize) -> Boxed + Send>,
    /// Ends all of the waits.
    trigger: Box<dyn FnOnce() + Send>,
    /// Uses what is waited for, as a waker may.
    uses: Arc<dyn Fn() + Send + Sync>,
}

impl Wait {
    fn new<F: Future<Output = ()> + Send + 'static>(
        what: &'static str,
        stack: &Stack,
        make: impl Fn(usize) -> F + Send + 'static,
    ) -> Self {
        let make = Box::new(move |n| Box::pin(make(n)) as Boxed);
        Self { what, stack: stack.clone(), make, trigger: Box::new(|| ()), uses: Arc::new(|| ()) }
    }

    fn trigger(self, trigger: impl FnOnce() + Send + 'static) -> Self {
        Self { trigger: Box::new(trigger), ..self }
    }

    fn uses(self, uses: impl Fn() + Send + Sync + 'static) -> Self {
        Self { uses: Arc::new(uses), ..self }
    }
}

/// The waits for one end of a flow, to the end of which nothing comes any more but from here.
fn waits_for_flows() -> Vec<Wait> {
    let mut waits = Vec::new();
    for name in ["read", "set"] {
        let pair = pair(Place::Udp, QosSpec::DATA);
        let (client, server) = (pair.client.clone(), pair.ends.1);
        let near = Arc::new(pair.ends.0.into_async());
        let set = Arc::new(FlowSet::new());
        let token = set.add(&near.as_blocking());
        let (reader, waited) = (Arc::clone(&near), Arc::clone(&set));
        let wait = match name {
            "read" => Wait::new(name, &client, move |_| {
                let flow = Arc::clone(&reader);
                async move { drop(flow.read_bytes().await) }
            }),
            _ => Wait::new(name, &client, move |_| {
                let set = Arc::clone(&waited);
                async move { drop(set.wait_async().await) }
            }),
        };
        let keep = (pair.server, pair.client, pair.listener);
        let uses = move || {
            let _ = (&keep, set.len(), set.contains(token), near.as_blocking().counters());
            set.remove(set.add(&near.as_blocking()));
        };
        waits.push(wait.uses(uses).trigger(move || {
            // One packet for each of those that wait.
            server.write(b"one").unwrap();
            server.write(b"two").unwrap();
            // Nobody writes: it is only kept open for a while.
            let _ = server.read_timeout(&mut [0; 9], SOON);
        }));
    }
    for name in ["write", "shutdown", "close"] {
        let (pair, cable) = mortal(QosSpec::DATA);
        cable.pull();
        let client = pair.client.clone();
        let near = Arc::new(pair.ends.0.into_async());
        while near.as_blocking().try_write(&[1; 1000]).is_ok() {}
        let (flow, aborts) = (Arc::clone(&near), aio::Flow::clone(&near));
        let wait = Wait::new(name, &client, move |_| {
            let flow = aio::Flow::clone(&flow);
            async move {
                match name {
                    "write" => drop(flow.write(b"late").await),
                    "shutdown" => drop(flow.shutdown().await),
                    _ => drop(flow.close(BRIEF).await),
                }
            }
        });
        let keep = (pair.server, pair.client, pair.listener, pair.ends.1);
        let uses = move || {
            let _ = (&keep, near.as_blocking().counters(), near.as_blocking().try_write(b"again"));
        };
        waits.push(wait.uses(uses).trigger(move || aborts.abort()));
    }
    waits
}

/// The waits of a member whose neighbour does not answer any more, and that time ends.
fn waits_for_members() -> Vec<Wait> {
    let (_silent, stack) = to_silent();
    let joins = stack.clone();
    let enroll = Wait::new("enroll", &stack, move |n| {
        let member = joins.unicast(&format!("joins{n}")).timeout(BRIEF);
        async move { drop(member.enroll_async("echo").await) }
    });
    let (server, client, cable) = (Stack::new().unwrap(), Stack::new().unwrap(), Cable::new());
    let below = server.udp4_over(Arc::clone(&cable) as Arc<dyn Datagrams>, Udp4::bind("127.0.0.1:0")).unwrap();
    let first = server.unicast("a").over(&below).bootstrap(UnicastLayer::new("net")).unwrap();
    let at = below.local_addr().unwrap().to_string();
    let below = client.udp4(Udp4::bind("127.0.0.1:0").host("a", &at).system_resolver(false)).unwrap();
    let member = client.unicast("b").over(&below).enroll("a").unwrap();
    member.connect("a").unwrap();
    // From the answer on there is somebody who can be asked, and who says nothing.
    first.register("known").unwrap();
    while member.locate("known").unwrap().is_empty() {
        settle();
    }
    cable.pull();
    let (asks, connects) = (member.clone(), member.clone());
    let locate = Wait::new("locate", &client, move |_| {
        let member = asks.clone();
        async move { drop(member.locate_async("nobody").await) }
    });
    let locate = locate.uses(move || {
        let _ = (&server, &first, member.rib(), member.connections(), member.register("another"));
    });
    let connect = Wait::new("connect", &client, move |_| {
        let member = connects.clone();
        async move { drop(member.connect_with_async("nobody", ConnectOptions::new().timeout(BRIEF)).await) }
    });
    vec![enroll.uses(move || drop(_silent.local_addr())), locate, connect]
}

fn waits() -> impl Iterator<Item = Wait> {
    waits_for_flows().into_iter().chain(waits_for_members())
}

/// Two wait, the first with `waker`, and the wait ends. The second one is woken whatever the first does.
fn ends_with(wait: Wait, first: &Mutex<Option<Boxed>>, waker: &Waker) {
    let Wait { what, make, trigger, .. } = wait;
    let mut future = make(0);
    assert!(future.as_mut().poll(&mut Context::from_waker(waker)).is_pending(), "{what}");
    *first.lock().unwrap() = Some(future);
    let second = make(1);
    let waits = spawn(move || block_on(second));
    settle();
    within(what, trigger);
    finishes(what, waits);
}

#[test]
fn a_panicking_waker_of_any_future_ends_no_thread() {
    for wait in waits() {
        let (what, stack) = (wait.what, wait.stack.clone());
        let first = Mutex::default();
        ends_with(wait, &first, &Waker::from(Arc::new(Broken)));
        within(what, move || {
            while panics(&stack) == 0 {
                settle()
            }
        });
    }
}

/// A waker that uses the stack when it is called, and gives up what it was to wake.
struct Busy {
    stack: Stack,
    uses: Arc<dyn Fn() + Send + Sync>,
    future: Arc<Mutex<Option<Boxed>>>,
    woken: AtomicUsize,
}

impl Wake for Busy {
    fn wake(self: Arc<Self>) {
        drop(self.stack.bind("looking"));
        let _ = self.stack.rib();
        (self.uses)();
        let future = self.future.lock().unwrap().take();
        drop(future);
        self.woken.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_waker_of_any_future_may_use_the_stack_and_drop_the_future() {
    for wait in waits() {
        let (what, stack, future) = (wait.what, wait.stack.clone(), Arc::default());
        let (uses, woken) = (Arc::clone(&wait.uses), AtomicUsize::new(0));
        let busy = Arc::new(Busy { stack: stack.clone(), uses, future: Arc::clone(&future), woken });
        ends_with(wait, &future, &Waker::from(Arc::clone(&busy)));
        within(what, move || {
            while busy.woken.load(Ordering::SeqCst) == 0 {
                settle()
            }
        });
        assert_eq!(panics(&stack), 0, "{what}");
    }
}

#[test]
fn no_lock_is_held_when_a_waker_of_any_future_ends() {
    for wait in waits() {
        let (stack, ended) = (wait.stack.clone(), Arc::new(AtomicUsize::new(0)));
        let (what, count) = (wait.what, Arc::clone(&ended));
        let wait = within(what, move || {
            let mut future = (wait.make)(0);
            for _ in 0..3 {
                let waker = Waker::from(Arc::new(Curious { stack: stack.clone(), ended: Arc::clone(&count) }));
                assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "{what}");
            }
            drop(future);
            wait
        });
        // What a member keeps until it knows is dropped then.
        let second = (wait.make)(1);
        let waits = spawn(move || block_on(second));
        settle();
        within(what, wait.trigger);
        finishes(what, waits);
        within(what, move || {
            while ended.load(Ordering::SeqCst) < 3 {
                settle()
            }
        });
    }
}

/// More wait than a member keeps wakers for.
#[test]
fn any_number_of_callers_may_locate_one_name() {
    let locate = waits_for_members().swap_remove(1);
    let all: Vec<_> = (0..200).map(|n| (locate.make)(n)).map(|f| spawn(move || block_on(f))).collect();
    for running in all {
        finishes("one of many", running);
    }
}
