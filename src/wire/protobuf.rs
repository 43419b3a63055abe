//! Common parts of messages in Protocol Buffers (proto2).
//!
//! Every field is declared optional, because the decoder takes a required one that is absent for 0; [`required`] is
//! what makes the difference. Encoded are all fields in ascending order, 0 or not, as the C reference does.

use alloc::vec::Vec;

use prost::Message;

use super::WireError;

/// Declares messages, with `name: type = rule kind number` for each field, as in a `.proto` file.
///
/// It does what the derive of `prost` does, whose crates take longer to compile than all of `prost`.
macro_rules! messages {
    ($($vis:vis struct $Message:ident { $($field:ident: $Type:ty = $rule:ident $kind:ident $number:literal,)+ })+) => {$(
        #[derive(Default)]
        $vis struct $Message {
            $($field: $Type,)+
        }

        impl prost::Message for $Message {
            fn encode_raw(&self, out: &mut impl prost::bytes::BufMut) {
                $($crate::wire::protobuf::$rule!(encode $kind, $number, &self.$field, out);)+
            }

            fn merge_field(
                &mut self,
                number: u32,
                wire: prost::encoding::WireType,
                from: &mut impl prost::bytes::Buf,
                context: prost::encoding::DecodeContext,
            ) -> Result<(), prost::DecodeError> {
                match number {
                    $($number => $crate::wire::protobuf::$rule!(merge $kind, &mut self.$field, wire, from, context),)+
                    _ => prost::encoding::skip_field(wire, number, from, context),
                }
            }

            fn encoded_len(&self) -> usize {
                0 $(+ $crate::wire::protobuf::$rule!(len $kind, $number, &self.$field))+
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    )+};
}
pub(super) use messages;

macro_rules! optional {
    (encode $kind:ident, $number:literal, $value:expr, $out:expr) => {
        if let Some(value) = $value {
            prost::encoding::$kind::encode($number, value, $out);
        }
    };
    (merge $kind:ident, $value:expr, $wire:expr, $from:expr, $context:expr) => {
        prost::encoding::$kind::merge($wire, Option::get_or_insert_default($value), $from, $context)
    };
    (len $kind:ident, $number:literal, $value:expr) => {
        Option::as_ref($value).map_or(0, |value| prost::encoding::$kind::encoded_len($number, value))
    };
}
pub(super) use optional;

macro_rules! repeated {
    (encode $kind:ident, $number:literal, $value:expr, $out:expr) => {
        prost::encoding::$kind::encode_repeated($number, $value, $out)
    };
    (merge $kind:ident, $value:expr, $wire:expr, $from:expr, $context:expr) => {
        prost::encoding::$kind::merge_repeated($wire, $value, $from, $context)
    };
    (len $kind:ident, $number:literal, $value:expr) => {
        prost::encoding::$kind::encoded_len_repeated($number, $value)
    };
}
pub(super) use repeated;

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

/// The value of a field.
pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed length, which none of our messages has.
    Fixed,
}

/// Takes the next field off `message`, without decoding what is in it: its number and value. `None` if that is no field.
pub(super) fn field<'a>(message: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = varint(message)?;
    let value = match tag & 7 {
        0 => Field::Number(varint(message)?),
        1 => take(message, 8).map(|_| Field::Fixed)?,
        2 => {
            let len = usize::try_from(varint(message)?).ok()?;
            Field::Bytes(take(message, len)?)
        }
        5 => take(message, 4).map(|_| Field::Fixed)?,
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn take<'a>(message: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(len)?;
    *message = rest;
    Some(taken)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(message, 1)? else { return None };
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A field that must be there.
pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}

#[cfg(test)]
mod tests;
