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
mod tests {
    use super::*;

    impl<P: Copy + Ord + core::fmt::Debug> Learning<P> {
        /// All agrees.
        fn check(&self) {
            assert!(self.learned.len() <= MAX_LEARNED);
            assert_eq!(self.learned.len(), self.by_age.len());
            let number: usize = self.ports.values().map(BTreeSet::len).sum();
            assert_eq!((number, self.by_number.len()), (self.by_age.len(), self.ports.len()));
            assert!(self.ports.iter().all(|(port, places)| self.by_number.contains(&(places.len(), *port))));
        }

        fn check_all(&self) {
            self.check();
            for (mac, learned) in &self.learned {
                assert_eq!(self.by_age.get(&learned.place), Some(mac));
                assert!(self.ports[&learned.port].contains(&learned.place));
            }
        }
    }

    fn frame(dst: u32, src: u32) -> Vec<u8> {
        [dst, src].iter().flat_map(|n| [&[2, 0][..], &n.to_be_bytes()].concat()).chain([0; 48]).collect()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(1000 * seconds)
    }

    #[test]
    fn addresses_are_learned_move_and_age() {
        let mut learning = Learning::default();
        assert_eq!(learning.handle_frame(at(0), 'a', &frame(2, 1)), Way::Others);
        assert_eq!(learning.handle_frame(at(1), 'b', &frame(1, 2)), Way::Port('a'));
        assert_eq!(learning.handle_frame(at(2), 'a', &frame(1, 3)), Way::Nobody, "it is where it came from");
        assert_eq!(learning.handle_frame(at(3), 'c', &frame(9, 1)), Way::Others);
        assert_eq!(learning.handle_frame(at(4), 'b', &frame(1, 2)), Way::Port('c'), "it has moved");
        assert_eq!(learning.handle_frame(at(302), 'b', &frame(1, 2)), Way::Port('c'));
        assert_eq!(learning.handle_frame(at(303), 'b', &frame(1, 2)), Way::Others, "it is old");
        assert_eq!(learning.iter(at(303)).collect::<Vec<_>>(), [(Mac([2, 0, 0, 0, 0, 2]), 'b')]);
        learning.forget('b');
        assert_eq!(learning.handle_frame(at(304), 'a', &frame(2, 1)), Way::Others);
    }

    #[test]
    fn groups_are_not_learned_and_short_frames_go_nowhere() {
        let mut learning = Learning::default();
        let mut from_group = frame(2, 1);
        from_group[6] = 0xff;
        assert_eq!(learning.handle_frame(at(0), 'a', &from_group), Way::Others);
        assert_eq!(learning.handle_frame(at(0), 'a', &from_group[..11]), Way::Nobody);
        assert_eq!(learning.len(), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_are_known() {
        let mut learning = Learning::default();
        let number = MAX_LEARNED as u32;
        for src in 0..2 * number {
            learning.handle_frame(at(0), 'a', &frame(u32::MAX, src));
            learning.check();
        }
        assert_eq!(learning.len(), MAX_LEARNED);
        assert_eq!(learning.handle_frame(at(0), 'b', &frame(number - 1, 9)), Way::Others, "it was the oldest");
        assert_eq!(learning.handle_frame(at(0), 'b', &frame(2 * number - 1, 9)), Way::Port('a'));
        // Those that are known are followed.
        learning.handle_frame(at(1), 'b', &frame(u32::MAX, 2 * number - 1));
        assert_eq!(learning.handle_frame(at(1), 'a', &frame(2 * number - 1, 6)), Way::Port('b'));
        learning.check_all();
    }

    #[test]
    fn strangers_at_a_port_take_no_place_from_other_ports() {
        let mut learning = Learning::default();
        let (number, few) = (MAX_LEARNED as u32, 100);
        for src in 0..few {
            learning.handle_frame(at(0), 'b', &frame(u32::MAX, src));
        }
        for src in number..3 * number {
            learning.handle_frame(at(1), 'a', &frame(u32::MAX, src));
        }
        let to = |learning: &mut Learning<char>, dst| learning.handle_frame(at(2), 'z', &frame(dst, u32::MAX));
        for src in 0..few {
            assert_eq!(to(&mut learning, src), Way::Port('b'));
        }
        // A port with few takes from the one with the most, up to its share.
        for src in 3 * number..5 * number {
            learning.handle_frame(at(2), 'c', &frame(u32::MAX, src));
        }
        learning.check();
        for (port, dst) in [('b', 0), ('c', 5 * number - 1), ('a', 3 * number - 1)] {
            assert_eq!(to(&mut learning, dst), Way::Port(port), "{dst}");
        }
        assert_eq!(learning.len(), MAX_LEARNED);
        let of = |port| learning.iter(at(2)).filter(|(_, at)| *at == port).count();
        let share = MAX_LEARNED / 4;
        assert!(of('a') > share && of('c') >= share, "{} {}", of('a'), of('c'));
    }

    #[test]
    fn a_frame_drops_few_addresses() {
        let mut learning = Learning::default();
        let number = MAX_LEARNED as u32;
        for src in 0..number {
            learning.handle_frame(at(0), 'a', &frame(u32::MAX, src));
        }
        let mut dropped = 0;
        for src in 0..2 * number {
            let before = learning.len();
            learning.handle_frame(at(300), 'b', &frame(u32::MAX, number + src % 10));
            learning.check();
            let now = before.saturating_sub(learning.len());
            assert!(now <= 2, "{now} at once");
            dropped += now;
        }
        // Of those that are old a few go with every new one.
        assert!(dropped > 0);
    }

    #[test]
    fn an_address_that_is_seen_all_the_time_outlives_strangers() {
        let mut learning = Learning::default();
        let number = MAX_LEARNED as u32;
        for second in 0..40 {
            for src in 0..number / 4 {
                learning.handle_frame(at(second), 'a', &frame(u32::MAX, 1000 + second as u32 * number + src));
                learning.handle_frame(at(second), 'a', &frame(u32::MAX, 1));
            }
            learning.check_all();
        }
        assert_eq!(learning.handle_frame(at(40), 'b', &frame(1, 2)), Way::Port('a'));
    }

    /// A port that counts how often it is compared.
    #[derive(Clone, Copy, Debug, Eq)]
    struct Counted(u32);

    std::thread_local! {
        static COMPARED: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> core::cmp::Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    #[test]
    fn forgetting_a_port_looks_at_no_address_of_others() {
        let mut learning = Learning::default();
        for src in 0..MAX_LEARNED as u32 {
            learning.handle_frame(at(0), Counted(src % 16), &frame(u32::MAX, src));
        }
        learning.forget(Counted(3));
        learning.check_all();
        assert_eq!(learning.len(), MAX_LEARNED / 16 * 15);
        COMPARED.set(0);
        for _ in 0..100 {
            learning.forget(Counted(3));
        }
        assert!(COMPARED.get() <= 100 * 16, "{} comparisons", COMPARED.get());
    }
}
