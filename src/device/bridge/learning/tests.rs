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
