//! Recognition of two ends of this library, without a byte that a reference would notice.
//!
//! See [the room's page](super#two-ends-of-our-own-kind) for the layout.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use subtle::ConstantTimeEq;

use crate::crypto::protect::Side;
use crate::crypto::suite::Kdf;
use crate::crypto::{SessionKey, hash, kdf};
use crate::types::name::Name;
use crate::types::qos::QosSpec;
use crate::wire::oap::ID_LEN;

/// Bytes of each of a [`Peering`]'s tokens.
pub const TOKEN_LEN: usize = 16;

/// Bytes by which a client shows that it is where it says.
pub const PROOF_LEN: usize = RANDOM_LEN - WAIT_LEN;

/// What a server without room has a client say in its next request, which shows that it has heard it.
pub type Proof = [u8; PROOF_LEN];

/// Bytes of the id of a request that say how long the requester waits, and that are random.
const RANDOM_LEN: usize = 10;
/// The same with the byte behind them, the largest message, before the mark.
const SAID_LEN: usize = RANDOM_LEN + 1;
/// The first of them: the wait in units of [`WAIT_UNIT`], 0 if it is not said.
const WAIT_LEN: usize = size_of::<u16>();
/// Ten minutes and more fit into 16 bits.
const WAIT_UNIT: Duration = Duration::from_millis(10);
/// Prefix of each hash, by purpose: short enough for one block with a hash of 48 bytes, as each flow is allocated with
/// six of these. No two inputs are the same: a hash has 32, 48 or 64 bytes, what a request says 11.
const REQUEST: &[u8] = b"o7s request 5";
const RESPONSE: &[u8] = b"o7";
const NOTICES: &[u8] = b"o7sn";
const PROBES: &[u8] = b"o7sp";
const EXCHANGE: &[u8] = b"o7s exchange";
/// The largest exponent of a limit on messages; the bits above are those of a [`Format`].
const MAX_EXPONENT: u8 = 31;
/// Length of the shortest hash.
const SEED_LEN: usize = 32;
/// Bytes that a response carries behind the application's data.
pub(super) const TRAILER_LEN: usize = TERMS_LEN + TOKEN_LEN;
/// Of these, what the server grants.
const TERMS_LEN: usize = size_of::<u32>() + 1;

/// Shared knowledge of two ends of this library from the exchange. It cannot be computed without having seen the
/// exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct Peering {
    /// This end.
    pub side: Side,
    /// The timeout of the flow that the server grants, milliseconds: it counts, at both ends, instead of the one that
    /// was asked for.
    pub timeout: u32,
    /// The largest message that the peer puts together from fragments, bytes; 0: it takes none.
    pub message: u32,
    /// The first bytes of the hash of the request, all that a flow keeps of the exchange.
    seed: [u8; SEED_LEN],
}

/// Tokens that mark messages other than data on flows without FRCT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// On what this end says.
    pub own: [u8; TOKEN_LEN],
    /// On what the peer says.
    pub peer: [u8; TOKEN_LEN],
}

/// Who reads a log must not be able to speak for an end of a flow: neither the seed nor what follows from it is printed.
impl fmt::Debug for Peering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, timeout, message) = (self.side, self.timeout, self.message);
        let mut shown = f.debug_struct("Peering");
        shown.field("side", &side).field("timeout", &timeout).field("message", &message).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Peering {
    /// Derives the peering from the hash of the request, with a peer that takes no fragments.
    pub fn new(side: Side, timeout: u32, request_hash: &[u8]) -> Self {
        Self { side, timeout, message: 0, seed: request_hash.first_chunk().copied().unwrap_or_default() }
    }

    /// The same with a peer that puts together messages of so many bytes.
    pub fn with_message(self, message: u32) -> Self {
        Self { message, ..self }
    }

    /// Computed when they are needed, for most flows need none.
    pub fn tokens(&self) -> Tokens {
        // One hash has room for both.
        let both = hash::sha256(&[NOTICES, &self.seed]);
        let (client, server) = (first(&both), first(both.get(TOKEN_LEN..).unwrap_or_default()));
        match self.side {
            Side::Client => Tokens { own: client, peer: server },
            Side::Server => Tokens { own: server, peer: client },
        }
    }
}

impl Peering {
    /// Proof of one end that it is the same as in the exchange, for the probe or answer of this `kind` and `number`. Who
    /// sees some cannot compute others.
    pub fn proof(&self, of: Side, kind: u8, number: u64) -> [u8; TOKEN_LEN] {
        let side = match of {
            Side::Client => 0,
            Side::Server => 1,
        };
        // With the side in it, what one end has sent proves nothing when it comes back to it.
        first(&hash::sha256(&[PROBES, &self.seed, &[side, kind], &number.to_be_bytes()]))
    }
}

/// Makes the id of a request that of one of our own kind, who waits so long for the answer to it. Longer waits than can be
/// said are said to be as long as can be.
pub(super) fn mark(id: &mut [u8; ID_LEN], wait: Option<Duration>) {
    let units = wait.map_or(0, |wait| wait.as_nanos() / WAIT_UNIT.as_nanos()).min(u16::MAX.into()) as u16;
    // 0 says that nothing is said, so the shortest wait is one unit.
    let units = units.max(u16::from(wait.is_some()));
    if let Some(said) = id.first_chunk_mut::<WAIT_LEN>() {
        *said = units.to_be_bytes();
    }
    let (said, place) = id.split_at_mut(SAID_LEN);
    place.copy_from_slice(mark_of(said).get(..ID_LEN - SAID_LEN).unwrap_or_default());
}

/// What the id of a request has in the place of a [`Proof`].
pub(super) fn proof(id: &[u8; ID_LEN]) -> Proof {
    id.get(WAIT_LEN..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

/// Has the id of a request, which is [marked](mark) afterwards, show this.
pub(super) fn show(id: &mut [u8; ID_LEN], proof: Proof) {
    if let Some(place) = id.get_mut(WAIT_LEN..).and_then(|rest| rest.first_chunk_mut()) {
        *place = proof;
    }
}

/// Returns `true` if a request is of this library. The id of a reference's is, by chance, once in 2^40.
pub(super) fn is_marked(id: &[u8; ID_LEN]) -> bool {
    let (said, found) = id.split_at(SAID_LEN);
    mark_of(said).starts_with(found)
}

/// Has the id of a request, which is [marked](mark) afterwards, say how large messages its sender puts together.
pub(super) fn say_message(id: &mut [u8; ID_LEN], message: u32) {
    if let Some(place) = id.get_mut(RANDOM_LEN) {
        *place = exponent_of(message);
    }
}

/// The largest message that a requester of this library puts together, bytes.
pub(super) fn message(id: &[u8; ID_LEN]) -> u32 {
    id.get(RANDOM_LEN).map_or(0, |exponent| message_of(*exponent))
}

/// Format of the packets of a flow, as it follows from its QoS, in three bits: the ends must agree on it.
///
/// The QoS is a field of the layer's request, outside of what the hash of the request covers. An end that asked for FRCT and
/// one that was asked for none would take headers for messages, encrypted or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format(u8);

impl Format {
    pub(super) fn of(qos: &QosSpec) -> Self {
        Self(u8::from(qos.has_frct()) | u8::from(qos.is_reliable()) << 1 | u8::from(qos.has_crc()) << 2)
    }
}

/// A limit on messages in five bits: the power of two that is not larger; 0 for none.
fn exponent_of(message: u32) -> u8 {
    message.checked_ilog2().unwrap_or(0) as u8
}

fn message_of(exponent: u8) -> u32 {
    match exponent & MAX_EXPONENT {
        0 => 0,
        exponent => 1 << exponent,
    }
}

/// Time that the requester waits, if it is of this library and says so.
pub(super) fn wait(id: &[u8; ID_LEN]) -> Option<Duration> {
    let units = id.first_chunk::<WAIT_LEN>().map_or(0, |said| u16::from_be_bytes(*said));
    (units != 0 && is_marked(id)).then(|| WAIT_UNIT * units.into())
}

/// The id of a request, the same for all of its repetitions: each says how long the requester still waits, and is marked
/// anew. 64 bits of it are random, also in that of a reference.
pub(super) fn without_wait(mut id: [u8; ID_LEN]) -> [u8; ID_LEN] {
    let (random, mark) = id.split_at_mut(RANDOM_LEN);
    random.iter_mut().take(WAIT_LEN).for_each(|byte| *byte = 0);
    mark.fill(0);
    id
}

fn mark_of(said: &[u8]) -> [u8; 32] {
    hash::sha256(&[REQUEST, said])
}

/// What a server of this library grants a client of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// The timeout of the flow, milliseconds.
    pub(super) timeout: u32,
    /// The largest message that it puts together, bytes; on the wire a power of two.
    pub(super) message: u32,
    /// Not granted, but what the server was asked for, as it arrived.
    pub(super) format: Format,
}

impl Terms {
    fn to_bytes(self) -> [u8; TERMS_LEN] {
        let [a, b, c, d] = self.timeout.to_be_bytes();
        [a, b, c, d, exponent_of(self.message) | self.format.0 << MAX_EXPONENT.count_ones()]
    }

    fn from_bytes([a, b, c, d, exponent]: [u8; TERMS_LEN]) -> Self {
        Self {
            timeout: u32::from_be_bytes([a, b, c, d]),
            message: message_of(exponent),
            format: Format(exponent >> MAX_EXPONENT.count_ones()),
        }
    }
}

/// Appends to the application's data of a response what a client of our own kind looks for.
pub(super) fn append_trailer(data: &mut Vec<u8>, terms: Terms, request_hash: &[u8]) {
    let terms = terms.to_bytes();
    data.extend_from_slice(&terms);
    data.extend_from_slice(&response_mark(terms, request_hash));
}

/// The application's data of a response, and the terms granted if it is one of our own kind.
pub(super) fn split_trailer<'a>(data: &'a [u8], request_hash: &[u8]) -> (&'a [u8], Option<Terms>) {
    let whole = (data, None);
    let Some((data, trailer)) = data.len().checked_sub(TRAILER_LEN).and_then(|at| data.split_at_checked(at)) else {
        return whole;
    };
    let Some((terms, found)) = trailer.split_first_chunk() else { return whole };
    // In constant time: otherwise a forger could find the mark byte by byte.
    if response_mark(*terms, request_hash).ct_eq(found).into() {
        (data, Some(Terms::from_bytes(*terms)))
    } else {
        whole
    }
}

fn response_mark(terms: [u8; TERMS_LEN], request_hash: &[u8]) -> [u8; TOKEN_LEN] {
    first(&hash::sha256(&[RESPONSE, &terms, request_hash]))
}

/// The key of a flow between two ends of our own kind. That of a reference is of the public keys alone, or of a static one;
/// this one is of the whole exchange, as the response has the hash of the request in it, and of the name that the client
/// asked for: so who passes a request on to another server gains nothing, and a request that is repeated another key.
pub(super) fn bind(key: &SessionKey, name: Option<&Name>, response: &[u8]) -> SessionKey {
    let name = name.map_or("", Name::as_str).as_bytes();
    // A name has at most 255 bytes: with the length in front no two exchanges are the same.
    let salt = hash::sha256(&[EXCHANGE, &[name.len() as u8], name, response]);
    let mut bound = SessionKey::zero();
    kdf::hkdf(Kdf::Sha256, &salt, key.expose(), b"o7s flow", bound.expose_mut());
    bound
}

fn first(bytes: &[u8]) -> [u8; TOKEN_LEN] {
    bytes.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
