//! Rate and delay of answers to name queries.

use alloc::collections::VecDeque;

use crate::base::bucket::Bucket;
use crate::base::time::Instant;
use crate::types::mac::Mac;
use crate::types::name::NameHash;

/// Buckets. Who shares one with a flooder nobody can know, because it depends on a secret.
const BUCKETS: usize = 64;

/// Limits answers: a station that asks without end uses up its own bucket, and not that of most others.
pub(super) struct Answers {
    buckets: [Option<Bucket>; BUCKETS],
    rate: (u64, u64),
    secret: u64,
    /// Answers that wait to be sent, the first one first: all wait for the same time.
    waiting: VecDeque<(Instant, Mac, NameHash)>,
}

/// Answers that wait at most; more are not given.
const MAX_WAITING: usize = 1024;

impl Answers {
    /// So many a second, and so many at once, for each bucket.
    pub(super) fn new(rate: (u64, u64), secret: u64) -> Self {
        Self { buckets: [None; BUCKETS], rate, secret: secret | 1, waiting: VecDeque::new() }
    }

    /// Returns `true` if a query from there is answered, which is charged.
    pub(super) fn admit(&mut self, now: Instant, from: Mac) -> bool {
        let (rate, burst) = self.rate;
        let mixed = (from.to_bits() ^ (self.secret >> 7)).wrapping_mul(self.secret);
        let at = (mixed >> 40) as usize % BUCKETS;
        let Some(bucket) = self.buckets.get_mut(at) else { return false };
        let bucket = bucket.get_or_insert_with(|| Bucket::new(now, rate, burst));
        let ready = rate > 0 && bucket.is_ready(now);
        if ready {
            bucket.take(now, 1);
        }
        ready
    }

    /// Keeps an answer until `at`. `false` if too many wait.
    pub(super) fn keep(&mut self, at: Instant, to: Mac, hash: NameHash) -> bool {
        let has_room = self.waiting.len() < MAX_WAITING;
        if has_room {
            self.waiting.push_back((at, to, hash));
        }
        has_room
    }

    /// The next answer that is due.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<(Mac, NameHash)> {
        self.waiting.front().filter(|(at, ..)| *at <= now)?;
        self.waiting.pop_front().map(|(_, to, hash)| (to, hash))
    }

    /// The next moment at which [`poll_due`](Self::poll_due) has one.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, ..)| *at)
    }
}
