//! Building blocks without domain words: time, timers, chance, packet buffers, tables, arithmetic, locks.
//!
//! Nothing in here knows what a flow or a name is, reads a clock or asks the operating system for anything: time and
//! randomness are handed in by the owner of the stack.
//!
//! ```
//! use core::time::Duration;
//! use o7s::base::time::Instant;
//!
//! let start = Instant::ZERO;
//! let later = start + Duration::from_millis(20);
//! assert_eq!(later - start, Duration::from_millis(20));
//! // Time never goes backwards, so a difference never underflows.
//! assert_eq!(start - later, Duration::ZERO);
//! ```
//!
//! # Machines
//!
//! Protocols are machines without I/O: inputs and the time are handed in, outputs are asked for. All machines use the
//! same names for that:
//!
//! | method | purpose |
//! |---|---|
//! | `handle_packet(now, …)`, `handle_timeout(now, …)`, `handle_…` | takes an input: a packet, the passing of time, the result of a job |
//! | a verb of its own (`register`, `want`), or a report (`came_up`, `unreachable`) | takes a command of the owner, or news of something outside of the machine |
//! | `poll_transmit(now)`, `poll_event()`, `poll_…` | returns the next output, `None` if there are no more: called after every input, until then |
//! | `next_deadline() -> Option<Instant>` | time at which `handle_timeout` has something to do if nothing arrives before: asked after the outputs |
//!
//! Parts of a machine that are asked for every packet have `deadline() -> Instant` instead, with
//! [`Instant::FAR_FUTURE`](time::Instant::FAR_FUTURE) for never. A deadline that was returned is never later than the
//! time at which the machine acts on it.

pub mod arena;
pub mod backlog;
pub mod backoff;
pub mod bucket;
pub mod buf;
pub(crate) mod counter;
pub(crate) mod debug;
pub(crate) mod delegate;
pub mod foreign;
pub mod ids;
pub mod journal;
pub(crate) mod lazy_queue;
pub mod patience;
pub mod rng;
pub mod seq;
pub(crate) mod settings;
pub mod sync;
pub(crate) mod tasks;
pub mod time;
pub mod timers;
#[cfg(any(feature = "embassy-net-driver", feature = "smoltcp", loom, test))]
pub mod waker;
