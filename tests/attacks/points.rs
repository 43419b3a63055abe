//! Keys that are none: points of small order and off the curve, numbers out of range, coefficients beyond the modulus, and
//! encodings that another reader would take for the same key. In a request and in a response, of every key exchange.

use o7s::base::rng::Randomness;
use o7s::crypto::CryptoError;
use o7s::crypto::kex::KemKey;
use o7s::crypto::suite::{Digest, Kex};
use o7s::oap::{KemMode, OapError, SecurityConfig, StaticKey};
use o7s::wire::oap::Message;

use crate::ends::{End, Ends, unchanged};
use crate::issue::{sequence, tlv};

const INVALID: CryptoError = CryptoError::InvalidPublicKey;
const WEAK: CryptoError = CryptoError::WeakSharedSecret;

/// What is wrong with a key, the key as it is transmitted, and why it is refused.
type Bad = (&'static str, Vec<u8>, CryptoError);

/// The key that a client of ours sends.
fn honest(kex: Kex) -> Vec<u8> {
    let (_, request) = Ends::alike(&SecurityConfig::encrypted(kex)).asked();
    Message::parse_request(&request).unwrap().kex.bytes.to_vec()
}

/// The honest key with other bytes at its end.
fn ending(kex: Kex, end: &[u8]) -> Vec<u8> {
    let mut key = honest(kex);
    let at = key.len() - end.len();
    key[at..].copy_from_slice(end);
    key
}

/// A number of so many bytes, the least significant one first: 2^(8 len) - 1 without `less`.
fn all_ones_less(len: usize, less: u8, top: u8) -> Vec<u8> {
    let mut number = vec![0xff; len];
    (number[0], number[len - 1]) = (0xff - less, top);
    number
}

fn x25519() -> Vec<Bad> {
    let kex = Kex::X25519;
    let of_order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let mut one = [0; 32];
    one[0] = 1;
    let mut all = vec![
        ("0", ending(kex, &[0; 32]), WEAK),
        ("1", ending(kex, &one), WEAK),
        ("-1", ending(kex, &all_ones_less(32, 0x13, 0x7f)), WEAK),
        ("p", ending(kex, &all_ones_less(32, 0x12, 0x7f)), WEAK),
        ("p + 1", ending(kex, &all_ones_less(32, 0x11, 0x7f)), WEAK),
        ("p with the bit that does not count", ending(kex, &all_ones_less(32, 0x12, 0xff)), WEAK),
    ];
    all.extend(of_order_8.map(|hex| ("a point of order 8", ending(kex, &bytes(hex)), WEAK)));
    all
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn x448() -> Vec<Bad> {
    let kex = Kex::X448;
    let mut one = [0; 56];
    one[0] = 1;
    // p = 2^448 - 2^224 - 1.
    let p = |least: u8| {
        let mut number = [0xff; 56];
        (number[0], number[28]) = (least, 0xfe);
        number
    };
    let mut after = [0; 56];
    after[28..].fill(0xff);
    vec![
        ("0", ending(kex, &[0; 56]), WEAK),
        ("1", ending(kex, &one), WEAK),
        ("-1", ending(kex, &p(0xfe)), WEAK),
        ("p", ending(kex, &p(0xff)), WEAK),
        ("p + 1", ending(kex, &after), WEAK),
    ]
}

/// A curve whose coordinates have so many bytes.
fn curve(kex: Kex, len: usize) -> Vec<Bad> {
    let point = |marker: u8, x: &[u8], y: &[u8]| ending(kex, &[&[marker], x, y].concat());
    let honest = honest(kex);
    let (x, y) = honest[honest.len() - 2 * len..].split_at(len);
    let changed = |number: &[u8]| {
        let mut number = number.to_vec();
        number[len - 1] ^= 1;
        number
    };
    let compressed = {
        let prefix = honest.len() - 2 * len - 1;
        [&honest[..prefix], &[2 + (y[len - 1] & 1)], x].concat()
    };
    vec![
        ("zero", point(4, &vec![0; len], &vec![0; len]), INVALID),
        ("off the curve", point(4, x, &changed(y)), INVALID),
        ("off the curve, by x", point(4, &changed(x), y), INVALID),
        ("on the twist", point(4, y, x), INVALID),
        ("coordinates beyond the modulus", point(4, &vec![0xff; len], &vec![0xff; len]), INVALID),
        ("an even compressed point's marker", point(2, x, y), INVALID),
        ("the marker of a hybrid form", point(6 + (y[len - 1] & 1), x, y), INVALID),
        ("the marker of infinity", point(0, x, y), INVALID),
        ("compressed", compressed, INVALID),
    ]
}

/// The public number y in the encoding of the group's keys.
fn finite_field(kex: Kex) -> Vec<Bad> {
    let honest = honest(kex);
    // SEQUENCE { SEQUENCE { OID, SEQUENCE { p, g } }, BIT STRING { y } }, all of them long.
    let algorithm_len = 4 + usize::from(u16::from_be_bytes([honest[6], honest[7]]));
    let algorithm = &honest[4..4 + algorithm_len];
    let p_at = algorithm.windows(2).position(|w| w == [2, 0x82]).unwrap();
    let p_len = usize::from(u16::from_be_bytes([algorithm[p_at + 2], algorithm[p_at + 3]]));
    let p = &algorithm[p_at + 4..p_at + 4 + p_len];
    let of = |integer: &[u8]| sequence(&[algorithm, &tlv(3, &[&[0], &tlv(2, integer)[..]].concat())]);
    let p_and = |difference: i8| {
        let mut number = p.to_vec();
        // p ends in ones, so that nothing is carried below it.
        match difference {
            1 => {
                let at = number.iter().rposition(|byte| *byte != 0xff).unwrap();
                number[at] += 1;
                number[at + 1..].fill(0);
            }
            _ => *number.last_mut().unwrap() -= 1,
        }
        number
    };
    assert_eq!(of(&honest_number(&honest, algorithm_len)), honest, "the honest key is made in the same way");
    vec![
        ("0", of(&[0]), INVALID),
        ("1", of(&[1]), INVALID),
        ("p - 1", of(&p_and(-1)), INVALID),
        ("p", of(p), INVALID),
        ("p + 1", of(&p_and(1)), INVALID),
        ("far beyond p", of(&[&[0x7f][..], p].concat()), INVALID),
        ("negative", of(&p[1..]), INVALID),
        ("with a zero in front", of(&[&[0], &honest_number(&honest, algorithm_len)[..]].concat()), INVALID),
        ("no number", of(&[]), INVALID),
    ]
}

fn honest_number(honest: &[u8], algorithm_len: usize) -> Vec<u8> {
    // BIT STRING and its length, no unused bits, INTEGER and its length.
    honest[4 + algorithm_len + 5 + 4..].to_vec()
}

/// ML-KEM in SubjectPublicKeyInfo: 22 bytes in front of the key.
fn ml_kem(kex: Kex) -> Vec<Bad> {
    let honest = honest(kex);
    let coefficients = |at: usize, value: [u8; 3]| {
        let mut key = honest.clone();
        key[22 + 3 * at..22 + 3 * at + 3].copy_from_slice(&value);
        key
    };
    let last = (honest.len() - 22 - 32) / 3 - 1;
    vec![
        ("all coefficients 4095", ending(kex, &vec![0xff; honest.len() - 22]), INVALID),
        // Two of 12 bits in three bytes: 3329 is the modulus.
        ("a coefficient of the modulus", coefficients(0, [0x01, 0x0d, 0]), INVALID),
        ("the second one", coefficients(0, [0, 0x10, 0xd0]), INVALID),
        ("the last one", coefficients(last, [0, 0xf0, 0xff]), INVALID),
    ]
}

/// A hybrid's: both halves have to be good.
fn hybrid(kex: Kex, ml_kem: usize) -> Vec<Bad> {
    let honest = honest(kex);
    let (first, second) = honest.split_at(ml_kem);
    let zero = vec![0; second.len()];
    vec![
        ("no ML-KEM", second.to_vec(), INVALID),
        ("no X", first.to_vec(), INVALID),
        ("halves in the other order", [second, first].concat(), INVALID),
        ("X is 0", [first, &zero].concat(), WEAK),
        ("coefficients of 4095", [&vec![0xff; ml_kem - 32], &first[ml_kem - 32..], second].concat(), INVALID),
        ("a byte less", honest[..honest.len() - 1].to_vec(), INVALID),
        ("a byte more", [&honest[..], &[0]].concat(), INVALID),
    ]
}

/// What another reader of DER might take for the same key.
fn not_canonical(kex: Kex) -> Vec<Bad> {
    let honest = honest(kex);
    let header = if honest[1] & 0x80 == 0 { 2 } else { 2 + usize::from(honest[1] & 0x7f) };
    let content = &honest[header..];
    let len = content.len();
    let first = if content[1] & 0x80 == 0 {
        2 + usize::from(content[1])
    } else {
        4 + usize::from(u16::from_be_bytes([content[2], content[3]]))
    };
    let (algorithm, bits) = content.split_at(first);
    let unused = {
        let mut bits = bits.to_vec();
        let at = if bits[1] & 0x80 == 0 { 2 } else { 2 + usize::from(bits[1] & 0x7f) };
        bits[at] = 1;
        bits
    };
    let octets = {
        let mut bits = bits.to_vec();
        bits[0] = 4;
        bits
    };
    let longer = [&[0x30, 0x83, 0, (len >> 8) as u8, len as u8], content].concat();
    vec![
        ("a longer form of the length", longer, INVALID),
        ("a length that is left open", [&[0x30, 0x80], content, &[0, 0]].concat(), INVALID),
        ("a byte behind", [&honest[..], &[0]].concat(), INVALID),
        ("a byte within", tlv(0x30, &[content, &[0]].concat()), INVALID),
        ("a NULL within", tlv(0x30, &[content, &[5, 0]].concat()), INVALID),
        ("unused bits", tlv(0x30, &[algorithm, &unused].concat()), INVALID),
        ("octets for bits", tlv(0x30, &[algorithm, &octets].concat()), INVALID),
        ("no algorithm", tlv(0x30, bits), INVALID),
        ("a byte less", honest[..honest.len() - 1].to_vec(), INVALID),
        ("the bare key", bits[bits.len() - 32..].to_vec(), INVALID),
        ("a set for a sequence", [&[0x31], &honest[1..]].concat(), INVALID),
    ]
}

/// All that is wrong with keys of this key exchange.
fn bad_keys(kex: Kex) -> Vec<Bad> {
    let mut all = match kex {
        Kex::X25519 => x25519(),
        Kex::X448 => x448(),
        Kex::Prime256v1 => curve(kex, 32),
        Kex::Secp384r1 => curve(kex, 48),
        Kex::Secp521r1 => curve(kex, 66),
        Kex::Ffdhe2048 | Kex::Ffdhe3072 | Kex::Ffdhe4096 => finite_field(kex),
        Kex::MlKem512 | Kex::MlKem768 | Kex::MlKem1024 => ml_kem(kex),
        Kex::X25519MlKem768 => hybrid(kex, 1184),
        Kex::X448MlKem1024 => hybrid(kex, 1568),
        other => panic!("nothing is known of {other}"),
    };
    if !kex.is_hybrid() {
        all.extend(not_canonical(kex));
    }
    all
}

fn available() -> impl Iterator<Item = Kex> {
    Kex::ALL.iter().copied().filter(|kex| kex.is_available())
}

fn request_with(key: &[u8]) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let before = std::mem::take(bytes);
        let mut message = Message::parse_request(&before).unwrap();
        message.kex.bytes = key;
        *bytes = message.to_vec().unwrap();
    }
}

fn response_with(key: &[u8]) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let before = std::mem::take(bytes);
        let mut message = Message::parse_response(&before, Digest::Sha256.nid()).unwrap();
        message.kex.bytes = key;
        *bytes = message.to_vec().unwrap();
    }
}

#[test]
fn bad_keys_of_a_request_are_refused() {
    let mut tried = 0;
    for kex in available() {
        let ends = Ends::alike(&SecurityConfig::encrypted(kex));
        assert!(ends.exchange(&request_with(&honest(kex)), &unchanged).is_flow(), "{kex}");
        for (what, key, why) in bad_keys(kex) {
            match ends.exchange(&request_with(&key), &unchanged) {
                End::Server(error) => assert_eq!((&error, error.refusal_code()), (&why.into(), -1008), "{kex}: {what}"),
                other => panic!("{kex}: {what}: {other:?}"),
            }
            tried += 1;
        }
        // A key that is missing altogether.
        let none = ends.exchange(&request_with(b""), &unchanged);
        assert!(matches!(none, End::Server(OapError::Plain)), "{kex}: {none:?}");
    }
    assert!(tried > 150, "{tried}");
}

/// Those of Diffie-Hellman: in a response to a KEM there is a ciphertext.
#[test]
fn bad_keys_of_a_response_are_refused() {
    for kex in available().filter(|kex| !kex.is_kem()) {
        let ends = Ends::alike(&SecurityConfig::encrypted(kex));
        for (what, key, why) in bad_keys(kex) {
            match ends.exchange(&unchanged, &response_with(&key)) {
                End::Client(error) => assert_eq!(error, why.into(), "{kex}: {what}"),
                other => panic!("{kex}: {what}: {other:?}"),
            }
        }
        let none = ends.exchange(&unchanged, &response_with(b""));
        assert!(matches!(none, End::Client(OapError::NoKey)), "{kex}: {none:?}");
        // A good one of another group.
        let other = if kex == Kex::X25519 { Kex::Prime256v1 } else { Kex::X25519 };
        let end = ends.exchange(&unchanged, &response_with(&honest(other)));
        assert!(matches!(end, End::Client(OapError::Crypto(CryptoError::GroupMismatch))), "{kex}: {end:?}");
    }
}

/// Numbers beyond the modulus are keys by RFC 7748, and the same keys as smaller ones. What is sent enters the session key,
/// so that no packet opens that was sealed for the other form.
#[test]
fn another_form_of_a_good_key_makes_another_flow() {
    for (kex, key) in [(Kex::X25519, ending(Kex::X25519, &all_ones_less(32, 9, 0x7f))), {
        let mut high = honest(Kex::X25519);
        *high.last_mut().unwrap() ^= 0x80;
        (Kex::X25519, high)
    }] {
        let ends = Ends::alike(&SecurityConfig::encrypted(kex));
        let end = ends.exchange(&request_with(&key), &unchanged);
        assert!(matches!(end, End::Client(OapError::RequestHash)), "{end:?}");
        let end = ends.exchange(&unchanged, &response_with(&key));
        assert!(end.is_deaf(), "{end:?}");
    }
}

/// What a server answers to a key of a KEM, and what a client sends to a static key.
#[test]
fn bad_ciphertexts_are_refused_or_lead_nowhere() {
    for kex in available().filter(|kex| kex.is_kem()) {
        let len = kex.ciphertext_len().unwrap();
        let ends = Ends::alike(&SecurityConfig::encrypted(kex));
        let (_, request) = ends.asked();
        let (response, _) = ends.answer(&request).unwrap();
        let good = Message::parse_response(&response, Digest::Sha256.nid()).unwrap().kex.bytes.to_vec();
        assert_eq!(good.len(), len, "{kex}");
        let invalid = OapError::Crypto(CryptoError::InvalidCiphertext);
        for wrong in [&good[..len - 1], &[&good[..], &[0]].concat(), &good[..1]] {
            match ends.exchange(&unchanged, &response_with(wrong)) {
                End::Client(error) => assert_eq!(error, invalid, "{kex}, {} bytes", wrong.len()),
                other => panic!("{kex}: {other:?}"),
            }
        }
        let none = ends.exchange(&unchanged, &response_with(b""));
        assert!(matches!(none, End::Client(OapError::NoKey)), "{kex}: {none:?}");
        // Of the right length: ML-KEM makes a key of anything, that nobody else has.
        for change in [&good[..len - 1], &[]] {
            let mut noise = vec![0x5a; len];
            noise[..change.len()].copy_from_slice(change);
            let end = ends.exchange(&unchanged, &response_with(&noise));
            assert!(end.is_deaf(), "{kex}: {end:?}");
        }
        if kex.is_hybrid() {
            let mut weak = good.clone();
            let x = if kex == Kex::X25519MlKem768 { 32 } else { 56 };
            weak[len - x..].fill(0);
            match ends.exchange(&unchanged, &response_with(&weak)) {
                End::Client(error) => assert_eq!(error, OapError::Crypto(WEAK), "{kex}"),
                other => panic!("{kex}: {other:?}"),
            }
        }
        to_a_static_key(kex, &good);
    }
}

fn to_a_static_key(kex: Kex, good: &[u8]) {
    let key = || StaticKey::new(KemKey::generate(kex, &mut Randomness::from_seed([8; 32]).secret).unwrap());
    let public = key().key().public_key();
    let client = SecurityConfig::encrypted(kex).kem_mode(KemMode::Client).server_key(Some(public));
    let ends = || Ends::new(client.clone(), SecurityConfig::encrypted(kex).static_keys(vec![key()]));
    assert!(ends().exchange(&unchanged, &unchanged).is_flow(), "{kex}");
    for wrong in [&good[..good.len() - 1], &[good, &[0]].concat()] {
        match ends().exchange(&request_with(wrong), &unchanged) {
            End::Server(error) => assert_eq!(error, OapError::Crypto(CryptoError::InvalidCiphertext), "{kex}"),
            other => panic!("{kex}: {other:?}"),
        }
    }
    // A ciphertext for another key is one of this key as well: what comes of it is nobody's, and the hash tells.
    let end = ends().exchange(&request_with(good), &unchanged);
    assert!(matches!(end, End::Client(OapError::RequestHash)), "{kex}: {end:?}");
}
