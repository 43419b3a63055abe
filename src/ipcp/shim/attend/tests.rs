use std::sync::atomic::AtomicUsize;

use super::*;
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
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(0));
    let panics = Arc::new(Panics::default());
    let stub = Stub {
        info: Info::new(Kind::Custom("stub"), "stub", "stub"),
        panics_in,
        received: AtomicUsize::new(0),
        waited: AtomicUsize::new(0),
        handled: AtomicUsize::new(0),
        packets,
    };
    (ReceiveLoop::new(&clock, &panics, |_| Arc::new(stub)), panics)
}

fn counts(of: &ReceiveLoop<Stub>) -> [usize; 3] {
    let stub = of.shim();
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
        Arc::clone(looped("", 1).0.shim())
    });
    let device = back.unwrap().upgrade().unwrap();
    assert!(device.drive(LONG, &AtomicBool::new(false)));
    assert_eq!(counts(&looped), [1, 0, 1]);
}
