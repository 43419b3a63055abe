//! The learning of addresses: at which port of a switch they were seen last.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::time::Instant;
use crate::types::mac::Mac;

/// Addresses that a switch remembers.
const MAX_LEARNED: usize = 8192;
/// Lifetime of an address that is not seen again (IEEE 802.1D, 7.9.2).
const AGEING: Duration = Duration::from_secs(300);

/// The way of a frame out of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards<P> {
    /// The port where its destination was seen last, which is not the one that it came in by.
    Port(P),
    /// All ports but the one that it came in by.
    Others,
    /// No port: its destination is where it came from, or it is too short to have addresses.
    Nobody,
}

/// The addresses that a switch has learned, for ports of any kind.
#[derive(Debug)]
pub(crate) struct Learning<P> {
    learned: BTreeMap<Mac, (P, Instant)>,
}

impl<P> Default for Learning<P> {
    fn default() -> Self {
        Self { learned: BTreeMap::new() }
    }
}

impl<P: Copy + PartialEq> Learning<P> {
    /// Learns where the source of a frame is, and decides where the frame goes.
    pub(crate) fn handle_frame(&mut self, now: Instant, from: P, frame: &[u8]) -> Towards<P> {
        let Some((dst, src)) = addresses(frame) else { return Towards::Nobody };
        self.learn(now, src, from);
        match self.learned.get(&dst).filter(|(_, seen)| now.since(*seen) < AGEING) {
            Some((at, _)) if *at == from && !dst.is_group() => Towards::Nobody,
            Some((at, _)) if !dst.is_group() => Towards::Port(*at),
            _ => Towards::Others,
        }
    }

    fn learn(&mut self, now: Instant, src: Mac, at: P) {
        if src.is_group() {
            return;
        }
        if self.learned.len() >= MAX_LEARNED && !self.learned.contains_key(&src) {
            self.learned.retain(|_, (_, seen)| now.since(*seen) < AGEING);
        }
        if self.learned.len() < MAX_LEARNED || self.learned.contains_key(&src) {
            self.learned.insert(src, (at, now));
        }
    }

    /// Forgets what was seen at a port: what is behind it may be anywhere by now.
    pub(crate) fn forget(&mut self, port: P) {
        self.learned.retain(|_, (at, _)| *at != port);
    }

    /// Returns the number of addresses learned.
    pub(crate) fn len(&self) -> usize {
        self.learned.len()
    }

    /// Returns the addresses that are where they were seen, in their order.
    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = (Mac, P)> {
        self.learned.iter().filter(move |(_, (_, seen))| now.since(*seen) < AGEING).map(|(mac, (at, _))| (*mac, *at))
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

    fn frame(dst: u32, src: u32) -> Vec<u8> {
        [dst, src].iter().flat_map(|n| [&[2, 0][..], &n.to_be_bytes()].concat()).chain([0; 48]).collect()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(1000 * seconds)
    }

    #[test]
    fn addresses_are_learned_move_and_age() {
        let mut learning = Learning::default();
        assert_eq!(learning.handle_frame(at(0), 'a', &frame(2, 1)), Towards::Others);
        assert_eq!(learning.handle_frame(at(1), 'b', &frame(1, 2)), Towards::Port('a'));
        assert_eq!(learning.handle_frame(at(2), 'a', &frame(1, 3)), Towards::Nobody, "it is where it came from");
        assert_eq!(learning.handle_frame(at(3), 'c', &frame(9, 1)), Towards::Others);
        assert_eq!(learning.handle_frame(at(4), 'b', &frame(1, 2)), Towards::Port('c'), "it has moved");
        assert_eq!(learning.handle_frame(at(302), 'b', &frame(1, 2)), Towards::Port('c'));
        assert_eq!(learning.handle_frame(at(303), 'b', &frame(1, 2)), Towards::Others, "it is old");
        assert_eq!(learning.iter(at(303)).collect::<Vec<_>>(), [(Mac([2, 0, 0, 0, 0, 2]), 'b')]);
        learning.forget('b');
        assert_eq!(learning.handle_frame(at(304), 'a', &frame(2, 1)), Towards::Others);
    }

    #[test]
    fn groups_are_not_learned_and_short_frames_go_nowhere() {
        let mut learning = Learning::default();
        let mut from_group = frame(2, 1);
        from_group[6] = 0xff;
        assert_eq!(learning.handle_frame(at(0), 'a', &from_group), Towards::Others);
        assert_eq!(learning.handle_frame(at(0), 'a', &from_group[..11]), Towards::Nobody);
        assert_eq!(learning.len(), 0);
    }

    #[test]
    fn memory_is_bounded_and_old_addresses_give_way() {
        let mut learning = Learning::default();
        let number = MAX_LEARNED as u32;
        for src in 0..2 * number {
            learning.handle_frame(at(0), 'a', &frame(u32::MAX, src));
        }
        assert_eq!(learning.len(), MAX_LEARNED);
        // Those that are known are followed.
        learning.handle_frame(at(1), 'b', &frame(u32::MAX, 5));
        assert_eq!(learning.handle_frame(at(1), 'a', &frame(5, 6)), Towards::Port('b'));
        learning.handle_frame(at(300), 'a', &frame(u32::MAX, 2 * number));
        assert_eq!(learning.len(), 3);
    }
}
