//! Routes: for every destination, the neighbours to send to.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::id::Address;

/// Lists of next hops that are remembered by what is in them, as a power of two.
const REMEMBERED: u32 = 7;
/// Slots that are looked at for a list.
const PROBED: usize = 8;
/// An empty slot.
const NONE: u32 = u32::MAX;

/// A destination and where its next hops are in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    dst: Address,
    start: u32,
    len: u32,
}

/// For every destination the addresses of the neighbours to send to, the best first.
///
/// ```
/// use o7s::types::routes::Routes;
/// use o7s::Address;
///
/// let mut routes = Routes::new(false);
/// routes.push(Address(7), [Address(2), Address(3)]);
/// assert_eq!(routes.get(Address(7)), [Address(2), Address(3)]);
/// assert!(routes.get(Address(8)).is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Routes {
    spreads_flows: bool,
    /// Ordered by address.
    targets: Vec<Target>,
    /// Next hops, which many destinations share.
    hops: Vec<Address>,
    /// Where lists of them begin, by a hash of the list, while there are more to come.
    lists: Option<Box<[u32; 1 << REMEMBERED]>>,
}

impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        self.spreads_flows == other.spreads_flows && self.targets == other.targets && self.hops == other.hops
    }
}

impl Eq for Routes {}

impl Routes {
    /// No routes yet, of a policy that [spreads flows](Self::spreads_flows) or does not.
    pub const fn new(spreads_flows: bool) -> Self {
        Self { spreads_flows, targets: Vec::new(), hops: Vec::new(), lists: None }
    }

    /// Makes room for so many more destinations.
    pub fn reserve(&mut self, destinations: usize) {
        self.targets.reserve(destinations);
    }

    /// Adds a destination, which comes after those that were added before: by ascending address. Without a next hop it
    /// is left out.
    pub fn push(&mut self, dst: Address, hops: impl AsRef<[Address]>) {
        debug_assert!(self.targets.last().is_none_or(|last| last.dst < dst), "destinations are in ascending order");
        let hops = hops.as_ref();
        if hops.is_empty() {
            return;
        }
        let start = self.start_of(hops);
        self.targets.push(Target { dst, start, len: hops.len() as u32 });
    }

    /// Where these next hops are, which are added unless they are remembered: a member has few neighbours, or so many that
    /// not every list can be, and the first are.
    fn start_of(&mut self, new: &[Address]) -> u32 {
        let (first, last) = (new.first().map_or(0, |hop| hop.0), new.last().map_or(0, |hop| hop.0));
        let mixed = (first ^ last.rotate_left(23) ^ new.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let lists = self.lists.get_or_insert_with(|| Box::new([NONE; 1 << REMEMBERED]));
        let first = (mixed >> (u64::BITS - REMEMBERED)) as usize;
        for at in first..first + PROBED {
            let Some(slot) = lists.get_mut(at % (1 << REMEMBERED)) else { break };
            if *slot == NONE {
                *slot = self.hops.len() as u32;
                break;
            }
            if self.hops.get(*slot as usize..).is_some_and(|hops| hops.starts_with(new)) {
                return *slot;
            }
        }
        self.hops.extend_from_slice(new);
        (self.hops.len() - new.len()) as u32
    }

    /// Gives spare memory back, when no more are added.
    pub fn shrink_to_fit(&mut self) {
        self.lists = None;
        self.targets.shrink_to_fit();
        self.hops.shrink_to_fit();
    }

    /// Returns `true` if flows are spread over the next hops of a destination; if not, the first that is up takes all.
    pub const fn spreads_flows(&self) -> bool {
        self.spreads_flows
    }

    /// The next hops towards a destination; none if there is no path.
    pub fn get(&self, dst: Address) -> &[Address] {
        match self.targets.binary_search_by_key(&dst, |target| target.dst) {
            Ok(at) => self.targets.get(at).map_or(&[], |target| self.hops_of(target)),
            Err(_) => &[],
        }
    }

    /// Destinations and their next hops, by ascending address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Address, &[Address])> {
        self.targets.iter().map(|target| (target.dst, self.hops_of(target)))
    }

    /// Destinations that can be reached.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Returns `true` if nothing can be reached.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    fn hops_of(&self, target: &Target) -> &[Address] {
        let start = target.start as usize;
        self.hops.get(start..start + target.len as usize).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lists of next hops among eight neighbours, as many as there are destinations.
    fn lists() -> impl Strategy<Value = Vec<Vec<Address>>> {
        proptest::collection::vec(proptest::collection::vec((1..9u64).prop_map(Address), 1..5), 0..300)
    }

    proptest! {
        #[test]
        fn every_destination_has_the_next_hops_that_were_pushed(lists in lists()) {
            let mut routes = Routes::new(false);
            for (dst, hops) in (0..).zip(&lists) {
                routes.push(Address(dst), hops);
            }
            routes.shrink_to_fit();
            prop_assert_eq!(routes.len(), lists.len());
            for (dst, hops) in (0..).zip(&lists) {
                prop_assert_eq!(routes.get(Address(dst)), &hops[..]);
            }
        }
    }

    #[test]
    fn destinations_share_next_hops() {
        let pairs = |dst: u64| [Address(1 + dst % 4), Address(5 + dst / 4 % 4)];
        let mut routes = Routes::new(true);
        for dst in 0..1000 {
            routes.push(Address(dst), pairs(dst));
        }
        assert_eq!(routes.hops.len(), 32, "16 lists of two");
        assert!((0..1000).all(|dst| routes.get(Address(dst)) == pairs(dst)));
    }
}
