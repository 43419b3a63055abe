//! The IPCPs of a stack, and the names that are known in their layers.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::future::poll_fn;
use core::sync::atomic::Ordering;
use core::task::Poll;

use super::Node;
use super::member::Membership;
use super::timers::Sleep;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::ipcp::{Info, Ipcp, RegisterError};
use crate::types::name::Name;

/// The number by which a node knows an IPCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpcpId(u64);

pub(super) struct Layer {
    pub(super) id: IpcpId,
    pub(super) ipcp: Arc<dyn Ipcp>,
    pub(super) priority: i32,
    pub(super) registered: Vec<Name>,
    /// Present if it uses flows itself.
    pub(super) membership: Option<Arc<Membership>>,
}

impl Node {
    /// Adds an IPCP. It is asked for names before those of a lower priority, then before those of a later kind.
    pub fn add_ipcp(&self, ipcp: Arc<dyn Ipcp>, priority: i32) -> IpcpId {
        let id = IpcpId(self.next_ipcp.fetch_add(1, Ordering::Relaxed));
        let added = Arc::clone(&ipcp);
        {
            let mut layers = self.layers.write();
            layers.push(Layer { id, ipcp, priority, registered: Vec::new(), membership: None });
            layers.sort_by_key(|l| (Reverse(l.priority), l.ipcp.info().kind, l.id));
        }
        self.note_layer(&*added, "joined");
        id
    }

    fn note_layer(&self, ipcp: &dyn Ipcp, what: &str) {
        let Info { kind, name, layer, .. } = ipcp.info();
        record!(
            self.panics(),
            Layer,
            Info,
            [ipcp = name, layer = layer, kind = kind],
            "{kind} layer {layer:?} {what} as {name:?}"
        );
    }

    pub(super) fn add_membership(&self, membership: &Arc<Membership>) {
        for layer in self.layers.write().iter_mut().filter(|l| l.id == membership.id()) {
            layer.membership = Some(Arc::clone(membership));
        }
    }

    /// What looks after the N-1 flows of an IPCP, if it uses some.
    pub fn membership(&self, id: IpcpId) -> Option<Arc<Membership>> {
        self.layers.read().iter().find(|l| l.id == id)?.membership.clone()
    }

    /// Ends an IPCP: its layer is left, and the flows through it go down.
    pub fn remove_ipcp(&self, id: IpcpId) {
        let removed = {
            let mut layers = self.layers.write();
            let at = layers.iter().position(|l| l.id == id);
            at.map(|at| layers.remove(at))
        };
        let Some(layer) = removed else { return };
        if let Some(membership) = layer.membership {
            membership.end();
        }
        self.note_layer(&*layer.ipcp, "left");
        let now = self.env.clock.now();
        match self.env.panics.call(|| layer.ipcp.retire(now)).flatten() {
            Some(at) => self.shut_down_at(at, layer.ipcp),
            None => {
                self.env.panics.call(|| layer.ipcp.shutdown(now));
            }
        }
    }

    /// Ends an IPCP at `at`, or with the node if that is earlier.
    fn shut_down_at(&self, at: Instant, ipcp: Arc<dyn Ipcp>) {
        self.retiring.lock().push(Arc::clone(&ipcp));
        let node = Weak::clone(&self.me);
        let mut sleep = self.me.upgrade().map(|me| Sleep::new(&me));
        let ipcp = Arc::downgrade(&ipcp);
        self.spawn(async move {
            poll_fn(|cx| match (node.upgrade(), &mut sleep) {
                (Some(node), Some(sleep)) if node.clock().now() < at && !node.is_down() => {
                    sleep.set(at, cx.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            })
            .await;
            if let (Some(node), Some(ipcp)) = (node.upgrade(), ipcp.upgrade()) {
                node.retiring.lock().retain(|other| !Arc::ptr_eq(other, &ipcp));
                ipcp.shutdown(node.clock().now());
            }
        });
    }

    /// Changes the priority with which an IPCP is asked for names; 0 is the default.
    pub fn set_priority(&self, id: IpcpId, priority: i32) {
        let mut layers = self.layers.write();
        for layer in layers.iter_mut().filter(|l| l.id == id) {
            layer.priority = priority;
        }
        layers.sort_by_key(|l| (Reverse(l.priority), l.ipcp.info().kind, l.id));
    }

    /// The IPCPs, in the order in which they are asked for a name.
    pub fn ipcps(&self) -> Vec<(IpcpId, Arc<dyn Ipcp>)> {
        self.layers.read().iter().map(|l| (l.id, Arc::clone(&l.ipcp))).collect()
    }

    pub(super) fn ipcp(&self, id: IpcpId) -> Option<Arc<dyn Ipcp>> {
        self.layers.read().iter().find(|l| l.id == id).map(|l| Arc::clone(&l.ipcp))
    }

    /// Makes a name known in the layer of an IPCP.
    ///
    /// # Errors
    /// [`RegisterError`] if the layer cannot take it.
    pub fn register(&self, id: IpcpId, name: &Name) -> Result<(), RegisterError> {
        let ipcp = self.ipcp(id).ok_or(RegisterError::Down)?;
        ipcp.register(self.env.clock.now(), ipcp.info().hash.hash(name))?;
        for layer in self.layers.write().iter_mut().filter(|l| l.id == id) {
            if !layer.registered.contains(name) {
                layer.registered.push(name.clone());
            }
        }
        let (own, layer) = (&ipcp.info().name, &ipcp.info().layer);
        record!(
            self.panics(),
            Layer,
            Info,
            [name = name, ipcp = own, layer = layer],
            "name {name:?} registered in layer {layer:?}"
        );
        Ok(())
    }

    /// Withdraws a name from the layer of an IPCP.
    pub fn unregister(&self, id: IpcpId, name: &Name) {
        let Some(ipcp) = self.ipcp(id) else { return };
        ipcp.unregister(self.env.clock.now(), &ipcp.info().hash.hash(name));
        for layer in self.layers.write().iter_mut().filter(|l| l.id == id) {
            layer.registered.retain(|n| n != name);
        }
        let (own, layer) = (&ipcp.info().name, &ipcp.info().layer);
        record!(
            self.panics(),
            Layer,
            Info,
            [name = name, ipcp = own, layer = layer],
            "name {name:?} withdrawn from layer {layer:?}"
        );
    }

    /// The names registered with an IPCP.
    pub fn registered(&self, id: IpcpId) -> Vec<Name> {
        self.layers.read().iter().find(|l| l.id == id).map(|l| l.registered.clone()).unwrap_or_default()
    }
}
