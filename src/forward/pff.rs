//! The forwarding table: which N-1 flow a packet leaves on.
//!
//! Built from [`Routes`] whenever these or the adjacencies change, then read by every thread that forwards, without
//! locks and without allocating. Whether an adjacency works is asked at every look-up, so that a packet never waits for
//! routes to be computed if the table holds another way:
//!
//! | policy | next hop | when it is down |
//! |---|---|---|
//! | simple | the one neighbour | nothing |
//! | loop-free alternates | the first neighbour | the next one that is up |
//! | equal-cost multipath | a neighbour by flow | another one, for the flows that it had; the others stay |
//!
//! A neighbour may be reached over several adjacencies. Flows are spread over those that are up, and stay where they
//! are while the others come and go.
//!
//! ```
//! use o7s::forward::pff::{ForwardingTable, NextHop};
//! use o7s::types::routes::Routes;
//! use o7s::types::id::Address;
//!
//! #[derive(Debug, PartialEq)]
//! struct Wire(&'static str, bool);
//! impl NextHop for Wire {
//!     fn is_up(&self) -> bool {
//!         self.1
//!     }
//! }
//!
//! let mut routes = Routes::new(false);
//! routes.push(Address(9), [Address(2), Address(3)]);
//! let table = ForwardingTable::new(&routes, 0x5eed, |neighbour| match neighbour {
//!     Address(2) => vec![Wire("broken", false)],
//!     _ => vec![Wire("whole", true)],
//! });
//! assert_eq!(table.lookup(Address(9), 4711), Some(&Wire("whole", true)));
//! assert_eq!(table.lookup(Address(8), 4711), None);
//! ```

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::types::id::Address;
use crate::types::routes::Routes;

/// Something that a packet can leave on.
pub trait NextHop {
    /// Returns `true` if packets arrive at the other end, as far as is known.
    fn is_up(&self) -> bool;

    /// Returns `true` if the other end is known to be there. An unproven one is used only if there is no other.
    fn is_proven(&self) -> bool {
        true
    }
}

/// A range of a list.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u32,
    len: u32,
}

impl Range {
    fn of<T>(self, list: &[T]) -> &[T] {
        let start = self.start as usize;
        list.get(start..start + self.len as usize).unwrap_or(&[])
    }
}

/// A neighbour: its adjacencies.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    handles: Range,
    /// Sets it apart in the choice by flow.
    salt: u64,
}

/// Finds the adjacency for a destination. `H` is what the user has to send over one.
///
/// A look-up costs a probe of a hash table with 12 bytes an entry at a load of a half at most, so that the table for
/// 1 000 destinations takes 24 KiB, and a look at the first next hop.
#[derive(Debug)]
pub struct ForwardingTable<H> {
    by_flow: bool,
    /// Destinations by hash, in the first free place from there on; 0 is free. A power of two of them.
    keys: Box<[u64]>,
    /// For each place the group of next hops.
    groups_of: Box<[u32]>,
    shift: u32,
    salt: u64,
    /// Many destinations share next hops: every combination is there once.
    groups: Box<[Range]>,
    /// Indices of neighbours.
    hops: Box<[u32]>,
    neighbours: Box<[Neighbour]>,
    handles: Box<[H]>,
}

impl<H> Default for ForwardingTable<H> {
    /// A table without destinations.
    fn default() -> Self {
        Self::new(&Routes::new(false), 0, |_| [])
    }
}

impl<H> ForwardingTable<H> {
    /// A table for `routes`. `resolve` says which adjacencies there are to a neighbour, always in the same order;
    /// neighbours without any are left out, and so are destinations without a next hop. `salt` is a random number:
    /// members that choose their addresses must not know where they end up in the table.
    pub fn new<I>(routes: &Routes, salt: u64, mut resolve: impl FnMut(Address) -> I) -> Self
    where
        I: IntoIterator<Item = H>,
    {
        // Not less than two, as a number cannot be shifted by all of its 64 bits.
        let capacity = (2 * routes.len()).next_power_of_two().max(2);
        let mut table = Builder::default();
        let mut keys = vec![0; capacity].into_boxed_slice();
        let mut groups_of = vec![0; capacity].into_boxed_slice();
        let shift = u64::BITS - capacity.trailing_zeros();
        for (dst, hops) in routes.iter() {
            let Some(group) = table.group(hops, &mut resolve) else { continue };
            let mut place = place(dst, salt, shift);
            // Linear probing: at a load of a half at most there is always a free place.
            while keys.get(place).is_some_and(|key| *key != 0) {
                place = (place + 1) & (capacity - 1);
            }
            if let (Some(key), Some(of)) = (keys.get_mut(place), groups_of.get_mut(place)) {
                (*key, *of) = (dst.0, group);
            }
        }
        Self {
            by_flow: routes.spreads_flows(),
            keys,
            groups_of,
            shift,
            salt,
            groups: table.groups.into(),
            hops: table.hops.into(),
            neighbours: table.neighbours.into(),
            handles: table.handles.into(),
        }
    }

    /// The neighbours' adjacencies in the table.
    pub fn handles(&self) -> &[H] {
        &self.handles
    }

    /// The destinations that can be forwarded to, in no order.
    pub fn destinations(&self) -> impl Iterator<Item = Address> {
        self.keys.iter().filter(|key| **key != 0).map(|key| Address(*key))
    }

    /// The adjacencies to the neighbours that are next on the way to a destination, the favoured neighbour first.
    pub fn next_hops(&self, dst: Address) -> impl Iterator<Item = &H> {
        let neighbours = self.group(dst).iter().filter_map(|hop| self.neighbours.get(*hop as usize));
        neighbours.flat_map(|neighbour| neighbour.handles.of(&self.handles))
    }

    fn group(&self, dst: Address) -> &[u32] {
        let mut place = place(dst, self.salt, self.shift);
        loop {
            match self.keys.get(place) {
                // A free place is none of the address 0, which a packet may well carry.
                Some(key) if *key == dst.0 && *key != 0 => break,
                Some(0) | None => return &[],
                Some(_) => place = (place + 1) & (self.keys.len() - 1),
            }
        }
        let group = self.groups_of.get(place).and_then(|group| self.groups.get(*group as usize));
        group.map_or(&[], |group| group.of(&self.hops))
    }
}

impl<H: NextHop> ForwardingTable<H> {
    /// Adjacency for a packet to `dst`; `None` if there is no route, or no adjacency on it is up. Packets with the same
    /// `flow`, normally the EID, leave on the same adjacency while it is up.
    pub fn lookup(&self, dst: Address, flow: u64) -> Option<&H> {
        let hops = self.group(dst);
        // EIDs are numbers of one member each: without the destination, flows that have the same at several would go the
        // same way.
        let flow = mix(flow ^ self.salt.rotate_left(32) ^ dst.0);
        if !self.by_flow {
            return hops.iter().find_map(|hop| self.adjacency(*hop, flow));
        }
        let up = hops.iter().filter_map(|hop| Some((self.weight(*hop, flow), self.adjacency(*hop, flow)?)));
        up.max_by_key(|(weight, _)| *weight).map(|(_, handle)| handle)
    }

    /// Preference of a flow for a neighbour (rendezvous hashing). Every flow has its own order of neighbours and takes
    /// the first that is up: only the flows of a neighbour that goes down move.
    fn weight(&self, hop: u32, flow: u64) -> u64 {
        self.neighbours.get(hop as usize).map_or(0, |neighbour| mix(flow ^ neighbour.salt))
    }

    /// The adjacency to a neighbour that a flow favours, of those that are up.
    fn adjacency(&self, hop: u32, flow: u64) -> Option<&H> {
        match self.neighbours.get(hop as usize)?.handles.of(&self.handles) {
            [only] => only.is_up().then_some(only),
            several => {
                let up = several.iter().zip(1..).filter(|(handle, _)| handle.is_up());
                // Proven ones before others; among equals each flow has an order of its own, so only those of one that fails
                // move.
                let rank = |(handle, number): &(&H, u64)| (handle.is_proven(), mix(flow ^ mix(*number)));
                up.max_by_key(rank).map(|(handle, _)| handle)
            }
        }
    }
}

/// The place where the search for a destination begins.
const fn place(dst: Address, salt: u64, shift: u32) -> usize {
    (mix(dst.0 ^ salt) >> shift) as usize
}

/// Spreads the bits of a number over all of it (the finalizer of SplitMix64; Steele, Lea, Flood 2014).
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The lists of a table in the making.
struct Builder<H> {
    groups: Vec<Range>,
    hops: Vec<u32>,
    neighbours: Vec<Neighbour>,
    handles: Vec<H>,
    known_groups: BTreeMap<Vec<u32>, u32>,
    known_neighbours: BTreeMap<Address, Option<u32>>,
}

impl<H> Default for Builder<H> {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            hops: Vec::new(),
            neighbours: Vec::new(),
            handles: Vec::new(),
            known_groups: BTreeMap::new(),
            known_neighbours: BTreeMap::new(),
        }
    }
}

impl<H> Builder<H> {
    /// The number of a combination of next hops; none if none of them can be reached.
    fn group<I>(&mut self, hops: &[Address], resolve: &mut impl FnMut(Address) -> I) -> Option<u32>
    where
        I: IntoIterator<Item = H>,
    {
        let hops: Vec<u32> = hops.iter().filter_map(|hop| self.neighbour(*hop, resolve)).collect();
        if hops.is_empty() {
            return None;
        }
        if let Some(known) = self.known_groups.get(&hops) {
            return Some(*known);
        }
        let number = self.groups.len() as u32;
        self.groups.push(Range { start: self.hops.len() as u32, len: hops.len() as u32 });
        self.hops.extend_from_slice(&hops);
        self.known_groups.insert(hops, number);
        Some(number)
    }

    /// The number of a neighbour; none if there is no adjacency to it.
    fn neighbour<I>(&mut self, address: Address, resolve: &mut impl FnMut(Address) -> I) -> Option<u32>
    where
        I: IntoIterator<Item = H>,
    {
        if let Some(known) = self.known_neighbours.get(&address) {
            return *known;
        }
        let start = self.handles.len();
        self.handles.extend(resolve(address));
        let len = self.handles.len() - start;
        let number = (len > 0).then(|| {
            let handles = Range { start: start as u32, len: len as u32 };
            self.neighbours.push(Neighbour { handles, salt: mix(address.0) });
            self.neighbours.len() as u32 - 1
        });
        self.known_neighbours.insert(address, number);
        number
    }
}

#[cfg(test)]
mod tests;
