//! What a packet costs without loss. Run with
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
        let (mut a, mut b) = (Frct::new(cfg.clone(), 1, now), Frct::new(cfg, 2, now));
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
                        Transmit::Kept { pci, payload, .. } => headers.push((pci, payload.len())),
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
                if let Some(p) = b.deliver(now) {
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
        assert_eq!(a.stats(), &Stats { sent: n as u64, ..a.stats().clone() });
    }
    eprintln!("size of a machine: {} bytes", size_of::<Frct>());
}
