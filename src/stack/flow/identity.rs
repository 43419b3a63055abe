//! Protection of a flow, and who its other end is.

use super::{Flow, Inner};
use crate::oap::{FlowSecurity, PeerIdentity};

impl Flow {
    /// Returns the protection of the flow and the kind of its other end, as negotiated at allocation. A flow that
    /// was [joined](crate::Stack::join) has none of its peers.
    pub fn security(&self) -> FlowSecurity {
        self.inner.security
    }

    /// Returns `true` if packets are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.endpoint.is_encrypted()
    }

    /// Who the other end is, as far as it has been shown until now: of an accepted flow a client that shows a certificate is
    /// [`Claimed`](PeerIdentity::Claimed) until the first packet has come from it, and so after the first read
    /// [`Confirmed`](PeerIdentity::Confirmed). What there is to say of both kinds of flows is said there.
    ///
    /// A peer without a certificate is anonymous, and so are those of a flow that was [joined](crate::Stack::join).
    /// [`SecurityConfig::certificates`](crate::SecurityConfig::certificates) refuses them.
    pub fn peer(&self) -> PeerIdentity {
        self.inner.peer()
    }
}

impl Inner {
    /// Who the other end is, as far as it has been shown until now.
    pub(in crate::stack) fn peer(&self) -> PeerIdentity {
        match self.peer.clone() {
            None => PeerIdentity::Anonymous,
            Some(peer) if self.is_confirmed || self.endpoint.is_proven() => PeerIdentity::Confirmed(peer),
            Some(peer) => PeerIdentity::Claimed(peer),
        }
    }
}
