//! Updates of other members: taken into the database, passed on, expired.

use alloc::vec::Vec;
use core::time::Duration;

use super::database::Link;
use super::peer::{Dialect, Peer, Urgency};
use super::seqno::Seqno;
use super::{Changes, Due, LinkState};
use crate::base::time::Instant;
use crate::types::id::{Address, N1FlowId};
use crate::wire::link_state::{Age, Lsu};

/// Shortest time between two searches of a full database for unreachable links.
const SWEEP: Duration = Duration::from_secs(1);

/// Links that expire soon after one another are forgotten together: all are looked at no more often than this.
const GAP: Duration = Duration::from_millis(100);

/// Ages of one announcement that differ by no more are the same: what was late on its way looks younger than it is.
const AGES_DIFFER: Duration = Duration::from_secs(1);

/// Neighbours that are told of a link. A reference is never told of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    All,
    /// Members of our own.
    Confirming,
}

impl LinkState {
    /// A management flow to a neighbour is there. It is going to be told of every link, once it is ready to listen.
    pub fn management_up(&mut self, now: Instant, flow: N1FlowId, address: Address, dialect: Dialect) {
        self.management_down(now, flow);
        if self.peers.len() >= self.config.max_management {
            return;
        }
        // A reference loses count of what comes before it has added the flow.
        let hold = if dialect == Dialect::Plain { self.config.hold } else { Duration::ZERO };
        let mut peer = Peer::new(address, dialect, now + hold);
        // Links that a reference would announce without end if it heard of them are kept from it: withdrawals of links
        // that it does not know, and links of its own.
        let all = peer.confirms();
        for (index, link) in self.db.iter() {
            let src = self.db.src(link);
            if !all && (!link.live() || src == address) {
                continue;
            }
            let urgency = if src == self.config.address { Urgency::News } else { Urgency::Replica };
            peer.tell(index, urgency, now);
        }
        peer.plan(now, self.pace, flow, &mut self.agenda);
        self.peers.insert(flow, peer);
        self.recompute_soon(now, address);
    }

    /// Packets of no more than so many bytes go over this management flow; the others have their own bounds.
    pub fn limit_packets(&mut self, flow: N1FlowId, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(&flow) {
            peer.most = bytes;
        }
    }

    /// A management flow is gone.
    pub fn management_down(&mut self, _now: Instant, flow: N1FlowId) {
        let Some(peer) = self.peers.remove(&flow) else { return };
        if let Some((_, timer)) = peer.planned {
            self.agenda.cancel(timer);
        }
        if let Some((_, timer)) = peer.planned_repeats {
            self.repeats.cancel(timer);
        }
    }

    /// A packet has come in over a management flow: an update, or several one behind the other.
    pub fn handle_packet(&mut self, now: Instant, flow: N1FlowId, packet: &[u8]) {
        let (updates, rest) = packet.as_chunks::<{ Lsu::LEN }>();
        if updates.is_empty() || !rest.is_empty() {
            self.stats.received += 1;
            self.stats.malformed += 1;
            return;
        }
        let Some(peer) = self.peers.get_mut(&flow) else { return };
        // A reference is kept waiting until it has added the flow. That it speaks shows that it has.
        if peer.heard(now) {
            peer.plan(now, self.pace, flow, &mut self.agenda);
        }
        // References do not say how old what they pass on is.
        let ages = peer.confirms();
        let mut updates = updates.iter().filter_map(|update| Lsu::parse(update).ok()).peekable();
        while let Some(update) = updates.next() {
            if ages && Age::of(&update).is_some() {
                continue;
            }
            let age = updates.peek().filter(|_| ages).and_then(Age::of);
            let known = self.receive_update(now, flow, update, age.map(|age| age.0));
            if let Some(index) = known.filter(|_| ages) {
                self.compare_age(now, flow, index, age);
            }
        }
    }

    /// An update, with what was said of its age. The link, if that is what is known.
    fn receive_update(&mut self, now: Instant, flow: N1FlowId, update: Lsu, age: Option<Duration>) -> Option<u32> {
        self.stats.received += 1;
        let Lsu { dst, src, seqno } = update;
        let seqno = Seqno(seqno);
        if src == dst || src == Address(0) || dst == Address(0) || seqno.is_the_end() {
            self.stats.implausible += 1;
            return None;
        }
        let index = self.db.find(src, dst);
        let known = index.and_then(|index| Some((index, *self.db.get(index)?)));
        // A higher number was announced later, so it is no older. A sender that says otherwise wants the link
        // forgotten, unheard by those who could contradict.
        let age = age.map(|age| known.map_or(age, |(_, link)| age.min(link.age(now))));
        let life = if seqno.withdraws() { self.config.memory() } else { self.config.timeout() };
        match known {
            Some((index, link)) if seqno == link.seqno => {
                self.agree(now, flow, index);
                return Some(index);
            }
            Some((index, link)) if seqno < link.seqno => self.answer(now, flow, index),
            Some(_) if src == self.config.address => self.contest(now, dst, seqno),
            // A withdrawal of an own link that does not exist is true, whatever its origin.
            None if src == self.config.address && !seqno.withdraws() => self.contest(now, dst, seqno),
            // It is over, here too.
            _ if age.is_some_and(|age| age >= life) => self.stats.outdated += 1,
            Some((index, _)) => self.learn(now, flow, index, (seqno, age)),
            None if self.has_room(now, src) => {
                let index = self.db.insert(src, dst, seqno, now);
                self.learn(now, flow, index, (seqno, age));
                self.arm_expiry(now, index);
            }
            None => self.stats.refused += 1,
        }
        None
    }

    /// The neighbour says how old a known link is. The member that told of it first may have made it older than it is,
    /// so that it is forgotten before it is announced again; that would not be contradicted, for the number is the true
    /// one. So of two ages the lesser counts, but never less than the time since the number was heard of here: no link
    /// lives longer than without ages.
    fn compare_age(&mut self, now: Instant, flow: N1FlowId, index: u32, age: Option<Age>) {
        let Some(link) = self.db.get_mut(index) else { return };
        // Mostly nothing to compare: it was heard of when it was announced.
        let known = link.late();
        if known <= AGES_DIFFER {
            return;
        }
        let late = age.map_or(Duration::ZERO, |age| age.0).saturating_sub(link.silence(now));
        if late + AGES_DIFFER >= known {
            return;
        }
        link.set_late(late);
        let later = self.a_little_later(now);
        for (other, peer) in self.peers.iter_mut().filter(|(other, peer)| **other != flow && peer.confirms()) {
            peer.tell(index, Urgency::Refresh, later);
            peer.plan(now, self.pace, *other, &mut self.agenda);
        }
    }

    /// The neighbour says what is known.
    fn agree(&mut self, now: Instant, flow: N1FlowId, index: u32) {
        self.stats.known += 1;
        let Some(peer) = self.peers.get_mut(&flow) else { return };
        let waited = peer.waits();
        if peer.confirmed(index) {
            if waited {
                peer.plan(now, self.pace, flow, &mut self.agenda);
            }
            return;
        }
        let later = self.a_little_later(now);
        // It may repeat itself because a confirmation was lost. But two that confirm each other's confirmations would
        // never stop; a coin decides.
        let coin = self.rng.chance(0.5);
        self.with_peer(now, flow, |peer| peer.agrees(index, later, coin));
    }

    /// The neighbour says what is outdated: it is told what is known.
    fn answer(&mut self, now: Instant, flow: N1FlowId, index: u32) {
        self.stats.outdated += 1;
        let Some(link) = self.db.get(index) else { return };
        let useful = link.live() || link.age(now) < self.config.update();
        self.with_peer(now, flow, |peer| {
            if useful || peer.confirms() {
                peer.tell(index, Urgency::News, now);
            }
        });
    }

    /// The neighbour has told something new of a link; it is passed on.
    fn learn(&mut self, now: Instant, flow: N1FlowId, index: u32, (seqno, age): (Seqno, Option<Duration>)) {
        self.stats.accepted += 1;
        let Some(link) = self.db.get_mut(index) else { return };
        let is_news = link.live() == seqno.withdraws();
        // To a reference a withdrawal is an announcement. It does no harm where the link is believed to be there; where
        // it is forgotten, or about to be, it would come back.
        let believed = link.live() && link.age(now) < 2 * self.config.update();
        let audience = if seqno.withdraws() && !believed { Audience::Confirming } else { Audience::All };
        self.stats.withdrawn += u64::from(link.live() && seqno.withdraws());
        link.seqno = seqno;
        link.fresh(now);
        link.set_late(age.unwrap_or_default());
        self.set_live(now, index, !seqno.withdraws());
        if is_news || age.is_some() {
            // A withdrawal is remembered for longer than a link lives, and what was said long ago for less long.
            self.arm_expiry(now, index);
        }
        let urgency = if is_news { Urgency::News } else { Urgency::Refresh };
        self.flood(now, index, urgency, audience, Some(flow));
        let later = self.a_little_later(now);
        self.with_peer(now, flow, |peer| peer.learned_from(index, later));
    }

    /// Marks a link for all neighbours in `audience`, but for the one on the flow `except`.
    pub(super) fn flood(
        &mut self,
        now: Instant,
        index: u32,
        urgency: Urgency,
        audience: Audience,
        except: Option<N1FlowId>,
    ) {
        let later = self.a_little_later(now);
        let Some(src) = self.db.get(index).map(|link| self.db.src(link)) else { return };
        for (flow, peer) in &mut self.peers {
            if Some(*flow) == except {
                continue;
            }
            if peer.confirms() || (audience == Audience::All && peer.address != src) {
                peer.tell(index, urgency, later);
                peer.plan(now, self.pace, *flow, &mut self.agenda);
            } else if audience == Audience::Confirming {
                // It may be about to be told what was known before.
                peer.forget(index);
            }
        }
    }

    fn a_little_later(&mut self, now: Instant) -> Instant {
        now + self.random_part(self.config.lazy)
    }

    /// Returns `true` if another link of this member may be added. A member with too many gives up one that the other
    /// end does not announce, any of them; a full database gives up unreachable ones.
    pub(super) fn has_room(&mut self, now: Instant, src: Address) -> bool {
        if self.db.graph().announced(src) as usize >= self.config.max_links_of_member {
            // Drawn, so that a member that floods cannot choose what gives way.
            let from = self.rng.below(self.db.len() as u64) as u32;
            match self.db.useless_of(src, from).filter(|_| src != self.config.address) {
                Some(index) => self.remove(now, index),
                None => return false,
            }
        }
        if self.db.len() >= self.config.max_links && now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            for index in self.db.unreachable(self.config.address) {
                self.remove(now, index);
            }
        }
        self.db.len() < self.config.max_links
    }

    /// Forgets those links of others that were not announced again in time.
    pub(super) fn expire(&mut self, now: Instant) {
        let (timeout, memory) = (self.config.timeout(), self.config.memory());
        let own = self.db.graph().find(self.config.address);
        let (mut left, mut over) = (Duration::MAX, Vec::new());
        for (index, link) in self.db.iter().filter(|(_, link)| !link.is_of(own)) {
            let life = if link.live() { timeout } else { memory };
            match life.saturating_sub(link.age(now)) {
                Duration::ZERO => over.push(index),
                more => left = left.min(more),
            }
        }
        for index in over {
            self.stats.expired += u64::from(self.db.get(index).is_some_and(Link::live));
            self.remove(now, index);
        }
        self.swept = now;
        self.expiry = (left != Duration::MAX).then(|| now + left.max(GAP));
    }

    /// A link that others told of may expire sooner than it was thought. An own one, which they remember as taken back, is
    /// looked at by itself.
    fn arm_expiry(&mut self, now: Instant, index: u32) {
        let Some(link) = self.db.get(index) else { return };
        let life = if link.live() { self.config.timeout() } else { self.config.memory() };
        let at = now + life.saturating_sub(link.age(now));
        if self.db.is_of(index, self.config.address) {
            return self.arm(index, at);
        }
        let at = at.max(self.swept + GAP);
        self.expiry = Some(self.expiry.map_or(at, |before| before.min(at)));
    }

    /// Forgets a link.
    pub(super) fn remove(&mut self, now: Instant, index: u32) {
        self.set_live(now, index, false);
        if let Some(timer) = self.own_due.remove(&index) {
            self.timers.cancel(timer);
        }
        self.db.remove(index);
        self.peers.values_mut().for_each(|peer| peer.forget(index));
    }

    /// Says whether a link is announced, and has routes computed if that makes a difference.
    pub(super) fn set_live(&mut self, now: Instant, index: u32, live: bool) {
        let mine = self.db.is_of(index, self.config.address);
        let changed = self.db.set_live(index, live);
        if mine {
            self.throttle.hurry(now);
        }
        if !changed {
            return;
        }
        // Alternates were computed with all other links in place: they are of use only if nothing but own links has
        // failed.
        let own_failure = mine && !live && self.changes != Changes::Any;
        self.changes = if own_failure { Changes::OwnFailures } else { Changes::Any };
        if mine {
            self.throttle.changed_here(now);
        } else {
            self.throttle.changed(now);
        }
    }

    /// Looks at an own link at `at`, and not when that was planned before.
    pub(super) fn arm(&mut self, index: u32, at: Instant) {
        let timer = self.timers.arm(at, Due::Link(index));
        if let Some(before) = self.own_due.insert(index, timer) {
            self.timers.cancel(before);
        }
    }
}
