//! Helpers for the tests of several formats.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::WireError;
use crate::types::qos::QosSpec;

/// Bytes written in hexadecimal, with white space as you like.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(core::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

/// 36 bytes that stand for an OAP message.
pub(super) fn blob() -> Vec<u8> {
    (0xa0..=0xc3).collect()
}

/// Any QoS specification.
pub(super) fn qos() -> impl Strategy<Value = QosSpec> {
    any::<(u32, u64, u8, u32, u32, bool, u32, u32)>().prop_map(
        |(delay, bandwidth, availability, loss, ber, in_order, max_gap, timeout)| QosSpec {
            delay,
            bandwidth,
            availability,
            loss,
            ber,
            in_order,
            max_gap,
            timeout,
        },
    )
}

/// Flips every bit of a message. What still decodes must encode to something that says the same.
pub(super) fn flips<M: PartialEq + core::fmt::Debug>(
    message: &[u8],
    decode: impl Fn(&[u8]) -> Result<M, WireError>,
    encode: impl Fn(&M) -> Vec<u8>,
) {
    for bit in 0..8 * message.len() {
        let mut bytes = message.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(message) = decode(&bytes) {
            assert_eq!(decode(&encode(&message)).as_ref(), Ok(&message), "bit {bit}");
        }
    }
}
