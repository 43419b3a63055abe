//! Private keys as programs write them, and what is signed with them.

use o7s::base::rng::Rng;
use o7s::crypto::pem;
use o7s::crypto::sign::{KeyError, KeyKind, PrivateKey, PublicKey, SignError, Signer};
use o7s::crypto::suite::Digest;

use crate::file;

/// A key of each kind of this build, and the file that it is in.
fn every_key() -> Vec<(KeyKind, &'static str)> {
    let mut all = vec![
        (KeyKind::EcdsaP256, "keys/p256.pem"),
        (KeyKind::EcdsaP384, "keys/p384.pem"),
        (KeyKind::EcdsaP521, "keys/p521.pem"),
        (KeyKind::Rsa, "keys/rsa2048.pem"),
        (KeyKind::Ed25519, "keys/ed25519.pem"),
        (KeyKind::Ed448, "keys/ed448.pem"),
        (KeyKind::MlDsa65, "reference/mldsa/oping.key.pem"),
        (KeyKind::SlhDsaSha2_128s, "reference/slhdsa/oping.key.pem"),
    ];
    all.retain(|(kind, _)| kind.is_available());
    assert!(all.len() >= 4, "ECDSA and Ed25519 are there");
    all
}

fn key(name: &str) -> PrivateKey {
    PrivateKey::from_pem(&file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The content of a PEM file's only private key.
fn der(name: &str) -> Vec<u8> {
    pem::blocks(&file(name)).unwrap()[0].content.to_vec()
}

/// Whether a kind of key takes a digest: the table of the protocol.
fn takes(kind: KeyKind, digest: Digest) -> bool {
    let blake = matches!(digest, Digest::Blake2s256 | Digest::Blake2b512);
    match kind {
        KeyKind::Ed25519 | KeyKind::Ed448 => false,
        KeyKind::Rsa => !blake,
        _ => true,
    }
}

#[test]
fn every_kind_signs_with_the_digests_that_go_with_it() {
    let mut rng = Rng::from_seed([1; 32]);
    for (kind, name) in every_key() {
        let key = key(name);
        assert_eq!(key.public_key().kind(), kind);
        let public = PublicKey::from_spki(key.public_key().spki()).unwrap();
        for named in [None].into_iter().chain(Digest::ALL.iter().copied().map(Some)) {
            let signed = key.sign(b"message", named, &mut rng);
            if let Some(digest) = named.filter(|digest| !takes(kind, *digest)) {
                assert_eq!(signed, Err(SignError::Digest { key: kind, digest }));
                assert_eq!(public.verify(b"message", named, b""), Err(SignError::Digest { key: kind, digest }));
                continue;
            }
            let mut signature = signed.unwrap();
            assert_eq!(public.verify(b"message", named, &signature), Ok(()), "{kind} {named:?}");
            assert_eq!(public.verify(b"massage", named, &signature), Err(SignError::Forged), "{kind} {named:?}");
            let last = signature.len() - 1;
            signature[last] ^= 1;
            assert_eq!(public.verify(b"message", named, &signature), Err(SignError::Forged), "{kind} {named:?}");
            signature[last] ^= 1;
            for wrong in [&signature[..last], &[&signature[..], &[0]].concat(), b""] {
                assert_eq!(public.verify(b"message", named, wrong), Err(SignError::Forged), "{kind} {named:?}");
            }
            if kind == KeyKind::SlhDsaSha2_128s {
                break; // Seconds each, in a build without optimisation, and they ignore the digest.
            }
        }
    }
}

/// Without a digest in the message, ECDSA and RSA sign SHA-256, and lattices do not look at one.
#[test]
fn what_is_signed_without_a_digest() {
    let mut rng = Rng::from_seed([1; 32]);
    for (kind, name) in every_key() {
        let other = match kind {
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 | KeyKind::Rsa => Digest::Sha256,
            KeyKind::MlDsa65 => Digest::Sha3_512,
            _ => continue,
        };
        let key = key(name);
        let signature = key.sign(b"message", None, &mut rng).unwrap();
        assert_eq!(key.public_key().verify(b"message", Some(other), &signature), Ok(()), "{kind}");
    }
}

#[test]
fn what_openssl_signed_is_verified_and_the_other_way_round() {
    // Made by `openssl dgst -sha3-256 -sign`, `openssl pkeyutl -sign -rawin`.
    for (name, digest) in [("p521", Some(Digest::Sha3_256)), ("rsa2048", Some(Digest::Sha3_256)), ("ed448", None)] {
        let key = key(&format!("keys/{name}.pem"));
        if key.public_key().kind().is_available() {
            let signature = file(&format!("keys/{name}.signature"));
            assert_eq!(key.public_key().verify(b"message\n", digest, &signature), Ok(()), "{name}");
        }
    }
}

#[test]
fn keys_are_read_in_the_forms_of_older_programs() {
    let same = |a: &str, b: &str| assert_eq!(key(a).public_key(), key(b).public_key());
    same("keys/p256.pem", "keys/p256.sec1.pem");
    assert_eq!(key("keys/p256.parameters.pem").public_key().kind(), KeyKind::EcdsaP256, "with parameters in front");
    if KeyKind::Rsa.is_available() {
        same("keys/rsa2048.pem", "keys/rsa2048.pkcs1.pem");
    }
}

#[test]
fn keys_that_are_not_taken_say_why() {
    let error = |name: &str| PrivateKey::from_pem(&file(name)).unwrap_err();
    assert_eq!(error("keys/encrypted.pem"), KeyError::Encrypted);
    assert_eq!(error("keys/secp256k1.pem"), KeyError::Unknown);
    assert_eq!(error("reference/ec/ca.pem"), KeyError::NoPrivateKey);
    assert_eq!(error("README.md"), KeyError::NoPrivateKey);
    let two = [file("keys/p256.pem"), file("keys/ed25519.pem")].concat();
    assert_eq!(PrivateKey::from_pem(&two).unwrap_err(), KeyError::Several);
    if KeyKind::Rsa.is_available() {
        assert_eq!(error("keys/rsa1024.pem"), KeyError::RsaSize { bits: 1024 });
    } else {
        assert_eq!(error("keys/rsa1024.pem"), KeyError::Unavailable(KeyKind::Rsa));
    }
}

/// Whatever becomes of a byte of a key file, the key is refused, or it is one that signs.
#[test]
fn damaged_keys_are_refused_or_work() {
    let mut rng = Rng::from_seed([1; 32]);
    for (kind, name) in every_key() {
        let whole = der(name);
        // Each takes a key generation; a few places are enough where that is slow.
        let step = match kind {
            KeyKind::SlhDsaSha2_128s => 37,
            KeyKind::Rsa => 53,
            KeyKind::MlDsa65 => 101,
            _ => 1,
        };
        let mut used = 0;
        for at in (0..whole.len()).step_by(step) {
            assert!(PrivateKey::from_pkcs8(&whole[..at]).is_err(), "{kind}: cut at {at}");
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            if let Ok(key) = PrivateKey::from_pkcs8(&bytes) {
                used += 1;
                if used < 4 {
                    let signature = key.sign(b"message", None, &mut rng).unwrap();
                    assert_eq!(key.public_key().verify(b"message", None, &signature), Ok(()), "{kind}: byte {at}");
                }
            }
        }
        // Of a key with its public part nothing may be changed. Of Edwards curves every secret is a key; of an RSA key some
        // numbers are computed anew, and part of an SLH-DSA key does nothing but make its signatures differ.
        let alone = matches!(kind, KeyKind::Ed25519 | KeyKind::Ed448 | KeyKind::Rsa | KeyKind::SlhDsaSha2_128s);
        assert_eq!(used > 0, alone, "{kind}: {used} of {} changes", whole.len());
        assert!(PrivateKey::from_pkcs8(&[&whole[..], &[0]].concat()).is_err(), "{kind}: something behind it");
    }
}

#[test]
fn ml_dsa_keys_are_read_in_all_three_forms() {
    if !KeyKind::MlDsa65.is_available() {
        return;
    }
    let both = der("reference/mldsa/oping.key.pem");
    let public = key("reference/mldsa/oping.key.pem").public_key().clone();
    // SEQUENCE { version, algorithm, OCTET STRING { SEQUENCE { OCTET STRING seed, OCTET STRING expanded } } }
    let at = 28;
    assert_eq!(both[at - 4..at + 2], [0x30, 0x82, 0x0f, 0xe6, 4, 32]);
    let (seed, expanded) = (&both[at + 2..at + 34], &both[at + 38..]);
    assert_eq!(expanded.len(), 4032);
    let with = |private: &[u8]| {
        let tlv = |tag: u8, content: &[u8]| {
            let len = u16::try_from(content.len()).unwrap().to_be_bytes();
            let header = if content.len() < 128 { vec![tag, len[1]] } else { vec![tag, 0x82, len[0], len[1]] };
            [&header[..], content].concat()
        };
        let algorithm = b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12";
        PrivateKey::from_pkcs8(&tlv(0x30, &[&[2, 1, 0], &algorithm[..], &tlv(4, private)].concat()))
    };
    let seed_alone = [&[0x80, 32], seed].concat();
    let expanded_alone = [&[4, 0x82, 0x0f, 0xc0], expanded].concat();
    let mut rng = Rng::from_seed([1; 32]);
    for (what, private) in [("seed", &seed_alone), ("expanded", &expanded_alone)] {
        let key = with(private).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(key.public_key(), &public, "{what}");
        let signature = key.sign(b"message", None, &mut rng).unwrap();
        assert_eq!(public.verify(b"message", None, &signature), Ok(()), "{what}");
    }
    // Halves of different keys, a secret vector out of range, a wrong hash, a wrong length.
    let mut changed = both.clone();
    changed[at + 10] ^= 1;
    assert_eq!(PrivateKey::from_pkcs8(&changed).unwrap_err(), KeyError::Inconsistent);
    let mut changed = both.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(PrivateKey::from_pkcs8(&changed).unwrap_err(), KeyError::Inconsistent);
    let mut out_of_range = expanded_alone.clone();
    out_of_range[4 + 128] = 0xff;
    assert_eq!(with(&out_of_range).unwrap_err(), KeyError::Malformed);
    let mut other_hash = expanded_alone.clone();
    other_hash[4 + 64] ^= 1;
    assert_eq!(with(&other_hash).unwrap_err(), KeyError::Inconsistent);
    assert_eq!(with(&[&[0x80, 31], &seed[1..]].concat()).unwrap_err(), KeyError::Malformed);
    assert_eq!(with(seed).unwrap_err(), KeyError::Malformed);
}

#[test]
fn public_keys_have_one_encoding() {
    for (kind, name) in every_key() {
        let spki = key(name).public_key().spki().to_vec();
        assert!(PublicKey::from_spki(&spki).is_ok());
        assert!(PublicKey::from_spki(&[&spki[..], &[0]].concat()).is_err(), "{kind}: something behind it");
        for len in 0..spki.len().min(100) {
            assert!(PublicKey::from_spki(&spki[..len]).is_err(), "{kind}: cut at {len}");
        }
        // Whatever is changed in front of the key's own bytes, it is none.
        let front = spki.len().min(if kind == KeyKind::Rsa { 30 } else { 12 });
        for at in 0..front {
            let mut changed = spki.clone();
            changed[at] ^= 1;
            assert!(PublicKey::from_spki(&changed).is_err(), "{kind}: byte {at}");
        }
    }
    let spki = key("keys/p256.pem").public_key().spki().to_vec();
    let mut off_the_curve = spki.clone();
    off_the_curve[90] ^= 1;
    assert_eq!(PublicKey::from_spki(&off_the_curve), Err(KeyError::Malformed));
    let compressed = [&[0x30, 0x39], &spki[2..23], &[3, 0x22, 0, 2 + (spki[90] & 1)], &spki[27..59]].concat();
    assert_eq!(PublicKey::from_spki(&compressed), Err(KeyError::Malformed), "compressed points are another encoding");
}

#[test]
fn keys_that_anybody_can_sign_for_are_refused() {
    let ed25519 = |point: [u8; 32]| {
        PublicKey::from_spki(&[&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &point].concat())
    };
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(ed25519(neutral), Err(KeyError::SmallOrder));
    assert_eq!(ed25519([0; 32]), Err(KeyError::SmallOrder));
    if KeyKind::Ed448.is_available() {
        let ed448 = |point: [u8; 57]| {
            PublicKey::from_spki(&[&b"\x30\x43\x30\x05\x06\x03\x2b\x65\x71\x03\x3a\x00"[..], &point].concat())
        };
        let minus_one = |sign| {
            let mut point = [0xff; 57];
            (point[0], point[28], point[56]) = (0xfe, 0xfe, sign);
            point
        };
        for small in [[0; 57], minus_one(0), minus_one(0x80)] {
            assert_eq!(ed448(small), Err(KeyError::SmallOrder));
        }
        let mut point = [0; 57];
        point[0] = 1;
        assert_eq!(ed448(point), Err(KeyError::SmallOrder), "the neutral element");
        // A number as it is, and the same one plus the prime.
        let found = (2..30).filter(|&low| {
            let mut more = [0xff; 57];
            (more[0], more[28], more[56]) = (low - 1, 0xff, 0);
            more[1..28].fill(0);
            (point[0], point[56]) = (low, 0);
            assert_eq!(ed448(more), Err(KeyError::Malformed), "another encoding of {low}");
            ed448(point).is_ok()
        });
        assert!(found.count() > 0, "some of them are keys");
    }
}

/// The sizes of an RSA key are looked at before anything is computed with it: a modulus of a megabit costs nothing.
#[test]
fn rsa_keys_of_other_sizes_are_refused() {
    if !KeyKind::Rsa.is_available() {
        return;
    }
    let tlv = |tag: u8, content: &[u8]| {
        let len = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x83, len[1], len[2], len[3]], content].concat()
    };
    let shortest = |tag: u8, content: &[u8]| match content.len() {
        len @ 0..0x80 => [&[tag, len as u8], content].concat(),
        len @ 0x80..0x100 => [&[tag, 0x81, len as u8], content].concat(),
        len @ 0x100..0x10000 => [&[tag, 0x82, (len >> 8) as u8, len as u8], content].concat(),
        _ => tlv(tag, content),
    };
    let rsa = |bits: usize, last: u8, exponent: &[u8]| {
        let mut n = vec![0xff; bits / 8];
        *n.last_mut().unwrap() = last;
        let key = shortest(0x30, &[shortest(2, &[&[0], &n[..]].concat()), shortest(2, exponent)].concat());
        let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
        let spki = [&algorithm[..], &shortest(3, &[&[0], &key[..]].concat())].concat();
        PublicKey::from_spki(&shortest(0x30, &spki)).map(|key| key.kind())
    };
    for bits in [8, 1024, 2040, 8200, 16384, 1 << 20] {
        assert_eq!(rsa(bits, 0xff, &[1, 0, 1]), Err(KeyError::RsaSize { bits }));
    }
    for bits in [2048, 3072, 8192] {
        assert_eq!(rsa(bits, 0xff, &[1, 0, 1]), Ok(KeyKind::Rsa));
    }
    for exponent in [&[1][..], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1], &[0]] {
        assert_eq!(rsa(2048, 0xff, exponent), Err(KeyError::RsaExponent), "{exponent:?}");
    }
    assert_eq!(rsa(2048, 0xfe, &[1, 0, 1]), Err(KeyError::RsaExponent), "an even modulus");
    assert_eq!(rsa(2048, 0xff, &[0x81]), Err(KeyError::Malformed), "a negative exponent");
    assert_eq!(rsa(2048, 0xff, &[0, 1]), Err(KeyError::Malformed), "not the shortest form");
}

#[test]
fn nothing_secret_is_printed() {
    for (kind, name) in every_key() {
        let key = key(name);
        assert_eq!(format!("{key:?}"), format!("PrivateKey({kind}, ..)"));
    }
}
