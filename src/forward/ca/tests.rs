mod hostile;
mod model;
mod reference;
mod shares;

use super::*;
use crate::base::time::Instant;

const ON: CongestionAvoidance = CongestionAvoidance::MbEcn;
const NOW: Instant = Instant::from_millis(1);

#[test]
fn marks_are_sixteenths_of_the_queue() {
    for (queued, level) in [(0, 0), (15, 0), (16, 1), (31, 1), (32, 2), (255, 15), (256, 16), (1008, 63), (9999, 63)] {
        assert_eq!(mark(ON, 0, queued), level);
    }
    assert_eq!(mark(ON, 5, 160), 15, "the marks of several queues are ORed");
    assert_eq!(mark(CongestionAvoidance::None, 5, 1000), 5);
}

/// The reference's receiver: marks, and the level with whether it is told.
#[test]
fn the_receiver_keeps_the_references_cadence() {
    let trace: [(u8, Option<u16>, u16); 19] = [
        (0, None, 0),
        (4, Some(4), 4),
        (4, None, 8),
        (4, Some(12), 12),
        (4, None, 16),
        (4, None, 20),
        (4, None, 24),
        (4, None, 28),
        (4, None, 32),
        (4, None, 35),
        (4, None, 38),
        (4, Some(41), 41),
        (0, None, 10),
        (0, None, 2),
        (0, Some(0), 0),
        (0, None, 0),
        (4, Some(4), 4),
        (0, None, 1),
        (0, Some(0), 0),
    ];
    let mut receiver = Receiver::new(ON, Feedback::Levels);
    for (n, (ecn, update, level)) in trace.into_iter().enumerate() {
        assert_eq!((receiver.delivered(NOW, ecn), receiver.level()), (update, level), "packet {n}");
    }
}

#[test]
fn long_episodes_are_reported_at_every_eighth_packet() {
    let mut receiver = Receiver::new(ON, Feedback::Levels);
    let told: Vec<_> = (1..=400).filter(|_| receiver.delivered(NOW, 255).is_some()).collect();
    let due: Vec<_> = (1..=400).filter(|n| *n == 1 || n % 8 == 3).collect();
    assert_eq!(told, due);
    assert_eq!(receiver.level(), 8160);
}

#[test]
fn a_queue_about_the_threshold_makes_few_updates() {
    let mut receiver = Receiver::new(ON, Feedback::Levels);
    let told = (0..8000).filter(|n| receiver.delivered(NOW, (n % 2) as u8).is_some()).count();
    assert!((990..1010).contains(&told), "{told} updates for 8000 packets");
}

#[test]
fn without_congestion_avoidance_nothing_is_reported_or_delayed() {
    let now = Instant::from_millis(1);
    let mut receiver = Receiver::new(CongestionAvoidance::None, Feedback::Reports);
    let mut pacer = Pacer::new(now, CongestionAvoidance::None, Feedback::Reports);
    for _ in 0..10_000 {
        assert_eq!(receiver.delivered(NOW, 63), None);
        pacer.update(now, 2016);
        assert_eq!(pacer.may_send(now), Ok(()));
        pacer.sent(now, 1500);
    }
    assert_eq!((pacer.phase(), pacer.rate()), (Phase::Off, u64::MAX));
}
