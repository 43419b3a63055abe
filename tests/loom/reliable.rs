//! Reliable flows: acknowledgements and windows come by the thread of the other end, and wake who waits for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread;
use o7s::QosSpec;
use o7s::base::buf::PacketBuf;
use o7s::base::time::Instant;
use o7s::crypto::hash::digest;
use o7s::crypto::protect::Side;
use o7s::crypto::suite::Digest;
use o7s::flow::{Endpoint, Event, Fault, Outgoing, PLANTED, Params, ReadError, Sink, Watcher};
use o7s::frct::{Config, Frct};
use o7s::oap::Peering;

use super::{Cable, Driver, NOW, Sleeper, closed, env, params, read, write};

/// Both ends of a flow, and the driver of both.
struct Ends {
    near: Arc<Endpoint>,
    far: Arc<Endpoint>,
    host: Arc<Driver>,
    done: Arc<Mutex<usize>>,
}

/// Ends with room for one packet each: a writer waits for the acknowledgement of the packet before, and a packet for the
/// reader of the packet before. What is received is acknowledged at once, as no time passes.
fn narrow() -> Ends {
    let host = Arc::new(Driver::default());
    let end = |side| {
        let peering = Peering::new(side, 60_000, &digest(Digest::Sha256, &[b"a request"]));
        (Endpoint::new(1, &env(&host)), peering, Arc::new(Cable::default()))
    };
    let ends = [end(Side::Client), end(Side::Server)];
    let [near, far] = ends.each_ref().map(|(endpoint, ..)| Arc::clone(endpoint));
    for ((_, _, cable), to) in ends.iter().zip([&far, &near]) {
        cable.0.set(Arc::downgrade(to)).unwrap();
    }
    for (endpoint, peering, cable) in ends {
        let config = Config::default().legacy_window(1).window(1).send_queue(1).ack_every(1);
        let config = Config { o7s_peer: true, congestion: false, ..config };
        let qos = QosSpec { ber: 1, timeout: 0, ..QosSpec::DATA };
        let frct = Some(Box::new(Frct::new(config, 7)));
        endpoint.activate(NOW, cable, Params { qos, frct, ..params(Some(peering)) });
    }
    if PLANTED.get().is_some() {
        // A model that has failed has no locks any more, and ends of flows take some when they are dropped.
        std::mem::forget((Arc::clone(&near), Arc::clone(&far)));
    }
    Ends { near, far, host, done: Arc::default() }
}

impl Ends {
    fn spawn<R: 'static>(
        &self,
        end: &Arc<Endpoint>,
        f: impl FnOnce(&Arc<Endpoint>) -> R + 'static,
    ) -> thread::JoinHandle<R> {
        let (end, host, done) = (Arc::clone(end), Arc::clone(&self.host), Arc::clone(&self.done));
        thread::spawn(move || {
            let result = f(&end);
            host.finished(&done);
            result
        })
    }

    /// Gives both ends their ticks until so many threads are done.
    fn drive(&self, threads: usize) {
        loop {
            let mut ticks = self.host.ticks.lock().unwrap();
            while *ticks == 0 && *self.done.lock().unwrap() < threads {
                ticks = self.host.changed.wait(ticks).unwrap();
            }
            if std::mem::take(&mut *ticks) == 0 {
                break;
            }
            drop(ticks);
            self.near.handle_tick(NOW);
            self.far.handle_tick(NOW);
        }
    }
}

/// With fewer preemptions than elsewhere: there is more to interleave.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_up_to(2, model);
}

fn check_up_to(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(preemptions).min(preemptions));
    builder.max_branches = 50_000;
    builder.check(model);
}

fn transfer() {
    let ends = narrow();
    let writer = ends.spawn(&ends.near, |e| (write(e, 1), write(e, 2)));
    let reader = ends.spawn(&ends.far, |e| (read(e), read(e)));
    ends.drive(2);
    assert_eq!(writer.join().unwrap(), (Ok(1), Ok(1)));
    assert_eq!(reader.join().unwrap(), (Ok(1), Ok(2)));
}

#[test]
fn an_acknowledgement_wakes_the_writer_and_a_read_opens_the_window() {
    check(transfer);
}

/// The part of a layer that sends over the flow, as an adjacency does: packets that are refused are kept, and sent when the
/// flow says that there is room, by a thread that an alarm wakes; or by the one that they were refused, if that was said
/// meanwhile.
#[derive(Default)]
struct Layer {
    queue: Mutex<Queue>,
    alarm: Arc<Sleeper>,
}

#[derive(Default)]
struct Queue {
    waiting: Outgoing,
    told: u64,
    sent: usize,
}

impl Watcher for Layer {
    fn notify(&self, _token: u64, event: Event) {
        if event != Event::Writable {
            return;
        }
        let waits = {
            let mut queue = self.queue.lock().unwrap();
            queue.told += 1;
            !queue.waiting.is_empty()
        };
        if waits {
            Waker::from(Arc::clone(&self.alarm)).wake();
        }
    }
}

impl Sink for Layer {
    fn deliver(&self, _token: u64, _now: Instant, _pkts: &mut VecDeque<PacketBuf>) {}
}

impl Layer {
    /// Sends what waits, as far as there is room.
    fn look(&self, flow: &Endpoint) {
        loop {
            let (mut pkts, told) = {
                let mut queue = self.queue.lock().unwrap();
                (std::mem::take(&mut queue.waiting), queue.told)
            };
            let before = pkts.len();
            if before == 0 {
                return;
            }
            flow.send_packets(NOW, &mut pkts).unwrap();
            let mut queue = self.queue.lock().unwrap();
            queue.sent += before - pkts.len();
            if pkts.is_empty() {
                return Waker::from(Arc::clone(&self.alarm)).wake();
            }
            queue.waiting = pkts;
            if queue.told == told {
                return;
            }
        }
    }
}

fn send_as_a_layer() {
    let ends = narrow();
    let layer = Arc::new(Layer::default());
    let sink: Arc<dyn Sink> = Arc::clone(&layer) as _;
    ends.near.attach(&sink, 5);
    layer.queue.lock().unwrap().waiting.extend([1, 2].map(|n| PacketBuf::copy_of(&[n])));
    let reader = ends.spawn(&ends.far, |e| (read(e), read(e)));
    let sender = ends.spawn(&ends.near, {
        let layer = Arc::clone(&layer);
        move |e| layer.look(e)
    });
    let alarm = ends.spawn(&ends.near, {
        let layer = Arc::clone(&layer);
        move |e| {
            while layer.queue.lock().unwrap().sent < 2 {
                layer.alarm.sleep();
                layer.look(e);
            }
        }
    });
    ends.drive(3);
    sender.join().unwrap();
    alarm.join().unwrap();
    assert_eq!(reader.join().unwrap(), (Ok(1), Ok(2)));
}

#[test]
fn a_layer_is_told_of_room_for_what_was_refused() {
    // Two take a minute or two: there are four threads.
    check_up_to(1, send_as_a_layer);
}

fn close() {
    let ends = narrow();
    let reader = ends.spawn(&ends.far, |e| (read(e), read(e)));
    let writer = ends.spawn(&ends.near, |e| {
        let written = write(e, 1);
        e.close(Duration::from_secs(1));
        closed(e);
        written
    });
    ends.drive(2);
    assert_eq!(writer.join().unwrap(), Ok(1));
    assert_eq!(reader.join().unwrap(), (Ok(1), Err(ReadError::Closed)));
}

#[test]
fn a_close_with_data_queued_brings_it_and_the_end() {
    check(close);
}

#[test]
fn writers_and_closers_that_are_not_woken_are_found() {
    for (fault, model) in [
        (Fault::WritersAsleep, transfer as fn()),
        (Fault::WritersAsleep, send_as_a_layer),
        (Fault::ClosersAsleep, close),
    ] {
        PLANTED.set(Some(fault));
        let found = std::panic::catch_unwind(|| check(model));
        PLANTED.set(None);
        assert!(found.is_err(), "{fault:?}, and the checker has not noticed");
    }
}
