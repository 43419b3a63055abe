//! Members of Ethernet layers.

use std::sync::Arc;
use std::time::Duration;

use super::{IpcpHandle, Stack, StackError};
use crate::capture::Pcap;
use crate::device::PacketSocket;
use crate::ipcp::shim::eth::{Config, EthShim, Framing, Parts};
use crate::ipcp::{Info, Kind};
use crate::types::device::Frames;
use crate::types::name::{HashAlg, Name};
use crate::wire::eth::{DEFAULT_ETHERTYPE, Format, MIN_ETHERTYPE};

/// Settings of a member of an Ethernet layer: its interface, the format of its frames, and its bounds.
///
/// The members of a layer are the stations of one segment that have the same settings of what is on the wire: the
/// [format](Self::llc), the [EtherType](Self::ethertype), and the [hash](Self::hash). Names need no table and no resolver:
/// whoever looks for one asks all stations.
///
/// ```
/// use o7s::device::MemoryFrames;
/// use o7s::{Eth, Stack};
///
/// let (left, right) = MemoryFrames::pair("02:00:00:00:00:01".parse()?, "02:00:00:00:00:02".parse()?);
/// let server = Stack::new()?;
/// server.eth_over(right, Eth::dix("right"))?.register("echo")?;
/// let _echo = server.bind("echo")?;
///
/// let client = Stack::new()?;
/// client.eth_over(left, Eth::dix("left"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Eth {
    interface: String,
    name: Option<String>,
    layer: Option<String>,
    format: Format,
    hash: HashAlg,
    ethertype: Option<u16>,
    priority: i32,
    queue_bypass: bool,
    config: Config,
}

impl Eth {
    /// A member at this interface, with DIX framing (Ethernet II): the [EtherType](Self::ethertype) says which layer a frame
    /// is of, so that there can be many on one segment.
    pub fn dix(interface: &str) -> Self {
        Self {
            interface: interface.into(),
            name: None,
            layer: None,
            format: Format::Dix,
            hash: HashAlg::Sha3_256,
            ethertype: None,
            priority: 0,
            queue_bypass: false,
            config: Config::default(),
        }
    }

    /// A member at this interface, with LLC framing (IEEE 802.3 with an 802.2 header of type 1): for what lets no
    /// EtherTypes of its own pass. A member has 62 flows at most, requests under way included, packets are no larger than
    /// 1497 bytes whatever the MTU, and there is one such layer on a segment.
    pub fn llc(interface: &str) -> Self {
        Self { format: Format::Llc, ..Self::dix(interface) }
    }

    /// Sets the EtherType of a DIX layer: at least 0x0600, because smaller numbers in its place are lengths, and not 0xFFFF,
    /// which is reserved; 0xA000 to 0xEFFF are not assigned to other protocols for the most part. An LLC layer has none, and
    /// making it fails. Default: 0xA000, as of the reference.
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// Sets how names are hashed. All members of a layer must agree, and nothing on the wire says so. Default: SHA3-256.
    pub fn hash(mut self, hash: HashAlg) -> Self {
        self.hash = hash;
        self
    }

    /// Sets the IPCP's own name. Default: made from the format and the interface.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the layer's name; it is not on the wire. Default: `eth-dix` or `eth-llc`.
    pub fn layer(mut self, layer: &str) -> Self {
        self.layer = Some(layer.into());
        self
    }

    /// Sets the priority of the layer: those with a higher one are asked for a name first. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Sets whether frames pass by the interface's queue for outgoing packets; see
    /// [`PacketSocket::set_queue_bypass`](crate::device::PacketSocket::set_queue_bypass). Only for sockets that
    /// [`Stack::eth`] opens. Default: `false`.
    pub fn queue_bypass(mut self, on: bool) -> Self {
        self.queue_bypass = on;
        self
    }

    /// Sets how many flows there may be, requests under way included, at most 32 768, or 62 of an LLC layer; more are
    /// refused. Default: 32 768.
    pub fn max_flows(mut self, flows: usize) -> Self {
        self.config.max_flows = flows;
        self
    }

    /// Sets how many names can be registered; more are refused. Default: 4096.
    pub fn max_names(mut self, names: usize) -> Self {
        self.config.max_names = names;
        self
    }

    /// Sets how many names are remembered with the stations that have them, or with the lack of any; beyond it the oldest
    /// are forgotten. Default: 4096.
    pub fn max_directory(mut self, names: usize) -> Self {
        self.config.max_directory = names;
        self
    }

    /// Sets how long an answer to a name query is believed, and how long the lack of one. A station that turns out not to
    /// have a name is forgotten at once. Default: 60 s, and 1 s for the lack of an answer.
    pub fn directory_ttl(mut self, found: Duration, nowhere: Duration) -> Self {
        (self.config.directory_ttl, self.config.directory_negative_ttl) = (found, nowhere);
        self
    }

    /// Sets after which time a name query without answer is repeated, at least 1 ms, doubled each time, and how long
    /// answers are waited for. Default: 100 ms and 2 s.
    pub fn query(mut self, retry: Duration, timeout: Duration) -> Self {
        (self.config.query_retry, self.config.query_timeout) = (retry, timeout);
        self
    }

    /// Sets how many name queries are answered in a second, and how many at once after a pause, to each 64th of all
    /// stations; more are dropped and counted. Default: 100, and 50 at once.
    pub fn answer_rate(mut self, per_second: u64, burst: u64) -> Self {
        self.config.answer_rate = (per_second, burst);
        self
    }

    /// Sets how long an answer to a name query waits before it is sent. A reference that asks loses one that comes at once.
    /// Default: 2 ms.
    pub fn answer_delay(mut self, delay: Duration) -> Self {
        self.config.answer_delay = delay;
        self
    }

    /// Sets the size of the largest management message that is sent, bytes: a request or a reply with its security header,
    /// as far as the MTU has room for it. One that would be larger fails. Default: 9000, what a reference takes.
    pub fn max_mgmt(mut self, bytes: usize) -> Self {
        self.config.max_mgmt = bytes;
        self
    }

    /// The framing, and the sort of layer.
    fn framing(&self) -> Result<(Framing, Kind), StackError> {
        match (self.format, self.ethertype) {
            (Format::Llc, None) => Ok((Framing::Llc, Kind::EthLlc)),
            (Format::Llc, Some(_)) => Err(StackError::EtherTypeOfLlc),
            (Format::Dix, given) => {
                let ethertype = given.unwrap_or(DEFAULT_ETHERTYPE);
                let usable = (MIN_ETHERTYPE..u16::MAX).contains(&ethertype);
                if usable {
                    Ok((Framing::Dix { ethertype }, Kind::EthDix))
                } else {
                    Err(StackError::EtherType(ethertype))
                }
            }
        }
    }
}

impl Stack {
    /// Makes and bootstraps an IPCP of an Ethernet layer, with a [packet socket](PacketSocket) of the operating system on the
    /// interface that `config` names: on Linux, with the right `CAP_NET_RAW`.
    ///
    /// ```no_run
    /// use o7s::{Eth, Stack};
    ///
    /// let stack = Stack::new()?;
    /// let net = stack.eth(Eth::dix("eth0"))?;
    /// net.register("echo")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StackError::Interface`] if the interface cannot be opened, which says what is missing, a right for instance; others
    /// as [`eth_over`](Self::eth_over).
    pub fn eth(&self, config: Eth) -> Result<IpcpHandle, StackError> {
        let socket = match config.framing()?.0 {
            Framing::Dix { ethertype } => PacketSocket::dix(&config.interface, ethertype),
            Framing::Llc => PacketSocket::llc(&config.interface),
        };
        let socket = socket.and_then(|socket| {
            if config.queue_bypass {
                socket.set_queue_bypass(true)?;
            }
            Ok(socket)
        });
        let failed = |error| StackError::Interface { interface: config.interface.clone(), error };
        self.eth_over(socket.map_err(failed)?, config)
    }

    /// Makes and bootstraps an IPCP of an Ethernet layer, over a device of the caller's: a driver, a simulated interface, a
    /// link in memory. The interface in `config` is only what the IPCP is called after.
    ///
    /// # Errors
    /// [`StackError::EtherType`] or [`StackError::EtherTypeOfLlc`] if the layer cannot have it, [`StackError::Name`] if the
    /// IPCP's name is not one, [`StackError::Down`] if the stack was shut down, [`StackError::Thread`] if the operating
    /// system starts no more threads.
    pub fn eth_over(&self, device: Arc<dyn Frames>, config: Eth) -> Result<IpcpHandle, StackError> {
        let (framing, kind) = config.framing()?;
        let name = Name::new(&config.name.unwrap_or_else(|| format!("{kind}.{}", config.interface)))?;
        let layer = config.layer.unwrap_or_else(|| kind.to_string());
        let info = Info::new(kind, name.as_str(), &layer).hash(config.hash);
        let device = Arc::new(Pcap::new(device, &self.shared.tap, name.as_str()));
        let parts = Parts { info, device, framing, config: config.config };
        self.attend("eth", config.priority, |context| EthShim::new(context, parts))
    }
}
