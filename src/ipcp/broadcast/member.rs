//! The member and its ports: neighbours that connect, programs that join, and how they go.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec;
use core::sync::atomic::Ordering;
use core::task::Waker;
use core::time::Duration;

use smallvec::SmallVec;

use super::flood::Port as Side;
use super::{Broadcast, KEEPALIVES, NEIGHBOUR_TIMEOUT, neighbour};
use crate::base::buf::PacketBuf;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::flow::{Drive, Endpoint, Event, Outgoing, Port, Sink, Watcher};
use crate::ipcp::{
    Attempt, Component, Connection, ConnectionRefused, Info, Ipcp, JoinError, Lookup, Member, RegisterError, Request,
    RequestError,
};
use crate::types::device::SendError;
use crate::types::id::N1FlowId;
use crate::types::layer::LayerConfig;
use crate::types::name::NameHash;
use crate::types::tree::Tree;
use crate::wire::cep;

/// Time limit for delivering what was written to an N-1 flow that is given up.
const LINGER: Duration = Duration::from_secs(1);

/// Receiver of its N-1 flows' packets.
pub(super) fn sink(me: &Weak<Broadcast>) -> Arc<dyn Sink> {
    Arc::new(Tap(Weak::clone(me)))
}

/// Holds no member alive: the flows hold it, and the member holds the flows.
struct Tap(Weak<Broadcast>);

impl Sink for Tap {
    fn deliver(&self, token: u64, now: Instant, pkts: &mut VecDeque<PacketBuf>) {
        if let Some(broadcast) = self.0.upgrade() {
            broadcast.spread(now, N1FlowId(token as u32), pkts);
        }
    }
}

impl Watcher for Tap {
    fn notify(&self, token: u64, event: Event) {
        if let (Event::Down | Event::Deallocated | Event::PeerGone, Some(broadcast)) = (event, self.0.upgrade()) {
            broadcast.lose(N1FlowId(token as u32));
        }
    }
}

/// The way down for a program that has joined.
struct Joined {
    broadcast: Weak<Broadcast>,
    id: N1FlowId,
}

impl Port for Joined {
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        let Some(broadcast) = self.broadcast.upgrade() else { return Err(SendError::Down) };
        pkts.iter().for_each(|pkt| broadcast.spread_one(now, self.id, pkt));
        Ok(())
    }

    fn mtu(&self) -> usize {
        self.broadcast.upgrade().map_or(0, |broadcast| broadcast.mtu())
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.broadcast.upgrade()?.device()
    }

    fn release(&self, _now: Instant) {
        if let Some(broadcast) = self.broadcast.upgrade() {
            broadcast.remove(self.id);
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // One that never got to an endpoint.
        self.release(Instant::ZERO);
    }
}

impl Broadcast {
    /// An N-1 flow is lost.
    fn lose(&self, id: N1FlowId) {
        if let Some(endpoint) = self.remove(id) {
            self.counters.lost.count();
            let ipcp = &self.info.name;
            record!(endpoint.panics(), Broadcast, Warn, [ipcp = ipcp, n1_flow = id], "N-1 flow {id} of {ipcp:?} lost");
            endpoint.abort();
            if let Some(connections) = self.connections.upgrade() {
                connections.lost(self.clock.now(), id);
            }
        }
    }
}

impl Ipcp for Broadcast {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, _now: Instant, _hash: NameHash) -> Result<(), RegisterError> {
        Err(RegisterError::NoNames)
    }

    fn unregister(&self, _now: Instant, _hash: &NameHash) {}

    fn lookup(&self, _now: Instant, _hash: &NameHash, _waker: &Waker) -> Lookup {
        Lookup::Unknown
    }

    fn request(&self, _now: Instant, _request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        Err(RequestError::Unknown)
    }

    fn join(&self, now: Instant, endpoint: &Arc<Endpoint>) -> Result<Arc<dyn Port>, JoinError> {
        let id = self.add(now, Side::Application, endpoint).map_err(|full| JoinError::Full(full.0))?;
        let port = Joined { broadcast: Weak::clone(&self.me), id };
        // A shutdown under way may have looked before there was something to find; dropping the port leaves again.
        if self.is_down() { Err(JoinError::Down) } else { Ok(Arc::new(port)) }
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        let neighbours: SmallVec<[_; 16]> = self.ports.read().values().filter_map(neighbour).collect();
        neighbours.iter().find_map(|endpoint| endpoint.device())
    }

    fn shutdown(&self, _now: Instant) {
        self.down.store(true, Ordering::Release);
        let ports = core::mem::take(&mut *self.ports.write());
        for (id, (side, endpoint)) in ports {
            self.flood.lock().remove(id);
            match side {
                // It is told until it has heard it.
                Side::Neighbour => endpoint.close(LINGER),
                Side::Application => endpoint.mark_down(Event::Deallocated),
            }
        }
    }

    fn rib(&self, _now: Instant) -> Tree {
        self.tree()
    }
}

impl Member for Broadcast {
    fn component(&self, component: Component) -> Option<cep::Message> {
        let own = || cep::Message { versions: vec![KEEPALIVES], ..cep::Message::broadcast() };
        (component == Component::DataTransfer).then(own)
    }

    fn layer_config(&self) -> LayerConfig {
        self.layer.clone()
    }

    fn connected(&self, now: Instant, connection: Connection) -> Result<N1FlowId, ConnectionRefused> {
        let Connection { component, endpoint, versions, early, .. } = connection;
        if component != Component::DataTransfer {
            return Err(ConnectionRefused::Component);
        }
        let id = self.add(now, Side::Neighbour, &endpoint).map_err(|full| ConnectionRefused::Full(full.0))?;
        if self.is_down() {
            // A shutdown under way may have looked before there was something to find.
            self.remove(id);
            return Err(ConnectionRefused::Down);
        }
        if versions.contains(&KEEPALIVES) {
            endpoint.set_timeout(now, NEIGHBOUR_TIMEOUT);
        }
        self.spread(now, id, &mut early.into());
        endpoint.attach(&self.sink, u64::from(id.0));
        Ok(id)
    }

    fn disconnect(&self, _now: Instant, flow: N1FlowId) {
        if let Some(endpoint) = self.remove(flow) {
            endpoint.close(LINGER);
        }
    }

    fn run(&self, _now: Instant) {}

    fn is_connected(&self, flow: N1FlowId) -> bool {
        self.ports.read().contains_key(&flow)
    }

    fn as_ipcp(self: Arc<Self>) -> Arc<dyn Ipcp> {
        self
    }
}
