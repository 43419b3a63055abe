use proptest::prelude::*;

use super::*;
use crate::base::rng::Rng;

const AVAILABLE: [Kex; 2] = [Kex::Prime256v1, Kex::X25519];

fn rng() -> Rng {
    Rng::from_seed([3; 32])
}

#[test]
fn both_ends_arrive_at_one_key() {
    let mut rng = rng();
    for kex in AVAILABLE {
        for &kdf in Kdf::ALL {
            let client = KeyPair::generate(kex, &mut rng).unwrap();
            let (field, server_key) = respond(client.public(), kdf, &mut rng).unwrap();
            assert_eq!(algorithm_of(&field), Ok(kex));
            assert_eq!(client.agree(&field, kdf).unwrap(), server_key);
        }
    }
}

#[test]
fn randomness_comes_from_the_caller() {
    for kex in AVAILABLE {
        let [a, b] = [(); 2].map(|()| KeyPair::generate(kex, &mut rng()).unwrap());
        assert_eq!(a.public(), b.public(), "same seed, same key");
        let mut rng = rng();
        let [a, b] = [(); 2].map(|()| KeyPair::generate(kex, &mut rng).unwrap());
        assert_ne!(a.public(), b.public());
    }
}

#[test]
fn only_the_exact_encoding_is_accepted() {
    for kex in AVAILABLE {
        let public = KeyPair::generate(kex, &mut rng()).unwrap().public().to_vec();
        let agree = |peer: &[u8]| KeyPair::generate(kex, &mut rng()).unwrap().agree(peer, Kdf::Sha256);
        assert!(agree(&public).is_ok());
        for len in 0..public.len() {
            assert_eq!(agree(&public[..len]), Err(CryptoError::InvalidPublicKey), "{kex}, {len} bytes");
        }
        let mut longer = public.clone();
        longer.push(0);
        assert_eq!(agree(&longer), Err(CryptoError::InvalidPublicKey), "{kex}, a byte behind");
    }
}

#[test]
fn a_compressed_point_is_refused() {
    let key = KeyPair::generate(Kex::Prime256v1, &mut rng()).unwrap();
    let mut compressed = key.public()[..59].to_vec();
    compressed[1] = 0x39; // the outer length
    compressed[24] = 0x22; // the length of the bit string
    compressed[26] = 2 + (key.public()[90] & 1);
    assert_eq!(algorithm_of(&compressed), Err(CryptoError::InvalidPublicKey));
    let mut marked = key.public().to_vec();
    marked[26] = 2;
    assert_eq!(algorithm_of(&marked), Err(CryptoError::InvalidPublicKey));
}

#[test]
fn a_point_off_the_curve_is_refused() {
    let key = KeyPair::generate(Kex::Prime256v1, &mut rng()).unwrap();
    let mut off = key.public().to_vec();
    off[90] ^= 1;
    assert_eq!(key.agree(&off, Kdf::Sha256), Err(CryptoError::InvalidPublicKey));
    off[27..].fill(0);
    assert_eq!(respond(&off, Kdf::Sha256, &mut rng()).err(), Some(CryptoError::InvalidPublicKey));
    off[27..].fill(0xff);
    assert_eq!(respond(&off, Kdf::Sha256, &mut rng()).err(), Some(CryptoError::InvalidPublicKey));
}

#[test]
fn keys_of_small_order_are_refused() {
    let order_8 = b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\
                    \x86\x62\x05\x16\x5f\x49\xb8\x00";
    let mut one = [0; 32];
    one[0] = 1;
    for point in [&[0; 32], &one, order_8] {
        let field: [u8; 44] = Encoding::X25519.wrap(point).unwrap();
        let answer = respond(&field, Kdf::Sha256, &mut rng());
        assert_eq!(answer.err(), Some(CryptoError::WeakSharedSecret));
    }
}

#[test]
fn groups_do_not_mix() {
    let p256 = KeyPair::generate(Kex::Prime256v1, &mut rng()).unwrap();
    let x25519 = KeyPair::generate(Kex::X25519, &mut rng()).unwrap();
    let field = x25519.public().to_vec();
    assert_eq!(x25519.agree(p256.public(), Kdf::Sha256), Err(CryptoError::GroupMismatch));
    assert_eq!(p256.agree(&field, Kdf::Sha256), Err(CryptoError::GroupMismatch));
}

#[test]
fn unavailable_algorithms_are_named() {
    for &kex in Kex::ALL.iter().filter(|kex| !kex.is_available()) {
        assert_eq!(KeyPair::generate(kex, &mut rng()).err(), Some(CryptoError::KexUnavailable(kex)));
    }
    let mut x448 = Encoding::X448.prefix.to_vec();
    x448.extend([9; 56]);
    assert_eq!(respond(&x448, Kdf::Sha256, &mut rng()).err(), Some(CryptoError::KexUnavailable(Kex::X448)));
}

#[test]
fn private_keys_are_checked() {
    for kex in AVAILABLE {
        for len in [0, 16, 31, 33, 64] {
            let key = KeyPair::from_private(kex, &alloc::vec![1; len]);
            assert_eq!(key.err(), Some(CryptoError::InvalidPrivateKey), "{kex}, {len} bytes");
        }
    }
    for scalar in [[0; 32], [0xff; 32]] {
        let key = KeyPair::from_private(Kex::Prime256v1, &scalar);
        assert_eq!(key.err(), Some(CryptoError::InvalidPrivateKey), "0 and the order and above are no scalars");
    }
    assert!(!alloc::format!("{:?}", KeyPair::from_private(Kex::X25519, &[1; 32]).unwrap()).contains("01"));
}

#[test]
fn constant_parts_have_their_lengths() {
    for encoding in Encoding::ALL {
        let own_bytes = match encoding.kex {
            Kex::Prime256v1 => 65,
            Kex::Secp384r1 => 97,
            Kex::Secp521r1 => 133,
            Kex::X25519 => 32,
            Kex::X448 => 56,
            Kex::MlKem512 => 800,
            Kex::MlKem768 => 1184,
            Kex::MlKem1024 => 1568,
            other => panic!("{other} has no fixed encoding"),
        };
        assert_eq!(encoding.prefix.len() + own_bytes, encoding.len, "{}", encoding.kex);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(respond(&bytes, Kdf::Sha256, &mut rng()).err(), Some(CryptoError::InvalidPublicKey));
    }

    #[test]
    fn arbitrary_points_do_not_panic(kex in prop::sample::select(&AVAILABLE), flip in 0..360_usize, seed: [u8; 32]) {
        let mut field = KeyPair::generate(kex, &mut Rng::from_seed(seed)).unwrap().public().to_vec();
        let bit = flip % (field.len() * 8);
        field[bit / 8] ^= 1 << (bit % 8);
        // On X25519 every string is a key, so that only damage to the constant part shows.
        let answer = respond(&field, Kdf::Sha256, &mut rng());
        prop_assert_eq!(answer.is_ok(), kex == Kex::X25519 && bit >= 12 * 8);
    }
}
