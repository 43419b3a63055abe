//! The bounds of a member.

use core::time::Duration;

/// Bounds of an Ethernet layer's member; users set them with [`Eth`](crate::Eth).
#[derive(Clone, Debug)]
pub struct Config {
    /// Flows, requests under way included; at most 32 768 with DIX framing and 62 with LLC.
    pub max_flows: usize,
    /// Registered names.
    pub max_names: usize,
    /// Hashes whose places, or lack of them, are remembered.
    pub max_directory: usize,
    /// Lifetime of an answer to a name query.
    pub directory_ttl: Duration,
    /// Lifetime of the lack of an answer.
    pub directory_negative_ttl: Duration,
    /// Timeout of a name query.
    pub query_timeout: Duration,
    /// First pause before a query without answer is repeated; it doubles each time.
    pub query_retry: Duration,
    /// Name queries that are answered in a second, and at once after a pause, to each 64th of the stations.
    pub answer_rate: (u64, u64),
    /// Delay of an answer to a name query.
    pub answer_delay: Duration,
    /// The largest management message that is sent, bytes, if the MTU has room for it.
    pub max_mgmt: usize,
}

/// The largest management message that a reference takes, bytes.
const REFERENCE_MAX_MGMT: usize = 9000;

/// The reference asks, and only then begins to wait: an answer that is there sooner does not wake it, and its daemon gives up
/// after 200 ms.
const REFERENCE_ANSWER_DELAY: Duration = Duration::from_millis(2);

impl Default for Config {
    fn default() -> Self {
        Self {
            max_flows: 32_768,
            max_names: 4096,
            max_directory: 4096,
            directory_ttl: Duration::from_secs(60),
            directory_negative_ttl: Duration::from_secs(1),
            query_timeout: Duration::from_secs(2),
            query_retry: Duration::from_millis(100),
            answer_rate: (100, 50),
            answer_delay: REFERENCE_ANSWER_DELAY,
            max_mgmt: REFERENCE_MAX_MGMT,
        }
    }
}
