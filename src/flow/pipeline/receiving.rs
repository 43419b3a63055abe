//! The way up: from the port through checksum, decryption and FRCT.
//!
//! All of it is done for each packet; `handle_packet` and `open` are what a receiver spends its time in.

use alloc::sync::Arc;
use core::time::Duration;

use super::tapped::Look;
use super::{CRC_LEN, Pipeline};
use crate::base::backlog::Meter;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::crypto::CryptoError;
use crate::flow::notice::{self, Farewell};
use crate::frct::Memory;
use crate::wire::frct::{Flags, Pci};

impl Pipeline {
    /// Takes one packet from below through checksum, decryption and FRCT.
    pub(in crate::flow) fn handle_packet(&mut self, now: Instant, mut pkt: PacketBuf) {
        self.counters.received += 1;
        if pkt.is_empty() {
            if self.seals_keepalives() {
                self.counters.bad_crypt += 1;
            } else {
                self.hear_keepalive(now);
            }
            // Past the cache, where an idle flow would gather one with every keepalive.
            self.cache.pool().put(pkt);
            return;
        }
        if !self.open(&mut pkt) {
            // Anybody may have sent it: that is no use of the flow. But its key may have been computed for it.
            self.tried_at = now;
            self.take_back(pkt);
            return;
        }
        if self.tap.is_some() {
            self.show(Look::Received, &pkt);
        }
        // Only after it was opened: on a protected flow anything else may come from anyone.
        let silence = now.since(self.last_received);
        // Keepalives, here and above, do not count as use: an idle flow stays relaxed.
        if pkt.is_empty() {
            self.hear_keepalive(now);
            self.forget_schedules(silence);
            self.take_back(pkt);
            return;
        }
        self.relaxed = false;
        self.hear(now);
        self.take_up(now, silence, pkt);
    }

    /// Takes up what the other end has sent, after a time of silence.
    fn take_up(&mut self, now: Instant, silence: Duration, pkt: PacketBuf) {
        if self.take_move(&pkt) {
            self.cache.put(pkt);
            return;
        }
        let memory = self.memory();
        if let Some(frct) = &mut self.frct {
            frct.set_memory(memory);
            frct.handle_packet(now, pkt, &mut self.cache);
            // What is sent and not acknowledged is repeated, which shows as well where this end is.
            self.nudges.expect_more(silence, frct.is_drained());
            self.charge();
        } else if pkt.len() == notice::LEN && self.farewell.as_mut().is_some_and(|f| f.take(&pkt)) {
            self.cache.put(pkt);
        } else if self.deaf || self.ready.len() >= self.rx_bounds(Farewell::has_said).0 || memory >= Memory::Tight {
            self.counters.overflow += 1;
            self.show(Look::Dropped("the queue to the application is full"), &pkt);
            self.cache.put(pkt);
        } else {
            self.ready.push_back(pkt);
            self.charge();
        }
        if memory == Memory::Full {
            // Of many flows that are refused packets each would keep the buffer of the last one.
            self.cache.release();
        }
    }

    /// Memory that what waits for the application holds, bytes.
    pub(in crate::flow) fn held(&self) -> usize {
        let partial = self.partial.as_ref().map_or(0, PacketBuf::memory);
        partial + self.ready.bytes() + self.frct.as_ref().map_or(0, |f| f.held())
    }

    /// How much may still wait for the application. Nothing if the peer has sent more than its window was told to be
    /// worth, or the stack has no memory left, unless it is this flow's turn to complete a message regardless.
    pub(super) fn memory(&mut self) -> Memory {
        let (held, bound) = (self.held(), self.rx_bounds(Farewell::has_said).1);
        if held >= bound.saturating_mul(2) {
            Memory::Full
        } else if self.account.is_full(held) {
            let completes = self.frct.as_ref().is_some_and(|frct| frct.is_stuck()) && self.account.borrow();
            if completes { Memory::Tight } else { Memory::Full }
        } else if held >= bound {
            Memory::Tight
        } else {
            Memory::Free
        }
    }

    /// Charges what is held, and nothing in advance.
    pub(in crate::flow) fn settle_charge(&mut self) {
        let held = self.held();
        self.account.settle(held);
    }

    pub(super) fn charge(&mut self) {
        let held = self.held();
        // Of an idle flow nobody comes back to give back what was charged in advance.
        if self.relaxed {
            self.account.settle(held);
        } else {
            self.account.set(held);
        }
        if self.account.has_asked() && self.frct.as_ref().is_none_or(|frct| !frct.is_stuck()) {
            self.account.repay();
        }
    }

    /// The meter that what waits is charged to.
    pub(in crate::flow) fn meter(&self) -> Option<Arc<Meter>> {
        self.account.meter().cloned()
    }

    /// Leaves it to other flows to complete a message, if this one's turn has lasted for long without a fragment.
    pub(super) fn pass_turn(&mut self, now: Instant) {
        let waits = |since: Instant| now.since(since) >= TURN;
        if self.account.borrows() && self.frct.as_ref().and_then(|f| f.open_since()).is_none_or(waits) {
            self.account.repay();
        }
    }

    /// Time at which that is to be looked at.
    pub(super) fn turn_until(&self) -> Instant {
        let open = self.frct.as_ref().filter(|_| self.account.borrows()).and_then(|frct| frct.open_since());
        open.map_or(Instant::FAR_FUTURE, |since| since + TURN)
    }

    /// Checks and removes the checksum, then decrypts. `false`: counted, to be dropped.
    pub(super) fn open(&mut self, pkt: &mut PacketBuf) -> bool {
        if self.crc && !self.check_crc(pkt) {
            self.counters.bad_checksum += 1;
            self.show(Look::Unopened("the checksum is wrong or missing"), pkt);
            return false;
        }
        let opened = self.protection.as_mut().map_or(Ok(()), |(protection, _)| protection.open(pkt));
        match opened {
            Ok(()) => {
                if !self.proven && self.protection.is_some() {
                    self.note_opened();
                }
                true
            }
            Err(CryptoError::Replayed) => {
                self.counters.replayed += 1;
                self.show(Look::Unopened("it was received before"), pkt);
                false
            }
            Err(_) => {
                self.counters.bad_crypt += 1;
                self.show(Look::Unopened("it is not authentic"), pkt);
                false
            }
        }
    }

    fn check_crc(&self, pkt: &mut PacketBuf) -> bool {
        let ok =
            pkt.split_last_chunk::<CRC_LEN>().is_some_and(|(body, crc)| crc32fast::hash(body).to_be_bytes() == *crc);
        if ok {
            pkt.truncate(pkt.len() - CRC_LEN);
            return true;
        }
        // The reference sends FRCT's own packets without a checksum even where the flow has one.
        let control = Pci::LEN + self.protection.as_ref().map_or(0, |(p, _)| p.overhead());
        self.frct.is_some()
            && pkt.len() == control
            && (self.protection.is_some() || Pci::parse(pkt).is_ok_and(|pci| !pci.flags.contains(Flags::DATA)))
    }
}

/// A flow that may complete a message although memory is short loses its turn so long after the last fragment: a peer that
/// sends no more must not keep others from it.
const TURN: Duration = Duration::from_secs(2);
