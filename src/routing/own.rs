//! The member's own links: announced while an adjacency carries them, taken back when none does.

use core::time::Duration;

use super::flood::Audience;
use super::peer::Urgency;
use super::seqno::Seqno;
use super::{Due, LinkState};
use crate::base::time::Instant;
use crate::types::id::{Address, N1FlowId};

/// Answers to what others say of own links, all of them together: so many at once, so many a second. Two members with one
/// address would go on contradicting each other as fast as they can.
pub(super) const CONTESTS: u64 = 32;
pub(super) const CONTESTS_A_SECOND: u64 = 16;
/// Least time between two contradictions about one link, when the allowance is used up.
const CONTEST: Duration = Duration::from_secs(1);

/// A link that has failed more often than this, each time soon after it was announced, is announced again only after
/// a while, which doubles from time to time.
const FREE_FLAPS: u32 = 1;
const FLAP: Duration = Duration::from_secs(1);

/// An N-1 flow that carries data to a neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adjacency {
    pub(super) address: Address,
    pub(super) up: bool,
}

/// State of the link to one member, with or without adjacencies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Neighbour {
    /// Adjacencies.
    pub(super) all: u32,
    /// Those that are up.
    pub(super) up: u32,
    /// Time at which the link was announced.
    since: Instant,
    /// Times in a row that it was withdrawn soon after.
    flaps: u32,
    /// Then it may be announced again.
    not_before: Instant,
    /// A timer is armed for then.
    waits: bool,
    /// Time at which the reference has to compute its routes: a timer is armed, perhaps for an earlier moment.
    pub(super) recomputes: Option<Instant>,
    /// The other end of the link that it was last told of for that.
    pub(super) unknown: Option<Address>,
}

impl LinkState {
    /// A data-transfer flow to a neighbour is there and works.
    ///
    /// What is said of a flow that is there already replaces what was said.
    pub fn adjacency_up(&mut self, now: Instant, flow: N1FlowId, address: Address) {
        self.adjacency_down(now, flow);
        if address == self.config.address || address == Address(0) {
            return;
        }
        self.adjacencies.insert(flow, Adjacency { address, up: true });
        let neighbour = self.neighbours.entry(address).or_default();
        neighbour.all += 1;
        neighbour.up += 1;
        self.publish = true;
        self.settle(now, address);
        self.recompute_soon(now, address);
    }

    /// A data-transfer flow is gone.
    pub fn adjacency_down(&mut self, now: Instant, flow: N1FlowId) {
        self.adjacency_state(now, flow, false);
        let Some(Adjacency { address, .. }) = self.adjacencies.remove(&flow) else { return };
        if let Some(neighbour) = self.neighbours.get_mut(&address) {
            neighbour.all -= 1;
            // Otherwise the neighbour is forgotten with the link.
            if neighbour.all == 0 && self.db.find(self.config.address, address).is_none() {
                self.neighbours.remove(&address);
            }
        }
        self.publish = true;
    }

    /// A data-transfer flow was seen to work, or not to.
    pub fn adjacency_state(&mut self, now: Instant, flow: N1FlowId, up: bool) {
        let Some(adjacency) = self.adjacencies.get_mut(&flow) else { return };
        let address = adjacency.address;
        if core::mem::replace(&mut adjacency.up, up) == up {
            return;
        }
        if let Some(neighbour) = self.neighbours.get_mut(&address) {
            neighbour.up = if up { neighbour.up + 1 } else { neighbour.up.saturating_sub(1) };
        }
        self.settle(now, address);
    }

    /// Announces the link to a neighbour or takes it back, as its adjacencies demand.
    pub(super) fn settle(&mut self, now: Instant, address: Address) {
        let (me, life) = (self.config.address, self.config.timeout());
        let Some(neighbour) = self.neighbours.get_mut(&address) else { return };
        let index = self.db.find(me, address);
        let live = index.and_then(|i| self.db.get(i)).filter(|link| link.live());
        match (neighbour.up > 0, live) {
            (true, None) if now < neighbour.not_before => self.wait(address),
            (true, None) => {
                neighbour.since = now;
                self.announce(now, address);
            }
            (false, Some(link)) => {
                let seqno = link.seqno.withdrawal();
                // A link that has lasted as long as an announcement is believed was no flap.
                neighbour.flaps = if now - neighbour.since < life { neighbour.flaps + 1 } else { 0 };
                if let Some(extra) = neighbour.flaps.checked_sub(FREE_FLAPS + 1) {
                    neighbour.not_before = now + (FLAP * (1 << extra.min(10))).min(self.config.update());
                }
                if seqno.is_the_end() {
                    // Forged up to the highest number: a withdrawal would be ignored.
                    self.db.find(me, address).into_iter().for_each(|index| self.remove(now, index));
                    self.withdraw_for(now, address);
                } else {
                    self.withdraw(now, address, seqno);
                }
            }
            _ => {}
        }
    }

    /// The link to a neighbour has flapped: it is announced later, if it is up then.
    fn wait(&mut self, address: Address) {
        let Some(neighbour) = self.neighbours.get_mut(&address) else { return };
        if !neighbour.waits {
            neighbour.waits = true;
            self.timers.arm(neighbour.not_before, Due::Neighbour(address));
        }
    }

    /// The link to a neighbour has been waited for.
    pub(super) fn neighbour_due(&mut self, now: Instant, address: Address) {
        if let Some(neighbour) = self.neighbours.get_mut(&address) {
            neighbour.waits = false;
        }
        self.settle(now, address);
    }

    /// Announces the link to a neighbour, with a number that overtakes all earlier ones.
    fn announce(&mut self, now: Instant, address: Address) {
        let me = self.config.address;
        let first = Seqno::first(self.config.incarnation);
        let index = match self.db.find(me, address) {
            Some(index) => {
                if let Some(link) = self.db.get_mut(index) {
                    link.seqno = link.seqno.next().unwrap_or(link.seqno);
                }
                index
            }
            None => self.db.insert(me, address, first, now),
        };
        self.set_live(now, index, true);
        self.tell_own(now, index, Urgency::News);
    }

    /// Takes a link back, or says that there is none.
    fn withdraw(&mut self, now: Instant, address: Address, seqno: Seqno) {
        let me = self.config.address;
        let index = self.db.find(me, address).unwrap_or_else(|| self.db.insert(me, address, seqno, now));
        if let Some(link) = self.db.get_mut(index) {
            link.seqno = seqno;
        }
        self.set_live(now, index, false);
        self.tell_own(now, index, Urgency::News);
    }

    /// Marks an own link for all neighbours, and sets the timer for its refresh or expiry.
    fn tell_own(&mut self, now: Instant, index: u32, urgency: Urgency) {
        let Some(link) = self.db.get_mut(index) else { return };
        link.fresh(now);
        let again = if link.live() { self.refresh_after() } else { self.config.memory() };
        self.arm(index, now + again);
        self.flood(now, index, urgency, Audience::All, None);
    }

    /// An own link is due: it is announced again if it is live, otherwise forgotten.
    pub(super) fn own_due(&mut self, now: Instant, index: u32) {
        let Some(link) = self.db.get_mut(index) else { return };
        if link.live() {
            link.seqno = link.seqno.next().unwrap_or(link.seqno);
            return self.tell_own(now, index, Urgency::Refresh);
        }
        let Some(address) = self.db.get(index).map(|link| self.db.dst(link)) else { return };
        self.remove(now, index);
        if self.neighbours.get(&address).is_some_and(|neighbour| neighbour.all == 0) {
            self.neighbours.remove(&address);
        }
    }

    /// The time to the next announcement: up to a quarter less than the layer's, so that not all come at once.
    fn refresh_after(&mut self) -> Duration {
        let most = self.config.update();
        most - self.random_part(most / 4)
    }

    /// Handles a foreign update about an own link: a remnant of an earlier life, a forgery, or the link of another
    /// member with the same address. It is contradicted with a higher number.
    pub(super) fn contest(&mut self, now: Instant, dst: Address, seqno: Seqno) {
        self.stats.contested += 1;
        let me = self.config.address;
        let known = self.db.find(me, dst).and_then(|index| Some((index, *self.db.get(index)?)));
        let Some((index, link)) = known else {
            if seqno.withdrawal().is_the_end() {
                self.withdraw_for(now, dst);
            } else if self.has_room(now, me) && self.may_contest(now, None) {
                self.withdraw(now, dst, seqno.withdrawal());
            }
            return;
        };
        if !link.live() {
            if seqno.withdrawal().is_the_end() {
                self.withdraw_for(now, dst);
            } else if self.may_contest(now, Some(link.silence(now))) {
                self.withdraw(now, dst, seqno.withdrawal());
            }
            return;
        }
        let Some(higher) = seqno.next() else { return };
        // The number grows in any case, but it is told only as often as is allowed: two members with one address would
        // otherwise contradict each other without a pause.
        let may = self.may_contest(now, Some(link.silence(now)));
        if let Some(link) = self.db.get_mut(index) {
            link.seqno = higher;
        }
        if may {
            self.tell_own(now, index, Urgency::News);
        } else {
            self.arm(index, now + CONTEST.saturating_sub(link.silence(now)));
        }
    }

    /// Takes back the other end's half of a link, because our own cannot be: no number is high enough. A link counts only
    /// with both.
    fn withdraw_for(&mut self, now: Instant, neighbour: Address) {
        let Some(index) = self.db.find(neighbour, self.config.address) else { return };
        let Some(link) = self.db.get_mut(index).filter(|link| link.live() && !link.seqno.withdrawal().is_the_end())
        else {
            return;
        };
        link.seqno = link.seqno.withdrawal();
        link.fresh(now);
        self.set_live(now, index, false);
        self.flood(now, index, Urgency::News, Audience::All, None);
    }

    /// Returns `true` if a contradiction is allowed for an announcement that was made `ago`.
    fn may_contest(&mut self, now: Instant, ago: Option<Duration>) -> bool {
        if self.contests.is_ready(now) {
            self.contests.take(now, 1);
            return true;
        }
        ago.is_some_and(|ago| ago >= CONTEST)
    }
}
