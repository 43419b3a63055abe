//! What protects the names of a node: their security settings, and the gates of the program.

use alloc::sync::Arc;

use super::gate::Gate;
use super::{Node, Replaced};
use crate::irm::{BindError, NameSecurity};
use crate::types::name::Name;

impl Node {
    /// Sets the protection of a name, or of those that have no settings of their own.
    ///
    /// # Errors
    /// [`BindError`] if too many names are known.
    pub fn set_security(&self, name: Option<&Name>, security: NameSecurity) -> Result<(), BindError> {
        self.names.set_security(name, security)
    }

    /// Sets the protection of names that have no settings of their own, and of others, or takes theirs away: in one step. What
    /// they had before is in `with` then, to be dropped where no lock is held.
    ///
    /// # Errors
    /// [`BindError`] if too many names would have settings; nothing has changed then.
    pub fn exchange_security(&self, with: &mut Replaced) -> Result<(), BindError> {
        self.names.exchange_security(with)
    }

    /// Sets the gate of a name, or of all that have none, or takes it away.
    ///
    /// # Errors
    /// [`BindError`] if too many names have one, or the node was shut down.
    pub fn set_gate(&self, name: Option<&Name>, gate: Option<Arc<dyn Gate>>) -> Result<(), BindError> {
        let mut exchanged = gate;
        let set = self.names.gates.set(name, &mut exchanged);
        self.panics().discard(exchanged);
        set
    }

    /// Returns the protection of flows to and from a name.
    pub fn security_of(&self, name: &Name) -> NameSecurity {
        self.names.security_of(name)
    }
}
