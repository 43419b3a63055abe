//! What must hold in a layer at every moment, and who looks.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use o7s::base::time::Instant;
use o7s::rib::Rib;
use o7s::types::id::{Address, Eid};

use super::layer::{Layer, Walk};
use super::ms;
use super::topology::parts;

/// Looks at a layer while it runs.
pub(crate) struct Watch {
    /// After this time without a change of adjacencies there must be no loop.
    settle: Duration,
    changed: Instant,
    adjacencies: BTreeMap<usize, Vec<Address>>,
    /// At which addresses each name ever was.
    places: BTreeMap<String, BTreeSet<Address>>,
    pub(crate) looks: u64,
    /// Moments with a loop.
    pub(crate) loops: u64,
}

impl Watch {
    pub(crate) fn new(layer: &Layer, settle: Duration) -> Self {
        Self {
            settle,
            changed: layer.net.now(),
            adjacencies: BTreeMap::new(),
            places: BTreeMap::new(),
            looks: 0,
            loops: 0,
        }
    }

    /// A name has come to be at this member.
    pub(crate) fn registered(&mut self, layer: &Layer, name: &str, at: usize) {
        let hash = layer.members[at].info().hash.hash(&name.parse().unwrap());
        self.places.entry(hash.to_string()).or_default().insert(layer.address(at));
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
        let now = layer.net.now();
        let adjacencies = layer.alive().map(|i| (i, layer.adjacencies(i))).collect();
        // Neighbours without a management flow, because that was lost alone, cannot tell each other anything.
        if self.adjacencies != adjacencies || layer.alive().any(|i| layer.is_mute(i)) {
            self.adjacencies = adjacencies;
            self.changed = now;
        }
        let loops = loops(layer);
        self.loops += u64::from(!loops.is_empty());
        let settled = now - self.changed > self.settle;
        assert!(
            loops.is_empty() || !settled,
            "a loop outlives convergence at {now:?}: {loops:?}, last change at {:?}",
            self.changed
        );
        // The tables say little more often than that.
        if self.looks.is_multiple_of(10) {
            for i in layer.alive() {
                let rib = layer.members[i].rib();
                self.check_names(i, &rib);
                check_bounds(i, &rib);
            }
        }
    }

    /// Nobody keeps an address for a name at which it never was.
    fn check_names(&self, i: usize, rib: &Rib) {
        for kept in &rib.child("dht").unwrap().child("database").unwrap().children {
            let (name, address) = kept.name.split_once("--").unwrap();
            let right = self.places.get(name).is_some_and(|at| at.iter().any(|a| a.to_string() == address));
            assert!(right, "member {i} keeps a wrong address: {name} at {address}");
        }
    }
}

/// Loops in the forwarding tables, towards any member and for some flows.
fn loops(layer: &Layer) -> Vec<Vec<usize>> {
    let numbers = layer.numbers();
    let mut loops = Vec::new();
    for to in layer.alive() {
        for from in layer.alive() {
            for flow in [Eid(1), Eid(0x5555_0000_0000)] {
                if let Walk::Loops(way) = layer.walk_in(&numbers, from, to, flow) {
                    loops.push(way);
                }
            }
        }
    }
    loops
}

/// Every table is within the bounds that the documentation promises.
fn check_bounds(i: usize, rib: &Rib) {
    let bounds = [
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
    for (path, bound) in bounds {
        let size = rib.get(path).unwrap_or_else(|| panic!("no {path}"));
        assert!(size <= bound, "member {i}: {path} is {size}, more than {bound}");
    }
    let links = rib.child("lsdb").unwrap().children.len();
    assert!(links <= 65_536 + 4096, "member {i}: {links} links");
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
