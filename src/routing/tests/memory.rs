//! What is remembered, for how long, and who can change that.

use super::manners::{Alone, LAST, MANAGEMENT, ME, SECOND, lsu};
use crate::routing::Dialect;
use crate::types::id::Address;

/// Left over from an earlier life of this member, or forged.
#[test]
fn a_withdrawal_of_an_own_link_that_others_remember_is_forgotten_in_time() {
    for dialect in [Dialect::Plain, Dialect::Confirming] {
        let mut alone = Alone::connected_to(dialect);
        for n in 0..100 {
            alone.hear(MANAGEMENT, lsu(ME, Address(1000 + n), (5 << 32) + LAST));
        }
        alone.after(89 * SECOND);
        assert_eq!(alone.member.entries(alone.now).count(), 100, "others may have heard of the link");
        alone.after(2 * SECOND);
        assert_eq!(alone.member.entries(alone.now).count(), 0);
        assert_eq!((alone.member.own_due.len(), alone.member.next_timeout()), (0, None));
    }
}
