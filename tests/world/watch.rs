//! Invariants of a layer at every moment, and their checks.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use o7s::base::time::Instant;
use o7s::rib::Rib;
use o7s::types::id::{Address, Eid};

use super::layer::{Layer, Walk};
use super::ms;
use super::topology::{Edges, parts};

/// Looks at a layer while it runs.
pub(crate) struct Watch {
    /// After this time without a change of adjacencies the routes must be those of the adjacencies: no loop, no black hole.
    pub(crate) settle: Duration,
    /// Time after which a dead link must have been noticed.
    noticed: Duration,
    changed: Instant,
    adjacencies: BTreeMap<usize, Vec<Address>>,
    /// The addresses of all members that were ever there.
    addresses: BTreeMap<usize, Address>,
    /// Pairs of hosts between which nothing passes in one direction at least, since when, and when both must know.
    down: BTreeMap<(usize, usize), (Instant, Instant)>,
    /// At which addresses each name ever was.
    places: BTreeMap<String, BTreeSet<Address>>,
    bounds: BTreeMap<&'static str, u64>,
    pub(crate) looks: u64,
    /// Looks at which a loop or a black hole would have been a fault.
    pub(crate) armed: u64,
    /// Looks at which a link was down for so long that it must have been noticed.
    pub(crate) down_seen: u64,
    /// Moments with a loop.
    pub(crate) loops: u64,
    /// Moments at which a member was joined to another by adjacencies and had no way there.
    pub(crate) holes: u64,
    hole_since: Option<Instant>,
    /// The longest time in which some member had no way at every look.
    pub(crate) longest_hole: Duration,
}

impl Watch {
    /// A layer in which news are everywhere after `settle`, and whose members notice a dead link after `noticed`.
    pub(crate) fn new(layer: &Layer, settle: Duration, noticed: Duration) -> Self {
        Self {
            settle,
            noticed: noticed + MARGIN,
            changed: layer.net.now(),
            adjacencies: BTreeMap::new(),
            addresses: BTreeMap::new(),
            down: BTreeMap::new(),
            places: BTreeMap::new(),
            bounds: BOUNDS.into_iter().collect(),
            looks: 0,
            armed: 0,
            down_seen: 0,
            loops: 0,
            holes: 0,
            hole_since: None,
            longest_hole: Duration::ZERO,
        }
    }

    /// A name has come to be at this member.
    pub(crate) fn registered(&mut self, layer: &Layer, name: &str, at: usize) {
        let hash = layer.members[at].info().hash.hash(&name.parse().unwrap());
        self.places.entry(hash.to_string()).or_default().insert(layer.address(at));
    }

    /// A table may have no more entries than this from now on.
    pub(crate) fn set_bound(&mut self, table: &'static str, most: u64) {
        self.bounds.insert(table, most);
    }

    /// Nothing passes between the hosts of two members from now on.
    pub(crate) fn went_down(&mut self, now: Instant, (a, b): (usize, usize)) {
        self.is_down(now, (a, b), now + self.noticed);
    }

    /// One of two members has left and said so, which cannot be heard if something is lost, or has failed before.
    pub(crate) fn left(&mut self, now: Instant, (a, b): (usize, usize), lossy: bool) {
        let heard = !lossy && !self.down.contains_key(&(a.min(b), a.max(b)));
        self.is_down(now, (a, b), now + PARTING + if heard { MARGIN } else { self.noticed });
    }

    /// Some of what passes between two members is lost from now on: if one of them is about to end its connections, the
    /// other one may not hear of it, and has to miss it.
    pub(crate) fn became_lossy(&mut self, now: Instant, (a, b): (usize, usize)) {
        let noticed = self.noticed;
        if let Some((since, until)) = self.down.get_mut(&(a.min(b), a.max(b))).filter(|(_, until)| now < *until) {
            *until = (*until).max(*since + PARTING + noticed);
        }
    }

    /// Where one direction failed before, one end has heard the other until now.
    fn is_down(&mut self, now: Instant, (a, b): (usize, usize), until: Instant) {
        let down = self.down.entry((a.min(b), a.max(b))).or_insert((now, until));
        down.1 = down.1.max(until);
    }

    /// Nothing passes from now on in one of the directions. The end that notices says so, and is silent; if what it
    /// says can get lost, the other one may have to wait for that silence to last.
    pub(crate) fn went_down_one_way(&mut self, now: Instant, (a, b): (usize, usize), lossy: bool) {
        let within = if lossy { 2 * self.noticed } else { self.noticed };
        self.is_down(now, (a, b), now + within);
    }

    /// Something may pass again.
    pub(crate) fn came_up(&mut self, (a, b): (usize, usize)) {
        self.down.remove(&(a.min(b), a.max(b)));
    }

    /// Something may pass again between any two.
    pub(crate) fn all_came_up(&mut self) {
        self.down.clear();
    }

    /// Lets time pass and looks every 50 ms.
    pub(crate) fn run(&mut self, layer: &Layer, time: Duration) {
        let until = layer.net.now() + time;
        while layer.net.now() < until {
            layer.net.run_for(ms(50).min(until - layer.net.now()));
            self.look(layer);
        }
    }

    pub(crate) fn look(&mut self, layer: &Layer) {
        self.looks += 1;
        self.addresses.extend(layer.alive().map(|i| (i, layer.address(i))));
        let now = layer.net.now();
        let adjacencies = layer.alive().map(|i| (i, layer.adjacencies(i))).collect();
        if self.adjacencies != adjacencies || self.is_moving(layer) {
            self.adjacencies = adjacencies;
            self.changed = now;
        }
        self.check_routes(layer, now);
        self.check_detection(now);
        // The tables say little more often than that.
        if self.looks.is_multiple_of(10) {
            for i in layer.alive() {
                let rib = layer.members[i].rib();
                self.check_names(i, &rib);
                self.check_bounds(i, &rib);
            }
        }
    }

    /// Neighbours without a management flow, because that was lost alone, cannot tell each other anything; and a
    /// neighbour whose end has not been noticed cannot be gone around.
    fn is_moving(&self, layer: &Layer) -> bool {
        let numbers = layer.numbers();
        let down = |a: usize, b: usize| self.down.contains_key(&(a.min(b), a.max(b)));
        let unnoticed =
            |i: usize| layer.adjacencies(i).iter().any(|peer| numbers.get(peer).is_none_or(|peer| down(i, *peer)));
        layer.alive().any(|i| layer.is_mute(i) || unnoticed(i))
    }

    /// Routes are those of the adjacencies as soon as the news of the last change have had their time.
    fn check_routes(&mut self, layer: &Layer, now: Instant) {
        let settled = now - self.changed > self.settle;
        self.armed += u64::from(settled);
        let wrong = wrong_ways(layer, &self.joined(layer));
        self.loops += u64::from(!wrong.loops.is_empty());
        self.holes += u64::from(!wrong.holes.is_empty());
        self.hole_since = if wrong.holes.is_empty() { None } else { self.hole_since.or(Some(now)) };
        self.longest_hole = self.longest_hole.max(self.hole_since.map_or(Duration::ZERO, |since| now - since));
        let since = self.changed;
        assert!(
            wrong.loops.is_empty() || !settled,
            "a loop outlives convergence at {now:?}: {:?}, last change at {since:?}",
            wrong.loops
        );
        assert!(
            wrong.holes.is_empty() || !settled,
            "a black hole outlives convergence at {now:?}: {:?}, last change at {since:?}",
            wrong.holes
        );
    }

    /// Pairs of members that hold each other for neighbours.
    fn joined(&self, layer: &Layer) -> Edges {
        let numbers = layer.numbers();
        let near = |i: usize| self.adjacencies[&i].iter().filter_map(|a| numbers.get(a)).copied();
        let mutual = |(a, b): &(usize, usize)| near(*b).any(|i| i == *a);
        layer.alive().flat_map(|a| near(a).map(move |b| (a, b))).filter(|e| e.0 < e.1).filter(mutual).collect()
    }

    /// Checks that no member has a neighbour to whom nothing passes.
    fn check_detection(&mut self, now: Instant) {
        for (&(a, b), &(since, until)) in &self.down {
            if now <= until {
                continue;
            }
            self.down_seen += 1;
            for (i, peer) in [(a, b), (b, a)] {
                let alive = self.adjacencies.get(&i).is_some_and(|all| all.contains(&self.addresses[&peer]));
                assert!(!alive, "member {i} has not noticed by {now:?} that {peer} is gone since {since:?}");
            }
        }
    }

    /// Checks that no address is kept for a name at which it never was.
    fn check_names(&self, i: usize, rib: &Rib) {
        for kept in &rib.child("dht").unwrap().child("database").unwrap().children {
            let (name, address) = kept.name.split_once("--").unwrap();
            let right = self.places.get(name).is_some_and(|at| at.iter().any(|a| a.to_string() == address));
            assert!(right, "member {i} keeps a wrong address: {name} at {address}");
        }
    }

    /// Every table of every member is within its bounds at this moment.
    pub(crate) fn check_bounds_of_all(&self, layer: &Layer) {
        layer.alive().for_each(|i| self.check_bounds(i, &layer.members[i].rib()));
    }

    /// Every table is within its bounds.
    fn check_bounds(&self, i: usize, rib: &Rib) {
        for (&path, &bound) in &self.bounds {
            let size = match path {
                LINKS => rib.child("lsdb").unwrap().children.len() as u64,
                _ => rib.get(path).unwrap_or_else(|| panic!("no {path}")),
            };
            assert!(size <= bound, "member {i}: {path} is {size}, more than {bound}");
        }
    }
}

/// Updates and their confirmations that get lost are repeated after 0.2, 0.4, 0.8, 1.6, 3.2 and 6.4 s: seven times in
/// 12.6 s. With a fifth lost in each direction (a third on one link) all seven fail once in a thousand times, on a single
/// way; there is usually another, and the repetition after it comes 12.8 s later. A shorter time would blame chance.
pub(crate) const LOSSY_SETTLE: Duration = Duration::from_secs(20);
/// Neighbours that were missed for long are tried again after 30 s at most; an attempt that was under way when the
/// network was healed may take six before that; and news take two.
pub(crate) const HEALED: Duration = Duration::from_secs(38);

/// A timeout is noticed when a timer rings: on the next millisecond. What was on its way when the link failed still
/// arrives, and looks are 50 ms apart.
const MARGIN: Duration = Duration::from_millis(200);

/// Time for which a member that has left passes on what is still on its way to it.
const PARTING: Duration = Duration::from_millis(500);

/// The links that a member knows.
const LINKS: &str = "lsdb";

/// Bounds promised by the documentation.
pub(crate) const BOUNDS: [(&str, u64); 14] = [
    (LINKS, 65_536 + 4096),
    ("flows", 65_536),
    ("adjacencies", 4096),
    ("managements", 4096),
    ("inbox", 4096),
    ("names", 1024),
    ("dht/stats/keys", 4096),
    ("dht/stats/contacts", 16 * 32),
    ("dht/stats/spares", 8 * 32),
    ("dht/stats/walks", 128 + 16 + 4),
    ("dht/stats/questions", 1024),
    ("dht/stats/cache", 512),
    ("dht/stats/sources", 1024),
    ("dht/stats/relays", 16 * 3),
];

/// Faults of the forwarding tables.
#[derive(Default)]
struct Wrong {
    loops: Vec<Vec<usize>>,
    /// Ways that end before they have arrived.
    holes: Vec<Vec<usize>>,
}

/// Follows the ways between all members that `edges` lead to, for some flows.
fn wrong_ways(layer: &Layer, edges: &[(usize, usize)]) -> Wrong {
    let numbers = layer.numbers();
    let part = parts(layer.len(), edges);
    let mut wrong = Wrong::default();
    for to in layer.alive() {
        for from in layer.alive() {
            for flow in [Eid(1), Eid(0x5555_0000_0000)] {
                match layer.walk_in(&numbers, from, to, flow) {
                    Walk::Loops(way) => wrong.loops.push(way),
                    Walk::Ends(way) if part[from] == part[to] => wrong.holes.push(way),
                    Walk::Ends(_) | Walk::Arrives(_) => {}
                }
            }
        }
    }
    wrong
}

/// After faults: there is a way between any two members that a path of links joins, and no other.
pub(crate) fn assert_converged(layer: &Layer) {
    let standing = |(a, b): &&(usize, usize)| !layer.dead.contains(a) && !layer.dead.contains(b);
    let edges: Vec<_> = layer.edges.iter().filter(standing).copied().collect();
    let part = parts(layer.len(), &edges);
    let numbers = layer.numbers();
    for a in layer.alive() {
        for b in layer.alive() {
            let walk = layer.walk_in(&numbers, a, b, Eid(1));
            let arrives = matches!(walk, Walk::Arrives(_));
            assert_eq!(arrives, part[a] == part[b], "from {a} to {b}: {walk:?} at {:?}", layer.net.now());
        }
    }
}

/// As [`assert_converged`], with every link in use: data and management, at both ends.
pub(crate) fn is_whole(layer: &Layer) -> bool {
    let numbers = layer.numbers();
    let neighbours = |i: usize| -> BTreeSet<usize> {
        layer.adjacencies(i).iter().filter_map(|address| numbers.get(address)).copied().collect()
    };
    let linked = |i: usize| layer.neighbours(i).into_iter().filter(|j| !layer.dead.contains(j)).collect();
    layer.alive().all(|i| !layer.is_mute(i) && neighbours(i) == linked(i)) && layer.unreachable().is_none()
}
