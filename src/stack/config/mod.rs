//! A network described in a file: the TOML configuration of the reference.
//!
//! [`NetworkConfig`] is what such a file says, checked. Everything that can be seen to be wrong without a network is an
//! error that says where and what would be right; what a library does not do (it starts no programs), or what has no
//! effect, comes back as [`Warning`]s.
//!
//! # The file
//!
//! A table for every name that needs settings, and one for every IPCP:
//!
//! ```
//! use o7s::config::NetworkConfig;
//!
//! let config: NetworkConfig = r#"
//!     [name.oping]
//!     lb = "round-robin"
//!     server_enc_file = "/etc/o7s/oping.conf"
//!
//!     [udp4.net]
//!     bootstrap = "internet"
//!     ip = "10.9.0.1"
//!     reg = ["node-a"]
//!
//!     [unicast.node-a]
//!     bootstrap = "campus"
//!     autobind = true
//!     routing = "lfa"
//!     reg = ["oping"]
//! "#.parse()?;
//! assert_eq!(config.ipcps.len(), 2);
//! assert!(config.warnings.is_empty());
//!
//! let wrong = "[udp4.net]\nbootstrap = \"internet\"\nipp = \"10.9.0.1\"".parse::<NetworkConfig>();
//! assert_eq!(
//!     wrong.unwrap_err().to_string(),
//!     "line 3, column 1: [udp4.net] has no key \"ipp\"; did you mean \"ip\"?"
//! );
//! # Ok::<(), o7s::config::ConfigError>(())
//! ```
//!
//! In `[name.NAME]`:
//!
//! | key | value | if not given |
//! |---|---|---|
//! | `prog` | programs that serve the name | none; they are not started, see [`Program`] |
//! | `args` | the arguments of each, in one string | they are not started on demand |
//! | `lb` | `"spill"`, `"round-robin"` | `"spill"` |
//! | `server_enc_file`, `client_enc_file` | a file with the settings of encryption | the stack's settings |
//! | `server_crt_file`, `server_key_file`, `client_crt_file`, `client_key_file` | certificate and private key | none |
//!
//! In every IPCP's table, `[TYPE.NAME]`, whose type is `local`, `udp4`, `udp6`, `eth-dix`, `eth-llc`, `unicast` or
//! `broadcast`:
//!
//! | key | value | if not given |
//! |---|---|---|
//! | `bootstrap` | the name of a new layer | |
//! | `enrol` (`enroll`) | a member of the layer to join, or the layer's name; for unicast and broadcast | |
//! | `autobind` | whether it accepts enrolments and connections under its own name and that of its layer | `false` |
//! | `reg` | names to register in the layer; not for broadcast | none |
//! | `conn` | members to connect to, with `enrol` | none |
//! | `detection` | for unicast: how long a neighbour of our own kind may be silent before it is taken for gone, in milliseconds, 0 to 600000; see [`Config::detection`](crate::ipcp::unicast::Config::detection). The reference knows no such key | 2000 |
//!
//! With `bootstrap`, what the layer is like:
//!
//! | types | key | value | if not given |
//! |---|---|---|---|
//! | `local`, `eth-dix`, `eth-llc`, `unicast` | `hash` | `"SHA3_224"`, `"SHA3_256"`, `"SHA3_384"`, `"SHA3_512"` | `"SHA3_256"` |
//! | `eth-dix`, `eth-llc` | `dev` | the network interface | must be given |
//! | `eth-dix` | `ethertype` | 0x0600 to 0xFFFE | 0xA000 |
//! | `udp4`, `udp6` | `ip` | the address of this host | must be given |
//! | `udp4`, `udp6` | `port` | 0 (any) to 65535 | 3435 |
//! | `udp4`, `udp6` | `dns` | the server of a dynamic DNS | none |
//! | `unicast` | `addr_size`, `eid_size` | bytes: 4; 1 to 8 | 4; 8 |
//! | `unicast` | `max_ttl` | 1 to 255 | 60 |
//! | `unicast` | `addr-auth` (`addr_auth`) | `"flat"` | `"flat"` |
//! | `unicast` | `routing` | `"link-state"` (`"link_state"`), `"lfa"`, `"ecmp"` | `"link-state"` |
//! | `unicast` | `ls_t_recalc`, `ls_t_update`, `ls_t_timeo` | seconds, at least 1 | 4, 15, 60 |
//! | `unicast` | `congestion` | `"none"`, `"mb-ecn"` (`"lfa"`) | `"mb-ecn"` |
//! | `unicast` | `directory` | `"DHT"` (`"dht"`) | `"DHT"` |
//! | `unicast` | `dht_alpha`, `dht_k` | 1 to 10, 1 to 20 | 3, 8 |
//! | `unicast` | `dht_t_expire` (`dht_t_expiry`) | 10 to 86400 s | 86400 |
//! | `unicast` | `dht_t_refresh`, `dht_t_replicate` | 3 to 3600 s | 900, 900 |
//!
//! In brackets is what the reference writes or reads as well: a spelling of its documentation that its parser does not
//! know, or the other way round. Where its parser has faults, the file means here what its documentation says:
//! `autobind = false` does not bind, and `hash` and the addresses of `udp6` are not lost.
//!
//! # Order
//!
//! Names first, then IPCPs as in the reference: the tables of one type are taken together, where the first of them is; within a type, and
//! within a table, things are done in the order of the file.

mod build;
mod error;
mod layers;
mod table;

use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::irm::LoadBalancing;
use crate::types::layer::Unicast;
use crate::types::name::{HashAlg, Name};

pub use build::NetworkBuilder;
pub use error::{ConfigError, Hint, Position, Problem, Warning, Why};

/// The longest file, bytes. Longer ones are something else.
pub const MAX_LEN: usize = 1 << 20;

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// Names with settings.
    pub names: Vec<NameConfig>,
    /// Members of layers, in the order in which they are to be made.
    pub ipcps: Vec<IpcpConfig>,
    /// What the file says in vain, in its order.
    pub warnings: Vec<Warning>,
    /// Where it was read from. Paths in it start from the folder of this file.
    pub file: Option<PathBuf>,
}

/// A name with settings: `[name.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameConfig {
    /// The name.
    pub name: Name,
    /// How requests are spread over those who accept them.
    pub balancing: LoadBalancing,
    /// Programs that serve it.
    pub programs: Vec<Program>,
    /// For flows that are accepted under the name.
    pub server: SecurityFiles,
    /// For flows that are allocated to the name.
    pub client: SecurityFiles,
    /// Where its table is.
    pub at: Position,
}

/// A program that serves a name. This library starts none: the name is served by whoever
/// [binds](crate::Stack::bind) it, or by a [handler](crate::Stack::bind_handler), which takes the place of a program
/// that is started on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// The arguments with which it is to be started when somebody asks for a flow; `None` if it is not to be.
    pub arguments: Option<Vec<String>>,
}

/// How one side of flows to a name is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecurityFiles {
    /// The settings of encryption: an `enc.conf`.
    pub encryption: Option<PathBuf>,
    /// The certificate.
    pub certificate: Option<PathBuf>,
    /// The private key of the certificate.
    pub key: Option<PathBuf>,
}

/// An IPCP: `[TYPE.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IpcpConfig {
    /// Its own name.
    pub name: Name,
    /// Its type.
    pub kind: IpcpKind,
    /// How it becomes a member of a layer.
    pub membership: Membership,
    /// Whether it accepts enrolments and connections under its own name and that of its layer.
    pub autobind: bool,
    /// How long a neighbour of our own kind may be silent, if not as long as
    /// [by default](crate::ipcp::unicast::Config::detection); for unicast.
    pub detection: Option<Duration>,
    /// Names to register in the layer.
    pub register: Vec<Name>,
    /// Members to connect to, for management first and then for data transfer.
    pub connect: Vec<Name>,
    /// Where its table is.
    pub at: Position,
}

/// The type of an IPCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IpcpKind {
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
    /// What one member sends, all receive.
    Broadcast,
}

impl IpcpKind {
    /// All types.
    pub const ALL: [Self; 7] =
        [Self::Local, Self::Udp4, Self::Udp6, Self::EthDix, Self::EthLlc, Self::Unicast, Self::Broadcast];

    /// What it is called in the file.
    pub const fn name(self) -> &'static str {
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

    /// Whether its members use flows of other layers, and are enrolled.
    pub const fn is_recursive(self) -> bool {
        matches!(self, Self::Unicast | Self::Broadcast)
    }
}

/// How an IPCP becomes a member of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It does not.
    None,
    /// As the first member of a new layer.
    Bootstrap {
        /// The name of the layer.
        layer: Name,
        /// What it is like.
        parameters: Layer,
    },
    /// By joining a layer.
    Enrol {
        /// A member of the layer, or the layer's name.
        with: Name,
    },
}

/// What a layer is like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layer {
    /// The programs of this stack.
    Local {
        /// How names are hashed.
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
        ip: Ipv6Addr,
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
        /// How names are hashed.
        hash: HashAlg,
    },
    /// Ethernet with LLC frames.
    EthLlc {
        /// The network interface.
        device: String,
        /// How names are hashed.
        hash: HashAlg,
    },
    /// Flows between any two members.
    Unicast {
        /// How names are hashed.
        hash: HashAlg,
        /// What all members agree on.
        parameters: Unicast,
    },
    /// What one member sends, all receive.
    Broadcast,
}

impl NetworkConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be read, is longer than [`MAX_LEN`], or something in it is wrong.
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

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_LEN {
            return Err(ConfigError::new(None, Problem::TooLong));
        }
        layers::read(text)
    }
}

impl FromStr for NetworkConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
