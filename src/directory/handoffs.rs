//! Handing names on to new contacts.
//!
//! A member that comes to be one of the k closest to a name gets it from those who have it. Many may come at once, or one
//! again and again, and many names may be kept: so newcomers wait in a queue, and some names at a time are looked at for
//! them, in the order of their hashes. What is stored meanwhile it gets from its owner.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;

use super::distance::closer;
use super::{Directory, Task};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::Contact;

/// Names handed on at a time, and the pause until the next: what others let one member store.
const HANDED_ON: usize = 64;
const PAUSE: Duration = Duration::from_millis(400);
/// Names looked at in that time. What they take is the same, however many members come.
const LOOKED_AT: usize = 512;
/// Number of the closest members that keep a name which hand it on to a new one: a message may be lost.
const HANDING_ON: usize = 3;
/// Newcomers that wait; more get what they have to keep from its owners.
const WAITING: usize = 256;

/// Progress of the search for the names of a newcomer: up to this name, if to any.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// Among those that are registered here.
    Own(Option<NameHash>),
    /// Among those that are kept for others.
    Kept(Option<NameHash>),
}

#[derive(Debug)]
struct Handoff {
    to: Contact,
    /// Progress; from the beginning, if there is none: so it is with all but the first that waits.
    cursor: Option<Box<Cursor>>,
}

/// New contacts that have not got all names that they have to keep.
#[derive(Debug, Default)]
pub(super) struct Handoffs {
    waiting: VecDeque<Handoff>,
    /// A timer is armed.
    pausing: bool,
    looked_at: u64,
}

impl Handoffs {
    /// Newcomers that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Number of names visited, for tests.
    #[cfg(test)]
    pub(super) fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// A member has come, perhaps anew: then it gets what there is now, once.
    fn add(&mut self, to: Contact) {
        self.waiting.retain(|handoff| handoff.to.address != to.address);
        if self.waiting.len() < WAITING {
            self.waiting.push_back(Handoff { to, cursor: None });
        }
    }
}

/// Work that may be done in one go.
struct Budget {
    look_at: usize,
    hand_on: usize,
}

impl Directory {
    /// Tells a new contact the names that are its business.
    pub(super) fn tell(&mut self, now: Instant, contact: Contact) {
        if self.contacts.table.len() == 1 {
            let names: Vec<NameHash> = self.publishing.names.keys().copied().collect();
            names.into_iter().for_each(|name| self.publish(name));
        }
        self.publishing.handoffs.add(contact);
        if !self.publishing.handoffs.pausing {
            self.hand_off(now);
        }
    }

    /// Hands on some names.
    pub(super) fn hand_off(&mut self, now: Instant) {
        let mut budget = Budget { look_at: LOOKED_AT, hand_on: HANDED_ON };
        let mut worked = false;
        while budget.look_at > 0 && budget.hand_on > 0 {
            let Some(Handoff { to, cursor }) = self.publishing.handoffs.waiting.pop_front() else { break };
            worked = true;
            // It has gone, or started anew under another id, while it waited.
            if !self.contacts.knows(&to) {
                continue;
            }
            let before = budget.look_at;
            let rest = match cursor.map_or(Cursor::Own(None), |cursor| *cursor) {
                Cursor::Own(after) => self.hand_off_own(now, to, after, &mut budget),
                Cursor::Kept(after) => self.hand_off_kept(now, to, after, &mut budget),
            };
            self.publishing.handoffs.looked_at += (before - budget.look_at) as u64;
            if let Some(cursor) = rest {
                self.publishing.handoffs.waiting.push_front(Handoff { to, cursor: Some(Box::new(cursor)) });
            }
        }
        if self.publishing.handoffs.waiting.is_empty() {
            // Many come at once when a layer comes into being, and then seldom.
            self.publishing.handoffs.waiting = VecDeque::new();
        }
        // A pause also after the last one: what comes next may be another.
        self.publishing.handoffs.pausing = worked;
        if worked {
            self.timers.arm(now + PAUSE, Task::HandOff);
        }
    }

    /// Hands on names that are registered here. Returns where to go on.
    fn hand_off_own(
        &mut self,
        now: Instant,
        to: Contact,
        after: Option<NameHash>,
        budget: &mut Budget,
    ) -> Option<Cursor> {
        let small = self.contacts.table.len() <= self.config.limits.spread;
        let (mut last, mut names) = (after, Vec::new());
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.publishing.names.range((start, Bound::Unbounded));
        let mut all = all.take(budget.look_at);
        while names.len() < budget.hand_on
            && let Some((hash, name)) = all.next()
        {
            budget.look_at -= 1;
            last = Some(*hash);
            // Closer than the farthest of those that have it: the newcomer takes that one's place among the k closest.
            let concerned = || small || name.farthest.is_none_or(|farthest| closer(hash, &to.id, &farthest));
            if name.is_published() && concerned() {
                names.push(*hash);
            }
        }
        let over = all.next().is_none() && budget.look_at > 0 && names.len() < budget.hand_on;
        budget.hand_on -= names.len();
        let token = self.contacts.table.token(to.address);
        for name in names {
            self.counters.handed_off += 1;
            self.store_own(now, (to.address, token), name);
        }
        Some(if over { Cursor::Kept(None) } else { Cursor::Own(last) })
    }

    /// Hands on names that are kept here for others, if it is up to this member. Returns where to go on, if anywhere.
    fn hand_off_kept(
        &mut self,
        now: Instant,
        to: Contact,
        after: Option<NameHash>,
        budget: &mut Budget,
    ) -> Option<Cursor> {
        let k = self.config.k();
        // Names that are kept here are near the own id. A newcomer that is not among the k closest to this member is
        // hardly among the k closest to them.
        let near = self.contacts.table.closest(&self.own.id, 2 * k);
        if near.iter().take(k).all(|near| near.address != to.address) {
            return None;
        }
        let others: Vec<Contact> = near.into_iter().filter(|near| near.address != to.address).collect();
        // Whether fewer than `most` of the others are closer to a name.
        let few_before = |key: &NameHash, id: &NameHash, most: usize| {
            others.iter().filter(|other| closer(key, &other.id, id)).take(most).count() < most
        };
        let (mut last, mut names, mut over) = (after, Vec::new(), true);
        for key in self.storage.store.keys_after(after) {
            if budget.look_at == 0 || names.len() == budget.hand_on {
                over = false;
                break;
            }
            budget.look_at -= 1;
            last = Some(*key);
            // Of the members that have the name only the closest few hand it on, and only to one whose place it belongs
            // to: otherwise k members would send the same.
            if few_before(key, &self.own.id, HANDING_ON) && few_before(key, &to.id, k) {
                names.push(*key);
            }
        }
        budget.hand_on -= names.len();
        let to: (Address, Option<u64>) = (to.address, self.contacts.table.token(to.address));
        for name in names {
            self.counters.handed_off += 1;
            for value in self.storage.store.get(now, &name) {
                self.store_at(now, to, name, value.address, value.expires);
            }
        }
        (!over).then_some(Cursor::Kept(last))
    }
}
