//! The library's half of a custom layer, to which a shim reports.

use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use core::task::Waker;

use super::super::management::Management;
use super::super::{Ends, ShimContext};
use super::Message;
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::counter::counters;
use crate::base::foreign::Panics;
use crate::base::rng::Rng;
use crate::base::sync::{AtomicBool, Mutex, Ordering};
use crate::base::time::{Clock, Instant};
use crate::flow::{Drive, Outgoing};
use crate::ipcp::{Info, Requests};
use crate::types::name::NameHash;
use crate::types::tree::Tree;

/// Flows and requests under way of one layer.
const MAX_FLOWS: usize = 1 << 16;

counters! {
    /// Packets and messages of a custom layer.
    pub(super) struct Counters {
        /// Packets of flows that have arrived.
        received => "received",
        /// Packets dropped: no flow has their number.
        unknown_flow => "unknown_flow",
        /// Packets dropped: the flow is with another station.
        wrong_station => "wrong_station",
        /// Messages dropped: too many wait.
        message_drops => "message_drops",
        /// Requests for flows that have arrived.
        requests_in => "requests_in",
        /// Requests for flows that were sent.
        requests_out => "requests_out",
        /// Replies to requests that have arrived.
        replies_in => "replies_in",
        /// Replies for which nobody waited.
        replies_unexpected => "replies_unexpected",
        /// Requests for flows that were refused.
        refused => "refused",
        /// Messages that could not be sent.
        send_failed => "send_failed",
    }
}

/// A message that has arrived and is not handled yet.
pub(super) struct Arrived {
    pub(super) from: u64,
    pub(super) message: Message<'static>,
    pub(super) data: Vec<u8>,
}

/// The library's state of a custom layer.
pub(super) struct State {
    pub(super) info: Info,
    pub(super) flows: Arc<Ends<u64>>,
    pub(super) names: Mutex<BTreeSet<NameHash>>,
    pub(super) arrived: Mutex<Management<Arrived>>,
    pub(super) down: AtomicBool,
    pub(super) counters: Counters,
    pub(super) requests: Weak<dyn Requests>,
    pub(super) device: Weak<dyn Drive>,
    pub(super) panics: Arc<Panics>,
    rng: Mutex<Rng>,
    waker: Waker,
    pub(super) clock: Arc<dyn Clock>,
    pool: Arc<BufPool>,
}

impl State {
    /// An empty layer in the surroundings that its stack gives.
    pub(super) fn new(context: ShimContext, info: Info) -> Arc<Self> {
        Arc::new(Self {
            info,
            flows: Ends::new(MAX_FLOWS),
            names: Mutex::new(BTreeSet::new()),
            arrived: Mutex::default(),
            down: AtomicBool::new(false),
            counters: Counters::default(),
            requests: context.requests,
            device: context.device,
            panics: context.panics,
            rng: Mutex::new(context.rng),
            waker: context.waker,
            clock: context.clock,
            pool: context.pool,
        })
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Returns `true` if a reply of `station` for the flow with this number is waited for.
    fn expects(&self, station: u64, flow: u32) -> bool {
        self.flows.get(flow.into()).is_some_and(|end| end.peer == station && end.is_requested())
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A random number out of `numbers`.
    pub(super) fn draw(&self, numbers: &RangeInclusive<u32>) -> u64 {
        let first = u64::from(*numbers.start());
        let count = u64::from(*numbers.end()).saturating_sub(first) + 1;
        first + self.rng.lock().below(count)
    }

    /// The layer's node in the tree.
    pub(super) fn rib(&self) -> Tree {
        Tree::item("ipcp", &*self.info.name)
            .counters(self.counters.rows())
            .gauge("flows", self.flows.len() as u64)
            .gauge("names", self.names.lock().len() as u64)
    }
}

/// The library's half of a layer over a device of one's own: what its [`Shim`](super::Shim) reports to.
///
/// Made by [`Stack::add`](crate::Stack::add), for the shim to keep. Clones are handles of the same layer.
#[derive(Clone)]
pub struct Layer(pub(super) Arc<State>);

impl Layer {
    /// Takes a message about a flow that has arrived from a station. It is handled when the shim has
    /// [received](super::Shim::receive). While 512 wait, or 256 of one station, or they hold more than 2 MiB, or 1 MiB of one
    /// station, some are dropped and counted: requests before replies that are waited for.
    pub fn on_message(&self, station: u64, message: &Message<'_>) {
        let answers = match message {
            Message::Request { .. } => None,
            Message::Reply { flow, .. } if self.0.expects(station, *flow) => Some(u64::from(*flow)),
            Message::Reply { .. } => {
                self.0.counters.replies_unexpected.count();
                return;
            }
        };
        let (message, data) = message.split();
        let arrived = Arrived { from: station, message, data: data.into() };
        let bytes = size_of::<Arrived>() + data.len();
        let kept = self.0.arrived.lock().push(station, bytes, answers, arrived);
        match kept {
            Ok(shed) => self.0.counters.message_drops.add(shed.len() as u64),
            Err(_) => self.0.counters.replies_unexpected.count(),
        }
    }

    /// Takes packets that have arrived from a station for the flow with the number `flow`. If there is none, or it is with
    /// another station, they are dropped and counted. Packets of one flow that are delivered together cost less.
    pub fn deliver(&self, now: Instant, station: u64, flow: u32, packets: impl IntoIterator<Item = PacketBuf>) {
        let counters = &self.0.counters;
        match self.0.flows.get(flow.into()) {
            Some(end) if end.peer == station => {
                // The iterator is code of others: it ends before the flow takes its lock.
                let packets: Outgoing = packets.into_iter().collect();
                counters.received.add(packets.len() as u64);
                end.endpoint.handle_packets(now, packets);
            }
            Some(_) => counters.wrong_station.add(packets.into_iter().count() as u64),
            None => counters.unknown_flow.add(packets.into_iter().count() as u64),
        }
    }

    /// Tells writers that there is room in the device again, after [`Shim::is_congested`](super::Shim::is_congested) said
    /// that there was none. What flows have held back is [sent](super::Shim::send) in this call, so none of the shim's locks may be
    /// held that sending takes.
    pub fn on_room(&self) {
        self.0.flows.for_each(|end| end.endpoint.notify_writable());
    }

    /// Returns `true` if this member has registered the name: queries of other members for where it is are to be
    /// answered.
    pub fn is_registered(&self, name: &NameHash) -> bool {
        self.0.names.lock().contains(name)
    }

    /// A stock of packet buffers, for whoever receives.
    pub fn buffers(&self) -> BufCache {
        BufCache::new(&self.0.pool)
    }

    /// Has a polled or simulated stack polled soon: packets have arrived, or some are left after
    /// [`Shim::receive`](super::Shim::receive). Does nothing in a threaded stack.
    pub fn wake(&self) {
        self.0.waker.wake_by_ref();
    }

    /// The time of the stack.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// A random number, which nobody can guess; repeatable in simulations.
    pub fn random(&self) -> u64 {
        self.0.rng.lock().u64()
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("name", &self.0.info.name).field("flows", &self.0.flows.len()).finish()
    }
}
