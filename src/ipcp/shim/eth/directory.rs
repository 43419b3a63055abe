//! The directory: answers of other stations, for as long as they are believed, and the queries under way.
//!
//! A name that is not known is asked for by broadcast, and again after a while that doubles, until somebody answers or the
//! time for it is over. Answers count only then: the first wakes whoever waits, and those of other stations that come in
//! the same time are further places. What nobody answered is remembered too, for a shorter time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::task::Waker;
use core::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::Config;
use crate::base::time::Instant;
use crate::ipcp::{Location, Lookup};
use crate::types::mac::Mac;
use crate::types::name::NameHash;

/// Places that are remembered of one name.
const MAX_PLACES: usize = 4;
/// Tasks that wait for one name; more have to ask again.
const MAX_WAITERS: usize = 64;
/// Queries that are repeated in one go, before others get their turn.
const MAX_REPEATED: usize = 256;

/// The state of a name.
enum Entry {
    /// Everybody has been asked.
    Asked {
        wakers: Vec<Waker>,
        /// Time of the next repetition, and the pause behind it.
        again: Instant,
        pause: Duration,
        /// End of the query.
        until: Instant,
    },
    /// There it is; at no place: nobody answered.
    Known {
        places: SmallVec<[Mac; MAX_PLACES]>,
        until: Instant,
        /// Further answers count until then.
        open: Instant,
    },
}

/// The directory of a member. When there are too many, the one goes that would be forgotten first. What is being asked for
/// stays: while there are as many of these, others count as unknown.
pub(super) struct Directory {
    entries: BTreeMap<NameHash, Entry>,
    /// Of those that are known, by when they are to be forgotten.
    ends: BTreeSet<(Instant, NameHash)>,
    /// Of those that are being asked for, by when the query is repeated.
    due: BTreeSet<(Instant, NameHash)>,
    limit: usize,
    ttl: Duration,
    negative_ttl: Duration,
    timeout: Duration,
    retry: Duration,
}

impl Directory {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            entries: BTreeMap::new(),
            ends: BTreeSet::new(),
            due: BTreeSet::new(),
            limit: config.max_directory.max(1),
            ttl: config.directory_ttl,
            negative_ttl: config.directory_negative_ttl,
            timeout: config.query_timeout,
            // Never without any pause: a query is a frame to everybody.
            retry: config.query_retry.max(Duration::from_millis(1)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is known of where a name is, and whether everybody is to be asked now. Whoever has to wait is kept.
    pub(super) fn look_up(
        &mut self,
        now: Instant,
        hash: &NameHash,
        can_ask: bool,
        waker: &mut Option<Waker>,
    ) -> (Lookup, bool) {
        match self.entries.get_mut(hash) {
            Some(Entry::Known { places, until, .. }) if *until > now => {
                let known = places.iter().map(|mac| Location::Mac(*mac)).collect();
                return (if places.is_empty() { Lookup::Unknown } else { Lookup::Known(known) }, false);
            }
            Some(Entry::Asked { wakers, .. }) => {
                let known = |w: &Waker| wakers.iter().any(|o| o.will_wake(w));
                if wakers.len() < MAX_WAITERS && !waker.as_ref().is_some_and(known) {
                    wakers.extend(waker.take());
                }
                return (Lookup::Pending, false);
            }
            _ => {}
        }
        self.remove(hash);
        if !can_ask || !self.make_room() {
            return (Lookup::Unknown, false);
        }
        let wakers = waker.take().into_iter().collect();
        let again = now + self.retry.min(self.timeout);
        self.insert(*hash, Entry::Asked { wakers, again, pause: self.retry, until: now + self.timeout });
        (Lookup::Pending, true)
    }

    /// Returns `true` if an answer for this name would count.
    pub(super) fn expects(&self, now: Instant, hash: &NameHash) -> bool {
        match self.entries.get(hash) {
            Some(Entry::Asked { .. }) => true,
            Some(Entry::Known { open, .. }) => *open > now,
            None => false,
        }
    }

    /// A station has the name: who waited for that. `None` if the answer does not count.
    pub(super) fn handle_answer(&mut self, now: Instant, hash: &NameHash, from: Mac) -> Option<Vec<Waker>> {
        match self.entries.get_mut(hash)? {
            Entry::Asked { until, .. } => {
                let known = Entry::Known { places: smallvec![from], until: now + self.ttl, open: *until };
                match self.insert(*hash, known) {
                    Some(Entry::Asked { wakers, .. }) => Some(wakers),
                    _ => None,
                }
            }
            Entry::Known { places, open, .. } if *open > now => {
                if !places.contains(&from) && places.len() < MAX_PLACES {
                    places.push(from);
                }
                Some(Vec::new())
            }
            Entry::Known { .. } => None,
        }
    }

    /// The name was not found there.
    pub(super) fn doubt(&mut self, hash: &NameHash, at: Mac) {
        if let Some(Entry::Known { places, .. }) = self.entries.get_mut(hash)
            && places.contains(&at)
        {
            places.retain(|place| *place != at);
            // What was no place before stays: nobody answered.
            if places.is_empty() {
                self.remove(hash);
            }
        }
    }

    /// The names that are to be asked for again now, and who has waited in vain.
    pub(super) fn poll_queries(&mut self, now: Instant) -> (Vec<NameHash>, Vec<Waker>) {
        let (mut queries, mut given_up) = (Vec::new(), Vec::new());
        while queries.len() < MAX_REPEATED
            && let Some((_, hash)) = self.due.first().copied().filter(|(at, _)| *at <= now)
        {
            let Some(Entry::Asked { wakers, pause, until, .. }) = self.remove(&hash) else { continue };
            if until <= now {
                given_up.extend(wakers);
                let nowhere = Entry::Known { places: SmallVec::new(), until: now + self.negative_ttl, open: now };
                self.insert(hash, nowhere);
                continue;
            }
            let pause = pause.saturating_mul(2);
            self.insert(hash, Entry::Asked { wakers, again: (now + pause).min(until), pause, until });
            queries.push(hash);
        }
        (queries, given_up)
    }

    /// The next moment at which [`poll_queries`](Self::poll_queries) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Everything that is being asked for is due now.
    pub(super) fn ask_again(&mut self, now: Instant) {
        for (_, hash) in core::mem::take(&mut self.due) {
            if let Some(Entry::Asked { again, pause, .. }) = self.entries.get_mut(&hash) {
                (*again, *pause) = (now, self.retry / 2);
                self.due.insert((now, hash));
            }
        }
    }

    /// Forgets everything: who waited.
    pub(super) fn clear(&mut self) -> Vec<Waker> {
        self.ends.clear();
        self.due.clear();
        let waiting = core::mem::take(&mut self.entries).into_values().flat_map(|entry| match entry {
            Entry::Asked { wakers, .. } => wakers,
            Entry::Known { .. } => Vec::new(),
        });
        waiting.collect()
    }

    fn insert(&mut self, hash: NameHash, entry: Entry) -> Option<Entry> {
        let before = self.remove(&hash);
        match entry {
            Entry::Asked { again, .. } => self.due.insert((again, hash)),
            Entry::Known { until, .. } => self.ends.insert((until, hash)),
        };
        self.entries.insert(hash, entry);
        before
    }

    fn remove(&mut self, hash: &NameHash) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        match &entry {
            Entry::Asked { again, .. } => self.due.remove(&(*again, *hash)),
            Entry::Known { until, .. } => self.ends.remove(&(*until, *hash)),
        };
        Some(entry)
    }

    /// Makes room for one more, if it can.
    fn make_room(&mut self) -> bool {
        while self.entries.len() >= self.limit
            && let Some((_, hash)) = self.ends.pop_first()
        {
            self.entries.remove(&hash);
        }
        self.entries.len() < self.limit
    }
}
