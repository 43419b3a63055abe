//! The member's N-1 flows: how they come and go.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::Control;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::ipcp::{Component, Connection, ConnectionRefused};
use crate::routing::Dialect;
use crate::types::id::{Address, N1FlowId};
use crate::wire::cep::Terms;

/// An N-1 flow to a neighbour's management component.
pub(super) struct Management {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) peer: Address,
    /// Incarnation of the neighbour when it was connected; `None` for a reference.
    pub(super) incarnation: Option<u32>,
}

impl Control {
    /// Takes an N-1 flow over. Its packets are not received yet.
    ///
    /// # Errors
    /// [`ConnectionRefused`].
    pub(in crate::ipcp::unicast) fn connect(
        &self,
        now: Instant,
        connection: &Connection,
    ) -> Result<N1FlowId, ConnectionRefused> {
        let peer = connection.peer;
        if !self.shared.is_peer_address(peer) {
            return Err(ConnectionRefused::Address(peer));
        }
        let most = self.shared.config.max_connections;
        if self.connection_count() >= most {
            return Err(ConnectionRefused::Full(most));
        }
        // Last, because it asks all that is below.
        if connection.endpoint.stands_on(self.shared.key()) {
            return Err(ConnectionRefused::Loop);
        }
        let id = N1FlowId(self.next.fetch_add(1, Ordering::Relaxed));
        let incarnation = Terms::of(&connection.versions).map(|terms| terms.incarnation);
        match connection.component {
            Component::DataTransfer => {
                self.data.add(id, connection);
                // The forwarding table follows when the machines have their turn.
                self.machines.lock().routing.adjacency_up(now, id, peer);
            }
            Component::Management => {
                let endpoint = Arc::clone(&connection.endpoint);
                let (most, management) = (endpoint.max_packet(), Management { endpoint, peer, incarnation });
                self.settling.begin(now);
                self.managements.write().insert(id, management);
                let dialect = if incarnation.is_some() { Dialect::Confirming } else { Dialect::Plain };
                let mut machines = self.machines.lock();
                machines.routing.management_up(now, id, peer, dialect);
                machines.routing.limit_packets(id, most);
            }
        }
        if self.shared.is_down() {
            // A shutdown under way may have looked before there was something to find.
            self.remove(now, id);
            return Err(ConnectionRefused::Down);
        }
        self.watch_silence(now, connection);
        if let Some(incarnation) = incarnation {
            self.doubt_former(now, id, peer, incarnation);
        }
        Ok(id)
    }

    /// Looks, once in a while, how large packets the N-1 flows take now.
    pub(super) fn look_at_sizes(&self, now: Instant) {
        if !self.data.look_at_sizes(now) {
            return;
        }
        let managements = self.managements.read();
        let ends: Vec<_> = managements.iter().map(|(id, m)| (*id, Arc::clone(&m.endpoint))).collect();
        drop(managements);
        let sizes: Vec<_> = ends.iter().map(|(id, endpoint)| (*id, endpoint.max_packet())).collect();
        let mut machines = self.machines.lock();
        sizes.into_iter().for_each(|(id, most)| machines.routing.limit_packets(id, most));
    }

    /// An N-1 flow is lost.
    pub(in crate::ipcp::unicast) fn lose(&self, now: Instant, id: N1FlowId) {
        if let Some(endpoint) = self.remove(now, id) {
            self.counters.lost.count();
            let (ipcp, silent) = (&self.shared.info.name, endpoint.is_peer_gone());
            let why = if silent { "the neighbour is silent" } else { "the flow ended" };
            record!(
                self.panics,
                Neighbour,
                Warn,
                [ipcp = ipcp, n1_flow = id, reason = why],
                "N-1 flow {id} of {ipcp:?} lost: {why}"
            );
            endpoint.abort();
            self.handle(now);
            self.flows.tell_ways(now);
            if let Some(keeper) = self.keeper.upgrade() {
                keeper.lost(now, id);
            }
        }
    }

    /// Forgets an N-1 flow, with what routing knows from it.
    pub(in crate::ipcp::unicast) fn remove(&self, now: Instant, id: N1FlowId) -> Option<Arc<Endpoint>> {
        self.doubts.lock().forget(id);
        if let Some(adjacency) = self.data.remove(id) {
            self.machines.lock().routing.adjacency_down(now, id);
            self.flows.lose_way(id);
            return Some(Arc::clone(&adjacency.endpoint));
        }
        let management = self.managements.write().remove(&id)?;
        self.machines.lock().routing.management_down(now, id);
        Some(management.endpoint)
    }

    /// Takes back the links that the adjacencies carry. Returns their number.
    pub(in crate::ipcp::unicast) fn take_back_links(&self, now: Instant) -> usize {
        let adjacencies = self.data.neighbours();
        let mut machines = self.machines.lock();
        adjacencies.iter().for_each(|(id, _)| machines.routing.adjacency_down(now, *id));
        adjacencies.len()
    }

    /// Returns all N-1 flows, those of data transfer first: while these are closed, management still carries the news.
    pub(in crate::ipcp::unicast) fn connections(&self) -> Vec<N1FlowId> {
        let adjacencies = self.data.neighbours().into_iter().map(|(id, _)| id);
        adjacencies.chain(self.managements.read().keys().copied()).collect()
    }

    pub(in crate::ipcp::unicast) fn is_connected(&self, id: N1FlowId) -> bool {
        self.data.adjacency(id).is_some() || self.managements.read().contains_key(&id)
    }

    /// Returns the number of N-1 flows.
    pub(super) fn connection_count(&self) -> usize {
        let managements = self.managements.read().len();
        self.data.len() + managements
    }

    pub(super) fn n1_endpoint(&self, id: N1FlowId) -> Option<Arc<Endpoint>> {
        let adjacency = self.data.adjacency(id).map(|a| Arc::clone(&a.endpoint));
        adjacency.or_else(|| self.managements.read().get(&id).map(|m| Arc::clone(&m.endpoint)))
    }

    /// The neighbours of the management flows.
    pub(in crate::ipcp::unicast) fn management_peers(&self) -> Vec<Address> {
        self.managements.read().values().map(|m| m.peer).collect()
    }
}
