//! Two machines over every kind of bad path. What is read is checked by [`net`](super::net): a prefix of what was
//! written, or a subsequence on best-effort flows.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Chance, Link, Net};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::frct::Config;
use crate::wire::frct::Pci;

const ISNS: [u32; 6] = [0, 7, 0x00ff_fff0, 0x7fff_fff0, 0xfeff_ff80, 0xffff_fff0];

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A path, an amount and a window drawn from `seed`.
fn draw(seed: u64) -> (Config, Link, Chance) {
    let mut c = Chance(seed.wrapping_mul(0x9e37_79b9));
    let share = |c: &mut Chance, most: u64| c.below(3).min(1) as f64 * c.below(most) as f64 / 100.0;
    let link = Link {
        jitter: Duration::from_micros(c.below(3) * c.below(5_000)),
        loss: share(&mut c, 25),
        duplicate: share(&mut c, 20),
        reorder: share(&mut c, 30),
        corrupt: share(&mut c, 10),
        rate: (c.below(3) == 0).then_some((10_000_000 << c.below(5), 20 + c.below(200) as usize)),
        ..Link::new(20 + c.below(3) * c.below(30_000))
    };
    let cfg = Config {
        congestion: c.below(2) == 0,
        window: 16 << c.below(9),
        legacy_window: 4 << c.below(7),
        send_queue: 8 << c.below(8),
        ..Config::default()
    };
    (cfg, link, c)
}

#[test]
fn anything_that_can_happen_to_packets() {
    for seed in 0..150 {
        let (cfg, link, mut c) = draw(seed);
        let isns = [ISNS[c.below(6) as usize], ISNS[c.below(6) as usize]];
        let mut net = Net::with_isns(&cfg, &link, seed, isns);
        for side in &mut net.sides {
            side.to_write = c.below(800);
            side.size = 1 + c.below(1400) as usize;
        }
        let done = net.run(secs(100), Net::complete);
        assert!(
            done,
            "seed {seed} after {:?} {link:?} {cfg:?} {:?} {:?} {:?} {:?}",
            net.now,
            net.sides[0].frct,
            net.sides[0].frct.stats(),
            net.sides[1].frct,
            net.sides[1].frct.stats()
        );
        for (i, side) in net.sides.iter().enumerate() {
            let s = side.frct.stats();
            assert_eq!((s.received, s.sent), (net.sides[1 - i].to_write, side.to_write), "seed {seed}");
            assert_eq!(s.implausible, 0, "seed {seed}: nothing of ours looks wrong to us");
        }
    }
}

#[test]
fn best_effort_over_anything() {
    for seed in 0..100 {
        let (cfg, link, mut c) = draw(seed);
        let cfg = Config { reliable: false, ..cfg };
        let mut net = Net::with_isns(&cfg, &link, seed, [ISNS[c.below(6) as usize], ISNS[c.below(6) as usize]]);
        net.sides[0].to_write = 1000;
        net.sides[1].to_write = c.below(2) * 1000;
        let done = net.run(secs(200), |n| n.sides.iter().all(|s| s.frct.stats().sent == s.to_write));
        assert!(done, "seed {seed} {link:?} {cfg:?} {:?} {:?}", net.sides[0].frct, net.sides[1].frct);
    }
}

#[test]
fn one_way_best_effort_never_stalls() {
    for loss in [0.0, 0.01, 0.2] {
        let cfg = Config { reliable: false, ..Config::default() };
        let link = Link { loss, ..Link::new(5_000) };
        let mut net = Net::new(&cfg, &link, 11);
        net.sides[0].to_write = 100_000;
        assert!(net.run(secs(20), |n| n.sides[0].frct.stats().sent == 100_000), "{loss} {:?}", net.sides[0].frct);
        net.run(secs(1), |_| false);
        let share = net.sides[1].read as f64 / 100_000.0;
        assert!(share > 0.98 - loss, "{share}");
        let seen = net.sides[1].read + net.sides[1].frct.stats().skipped;
        assert!((99_950..=100_000).contains(&seen), "all but a lost tail is accounted for: {seen}");
    }
}

#[test]
fn a_partition_heals() {
    for reliable in [true, false] {
        let cfg = Config { reliable, ..Config::default() };
        let mut link = Link::new(10_000);
        link.broken = Some((Instant::from_millis(300), Instant::from_millis(10_300)));
        let mut net = Net::new(&cfg, &link, 5);
        net.sides[0].to_write = 50_000;
        let done = |n: &Net| n.sides[0].frct.stats().sent == 50_000 && (n.complete() || !reliable);
        assert!(net.run(secs(60), done), "{:?}", net.sides[0].frct);
        let after = net.now - Instant::from_millis(10_300);
        assert!(after < secs(5), "{after:?}");
    }
}

/// A path that falls silent twice, the second time while most of what the first cost still waits for its repair.
/// `reports`: the peer says what it holds.
fn silence_while_losses_wait(reports: bool) {
    let mut net = Net::new(&Config::default(), &Link::new(80_000), 4);
    net.sides[0].to_write = 3_000;
    net.run(Duration::from_millis(600), |_| false);
    net.sides[1].frct.tx.peer_is_o7s = reports;
    let silence = |net: &mut Net, long: Duration| {
        let broken = Some((net.now, net.now + long));
        net.links.iter_mut().for_each(|link| link.broken = broken);
        net.now + long
    };
    silence(&mut net, secs(2));
    assert!(net.run(secs(10), |n| n.sides[0].frct.tx.repairs.lost_count > 20), "{:?}", net.sides[0].frct);
    let healed = silence(&mut net, secs(20));
    // What was under way still arrives, but no answer to it.
    net.run(secs(1), |_| false);
    let oldest = net.sides[0].frct.tx.edge;
    net.log = Some(Vec::new());
    net.run(secs(19), |n| n.now >= healed);
    assert!(net.sides[0].frct.tx.repairs.lost_count > 10, "losses wait");
    assert!(net.run(secs(60), Net::complete), "{:?}", net.sides[0].frct);
    let took = net.now;
    let ours = net.log.iter().flatten().filter(|(side, at, _)| *side == 0 && *at >= healed);
    let data = ours.filter_map(|(_, at, bytes)| Some((*at, Pci::parse(bytes).ok()?))).find(|(_, pci)| pci.is_data());
    let (at, pci) = data.expect("something is sent");
    assert_eq!(pci.seqno, oldest, "every timeout sends the oldest, whatever else is lost");
    assert!(took - at < secs(5), "{:?}", took - at);
}

#[test]
fn a_timeout_sends_the_oldest_while_losses_wait() {
    silence_while_losses_wait(true);
}

#[test]
fn a_timeout_sends_the_oldest_when_no_answer_says_what_is_lost() {
    silence_while_losses_wait(false);
}

#[test]
fn numbers_wrap_in_the_middle_of_a_window() {
    for isn in [0xffff_fff0, 0xffff_f000, 0x00ff_fff0, 0x00ff_f000, 0x7fff_f000] {
        for reliable in [true, false] {
            let cfg = Config { reliable, congestion: false, ..Config::default() };
            let link = Link { loss: 0.02, ..Link::new(10_000) };
            let mut net = Net::with_isns(&cfg, &link, 5, [isn, isn]);
            for side in &mut net.sides {
                side.to_write = 10_000;
            }
            let done = |n: &Net| n.sides.iter().all(|s| s.frct.stats().sent == 10_000) && (n.complete() || !reliable);
            assert!(net.run(secs(20), done), "{isn:x} {:?} {:?}", net.sides[0].frct, net.sides[1].frct);
        }
    }
}

#[test]
fn the_large_window_is_used_between_two_of_us() {
    // More memory than the default, because the packets are in buffers much larger than they are.
    let cfg = Config { congestion: false, send_bytes: 16 << 20, ..Config::default() };
    let mut net = Net::new(&cfg, &Link::new(50_000), 1);
    net.sides[0].to_write = 20_000;
    let mut most = 0;
    net.run(secs(10), |n| n.sides[1].frct.stats().out_of_window > 0 || n.complete());
    assert_eq!(net.sides[1].frct.stats().out_of_window, 0);
    let mut net = Net::new(&cfg, &Link::new(50_000), 1);
    net.sides[0].to_write = 20_000;
    net.pump(0);
    while !net.complete() && net.step() {
        most = most.max(net.sides[0].frct.tx.outstanding());
    }
    assert_eq!(most, 4096);
    assert!(net.now < Instant::from_millis(1000), "{:?}", net.now);
}

#[test]
fn the_send_queue_is_bounded_in_bytes() {
    for (reliable, most) in [(true, 100_000), (true, 1), (false, 100_000), (false, 1)] {
        let cfg = Config { reliable, send_bytes: most, ..Config::default() };
        let mut net = Net::new(&cfg, &Link { loss: 0.1, ..Link::new(5_000) }, 3);
        let packet = || PacketBuf::copy_of(&[0; 1000]);
        let (now, mut taken) = (net.now, 0);
        while net.sides[0].frct.send(now, packet()).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, most.div_ceil(packet().memory()), "the last one may reach beyond, and one always fits");
        assert!(!net.sides[0].frct.has_room());
        // What leaves makes room again: everything that is written arrives, one packet at a time if need be.
        let mut net = Net::new(&cfg, &Link { loss: 0.1, ..Link::new(5_000) }, 3);
        net.sides[0].to_write = 500;
        let done = |n: &Net| n.sides[0].frct.stats().sent == 500 && (n.complete() || !reliable);
        assert!(net.run(secs(60), done), "{:?}", net.sides[0].frct);
        assert!(net.sides[0].frct.has_room());
    }
}

#[test]
fn a_reader_that_stops_stops_the_writer() {
    for reliable in [true, false] {
        let cfg = Config { reliable, ..Config::default() };
        let mut net = Net::new(&cfg, &Link { loss: 0.05, ..Link::new(1_000) }, 3);
        net.sides[0].to_write = 20_000;
        net.sides[1].reading = false;
        net.run(secs(130), |_| false);
        assert!(!net.sides[0].frct.is_down(), "what was acknowledged keeps the flow up");
        let sent = net.sides[0].frct.stats().sent;
        assert!((4096..4400).contains(&sent), "{sent}");
        assert!(net.carried[0] < 8000, "{}", net.carried[0]);
        net.sides[1].reading = true;
        let done = |n: &Net| n.sides[0].frct.stats().sent == 20_000 && (n.complete() || !reliable);
        assert!(net.run(secs(30), done), "{:?} {:?}", net.sides[0].frct, net.sides[1].frct);
    }
}

#[test]
fn noise_changes_nothing() {
    let link = Link { loss: 0.03, ..Link::new(2_000) };
    let mut net = Net::new(&Config::default(), &link, 9);
    net.sides[0].to_write = 3_000;
    net.sides[1].to_write = 3_000;
    net.pump(0);
    net.pump(1);
    let mut chance = Chance(77);
    while !net.complete() {
        assert!(net.step());
        // Short packets, fragments, control packets of no meaning: none may be taken for anything.
        let mut noise = alloc::vec![0; chance.below(12) as usize];
        noise.fill_with(|| chance.next() as u8);
        let fragment = [[0x61; 1].as_slice(), &chance.next().to_be_bytes(), &[1, 2, 3, 4, 5]].concat();
        for packet in [&noise[..], &fragment] {
            let side = &mut net.sides[chance.below(2) as usize];
            side.frct.handle_packet(net.now, PacketBuf::copy_of(packet), &mut side.cache);
        }
    }
}

#[test]
fn a_tail_is_repaired_soon() {
    // Request and answer over 20 ms: a lost one costs a timeout a little above the round trip, not a second.
    let cfg = Config::default();
    let mut net = Net::new(&cfg, &Link::new(10_000), 1);
    for round in 1..=20 {
        net.sides[0].to_write = round;
        assert!(net.run(secs(1), Net::complete));
    }
    let mut slowest = Duration::ZERO;
    net.links[0].loss = 0.3;
    for round in 21..=60 {
        let start = net.now;
        net.sides[0].to_write = round;
        assert!(net.run(secs(5), Net::complete));
        slowest = slowest.max(net.now - start);
    }
    assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
}

#[test]
fn reordering_is_not_loss() {
    let link = Link { reorder: 0.1, ..Link::new(10_000) };
    let mut net = Net::new(&Config::default(), &link, 1);
    net.sides[0].to_write = 20_000;
    assert!(net.run(secs(60), Net::complete));
    let again = net.sides[0].frct.stats().retransmitted;
    assert!(again < 300, "{again} of 2000 late packets repeated, {:?}", net.now);
}

#[test]
fn an_acknowledgement_every_eight_packets() {
    let mut net = Net::new(&Config::default(), &Link::new(1_000), 1);
    net.sides[0].to_write = 8_000;
    assert!(net.run(secs(10), Net::complete));
    assert!(net.carried[1] < 1_100, "{}", net.carried[1]);
    assert!(net.carried[0] < 8_010, "{}", net.carried[0]);
}
