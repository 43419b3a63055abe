//! The Ethernet shim: a layer whose members are the stations of one segment, without any IP.
//!
//! One device a layer, in either of two [framings](Framing): DIX, where an EtherType says which layer a frame is of and an
//! EID which flow, or LLC, where two SAPs do. All layouts are in [`wire::eth`](crate::wire::eth); beyond them the two are
//! the same here. Names are hashes by the algorithm of the layer, and whoever wants to know where one is asks everybody
//! ([`directory`]).
//!
//! What the reference does badly here is not repeated: numbers are looked up in full and are in no hurry to be used again,
//! lengths are checked against what has arrived, data and replies count only from the station that the flow is with, one
//! reply is taken per request, answers only while they are waited for, a refusal is sent where the requester would otherwise
//! wait 20 s, and every table has a bound. Nothing but queries is accepted from the broadcast address, so that one frame
//! never has more than one answer from each station that has what was asked for; and queries are answered at a limited rate.
//!
//! The device is asked for its address, its MTU and the state of its link whenever it has been waited for. A link that goes
//! down is told to all flows: reliable ones keep what they have to send until it is up again, what others send is lost. If
//! the interface's own address changes, the flows are over, because their other ends accept packets from the old one only.

mod config;
mod directory;
mod framing;
mod limit;
mod port;
mod receive;
mod status;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;

pub use self::config::Config;
use self::directory::Directory;
pub use self::framing::Framing;
use self::limit::Answers;
use self::port::EthPort;
use self::status::Status;
use super::super::reply::check_size;
use super::super::{
    Alarm, Attempt, Doubt, Info, Ipcp, Location, Lookup, RegisterError, Request, RequestError, Requests,
};
use super::guarded::Guarded;
use super::management::Management;
use super::receiver::Receiver;
use super::{End, Ends, SENDING, Shim, ShimContext};
use crate::base::buf::{BufPool, PacketBuf};
use crate::base::counter::counters;
use crate::base::delegate::delegate;
use crate::base::foreign::Panics;
use crate::base::journal::record;
use crate::base::rng::Rng;
use crate::base::sync::{AtomicU64, Mutex, Once};
use crate::base::time::{Clock, Instant};
use crate::flow::Drive;
use crate::types::device::{Frames, Link, SendError};
use crate::types::mac::Mac;
use crate::types::name::NameHash;
use crate::types::tree::Tree;
use crate::wire::eth::{FlowRequest, Frame, Mgmt};

/// Parts of an Ethernet shim.
pub struct Parts {
    /// Fixed properties of the IPCP.
    pub info: Info,
    /// The interface.
    pub device: Arc<dyn Frames>,
    /// Framing: the place of layer and flow in a frame.
    pub framing: Framing,
    /// Limits.
    pub config: Config,
}

/// A member of an Ethernet layer.
pub struct EthShim {
    me: Weak<Self>,
    info: Info,
    device: Guarded<dyn Frames>,
    framing: Framing,
    config: Config,
    requests: Weak<dyn Requests>,
    clock: Arc<dyn Clock>,
    pool: Arc<BufPool>,
    rng: Mutex<Rng>,
    /// Nobody sends what is held back: no frame is.
    inline: bool,
    /// Frames that are held back at most, to be sent in one go; 1: none is.
    max_batch: usize,
    flows: Arc<Ends<Peer>>,
    /// Flows and requests so far: where numbers are few, the one after the last is drawn.
    drawn: AtomicU64,
    names: Mutex<BTreeMap<NameHash, ()>>,
    directory: Mutex<Directory>,
    answers: Mutex<Answers>,
    status: Status,
    alarm: Arc<dyn Alarm>,
    /// The receive loop.
    drive: Weak<dyn Drive>,
    panics: Arc<Panics>,
    /// Management messages that have been received and not handled yet.
    management: Mutex<Management<(Mac, PacketBuf)>>,
    down: AtomicBool,
    counters: Counters,
}

/// The other end of a flow.
struct Peer {
    mac: Mac,
    /// Its number there. Not known before the reply.
    remote: Once<u16>,
    /// Another one for each end: numbers come back.
    serial: u64,
}

/// One end of a flow.
type EthFlow = End<Peer>;

counters! {
    /// Frames, unless it says otherwise.
    struct Counters {
        /// Frames that have arrived.
        received => "received",
        /// Frames of flows that were sent.
        sent => "sent",
        /// Batches in which frames of flows were sent.
        batches_sent => "batches_sent",
        /// Frames that were not sent.
        send_drops => "send_drops",
        /// Times that the device was full.
        send_stalls => "send_stalls",
        /// Frames not sent: too large for the link.
        send_too_large => "send_too_large",
        /// Frames not sent: denied by the operating system.
        send_denied => "send_denied",
        /// Frames not sent: link down.
        send_interface_down => "send_interface_down",
        /// Frames not sent for other reasons.
        send_failed => "send_failed",
        /// Frames dropped: of another protocol or layer.
        foreign => "foreign",
        /// Frames dropped: with a VLAN tag.
        tagged => "tagged",
        /// Frames dropped: for another station.
        not_ours => "not_ours",
        /// Frames dropped: from our own address.
        own_address => "own_address",
        /// Frames dropped: no flow has their number.
        unknown_eid => "unknown_eid",
        /// Frames dropped: the flow has another peer.
        wrong_source => "wrong_source",
        /// Frames dropped: malformed.
        malformed => "malformed",
        /// Frames of management dropped: too many wait.
        management_drops => "management_drops",
        /// Name queries that have arrived.
        queries_in => "queries_in",
        /// Name queries that were sent.
        queries_out => "queries_out",
        /// Answers to name queries that have arrived.
        answers_in => "answers_in",
        /// Answers to name queries that were sent.
        answers_out => "answers_out",
        /// Answers for which nobody waited.
        answers_unexpected => "answers_unexpected",
        /// Name queries not answered: too many.
        answers_limited => "answers_limited",
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
        /// Times that the link went down.
        link_losses => "link_losses",
    }
}

impl Counters {
    /// Counts frames by why they could not be sent.
    fn fault(&self, why: SendError, frames: u64) {
        let counter = match why {
            SendError::Full | SendError::NoBuffers => &self.send_stalls,
            SendError::TooLarge => &self.send_too_large,
            SendError::Denied => &self.send_denied,
            SendError::InterfaceDown => &self.send_interface_down,
            SendError::Unreachable | SendError::Down => &self.send_failed,
        };
        counter.add(frames);
    }
}

/// Frames that are held back at most, whatever the device could take.
const MAX_BATCH: usize = 64;

/// Wakes the shim when its alarm rings.
struct Ring(Weak<EthShim>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        if let Some(shim) = self.0.upgrade() {
            shim.alarm.rang();
            shim.handle_timeout(shim.clock.now());
        }
    }
}

impl EthShim {
    /// A member of the layer behind `parts.device`, in the surroundings that its stack gives.
    pub fn new(context: ShimContext, parts: Parts) -> Arc<Self> {
        let Parts { info, device, framing, config } = parts;
        let mut rng = context.rng;
        let device = Guarded::new(device, &context.panics);
        let status = Status::new(device.call(|d| Some(status::look(d)), None));
        let batch = device.call(|d| d.max_batch(), 1);
        Arc::new_cyclic(|me: &Weak<Self>| Self {
            me: Weak::clone(me),
            flows: Ends::new(config.max_flows.min(framing.max_flows())),
            drawn: AtomicU64::new(rng.u64() & 0xffff),
            answers: Mutex::new(Answers::new(config.answer_rate, rng.u64())),
            directory: Mutex::new(Directory::new(&config, rng.split("directory"))),
            alarm: (context.alarms)(Waker::from(Arc::new(Ring(Weak::clone(me))))),
            drive: context.device,
            panics: context.panics,
            requests: context.requests,
            clock: context.clock,
            pool: context.pool,
            inline: context.inline,
            max_batch: if context.inline { 1 } else { batch.clamp(1, MAX_BATCH) },
            rng: Mutex::new(rng),
            management: Mutex::default(),
            names: Mutex::default(),
            down: AtomicBool::new(false),
            counters: Counters::default(),
            info,
            device,
            framing,
            config,
            status,
        })
    }

    /// Sends a management message.
    fn send_message(&self, to: Mac, message: &[u8]) -> Result<(), SendError> {
        self.status.usable()?;
        let frame = Frame { dst: to, src: self.status.mac(), port: self.framing.management(), payload: message };
        if message.len() > self.max_payload() {
            return Err(SendError::TooLarge);
        }
        let bytes = frame.to_vec().map_err(|_| SendError::TooLarge)?;
        self.device.call(|d| d.send(&bytes), Err(SendError::Down))
    }

    /// Sends a management message. One that cannot be sent is a lost one.
    fn try_message(&self, to: Mac, message: &Mgmt<'_>) -> bool {
        let Ok(bytes) = message.to_vec(self.framing.format()) else { return false };
        let sent = self.send_message(to, &bytes);
        if let Err(e) = sent {
            self.counters.fault(e, 1);
            self.note_unsent(to, e);
        }
        sent.is_ok()
    }

    /// Says why something could not be sent. No lock may be held.
    fn note_unsent(&self, to: Mac, why: SendError) {
        // That the link is down was told once.
        if !why.is_temporary() && self.status.link() == Link::Up {
            record!(self.panics, FrameUnsent, Warn, [peer = to, reason = why], "nothing can be sent to {to}: {why}");
        }
    }

    /// The largest packet of a flow, and the largest management message, bytes.
    fn max_payload(&self) -> usize {
        self.framing.max_payload(self.status.mtu())
    }

    /// A number for a flow.
    fn draw(&self) -> u64 {
        match self.framing {
            Framing::Dix { .. } => framing::random_eid(&mut self.rng.lock()),
            Framing::Llc => framing::nth_sap(self.drawn.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// The other end of a flow.
    fn peer(&self, mac: Mac, remote: Once<u16>) -> Peer {
        Peer { mac, remote, serial: self.rng.lock().u64() >> 16 }
    }

    /// Does what is due: queries are repeated, and given up.
    fn handle_timeout(&self, now: Instant) {
        if self.is_down() {
            return;
        }
        let (queries, given_up) = self.directory.lock().poll_queries(now);
        for hash in queries {
            self.ask(&hash);
        }
        self.panics.wake_all(given_up);
        loop {
            let due = self.answers.lock().poll_due(now);
            let Some((to, hash)) = due else { break };
            self.answer(to, &hash);
        }
        self.arm();
    }

    /// Sets the alarm for what is due next.
    fn arm(&self) {
        let query = self.directory.lock().next_deadline();
        let answer = self.answers.lock().next_deadline();
        if let Some(at) = query.into_iter().chain(answer).min() {
            self.alarm.set(at);
        }
    }

    /// Nobody is to wait for a name any more. No lock may be held.
    fn wake_waiting(&self) {
        let waiting = self.directory.lock().clear();
        self.panics.wake_all(waiting);
    }

    /// Asks everybody where a name is. No lock may be held.
    fn ask(&self, hash: &NameHash) {
        record!(self.panics, Lookup, Debug, [hash = hash], "asking everybody where the name with hash {hash} is");
        if self.try_message(Mac::BROADCAST, &Mgmt::Query(*hash)) {
            self.counters.queries_out.count();
        }
    }
}

impl Ipcp for EthShim {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, _now: Instant, hash: NameHash) -> Result<(), RegisterError> {
        if self.is_down() {
            return Err(RegisterError::Down);
        }
        let mut names = self.names.lock();
        if names.len() >= self.config.max_names && !names.contains_key(&hash) {
            return Err(RegisterError::Full(self.config.max_names));
        }
        names.insert(hash, ());
        Ok(())
    }

    fn unregister(&self, _now: Instant, hash: &NameHash) {
        self.names.lock().remove(hash);
    }

    fn lookup(&self, now: Instant, hash: &NameHash, waker: &Waker) -> Lookup {
        if self.is_down() {
            return Lookup::Unknown;
        }
        // Made and dropped where no lock is held: a waker is code of others.
        let mut kept = Some(waker.clone());
        let can_ask = self.status.link() == Link::Up;
        let (found, asks) = self.directory.lock().look_up(now, hash, can_ask, &mut kept);
        self.panics.discard(kept);
        // Left meanwhile: those that waited were woken before this one did.
        if self.is_down() {
            self.wake_waiting();
            return Lookup::Unknown;
        }
        if asks {
            self.ask(hash);
            self.arm();
        }
        found
    }

    fn doubt(&self, now: Instant, hash: &NameHash, at: Location, _why: Doubt) {
        if let Location::Mac(mac) = at {
            self.directory.lock().doubt(now, hash, mac);
        }
    }

    fn request(&self, _now: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        let fixed = self.framing.format().mgmt_len() + self.info.hash.len();
        let max = self.max_payload().min(self.config.max_mgmt).saturating_sub(fixed);
        check_size(request.data.len(), max)?;
        let Location::Mac(to) = request.at else { return Err(RequestError::Unknown) };
        // Before sending: the reply may be faster than we are.
        let asking = self.flows.ask(&request, self.peer(to, Once::new()), || self.draw())?;
        let s_eid = asking.id() as u16;
        let message = Mgmt::Request(FlowRequest { s_eid, qos: request.qos, dst: request.dst, data: request.data });
        let bytes = message.to_vec(self.framing.format()).map_err(|_| RequestError::Full)?;
        let sent = self.send_message(to, &bytes);
        match sent {
            Ok(()) => self.counters.requests_out.count(),
            Err(e) if e.is_temporary() => self.counters.send_drops.count(),
            Err(e) => {
                self.counters.fault(e, 1);
                self.note_unsent(to, e);
            }
        }
        asking.into_attempt(sent)
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.drive.upgrade()
    }

    fn shutdown(&self, now: Instant) {
        self.down.store(true, Ordering::Release);
        self.names.lock().clear();
        self.wake_waiting();
        self.flows.give_up(now + SENDING);
        *self.management.lock() = Management::default();
        // Whoever waits on it returns; the interface is free from now on, whoever still holds something of the layer.
        self.device.close();
    }

    fn rib(&self, _now: Instant) -> Tree {
        let losses = self.device.call(|d| d.losses(), crate::types::device::FrameLosses::default());
        let names = self.names.lock().len();
        let directory = self.directory.lock().len();
        Tree::item("ipcp", &*self.info.name)
            .counters(self.counters.rows())
            .counter("device_overrun", losses.overrun)
            .counter("device_oversized", losses.oversized)
            .counter("device_tagged", losses.tagged)
            .counter("device_damaged", losses.damaged)
            .gauge("flows", self.flows.len() as u64)
            .gauge("names", names as u64)
            .gauge("directory", directory as u64)
            .gauge("mtu", self.status.mtu() as u64)
            .gauge("link_up", u64::from(self.status.link() == Link::Up))
    }
}

impl Shim for EthShim {
    type Receiver = Receiver<PacketBuf>;

    fn receiver(&self) -> Self::Receiver {
        Receiver::new(&self.pool)
    }

    fn receive(&self, now: Instant, receiver: &mut Self::Receiver) -> usize {
        self.take_in(now, receiver)
    }

    fn handle_management(&self) {
        self.handle_changes();
        self.handle_messages();
    }

    delegate! {
        self => self.device;
        fn wait(timeout: Duration);
        fn interrupt();
        fn guard(timeout: Duration);
        fn dismiss();
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }
}

impl EthShim {
    /// Hands buffers back that a port has kept.
    fn recycle(&self, frames: impl IntoIterator<Item = PacketBuf>) {
        self.pool.put_all(frames);
    }

    /// Open flows, and requests without reply: those for which `f` says so.
    fn ends(&self, f: impl Fn(&EthFlow) -> bool) -> Vec<Arc<EthFlow>> {
        let mut ends = Vec::new();
        self.flows.for_each(|end| {
            if f(&end) {
                ends.push(end);
            }
        });
        ends
    }
}
