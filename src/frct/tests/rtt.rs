use core::time::Duration;

use super::net::{Link, Net};
use crate::base::time::Instant;
use crate::frct::Config;
use crate::frct::rtt::Rtt;

/// The table of the manual: sample, srtt, mdev, timeout, nanoseconds.
#[test]
fn estimator_gives_the_values_of_the_reference() {
    let mut rtt = Rtt::default();
    assert!(!rtt.known());
    for (sample, srtt, mdev, timeout) in [
        (10_000_000, 10_000_000, 5_000_000, 30_000_000),
        (10_000_000, 10_000_000, 4_843_750, 29_375_000),
        (20_000_000, 11_250_000, 6_132_812, 35_781_248),
        (5_000_000, 10_468_750, 6_162_109, 35_117_186),
        (5_000_000, 9_785_156, 6_140_441, 34_346_920),
        (1_000_000, 8_687_011, 6_801_619, 35_893_487),
        (200_000, 7_626_134, 7_222_967, 36_518_002),
        (200_000, 6_697_867, 7_273_758, 35_792_899),
        (200_000, 5_885_633, 7_249_511, 34_883_677),
    ] {
        rtt.sample(Instant::ZERO, sample);
        assert_eq!((rtt.parts(), rtt.timeout()), ((srtt, mdev), timeout));
    }
    assert_eq!(rtt.min(), 200_000);
}

#[test]
fn an_old_minimum_is_forgotten() {
    let mut rtt = Rtt::default();
    rtt.sample(Instant::from_millis(0), 1_000_000);
    rtt.sample(Instant::from_millis(9_000), 5_000_000);
    assert_eq!(rtt.min(), 1_000_000);
    rtt.sample(Instant::from_millis(10_001), 5_000_000);
    assert_eq!(rtt.min(), 5_000_000);
}

#[test]
fn absurd_samples_do_no_harm() {
    let mut rtt = Rtt::default();
    for sample in [u64::MAX, 0, u64::MAX, 1, 0] {
        rtt.sample(Instant::ZERO, sample);
        assert!(rtt.timeout() > 0);
    }
}

/// Answers to what was sent twice are for either, and those to the first transmission, which come soon after the second, come
/// together.
#[test]
fn no_round_trip_is_shorter_than_the_path() {
    let path = Duration::from_millis(10).as_nanos() as u64;
    for seed in 0..50 {
        let link = Link { loss: 0.1, duplicate: 0.1, reorder: 0.1, ..Link::new(5000) };
        let mut net = Net::new(&Config { congestion: seed % 2 == 0, ..Config::default() }, &link, seed);
        for side in &mut net.sides {
            (side.to_write, side.size) = (300, 1000);
        }
        while !net.run(Duration::from_millis(1), Net::complete) {
            for side in &net.sides {
                let min = side.frct.tx.rtt.min();
                assert!(min == 0 || min >= path, "seed {seed}: {min} ns at {:?}", net.now);
            }
        }
    }
}
