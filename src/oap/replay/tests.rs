use alloc::vec::Vec;
use proptest::prelude::*;

use super::*;

const MS: u64 = NANOS_PER_MS;
const SECOND: u64 = 1000 * MS;
const NOW: u64 = 1_760_000_000_000 * MS;

fn id(n: u64) -> [u8; ID_LEN] {
    let mut id = [0; ID_LEN];
    id[..8].copy_from_slice(&n.to_le_bytes());
    id
}

#[test]
fn the_window_is_open_by_almost_a_millisecond_at_both_ends() {
    let mut cache = ReplayCache::default();
    let verdicts = [
        (NOW + 101 * MS - 1, Ok(())),
        (NOW + 101 * MS, Err(OapError::Stale { age_ms: -101 })),
        (NOW - 20_001 * MS + 1, Ok(())),
        (NOW - 20_001 * MS, Err(OapError::Stale { age_ms: 20_001 })),
    ];
    for (timestamp, verdict) in verdicts {
        assert_eq!(cache.admit(NOW, id(1), timestamp), verdict);
    }
    assert_eq!(cache.len(), 2, "what is refused is not remembered");
}

#[test]
fn extreme_timestamps_are_handled() {
    for (now, timestamp) in [(0, 0), (0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX)] {
        let mut cache = ReplayCache::default();
        let verdict = cache.admit(now, id(1), timestamp);
        assert_eq!(verdict.is_ok(), now == timestamp, "{now} {timestamp}");
    }
}

#[test]
fn remembered_for_as_long_as_the_window_is_open() {
    let mut cache = ReplayCache::default();
    cache.admit(NOW, id(1), NOW).unwrap();
    assert_eq!(cache.admit(NOW + 20_001 * MS - 1, id(1), NOW), Err(OapError::Replayed));
    assert!(matches!(cache.admit(NOW + 20_001 * MS, id(1), NOW), Err(OapError::Stale { .. })));
    cache.admit(NOW + 20_001 * MS, id(2), NOW + MS).unwrap();
    assert_eq!(cache.len(), 1, "the first is outdated");
}

#[test]
fn a_flood_shrinks_the_window_and_lets_no_replay_through() {
    const LIMIT: usize = 100;
    let mut cache = ReplayCache::new(LIMIT);
    for n in 0..1000 {
        cache.admit(NOW + n * MS, id(n), NOW + n * MS).unwrap();
        assert!(cache.len() <= LIMIT);
    }
    assert_eq!(cache.evictions(), 900);
    let now = NOW + 1000 * MS;
    for n in 0..1000 {
        assert!(cache.admit(now, id(n), NOW + n * MS).is_err(), "replay of {n}");
    }
    assert!(matches!(cache.admit(now, id(5000), NOW + 899 * MS), Err(OapError::Stale { age_ms: 101 })));
    assert!(cache.admit(now, id(5000), NOW + 900 * MS).is_ok(), "other requests of the last 100 ms are still taken");

    // Once the flood is over, the whole window is open again.
    let later = NOW + 60_000 * MS;
    for n in 0..50 {
        assert!(cache.admit(later, id(n), later - 20_000 * MS + n).is_ok());
    }
}

#[test]
fn a_cache_without_room_admits_in_order_only() {
    let mut cache = ReplayCache::new(0);
    cache.admit(NOW, id(1), NOW).unwrap();
    assert!(cache.admit(NOW, id(2), NOW).is_err());
    cache.admit(NOW, id(2), NOW + 1).unwrap();
    assert!(cache.is_empty());
}

#[test]
fn a_clock_set_back_still_admits_requests() {
    let mut cache = ReplayCache::new(10);
    for n in 0..20 {
        cache.admit(NOW, id(n), NOW + n).unwrap();
    }
    let before = NOW - 3_600_000 * MS;
    for n in 0..20 {
        cache.admit(before + n * MS, id(n), before + n * MS).unwrap();
        assert!(cache.admit(before + n * MS, id(n), before + n * MS).is_err());
    }
    assert!(cache.len() <= 10);
}

/// As a time server does, by less than the window is long.
#[test]
fn a_clock_set_back_forgets_nothing() {
    let mut cache = ReplayCache::default();
    for n in 0..20 {
        cache.admit(NOW - n * SECOND, id(n), NOW - n * SECOND).unwrap();
    }
    // Some of the oldest have left the window, when the clock is set back by a second.
    cache.admit(NOW + 2 * SECOND, id(100), NOW + 2 * SECOND).unwrap();
    for n in 0..20 {
        cache.admit(NOW + SECOND, id(200 + n), NOW + SECOND).unwrap();
    }
    for later in [SECOND, SECOND + MS, 2 * SECOND, 3 * SECOND] {
        assert!(cache.admit(NOW + later, id(100), NOW + 2 * SECOND).is_err(), "{later}");
        for n in 0..20 {
            assert!(cache.admit(NOW + later, id(n), NOW - n * SECOND).is_err(), "{n} {later}");
        }
    }
}

/// What a clock that was ahead has left behind must not take the room of what comes now.
#[test]
fn room_is_for_the_present() {
    let mut cache = ReplayCache::new(10);
    for n in 0..10 {
        cache.admit(NOW + 3600 * SECOND, id(n), NOW + 3600 * SECOND).unwrap();
    }
    for n in 0..10 {
        cache.admit(NOW + n * SECOND, id(n), NOW + n * SECOND).unwrap();
    }
    for n in 0..10 {
        assert_eq!(cache.admit(NOW + 9 * SECOND, id(n), NOW + n * SECOND), Err(OapError::Replayed));
    }
    assert_eq!(cache.len(), 10);
}

/// What is only looked at is looked at first: it must say the same as what remembers.
#[test]
fn a_clock_set_back_is_no_reason_before_anything_is_admitted() {
    let back = NOW - 3600 * SECOND;
    let started = ReplayCache::default().started(NOW);
    assert_eq!(started.check(back, back), Ok(()));
    let mut full = ReplayCache::new(10);
    for n in 0..20 {
        full.admit(NOW, id(n), NOW + n).unwrap();
    }
    assert_eq!(full.check(back, back), Ok(()));
    let mut quiet = ReplayCache::default();
    quiet.admit(NOW, id(1), NOW).unwrap();
    quiet.admit(NOW + 30 * SECOND, id(2), NOW + 30 * SECOND).unwrap();
    assert_eq!(quiet.check(back, back), Ok(()));
    // By less than the window all of it counts.
    assert!(started.check(NOW - 50 * MS, NOW - 50 * MS).is_err());
}

proptest! {
    /// A clock that is off by less than the window, this way and that: nothing is admitted twice, and nothing new is refused.
    #[test]
    fn nothing_is_admitted_twice_by_a_clock_that_is_set(
        steps in prop::collection::vec((0u64..400, 0u64..4, 0u64..20_000, 0u64..19_000), 1..300),
    ) {
        let (mut cache, mut admitted) = (ReplayCache::default(), Vec::new());
        let mut latest = NOW;
        for (n, (pause, old, age, back)) in steps.into_iter().enumerate() {
            latest += pause * MS;
            let now = latest - back * MS;
            prop_assert!(cache.admit(now, id(1000 + n as u64), now).is_ok());
            let timestamp = now - age * MS;
            if cache.admit(now, id(old), timestamp).is_ok() {
                prop_assert!(!admitted.contains(&(old, timestamp)));
                admitted.push((old, timestamp));
            }
            for (old, timestamp) in &admitted {
                prop_assert!(cache.admit(now, id(*old), *timestamp).is_err());
            }
        }
    }
    /// Against the simplest model: a list of everything ever admitted. With room to spare the verdicts are the same,
    /// with little room the cache is only ever stricter.
    #[test]
    fn nothing_is_admitted_twice(
        limit in 0usize..20,
        steps in prop::collection::vec((0u64..400, 0u64..4, -150i64..25_000), 1..300),
    ) {
        let (mut small, mut large) = (ReplayCache::new(limit), ReplayCache::default());
        let (mut by_small, mut by_large) = (Vec::new(), Vec::new());
        let mut now = NOW;
        for (pause, n, age) in steps {
            now += pause * MS;
            let timestamp = now.saturating_add_signed(-age * MS as i64);
            let fresh = (-100..=20_000).contains(&age);
            let verdict = large.admit(now, id(n), timestamp).is_ok();
            prop_assert_eq!(verdict, fresh && !by_large.contains(&(n, timestamp)));
            if verdict {
                by_large.push((n, timestamp));
            }
            if small.admit(now, id(n), timestamp).is_ok() {
                prop_assert!(fresh && !by_small.contains(&(n, timestamp)));
                by_small.push((n, timestamp));
            }
            prop_assert!(small.len() <= limit);
        }
    }
}

#[test]
fn what_an_earlier_cache_may_have_seen_is_refused() {
    let mut cache = ReplayCache::default().started(NOW);
    let before = |age_ms| Err(OapError::BeforeStart { age_ms });
    assert_eq!(cache.admit(NOW + MS, id(1), NOW - 1), before(1));
    assert_eq!(cache.admit(NOW + 5_000 * MS, id(1), NOW - 1), before(5_000));
    assert_eq!(cache.admit(NOW + MS, id(1), NOW), Ok(()), "the first that it can know of");
    assert_eq!(cache.admit(NOW + MS, id(1), NOW), Err(OapError::Replayed));
    // Too old is too old, and says so.
    assert!(matches!(cache.admit(NOW + 30_000 * MS, id(2), NOW - 1), Err(OapError::Stale { .. })));
    // A client whose clock is 3 s behind is served as soon as it says a time after the start.
    let behind = |now| now - 3_000 * MS;
    assert_eq!(cache.admit(NOW + 2_999 * MS, id(3), behind(NOW + 2_999 * MS)), before(3_000));
    assert_eq!(cache.admit(NOW + 3_000 * MS, id(3), behind(NOW + 3_000 * MS)), Ok(()));
}

#[test]
fn a_start_in_the_future_is_that_of_a_clock_that_was_set_back() {
    let mut cache = ReplayCache::default().started(NOW);
    let set_back = NOW - 3_600_000 * MS;
    assert_eq!(cache.admit(set_back, id(1), set_back), Ok(()));
    assert_eq!(cache.admit(set_back, id(1), set_back), Err(OapError::Replayed));
}

#[test]
fn requests_at_the_epoch_of_a_clock_that_has_just_begun_are_fresh() {
    let mut cache = ReplayCache::default();
    for n in 1..10 {
        assert_eq!(cache.admit(0, id(n), 0), Ok(()), "request {n}");
    }
    assert_eq!(cache.admit(0, id(1), 0), Err(OapError::Replayed));
    // Outdated as any other.
    assert_eq!(cache.admit(20_001 * MS - 1, id(10), 0), Ok(()));
    assert!(matches!(cache.admit(20_001 * MS, id(11), 0), Err(OapError::Stale { .. })));
}
