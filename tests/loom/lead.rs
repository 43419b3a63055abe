//! Lead over a device: sleeping threads are woken, in whatever order two threads see each other's changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use loom::thread;
use o7s::base::time::Instant;
use o7s::ipcp::shim::{Lead, Turn};

/// A plain flag: what the wake-up itself says need not be reordered.
struct Told(AtomicBool);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn standby() -> (Arc<Told>, Waker) {
    let told = Arc::new(Told(AtomicBool::new(false)));
    (Arc::clone(&told), Waker::from(told))
}

fn at(micros: u64) -> Instant {
    Instant::from_nanos(micros * 1000)
}

/// The standby sleeps only while another thread leads, which then wakes it.
#[test]
fn a_sleeping_standby_is_woken() {
    loom::model(|| {
        let lead = Arc::new(Lead::new(()));
        let leads = Arc::clone(&lead);
        let leader = thread::spawn(move || {
            if let Some(device) = leads.begin(at(1)) {
                leads.end(device);
            }
        });
        let (told, me) = standby();
        let turn = lead.turn(at(10_000), &me);
        leader.join().unwrap();
        assert!(turn != Turn::Sleep || told.0.load(Ordering::SeqCst), "it sleeps and no thread leads");
    });
}

/// The standby rests only if the leader has not gone back to its own work, or is told when it does.
#[test]
fn a_resting_standby_is_told_of_a_long_absence() {
    loom::model(|| {
        let lead = Arc::new(Lead::new(()));
        // It is known for long absences.
        for i in 0..3 {
            let device = lead.begin(at(i * 10_000)).unwrap();
            lead.end(device);
            lead.leave(at(i * 10_000 + 1));
        }
        let leads = Arc::clone(&lead);
        let leader = thread::spawn(move || {
            let Some(device) = leads.begin(at(40_000)) else { return };
            leads.end(device);
            leads.leave(at(40_001));
        });
        let (told, me) = standby();
        let turn = lead.turn(at(40_002), &me);
        leader.join().unwrap();
        let told = told.0.load(Ordering::SeqCst);
        assert!(turn == Turn::Guard || told, "{turn:?}, and no thread serves the device");
    });
}
