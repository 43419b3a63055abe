use alloc::vec::Vec;

use super::*;

#[test]
fn pauses_double_up_to_a_limit_and_vary() {
    let (mut rng, mut backoff) = (Rng::from_seed([1; 32]), Backoff::default());
    let pauses: Vec<_> = (0..40).map(|_| backoff.failed(&mut rng).as_millis()).collect();
    for (n, pause) in pauses.iter().enumerate() {
        let full = (100 << n.min(20)).min(30_000);
        assert!((full / 2..=full).contains(pause), "pause {n} is {pause} ms");
    }
    assert_eq!(backoff.failures(), 40);
    backoff.succeeded();
    assert!(backoff.failed(&mut rng) <= Duration::from_millis(100));

    let mut other = Rng::from_seed([2; 32]);
    let mut again = Backoff::default();
    assert_ne!(pauses, (0..40).map(|_| again.failed(&mut other).as_millis()).collect::<Vec<_>>());
}

#[test]
fn odd_configurations_do_no_harm() {
    let mut rng = Rng::from_seed([1; 32]);
    let mut none = Backoff::new(Duration::ZERO, Duration::ZERO);
    let mut long = Backoff::new(Duration::MAX, Duration::MAX);
    for _ in 0..100 {
        assert!(none.failed(&mut rng) >= Duration::from_micros(500));
        assert!(long.failed(&mut rng) >= Duration::from_nanos(u64::MAX / 2));
    }
}

#[test]
fn a_schedule_ends_in_time() {
    let mut rng = Rng::from_seed([3; 32]);
    let limit = Duration::from_secs(20);
    let mut schedule = Schedule::new(Instant::from_millis(500), limit, Backoff::default());
    assert_eq!(schedule.deadline(), Instant::from_millis(20_500));
    let mut now = Instant::from_millis(500);
    // Every attempt takes a second.
    while let Some(again) = schedule.failed(now + Duration::from_secs(1), &mut rng) {
        now = again;
        assert!(now < schedule.deadline());
    }
    assert!((6..=9).contains(&schedule.attempt()), "{} attempts", schedule.attempt());
}

#[test]
fn pauses_around_a_time_are_as_long_on_average() {
    let mut rng = Rng::from_seed([4; 32]);
    let (time, limit) = (Duration::from_millis(800), Duration::from_secs(1));
    let all: Vec<_> = (0..1000).map(|_| around(&mut rng, time).as_millis()).collect();
    assert!(all.iter().all(|ms| (700..=900).contains(ms)));
    assert!((795..=805).contains(&(all.iter().sum::<u128>() / 1000)));
    let mut backoff = Backoff::new(Duration::from_millis(75), Duration::from_secs(30));
    for whole in [75, 150, 300, 600, 1000, 1000] {
        let pause = backoff.failed_around(&mut rng, limit).as_millis();
        assert!((whole * 7 / 8 - 1..=whole * 9 / 8).contains(&pause), "{pause} ms for {whole} ms");
    }
}
