//! The unicast layer: flows between any two members of a network of our own, on top of flows of any layer.
//!
//! | component | what it does |
//! |---|---|
//! | [`ca`] | spaces the packets of a flow by the queues they meet |
//! | [`sched`] | queues by QoS cube in front of a device |
//! | [`shape`] | holds a flow to its bandwidth |

pub mod ca;
pub mod sched;
pub mod shape;
