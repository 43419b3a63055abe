//! The machine over a port that does what the test says.
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "threads that are stuck are what is tested")]

mod events;
mod matrix;
mod panics;
mod proven;
mod rotation;
mod spare;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Waker;
use core::time::Duration;
use std::sync::mpsc;
use std::task::Wake;

use super::*;
use crate::base::buf::{BufPool, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::{Clock, ManualClock};
use crate::crypto::hash::digest;
use crate::crypto::protect::Side;
use crate::crypto::suite::Digest;
use crate::flow::{Event, Host, Opening, Outgoing, ReadError, ReadMode, Watcher, WriteError};
use crate::frct::{Config, Frct};
use crate::oap::{Peering, Tokens};
use crate::types::device::SendError;
use crate::types::qos::QosSpec;
use crate::wire::frct::{Flags, Pci};

/// Bound for calls that must return; a call that hangs, hangs without end.
const BOUND: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Asked {
    ticks: AtomicUsize,
    /// When timers were armed for last.
    armed: Mutex<Option<Instant>>,
}

impl Host for Asked {
    fn arm(&self, at: Instant, _flow: FlowKey) {
        *self.armed.lock() = Some(at);
    }

    fn tick(&self, _flow: FlowKey) {
        self.ticks.fetch_add(1, Ordering::SeqCst);
    }

    fn released(&self, _flow: FlowKey) {}
}

type Behaviour = Box<dyn Fn(&mut Outgoing) -> Result<(), SendError> + Send + Sync>;

type AtFlush = Box<dyn FnOnce(&Wire) + Send>;

/// Sends as the test says, and keeps what was sent.
#[derive(Default)]
struct Wire {
    behaviour: Mutex<Option<Arc<Behaviour>>>,
    sent: Mutex<Vec<Vec<u8>>>,
    /// What was sent waits.
    holds: AtomicBool,
    /// Happens in the next flush.
    at_flush: Mutex<Option<AtFlush>>,
}

impl Wire {
    fn behave(&self, how: impl Fn(&mut Outgoing) -> Result<(), SendError> + Send + Sync + 'static) {
        *self.behaviour.lock() = Some(Arc::new(Box::new(how)));
    }
}

impl Port for Wire {
    fn send(&self, _now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        let behaviour = self.behaviour.lock().clone();
        if let Some(behaviour) = behaviour {
            behaviour(pkts)?;
        }
        self.sent.lock().extend(pkts.iter().map(|p| p.to_vec()));
        Ok(())
    }

    fn flush(&self, _now: Instant) {
        let happens = self.at_flush.lock().take();
        if let Some(happens) = happens {
            happens(self);
        }
    }

    fn is_holding(&self) -> bool {
        self.holds.load(Ordering::SeqCst)
    }

    fn mtu(&self) -> usize {
        1400
    }

    fn release(&self, _now: Instant) {}
}

struct World {
    endpoint: Arc<Endpoint>,
    wire: Arc<Wire>,
    host: Arc<Asked>,
    clock: Arc<ManualClock>,
}

const RAW: QosSpec = QosSpec { ber: 1, ..QosSpec::RAW };
const DATA: QosSpec = QosSpec { ber: 1, ..QosSpec::DATA };

fn world(qos: QosSpec, peering: Option<Peering>) -> World {
    opened(qos, peering, Opening::default())
}

fn opened(qos: QosSpec, peering: Option<Peering>, opening: Opening) -> World {
    let world = idle();
    let now = world.clock.now();
    world.endpoint.activate(now, Arc::clone(&world.wire) as Arc<dyn Port>, params(qos, peering, opening));
    world
}

/// An endpoint that is not active yet.
fn idle() -> World {
    let host = Arc::new(Asked::default());
    let clock = Arc::new(ManualClock::new(0));
    clock.advance_to(Instant::from_millis(1000));
    let env = Env {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        pool: BufPool::new(64),
        host: Arc::clone(&host) as Arc<dyn Host>,
        panics: Arc::default(),
        inline: false,
    };
    let endpoint = Endpoint::new(1, &Arc::new(env));
    let wire = Arc::new(Wire::default());
    World { endpoint, wire, host, clock }
}

fn params(qos: QosSpec, peering: Option<Peering>, opening: Opening) -> Params {
    let config = Config { o7s_peer: peering.is_some(), reliable: qos.is_reliable(), ..Config::default() };
    let frct = qos.has_frct().then(|| Box::new(Frct::new(config, 7)));
    Params { qos, frct, protection: None, peering, rx_limit: 1000, rx_bytes: 4 << 20, meter: None, opening }
}

fn packets(n: usize) -> Vec<PacketBuf> {
    (0..n).map(|i| PacketBuf::copy_of(&[i as u8])).collect()
}

/// Runs `f` on a thread and fails if it does not end.
#[track_caller]
fn within<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (tx, rx) = mpsc::sync_channel(100_000);
    std::thread::spawn(move || {
        let _ = tx.send(f());
    });
    rx.recv_timeout(BOUND).expect("it hangs, or has panicked")
}

// ----- foreign code -----

/// Uses the endpoint whenever it is woken and when it is dropped: a deadlock, if that happens under its lock.
struct Nosy {
    endpoint: Arc<Endpoint>,
    calls: Arc<AtomicUsize>,
}

impl Nosy {
    fn look(&self) {
        let _ = (self.endpoint.state(), self.endpoint.read(&mut [0; 8], ReadMode::Whole));
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.look();
    }
}

impl Watcher for Nosy {
    fn notify(&self, _token: u64, _event: Event) {
        self.look();
    }
}

fn nosy(world: &World, calls: &Arc<AtomicUsize>) -> Arc<Nosy> {
    Arc::new(Nosy { endpoint: Arc::clone(&world.endpoint), calls: Arc::clone(calls) })
}

#[test]
fn no_foreign_code_runs_under_a_lock() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    within(move || {
        let world = world(RAW, None);
        let (e, now) = (&world.endpoint, world.clock.now());
        let (reader, writer, closer) = (e.reader(), e.writer(), e.closer());
        let read = |waker: &Waker| e.poll_read(&reader, waker, &mut [0; 8], ReadMode::Whole);
        // Replaced by another one, woken, and forgotten: the endpoint holds the last of each.
        assert_eq!(read(&Waker::from(nosy(&world, &calls))), Err(ReadError::WouldBlock));
        assert_eq!(read(&Waker::from(nosy(&world, &calls))), Err(ReadError::WouldBlock));
        e.handle_packets(now, packets(1));
        while e.read(&mut [0; 8], ReadMode::Whole).is_ok() {}
        let other = e.reader();
        assert_eq!(
            e.poll_read(&other, &Waker::from(nosy(&world, &calls)), &mut [0; 8], ReadMode::Whole),
            Err(ReadError::WouldBlock)
        );
        drop(other);
        world.wire.behave(|_| Err(SendError::Full));
        assert_eq!(e.poll_write(&writer, &Waker::from(nosy(&world, &calls)), b"x"), Err(WriteError::WouldBlock));
        for _ in 0..2 {
            let watcher: Arc<dyn Watcher> = nosy(&world, &calls);
            e.watch(&watcher, 1);
        }
        assert!(!e.poll_closed(&closer, &Waker::from(nosy(&world, &calls))));
        e.notify_writable();
        e.handle_tick(now);
        e.mark_down(Event::Down);
        e.close(Duration::from_secs(1));
        assert_eq!(e.state(), State::Released);
    });
    assert!(counted.load(Ordering::SeqCst) >= 7, "they have been woken, told and dropped");
}

#[test]
fn a_panicking_waker_does_not_affect_others() {
    struct Bad;

    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("a bug of an executor"));
        }
    }

    impl Watcher for Bad {
        fn notify(&self, _token: u64, _event: Event) {
            std::panic::resume_unwind(Box::new("a bug of a program"));
        }
    }

    let world = world(RAW, None);
    let e = &world.endpoint;
    let (one, two) = (e.reader(), e.reader());
    let calls = Arc::new(AtomicUsize::new(0));
    for (waiter, waker) in [(&one, Waker::from(Arc::new(Bad))), (&two, Waker::from(nosy(&world, &calls)))] {
        assert_eq!(e.poll_read_packet(waiter, &waker).map(drop), Err(ReadError::WouldBlock));
    }
    let watcher: Arc<dyn Watcher> = Arc::new(Bad);
    e.watch(&watcher, 1);
    e.mark_down(Event::Down);
    assert!(calls.load(Ordering::SeqCst) > 0);
    assert_eq!(e.panics().count(), 2);
    assert_eq!(e.read(&mut [0; 8], ReadMode::Whole), Err(ReadError::Down));
}

// ----- waiting -----

#[test]
fn readers_learn_of_the_end_while_another_thread_sends() {
    let world = world(DATA, None);
    let (e, now) = (Arc::clone(&world.endpoint), world.clock.now());
    // A thread answers the peer through a port that takes its time.
    let (entered, is_sending) = mpsc::sync_channel(100_000);
    let (go_on, gate) = mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    world.wire.behave(move |_| {
        let _ = entered.send(());
        let _ = gate.lock().unwrap().recv();
        Ok(())
    });
    let rendezvous = Pci { flags: Flags::RDVS | Flags::DRF, seqno: Seq(100), ..Default::default() };
    let bytes = rendezvous.to_bytes();
    let servicing = {
        let e = Arc::clone(&e);
        std::thread::spawn(move || e.handle_packets(now, [PacketBuf::copy_of(&bytes)]))
    };
    is_sending.recv_timeout(BOUND).unwrap();
    // Meanwhile something arrives that holds nothing to read, and the other end goes.
    e.handle_packets(now, [PacketBuf::copy_of(&rendezvous.to_bytes())]);
    e.mark_down(Event::Down);
    let waiter = e.reader();
    let got = e.poll_read(&waiter, Waker::noop(), &mut [0; 8], ReadMode::Whole);
    assert_eq!(got, Err(ReadError::Down), "whoever reads takes in what has arrived, whoever has the turn");
    drop(go_on);
    servicing.join().unwrap();
}

#[test]
fn any_number_of_waiters_is_woken() {
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let world = world(RAW, None);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let waiters: Vec<_> = (0..5000).map(|_| world.endpoint.reader()).collect();
    for waiter in &waiters {
        for _ in 0..2 {
            let result = world.endpoint.poll_read_packet(waiter, &waker);
            assert_eq!(result.map(drop), Err(ReadError::WouldBlock));
        }
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 0, "nobody is crowded out");
    world.endpoint.mark_down(Event::Down);
    assert_eq!(count.0.load(Ordering::SeqCst), 5000, "each place is woken once");
}

#[test]
fn a_writer_waits_for_a_device_that_is_full() {
    let world = world(RAW, None);
    let e = &world.endpoint;
    world.wire.behave(|_| Err(SendError::Full));
    assert_eq!(e.write(b"x"), Err(WriteError::WouldBlock));
    assert!(!e.is_writable());
    assert!(world.host.ticks.load(Ordering::SeqCst) > 0, "somebody looks again, even if the device does not say");
    world.wire.behave(|_| Ok(()));
    assert_eq!(e.write(b"x"), Err(WriteError::WouldBlock));
    e.notify_writable();
    assert_eq!(e.write(b"x"), Ok(1));
    world.wire.behave(|_| Err(SendError::Full));
    assert_eq!(e.write(b"y"), Err(WriteError::WouldBlock));
    e.handle_tick(world.clock.now());
    world.wire.behave(|_| Ok(()));
    assert_eq!(e.write(b"y"), Ok(1));
    assert_eq!(*world.wire.sent.lock(), vec![b"x".to_vec(), b"y".to_vec()]);
}

/// Towards a peer that hears nothing of the end, a reference: nothing else keeps the flow.
#[test]
fn a_flow_is_released_when_the_layer_has_sent_all_of_it_or_its_time_is_over() {
    for in_time in [true, false] {
        let world = world(RAW, None);
        let e = &world.endpoint;
        world.wire.holds.store(true, Ordering::SeqCst);
        assert_eq!(e.write(b"x"), Ok(1));
        e.close(Duration::from_secs(10));
        e.notify_writable();
        let mut now = world.clock.now() + Duration::from_secs(9);
        e.handle_timeout(now);
        assert_eq!(e.state(), State::Lingering);
        if in_time {
            world.wire.holds.store(false, Ordering::SeqCst);
            e.notify_writable();
        } else {
            now += Duration::from_secs(1);
            e.handle_timeout(now);
        }
        assert_eq!(e.state(), State::Released, "in time: {in_time}");
    }
}

/// Whoever flushes has the last packets in its hands, and began before it was closed.
#[test]
fn a_flow_that_is_closed_during_a_flush_is_released_after_it() {
    let flushes: [fn(&Endpoint, Instant); 3] =
        [|e, _| e.flush(), |e, now| e.handle_tick(now), |e, now| e.handle_timeout(now)];
    for (n, flush) in flushes.into_iter().enumerate() {
        let world = world(RAW, None);
        let e = Arc::clone(&world.endpoint);
        *world.wire.at_flush.lock() = Some(Box::new(move |wire| {
            wire.holds.store(true, Ordering::SeqCst);
            e.close(Duration::from_secs(10));
            assert_eq!(e.state(), State::Lingering);
            wire.holds.store(false, Ordering::SeqCst);
        }));
        flush(&world.endpoint, world.clock.now());
        assert_eq!(world.endpoint.state(), State::Released, "{n}");
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn waiting_beside_unread_packets_costs_no_turns() {
    let world = opened(
        RAW,
        Some(Peering::new(Side::Client, 60_000, &digest(Digest::Sha256, &[b"a request"]))),
        Opening::default(),
    );
    let e = &world.endpoint;
    // More than the application's queue takes, 1000 packets, which nobody reads.
    (0..11).for_each(|_| e.handle_packets(world.clock.now(), packets(100)));
    assert!(e.has_arrivals(), "some wait in front of the queue");
    world.wire.behave(|_| Err(SendError::Full));
    let (woken, writer, closer) = (Arc::new(Woken::default()), e.writer(), e.closer());
    let waker = Waker::from(Arc::clone(&woken));
    let count = || woken.0.swap(0, Ordering::SeqCst);
    assert_eq!(e.poll_write(&writer, &waker, b"x"), Err(WriteError::WouldBlock));
    assert_eq!(e.poll_write(&writer, &waker, b"x"), Err(WriteError::WouldBlock));
    assert_eq!(count(), 0, "it waits for the device, not for packets that only a reader can make room for");
    world.wire.behave(|_| Ok(()));
    e.notify_writable();
    assert_eq!(count(), 1);
    assert_eq!(e.poll_write(&writer, &waker, b"x"), Ok(1));
    world.wire.behave(|_| Err(SendError::Full));
    e.shut();
    assert!(!e.poll_closed(&closer, &waker));
    assert_eq!(count(), 0, "so does who closes");
    // What was left there is taken in by those that read.
    let read = core::iter::from_fn(|| e.read_packet().ok()).count();
    assert_eq!(read, 1100);
}

#[test]
fn a_refused_packet_is_an_error_of_its_write() {
    let world = world(RAW, None);
    for reason in [SendError::Down, SendError::TooLarge] {
        world.wire.behave(move |_| Err(reason));
        assert_eq!(world.endpoint.write(b"x"), Err(WriteError::Refused(reason)));
    }
    world.wire.behave(|_| Ok(()));
    assert_eq!(world.endpoint.write(b"x"), Ok(1));
}

#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Watcher for Told {
    fn notify(&self, _token: u64, event: Event) {
        self.0.lock().push(event);
    }
}

#[test]
fn reliable_flows_retry_and_tell_why_they_gave_up() {
    // Its patience, not the peer's silence, ends it.
    let world = world(QosSpec { timeout: 0, ..DATA }, None);
    let (e, told) = (&world.endpoint, Arc::new(Told::default()));
    let watcher: Arc<dyn Watcher> = Arc::clone(&told) as _;
    e.watch(&watcher, 1);
    world.wire.behave(|_| Err(SendError::Down));
    assert_eq!(e.write(b"x"), Ok(1), "it is the flow's to deliver now");
    assert_eq!(*told.0.lock(), [Event::Impaired]);
    let mut now = world.clock.now();
    while e.write(b"y") == Ok(1) {
        now += Duration::from_secs(1);
        world.clock.advance_to(now);
        e.handle_timeout(now);
        assert!(now < Instant::from_millis(400_000), "it gives up some time");
    }
    assert_eq!(e.write(b"y"), Err(WriteError::Undeliverable(SendError::Down)));
    assert_eq!(e.read(&mut [0; 8], ReadMode::Whole), Err(ReadError::Undeliverable(SendError::Down)));
    assert_eq!(told.0.lock().iter().filter(|e| **e == Event::Impaired).count(), 1, "once, not for each packet");
    assert!(told.0.lock().contains(&Event::Down));
}

#[test]
fn closed_flows_take_no_packets_in() {
    let world = world(RAW, None);
    let e = &world.endpoint;
    // A user is expected, so that what arrives is left to that user.
    assert_eq!(e.read(&mut [0; 8], ReadMode::Whole), Err(ReadError::WouldBlock));
    e.handle_packets(world.clock.now(), packets(300));
    assert_eq!(e.counters().received, 0);
    e.close(Duration::from_secs(1));
    assert_eq!(e.counters().received, 0, "opening what nobody will read is work for nothing");
    assert_eq!(e.state(), State::Released);
}

#[test]
fn packets_leave_in_the_order_in_which_they_were_sealed() {
    let world = world(RAW, None);
    let e = Arc::clone(&world.endpoint);
    // A second thread writes while the first is inside of the port, which is where the first used to be overtaken.
    let (inside, is_inside) = mpsc::sync_channel(100_000);
    let (go_on, gate) = mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    world.wire.behave(move |pkts| {
        if pkts.iter().any(|p| p[..] == *b"first") {
            let _ = inside.send(());
            let _ = gate.lock().unwrap().recv();
        }
        Ok(())
    });
    let first = {
        let e = Arc::clone(&e);
        std::thread::spawn(move || e.write(b"first"))
    };
    is_inside.recv_timeout(BOUND).unwrap();
    assert_eq!(e.write(b"second"), Ok(6));
    assert_eq!(e.write(b"third"), Ok(5));
    drop(go_on);
    assert_eq!(first.join().unwrap(), Ok(5));
    assert_eq!(*world.wire.sent.lock(), vec![b"first".to_vec(), b"second".to_vec(), b"third".to_vec()]);
}

#[test]
fn senders_wait_behind_a_stuck_sending_thread() {
    let world = world(RAW, None);
    let e = Arc::clone(&world.endpoint);
    let (inside, is_inside) = mpsc::sync_channel(100_000);
    let (go_on, gate) = mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    world.wire.behave(move |_| {
        let _ = inside.send(());
        let _ = gate.lock().unwrap().recv();
        Ok(())
    });
    let stuck = {
        let e = Arc::clone(&e);
        std::thread::spawn(move || e.write(b"x"))
    };
    is_inside.recv_timeout(BOUND).unwrap();
    let taken = (0..10_000).take_while(|_| e.write(b"y").is_ok()).count();
    assert!(taken < 100, "{taken} packets wait for a thread that is stuck");
    assert_eq!(e.write(b"y"), Err(WriteError::WouldBlock));
    drop(go_on);
    assert_eq!(stuck.join().unwrap(), Ok(1));
    assert_eq!(world.wire.sent.lock().len(), 1 + taken);
    assert!(e.is_writable());
}

#[test]
fn all_events_reach_the_watcher() {
    for (event, as_told) in
        [(Event::Down, Event::Down), (Event::Deallocated, Event::Deallocated), (Event::PeerGone, Event::PeerGone)]
    {
        let world = world(RAW, None);
        let told = Arc::new(Told::default());
        let watcher: Arc<dyn Watcher> = Arc::clone(&told) as _;
        world.endpoint.watch(&watcher, 1);
        world.endpoint.mark_down(event);
        world.endpoint.mark_down(event);
        assert_eq!(*told.0.lock(), [as_told]);
        let late = Arc::new(Told::default());
        let watcher: Arc<dyn Watcher> = Arc::clone(&late) as _;
        world.endpoint.watch(&watcher, 1);
        assert_eq!(*late.0.lock(), [as_told], "whoever comes late is told");
    }
}

#[test]
fn writability_is_reported_after_a_refused_write() {
    let world = world(RAW, None);
    let (e, told) = (&world.endpoint, Arc::new(Told::default()));
    let watcher: Arc<dyn Watcher> = Arc::clone(&told) as _;
    e.watch(&watcher, 1);
    e.notify_writable();
    assert!(told.0.lock().is_empty(), "nobody has asked");
    world.wire.behave(|_| Err(SendError::Full));
    assert_eq!(e.write(b"x"), Err(WriteError::WouldBlock));
    assert_eq!(e.write(b"x"), Err(WriteError::WouldBlock));
    world.wire.behave(|_| Ok(()));
    e.notify_writable();
    e.notify_writable();
    assert_eq!(*told.0.lock(), [Event::Writable], "once, at the edge");
}

// ----- the beginning -----

#[test]
fn greetings_are_sent_by_readers_that_have_not_written() {
    let greet = || opened(RAW, None, Opening { greet: true, ..Opening::default() });
    let waits = greet();
    assert_eq!(waits.wire.sent.lock().len(), 0, "nobody waits yet");
    for _ in 0..3 {
        assert_eq!(waits.endpoint.read(&mut [0; 8], ReadMode::Whole), Err(ReadError::WouldBlock));
    }
    assert_eq!(*waits.wire.sent.lock(), [vec![0; 0]], "one keepalive");
    waits.clock.advance_to(Instant::from_millis(1300));
    waits.endpoint.handle_timeout(waits.clock.now());
    assert_eq!(*waits.wire.sent.lock(), [vec![0; 0], vec![]], "another one, as nothing was heard");

    let writes = greet();
    writes.endpoint.write(b"x").unwrap();
    assert_eq!(writes.endpoint.read(&mut [0; 8], ReadMode::Whole), Err(ReadError::WouldBlock));
    assert_eq!(*writes.wire.sent.lock(), [b"x".to_vec()]);
    writes.clock.advance_to(Instant::from_millis(1300));
    writes.endpoint.handle_timeout(writes.clock.now());
    assert_eq!(*writes.wire.sent.lock(), [b"x".to_vec(), vec![]], "what was written may be lost");
    writes.endpoint.handle_packets(writes.clock.now(), [PacketBuf::with_capacity(0)]);
    for ms in (1300..9000).step_by(100) {
        writes.clock.advance_to(Instant::from_millis(ms));
        writes.endpoint.handle_timeout(writes.clock.now());
        let _ = writes.endpoint.read(&mut [0; 8], ReadMode::Whole);
    }
    assert_eq!(writes.wire.sent.lock().len(), 2, "it was answered");
}

// ----- the end -----

#[test]
fn nothing_is_sent_to_a_peer_that_is_gone() {
    for open in [true, false] {
        // Of a flow whose retransmission outlives the peer's silence, so that only that ends it.
        let w = world(QosSpec { timeout: 20_000, ..DATA }, None);
        let e = &w.endpoint;
        e.write(b"x").unwrap();
        if !open {
            // The peer has it, and no room for more.
            let flags = Flags::ACK | Flags::FC;
            let shut = Pci { flags, window: 8, seqno: Seq(0), ackno: Seq(8) };
            e.handle_packets(w.clock.now(), [PacketBuf::copy_of(&shut.to_bytes())]);
        }
        e.write(b"y").unwrap();
        let mut now = w.clock.now();
        let mut advance = |ms: u64| {
            for _ in 0..ms / 100 {
                now += Duration::from_millis(100);
                w.clock.advance_to(now);
                e.handle_timeout(now);
            }
            w.wire.sent.lock().len()
        };
        let before = advance(25_000);
        assert!(before > 5, "it asked and repeated while there was hope: {before}");
        assert!(e.is_peer_gone() && e.state() == State::Active, "{open}");
        assert_eq!(e.write(b"z"), Err(WriteError::PeerGone));
        assert_eq!(advance(3_600_000), before, "{open}: the peer is gone");
        assert!(e.inner.lock().pipe.is_drained(), "nor is kept what nobody will have");
        assert_eq!(e.inner.lock().next_deadline(), None, "{open}: there is nothing to come back for");
    }
}

#[test]
fn crossing_closes_are_heard_from_unread_notices() {
    let peering = Peering::new(Side::Client, 60_000, &digest(Digest::Sha256, &[b"a request"]));
    let Tokens { own: own_token, peer: peer_token } = peering.tokens();
    let said = |token: [u8; 16], byte: u8| [&token[..], &[byte]].concat();
    let w = world(RAW, Some(peering));
    // A user who has just written is expected to come and look.
    w.endpoint.write(b"x").unwrap();
    w.endpoint.handle_packets(w.clock.now(), [PacketBuf::copy_of(b"y"), PacketBuf::copy_of(&said(peer_token, 1))]);
    assert!(w.endpoint.has_arrivals(), "it is left to the user");
    w.endpoint.close(Duration::from_secs(5));
    assert_eq!(*w.wire.sent.lock(), [b"x".to_vec(), said(own_token, 3)], "that it closes too goes without saying");
    assert_eq!(w.endpoint.state(), State::Released);
}

#[test]
fn an_unsent_close_does_not_answer_a_close() {
    let peering = Peering::new(Side::Server, 60_000, &digest(Digest::Sha256, &[b"a request"]));
    let Tokens { own: own_token, peer: peer_token } = peering.tokens();
    let said = |token: [u8; 16], byte: u8| [&token[..], &[byte]].concat();
    let w = opened(RAW, Some(peering), Opening { allowance: Some(0), ..Opening::default() });
    w.endpoint.close(Duration::from_secs(5));
    assert_eq!(w.wire.sent.lock().len(), 0, "the peer was not heard yet");
    w.endpoint.handle_packets(w.clock.now(), [PacketBuf::copy_of(&said(peer_token, 1))]);
    assert_eq!(*w.wire.sent.lock(), [said(own_token, 3)]);
}

/// A thread that has taken packets out of the flow is waited for before what is below ends, but not without end.
#[test]
fn what_another_thread_is_sending_is_waited_for() {
    let w = world(RAW, None);
    let (endpoint, now) = (Arc::clone(&w.endpoint), w.clock.now());
    let (held, holds) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel::<()>();
    let go_on = Mutex::new(go_on);
    w.wire.behave(move |_| {
        held.send(()).unwrap();
        let _ = go_on.lock().recv_timeout(BOUND);
        Ok(())
    });
    let sends = std::thread::spawn(move || endpoint.write(b"in hand").map(drop));
    holds.recv_timeout(BOUND).unwrap();
    w.endpoint.finish_sending(now);
    assert!(w.wire.sent.lock().is_empty(), "the time is over");
    let (endpoint, wire) = (Arc::clone(&w.endpoint), Arc::clone(&w.wire));
    let waits = std::thread::spawn(move || {
        endpoint.finish_sending(now + BOUND);
        wire.sent.lock().len()
    });
    std::thread::sleep(Duration::from_millis(20));
    let_go.send(()).unwrap();
    sends.join().unwrap().unwrap();
    assert_eq!(waits.join().unwrap(), 1, "it has been sent");
    w.endpoint.finish_sending(now + BOUND);
}

#[test]
fn leaving_during_a_send_tells_the_peer() {
    for (qos, orderly, word) in [(RAW, true, 1), (RAW, false, 2), (DATA, false, 2)] {
        let peering = Peering::new(Side::Client, 60_000, &digest(Digest::Sha256, &[b"a request"]));
        let own_token = peering.tokens().own;
        let w = world(qos, Some(peering));
        let endpoint = Arc::clone(&w.endpoint);
        // As another thread would, while this one passes packets to the port.
        let left = AtomicUsize::new(0);
        w.wire.behave(move |_| {
            if left.fetch_add(1, Ordering::SeqCst) == 0 {
                endpoint.write(b"y").unwrap();
                if orderly { endpoint.leave() } else { endpoint.abort() }
            }
            Ok(())
        });
        w.endpoint.write(b"x").unwrap();
        assert_eq!(w.endpoint.state(), State::Released);
        let sent = w.wire.sent.lock();
        let told = |p: &Vec<u8>| p.ends_with(&[word]) && (qos == DATA || p.starts_with(&own_token));
        assert!(sent.iter().any(told), "{qos:?}: {sent:?}");
        assert!(qos == DATA || sent.first().is_some_and(|p| p == b"y"), "{qos:?}: {sent:?}");
    }
}

#[test]
fn the_last_keepalive_interval_counts() {
    let of = |timeout| world(QosSpec { timeout, ..QosSpec::RAW }, None);
    assert_eq!(of(0).endpoint.keepalive_interval(), None);
    let world = of(8000);
    let [timeout, said, least] = [2000, 250, 10].map(Duration::from_millis);
    assert_eq!(world.endpoint.keepalive_interval(), Some(timeout), "a quarter of the timeout");
    world.endpoint.set_patience(world.clock.now(), timeout, said);
    assert_eq!(world.endpoint.keepalive_interval(), Some(said));
    world.endpoint.set_patience(world.clock.now(), least, Duration::from_millis(1));
    assert_eq!(world.endpoint.keepalive_interval(), Some(least));
}
