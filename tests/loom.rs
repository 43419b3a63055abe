//! Every interleaving of the machine behind a flow: who waits is woken.
//!
//! Over the real endpoint, with the locks and atomics of the model checker in place of the real ones. Build and run it with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom
//! ```
//!
//! All waits here are without limit, so that a wake-up that gets lost is a deadlock, which the checker reports. Threads
//! are preempted at most three times where the checker may choose, which is what faults of this kind need.
#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

#[path = "loom/alarm.rs"]
mod alarm;
#[path = "loom/lane.rs"]
mod lane;
#[path = "loom/lead.rs"]
mod lead;
#[path = "loom/local.rs"]
mod local;
#[path = "loom/reliable.rs"]
mod reliable;
#[path = "loom/turns.rs"]
mod turns;
#[path = "loom/waker.rs"]
mod waker;

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use o7s::QosSpec;
use o7s::base::buf::{BufPool, PacketBuf};
use o7s::base::time::{Clock, Instant};
use o7s::crypto::hash::digest;
use o7s::crypto::protect::Side;
use o7s::crypto::suite::Digest;
use o7s::flow::{
    Endpoint, Env, Event, Fault, FlowKey, Host, Opening, Outgoing, PLANTED, Params, Port, ReadError, ReadMode, Waiter,
    Watcher, WriteError,
};
use o7s::oap::Peering;
use o7s::types::device::SendError;

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const LATER: Instant = Instant::from_nanos(200_000_000_000);

struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        NOW
    }

    fn unix_nanos(&self) -> u64 {
        0
    }
}

/// Remembers the requests to the host, for the thread that plays the driver.
#[derive(Default)]
struct Driver {
    ticks: Mutex<usize>,
    changed: Condvar,
}

impl Driver {
    /// Gives the endpoint the ticks that it asks for until `others` are done.
    fn drive<R: 'static>(
        &self,
        endpoint: &Endpoint,
        others: Vec<thread::JoinHandle<R>>,
        done: &Mutex<usize>,
    ) -> Vec<R> {
        loop {
            let mut ticks = self.ticks.lock().unwrap();
            while *ticks == 0 && *done.lock().unwrap() < others.len() {
                ticks = self.changed.wait(ticks).unwrap();
            }
            if std::mem::take(&mut *ticks) == 0 {
                break;
            }
            drop(ticks);
            endpoint.handle_tick(NOW);
        }
        others.into_iter().map(|o| o.join().unwrap()).collect()
    }

    fn finished(&self, done: &Mutex<usize>) {
        let ticks = self.ticks.lock().unwrap();
        *done.lock().unwrap() += 1;
        self.changed.notify_one();
        drop(ticks);
    }
}

impl Host for Driver {
    fn arm(&self, _at: Instant, _flow: FlowKey) {}

    fn tick(&self, _flow: FlowKey) {
        *self.ticks.lock().unwrap() += 1;
        self.changed.notify_one();
    }

    fn released(&self, _flow: FlowKey) {}
}

/// A device with room for so many packets.
struct Device {
    room: Mutex<usize>,
    sent: Mutex<Vec<u8>>,
}

impl Device {
    fn with_room(room: usize) -> Arc<Self> {
        Arc::new(Self { room: Mutex::new(room), sent: Mutex::default() })
    }
}

impl Port for Device {
    fn send(&self, _now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        for pkt in pkts.drain(..) {
            let mut room = self.room.lock().unwrap();
            *room = room.checked_sub(1).ok_or(SendError::Full)?;
            drop(room);
            self.sent.lock().unwrap().push(pkt.first().copied().unwrap_or(0));
        }
        Ok(())
    }

    fn mtu(&self) -> usize {
        1000
    }

    fn release(&self, _now: Instant) {}
}

/// A thread that sleeps until it is woken.
#[derive(Default)]
struct Sleeper {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Sleeper {
    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// Waits until `poll` gives something.
fn until<R>(mut poll: impl FnMut(&Waker) -> Option<R>) -> R {
    let sleeper = Arc::new(Sleeper::default());
    let waker = Waker::from(Arc::clone(&sleeper));
    loop {
        match poll(&waker) {
            Some(result) => return result,
            None => sleeper.sleep(),
        }
    }
}

fn read(endpoint: &Arc<Endpoint>) -> Result<u8, ReadError> {
    let waiter: Waiter = endpoint.reader();
    until(|waker| {
        let mut buf = [0; 8];
        match endpoint.poll_read(&waiter, waker, &mut buf, ReadMode::Whole) {
            Err(ReadError::WouldBlock) => None,
            result => Some(result.map(|_| buf[0])),
        }
    })
}

fn write(endpoint: &Arc<Endpoint>, byte: u8) -> Result<usize, WriteError> {
    let waiter = endpoint.writer();
    until(|waker| match endpoint.poll_write(&waiter, waker, &[byte]) {
        Err(WriteError::WouldBlock) => None,
        result => Some(result),
    })
}

fn closed(endpoint: &Arc<Endpoint>) {
    let waiter = endpoint.closer();
    until(|waker| endpoint.poll_closed(&waiter, waker).then_some(()));
}

struct World {
    endpoint: Arc<Endpoint>,
    device: Arc<Device>,
    host: Arc<Driver>,
}

/// A raw flow over a device with room for `room` packets.
fn flow(room: usize) -> World {
    let world = pending(room);
    world.endpoint.activate(NOW, Arc::clone(&world.device) as Arc<dyn Port>, params(None));
    world
}

fn params(peering: Option<Peering>) -> Params {
    let qos = QosSpec { ber: 1, timeout: 60_000, ..QosSpec::RAW };
    Params {
        qos,
        frct: None,
        protection: None,
        peering,
        rx_limit: 8,
        rx_bytes: 1 << 20,
        meter: None,
        opening: Opening::default(),
    }
}

/// The surroundings of an endpoint whose ticks `host` gives.
fn env(host: &Arc<Driver>) -> Arc<Env> {
    Arc::new(Env {
        clock: Arc::new(Still),
        pool: BufPool::new(4),
        host: Arc::clone(host) as Arc<dyn Host>,
        panics: Arc::default(),
        inline: false,
    })
}

/// One that is still being allocated.
fn pending(room: usize) -> World {
    let (host, device) = (Arc::new(Driver::default()), Device::with_room(room));
    let endpoint = Endpoint::new(1, &env(&host));
    World { endpoint, device, host }
}

fn deliver(endpoint: &Endpoint, bytes: &[u8]) {
    endpoint.handle_packets(NOW, bytes.iter().map(|b| PacketBuf::copy_of(&[*b])));
}

/// Checks every interleaving, up to three preemptions.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.max_branches = 20_000;
    builder.check(model);
}

fn spawn<R: 'static>(world: &World, f: impl FnOnce(&Arc<Endpoint>) -> R + 'static) -> thread::JoinHandle<R> {
    let endpoint = Arc::clone(&world.endpoint);
    thread::spawn(move || f(&endpoint))
}

#[test]
fn a_reader_gets_what_is_delivered() {
    check(|| {
        let world = flow(9);
        let reader = spawn(&world, read);
        deliver(&world.endpoint, &[7]);
        assert_eq!(reader.join().unwrap(), Ok(7));
    });
}

#[test]
fn two_readers_get_one_packet_each_from_two_deliverers() {
    check(|| {
        let world = flow(9);
        let reader = spawn(&world, read);
        let other = spawn(&world, |e| deliver(e, &[1]));
        deliver(&world.endpoint, &[2]);
        let mine = read(&world.endpoint);
        let all = [mine.unwrap(), reader.join().unwrap().unwrap()];
        assert!(all == [1, 2] || all == [2, 1], "{all:?}");
        other.join().unwrap();
    });
}

#[test]
fn an_abandoned_read_leaves_no_reader_asleep() {
    check(|| {
        let world = flow(9);
        let reader = spawn(&world, read);
        let host = Arc::clone(&world.host);
        let leaver = spawn(&world, |e| {
            let waiter = e.reader();
            let _ = e.poll_read(&waiter, Waker::noop(), &mut [0; 8], ReadMode::Whole).map(drop);
        });
        deliver(&world.endpoint, &[1]);
        leaver.join().unwrap();
        // The one that was woken may be the one that has left: the driver comes for what was left to it.
        if *host.ticks.lock().unwrap() > 0 {
            world.endpoint.handle_tick(NOW);
        }
        // Unless the leaver has read it.
        deliver(&world.endpoint, &[2]);
        assert!(reader.join().unwrap().is_ok());
    });
}

#[test]
fn readers_learn_that_the_flow_is_down_after_all_data() {
    check(|| {
        let world = flow(9);
        let reader = spawn(&world, |e| (read(e), read(e)));
        let layer = spawn(&world, |e| deliver(e, &[1]));
        layer.join().unwrap();
        world.endpoint.mark_down(Event::Down);
        assert_eq!(reader.join().unwrap(), (Ok(1), Err(ReadError::Down)));
    });
}

#[test]
fn readers_learn_of_the_end_while_empty_packets_arrive() {
    check(|| {
        let world = flow(9);
        let reader = spawn(&world, read);
        // Keepalives: nothing to read in them.
        let layer = spawn(&world, |e| e.handle_packets(NOW, [PacketBuf::copy_of(&[])]));
        world.endpoint.mark_down(Event::Down);
        assert_eq!(reader.join().unwrap(), Err(ReadError::Down));
        layer.join().unwrap();
    });
}

#[test]
fn readers_learn_that_their_end_is_closed() {
    check(|| {
        let world = flow(9);
        let reader = spawn(&world, read);
        let closer = spawn(&world, closed);
        world.endpoint.close(Duration::from_secs(1));
        assert!(reader.join().unwrap().is_err());
        closer.join().unwrap();
    });
}

#[test]
fn readers_learn_that_the_peer_is_silent() {
    check(|| {
        let world = flow(9);
        let reader = spawn(&world, read);
        let writer = spawn(&world, |e| e.write(&[1]).map(drop));
        world.endpoint.handle_timeout(LATER);
        assert_eq!(reader.join().unwrap(), Err(ReadError::PeerGone));
        let _ = writer.join().unwrap();
    });
}

#[test]
fn writers_wait_for_room_in_the_device() {
    check(|| {
        let world = flow(0);
        let done = Arc::new(Mutex::new(0));
        let writer = |byte| {
            let (done, host) = (Arc::clone(&done), Arc::clone(&world.host));
            spawn(&world, move |e| {
                let result = write(e, byte);
                host.finished(&done);
                result
            })
        };
        let writers = vec![writer(1), writer(2)];
        *world.device.room.lock().unwrap() = 2;
        world.endpoint.notify_writable();
        // A packet that was refused before there was room may be noted afterwards: it is tried again at the tick.
        assert_eq!(world.host.drive(&world.endpoint, writers, &done), [Ok(1), Ok(1)]);
        let mut sent = world.device.sent.lock().unwrap().clone();
        sent.sort_unstable();
        assert_eq!(sent, [1, 2]);
    });
}

#[test]
fn packets_of_two_writers_all_leave() {
    check(|| {
        let world = flow(9);
        let one = spawn(&world, |e| (write(e, 1), write(e, 2)));
        write(&world.endpoint, 3).unwrap();
        let (a, b) = one.join().unwrap();
        assert_eq!((a, b), (Ok(1), Ok(1)));
        let sent = world.device.sent.lock().unwrap().clone();
        let mine: Vec<_> = sent.iter().copied().filter(|b| *b != 3).collect();
        assert_eq!((sent.len(), mine), (3, vec![1, 2]), "each writer's packets leave in order: {sent:?}");
    });
}

#[test]
fn closing_during_a_write_sends_accepted_packets() {
    check(|| {
        let world = flow(9);
        let writer = spawn(&world, |e| e.write(&[1]));
        world.endpoint.close(Duration::from_secs(1));
        closed(&world.endpoint);
        let taken = writer.join().unwrap().is_ok();
        assert_eq!(world.device.sent.lock().unwrap().len(), usize::from(taken));
    });
}

/// A port that delivers to the other end at once.
#[derive(Default)]
struct Cable(std::sync::OnceLock<std::sync::Weak<Endpoint>>);

impl Port for Cable {
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        if let Some(peer) = self.0.get().and_then(std::sync::Weak::upgrade) {
            peer.handle_packets(now, pkts.drain(..));
        }
        Ok(())
    }

    fn mtu(&self) -> usize {
        1000
    }

    fn release(&self, _now: Instant) {}
}

/// Both ends of a raw flow that tell each other when they go.
fn two_ends() -> [World; 2] {
    let ends = [Side::Client, Side::Server].map(|side| {
        let world = pending(9);
        let peering = Peering::new(side, 60_000, &digest(Digest::Sha256, &[b"a request"]));
        (world, peering, Arc::new(Cable::default()))
    });
    let cables = ends.each_ref().map(|(world, _, cable)| (Arc::downgrade(&world.endpoint), Arc::clone(cable)));
    let [(a, to_a), (b, to_b)] = cables;
    // Each cable leads to the other end.
    to_a.0.set(b).unwrap();
    to_b.0.set(a).unwrap();
    ends.map(|(world, peering, cable)| {
        world.endpoint.activate(NOW, cable, params(Some(peering)));
        world
    })
}

#[test]
fn a_close_reaches_the_other_end_behind_the_data() {
    check(|| {
        let [near, far] = two_ends();
        let reader = spawn(&far, |e| (read(e), read(e)));
        write(&near.endpoint, 1).unwrap();
        near.endpoint.close(Duration::from_secs(1));
        assert_eq!(reader.join().unwrap(), (Ok(1), Err(ReadError::Closed)));
        closed(&near.endpoint);
    });
}

#[test]
fn both_ends_close_at_once() {
    check(|| {
        let [near, far] = two_ends();
        let other = spawn(&far, |e| {
            e.close(Duration::from_secs(1));
            closed(e);
        });
        near.endpoint.close(Duration::from_secs(1));
        closed(&near.endpoint);
        other.join().unwrap();
    });
}

/// Counts what it is told.
#[derive(Default)]
struct Told {
    events: Mutex<Vec<Event>>,
    sleeper: Arc<Sleeper>,
}

impl Watcher for Told {
    fn notify(&self, _token: u64, event: Event) {
        self.events.lock().unwrap().push(event);
        Waker::from(Arc::clone(&self.sleeper)).wake();
    }
}

#[test]
fn a_watcher_is_told_at_any_time() {
    check(|| {
        let world = flow(9);
        let layer = spawn(&world, |e| deliver(e, &[1]));
        let told = Arc::new(Told::default());
        let watcher: Arc<dyn Watcher> = Arc::clone(&told) as _;
        world.endpoint.watch(&watcher, 5);
        while !told.events.lock().unwrap().contains(&Event::Packet) {
            told.sleeper.sleep();
        }
        assert_eq!(world.endpoint.read(&mut [0; 8], ReadMode::Whole), Ok(1));
        layer.join().unwrap();
    });
}

/// One thread drives a device and stops, another is about to sleep because it does: each stores, passes `fence`, and
/// looks at what the other has stored. The lock that says who drives is of the strength of an ordinary one, and failing
/// to take it is a plain load.
///
/// The same are the one that releases the lock of a `WakerCell`, and the one that has marked that its task is due and
/// finds the lock taken.
fn hand_over(fence: fn()) {
    check(move || {
        let (driven, announced) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let driver = {
            let (driven, announced) = (Arc::clone(&driven), Arc::clone(&announced));
            thread::spawn(move || {
                driven.store(false, Ordering::Release);
                fence();
                announced.load(Ordering::SeqCst)
            })
        };
        announced.store(true, Ordering::SeqCst);
        fence();
        let sleeps = driven.load(Ordering::Relaxed);
        let woken = driver.join().unwrap();
        assert!(woken || !sleeps, "it sleeps, and the driver has left without a word");
    });
}

#[test]
fn a_device_is_handed_over_with_a_fence_and_not_without() {
    hand_over(|| loom::sync::atomic::fence(Ordering::SeqCst));
    let without = std::panic::catch_unwind(|| hand_over(|| ()));
    assert!(without.is_err(), "sequentially consistent flags do not do it, and the checker must see that");
}

/// Checks that `model` finds `fault`.
fn finds(fault: Fault, model: fn()) {
    PLANTED.set(Some(fault));
    let found = std::panic::catch_unwind(|| check(model));
    PLANTED.set(None);
    assert!(found.is_err(), "{fault:?}, and the checker has not noticed");
}

#[test]
fn a_planted_lost_wake_up_is_found() {
    finds(Fault::NobodyWoken, || {
        let world = flow(9);
        let reader = spawn(&world, read);
        world.endpoint.mark_down(Event::Down);
        let _ = reader.join();
    });
}
