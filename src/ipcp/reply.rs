//! Replies of layers in which flows are asked for, and answered, by messages.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Resend, SendReply};
use crate::base::time::Instant;
use crate::types::code::Code;

/// A layer of that kind.
pub(super) trait Replies: Send + Sync + 'static {
    /// Who asked, and for which end of a flow.
    type Requester: Send + Sync + 'static;

    /// Whether the flow that ends here under `eid` is open.
    fn is_open(&self, eid: u64) -> bool;

    /// Sends a message. One that cannot be sent is a lost one: the request will be repeated.
    fn reply(&self, now: Instant, to: &Self::Requester, message: &[u8]);

    /// Says no, now if that is not given.
    fn refuse(&self, now: Option<Instant>, to: &Self::Requester, code: Code);
}

/// A positive reply, which can be sent again.
struct Said<L: Replies> {
    layer: Arc<L>,
    to: L::Requester,
    /// Our end of the flow.
    eid: u64,
    message: Vec<u8>,
}

impl<L: Replies> Resend for Said<L> {
    fn resend(&self, now: Instant) {
        if self.layer.is_open(self.eid) {
            self.layer.reply(now, &self.to, &self.message);
        } else {
            // Whoever accepted the flow has closed it meanwhile.
            self.layer.refuse(Some(now), &self.to, Code::AGAIN);
        }
    }
}

/// A positive reply that has been prepared. Dropped unsent, it refuses.
pub(super) struct Prepared<L: Replies>(Option<Arc<Said<L>>>);

impl<L: Replies> Prepared<L> {
    /// Accepts, by `message`, the flow that ends here under `eid`.
    pub(super) fn new(layer: Arc<L>, to: L::Requester, eid: u64, message: Vec<u8>) -> Self {
        Self(Some(Arc::new(Said { layer, to, eid, message })))
    }
}

impl<L: Replies> SendReply for Prepared<L> {
    fn send(mut self: Box<Self>, now: Instant) -> Option<Arc<dyn Resend>> {
        let reply: Arc<dyn Resend> = self.0.take()?;
        reply.resend(now);
        Some(reply)
    }
}

impl<L: Replies> Drop for Prepared<L> {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply.layer.refuse(None, &reply.to, Code::AGAIN);
        }
    }
}
