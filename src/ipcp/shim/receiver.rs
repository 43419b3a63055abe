//! The receiving thread of a shim: its working memory, and the flow for which it collects packets.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::End;
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::time::Instant;

/// Working memory of the receiving thread.
pub struct Receiver<T> {
    /// Packets that the device has handed up.
    pub(super) arrived: Vec<T>,
    /// Packets that are being collected for one flow.
    pub(super) group: Vec<PacketBuf>,
    pub(super) cache: BufCache,
}

impl<T> Receiver<T> {
    pub(super) fn new(pool: &Arc<BufPool>) -> Self {
        Self { arrived: Vec::new(), group: Vec::new(), cache: BufCache::new(pool) }
    }
}

/// The flow to which the packets go that are being collected, and what they say of it: packets of one flow mostly come
/// together, so it is looked up, and its locks are taken, once for all of them.
pub(super) struct Current<K, P>(Option<(K, Arc<End<P>>)>);

impl<K: PartialEq, P> Current<K, P> {
    /// No flow.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Returns `true` if packets that say this are of the flow.
    pub(super) fn is(&self, key: &K) -> bool {
        self.0.as_ref().is_some_and(|(own, _)| own == key)
    }

    /// Returns `true` if there is a flow.
    pub(super) const fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Delivers what was collected; there is no flow then.
    pub(super) fn deliver(&mut self, now: Instant, group: &mut Vec<PacketBuf>) {
        if let Some((_, flow)) = self.0.take() {
            flow.endpoint.handle_packets(now, group.drain(..));
        }
    }

    /// Goes on with this flow.
    pub(super) fn begin(&mut self, key: K, flow: Arc<End<P>>) {
        self.0 = Some((key, flow));
    }
}
