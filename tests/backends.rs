//! Backends do the same: what one seals the other opens, what one encapsulates the other decapsulates, and what one refuses
//! the other refuses with the same error.
//!
//! Each is compared with the first, RustCrypto. With the default features there is no other; the features `ring` and
//! `aws-lc-rs` bring one each.
#![cfg(not(loom))]
#![cfg(all(feature = "sim", feature = "algorithms"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use o7s::base::rng::Rng;
use o7s::crypto::backend::{Backend, KeyExchange, RUST, all};
use o7s::crypto::suite::{Cipher, Kex};
use o7s::crypto::{CryptoError, SharedSecret};
use o7s::sim::Network;
use proptest::prelude::*;

const AEADS: [Cipher; 4] = [Cipher::Aes128Gcm, Cipher::Aes192Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];
const CURVES: [Kex; 4] = [Kex::Prime256v1, Kex::X25519, Kex::Secp384r1, Kex::Secp521r1];
const ML_KEMS: [Kex; 3] = [Kex::MlKem512, Kex::MlKem768, Kex::MlKem1024];
const HYBRIDS: [Kex; 2] = [Kex::X25519MlKem768, Kex::X448MlKem1024];
/// Where ML-KEM is the whole or a part: a backend may have it in hybrids alone.
const WITH_ML_KEM: [Kex; 5] = [ML_KEMS[0], ML_KEMS[1], ML_KEMS[2], HYBRIDS[0], HYBRIDS[1]];

/// Every two of them, in both orders, and each with itself.
fn pairs() -> impl Iterator<Item = (&'static Backend, &'static Backend)> {
    all().iter().flat_map(|one| all().iter().map(move |other| (*one, *other)))
}

fn rng(seed: u8) -> Rng {
    Rng::from_seed([seed; 32])
}

fn row(backend: &Backend, kex: Kex) -> &'static dyn KeyExchange {
    backend.exchange(kex).unwrap()
}

/// What can be compared of a secret, or of there being none.
fn told(agreed: Result<SharedSecret, CryptoError>) -> Result<Vec<u8>, CryptoError> {
    agreed.map(|secret| secret.expose().to_vec())
}

/// What comes of it if the owner of these private bytes is sent `peer`.
fn agreed(backend: &Backend, kex: Kex, private: &[u8], peer: &[u8]) -> Result<Vec<u8>, CryptoError> {
    told(row(backend, kex).import(private)?.agree(peer))
}

/// The public key of these private bytes.
fn public(backend: &Backend, kex: Kex, private: &[u8]) -> Result<Vec<u8>, CryptoError> {
    row(backend, kex).import(private).map(|key| key.public().to_vec())
}

const fn private_len(kex: Kex) -> usize {
    match kex {
        Kex::Prime256v1 | Kex::X25519 => 32,
        Kex::Secp384r1 => 48,
        Kex::Secp521r1 => 66,
        // The seed of ML-KEM, and behind it the key of the curve.
        Kex::X25519MlKem768 | Kex::X448MlKem1024 => 64 + curve_len(kex),
        _ => 64,
    }
}

/// The bytes of a key behind what it is wrapped in; of a hybrid, those of ML-KEM, which come first.
const fn key_len(kex: Kex) -> usize {
    match kex {
        Kex::X25519 => 32,
        Kex::MlKem512 => 800,
        Kex::MlKem768 | Kex::X25519MlKem768 => 1184,
        Kex::MlKem1024 | Kex::X448MlKem1024 => 1568,
        _ => 1 + 2 * private_len(kex),
    }
}

/// The bytes of the curve at the end of what a hybrid sends, and of its private key.
const fn curve_len(kex: Kex) -> usize {
    match kex {
        Kex::X25519MlKem768 => 32,
        Kex::X448MlKem1024 => 56,
        _ => 0,
    }
}

/// A private key that every implementation takes.
fn private(kex: Kex, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; private_len(kex)];
    rng(seed).fill(&mut bytes);
    bytes[0] &= 1;
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_one_seals_the_other_opens(
        cipher in prop::sample::select(&AEADS[..]),
        key: [u8; 32],
        nonce: [u8; 12],
        plain in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        for (one, other) in pairs() {
            let (seals, opens) = (one.aead(cipher).unwrap().schedule(&key), other.aead(cipher).unwrap().schedule(&key));
            let mut data = plain.clone();
            let tag = seals.seal(&nonce, &mut data).unwrap();
            prop_assert!(plain.len() < 16 || data != plain, "{one:?} {cipher}");
            prop_assert_eq!((opens.open(&nonce, &mut data, &tag), &data), (Ok(()), &plain), "{:?} {:?}", one, other);
        }
    }

    #[test]
    fn what_was_changed_no_one_opens(
        cipher in prop::sample::select(&AEADS[..]),
        key: [u8; 32],
        plain in prop::collection::vec(any::<u8>(), 1..200),
        at: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        for (one, other) in pairs() {
            let (seals, opens) = (one.aead(cipher).unwrap().schedule(&key), other.aead(cipher).unwrap().schedule(&key));
            let (mut nonce, mut data) = ([7; 12], plain.clone());
            let mut tag = seals.seal(&nonce, &mut data).unwrap();
            // One bit of all that arrives.
            match at.index(12 + 16 + data.len()) {
                i @ 0..12 => nonce[i] ^= 1_u8 << bit,
                i @ 12..28 => tag[i - 12] ^= 1_u8 << bit,
                i => data[i - 28] ^= 1_u8 << bit,
            }
            let before = data.clone();
            prop_assert_eq!(opens.open(&nonce, &mut data, &tag), Err(CryptoError::Forged), "{:?} {:?}", one, other);
            prop_assert_eq!(data, before, "{:?} {:?}", one, other);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_same_private_bytes_are_the_same_key(
        kex in prop::sample::select(&CURVES[..]),
        bytes: [u8; 66],
        first in prop::sample::select(&[0, 1, 0xff][..]),
        len in prop::sample::select(&[0, 31, 32, 33, 48, 66][..]),
    ) {
        let mut bytes = bytes;
        bytes[0] = first;
        for private in [&bytes[..private_len(kex)], &bytes[..len]] {
            for backend in all() {
                prop_assert_eq!(public(backend, kex, private), public(&RUST, kex, private), "{:?} {}", backend, kex);
            }
        }
    }

    #[test]
    fn a_public_key_that_was_changed_is_the_same_to_all(
        kex in prop::sample::select(&CURVES[..]),
        at: prop::sample::Index,
        to: u8,
    ) {
        let (own, mut peer) = (private(kex, 1), public(&RUST, kex, &private(kex, 2)).unwrap());
        let at = at.index(peer.len());
        peer[at] = to;
        let expected = agreed(&RUST, kex, &own, &peer);
        for backend in all() {
            prop_assert_eq!(&agreed(backend, kex, &own, &peer), &expected, "{:?} {} {}", backend, kex, at);
        }
    }

    #[test]
    fn a_ciphertext_that_was_changed_is_the_same_to_all(
        kex in prop::sample::select(&WITH_ML_KEM[..]),
        at: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        let own = private(kex, 1);
        let key = public(&RUST, kex, &own).unwrap();
        for (one, other) in pairs() {
            let (mut ciphertext, secret) = row(one, kex).respond(&key, &mut rng(2)).unwrap();
            let at = at.index(ciphertext.len() - curve_len(kex));
            ciphertext[at] ^= 1_u8 << bit;
            let expected = agreed(&RUST, kex, &own, &ciphertext).unwrap();
            prop_assert_ne!(&expected[..], secret.expose());
            let agreed = agreed(other, kex, &own, &ciphertext).unwrap();
            prop_assert_eq!(agreed, expected, "{:?} {:?} {}", one, other, kex);
        }
    }

    #[test]
    fn a_key_of_ml_kem_that_was_changed_is_the_same_to_all(
        kex in prop::sample::select(&WITH_ML_KEM[..]),
        at: prop::sample::Index,
        to in prop_oneof![Just(0xff), any::<u8>()],
    ) {
        let mut key = public(&RUST, kex, &private(kex, 1)).unwrap();
        let at = key.len() - key_len(kex) - curve_len(kex) + at.index(key_len(kex));
        key[at] = to;
        let taken = |backend: &Backend| row(backend, kex).respond(&key, &mut rng(2)).map(|_| ());
        for backend in all() {
            prop_assert_eq!(taken(backend), taken(&RUST), "{:?} {} {}", backend, kex, at);
        }
    }
}

#[test]
fn any_two_agree() {
    for (kex, (one, other)) in CURVES.into_iter().chain(WITH_ML_KEM).flat_map(|k| pairs().map(move |p| (k, p))) {
        let own = row(one, kex).generate(&mut rng(1)).unwrap();
        let (field, secret) = row(other, kex).respond(own.public(), &mut rng(2)).unwrap();
        assert_eq!(told(own.agree(&field)), Ok(secret.expose().to_vec()), "{one:?} {other:?} {kex}");
        // Twice the same: a static key is used again.
        assert_eq!(told(own.agree(&field)), Ok(secret.expose().to_vec()), "{one:?} {other:?} {kex}");
    }
}

#[test]
fn secrets_are_not_repeated() {
    for (backend, kex) in all().iter().flat_map(|b| WITH_ML_KEM.into_iter().map(move |kex| (*b, kex))) {
        let mut rng = rng(1);
        let [one, other] = [(); 2].map(|()| row(backend, kex).generate(&mut rng).unwrap());
        assert_ne!(one.public(), other.public(), "{backend:?} {kex}");
        let [first, second] = [(); 2].map(|()| row(backend, kex).respond(one.public(), &mut rng).unwrap());
        assert!(first.0 != second.0 && first.1.expose() != second.1.expose(), "{backend:?} {kex}");
    }
}

/// Points of order 1, 2, 4 and 8 of X25519 and of its twist, and what else is the same number.
fn small_orders() -> Vec<[u8; 32]> {
    let hex =
        |text: &str| -> [u8; 32] { std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()) };
    let mut points = vec![
        [0; 32],
        std::array::from_fn(|i| u8::from(i == 0)),
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    ];
    // p - 1, p and p + 1.
    for low in [0xec, 0xed, 0xee] {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
        points.push(point);
    }
    // The highest bit does not count.
    let masked = points.iter().map(|point| std::array::from_fn(|i| point[i] | if i == 31 { 0x80 } else { 0 }));
    let masked: Vec<_> = masked.collect();
    points.extend(masked);
    points
}

#[test]
fn small_orders_are_refused_by_all() {
    let mut key = public(&RUST, Kex::X25519, &[1; 32]).unwrap();
    for (point, backend) in small_orders().iter().flat_map(|point| all().iter().map(move |b| (point, *b))) {
        key[12..].copy_from_slice(point);
        assert_eq!(agreed(backend, Kex::X25519, &[9; 32], &key), Err(CryptoError::WeakSharedSecret), "{backend:?}");
        // In a hybrid, from either end.
        let row = row(backend, Kex::X25519MlKem768);
        let own = row.generate(&mut rng(1)).unwrap();
        let mut peer = own.public().to_vec();
        peer[1184..].copy_from_slice(point);
        let refused = row.respond(&peer, &mut rng(2)).map(|_| ());
        assert_eq!(refused, Err(CryptoError::WeakSharedSecret), "{backend:?}");
        let mut field = row.respond(own.public(), &mut rng(2)).unwrap().0;
        field[1088..].copy_from_slice(point);
        assert_eq!(told(own.agree(&field)), Err(CryptoError::WeakSharedSecret), "{backend:?}");
    }
}

#[test]
fn what_is_no_point_is_refused_by_all() {
    for (kex, backend) in CURVES.into_iter().flat_map(|kex| all().iter().map(move |b| (kex, *b))) {
        let own = private(kex, 1);
        let good = public(&RUST, kex, &private(kex, 2)).unwrap();
        let refused = |peer: &[u8]| agreed(backend, kex, &own, peer).unwrap_err();
        let head = good.len() - key_len(kex);
        assert_eq!(refused(&[]), CryptoError::InvalidPublicKey, "{backend:?} {kex}");
        assert_eq!(refused(&good[..good.len() - 1]), CryptoError::InvalidPublicKey, "{backend:?} {kex}");
        assert_eq!(refused(&[&good[..], &[0]].concat()), CryptoError::InvalidPublicKey, "{backend:?} {kex}");
        // Bare, which some implementations take.
        assert_eq!(refused(&good[head..]), CryptoError::InvalidPublicKey, "{backend:?} {kex}");
        for other in CURVES.into_iter().filter(|other| *other != kex) {
            let key = public(&RUST, other, &private(other, 2)).unwrap();
            assert_eq!(refused(&key), CryptoError::GroupMismatch, "{backend:?} {kex} {other}");
        }
        if kex == Kex::X25519 {
            continue;
        }
        // The origin, all ones, and another y.
        let (len, mut off) = (private_len(kex), good.clone());
        *off.last_mut().unwrap() ^= 1;
        let with = |fill: u8| [&good[..=head], &vec![fill; 2 * len]].concat();
        for key in [with(0), with(0xff), off] {
            assert_eq!(refused(&key), CryptoError::InvalidPublicKey, "{backend:?} {kex}");
        }
        // The same point, compressed or of the hybrid form.
        let compressed = [&good[..head], &[2 + (good.last().unwrap() & 1)], &good[head + 1..=head + len]].concat();
        let hybrid = [&good[..head], &[6 + (good.last().unwrap() & 1)], &good[head + 1..]].concat();
        for key in [&good[..head], &compressed, &hybrid] {
            assert_eq!(refused(key), CryptoError::InvalidPublicKey, "{backend:?} {kex}");
        }
    }
}

#[test]
fn private_keys_at_the_ends_of_their_range() {
    for (kex, backend) in CURVES.into_iter().flat_map(|kex| all().iter().map(move |b| (kex, *b))) {
        let len = private_len(kex);
        let one: Vec<u8> = (1..=len).map(|i| u8::from(i == len)).collect();
        for private in [&vec![0; len], &vec![0xff; len], &one] {
            assert_eq!(public(backend, kex, private), public(&RUST, kex, private), "{backend:?} {kex} {private:02x?}");
        }
    }
}

#[test]
fn keys_of_ml_kem_are_checked_by_all() {
    for (kex, backend) in WITH_ML_KEM.into_iter().flat_map(|kex| all().iter().map(move |b| (kex, *b))) {
        let (seed, row) = (private(kex, 1), row(backend, kex));
        let own = row.import(&seed).unwrap();
        assert_eq!(own.public(), public(&RUST, kex, &seed).unwrap(), "{backend:?} {kex}");
        // Behind ML-KEM's part, as it should be.
        let curve = curve_len(kex);
        let (public_end, private_end) = (&own.public()[own.public().len() - curve..], &seed[64..]);
        // Of another length, or with a coefficient that is not reduced.
        for len in [0, 767, 769, 1089, 1567] {
            let refused = told(own.agree(&[&vec![0; len], public_end].concat()));
            assert_eq!(refused, Err(CryptoError::InvalidCiphertext), "{backend:?} {kex} {len}");
        }
        let mut key = own.public().to_vec();
        let head = key.len() - key_len(kex) - curve;
        key[head..head + 2].fill(0xff);
        let refused = |key: &[u8]| row.respond(key, &mut rng(1)).map(|_| ()).unwrap_err();
        assert_eq!(refused(&key), CryptoError::InvalidPublicKey, "{backend:?} {kex}");
        assert_eq!(refused(&own.public()[1..]), CryptoError::InvalidPublicKey, "{backend:?} {kex}");
        // What a hybrid sends does not say what it is.
        let of_another = if curve > 0 { CryptoError::InvalidPublicKey } else { CryptoError::GroupMismatch };
        let other = public(&RUST, Kex::X25519, &[1; 32]).unwrap();
        assert_eq!(refused(&other), of_another, "{backend:?} {kex}");
        // Private bytes of any other length, or an expanded key that was damaged.
        let expanded = key_len(kex) * 2 + 32;
        for len in [0, 63, 65, expanded, 64 + expanded] {
            let refused = row.import(&[&vec![1; len], private_end].concat()).map(|_| ());
            assert_eq!(refused, Err(CryptoError::InvalidPrivateKey), "{backend:?} {kex} {len}");
        }
        if curve > 0 {
            let refused = [&own.public()[..curve - 1], &own.public()[..curve]].map(|peer| told(own.agree(peer)));
            assert_eq!(refused, [const { Err(CryptoError::InvalidCiphertext) }; 2], "{backend:?} {kex}");
        }
    }
}

/// Whatever the backend, keys follow from the generator that they are drawn from.
#[test]
fn the_same_randomness_makes_the_same_keys() {
    for (backend, &kex) in all().iter().flat_map(|b| Kex::ALL.iter().map(move |kex| (b.repeatable(), kex))) {
        let drawn = |backend: &Backend| {
            let mut rng = rng(3);
            let own = row(backend, kex).generate(&mut rng).unwrap();
            let (field, secret) = row(backend, kex).respond(own.public(), &mut rng).unwrap();
            (own.public().to_vec(), field, secret.expose().to_vec(), rng.u64())
        };
        assert!(drawn(backend) == drawn(&RUST), "{backend:?} {kex}");
    }
}

/// A simulation is a function of program and seed: the backend is no part of it.
#[test]
fn the_same_seed_gives_the_same_run_with_each() {
    let run = |backend: &'static Backend| {
        let net = Network::new(7);
        let host =
            |name, addr| net.host(name).udp4(addr).stack(|stack| stack.crypto(backend).encrypt_everything()).build();
        let (client, server) = (host("client", "10.0.0.1:3435"), host("server", "10.0.0.2:3435"));
        let listener = server.listen("echo");
        let security = net.block_on(async {
            let echo = net.spawn(async move {
                let flow = listener.accept_async().await.unwrap();
                let said = flow.read_bytes().await.unwrap();
                flow.write(&said).await.unwrap();
                flow
            });
            let flow = client.stack().flow("echo").alloc_async().await.unwrap();
            flow.write(b"hello").await.unwrap();
            assert_eq!(flow.read_bytes().await.unwrap(), b"hello"[..]);
            drop(echo.await);
            flow.as_blocking().security().to_string()
        });
        assert_eq!(client.stack().crypto(), backend);
        (security, net.digest())
    };
    let expected = run(&RUST);
    assert!(expected.0.starts_with("encrypted (X25519MLKEM768, "), "{}", expected.0);
    for backend in all() {
        assert_eq!(run(backend), expected, "{backend:?}");
    }
}

/// What each does itself: otherwise the first would be compared with itself.
#[test]
fn each_has_rows_of_its_own() {
    let own = |backend: &Backend| {
        let aead = |cipher: &Cipher| !std::ptr::eq(backend.aead(*cipher).unwrap(), RUST.aead(*cipher).unwrap());
        let kex = |kex: &Kex| !std::ptr::addr_eq(row(backend, *kex), row(&RUST, *kex));
        let all = CURVES.iter().chain(&ML_KEMS).chain(&HYBRIDS);
        (AEADS.iter().copied().filter(aead).collect::<Vec<_>>(), all.copied().filter(kex).collect::<Vec<_>>())
    };
    let names = [
        "rust",
        #[cfg(feature = "ring")]
        "ring",
        #[cfg(feature = "aws-lc-rs")]
        "aws-lc-rs",
    ];
    assert_eq!(own(&RUST), (vec![], vec![]));
    #[cfg(feature = "ring")]
    assert_eq!(own(&o7s::crypto::backend::RING), ([AEADS[0], AEADS[2], AEADS[3]].to_vec(), vec![]));
    #[cfg(feature = "aws-lc-rs")]
    {
        let backend = &o7s::crypto::backend::AWS_LC_RS;
        assert_eq!(own(backend), (AEADS.to_vec(), CURVES.iter().chain(&HYBRIDS).copied().collect()));
        assert_eq!(own(backend.repeatable()), (AEADS.to_vec(), CURVES.to_vec()));
    }
    assert_eq!(all().iter().map(|backend| backend.name()).collect::<Vec<_>>(), names);
}
