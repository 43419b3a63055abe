//! Networks that files describe. The format is in [`manual::configuration`](crate::manual::configuration).

mod build;
mod error;
mod layers;
mod print;
mod scoped;
mod table;

use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::ipcp::shim::udp::Moves;
use crate::irm::LoadBalancing;
use crate::stack::security::Demand;
use crate::types::layer::Unicast;
use crate::types::name::{HashAlg, Name};

pub use build::NetworkBuilder;
pub use error::{ConfigError, ConfigWarning};
use error::{Position, Problem, Why};
use scoped::Scoped;

/// The longest file, bytes. Longer ones are something else.
const MAX_LEN: usize = 1 << 20;

/// Content of a configuration file: names with settings, and IPCPs.
/// [`manual::configuration`](crate::manual::configuration) has the format.
///
/// [`Stack::network`](crate::Stack::network) makes what it describes.
///
/// ```
/// use o7s::NetworkConfig;
///
/// let config: NetworkConfig = "[udp4.net]\nbootstrap = \"internet\"\nip = \"10.9.0.1\"".parse()?;
/// assert!(config.warnings().is_empty());
/// // Printed, it is a file that says the same, defaults included.
/// assert!(config.to_string().contains("port = 3435"));
///
/// let wrong = "[udp4.net]\nbootstrap = \"internet\"\nipp = \"10.9.0.1\"".parse::<NetworkConfig>().unwrap_err();
/// assert_eq!((wrong.line(), wrong.column()), (Some(3), Some(1)));
/// # Ok::<(), o7s::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Settings for all flows.
    security: Option<SecurityTable>,
    /// Names with settings.
    names: Vec<NameConfig>,
    /// Members of layers, in the order of their creation.
    ipcps: Vec<IpcpConfig>,
    /// Entries without effect, in the order of the file.
    warnings: Vec<ConfigWarning>,
    /// Path of the file. Relative paths in it start from its folder.
    file: Option<PathBuf>,
}

/// Security of all flows: `[security]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SecurityTable {
    /// The directory with settings, certificates and keys.
    directory: Option<PathBuf>,
    /// What is demanded of every flow.
    require: Option<Demand>,
    /// Position of the table.
    at: Position,
}

/// A name with settings: `[name.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NameConfig {
    /// The name.
    name: Name,
    /// Distribution of requests over the acceptors.
    balancing: LoadBalancing,
    /// Programs that serve it.
    programs: Vec<Program>,
    /// For flows that are accepted under the name.
    server: SecurityFiles,
    /// For flows that are allocated to the name.
    client: SecurityFiles,
    /// Position of its table.
    at: Position,
}

/// A program that serves a name. This library starts none: the name is served by the program that
/// [binds](crate::Stack::bind) it, or by a [handler](crate::Stack::bind_handler), which takes the place of a program
/// that is started on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// Path of the executable.
    path: PathBuf,
    /// Arguments with which it is started on a request for a flow; `None` if it is not started on demand.
    arguments: Option<Vec<String>>,
}

/// Files for the protection of one side of flows to a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SecurityFiles {
    /// The settings of encryption: an `enc.conf`.
    encryption: Option<PathBuf>,
    /// The certificate.
    certificate: Option<PathBuf>,
    /// The private key of the certificate.
    key: Option<PathBuf>,
}

/// An IPCP: `[TYPE.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct IpcpConfig {
    /// Its own name.
    name: Name,
    /// Its type.
    kind: IpcpKind,
    /// Its way of becoming a member of a layer.
    membership: Membership,
    /// Accepts enrollments and connections under its own name and that of its layer, if `true`.
    autobind: bool,
    /// Time of silence after which a neighbour of our own kind is missed; `None` for the
    /// [default](crate::ipcp::unicast::Config::detection). For unicast.
    detection: Option<Duration>,
    /// Flows that go on when their peer turns up at another address; `None` for the default. For UDP.
    moves: Option<Moves>,
    /// Names to register in the layer.
    register: Vec<Name>,
    /// Members to connect to, for management first and then for data transfer.
    connect: Vec<Name>,
    /// IPCPs over whose layers each of them is connected to, one after the other; none for whichever knows the name.
    connect_over: Vec<Name>,
    /// Position of its table.
    at: Position,
}

/// The type of an IPCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum IpcpKind {
    /// The programs of this stack.
    Local,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
    /// Ethernet with DIX frames.
    EthDix,
    /// Ethernet with LLC frames.
    EthLlc,
    /// Flows between any two members.
    Unicast,
    /// Packets from each member to all others.
    Broadcast,
}

impl IpcpKind {
    /// All types.
    const ALL: [Self; 7] =
        [Self::Local, Self::Udp4, Self::Udp6, Self::EthDix, Self::EthLlc, Self::Unicast, Self::Broadcast];

    /// Returns its name in the file.
    const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::EthDix => "eth-dix",
            Self::EthLlc => "eth-llc",
            Self::Unicast => "unicast",
            Self::Broadcast => "broadcast",
        }
    }

    /// Returns `true` if its members use flows of other layers, and enroll.
    const fn is_recursive(self) -> bool {
        matches!(self, Self::Unicast | Self::Broadcast)
    }
}

/// Ways for an IPCP to become a member of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Membership {
    /// None.
    None,
    /// The first member of a new layer.
    Bootstrap {
        /// The name of the layer.
        layer: Name,
        /// Parameters of the layer.
        parameters: Layer,
    },
    /// A new member of an existing layer.
    Enroll {
        /// A member of the layer, or the layer's name.
        with: Name,
    },
}

/// Parameters of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Layer {
    /// The programs of this stack.
    Local {
        /// Hash of names.
        hash: HashAlg,
    },
    /// UDP over IPv4.
    Udp4 {
        /// The address of this host.
        ip: Ipv4Addr,
        /// The port of all members; 0 for any that is free.
        port: u16,
        /// The server of a dynamic DNS.
        dns: Option<Ipv4Addr>,
    },
    /// UDP over IPv6.
    Udp6 {
        /// The address of this host.
        ip: Scoped,
        /// The port of all members; 0 for any that is free.
        port: u16,
        /// The server of a dynamic DNS.
        dns: Option<Ipv6Addr>,
    },
    /// Ethernet with DIX frames.
    EthDix {
        /// The network interface.
        device: String,
        /// The type of its frames.
        ethertype: u16,
        /// Hash of names.
        hash: HashAlg,
    },
    /// Ethernet with LLC frames.
    EthLlc {
        /// The network interface.
        device: String,
        /// Hash of names.
        hash: HashAlg,
    },
    /// Flows between any two members.
    Unicast {
        /// Hash of names.
        hash: HashAlg,
        /// Parameters common to all members.
        parameters: Unicast,
    },
    /// Packets from each member to all others.
    Broadcast,
}

impl NetworkConfig {
    /// Reads a file. Paths in it start from its folder.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be read, is longer than 1 MiB, or something in it is wrong.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        let limit = MAX_LEN as u64 + 1;
        let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        let parsed = match read {
            Err(error) => Err(ConfigError::new(None, Problem::Unreadable(error))),
            Ok(_) => match str::from_utf8(&bytes) {
                Ok(text) => Self::parse(text),
                Err(error) => Err(ConfigError::new(Some(Position::of(&bytes, error.valid_up_to())), Problem::NotUtf8)),
            },
        };
        match parsed {
            Ok(config) => Ok(Self { file: Some(path.to_owned()), ..config }),
            Err(error) => Err(error.in_file(path)),
        }
    }

    /// Returns the entries without effect, in the order of the file.
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// The addresses of UDP layers that are bootstrapped, without interfaces, and the names that are registered in each.
    pub(crate) fn udp_names(&self) -> impl Iterator<Item = (SocketAddr, &[Name])> {
        self.ipcps.iter().filter_map(|ipcp| {
            let Membership::Bootstrap { parameters, .. } = &ipcp.membership else { return None };
            let addr = match parameters {
                Layer::Udp4 { ip, port, .. } => SocketAddr::from((*ip, *port)),
                Layer::Udp6 { ip, port, .. } => SocketAddr::from((ip.ip, *port)),
                _ => return None,
            };
            Some((addr, ipcp.register.as_slice()))
        })
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_LEN {
            return Err(ConfigError::new(None, Problem::TooLong));
        }
        layers::read(text)
    }
}

impl FromStr for NetworkConfig {
    type Err = ConfigError;

    /// Reads the text of a file. Fails with the first thing that is wrong.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
