//! The two framings: how a frame says of which layer and of which flow it is.

use crate::base::rng::Rng;
use crate::wire::eth::{FLOW_SAPS, Format, MGMT_EID, MGMT_SAP, Port as Purpose};

/// EIDs below this are the reference's, which numbers its flows from 64. Ours are drawn from the others.
const REFERENCE_EIDS: u16 = 4096;
/// Half of the EIDs that may be drawn: one that is free is found soon.
const MAX_EIDS: usize = 1 << 15;
/// The largest payload of an 802.3 frame, whatever the MTU: larger values of its length field mean something else.
const MAX_LLC_MTU: usize = 1500;

/// The framing of a layer: the place of layer and flow in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// Ethernet II: an EtherType for the layer, and an EID for the flow.
    #[non_exhaustive]
    Dix {
        /// At least 0x0600.
        ethertype: u16,
    },
    /// 802.3 with an 802.2 header: a SAP at each end for the flow; one such layer a segment.
    Llc,
}

impl Framing {
    /// The frame format.
    pub(super) const fn format(self) -> Format {
        match self {
            Self::Dix { .. } => Format::Dix,
            Self::Llc => Format::Llc,
        }
    }

    /// The purpose of management frames.
    pub(super) const fn management(self) -> Purpose {
        match self {
            Self::Dix { ethertype } => Purpose::Dix { ethertype, eid: MGMT_EID },
            Self::Llc => Purpose::Llc { dsap: MGMT_SAP, ssap: MGMT_SAP },
        }
    }

    /// The purpose of frames from our number of a flow to the peer's. SAPs fit into a byte.
    pub(super) const fn data(self, local: u16, remote: u16) -> Purpose {
        match self {
            Self::Dix { ethertype } => Purpose::Dix { ethertype, eid: remote },
            Self::Llc => Purpose::Llc { dsap: remote as u8, ssap: local as u8 },
        }
    }

    /// Returns `true` if a flow may have this number.
    pub(super) fn is_flow(self, number: u16) -> bool {
        match self {
            Self::Dix { .. } => number != MGMT_EID,
            Self::Llc => u8::try_from(number).is_ok_and(|sap| FLOW_SAPS.contains(&sap)),
        }
    }

    /// Flows that there can be.
    pub(super) fn max_flows(self) -> usize {
        match self {
            Self::Dix { .. } => MAX_EIDS,
            Self::Llc => FLOW_SAPS.len(),
        }
    }

    /// The largest payload behind our header on a link of this MTU, bytes.
    pub(super) fn max_payload(self, mtu: usize) -> usize {
        let (format, mtu) = match self {
            Self::Dix { .. } => (Format::Dix, mtu),
            Self::Llc => (Format::Llc, mtu.min(MAX_LLC_MTU)),
        };
        // The MTU does not count the addresses and the type or length, 14 bytes; ours does.
        mtu.saturating_sub(format.header_len() - crate::types::device::FRAME_HEADER).min(format.max_payload())
    }
}

/// A random EID that is not one of the reference's.
pub(super) fn random_eid(rng: &mut Rng) -> u64 {
    let first = u64::from(REFERENCE_EIDS);
    first + rng.below(1 + u64::from(u16::MAX) - first)
}

/// The `n`th SAP of a round: one that was used a moment ago, and for which frames may still be on their way, comes last.
pub(super) fn nth_sap(n: u64) -> u64 {
    u64::from(*FLOW_SAPS.start()) + n % FLOW_SAPS.len() as u64
}
