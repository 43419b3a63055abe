//! Configuration of a layer, common to all members: the one that [enrollment](crate::wire::enroll) hands on.

use super::id::Address;
use super::name::{HashAlg, Name};

/// Configuration of a layer, common to all members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(unnameable_types, reason = "users see it in hidden functions only")]
pub struct LayerConfig {
    /// The name of the layer.
    pub name: Name,
    /// Hash of names.
    pub hash: HashAlg,
    /// Kind of the layer, with its parameters.
    pub kind: LayerKind,
}

/// Kinds of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(unnameable_types, reason = "users see it in hidden functions only")]
pub enum LayerKind {
    /// Flows between two.
    Unicast(Unicast),
    /// Packets from each member to all others.
    Broadcast,
}

/// Parameters of a unicast layer, common to all members. The default is that of the C reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unnameable_types, reason = "users see it in hidden functions only")]
pub struct Unicast {
    /// Bytes of an address, 1 to 8.
    pub addr_size: u8,
    /// Bytes of an EID as configured, 1 to 8.
    pub eid_size: u8,
    /// The ttl of a new packet, not 0.
    pub max_ttl: u8,
    /// Routing.
    pub routing: LinkState,
    /// The directory of names.
    pub directory: Dht,
    /// Congestion avoidance.
    pub congestion: CongestionAvoidance,
}

impl Default for Unicast {
    fn default() -> Self {
        Self {
            addr_size: 4,
            eid_size: 8,
            max_ttl: 60,
            routing: LinkState::default(),
            directory: Dht::default(),
            congestion: CongestionAvoidance::MbEcn,
        }
    }
}

/// The routing policy of a layer: which of the routes to a destination are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoutePolicy {
    /// One shortest path.
    Simple,
    /// A shortest path, and a loop-free alternate for when it fails (RFC 5286).
    LoopFreeAlternates,
    /// All paths of the least cost, by flow.
    EqualCostMultipath,
}

impl RoutePolicy {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Simple, Self::LoopFreeAlternates, Self::EqualCostMultipath];

    /// Its number when a member is enrolled, and its names in a configuration, the proper one before others for the same.
    const fn is_told(self) -> (u32, &'static [&'static str]) {
        match self {
            // The second as on the reference's command line.
            Self::Simple => (0, &["link-state", "link_state"]),
            Self::LoopFreeAlternates => (1, &["lfa"]),
            Self::EqualCostMultipath => (2, &["ecmp"]),
        }
    }

    /// Its number when a member is enrolled.
    pub(crate) const fn number(self) -> u32 {
        self.is_told().0
    }

    /// The one that has this number when a member is enrolled.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.number() == number)
    }

    /// The names by which it can be asked for in a configuration, each with the policy: the proper one before others for
    /// the same.
    pub(crate) fn names() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.into_iter().flat_map(|policy| policy.is_told().1.iter().map(move |name| (*name, policy)))
    }
}

/// Link-state routing. Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unnameable_types, reason = "users see it in hidden functions only")]
pub struct LinkState {
    /// The routing policy. It need not be the same everywhere.
    pub policy: RoutePolicy,
    /// Between recalculations of the forwarding table.
    pub t_recalc: u32,
    /// Between announcements of a link.
    pub t_update: u32,
    /// Until a link that is not announced is gone.
    pub t_timeo: u32,
}

impl Default for LinkState {
    fn default() -> Self {
        Self { policy: RoutePolicy::Simple, t_recalc: 4, t_update: 15, t_timeo: 60 }
    }
}

/// The directory. Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unnameable_types, reason = "users see it in hidden functions only")]
pub struct Dht {
    /// Questions at a time.
    pub alpha: u32,
    /// Contacts in a bucket, and members that keep a name.
    pub k: u32,
    /// Until a stored name is gone.
    pub t_expire: u32,
    /// Between refreshes of contacts.
    pub t_refresh: u32,
    /// Between replications.
    pub t_replicate: u32,
    /// The member to start with, 0 if there is none.
    pub peer: Address,
}

impl Default for Dht {
    fn default() -> Self {
        Self { alpha: 3, k: 8, t_expire: 86_400, t_refresh: 900, t_replicate: 900, peer: Address(0) }
    }
}

/// Congestion avoidance of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CongestionAvoidance {
    /// No congestion avoidance.
    None,
    /// Feedback of the lengths of queues on the way, in several bits (multi-bit ECN).
    MbEcn,
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn numbers_and_names_tell_policies_apart() {
        for policy in RoutePolicy::ALL {
            assert_eq!(RoutePolicy::of_number(policy.number()), Some(policy));
            for (name, named) in RoutePolicy::names().filter(|(_, named)| *named == policy) {
                let all: Vec<_> = RoutePolicy::names().filter(|(n, _)| *n == name).map(|(_, p)| p).collect();
                assert_eq!(all, [named], "{name}");
            }
        }
        assert_eq!(RoutePolicy::of_number(3), None);
        let proper = RoutePolicy::ALL.map(|policy| RoutePolicy::names().find(|(_, p)| *p == policy).map(|(n, _)| n));
        assert_eq!(proper, [Some("link-state"), Some("lfa"), Some("ecmp")]);
    }
}
