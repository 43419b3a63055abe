//! Two whole stacks with a layer between them, and somebody in between who delivers, drops, repeats, damages and makes up
//! packets as the input says, while their applications allocate, accept, write, read and close. What carries the packets is a
//! [`Medium`].

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary::Unstructured;
use o7s::base::time::Instant;
use o7s::node::Limits;
use o7s::{AcceptError, AllocError, IpcpHandle, Listener, QosSpec, SecurityConfig, Stack, aio};

const NOW: u64 = 1_760_000_000_000_000_000;
pub const MAX_FLOWS: usize = 16;
const BACKLOG: usize = 4;
const REPLAY: usize = 32;
const RESEND: usize = 4;
/// Packets kept by whoever is in between.
pub const MAX_WAITING: usize = 64;
/// Every message begins like this; nothing that is made up does.
const MARK: &[u8] = b"written ";

/// Packets, with whence they come and where they go.
pub type Packets<R> = Mutex<VecDeque<(R, Vec<u8>)>>;

/// The carrier of packets between the two stacks.
pub trait Medium: Sized {
    /// Whence a packet comes, and where it goes as far as that is said.
    type Route: Copy;
    type Device;
    /// Timers that the layer has itself.
    const TIMERS: usize;

    fn new(choice: u8) -> Self;

    /// A member of the layer for the stack of host `number`, 1 or 2; what it sends gets on the wire.
    fn join(&self, number: u8, stack: &Stack, wire: &Arc<Packets<Self::Route>>) -> (Arc<Self::Device>, IpcpHandle);

    /// Packets that have arrived at a device.
    fn inbox(device: &Self::Device) -> &Packets<Self::Route>;

    fn goes_to(route: Self::Route, device: &Self::Device) -> bool;

    /// A packet from beginning to end made up, for one of the hosts; `last` was seen last.
    fn make_up(
        &self,
        who: usize,
        last: Option<&[u8]>,
        u: &mut Unstructured<'_>,
    ) -> arbitrary::Result<(Self::Route, Vec<u8>)>;

    /// Changes the device of a host. `false` if there is nothing to change.
    fn change(&self, _who: usize, _device: &Self::Device, _u: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
        Ok(false)
    }

    fn check(_layer: &IpcpHandle) {}
}

type Allocating = Pin<Box<dyn Future<Output = Result<aio::Flow, AllocError>>>>;
type Accepting = Pin<Box<dyn Future<Output = Result<aio::Flow, AcceptError>>>>;

struct Host<M: Medium> {
    stack: Stack,
    net: IpcpHandle,
    device: Arc<M::Device>,
    listener: Option<Arc<Listener>>,
    allocating: Vec<Allocating>,
    accepting: Vec<Accepting>,
    flows: Vec<aio::Flow>,
}

pub struct World<M: Medium> {
    now: Instant,
    medium: M,
    wire: Arc<Packets<M::Route>>,
    hosts: [Host<M>; 2],
    encrypted: bool,
    last: Option<(M::Route, Vec<u8>)>,
}

fn host<M: Medium>(i: u8, medium: &M, wire: &Arc<Packets<M::Route>>, security: SecurityConfig) -> Host<M> {
    let limits = Limits::default().flows(2 * MAX_FLOWS).backlog(BACKLOG).replay(REPLAY).resend(RESEND);
    let builder = Stack::builder().polled_at(NOW).seed([i; 32]).limits(limits).security(security);
    let stack = builder.build().unwrap();
    let (device, net) = medium.join(i, &stack, wire);
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

impl<M: Medium> Host<M> {
    fn poll(&mut self, now: Instant) {
        for _ in 0..1000 {
            let next = self.stack.poll(now);
            let (allocated, accepted) = (advance(&mut self.allocating), advance(&mut self.accepting));
            self.flows.extend(allocated.into_iter().chain(accepted));
            let idle = M::inbox(&self.device).lock().unwrap().is_empty();
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
            ("timers", 2 * MAX_FLOWS + self.allocating.len() + self.accepting.len() + 2 + M::TIMERS),
        ] {
            let n = counted.get(name).unwrap();
            assert!(n <= limit as u64, "{name}: {n} of {limit}\n{}", self.stack.rib());
        }
        self.stack.node().with_irm(|irm| assert!(irm.bound().all(|(_, _, _, waiting)| waiting <= BACKLOG)));
        assert!(self.net.rib().get("flows").unwrap() <= MAX_FLOWS as u64);
        M::check(&self.net);
    }

    fn read(&self, flow: u8, encrypted: bool) {
        let Some(flow) = self.flows.get(usize::from(flow) % self.flows.len().max(1)) else { return };
        let mut buf = [0; 2000];
        if let Ok(n) = flow.as_blocking().try_read(&mut buf) {
            assert!(!encrypted || buf[..n].starts_with(MARK), "nobody wrote {:?}", &buf[..n]);
        }
    }
}

impl<M: Medium> World<M> {
    fn new(choice: u8) -> Self {
        let encrypted = choice & 1 != 0;
        let security = if encrypted { "X25519,chacha20-poly1305".parse().unwrap() } else { SecurityConfig::default() };
        let (medium, wire) = (M::new(choice), Arc::default());
        let hosts = [host(1, &medium, &wire, security.clone()), host(2, &medium, &wire, security)];
        Self { now: Instant::ZERO, medium, wire, hosts, encrypted, last: None }
    }

    fn arrive(&mut self, (route, bytes): (M::Route, Vec<u8>)) {
        if let Some(host) = self.hosts.iter_mut().find(|host| M::goes_to(route, &host.device)) {
            M::inbox(&host.device).lock().unwrap().push_back((route, bytes));
            host.poll(self.now);
        }
    }

    /// The next packet on the wire, or one of those behind it.
    fn take(&mut self, skip: usize) -> Option<(M::Route, Vec<u8>)> {
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
            0..=6 => self.meddle(op, who, u)?,
            7 => {
                let millis: u16 = u.arbitrary()?;
                self.pass(Duration::from_millis(u64::from(millis)));
            }
            8 => self.allocate(who, u.arbitrary()?),
            9 => self.accept(who),
            13 if op & 0x40 != 0 && self.medium.change(who, &self.hosts[who].device, u)? => {
                self.hosts[who].poll(self.now);
            }
            _ => self.use_flows(op, who, u)?,
        }
        Ok(())
    }

    /// What somebody in between does to the packets.
    fn meddle(&mut self, op: u8, who: usize, u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match op & 15 {
            0..=2 => {
                if let Some(packet) = self.take(usize::from(op >> 4 & 7)) {
                    self.arrive(packet);
                }
            }
            3 => drop(self.take(0)),
            4 => {
                if let Some(packet) = self.last.clone() {
                    self.arrive(packet);
                }
            }
            5 => {
                let (at, bits, cut): (u16, u8, u8) = u.arbitrary()?;
                if let Some((route, mut bytes)) = self.take(0) {
                    let len = bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(usize::from(at) % len) {
                        *byte ^= bits;
                    }
                    if cut < 32 {
                        bytes.truncate(usize::from(cut) * 4);
                    }
                    self.arrive((route, bytes));
                }
            }
            _ => {
                let last = self.last.as_ref().map(|(_, bytes)| &bytes[..]);
                let packet = self.medium.make_up(who, last, u)?;
                self.arrive(packet);
            }
        }
        Ok(())
    }

    fn allocate(&mut self, who: usize, qos: u8) {
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

    fn accept(&mut self, who: usize) {
        let host = &mut self.hosts[who];
        let stack = host.stack.clone();
        let listener = Arc::clone(host.listener.get_or_insert_with(|| Arc::new(stack.bind("echo").unwrap())));
        if host.accepting.len() < 4 {
            host.accepting.push(Box::pin(async move { listener.accept_async().await }));
            host.poll(self.now);
        }
    }

    /// What the applications do with what they have.
    fn use_flows(&mut self, op: u8, who: usize, u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match op & 15 {
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
            while let Some(packet) = self.take(0) {
                self.arrive(packet);
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

/// Runs the input from beginning to end.
pub fn run<M: Medium>(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let Ok(choice) = u.arbitrary() else { return };
    let mut world = World::<M>::new(choice);
    for _ in 0..300 {
        if u.is_empty() || world.step(&mut u).is_err() {
            break;
        }
    }
    world.end();
}
