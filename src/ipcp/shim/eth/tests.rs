use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;

use super::directory::Directory;
use super::framing::{nth_sap, random_eid};
use super::limit::Answers;
use super::{Config, Framing};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::ipcp::{Location, Lookup};
use crate::types::mac::Mac;
use crate::types::name::{HashAlg, Name, NameHash};

#[cfg(feature = "std")]
mod member;

const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn ms(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn hash(name: &str) -> NameHash {
    HashAlg::Sha3_256.hash(&Name::new(name).unwrap())
}

fn at(places: &[Mac]) -> Lookup {
    Lookup::Known(places.iter().map(|mac| Location::Mac(*mac)).collect())
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl alloc::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A directory, and somebody who looks names up in it.
struct World {
    directory: Directory,
    woken: Arc<Woken>,
}

impl World {
    fn new(config: &Config) -> Self {
        Self::seeded(config, 1)
    }

    fn seeded(config: &Config, seed: u8) -> Self {
        Self { directory: Directory::new(config, Rng::from_seed([seed; 32])), woken: Arc::default() }
    }

    fn look_up(&mut self, now: u64, name: &str) -> (Lookup, bool) {
        let mut waker = Some(Waker::from(Arc::clone(&self.woken)));
        self.directory.look_up(ms(now), &hash(name), true, &mut waker)
    }

    /// How often the queries of `name` are repeated until `until`, and whether somebody has waited in vain.
    fn run(&mut self, until: u64) -> (Vec<u64>, usize) {
        let (mut asked, mut given_up) = (Vec::new(), 0);
        while let Some(next) = self.directory.next_deadline().filter(|next| *next <= ms(until)) {
            let (queries, wakers) = self.directory.poll_queries(next);
            asked.extend(queries.iter().map(|_| next.as_nanos() / 1_000_000));
            given_up += wakers.len();
        }
        (asked, given_up)
    }

    fn answer(&mut self, now: u64, name: &str, from: Mac) -> bool {
        let counts = self.directory.handle_answer(ms(now), &hash(name), from);
        self.directory.take_found().into_iter().for_each(Waker::wake);
        counts
    }
}

#[test]
fn queries_are_repeated_and_given_up() {
    let mut world = World::new(&Config::default());
    assert_eq!(world.look_up(0, "echo"), (Lookup::Pending, true));
    assert_eq!(world.look_up(1, "echo"), (Lookup::Pending, false), "it is being asked for");
    assert_eq!(world.run(10_000), (alloc::vec![100, 300, 700, 1500], 1));
    assert_eq!(world.look_up(2500, "echo"), (Lookup::Unknown, false));
    assert_eq!(world.look_up(3001, "echo"), (Lookup::Pending, true), "the lack of an answer is believed for a second");
}

#[test]
fn answers_count_only_while_they_are_waited_for() {
    let mut world = World::new(&Config::default());
    assert!(!world.answer(0, "echo", A), "nobody has asked");
    world.look_up(0, "echo");
    assert!(!world.answer(1, "other", A));
    assert!(world.answer(1, "echo", A));
    assert_eq!(world.woken.0.load(Ordering::Relaxed), 1);
    assert!(
        world.answer(2, "echo", B) && world.answer(3, "echo", A),
        "other stations have it too, and one says so twice"
    );
    assert_eq!(world.look_up(4, "echo"), (at(&[A, B]), false));
    assert!(!world.answer(2001, "echo", Mac([2; 6])), "the time is over");
    assert_eq!(world.run(10_000), (Vec::new(), 0), "what is known is not asked for");
    assert_eq!(world.look_up(60_002, "echo"), (Lookup::Pending, true), "and not believed for ever");
}

#[test]
fn no_more_places_are_remembered_than_are_of_use() {
    let mut world = World::new(&Config::default());
    world.look_up(0, "echo");
    for i in 0..100 {
        assert!(world.answer(1, "echo", Mac([2, 0, 0, 0, 0, i])));
    }
    let (found, _) = world.look_up(2, "echo");
    assert!(matches!(found, Lookup::Known(places) if places.len() == 8));
}

#[test]
fn a_place_that_is_doubted_is_forgotten() {
    let mut world = World::new(&Config::default());
    world.look_up(0, "echo");
    world.answer(1, "echo", A);
    world.answer(1, "echo", B);
    world.directory.doubt(ms(2), &hash("echo"), A);
    assert_eq!(world.look_up(2, "echo"), (at(&[B]), false));
    world.directory.doubt(ms(2), &hash("echo"), A);
    world.directory.doubt(ms(2), &hash("echo"), B);
    assert_eq!(world.look_up(3, "echo"), (Lookup::Pending, true), "everybody is asked anew");
    world.directory.doubt(ms(2), &hash("echo"), B);
    assert_eq!(world.look_up(4, "echo"), (Lookup::Pending, false), "what is being asked for is not in doubt");
}

/// The places of a name after a query that a liar answers from these addresses, before the station that has it and after.
fn found_among(world: &mut World, now: u64, liars: &[Mac]) -> Vec<Mac> {
    assert!(world.look_up(now, "echo").1, "everybody is asked");
    let (before, after) = liars.split_at(liars.len() / 2);
    for from in before.iter().chain([&A]).chain(after).chain(before) {
        assert!(world.answer(now, "echo", *from));
    }
    let Lookup::Known(places) = world.look_up(now, "echo").0 else { unreachable!() };
    places.into_iter().filter_map(|at| if let Location::Mac(mac) = at { Some(mac) } else { None }).collect()
}

fn liars(n: u16) -> Vec<Mac> {
    (0..n).map(|i| Mac([2, 0, 0, 1, (i >> 8) as u8, i as u8])).collect()
}

#[test]
fn a_few_made_up_addresses_do_not_hide_the_true_one() {
    let found = found_among(&mut World::new(&Config::default()), 0, &liars(7));
    assert!(found.contains(&A) && found.len() == 8, "{found:?}");
}

#[test]
fn the_true_address_has_as_good_a_lot_as_any() {
    let hits = (0..=255).filter(|seed| {
        let mut world = World::seeded(&Config::default(), *seed);
        found_among(&mut world, 0, &liars(31)).contains(&A)
    });
    // Eight of 32, whatever the liar does before and after, and however often.
    let hits = hits.count();
    assert!((40..=90).contains(&hits), "{hits} of 256");
}

#[test]
fn a_liar_with_many_addresses_runs_out_of_those_that_are_not_doubted() {
    let mut world = World::new(&Config::default());
    let queries = (0..100).position(|query| {
        let found = found_among(&mut world, 100 * query, &liars(100));
        for mac in &found {
            world.directory.doubt(ms(100 * query), &hash("echo"), *mac);
        }
        found.contains(&A)
    });
    assert!(queries.is_some_and(|queries| queries <= 13), "{queries:?}");
}

#[test]
fn doubts_are_bounded_and_pass() {
    let mut world = World::new(&Config::default());
    for n in 0..3000u64 {
        let mac = Mac::from_bits(0x0200_0000_0000 + n);
        world.look_up(n, "echo");
        world.answer(n, "echo", mac);
        world.directory.doubt(ms(n), &hash("echo"), mac);
        assert!(world.directory.doubted() <= 1024);
    }
    world.look_up(70_000, "echo");
    world.answer(70_000, "echo", A);
    world.directory.doubt(ms(70_000), &hash("echo"), A);
    assert_eq!(world.directory.doubted(), 1);
}

#[test]
fn the_directory_is_bounded_and_what_is_asked_for_stays() {
    let mut world = World::new(&Config { max_directory: 10, ..Config::default() });
    let name = |i: u32| alloc::format!("name-{i}");
    for i in 0..10 {
        world.look_up(0, &name(i));
    }
    assert_eq!(world.look_up(0, &name(10)), (Lookup::Unknown, false), "there is no room, and nothing is sent");
    world.answer(1, &name(3), A);
    assert_eq!(world.look_up(2, &name(10)), (Lookup::Pending, true), "what is known makes room");
    assert_eq!(world.directory.len(), 10);
    assert_eq!(world.look_up(2, &name(3)), (Lookup::Unknown, false));
    assert_eq!(world.directory.clear().len(), 10, "all who wait are told");
    assert_eq!((world.directory.len(), world.directory.next_deadline()), (0, None));
}

#[test]
fn nothing_is_asked_while_the_link_is_down_and_everything_when_it_is_up_again() {
    let mut world = World::new(&Config::default());
    let unknown = world.directory.look_up(ms(0), &hash("echo"), false, &mut None);
    assert_eq!((unknown, world.directory.len()), ((Lookup::Unknown, false), 0));
    world.look_up(0, "echo");
    world.run(1000);
    world.directory.ask_again(ms(1000));
    assert_eq!(world.run(1500), (alloc::vec![1000, 1100, 1300], 0));
}

#[test]
fn one_station_that_asks_without_end_leaves_answers_for_others() {
    let mut answers = Answers::new((100, 50), 0x1234_5678_9abc_def0);
    let flood = (0..1_000_000).filter(|i| answers.admit(ms(i / 1000), A)).count();
    assert_eq!(flood, 50 + 100, "50 at once, and 100 in the second");
    let others = (0..100).filter(|i| answers.admit(ms(1000), Mac([2, 0, 0, 0, 1, *i]))).count();
    assert!(others >= 90, "{others} of 100 others");
    let mut silent = Answers::new((0, 50), 1);
    assert!(!silent.admit(ms(0), A));
}

#[test]
fn numbers_of_flows_are_none_of_the_references() {
    let mut rng = Rng::from_seed([3; 32]);
    let drawn: Vec<u64> = (0..10_000).map(|_| random_eid(&mut rng)).collect();
    assert!(drawn.iter().all(|eid| (4096..=65_535).contains(eid)));
    assert!(drawn.iter().any(|eid| *eid > 60_000) && drawn.iter().any(|eid| *eid < 8000));
    let saps: Vec<u64> = (0..124).map(nth_sap).collect();
    assert_eq!(saps[..62], (2..64).collect::<Vec<_>>());
    assert_eq!(saps[62..], saps[..62], "one that was used is the last to be used again");
}

#[test]
fn sizes_are_those_of_the_link_without_the_header() {
    let dix = Framing::Dix { ethertype: 0xa000 };
    assert_eq!([1500, 9000, 3, 100_000].map(|mtu| dix.max_payload(mtu)), [1496, 8996, 0, 65_535]);
    assert_eq!([1500, 9000, 2, 1280].map(|mtu| Framing::Llc.max_payload(mtu)), [1497, 1497, 0, 1277]);
    assert!(dix.is_flow(1) && dix.is_flow(65_535) && !dix.is_flow(0));
    assert!([2, 63].iter().all(|sap| Framing::Llc.is_flow(*sap)));
    assert!([0, 1, 64, 255, 258].iter().all(|sap| !Framing::Llc.is_flow(*sap)));
    assert_eq!(Framing::Llc.max_flows(), 62);
}

#[test]
fn answers_wait_for_their_time_in_a_bounded_queue() {
    let mut answers = Answers::new((100, 50), 1);
    assert!(answers.keep(ms(2), A, hash("one")) && answers.keep(ms(3), B, hash("two")));
    assert_eq!((answers.next_deadline(), answers.poll_due(ms(1))), (Some(ms(2)), None));
    assert_eq!(answers.poll_due(ms(2)), Some((A, hash("one"))));
    assert_eq!((answers.poll_due(ms(2)), answers.poll_due(ms(9))), (None, Some((B, hash("two")))));
    assert_eq!(answers.next_deadline(), None);
    let kept = (0..100_000).filter(|_| answers.keep(ms(9), A, hash("one"))).count();
    assert_eq!(kept, 1024);
}
