//! The UDP shim: a layer whose members are the hosts that UDP reaches.
//!
//! One socket a layer, over IPv4 or IPv6: the family decides about nothing but the addresses. Each datagram begins with the
//! EID by which its receiver knows the flow, 0 for management; the layouts are in [`wire::udp`](crate::wire::udp). Names are
//! the MD5 hashes of their text; a [`Resolver`] finds the host, the layer itself has no directory.
//!
//! What the reference does badly here is not repeated: a name must be registered before requests for it are passed on,
//! a refusal is sent where the requester would otherwise wait 20 s, EIDs are random in all their bits and looked up in
//! full, data and replies count only from the address that the flow is with, one reply is taken per request, and every
//! table has a bound.
//!
//! A flow is between two addresses, ours and the peer's: bound to all addresses of a host, the member is reached at each,
//! and replies, refusals and data leave from the one that was asked. A peer of this library may move to another address,
//! as far as [`Moves`] allows, and proves there that it is the same (`flow::moves`); from elsewhere nothing else is taken.
//! Addresses are compared in their [one spelling](crate::types::addr::canonical), so that a peer is not two peers; a
//! link-local one keeps its interface. What the socket has no room for waits, and so do writers; whatever else keeps it from
//! sending is counted by its reason and ends nothing. When the layer is left the socket is closed, whoever still has a handle
//! of it.
//!
//! ```
//! use o7s::{Stack, Udp4};
//!
//! let stack = Stack::new()?;
//! let net = stack.udp4(Udp4::bind("127.0.0.1:0").max_flows(1000))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod directory;
mod peer;
mod port;
mod receive;
#[cfg(all(test, feature = "std"))]
mod tests;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;

pub use self::config::{Config, Moves};
use self::directory::{Directory, Entry};
use self::peer::Peer;
use self::port::UdpPort;
use super::super::reply::check_size;
use super::super::{Attempt, Doubt, Info, Ipcp, Location, Lookup, RegisterError, Request, RequestError, Requests};
use super::guarded::Guarded;
use super::management::Management;
use super::receiver::Receiver;
use super::resolve::Resolver;
use super::{End, Ends, SENDING, Shim, ShimContext};
use crate::base::buf::BufPool;
use crate::base::counter::counters;
use crate::base::delegate::delegate;
use crate::base::foreign::Panics;
use crate::base::journal::record;
use crate::base::patience::Patience;
use crate::base::rng::Rng;
use crate::base::sync::Mutex;
use crate::base::time::{Clock, Instant};
use crate::flow::Drive;
use crate::types::addr::{Families, Route, canonical};
use crate::types::device::{Datagram, Datagrams, SendError};
use crate::types::name::NameHash;
use crate::types::tree::Tree;
use crate::wire::udp::{EID_LEN, FlowRequest, NO_EID, REFERENCE_MAX_PAYLOAD_V4, REFERENCE_MAX_PAYLOAD_V6};

/// Parts of a UDP shim.
pub struct Parts {
    /// Fixed properties of the IPCP.
    pub info: Info,
    /// The socket.
    pub socket: Arc<dyn Datagrams>,
    /// The resolver of names.
    pub resolver: Arc<dyn Resolver>,
    /// Limits.
    pub config: Config,
}

/// A member of a UDP layer.
pub struct UdpShim {
    me: Weak<Self>,
    info: Info,
    socket: Guarded<dyn Datagrams>,
    /// The address of the socket.
    own: SocketAddr,
    resolver: Arc<dyn Resolver>,
    requests: Weak<dyn Requests>,
    clock: Arc<dyn Clock>,
    pool: Arc<BufPool>,
    rng: Mutex<Rng>,
    config: Config,
    /// Address families that the socket can send to.
    families: Families,
    /// Datagrams are never held back to be sent in one go.
    inline: bool,
    flows: Arc<Ends<Arc<Peer>>>,
    names: Mutex<BTreeMap<NameHash, ()>>,
    directory: Mutex<Directory>,
    /// The receive loop.
    device: Weak<dyn Drive>,
    panics: Arc<Panics>,
    /// Management datagrams that have been received and not handled yet.
    management: Mutex<Management<Datagram>>,
    /// How often each host has sent something for a flow that there is not.
    strays: Mutex<Patience>,
    down: AtomicBool,
    counters: Counters,
}

/// Hosts whose datagrams for flows that there are not are counted, and how many of each are taken for mistakes: those of flows
/// that have ended meanwhile.
const STRAY_HOSTS: usize = 8192;
const STRAYS: u32 = 64;

/// One end of a flow.
type UdpFlow = End<Arc<Peer>>;

/// The route of a datagram that has arrived.
fn route_of(datagram: &Datagram) -> Route {
    Route { local: datagram.local.map(|ip| ip.to_canonical()), remote: canonical(datagram.src) }
}

counters! {
    /// Datagrams, unless it says otherwise.
    struct Counters {
        /// Datagrams that have arrived.
        received => "received",
        /// Datagrams of flows that were sent.
        sent => "sent",
        /// Batches in which datagrams of flows were sent.
        batches_sent => "batches_sent",
        /// Datagrams that were not sent.
        send_drops => "send_drops",
        /// Times that the device was full.
        send_stalls => "send_stalls",
        /// Datagrams not sent: too large for the path.
        send_too_large => "send_too_large",
        /// Datagrams not sent: destination unreachable.
        send_unreachable => "send_unreachable",
        /// Datagrams not sent: denied by the operating system.
        send_denied => "send_denied",
        /// Datagrams not sent: interface down.
        send_interface_down => "send_interface_down",
        /// Datagrams not sent for other reasons.
        send_failed => "send_failed",
        /// Datagrams dropped: no flow has their EID.
        unknown_eid => "unknown_eid",
        /// Datagrams dropped: the flow has another peer.
        wrong_source => "wrong_source",
        /// Flows whose peer has moved to another address.
        moved => "moved",
        /// Datagrams dropped: malformed.
        malformed => "malformed",
        /// Datagrams of management dropped: too many wait.
        management_drops => "management_drops",
        /// Requests for flows that have arrived.
        requests_in => "requests_in",
        /// Requests for flows that were sent.
        requests_out => "requests_out",
        /// Replies to requests that have arrived.
        replies_in => "replies_in",
        /// Replies for which nobody waited.
        replies_unexpected => "replies_unexpected",
        /// Requests for flows that were refused.
        refused => "refused",
    }
}

impl Counters {
    /// Counts datagrams by why they could not be sent.
    fn fault(&self, why: SendError, datagrams: u64) {
        let counter = match why {
            SendError::Full | SendError::NoBuffers => &self.send_stalls,
            SendError::TooLarge => &self.send_too_large,
            SendError::Unreachable => &self.send_unreachable,
            SendError::Denied => &self.send_denied,
            SendError::InterfaceDown => &self.send_interface_down,
            SendError::Down => &self.send_failed,
        };
        counter.add(datagrams);
    }
}

/// EIDs below this are the reference's, which numbers its flows from 64. Ours are drawn from the others, so that both
/// kinds of peers can be told apart.
const REFERENCE_EIDS: u32 = 4096;

impl UdpShim {
    /// A member of the layer behind `parts.socket`, in the surroundings that its stack gives.
    pub fn new(context: ShimContext, parts: Parts) -> Arc<Self> {
        let socket = Guarded::new(parts.socket, &context.panics);
        let own = socket.call(|d| d.local_addr(), SocketAddr::from(([0, 0, 0, 0], 0)));
        let families = Families::of(own, parts.config.dual);
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            families,
            info: parts.info,
            flows: Ends::new(parts.config.max_flows.min(1 << 20)),
            device: context.device,
            panics: context.panics,
            socket,
            own,
            resolver: parts.resolver,
            requests: context.requests,
            clock: context.clock,
            pool: context.pool,
            rng: Mutex::new(context.rng),
            config: parts.config,
            inline: context.inline,
            management: Mutex::default(),
            strays: Mutex::new(Patience::new(STRAY_HOSTS, STRAYS)),
            names: Mutex::new(BTreeMap::new()),
            directory: Mutex::default(),
            down: AtomicBool::new(false),
            counters: Counters::default(),
        })
    }

    fn send(&self, route: Route, bytes: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.socket.call(|d| d.send_from(route.local, route.remote, bytes, segment), Err(SendError::Down))
    }

    /// Says why something could not be sent. No lock may be held.
    fn note_unsent(&self, route: Route, why: SendError) {
        if !why.is_temporary() {
            let peer = route.remote;
            record!(self.panics, Unsent, Warn, [peer = peer, reason = why], "nothing can be sent to {peer}: {why}");
        }
    }

    fn max_payload(&self) -> usize {
        let (reference, headers) = match self.own {
            SocketAddr::V4(_) => (REFERENCE_MAX_PAYLOAD_V4, 20 + 8),
            SocketAddr::V6(_) => (REFERENCE_MAX_PAYLOAD_V6, 40 + 8),
        };
        let path = self.config.mtu.map_or(usize::MAX, |mtu| mtu.saturating_sub(headers + EID_LEN));
        reference.min(path).min(self.max_datagram().saturating_sub(EID_LEN))
    }

    fn max_datagram(&self) -> usize {
        self.socket.call(|d| d.max_datagram(), 0)
    }

    /// A random EID. What is drawn fits into 32 bits.
    fn draw(&self) -> u64 {
        loop {
            let eid = self.rng.lock().u32();
            if eid >= REFERENCE_EIDS && eid != NO_EID {
                return eid.into();
            }
        }
    }
}

impl Ipcp for UdpShim {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, _now: Instant, hash: NameHash) -> Result<(), RegisterError> {
        if self.is_down() {
            return Err(RegisterError::Down);
        }
        {
            let mut names = self.names.lock();
            if names.len() >= self.config.max_names && !names.contains_key(&hash) {
                return Err(RegisterError::Full(self.config.max_names));
            }
            names.insert(hash, ());
        }
        self.panics.call(|| self.resolver.publish(&hash, self.own));
        // Taken back, or left, meanwhile: then it was withdrawn before it was published.
        if self.is_down() || !self.names.lock().contains_key(&hash) {
            self.withdraw(&hash);
        }
        Ok(())
    }

    fn unregister(&self, _now: Instant, hash: &NameHash) {
        let known = self.names.lock().remove(hash).is_some();
        if known {
            self.withdraw(hash);
        }
    }

    fn lookup(&self, now: Instant, hash: &NameHash, waker: &Waker) -> Lookup {
        if self.is_down() {
            return Lookup::Unknown;
        }
        let at_hand = self.at_hand(hash);
        if !at_hand.is_empty() {
            return directory::known(&at_hand);
        }
        // Made and dropped where no lock is held: a waker is code of others, and may be the last that holds a task,
        // which may hold requests of this layer.
        let mut kept = Some(waker.clone());
        let remembered = self.look_up(now, hash, &mut kept);
        self.panics.discard(kept);
        if let Some(remembered) = remembered {
            return remembered;
        }
        self.ask(*hash);
        // Left meanwhile: those that waited were woken before this one did.
        if self.is_down() {
            self.wake_waiting();
            return Lookup::Unknown;
        }
        // Some resolvers answer at once.
        match self.directory.lock().get(hash) {
            Some(Entry::Known { addrs, .. }) => directory::known(addrs),
            Some(Entry::Asked(_)) => Lookup::Pending,
            None => Lookup::Unknown,
        }
    }

    fn doubt(&self, _now: Instant, hash: &NameHash, at: Location, _why: Doubt) {
        let mut directory = self.directory.lock();
        // What was learned meanwhile is not in doubt.
        if let Some(Entry::Known { addrs, .. }) = directory.get(hash)
            && addrs.iter().any(|addr| Location::Host(*addr) == at)
        {
            directory.remove(hash);
        }
    }

    fn request(&self, _now: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        let max = self.config.max_mgmt.min(self.max_datagram()).saturating_sub(FlowRequest::OVERHEAD);
        check_size(request.data.len(), max)?;
        let Location::Host(peer) = request.at else { return Err(RequestError::Unknown) };
        // Before sending: the reply may be faster than we are.
        let asking = self.flows.ask(&request, Peer::asked(peer), || self.draw())?;
        let s_eid = asking.id() as u32;
        let message = FlowRequest { s_eid, qos: request.qos, dst: request.dst, data: request.data };
        let route = Route { local: None, remote: peer };
        let sent = self.send(route, &message.to_vec(), None);
        match sent {
            Ok(()) => self.counters.requests_out.count(),
            Err(e) if e.is_temporary() => self.counters.send_drops.count(),
            Err(e) => {
                self.counters.fault(e, 1);
                self.note_unsent(route, e);
            }
        }
        asking.into_attempt(sent)
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.device.upgrade()
    }

    fn shutdown(&self, now: Instant) {
        self.down.store(true, Ordering::Release);
        let names = core::mem::take(&mut *self.names.lock());
        names.keys().for_each(|hash| self.withdraw(hash));
        self.wake_waiting();
        self.flows.give_up(now + SENDING);
        *self.management.lock() = Management::default();
        // Whoever waits on it returns; the port is free from now on, whoever still holds something of the layer.
        self.socket.close();
    }

    fn rib(&self, _now: Instant) -> Tree {
        let names = self.names.lock().len();
        let directory = self.directory.lock().len();
        Tree::item("ipcp", &*self.info.name)
            .counters(self.counters.rows())
            .counter("rejected", self.socket.call(|d| d.rejected(), 0))
            .counter("device_overrun", self.socket.call(|d| d.overrun(), 0))
            .gauge("flows", self.flows.len() as u64)
            .gauge("names", names as u64)
            .gauge("directory", directory as u64)
    }
}

impl Shim for UdpShim {
    type Receiver = Receiver<Datagram>;

    fn receiver(&self) -> Self::Receiver {
        Receiver::new(&self.pool)
    }

    fn receive(&self, now: Instant, receiver: &mut Self::Receiver) -> usize {
        self.take_in(now, receiver)
    }

    fn handle_management(&self) {
        self.handle_messages();
    }

    delegate! {
        self => self.socket;
        fn wait(timeout: Duration);
        fn interrupt();
        fn guard(timeout: Duration);
        fn dismiss();
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }
}
