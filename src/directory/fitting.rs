//! Messages for packets that have less room than the longest message takes.

use alloc::vec::Vec;

use super::requests::Kind;
use super::serving::answer_len;
use crate::types::name::HashAlg;
use crate::wire::dht::{Body, Extension, Message};

/// Bytes with which a name can be looked for and found: those of an answer with one contact and one address.
pub(crate) fn least_message(hash: HashAlg) -> usize {
    answer_len(hash.len(), Kind::Value, 1, 1)
}

/// The bytes of a message for which there is so much room, and whether it would have had more. `None` if it cannot be as
/// short.
///
/// No message becomes longer, so none has more bytes than what it answers.
pub(super) fn fitted(message: &mut Message, mut extension: Extension, room: usize) -> Option<(Vec<u8>, bool)> {
    let mut squeezed = false;
    loop {
        let bytes = message.encode_extended(extension).ok()?;
        let excess = bytes.len().saturating_sub(room);
        if excess == 0 {
            return Some((bytes, squeezed));
        }
        squeezed = true;
        if extension.padding > 0 {
            extension.padding = extension.padding.saturating_sub(excess);
        } else if !shorten(&mut message.body) {
            return None;
        }
    }
}

/// Takes the farthest contact out of an answer, then the last address. `false` if there is only one of each.
fn shorten(body: &mut Body) -> bool {
    match body {
        Body::FoundNode { contacts, .. } | Body::FoundValue { contacts, .. } if contacts.len() > 1 => {
            contacts.pop().is_some()
        }
        Body::FoundValue { values, .. } if values.len() > 1 => values.pop().is_some(),
        _ => false,
    }
}
