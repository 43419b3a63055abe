//! Two whole stacks with an Ethernet layer between them, of either framing, and somebody in between who delivers, drops,
//! repeats, damages and makes up frames as the input says, changes the interfaces, while their applications allocate, accept,
//! write, read and close.
//!
//! No panic, no endless poll; tables stay within their bounds; an encrypted flow delivers nothing that was not written;
//! and when the applications have gone and time has passed, nothing is left.
#![no_main]

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use o7s::base::buf::BufCache;
use o7s::base::time::Instant;
use o7s::node::Limits;
use o7s::base::buf::PacketBuf;
use o7s::types::device::{Frames, Link, SendError};
use o7s::types::mac::Mac;
use o7s::types::name::{HashAlg, Name};
use o7s::{AcceptError, AllocError, Eth, IpcpHandle, Listener, QosSpec, SecurityConfig, Stack, aio};

const NOW: u64 = 1_760_000_000_000_000_000;
const MAX_FLOWS: usize = 16;
const MAX_DIRECTORY: usize = 4;
const BACKLOG: usize = 4;
const REPLAY: usize = 32;
const RESEND: usize = 4;
/// Frames kept by whoever is in between.
const MAX_WAITING: usize = 64;
/// Every message begins like this; nothing that is made up does.
const MARK: &[u8] = b"written ";

type Wire = Arc<Mutex<VecDeque<(Mac, Vec<u8>)>>>;

/// An interface in memory.
struct Device {
    mac: Mac,
    wire: Wire,
    inbox: Mutex<VecDeque<Vec<u8>>>,
    state: Mutex<(Mac, usize, Link)>,
}

impl Frames for Device {
    fn mac(&self) -> Mac {
        self.state.lock().unwrap().0
    }

    fn mtu(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn link(&self) -> Link {
        self.state.lock().unwrap().2
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        assert_eq!(self.link(), Link::Up, "sent on a link that is down");
        if frame.len() > self.mtu() + 14 {
            return Err(SendError::TooLarge);
        }
        let mut wire = self.wire.lock().unwrap();
        if wire.len() >= MAX_WAITING {
            return Err(SendError::Full);
        }
        wire.push_back((self.mac, frame.to_vec()));
        Ok(())
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let mut inbox = self.inbox.lock().unwrap();
        let n = inbox.len().min(8);
        for bytes in inbox.drain(..n) {
            let mut data = cache.take(bytes.len());
            data.extend_from_slice(&bytes).unwrap();
            out.push(data);
        }
        n
    }

    fn wait(&self, _timeout: Duration) {}

    fn interrupt(&self) {}
}

type Allocating = Pin<Box<dyn Future<Output = Result<aio::Flow, AllocError>>>>;
type Accepting = Pin<Box<dyn Future<Output = Result<aio::Flow, AcceptError>>>>;

struct Host {
    stack: Stack,
    net: IpcpHandle,
    device: Arc<Device>,
    listener: Option<Arc<Listener>>,
    allocating: Vec<Allocating>,
    accepting: Vec<Accepting>,
    flows: Vec<aio::Flow>,
}

struct World {
    now: Instant,
    wire: Wire,
    hosts: [Host; 2],
    encrypted: bool,
    llc: bool,
    last: Option<(Mac, Vec<u8>)>,
}

fn addr(i: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, i])
}

fn host(i: u8, wire: &Wire, security: SecurityConfig, llc: bool) -> Host {
    let limits = Limits::default().flows(2 * MAX_FLOWS).backlog(BACKLOG).replay(REPLAY).resend(RESEND);
    let builder = Stack::builder().polled_at(NOW).seed([i; 32]).limits(limits).security(security);
    let stack = builder.build().unwrap();
    let state = Mutex::new((addr(i), 1400, Link::Up));
    let device = Arc::new(Device { mac: addr(i), wire: Arc::clone(wire), inbox: Mutex::default(), state });
    let eth = if llc { Eth::llc("eth0") } else { Eth::dix("eth0") };
    let eth = eth.max_flows(MAX_FLOWS).max_directory(MAX_DIRECTORY);
    let net = stack.eth_over(Arc::clone(&device) as Arc<dyn Frames>, eth).unwrap();
    net.register("echo").unwrap();
    Host { stack, net, device, listener: None, allocating: vec![], accepting: vec![], flows: vec![] }
}

/// Polls what is pending, keeps what is still, and returns what came of the rest.
fn advance<T, E>(pending: &mut Vec<Pin<Box<dyn Future<Output = Result<T, E>>>>>) -> Vec<T> {
    let mut done = Vec::new();
    pending.retain_mut(|f| match f.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => {
            done.extend(result.ok());
            false
        }
        Poll::Pending => true,
    });
    done
}

impl Host {
    fn poll(&mut self, now: Instant) {
        for _ in 0..1000 {
            let next = self.stack.poll(now);
            let (allocated, accepted) = (advance(&mut self.allocating), advance(&mut self.accepting));
            self.flows.extend(allocated.into_iter().chain(accepted));
            let idle = self.device.inbox.lock().unwrap().is_empty();
            if idle && next.is_none_or(|next| next > now) {
                return;
            }
        }
        panic!("polled without end at {now:?}\n{}", self.stack.rib());
    }

    fn check(&self) {
        let counted = self.stack.node().rib();
        for (name, limit) in [
            ("flows", 2 * MAX_FLOWS),
            ("replay_remembered", REPLAY),
            ("resendable", RESEND),
            // One of them is the alarm of the layer.
            ("timers", 2 * MAX_FLOWS + self.allocating.len() + self.accepting.len() + 3),
        ] {
            let n = counted.get(name).unwrap();
            assert!(n <= limit as u64, "{name}: {n} of {limit}\n{}", self.stack.rib());
        }
        self.stack.node().with_irm(|irm| assert!(irm.bound().all(|(_, _, _, waiting)| waiting <= BACKLOG)));
        let layer = self.net.rib();
        assert!(layer.get("flows").unwrap() <= MAX_FLOWS as u64);
        assert!(layer.get("directory").unwrap() <= MAX_DIRECTORY as u64);
    }

    fn read(&self, flow: u8, encrypted: bool) {
        let Some(flow) = self.flows.get(usize::from(flow) % self.flows.len().max(1)) else { return };
        let mut buf = [0; 2000];
        if let Ok(n) = flow.as_blocking().try_read(&mut buf) {
            assert!(!encrypted || buf[..n].starts_with(MARK), "nobody wrote {:?}", &buf[..n]);
        }
    }
}

impl World {
    fn new(choice: u8) -> Self {
        let encrypted = choice & 1 != 0;
        let security = if encrypted { "X25519,chacha20-poly1305".parse().unwrap() } else { SecurityConfig::default() };
        let wire = Wire::default();
        let llc = choice & 2 != 0;
        let hosts = [host(1, &wire, security, llc), host(2, &wire, security, llc)];
        Self { now: Instant::ZERO, wire, hosts, encrypted, llc, last: None }
    }

    /// The cable has two ends: what one host sends the other receives, whatever it is.
    fn arrive(&mut self, from: Mac, bytes: Vec<u8>) {
        if let Some(host) = self.hosts.iter_mut().find(|h| h.device.mac != from) {
            host.device.inbox.lock().unwrap().push_back(bytes);
            host.poll(self.now);
        }
    }

    /// The next frame on the wire, or one of those behind it.
    fn take(&mut self, skip: usize) -> Option<(Mac, Vec<u8>)> {
        let mut wire = self.wire.lock().unwrap();
        let at = skip % wire.len().max(1);
        let taken = wire.remove(at);
        self.last.clone_from(&taken);
        taken
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for host in &mut self.hosts {
            host.poll(self.now);
            host.check();
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let op: u8 = u.arbitrary()?;
        let who = usize::from(op >> 7);
        match op & 15 {
            0..=2 => {
                if let Some((from, bytes)) = self.take(usize::from(op >> 4 & 7)) {
                    self.arrive(from, bytes);
                }
            }
            3 => drop(self.take(0)),
            4 => {
                if let Some((from, bytes)) = self.last.clone() {
                    self.arrive(from, bytes);
                }
            }
            5 => {
                let (at, bits, cut): (u16, u8, u8) = u.arbitrary()?;
                if let Some((from, mut bytes)) = self.take(0) {
                    let len = bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(usize::from(at) % len) {
                        *byte ^= bits;
                    }
                    if cut < 32 {
                        bytes.truncate(usize::from(cut) * 4);
                    }
                    self.arrive(from, bytes);
                }
            }
            6 => {
                // Made up from beginning to end, for management or for the number that was seen last.
                let (from, kind, len): (u8, u8, u8) = u.arbitrary()?;
                let victim = addr(2 - who as u8);
                let dst = if kind & 8 != 0 { Mac::BROADCAST } else { victim };
                let mut bytes = [dst.0, addr(if from & 1 == 0 { 1 + who as u8 } else { from }).0].concat();
                let (head, fixed) = if self.llc { (12, 37) } else { (12, 39) };
                match (kind & 3, &self.last) {
                    (0, _) => {}
                    (1, Some((_, last))) => bytes.extend_from_slice(last.get(head..18).unwrap_or_default()),
                    _ if self.llc => bytes.extend_from_slice(&[0, 0, 0x80, 0x80, 3]),
                    _ => bytes.extend_from_slice(&[0xa0, 0, 0, 0, 0, 0]),
                }
                let start = bytes.len();
                bytes.extend_from_slice(u.bytes(usize::from(len).min(u.len()))?);
                if kind & 4 != 0 && bytes.len() >= start + fixed + 32 {
                    bytes[start + if self.llc { 2 } else { 37 }] &= 3;
                    let hash = HashAlg::Sha3_256.hash(&Name::new("echo").unwrap());
                    bytes[start + fixed..start + fixed + 32].copy_from_slice(hash.as_bytes());
                }
                // Mostly the right length.
                let len = bytes.len().saturating_sub(if self.llc { 14 } else { 18 }) as u16;
                let field = if self.llc { 12 } else { 16 };
                if kind & 16 == 0 && kind & 3 > 1 && bytes.len() >= field + 2 {
                    bytes[field..field + 2].copy_from_slice(&len.to_be_bytes());
                }
                self.arrive(addr(1 + who as u8), bytes);
            }
            7 => {
                let millis: u16 = u.arbitrary()?;
                self.pass(Duration::from_millis(u64::from(millis)));
            }
            8 => {
                let qos: u8 = u.arbitrary()?;
                let qos = match qos % 4 {
                    0 => QosSpec::RAW,
                    1 => QosSpec::BEST_EFFORT,
                    2 => QosSpec { timeout: 1000, ..QosSpec::DATA },
                    _ => QosSpec::DATA,
                };
                let host = &mut self.hosts[who];
                if host.allocating.len() < MAX_FLOWS {
                    let flow = host.stack.flow("echo").qos(qos);
                    // The other host's name, even when this one has bound it as well.
                    host.listener = None;
                    host.accepting.clear();
                    host.allocating.push(Box::pin(flow.alloc_async()));
                    host.poll(self.now);
                }
            }
            9 => {
                let host = &mut self.hosts[who];
                let stack = host.stack.clone();
                let listener = Arc::clone(host.listener.get_or_insert_with(|| Arc::new(stack.bind("echo").unwrap())));
                if host.accepting.len() < 4 {
                    host.accepting.push(Box::pin(async move { listener.accept_async().await }));
                    host.poll(self.now);
                }
            }
            10 => {
                let (flow, len): (u8, u8) = u.arbitrary()?;
                let host = &self.hosts[who];
                if let Some(flow) = host.flows.get(usize::from(flow) % host.flows.len().max(1)) {
                    let mut message = MARK.to_vec();
                    message.resize(MARK.len() + usize::from(len) * 4, len);
                    let _ = flow.as_blocking().try_write(&message);
                }
            }
            11 => self.hosts[who].read(u.arbitrary()?, self.encrypted),
            12 => {
                let flow: u8 = u.arbitrary()?;
                let flows = &mut self.hosts[who].flows;
                if !flows.is_empty() {
                    drop(flows.swap_remove(usize::from(flow) % flows.len()));
                }
            }
            13 if op & 0x40 != 0 => {
                let (what, value): (u8, u16) = u.arbitrary()?;
                {
                    let mut state = self.hosts[who].device.state.lock().unwrap();
                    match what % 4 {
                        0 => state.0 = addr(if value & 1 == 0 { 1 + who as u8 } else { value as u8 }),
                        1 => state.1 = usize::from(value),
                        2 => state.2 = Link::Up,
                        _ => state.2 = if value & 1 == 0 { Link::Down } else { Link::Gone },
                    }
                }
                self.hosts[who].poll(self.now);
            }
            13 => drop(self.hosts[who].allocating.pop()),
            14 => drop(self.hosts[who].accepting.pop()),
            _ => {
                self.hosts[who].accepting.clear();
                self.hosts[who].listener = None;
            }
        }
        Ok(())
    }

    /// The applications go; what is on its way may arrive.
    fn end(mut self) {
        for host in &mut self.hosts {
            host.allocating.clear();
            host.accepting.clear();
            host.flows.clear();
            host.listener = None;
        }
        for _ in 0..40 {
            while let Some((from, bytes)) = self.take(0) {
                self.arrive(from, bytes);
            }
            self.pass(Duration::from_secs(10));
        }
        for host in &self.hosts {
            let rib = host.stack.rib();
            assert_eq!(rib.get("node/flows"), Some(0), "{rib}");
            assert_eq!(rib.get("node/timers"), Some(0), "{rib}");
            assert_eq!(host.net.rib().get("flows"), Some(0), "{rib}");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut u = Unstructured::new(input);
    let Ok(choice) = u.arbitrary() else { return };
    let mut world = World::new(choice);
    for _ in 0..300 {
        if u.is_empty() || world.step(&mut u).is_err() {
            break;
        }
    }
    world.end();
});
