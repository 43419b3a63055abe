use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::base::rng::Rng;
use crate::crypto::backend::{self, Backend};
use crate::crypto::suite::Cipher;

const CIPHER: Cipher = Cipher::Aes256Gcm;

fn end(side: Side, bit: u32) -> Directed {
    let aead = Backend::preferred().aead(CIPHER).unwrap();
    let mut end = Directed::new(aead, &SessionKey::from_bytes([8; 32]), side);
    end.set_rotation_bit(bit);
    end
}

fn ends(bit: u32) -> (Directed, Directed) {
    (end(Side::Client, bit), end(Side::Server, bit))
}

fn sealed(sender: &mut Directed) -> PacketBuf {
    let mut packet = PacketBuf::copy_of(b"payload");
    sender.seal(&mut packet).unwrap();
    packet
}

#[test]
fn every_cipher_seals_and_opens() {
    for backend in backend::all() {
        for &cipher in Cipher::ALL.iter().filter(|cipher| cipher.is_aead()) {
            let [mut client, mut server] = [Side::Client, Side::Server]
                .map(|side| Directed::new(backend.aead(cipher).unwrap(), &SessionKey::from_bytes([8; 32]), side));
            for len in [0, 1, 12, 1400, 9000] {
                let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
                for (from, to) in [(0, 1), (1, 0)] {
                    let ends = [&mut client, &mut server];
                    let mut packet = PacketBuf::copy_of(&plain);
                    ends[from].seal(&mut packet).unwrap();
                    assert_eq!(packet.len(), len + 28);
                    ends[to].open(&mut packet).unwrap();
                    assert_eq!(packet[..], plain);
                }
            }
        }
    }
}

#[test]
fn a_packet_opens_once() {
    let (mut a, mut b) = ends(20);
    let packets: Vec<_> = (0..100).map(|_| sealed(&mut a)).collect();
    for packet in &packets {
        b.open(&mut PacketBuf::copy_of(packet)).unwrap();
    }
    for packet in &packets {
        let mut again = PacketBuf::copy_of(packet);
        assert_eq!(b.open(&mut again), Err(CryptoError::Replayed));
        assert_eq!(again[..], packet[..], "stays as it was");
    }
}

#[test]
fn reflected_packets_do_not_open() {
    let (mut a, _) = ends(20);
    let mut packet = sealed(&mut a);
    assert_eq!(a.open(&mut packet), Err(CryptoError::Forged));
}

#[test]
fn damage_is_detected_and_changes_no_state() {
    let (mut a, mut b) = ends(4);
    let whole = sealed(&mut a).to_vec();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut packet = PacketBuf::copy_of(&damaged);
        assert_eq!(b.open(&mut packet), Err(CryptoError::Forged));
        assert_eq!(packet[..], damaged, "stays as it was");
    }
    for len in 0..whole.len() {
        let expected = if len < 28 { CryptoError::PacketTooShort } else { CryptoError::Forged };
        assert_eq!(b.open(&mut PacketBuf::copy_of(&whole[..len])), Err(expected));
    }
    assert_eq!((b.rx.generation, b.rx.seen.next), (0, 0));
    b.open(&mut PacketBuf::copy_of(&whole)).unwrap();
}

#[test]
fn keys_change_with_the_number_in_each_direction_by_itself() {
    let (mut a, mut b) = ends(4);
    for n in 0..100_u64 {
        b.open(&mut sealed(&mut a)).unwrap();
        assert_eq!((a.generation(), b.rx.generation, b.generation()), (n / 16, n / 16, 0));
    }
    a.open(&mut sealed(&mut b)).unwrap();
}

#[test]
fn lost_generations_do_not_stop_a_direction() {
    // The case of an outage in one direction, as long as it may be, and one packet longer.
    let lost = MAX_AHEAD << 4;
    let (mut a, mut b) = ends(4);
    b.open(&mut sealed(&mut a)).unwrap();
    a.tx.number = lost;
    b.open(&mut sealed(&mut a)).unwrap();
    assert_eq!(b.rx.generation, MAX_AHEAD);
    b.open(&mut sealed(&mut a)).unwrap();
    let (mut a, mut b) = ends(4);
    a.tx.number = lost + 16;
    assert_eq!(b.open(&mut sealed(&mut a)), Err(CryptoError::Forged));
}

#[test]
fn late_packets_of_the_generation_before_open_after_a_jump() {
    let (mut a, mut b) = ends(4);
    a.tx.number = 16 * 3;
    let late: Vec<_> = (0..16).map(|_| sealed(&mut a)).collect();
    b.open(&mut sealed(&mut a)).unwrap();
    assert_eq!(b.rx.generation, 4);
    for packet in &late {
        b.open(&mut PacketBuf::copy_of(packet)).unwrap();
    }
}

#[test]
fn unreachable_keys_are_dropped() {
    let (mut a, mut b) = ends(12);
    let first = sealed(&mut a);
    a.tx.number = 1 << 12;
    b.open(&mut sealed(&mut a)).unwrap();
    assert!(b.rx.previous.is_some());
    a.tx.number += WINDOW;
    b.open(&mut sealed(&mut a)).unwrap();
    assert!(b.rx.previous.is_none());
    assert_eq!(b.open(&mut PacketBuf::copy_of(&first)), Err(CryptoError::Replayed));
}

#[test]
fn forged_generations_cost_one_derivation() {
    let (mut a, mut b) = ends(20);
    let mut forgery = sealed(&mut a).to_vec();
    forgery[4..12].copy_from_slice(&(MAX_AHEAD << 20).to_be_bytes());
    for _ in 0..100 {
        assert_eq!(b.open(&mut PacketBuf::copy_of(&forgery)), Err(CryptoError::Forged));
        assert_eq!(b.rx.ahead.len() as u64, MAX_AHEAD);
    }
    b.release();
    assert_eq!(b.rx.ahead.len() as u64, MAX_AHEAD, "nor by an idle flow");
    b.open(&mut sealed(&mut a)).unwrap();
}

#[test]
fn secrets_ahead_are_never_moved() {
    let mut b = end(Side::Server, 4);
    let mut open = |generation: u64, genuine: bool| {
        let mut a = end(Side::Client, 4);
        a.tx.number = generation << 4;
        let mut packet = sealed(&mut a);
        if !genuine {
            let last = packet.len() - 1;
            packet[last] ^= 1;
        }
        assert_eq!(b.open(&mut packet).is_ok(), genuine);
        (b.rx.ahead.len() as u64, b.rx.ahead.capacity() as u64)
    };
    for (n, places) in [(1, 16), (2, 16), (17, 32), (100, 128), (MAX_AHEAD, MAX_AHEAD)] {
        assert_eq!(open(n, false), (n, places), "places for what was asked for, and a step more");
    }
    assert_eq!(open(10, true), (MAX_AHEAD - 10, MAX_AHEAD), "those that remain stay where they are");
    assert_eq!(open(MAX_AHEAD + 10, false), (MAX_AHEAD, MAX_AHEAD));
    assert_eq!(open(MAX_AHEAD + 10, true), (0, 0), "given back with the last");
}

#[test]
fn releasing_memory_loses_no_packet() {
    let (mut a, mut b) = ends(3);
    let mut old = PacketBuf::copy_of(&sealed(&mut a));
    let again = PacketBuf::copy_of(&old);
    for _ in 0..20 {
        b.open(&mut sealed(&mut a)).unwrap();
        a.release();
        b.release();
    }
    assert_eq!(b.open(&mut old), Err(CryptoError::Forged), "two generations ago");
    let mut again = again;
    assert_eq!(b.open(&mut again), Err(CryptoError::Forged));
}

proptest! {
    #[test]
    fn the_window_agrees_with_a_set(numbers in prop::collection::vec(0..6000u64, 1..400), far in any::<bool>()) {
        let (mut seen, mut set) = (Seen::default(), BTreeSet::new());
        for number in numbers {
            let number = if far { number * 7 } else { number };
            let newest = set.last().map_or(0, |n| n + 1);
            let expected = set.contains(&number) || number + WINDOW < newest;
            prop_assert_eq!(seen.contains(number), expected, "{}", number);
            if !expected {
                seen.insert(number);
                set.insert(number);
            }
        }
    }

    #[test]
    fn packets_in_any_order_open_once(order in prop::collection::vec(0..600usize, 1..600), bit in 2..12u32) {
        let (mut a, mut b) = ends(bit);
        let packets: Vec<_> = (0..600).map(|_| sealed(&mut a)).collect();
        let mut opened = BTreeSet::new();
        for at in order {
            let newest = opened.last().copied().unwrap_or(0);
            let result = b.open(&mut PacketBuf::copy_of(&packets[at]));
            if opened.contains(&at) {
                prop_assert!(result.is_err(), "{} opened twice", at);
            } else if at as u64 >> bit >= (newest as u64 >> bit).saturating_sub(1) {
                prop_assert_eq!(result, Ok(()));
                opened.insert(at);
            }
        }
    }
}

/// Model of the window: a set of all opened numbers within it.
#[derive(Default)]
struct Book {
    opened: BTreeSet<u64>,
    next: u64,
}

impl Book {
    fn refuses(&self, number: u64) -> bool {
        number < self.next.saturating_sub(WINDOW) || self.opened.contains(&number)
    }
}

#[test]
fn opened_numbers_are_remembered_with_and_without_a_ring() {
    for seed in 0..200 {
        let mut rng = Rng::from_seed([seed; 32]);
        let (mut seen, mut book) = (Seen::default(), Book::default());
        let calm = seed % 4 == 0;
        for _ in 0..3000 {
            let number = match rng.u64() % 16 {
                _ if calm => book.next,
                0..10 => book.next,
                10..14 => book.next.saturating_sub(rng.u64() % (WINDOW + 100)),
                14 => book.next + rng.u64() % 70,
                _ => book.next + rng.u64() % (3 * WINDOW / 2),
            };
            assert_eq!(seen.contains(number), book.refuses(number), "seed {seed}, {number} at {}", book.next);
            if !book.refuses(number) {
                seen.insert(number);
                book.opened.insert(number);
                book.next = book.next.max(number + 1);
            }
            if rng.u64().is_multiple_of(200) {
                seen.release();
            }
        }
        assert!(!calm || seen.bits.is_none(), "packets in order need no ring");
    }
}

#[test]
fn a_ring_without_gaps_is_freed() {
    let mut seen = Seen::default();
    for number in (0..100).filter(|n| *n != 50) {
        seen.insert(number);
    }
    seen.release();
    assert!(seen.bits.is_some() && !seen.contains(50));
    seen.insert(50);
    seen.release();
    assert!(seen.bits.is_none() && seen.contains(50) && !seen.contains(100));
}

#[test]
fn an_idle_end_is_small() {
    assert!(size_of::<Directed>() <= 200, "{}", size_of::<Directed>());
}

/// What a flow is made of: keys, numbers, and what was opened. Not the secrets of generations to come, which are computed once.
fn state(end: &Directed) -> impl PartialEq + core::fmt::Debug + use<> {
    let (tx, rx) = (&end.tx, &end.rx);
    let sending = (*tx.secret.expose(), tx.generation, tx.number);
    let previous = rx.previous.as_ref().map(|previous| *previous.key.expose());
    let receiving = (*rx.secret.expose(), rx.generation, previous, rx.seen.next, rx.seen.bits.as_deref().copied());
    (sending, receiving, end.salt, end.bit)
}

#[test]
fn a_million_packets_of_garbage_change_nothing() {
    let (mut a, mut b) = ends(4);
    for _ in 0..20 {
        b.open(&mut sealed(&mut a)).unwrap();
    }
    let (mut good, before) = (sealed(&mut a), state(&b));
    let mut rng = Rng::from_seed([20; 32]);
    let (mut bytes, mut garbage) = ([0; 30], PacketBuf::with_capacity(64));
    for _ in 0..1_000_000 {
        rng.fill(&mut bytes);
        // The number of a packet of the past, of now, or of a generation that may come.
        bytes[..4].fill(0);
        bytes[4..12].copy_from_slice(&rng.below(20 + 16 * MAX_AHEAD).to_be_bytes());
        garbage.truncate(0);
        garbage.extend_from_slice(&bytes).unwrap();
        assert!(b.open(&mut garbage).is_err());
    }
    assert_eq!(state(&b), before);
    b.open(&mut good).unwrap();
    assert_ne!(state(&b), before, "a good one is remembered");
}

#[test]
fn the_first_and_the_last_number_open_once_and_there_is_none_after_it() {
    let (mut a, mut b) = ends(62);
    let mut first = sealed(&mut a);
    let mut copy = PacketBuf::copy_of(&first);
    b.open(&mut first).unwrap();
    assert_eq!(b.open(&mut copy), Err(CryptoError::Replayed));
    a.tx.number = u64::MAX - 1;
    let mut last = sealed(&mut a);
    let mut copy = PacketBuf::copy_of(&last);
    b.open(&mut last).unwrap();
    assert_eq!(b.open(&mut copy), Err(CryptoError::Replayed));
    let mut packet = PacketBuf::copy_of(b"x");
    assert_eq!(a.seal(&mut packet), Err(CryptoError::PacketTooLong), "no number comes twice");
    assert_eq!(a.seal(&mut packet), Err(CryptoError::PacketTooLong));
    // The last of all is never sealed, but somebody may send it.
    let mut forged = PacketBuf::copy_of(&[&iv_of(u64::MAX)[..], &[0; 20]].concat());
    assert_eq!(b.open(&mut forged), Err(CryptoError::Forged));
}

/// An end seals no more than 2^20 packets with a key, and no two with one number: far below what a key may seal, see the
/// chapter on security.
#[test]
fn a_key_seals_so_many_packets_and_no_more() {
    let mut a = end(Side::Client, ROTATION_BIT);
    a.tx.number = (1 << ROTATION_BIT) - 1;
    let _ = sealed(&mut a);
    assert_eq!(a.generation(), 0);
    let before = *a.tx.secret.expose();
    let _ = sealed(&mut a);
    assert_eq!(a.generation(), 1);
    assert_ne!(*a.tx.secret.expose(), before);
}
