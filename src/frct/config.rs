//! What an end is to be like.

use core::time::Duration;

use super::congestion::Algorithm;

/// What a flow's FRCT is to be like. Both ends choose for themselves, except [`reliable`](Self::reliable), which
/// follows from the QoS of the flow. What is out of range counts as the nearest that is not.
///
/// A path carries what its windows and queues hold in a round trip. The defaults fill 100 Mb/s at 100 ms; a gigabit there
/// takes, at both ends, a [`window`](Self::window) and a [`send_queue`](Self::send_queue) of 32768 packets and
/// [`send_bytes`](Self::send_bytes) of 64 MiB.
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
    /// R of Delta-t: how long a flow retransmits without any progress before it is down; towards one of our own kind at
    /// least eight retransmission timeouts, which take longer where one is longer than 15 s. Default: 120 s, as the
    /// reference.
    pub r: Duration,
    /// Receive window towards a peer known to be o7s, packets, from [`legacy_window`](Self::legacy_window) to 32768.
    /// Default: 4096.
    pub window: u32,
    /// Receive window towards any other peer, packets, 1 to 32768. Default: 256, as the reference.
    pub legacy_window: u32,
    /// Packets kept for the sending direction, unacknowledged and unsent together, 1 to 2^20. Default: 4096.
    pub send_queue: u32,
    /// Memory that they may hold, bytes; a single packet is always taken. Default: 8 MiB.
    pub send_bytes: usize,
    /// Packets of these that may wait for their first transmission, at least 1: a longer queue only adds delay.
    /// Default: 256.
    pub unsent: u32,
    /// Avoid congestion: for layers that do not (UDP, Ethernet). Default: `true`.
    pub congestion: bool,
    /// How. Default: [`Algorithm::Cubic`].
    pub algorithm: Algorithm,
    /// How long an acknowledgement waits for data to go with. Default: 4 ms; the reference resends after 5 ms at the
    /// earliest.
    pub ack_delay: Duration,
    /// Packets after which an acknowledgement does not wait, 1 to a quarter of [`legacy_window`](Self::legacy_window).
    /// Default: 8.
    pub ack_every: u32,
    /// Retransmission timeout before the first measurement, whatever the least and the largest are. Default: 1 s, as the
    /// reference.
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
pub(super) struct Params {
    pub(super) reliable: bool,
    pub(super) o7s_peer: bool,
    pub(super) congestion: bool,
    pub(super) a: u64,
    pub(super) r: u64,
    pub(super) receiver_inactive: u64,
    pub(super) window: u32,
    pub(super) legacy_window: u32,
    pub(super) send_queue: u32,
    pub(super) send_bytes: usize,
    pub(super) unsent: u32,
    pub(super) ack_every: u32,
    pub(super) ack_delay: u64,
    pub(super) rto_initial: u64,
    pub(super) rto_min: u64,
    pub(super) rto_max: u64,
}

impl Params {
    pub(super) fn new(c: &Config) -> Self {
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let legacy_window = c.legacy_window.clamp(1, 1 << 15);
        Self {
            reliable: c.reliable,
            o7s_peer: c.o7s_peer,
            congestion: c.congestion,
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
