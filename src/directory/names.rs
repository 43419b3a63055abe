//! The names registered here, and when they are to be published.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::base::timers::TimerId;
use crate::types::id::Address;
use crate::types::name::NameHash;

/// After how long a name is published again at first: what was lost is there soon, and what the first lookup missed in
/// a layer that grows.
const REPEATS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(30), Duration::from_secs(240)];
/// After how long a name that nobody took is tried again, doubling.
const RETRY: Duration = Duration::from_millis(250);

/// Members that were told of a name, and the token of each.
pub(super) type Holders = BTreeMap<Address, Option<u64>>;

/// Members remembered of those that were told of a name. Beyond it the others forget it when it expires.
const HOLDERS: usize = 64;

/// A name that is registered here.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// When it is to be published.
    pub(super) timer: Option<TimerId>,
    /// A lookup for it runs or will.
    pub(super) publishing: bool,
    /// It was published so often with success since it was registered.
    published: u8,
    /// It was tried so often without success since.
    failed: u8,
    /// Who was told of it, with the token that it gave: the first ones.
    pub(super) holders: Holders,
    /// The farthest of the k closest members that have it; `None` if there were fewer than k.
    pub(super) farthest: Option<NameHash>,
}

impl Name {
    /// Whether anybody was told.
    pub(super) fn is_published(&self) -> bool {
        self.published > 0
    }

    /// It was published. Returns when to do so again, if it is to be done at this interval in the long run.
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
        if self.holders.len() < HOLDERS || self.holders.contains_key(&who) {
            self.holders.insert(who, token);
        }
    }

    /// Nobody was there who could have taken it. Returns when to try again.
    pub(super) fn failed(&mut self, interval: Duration) -> Duration {
        let next = RETRY.saturating_mul(1 << self.failed.min(16)).min(interval);
        self.failed = self.failed.saturating_add(1);
        self.publishing = false;
        next
    }
}

/// Names registered here.
pub(super) type Names = BTreeMap<NameHash, Name>;
