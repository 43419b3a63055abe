//! The directory: answers of other stations, for as long as they are believed, and the queries under way.
//!
//! A name that is not known is asked for by broadcast, and again after a while that doubles, until somebody answers or the
//! time for it is over. Answers count only then: the first has whoever waits woken, and those of other stations that come in
//! the same time are further places. What nobody answered is remembered too, for a shorter time.
//!
//! Anybody on the segment can answer, from any number of made-up addresses. Whoever asks for a flow tries one place after
//! the other, and [doubts](Directory::doubt) those that refuse or are silent; when none is left everybody is asked anew. So
//! that the true answer gets its turn, places are not kept in the order in which they came: if there are more than are of
//! use, a lottery decides, another one for each query, in which repeating an answer is of no use; and stations that were
//! doubted lately have the worse lots.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::task::Waker;
use core::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::Config;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::ipcp::{Location, Lookup};
use crate::types::mac::Mac;
use crate::types::name::NameHash;

/// Places that are remembered of one name.
const MAX_PLACES: usize = 8;
/// Stations of which it is remembered that they did not have a name, or did not answer, and for how long.
const MAX_DOUBTED: usize = 1024;
const DOUBTED_FOR: Duration = Duration::from_secs(60);
/// Tasks that wait for one name; more have to ask again.
const MAX_WAITERS: usize = 64;
/// The lack of an answer is remembered for so long at least: until those that wait have seen it, who would ask anew otherwise.
const TOLD: Duration = Duration::from_millis(50);
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
        places: SmallVec<[Mac; 1]>,
        until: Instant,
        /// Further answers count until then.
        open: Instant,
        /// Decides who stays when there are more.
        lottery: u64,
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
    /// Stations that were doubted, in this order, and when.
    doubted: BTreeSet<(NameHash, Mac)>,
    doubts: VecDeque<(Instant, NameHash, Mac)>,
    /// Who waited for names that have been found, and was not woken yet.
    found: Vec<Waker>,
    rng: Rng,
    limit: usize,
    ttl: Duration,
    negative_ttl: Duration,
    timeout: Duration,
    retry: Duration,
}

impl Directory {
    /// An empty directory; `rng` is for lots.
    pub(super) fn new(config: &Config, rng: Rng) -> Self {
        Self {
            doubted: BTreeSet::new(),
            doubts: VecDeque::new(),
            found: Vec::new(),
            rng,
            entries: BTreeMap::new(),
            ends: BTreeSet::new(),
            due: BTreeSet::new(),
            limit: config.max_directory.max(1),
            ttl: config.directory_ttl,
            negative_ttl: config.directory_negative_ttl.max(TOLD),
            timeout: config.query_timeout,
            // Never without any pause: a query is a frame to everybody.
            retry: config.query_retry.max(Duration::from_millis(1)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Stations that are doubted.
    #[cfg(test)]
    pub(super) fn doubted(&self) -> usize {
        assert_eq!(self.doubted.len(), self.doubts.len());
        self.doubts.len()
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

    /// A station has the name. Whoever waited for that is [to be woken](Self::take_found). `false` if the answer does not
    /// count.
    pub(super) fn handle_answer(&mut self, now: Instant, hash: &NameHash, from: Mac) -> bool {
        let Self { entries, doubted, .. } = self;
        match entries.get_mut(hash) {
            Some(Entry::Asked { until, .. }) => {
                let (open, lottery) = (*until, self.rng.u64());
                let known = Entry::Known { places: smallvec![from], until: now + self.ttl, open, lottery };
                if let Some(Entry::Asked { wakers, .. }) = self.insert(*hash, known) {
                    self.found.extend(wakers);
                }
                true
            }
            Some(Entry::Known { places, open, lottery, .. }) if *open > now => {
                if !places.contains(&from) {
                    places.push(from);
                }
                if places.len() > MAX_PLACES {
                    let lot = |mac: &Mac| (doubted.contains(&(*hash, *mac)), lot(*lottery, *mac));
                    let worst = places.iter().enumerate().max_by_key(|(_, mac)| lot(mac)).map(|(at, _)| at);
                    if let Some(at) = worst {
                        places.remove(at);
                    }
                }
                true
            }
            Some(Entry::Known { .. }) | None => false,
        }
    }

    /// Who waited for names that have been found since the last call: as many as there were before, at most.
    pub(super) fn take_found(&mut self) -> Vec<Waker> {
        core::mem::take(&mut self.found)
    }

    /// The name was not found there.
    pub(super) fn doubt(&mut self, now: Instant, hash: &NameHash, at: Mac) {
        if let Some(Entry::Known { places, .. }) = self.entries.get_mut(hash)
            && places.contains(&at)
        {
            places.retain(|place| *place != at);
            // What was no place before stays: nobody answered.
            if places.is_empty() {
                self.remove(hash);
            }
            self.remember_doubt(now, hash, at);
        }
    }

    fn remember_doubt(&mut self, now: Instant, hash: &NameHash, at: Mac) {
        if self.doubted.insert((*hash, at)) {
            self.doubts.push_back((now, *hash, at));
        }
        while let Some((when, hash, mac)) = self.doubts.front()
            && (self.doubts.len() > MAX_DOUBTED || now.since(*when) >= DOUBTED_FOR)
        {
            self.doubted.remove(&(*hash, *mac));
            self.doubts.pop_front();
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
                let until = now + self.negative_ttl;
                let nowhere = Entry::Known { places: SmallVec::new(), until, open: now, lottery: 0 };
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
        self.doubted.clear();
        self.doubts.clear();
        self.ends.clear();
        self.due.clear();
        let waiting = core::mem::take(&mut self.entries).into_values().flat_map(|entry| match entry {
            Entry::Asked { wakers, .. } => wakers,
            Entry::Known { .. } => Vec::new(),
        });
        self.take_found().into_iter().chain(waiting).collect()
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

/// The lot of a station: a number that it cannot know before it has answered, and the same however often it answers.
fn lot(lottery: u64, mac: Mac) -> u64 {
    // Two rounds of multiply and fold: with one, addresses that follow each other would have lots that do.
    let mut lot = mac.to_bits() ^ lottery;
    for _ in 0..2 {
        let product = u128::from(lot ^ 0x9e37_79b9_7f4a_7c15) * u128::from(lottery | 1);
        lot = (product >> 64) as u64 ^ product as u64;
    }
    lot
}
