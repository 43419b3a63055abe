use alloc::string::ToString;
use alloc::vec;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::testing::{flips, hex};

const A: Address = Address(0x1234_5678);

fn check(bytes: &str, expected: &Message) {
    let bytes = hex(bytes);
    assert_eq!(Message::decode(&bytes).as_ref(), Ok(expected));
    assert_eq!(expected.encode().unwrap(), bytes);
    for have in 0..bytes.len() {
        let error = Message::decode(&bytes[..have]).unwrap_err();
        assert!(matches!(error, WireError::Malformed { .. } | WireError::Missing { .. }), "{error}");
    }
    flips(&bytes, Message::decode, |message| message.encode().unwrap());
}

#[test]
fn messages_of_the_reference() {
    check("0a0a456e726f6c6c6d656e74 12034f4550 1801 2800 4000", &Message::enrollment());
    check("0a0d44617461205472616e73666572 1203647470 1801 2802 40f8acd19101", &Message::data_transfer(A));
    check("0a0a4d616e6167656d656e74 12034c5350 1801 2800 40f8acd19101", &Message::management(A));
    check("0a0d44617461205472616e73666572 1200 1800 2800 4000", &Message::broadcast());
    check("0a00 1200 1800 2800 4000", &Message::refusal());
}

#[test]
fn ends_with_the_same_protocol_agree() {
    let ours = Message::management(A);
    assert!(ours.agrees_with(&Message::management(Address(7))));
    assert!(!ours.agrees_with(&Message::refusal()));
    // The reference cannot tell either, which is why there is another way to see a refusal.
    assert!(Message::broadcast().agrees_with(&Message::refusal()));
    assert!(Message::refusal().is_refusal() && !Message::broadcast().is_refusal());
}

#[test]
fn fields_that_are_never_sent_are_skipped() {
    let lists = hex("0a00 1200 1800 2001 220102 2800 3000 3a040801 1002 4000 7a0161");
    assert_eq!(Message::decode(&lists), Ok(Message { versions: vec![1, 2], ..Message::refusal() }));
}

#[test]
fn further_versions_are_encoded_one_by_one() {
    let message = Message { versions: vec![1, 300], ..Message::broadcast() };
    let bytes = hex("0a0d44617461205472616e73666572 1200 1800 2001 20ac02 2800 4000");
    assert_eq!(message.encode(), Ok(bytes.clone()));
    assert_eq!(Message::decode(&bytes), Ok(message));
}

#[test]
fn terms_fit_into_a_message_and_are_found_among_versions() {
    let most = Terms {
        incarnation: i32::MAX as u32,
        patience: Duration::from_millis(i32::MAX as u64),
        round_trip: Duration::from_millis(i32::MAX as u64),
    };
    let message = Message { versions: most.versions(), ..Message::data_transfer(Address(u32::MAX.into())) };
    let decoded = Message::decode(&message.encode().unwrap()).unwrap();
    assert_eq!(Terms::of(&decoded.versions), Some(most));
    let longer = Terms { incarnation: u32::MAX, patience: Duration::MAX, ..most };
    assert_eq!(Terms::of(&longer.versions()), Some(most), "what does not fit is the most there is");

    let mut versions = vec![1, 2];
    versions.extend(most.versions());
    versions.push(9);
    assert_eq!(Terms::of(&versions), Some(most));
    for cut in 0..6 {
        assert_eq!(Terms::of(&versions[..cut]), None);
    }
    versions[4] = -1;
    assert_eq!(Terms::of(&versions), None);
}

#[test]
fn long_and_odd_messages() {
    let long = Message { component: "x".repeat(116), ..Message::refusal() };
    let bytes = long.encode().unwrap();
    assert_eq!(bytes.len(), 126);
    assert_eq!(Message::decode(&bytes), Ok(long));
    let longer = Message { component: "x".repeat(118), ..Message::refusal() };
    assert_eq!(longer.encode(), Err(WireError::Length { field: NAME, value: 128 }));
    assert_eq!(Message::decode(&[0; 128]), Err(WireError::Length { field: NAME, value: 128 }));
    let latin1 = hex("0a01e9 1200 1800 2800 4000");
    assert_eq!(Message::decode(&latin1), Err(WireError::Malformed { message: NAME }));
}

#[test]
fn display_of_message() {
    let line = "cep \"Management\" protocol \"LSP\" version 1 syntax 0 address 78.56.34.12";
    assert_eq!(Message::management(A).to_string(), line);
    assert_eq!(Message::refusal().to_string(), "cep refusal");
}

proptest! {
    #[test]
    fn any_message_round_trips(
        component in "[a-zé]{0,20}", protocol in "[a-z]{0,10}", version: i32, syntax: i32, address: u64,
        versions in proptest::collection::vec(any::<i32>(), 0..3),
    ) {
        let message = Message { component, protocol, version, versions, syntax, address: Address(address) };
        let bytes = message.encode().unwrap();
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..130)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&message.encode().unwrap()), Ok(message));
        }
    }
}
