//! A packet in the queue of the sending half, and what is known about it.

use super::congestion::HEADERS;
use super::fragments::Part;
use super::pacing::Mark;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::wire::frct::Flags;

/// What is known about a packet in the queue, as bits.
#[derive(Clone, Copy, Default)]
pub(super) struct State(u8);

impl State {
    /// Went out with the data-run flag.
    pub(super) const DRF: u8 = 1;
    /// The peer holds it beyond a gap.
    pub(super) const SACKED: u8 = 2;
    /// Believed lost, waits for its retransmission.
    pub(super) const LOST: u8 = 4;
    /// Was retransmitted at least once.
    pub(super) const RESENT: u8 = 8;
    /// Ends the stream: no user data.
    pub(super) const END: u8 = 16;
    /// Was sent last in pieces.
    pub(super) const CUT: u8 = 128;
    /// Part of a message in fragments: the bits of the header.
    const FRAGMENT: u8 = Flags::FRAGMENT.bits();

    /// A packet that is this part of a message, and of which nothing else is known.
    pub(super) const fn of(part: Part) -> Self {
        Self(part.flags().bits())
    }

    /// The flags of fragments in the packet's header.
    #[inline]
    pub(super) const fn fragment(self) -> Flags {
        Flags::from_bits(self.0 & Self::FRAGMENT)
    }

    #[inline]
    pub(super) fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    #[inline]
    pub(super) fn set(&mut self, bit: u8) {
        self.0 |= bit;
    }

    #[inline]
    pub(super) fn clear(&mut self, bit: u8) {
        self.0 &= !bit;
    }
}

impl Segment {
    /// Length of the packet as a whole, header included, bytes.
    #[inline]
    pub(super) fn size(&self) -> u32 {
        self.cost.saturating_sub(HEADERS as u32)
    }
}

/// A packet in the queue.
pub(super) struct Segment {
    /// Gone as soon as the peer holds it.
    pub(super) packet: Option<PacketBuf>,
    /// When it was sent last.
    pub(super) sent: Instant,
    /// When it was sent first.
    pub(super) first: Instant,
    /// What it counts, bytes.
    pub(super) cost: u32,
    pub(super) state: State,
    /// Retransmissions, as it is sent now: whole, or in pieces of one size.
    pub(super) resent: u8,
    pub(super) mark: Mark,
}
