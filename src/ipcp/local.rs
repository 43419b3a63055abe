//! The layer of the programs of one stack: flows from memory to memory.
//!
//! There is no wire. A request becomes an arrived request at once, and the ports of the two ends hand packets to each
//! other's inbox. A sender whose peer's inbox is busy has to wait, so nothing is dropped for lack of room.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::task::Waker;

use smallvec::smallvec;

use super::{
    Accepted, Answer, Attempt, Incoming, Info, Ipcp, Kind, Location, Lookup, RegisterError, Reply, Request,
    RequestError, Requests, Resend, Responder, SendReply,
};
use crate::base::counter::counters;
use crate::base::sync::{AtomicBool, Mutex, Ordering};
use crate::base::time::Instant;
use crate::flow::{Endpoint, Event, Outgoing, Port};
use crate::types::code::Code;
use crate::types::device::SendError;
use crate::types::name::NameHash;
use crate::types::tree::Tree;

/// The largest packet of a local flow, bytes: what the reference's largest buffer holds.
pub const MTU: usize = 1_048_260;
/// Names that can be registered.
const MAX_NAMES: usize = 65_536;

counters! {
    /// Requests for flows.
    struct Counters {
        /// Requests for flows that were made.
        requested => "requested",
    }
}

/// An IPCP of kind [`Kind::Local`], or the stack's shortcut between its own programs ([`Kind::Direct`]).
pub struct LocalIpcp {
    info: Info,
    requests: Weak<dyn Requests>,
    names: Mutex<BTreeSet<NameHash>>,
    /// The layer was left. Its requests, which may wait for somebody who accepts, know.
    down: Arc<AtomicBool>,
    counters: Counters,
}

impl LocalIpcp {
    /// A member of a layer of its own, whose requests go to `requests`.
    pub fn new(info: Info, requests: Weak<dyn Requests>) -> Arc<Self> {
        Arc::new(Self {
            info,
            requests,
            names: Mutex::new(BTreeSet::new()),
            down: Arc::new(AtomicBool::new(false)),
            counters: Counters::default(),
        })
    }
}

impl Ipcp for LocalIpcp {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, _now: Instant, hash: NameHash) -> Result<(), RegisterError> {
        let mut names = self.names.lock();
        if self.down.load(Ordering::Acquire) {
            return Err(RegisterError::Down);
        }
        if names.len() >= MAX_NAMES && !names.contains(&hash) {
            return Err(RegisterError::Full(MAX_NAMES));
        }
        names.insert(hash);
        Ok(())
    }

    fn unregister(&self, _now: Instant, hash: &NameHash) {
        self.names.lock().remove(hash);
    }

    fn lookup(&self, _now: Instant, hash: &NameHash, _waker: &Waker) -> Lookup {
        let here = self.info.kind == Kind::Direct || self.names.lock().contains(hash);
        if here && !self.down.load(Ordering::Acquire) {
            Lookup::Known(smallvec![Location::Here])
        } else {
            Lookup::Unknown
        }
    }

    fn request(&self, now: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        let Some(requests) = self.requests.upgrade().filter(|_| !self.down.load(Ordering::Acquire)) else {
            return Err(RequestError::Down);
        };
        self.counters.requested.count();
        let withdrawn = Arc::new(AtomicBool::new(false));
        let responder = Box::new(LocalResponder {
            client: Arc::clone(request.endpoint),
            down: Arc::clone(&self.down),
            requester: Requester { answer: Some((request.answer, request.token)), withdrawn: Arc::clone(&withdrawn) },
        });
        let mut incoming = Incoming::new(&self.info, request.dst, request.qos, request.data.to_vec(), responder);
        incoming.withdrawn = Some(Arc::clone(&withdrawn));
        requests.incoming(now, incoming);
        Ok(Box::new(LocalAttempt { withdrawn }))
    }

    fn shutdown(&self, _now: Instant) {
        self.down.store(true, Ordering::Release);
        self.names.lock().clear();
    }

    fn rib(&self, _now: Instant) -> Tree {
        Tree::item("ipcp", &*self.info.name)
            .counters(self.counters.rows())
            .gauge("names", self.names.lock().len() as u64)
    }
}

struct LocalAttempt {
    withdrawn: Arc<AtomicBool>,
}

impl Attempt for LocalAttempt {}

impl Drop for LocalAttempt {
    fn drop(&mut self) {
        self.withdrawn.store(true, Ordering::Release);
    }
}

/// The requester's side, to be answered exactly once: dropping it unanswered refuses.
struct Requester {
    answer: Option<(Arc<dyn Answer>, u64)>,
    withdrawn: Arc<AtomicBool>,
}

impl Requester {
    fn answer(&mut self, reply: Reply) {
        if let Some((answer, token)) = self.answer.take()
            && !self.withdrawn.load(Ordering::Acquire)
        {
            answer.answered(token, reply);
        }
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        self.answer(Reply { result: Err(Code::AGAIN), data: Vec::new() });
    }
}

struct LocalResponder {
    client: Arc<Endpoint>,
    /// Whether the layer was left.
    down: Arc<AtomicBool>,
    requester: Requester,
}

impl Responder for LocalResponder {
    fn accept(self: Box<Self>, _now: Instant, endpoint: &Arc<Endpoint>, data: &[u8]) -> Result<Accepted, RequestError> {
        let Self { client, down, mut requester } = *self;
        if requester.withdrawn.load(Ordering::Acquire) {
            return Err(RequestError::Gone);
        }
        // The flow exists from here on, and then goes on without its layer: no table has to see that both agree.
        if down.load(Ordering::Acquire) {
            requester.answer(Reply { result: Err(Code::IPCPSTATE), data: Vec::new() });
            return Err(RequestError::Down);
        }
        let back = LocalPort::new(endpoint);
        let reply = LocalReply { requester, back, data: data.to_vec() };
        Ok(Accepted { port: LocalPort::new(&client), reply: Box::new(reply) })
    }

    fn refuse(mut self: Box<Self>, _now: Instant, code: Code) {
        self.requester.answer(Reply { result: Err(code), data: Vec::new() });
    }

    fn resend(self: Box<Self>, _now: Instant, _again: &dyn Resend) {}
}

struct LocalReply {
    requester: Requester,
    back: Arc<LocalPort>,
    data: Vec<u8>,
}

impl SendReply for LocalReply {
    fn send(self: Box<Self>, _now: Instant) -> Option<Arc<dyn Resend>> {
        let Self { mut requester, back, data } = *self;
        requester.answer(Reply { result: Ok(back), data });
        None
    }
}

/// Hands packets to the other end's inbox.
struct LocalPort {
    peer: Arc<Endpoint>,
    /// The other end was busy when it got packets last. It is not asked before each, because looking at what another
    /// processor writes takes as long as the rest of a write.
    congested: AtomicBool,
}

impl LocalPort {
    fn new(peer: &Arc<Endpoint>) -> Arc<Self> {
        Arc::new(Self { peer: Arc::clone(peer), congested: AtomicBool::new(false) })
    }
}

impl Port for LocalPort {
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        if self.peer.handle_packets_busy(now, pkts.drain(..)) {
            self.congested.swap(true, Ordering::AcqRel);
        }
        Ok(())
    }

    fn is_congested(&self) -> bool {
        if !self.congested.load(Ordering::Relaxed) {
            return false;
        }
        // Cleared before it looks, and set again if need be: what a thread that is sending finds meanwhile is not lost.
        // No other thread looks in between, as it is asked under the lock of its endpoint.
        self.congested.swap(false, Ordering::AcqRel);
        let busy = self.peer.is_busy();
        if busy {
            self.congested.store(true, Ordering::Relaxed);
        }
        busy
    }

    fn is_lossy(&self) -> bool {
        false
    }

    fn tells_end(&self) -> bool {
        true
    }

    fn drained(&self) {
        self.peer.notify_writable();
    }

    fn mtu(&self) -> usize {
        MTU
    }

    fn release(&self, _now: Instant) {
        // Both ends are in one stack, so the other one can be told at once.
        self.peer.mark_down(Event::Deallocated);
    }
}

impl Drop for LocalPort {
    fn drop(&mut self) {
        // It never got to an endpoint: the answer came after the requester had given up.
        self.peer.mark_down(Event::Deallocated);
    }
}
