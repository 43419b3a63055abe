//! Taking names back.
//!
//! Members of this kind that were told of a name are told that no time is left for it: with the token that each gave,
//! it believes that at once. Those are told as well that have asked whether the name is here, because others handed it
//! on to them, and those that are closest to it now. A reference takes it for a name that has expired and forgets
//! nothing. There is no answer, so it is told three times.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::background::Job;
use super::names::Holders;
use super::{Directory, Task};
use crate::base::time::Instant;
use crate::base::timers::TimerId;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension};

/// Pauses before it is told again.
const REPEATS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(8)];

/// Pause if too many messages wait.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Withdrawal {
    holders: Holders,
    /// It was said so often.
    said: usize,
    timer: Option<TimerId>,
}

/// Names that were registered here until a moment ago.
#[derive(Debug, Default)]
pub(super) struct Withdrawals {
    names: BTreeMap<NameHash, Withdrawal>,
    /// The oldest first; perhaps with some that are over.
    order: VecDeque<NameHash>,
}

impl Withdrawals {
    /// Names in it.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

impl Directory {
    /// Takes a name back from those who were told of it.
    pub(super) fn withdraw(&mut self, now: Instant, name: NameHash, holders: Holders) {
        if holders.len() == 0 {
            return;
        }
        self.publishing.withdrawals.order.push_back(name);
        // As many as there may be names; the oldest has been said before.
        while self.publishing.withdrawals.order.len() > self.config.limits.names.max(1) {
            let oldest = self.publishing.withdrawals.order.pop_front();
            oldest.into_iter().for_each(|oldest| self.no_more_withdrawn(&oldest));
        }
        self.publishing.withdrawals.names.insert(name, Withdrawal { holders, said: 0, timer: None });
        self.withdraw_again(now, name);
        // Members that replicate have told others, of whom nothing is known here: they are among those closest to the
        // name.
        self.background.push(Job::Withdraw(name));
        self.begin_lookups(now);
    }

    /// Takes a name back from those who are closest to it.
    pub(super) fn withdraw_from(&mut self, name: NameHash, closest: &[(Contact, Option<u64>)]) {
        let Some(withdrawal) = self.publishing.withdrawals.names.get_mut(&name) else { return };
        let new = closest.iter().filter(|(contact, _)| !withdrawal.holders.contains(contact.address));
        let new: Vec<_> = new.map(|(contact, token)| (contact.address, *token)).collect();
        new.iter().for_each(|(to, token)| withdrawal.holders.add(*to, *token));
        for (to, token) in new {
            self.say_withdrawn(to, name, token);
        }
    }

    fn say_withdrawn(&mut self, to: Address, name: NameHash, token: Option<u64>) {
        let value = self.own.address;
        self.send(to, Body::Store { key: name, value, expires: 0 }, Extension { token, padding: 0 });
    }

    /// Says that a name is not registered here any more.
    pub(super) fn withdraw_again(&mut self, now: Instant, name: NameHash) {
        let Some(mut withdrawal) = self.publishing.withdrawals.names.remove(&name) else { return };
        let waiting = self.outbox.len();
        if waiting > 0 && waiting + withdrawal.holders.len() > self.config.limits.outbox / 2 {
            // Many names at once are more messages than may wait, and each time the same ones would be lost.
            withdrawal.timer = Some(self.timers.arm(now + PAUSE, Task::Withdraw(name)));
            self.publishing.withdrawals.names.insert(name, withdrawal);
            return;
        }
        for (to, token) in withdrawal.holders.iter() {
            // The token of the time when it was told may have expired; a contact has given a newer one since.
            let token = self.contacts.table.token(to).or(token);
            self.say_withdrawn(to, name, token);
        }
        if let Some(pause) = REPEATS.get(withdrawal.said) {
            withdrawal.said += 1;
            withdrawal.timer = Some(self.timers.arm(now + *pause, Task::Withdraw(name)));
            self.publishing.withdrawals.names.insert(name, withdrawal);
        } else {
            self.publishing.withdrawals.order.retain(|known| *known != name);
        }
    }

    /// A name is registered here again.
    pub(super) fn no_more_withdrawn(&mut self, name: &NameHash) {
        let Some(withdrawal) = self.publishing.withdrawals.names.remove(name) else { return };
        withdrawal.timer.map(|timer| self.timers.cancel(timer));
        self.publishing.withdrawals.order.retain(|known| known != name);
    }
}
