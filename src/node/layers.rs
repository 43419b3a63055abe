//! The IPCPs of a stack, and the names that are known in their layers.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::shared::{Shared, order};
use crate::base::journal::record;
use crate::base::sync::{AtomicU64, Mutex, Ordered, Ordering, RwLock};
use crate::ipcp::{Info, Ipcp, RegisterError};
use crate::types::id::IpcpId;
use crate::types::name::Name;

/// An IPCP, with what looks after its N-1 flows, if it uses some.
pub(super) struct Layer<M> {
    id: IpcpId,
    pub(super) ipcp: Arc<dyn Ipcp>,
    priority: i32,
    registered: Vec<Name>,
    pub(super) membership: Option<Arc<M>>,
}

impl<M> Layer<M> {
    /// The order in which layers are asked for a name: by priority, then by kind, then by age.
    fn rank(&self) -> impl Ord + use<M> {
        (Reverse(self.priority), self.ipcp.info().kind, self.id)
    }
}

/// The IPCPs of a node.
pub(super) struct Layers<M> {
    shared: Arc<Shared>,
    /// In the order in which names are looked up.
    all: Ordered<RwLock<Vec<Layer<M>>>, { order::LAYERS }>,
    /// IPCPs that are being left.
    retiring: Ordered<Mutex<Vec<Arc<dyn Ipcp>>>, { order::RETIRING }>,
    next: AtomicU64,
}

impl<M> Layers<M> {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            all: Ordered::new(RwLock::new(Vec::new())),
            retiring: Ordered::new(Mutex::new(Vec::new())),
            next: AtomicU64::new(1),
        }
    }

    /// Adds an IPCP. It is asked for names before those of a lower priority, then before those of a later kind. `None` if the
    /// node was shut down.
    pub(super) fn add(&self, ipcp: Arc<dyn Ipcp>, priority: i32) -> Option<IpcpId> {
        let id = IpcpId(self.next.fetch_add(1, Ordering::Relaxed));
        let added = Arc::clone(&ipcp);
        {
            let mut all = self.all.write();
            // Under the lock: a shutdown under way either finds the IPCP or is found here.
            if self.shared.is_down() {
                return None;
            }
            all.push(Layer { id, ipcp, priority, registered: Vec::new(), membership: None });
            all.sort_by_key(Layer::rank);
        }
        self.note(&*added, "joined");
        Some(id)
    }

    /// Says what has become of a layer.
    pub(super) fn note(&self, ipcp: &dyn Ipcp, what: &str) {
        let Info { kind, name, layer, .. } = ipcp.info();
        record!(
            self.shared.panics(),
            Layer,
            Info,
            [ipcp = name, layer = layer, kind = kind],
            "{kind} layer {layer:?} {what} as {name:?}"
        );
    }

    /// Takes an IPCP out that is being left. It is kept until it [has been](Self::retired), for a shutdown to find it.
    pub(super) fn remove(&self, id: IpcpId) -> Option<Layer<M>> {
        let mut all = self.all.write();
        let at = all.iter().position(|l| l.id == id)?;
        let layer = all.remove(at);
        self.retiring.lock().push(Arc::clone(&layer.ipcp));
        Some(layer)
    }

    /// Takes all out, and those that are being left as well.
    pub(super) fn take(&self) -> (Vec<Layer<M>>, Vec<Arc<dyn Ipcp>>) {
        let all = core::mem::take(&mut *self.all.write());
        (all, core::mem::take(&mut *self.retiring.lock()))
    }

    /// Forgets an IPCP that has been left. `true` if the caller is to shut it down: no other does.
    pub(super) fn retired(&self, ipcp: &Arc<dyn Ipcp>) -> bool {
        let gone = {
            let mut retiring = self.retiring.lock();
            let at = retiring.iter().position(|other| Arc::ptr_eq(other, ipcp));
            at.map(|at| retiring.remove(at))
        };
        gone.is_some()
    }

    pub(super) fn set_membership(&self, id: IpcpId, membership: &Arc<M>) {
        for layer in self.all.write().iter_mut().filter(|l| l.id == id) {
            layer.membership = Some(Arc::clone(membership));
        }
    }

    /// Returns the membership that manages the N-1 flows of an IPCP, if it has any.
    pub(super) fn membership(&self, id: IpcpId) -> Option<Arc<M>> {
        self.all.read().iter().find(|l| l.id == id)?.membership.clone()
    }

    /// Changes the priority with which an IPCP is asked for names; 0 is the default.
    pub(super) fn set_priority(&self, id: IpcpId, priority: i32) {
        let mut all = self.all.write();
        for layer in all.iter_mut().filter(|l| l.id == id) {
            layer.priority = priority;
        }
        all.sort_by_key(Layer::rank);
    }

    /// The IPCPs, in the order in which they are asked for a name.
    pub(super) fn ipcps(&self) -> Vec<(IpcpId, Arc<dyn Ipcp>)> {
        self.all.read().iter().map(|l| (l.id, Arc::clone(&l.ipcp))).collect()
    }

    /// Returns an IPCP, while it is a member of its layer.
    pub(super) fn ipcp(&self, id: IpcpId) -> Option<Arc<dyn Ipcp>> {
        self.all.read().iter().find(|l| l.id == id).map(|l| Arc::clone(&l.ipcp))
    }

    /// Makes a name known in the layer of an IPCP.
    ///
    /// # Errors
    /// [`RegisterError`] if the layer cannot take it.
    pub(super) fn register(&self, id: IpcpId, name: &Name) -> Result<(), RegisterError> {
        let ipcp = self.ipcp(id).ok_or(RegisterError::Down)?;
        ipcp.register(self.shared.now(), ipcp.info().hash.hash(name))?;
        for layer in self.all.write().iter_mut().filter(|l| l.id == id) {
            if !layer.registered.contains(name) {
                layer.registered.push(name.clone());
            }
        }
        let (own, layer) = (&ipcp.info().name, &ipcp.info().layer);
        record!(
            self.shared.panics(),
            Layer,
            Info,
            [name = name, ipcp = own, layer = layer],
            "name {name:?} registered in layer {layer:?}"
        );
        Ok(())
    }

    /// Withdraws a name from the layer of an IPCP.
    pub(super) fn unregister(&self, id: IpcpId, name: &Name) {
        let Some(ipcp) = self.ipcp(id) else { return };
        ipcp.unregister(self.shared.now(), &ipcp.info().hash.hash(name));
        for layer in self.all.write().iter_mut().filter(|l| l.id == id) {
            layer.registered.retain(|n| n != name);
        }
        let (own, layer) = (&ipcp.info().name, &ipcp.info().layer);
        record!(
            self.shared.panics(),
            Layer,
            Info,
            [name = name, ipcp = own, layer = layer],
            "name {name:?} withdrawn from layer {layer:?}"
        );
    }

    /// The names registered with an IPCP.
    pub(super) fn registered(&self, id: IpcpId) -> Vec<Name> {
        self.all.read().iter().find(|l| l.id == id).map(|l| l.registered.clone()).unwrap_or_default()
    }
}
