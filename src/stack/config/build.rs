//! Making the network that a file describes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    ConfigError, IpcpConfig, IpcpKind, Layer, Membership, NameConfig, NetworkConfig, Position, Problem, SecurityFiles,
    SecurityTable,
};
use crate::device::resolve::interface_index;
use crate::ipcp::shim::resolve::{HostTable, Resolver};
use crate::ipcp::unicast;
use crate::oap::SecurityConfig;
use crate::stack::security::{Paths, Side};
use crate::stack::{
    BroadcastLayer, ConnectOptions, Eth, IpcpHandle, LocalConfig, Stack, Udp, Udp4, Udp6, UnicastLayer, wait,
};
use crate::types::addr;
use crate::types::device::{Datagrams, Frames};
use crate::types::name::Name;

type Cause = Box<dyn std::error::Error + Send + Sync>;
type Interfaces<'a> = dyn Fn(&str, Option<u16>) -> io::Result<Arc<dyn Frames>> + Send + Sync + 'a;
type Sockets<'a> = dyn Fn(SocketAddr) -> io::Result<Arc<dyn Datagrams>> + Send + Sync + 'a;

/// A network that is about to be made as a [`NetworkConfig`] describes it, with what no file says.
#[must_use = "a network is made by `build` or `build_async`"]
pub struct NetworkBuilder<'a> {
    stack: &'a Stack,
    config: &'a NetworkConfig,
    hosts: Option<Arc<HostTable>>,
    resolver: Option<Arc<dyn Resolver>>,
    sockets: Option<Box<Sockets<'a>>>,
    interfaces: Option<Box<Interfaces<'a>>>,
}

impl Stack {
    /// A threaded stack with the network that a [configuration file](crate::manual::configuration) describes. What the file
    /// says in vain is in the [`warnings`](NetworkConfig::warnings) of [`NetworkConfig::read`]; to see them, to choose more
    /// about the stack, to say where hosts are, which a file has no place for, or to have the handles of its IPCPs, build it in
    /// two steps, with [`network`](Self::network).
    ///
    /// # Errors
    /// [`ConfigError`], which says where in the file; all members must have enrolled and connected.
    pub fn from_config(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let config = NetworkConfig::read(path)?;
        let stack = Self::new().map_err(|error| config.failed(None, "the stack cannot be made", error))?;
        stack.network(&config).build()?;
        Ok(stack)
    }

    /// Begins to make the IPCPs and names of a description.
    ///
    /// ```
    /// use o7s::{NetworkConfig, Stack};
    ///
    /// let config: NetworkConfig = r#"
    ///     [local.wire]
    ///     bootstrap = "wire"
    ///     reg = ["node-a", "node-b"]
    ///     [unicast.node-a]
    ///     bootstrap = "net"
    ///     autobind = true
    ///     [unicast.node-b]
    ///     enrol = "node-a"
    ///     conn = ["node-a"]
    /// "#.parse()?;
    /// let stack = Stack::new()?;
    /// let ipcps = stack.network(&config).build()?;
    /// assert_eq!(ipcps[2].connections().len(), 2, "management and data transfer");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn network<'a>(&'a self, config: &'a NetworkConfig) -> NetworkBuilder<'a> {
        NetworkBuilder { stack: self, config, hosts: None, resolver: None, sockets: None, interfaces: None }
    }
}

impl fmt::Debug for NetworkBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkBuilder").field("config", self.config).finish_non_exhaustive()
    }
}

impl<'a> NetworkBuilder<'a> {
    /// Sets the table in which UDP layers look names up first, before the system's resolver. It may change at any time.
    /// Default: none.
    pub fn hosts(mut self, table: &Arc<HostTable>) -> Self {
        self.hosts = Some(Arc::clone(table));
        self
    }

    /// UDP layers ask this for what the table does not know.
    #[cfg(feature = "sim")]
    pub(crate) fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Sets what gives UDP layers the socket for their address. Default: the operating system.
    pub fn sockets(mut self, open: impl Fn(SocketAddr) -> io::Result<Arc<dyn Datagrams>> + Send + Sync + 'a) -> Self {
        self.sockets = Some(Box::new(open));
        self
    }

    /// Sets what gives Ethernet layers the device for their interface: for frames of an EtherType, or for LLC frames if it is
    /// given none. Default: [packet sockets](crate::device::PacketSocket) of the operating system.
    pub fn interfaces(
        mut self,
        open: impl Fn(&str, Option<u16>) -> io::Result<Arc<dyn Frames>> + Send + Sync + 'a,
    ) -> Self {
        self.interfaces = Some(Box::new(open));
        self
    }

    /// Makes everything in the order of the file, and waits for members to enroll and to be connected. Returns the
    /// handles of those that became members of a layer, in the same order.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that does not work; the IPCPs that were made before it are gone again.
    pub fn build(self) -> Result<Vec<IpcpHandle>, ConfigError> {
        let stack = self.stack.clone();
        let polled = ConfigError::new(None, Problem::Polled);
        // There is no end to this wait but those of enrollments and connections, which have one.
        wait::block_on_future(&stack.shared, self.build_async()).unwrap_or(Err(polled))
    }

    /// As [`build`](Self::build). Dropping the future gives up; what was made stays.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub async fn build_async(self) -> Result<Vec<IpcpHandle>, ConfigError> {
        self.security()?;
        for name in &self.config.names {
            self.name(name)?;
        }
        let mut made = Vec::new();
        for ipcp in &self.config.ipcps {
            if let Err(error) = self.ipcp(ipcp, &mut made).await {
                made.into_iter().rev().for_each(IpcpHandle::leave);
                return Err(error);
            }
        }
        Ok(made)
    }

    /// What counts for all names comes first: it decides what is wrong with their files.
    fn security(&self) -> Result<(), ConfigError> {
        let Some(SecurityTable { directory, require, at }) = &self.config.security else { return Ok(()) };
        if let Some(demand) = require {
            self.stack.demand(*demand);
        }
        if let Some(directory) = directory {
            let loaded = self.stack.load_security(self.config.folder().join(directory));
            loaded.map_err(|error| self.config.failed(Some(*at), "security cannot be set up", error))?;
        }
        Ok(())
    }

    fn name(&self, config: &NameConfig) -> Result<(), ConfigError> {
        let NameConfig { name, balancing, server, client, at, .. } = config;
        let failed = |error| self.config.failed(Some(*at), format!("the name {name} cannot be set up"), error);
        let node = &self.stack.shared.node;
        self.stack.set_balancing(name.as_str(), *balancing).map_err(|error| failed(error.into()))?;
        let before = node.security_of(name);
        let mut security = before.clone();
        let sides = [(server, &mut security.server, Some(name)), (client, &mut security.client, None)];
        let mut any = false;
        for (files, side, server) in sides.into_iter().filter(|(files, ..)| **files != SecurityFiles::default()) {
            *side = self.read_security(files, server, side).map_err(failed)?;
            any = true;
        }
        if any {
            node.set_security(Some(name), security).map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }

    /// The settings in the files of a name, over those of the stack.
    fn read_security(
        &self,
        files: &SecurityFiles,
        server: Option<&Name>,
        base: &SecurityConfig,
    ) -> Result<SecurityConfig, Cause> {
        let at = |path: &Option<PathBuf>| path.as_ref().map(|path| self.config.folder().join(path));
        let (encryption, certificate, key) = (at(&files.encryption), at(&files.certificate), at(&files.key));
        if certificate.is_some() != key.is_some() {
            return Err("a certificate is of no use without its key, and the other way round: name both files".into());
        }
        let paths =
            Paths { encryption: encryption.as_deref(), certificate: certificate.as_deref(), key: key.as_deref() };
        Ok(Side::read(paths, server)?.over(base, &base.static_keys)?)
    }

    /// Makes an IPCP, and does what its table says.
    async fn ipcp(&self, config: &IpcpConfig, made: &mut Vec<IpcpHandle>) -> Result<(), ConfigError> {
        let failed = |what: String, cause| {
            let what = format!("[{}.{}]: {what}", config.kind.name(), config.name);
            self.config.failed(Some(config.at), what, cause)
        };
        let handle = match &config.membership {
            Membership::None => return Ok(()),
            Membership::Bootstrap { layer, parameters } => self
                .bootstrap(config, layer, parameters)
                .map_err(|cause| failed(format!("the layer {layer} cannot be bootstrapped"), cause))?,
            Membership::Enroll { with } => {
                let enrolled = self.enroll(config, with).await;
                enrolled.map_err(|cause| failed(format!("enrollment with {with} failed"), cause))?
            }
        };
        made.push(handle.clone());
        for name in &config.register {
            let registered = handle.register(name.as_str());
            registered.map_err(|error| failed(format!("{name} cannot be registered"), error.into()))?;
        }
        // Of members that are not enrolled, the reader has warned.
        let neighbours = matches!(config.membership, Membership::Enroll { .. }).then_some(&config.connect);
        for name in neighbours.into_iter().flatten() {
            self.connect(config, &handle, name).await.map_err(|(what, cause)| failed(what, cause))?;
        }
        Ok(())
    }

    /// Connects a member to a neighbour, over every layer that its table names. An error says what failed, and why.
    async fn connect(&self, config: &IpcpConfig, member: &IpcpHandle, to: &Name) -> Result<(), (String, Cause)> {
        let what = format!("{to} cannot be connected to");
        if config.connect_over.is_empty() {
            return member.connect_async(to.as_str()).await.map_err(|error| (what, error.into()));
        }
        for over in &config.connect_over {
            let what = format!("{what} over {over}");
            let Some(lower) = self.stack.ipcp(over) else { return Err((what, "there is no such IPCP yet".into())) };
            let options = ConnectOptions::new().over(&lower);
            let connected = member.connect_with_async(to.as_str(), options).await;
            connected.map_err(|error| (what, error.into()))?;
        }
        Ok(())
    }

    fn bootstrap(&self, config: &IpcpConfig, layer: &Name, parameters: &Layer) -> Result<IpcpHandle, Cause> {
        let own = config.name.as_str();
        Ok(match parameters {
            Layer::Local { hash } => self.stack.local(LocalConfig::new(own, layer.as_str()).hash(*hash)),
            Layer::Udp4 { ip, port, .. } => {
                let addr = format!("{ip}:{port}");
                let udp = self.udp(Udp4::bind(&addr), config, layer, *port);
                match &self.sockets {
                    Some(open) => self.stack.udp4_over(open(SocketAddr::from((*ip, *port)))?, udp)?,
                    None => self.stack.udp4(udp)?,
                }
            }
            Layer::Udp6 { ip, port, .. } => {
                let addr = format!("[{ip}]:{port}");
                let udp = self.udp(Udp6::bind(&addr), config, layer, *port);
                match &self.sockets {
                    // Who gives the sockets may have other interfaces than the system.
                    Some(open) => {
                        let scope = ip.interface.as_deref().and_then(interface_index).unwrap_or(0);
                        let addr = addr::with_scope(SocketAddr::from((ip.ip, *port)), scope);
                        self.stack.udp6_over(open(addr)?, udp)?
                    }
                    None => self.stack.udp6(udp)?,
                }
            }
            Layer::Unicast { hash, parameters } => {
                let layer = UnicastLayer::new(layer.as_str()).hash(*hash).parameters(*parameters);
                let member = self.stack.unicast(own).config(config.member_config());
                member.autobind(config.autobind).bootstrap(layer)?
            }
            Layer::Broadcast => {
                let layer = BroadcastLayer::new(layer.as_str());
                self.stack.broadcast(own).autobind(config.autobind).bootstrap(layer)?
            }
            Layer::EthDix { device, ethertype, hash } => self.eth(
                device,
                Some(*ethertype),
                Eth::dix(device).ethertype(*ethertype).hash(*hash).name(own).layer(layer.as_str()),
            )?,
            Layer::EthLlc { device, hash } => {
                self.eth(device, None, Eth::llc(device).hash(*hash).name(own).layer(layer.as_str()))?
            }
        })
    }

    /// The settings that members of both families have in common.
    fn udp<Family>(&self, mut udp: Udp<Family>, config: &IpcpConfig, layer: &Name, port: u16) -> Udp<Family> {
        udp = udp.name(config.name.as_str()).layer(layer.as_str());
        if let Some(moves) = config.moves {
            udp = udp.moves(moves);
        }
        // The address has it; 0 is any free one, and none at which others could be called.
        if port != 0 {
            udp = udp.port(port);
        }
        if let Some(table) = &self.hosts {
            udp = udp.table(table);
        }
        if let Some(resolver) = &self.resolver {
            udp = udp.resolver(Arc::clone(resolver));
        }
        udp
    }

    fn eth(&self, device: &str, ethertype: Option<u16>, eth: Eth) -> Result<IpcpHandle, Cause> {
        Ok(match &self.interfaces {
            Some(open) => self.stack.eth_over(open(device, ethertype)?, eth)?,
            None => self.stack.eth(eth)?,
        })
    }

    async fn enroll(&self, config: &IpcpConfig, with: &Name) -> Result<IpcpHandle, Cause> {
        let (stack, own, with) = (self.stack, config.name.as_str(), with.as_str());
        Ok(match config.kind {
            IpcpKind::Broadcast => stack.broadcast(own).autobind(config.autobind).enroll_async(with).await?,
            IpcpKind::Unicast => {
                let member = stack.unicast(own).config(config.member_config());
                member.autobind(config.autobind).enroll_async(with).await?
            }
            kind => return Err(format!("members of {} layers are not enrolled", kind.name()).into()),
        })
    }
}

impl IpcpConfig {
    /// Returns the local settings of this member; those of the layer are not among them.
    pub(super) fn member_config(&self) -> unicast::Config {
        let default = unicast::Config::default();
        unicast::Config { detection: self.detection.unwrap_or(default.detection), ..default }
    }
}

impl NetworkConfig {
    /// Where relative paths begin.
    fn folder(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    fn failed(&self, at: Option<Position>, what: impl Into<String>, cause: impl Into<Cause>) -> ConfigError {
        let error = ConfigError::new(at, Problem::Failed { what: what.into(), cause: cause.into() });
        match &self.file {
            Some(file) => error.in_file(file),
            None => error,
        }
    }
}
