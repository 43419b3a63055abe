//! Memory of the packets that a member has passed on lately.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use smallvec::SmallVec;

use super::config::Config;
use crate::base::counter::counts;
use crate::base::time::Instant;
use crate::types::id::N1FlowId;

/// Outdated packets forgotten with each new one at most, so that a pause is not paid for by one packet.
const FORGETS: usize = 4;

/// Classes of packets, as far as they can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// None like it was passed on lately.
    New,
    /// One like it was passed on lately, and this is another.
    Again,
    /// This is one that was passed on already, and has come around another way.
    Copy,
}

/// Packets of the last while, by digest.
pub(super) struct Memory {
    packets: BTreeMap<u64, Packet>,
    /// The same, ordered by the time they were last passed on.
    order: BTreeSet<(Instant, u64)>,
    limit: usize,
    window: Duration,
    in_loops: u32,
    counters: Counters,
}

counts! {
    /// Counters of the memory.
    pub(super) struct Counters {
        /// Packets that were forgotten before their time, for want of room.
        evictions => "forgotten_early",
    }
}

struct Packet {
    /// Time of the last one passed on.
    at: Instant,
    /// Number of those passed on.
    passed_on: u64,
    /// Number of arrivals from each neighbour.
    arrived: SmallVec<[(N1FlowId, u64); 2]>,
    /// Further ones that may be passed on, once a copy has shown that there is a loop.
    allowed: Option<u32>,
}

impl Memory {
    pub(super) fn new(config: &Config) -> Self {
        let &Config { memory, window, in_loops, .. } = config;
        let (packets, order) = (BTreeMap::new(), BTreeSet::new());
        Self { packets, order, limit: memory.max(1), window, in_loops, counters: Counters::default() }
    }

    /// Classifies a packet from a neighbour, or from an application (`None`), which sends no copies.
    pub(super) fn look(&mut self, now: Instant, digest: u64, neighbour: Option<N1FlowId>) -> Sighting {
        self.forget_outdated(now);
        if !self.packets.contains_key(&digest) {
            self.insert(now, digest);
        }
        let (window, in_loops) = (self.window, self.in_loops);
        let Some(packet) = self.packets.get_mut(&digest) else { return Sighting::New };
        if now - packet.at > window {
            self.order.remove(&(packet.at, digest));
            self.order.insert((now, digest));
            *packet = Packet::new(now);
        }
        match neighbour {
            Some(neighbour) if packet.is_copy(neighbour, in_loops) => Sighting::Copy,
            _ if packet.passed_on == 0 => Sighting::New,
            _ => Sighting::Again,
        }
    }

    /// The packet is being passed on.
    pub(super) fn passed_on(&mut self, now: Instant, digest: u64) {
        let Some(packet) = self.packets.get_mut(&digest) else { return };
        packet.passed_on = packet.passed_on.saturating_add(1);
        self.order.remove(&(packet.at, digest));
        packet.at = now;
        self.order.insert((now, digest));
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Returns the counters of the memory.
    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    fn insert(&mut self, now: Instant, digest: u64) {
        if self.packets.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.packets.remove(&oldest);
            self.counters.evictions += 1;
        }
        self.packets.insert(digest, Packet::new(now));
        self.order.insert((now, digest));
    }

    fn forget_outdated(&mut self, now: Instant) {
        for _ in 0..FORGETS {
            match self.order.first() {
                Some(&(at, digest)) if now - at > self.window => {
                    self.order.pop_first();
                    self.packets.remove(&digest);
                }
                _ => return,
            }
        }
    }
}

impl Packet {
    fn new(now: Instant) -> Self {
        Self { at: now, passed_on: 0, arrived: SmallVec::new(), allowed: None }
    }

    /// Returns `true` if one more from this neighbour is a copy, not a repetition by its sender.
    fn is_copy(&mut self, neighbour: N1FlowId, in_loops: u32) -> bool {
        let place = self.arrived.iter().position(|(known, _)| *known == neighbour).unwrap_or(self.arrived.len());
        if place == self.arrived.len() {
            self.arrived.push((neighbour, 0));
        }
        let Some((_, arrived)) = self.arrived.get_mut(place) else { return false };
        if *arrived < self.passed_on {
            *arrived += 1;
            self.allowed.get_or_insert(in_loops);
            return true;
        }
        // One that is too many is as if it had never come.
        if self.allowed == Some(0) {
            return true;
        }
        self.allowed = self.allowed.map(|allowed| allowed - 1);
        *arrived += 1;
        false
    }
}
