//! Asking for the peer's window: the rendez-vous.
//!
//! A window that is closed is opened by an acknowledgement, which may be lost: so the sender asks, ever less often. A
//! best-effort sender, which gets no acknowledgements, asks before its window is used up.

use core::time::Duration;

use crate::base::seq::Seq;
use crate::base::time::{Instant, MaybeInstant};

/// Time from a closed window to the first rendez-vous, nanoseconds. It doubles so many times: to 6.4 s.
const RENDEZVOUS: u64 = 100_000_000;
const RENDEZVOUS_DOUBLES: u8 = 6;
/// A best-effort sender does not ask again before it has sent this many packets.
const ASK_EVERY: i32 = 32;
/// ... and not a reference until so long after the last packet, nanoseconds: the readers of one that is sent the question
/// together with a packet stay one behind, and its program may see nothing more of the flow.
const ASK_APART: u64 = 2_000_000;

/// When the peer is asked for its window, and what was asked.
pub(super) struct Asking {
    at: Instant,
    /// Rendez-vous since the window last moved.
    count: u8,
    /// One goes out next.
    due: bool,
    /// When a best-effort flow to a reference asks.
    later_at: Instant,
    /// A rendez-vous is unanswered; when it went out, if it is the only one; the next number at the last one.
    unanswered: bool,
    asked_at: MaybeInstant,
    asked_seq: Seq,
}

impl Asking {
    pub(super) fn new(isn: Seq) -> Self {
        Self {
            at: Instant::FAR_FUTURE,
            count: 0,
            due: false,
            later_at: Instant::FAR_FUTURE,
            unanswered: false,
            asked_at: MaybeInstant::default(),
            asked_seq: isn,
        }
    }

    /// Returns `true` if a rendez-vous goes out next.
    #[inline]
    pub(super) const fn is_due(&self) -> bool {
        self.due
    }

    /// A rendez-vous goes out next.
    #[inline]
    pub(super) const fn ask(&mut self) {
        self.due = true;
    }

    /// Returns `true` if a rendez-vous goes out now, before the packet `next`.
    #[inline]
    pub(super) fn pick(&mut self, now: Instant, next: Seq) -> bool {
        if !self.due {
            return false;
        }
        self.due = false;
        // Only the answer to a single question can be timed.
        self.asked_at = if self.unanswered { MaybeInstant::default() } else { MaybeInstant::at(now) };
        self.unanswered = true;
        self.asked_seq = next;
        true
    }

    /// Has one go out in a while, unless that is about to happen.
    pub(super) fn ask_later(&mut self, now: Instant) {
        if self.at == Instant::FAR_FUTURE {
            self.count = 0;
            self.at = now.plus_nanos(RENDEZVOUS);
        }
    }

    /// The window of a best-effort flow is nearly used up, before the packet `next`.
    pub(super) fn ask_again(&mut self, now: Instant, next: Seq, peer_is_o7s: bool) {
        if next - self.asked_seq < ASK_EVERY {
            return;
        }
        if peer_is_o7s {
            self.due = true;
        } else {
            self.later_at = now.plus_nanos(ASK_APART);
        }
    }

    /// An answer has come. To what was asked last: the next number then, and when it was, if it can be told.
    pub(super) fn answered(&mut self) -> Option<(Seq, Option<Instant>)> {
        core::mem::take(&mut self.unanswered).then_some((self.asked_seq, self.asked_at.get()))
    }

    /// The window has moved, and is open or not.
    #[inline]
    pub(super) fn moved(&mut self, open: bool) {
        self.count = 0;
        // An answer that leaves the window closed does not end the questions: the one that opens it may get lost.
        if open {
            self.at = Instant::FAR_FUTURE;
        }
    }

    /// The timer part. `stuck`: packets wait, and may not go.
    pub(super) fn check(&mut self, now: Instant, stuck: bool) {
        if now >= self.later_at {
            self.later_at = Instant::FAR_FUTURE;
            self.due = true;
        }
        if now < self.at {
            return;
        }
        self.at = Instant::FAR_FUTURE;
        // Without end, as only an answer can open the window; the pauses bound what it costs.
        if stuck {
            self.due = true;
            self.count = (self.count + 1).min(RENDEZVOUS_DOUBLES);
            self.at = now.plus_nanos(RENDEZVOUS << self.count);
        }
    }

    /// The last questions may have been lost for another reason than that the window is closed: the next one is as near as the
    /// first.
    pub(super) fn hurry(&mut self, now: Instant) {
        let more = (RENDEZVOUS << self.count) - RENDEZVOUS;
        if self.at != Instant::FAR_FUTURE && more > 0 {
            self.count = 0;
            self.at = self.at.min(now.max(self.at - Duration::from_nanos(more)));
        }
    }

    /// Nothing is to be asked any more.
    pub(super) fn stop(&mut self) {
        self.due = false;
        self.at = Instant::FAR_FUTURE;
        self.later_at = Instant::FAR_FUTURE;
    }

    #[inline]
    pub(super) fn deadline(&self) -> Instant {
        self.at.min(self.later_at)
    }
}
