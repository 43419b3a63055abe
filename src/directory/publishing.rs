//! Making names known: the own ones, and those of others whose owners do not.

use alloc::vec::Vec;
use core::time::Duration;

use super::background::Job;
use super::handoffs::Handoffs;
use super::lookup::Lookup;
use super::names::Names;
use super::table::Style;
use super::withdrawals::Withdrawals;
use super::{Directory, Task};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension};

/// Longest interval between two checks of the names kept for others.
const SWEEP: Duration = Duration::from_secs(60);

/// Names that others have to keep.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    pub(super) names: Names,
    pub(super) handoffs: Handoffs,
    pub(super) withdrawals: Withdrawals,
}

impl Directory {
    /// Publishes an own name when there is time.
    pub(super) fn publish(&mut self, hash: NameHash) {
        let Some(name) = self.publishing.names.get_mut(&hash) else { return };
        if let Some(timer) = name.timer.take() {
            self.timers.cancel(timer);
        }
        // The first contact will be told of it.
        if !name.publishing && self.contacts.table.len() > 0 {
            name.publishing = true;
            self.background.push(Job::Publish(hash));
        }
    }

    /// A lookup to publish has found the closest.
    pub(super) fn deliver(&mut self, now: Instant, lookup: &Lookup) {
        let closest: Vec<(Contact, Option<u64>)> = lookup.closest().collect();
        if lookup.purpose.publish {
            self.deliver_own(now, lookup.key, &closest);
        }
        if lookup.purpose.withdraw {
            self.withdraw_from(lookup.key, &closest);
        }
        if lookup.purpose.replicate {
            // A lookup has been made for this name anyway: its other values go along before they are due.
            let silence = self.config.replicate() / 2;
            for value in self.storage.store.take_silent(now, &lookup.key, silence) {
                self.counters.replicated += 1;
                for (to, token) in &closest {
                    self.store_at(now, (to.address, *token), lookup.key, value.address, value.expires);
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
            // While fewer than k members have the name, every newcomer has to get it.
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
        // References ask contacts of their choice, once. They find a name only where it is everywhere, or where they
        // keep it themselves; the former is affordable in a small layer.
        let all = self.contacts.table.len() <= self.config.limits.spread;
        let out_of_place = |style: Style| all || style == Style::SingleRound;
        let more = self.contacts.table.iter().filter(|peer| peer.is_live() && out_of_place(peer.style));
        let more = more.map(|peer| peer.contact.address).filter(|to| closest.iter().all(|(c, _)| c.address != *to));
        let more: Vec<(Address, Option<u64>)> =
            more.take(self.config.limits.spread).map(|to| (to, self.contacts.table.token(to))).collect();
        let to = closest.iter().map(|(contact, token)| (contact.address, *token)).chain(more);
        to.for_each(|to| self.store_own(now, to, hash));
    }

    pub(super) fn store_own(&mut self, now: Instant, to: (Address, Option<u64>), name: NameHash) {
        self.store_at(now, to, name, self.own.address, now + self.config.lifetime());
        if let Some(name) = self.publishing.names.get_mut(&name) {
            name.note_holder(to.0, to.1);
        }
    }

    /// Has a member keep the address of a name, with the token that it gave.
    pub(super) fn store_at(
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

    /// Interval between two checks of the names kept for others.
    pub(super) fn sweep_interval(&mut self) -> Duration {
        let interval = (self.config.replicate() / 4).min(SWEEP);
        self.jitter(interval)
    }

    /// Drops expired names, and publishes those that their owners have not published for long.
    pub(super) fn sweep(&mut self, now: Instant) {
        for key in self.storage.store.sweep(now, self.config.replicate()) {
            // What is left out now is still silent at the next sweep.
            if self.background.len() < self.config.limits.keys {
                self.background.push(Job::Replicate(key));
            }
        }
        self.confirm_unproven(now);
        let next = self.sweep_interval();
        self.timers.arm(now + next, Task::Sweep);
    }
}
