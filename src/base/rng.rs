//! Seeded randomness: a cryptographic generator, and the two streams of it that a stack has.
//!
//! Nothing below the outermost rooms asks the operating system for random bytes. A stack is built with one
//! [`Randomness`], seeded by the operating system or by a simulation, and every part gets its own generator split off
//! from it: the same seed gives the same run.
//!
//! ```
//! use o7s::base::rng::{Randomness, Rng};
//!
//! let mut stack = Randomness::from_seed([7; 32]);
//! let mut keys: Rng = stack.secret.split("keys");
//! let mut eids: Rng = stack.public.split("eids");
//!
//! let mut iv = [0; 12];
//! keys.fill(&mut iv);
//! assert!(eids.below(6) < 6);
//!
//! // The same seed, the same values.
//! let mut again = Randomness::from_seed([7; 32]);
//! let mut same = [0; 12];
//! again.secret.split("keys").fill(&mut same);
//! assert_eq!(iv, same);
//! ```

use core::convert::Infallible;
use core::fmt;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng, TryCryptoRng, TryRng};
use zeroize::Zeroize;

/// A cryptographically secure generator: the key stream of ChaCha20 (RFC 8439), 256 bytes at a time.
///
/// 320 bytes in memory, zeroized on drop. Implements the traits of `rand_core` 0.10. It cannot be cloned: two
/// generators that yield the same values would repeat keys and nonces; [`split`](Self::split) makes an independent
/// one.
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// The generator that `seed` determines.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// An independent generator, keyed with the next 32 bytes of this one and set apart by `label`, which says what
    /// it is for.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn split(&mut self, label: &str) -> Self {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        self.fill(&mut *seed);
        Self::child(&seed, label)
    }

    /// As [`split`](Self::split), with `fresh` randomness from elsewhere mixed in: the new generator is as good as the better
    /// of the two, and another even where this one is in the same state twice, as in a copy of a machine.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn split_with(&mut self, label: &str, fresh: &[u8; 32]) -> Self {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        self.fill(&mut *seed);
        seed.iter_mut().zip(fresh).for_each(|(byte, fresh)| *byte ^= fresh);
        Self::child(&seed, label)
    }

    fn child(seed: &[u8; 32], label: &str) -> Self {
        let mut child = ChaCha20Rng::from_seed(*seed);
        child.set_stream(fnv1a(label.as_bytes()));
        Self(child)
    }

    /// Fills `out` with random bytes.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// A random number of 32 bits.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A random number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A random number less than `n`, each equally likely; 0 if `n` is 0 or 1.
    pub fn below(&mut self, n: u64) -> u64 {
        // The upper half of a 128-bit product maps 64 random bits to 0..n. Of the lower half, the first 2⁶⁴ mod n
        // values are refused, or some results would be one in 2⁶⁴ likelier than others (Lemire, "Fast random integer
        // generation in an interval", 2019).
        let refused = if n < 2 { 0 } else { n.wrapping_neg() % n };
        loop {
            let product = u128::from(self.u64()) * u128::from(n);
            if product as u64 >= refused {
                return (product >> 64) as u64;
            }
        }
    }

    /// `true` with probability `p`: never if `p` is 0 or less or not a number, always if it is 1 or more.
    pub fn chance(&mut self, p: f64) -> bool {
        // 53 bits are what an f64 holds exactly; the quotient is in 0..1, so it is less than any p of 1 or more.
        ((self.u64() >> 11) as f64 / (1u64 << 53) as f64) < p
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.u64())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        self.fill(dst);
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

/// A stack's two sources of randomness, from one seed.
#[derive(Debug)]
pub struct Randomness {
    /// For what must stay secret: private keys. No value of it ever leaves the process, so nothing that a peer can see
    /// tells anything about the generator that makes the keys.
    pub secret: Rng,
    /// For what goes over the wire in clear or decides what does: EIDs, initial sequence numbers, nonces, jitter.
    pub public: Rng,
}

impl Randomness {
    /// Both streams, derived from `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut root = Rng::from_seed(seed);
        Self { secret: root.split("secret"), public: root.split("public") }
    }

    /// An independent pair, set apart by `label`.
    pub fn split(&mut self, label: &str) -> Self {
        Self { secret: self.secret.split(label), public: self.public.split(label) }
    }

    /// The same, with `fresh` randomness for each of them [mixed in](Rng::split_with).
    pub fn split_with(&mut self, label: &str, fresh: &Fresh) -> Self {
        let (secret, public) = (self.secret.split_with(label, &fresh.0), self.public.split_with(label, &fresh.1));
        Self { secret, public }
    }
}

/// Randomness for each of a pair of generators, from elsewhere; wiped when it is dropped.
#[derive(Default)]
pub struct Fresh(pub [u8; 32], pub [u8; 32]);

impl Drop for Fresh {
    fn drop(&mut self) {
        self.0.zeroize();
        self.1.zeroize();
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fresh(..)")
    }
}

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo). It need not resist anybody: the seed of a split is fresh in any case.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Block 0 of the all-zero key and nonce: RFC 8439, appendix A.1, test vector 1.
    #[test]
    fn the_generator_is_chacha20() {
        let mut out = [0; 32];
        Rng::from_seed([0; 32]).fill(&mut out);
        assert_eq!(hex(&out), "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7");
    }

    #[test]
    fn the_generator_is_small() {
        assert!(size_of::<Rng>() <= 320, "{}", size_of::<Rng>());
    }

    #[test]
    fn splits_differ_by_label_and_by_turn_and_not_by_run() {
        let draw = |labels: &[&str]| -> Vec<u64> {
            let mut root = Rng::from_seed([1; 32]);
            labels.iter().map(|l| root.split(l).u64()).collect()
        };
        let (ab, bb, aa) = (draw(&["a", "b"]), draw(&["b", "b"]), draw(&["a", "a"]));
        assert_ne!(ab[0], bb[0], "the label counts");
        assert_ne!(aa[0], aa[1], "the turn counts");
        assert_eq!(ab, draw(&["a", "b"]), "nothing else counts");
    }

    #[test]
    fn what_is_mixed_in_counts_and_so_does_the_generator() {
        let draw = |seed, fresh| {
            let mut child = Randomness::from_seed([seed; 32]).split_with("oap", &Fresh([fresh; 32], [fresh; 32]));
            (child.secret.u64(), child.public.u64())
        };
        let first = draw(1, 1);
        for other in [draw(1, 2), draw(2, 1)] {
            assert!(first.0 != other.0 && first.1 != other.1);
        }
        assert_eq!(first, draw(1, 1));
        assert_ne!(first.0, first.1);
        assert_eq!(draw(1, 0).0, Randomness::from_seed([1; 32]).split("oap").secret.u64(), "nothing is mixed in");
    }

    #[test]
    fn secret_and_public_differ() {
        let mut r = Randomness::from_seed([3; 32]);
        assert_ne!(r.secret.u64(), r.public.u64());
        let mut child = r.split("child");
        assert_ne!(child.secret.u64(), r.secret.u64());
    }

    #[test]
    fn chances_at_and_beyond_the_ends() {
        let mut r = Rng::from_seed([9; 32]);
        for _ in 0..1000 {
            assert!(r.chance(1.0) && r.chance(7.0));
            assert!(!r.chance(0.0) && !r.chance(-1.0) && !r.chance(f64::NAN));
        }
        let hits = (0..100_000).filter(|_| r.chance(0.2)).count();
        assert!((19_000..21_000).contains(&hits), "{hits}");
    }

    #[test]
    fn below_is_even() {
        let mut r = Rng::from_seed([5; 32]);
        assert_eq!((r.below(0), r.below(1)), (0, 0));
        let mut seen = [0u32; 6];
        for _ in 0..60_000 {
            seen[r.below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }

    proptest! {
        #[test]
        fn below_is_below(seed: [u8; 32], n in 1u64..) {
            prop_assert!(Rng::from_seed(seed).below(n) < n);
        }

        #[test]
        fn bytes_are_the_same_however_they_are_drawn(seed: [u8; 32], words in 1usize..200) {
            let mut whole = vec![0; 4 * words];
            Rng::from_seed(seed).fill(&mut whole);
            let mut r = Rng::from_seed(seed);
            for chunk in whole.chunks(4) {
                prop_assert_eq!(&r.u32().to_le_bytes()[..], chunk);
            }
        }
    }
}
