//! Listeners, handlers and factories, and requests that wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use o7s::node::Limits;
use o7s::types::code::Code;
use o7s::{AcceptError, AllocError, Flow, LoadBalancing, QosSpec, Stack};

use super::{BOUND, PLACES, Place, finishes, settle, spawn, stacks, stacks_with, within};

#[test]
fn a_dropped_listener_refuses_waiting_requests_at_once() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let allocates = spawn(move || client.flow("echo").timeout(Duration::from_secs(1000)).alloc().map(drop));
        // The request waits for an acceptor.
        while server.rib().get("names/echo/waiting") == Some(0) {
            settle();
        }
        drop(listener);
        let refused = finishes("alloc", allocates);
        // Refused that soon it is asked for once more, and the name is not known by then.
        assert!(
            matches!(refused, Err(AllocError::Refused { code: Code::AGAIN | Code::NAME, .. })),
            "{place:?}: {refused:?}"
        );
    }
}

/// Many want a flow at once, more than may wait: they are refused, try again by themselves, and all are served.
#[test]
fn requests_refused_as_busy_are_served_later() {
    for place in PLACES {
        let (server, client) = stacks_with(place, Limits::default().backlog(2));
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

/// The client gives up, and the server too: a flow is not given to a peer that has gone.
#[test]
fn unaccepted_requests_time_out_and_are_forgotten() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let asks = client.flow("echo").timeout(Duration::from_millis(300));
        let late = within("alloc", move || asks.alloc().map(drop));
        assert!(matches!(late, Err(AllocError::TimedOut(_))), "{place:?}: {late:?}");
        let (next, asks) = (spawn(move || listener.accept()), client.flow("echo").timeout(BOUND));
        let flow = within("alloc", move || asks.alloc().unwrap());
        let accepted = finishes("accept", next).unwrap();
        flow.write(b"hello").unwrap();
        assert_eq!(accepted.read_timeout(&mut [0; 8], BOUND), Ok(5), "{place:?}: the flow of a peer that has gone");
    }
}

#[test]
fn unaccepted_requests_are_refused_at_the_limit() {
    for place in PLACES {
        let limits = Limits::default().accept_wait(Duration::from_secs(1));
        let (server, client) = stacks_with(place, limits);
        let _listener = server.bind("echo").unwrap();
        let refused = within("alloc", move || client.flow("echo").timeout(Duration::from_secs(1000)).alloc().map(drop));
        assert!(matches!(refused, Err(AllocError::Refused { code: Code::AGAIN, .. })), "{place:?}: {refused:?}");
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
    assert!(matches!(late, Err(AcceptError::TimedOut)));
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
            matches!(refused, Err(AllocError::Refused { code: Code::NAME, .. } | AllocError::Unreachable(_))),
            "{refused:?}"
        );
        within("shutdown", move || server.shutdown());
    }
}

#[test]
fn handlers_are_bounded() {
    let limits = Limits::default().handlers(2).accept_wait(Duration::from_millis(50));
    let stack = Stack::builder().limits(limits).build().unwrap();
    let serve = |flow: Flow| assert!(flow.read(&mut [0; 8]).is_err(), "nothing is written");
    stack.bind_handler("echo", serve).unwrap();
    let busy: Vec<_> = (0..2).map(|_| stack.flow("echo").timeout(BOUND).alloc().unwrap()).collect();
    // Refused that soon it asks again by itself, until its own time is over.
    let refused = stack.flow("echo").timeout(Duration::from_secs(1)).alloc().map(drop);
    assert!(matches!(refused, Err(AllocError::Refused { code: Code::AGAIN, .. })), "{refused:?}");
    assert_eq!(refused.map_err(|e| std::io::Error::from(e).kind()), Err(std::io::ErrorKind::ResourceBusy));
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
    let late = within("alloc", move || lazy.flow("lazy").timeout(Duration::from_millis(300)).alloc().map(drop));
    assert!(matches!(late, Err(AllocError::TimedOut(_))), "{late:?}");
}

/// Each client waits until the ones before have gone.
#[test]
fn a_serial_server_serves_all_clients() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let serves = spawn(move || {
            for flow in listener.incoming().take(9) {
                let mut buf = [0; 64];
                while let Ok(n) = flow.read(&mut buf) {
                    let _ = flow.write(&buf[..n]);
                }
            }
        });
        let first = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
        let others: Vec<_> = (0..8)
            .map(|_| {
                let asks = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND);
                spawn(move || {
                    let flow = asks.alloc().unwrap();
                    flow.write(b"hello").unwrap();
                    flow.read_timeout(&mut [0; 64], BOUND).unwrap()
                })
            })
            .collect();
        while server.rib().get("names/echo/waiting") != Some(8) {
            settle();
        }
        first.write(b"first").unwrap();
        assert_eq!(first.read_timeout(&mut [0; 64], BOUND), Ok(5));
        drop(first);
        for other in others {
            assert_eq!(finishes("client", other), 5);
        }
        finishes("server", serves);
    }
}

#[test]
fn a_backlog_may_be_set_for_a_name() {
    let (server, client) = stacks(Place::Udp);
    let listener = server.bind("echo").unwrap();
    server.set_backlog("echo", 3).unwrap();
    let asks: Vec<_> = (0..6)
        .map(|_| {
            let asks = client.flow("echo").timeout(BOUND);
            spawn(move || asks.alloc().map(drop))
        })
        .collect();
    while server.rib().get("node/backlog_full").is_none_or(|full| full < 3) {
        settle();
    }
    assert_eq!(server.rib().get("names/echo/waiting"), Some(3));
    let accepts = spawn(move || (0..6).filter(|_| listener.accept_timeout(BOUND).is_ok()).count());
    for one in asks {
        finishes("alloc", one).unwrap();
    }
    assert_eq!(finishes("accept", accepts), 6);
}

/// Runs this test alone in a process of its own, whose threads can be counted. `true` there.
#[cfg(target_os = "linux")]
fn is_alone(test: &str) -> bool {
    if std::env::var_os("O7S_ALONE").is_some() {
        return true;
    }
    let exe = std::env::current_exe().unwrap();
    let output = std::process::Command::new(exe).args(["--exact", test, "--nocapture"]).env("O7S_ALONE", "1").output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    println!("{}", said.concat());
    assert!(output.status.success() && said[0].contains("1 passed"));
    false
}

/// Threads of this process.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// With the limits as they are by default. Linux says how many threads there are.
#[cfg(target_os = "linux")]
#[test]
fn thousands_of_short_flows_leave_few_threads() {
    if !is_alone("listeners::thousands_of_short_flows_leave_few_threads") {
        return;
    }
    let (server, client) = stacks(Place::Udp);
    let mut buf = [0; 64];
    server
        .bind_handler("echo", |flow| {
            let mut buf = [0; 64];
            while let Ok(n) = flow.read(&mut buf) {
                let _ = flow.write(&buf[..n]);
            }
        })
        .unwrap();
    let (before, mut most) = (threads(), 0);
    for i in 0..2000 {
        let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap_or_else(|e| panic!("{i}: {e}"));
        flow.write(b"hello").unwrap();
        assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(5), "flow {i}");
        most = most.max(threads());
    }
    assert_eq!(server.rib().get("node/not_accepted"), Some(0));
    println!("{before} threads before, up to {most} meanwhile");
    // Those that have nothing to do end.
    for _ in 0..300 {
        settle();
        if threads() < before + 16 {
            return;
        }
    }
    panic!("{before} threads before, {} after", threads());
}

/// All handlers are busy, and a request for another name waits: it is served as soon as one of them is done.
#[test]
fn handlers_of_all_names_get_their_turn() {
    let (server, client) = stacks_with(Place::Direct, Limits::default().handlers(1));
    for name in ["one", "other"] {
        server.bind_handler(name, |flow: Flow| while flow.read(&mut [0; 8]).is_ok() {}).unwrap();
    }
    let one = client.flow("one").timeout(BOUND).alloc().unwrap();
    let asks = client.flow("other").timeout(BOUND);
    let other = spawn(move || asks.alloc());
    while server.rib().get("names/other/waiting") != Some(1) {
        settle();
    }
    drop(one);
    assert!(finishes("alloc", other).is_ok());
}
