//! Why a simulation cannot go on.

use core::fmt;
use core::time::Duration;

use super::trace::{Digest, Event};
use crate::base::time::Instant;

/// What keeps a simulation from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StuckReason {
    /// The future is not done and nothing can ever happen again: no task is runnable, nothing is in flight, nobody
    /// sleeps and no host has a deadline.
    Deadlock,
    /// So many tasks and hosts were polled without time getting on.
    Livelock {
        /// Polls at the same moment.
        polls: u64,
    },
    /// The future was not done after the [time limit](super::Network::set_time_limit).
    TimeLimit(Duration),
}

/// A simulation that cannot go on; its text is a report of what everybody is waiting for.
#[derive(Clone, Debug)]
pub struct Stuck {
    pub(super) reason: StuckReason,
    pub(super) seed: u64,
    pub(super) at: Instant,
    pub(super) digest: Digest,
    /// Where the tasks were spawned that are not finished.
    pub(super) tasks: Vec<String>,
    /// Who was polled last.
    pub(super) busy: Vec<String>,
    pub(super) sleeping: usize,
    pub(super) in_flight: usize,
    pub(super) hosts: Vec<String>,
    pub(super) events: Vec<Event>,
}

impl Stuck {
    /// What keeps it from going on.
    pub fn reason(&self) -> StuckReason {
        self.reason
    }

    /// When, in virtual time.
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
