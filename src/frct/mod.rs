//! FRCT, the flow and retransmission control protocol, as a machine without I/O.
//!
//! FRCT runs between the two ends of a flow, above encryption and checksum, invisible to the layers that carry the
//! flow. It numbers packets (not bytes: one write is one packet is one read), keeps them in order and, on reliable
//! flows, acknowledges and retransmits them. There is no handshake: each direction is a *run* of numbers that starts
//! with a random one and is forgotten after a pause (Delta-t). Header and packet shapes are on
//! [the wire page](crate::wire::frct).
//!
//! A [`Frct`] is one end. Packets, user data, the time go in; packets to send, user data, a deadline come out:
//!
//! ```
//! use o7s::base::buf::{BufCache, BufPool, PacketBuf};
//! use o7s::base::time::Instant;
//! use o7s::frct::{Config, Frct, Transmit};
//!
//! let mut cache = BufCache::new(&BufPool::new(64));
//! let now = Instant::ZERO;
//! let mut a = Frct::new(Config::default(), 4_000_000_000, now);
//! let mut b = Frct::new(Config::default(), 17, now);
//!
//! a.send(now, PacketBuf::copy_of(b"hello")).unwrap();
//! while let Some(transmit) = a.poll_transmit(now) {
//!     // Here encryption, checksum and the layer below would come in.
//!     let mut packet = PacketBuf::copy_of(transmit.header());
//!     packet.extend_from_slice(transmit.payload()).unwrap();
//!     b.handle_packet(now, packet, &mut cache);
//! }
//! assert_eq!(&b.deliver(now).unwrap()[..], b"hello");
//! ```
//!
//! # The rules
//!
//! *Start.* The initial number is chosen with the flow and counted on from there for ever. Before the first data, and
//! before the first after a pause longer than R, goes a rendez-vous with the data-run flag and the number: it starts
//! the run at the peer, which answers with its window. Every control packet carries the flag and the number of the
//! oldest unacknowledged packet, so that a peer whose receiver has no run starts the right one. Data carries the flag
//! exactly when nothing was outstanding at its first transmission.
//!
//! *Receiving.* A run starts from data or control packets with the data-run flag, and only if there is none or the
//! last one has been silent for 2 MPL + A + R. Control packets without the flag never touch the receiver.
//! Acknowledgements and windows are sent on receipt: at once after [`Config::ack_every`] packets, a duplicate, or
//! anything that opens or closes a gap, otherwise within [`Config::ack_delay`], and with data that goes the other way
//! if there is any. They cease A after the last data. The window moves when the application reads.
//!
//! *Windows.* A sender starts with 64 packets. It believes acknowledgements of what it has sent, and windows that
//! move ahead. While the window is closed it sends a rendez-vous after 100 ms, then ever more seldom up to one in 6.4 s,
//! for as long as the flow lives. On
//! best-effort flows, where nothing else brings a window, it asks before the window closes, and the receiver tells
//! unasked. What a peer other than o7s is told unasked is repeated when it stays silent: a waiting writer of the
//! reference never asks.
//!
//! *Loss.* A packet is retransmitted when packets sent later have arrived (three of them, or a quarter of the round
//! trip has passed), found from selective acknowledgements. On a path that reorders, time alone decides, and more of
//! it. Where the peer does not say what it holds, repeated acknowledgements and the retransmission timer do it. The
//! timer is `srtt + 4 mdev` plus what a peer may delay its acknowledgement, not
//! below [`Config::rto_min`]; it doubles up to [`Config::rto_max`], six times at most, and stays doubled until a round
//! trip has been measured. Whenever it expires the oldest
//! packet is sent, or at first the last one; towards a peer that says what it holds, nothing is declared lost. A flow of which
//! nothing has been acknowledged for R, counted from the first transmission of the oldest packet or from the last
//! progress, is down.
//!
//! *Congestion.* A [`Controller`](congestion::Controller) says how many bytes may be in flight and at what rate they
//! leave. Packets that are due within a millisecond go together. The first ten packets wait for nothing; the peer's
//! window bounds all of it, from the 64 packets that may be sent blindly on.
//!
//! *A better peer.* Whether the peer is o7s is known from the exchange before ([`Config::o7s_peer`]): towards it the
//! receive window is [`Config::window`] instead of [`Config::legacy_window`], acknowledgements carry what lies beyond a
//! gap, a run never begins behind the one before, and an end is told ([`Frct::finish`], [`Frct::close`],
//! [`Frct::abort`]).
//!
//! *Best effort.* Numbers only drop what comes late; a gap is skipped. Nothing is acknowledged or kept.

use alloc::vec::Vec;
use core::time::Duration;

use crate::base::buf::{BufCache, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::wire::frct::{Flags, Pci, Sack};

pub mod congestion;
mod end;
mod filter;
mod pacing;
mod ranges;
mod recovery;
mod rtt;
mod rx;
#[cfg(test)]
mod tests;
mod tx;

pub use end::Ending;
pub(crate) use end::{KNOWN, Notice};

use congestion::Algorithm;
use rx::Receiver;
use tx::{Pick, Sender, State};

/// What a flow's FRCT is to be like. Both ends choose for themselves, except [`reliable`](Self::reliable), which
/// follows from the QoS of the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Acknowledge and retransmit. Default: `true`.
    pub reliable: bool,
    /// The peer is one of our own kind, and understands what a reference would not. Default: `false`.
    pub o7s_peer: bool,
    /// Maximum packet lifetime in the layer that carries the flow. Default: 5 s, that of the UDP layer.
    pub mpl: Duration,
    /// A of Delta-t: how long after data its acknowledgement may be sent. Default: 10 s, as the reference.
    pub a: Duration,
    /// R of Delta-t: how long a flow retransmits without any progress before it is down. Default: 120 s, as the
    /// reference.
    pub r: Duration,
    /// Receive window towards a peer known to be o7s, packets. At most 32768 count. Default: 4096.
    pub window: u32,
    /// Receive window towards any other peer, packets. Default: 256, as the reference.
    pub legacy_window: u32,
    /// Packets kept for the sending direction, unacknowledged and unsent together. Default: 4096.
    pub send_queue: u32,
    /// Memory that they may hold, bytes; a single packet is always taken. Default: 8 MiB.
    pub send_bytes: usize,
    /// Packets of these that may wait for their first transmission: a longer queue only adds delay. Default: 256.
    pub unsent: u32,
    /// Avoid congestion: for layers that do not (UDP, Ethernet). Default: `true`.
    pub congestion: bool,
    /// How. Default: [`Algorithm::Cubic`].
    pub algorithm: Algorithm,
    /// How long an acknowledgement waits for data to go with. Default: 4 ms; the reference resends after 5 ms at the
    /// earliest.
    pub ack_delay: Duration,
    /// Packets after which an acknowledgement does not wait. Default: 8.
    pub ack_every: u32,
    /// Retransmission timeout before the first measurement. Default: 1 s, as the reference.
    pub rto_initial: Duration,
    /// Least retransmission timeout. Default: 25 ms, above the 16 ms that a reference delays its acknowledgements.
    pub rto_min: Duration,
    /// What backing off raises the retransmission timeout to, at most. Default: 60 s (RFC 6298). It doubles six times
    /// at most, too, so that a healed partition is noticed soon; the patience of the flow is [`r`](Self::r) regardless.
    pub rto_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            reliable: true,
            o7s_peer: false,
            mpl: Duration::from_secs(5),
            a: Duration::from_secs(10),
            r: Duration::from_secs(120),
            window: 4096,
            legacy_window: 256,
            send_queue: 4096,
            send_bytes: 8 << 20,
            unsent: 256,
            congestion: true,
            algorithm: Algorithm::default(),
            ack_delay: Duration::from_millis(4),
            ack_every: 8,
            rto_initial: Duration::from_secs(1),
            rto_min: Duration::from_millis(25),
            rto_max: Duration::from_secs(60),
        }
    }
}

/// [`Config`] in the units of the machine: nanoseconds.
struct Params {
    reliable: bool,
    o7s_peer: bool,
    congestion: bool,
    algorithm: Algorithm,
    a: u64,
    r: u64,
    receiver_inactive: u64,
    window: u32,
    legacy_window: u32,
    send_queue: u32,
    send_bytes: usize,
    unsent: u32,
    ack_every: u32,
    ack_delay: u64,
    rto_initial: u64,
    rto_min: u64,
    rto_max: u64,
}

impl Params {
    fn new(c: &Config) -> Self {
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let legacy_window = c.legacy_window.clamp(1, 1 << 15);
        Self {
            reliable: c.reliable,
            o7s_peer: c.o7s_peer,
            congestion: c.congestion,
            algorithm: c.algorithm.clone(),
            a: ns(c.a),
            r: ns(c.r),
            receiver_inactive: ns(c.mpl.saturating_mul(2).saturating_add(c.a).saturating_add(c.r)),
            window: c.window.clamp(legacy_window, 1 << 15),
            legacy_window,
            send_queue: c.send_queue.clamp(1, 1 << 20),
            send_bytes: c.send_bytes.max(1),
            unsent: c.unsent.max(1),
            ack_every: c.ack_every.clamp(1, (legacy_window / 4).max(1)),
            ack_delay: ns(c.ack_delay),
            rto_initial: ns(c.rto_initial).max(1),
            rto_min: ns(c.rto_min).max(1),
            rto_max: ns(c.rto_max).max(1),
        }
    }
}

/// What a machine has counted since the flow began. Packets, unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// User packets sent, each counted once.
    pub sent: u64,
    /// Retransmissions sent.
    pub retransmitted: u64,
    /// Control packets sent: acknowledgements, windows, rendez-vous.
    pub control_sent: u64,
    /// User packets received and put in order.
    pub received: u64,
    /// Control packets received.
    pub control_received: u64,
    /// User packets that had arrived before.
    pub duplicates: u64,
    /// User packets that arrived beyond a gap and were held.
    pub out_of_order: u64,
    /// Best effort: user packets dropped because a later one had arrived.
    pub late: u64,
    /// Best effort: numbers that were skipped because a later one arrived.
    pub skipped: u64,
    /// User packets beyond the receive window, dropped.
    pub out_of_window: u64,
    /// User packets without a run to belong to, dropped.
    pub no_run: u64,
    /// Packets that are no FRCT packets: short, empty, fragments, control packets with a strange payload; dropped.
    pub malformed: u64,
    /// User packets with numbers far from the peer's run, or with our own: a reference's stale buffers; dropped.
    pub stray: u64,
    /// Acknowledgements of what was never sent, windows out of reach: ignored.
    pub implausible: u64,
    /// Episodes of loss seen by the sender.
    pub loss_episodes: u64,
    /// Times the retransmission timer expired.
    pub timeouts: u64,
    /// Packets that were declared lost and had not been.
    pub spurious: u64,
}

/// A packet to be sent, below which encryption and checksum follow.
#[derive(Debug)]
pub enum Transmit<'a> {
    /// User data of which nothing is kept: header and payload in one buffer.
    Owned {
        /// The packet, header first.
        pkt: PacketBuf,
    },
    /// User data that is kept for retransmission: to be copied.
    Kept {
        /// The header.
        pci: [u8; Pci::LEN],
        /// The user's bytes.
        payload: &'a [u8],
        /// Not for the first time.
        retransmission: bool,
    },
    /// A control packet.
    Control {
        /// The header.
        pci: [u8; Pci::LEN],
        /// Nothing, or a selective acknowledgement.
        payload: &'a [u8],
    },
}

impl Transmit<'_> {
    /// The header of the packet.
    pub fn header(&self) -> &[u8] {
        match self {
            Self::Owned { pkt } => pkt.get(..Pci::LEN).unwrap_or_default(),
            Self::Kept { pci, .. } | Self::Control { pci, .. } => pci,
        }
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Owned { pkt } => pkt.get(Pci::LEN..).unwrap_or_default(),
            Self::Kept { payload, .. } | Self::Control { payload, .. } => payload,
        }
    }
}

/// One end of a flow with FRCT.
///
/// After every call that takes `&mut self`, [`poll_transmit`](Self::poll_transmit) must be called until it returns
/// `None`, and the timer set to [`next_timeout`](Self::next_timeout).
pub struct Frct {
    params: Params,
    tx: Sender,
    rx: Receiver,
    stats: Stats,
    /// What this end has said, or is saying, about its end.
    ending: Option<Ending>,
    notice: Notice,
    /// What the peer has said outside of its stream.
    noticed: Option<Ending>,
    down: bool,
    /// Packets given up when the flow went down.
    abandoned: usize,
}

impl Frct {
    /// An end that numbers its packets from `isn`, which should be random.
    pub fn new(cfg: Config, isn: u32, _now: Instant) -> Self {
        let params = Params::new(&cfg);
        Self {
            tx: Sender::new(&params, Seq(isn)),
            rx: Receiver::new(&params),
            params,
            stats: Stats::default(),
            ending: None,
            notice: Notice::new(),
            noticed: None,
            down: false,
            abandoned: 0,
        }
    }

    /// Whether [`send`](Self::send) would take a packet now.
    pub fn can_send(&self) -> bool {
        self.takes_data() && self.tx.can_queue(&self.params)
    }

    /// Whether a writer that waits is worth waking: there is room for a good many packets, not just for one.
    pub fn has_room(&self) -> bool {
        self.takes_data() && self.tx.has_room(&self.params)
    }

    fn takes_data(&self) -> bool {
        self.ending.is_none() && !self.down && !self.peer_closed()
    }

    /// Takes one user packet, not empty: an empty one is a keepalive and bypasses FRCT.
    ///
    /// Gives the packet back when [`can_send`](Self::can_send) is false or the packet is empty. If it is the peer's
    /// window that is closed, rendez-vous are under way.
    pub fn send(&mut self, now: Instant, payload: PacketBuf) -> Result<(), PacketBuf> {
        if payload.is_empty() || !self.can_send() {
            return Err(payload);
        }
        self.tx.push(now, &self.params, payload);
        Ok(())
    }

    /// Takes a packet from the peer: header and data, decrypted. Bad ones are counted and dropped.
    pub fn handle_packet(&mut self, now: Instant, mut pkt: PacketBuf, cache: &mut BufCache) {
        let Some(pci) = Pci::parse(&pkt).ok().filter(|pci| !self.down && self.is_wellformed(pci, &pkt)) else {
            self.stats.malformed += u64::from(!self.down);
            cache.put(pkt);
            return;
        };
        if pci.flags.contains(Flags::END) && !pci.is_data() {
            self.handle_notice(now, &pci, &pkt, cache);
            cache.put(pkt);
            return;
        }
        if self.ending == Some(Ending::Aborted) {
            cache.put(pkt);
            return;
        }
        if pci.is_data() && self.is_stray(now, &pci) {
            self.stats.stray += 1;
            cache.put(pkt);
            return;
        }
        let started = self.handle_run(now, &pci, cache);
        // A reference that was led astray acknowledges number 0 with window 0.
        let sane = !pci.flags.contains(Flags::ACK) || !self.params.reliable || self.handle_ack(now, &pci, &pkt, cache);
        if pci.flags.contains(Flags::FC) && sane {
            // A reference acknowledges on its own account; one of us puts both into the answer.
            let answer = !pci.is_data() && (!pci.flags.contains(Flags::ACK) || pci.flags.contains(Flags::DRF));
            self.stats.implausible += u64::from(!self.tx.on_window(now, pci.window, answer));
        }
        if !pci.is_data() {
            self.stats.control_received += 1;
            self.rx.due |= pci.flags.contains(Flags::RDVS) && started;
            cache.put(pkt);
        } else if started {
            pkt.pull(Pci::LEN);
            let (p, stats) = (&self.params, &mut self.stats);
            if p.reliable {
                self.rx.on_reliable(now, p, &pci, pkt, stats, cache);
                if self.rx.ended.is_some() {
                    self.heed_close(cache);
                }
            } else {
                self.rx.on_best_effort(now, p, pci.seqno, pkt, stats, cache);
            }
        } else {
            self.stats.no_run += 1;
            cache.put(pkt);
        }
    }

    /// Whether a packet has a shape that some peer sends on purpose.
    ///
    /// A reference retransmits from a buffer that it may have given back: then the packet is another one's bytes, even
    /// one of ours, behind a new acknowledgement. A control packet with a payload is such a one, unless the payload
    /// is a selective acknowledgement, which nobody sends to a reference.
    fn is_wellformed(&self, pci: &Pci, pkt: &[u8]) -> bool {
        let body = pkt.get(Pci::LEN..).unwrap_or_default();
        if pci.flags.bits() & (Flags::FFGM | Flags::MFGM).bits() != 0 {
            return false;
        }
        if pci.flags.contains(Flags::END) {
            // A reference says nothing of the kind, and no stream of a best-effort flow has an end.
            return self.params.o7s_peer && body.len() == 1 && (self.params.reliable || !pci.is_data());
        }
        if pci.is_data() {
            return !body.is_empty();
        }
        body.is_empty() || (pci.flags.contains(Flags::ACK | Flags::DRF) && Sack::parse(pci.ackno, body).is_ok())
    }

    /// Whether data has a number that the peer cannot have given it: far from the run, or one of our own, which a
    /// reference sent back as its retransmission. Nothing in such a packet is true.
    fn is_stray(&self, now: Instant, pci: &Pci) -> bool {
        if self.rx.active(now, &self.params) {
            return self.rx.is_far(pci.seqno);
        }
        !self.tx.peer_is_o7s && self.tx.was_sent_lately(pci.seqno, self.stats.sent)
    }

    /// Takes what the peer says about its end outside of its stream.
    fn handle_notice(&mut self, now: Instant, pci: &Pci, pkt: &[u8], cache: &mut BufCache) {
        if self.rx.active(now, &self.params) && self.rx.is_far(pci.seqno) {
            self.stats.stray += 1;
            return;
        }
        self.stats.control_received += 1;
        match pkt.get(Pci::LEN).copied() {
            Some(KNOWN) => self.notice.heard(),
            Some(byte) => {
                self.noticed = self.noticed.max(Ending::from_byte(byte));
                self.notice.answer();
                self.heed_close(cache);
            }
            None => {}
        }
    }

    /// What was written to a peer that reads no more is lost.
    fn heed_close(&mut self, cache: &mut BufCache) {
        if self.peer_closed() {
            self.abandoned += self.tx.abandon(cache);
            if self.noticed == Some(Ending::Aborted) {
                // It hears nothing any more either, so there is nothing to say.
                self.notice.heard();
            }
        }
    }

    /// What a packet says about the peer and its run. Whether there is a run now.
    fn handle_run(&mut self, now: Instant, pci: &Pci, cache: &mut BufCache) -> bool {
        let drf = pci.flags.contains(Flags::DRF);
        let p = &self.params;
        // One of our own kind counts on for ever, so its run is never forgotten, and what begins behind it was recorded.
        let goes_on = p.o7s_peer && self.rx.has_run() && (p.reliable || self.rx.is_behind(pci.seqno));
        let active = goes_on || self.rx.active(now, p);
        if drf && !active {
            self.rx.start_run(now, &self.params, pci.seqno, cache);
        } else if drf && !pci.is_data() {
            self.rx.sender_is_at(now, pci.seqno);
        }
        active || drf
    }

    /// Takes an acknowledgement; whether it is one of what was sent.
    fn handle_ack(&mut self, now: Instant, pci: &Pci, pkt: &[u8], cache: &mut BufCache) -> bool {
        let body = if pci.is_data() { &[] } else { pkt.get(Pci::LEN..).unwrap_or_default() };
        let sack = if body.is_empty() { None } else { Sack::parse(pci.ackno, body).ok() };
        let repeated = pci.ackno == self.tx.edge && !pci.is_data() && !self.tx.peer_is_o7s;
        let stats = &mut self.stats;
        if !self.tx.on_ack(now, &self.params, pci.ackno, sack.as_ref(), stats, cache) {
            stats.implausible += 1;
            return false;
        }
        if repeated && self.tx.outstanding() > 0 {
            self.tx.on_repeated_ack(now, stats);
        }
        true
    }

    /// Acts on the passing of time. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Instant, cache: &mut BufCache) {
        if self.down {
            return;
        }
        self.rx.check(now);
        self.tx.check_rendezvous(now);
        self.tx.pacer.check(now);
        if !self.tx.check_losses(now, &self.params, &mut self.stats) {
            self.down = true;
            self.abandoned = self.tx.unacked();
            for segment in self.tx.queue.drain(..) {
                if let Some(packet) = segment.packet {
                    cache.put(packet);
                }
            }
        }
    }

    /// The next packet to send, if there is one.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<'_>> {
        if self.down {
            return None;
        }
        if self.notice.pick(now, self.tx.rtt.smoothed()) {
            return Some(self.notice_packet(now));
        }
        if self.ending == Some(Ending::Aborted) {
            return None;
        }
        match self.tx.pick(now, &self.params) {
            Pick::Rendezvous => {
                self.stats.control_sent += 1;
                let pci = Pci { flags: Flags::RDVS | Flags::DRF, seqno: self.tx.edge, ..Pci::default() };
                Some(Transmit::Control { pci: pci.to_bytes(), payload: &[] })
            }
            Pick::Again(seq) => {
                self.stats.retransmitted += 1;
                self.kept(now, seq, true)
            }
            Pick::New if self.params.reliable => {
                let seq = self.tx.next;
                self.stats.sent += u64::from(self.tx.segment(seq).is_some_and(|s| !s.state.has(State::END)));
                self.tx.next = seq + 1;
                self.kept(now, seq, false)
            }
            Pick::New => {
                let (mut pkt, seq) = self.tx.take_unreliable()?;
                let pci = self.header(now, Flags::DATA | Flags::DRF, seq).to_bytes();
                self.stats.sent += 1;
                match pkt.push(Pci::LEN) {
                    Some(head) => head.copy_from_slice(&pci),
                    None => pkt = without_headroom(&pci, &pkt),
                }
                Some(Transmit::Owned { pkt })
            }
            Pick::Nothing => self.control(now),
        }
    }

    /// What this end says outside of its stream.
    fn notice_packet(&mut self, now: Instant) -> Transmit<'_> {
        let seqno = self.tx.next;
        let pci = self.header(now, Flags::END | Flags::DRF, seqno);
        self.stats.control_sent += 1;
        Transmit::Control { pci: pci.to_bytes(), payload: &self.notice.byte }
    }

    /// A packet that stays in the queue.
    fn kept(&mut self, now: Instant, seq: Seq, retransmission: bool) -> Option<Transmit<'_>> {
        let state = self.tx.segment(seq)?.state;
        let mut flags = if state.has(State::DRF) { Flags::DATA | Flags::DRF } else { Flags::DATA };
        if state.has(State::END) {
            flags |= Flags::END;
        }
        let pci = self.header(now, flags, seq).to_bytes();
        let payload = self.tx.segment(seq)?.packet.as_deref().unwrap_or_default();
        Some(Transmit::Kept { pci, payload, retransmission })
    }

    /// A header, with acknowledgement and window if the peer has a run that they may speak of.
    fn header(&mut self, now: Instant, mut flags: Flags, seqno: Seq) -> Pci {
        let p = &self.params;
        let mut pci = Pci { flags, window: 0, seqno, ackno: Seq(0) };
        if !self.rx.active(now, p) {
            return pci;
        }
        flags |= Flags::FC;
        pci.window = self.rx.tell(p);
        if p.reliable && self.rx.may_ack(now, p) {
            flags |= Flags::ACK;
            pci.ackno = self.rx.next;
        }
        // What lies beyond a gap fits into control packets only.
        pci.flags = flags;
        if self.rx.held.is_empty() || !pci.is_data() {
            self.rx.acked();
        }
        pci
    }

    /// The control packet that is due, if any.
    fn control(&mut self, now: Instant) -> Option<Transmit<'_>> {
        if !self.rx.due {
            return None;
        }
        let pci = self.header(now, Flags::DRF, self.tx.edge);
        self.rx.acked();
        if !pci.flags.contains(Flags::FC) {
            return None;
        }
        self.rx.sack.clear();
        if self.tx.peer_is_o7s && pci.flags.contains(Flags::ACK) && !self.rx.held.is_empty() {
            self.rx.report();
        } else {
            self.rx.forget_report();
        }
        self.stats.control_sent += 1;
        Some(Transmit::Control { pci: pci.to_bytes(), payload: &self.rx.sack })
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. It may come later than asked for the last
    /// time, if meanwhile something has arrived.
    pub fn next_timeout(&self) -> Option<Instant> {
        let at = self.tx.next_timeout().min(self.rx.next_timeout()).min(self.notice.next_timeout());
        (at != Instant::FAR_FUTURE && !self.down).then_some(at)
    }

    /// Keeps user data back, or lets it go: while it is not known whether the peer's address is its own, the peer is only
    /// asked for a sign of life.
    pub fn hold(&mut self, held: bool) {
        self.tx.held = held;
    }

    /// Memory that packets which have arrived hold, bytes.
    pub fn held(&self) -> usize {
        self.rx.held_bytes()
    }

    /// Whether memory for what arrives is short: then the window is closed and nothing is taken beyond a gap. And whether
    /// there is none: then nothing is taken while something waits to be read, whatever the window was.
    pub fn set_tight(&mut self, tight: bool, full: bool) {
        self.rx.tight = tight || full;
        self.rx.full = full;
    }

    /// Whether [`deliver`](Self::deliver) has a packet.
    pub fn can_deliver(&self) -> bool {
        self.rx.can_deliver()
    }

    /// The next packet for the application, which thereby has read it: the window moves.
    pub fn deliver(&mut self, now: Instant) -> Option<PacketBuf> {
        self.rx.deliver(now, &self.params)
    }

    /// The application will write no more. What it wrote is still sent and retransmitted until
    /// [`is_drained`](Self::is_drained); an acknowledgement that is being delayed goes out at once. A peer of our own
    /// kind is told where the stream ends.
    pub fn finish(&mut self, now: Instant) {
        self.say(now, Ending::Writing);
    }

    /// As [`finish`](Self::finish), and the application will read no more either.
    pub fn close(&mut self, now: Instant) {
        self.say(now, Ending::Closed);
    }

    /// The application gives the flow up: what was not acknowledged is lost, and a peer of our own kind is told, by
    /// notices that are repeated until [`is_drained`](Self::is_drained).
    pub fn abort(&mut self, now: Instant, cache: &mut BufCache) {
        self.say(now, Ending::Aborted);
        self.abandoned += self.tx.abandon(cache);
    }

    fn say(&mut self, now: Instant, ending: Ending) {
        if self.down || self.ending >= Some(ending) {
            return;
        }
        self.ending = Some(ending);
        self.rx.flush();
        if !self.params.o7s_peer || self.peer_closed() {
            return;
        }
        if self.params.reliable && ending != Ending::Aborted {
            self.tx.push_end(now, &self.params, ending);
        } else {
            self.notice.say(now, ending);
        }
    }

    /// Whether nothing is left to do for what was written, and for the end of it: all has been sent and, on a reliable
    /// flow, acknowledged, or given up, and [`unacked`](Self::unacked) says how much.
    pub fn is_drained(&self) -> bool {
        self.tx.queue.is_empty() && self.notice.is_over()
    }

    /// Whether the peer's stream is over: it writes no more, and all that came has been delivered.
    pub fn at_end(&self) -> bool {
        self.peer_ending().is_some() && !self.rx.can_deliver()
    }

    /// What the peer, one of our own kind, has said about its end; on a reliable flow in its turn behind the data.
    pub fn peer_ending(&self) -> Option<Ending> {
        self.rx.ended.max(self.noticed)
    }

    /// Whether the peer reads no more: nothing is taken for it.
    pub fn peer_closed(&self) -> bool {
        self.peer_ending() >= Some(Ending::Closed)
    }

    /// Packets written and not known to have arrived (reliable) or not sent (best effort); also after the flow went
    /// down.
    pub fn unacked(&self) -> usize {
        self.tx.unacked() + self.abandoned
    }

    /// Whether a packet could not be brought to the peer within R: nothing is sent or taken any more. What has
    /// arrived can still be delivered.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Gives back memory that queues have grown to; for a flow that is idle.
    pub fn shrink(&mut self) {
        self.tx.shrink();
        self.rx.shrink();
    }
}

impl core::fmt::Debug for Frct {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Frct")
            .field("edge", &self.tx.edge)
            .field("next", &self.tx.next)
            .field("limit", &self.tx.limit)
            .field("expected", &self.rx.next)
            .field("down", &self.down)
            .finish_non_exhaustive()
    }
}

/// A packet in a buffer that came without room for the header.
fn without_headroom(pci: &[u8], payload: &[u8]) -> PacketBuf {
    let mut whole = Vec::with_capacity(pci.len() + payload.len());
    whole.extend_from_slice(pci);
    whole.extend_from_slice(payload);
    PacketBuf::copy_of(&whole)
}
