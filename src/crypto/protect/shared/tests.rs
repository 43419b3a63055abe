use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::{IV_LEN, Protection, TAG_LEN};
use super::*;
use crate::base::rng::Rng;
use crate::crypto::backend::{self, Backend};
use crate::crypto::suite::Cipher;

fn keys(backend: &Backend, cipher: Cipher) -> Shared {
    Shared::new(backend.aead(cipher).unwrap(), SessionKey::from_bytes([8; 32]))
}

fn protection(cipher: Cipher) -> Shared {
    keys(Backend::preferred(), cipher)
}

/// Two ends and randomness for them.
fn ends(bit: u32) -> (Shared, Shared, Rng) {
    let [mut a, mut b] = [(); 2].map(|()| protection(Cipher::Aes128Gcm));
    a.set_rotation_bit(bit);
    b.set_rotation_bit(bit);
    (a, b, Rng::from_seed([4; 32]))
}

fn sealed(sender: &mut Shared, rng: &mut Rng) -> PacketBuf {
    let mut packet = PacketBuf::copy_of(b"payload");
    sender.seal(&mut packet, rng).unwrap();
    packet
}

#[test]
fn sealed_packets_open_at_the_other_end() {
    let mut rng = Rng::from_seed([4; 32]);
    for backend in backend::all() {
        for &cipher in Cipher::ALL.iter().filter(|cipher| cipher.is_aead()) {
            let [mut a, mut b] = [(); 2].map(|()| keys(backend, cipher));
            for len in [0, 1, 12, 1400, 9000] {
                let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
                let mut packet = PacketBuf::copy_of(&plain);
                a.seal(&mut packet, &mut rng).unwrap();
                assert_eq!(packet.len(), len + IV_LEN + TAG_LEN);
                assert_eq!(packet[0] & 0x80, 0, "generation 0 is even");
                b.open(&mut packet).unwrap();
                assert_eq!(packet[..], plain);
            }
        }
    }
}

#[test]
fn a_packet_without_room_is_left_alone() {
    let mut rng = Rng::from_seed([4; 32]);
    let mut a = Protection::new(Cipher::Aes128Gcm, SessionKey::from_bytes([8; 32])).unwrap();
    let mut packet = PacketBuf::copy_of(b"payload");
    packet.push(packet.headroom() - 11).unwrap();
    let before = packet.to_vec();
    assert_eq!(a.seal(&mut packet, &mut rng), Err(CryptoError::NoRoom));
    assert_eq!(packet[..], before);

    let mut packet = PacketBuf::copy_of(b"payload");
    packet.append(packet.tailroom() - 15).unwrap();
    assert_eq!(a.seal(&mut packet, &mut rng), Err(CryptoError::NoRoom));
}

#[test]
fn damage_anywhere_is_noticed_and_harmless() {
    for backend in backend::all() {
        let mut receiver = keys(backend, Cipher::Aes256Gcm);
        let mut rng = Rng::from_seed([4; 32]);
        let whole = sealed(&mut keys(backend, Cipher::Aes256Gcm), &mut rng).to_vec();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut packet = PacketBuf::copy_of(&damaged);
            assert_eq!(receiver.open(&mut packet), Err(CryptoError::Forged));
            assert_eq!(packet[..], damaged, "stays as it was");
        }
        for len in 0..whole.len() {
            let mut packet = PacketBuf::copy_of(&whole[..len]);
            let expected = if len < 28 { CryptoError::PacketTooShort } else { CryptoError::Forged };
            assert_eq!(receiver.open(&mut packet), Err(expected));
            assert_eq!(packet[..], whole[..len]);
        }
        assert_eq!((receiver.generation(), receiver.count), (0, 0));
        receiver.open(&mut PacketBuf::copy_of(&whole)).unwrap();
    }
}

#[test]
fn keys_change_after_one_and_a_half_epochs() {
    let (mut a, mut b, mut rng) = ends(4);
    for n in 0..240_u64 {
        let mut packet = sealed(&mut a, &mut rng);
        assert_eq!(a.generation(), n / 24);
        assert_eq!(u64::from(packet[0] >> 7), a.generation() % 2, "the first bit shows the generation");
        b.open(&mut packet).unwrap();
        assert_eq!(b.generation(), a.generation());
    }
}

#[test]
fn received_packets_count_too() {
    let (mut a, mut b, mut rng) = ends(4);
    for _ in 0..12 {
        b.open(&mut sealed(&mut a, &mut rng)).unwrap();
        a.open(&mut sealed(&mut b, &mut rng)).unwrap();
    }
    assert_eq!((a.generation(), b.generation()), (0, 0));
    let _ = sealed(&mut a, &mut rng);
    assert_eq!(a.generation(), 1);
}

#[test]
fn two_generations_ahead_are_found() {
    let (mut a, mut b, mut rng) = ends(2);
    for _ in 0..12 {
        let _ = sealed(&mut a, &mut rng); // 6 a generation, all lost
    }
    let mut packet = sealed(&mut a, &mut rng);
    assert_eq!(a.generation(), 2);
    b.open(&mut packet).unwrap();
    assert_eq!(b.generation(), 2);
    a.open(&mut sealed(&mut b, &mut rng)).unwrap();
}

#[test]
fn the_previous_key_opens_late_packets_for_half_an_epoch() {
    let (mut a, mut b, mut rng) = ends(6);
    let mut late: Vec<PacketBuf> = (0..2).map(|_| sealed(&mut a, &mut rng)).collect();
    for _ in 2..96 {
        let _ = sealed(&mut a, &mut rng);
    }
    b.open(&mut sealed(&mut a, &mut rng)).unwrap();
    assert_eq!(b.generation(), 1);
    b.open(&mut late.pop().unwrap()).unwrap();
    assert_eq!(b.generation(), 1, "a late packet takes nobody back");

    for _ in 0..30 {
        b.open(&mut sealed(&mut a, &mut rng)).unwrap();
    }
    assert!(b.past.is_none(), "32 packets are half an epoch");
    assert_eq!(b.open(&mut late.pop().unwrap()), Err(CryptoError::Forged));
    assert!(a.past.is_some(), "the sender has not heard yet that the receiver follows");
}

#[test]
fn a_flood_of_forgeries_costs_two_trials_a_packet() {
    let (mut a, mut b, mut rng) = ends(8);
    let mut forgery = [0; 100];
    for _ in 0..1000 {
        rng.fill(&mut forgery);
        assert_eq!(b.open(&mut PacketBuf::copy_of(&forgery)), Err(CryptoError::Forged));
    }
    assert_eq!(b.trial_order([0; 12]).1, 2);
    assert_eq!((b.generation(), b.count), (0, 0), "forgeries move nothing");

    // A change of keys in the middle of it is noticed all the same.
    for _ in 0..3 << 7 {
        let _ = sealed(&mut a, &mut rng);
    }
    let mut lost = 0;
    while b.open(&mut sealed(&mut a, &mut rng)).is_err() {
        lost += 1;
    }
    assert!(lost < 30, "each packet finds the key with a chance of one in three: {lost}");
    for _ in 0..CREDIT {
        b.open(&mut sealed(&mut a, &mut rng)).unwrap();
    }
    assert_eq!(b.trial_order([0; 12]).1, 4, "good packets restore the credit");
}

#[test]
fn unneeded_future_keys_are_dropped() {
    let (mut a, mut b, mut rng) = ends(20);
    assert!(b.open(&mut PacketBuf::copy_of(&[0; 40])).is_err());
    assert!(b.next.is_some());
    for _ in 0..LOOKAHEAD_KEPT {
        b.open(&mut sealed(&mut a, &mut rng)).unwrap();
    }
    assert!(b.next.is_none());
}

#[test]
fn releasing_memory_loses_no_packet() {
    let (mut a, mut b, mut rng) = ends(3);
    for n in 0..100 {
        b.open(&mut sealed(&mut a, &mut rng)).unwrap();
        a.open(&mut sealed(&mut b, &mut rng)).unwrap();
        if n % 3 == 0 {
            a.release();
            assert!(a.current.schedule.is_none() && a.next.is_none());
        }
    }
    assert!(a.generation() > 10);
}

#[test]
fn every_packet_has_its_own_iv() {
    let (mut a, _, mut rng) = ends(20);
    let mut ivs: Vec<Vec<u8>> = (0..1000).map(|_| sealed(&mut a, &mut rng)[..12].to_vec()).collect();
    ivs.sort();
    ivs.dedup();
    assert_eq!(ivs.len(), 1000);
}

#[test]
fn size_is_bounded_and_debug_hides_keys() {
    assert!(size_of::<Shared>() <= 128, "{}", size_of::<Shared>());
    assert!(size_of::<Protection>() <= 208, "{}", size_of::<Protection>());
    let text = alloc::format!("{:?}", Protection::new(Cipher::Aes128Gcm, SessionKey::from_bytes([8; 32])).unwrap());
    assert_eq!(text, "Protection { cipher: Aes128Gcm, generation: 0, .. }");
}

proptest! {
    #[test]
    fn arbitrary_packets_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut packet = PacketBuf::copy_of(&bytes);
        prop_assert!(protection(Cipher::Aes128Gcm).open(&mut packet).is_err());
        prop_assert_eq!(&packet[..], &bytes[..]);
    }
}

/// A reference changes keys because it has been told to, and by its own count right after that.
#[test]
fn late_packets_open_after_two_changes_in_a_row() {
    let (mut a, mut b, mut rng) = ends(20);
    let mut late: Vec<_> = (0..3).map(|_| sealed(&mut a, &mut rng)).collect();
    a.advance();
    b.open(&mut sealed(&mut a, &mut rng)).unwrap();
    b.open(&mut late.pop().unwrap()).unwrap();
    a.advance();
    b.open(&mut sealed(&mut a, &mut rng)).unwrap();
    b.open(&mut late.pop().unwrap()).unwrap();
    assert_eq!(b.generation(), 2);
    // It is not kept for longer than the one behind it.
    b.set_rotation_bit(4);
    for _ in 0..8 {
        b.open(&mut sealed(&mut a, &mut rng)).unwrap();
    }
    assert!(b.past.is_none());
    assert_eq!(b.open(&mut late.pop().unwrap()), Err(CryptoError::Forged));
}

/// What a flow is made of: keys and counts. Not how many keys are tried for a packet, nor what has been computed for that.
fn state(end: &Shared) -> impl PartialEq + core::fmt::Debug + use<> {
    let key = |generation: &Generation| *generation.key.expose();
    let past = end.past.as_ref().map(|past| (key(&past.previous), past.older.as_deref().map(key)));
    let keys = (key(&end.current), past);
    (keys, end.rotation_salt, end.generation, end.count, end.rotation_bit, end.peer_followed)
}

#[test]
fn a_million_packets_of_garbage_change_nothing() {
    let (mut a, mut b, mut rng) = ends(4);
    // In the middle of a change of keys, where the most is tried.
    while b.generation() == 0 {
        b.open(&mut sealed(&mut a, &mut rng)).unwrap();
    }
    let mut good = sealed(&mut a, &mut rng);
    let before = state(&b);
    let (mut bytes, mut garbage) = ([0; 30], PacketBuf::with_capacity(64));
    for _ in 0..1_000_000 {
        rng.fill(&mut bytes);
        garbage.truncate(0);
        garbage.extend_from_slice(&bytes).unwrap();
        assert!(b.open(&mut garbage).is_err());
    }
    assert_eq!(state(&b), before);
    b.open(&mut good).unwrap();
    assert_ne!(state(&b), before, "a good one is counted");
}
