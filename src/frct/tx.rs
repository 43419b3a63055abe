//! The sending half: the queue of packets, its edges, windows and timers. What to do about loss is in
//! [`recovery`](super::recovery).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::Params;
use super::congestion::{Algorithm, Controller, HEADERS, MIN_SEGMENT};
use super::end::Ending;
use super::pacing::{Mark, Meter, Pacer};
use super::ranges::Ranges;
use super::rtt::{Rtt, after, nanos_since};
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::seq::{Seq, decode24};
use crate::base::time::Instant;
use crate::wire::frct::Pci;

/// Packets that may be sent before the peer has advertised a window, as the reference.
pub(super) const START_WINDOW: u32 = 64;
/// Time from a closed window to the first rendez-vous, nanoseconds. It doubles so many times: to 6.4 s.
const RENDEZVOUS: u64 = 100_000_000;
const RENDEZVOUS_DOUBLES: u8 = 6;
/// A best-effort sender asks for the window when no more than this is left of it, packets.
const ASK_BELOW: i32 = 64;
const ASK_BELOW_REFERENCE: i32 = 16;
/// ... and not again before it has sent this many packets.
const ASK_EVERY: i32 = 32;
/// ... and a reference not until so long after the last packet, nanoseconds: the readers of one that is sent the question
/// together with a packet stay one behind, and its program may see nothing more of the flow.
const ASK_APART: u64 = 2_000_000;
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

/// What is known about a packet in the queue, as bits.
#[derive(Clone, Copy, Default)]
pub(super) struct State(u8);

impl State {
    /// Went out with the data-run flag.
    pub(super) const DRF: u8 = 1;
    /// The peer holds it beyond a gap.
    pub(super) const SACKED: u8 = 2;
    /// Believed lost, waits for its retransmission.
    pub(super) const LOST: u8 = 4;
    /// Was retransmitted at least once.
    pub(super) const RESENT: u8 = 8;
    /// Ends the stream: no user data.
    pub(super) const END: u8 = 16;

    pub(super) fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    pub(super) fn set(&mut self, bit: u8) {
        self.0 |= bit;
    }

    pub(super) fn clear(&mut self, bit: u8) {
        self.0 &= !bit;
    }
}

/// A packet in the queue.
pub(super) struct Segment {
    /// Gone as soon as the peer holds it.
    pub(super) packet: Option<PacketBuf>,
    /// When it was sent last.
    pub(super) sent: Instant,
    /// When it was sent first.
    pub(super) first: Instant,
    /// What it counts, bytes.
    pub(super) cost: u32,
    pub(super) state: State,
    pub(super) mark: Mark,
}

/// What has happened since the window was last made smaller, bytes.
#[derive(Debug, Default)]
pub(super) struct Reduction {
    pub(super) flight: u64,
    pub(super) arrived: u64,
    pub(super) sent: u64,
}

impl Reduction {
    /// Whether less was sent than has arrived, times the share of the old flight that `window` is.
    fn allows(&self, window: u64) -> bool {
        let due = u128::from(self.arrived) * u128::from(window);
        u128::from(self.sent) * u128::from(self.flight.max(1)) < due
    }
}

/// What goes out next.
pub(super) enum Pick {
    Rendezvous,
    Again(Seq),
    New,
    Nothing,
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
    /// What the peer holds beyond `edge`.
    pub(super) sacked: Ranges,
    pub(super) sacked_count: u32,
    /// Numbers to retransmit, and those retransmitted in the order of time.
    pub(super) lost: VecDeque<Seq>,
    pub(super) resent: VecDeque<(Seq, Instant)>,
    pub(super) lost_count: u32,
    /// Bytes believed to be under way.
    pub(super) flight: u64,
    /// The first retransmission of a recovery ignores the congestion window.
    pub(super) forced: bool,
    /// A packet that is to be sent again only to provoke an acknowledgement; then, for the same, a new one or the last.
    pub(super) probe: Option<Seq>,
    pub(super) probe_beyond: bool,
    /// Everything before was looked at for loss since its first transmission.
    pub(super) scan: Seq,
    /// One behind the highest number known to have arrived.
    pub(super) highest: Seq,
    /// Transmission time and number of the latest-sent packet that has arrived, and how long it took.
    pub(super) newest: (Instant, Seq),
    pub(super) newest_rtt: u64,
    /// Answers in a row that came sooner after a retransmission than any round trip of late.
    pub(super) hasty: u8,
    /// Tolerance for reordering, quarters of the round-trip time; 0 while none was ever seen.
    pub(super) patience: u8,
    /// Losses up to here belong to the current episode.
    pub(super) recovery: Option<Seq>,
    /// When loss last made the congestion window smaller.
    pub(super) shrunk_at: Instant,
    /// Packets declared lost since then, and those of them that had not been.
    pub(super) declared: (u32, u32),
    /// Since then: bytes under way at that moment, bytes that have arrived and bytes sent.
    pub(super) reduction: Reduction,
    pub(super) repeated_acks: u8,
    /// End of the current round trip.
    pub(super) round: Seq,
    /// Doublings of the timeout: kept until a round trip has been measured.
    pub(super) backoff: u8,
    /// Timeouts since something arrived.
    pub(super) silent: u8,
    /// When the retransmission timer last expired.
    pub(super) expired_at: Instant,
    /// When something last arrived that the peer had not confirmed before.
    pub(super) progress_at: Instant,
    pub(super) rto_at: Instant,
    pub(super) reorder_at: Instant,
    rendezvous_at: Instant,
    /// Rendez-vous since the window last moved.
    rendezvous_count: u8,
    rendezvous_due: bool,
    /// When a best-effort flow to a reference asks for the window.
    ask_at: Instant,
    /// A rendez-vous is unanswered; when it went out, if it is the only one; `next` at the last one.
    asked: bool,
    asked_at: Option<Instant>,
    asked_seq: Seq,
    last_new: Option<Instant>,
    pub(super) rtt: Rtt,
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
    /// The peer has shown itself to be more than the reference.
    pub(super) peer_is_o7s: bool,
    /// No user data goes out for now.
    pub(super) held: bool,
    reliable: bool,
}

impl Sender {
    pub(super) fn new(p: &Params, algorithm: &Algorithm, isn: Seq) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: 0,
            edge: isn,
            next: isn,
            limit: isn + START_WINDOW,
            sacked: Ranges::default(),
            sacked_count: 0,
            lost: VecDeque::new(),
            resent: VecDeque::new(),
            lost_count: 0,
            flight: 0,
            forced: false,
            probe: None,
            probe_beyond: false,
            scan: isn,
            highest: isn,
            newest: (Instant::ZERO, isn),
            newest_rtt: 0,
            hasty: 0,
            patience: 0,
            recovery: None,
            shrunk_at: Instant::ZERO,
            declared: (0, 0),
            reduction: Reduction::default(),
            repeated_acks: 0,
            round: isn,
            backoff: 0,
            silent: 0,
            expired_at: Instant::ZERO,
            progress_at: Instant::ZERO,
            rto_at: Instant::FAR_FUTURE,
            reorder_at: Instant::FAR_FUTURE,
            rendezvous_at: Instant::FAR_FUTURE,
            rendezvous_count: 0,
            rendezvous_due: false,
            ask_at: Instant::FAR_FUTURE,
            asked: false,
            asked_at: None,
            asked_seq: isn,
            last_new: None,
            rtt: Rtt::default(),
            congestion: (p.congestion && p.reliable).then(|| algorithm.make()),
            pacer: Pacer::new(),
            meter: Meter::default(),
            largest: MIN_SEGMENT,
            burst_at: Instant::ZERO,
            limited: (false, false),
            peer_is_o7s: p.o7s_peer,
            held: false,
            reliable: p.reliable,
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
        self.congestion.as_ref().map_or(u64::MAX, |c| c.window())
    }

    /// Whether the congestion window has room. After a reduction packets go on leaving, in proportion to those that
    /// arrive, while the flight shrinks to it (PRR, RFC 6937): the path does not fall silent.
    fn has_window(&self, cost: u64) -> bool {
        let window = self.window();
        // A window of less than a packet is a rate: see `pacing`.
        self.flight == 0
            || self.flight.saturating_add(cost) <= window
            || (self.recovery.is_some() && self.reduction.allows(window))
    }

    /// Whether window and rate let a packet go now.
    pub(super) fn may_send(&mut self, now: Instant, seq: Seq) -> bool {
        if self.congestion.is_none() {
            return true;
        }
        let cost = self.segment(seq).map_or(0, |s| u64::from(s.cost));
        // Large windows open by two packets at a time, as they do where every second packet is acknowledged. A flow that
        // never sent two together would never lose any to a full queue, and the others would lose all the more.
        let pair = self.burst_at != now && self.window() / PAIRS >= cost;
        let may = self.has_window(if pair { 2 * cost } else { cost }) && self.pacer.allows(now);
        if may {
            self.burst_at = now;
        }
        self.limited.0 |= !may;
        may
    }

    /// Whether window or rate have held packets back lately.
    pub(super) fn is_limited(&self) -> bool {
        self.limited.0 || self.limited.1
    }

    /// A round trip is over.
    pub(super) fn next_round(&mut self) {
        self.round = self.next;
        self.limited = (false, self.limited.0);
    }

    /// The rate follows the window and the round-trip time.
    pub(super) fn update_rate(&mut self) {
        if let Some(congestion) = &self.congestion
            && self.rtt.known()
        {
            self.pacer.set_rate(congestion.pacing_rate(self.rtt.smoothed()));
        }
    }

    /// Writes the books for a packet that leaves; it was not believed to be under way.
    pub(super) fn launch(&mut self, now: Instant, seq: Seq) {
        let flight = self.flight;
        let mark = self.meter.sent(now, flight);
        let Some(segment) = self.segment(seq) else { return };
        segment.sent = now;
        segment.mark = mark;
        let cost = u64::from(segment.cost);
        self.flight += cost;
        self.reduction.sent += cost;
        self.pacer.sent(now, cost);
    }

    pub(super) fn segment(&mut self, seq: Seq) -> Option<&mut Segment> {
        self.queue.get_mut(usize::try_from(seq - self.edge).ok()?)
    }

    /// A packet leaves the queue, or its place in it.
    pub(super) fn left(&mut self, packet: &PacketBuf) {
        self.queued = self.queued.saturating_sub(packet.memory());
    }

    pub(super) fn can_queue(&self, p: &Params) -> bool {
        (self.queue.len() as u32) < p.send_queue && self.waiting() < p.unsent && self.queued < p.send_bytes
    }

    /// Whether there is room for many packets.
    pub(super) fn has_room(&self, p: &Params) -> bool {
        let many = MANY.min(p.send_queue / 4).min(p.unsent / 4);
        (self.queue.len() as u32).saturating_add(many) < p.send_queue
            && self.waiting().saturating_add(many) < p.unsent
            && self.queued < p.send_bytes - p.send_bytes / 4
    }

    /// Queues a user packet.
    pub(super) fn push(&mut self, now: Instant, p: &Params, packet: PacketBuf) {
        if self.lost.is_empty() && self.waiting() == 0 {
            // Nobody need have asked for packets since window and rate last held one back.
            self.rest();
        }
        if self.queue.is_empty() {
            let pause = self.last_new.map(|t| nanos_since(now, t));
            // A peer whose receiver has never run, or has forgotten us, learns our numbers before the first packet
            // can be lost.
            // A reference takes the run from the first packet of a best-effort flow, and a client of it that is sent two
            // packets at once stays one behind: it is asked when its blind window is nearly used up.
            self.rendezvous_due |= (p.reliable || p.o7s_peer) && pause.is_none_or(|t| t > p.r);
            if pause.is_some_and(|t| t > self.rto(p))
                && let Some(congestion) = &mut self.congestion
            {
                congestion.on_idle();
                self.update_rate();
            }
        }
        let cost = packet.len() as u64 + Pci::LEN as u64 + HEADERS;
        if cost > self.largest {
            self.largest = cost;
            if let Some(congestion) = &mut self.congestion {
                congestion.on_segment(cost);
            }
        }
        self.queued += packet.memory();
        self.queue.push_back(Segment {
            packet: Some(packet),
            sent: Instant::ZERO,
            first: Instant::ZERO,
            cost: cost as u32,
            state: State::default(),
            mark: Mark::default(),
        });
    }

    /// Packets of user data in the queue.
    pub(super) fn unacked(&self) -> usize {
        // The end was said twice at most.
        let ends = self.queue.iter().rev().take(2).filter(|s| s.state.has(State::END)).count();
        self.queue.len() - ends
    }

    /// Queues the end of the stream.
    pub(super) fn push_end(&mut self, now: Instant, p: &Params, ending: Ending) {
        self.push(now, p, PacketBuf::copy_of(&[ending.to_byte()]));
        if let Some(last) = self.queue.back_mut() {
            last.state.set(State::END);
        }
    }

    /// Forgets everything that was not acknowledged, because nobody is left to read it, and returns how many packets of
    /// user data that were.
    pub(super) fn abandon(&mut self, cache: &mut BufCache) -> usize {
        // An end that has arrived is no data that has.
        let arrived = |s: &&Segment| s.state.has(State::SACKED) && !s.state.has(State::END);
        let lost = self.unacked().saturating_sub(self.queue.iter().filter(arrived).count());
        for packet in self.queue.drain(..).filter_map(|s| s.packet) {
            cache.put(packet);
        }
        self.edge = self.next;
        self.sacked = Ranges::default();
        self.sacked_count = 0;
        self.lost.clear();
        self.resent.clear();
        self.lost_count = 0;
        self.forced = false;
        self.probe = None;
        self.probe_beyond = false;
        self.flight = 0;
        self.queued = 0;
        self.reduction = Reduction::default();
        self.pacer.idle();
        self.scan = self.next;
        self.highest = self.next;
        self.recovery = None;
        self.rto_at = Instant::FAR_FUTURE;
        self.reorder_at = Instant::FAR_FUTURE;
        self.rendezvous_at = Instant::FAR_FUTURE;
        self.rendezvous_due = false;
        self.ask_at = Instant::FAR_FUTURE;
        lost
    }

    /// Decides what goes out next and does the book-keeping for it.
    pub(super) fn pick(&mut self, now: Instant, p: &Params) -> Pick {
        if self.rendezvous_due {
            self.rendezvous_due = false;
            // Only the answer to a single question can be timed.
            self.asked_at = if self.asked { None } else { Some(now) };
            self.asked = true;
            self.asked_seq = self.next;
            return Pick::Rendezvous;
        }
        if self.held {
            self.ask_later(now);
            return Pick::Nothing;
        }
        if self.probe_beyond && self.probe.is_none() && self.waiting() > 0 && self.next.before(self.limit) {
            self.probe_beyond = false;
            return self.pick_new(now, p);
        }
        if let Some(seq) = self.pick_probe(now, p) {
            return Pick::Again(seq);
        }
        if !self.lost.is_empty()
            && let Some(seq) = self.pick_lost(now, p)
        {
            return Pick::Again(seq);
        }
        if self.waiting() == 0 {
            return self.starved();
        }
        if !self.next.before(self.limit) && !self.ends_next() {
            self.ask_later(now);
            return self.starved();
        }
        if !self.may_send(now, self.next) {
            return Pick::Nothing;
        }
        self.pick_new(now, p)
    }

    fn pick_new(&mut self, now: Instant, p: &Params) -> Pick {
        self.last_new = Some(now);
        if self.reliable {
            self.first_transmission(now, p);
        }
        Pick::New
    }

    /// Whether all that is left to say is the end, which the peer takes whatever its window is. Its next number then.
    fn ends_next(&self) -> bool {
        self.outstanding() == 0 && self.queue.front().is_some_and(|s| s.state.has(State::END))
    }

    /// Has a rendez-vous ask the peer, unless that is about to happen.
    fn ask_later(&mut self, now: Instant) {
        if self.waiting() > 0 && self.rendezvous_at == Instant::FAR_FUTURE {
            self.rendezvous_count = 0;
            self.rendezvous_at = after(now, RENDEZVOUS);
        }
    }

    /// Neither window nor rate keep the flow from sending.
    fn starved(&mut self) -> Pick {
        if self.lost.is_empty() {
            self.rest();
        }
        Pick::Nothing
    }

    /// Whether no packet waits to be sent, for the first time or again.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        !self.rendezvous_due
            && self.probe.is_none()
            && !self.probe_beyond
            && self.lost.is_empty()
            && self.waiting() == 0
    }

    /// Notes that nothing waits that window or rate would hold back.
    #[inline]
    pub(super) fn rest(&mut self) {
        if self.congestion.is_none() {
            return;
        }
        self.pacer.idle();
        if !self.meter.is_starved(self.flight) && self.flight < self.window() {
            self.meter.starved(self.flight);
        }
    }

    /// Marks the packet at `next` as sent. The caller still advances `next`.
    fn first_transmission(&mut self, now: Instant, p: &Params) {
        let alone = self.next == self.edge;
        let seq = self.next;
        if let Some(segment) = self.segment(seq) {
            segment.first = now;
            if alone {
                segment.state.set(State::DRF);
            }
        }
        self.launch(now, seq);
        self.start_rto(now, p);
    }

    /// Takes the next packet of a best-effort flow, whose number is the old `next`.
    pub(super) fn take_unreliable(&mut self, now: Instant) -> Option<(PacketBuf, Seq)> {
        let packet = self.queue.pop_front()?.packet?;
        self.left(&packet);
        let seq = self.next;
        self.next = seq + 1;
        self.edge = self.next;
        let ask_below = if self.peer_is_o7s { ASK_BELOW } else { ASK_BELOW_REFERENCE };
        if self.limit - self.next <= ask_below && self.next - self.asked_seq >= ASK_EVERY {
            if self.peer_is_o7s {
                self.rendezvous_due = true;
            } else {
                self.ask_at = after(now, ASK_APART);
            }
        }
        Some((packet, seq))
    }

    /// The peer advertises a window. `answer`: by a packet that a reference sends to answer a rendez-vous only.
    /// `false` if the value is not believed.
    pub(super) fn on_window(&mut self, now: Instant, low24: u32, answer: bool) -> bool {
        let mut limit = decode24(self.limit, low24);
        let most = if self.peer_is_o7s { WINDOW_MAX } else { WINDOW_MAX_REFERENCE };
        let believed = limit - self.next <= most;
        if !believed {
            limit = self.limit;
        }
        if answer && self.asked {
            self.asked = false;
            if let Some(at) = self.asked_at
                && !self.rtt.known()
            {
                self.rtt.sample(now, nanos_since(now, at));
            }
            // The window of a reference does not count what was lost. But it has read what came before the question.
            let worth = self.asked_seq + ANSWER_WORTH;
            if !self.reliable && !self.peer_is_o7s && limit.before(worth) {
                limit = worth;
            }
        }
        if limit.after(self.limit) {
            self.limit = limit;
            self.repeated_acks = 0;
            self.rendezvous_count = 0;
            if self.next.before(limit) {
                self.rendezvous_at = Instant::FAR_FUTURE;
            }
        }
        believed
    }

    /// Whether one of the last packets, of `sent` altogether, had this number.
    pub(super) fn was_sent_lately(&self, seq: Seq, sent: u64) -> bool {
        let back = self.next.0.wrapping_sub(seq.0);
        (1..=OWN_NUMBERS).contains(&back) && u64::from(back) <= sent
    }

    /// A rendez-vous goes out next.
    pub(super) fn ask(&mut self) {
        self.rendezvous_due = true;
    }

    /// The rendez-vous part of a timeout.
    pub(super) fn check_rendezvous(&mut self, now: Instant) {
        if now >= self.ask_at {
            self.ask_at = Instant::FAR_FUTURE;
            self.rendezvous_due = true;
        }
        if now < self.rendezvous_at {
            return;
        }
        self.rendezvous_at = Instant::FAR_FUTURE;
        if self.waiting() > 0 && (self.held || !self.next.before(self.limit)) {
            self.rendezvous_due = true;
            self.rendezvous_count = (self.rendezvous_count + 1).min(RENDEZVOUS_DOUBLES);
            self.rendezvous_at = after(now, RENDEZVOUS << self.rendezvous_count);
        }
    }

    pub(super) fn next_timeout(&self) -> Instant {
        self.rto_at.min(self.reorder_at).min(self.rendezvous_at).min(self.ask_at).min(self.pacer.wake_at)
    }

    /// Gives back memory that an idle flow does not need.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink_to(self.queue.len());
        self.lost.shrink_to(self.lost.len());
        self.resent.shrink_to(self.resent.len());
        self.sacked.shrink();
    }
}
