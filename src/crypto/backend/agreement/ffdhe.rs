//! The groups of finite fields of RFC 7919, by exponentiation in constant time.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U2048, U3072, U4096, Uint};
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use super::Pair;
use crate::crypto::backend::{KeyExchange, PrivateKey};
use crate::crypto::der::without_zeros;
use crate::crypto::kex::algorithm_of;
use crate::crypto::kex::ffdhe::{self, GENERATOR, Group};
use crate::crypto::suite::Kex;
use crate::crypto::{CryptoError, SharedSecret};

/// A group of numbers of so many limbs.
pub(super) struct Ffdhe<const LIMBS: usize> {
    group: &'static Group,
    /// Bytes of a fresh private number: twice the strength of the group and more, as RFC 7919 has it, and not the length of
    /// the prime, which would take eight times as long.
    private_len: usize,
}

pub(super) static FFDHE2048: Ffdhe<{ U2048::LIMBS }> = Ffdhe { group: &ffdhe::FFDHE2048, private_len: 32 };
pub(super) static FFDHE3072: Ffdhe<{ U3072::LIMBS }> = Ffdhe { group: &ffdhe::FFDHE3072, private_len: 40 };
pub(super) static FFDHE4096: Ffdhe<{ U4096::LIMBS }> = Ffdhe { group: &ffdhe::FFDHE4096, private_len: 48 };

/// A private number. How many bits may be set in it is no secret.
struct Private<const LIMBS: usize> {
    group: &'static Group,
    number: Zeroizing<Uint<LIMBS>>,
    bits: u32,
}

impl<const LIMBS: usize> KeyExchange for Ffdhe<LIMBS> {
    fn kex(&self) -> Kex {
        self.group.kex
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let mut bytes = Zeroizing::new(alloc::vec![0; self.private_len]);
        rng.fill_bytes(&mut bytes);
        self.import(&bytes)
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let number = Zeroizing::new(number::<LIMBS>(private).ok_or(CryptoError::InvalidPrivateKey)?);
        if bool::from(number.is_zero()) {
            return Err(CryptoError::InvalidPrivateKey);
        }
        let secret = Private { group: self.group, number, bits: 8 * private.len() as u32 };
        let public = secret.power(&Uint::from_u8(GENERATOR));
        let public = self.group.wrap(&public);
        Ok(Box::new(Pair { secret, public }))
    }
}

impl<const LIMBS: usize> PrivateKey for Pair<Private<LIMBS>> {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        if algorithm_of(peer)? != self.secret.group.kex {
            return Err(CryptoError::GroupMismatch);
        }
        let (group, peer) = ffdhe::unwrap(peer).ok_or(CryptoError::InvalidPublicKey)?;
        let peer = number(peer).filter(|_| is_in_range(peer, group.prime)).ok_or(CryptoError::InvalidPublicKey)?;
        // The reference leaves zeros in front out, once in 256 times.
        Ok(SharedSecret::copy_of(without_zeros(&self.secret.power(&peer))))
    }
}

impl<const LIMBS: usize> Private<LIMBS> {
    /// The base to the power of the private number, big-endian and as long as the prime.
    #[allow(clippy::expect_used, reason = "the primes are odd")]
    fn power(&self, base: &Uint<LIMBS>) -> Zeroizing<Vec<u8>> {
        let prime = Odd::new(Uint::from_be_slice(self.group.prime)).into_option().expect("a prime is odd");
        let parameters = FixedMontyParams::new_vartime(prime);
        let mut power = FixedMontyForm::new(base, &parameters).pow_bounded_exp(&self.number, self.bits);
        let mut number = power.retrieve();
        // As long as the number from the start: what grows is moved, and stays where it was.
        let mut bytes = Zeroizing::new(Vec::with_capacity(Uint::<LIMBS>::BYTES));
        number.as_words().iter().rev().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
        power.zeroize();
        number.zeroize();
        bytes
    }
}

/// A big-endian number; `None` if it is longer than the numbers of the group.
fn number<const LIMBS: usize>(bytes: &[u8]) -> Option<Uint<LIMBS>> {
    let mut padded = Zeroizing::new(alloc::vec![0; Uint::<LIMBS>::BYTES]);
    let at = padded.len().checked_sub(bytes.len())?;
    padded.get_mut(at..)?.copy_from_slice(bytes);
    Some(Uint::from_be_slice(&padded))
}

/// Returns `true` for a number above 1 and below the prime less 1. All primes are safe, so that no other one lies in a small
/// subgroup.
fn is_in_range(number: &[u8], prime: &[u8]) -> bool {
    let is_above = match number {
        [] => false,
        [single] => *single > 1,
        _ => true,
    };
    // The last byte of the prime is odd, so that one less changes no other.
    let is_below = match number.len().cmp(&prime.len()) {
        Ordering::Less => true,
        Ordering::Equal => {
            let in_pairs = |bytes: &[u8]| bytes.split_last().map(|(last, rest)| (last | 1, rest.to_vec()));
            number < prime && in_pairs(number) != in_pairs(prime)
        }
        Ordering::Greater => false,
    };
    is_above && is_below
}
