//! Interfaces whose MTU, link and address change while flows are open.

use std::sync::Arc;

use o7s::device::Link as State;
use o7s::sim::{Link, Loss};
use o7s::{AllocError, Event, FlowSet, QosSpec, WriteError};

use super::framings;
use super::simulated::Pair;
use super::world::{Script, expect, ms, secs, send};

#[test]
fn flows_follow_the_mtu_of_the_interface() {
    for (config, header) in framings().iter().zip([4, 3]) {
        let pair = Pair::new(1, Link::default().mtu(9000), config, "");
        pair.net.block_on(async {
            let (near, far) = pair.connect(QosSpec::RAW).await;
            for mtu in [9000, 1500, 1280, 1500, 9000, 64] {
                for host in [&pair.client, &pair.server] {
                    host.interfaces()[0].set_mtu(mtu);
                }
                pair.net.sleep(ms(1)).await;
                let max = if header == 3 { mtu.min(1500) - 3 } else { mtu - 4 };
                assert_eq!(near.as_blocking().max_packet(), max, "{mtu}");
                assert_eq!(near.write(&vec![1; max + 1]).await, Err(WriteError::TooLarge { size: max + 1, max }));
                near.write(&vec![2; max]).await.unwrap();
                assert_eq!(far.read_bytes().await.unwrap().len(), max);
            }
        });
        assert_eq!(pair.counter(&pair.client, "mtu"), 64);
        assert_eq!(pair.counter(&pair.client, "send_too_large"), 0);
    }
}

#[test]
fn a_security_header_that_fits_no_frame_is_refused_with_the_sizes() {
    let pair = Pair::new(2, Link::default().mtu(120), &framings()[0], "X25519,aes-256-gcm");
    pair.net.block_on(async {
        let refused = pair.client.stack().flow("service").timeout(secs(5)).alloc_async().await;
        // 120 bytes without the frame's 4, the message's 39 and the hash's 32.
        assert!(matches!(refused, Err(AllocError::TooLarge { max: 45, .. })), "{refused:?}");
    });
}

#[test]
fn a_link_that_goes_down_and_up_is_told_to_flows_and_loses_nothing_of_a_reliable_one() {
    for config in framings() {
        let pair = Pair::new(3, Link::default().latency(ms(1)).rate(20_000_000), &config, "");
        let interface = &pair.client.interfaces()[0];
        pair.net.block_on(async {
            let (raw, _other) = pair.connect(QosSpec::RAW).await;
            let (near, far) = pair.connect(QosSpec::DATA).await;
            let set = FlowSet::new();
            set.add(&raw.as_blocking());
            let writer = pair.net.spawn({
                let script = Script::new(&pair.net, "bulk", 2_000_000, 1400);
                async move {
                    send(&near, script).await;
                    near
                }
            });
            let reader = pair.net.spawn({
                let script = Script::new(&pair.net, "bulk", 2_000_000, 1400);
                async move {
                    expect(&far, script).await;
                    far
                }
            });
            pair.net.sleep(ms(200)).await;
            for state in [State::Down, State::Gone, State::Down] {
                interface.set_link(state);
                pair.net.sleep(ms(1)).await;
                assert_eq!(events(&set), [Event::Impaired], "{state:?}");
                let written = raw.write(b"lost").await;
                assert!(matches!(written, Err(WriteError::Refused(_))), "{written:?}: a raw flow loses it");
                pair.net.sleep(secs(2)).await;
                assert_eq!(pair.counter(&pair.client, "link_up"), 0);
                interface.set_link(State::Up);
                pair.net.sleep(ms(1)).await;
                assert_eq!(events(&set), [Event::Restored], "{state:?}");
                pair.net.sleep(ms(50)).await;
            }
            writer.await;
            reader.await;
        });
        assert_eq!(pair.counter(&pair.client, "link_losses"), 3);
        assert!(pair.counter(&pair.client, "send_interface_down") > 0);
    }
}

fn events(set: &FlowSet) -> Vec<Event> {
    set.try_wait().into_iter().map(|event| event.event).filter(|event| *event != Event::Packet).collect()
}

#[test]
fn names_are_looked_for_again_when_the_link_is_up() {
    for config in framings() {
        let pair = Pair::new(4, Link::default(), &config, "");
        let interface = &pair.client.interfaces()[0];
        interface.set_link(State::Down);
        pair.net.block_on(async {
            pair.net.sleep(ms(1)).await;
            let stack = pair.client.stack().clone();
            let refused = stack.flow("service").timeout(secs(5)).alloc_async().await;
            assert!(matches!(refused, Err(AllocError::Unreachable(_))), "{refused:?}");
            assert_eq!(pair.counter(&pair.client, "queries_out"), 0);
            interface.set_link(State::Up);
            pair.net.sleep(ms(1)).await;
            pair.connect(QosSpec::RAW).await;
            // Down while it is being asked for.
            interface.set_link(State::Down);
            pair.server.interfaces()[0].set_link(State::Down);
            let listener = pair.server.listen("other");
            interface.set_link(State::Up);
            pair.net.sleep(ms(1)).await;
            let near = pair.net.spawn(async move { stack.flow("other").timeout(secs(5)).alloc_async().await });
            pair.net.sleep(ms(150)).await;
            interface.set_link(State::Down);
            pair.net.sleep(ms(400)).await;
            pair.server.interfaces()[0].set_link(State::Up);
            interface.set_link(State::Up);
            let before = pair.net.now();
            listener.accept_async().await.unwrap();
            assert!(pair.net.now().since(before) <= ms(10), "asked at once, and not when it would be time again");
            near.await.unwrap();
        });
    }
}

#[test]
fn flows_are_over_when_the_address_changes_and_new_ones_work() {
    for config in framings() {
        let pair = Pair::new(5, Link::default().loss(Loss::None), &config, "");
        pair.net.block_on(async {
            let (near, _far) = pair.connect(QosSpec::DATA).await;
            let set = FlowSet::new();
            set.add(&near.as_blocking());
            pair.net.sleep(secs(1)).await;
            assert_eq!(events(&set), []);
            pair.client.interfaces()[0].set_mac("02:00:00:00:00:11");
            pair.net.sleep(ms(1)).await;
            assert_eq!(events(&set), [Event::Down]);
            assert_eq!(near.write(b"x").await, Err(WriteError::Down));
            let (near, far) = pair.connect(QosSpec::DATA).await;
            near.write(b"x").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap()[..], b"x"[..]);
        });
    }
}

/// A link that is flapping costs nothing but what is lost meanwhile.
#[test]
fn a_hundred_flaps_in_ten_seconds_are_survived() {
    for config in framings() {
        let pair = Pair::new(6, Link::default().latency(ms(1)), &config, "");
        pair.net.block_on(async {
            let (near, far) = pair.connect(QosSpec::DATA).await;
            let interface = Arc::clone(&pair.server.interfaces()[0]);
            let net = pair.net.clone();
            let flaps = pair.net.spawn(async move {
                for i in 0..200 {
                    interface.set_link(if i % 2 == 0 { State::Down } else { State::Up });
                    net.sleep(ms(50)).await;
                }
            });
            for i in 0..500_u32 {
                near.write(&i.to_be_bytes()).await.unwrap();
                assert_eq!(far.read_bytes().await.unwrap()[..], i.to_be_bytes());
                pair.net.sleep(ms(10)).await;
            }
            flaps.await;
        });
        assert_eq!(pair.counter(&pair.server, "link_losses"), 100);
    }
}
