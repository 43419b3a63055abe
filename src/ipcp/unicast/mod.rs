//! The unicast layer: flows between any two members of a network of our own, on top of flows of any layer.
//!
//! | component | what it does |
//! |---|---|
//! | [`ca`] | spaces the packets of a flow by the queues they meet |
//! | [`dir`] | the directory: who has this name |
//! | [`pff`] | which N-1 flow a packet leaves on |
//! | [`routing`] | finds out who is whose neighbour, and computes routes |
//! | [`sched`] | queues by QoS cube in front of a device |
//! | [`shape`] | holds a flow to its bandwidth |

pub mod ca;
pub mod dir;
pub mod pff;
pub mod routing;
pub mod sched;
pub mod shape;
