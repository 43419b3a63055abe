//! Kademlia's measure of distance: two ids, taken as numbers, are as far apart as their exclusive or is great.

use core::cmp::Ordering;

use crate::base::rng::Rng;
use crate::types::name::{HashAlg, NameHash};

/// The exclusive or of two ids: how far they are apart. With one of them it gives the other.
pub(super) fn xor(a: &NameHash, b: &NameHash) -> NameHash {
    let mut bytes = [0; NameHash::MAX_LEN];
    let all = a.as_bytes().iter().zip(b.as_bytes());
    bytes.iter_mut().zip(all).for_each(|(byte, (a, b))| *byte = a ^ b);
    bytes.get(..b.as_bytes().len()).and_then(NameHash::new).unwrap_or(*b)
}

/// Compares the distances of `a` and `b` to `key`: `Less` if `a` is closer. All of their bits count.
pub(super) fn compare(key: &NameHash, a: &NameHash, b: &NameHash) -> Ordering {
    let bytes = key.as_bytes().iter().zip(a.as_bytes()).zip(b.as_bytes());
    let differ = bytes.into_iter().find(|((_, a), b)| a != b);
    differ.map_or(Ordering::Equal, |((key, a), b)| (a ^ key).cmp(&(b ^ key)))
}

/// Returns `true` if `a` is closer to `key` than `b`.
pub(super) fn closer(key: &NameHash, a: &NameHash, b: &NameHash) -> bool {
    compare(key, a, b) == Ordering::Less
}

/// Number of leading bits that two ids have in common.
pub(super) fn common_prefix(a: &NameHash, b: &NameHash) -> usize {
    let mut bits = 0;
    for (a, b) in a.as_bytes().iter().zip(b.as_bytes()) {
        let differ = a ^ b;
        bits += differ.leading_zeros() as usize;
        if differ != 0 {
            break;
        }
    }
    bits
}

/// A random id.
#[allow(clippy::expect_used, reason = "a hash has 1 to 64 bytes, whatever the algorithm")]
pub(super) fn random(rng: &mut Rng, alg: HashAlg) -> NameHash {
    let mut bytes = [0; NameHash::MAX_LEN];
    rng.fill(&mut bytes);
    bytes.get(..alg.len()).and_then(NameHash::new).expect("the length of a hash")
}

/// A random id that has exactly the first `bits` bits in common with `id`, or is `id` if it has no more.
pub(super) fn random_in_bucket(rng: &mut Rng, id: &NameHash, bits: usize) -> NameHash {
    let mut bytes = [0; NameHash::MAX_LEN];
    rng.fill(&mut bytes);
    let (whole, part) = (bits / 8, bits % 8);
    for (at, (byte, own)) in bytes.iter_mut().zip(id.as_bytes()).enumerate() {
        if at < whole {
            *byte = *own;
        } else if at == whole {
            // The bit behind the prefix is inverted, or the ids could have more in common; those behind it are random.
            let turned = 0x80 >> part;
            let free = turned - 1;
            *byte = ((*own ^ turned) & !free) | (*byte & free);
        }
    }
    bytes.get(..id.as_bytes().len()).and_then(NameHash::new).unwrap_or(*id)
}
