//! The bounds of a member.

use core::time::Duration;

use crate::wire::udp::REFERENCE_MAX_MGMT;

/// Limits of a UDP layer's member.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Flows, requests under way included. Default 65 536, at most 2²⁰.
    pub max_flows: usize,
    /// Registered names. Default 4096.
    pub max_names: usize,
    /// Hashes whose address, or lack of one, is remembered. Default 4096.
    pub max_directory: usize,
    /// How long an address that a resolver found is believed. Default 60 s.
    pub directory_ttl: Duration,
    /// How long a resolver's failure is believed. Default 1 s.
    pub directory_negative_ttl: Duration,
    /// The largest management datagram that is sent, bytes: a request or a reply with its security header; one that would
    /// be larger fails. Default 2048: what a reference survives.
    pub max_mgmt: usize,
    /// The MTU of the paths, bytes with the IP header: no packet of a flow is larger than fits. Of each packet the headers
    /// of IP, UDP and the layer take 32 bytes over IPv4 and 52 over IPv6, so a flow carries nothing where this is not
    /// more. It holds for flows; requests and replies have [`max_mgmt`](Self::max_mgmt). Default `None`: packets may be as
    /// large as a reference takes, 8976 bytes over IPv4, and IP fragments those that a path does not carry whole. Streams
    /// make packets of 1400 bytes at most either way.
    pub mtu: Option<usize>,
    /// The UDP port of the layer, at which hosts are called that a resolver gives without a port. Default `None`: 3435.
    pub peer_port: Option<u16>,
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
        }
    }
}

impl Config {
    /// Sets [`max_flows`](Self::max_flows).
    #[must_use]
    pub fn with_max_flows(mut self, flows: usize) -> Self {
        self.max_flows = flows;
        self
    }

    /// Sets [`max_names`](Self::max_names).
    #[must_use]
    pub fn with_max_names(mut self, names: usize) -> Self {
        self.max_names = names;
        self
    }

    /// Sets [`max_directory`](Self::max_directory).
    #[must_use]
    pub fn with_max_directory(mut self, hashes: usize) -> Self {
        self.max_directory = hashes;
        self
    }

    /// Sets [`directory_ttl`](Self::directory_ttl) and [`directory_negative_ttl`](Self::directory_negative_ttl).
    #[must_use]
    pub fn with_directory_ttl(mut self, found: Duration, failed: Duration) -> Self {
        (self.directory_ttl, self.directory_negative_ttl) = (found, failed);
        self
    }

    /// Sets [`max_mgmt`](Self::max_mgmt).
    #[must_use]
    pub fn with_max_mgmt(mut self, bytes: usize) -> Self {
        self.max_mgmt = bytes;
        self
    }

    /// Sets [`mtu`](Self::mtu).
    #[must_use]
    pub fn with_mtu(mut self, bytes: usize) -> Self {
        self.mtu = Some(bytes);
        self
    }

    /// Sets [`peer_port`](Self::peer_port).
    #[must_use]
    pub fn with_peer_port(mut self, port: u16) -> Self {
        self.peer_port = Some(port);
        self
    }
}
