//! The UDP shim: a layer whose members are the hosts that UDP reaches.
//!
//! One socket a layer. Each datagram begins with the EID by which its receiver knows the flow, 0 for management; the
//! layouts are in [`wire::udp`](crate::wire::udp). Names are the MD5 hashes of their text; a
//! [`Resolver`] finds the host, the layer itself has no directory.
//!
//! What the reference does badly here is not repeated: a name must be registered before requests for it are passed on,
//! a refusal is sent where the requester would otherwise wait 20 s, EIDs are looked up in full (slot and random part),
//! data and replies count only from the address that the flow is with, one reply is taken per request, and every
//! table has a bound.
//!
//! ```
//! use o7s::ipcp::shim::udp::Config;
//!
//! let config = Config::default();
//! assert_eq!(config.max_flows, 65_536);
//! ```

mod port;
mod receive;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;

use self::port::UdpPort;
use self::receive::Receiver;
use super::super::{Answer, Attempt, Info, Ipcp, Lookup, RegisterError, Request, RequestError, Requests};
use super::resolve::{Found, Resolver};
use crate::base::buf::BufPool;
use crate::base::rng::Rng;
use crate::base::slots::SlotTable;
use crate::base::sync::{AtomicU64, Mutex};
use crate::base::time::{Clock, Instant};
use crate::flow::{Drive, Endpoint};
use crate::types::device::{Datagram, Datagrams, SendError};
use crate::types::name::NameHash;
use crate::types::tree::Tree;
use crate::wire::udp::{EID_LEN, FlowRequest, REFERENCE_MAX_MGMT, REFERENCE_MAX_PAYLOAD_V4, REFERENCE_MAX_PAYLOAD_V6};

/// Limits of a UDP layer's member.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Flows, requests under way included. Default 65 536, at most 2²⁰.
    pub max_flows: usize,
    /// Registered names. Default 4096.
    pub max_names: usize,
    /// Hashes whose address, or lack of one, is remembered. Default 4096.
    pub max_directory: usize,
    /// How long an address that a resolver found is believed. Default 60 s.
    pub directory_ttl: Duration,
    /// How long a resolver's failure is believed. Default 1 s.
    pub directory_negative_ttl: Duration,
    /// The largest management datagram that is sent, bytes. Default 2048: what a reference survives.
    pub max_mgmt: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_names: 4096,
            max_directory: 4096,
            directory_ttl: Duration::from_secs(60),
            directory_negative_ttl: Duration::from_secs(1),
            max_mgmt: REFERENCE_MAX_MGMT,
        }
    }
}

/// What a UDP shim is built from.
pub struct Parts {
    /// What is fixed about the IPCP.
    pub info: Info,
    /// The socket.
    pub socket: Arc<dyn Datagrams>,
    /// What finds the host of a name.
    pub resolver: Arc<dyn Resolver>,
    /// Where requests go that arrive.
    pub requests: Weak<dyn Requests>,
    /// What tells the time to a thread that drives the device.
    pub clock: Arc<dyn Clock>,
    /// Where packet buffers come from.
    pub pool: Arc<BufPool>,
    /// Randomness for EIDs.
    pub rng: Rng,
    /// Limits.
    pub config: Config,
    /// Datagrams are never held back to be sent in one go.
    pub inline: bool,
}

/// A member of a UDP layer.
pub struct UdpShim {
    me: Weak<Self>,
    info: Info,
    socket: Arc<dyn Datagrams>,
    resolver: Arc<dyn Resolver>,
    requests: Weak<dyn Requests>,
    clock: Arc<dyn Clock>,
    rng: Mutex<Rng>,
    config: Config,
    inline: bool,
    flows: SlotTable<Arc<UdpFlow>>,
    names: Mutex<BTreeMap<NameHash, ()>>,
    directory: Mutex<BTreeMap<NameHash, Entry>>,
    receiver: Mutex<Receiver>,
    /// Management datagrams that have been received and not handled yet.
    management: Mutex<Vec<Datagram>>,
    /// When a waiting thread last drove the device, nanoseconds.
    led_at: AtomicU64,
    /// The background thread, when it leaves the device to a waiting thread.
    standby: Mutex<Option<Waker>>,
    standing_by: AtomicBool,
    down: AtomicBool,
    counters: Counters,
}

/// One end of a flow, as the shim knows it.
struct UdpFlow {
    endpoint: Arc<Endpoint>,
    peer: SocketAddr,
    /// Who waits for the reply; `None` once it has come, and on the accepting side.
    requested: Mutex<Option<(Arc<dyn Answer>, u64)>>,
}

#[derive(Default)]
struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    batches_sent: AtomicU64,
    send_drops: AtomicU64,
    unknown_eid: AtomicU64,
    wrong_source: AtomicU64,
    malformed: AtomicU64,
    management_drops: AtomicU64,
    requests_in: AtomicU64,
    requests_out: AtomicU64,
    replies_in: AtomicU64,
    replies_unexpected: AtomicU64,
    refused: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What is known of where a name is.
enum Entry {
    /// A resolver has been asked.
    Asked(Vec<Waker>),
    /// It answered.
    Known { addr: Option<SocketAddr>, until: Instant },
}

/// Tasks that wait for one resolver's answer; more have to ask again.
const MAX_WAITERS: usize = 64;

impl UdpShim {
    /// A member of the layer behind `parts.socket`.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            info: parts.info,
            flows: SlotTable::new(parts.config.max_flows.min(1 << 20)),
            receiver: Mutex::new(Receiver::new(&parts.pool)),
            socket: parts.socket,
            resolver: parts.resolver,
            requests: parts.requests,
            clock: parts.clock,
            rng: Mutex::new(parts.rng),
            config: parts.config,
            inline: parts.inline,
            management: Mutex::new(Vec::new()),
            names: Mutex::new(BTreeMap::new()),
            directory: Mutex::new(BTreeMap::new()),
            led_at: AtomicU64::new(0),
            standby: Mutex::new(None),
            standing_by: AtomicBool::new(false),
            down: AtomicBool::new(false),
            counters: Counters::default(),
        })
    }

    /// The socket's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// The socket, for a background thread that waits on it.
    pub fn socket(&self) -> &Arc<dyn Datagrams> {
        &self.socket
    }

    /// Whether a waiting thread has driven the device within the last `span`, and may come back.
    pub fn led_within(&self, now: Instant, span: Duration) -> bool {
        let led = self.led_at.load(Ordering::Relaxed);
        led != 0 && u128::from(now.as_nanos().saturating_sub(led)) < span.as_nanos()
    }

    /// Whether a waiting thread is driving the device at this moment; `resume` is then woken when it stops.
    pub fn stand_by(&self, resume: &Waker) -> bool {
        *self.standby.lock() = Some(resume.clone());
        self.standing_by.store(true, Ordering::SeqCst);
        let led = self.receiver.try_lock().is_none();
        if !led {
            self.standing_by.store(false, Ordering::SeqCst);
        }
        led
    }

    /// The device is nobody's: the background thread may have it back.
    fn leave(&self) {
        if self.standing_by.load(Ordering::SeqCst) && self.standing_by.swap(false, Ordering::SeqCst) {
            let resume = self.standby.lock().take();
            if let Some(resume) = resume {
                resume.wake();
            }
        }
    }

    /// Whether the IPCP was shut down.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Flows and requests under way.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Receives what has arrived and delivers it; never waits. `false` if somebody else is doing it.
    pub fn poll(&self, now: Instant) -> bool {
        let Some(mut receiver) = self.receiver.try_lock() else { return false };
        self.receive(now, &mut receiver);
        drop(receiver);
        self.handle_management(now);
        true
    }

    fn max_payload(&self) -> usize {
        let reference = match self.socket.local_addr() {
            SocketAddr::V4(_) => REFERENCE_MAX_PAYLOAD_V4,
            SocketAddr::V6(_) => REFERENCE_MAX_PAYLOAD_V6,
        };
        reference.min(self.socket.max_datagram().saturating_sub(EID_LEN))
    }

    /// Enters a flow and returns its EID.
    fn enter(&self, flow: Arc<UdpFlow>) -> Option<u32> {
        if self.is_down() {
            return None;
        }
        let bits = self.rng.lock().u32();
        self.flows.insert_with(bits, |_| flow)
    }

    // ----- directory -----

    fn address_of(&self, now: Instant, hash: &NameHash) -> Option<SocketAddr> {
        match self.directory.lock().get(hash) {
            Some(Entry::Known { addr, until }) if *until > now => *addr,
            _ => None,
        }
    }

    /// Asks the resolver. The caller holds no lock.
    fn ask(&self, hash: NameHash) {
        let me = Weak::clone(&self.me);
        self.resolver.resolve(
            &hash,
            Found::new(move |addr| {
                if let Some(shim) = me.upgrade() {
                    shim.resolved(hash, addr);
                }
            }),
        );
    }

    fn resolved(&self, hash: NameHash, addr: Option<SocketAddr>) {
        let own = self.socket.local_addr();
        let addr = addr.filter(|a| a.is_ipv4() == own.is_ipv4()).map(|mut a| {
            if a.port() == 0 {
                a.set_port(own.port());
            }
            a
        });
        let ttl = if addr.is_some() { self.config.directory_ttl } else { self.config.directory_negative_ttl };
        let until = self.clock.now() + ttl;
        let before = self.directory.lock().insert(hash, Entry::Known { addr, until });
        if let Some(Entry::Asked(wakers)) = before {
            for w in wakers {
                w.wake();
            }
        }
    }

    /// Makes room for one more entry: expired ones go first, then the one with the smallest hash, which is returned.
    fn trim_directory(&self, directory: &mut BTreeMap<NameHash, Entry>, now: Instant) -> Vec<Entry> {
        if directory.len() < self.config.max_directory {
            return Vec::new();
        }
        directory.retain(|_, e| !matches!(e, Entry::Known { until, .. } if *until <= now));
        if directory.len() < self.config.max_directory {
            return Vec::new();
        }
        directory.pop_first().map(|(_, e)| e).into_iter().collect()
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
        let mut outdated;
        {
            let mut directory = self.directory.lock();
            match directory.get_mut(hash) {
                Some(Entry::Known { addr, until }) if *until > now => {
                    return if addr.is_some() { Lookup::Known } else { Lookup::Unknown };
                }
                Some(Entry::Asked(wakers)) => {
                    if wakers.len() < MAX_WAITERS && !wakers.iter().any(|w| w.will_wake(waker)) {
                        wakers.push(waker.clone());
                    }
                    return Lookup::Pending;
                }
                _ => {}
            }
            outdated = self.trim_directory(&mut directory, now);
            outdated.extend(directory.insert(*hash, Entry::Asked(alloc::vec![waker.clone()])));
        }
        // Not under the lock: a waker may be the last that holds a task, which may hold requests of this layer.
        drop(outdated);
        self.ask(*hash);
        // A table answers at once.
        match self.directory.lock().get(hash) {
            Some(Entry::Known { addr: Some(_), .. }) => Lookup::Known,
            Some(Entry::Known { addr: None, .. }) | None => Lookup::Unknown,
            Some(Entry::Asked(_)) => Lookup::Pending,
        }
    }

    fn doubt(&self, hash: &NameHash) {
        let mut directory = self.directory.lock();
        if matches!(directory.get(hash), Some(Entry::Known { .. })) {
            directory.remove(hash);
        }
    }

    fn request(&self, now: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        let size = request.data.len();
        let max = self.config.max_mgmt.min(self.socket.max_datagram()).saturating_sub(FlowRequest::OVERHEAD);
        if size > max {
            return Err(RequestError::TooLarge { size, max });
        }
        let peer = self.address_of(now, &request.dst).ok_or(RequestError::Unknown)?;
        let flow = Arc::new(UdpFlow {
            endpoint: Arc::clone(request.endpoint),
            peer,
            // Before sending: the reply may be faster than we are.
            requested: Mutex::new(Some((request.answer, request.token))),
        });
        let eid = self.enter(flow).ok_or(RequestError::Full)?;
        let attempt = UdpAttempt { shim: Weak::clone(&self.me), eid };
        let message = FlowRequest { s_eid: eid, qos: request.qos, dst: request.dst, data: request.data };
        match self.socket.send(peer, &message.to_vec(), None) {
            Ok(()) => count(&self.counters.requests_out),
            // Lost like any other; it will be repeated.
            Err(SendError::Full) => count(&self.counters.send_drops),
            Err(SendError::Down | SendError::TooLarge) => return Err(RequestError::Down),
        }
        Ok(Box::new(attempt))
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.me.upgrade().map(|me| me as Arc<dyn Drive>)
    }

    fn shutdown(&self, _now: Instant) {
        self.down.store(true, Ordering::Release);
        self.names.lock().clear();
        let directory = core::mem::take(&mut *self.directory.lock());
        for entry in directory.into_values() {
            if let Entry::Asked(wakers) = entry {
                wakers.into_iter().for_each(Waker::wake);
            }
        }
        self.socket.interrupt();
        self.socket.dismiss();
    }

    fn rib(&self, _now: Instant) -> Tree {
        let c = &self.counters;
        let all = [
            ("received", &c.received),
            ("sent", &c.sent),
            ("batches_sent", &c.batches_sent),
            ("send_drops", &c.send_drops),
            ("unknown_eid", &c.unknown_eid),
            ("wrong_source", &c.wrong_source),
            ("malformed", &c.malformed),
            ("management_drops", &c.management_drops),
            ("requests_in", &c.requests_in),
            ("requests_out", &c.requests_out),
            ("replies_in", &c.replies_in),
            ("replies_unexpected", &c.replies_unexpected),
            ("refused", &c.refused),
        ];
        Tree::item("ipcp", &*self.info.name)
            .counters(all.iter().map(|(name, c)| (*name, c.load(Ordering::Relaxed))))
            .gauge("flows", self.flows.len() as u64)
            .gauge("names", self.names.lock().len() as u64)
            .gauge("directory", self.directory.lock().len() as u64)
    }
}

impl Drive for UdpShim {
    fn drive(&self, wait: Duration, woken: &AtomicBool) -> bool {
        let Some(mut receiver) = self.receiver.try_lock() else { return false };
        let now = self.clock.now();
        self.led_at.store(now.as_nanos(), Ordering::Relaxed);
        if self.receive(now, &mut receiver) == 0 && !wait.is_zero() && !woken.load(Ordering::SeqCst) {
            self.socket.wait(wait);
            let now = self.clock.now();
            self.led_at.store(now.as_nanos(), Ordering::Relaxed);
            self.receive(now, &mut receiver);
        }
        drop(receiver);
        self.leave();
        self.handle_management(self.clock.now());
        true
    }

    fn interrupt(&self) {
        self.socket.interrupt();
    }
}

/// A request that has been sent.
struct UdpAttempt {
    shim: Weak<UdpShim>,
    eid: u32,
}

impl Attempt for UdpAttempt {}

impl Drop for UdpAttempt {
    fn drop(&mut self) {
        let Some(shim) = self.shim.upgrade() else { return };
        let Some(flow) = shim.flows.get(self.eid) else { return };
        // Answered requests belong to their port.
        if flow.requested.lock().take().is_some() {
            shim.flows.remove(self.eid);
        }
    }
}
