//! Recognition of two ends of this library, without a byte that a reference would notice.
//!
//! See [the room's page](super#two-ends-of-our-own-kind) for the layout.

use alloc::vec::Vec;
use core::time::Duration;

use subtle::ConstantTimeEq;

use crate::crypto::hash::{self, DigestOutput};
use crate::crypto::protect::Side;
use crate::wire::oap::ID_LEN;

/// Bytes of each of a [`Peering`]'s tokens.
pub const TOKEN_LEN: usize = 16;

/// Bytes of the id of a request before the mark: how long the requester waits, and what is random.
const RANDOM_LEN: usize = 10;
/// The first of them: the wait in units of [`WAIT_UNIT`], 0 if it is not said.
const WAIT_LEN: usize = size_of::<u16>();
/// Ten minutes and more fit into 16 bits.
const WAIT_UNIT: Duration = Duration::from_millis(10);
/// Prefix of each hash, by purpose: short enough for one block with a hash of 48 bytes, as each flow is allocated with
/// six of these. No two inputs are the same: a hash has 32, 48 or 64 bytes, the random part 10.
const REQUEST: &[u8] = b"o7s request 2";
const RESPONSE: &[u8] = b"o7s";
const NOTICES: &[u8] = b"o7sn";
const PROBES: &[u8] = b"o7sp";
/// Length of the shortest hash.
const SEED_LEN: usize = 32;
/// Bytes that a response carries behind the application's data.
pub(super) const TRAILER_LEN: usize = size_of::<u32>() + TOKEN_LEN;

/// Shared knowledge of two ends of this library from the exchange. It cannot be computed without having seen the
/// exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peering {
    /// This end.
    pub side: Side,
    /// The timeout of the flow that the server grants, milliseconds: it counts, at both ends, instead of the one that
    /// was asked for.
    pub timeout: u32,
    /// The first bytes of the hash of the request, all that a flow keeps of the exchange.
    seed: [u8; SEED_LEN],
}

/// Tokens that mark messages other than data on flows without FRCT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// On what this end says.
    pub own: [u8; TOKEN_LEN],
    /// On what the peer says.
    pub peer: [u8; TOKEN_LEN],
}

impl Peering {
    /// Derives the peering from the hash of the request.
    pub fn new(side: Side, timeout: u32, request_hash: &DigestOutput) -> Self {
        Self { side, timeout, seed: request_hash.first_chunk().copied().unwrap_or_default() }
    }

    /// Computed when they are needed, for most flows need none.
    pub fn tokens(&self) -> Tokens {
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
        first(&hash::sha256(&[PROBES, &self.seed, &[side, kind], &number.to_be_bytes()]))
    }
}

/// Makes the id of a request that of one of our own kind, who waits so long for the answer to it. Longer waits than can be
/// said are said to be as long as can be.
pub(super) fn mark(id: &mut [u8; ID_LEN], wait: Option<Duration>) {
    let units = wait.map_or(0, |wait| wait.as_nanos() / WAIT_UNIT.as_nanos()).min(u16::MAX.into()) as u16;
    let units = units.max(u16::from(wait.is_some()));
    if let Some(said) = id.first_chunk_mut::<WAIT_LEN>() {
        *said = units.to_be_bytes();
    }
    let (random, place) = id.split_at_mut(RANDOM_LEN);
    place.copy_from_slice(mark_of(random).get(..ID_LEN - RANDOM_LEN).unwrap_or_default());
}

/// Returns `true` if a request is of this library. The id of a reference's is, by chance, once in 2^48.
pub(super) fn is_marked(id: &[u8; ID_LEN]) -> bool {
    let (random, found) = id.split_at(RANDOM_LEN);
    mark_of(random).starts_with(found)
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

fn mark_of(random: &[u8]) -> [u8; 32] {
    hash::sha256(&[REQUEST, random])
}

/// Appends to the application's data of a response what a client of our own kind looks for.
pub(super) fn append_trailer(data: &mut Vec<u8>, timeout: u32, request_hash: &[u8]) {
    data.extend_from_slice(&timeout.to_be_bytes());
    data.extend_from_slice(&response_mark(timeout, request_hash));
}

/// The application's data of a response, and the timeout granted if it is one of our own kind.
pub(super) fn split_trailer<'a>(data: &'a [u8], request_hash: &[u8]) -> (&'a [u8], Option<u32>) {
    let whole = (data, None);
    let Some((data, trailer)) = data.len().checked_sub(TRAILER_LEN).and_then(|at| data.split_at_checked(at)) else {
        return whole;
    };
    let Some((timeout, found)) = trailer.split_first_chunk().map(|(t, found)| (u32::from_be_bytes(*t), found)) else {
        return whole;
    };
    if response_mark(timeout, request_hash).ct_eq(found).into() { (data, Some(timeout)) } else { whole }
}

fn response_mark(timeout: u32, request_hash: &[u8]) -> [u8; TOKEN_LEN] {
    first(&hash::sha256(&[RESPONSE, &timeout.to_be_bytes(), request_hash]))
}

fn first(bytes: &[u8]) -> [u8; TOKEN_LEN] {
    bytes.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::suite::Digest;

    #[test]
    fn only_marked_ids_are_recognised() {
        let mut id = [7; ID_LEN];
        assert!(!is_marked(&id));
        mark(&mut id, None);
        assert!(is_marked(&id));
        assert_eq!(id[WAIT_LEN..RANDOM_LEN], [7; RANDOM_LEN - WAIT_LEN]);
        for bit in 0..ID_LEN * 8 {
            let mut other = id;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_marked(&other), "bit {bit}");
        }
    }

    #[test]
    fn the_wait_of_a_requester_is_rounded_down() {
        let said = |of| {
            let mut id = [7; ID_LEN];
            mark(&mut id, of);
            wait(&id)
        };
        let ms = Duration::from_millis;
        for (of, expected) in [
            (None, None),
            (Some(Duration::ZERO), Some(ms(10))),
            (Some(ms(1239)), Some(ms(1230))),
            (Some(ms(20_000)), Some(ms(20_000))),
            (Some(Duration::MAX), Some(ms(655_350))),
        ] {
            assert_eq!(said(of), expected, "{of:?}");
        }
        assert_eq!(wait(&[7; ID_LEN]), None, "a reference's");
    }

    #[test]
    fn a_trailer_belongs_to_one_request_and_leaves_the_data() {
        for data in [&b""[..], b"welcome"] {
            let mut sent = data.to_vec();
            append_trailer(&mut sent, 120_000, &[1; 48]);
            assert_eq!(sent.len(), data.len() + TRAILER_LEN);
            assert_eq!(split_trailer(&sent, &[1; 48]), (data, Some(120_000)));
            assert_eq!(split_trailer(&sent, &[2; 48]), (&sent[..], None), "another request");
            for bit in data.len() * 8..sent.len() * 8 {
                let mut damaged = sent.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(split_trailer(&damaged, &[1; 48]).1, None);
            }
        }
        for len in 0..TRAILER_LEN {
            assert_eq!(split_trailer(&[0; TRAILER_LEN][..len], &[1; 48]).1, None);
        }
    }

    #[test]
    fn proofs_differ_in_everything() {
        let [one, other] = [b"1", b"2"].map(|request| hash::digest(Digest::Sha384, &[request]));
        let here = Peering::new(Side::Client, 5, &one);
        let proof = here.proof(Side::Client, 1, 7);
        assert_eq!(proof, Peering::new(Side::Server, 5, &one).proof(Side::Client, 1, 7), "both ends know it");
        for unlike in [
            here.proof(Side::Server, 1, 7),
            here.proof(Side::Client, 2, 7),
            here.proof(Side::Client, 1, 8),
            Peering::new(Side::Client, 5, &other).proof(Side::Client, 1, 7),
        ] {
            assert_ne!(proof, unlike);
        }
    }

    #[test]
    fn tokens_agree_and_differ_by_direction() {
        let [one, other] = [b"1", b"2"].map(|request| hash::digest(Digest::Sha384, &[request]));
        let [client, server] = [Side::Client, Side::Server].map(|side| Peering::new(side, 5, &one).tokens());
        assert_eq!((client.own, client.peer), (server.peer, server.own));
        assert_ne!(client.own, client.peer);
        assert_ne!(client.own, Peering::new(Side::Client, 5, &other).tokens().own);
    }
}
