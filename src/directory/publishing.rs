//! Making names known: the own ones, and those of others whose owners do not.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::distance::closer;
use super::names::Names;
use super::questions::Kind;
use super::rate::Rate;
use super::table::Style;
use super::walk::{Purpose, Walk};
use super::withdrawing::Withdrawals;
use super::{Directory, Limits, Task};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension};

/// Names handed on at a time, and the pause until the next: what others let one member store.
const HANDED_ON: usize = 64;
const HAND_OFF_PAUSE: Duration = Duration::from_millis(400);
/// Of those who keep a name, so many of the closest hand it on to a new one: a message may be lost.
const HANDING_ON: usize = 3;
/// The shortest pause after too many walks.
const REST: Duration = Duration::from_millis(50);
/// How often the names kept for others are looked after, at least.
const SWEEP: Duration = Duration::from_secs(60);

/// A walk that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chore {
    /// Towards a name that is registered here, to store it.
    Publish(NameHash),
    /// Towards a name that is kept here, to store it.
    Replicate(NameHash),
    /// Towards a name that was registered here, to take it back from those who got it from others.
    Withdraw(NameHash),
    /// Towards an id, to get to know the members there.
    Look(NameHash),
}

/// Names for new members.
#[derive(Debug, Default)]
pub(super) struct Handoffs {
    waiting: VecDeque<(Address, NameHash)>,
    /// A timer is armed.
    pausing: bool,
}

impl Handoffs {
    /// Names that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// Walks that nobody waits for, each once.
#[derive(Debug)]
pub(super) struct Chores {
    queue: VecDeque<Chore>,
    queued: BTreeSet<Chore>,
    /// How many begin.
    beginning: Rate,
    /// A timer for them is armed.
    pub(super) resting: bool,
}

impl Chores {
    fn new(now: Instant, limits: &Limits) -> Self {
        let beginning = Rate::new(now, limits.chores_per_second);
        Self { queue: VecDeque::new(), queued: BTreeSet::new(), beginning, resting: false }
    }

    /// Walks that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Adds one behind all others, unless it waits already.
    pub(super) fn push(&mut self, chore: Chore) {
        if self.queued.insert(chore) {
            self.queue.push_back(chore);
        }
    }

    /// Adds one before all others, unless it waits already.
    fn push_first(&mut self, chore: Chore) {
        if self.queued.insert(chore) {
            self.queue.push_front(chore);
        }
    }

    fn pop(&mut self) -> Option<Chore> {
        let chore = self.queue.pop_front()?;
        self.queued.remove(&chore);
        Some(chore)
    }
}

/// What others are to keep.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) names: Names,
    pub(super) chores: Chores,
    pub(super) handoffs: Handoffs,
    pub(super) withdrawals: Withdrawals,
}

impl Publishing {
    pub(super) fn new(now: Instant, limits: &Limits) -> Self {
        Self {
            names: Names::new(),
            chores: Chores::new(now, limits),
            handoffs: Handoffs::default(),
            withdrawals: Withdrawals::default(),
        }
    }
}

impl Directory {
    /// Publishes an own name when there is time.
    pub(super) fn publish(&mut self, hash: NameHash) {
        let Some(name) = self.publishing.names.get_mut(&hash) else { return };
        if let Some(timer) = name.timer.take() {
            self.timers.cancel(timer);
        }
        // Whoever becomes the first contact gets to know it.
        if !name.publishing && self.contacts.table.len() > 0 {
            name.publishing = true;
            self.publishing.chores.push(Chore::Publish(hash));
        }
    }

    /// Looks for an id when there is time.
    pub(super) fn look(&mut self, key: NameHash) {
        self.publishing.chores.push_first(Chore::Look(key));
    }

    /// Begins walks that nobody waits for, as many as there may be.
    pub(super) fn do_chores(&mut self, now: Instant) {
        while self.publishing.chores.len() > 0
            && !self.publishing.chores.resting
            && self.lookups.of(Kind::Node) < self.config.limits.chores.max(1)
        {
            if !self.publishing.chores.beginning.take(now) {
                let next = self.publishing.chores.beginning.next().max(now + REST);
                self.timers.arm(next, Task::Rest);
                self.publishing.chores.resting = true;
                break;
            }
            let Some(chore) = self.publishing.chores.pop() else { break };
            let (key, purpose) = match chore {
                Chore::Publish(key) => (key, Purpose { publish: true, ..Purpose::default() }),
                Chore::Replicate(key) => (key, Purpose { replicate: true, ..Purpose::default() }),
                Chore::Withdraw(key) => (key, Purpose { withdraw: true, ..Purpose::default() }),
                Chore::Look(key) => (key, Purpose::default()),
            };
            self.walk(now, Kind::Node, key, purpose);
        }
    }

    /// A walk to publish has found the closest.
    pub(super) fn deliver(&mut self, now: Instant, walk: &Walk) {
        let closest: Vec<(Contact, Option<u64>)> = walk.closest().collect();
        if walk.purpose.publish {
            self.deliver_own(now, walk.key, &closest);
        }
        if walk.purpose.withdraw {
            self.withdraw_from(walk.key, &closest);
        }
        if walk.purpose.replicate {
            let silence = self.config.replicate() / 2;
            for value in self.keeping.store.take_silent(now, &walk.key, silence) {
                self.counters.replicated += 1;
                for (to, token) in &closest {
                    self.store_at(now, (to.address, *token), walk.key, value.address, value.expires);
                }
            }
        }
    }

    fn deliver_own(&mut self, now: Instant, hash: NameHash, closest: &[(Contact, Option<u64>)]) {
        let (k, interval) = (self.config.k(), self.config.republish());
        let Some(name) = self.publishing.names.get_mut(&hash) else { return };
        let next = if closest.is_empty() {
            name.failed(interval)
        } else {
            let farthest = closest.last().filter(|_| closest.len() >= k);
            name.published(farthest.map(|(contact, _)| contact.id), interval)
        };
        let next = self.jitter(next);
        let timer = self.timers.arm(now + next, Task::Publish(hash));
        if let Some(name) = self.publishing.names.get_mut(&hash) {
            name.timer = Some(timer);
        }
        if closest.is_empty() {
            return;
        }
        self.counters.published += 1;
        let all = self.contacts.table.len() <= self.config.limits.spread;
        let out_of_place = |style: Style| all || style == Style::AsksOnce;
        let more = self.contacts.table.iter().filter(|peer| peer.is_well() && out_of_place(peer.style));
        let more = more.map(|peer| peer.contact.address).filter(|to| closest.iter().all(|(c, _)| c.address != *to));
        let more: Vec<(Address, Option<u64>)> =
            more.take(self.config.limits.spread).map(|to| (to, self.contacts.table.token(to))).collect();
        let to = closest.iter().map(|(contact, token)| (contact.address, *token)).chain(more);
        to.for_each(|to| self.store_own(now, to, hash));
    }

    fn store_own(&mut self, now: Instant, to: (Address, Option<u64>), name: NameHash) {
        self.store_at(now, to, name, self.own.address, now + self.config.lifetime());
        if let Some(name) = self.publishing.names.get_mut(&name) {
            name.told(to.0, to.1);
        }
    }

    /// Has somebody keep where a name is, with the token that it gave.
    fn store_at(
        &mut self,
        now: Instant,
        (to, token): (Address, Option<u64>),
        key: NameHash,
        value: Address,
        expires: Instant,
    ) {
        if to == self.own.address {
            return;
        }
        // Seconds, modulo 2³²: the format ends in 2106.
        let expires = self.unix(now).wrapping_add(expires.since(now).as_secs()) as u32;
        self.send(to, Body::Store { key, value, expires }, Extension { token, padding: 0 });
    }

    /// Tells a new contact the names that are its business.
    pub(super) fn tell(&mut self, now: Instant, contact: Contact) {
        if self.contacts.table.len() == 1 {
            let names: Vec<NameHash> = self.publishing.names.keys().copied().collect();
            names.into_iter().for_each(|name| self.publish(name));
        }
        let small = self.contacts.table.len() <= self.config.limits.spread;
        let concerned = |hash: &NameHash, farthest: Option<NameHash>| {
            small || farthest.is_none_or(|farthest| closer(hash, &contact.id, &farthest))
        };
        let own =
            self.publishing.names.iter().filter(|(hash, name)| name.is_published() && concerned(hash, name.farthest));
        let own: Vec<NameHash> = own.map(|(hash, _)| *hash).collect();
        let others = self.inherited(&contact);
        // If it starts anew before it has all of them, it gets what there is now, once.
        self.publishing.handoffs.waiting.retain(|(to, _)| *to != contact.address);
        for name in own.into_iter().chain(others) {
            if self.publishing.handoffs.len() >= self.config.limits.keys {
                break;
            }
            self.publishing.handoffs.waiting.push_back((contact.address, name));
        }
        if !self.publishing.handoffs.pausing {
            self.hand_off(now);
        }
    }

    /// The names kept here for others that a new contact has to keep as well, if it is up to this member to say so.
    fn inherited(&self, contact: &Contact) -> Vec<NameHash> {
        let k = self.config.k();
        let near = self.contacts.table.closest(&self.own.id, 2 * k);
        if near.iter().take(k).all(|near| near.address != contact.address) {
            return Vec::new();
        }
        let before = |key: &NameHash, id: &NameHash| {
            let others = near.iter().filter(|near| near.address != contact.address);
            others.filter(|near| closer(key, &near.id, id)).count()
        };
        let inherits = |key: &NameHash| before(key, &self.own.id) < HANDING_ON && before(key, &contact.id) < k;
        self.keeping.store.keys().filter(|key| inherits(key)).copied().collect()
    }

    /// Hands on some names.
    pub(super) fn hand_off(&mut self, now: Instant) {
        for _ in 0..HANDED_ON {
            let Some((to, name)) = self.publishing.handoffs.waiting.pop_front() else { break };
            self.counters.handed_off += 1;
            let to = (to, self.contacts.table.token(to));
            if self.publishing.names.contains_key(&name) {
                self.store_own(now, to, name);
            }
            for value in self.keeping.store.get(now, &name) {
                self.store_at(now, to, name, value.address, value.expires);
            }
        }
        self.publishing.handoffs.pausing = self.publishing.handoffs.len() > 0;
        if self.publishing.handoffs.pausing {
            self.timers.arm(now + HAND_OFF_PAUSE, Task::HandOff);
        }
    }

    /// How often the names kept for others are looked after.
    pub(super) fn sweep_interval(&mut self) -> Duration {
        let interval = (self.config.replicate() / 4).min(SWEEP);
        self.jitter(interval)
    }

    /// Drops what has expired, and publishes what nobody has published for long.
    pub(super) fn sweep(&mut self, now: Instant) {
        for key in self.keeping.store.sweep(now, self.config.replicate()) {
            if self.publishing.chores.len() < self.config.limits.keys {
                self.publishing.chores.push(Chore::Replicate(key));
            }
        }
        self.confirm_unproven(now);
        let next = self.sweep_interval();
        self.timers.arm(now + next, Task::Sweep);
    }
}
