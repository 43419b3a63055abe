//! Flows that are dropped, closed, shared and left by their peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use o7s::{CloseError, Event, Flow, FlowSet, QosSpec, ReadError, WriteError};

use super::{BOUND, PLACES, Pair, Place, block_on, finishes, impatient, mortal, pair, settle, spawn, stacks, within};

#[test]
fn flows_are_dropped_in_any_order() {
    for place in PLACES {
        for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
            for near_first in [true, false] {
                let Pair { server, client, ends: (near, far), .. } = pair(place, qos);
                near.write(b"unread").unwrap();
                far.write(b"unread").unwrap();
                within("drop", move || if near_first { drop((near, far)) } else { drop((far, near)) });
                within("drop of the stacks", move || drop((server, client)));
            }
        }
    }
}

#[test]
fn a_flow_is_shown_by_its_name_and_layer() {
    for place in PLACES {
        let Pair { ends: (near, _far), .. } = pair(place, QosSpec::RAW);
        let shown = format!("{near:?}");
        assert_eq!(shown, format!("Flow {{ name: {:?}, layer: {:?}, .. }}", near.name(), near.layer()));
    }
}

#[test]
fn halves_are_dropped_in_both_orders() {
    for place in PLACES {
        for read_first in [true, false] {
            let Pair { ends: (near, far), server, client, .. } = pair(place, QosSpec::DATA);
            let (read, write) = near.split();
            within("drop of a half", move || {
                if read_first {
                    drop(read);
                    write.write(b"half").unwrap();
                    let mut buf = [0; 8];
                    assert_eq!(far.read_timeout(&mut buf, BOUND), Ok(4));
                    drop(write);
                } else {
                    write.write(b"half").unwrap();
                    drop(write);
                    far.write(b"answer").unwrap();
                    assert_eq!(read.flow().read_timeout(&mut [0; 8], BOUND), Ok(6));
                    drop(read);
                }
                let mut buf = [0; 8];
                while far.read_timeout(&mut buf, BOUND) != Err(ReadError::Closed) {}
            });
            drop((server, client));
        }
    }
}

/// Congestion avoidance keeps packets back, and only the member's alarm brings them on their way when no more are written.
#[test]
fn senders_that_are_kept_back_do_not_stall() {
    let (server, client) = stacks(Place::Layer);
    let listener = server.bind("echo").unwrap();
    let flows: Vec<_> = (0..3)
        .map(|_| {
            let from = client.clone();
            let near = spawn(move || from.flow("echo").qos(QosSpec::RAW).timeout(BOUND).alloc());
            let far = listener.accept_timeout(BOUND).unwrap();
            let near = finishes("alloc", near).unwrap();
            let reader = spawn(move || while far.read(&mut [0; 2048]).is_ok() {});
            let writer = spawn(move || (0..20_000).try_for_each(|_| near.write_timeout(&[7; 1000], BOUND).map(drop)));
            (writer, reader)
        })
        .collect();
    for (writer, reader) in flows {
        let written = writer.1.recv_timeout(Duration::from_secs(60)).expect("the writer goes on");
        assert_eq!(written, Ok(()), "there is room again within {BOUND:?}");
        finishes("the reader, at the end of the flow", reader);
    }
}

#[test]
fn a_flow_with_unacknowledged_data_is_dropped_at_once_and_closed_in_time() {
    let (Pair { client, ends: (near, far), .. }, cable) = mortal(QosSpec::DATA);
    let (Pair { client: client2, ends: (near2, far2), .. }, cable2) = mortal(QosSpec::DATA);
    cable.pull();
    cable2.pull();
    for _ in 0..3 {
        near.write(b"to the dead").unwrap();
        near2.write(b"to the dead").unwrap();
    }
    within("drop", move || drop(near));
    let lost = within("close", move || near2.close(Duration::from_millis(100)));
    assert_eq!(lost, Err(CloseError::Lost { packets: 3 }));
    within("drop of the stacks", move || drop((client, client2, far, far2)));
}

#[test]
fn a_flow_is_closed_while_others_use_it() {
    for place in PLACES {
        let Pair { ends: (near, far), server, client, .. } = pair(place, QosSpec::DATA);
        let near = near.into_async();
        let (reader, writer) = (near.clone(), near.clone());
        let reads = spawn(move || block_on(async { reader.read(&mut [0; 8]).await }));
        let writes = spawn(move || {
            block_on(async {
                loop {
                    if let Err(e) = writer.write(&[1; 1000]).await {
                        return e;
                    }
                }
            })
        });
        settle();
        // The other end does not read, so some may be lost.
        let _ = within("close", move || block_on(near.close(Duration::from_millis(100))));
        assert_eq!(finishes("read", reads), Err(ReadError::ClosedHere));
        assert_eq!(finishes("write", writes), WriteError::Closed);
        drop((far, server, client));
    }
}

#[test]
fn a_peer_that_vanishes_is_reported_within_the_timeout() {
    for blocked in [true, false] {
        let (Pair { client, ends: (near, far), .. }, cable) = mortal(impatient(200));
        let set = FlowSet::new();
        set.add(&near);
        let reads = spawn(move || {
            if !blocked {
                settle();
            }
            let gone = near.read(&mut [0; 8]);
            (near, gone)
        });
        settle();
        cable.pull();
        let (near, gone) = finishes("read", reads);
        assert_eq!(gone, Err(ReadError::PeerGone));
        assert_eq!(near.write(b"x"), Err(WriteError::PeerGone));
        let events = within("wait", move || (set.wait(None), set));
        assert!(events.0.iter().any(|e| e.event == Event::PeerGone), "{:?}", events.0);
        // Nothing to wait for when it is closed.
        assert_eq!(within("close", move || near.close(Duration::from_secs(1000))), Ok(()));
        drop((far, client));
    }
}

#[test]
fn packets_arriving_during_allocation_are_read() {
    for place in PLACES {
        let (server, client) = stacks(place);
        let listener = server.bind("echo").unwrap();
        let serves = spawn(move || {
            for _ in 0..300 {
                // It is written once only, and nothing else comes.
                let far = listener.accept().unwrap();
                far.write(b"first").unwrap();
                let _ = far.read_timeout(&mut [0; 8], BOUND);
            }
        });
        for i in 0..300 {
            let near = client.flow("echo").timeout(BOUND).alloc().unwrap();
            let mut buf = [0; 8];
            assert_eq!(near.read_timeout(&mut buf, BOUND), Ok(5), "{place:?}, flow {i}");
            near.write(b"bye").unwrap();
        }
        finishes("the server", serves);
    }
}

#[test]
fn a_waiting_thread_is_woken_every_time() {
    for place in PLACES {
        let Pair { ends: (near, far), server, client, .. } = pair(place, QosSpec { timeout: 0, ..QosSpec::DATA });
        let near = Arc::new(near);
        // The round that is on, and how many readers have noticed each.
        let (round, woken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (near, round, woken) = (Arc::clone(&near), Arc::clone(&round), Arc::clone(&woken));
                spawn(move || {
                    let mut last = 0;
                    loop {
                        match near.read(&mut [0; 8]) {
                            Err(ReadError::WriteOnly) => {}
                            Err(ReadError::ClosedHere) => return,
                            other => panic!("{other:?}"),
                        }
                        let now = round.load(Ordering::Acquire);
                        if now != last {
                            last = now;
                            woken.fetch_add(1, Ordering::Relaxed);
                        }
                        std::thread::park_timeout(Duration::from_micros(20));
                    }
                })
            })
            .collect();
        // By a call of another thread, not by a packet: the thread that waits for the socket has to be interrupted.
        let flow = Arc::clone(&near);
        let wake_all = move || {
            for i in 1..=300 {
                round.store(i, Ordering::Release);
                flow.endpoint().set_readable(false);
                while woken.load(Ordering::Relaxed) < 2 * i {
                    std::thread::park_timeout(Duration::from_micros(20));
                }
                flow.endpoint().set_readable(true);
                std::thread::park_timeout(Duration::from_micros(20 + i as u64 % 100));
            }
        };
        within(&format!("waking readers, {place:?}"), wake_all);
        let (s, c) = (server.clone(), client.clone());
        within("shutdown", move || {
            c.shutdown();
            s.shutdown();
        });
        for reader in readers {
            finishes("read", reader);
        }
        drop((far, server, client));
    }
}

#[test]
fn keepalives_hold_an_idle_flow() {
    let Pair { ends: (near, far), server, client, .. } = pair(Place::Udp, impatient(2000));
    assert_eq!(near.read_timeout(&mut [0; 8], Duration::from_millis(2500)), Err(ReadError::TimedOut));
    assert!(near.counters().keepalives_sent > 0 && near.counters().keepalives_received > 0);
    near.write(b"still here").unwrap();
    assert_eq!(far.read_timeout(&mut [0; 16], BOUND), Ok(10));
    drop((server, client));
}

#[test]
fn a_set_reports_room_after_a_refused_write() {
    for place in PLACES {
        let Pair { ends: (near, far), server, client, .. } = pair(place, QosSpec::DATA);
        let set = FlowSet::new();
        let token = set.add(&near);
        while near.try_write(&[1; 1000]).is_ok() {}
        assert_eq!(near.try_write(&[1; 1000]), Err(WriteError::WouldBlock));
        let reads = spawn(move || while far.read_timeout(&mut [0; 1000], Duration::from_secs(1)).is_ok() {});
        let room = within("wait", move || {
            while !set.wait(Some(BOUND)).iter().any(|e| e.token == token && e.event == Event::Writable) {}
            near.try_write(&[1; 1000])
        });
        assert_eq!(room, Ok(1000), "{place:?}");
        finishes("read", reads);
        drop((server, client));
    }
}

#[test]
fn an_empty_set_waits_for_its_time_or_a_flow() {
    let set = Arc::new(FlowSet::new());
    assert!(set.wait(Some(Duration::from_millis(20))).is_empty());
    let Pair { ends: (near, far), .. } = pair(Place::Direct, QosSpec::RAW);
    let other = FlowSet::new();
    let waiting = Arc::clone(&set);
    let waits = spawn(move || waiting.wait(None));
    settle();
    far.write(b"news").unwrap();
    let token = set.add(&near);
    let events = finishes("wait", waits);
    assert!(events.iter().any(|e| e.token == token && e.event == Event::Packet), "{events:?}");
    assert_eq!(near.try_read(&mut [0; 8]), Ok(4));
    set.remove(token);
    assert!(set.wait(Some(Duration::from_millis(20))).is_empty());
    // Removed from the first set, a flow still belongs to the second.
    let old = set.add(&near);
    let new = other.add(&near);
    set.remove(old);
    far.write(b"news").unwrap();
    let events = within("wait", move || (other.wait(None), other));
    assert!(events.0.iter().any(|e| e.token == new && e.event == Event::Packet));
}

/// A thread that waits for one flow receives for all flows of the socket. While it is busy with what it got, others do.
#[test]
fn a_flow_is_served_while_the_reader_of_another_is_busy() {
    const ROUNDS: usize = 50;
    let (server, client) = stacks(Place::Udp);
    let echo = |flow: Flow| {
        let mut buf = [0; 64];
        while let Ok(n) = flow.read(&mut buf) {
            let _ = flow.write(&buf[..n]);
        }
    };
    server.bind_handler("echo", echo).unwrap();
    let flow = || client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
    let (slow, other) = (Arc::new(flow()), Arc::new(flow().into_async()));
    let ((got, busy), (done, idle)) = (sync_channel(1), sync_channel::<()>(1));
    let reads = Arc::clone(&slow);
    let reader = spawn(move || {
        for _ in 0..ROUNDS {
            reads.read(&mut [0; 64]).unwrap();
            got.send(()).unwrap();
            idle.recv().unwrap();
        }
    });
    for round in 0..ROUNDS {
        // It waits for the device, or is about to.
        slow.write(b"work").unwrap();
        busy.recv_timeout(BOUND).unwrap();
        let other = Arc::clone(&other);
        let asks = spawn(move || {
            block_on(async {
                other.write(b"quick").await.unwrap();
                other.read_bytes().await.unwrap()
            })
        });
        assert_eq!(finishes(&format!("round {round}"), asks), "quick");
        done.send(()).unwrap();
    }
    finishes("the reader", reader);
}
