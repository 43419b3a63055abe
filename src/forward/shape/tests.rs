use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn zero_and_maximal_bandwidth_are_unlimited() {
    let now = Instant::ZERO;
    for qos in [QosSpec::RAW, QosSpec::DATA, QosSpec::VIDEO] {
        let mut shaper = Shaper::new(now, &qos);
        assert!(!shaper.is_limited());
        assert!((0..100_000).all(|_| shaper.admit(now, 1500) == Admission::Pass));
    }
}

#[test]
fn packets_wait_or_are_dropped_by_their_cube() {
    let now = Instant::ZERO;
    let patient = QosSpec { bandwidth: 100_000, ..QosSpec::DATA };
    for (qos, drops) in [(patient, false), (QosSpec::VOICE, true)] {
        let mut shaper = Shaper::new(now, &qos);
        while shaper.admit(now, 1400) == Admission::Pass {}
        match shaper.admit(now, 1400) {
            Admission::Wait(at) => assert!(!drops && at > now && at.since(now) < LONGEST_WAIT),
            other => assert_eq!((drops, other), (true, Admission::Drop)),
        }
    }
}

#[test]
fn a_call_gets_its_bandwidth() {
    let (mut now, mut shaper) = (Instant::ZERO, Shaper::new(Instant::ZERO, &QosSpec::VOICE));
    let mut bits = 0;
    while now < Instant::from_millis(10_000) {
        match shaper.admit(now, 200) {
            Admission::Pass => bits += 1600,
            Admission::Wait(at) => now = at,
            Admission::Drop => now += MS,
        }
    }
    assert!((1_000_000..1_030_000).contains(&bits), "{bits} bits in 10 s");
}

#[test]
fn patience_in_all_is_that_of_flows_that_do_not_repeat() {
    let patience = |qos: QosSpec| Shaper::new(Instant::from_millis(1), &qos).patience();
    assert_eq!(patience(QosSpec::VOICE), Some(Duration::from_millis(50)));
    let limited = |qos| QosSpec { bandwidth: 1_000_000, ..qos };
    assert_eq!(patience(limited(QosSpec::DATA)), None, "it would come again");
    assert_eq!(patience(limited(QosSpec { delay: 20_000, ..QosSpec::RAW })), Some(Duration::from_secs(20)));
    assert_eq!(patience(QosSpec::VIDEO), None, "no limit");
}
