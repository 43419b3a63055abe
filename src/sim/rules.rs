//! Rules: closures that see each datagram before the network does and may decide its fate.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use crate::base::time::Instant;

/// A datagram that is being sent, as a [rule](super::Network::on_packet) sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// Time of sending.
    pub at: Instant,
    /// Address of the sender.
    pub src: SocketAddr,
    /// Address of the receiver.
    pub dst: SocketAddr,
    /// The payload.
    pub data: &'a [u8],
}

/// Decision of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Passes the datagram on to the next rule, after the last one to the [`Link`](super::Link).
    #[default]
    Pass,
    /// Drops the datagram.
    Drop,
    /// Delivers the datagram unharmed after this time, whatever the link is like.
    Deliver(Duration),
    /// Sends these bytes in its place; the link decides about them.
    Rewrite(Vec<u8>),
}

type Decide = Box<dyn FnMut(&Packet<'_>) -> Verdict>;

struct Rule {
    installed: Rc<Cell<bool>>,
    decide: Decide,
}

/// The rules of a network, in the order of their installation.
#[derive(Default)]
pub(super) struct Rules(RefCell<Vec<Rule>>);

impl Rules {
    pub(super) fn install(&self, decide: Decide) -> RuleGuard {
        let installed = Rc::new(Cell::new(true));
        self.0.borrow_mut().push(Rule { installed: Rc::clone(&installed), decide });
        RuleGuard { installed }
    }

    /// The first verdict that is not [`Verdict::Pass`].
    pub(super) fn decide(&self, packet: &Packet<'_>) -> Verdict {
        if self.0.borrow().is_empty() {
            return Verdict::Pass;
        }
        // A rule may install another, so none is borrowed while one is asked.
        let mut rules = self.0.take();
        let mut verdict = Verdict::Pass;
        rules.retain_mut(|rule| {
            if rule.installed.get() && verdict == Verdict::Pass {
                verdict = (rule.decide)(packet);
            }
            rule.installed.get()
        });
        let mut now = self.0.borrow_mut();
        rules.append(&mut now);
        *now = rules;
        verdict
    }

    pub(super) fn clear(&self) {
        drop(self.0.take());
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rules({})", self.0.borrow().len())
    }
}

/// Keeps a rule installed; dropping it takes the rule away.
#[derive(Debug)]
#[must_use = "dropping the guard takes the rule away; `keep` it otherwise"]
pub struct RuleGuard {
    installed: Rc<Cell<bool>>,
}

impl RuleGuard {
    /// Leaves the rule installed for the rest of the simulation.
    pub fn keep(mut self) {
        self.installed = Rc::default();
    }
}

impl Drop for RuleGuard {
    fn drop(&mut self) {
        self.installed.set(false);
    }
}
