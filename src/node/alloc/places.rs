//! The places at which an allocation may ask, in their order.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Context;

use smallvec::SmallVec;

use super::{Via, Wanted};
use crate::base::time::Instant;
use crate::ipcp::{Ipcp, Location, Lookup};
use crate::node::Node;
use crate::types::name::NameHash;

/// Places remembered of a layer: more than a directory knows of a name.
const MAX_PLACES: usize = 64;

/// The layers that may know the name, and what has become of their places.
pub(super) struct Places {
    /// The first is asked first.
    layers: Vec<Layer>,
    /// The stack itself is all that was asked so far: the layers come after it.
    only_here: bool,
}

struct Layer {
    ipcp: Arc<dyn Ipcp>,
    hash: NameHash,
    places: SmallVec<[Place; 2]>,
    /// It cannot carry the request.
    failed: bool,
}

#[derive(Clone, Copy)]
struct Place {
    at: Location,
    asked: u32,
    /// It has said no.
    failed: bool,
}

/// A place to ask.
pub(super) struct Target {
    pub(super) ipcp: Arc<dyn Ipcp>,
    pub(super) at: Location,
    /// The name's, as this layer makes it.
    pub(super) hash: NameHash,
}

/// The place to ask next.
pub(super) enum Next {
    /// Ask there.
    Ask(Target),
    /// A layer is looking for the name; it wakes the task.
    Look,
    /// No other place.
    None,
}

impl Layer {
    fn new(ipcp: Arc<dyn Ipcp>, hash: NameHash) -> Self {
        Self { ipcp, hash, places: SmallVec::new(), failed: false }
    }

    /// Returns the record of a place.
    fn place(&mut self, at: Location) -> Option<&mut Place> {
        let known = self.places.iter().position(|place| place.at == at);
        if known.is_none() && self.places.len() < MAX_PLACES {
            self.places.push(Place { at, asked: 0, failed: false });
        }
        match known {
            Some(known) => self.places.get_mut(known),
            None => self.places.last_mut().filter(|place| place.at == at),
        }
    }

    /// Returns the one of these that was asked least often and has not refused.
    fn least_asked(&mut self, known: &[Location]) -> Option<&mut Place> {
        let asked = |layer: &mut Self, at| layer.place(at).filter(|place| !place.failed).map(|place| place.asked);
        let open: SmallVec<[(u32, Location); 4]> =
            known.iter().filter_map(|at| Some((asked(self, *at)?, *at))).collect();
        let (_, at) = *open.iter().min_by_key(|(asked, _)| *asked)?;
        self.place(at)
    }
}

impl Places {
    pub(super) fn new(node: &Node, wanted: &Wanted) -> Self {
        let (name, alg) = (&wanted.name, node.direct.info().hash);
        let kept = node.with_irm(|irm| irm.is_bound(name).then(|| irm.hash_of(alg, name)));
        if let (Via::Any, Some(kept)) = (&wanted.via, kept) {
            let hash = kept.unwrap_or_else(|| alg.hash(name));
            let here = Layer::new(Arc::clone(&node.direct) as Arc<dyn Ipcp>, hash);
            return Self { layers: alloc::vec![here], only_here: true };
        }
        let mut places = Self { layers: Vec::new(), only_here: false };
        places.add_layers(node, wanted);
        places
    }

    fn add_layers(&mut self, node: &Node, wanted: &Wanted) {
        let allowed = node.ipcps().into_iter().filter(|(id, _)| wanted.via.allows(*id));
        self.layers.extend(allowed.map(|(_, ipcp)| {
            let hash = ipcp.info().hash.hash(&wanted.name);
            Layer::new(ipcp, hash)
        }));
    }

    /// The first place that was not asked yet, of the first layer that knows one. While layers before it are looking for the
    /// name it waits, `until` then at most; if nothing is given, it does not wait for them. If none knows one, it waits for
    /// those that will have an answer, however long they take.
    pub(super) fn next(
        &mut self,
        now: Instant,
        until: Option<Instant>,
        node: &Node,
        wanted: &Wanted,
        cx: &Context<'_>,
    ) -> Next {
        let next = self.next_of_layers(now, until, cx);
        if matches!(next, Next::None) && core::mem::take(&mut self.only_here) {
            self.add_layers(node, wanted);
            return self.next_of_layers(now, until, cx);
        }
        next
    }

    fn next_of_layers(&mut self, now: Instant, until: Option<Instant>, cx: &Context<'_>) -> Next {
        // All are asked at once, so that one that takes its time costs those behind it none of theirs.
        let (mut finds_out, mut calls, mut next) = (false, false, None);
        for layer in self.layers.iter_mut().filter(|layer| !layer.failed) {
            match layer.ipcp.lookup(now, &layer.hash, cx.waker()) {
                Lookup::Known(known) => {
                    let place = layer.least_asked(&known).filter(|place| place.asked == 0);
                    let place = place.map(|place| place.at);
                    next = place.map(|at| (layer, at));
                }
                Lookup::Pending => finds_out = true,
                Lookup::Calling => calls = true,
                Lookup::Unknown => {}
            }
            if next.is_some() {
                break;
            }
        }
        let (in_time, waits) = (until.is_none_or(|until| now < until), until.is_some_and(|until| now < until));
        match next {
            Some((layer, at)) if !(waits && (finds_out || calls)) => {
                if let Some(place) = layer.place(at) {
                    place.asked += 1;
                }
                Next::Ask(Target { ipcp: Arc::clone(&layer.ipcp), at, hash: layer.hash })
            }
            _ if finds_out || calls && in_time => Next::Look,
            _ => Next::None,
        }
    }

    /// Returns the places to ask again, one in each layer that was asked: the current place of the name, or else the
    /// last one.
    pub(super) fn again(&mut self, now: Instant, cx: &Context<'_>) -> SmallVec<[Target; 2]> {
        let asked = |layer: &&mut Layer| !layer.failed && layer.places.iter().any(|place| place.asked > 0);
        let mut again = SmallVec::new();
        for layer in self.layers.iter_mut().filter(asked) {
            let known = match layer.ipcp.lookup(now, &layer.hash, cx.waker()) {
                Lookup::Known(known) => known,
                Lookup::Pending | Lookup::Calling => {
                    layer.places.iter().filter(|place| place.asked > 0).map(|place| place.at).collect()
                }
                Lookup::Unknown => continue,
            };
            let (ipcp, hash) = (Arc::clone(&layer.ipcp), layer.hash);
            if let Some(place) = layer.least_asked(&known) {
                place.asked += 1;
                again.push(Target { ipcp, at: place.at, hash });
            }
        }
        again
    }

    /// Returns `true` if there is no layer that may know the name.
    pub(super) fn are_none(&self) -> bool {
        self.layers.is_empty()
    }

    /// Returns `true` if a place that was asked has not refused, and may accept if asked again.
    pub(super) fn are_hopeful(&self) -> bool {
        let layers = self.layers.iter().filter(|layer| !layer.failed);
        layers.flat_map(|layer| &layer.places).any(|place| place.asked > 0 && !place.failed)
    }

    /// A place said no, or a layer cannot carry the request at all.
    pub(super) fn failed(&mut self, ipcp: &Arc<dyn Ipcp>, at: Option<Location>) {
        let Some(layer) = self.layers.iter_mut().find(|layer| Arc::ptr_eq(&layer.ipcp, ipcp)) else { return };
        match at {
            Some(at) => {
                if let Some(place) = layer.place(at) {
                    place.failed = true;
                }
            }
            None => layer.failed = true,
        }
    }
}
