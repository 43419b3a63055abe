//! The cost of a packet, with and without loss. Run with
//! `cargo test --release --lib frct::tests::speed -- --ignored --nocapture`.

use alloc::vec::Vec;
use core::time::Duration;
use std::eprintln;

use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::time::Instant;
use crate::frct::{Config, Frct, Stats, Transmit};

const BATCH: usize = 64;
const BATCHES: usize = 40_000;

#[allow(clippy::disallowed_methods)]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_packet() {
    for reliable in [true, false] {
        let cfg = Config { reliable, ..Config::default() };
        let mut now = Instant::from_millis(1);
        let pool = BufPool::new(1024);
        let (mut cache, mut cache_b) = (BufCache::new(&pool), BufCache::new(&pool));
        let (mut a, mut b) = (Frct::new(cfg.clone(), 1), Frct::new(cfg, 2));
        let (mut sending, mut receiving, mut acking) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut wire: Vec<PacketBuf> = Vec::new();
        let mut fresh: Vec<PacketBuf> = Vec::new();
        for _ in 0..BATCHES {
            now += Duration::from_micros(50);
            for _ in 0..BATCH {
                let mut p = cache.take(1400);
                p.append(1400).unwrap();
                fresh.push(p);
            }
            let (mut headers, mut owned) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
            let t = clock();
            for p in fresh.drain(..) {
                a.send(now, p).unwrap();
                while let Some(t) = a.poll_transmit(now) {
                    match t {
                        Transmit::Owned { pkt } => owned.push(pkt),
                        Transmit::Kept { pci, payload } => headers.push((pci, payload.len())),
                        Transmit::Control { pci, payload } => headers.push((pci, payload.len())),
                    }
                }
            }
            sending += t.elapsed();
            for (pci, len) in headers {
                let mut p = cache.take(1412);
                p.extend_from_slice(&pci).unwrap();
                p.append(len).unwrap();
                wire.push(p);
            }
            wire.append(&mut owned);
            let (mut acks, mut done) = (Vec::new(), Vec::with_capacity(BATCH));
            let t = clock();
            for p in wire.drain(..) {
                b.handle_packet(now, p, &mut cache_b);
                while let Some(Transmit::Control { pci, .. }) = b.poll_transmit(now) {
                    acks.push(pci);
                }
                if let Some(p) = b.deliver(now, &mut cache) {
                    done.push(p);
                }
            }
            receiving += t.elapsed();
            for p in done {
                cache.put(p);
            }
            let acks: Vec<_> = acks.iter().map(|a| PacketBuf::copy_of(a)).collect();
            let t = clock();
            for p in acks {
                a.handle_packet(now, p, &mut cache);
            }
            acking += t.elapsed();
            while a.poll_transmit(now).is_some() {}
        }
        let n = (BATCH * BATCHES) as f64;
        let ns = |d: Duration| d.as_nanos() as f64 / n;
        eprintln!(
            "reliable {reliable}: send+poll {:.1} ns, handle+deliver {:.1} ns, taking acknowledgements {:.1} ns a packet",
            ns(sending),
            ns(receiving),
            ns(acking)
        );
        assert_eq!(b.stats().received as usize, BATCH * BATCHES);
        assert_eq!(a.stats(), Stats { sent: n as u64, ..a.stats() });
    }
    eprintln!("size of a machine: {} bytes", size_of::<Frct>());
}

/// With gaps in a full window: what a packet costs both ends together, everything included but the copies.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_packet_with_loss() {
    for (loss, name) in [(0, "none"), (1000, "0.1 %"), (100, "1 %"), (20, "5 %"), (5, "20 %")] {
        let cfg = Config { congestion: false, unsent: 4096, ..Config::default() };
        let mut now = Instant::from_millis(1);
        let pool = BufPool::new(8192);
        let (mut cache, mut cache_b) = (BufCache::new(&pool), BufCache::new(&pool));
        let (mut a, mut b) = (Frct::new(cfg.clone(), 1), Frct::new(cfg, 2));
        let mut chance = super::net::Chance(1);
        let (mut spent, mut read, mut acks) = (Duration::ZERO, 0u64, Vec::new());
        // Packets are under way for 16 rounds of 100 microseconds.
        let mut line: alloc::collections::VecDeque<Vec<PacketBuf>> = (0..16).map(|_| Vec::new()).collect();
        while read < 1_000_000 {
            now += Duration::from_micros(100);
            let mut fresh = Vec::new();
            for _ in 0..256 {
                let mut p = cache.take(1400);
                p.append(1400).unwrap();
                fresh.push(p);
            }
            let mut sent: Vec<PacketBuf> = Vec::new();
            let mut copying = Duration::ZERO;
            let t = clock();
            for p in acks.drain(..) {
                a.handle_packet(now, p, &mut cache);
            }
            a.handle_timeout(now, &mut cache);
            for p in fresh {
                if let Err(p) = a.send(now, p) {
                    cache.put(p);
                }
            }
            while let Some(t) = a.poll_transmit(now) {
                let c = clock();
                if loss == 0 || chance.below(loss) != 0 {
                    let mut p = cache_b.take(1412);
                    p.extend_from_slice(t.header()).unwrap();
                    p.append(t.payload().len()).unwrap();
                    sent.push(p);
                }
                copying += c.elapsed();
            }
            line.push_back(sent);
            let arrived = line.pop_front().unwrap();
            for p in arrived {
                b.handle_packet(now, p, &mut cache_b);
            }
            b.handle_timeout(now, &mut cache_b);
            while let Some(p) = b.deliver(now, &mut cache) {
                read += 1;
                cache_b.put(p);
            }
            while let Some(t) = b.poll_transmit(now) {
                acks.push(PacketBuf::copy_of(&[t.header(), t.payload()].concat()));
            }
            spent += t.elapsed() - copying;
        }
        let took = now - Instant::from_millis(1);
        eprintln!("loss {name}: {:.0} ns a packet, {took:?}, {:?}", spent.as_nanos() as f64 / read as f64, a.stats());
    }
}
