//! The names kept for others.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::distance::{closer, compare};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;

/// Where a name is, as somebody said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) address: Address,
    pub(super) expires: Instant,
    /// Whoever is there said so itself. Such values come first and stay longest.
    pub(super) itself: bool,
    /// Who said so.
    source: Address,
    /// When somebody last said so.
    published: Instant,
}

/// Why a value was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The sender has as many names here as one may have.
    Source,
    /// Nothing that is kept is worth less.
    Full,
}

/// Whether a value was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was not.
    New,
    /// It was.
    Again,
}

/// Names kept for others, within limits.
#[derive(Debug)]
pub(super) struct Store {
    own: NameHash,
    /// The values of each name, in order of arrival; at least one.
    names: BTreeMap<NameHash, Vec<Value>>,
    /// How many values each sender has here.
    sources: BTreeMap<Address, usize>,
    max_keys: usize,
    max_per_source: usize,
    max_values: usize,
}

impl Store {
    /// A store of the member with this id.
    pub(super) fn new(own: NameHash, max_keys: usize, max_per_source: usize, max_values: usize) -> Self {
        Self { own, names: BTreeMap::new(), sources: BTreeMap::new(), max_keys, max_per_source, max_values }
    }

    /// Names in it.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// `source` says that a name is at `address` until `expires`.
    pub(super) fn put(
        &mut self,
        now: Instant,
        key: &NameHash,
        address: Address,
        source: Address,
        expires: Instant,
    ) -> Result<Kept, Refusal> {
        let itself = address == source;
        let values = self.names.get_mut(key);
        let known = values.is_some();
        if let Some(value) = values.into_iter().flatten().find(|value| value.address == address) {
            value.published = now;
            // Later, never earlier, as the reference has it.
            value.expires = value.expires.max(expires);
            value.itself |= itself;
            return Ok(Kept::Again);
        }
        if self.sources.get(&source).is_some_and(|count| *count >= self.max_per_source) {
            return Err(Refusal::Source);
        }
        if known {
            self.make_room_for_value(now, key, itself)?;
        } else {
            self.make_room_for_name(key)?;
        }
        let value = Value { address, expires, itself, source, published: now };
        self.names.entry(*key).or_default().push(value);
        *self.sources.entry(source).or_default() += 1;
        Ok(Kept::New)
    }

    fn make_room_for_value(&mut self, now: Instant, key: &NameHash, itself: bool) -> Result<(), Refusal> {
        self.expire(now, key);
        let Some(values) = self.names.get_mut(key).filter(|values| values.len() >= self.max_values) else {
            return Ok(());
        };
        // What others said goes first, and of that what ends first.
        let least = values.iter().enumerate().min_by_key(|(_, value)| (value.itself, value.expires));
        let Some((at, least)) = least.filter(|(_, least)| itself || !least.itself) else { return Err(Refusal::Full) };
        let source = least.source;
        values.remove(at);
        self.forget_source(source);
        Ok(())
    }

    /// The keys nearest to the own id are kept: they are the ones that others look for here.
    fn make_room_for_name(&mut self, key: &NameHash) -> Result<(), Refusal> {
        if self.names.len() < self.max_keys {
            return Ok(());
        }
        let own = self.own;
        let farthest = self.names.keys().copied().max_by(|a, b| compare(&own, a, b));
        let farthest = farthest.filter(|farthest| closer(&own, key, farthest)).ok_or(Refusal::Full)?;
        for value in self.names.remove(&farthest).unwrap_or_default() {
            self.forget_source(value.source);
        }
        Ok(())
    }

    fn forget_source(&mut self, source: Address) {
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Drops what has expired of a name.
    fn expire(&mut self, now: Instant, key: &NameHash) {
        let Some(values) = self.names.get_mut(key) else { return };
        let gone: Vec<Address> = values.iter().filter(|v| v.expires <= now).map(|v| v.source).collect();
        values.retain(|value| value.expires > now);
        if values.is_empty() {
            self.names.remove(key);
        }
        gone.into_iter().for_each(|source| self.forget_source(source));
    }

    /// Drops what has expired, and returns the names with values that nobody has published for so long.
    pub(super) fn sweep(&mut self, now: Instant, silence: Duration) -> Vec<NameHash> {
        let keys: Vec<NameHash> = self.names.keys().copied().collect();
        keys.iter().for_each(|key| self.expire(now, key));
        let silent = |value: &Value| now.since(value.published) >= silence;
        self.names.iter().filter(|(_, values)| values.iter().any(silent)).map(|(key, _)| *key).collect()
    }

    /// The values of a name that nobody has published for so long, which are being published now.
    pub(super) fn take_silent(&mut self, now: Instant, key: &NameHash, silence: Duration) -> Vec<Value> {
        let values = self.names.get_mut(key).into_iter().flatten();
        let silent = values.filter(|value| value.expires > now && now.since(value.published) >= silence);
        silent
            .map(|value| {
                value.published = now;
                *value
            })
            .collect()
    }

    /// The values of a name that have not expired: what its owner said first, then the newest.
    pub(super) fn get(&self, now: Instant, key: &NameHash) -> Vec<Value> {
        let values = self.names.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut alive: Vec<Value> = values.iter().rev().filter(|value| value.expires > now).copied().collect();
        alive.sort_by_key(|value| !value.itself);
        alive
    }

    /// All names.
    pub(super) fn keys(&self) -> impl Iterator<Item = &NameHash> {
        self.names.keys()
    }

    /// All values, of all names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NameHash, &Value)> {
        self.names.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)))
    }
}
