use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;

use super::*;

const REQUEST: Message<'_> = Message {
    id: [1; 16],
    timestamp: 1_760_000_002_123_456_789,
    cipher: 901,
    kdf: 672,
    digest: 672,
    certificate: &[],
    kex: Kex { raw: false, client_encapsulates: false, bytes: &[0x30; 91] },
    data: b"hello",
    request_hash: &[],
    signature: &[],
};

#[test]
fn layout() {
    let bytes = REQUEST.to_vec().unwrap();
    assert_eq!(bytes.len(), 36 + 91 + 5);
    assert_eq!(bytes[16..24], 1_760_000_002_123_456_789_u64.to_be_bytes());
    assert_eq!(bytes[24..36], [0x03, 0x85, 0x02, 0xa0, 0x02, 0xa0, 0, 0, 0, 91, 0, 5]);
    assert_eq!(bytes[127..], *b"hello");
}

#[test]
fn flags_of_the_kex_field() {
    let kex = Kex { raw: true, client_encapsulates: true, bytes: &[9; 4] };
    let message = Message { kex, ..REQUEST };
    let bytes = message.to_vec().unwrap();
    assert_eq!(bytes[32..34], [0xc0, 4]);
    assert_eq!(Message::parse_request(&bytes), Ok(message));
}

#[test]
fn every_truncation_is_an_error() {
    let hash = [5; 32];
    let response = Message { request_hash: &hash, ..REQUEST }.to_vec().unwrap();
    for end in 0..response.len() {
        assert!(Message::parse_response(&response[..end], 672).is_err(), "cut at {end}");
    }
    assert_eq!(
        Message::parse_response(&response[..140], 672),
        Err(WireError::Truncated { need: 36 + 91 + 5 + 32, have: 140 })
    );
}

#[test]
fn bytes_behind_the_end_need_a_certificate() {
    let mut bytes = REQUEST.to_vec().unwrap();
    bytes.push(0);
    assert!(matches!(Message::parse_request(&bytes), Err(WireError::Length { value: 1, .. })));

    let signed = Message { certificate: b"crt", signature: b"sig", ..REQUEST };
    let bytes = signed.to_vec().unwrap();
    assert_eq!(Message::parse_request(&bytes), Ok(signed));
}

#[test]
fn messages_that_the_parser_refuses_are_not_encoded() {
    let long = vec![0; 0x1_0000];
    let refused = [
        Message { signature: b"sig", ..REQUEST },
        Message { cipher: 900, ..REQUEST },
        Message { kdf: 1036, ..REQUEST },
        Message { digest: 1096, ..REQUEST },
        Message { data: &long, ..REQUEST },
        Message { certificate: &long, ..REQUEST },
        Message { kex: Kex { bytes: &long[..MAX_KEX_LEN + 1], ..Kex::default() }, ..REQUEST },
        Message { request_hash: &long[..33], ..REQUEST },
    ];
    for message in refused {
        let mut out = vec![1];
        assert!(message.emit(&mut out).is_err(), "{message}");
        assert_eq!(out, [1]);
    }
}

#[test]
fn an_unknown_request_digest_is_an_error() {
    assert_eq!(Message::parse_response(&[0; 200], 64), Err(WireError::Unknown { field: "digest", value: 64 }));
}

#[test]
fn display_of_message() {
    assert_eq!(
        REQUEST.to_string(),
        "oap id 01010101010101010101010101010101 time 1760000002.123456789 cipher aes-256-gcm kdf sha256 \
         digest sha256 kex 91 data 5"
    );
    let hybrid = Kex { raw: true, client_encapsulates: true, bytes: &[0; 1120] };
    let plain = Message { kex: hybrid, cipher: 0, kdf: 0, digest: 0, data: &[], ..REQUEST };
    assert!(plain.to_string().ends_with(".123456789 kex|F|R 1120"));
}

fn number(numbers: &'static [u16]) -> impl Strategy<Value = u16> {
    prop::sample::select(numbers)
}

const CIPHER: &[u16] = &[0, 904, 905, 906, 895, 898, 901, 1018];
const HASH: &[u16] = &[0, 1057, 672, 1097, 673, 1098, 1056, 674, 1099];

prop_compose! {
    fn field(max: usize)(bytes in prop::collection::vec(any::<u8>(), 0..max)) -> Vec<u8> { bytes }
}

proptest! {
    #[test]
    fn round_trip(
        id: [u8; 16],
        timestamp: u64,
        (cipher, kdf, digest, asked) in (number(CIPHER), number(HASH), number(HASH), number(HASH)),
        (certificate, kex, data, signature) in (field(600), field(600), field(600), field(100)),
        flags: (bool, bool),
        response: bool,
    ) {
        let hash = vec![7; if response { request_hash_len(asked).unwrap() } else { 0 }];
        let message = Message {
            id, timestamp, cipher, kdf, digest,
            kex: Kex { raw: flags.0, client_encapsulates: flags.1, bytes: &kex },
            signature: if certificate.is_empty() { &[] } else { &signature },
            certificate: &certificate, data: &data, request_hash: &hash,
        };
        let bytes = message.to_vec().unwrap();
        prop_assert_eq!(bytes.len(), message.encoded_len());
        let parsed = if response { Message::parse_response(&bytes, asked) } else { Message::parse_request(&bytes) };
        prop_assert_eq!(parsed, Ok(message));
    }

    #[test]
    fn parsed_messages_encode_to_the_same_bytes(
        start in prop::collection::vec(any::<u8>(), 24),
        (cipher, kdf, digest) in (number(CIPHER), number(HASH), number(HASH)),
        lengths in (0u16..40, 0u16..40, any::<u8>(), 0u16..40),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let kex_len = lengths.1 | u16::from(lengths.2) << 8 & 0xc000;
        let mut bytes = start;
        for field in [cipher, kdf, digest, lengths.0, kex_len, lengths.3] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(rest);
        let parsed = [Message::parse_request(&bytes), Message::parse_response(&bytes, digest)];
        for message in parsed.into_iter().flatten() {
            prop_assert_eq!(message.to_vec().unwrap(), &bytes[..]);
            prop_assert!(!message.to_string().is_empty());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), digest: u16) {
        let _ = Message::parse_request(&bytes);
        let _ = Message::parse_response(&bytes, digest);
    }
}
