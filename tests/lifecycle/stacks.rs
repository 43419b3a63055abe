//! Stacks that are dropped and shut down, in whatever is going on.

use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::time::Duration;

use o7s::{AllocError, CloseError, Event, FlowSet, QosSpec, WriteError};

use super::{BOUND, PLACES, Pair, Place, finishes, mortal, pair, settle, spawn, stacks, to_silent, within};

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
        assert_eq!(finishes("alloc", a), Err(AllocError::Down));
    }
}

#[test]
fn a_stack_is_shut_down_while_a_writer_waits_for_the_window() {
    for place in PLACES {
        let Pair { client, ends: (near, far), .. } = pair(place, QosSpec::DATA);
        // The other end does not read: the window closes.
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
fn the_last_handle_of_any_kind_ends_the_stack() {
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
        // An empty one is waited for as well, because another thread may add a flow.
        (first, waiting.wait(Some(Duration::from_millis(50))))
    });
    settle();
    within("drop", move || drop((near, far, listener)));
    let (first, second) = finishes("wait", waits);
    assert!(first.iter().any(|e| e.event == Event::Deallocated), "{first:?}");
    assert!(set.is_empty() && second.iter().all(|e| e.event == Event::Deallocated), "{second:?}");
}

#[test]
fn a_dropped_stack_frees_everything() {
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
            if nodes.iter().all(|n| n.strong_count() == 0) && endpoints.iter().all(|e| e.strong_count() == 0) {
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
    use o7s::{Stack, Udp4};

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
    // A thread gives itself its name when it first runs, which it need not have done yet.
    for _ in 0..100 {
        if ours() > 50 {
            break;
        }
        settle();
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
                                Err(AllocError::Down | AllocError::Unreachable(_)) => return,
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
