//! The packets that an end sends.

use alloc::vec::Vec;
use core::time::Duration;

use super::segment::State;
use super::tx::Pick;
use super::{Ending, Frct};
use crate::base::buf::PacketBuf;
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::wire::frct::{Flags, Pci};

/// For so long after the last packet a notice waits for the window of the peer to open, and for two round trips at least; three
/// times as long while nothing has come from the peer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A packet to be sent, below which encryption and checksum follow.
#[derive(Debug)]
pub enum Transmit<'a> {
    /// User data of which nothing is kept: header and payload in one buffer.
    Owned {
        /// The packet, header first.
        pkt: PacketBuf,
    },
    /// User data that is kept for retransmission: to be copied.
    Kept {
        /// The header.
        pci: [u8; Pci::LEN],
        /// The user's bytes.
        payload: &'a [u8],
    },
    /// A control packet.
    Control {
        /// The header.
        pci: [u8; Pci::LEN],
        /// Nothing, or a selective acknowledgement.
        payload: &'a [u8],
    },
}

impl Transmit<'_> {
    /// The header of the packet.
    pub fn header(&self) -> &[u8] {
        match self {
            Self::Owned { pkt } => pkt.get(..Pci::LEN).unwrap_or_default(),
            Self::Kept { pci, .. } | Self::Control { pci, .. } => pci,
        }
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Owned { pkt } => pkt.get(Pci::LEN..).unwrap_or_default(),
            Self::Kept { payload, .. } | Self::Control { payload, .. } => payload,
        }
    }
}

impl Frct {
    /// The next packet to send, if there is one.
    #[inline]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<'_>> {
        if self.is_at_rest() {
            self.tx.rest();
            return None;
        }
        self.transmit(now)
    }

    /// Returns `true` if there is nothing to send, as is mostly found at a glance.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.rx.due && self.rx.answer.is_none() && self.notice.is_over() && self.tx.is_at_rest()
    }

    /// Returns `true` if packets of best effort wait, more than a write of one leaves: nobody sends them again, so they are not for
    /// a layer that has [no room](Self::set_room).
    pub(crate) fn has_burst(&self) -> bool {
        !self.params.reliable && self.tx.waiting() > 1
    }

    /// The layer below takes user data, or would drop it for lack of room.
    pub(crate) fn set_room(&mut self, room: bool) {
        self.tx.room = room;
    }

    /// Time before which no notice of an end is sent: what was written before it, and waits, is lost if it comes later.
    pub(super) fn notice_after(&self) -> Instant {
        if self.params.reliable || self.ending == Some(Ending::Aborted) || self.tx.waiting() == 0 {
            return Instant::ZERO;
        }
        if self.tx.waits_for_peer() {
            // A peer that reads nothing hears of the end all the same.
            let patience = match self.tx.rtt.known() {
                true => PATIENCE.max(2 * Duration::from_nanos(self.tx.rtt.smoothed())),
                false => 3 * PATIENCE,
            };
            return self.tx.last_new.get().map_or(Instant::ZERO, |at| at + patience);
        }
        Instant::FAR_FUTURE
    }

    fn transmit(&mut self, now: Instant) -> Option<Transmit<'_>> {
        if self.down {
            return None;
        }
        let held = self.notice.is_repeated() && now < self.notice_after();
        if self.notice.pick(now, self.tx.rtt.smoothed(), held) {
            return Some(self.notice_packet(now));
        }
        if self.ending == Some(Ending::Aborted) {
            return None;
        }
        if let Some(number) = self.rx.answer.take() {
            self.stats.control_sent += 1;
            return Some(Transmit::Control { pci: Pci::answer(number).to_bytes(), payload: &[] });
        }
        if let Some(pick) = self.tx.pick_path(now) {
            return self.path_packet(pick);
        }
        match self.tx.pick(now, &self.params) {
            Pick::Rendezvous => {
                self.stats.control_sent += 1;
                // The oldest unacknowledged number: a peer without a run begins where nothing is missed.
                let pci = Pci { flags: Flags::RDVS | Flags::DRF, seqno: self.tx.edge, ..Pci::default() };
                Some(Transmit::Control { pci: pci.to_bytes(), payload: &[] })
            }
            Pick::Again(seq) => {
                self.stats.rare().retransmitted += 1;
                self.kept(now, seq)
            }
            Pick::New if self.params.reliable => {
                let seq = self.tx.next;
                self.stats.sent += u64::from(self.tx.segment(seq).is_some_and(|s| !s.state.has(State::END)));
                self.tx.next = seq + 1;
                self.kept(now, seq)
            }
            Pick::New => {
                let (mut pkt, seq, state) = self.tx.take_unreliable(now)?;
                // Nothing of a best-effort flow is ever outstanding, so each packet may be the first of a run.
                let pci = self.header(now, Flags::DATA | Flags::DRF | state.fragment(), seq).to_bytes();
                self.stats.sent += 1;
                match pkt.push(Pci::LEN) {
                    Some(head) => head.copy_from_slice(&pci),
                    None => pkt = without_headroom(&pci, &pkt),
                }
                Some(Transmit::Owned { pkt })
            }
            Pick::Nothing => self.control(now),
        }
    }

    /// What this end says outside of its stream.
    fn notice_packet(&mut self, now: Instant) -> Transmit<'_> {
        let seqno = self.tx.next;
        let pci = self.header(now, Flags::END | Flags::DRF, seqno);
        self.stats.control_sent += 1;
        Transmit::Control { pci: pci.to_bytes(), payload: &self.notice.byte }
    }

    /// A packet that stays in the queue.
    fn kept(&mut self, now: Instant, seq: Seq) -> Option<Transmit<'_>> {
        if self.tx.begin_cut(&self.params, seq) {
            let pick = self.tx.pick_path(now)?;
            return self.path_packet(pick);
        }
        let state = self.tx.segment(seq)?.state;
        let mut flags = if state.has(State::DRF) { Flags::DATA | Flags::DRF } else { Flags::DATA };
        flags |= state.fragment();
        if state.has(State::END) {
            flags |= Flags::END;
        }
        let pci = self.header(now, flags, seq).to_bytes();
        // Looked up again, as the header needs the whole machine in between.
        let payload = self.tx.segment(seq)?.packet.as_deref().unwrap_or_default();
        Some(Transmit::Kept { pci, payload })
    }

    /// A header, with acknowledgement and window if the peer has a run that they may speak of.
    fn header(&mut self, now: Instant, mut flags: Flags, seqno: Seq) -> Pci {
        let p = &self.params;
        let mut pci = Pci { flags, window: 0, seqno, ackno: Seq(0) };
        if !self.rx.active(now, p) {
            return pci;
        }
        flags |= Flags::FC;
        pci.window = self.rx.tell(now, p);
        // Later than A after the data an acknowledgement could meet a new run of the sender (Delta-t).
        if p.reliable && self.rx.may_ack(now, p) {
            flags |= Flags::ACK;
            pci.ackno = self.rx.next;
        }
        // What lies beyond a gap fits into control packets only.
        pci.flags = flags;
        if self.rx.held.is_empty() || !pci.is_data() {
            self.rx.acked();
        }
        pci
    }

    /// The control packet that is due, if any.
    fn control(&mut self, now: Instant) -> Option<Transmit<'_>> {
        if !self.rx.due {
            return None;
        }
        let pci = self.header(now, Flags::DRF, self.tx.edge);
        self.rx.acked();
        // The run has expired meanwhile, and what was due about it with it.
        if !pci.flags.contains(Flags::FC) {
            return None;
        }
        if self.tx.peer_is_o7s && pci.flags.contains(Flags::ACK) && !self.rx.held.is_empty() {
            self.rx.report();
        } else {
            self.rx.forget_report();
        }
        self.stats.control_sent += 1;
        Some(Transmit::Control { pci: pci.to_bytes(), payload: self.rx.sack() })
    }
}

/// A packet in a buffer that came without room for the header.
fn without_headroom(pci: &[u8], payload: &[u8]) -> PacketBuf {
    let mut whole = Vec::with_capacity(pci.len() + payload.len());
    whole.extend_from_slice(pci);
    whole.extend_from_slice(payload);
    PacketBuf::copy_of(&whole)
}
