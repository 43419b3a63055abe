//! State made by a stranger's datagrams, and its lifetime.

use std::net::UdpSocket;
use std::thread::Builder;
use std::time::Duration;

use o7s::node::Limits;
use o7s::wire::udp::Mgmt;
use o7s::{QosSpec, ReadError, Stack, Udp4};

use super::*;

fn limits() -> Limits {
    Limits::default().handlers(64)
}

/// The time that a threaded stack takes for real.
fn unix_nanos(stack: &Stack) -> u64 {
    stack.node().clock().unix_nanos()
}

#[test]
fn datagrams_of_one_host_do_not_use_up_the_handlers() {
    let server = Stack::builder().limits(limits()).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("svc").unwrap();
    let at = net.local_addr().unwrap();
    server
        .bind_handler("svc", |flow| {
            let mut buf = [0; 64];
            while let Ok(n) = flow.read(&mut buf) {
                let _ = flow.write(&buf[..n]);
            }
        })
        .unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut rng = Randomness::from_seed([5; 32]);
    // As many flows as there are handlers, of a requester that asks never to be missed and is never heard of again.
    let mut accepted = 0;
    for i in 0..64 {
        let qos = QosSpec { timeout: 0, ..QosSpec::RAW };
        socket.send_to(&request(unix_nanos(&server), "svc", qos, (10_000 + i) << 4, &mut rng), at).unwrap();
        let mut reply = [0; 2048];
        while let Ok((n, _)) = socket.recv_from(&mut reply) {
            if let Ok(Mgmt::Reply(reply)) = Mgmt::parse(&reply[..n]) {
                accepted += u32::from(reply.response == 0);
                break;
            }
        }
    }
    assert_eq!(accepted, 64);
    // An honest client, behind the same address, is served at once, and the next one, and the one after that.
    let client = Stack::new().unwrap();
    client.udp4(Udp4::bind("127.0.0.1:0").host("svc", &at.to_string())).unwrap();
    let mut served = Vec::new();
    for _ in 0..3 {
        let flow = client.flow("svc").qos(QosSpec::DATA).timeout(Duration::from_secs(10)).alloc().unwrap();
        flow.write(b"honest").unwrap();
        assert_eq!(flow.read_timeout(&mut [0; 64], Duration::from_secs(5)), Ok(6));
        served.push(flow);
    }
}

#[test]
fn silent_requesters_and_endless_timeouts_are_given_up() {
    let world = World::new(11, "");
    let listener = world.server.listen("s");
    let unix = world.server.stack().node().clock().unix_nanos();
    let qos = QosSpec { ber: 1, timeout: 0, ..QosSpec::RAW };
    world.net.inject(
        "10.0.0.99:3435",
        SERVER,
        &request(unix, "s", qos, 4711 << 8, &mut Randomness::from_seed([9; 32])),
    );
    let (net, client) = (world.net.clone(), world.client);
    let n = net.clone();
    net.block_on(async move {
        let silent = listener.accept_async().await.unwrap();
        n.sleep(Duration::from_secs(44)).await;
        assert_eq!(silent.as_blocking().try_read(&mut [0; 9]), Err(ReadError::WouldBlock));
        n.sleep(Duration::from_secs(2)).await;
        assert_eq!(silent.as_blocking().try_read(&mut [0; 9]), Err(ReadError::PeerGone));

        // A peer that is there, asks for no timeout, and dies: the server has granted ten minutes.
        let accepted = n.spawn(async move { listener.accept_async().await.unwrap() });
        let there = client.stack().flow("s").qos(qos).alloc_async().await.unwrap();
        let accepted = accepted.await;
        assert_eq!(there.as_blocking().qos().timeout, 600_000);
        // Keepalives of both keep it up.
        n.sleep(Duration::from_secs(2000)).await;
        assert_eq!(accepted.as_blocking().try_read(&mut [0; 9]), Err(ReadError::WouldBlock));
        assert_eq!(there.as_blocking().try_read(&mut [0; 9]), Err(ReadError::WouldBlock));
        client.crash();
        n.sleep(Duration::from_secs(601)).await;
        assert_eq!(accepted.as_blocking().try_read(&mut [0; 9]), Err(ReadError::PeerGone));
    });
}

#[test]
fn silent_flows_are_bounded_by_host_and_in_all() {
    let net = Network::new(12);
    let server = net
        .host("server")
        .udp4("10.0.0.1")
        .stack(|b| b.limits(Limits::default().silent_flows(20).silent_flows_per_peer(8)))
        .build();
    let listener = server.listen("s");
    let unix = server.stack().node().clock().unix_nanos();
    let mut rng = Randomness::from_seed([9; 32]);
    let qos = QosSpec { ber: 1, ..QosSpec::RAW };
    let n = net.clone();
    let rib = || server.stack().rib().child("node").unwrap().get("silent").unwrap();
    net.block_on(async {
        let mut flows = Vec::new();
        for host in 0..4 {
            for i in 0..10 {
                let from = format!("10.0.1.{host}:{}", 1000 + i);
                n.inject(&*from, SERVER, &request(unix + i, "s", qos, (4711 + i as u32) << 8, &mut rng));
                flows.push(listener.accept_async().await.unwrap());
            }
        }
        assert_eq!(rib(), 20);
        let up: Vec<bool> =
            flows.iter().map(|flow| flow.as_blocking().try_read(&mut [0; 9]) == Err(ReadError::WouldBlock)).collect();
        let of_host: Vec<usize> = up.chunks(10).map(|flows| flows.iter().filter(|up| **up).count()).collect();
        assert_eq!(of_host.iter().sum::<usize>(), 20, "{of_host:?}");
        assert!(of_host.iter().all(|n| (3..=8).contains(n)), "no host has pushed another one out: {of_host:?}");
        assert!(up.chunks(10).all(|flows| flows.is_sorted()), "the oldest go first: {up:?}");
    });
}

#[test]
fn many_ports_of_a_host_leave_others_their_part_of_a_backlog() {
    let world = World::new(13, "");
    world.server.stack().set_backlog("s", 8).unwrap();
    let listener = world.server.listen("s");
    let unix = world.server.stack().node().clock().unix_nanos();
    let (mut rng, net, client) = (Randomness::from_seed([9; 32]), world.net.clone(), world.client);
    let qos = QosSpec { ber: 1, ..QosSpec::RAW };
    for i in 0..16 {
        let from = format!("10.0.1.1:{}", 1000 + i);
        net.inject(&*from, SERVER, &request(unix + i, "s", qos, (4711 + i as u32) << 8, &mut rng));
    }
    let n = net.clone();
    net.block_on(async move {
        n.sleep(Duration::from_millis(100)).await;
        let honest = n.spawn(async move { client.stack().flow("s").qos(qos).alloc_async().await });
        n.sleep(Duration::from_millis(500)).await;
        let mut accepted = Vec::new();
        for _ in 0..8 {
            accepted.push(listener.accept_async().await.unwrap());
        }
        let answered = n.timeout(Duration::from_millis(100), honest).await;
        assert!(answered.is_ok_and(|flow| flow.is_ok()), "it is one of the eight");
    });
}

#[test]
fn an_honest_flow_outlives_a_flood_of_requests() {
    let server = Stack::builder().limits(limits()).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("svc").unwrap();
    let at = net.local_addr().unwrap();
    let listener = server.bind("svc").unwrap();
    let (tx, rx) = crossbeam_channel::bounded(10_000);
    let accept = Builder::new().spawn(move || {
        while let Ok(flow) = listener.accept() {
            // Flows that are not taken are closed.
            if tx.send(flow).is_err() {
                return;
            }
        }
    });
    let client = Stack::new().unwrap();
    client.udp4(Udp4::bind("127.0.0.1:0").host("svc", &at.to_string())).unwrap();
    let flow = client.flow("svc").qos(QosSpec::DATA).alloc().unwrap();
    let honest = rx.recv_timeout(Duration::from_secs(5)).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = Randomness::from_seed([5; 32]);
    for i in 0..6000 {
        socket.send_to(&request(unix_nanos(&server), "svc", QosSpec::RAW, (10_000 + i) << 4, &mut rng), at).unwrap();
        while rx.try_recv().is_ok() {}
    }
    flow.write(b"still here").unwrap();
    assert_eq!(honest.read_timeout(&mut [0; 64], Duration::from_secs(5)), Ok(10));
    drop((server, net, rx));
    let _ = accept;
}

#[test]
fn small_repetitions_do_not_repeat_a_large_reply() {
    let server = Stack::new().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("news").unwrap();
    let at = net.local_addr().unwrap();
    let listener = server.bind("news").unwrap();
    let accept = Builder::new().spawn(move || listener.accept_with(|_| vec![7; 900]).map(|flow| (flow, listener)));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (mut cost, mut brought, mut buf) = (0, 0, [0; 2048]);
    for i in 0..50 {
        // The same chance makes the same id, so all are repetitions of the first; each has a time of its own.
        let mut rng = Randomness::from_seed([9; 32]);
        let again = request(unix_nanos(&server) + i, "news", QosSpec::RAW, 4711 << 8, &mut rng);
        cost += socket.send_to(&again, at).unwrap();
        while let Ok((n, _)) = socket.recv_from(&mut buf) {
            brought += n;
        }
    }
    assert!(brought > 900, "the first one was answered: {brought}");
    assert!(brought <= 3 * cost, "{cost} bytes brought {brought}");
    drop(accept.unwrap().join().unwrap().unwrap());
}
