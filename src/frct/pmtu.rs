//! Path MTU discovery by the packets themselves (RFC 8899): a path that drops what is too large, and says nothing.
//!
//! It is for reliable flows between two o7s ends that put messages together. There the layer says how much its device
//! carries, and nobody what the path behind it does. On flows that are not reliable nothing is acknowledged, so nothing is
//! found out: what is too large for the path is lost. Nor is there anything on a layer that tells its largest packet truly.
//!
//! *Suspicion.* Loss says nothing about sizes. A packet that has been resent three times in vain makes packets of its size,
//! header included, suspicious; from then on a probe as small as can be follows each further retransmission. Retransmissions
//! and probes are then weighed against each other, see [`Tally`], until they confirm a *black hole* (RFC 8899, 4.3): the path
//! carries packets, but none so large. An acknowledgement of any packet as large ends the suspicion, and so does a peer that
//! says that it takes nothing for now.
//!
//! *Lowering.* The limit becomes [`BASE`], or if even that does not pass half of what does not, down to [`FLOOR`]. New data
//! is written in packets of that size; what has its number already goes in pieces
//! ([wire](crate::wire::frct#pieces-and-path-probes)). When it arrives, the limit is confirmed.
//!
//! *Search.* First a size that did not pass and is not larger than [`BASE`] is probed once more: a small packet is seldom
//! too large. Then probes, which carry no data, halve what lies between the limit and the size that does not pass, down to
//! [`STEP`]. Each size is tried three times, and none is larger than what the layer takes at the time. What passes is the
//! limit from then on.
//!
//! *Raising.* After [`RAISE`] the path may have become wider: the size that first did not pass is probed, and if it still
//! does not, the search begins again. If it does, there is no limit any more but the layer's.
//!
//! Nothing of it outlives a move of the peer to another address. Without suspicion and limit there is no state, and nothing
//! is done for a packet.

use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::wire::frct::Pci;

mod sending;
#[cfg(test)]
mod tests;

/// The first limit after a black hole, bytes given to the layer below, encryption and checksum included: on a path of 1280
/// bytes, the least that IPv6 allows, what IP, UDP, a layer and the encryption of its N-1 flow add has room besides.
pub(super) const BASE: u32 = 1152;
/// The least limit, counted alike. Where not even that passes, the flow ends as if nothing did.
pub(super) const FLOOR: u32 = 256;
/// The search ends when no more than this is left of the interval, bytes.
const STEP: u32 = 16;
/// From the end of a search to the next one, nanoseconds: `PMTU_RAISE_TIMER` of RFC 8899.
pub(super) const RAISE: u64 = 600_000_000_000;
/// Retransmissions in vain that make a size suspicious.
pub(super) const IN_VAIN: u8 = 3;
/// How much more likely what was seen has to be on a path that is too narrow than on one that only loses.
const CERTAIN: f64 = 200.0;
/// Of large packets, a full queue that lets small ones in loses no more than this share for long.
const CROWDED: f64 = 0.75;
/// An answer may take so much longer than any of late without a queue being full, nanoseconds, or an eighth of it.
const SLACK: u64 = 5_000_000;
/// How often a probe of the search is sent, and the least time for its answer, nanoseconds.
const TRIES: u8 = 3;
const PATIENCE: u64 = 1_000_000_000;
/// No limit.
const UNLIMITED: u32 = u32::MAX;
/// Larger packets are not cut into pieces, bytes with the header: no device that loses packets carries them.
pub(super) const CUT_MAX: u32 = 1 << 16;

/// A probe that was sent, or is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeProbe {
    number: Seq,
    /// With its header, bytes: just that much if it asks whether anything passes.
    size: u32,
    /// Times that a probe of this size was sent.
    tries: u8,
    /// `None`: it is still to be sent.
    sent: Option<Instant>,
}

impl SizeProbe {
    fn is_small(&self) -> bool {
        self.size == Pci::LEN as u32
    }
}

/// What has become of the retransmissions and probes of a suspicion: a sequential test (A. Wald, *Sequential Tests of
/// Statistical Hypotheses*, 1945) of whether the path *loses*, with a probability that depends on no size, or is *narrow*,
/// and no large packet passes. Each pair of them is one trial.
///
/// The probability of loss is not known. Under either assumption it is averaged over: all are alike at first, and what is
/// small tells of it, on a path that only loses what is large as well. So with `n` probes, `u` of them not answered, and `k`
/// large packets, all lost, a narrow path is as much [more likely](Self::odds) as the product of `(n + 1 + j) / (u + j)`,
/// `j` from 1 to `k`: the fewer probes are lost, the more the loss of large packets says. A large packet that arrives leaves
/// nothing of that, and what is lost together, as while the path is broken, makes it less.
///
/// A full queue is no loss of that kind: it takes small packets rather than large ones, and may keep those of one flow out
/// for long. An answer that took as long as if there were one therefore counts as if it had lost the large packet with the
/// probability [`CROWDED`], whatever was lost else.
///
/// The test has no other end than [`CERTAIN`] and the arrival of a large packet. By Wald's bound one suspicion of 200 at
/// most, on the average of all probabilities, is a mistake. Computed, of all packets that are sent so many are taken for too
/// large without being so: 7e-7 if one packet or answer of ten is lost, 3e-4 with three of ten, and 0.9 % in the worst case,
/// eight of ten. A narrow path is found with three pairs if no probe is lost, 3.7 on the average with one of ten, 9.7 with
/// one of two; and with 14 if all are answered late.
///
/// The time [R](super::Config::retransmit_max) holds eight timeouts that were doubled to the utmost, and far more if an
/// answer comes at once, which ends the doubling, because no queue is full: of sixty pairs one in 1e9 black holes is missed
/// if half of the probes are lost. Late answers do not end it: on a narrow path where all are late, and the timeout is more
/// than about 160 ms, R ends before there are fourteen, and the flow with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    /// The smallest suspicious size.
    size: u32,
    /// Probes that were answered at once.
    prompt: u8,
    /// Those that were answered, but late.
    late: u8,
    /// Those that were not.
    unanswered: u8,
}

impl Tally {
    const fn new(size: u32) -> Self {
        Self { size, prompt: 0, late: 0, unanswered: 0 }
    }

    /// How much more likely this is on a path that is too narrow than on one that only loses.
    fn odds(&self) -> f64 {
        let lost = f64::from(self.unanswered);
        let probes = f64::from(self.prompt) + lost;
        // Four large packets were lost before the first probe, and one with each but the last: what comes of that is not known.
        let large = u16::from(self.prompt) + u16::from(self.unanswered) + u16::from(IN_VAIN);
        let lossy: f64 = (1..=large).map(f64::from).map(|j| (probes + 1.0 + j) / (lost + j)).product();
        (0..self.late).fold(lossy, |odds, _| odds / CROWDED)
    }
}

/// What is known about the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing limits packets.
    Unlimited,
    /// Whether packets as large as the limit pass is not known.
    Base,
    /// They do, and larger ones are probed.
    Search,
    /// The largest that passes has been found.
    Complete,
}

/// A numbered packet that goes in pieces, of which some are still to be sent.
#[derive(Clone, Copy, Debug)]
struct Cut {
    seq: Seq,
    offset: u32,
}

/// What an answer to a probe has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// Nothing yet, but a small probe was answered at once.
    Prompt,
    /// The limit is lower.
    Lowered,
    /// The limit is higher, or gone.
    Raised,
}

/// The state of one direction of a flow. All sizes are those of packets with FRCT's header, bytes.
#[derive(Debug)]
pub(super) struct Pmtu {
    phase: Phase,
    /// The largest packet that is sent in one piece.
    limit: u32,
    /// The smallest that is known not to pass.
    failed: u32,
    /// The largest that was ever suspicious.
    ceiling: u32,
    suspicion: Option<Tally>,
    probe: Option<SizeProbe>,
    number: Seq,
    raise_at: Instant,
    cut: Option<Cut>,
    /// [`BASE`] and [`FLOOR`] without what encryption and checksum add.
    base: u32,
    floor: u32,
}

impl Pmtu {
    /// `below`: what is added to a packet on its way to the layer below, bytes. `number`: from where probes are numbered,
    /// another one each time, for answers to what was asked on an earlier path may still come.
    fn new(below: u32, number: Seq) -> Self {
        let least = 2 * Pci::LEN as u32;
        Self {
            phase: Phase::Unlimited,
            limit: UNLIMITED,
            failed: UNLIMITED,
            ceiling: 0,
            suspicion: None,
            probe: None,
            number,
            raise_at: Instant::FAR_FUTURE,
            cut: None,
            base: BASE.saturating_sub(below).max(least),
            floor: FLOOR.saturating_sub(below).max(least),
        }
    }

    /// The largest packet of user data that goes in one piece, bytes.
    pub(super) fn limit(&self) -> Option<usize> {
        (self.limit != UNLIMITED).then(|| (self.limit as usize).saturating_sub(Pci::LEN))
    }

    /// Returns `true` if nothing is known that would have to be kept.
    fn is_blank(&self) -> bool {
        self.phase == Phase::Unlimited && self.suspicion.is_none() && self.cut.is_none()
    }

    /// Returns `true` if a probe or a piece is to be sent.
    #[inline]
    fn is_due(&self) -> bool {
        self.cut.is_some() || self.probe.is_some_and(|probe| probe.sent.is_none())
    }

    /// A packet of `size` bytes is sent again, after it was resent three times in vain. `patience`: how long an answer may
    /// take, nanoseconds.
    fn on_resent(&mut self, now: Instant, size: u32, patience: u64) {
        // What is larger goes in pieces of the limit's length: it is these that are lost.
        let unit = size.min(self.limit);
        if unit <= self.floor || size > CUT_MAX {
            return;
        }
        self.ceiling = self.ceiling.max(size);
        if self.suspicion.is_none() {
            // A search has to wait: it is not known what of it is still true.
            self.probe = None;
        }
        let tally = self.suspicion.get_or_insert(Tally::new(unit));
        tally.size = unit.min(tally.size);
        match self.probe {
            Some(SizeProbe { sent: Some(sent), .. }) if now >= sent.plus_nanos(patience) => {
                tally.unanswered = tally.unanswered.saturating_add(1);
            }
            // One at a time: what is lost together says one thing.
            Some(_) => return,
            None => {}
        }
        self.prepare(Pci::LEN as u32, 1);
    }

    /// A probe goes out next.
    fn prepare(&mut self, size: u32, tries: u8) {
        self.number += 1;
        self.probe = Some(SizeProbe { number: self.number, size, tries, sent: None });
    }

    /// Returns `true` if a probe of the search is to be sent.
    fn is_asking(&self) -> bool {
        self.probe.is_some_and(|probe| probe.sent.is_none() && !probe.is_small())
    }

    /// The layer below takes packets up to `most` bytes now: what is larger is not probed.
    fn fit(&mut self, most: u32) {
        if self.is_asking() && self.probe.is_some_and(|probe| probe.size > most) {
            self.failed = self.failed.min(most.saturating_add(1));
            if most > self.limit { self.prepare(most, 1) } else { self.search() }
        }
    }

    /// The probe to be sent now: its number and size.
    fn pick(&mut self, now: Instant) -> Option<(Seq, u32)> {
        let probe = self.probe.as_mut().filter(|probe| probe.sent.is_none())?;
        probe.sent = Some(now);
        Some((probe.number, probe.size))
    }

    /// A packet of `size` bytes has arrived, which was sent last in pieces (`cut`) or in one.
    fn on_arrival(&mut self, size: u32, cut: bool) {
        let unit = if cut { size.min(self.limit) } else { size };
        if self.suspicion.is_some_and(|tally| unit >= tally.size) {
            self.trust();
        }
        // An application that writes small packets confirms nothing.
        if self.phase == Phase::Base && unit.saturating_add(STEP) >= self.limit {
            self.phase = Phase::Search;
            // That so small a packet does not pass is so rare that it was more likely lost, again and again.
            if self.failed <= self.base { self.prepare(self.ceiling, 1) } else { self.search() }
        }
    }

    /// The suspicion was unfounded.
    fn trust(&mut self) {
        if self.suspicion.take().is_some() {
            self.probe = None;
            self.search();
        }
    }

    /// The next step of a search, or its end.
    fn search(&mut self) {
        if self.phase != Phase::Search || self.suspicion.is_some() {
            return;
        }
        let left = self.failed.saturating_sub(self.limit);
        if left > STEP {
            self.prepare(self.limit + left / 2, 1);
        } else {
            self.phase = Phase::Complete;
            self.probe = None;
        }
    }

    /// The peer has answered the probe of this number. `shortest`: the shortest round trip of late, nanoseconds; 0 if none is
    /// known.
    fn on_answer(&mut self, now: Instant, number: Seq, shortest: u64) -> Change {
        let Some(probe) = self.probe.filter(|probe| probe.number == number) else { return Change::Nothing };
        let Some(sent) = probe.sent else { return Change::Nothing };
        self.probe = None;
        if !probe.is_small() {
            return self.on_passed(now, probe.size);
        }
        let Some(tally) = &mut self.suspicion else { return Change::Nothing };
        let late = shortest > 0 && now.nanos_since(sent) > shortest + (shortest / 8).max(SLACK);
        let count = if late { &mut tally.late } else { &mut tally.prompt };
        *count = count.saturating_add(1);
        if tally.odds() < CERTAIN {
            return if late { Change::Nothing } else { Change::Prompt };
        }
        let size = tally.size;
        self.lower(now, size);
        Change::Lowered
    }

    /// Packets of `size` bytes do not pass, and small ones do.
    fn lower(&mut self, now: Instant, size: u32) {
        self.suspicion = None;
        self.cut = None;
        self.failed = size;
        // First to where nearly every path carries it, so that data gets through at once; the search raises it afterwards.
        self.limit = if size > self.base { self.base } else { (size / 2).max(self.floor) };
        self.phase = Phase::Base;
        self.raise_at = now.plus_nanos(RAISE);
    }

    /// A probe of the search has arrived.
    fn on_passed(&mut self, now: Instant, size: u32) -> Change {
        if size >= self.ceiling {
            // What has its number already is small enough.
            (self.phase, self.limit, self.failed) = (Phase::Unlimited, UNLIMITED, UNLIMITED);
            (self.ceiling, self.raise_at) = (0, Instant::FAR_FUTURE);
        } else {
            self.limit = size;
            self.raise_at = now.plus_nanos(RAISE);
            self.search();
        }
        Change::Raised
    }

    /// The time has come to look wider again, or a probe of the search was not answered.
    fn check(&mut self, now: Instant, patience: u64) {
        if now >= self.raise_at {
            self.raise_at = now.plus_nanos(RAISE);
            if self.suspicion.is_none() {
                self.phase = Phase::Search;
                self.failed = self.ceiling;
                // The path may be as wide as it was: asked first, because that ends all of this.
                self.prepare(self.ceiling, 1);
            }
        }
        let Some(probe) = self.probe.filter(|probe| !probe.is_small()) else { return };
        if probe.sent.is_none_or(|sent| now < sent.plus_nanos(patience.max(PATIENCE))) {
            return;
        }
        if probe.tries < TRIES {
            self.prepare(probe.size, probe.tries + 1);
        } else {
            self.probe = None;
            self.failed = self.failed.min(probe.size);
            self.search();
        }
    }

    /// When [`check`](Self::check) has something to do.
    fn deadline(&self, patience: u64) -> Instant {
        let probe = self.probe.filter(|probe| !probe.is_small()).and_then(|probe| probe.sent);
        probe.map_or(self.raise_at, |sent| self.raise_at.min(sent.plus_nanos(patience.max(PATIENCE))))
    }
}
