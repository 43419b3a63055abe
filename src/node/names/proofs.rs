//! Proofs that a requester is where it says: under load, those who have one go first.
//!
//! A refusal for want of room carries eight bytes to a requester of this library, which it makes part of the id of its next
//! request: who sends from there and who has heard there are the same then. Nothing is remembered for it: the bytes are a number,
//! and a hash of that, of the place and of a secret that this stack alone has. They are good for half a minute or a minute.

use subtle::ConstantTimeEq;

use crate::base::rng::Rng;
use crate::base::sync::{AtomicU64, Ordering};
use crate::base::time::Instant;
use crate::crypto::{SessionKey, hash};
use crate::oap::{PROOF_LEN, Proof};

/// Seconds for which proofs are made that are alike.
const EPOCH: u64 = 30;
/// Bytes of the number, of which no two are the same within an epoch.
const NUMBER_LEN: usize = 3;
/// Fits into one block of the hash with all that follows.
const PURPOSE: &[u8] = b"o7sa";

/// Makes proofs, and knows them again.
pub(in crate::node) struct Proofs {
    secret: SessionKey,
    next: AtomicU64,
}

impl Proofs {
    pub(in crate::node) fn new(rng: &mut Rng) -> Self {
        let mut secret = SessionKey::zero();
        rng.fill(secret.expose_mut());
        Self { secret, next: AtomicU64::new(rng.u64()) }
    }

    /// A proof for a requester, to be sent to where it says that it is.
    pub(in crate::node) fn make(&self, now: Instant, peer: u64) -> Proof {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut proof = Proof::default();
        if let (Some(place), Some(number)) = (proof.first_chunk_mut::<NUMBER_LEN>(), number.last_chunk()) {
            *place = *number;
        }
        self.complete(epoch(now), peer, &proof)
    }

    /// Returns `true` if it was made for this requester lately.
    pub(in crate::node) fn is_good(&self, now: Instant, peer: u64, proof: &Proof) -> bool {
        let epoch = epoch(now);
        let is_of = |epoch| self.complete(epoch, peer, proof).as_slice().ct_eq(proof);
        (is_of(epoch) | is_of(epoch.wrapping_sub(1))).into()
    }

    /// The proof with the number of this one.
    fn complete(&self, epoch: u64, peer: u64, proof: &Proof) -> Proof {
        let (number, _) = proof.split_at(NUMBER_LEN);
        let parts = [PURPOSE, self.secret.expose(), &epoch.to_be_bytes(), &peer.to_be_bytes(), number];
        let sum = hash::sha256(&parts);
        let mut complete = *proof;
        for (place, byte) in complete.iter_mut().skip(NUMBER_LEN).zip(sum) {
            *place = byte;
        }
        complete
    }
}

fn epoch(now: Instant) -> u64 {
    now.as_nanos() / (EPOCH * 1_000_000_000)
}

const _: () = assert!(PURPOSE.len() + 32 + 8 + 8 + NUMBER_LEN <= 55 && NUMBER_LEN < PROOF_LEN);

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use super::*;

    fn proofs(seed: u8) -> Proofs {
        Proofs::new(&mut Rng::from_seed([seed; 32]))
    }

    #[test]
    fn a_proof_is_of_one_requester_and_of_lately() {
        let (own, other) = (proofs(1), proofs(2));
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        for made in [0, 29, 30, 59, 1000] {
            let proof = own.make(at(made), 7);
            assert!(own.is_good(at(made), 7, &proof) && own.is_good(at(made + 30), 7, &proof));
            assert!(!own.is_good(at(made + 60), 7, &proof), "a minute later");
            assert!(!own.is_good(at(made), 8, &proof), "of another");
            assert!(!other.is_good(at(made), 7, &proof), "by another stack");
            for bit in 0..64 {
                let mut changed = proof;
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!own.is_good(at(made), 7, &changed), "bit {bit}");
            }
        }
    }

    #[test]
    fn no_two_are_the_same() {
        let own = proofs(1);
        let mut all: Vec<_> = (0..10_000).map(|_| own.make(Instant::ZERO, 7)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_000);
    }
}
