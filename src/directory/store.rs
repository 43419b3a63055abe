//! The names kept for others.
//!
//! Every value is on the account of the member that stored it: of one that has shown that it is at its address
//! ([`tokens`](super::tokens)), or was asked and has the name; or of all others together, who share a small one. What
//! goes when there is no room:
//!
//! | what is full | what goes | why |
//! |---|---|---|
//! | the account of all others | its oldest value | it is either confirmed soon, or worth nothing |
//! | the account of a member | its key farthest from the own id, if the new one is nearer | near keys are looked for here |
//! | the store | such a key of the largest account, which may be the one that wants more | each pays for its own |
//! | the values of a name | one of all others; hearsay; an owner that is overdue; nothing else | owners that are there stay |
//!
//! Each takes logarithmic time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;

use super::distance::xor;
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;

/// An address of a name, as it was claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) address: Address,
    pub(super) expires: Instant,
    /// The member at the address said so itself, and is there. Such values come first and stay longest.
    pub(super) itself: bool,
    account: Account,
    /// Time of the last claim.
    published: Instant,
}

/// Account of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// A member that has shown that it is at this address.
    Member(Address),
    /// All others.
    Others,
}

/// A value to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) key: NameHash,
    pub(super) address: Address,
    pub(super) expires: Instant,
    pub(super) account: Account,
}

impl Claim {
    /// Returns `true` if the member at the address says so.
    fn is_proven(&self) -> bool {
        self.account == Account::Member(self.address)
    }
}

/// Why a value was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The sender has as many names here as one may have.
    Account,
    /// Nothing that is kept is worth less.
    Full,
}

/// State of a value before it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was not.
    New,
    /// It was.
    Again,
}

/// Bounds of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Values of members, in all.
    pub(super) values: usize,
    /// Values of one member.
    pub(super) per_member: usize,
    /// Values of all others.
    pub(super) others: usize,
    /// Values of a name.
    pub(super) per_key: usize,
    /// After which silence an owner is overdue.
    pub(super) overdue: Duration,
}

/// Names kept for others, within limits.
#[derive(Debug)]
pub(super) struct Store {
    own: NameHash,
    /// The values of each name, the newest last; at least one.
    names: BTreeMap<NameHash, Vec<Value>>,
    /// Values of each member's account, by the distance of the key from the own id.
    members: BTreeMap<Address, BTreeSet<(NameHash, Address)>>,
    /// Sizes of these accounts, to find the largest.
    sizes: BTreeSet<(usize, Address)>,
    /// Values of the account of all others, the oldest first.
    others: BTreeMap<u64, (NameHash, Address)>,
    places: BTreeMap<(NameHash, Address), u64>,
    next_place: u64,
    values: usize,
    bounds: Bounds,
}

impl Store {
    /// A store of the member with this id.
    pub(super) fn new(own: NameHash, bounds: Bounds) -> Self {
        Self {
            own,
            names: BTreeMap::new(),
            members: BTreeMap::new(),
            sizes: BTreeSet::new(),
            others: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
            values: 0,
            bounds,
        }
    }

    /// Names in it.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Keeps what was said, if there is room.
    pub(super) fn put(&mut self, now: Instant, claim: Claim) -> Result<Kept, Refusal> {
        // Taken out and added again, which makes it the newest of its name and moves it between accounts in one go.
        if let Some(before) = self.take(&claim.key, claim.address) {
            let value = self.renewed(now, before, claim);
            // On its own account or a new one that has room, or else on the old one, which had: a member at its limit
            // could otherwise move the values of others to an account where they are soon lost.
            let moved = value.account != claim.account || self.make_room(&claim).is_ok();
            let account = if moved { value.account } else { before.account };
            if account == Account::Others {
                self.make_room_for_others();
            }
            self.add(&claim.key, Value { account, ..value });
            return Ok(Kept::Again);
        }
        // What gives way within the name is chosen first and taken out last: a claim that is refused for want of room
        // elsewhere costs no other value its place.
        let least = self.least_in_name(now, &claim)?;
        self.make_room(&claim)?;
        if let Some(least) = least {
            self.take(&claim.key, least);
        }
        let Claim { key, address, expires, account } = claim;
        self.add(&key, Value { address, expires, itself: claim.is_proven(), account, published: now });
        Ok(Kept::New)
    }

    /// The value after it was claimed again.
    fn renewed(&self, now: Instant, value: Value, claim: Claim) -> Value {
        if claim.is_proven() {
            // The owner knows best: it may also say that less time is left.
            let (expires, account) = (claim.expires, claim.account);
            return Value { expires, account, itself: true, published: now, ..value };
        }
        match claim.account {
            // Others do not know better than the owner.
            Account::Member(_) if value.itself => Value { published: now, ..value },
            // Later, never earlier, as the reference has it.
            Account::Member(_) => {
                Value { expires: value.expires.max(claim.expires), account: claim.account, published: now, ..value }
            }
            // The time of publication stays as it is: a claim that proves nothing must not put off that the members
            // which keep the name publish it.
            Account::Others if value.account == Account::Others => {
                Value { expires: value.expires.max(claim.expires), ..value }
            }
            // Nor does it prolong the value of a member: strangers could otherwise keep dead names alive.
            Account::Others => value,
        }
    }

    /// Drops a value, because the member at its address does not have the name. Returns `true` if it was kept.
    pub(super) fn withdraw(&mut self, key: &NameHash, address: Address) -> bool {
        self.take(key, address).is_some()
    }

    fn value(&self, key: &NameHash, address: Address) -> Option<&Value> {
        self.names.get(key)?.iter().find(|value| value.address == address)
    }

    /// Returns `true` if a value is kept that the member at its address has not confirmed, or that expires later.
    pub(super) fn is_open(&self, key: &NameHash, address: Address, expires: Instant) -> bool {
        self.value(key, address).is_some_and(|value| !value.itself || value.expires < expires)
    }

    /// Returns `true` if this value is kept.
    pub(super) fn has(&self, key: &NameHash, address: Address) -> bool {
        self.value(key, address).is_some()
    }

    /// Value of its name that has to go for a new one.
    fn least_in_name(&mut self, now: Instant, claim: &Claim) -> Result<Option<Address>, Refusal> {
        self.expire(now, &claim.key);
        let Some(values) = self.names.get(&claim.key).filter(|values| values.len() >= self.bounds.per_key) else {
            return Ok(None);
        };
        // An owner that is there publishes more often than that. Its place is safe; that of one that has fallen silent
        // is not.
        let overdue = |value: &Value| now.since(value.published) >= self.bounds.overdue;
        let worth = |value: &Value| match (value.account, value.itself) {
            (Account::Others, _) => 0,
            (_, false) => 1,
            (_, true) if overdue(value) => 2,
            (_, true) => 3,
        };
        // A claim displaces at most its like, so that hearsay, however much of it, displaces no owner.
        let own = match claim.account {
            Account::Others => 0,
            Account::Member(_) if claim.is_proven() => 2,
            Account::Member(_) => 1,
        };
        // Of those that are worth the same the oldest: they are in order of age.
        let least = values.iter().min_by_key(|value| worth(value)).filter(|least| worth(least) <= own);
        least.map(|least| Some(least.address)).ok_or(Refusal::Full)
    }

    /// Makes room for one more value on an account.
    fn make_room(&mut self, claim: &Claim) -> Result<(), Refusal> {
        let Account::Member(member) = claim.account else {
            self.make_room_for_others();
            return Ok(());
        };
        let far = xor(&self.own, &claim.key);
        let size = self.members.get(&member).map_or(0, BTreeSet::len);
        // A member with its full share pays with its own keys, and only for nearer ones: in the end it keeps those that
        // are looked for here.
        if size >= self.bounds.per_member {
            return self.drop_farthest(member, Some(far)).ok_or(Refusal::Account);
        }
        if self.values >= self.bounds.values {
            let (most, largest) = self.sizes.last().copied().ok_or(Refusal::Full)?;
            // The largest account pays for smaller ones, whatever it keeps. A flood from one member therefore displaces
            // its own values, and those of members that store little stay.
            let yields = if most > size { (largest, None) } else { (member, Some(far)) };
            return self.drop_farthest(yields.0, yields.1).ok_or(Refusal::Full);
        }
        Ok(())
    }

    /// Drops the key of a member that is farthest from the own id, if it is farther than that.
    fn drop_farthest(&mut self, member: Address, than: Option<NameHash>) -> Option<()> {
        let (far, address) = self.members.get(&member)?.last().copied()?;
        if than.is_some_and(|than| far <= than) {
            return None;
        }
        // The entry has the distance; with the own id that gives the key back.
        self.take(&xor(&self.own, &far), address).map(drop)
    }

    fn make_room_for_others(&mut self) {
        // A true claim is confirmed within a moment and moves to the account of its member. What is oldest here has had
        // its time.
        while self.others.len() >= self.bounds.others.max(1)
            && let Some((key, address)) = self.others.first_key_value().map(|(_, value)| *value)
        {
            self.take(&key, address);
        }
    }

    /// Adds a value, as the newest of its name. There is room for it.
    fn add(&mut self, key: &NameHash, value: Value) {
        match value.account {
            Account::Member(member) => {
                let entries = self.members.entry(member).or_default();
                // The set is ordered by size: the entry leaves it under the old size and enters under the new one.
                self.sizes.remove(&(entries.len(), member));
                entries.insert((xor(&self.own, key), value.address));
                self.sizes.insert((entries.len(), member));
                self.values += 1;
            }
            Account::Others => {
                // Places only grow, so the first entry is the oldest, found without a scan.
                self.others.insert(self.next_place, (*key, value.address));
                self.places.insert((*key, value.address), self.next_place);
                self.next_place += 1;
            }
        }
        self.names.entry(*key).or_default().push(value);
    }

    /// Takes a value out.
    fn take(&mut self, key: &NameHash, address: Address) -> Option<Value> {
        let values = self.names.get_mut(key)?;
        let at = values.iter().position(|value| value.address == address)?;
        let value = values.remove(at);
        if values.is_empty() {
            self.names.remove(key);
        }
        match value.account {
            Account::Member(member) => {
                if let Some(entries) = self.members.get_mut(&member) {
                    self.sizes.remove(&(entries.len(), member));
                    entries.remove(&(xor(&self.own, key), address));
                    if entries.is_empty() {
                        self.members.remove(&member);
                    } else {
                        self.sizes.insert((entries.len(), member));
                    }
                }
                self.values -= 1;
            }
            Account::Others => {
                let place = self.places.remove(&(*key, address));
                place.map(|place| self.others.remove(&place));
            }
        }
        Some(value)
    }

    /// Drops what has expired of a name.
    fn expire(&mut self, now: Instant, key: &NameHash) {
        let Some(values) = self.names.get(key) else { return };
        let gone: Vec<Address> = values.iter().filter(|v| v.expires <= now).map(|v| v.address).collect();
        for address in gone {
            self.take(key, address);
        }
    }

    /// Drops expired values, and returns the names with values that have not been published for so long.
    pub(super) fn sweep(&mut self, now: Instant, silence: Duration) -> Vec<NameHash> {
        let over = |values: &Vec<Value>| values.iter().any(|value| value.expires <= now);
        let keys: Vec<NameHash> = self.names.iter().filter(|(_, values)| over(values)).map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| self.expire(now, key));
        // Those whose owners publish are left alone: k members would otherwise publish each name over and over.
        let silent = |value: &Value| now.since(value.published) >= silence;
        self.names.iter().filter(|(_, values)| values.iter().any(silent)).map(|(key, _)| *key).collect()
    }

    /// Values of a name that have not been published for so long, which are being published now.
    pub(super) fn take_silent(&mut self, now: Instant, key: &NameHash, silence: Duration) -> Vec<Value> {
        let values = self.names.get_mut(key).into_iter().flatten();
        let silent = values.filter(|value| value.expires > now && now.since(value.published) >= silence);
        silent
            .map(|value| {
                // From now on it counts as published, or the next sweep would publish it again.
                value.published = now;
                *value
            })
            .collect()
    }

    /// The values of a name that have not expired: what its owner said first, then the newest.
    pub(super) fn get(&self, now: Instant, key: &NameHash) -> Vec<Value> {
        let values = self.names.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut alive: Vec<Value> = values.iter().rev().filter(|value| value.expires > now).copied().collect();
        // A stable sort: the newest stay in front among equals.
        alive.sort_by_key(|value| !value.itself);
        alive
    }

    /// Values on the account of members that have not shown that they are at their addresses.
    pub(super) fn unproven(&self) -> impl Iterator<Item = (&NameHash, &Value)> {
        self.others.values().filter_map(|(key, address)| Some((key, self.value(key, *address)?)))
    }

    /// All names, or those that come after this one.
    pub(super) fn keys_after(&self, after: Option<NameHash>) -> impl Iterator<Item = &NameHash> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.names.range((start, Bound::Unbounded)).map(|(key, _)| key)
    }

    /// All values, of all names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NameHash, &Value)> {
        self.names.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)))
    }

    /// Returns `true` if the accounts agree with the values, for tests.
    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        let members: usize = self.members.values().map(BTreeSet::len).sum();
        let kept = self.names.values().map(Vec::len).sum::<usize>();
        members == self.values
            && members + self.others.len() == kept
            && self.places.len() == self.others.len()
            && self.sizes.len() == self.members.len()
            && self.members.iter().all(|(member, entries)| self.sizes.contains(&(entries.len(), *member)))
            && members <= self.bounds.values
            && self.others.len() <= self.bounds.others.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8, last: u8) -> NameHash {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (first, last);
        NameHash::new(&bytes).unwrap()
    }

    /// A member at its limit that repeats the claims of others does not move them to where they are lost.
    #[test]
    fn values_stay_on_their_account_if_the_other_is_full() {
        let overdue = Duration::from_secs(900);
        let bounds = Bounds { values: 8, per_member: 2, others: 2, per_key: 4, overdue };
        let mut store = Store::new(key(0, 0), bounds);
        let now = Instant::from_millis(1);
        let expires = now + Duration::from_secs(60);
        let claim = |key, account| Claim { key, address: Address(9), expires, account };
        let (honest, other) = (Account::Member(Address(1)), Account::Member(Address(2)));
        let far = key(200, 0);
        store.put(now, claim(far, honest)).unwrap();
        assert!((1..3).all(|n| store.put(now, claim(key(0, n), other)) == Ok(Kept::New)));
        assert_eq!(store.put(now, claim(far, other)), Ok(Kept::Again));
        for n in 0..8 {
            store.put(now, Claim { address: Address(100), ..claim(key(250, n), Account::Others) }).unwrap();
        }
        assert!(store.has(&far, Address(9)) && store.is_sound());
    }
}
