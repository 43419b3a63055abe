//! Sending: the way down for the endpoints of a UDP layer.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::batch::{Burst, Collected, Stall, Up};
use super::{Moves, Peer, UdpShim};
use crate::base::buf::PacketBuf;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::flow::{Drive, Endpoint, Outgoing, Port};
use crate::types::addr::Route;
use crate::types::device::SendError;
use crate::wire::udp::EID_LEN;

/// Bytes that are handed to the socket at a time, at most: what one UDP datagram could hold.
const MAX_BATCH: usize = 64_000;
/// Memory of packets that wait behind a batch for which the socket has no room, bytes; more are dropped.
const MAX_HELD: usize = 128 << 10;
/// What a packet that waits takes of it at least, bytes: the buffer that it is in.
const LEAST_HELD: usize = 2048;

/// Sends the packets of one flow to its peer.
///
/// Packets of a burst are collected and leave in one system call, where the socket can do that: when the batch is
/// full, when the sender is about to wait ([`Port::flush`]), or at the endpoint's next tick, about a millisecond later.
/// A single packet, and the first few of a burst, leave at once.
///
/// When the socket has no room the port is *stalled*: it keeps the batch and what comes behind it, up to a bound, says
/// that it is congested, so that writers wait, and tries again at the endpoint's ticks until the socket takes it.
pub(super) struct UdpPort {
    shim: Arc<UdpShim>,
    up: Up,
    peer: Arc<Peer>,
    local: u32,
    remote: u32,
    batch: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Length of the first datagram, which all but the last share.
    segment: usize,
    count: usize,
    burst: Burst,
    /// Error of the last batch that was sent without a caller.
    fault: Option<SendError>,
    /// The last attempt failed: packets are not collected, so that each writer hears of its own.
    broken: bool,
    stall: Option<Stall>,
    /// Behind a batch that is stalled.
    held: VecDeque<PacketBuf>,
    held_bytes: usize,
}

impl Collected for Batch {
    fn stall(&mut self) -> &mut Option<Stall> {
        &mut self.stall
    }

    fn burst(&self) -> &Burst {
        &self.burst
    }

    fn shrink(&mut self) {
        self.bytes = Vec::new();
        self.held = VecDeque::new();
    }
}

impl UdpPort {
    /// The way down for `endpoint`, which the peer knows by `remote` and we by `local`.
    pub(super) fn new(
        shim: &Arc<UdpShim>,
        endpoint: &Arc<Endpoint>,
        peer: &Arc<Peer>,
        local: u32,
        remote: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            shim: Arc::clone(shim),
            up: Up::new(endpoint),
            peer: Arc::clone(peer),
            local,
            remote,
            batch: Mutex::default(),
        })
    }

    fn max_segments(&self) -> usize {
        self.shim.socket.call(|d| d.max_segments(), 1)
    }

    /// Sends the batch. It is kept if the socket has no room.
    fn flush_batch(&self, now: Instant, batch: &mut Batch) {
        if batch.count == 0 {
            return;
        }
        let segment = (batch.count > 1).then_some(batch.segment);
        match self.transmit(&batch.bytes, segment, batch.count) {
            Err(e) if e.is_temporary() => return self.up.stall(now, batch),
            sent => {
                batch.fault = sent.err();
                batch.broken = sent.is_err();
            }
        }
        batch.bytes.clear();
        batch.count = 0;
        batch.stall = None;
    }

    /// Sends what has been collected; what there was no room for is tried again, if it is time. `true` if the socket had room
    /// for everything.
    fn send_collected(&self, now: Instant, batch: &mut Batch) -> bool {
        if batch.stall.is_none_or(|stall| stall.may_retry(now)) {
            self.flush_batch(now, batch);
        }
        let max_segments = self.max_segments();
        while batch.stall.is_none()
            && let Some(pkt) = batch.held.pop_front()
        {
            batch.held_bytes = batch.held_bytes.saturating_sub(pkt.len().max(LEAST_HELD));
            if !self.push(now, batch, &pkt, max_segments) {
                batch.held_bytes += pkt.len().max(LEAST_HELD);
                batch.held.push_front(pkt);
            } else if batch.held.is_empty() {
                self.flush_batch(now, batch);
            }
        }
        batch.stall.is_none()
    }

    /// Keeps packets until there is room. Those for which there is none here either are dropped.
    fn hold(&self, batch: &mut Batch, pkts: impl Iterator<Item = PacketBuf>) -> Result<(), SendError> {
        let mut dropped = 0;
        for pkt in pkts {
            let bytes = pkt.len().max(LEAST_HELD);
            if batch.held_bytes + bytes > MAX_HELD {
                dropped += 1;
                continue;
            }
            batch.held_bytes += bytes;
            batch.held.push_back(pkt);
        }
        self.shim.counters.send_drops.add(dropped);
        if dropped == 0 { Ok(()) } else { Err(SendError::Full) }
    }

    /// Hands datagrams to the socket. If the address of ours that they leave from is gone, the flow goes on from another;
    /// unless the peer has moved meanwhile, on another thread: then these few go where it was, as those before them, and
    /// the flow stays where it has moved.
    fn send_here(&self, bytes: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        let route = self.peer.route();
        let sent = self.shim.send(route, bytes, segment);
        if route.local.is_none() || !matches!(sent, Err(SendError::Unreachable | SendError::Down)) {
            return sent;
        }
        self.shim.send(Route { local: None, ..route }, bytes, segment)?;
        self.peer.forget_local(route);
        Ok(())
    }

    fn transmit(&self, bytes: &[u8], segment: Option<usize>, packets: usize) -> Result<(), SendError> {
        let counters = &self.shim.counters;
        let sent = self.send_here(bytes, segment);
        match sent {
            Ok(()) => {
                counters.sent.add(packets as u64);
                counters.batches_sent.count();
            }
            Err(e) if e.is_temporary() => counters.send_stalls.count(),
            Err(e) => {
                counters.send_drops.add(packets as u64);
                counters.fault(e, packets as u64);
            }
        }
        sent
    }

    /// Appends one datagram; sends what cannot be joined with it. `false` if there is no room.
    fn push(&self, now: Instant, batch: &mut Batch, pkt: &[u8], max_segments: usize) -> bool {
        let len = pkt.len() + EID_LEN;
        if batch.count > 0 && (len > batch.segment || batch.bytes.len() + len > MAX_BATCH) {
            self.flush_batch(now, batch);
        }
        if batch.stall.is_some() {
            return false;
        }
        if batch.count == 0 {
            batch.segment = len;
        }
        batch.bytes.extend_from_slice(&self.remote.to_be_bytes());
        batch.bytes.extend_from_slice(pkt);
        batch.count += 1;
        if len < batch.segment || batch.count >= max_segments {
            self.flush_batch(now, batch);
        }
        true
    }

    /// Sends a packet on its own, without copying it. `false`: it is in the batch, because the socket has no room.
    fn send_one(&self, now: Instant, batch: &mut Batch, pkt: &mut PacketBuf) -> Result<bool, SendError> {
        let Some(eid) = pkt.push(EID_LEN) else {
            self.shim.counters.send_drops.count();
            return Err(SendError::TooLarge);
        };
        eid.copy_from_slice(&self.remote.to_be_bytes());
        match self.transmit(pkt, None, 1) {
            Err(e) if e.is_temporary() => {
                batch.bytes.extend_from_slice(pkt);
                (batch.segment, batch.count) = (pkt.len(), 1);
                self.up.stall(now, batch);
                Ok(false)
            }
            sent => sent.map(|()| true),
        }
    }
}

impl Port for UdpPort {
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        let mut batch = self.batch.lock();
        let max_segments = self.max_segments();
        batch.burst.note(now, pkts.len());
        let hold = batch.burst.is_long() && max_segments > 1 && !self.shim.inline && !batch.broken;
        let mut result = batch.fault.take().map_or(Ok(()), Err);
        let mut taken = 0;
        if batch.stall.is_some() && !self.send_collected(now, &mut batch) {
            // Behind what waits.
        } else if !hold
            && batch.count == 0
            && let [pkt] = pkts.as_mut_slice()
        {
            taken = 1;
            match self.send_one(now, &mut batch, pkt) {
                Ok(_) => batch.broken = false,
                Err(e) => {
                    batch.broken = true;
                    result = Err(e);
                }
            }
        } else {
            while let Some(pkt) = pkts.get(taken)
                && self.push(now, &mut batch, pkt, max_segments)
            {
                taken += 1;
            }
            if !hold && batch.stall.is_none() {
                self.flush_batch(now, &mut batch);
            }
        }
        if taken < pkts.len() {
            let held = self.hold(&mut batch, pkts.drain(taken..));
            result = result.and(held);
        }
        result = result.and(batch.fault.take().map_or(Ok(()), Err));
        let (waits, stalled) = (batch.count > 0, batch.stall.is_some());
        self.up.leave(batch, waits, stalled);
        if let Err(e) = result {
            self.shim.note_unsent(self.peer.route(), e);
        }
        result
    }

    fn roams(&self) -> bool {
        self.shim.config.moves != Moves::Never
    }

    fn send_on(&self, _now: Instant, route: Option<Route>, mut pkt: PacketBuf) {
        let Some(eid) = pkt.push(EID_LEN) else { return };
        eid.copy_from_slice(&self.remote.to_be_bytes());
        let route = route.unwrap_or_else(|| self.peer.route());
        match self.shim.send(route, &pkt, None) {
            Ok(()) => self.shim.counters.sent.count(),
            Err(_) => self.shim.counters.send_drops.count(),
        }
    }

    fn move_to(&self, route: Route) {
        // What was collected leaves for the new place, too.
        self.peer.move_to(route);
        self.shim.counters.moved.count();
    }

    fn is_congested(&self) -> bool {
        self.up.is_stalled()
    }

    fn is_holding(&self) -> bool {
        self.up.is_stalled() || self.batch.try_lock().is_none_or(|batch| batch.count > 0)
    }

    fn queued(&self) -> usize {
        let device = || self.shim.socket.call(|d| d.queued(self.peer.route().remote), 0);
        let Some(mut batch) = self.batch.try_lock() else { return device() };
        let own = batch.count + batch.held.len();
        batch.burst.queued(own, self.shim.inline, device)
    }

    fn flush(&self, now: Instant) {
        self.up.flush(now, self.batch.lock(), |batch| self.send_collected(now, batch));
    }

    fn mtu(&self) -> usize {
        self.shim.max_payload()
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.shim.device.upgrade()
    }

    fn release(&self, _now: Instant) {
        self.shim.flows.remove(self.local.into());
    }
}

impl Drop for UdpPort {
    fn drop(&mut self) {
        // A port that never got to an endpoint: an answer that came too late.
        self.shim.flows.remove(self.local.into());
    }
}
