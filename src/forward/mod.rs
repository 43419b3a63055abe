//! Forwarding: next hops, queues, shaping, congestion avoidance. Machines that need no flow and no layer around them.
//!
//! | machine | what it does |
//! |---|---|
//! | [`pff`] | the forwarding table: from a destination to the next hop |
//! | [`sched`] | queues in front of a neighbour, by QoS cube |
//! | [`shape`] | holds a flow to the bandwidth that it asked for |
//! | [`ca`] | congestion avoidance: routers mark packets, receivers tell, senders slow down |

pub mod ca;
pub mod pff;
pub mod sched;
pub mod shape;
