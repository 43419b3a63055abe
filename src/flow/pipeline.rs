//! What happens to a packet between the application and the port: the only place that knows the order.

mod beginning;
mod ending;
mod quiet;
mod reading;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use crate::base::backlog::{Account, Backlog, Meter};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::counter::counts;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::crypto::CryptoError;
use crate::crypto::protect::Protection;
use crate::frct::{Frct, Memory, Transmit};
use crate::oap::Peering;
use crate::types::qos::QosSpec;
use crate::wire::frct::{Flags, Pci};

use self::beginning::Beginning;
pub use self::beginning::Opening;
use self::quiet::Patience;
pub use self::reading::ReadMode;
use super::notice::{self, Farewell};
use super::{BURST, Outgoing, WriteError};

/// Length of the CRC-32 trailer of flows with `ber` 0, bytes.
const CRC_LEN: usize = 4;

/// Everything that makes an endpoint out of an allocated flow.
pub struct Params {
    /// What was asked for; both ends derive the framing from it.
    pub qos: QosSpec,
    /// FRCT, when the flow is ordered. Present exactly if [`QosSpec::has_frct`].
    pub frct: Option<Box<Frct>>,
    /// Packet protection, when a key was agreed, and where its initialisation vectors come from.
    pub protection: Option<(Box<Protection>, Box<Rng>)>,
    /// What is known of the peer if it is one of our own kind.
    pub peering: Option<Peering>,
    /// Packets that wait for the application of a flow without FRCT; more are dropped and counted.
    pub rx_limit: usize,
    /// Memory that packets which wait for the application may hold, bytes. Without FRCT more are dropped and counted; with
    /// it the window is closed, and only what comes beyond a gap is dropped, to be sent again.
    pub rx_bytes: usize,
    /// What that memory is charged to besides.
    pub meter: Option<Arc<Meter>>,
    /// What holds until the peer is heard for the first time.
    pub opening: Opening,
}

counts! {
    /// What an endpoint has counted. Packets unless it says bytes.
    #[non_exhaustive]
    pub struct Counters {
        /// Packets written by the application.
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
        /// Packets dropped: nobody read and the queue was full.
        overflow => "overflow",
    }
}

/// The protocol machines of one end of a flow. Protected by the endpoint's lock.
pub(super) struct Pipeline {
    pub(super) qos: QosSpec,
    patience: Option<Patience>,
    pub(super) frct: Option<Box<Frct>>,
    protection: Option<(Box<Protection>, Box<Rng>)>,
    crc: bool,
    /// What is said of the end of a flow without FRCT between two ends of our own kind.
    farewell: Option<Box<Farewell>>,
    /// Whether both ends are o7s, and tell each other when they go.
    tells: bool,
    /// The application reads no more: what comes for it is dropped.
    deaf: bool,
    pub(super) cache: BufCache,
    /// Packets of a flow without FRCT that the application has not read yet.
    ready: Backlog,
    /// Packets and bytes that wait to be read: few bytes for them, as in all that an idle flow takes.
    rx_limit: u32,
    rx_bytes: u32,
    /// What waits for the application, here and in FRCT.
    account: Account,
    /// The rest of a packet that was read in part, and whether a read filled the buffer with its very end.
    partial: Option<PacketBuf>,
    at_end: bool,
    /// Scratch for packets that are being taken from the inbox; kept so that it need not be allocated anew.
    pub(super) work: VecDeque<PacketBuf>,
    last_sent: Instant,
    last_received: Instant,
    /// A keepalive is due, in answer to one.
    answer: bool,
    /// Until the peer is heard, and knows it.
    beginning: Option<Box<Beginning>>,
    /// Whether spare memory has been given back since the flow was last used.
    relaxed: bool,
    pub(super) counters: Counters,
}

impl Pipeline {
    pub(super) fn new(now: Instant, pool: &Arc<BufPool>) -> Self {
        Self {
            qos: QosSpec::RAW,
            patience: None,
            frct: None,
            protection: None,
            crc: false,
            farewell: None,
            tells: false,
            deaf: false,
            cache: BufCache::new(pool),
            ready: Backlog::default(),
            rx_limit: 0,
            rx_bytes: 0,
            account: Account::default(),
            partial: None,
            at_end: false,
            work: VecDeque::new(),
            last_sent: now,
            last_received: now,
            answer: false,
            beginning: None,
            relaxed: true,
            counters: Counters::default(),
        }
    }

    pub(super) fn configure(&mut self, now: Instant, params: Params) {
        self.crc = params.qos.has_crc();
        self.qos = params.qos;
        self.patience = Patience::new(&self.qos);
        self.frct = params.frct;
        self.protection = params.protection;
        self.tells = params.peering.is_some();
        self.farewell = params.peering.filter(|_| self.frct.is_none()).map(|peering| Box::new(Farewell::new(peering)));
        let capped = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).max(1);
        self.rx_limit = capped(params.rx_limit);
        self.rx_bytes = capped(params.rx_bytes);
        self.account = Account::new(params.meter);
        self.beginning = Beginning::new(now, params.opening).map(Box::new);
        if params.opening.allowance.is_some()
            && let Some(frct) = &mut self.frct
        {
            frct.hold(true);
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

    /// As [`set_timeout`](Self::set_timeout), with a say in how often keepalives are sent: the first one now.
    pub(super) fn set_patience(&mut self, now: Instant, silence: Duration, interval: Duration) {
        self.qos.timeout = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
        self.patience = Patience::every(silence, interval);
        self.last_received = now;
        self.last_sent = now - interval;
    }

    /// Bytes that framing adds to a packet of user data.
    pub(super) fn overhead(&self) -> usize {
        let frct = if self.frct.is_some() { Pci::LEN } else { 0 };
        let crc = if self.crc { CRC_LEN } else { 0 };
        frct + self.protection.as_ref().map_or(0, |(p, _)| p.overhead()) + crc
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.protection.is_some()
    }

    /// Whether the peer was ever heard, or need not be.
    pub(super) fn has_heard(&self) -> bool {
        self.beginning.as_ref().is_none_or(|b| b.has_heard())
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
            if !answer {
                self.beginning = None;
            }
        }
    }

    /// The application waits for the peer, who may be waiting for a sign of life, and gets one unless it got anything else.
    /// Whether that is so; [`pump`](Self::pump) has it then.
    pub(super) fn await_peer(&mut self) -> bool {
        let greets = self.counters.sent == 0 && self.beginning.as_mut().is_some_and(|b| b.greet_first());
        self.answer |= greets;
        greets
    }

    /// Whether a packet of `len` bytes may be sent to a peer that may not have asked for it. Once one may not, none may.
    fn spend(&mut self, len: usize) -> bool {
        self.beginning.as_mut().is_none_or(|b| b.spend(len))
    }

    // ----- down -----

    /// Takes one packet of user data. What comes of it is collected with [`pump`](Self::pump).
    pub(super) fn write(&mut self, now: Instant, data: &[u8], out: &mut Outgoing) -> Result<(), WriteError> {
        if data.is_empty() {
            self.keepalive(now, out);
            return Ok(());
        }
        if self.frct.as_ref().is_some_and(|f| !f.can_send()) {
            return Err(WriteError::WouldBlock);
        }
        if self.frct.is_none() && !self.spend(data.len() + self.overhead()) {
            return Err(WriteError::WouldBlock);
        }
        let mut pkt = self.cache.take(data.len());
        pkt.extend_from_slice(data).ok_or(WriteError::Crypt)?;
        if let Some(frct) = &mut self.frct {
            frct.push(now, pkt);
        } else {
            if !self.seal(&mut pkt) {
                self.cache.put(pkt);
                return Err(WriteError::Crypt);
            }
            self.counters.sent += 1;
            out.push(pkt);
        }
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += data.len() as u64;
        self.last_sent = now;
        self.relaxed = false;
        Ok(())
    }

    /// Takes packets whose memory the caller gives away, from the front of `pkts`, as far as FRCT has room for them;
    /// without FRCT all go to `out`, sealed.
    pub(super) fn write_packets(&mut self, now: Instant, pkts: &mut Outgoing, out: &mut Outgoing) {
        let (mut bytes, mut n) = (0, 0);
        if let Some(frct) = &mut self.frct {
            let mut refused = Outgoing::new();
            for pkt in pkts.drain(..) {
                let len = pkt.len();
                if !refused.is_empty() {
                    refused.push(pkt);
                    continue;
                }
                match frct.send(now, pkt) {
                    Ok(()) => (bytes, n) = (bytes + len, n + 1),
                    Err(pkt) => refused.push(pkt),
                }
            }
            *pkts = refused;
        } else {
            let refused = if self.has_heard() { None } else { Some(self.refused(pkts)) };
            bytes = pkts.iter().map(|p| p.len()).sum();
            n = pkts.len();
            if self.protection.is_none() && !self.crc {
                out.append(pkts);
            } else {
                for mut pkt in pkts.drain(..) {
                    if self.seal(&mut pkt) {
                        out.push(pkt);
                    } else {
                        self.cache.put(pkt);
                    }
                }
            }
            self.counters.sent += out.len() as u64;
            if let Some(refused) = refused {
                pkts.extend(refused);
            }
        }
        self.counters.tx_packets += n as u64;
        self.counters.tx_bytes += bytes as u64;
        self.last_sent = now;
        self.relaxed = false;
    }

    /// Takes out of `pkts` what may not be sent yet.
    fn refused(&mut self, pkts: &mut Outgoing) -> Outgoing {
        let overhead = self.overhead();
        let allowed = pkts.iter().take_while(|pkt| self.spend(pkt.len() + overhead)).count();
        pkts.drain(allowed..).collect()
    }

    /// Whether what still arrives may be an answer that this end waits for before it goes, or ask for one.
    pub(super) fn minds_arrivals(&self) -> bool {
        self.answer || self.frct.is_some() || self.farewell.as_ref().is_some_and(|f| !f.is_over())
    }

    /// Whether [`pump`](Self::pump) has something to do. That FRCT had nothing to send is noted when it gets something.
    pub(super) fn has_to_send(&self) -> bool {
        self.answer
            || self.frct.as_ref().is_some_and(|f| !f.is_at_rest())
            || self.farewell.as_ref().is_some_and(|f| !f.is_over())
    }

    /// Whether the peer is to be told at once of what the application has read.
    pub(super) fn owes_window(&self) -> bool {
        self.frct.as_ref().is_some_and(|f| f.owes_window())
    }

    /// Collects what FRCT has to send, sealed, until there is no more (`true`) or `out` is full (`false`).
    pub(super) fn pump(&mut self, now: Instant, out: &mut Outgoing) -> bool {
        if core::mem::take(&mut self.answer) {
            self.keepalive(now, out);
        }
        while let Some(said) = self.farewell.as_mut().and_then(|f| f.pick(now)) {
            let mut pkt = self.cache.take(notice::LEN);
            if self.spend(notice::LEN + self.overhead())
                && pkt.extend_from_slice(&said).is_some()
                && self.seal(&mut pkt)
            {
                self.counters.sent += 1;
                out.push(pkt);
            } else if let Some(farewell) = &mut self.farewell {
                farewell.note_unsent();
                self.cache.put(pkt);
            }
        }
        while out.len() < BURST {
            let Some(frct) = &mut self.frct else { return true };
            let pkt = match frct.poll_transmit(now) {
                None => return true,
                Some(Transmit::Owned { pkt }) => Some(pkt),
                Some(Transmit::Kept { pci, payload, .. } | Transmit::Control { pci, payload }) => {
                    let mut p = self.cache.take(pci.len() + payload.len());
                    p.extend_from_slice(&pci).and_then(|()| p.extend_from_slice(payload)).map(|()| p)
                }
            };
            let Some(mut pkt) = pkt else { continue };
            if self.spend(pkt.len() + self.overhead()) && self.seal(&mut pkt) {
                self.counters.sent += 1;
                self.last_sent = now;
                out.push(pkt);
            } else {
                self.cache.put(pkt);
            }
        }
        self.frct.is_none()
    }

    /// Encrypts, then adds the checksum.
    fn seal(&mut self, pkt: &mut PacketBuf) -> bool {
        if let Some((protection, rng)) = &mut self.protection
            && protection.seal(pkt, &mut **rng).is_err()
        {
            return false;
        }
        if self.crc {
            let crc = crc32fast::hash(pkt);
            return pkt.extend_from_slice(&crc.to_be_bytes()).is_some();
        }
        true
    }

    // ----- up -----

    /// Takes one packet from below through checksum, decryption and FRCT.
    pub(super) fn receive(&mut self, now: Instant, mut pkt: PacketBuf) {
        self.counters.received += 1;
        if pkt.is_empty() {
            if self.seals_keepalives() {
                self.counters.bad_crypt += 1;
            } else {
                self.hear_keepalive(now);
            }
            // Past the cache, where an idle flow would gather one with every keepalive.
            self.cache.pool().put(pkt);
            return;
        }
        self.relaxed = false;
        if !self.open(&mut pkt) {
            self.cache.put(pkt);
            return;
        }
        if pkt.is_empty() {
            self.hear_keepalive(now);
            self.cache.put(pkt);
            return;
        }
        self.hear(now);
        let memory = self.memory();
        if let Some(frct) = &mut self.frct {
            frct.set_memory(memory);
            frct.handle_packet(now, pkt, &mut self.cache);
            self.charge();
        } else if pkt.len() == notice::LEN && self.farewell.as_mut().is_some_and(|f| f.take(&pkt)) {
            self.cache.put(pkt);
        } else if self.deaf || self.ready.len() >= self.rx_limit as usize || memory >= Memory::Tight {
            self.counters.overflow += 1;
            self.cache.put(pkt);
        } else {
            self.ready.push_back(pkt);
            self.charge();
        }
    }

    /// Memory that what waits for the application holds, bytes.
    pub(super) fn held(&self) -> usize {
        self.ready.bytes() + self.frct.as_ref().map_or(0, |f| f.held())
    }

    /// How much may still wait for the application. Nothing if the peer has sent more than its window was told to be
    /// worth, or the stack has no memory left.
    fn memory(&self) -> Memory {
        let held = self.held();
        if held >= (self.rx_bytes as usize).saturating_mul(2) || self.account.is_full(held) {
            Memory::Full
        } else if held >= self.rx_bytes as usize {
            Memory::Tight
        } else {
            Memory::Free
        }
    }

    fn charge(&mut self) {
        let held = self.held();
        self.account.set(held);
    }

    /// Checks and removes the checksum, then decrypts. `false`: counted, to be dropped.
    fn open(&mut self, pkt: &mut PacketBuf) -> bool {
        if self.crc && !self.check_crc(pkt) {
            self.counters.bad_checksum += 1;
            return false;
        }
        let opened = self.protection.as_mut().map_or(Ok(()), |(protection, _)| protection.open(pkt));
        match opened {
            Ok(()) => true,
            Err(CryptoError::Replayed) => {
                self.counters.replayed += 1;
                false
            }
            Err(_) => {
                self.counters.bad_crypt += 1;
                false
            }
        }
    }

    fn check_crc(&self, pkt: &mut PacketBuf) -> bool {
        let ok =
            pkt.split_last_chunk::<CRC_LEN>().is_some_and(|(body, crc)| crc32fast::hash(body).to_be_bytes() == *crc);
        if ok {
            pkt.truncate(pkt.len() - CRC_LEN);
            return true;
        }
        // The reference sends FRCT's own packets without a checksum even where the flow has one.
        let control = Pci::LEN + self.protection.as_ref().map_or(0, |(p, _)| p.overhead());
        self.frct.is_some()
            && pkt.len() == control
            && (self.protection.is_some() || Pci::parse(pkt).is_ok_and(|pci| !pci.flags.contains(Flags::DATA)))
    }

    // ----- what is there -----

    /// Packets that can be taken from below without one being dropped for lack of room.
    pub(super) fn room(&self) -> usize {
        match &self.frct {
            // Its window keeps the peer from sending too much.
            Some(_) => usize::MAX,
            None if self.deaf => usize::MAX,
            None if self.ready.bytes() >= self.rx_bytes as usize => 0,
            None => (self.rx_limit as usize).saturating_sub(self.ready.len()),
        }
    }

    /// Whether a write would be taken, as far as FRCT is concerned.
    pub(super) fn is_writable(&self) -> bool {
        self.may_spend() && self.frct.as_ref().is_none_or(|f| f.can_send())
    }

    /// Whether an unheard peer may be sent anything. FRCT keeps what it takes until it may.
    fn may_spend(&self) -> bool {
        self.frct.is_some() || self.beginning.as_ref().is_none_or(|b| b.may_spend())
    }

    /// Whether a writer that waits is worth waking, which it is not for each single packet.
    pub(super) fn has_room(&self) -> bool {
        self.may_spend() && self.frct.as_ref().is_none_or(|f| f.has_room())
    }

    /// Packets written that the peer has not acknowledged (0 on flows without retransmission).
    pub(super) fn tx_queue_len(&self) -> usize {
        self.frct.as_ref().map_or(0, |f| f.unacked())
    }

    /// Whether the peer may be waiting for an acknowledgement.
    pub(super) fn has_received_reliably(&self) -> bool {
        let received = |f: &Frct| f.stats().received > 0 || f.peer_ending().is_some();
        self.qos.is_reliable() && self.frct.as_ref().is_some_and(|f| received(f))
    }
}
