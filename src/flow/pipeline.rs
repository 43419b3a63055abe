//! The steps of a packet between the application and the port: the only place that knows their order.

mod beginning;
mod ending;
mod moving;
mod quiet;
mod reading;
mod receiving;
mod tapped;
mod writing;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use crate::base::backlog::{Account, Backlog, Meter};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::counter::counts;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::crypto::protect::{Protection, Side};
use crate::frct::Frct;
use crate::oap::Peering;
use crate::types::qos::QosSpec;
use crate::wire::frct::Pci;

use self::beginning::Beginning;
pub use self::beginning::Opening;
use self::quiet::{Nudges, Patience};
pub use self::reading::ReadMode;
use self::tapped::Tapped;
use super::moves::Moves;
use super::notice::{self, Farewell};

/// Length of the CRC-32 trailer of flows with `ber` 0, bytes.
const CRC_LEN: usize = 4;

/// Everything that makes an endpoint out of an allocated flow.
pub struct Params {
    /// Requested quality of service; both ends derive the framing from it.
    pub qos: QosSpec,
    /// FRCT, when the flow is ordered. Present exactly if [`QosSpec::has_frct`].
    pub frct: Option<Box<Frct>>,
    /// Packet protection, when a key was agreed, and where its initialisation vectors come from.
    pub protection: Option<(Box<Protection>, Box<Rng>)>,
    /// Shared knowledge with the peer, if it is this library.
    pub peering: Option<Peering>,
    /// Packets that wait for the application of a flow without FRCT; more are dropped and counted.
    pub rx_limit: usize,
    /// Memory that packets which wait for the application may hold, bytes. Without FRCT more are dropped and counted; with
    /// it the window is closed, and only what comes beyond a gap is dropped, to be sent again.
    pub rx_bytes: usize,
    /// Meter that this memory is charged to besides.
    pub meter: Option<Arc<Meter>>,
    /// Restrictions until the peer is heard for the first time.
    pub opening: Opening,
}

counts! {
    /// Counters of an endpoint. Packets unless it says bytes.
    #[non_exhaustive]
    pub struct Counters {
        /// Packets written by the application, those that the layer below then refused included.
        tx_packets => "tx_packets",
        /// Bytes written by the application.
        tx_bytes => "tx_bytes",
        /// Packets read by the application.
        rx_packets => "rx_packets",
        /// Bytes read by the application.
        rx_bytes => "rx_bytes",
        /// Packets handed to the layer below, FRCT's own packets, retransmissions and keepalives included.
        sent => "sent",
        /// Packets handed up by the layer below.
        received => "received",
        /// Keepalives sent to the peer.
        keepalives_sent => "keepalives_sent",
        /// Keepalives received from the peer.
        keepalives_received => "keepalives_received",
        /// Packets dropped: the checksum was wrong or missing.
        bad_checksum => "bad_checksum",
        /// Packets dropped: not authentic.
        bad_crypt => "bad_crypt",
        /// Packets dropped: authentic, but received before. Only between o7s ends of an encrypted flow.
        replayed => "replayed",
        /// Packets dropped: the queue to the application was full.
        overflow => "overflow",
    }
}

/// The protocol machines of one end of a flow. Protected by the endpoint's lock.
pub(super) struct Pipeline {
    pub(super) qos: QosSpec,
    patience: Option<Patience>,
    pub(super) frct: Option<Box<Frct>>,
    /// With random bits for its initialisation vectors, where these are not numbers.
    protection: Option<(Box<Protection>, Option<Box<Rng>>)>,
    /// Somebody looks on.
    tap: Option<Box<Tapped>>,
    crc: bool,
    /// Notices about the end of a flow without FRCT, between two o7s ends.
    farewell: Option<Box<Farewell>>,
    /// Moves of the peer, between two o7s ends over a layer that notices them.
    moves: Option<Box<Moves>>,
    /// There is something to do about them.
    moving: bool,
    /// Keepalives that are due when nothing comes any more.
    nudges: Nudges,
    /// Both ends are o7s, and tell each other when they go.
    tells: bool,
    /// The application reads no more: what comes for it is dropped.
    deaf: bool,
    pub(super) cache: BufCache,
    /// Packets of a flow without FRCT that the application has not read yet.
    ready: Backlog,
    /// Packets and bytes that wait to be read: few bytes for them, as in all that an idle flow takes.
    rx_limit: u32,
    rx_bytes: u32,
    /// Memory of packets that wait for the application, here and in FRCT.
    account: Account,
    /// The rest of a packet that was read in part.
    partial: Option<PacketBuf>,
    /// Scratch for packets that are being taken from the inbox; kept so that it need not be allocated anew.
    pub(super) work: VecDeque<PacketBuf>,
    last_sent: Instant,
    last_received: Instant,
    /// When a packet came last that did not open.
    tried_at: Instant,
    /// A keepalive is due, in answer to one.
    answer: bool,
    /// A packet has come that only the peer can have made.
    proven: bool,
    /// Until the peer is heard, and knows it.
    beginning: Option<Box<Beginning>>,
    /// Spare memory has been given back since the flow was last used.
    relaxed: bool,
    pub(super) counters: Counters,
}

impl Pipeline {
    /// The longest packet that says no more than that this flow is over, bytes: a notice, or the one byte behind FRCT's header.
    pub(super) const LAST_WORD: usize =
        if notice::LEN > Pci::LEN + 1 { notice::LEN } else { Pci::LEN + 1 } + Protection::OVERHEAD + CRC_LEN;

    pub(super) fn new(now: Instant, pool: &Arc<BufPool>) -> Self {
        Self {
            qos: QosSpec::RAW,
            patience: None,
            frct: None,
            protection: None,
            tap: None,
            crc: false,
            farewell: None,
            moves: None,
            moving: false,
            nudges: Nudges::default(),
            tells: false,
            deaf: false,
            cache: BufCache::new(pool),
            ready: Backlog::default(),
            rx_limit: 0,
            rx_bytes: 0,
            account: Account::default(),
            partial: None,
            work: VecDeque::new(),
            last_sent: now,
            last_received: now,
            tried_at: Instant::ZERO,
            answer: false,
            proven: false,
            beginning: None,
            relaxed: true,
            counters: Counters::default(),
        }
    }

    /// `roams`: the peer may turn up at another address.
    pub(super) fn configure(&mut self, now: Instant, params: Params, roams: bool) {
        self.crc = params.qos.has_crc();
        self.qos = params.qos;
        self.patience = Patience::new(&self.qos);
        self.frct = params.frct;
        self.protection = params.protection.map(|(keys, ivs)| {
            let random = !keys.numbers_packets();
            (keys, Some(ivs).filter(|_| random))
        });
        self.tells = params.peering.is_some();
        // A NAT that forgets is in front of those who ask. Who only receives would not be heard of until its next keepalive.
        let may_vanish =
            params.peering.as_ref().is_some_and(|p| roams && p.side == Side::Client && params.qos.is_reliable());
        self.nudges.of = if may_vanish { quiet::NUDGES } else { 0 };
        self.moves = params.peering.clone().filter(|_| roams).map(|peering| Box::new(Moves::new(peering)));
        // With FRCT the end is told in its stream, behind the data.
        self.farewell = params.peering.filter(|_| self.frct.is_none()).map(|peering| Box::new(Farewell::new(peering)));
        let capped = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).max(1);
        self.rx_limit = capped(params.rx_limit);
        self.rx_bytes = capped(params.rx_bytes);
        self.account = Account::new(params.meter);
        self.beginning = Beginning::new(now, params.opening).map(Box::new);
        // FRCT repeats what is not acknowledged, to an address that may be a victim's. Until that has proven to be its
        // own, the peer is only asked for a sign of life.
        if params.opening.allowance.is_some()
            && let Some(frct) = &mut self.frct
        {
            frct.hold(true);
        }
        let below = self.overhead_without_frct();
        if let Some(frct) = &mut self.frct {
            frct.set_overhead(below);
        }
        self.last_sent = now;
        self.last_received = now;
    }

    /// Changes how long the peer may be silent; from `now` on.
    pub(super) fn set_timeout(&mut self, now: Instant, ms: u32) {
        self.qos.timeout = ms;
        self.patience = Patience::new(&self.qos);
        self.last_received = now;
    }

    /// As [`set_timeout`](Self::set_timeout), with the interval of keepalives: the first one is sent now.
    pub(super) fn set_patience(&mut self, now: Instant, silence: Duration, interval: Duration) {
        self.qos.timeout = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
        self.patience = Patience::every(silence, interval);
        self.last_received = now;
        self.last_sent = now - interval;
    }

    /// Bytes that framing adds to a packet of user data.
    pub(super) fn overhead(&self) -> usize {
        let frct = if self.frct.is_some() { Pci::LEN } else { 0 };
        frct + self.overhead_without_frct()
    }

    /// The same for what bypasses FRCT.
    fn overhead_without_frct(&self) -> usize {
        let crc = if self.crc { CRC_LEN } else { 0 };
        self.protection.as_ref().map_or(0, |(p, _)| p.overhead()) + crc
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.protection.is_some()
    }

    /// Returns `true` if a packet has come that nobody but who agreed on the flow's key can have made.
    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// A packet has opened. Where both directions have one key, it may be one of our own that comes back: unless there is none.
    #[cold]
    fn note_opened(&mut self) {
        let Some((protection, _)) = &self.protection else { return };
        let is_peers = protection.numbers_packets() || self.counters.sent == 0;
        self.proven = is_peers && protection.cipher().is_aead();
    }

    /// Returns `true` if the peer was ever heard, or need not be.
    pub(super) fn has_heard(&self) -> bool {
        self.beginning.as_ref().is_none_or(|b| b.has_heard())
    }

    /// Returns `true` once, when a peer has been heard whose address was unproven.
    #[inline]
    pub(super) fn poll_heard(&mut self) -> bool {
        self.beginning.as_mut().is_some_and(|b| b.poll_heard())
    }

    /// The peer was heard at `now`.
    fn hear(&mut self, now: Instant) {
        self.last_received = now;
        if let Some(beginning) = &mut self.beginning
            && beginning.hear()
            && let Some(frct) = &mut self.frct
        {
            frct.hold(false);
        }
    }

    /// The peer was alive then, whatever it is that we cannot look at yet.
    pub(super) fn note_heard(&mut self, then: Instant) {
        self.last_received = self.last_received.max(then);
    }

    /// The peer has sent a keepalive, which may be a greeting, or the answer to one.
    fn hear_keepalive(&mut self, now: Instant) {
        self.counters.keepalives_received += 1;
        self.hear(now);
        if let Some(beginning) = &mut self.beginning {
            let answer = beginning.hear_keepalive(now);
            self.answer |= answer;
            // It answers a greeting of ours, or comes too late to be one: the beginning is over.
            if !answer {
                self.beginning = None;
            }
        }
    }

    /// The application waits for the peer, who may be waiting for a sign of life, and gets one unless it got anything else.
    /// Whether that is so; [`pump`](Self::pump) has it then.
    pub(super) fn await_peer(&mut self) -> bool {
        // Whatever was sent before is as good as a greeting.
        let greets = self.counters.sent == 0 && self.beginning.as_mut().is_some_and(|b| b.greet_first());
        self.answer |= greets;
        greets
    }

    /// Returns `true` if a packet of `len` bytes may be sent to a peer whose address is unproven, and charges it. After
    /// the first refusal all are refused.
    fn spend(&mut self, len: usize) -> bool {
        self.beginning.as_mut().is_none_or(|b| b.spend(len))
    }

    // ----- what is there -----

    /// Packets that can be taken from below without one being dropped for lack of room.
    pub(super) fn room(&self) -> usize {
        match &self.frct {
            // Its window keeps the peer from sending too much.
            Some(_) => usize::MAX,
            None if self.deaf => usize::MAX,
            // Without FRCT nothing slows the peer down, so memory counts besides packets: a few large ones may hold as
            // much.
            None => {
                let (packets, bytes) = self.rx_bounds(Farewell::awaits_answer);
                if self.ready.bytes() >= bytes { 0 } else { packets.saturating_sub(self.ready.len()) }
            }
        }
    }

    /// Packets, and memory of packets, that may wait to be read, bytes. Twice as much if the flow has no FRCT and this end,
    /// which writes no more, `waits` for the other to know: the answer lies behind what the program has not read, and it may
    /// be the program that waits.
    fn rx_bounds(&self, waits: impl FnOnce(&Farewell) -> bool) -> (usize, usize) {
        let times = if self.farewell.as_deref().is_some_and(waits) { 2 } else { 1 };
        ((self.rx_limit as usize).saturating_mul(times), (self.rx_bytes as usize).saturating_mul(times))
    }

    /// Returns `true` if a write would be taken, as far as FRCT is concerned.
    pub(super) fn is_writable(&self) -> bool {
        self.may_spend() && self.frct.as_ref().is_none_or(|f| f.can_send())
    }

    /// Returns `true` if an unheard peer may be sent anything. FRCT keeps what it takes until it may.
    fn may_spend(&self) -> bool {
        self.frct.is_some() || self.beginning.as_ref().is_none_or(|b| b.may_spend())
    }

    /// Returns `true` if a waiting writer is worth waking, which it is not for each single packet.
    pub(super) fn has_room(&self) -> bool {
        self.may_spend() && self.frct.as_ref().is_none_or(|f| f.has_room())
    }

    /// Packets written that the peer has not acknowledged (0 on flows without retransmission).
    pub(super) fn tx_queue_len(&self) -> usize {
        self.frct.as_ref().map_or(0, |f| f.unacked())
    }

    /// Returns `true` if the peer may be waiting for an acknowledgement.
    pub(super) fn has_received_reliably(&self) -> bool {
        let received = |f: &Frct| f.stats().received > 0 || f.peer_ending().is_some();
        self.qos.is_reliable() && self.frct.as_ref().is_some_and(|f| received(f))
    }
}
