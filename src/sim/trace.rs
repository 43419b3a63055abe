//! Trace of a simulation: a digest of all events and a record of the last ones.
//!
//! Two runs of the same program with the same seed give the same digest. Where they do not, record both and
//! [`diff`] them: the first event that differs is where the program asked something that is not part of the simulation
//! (a clock, a random source, the order of a hash map, another thread).

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use super::hosts::HostId;
use crate::base::time::Instant;

/// Reason for a datagram not to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// [`Loss`](super::Loss) took it.
    Loss,
    /// The queue in front of the path was full.
    QueueFull,
    /// Larger than the path's MTU.
    TooLarge,
    /// A [partition](super::Network::partition) is in the way.
    Partition,
    /// A [rule](super::Network::on_packet) said so.
    Rule,
    /// No socket has that address.
    NoSocket,
    /// The receiving socket's queue was full.
    ReceiverFull,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A datagram was sent and will arrive.
    Sent,
    /// The network made a copy of the datagram just sent.
    Duplicated,
    /// Bits of the datagram just sent were flipped.
    Corrupted,
    /// A datagram reached its socket.
    Delivered,
    /// A datagram is gone.
    Dropped(DropReason),
    /// A host was polled.
    HostPolled(HostId),
    /// A sleep was over.
    SleepOver,
}

impl What {
    fn number(self) -> u64 {
        match self {
            Self::Sent => 1,
            Self::Duplicated => 2,
            Self::Corrupted => 3,
            Self::Delivered => 4,
            Self::Dropped(reason) => 16 + reason as u64,
            Self::HostPolled(host) => (1 << 32) | u64::from(host.0),
            Self::SleepOver => 5,
        }
    }
}

/// The datagram that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSummary {
    /// Address of the sender.
    pub src: SocketAddr,
    /// Address of the receiver.
    pub dst: SocketAddr,
    /// Its length, bytes.
    pub len: usize,
    /// A hash of its contents; not a cryptographic one.
    pub hash: u64,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Number of events before it.
    pub index: u64,
    /// Virtual time of the event.
    pub at: Instant,
    /// Kind of the event.
    pub what: What,
    /// The datagram concerned, if any.
    pub packet: Option<PacketSummary>,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {:?} {:?}", self.index, self.at, self.what)?;
        match &self.packet {
            Some(p) => write!(f, " {} > {} {} bytes [{:016x}]", p.src, p.dst, p.len, p.hash),
            None => Ok(()),
        }
    }
}

/// A fingerprint of everything that happened, in order. It tells runs apart that differ by accident; it is not
/// cryptographic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(u128);

impl Digest {
    /// Folds a word in. Bijective in what was there before, so a difference never disappears again by itself.
    fn fold(&mut self, high: u64, low: u64) {
        let word = (u128::from(high) << 64) | u128::from(low);
        self.0 = (self.0.rotate_left(59) ^ word).wrapping_mul(0xda94_2042_e4dd_58b5_9e37_79b9_7f4a_7c15);
    }

    fn fold_addr(&mut self, addr: SocketAddr) {
        match addr.ip() {
            IpAddr::V4(ip) => self.fold(u64::from(addr.port()), u64::from(ip.to_bits())),
            IpAddr::V6(ip) => {
                self.fold((ip.to_bits() >> 64) as u64, ip.to_bits() as u64);
                self.fold(u64::from(addr.port()), 6);
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The running digest and the last events.
#[derive(Debug)]
pub(super) struct Trace {
    digest: Digest,
    events: u64,
    keep: usize,
    last: VecDeque<Event>,
}

impl Trace {
    pub(super) fn new(keep: usize) -> Self {
        Self { digest: Digest(0x6f37_7369_6d00_0001), events: 0, keep, last: VecDeque::new() }
    }

    pub(super) fn set_keep(&mut self, keep: usize) {
        self.keep = keep;
        while self.last.len() > keep {
            self.last.pop_front();
        }
    }

    pub(super) fn add(&mut self, at: Instant, what: What, packet: Option<PacketSummary>) {
        self.digest.fold(at.as_nanos(), what.number());
        if let Some(p) = &packet {
            self.digest.fold(p.len as u64, p.hash);
            self.digest.fold_addr(p.src);
            self.digest.fold_addr(p.dst);
        }
        if self.keep > 0 {
            if self.last.len() == self.keep {
                self.last.pop_front();
            }
            self.last.push_back(Event { index: self.events, at, what, packet });
        }
        self.events += 1;
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn last(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.last.iter()
    }
}

/// First difference between two recorded runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The last event that both had, if it was recorded.
    pub common: Option<Event>,
    /// Next event of the first run; `None` if it was over.
    pub left: Option<Event>,
    /// Next event of the second run; `None` if it was over.
    pub right: Option<Event>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |label: &str, event: &Option<Event>, end: &str| match event {
            Some(event) => write!(f, "{label}: {event}{end}"),
            None => write!(f, "{label}: nothing recorded{end}"),
        };
        line("last in common", &self.common, "\n")?;
        line("first run", &self.left, "\n")?;
        line("second run", &self.right, "")
    }
}

impl std::error::Error for Divergence {}

/// The first event in which two recordings differ; `None` if there is none among those that both kept.
pub fn diff(left: &[Event], right: &[Event]) -> Option<Divergence> {
    // A recording keeps the last events: start with the first that both still have.
    let start = left.first()?.index.max(right.first()?.index);
    let mut left = left.iter().skip_while(|e| e.index < start);
    let mut right = right.iter().skip_while(|e| e.index < start);
    let mut common = None;
    loop {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (l, r) if l == r => common = l.copied(),
            (l, r) => return Some(Divergence { common, left: l.copied(), right: r.copied() }),
        }
    }
}

/// A fast hash of a datagram's contents: 16 bytes a step, folded by a 64 by 64 bit multiplication.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    fn mix(a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    }
    fn step(h: u64, block: [u8; 16]) -> u64 {
        let block = u128::from_le_bytes(block);
        mix(block as u64 ^ 0xa076_1d64_78bd_642f, (block >> 64) as u64 ^ h)
    }
    let (blocks, rest) = bytes.as_chunks::<16>();
    // Spread over all bits, or the length could make up for a bit of the contents.
    let start = (bytes.len() as u64 ^ 0xe703_7ed1_a0b4_28db).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let h = blocks.iter().fold(start, |h, block| step(h, *block));
    let mut last = [0; 16];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    mix(step(h, last), 0x8ebc_6af0_9c88_c6e3)
}
