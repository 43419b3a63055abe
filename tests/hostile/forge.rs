//! Malicious datagrams.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use o7s::base::rng::{Randomness, Rng};
use o7s::oap::client::Client;
use o7s::types::name::NameHash;
use o7s::wire::oap::{Kex, Message};
use o7s::wire::udp::{FlowReply, FlowRequest};
use o7s::{QosSpec, SecurityConfig};

use super::{ENCRYPTED, hash};

/// Generator of malicious datagrams.
pub(super) struct Forge {
    rng: Rng,
    randomness: Randomness,
    /// A name that is registered at the victim.
    name: NameHash,
    /// A good request, to be sent again and again.
    recorded: Vec<u8>,
}

/// The kinds of datagrams that [`Forge::make`] makes.
pub(super) const KINDS: u64 = 13;

impl Forge {
    pub(super) fn new(rng: Rng, name: &str) -> Self {
        let randomness = Randomness::from_seed([0x66; 32]);
        Self { rng, randomness, name: hash(name), recorded: Vec::new() }
    }

    pub(super) fn bytes(&mut self, max: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.rng.below(max + 1) as usize];
        self.rng.fill(&mut bytes);
        bytes
    }

    pub(super) fn eid(&mut self) -> u32 {
        self.rng.u32() | 1
    }

    pub(super) fn qos(&mut self) -> QosSpec {
        match self.rng.below(4) {
            0 => QosSpec::RAW,
            1 => QosSpec::DATA,
            2 => QosSpec { timeout: self.rng.below(3) as u32, ..QosSpec::DATA },
            _ => QosSpec {
                delay: self.rng.u32(),
                bandwidth: self.rng.u64(),
                availability: self.rng.u32() as u8,
                loss: self.rng.u32(),
                ber: self.rng.u32(),
                in_order: self.rng.chance(0.5),
                max_gap: self.rng.u32(),
                timeout: self.rng.u32(),
            },
        }
    }

    pub(super) fn request(&mut self, dst: NameHash, data: &[u8]) -> Vec<u8> {
        FlowRequest { s_eid: self.eid(), qos: self.qos(), dst, data }.to_vec()
    }

    /// A request in which nothing is wrong.
    pub(super) fn good(&mut self, unix_nanos: u64, config: &SecurityConfig) -> Vec<u8> {
        let oap = self.oap(unix_nanos, config);
        self.request(self.name, &oap)
    }

    pub(super) fn oap(&mut self, unix_nanos: u64, config: &SecurityConfig) -> Vec<u8> {
        Client::start(unix_nanos, config, b"", &mut self.randomness).unwrap().1
    }

    pub(super) fn make(&mut self, kind: u64, unix_nanos: u64) -> Vec<u8> {
        let plain = SecurityConfig::default();
        match kind {
            0 => self.bytes(200),
            1 => {
                // Management, with a code or without.
                let mut bytes = self.bytes(300);
                bytes.resize(bytes.len().max(48), 0);
                bytes[..4].fill(0);
                bytes[44] = self.rng.below(4) as u8;
                bytes
            }
            2 => {
                let oap = self.bytes(200);
                self.request(self.name, &oap)
            }
            3 => {
                // Unknown names.
                let oap = self.oap(unix_nanos, &plain);
                let mut other = [0; 16];
                self.rng.fill(&mut other);
                self.request(NameHash::new(&other).unwrap(), &oap)
            }
            4 => self.garbage_key(unix_nanos),
            5 => {
                // Too old, or from the future.
                let off = if self.rng.chance(0.5) { 30_000_000_000 } else { 5_000_000_000 };
                let time = if off > 10_000_000_000 { unix_nanos - off } else { unix_nanos + off };
                self.good(time, &plain)
            }
            6 if !self.recorded.is_empty() => self.recorded.clone(),
            6 | 7 => {
                self.recorded = self.good(unix_nanos, &plain);
                self.recorded.clone()
            }
            8 => {
                let good = self.good(unix_nanos, &plain);
                good[..self.rng.below(good.len() as u64) as usize].to_vec()
            }
            9 => {
                // Replies without a request.
                let (s_eid, d_eid, data) = (self.eid(), self.eid(), self.bytes(100));
                let response = if self.rng.chance(0.5) { 0 } else { -(self.rng.below(2000) as i32) };
                FlowReply { s_eid, d_eid, response, data: &data }.to_vec()
            }
            10 | 11 => {
                // Data for EIDs that do not exist.
                let mut data = self.eid().to_be_bytes().to_vec();
                data.extend(self.bytes(1400));
                data
            }
            _ => {
                // A flipped bit.
                let mut bytes = self.good(unix_nanos, &plain);
                let bit = self.rng.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            }
        }
    }

    /// A request in good form, whose key is none.
    pub(super) fn garbage_key(&mut self, unix_nanos: u64) -> Vec<u8> {
        let encrypted: SecurityConfig = ENCRYPTED.parse().unwrap();
        let good = self.oap(unix_nanos, &encrypted);
        let mut message = Message::parse_request(&good).unwrap();
        let mut key = message.kex.bytes.to_vec();
        let from = self.rng.below(key.len() as u64) as usize;
        self.rng.fill(&mut key[from..]);
        message.kex = Kex { bytes: &key, ..message.kex };
        let oap = message.to_vec().unwrap();
        self.request(self.name, &oap)
    }

    /// Returns an address of another host.
    pub(super) fn somebody(&mut self) -> SocketAddr {
        let ip = Ipv4Addr::new(11, self.rng.u32() as u8, self.rng.u32() as u8, self.rng.u32() as u8);
        SocketAddr::new(IpAddr::V4(ip), 1024 + self.rng.below(60_000) as u16)
    }
}
