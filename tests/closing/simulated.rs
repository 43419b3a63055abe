//! Lost, repeated and forged notices, in virtual time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use o7s::settings::Limits;
use o7s::sim::{Host, Link, Loss, Network, Verdict};
use o7s::{Listener, QosSpec, ReadError, Udp4, UnicastLayer, WriteError, aio};

use super::{ENCRYPTED, all, security_of};

const CLIENT: &str = "10.0.0.1";
const SERVER: &str = "10.0.0.2";
const ROUND_TRIP: Duration = Duration::from_millis(40);

struct World {
    net: Network,
    client: Host,
    server: Host,
    listener: Listener,
}

fn world(seed: u64, security: &str) -> World {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ROUND_TRIP / 2));
    net.set_time_limit(Duration::from_secs(100_000));
    let host = |name: &str, at: &str| net.host(name).udp4(at).stack(|b| b.security(security_of(security))).build();
    let (client, server) = (host("client", CLIENT), host("server", SERVER));
    let listener = server.listen("peer");
    World { net, client, server, listener }
}

impl World {
    async fn pair(&self, qos: QosSpec) -> (aio::Flow, aio::Flow) {
        let from = self.client.stack().clone();
        let near = self.net.spawn(async move { from.flow("peer").qos(qos).alloc_async().await.unwrap() });
        let far = self.listener.accept_async().await.unwrap();
        (near.await, far)
    }
}

/// Reads `flow` to its end. Returns the bytes, and the reason of the end.
async fn drain(flow: &aio::Flow) -> (usize, ReadError) {
    let mut n = 0;
    loop {
        match flow.read_bytes().await {
            Ok(_) => n += 1,
            Err(e) => return (n, e),
        }
    }
}

#[test]
fn a_close_is_told_within_a_round_trip() {
    for security in ["", ENCRYPTED] {
        for (name, qos) in all() {
            let world = world(1, security);
            world.net.block_on(async {
                let (near, far) = world.pair(qos).await;
                near.write(b"first").await.unwrap();
                assert_eq!(far.read_bytes().await.unwrap(), "first");
                world.net.sleep(Duration::from_secs(1)).await;
                let before = world.net.now();
                drop(near);
                assert_eq!(drain(&far).await, (0, ReadError::Closed), "{name}");
                assert!(world.net.now() - before <= ROUND_TRIP, "{name}: after {:?}", world.net.now() - before);
                assert_eq!(far.write(b"late").await, Err(WriteError::PeerClosed), "{name}");
                drop(far);
                world.net.sleep(Duration::from_secs(10)).await;
                for host in [&world.client, &world.server] {
                    assert_eq!(host.stack().rib().get("node/flows"), Some(0), "{name}: all is released");
                }
            });
        }
    }
}

/// An allocation that has been given up, because its time was over or its future was dropped, ends at the server as soon as
/// the answer has come.
#[test]
fn an_allocation_that_is_given_up_ends_at_the_server() {
    let given_up = ROUND_TRIP * 3 / 4;
    let (none, long) = (Duration::ZERO, Duration::from_secs(9));
    for security in ["", ENCRYPTED] {
        for (name, qos) in all() {
            for (timeout, accepted) in [(given_up, none), (long, none), (long, long - ROUND_TRIP)] {
                let world = world(11, security);
                world.net.block_on(async {
                    let asking = world.client.stack().flow("peer").qos(qos).timeout(timeout).alloc_async();
                    let end = world.net.timeout(given_up, asking).await;
                    assert!(!matches!(end, Ok(Ok(_))), "{end:?}");
                    world.net.sleep(accepted).await;
                    let far = world.listener.accept_async().await.unwrap();
                    let end = world.net.timeout(ROUND_TRIP, drain(&far)).await;
                    assert_eq!(
                        end.ok(),
                        Some((0, ReadError::Reset)),
                        "{name}, {timeout:?}, accepted after {accepted:?}"
                    );
                    drop(far);
                    world.net.sleep(Duration::from_secs(15)).await;
                    for host in [&world.client, &world.server] {
                        assert_eq!(host.stack().rib().get("node/flows"), Some(0), "{name}: all is released");
                    }
                });
            }
        }
    }
}

/// A client that carries no more than `flows`, and its layer no more than `layer`, and a server.
fn small(flows: usize, layer: usize) -> World {
    let net = Network::new(12);
    net.set_default_link(Link::default().latency(ROUND_TRIP / 2));
    let limits = Limits::default().flows(flows);
    let udp = Udp4::bind(CLIENT).max_flows(layer).host("peer", SERVER);
    let client = net.host("client").udp4_with(CLIENT, udp).stack(|b| b.limits(limits)).build();
    let server = net.host("server").udp4_with(SERVER, Udp4::bind(SERVER).host("here", CLIENT)).build();
    let listener = server.listen("peer");
    World { net, client, server, listener }
}

impl World {
    /// Asks for a flow and gives it up.
    async fn give_up(&self) {
        let asking = self.client.stack().flow("peer").alloc_async();
        assert!(self.net.timeout(ROUND_TRIP, asking).await.is_err());
    }

    fn late(&self) -> Option<u64> {
        self.gauge("node/late")
    }

    fn gauge(&self, path: &str) -> Option<u64> {
        self.client.stack().rib().get(path)
    }
}

/// Requests that were given up hold no room that a flow needs, of this end or of another one, in the stack or in a layer.
#[test]
fn allocations_that_are_given_up_take_room_from_nobody() {
    for (stack, layer) in [(1, 1), (4, 4), (2, 100), (100, 2)] {
        let (world, flows) = (small(stack, layer), stack.min(layer));
        world.net.clone().block_on(async move {
            for _ in 0..flows {
                world.give_up().await;
            }
            assert_eq!(world.late(), Some(flows as u64));
            // Its answers have come and found the client gone before they are accepted.
            let incoming = world.client.listen("here");
            let from = world.server.stack().clone();
            let call = world.net.spawn(async move { from.flow("here").alloc_async().await.map(drop) });
            let accepted = incoming.accept_async().await;
            assert!(accepted.is_ok(), "{flows}: {accepted:?}");
            assert_eq!((call.await, world.late()), (Ok(()), Some(0)), "{flows}");
            drop(accepted);
            world.net.sleep(Duration::from_secs(10)).await;
            world.give_up().await;
            // All that come are accepted and kept, those that were given up as well.
            let listener = world.listener;
            world.net.spawn(async move {
                let mut kept = Vec::new();
                loop {
                    kept.push(listener.accept_async().await);
                }
            });
            let mut open = Vec::new();
            for n in 0..flows {
                let near = world.client.stack().flow("peer").alloc_async().await;
                assert!(near.is_ok(), "{n} of {flows}: {near:?}");
                open.push(near);
            }
        });
    }
}

/// No more than a few are waited for, the newest, and none for longer than half a minute, however long the program would have
/// waited.
#[test]
fn allocations_that_are_given_up_are_waited_for_within_bounds() {
    let world = small(1000, 1000);
    world.net.block_on(async {
        let tasks = world.gauge("node/tasks").unwrap();
        for given_up in 1..=50 {
            world.give_up().await;
            assert_eq!(world.late(), Some(given_up.min(16)));
        }
        let waiting = world.gauge("node/tasks").unwrap() - tasks;
        assert!(waiting <= 17, "{waiting}");
        let mut told = 0;
        while let Ok(far) = world.net.timeout(ROUND_TRIP * 2, world.listener.accept_async()).await {
            let end = world.net.timeout(ROUND_TRIP, drain(&far.unwrap())).await;
            told += u64::from(matches!(end, Ok((0, ReadError::Reset))));
        }
        assert_eq!((told, world.late()), (16, Some(0)));
        assert_eq!(world.gauge("node/tasks"), Some(tasks), "nothing is kept of those that made room");
        let asking = world.client.stack().flow("peer").timeout(Duration::MAX).alloc_async();
        assert!(world.net.timeout(Duration::from_secs(2), asking).await.is_err());
        world.net.sleep(Duration::from_secs(29)).await;
        assert_ne!(world.late(), Some(0));
        world.net.sleep(Duration::from_secs(4)).await;
        assert_eq!(world.late(), Some(0));
    });
}

/// A stack that is shut down tells the other ends, also of flows on which nothing has come yet, or that have more to send
/// than the link carries.
#[test]
fn a_shutdown_is_told_within_a_round_trip() {
    for security in ["", ENCRYPTED] {
        for (name, qos) in all() {
            for heard in [false, true] {
                let world = world(3, security);
                world.net.block_on(async {
                    let (near, far) = world.pair(qos).await;
                    if heard {
                        near.write(b"first").await.unwrap();
                        assert_eq!(far.read_bytes().await.unwrap(), "first");
                    }
                    let before = world.net.now();
                    world.server.stack().shutdown();
                    assert_eq!(drain(&near).await, (0, ReadError::Closed), "{name}, heard {heard}");
                    assert!(world.net.now() - before <= ROUND_TRIP, "{name}: after {:?}", world.net.now() - before);
                });
            }
        }
    }
}

/// What waits for its turn is lost with a stack that is shut down, or a layer that is left, but for the notices of the flows.
#[test]
fn a_shutdown_is_told_past_what_waits_to_be_sent() {
    for (drops, leaves) in [(false, false), (true, false), (false, true)] {
        for (name, qos) in all() {
            let mut world = world(4, "");
            world.net.set_default_link(Link::default().latency(ROUND_TRIP / 2).rate(10_000_000));
            let net = world.net.clone();
            net.block_on(async {
                let at = world.server.stack().unicast("a").over(&world.server.udp4()[0]);
                let member = at.bootstrap(UnicastLayer::new("net")).unwrap();
                let by = world.client.stack().unicast("b").over(&world.client.udp4()[0]);
                let second = by.enroll_async("a").await.unwrap();
                second.connect_async("a").await.unwrap();
                world.listener = world.server.stack().bind("above").unwrap();
                member.register("above").unwrap();
                net.sleep(Duration::from_secs(3)).await;
                let from = world.client.stack().clone();
                let near = net.spawn(async move { from.flow("above").qos(qos).alloc_async().await.unwrap() });
                let far = world.listener.accept_async().await.unwrap();
                let near = near.await;
                let reads = net.spawn(async move { drain(&far).await });
                for _ in 0..300 {
                    near.write(&[7; 1000]).await.unwrap();
                }
                let before = net.now();
                let _near = (!drops).then_some(near);
                if leaves {
                    second.leave();
                } else {
                    world.client.stack().shutdown();
                }
                let (read, end) = reads.await;
                assert!(read < 300, "{name}: {read}: nothing was waiting");
                assert!(matches!(end, ReadError::Closed | ReadError::Reset), "{name}: {end:?}");
                // Behind what the link has taken already.
                assert!(net.now() - before <= Duration::from_secs(1), "{name}: after {:?}", net.now() - before);
            });
        }
    }
}

/// Nobody repeats the notice of a stack that is gone, so it must not be among the packets for which there is no room.
#[test]
fn a_shutdown_is_told_to_an_end_that_has_no_room() {
    for security in ["", ENCRYPTED] {
        let world = world(5, security);
        world.net.block_on(async {
            let (near, far) = world.pair(QosSpec::RAW).await;
            for _ in 0..10 {
                for _ in 0..500 {
                    near.write(&[7; 100]).await.unwrap();
                }
                world.net.sleep(Duration::from_millis(10)).await;
            }
            world.client.stack().shutdown();
            world.net.sleep(Duration::from_secs(1)).await;
            let (read, end) = drain(&far).await;
            assert!((1..5000).contains(&read), "{read} of 5000: there was room");
            assert_eq!(end, ReadError::Closed);
        });
    }
}

#[test]
fn close_returns_when_the_peer_has_everything() {
    for (name, qos) in all() {
        let world = world(2, "");
        world.net.block_on(async {
            let (near, far) = world.pair(qos).await;
            near.write(b"last").await.unwrap();
            let before = world.net.now();
            near.close(Duration::from_secs(10)).await.unwrap();
            let took = world.net.now() - before;
            assert!(took >= ROUND_TRIP && took <= 3 * ROUND_TRIP, "{name}: {took:?}");
            // Nothing that happens now can change what is read.
            world.net.isolate(SERVER);
            assert_eq!(drain(&far).await, (1, ReadError::Closed), "{name}");
        });
    }
}

#[test]
fn the_reader_has_everything_before_the_end_on_any_path() {
    for seed in 0..20 {
        for security in ["", ENCRYPTED] {
            let world = world(seed, security);
            world.net.set_default_link(
                Link::default().latency(ROUND_TRIP / 2).loss(Loss::Random(0.2)).jitter(Duration::from_millis(10)),
            );
            world.net.block_on(async {
                let (near, far) = world.pair(QosSpec::DATA).await;
                let writes = world.net.spawn(async move {
                    for _ in 0..200 {
                        near.write(&[7; 500]).await.unwrap();
                    }
                    near.shutdown().await.unwrap();
                    // The other direction goes on.
                    drain(&near).await
                });
                assert_eq!(drain(&far).await, (200, ReadError::Closed), "seed {seed}");
                for _ in 0..100 {
                    far.write(&[8; 500]).await.unwrap();
                }
                far.close(Duration::from_secs(100)).await.unwrap();
                assert_eq!(writes.await, (100, ReadError::Closed), "seed {seed}");
            });
        }
    }
}

/// Ways of an end to say that it writes no more.
#[derive(Clone, Copy, Debug)]
enum Says {
    Shutdown,
    Close,
    Drop,
}

/// All data is held up, and what says that it was the last is not.
#[test]
fn an_end_that_overtakes_the_data_is_no_end_before_it() {
    const PACKETS: usize = 8;
    const LEN: usize = 500;
    const HELD_UP: Duration = Duration::from_millis(300);
    for (security, says) in
        ["", ENCRYPTED].into_iter().flat_map(|s| [Says::Shutdown, Says::Close, Says::Drop].map(|w| (s, w)))
    {
        let world = world(12, security);
        world.net.block_on(async {
            let (near, far) = world.pair(QosSpec::DATA).await;
            // As long as those that follow: the window begins with ten like the first.
            near.write(&[9; LEN]).await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap(), &[9; LEN][..]);
            world.net.sleep(Duration::from_secs(1)).await;
            let rule = world.net.on_packet(|p| {
                // Nothing else of this end is as short as its end.
                if p.src.ip().to_string() != CLIENT || p.data.len() < LEN {
                    return Verdict::Pass;
                }
                Verdict::Deliver(HELD_UP)
            });
            for n in 0..PACKETS {
                near.write(&[n as u8; LEN]).await.unwrap();
            }
            assert_eq!(near.as_blocking().write_queue(), PACKETS, "all of it is under way");
            let reads = matches!(says, Says::Shutdown).then(|| near.clone());
            match says {
                Says::Shutdown => near.as_blocking().shutdown(std::net::Shutdown::Write),
                Says::Close => drop(world.net.spawn(near.clone().close(Duration::from_secs(10)))),
                Says::Drop => {}
            }
            drop(near);
            world.net.sleep(HELD_UP / 2).await;
            let early = far.as_blocking().frct_stats().unwrap();
            assert_eq!(
                (early.received, early.out_of_order),
                (1, 1),
                "{says:?} {security}: the end has arrived, and no data"
            );
            assert_eq!(far.as_blocking().try_read(&mut [0; LEN]), Err(ReadError::WouldBlock), "{says:?} {security}");
            if let Some(near) = &reads {
                far.write(b"answer").await.unwrap();
                assert_eq!(near.read_bytes().await.unwrap(), "answer");
            }
            for n in 0..PACKETS {
                assert_eq!(far.read_bytes().await.unwrap(), &[n as u8; LEN][..], "{says:?} {security}");
            }
            assert_eq!(drain(&far).await, (0, ReadError::Closed), "{says:?} {security}");
            drop(rule);
        });
    }
}

#[test]
fn a_close_with_zero_timeout_is_orderly_if_nothing_is_lost() {
    for (name, qos) in all() {
        let world = world(11, "");
        world.net.block_on(async {
            let (near, far) = world.pair(qos).await;
            near.write(b"x").await.unwrap();
            far.read_bytes().await.unwrap();
            world.net.sleep(Duration::from_secs(1)).await;
            let before = world.net.now();
            near.close(Duration::ZERO).await.unwrap();
            assert_eq!(world.net.now(), before, "{name}: it does not wait");
            assert_eq!(drain(&far).await, (0, ReadError::Closed), "{name}");
        });
    }
}

#[test]
fn a_lost_notice_is_repeated() {
    for (name, qos) in all() {
        for lost in 1..4 {
            let world = world(3, "");
            world.net.block_on(async {
                let (near, far) = world.pair(qos).await;
                near.write(b"x").await.unwrap();
                far.read_bytes().await.unwrap();
                world.net.sleep(Duration::from_secs(1)).await;
                let left = Rc::new(Cell::new(lost));
                let rule = world.net.on_packet(move |p| {
                    if p.src.ip().to_string() == CLIENT && left.get() > 0 {
                        left.set(left.get() - 1);
                        return Verdict::Drop;
                    }
                    Verdict::Pass
                });
                let before = world.net.now();
                drop(near);
                assert_eq!(drain(&far).await.1, ReadError::Closed, "{name}, {lost} lost");
                assert!(world.net.now() - before < Duration::from_secs(3), "{name}, {lost} lost");
                drop(rule);
            });
        }
    }
}

#[test]
fn lost_notices_are_replaced_by_the_timeout() {
    for (name, qos) in all() {
        let world = world(4, "");
        world.net.block_on(async {
            let (near, far) = world.pair(QosSpec { timeout: 5000, ..qos }).await;
            near.write(b"x").await.unwrap();
            far.read_bytes().await.unwrap();
            world.net.isolate(CLIENT);
            let before = world.net.now();
            drop(near);
            assert_eq!(drain(&far).await, (0, ReadError::PeerGone), "{name}");
            let took = world.net.now() - before;
            assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(10), "{name}: {took:?}");
            // Notices are not repeated forever.
            world.net.sleep(Duration::from_secs(200)).await;
            assert_eq!(world.client.stack().rib().get("node/flows"), Some(0), "{name}");
        });
    }
}

#[test]
fn a_crash_is_noticed_by_timeout() {
    for (name, qos) in all() {
        let world = world(5, "");
        world.net.block_on(async {
            let (near, far) = world.pair(QosSpec { timeout: 5000, ..qos }).await;
            near.write(b"x").await.unwrap();
            far.read_bytes().await.unwrap();
            world.client.crash();
            drop(near);
            assert_eq!(drain(&far).await, (0, ReadError::PeerGone), "{name}");
        });
    }
}

#[test]
fn an_abort_is_told_despite_lost_data() {
    for security in ["", ENCRYPTED] {
        for (name, qos) in all() {
            let world = world(6, security);
            world.net.block_on(async {
                let (near, far) = world.pair(qos).await;
                near.write(b"x").await.unwrap();
                far.read_bytes().await.unwrap();
                world.net.partition(&[CLIENT], &[SERVER]);
                near.write(b"never arrives").await.unwrap();
                world.net.sleep(Duration::from_millis(1)).await;
                world.net.heal();
                near.abort();
                assert_eq!(drain(&far).await, (0, ReadError::Reset), "{name}");
                assert_eq!(far.write(b"x").await, Err(WriteError::Reset), "{name}");
            });
        }
    }
}

#[test]
fn an_expired_close_reads_as_reset() {
    let world = world(7, "");
    world.net.block_on(async {
        let (near, far) = world.pair(QosSpec::DATA).await;
        // The other end does not read, so that it cannot all be delivered.
        while near.as_blocking().try_write(&[1; 1000]).is_ok() {
            world.net.sleep(Duration::from_millis(1)).await;
        }
        near.close(Duration::from_secs(2)).await.unwrap_err();
        world.net.sleep(Duration::from_secs(1)).await;
        assert_eq!(drain(&far).await.1, ReadError::Reset, "the end of what was cut off is not the end of the stream");
    });
}

/// Everything that one end sends while a flow ends, thrown back at it and, changed in every byte, at the other end.
#[test]
fn forged_notices_do_nothing_on_an_encrypted_flow() {
    for (name, qos) in all() {
        let world = world(8, ENCRYPTED);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&seen);
        let rule = world.net.on_packet(move |p| {
            if p.src.ip().to_string() == CLIENT {
                log.borrow_mut().push((p.src, p.dst, p.data.to_vec()));
            }
            Verdict::Pass
        });
        world.net.block_on(async {
            // One flow is ended, and what was said tried on another.
            let (near, far) = world.pair(qos).await;
            let (kept, held) = world.pair(qos).await;
            kept.write(b"x").await.unwrap();
            held.read_bytes().await.unwrap();
            let before = seen.borrow().len();
            let (src, dst, eid) = seen.borrow().last().map(|(src, dst, p)| (*src, *dst, p[..4].to_vec())).unwrap();
            drop(near);
            assert_eq!(drain(&far).await.1, ReadError::Closed, "{name}");
            let said: Vec<_> = seen.borrow()[before..].to_vec();
            assert!(!said.is_empty());
            let (mut forgeries, refused) = (0, || {
                let counters = held.as_blocking().counters();
                counters.bad_crypt + counters.replayed
            });
            let refused_before = refused();
            for (_, _, packet) in &said {
                forgeries += packet.len() as u64 - 3;
                for i in 4..packet.len() {
                    let mut forged = packet.clone();
                    forged[..4].copy_from_slice(&eid);
                    forged[i] ^= 1;
                    world.net.inject(src, dst, &forged);
                }
                let mut moved = packet.clone();
                moved[..4].copy_from_slice(&eid);
                world.net.inject(src, dst, &moved);
            }
            world.net.sleep(Duration::from_secs(1)).await;
            assert_eq!(refused() - refused_before, forgeries, "{name}: all of them came to the flow");
            kept.write(b"still here").await.unwrap();
            assert_eq!(held.read_bytes().await.unwrap(), "still here", "{name}");
        });
        drop(rule);
    }
}

/// A raw, plain flow: data that looks like a notice in everything but the token is data.
#[test]
fn data_is_not_taken_for_a_notice() {
    let world = world(9, "");
    world.net.block_on(async {
        let (near, far) = world.pair(QosSpec::RAW).await;
        for kind in 0..=255 {
            let mut data = [0; 17];
            data[16] = kind;
            near.write(&data).await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap(), &data[..]);
        }
    });
}

/// A notice that comes back to its sender is ignored.
#[test]
fn a_reflected_notice_is_ignored() {
    for security in ["", ENCRYPTED] {
        let world = world(10, security);
        let seen: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let answered = Rc::new(RefCell::new(None));
        let (log, to) = (Rc::clone(&seen), Rc::clone(&answered));
        let rule = world.net.on_packet(move |p| {
            if p.src.ip().to_string() == CLIENT {
                log.borrow_mut().push(p.data.to_vec());
            } else if p.data.len() > 4 {
                *to.borrow_mut() = Some((p.src, p.dst, p.data[..4].to_vec()));
            }
            Verdict::Pass
        });
        world.net.block_on(async {
            let (near, far) = world.pair(QosSpec::RAW).await;
            far.write(b"to learn the other end's number").await.unwrap();
            near.read_bytes().await.unwrap();
            let before = seen.borrow().len();
            let (src, dst, eid) = answered.borrow().clone().unwrap();
            near.as_blocking().shutdown(std::net::Shutdown::Write);
            assert_eq!(drain(&far).await.1, ReadError::Closed);
            for packet in &seen.borrow()[before..] {
                let mut back = packet.clone();
                back[..4].copy_from_slice(&eid);
                world.net.inject(src, dst, &back);
            }
            world.net.sleep(Duration::from_secs(1)).await;
            far.write(b"goes on").await.unwrap();
            // On a plain flow a packet that comes back is data, as any other forgery.
            while near.read_bytes().await.unwrap() != "goes on" {}
        });
        drop(rule);
    }
}

/// What a member of a layer has taken, and not sent yet, is sent before it lets a flow go that was closed.
#[test]
fn what_waits_for_its_turn_in_a_layer_is_not_lost_with_the_flow() {
    for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT] {
        let net = Network::new(21);
        net.set_default_link(Link::default().latency(ROUND_TRIP / 2).rate(64_000));
        let [a, b] = [1, 2].map(|i| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).build());
        let first = b.stack().unicast("b").over(&b.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
        let second = net.block_on(a.stack().unicast("a").over(&a.udp4()[0]).enroll_async("b")).unwrap();
        net.block_on(second.connect_async("b")).unwrap();
        first.register("sink").unwrap();
        net.run_for(Duration::from_secs(1));
        let listener = b.stack().bind("sink").unwrap();
        let accepts = net.spawn(async move { listener.accept_async().await.unwrap() });
        net.block_on(async {
            let near = a.stack().flow("sink").qos(qos).alloc_async().await.unwrap();
            let far = accepts.await;
            // Once the peer's window is open, so that all of it goes to the layer.
            near.write(b"first").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap(), "first");
            net.sleep(Duration::from_secs(1)).await;
            let taken = (0..1000).take_while(|_| near.as_blocking().try_write(&[7; 1000]).is_ok()).count();
            assert!(taken > 100, "ten seconds' worth and more: {taken}");
            drop(near);
            assert_eq!(drain(&far).await, (taken, ReadError::Closed), "{qos:?}");
        });
    }
}
