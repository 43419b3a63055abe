//! Congestion avoidance: what packets say about the queues on their way, and how fast a flow may send.
//!
//! | part | where | what it does |
//! |---|---|---|
//! | [`mark`] | whoever sends into an N-1 flow | puts the length of the queue into the packet |
//! | [`Receiver`] | the end of a flow that packets come to | sums the marks up, tells the sender now and then |
//! | [`Pacer`] | the end that sends | spaces packets at a rate that the marks decide |
//!
//! # On the wire
//!
//! The ECN byte of a data-transfer packet is the OR over the path of the lengths of the queues in units of 16 packets:
//! its *mark*. A queue below 16 packets makes none. The receiver keeps about the sum of the last 32 marks, its *level*,
//! and sends it in an update of the flow allocator at the first and the third packet of an *episode* of marked packets
//! and at every eighth from then on, and a level of 0 when unmarked packets have ended the episode. All of that is as
//! the C reference has it, to the packet, because the reference's senders depend on it. What a sender does with the
//! updates is its own business.
//!
//! # The law
//!
//! The cadence tells a sender more than the level does: an update for every eighth marked packet means that the time
//! between two is that in which eight of *its* packets came through, so it knows its *delivered rate*. A queue that is
//! served in order serves everybody in proportion to what they put in: the delivered rates always add up to the speed
//! of the link, however many flows there are, and however long ago what was delivered now was sent. Senders that send
//! at the rate at which they are delivered keep the sum right without knowing the link, each other or the round-trip
//! time, as acknowledgements do for a window. All else is corrections to that. During an episode, once a round (10 ms
//! or an update, whichever is longer), the rate moves towards
//!
//! ```text
//! aim = delivered · (1.165 + 0.09 · o − 0.04 · m)          within 0.9 (0.84 for the fast) and 1.3 times what is delivered
//! ```
//!
//! where *m* is the mean mark in the round and *o* how many octaves the rate is below 100 Mbit/s; the weight of the
//! step is *t* / (*t* + 15 ms) for a round of length *t*.
//!
//! - **m** keeps the queue where it is to be: the link is always busy, the queue short. Marks are worked out of two
//!   successive levels, not taken from the level, which lags 32 packets behind.
//! - **o** makes the shares even. Everybody meets the same *m*, so at rest, when the aim is what is delivered,
//!   everybody has the same *o*. The force is the same for all speeds and round-trip times, and an octave of difference
//!   costs the queue two marks: it has 90 packets for one flow at 100 Mbit/s, and 260 for 32 of them. (Additive increase
//!   would do, too, if only everybody knew how much to add.)
//! - The bounds of the aim are what makes a long round-trip time harmless: a queue of 100 ms swings, but the sum of what
//!   is sent is never less than 84 % of the link.
//!
//! Before the first update the rate doubles every 44 ms, and less often after a third of a second; the first round
//! brings it down to what was delivered. Between episodes it grows, the faster the longer there is no queue. It grows
//! only if the flow has to wait, and is forgotten when nothing is sent for seconds. If updates stop coming in the middle
//! of an episode, it grows slowly after eight rounds.
//!
//! Where the ideas are from: rates as a function of a price that all see alike, and that a logarithm makes it work at
//! any speed: Kelly, Maulloo and Tan (1998). Answering to how much is marked and not to whether: DCTCP (Alizadeh et
//! al. 2010). Following the delivered rate: TCP Westwood (Mascolo et al. 2001), BBR (Cardwell et al. 2016).
//!
//! # Beside references
//!
//! A reference's sender grows only while there is no mark at all, by 31 Mbit/s within a few milliseconds, and shrinks
//! for as long as there is one. A queue that stands, as ours does, holds it down to a few per cent of its share.
//! Emptying the queue a few times a second gives it half of its share and more, but takes the even shares from flows
//! with round-trip times of their own; the law does not do it.
//!
//! # The pacer
//!
//! It never blocks and never drops: it says from when on the next packet may go.
//!
//! ```
//! use o7s::base::time::Instant;
//! use o7s::forward::ca::{Pacer, Receiver, mark};
//! use o7s::types::layer::CongestionAvoidance;
//!
//! let mut now = Instant::from_millis(5);
//! let mut pacer = Pacer::new(now, CongestionAvoidance::MbEcn);
//! let mut receiver = Receiver::new(CongestionAvoidance::MbEcn);
//!
//! // A packet goes when the pacer lets it, passes a queue of 70 packets, and arrives.
//! pacer.may_send(now).unwrap();
//! pacer.sent(now, 1000);
//! let ecn = mark(CongestionAvoidance::MbEcn, 0, 70);
//! assert_eq!(ecn, 4);
//! let update = receiver.delivered(ecn).expect("the first marked packet is told at once");
//! pacer.update(now, update);
//! assert!(pacer.rate() < Pacer::INITIAL_RATE);
//! ```

mod pacer;
mod rate;
mod receiver;
#[cfg(test)]
mod tests;

pub use self::pacer::{Pacer, Phase};
pub use self::receiver::Receiver;
use crate::types::layer::CongestionAvoidance;

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
