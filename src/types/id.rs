//! Numbers that name things: endpoints of flows, members of a layer, flows in a stack.
//!
//! ```
//! use o7s::types::id::{Address, Eid};
//!
//! assert_eq!(Address(0x0403_0201).to_string(), "01.02.03.04");
//! assert!(Eid(7).is_component() && !Eid(64).is_component());
//! ```

use core::fmt;

/// An endpoint id: what a packet in a layer says about which flow it belongs to. Chosen by the receiving end.
///
/// 64 bits in a unicast layer, 32 over UDP, 16 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number, and nothing else")]
pub struct Eid(pub u64);

impl Eid {
    /// EIDs below this belong to the components of an IPCP, such as its directory; flows have this or more.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const FIRST_FLOW: u64 = 64;

    /// Returns `true` for the EID of a component of an IPCP.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn is_component(self) -> bool {
        self.0 < Self::FIRST_FLOW
    }
}

impl fmt::Display for Eid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number by which a stack knows an IPCP. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpcpId(pub u64);

/// The address of a member of a unicast layer: unique in the layer, without meaning outside it. 0 is no member's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number, and nothing else")]
pub struct Address(pub u64);

impl fmt::Display for Address {
    /// Prints as the reference does: the bytes in hexadecimal, the least significant first, dots between; four of them
    /// if that is enough.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i] = self.0.to_le_bytes();
        write!(f, "{a:02x}.{b:02x}.{c:02x}.{d:02x}")?;
        if self.0 > u64::from(u32::MAX) {
            write!(f, ".{e:02x}.{g:02x}.{h:02x}.{i:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// An N-1 flow's number in the IPCP that uses it. Not used again while the IPCP lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number, and nothing else")]
pub struct N1FlowId(pub u32);

impl fmt::Display for N1FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_addresses_are_printed_in_full() {
        assert_eq!(Address(0x0807_0605_0403_0201).to_string(), "01.02.03.04.05.06.07.08");
        assert_eq!(Address(0).to_string(), "00.00.00.00");
    }
}
