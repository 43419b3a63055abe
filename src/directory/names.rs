//! Names registered here, and the times of their publication.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use crate::base::timers::TimerId;
use crate::types::id::Address;
use crate::types::name::NameHash;

/// After how long a name is published again at first: what was lost is there soon, and what the first lookup missed in
/// a layer that grows.
const REPEATS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(30), Duration::from_secs(240)];
/// First pause before a name that no member took is tried again, doubling.
const RETRY: Duration = Duration::from_millis(250);

/// Members remembered of those that were told of a name: more than are told at a time, so that those closest to it now are
/// among them. Beyond it the oldest forget the name when it expires.
const TOLD: usize = 128;
/// Members remembered of those that have asked whether the name is here, because others have told them. They have a
/// list of their own, so that they displace none that was told.
const ASKED: usize = 32;

/// Members that have a name, with the token that each gave; the newest are remembered.
#[derive(Debug, Default)]
pub(super) struct Holders {
    told: Newest,
    asked: Newest,
}

impl Holders {
    /// The members.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Address, Option<u64>)> {
        let asked = self.asked.0.iter().filter(|(who, _)| !self.told.contains(*who));
        self.told.0.iter().chain(asked).copied()
    }

    /// Greatest number of members.
    pub(super) fn len(&self) -> usize {
        self.told.0.len() + self.asked.0.len()
    }

    /// Returns `true` if this is one of them.
    pub(super) fn contains(&self, who: Address) -> bool {
        self.told.contains(who) || self.asked.contains(who)
    }

    /// A member was told.
    pub(super) fn add(&mut self, who: Address, token: Option<u64>) {
        self.told.add(TOLD, who, token);
    }
}

/// The newest of many, the newest last.
#[derive(Debug, Default)]
struct Newest(VecDeque<(Address, Option<u64>)>);

impl Newest {
    fn contains(&self, who: Address) -> bool {
        self.0.iter().any(|(known, _)| *known == who)
    }

    fn add(&mut self, limit: usize, who: Address, token: Option<u64>) {
        let known = self.0.iter().position(|(known, _)| *known == who);
        // It becomes the newest. A token that it gave earlier is kept if it has given none now.
        if let Some((_, before)) = known.and_then(|at| self.0.remove(at)) {
            self.0.push_back((who, token.or(before)));
            return;
        }
        if self.0.len() >= limit {
            self.0.pop_front();
        }
        self.0.push_back((who, token));
    }
}

/// A name that is registered here.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// Timer of the next publication.
    pub(super) timer: Option<TimerId>,
    /// A lookup for it runs or will.
    pub(super) publishing: bool,
    /// It was published so often with success since it was registered.
    published: u8,
    /// It was tried so often without success since.
    failed: u8,
    /// Members that have the name.
    pub(super) holders: Holders,
    /// The farthest of the k closest members that have it; `None` if there were fewer than k.
    pub(super) farthest: Option<NameHash>,
}

impl Name {
    /// Returns `true` if a member was told.
    pub(super) fn is_published(&self) -> bool {
        self.published > 0
    }

    /// The name was published. Returns the pause until the next time, if this interval is right in the long run.
    pub(super) fn published(&mut self, farthest: Option<NameHash>, interval: Duration) -> Duration {
        let next = REPEATS.get(usize::from(self.published)).map_or(interval, |repeat| interval.min(*repeat));
        self.published = self.published.saturating_add(1);
        self.failed = 0;
        self.publishing = false;
        self.farthest = farthest;
        next
    }

    /// A member was told of it.
    pub(super) fn note_holder(&mut self, who: Address, token: Option<u64>) {
        self.holders.add(who, token);
    }

    /// A member has asked whether it is here.
    pub(super) fn note_keeper(&mut self, who: Address, token: Option<u64>) {
        self.holders.asked.add(ASKED, who, token);
    }

    /// No member could take the name. Returns the pause until the next attempt.
    pub(super) fn failed(&mut self, interval: Duration) -> Duration {
        let next = RETRY.saturating_mul(1 << self.failed.min(16)).min(interval);
        self.failed = self.failed.saturating_add(1);
        self.publishing = false;
        next
    }
}

/// Names registered here.
pub(super) type Names = BTreeMap<NameHash, Name>;
