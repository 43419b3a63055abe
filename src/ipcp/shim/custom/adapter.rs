//! The adapter from a program's shim to a member of a layer like any other.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::task::Waker;
use core::time::Duration;

use super::super::management::{Management, handle_each};
use super::layer::{Arrived, State};
use super::pending::Pending;
use super::{Layer, Lookup, Message, Shim};
use crate::base::journal::record;
use crate::base::sync::{AtomicBool, Ordering};
use crate::base::time::Instant;
use crate::flow::{Drive, Endpoint, Outgoing, Port};
use crate::ipcp::shim::{Grant, Replies, ReplyOnce, SENDING, ShimContext};
use crate::ipcp::{
    self, Attempt, Doubt, Incoming, Info, Ipcp, Location, Locations, Origin, RegisterError, Reply, Request,
    RequestError,
};
use crate::types::code::Code;
use crate::types::device::SendError;
use crate::types::name::NameHash;
use crate::types::tree::Tree;

/// Names that can be registered.
const MAX_NAMES: usize = 65_536;

/// A [`Shim`] with the library's half of its layer.
pub(crate) struct Adapter<S> {
    me: Weak<Self>,
    shim: Arc<S>,
    state: Arc<State>,
    pending: Arc<Pending>,
    numbers: RangeInclusive<u32>,
}

impl<S: Shim> Adapter<S> {
    /// The member that `info` describes, over the shim that `make` makes.
    pub(crate) fn new(context: ShimContext, info: Info, make: impl FnOnce(Layer) -> Arc<S>) -> Arc<Self> {
        let pending = Pending::new(&context.alarms, &context.panics);
        let state = State::new(context, info);
        let shim = make(Layer(Arc::clone(&state)));
        let numbers = shim.numbers();
        Arc::new_cyclic(|me| Self { me: Weak::clone(me), shim, state, pending, numbers })
    }

    fn draw(&self) -> u64 {
        self.state.draw(&self.numbers)
    }

    /// Calls the shim. One that panics has sent nothing.
    fn send_message(&self, station: u64, message: &Message<'_>) -> Result<(), SendError> {
        let sent = self.state.panics.call(|| self.shim.send_message(station, message)).unwrap_or(Err(SendError::Down));
        if sent.is_err() {
            self.state.counters.send_failed.count();
        }
        sent
    }

    fn port(self: &Arc<Self>, station: u64, local: u64, remote: u32) -> Arc<dyn Port> {
        Arc::new(Down { adapter: Arc::clone(self), station, local, remote, released: AtomicBool::new(false) })
    }

    fn handle_request(self: &Arc<Self>, now: Instant, flow: u32, name: NameHash, arrived: Arrived) {
        let state = &self.state;
        state.counters.requests_in.count();
        let (Some(requests), Message::Request { qos, .. }) = (state.requests.upgrade(), arrived.message) else {
            return;
        };
        let station = arrived.from;
        let responder = ReplyOnce::new(Arc::clone(self), Requester { station, flow });
        // A station can be forged like any other address.
        // The frame that carried it is the shim's and not known here: what is certain is its data.
        let received = arrived.data.len();
        let request = Incoming::new(&state.info, name, qos, arrived.data, responder)
            .from_peer(station, Some(Origin { address: station, received }))
            .located(Location::Station(station));
        let is_known = state.names.lock().contains(&name);
        if !is_known {
            let Some(request) = requests.repeated(now, request) else { return };
            record!(
                state.panics, Refused, Debug, [hash = name, peer: station],
                "request for a flow from station {station:#x} refused: no name with hash {name} is registered"
            );
            request.responder.refuse(now, Code::NAME);
            return;
        }
        requests.incoming(now, request);
    }

    fn handle_reply(self: &Arc<Self>, flow: u32, answer: Result<u32, Code>, arrived: Arrived) {
        let (flows, counters) = (&self.state.flows, &self.state.counters);
        let end = flows.get(flow.into()).filter(|end| end.peer == arrived.from);
        // Only the first reply counts.
        let Some((answers, token)) = end.and_then(|end| end.take_request()) else {
            counters.replies_unexpected.count();
            return;
        };
        counters.replies_in.count();
        let reply = match answer {
            Ok(remote) => Reply { result: Ok(self.port(arrived.from, flow.into(), remote)), data: arrived.data },
            Err(code) => {
                flows.remove(flow.into());
                Reply { result: Err(code), data: Vec::new() }
            }
        };
        answers.answered(token, reply);
    }
}

impl<S: Shim> Ipcp for Adapter<S> {
    fn info(&self) -> &Info {
        &self.state.info
    }

    fn register(&self, _now: Instant, hash: NameHash) -> Result<(), RegisterError> {
        let mut names = self.state.names.lock();
        if self.state.is_down() {
            return Err(RegisterError::Down);
        }
        if names.len() >= MAX_NAMES && !names.contains(&hash) {
            return Err(RegisterError::Full(MAX_NAMES));
        }
        names.insert(hash);
        Ok(())
    }

    fn unregister(&self, _now: Instant, hash: &NameHash) {
        self.state.names.lock().remove(hash);
    }

    fn lookup(&self, now: Instant, hash: &NameHash, waker: &Waker) -> ipcp::Lookup {
        if self.state.is_down() {
            return ipcp::Lookup::Unknown;
        }
        match self.state.panics.call(|| self.shim.lookup(hash, waker)) {
            Some(Lookup::Known(stations)) if !stations.is_empty() => {
                let locations: Locations = stations.into_iter().map(Location::Station).collect();
                ipcp::Lookup::Known(locations)
            }
            Some(Lookup::Pending) => {
                self.pending.wait(now, waker);
                // Left meanwhile: those that waited were woken before this one did.
                if self.state.is_down() {
                    self.pending.wake_all();
                    return ipcp::Lookup::Unknown;
                }
                ipcp::Lookup::Calling
            }
            Some(Lookup::Known(_) | Lookup::Unknown) | None => ipcp::Lookup::Unknown,
        }
    }

    fn doubt(&self, _now: Instant, hash: &NameHash, at: Location, _why: Doubt) {
        if let Location::Station(station) = at {
            self.state.panics.call(|| self.shim.doubt(hash, station));
        }
    }

    fn request(&self, _now: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        let Location::Station(station) = request.at else { return Err(RequestError::Unknown) };
        // Before sending: the reply may be faster than we are.
        let asking = self.state.flows.ask(&request, station, || self.draw())?;
        let flow = asking.id() as u32;
        let message = Message::Request { flow, name: request.dst, qos: request.qos, data: request.data };
        let sent = self.send_message(station, &message);
        if sent.is_ok() {
            self.state.counters.requests_out.count();
        }
        asking.into_attempt(sent)
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.state.device.upgrade()
    }

    fn shutdown(&self, now: Instant) {
        self.state.down.store(true, Ordering::Release);
        self.state.names.lock().clear();
        // They ask again, and learn that the name is nowhere.
        self.pending.wake_all();
        self.state.flows.give_up(now + SENDING);
        self.state.panics.call(|| self.shim.close());
    }

    fn rib(&self, _now: Instant) -> Tree {
        self.state.panics.call(|| self.shim.rib(self.state.rib())).unwrap_or_else(|| self.state.rib())
    }
}

/// The receive loop calls these through its own guard against panics.
impl<S: Shim> super::super::Shim for Adapter<S> {
    type Receiver = S::Receiver;

    fn receiver(&self) -> S::Receiver {
        self.shim.receiver()
    }

    fn receive(&self, now: Instant, receiver: &mut S::Receiver) -> usize {
        if self.state.is_down() { 0 } else { self.shim.receive(now, receiver) }
    }

    fn handle_management(&self) {
        let Some(me) = self.me.upgrade() else { return };
        if self.state.is_down() {
            *self.state.arrived.lock() = Management::default();
            return;
        }
        let more = handle_each(&self.state.arrived, &*self.state.clock, |now, arrived| match arrived.message {
            Message::Request { flow, name, .. } => me.handle_request(now, flow, name, arrived),
            Message::Reply { flow, answer, .. } => me.handle_reply(flow, answer, arrived),
        });
        if more {
            // Whoever is about to wait, or waits, handles the others.
            self.shim.interrupt();
            self.shim.dismiss();
        }
    }

    fn wait(&self, timeout: Duration) {
        if !self.state.is_down() {
            self.shim.wait(timeout);
        }
    }

    fn interrupt(&self) {
        self.shim.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        if !self.state.is_down() {
            self.shim.guard(timeout);
        }
    }

    fn dismiss(&self) {
        self.shim.dismiss();
    }

    fn is_down(&self) -> bool {
        self.state.is_down()
    }
}

/// The requester: its station, and its number of the flow.
pub(crate) struct Requester {
    station: u64,
    flow: u32,
}

impl<S: Shim> Replies for Adapter<S> {
    type Requester = Requester;

    fn has_room(&self) -> bool {
        self.state.flows.has_room()
    }

    fn accept(
        self: &Arc<Self>,
        to: &Requester,
        endpoint: &Arc<Endpoint>,
        data: &[u8],
    ) -> Result<Grant, (Code, RequestError)> {
        let end = self.state.flows.accept(endpoint, to.station, || self.draw())?;
        let message = [&(end as u32).to_be_bytes(), data].concat();
        Ok(Grant { end, port: self.port(to.station, end, to.flow), message })
    }

    fn is_open(&self, end: u64) -> bool {
        self.state.flows.get(end).is_some()
    }

    fn reply(&self, now: Instant, to: &Requester, message: &[u8]) {
        let Some((own, data)) = message.split_first_chunk() else { return };
        let reply = Message::Reply { flow: to.flow, answer: Ok(u32::from_be_bytes(*own)), data };
        if self.send_message(to.station, &reply) == Err(SendError::TooLarge) {
            self.refuse(Some(now), to, Code::CRYPT);
        }
    }

    fn refuse(&self, _now: Option<Instant>, to: &Requester, code: Code) {
        self.state.counters.refused.count();
        let refusal = Message::Reply { flow: to.flow, answer: Err(code), data: &[] };
        // One that cannot be sent is a lost one.
        let _ = self.send_message(to.station, &refusal);
    }
}

/// The way down for the packets of one flow.
struct Down<S: Shim> {
    adapter: Arc<Adapter<S>>,
    station: u64,
    local: u64,
    remote: u32,
    released: AtomicBool,
}

impl<S: Shim> Down<S> {
    /// Forgets the flow, once: its number may be another's afterwards.
    fn forget(&self) {
        if !self.released.swap(true, Ordering::AcqRel) {
            self.adapter.state.flows.remove(self.local);
        }
    }
}

impl<S: Shim> Port for Down<S> {
    fn send(&self, _now: Instant, packets: &mut Outgoing) -> Result<(), SendError> {
        self.adapter.shim.send(self.station, self.remote, packets)
    }

    fn is_congested(&self) -> bool {
        self.adapter.shim.is_congested()
    }

    fn queued(&self) -> usize {
        self.adapter.shim.queued()
    }

    fn mtu(&self) -> usize {
        self.adapter.shim.mtu()
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.adapter.state.device.upgrade()
    }

    fn release(&self, _now: Instant) {
        self.forget();
    }
}

impl<S: Shim> Drop for Down<S> {
    fn drop(&mut self) {
        // Of an answer that came too late.
        self.forget();
    }
}
