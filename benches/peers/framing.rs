//! What framing and protection of a packet cost on one thread, beside the bare call of the cipher.

use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

use o7s::base::buf::{BufCache, BufPool, PacketBuf};
use o7s::base::rng::Rng;
use o7s::base::time::Instant;
use o7s::crypto::SessionKey;
use o7s::crypto::backend::Backend;
use o7s::crypto::protect::Protection;
use o7s::crypto::suite::Cipher;
use o7s::frct::{Config, Frct, Transmit};

use crate::local::PACKET;
use crate::measure::in_turns;
use crate::table::{Bound, Row, time};

const CIPHER: Cipher = Cipher::Aes256Gcm;
/// Packets between two looks at the clock, and between two rounds of acknowledgements.
const BATCH: usize = 64;
const BATCHES: usize = 500;

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
            frct: Frct::new(Config { reliable, ..Config::default() }, isn, Instant::ZERO),
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
                Transmit::Kept { pci, payload, .. } | Transmit::Control { pci, payload } => {
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
        while let Some(pkt) = self.frct.deliver(now) {
            self.cache.put(pkt);
        }
    }
}

/// Both ends of a flow. Only the sending of data is timed.
struct Framing {
    now: Instant,
    a: End,
    b: End,
    fresh: Vec<PacketBuf>,
    wire: Vec<PacketBuf>,
}

impl Framing {
    fn new(reliable: bool) -> Self {
        let pool = BufPool::new(4096);
        let (a, b) = (End::new(&pool, reliable, 1), End::new(&pool, reliable, 2));
        Self { now: Instant::from_millis(1), a, b, fresh: Vec::new(), wire: Vec::with_capacity(2 * BATCH) }
    }

    /// Seconds a packet.
    fn run(&mut self) -> f64 {
        let mut spent = Duration::ZERO;
        for _ in 0..BATCHES {
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
            spent += start.elapsed();
            self.b.take(self.now, &mut self.wire);
            self.b.pump(self.now, &mut self.wire);
            self.a.take(self.now, &mut self.wire);
            self.a.pump(self.now, &mut self.wire);
            self.b.take(self.now, &mut self.wire);
        }
        spent.as_secs_f64() / (BATCH * BATCHES) as f64
    }
}

/// Seconds a packet of the bare cipher, over as many different buffers.
fn bare() -> f64 {
    let key = Backend::preferred().aead(CIPHER).unwrap().schedule(&[7; 32]);
    let mut packets: Vec<_> = (0..BATCH).map(|_| PacketBuf::copy_of(&[7; PACKET])).collect();
    let start = Clock::now();
    for i in 0..BATCHES {
        for (j, pkt) in packets.iter_mut().enumerate() {
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&((i * BATCH + j) as u64).to_le_bytes());
            black_box(key.seal(&nonce, black_box(pkt)).unwrap());
        }
    }
    start.elapsed().as_secs_f64() / (BATCH * BATCHES) as f64
}

pub(crate) fn rows() -> Vec<Row> {
    let (mut reliable, mut best_effort) = (Framing::new(true), Framing::new(false));
    let [ours, unkept, other] = in_turns(9, [&mut || reliable.run(), &mut || best_effort.run(), &mut bare]);
    let text = format!("bare {} {}", CIPHER.name(), time(other));
    vec![
        Row::info("FRCT framing and sealing, reliable, 1400 B", time(ours), &text)
            .ratio(ours, other)
            .must(Bound::AtMost(1.3))
            .aim(Bound::AtMost(1.1)),
        Row::info("  the same, best effort", time(unkept), &text).ratio(unkept, other),
    ]
}
