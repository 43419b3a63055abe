//! Packet buffers with room at both ends, and the pool they come from.
//!
//! A packet is one buffer from the application to the device: each layer pushes its header into the head room in place
//! and the tag or checksum into the tail room, and pulls them off again on the way up. Nothing is copied between
//! layers.
//!
//! Buffers own their memory and may be dropped anywhere. On the data path they are handed back instead: a
//! [`BufCache`] belongs to one lock-protected place (one end of a flow, one device) and trades whole batches with the
//! shared [`BufPool`], so the steady state neither allocates nor takes the pool's lock per packet. A batch is one buffer
//! at first. It grows while a cache trades often, and shrinks when it does not: of thousands of caches that see a packet
//! now and then, none keeps a stock of its own. What the pool has had to spare for a while is freed, half of it at a time.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::sync::Mutex;
use super::time::Instant;

/// Head room of a fresh buffer, bytes: the headers of several layers, each with an initialisation vector.
pub const HEADROOM: usize = 160;
/// Tail room of a fresh buffer, bytes: an AEAD tag and a CRC for several layers.
pub const TAILROOM: usize = 96;
/// Payload that a pooled buffer takes, bytes. Larger packets get memory of their own.
pub const POOLED_PAYLOAD: usize = 1792;

const POOLED_BYTES: usize = HEADROOM + POOLED_PAYLOAD + TAILROOM;
/// Buffers that a cache trades with the pool at a time, at most.
const BATCH: usize = 32;
/// How often a cache looks at whether it trades in the right batches.
const SETTLE: Duration = Duration::from_millis(250);
/// A cache that has traded this often in that time trades twice as many buffers at once: the lock is not worth a mention
/// so far, and what is kept then are the packets of a few milliseconds.
const OFTEN: u16 = 128;
/// A cache that has traded less often than this in that time trades half as many at once.
const SELDOM: u32 = 32;

/// A packet: a window into a block of memory, with room before and behind.
///
/// ```
/// use o7s::shim::PacketBuf;
///
/// let mut p = PacketBuf::copy_of(b"payload");
/// p.push(4).unwrap().copy_from_slice(b"head");
/// assert_eq!(&p[..], b"headpayload");
/// assert_eq!(p.pull(4), Some(&b"head"[..]));
/// assert_eq!(&p[..], b"payload");
/// assert!(p.pull(8).is_none(), "there are only seven bytes");
/// ```
pub struct PacketBuf {
    mem: Box<[u8]>,
    head: u32,
    tail: u32,
}

impl PacketBuf {
    /// An empty packet with the standard head and tail room and space for `payload` bytes between them.
    pub fn with_capacity(payload: usize) -> Self {
        let room = payload.max(POOLED_PAYLOAD).saturating_add(HEADROOM + TAILROOM);
        Self { mem: alloc::vec![0; room].into_boxed_slice(), head: HEADROOM as u32, tail: HEADROOM as u32 }
    }

    /// A packet with these bytes and the standard room around them.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut p = Self::with_capacity(bytes.len());
        // The capacity was just made for it.
        let _ = p.extend_from_slice(bytes);
        p
    }

    /// Empties the packet and restores the head room.
    pub fn reset(&mut self) {
        self.head = HEADROOM as u32;
        self.tail = HEADROOM as u32;
    }

    /// Bytes in the packet.
    pub fn len(&self) -> usize {
        (self.tail - self.head) as usize
    }

    /// Whether the packet has no bytes: a keepalive.
    pub fn is_empty(&self) -> bool {
        self.tail == self.head
    }

    /// Bytes that [`push`](Self::push) can still prepend.
    pub fn headroom(&self) -> usize {
        self.head as usize
    }

    /// Bytes that can still be appended.
    pub fn tailroom(&self) -> usize {
        self.mem.len() - self.tail as usize
    }

    /// Prepends `n` bytes and returns them, contents unspecified; `None` if there is no room.
    pub fn push(&mut self, n: usize) -> Option<&mut [u8]> {
        let new = (self.head as usize).checked_sub(n)?;
        self.head = new as u32;
        self.mem.get_mut(new..new + n)
    }

    /// Removes `n` bytes from the front and returns them; `None`, and nothing removed, if the packet is shorter.
    pub fn pull(&mut self, n: usize) -> Option<&[u8]> {
        if n > self.len() {
            return None;
        }
        let at = self.head as usize;
        self.head += n as u32;
        self.mem.get(at..at + n)
    }

    /// Appends `n` bytes and returns them, contents unspecified; `None` if there is no room.
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        let at = self.tail as usize;
        let end = at.checked_add(n).filter(|&e| e <= self.mem.len())?;
        self.tail = end as u32;
        self.mem.get_mut(at..end)
    }

    /// Appends `bytes`; `None`, and nothing appended, if there is no room.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> Option<()> {
        self.append(bytes.len())?.copy_from_slice(bytes);
        Some(())
    }

    /// Shortens the packet to `n` bytes; no effect if it is not longer.
    pub fn truncate(&mut self, n: usize) {
        if n < self.len() {
            self.tail = self.head + n as u32;
        }
    }

    /// Memory that the packet holds, bytes: much more than its length, if it is small.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.mem.len()
    }

    /// A copy in memory of just its length, without room for headers; `None` if the packet fills a quarter of its buffer
    /// or more. For packets that wait: a small one in a large buffer costs whoever sent it next to nothing.
    pub fn snug(&self) -> Option<Self> {
        if self.len() >= self.mem.len() / 4 {
            return None;
        }
        Some(Self::snug_of(self))
    }

    /// These bytes in memory of just their length.
    pub(crate) fn snug_of(bytes: &[u8]) -> Self {
        Self { mem: bytes.into(), head: 0, tail: bytes.len() as u32 }
    }

    /// These bytes with the standard room around them, in memory of just that length.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn roomy_of(bytes: &[u8]) -> Self {
        let mut mem = Vec::with_capacity(HEADROOM + bytes.len() + TAILROOM);
        mem.resize(HEADROOM, 0);
        mem.extend_from_slice(bytes);
        mem.resize(HEADROOM + bytes.len() + TAILROOM, 0);
        let (head, tail) = (HEADROOM as u32, (HEADROOM + bytes.len()) as u32);
        Self { mem: mem.into_boxed_slice(), head, tail }
    }

    /// Whether the buffer is one that pools keep, with the standard room.
    fn is_pooled(&self) -> bool {
        self.mem.len() == POOLED_BYTES
    }
}

impl core::ops::Deref for PacketBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // The edges are kept inside the memory by every method above.
        self.mem.get(self.head as usize..self.tail as usize).unwrap_or_default()
    }
}

impl core::ops::DerefMut for PacketBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.mem.get_mut(self.head as usize..self.tail as usize).unwrap_or_default()
    }
}

impl AsRef<[u8]> for PacketBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketBuf({} bytes)", self.len())
    }
}

impl From<PacketBuf> for bytes::Bytes {
    fn from(p: PacketBuf) -> Self {
        Self::from_owner(p)
    }
}

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
    pub fn take(&self, payload: usize) -> PacketBuf {
        let pooled = if payload > POOLED_PAYLOAD { None } else { self.free.lock().take(1).next() };
        pooled.unwrap_or_else(|| PacketBuf::with_capacity(payload))
    }

    /// Hands a packet back without a cache in between, for a place that sees one now and then and would otherwise keep
    /// it. Buffers that are not of the pooled size, or too many, are freed.
    pub fn put(&self, p: PacketBuf) {
        self.put_all([p]);
    }

    /// As [`put`](Self::put), of several.
    pub fn put_all(&self, pkts: impl IntoIterator<Item = PacketBuf>) {
        let mut free = self.free.lock();
        for mut p in pkts {
            if p.is_pooled() && free.pkts.len() < self.limit {
                p.reset();
                free.pkts.push(p);
            }
        }
    }

    /// How far the pool is filled by those who need their buffers no more: less than by those who will soon take some
    /// again, so that many flows that fall silent leave no stock behind for each of them.
    fn quiet_limit(&self) -> usize {
        self.limit.min(BATCH).max(self.limit / 16)
    }

    /// Buffers that nobody has needed lately, to be freed: the most that were ever used at once are not kept for good.
    fn surplus(&self, period: u32) -> Vec<PacketBuf> {
        self.free.lock().surplus(period)
    }

    /// Idle buffers in the pool, caches not counted.
    pub fn idle(&self) -> usize {
        self.free.lock().pkts.len()
    }
}

/// A small private stock of buffers in front of a [`BufPool`].
#[derive(Debug)]
pub struct BufCache {
    pool: Arc<BufPool>,
    local: Vec<PacketBuf>,
    /// When it was settled, in periods of [`SETTLE`]: there is a cache in every end of a flow, and each byte counts.
    settled: u32,
    /// How often buffers were traded since then.
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
    pub fn idle(&self) -> usize {
        self.local.len()
    }

    /// The pool behind it.
    pub fn pool(&self) -> &Arc<BufPool> {
        &self.pool
    }

    /// Gives every locally kept buffer away, for a cache that will be idle. A sixteenth of the pool's limit is filled
    /// with them, the others are freed.
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
mod tests {
    use super::*;

    #[test]
    fn edges_hold() {
        let mut p = PacketBuf::with_capacity(10);
        assert!(p.push(HEADROOM).is_some());
        assert!(p.push(1).is_none());
        assert!(p.append(POOLED_PAYLOAD + TAILROOM).is_some());
        assert!(p.append(1).is_none());
        assert_eq!(p.tailroom(), 0);
        p.truncate(3);
        assert_eq!(p.len(), 3);
        assert!(p.pull(4).is_none());
        assert_eq!(p.len(), 3);
    }

    #[test]
    fn a_packet_of_just_its_length_has_the_room_that_all_have() {
        for bytes in [&[][..], b"link state"] {
            let p = PacketBuf::roomy_of(bytes);
            assert_eq!((&p[..], p.headroom(), p.tailroom()), (bytes, HEADROOM, TAILROOM));
        }
    }

    /// Packets that go from one cache to another: one end of a flow takes, the other one puts.
    fn pass(a: &mut BufCache, b: &mut BufCache, n: usize) {
        (0..n).for_each(|_| b.put(a.take(100)));
    }

    #[test]
    fn busy_caches_trade_batches_with_the_pool() {
        let pool = BufPool::new(1000);
        let (mut a, mut b) = (BufCache::new(&pool), BufCache::new(&pool));
        pass(&mut a, &mut b, 10_000);
        assert!(pool.idle() + a.idle() + b.idle() <= 4 * BATCH, "what one side frees the other one takes");
        let before = a.trades + b.trades;
        pass(&mut a, &mut b, 100 * BATCH);
        assert!(a.trades + b.trades - before <= 202, "{} trades", a.trades + b.trades - before);
        assert!(a.take(POOLED_PAYLOAD + 1).tailroom() > POOLED_PAYLOAD + TAILROOM);
    }

    #[test]
    fn caches_that_see_little_keep_little() {
        let pool = BufPool::new(1000);
        pool.put_all((0..500).map(|_| PacketBuf::with_capacity(1)));
        let (mut a, mut b) = (BufCache::new(&pool), BufCache::new(&pool));
        for quarter in 0..100 {
            // Every 25 ms, for 25 s.
            pass(&mut a, &mut b, 10);
            let now = Instant::from_millis(250 * quarter);
            a.settle(now);
            b.settle(now);
            assert!(a.idle() + b.idle() <= 4, "{a:?} {b:?}");
        }
    }

    #[test]
    fn caches_that_were_busy_give_back_what_they_kept() {
        let pool = BufPool::new(1000);
        let (mut a, mut b) = (BufCache::new(&pool), BufCache::new(&pool));
        pass(&mut a, &mut b, 10_000);
        assert!(b.idle() >= BATCH, "{b:?}");
        for at in [1, 250, 10_000, 10_250] {
            a.settle(Instant::from_millis(at));
            b.settle(Instant::from_millis(at));
        }
        assert!(a.idle() <= 1 && b.idle() <= 1, "{a:?} {b:?}");
        assert!(a.local.capacity() + b.local.capacity() <= 8);
    }

    /// Many ends of flows that each send now and then, and once all of them together.
    #[test]
    fn what_was_needed_once_is_freed_in_time() {
        let pool = BufPool::new(1000);
        let mut ends: Vec<_> = (0..64).map(|_| BufCache::new(&pool)).collect();
        let taken: Vec<_> = ends.iter_mut().map(|end| end.take(1)).collect();
        ends.iter_mut().zip(taken).for_each(|(end, p)| end.put(p));
        for quarter in 1..12 {
            for (end, n) in ends.iter_mut().zip(0..) {
                let p = end.take(1);
                end.put(p);
                end.settle(Instant::from_millis(250 * quarter + n));
            }
        }
        let left = pool.idle() + ends.iter().map(BufCache::idle).sum::<usize>();
        assert!((1..=8).contains(&left), "{left} buffers for one packet at a time");
    }

    #[test]
    fn a_cache_that_goes_up_and_down_keeps_what_it_needs() {
        let pool = BufPool::new(1000);
        let mut cache = BufCache::new(&pool);
        for turn in 0..200 {
            let before = cache.trades;
            let pkts: Vec<_> = (0..40).map(|_| cache.take(1)).collect();
            pkts.into_iter().for_each(|p| cache.put(p));
            assert!(turn < 100 || cache.trades - before <= 2, "{} trades for 40 packets", cache.trades - before);
        }
    }

    #[test]
    fn the_pool_is_bounded() {
        let pool = BufPool::new(3);
        let mut c = BufCache::new(&pool);
        for _ in 0..10 * BATCH {
            c.put(PacketBuf::with_capacity(1));
        }
        drop(c);
        assert_eq!(pool.idle(), 3);
        pool.put(PacketBuf::with_capacity(1));
        assert_eq!(pool.idle(), 3);
    }

    #[test]
    fn caches_that_fall_silent_leave_little_behind() {
        let pool = BufPool::new(16 * BATCH);
        for _ in 0..100 {
            let mut c = BufCache::new(&pool);
            c.put(PacketBuf::with_capacity(1));
            c.release();
        }
        assert_eq!(pool.idle(), BATCH);
    }
}
