//! The sending half: the queue of packets, its edges, windows and timers. What to do about loss is in
//! [`recovery`](super::recovery).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::Params;
use super::congestion::{Algorithm, Controller, HEADERS, MIN_SEGMENT};
use super::fragments::Part;
use super::pacing::{Mark, Meter, Pacer};
use super::pmtu::Pmtu;
use super::ranges::Ranges;
use super::recovery::{Episode, Evidence, Repairs, TimeoutProbe, Timer};
use super::rendezvous::Asking;
use super::rtt::Rtt;
use super::segment::{Segment, State};
use crate::base::buf::PacketBuf;
use crate::base::seq::{Seq, decode24};
use crate::base::time::{Instant, MaybeInstant};
use crate::wire::frct::Pci;

mod ending;

/// Packets that may be sent before the peer has advertised a window, as the reference.
pub(super) const START_WINDOW: u32 = 64;
/// A best-effort sender asks for the window when no more than this is left of it, packets.
const ASK_BELOW: i32 = 64;
const ASK_BELOW_REFERENCE: i32 = 16;
/// What a rendez-vous answered by a reference is worth on a best-effort flow, packets beyond the question.
const ANSWER_WORTH: u32 = 128;
/// A window of so many packets and more opens by two at a time.
const PAIRS: u64 = 16;
/// Room for this many packets is worth waking a writer for.
const MANY: u32 = 64;
/// A window further ahead than this of what was sent is not believed, from a peer of our own kind and from another.
const WINDOW_MAX: i32 = 1 << 15;
const WINDOW_MAX_REFERENCE: i32 = 1 << 12;
/// Numbers this far back are recognised as our own when a reference sends them back.
const OWN_NUMBERS: u32 = 1024;

/// What goes out next.
pub(super) enum Pick {
    Rendezvous,
    Again(Seq),
    New,
    Nothing,
}

/// How fast packets leave: the congestion window, the rate, and what is measured for them.
pub(super) struct Rate {
    /// `None`: the layer below avoids congestion.
    pub(super) congestion: Option<Box<dyn Controller>>,
    pub(super) pacer: Pacer,
    pub(super) meter: Meter,
    /// Cost of the largest packet so far, bytes.
    largest: u64,
    /// When the last packet went that window and rate let go.
    burst_at: Instant,
    /// Window or rate held packets back in this round, and in the last.
    limited: (bool, bool),
    /// End of the current round trip.
    pub(super) round: Seq,
}

/// The sending half of a machine.
pub(super) struct Sender {
    /// Packets from `edge` on: first those that are out, then those that wait.
    pub(super) queue: VecDeque<Segment>,
    /// Memory that its packets hold, bytes.
    queued: usize,
    /// Oldest unacknowledged number.
    pub(super) edge: Seq,
    /// Next number to use.
    pub(super) next: Seq,
    /// First number that the peer does not allow.
    pub(super) limit: Seq,
    /// The peer takes nothing of what is out, for want of memory.
    pub(super) shut: bool,
    /// What the peer holds beyond `edge`.
    pub(super) sacked: Ranges,
    pub(super) sacked_count: u32,
    /// Bytes believed to be under way.
    pub(super) flight: u64,
    pub(super) repairs: Repairs,
    pub(super) evidence: Evidence,
    /// Present since something was lost, until the flow has been idle.
    pub(super) episode: Option<Box<Episode>>,
    pub(super) timer: Timer,
    pub(super) probe: TimeoutProbe,
    pub(super) asking: Asking,
    /// Present while the path is suspected of carrying less than the layer says, or known to.
    pub(super) pmtu: Option<Box<Pmtu>>,
    pub(super) rate: Rate,
    pub(super) rtt: Rtt,
    /// When a packet went out last for the first time.
    pub(super) last_new: MaybeInstant,
    /// The peer has shown itself to be more than the reference.
    pub(super) peer_is_o7s: bool,
    /// No user data goes out for now.
    pub(super) held: bool,
    /// The layer below takes new user data.
    pub(super) room: bool,
    reliable: bool,
    /// What encryption and checksum add to a packet, bytes.
    pub(super) below: u8,
}

impl Sender {
    pub(super) fn new(p: &Params, algorithm: &Algorithm, isn: Seq) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: 0,
            edge: isn,
            next: isn,
            limit: isn + START_WINDOW,
            shut: false,
            sacked: Ranges::default(),
            sacked_count: 0,
            flight: 0,
            repairs: Repairs::default(),
            evidence: Evidence::new(isn),
            episode: None,
            timer: Timer::default(),
            probe: TimeoutProbe::default(),
            asking: Asking::new(isn),
            pmtu: None,
            rate: Rate {
                congestion: (p.congestion && p.reliable).then(|| algorithm.make()),
                pacer: Pacer::new(),
                meter: Meter::default(),
                largest: MIN_SEGMENT,
                burst_at: Instant::ZERO,
                limited: (false, false),
                round: isn,
            },
            rtt: Rtt::default(),
            last_new: MaybeInstant::default(),
            peer_is_o7s: p.o7s_peer,
            held: false,
            room: true,
            reliable: p.reliable,
            below: 0,
        }
    }

    /// Packets out and not acknowledged.
    pub(super) fn outstanding(&self) -> u32 {
        (self.next - self.edge) as u32
    }

    /// Packets that wait for their first transmission.
    pub(super) fn waiting(&self) -> u32 {
        (self.queue.len() as u32).saturating_sub(self.outstanding())
    }

    /// Bytes that may be under way.
    pub(super) fn window(&self) -> u64 {
        self.rate.congestion.as_ref().map_or(u64::MAX, |c| c.window())
    }

    /// Returns `true` if the congestion window has room. After a reduction packets go on leaving, in proportion to
    /// those that arrive, while the flight shrinks to it (PRR, RFC 6937): the path does not fall silent.
    fn has_window(&self, cost: u64) -> bool {
        let window = self.window();
        // A window of less than a packet is a rate: see `pacing`.
        self.flight == 0
            || self.flight.saturating_add(cost) <= window
            || self.episode.as_ref().is_some_and(|e| e.until.is_some() && e.reduction.allows(window))
    }

    /// Returns `true` if window and rate let a packet go now.
    pub(super) fn may_send(&mut self, now: Instant, seq: Seq) -> bool {
        if self.rate.congestion.is_none() {
            return true;
        }
        let cost = self.segment(seq).map_or(0, |s| u64::from(s.cost));
        // Large windows open by two packets at a time, as they do where every second packet is acknowledged. A flow that
        // never sent two together would never lose any to a full queue, and the others would lose all the more.
        let pair = self.rate.burst_at != now && self.window() / PAIRS >= cost;
        let may = self.has_window(if pair { 2 * cost } else { cost }) && self.rate.pacer.allows(now);
        if may {
            self.rate.burst_at = now;
        }
        self.rate.limited.0 |= !may;
        may
    }

    /// Returns `true` if window or rate have held packets back lately.
    pub(super) fn is_limited(&self) -> bool {
        self.rate.limited.0 || self.rate.limited.1
    }

    /// A round trip is over.
    pub(super) fn next_round(&mut self) {
        self.rate.round = self.next;
        // Two rounds are remembered, because in a new one nothing can have been held back yet.
        self.rate.limited = (false, self.rate.limited.0);
    }

    /// The rate follows the window and the round-trip time.
    pub(super) fn update_rate(&mut self) {
        if let Some(congestion) = &self.rate.congestion
            && self.rtt.known()
        {
            self.rate.pacer.set_rate(congestion.pacing_rate(self.rtt.smoothed()));
        }
    }

    /// Writes the books for a packet that leaves; it was not believed to be under way.
    #[inline]
    pub(super) fn launch(&mut self, now: Instant, seq: Seq) {
        // Without this packet: with nothing else under way the meter begins a new interval.
        let flight = self.flight;
        let mark = self.rate.meter.sent(now, flight);
        let Some(segment) = self.segment(seq) else { return };
        segment.sent = now;
        segment.mark = mark;
        let cost = u64::from(segment.cost);
        self.flight += cost;
        if let Some(episode) = &mut self.episode {
            episode.reduction.sent += cost;
        }
        self.rate.pacer.sent(now, cost);
    }

    #[inline]
    pub(super) fn segment(&mut self, seq: Seq) -> Option<&mut Segment> {
        self.queue.get_mut(usize::try_from(seq - self.edge).ok()?)
    }

    /// A packet leaves the queue, or its place in it.
    #[inline]
    pub(super) fn left(&mut self, packet: &PacketBuf) {
        self.queued = self.queued.saturating_sub(packet.memory());
    }

    pub(super) fn can_queue(&self, p: &Params) -> bool {
        (self.queue.len() as u32) < p.send_queue && self.waiting() < p.unsent && self.queued < p.send_bytes
    }

    /// Returns `true` if there is room for many packets.
    pub(super) fn has_room(&self, p: &Params) -> bool {
        // Waking a writer for a single place would switch threads for each packet.
        let many = MANY.min(p.send_queue / 4).min(p.unsent / 4);
        (self.queue.len() as u32).saturating_add(many) < p.send_queue
            && self.waiting().saturating_add(many) < p.unsent
            && self.queued < p.send_bytes - p.send_bytes / 4
    }

    /// Queues a user packet, or a fragment of a message: all of it, once there was room for a packet.
    pub(super) fn push(&mut self, now: Instant, p: &Params, packet: PacketBuf, part: Part) {
        if self.repairs.lost.is_empty() && self.waiting() == 0 {
            // Nobody need have asked for packets since window and rate last held one back.
            self.rest();
        }
        if self.queue.is_empty() {
            let pause = self.last_new.get().map(|t| now.nanos_since(t));
            // A peer whose receiver has never run, or has forgotten us, learns our numbers before the first packet
            // can be lost.
            // A reference takes the run from the first packet of a best-effort flow, and a client of it that is sent two
            // packets at once stays one behind: it is asked when its blind window is nearly used up.
            if (p.reliable || p.o7s_peer) && pause.is_none_or(|t| t > p.r) {
                self.asking.ask();
            }
            if pause.is_some_and(|t| t > self.rto(p))
                && let Some(congestion) = &mut self.rate.congestion
            {
                congestion.on_idle();
                self.update_rate();
            }
        }
        let cost = packet.len() as u64 + Pci::LEN as u64 + HEADERS;
        if cost > self.rate.largest {
            self.rate.largest = cost;
            if let Some(congestion) = &mut self.rate.congestion {
                congestion.on_segment(cost);
            }
        }
        self.queued += packet.memory();
        self.queue.push_back(Segment {
            packet: Some(packet),
            sent: Instant::ZERO,
            first: Instant::ZERO,
            cost: cost as u32,
            state: State::of(part),
            resent: 0,
            mark: Mark::default(),
        });
    }

    /// Decides what goes out next and does the book-keeping for it.
    pub(super) fn pick(&mut self, now: Instant, p: &Params) -> Pick {
        // Before anything else: without a run at the peer, or with a closed window, nothing that follows would be
        // taken.
        if self.asking.pick(now, self.next) {
            return Pick::Rendezvous;
        }
        if self.held {
            self.ask_later(now);
            return Pick::Nothing;
        }
        // A new packet makes the best probe: its acknowledgement can be timed, and nothing is sent twice.
        if self.probe.beyond && self.probe.oldest.is_none() && self.waiting() > 0 && self.next.before(self.limit) {
            self.probe.beyond = false;
            return self.pick_new(now, p);
        }
        if let Some(seq) = self.pick_probe(now, p) {
            return Pick::Again(seq);
        }
        if self.is_shut() {
            return Pick::Nothing;
        }
        if !self.repairs.lost.is_empty()
            && let Some(seq) = self.pick_lost(now, p)
        {
            return Pick::Again(seq);
        }
        if self.waiting() == 0 {
            return self.starved();
        }
        // The end takes no place at the peer, so a closed window does not hold it back.
        if !self.next.before(self.limit) && !self.ends_next() {
            self.ask_later(now);
            return self.starved();
        }
        if !self.room || !self.may_send(now, self.next) {
            return Pick::Nothing;
        }
        self.pick_new(now, p)
    }

    fn pick_new(&mut self, now: Instant, p: &Params) -> Pick {
        self.last_new = MaybeInstant::at(now);
        if self.reliable {
            self.first_transmission(now, p);
        }
        Pick::New
    }

    /// Returns `true` if all that is left to send is the end, which the peer takes whatever its window is.
    fn ends_next(&self) -> bool {
        self.outstanding() == 0 && self.queue.front().is_some_and(|s| s.state.has(State::END))
    }

    /// Returns `true` if it is the peer's window that keeps packets from leaving.
    pub(super) fn waits_for_peer(&self) -> bool {
        !self.held && !self.next.before(self.limit)
    }

    /// Has a rendez-vous ask the peer, unless that is about to happen.
    fn ask_later(&mut self, now: Instant) {
        if self.waiting() > 0 {
            self.asking.ask_later(now);
        }
    }

    /// Neither window nor rate keep the flow from sending.
    fn starved(&mut self) -> Pick {
        if self.repairs.lost.is_empty() {
            self.rest();
        }
        Pick::Nothing
    }

    /// Returns `true` if no packet waits to be sent, for the first time or again.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        !self.asking.is_due()
            && !self.probe.is_due()
            && self.repairs.lost.is_empty()
            && self.waiting() == 0
            && !self.has_path_packet()
    }

    /// Notes that nothing waits that window or rate would hold back.
    #[inline]
    pub(super) fn rest(&mut self) {
        if self.rate.congestion.is_none() {
            return;
        }
        self.rate.pacer.idle();
        if !self.rate.meter.is_starved(self.flight) && self.flight < self.window() {
            self.rate.meter.starved(self.flight);
        }
    }

    /// Marks the packet at `next` as sent. The caller still advances `next`.
    fn first_transmission(&mut self, now: Instant, p: &Params) {
        let alone = self.next == self.edge;
        let seq = self.next;
        if let Some(segment) = self.segment(seq) {
            segment.first = now;
            // With others outstanding a receiver that has no run yet, and gets this packet first, would begin behind
            // them.
            if alone {
                segment.state.set(State::DRF);
            }
        }
        self.launch(now, seq);
        self.start_rto(now, p);
    }

    /// Takes the next packet of a best-effort flow, whose number is the old `next`.
    pub(super) fn take_unreliable(&mut self, now: Instant) -> Option<(PacketBuf, Seq, State)> {
        let Segment { packet, state, .. } = self.queue.pop_front()?;
        let packet = packet?;
        self.left(&packet);
        let seq = self.next;
        self.next = seq + 1;
        self.edge = self.next;
        let ask_below = if self.peer_is_o7s { ASK_BELOW } else { ASK_BELOW_REFERENCE };
        if self.limit - self.next <= ask_below {
            self.asking.ask_again(now, self.next, self.peer_is_o7s);
        }
        Some((packet, seq, state))
    }

    /// The peer advertises a window. `answer`: by a packet that a reference sends to answer a rendez-vous only.
    /// `false` if the value is not believed.
    pub(super) fn on_window(&mut self, now: Instant, low24: u32, answer: bool) -> bool {
        // The wire has 24 bits of it; those missing are taken from the present limit, which it is near.
        let mut limit = decode24(self.limit, low24);
        if self.peer_is_o7s && self.reliable {
            self.on_told(now, limit);
        }
        let most = if self.peer_is_o7s { WINDOW_MAX } else { WINDOW_MAX_REFERENCE };
        let believed = limit - self.next <= most;
        if !believed {
            limit = self.limit;
        }
        if answer && let Some((asked_seq, asked_at)) = self.asking.answered() {
            if let Some(at) = asked_at
                && !self.rtt.known()
            {
                self.rtt.sample(now, now.nanos_since(at));
            }
            // The window of a reference does not count what was lost. But it has read what came before the question.
            let worth = asked_seq + ANSWER_WORTH;
            if !self.reliable && !self.peer_is_o7s && limit.before(worth) {
                limit = worth;
            }
        }
        // A window never shrinks: a smaller value comes from a packet that was overtaken.
        if limit.after(self.limit) {
            self.limit = limit;
            self.evidence.repeated_acks = 0;
            self.asking.moved(self.next.before(limit));
        }
        believed
    }

    /// Returns `true` if one of the last packets, of `sent` altogether, had this number.
    pub(super) fn was_sent_lately(&self, seq: Seq, sent: u64) -> bool {
        let back = self.next.0.wrapping_sub(seq.0);
        (1..=OWN_NUMBERS).contains(&back) && u64::from(back) <= sent
    }

    /// The rendez-vous part of a timeout.
    pub(super) fn check_rendezvous(&mut self, now: Instant) {
        let stuck = self.waiting() > 0 && (self.held || !self.next.before(self.limit));
        self.asking.check(now, stuck);
    }

    pub(super) fn deadline(&self) -> Instant {
        self.timer.at.min(self.evidence.reorder_at).min(self.asking.deadline()).min(self.rate.pacer.wake_at)
    }

    /// Gives back memory that an idle flow does not need.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink_to(self.queue.len());
        self.repairs.shrink();
        self.sacked.shrink();
        // What is sent from now on is sent after all that was lost.
        if self.outstanding() == 0 {
            self.episode = None;
        }
    }
}
