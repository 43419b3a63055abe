//! Making IPCPs, and their handles.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::udp::{Settings, Udp4, Udp6};
use super::{BindError, Shared, Stack, StackError};
use crate::base::foreign::Panics;
use crate::base::journal::record;
use crate::capture::Pcap;
use crate::device::{Clamped, SystemResolver, UdpSocket};
use crate::ipcp::local::LocalIpcp;
use crate::ipcp::shim::custom::{self, Adapter, Layer};
use crate::ipcp::shim::resolve::{Chain, Resolver};
use crate::ipcp::shim::udp::{Parts, UdpShim};
use crate::ipcp::shim::{Attended, ReceiveLoop, Shim, ShimContext};
use crate::ipcp::{Info, Ipcp, Kind};
use crate::node::IpcpId;
use crate::node::member::Membership;
use crate::rib::Rib;
use crate::types::addr::Families;
use crate::types::device::Datagrams;
use crate::types::name::{HashAlg, Name};

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

    /// Returns the fixed properties of the IPCP.
    pub fn info(&self) -> &Info {
        self.ipcp.info()
    }

    /// The socket's address, of IPCPs that have one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Returns the counters of the IPCP and the state of its components: its part of the stack's [`Rib`].
    pub fn rib(&self) -> Rib {
        self.ipcp.rib(self.shared.clock().now())
    }
}

impl fmt::Debug for IpcpHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpcpHandle").field("info", self.ipcp.info()).finish_non_exhaustive()
    }
}

impl Stack {
    /// Returns the first IPCP of this name, without its address.
    pub(super) fn ipcp(&self, name: &Name) -> Option<IpcpHandle> {
        let all = self.shared.node.ipcps();
        let (id, ipcp) = all.into_iter().find(|(_, ipcp)| ipcp.info().name == name.as_str())?;
        Some(IpcpHandle { shared: Arc::clone(&self.shared), id, ipcp, addr: None })
    }

    /// Makes and bootstraps an IPCP of a local layer.
    pub fn local(&self, config: LocalConfig) -> IpcpHandle {
        let mut info = Info::new(Kind::Local, &config.name, &config.layer);
        info.hash = config.hash;
        let ipcp: Arc<dyn Ipcp> = LocalIpcp::new(info, self.shared.node.requests());
        // In a stack that was shut down it is none of the layers, and takes no names.
        let id = self.shared.node.add_ipcp(Arc::clone(&ipcp), 0).unwrap_or(IpcpId(0));
        IpcpHandle { shared: Arc::clone(&self.shared), id, ipcp, addr: None }
    }

    /// Makes and bootstraps an IPCP of a UDP/IPv4 layer, with a socket of the operating system.
    ///
    /// # Errors
    /// [`StackError`] if an address is not one, or cannot be bound.
    pub fn udp4(&self, config: Udp4) -> Result<IpcpHandle, StackError> {
        let mut settings = config.into_settings();
        settings.find_interface()?;
        let addr = settings.bind_addr()?;
        if !addr.is_ipv4() {
            return Err(StackError::NotIpv4(addr));
        }
        self.udp(Kind::Udp4, bind(self.shared.node.panics(), addr, &settings)?, settings)
    }

    /// As [`udp4`](Self::udp4), over a device of the caller's: a simulated socket, or a driver. The address in
    /// `config` is not used.
    ///
    /// # Errors
    /// [`StackError`] if an address in the table of hosts is not one.
    pub fn udp4_over(&self, socket: Arc<dyn Datagrams>, config: Udp4) -> Result<IpcpHandle, StackError> {
        self.udp(Kind::Udp4, socket, config.into_settings())
    }

    /// Makes and bootstraps an IPCP of a UDP/IPv6 layer, with a socket of the operating system. A stack may be in layers
    /// over IPv4 and over IPv6 at a time; which is asked for a name first, the [priority](super::Udp::priority) says.
    ///
    /// # Errors
    /// [`StackError`] if an address is not one, or cannot be bound.
    pub fn udp6(&self, config: Udp6) -> Result<IpcpHandle, StackError> {
        let mut settings = config.into_settings();
        settings.find_interface()?;
        let addr = settings.bind_addr()?;
        if !addr.is_ipv6() {
            return Err(StackError::NotIpv6(addr));
        }
        self.udp(Kind::Udp6, bind(self.shared.node.panics(), addr, &settings)?, settings)
    }

    /// As [`udp6`](Self::udp6), over a device of the caller's: a simulated socket, or a driver. The address in
    /// `config` is not used.
    ///
    /// # Errors
    /// [`StackError`] if an address in the table of hosts is not one.
    pub fn udp6_over(&self, socket: Arc<dyn Datagrams>, config: Udp6) -> Result<IpcpHandle, StackError> {
        self.udp(Kind::Udp6, socket, config.into_settings())
    }

    fn udp(&self, kind: Kind, socket: Arc<dyn Datagrams>, settings: Settings) -> Result<IpcpHandle, StackError> {
        let addr = socket.local_addr();
        settings.enter_hosts(addr)?;
        let label = if kind == Kind::Udp4 { "udp4" } else { "udp6" };
        let name = Name::new(&settings.name.unwrap_or_else(|| format!("{label}.{addr}")))?;
        let mut resolvers: Vec<Arc<dyn Resolver>> = vec![settings.table];
        resolvers.extend(settings.resolvers);
        if settings.system && self.shared.background.is_some() {
            resolvers.push(Arc::new(SystemResolver::default()));
        }
        let parts = Parts {
            info: Info::new(kind, name.as_str(), &settings.layer),
            socket: Arc::new(Pcap::new(socket, &self.shared.tap, name.as_str())),
            resolver: Arc::new(Chain::new(resolvers, Families::of(addr, settings.config.dual))),
            config: settings.config,
        };
        let handle = self.attend(label, settings.priority, |context| UdpShim::new(context, parts))?;
        Ok(IpcpHandle { addr: Some(addr), ..handle })
    }

    /// Adds a member of a layer over a device of the caller's: `info` describes it, and `make` makes the
    /// [`Shim`](custom::Shim) that sends and receives, which keeps the [`Layer`] to report what arrives to. Its receive
    /// loop, and the background thread for it, are the stack's.
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
        let ipcp = shim.ipcp();
        let id = self.enter(&shim, priority)?;
        Ok(IpcpHandle { shared: Arc::clone(&self.shared), id, ipcp, addr: None })
    }

    /// Makes a shim part of the stack. Of one that cannot be, the device is closed.
    fn enter(&self, shim: &Arc<dyn Attended>, priority: i32) -> Result<IpcpId, StackError> {
        let (node, background) =
            (&self.shared.node, self.shared.background.as_ref().filter(|_| !self.shared.node.is_down()));
        let served = background.map_or(Ok(()), |background| background.serve(shim, node.clock()));
        if let Err(error) = served {
            node.panics().call(|| shim.ipcp().shutdown(node.clock().now()));
            return Err(StackError::Thread(error));
        }
        let id = node.add_ipcp(shim.ipcp(), priority).ok_or(StackError::Down)?;
        let is_in = {
            let mut shims = self.shared.shims.lock();
            // Under the lock: a shutdown under way either finds the shim or is found here.
            let is_up = !node.is_down();
            shims.extend(is_up.then(|| Arc::clone(shim)));
            is_up
        };
        if !is_in {
            node.remove_ipcp(id);
            return Err(StackError::Down);
        }
        Ok(id)
    }
}

/// Binds the socket of a layer. A kernel that keeps less of what arrives than it was asked to is no error, but loses more of
/// it under load, and only the operator can change that.
#[allow(clippy::if_same_then_else, reason = "without the feature `log` no record is made, whatever its level")]
fn bind(panics: &Panics, addr: SocketAddr, settings: &Settings) -> Result<Arc<dyn Datagrams>, StackError> {
    let socket = UdpSocket::bind_with(addr, &settings.socket).map_err(|error| StackError::Bind { addr, error })?;
    if let Some(Clamped { wanted, got }) = socket.clamped() {
        let (addr, limit) = (socket.local_addr(), Clamped::LIMIT);
        let told = format!(
            "the receive buffer of {addr} has {got} bytes instead of {wanted}, and loses more under load: raise {limit}"
        );
        // Few systems give as much as is asked for unless somebody said so: nothing is wrong with them.
        if settings.socket.is_default_buffer() {
            record!(panics, Socket, Info, [address = addr, wanted: wanted, got: got], "{told}");
        } else {
            record!(panics, Socket, Warn, [address = addr, wanted: wanted, got: got], "{told}");
        }
    }
    Ok(socket)
}
