use alloc::vec::Vec;

use super::super::{Protection, Side};
use super::*;
use crate::base::rng::Rng;
use crate::crypto::backend::{self, Backend};
use crate::crypto::suite::Cipher;

const CIPHERS: [Cipher; 3] = [Cipher::Aes128Ctr, Cipher::Aes192Ctr, Cipher::Aes256Ctr];

fn end(backend: &Backend, cipher: Cipher) -> Protection {
    Protection::with_backend(backend, cipher, SessionKey::from_bytes([8; 32])).unwrap()
}

fn rng() -> Rng {
    Rng::from_seed([4; 32])
}

#[test]
fn packets_are_longer_by_an_initialisation_vector() {
    for (&backend, cipher) in backend::all().iter().flat_map(|backend| CIPHERS.map(|cipher| (backend, cipher))) {
        let (mut a, mut b) = (end(backend, cipher), end(backend, cipher));
        assert_eq!((a.cipher(), a.overhead()), (cipher, cipher.overhead()));
        assert!(!a.numbers_packets() && !a.refuses_replays());
        for len in [0, 1, 15, 16, 17, 1400, 9000] {
            let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut packet = PacketBuf::copy_of(&plain);
            a.seal(&mut packet, &mut rng()).unwrap();
            assert_eq!(packet.len(), len + IV_LEN);
            assert!(len < 15 || packet[IV_LEN..] != plain);
            b.open(&mut packet).unwrap();
            assert_eq!(packet[..], plain);
        }
    }
}

/// NIST SP 800-38A, F.5.1.
#[test]
fn known_answer() {
    let mut key = [0; 32];
    key[..16].copy_from_slice(b"\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c");
    let iv = core::array::from_fn(|i| 0xf0 + i as u8);
    let mut data = *b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a\
                      \xae\x2d\x8a\x57\x1e\x03\xac\x9c\x9e\xb7\x6f\xac\x45\xaf\x8e\x51";
    Backend::preferred().stream(Cipher::Aes128Ctr).unwrap().schedule(&key).apply(&iv, &mut data);
    let expected = *b"\x87\x4d\x61\x91\xb6\x20\xe3\x26\x1b\xef\x68\x64\x99\x0d\xb6\xce\
                      \x98\x06\xf6\x6b\x79\x70\xfd\xff\x86\x17\x18\x7b\xb9\xff\xfd\xff";
    assert_eq!(data, expected);
}

#[test]
fn what_is_too_short_or_has_no_room_is_left_alone() {
    let mut end = end(Backend::preferred(), Cipher::Aes128Ctr).with_rotation_bit(1);
    for len in 0..IV_LEN {
        let mut packet = PacketBuf::copy_of(&[0xff; IV_LEN][..len]);
        assert_eq!(end.open(&mut packet), Err(CryptoError::PacketTooShort));
        assert_eq!((packet.len(), end.generation()), (len, 0), "it is not counted");
    }
    let mut packet = PacketBuf::copy_of(b"payload");
    packet.push(packet.headroom() - (IV_LEN - 1)).unwrap();
    let before = packet.to_vec();
    assert_eq!(end.seal(&mut packet, &mut rng()), Err(CryptoError::NoRoom));
    assert_eq!(packet[..], before);
}

/// As long as packets go one way and none is lost. What else becomes of them is in the traces of the reference, of which
/// `tests/vectors` has them.
#[test]
fn keys_change_together() {
    let [mut a, mut b] = [(); 2].map(|()| end(Backend::preferred(), Cipher::Aes256Ctr).with_rotation_bit(4));
    let mut rng = rng();
    for step in 0..200 {
        let mut packet = PacketBuf::copy_of(b"payload");
        a.seal(&mut packet, &mut rng).unwrap();
        b.open(&mut packet).unwrap();
        assert_eq!(packet[..], *b"payload", "{step}");
    }
    assert_eq!((a.generation(), b.generation()), (12, 12));
}

/// As everything between o7s ends, but for what needs a tag: numbers and directions.
#[test]
fn it_is_the_same_between_o7s_ends() {
    let backend = Backend::preferred();
    let of =
        |side| Protection::between_peers(backend, Cipher::Aes128Ctr, SessionKey::from_bytes([8; 32]), side).unwrap();
    let (mut client, mut server, mut foreign) = (of(Side::Client), of(Side::Server), end(backend, Cipher::Aes128Ctr));
    let mut packet = PacketBuf::copy_of(b"payload");
    client.seal(&mut packet, &mut rng()).unwrap();
    for other in [&mut server, &mut foreign] {
        let mut packet = PacketBuf::copy_of(&packet);
        other.open(&mut packet).unwrap();
        assert_eq!(packet[..], *b"payload");
    }
}

#[test]
fn schedules_are_released() {
    let mut end = end(Backend::preferred(), Cipher::Aes128Ctr);
    assert!(!end.holds_schedules());
    end.seal(&mut PacketBuf::copy_of(b"x"), &mut rng()).unwrap();
    assert!(end.holds_schedules());
    end.release();
    assert!(!end.holds_schedules());
}
