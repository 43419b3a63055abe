//! Whatever comes, the pacer stays within its bounds.

use core::time::Duration;

use proptest::prelude::*;

use super::*;

const LONGEST: Duration = Duration::from_secs(1);

fn bounded(pacer: &Pacer, now: Instant) {
    assert!((2_000..=100_000_000_000).contains(&pacer.rate()), "{}", pacer.rate());
    assert!(pacer.clone().may_send(now).err().is_none_or(|at| at <= now + LONGEST));
    assert!(pacer.level() <= 8160);
}

proptest! {
    #[test]
    fn arbitrary_updates_are_bounded(
        steps in prop::collection::vec((any::<u32>(), prop::option::of(any::<u16>()), any::<u16>()), 1..400),
        long in any::<bool>(),
    ) {
        let mut now = Instant::from_millis(1);
        let mut pacer = Pacer::new(now, ON, Feedback::Levels);
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
    fn arbitrary_reports_are_bounded(
        steps in prop::collection::vec(
            (any::<u32>(), prop::option::of((any::<u32>(), any::<u32>(), prop::option::of(any::<u32>()))), any::<u16>()),
            1..400,
        ),
        long in any::<bool>(),
        small in any::<bool>(),
    ) {
        let mut now = Instant::from_millis(1);
        let mut pacer = Pacer::new(now, ON, Feedback::Reports);
        let of = |n: u32| if small { n % 64 } else { n };
        for (pause, report, len) in steps {
            now += Duration::from_nanos(if long { u64::from(pause) * 1000 } else { (pause >> 8).into() });
            if let Some((delivered, marks, answer)) = report {
                pacer.report(now, of(delivered), of(marks), answer.map(of));
            }
            match pacer.may_send(now) {
                Ok(()) => pacer.sent(now, len.into()),
                Err(at) => prop_assert!(at > now && at <= now + Duration::from_secs(130)),
            }
            pacer.ask(now);
            prop_assert!(pacer.rate() > 0);
        }
    }

    #[test]
    fn the_receiver_is_bounded(marks in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut receiver = Receiver::new(ON, Feedback::Levels);
        let told = marks.iter().filter(|ecn| receiver.delivered(NOW, **ecn).is_some()).count();
        prop_assert!(receiver.level() <= 8191);
        prop_assert!(told <= marks.len() / 8 + Receiver::BURST as usize);
    }
}

#[test]
fn floods_of_extreme_updates_are_bounded() {
    for level in [1, 8191, u16::MAX] {
        let mut now = Instant::from_millis(1);
        let mut pacer = Pacer::new(now, ON, Feedback::Levels);
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
fn the_rate_recovers_after_extreme_updates() {
    let mut now = Instant::from_millis(1);
    let mut pacer = Pacer::new(now, ON, Feedback::Levels);
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
fn an_unmarked_path_soon_has_no_limit() {
    for (len, within) in [(64, 500), (1000, 3000)] {
        let began = Instant::from_millis(1);
        let (mut now, mut pacer) = (began, Pacer::new(began, ON, Feedback::Levels));
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
fn unused_rate_does_not_grow_and_is_forgotten() {
    let mut now = Instant::from_millis(1);
    let mut pacer = Pacer::new(now, ON, Feedback::Levels);
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

/// Nothing is heard: two packets and a question each second and a bit, and the flow goes on at once when something is.
#[test]
fn silence_does_not_grow_the_rate() {
    let began = Instant::from_millis(1);
    let (mut now, mut pacer) = (began, Pacer::new(began, ON, Feedback::Reports));
    let (mut sent, mut asked) = (0, 0);
    while now < began + Duration::from_secs(60) {
        match pacer.may_send(now) {
            Ok(()) => {
                pacer.sent(now, 1000);
                sent += 1;
            }
            Err(at) => now = at,
        }
        asked += u32::from(pacer.ask(now).is_some());
    }
    assert!((60..=16 + 2 * 8 + 60 * 2).contains(&sent), "{sent} packets without news");
    assert!(asked <= 12 * 60, "{asked} questions");
}

/// A receiver that claims more than was sent gets a window no larger than one that has had it all.
#[test]
fn no_more_counts_as_delivered_than_was_sent() {
    let mut now = Instant::from_millis(1);
    let mut pacers = [1, 1000].map(|lie| (lie, Pacer::new(now, ON, Feedback::Reports), 0));
    for _ in 0..12 {
        now += Duration::from_millis(10);
        for (lie, pacer, sent) in &mut pacers {
            while pacer.may_send(now).is_ok() {
                pacer.sent(now, 1000);
                *sent += 1;
            }
            pacer.report(now, u32::wrapping_mul(*sent, *lie), 0, None);
        }
    }
    assert!(pacers[1].1.rate() <= pacers[0].1.rate() * 11 / 10);
}

/// A flow with little to send is not taken for one on a long path because its last packets are not reported.
#[test]
fn pauses_do_not_count_as_round_trips() {
    let mut now = Instant::from_millis(1);
    let mut pacer = Pacer::new(now, ON, Feedback::Reports);
    let mut receiver = Receiver::new(ON, Feedback::Reports);
    for _ in 0..20 {
        for n in 0..3 {
            assert_eq!(pacer.may_send(now), Ok(()), "it may send at once");
            pacer.sent(now, 1000);
            let arrives = now + Duration::from_millis(5);
            if receiver.delivered(arrives, 0).is_some() {
                let (delivered, marks) = receiver.report(arrives);
                pacer.report(now + Duration::from_millis(10), delivered, marks, None);
            }
            now += Duration::from_micros(n);
        }
        now += Duration::from_secs(10);
    }
    assert!(pacer.rate() >= Pacer::INITIAL_RATE / 10, "{}", pacer.rate());
}
