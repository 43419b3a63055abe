//! The packets of flows, in the clear.

use std::sync::Arc;

use super::tap::{Passed, Tap};
use crate::types::tap::{FlowPacket, FlowTap};
use crate::wire::pcapng::{Direction, Flow, LINK_FLOW};

/// Numbers of flows as interfaces are apart from those of devices.
const FLOWS: u64 = 1 << 63;

/// Writes the packets of flows, each flow as an interface of its own.
#[derive(Debug)]
pub(crate) struct FlowRecorder(Arc<Tap>);

impl FlowRecorder {
    /// A recorder that writes to the captures of `tap`.
    pub(crate) fn new(tap: &Arc<Tap>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(tap)))
    }
}

impl FlowTap for FlowRecorder {
    fn packet(&self, packet: &FlowPacket<'_>) {
        if !self.0.is_on() {
            return;
        }
        let FlowPacket { flow, frct, reliable, encrypted, sent, sealed, bytes, dropped } = *packet;
        let head = Flow { flow, frct, reliable, encrypted, sent, sealed }.to_bytes();
        let comment = dropped.map(|why| format!("dropped: {why}")).unwrap_or_default();
        self.0.record(&Passed {
            interface: FLOWS | flow,
            link: LINK_FLOW,
            name: &|| format!("flow {flow}"),
            head: &head,
            data: bytes,
            direction: Some(if sent { Direction::Out } else { Direction::In }),
            comment: &comment,
        });
    }
}
