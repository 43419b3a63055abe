//! Transfers over bad paths.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Link, Net};
use crate::base::time::Instant;
use crate::frct::Config;
use crate::frct::congestion::Algorithm;

const MIB10: u64 = 10 * 1024 * 1024 / 700;

fn bulk(cfg: &Config, link: &Link, seed: u64, limit_s: u64) -> (Net, f64) {
    let mut net = Net::new(cfg, link, seed);
    net.sides[0].to_write = MIB10;
    net.sides[0].size = 1400;
    assert!(
        net.run(Duration::from_secs(limit_s), Net::complete),
        "{:?} {:?}",
        net.sides[0].frct,
        net.sides[0].frct.stats()
    );
    let t = net.now.as_nanos() as f64 / 1e9;
    (net, t)
}

#[test]
fn ten_mebibytes_arrive_through_any_loss() {
    // Loss is what CUBIC answers to, and what BBR does not.
    for (congestion, algorithm, limits) in [
        (false, Algorithm::Cubic, [0.5, 1.0, 1.0, 3.0]),
        (true, Algorithm::Cubic, [0.5, 30.0, 120.0, 250.0]),
        (true, Algorithm::Bbr, [0.5, 1.0, 1.0, 3.0]),
    ] {
        for (loss, limit) in [0.0, 0.01, 0.05, 0.20].into_iter().zip(limits) {
            let cfg = Config { congestion, algorithm: algorithm.clone(), ..Config::default() };
            let link = Link { loss, ..Link::new(10_000) };
            let (_, t) = bulk(&cfg, &link, 7, 400);
            assert!(t < limit, "{algorithm:?} {loss} {t}");
        }
    }
}

#[test]
fn a_share_of_a_real_path() {
    // One packet in a thousand is lost by chance: what CUBIC makes of it, and BBR.
    for (algorithm, least) in [(Algorithm::Cubic, 0.2), (Algorithm::Bbr, 0.8)] {
        let link = Link { loss: 0.001, rate: Some((100_000_000, 200)), ..Link::new(20_000) };
        let mut net = Net::new(&Config { algorithm, ..Config::default() }, &link, 3);
        net.sides[0].to_write = 100_000;
        net.sides[0].size = 2 * 1340;
        assert!(net.run(Duration::from_secs(120), Net::complete));
        let t = net.now.as_nanos() as f64 / 1e9;
        let share = 100_000.0 * (1340.0 + 12.0) * 8.0 / t / 100e6;
        assert!(share > least, "{share}");
    }
}

/// Bottlenecks with short and long queues: the line is used, and what is lost for it is little.
#[test]
fn bottlenecks_are_used_and_not_flooded() {
    for (mbit, latency, room, share, repeated) in [
        (100, 20_000, 10, 0.35, 0.05),
        (100, 20_000, 30, 0.8, 0.02),
        (100, 20_000, 400, 0.9, 0.02),
        (10, 20_000, 30, 0.85, 0.05),
        (10, 20_000, 300, 0.9, 0.02),
        (1000, 1_000, 100, 0.9, 0.02),
        (1000, 50, 100, 0.9, 0.02),
        (2, 50_000, 50, 0.9, 0.1),
    ] {
        let rate = mbit * 1_000_000;
        let link = Link { rate: Some((rate, room)), ..Link::new(latency) };
        let mut net = Net::new(&Config::default(), &link, 3);
        let messages = (rate.div_ceil(8 * 1400) * 10).min(30_000);
        net.sides[0].to_write = messages;
        net.sides[0].size = 2 * 1340;
        assert!(net.run(Duration::from_secs(60), Net::complete));
        let reached = messages as f64 * 1412.0 * 8.0 / (net.now.as_nanos() as f64 / 1e9) / rate as f64;
        let again = net.sides[0].frct.stats().retransmitted as f64 / messages as f64;
        assert!(reached > share && again < repeated, "{mbit} Mb/s, {room} packets: {reached} {again}");
    }
}

/// Several flows over one bottleneck, the later ones starting when the first has filled it: messages each brought
/// across in the second half of the time.
fn share(count: usize, rate: u64, latency: u64, room: usize) -> Vec<u64> {
    let link = Link { rate: Some((rate, room)), ..Link::new(latency) };
    let mut nets: Vec<Net> = (0..count as u64).map(|seed| Net::new(&Config::default(), &link, seed)).collect();
    let (mut busy, mut waiting) = (Instant::ZERO, Vec::new());
    let mut half = Vec::new();
    let mut started = 0;
    loop {
        let now = nets.iter().map(Net::next_at).min().unwrap();
        let start = Instant::from_millis(2_000 * started as u64);
        let index = if started < count && start <= now {
            started += 1;
            nets[started - 1].now = start.max(Instant::from_millis(1));
            nets[started - 1].sides[0].to_write = u64::MAX;
            nets[started - 1].sides[0].size = 2 * 1340;
            started - 1
        } else {
            (0..count).min_by_key(|i| nets[*i].next_at()).unwrap()
        };
        if half.is_empty() && now > Instant::from_millis(20_000) && now != Instant::FAR_FUTURE {
            half = nets.iter().map(|n| n.sides[1].read).collect();
        }
        if now > Instant::from_millis(40_000) && now != Instant::FAR_FUTURE {
            return nets.iter().zip(half).map(|(n, h)| n.sides[1].read - h).collect();
        }
        // The line is one for all of them.
        let net = &mut nets[index];
        net.sides[0].busy_until = busy;
        net.sides[0].waiting = core::mem::take(&mut waiting);
        if net.next_at() == Instant::FAR_FUTURE {
            net.pump(0);
        } else {
            net.step();
        }
        busy = net.sides[0].busy_until;
        waiting = core::mem::take(&mut net.sides[0].waiting);
    }
}

#[test]
fn flows_share_a_bottleneck() {
    for (count, mbit, latency, room) in
        [(2, 20, 10_000, 30), (2, 20, 10_000, 200), (4, 50, 20_000, 100), (3, 20, 500, 100)]
    {
        let read = share(count, mbit * 1_000_000, latency, room);
        let sum: u64 = read.iter().sum();
        let used = sum as f64 * 1412.0 * 8.0 / 20.0 / (mbit as f64 * 1e6);
        assert!(used > 0.8, "{read:?} {used}");
        let least = *read.iter().min().unwrap() as f64 * count as f64 / sum as f64;
        assert!(least > 0.4, "{read:?}: the least has {least} of its share");
    }
}
