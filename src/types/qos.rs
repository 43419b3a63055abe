//! Quality of service: what an application asks of a flow, and the cubes in which layers schedule packets.
//!
//! The specification of a flow travels in the flow request, and *both* ends derive from it how packets are framed:
//! whether there is an FRCT header, retransmission, a checksum, a keepalive. So it is carried bit-exact and not
//! negotiated, but for the timeout, of which a server of this library says how much it grants.
//!
//! ```
//! use o7s::{QosCube, QosSpec};
//!
//! let qos: QosSpec = "data".parse()?;
//! assert_eq!(qos, QosSpec::DATA);
//! assert!(qos.has_frct() && qos.is_reliable());
//! // Anything can be adjusted: in order, but losses do not matter, and nobody checks on the peer.
//! let stream = QosSpec { loss: 1, timeout: 0, ..QosSpec::DATA };
//! assert!(!stream.is_reliable());
//! assert_eq!(stream.keepalive(), None);
//! assert_eq!(QosCube::from(&QosSpec::VOICE), QosCube::Voice);
//! # Ok::<(), o7s::cause::ParseError>(())
//! ```

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use super::parse::ParseError;

/// Requirements of a flow. Start from one of the constants, and change what is different:
///
/// ```
/// use o7s::QosSpec;
///
/// let impatient = QosSpec { timeout: 5000, ..QosSpec::DATA };
/// ```
///
/// Unlike settings of this library it has public fields and no setters. It is not a choice of how something is done here but
/// the content of a message: eight values that go to the other end as they are, because both ends derive from them how
/// packets are framed. None can be out of range, and there can be no more of them without another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "written with the rest of a constant; its fields are those of the wire")]
pub struct QosSpec {
    /// The delay that is tolerated, milliseconds. Picks the cube.
    pub delay: u32,
    /// The bandwidth that is wanted, bits per second. Picks the cube.
    pub bandwidth: u64,
    /// The availability that is wanted, as the number of nines: 3 means 99.9 %. Picks the cube.
    pub availability: u8,
    /// The packet loss that is tolerated. 0 turns on retransmission, if packets are also to be in order.
    pub loss: u32,
    /// The bit errors that are tolerated, per 10⁹ bits. 0 asks for a CRC-32 on every packet; a flow asked for
    /// from here has it only with [`checksum`](crate::FlowBuilder::checksum), without which the request says 1.
    pub ber: u32,
    /// Delivers packets in the order in which they were written. `true` turns on FRCT.
    pub in_order: bool,
    /// The longest interruption that is tolerated, milliseconds. Picks the cube.
    pub max_gap: u32,
    /// Silence after which the peer is taken for dead, milliseconds; 0 for never.
    ///
    /// A server of this library may grant [less, or more](crate::node::Limits::flow_timeout_max) than is asked for; both ends
    /// go by what it granted. Two things speak against a short one, or a long one:
    ///
    /// - Through a unicast layer, a way that fails is replaced when a neighbour is missed, after 2 s between o7s members, 10 s if
    ///   its connections are made with the defaults, and the routes have been computed anew, within a second among members
    ///   of this library. A flow whose timeout is shorter than both together is dead before its packets go the other way.
    /// - Keepalives are sent after a quarter of it, every 30 s by default. A translator of addresses (NAT) between the ends
    ///   that remembers UDP for 30 s only, as some do, has forgotten an idle flow by then: 60 s or less are safer there.
    pub timeout: u32,
}

const RAW: QosSpec = QosSpec {
    delay: u32::MAX,
    bandwidth: 0,
    availability: 0,
    loss: 1,
    ber: 1,
    in_order: false,
    max_gap: u32::MAX,
    timeout: 120_000,
};

impl QosSpec {
    /// Packets as the layer delivers them: maybe lost, reordered or damaged, nothing added. What a flow is without a
    /// specification.
    pub const RAW: Self = RAW;
    /// Raw; damaged packets are dropped if [`checksum`](crate::FlowBuilder::checksum) is on.
    pub const RAW_NO_ERRORS: Self = Self { ber: 0, ..RAW };
    /// In order; lost packets stay lost. Damaged packets are dropped if [`checksum`](crate::FlowBuilder::checksum) is
    /// on.
    pub const BEST_EFFORT: Self = Self { ber: 0, in_order: true, ..RAW };
    /// Like best effort, with the delay and bandwidth of video.
    pub const VIDEO: Self =
        Self { delay: 100, bandwidth: u64::MAX, availability: 3, max_gap: 100, ..Self::BEST_EFFORT };
    /// Like best effort, with the delay and availability of a telephone call.
    pub const VOICE: Self = Self { delay: 50, bandwidth: 100_000, availability: 5, max_gap: 50, ..Self::BEST_EFFORT };
    /// Everything, once, in order: retransmission and flow control.
    pub const DATA: Self = Self { delay: 1000, loss: 0, max_gap: 2000, ..Self::BEST_EFFORT };
    /// The end of a flow that belongs to the layer which carries it: nothing is added, and there is no timeout.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const NP1: Self = Self { loss: u32::MAX, ber: u32::MAX, timeout: 0, ..RAW };

    /// Returns `true` if packets carry the FRCT header: if they are to be in order.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn has_frct(&self) -> bool {
        self.in_order
    }

    /// Returns `true` if lost packets are retransmitted: if there is FRCT and no loss is tolerated.
    pub const fn is_reliable(&self) -> bool {
        self.in_order && self.loss == 0
    }

    /// Returns `true` if packets end in a CRC-32: if no bit error is tolerated.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn has_crc(&self) -> bool {
        self.ber == 0
    }

    /// Returns the silence allowed to the peer; `None` if there is no keepalive. Keepalives are sent after a quarter of
    /// it.
    pub const fn keepalive(&self) -> Option<Duration> {
        match self.timeout {
            0 => None,
            ms => Some(Duration::from_millis(ms as u64)),
        }
    }
}

impl Default for QosSpec {
    /// [`RAW`](Self::RAW): what a flow is without a specification.
    fn default() -> Self {
        Self::RAW
    }
}

impl FromStr for QosSpec {
    type Err = ParseError;

    /// Reads the names that the tools take: `raw`, `best`, `video`, `voice`, `data`.
    fn from_str(s: &str) -> Result<Self, ParseError> {
        match s {
            "raw" => Ok(Self::RAW),
            "best" => Ok(Self::BEST_EFFORT),
            "video" => Ok(Self::VIDEO),
            "voice" => Ok(Self::VOICE),
            "data" => Ok(Self::DATA),
            _ => Err(ParseError::new("quality of service", s, ["raw", "best", "video", "voice", "data"])),
        }
    }
}

/// The class in which a layer schedules a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QosCube {
    /// The default class.
    #[default]
    BestEffort,
    /// At most 100 ms of delay and of interruption, three nines.
    Video,
    /// At most 50 ms of delay and of interruption, five nines, and no more than 100 kbit/s.
    Voice,
}

impl QosCube {
    /// All cubes, in the order of their numbers.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const ALL: [Self; 3] = [Self::BestEffort, Self::Video, Self::Voice];

    /// The number of the cube: 0, 1, 2.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The cube with this number, if there is one.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl From<&QosSpec> for QosCube {
    /// The most demanding cube whose bounds the specification keeps; loss, bit errors and order do not count.
    fn from(q: &QosSpec) -> Self {
        let within = |ms: u32, nines: u8| q.delay <= ms && q.max_gap <= ms && q.availability >= nines;
        if within(50, 5) && q.bandwidth <= 100_000 {
            Self::Voice
        } else if within(100, 3) {
            Self::Video
        } else {
            Self::BestEffort
        }
    }
}

impl fmt::Display for QosCube {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BestEffort => "best effort",
            Self::Video => "video",
            Self::Voice => "voice",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// The reference's presets, a row each: delay, bandwidth, availability, loss, ber, in order, gap, timeout, and
    /// what follows from them: FRCT, retransmission, CRC, cube.
    #[test]
    fn presets() {
        const M: u32 = u32::MAX;
        const BEST: QosCube = QosCube::BestEffort;
        for (q, (delay, bandwidth, availability, loss, ber, in_order, max_gap, timeout), (frct, rtx, crc, cube)) in [
            (QosSpec::RAW, (M, 0, 0, 1, 1, false, M, 120_000), (false, false, false, BEST)),
            (QosSpec::RAW_NO_ERRORS, (M, 0, 0, 1, 0, false, M, 120_000), (false, false, true, BEST)),
            (QosSpec::BEST_EFFORT, (M, 0, 0, 1, 0, true, M, 120_000), (true, false, true, BEST)),
            (QosSpec::VIDEO, (100, u64::MAX, 3, 1, 0, true, 100, 120_000), (true, false, true, QosCube::Video)),
            (QosSpec::VOICE, (50, 100_000, 5, 1, 0, true, 50, 120_000), (true, false, true, QosCube::Voice)),
            (QosSpec::DATA, (1000, 0, 0, 0, 0, true, 2000, 120_000), (true, true, true, BEST)),
            (QosSpec::NP1, (M, 0, 0, M, M, false, M, 0), (false, false, false, BEST)),
        ] {
            assert_eq!(q, QosSpec { delay, bandwidth, availability, loss, ber, in_order, max_gap, timeout });
            assert_eq!((q.has_frct(), q.is_reliable(), q.has_crc(), QosCube::from(&q)), (frct, rtx, crc, cube));
        }
    }

    #[test]
    fn no_loss_without_order_is_not_reliable() {
        assert!(!QosSpec { loss: 0, ..QosSpec::RAW }.is_reliable());
    }

    #[test]
    fn the_keepalive_is_the_timeout() {
        assert_eq!(QosSpec::RAW.keepalive(), Some(Duration::from_secs(120)));
        assert_eq!(QosSpec::NP1.keepalive(), None);
    }

    #[test]
    fn names() {
        for (name, q) in [
            ("raw", QosSpec::RAW),
            ("best", QosSpec::BEST_EFFORT),
            ("video", QosSpec::VIDEO),
            ("voice", QosSpec::VOICE),
            ("data", QosSpec::DATA),
        ] {
            assert_eq!(name.parse(), Ok(q));
        }
        let unknown = "Data".parse::<QosSpec>().unwrap_err().to_string();
        assert_eq!(unknown, "unknown quality of service \"Data\": use raw, best, video, voice or data");
    }

    #[test]
    fn cubes_have_numbers() {
        for (n, cube) in QosCube::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(cube.number()), n);
            assert_eq!(QosCube::from_number(n as u8), Some(cube));
        }
        assert_eq!(QosCube::from_number(3), None);
    }

    #[test]
    fn a_call_with_too_much_bandwidth_is_video() {
        assert_eq!(QosCube::from(&QosSpec { bandwidth: 100_001, ..QosSpec::VOICE }), QosCube::Video);
    }
}
