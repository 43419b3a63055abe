//! The bounds of a member.

use core::time::Duration;

use crate::wire::udp::REFERENCE_MAX_MGMT;

/// Bounds of a UDP layer's member; users set them with [`Udp4`](crate::Udp4) and [`Udp6`](crate::Udp6).
#[derive(Clone, Debug)]
pub struct Config {
    /// Flows, requests under way included; at most 2²⁰.
    pub max_flows: usize,
    /// Registered names.
    pub max_names: usize,
    /// Hashes whose address, or lack of one, is remembered.
    pub max_directory: usize,
    /// How long an address that a resolver found is believed.
    pub directory_ttl: Duration,
    /// How long a resolver's failure is believed.
    pub directory_negative_ttl: Duration,
    /// The largest management datagram that is sent, bytes.
    pub max_mgmt: usize,
    /// The MTU of the paths, bytes with the IP header: of each packet the headers of IP, UDP and the layer take 32 bytes over
    /// IPv4 and 52 over IPv6. `None`: packets may be as large as a reference takes.
    pub mtu: Option<usize>,
    /// The UDP port of the layer, at which hosts are called that a resolver gives without a port. `None`: 3435.
    pub peer_port: Option<u16>,
    /// Whether a socket of IPv6 carries IPv4 as well.
    pub dual: bool,
    /// The number of the interface that link-local addresses are meant of which do not say one. 0: the one of the member's
    /// own address, if it has one.
    pub scope: u32,
    /// Which flows follow a peer to another address.
    pub moves: Moves,
}

/// Selects the flows of a UDP layer that go on when their peer turns up at another address, and proves there that it is the
/// same.
///
/// The proof is worth what its secret is: that of an encrypted flow only the two ends know, that of a plain one everybody who
/// has listened when it was allocated. Such a listener can read and forge the packets of a plain flow in any case, where it
/// sees them; a flow that moves wherever it is asked to would come to where the listener is.
///
/// ```
/// use o7s::{Moves, Stack, Udp4};
///
/// let stack = Stack::new()?;
/// // On a network of one's own, where nobody listens.
/// stack.udp4(Udp4::bind("127.0.0.1:0").moves(Moves::All))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moves {
    /// None: what comes from elsewhere is dropped.
    Never,
    /// Encrypted flows go anywhere. Plain ones follow a NAT that forgets: to another port of the peer's address.
    #[default]
    Encrypted,
    /// All flows go anywhere.
    All,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_names: 4096,
            max_directory: 4096,
            directory_ttl: Duration::from_secs(60),
            directory_negative_ttl: Duration::from_secs(1),
            max_mgmt: REFERENCE_MAX_MGMT,
            mtu: None,
            peer_port: None,
            dual: false,
            scope: 0,
            moves: Moves::default(),
        }
    }
}
