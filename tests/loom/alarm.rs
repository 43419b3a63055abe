//! The alarm of a member: whatever it is set to, and by whom, it rings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use loom::sync::Mutex;
use loom::thread;
use o7s::base::time::Instant;
use o7s::ipcp::Alarm;
use o7s::node::{Node, Parts};

use super::Still;

/// A plain flag: only the thread that polls the node looks at it.
struct Rung(AtomicBool);

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A member with something to do at two moments.
struct Member {
    node: Arc<Node>,
    alarm: Arc<dyn Alarm>,
    rung: Arc<Rung>,
    /// Under a lock, as an alarm demands.
    jobs: Mutex<[bool; 2]>,
}

const MOMENTS: [Instant; 2] = [Instant::from_nanos(10), Instant::from_nanos(20)];

impl Member {
    fn new() -> Arc<Self> {
        let node = Node::new(Parts::for_tests(Arc::new(Still)));
        let rung = Arc::new(Rung(AtomicBool::new(false)));
        let alarm = node.alarm(Waker::from(Arc::clone(&rung)));
        Arc::new(Self { node, alarm, rung, jobs: Mutex::new([false; 2]) })
    }

    fn add(&self, job: usize) {
        self.jobs.lock().unwrap()[job] = true;
        self.alarm.set(MOMENTS[job]);
    }

    /// Does what is due, if the alarm has rung. `false` if not.
    fn poll(&self, now: Instant) -> bool {
        self.node.poll(now);
        let rung = self.rung.0.swap(false, Ordering::SeqCst);
        if rung {
            self.alarm.rang();
            let next = {
                let mut jobs = self.jobs.lock().unwrap();
                jobs.iter_mut().zip(MOMENTS).filter(|(_, at)| *at <= now).for_each(|(job, _)| *job = false);
                jobs.iter().zip(MOMENTS).find(|(job, _)| **job).map(|(_, at)| at)
            };
            if let Some(at) = next {
                self.alarm.set(at);
            }
        }
        rung
    }
}

#[test]
fn alarms_ring_in_any_order_of_setters() {
    super::check(|| {
        let member = Member::new();
        let setters: Vec<_> = (0..2)
            .map(|job| {
                let member = Arc::clone(&member);
                thread::spawn(move || member.add(job))
            })
            .collect();
        member.poll(MOMENTS[0]);
        for setter in setters {
            setter.join().unwrap();
        }
        while member.poll(MOMENTS[1]) {}
        assert_eq!(*member.jobs.lock().unwrap(), [false; 2], "something to do, and no alarm");
    });
}
