use alloc::string::{String, ToString};

use base64ct::{Base64, Encoding};
use ml_kem::{KeyInit, MlKem512};
use proptest::prelude::*;

use super::*;
use crate::base::rng::Rng;
use crate::crypto::der::{element, integer};

const ML_KEM_512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x04\x01";
const INVALID: KemKeyError = KemKeyError::Crypto(CryptoError::InvalidPrivateKey);

fn rng() -> Rng {
    Rng::from_seed([3; 32])
}

/// A PKCS#8 key around these parts of a private key.
fn pkcs8(algorithm: &[u8], parts: &[u8]) -> Vec<u8> {
    let algorithm = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[algorithm])]);
    element(SEQUENCE, &[&integer(&[]), &algorithm, &element(OCTET_STRING, &[parts])])
}

#[allow(deprecated, reason = "other programs write such keys")]
fn expanded(seed: [u8; 64]) -> Vec<u8> {
    use ml_kem::ExpandedKeyEncoding;
    type Key = <MlKem512 as ml_kem::Kem>::DecapsulationKey;
    Key::new(&seed.into()).to_expanded_bytes().to_vec()
}

fn seed_only(seed: &[u8]) -> Vec<u8> {
    element(SEED, &[seed])
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, &[bytes])
}

fn both(seed: &[u8], expanded: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&octets(seed), &octets(expanded)])
}

fn block(label: &str, content: &[u8]) -> String {
    alloc::format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", Base64::encode_string(content))
}

fn private_pem() -> String {
    block(PRIVATE_LABEL, &pkcs8(ML_KEM_512, &seed_only(&[7; 64])))
}

#[test]
fn keys_of_all_kinds_lead_both_ends_to_one_session_key() {
    for &kex in Kex::ALL {
        if !kex.is_kem() {
            assert_eq!(KemKey::generate(kex, &mut rng()).err(), Some(CryptoError::KexUnavailable(kex)));
            continue;
        }
        let key = KemKey::generate(kex, &mut rng()).unwrap();
        let sent = key.public_key().encapsulate(Kdf::Sha512, &mut rng()).unwrap();
        assert_eq!(Some(sent.ciphertext().len()), kex.ciphertext_len(), "{kex}");
        assert_eq!((key.kex(), key.public_key().kex(), sent.kex()), (kex, kex, kex));
        assert_eq!(key.decapsulate(sent.ciphertext(), Kdf::Sha512).unwrap(), sent.into_key());
        for len in [0, 768, 769] {
            let answer = key.decapsulate(&alloc::vec![0; len], Kdf::Sha256);
            assert_eq!(answer.is_ok(), kex.ciphertext_len() == Some(len), "{kex}");
        }
    }
}

/// OpenSSL writes the last of them.
#[test]
fn private_keys_have_three_forms() {
    let (seed, whole) = ([7; 64], expanded([7; 64]));
    let public = KemKey::from_pkcs8(&pkcs8(ML_KEM_512, &seed_only(&seed))).unwrap().public_key();
    for form in [octets(&whole), both(&seed, &whole)] {
        assert_eq!(KemKey::from_pkcs8(&pkcs8(ML_KEM_512, &form)).unwrap().public_key(), public);
    }
    assert_eq!(KemPublicKey::from_spki(public.as_bytes()).unwrap(), public);
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let (seed, other) = ([7; 64], expanded([8; 64]));
    assert_eq!(KemKey::from_pkcs8(&pkcs8(ML_KEM_512, &both(&seed, &other))).unwrap_err(), INVALID);
    // Secret part, public part, its hash, and what a bad ciphertext leads to.
    for at in [0, 800, 1570, 1631] {
        let mut whole = expanded(seed);
        whole[at] ^= 1;
        assert_eq!(KemKey::from_pkcs8(&pkcs8(ML_KEM_512, &both(&seed, &whole))).unwrap_err(), INVALID, "{at}");
        let alone = KemKey::from_pkcs8(&pkcs8(ML_KEM_512, &octets(&whole)));
        assert_eq!(alone.err(), [800, 1570].contains(&at).then_some(INVALID), "{at}: all that a hash covers");
    }
}

#[test]
fn other_keys_are_told_apart() {
    let seed = seed_only(&[7; 64]);
    let algorithm = |oid: &[u8]| KemKey::from_pkcs8(&pkcs8(oid, &seed)).err();
    assert_eq!(algorithm(b"\x2b\x65\x6e"), Some(KemKeyError::Algorithm), "X25519");
    assert_eq!(algorithm(b"\x60\x86\x48\x01\x65\x03\x04\x04\x04"), Some(KemKeyError::Algorithm));
    assert_eq!(algorithm(ML_KEM_512), None);
    let form = |der: &[u8]| KemKey::from_pkcs8(der).err();
    let good = pkcs8(ML_KEM_512, &seed);
    assert_eq!(form(&good[..good.len() - 1]), Some(KemKeyError::Form));
    assert_eq!(form(&[&good[..], &[0]].concat()), Some(KemKeyError::Form));
    assert_eq!(form(&pkcs8(ML_KEM_512, &[&seed[..], &seed].concat())), Some(KemKeyError::Form));
    assert_eq!(form(&pkcs8(ML_KEM_512, &seed_only(&[7; 63]))), Some(INVALID));
    assert_eq!(form(&pkcs8(ML_KEM_512, &[])), Some(KemKeyError::Form));
    // Attributes and a public key behind it, as version 1 has them.
    let algorithm = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[ML_KEM_512])]);
    let more = |version: &[u8], last: u8| {
        let (attributes, last) = (element(0xa0, &[]), element(last, &[&[0, 1]]));
        form(&element(SEQUENCE, &[&integer(version), &algorithm, &octets(&seed), &attributes, &last]))
    };
    assert_eq!(more(&[1], 0x81), None);
    assert_eq!((more(&[2], 0x81), more(&[1], SEED)), (Some(KemKeyError::Form), Some(KemKeyError::Form)));
}

#[test]
fn pem_files_are_read_whatever_the_ends_of_their_lines() {
    let text = private_pem();
    let public = KemKey::from_pem(text.as_bytes()).unwrap().public_key();
    for other in [text.replace('\n', "\r\n"), alloc::format!("what it is for\n{text}\n \n"), text.trim_end().into()] {
        assert_eq!(KemKey::from_pem(other.as_bytes()).unwrap().public_key(), public, "{other:?}");
    }
    let spki = block(PUBLIC_LABEL, public.as_bytes());
    assert_eq!(KemPublicKey::from_pem(spki.as_bytes()).unwrap(), public);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let text = private_pem();
    let error = |text: &str| KemKey::from_pem(text.as_bytes()).unwrap_err().to_string();
    let block = |label| block(label, b"x");
    assert!(error("").starts_with("not a PEM file with one PRIVATE KEY in it"));
    assert!(error(&[&text[..], &text].concat()).contains("no other block"));
    assert!(error(&block("ENCRYPTED PRIVATE KEY")).contains("without a passphrase"));
    assert_eq!(error(&block("PUBLIC KEY")), "the file has a \"PUBLIC KEY\" and no \"PRIVATE KEY\"");
    assert!(error(&block(PRIVATE_LABEL)).contains("PKCS#8"));
    assert_eq!(
        error(&text.replacen('M', "*", 1)),
        "line 1: the block PRIVATE KEY that begins here is not base64: the file is damaged"
    );
    assert!(error(&text[..text.len() - 4]).ends_with("has no end: the file is cut short"));
    let public = KemPublicKey::from_pem(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(public, "the file has a \"PRIVATE KEY\" and no \"PUBLIC KEY\"");
    assert!(KemKey::from_raw(&[0; 2400]).unwrap_err().to_string().contains("2400 bytes"));
    assert!(KemPublicKey::from_raw(&[0; 1120]).unwrap_err().to_string().contains("1120 bytes"), "a ciphertext");
}

#[test]
fn keys_of_hybrids_are_bare() {
    let key = KemKey::generate(Kex::X25519MlKem768, &mut rng()).unwrap();
    assert_eq!(KemPublicKey::from_raw(key.public_key().as_bytes()).unwrap(), key.public_key());
    for len in [2432, 3224] {
        assert_eq!(KemKey::from_raw(&alloc::vec![7; len]).unwrap_err(), INVALID);
    }
    // A coefficient out of range, and a point of small order.
    let mut public = key.public_key().as_bytes().to_vec();
    public[..2].fill(0xff);
    assert_eq!(KemPublicKey::from_raw(&public).unwrap_err(), CryptoError::InvalidPublicKey.into());
    let mut public = key.public_key().as_bytes().to_vec();
    public[1184..].fill(0);
    assert_eq!(KemPublicKey::from_raw(&public).unwrap_err(), CryptoError::WeakSharedSecret.into());
}

#[test]
fn public_keys_are_checked_when_they_are_read() {
    let public = KemKey::from_pem(private_pem().as_bytes()).unwrap().public_key();
    let mut over = public.as_bytes().to_vec();
    over[22..24].fill(0xff);
    assert_eq!(KemPublicKey::from_spki(&over).unwrap_err(), CryptoError::InvalidPublicKey.into());
    let x25519 = super::super::KeyPair::generate(Kex::X25519, &mut rng()).unwrap();
    assert_eq!(KemPublicKey::from_spki(x25519.public()).unwrap_err(), KemKeyError::Algorithm);
    assert_eq!(KemPublicKey::from_spki(&public.as_bytes()[1..]).unwrap_err(), KemKeyError::Form);
}

#[test]
fn secrets_are_not_printed() {
    let key = KemKey::from_pem(private_pem().as_bytes()).unwrap();
    let sent = key.public_key().encapsulate(Kdf::Sha256, &mut rng()).unwrap();
    assert_eq!(alloc::format!("{key:?} {sent:?}"), "KemKey(ML-KEM-512, ..) Encapsulated(ML-KEM-512, ..)");
    assert_eq!(alloc::format!("{:?}", key.public_key()), "KemPublicKey(ML-KEM-512, 822 bytes)");
}

proptest! {
    #[test]
    fn no_file_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (mut pem, mut der) = (private_pem().into_bytes(), pkcs8(ML_KEM_512, &seed_only(&[7; 64])));
        for (at, byte) in changes {
            let (in_pem, in_der) = (at.index(pem.len()), at.index(der.len()));
            (pem[in_pem], der[in_der]) = (byte, byte);
        }
        let _ = KemKey::from_pem(&pem).is_ok();
        let _ = KemKey::from_pkcs8(&der).is_ok();
        let _ = KemPublicKey::from_spki(&der).is_ok();
    }
}
