//! Nothing hangs: whatever is dropped, closed or shut down, in whatever state, returns within a bound.
//!
//! The bounds are generous, because machines are busy; what hangs, hangs for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "lifecycle/foreign.rs"]
mod foreign;
#[path = "lifecycle/giving_back.rs"]
mod giving_back;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use o7s::node::Limits;
use o7s::node::alloc::AllocError as Failed;
use o7s::sim::{Host, Link, Network};
use o7s::types::code::Code;
use o7s::types::device::Datagrams;
use o7s::{
    AcceptError, AllocError, CloseError, Event, Flow, FlowSet, Listener, LoadBalancing, LocalConfig, QosSpec,
    ReadError, SecurityConfig, Stack, Udp4, WriteError, aio,
};

#[path = "world/cable.rs"]
mod cable;
use cable::Cable;

/// What must return does so within this.
const BOUND: Duration = Duration::from_secs(10);

/// Runs `f` on a thread and fails if it takes longer than [`BOUND`].
#[track_caller]
fn within<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    finishes(what, spawn(f))
}

/// A thread whose end is noticed.
struct Running<T>(JoinHandle<()>, std::sync::mpsc::Receiver<T>);

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (tx, rx) = sync_channel(1);
    let run = move || {
        let _ = tx.send(f());
    };
    Running(Builder::new().spawn(run).unwrap(), rx)
}

#[track_caller]
fn finishes<T>(what: &str, running: Running<T>) -> T {
    match running.1.recv_timeout(BOUND) {
        Ok(result) => {
            running.0.join().unwrap();
            result
        }
        Err(RecvTimeoutError::Timeout) => panic!("{what}: still running after {BOUND:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("{what}: the thread panicked"),
    }
}

/// Long enough for a thread to block in what it was started for. A thread that is slower than that makes a test
/// weaker, never wrong.
fn settle() {
    std::thread::park_timeout(Duration::from_millis(30));
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn block_on<F: Future>(f: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut f = pin!(f);
    loop {
        if let Poll::Ready(r) = f.as_mut().poll(&mut Context::from_waker(&waker)) {
            return r;
        }
        std::thread::park();
    }
}

/// Reliable, and the peer's silence is noticed after this many milliseconds.
fn impatient(timeout_ms: u32) -> QosSpec {
    QosSpec { timeout: timeout_ms, ..QosSpec::DATA }
}

/// Where the two ends of a pair are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// In one stack.
    Direct,
    /// In one stack, by way of a local layer.
    Local,
    /// In two stacks, on the loopback interface.
    Udp,
}

const PLACES: [Place; 3] = [Place::Direct, Place::Local, Place::Udp];

/// A server's stack, a client's stack, and a way from the one to the other; "echo" is reachable as soon as it is bound.
fn stacks(place: Place) -> (Stack, Stack) {
    let server = Stack::new().unwrap();
    match place {
        Place::Direct => (server.clone(), server),
        Place::Local => {
            server.local(LocalConfig::new("local", "local")).register("echo").unwrap();
            (server.clone(), server)
        }
        Place::Udp => {
            let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
            net.register("echo").unwrap();
            let client = Stack::new().unwrap();
            let at = net.local_addr().unwrap().to_string();
            client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
            (server, client)
        }
    }
}

struct Pair {
    server: Stack,
    client: Stack,
    listener: Listener,
    /// The client's end, then the server's.
    ends: (Flow, Flow),
}

fn pair(place: Place, qos: QosSpec) -> Pair {
    let (server, client) = stacks(place);
    pair_of(server, client, qos)
}

fn pair_of(server: Stack, client: Stack, qos: QosSpec) -> Pair {
    let listener = server.bind("echo").unwrap();
    let accepts = spawn(move || {
        let flow = listener.accept();
        (listener, flow)
    });
    let from = client.clone();
    let near = within("alloc", move || from.flow("echo").qos(qos).timeout(BOUND).alloc()).unwrap();
    let (listener, far) = finishes("accept", accepts);
    Pair { server, client, listener, ends: (near, far.unwrap()) }
}

/// A pair on the loopback interface whose server can be cut off, as if it had been killed.
fn mortal(qos: QosSpec) -> (Pair, Arc<Cable>) {
    let (server, client, cable) = (Stack::new().unwrap(), Stack::new().unwrap(), Cable::new());
    let net = server.udp4_over(Arc::clone(&cable) as Arc<dyn Datagrams>, Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
    (pair_of(server, client, qos), cable)
}

/// A UDP socket that never answers.
fn silent() -> (std::net::UdpSocket, String) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    (socket, addr)
}

fn to_silent() -> (std::net::UdpSocket, Stack) {
    let (socket, addr) = silent();
    let stack = Stack::new().unwrap();
    stack.udp4(Udp4::bind("127.0.0.1:0").host("echo", &addr).system_resolver(false)).unwrap();
    (socket, stack)
}

// ----- stacks -----

#[test]
fn an_idle_stack_is_dropped() {
    for place in PLACES {
        let (a, b) = stacks(place);
        within("drop", move || drop((a, b)));
    }
}

#[test]
fn a_stack_is_shut_down_while_threads_are_blocked_in_it() {
    for place in PLACES {
        for qos in [QosSpec::RAW, QosSpec::DATA] {
            let Pair { server, client, listener, ends } = pair(place, qos);
            let near = Arc::new(ends.0);
            let far = ends.1;
            let accepts = spawn(move || listener.accept().map(drop));
            let reads = spawn(move || far.read(&mut [0; 10]));
            let reader = Arc::clone(&near);
            let bytes = spawn(move || reader.read_bytes());
            let set = FlowSet::new();
            set.add(&near);
            let waits = spawn(move || set.wait(None));
            settle();
            let (a, b) = (server.clone(), client.clone());
            within("shutdown", move || {
                a.shutdown();
                b.shutdown();
            });
            assert!(finishes("accept", accepts).is_err());
            assert!(finishes("read", reads).is_err());
            assert!(finishes("read_bytes", bytes).is_err());
            assert!(!finishes("wait", waits).is_empty(), "{place:?}");
            assert!(near.write(b"x").is_err());
            assert!(client.flow("echo").alloc().is_err());
            within("drop", move || drop((near, server, client)));
        }
    }
}

#[test]
fn a_stack_is_shut_down_while_it_allocates_from_a_silent_peer() {
    let (_socket, stack) = to_silent();
    let allocating: Vec<_> = (0..4)
        .map(|_| {
            let stack = stack.clone();
            spawn(move || stack.flow("echo").timeout(Duration::from_secs(1000)).alloc().map(drop))
        })
        .collect();
    settle();
    let s = stack.clone();
    within("shutdown", move || s.shutdown());
    for a in allocating {
        assert_eq!(finishes("alloc", a), Err(AllocError::Failed(Failed::StackDown)));
    }
}

#[test]
fn a_stack_is_shut_down_while_a_writer_waits_for_the_window() {
    for place in PLACES {
        let Pair { client, ends: (near, far), .. } = pair(place, QosSpec::DATA);
        // Nobody reads: the window closes.
        let writes = spawn(move || {
            loop {
                if let Err(e) = near.write(&[7; 1000]) {
                    return e;
                }
            }
        });
        settle();
        within("shutdown", move || client.shutdown());
        assert!(matches!(finishes("write", writes), WriteError::Closed | WriteError::Down));
        drop(far);
    }
}

#[test]
fn a_stack_is_shut_down_while_a_flow_lingers() {
    let (Pair { client, ends: (near, far), .. }, cable) = mortal(QosSpec::DATA);
    // Nothing gets through any more, so nothing is acknowledged.
    cable.pull();
    near.write(b"never acknowledged").unwrap();
    let closes = spawn(move || near.close(Duration::from_secs(1000)));
    settle();
    within("shutdown", move || client.shutdown());
    assert_eq!(finishes("close", closes), Err(CloseError::Lost { packets: 1 }));
    drop(far);
}

#[test]
fn the_last_handle_ends_the_stack_whichever_it_is() {
    // The flow keeps the stack alive, and lets it go.
    let Pair { server, client, listener, ends: (near, far) } = pair(Place::Udp, QosSpec::DATA);
    within("drop of the stacks", move || drop((server, client, listener)));
    near.write(b"still here").unwrap();
    let mut buf = [0; 64];
    assert_eq!(far.read_timeout(&mut buf, BOUND), Ok(10));
    within("drop of the flows", move || drop((near, far)));
    // A set does not keep it alive.
    let Pair { ends: (near, far), listener, .. } = pair(Place::Direct, QosSpec::RAW);
    let set = Arc::new(FlowSet::new());
    set.add(&near);
    let waiting = Arc::clone(&set);
    let waits = spawn(move || {
        let first = waiting.wait(None);
        // An empty one is waited for as well, because somebody may add a flow.
        (first, waiting.wait(Some(Duration::from_millis(50))))
    });
    settle();
    within("drop", move || drop((near, far, listener)));
    let (first, second) = finishes("wait", waits);
    assert!(first.iter().any(|e| e.event == Event::Deallocated), "{first:?}");
    assert!(set.is_empty() && second.iter().all(|e| e.event == Event::Deallocated), "{second:?}");
}

#[test]
fn a_dropped_stack_is_freed_with_all_that_belongs_to_it() {
    for place in PLACES {
        let Pair { server, client, listener, ends } = pair(place, QosSpec::DATA);
        // Some of everything: flows with unread and unacknowledged data, closed ones, requests that wait, an accept
        // and an allocation under way, a handler, a set.
        ends.0.write(b"unread").unwrap();
        let more = pair(place, QosSpec::RAW);
        let closed = {
            let accepts = spawn(move || (listener.accept(), listener));
            let near = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
            near.write(b"unread").unwrap();
            drop(near);
            finishes("accept", accepts)
        };
        server.bind_handler("handled", drop).unwrap();
        let set = FlowSet::new();
        set.add(&ends.1);
        let mut cx = Context::from_waker(Waker::noop());
        let from = client.clone();
        let mut allocation = Box::pin(async move { from.flow("echo").alloc_async().await.map(drop) });
        assert!(allocation.as_mut().poll(&mut cx).is_pending());
        settle();

        let nodes: Vec<_> = [&server, &client, &more.server].iter().map(|s| Arc::downgrade(s.node())).collect();
        let endpoints = nodes.iter().filter_map(|n| n.upgrade()).flat_map(|n| n.endpoints());
        let endpoints: Vec<_> = endpoints.map(|e| Arc::downgrade(&e)).collect();
        assert!(endpoints.len() >= 4, "{place:?}: {}", endpoints.len());
        within("drop", move || drop((closed, server, client, more, ends)));
        drop((allocation, set));
        // The background threads notice in a moment.
        for _ in 0..100 {
            if nodes.iter().all(|n| n.strong_count() == 0) {
                break;
            }
            settle();
        }
        assert!(nodes.iter().all(|n| n.strong_count() == 0), "{place:?}: a node is left");
        let left: Vec<_> = endpoints.iter().filter_map(std::sync::Weak::upgrade).collect();
        assert!(left.is_empty(), "{place:?}: ends of flows are left: {left:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn stacks_leave_no_threads_and_no_sockets_behind() {
    let ours = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let of_stacks = |t: &std::fs::DirEntry| {
            std::fs::read_to_string(t.path().join("comm")).is_ok_and(|name| name.starts_with("o7s-leak"))
        };
        tasks.filter(of_stacks).count()
    };
    let mut addrs = Vec::new();
    let mut stacks = Vec::new();
    for i in 0..100 {
        let stack = Stack::new().unwrap();
        let net = stack.udp4(Udp4::bind("127.0.0.1:0").name(&format!("leak{i}"))).unwrap();
        addrs.push(net.local_addr().unwrap());
        let listener = stack.bind("echo").unwrap();
        stacks.push((stack, listener));
    }
    assert!(ours() > 50, "the threads are looked for by the right name");
    within("drop", move || drop(stacks));
    for _ in 0..100 {
        if ours() == 0 {
            break;
        }
        settle();
    }
    assert_eq!(ours(), 0, "threads are left");
    for addr in addrs {
        std::net::UdpSocket::bind(addr).unwrap();
    }
}

#[test]
fn a_stack_is_shut_down_while_many_threads_use_it() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = Arc::new(server.bind("echo").unwrap());
        let start = Arc::new(Barrier::new(9));
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let (client, listener, start) = (client.clone(), Arc::clone(&listener), Arc::clone(&start));
                spawn(move || {
                    start.wait();
                    let mut buf = [0; 64];
                    if i % 2 == 0 {
                        while let Ok(flow) = listener.accept() {
                            let n = flow.read_timeout(&mut buf, Duration::from_millis(200)).unwrap_or(0);
                            let _ = flow.write_timeout(&buf[..n], Duration::from_millis(200));
                        }
                    } else {
                        loop {
                            let flow = match client.flow("echo").qos(QosSpec::DATA).alloc() {
                                Ok(flow) => flow,
                                Err(AllocError::Failed(Failed::StackDown | Failed::Unreachable(_))) => return,
                                Err(_) => continue,
                            };
                            let _ = flow.write_timeout(b"hello", Duration::from_millis(200));
                            let _ = flow.read_timeout(&mut buf, Duration::from_millis(200));
                            let _ = flow.close(Duration::from_millis(10));
                        }
                    }
                })
            })
            .collect();
        start.wait();
        std::thread::park_timeout(Duration::from_millis(200));
        within("shutdown", move || {
            server.shutdown();
            client.shutdown();
        });
        for t in threads {
            finishes("a thread that used the stack", t);
        }
    }
}

// ----- listeners -----

#[test]
fn a_dropped_listener_refuses_what_waits_at_once() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let allocates = spawn(move || client.flow("echo").timeout(Duration::from_secs(1000)).alloc().map(drop));
        // The request waits, because nobody accepts.
        while server.rib().get("names/echo/waiting") == Some(0) {
            settle();
        }
        drop(listener);
        let refused = finishes("alloc", allocates);
        // Refused that soon it is asked for once more, and the name is not known by then.
        let expected = [Code::AGAIN, Code::NAME].map(|code| Err(AllocError::Failed(Failed::Refused(code))));
        assert!(expected.contains(&refused), "{place:?}: {refused:?}");
    }
}

/// Many want a flow at once, more than may wait: they are refused, try again by themselves, and all are served.
#[test]
fn who_is_refused_because_others_were_first_is_served_later() {
    for place in PLACES {
        let (server, client) = match place {
            Place::Udp => {
                let limits = Limits::default().with_irm(o7s::irm::Limits::default().with_backlog(2));
                let server = Stack::builder().limits(limits).build().unwrap();
                let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
                net.register("echo").unwrap();
                let at = net.local_addr().unwrap().to_string();
                let client = Stack::new().unwrap();
                client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
                (server, client)
            }
            _ => {
                let limits = Limits::default().with_irm(o7s::irm::Limits::default().with_backlog(2));
                let stack = Stack::builder().limits(limits).build().unwrap();
                if let Place::Local = place {
                    stack.local(LocalConfig::new("local", "local")).register("echo").unwrap();
                }
                (stack.clone(), stack)
            }
        };
        let listener = server.bind("echo").unwrap();
        let allocates: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                spawn(move || client.flow("echo").timeout(BOUND).alloc().map(drop))
            })
            .collect();
        while server.rib().get("node/backlog_full") == Some(0) {
            settle();
        }
        let accepts = spawn(move || {
            for _ in 0..20 {
                listener.accept_timeout(BOUND).map(drop).unwrap();
            }
        });
        for one in allocates {
            finishes("alloc", one).unwrap();
        }
        finishes("accept", accepts);
    }
}

#[test]
fn a_request_that_nobody_accepts_is_refused() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let _listener = server.bind("echo").unwrap();
        let refused = within("alloc", move || client.flow("echo").timeout(Duration::from_secs(1000)).alloc().map(drop));
        assert_eq!(refused, Err(AllocError::Failed(Failed::Refused(Code::AGAIN))), "{place:?}");
        assert_eq!(server.rib().get("names/echo/waiting"), Some(0));
    }
}

#[test]
fn an_abandoned_accept_leaves_its_request_to_others() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let mut abandoned = Box::pin(listener.accept_async());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(abandoned.as_mut().poll(&mut cx).is_pending());
        let allocates = spawn(move || client.flow("echo").timeout(BOUND).alloc());
        while server.rib().get("node/incoming") == Some(0) {
            settle();
        }
        // It has been given the request, and will never look at it.
        drop(abandoned);
        let far = within("accept", move || listener.accept());
        assert!(far.is_ok());
        assert!(finishes("alloc", allocates).is_ok(), "{place:?}");
    }
}

#[test]
fn an_accept_ends_at_its_deadline() {
    let stack = Stack::new().unwrap();
    let listener = stack.bind("echo").unwrap();
    let late = within("accept", move || listener.accept_timeout(Duration::from_millis(20)).map(drop));
    assert!(matches!(late, Err(AcceptError::Failed(o7s::node::accept::AcceptError::TimedOut))));
}

#[test]
fn several_listeners_share_a_name() {
    for balancing in [LoadBalancing::RoundRobin, LoadBalancing::Spillover] {
        let (server, client) = stacks(Place::Udp);
        server.set_balancing("echo", balancing).unwrap();
        let served: Vec<_> = (0..3).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        for count in &served {
            let listener = server.bind("echo").unwrap();
            let count = Arc::clone(count);
            drop(spawn(move || {
                while let Ok(flow) = listener.accept() {
                    count.fetch_add(1, Ordering::Relaxed);
                    drop(flow);
                }
            }));
        }
        while server.rib().get("names/echo/accepting") != Some(3) {
            settle();
        }
        for _ in 0..9 {
            client.flow("echo").timeout(BOUND).alloc().unwrap();
            // All accept again.
            while server.rib().get("names/echo/accepting") != Some(3) {
                settle();
            }
        }
        let served: Vec<_> = served.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        match balancing {
            LoadBalancing::RoundRobin => assert_eq!(served, [3, 3, 3]),
            _ => {
                let mut served = served;
                served.sort_unstable();
                assert_eq!(served, [0, 0, 9], "the one that accepted last");
            }
        }
        server.shutdown();
    }
}

#[test]
fn a_handler_is_started_on_demand() {
    for place in PLACES {
        let (server, client) = stacks(place);
        server
            .bind_handler("echo", |flow| {
                let mut buf = [0; 64];
                while let Ok(n) = flow.read(&mut buf) {
                    flow.write(&buf[..n]).unwrap();
                }
            })
            .unwrap();
        let flows: Vec<_> =
            (0..5).map(|_| client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap()).collect();
        for (i, flow) in flows.iter().enumerate() {
            flow.write(&[i as u8; 3]).unwrap();
            let mut buf = [0; 64];
            assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(3));
            assert_eq!(buf[0], i as u8);
        }
        server.unbind_factory("echo");
        let refused = within("alloc", move || client.flow("echo").timeout(BOUND).alloc().map(drop));
        assert!(
            matches!(refused, Err(AllocError::Failed(Failed::Refused(Code::NAME) | Failed::Unreachable(_)))),
            "{refused:?}"
        );
        within("shutdown", move || server.shutdown());
    }
}

#[test]
fn handlers_are_bounded() {
    let mut limits = Limits::default();
    limits.handlers = 2;
    limits.irm.accept_wait = Duration::from_millis(50);
    let stack = Stack::builder().limits(limits).build().unwrap();
    let serve = |flow: Flow| assert!(flow.read(&mut [0; 8]).is_err(), "nobody writes");
    stack.bind_handler("echo", serve).unwrap();
    let busy: Vec<_> = (0..2).map(|_| stack.flow("echo").timeout(BOUND).alloc().unwrap()).collect();
    let refused = stack.flow("echo").timeout(BOUND).alloc().map(drop);
    assert_eq!(refused, Err(AllocError::Failed(Failed::Refused(Code::AGAIN))));
    drop(busy);
    // They end, and there is room again.
    while stack.flow("echo").timeout(BOUND).alloc().is_err() {
        settle();
    }
}

#[test]
fn a_factory_gets_a_listener() {
    let stack = Stack::new().unwrap();
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    stack
        .bind_factory("echo", move |listener| {
            count.fetch_add(1, Ordering::Relaxed);
            drop(spawn(move || listener.accept_timeout(BOUND).map(drop)));
        })
        .unwrap();
    assert!(stack.flow("echo").timeout(BOUND).alloc().is_ok());
    assert_eq!(started.load(Ordering::Relaxed), 1);
    // One that gives up its listener leaves the request to its time limit.
    stack.bind_factory("lazy", drop).unwrap();
    let lazy = stack.clone();
    let refused = within("alloc", move || lazy.flow("lazy").alloc().map(drop));
    assert_eq!(refused, Err(AllocError::Failed(Failed::Refused(Code::AGAIN))));
}

// ----- names and layers -----

#[test]
fn an_unreachable_name_is_reported_fast() {
    let (_, client) = stacks(Place::Udp);
    let stacks = [Stack::new().unwrap(), client];
    for stack in stacks {
        let failed = within("alloc", move || stack.flow("nowhere").alloc().map(drop));
        assert!(matches!(failed, Err(AllocError::Failed(Failed::Unreachable(_)))), "{failed:?}");
        assert_eq!(failed.unwrap_err().code(), Code::NAME);
    }
}

#[test]
fn a_refusal_has_a_type() {
    let (server, client) = stacks(Place::Udp);
    let refused = client.flow("echo").timeout(BOUND).alloc().map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::NAME, "registered, and bound by nobody");
    let listener = server.bind("echo").unwrap();
    let encrypted: SecurityConfig = "X25519".parse().unwrap();
    server.set_default_security(encrypted);
    let accepts = spawn(move || listener.accept_timeout(Duration::from_secs(2)).map(drop));
    let refused = client.flow("echo").timeout(BOUND).alloc().map(drop);
    // Either it refuses plain flows, or it takes them; what it must not do is to keep silent.
    assert!(matches!(refused, Ok(()) | Err(AllocError::Failed(Failed::Refused(_)))), "{refused:?}");
    let _ = finishes("accept", accepts);
}

#[test]
fn an_allocation_ends_at_its_deadline() {
    let (_socket, stack) = to_silent();
    let late = within("alloc", move || stack.flow("echo").timeout(Duration::from_millis(50)).alloc().map(drop));
    assert!(matches!(late, Err(AllocError::Failed(Failed::TimedOut(_)))), "{late:?}");
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
    let used = |net: &o7s::IpcpHandle| {
        let requests = net.counters().into_iter().find(|(name, _)| *name == "requests_in");
        requests.map_or(0, |(_, n)| n)
    };
    client.flow("echo").timeout(BOUND).alloc().unwrap();
    assert_eq!((used(&nets[0]), used(&nets[1])), (0, 1));
    members[0].set_priority(5);
    client.flow("echo").timeout(BOUND).alloc().unwrap();
    assert_eq!((used(&nets[0]), used(&nets[1])), (1, 1));
}

// ----- flows -----

#[test]
fn flows_are_dropped_in_any_order() {
    for place in PLACES {
        for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
            for near_first in [true, false] {
                let Pair { server, client, ends: (near, far), .. } = pair(place, qos);
                near.write(b"unread").unwrap();
                far.write(b"unread").unwrap();
                within("drop", move || if near_first { drop((near, far)) } else { drop((far, near)) });
                within("drop of the stacks", move || drop((server, client)));
            }
        }
    }
}

#[test]
fn halves_are_dropped_in_both_orders() {
    for place in PLACES {
        for read_first in [true, false] {
            let Pair { ends: (near, far), server, client, .. } = pair(place, QosSpec::DATA);
            let (read, write) = near.split();
            within("drop of a half", move || {
                if read_first {
                    drop(read);
                    write.write(b"half").unwrap();
                    let mut buf = [0; 8];
                    assert_eq!(far.read_timeout(&mut buf, BOUND), Ok(4));
                    drop(write);
                } else {
                    write.write(b"half").unwrap();
                    drop(write);
                    far.write(b"answer").unwrap();
                    assert_eq!(read.flow().read_timeout(&mut [0; 8], BOUND), Ok(6));
                    drop(read);
                }
                let mut buf = [0; 8];
                while far.read_timeout(&mut buf, BOUND) != Err(ReadError::Closed) {}
            });
            drop((server, client));
        }
    }
}

#[test]
fn a_flow_with_unacknowledged_data_is_dropped_at_once_and_closed_in_time() {
    let (Pair { client, ends: (near, far), .. }, cable) = mortal(QosSpec::DATA);
    let (Pair { client: client2, ends: (near2, far2), .. }, cable2) = mortal(QosSpec::DATA);
    cable.pull();
    cable2.pull();
    for _ in 0..3 {
        near.write(b"to the dead").unwrap();
        near2.write(b"to the dead").unwrap();
    }
    within("drop", move || drop(near));
    let lost = within("close", move || near2.close(Duration::from_millis(100)));
    assert_eq!(lost, Err(CloseError::Lost { packets: 3 }));
    within("drop of the stacks", move || drop((client, client2, far, far2)));
}

#[test]
fn a_flow_is_closed_while_others_use_it() {
    for place in PLACES {
        let Pair { ends: (near, far), server, client, .. } = pair(place, QosSpec::DATA);
        let near = near.into_async();
        let (reader, writer) = (near.clone(), near.clone());
        let reads = spawn(move || block_on(async { reader.read(&mut [0; 8]).await }));
        let writes = spawn(move || {
            block_on(async {
                loop {
                    if let Err(e) = writer.write(&[1; 1000]).await {
                        return e;
                    }
                }
            })
        });
        settle();
        // Nobody reads at the other end, so some may be lost.
        let _ = within("close", move || block_on(near.close(Duration::from_millis(100))));
        assert_eq!(finishes("read", reads), Err(ReadError::ClosedHere));
        assert_eq!(finishes("write", writes), WriteError::Closed);
        drop((far, server, client));
    }
}

#[test]
fn a_peer_that_vanishes_is_reported_within_the_timeout() {
    for blocked in [true, false] {
        let (Pair { client, ends: (near, far), .. }, cable) = mortal(impatient(200));
        let set = FlowSet::new();
        set.add(&near);
        let reads = spawn(move || {
            if !blocked {
                settle();
            }
            let gone = near.read(&mut [0; 8]);
            (near, gone)
        });
        settle();
        cable.pull();
        let (near, gone) = finishes("read", reads);
        assert_eq!(gone, Err(ReadError::PeerGone));
        assert_eq!(near.write(b"x"), Err(WriteError::PeerGone));
        let events = within("wait", move || (set.wait(None), set));
        assert!(events.0.iter().any(|e| e.event == Event::PeerGone), "{:?}", events.0);
        // Nothing to wait for when it is closed.
        assert_eq!(within("close", move || near.close(Duration::from_secs(1000))), Ok(()));
        drop((far, client));
    }
}

#[test]
fn what_arrives_while_a_flow_is_being_allocated_is_read() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let serves = spawn(move || {
            for _ in 0..300 {
                // Nobody writes it again, and nothing else comes.
                let far = listener.accept().unwrap();
                far.write(b"first").unwrap();
                let _ = far.read_timeout(&mut [0; 8], BOUND);
            }
        });
        for i in 0..300 {
            let near = client.flow("echo").timeout(BOUND).alloc().unwrap();
            let mut buf = [0; 8];
            assert_eq!(near.read_timeout(&mut buf, BOUND), Ok(5), "{place:?}, flow {i}");
            near.write(b"bye").unwrap();
        }
        finishes("the server", serves);
    }
}

#[test]
fn a_thread_that_waits_is_woken_every_time() {
    for place in PLACES {
        let Pair { ends: (near, far), server, client, .. } = pair(place, QosSpec { timeout: 0, ..QosSpec::DATA });
        let near = Arc::new(near);
        // The round that is on, and how many readers have noticed each.
        let (round, woken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (near, round, woken) = (Arc::clone(&near), Arc::clone(&round), Arc::clone(&woken));
                spawn(move || {
                    let mut last = 0;
                    loop {
                        match near.read(&mut [0; 8]) {
                            Err(ReadError::WriteOnly) => {}
                            Err(ReadError::ClosedHere) => return,
                            other => panic!("{other:?}"),
                        }
                        let now = round.load(Ordering::Acquire);
                        if now != last {
                            last = now;
                            woken.fetch_add(1, Ordering::Relaxed);
                        }
                        std::thread::park_timeout(Duration::from_micros(20));
                    }
                })
            })
            .collect();
        // By somebody else's call, not by a packet: whoever waits for the socket has to be interrupted.
        let open = near.flags();
        let mut shut = open;
        shut.read = false;
        let flow = Arc::clone(&near);
        let wake_all = move || {
            for i in 1..=300 {
                round.store(i, Ordering::Release);
                flow.set_flags(shut);
                while woken.load(Ordering::Relaxed) < 2 * i {
                    std::thread::park_timeout(Duration::from_micros(20));
                }
                flow.set_flags(open);
                std::thread::park_timeout(Duration::from_micros(20 + i as u64 % 100));
            }
        };
        within(&format!("waking readers, {place:?}"), wake_all);
        let (s, c) = (server.clone(), client.clone());
        within("shutdown", move || {
            c.shutdown();
            s.shutdown();
        });
        for reader in readers {
            finishes("read", reader);
        }
        drop((far, server, client));
    }
}

#[test]
fn keepalives_hold_an_idle_flow() {
    let Pair { ends: (near, far), server, client, .. } = pair(Place::Udp, impatient(2000));
    assert_eq!(near.read_timeout(&mut [0; 8], Duration::from_millis(2500)), Err(ReadError::TimedOut));
    assert!(near.counters().keepalives_sent > 0 && near.counters().keepalives_received > 0);
    near.write(b"still here").unwrap();
    assert_eq!(far.read_timeout(&mut [0; 16], BOUND), Ok(10));
    drop((server, client));
}

#[test]
fn a_set_tells_of_room_to_whom_there_was_none() {
    for place in PLACES {
        let Pair { ends: (near, far), server, client, .. } = pair(place, QosSpec::DATA);
        let set = FlowSet::new();
        let token = set.add(&near);
        while near.try_write(&[1; 1000]).is_ok() {}
        assert_eq!(near.try_write(&[1; 1000]), Err(WriteError::WouldBlock));
        let reads = spawn(move || while far.read_timeout(&mut [0; 1000], Duration::from_secs(1)).is_ok() {});
        let room = within("wait", move || {
            while !set.wait(Some(BOUND)).iter().any(|e| e.token == token && e.event == Event::Writable) {}
            near.try_write(&[1; 1000])
        });
        assert_eq!(room, Ok(1000), "{place:?}");
        finishes("read", reads);
        drop((server, client));
    }
}

#[test]
fn an_empty_set_waits_for_its_time_or_a_flow() {
    let set = Arc::new(FlowSet::new());
    assert!(set.wait(Some(Duration::from_millis(20))).is_empty());
    let Pair { ends: (near, far), .. } = pair(Place::Direct, QosSpec::RAW);
    let other = FlowSet::new();
    let waiting = Arc::clone(&set);
    let waits = spawn(move || waiting.wait(None));
    settle();
    far.write(b"news").unwrap();
    let token = set.add(&near);
    let events = finishes("wait", waits);
    assert!(events.iter().any(|e| e.token == token && e.event == Event::Packet), "{events:?}");
    assert_eq!(near.try_read(&mut [0; 8]), Ok(4));
    set.remove(token);
    assert!(set.wait(Some(Duration::from_millis(20))).is_empty());
    // Removed from the first set, a flow still belongs to the second.
    let old = set.add(&near);
    let new = other.add(&near);
    set.remove(old);
    far.write(b"news").unwrap();
    let events = within("wait", move || (other.wait(None), other));
    assert!(events.0.iter().any(|e| e.token == new && e.event == Event::Packet));
}

// ----- futures given up -----

#[test]
fn an_allocation_is_given_up_and_its_answer_comes_late() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let from = client.clone();
        let mut allocation = Box::pin(async move { from.flow("echo").qos(impatient(300)).alloc_async().await });
        let mut cx = Context::from_waker(Waker::noop());
        assert!(allocation.as_mut().poll(&mut cx).is_pending());
        let far = within("accept", move || {
            let far = listener.accept();
            (far, listener)
        });
        // The answer is there, or on its way.
        drop(allocation);
        let far = far.0.unwrap();
        let gone = within("read", move || far.read(&mut [0; 8]));
        // Within a stack it is known at once; it is no close, which would have been the end of a stream.
        let expected = if place == Place::Udp { ReadError::PeerGone } else { ReadError::Reset };
        assert_eq!(gone, Err(expected), "{place:?}");
        while client.rib().get("node/flows") != Some(0) {
            settle();
        }
    }
}

#[test]
fn a_request_that_is_withdrawn_before_it_is_accepted_leaves_nothing() {
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

/// A task that is dropped by whoever wakes it, as executors that are gone do.
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

// ----- no clock but the caller's -----

#[test]
fn a_polled_stack_waits_for_nobody() {
    let stack = Stack::builder().polled().build().unwrap();
    let listener = stack.bind("echo").unwrap();
    let mut now = o7s::base::time::Instant::ZERO;
    assert_eq!(stack.flow("echo").alloc().map(drop), Err(AllocError::Polled));
    assert!(matches!(listener.accept(), Err(AcceptError::Polled)));
    // A request that was offered to an accept that nobody looks at: time passes, polls are not endless, and when its time
    // is over it is refused, as if nobody accepted.
    let mut accept = Box::pin(listener.accept_async());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(accept.as_mut().poll(&mut cx).is_pending());
    let from = stack.clone();
    let mut allocation = Box::pin(async move { from.flow("echo").alloc_async().await });
    let mut polls = 0;
    loop {
        if let Poll::Ready(result) = allocation.as_mut().poll(&mut cx) {
            let result = result.map(drop);
            assert_eq!(result, Err(AllocError::Failed(Failed::Refused(Code::AGAIN))));
            break;
        }
        if let Some(next) = stack.poll(now) {
            now = now.max(next);
        }
        polls += 1;
        assert!(polls < 100, "time does not get on");
    }
    drop(accept);
    within("drop", move || drop((stack, listener)));
}

// ----- in virtual time -----

/// A server that listens to "echo" and accepts nothing, and a client, 10 ms apart.
fn world(seed: u64) -> (Network, Host, Host, Listener) {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(Duration::from_millis(10)));
    let server = net.host("server").udp4("10.0.0.2").build();
    let client = net.host("client").udp4("10.0.0.1").build();
    let listener = server.listen("echo");
    (net, server, client, listener)
}

async fn connected(net: &Network, client: &Host, listener: &Listener, qos: QosSpec) -> (aio::Flow, aio::Flow) {
    let stack = client.stack().clone();
    let near = net.spawn(async move { stack.flow("echo").qos(qos).alloc_async().await });
    let far = listener.accept_async().await.unwrap();
    (near.await.unwrap(), far)
}

fn flows(host: &Host) -> Option<u64> {
    host.stack().rib().get("node/flows")
}

#[test]
fn closing_takes_as_long_as_it_may_and_no_longer() {
    let (net, server, client, listener) = world(1);
    net.block_on(async {
        let (near, _far) = connected(&net, &client, &listener, QosSpec::DATA).await;
        server.crash();
        near.write(b"to the dead").await.unwrap();
        let start = net.now();
        assert_eq!(near.close(Duration::from_secs(7)).await, Err(CloseError::Lost { packets: 1 }));
        assert_eq!(net.now().since(start).as_secs(), 7);
        // That it is given up is told for a moment.
        net.sleep(Duration::from_secs(3)).await;
        assert_eq!(flows(&client), Some(0));
    });
}

#[test]
fn a_dropped_flow_lingers_until_its_time_is_over() {
    let (net, server, client, listener) = world(2);
    net.block_on(async {
        let (near, _far) = connected(&net, &client, &listener, QosSpec { timeout: 0, ..QosSpec::DATA }).await;
        server.crash();
        near.write(b"to the dead").await.unwrap();
        drop(near);
        assert_eq!(flows(&client), Some(1), "it is still being delivered");
        net.sleep(Duration::from_secs(200)).await;
        assert_eq!(flows(&client), Some(0), "{}", client.stack().rib());
    });
    net.run_for(Duration::from_secs(1000));
    assert_eq!(client.stack().rib().get("node/timers"), Some(0), "and nothing is left");
}

#[test]
fn flows_in_any_state_leave_nothing_behind() {
    for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
        let (net, server, client, listener) = world(3);
        net.block_on(async {
            for i in 0..20 {
                let (near, far) = connected(&net, &client, &listener, qos).await;
                if i % 2 == 0 {
                    near.write(b"unread").await.unwrap();
                }
                if i % 3 == 0 {
                    far.write(b"unread").await.unwrap();
                }
                net.sleep(Duration::from_millis(i)).await;
                drop(near);
                net.sleep(Duration::from_millis(20 - i)).await;
                drop(far);
            }
            net.sleep(Duration::from_secs(300)).await;
        });
        for host in [&server, &client] {
            let rib = host.stack().rib();
            assert_eq!((rib.get("node/flows"), rib.get("node/timers")), (Some(0), Some(0)), "{rib}");
            let layer = host.udp4()[0].counters().into_iter().find(|(name, _)| *name == "flows");
            assert_eq!(layer, Some(("flows", 0)), "{rib}");
        }
    }
}

#[test]
fn an_allocation_from_a_silent_peer_ends_by_itself() {
    let (net, server, client, _listener) = world(4);
    net.block_on(async {
        server.crash();
        let late = client.stack().flow("echo").alloc_async().await.map(drop);
        assert!(matches!(late, Err(AllocError::Failed(Failed::TimedOut(_)))), "{late:?}");
        assert_eq!(net.now().as_nanos() / 1_000_000_000, 20);
        assert_eq!(flows(&client), Some(0));
    });
}

#[test]
fn a_repeated_request_makes_one_flow_however_long_it_waits() {
    let net = Network::new(6);
    net.set_default_link(Link::default().latency(Duration::from_millis(10)));
    let mut limits = Limits::default();
    limits.irm.accept_wait = Duration::from_secs(15);
    let server = net.host("server").udp4("10.0.0.2").stack(|s| s.limits(limits)).build();
    let client = net.host("client").udp4("10.0.0.1").build();
    let listener = server.listen("echo");
    net.block_on(async {
        let stack = client.stack().clone();
        let near = net.spawn(async move { stack.flow("echo").qos(QosSpec::DATA).alloc_async().await });
        net.sleep(Duration::from_secs(10)).await;
        assert!(server.stack().rib().get("names/echo/waiting").unwrap() > 1, "it was repeated");
        let far = listener.accept_async().await.unwrap();
        let near = near.await.unwrap();
        assert!(net.timeout(Duration::from_secs(5), listener.accept_async()).await.is_err(), "a flow of nobody");
        near.write(b"hello").await.unwrap();
        assert_eq!(&far.read_bytes().await.unwrap()[..], b"hello");
    });
}

#[test]
fn a_peer_that_vanishes_is_missed_even_by_who_does_not_read() {
    let (net, server, client, listener) = world(7);
    net.block_on(async {
        let qos = QosSpec { timeout: 2000, ..QosSpec::RAW };
        let (near, far) = connected(&net, &client, &listener, qos).await;
        // More than is kept for an application that does not read.
        for _ in 0..3000 {
            far.write(b"unread").await.unwrap();
        }
        net.sleep(Duration::from_secs(5)).await;
        near.write(b"still here").await.unwrap();
        server.crash();
        net.sleep(Duration::from_secs(5)).await;
        assert_eq!(near.write(b"gone").await, Err(WriteError::PeerGone));
        assert!(near.read_bytes().await.is_ok(), "what had arrived can be read");
    });
}

#[test]
fn a_shutdown_ends_what_waits() {
    let (net, server, client, listener) = world(5);
    net.block_on(async {
        let (near, far) = connected(&net, &client, &listener, QosSpec::DATA).await;
        let accepts = net.spawn(async move { listener.accept_async().await.map(drop) });
        let reads = net.spawn(async move { near.read(&mut [0; 8]).await });
        let set = FlowSet::new();
        set.add(&far.as_blocking());
        let waits = net.spawn(async move { set.wait_async().await });
        net.isolate("10.0.0.2");
        let stack = client.stack().clone();
        let allocates = net.spawn(async move { stack.flow("echo").alloc_async().await.map(drop) });
        net.sleep(Duration::from_secs(1)).await;
        let before = net.now();
        client.stack().shutdown();
        server.stack().shutdown();
        assert!(accepts.await.is_err() && reads.await.is_err() && !waits.await.is_empty());
        assert_eq!(allocates.await, Err(AllocError::Failed(Failed::StackDown)));
        assert_eq!(net.now(), before, "at once");
    });
}
