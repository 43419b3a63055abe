//! Making IPCPs, and their handles.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::{BindError, Shared, Stack, StackError};
use crate::device::SystemResolver;
use crate::device::UdpSocket;
use crate::ipcp::local::LocalIpcp;
use crate::ipcp::shim::custom::{self, Adapter, Layer};
use crate::ipcp::shim::resolve::{Chain, HostTable, Resolver};
use crate::ipcp::shim::udp::{Config, Parts, UdpShim};
use crate::ipcp::shim::{Attended, ReceiveLoop, Shim, ShimContext};
use crate::ipcp::{Info, Ipcp, Kind};
use crate::node::IpcpId;
use crate::node::member::Membership;
use crate::rib::Rib;
use crate::types::device::Datagrams;
use crate::types::name::{HashAlg, Name};
use crate::wire::udp::DEFAULT_PORT;

/// Settings of a local layer: flows between the programs of one stack by way of a layer, for tests of what goes through
/// one. Names bound in a stack reach each other without it.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    name: String,
    layer: String,
    hash: HashAlg,
}

impl LocalConfig {
    /// An IPCP of this name in a layer of this name.
    pub fn new(name: &str, layer: &str) -> Self {
        Self { name: name.into(), layer: layer.into(), hash: HashAlg::Sha3_256 }
    }

    /// Sets how names are hashed. Default: SHA3-256.
    pub fn hash(mut self, hash: HashAlg) -> Self {
        self.hash = hash;
        self
    }
}

/// Settings of a member of a UDP/IPv4 layer: where it is, where names are, and its bounds.
///
/// A layer has one UDP port, [3435 by default](Self::port): members are bound to it, and hosts are called at it. Where
/// that does not do, for instance because two members share an address, an address names its port: `IP:PORT` instead of
/// `IP`, of the member itself as well as of a host. The port of the one says nothing about that of the other.
///
/// ```
/// use o7s::{Stack, Udp4};
///
/// let stack = Stack::new()?;
/// // Bound to a port that is free. "echo" is called at port 4000 of its host, "ping" at the layer's, 3435.
/// let net = stack.udp4(Udp4::bind("127.0.0.1:0").host("echo", "127.0.0.1:4000").host("ping", "127.0.0.1"))?;
/// assert!(net.local_addr().unwrap().ip().is_loopback());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Udp4 {
    addr: String,
    outgoing: bool,
    name: Option<String>,
    layer: String,
    hosts: Vec<(String, String)>,
    table: Arc<HostTable>,
    resolvers: Vec<Arc<dyn Resolver>>,
    system: bool,
    priority: i32,
    config: Config,
}

impl Udp4 {
    /// A member at this address, `IP` or `IP:PORT`; without a port, at the [port of the layer](Self::port). With another
    /// port than that, the other members have to be told it: their [`host`](Self::host) entries name it, too. A port of 0
    /// is any that is free.
    ///
    /// At `0.0.0.0` it is reached at each of the host's addresses, and answers from the one that was asked.
    pub fn bind(addr: &str) -> Self {
        Self {
            addr: addr.into(),
            outgoing: false,
            name: None,
            layer: "udp4".into(),
            hosts: Vec::new(),
            table: HostTable::new(),
            resolvers: Vec::new(),
            system: true,
            priority: 0,
            config: Config::default(),
        }
    }

    /// At this host, at a port that the operating system draws: for stacks that only call out. Whoever makes up packets
    /// has to guess the port as well as the flow's number. Nobody can call such a stack, because nobody knows its port;
    /// those whom it calls answer there.
    ///
    /// `ip` may be `0.0.0.0`, for whatever address the host reaches a peer from. Hosts that are given without a port are
    /// called at the [port of the layer](Self::port), as by every member.
    ///
    /// ```
    /// use o7s::{Stack, Udp4};
    ///
    /// let stack = Stack::new()?;
    /// let net = stack.udp4(Udp4::outgoing("127.0.0.1").host("echo", "127.0.0.1"))?;
    /// assert_ne!(net.local_addr().unwrap().port(), 3435);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn outgoing(ip: &str) -> Self {
        Self { outgoing: true, ..Self::bind(ip) }
    }

    /// Sets the UDP port of the layer: where this member is bound unless its address names a port, and where hosts are
    /// called that are given without one. Default 3435, as of the reference, whose members call everybody at the port
    /// that they are bound to themselves: with them all members of a layer have to use the same.
    ///
    /// ```no_run
    /// use o7s::{Stack, Udp4};
    ///
    /// // A layer at port 4000, of which every member says so.
    /// let server = Stack::new()?;
    /// server.udp4(Udp4::bind("10.9.0.2").port(4000))?.register("echo")?;
    ///
    /// let client = Stack::new()?;
    /// client.udp4(Udp4::bind("10.9.0.1").port(4000).host("echo", "10.9.0.2"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn port(mut self, port: u16) -> Self {
        self.config.peer_port = Some(port);
        self
    }

    /// Sets the MTU of the paths of the layer, bytes with the IP header: 1420 for WireGuard, 1280 where nothing is known.
    /// Packets of flows are no larger than fits, those of streams included. The headers of IP, UDP and the layer take 32
    /// bytes of each, so a flow carries nothing where this is not more. Requests and replies have
    /// [`max_mgmt`](Self::max_mgmt).
    ///
    /// Default: a packet may have 8976 bytes, as a reference's; what is larger than the path's MTU goes in fragments, which
    /// costs more and some networks swallow. Streams make packets of [1400 bytes](super::Builder::stream_packet), so this
    /// matters to programs that write up to [`max_packet`](super::Flow::max_packet) at a time.
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.config.mtu = Some(bytes);
        self
    }

    /// Sets the IPCP's own name. Default: made from the address.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the layer's name; it is not on the wire. Default: `udp4`.
    pub fn layer(mut self, layer: &str) -> Self {
        self.layer = layer.into();
        self
    }

    /// Sets where the name `name` is: `addr` is `IP` or `IP:PORT`. Without a port it is called at the
    /// [port of the layer](Self::port), 3435 by default, whatever port this member is bound to.
    pub fn host(mut self, name: &str, addr: &str) -> Self {
        self.hosts.push((name.into(), addr.into()));
        self
    }

    /// Sets the table in which names are looked up first. It may change at any time. Default: one of the member's own.
    pub fn table(mut self, table: &Arc<HostTable>) -> Self {
        self.table = Arc::clone(table);
        self
    }

    /// Adds a resolver for names that the table does not know; it is asked after those added before, and before the
    /// system's. Default: none.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolvers.push(resolver);
        self
    }

    /// Sets whether the operating system is asked for names that nobody else knows (the hash in hexadecimal as host name,
    /// like the reference does). Default: `true`; polled stacks never ask.
    pub fn system_resolver(mut self, on: bool) -> Self {
        self.system = on;
        self
    }

    /// Sets the priority of the layer: those with a higher one are asked for a name first. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how many flows there may be, requests under way included, at most 2²⁰; more are refused. Default: 65 536.
    pub fn max_flows(mut self, flows: usize) -> Self {
        self.config.max_flows = flows;
        self
    }

    /// Sets how many names can be registered; more are refused. Default: 4096.
    pub fn max_names(mut self, names: usize) -> Self {
        self.config.max_names = names;
        self
    }

    /// Sets how many names are remembered with the address that a resolver found for them, or with its failure; beyond it
    /// the oldest are forgotten. Default: 4096.
    pub fn max_directory(mut self, names: usize) -> Self {
        self.config.max_directory = names;
        self
    }

    /// Sets how long an address that a resolver found is believed, and how long its failure. Default: 60 s, and 1 s for a
    /// failure.
    pub fn directory_ttl(mut self, found: Duration, failed: Duration) -> Self {
        (self.config.directory_ttl, self.config.directory_negative_ttl) = (found, failed);
        self
    }

    /// Sets the size of the largest management datagram that is sent, bytes: a request or a reply with its security header.
    /// One that would be larger fails. Default: 2048, what a reference survives.
    pub fn max_mgmt(mut self, bytes: usize) -> Self {
        self.config.max_mgmt = bytes;
        self
    }
}

impl fmt::Debug for Udp4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, outgoing, name, layer, hosts, priority, .. } = self;
        let mut shown = f.debug_struct("Udp4");
        shown.field("addr", addr).field("outgoing", outgoing).field("name", name).field("layer", layer);
        shown.field("hosts", hosts).field("priority", priority).finish_non_exhaustive()
    }
}

/// An address with the default port, if there is none.
fn parse_addr(text: &str, port: u16) -> Result<SocketAddr, StackError> {
    SocketAddr::from_str(text)
        .or_else(|_| IpAddr::from_str(text).map(|ip| SocketAddr::new(ip, port)))
        .map_err(|_| StackError::Address(text.into()))
}

/// A member of a layer. The membership lasts as long as the stack, or until it is [ended](Self::leave).
#[derive(Clone)]
pub struct IpcpHandle {
    shared: Arc<Shared>,
    id: IpcpId,
    ipcp: Arc<dyn Ipcp>,
    addr: Option<SocketAddr>,
}

impl IpcpHandle {
    pub(super) fn of_member(shared: &Arc<Shared>, membership: &Membership) -> Self {
        let ipcp = Arc::clone(membership.member()).as_ipcp();
        Self { shared: Arc::clone(shared), id: membership.id(), ipcp, addr: None }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn id(&self) -> IpcpId {
        self.id
    }

    /// Makes a name known in the layer, so that flows to it can be asked for there. Who [binds](Stack::bind) it
    /// accepts them.
    ///
    /// # Errors
    /// [`BindError`] if it is not a name or the layer takes no more.
    pub fn register(&self, name: &str) -> Result<(), BindError> {
        let name = Name::new(name)?;
        Ok(self.shared.node.register(self.id, &name)?)
    }

    /// Withdraws a name.
    pub fn unregister(&self, name: &str) {
        if let Ok(name) = Name::new(name) {
            self.shared.node.unregister(self.id, &name);
        }
    }

    /// Layers of a higher priority are asked for a name first.
    pub fn set_priority(&self, priority: i32) {
        self.shared.node.set_priority(self.id, priority);
    }

    /// What is fixed about the IPCP.
    pub fn info(&self) -> &Info {
        self.ipcp.info()
    }

    /// The socket's address, of IPCPs that have one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// What the IPCP has counted, and what state its components are in: its part of the stack's [`Rib`].
    pub fn rib(&self) -> Rib {
        self.ipcp.rib(self.shared.clock().now())
    }

    /// The numbers at the top of [`rib`](Self::rib).
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.rib().numbers().collect()
    }
}

impl fmt::Debug for IpcpHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpcpHandle").field("info", self.ipcp.info()).finish_non_exhaustive()
    }
}

impl Stack {
    /// Makes and bootstraps an IPCP of a local layer.
    pub fn local(&self, config: LocalConfig) -> IpcpHandle {
        let mut info = Info::new(Kind::Local, &config.name, &config.layer);
        info.hash = config.hash;
        let ipcp: Arc<dyn Ipcp> = LocalIpcp::new(info, self.shared.node.requests());
        let id = self.shared.node.add_ipcp(Arc::clone(&ipcp), 0);
        IpcpHandle { shared: Arc::clone(&self.shared), id, ipcp, addr: None }
    }

    /// Makes and bootstraps an IPCP of a UDP/IPv4 layer, with a socket of the operating system.
    ///
    /// # Errors
    /// [`StackError`] if an address is not one, or cannot be bound.
    pub fn udp4(&self, config: Udp4) -> Result<IpcpHandle, StackError> {
        let port = if config.outgoing { 0 } else { config.config.peer_port.unwrap_or(DEFAULT_PORT) };
        let addr = parse_addr(&config.addr, port)?;
        if !addr.is_ipv4() {
            return Err(StackError::NotIpv4(addr));
        }
        let socket = UdpSocket::bind(addr).map_err(|error| StackError::Bind { addr, error })?;
        self.udp4_over(socket, config)
    }

    /// As [`udp4`](Self::udp4), over a device of the caller's: a simulated socket, or a driver. The address in
    /// `config` is not used.
    ///
    /// # Errors
    /// [`StackError`] if an address in the table of hosts is not one.
    pub fn udp4_over(&self, socket: Arc<dyn Datagrams>, config: Udp4) -> Result<IpcpHandle, StackError> {
        for (name, addr) in &config.hosts {
            let name = Name::new(name)?;
            config.table.insert_at(&name, parse_addr(addr, 0)?);
        }
        let addr = socket.local_addr();
        let name = Name::new(&config.name.unwrap_or_else(|| format!("udp4.{addr}")))?;
        let mut resolvers: Vec<Arc<dyn Resolver>> = vec![config.table];
        resolvers.extend(config.resolvers);
        if config.system && self.shared.background.is_some() {
            resolvers.push(Arc::new(SystemResolver::default()));
        }
        let parts = Parts {
            info: Info::new(Kind::Udp4, name.as_str(), &config.layer),
            socket,
            resolver: Arc::new(Chain::new(resolvers)),
            config: config.config,
        };
        let handle = self.attend("udp4", config.priority, |context| UdpShim::new(context, parts))?;
        Ok(IpcpHandle { addr: Some(addr), ..handle })
    }

    /// Adds a member of a layer over a device of the caller's: `info` describes it, and `make` makes the [`Shim`](custom::Shim)
    /// that sends and receives, which keeps the [`Layer`] to report what arrives to. Its receive loop, and the background
    /// thread for it, are the stack's.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use o7s::shim::{Layer, Shim};
    /// use o7s::{IpcpHandle, IpcpInfo, IpcpKind, Stack, StackError};
    ///
    /// fn add<S: Shim>(stack: &Stack, open: impl FnOnce(Layer) -> S) -> Result<IpcpHandle, StackError> {
    ///     stack.add(IpcpInfo::new(IpcpKind::Custom("serial"), "serial-0", "field bus"), |layer| Arc::new(open(layer)))
    /// }
    /// ```
    ///
    /// [`manual::doors`](crate::manual::doors) has a complete example.
    ///
    /// # Errors
    /// [`StackError::Name`] if the name in `info` is not one, [`StackError::Down`] if the stack was shut down,
    /// [`StackError::Thread`] if the operating system starts no more threads.
    pub fn add<S: custom::Shim>(
        &self,
        info: Info,
        make: impl FnOnce(Layer) -> Arc<S>,
    ) -> Result<IpcpHandle, StackError> {
        Name::new(&info.name)?;
        self.attend("shim", 0, |context| Adapter::new(context, info, make))
    }

    pub(super) fn attend<S: Shim>(
        &self,
        label: &str,
        priority: i32,
        make: impl FnOnce(ShimContext) -> Arc<S>,
    ) -> Result<IpcpHandle, StackError> {
        let node = &self.shared.node;
        let shim: Arc<dyn Attended> =
            ReceiveLoop::new(node.clock(), node.panics(), |device| make(node.shim_context(device, label)));
        if node.is_down() {
            return Err(StackError::Down);
        }
        if let Some(background) = &self.shared.background {
            background.serve(&shim, node.clock()).map_err(StackError::Thread)?;
        }
        let ipcp = shim.ipcp();
        self.shared.shims.lock().push(shim);
        let id = node.add_ipcp(Arc::clone(&ipcp), priority);
        Ok(IpcpHandle { shared: Arc::clone(&self.shared), id, ipcp, addr: None })
    }
}
