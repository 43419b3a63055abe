//! State shared by all parts of a member: its identity, the configuration of the layer, the time, and buffers.
//!
//! # The order of locks
//!
//! A part may hold one of its locks while it calls parts below it. So locks are taken from the top downwards, and those of
//! one part in the order of [`order`]; debug builds [check](crate::base::sync::Ordered) that. None is held while an endpoint,
//! a device, a waker or an alarm is called.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;

use super::config::{Config, Parts};
use crate::base::buf::{BufPool, PacketBuf};
use crate::base::foreign::Panics;
use crate::base::rng::Rng;
use crate::base::sync::{AtomicU64, Mutex, Ordered};
use crate::base::time::Clock;
use crate::flow::MemberKey;
use crate::ipcp::{Alarm, Info, Kind};
use crate::routing::Guarded;
use crate::types::id::Address;
use crate::types::layer::{self, LayerConfig};
use crate::wire::dt::LayerSizes;

/// The locks of a member, in the order in which they are taken.
pub(super) mod order {
    /// Control: one builds the forwarding table at a time.
    pub(in crate::ipcp::unicast) const PUBLISHING: u8 = 0;
    /// Control: routing and directory.
    pub(in crate::ipcp::unicast) const MACHINES: u8 = 1;
    /// Control: the management flows.
    pub(in crate::ipcp::unicast) const MANAGEMENTS: u8 = 2;
    /// Control: N-1 flows that may be of an earlier life of the neighbour.
    pub(in crate::ipcp::unicast) const DOUBTS: u8 = 3;
    /// Control: messages that wait.
    pub(in crate::ipcp::unicast) const INBOX: u8 = 4;
    /// Control: questions of the directory.
    pub(in crate::ipcp::unicast) const ASKED: u8 = 5;
    /// Flow allocator: names for which flows are accepted.
    pub(in crate::ipcp::unicast) const NAMES: u8 = 8;
    /// Flow allocator: the receiver of the reply of a flow's peer.
    pub(in crate::ipcp::unicast) const REQUESTED: u8 = 9;
    /// Flow allocator: how fast a flow may send, and what waits.
    pub(in crate::ipcp::unicast) const SENDING: u8 = 10;
    /// Flow allocator: what a flow has met on the way.
    pub(in crate::ipcp::unicast) const RECEIVING: u8 = 11;
    /// Flow allocator: what a flow waits for.
    pub(in crate::ipcp::unicast) const TIMER: u8 = 12;
    /// Flow allocator: when flows may send.
    pub(in crate::ipcp::unicast) const PACED: u8 = 13;
    /// Flow allocator: flows whose way is gone.
    pub(in crate::ipcp::unicast) const LOST: u8 = 14;
    /// Data transfer: the adjacencies.
    pub(in crate::ipcp::unicast) const ADJACENCIES: u8 = 16;
    /// Data transfer: the forwarding table.
    pub(in crate::ipcp::unicast) const TABLE: u8 = 17;
    /// Data transfer: what waits in front of an adjacency.
    pub(in crate::ipcp::unicast) const QUEUE: u8 = 18;
    /// Data transfer: in front of which adjacencies something waits.
    pub(in crate::ipcp::unicast) const SERVICE_LIST: u8 = 19;
    /// Shared: randomness.
    pub(in crate::ipcp::unicast) const RNG: u8 = 24;
}

/// State shared by all parts of a member.
pub(super) struct Shared {
    pub(super) info: Info,
    pub(super) layer: LayerConfig,
    pub(super) unicast: layer::Unicast,
    pub(super) config: Config,
    pub(super) sizes: LayerSizes,
    pub(super) clock: Arc<dyn Clock>,
    /// Guard through which foreign code is called.
    pub(super) panics: Arc<Panics>,
    pub(super) alarm: Arc<dyn Alarm>,
    /// Address in the layer; changes if another member turns out to have it.
    address: AtomicU64,
    /// The layer is being left, or was.
    down: AtomicBool,
    rng: Ordered<Mutex<Rng>, { order::RNG }>,
    pool: Arc<BufPool>,
}

impl Shared {
    /// Returns the member's key.
    pub(super) fn key(self: &Arc<Self>) -> MemberKey {
        MemberKey::of(self)
    }

    /// `ring` is woken when the alarm rings, `rng` is that of EIDs and addresses.
    pub(super) fn new(parts: Parts, ring: Waker, sizes: LayerSizes, rng: Rng) -> Arc<Self> {
        let mut info = Info::new(Kind::Unicast, &parts.name, parts.layer.name.as_str());
        info.hash = parts.layer.hash;
        let mut config = parts.config;
        // It may be a user's own.
        config.routing = config.routing.map(|policy| Guarded::new(policy, &parts.panics) as _);
        Arc::new(Self {
            info,
            layer: parts.layer,
            unicast: parts.unicast,
            config,
            sizes,
            clock: parts.clock,
            panics: parts.panics,
            alarm: (parts.alarm)(ring),
            address: AtomicU64::new(parts.address.0),
            down: AtomicBool::new(false),
            rng: Ordered::new(Mutex::new(rng)),
            pool: parts.pool,
        })
    }

    /// Our address in the layer.
    pub(super) fn address(&self) -> Address {
        Address(self.address.load(Ordering::Acquire))
    }

    pub(super) fn set_address(&self, address: Address) {
        self.address.store(address.0, Ordering::Release);
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// `false` if the layer was being left already.
    pub(super) fn go_down(&self) -> bool {
        !self.down.swap(true, Ordering::AcqRel)
    }

    /// Returns `true` if another member of the layer can have this address.
    pub(super) fn is_peer_address(&self, address: Address) -> bool {
        let bits = 8 * self.sizes.addr() as u32;
        address.0 != 0 && address != self.address() && (bits >= 64 || address.0 >> bits == 0)
    }

    pub(super) fn unix_secs(&self) -> u64 {
        self.clock.unix_nanos() / 1_000_000_000
    }

    pub(super) fn random(&self) -> u64 {
        self.rng.lock().u64()
    }

    pub(super) fn split_rng(&self, purpose: &str) -> Rng {
        self.rng.lock().split(purpose)
    }

    /// An empty buffer with room for so many bytes.
    pub(super) fn buffer(&self, len: usize) -> PacketBuf {
        self.pool.take(len)
    }

    /// Takes buffers back that are done with.
    pub(super) fn recycle(&self, pkts: impl IntoIterator<Item = PacketBuf>) {
        self.pool.put_all(pkts);
    }
}
