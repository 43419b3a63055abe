//! A request with a forged source address brings that address little more than it cost.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use o7s::QosSpec;

use super::*;

/// Address of a host that asked for nothing, and where a packet for it comes from.
const VICTIM: &str = "10.0.0.99:3435";

/// Sends one forged request and says how many bytes it had, and how many reached the victim within `span`.
fn bytes_for_the_victim(security: &str, qos: QosSpec, span: Duration) -> (u64, u64) {
    let world = World::new(7, security);
    let victim: SocketAddr = VICTIM.parse().unwrap();
    let bytes = Rc::new(Cell::new(0));
    let count = Rc::clone(&bytes);
    let rule = world.net.on_packet(move |p| {
        if p.dst == victim {
            count.set(count.get() + p.data.len() as u64);
        }
        Verdict::Pass
    });
    rule.keep();
    let listener = world.server.listen("news");
    let net = world.net.clone();
    world.net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        // A service that speaks first, and goes on whether anybody listens or not.
        while flow.write(&[1; 1400]).await.is_ok() {
            net.sleep(Duration::from_millis(1)).await;
        }
    });
    let unix = world.server.stack().node().clock().unix_nanos();
    let request = request(unix, "news", qos, 4711 << 8, &mut Randomness::from_seed([9; 32]));
    world.net.inject(VICTIM, SERVER, &request);
    let net = world.net.clone();
    world.net.block_on(async move { net.sleep(span).await });
    (request.len() as u64, bytes.get())
}

#[test]
fn an_unproven_address_gets_at_most_three_times_its_bytes() {
    for qos in [
        QosSpec { ber: 1, ..QosSpec::RAW },
        QosSpec { ber: 1, timeout: 0, ..QosSpec::RAW },
        QosSpec { ber: 1, ..QosSpec::BEST_EFFORT },
        QosSpec { ber: 1, ..QosSpec::DATA },
        QosSpec { ber: 1, timeout: 0, ..QosSpec::DATA },
        // Keepalives all the time.
        QosSpec { ber: 1, timeout: 4, ..QosSpec::RAW },
    ] {
        let (cost, brought) = bytes_for_the_victim("", qos, Duration::from_secs(700));
        assert!(brought > 0, "the request was answered");
        assert!(brought <= 3 * cost, "{qos:?}: {cost} bytes brought {brought}");
    }
}

#[test]
fn silent_but_present_requesters_get_everything() {
    for (security, qos) in [
        ("", QosSpec::RAW),
        ("", QosSpec::BEST_EFFORT),
        ("", QosSpec::DATA),
        (ENCRYPTED, QosSpec::RAW),
        (ENCRYPTED, QosSpec::DATA),
    ] {
        let world = World::new(8, security);
        let listener = world.server.listen("news");
        world.net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            for i in 0..100u8 {
                flow.write(&[i; 1000]).await.unwrap();
            }
            std::mem::forget(flow);
        });
        let (net, client) = (world.net.clone(), world.client.stack().clone());
        world.net.block_on(async move {
            let flow = client.flow("news").qos(qos).alloc_async().await.unwrap();
            for i in 0..100u8 {
                let packet = net.timeout(Duration::from_secs(1), flow.read_bytes()).await.unwrap().unwrap();
                assert_eq!(packet[..], [i; 1000]);
            }
        });
    }
}

#[test]
fn a_lost_greeting_is_repeated() {
    let world = World::new(9, ENCRYPTED);
    let to: SocketAddr = SERVER.parse().unwrap();
    let lost = Rc::new(Cell::new(0));
    let count = Rc::clone(&lost);
    let rule = world.net.on_packet(move |p| {
        if p.dst == to && p.data[..4] != [0; 4] && count.get() < 2 {
            count.set(count.get() + 1);
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    rule.keep();
    let listener = world.server.listen("news");
    world.net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        flow.write(&[1; 1000]).await.unwrap();
        std::mem::forget(flow);
    });
    let (net, client) = (world.net.clone(), world.client.stack().clone());
    world.net.block_on(async move {
        let flow = client.flow("news").alloc_async().await.unwrap();
        let packet = net.timeout(Duration::from_secs(2), flow.read_bytes()).await.unwrap().unwrap();
        assert_eq!(packet.len(), 1000);
    });
    assert_eq!(lost.get(), 2);
}
