//! The other end of a flow: where it is, and where it has moved.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::base::sync::{Mutex, Once};
use crate::types::addr::{Route, canonical};

/// A place that changes seldom, and is asked for with every packet.
pub(super) struct Place<T> {
    first: T,
    changed: AtomicBool,
    now: Mutex<Option<T>>,
}

impl<T: Clone> Place<T> {
    pub(super) fn new(first: T) -> Self {
        Self { first, changed: AtomicBool::new(false), now: Mutex::new(None) }
    }

    /// Calls `f` with the present one.
    pub(super) fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        // The lock is for those that have moved.
        if !self.changed.load(Ordering::Acquire) {
            return f(&self.first);
        }
        f(self.now.lock().as_ref().unwrap_or(&self.first))
    }

    pub(super) fn get(&self) -> T {
        self.with(T::clone)
    }

    pub(super) fn set(&self, to: T) {
        *self.now.lock() = Some(to);
        self.changed.store(true, Ordering::Release);
    }
}

/// The other end of a flow.
pub(super) struct Peer {
    place: Place<Known>,
    /// Our own address on the first route, once it is known.
    local: Once<Option<IpAddr>>,
}

/// The known part of the route.
#[derive(Clone, Copy)]
enum Known {
    /// The peer's address; ours is the one that it answers to.
    Remote(SocketAddr),
    /// All of it.
    Route(Route),
}

impl Peer {
    /// A peer that is asked for a flow.
    pub(super) fn asked(remote: SocketAddr) -> Self {
        Self { place: Place::new(Known::Remote(canonical(remote))), local: Once::new() }
    }

    /// A peer that asks, or has answered.
    pub(super) fn on(route: Route) -> Self {
        Self { place: Place::new(Known::Route(route)), local: Once::new() }
    }

    /// It has answered to this address of ours.
    pub(super) fn answered_at(&self, local: Option<IpAddr>) {
        let _ = self.local.set(local);
    }

    /// It has moved.
    pub(super) fn move_to(&self, route: Route) {
        self.place.set(Known::Route(route));
    }

    /// Our address on the route is gone: it is whichever the peer sends to.
    pub(super) fn forget_local(&self, remote: SocketAddr) {
        self.place.set(Known::Remote(remote));
    }

    /// Returns `true` if what came on this route is of the flow.
    pub(super) fn is_on(&self, route: Route) -> bool {
        self.place.with(|known| match known {
            Known::Route(own) => *own == route,
            Known::Remote(remote) if *remote != route.remote => false,
            // A second time it is not known, and any will do.
            Known::Remote(_) if self.place.changed.load(Ordering::Relaxed) => true,
            Known::Remote(_) => self.local.get().is_none_or(|local| *local == route.local),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(local: u8, remote: u8) -> Route {
        Route { local: Some([10, 1, 0, local].into()), remote: ([10, 0, 0, remote], 3435).into() }
    }

    #[test]
    fn a_peer_is_on_one_route_at_a_time() {
        let peer = Peer::asked(route(1, 1).remote);
        assert!(peer.is_on(route(1, 1)) && peer.is_on(route(2, 1)) && !peer.is_on(route(1, 2)));
        peer.answered_at(route(2, 1).local);
        assert!(!peer.is_on(route(1, 1)) && peer.is_on(route(2, 1)));
        peer.move_to(route(1, 7));
        assert!(peer.is_on(route(1, 7)) && !peer.is_on(route(2, 7)) && !peer.is_on(route(2, 1)));
        peer.forget_local(route(1, 7).remote);
        assert!(peer.is_on(route(1, 7)) && peer.is_on(route(2, 7)) && !peer.is_on(route(2, 1)));

        let peer = Peer::on(route(1, 1));
        assert!(peer.is_on(route(1, 1)) && !peer.is_on(route(2, 1)));
    }
}
