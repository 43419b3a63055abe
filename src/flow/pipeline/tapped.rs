//! The tap of a flow: a capture of packets in the clear.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::Pipeline;
use crate::flow::FlowKey;
use crate::types::tap::{FlowPacket, FlowTap};

/// The tap, and the flow's number there.
pub(in crate::flow) struct Tapped {
    tap: Arc<dyn FlowTap>,
    flow: FlowKey,
}

/// The fate of a packet that the tap is shown.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// It leaves.
    Sent,
    /// It has come, and was opened.
    Received,
    /// It has come, and is dropped as it is.
    Unopened(&'static str),
    /// It was opened, and is dropped.
    Dropped(&'static str),
}

impl Pipeline {
    /// Has `tap` see the packets of the flow from now on, or nobody any more.
    ///
    /// Returns who did before, to be dropped where nothing is locked.
    pub(in crate::flow) fn set_tap(&mut self, flow: FlowKey, tap: Option<Arc<dyn FlowTap>>) -> Option<Box<Tapped>> {
        core::mem::replace(&mut self.tap, tap.map(|tap| Box::new(Tapped { tap, flow })))
    }

    /// Shows a packet to whoever looks on.
    #[cold]
    pub(super) fn show(&self, look: Look, bytes: &[u8]) {
        let Some(Tapped { tap, flow }) = self.tap.as_deref() else { return };
        let (sent, sealed, dropped) = match look {
            Look::Sent => (true, false, None),
            Look::Received => (false, false, None),
            Look::Unopened(why) => (false, true, Some(why)),
            Look::Dropped(why) => (false, false, Some(why)),
        };
        // A keepalive that was sealed.
        if bytes.is_empty() {
            return;
        }
        tap.packet(&FlowPacket {
            flow: *flow,
            frct: self.frct.is_some(),
            reliable: self.qos.is_reliable(),
            encrypted: self.protection.is_some(),
            sent,
            sealed,
            bytes,
            dropped,
        });
    }
}
