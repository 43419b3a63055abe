use alloc::string::ToString;

use proptest::prelude::*;

use super::*;
use crate::wire::testing::{flips, hex};

const ALG: HashAlg = HashAlg::Sha3_256;

fn id(first: u8) -> NameHash {
    NameHash::new(&(first..first + 32).collect::<Vec<u8>>()).unwrap()
}

fn contact(first: u8, address: u64) -> Contact {
    Contact { id: id(first), address: Address(address) }
}

fn message(body: Body) -> Message {
    Message { src: contact(0, 0x1234_5678), body }
}

fn key() -> NameHash {
    ALG.hash(&"oping".parse().unwrap())
}

fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    Message::decode(ALG, bytes)
}

/// One of each.
fn all() -> [Message; 5] {
    let contacts = vec![contact(0x40, 7), contact(0, 0x1234_5678)];
    let values = vec![Address(0x1234_5678), Address(u64::MAX)];
    let (cookie, key) = (0xfedc_ba98_7654_3210, key());
    [
        message(Body::Store { key, value: Address(0x1234_5678), expires: 1_893_456_000 }),
        message(Body::FindNode { cookie, key: id(0) }),
        message(Body::FoundNode { cookie, key, contacts: contacts.clone() }),
        message(Body::FindValue { cookie, key }),
        message(Body::FoundValue { cookie, key, contacts, values }),
    ]
}

#[test]
fn a_message_of_the_reference() {
    let bytes = hex("
        080012280a20000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f10f8acd191011a320a20
        42dee3b0415b4f690fd91cbd99876f1e9bd8d9745ef7fa32b142773af0349d54120800000000123456781880b1ef8607");
    let [store, ..] = all();
    assert_eq!(decode(&bytes).as_ref(), Ok(&store));
    assert_eq!(store.encode().unwrap(), bytes);
}

#[test]
fn cookies_are_found_without_decoding() {
    for message in all() {
        let bytes = message.encode().unwrap();
        let found = (question(&bytes), answered(&bytes));
        let expected = match message.body {
            Body::Store { .. } => (None, None),
            Body::FindNode { cookie, .. } | Body::FindValue { cookie, .. } => (Some(cookie), None),
            Body::FoundNode { cookie, .. } | Body::FoundValue { cookie, .. } => (None, Some(cookie)),
        };
        assert_eq!(found, expected, "{message}");
    }
}

#[test]
fn cut_at_every_length_and_flipped_at_every_bit() {
    for message in all() {
        let bytes = message.encode().unwrap();
        assert_eq!(decode(&bytes).as_ref(), Ok(&message));
        for have in 0..bytes.len() {
            let error = decode(&bytes[..have]).unwrap_err();
            assert!(matches!(error, WireError::Malformed { .. } | WireError::Missing { .. }), "{error}");
        }
        flips(&bytes, decode, |message| message.encode().unwrap());
    }
}

#[test]
fn other_hashes_have_other_lengths() {
    for alg in [HashAlg::Sha3_224, HashAlg::Sha3_384, HashAlg::Sha3_512] {
        for message in all() {
            let bytes = message.encode().unwrap();
            assert_eq!(Message::decode(alg, &bytes), Err(WireError::Length { field: "id", value: 32 }));
        }
    }
}

#[test]
fn invalid_contacts_and_values_are_skipped() {
    let (cookie, key) = (1, key());
    let short = Contact { id: NameHash::new(&[1; 4]).unwrap(), ..contact(1, 1) };
    let contacts = vec![short, contact(0x40, 7), contact(0x41, 0)];
    let found = Body::FoundValue { cookie, key, contacts, values: vec![Address(0), Address(9)] };
    let expected = Body::FoundValue { cookie, key, contacts: vec![contact(0x40, 7)], values: vec![Address(9)] };
    assert_eq!(decode(&message(found).encode().unwrap()), Ok(message(expected)));
}

#[test]
fn messages_are_bounded() {
    let contacts = vec![contact(1, 1); MAX_LEN / 38 + 1];
    let Err(WireError::Length { field: NAME, value }) =
        message(Body::FoundNode { cookie: 1, key: key(), contacts }).encode()
    else {
        panic!("too long a message was encoded")
    };
    assert!(value > MAX_LEN);
    let error = WireError::Length { field: NAME, value: MAX_LEN + 1 };
    assert_eq!(decode(&[0; MAX_LEN + 1]), Err(error));
}

#[test]
fn display_of_message() {
    let [store, _, found, ..] = all();
    let line = store.to_string();
    assert!(line.starts_with("dht src 000102") && line.ends_with("at 78.56.34.12 until 1893456000"), "{line}");
    assert!(found.to_string().ends_with("cookie 0xfedcba9876543210 contacts 2"), "{found}");
}

proptest! {
    #[test]
    fn any_message_round_trips(
        number in 0..4_u8, seed: u8, address in 1_u64.., cookie: u64, expires: u32,
        addresses in proptest::collection::vec(1_u64.., 0..20),
    ) {
        let alg = HashAlg::from_number(number).unwrap();
        let hash = |byte: u8| NameHash::new(&[byte; 64][..alg.len()]).unwrap();
        let (id, key, value) = (hash(seed), hash(!seed), Address(address));
        let values: Vec<_> = addresses.into_iter().map(Address).collect();
        let contacts: Vec<_> = values.iter().map(|&address| Contact { id: hash(address.0 as u8), address }).collect();
        for body in [
            Body::Store { key, value, expires },
            Body::FindNode { cookie, key },
            Body::FoundNode { cookie, key, contacts: contacts.clone() },
            Body::FindValue { cookie, key },
            Body::FoundValue { cookie, key, contacts, values },
        ] {
            let message = Message { src: Contact { id, address: value }, body };
            let (bytes, is_store) = (message.encode().unwrap(), matches!(message.body, Body::Store { .. }));
            prop_assert_eq!(question(&bytes).or(answered(&bytes)), (!is_store).then_some(cookie));
            prop_assert_eq!(Message::decode(alg, &message.encode().unwrap()), Ok(message));
        }
    }

    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let cookies = (question(&bytes), answered(&bytes));
        if let Ok(message) = decode(&bytes) {
            let bytes = message.encode().unwrap();
            prop_assert_eq!((question(&bytes), answered(&bytes)), cookies);
            prop_assert_eq!(decode(&message.encode().unwrap()), Ok(message));
        }
    }
}

#[test]
fn the_extension_is_skipped_by_other_implementations() {
    for message in all() {
        let plain = message.encode().unwrap();
        for (token, padding) in [(None, 0), (Some(1), 0), (Some(u64::MAX), 7), (None, 1), (None, 500)] {
            let extension = Extension { token, padding };
            let bytes = message.encode_extended(extension).unwrap();
            assert_eq!(Message::decode_extended(ALG, &bytes), Ok((message.clone(), extension)));
            assert_eq!(decode(&bytes).as_ref(), Ok(&message));
            // To others it is a field that they do not know, behind all those that they do.
            assert!(bytes.starts_with(&plain) && bytes.len() <= plain.len() + Extension::OVERHEAD + padding);
            assert_eq!(bytes.len() == plain.len(), extension == Extension::default());
        }
        for wanted in [plain.len() + 12, plain.len() + 100, 1400] {
            let bytes = message.encode_extended(Extension::pad(plain.len(), wanted)).unwrap();
            assert!((wanted..wanted + 2).contains(&bytes.len()), "{} for {wanted}", bytes.len());
        }
        // Whatever is in there spoils nothing.
        let strange = [&plain[..], &[0xa2, 0x01, 3, 1, 2, 3]].concat();
        assert_eq!(Message::decode_extended(ALG, &strange), Ok((message, Extension::default())));
    }
}
