//! Building blocks without domain words: time, timers, chance, packet buffers, tables, arithmetic, locks.
//!
//! Nothing in here knows what a flow or a name is, reads a clock or asks the operating system for anything: time and
//! randomness are handed in by whoever drives the stack.
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

pub mod arena;
pub mod backlog;
pub mod backoff;
pub mod bucket;
pub mod buf;
pub(crate) mod counter;
pub(crate) mod debug;
pub mod foreign;
pub mod ids;
pub mod journal;
pub mod rng;
pub mod seq;
pub(crate) mod settings;
pub mod sync;
pub(crate) mod tasks;
pub mod time;
pub mod timers;
