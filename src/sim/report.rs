//! Report on a simulation that cannot go on.

use core::fmt;
use core::time::Duration;

use super::trace::{Digest, Event};
use crate::base::time::Instant;

/// Reasons for a simulation to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StuckReason {
    /// The future is not done and nothing can ever happen again: no task is runnable, nothing is in flight, no task
    /// sleeps and no host has a deadline.
    Deadlock,
    /// This many tasks and hosts were polled while time stood still.
    Livelock {
        /// Polls at the same moment.
        polls: u64,
    },
    /// The future was not done after the [time limit](super::Network::set_time_limit).
    TimeLimit(Duration),
}

/// A simulation that cannot go on; its text is a report of all pending waits.
#[derive(Clone, Debug)]
pub struct Stuck {
    pub(super) reason: StuckReason,
    pub(super) seed: u64,
    pub(super) at: Instant,
    pub(super) digest: Digest,
    /// Places where the unfinished tasks were spawned.
    pub(super) tasks: Vec<String>,
    /// Tasks and hosts polled last.
    pub(super) busy: Vec<String>,
    pub(super) sleeping: usize,
    pub(super) in_flight: usize,
    pub(super) hosts: Vec<String>,
    pub(super) events: Vec<Event>,
}

impl Stuck {
    /// Returns the reason.
    pub fn reason(&self) -> StuckReason {
        self.reason
    }

    /// Returns the virtual time.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The lines of a list, the first few of them.
    fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, items: &[T]) -> fmt::Result {
        const MOST: usize = 16;
        if items.is_empty() {
            return Ok(());
        }
        write!(f, "\n{title}:")?;
        for item in items.iter().take(MOST) {
            write!(f, "\n  {item}")?;
        }
        if items.len() > MOST {
            write!(f, "\n  and {} more", items.len() - MOST)?;
        }
        Ok(())
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            StuckReason::Deadlock => write!(f, "deadlock: nothing can ever happen again")?,
            StuckReason::Livelock { polls } => write!(f, "livelock: {polls} polls and time does not get on")?,
            StuckReason::TimeLimit(limit) => write!(f, "not done after {limit:?} of virtual time")?,
        }
        write!(f, " (seed {}, time {:?}, digest {})", self.seed, self.at, self.digest)?;
        write!(f, "\n{} datagrams in flight, {} sleeping", self.in_flight, self.sleeping)?;
        Self::list(f, "hosts", &self.hosts)?;
        Self::list(f, "unfinished tasks, by where they were spawned", &self.tasks)?;
        Self::list(f, "polled last", &self.busy)?;
        Self::list(f, "last events", &self.events)
    }
}

impl std::error::Error for Stuck {}
