//! Known answers: values that the C reference produced, recomputed byte for byte.
//!
//! The data are in `tests/data/vectors`; a module a room tests the members that concern it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;

#[path = "vectors/crypto.rs"]
mod crypto;
#[path = "vectors/dht.rs"]
mod dht;
#[path = "vectors/oap.rs"]
mod oap;
#[path = "vectors/rotation.rs"]
mod rotation;

/// A member of `oap.json`.
fn oap(member: &str) -> Value {
    let file: Value = serde_json::from_str(include_str!("data/vectors/oap.json")).unwrap();
    file[member].clone()
}

/// The entries of a member that is a list; an empty one would test nothing.
fn entries(member: &str) -> Vec<Value> {
    let list = oap(member).as_array().unwrap().clone();
    assert!(!list.is_empty(), "{member} has entries");
    list
}

/// The bytes of a field in hex.
fn bytes(entry: &Value, field: &str) -> Vec<u8> {
    let text = entry[field].as_str().unwrap_or_else(|| panic!("{field} is a string in {entry}"));
    from_hex(text)
}

fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii());
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A number that fits in 16 bits, as all algorithm numbers do.
fn nid(entry: &Value, field: &str) -> u16 {
    entry[field].as_u64().unwrap().try_into().unwrap()
}
