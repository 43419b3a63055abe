//! Addresses of members: how a new one gets its own, and which of two neighbours with the same gives way.
//!
//! A member draws 32 random bits by itself. Among 77 000 members two have the same with a probability of one half. What
//! the wire allows is to look first and to notice afterwards:
//!
//! - [`draw`] leaves out the addresses that are known already. A joiner learns at least one, that of the member it
//!   enrolled with; one that draws again after a conflict knows the whole link-state database.
//! - Link state shows that another member has the own address ([`Watch`](crate::routing::Watch)), and so does a neighbour
//!   when it is connected ([`Met`]).
//!
//! A member that has no flows yet does best to draw again, close its connections and make them anew under the new
//! address. With flows there is no good way out: they are bound to the address at both ends, and so is what the
//! directory says. Then the conflict is reported to the operator of the layer. Of the two members, the one that joined
//! later usually notices first, as it gets the whole database when it connects.

use crate::base::rng::Rng;
use crate::types::id::Address;

/// The greatest address: they have 32 bits in every layer there is.
pub const MAX_ADDRESS: Address = Address(u32::MAX as u64);

/// Draws an address that is not `taken`, and not 0.
///
/// `None` if that fails 64 times in a row: then practically all are taken, or `taken` is wrong.
pub fn draw(rng: &mut Rng, taken: impl Fn(Address) -> bool) -> Option<Address> {
    (0..64).map(|_| Address(rng.u32().into())).find(|&address| is_valid(address) && !taken(address))
}

/// Returns `true` if a member can have this address: neither 0 nor more than 32 bits.
pub fn is_valid(address: Address) -> bool {
    address != Address(0) && address <= MAX_ADDRESS
}

/// Encounter with a neighbour that has this member's address.
///
/// Neither can take the other for a neighbour, so one gives way: it takes another address, if it is new to the layer. That
/// is the one that asked for the connection, which is told. The one that was asked gives way if the other comes again with
/// the same address: then that one is no new member. One of the reference's kind never gives way.
///
/// One that comes again only because the answer was lost, or that just says to have the address, makes a new member take
/// another one all the same. That costs the new member what it has begun in its first 5 s, and has no end but that: nothing
/// on the wire tells such a neighbour from one that is settled, and to wait for a third time would leave a new member beside
/// one that is settled without a connection for as long. Who has been a member for longer keeps the address whoever claims
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// This member asked it for a connection.
    Asked,
    /// It asked for a connection, in this life if it is of our own kind.
    Asking(Option<u32>),
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn drawn_addresses_are_valid_and_not_taken() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut known = BTreeSet::new();
        for _ in 0..1000 {
            let address = draw(&mut rng, |address| known.contains(&address)).unwrap();
            assert!(is_valid(address));
            assert!(known.insert(address));
        }
        assert_eq!(draw(&mut rng, |_| true), None);
        // What it would have drawn is left out.
        let first = draw(&mut Rng::from_seed([2; 32]), |_| false).unwrap();
        assert_ne!(draw(&mut Rng::from_seed([2; 32]), |address| address == first), Some(first));
    }
}
