//! Lookups under way: tasks that wait for a shim to know a name ask again after a pause, so that it can repeat its query.

use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::task::Waker;
use core::time::Duration;

use crate::base::foreign::Panics;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::ipcp::Alarm;
use crate::ipcp::shim::MakeAlarm;

/// Pause between two lookups of a task.
const PAUSE: Duration = Duration::from_millis(250);
/// Tasks that ask again; further ones are woken by the shim alone.
const MAX_TASKS: usize = 64;

/// The tasks that wait.
pub(super) struct Pending {
    tasks: Mutex<Vec<Waker>>,
    alarm: Arc<dyn Alarm>,
    panics: Arc<Panics>,
}

impl Pending {
    pub(super) fn new(alarms: &MakeAlarm, panics: &Arc<Panics>) -> Arc<Self> {
        Arc::new_cyclic(|me: &Weak<Self>| Self {
            tasks: Mutex::default(),
            alarm: alarms(Waker::from(Arc::new(Ring(Weak::clone(me))))),
            panics: Arc::clone(panics),
        })
    }

    /// Has a task ask again.
    pub(super) fn wait(&self, now: Instant, task: &Waker) {
        // Made and dropped where no lock is held: a waker is code of others.
        let mut kept = Some(task.clone());
        {
            let mut tasks = self.tasks.lock();
            if tasks.len() < MAX_TASKS && !tasks.iter().any(|other| other.will_wake(task)) {
                tasks.extend(kept.take());
            }
        }
        self.panics.discard(kept);
        self.alarm.set(now + PAUSE);
    }

    fn ring(&self) {
        self.alarm.rang();
        self.wake_all();
    }

    /// Has all of them ask now.
    pub(super) fn wake_all(&self) {
        let tasks = core::mem::take(&mut *self.tasks.lock());
        self.panics.wake_all(tasks);
    }
}

/// Wakes the tasks when the alarm rings.
struct Ring(Weak<Pending>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        if let Some(pending) = self.0.upgrade() {
            pending.ring();
        }
    }
}
