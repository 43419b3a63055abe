//! Taking part in a broadcast layer.

use alloc::vec::Vec;

use super::Node;
use super::alloc::Allocated;
use super::flows::LayerFacts;
use crate::ipcp::{self, Kind};
use crate::oap::{FlowSecurity, PeerIdentity};
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// Error of joining a broadcast layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum JoinError {
    /// No IPCP here is a member of such a layer.
    #[error("no ipcp of this stack is a member of a broadcast layer {0:?}: bootstrap or enroll one")]
    NoLayer(Name),
    /// The IPCP does not let it.
    #[error("the layer was not joined")]
    Layer(#[from] ipcp::JoinError),
    /// The stack's limit of flows is reached.
    #[error("this stack carries as many flows as its limit allows: close some, or raise the limit of flows")]
    TooManyFlows,
    /// The stack was shut down.
    #[error("the stack was shut down")]
    StackDown,
}

impl Node {
    /// A flow to all programs that have joined a broadcast layer, through the first IPCP here that is a member of it.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn join(&self, layer: &Name) -> Result<Allocated, JoinError> {
        if self.is_down() {
            return Err(JoinError::StackDown);
        }
        let is_it = |info: &ipcp::Info| info.kind == Kind::Broadcast && info.layer == layer.as_str();
        let ipcp = self.ipcps().into_iter().map(|(_, ipcp)| ipcp).find(|ipcp| is_it(ipcp.info()));
        let ipcp = ipcp.ok_or_else(|| JoinError::NoLayer(layer.clone()))?;
        let endpoint = self.new_endpoint().ok_or(JoinError::TooManyFlows)?;
        let now = self.shared.now();
        let port = ipcp.join(now, &endpoint).inspect_err(|_| endpoint.abort())?;
        let params = self.flows.plain_params(QosSpec::NP1, &LayerFacts::from(ipcp.info()), None);
        endpoint.activate(now, port, params);
        let (security, peer) = (FlowSecurity::default(), PeerIdentity::Anonymous);
        Ok(Allocated { endpoint, kind: Kind::Broadcast, data: Vec::new(), security, peer })
    }
}
