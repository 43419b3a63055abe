//! Congestion avoidance: what packets say about the queues on their way, and how fast a flow may send.
//!
//! | part | where | what it does |
//! |---|---|---|
//! | [`mark`] | the sender into an N-1 flow | puts the length of the queue into the packet |
//! | [`Receiver`] | the end of a flow that packets come to | sums the marks up, tells the sender |
//! | [`Pacer`] | the end that sends | spaces packets, and holds back those for which there is no room on the way |
//!
//! # On the wire
//!
//! The ECN byte of a data-transfer packet is the OR over the path of the lengths of the queues in units of 16 packets:
//! its *mark*. A queue below 16 packets makes none. The queue is the packets that wait in a member for their turn and
//! those that wait in the device already: of a UDP socket, the bytes that the operating system says it holds, a shaped
//! interface included, as on Linux. Queues further on, in a switch or a modem, are invisible; there only losses tell.
//! The receiver's use of the marks depends on the sender:
//!
//! - A reference is told *levels*: about the sum of the last 32 marks, in an update of the flow allocator at the first and
//!   the third packet of an *episode* of marked packets and at every eighth from then on, and a level of 0 when unmarked
//!   packets have ended the episode. All of that is as the C reference has it, to the packet, because its senders depend
//!   on it.
//! - One of our own kind is told *reports*, behind the same update, where a reference ignores them: how many packets have
//!   been delivered and the sum of their marks, whether there are any or not, at every eighth packet or every 60 µs,
//!   whichever is later, and at one after 2 ms without. One of the former goes behind the answer if packets are being
//!   answered, or with the next packet. Now and then, and when nothing is heard any more, the sender asks; the question goes
//!   the way of the packets, and what was sent before it has arrived before it or not at all. So losses are known, although packets have no
//!   numbers. (Of several paths of the same cost the question may take another one. Then what is in flight is off by what
//!   is sent in the time by which they differ, until the next.) For packets whose way is gone it does not ask, nor wait: they
//!   are lost.
//!
//! # The law
//!
//! With reports a sender knows what is in flight, and holds it to a *window*, spread over the round-trip time: what is not
//! heard of is not grown for, and a flow of whose packets nothing arrives sends two in a second. Slow start adds a packet
//! for each that has arrived. It ends as soon as marks are more than the flow is willing to pay; from then on, once a
//! round, which is the time in which everything in flight at one moment arrives, the window *W* becomes
//!
//! ```text
//! W · (1 + gain · (target(x) − m))   target(x) = 0.95 + 0.3 for each octave of x below 100 Mbit/s, − 0.2 for each above
//! gain = the lesser of 0.4 · 16 / W and 0.25 / (m + ½), and the step at most 5 per second and 8 % of a round
//! ```
//!
//! where *m* is the mean mark of the packets of the round, a lost one counting 32, and *x* the flow's speed.
//!
//! **Even shares.** All flows that share a queue meet the same *m*. At rest the mean of the step is 0, so all have the
//! same target(*x*) and with it the same *x*, at any round-trip time and with any gain, as long as the bounds of the
//! step are the same up and down and in time, which is why they are. The rule is a price and a demand (Kelly, Maulloo
//! and Tan 1998) whose demand is logarithmic, so that five orders of magnitude of speed cost a queue of 16 to 90
//! packets.
//!
//! **Stability.** A path with *C* packets per second holds *Cτ* of them in a round *τ*, of which the queue *q* = 16 *m* is
//! what exceeds the wires: *q* = Σ*W* − *C·τ₀*. There is no integrator but the windows. About the point of rest a round
//! changes the queue's excess *e* by Σ*W* · gain · (−*e* / 16) with a delay of one round: *e(k+1) = e(k) − g·e(k−1)* with
//! *g* = *Cτ* · gain / 16, which decays for *g* < 1 and does not swing for *g* ≤ ¼. Since *Cτ* is not less than *W* nor than
//! *q*, the gain is bounded by both: *g* ≤ 0.4 for a lone flow whatever its path holds, as *W* = *Cτ*, and *g* ≤ ¼ · *Cτ/q*
//! for any number where the queue is most of what the path holds, as on thin links. Between the two, for *n* flows on a
//! path whose wires hold much more than the queue, *g* is up to 0.4 *n*: the queue then swings, by no more than the step
//! may be, 8 % of what the path holds; the link is used to more than 95 % all the same. (DCTCP has its limit cycle for the
//! same reason: Alizadeh, Javanmard and Prabhakar 2011.) Differences between flows decay by 0.3 · gain for an octave and
//! round, which is slower than the sum, so that the two do not disturb each other.
//!
//! **Growth.** After a tenth of a second without any mark growth becomes faster by its own measure every 5 ms, so that what
//! is left is made use of soon; not at once, because that would favour those who decide more often. A flow grows only if
//! it has to wait, not by what it does not use.
//!
//! Sources of the ideas: responding to the amount of marks instead of their presence, DCTCP (RFC 8257); a paced window,
//! and marks of a queue far shorter than the path's capacity, L4S (RFC 9330 and 9331); shares that do not depend on the
//! round-trip time, its requirements for senders (RFC 9331, 4.3); delivered packets as the measure, and probing for an
//! empty queue now and then, BBR (Cardwell et al. 2016); competing only beside competitors, Copa (Arun and Balakrishnan
//! 2018).
//!
//! # To receivers that tell levels
//!
//! Between episodes a reference tells nothing. There the sender has a rate: the cadence tells it how fast its packets are
//! delivered while they are marked, an update for every eighth, and it moves towards that times 1 + 0.06 ·
//! (target(*x*) − *m*). It grows with time in between, and before the first update, which is all that can be done.
//!
//! # Beside references
//!
//! A reference's sender grows by 31 Mbit/s in each slot as soon as there is no mark, which fills any queue within
//! milliseconds, and shrinks by *m*/256 of a slot of 8 to 64 packets as long as there is one. A queue that stands starves
//! it; one that is given way to takes everything. So a mean mark of 12, which our own kind makes only when a link becomes
//! thinner all at once, is taken for a rival (losses are not: a path that was gone has swallowed them): for a second after it
//! the window shrinks no faster than a reference does at a mark of two, and once there are no marks it comes back within a few
//! rounds to nearly what it was. And every five seconds, every second after a rival was met, a flow holds back as many packets
//! as the queue has more than make no mark, for a round and 50 ms (a *dip*): the link stays busy, and a reference that is
//! waiting for an unmarked packet has its turn. That leaves both at least a tenth, mostly a third, of a fair share at
//! 100 Mbit/s.
//!
//! **Thin links.** At 10 Mbit/s the queue at rest, 40 packets, is most of what is in flight, or more than one of several flows
//! has: what a single flow can hold back is not all of it. A reference that has been shrunk there sends the 8 to 16 packets
//! of a slot at the beginning of the slot, which lasts half a second or more, and grows only if the last of them was not
//! marked: beside a queue that stands it stays at 0.03 to 0.09 of a fair share for ever. So the flows of a stack dip there as
//! well, at times that they have in common, each to the part of its window that fills the wires, which it knows from the
//! shortest round-trip time of the last half minute to a minute, and a quarter of a mark. For a minute after a flow met a
//! rival, its turns come every 664 ms, which is a reference's slot of 2³⁰ ns times the golden section, so that a few of them
//! meet the beginning of any slot whose length is a power of two of that; a dip that no rival has made use of makes the next
//! one twice as long, up to four times. Else every eighth turn is used, as a flow that begins beside a reference may shrink it
//! without ever meeting it, and without ever having seen the wires without a queue: these dips are deeper and short, and cost
//! a flow alone up to a hundredth of the link. A flow of which there are many (its window is less than half of the queue)
//! does not dip, nor does one whose wires hold more than the queue, nor one whose round trip is longer than half a turn: that
//! would cost evenness. In the model that leaves both, one to one and one to three, at least 0.4 of a fair share, mostly more
//! than 0.7, on paths of up to 20 ms.
//!
//! It has a price while the rival is there and for a minute after it: the queue grows to hundreds of packets for moments and
//! drops some; and flows of ours that dip are not quite even with a newcomer that has met nobody, 0.8 to 2.2 in the model.
//!
//! Some things are beyond it. References of one member send in step: two of them send 16 to 32 packets at once, of which those
//! from the seventeenth on are marked in front of an empty queue, by the others. They then neither grow nor shrink; the model
//! has two alone on a link of 10 Mbit/s at 0.07 of what it carries. Beside two of ours they had 0.06 to 0.60 of a fair share,
//! live. And a reference whose program offers many times what the link carries is deaf: more than 32 packets go out between two
//! updates, by which it forgets. Alone, nine in ten of its packets are dropped, and who gives way at all gets next to nothing.
//! In the model, of a fair share: a reference has 0.07 beside eight of ours at 10 Mbit/s; 0.02 beside three at 50 Mbit/s,
//! where ours neither fill the wires nor have most of the queue; at 30 Mbit/s it is the other way round, and ours have 0.1 to
//! 0.3. Flows of different stacks do not dip at the same time: two of them leave two references on a thin link as little as
//! ever. Flows of ours to receivers of the reference follow another law and do not dip.
//!
//! # Receivers that lie
//!
//! A receiver may report more than it got, before it got it, or hide marks, to be sent to faster than is fair, as one of TCP
//! may (Savage et al. 1999); so may one of a reference by telling no levels. Packets have no numbers by which that could be
//! seen. What bounds it: never more counts as delivered than was sent and not yet reported, so that the window grows by what
//! the flow has really sent and waited for, and nothing is sent that its own program does not give; packets stay in the
//! bounded queue of their cube in front of each N-1 flow, which drops what is too much and serves the other cubes all the
//! same; and a flow is [policed](super::shape) by what it was granted where that is given. Within a cube other flows get
//! less meanwhile: members of a layer that shares queues have to trust each other as far as this.
//!
//! # The pacer
//!
//! It never blocks and never drops: it says whether a packet may go, and if not, when to ask again.
//!
//! ```
//! use o7s::base::time::Instant;
//! use core::time::Duration;
//! use o7s::forward::ca::{Feedback, Pacer, Phase, Receiver, mark};
//! use o7s::types::layer::CongestionAvoidance;
//!
//! let mut now = Instant::from_millis(5);
//! let mut pacer = Pacer::new(now, CongestionAvoidance::MbEcn, Feedback::Reports);
//! let mut receiver = Receiver::new(CongestionAvoidance::MbEcn, Feedback::Reports);
//!
//! // A packet goes when the pacer lets it, passes a queue of 70 packets, and arrives.
//! pacer.may_send(now).unwrap();
//! pacer.sent(now, 1000);
//! let ecn = mark(CongestionAvoidance::MbEcn, 0, 70);
//! assert_eq!(ecn, 4);
//! now += Duration::from_millis(10);
//! receiver.delivered(now, ecn).expect("the first packet is told of at once");
//! let (delivered, marks) = receiver.report(now);
//! assert_eq!((delivered, marks), (1, 4));
//! pacer.report(now, delivered, marks, None);
//! assert_eq!(pacer.phase(), Phase::Decrease, "that is more than it is willing to pay: slow start is over");
//! ```

mod law;
mod pacer;
mod rate;
mod receiver;
mod rivals;
#[cfg(test)]
mod tests;
mod window;

pub use self::pacer::{Pacer, Phase};
pub use self::receiver::Receiver;
use crate::types::layer::CongestionAvoidance;

/// Feedback of a receiver to the sender of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Levels, of marked packets: what a reference tells and understands.
    Levels,
    /// Packets delivered, and the sum of their marks, whether there are any or not.
    Reports,
}

/// Packets in a queue that make a mark of one.
pub const PACKETS_PER_MARK: usize = 16;
/// The largest mark that is made: a queue of 1008 packets or more. Larger ones may arrive from others.
pub const MAX_MARK: u8 = 63;

/// The ECN byte of a packet that is about to join a queue of `queued` packets, if it was `ecn` so far. Without
/// congestion avoidance it passes unchanged.
pub const fn mark(policy: CongestionAvoidance, ecn: u8, queued: usize) -> u8 {
    match policy {
        CongestionAvoidance::None => ecn,
        CongestionAvoidance::MbEcn => {
            let level = queued / PACKETS_PER_MARK;
            ecn | if level > MAX_MARK as usize { MAX_MARK } else { level as u8 }
        }
    }
}
