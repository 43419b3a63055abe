//! Project Wycheproof: cases that implementations got wrong, of every primitive of ours that it has, on every backend.
//!
//! The number of cases is part of each test, so that a set that is empty or has another name does not pass. What is
//! "acceptable" there is decided here: an encoding that is not the exact one is refused, and so is an agreement that gives
//! zero; points on the twist and numbers that are not reduced are taken, as RFC 7748 has it.
//!
//! Not run, because no interface of ours can express them:
//!
//! | what | why |
//! |---|---|
//! | AES-GCM and ChaCha20-Poly1305 with additional data, nonces of other than 12 bytes or tags of other than 16 | there is no additional data, and nonces and tags are arrays |
//! | HKDF with an output of more than 255 hashes | there is only one length, 32 bytes; of other lengths the part in common is compared |
//! | HMAC | it is inside of HKDF alone |
//!
//! There are no cases for groups of finite fields, the hybrids, AES in counter mode, and HKDF with SHA-3 and BLAKE2: the
//! vectors of the reference stand for them.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::convert::Infallible;

use o7s::crypto::backend::{Backend, KeyExchange, all};
use o7s::crypto::kdf::hkdf;
use o7s::crypto::suite::{Cipher, Kdf, Kex};
use o7s::crypto::{CryptoError, SharedSecret};
use wycheproof::{TestResult, aead, ecdh, hkdf as hkdf_cases, mlkem, xdh};

/// Rows of every backend.
fn rows(kex: Kex) -> impl Iterator<Item = (&'static Backend, &'static dyn KeyExchange)> {
    all().iter().map(move |backend| (*backend, backend.exchange(kex).unwrap()))
}

/// What is in front of a key of so many bytes when it is transmitted.
fn prefix(row: &dyn KeyExchange, len: usize) -> Vec<u8> {
    let key = row.generate(&mut o7s::base::rng::Rng::from_seed([1; 32])).unwrap();
    key.public()[..key.public().len() - len].to_vec()
}

/// A private number in as many bytes as the group has.
fn padded(private: &[u8], len: usize) -> Vec<u8> {
    let start = private.iter().take_while(|byte| **byte == 0).count();
    [&vec![0; len - (private.len() - start)][..], &private[start..]].concat()
}

/// A source of "random" bytes that are given.
struct Given<'a>(&'a [u8]);

impl rand_core::TryRng for Given<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unimplemented!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unimplemented!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        let (taken, rest) = self.0.split_at(to.len());
        to.copy_from_slice(taken);
        self.0 = rest;
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Given<'_> {}

/// A NIST curve: its cases, whether with bare points, the bytes of a coordinate, and the cases there are.
fn nist(set: ecdh::TestName, kex: Kex, bare: bool, len: usize, expected: usize) {
    let set = ecdh::TestSet::load(set).unwrap();
    let mut run = 0;
    for (test, (backend, row)) in
        set.test_groups.iter().flat_map(|g| &g.tests).flat_map(|t| rows(kex).map(move |r| (t, r)))
    {
        let public =
            if bare { [prefix(row, 1 + 2 * len), test.public_key.to_vec()].concat() } else { test.public_key.to_vec() };
        let agreed = row.import(&padded(&test.private_key, len)).unwrap().agree(&public);
        let at = format!("{backend:?} {kex} {}: {}", test.tc_id, test.comment);
        if test.result == TestResult::Valid {
            assert_eq!(agreed.unwrap().expose(), &test.shared_secret[..], "{at}");
        } else {
            assert!(agreed.is_err(), "{at}");
        }
        run += 1;
    }
    assert_eq!(run, expected * all().len());
}

#[test]
fn ecdh_with_encoded_keys() {
    nist(ecdh::TestName::EcdhSecp256r1, Kex::Prime256v1, false, 32, 612);
    nist(ecdh::TestName::EcdhSecp384r1, Kex::Secp384r1, false, 48, 1047);
    nist(ecdh::TestName::EcdhSecp521r1, Kex::Secp521r1, false, 66, 916);
}

#[test]
fn ecdh_with_bare_points() {
    nist(ecdh::TestName::EcdhSecp256r1Ecpoint, Kex::Prime256v1, true, 32, 355);
    nist(ecdh::TestName::EcdhSecp384r1Ecpoint, Kex::Secp384r1, true, 48, 790);
    nist(ecdh::TestName::EcdhSecp521r1Ecpoint, Kex::Secp521r1, true, 66, 661);
}

fn montgomery(set: xdh::TestName, kex: Kex, len: usize, expected: (usize, usize, usize)) {
    let set = xdh::TestSet::load(set).unwrap();
    let (mut run, mut zero, mut invalid) = (0, 0, 0);
    for (test, (backend, row)) in
        set.test_groups.iter().flat_map(|g| &g.tests).flat_map(|t| rows(kex).map(move |r| (t, r)))
    {
        let public = [prefix(row, len), test.public_key.to_vec()].concat();
        let agreed = row.import(&test.private_key).unwrap().agree(&public);
        let at = format!("{backend:?} {kex} {}: {}", test.tc_id, test.comment);
        if test.result == TestResult::Invalid {
            assert!(agreed.is_err(), "{at}");
            invalid += 1;
        } else if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) {
            assert_eq!(agreed.err(), Some(CryptoError::WeakSharedSecret), "{at}");
            zero += 1;
        } else {
            assert_eq!(agreed.unwrap().expose(), &test.shared_secret[..], "{at}");
        }
        run += 1;
    }
    let backends = all().len();
    assert_eq!((run, zero, invalid), (expected.0 * backends, expected.1 * backends, expected.2 * backends));
}

#[test]
fn x25519() {
    montgomery(xdh::TestName::X25519, Kex::X25519, 32, (518, 31, 0));
}

#[test]
fn x448() {
    montgomery(xdh::TestName::X448, Kex::X448, 56, (510, 11, 12));
}

/// A set of cases of ML-KEM, each on every backend: `check` says what comes of it, and whether that is right for a case that
/// is valid.
fn ml_kem(
    kex: Kex,
    set: mlkem::TestName,
    expected: usize,
    check: impl Fn(&dyn KeyExchange, &mlkem::Test) -> Result<bool, CryptoError>,
) {
    let set = mlkem::TestSet::load(set).unwrap();
    let mut run = 0;
    for (test, (backend, row)) in
        set.test_groups.iter().flat_map(|g| &g.tests).flat_map(|t| rows(kex).map(move |r| (t, r)))
    {
        let result = check(row, test);
        let at = format!("{backend:?} {kex} {}: {} {result:?}", test.tc_id, test.comment);
        match test.result {
            TestResult::Valid => assert_eq!(result, Ok(true), "{at}"),
            _ => assert!(result.is_err(), "{at}"),
        }
        run += 1;
    }
    assert_eq!(run, expected * all().len(), "{kex}");
}

fn bytes(field: &Option<wycheproof::ByteString>) -> &[u8] {
    field.as_ref().map_or(&[], |field| field)
}

fn transmitted(row: &dyn KeyExchange, key: &[u8]) -> Vec<u8> {
    let len = match row.kex() {
        Kex::MlKem512 => 800,
        Kex::MlKem768 => 1184,
        _ => 1568,
    };
    [&prefix(row, len), key].concat()
}

fn is(secret: &SharedSecret, test: &mlkem::Test) -> bool {
    secret.expose() == bytes(&test.shared_secret)
}

#[test]
fn ml_kem_decapsulation() {
    use mlkem::TestName::{MlKem512, MlKem768, MlKem1024};
    for (kex, set, cases) in
        [(Kex::MlKem512, MlKem512, 200), (Kex::MlKem768, MlKem768, 201), (Kex::MlKem1024, MlKem1024, 202)]
    {
        ml_kem(kex, set, cases, |row, test| {
            let key = row.import(bytes(&test.seed))?;
            let is_public = key.public() == transmitted(row, bytes(&test.encaps_key));
            Ok(is(&key.agree(bytes(&test.ct))?, test) && is_public)
        });
    }
}

#[test]
fn ml_kem_encapsulation() {
    use mlkem::TestName::{MlKem512Encaps, MlKem768Encaps, MlKem1024Encaps};
    let sets = [
        (Kex::MlKem512, MlKem512Encaps, 261),
        (Kex::MlKem768, MlKem768Encaps, 265),
        (Kex::MlKem1024, MlKem1024Encaps, 269),
    ];
    for (kex, set, cases) in sets {
        ml_kem(kex, set, cases, |row, test| {
            let public = transmitted(row, bytes(&test.encaps_key));
            let mut given = Given(bytes(&test.msg));
            let (ciphertext, secret) = row.respond(&public, &mut given)?;
            Ok(ciphertext == bytes(&test.ct) && is(&secret, test))
        });
    }
}

#[test]
fn ml_kem_key_generation() {
    use mlkem::TestName::{MlKem512KeyGenSeed, MlKem768KeyGenSeed, MlKem1024KeyGenSeed};
    let sets = [
        (Kex::MlKem512, MlKem512KeyGenSeed),
        (Kex::MlKem768, MlKem768KeyGenSeed),
        (Kex::MlKem1024, MlKem1024KeyGenSeed),
    ];
    for (kex, set) in sets {
        ml_kem(kex, set, 100, |row, test| {
            let public = transmitted(row, bytes(&test.encaps_key));
            // Both forms, and that the one is what becomes of the other.
            let both = [bytes(&test.seed), bytes(&test.decaps_key)].concat();
            let forms = [bytes(&test.seed), bytes(&test.decaps_key), &both];
            forms.iter().try_fold(true, |all, form| Ok(row.import(form)?.public() == public && all))
        });
    }
}

#[test]
fn ml_kem_expanded_keys() {
    use mlkem::TestName::{MlKem512SemiExpandedDecaps, MlKem768SemiExpandedDecaps, MlKem1024SemiExpandedDecaps};
    let sets = [
        (Kex::MlKem512, MlKem512SemiExpandedDecaps),
        (Kex::MlKem768, MlKem768SemiExpandedDecaps),
        (Kex::MlKem1024, MlKem1024SemiExpandedDecaps),
    ];
    for (kex, set) in sets {
        ml_kem(kex, set, 9, |row, test| {
            let key = row.import(bytes(&test.decaps_key))?;
            Ok(is(&key.agree(bytes(&test.ct))?, test))
        });
    }
}

#[test]
fn hkdf_outputs() {
    use hkdf_cases::TestName::{HkdfSha256, HkdfSha384, HkdfSha512};
    for (kdf, set, cases) in
        [(Kdf::Sha256, HkdfSha256, 83), (Kdf::Sha384, HkdfSha384, 80), (Kdf::Sha512, HkdfSha512, 80)]
    {
        let set = hkdf_cases::TestSet::load(set).unwrap();
        let (mut run, mut too_long) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            if test.result == TestResult::Invalid {
                assert!(test.flags.contains(&hkdf_cases::TestFlag::SizeTooLarge), "{kdf} {}", test.tc_id);
                too_long += 1;
                continue;
            }
            let mut out = [0; 32];
            hkdf(kdf, &test.salt, &test.ikm, &test.info, &mut out);
            let common = test.okm.len().min(out.len());
            assert_eq!(out[..common], test.okm[..common], "{kdf} {}: {}", test.tc_id, test.comment);
            run += 1;
        }
        assert_eq!((run, too_long), (cases, 3), "{kdf}");
    }
}

/// Cases of an AEAD cipher: those that run, and those that are skipped for one of the reasons above.
fn aeads(set: aead::TestName, cipher_of: impl Fn(usize) -> Cipher, expected: (usize, usize)) {
    let set = aead::TestSet::load(set).unwrap();
    let (mut run, mut skipped) = (0, 0);
    for (group, test) in set.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test))) {
        if group.nonce_size != 96 || group.tag_size != 128 || !test.aad.is_empty() {
            skipped += 1;
            continue;
        }
        for backend in all() {
            let mut key = [0; 32];
            key[..test.key.len()].copy_from_slice(&test.key);
            let (nonce, tag) = (test.nonce[..].try_into().unwrap(), test.tag[..].try_into().unwrap());
            let key = backend.aead(cipher_of(group.key_size)).unwrap().schedule(&key);
            let at = format!("{backend:?} {:?} {}: {}", set.algorithm, test.tc_id, test.comment);
            let mut data = test.ct.to_vec();
            let opened = key.open(&nonce, &mut data, &tag);
            if test.result == TestResult::Valid {
                assert_eq!((opened, &data[..]), (Ok(()), &test.pt[..]), "{at}");
                assert_eq!((key.seal(&nonce, &mut data), &data[..]), (Ok(tag), &test.ct[..]), "{at}");
            } else {
                assert_eq!((opened, &data[..]), (Err(CryptoError::Forged), &test.ct[..]), "{at}");
            }
        }
        run += 1;
    }
    assert_eq!((run, skipped), expected, "{:?}", set.algorithm);
}

#[test]
fn aes_gcm() {
    let cipher = |bits| match bits {
        128 => Cipher::Aes128Gcm,
        192 => Cipher::Aes192Gcm,
        _ => Cipher::Aes256Gcm,
    };
    aeads(aead::TestName::AesGcm, cipher, (145, 171));
}

#[test]
fn chacha20_poly1305() {
    aeads(aead::TestName::ChaCha20Poly1305, |_| Cipher::ChaCha20Poly1305, (45, 280));
}
