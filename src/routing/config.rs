//! Settings of link-state routing.

use alloc::sync::Arc;
use core::time::Duration;

use super::database::LONGEST;
use super::peer::Pace;
use super::policy::{RoutingPolicy, Rules};
use crate::base::counter::counts;
use crate::types::id::Address;
use crate::types::layer::LinkState as Timers;

/// Link-state settings of a member. The timers and the policy come from the layer; the others are local.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The member's own address; not 0.
    pub address: Address,
    /// The layer's timers, and what becomes of the routes. Periods of 0 s count as 1 s, and no link lives for more than
    /// 20 days without being announced again.
    pub timers: Timers,
    /// The routing policy of this member, if it is another than the layer's. Default: `None`.
    pub policy: Option<Arc<dyn RoutingPolicy>>,
    /// First number of the member's announcements. A member that keeps its address over restarts should give a number
    /// that has grown since, such as the seconds since 1970; then its links are not mistaken for those that it
    /// announced in its last life. 0 counts as 1. Default: 1.
    pub incarnation: u32,
    /// Links in the database, each direction counted. Own links count, but are never refused. Default: 65 536, which
    /// take about 3 MiB.
    pub max_links: usize,
    /// Links that one other member may announce. Default: 16 384.
    pub max_links_of_member: usize,
    /// Management flows. Default: 4096.
    pub max_management: usize,
    /// Next hops of a destination. Default: 8.
    pub max_next_hops: usize,
    /// Neighbours that are considered as alternates, those with the lowest addresses; each costs a search of the graph.
    /// Default: 64.
    pub max_candidates: usize,
    /// Updates a second that are sent on a management flow on average, at least 1. Default: 5000.
    pub rate: u32,
    /// Updates that are sent on a management flow at once. Default: 64.
    pub burst: u32,
    /// Pause before the first packet on a new management flow to a reference, unless it speaks first: it loses count if
    /// several updates arrive before it has added the flow. Default: 200 ms.
    pub hold: Duration,
    /// Time after which news are repeated to a neighbour that does not confirm them, the whole database on a new
    /// management flow among them. Default: 1 s.
    pub repeat: Duration,
    /// Delay of updates that change nothing: the neighbour may be about to send the same. Default: 20 ms.
    pub lazy: Duration,
    /// Time for which alternates replace a neighbour that has failed before new routes do, if the policy has
    /// alternates: until others have heard of the failure, new routes may lead back here. Default: 50 ms.
    pub detour: Duration,
    /// Least time between two computations of routes for news from afar; grows while news keep coming in, to what a
    /// thousandth of the time allows. Default: 10 ms.
    pub recalculation: Duration,
}

impl Config {
    /// The defaults, for a member with this address.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            timers: Timers::default(),
            policy: None,
            incarnation: 1,
            max_links: 65_536,
            max_links_of_member: 16_384,
            max_management: 4096,
            max_next_hops: 8,
            max_candidates: 64,
            rate: 5000,
            burst: 64,
            hold: Duration::from_millis(200),
            repeat: Duration::from_secs(1),
            lazy: Duration::from_millis(20),
            detour: Duration::from_millis(50),
            recalculation: Duration::from_millis(10),
        }
    }

    /// The member's routing policy.
    pub(super) fn rules(&self) -> Rules {
        Rules { own: self.policy.clone(), layer: self.timers.policy }
    }

    /// Between announcements of a link, at most.
    pub(super) fn update(&self) -> Duration {
        Duration::from_secs(self.timers.t_update.max(1).into())
    }

    /// Lifetime of a link that is not announced again.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timers.t_timeo.max(1).into()).min(LONGEST)
    }

    /// Time for which a withdrawal is remembered: until every copy of the link has expired at members that have not
    /// heard of it. The reference looks for expired links once in an update period.
    pub(super) fn memory(&self) -> Duration {
        (self.timeout() + 2 * self.update()).min(LONGEST)
    }

    pub(super) fn pace(&self) -> Pace {
        let gap = Duration::from_secs(1) / self.rate.max(1);
        Pace { gap, burst: gap * self.burst.saturating_sub(1), repeat: self.repeat }
    }
}

counts! {
    /// Counters of a [`LinkState`](super::LinkState).
    #[non_exhaustive]
    pub struct Stats {
        /// Link-state updates that were sent.
        sent => "sent",
        /// Link-state updates that have arrived.
        received => "received",
        /// Updates that told something new and were passed on.
        accepted => "accepted",
        /// Updates that told what was known.
        known => "known",
        /// Updates that told what is outdated; answered with what is known.
        outdated => "outdated",
        /// Updates that were malformed.
        malformed => "malformed",
        /// Updates that no honest member sends: a link of a member to itself, address 0, a number that cannot be
        /// overtaken.
        implausible => "implausible",
        /// Updates that told something of our own links that we have not said, now at least: left over from the past, forged,
        /// or from another member with our address.
        contested => "contested",
        /// Updates for which there was no room.
        refused => "refused",
        /// Links that were withdrawn by others.
        withdrawn => "withdrawn",
        /// Links that have expired.
        expired => "expired",
        /// Computations of routes.
        recalculations => "recalculations",
    }
}
