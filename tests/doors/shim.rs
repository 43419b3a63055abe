//! A shim: two stacks exchange flows through a layer that the library does not know.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use o7s::time::Instant;
use o7s::{AllocError, IpcpHandle, QosSpec, SecurityConfig, Stack};

use super::pipe::{PipeEnd, PipeShim};
use super::{BOUND, echo, round_trips};

const QOS: [QosSpec; 3] = [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA];

/// A member of each of two stacks, at the ends of one pipe.
fn joined(a: &Stack, b: &Stack) -> [IpcpHandle; 2] {
    let (one, other) = (Arc::new(PipeEnd::default()), Arc::new(PipeEnd::default()));
    let at_a = a.add(PipeShim::info(), |layer| PipeShim::new(layer, &one, &other)).unwrap();
    let at_b = b.add(PipeShim::info(), |layer| PipeShim::new(layer, &other, &one)).unwrap();
    [at_a, at_b]
}

#[test]
fn threaded_stacks_exchange_flows() {
    let encrypted: SecurityConfig = "X25519,aes-256-gcm".parse().unwrap();
    for security in [SecurityConfig::default(), encrypted] {
        let stack = || Stack::builder().security(security.clone()).build().unwrap();
        let (server, client) = (stack(), stack());
        let [at_server, at_client] = joined(&server, &client);
        at_server.register("echo").unwrap();
        server.bind_handler("echo", echo).unwrap();
        for qos in QOS {
            let flow = client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
            assert_eq!(at_client.rib().get("flows"), Some(1));
            round_trips(&flow, 200);
            flow.close(BOUND).unwrap();
        }
        assert_eq!(client.rib().word("ipcps/pipe/info/type"), Some("pipe"));
    }
}

#[test]
fn several_threads_share_the_receive_loop() {
    let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
    let [at_server, _client] = joined(&server, &client);
    at_server.register("echo").unwrap();
    server.bind_handler("echo", echo).unwrap();
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
                round_trips(&flow, 300);
            });
        }
    });
}

#[test]
fn unregistered_names_are_refused() {
    let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
    let [_server, at_client] = joined(&server, &client);
    let refused = client.flow("nobody").timeout(BOUND).alloc().map(drop).unwrap_err();
    assert!(matches!(refused, AllocError::Refused { .. }), "{refused:?}");
    assert_eq!(at_client.rib().get("flows"), Some(0), "a refused request is forgotten");
}

#[test]
fn leaving_takes_flows_down_and_ends_the_threads_wait() {
    let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
    let [at_server, at_client] = joined(&server, &client);
    at_server.register("echo").unwrap();
    server.bind_handler("echo", echo).unwrap();
    let flow = client.flow("echo").timeout(BOUND).alloc().unwrap();
    round_trips(&flow, 3);
    std::thread::scope(|s| {
        let reader = s.spawn(|| flow.read_timeout(&mut [0; 9], BOUND));
        at_client.leave();
        let ended = reader.join().unwrap().unwrap_err();
        assert_ne!(ended, o7s::ReadError::TimedOut);
    });
}

#[test]
fn polled_stacks_exchange_flows_and_are_told_when_to_poll() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let stacks = [1, 2].map(|seed| Stack::builder().polled().seed([seed; 32]).build().unwrap());
    let [server, client] = &stacks;
    let [at_server, _client] = joined(server, client);
    at_server.register("echo").unwrap();
    let listener = server.bind("echo").unwrap();
    // Polled only if it asked for it, or when it said.
    let due = stacks.each_ref().map(|stack| {
        let due = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&due);
        stack.on_wake(move || asked.store(true, Ordering::SeqCst));
        due
    });
    let mut next = [None; 2];
    let mut now = Instant::from_millis(1);
    let mut turn = |now: Instant| {
        let mut polled = false;
        for ((stack, due), next) in stacks.iter().zip(&due).zip(&mut next) {
            while due.swap(false, Ordering::SeqCst) || next.is_some_and(|at| at <= now) {
                *next = stack.poll(now);
                polled = true;
            }
        }
        polled
    };
    for qos in QOS {
        let mut cx = Context::from_waker(Waker::noop());
        let mut asking = pin!(client.flow("echo").qos(qos).alloc_async());
        let (mut near, mut far) = (None, None);
        for _ in 0..1000 {
            if near.is_none()
                && let Poll::Ready(flow) = asking.as_mut().poll(&mut cx)
            {
                near = Some(flow.unwrap().into_blocking());
            }
            far = far.or_else(|| listener.try_accept().ok());
            if near.is_some() && far.is_some() {
                break;
            }
            while turn(now) {}
            now += std::time::Duration::from_millis(1);
        }
        let (near, far) = (near.unwrap(), far.unwrap());
        for i in 0..200 {
            near.try_write(&[i; 100]).unwrap();
            let mut buf = [0; 200];
            let mut read = None;
            for _ in 0..50 {
                while turn(now) {}
                if let Ok(n) = far.try_read(&mut buf) {
                    read = Some(n);
                    break;
                }
                now += std::time::Duration::from_millis(1);
            }
            assert_eq!((read, buf[0]), (Some(100), i), "{qos:?}");
        }
    }
}

#[cfg(feature = "sim")]
#[test]
fn simulated_stacks_exchange_flows() {
    use o7s::sim::Network;

    let run = || {
        let net = Network::new(7);
        let (server, client) = (net.host("server").build(), net.host("client").build());
        let [at_server, _client] = joined(server.stack(), client.stack());
        at_server.register("echo").unwrap();
        let listener = server.stack().bind("echo").unwrap();
        net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            while let Ok(packet) = flow.read_bytes().await {
                flow.write(&packet).await.unwrap();
            }
        });
        net.block_on(async {
            let flow = client.stack().flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap();
            for i in 0..100u8 {
                flow.write(&[i; 100]).await.unwrap();
                assert_eq!(flow.read_bytes().await.unwrap()[..], [i; 100]);
            }
        });
        (net.now(), client.stack().rib().to_string())
    };
    assert_eq!(run(), run(), "the same seed, the same run");
}
