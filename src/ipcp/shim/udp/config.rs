//! The bounds of a member.

use core::time::Duration;

use crate::wire::udp::REFERENCE_MAX_MGMT;

/// Bounds of a UDP layer's member; users set them with [`Udp4`](crate::Udp4) and [`Udp6`](crate::Udp6).
#[derive(Clone, Debug)]
pub struct Config {
    /// Flows, requests under way included; at most 2²⁰.
    pub max_flows: usize,
    /// Registered names.
    pub max_names: usize,
    /// Hashes whose address, or lack of one, is remembered.
    pub max_directory: usize,
    /// How long an address that a resolver found is believed.
    pub directory_ttl: Duration,
    /// How long a resolver's failure is believed.
    pub directory_negative_ttl: Duration,
    /// The largest management datagram that is sent, bytes.
    pub max_mgmt: usize,
    /// The MTU of the paths, bytes with the IP header: of each packet the headers of IP, UDP and the layer take 32 bytes over
    /// IPv4 and 52 over IPv6. `None`: packets may be as large as a reference takes.
    pub mtu: Option<usize>,
    /// The UDP port of the layer, at which hosts are called that a resolver gives without a port. `None`: 3435.
    pub peer_port: Option<u16>,
    /// Whether a socket of IPv6 carries IPv4 as well.
    pub dual: bool,
    /// The number of the interface that link-local addresses are meant of which do not say one. 0: the one of the member's
    /// own address, if it has one.
    pub scope: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_names: 4096,
            max_directory: 4096,
            directory_ttl: Duration::from_secs(60),
            directory_negative_ttl: Duration::from_secs(1),
            max_mgmt: REFERENCE_MAX_MGMT,
            mtu: None,
            peer_port: None,
            dual: false,
            scope: 0,
        }
    }
}
