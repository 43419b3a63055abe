//! The cost of framing and protection of a packet on one thread, beside the bare call of the cipher.

use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

use o7s::base::buf::{BufCache, BufPool, PacketBuf};
use o7s::base::rng::Rng;
use o7s::base::time::Instant;
use o7s::crypto::SessionKey;
use o7s::crypto::backend::{AeadKey, Backend};
use o7s::crypto::protect::Protection;
use o7s::crypto::suite::Cipher;
use o7s::frct::{Config, Frct, Transmit};

use crate::local::PACKET;
use crate::table::{Bound, Row, time};

const CIPHER: Cipher = Cipher::Aes256Gcm;
/// Packets between two looks at the clock, and between two rounds of acknowledgements.
const BATCH: usize = 64;
const BATCHES: usize = 20;
const RUNS: usize = 300;

/// One end of a flow, without what surrounds the pipeline.
struct End {
    frct: Frct,
    protection: Protection,
    rng: Rng,
    cache: BufCache,
}

impl End {
    fn new(pool: &std::sync::Arc<BufPool>, reliable: bool, isn: u32) -> Self {
        Self {
            frct: Frct::new(Config { reliable, ..Config::default() }, isn),
            protection: Protection::new(CIPHER, SessionKey::from_bytes([7; 32])).unwrap(),
            rng: Rng::from_seed([isn as u8; 32]),
            cache: BufCache::new(pool),
        }
    }

    /// What the pipeline does with what FRCT has to send.
    fn pump(&mut self, now: Instant, wire: &mut Vec<PacketBuf>) {
        while let Some(transmit) = self.frct.poll_transmit(now) {
            let mut pkt = match transmit {
                Transmit::Owned { pkt } => pkt,
                Transmit::Kept { pci, payload } | Transmit::Control { pci, payload } => {
                    let mut pkt = self.cache.take(pci.len() + payload.len());
                    pkt.extend_from_slice(&pci).unwrap();
                    pkt.extend_from_slice(payload).unwrap();
                    pkt
                }
            };
            self.protection.seal(&mut pkt, &mut self.rng).unwrap();
            wire.push(pkt);
        }
    }

    fn take(&mut self, now: Instant, wire: &mut Vec<PacketBuf>) {
        for mut pkt in wire.drain(..) {
            self.protection.open(&mut pkt).unwrap();
            self.frct.handle_packet(now, pkt, &mut self.cache);
        }
        while let Some(pkt) = self.frct.deliver(now, &mut self.cache) {
            self.cache.put(pkt);
        }
    }
}

/// Both ends of a flow, and a bare key. Of the flow only the sending of data is timed. The bare cipher gets its turn in
/// the same loop, on as many freshly filled buffers: alone it would find everything in the nearest cache.
struct Framing {
    now: Instant,
    a: End,
    b: End,
    fresh: Vec<PacketBuf>,
    wire: Vec<PacketBuf>,
    bare: Box<dyn AeadKey>,
    bare_packets: Vec<PacketBuf>,
    nonce: u64,
}

impl Framing {
    fn new(reliable: bool) -> Self {
        let pool = BufPool::new(4096);
        let (a, b) = (End::new(&pool, reliable, 1), End::new(&pool, reliable, 2));
        Self {
            now: Instant::from_millis(1),
            a,
            b,
            fresh: Vec::new(),
            wire: Vec::with_capacity(2 * BATCH),
            bare: Backend::preferred().aead(CIPHER).unwrap().schedule(&[7; 32]),
            bare_packets: (0..BATCH).map(|_| PacketBuf::copy_of(&[7; PACKET])).collect(),
            nonce: 0,
        }
    }

    /// Seconds a packet: ours, and the bare cipher.
    fn run(&mut self) -> (f64, f64) {
        let (mut ours, mut bare) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..BATCHES {
            ours += self.send_batch();
            bare += self.seal_batch();
        }
        let packets = (BATCH * BATCHES) as f64;
        (ours.as_secs_f64() / packets, bare.as_secs_f64() / packets)
    }

    fn send_batch(&mut self) -> Duration {
        self.now += Duration::from_micros(100);
        for _ in 0..BATCH {
            let mut pkt = self.a.cache.take(PACKET);
            pkt.append(PACKET).unwrap().fill(7);
            self.fresh.push(pkt);
        }
        let start = Clock::now();
        for pkt in self.fresh.drain(..) {
            self.a.frct.send(self.now, pkt).unwrap();
            self.a.pump(self.now, &mut self.wire);
        }
        let spent = start.elapsed();
        self.b.take(self.now, &mut self.wire);
        self.b.pump(self.now, &mut self.wire);
        self.a.take(self.now, &mut self.wire);
        self.a.pump(self.now, &mut self.wire);
        self.b.take(self.now, &mut self.wire);
        spent
    }

    fn seal_batch(&mut self) -> Duration {
        self.bare_packets.iter_mut().for_each(|pkt| pkt.fill(7));
        let start = Clock::now();
        for pkt in &mut self.bare_packets {
            self.nonce += 1;
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&self.nonce.to_le_bytes());
            black_box(self.bare.seal(&nonce, black_box(pkt)).unwrap());
        }
        start.elapsed()
    }

    /// The best of many short runs, for each: whatever else the processor did made a run slower, never faster.
    fn best(&mut self) -> (f64, f64) {
        let runs = (0..RUNS).map(|_| self.run());
        runs.fold((f64::MAX, f64::MAX), |best, run| (best.0.min(run.0), best.1.min(run.1)))
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let (reliable, bare) = Framing::new(true).best();
    let (best_effort, bare_again) = Framing::new(false).best();
    let text = |seconds| format!("bare {} {}", CIPHER.name(), time(seconds));
    vec![
        Row::info("FRCT framing and sealing, reliable, 1400 B", time(reliable), text(bare))
            .ratio(reliable, bare)
            .must(Bound::AtMost(1.3))
            .aim(Bound::AtMost(1.1)),
        Row::info("  the same, best effort", time(best_effort), text(bare_again)).ratio(best_effort, bare_again),
    ]
}
