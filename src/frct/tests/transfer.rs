//! Transfers over bad paths.

use core::time::Duration;

use super::net::{Link, Net};
use crate::frct::Config;

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
    eprintln!(
        "{link:?}\n  {t:.3} s carried {:?} {:?}\n{:?}",
        net.carried,
        net.sides[0].frct.stats(),
        net.sides[1].frct.stats()
    );
    (net, t)
}

#[test]
fn ten_mebibytes_arrive_through_any_loss() {
    for congestion in [false, true] {
        let cfg = Config { congestion, ..Config::default() };
        for loss in [0.0, 0.01, 0.05, 0.20] {
            let link = Link { loss, ..Link::new(10_000) };
            let (_, t) = bulk(&cfg, &link, 7, 120);
            assert!(t < if congestion { 30.0 } else { 8.0 }, "{t}");
        }
    }
}

#[test]
fn a_share_of_a_real_path() {
    let link = Link { loss: 0.001, rate: Some((100_000_000, 200)), ..Link::new(20_000) };
    let mut net = Net::new(&Config::default(), &link, 3);
    net.sides[0].to_write = 100_000;
    net.sides[0].size = 2 * 1340;
    assert!(net.run(Duration::from_secs(60), Net::complete));
    let t = net.now.as_nanos() as f64 / 1e9;
    let share = 100_000.0 * (1340.0 + 12.0) * 8.0 / t / 100e6;
    assert!(share > 0.6, "{share}");
}
