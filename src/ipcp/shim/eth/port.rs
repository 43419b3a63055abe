//! Sending: the way down for the endpoints of an Ethernet layer.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::super::batch::{Burst, Collected, Stall, Up};
use super::EthShim;
use crate::base::buf::PacketBuf;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::flow::{Drive, Endpoint, Outgoing, Port};
use crate::types::device::SendError;
use crate::types::mac::Mac;
use crate::wire::eth::Frame;

/// Memory of frames that wait because the device has no room, bytes; more are dropped.
const MAX_HELD: usize = 256 << 10;

/// Sends the packets of one flow to its peer.
///
/// A packet becomes a frame where it is, in its own buffer, and is never copied. A single one, and the first few of a
/// burst, leave at once; those of a longer burst are collected, if the device sends several in one go, and leave when there
/// are enough, when the sender is about to wait ([`Port::flush`]), or at the endpoint's next tick, about a millisecond
/// later.
///
/// When the device has no room the port is *stalled*: it keeps what it has and what comes behind it, up to a bound, says
/// that it is congested, so that writers wait, and tries again at the endpoint's ticks until the device takes it.
pub(super) struct EthPort {
    shim: Arc<EthShim>,
    up: Up,
    peer: Mac,
    local: u16,
    remote: u16,
    /// The number is another flow's perhaps.
    released: AtomicBool,
    batch: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    /// Frames that wait, in the order in which they leave.
    frames: Vec<PacketBuf>,
    /// Memory that they hold, bytes.
    memory: usize,
    burst: Burst,
    /// Error of the last batch that was sent without a caller.
    fault: Option<SendError>,
    /// The last attempt failed: packets are not collected, so that each writer hears of its own.
    broken: bool,
    stall: Option<Stall>,
}

impl Collected for Batch {
    fn stall(&mut self) -> &mut Option<Stall> {
        &mut self.stall
    }

    fn burst(&self) -> &Burst {
        &self.burst
    }

    fn shrink(&mut self) {
        self.frames = Vec::new();
    }
}

impl EthPort {
    /// The way down for `endpoint`, which `peer` knows by `remote` and we by `local`.
    pub(super) fn new(shim: &Arc<EthShim>, endpoint: &Arc<Endpoint>, peer: Mac, local: u16, remote: u16) -> Arc<Self> {
        Arc::new(Self {
            shim: Arc::clone(shim),
            up: Up::new(endpoint),
            peer,
            local,
            remote,
            released: AtomicBool::new(false),
            batch: Mutex::default(),
        })
    }

    /// Forgets the flow, once.
    fn forget(&self) {
        if !self.released.swap(true, Ordering::AcqRel) {
            self.shim.flows.remove(self.local.into());
        }
    }

    /// Puts the header in front of each packet. Those that are too large are taken out.
    fn frame(&self, pkts: &mut Outgoing) -> Result<(), SendError> {
        let (max, src) = (self.shim.max_payload(), self.shim.status.mac());
        let purpose = self.shim.framing.data(self.local, self.remote);
        let before = pkts.len();
        pkts.retain(|pkt| {
            let header = Frame { dst: self.peer, src, port: purpose, payload: pkt }.header();
            let Some((header, len)) = header.ok().filter(|_| pkt.len() <= max) else { return false };
            let room = pkt.push(len).zip(header.get(..len));
            room.map(|(room, header)| room.copy_from_slice(header)).is_some()
        });
        if pkts.len() == before {
            return Ok(());
        }
        let dropped = (before - pkts.len()) as u64;
        self.shim.counters.send_drops.add(dropped);
        self.shim.counters.fault(SendError::TooLarge, dropped);
        Err(SendError::TooLarge)
    }

    /// Sends frames from the first one on; how many of them have been dealt with. After a temporary error the others are
    /// to be kept.
    fn transmit(&self, frames: &[PacketBuf]) -> (usize, Result<(), SendError>) {
        let counters = &self.shim.counters;
        // What waited for room is lost as well if the link goes down meanwhile.
        if let Err(e) = self.shim.status.usable() {
            counters.send_drops.add(frames.len() as u64);
            counters.fault(e, frames.len() as u64);
            return (frames.len(), Err(e));
        }
        let (mut done, mut result) = (0, Ok(()));
        while let Some(rest) = frames.get(done..).filter(|rest| !rest.is_empty()) {
            match self.shim.device.call(|d| d.send_batch(rest), Err(SendError::Down)) {
                Ok(taken @ 1..) => {
                    let taken = taken.min(rest.len());
                    counters.sent.add(taken as u64);
                    counters.batches_sent.count();
                    done += taken;
                }
                Ok(0) => {
                    counters.send_stalls.count();
                    return (done, Err(SendError::Full));
                }
                Err(e) if e.is_temporary() => {
                    counters.send_stalls.count();
                    return (done, Err(e));
                }
                Err(e) => {
                    // One that is too large says nothing of the others, which may be smaller.
                    let lost = if e == SendError::TooLarge { 1 } else { rest.len() };
                    counters.send_drops.add(lost as u64);
                    counters.fault(e, lost as u64);
                    result = Err(e);
                    done += lost;
                }
            }
        }
        (done, result)
    }

    /// Sends what waits. It is kept if the device has no room.
    fn flush_batch(&self, now: Instant, batch: &mut Batch) {
        if batch.frames.is_empty() {
            batch.stall = None;
            return;
        }
        let (done, sent) = self.transmit(&batch.frames);
        batch.memory = batch.memory.saturating_sub(batch.frames.iter().take(done).map(PacketBuf::memory).sum());
        self.shim.recycle(batch.frames.drain(..done));
        match sent {
            Err(e) if e.is_temporary() => {
                self.up.stall(now, batch);
            }
            sent => {
                batch.stall = None;
                batch.fault = sent.err();
                batch.broken = sent.is_err();
            }
        }
    }

    /// Sends what has been collected; what there was no room for is tried again, if it is time. `true` if the device had room
    /// for everything.
    fn send_collected(&self, now: Instant, batch: &mut Batch) -> bool {
        if batch.stall.is_none_or(|stall| stall.may_retry(now)) {
            self.flush_batch(now, batch);
        }
        batch.stall.is_none()
    }

    /// Keeps frames. Those for which there is no room here either are dropped.
    fn keep(&self, batch: &mut Batch, frames: impl Iterator<Item = PacketBuf>) -> Result<(), SendError> {
        let mut dropped = 0;
        for frame in frames {
            if batch.memory + frame.memory() > MAX_HELD {
                dropped += 1;
                continue;
            }
            batch.memory += frame.memory();
            batch.frames.push(frame);
        }
        self.shim.counters.send_drops.add(dropped);
        if dropped == 0 { Ok(()) } else { Err(SendError::Full) }
    }

    /// Sends or keeps what has become frames.
    fn pass(&self, now: Instant, batch: &mut Batch, frames: &mut Outgoing) -> Result<(), SendError> {
        let most = self.shim.max_batch;
        let hold = batch.burst.is_long() && most > 1 && !batch.broken;
        let stalled = batch.stall.is_some() && !self.send_collected(now, batch);
        if stalled || hold || !batch.frames.is_empty() {
            let kept = self.keep(batch, frames.drain(..));
            if !stalled && (!hold || batch.frames.len() >= most) {
                self.flush_batch(now, batch);
            }
            return kept.and(batch.fault.take().map_or(Ok(()), Err));
        }
        let (done, sent) = self.transmit(frames);
        batch.broken = sent.is_err_and(|e| !e.is_temporary());
        match sent {
            Err(e) if e.is_temporary() => {
                self.up.stall(now, batch);
                self.keep(batch, frames.drain(done..))
            }
            sent => sent,
        }
    }
}

impl Port for EthPort {
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        if let Err(e) = self.shim.status.usable() {
            self.shim.counters.send_drops.add(pkts.len() as u64);
            self.shim.counters.fault(e, pkts.len() as u64);
            return Err(e);
        }
        let mut batch = self.batch.lock();
        batch.burst.note(now, pkts.len());
        let before = batch.fault.take().map_or(Ok(()), Err);
        let framed = self.frame(pkts);
        let passed = self.pass(now, &mut batch, pkts);
        let (waits, stalled) = (!batch.frames.is_empty(), batch.stall.is_some());
        self.up.leave(batch, waits, stalled);
        let result = before.and(framed).and(passed);
        if let Err(e) = result {
            self.shim.note_unsent(self.peer, e);
        }
        result
    }

    fn is_congested(&self) -> bool {
        self.up.is_stalled()
    }

    fn is_holding(&self) -> bool {
        self.up.is_stalled() || self.batch.try_lock().is_none_or(|batch| !batch.frames.is_empty())
    }

    fn queued(&self) -> usize {
        let device = || self.shim.device.call(|d| d.queued(), 0);
        let Some(mut batch) = self.batch.try_lock() else { return device() };
        let own = batch.frames.len();
        batch.burst.queued(own, self.shim.inline, device)
    }

    fn flush(&self, now: Instant) {
        self.up.flush(now, self.batch.lock(), |batch| self.send_collected(now, batch));
    }

    fn mtu(&self) -> usize {
        self.shim.max_payload()
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.shim.drive.upgrade()
    }

    fn release(&self, now: Instant) {
        // What the endpoint has written goes before its number does.
        self.flush(now);
        self.forget();
    }
}

impl Drop for EthPort {
    fn drop(&mut self) {
        // Of an answer that came too late.
        self.forget();
    }
}
