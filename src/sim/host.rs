//! Hosts with a stack of this crate on them.

use std::net::SocketAddr;
use std::sync::Arc;

use super::addr::ToSocketAddr;
use super::ethernet::{Interface, Switch, ToMac};
use super::hosts::{HostId, Polled};
use super::network::Network;
use super::seeds;
use super::socket::UdpSocket;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::stack::{Builder, ConfigError, Eth, IpcpHandle, Listener, NetworkConfig, Stack, Udp4, Udp6, WeakStack};
use crate::types::device::{Datagrams, Frames};
use crate::types::name::Name;
use crate::wire::udp::DEFAULT_PORT;

/// A host that is being put together; see [`Network::host`].
#[must_use = "a host exists when it is built"]
pub struct HostBuilder {
    net: Network,
    name: String,
    stack: Builder,
    udp4: Vec<(SocketAddr, Udp4)>,
    eth: Vec<(Arc<Interface>, Eth)>,
    udp6: Vec<(SocketAddr, Udp6)>,
}

impl std::fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("HostBuilder");
        shown.field("name", &self.name).field("udp4", &self.udp4).field("udp6", &self.udp6).field("eth", &self.eth);
        shown.finish_non_exhaustive()
    }
}

impl HostBuilder {
    pub(super) fn new(net: Network, name: &str) -> Self {
        // A host that is started again must not draw the numbers of its former life.
        let purpose = format!("host {name} {}", net.hosts_named(name));
        let mut seed = [0; 32];
        seeds::rng(net.seed(), &purpose).fill(&mut seed);
        let stack = Stack::builder().name(name).seed(seed).polled_with(net.manual_clock()).pool(net.pool());
        Self { net, name: name.into(), stack, udp4: Vec::new(), udp6: Vec::new(), eth: Vec::new() }
    }

    /// A UDP/IPv4 layer at this address, `IP` or `IP:PORT`; the port is 3435 if not given. What is registered in it is
    /// known to all hosts that have such a layer; names are looked up in the [table of the network](Network::names), and
    /// then among what others have registered.
    ///
    /// # Panics
    ///
    /// If it is not an address.
    #[track_caller]
    pub fn udp4(self, addr: &str) -> Self {
        let config = Udp4::bind(addr).table(self.net.names()).resolver(self.net.resolver());
        self.udp4_with(addr, config)
    }

    /// As [`udp4`](Self::udp4), with settings of its own, including the places of names; the address in there is not
    /// used. Names registered in it are not announced to other hosts.
    ///
    /// # Panics
    ///
    /// If it is not an address.
    #[track_caller]
    pub fn udp4_with(mut self, addr: &str, config: Udp4) -> Self {
        self.udp4.push((with_port(addr), config));
        self
    }

    /// A UDP/IPv6 layer at this address, `IP` or `[IP]:PORT`; the port is 3435 if not given. Otherwise as
    /// [`udp4`](Self::udp4).
    ///
    /// # Panics
    ///
    /// If it is not an address.
    #[track_caller]
    pub fn udp6(self, addr: &str) -> Self {
        let config = Udp6::bind(addr).table(self.net.names()).resolver(self.net.resolver());
        self.udp6_with(addr, config)
    }

    /// As [`udp6`](Self::udp6), with settings of its own, which also say where names are; the address in there is not
    /// used. What is registered in it others are not told.
    ///
    /// # Panics
    ///
    /// If it is not an address.
    #[track_caller]
    pub fn udp6_with(mut self, addr: &str, config: Udp6) -> Self {
        self.udp6.push((with_port(addr), config));
        self
    }

    /// An Ethernet layer with DIX framing, over an interface with this address at a switch.
    ///
    /// # Panics
    ///
    /// If it is not an address.
    #[track_caller]
    pub fn eth(self, switch: &Switch, mac: impl ToMac) -> Self {
        let name = format!("eth{}", self.eth.len());
        self.eth_with(switch, mac, Eth::dix(&name))
    }

    /// As [`eth`](Self::eth), with settings of its own, which also say how frames are framed.
    ///
    /// # Panics
    ///
    /// If it is not an address.
    #[track_caller]
    pub fn eth_with(mut self, switch: &Switch, mac: impl ToMac, config: Eth) -> Self {
        self.eth.push((switch.plug(mac), config));
        self
    }

    /// Changes settings of the stack: its security, its bounds.
    pub fn stack(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.stack = change(self.stack);
        self
    }

    /// Puts the host into the world.
    ///
    /// # Panics
    ///
    /// If an address is taken, or a setting refused.
    #[track_caller]
    #[expect(clippy::expect_used, reason = "a mistake in the scenario")]
    pub fn build(self) -> Host {
        let Self { net, name, stack, udp4, udp6, eth } = self;
        let stack = stack.build().expect("a polled stack needs nothing of the operating system");
        let id = net.attach(&name, Arc::new(Driver(stack.downgrade())), &[]);
        // No closures: what is wrong is told of the line of the caller.
        let sound = "the layer's settings are sound";
        let (mut layers4, mut layers6) = (Vec::new(), Vec::new());
        for (addr, config) in udp4 {
            let socket: Arc<UdpSocket> = net.udp(addr);
            net.give(id, &socket);
            layers4.push(stack.udp4_over(socket as Arc<dyn Datagrams>, config).expect(sound));
        }
        for (addr, config) in udp6 {
            let socket: Arc<UdpSocket> = net.udp(addr);
            net.give(id, &socket);
            layers6.push(stack.udp6_over(socket as Arc<dyn Datagrams>, config).expect(sound));
        }
        let (mut segments, mut interfaces) = (Vec::new(), Vec::new());
        for (interface, config) in eth {
            net.give(id, interface.socket());
            let device = Arc::clone(&interface) as Arc<dyn Frames>;
            segments.push(stack.eth_over(device, config).expect(sound));
            interfaces.push(interface);
        }
        Host { net, id, name, stack, udp4: layers4, udp6: layers6, eth: segments, interfaces }
    }
}

/// An address with the default port, if there is none.
#[track_caller]
fn with_port(addr: &str) -> SocketAddr {
    match addr.parse() {
        Ok(ip) => SocketAddr::new(ip, DEFAULT_PORT),
        Err(_) => addr.to_socket_addr(),
    }
}

/// A host with a stack in a simulated [`Network`]. Dropping it drops its handle of the stack, no more.
pub struct Host {
    net: Network,
    id: HostId,
    name: String,
    stack: Stack,
    udp4: Vec<IpcpHandle>,
    eth: Vec<IpcpHandle>,
    interfaces: Vec<Arc<Interface>>,
    udp6: Vec<IpcpHandle>,
}

impl Host {
    /// The stack.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The host's UDP/IPv4 layers, in the order in which they were given.
    pub fn udp4(&self) -> &[IpcpHandle] {
        &self.udp4
    }

    /// The host's UDP/IPv6 layers, in the order in which they were given.
    pub fn udp6(&self) -> &[IpcpHandle] {
        &self.udp6
    }

    /// The host's Ethernet layers, in the order in which they were given.
    pub fn eth(&self) -> &[IpcpHandle] {
        &self.eth
    }

    /// The interfaces of its Ethernet layers.
    pub fn interfaces(&self) -> &[Arc<Interface>] {
        &self.interfaces
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Accepts flows to `name` here: binds it, registers it in all layers and enters it into the
    /// [table of the network](Network::names).
    ///
    /// # Panics
    ///
    /// If the name is not one, or the host has crashed.
    #[track_caller]
    #[expect(clippy::expect_used, reason = "a mistake in the scenario")]
    pub fn listen(&self, name: &str) -> Listener {
        let listener = self.stack.bind(name).expect("the name can be bound");
        for layer in self.udp4.iter().chain(&self.udp6).chain(&self.eth) {
            layer.register(name).expect("the name can be registered");
            if let (Ok(name), Some(addr)) = (Name::new(name), layer.local_addr()) {
                self.net.names().insert_at(&name, addr);
            }
        }
        listener
    }

    /// Makes the network that a configuration describes, with sockets of the simulated network. What its UDP layers
    /// register is entered into the [table of the network](Network::names).
    ///
    /// # Errors
    /// [`ConfigError`], as [`NetworkBuilder::build_async`](crate::stack::NetworkBuilder::build_async).
    pub async fn configure(&self, config: &NetworkConfig) -> Result<Vec<IpcpHandle>, ConfigError> {
        // What makes a network may move to another thread, and the simulated one does not: its sockets come first.
        let mut sockets = Vec::new();
        for (addr, names) in config.udp_names() {
            names.iter().for_each(|name| self.net.names().insert_at(name, addr));
            let socket = self.net.udp(addr);
            self.net.give(self.id, &socket);
            sockets.push(socket);
        }
        let sockets = Mutex::new(sockets);
        let open = |addr: SocketAddr| {
            let mut sockets = sockets.lock();
            // There are no interfaces here.
            let is_it = |own: SocketAddr| (own.ip(), own.port()) == (addr.ip(), addr.port());
            let at = sockets.iter().position(|socket| is_it(socket.local_addr()));
            let socket = at.map(|at| sockets.remove(at)).ok_or(std::io::ErrorKind::AddrNotAvailable)?;
            Ok(socket as Arc<dyn Datagrams>)
        };
        let network = self.stack.network(config).hosts(self.net.names()).resolver(self.net.resolver());
        network.sockets(open).build_async().await
    }

    /// Takes the host out of the network without warning: it is never polled again and its sockets are dead, while their
    /// addresses can be bound anew.
    pub fn crash(&self) {
        self.net.crash(self.id);
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("name", &self.name).field("id", &self.id).finish_non_exhaustive()
    }
}

/// Polls a stack for as long as another handle keeps it up.
struct Driver(WeakStack);

impl Polled for Driver {
    fn poll(&self, now: Instant) -> Option<Instant> {
        self.0.upgrade()?.poll(now)
    }

    fn set_wake(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        if let Some(stack) = self.0.upgrade() {
            stack.on_wake(move || wake());
        }
    }
}
