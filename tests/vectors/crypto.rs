//! Numbers, key derivation, key agreement and packets.

use core::convert::Infallible;

use o7s::base::buf::PacketBuf;
use o7s::crypto::kdf::hkdf;
use o7s::crypto::kex::{self, KeyPair};
use o7s::crypto::protect::Protection;
use o7s::crypto::suite::{Cipher, Digest, Kdf, Kex};
use o7s::crypto::{SessionKey, backend, hash};
use serde_json::Value;

use super::{bytes, entries, from_hex, nid, oap};

/// "Randomness" that was drawn when the vectors were made.
struct Recorded(Vec<u8>);

impl rand_core::TryRng for Recorded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unimplemented!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unimplemented!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        to.copy_from_slice(&self.0.drain(..to.len()).collect::<Vec<u8>>());
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Recorded {}

fn session_key(entry: &Value) -> SessionKey {
    SessionKey::from_bytes(bytes(entry, "session_key").try_into().unwrap())
}

/// 0 is no algorithm; where a KDF is needed the reference then takes SHA-256.
fn kdf_of(entry: &Value) -> Kdf {
    Kdf::from_nid(nid(entry, "kdf_nid")).unwrap_or(Kdf::Sha256)
}

#[test]
fn names_numbers_and_ranks() {
    fn check<T: Copy + std::fmt::Debug + PartialEq>(list: &Value, all: &[T], row: impl Fn(T) -> (&'static str, u16)) {
        // The file lists them in order of rank, but a JSON object has no order once it is read.
        let list = list.as_object().unwrap();
        assert_eq!(list.len(), all.len());
        for &algorithm in all {
            let (name, number) = row(algorithm);
            assert_eq!(list[name].as_u64(), Some(number.into()), "{algorithm:?}");
        }
    }
    let nids = oap("nids");
    check(&nids["cipher"], Cipher::ALL, |c| (c.name(), c.nid()));
    check(&nids["kdf_and_digest"], Digest::ALL, |d| (d.name(), d.nid()));
    check(&nids["kex_local_only_never_on_the_wire"], Kex::ALL, |k| (k.name(), k.nid()));

    let text = include_str!("../data/vectors/oap.json");
    let ranked = |names: Vec<&str>| {
        let places: Vec<usize> = names.iter().map(|name| text.find(&format!("\"{name}\": ")).unwrap()).collect();
        assert!(places.is_sorted(), "{names:?} are in the order of the file, which is by rank");
    };
    ranked(Cipher::ALL.iter().map(|c| c.name()).collect());
    ranked(Digest::ALL.iter().map(|d| d.name()).collect());
    ranked(Kex::ALL.iter().map(|k| k.name()).collect());
}

#[test]
fn hkdf_outputs() {
    for entry in entries("hkdf") {
        let mut out = [0; 32];
        let info = entry["info_ascii"].as_str().unwrap();
        hkdf(kdf_of(&entry), &bytes(&entry, "salt"), &bytes(&entry, "ikm"), info.as_bytes(), &mut out);
        assert_eq!(out[..], bytes(&entry, "okm"), "{entry}");
    }
}

/// The private bytes in a PKCS#8 key (RFC 5958): around RFC 5915, RFC 8410 or a number; of ML-KEM the seed.
pub(super) fn raw_private(group: Kex, pkcs8: &[u8]) -> &[u8] {
    let behind = |marker: &[u8], len: Option<usize>| {
        let at = pkcs8.windows(marker.len()).position(|bytes| bytes == marker).unwrap() + marker.len();
        len.map_or(&pkcs8[at..], |len| &pkcs8[at..at + len])
    };
    match group {
        Kex::Prime256v1 => behind(b"\x02\x01\x01\x04\x20", Some(32)),
        Kex::Secp384r1 => behind(b"\x02\x01\x01\x04\x30", Some(48)),
        Kex::Secp521r1 => behind(b"\x02\x01\x01\x04\x42", Some(66)),
        Kex::X25519 => behind(b"\x04\x22\x04\x20", Some(32)),
        Kex::X448 => behind(b"\x04\x3a\x04\x38", Some(56)),
        // The parameters end with the generator; an octet string around an integer follows, both shorter than 128 bytes.
        Kex::Ffdhe2048 | Kex::Ffdhe3072 | Kex::Ffdhe4096 => &behind(b"\xff\xff\x02\x01\x02", None)[4..],
        Kex::MlKem512 | Kex::MlKem768 | Kex::MlKem1024 => behind(b"\x04\x40", Some(64)),
        // Of the hybrids there is no PKCS#8.
        _ => pkcs8,
    }
}

#[test]
fn key_agreements() {
    let mut done = Vec::new();
    for entry in entries("dhe") {
        let group: Kex = entry["group"].as_str().unwrap().parse().unwrap();
        assert_eq!(nid(&entry, "group_nid"), group.nid());
        let (client_kex, server_kex) = (bytes(&entry, "client_kex"), bytes(&entry, "server_kex"));
        let pair = |field: &str| KeyPair::from_private(group, raw_private(group, &bytes(&entry, field))).unwrap();
        let (client, server) = (pair("client_private_pkcs8"), pair("server_private_pkcs8"));
        assert_eq!((client.public(), server.public()), (&client_kex[..], &server_kex[..]), "{entry}");
        assert_eq!(kex::algorithm_of(&client_kex), Ok(group));

        let (first, second) =
            if client_kex <= server_kex { (&client_kex, &server_kex) } else { (&server_kex, &client_kex) };
        assert_eq!(hash::sha256(&[first, second])[..], bytes(&entry, "salt"));
        for backend in backend::all() {
            let raw = backend.exchange(group).unwrap();
            let raw = raw.import(raw_private(group, &bytes(&entry, "client_private_pkcs8"))).unwrap();
            assert_eq!(raw.public(), client_kex);
            assert_eq!(raw.agree(&server_kex).unwrap().expose(), bytes(&entry, "shared_secret"), "{backend:?} {entry}");
        }
        assert_eq!(client.agree(&server_kex, kdf_of(&entry)).unwrap(), session_key(&entry), "{entry}");
        assert_eq!(server.agree(&client_kex, kdf_of(&entry)).unwrap(), session_key(&entry), "{entry}");
        done.push(group);
    }
    done.sort_unstable();
    let expected = [
        (Kex::Ffdhe2048, 2), // one whose secret has a zero byte in front
        (Kex::Prime256v1, 1),
        (Kex::X25519, 4),
        (Kex::Ffdhe3072, 1),
        (Kex::Secp384r1, 1),
        (Kex::Ffdhe4096, 1),
        (Kex::X448, 1),
        (Kex::Secp521r1, 1),
    ];
    assert_eq!(done, expected.iter().flat_map(|(group, times)| vec![*group; *times]).collect::<Vec<_>>());
}

#[test]
fn encapsulations() {
    let mut done = 0;
    for entry in entries("kem") {
        let kem: Kex = entry["alg"].as_str().unwrap().parse().unwrap();
        assert!(kem.is_kem() && nid(&entry, "alg_nid") == kem.nid());
        assert_eq!(entry["kex_format_bit"].as_u64(), Some(kem.is_hybrid().into()));
        let (public, ciphertext) = (bytes(&entry, "public_on_wire"), bytes(&entry, "ciphertext"));
        let found = if kem.is_hybrid() { kex::hybrid_of(&public) } else { kex::algorithm_of(&public) };
        assert_eq!(found, Ok(kem));
        assert_eq!(hash::sha256(&[&public])[..], bytes(&entry, "salt"));
        let mut forms = vec![bytes(&entry, "private_raw")];
        if !kem.is_hybrid() {
            let seed = bytes(&entry, "mlkem_seed_d_z");
            forms.push([&seed[..], &forms[0]].concat());
            forms.push(seed);
        }
        for (backend, private) in backend::all().iter().flat_map(|b| forms.iter().map(move |f| (b, f))) {
            let raw = backend.exchange(kem).unwrap().import(private).unwrap();
            assert_eq!(raw.public(), public, "{backend:?} {kem}");
            assert_eq!(raw.agree(&ciphertext).unwrap().expose(), bytes(&entry, "shared_secret"), "{backend:?} {kem}");
            let key = KeyPair::from_private(kem, private).unwrap();
            assert_eq!(key.agree(&ciphertext, kdf_of(&entry)).unwrap(), session_key(&entry), "{kem}");
        }
        done += 1;
    }
    assert_eq!(done, 5);
}

#[test]
fn packets() {
    let mut done = 0;
    for (entry, backend) in entries("packets").iter().flat_map(|e| backend::all().iter().map(move |b| (e, *b))) {
        let cipher = Cipher::from_nid(nid(entry, "cipher_nid")).unwrap();
        assert_eq!(cipher.name(), entry["cipher"].as_str().unwrap());
        let protection = Protection::with_backend(backend, cipher, session_key(entry));
        let (plain, sealed) = (bytes(entry, "plaintext"), bytes(entry, "packet"));
        let mut packet = PacketBuf::copy_of(&sealed);
        protection.unwrap().open(&mut packet).unwrap();
        assert_eq!(packet[..], plain, "{entry}");

        let mut sender = Protection::with_backend(backend, cipher, session_key(entry)).unwrap().with_rotation_bit(1);
        let iv = bytes(entry, "iv_random_source");
        // With rotation bit 1 a generation lasts three packets, and two of a cipher without authentication.
        let packets = if cipher.is_aead() { 3 } else { 2 };
        for _ in 0..packets * entry["generation"].as_u64().unwrap() {
            sender.seal(&mut PacketBuf::copy_of(b""), &mut Recorded(iv.clone())).unwrap();
        }
        let mut packet = PacketBuf::copy_of(&plain);
        sender.seal(&mut packet, &mut Recorded(iv)).unwrap();
        assert_eq!(packet[..], sealed, "{entry}");
        assert_eq!(u64::from(packet[0] >> 7), entry["phase_bit"].as_u64().unwrap());
        done += 1;
    }
    assert_eq!(done, 15 * backend::all().len());
}

#[test]
fn altered_and_short_packets() {
    let key: Vec<u8> = (0x10..0x30).collect();
    for (entry, backend) in entries("packets_invalid").iter().flat_map(|e| backend::all().iter().map(move |b| (e, *b)))
    {
        let cipher = Cipher::from_nid(nid(entry, "cipher_nid")).unwrap();
        let key = SessionKey::from_bytes(key.clone().try_into().unwrap());
        let mut receiver = Protection::with_backend(backend, cipher, key).unwrap();
        let sealed = bytes(entry, "packet");
        let mut packet = PacketBuf::copy_of(&sealed);
        let accepted = receiver.open(&mut packet).is_ok();
        assert_eq!(accepted, entry["accepted"].as_bool().unwrap(), "{entry}");
        let left = if accepted { bytes(entry, "plaintext") } else { sealed };
        assert_eq!(packet[..], left, "{entry}");
    }
}

#[test]
fn generations() {
    let keys = oap("rotation_keys");
    let salt = hash::sha256(&[&bytes(&keys, "session_key")]);
    assert_eq!(salt[..], bytes(&keys, "rotation_salt"));
    let generations = keys["generations"].as_array().unwrap();
    let mut key: [u8; 32] = bytes(&keys, "session_key").try_into().unwrap();
    for generation in generations {
        assert_eq!(key[..], from_hex(generation.as_str().unwrap()));
        let ikm = key;
        hkdf(Kdf::Sha256, &salt, &ikm, b"o7s-key-rotation", &mut key);
    }
}
