//! The other end of a flow: where it is, and where it has moved.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::base::sync::{Mutex, Once};
use crate::types::addr::{Route, canonical};

/// The other end of a flow. The port and the receiver share it: what is sent goes where packets are taken from, and both
/// change in one step.
pub(super) struct Peer {
    first: Known,
    /// Our own address on the first route, once it is known.
    local: Once<Option<IpAddr>>,
    /// It is elsewhere now. The lock is for those that have moved.
    changed: AtomicBool,
    now: Mutex<Option<Box<Known>>>,
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
    fn new(first: Known) -> Arc<Self> {
        Arc::new(Self { first, local: Once::new(), changed: AtomicBool::new(false), now: Mutex::new(None) })
    }

    /// A peer that is asked for a flow.
    pub(super) fn asked(remote: SocketAddr) -> Arc<Self> {
        Self::new(Known::Remote(canonical(remote)))
    }

    /// A peer that asks.
    pub(super) fn on(route: Route) -> Arc<Self> {
        Self::new(Known::Route(route))
    }

    /// It has answered to this address of ours.
    pub(super) fn answered_at(&self, local: Option<IpAddr>) {
        let _ = self.local.set(local);
    }

    /// It has moved.
    pub(super) fn move_to(&self, route: Route) {
        self.change(|_| Some(Known::Route(route)));
    }

    /// Our address on this route is gone: from now on it is whichever the peer sends to. Nothing is forgotten of a peer that
    /// is on another route by now.
    pub(super) fn forget_local(&self, route: Route) {
        self.change(|present| (present == route).then_some(Known::Remote(route.remote)));
    }

    /// Changes the place to what `f` makes of the route.
    fn change(&self, f: impl FnOnce(Route) -> Option<Known>) {
        let mut now = self.now.lock();
        if let Some(to) = f(now.as_deref().map_or_else(|| self.first_route(), |known| known.route())) {
            *now = Some(Box::new(to));
            self.changed.store(true, Ordering::Release);
        }
    }

    fn moved(&self) -> Option<Known> {
        if self.changed.load(Ordering::Acquire) { self.now.lock().as_deref().copied() } else { None }
    }

    fn first_route(&self) -> Route {
        Route { local: self.first.route().local.or_else(|| self.local.get().copied().flatten()), ..self.first.route() }
    }

    /// The route on which it is sent to.
    pub(super) fn route(&self) -> Route {
        self.moved().map_or_else(|| self.first_route(), Known::route)
    }

    /// Returns `true` if what came on this route is of the flow.
    pub(super) fn is_on(&self, route: Route) -> bool {
        match (self.moved(), self.first) {
            (Some(Known::Route(own)), _) | (None, Known::Route(own)) => own == route,
            // A second time it is not known, and any will do.
            (Some(Known::Remote(remote)), _) => remote == route.remote,
            (None, Known::Remote(remote)) => {
                remote == route.remote && self.local.get().is_none_or(|local| *local == route.local)
            }
        }
    }
}

impl Known {
    fn route(self) -> Route {
        match self {
            Self::Remote(remote) => Route { local: None, remote },
            Self::Route(route) => route,
        }
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
        assert_eq!(peer.route(), route(2, 1));
        peer.move_to(route(1, 7));
        assert!(peer.is_on(route(1, 7)) && !peer.is_on(route(2, 7)) && !peer.is_on(route(2, 1)));
        peer.forget_local(route(2, 1));
        assert_eq!(peer.route(), route(1, 7), "it was there before it moved");
        peer.forget_local(route(1, 7));
        assert_eq!(peer.route(), Route { local: None, ..route(1, 7) });
        assert!(peer.is_on(route(1, 7)) && peer.is_on(route(2, 7)) && !peer.is_on(route(2, 1)));

        let peer = Peer::on(route(1, 1));
        assert!(peer.is_on(route(1, 1)) && !peer.is_on(route(2, 1)));
    }
}
