//! Key rotation: the reference's rules as a model, checked against its traces; then our rules against that model and
//! against themselves.

use o7s::base::buf::PacketBuf;
use o7s::base::rng::Rng;
use o7s::crypto::backend::{AeadKey, Backend};
use o7s::crypto::kdf::hkdf;
use o7s::crypto::protect::Protection;
use o7s::crypto::suite::{Cipher, Kdf};
use o7s::crypto::{SessionKey, hash};
use serde_json::Value;

use super::entries;

const KEY: [u8; 32] = [0x51; 32];

/// The rotation state of one end as the reference keeps it, with generation numbers for keys.
#[derive(Debug)]
struct Rules {
    /// Keys change when this bit of the packet count does.
    mask: u32,
    count: u32,
    age: u32,
    phase: bool,
    current: u64,
    previous: Option<u64>,
}

impl Rules {
    fn new(bit: u32) -> Self {
        Self { mask: 1 << bit, count: 0, age: 0, phase: false, current: 0, previous: None }
    }

    fn rotate(&mut self) {
        self.previous = Some(self.current);
        self.current += 1;
        self.age = 0;
        self.phase = !self.phase;
    }

    fn counted(&mut self) {
        self.count = self.count.wrapping_add(1);
        self.age += 1;
    }

    /// The phase and the generation that the next packet is sealed with.
    fn send(&mut self) -> (bool, u64) {
        let sealed = (self.count & self.mask != 0, self.current);
        let before = self.count & self.mask;
        self.counted();
        if self.count & self.mask != before {
            self.rotate();
        }
        if self.previous.is_some() && self.age >= self.mask / 2 {
            self.previous = None;
        }
        sealed
    }

    /// The generations to try on a packet with this phase.
    fn receive(&mut self, phase: bool) -> [Option<u64>; 2] {
        if phase != self.phase && self.age >= self.mask - self.mask / 4 {
            self.rotate();
        }
        self.counted();
        [Some(self.current), self.previous]
    }

    /// As the traces show it.
    fn columns(&self) -> [i64; 5] {
        let previous = self.previous.map_or(-1, u64::cast_signed);
        [self.count.into(), self.age.into(), self.phase.into(), self.current.cast_signed(), previous]
    }
}

/// One end of a flow, whose packets are real ones.
trait End {
    fn seal(&mut self, packet: &mut PacketBuf, rng: &mut Rng);
    fn open(&mut self, packet: &mut PacketBuf) -> bool;
}

impl End for Protection {
    fn seal(&mut self, packet: &mut PacketBuf, rng: &mut Rng) {
        Self::seal(self, packet, rng).unwrap();
    }

    fn open(&mut self, packet: &mut PacketBuf) -> bool {
        Self::open(self, packet).is_ok()
    }
}

/// An end that follows the reference's rules.
struct Reference {
    rules: Rules,
    /// By generation.
    keys: Vec<Box<dyn AeadKey>>,
    last: [u8; 32],
}

impl Reference {
    fn new(bit: u32) -> Self {
        Self { rules: Rules::new(bit), keys: Vec::new(), last: KEY }
    }

    fn key(&mut self, generation: u64) -> &dyn AeadKey {
        let aead = Backend::preferred().aead(Cipher::Aes128Gcm).unwrap();
        while self.keys.len() as u64 <= generation {
            self.keys.push(aead.schedule(&self.last));
            let ikm = self.last;
            hkdf(Kdf::Sha256, &hash::sha256(&[&KEY]), &ikm, b"o7s-key-rotation", &mut self.last);
        }
        &*self.keys[generation as usize]
    }
}

impl End for Reference {
    fn seal(&mut self, packet: &mut PacketBuf, rng: &mut Rng) {
        let (phase, generation) = self.rules.send();
        let mut iv = [0; 12];
        rng.fill(&mut iv);
        iv[0] = iv[0] & 0x7f | u8::from(phase) << 7;
        let tag = self.key(generation).seal(&iv, packet).unwrap();
        packet.push(12).unwrap().copy_from_slice(&iv);
        packet.extend_from_slice(&tag).unwrap();
    }

    fn open(&mut self, packet: &mut PacketBuf) -> bool {
        let (iv, rest) = packet.split_first_chunk_mut::<12>().unwrap();
        let (data, tag) = rest.split_last_chunk_mut::<16>().unwrap();
        let tried = self.rules.receive(iv[0] >> 7 == 1);
        tried.into_iter().flatten().any(|generation| self.key(generation).open(iv, data, tag).is_ok())
    }
}

fn ours(bit: u32) -> Protection {
    Protection::new(Cipher::Aes128Gcm, SessionKey::from_bytes(KEY)).unwrap().with_rotation_bit(bit)
}

fn packet() -> PacketBuf {
    PacketBuf::copy_of(b"sixteen bytes...")
}

struct Step {
    from_a: bool,
    delivered: bool,
    row: Vec<Value>,
}

/// The traffic of a trace, step by step.
fn steps(trace: &Value) -> Vec<Step> {
    let rows = trace["rows"].as_array().unwrap();
    let step = |row: &Value| {
        let row = row.as_array().unwrap().clone();
        Step { from_a: row[1] == "A", delivered: row[2].as_bool().unwrap(), row }
    };
    rows.iter().map(step).collect()
}

#[test]
fn the_model_follows_the_traces() {
    for trace in entries("rotation_traces") {
        let bit = trace["rot_bit"].as_u64().unwrap() as u32;
        let (mut a, mut b) = (Rules::new(bit), Rules::new(bit));
        for Step { from_a, delivered, row } in steps(&trace) {
            let (sender, receiver) = if from_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let (phase, generation) = sender.send();
            let opened = delivered.then(|| receiver.receive(phase).contains(&Some(generation)));
            let at = format!("{} step {}", trace["name"], row[0]);
            assert_eq!((u64::from(phase).into(), generation.into()), (row[3].clone(), row[4].clone()), "{at}");
            assert_eq!(opened, row[5].as_bool(), "{at}");
            let state: Vec<i64> = row[6..].iter().map(|column| column.as_i64().unwrap()).collect();
            assert_eq!(state, [a.columns(), b.columns()].concat(), "{at}");
        }
    }
}

/// Without authentication there are no rules of ours: a receiver cannot try keys, and opens whatever comes with the one it has.
#[test]
fn counter_mode_follows_the_traces() {
    let (mut opened, mut garbled) = (0, 0);
    for trace in entries("rotation_traces") {
        let bit = trace["rot_bit"].as_u64().unwrap() as u32;
        let end = || Protection::new(Cipher::Aes256Ctr, SessionKey::from_bytes(KEY)).unwrap().with_rotation_bit(bit);
        let (mut a, mut b, mut rng) = (end(), end(), Rng::from_seed([9; 32]));
        for Step { from_a, delivered, row } in steps(&trace) {
            let at = format!("{} step {}", trace["name"], row[0]);
            let (sender, receiver) = if from_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
            assert_eq!(sender.generation(), row[4].as_u64().unwrap(), "{at}");
            let mut packet = PacketBuf::copy_of(b"what is in a packet");
            sender.seal(&mut packet, &mut rng).unwrap();
            assert_eq!(u64::from(packet[0] >> 7), row[3].as_u64().unwrap(), "{at}");
            if delivered {
                receiver.open(&mut packet).unwrap();
                let is_same = packet[..] == *b"what is in a packet";
                assert_eq!(is_same, receiver.generation() == row[4].as_u64().unwrap(), "{at}");
                opened += u32::from(is_same);
                garbled += u32::from(!is_same);
            }
            let generations = [a.generation(), b.generation()];
            assert_eq!(generations.map(Value::from), [row[9].clone(), row[14].clone()], "{at}");
        }
    }
    assert!(opened > 100 && garbled > 10, "{opened} {garbled}: also those that the reference cannot read");
}

#[test]
fn our_rules_lose_nothing_on_the_same_traffic() {
    for trace in entries("rotation_traces") {
        let bit = trace["rot_bit"].as_u64().unwrap() as u32;
        let mut rng = Rng::from_seed([9; 32]);
        let (mut a, mut b) = (ours(bit), ours(bit));
        for Step { from_a, delivered, row } in steps(&trace) {
            let (sender, receiver) = if from_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let mut packet = packet();
            sender.seal(&mut packet, &mut rng).unwrap();
            assert!(!delivered || receiver.open(&mut packet).is_ok(), "{} step {}", trace["name"], row[0]);
        }
        assert!(a.generation() > 0, "{} is long enough for a change of keys", trace["name"]);
    }
}

/// Sends `packets` between the ends, `share` of them by the first, loses `loss` of them, and delivers the rest after up
/// to `delay` later packets. Returns how many did not open.
fn exchange(ends: [&mut dyn End; 2], packets: u32, share: f64, loss: f64, delay: u64, seed: u8) -> u32 {
    let mut rng = Rng::from_seed([seed; 32]);
    let (mut on_the_way, mut failed) = (Vec::<(u64, usize, PacketBuf)>::new(), 0);
    for now in 0..u64::from(packets) {
        let from = usize::from(!rng.chance(share));
        let mut packet = packet();
        ends[from].seal(&mut packet, &mut rng);
        if !rng.chance(loss) {
            on_the_way.push((now + rng.below(delay + 1), 1 - from, packet));
        }
        while let Some(due) = on_the_way.iter().position(|(at, ..)| *at <= now) {
            let (_, to, mut packet) = on_the_way.swap_remove(due);
            failed += u32::from(!ends[to].open(&mut packet));
        }
    }
    failed
}

const SHARES: [f64; 6] = [0.001, 0.1, 0.5, 0.8, 0.99, 1.0];
const LOSSES: [f64; 4] = [0.0, 0.01, 0.2, 0.45];

/// Every share of the traffic with every loss.
fn grid() -> impl Iterator<Item = (f64, f64)> {
    SHARES.into_iter().flat_map(|share| LOSSES.into_iter().map(move |loss| (share, loss)))
}

#[test]
fn our_rules_keep_step_with_the_reference() {
    const BIT: u32 = 11;
    for (share, loss) in grid() {
        let (mut a, mut b) = (ours(BIT), Reference::new(BIT));
        let failed = exchange([&mut a, &mut b], 12 << BIT, share, loss, 0, 1);
        assert_eq!(failed, 0, "ours sends {share} of the packets, {loss} are lost: {:?}", b.rules);
        assert!(a.generation() >= 4, "{share}, {loss}: {}", a.generation());
    }
}

#[test]
fn our_rules_keep_step_with_themselves() {
    const BIT: u32 = 6;
    for (share, loss) in grid() {
        let (mut a, mut b) = (ours(BIT), ours(BIT));
        let failed = exchange([&mut a, &mut b], 40 << BIT, share, loss, 16, 2);
        assert_eq!(failed, 0, "a sends {share} of the packets, {loss} are lost, all are late");
        assert!(a.generation().min(b.generation()) >= 20, "{share}, {loss}");
        assert!(a.generation().abs_diff(b.generation()) <= 1);
    }
}

#[test]
fn the_reference_loses_step_with_itself() {
    const BIT: u32 = 8;
    let failed = exchange([&mut Reference::new(BIT), &mut Reference::new(BIT)], 40 << BIT, 0.5, 0.05, 0, 3);
    assert!(failed > 1000, "what our rules are there for: {failed}");
}
