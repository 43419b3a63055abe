//! Recording what passes a simulated network: datagrams, and the frames of Ethernet segments.

use std::net::SocketAddr;
use std::sync::Arc;

use super::headers;
use super::tap::{Passed, Tap};
use crate::wire::pcapng::{LINK_ETHERNET, LINK_RAW};

/// Writes what passes a network: datagrams and frames when they are sent, and what becomes of those that do not arrive as
/// they were.
#[derive(Debug)]
pub(crate) struct NetworkRecorder {
    tap: Arc<Tap>,
    datagrams: Interfaces,
    frames: Interfaces,
}

/// Numbers of the interfaces of a capture, one for each of: packets that pass, packets that are dropped.
#[derive(Debug)]
struct Interfaces {
    passed: u64,
    dropped: u64,
}

/// The kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketKind {
    /// A datagram from the first to the second.
    Datagram(SocketAddr, SocketAddr),
    /// A frame.
    Frame,
}

impl NetworkRecorder {
    pub(crate) fn new(tap: &Arc<Tap>) -> Self {
        let interfaces = || Interfaces { passed: tap.number(), dropped: tap.number() };
        Self { datagrams: interfaces(), frames: interfaces(), tap: Arc::clone(tap) }
    }

    pub(crate) fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// Records something that is sent, with a comment, unless it is `None`. Nobody asks what it is while there is no capture.
    #[inline]
    pub(crate) fn sent(&self, what: impl FnOnce() -> Option<PacketKind>, data: &[u8], comment: &str) {
        if self.tap.is_on()
            && let Some(what) = what()
        {
            let (interface, name) = match what {
                PacketKind::Datagram(..) => (self.datagrams.passed, "network"),
                PacketKind::Frame => (self.frames.passed, "ethernet"),
            };
            self.record(what, interface, name, data, comment);
        }
    }

    /// Records something that is lost, and the reason.
    #[inline]
    pub(crate) fn dropped(&self, what: impl FnOnce() -> PacketKind, data: &[u8], why: &dyn core::fmt::Debug) {
        if self.tap.is_on() {
            let what = what();
            let (interface, name) = match what {
                PacketKind::Datagram(..) => (self.datagrams.dropped, "network (dropped)"),
                PacketKind::Frame => (self.frames.dropped, "ethernet (dropped)"),
            };
            self.record(what, interface, name, data, &format!("dropped: {why:?}"));
        }
    }

    fn record(&self, what: PacketKind, interface: u64, name: &str, data: &[u8], comment: &str) {
        let name = || name.to_owned();
        let write = |link, head: &[u8]| {
            self.tap.record(&Passed { interface, link, name: &name, head, data, direction: None, comment });
        };
        match what {
            PacketKind::Datagram(src, dst) => write(LINK_RAW, &headers::udp(src, dst, data)),
            PacketKind::Frame => write(LINK_ETHERNET, &[]),
        }
    }
}
