//! Congestion control: the bytes that may be in flight, and their rate, by one [`Controller`] a flow.
//!
//! A controller sees what arrives and what is lost, in bytes, and says two things: the [window](Controller::window) of
//! bytes that may be under way, and the [rate](Controller::pacing_rate) at which they leave, so that a window is never
//! sent in one burst. Finding out what is lost is not its business (see the recovery of [`frct`](super)); nor is the
//! peer's window, which bounds the flow beside it. It is called with the flow's lock held: it must not wait, and not call
//! the flow or its stack.
//!
//! | [`Algorithm`] | answers to | for |
//! |---|---|---|
//! | [`Cubic`](Algorithm::Cubic), the default | loss, and in slow start delay | everything, beside anybody |
//! | [`Bbr`](Algorithm::Bbr) | a model of the path, and to loss only where it is heavy | paths that lose for other reasons than congestion, where nobody else suffers |
//! | [`custom`](Algorithm::custom) | what the user's own [`Controller`] says | |
//!
//! # What is counted
//!
//! A packet costs its payload, FRCT's header and an estimate of what layers below add ([`HEADERS`]), so that many small
//! packets are not taken for few bytes. The *segment* of the literature is the largest packet that the flow has sent.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use crate::base::foreign::Panics;
use crate::base::time::Instant;

mod bbr;
mod cubic;
mod custom;

pub use bbr::Bbr;
pub use cubic::Cubic;
pub use custom::Custom;

/// What layers below add to a packet: EID, UDP and IP over the UDP layer, bytes. An estimate does.
pub const HEADERS: u64 = 32;
/// The segment of a flow that has sent only small packets so far, bytes.
pub const MIN_SEGMENT: u64 = 128;

/// Something arrived.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ack {
    /// The time.
    pub now: Instant,
    /// Bytes that this acknowledgement says have arrived.
    pub bytes: u64,
    /// Bytes of the flow that have arrived since it began.
    pub delivered: u64,
    /// The number of them that had arrived when the packet was sent that arrived now.
    pub prior_delivered: u64,
    /// Bytes still under way.
    pub in_flight: u64,
    /// The window or the rate, not the application, held packets back of late.
    pub limited: bool,
    /// The packet was sent after the last reduction, so what it says is about the present window.
    pub current: bool,
    /// A round trip has ended.
    pub round: bool,
    /// A round-trip time that was measured, nanoseconds.
    pub rtt: Option<u64>,
    /// The shortest of the last seconds, nanoseconds; 0 if unknown.
    pub min_rtt: u64,
    /// At what rate the path delivered, bytes a second, and whether the application kept the flow from finding more.
    pub rate: Option<(u64, bool)>,
}

/// Packets were found lost.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Loss {
    /// The time.
    pub now: Instant,
    /// Bytes lost.
    pub bytes: u64,
    /// Bytes under way when the loss was found, the lost ones not counted.
    pub in_flight: u64,
    /// One of them was sent after the last reduction: the present window is too large. Otherwise it is news of an
    /// event that has been answered.
    pub event: bool,
    /// They were found lost after several timeouts in a row without any sign of life.
    pub silence: bool,
}

/// Decides how much may be in flight. All sizes are bytes, all durations nanoseconds.
pub trait Controller: fmt::Debug + Send {
    /// The largest packet of the flow has grown to `bytes`, everything counted.
    fn on_segment(&mut self, bytes: u64);
    /// Something arrived.
    fn on_ack(&mut self, ack: &Ack);
    /// Packets were found lost.
    fn on_loss(&mut self, loss: &Loss);
    /// The losses of the last [event](Loss::event) were spurious: all its packets have arrived.
    fn on_spurious(&mut self);
    /// Nothing was sent for longer than the retransmission timeout; now the flow goes on.
    fn on_idle(&mut self);
    /// Bytes that may be in flight, from one segment to 2^31.
    fn window(&self) -> u64;
    /// Bytes a second at which they may leave, at least 1, given the smoothed round-trip time.
    fn pacing_rate(&self, srtt: u64) -> u64;
}

/// Congestion control algorithm of a flow.
///
/// ```
/// use o7s::congestion::Algorithm;
/// use o7s::Stack;
///
/// let stack = Stack::builder().congestion_control(Algorithm::Bbr).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// [`Cubic`].
    #[default]
    Cubic,
    /// [`Bbr`].
    Bbr,
    /// A controller of the user's own: see [`custom`](Self::custom).
    Custom(Custom),
}

impl Algorithm {
    /// A controller of the user's own, which `make` makes for each flow. `name` is for logs.
    ///
    /// What it says is kept within the bounds of [`Controller::window`] and [`Controller::pacing_rate`]. After a panic,
    /// which is counted (`node/foreign_panics`), the flow goes on with [`Cubic`].
    ///
    /// [`manual::doors`](crate::manual::doors) has an example.
    pub fn custom(name: &'static str, make: impl Fn() -> Box<dyn Controller> + Send + Sync + 'static) -> Self {
        Self::Custom(Custom::new(name, make))
    }

    /// The same; panics of a user's own are counted by `panics`.
    pub(crate) fn counted_by(self, panics: &Arc<Panics>) -> Self {
        match self {
            Self::Custom(custom) => Self::Custom(custom.counted_by(panics)),
            own => own,
        }
    }

    /// A controller for one flow.
    pub(super) fn make(&self) -> Box<dyn Controller> {
        match self {
            Self::Cubic => Box::new(Cubic::new()),
            Self::Bbr => Box::new(Bbr::new()),
            // A user's code: guarded, and replaced by CUBIC if it panics.
            Self::Custom(custom) => custom.make(),
        }
    }
}

/// The window of RFC 6928 for a segment of this size.
fn initial_window(segment: u64) -> u64 {
    // Ten segments, but no more than 14 600 bytes unless two segments are more (RFC 6928, 2).
    (10 * segment).min((2 * segment).max(14_600))
}

/// `window` a round trip of `srtt`, times `gain` quarters.
fn rate_of(window: u64, srtt: u64, gain: u64) -> u64 {
    // Windows are below 2^31, so the product is below 2^63.
    window.saturating_mul(1_000_000_000).checked_div(srtt.max(1)).unwrap_or(u64::MAX).saturating_mul(gain) / 4
}
