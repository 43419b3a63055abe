//! A model of the C reference's link-state routing, with its faults, after the description of its behaviour.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::base::time::Instant;
use crate::types::id::{Address, N1FlowId};
use crate::wire::link_state::Lsu;

const UPDATE: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(60);

/// A management flow. Between connecting and adding it to the set that is read, packets wait in it.
#[derive(Default)]
struct Management {
    address: u64,
    added: bool,
    waiting: VecDeque<Vec<u8>>,
}

pub(super) struct Reference {
    pub(super) address: u64,
    /// (dst, src) → seqno, stamp.
    pub(super) lsdb: BTreeMap<(u64, u64), (u64, Instant)>,
    data: BTreeMap<N1FlowId, u64>,
    management: BTreeMap<N1FlowId, Management>,
    pub(super) out: VecDeque<(N1FlowId, [u8; 24])>,
    next_update: Instant,
}

impl Reference {
    pub(super) fn new(address: u64, now: Instant) -> Self {
        Self {
            address,
            lsdb: BTreeMap::new(),
            data: BTreeMap::new(),
            management: BTreeMap::new(),
            out: VecDeque::new(),
            next_update: now + UPDATE,
        }
    }

    pub(super) fn data_up(&mut self, now: Instant, flow: N1FlowId, neighbour: u64) {
        self.tell_all(Lsu { dst: Address(neighbour), src: Address(self.address), seqno: 0 }.to_bytes(), None);
        self.data.insert(flow, neighbour);
        self.lsdb.entry((neighbour, self.address)).or_insert((0, now));
    }

    /// Called when the flow is deallocated; it takes no notice of a flow that is only down.
    pub(super) fn data_down(&mut self, flow: N1FlowId) {
        if let Some(neighbour) = self.data.remove(&flow) {
            self.lsdb.remove(&(neighbour, self.address));
        }
    }

    /// The flow is connected; packets may arrive.
    pub(super) fn management_up(&mut self, flow: N1FlowId, neighbour: u64) {
        self.management.insert(flow, Management { address: neighbour, ..Management::default() });
    }

    /// The flow is added to the set: one event for all that waits, and the replication.
    pub(super) fn management_added(&mut self, now: Instant, flow: N1FlowId) {
        let Some(m) = self.management.get_mut(&flow) else { return };
        m.added = true;
        self.out.extend(self.lsdb.iter().map(|((dst, src), (seqno, _))| {
            (flow, Lsu { dst: Address(*dst), src: Address(*src), seqno: *seqno }.to_bytes())
        }));
        self.read_one(now, flow);
    }

    pub(super) fn management_down(&mut self, flow: N1FlowId) {
        self.management.remove(&flow);
    }

    pub(super) fn handle_packet(&mut self, now: Instant, flow: N1FlowId, bytes: &[u8]) {
        let Some(m) = self.management.get_mut(&flow) else { return };
        m.waiting.push_back(bytes.to_vec());
        if m.added {
            self.read_one(now, flow);
        }
    }

    /// One packet an event.
    fn read_one(&mut self, now: Instant, flow: N1FlowId) {
        let Some(bytes) = self.management.get_mut(&flow).and_then(|m| m.waiting.pop_front()) else { return };
        let Ok(lsu) = Lsu::parse(&bytes) else { return };
        assert!(lsu.src != lsu.dst, "this would corrupt its memory");
        let entry = self.lsdb.entry((lsu.dst.0, lsu.src.0)).or_insert((0, Instant::FAR_FUTURE));
        let is_new = entry.1 == Instant::FAR_FUTURE;
        if is_new || lsu.seqno > entry.0 {
            *entry = (lsu.seqno, now);
            self.tell_all(lsu.to_bytes(), Some(flow));
        }
    }

    fn tell_all(&mut self, bytes: [u8; 24], except: Option<N1FlowId>) {
        let flows = self.management.iter().filter(|(flow, m)| m.added && Some(**flow) != except);
        self.out.extend(flows.map(|(flow, _)| (*flow, bytes)));
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.next_update
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now < self.next_update {
            return;
        }
        self.next_update = now + UPDATE;
        // It counts whole seconds.
        self.lsdb.retain(|_, (_, stamp)| now.since(*stamp) <= TIMEOUT + Duration::from_secs(1));
        let mut own = Vec::new();
        for ((dst, src), (seqno, stamp)) in &mut self.lsdb {
            if *src == self.address {
                *seqno = seqno.wrapping_add(1);
                *stamp = now;
                own.push(Lsu { dst: Address(*dst), src: Address(*src), seqno: *seqno }.to_bytes());
            }
        }
        own.into_iter().for_each(|bytes| self.tell_all(bytes, None));
    }

    /// Packets that wait although they were announced by an event.
    pub(super) fn lag(&self) -> usize {
        self.management.values().filter(|m| m.added).map(|m| m.waiting.len()).sum()
    }

    /// Neighbours over management flows that are read.
    pub(super) fn listens_to(&self) -> Vec<u64> {
        self.management.values().filter(|m| m.added).map(|m| m.address).collect()
    }

    /// The next hop to every destination: the lowest-addressed vertex one hop nearer counts.
    pub(super) fn routes(&self) -> BTreeMap<u64, u64> {
        let both = |a: u64, b: u64| self.lsdb.contains_key(&(a, b)) && self.lsdb.contains_key(&(b, a));
        let neighbours = |of: u64| -> Vec<u64> {
            self.lsdb.keys().filter(|(dst, src)| *src == of && both(*dst, *src)).map(|(dst, _)| *dst).collect()
        };
        let mut found: BTreeMap<u64, (u32, u64)> = BTreeMap::from([(self.address, (0, self.address))]);
        let mut level = alloc::vec![self.address];
        for distance in 1.. {
            level.sort_unstable();
            let mut next = Vec::new();
            for &vertex in &level {
                for n in neighbours(vertex) {
                    let via = if distance == 1 { n } else { found[&vertex].1 };
                    if found.try_insert_new(n, (distance, via)) {
                        next.push(n);
                    }
                }
            }
            if next.is_empty() {
                break;
            }
            level = next;
        }
        found.remove(&self.address);
        found.retain(|_, (_, via)| self.data.values().any(|n| n == via));
        found.into_iter().map(|(dst, (_, via))| (dst, via)).collect()
    }
}

trait TryInsertNew<K, V> {
    fn try_insert_new(&mut self, key: K, value: V) -> bool;
}

impl<K: Ord, V> TryInsertNew<K, V> for BTreeMap<K, V> {
    fn try_insert_new(&mut self, key: K, value: V) -> bool {
        let len = self.len();
        self.entry(key).or_insert(value);
        self.len() > len
    }
}
