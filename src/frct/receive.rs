//! Handling of received packets.

use super::fragments::Part;
use super::pieces::{self, PieceOf};
use super::rx::Kind;
use super::{Ending, Frct, KNOWN};
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::time::Instant;
use crate::wire::frct::{Flags, PathPacket, Pci, Sack};

impl Frct {
    /// Takes a packet from the peer: header and data, decrypted. Bad ones are counted and dropped.
    pub fn handle_packet(&mut self, now: Instant, mut pkt: PacketBuf, cache: &mut BufCache) {
        let Some(pci) = Pci::parse(&pkt).ok().filter(|pci| !self.down && self.is_wellformed(pci, &pkt)) else {
            if !self.down {
                self.stats.rare().malformed += 1;
            }
            cache.put(pkt);
            return;
        };
        if !self.is_of_stream(now, &pci, &pkt, cache) {
            cache.put(pkt);
            return;
        }
        let started = self.handle_run(now, &pci, cache);
        // A reference that was led astray acknowledges number 0 with window 0.
        let sane = !pci.flags.contains(Flags::ACK) || !self.params.reliable || self.handle_ack(now, &pci, &pkt, cache);
        if pci.flags.contains(Flags::FC) && sane {
            // A reference acknowledges on its own account; one of us puts both into the answer.
            let answer = !pci.is_data() && (!pci.flags.contains(Flags::ACK) || pci.flags.contains(Flags::DRF));
            if !self.tx.on_window(now, pci.window, answer) {
                self.stats.rare().implausible += 1;
            }
        }
        if !pci.is_data() {
            self.stats.control_received += 1;
            self.rx.due |= pci.flags.contains(Flags::RDVS) && started;
            cache.put(pkt);
        } else if started {
            pkt.pull(Pci::LEN);
            self.handle_data(now, &pci, pkt, cache);
        } else {
            self.stats.rare().no_run += 1;
            cache.put(pkt);
        }
    }

    /// Returns `true` if a packet is of the stream, or about it, and counts. What the peer says beside the stream, of the path
    /// or of its end, is dealt with here.
    fn is_of_stream(&mut self, now: Instant, pci: &Pci, pkt: &[u8], cache: &mut BufCache) -> bool {
        let aborted = self.ending == Some(Ending::Aborted);
        if let Some(PathPacket::Probe(_) | PathPacket::Answer(_)) = pci.path() {
            // After an abort nothing is sent any more, so nothing is answered either.
            if !aborted {
                self.handle_path(now, pci);
            }
            return false;
        }
        // Even after an abort, whose own notices end when the peer has answered them.
        if pci.flags.contains(Flags::END) && !pci.is_data() {
            self.handle_notice(now, pci, pkt, cache);
            return false;
        }
        let stray = !aborted && pci.is_data() && self.is_stray(now, pci);
        if stray {
            self.stats.rare().stray += 1;
        }
        !aborted && !stray
    }

    /// Takes user data, without its header.
    fn handle_data(&mut self, now: Instant, pci: &Pci, pkt: PacketBuf, cache: &mut BufCache) {
        let (p, stats) = (&self.params, &mut self.stats);
        let part = Part::of(pci.flags);
        if !p.reliable {
            self.rx.on_best_effort(now, p, pci.seqno, (part, pkt), stats, cache);
            return;
        }
        if let Some(PathPacket::Piece { offset, total }) = pci.path() {
            let piece = PieceOf { seq: pci.seqno, part, offset, total };
            self.rx.on_piece(now, p, (piece, pkt), stats, cache);
        } else {
            self.rx.on_reliable(now, p, pci.seqno, (Kind::of(pci.flags), pkt), stats, cache);
        }
        if self.rx.ended.is_some() {
            self.heed_close(cache);
        }
    }

    /// Returns `true` if a packet has a shape that some peer sends on purpose.
    ///
    /// A reference retransmits from a buffer that it may have given back: then the packet is another one's bytes, even
    /// one of ours, behind a new acknowledgement. A control packet with a payload is such a one, unless the payload
    /// is a selective acknowledgement, which nobody sends to a reference.
    fn is_wellformed(&self, pci: &Pci, pkt: &[u8]) -> bool {
        let body = pkt.get(Pci::LEN..).unwrap_or_default();
        if let Some(path) = pci.path() {
            // Agreed upon with the messages, and nothing else speaks of the stream in it.
            return self.params.message_in > 0
                && self.params.reliable
                && self.is_wellformed_path(pci, path, body.len());
        }
        if pci.flags.intersects(Flags::FRAGMENT)
            && (self.params.message_in == 0 || !pci.is_data() || pci.flags.contains(Flags::END))
        {
            // Of a reference none is known to come, and nothing but data is ever cut.
            return false;
        }
        if pci.flags.contains(Flags::END) {
            // A reference says nothing of the kind, and no stream of a best-effort flow has an end.
            return self.params.o7s_peer && body.len() == 1 && (self.params.reliable || !pci.is_data());
        }
        if pci.is_data() {
            return !body.is_empty();
        }
        body.is_empty() || (pci.flags.contains(Flags::ACK | Flags::DRF) && Sack::parse(pci.ackno, body).is_ok())
    }

    fn is_wellformed_path(&self, pci: &Pci, path: PathPacket, len: usize) -> bool {
        match path {
            PathPacket::Piece { offset, total } => {
                !pci.flags.intersects(Flags::ACK | Flags::FC) && pieces::is_sound(offset, total, len)
            }
            PathPacket::Probe(_) => pci.flags == Flags::PATH,
            PathPacket::Answer(_) => pci.flags == Flags::PATH | Flags::ACK && len == 0,
        }
    }

    /// Takes a probe of the path, which is answered, or an answer.
    fn handle_path(&mut self, now: Instant, pci: &Pci) {
        self.stats.control_received += 1;
        match pci.path() {
            // The last one is enough: they are sent one at a time.
            Some(PathPacket::Probe(number)) => self.rx.answer = Some(number),
            Some(PathPacket::Answer(number)) => {
                self.tx.on_path_answer(now, &self.params, number, &mut self.stats);
            }
            _ => {}
        }
    }

    /// Returns `true` if data has a number that the peer cannot have given it: far from the run, or one of our own,
    /// which a reference sent back as its retransmission. Nothing in such a packet is true.
    fn is_stray(&self, now: Instant, pci: &Pci) -> bool {
        if self.rx.active(now, &self.params) {
            return self.rx.is_far(pci.seqno);
        }
        !self.tx.peer_is_o7s && self.tx.was_sent_lately(pci.seqno, self.stats.sent)
    }

    /// What a packet says about the peer and its run. Whether there is a run now.
    fn handle_run(&mut self, now: Instant, pci: &Pci, cache: &mut BufCache) -> bool {
        let drf = pci.flags.contains(Flags::DRF);
        let p = &self.params;
        // One of our own kind counts on for ever, so its run is never forgotten, and what begins behind it was recorded.
        let goes_on = p.o7s_peer && self.rx.has_run() && (p.reliable || self.rx.is_behind(pci.seqno));
        let active = goes_on || self.rx.active(now, p);
        if drf && !active {
            self.rx.start_run(now, &self.params, pci.seqno, cache);
        } else if drf && !pci.is_data() {
            self.rx.sender_is_at(now, pci.seqno);
        }
        active || drf
    }

    /// Takes an acknowledgement; whether it is one of what was sent.
    fn handle_ack(&mut self, now: Instant, pci: &Pci, pkt: &[u8], cache: &mut BufCache) -> bool {
        let body = if pci.is_data() { &[] } else { pkt.get(Pci::LEN..).unwrap_or_default() };
        let sack = if body.is_empty() { None } else { Sack::parse(pci.ackno, body).ok() };
        let repeated = pci.ackno == self.tx.edge && !pci.is_data() && !self.tx.peer_is_o7s;
        let stats = &mut self.stats;
        if !self.tx.on_ack(now, &self.params, pci.ackno, sack.as_ref(), stats, cache) {
            stats.rare().implausible += 1;
            return false;
        }
        if repeated && self.tx.outstanding() > 0 {
            self.tx.on_repeated_ack(now, stats);
        }
        true
    }

    /// Takes what the peer says about its end outside of its stream.
    fn handle_notice(&mut self, now: Instant, pci: &Pci, pkt: &[u8], cache: &mut BufCache) {
        if self.rx.active(now, &self.params) && self.rx.is_far(pci.seqno) {
            self.stats.rare().stray += 1;
            return;
        }
        self.stats.control_received += 1;
        match pkt.get(Pci::LEN).copied() {
            Some(KNOWN) => self.notice.answered(),
            Some(byte) => {
                self.noticed = self.noticed.max(Ending::from_byte(byte));
                self.notice.answer();
                self.heed_close(cache);
            }
            None => {}
        }
    }

    /// What was written to a peer that reads no more is lost.
    pub(super) fn heed_close(&mut self, cache: &mut BufCache) {
        if self.peer_closed() {
            self.abandoned += self.tx.abandon(cache);
            if self.noticed == Some(Ending::Aborted) {
                // It hears nothing any more either, so there is nothing to say.
                self.notice.heard();
            }
        }
    }
}
