//! The way down: from the application through FRCT, encryption and checksum.
//!
//! All of it is done for each packet; `write`, `pump` and `seal` are what a sender spends its time in.

use super::Pipeline;
use super::tapped::Look;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::notice;
use crate::flow::{BURST, Outgoing, WriteError};
use crate::frct::{Transmit, fragments};

impl Pipeline {
    /// Takes what the application writes at a time: one packet, or with FRCT fragments of `fragment` bytes. What comes of it
    /// is collected with [`pump`](Self::pump).
    pub(in crate::flow) fn write(
        &mut self,
        now: Instant,
        data: &[u8],
        fragment: usize,
        out: &mut Outgoing,
    ) -> Result<(), WriteError> {
        if data.is_empty() {
            self.keepalive(now, out);
            return Ok(());
        }
        if self.frct.as_ref().is_some_and(|f| !f.can_send()) {
            return Err(WriteError::WouldBlock);
        }
        // FRCT keeps what it takes until the peer is heard. Without it a packet goes now or not at all.
        if self.frct.is_none() && !self.spend(data.len() + self.overhead()) {
            return Err(WriteError::WouldBlock);
        }
        if let Some(frct) = &mut self.frct {
            for (part, bytes) in fragments(data, fragment) {
                let mut pkt = self.cache.take(bytes.len());
                pkt.extend_from_slice(bytes).ok_or(WriteError::Crypt)?;
                frct.push(now, pkt, part);
            }
        } else {
            let mut pkt = self.cache.take(data.len());
            pkt.extend_from_slice(data).ok_or(WriteError::Crypt)?;
            if !self.seal(&mut pkt) {
                self.cache.put(pkt);
                return Err(WriteError::Crypt);
            }
            self.counters.sent += 1;
            out.push(pkt);
        }
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += data.len() as u64;
        self.last_sent = now;
        self.relaxed = false;
        Ok(())
    }

    /// Takes packets whose memory the caller gives away, from the front of `pkts`, as far as FRCT has room for them;
    /// without FRCT all go to `out`, sealed.
    pub(in crate::flow) fn write_packets(&mut self, now: Instant, pkts: &mut Outgoing, out: &mut Outgoing) {
        let (mut bytes, mut n) = (0, 0);
        if let Some(frct) = &mut self.frct {
            let mut refused = Outgoing::new();
            for pkt in pkts.drain(..) {
                let len = pkt.len();
                // Behind the first that is refused all are, or the order would change.
                if !refused.is_empty() {
                    refused.push(pkt);
                    continue;
                }
                match frct.send(now, pkt) {
                    Ok(()) => (bytes, n) = (bytes + len, n + 1),
                    Err(pkt) => refused.push(pkt),
                }
            }
            *pkts = refused;
        } else {
            let refused = if self.has_heard() { None } else { Some(self.refused(pkts)) };
            bytes = pkts.iter().map(|p| p.len()).sum();
            n = pkts.len();
            if self.protection.is_none() && !self.crc && self.tap.is_none() {
                out.append(pkts);
            } else {
                for mut pkt in pkts.drain(..) {
                    if self.seal(&mut pkt) {
                        out.push(pkt);
                    } else {
                        self.cache.put(pkt);
                    }
                }
            }
            self.counters.sent += out.len() as u64;
            if let Some(refused) = refused {
                pkts.extend(refused);
            }
        }
        self.counters.tx_packets += n as u64;
        self.counters.tx_bytes += bytes as u64;
        self.last_sent = now;
        self.relaxed = false;
    }

    /// Takes out of `pkts` what may not be sent yet.
    fn refused(&mut self, pkts: &mut Outgoing) -> Outgoing {
        let overhead = self.overhead();
        let allowed = pkts.iter().take_while(|pkt| self.spend(pkt.len() + overhead)).count();
        pkts.drain(allowed..).collect()
    }

    /// Returns `true` if what still arrives may be an answer that this end waits for before it goes, or ask for one.
    pub(in crate::flow) fn minds_arrivals(&self) -> bool {
        self.answer || self.frct.is_some() || self.farewell.as_ref().is_some_and(|f| !f.is_over())
    }

    /// Returns `true` if [`pump`](Self::pump) has something to do. That FRCT had nothing to send is noted when it gets
    /// something.
    pub(in crate::flow) fn has_to_send(&self) -> bool {
        self.answer
            || self.frct.as_ref().is_some_and(|f| !f.is_at_rest())
            || self.farewell.as_ref().is_some_and(|f| !f.is_over())
    }

    /// Returns `true` if [`pump`](Self::pump) has packets to send that are worth nothing without each other, and that nobody sends
    /// again.
    pub(in crate::flow) fn has_burst(&self) -> bool {
        self.frct.as_ref().is_some_and(|f| f.has_burst())
    }

    /// The layer below takes user data from FRCT, or would drop it for lack of room.
    pub(in crate::flow) fn set_room(&mut self, room: bool) {
        if let Some(frct) = &mut self.frct {
            frct.set_room(room);
        }
    }

    /// Returns `true` if the peer is to be told at once of what the application has read.
    pub(in crate::flow) fn owes_window(&self) -> bool {
        self.frct.as_ref().is_some_and(|f| f.owes_window())
    }

    /// Collects what FRCT has to send, sealed, until there is no more (`true`) or `out` is full (`false`).
    pub(in crate::flow) fn pump(&mut self, now: Instant, out: &mut Outgoing) -> bool {
        if core::mem::take(&mut self.answer) {
            self.keepalive(now, out);
        }
        while let Some(said) = self.farewell.as_mut().and_then(|f| f.pick(now)) {
            let mut pkt = self.cache.take(notice::LEN);
            if self.spend(notice::LEN + self.overhead())
                && pkt.extend_from_slice(&said).is_some()
                && self.seal(&mut pkt)
            {
                self.counters.sent += 1;
                out.push(pkt);
            // Answers are counted against notices: one that was not sent gets none.
            } else if let Some(farewell) = &mut self.farewell {
                farewell.note_unsent();
                self.cache.put(pkt);
            }
        }
        // In bursts, as the lock is held: others get their turn within a window of packets.
        while out.len() < BURST {
            let Some(frct) = &mut self.frct else { return true };
            let pkt = match frct.poll_transmit(now) {
                None => return true,
                Some(Transmit::Owned { pkt }) => Some(pkt),
                Some(Transmit::Kept { pci, payload } | Transmit::Control { pci, payload }) => {
                    let mut p = self.cache.take(pci.len() + payload.len());
                    p.extend_from_slice(&pci).and_then(|()| p.extend_from_slice(payload)).map(|()| p)
                }
            };
            let Some(mut pkt) = pkt else { continue };
            if self.spend(pkt.len() + self.overhead()) && self.seal(&mut pkt) {
                self.counters.sent += 1;
                self.last_sent = now;
                out.push(pkt);
            } else {
                self.cache.put(pkt);
            }
        }
        self.frct.is_none()
    }

    /// Encrypts, then adds the checksum.
    pub(super) fn seal(&mut self, pkt: &mut PacketBuf) -> bool {
        if self.tap.is_some() {
            self.show(Look::Sent, pkt);
        }
        let sealed = match &mut self.protection {
            None => true,
            Some((keys, Some(ivs))) => keys.seal(pkt, &mut **ivs).is_ok(),
            Some((keys, None)) => keys.seal_numbered(pkt).is_some_and(|sealed| sealed.is_ok()),
        };
        if !sealed {
            return false;
        }
        if self.crc {
            let crc = crc32fast::hash(pkt);
            return pkt.extend_from_slice(&crc.to_be_bytes()).is_some();
        }
        true
    }
}
