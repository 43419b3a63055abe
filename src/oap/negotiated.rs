//! Result of the negotiation, for applications.

use core::fmt;

use super::negotiate::Agreed;
use crate::crypto::suite::{Cipher, Kdf, Kex};

/// Protection of a flow, and the kind of its other end.
///
/// ```
/// use o7s::{SecurityConfig, Stack};
///
/// let stack = Stack::builder().security("X25519,aes-256-gcm".parse::<SecurityConfig>()?).build()?;
/// stack.bind_handler("secret", |flow| drop(flow.read(&mut [0; 8])))?;
/// let flow = stack.flow("secret").alloc()?;
/// assert_eq!(flow.security().to_string(), "encrypted (X25519, sha256, aes-256-gcm), peer: o7s");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowSecurity {
    /// The algorithms that protect its packets; `None` for a plain flow.
    pub encryption: Option<Encryption>,
    /// Kind of the other end.
    pub peer: PeerKind,
}

/// The algorithms that protect the packets of a flow.
///
/// By themselves they authenticate neither end: they keep out who listens, not who can change packets as the flow is allocated.
/// Who is at the other end is told by [`Flow::peer`](crate::Flow::peer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encryption {
    /// The key exchange.
    pub kex: Kex,
    /// The hash of HKDF (RFC 5869), by which keys follow from the exchange.
    pub kdf: Kdf,
    /// The cipher of the packets.
    pub cipher: Cipher,
}

/// Kind of the other end of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerKind {
    /// This library. There are keys for each direction, and a close is told.
    O7s,
    /// The reference implementation, or what has not said to be this library.
    #[default]
    Reference,
}

impl FlowSecurity {
    pub(super) fn new(agreed: Option<Agreed>, is_o7s: bool) -> Self {
        let encryption = agreed.map(|a| Encryption { kex: a.kex, kdf: a.effective_kdf(), cipher: a.cipher });
        Self { encryption, peer: if is_o7s { PeerKind::O7s } else { PeerKind::Reference } }
    }
}

impl fmt::Display for FlowSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.encryption {
            Some(encryption) => write!(f, "encrypted ({encryption})")?,
            None => f.write_str("not encrypted")?,
        }
        write!(f, ", peer: {}", self.peer)
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.kex, self.kdf, self.cipher)
    }
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::O7s => "o7s",
            Self::Reference => "reference",
        })
    }
}
