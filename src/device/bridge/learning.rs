//! The learning of addresses: at which port of a switch they were seen last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::time::Instant;
use crate::types::mac::Mac;

/// Addresses that a switch remembers.
const MAX_LEARNED: usize = 8192;
/// Lifetime of an address that is not seen again (IEEE 802.1D, 7.9.2).
const AGEING: Duration = Duration::from_secs(300);
/// An address that is seen all the time takes its new place in the order of ages once in so long, not with every frame.
const REPLACED: Duration = Duration::from_secs(1);
/// Old addresses that make way for a new one, at most: more than one, so that they get fewer.
const EXPIRED_AT_ONCE: usize = 2;

/// The way of a frame out of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way<P> {
    /// The port where its destination was seen last, which is not the one that it came in by.
    Port(P),
    /// All ports but the one that it came in by.
    Others,
    /// No port: its destination is where it came from, or it is too short to have addresses.
    Nobody,
}

/// The addresses that a switch has learned, for ports of any kind.
///
/// When there are [as many as there may be](MAX_LEARNED), a new one takes the place of the oldest at its own port if that
/// has its share, else of the oldest at the port with the most: whatever new addresses one port makes up, others keep what
/// they have up to their share. Who sends under an address that is known elsewhere has it, as at any switch. A frame costs
/// steps in the logarithm of their number.
#[derive(Debug)]
pub(crate) struct Learning<P> {
    learned: BTreeMap<Mac, Learned<P>>,
    /// The addresses by their places in the order of ages, the oldest first.
    by_age: BTreeMap<u64, Mac>,
    /// Of these places, those of each port that has any.
    ports: BTreeMap<P, BTreeSet<u64>>,
    /// Ports by how many they have.
    by_number: BTreeSet<(usize, P)>,
    next: u64,
}

#[derive(Debug)]
struct Learned<P> {
    port: P,
    seen: Instant,
    /// Its place in the order of ages, and since when it has that.
    place: u64,
    placed: Instant,
}

impl<P> Default for Learning<P> {
    fn default() -> Self {
        Self {
            learned: BTreeMap::new(),
            by_age: BTreeMap::new(),
            ports: BTreeMap::new(),
            by_number: BTreeSet::new(),
            next: 0,
        }
    }
}

impl<P: Copy + Ord> Learning<P> {
    /// Learns where the source of a frame is, and decides where the frame goes.
    pub(crate) fn handle_frame(&mut self, now: Instant, from: P, frame: &[u8]) -> Way<P> {
        let Some((dst, src)) = addresses(frame) else { return Way::Nobody };
        self.learn(now, src, from);
        match self.learned.get(&dst).filter(|learned| !learned.is_old(now)) {
            Some(learned) if learned.port == from && !dst.is_group() => Way::Nobody,
            Some(learned) if !dst.is_group() => Way::Port(learned.port),
            _ => Way::Others,
        }
    }

    fn learn(&mut self, now: Instant, src: Mac, port: P) {
        if src.is_group() {
            return;
        }
        match self.learned.get_mut(&src) {
            Some(learned) if learned.port == port && now.since(learned.placed) < REPLACED => {
                learned.seen = now;
                return;
            }
            Some(_) => self.remove(src),
            None => self.make_room(now, port),
        }
        let place = self.next;
        self.next += 1;
        self.learned.insert(src, Learned { port, seen: now, place, placed: now });
        self.by_age.insert(place, src);
        self.change(port, |places| places.insert(place));
    }

    /// Has old addresses go, and another one if it takes that for a new one at this port.
    fn make_room(&mut self, now: Instant, port: P) {
        for _ in 0..EXPIRED_AT_ONCE {
            let oldest = self.by_age.first_key_value().map(|(_, mac)| *mac);
            let is_old = |mac: &Mac| self.learned.get(mac).is_none_or(|learned| learned.is_old(now));
            let Some(oldest) = oldest.filter(is_old) else { break };
            self.remove(oldest);
        }
        if self.learned.len() < MAX_LEARNED {
            return;
        }
        let share = MAX_LEARNED / self.ports.len().max(1);
        let has_share = self.ports.get(&port).is_some_and(|places| places.len() >= share);
        let most = self.by_number.last().map(|(_, port)| *port);
        let loses = if has_share { Some(port) } else { most };
        let oldest = loses.and_then(|port| self.by_age.get(self.ports.get(&port)?.first()?)).copied();
        oldest.into_iter().for_each(|oldest| self.remove(oldest));
    }

    fn remove(&mut self, mac: Mac) {
        let Some(Learned { port, place, .. }) = self.learned.remove(&mac) else { return };
        self.by_age.remove(&place);
        self.change(port, |places| places.remove(&place));
    }

    /// Changes the places that a port has.
    fn change(&mut self, port: P, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let places = self.ports.entry(port).or_default();
        let before = places.len();
        change(places);
        let number = places.len();
        self.by_number.remove(&(before, port));
        if number == 0 {
            self.ports.remove(&port);
        } else {
            self.by_number.insert((number, port));
        }
    }

    /// Forgets what was seen at a port: what is behind it may be anywhere by now.
    pub(crate) fn forget(&mut self, port: P) {
        let Some(places) = self.ports.remove(&port) else { return };
        self.by_number.remove(&(places.len(), port));
        for mac in places.iter().filter_map(|place| self.by_age.remove(place)) {
            self.learned.remove(&mac);
        }
    }

    /// Returns the number of addresses learned.
    pub(crate) fn len(&self) -> usize {
        self.learned.len()
    }

    /// Returns the addresses that are where they were seen, in their order.
    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = (Mac, P)> {
        self.learned.iter().filter(move |(_, learned)| !learned.is_old(now)).map(|(mac, learned)| (*mac, learned.port))
    }
}

impl<P> Learned<P> {
    fn is_old(&self, now: Instant) -> bool {
        now.since(self.seen) >= AGEING
    }
}

/// Destination and source of a frame.
pub(crate) fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    let (dst, rest) = frame.split_first_chunk()?;
    Some((Mac(*dst), Mac(*rest.first_chunk()?)))
}

#[cfg(test)]
mod tests;
