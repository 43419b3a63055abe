//! The member and its N-1 flows: how they come, what arrives on them, how they go.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::task::{Poll, Waker};
use core::time::Duration;

use super::control::Management;
use super::dt::adjacency::Adjacency;
use super::{MTU_WITHOUT_NEIGHBOURS, Punt, Unicast, count};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::directory::Found;
use crate::flow::{Endpoint, Event, Sink, Watcher};
use crate::ipcp::connect::address;
use crate::ipcp::{Component, Connection, ConnectionRefused, Ipcp, Member};
use crate::routing::Dialect;
use crate::types::id::{Address, Eid, N1FlowId};
use crate::types::layer::{LayerConfig, LayerKind};
use crate::types::name::NameHash;
use crate::wire::cep::{self, Terms};

/// How long what was written to an N-1 flow may take to be delivered when the flow is given up.
const LINGER: Duration = Duration::from_secs(1);

/// For so long packets of others are passed on by a member that leaves: until its neighbours have heard, even if they must
/// be told twice, and what they had sent before has arrived.
const LAST_PACKETS: Duration = Duration::from_millis(500);

/// For so long after its first management connection a member is new to the layer.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// What wakes the member when its alarm rings.
pub(super) fn ring(me: &Weak<Unicast>) -> Waker {
    Waker::from(Arc::new(Ring(Weak::clone(me))))
}

/// Where its N-1 flows deliver.
pub(super) fn sink(me: &Weak<Unicast>) -> Arc<dyn Sink> {
    Arc::new(Tap(Weak::clone(me)))
}

struct Ring(Weak<Unicast>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        if let Some(unicast) = self.0.upgrade() {
            unicast.run(unicast.clock.now());
        }
    }
}

/// Holds no member alive: the flows hold it, and the member holds the flows.
struct Tap(Weak<Unicast>);

impl Sink for Tap {
    fn deliver(&self, token: u64, now: Instant, pkts: &mut VecDeque<PacketBuf>) {
        let (Some(unicast), id) = (self.0.upgrade(), N1FlowId(token as u32)) else { return };
        let adjacency = unicast.adjacencies.read().get(&id).cloned();
        match adjacency {
            Some(adjacency) => unicast.receive(now, &adjacency, pkts),
            None => unicast.receive_link_state(now, id, pkts),
        }
    }
}

impl Watcher for Tap {
    fn notify(&self, token: u64, event: Event) {
        if let (Event::Down | Event::Deallocated | Event::PeerGone, Some(unicast)) = (event, self.0.upgrade()) {
            unicast.lose(N1FlowId(token as u32));
        }
    }
}

impl Unicast {
    fn receive_link_state(&self, now: Instant, id: N1FlowId, pkts: &mut VecDeque<PacketBuf>) {
        let mut kept = false;
        for pkt in pkts.drain(..) {
            kept |= self.keep(id, Punt::LinkState(id, pkt));
        }
        if kept {
            self.handle_control(now);
        }
    }

    /// An N-1 flow is lost.
    pub(super) fn lose(&self, id: N1FlowId) {
        let now = self.clock.now();
        if let Some(endpoint) = self.remove(now, id) {
            count(&self.counters.lost);
            endpoint.abort();
            self.handle_control(now);
            if let Some(connections) = self.connections.upgrade() {
                connections.lost(now, id);
            }
        }
    }

    /// Forgets an N-1 flow, with what routing knows from it.
    fn remove(&self, now: Instant, id: N1FlowId) -> Option<Arc<Endpoint>> {
        self.doubts.lock().forget(id);
        let adjacency = self.adjacencies.write().remove(&id);
        if let Some(adjacency) = adjacency {
            // From this moment on no packet goes there, whatever the forwarding table says.
            adjacency.set_up(false);
            adjacency.clear();
            self.note_mtu();
            self.adjacency_gone(now, id);
            return Some(Arc::clone(&adjacency.endpoint));
        }
        let management = self.managements.write().remove(&id)?;
        self.management_gone(now, id);
        Some(management.endpoint)
    }

    fn note_mtu(&self) {
        let mtu = self.adjacencies.read().values().map(|a| a.max_packet).min();
        self.mtu.store(mtu.unwrap_or(MTU_WITHOUT_NEIGHBOURS), Ordering::Relaxed);
    }

    /// Somebody else in the layer has our address. A new member takes another one: its connections are made anew and
    /// its names registered again, the flows that it has are lost. One that has been a member for a while only counts.
    pub(super) fn address_conflict(&self, now: Instant) {
        count(&self.counters.conflicts);
        let young = now.as_nanos() < self.settled.load(Ordering::Relaxed);
        let drawn = {
            let mut rng = self.eids.lock();
            address::draw(&mut rng, |address| address == self.address() || self.knows(address))
        };
        let Some(new) = drawn.filter(|_| young) else { return };
        self.address.store(new.0, Ordering::Release);
        let split = self.eids.lock().split("another address");
        self.begin_anew(now, new, split);
        for flow in self.flows.values() {
            flow.mark_down();
        }
        let adjacencies: Vec<_> = self.adjacencies.read().keys().copied().collect();
        let managements: Vec<_> = self.managements.read().keys().copied().collect();
        for id in adjacencies.into_iter().chain(managements) {
            self.lose(id);
        }
    }

    /// Begins to leave the layer. The other ends of flows are told while there is a way to them; then links are taken back,
    /// so that packets of others take another way. Those that are on their way here are still passed on, until the moment
    /// that is returned. `None` if there is nobody whose packets could pass.
    pub(super) fn begin_to_leave(&self, now: Instant) -> Option<Instant> {
        if self.down.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.names.lock().clear();
        for flow in self.flows.values() {
            flow.give_up();
        }
        self.withdraw_all(now);
        let adjacencies: Vec<_> = self.adjacencies.read().keys().copied().collect();
        self.take_back_links(now, &adjacencies);
        self.handle_control(now);
        self.wake_lookups();
        (adjacencies.len() > 1).then(|| now + LAST_PACKETS)
    }

    /// Leaves the layer. The neighbours are told until they have heard it.
    pub(super) fn end(&self, now: Instant) {
        self.begin_to_leave(now);
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        // Data transfer first: management still carries the news.
        let adjacencies: Vec<_> = self.adjacencies.read().keys().copied().collect();
        let managements: Vec<_> = self.managements.read().keys().copied().collect();
        for id in adjacencies.into_iter().chain(managements) {
            self.disconnect(now, id);
        }
        let table = core::mem::take(&mut *self.table.write());
        drop(table);
        self.inbox.lock().clear();
    }
}

impl Member for Unicast {
    fn component(&self, component: Component) -> Option<cep::Message> {
        Some(self.introduction(match component {
            Component::Management => cep::Message::management(self.address()),
            Component::DataTransfer => cep::Message::data_transfer(self.address()),
        }))
    }

    fn layer_config(&self) -> LayerConfig {
        let mut unicast = self.unicast;
        // Whoever enrols with us begins with us.
        unicast.directory.peer = self.address();
        LayerConfig { kind: LayerKind::Unicast(unicast), ..self.layer.clone() }
    }

    fn connected(&self, now: Instant, connection: Connection) -> Result<N1FlowId, ConnectionRefused> {
        let peer = connection.peer;
        if !self.is_peer_address(peer) {
            return Err(ConnectionRefused::Address(peer));
        }
        let connections = self.adjacencies.read().len() + self.managements.read().len();
        if connections >= self.config.max_connections {
            return Err(ConnectionRefused::Full(self.config.max_connections));
        }
        let id = N1FlowId(self.next_n1.fetch_add(1, Ordering::Relaxed));
        let incarnation = Terms::of(&connection.versions).map(|terms| terms.incarnation);
        match connection.component {
            Component::DataTransfer => {
                let adjacency = Adjacency::new(self, id, &connection);
                self.adjacencies.write().insert(id, adjacency);
                self.note_mtu();
                self.adjacency_new(now, id, peer);
            }
            Component::Management => {
                let endpoint = Arc::clone(&connection.endpoint);
                self.settled.fetch_min((now + SETTLED_AFTER).as_nanos(), Ordering::Relaxed);
                let most = endpoint.max_packet();
                self.managements.write().insert(id, Management { endpoint, peer, incarnation });
                let dialect = if incarnation.is_some() { Dialect::Confirming } else { Dialect::Plain };
                self.management_new(now, id, peer, dialect, most);
            }
        }
        if self.is_down() {
            // A shutdown under way may have looked before there was something to find.
            self.remove(now, id);
            return Err(ConnectionRefused::Down);
        }
        self.watch_silence(now, &connection);
        if let Some(incarnation) = incarnation {
            self.doubt_former(now, id, peer, incarnation);
        }
        let Connection { endpoint, early, .. } = connection;
        let mut early: VecDeque<_> = early.into();
        if !early.is_empty() {
            self.sink.deliver(u64::from(id.0), now, &mut early);
        }
        endpoint.attach(&self.sink, u64::from(id.0));
        self.handle_control(now);
        Ok(id)
    }

    fn disconnect(&self, now: Instant, flow: N1FlowId) {
        if let Some(endpoint) = self.remove(now, flow) {
            self.handle_control(now);
            endpoint.close(LINGER);
        }
    }

    fn run(&self, now: Instant) {
        self.alarm.rang();
        self.release_paced(now);
        self.release_queued(now);
        self.settle_doubts(now);
        self.control_timeouts(now);
        self.handle_control(now);
    }

    fn is_connected(&self, flow: N1FlowId) -> bool {
        self.adjacencies.read().contains_key(&flow) || self.managements.read().contains_key(&flow)
    }

    fn next_hop(&self, destination: Address, flow: Eid) -> Option<Address> {
        self.table().lookup(destination, flow.0).map(|adjacency| adjacency.peer)
    }

    fn locate(&self, now: Instant, hash: &NameHash, waker: &Waker) -> Poll<Vec<Address>> {
        let found = self.find(now, hash, waker);
        self.handle_control(now);
        match found {
            Found::Pending if !self.is_down() => Poll::Pending,
            Found::Known(addresses) => Poll::Ready(addresses),
            Found::Pending | Found::Unknown => Poll::Ready(Vec::new()),
        }
    }

    fn as_ipcp(self: Arc<Self>) -> Arc<dyn Ipcp> {
        self
    }
}
