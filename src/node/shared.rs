//! State shared by all parts of a node: time, randomness, limits, counters.
//!
//! # The order of locks
//!
//! Each part locks only what it owns, for bounded work, and never while it calls another part, another room, a waker or a
//! handler. So no two of these locks are held at once, but for those of one part, as of `layers`, which takes them in the order
//! of [`order`]. Debug builds [check](crate::base::sync::Ordered) it. Those of other rooms have lower numbers: to take one of
//! them with one of these held is told, too.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use super::limits::Limits;
use crate::base::counter::counters;
use crate::base::foreign::Panics;
use crate::base::rng::{Fresh, Randomness, Rng};
use crate::base::sync::{Mutex, Ordered};
use crate::base::time::Instant;
use crate::crypto::backend::Backend;
use crate::flow::Env;

mod onlookers;

pub(super) use self::onlookers::Onlookers;
pub use self::onlookers::{KeyReader, KeySink};

/// The locks of a node, in the order in which they are taken.
pub(super) mod order {
    /// Names: the acceptors of flows.
    pub(in crate::node) const IRM: u8 = 32;
    /// Names: the protection of those that have no settings of their own.
    pub(in crate::node) const SECURITY: u8 = 33;
    /// Names: the gates of the program.
    pub(in crate::node) const GATES: u8 = 36;
    /// Names: requests that have been seen.
    pub(in crate::node) const REPLAY: u8 = 34;
    /// Names: replies that can be sent again.
    pub(in crate::node) const ANSWERED: u8 = 35;
    /// Names: who is refused too often to be answered.
    pub(in crate::node) const PATIENCE: u8 = 37;
    /// Layers: the IPCPs.
    pub(in crate::node) const LAYERS: u8 = 40;
    /// Layers: IPCPs that are being left.
    pub(in crate::node) const RETIRING: u8 = 41;
    /// Allocations: those whose requests are waited for although they have been given up.
    pub(in crate::node) const LATE: u8 = 42;
    /// Allocations: the requests that one has left behind.
    pub(in crate::node) const LEFT: u8 = 43;
    /// Flows: the endpoints.
    pub(in crate::node) const FLOWS: u8 = 44;
    /// Flows: those whose peer has not been heard.
    pub(in crate::node) const SILENT: u8 = 45;
    /// Flows: what the flows of each peer are charged to.
    pub(in crate::node) const METERS: u8 = 46;
    /// Flows: the settings that those of one kind share.
    pub(in crate::node) const SHARED_PARAMS: u8 = 47;
    /// Flows: replies to hosts that have not shown their addresses.
    pub(in crate::node) const OWED: u8 = 49;
    /// Tasks: the thread that polls them.
    pub(in crate::node) const RUNNER: u8 = 48;
    /// Timers: an IPCP's alarm.
    pub(in crate::node) const ALARM: u8 = 50;
    /// Timers: what is due, and when.
    pub(in crate::node) const TIMERS: u8 = 51;
    /// Shared: randomness.
    pub(in crate::node) const RNG: u8 = 56;
    /// Shared: who is told keys.
    pub(in crate::node) const KEYS: u8 = 57;
    /// Shared: who sees packets.
    pub(in crate::node) const TAPS: u8 = 58;
}

counters! {
    /// Counters of a node.
    pub(super) struct Counters {
        /// Flows that this stack has allocated.
        allocated => "allocated",
        /// Flows that this stack has accepted.
        accepted => "accepted",
        /// Allocations that failed.
        alloc_failed => "alloc_failed",
        /// Requests for flows that were repeated.
        retried => "retried",
        /// Requests for flows that have arrived.
        incoming => "incoming",
        /// Requests refused for want of a listener to the name.
        unknown_name => "unknown_name",
        /// Requests refused because the backlog of the name was full.
        backlog_full => "backlog_full",
        /// Requests refused because no listener accepted them in time.
        not_accepted => "not_accepted",
        /// Requests refused because too many handshakes were under way.
        shed => "shed",
        /// Requests refused because their hosts have not shown their addresses, and were sent many large replies.
        large_replies => "large_replies",
        /// Requests refused because of their security header.
        bad_oap => "bad_oap",
        /// Requests refused by the program's gate for the name.
        not_admitted => "not_admitted",
        /// Requests refused because they are too old, or of a clock that is ahead.
        stale => "stale",
        /// Requests not answered because their host had been refused too often.
        ignored => "ignored",
        /// Requests ignored because they had been seen before, or may have been before the node was started.
        replayed => "replayed",
        /// Replies that were sent again.
        resent => "resent",
    }
}

/// The system's source of randomness: fills the bytes, or returns `false`.
pub type Entropy = fn(&mut [u8; 32]) -> bool;

/// State shared by all parts of a node.
pub(super) struct Shared {
    pub(super) env: Arc<Env>,
    pub(super) limits: Limits,
    pub(super) backend: &'static Backend,
    rng: Ordered<Mutex<Randomness>, { order::RNG }>,
    entropy: Option<Entropy>,
    down: AtomicBool,
    pub(super) counters: Counters,
    pub(super) onlookers: Onlookers,
}

impl Shared {
    pub(super) fn new(
        env: Env,
        limits: Limits,
        backend: &'static Backend,
        (rng, entropy): (Randomness, Option<Entropy>),
    ) -> Arc<Self> {
        Arc::new(Self {
            env: Arc::new(env),
            limits,
            backend,
            rng: Ordered::new(Mutex::new(rng)),
            entropy,
            down: AtomicBool::new(false),
            counters: Counters::default(),
            onlookers: Onlookers::default(),
        })
    }

    /// Returns the current time.
    pub(super) fn now(&self) -> Instant {
        self.env.clock.now()
    }

    /// Returns the guard through which foreign code is called.
    pub(super) fn panics(&self) -> &Arc<Panics> {
        &self.env.panics
    }

    /// A random source of its own, of what others may see.
    pub(super) fn split_rng(&self, label: &str) -> Rng {
        self.rng.lock().public.split(label)
    }

    /// Random sources of its own, one of them of what must stay secret.
    ///
    /// What the system has of it is mixed in, if it is asked: where a stack exists twice, because its machine was copied, the
    /// two make other keys.
    pub(super) fn split_randomness(&self, label: &str) -> Randomness {
        let mut fresh = Fresh::default();
        // Without an answer it is what the generator has made, which is as good as its seed.
        let is_fresh = self.entropy.is_some_and(|entropy| entropy(&mut fresh.0) && entropy(&mut fresh.1));
        let mut rng = self.rng.lock();
        if is_fresh { rng.split_with(label, &fresh) } else { rng.split(label) }
    }

    /// The implementation of key exchanges: what the seed of the stack determines, if it has one.
    pub(super) fn exchanges(&self) -> &'static Backend {
        if self.entropy.is_none() { self.backend.repeatable() } else { self.backend }
    }

    /// A random number that others may see.
    pub(super) fn random(&self) -> u32 {
        self.rng.lock().public.u32()
    }

    /// Returns `true` once the node was shut down, and in a process that was forked since it was made.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire) || self.env.clock.is_forked()
    }

    /// Shuts it down. `false` if it was already.
    pub(super) fn go_down(&self) -> bool {
        !self.down.swap(true, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests;
