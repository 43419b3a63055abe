//! Paths that carry less than the device at their end says, and say nothing about it: what is larger is dropped in the
//! middle.

use std::time::Duration;

use o7s::sim::{Link, Loss, Queue};
use o7s::stats::FrctStats;
use o7s::{Event, FlowSet, QosSpec, Stack, aio};

use super::ends::{CLIENT, ENCRYPTED, Ends, MIB, SERVER, message, ms, transfer};
use super::moves::{World, outside};

/// The device says so.
const MTU: usize = 1500;

fn link(mtu: usize) -> Link {
    Link::default().latency(ms(5)).rate(100_000_000).mtu(mtu)
}

/// What the path between the two hosts carries from now on; their devices notice nothing.
fn narrow(ends: &Ends, link: Link) {
    ends.net.set_link_between(CLIENT, SERVER, link);
}

fn stats(flow: &aio::Flow) -> FrctStats {
    flow.as_blocking().frct_stats().unwrap()
}

fn max_packet(flow: &aio::Flow) -> usize {
    flow.as_blocking().max_packet()
}

/// The limit that the stack shows for one of its flows.
fn shown_limit(stack: &Stack) -> Option<u64> {
    let rows = o7s::rib::prometheus(&stack.rib());
    let row = rows.lines().find(|row| row.contains("packet_limit") && !row.starts_with('#'))?;
    row.split_whitespace().last()?.parse().ok()
}

/// Time for the search to end: each size that does not pass is tried for three seconds.
async fn settle(ends: &Ends) {
    ends.net.sleep(Duration::from_secs(30)).await;
}

/// Has the sender of a flow find what the path carries; the largest packet then.
async fn find(ends: &Ends, near: &aio::Flow, far: &aio::Flow) -> usize {
    transfer(ends, near, far, 2, MIB).await;
    settle(ends).await;
    max_packet(near)
}

/// Sends as [`transfer`], while the path changes after a part of a second.
async fn transfer_while(
    ends: &Ends,
    (near, far): (&aio::Flow, &aio::Flow),
    (count, len): (usize, usize),
    link: Link,
) -> Duration {
    let (net, from) = (ends.net.clone(), ends.net.now());
    let change = ends.net.spawn(async move {
        net.sleep(ms(200)).await;
        net.set_link_between(CLIENT, SERVER, link);
        net.now().since(from)
    });
    let took = transfer(ends, near, far, count, len).await;
    assert!(change.await < took, "the path changed in the middle");
    took
}

#[test]
fn a_path_of_1280_bytes_is_found() {
    for (seed, security) in [(1, ""), (2, ENCRYPTED)] {
        for len in [MIB, 1400, 3000] {
            let ends = Ends::new(seed, link(MTU), security);
            narrow(&ends, link(1280));
            ends.net.block_on(async {
                let (near, far) = ends.connect(QosSpec::DATA).await;
                let before = max_packet(&near);
                let took = transfer(&ends, &near, &far, 4 * MIB / len, len).await;
                assert!(took < Duration::from_secs(20), "{security} {len}: {took:?}");
                settle(&ends).await;
                // As much less as the path, or little more.
                let after = max_packet(&near);
                assert!((before - 220 - 16..=before - 220).contains(&after), "{after} bytes a packet, {before} before");
                assert_eq!(stats(&near).lowered, 1, "at the first step");
                assert_eq!(shown_limit(ends.client.stack()), Some(after as u64));
                assert_eq!((stats(&far).lowered, max_packet(&far)), (0, before), "its packets are small");
                assert_eq!(near.as_blocking().max_write(), MIB);
                near.write(&message(1, MIB)).await.unwrap();
                assert_eq!(far.read_bytes().await.unwrap(), message(1, MIB));
            });
            assert_eq!(ends.held_at_rest(), 0);
        }
    }
}

#[test]
fn both_directions_find_their_limit() {
    let ends = Ends::new(3, link(MTU), ENCRYPTED);
    narrow(&ends, link(1280));
    ends.net.block_on(async {
        let (near, far) = ends.connect(QosSpec::DATA).await;
        transfer(&ends, &near, &far, 2, MIB).await;
        transfer(&ends, &far, &near, 2, MIB).await;
        settle(&ends).await;
        assert_eq!(max_packet(&near), max_packet(&far));
        assert_eq!((stats(&near).lowered, stats(&far).lowered), (1, 1));
    });
}

#[test]
fn a_path_that_becomes_narrower_loses_nothing() {
    for (seed, security) in [(4, ""), (5, ENCRYPTED)] {
        for (wide, then) in [(1500, 1280), (9000, 1500), (9000, 1280), (1500, 700)] {
            for len in [MIB, 8000, 1024] {
                let ends = Ends::new(seed, link(wide), security);
                ends.net.block_on(async {
                    let (near, far) = ends.connect(QosSpec::DATA).await;
                    let before = max_packet(&near);
                    let took = transfer_while(&ends, (&near, &far), (10 * MIB / len, len), link(then)).await;
                    // What does not fit into one packet goes in fragments that fit into 1500 bytes.
                    let packet = if len <= before { len } else { 1400 };
                    let narrower = then < packet + 44;
                    assert_eq!(stats(&near).lowered > 0, narrower, "{wide} {then} {len}");
                    if narrower {
                        settle(&ends).await;
                        assert!(took < Duration::from_secs(60), "{wide} {then} {len}: {took:?}");
                        let most = before + then - wide;
                        assert!((most - 20..=most).contains(&max_packet(&near)), "{} of {most}", max_packet(&near));
                    }
                });
                assert_eq!(ends.held_at_rest(), 0);
            }
        }
    }
}

#[test]
fn a_narrower_path_with_loss_loses_nothing() {
    for (seed, security) in [(6, ""), (7, ENCRYPTED), (8, ENCRYPTED)] {
        let lossy = |mtu| link(mtu).loss(Loss::Random(0.05));
        let ends = Ends::new(seed, lossy(MTU), security);
        ends.net.block_on(async {
            let (near, far) = ends.connect(QosSpec::DATA).await;
            let took = transfer_while(&ends, (&near, &far), (10, MIB), lossy(1280)).await;
            assert!(took < Duration::from_secs(120), "{took:?}");
            assert!(stats(&near).lowered > 0 && max_packet(&near) > 1100);
        });
        assert_eq!(ends.held_at_rest(), 0);
    }
}

#[test]
fn a_path_that_only_loses_is_not_taken_for_a_narrow_one() {
    let losses = [Loss::Random(0.1), Loss::Random(0.3), Loss::bursty(0.1, 10.0), Loss::bursty(0.3, 20.0)];
    for (n, loss) in losses.into_iter().enumerate() {
        for len in [MIB, 1400] {
            let ends = Ends::new(10 + n as u64, link(MTU).loss(loss), "");
            ends.net.block_on(async {
                let (near, far) = ends.connect(QosSpec::DATA).await;
                transfer(&ends, &near, &far, 2 * MIB / len, len).await;
                assert_eq!(stats(&near).lowered, 0, "{loss:?} {len}");
            });
        }
    }
}

/// Eight flows with packets of 8.9 kB through a queue for a few of them, which has room for small ones more often.
#[test]
fn a_queue_that_is_full_is_not_taken_for_a_narrow_path() {
    let queues = [Queue::Packets(20), Queue::Packets(5), Queue::Bytes(180_000), Queue::Bytes(90_000)];
    for (queue, seed) in queues.into_iter().flat_map(|queue| (1..4).map(move |seed| (queue, seed))) {
        let ends = Ends::new(seed, link(9000).latency(ms(20)).jitter(ms(1)).rate(5_000_000).queue(queue), "");
        ends.net.block_on(async {
            let mut flows = Vec::new();
            for _ in 0..8 {
                let (near, far) = ends.connect(QosSpec::DATA).await;
                let size = max_packet(&near);
                ends.net.spawn(async move { while far.read_bytes().await.is_ok() {} });
                let near = std::rc::Rc::new(near);
                let writer = std::rc::Rc::clone(&near);
                ends.net.spawn(async move { while writer.write(&vec![7; size]).await.is_ok() {} });
                flows.push(near);
            }
            ends.net.sleep(Duration::from_secs(120)).await;
            let timeouts: u64 = flows.iter().map(|flow| stats(flow).timeouts).sum();
            let retransmitted: u64 = flows.iter().map(|flow| stats(flow).retransmitted).sum();
            let lowered: u64 = flows.iter().map(|flow| stats(flow).lowered).sum();
            assert!(retransmitted > 500 && timeouts > 30, "{retransmitted} {timeouts}");
            assert_eq!(lowered, 0, "{queue:?}");
        });
    }
}

#[test]
fn a_path_that_becomes_wider_again_is_used() {
    let ends = Ends::new(30, link(MTU), ENCRYPTED);
    narrow(&ends, link(1280));
    ends.net.block_on(async {
        let (near, far) = ends.connect(QosSpec::DATA).await;
        let before = max_packet(&near);
        let low = find(&ends, &near, &far).await;
        let asked = stats(&near).control_sent;
        // It is still narrow when it is looked at next, and no worse for it.
        ends.net.sleep(Duration::from_secs(700)).await;
        let (lost, again) = (stats(&near).retransmitted, max_packet(&near));
        assert!(again.abs_diff(low) <= 16 && stats(&near).control_sent > asked + 10);
        transfer(&ends, &near, &far, 2, MIB).await;
        assert_eq!((stats(&near).retransmitted, stats(&near).lowered), (lost, 1));
        narrow(&ends, link(MTU));
        ends.net.sleep(Duration::from_secs(700)).await;
        assert_eq!(max_packet(&near), before);
        assert_eq!(shown_limit(ends.client.stack()), None);
        transfer(&ends, &near, &far, 2, MIB).await;
        assert_eq!(stats(&near).retransmitted, lost);
    });
}

/// The device itself takes less than it did: what is looked for behind it is no larger, and no packet of the flow is refused.
#[test]
fn no_probe_is_larger_than_the_device_takes_now() {
    let ends = Ends::new(32, link(MTU), ENCRYPTED);
    narrow(&ends, link(1280));
    ends.net.block_on(async {
        let (near, far) = ends.connect(QosSpec::DATA).await;
        let before = max_packet(&near);
        let found = find(&ends, &near, &far).await;
        let set = FlowSet::new();
        set.add(&near.as_blocking());
        let faults = || set.try_wait().into_iter().filter(|event| event.event != Event::Writable).count();
        // What the device takes, and what the path behind it, and the largest packet then.
        for (device, path, most) in [(1000, 1280, before - 500), (1400, 1280, found), (1400, 1500, before - 100)] {
            ends.net.set_default_link(link(device));
            narrow(&ends, link(path));
            let asked = stats(&near).control_sent;
            ends.net.sleep(Duration::from_secs(700)).await;
            assert_eq!(faults(), 0, "device {device}, path {path}");
            assert!(max_packet(&near) <= most && max_packet(&near) + 16 >= most, "{} of {most}", max_packet(&near));
            // Nothing is asked where the device is the narrowest.
            assert_eq!(stats(&near).control_sent > asked, device > 1280);
            transfer(&ends, &near, &far, 2, MIB).await;
            assert_eq!(faults(), 0, "device {device}, path {path}");
        }
        // As wide as ever: it is found out in time.
        ends.net.set_default_link(link(MTU));
        ends.net.sleep(Duration::from_secs(700)).await;
        assert_eq!((max_packet(&near), faults()), (before, 0));
        assert_eq!(stats(&near).lowered, 1);
    });
}

#[test]
fn what_is_not_reliable_finds_nothing_out() {
    let ends = Ends::new(31, link(MTU), "");
    narrow(&ends, link(1280));
    ends.net.block_on(async {
        let (near, far) = ends.connect(QosSpec::BEST_EFFORT).await;
        let before = max_packet(&near);
        for n in 0..200 {
            near.write(&message(n, 1400)).await.unwrap();
            near.write(&message(n, 1000)).await.unwrap();
            ends.net.sleep(ms(50)).await;
            assert_eq!(far.read_bytes().await.unwrap(), message(n, 1000), "what is too large is lost");
        }
        assert_eq!((stats(&near).lowered, max_packet(&near)), (0, before));
    });
}

/// The path becomes narrow, and then the peer is reached on another one, which may be narrow as well. Only the end that sees
/// its peer move knows of it.
#[test]
fn a_move_makes_a_new_path() {
    for (seed, security) in [(1, ""), (2, ENCRYPTED)] {
        for then in [1500, 1280] {
            let world = World::new(seed, security);
            let (far, near) = world.flow(QosSpec::DATA);
            let size = max_packet(&near);
            let near = std::rc::Rc::new(near);
            let (writer, clock) = (std::rc::Rc::clone(&near), world.net.clone());
            let writes = world.net.spawn(async move {
                for n in 0..20_000 {
                    writer.write(&message(n, size)).await.unwrap();
                    clock.sleep(ms(1)).await;
                }
            });
            let reads = world.net.spawn(async move {
                for n in 0..20_000 {
                    assert_eq!(far.read_bytes().await.unwrap(), message(n, size));
                }
                far
            });
            world.net.run_for(ms(100));
            world.net.set_link_between(outside(0).ip(), SERVER, link(1280));
            // It moves in the middle of the suspicion, or long after that.
            world.net.set_link_between(outside(1).ip(), SERVER, link(then));
            world.net.run_for(ms(if then == 1500 { 800 } else { 5000 }));
            let lowered = stats(&near).lowered;
            assert_eq!(lowered, u64::from(then != 1500), "{security}");
            world.rebind();
            let far = world.net.block_on(reads);
            world.net.block_on(writes);
            assert_eq!(stats(&near).lowered > lowered, then == 1280, "{security} {then}");
            world.net.run_for(Duration::from_secs(30));
            assert_eq!(max_packet(&near) == size, then == 1500, "{security} {then}");
            drop(far);
        }
    }
}
