//! Routes: for every destination, the neighbours to send to.

use alloc::vec::Vec;

use super::id::Address;

/// Number of next hops searched for that of one more destination.
const LOOKED_AT: usize = 16;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    spreads_flows: bool,
    /// Ordered by address.
    targets: Vec<Target>,
    /// Next hops, which many destinations share.
    hops: Vec<Address>,
}

impl Routes {
    /// No routes yet, of a policy that [spreads flows](Self::spreads_flows) or does not.
    pub const fn new(spreads_flows: bool) -> Self {
        Self { spreads_flows, targets: Vec::new(), hops: Vec::new() }
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
        let start = self.same(hops).unwrap_or_else(|| {
            self.hops.extend_from_slice(hops);
            self.hops.len() - hops.len()
        });
        self.targets.push(Target { dst, start: start as u32, len: hops.len() as u32 });
    }

    /// Finds an only next hop among the first few: a member has few neighbours, or so many that it does not pay to look. Of
    /// several there are so many lists that few would be found.
    fn same(&self, new: &[Address]) -> Option<usize> {
        let [only] = new else { return None };
        self.hops.get(..self.hops.len().min(LOOKED_AT))?.iter().position(|hop| hop == only)
    }

    /// Gives spare memory back, when no more are added.
    pub fn shrink_to_fit(&mut self) {
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
