//! The endpoint: the pipeline with its locks, queues and waiters.

mod door;
mod inbox;
mod layer;
mod look;
mod n1;
mod state;
#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
mod user;
mod work;

use alloc::sync::Arc;
use core::time::Duration;

use self::door::{Effects, OutputTurn};
#[cfg(loom)]
pub use self::door::{Fault, PLANTED};
use self::inbox::Inbox;
use self::state::{Inner, Life, Way};
use super::pipeline::{Params, Pipeline};
use super::{Env, FlowKey, Port};
use crate::base::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::base::time::Instant;

/// Packets taken through the pipeline before what FRCT answers goes out and the lock is free for others.
const SERVICE_BURST: usize = 64;
/// Time for which an end with nothing left to deliver still answers a peer over a layer that loses packets: the last
/// acknowledgement may be one of them, and without an answer the peer would take its data for lost.
const QUIET: Duration = Duration::from_secs(3);
/// A thread that used the flow this recently is expected to come back.
const USER_EXPECTED: Duration = Duration::from_millis(1);
/// Bursts after which a thread that services an endpoint returns to its own work: an inbox full.
const SERVICE_BURSTS: usize = 32;

/// State of an endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Being allocated: packets that arrive are kept, few of them.
    Pending,
    /// Carries data.
    Active,
    /// Closed by the application; what was written is still being delivered.
    Lingering,
    /// Closed, and everything delivered or given up; the peer may still need an answer.
    Quiet,
    /// Over.
    Released,
}

/// One end of a flow, with everything that is done to a packet between the program and the layer.
pub struct Endpoint {
    key: FlowKey,
    env: Arc<Env>,
    arrivals: Arrivals,
    /// Taken before the inbox's, never after it.
    inner: Mutex<Inner>,
    output: OutputTurn,
    /// Time at which the host will call [`handle_timeout`](Self::handle_timeout), in nanoseconds.
    armed: AtomicU64,
}

/// Fields for threads that bring packets, on cache lines of their own: they do not wait for lines that a user writes
/// with every packet, nor the user for theirs.
#[repr(align(64))]
struct Arrivals {
    inbox: Mutex<Inbox>,
    /// Packets in the inbox, for those who only want to know. Falls with the lock of `inner` held.
    len: AtomicUsize,
    /// Time of the last read or write, in nanoseconds, to about a tenth of [`USER_EXPECTED`].
    last_used: AtomicU64,
    ticking: AtomicBool,
}

impl Endpoint {
    /// An endpoint of a flow that is being allocated, known to the host by `key`.
    pub fn new(key: FlowKey, env: &Arc<Env>) -> Arc<Self> {
        let now = env.clock.now();
        Arc::new(Self {
            key,
            env: Arc::clone(env),
            arrivals: Arrivals {
                inbox: Mutex::new(Inbox::new(env.inline)),
                len: AtomicUsize::new(0),
                last_used: AtomicU64::new(0),
                ticking: AtomicBool::new(false),
            },
            inner: Mutex::new(Inner::new(Pipeline::new(now, &env.pool), &env.panics)),
            output: OutputTurn::new(),
            armed: AtomicU64::new(u64::MAX),
        })
    }

    /// The flow has been allocated: packets go through `port`, and what has arrived already is taken in.
    pub fn activate(&self, now: Instant, port: Arc<dyn Port>, params: Params) {
        let mut fx = Effects::default();
        // Asked before the lock is taken: the port may be a user's own code.
        let way = || Way { lossy: port.is_lossy(), tells_end: port.tells_end(), roams: port.roams() };
        let way = self.env.panics.call(way).unwrap_or_default();
        let turn = {
            let mut inner = self.inner.lock();
            // The application gave up while the flow was being allocated. The layer below has a flow that must be given
            // back.
            if inner.is_closed() {
                drop(inner);
                self.env.panics.call(move || port.release(now));
                return;
            }
            let meter = params.meter.clone();
            inner.pipe.configure(now, params, way.roams);
            inner.port = Some(port);
            inner.way = way;
            inner.life = Life::Active;
            let turn = {
                let mut inbox = self.arrivals.inbox.lock();
                inbox.open(meter);
                // Packets that came before there was a port have no responsible party; this thread is it now.
                inbox.claim()
            };
            self.settle(&mut inner, now, &mut fx);
            turn
        };
        let _ = self.dispatch(now, &mut fx);
        if turn {
            self.service(now);
        }
    }

    fn note_user(&self, now: Instant) {
        let (last, now) = (self.arrivals.last_used.load(Ordering::Relaxed), now.as_nanos());
        // Written seldom: the cache line is shared with threads that deliver, which each write of it would take it
        // from.
        if now.saturating_sub(last) > USER_EXPECTED.as_nanos() as u64 / 8 {
            self.arrivals.last_used.store(now, Ordering::Relaxed);
        }
    }

    fn expects_user(&self, now: Instant) -> bool {
        let last = self.arrivals.last_used.load(Ordering::Relaxed);
        last != 0 && now.as_nanos().saturating_sub(last) < USER_EXPECTED.as_nanos() as u64
    }

    fn arm(&self, next: Option<Instant>) {
        let Some(at) = next else { return };
        // Entries are only ever moved forward: one that fires too early costs less than moving it per packet.
        let nanos = at.as_nanos();
        if nanos < self.armed.load(Ordering::Relaxed) && nanos < self.armed.fetch_min(nanos, Ordering::AcqRel) {
            self.env.host.arm(at, self.key);
        }
    }
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint").field("key", &self.key).field("state", &self.state()).finish_non_exhaustive()
    }
}
