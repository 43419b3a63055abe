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
//! The ECN byte of a data-transfer packet is the OR over the path of the lengths of the queues, in units of 16
//! packets: below 16 there is no mark. The receiver keeps about the sum of the last 32 marks, and sends it in an update
//! of the flow allocator. All of that is as the C reference has it, to the packet: its senders depend on the cadence.
//!
//! # The pacer
//!
//! It never blocks and never drops: it says from when on the next packet may go.
//!
//! ```
//! use o7s::base::time::Instant;
//! use o7s::ipcp::unicast::ca::{Pacer, Receiver, mark};
//! use o7s::wire::enroll::CongestionAvoidance;
//!
//! let mut now = Instant::from_millis(5);
//! let mut pacer = Pacer::new(now, CongestionAvoidance::MbEcn);
//! let mut receiver = Receiver::new(CongestionAvoidance::MbEcn);
//!
//! // A packet goes when the pacer lets it, passes a queue of 70 packets, and arrives.
//! pacer.may_send(now, 1000).unwrap();
//! let ecn = mark(CongestionAvoidance::MbEcn, 0, 70);
//! assert_eq!(ecn, 4);
//! let update = receiver.delivered(ecn).expect("the first marked packet is told at once");
//! pacer.update(now, update);
//! assert!(pacer.rate() < Pacer::INITIAL_RATE);
//! ```

mod pacer;
mod receiver;
#[cfg(test)]
mod tests;

pub use self::pacer::{Pacer, Phase};
pub use self::receiver::Receiver;
use crate::wire::enroll::CongestionAvoidance;

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
