//! Settings of members of UDP layers.

use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::StackError;
use crate::device::SocketOptions;
use crate::device::resolve::interface_index;
use crate::ipcp::shim::resolve::{HostTable, Resolver};
use crate::ipcp::shim::udp::{Config, Moves};
use crate::types::addr::{self, AddrError, lacks_scope};
use crate::types::name::Name;
use crate::wire::udp::DEFAULT_PORT;

/// Settings of a member of a UDP layer over one family of addresses: where it is, where names are, and its bounds.
/// [`Udp4`] is for IPv4, [`Udp6`] for IPv6.
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
pub struct Udp<Family> {
    settings: Settings,
    family: PhantomData<fn() -> Family>,
}

/// Settings of a member of a UDP/IPv4 layer.
pub type Udp4 = Udp<Ipv4Addr>;

/// Settings of a member of a UDP/IPv6 layer. Addresses are `IP` or `[IP]:PORT`, and link-local ones name the interface:
/// `fe80::1%eth0`, `[fe80::1%eth0]:3435`.
pub type Udp6 = Udp<Ipv6Addr>;

/// Settings of either family.
pub(super) struct Settings {
    pub(super) addr: String,
    pub(super) outgoing: bool,
    pub(super) name: Option<String>,
    pub(super) layer: String,
    pub(super) hosts: Vec<(String, String)>,
    pub(super) table: Arc<HostTable>,
    pub(super) resolvers: Vec<Arc<dyn Resolver>>,
    pub(super) system: bool,
    pub(super) priority: i32,
    pub(super) config: Config,
    pub(super) socket: SocketOptions,
}

impl Udp<Ipv4Addr> {
    /// A member at this address, `IP` or `IP:PORT`; without a port, at the [port of the layer](Self::port). With another
    /// port than that, the other members have to be told it: their [`host`](Self::host) entries name it, too. A port of 0
    /// is any that is free.
    ///
    /// At `0.0.0.0` it is reached at each of the host's addresses, and answers from the one that was asked.
    pub fn bind(addr: &str) -> Self {
        Self::at(addr, "udp4", false)
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
        Self::at(ip, "udp4", true)
    }
}

impl Udp<Ipv6Addr> {
    /// A member at this address, `IP` or `[IP]:PORT`; without a port, at the [port of the layer](Self::port). With another
    /// port than that, the other members have to be told it: their [`host`](Self::host) entries name it, too. A port of 0
    /// is any that is free. A link-local address names its interface: `fe80::1%eth0`.
    ///
    /// At `::` it is reached at each of the host's IPv6 addresses, and answers from the one that was asked.
    ///
    /// ```no_run
    /// use o7s::{Stack, Udp6};
    ///
    /// let server = Stack::new()?;
    /// server.udp6(Udp6::bind("::"))?.register("echo")?;
    ///
    /// let client = Stack::new()?;
    /// client.udp6(Udp6::bind("fe80::2%eth0").host("echo", "fe80::1%eth0"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bind(addr: &str) -> Self {
        Self::at(addr, "udp6", false)
    }

    /// At this host, at a port that the operating system draws: for stacks that only call out. Whoever makes up packets
    /// has to guess the port as well as the flow's number. Nobody can call such a stack, because nobody knows its port;
    /// those whom it calls answer there.
    ///
    /// `ip` may be `::`, for whatever address the host reaches a peer from. Hosts that are given without a port are called
    /// at the [port of the layer](Self::port), as by every member.
    pub fn outgoing(ip: &str) -> Self {
        Self::at(ip, "udp6", true)
    }

    /// Sets whether a member at `::` carries IPv4 as well: it is reached at the host's IPv4 addresses, too, and names may be
    /// at such. Default: `false`, so that a member of a [`Udp4`] layer may be at the same port.
    pub fn dual_stack(mut self, on: bool) -> Self {
        self.settings.socket.dual = on;
        self.settings.config.dual = on;
        self
    }
}

impl<Family> Udp<Family> {
    fn at(addr: &str, layer: &str, outgoing: bool) -> Self {
        let settings = Settings {
            addr: addr.into(),
            outgoing,
            name: None,
            layer: layer.into(),
            hosts: Vec::new(),
            table: HostTable::new(),
            resolvers: Vec::new(),
            system: true,
            priority: 0,
            config: Config::default(),
            socket: SocketOptions::default(),
        };
        Self { settings, family: PhantomData }
    }

    pub(super) fn into_settings(self) -> Settings {
        self.settings
    }

    /// Sets the UDP port of the layer: where this member is bound unless its address names a port, and where hosts are
    /// called that are given without one. Default 3435, as of the reference, whose members call everybody at the port
    /// that they are bound to themselves: with them all members of a layer have to use the same. 0 is none, and an error when
    /// the member is made: any free port is had by an [address](Self::bind) that says so.
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
        self.settings.config.peer_port = Some(port);
        self
    }

    /// Sets the MTU of the paths of the layer, bytes with the IP header: 1420 for WireGuard, 1280 where nothing is known.
    /// Packets of flows are no larger than fits, those of streams included. The headers of IP, UDP and the layer take 32
    /// bytes of each over IPv4 and 52 over IPv6, so a flow carries nothing where this is not more. Requests and replies
    /// have [`max_mgmt`](Self::max_mgmt).
    ///
    /// Default: a packet may have 8976 bytes over IPv4 and 8948 over IPv6, as a reference's; what is larger than the path's
    /// MTU goes in fragments, which costs more and some networks swallow. Streams make packets of
    /// [1400 bytes](super::Builder::stream_packet), so this matters to programs that write up to
    /// [`max_packet`](super::Flow::max_packet) at a time.
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.settings.config.mtu = Some(bytes);
        self
    }

    /// Sets the network interface that all datagrams of the layer pass (`SO_BINDTODEVICE`, on Linux), whatever the routes
    /// of the host say; link-local addresses without an interface are meant of it. Default: none in particular.
    pub fn interface(mut self, name: &str) -> Self {
        self.settings.socket.interface = Some(name.into());
        self
    }

    /// Sets whether other sockets of the host may be bound to the same address and port, if they say so as well
    /// (`SO_REUSEPORT`, on Unix): the system deals the peers out among them, and all datagrams of a peer go to the same one
    /// for as long as none comes or goes. Default: `false`.
    pub fn share_port(mut self, on: bool) -> Self {
        self.settings.socket.reuse = on;
        self
    }

    /// Sets how many bytes of what has arrived the operating system keeps until this process receives it. What has no room
    /// is lost, and counted as `device_overrun` where the system tells. It may give less, up to a limit of its own that an
    /// operator can raise (on Linux the sysctl `net.core.rmem_max`); the [log](crate#log-records) says so then, at `warn`,
    /// or of the default at `info`. More than 1 GiB count as 1 GiB. Default: 8 MiB.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.settings.socket.receive_buffer = bytes;
        self
    }

    /// Sets the IPCP's own name. Default: made from the address.
    pub fn name(mut self, name: &str) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// Sets the layer's name; it is not on the wire. Default: `udp4` or `udp6`.
    pub fn layer(mut self, layer: &str) -> Self {
        self.settings.layer = layer.into();
        self
    }

    /// Sets where the name `name` is: `addr` is an address as in `bind`. Without a port it is called at the
    /// [port of the layer](Self::port), 3435 by default, whatever port this member is bound to.
    pub fn host(mut self, name: &str, addr: &str) -> Self {
        self.settings.hosts.push((name.into(), addr.into()));
        self
    }

    /// Sets the table in which names are looked up first. It may change at any time, and layers of both families may share
    /// it. Default: one of the member's own.
    pub fn table(mut self, table: &Arc<HostTable>) -> Self {
        self.settings.table = Arc::clone(table);
        self
    }

    /// Adds a resolver for names that the table does not know; it is asked after those added before, and before the
    /// system's. Default: none.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.settings.resolvers.push(resolver);
        self
    }

    /// Sets whether the operating system is asked for names that nobody else knows (the hash in hexadecimal as host name,
    /// like the reference does). Default: `true`; polled stacks never ask.
    pub fn system_resolver(mut self, on: bool) -> Self {
        self.settings.system = on;
        self
    }

    /// Sets the priority of the layer: those with a higher one are asked for a name first. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.settings.priority = priority;
        self
    }

    /// Sets which flows go on when their peer turns up at another address. Default: [`Moves::Encrypted`], and those that only
    /// get another port.
    pub fn moves(mut self, moves: Moves) -> Self {
        self.settings.config.moves = moves;
        self
    }

    /// Sets how many flows there may be, requests under way included, at most 2²⁰; more are refused. Default: 65 536.
    pub fn max_flows(mut self, flows: usize) -> Self {
        self.settings.config.max_flows = flows;
        self
    }

    /// Sets how many names can be registered; more are refused. Default: 4096.
    pub fn max_names(mut self, names: usize) -> Self {
        self.settings.config.max_names = names;
        self
    }

    /// Sets how many names are remembered with the addresses that a resolver found for them, or with its failure; beyond it
    /// the oldest are forgotten. Default: 4096.
    pub fn max_directory(mut self, names: usize) -> Self {
        self.settings.config.max_directory = names;
        self
    }

    /// Sets how long an address that a resolver found is believed, and how long its failure. Default: 60 s, and 1 s for a
    /// failure.
    pub fn directory_ttl(mut self, found: Duration, failed: Duration) -> Self {
        let config = &mut self.settings.config;
        (config.directory_ttl, config.directory_negative_ttl) = (found, failed);
        self
    }

    /// Sets the size of the largest management datagram that is sent, bytes: a request or a reply with its security header.
    /// One that would be larger fails. Default: 2048, what a reference survives.
    pub fn max_mgmt(mut self, bytes: usize) -> Self {
        self.settings.config.max_mgmt = bytes;
        self
    }
}

impl<Family> fmt::Debug for Udp<Family> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { addr, outgoing, name, layer, hosts, priority, socket, .. } = &self.settings;
        let mut shown = f.debug_struct("Udp");
        shown.field("addr", addr).field("outgoing", outgoing).field("name", name).field("layer", layer);
        shown.field("hosts", hosts).field("priority", priority).field("socket", socket).finish_non_exhaustive()
    }
}

impl Settings {
    /// Nobody can be called at port 0.
    fn check_port(&self) -> Result<(), StackError> {
        if self.config.peer_port == Some(0) { Err(StackError::Port) } else { Ok(()) }
    }

    /// Where the member is to be bound.
    pub(super) fn bind_addr(&self) -> Result<SocketAddr, StackError> {
        self.check_port()?;
        let port = if self.outgoing { 0 } else { self.config.peer_port.unwrap_or(DEFAULT_PORT) };
        let addr = addr::with_scope(parse(&self.addr, port)?, self.config.scope);
        if lacks_scope(&addr) { Err(StackError::LinkLocal(addr)) } else { Ok(addr) }
    }

    /// Finds out of which interface link-local addresses are meant.
    pub(super) fn find_interface(&mut self) -> Result<(), StackError> {
        if let Some(name) = &self.socket.interface {
            self.config.scope = interface_index(name).ok_or_else(|| StackError::NoInterface(name.clone()))?;
        }
        Ok(())
    }

    /// Enters the hosts into the table. Some link-local address without an interface is of use only to a member that is on
    /// a link itself.
    pub(super) fn enter_hosts(&self, own: SocketAddr) -> Result<(), StackError> {
        self.check_port()?;
        for (name, host) in &self.hosts {
            let (name, host) = (Name::new(name)?, parse(host, 0)?);
            let knows_link = self.config.scope != 0 || addr::scope_of(&own) != 0 || lacks_scope(&own);
            if lacks_scope(&host) && !knows_link {
                return Err(StackError::LinkLocal(host));
            }
            self.table.insert_at(&name, host);
        }
        Ok(())
    }
}

/// An address, at this port if it has none.
fn parse(text: &str, port: u16) -> Result<SocketAddr, StackError> {
    addr::parse(text, port, interface_index).map_err(|error| match error {
        AddrError::Malformed => StackError::Address(text.into()),
        AddrError::Interface => StackError::NoInterface(text.into()),
    })
}
