//! What the sending half does about the path: probes, pieces, and what has changed with the limit.

use super::{CUT_MAX, Change, Cut, IN_VAIN, Pmtu};
use crate::base::buf::PacketBuf;
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::counters::Counters;
use crate::frct::recovery::Found;
use crate::frct::segment::State;
use crate::frct::tx::Sender;
use crate::frct::{Frct, Params, Transmit};
use crate::wire::frct::{Flags, Pci};

/// What goes out next because of the path.
pub(in crate::frct) enum PathPick {
    Piece(Piece),
    /// A probe: number and size.
    Probe(Seq, u32),
}

/// A piece to be sent: of which packet, and where it lies in its data.
pub(in crate::frct) struct Piece {
    seq: Seq,
    offset: u32,
    len: u32,
    total: u32,
    flags: Flags,
}

impl Sender {
    /// Returns `true` if a probe or a piece is to be sent.
    #[inline]
    pub(in crate::frct) fn has_path_packet(&self) -> bool {
        self.pmtu.as_ref().is_some_and(|pmtu| pmtu.is_due())
    }

    /// A packet goes out once more.
    pub(in crate::frct) fn note_resent(&mut self, now: Instant, p: &Params, seq: Seq) {
        let shut = self.is_shut();
        let Some(segment) = self.segment(seq) else { return };
        // What the peer has no memory for is not lost.
        if shut {
            segment.resent = 0;
            return;
        }
        segment.resent = segment.resent.saturating_add(1);
        if segment.resent <= IN_VAIN || p.message_out == 0 {
            return;
        }
        let size = segment.size();
        let patience = self.rto(p);
        self.pmtu
            .get_or_insert_with(|| Pmtu::new(self.below.into(), Seq(now.as_nanos() as u32)).into())
            .on_resent(now, size, patience);
    }

    /// A packet is known to have arrived.
    #[inline]
    pub(in crate::frct) fn note_passed(&mut self, size: u32, state: State) {
        if let Some(pmtu) = &mut self.pmtu {
            pmtu.on_arrival(size, state.has(State::CUT));
            self.tidy_path();
        }
    }

    /// The peer has said why it takes nothing.
    pub(in crate::frct) fn trust_path(&mut self) {
        if let Some(pmtu) = &mut self.pmtu {
            pmtu.trust();
            self.tidy_path();
        }
    }

    fn tidy_path(&mut self) {
        self.pmtu = self.pmtu.take().filter(|pmtu| !pmtu.is_blank());
    }

    /// Whatever was known about the path, it is another one now.
    pub(in crate::frct) fn forget_path(&mut self) {
        self.pmtu = None;
        for segment in &mut self.queue {
            segment.resent = 0;
            segment.state.clear(State::CUT);
        }
    }

    /// The timer part.
    pub(in crate::frct) fn check_path(&mut self, now: Instant, p: &Params) {
        let patience = self.rto(p);
        if let Some(pmtu) = &mut self.pmtu
            && now >= pmtu.deadline(patience)
        {
            pmtu.check(now, patience);
        }
    }

    /// When that has something to do.
    #[inline]
    pub(in crate::frct) fn path_deadline(&self, p: &Params) -> Instant {
        self.pmtu.as_ref().map_or(Instant::FAR_FUTURE, |pmtu| pmtu.deadline(self.rto(p)))
    }

    /// The peer has answered a probe.
    pub(in crate::frct) fn on_path_answer(&mut self, now: Instant, p: &Params, number: Seq, stats: &mut Counters) {
        let shortest = self.rtt.min();
        let Some(pmtu) = &mut self.pmtu else { return };
        match pmtu.on_answer(now, number, shortest) {
            Change::Nothing | Change::Raised => {}
            // A round trip as good as any, and no queue to be spared (RFC 6298, 5.7).
            Change::Prompt => {
                self.timer.backoff = 0;
                self.arm_rto(now, p);
            }
            Change::Lowered => {
                stats.rare().lowered += 1;
                self.repeat_in_pieces(now, p);
            }
        }
        self.tidy_path();
    }

    /// What is out and too large for the path, as is known now, goes again: no congestion has lost it.
    fn repeat_in_pieces(&mut self, now: Instant, p: &Params) {
        let Some(limit) = self.pmtu.as_ref().map(|pmtu| pmtu.limit) else { return };
        let (mut found, mut seq) = (Found::default(), self.edge);
        while seq.before(self.next) {
            if let Some(segment) = self.segment(seq) {
                segment.resent = 0;
                if segment.size() > limit {
                    self.lose(seq, &mut found);
                }
            }
            seq += 1;
        }
        // Not by `enter_recovery`: the window is not made smaller for it. But what arrives as first sent after all is counted
        // against it, as with any loss that was declared.
        if found.packets > 0 {
            self.episode.get_or_insert_default().declared.0 += found.packets;
        }
        self.repairs.forced = true;
        // The peer is there, and has answered.
        self.timer.progress_at = now;
        (self.timer.backoff, self.timer.silent) = (0, 0);
        self.arm_rto(now, p);
    }

    /// Returns `true` if the packet goes in pieces from now on, because it is too large for the path.
    pub(in crate::frct) fn begin_cut(&mut self, p: &Params, seq: Seq) -> bool {
        let Some(limit) = self.pmtu.as_ref().map(|pmtu| pmtu.limit) else { return false };
        let Some(segment) = self.segment(seq) else { return false };
        let too_large = segment.size() > limit && segment.size() <= CUT_MAX && p.message_out > 0;
        if !too_large {
            segment.state.clear(State::CUT);
            return false;
        }
        segment.state.set(State::CUT);
        if let Some(pmtu) = &mut self.pmtu {
            pmtu.cut = Some(Cut { seq, offset: 0 });
        }
        true
    }

    /// What is due of pieces and probes: the pieces of a packet follow each other.
    #[inline]
    pub(in crate::frct) fn pick_path(&mut self, now: Instant) -> Option<PathPick> {
        self.pmtu.as_ref()?;
        match self.next_piece() {
            Some(piece) => Some(PathPick::Piece(piece)),
            None => self.next_probe(now).map(|(number, size)| PathPick::Probe(number, size)),
        }
    }

    /// The next piece of the packet that is being sent, unless it has arrived meanwhile.
    fn next_piece(&mut self) -> Option<Piece> {
        let pmtu = self.pmtu.as_mut()?;
        let Cut { seq, offset } = pmtu.cut.take()?;
        let most = pmtu.limit.saturating_sub(Pci::LEN as u32).max(1);
        if seq.before(self.edge) {
            return None;
        }
        let segment = self.segment(seq)?;
        let (state, total) = (segment.state, segment.packet.as_ref()?.len() as u32);
        let len = total.checked_sub(offset)?.min(most);
        if offset + len < total
            && let Some(pmtu) = &mut self.pmtu
        {
            pmtu.cut = Some(Cut { seq, offset: offset + len });
        }
        let drf = if state.has(State::DRF) { Flags::DRF } else { Flags::NONE };
        Some(Piece { seq, offset, len, total, flags: Flags::DATA | drf | state.fragment() })
    }

    /// The probe that is due: number and size.
    fn next_probe(&mut self, now: Instant) -> Option<(Seq, u32)> {
        // Nothing but questions goes to an address that is not known to be the peer's.
        if self.held { None } else { self.pmtu.as_mut()?.pick(now) }
    }
}

impl Frct {
    /// Returns `true` if [`fit_path`](Self::fit_path) is to be called before more is sent.
    #[inline]
    pub(crate) fn asks_path(&self) -> bool {
        self.tx.pmtu.as_ref().is_some_and(|pmtu| pmtu.is_asking())
    }

    /// The layer below takes packets of so many bytes of user data now: no more is asked of the path behind it.
    pub(crate) fn fit_path(&mut self, data: usize) {
        if let Some(pmtu) = &mut self.tx.pmtu {
            pmtu.fit(u32::try_from(data + Pci::LEN).unwrap_or(u32::MAX));
        }
    }

    /// A piece or a probe.
    pub(in crate::frct) fn path_packet(&mut self, pick: PathPick) -> Option<Transmit<'_>> {
        match pick {
            PathPick::Piece(Piece { seq, offset, len, total, flags }) => {
                let pci = Pci::piece(flags, seq, offset, total).to_bytes();
                let data = self.tx.segment(seq)?.packet.as_deref()?;
                let payload = data.get(offset as usize..(offset + len) as usize)?;
                Some(Transmit::Kept { pci, payload })
            }
            PathPick::Probe(number, size) => {
                let mut pkt = PacketBuf::with_capacity(size as usize);
                pkt.extend_from_slice(&Pci::probe(number).to_bytes())?;
                pkt.append((size as usize).saturating_sub(Pci::LEN))?.fill(0);
                self.stats.control_sent += 1;
                Some(Transmit::Owned { pkt })
            }
        }
    }
}
