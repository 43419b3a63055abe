use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Bytes that pass in ten seconds if there is always more to send, offered whenever the bucket says.
fn throughput(mut bucket: Bucket, len: usize) -> u64 {
    let (start, mut now, mut bytes) = (Instant::from_millis(5), Instant::from_millis(5), 0);
    while now.since(start) < Duration::from_secs(10) {
        assert!(bucket.is_ready(now));
        bucket.take(now, len);
        bytes += len as u64;
        now = now.max(bucket.ready_at());
    }
    bytes
}

#[test]
fn a_bucket_keeps_its_rate_at_any_speed() {
    for rate in [10_000, 125_000, 12_500_000, 1_250_000_000] {
        let got = throughput(Bucket::new(Instant::ZERO, rate, 3000), 1000) as f64;
        assert!((got / (rate as f64 * 10.0) - 1.0).abs() < 0.04, "{got} bytes in 10 s of {rate} a second");
    }
}

#[test]
fn after_a_pause_a_burst_passes_and_no_more() {
    let now = Instant::from_millis(60_000);
    let mut bucket = Bucket::new(Instant::ZERO, 100_000, 5000);
    let mut passed = 0;
    while bucket.is_ready(now) {
        bucket.take(now, 1000);
        passed += 1;
    }
    assert_eq!(passed, 6, "five at once, and one on credit");
    assert_eq!(bucket.ready_at(), now + MS * 10);
}

#[test]
fn debts_are_earned_at_the_new_rate() {
    let now = Instant::from_millis(1000);
    let mut bucket = Bucket::new(now, 100_000, 1000);
    (0..3).for_each(|_| bucket.take(now, 1000));
    assert_eq!(bucket.ready_at(), now + MS * 20);
    bucket.set(now, 1_000_000, 1000);
    assert_eq!(bucket.ready_at(), now + MS * 2);
    bucket.set(now, 100_000, 1000);
    assert_eq!(bucket.ready_at(), now + MS * 20);
}

proptest! {
    #[test]
    fn waits_are_bounded_whatever_comes(
        rate in any::<u64>(),
        burst in any::<u64>(),
        packets in prop::collection::vec((any::<u32>(), any::<usize>()), 1..50),
    ) {
        let mut now = Instant::ZERO;
        let mut bucket = Bucket::new(now, rate, burst);
        for (pause, len) in packets {
            now += Duration::from_nanos(pause.into());
            bucket.take(now, len);
            prop_assert!(bucket.ready_at() <= now + LONGEST_WAIT);
        }
    }

    #[test]
    fn no_more_passes_than_was_earned(
        rate in 1000_u64..1_000_000_000,
        burst in 0_u64..100_000,
        packets in prop::collection::vec((0_u64..10_000_000, 1_usize..10_000), 1..200),
    ) {
        let start = Instant::from_millis(7);
        let (mut now, mut passed) = (start, 0);
        let mut bucket = Bucket::new(start, rate, burst);
        for (pause, len) in packets {
            now += Duration::from_nanos(pause);
            if bucket.is_ready(now) {
                bucket.take(now, len);
                passed += len as u64;
            }
            let earned = rate as f64 * now.since(start).as_secs_f64();
            prop_assert!(passed as f64 <= (earned + burst as f64) * 1.001 + 10_001.0);
        }
    }
}
