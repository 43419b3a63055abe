//! Gates: rules of the program for whose requests are accepted, asked before it sees the flow.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;

use super::shared::order;
use crate::base::foreign::Panics;
use crate::base::sync::{AtomicBool, Ordered, Ordering, RwLock};
use crate::ipcp::Kind;
use crate::irm::BindError;
use crate::oap::{FlowSecurity, PeerIdentity};
use crate::types::code::Code;
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// A request for a flow that is about to be accepted: its certificate and signature are good, if there are any, and the
/// algorithms are agreed on. No key has been computed for it.
#[non_exhaustive]
pub struct FlowRequest<'a> {
    /// The name that was called.
    pub name: &'a Name,
    /// Who asks: [`Anonymous`](PeerIdentity::Anonymous) or [`Claimed`](PeerIdentity::Claimed), and never confirmed, as nothing
    /// has come under the key of the flow. A gate may refuse by it; what it lets in has to be
    /// [confirmed](PeerIdentity::Confirmed) before more is done for it than for anybody.
    pub peer: &'a PeerIdentity,
    /// The protection that the flow will have.
    pub security: FlowSecurity,
    /// The quality of service that was asked for.
    pub qos: QosSpec,
    /// The sort of layer that the request has come through.
    pub layer: Kind,
    /// The data that came with it. Unless the request is signed, nothing vouches for them.
    pub data: &'a [u8],
}

impl fmt::Debug for FlowRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, peer, security, qos, layer, .. } = self;
        let mut shown = f.debug_struct("FlowRequest");
        // The data are the application's, and may be a secret.
        shown
            .field("name", name)
            .field("peer", peer)
            .field("security", security)
            .field("qos", qos)
            .field("layer", layer);
        shown.finish_non_exhaustive()
    }
}

/// A rule of the program for whose requests are accepted.
///
/// It is asked by the thread or task that accepts, with no lock held, before a key is computed, before the requester's data
/// are answered, and before the program sees the flow. It must not block. A request that is repeated, because its answer was
/// lost, may be asked about again. A closure is a gate.
pub trait Gate: Send + Sync {
    /// Whether the flow may come to be.
    ///
    /// # Errors
    /// The code that the requester is told, such as [`Code::AUTH`]. A gate that panics refuses with that one.
    fn decide(&self, request: &FlowRequest<'_>) -> Result<(), Code>;
}

impl<F: Fn(&FlowRequest<'_>) -> Result<(), Code> + Send + Sync> Gate for F {
    fn decide(&self, request: &FlowRequest<'_>) -> Result<(), Code> {
        self(request)
    }
}

type Shared = Arc<dyn Gate>;

/// The gates of a node.
pub(super) struct Gates {
    max: usize,
    /// Set once there has been a gate: without any, no flow takes the lock to look for one.
    any: AtomicBool,
    inner: Ordered<RwLock<Inner>, { order::GATES }>,
}

#[derive(Default)]
struct Inner {
    of_names: BTreeMap<Name, Shared>,
    /// For names that have none.
    of_all: Option<Shared>,
    is_down: bool,
}

impl Gates {
    /// Gates for `max` names at most.
    pub(super) fn new(max: usize) -> Self {
        Self { max, any: AtomicBool::new(false), inner: Ordered::default() }
    }

    /// Sets the gate of a name, or of all that have none, or takes it away. What was there before comes back, to be dropped
    /// where no lock is held.
    pub(super) fn set(&self, name: Option<&Name>, gate: &mut Option<Shared>) -> Result<(), BindError> {
        let mut inner = self.inner.write();
        if inner.is_down {
            return Err(BindError::Down);
        }
        self.any.fetch_or(gate.is_some(), Ordering::Release);
        let Some(name) = name else {
            core::mem::swap(&mut inner.of_all, gate);
            return Ok(());
        };
        let is_new = gate.is_some() && !inner.of_names.contains_key(name);
        if is_new && inner.of_names.len() >= self.max {
            return Err(BindError::Full(self.max));
        }
        *gate = match gate.take() {
            Some(gate) => inner.of_names.insert(name.clone(), gate),
            None => inner.of_names.remove(name),
        };
        Ok(())
    }

    /// Returns `true` if there is, or was, a gate.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Whether a flow may come to be.
    pub(super) fn ask(&self, request: &FlowRequest<'_>, panics: &Panics) -> Result<(), Code> {
        let gate = {
            let inner = self.inner.read();
            inner.of_names.get(request.name).or(inner.of_all.as_ref()).cloned()
        };
        let Some(gate) = gate else { return Ok(()) };
        let decided = panics.call(|| gate.decide(request)).unwrap_or(Err(Code::AUTH));
        // It may be the last that holds what the program has made.
        panics.discard(gate);
        decided
    }

    /// Drops all, and takes no more.
    pub(super) fn end(&self, panics: &Panics) {
        let all = {
            let mut inner = self.inner.write();
            core::mem::replace(&mut *inner, Inner { is_down: true, ..Inner::default() })
        };
        all.of_names.into_values().chain(all.of_all).for_each(|gate| panics.discard(gate));
    }
}
