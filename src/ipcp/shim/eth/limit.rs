//! How many name queries are answered.

use crate::base::bucket::Bucket;
use crate::base::time::Instant;
use crate::types::mac::Mac;

/// Buckets. Who shares one with a flooder nobody can know, because it depends on a secret.
const BUCKETS: usize = 64;

/// Limits answers: a station that asks without end uses up its own bucket, and not that of most others.
pub(super) struct Answers {
    buckets: [Option<Bucket>; BUCKETS],
    rate: (u64, u64),
    secret: u64,
}

impl Answers {
    /// So many a second, and so many at once, for each bucket.
    pub(super) fn new(rate: (u64, u64), secret: u64) -> Self {
        Self { buckets: [None; BUCKETS], rate, secret: secret | 1 }
    }

    /// Whether a query from there is answered now, which is charged.
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
}
