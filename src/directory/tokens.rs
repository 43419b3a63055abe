//! Tokens: numbers by which a member shows that it is at its address.
//!
//! Messages name their sender without proof. But an answer goes to that address: a member that knows its contents
//! receives there. The number is a function of address, time and a secret, so no state is kept for requesters.

use core::time::Duration;

use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::types::id::Address;

/// A token is good for the time in which it was given and for the next.
const PERIOD: Duration = Duration::from_secs(1800);

/// Makes tokens and knows them again.
#[derive(Debug)]
pub(super) struct Tokens {
    secret: [u8; 16],
}

impl Tokens {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut secret = [0; 16];
        rng.fill(&mut secret);
        Self { secret }
    }

    /// Makes the token for the member at this address.
    pub(super) fn make(&self, now: Instant, address: Address) -> u64 {
        self.of(address, period(now))
    }

    /// Returns `true` if this token was given there of late.
    pub(super) fn is_valid(&self, now: Instant, address: Address, token: u64) -> bool {
        let period = period(now);
        [Some(period), period.checked_sub(1)].into_iter().flatten().any(|period| self.of(address, period) == token)
    }

    /// ChaCha20's key stream is a pseudo-random function of its key, of which half is secret.
    fn of(&self, address: Address, period: u64) -> u64 {
        let mut seed = [0; 32];
        let parts = self.secret.into_iter().chain(address.0.to_be_bytes()).chain(period.to_be_bytes());
        seed.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        Rng::from_seed(seed).u64().max(1)
    }
}

fn period(now: Instant) -> u64 {
    now.as_nanos() / PERIOD.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_bound_to_address_and_time() {
        let tokens = Tokens::new(&mut Rng::from_seed([1; 32]));
        let others = Tokens::new(&mut Rng::from_seed([2; 32]));
        let (began, a) = (Instant::from_millis(1), Address(7));
        let token = tokens.make(began, a);
        assert!(tokens.is_valid(began, a, token) && tokens.is_valid(began + PERIOD, a, token));
        assert!(!tokens.is_valid(began + 2 * PERIOD, a, token));
        assert!(!tokens.is_valid(began, Address(8), token) && !others.is_valid(began, a, token));
        assert!(!tokens.is_valid(began, a, 0) && !tokens.is_valid(began, a, token ^ 1));
    }
}
