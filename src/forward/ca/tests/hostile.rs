//! Whatever comes, the pacer stays within its bounds.

use core::time::Duration;

use proptest::prelude::*;

use super::*;

const LONGEST: Duration = Duration::from_secs(1);

fn bounded(pacer: &Pacer, now: Instant) {
    assert!((2_000..=100_000_000_000).contains(&pacer.rate()), "{}", pacer.rate());
    assert!(pacer.next_send() <= now + LONGEST);
    assert!(pacer.level() <= 8160);
}

proptest! {
    #[test]
    fn any_updates_at_any_time(
        steps in prop::collection::vec((any::<u32>(), prop::option::of(any::<u16>()), any::<u16>()), 1..400),
        long in any::<bool>(),
    ) {
        let mut now = Instant::from_millis(1);
        let mut pacer = Pacer::new(now, ON);
        for (pause, level, len) in steps {
            now += Duration::from_nanos(if long { u64::from(pause) * 1000 } else { (pause >> 8).into() });
            if let Some(level) = level {
                pacer.update(now, level);
            }
            if pacer.may_send(now).is_ok() {
                pacer.sent(now, len.into());
            }
            bounded(&pacer, now);
        }
    }

    #[test]
    fn the_receiver_is_bounded(marks in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut receiver = Receiver::new(ON);
        let told = marks.iter().filter(|ecn| receiver.delivered(**ecn).is_some()).count();
        prop_assert!(receiver.level() <= 8191);
        prop_assert!(told <= marks.len() / 8 + Receiver::BURST as usize);
    }
}

#[test]
fn floods_of_the_worst_updates() {
    for level in [1, 8191, u16::MAX] {
        let mut now = Instant::from_millis(1);
        let mut pacer = Pacer::new(now, ON);
        for n in 0..100_000 {
            now += Duration::from_micros(3);
            pacer.update(now, if n % 7 == 0 { 0 } else { level });
            if pacer.may_send(now).is_ok() {
                pacer.sent(now, 1000);
            }
        }
        bounded(&pacer, now);
    }
}

#[test]
fn recovers_once_the_worst_is_over() {
    let mut now = Instant::from_millis(1);
    let mut pacer = Pacer::new(now, ON);
    for _ in 0..1000 {
        now += Duration::from_millis(10);
        pacer.update(now, u16::MAX);
        pacer.sent(now, 1000);
    }
    assert!(pacer.rate() < Pacer::INITIAL_RATE / 2);
    // Nothing is heard any more.
    let began = now;
    while pacer.rate() < 10_000_000 {
        match pacer.may_send(now) {
            Ok(()) => pacer.sent(now, 1000),
            Err(at) => now = at,
        }
    }
    assert!(now.since(began) < Duration::from_secs(10), "{:?}", now.since(began));
}

/// Three million packets a second, of 64 and of 1000 bytes.
#[test]
fn a_path_without_queues_is_soon_without_limits() {
    for (len, within) in [(64, 500), (1000, 3000)] {
        let began = Instant::from_millis(1);
        let (mut now, mut pacer) = (began, Pacer::new(began, ON));
        while pacer.rate() < 3_000_000 * len {
            match pacer.may_send(now) {
                Ok(()) => pacer.sent(now, len as usize),
                Err(at) => now = at,
            }
        }
        assert!(now.since(began) < Duration::from_millis(within), "{len} bytes: {:?}", now.since(began));
    }
}

#[test]
fn what_is_not_made_use_of_does_not_grow_and_is_forgotten() {
    let mut now = Instant::from_millis(1);
    let mut pacer = Pacer::new(now, ON);
    for _ in 0..1000 {
        now += Duration::from_millis(10);
        pacer.may_send(now).unwrap();
        pacer.sent(now, 1000);
    }
    assert_eq!(pacer.rate(), Pacer::INITIAL_RATE);
    while pacer.rate() < 100_000_000 {
        match pacer.may_send(now) {
            Ok(()) => pacer.sent(now, 1000),
            Err(at) => now = at,
        }
    }
    now += Duration::from_secs(60);
    pacer.may_send(now).unwrap();
    assert_eq!(pacer.rate(), Pacer::INITIAL_RATE);
}
