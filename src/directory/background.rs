//! Background lookups: to publish, to replicate, to withdraw, to refresh buckets. So many a second begin, and so many
//! run at a time.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use super::lookup::Purpose;
use super::rate::Rate;
use super::requests::Kind;
use super::{Directory, Limits, Task};
use crate::base::time::Instant;
use crate::types::name::NameHash;

/// The shortest pause after too many lookups.
const REST: Duration = Duration::from_millis(50);

/// Purpose of a background lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// Towards a name that is registered here, to store it.
    Publish(NameHash),
    /// Towards a name that is kept here, to store it.
    Replicate(NameHash),
    /// Towards a name that was registered here, to take it back from those who got it from others.
    Withdraw(NameHash),
    /// Towards an id, to get to know the members there.
    Refresh(NameHash),
}

/// Queue of background lookups, each once.
#[derive(Debug)]
pub(super) struct Background {
    queue: VecDeque<Job>,
    queued: BTreeSet<Job>,
    /// Rate at which they begin.
    beginning: Rate,
    /// A timer for them is armed.
    pub(super) resting: bool,
}

impl Background {
    pub(super) fn new(now: Instant, limits: &Limits) -> Self {
        let beginning = Rate::new(now, limits.background_per_second);
        Self { queue: VecDeque::new(), queued: BTreeSet::new(), beginning, resting: false }
    }

    /// Lookups that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Adds one behind all others, unless it waits already.
    pub(super) fn push(&mut self, job: Job) {
        if self.queued.insert(job) {
            self.queue.push_back(job);
        }
    }

    /// Adds one before all others, unless it waits already.
    fn push_first(&mut self, job: Job) {
        if self.queued.insert(job) {
            self.queue.push_front(job);
        }
    }

    fn pop(&mut self) -> Option<Job> {
        let job = self.queue.pop_front()?;
        self.queued.remove(&job);
        Some(job)
    }
}

impl Directory {
    /// Looks for an id when there is time.
    pub(super) fn look(&mut self, key: NameHash) {
        // A member that has just joined has to know its neighbours before anything is stored at the closest.
        self.background.push_first(Job::Refresh(key));
    }

    /// Begins background lookups, as many as are allowed.
    pub(super) fn begin_background(&mut self, now: Instant) {
        while self.background.len() > 0
            && !self.background.resting
            && self.lookups.of(Kind::Node) < self.config.limits.background.max(1)
        {
            if !self.background.beginning.take(now) {
                // At hundreds of lookups a second a timer for each would cost more than it evens out.
                let next = self.background.beginning.next().max(now + REST);
                self.timers.arm(next, Task::Rest);
                self.background.resting = true;
                break;
            }
            let Some(job) = self.background.pop() else { break };
            let (key, purpose) = match job {
                Job::Publish(key) => (key, Purpose { publish: true, ..Purpose::default() }),
                Job::Replicate(key) => (key, Purpose { replicate: true, ..Purpose::default() }),
                Job::Withdraw(key) => (key, Purpose { withdraw: true, ..Purpose::default() }),
                Job::Refresh(key) => (key, Purpose::default()),
            };
            self.begin_lookup(now, Kind::Node, key, purpose);
        }
    }
}
