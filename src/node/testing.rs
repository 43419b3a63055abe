//! What tests, and the model checks of `loom`, have of a node.

use ::alloc::sync::Arc;
use core::task::Waker;

use super::{Limits, Node, Parts, timers};
use crate::base::rng::Randomness;
use crate::base::time::Clock;
use crate::crypto::backend::RUST;
use crate::ipcp;
use crate::irm::NameSecurity;

impl Parts {
    /// Those of a node in a test: with nothing of its own, polled, and by chance the same each time.
    pub fn for_tests(clock: Arc<impl Clock + 'static>) -> Self {
        Self {
            name: None,
            clock,
            pool: None,
            rng: Randomness::from_seed([7; 32]),
            entropy: None,
            limits: Limits::default(),
            inline: true,
            security: NameSecurity::default(),
            backend: &RUST,
        }
    }
}

impl Node {
    /// An alarm as a member has it, which wakes `waker`.
    pub fn alarm(&self, waker: Waker) -> Arc<dyn ipcp::Alarm> {
        Arc::new(timers::Alarm::new(&self.timers, waker))
    }
}
