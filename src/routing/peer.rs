//! What is to be sent to one neighbour over one management flow.
//!
//! There is no queue of messages: of every link there is at most one mark that says that the neighbour is to be told
//! of it, so memory is bounded by the database whatever happens, and what is sent is always the latest.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use super::index_set::IndexSet;
use crate::base::time::Instant;
use crate::base::timers::{TimerId, Timers};
use crate::types::id::{Address, N1FlowId};

/// First time until what a member of our own has not confirmed is repeated, and the longest.
const REPEAT: Duration = Duration::from_millis(200);
const REPEAT_MOST: Duration = Duration::from_secs(1);

/// Of what is new to the neighbour only, a member of our own is told no more than so many links before it confirms: a thin
/// path is not filled with repetitions.
const WINDOW: usize = 512;

/// What a neighbour understands of link state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// One update in a packet, as the C reference does. It knows no withdrawals: to it they are announcements.
    Plain,
    /// Also several updates in a packet, and withdrawals; what arrives is confirmed. Members of this library.
    Confirming,
}

/// How urgently a neighbour is told of a link.
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
    /// So much may be sent ahead of that average.
    pub(super) burst: Duration,
    /// After so long news are repeated, once, to a neighbour that does not confirm.
    pub(super) repeat: Duration,
}

/// A link that the neighbour was told of.
#[derive(Clone, Copy, Debug)]
struct Told {
    times: u32,
    /// When to tell it again.
    again: Instant,
}

/// A neighbour on a management flow.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: Address,
    /// It is o7s: it confirms what it hears, understands withdrawals, and does not revive dead links of its own.
    confirms: bool,
    /// Nothing is sent before.
    held_until: Instant,
    /// What to tell, the most urgent first.
    news: IndexSet,
    replicas: IndexSet,
    refreshes: IndexSet,
    /// Links to say back, so that the neighbour knows they have arrived.
    echoes: IndexSet,
    /// When refreshes and echoes may be sent.
    later: Instant,
    /// Told and not confirmed.
    told: BTreeMap<u32, Told>,
    /// The moments in there, in order.
    again: BTreeSet<(Instant, u32)>,
    /// When the messages sent so far would have been sent at the average pace.
    paced_until: Instant,
    /// When it is going to be looked at.
    pub(super) planned: Option<(Instant, TimerId)>,
}

impl Peer {
    /// A neighbour to whom nothing is sent before `held_until`, unless it speaks first.
    pub(super) fn new(address: Address, dialect: Dialect, held_until: Instant) -> Self {
        Self {
            address,
            confirms: dialect == Dialect::Confirming,
            held_until,
            news: IndexSet::default(),
            replicas: IndexSet::default(),
            refreshes: IndexSet::default(),
            echoes: IndexSet::default(),
            later: Instant::ZERO,
            told: BTreeMap::new(),
            again: BTreeSet::new(),
            paced_until: Instant::ZERO,
            planned: None,
        }
    }

    /// Whether it is known to confirm what it hears.
    pub(super) const fn confirms(&self) -> bool {
        self.confirms
    }

    /// The neighbour has spoken: it is there to listen.
    pub(super) fn heard(&mut self, now: Instant) {
        self.held_until = self.held_until.min(now);
    }

    /// The neighbour is to be told of a link, of which it was told something else before, if anything. What is not
    /// urgent may be sent from `later` on.
    pub(super) fn tell(&mut self, link: u32, urgency: Urgency, later: Instant) {
        self.untell(link);
        self.echoes.remove(link);
        match urgency {
            Urgency::News => {
                self.replicas.remove(link);
                self.refreshes.remove(link);
                self.news.insert(link);
            }
            _ if self.news.contains(link) => {}
            Urgency::Replica => {
                self.refreshes.remove(link);
                self.replicas.insert(link);
            }
            _ if self.replicas.contains(link) => {}
            Urgency::Refresh => {
                self.not_before(later);
                self.refreshes.insert(link);
            }
        }
    }

    /// The neighbour has told something newer of a link than it was to be told: that is confirmed.
    pub(super) fn learned_from(&mut self, link: u32, later: Instant) {
        self.forget(link);
        self.echo(link, later);
    }

    /// The neighbour has told of a link what is known here. `answer` says whether to confirm it if it was not an
    /// answer itself.
    pub(super) fn agrees(&mut self, link: u32, later: Instant, answer: bool) {
        if self.untell(link) {
            self.forget(link);
            return;
        }
        let crossed = [self.news.remove(link), self.replicas.remove(link), self.refreshes.remove(link)];
        if crossed.contains(&true) || answer {
            self.echo(link, later);
        }
    }

    /// There is nothing to tell of a link any more.
    pub(super) fn forget(&mut self, link: u32) {
        self.untell(link);
        for set in [&mut self.news, &mut self.replicas, &mut self.refreshes, &mut self.echoes] {
            set.remove(link);
        }
    }

    fn echo(&mut self, link: u32, later: Instant) {
        if self.confirms {
            self.not_before(later);
            self.echoes.insert(link);
        }
    }

    fn not_before(&mut self, later: Instant) {
        if self.refreshes.is_empty() && self.echoes.is_empty() {
            self.later = later;
        }
    }

    /// Stops waiting for a link to be confirmed: whether it was told.
    fn untell(&mut self, link: u32) -> bool {
        let told = self.told.remove(&link);
        if let Some(told) = told {
            self.again.remove(&(told.again, link));
        }
        told.is_some()
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
        let replicas = if self.has_window() { Some(&mut self.replicas) } else { None };
        if let Some(link) = self.news.pop().or_else(|| replicas?.pop()) {
            self.await_confirmation(link, now, pace);
            return Some(link);
        }
        if let Some(link) = self.refreshes.pop() {
            if self.confirms {
                self.await_confirmation(link, now, pace);
            }
            return Some(link);
        }
        self.echoes.pop()
    }

    fn await_confirmation(&mut self, link: u32, now: Instant, pace: Pace) {
        let times = self.told.get(&link).map_or(0, |told| told.times);
        let after = if self.confirms { (REPEAT * (1 << times.min(10))).min(REPEAT_MOST) } else { pace.repeat };
        let again = now + after;
        self.told.insert(link, Told { times: times + 1, again });
        self.again.insert((again, link));
    }

    /// Has told again what was not confirmed in time: to a member of our own until it confirms, less and less often; to
    /// others, which do not confirm anything, once.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, link)) = self.again.first()
            && at <= now
        {
            self.again.pop_first();
            if !self.confirms {
                self.told.remove(&link);
            }
            self.not_before(now);
            self.refreshes.insert(link);
        }
    }

    /// Sees to it that the neighbour is looked at when there is something to do. If that is planned for an earlier moment,
    /// it stays so: looking in vain costs less than planning anew for every update.
    pub(super) fn plan(&mut self, now: Instant, pace: Pace, flow: N1FlowId, agenda: &mut Timers<N1FlowId>) {
        let Some(next) = self.next_timeout(pace) else { return };
        let next = next.max(now);
        match self.planned {
            Some((at, _)) if at <= next => return,
            Some((_, timer)) => drop(agenda.cancel(timer)),
            None => {}
        }
        self.planned = Some((next, agenda.arm(next, flow)));
    }

    /// When to call [`poll`](Self::poll) or [`handle_timeout`](Self::handle_timeout) next.
    fn next_timeout(&self, pace: Pace) -> Option<Instant> {
        let again = self.again.first().map(|(at, _)| *at);
        self.next_send(pace).into_iter().chain(again).min()
    }

    /// Whether there is something that need not wait for anything but the pace.
    fn is_urgent(&self) -> bool {
        !self.news.is_empty() || (!self.replicas.is_empty() && self.has_window())
    }

    fn has_window(&self) -> bool {
        !self.confirms || self.told.len() < WINDOW
    }

    fn next_send(&self, pace: Pace) -> Option<Instant> {
        let at = if self.is_urgent() {
            Instant::ZERO
        } else if !self.refreshes.is_empty() || !self.echoes.is_empty() {
            self.later
        } else {
            return None;
        };
        Some(at.max(self.held_until).max(self.paced_until - pace.burst))
    }

    /// Links that the neighbour is still to be told of.
    pub(super) const fn untold(&self) -> usize {
        self.news.len() + self.replicas.len() + self.refreshes.len()
    }
}
