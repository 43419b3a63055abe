//! The FRCT header ("PCI", protocol control information), and selective acknowledgements between o7s peers.
//!
//! On a flow whose QoS asks for ordering, every packet that is not empty starts with these 12 bytes; on other flows
//! there is no header at all. Both ends know which it is from the QoS in the flow request. The header is inside the
//! encryption and under the CRC, if the flow has them.
//!
//! # The header
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +---------------+-----------------------------------------------+
//!  |     flags     |                    window                     |
//!  +---------------+-----------------------------------------------+
//!  |                             seqno                             |
//!  +---------------------------------------------------------------+
//!  |                             ackno                             |
//!  +---------------------------------------------------------------+
//! ```
//!
//! | offset | size | field | meaning | valid if |
//! |---|---|---|---|---|
//! | 0 | 1 | flags | see below | |
//! | 1 | 3 | window | low 24 bits of the first sequence number the sender of this header will *not* take | [`FC`](Flags::FC) |
//! | 4 | 4 | seqno | number of this packet; with [`DRF`](Flags::DRF) on a control packet, the number of the next data packet not yet acknowledged | [`DATA`](Flags::DATA) or [`DRF`](Flags::DRF) |
//! | 8 | 4 | ackno | the next number the sender of this header expects: all before it have arrived | [`ACK`](Flags::ACK) |
//!
//! A window never shrinks, but between two o7s ends one that ends at ackno, when more has been told, says that nothing is
//! taken for now, for want of memory: what is out will have to be sent again.
//!
//! Sequence numbers count packets, not bytes, and wrap at 2^32. A field that is not valid is 0 in what this crate
//! sends, and ignored on receipt: a retransmission by the C reference carries an ackno without the flag.
//!
//! | bit | flag | meaning |
//! |---|---|---|
//! | 0x01 | [`DATA`](Flags::DATA) | user data follows |
//! | 0x02 | [`DRF`](Flags::DRF) | data-run flag: nothing was outstanding when this packet was made, so a receiver may start from its number |
//! | 0x04 | [`ACK`](Flags::ACK) | ackno is valid |
//! | 0x08 | [`FC`](Flags::FC) | window is valid |
//! | 0x10 | [`RDVS`](Flags::RDVS) | rendez-vous: "tell me your window now" |
//! | 0x20 | [`FFGM`](Flags::FFGM) | an end of a [message in fragments](#fragments); a reference never uses it |
//! | 0x40 | [`MFGM`](Flags::MFGM) | more fragments follow; a reference never uses it |
//! | 0x80 | [`END`](Flags::END) | the sender ends its stream or the flow; between o7s ends only |
//!
//! # Packets
//!
//! | packet | flags | window | seqno | ackno | payload |
//! |---|---|---|---|---|---|
//! | data, the peer not yet heard | `01`, `03` | 0 | number | 0 | 1 byte or more |
//! | data, unreliable flow | `09`, `0b` | right edge | number | 0 | 1 byte or more |
//! | data, reliable flow | `0d`, `0f` | right edge | number | left edge | 1 byte or more |
//! | fragment, o7s only | those of data, with `60`, `40` or `20` | as data | number | as data | 1 byte or more |
//! | acknowledgement | `0c`; `0e` from o7s | right edge | 0; left edge of the sending half from o7s | left edge | none, or [`Sack`] |
//! | rendez-vous | `10`; `12` from o7s | 0 | 0; left edge of the sending half from o7s | 0 | none |
//! | its answer | `08`; `0a` from o7s | right edge | 0; left edge of the sending half from o7s | 0 | none |
//! | end of the stream, reliable flow, o7s only | `8d`, `8f` | right edge | number | left edge | reason |
//! | end notice, o7s only | `82`; `8a`, `8e` with a run | right edge | right edge of the sending half | left edge | reason, or 3: "I know" |
//! | piece of a packet, reliable flow, o7s only | `91`, `93`, with `60`, `40` or `20` of a fragment | offset | number | length of the packet's data | a part of it |
//! | path probe, reliable flow, o7s only | `90` | 0 | number of the probe | 0 | zeros, any number but one |
//! | its answer | `94` | 0 | 0 | number of the probe | none |
//! | last acknowledgement at closing | `04` | 0 | 0 | left edge | none |
//!
//! The C reference leaves seqno 0 on control packets. A receiver that takes such a number for the start of a run is
//! lost, which is why o7s sets DRF and a true number on every control packet: a reference that has no run yet starts
//! the right one, and one that has ignores it.
//!
//! The reference retransmits from memory that it may have used again: now and then what arrives is the header of some
//! other packet, even one that the receiver sent itself, with a fresh ackno and a payload of the old length. A control
//! packet with a payload that is not a selective acknowledgement is one of these, and none of its fields can be
//! trusted.
//!
//! # Fragments
//!
//! The reference defines two flags for fragments, and neither sets nor looks at them: what one program writes at a time is
//! one packet. Between two o7s ends that have [told each other](crate::oap#two-ends-of-our-own-kind) how large messages they
//! put together, a larger write goes as several packets with numbers that follow each other:
//!
//! | FFGM | MFGM | the packet is |
//! |---|---|---|
//! | 0 | 0 | a message of its own |
//! | 1 | 1 | the first fragment of a message |
//! | 0 | 1 | a fragment in the middle |
//! | 1 | 0 | the last fragment |
//!
//! That the last one has a mark of its own is for flows that are not reliable: whoever misses what lies before it must not
//! take it for a message.
//!
//! # Pieces and path probes
//!
//! A path may carry less than the devices at its ends, and drop what is larger without a word. What has a number already
//! cannot be cut into [fragments](#fragments) any more, because the numbers that follow are given away. Between two o7s ends
//! that put messages together such a packet goes in *pieces* that carry its number: [`RDVS`](Flags::RDVS) and
//! [`END`](Flags::END), which nothing else has together ([`PATH`](Flags::PATH)), beside the flags that it has as a whole.
//! Window and ackno are where its data lies in that of the packet, and how much that is altogether, bytes; the receiver takes
//! the packet when it has all of it. Each transmission cuts anew, and pieces of two that do not fit together are of no use:
//! those that came later count. A piece that is not the last has at least 64 bytes of data, a packet no more than 65 536.
//!
//! The same two flags without DATA are a *path probe*, as large as its sender wants to know whether it passes, and with
//! [`ACK`](Flags::ACK) its answer, which names it. A probe of the header alone asks whether anything passes.
//!
//! Whoever knows none of this drops all of it as malformed.
//!
//! # Ends
//!
//! Between two o7s peers a packet with [`END`](Flags::END) says how its sender goes, in the one byte behind the header:
//! 0, it writes no more; 1, it neither writes nor reads any more; 2, it gave the flow up. With DATA it is a packet of the
//! stream and has a number of its own; without, it is a notice, which is answered with 3.
//!
//! # Selective acknowledgements
//!
//! Between two o7s peers an acknowledgement without data may be followed by the ranges that arrived beyond ackno.
//! The reference ignores what follows a control packet's header; nevertheless it is sent only to a peer that is o7s.
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 12 | 1 | magic | 0x53, "S" |
//! | 13 | 1 | n | number of blocks, 1 to 32 |
//! | 14 + 8i | 4 | first | first number of block i that arrived |
//! | 18 + 8i | 4 | end | first number behind it that did not |
//!
//! Blocks are not empty, ascend, do not touch each other or ackno (they would be one), and all lie within 2^31 of
//! ackno. Nothing follows the last one.
//!
//! ```
//! use o7s::base::seq::Seq;
//! use o7s::wire::frct::{Flags, Pci, Sack};
//!
//! // 100 to 102 have arrived, and 105 and 106.
//! let pci = Pci { flags: Flags::ACK | Flags::FC | Flags::DRF, window: 359, seqno: Seq(7), ackno: Seq(103) };
//! let mut sack = Sack::new(pci.ackno);
//! assert!(sack.push(Seq(105), Seq(107)));
//! assert!(!sack.push(Seq(107), Seq(109)), "touches the block before");
//!
//! let mut packet = pci.to_bytes().to_vec();
//! packet.resize(Pci::LEN + sack.encoded_len(), 0);
//! sack.emit(&mut packet[Pci::LEN..])?;
//!
//! let pci = Pci::parse(&packet)?;
//! let sack = Sack::parse(pci.ackno, &packet[Pci::LEN..])?;
//! assert_eq!(sack.blocks().collect::<Vec<_>>(), [(Seq(105), Seq(107))]);
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use super::WireError;
use crate::base::seq::Seq;

mod sack;
#[cfg(test)]
mod tests;

pub use sack::Sack;

/// Flags of an FRCT header: what the packet is and which fields count.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// User data follows; the sequence number is valid.
    pub const DATA: Self = Self(0x01);
    /// Data-run flag: the sender had nothing outstanding, so a receiver may start its run at the sequence number.
    pub const DRF: Self = Self(0x02);
    /// The acknowledgement number is valid.
    pub const ACK: Self = Self(0x04);
    /// Flow control: the window is valid.
    pub const FC: Self = Self(0x08);
    /// Rendez-vous: the sender's window is closed and it asks for a new one.
    pub const RDVS: Self = Self(0x10);
    /// The first or the last fragment of a message: see [fragments](self#fragments). Between o7s ends only.
    pub const FFGM: Self = Self(0x20);
    /// More fragments of the message follow. Between o7s ends only.
    pub const MFGM: Self = Self(0x40);
    /// Both flags of fragments.
    pub const FRAGMENT: Self = Self(0x60);
    /// The sender ends its stream or the flow: a byte with the reason follows. Between o7s ends only.
    pub const END: Self = Self(0x80);
    /// Both flags of [pieces and path probes](self#pieces-and-path-probes). Between o7s ends only.
    pub const PATH: Self = Self(0x90);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::DATA, "data"),
        (Self::DRF, "drf"),
        (Self::ACK, "ack"),
        (Self::FC, "fc"),
        (Self::RDVS, "rdvs"),
        (Self::FFGM, "ffgm"),
        (Self::MFGM, "mfgm"),
        (Self::END, "end"),
    ];

    /// The flags in this byte.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns `true` if all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns `true` if any flag of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if self.0 == 0 { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

/// The header of an FRCT packet. [Layout](self#the-header).
///
/// `Display` prints one line, in the manner of tcpdump, with the fields that are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pci {
    /// Kind of the packet, and which of the other fields are valid.
    pub flags: Flags,
    /// Receive window: low 24 bits of the first sequence number the sender will not take. Larger values are cut to
    /// 24 bits when encoded; [`decode24`](crate::base::seq::decode24) finds the number that is meant.
    pub window: u32,
    /// Number of this packet, or of the sender's next one.
    pub seqno: Seq,
    /// The next number the sender expects.
    pub ackno: Seq,
}

impl Pci {
    /// Length of the header, bytes.
    pub const LEN: usize = 12;
    /// The bits of a sequence number that the window field carries.
    pub const WINDOW_MASK: u32 = 0x00ff_ffff;

    /// Reads the header at the front of `packet`; what follows it is the payload. Any twelve bytes are a header, so
    /// the only error is [`WireError::Truncated`].
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, WireError> {
        let Some(&[f, w0, w1, w2, s0, s1, s2, s3, a0, a1, a2, a3]) = packet.first_chunk::<{ Self::LEN }>() else {
            return Err(WireError::Truncated { need: Self::LEN, have: packet.len() });
        };
        Ok(Self {
            flags: Flags(f),
            window: u32::from_be_bytes([0, w0, w1, w2]),
            seqno: Seq(u32::from_be_bytes([s0, s1, s2, s3])),
            ackno: Seq(u32::from_be_bytes([a0, a1, a2, a3])),
        })
    }

    /// The header's bytes.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let [_, w0, w1, w2] = self.window.to_be_bytes();
        let [s0, s1, s2, s3] = self.seqno.0.to_be_bytes();
        let [a0, a1, a2, a3] = self.ackno.0.to_be_bytes();
        [self.flags.0, w0, w1, w2, s0, s1, s2, s3, a0, a1, a2, a3]
    }

    /// Writes the header into `out`.
    #[inline]
    pub fn emit(&self, out: &mut [u8; Self::LEN]) {
        *out = self.to_bytes();
    }

    /// Returns `true` if user data follows. A packet without data is a control packet.
    pub const fn is_data(&self) -> bool {
        self.flags.contains(Flags::DATA)
    }

    /// What the header says about pieces and probes of the path, if that is what it is for.
    pub const fn path(&self) -> Option<PathPacket> {
        if !self.flags.contains(Flags::PATH) {
            return None;
        }
        Some(match (self.is_data(), self.flags.contains(Flags::ACK)) {
            (true, _) => PathPacket::Piece { offset: self.window, total: self.ackno.0 },
            (false, false) => PathPacket::Probe(self.seqno),
            (false, true) => PathPacket::Answer(self.ackno),
        })
    }

    /// The header of a piece of the packet that has the number `seqno` and, as a whole, these `flags`.
    pub fn piece(flags: Flags, seqno: Seq, offset: u32, total: u32) -> Self {
        Self { flags: flags | Flags::PATH, window: offset, seqno, ackno: Seq(total) }
    }

    /// The header of a path probe.
    pub fn probe(number: Seq) -> Self {
        Self { flags: Flags::PATH, seqno: number, ..Self::default() }
    }

    /// The header of the answer to a path probe.
    pub fn answer(number: Seq) -> Self {
        Self { flags: Flags::PATH | Flags::ACK, ackno: number, ..Self::default() }
    }
}

/// What a packet with the flags of [`PATH`](Flags::PATH) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathPacket {
    /// A piece of a numbered packet.
    Piece {
        /// Where it lies in the packet's data, bytes.
        offset: u32,
        /// Length of the packet's data, bytes.
        total: u32,
    },
    /// A path probe, and its number.
    Probe(Seq),
    /// The answer to the probe of this number.
    Answer(Seq),
}

impl fmt::Display for Pci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.flags)?;
        match self.path() {
            Some(PathPacket::Piece { offset, total }) => {
                return write!(f, " seq {} piece at {offset} of {total}", self.seqno.0);
            }
            Some(PathPacket::Probe(number)) => return write!(f, " path probe {}", number.0),
            Some(PathPacket::Answer(number)) => return write!(f, " path answer {}", number.0),
            None => {}
        }
        if self.flags.contains(Flags::DATA) || self.flags.contains(Flags::DRF) {
            write!(f, " seq {}", self.seqno.0)?;
        }
        if self.flags.contains(Flags::ACK) {
            write!(f, " ack {}", self.ackno.0)?;
        }
        if self.flags.contains(Flags::FC) {
            write!(f, " win {:#08x}", self.window & Self::WINDOW_MASK)?;
        }
        Ok(())
    }
}
