//! The member as its neighbours and the stack see it: what arrives on its N-1 flows, and how it leaves.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::task::{Poll, Waker};
use core::time::Duration;

use super::Unicast;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::directory::Found;
use crate::flow::{Event, Sink, Watcher};
use crate::ipcp::connect::address::Met;
use crate::ipcp::{Component, Connection, ConnectionRefused, Ipcp, Member};
use crate::types::id::{Address, Eid, N1FlowId};
use crate::types::layer::{LayerConfig, LayerKind};
use crate::types::name::NameHash;
use crate::wire::cep;

/// Time limit for delivering what was written to an N-1 flow that is given up.
const LINGER: Duration = Duration::from_secs(1);

/// Time for which a leaving member passes on packets of others: until its neighbours have heard, even if they must be
/// told twice, and what they had sent before has arrived.
const LAST_PACKETS: Duration = Duration::from_millis(500);

/// Waker that has the member's alarm served.
pub(super) fn ring(me: &Weak<Unicast>) -> Waker {
    Waker::from(Arc::new(Ring(Weak::clone(me))))
}

/// Receiver of its N-1 flows' packets.
pub(super) fn sink(me: &Weak<Unicast>) -> Arc<dyn Sink> {
    Arc::new(Tap(Weak::clone(me)))
}

struct Ring(Weak<Unicast>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        if let Some(unicast) = self.0.upgrade() {
            unicast.run(unicast.shared.clock.now());
        }
    }
}

/// Holds no member alive: the flows hold it, and the member holds the flows.
struct Tap(Weak<Unicast>);

impl Sink for Tap {
    fn deliver(&self, token: u64, now: Instant, pkts: &mut VecDeque<PacketBuf>) {
        let (Some(unicast), id) = (self.0.upgrade(), N1FlowId(token as u32)) else { return };
        let kept = match unicast.data.adjacency(id) {
            Some(adjacency) => unicast.data.handle_packets(now, &adjacency, pkts, &unicast.control),
            None => unicast.control.keep_link_state(id, pkts),
        };
        if kept {
            unicast.control.handle(now);
        }
    }
}

impl Watcher for Tap {
    fn notify(&self, token: u64, event: Event) {
        let (Some(unicast), id) = (self.0.upgrade(), N1FlowId(token as u32)) else { return };
        match event {
            Event::Down | Event::Deallocated | Event::PeerGone => {
                unicast.control.lose(unicast.shared.clock.now(), id);
            }
            Event::Writable => {
                if let Some(adjacency) = unicast.data.adjacency(id) {
                    adjacency.note_room(unicast.shared.clock.now());
                }
            }
            _ => {}
        }
    }
}

impl Unicast {
    /// Begins to leave the layer. The other ends of flows are told while there is a way to them; then links are taken
    /// back, so that packets of others take another way. Those that are on their way here are still passed on, until
    /// the moment that is returned. `None` if there is no neighbour whose packets could pass.
    pub(super) fn begin_to_leave(&self, now: Instant) -> Option<Instant> {
        if !self.shared.go_down() {
            return None;
        }
        self.flows.clear_names();
        self.flows.hasten(now);
        // Packets of others, if any can pass, are still to go.
        if self.data.adjacencies().len() <= 1 {
            self.data.hasten();
        }
        self.flows.give_up();
        self.control.withdraw_all(now);
        let adjacencies = self.control.take_back_links(now);
        self.control.handle(now);
        self.control.wake_lookups();
        (adjacencies > 1).then(|| now + LAST_PACKETS)
    }

    /// Leaves the layer. The neighbours are told until they have heard it.
    pub(super) fn end(&self, now: Instant) {
        self.begin_to_leave(now);
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        for id in self.control.connections() {
            self.disconnect(now, id);
        }
        self.data.forget_routes();
        self.control.clear();
    }
}

impl Member for Unicast {
    fn component(&self, component: Component) -> Option<cep::Message> {
        Some(self.control.introduction(match component {
            Component::Management => cep::Message::management(self.address()),
            Component::DataTransfer => cep::Message::data_transfer(self.address()),
        }))
    }

    fn layer_config(&self) -> LayerConfig {
        let mut unicast = self.shared.unicast;
        // Members that enroll here have us as their first contact.
        unicast.directory.peer = self.address();
        LayerConfig { kind: LayerKind::Unicast(unicast), ..self.shared.layer.clone() }
    }

    fn connected(&self, now: Instant, connection: Connection) -> Result<N1FlowId, ConnectionRefused> {
        let id = self.control.connect(now, &connection)?;
        let Connection { endpoint, early, .. } = connection;
        let mut early: VecDeque<_> = early.into();
        if !early.is_empty() {
            self.sink.deliver(u64::from(id.0), now, &mut early);
        }
        endpoint.attach(&self.sink, u64::from(id.0));
        self.control.handle(now);
        Ok(id)
    }

    fn disconnect(&self, now: Instant, flow: N1FlowId) {
        if let Some(endpoint) = self.control.remove(now, flow) {
            self.control.handle(now);
            self.flows.tell_ways(now);
            endpoint.close(LINGER);
        }
    }

    fn same_address(&self, now: Instant, address: Address, met: Met) {
        self.control.same_address(now, address, met);
    }

    fn run(&self, now: Instant) {
        self.shared.alarm.rang();
        self.flows.release_paced(now);
        self.data.release_queued(now);
        self.control.run(now);
    }

    fn is_connected(&self, flow: N1FlowId) -> bool {
        self.control.is_connected(flow)
    }

    fn next_hop(&self, destination: Address, flow: Eid) -> Option<Address> {
        self.data.next_hop(destination, flow).map(|adjacency| adjacency.peer)
    }

    fn locate(&self, now: Instant, hash: &NameHash, waker: &Waker) -> Poll<Vec<Address>> {
        let found = self.control.find(now, hash, waker);
        self.control.handle(now);
        match found {
            Found::Pending if !self.shared.is_down() => Poll::Pending,
            Found::Known(addresses) => Poll::Ready(addresses),
            Found::Pending | Found::Unknown => Poll::Ready(Vec::new()),
        }
    }

    fn as_ipcp(self: Arc<Self>) -> Arc<dyn Ipcp> {
        self
    }
}
