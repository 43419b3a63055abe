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
//! let mut a = Frct::new(Config::default(), 4_000_000_000);
//! let mut b = Frct::new(Config::default(), 17);
//!
//! a.send(now, PacketBuf::copy_of(b"hello")).unwrap();
//! while let Some(transmit) = a.poll_transmit(now) {
//!     // Here encryption, checksum and the layer below would come in.
//!     let mut packet = PacketBuf::copy_of(transmit.header());
//!     packet.extend_from_slice(transmit.payload()).unwrap();
//!     b.handle_packet(now, packet, &mut cache);
//! }
//! assert_eq!(&b.deliver(now, &mut cache).unwrap()[..], b"hello");
//! ```
//!
//! # The rules
//!
//! *Start.* The initial number is chosen with the flow and counted on from there for ever. Before the first data, and before
//! the first after a pause longer than R, goes a rendez-vous with the data-run flag and the number: it starts the run at the
//! peer, which answers with its window. Every control packet, but for notices of an end and those about the path, carries
//! the flag and the number of the oldest unacknowledged packet, so that a peer whose receiver has no run starts the right
//! one. Data carries the flag exactly when nothing was outstanding at its first transmission.
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
//! best-effort flows, where nothing else brings a window, it asks before the window closes, a reference not together with
//! a packet but two milliseconds after one, and the receiver tells unasked. What a peer other than o7s is told unasked is
//! repeated when it stays silent: a waiting writer of the reference never asks. What was told stays told. A reliable receiver
//! that has no memory for the next packet all the same tells a peer of our own kind a window that ends there, and again when
//! it has some: meanwhile the sender tries with one packet, for as long as that is answered.
//!
//! *Loss.* A packet is retransmitted when packets sent later have arrived (three of them, or a quarter of the round
//! trip has passed), found from selective acknowledgements. On a path that reorders, time alone decides, and more of
//! it. Where the peer does not say what it holds, repeated acknowledgements and the retransmission timer do it. The
//! timer is `srtt + 4 mdev` plus what a peer may delay its acknowledgement, not below [`Config::rto_min`]; it doubles up
//! to [`Config::rto_max`], six times at most, and stays doubled until a round trip has been measured. When it expires,
//! a peer that says what it holds is sent a new packet, or the last one if there is none, whose acknowledgement can be
//! timed (RFC 9002, 6.2.4); if that was in vain, the oldest and one beyond, and nothing is declared lost. Any other peer
//! is sent the oldest. A flow of which nothing has been acknowledged for R, counted from the first transmission of the
//! oldest packet or from the last progress, is down; see [`Config::retransmit_max`].
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
//!
//! *Messages.* What is too large for a packet goes in several, if the peer has [said](Config::max_message) that it puts them
//! together. The receiver holds them as they come, in order, and shows nothing of a message before its last fragment is
//! there. What is incomplete takes no place in the window, but counts as memory held. On a best-effort flow it is dropped
//! with the first gap, and after ten seconds without a fragment; on a reliable one the flow is down when the next fragment
//! does not come, and its sender says nothing else, for 2 MPL + A + R, after which it has given up, too; or four times as
//! long, whatever the sender says, while the window lets it come.
//!
//! *Size.* A path may drop what is larger than it carries, and nobody says so. On a reliable flow whose ends put messages
//! together, packets that are lost again and again while small ones pass make later ones smaller: see `pmtu.rs`. What has its
//! number already goes in [pieces](crate::wire::frct#pieces-and-path-probes).

use alloc::sync::Arc;

use crate::base::buf::{BufCache, PacketBuf};
use crate::base::counter::counts;
use crate::base::seq::Seq;
use crate::base::time::Instant;

mod config;
pub mod congestion;
mod counters;
mod end;
mod filter;
mod fragments;
mod pacing;
mod path;
mod pieces;
mod pmtu;
mod ranges;
mod reassembly;
mod receive;
mod recovery;
mod rendezvous;
mod rtt;
mod rx;
mod segment;
#[cfg(test)]
mod tests;
mod transmit;
mod tx;

pub use config::Config;
pub(crate) use config::SharedParams;
pub use end::Ending;
pub(crate) use end::{KNOWN, Notice};
pub(crate) use fragments::{Part, fragment_len, fragments};
pub use path::FrctPath;
pub use rx::Memory;
pub use transmit::Transmit;

use config::Params;
use congestion::Algorithm;
use counters::Counters;
use rx::Receiver;
use tx::Sender;

counts! {
    /// Counters of a machine since the flow began. Packets, unless said otherwise.
    #[non_exhaustive]
    pub struct Stats {
        /// User packets sent, each counted once.
        sent => "sent",
        /// Retransmissions sent.
        retransmitted => "retransmitted",
        /// Control packets sent: acknowledgements, windows, rendez-vous.
        (hidden) control_sent => "control_sent",
        /// User packets received and put in order.
        received => "received",
        /// Control packets received.
        (hidden) control_received => "control_received",
        /// User packets that were dropped because another fragment of their message was lost.
        incomplete => "incomplete",
        /// User packets that had arrived before.
        duplicates => "duplicates",
        /// User packets that arrived beyond a gap and were held.
        out_of_order => "out_of_order",
        /// Best effort: user packets dropped because a later one had arrived.
        (hidden) late => "late",
        /// Best effort: numbers that were skipped because a later one arrived.
        (hidden) skipped => "skipped",
        /// User packets beyond the receive window, dropped.
        (hidden) out_of_window => "out_of_window",
        /// User packets without a run to belong to, dropped.
        (hidden) no_run => "no_run",
        /// Packets that are no FRCT packets: short, empty, control packets with a strange payload, fragments where none were
        /// agreed upon; dropped.
        (hidden) malformed => "malformed",
        /// User packets with numbers far from the peer's run, or with our own: a reference's stale buffers; dropped.
        (hidden) stray => "stray",
        /// Acknowledgements of what was never sent, windows out of reach: ignored.
        (hidden) implausible => "implausible",
        /// Episodes of loss seen by the sender.
        loss_episodes => "loss_episodes",
        /// Times the retransmission timer expired.
        timeouts => "timeouts",
        /// Packets that were declared lost and had not been.
        spurious,
        /// Times the path was found to carry less than was sent.
        (hidden) lowered => "lowered",
    }
}

/// One end of a flow with FRCT.
///
/// After every call that takes `&mut self`, [`poll_transmit`](Self::poll_transmit) must be called until it returns
/// `None`, and the timer set to [`next_deadline`](Self::next_deadline).
pub struct Frct {
    params: Arc<Params>,
    tx: Sender,
    rx: Receiver,
    stats: Counters,
    /// What this end has said, or is saying, about its end.
    ending: Option<Ending>,
    notice: Notice,
    /// What the peer has said outside of its stream.
    noticed: Option<Ending>,
    down: bool,
    /// Packets of user data that were given up, for whatever reason.
    abandoned: usize,
}

impl Frct {
    /// An end that numbers its packets from `isn`, which should be random.
    pub fn new(cfg: Config, isn: u32) -> Self {
        Self::sharing(Arc::new(Params::new(&cfg)), &cfg.algorithm, isn)
    }

    /// The same with settings that other machines have as well.
    pub(crate) fn sharing(params: Arc<Params>, algorithm: &Algorithm, isn: u32) -> Self {
        Self {
            tx: Sender::new(&params, algorithm, Seq(isn)),
            rx: Receiver::new(&params),
            params,
            stats: Counters::default(),
            ending: None,
            notice: Notice::new(),
            noticed: None,
            down: false,
            abandoned: 0,
        }
    }

    /// Returns `true` if [`send`](Self::send) would take a packet now.
    pub fn can_send(&self) -> bool {
        self.takes_data() && self.tx.can_queue(&self.params)
    }

    /// Returns `true` if a writer that waits is worth waking: there is room for a good many packets, not just for one.
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
        self.push(now, payload, Part::Whole);
        Ok(())
    }

    /// Takes one user packet, not empty, after [`can_send`](Self::can_send) has said that there is room; or one fragment,
    /// after it has said so before the first.
    #[inline]
    pub(crate) fn push(&mut self, now: Instant, payload: PacketBuf, part: Part) {
        self.tx.push(now, &self.params, payload, part);
    }

    /// Encryption and checksum add so much to each packet, bytes.
    pub(crate) fn set_overhead(&mut self, below: usize) {
        self.tx.below = u8::try_from(below).unwrap_or(u8::MAX);
    }

    /// The largest packet of user data that the path carries, as far as that was found to be less than the layer says, bytes.
    #[inline]
    pub(crate) fn packet_limit(&self) -> Option<usize> {
        self.tx.pmtu.as_ref().and_then(|pmtu| pmtu.limit())
    }

    /// The largest message that may be sent in fragments, bytes; 0: none.
    pub(crate) fn max_message(&self) -> usize {
        self.params.message_out as usize
    }

    /// Acts on the passing of time. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Instant, cache: &mut BufCache) {
        if self.down {
            return;
        }
        self.rx.check(now);
        self.tx.check_rendezvous(now);
        self.tx.check_path(now, &self.params);
        self.tx.rate.pacer.check(now);
        let abandoned = now >= self.rx.open_until(&self.params);
        if abandoned {
            self.stats.note_incomplete(self.rx.ready.drop_open(cache));
        }
        // The numbers of a reliable flow cannot be had again once they were acknowledged.
        let over = abandoned && self.params.reliable;
        if over || !self.tx.check_losses(now, &self.params, &mut self.stats) {
            self.give_up(cache);
        }
    }

    /// The peer has gone, as far as can be told: what was written and what is incomplete is dropped, and nothing is asked or
    /// repeated. What has arrived can still be delivered.
    pub(crate) fn resign(&mut self, cache: &mut BufCache) {
        self.abandoned += self.tx.abandon(cache);
        self.stats.note_incomplete(self.rx.drop_incomplete(cache));
    }

    /// Nothing is sent or taken any more. What has arrived can still be delivered.
    fn give_up(&mut self, cache: &mut BufCache) {
        self.down = true;
        self.abandoned += self.tx.unacked();
        for packet in self.tx.queue.drain(..).filter_map(|segment| segment.packet) {
            cache.put(packet);
        }
        self.stats.note_incomplete(self.rx.drop_incomplete(cache));
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. It may come later than asked for the last
    /// time, if meanwhile something has arrived.
    pub fn next_deadline(&self) -> Option<Instant> {
        let at = self.deadline();
        (at != Instant::FAR_FUTURE).then_some(at)
    }

    /// As [`next_deadline`](Self::next_deadline), with [`Instant::FAR_FUTURE`] for never.
    pub(crate) fn deadline(&self) -> Instant {
        if self.down {
            return Instant::FAR_FUTURE;
        }
        let open = self.rx.open_until(&self.params);
        let sending = self.tx.deadline().min(self.tx.path_deadline(&self.params));
        let notice = match self.notice.is_repeated() {
            true => self.notice.deadline().max(self.notice_after()),
            false => Instant::FAR_FUTURE,
        };
        sending.min(self.rx.deadline()).min(notice).min(open)
    }

    /// Keeps user data back, or lets it go: while it is not known whether the peer's address is its own, the peer is only
    /// asked for a sign of life.
    pub fn hold(&mut self, held: bool) {
        self.tx.held = held;
    }

    /// The peer is reached on another path from now on, of which nothing is known: what is out counts as lost, and window,
    /// rate and round-trip time begin anew (RFC 9000, 9.4).
    pub fn note_new_path(&mut self, now: Instant) {
        if !self.down {
            self.tx.note_new_path(now, &self.params, &mut self.stats);
        }
    }

    /// Memory that packets which have arrived hold, bytes.
    pub fn held(&self) -> usize {
        self.rx.held_bytes()
    }

    /// How much memory there is for what arrives.
    pub fn set_memory(&mut self, memory: Memory) {
        self.rx.memory = memory;
    }

    /// Returns `true` if [`deliver`](Self::deliver) has a packet.
    pub fn can_deliver(&self) -> bool {
        self.rx.can_deliver()
    }

    /// Returns `true` if nothing can be read but when more of a message has come, which is not complete.
    pub(crate) fn is_stuck(&self) -> bool {
        self.rx.is_stuck()
    }

    /// When the latest fragment of a message came that is not complete; `None` if there is none.
    pub(crate) fn open_since(&self) -> Option<Instant> {
        self.rx.ready.open_since()
    }

    /// Returns `true` if the window has moved far enough to tell the peer at once. Nothing else that a read does makes
    /// anything to send.
    pub fn owes_window(&self) -> bool {
        self.rx.due
    }

    /// The next packet for the application, or the next message in one piece. The application thereby has read it: the
    /// window moves. Buffers that are free then go to `cache`.
    pub fn deliver(&mut self, now: Instant, cache: &mut BufCache) -> Option<PacketBuf> {
        self.rx.deliver(now, &self.params, cache)
    }

    /// Length of what [`deliver`](Self::deliver) has, bytes.
    pub fn next_len(&mut self) -> Option<usize> {
        self.rx.ready.next_len()
    }

    /// As [`deliver`](Self::deliver), to `buf`, or as much of it as fits: the rest is the next packet. Says how many bytes
    /// that was, and whether that was the end of it.
    pub fn read(&mut self, now: Instant, buf: &mut [u8], cache: &mut BufCache) -> Option<(usize, bool)> {
        self.rx.read(now, &self.params, buf, cache)
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

    /// As [`close`](Self::close) if all data has arrived, else as [`abort`](Self::abort), for an end that is gone before
    /// anything could be repeated: the peer is told by a notice, as the end of a stream may have to wait for a window.
    pub fn leave(&mut self, now: Instant, orderly: bool, cache: &mut BufCache) {
        if !orderly || self.unacked() > 0 {
            self.abort(now, cache);
        } else if !self.down && self.params.o7s_peer && !self.peer_closed() {
            self.ending = self.ending.max(Some(Ending::Closed));
            self.rx.flush();
            self.notice.say(now, Ending::Closed);
        }
        self.notice.hasten(now);
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

    /// Returns `true` if nothing is left to do for what was written, and for the end of it: all has been sent and, on a
    /// reliable flow, acknowledged, or given up, and [`unacked`](Self::unacked) says how much.
    pub fn is_drained(&self) -> bool {
        self.tx.queue.is_empty() && self.notice.is_over()
    }

    /// Returns `true` if the peer's stream is over: it writes no more, and all that came has been delivered.
    pub fn at_end(&self) -> bool {
        self.peer_ending().is_some() && !self.rx.can_deliver()
    }

    /// What the peer, one of our own kind, has said about its end; on a reliable flow in its turn behind the data.
    pub fn peer_ending(&self) -> Option<Ending> {
        self.rx.ended.max(self.noticed)
    }

    /// Returns `true` if the peer reads no more: nothing is taken for it.
    pub fn peer_closed(&self) -> bool {
        self.peer_ending() >= Some(Ending::Closed)
    }

    /// Packets written and not known to have arrived (reliable) or not sent (best effort); also after the flow went
    /// down.
    pub fn unacked(&self) -> usize {
        self.tx.unacked() + self.abandoned
    }

    /// Returns `true` if a packet could not be brought to the peer within R, or the rest of a message did not come in time:
    /// nothing is sent or taken any more. What
    /// has arrived can still be delivered.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.stats.all()
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
