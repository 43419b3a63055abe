//! Output of a directory: results, events, errors.

use alloc::vec::Vec;

use crate::types::id::Address;
use crate::types::name::NameHash;

/// Immediate result of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// It is at one of these addresses; the best to try comes first. Never empty, never the own address.
    Known(Vec<Address>),
    /// It is being looked up: [`Event::LookupDone`] will tell.
    Pending,
    /// It is not in the layer, as far as can be said.
    Unknown,
}

/// Costs of a lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Requests one after the other that led to the result.
    pub rounds: u8,
    /// Requests in all, those included that were asked twice.
    pub requests: u16,
}

/// Event of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A lookup is over.
    LookupDone {
        /// The name that was looked up.
        hash: NameHash,
        /// Addresses of the name, the best to try first; empty if it was not found.
        addresses: Vec<Address>,
        /// Costs of the lookup.
        effort: Effort,
    },
}

/// Why a place at which a name is said to be is doubted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The member at the address does not have the name.
    Refused,
    /// The address did not answer.
    Silent,
}

/// Why a name was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There are too many.
    #[error("the directory takes no more than {0} names; unregister one, or raise its limit")]
    Full(usize),
    /// The hash is not one of the layer's.
    #[error(
        "the hash has {len} bytes, but those of the layer have {expected}; hash the name with the layer's algorithm"
    )]
    Length {
        /// Bytes of the hash.
        len: usize,
        /// Bytes of the layer's hashes.
        expected: usize,
    },
}
