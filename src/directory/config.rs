//! Settings of a directory.

use core::time::Duration;

use super::store::Bounds;
use crate::types::id::Address;
use crate::types::layer::Dht;
use crate::types::name::HashAlg;

/// Settings that come from the layer and the owner of a directory.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's own address; not 0.
    pub address: Address,
    /// Hash of names in the layer: ids and keys are as long.
    pub hash: HashAlg,
    /// Parameters of the layer. Values that a layer cannot work with are moved into the range that the reference's
    /// configuration file allows.
    pub dht: Dht,
    /// Limits of the directory.
    pub limits: Limits,
}

impl Config {
    /// A directory with the default limits.
    pub fn new(address: Address, hash: HashAlg, dht: Dht) -> Self {
        Self { address, hash, dht, limits: Limits::default() }
    }

    /// The agreed values, within the limits of the reference's configuration file.
    pub(super) fn checked(mut self) -> Self {
        let dht = &mut self.dht;
        dht.alpha = dht.alpha.clamp(1, 10);
        dht.k = dht.k.clamp(1, 20);
        dht.t_expire = dht.t_expire.clamp(10, 86_400);
        dht.t_refresh = dht.t_refresh.clamp(3, 3600);
        dht.t_replicate = dht.t_replicate.clamp(3, 3600);
        self
    }

    /// Number of members that keep a name, and of contacts in an answer.
    pub(super) fn k(&self) -> usize {
        self.dht.k as usize
    }

    /// Number of requests of a lookup under way at a time.
    pub(super) fn alpha(&self) -> usize {
        self.dht.alpha as usize
    }

    /// Number of contacts in a bucket.
    pub(super) fn bucket(&self) -> usize {
        self.limits.bucket.max(self.k())
    }

    /// Time for which others may keep the names registered here.
    pub(super) fn lifetime(&self) -> Duration {
        let agreed = Duration::from_secs(u64::from(self.dht.t_expire));
        self.limits.lifetime.clamp(Duration::from_secs(10), agreed)
    }

    /// Interval of publication of the names registered here: three times within their lifetime, and so often that the
    /// members that keep them never take over.
    pub(super) fn republish(&self) -> Duration {
        (self.lifetime() / 3).min(self.replicate() * 4 / 5)
    }

    /// Silence of an owner after which a member that keeps its name publishes it.
    pub(super) fn replicate(&self) -> Duration {
        Duration::from_secs(u64::from(self.dht.t_replicate))
    }

    /// Bounds of the names kept for others.
    pub(super) fn store(&self) -> Bounds {
        let Limits { keys, keys_per_source, values_per_key, unproven, .. } = self.limits;
        let others = unproven.min(keys / 2);
        let values = keys - others;
        Bounds { values, per_member: keys_per_source, others, per_key: values_per_key, overdue: self.replicate() }
    }

    /// After which time without a look a bucket is looked after.
    pub(super) fn refresh(&self) -> Duration {
        Duration::from_secs(u64::from(self.dht.t_refresh))
    }
}

/// Limits of a directory. The defaults suit a layer of thousands of members, in some megabytes at the worst.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Names registered here. 1024.
    pub names: usize,
    /// Names kept for others, one for each address that has it. 4096. When there are more, those farthest from the own id go
    /// that are kept for the member that has most.
    pub keys: usize,
    /// Of these, names kept for one member. 1024.
    pub keys_per_source: usize,
    /// Of these, names kept for all members together that have not shown that they are at their addresses. 256. When
    /// there are more, the oldest go.
    pub unproven: usize,
    /// Addresses kept for a name. 16; an answer has 8.
    pub values_per_key: usize,
    /// Contacts of a bucket, if the layer's k is not more. 16. There are [`buckets`](Self::buckets) of them at most.
    pub bucket: usize,
    /// Contacts that wait for a place in a bucket. 8.
    pub replacements: usize,
    /// Buckets. 32, enough for 2³² members.
    pub buckets: usize,
    /// Names looked up at the same time for this member. 128.
    pub lookups: usize,
    /// Names that wait to be looked up. 1024. What is more counts as unknown.
    pub waiting: usize,
    /// Requests of members that do not look up iteratively that wait for a lookup, and lookups for them. 48.
    pub relays: usize,
    /// Names looked up for members that do not look up iteratively, a second. 20, and twice as many at once.
    pub relays_per_second: u32,
    /// Background lookups at a time: to publish, to replicate, to refresh. 8.
    pub background: usize,
    /// Requests under way. 1024.
    pub outstanding: usize,
    /// Names whose addresses are remembered. 512.
    pub cache: usize,
    /// Messages that wait to be polled. 2048. What is more is lost, as on the way.
    pub outbox: usize,
    /// Background lookups begun, a second. 200, and twice as many at once.
    pub background_per_second: u32,
    /// Requests of one member that are answered, a second. 500, and twice as many at once.
    pub requests_per_second: u32,
    /// Requests of one member that are answered though they are shorter than the answer, a second. 50, and twice as many
    /// at once: those of references.
    pub short_per_second: u32,
    /// Requests held back until their senders have shown that they are there. 128, more than are asked that at a time;
    /// beyond it the oldest go, those first of one that has several.
    pub held: usize,
    /// Names that are accepted from one member, a second. 1000, and twice as many at once.
    pub stores_per_second: u32,
    /// Names that are accepted, a second, from each contact that has not shown that it is where it says, as references
    /// cannot, and from all others together. 500, and twice as many at once.
    pub unproven_per_second: u32,
    /// Members asked whether they have a name, a second, for each known member that says so of itself or others, for all
    /// others together, and for this member's own doubts. 50, and twice as many at once.
    pub confirmations_per_second: u32,
    /// Members whose rates are known. 1024; all others share one.
    pub sources: usize,
    /// Requests only to find out which member has an address, a second. 50, and twice as many at once.
    pub pings_per_second: u32,
    /// Requests of one lookup. 64.
    pub requests_per_lookup: usize,
    /// Requests of one lookup that go beyond the k closest, to members that may have a name out of place. 32.
    pub extra_requests: usize,
    /// Greatest number of contacts of a small layer, in which all contacts get the names registered here. 32.
    pub spread: usize,
    /// The longest answer, bytes. 1400.
    pub message: usize,
    /// Longest time of a lookup. 4 s: one that needs so long waits for routes around members that are gone.
    pub patience: Duration,
    /// Time for which an answer to a member that asks once is held back for a lookup. 150 ms.
    pub relay_wait: Duration,
    /// Time for which found addresses are remembered. 30 s.
    pub remember: Duration,
    /// Time for which an unknown name is remembered as such. 1 s.
    pub remember_unknown: Duration,
    /// Time for which others may keep the names registered here, if the layer does not say less. 1 h. They are
    /// published much more often; a name that was not withdrawn is forgotten after this time.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            names: 1024,
            keys: 4096,
            keys_per_source: 1024,
            unproven: 256,
            values_per_key: 16,
            bucket: 16,
            replacements: 8,
            buckets: 32,
            lookups: 128,
            waiting: 1024,
            relays: 48,
            relays_per_second: 20,
            background: 8,
            outstanding: 1024,
            cache: 512,
            outbox: 2048,
            background_per_second: 200,
            requests_per_second: 500,
            short_per_second: 50,
            held: 128,
            stores_per_second: 1000,
            unproven_per_second: 500,
            confirmations_per_second: 50,
            sources: 1024,
            pings_per_second: 50,
            requests_per_lookup: 64,
            extra_requests: 32,
            spread: 32,
            message: 1400,
            patience: Duration::from_secs(4),
            relay_wait: Duration::from_millis(150),
            remember: Duration::from_secs(30),
            remember_unknown: Duration::from_secs(1),
            lifetime: Duration::from_secs(3600),
        }
    }
}
