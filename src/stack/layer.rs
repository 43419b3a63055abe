//! New layers, as their first members make them.

use std::time::Duration;

use super::MemberError;
use crate::ipcp::broadcast::MAX_PACKET;
use crate::ipcp::connect::enroll::{Kind, check};
use crate::types::layer::{CongestionAvoidance, LayerConfig, LayerKind, RoutePolicy, Unicast};
use crate::types::name::{HashAlg, Name};

/// Settings of a new unicast layer, on which all its members agree: they are told when they enroll. Values out of range
/// are an error of `bootstrap`; of times, begun seconds count as whole ones.
///
/// ```
/// use std::time::Duration;
///
/// use o7s::UnicastLayer;
/// use o7s::settings::RoutePolicy;
///
/// let layer = UnicastLayer::new("campus").routing(RoutePolicy::LoopFreeAlternates).link_timeout(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer exists when its first member is bootstrapped"]
pub struct UnicastLayer {
    name: String,
    hash: HashAlg,
    parameters: Unicast,
}

impl UnicastLayer {
    /// A layer of this name, with the reference's settings.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), hash: HashAlg::Sha3_256, parameters: Unicast::default() }
    }

    /// Sets how names are hashed in the directory, one of SHA-3's. Default: SHA3-256.
    pub fn hash(mut self, hash: HashAlg) -> Self {
        self.hash = hash;
        self
    }

    /// Sets the routing policy: which of the routes to a member are used. Default: one shortest path.
    pub fn routing(mut self, policy: RoutePolicy) -> Self {
        self.parameters.routing.policy = policy;
        self
    }

    /// Sets the time between two calculations of the forwarding table, whole seconds, at least 1. Default: 4 s.
    pub fn recalculation_interval(mut self, interval: Duration) -> Self {
        self.parameters.routing.t_recalc = seconds(interval);
        self
    }

    /// Sets the time between two announcements of a link by its owner, whole seconds, at least 1, and at most half of the
    /// [link timeout](Self::link_timeout). Default: 15 s.
    pub fn announcement_interval(mut self, interval: Duration) -> Self {
        self.parameters.routing.t_update = seconds(interval);
        self
    }

    /// Sets the time after which a link that is not announced any more is gone, whole seconds, at least two
    /// [announcement intervals](Self::announcement_interval). Default: 60 s.
    pub fn link_timeout(mut self, timeout: Duration) -> Self {
        self.parameters.routing.t_timeo = seconds(timeout);
        self
    }

    /// Sets how many members a lookup in the directory asks at a time (Kademlia's α), 1 to 10. Default: 3.
    pub fn directory_parallelism(mut self, questions: u32) -> Self {
        self.parameters.directory.alpha = questions;
        self
    }

    /// Sets how many members keep a name in the directory, and how many contacts one has in a bucket (Kademlia's k), 1 to
    /// 20. Default: 8.
    pub fn directory_replicas(mut self, members: u32) -> Self {
        self.parameters.directory.k = members;
        self
    }

    /// Sets how long a name is kept in the directory without being stored again, whole seconds, 10 s to a day. Default: a
    /// day.
    pub fn directory_expiry(mut self, after: Duration) -> Self {
        self.parameters.directory.t_expire = seconds(after);
        self
    }

    /// Sets the time between two refreshes of the directory's contacts, whole seconds, 3 s to 1 h. Default: 15 min.
    pub fn directory_refresh(mut self, interval: Duration) -> Self {
        self.parameters.directory.t_refresh = seconds(interval);
        self
    }

    /// Sets the time between two replications of the directory's names, whole seconds, 3 s to 1 h. Default: 15 min.
    pub fn directory_replication(mut self, interval: Duration) -> Self {
        self.parameters.directory.t_replicate = seconds(interval);
        self
    }

    /// Sets how senders avoid congestion on the layer's paths. Default: multi-bit ECN.
    pub fn congestion(mut self, congestion: CongestionAvoidance) -> Self {
        self.parameters.congestion = congestion;
        self
    }

    /// Sets how many N-1 flows a packet may cross, 1 to 255. Default: 60.
    pub fn max_ttl(mut self, ttl: u8) -> Self {
        self.parameters.max_ttl = ttl;
        self
    }

    /// Sets all parameters at once, as they are in a configuration file.
    pub(super) fn parameters(mut self, parameters: Unicast) -> Self {
        self.parameters = parameters;
        self
    }

    pub(super) fn config(self) -> Result<LayerConfig, MemberError> {
        if self.hash == HashAlg::Md5 {
            return Err(MemberError::Parameter { field: "hash", reason: "unicast layers use one of SHA-3's".into() });
        }
        if self.parameters.max_ttl == 0 {
            return Err(MemberError::Parameter { field: "max_ttl", reason: "it is 0 and may be 1 to 255".into() });
        }
        let name = Name::new(&self.name)?;
        let config = LayerConfig { name, hash: self.hash, kind: LayerKind::Unicast(self.parameters) };
        // A joiner corrects the values it is told; the creator of a layer is told the error.
        match check(config.clone(), Kind::Unicast) {
            Ok((_, adjusted)) => match adjusted.first() {
                Some(a) => Err(MemberError::Parameter {
                    field: a.field,
                    reason: format!(
                        "it is {} and may be {} {}",
                        a.given,
                        a.used,
                        if a.used > a.given { "or more" } else { "or less" }
                    ),
                }),
                None => Ok(config),
            },
            Err(e) => Err(crate::node::member::MemberError::Enroll(e.into()).into()),
        }
    }
}

/// The unit on the wire: seconds, begun ones included.
fn seconds(time: Duration) -> u32 {
    let begun = u64::from(time.subsec_nanos() > 0);
    u32::try_from(time.as_secs().saturating_add(begun)).unwrap_or(u32::MAX)
}

/// Settings of a new broadcast layer.
///
/// ```
/// use o7s::BroadcastLayer;
///
/// let layer = BroadcastLayer::new("news");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer exists when its first member is bootstrapped"]
pub struct BroadcastLayer {
    name: String,
}

impl BroadcastLayer {
    /// The largest packet in a broadcast layer, bytes: 1399. What is written may have to be
    /// [smaller](crate::Flow::max_packet).
    pub const MAX_PACKET: usize = MAX_PACKET;

    /// A layer of this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }

    pub(super) fn config(self) -> Result<LayerConfig, MemberError> {
        let name = Name::new(&self.name)?;
        Ok(LayerConfig { name, hash: HashAlg::Sha3_256, kind: LayerKind::Broadcast })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn fractions_of_seconds_are_rounded_up() {
        let cases =
            [(0, 0, 0), (1, 0, 1), (1, 1, 2), (u64::from(u32::MAX), 999_999_999, u32::MAX), (u64::MAX, 0, u32::MAX)];
        for (secs, nanos, told) in cases {
            assert_eq!(seconds(Duration::new(secs, nanos)), told);
        }
    }

    /// The setting that is refused, by its name in a configuration file.
    fn refused(layer: UnicastLayer) -> Option<&'static str> {
        match layer.config() {
            Ok(_) => None,
            Err(MemberError::Parameter { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn values_out_of_range_are_refused_and_named() {
        let layer = || UnicastLayer::new("net");
        let cases = [
            (layer().hash(HashAlg::Md5), "hash"),
            (layer().max_ttl(0), "max_ttl"),
            (layer().recalculation_interval(Duration::ZERO), "ls_t_recalc"),
            (layer().announcement_interval(Duration::ZERO), "ls_t_update"),
            (layer().announcement_interval(31 * SECOND), "ls_t_timeo"),
            (layer().link_timeout(29 * SECOND), "ls_t_timeo"),
            (layer().directory_parallelism(11), "dht_alpha"),
            (layer().directory_replicas(0), "dht_k"),
            (layer().directory_expiry(9 * SECOND), "dht_t_expire"),
            (layer().directory_refresh(3601 * SECOND), "dht_t_refresh"),
            (layer().directory_replication(2 * SECOND), "dht_t_replicate"),
        ];
        for (layer, field) in cases {
            assert_eq!(refused(layer), Some(field));
        }
        let most = layer().max_ttl(255).directory_parallelism(10).directory_replicas(20);
        let most = most.directory_expiry(86_400 * SECOND).directory_refresh(3600 * SECOND);
        assert_eq!(refused(most.directory_replication(3600 * SECOND).link_timeout(30 * SECOND)), None);
    }
}
