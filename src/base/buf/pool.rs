//! The pool that buffers come from, and the caches in front of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{POOLED_PAYLOAD, PacketBuf};
use crate::base::sync::Mutex;
use crate::base::time::Instant;

/// Buffers that a cache trades with the pool at a time, at most.
const BATCH: usize = 32;
/// Interval at which a cache checks that it trades in the right batches.
const SETTLE: Duration = Duration::from_millis(250);
/// A cache that has traded this often in that time trades twice as many buffers at once: the lock is not worth a mention
/// so far, and what is kept then are the packets of a few milliseconds.
const OFTEN: u16 = 128;
/// A cache that has traded less often than this in that time trades half as many at once.
const SELDOM: u32 = 32;

/// The stack's stock of packet buffers, shared by all its caches.
#[derive(Debug)]
pub struct BufPool {
    free: Mutex<Stock>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Stock {
    pkts: Vec<PacketBuf>,
    /// Fewer there never were in this period of [`SETTLE`].
    least: usize,
    period: u32,
}

impl Stock {
    /// Takes up to so many out.
    fn take(&mut self, most: usize) -> impl Iterator<Item = PacketBuf> {
        let from = self.pkts.len().saturating_sub(most);
        self.least = self.least.min(from);
        self.pkts.drain(from..)
    }

    /// A new period has begun: half of what was not needed in the last one.
    fn surplus(&mut self, period: u32) -> Vec<PacketBuf> {
        if core::mem::replace(&mut self.period, period) == period {
            return Vec::new();
        }
        let surplus = self.pkts.split_off(self.pkts.len() - self.least.min(self.pkts.len()).div_ceil(2));
        self.least = self.pkts.len();
        surplus
    }
}

impl BufPool {
    /// A pool that keeps at most `limit` idle buffers (2 KiB each); more are freed.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(Stock::default()), limit })
    }

    /// An empty packet with room for at least `payload` bytes, without a cache in between: for a place that needs one now
    /// and then.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn take(&self, payload: usize) -> PacketBuf {
        let pooled = if payload > POOLED_PAYLOAD { None } else { self.free.lock().take(1).next() };
        pooled.unwrap_or_else(|| PacketBuf::with_capacity(payload))
    }

    /// Hands a packet back without a cache in between, for a place that sees one now and then and would otherwise keep
    /// it. Buffers that are not of the pooled size, or too many, are freed.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn put(&self, p: PacketBuf) {
        self.put_all([p]);
    }

    /// As [`put`](Self::put), of several.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn put_all(&self, pkts: impl IntoIterator<Item = PacketBuf>) {
        let mut free = self.free.lock();
        for mut p in pkts {
            if p.is_pooled() && free.pkts.len() < self.limit {
                p.reset();
                free.pkts.push(p);
            }
        }
    }

    /// Limit to which the pool is filled by flows that need their buffers no more: less than by those that will soon
    /// take some again, so that many flows that fall silent leave no stock behind for each of them.
    fn quiet_limit(&self) -> usize {
        self.limit.min(BATCH).max(self.limit / 16)
    }

    /// Takes out buffers that were not needed lately, to be freed: the most that were ever used at once are not kept
    /// for good.
    fn surplus(&self, period: u32) -> Vec<PacketBuf> {
        self.free.lock().surplus(period)
    }

    /// Idle buffers in the pool, caches not counted.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn idle(&self) -> usize {
        self.free.lock().pkts.len()
    }
}

/// A stock of packet buffers for one place that receives: what is handed back is used again.
#[derive(Debug)]
pub struct BufCache {
    pool: Arc<BufPool>,
    local: Vec<PacketBuf>,
    /// Time of the last settling, in periods of [`SETTLE`]: there is a cache in every end of a flow, and each byte
    /// counts.
    settled: u32,
    /// Number of trades since then.
    trades: u16,
    /// Buffers that are traded at a time: a power of two.
    batch: u8,
}

/// The period of [`SETTLE`] that `now` is in. It begins anew after 34 years.
fn period(now: Instant) -> u32 {
    (now.as_nanos() / SETTLE.as_nanos() as u64) as u32
}

impl BufCache {
    /// An empty cache in front of `pool`.
    pub fn new(pool: &Arc<BufPool>) -> Self {
        Self { pool: Arc::clone(pool), local: Vec::new(), settled: 0, trades: 0, batch: 1 }
    }

    /// An empty packet with room for at least `payload` bytes.
    #[inline]
    pub fn take(&mut self, payload: usize) -> PacketBuf {
        if payload > POOLED_PAYLOAD {
            return PacketBuf::with_capacity(payload);
        }
        if let Some(p) = self.local.pop() {
            return p;
        }
        self.refill();
        self.local.pop().unwrap_or_else(|| PacketBuf::with_capacity(POOLED_PAYLOAD))
    }

    #[cold]
    fn refill(&mut self) {
        self.note_trade();
        self.local.extend(self.pool.free.lock().take(self.batch.into()));
    }

    /// Hands a packet back. Buffers that are not of the pooled size are freed.
    #[inline]
    pub fn put(&mut self, mut p: PacketBuf) {
        if !p.is_pooled() {
            return;
        }
        p.reset();
        self.local.push(p);
        if self.local.len() >= 2 * usize::from(self.batch) {
            self.note_trade();
            self.trim(self.batch.into());
        }
    }

    /// The packet in memory of its length, if it is [small](PacketBuf::snug).
    pub(crate) fn snug(&mut self, packet: PacketBuf) -> PacketBuf {
        match packet.snug() {
            Some(snug) => {
                self.put(packet);
                snug
            }
            None => packet,
        }
    }

    /// Gives away what is more than that, what has not been used for the longest first.
    #[cold]
    fn trim(&mut self, kept: usize) {
        let mut free = self.pool.free.lock();
        let surplus = self.local.len().saturating_sub(kept);
        let room = self.pool.limit.saturating_sub(free.pkts.len()).min(surplus);
        free.pkts.extend(self.local.drain(..room));
        drop(free);
        self.local.truncate(kept);
    }

    fn note_trade(&mut self) {
        self.trades = self.trades.saturating_add(1);
        if self.trades.is_multiple_of(OFTEN) {
            self.batch = (2 * self.batch).min(BATCH as u8);
        }
    }

    /// Fits what is kept to what is used. The owner calls it from time to time, also while it has nothing to do; a cache that
    /// is never told the time keeps up to 64 buffers once it has seen many.
    pub fn settle(&mut self, now: Instant) {
        let period = period(now);
        if period != self.settled {
            self.fit(period);
        }
    }

    #[cold]
    fn fit(&mut self, period: u32) {
        let periods = period.wrapping_sub(self.settled);
        let seldom = u32::from(self.trades) < periods.saturating_mul(SELDOM);
        self.trades = 0;
        self.settled = period;
        if seldom {
            // Of many ends of flows that send now and then each would keep a buffer, which the pool has for all of them.
            let kept = self.batch >> periods.min(BATCH.ilog2());
            self.batch = kept.max(1);
            if self.local.len() > kept.into() {
                self.trim(kept.into());
            }
            self.local.shrink_to(2 * usize::from(self.batch));
            drop(self.pool.surplus(period));
        }
    }

    /// Buffers that are kept here.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn idle(&self) -> usize {
        self.local.len()
    }

    /// The pool behind it.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn pool(&self) -> &Arc<BufPool> {
        &self.pool
    }

    /// Gives every locally kept buffer away, for a cache that will be idle. A sixteenth of the pool's limit is filled
    /// with them, the others are freed.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn release(&mut self) {
        self.batch = 1;
        if self.local.capacity() == 0 {
            return;
        }
        let mut free = self.pool.free.lock();
        let room = self.pool.quiet_limit().saturating_sub(free.pkts.len()).min(self.local.len());
        free.pkts.extend(self.local.drain(..room));
        drop(free);
        self.local = Vec::new();
    }
}

impl Drop for BufCache {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests;
