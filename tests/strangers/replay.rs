//! Recorded packets, delivered again, to their receiver or to their sender.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use o7s::{QosSpec, aio};

use super::*;

const ALL: [QosSpec; 3] = [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA];

/// Reads until the flow ends or nothing more comes; what was read.
async fn read_all(net: &Network, flow: &aio::Flow) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    while let Ok(Ok(packet)) = net.timeout(Duration::from_secs(1000), flow.read_bytes()).await {
        got.push(packet.to_vec());
    }
    got
}

#[test]
fn recorded_packets_are_not_delivered_again_after_a_pause() {
    for qos in ALL {
        let world = World::new(3, ENCRYPTED);
        let recorded = world.record(CLIENT, SERVER);
        let listener = world.server.listen("valve");
        let net = world.net.clone();
        let server = world.net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            read_all(&net, &flow).await
        });
        let (net, client) = (world.net.clone(), world.client.stack().clone());
        world.net.block_on(async move {
            let flow = client.flow("valve").qos(qos).alloc_async().await.unwrap();
            flow.write(b"open the valve by one turn").await.unwrap();
            net.sleep(Duration::from_secs(2)).await;
            let recorded = std::mem::take(&mut *recorded.borrow_mut());
            assert!(!recorded.is_empty());
            for _ in 0..3 {
                // Longer than any run of numbers is remembered: 2 MPL + A + R.
                net.sleep(Duration::from_secs(145)).await;
                for packet in &recorded {
                    net.inject(CLIENT, SERVER, packet);
                }
            }
            net.sleep(Duration::from_secs(1)).await;
            // The flow has taken no harm: not from the replay, nor from the silence.
            flow.write(b"a second one").await.unwrap();
            net.sleep(Duration::from_secs(10)).await;
            assert_eq!(flow.as_blocking().write_queue(), 0);
        });
        let got = world.net.block_on(server);
        assert_eq!(got, [&b"open the valve by one turn"[..], b"a second one"], "{qos:?}");
    }
}

#[test]
fn runs_between_o7s_ends_are_never_restarted() {
    let world = World::new(4, "");
    let recorded = world.record(CLIENT, SERVER);
    let listener = world.server.listen("valve");
    let net = world.net.clone();
    let server = world.net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        read_all(&net, &flow).await.len()
    });
    let (net, client) = (world.net.clone(), world.client.stack().clone());
    world.net.block_on(async move {
        let flow = client.flow("valve").qos(QosSpec::DATA).alloc_async().await.unwrap();
        for _ in 0..3 {
            flow.write(b"command").await.unwrap();
            net.sleep(Duration::from_secs(1)).await;
        }
        let recorded = std::mem::take(&mut *recorded.borrow_mut());
        net.sleep(Duration::from_secs(145)).await;
        for packet in &recorded {
            net.inject(CLIENT, SERVER, packet);
        }
        net.sleep(Duration::from_secs(1)).await;
        flow.write(b"command").await.unwrap();
        net.sleep(Duration::from_secs(150)).await;
        assert_eq!(flow.as_blocking().try_write(b"the flow is up"), Ok(14));
        assert!(flow.as_blocking().write_queue() <= 1);
    });
    assert_eq!(world.net.block_on(server), 5);
}

#[test]
fn reflected_packets_are_refused() {
    for qos in ALL {
        let world = World::new(5, ENCRYPTED);
        let (to, from): (SocketAddr, SocketAddr) = (SERVER.parse().unwrap(), CLIENT.parse().unwrap());
        let eid = Rc::new(Cell::new([0; 4]));
        let back: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let (known, queue) = (Rc::clone(&eid), Rc::clone(&back));
        let rule = world.net.on_packet(move |p| {
            if p.dst == to && p.data[..4] == [0; 4] {
                known.set(p.data[4..8].try_into().unwrap());
            } else if p.dst == to {
                let mut packet = p.data.to_vec();
                packet[..4].copy_from_slice(&known.get());
                queue.borrow_mut().push(packet);
            }
            Verdict::Pass
        });
        rule.keep();
        let listener = world.server.listen("sink");
        world.net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            while flow.read_bytes().await.is_ok() {}
        });
        let (net, client) = (world.net.clone(), world.client.stack().clone());
        let reflected = world.net.block_on(async move {
            let flow = client.flow("sink").qos(qos).alloc_async().await.unwrap();
            let mut reflected = 0;
            for i in 0..20u8 {
                flow.write(&[i]).await.unwrap();
                net.sleep(Duration::from_millis(3)).await;
                for packet in std::mem::take(&mut *back.borrow_mut()) {
                    reflected += 1;
                    net.inject(to, from, &packet);
                }
            }
            let got = net.timeout(Duration::from_secs(5), flow.read_bytes()).await;
            assert!(got.is_err(), "{qos:?}: {got:?}");
            assert!(flow.as_blocking().counters().bad_crypt >= 20);
            reflected
        });
        assert!(reflected >= 20);
    }
}

#[test]
fn forged_keepalives_do_not_keep_a_flow_of_a_dead_peer() {
    for (security, held) in [(ENCRYPTED, false), ("", true)] {
        let world = World::new(6, security);
        let eid = Rc::new(Cell::new([0; 4]));
        let known = Rc::clone(&eid);
        let to: SocketAddr = SERVER.parse().unwrap();
        let rule = world.net.on_packet(move |p| {
            if p.dst == to && p.data[..4] == [0; 4] {
                known.set(p.data[4..8].try_into().unwrap());
            }
            Verdict::Pass
        });
        rule.keep();
        let listener = world.server.listen("s");
        let accepted = world.net.spawn(async move { listener.accept_async().await.unwrap() });
        let (net, client, server) = (world.net.clone(), world.client.stack().clone(), world.server);
        world.net.block_on(async move {
            let flow = client.flow("s").qos(QosSpec::DATA).alloc_async().await.unwrap();
            let _accepted = accepted.await;
            server.crash();
            for _ in 0..15 {
                net.sleep(Duration::from_secs(20)).await;
                net.inject(SERVER, CLIENT, &eid.get());
            }
            // On a plain flow a keepalive needs what any forged packet needs, and here the forger has it.
            let gone = flow.as_blocking().try_read(&mut [0; 9]) == Err(o7s::ReadError::PeerGone);
            assert_eq!(gone, !held, "{security:?}");
        });
    }
}
