//! The header of every packet in a unicast layer ("PCI", protocol control information of data transfer).
//!
//! Two members that are neighbours have a flow of a lower layer between them; a packet of that flow is one of these.
//! There is no source address, length, version or checksum.
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | A | destination | address, **least significant byte first** |
//! | A | 1 | qos | number of the QoS cube |
//! | A + 1 | 1 | ttl | how many more flows the packet may cross, this one included |
//! | A + 2 | 1 | ecn | congestion met on the way: each sender adds its own by OR |
//! | A + 3 | E | EID | what it is for at the destination, **least significant byte first** |
//! | A + 3 + E | rest | payload | may be empty: a keepalive |
//!
//! A and E are the layer's [`LayerSizes`], 4 and 8 unless configured otherwise, which makes 15 bytes.
//!
//! EIDs below [`Eid::FIRST_FLOW`] are those of the components of a member: 0 is the [flow allocator](super::fa), 1
//! the [directory](super::dht). The others are ends of flows, chosen by the receiver.
//!
//! The originator writes the layer's maximum into ttl. Each receiver takes one off; the destination ignores what is
//! left, any other member forwards the packet if something is left. So the 1 that a neighbour sends can be consumed but
//! not forwarded, and [`HeaderMut::hop`] leaves 0 at 0, which the C reference turns into 255.
//!
//! ```
//! use o7s::types::id::{Address, Eid};
//! use o7s::wire::dt::{HeaderMut, LayerSizes, Pci};
//!
//! let sizes = LayerSizes::default();
//! let pci = Pci { dst: Address(0x1413_1211), qos: 0, ttl: 60, ecn: 0, eid: Eid(0x5566_7788_0000_0043) };
//! let mut packet = vec![0; sizes.header_len()];
//! pci.emit(sizes, &mut packet)?;
//! packet.extend(b"hello");
//! assert_eq!(packet[..7], [0x11, 0x12, 0x13, 0x14, 0, 60, 0]);
//!
//! // A router passes it on over a flow with a queue.
//! let mut header = HeaderMut::new(sizes, &mut packet)?;
//! assert_eq!(header.hop(), 59);
//! header.mark(3);
//!
//! let (received, payload) = Pci::parse(sizes, &packet)?;
//! assert_eq!(received, Pci { ttl: 59, ecn: 3, ..pci });
//! assert_eq!(payload, b"hello");
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use core::fmt;

use super::WireError;
use crate::types::id::{Address, Eid};
use crate::types::layer::Unicast;

#[cfg(test)]
mod tests;

/// The EID of every member's flow allocator.
pub const FLOW_ALLOCATOR: Eid = Eid(0);
/// The EID of every member's directory.
pub const DIRECTORY: Eid = Eid(1);

/// Bytes between address and EID.
const FIXED: usize = 3;

/// Sizes of addresses and EIDs in the headers of a layer. All members have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerSizes {
    addr: u8,
    eid: u8,
}

impl LayerSizes {
    /// Sizes in bytes; both 1 to 8.
    ///
    /// # Errors
    /// [`WireError::Length`] for any other.
    pub const fn new(addr: u8, eid: u8) -> Result<Self, WireError> {
        if addr == 0 || addr > 8 {
            return Err(WireError::Length { field: "address", value: addr as usize });
        }
        if eid == 0 || eid > 8 {
            return Err(WireError::Length { field: "eid", value: eid as usize });
        }
        Ok(Self { addr, eid })
    }

    /// The sizes in the packets of a layer. EIDs have 8 bytes whatever is configured: the C reference passes other
    /// sizes on at enrollment, but does not use them.
    ///
    /// # Errors
    /// [`WireError::Length`] if addresses would have no bytes or more than 8.
    pub const fn of(layer: &Unicast) -> Result<Self, WireError> {
        Self::new(layer.addr_size, 8)
    }

    /// Bytes of an address.
    pub const fn addr(self) -> usize {
        self.addr as usize
    }

    /// Bytes of an EID.
    pub const fn eid(self) -> usize {
        self.eid as usize
    }

    /// Bytes of a header.
    pub const fn header_len(self) -> usize {
        self.addr() + FIXED + self.eid()
    }
}

impl Default for LayerSizes {
    /// 4 and 8: the only ones that the C reference really uses.
    fn default() -> Self {
        Self { addr: 4, eid: 8 }
    }
}

/// Fields of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pci {
    /// To whom.
    pub dst: Address,
    /// The number of the QoS cube. The C reference sends 0 and ignores it.
    pub qos: u8,
    /// N-1 flows that the packet may still cross, the one it is sent over included.
    pub ttl: u8,
    /// The congestion met on the way.
    pub ecn: u8,
    /// Endpoint id at the destination.
    pub eid: Eid,
}

impl Pci {
    /// Reads a header; returns it and what follows.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if the packet is shorter than a header.
    #[inline]
    pub fn parse(sizes: LayerSizes, packet: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let Parts { addr, fixed: &[qos, ttl, ecn], eid, payload } = split(sizes, packet)?;
        Ok((Self { dst: Address(from_le(addr)), qos, ttl, ecn, eid: Eid(from_le(eid)) }, payload))
    }

    /// Writes the header into the first [`header_len`](LayerSizes::header_len) bytes of `out`.
    ///
    /// # Errors
    /// [`WireError::NoRoom`] if `out` is shorter, and [`WireError::Invalid`] if the address or the EID needs more bytes
    /// than the layer has for it: cut off, it would be a different one. Nothing is written then.
    #[inline]
    pub fn emit(&self, sizes: LayerSizes, out: &mut [u8]) -> Result<(), WireError> {
        if !fits(self.dst.0, sizes.addr()) {
            return Err(WireError::Invalid { field: "address" });
        }
        if !fits(self.eid.0, sizes.eid()) {
            return Err(WireError::Invalid { field: "eid" });
        }
        let need = sizes.header_len();
        let short = WireError::NoRoom { need };
        let out = out.get_mut(..need).ok_or(short)?;
        let (addr, rest) = out.split_at_mut_checked(sizes.addr()).ok_or(short)?;
        let (fixed, eid) = rest.split_first_chunk_mut().ok_or(short)?;
        put_le(addr, self.dst.0);
        *fixed = [self.qos, self.ttl, self.ecn];
        put_le(eid, self.eid.0);
        Ok(())
    }
}

impl fmt::Display for Pci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dst, qos, ttl, ecn, eid } = self;
        write!(f, "dst {dst} qos {qos} ttl {ttl} ecn {ecn} eid {eid}")
    }
}

/// The header of a packet that is on its way, to be changed where it lies.
#[derive(Debug)]
pub struct HeaderMut<'a> {
    dst: Address,
    /// ttl and ecn.
    fields: &'a mut [u8; 2],
}

impl<'a> HeaderMut<'a> {
    /// The header at the front of `packet`.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if the packet is shorter than a header.
    #[inline]
    pub fn new(sizes: LayerSizes, packet: &'a mut [u8]) -> Result<Self, WireError> {
        let short = WireError::Truncated { need: sizes.header_len(), have: packet.len() };
        let header = packet.get_mut(..sizes.header_len()).ok_or(short)?;
        let (addr, rest) = header.split_at_mut_checked(sizes.addr()).ok_or(short)?;
        let fields = rest.get_mut(1..).and_then(|rest| rest.first_chunk_mut()).ok_or(short)?;
        Ok(Self { dst: Address(from_le(addr)), fields })
    }

    /// To whom the packet goes.
    pub const fn dst(&self) -> Address {
        self.dst
    }

    /// Takes one off the ttl, if there is one, and returns what is left. With 0 the packet must not be passed on.
    #[inline]
    pub const fn hop(&mut self) -> u8 {
        let [ttl, _] = self.fields;
        *ttl = ttl.saturating_sub(1);
        *ttl
    }

    /// Adds the congestion of the flow over which the packet is about to be sent.
    #[inline]
    pub const fn mark(&mut self, ecn: u8) {
        let [_, met] = self.fields;
        *met |= ecn;
    }
}

struct Parts<'a> {
    addr: &'a [u8],
    fixed: &'a [u8; FIXED],
    eid: &'a [u8],
    payload: &'a [u8],
}

#[inline]
fn split(sizes: LayerSizes, packet: &[u8]) -> Result<Parts<'_>, WireError> {
    let short = WireError::Truncated { need: sizes.header_len(), have: packet.len() };
    let (addr, rest) = packet.split_at_checked(sizes.addr()).ok_or(short)?;
    let (fixed, rest) = rest.split_first_chunk().ok_or(short)?;
    let (eid, payload) = rest.split_at_checked(sizes.eid()).ok_or(short)?;
    Ok(Parts { addr, fixed, eid, payload })
}

/// A number of at most 8 bytes, the least significant first.
#[inline]
fn from_le(bytes: &[u8]) -> u64 {
    match bytes {
        // The usual sizes, which compile to a load.
        &[a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        &[a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        odd => odd.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)),
    }
}

/// The counterpart: as many of the number's bytes as there is room for.
#[inline]
fn put_le(to: &mut [u8], number: u64) {
    let bytes = number.to_le_bytes();
    match to {
        [a, b, c, d] => [*a, *b, *c, *d] = (number as u32).to_le_bytes(),
        [a, b, c, d, e, f, g, h] => [*a, *b, *c, *d, *e, *f, *g, *h] = bytes,
        odd => odd.iter_mut().zip(bytes).for_each(|(to, from)| *to = from),
    }
}

const fn fits(number: u64, bytes: usize) -> bool {
    bytes >= 8 || number >> (8 * bytes) == 0
}
