//! Seeds: one number from which everything random in a simulation follows.

use core::ops::Range;

use sha3::{Digest as _, Sha3_256};

use crate::base::rng::Rng;

/// The environment variable that makes [`seeds`] give one seed only.
pub(super) const SEED_VARIABLE: &str = "O7S_SIM_SEED";

/// The randomness that `seed` gives for a purpose. Independent of what else is drawn, and in which order.
pub(super) fn rng(seed: u64, purpose: &str) -> Rng {
    let mut hash = Sha3_256::new();
    hash.update(seed.to_be_bytes());
    hash.update(purpose.as_bytes());
    Rng::from_seed(hash.finalize().into())
}

/// The seeds of a test that runs a scenario many times: `range`, or the one in the environment variable
/// `O7S_SIM_SEED`, which is what a [`Network`](super::Network) says when it is dropped by a panic.
///
/// ```
/// for seed in o7s::sim::seeds(0..3) {
///     let net = o7s::sim::Network::new(seed);
///     net.run_for(core::time::Duration::from_secs(1));
/// }
/// ```
pub fn seeds(range: Range<u64>) -> Range<u64> {
    match std::env::var(SEED_VARIABLE).ok().and_then(|s| s.parse().ok()) {
        Some(seed) if seed < u64::MAX => seed..seed + 1,
        _ => range,
    }
}
