//! A whole node that is fed with frames: one member of a unicast layer, its name, and N-1 flows whose other ends are in
//! the hands of the test. What the node sends is recorded.

#![allow(dead_code, reason = "each test target uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panics")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use o7s::base::buf::PacketBuf;
use o7s::base::rng::Randomness;
use o7s::base::time::Instant;
use o7s::flow::{Endpoint, Env, FlowKey, Host, Outgoing, Params, Port};
use o7s::ipcp::unicast::Config;
use o7s::ipcp::{Component, Connection};
use o7s::node::Limits;
use o7s::oap::SecurityConfig;
use o7s::oap::client::Client;
use o7s::rib::Rib;
use o7s::types::id::{Address, Eid};
use o7s::types::name::{HashAlg, Name, NameHash};
use o7s::wire::dt::{DIRECTORY, FLOW_ALLOCATOR, LayerSizes, Pci};
use o7s::wire::fa::{FlowReply, FlowRequest, FlowUpdate, Message};
use o7s::wire::link_state::Lsu;
use o7s::{Flow, IpcpHandle, Listener, QosSpec, Stack, UnicastLayer};

/// Real time when the node begins.
pub(crate) const UNIX: u64 = 1_760_000_000_000_000_000;
/// The name that the node has registered in the layer.
pub(crate) const NAME: &str = "service";
/// The node's own address.
pub(crate) const OWN: Address = Address(0x0a0a_0a01);
/// The neighbours at the other ends of the N-1 flows, in the order of [`Via`].
pub(crate) const NEIGHBOURS: [Address; 3] = [Address(0x0b0b_0b02), Address(0x0c0c_0c03), Address(0x0b0b_0b02)];

// Bounds that a test can reach.
pub(crate) const MAX_FLOWS: usize = 32;
pub(crate) const BACKLOG: usize = 8;
pub(crate) const INBOX: usize = 16;
pub(crate) const REPLAY: usize = 256;
pub(crate) const RESEND: usize = 16;

/// An N-1 flow of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// Data transfer with the first neighbour.
    First,
    /// Data transfer with the second.
    Second,
    /// Management with the first.
    Management,
}

impl Via {
    pub(crate) const ALL: [Self; 3] = [Self::First, Self::Second, Self::Management];
}

struct NoHost;

impl Host for NoHost {
    fn arm(&self, _: Instant, _: FlowKey) {}
    fn tick(&self, _: FlowKey) {}
    fn released(&self, _: FlowKey) {}
}

/// The layer below an N-1 flow: it keeps what is sent.
#[derive(Default)]
struct Recorder(Mutex<Vec<Vec<u8>>>);

impl Port for Recorder {
    fn send(&self, _: Instant, pkts: &mut Outgoing) {
        self.0.lock().unwrap().extend(pkts.iter().map(|pkt| pkt.to_vec()));
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn release(&self, _: Instant) {}
}

struct N1 {
    endpoint: Arc<Endpoint>,
    sent: Arc<Recorder>,
}

/// A flow that was allocated with frames: what a good neighbour would have.
pub(crate) struct Legitimate {
    /// The node's end.
    pub(crate) remote: Eid,
    /// Ours.
    pub(crate) local: Eid,
    /// What the application of the node holds.
    pub(crate) flow: Flow,
}

/// See the [module's documentation](self).
pub(crate) struct Frames {
    pub(crate) stack: Stack,
    pub(crate) ipcp: IpcpHandle,
    pub(crate) listener: Listener,
    n1: Vec<N1>,
    now: Instant,
    rng: Randomness,
    next_eid: u64,
    seqno: u64,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    /// A node whose member has the given configuration, but for the bounds above.
    pub(crate) fn with(mut config: Config) -> Self {
        let mut limits = Limits::default();
        limits.flows = 4 * MAX_FLOWS;
        limits.irm.backlog = BACKLOG;
        limits.replay = REPLAY;
        limits.resend = RESEND;
        let stack = Stack::builder().polled_at(UNIX).seed([7; 32]).limits(limits).build().unwrap();
        config.max_flows = MAX_FLOWS;
        config.inbox = INBOX;
        config.address = Some(OWN);
        let ipcp = stack.unicast("victim").config(config).bootstrap(UnicastLayer::new("layer")).unwrap();
        let listener = stack.bind(NAME).unwrap();
        ipcp.register(NAME).unwrap();
        let rng = Randomness::from_seed([9; 32]);
        let mut frames = Self {
            stack,
            ipcp,
            listener,
            n1: Vec::new(),
            now: Instant::ZERO,
            rng,
            next_eid: 0x7000_0000_0000_0040,
            seqno: 0,
        };
        let components = [Component::DataTransfer, Component::DataTransfer, Component::Management];
        for (component, peer) in components.into_iter().zip(NEIGHBOURS) {
            frames.connect(component, peer).expect("a good neighbour is taken");
        }
        frames.announce();
        frames.pass(Duration::from_secs(10));
        for via in Via::ALL {
            frames.sent(via);
        }
        frames
    }

    /// Hands the member an N-1 flow.
    pub(crate) fn connect(&mut self, component: Component, peer: Address) -> Result<(), o7s::ipcp::ConnectionRefused> {
        let node = self.stack.node();
        let env = Arc::new(Env {
            clock: Arc::clone(node.clock()),
            pool: Arc::clone(node.pool()),
            host: Arc::new(NoHost),
            inline: true,
        });
        let endpoint = Endpoint::new(self.n1.len() as u64, &env);
        let sent = Arc::new(Recorder::default());
        let params = Params { qos: QosSpec::NP1, frct: None, protection: None, rx_limit: 1024 };
        endpoint.activate(self.now, Arc::clone(&sent) as Arc<dyn Port>, params);
        let connection = Connection {
            component,
            endpoint: Arc::clone(&endpoint),
            peer,
            ours: false,
            versions: Vec::new(),
            early: Vec::new(),
        };
        let membership = node.ipcps().into_iter().find_map(|(id, _)| node.membership(id)).unwrap();
        membership.member().connected(self.now, connection)?;
        self.n1.push(N1 { endpoint, sent });
        Ok(())
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn unix(&self) -> u64 {
        self.stack.node().clock().unix_nanos()
    }

    // ----- frames -----

    /// A packet arrives over an N-1 flow, as it is.
    pub(crate) fn feed(&mut self, via: Via, frame: &[u8]) {
        self.feed_all(via, &[frame]);
    }

    /// Packets arrive together.
    pub(crate) fn feed_all(&mut self, via: Via, frames: &[&[u8]]) {
        self.n1[via as usize].endpoint.receive(self.now, frames.iter().map(|frame| PacketBuf::copy_of(frame)));
    }

    /// A data-transfer packet arrives from the first neighbour.
    pub(crate) fn packet(&mut self, dst: Address, eid: Eid, payload: &[u8]) {
        self.feed(Via::First, &packet(dst, eid, payload));
    }

    /// A message for the node's flow allocator arrives.
    pub(crate) fn fa(&mut self, message: &[u8]) {
        self.packet(OWN, FLOW_ALLOCATOR, message);
    }

    /// A message for the node's directory arrives.
    pub(crate) fn dht(&mut self, message: &[u8]) {
        self.packet(OWN, DIRECTORY, message);
    }

    pub(crate) fn reply(&mut self, reply: FlowReply<'_>) {
        self.fa(&Message::Reply(reply).to_vec());
    }

    pub(crate) fn update(&mut self, r_eid: Eid, ece: u16) {
        self.fa(&Message::Update(FlowUpdate { r_eid, ece }).to_vec());
    }

    /// Everything that the node has sent over an N-1 flow since the last look.
    pub(crate) fn sent(&mut self, via: Via) -> Vec<Vec<u8>> {
        core::mem::take(&mut *self.n1[via as usize].sent.0.lock().unwrap())
    }

    /// Everything that it has sent over any of the three.
    pub(crate) fn sent_anywhere(&mut self) -> Vec<(Via, Vec<u8>)> {
        Via::ALL.into_iter().flat_map(|via| self.sent(via).into_iter().map(move |pkt| (via, pkt))).collect()
    }

    /// Replies of the node's flow allocator since the last look: to whom, and what.
    pub(crate) fn replies(&mut self) -> Vec<(Address, Eid, i32)> {
        let all = [self.sent(Via::First), self.sent(Via::Second)].concat();
        let parse = |pkt: &Vec<u8>| {
            let (pci, body) = Pci::parse(LayerSizes::default(), pkt).ok()?;
            match Message::parse(HashAlg::Sha3_256, body) {
                Ok(Message::Reply(r)) if pci.eid == FLOW_ALLOCATOR => Some((pci.dst, r.r_eid, r.response)),
                _ => None,
            }
        };
        all.iter().filter_map(parse).collect()
    }

    // ----- time -----

    /// Lets the node do what is due at this moment. Panics if that has no end.
    pub(crate) fn poll(&mut self) {
        for _ in 0..10_000 {
            if self.stack.poll(self.now).is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("polled without end at {:?}\n{}", self.now, self.stack.rib());
    }

    /// Lets time pass, and the node do everything in it at its time.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.poll();
        while let Some(next) = self.stack.node().next_deadline().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.poll();
        }
        self.now = until;
        self.poll();
    }

    /// The neighbours say that they are neighbours: there are routes to both.
    pub(crate) fn announce(&mut self) {
        self.seqno += 1;
        for src in [NEIGHBOURS[0], NEIGHBOURS[1]] {
            self.feed(Via::Management, &Lsu { dst: OWN, src, seqno: self.seqno }.to_bytes());
        }
    }

    // ----- a good neighbour -----

    /// A request in which nothing is wrong, and what its response is checked with.
    pub(crate) fn request(&mut self, s_addr: Address, s_eid: Eid) -> (Client, Vec<u8>) {
        let unix = self.unix();
        let (client, oap) = Client::start(unix, &SecurityConfig::default(), b"", &mut self.rng).unwrap();
        let request = FlowRequest { s_addr, s_eid, qos: QosSpec::RAW, dst: hash(NAME), data: &oap };
        (client, Message::Request(request).to_vec())
    }

    /// Allocates a flow from the first neighbour.
    pub(crate) fn allocate(&mut self) -> Legitimate {
        self.try_allocate().unwrap_or_else(|| panic!("no flow for a good neighbour\n{}", self.rib()))
    }

    pub(crate) fn try_allocate(&mut self) -> Option<Legitimate> {
        let local = Eid(self.next_eid);
        self.next_eid += 1;
        let (client, request) = self.request(NEIGHBOURS[0], local);
        self.poll();
        self.sent(Via::First);
        self.fa(&request);
        self.poll();
        let flow = self.listener.try_accept().ok()?;
        self.poll();
        let answers = self.sent(Via::First);
        let remote = answers.iter().find_map(|pkt| {
            let (pci, body) = Pci::parse(LayerSizes::default(), pkt).ok()?;
            let Ok(Message::Reply(reply)) = Message::parse(HashAlg::Sha3_256, body) else { return None };
            let ours = pci.dst == NEIGHBOURS[0] && reply.r_eid == local && reply.response == 0;
            (ours && client.check(reply.data).is_ok()).then_some(reply.s_eid)
        })?;
        Some(Legitimate { remote, local, flow })
    }

    /// Sends data both ways over a legitimate flow.
    #[track_caller]
    pub(crate) fn exchange(&mut self, legitimate: &Legitimate) {
        let mut buf = [0; 64];
        self.packet(OWN, legitimate.remote, b"ping");
        self.poll();
        assert_eq!(legitimate.flow.try_read(&mut buf), Ok(4), "data to the application");
        assert_eq!(&buf[..4], b"ping");
        self.sent(Via::First);
        legitimate.flow.try_write(b"pong").unwrap();
        self.pass(Duration::from_secs(2));
        let expected = |pkt: &Vec<u8>| {
            Pci::parse(LayerSizes::default(), pkt)
                .is_ok_and(|(pci, body)| (pci.dst, pci.eid, body) == (NEIGHBOURS[0], legitimate.local, b"pong"))
        };
        assert!(self.sent(Via::First).iter().any(expected), "data from the application\n{}", self.rib());
    }

    /// Lets time pass in which neighbours and flow stay as they are.
    #[track_caller]
    pub(crate) fn live_on(&mut self, legitimate: &Legitimate, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.announce();
            self.pass(Duration::from_secs(8));
            self.exchange(legitimate);
        }
    }

    // ----- what is looked at -----

    pub(crate) fn rib(&self) -> Rib {
        self.stack.rib()
    }

    /// A value of the member.
    #[track_caller]
    pub(crate) fn count(&self, path: &str) -> u64 {
        let rib = self.rib();
        let ipcp = &rib.child("ipcps").unwrap().children[0];
        ipcp.get(path).unwrap_or_else(|| panic!("no {path}\n{ipcp}"))
    }

    /// Links in the database.
    pub(crate) fn links(&self) -> usize {
        let rib = self.rib();
        let lsdb = rib.child("ipcps").unwrap().children[0].child("lsdb").unwrap();
        lsdb.children.iter().filter(|child| child.sort() == Some("link")).count()
    }

    /// Everything in the node is within its bounds.
    #[track_caller]
    pub(crate) fn check(&self) {
        let rib = self.rib();
        let at_most = |of: &Rib, path: &str, limit: usize| {
            let n = of.get(path).unwrap_or_else(|| panic!("no {path}\n{of}"));
            assert!(n <= limit as u64, "{path}: {n} > {limit}\n{of}");
        };
        let node = rib.child("node").unwrap();
        at_most(node, "flows", 4 * MAX_FLOWS);
        at_most(node, "replay_remembered", REPLAY);
        at_most(node, "resendable", RESEND);
        at_most(node, "timers", 8 * MAX_FLOWS);
        let ipcp = &rib.child("ipcps").unwrap().children[0];
        at_most(ipcp, "flows", MAX_FLOWS);
        at_most(ipcp, "inbox", INBOX);
        at_most(ipcp, "names", 1);
        for name in &rib.child("names").unwrap().children {
            at_most(name, "waiting", BACKLOG);
        }
        let directory = ipcp.child("dht").unwrap().child("database").unwrap();
        // Names that are kept for others, and the addresses of each.
        assert!(directory.children.len() <= 4096 * 16, "{} names are kept", directory.children.len());
        assert!(self.links() <= 65_536, "{} links are known", self.links());
    }
}

/// A packet of the layer.
pub(crate) fn packet(dst: Address, eid: Eid, payload: &[u8]) -> Vec<u8> {
    packet_with(Pci { dst, qos: 0, ttl: 60, ecn: 0, eid }, payload)
}

pub(crate) fn packet_with(pci: Pci, payload: &[u8]) -> Vec<u8> {
    let sizes = LayerSizes::default();
    let mut pkt = vec![0; sizes.header_len()];
    pci.emit(sizes, &mut pkt).unwrap();
    pkt.extend_from_slice(payload);
    pkt
}

pub(crate) fn hash(name: &str) -> NameHash {
    HashAlg::Sha3_256.hash(&Name::new(name).unwrap())
}
