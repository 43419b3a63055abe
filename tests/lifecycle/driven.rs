//! Stacks without threads: polled ones, and those in virtual time.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use o7s::sim::{Host, Link, Network};
use o7s::{
    AcceptError, AllocError, CloseError, ConnectOptions, FlowSet, IpcpHandle, Listener, QosSpec, Stack, UnicastLayer,
    WriteError, aio,
};

use super::within;

// ----- no clock but the caller's -----
#[test]
fn a_polled_stack_never_blocks() {
    let stack = Stack::builder().polled().build().unwrap();
    let listener = stack.bind("echo").unwrap();
    let mut now = o7s::base::time::Instant::ZERO;
    assert_eq!(stack.flow("echo").alloc().map(drop), Err(AllocError::Polled));
    assert!(matches!(listener.accept(), Err(AcceptError::Polled)));
    // A request that was offered to an accept that is never polled: time passes, polls are not endless, and when its
    // time is over it is given up, as without an acceptor.
    let mut accept = Box::pin(listener.accept_async());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(accept.as_mut().poll(&mut cx).is_pending());
    let from = stack.clone();
    let mut allocation = Box::pin(async move { from.flow("echo").alloc_async().await });
    let mut polls = 0;
    loop {
        if let Poll::Ready(result) = allocation.as_mut().poll(&mut cx) {
            let result = result.map(drop);
            assert!(matches!(result, Err(AllocError::TimedOut(_))), "{result:?}");
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
fn closing_ends_at_its_timeout() {
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
fn flows_dropped_in_any_state_leave_nothing_behind() {
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
            assert_eq!(host.udp4()[0].rib().get("flows"), Some(0), "{rib}");
        }
    }
}

#[test]
fn an_allocation_from_a_silent_peer_ends_by_itself() {
    let (net, server, client, _listener) = world(4);
    net.block_on(async {
        server.crash();
        let late = client.stack().flow("echo").alloc_async().await.map(drop);
        assert!(matches!(late, Err(AllocError::TimedOut(_))), "{late:?}");
        assert_eq!(net.now().as_nanos() / 1_000_000_000, 20);
        // For a moment an answer would still be told that nobody waits for it.
        net.sleep(Duration::from_millis(2001)).await;
        assert_eq!(flows(&client), Some(0));
    });
}

#[test]
fn a_repeated_request_makes_one_flow_however_long_it_waits() {
    let net = Network::new(6);
    net.set_default_link(Link::default().latency(Duration::from_millis(10)));
    let server = net.host("server").udp4("10.0.0.2").build();
    let client = net.host("client").udp4("10.0.0.1").build();
    let listener = server.listen("echo");
    net.block_on(async {
        let stack = client.stack().clone();
        let near = net.spawn(async move { stack.flow("echo").qos(QosSpec::DATA).alloc_async().await });
        net.sleep(Duration::from_secs(10)).await;
        assert!(client.stack().rib().get("node/retried").unwrap() > 1, "it was repeated");
        assert_eq!(
            server.stack().rib().get("names/echo/waiting"),
            Some(1),
            "a repetition takes the place of the first"
        );
        let far = listener.accept_async().await.unwrap();
        let near = near.await.unwrap();
        assert!(net.timeout(Duration::from_secs(5), listener.accept_async()).await.is_err(), "a second flow");
        near.write(b"hello").await.unwrap();
        assert_eq!(&far.read_bytes().await.unwrap()[..], b"hello");
    });
}

#[test]
fn a_vanished_peer_is_missed_without_reading() {
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
fn shutdown_ends_all_waits() {
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
        assert_eq!(allocates.await, Err(AllocError::Down));
        assert_eq!(net.now(), before, "at once");
    });
}

/// Of two layers one only is connected over the other: else what is sent, and asked about queues and sizes, would go round and
/// come back when the device below is cut.
#[test]
fn a_layer_is_not_connected_over_itself() {
    within("a cut link", || {
        for seed in 0..4 {
            let net = Network::new(seed);
            net.set_default_link(Link::default().latency(Duration::from_millis(5)));
            let host = |name: &str, at: &str| net.host(name).udp4(at).build();
            let (a, b) = (host("a", "10.0.0.1"), host("b", "10.0.0.2"));
            net.block_on(async {
                let lower = a.stack().unicast("lower.a").bootstrap(UnicastLayer::new("lower")).unwrap();
                a.udp4()[0].register("lower.a").unwrap();
                let there = b.stack().unicast("lower.b").enroll_async("lower.a").await.unwrap();
                there.connect_async("lower.a").await.unwrap();
                let by = a.stack().unicast("upper.a").over(&lower);
                let upper = by.bootstrap(UnicastLayer::new("upper")).unwrap();
                net.sleep(Duration::from_secs(10)).await;
                let by = b.stack().unicast("upper.b").over(&there);
                let above = by.enroll_async("upper.a").await.unwrap();
                above.connect_async("upper.a").await.unwrap();
                net.sleep(Duration::from_secs(10)).await;
                upper.register("lower.a").unwrap();
                net.sleep(Duration::from_secs(10)).await;
                let loops = there.connect_with_async("lower.a", ConnectOptions::new().over(&above)).await;
                let why = loops.map(drop).unwrap_err().to_string();
                assert!(why.contains("goes through this ipcp itself"), "{why}");
                let over =
                    |ipcp: &IpcpHandle| ipcp.connections().into_iter().filter_map(|c| c.over).collect::<Vec<_>>();
                assert_eq!((over(&there), over(&above)), (Vec::new(), Vec::new()));
                net.sleep(Duration::from_secs(10)).await;
                net.partition(&["10.0.0.1"], &["10.0.0.2"]);
                net.sleep(Duration::from_secs(200)).await;
            });
        }
    });
}
