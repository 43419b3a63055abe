//! Keys that change while packets overtake each other and the reader sleeps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panics")]

use super::*;
use crate::base::rng::Rng;
use crate::crypto::SessionKey;
use crate::crypto::backend::Backend;
use crate::crypto::protect::Protection;
use crate::crypto::suite::Cipher;

/// A key for so many packets.
const GENERATION: usize = 1 << BIT;
const BIT: u32 = 6;
/// No packet is overtaken by a generation of others.
const WINDOW: u32 = 32;
const MESSAGES: usize = 3000;
const STEP: Duration = Duration::from_millis(1);

fn end(side: Side) -> World {
    let world = idle();
    let now = world.clock.now();
    let config =
        Config { o7s_peer: true, window: WINDOW, legacy_window: WINDOW, congestion: false, ..Config::default() };
    let key = SessionKey::from_bytes([7; 32]);
    let protection = Protection::between_peers(Backend::preferred(), Cipher::Aes256Gcm, key, side).unwrap();
    let params = Params {
        frct: Some(Box::new(Frct::new(config, 7))),
        protection: Some((Box::new(protection.with_rotation_bit(BIT)), Box::new(Rng::from_seed([9; 32])))),
        ..params(QosSpec { timeout: 0, ..DATA }, None, Opening::default())
    };
    world.endpoint.activate(now, Arc::clone(&world.wire) as Arc<dyn Port>, params);
    world
}

fn message(n: usize) -> Vec<u8> {
    (0..50 + n % 900).map(|i| (n * 31 + i * 7) as u8).collect()
}

/// Packets on their way: when they arrive, and to which end. A fifth of them is held up.
struct Path {
    under_way: Vec<(Instant, usize, Vec<u8>)>,
    rng: Rng,
    sent: [usize; 2],
}

impl Path {
    fn carry(&mut self, ends: &[World; 2]) {
        let now = ends[0].clock.now();
        for (from, end) in ends.iter().enumerate() {
            for packet in core::mem::take(&mut *end.wire.sent.lock()) {
                let held_up = if self.rng.below(5) == 0 { self.rng.below(20) } else { 0 };
                self.sent[from] += 1;
                self.under_way.push((now + STEP * (2 + held_up as u32), 1 - from, packet));
            }
        }
        let (due, later) = core::mem::take(&mut self.under_way).into_iter().partition(|(at, ..)| *at <= now);
        self.under_way = later;
        let due: Vec<(Instant, usize, Vec<u8>)> = due;
        for (_, to, packet) in due {
            ends[to].endpoint.handle_packets(now, [PacketBuf::copy_of(&packet)]);
            ends[to].endpoint.handle_tick(now);
        }
    }
}

#[test]
fn keys_change_while_packets_overtake_each_other_and_the_reader_sleeps() {
    for seed in 0..5 {
        let ends = [end(Side::Client), end(Side::Server)];
        let mut path = Path { under_way: Vec::new(), rng: Rng::from_seed([seed; 32]), sent: [0; 2] };
        let (mut written, mut read, mut shut) = (0, 0, 0);
        let mut buf = [0; 1400];
        for step in 0_u32.. {
            assert!(step < 1_000_000, "seed {seed}: {read} of {MESSAGES} messages");
            for end in &ends {
                end.clock.advance_to(end.clock.now() + STEP);
                end.endpoint.handle_timeout(end.clock.now());
            }
            while written < MESSAGES && ends[0].endpoint.write(&message(written)).is_ok() {
                written += 1;
            }
            path.carry(&ends);
            // It sleeps for a second, until nothing comes any more, and then reads everything for as long.
            let sleeps = step % 2000 < 1000;
            let before = read;
            while !sleeps && let Ok(len) = ends[1].endpoint.read(&mut buf, ReadMode::Whole) {
                assert!(buf[..len] == message(read), "seed {seed}: message {read}");
                read += 1;
            }
            shut += usize::from(!sleeps && read - before >= WINDOW as usize);
            if read == MESSAGES {
                break;
            }
        }
        assert!(shut > 0, "seed {seed}: the window was never shut");
        assert!(path.sent.iter().all(|sent| *sent > 5 * GENERATION), "seed {seed}: {:?}", path.sent);
        for end in &ends {
            let counters = end.endpoint.counters();
            assert_eq!((counters.bad_crypt, counters.replayed), (0, 0), "seed {seed}");
        }
    }
}
