//! pcapng, the file format of packet captures (draft-ietf-opsawg-pcapng): the blocks that this crate writes.
//!
//! A file is a sequence of blocks, each with its length in front and behind, padded to four bytes. Written here is little
//! endian; readers take either.
//!
//! | block | type | made by |
//! |---|---|---|
//! | section header | 0x0A0D0D0A | [`section`] |
//! | interface description | 1 | [`interface`] |
//! | interface statistics | 5 | [`statistics`] |
//! | enhanced packet | 6 | [`Packet`] |
//! | decryption secrets | 10 | [`secrets`] |
//!
//! Times are nanoseconds since 1970-01-01 UTC. A packet says whether it came or went (`epb_flags`), how many packets before
//! it could not be written (`epb_dropcount`) and what is to be said of it (`opt_comment`), for instance why it was dropped.
//!
//! # The packets of flows
//!
//! What the blocks of a flow's own interface hold ([`LINK_FLOW`], the link type that is left to users) are its packets as the
//! flow's machines see them: decrypted, with the FRCT header if the flow has one. In front of each is a [`Flow`].
//!
//! # Secrets
//!
//! A block of secrets has the type [`SECRETS_O7S`], which nobody has registered: other readers skip it. Its contents are
//! the lines of a key log.
//!
//! ```
//! use o7s::wire::pcapng;
//!
//! let mut file = Vec::new();
//! pcapng::section("o7s", &mut file);
//! pcapng::interface(pcapng::LINK_ETHERNET, 0, "eth0", "", &mut file);
//! let packet = pcapng::Packet { interface: 0, unix_nanos: 1, head: &[], data: b"frame", original: 5, ..Default::default() };
//! packet.emit(&mut file);
//! assert_eq!(file.len() % 4, 0);
//! ```

use alloc::vec::Vec;

use super::{Reader, WireError};

#[cfg(test)]
mod tests;

/// Link type of Ethernet frames.
pub const LINK_ETHERNET: u16 = 1;
/// Link type of packets that begin with an IP header, of either version.
pub const LINK_RAW: u16 = 101;
/// Link type of the [packets of flows](self#the-packets-of-flows): the first of those left to users.
pub const LINK_FLOW: u16 = 147;

/// Type of a section header block, the same in either byte order.
pub const SECTION: u32 = 0x0a0d_0d0a;
/// Type of an interface description block.
pub const INTERFACE: u32 = 1;
/// Type of an interface statistics block.
pub const STATISTICS: u32 = 5;
/// Type of an enhanced packet block.
pub const PACKET: u32 = 6;
/// Type of a decryption secrets block.
pub const SECRETS: u32 = 10;
/// Type of the secrets of this crate: "O7SK".
pub const SECRETS_O7S: u32 = 0x4f37_534b;
/// Label of a line of a key log: a key with which two o7s ends protect a flow.
pub const PEER_KEY: &str = "O7S_PEER_SESSION_KEY";
/// Label of a line of a key log: a key with which a flow to a reference is protected.
pub const REFERENCE_KEY: &str = "O7S_REFERENCE_SESSION_KEY";
/// By what a reader tells the byte order.
pub const MAGIC: u32 = 0x1a2b_3c4d;

const OPT_END: u16 = 0;
/// Option of any block: a comment.
pub const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
/// Option of an interface: its name.
pub const IF_NAME: u16 = 2;
/// Option of an interface: what it is.
pub const IF_DESCRIPTION: u16 = 3;
/// Option of an interface: the unit of its times.
pub const IF_TSRESOL: u16 = 9;
/// Option of a packet: whether it came or went.
pub const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// The longest text in an option, bytes; what is longer is cut.
const MAX_TEXT: usize = 1000;

/// The direction of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came.
    In,
    /// It went.
    Out,
}

/// A block under construction: its length is known when it is finished.
struct Block<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Block<'a> {
    fn new(kind: u32, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        Self { out, start }
    }

    fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A time or a count, its upper half first where the format says so.
    fn time(&mut self, nanos: u64) {
        self.u32((nanos >> 32) as u32);
        self.u32(nanos as u32);
    }

    fn pad(&mut self) {
        while !(self.out.len() - self.start).is_multiple_of(4) {
            self.out.push(0);
        }
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let value = value.get(..MAX_TEXT).unwrap_or(value);
        self.u16(code);
        self.u16(value.len() as u16);
        self.out.extend_from_slice(value);
        self.pad();
    }

    /// A text, if it is not empty.
    fn text(&mut self, code: u16, text: &str) {
        let cut = (0..=text.len().min(MAX_TEXT)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        if cut > 0 {
            self.option(code, text.as_bytes().get(..cut).unwrap_or_default());
        }
    }

    fn end_of_options(&mut self) {
        self.u16(OPT_END);
        self.u16(0);
    }

    fn finish(mut self) {
        self.pad();
        let len = (self.out.len() - self.start + 4) as u32;
        self.u32(len);
        if let Some(place) = self.out.get_mut(self.start + 4..self.start + 8) {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }
}

/// Appends a section header, with which a file begins; `program` wrote it.
pub fn section(program: &str, out: &mut Vec<u8>) {
    let mut block = Block::new(SECTION, out);
    block.u32(MAGIC);
    block.u16(1);
    block.u16(0);
    // The length of the section is not known.
    block.out.extend_from_slice(&[0xff; 8]);
    block.text(SHB_USERAPPL, program);
    block.end_of_options();
    block.finish();
}

/// Appends the description of an interface. The first one has the number 0, the next one 1, and so on. Of a packet no more
/// than `snap` bytes are written; 0 for all of them.
pub fn interface(link: u16, snap: u32, name: &str, description: &str, out: &mut Vec<u8>) {
    let mut block = Block::new(INTERFACE, out);
    block.u16(link);
    block.u16(0);
    block.u32(snap);
    block.text(IF_NAME, name);
    block.text(IF_DESCRIPTION, description);
    // Times in units of 10^-9 s.
    block.option(IF_TSRESOL, &[9]);
    block.end_of_options();
    block.finish();
}

/// A packet that passed an interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet<'a> {
    /// Number of the interface.
    pub interface: u32,
    /// Time, nanoseconds since 1970-01-01 UTC.
    pub unix_nanos: u64,
    /// Bytes in front of `data`: headers that were made up.
    pub head: &'a [u8],
    /// The packet, or its first bytes.
    pub data: &'a [u8],
    /// Its length on the link, with `head`.
    pub original: u32,
    /// Its direction, if known.
    pub direction: Option<Direction>,
    /// Number of packets lost before this one.
    pub lost: u64,
    /// Comment; none if empty.
    pub comment: &'a str,
}

impl Packet<'_> {
    /// Bytes of the block at most.
    pub fn max_len(&self) -> usize {
        // Fixed fields, flags, the count of lost ones, end of options, padding.
        80 + self.head.len() + self.data.len() + self.comment.len()
    }

    /// Appends the block.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let mut block = Block::new(PACKET, out);
        block.u32(self.interface);
        block.time(self.unix_nanos);
        block.u32((self.head.len() + self.data.len()) as u32);
        block.u32(self.original);
        block.out.extend_from_slice(self.head);
        block.out.extend_from_slice(self.data);
        block.pad();
        if let Some(direction) = self.direction {
            block.option(EPB_FLAGS, &u32::to_le_bytes(if direction == Direction::In { 1 } else { 2 }));
        }
        if self.lost > 0 {
            block.option(EPB_DROPCOUNT, &self.lost.to_le_bytes());
        }
        block.text(OPT_COMMENT, self.comment);
        block.end_of_options();
        block.finish();
    }
}

/// Appends what became of the packets of an interface: how many passed, and how many of them could not be written.
pub fn statistics(interface: u32, unix_nanos: u64, passed: u64, lost: u64, out: &mut Vec<u8>) {
    let mut block = Block::new(STATISTICS, out);
    block.u32(interface);
    block.time(unix_nanos);
    block.option(ISB_IFRECV, &passed.to_le_bytes());
    block.option(ISB_IFDROP, &lost.to_le_bytes());
    block.end_of_options();
    block.finish();
}

/// Appends secrets: lines of a key log, which open the packets behind them.
pub fn secrets(lines: &[u8], out: &mut Vec<u8>) {
    let mut block = Block::new(SECRETS, out);
    block.u32(SECRETS_O7S);
    block.u32(lines.len() as u32);
    block.out.extend_from_slice(lines);
    block.finish();
}

/// The header of a packet in captures of flows: 12 bytes.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 1 | flags | 1 there is an FRCT header, 2 reliable, 4 encrypted on its way, 8 sent from here, 16 still sealed |
/// | 2 | 2 | 0 | |
/// | 4 | 8 | flow | number of the flow in its stack |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flow {
    /// Number of the flow in its stack.
    pub flow: u64,
    /// There is an FRCT header.
    pub frct: bool,
    /// The flow retransmits.
    pub reliable: bool,
    /// It is encrypted on its way.
    pub encrypted: bool,
    /// It was sent from here.
    pub sent: bool,
    /// It could not be opened: what follows is what came.
    pub sealed: bool,
}

impl Flow {
    /// Bytes of it.
    pub const LEN: usize = 12;
    const VERSION: u8 = 1;

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d, e, f, g, h] = self.flow.to_be_bytes();
        [Self::VERSION, self.flags(), 0, 0, a, b, c, d, e, f, g, h]
    }

    /// The flags as they are on the wire.
    pub fn flags(self) -> u8 {
        let Self { frct, reliable, encrypted, sent, sealed, .. } = self;
        [frct, reliable, encrypted, sent, sealed].iter().rev().fold(0, |flags, set| flags << 1 | u8::from(*set))
    }

    /// Reads it; returns it and the packet behind it.
    ///
    /// # Errors
    /// [`WireError::Truncated`], or [`WireError::Unknown`] for another version.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let mut r = Reader::new(bytes);
        let [version, flags, _, _] = r.array()?;
        if version != Self::VERSION {
            return Err(WireError::Unknown { field: "version of a flow's packet", value: version.into() });
        }
        let has = |bit: u8| flags & bit != 0;
        let flow = r.u64()?;
        let head = Self { flow, frct: has(1), reliable: has(2), encrypted: has(4), sent: has(8), sealed: has(16) };
        Ok((head, r.rest()))
    }
}
