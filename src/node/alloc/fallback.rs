//! The second key exchange, for places where the first one comes to nothing.
//!
//! A request has room for one key exchange, and a refusal says no more than that it will not do. So a client that prefers one
//! which not every server has, or which not every layer has room for, asks a place again with another.

use alloc::sync::Arc;

use super::asking::{Asking, Try};
use super::places::Target;
use super::{Allocation, Phase};
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::ipcp::{Ipcp, Location};
use crate::oap::SecurityConfig;
use crate::types::code::Code;

impl Asking {
    /// Returns `true` if a place is asked with the second key exchange.
    fn has_fallen_back(&self, ipcp: &Arc<dyn Ipcp>, at: Location) -> bool {
        self.fallen_back.iter().any(|(other, place)| *place == at && Arc::ptr_eq(other, ipcp))
    }
}

impl Allocation {
    /// The security with which a place is asked.
    pub(super) fn security_at(&self, target: &Target) -> SecurityConfig {
        let security = self.node.names.security_of(&self.wanted.name).client;
        let Phase::Asking(asking) = &self.phase else { return security };
        match security.second() {
            Some(second) if asking.has_fallen_back(&target.ipcp, target.at) => second,
            _ => security,
        }
    }

    /// Has a place be asked with the second key exchange from now on. `false` if there is none, or it is already.
    pub(super) fn fall_back(&mut self, ipcp: &Arc<dyn Ipcp>, at: Location) -> bool {
        let security = self.node.names.security_of(&self.wanted.name).client;
        let Phase::Asking(asking) = &mut self.phase else { return false };
        let Some(second) = security.second().and_then(|second| second.offered()) else { return false };
        if asking.has_fallen_back(ipcp, at) {
            return false;
        }
        asking.fallen_back.push((Arc::clone(ipcp), at));
        let name = &self.wanted.name;
        record!(
            self.node.panics(),
            Asking,
            Debug,
            [name = name, peer = at],
            "asking {at} for a flow to {name:?} again, with {second}"
        );
        true
    }

    /// Asks a place again that has refused, with the second key exchange. `false` if that is not why, or there is none.
    pub(super) fn ask_again(&mut self, now: Instant, refused: &Try, code: Code) -> bool {
        if code != Code::CRYPT || !self.fall_back(&refused.ipcp, refused.at) {
            return false;
        }
        let hash = refused.ipcp.info().hash.hash(&self.wanted.name);
        let target = Target { ipcp: Arc::clone(&refused.ipcp), at: refused.at, hash };
        if let Err(why) = self.ask(now, &target)
            && let Phase::Asking(asking) = &mut self.phase
        {
            asking.fail(why);
        }
        true
    }
}
