use super::*;
use crate::base::buf::TAILROOM;

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
fn idle_buffers_are_freed_in_time() {
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
