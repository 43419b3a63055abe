use std::cmp::Ordering::{Greater, Less};
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;
use crate::base::sync::Mutex;
use crate::base::time::ManualClock;
use crate::ipcp::{Attempt, Info, Kind, Lookup, RegisterError, Request, RequestError};
use crate::types::name::NameHash;
use crate::types::tree::Tree;

/// A shim that has one packet for each receive, and panics where it is told to.
struct Stub {
    info: Info,
    panics_in: &'static str,
    received: AtomicUsize,
    waited: AtomicUsize,
    handled: AtomicUsize,
    packets: usize,
    /// Called by each receive.
    on_receive: Mutex<Vec<Waker>>,
    panics: Arc<Panics>,
}

impl Stub {
    fn at(&self, place: &str) {
        if self.panics_in == place {
            std::panic::resume_unwind(Box::new("a bug of a shim"));
        }
    }
}

impl Ipcp for Stub {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, _: Instant, _: NameHash) -> Result<(), RegisterError> {
        Ok(())
    }

    fn unregister(&self, _: Instant, _: &NameHash) {}

    fn lookup(&self, _: Instant, _: &NameHash, _: &Waker) -> Lookup {
        Lookup::Unknown
    }

    fn request(&self, _: Instant, _: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        Err(RequestError::Unknown)
    }

    fn shutdown(&self, _: Instant) {}

    fn rib(&self, _: Instant) -> Tree {
        Tree::new("stub")
    }
}

impl Shim for Stub {
    type Receiver = ();

    fn receiver(&self) {}

    fn receive(&self, _: Instant, (): &mut ()) -> usize {
        self.received.fetch_add(1, Ordering::SeqCst);
        self.at("receive");
        self.panics.wake_all(self.on_receive.lock().drain(..));
        self.packets
    }

    fn handle_management(&self) {
        self.handled.fetch_add(1, Ordering::SeqCst);
        self.at("handle_management");
    }

    fn wait(&self, _: Duration) {
        self.waited.fetch_add(1, Ordering::SeqCst);
        self.at("wait");
    }

    fn interrupt(&self) {
        self.at("interrupt");
    }

    fn guard(&self, _: Duration) {
        self.at("guard");
    }

    fn dismiss(&self) {
        self.at("dismiss");
    }

    fn is_down(&self) -> bool {
        false
    }
}

fn looped(panics_in: &'static str, packets: usize) -> (Arc<ReceiveLoop<Stub>>, Arc<Panics>) {
    let (stub, _) = looped_at(panics_in, packets);
    let panics = Arc::clone(&stub.panics);
    (stub, panics)
}

fn looped_at(panics_in: &'static str, packets: usize) -> (Arc<ReceiveLoop<Stub>>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(0));
    let panics = Arc::new(Panics::default());
    let stub = Stub {
        info: Info::new(Kind::Custom("stub"), "stub", "stub"),
        panics_in,
        received: AtomicUsize::new(0),
        waited: AtomicUsize::new(0),
        handled: AtomicUsize::new(0),
        packets,
        on_receive: Mutex::default(),
        panics: Arc::clone(&panics),
    };
    let time: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    (ReceiveLoop::new(&time, &panics, |_| Arc::new(stub)), clock)
}

fn counts(of: &ReceiveLoop<Stub>) -> [usize; 3] {
    let stub = &of.shim;
    [&stub.received, &stub.waited, &stub.handled].map(|count| count.load(Ordering::SeqCst))
}

const LONG: Duration = Duration::from_secs(1);

#[test]
fn a_leader_waits_only_if_nothing_has_arrived_and_it_is_not_woken() {
    for (packets, wait, woken, expected) in [
        (1, LONG, false, [1, 0, 1]),
        (0, LONG, false, [2, 1, 1]),
        (0, LONG, true, [1, 0, 1]),
        (0, Duration::ZERO, false, [1, 0, 1]),
    ] {
        let (stub, _) = looped("", packets);
        assert!(stub.drive(wait, &AtomicBool::new(woken)));
        assert_eq!(counts(&stub), expected);
    }
}

#[test]
fn one_thread_at_a_time_receives() {
    let (stub, _) = looped("", 1);
    let leader = stub.lead.begin(Instant::ZERO).unwrap();
    assert!(!stub.poll(Instant::ZERO) && !stub.drive(LONG, &AtomicBool::new(false)));
    stub.lead.end(leader);
    assert!(stub.poll(Instant::ZERO));
}

#[test]
fn panics_of_a_shim_are_counted_and_give_the_device_back() {
    for place in ["receive", "handle_management", "wait", "guard", "interrupt", "dismiss"] {
        let (stub, panics) = looped(place, 0);
        let led = stub.drive(LONG, &AtomicBool::new(false));
        let guarded = stub.guard(LONG);
        stub.interrupt();
        Attended::dismiss(&*stub);
        assert!(panics.count() > 0, "{place}");
        assert_eq!(led, !["receive", "handle_management", "wait"].contains(&place), "{place}");
        assert_eq!(guarded, !["receive", "handle_management", "guard"].contains(&place), "{place}");
        assert!(stub.lead.borrow().is_some(), "{place}");
    }
}

#[test]
fn shims_lead_back_to_their_receive_loop() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(0));
    let mut back = None;
    let looped = ReceiveLoop::new(&clock, &Arc::default(), |device| {
        assert!(device.upgrade().is_none(), "it is not complete yet");
        back = Some(device);
        Arc::clone(&looped("", 1).0.shim)
    });
    let device = back.unwrap().upgrade().unwrap();
    assert!(device.drive(LONG, &AtomicBool::new(false)));
    assert_eq!(counts(&looped), [1, 0, 1]);
}

/// The mark of the thread that leads.
#[derive(Default)]
struct Mark(AtomicBool);

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Absences are 10 ms long from now on; the last one ends with the next [`Drive::drive`].
fn stay_away(of: &ReceiveLoop<Stub>, clock: &ManualClock) {
    for _ in 0..3 {
        of.lead.begin(clock.now()).into_iter().for_each(|device| of.lead.end(device));
        of.leave();
        clock.advance_to(clock.now() + Duration::from_millis(10));
    }
}

#[test]
fn the_device_is_handed_over_if_others_are_reached_through_it() {
    // The leader's own waker does not count.
    for (own, others, reached) in [(false, 0, false), (true, 0, false), (true, 1, true), (false, 1, true)] {
        let (stub, clock) = looped_at("", 1);
        let mark = Arc::new(Mark::default());
        stay_away(&stub, &clock);
        let wakers = own.then(|| Waker::from(Arc::clone(&mark)));
        stub.shim.on_receive.lock().extend(wakers.into_iter().chain((0..others).map(|_| Waker::noop().clone())));
        for _ in 0..8 {
            stub.lead.note(false);
        }
        let before = stub.lead.credit.load(Ordering::Relaxed);
        assert!(stub.drive(LONG, &mark.0));
        assert_eq!(
            stub.lead.credit.load(Ordering::Relaxed).cmp(&before),
            if reached { Greater } else { Less },
            "own {own}, others {others}"
        );
        // After a short absence nothing is learned.
        let before = stub.lead.credit.load(Ordering::Relaxed);
        assert!(stub.drive(LONG, &mark.0));
        assert_eq!(stub.lead.credit.load(Ordering::Relaxed), before);
    }
}

#[test]
fn the_standby_learns_whom_it_reaches() {
    let (stub, _) = looped("", 1);
    for (others, expected) in [(0, Less), (1, Greater), (0, Less)] {
        stub.shim.on_receive.lock().extend((0..others).map(|_| Waker::noop().clone()));
        let before = stub.lead.credit.load(Ordering::Relaxed);
        assert!(stub.guard(LONG));
        assert_eq!(stub.lead.credit.load(Ordering::Relaxed).cmp(&before), expected);
    }
    let leader = stub.lead.begin(Instant::ZERO).unwrap();
    let before = stub.lead.credit.load(Ordering::Relaxed);
    assert!(stub.guard(LONG));
    assert_eq!(stub.lead.credit.load(Ordering::Relaxed).cmp(&before), Less, "the leader is back");
    stub.lead.end(leader);
}
