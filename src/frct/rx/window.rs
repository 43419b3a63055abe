//! The times of acknowledgements and window updates.

use super::{Memory, Receiver};
use crate::base::time::Instant;
use crate::frct::Params;

/// A best-effort receiver tells the window anew after this many packets; a reference stops after 64 without it.
const TELL_EVERY: u32 = 32;
/// A window told unasked is repeated so often, after this many nanoseconds without data and then ever later: a writer
/// of the reference that waits for a lost one never asks.
const REPEATS: u8 = 6;
const REPEAT_AFTER: u64 = 100_000_000;
/// Nanoseconds after its last fragment when a message of a best-effort flow is dropped. Its sender may have waited for the
/// window in between, and asked for it in vain.
const OPEN_FOR: u64 = 10_000_000_000;
/// A message of a reliable flow has so many times as long as its sender may be silent for each fragment: more than eight
/// timeouts of a minute, after which a sender of our kind has given up.
const OPEN_SILENCES: u64 = 4;

impl Receiver {
    /// The window as it goes into a packet; remembers that the peer was told.
    pub(in crate::frct) fn tell(&mut self, now: Instant, p: &Params) -> u32 {
        let before = self.lets_send && self.told.after(self.next);
        self.told = self.limit(p);
        let edge = if self.shut { self.next } else { self.told };
        self.lets_send = edge.after(self.next);
        if self.lets_send && !before {
            // The time in which nothing more of it could come does not count.
            self.ready.touch_open(now);
        }
        edge.0 & 0x00FF_FFFF
    }

    /// When a message that is not complete has waited for too long.
    pub(in crate::frct) fn open_until(&self, p: &Params) -> Instant {
        let Some(at) = self.ready.open_since() else { return Instant::FAR_FUTURE };
        if !p.reliable {
            return at.plus_nanos(OPEN_FOR);
        }
        // A reliable sender has given the flow up by then, and says nothing. One that asks for the window has not: a reader
        // that takes its time has shut it.
        let silent = self.heard.get().map_or(at, |heard| heard.max(at)).plus_nanos(p.receiver_inactive);
        // One that is let, and brings everything but the next fragment, holds this end's memory and no more.
        let stuck = if self.lets_send && self.told.after(self.next) {
            at.plus_nanos(p.receiver_inactive.saturating_mul(OPEN_SILENCES))
        } else {
            Instant::FAR_FUTURE
        };
        silent.min(stuck)
    }

    /// Tells the window unasked when it has opened by much.
    pub(super) fn offer_window(&mut self, now: Instant, p: &Params) {
        // Not for each packet that is read, of which every one would be refilled and the next refused.
        if self.shut && (self.memory < Memory::Tight || !self.ready.can_deliver()) {
            self.shut = false;
            self.due = true;
        }
        // What is told of a window where memory is short is little, and nothing comes without it.
        let is_out = self.memory >= Memory::Tight && !self.told.after(self.next);
        let large = self.window > p.legacy_window;
        let step = match (p.reliable, large) {
            (true, _) => self.window / 4,
            (false, true) => self.window / 8,
            (false, false) => TELL_EVERY,
        };
        let step = if is_out { 1 } else { step };
        // A small step is not worth a packet: the next acknowledgement takes it along.
        if self.heard.get().is_none() || self.limit(p) - self.told < step.max(1) as i32 {
            return;
        }
        self.due = true;
        if !large {
            self.repeats = REPEATS;
            self.repeat_at = self.repeat_at.min(now.plus_nanos(REPEAT_AFTER));
        }
    }

    /// The part of a timeout that sends acknowledgements and windows.
    pub(in crate::frct) fn check(&mut self, now: Instant) {
        if now >= self.due_at {
            self.due_at = Instant::FAR_FUTURE;
            self.due = true;
        }
        if now < self.repeat_at {
            return;
        }
        // A peer that sends data does not wait for the window.
        let quiet_at = self.heard.get().map_or(now, |t| t.plus_nanos(REPEAT_AFTER));
        if now < quiet_at {
            self.repeat_at = quiet_at;
            return;
        }
        self.due = true;
        self.repeats = self.repeats.saturating_sub(1);
        self.repeat_at = match self.repeats {
            0 => Instant::FAR_FUTURE,
            left => now.plus_nanos(REPEAT_AFTER << (REPEATS - left)),
        };
    }

    pub(in crate::frct) fn deadline(&self) -> Instant {
        self.due_at.min(self.repeat_at)
    }

    /// Acknowledges at once what waits for a better moment.
    pub(in crate::frct) fn flush(&mut self) {
        self.due |= self.due_at != Instant::FAR_FUTURE;
    }
}
