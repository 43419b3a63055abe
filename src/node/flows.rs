//! The endpoints of a stack, and the machines and bounds that they are given.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::time::Duration;

use super::limits::AMPLIFICATION;
use super::owed::{self, Owed};
use super::shared::{Shared, order};
use super::silent::{self, Bounds, Silent};
use super::timers::TimerQueue;
use crate::base::arena::{Arena, Id};
use crate::base::backlog::Meter;
use crate::base::sync::{Mutex, Ordered};
use crate::base::time::Instant;
use crate::crypto::SessionKey;
use crate::crypto::protect::{Protection, Side};
use crate::crypto::suite::Cipher;
use crate::flow::{Endpoint, FlowKey, Opening, Params};
use crate::frct::{self, Frct};
use crate::ipcp::{Info, Origin};
use crate::oap::{OapError, Peering};
use crate::types::qos::QosSpec;
use crate::types::tap::FlowTap;
use crate::wire::oap::ID_LEN;

/// Properties of a layer that concern its flows.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerFacts {
    pub(super) mpl: Duration,
    pub(super) congestible: bool,
    pub(super) window: u32,
}

impl From<&Info> for LayerFacts {
    fn from(info: &Info) -> Self {
        Self { mpl: info.mpl, congestible: info.congestible, window: info.window }
    }
}

/// What the two ends of a flow have agreed on.
pub(super) struct Agreed {
    /// Id of the request.
    pub(super) id: [u8; ID_LEN],
    pub(super) keys: Option<(Cipher, SessionKey)>,
    pub(super) peering: Option<Peering>,
}

/// The endpoints of a node, and the bounds on them.
pub(super) struct Flows {
    shared: Arc<Shared>,
    timers: Arc<TimerQueue>,
    endpoints: Ordered<Mutex<Arena<Arc<Endpoint>>>, { order::FLOWS }>,
    silent: Ordered<Mutex<Silent>, { order::SILENT }>,
    owed: Ordered<Mutex<Owed>, { order::OWED }>,
    /// Memory of packets that wait, of all flows, and of those that each peer has asked for.
    held: Arc<Meter>,
    held_by_peer: Ordered<Mutex<PeerMeters>, { order::METERS }>,
    kinds: Ordered<Mutex<frct::SharedParams>, { order::SHARED_PARAMS }>,
}

impl Flows {
    pub(super) fn new(shared: &Arc<Shared>, timers: &Arc<TimerQueue>) -> Self {
        let limits = &shared.limits;
        Self {
            endpoints: Ordered::new(Mutex::new(Arena::new(limits.flows))),
            silent: Ordered::default(),
            owed: Ordered::new(Mutex::new(Owed::new(limits.silence))),
            held: Meter::whole(limits.stack_bytes, &shared.env.clock),
            held_by_peer: Ordered::new(Mutex::new(PeerMeters::new())),
            kinds: Ordered::default(),
            shared: Arc::clone(shared),
            timers: Arc::clone(timers),
        }
    }

    /// An endpoint for a flow that is being allocated; `None` if there are too many.
    pub(super) fn new_endpoint(&self) -> Option<Arc<Endpoint>> {
        let mut endpoints = self.endpoints.lock();
        // Under the lock: a shutdown under way either finds the endpoint or is found here.
        if self.shared.is_down() {
            return None;
        }
        let mut made = None;
        endpoints.insert_with(|id| {
            let endpoint = Endpoint::new(id.to_bits(), &self.shared.env);
            let tap = self.shared.onlookers.tap();
            if tap.is_some() {
                endpoint.set_tap(tap);
            }
            made = Some(Arc::clone(&endpoint));
            endpoint
        })?;
        made
    }

    pub(super) fn endpoint(&self, key: FlowKey) -> Option<Arc<Endpoint>> {
        self.endpoints.lock().get(Id::from_bits(key)).cloned()
    }

    /// Forgets an endpoint that is over.
    pub(super) fn forget(&self, key: FlowKey) {
        self.timers.forget_flow(key);
        let endpoint = self.endpoints.lock().remove(Id::from_bits(key));
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.has_heard()) {
            self.note_heard(key);
        }
        drop(endpoint);
    }

    /// Returns all endpoints, ordered by number.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.lock().iter().map(|(_, e)| Arc::clone(e)).collect()
    }

    /// Returns the silence allowed to a requester that asks for `ms` milliseconds, or for no limit with 0.
    pub(super) fn bounded(&self, ms: u32) -> u32 {
        let most = millis(self.shared.limits.flow_timeout_max);
        if ms == 0 { most } else { ms.min(most) }
    }

    /// The timeout that is granted to a requester of our own kind, which is told.
    pub(super) fn granted(&self, ms: u32) -> u32 {
        self.bounded(ms).max(millis(self.shared.limits.flow_timeout_min))
    }

    /// The machines of an allocated flow.
    pub(super) fn params(
        &self,
        mut qos: QosSpec,
        layer: &LayerFacts,
        Agreed { id, keys, peering }: Agreed,
    ) -> Result<Params, OapError> {
        if let Some(peering) = &peering {
            qos.timeout = match peering.side {
                Side::Server => self.granted(peering.timeout),
                // What the server has granted counts at both ends.
                Side::Client => peering.timeout.max(1),
            };
        }
        let protection = match keys {
            Some((cipher, key)) => {
                self.shared.onlookers.tell_key(self.shared.panics(), &id, peering.is_some(), &key);
                let ivs = self.shared.split_rng("iv");
                let keys = match &peering {
                    Some(peering) => Protection::between_peers(self.shared.backend, cipher, key, peering.side)?,
                    None => Protection::with_backend(self.shared.backend, cipher, key)?,
                };
                Some((Box::new(keys), Box::new(ivs)))
            }
            None => None,
        };
        let plain = self.plain_params(qos, layer, peering.as_ref());
        Ok(Params { protection, peering, ..plain })
    }

    /// The largest message that flows put together from fragments, bytes: a power of two, so that it can be told.
    pub(super) fn message(&self) -> u32 {
        let limits = &self.shared.limits;
        // Small fragments hold up to four times as much memory, and a message that is not complete must not stop its own
        // flow.
        let held = (limits.flow_bytes / 4).checked_ilog2().map_or(0, |n| 1 << n);
        u32::try_from(limits.frct.message_room().min(held)).unwrap_or(0)
    }

    /// Returns the same without encryption.
    pub(super) fn plain_params(&self, qos: QosSpec, layer: &LayerFacts, peering: Option<&Peering>) -> Params {
        let frct = qos.has_frct().then(|| {
            let config = frct::Config {
                reliable: qos.is_reliable(),
                o7s_peer: peering.is_some(),
                message_in: peering.map_or(0, |_| self.message() as usize),
                message_out: peering.map_or(0, |p| p.message as usize),
                mpl: layer.mpl,
                window: layer.window.min(self.shared.limits.frct.window),
                congestion: layer.congestible,
                ..self.shared.limits.frct.clone()
            };
            let isn = self.shared.random();
            let params = self.kinds.lock().of(&config);
            Box::new(Frct::sharing(params, &config.algorithm, isn))
        });
        Params {
            qos,
            frct,
            protection: None,
            peering: None,
            rx_limit: self.shared.limits.raw_queue,
            rx_bytes: self.shared.limits.flow_bytes,
            meter: Some(Arc::clone(&self.held)),
            opening: Opening::default(),
        }
    }

    /// Returns the limits of a flow that was asked for with `received` bytes, by a requester whose address is only
    /// claimed, and answered with `sent` bytes.
    pub(super) fn opening(&self, received: usize, sent: usize) -> Opening {
        let allowance = (received as u64).saturating_mul(AMPLIFICATION).saturating_sub(sent as u64);
        Opening { allowance: Some(allowance), silence: Some(self.shared.limits.silence), greet: false }
    }

    /// Counts a reply with `sent` bytes to a host whose address is only claimed. `false` if it is not to be sent: it is too much
    /// for the `received` bytes of the request, and not the first of late.
    pub(super) fn may_reply(&self, now: Instant, origin: Origin, sent: usize, flow: FlowKey) -> bool {
        let excess = (sent + owed::HEADER).saturating_sub(origin.received.saturating_mul(AMPLIFICATION as usize));
        excess == 0 || self.owed.lock().add(now, origin.address, excess, flow)
    }

    /// The peer of an accepted flow has been heard for the first time, or was sent no reply.
    pub(super) fn note_heard(&self, flow: FlowKey) {
        self.owed.lock().pay(flow);
    }

    /// Returns the account of the flows that `address` asks for.
    pub(super) fn meter_of(&self, address: u64) -> Arc<Meter> {
        self.held_by_peer.lock().of(address, || Meter::part(self.shared.limits.peer_bytes, &self.held))
    }

    /// Counts a flow whose peer has to be heard yet.
    pub(super) fn await_first_word(&self, now: Instant, address: u64, endpoint: &Arc<Endpoint>) {
        let bounds =
            Bounds { flows: self.shared.limits.silent_flows, per_address: self.shared.limits.silent_flows_per_peer };
        let shed = self.silent.lock().add(now, address, endpoint, bounds);
        if let Some(endpoint) = shed {
            endpoint.abort();
        }
    }

    /// Ends the accepted flow whose peer has been silent for longest without ever being heard, of those that hold something
    /// that is needed. `holds` is asked under a lock.
    pub(super) fn shed_silent(&self, holds: &dyn Fn(FlowKey) -> bool) {
        let oldest = self.silent.lock().oldest(holds);
        if let Some(endpoint) = oldest {
            endpoint.abort();
        }
    }

    /// Has `tap` see the packets of all flows from now on, or nobody any more.
    pub(super) fn set_tap(&self, tap: Option<Arc<dyn FlowTap>>) {
        self.shared.onlookers.set_tap(tap.clone());
        for endpoint in self.endpoints() {
            endpoint.set_tap(tap.clone());
        }
    }

    /// Endpoints, and bytes of packets that wait in them.
    pub(super) fn facts(&self) -> (usize, usize) {
        (self.endpoints.lock().len(), self.held.used())
    }

    /// Replies that are counted because they are large and their hosts have not been heard.
    pub(super) fn owed(&self) -> usize {
        self.owed.lock().len()
    }

    /// Flows whose peer has not been heard, and what was counted of them.
    pub(super) fn silent(&self) -> (usize, silent::Counters) {
        self.silent.lock().counts()
    }
}

/// Meters of the memory that packets hold which wait in flows that each peer has asked for, by its address.
pub(super) struct PeerMeters {
    meters: BTreeMap<u64, Weak<Meter>>,
    /// Number of meters at which those of peers without flows are removed.
    sweep_at: usize,
}

impl PeerMeters {
    pub(super) fn new() -> Self {
        Self { meters: BTreeMap::new(), sweep_at: KEPT }
    }

    /// The meter of a peer, made if it has none.
    fn of(&mut self, address: u64, make: impl FnOnce() -> Arc<Meter>) -> Arc<Meter> {
        if let Some(meter) = self.meters.get(&address).and_then(Weak::upgrade) {
            return meter;
        }
        if self.meters.len() >= self.sweep_at {
            self.meters.retain(|_, meter| meter.strong_count() > 0);
            self.sweep_at = (2 * self.meters.len()).max(KEPT);
        }
        let meter = make();
        self.meters.insert(address, Arc::downgrade(&meter));
        meter
    }
}

/// Meters of peers that may have no flow any more before these are looked for.
const KEPT: usize = 256;

fn millis(d: Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX).max(1)
}
