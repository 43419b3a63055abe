//! Data transfer: every packet of the layer passes here, on the thread that has it.
//!
//! A packet from an N-1 flow is for somebody else, and then goes on to the next hop with two bytes of its header changed;
//! or for a flow that ends here, and goes up; or for a component of this IPCP, and waits for the control plane. Nothing is
//! copied or allocated, and no lock is taken that all flows share: the forwarding table is fetched once for all packets
//! that came together, as are the locks of a flow for those that follow each other in it.
//!
//! A packet shorter than its header, with a time to live that has run out, without a route, for a flow or a component that
//! there is not, is dropped and counted; nobody is told, because the header does not say who sent it.

pub(super) mod adjacency;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use self::adjacency::{Adjacency, cube_of};
use super::fa::FaFlow;
use super::{Punt, Unicast, count};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::{BURST, Outgoing};
use crate::types::id::{Address, Eid, N1FlowId};
use crate::types::qos::QosCube;
use crate::wire::dt::{DIRECTORY, FLOW_ALLOCATOR, HeaderMut, LayerSizes, Pci};

/// Packets of one next hop and cube that follow each other.
#[derive(Default)]
struct Onward {
    to: Option<(Arc<Adjacency>, QosCube)>,
    pkts: Outgoing,
}

impl Onward {
    fn flush(&mut self, now: Instant) {
        if let Some((to, cube)) = &self.to
            && !self.pkts.is_empty()
        {
            to.send(now, *cube, &mut self.pkts);
        }
    }

    /// Sends what there is, and what the device may have held back to send in one go: nobody waits for a packet in
    /// transit, so nobody else would.
    fn finish(&mut self, now: Instant) {
        self.flush(now);
        if let Some((to, _)) = self.to.take() {
            to.endpoint.flush();
        }
    }

    fn push(&mut self, now: Instant, to: &Arc<Adjacency>, cube: QosCube, pkt: PacketBuf) {
        let same = self.to.as_ref().is_some_and(|(t, c)| Arc::ptr_eq(t, to) && *c == cube);
        if !same {
            self.finish(now);
        } else if self.pkts.len() >= BURST {
            self.flush(now);
        }
        if !same {
            self.to = Some((Arc::clone(to), cube));
        }
        self.pkts.push(pkt);
    }
}

/// Packets of one flow that follow each other, and the congestion that each has met.
#[derive(Default)]
struct Upward {
    to: Option<(Eid, Arc<FaFlow>)>,
    pkts: Outgoing,
    ecn: [u8; BURST],
}

impl Upward {
    fn flush(&mut self, now: Instant) {
        if let Some((_, flow)) = &self.to
            && !self.pkts.is_empty()
        {
            let ecn = self.ecn.get(..self.pkts.len()).unwrap_or_default();
            flow.receive(now, &mut self.pkts, ecn);
        }
    }

    /// Whether packets of `eid` are being collected.
    fn is_for(&self, eid: Eid) -> bool {
        self.to.as_ref().is_some_and(|(e, _)| *e == eid)
    }

    fn push(&mut self, now: Instant, ecn: u8, pkt: PacketBuf) {
        if self.pkts.len() >= BURST {
            self.flush(now);
        }
        if let Some(slot) = self.ecn.get_mut(self.pkts.len()) {
            *slot = ecn;
        }
        self.pkts.push(pkt);
    }
}

impl Unicast {
    /// Takes packets that came over the adjacency `from`. Those that are done with stay in `pkts`.
    pub(super) fn receive(&self, now: Instant, from: &Adjacency, pkts: &mut VecDeque<PacketBuf>) {
        let table = self.table();
        let own = self.address();
        let (mut onward, mut upward) = (Onward::default(), Upward::default());
        let mut punted = false;
        from.note_received(pkts);
        for _ in 0..pkts.len() {
            let Some(mut pkt) = pkts.pop_front() else { break };
            let Ok((pci, _)) = Pci::parse(self.sizes, &pkt) else {
                count(&self.counters.short);
                pkts.push_back(pkt);
                continue;
            };
            if pci.dst != own {
                match table.lookup(pci.dst, pci.eid.0) {
                    Some(next) if pci.ttl > 1 => {
                        if let Ok(mut header) = HeaderMut::new(self.sizes, &mut pkt) {
                            header.hop();
                        }
                        onward.push(now, next, cube_of(pci.qos), pkt);
                        continue;
                    }
                    Some(_) => from.note_expired(),
                    None if pci.ttl <= 1 => from.note_expired(),
                    None => from.note_unroutable(),
                }
                pkts.push_back(pkt);
                continue;
            }
            pkt.pull(self.sizes.header_len());
            if pci.eid.is_component() {
                punted |= self.punt(from.id, pci.eid, pkt);
            } else if upward.is_for(pci.eid) || self.find_flow(now, pci.eid, &mut upward) {
                upward.push(now, pci.ecn, pkt);
            } else {
                count(&self.counters.unknown_eid);
                pkts.push_back(pkt);
            }
        }
        onward.finish(now);
        upward.flush(now);
        if punted {
            self.handle_control(now);
        }
    }

    /// Has `upward` collect packets of `eid`, if there is such a flow.
    fn find_flow(&self, now: Instant, eid: Eid, upward: &mut Upward) -> bool {
        let Some(flow) = self.flow(eid) else { return false };
        upward.flush(now);
        upward.to = Some((eid, flow));
        true
    }

    /// Keeps a packet for the component `eid`. `false` if it was dropped.
    fn punt(&self, from: N1FlowId, eid: Eid, pkt: PacketBuf) -> bool {
        match eid {
            FLOW_ALLOCATOR => self.keep(from, Punt::FlowAllocator(pkt)),
            DIRECTORY => self.keep(from, Punt::Directory(pkt)),
            _ => {
                count(&self.counters.no_component);
                false
            }
        }
    }

    /// Sends packets that begin here: to `eid` at `dst`, which is somebody else. `false`, and they stay, if there is no
    /// route. Packets that are done with stay in `pkts`.
    pub(super) fn originate(&self, now: Instant, dst: Address, cube: QosCube, eid: Eid, pkts: &mut Outgoing) -> bool {
        let table = self.table();
        let Some(next) = table.lookup(dst, eid.0) else {
            self.counters.no_route.fetch_add(pkts.len() as u64, Ordering::Relaxed);
            return false;
        };
        let pci = Pci { dst, qos: cube.number(), ttl: self.max_ttl, ecn: 0, eid };
        let before = pkts.len();
        pkts.retain(|pkt| push_header(self.sizes, &pci, pkt));
        if pkts.len() < before {
            // More layers than there is head room for.
            self.counters.no_headroom.fetch_add((before - pkts.len()) as u64, Ordering::Relaxed);
        }
        if eid.is_component() {
            next.note_own(cube, pkts);
        }
        next.send(now, cube, pkts);
        if eid.is_component() {
            next.endpoint.flush();
        }
        true
    }

    /// As [`originate`](Self::originate), for one message of a component.
    pub(super) fn originate_message(&self, now: Instant, dst: Address, eid: Eid, bytes: &[u8]) -> bool {
        self.originate_message_in(now, dst, QosCube::BestEffort, eid, bytes)
    }

    /// The same in another cube than best effort.
    pub(super) fn originate_message_in(
        &self,
        now: Instant,
        dst: Address,
        cube: QosCube,
        eid: Eid,
        bytes: &[u8],
    ) -> bool {
        let mut pkts = Outgoing::new();
        let mut pkt = self.cache.lock().take(bytes.len());
        if pkt.extend_from_slice(bytes).is_none() {
            return false;
        }
        pkts.push(pkt);
        let sent = self.originate(now, dst, cube, eid, &mut pkts);
        let mut cache = self.cache.lock();
        pkts.drain(..).for_each(|pkt| cache.put(pkt));
        sent
    }

    /// Bytes that a packet of an N+1 flow may have.
    pub(super) fn mtu(&self) -> usize {
        self.mtu.load(Ordering::Relaxed).saturating_sub(self.sizes.header_len())
    }
}

fn push_header(sizes: LayerSizes, pci: &Pci, pkt: &mut PacketBuf) -> bool {
    pkt.push(sizes.header_len()).is_some_and(|header| pci.emit(sizes, header).is_ok())
}
