//! Who the other end of a flow is, as far as that has been shown.

use alloc::sync::Arc;
use core::fmt;

use crate::crypto::certificate::VerifiedPeer;

/// Who the other end of a flow is, as far as that has been shown.
///
/// A certificate and a signature are checked as the flow is allocated, if the peer shows any. For the end that *asked*, that is
/// enough on an encrypted flow: the response is signed together with the request that it answers, so that the one who has the
/// key of the flow is the one in the certificate.
///
/// For the end that *accepts* it is not. The request says that this client has asked somebody, and it may come from whoever
/// that was. Only a packet that opens under the key of the flow shows that the client itself is there. Until then it is
/// [`Claimed`](Self::Claimed), and what is done for it must be such as may be done for anybody. After the first read it is
/// [`Confirmed`](Self::Confirmed). Between two ends of this library the key is of the name that was called as well; a reference
/// may have wanted another server, which passes everything on, and is confirmed only if it speaks first.
///
/// On a flow that is not encrypted, or by a cipher that does not authenticate packets, nothing that arrives shows who has sent
/// it: no peer is ever confirmed.
///
/// ```
/// use o7s::PeerIdentity;
///
/// /// Whether what comes on a flow may be acted on.
/// fn may_command(peer: &PeerIdentity) -> bool {
///     peer.confirmed().is_some_and(|peer| &*peer.name == "operator")
/// }
/// assert!(!may_command(&PeerIdentity::Anonymous));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerIdentity {
    /// It shows no certificate, or one that is [ignored](super::CertificatePolicy::Ignore).
    #[default]
    Anonymous,
    /// Its certificate and signature are good. That it is there, nothing has shown yet.
    Claimed(Arc<VerifiedPeer>),
    /// Its certificate and signature are good, and it has the key of the flow.
    Confirmed(Arc<VerifiedPeer>),
}

impl PeerIdentity {
    /// The peer, if it is certain that it is the one at the other end.
    pub fn confirmed(&self) -> Option<&VerifiedPeer> {
        match self {
            Self::Confirmed(peer) => Some(peer),
            Self::Anonymous | Self::Claimed(_) => None,
        }
    }

    /// The peer by its certificate, confirmed or merely claimed: for logs, and for what may be refused to some but done for
    /// anybody.
    pub fn claimed(&self) -> Option<&VerifiedPeer> {
        match self {
            Self::Confirmed(peer) | Self::Claimed(peer) => Some(peer),
            Self::Anonymous => None,
        }
    }

    /// Returns `true` if it is certain who is at the other end.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed().is_some()
    }

    /// What a good certificate alone shows.
    pub(crate) fn claim(peer: Option<VerifiedPeer>) -> Self {
        peer.map_or(Self::Anonymous, |peer| Self::Claimed(Arc::new(peer)))
    }

    /// What its certificate says, confirmed or not.
    pub(crate) fn into_shown(self) -> Option<Arc<VerifiedPeer>> {
        match self {
            Self::Confirmed(peer) | Self::Claimed(peer) => Some(peer),
            Self::Anonymous => None,
        }
    }

    /// The same after it has shown that it has the key of the flow.
    pub(crate) fn confirm(self) -> Self {
        match self {
            Self::Claimed(peer) => Self::Confirmed(peer),
            other => other,
        }
    }
}

/// `alice, by Example CA`, behind which stands whether that is only claimed.
impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(peer) = self.claimed() else { return f.write_str("not authenticated") };
        write!(f, "{}, by {}", peer.name, peer.path.authority)?;
        f.write_str(if self.is_confirmed() { "" } else { " (claimed)" })
    }
}
