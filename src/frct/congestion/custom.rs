//! Controllers of the user's own.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use super::{Ack, Controller, Cubic, Loss, MIN_SEGMENT};
use crate::base::foreign::Panics;

/// What makes a controller for each flow; see [`Algorithm::custom`](super::Algorithm::custom).
#[derive(Clone)]
#[allow(unnameable_types, reason = "made by `Algorithm::custom`, and for nothing else")]
pub struct Custom {
    name: &'static str,
    make: Arc<Make>,
    panics: Arc<Panics>,
}

type Make = dyn Fn() -> Box<dyn Controller> + Send + Sync;

impl Custom {
    pub(super) fn new(name: &'static str, make: impl Fn() -> Box<dyn Controller> + Send + Sync + 'static) -> Self {
        Self { name, make: Arc::new(make), panics: Arc::default() }
    }

    /// The name that it was given.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn counted_by(self, panics: &Arc<Panics>) -> Self {
        Self { panics: Arc::clone(panics), ..self }
    }

    /// A controller for one flow. If that panics, it is [`Cubic`].
    pub(super) fn make(&self) -> Box<dyn Controller> {
        match self.panics.call(|| (self.make)()) {
            Some(inner) => {
                Box::new(Guarded { inner, panics: Arc::clone(&self.panics), segment: MIN_SEGMENT, failed: None })
            }
            None => Box::new(Cubic::new()),
        }
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Custom({})", self.name)
    }
}

/// The same if they are clones of each other.
impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.make, &other.make)
    }
}

impl Eq for Custom {}

/// A controller of the user's own. After a panic the flow goes on with another one.
struct Guarded {
    inner: Box<dyn Controller>,
    panics: Arc<Panics>,
    /// The largest packet so far, for the other one.
    segment: u64,
    /// The other one.
    failed: Option<Cubic>,
}

impl Guarded {
    fn change(&mut self, change: impl Fn(&mut dyn Controller)) {
        let Self { inner, panics, segment, failed } = self;
        // After one panic its state cannot be trusted, so it is never called again. The call that failed is repeated
        // for the new one: it must know of this acknowledgement or loss.
        if failed.is_none() && panics.call(|| change(&mut **inner)).is_none() {
            let mut cubic = Cubic::new();
            cubic.on_segment(*segment);
            *failed = Some(cubic);
        }
        if let Some(cubic) = failed {
            change(cubic);
        }
    }

    /// What the controller says; `safe`, if it panics.
    fn ask(&self, safe: u64, ask: impl Fn(&dyn Controller) -> u64) -> u64 {
        match &self.failed {
            Some(cubic) => ask(cubic),
            None => self.panics.call(|| ask(&*self.inner)).unwrap_or(safe),
        }
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Controller for Guarded {
    fn on_segment(&mut self, bytes: u64) {
        self.segment = bytes;
        self.change(|c| c.on_segment(bytes));
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.change(|c| c.on_ack(ack));
    }

    fn on_loss(&mut self, loss: &Loss) {
        self.change(|c| c.on_loss(loss));
    }

    fn on_spurious(&mut self) {
        self.change(|c| c.on_spurious());
    }

    fn on_idle(&mut self) {
        self.change(|c| c.on_idle());
    }

    fn window(&self) -> u64 {
        // At least a segment, or the flow would stop for good; at most what the arithmetic of pacing can take.
        self.ask(self.segment, |c| c.window()).clamp(self.segment, 1 << 31)
    }

    fn pacing_rate(&self, srtt: u64) -> u64 {
        // A panic in a question cannot replace the controller, which is borrowed; the next change will.
        let safe = super::rate_of(self.segment, srtt, 4);
        // A rate of 0 would never let a packet go that could correct it.
        self.ask(safe, |c| c.pacing_rate(srtt)).max(1)
    }
}
