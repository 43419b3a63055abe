//! A keyed hash by which repeated packets are recognised.

use crate::base::rng::Rng;

/// The prime 2⁶¹ − 1: remainders by it are two additions.
const P: u64 = (1 << 61) - 1;
/// Bytes taken at a time: what fits below [`P`].
const BLOCK: usize = 7;

/// The key: where the polynomial is evaluated whose coefficients are the packet's length and its bytes.
///
/// Two packets of *n* bytes that differ have the same digest for at most *n* / 7 + 1 of the 2⁶¹ keys. Digests never
/// leave the member, so the key cannot be learned from them to do better than that; a cryptographic hash would take ten
/// times as long.
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self(1 + rng.below(P - 1))
    }

    pub(super) fn digest(&self, packet: &[u8]) -> u64 {
        packet.chunks(BLOCK).fold(packet.len() as u64, |sum, block| {
            let coefficient = block.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            (multiply(sum, self.0) + coefficient) % P
        })
    }
}

/// The product modulo [`P`], of factors less than that.
fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    // 2⁶¹ leaves 1.
    ((product >> 61) as u64 + (product as u64 & P)) % P
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec;

    use proptest::prelude::{any, prop, prop_assert_eq, prop_assert_ne, proptest};

    use super::*;

    fn key() -> Key {
        Key::new(&mut Rng::from_seed([7; 32]))
    }

    #[test]
    fn products_match_wide_arithmetic() {
        assert_eq!(multiply(P - 1, P - 1), 1);
        assert_eq!(multiply(0, P - 1), 0);
        assert_eq!(multiply(1 << 60, 2), 1);
    }

    #[test]
    fn similar_packets_differ() {
        let mut seen = BTreeSet::new();
        for len in 0..1500 {
            let mut packet = vec![0; len];
            assert!(seen.insert(key().digest(&packet)), "{len} zeros");
            if let Some(last) = packet.last_mut() {
                *last = 1;
                assert!(seen.insert(key().digest(&packet)), "{len} bytes ending in 1");
            }
        }
    }

    #[test]
    fn digests_depend_on_the_key() {
        let other = Key::new(&mut Rng::from_seed([8; 32]));
        assert_ne!(key().digest(b"hello"), other.digest(b"hello"));
    }

    proptest! {
        #[test]
        fn equal_packets_have_equal_digests(
            a in prop::collection::vec(any::<u8>(), 0..40), b in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assert_eq!(key().digest(&a), key().digest(&a.clone()));
            if a != b {
                prop_assert_ne!(key().digest(&a), key().digest(&b));
            }
        }
    }
}
