//! Recording the datagrams of a simulated network.

use std::net::SocketAddr;
use std::sync::Arc;

use super::headers;
use super::tap::{Passed, Tap};
use crate::wire::pcapng::LINK_RAW;

/// Writes the datagrams of a network: when they are sent, and what becomes of those that do not arrive as they were.
#[derive(Debug)]
pub(crate) struct NetworkRecorder {
    tap: Arc<Tap>,
    passed: u64,
    dropped: u64,
}

impl NetworkRecorder {
    pub(crate) fn new(tap: &Arc<Tap>) -> Self {
        let (passed, dropped) = (tap.number(), tap.number());
        Self { tap: Arc::clone(tap), passed, dropped }
    }

    pub(crate) fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// Records a datagram that is sent, with a comment.
    #[inline]
    pub(crate) fn sent(&self, src: SocketAddr, dst: SocketAddr, data: &[u8], comment: &str) {
        if self.tap.is_on() {
            self.record(self.passed, "network", (src, dst), data, comment);
        }
    }

    /// Records a datagram that is lost, and the reason.
    #[inline]
    pub(crate) fn dropped(&self, src: SocketAddr, dst: SocketAddr, data: &[u8], why: &dyn core::fmt::Debug) {
        if self.tap.is_on() {
            self.record(self.dropped, "network (dropped)", (src, dst), data, &format!("dropped: {why:?}"));
        }
    }

    fn record(&self, interface: u64, name: &str, ends: (SocketAddr, SocketAddr), data: &[u8], comment: &str) {
        let (head, name) = (headers::udp(ends.0, ends.1, data), || name.to_owned());
        self.tap.record(&Passed {
            interface,
            link: LINK_RAW,
            name: &name,
            head: &head,
            data,
            direction: None,
            comment,
        });
    }
}
