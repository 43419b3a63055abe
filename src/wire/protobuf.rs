//! Common parts of messages in Protocol Buffers (proto2).
//!
//! Every field is declared optional, because the decoder takes a required one that is absent for 0; [`required`] is
//! what makes the difference. Encoded are all fields in ascending order, 0 or not, as the C reference does.

use alloc::vec::Vec;

use prost::Message;

use super::WireError;

/// Decodes `message`, which calls itself `name`. Unknown fields are skipped.
pub(super) fn decode<M: Message + Default>(name: &'static str, max: usize, message: &[u8]) -> Result<M, WireError> {
    if message.len() > max {
        return Err(WireError::Length { field: name, value: message.len() });
    }
    M::decode(message).map_err(|_| WireError::Malformed { message: name })
}

/// Encodes `message`, unless it is longer than its receivers read.
pub(super) fn encode<M: Message>(name: &'static str, max: usize, message: &M) -> Result<Vec<u8>, WireError> {
    match message.encoded_len() {
        len if len > max => Err(WireError::Length { field: name, value: len }),
        _ => Ok(message.encode_to_vec()),
    }
}

/// A field that must be there.
pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}
