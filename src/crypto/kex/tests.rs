use proptest::prelude::*;

use super::*;
use crate::base::rng::Rng;

const CURVES: [Kex; 5] = [Kex::Prime256v1, Kex::X25519, Kex::Secp384r1, Kex::X448, Kex::Secp521r1];
const NIST: [Kex; 3] = [Kex::Prime256v1, Kex::Secp384r1, Kex::Secp521r1];
const FINITE_FIELDS: [Kex; 3] = [Kex::Ffdhe2048, Kex::Ffdhe3072, Kex::Ffdhe4096];

fn rng() -> Rng {
    Rng::from_seed([3; 32])
}

fn pair(kex: Kex) -> KeyPair {
    KeyPair::generate(kex, &mut rng()).unwrap()
}

/// The key exchange of a transmitted key, as a responder finds it out.
fn found(kex: Kex, transmitted: &[u8]) -> Result<Kex, CryptoError> {
    if kex.is_hybrid() { hybrid_of(transmitted) } else { algorithm_of(transmitted) }
}

#[test]
fn every_key_exchange_is_there() {
    for kex in Kex::ALL {
        assert!(kex.is_available(), "{kex}");
    }
}

#[test]
fn both_ends_arrive_at_one_key() {
    let mut rng = rng();
    let kdfs = Kdf::ALL.iter().map(|kdf| (Kex::X25519, *kdf));
    for (kex, kdf) in kdfs.chain(Kex::ALL.iter().map(|kex| (*kex, Kdf::Sha256))) {
        let client = KeyPair::generate(kex, &mut rng).unwrap();
        assert_eq!(found(kex, client.public()), Ok(kex));
        let (field, server_key) = respond(kex, client.public(), kdf, &mut rng).unwrap();
        assert_eq!(found(kex, &field) == Ok(kex), !kex.is_kem() || kex == Kex::X448MlKem1024, "{kex}");
        assert_eq!(client.agree(&field, kdf).unwrap(), server_key, "{kex}");
    }
}

#[test]
fn randomness_comes_from_the_caller() {
    for &kex in Kex::ALL {
        assert_eq!(pair(kex).public(), pair(kex).public(), "same seed, same key");
        let mut rng = rng();
        let [a, b] = [(); 2].map(|()| KeyPair::generate(kex, &mut rng).unwrap());
        assert_ne!(a.public(), b.public());
        let answer = |seed| respond(kex, a.public(), Kdf::Sha256, &mut Rng::from_seed([seed; 32])).unwrap();
        assert_eq!(answer(1), answer(1));
        assert!(answer(1).0 != answer(2).0 && answer(1).1 != answer(2).1);
    }
}

#[test]
fn only_the_exact_encoding_is_accepted() {
    for &kex in Kex::ALL {
        let public = pair(kex).public().to_vec();
        let answer = |peer: &[u8]| respond(kex, peer, Kdf::Sha256, &mut rng()).map(|_| ());
        assert_eq!(answer(&public), Ok(()));
        for len in 0..public.len() {
            assert_ne!(found(kex, &public[..len]), Ok(kex), "{len} bytes");
        }
        for len in [0, 1, public.len() / 2, public.len() - 1] {
            assert_eq!(answer(&public[..len]), Err(CryptoError::InvalidPublicKey), "{kex}, {len} bytes");
        }
        let longer = [&public[..], &[0]].concat();
        assert_eq!(answer(&longer), Err(CryptoError::InvalidPublicKey), "{kex}, a byte behind");
        if !kex.is_kem() {
            let key = pair(kex);
            assert_eq!(key.private.agree(&longer).err(), Some(CryptoError::InvalidPublicKey));
            assert_eq!(key.private.agree(&public[1..]).err(), Some(CryptoError::InvalidPublicKey));
        }
    }
}

#[test]
fn a_compressed_point_is_refused() {
    let key = pair(Kex::Prime256v1);
    let mut compressed = key.public()[..59].to_vec();
    compressed[1] = 0x39; // the outer length
    compressed[24] = 0x22; // the length of the bit string
    compressed[26] = 2 + (key.public()[90] & 1);
    assert_eq!(algorithm_of(&compressed), Err(CryptoError::InvalidPublicKey));
    for kex in NIST {
        let mut marked = pair(kex).public().to_vec();
        let at = Encoding::of(kex).unwrap().prefix.len();
        assert_eq!(marked[at], 4);
        for mark in [0, 2, 3, 5, 6, 7] {
            marked[at] = mark;
            assert_eq!(algorithm_of(&marked), Err(CryptoError::InvalidPublicKey));
        }
    }
}

#[test]
fn a_point_off_the_curve_is_refused() {
    for kex in NIST {
        let mut off = pair(kex).public().to_vec();
        let at = Encoding::of(kex).unwrap().prefix.len() + 1;
        *off.last_mut().unwrap() ^= 1;
        assert_eq!(pair(kex).agree(&off, Kdf::Sha256), Err(CryptoError::InvalidPublicKey), "{kex}");
        for fill in [0, 0xff] {
            off[at..].fill(fill);
            let answer = respond(kex, &off, Kdf::Sha256, &mut rng());
            assert_eq!(answer.err(), Some(CryptoError::InvalidPublicKey), "{kex}");
        }
    }
}

#[test]
fn keys_of_small_order_are_refused() {
    let order_8 = b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\
                    \x86\x62\x05\x16\x5f\x49\xb8\x00";
    let one = |len: usize| [&[1][..], &alloc::vec![0; len - 1]].concat();
    // The prime of X448 less one, and itself, which stands for 0.
    let mut below = [0xff; 56];
    below[28] = 0xfe;
    let prime = below;
    below[0] = 0xfe;
    let points = [
        (Kex::X25519, [0; 32].to_vec()),
        (Kex::X25519, one(32)),
        (Kex::X25519, order_8.to_vec()),
        (Kex::X448, [0; 56].to_vec()),
        (Kex::X448, one(56)),
        (Kex::X448, below.to_vec()),
        (Kex::X448, prime.to_vec()),
    ];
    for (kex, point) in points {
        let field = Encoding::of(kex).unwrap().wrap(&point).unwrap();
        let answer = respond(kex, &field, Kdf::Sha256, &mut rng());
        assert_eq!(answer.err(), Some(CryptoError::WeakSharedSecret), "{kex} {point:02x?}");
    }
}

#[test]
fn groups_do_not_mix() {
    let groups = || Kex::ALL.iter().filter(|kex| !kex.is_kem());
    for (&a, &b) in groups().flat_map(|a| groups().map(move |b| (a, b))).filter(|(a, b)| a != b) {
        assert_eq!(pair(a).agree(pair(b).public(), Kdf::Sha256), Err(CryptoError::GroupMismatch), "{a} {b}");
    }
}

#[test]
fn private_keys_are_checked() {
    for &kex in Kex::ALL {
        for len in [0, 16, 31, 33, 513, 4000] {
            let key = KeyPair::from_private(kex, &alloc::vec![1; len]);
            let is_number = FINITE_FIELDS.contains(&kex) && (1..=256).contains(&len);
            assert_eq!(key.err(), (!is_number).then_some(CryptoError::InvalidPrivateKey), "{kex}, {len} bytes");
        }
    }
    for (kex, len) in [(Kex::Prime256v1, 32), (Kex::Secp384r1, 48), (Kex::Secp521r1, 66), (Kex::Ffdhe2048, 256)] {
        for byte in [0, 0xff] {
            let key = KeyPair::from_private(kex, &alloc::vec![byte; len]);
            let error = (byte == 0 || kex != Kex::Ffdhe2048).then_some(CryptoError::InvalidPrivateKey);
            assert_eq!(key.err(), error, "{kex}: 0 and the order and above are no scalars");
        }
    }
    assert!(!alloc::format!("{:?}", KeyPair::from_private(Kex::X25519, &[1; 32]).unwrap()).contains("01"));
}

#[test]
fn ciphertexts_of_another_length_are_refused() {
    for &kex in Kex::ALL.iter().filter(|kex| kex.is_kem()) {
        let key = pair(kex);
        let (ciphertext, _) = respond(kex, key.public(), Kdf::Sha256, &mut rng()).unwrap();
        let longer = [&ciphertext[..], &[0]].concat();
        for wrong in [&[], &ciphertext[1..], &longer[..], key.public()] {
            if wrong.len() != ciphertext.len() {
                assert_eq!(key.private.agree(wrong).err(), Some(CryptoError::InvalidCiphertext), "{kex}");
            }
        }
    }
}

#[test]
fn a_damaged_ciphertext_leads_to_another_key() {
    for &kex in Kex::ALL.iter().filter(|kex| kex.is_kem()) {
        let (mut ciphertext, key) = respond(kex, pair(kex).public(), Kdf::Sha256, &mut rng()).unwrap();
        // In the part of ML-KEM, which comes first, and in that of the curve.
        for at in [0, ciphertext.len() - 2] {
            ciphertext[at] ^= 1;
            assert_ne!(pair(kex).agree(&ciphertext, Kdf::Sha256).unwrap(), key, "{kex}");
            ciphertext[at] ^= 1;
        }
        assert_eq!(pair(kex).agree(&ciphertext, Kdf::Sha256).unwrap(), key, "{kex}");
    }
}

#[test]
fn a_coefficient_out_of_range_is_refused() {
    for &kex in Kex::ALL.iter().filter(|kex| kex.is_kem()) {
        let mut public = pair(kex).public().to_vec();
        let at = Encoding::of(kex).map_or(0, |encoding| encoding.prefix.len());
        // Two coefficients of 12 bits; the modulus is 3329.
        public[at..at + 3].copy_from_slice(&[0x01, 0x0d, 0x00]);
        let answer = respond(kex, &public, Kdf::Sha256, &mut rng());
        assert_eq!(answer.err(), Some(CryptoError::InvalidPublicKey), "{kex}");
        public[at] = 0x00;
        assert!(respond(kex, &public, Kdf::Sha256, &mut rng()).is_ok(), "{kex}");
    }
}

/// Downgrades of a hybrid to one of its parts: neither may be left out, swapped or of small order.
#[test]
fn both_parts_of_a_hybrid_count() {
    for (kex, kem_len) in [(Kex::X25519MlKem768, 1184), (Kex::X448MlKem1024, 1568)] {
        let public = pair(kex).public().to_vec();
        let (kem, dh) = public.split_at(kem_len);
        let answer = |parts: &[&[u8]]| respond(kex, &parts.concat(), Kdf::Sha256, &mut rng()).err();
        assert_eq!(answer(&[kem]), Some(CryptoError::InvalidPublicKey));
        assert_eq!(answer(&[dh]), Some(CryptoError::InvalidPublicKey));
        assert_eq!(answer(&[&[], dh, &alloc::vec![0xff; kem_len]]), Some(CryptoError::InvalidPublicKey));
        assert_eq!(answer(&[kem, &alloc::vec![0; dh.len()]]), Some(CryptoError::WeakSharedSecret));
        let (ciphertext, _) = respond(kex, &public, Kdf::Sha256, &mut rng()).unwrap();
        let (first, second) = ciphertext.split_at(ciphertext.len() - dh.len());
        let weak = [first, &alloc::vec![0; dh.len()]].concat();
        assert_eq!(pair(kex).agree(&weak, Kdf::Sha256).err(), Some(CryptoError::WeakSharedSecret));
        assert_eq!(second.len(), dh.len());
    }
}

#[test]
fn numbers_of_finite_fields_are_in_range() {
    for (kex, group) in [&ffdhe::FFDHE2048, &ffdhe::FFDHE3072, &ffdhe::FFDHE4096].map(|group| (group.kex, group)) {
        let less = |by: u8| {
            let mut number = group.prime.to_vec();
            *number.last_mut().unwrap() -= by;
            number
        };
        let mut more = group.prime.to_vec();
        more.insert(0, 1);
        for refused in [&[0][..], &[1], &less(1), &less(0), &more] {
            let answer = respond(kex, &group.wrap(refused), Kdf::Sha256, &mut rng());
            assert_eq!(answer.err(), Some(CryptoError::InvalidPublicKey), "{kex} {refused:02x?}");
        }
        for taken in [&[2][..], &less(2)] {
            assert!(respond(kex, &group.wrap(taken), Kdf::Sha256, &mut rng()).is_ok(), "{kex} {taken:02x?}");
        }
    }
}

/// As the reference does: whoever pads it fails to interoperate once in 256 times.
#[test]
fn a_secret_of_a_finite_field_has_no_zeros_in_front() {
    let group = &ffdhe::FFDHE2048;
    // 2 to the power of 2040 less 1 and less 9 are the public number and, by 1, the secret: 255 and 254 bytes.
    for (bit, len) in [(2047_usize, 256), (2039, 255), (2031, 254), (0, 1)] {
        let mut public = alloc::vec![0; 1 + bit / 8];
        public[0] = 1 << (bit % 8);
        if bit == 0 {
            public[0] = 3;
        }
        let one = Backend::preferred().exchange(group.kex).unwrap().import(&[1]).unwrap();
        let secret = one.agree(&group.wrap(&public)).unwrap();
        assert_eq!((secret.expose(), secret.expose().len()), (&public[..], len));
    }
}

#[test]
fn a_length_of_the_private_number_is_skipped() {
    let ours = pair(Kex::Ffdhe2048).public().to_vec();
    // Behind the generator; the three lengths around it have two bytes each.
    let at = 4 + 4 + 11 + 4 + 261 + 3;
    assert_eq!(ours[at - 3..at], [2, 1, 2]);
    let mut longer = [&ours[..at], &[2, 2, 0, 225], &ours[at..]].concat();
    for high in [2, 6, 4 + 4 + 11 + 2] {
        let len = u16::from_be_bytes([longer[high], longer[high + 1]]) + 4;
        longer[high..high + 2].copy_from_slice(&len.to_be_bytes());
    }
    assert_eq!(algorithm_of(&longer), Ok(Kex::Ffdhe2048));
    let here = pair(Kex::Ffdhe2048);
    let (field, key) = respond(Kex::Ffdhe2048, &longer, Kdf::Sha256, &mut Rng::from_seed([9; 32])).unwrap();
    assert_ne!(here.agree(&field, Kdf::Sha256).unwrap(), key, "all that was transmitted is in the salt");
    for other in [1, 3, 0x85] {
        let mut generator = ours.clone();
        generator[at - 1] = other;
        assert_eq!(algorithm_of(&generator), Err(CryptoError::InvalidPublicKey));
    }
}

#[test]
fn constant_parts_have_their_lengths() {
    for kex in Kex::ALL {
        let own_bytes = match kex {
            Kex::Prime256v1 => 65,
            Kex::Secp384r1 => 97,
            Kex::Secp521r1 => 133,
            Kex::X25519 => 32,
            Kex::X448 => 56,
            Kex::MlKem512 => 800,
            Kex::MlKem768 => 1184,
            Kex::MlKem1024 => 1568,
            _ => {
                assert!(Encoding::of(*kex).is_none());
                continue;
            }
        };
        assert_eq!(Encoding::of(*kex).unwrap().key_len(), own_bytes, "{kex}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(algorithm_of(&bytes), Err(CryptoError::InvalidPublicKey));
        for &kex in Kex::ALL {
            prop_assert_eq!(respond(kex, &bytes, Kdf::Sha256, &mut rng()).err(), Some(CryptoError::InvalidPublicKey));
        }
    }

    #[test]
    fn a_changed_key_of_a_finite_field_does_not_panic(flip in 0..553 * 8_usize, also in 0..300 * 8_usize) {
        let mut field = pair(Kex::Ffdhe2048).public().to_vec();
        for bit in [flip, also] {
            let bit = bit % (field.len() * 8);
            field[bit / 8] ^= 1 << (bit % 8);
        }
        if algorithm_of(&field).is_ok() {
            let whole = pair(Kex::Ffdhe2048);
            prop_assert_eq!(&field[..20], &whole.public()[..20]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_points_do_not_panic(kex in prop::sample::select(&CURVES), flip in 0..1280_usize, seed: [u8; 32]) {
        let mut field = KeyPair::generate(kex, &mut Rng::from_seed(seed)).unwrap().public().to_vec();
        let bit = flip % (field.len() * 8);
        field[bit / 8] ^= 1 << (bit % 8);
        // On X25519 and X448 every string is a key, so that only damage to the constant part shows.
        let answer = respond(kex, &field, Kdf::Sha256, &mut rng());
        prop_assert_eq!(answer.is_ok(), !NIST.contains(&kex) && bit >= 12 * 8);
    }
}
