//! Updates for one neighbour over one management flow.
//!
//! There is no queue of messages: every link has at most one mark that its news are due for the neighbour, so memory is
//! bounded by the database in any case, and the latest state is sent.

use core::time::Duration;

use super::marks::{Mark, Marks};
use super::told::Told;
use crate::base::time::Instant;
use crate::base::timers::{TimerId, Timers};
use crate::types::id::{Address, N1FlowId};

/// First time until what a member of our own has not confirmed is repeated, and the longest.
const REPEAT: Duration = Duration::from_millis(200);
const REPEAT_MOST: Duration = Duration::from_secs(1);

/// A member of our own is told no more than so many links before it confirms, but for what is only repeated: neither is a
/// thin path filled with repetitions, nor memory with what waits for a confirmation. The table of so many takes 4 KiB.
const WINDOW: usize = 440;
/// Part of this window for news only, which need not wait behind links that are new to the neighbour alone.
const FOR_NEWS: usize = 24;

/// Dialect of link state that a neighbour understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// One update in a packet, as the C reference does. It knows no withdrawals: to it they are announcements.
    Plain,
    /// Also several updates in a packet, and withdrawals; what arrives is confirmed. Members of this library.
    Confirming,
}

/// Urgency of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Something has changed: before all else.
    News,
    /// It is new to the neighbour only: as fast as the pace allows.
    Replica,
    /// Nothing has changed: a little later, for the neighbour may be about to say the same.
    Refresh,
}

/// The times of sending to neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two messages, on average.
    pub(super) gap: Duration,
    /// Burst that may be sent ahead of that average.
    pub(super) burst: Duration,
    /// After so long news are repeated, once, to a neighbour that does not confirm.
    pub(super) repeat: Duration,
}

/// A neighbour on a management flow.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: Address,
    /// It is o7s: it confirms what it hears, understands withdrawals, and does not revive dead links of its own.
    confirms: bool,
    /// Bytes of a packet that the flow takes.
    pub(super) most: usize,
    /// Nothing is sent before.
    held_until: Instant,
    /// Links to announce, the most urgent first, and links to echo as confirmation.
    marks: Marks,
    /// Earliest time for refreshes and echoes.
    later: Instant,
    /// Told and not confirmed.
    told: Told,
    /// Time until which the average pace is used up by the messages sent so far.
    paced_until: Instant,
    /// Time of the next visit, because a packet may be sent, or unconfirmed news are due again.
    pub(super) planned: Option<(Instant, TimerId)>,
    pub(super) planned_repeats: Option<(Instant, TimerId)>,
}

impl Peer {
    /// A neighbour to whom nothing is sent before `held_until`, unless it speaks first.
    pub(super) fn new(address: Address, dialect: Dialect, held_until: Instant) -> Self {
        Self {
            address,
            confirms: dialect == Dialect::Confirming,
            most: usize::MAX,
            held_until,
            marks: Marks::default(),
            later: Instant::ZERO,
            told: Told::default(),
            paced_until: Instant::ZERO,
            planned: None,
            planned_repeats: None,
        }
    }

    /// Returns `true` if the neighbour confirms updates.
    pub(super) const fn confirms(&self) -> bool {
        self.confirms
    }

    /// The neighbour has spoken: it is there to listen. Whether that was not known.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        let held = self.held_until > now;
        self.held_until = self.held_until.min(now);
        held
    }

    /// Marks a link for the neighbour, in place of an earlier mark. Updates that are not urgent may be sent from
    /// `later` on.
    pub(super) fn tell(&mut self, link: u32, urgency: Urgency, later: Instant) {
        self.told.remove(link);
        self.marks.remove(Mark::Echo, link);
        match urgency {
            Urgency::News => {
                self.marks.remove(Mark::Replica, link);
                self.marks.remove(Mark::Refresh, link);
                self.marks.insert(Mark::News, link);
            }
            _ if self.marks.contains(Mark::News, link) => {}
            Urgency::Replica => {
                self.marks.remove(Mark::Refresh, link);
                self.marks.insert(Mark::Replica, link);
            }
            _ if self.marks.contains(Mark::Replica, link) => {}
            Urgency::Refresh => {
                self.not_before(later);
                self.marks.insert(Mark::Refresh, link);
            }
        }
    }

    /// The neighbour has told something newer of a link than it was to be told: that is confirmed.
    pub(super) fn learned_from(&mut self, link: u32, later: Instant) {
        self.forget(link);
        self.echo(link, later);
    }

    /// The neighbour has told of a link what it was told itself, and is known here: whether that is so. Otherwise see
    /// [`agrees`](Self::agrees).
    pub(super) fn confirmed(&mut self, link: u32) -> bool {
        let confirmed = self.told.remove(link);
        if confirmed {
            self.unmark(link);
        }
        confirmed
    }

    /// Returns `true` if so much is unconfirmed that further updates may have to wait.
    pub(super) fn waits(&self) -> bool {
        self.told.len() >= WINDOW - FOR_NEWS
    }

    /// The neighbour has told of a link what is known here, and was not told itself. `answer` says whether to confirm it if
    /// it was not an answer itself.
    pub(super) fn agrees(&mut self, link: u32, later: Instant, answer: bool) {
        let crossed = [Mark::News, Mark::Replica, Mark::Refresh].map(|mark| self.marks.remove(mark, link));
        if crossed.contains(&true) || answer {
            self.echo(link, later);
        }
    }

    /// There is nothing to tell of a link any more.
    pub(super) fn forget(&mut self, link: u32) {
        self.told.remove(link);
        self.unmark(link);
    }

    fn unmark(&mut self, link: u32) {
        for mark in [Mark::News, Mark::Replica, Mark::Refresh, Mark::Echo] {
            self.marks.remove(mark, link);
        }
    }

    fn echo(&mut self, link: u32, later: Instant) {
        if self.confirms {
            self.not_before(later);
            self.marks.insert(Mark::Echo, link);
        }
    }

    fn not_before(&mut self, later: Instant) {
        if self.marks.is_empty(Mark::Refresh) && self.marks.is_empty(Mark::Echo) {
            self.later = later;
        }
    }

    /// The next link to tell of, if the time has come for one.
    pub(super) fn poll(&mut self, now: Instant, pace: Pace) -> Option<u32> {
        if self.next_send(pace)? > now {
            return None;
        }
        self.paced_until = self.paced_until.max(now) + pace.gap;
        self.pop(now, pace)
    }

    /// A further link to tell of in the same packet, which only a neighbour understands that confirms. Packets are paced, not
    /// what is in them.
    pub(super) fn poll_more(&mut self, now: Instant, pace: Pace) -> Option<u32> {
        let due = self.is_urgent() || self.later <= now;
        if self.confirms && due { self.pop(now, pace) } else { None }
    }

    fn pop(&mut self, now: Instant, pace: Pace) -> Option<u32> {
        for mark in [Mark::News, Mark::Replica] {
            if self.has_window(mark)
                && let Some(link) = self.marks.pop(mark)
            {
                self.await_confirmation(link, now, pace);
                return Some(link);
            }
        }
        if let Some(link) = self.marks.pop(Mark::Refresh) {
            if self.confirms {
                self.await_confirmation(link, now, pace);
            }
            return Some(link);
        }
        self.marks.pop(Mark::Echo)
    }

    fn await_confirmation(&mut self, link: u32, now: Instant, pace: Pace) {
        let confirms = self.confirms;
        self.told.insert(link, |times| {
            now + if confirms { (REPEAT * (1 << times.min(10))).min(REPEAT_MOST) } else { pace.repeat }
        });
    }

    /// Has told again what was not confirmed in time: to a member of our own until it confirms, less and less often; to
    /// others, which do not confirm anything, once. What is planned for that has had its turn.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.planned_repeats = None;
        let (marks, later) = (&mut self.marks, &mut self.later);
        self.told.take_due(now, self.confirms, |link| {
            if marks.is_empty(Mark::Refresh) && marks.is_empty(Mark::Echo) {
                *later = now;
            }
            marks.insert(Mark::Refresh, link);
        });
    }

    /// Sees to it that the neighbour is looked at when something may be sent. If that is planned for an earlier moment, it
    /// stays so: looking in vain costs less than planning anew for every update.
    pub(super) fn plan(&mut self, now: Instant, pace: Pace, flow: N1FlowId, agenda: &mut Timers<N1FlowId>) {
        let Some(next) = self.next_send(pace) else { return };
        replan(&mut self.planned, next.max(now), flow, agenda);
    }

    /// The same for what is due to be said again.
    pub(super) fn plan_repeats(&mut self, flow: N1FlowId, agenda: &mut Timers<N1FlowId>) {
        let Some(next) = self.told.next() else { return };
        replan(&mut self.planned_repeats, next, flow, agenda);
    }

    /// Returns `true` if an update waits for nothing but the pace.
    fn is_urgent(&self) -> bool {
        [Mark::News, Mark::Replica].into_iter().any(|mark| !self.marks.is_empty(mark) && self.has_window(mark))
    }

    fn has_window(&self, mark: Mark) -> bool {
        let most = if mark == Mark::News { WINDOW } else { WINDOW - FOR_NEWS };
        !self.confirms || self.told.len() < most
    }

    fn next_send(&self, pace: Pace) -> Option<Instant> {
        let at = if self.is_urgent() {
            Instant::ZERO
        } else if !self.marks.is_empty(Mark::Refresh) || !self.marks.is_empty(Mark::Echo) {
            self.later
        } else {
            return None;
        };
        Some(at.max(self.held_until).max(self.paced_until - pace.burst))
    }
}

fn replan(planned: &mut Option<(Instant, TimerId)>, at: Instant, flow: N1FlowId, agenda: &mut Timers<N1FlowId>) {
    match planned {
        Some((before, _)) if *before <= at => return,
        Some((_, timer)) => drop(agenda.cancel(*timer)),
        None => {}
    }
    *planned = Some((at, agenda.arm(at, flow)));
}
