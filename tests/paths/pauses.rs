//! Readers that pause for longer than a sender tries to bring a packet to its peer: 120 seconds.

use std::net::Shutdown;
use std::time::Duration;

use o7s::settings::Limits;
use o7s::sim::Link;
use o7s::{QosSpec, ReadError, WriteError};

use super::ends::{CLIENT, ENCRYPTED, Ends, MIB, SERVER, message, ms, transfer};

const PAUSE: Duration = Duration::from_secs(600);

fn link() -> Link {
    Link::default().latency(ms(10))
}

/// Limits of an end at which packets that wait for applications may hold `bytes` for each flow, and twice as much altogether.
fn narrow(bytes: usize) -> Limits {
    Limits::default().flow_bytes(bytes).peer_bytes(2 * bytes).stack_bytes(2 * bytes)
}

/// A writer writes `count` messages of `len` bytes and ends its stream, while the reader pauses before it reads them. How long
/// they take after the pause.
async fn write_and_pause(ends: &Ends, count: usize, len: usize) -> Duration {
    let (near, far) = ends.connect(QosSpec::DATA).await;
    let (net, start) = (ends.net.clone(), ends.net.now());
    let reader = ends.net.spawn(async move {
        net.sleep(PAUSE).await;
        for n in 0..count {
            assert!(far.read_bytes().await.unwrap() == message(n, len), "message {n}");
        }
        assert_eq!(far.read_bytes().await.err(), Some(ReadError::Closed));
        // It can still answer.
        far.write(b"all").await.unwrap();
        (net.now(), far)
    });
    for n in 0..count {
        near.write(&message(n, len)).await.unwrap();
    }
    near.as_blocking().shutdown(Shutdown::Write);
    assert_eq!(near.read_bytes().await.unwrap()[..], *b"all");
    let (end, _far) = reader.await;
    end.since(start) - PAUSE
}

#[test]
fn a_reader_may_pause_for_longer_than_a_sender_tries() {
    for security in ["", ENCRYPTED] {
        let ends = Ends::new(5, link(), security);
        ends.net.block_on(async {
            let took = write_and_pause(&ends, 20, MIB).await;
            // The writer waits no longer than until it is told that there is room.
            assert!(took < Duration::from_secs(3), "{took:?}");
        });
        assert_eq!(ends.held_at_rest(), 0);
    }
}

#[test]
fn a_reader_may_pause_with_less_memory_than_its_window_is_worth() {
    // 4096 packets are several MiB: the reader's end refuses what it has told the writer to send.
    for (count, len) in [(3000, 1400), (20, 60_000), (4, 250_000)] {
        let ends = Ends::with(6, link(), "", [Limits::default(), narrow(MIB)]);
        ends.net.block_on(async {
            let took = write_and_pause(&ends, 2 * count, len).await;
            assert!(took < Duration::from_secs(10), "{len}: {took:?}");
        });
        assert_eq!(ends.held_at_rest(), 0);
    }
}

#[test]
fn a_reader_may_pause_while_packets_are_lost() {
    let ends = Ends::with(7, link().loss(o7s::sim::Loss::Random(0.05)), ENCRYPTED, [Limits::default(), narrow(MIB)]);
    ends.net.block_on(async {
        let took = write_and_pause(&ends, 10, 250_000).await;
        assert!(took < Duration::from_secs(60), "{took:?}");
    });
}

#[test]
fn readers_that_pause_may_use_up_the_memory_for_a_peer() {
    let ends = Ends::with(8, link(), "", [Limits::default(), narrow(MIB)]);
    ends.net.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..5 {
            let (near, far) = ends.connect(QosSpec::DATA).await;
            let (count, len, net) = (12, 200_000, ends.net.clone());
            tasks.push(ends.net.spawn(async move {
                for n in 0..count {
                    near.write(&message(n, len)).await.unwrap();
                }
                near
            }));
            tasks.push(ends.net.spawn(async move {
                net.sleep(PAUSE).await;
                for n in 0..count {
                    assert!(far.read_bytes().await.unwrap() == message(n, len), "message {n}");
                }
                far
            }));
        }
        let mut flows = Vec::new();
        for task in tasks {
            flows.push(task.await);
        }
    });
}

#[test]
fn a_best_effort_flow_outlives_the_pause_of_its_reader() {
    let ends = Ends::with(9, link(), "", [Limits::default(), narrow(MIB)]);
    ends.net.block_on(async {
        let (near, far) = ends.connect(QosSpec::BEST_EFFORT).await;
        let net = ends.net.clone();
        let reader = ends.net.spawn(async move {
            net.sleep(PAUSE).await;
            let mut last = 0;
            while last < 64 {
                let packet = far.read_bytes().await.unwrap();
                last = (last..65).find(|n| packet == message(*n, 250_000)).expect("whole, and in order");
            }
        });
        // What the reader's end has no memory for is lost, and what comes afterwards is not.
        for n in 0..65 {
            near.write(&message(n, 250_000)).await.unwrap();
            ends.net.sleep(if n == 59 { PAUSE } else { ms(20) }).await;
        }
        reader.await;
    });
}

#[test]
fn a_peer_that_vanishes_while_its_reader_pauses_is_noticed() {
    let ends = Ends::with(10, link(), "", [Limits::default(), narrow(MIB)]);
    ends.net.block_on(async {
        let (near, _far) = ends.connect(QosSpec { timeout: 0, ..QosSpec::DATA }).await;
        let mut n = 0;
        while near.as_blocking().try_write(&message(n, 250_000)) != Err(WriteError::WouldBlock) {
            n += 1;
            ends.net.sleep(ms(50)).await;
        }
        ends.net.sleep(PAUSE).await;
        assert_eq!(near.as_blocking().try_write(b"lives"), Err(WriteError::WouldBlock));
        ends.net.partition(&[CLIENT], &[SERVER]);
        let start = ends.net.now();
        let down = near.write(b"lives").await;
        assert_eq!(down, Err(WriteError::Down));
        let took = ends.net.now().since(start);
        assert!(took > Duration::from_secs(100) && took < Duration::from_secs(150), "{took:?}");
    });
}

#[test]
fn a_flow_is_as_fast_after_a_pause_as_before() {
    let ends = Ends::with(11, link().rate(50_000_000), "", [Limits::default(), narrow(MIB)]);
    ends.net.block_on(async {
        let (near, far) = ends.connect(QosSpec::DATA).await;
        let before = transfer(&ends, &near, &far, 40, 250_000).await;
        let (net, reader) = (ends.net.clone(), far.as_blocking().into_async());
        let paused = ends.net.spawn(async move {
            net.sleep(PAUSE).await;
            for n in 0..40 {
                assert!(reader.read_bytes().await.unwrap() == message(n, 250_000), "message {n}");
            }
        });
        for n in 0..40 {
            near.write(&message(n, 250_000)).await.unwrap();
        }
        paused.await;
        let after = transfer(&ends, &near, &far, 40, 250_000).await;
        assert!(after < before * 2, "{before:?} before, {after:?} after");
    });
}
