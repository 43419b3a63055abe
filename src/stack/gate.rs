//! Gates of a stack: the program decides whose requests are accepted.

use std::sync::Arc;

use super::{BindError, Stack};
use crate::node::gate::Gate;
use crate::types::name::Name;

impl Stack {
    /// Has `gate` decide whose requests for flows to `name` are accepted, before the program sees the flow: by who
    /// [claims](crate::PeerIdentity::Claimed) to ask, by what was negotiated, by the quality of service. What it refuses ends
    /// no accept, and is counted and logged.
    ///
    /// ```
    /// use o7s::admission::FlowRequest;
    /// use o7s::{AllocError, Code, Stack};
    ///
    /// let stack = Stack::new()?;
    /// stack.bind_handler("vault", |flow| drop(flow))?;
    /// stack.set_gate("vault", |request: &FlowRequest<'_>| match request.peer.claimed() {
    ///     Some(peer) if &*peer.name == "operator" => Ok(()),
    ///     _ => Err(Code::AUTH),
    /// })?;
    /// let refused = stack.flow("vault").alloc().unwrap_err();
    /// assert!(matches!(refused, AllocError::Refused { code: Code::AUTH, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A gate that captures a handle of the stack keeps that up until the gate is [taken away](Self::remove_gate).
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_gate(&self, name: &str, gate: impl Gate + 'static) -> Result<(), BindError> {
        let name = Name::new(name)?;
        Ok(self.shared.node.set_gate(Some(&name), Some(Arc::new(gate)))?)
    }

    /// Takes the gate of a name away: the one [of the stack](crate::Builder::gate) decides, if there is one.
    pub fn remove_gate(&self, name: &str) {
        if let Ok(name) = Name::new(name) {
            // Only a gate can be one too many.
            let _ = self.shared.node.set_gate(Some(&name), None);
        }
    }
}
