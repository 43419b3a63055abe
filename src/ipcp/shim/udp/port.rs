//! Sending: the way down for the endpoints of a UDP layer.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;

use super::{UdpShim, count};
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::flow::{Drive, Endpoint, Outgoing, Port};
use crate::types::device::SendError;
use crate::wire::udp::EID_LEN;

/// Bytes that are handed to the socket at a time, at most: what one UDP datagram could hold.
const MAX_BATCH: usize = 64_000;
/// Packets that follow each other faster than this are a burst.
const BURST_GAP: Duration = Duration::from_micros(40);
/// From this many packets in a burst on they are collected, to be sent in one go.
const BURST_LEN: u32 = 8;
/// A batch that has been unused for this long gives its memory back at the next flush.
const IDLE: Duration = Duration::from_millis(5);

/// Sends the packets of one flow to its peer.
///
/// Packets of a burst are collected and leave in one system call, where the socket can do that: when the batch is
/// full, when the sender is about to wait ([`Port::flush`]), or at the endpoint's next tick, about a millisecond later.
/// A single packet, and the first few of a burst, leave at once.
pub(super) struct UdpPort {
    shim: Arc<UdpShim>,
    endpoint: Weak<Endpoint>,
    peer: SocketAddr,
    local: u32,
    remote: u32,
    batch: Mutex<Batch>,
}

struct Batch {
    bytes: Vec<u8>,
    /// Length of the first datagram, which all but the last share.
    segment: usize,
    count: usize,
    last: Instant,
    burst: u32,
}

impl UdpPort {
    pub(super) fn new(
        shim: &Arc<UdpShim>,
        endpoint: &Arc<Endpoint>,
        peer: SocketAddr,
        local: u32,
        remote: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            shim: Arc::clone(shim),
            endpoint: Arc::downgrade(endpoint),
            peer,
            local,
            remote,
            batch: Mutex::new(Batch { bytes: Vec::new(), segment: 0, count: 0, last: Instant::ZERO, burst: 0 }),
        })
    }

    fn flush_batch(&self, batch: &mut Batch) {
        if batch.count == 0 {
            return;
        }
        let segment = (batch.count > 1).then_some(batch.segment);
        self.transmit(&batch.bytes, segment, batch.count);
        batch.bytes.clear();
        batch.count = 0;
    }

    fn transmit(&self, bytes: &[u8], segment: Option<usize>, packets: usize) {
        let counters = &self.shim.counters;
        match self.shim.socket.send(self.peer, bytes, segment) {
            Ok(()) => {
                counters.sent.fetch_add(packets as u64, Ordering::Relaxed);
                count(&counters.batches_sent);
            }
            Err(_) => {
                counters.send_drops.fetch_add(packets as u64, Ordering::Relaxed);
            }
        }
    }

    /// Appends one datagram; sends what cannot be joined with it.
    fn push(&self, batch: &mut Batch, pkt: &[u8], max_segments: usize) {
        let len = pkt.len() + EID_LEN;
        if batch.count > 0 && (len > batch.segment || batch.bytes.len() + len > MAX_BATCH) {
            self.flush_batch(batch);
        }
        if batch.count == 0 {
            batch.segment = len;
        }
        batch.bytes.extend_from_slice(&self.remote.to_be_bytes());
        batch.bytes.extend_from_slice(pkt);
        batch.count += 1;
        if len < batch.segment || batch.count >= max_segments {
            self.flush_batch(batch);
        }
    }
}

impl Port for UdpPort {
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        let mut batch = self.batch.lock();
        let max_segments = self.shim.socket.max_segments();
        batch.burst = if now.since(batch.last) < BURST_GAP { batch.burst.saturating_add(pkts.len() as u32) } else { 0 };
        batch.last = now;
        let hold = batch.burst >= BURST_LEN && max_segments > 1 && !self.shim.inline;
        if !hold
            && batch.count == 0
            && let [pkt] = pkts.as_mut_slice()
        {
            match pkt.push(EID_LEN) {
                Some(eid) => {
                    eid.copy_from_slice(&self.remote.to_be_bytes());
                    self.transmit(pkt, None, 1);
                }
                None => count(&self.shim.counters.send_drops),
            }
            return Ok(());
        }
        for pkt in pkts.iter() {
            self.push(&mut batch, pkt, max_segments);
        }
        if !hold {
            self.flush_batch(&mut batch);
        } else if batch.count > 0 {
            drop(batch);
            if let Some(endpoint) = self.endpoint.upgrade() {
                endpoint.tick();
            }
        }
        Ok(())
    }

    fn queued(&self) -> usize {
        // While packets come one by one nothing waits, and the device need not be asked, which costs a system call.
        match self.batch.try_lock() {
            Some(batch) if batch.burst < BURST_LEN && !self.shim.inline => batch.count,
            batch => self.shim.socket.queued(self.peer) + batch.map_or(0, |b| b.count),
        }
    }

    fn flush(&self, now: Instant) {
        let mut batch = self.batch.lock();
        self.flush_batch(&mut batch);
        if now.since(batch.last) > IDLE {
            batch.bytes = Vec::new();
        }
    }

    fn mtu(&self) -> usize {
        self.shim.max_payload()
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        Some(Arc::clone(&self.shim) as Arc<dyn Drive>)
    }

    fn release(&self, _now: Instant) {
        self.shim.flows.remove(self.local);
    }
}

impl Drop for UdpPort {
    fn drop(&mut self) {
        // A port that never got to an endpoint: an answer that came too late.
        self.shim.flows.remove(self.local);
    }
}
