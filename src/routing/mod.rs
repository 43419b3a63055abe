//! Link-state routing: who is whose neighbour in a layer, and the routes that follow.
//!
//! Every member announces its links in [updates](crate::wire::link_state), passes on what is new to it, and computes
//! the shortest paths in the graph of those links that *both* ends announce. A [`LinkState`] is the machine of one
//! member. In go the adjacencies (N-1 flows that carry data), the management flows and what arrives on them; out come
//! updates to send, and [`Routes`].
//!
//! ```
//! use core::time::Duration;
//! use o7s::base::rng::Rng;
//! use o7s::base::time::Instant;
//! use o7s::routing::{Config, Dialect, LinkState};
//! use o7s::types::id::{Address, N1FlowId};
//!
//! let (data, management) = (N1FlowId(1), N1FlowId(2));
//! let mut now = Instant::ZERO;
//! let mut members = [1, 2].map(|n| LinkState::new(Config::new(Address(n)), Rng::from_seed([n as u8; 32])));
//! let [a, b] = &mut members;
//! for (member, other) in [(&mut *a, Address(2)), (&mut *b, Address(1))] {
//!     member.management_up(now, management, other, Dialect::Confirming);
//!     member.adjacency_up(now, data, other);
//! }
//! now += Duration::from_millis(200);
//! let (_, update) = a.poll_transmit(now).unwrap();
//! b.handle_packet(now, management, &update);
//! let routes = b.poll_routes(now).unwrap();
//! assert_eq!(routes.get(Address(1)), [Address(1)]);
//! ```
//!
//! # Numbers, and how a link is taken back
//!
//! The wire has no message for a link that is gone: the reference lets others wait until its announcements have aged,
//! a minute or more. Between members that are o7s the number of the announcement says it. Its upper half is the
//! *incarnation* of the link, which counts how often it came up, from [`Config::incarnation`] on; the lower half counts
//! announcements. The last number of an incarnation, with the lower half all ones, is a *withdrawal*. The next
//! incarnation is above it, so a link that comes back overtakes its own withdrawal.
//!
//! To a reference a withdrawal is one more announcement with a higher number. It passes it on unchanged, so that
//! members behind it hear of it, and keeps the link for as long as any that is not announced again: until at most one
//! update period later than if it had heard nothing. Repetitions have the same number and are ignored. Withdrawals are
//! sent to it only while they are young and the link was believed to be there, because it may have forgotten the link
//! since. Numbers of its own links count up from 0 every 15 s and do not reach 2³² − 1. Were a reference made to go on
//! from a forged withdrawal, its next announcement would bring the link back. Old announcements that turn up late are
//! below the withdrawal, which is remembered until they have all expired.
//!
//! Both ends of a link withdraw their half, and as a link counts only with both, the first to be heard of is enough.
//! News travel at once, and the first computation after a quiet time does not wait, so routes avoid a failed link as
//! soon as the news can have arrived. With loop-free alternates, a member whose own link has failed keeps to these for
//! [`Config::detour`], so that members that have not heard yet do not send packets back to it. A link that fails again
//! and again is announced again only after a while.
//!
//! # Reliability
//!
//! Management flows may lose packets. A member that is o7s *confirms*: it says what it has heard back to whom it has it
//! from, to whom that is nothing new. What is not confirmed is repeated. To a reference, news are repeated once. An
//! outdated update is answered with the current one. Members that confirm also understand several updates in one packet,
//! and get them so. Which [`Dialect`] a neighbour speaks is said when the management flow is connected: what updates say
//! proves nothing, for anybody can forge them, and a reference passes them on as they are.
//!
//! # Age
//!
//! On the wire of the reference an update has no age: it is young again at each member that hears of it, and a link
//! whose ends have both died lives on for as long as there are members who have not heard of it, joining one by way of
//! the other. Between o7s members an update that is passed on late is followed by its
//! [age](crate::wire::link_state::Age), so it expires everywhere when it expires at the first member, give or take the
//! time that it travels. Behind a reference the age begins anew. If neighbours differ about the age of an announcement,
//! the lesser counts, though no less than the time since it was heard of here: a liar cannot have a link forgotten by
//! announcing its true number with a false age, which would not be contradicted. Nor by a higher number: that was
//! announced later, so it is no older than the known one.
//!
//! # Who may say what
//!
//! Updates are not authenticated: members trust each other. What can be checked is: links of a member to itself and
//! numbers that cannot be overtaken are dropped. Foreign updates about own links are never believed but contradicted
//! with a higher number, or a withdrawal if there is no such link; so dead links are not revived, and traces of an
//! earlier life vanish. That is done at once while it is rare, and at a pace when it is not. Links of a member, and
//! links altogether, are limited. Of a member with too many those give way that the other end does not announce, which
//! are of no use; when the database is full, those of members that cannot be reached. Of each link at most one update
//! waits for each neighbour, and these are paced, so neither a flood nor a large database becomes a burst.
//!
//! What a liar can still do, because there is nothing on the wire to prevent it:
//!
//! - A number so high that no contradiction is above it stays until it expires, at most the layer's timeout after the
//!   last forgery. If it says that a link is there that has failed, the end that is left takes back the *other* end's half,
//!   which does as well, as long as that half has a lower number.
//! - A link is down from the forged withdrawal until the contradiction arrives, each time.
//! - Links whose both ends are made up fill the database, up to its limit.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::base::bucket::Bucket;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::base::timers::{TimerId, Timers};
use crate::types::id::{Address, N1FlowId};
use crate::types::routes::Routes;
use crate::wire::link_state::{Age, Lsu};

mod blocks;
mod computation;
mod config;
mod database;
mod flood;
mod graph;
mod guarded;
mod marks;
mod own;
mod paths;
mod peer;
pub mod policy;
mod recompute;
mod seqno;
mod throttle;
mod told;
mod watch;

pub use computation::{Computation, Computed};
pub use config::{Config, Stats};
pub(crate) use guarded::Guarded;
pub use peer::Dialect;
pub use watch::{AddressConflict, Evidence, Watch};

use database::Database;
use own::{Adjacency, CONTESTS, CONTESTS_A_SECOND, Neighbour};
use paths::Limits;
use peer::{Pace, Peer};
use throttle::Throttle;

/// An update that was heard less than this ago is told without its age.
const FRESH: Duration = Duration::from_millis(250);

/// Purpose of a timer.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// Refresh or expiry of an own link.
    Link(u32),
    /// The link to a neighbour has been waited for.
    Neighbour(Address),
    /// A reference that was connected is to compute its routes.
    Recompute(Address),
}

/// Changes of the graph since the last computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changes {
    None,
    /// Links of our own have failed.
    OwnFailures,
    Any,
}

/// A link as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Member that announces the link.
    pub src: Address,
    /// The neighbour.
    pub dst: Address,
    /// Number of the last announcement.
    pub seqno: u64,
    /// Since the last announcement.
    pub age: Duration,
    /// The link was withdrawn; it is remembered only so that it is not revived.
    pub withdrawn: bool,
}

/// The routing of one member of a unicast layer.
pub struct LinkState {
    config: Config,
    pace: Pace,
    rng: Rng,
    db: Database,
    timers: Timers<Due>,
    /// Timers of own links. Links of other members are checked together.
    own_due: BTreeMap<u32, TimerId>,
    /// No link of anybody else expires before.
    expiry: Option<Instant>,
    /// Time of the last check of links of other members.
    swept: Instant,
    adjacencies: BTreeMap<N1FlowId, Adjacency>,
    neighbours: BTreeMap<Address, Neighbour>,
    /// Management flows.
    peers: BTreeMap<N1FlowId, Peer>,
    /// Times at which packets may be sent to each neighbour: work for one does not cost time for the others.
    agenda: Timers<N1FlowId>,
    /// Times at which unconfirmed news are due again for each neighbour.
    repeats: Timers<N1FlowId>,
    /// Number of visits to a neighbour.
    #[cfg(test)]
    looks: u64,
    /// Answers to what others say of own links.
    contests: Bucket,
    throttle: Throttle,
    /// Changes since routes were computed.
    changes: Changes,
    routes: Arc<Routes>,
    /// Routes that hold from a moment on.
    postponed: Option<(Instant, Routes)>,
    /// The owner of the forwarding table has not taken the last change yet.
    publish: bool,
    /// Earliest time of the next search of a full database.
    next_sweep: Instant,
    stats: Stats,
}

impl LinkState {
    /// The routing of a member without neighbours.
    pub fn new(config: Config, mut rng: Rng) -> Self {
        let most = Duration::from_secs(config.timers.t_recalc.into()) / 8;
        Self {
            throttle: Throttle::new(config.recalculation, most.max(config.recalculation)),
            routes: Arc::new(Routes::new(config.rules().get().spreads_flows())),
            pace: config.pace(),
            config,
            db: Database::new(&mut rng),
            rng,
            timers: Timers::new(),
            own_due: BTreeMap::new(),
            expiry: None,
            swept: Instant::ZERO,
            adjacencies: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            peers: BTreeMap::new(),
            agenda: Timers::new(),
            repeats: Timers::new(),
            #[cfg(test)]
            looks: 0,
            contests: Bucket::new(Instant::ZERO, CONTESTS_A_SECOND, CONTESTS),
            changes: Changes::None,
            postponed: None,
            publish: false,
            next_sweep: Instant::ZERO,
            stats: Stats::default(),
        }
    }

    /// The next packet to send, and the management flow to send it on: `most` bytes at most, and no more than
    /// [the flow takes](Self::limit_packets), but an update at least. Flows that have something to say take turns.
    pub fn poll_packet(&mut self, now: Instant, most: usize) -> Option<(N1FlowId, Vec<u8>)> {
        let (flow, index) = self.poll_peer(now)?;
        let mut packet = Vec::new();
        let mut next = Some(index);
        while let Some(index) = next {
            let (confirms, takes) = self.peers.get(&flow).map_or((false, 0), |peer| (peer.confirms(), peer.most));
            self.put(now, &mut packet, index, confirms);
            // A reference takes one update in a packet. For others there must be room for one more with its age.
            let full = !confirms || packet.len() + 2 * Lsu::LEN > most.min(takes);
            let peer = self.peers.get_mut(&flow).filter(|_| !full);
            next = peer.and_then(|peer| peer.poll_more(now, self.pace));
        }
        if let Some(peer) = self.peers.get_mut(&flow) {
            peer.plan_repeats(flow, &mut self.repeats);
        }
        Some((flow, packet))
    }

    /// As [`poll_packet`](Self::poll_packet), for one update, which goes without its age.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(N1FlowId, [u8; Lsu::LEN])> {
        let (flow, index) = self.poll_peer(now)?;
        Some((flow, self.update(index)?.to_bytes()))
    }

    /// A flow that may be sent on, and the most urgent link to tell there.
    fn poll_peer(&mut self, now: Instant) -> Option<(N1FlowId, u32)> {
        while let Some((_, flow)) = self.repeats.pop_due(now) {
            let Some(peer) = self.peers.get_mut(&flow) else { continue };
            #[cfg(test)]
            {
                self.looks += 1;
            }
            peer.handle_timeout(now);
            peer.plan_repeats(flow, &mut self.repeats);
            peer.plan(now, self.pace, flow, &mut self.agenda);
        }
        loop {
            let (_, flow) = self.agenda.pop_due(now)?;
            let Some(peer) = self.peers.get_mut(&flow) else { continue };
            #[cfg(test)]
            {
                self.looks += 1;
            }
            peer.planned = None;
            let next = peer.poll(now, self.pace);
            peer.plan(now, self.pace, flow, &mut self.agenda);
            peer.plan_repeats(flow, &mut self.repeats);
            if let Some(index) = next.filter(|index| self.db.get(*index).is_some()) {
                return Some((flow, index));
            }
        }
    }

    /// Appends the update about a link to a packet, with its age if asked for.
    fn put(&mut self, now: Instant, packet: &mut Vec<u8>, index: u32, with_age: bool) {
        let Some(update) = self.update(index) else { return };
        packet.extend_from_slice(&update.to_bytes());
        let age = if with_age { self.db.get(index).map(|link| link.age(now)) } else { None }.unwrap_or_default();
        if age >= FRESH && update.src != self.config.address {
            packet.extend_from_slice(&Age(age).to_lsu().to_bytes());
        }
    }

    fn update(&mut self, index: u32) -> Option<Lsu> {
        let link = self.db.get(index)?;
        self.stats.sent += 1;
        Some(Lsu { dst: self.db.dst(link), src: self.db.src(link), seqno: link.seqno.0 })
    }

    /// Returns the routes, if they have changed, or the adjacencies that they lead over: time to build a forwarding
    /// table. A pending computation is done here and now.
    pub fn poll_routes(&mut self, now: Instant) -> Option<Arc<Routes>> {
        if let Some(computation) = self.poll_computation(now) {
            self.handle_computed(now, computation.run());
        }
        self.poll_computed_routes(now)
    }

    /// Returns the computation of routes, if it is due. An owner that has the machine behind a lock runs it without,
    /// because it asks the routing policy, and passes the result to [`handle_computed`](Self::handle_computed).
    pub fn poll_computation(&mut self, now: Instant) -> Option<Computation> {
        if !self.throttle.is_due(now) {
            return None;
        }
        self.throttle.begin(now);
        self.stats.recalculations += 1;
        // While the graph is not shared yet: later it would be copied for this.
        self.db.graph_mut().arrange();
        let failures = core::mem::replace(&mut self.changes, Changes::None) == Changes::OwnFailures;
        Some(Computation {
            graph: Arc::clone(self.db.graph()),
            root: self.config.address,
            rules: self.config.rules(),
            limits: Limits { next_hops: self.config.max_next_hops, candidates: self.config.max_candidates },
            may_detour: failures && self.postponed.is_none(),
        })
    }

    /// Routes were computed. Those for another member, as which this one began, are dropped.
    pub fn handle_computed(&mut self, now: Instant, computed: Computed) {
        let Computed { root, routes, work, detours } = computed;
        if root != self.config.address {
            return;
        }
        self.throttle.computed(work);
        self.postponed = None;
        // Others may not know yet that an own link has failed, and send back what new routes send to them.
        if detours {
            self.set_routes(paths::with_alternates(&routes, &self.routes));
            self.postponed = Some((now + self.config.detour, routes));
        } else {
            self.set_routes(routes);
        }
    }

    /// As [`poll_routes`](Self::poll_routes), without a computation.
    pub fn poll_computed_routes(&mut self, now: Instant) -> Option<Arc<Routes>> {
        if let Some((_, routes)) = self.postponed.take_if(|(at, _)| *at <= now) {
            self.set_routes(routes);
        }
        core::mem::take(&mut self.publish).then(|| self.routes.clone())
    }

    fn set_routes(&mut self, mut routes: Routes) {
        if *self.routes != routes {
            routes.shrink_to_fit();
            self.routes = Arc::new(routes);
            self.publish = true;
        }
    }

    /// Time of the next call of [`handle_timeout`](Self::handle_timeout), and then of
    /// [`poll_transmit`](Self::poll_transmit) and [`poll_routes`](Self::poll_routes), if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let postponed = self.postponed.as_ref().map(|(at, _)| *at);
        [self.agenda.next(), self.repeats.next(), self.timers.next(), self.expiry, self.throttle.due(), postponed]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, due)) = self.timers.pop_due(now) {
            match due {
                Due::Neighbour(address) => self.neighbour_due(now, address),
                Due::Recompute(address) => self.recompute(now, address),
                Due::Link(index) => {
                    self.own_due.remove(&index);
                    self.own_due(now, index);
                }
            }
        }
        if self.expiry.is_some_and(|at| at <= now) {
            self.expire(now);
        }
    }

    /// The neighbour on a management flow, if there is one, is dealt with by `f`.
    fn with_peer<R>(&mut self, now: Instant, flow: N1FlowId, f: impl FnOnce(&mut Peer) -> R) -> Option<R> {
        let peer = self.peers.get_mut(&flow)?;
        let result = f(peer);
        peer.plan(now, self.pace, flow, &mut self.agenda);
        Some(result)
    }

    /// A random part of `whole`.
    fn random_part(&mut self, whole: Duration) -> Duration {
        Duration::from_nanos(self.rng.below(u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The member's own address.
    pub const fn address(&self) -> Address {
        self.config.address
    }

    /// Longest time for which the layer may remember a link that is not announced any more.
    pub fn memory(&self) -> Duration {
        self.config.memory()
    }

    /// The routes that were computed last.
    pub const fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// The database, by source, then by destination.
    pub fn entries(&self, now: Instant) -> impl Iterator<Item = Entry> {
        self.db.sorted().into_iter().map(move |link| Entry {
            src: self.db.src(link),
            dst: self.db.dst(link),
            seqno: link.seqno.0,
            age: link.age(now),
            withdrawn: !link.live(),
        })
    }

    /// Returns `true` if the database names a member with this address: then it is taken.
    pub fn knows(&self, address: Address) -> bool {
        address == self.config.address || self.db.graph().find(address).is_some()
    }

    /// Neighbours to whom there are adjacencies, with the number of those that are up.
    pub fn neighbours(&self) -> impl Iterator<Item = (Address, u32)> {
        self.neighbours.iter().filter(|(_, n)| n.all > 0).map(|(address, n)| (*address, n.up))
    }

    /// Counters.
    pub const fn stats(&self) -> Stats {
        self.stats
    }
}

impl fmt::Debug for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkState")
            .field("address", &self.config.address)
            .field("links", &self.db.len())
            .field("management", &self.peers.len())
            .field("routes", &self.routes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
