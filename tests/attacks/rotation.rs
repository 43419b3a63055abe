//! A hundred changes of keys over a network that loses, repeats, delays and makes up packets: nothing authentic is lost beyond
//! what the network loses, and nothing else opens.

use std::collections::BTreeMap;

use o7s::base::buf::PacketBuf;
use o7s::base::rng::Rng;
use o7s::crypto::backend::{AeadKey, Backend};
use o7s::crypto::kdf::hkdf;
use o7s::crypto::protect::{Protection, Side};
use o7s::crypto::suite::{Cipher, Kdf};
use o7s::crypto::{CryptoError, SessionKey, hash};

const ROTATIONS: u64 = 100;
const KEY: [u8; 32] = [0x6b; 32];
/// Packets by which one may overtake another.
const DELAY: u64 = 40;

/// One end of a flow, of either kind.
trait End {
    fn seal(&mut self, data: &[u8], rng: &mut Rng) -> Vec<u8>;
    fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, CryptoError>;
    fn generation(&self) -> u64;
    /// It changes keys after it has sealed a packet, and keeps two keys, no more.
    fn is_reference(&self) -> bool {
        false
    }
}

impl End for Protection {
    fn seal(&mut self, data: &[u8], rng: &mut Rng) -> Vec<u8> {
        let mut packet = PacketBuf::copy_of(data);
        Self::seal(self, &mut packet, rng).unwrap();
        packet.to_vec()
    }

    fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut packet = PacketBuf::copy_of(packet);
        Self::open(self, &mut packet).map(|()| packet.to_vec())
    }

    fn generation(&self) -> u64 {
        Self::generation(self)
    }
}

/// The reference, as the specification describes it (section 6.3): it counts what it has sent and what has arrived, and changes
/// keys by that, before it knows whether a packet is genuine.
struct Reference {
    salt: [u8; 32],
    current: [u8; 32],
    schedule: Box<dyn AeadKey>,
    previous: Option<Box<dyn AeadKey>>,
    count: u32,
    age: u32,
    phase: bool,
    /// 2^bit.
    epoch: u32,
    rotations: u64,
}

fn schedule(key: &[u8; 32]) -> Box<dyn AeadKey> {
    Backend::preferred().aead(Cipher::Aes256Gcm).unwrap().schedule(key)
}

impl Reference {
    fn new(bit: u32) -> Self {
        let (salt, schedule) = (hash::sha256(&[&KEY]), schedule(&KEY));
        let (previous, count, age, phase, rotations) = (None, 0, 0, false, 0);
        Self { salt, current: KEY, schedule, previous, count, age, phase, epoch: 1 << bit, rotations }
    }

    fn rotate(&mut self) {
        let mut next = [0; 32];
        hkdf(Kdf::Sha256, &self.salt, &self.current, b"o7s-key-rotation", &mut next);
        self.current = next;
        self.previous = Some(std::mem::replace(&mut self.schedule, schedule(&next)));
        (self.age, self.phase, self.rotations) = (0, !self.phase, self.rotations + 1);
    }

    fn counted(&mut self) {
        self.count = self.count.wrapping_add(1);
        self.age += 1;
    }
}

impl End for Reference {
    fn seal(&mut self, data: &[u8], rng: &mut Rng) -> Vec<u8> {
        let mut iv = [0; 12];
        rng.fill(&mut iv);
        iv[0] = iv[0] & 0x7f | if self.count & self.epoch != 0 { 0x80 } else { 0 };
        let mut body = data.to_vec();
        let tag = self.schedule.seal(&iv, &mut body).unwrap();
        let before = self.count & self.epoch;
        self.counted();
        if self.count & self.epoch != before {
            self.rotate();
        }
        if self.age >= self.epoch / 2 {
            self.previous = None;
        }
        [&iv[..], &body, &tag].concat()
    }

    fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (iv, rest) = packet.split_first_chunk::<12>().ok_or(CryptoError::PacketTooShort)?;
        let (body, tag) = rest.split_last_chunk::<16>().ok_or(CryptoError::PacketTooShort)?;
        if (iv[0] & 0x80 != 0) != self.phase && self.age >= self.epoch - self.epoch / 4 {
            self.rotate();
        }
        self.counted();
        for key in [Some(&self.schedule), self.previous.as_ref()].into_iter().flatten() {
            let mut data = body.to_vec();
            if key.open(iv, &mut data, tag).is_ok() {
                return Ok(data);
            }
        }
        Err(CryptoError::Forged)
    }

    fn generation(&self) -> u64 {
        self.rotations
    }

    fn is_reference(&self) -> bool {
        true
    }
}

/// What the network does, of a thousand packets.
#[derive(Clone, Copy)]
struct Trouble {
    lost: u64,
    twice: u64,
    late: u64,
    /// Packets that nobody has sealed, beside a thousand others: towards either end.
    garbage: [u64; 2],
    /// Sealed packets, sent back to their sender.
    reflected: u64,
}

/// Packets on their way, by the moment at which they arrive.
#[derive(Default)]
struct Wire(BTreeMap<(u64, u64), (u64, u64, Vec<u8>)>);

struct Run<'a> {
    ends: [&'a mut dyn End; 2],
    /// Whether the end refuses what it has opened before, and what it has sealed itself.
    strict: bool,
    trouble: Trouble,
    rng: Rng,
    wires: [Wire; 2],
    /// Numbers that have arrived, by direction.
    arrived: [std::collections::BTreeSet<u64>; 2],
    refused_garbage: u64,
    refused_copies: u64,
    /// Late packets that came to a reference which had changed keys twice since.
    forgotten: u64,
}

impl Run<'_> {
    /// Sends the packet with this number from an end, at the moment of the same number.
    fn send(&mut self, from: usize, number: u64) {
        let before = self.ends[from].generation();
        let packet = self.ends[from].seal(&number.to_be_bytes(), &mut self.rng);
        let end = &self.ends[from];
        let generation = if end.is_reference() { before } else { end.generation() };
        let trouble = self.trouble;
        let mut copies = u64::from(self.rng.below(1000) >= trouble.lost);
        copies += u64::from(copies > 0 && self.rng.below(1000) < trouble.twice);
        for copy in 0..copies {
            let late = if self.rng.below(1000) < trouble.late { self.rng.below(DELAY) } else { 0 };
            self.wires[from].0.insert((number + late, 2 * number + copy), (number, generation, packet.clone()));
        }
        if self.rng.below(1000) < trouble.reflected {
            self.garbage(from, &packet);
        }
        for to in [0, 1] {
            if self.rng.below(1000) < trouble.garbage[to] {
                let made_up = self.made_up(&packet);
                self.garbage(to, &made_up);
            }
        }
    }

    /// Something that looks like a packet: noise, or a real one with a changed bit, or a number of the future.
    fn made_up(&mut self, real: &[u8]) -> Vec<u8> {
        let mut packet = real.to_vec();
        match self.rng.below(3) {
            0 => self.rng.fill(&mut packet),
            1 => packet[self.rng.below(real.len() as u64) as usize] ^= 1 << self.rng.below(8),
            _ => packet[4..12].copy_from_slice(&self.rng.below(1 << 20).to_be_bytes()),
        }
        packet
    }

    fn garbage(&mut self, to: usize, packet: &[u8]) {
        let opened = self.ends[to].open(packet);
        assert!(opened.is_err(), "{opened:?}");
        self.refused_garbage += 1;
    }

    fn deliver(&mut self, from: usize, now: u64) {
        while let Some(entry) = self.wires[from].0.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let (number, generation, packet) = entry.remove();
            let is_new = self.arrived[from].insert(number);
            let end = &mut self.ends[1 - from];
            let is_forgotten = end.is_reference() && generation + 1 < end.generation();
            let opened = end.open(&packet);
            if is_forgotten {
                // Whoever has sealed it: nothing at the other end can change that.
                self.forgotten += 1;
                continue;
            }
            if is_new || !self.strict {
                let generations = (self.ends[0].generation(), self.ends[1].generation());
                assert_eq!(
                    opened.as_deref(),
                    Ok(&number.to_be_bytes()[..]),
                    "{number} of {from}, sealed in {generation}, at {generations:?}"
                );
            } else {
                assert_eq!(opened, Err(CryptoError::Replayed), "{number} of {from}");
                self.refused_copies += 1;
            }
        }
    }

    /// Until both ends have changed keys so often; an end sends with probability `share`, the other else.
    fn until_rotated(&mut self, share: f64) {
        let mut numbers = [0; 2];
        while self.ends.iter().any(|end| end.generation() < ROTATIONS) {
            let from = usize::from(!self.rng.chance(share));
            self.send(from, numbers[from]);
            numbers[from] += 1;
            self.deliver(from, numbers[from]);
        }
    }
}

fn run<'a>(ends: [&'a mut dyn End; 2], strict: bool, trouble: Trouble, seed: u8) -> Run<'a> {
    let (rng, wires, arrived) = (Rng::from_seed([seed; 32]), Default::default(), Default::default());
    Run { ends, strict, trouble, rng, wires, arrived, refused_garbage: 0, refused_copies: 0, forgotten: 0 }
}

#[test]
fn between_o7s_ends_nothing_is_lost_and_nothing_opens_twice() {
    let trouble = Trouble { lost: 300, twice: 150, late: 300, garbage: [200, 200], reflected: 50 };
    for (seed, cipher) in [(1, Cipher::Aes128Gcm), (2, Cipher::Aes256Gcm), (3, Cipher::ChaCha20Poly1305)] {
        let end = |side| {
            let key = SessionKey::from_bytes(KEY);
            Protection::between_peers(Backend::preferred(), cipher, key, side).unwrap().with_rotation_bit(8)
        };
        let (mut client, mut server) = (end(Side::Client), end(Side::Server));
        let mut run = run([&mut client, &mut server], true, trouble, seed);
        run.until_rotated(0.5);
        let (garbage, copies) = (run.refused_garbage, run.refused_copies);
        assert!(garbage > 5_000 && copies > 1_000, "{garbage} {copies}");
        assert!(client.generation() >= ROTATIONS && server.generation() >= ROTATIONS);
    }
}

/// A reference changes keys on a packet before it knows whether that is genuine: nobody makes any up for it here. It may change
/// them because it has been told to, and by its own count right after that, and then has forgotten the key of late packets.
/// Where more is made up than is genuine, an end of ours tries two keys for a packet, and not each is the right one.
#[test]
fn with_a_reference_nothing_is_lost() {
    for (seed, share) in [(4, 0.2), (5, 0.5), (6, 0.8)] {
        let trouble = Trouble { lost: 300, twice: 50, late: 300, garbage: [100, 0], reflected: 0 };
        let key = SessionKey::from_bytes(KEY);
        let mut own = Protection::new(Cipher::Aes256Gcm, key).unwrap().with_rotation_bit(11);
        let mut reference = Reference::new(11);
        let mut run = run([&mut own, &mut reference], false, trouble, seed);
        run.until_rotated(share);
        let (garbage, forgotten) = (run.refused_garbage, run.forgotten);
        assert!(garbage > 10_000 && forgotten < DELAY, "{garbage} {forgotten}");
        assert!(own.generation() >= ROTATIONS && reference.rotations >= ROTATIONS);
    }
}

/// Two o7s ends that take each other for references, as a man in the middle without certificates can make them.
#[test]
fn by_the_rules_towards_references_nothing_is_lost_either() {
    let trouble = Trouble { lost: 300, twice: 50, late: 300, garbage: [200, 200], reflected: 0 };
    let end = || Protection::new(Cipher::Aes256Gcm, SessionKey::from_bytes(KEY)).unwrap().with_rotation_bit(11);
    let (mut client, mut server) = (end(), end());
    run([&mut client, &mut server], false, trouble, 7).until_rotated(0.5);
}

/// The model of the reference has its fault: with loss in both directions two of them lose each other.
#[test]
fn two_references_lose_each_other() {
    let trouble = Trouble { lost: 300, twice: 0, late: 0, garbage: [0; 2], reflected: 0 };
    let (mut client, mut server) = (Reference::new(11), Reference::new(11));
    let lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run([&mut client, &mut server], false, trouble, 8).until_rotated(0.5);
    }));
    assert!(lost.is_err());
}

/// Garbage at each packet around the changes of keys, at both ends: nothing of an end changes by it, so that every genuine packet
/// opens as if there had been none.
#[test]
fn garbage_at_a_change_of_keys_changes_nothing() {
    const BIT: u32 = 3;
    let end = |side| {
        let key = SessionKey::from_bytes(KEY);
        Protection::between_peers(Backend::preferred(), Cipher::Aes256Gcm, key, side).unwrap().with_rotation_bit(BIT)
    };
    let mut rng = Rng::from_seed([21; 32]);
    // One pair of ends with garbage between, one without.
    let (mut client, mut server) = (end(Side::Client), end(Side::Server));
    let (mut quiet, mut other) = (end(Side::Client), end(Side::Server));
    let mut refused = 0;
    for number in 0..u64::from(20u32 << BIT) {
        let packet = End::seal(&mut client, &number.to_be_bytes(), &mut rng);
        let expected = End::seal(&mut quiet, &number.to_be_bytes(), &mut rng);
        assert_eq!(packet, expected, "the same keys and numbers");
        for round in 0..50_u64 {
            let mut garbage = packet.clone();
            match round % 5 {
                // Noise; another bit; the number of another generation, near and far; and cut.
                0 => rng.fill(&mut garbage),
                1 => garbage[rng.below(packet.len() as u64) as usize] ^= 1 << rng.below(8),
                2 => garbage[4..12].copy_from_slice(&(number + (1 << BIT) * (1 + rng.below(3))).to_be_bytes()),
                3 => garbage[4..12].copy_from_slice(&rng.u64().to_be_bytes()),
                _ => garbage.truncate(rng.below(packet.len() as u64) as usize),
            }
            if garbage == packet {
                continue;
            }
            let before = (client.generation(), server.generation());
            for at in [&mut server, &mut client] {
                assert!(End::open(at, &garbage).is_err(), "{number}: {garbage:x?}");
                refused += 1;
            }
            assert_eq!((client.generation(), server.generation()), before, "{number}");
        }
        assert_eq!(End::open(&mut server, &packet).as_deref(), Ok(&number.to_be_bytes()[..]));
        assert_eq!(End::open(&mut other, &expected).as_deref(), Ok(&number.to_be_bytes()[..]));
        assert_eq!(server.generation(), other.generation());
        // And back.
        let (answer, silent) = (End::seal(&mut server, b"back", &mut rng), End::seal(&mut other, b"back", &mut rng));
        assert_eq!(answer, silent);
        assert_eq!(End::open(&mut client, &answer).as_deref(), Ok(&b"back"[..]));
        assert_eq!(End::open(&mut quiet, &silent).as_deref(), Ok(&b"back"[..]));
    }
    assert!(client.generation() >= 19 && refused > 10_000, "{} {refused}", client.generation());
}
