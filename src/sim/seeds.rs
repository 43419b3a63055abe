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

/// The seed that the variable says.
fn chosen(text: &str) -> Result<u64, String> {
    let seed = text.trim().parse().ok().filter(|seed| *seed < u64::MAX);
    seed.ok_or_else(|| format!("{SEED_VARIABLE}={text:?} is not a seed: write a number from 0 to {}", u64::MAX - 1))
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
///
/// # Panics
///
/// If the variable has something else than a number: the test would run without what was asked for.
#[track_caller]
#[allow(clippy::panic, reason = "documented: a test is to fail")]
pub fn seeds(range: Range<u64>) -> Range<u64> {
    let Some(text) = std::env::var_os(SEED_VARIABLE).filter(|text| !text.is_empty()) else { return range };
    match chosen(&text.to_string_lossy()) {
        Ok(seed) => seed..seed + 1,
        Err(why) => panic!("{why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_seed_is_refused() {
        assert_eq!((chosen("7"), chosen(" 0\n")), (Ok(7), Ok(0)));
        for text in ["abc", "-1", "1.5", "0..3", "18446744073709551615"] {
            let why = chosen(text).unwrap_err();
            assert!(why.contains(&format!("O7S_SIM_SEED={text:?}")) && why.contains("from 0 to"), "{why}");
        }
    }
}
