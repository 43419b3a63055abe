//! Settings of an end.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::time::Duration;

use super::congestion::Algorithm;
use crate::base::settings::settings;

settings! {
    /// Settings of FRCT: retransmission, flow control and acknowledgements of the flows that have them. Each end of a flow
    /// has its own.
    ///
    /// A path carries what its windows and queues hold in a round trip. The defaults fill 100 Mb/s at 100 ms; a gigabit there
    /// takes more of all three, at both ends:
    ///
    /// ```
    /// use o7s::settings::{FrctConfig, Limits};
    ///
    /// let frct = FrctConfig::default().window(32_768).send_queue(32_768).send_bytes(64 << 20);
    /// let limits = Limits::default().frct(frct);
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Config {
        /// Sets A of Delta-t: how long after data its acknowledgement may be sent. Default: 10 s, as the reference.
        ack_delay_max: Duration = Duration::from_secs(10),
        /// Sets R of Delta-t: how long a flow retransmits without any progress before it is down. Towards members of this
        /// library it is at least eight retransmission timeouts, which take longer where one is longer than 15 s. Default:
        /// 120 s, as the reference.
        retransmit_max: Duration = Duration::from_secs(120),
        /// Sets the receive window towards a peer that is known to be of this library, packets,
        /// [`legacy_window`](Self::legacy_window) to 32 768; a value outside counts as the nearest inside. A layer may allow
        /// less. Default: 4096.
        window: u32 = 4096,
        /// Sets the receive window towards any other peer, packets, 1 to 32 768; a value outside counts as the nearest
        /// inside. Default: 256, as the reference.
        legacy_window: u32 = 256,
        /// Sets how many packets are kept for the sending direction, unacknowledged and unsent together, 1 to 2²⁰; a value
        /// outside counts as the nearest inside. Default: 4096.
        send_queue: u32 = 4096,
        /// Sets how much memory these packets may hold, bytes, at least 1; a single packet is always taken. Default: 8 MiB.
        send_bytes: usize = 8 << 20,
        /// Sets how many of these packets may wait for their first transmission, at least 1; 0 counts as 1. A longer queue
        /// only adds delay. Default: 256.
        unsent: u32 = 256,
        /// Sets how long an acknowledgement waits for data to go with. Default: 4 ms; the reference resends after 5 ms at the
        /// earliest.
        ack_delay: Duration = Duration::from_millis(4),
        /// Sets the number of packets after which an acknowledgement does not wait, 1 to a quarter of
        /// [`legacy_window`](Self::legacy_window); a value outside counts as the nearest inside. Default: 8.
        ack_every: u32 = 8,
        /// Sets the retransmission timeout before the first measurement, whatever the least and the largest are. Default:
        /// 1 s, as the reference.
        rto_initial: Duration = Duration::from_secs(1),
        /// Sets the least retransmission timeout. Default: 25 ms, above the 16 ms that a reference delays its
        /// acknowledgements.
        rto_min: Duration = Duration::from_millis(25),
        /// Sets what backing off raises the retransmission timeout to, at most. It doubles six times at most, too, so that a
        /// healed partition is noticed soon; how long the flow keeps trying is [`retransmit_max`](Self::retransmit_max)
        /// regardless. Default: 60 s (RFC 6298).
        rto_max: Duration = Duration::from_secs(60),
        /// Sets the largest message that is written or read in fragments towards a peer of this library, bytes, up to 16 MiB;
        /// more counts as that, and with 0 nothing is fragmented: a write is a packet then, or too large. What is read may
        /// be up to the next power of two, but no more than a quarter of what
        /// [a flow may hold](crate::settings::Limits::flow_bytes); each end tells the other. Default: 1 MiB.
        max_message: usize = 1 << 20,
    }
    inside {
        /// Acknowledge and retransmit. Follows from the QoS of the flow, at both ends alike.
        reliable: bool = true,
        /// The peer is of this library, and understands what a reference would not.
        o7s_peer: bool = false,
        /// The largest message that is put together from fragments, bytes, as the peer was told. Default: none.
        message_in: usize = 0,
        /// The largest message that the peer puts together, bytes, as it has told. Default: none.
        message_out: usize = 0,
        /// Maximum packet lifetime in the layer that carries the flow. Default: that of the UDP layer.
        mpl: Duration = Duration::from_secs(5),
        /// Avoid congestion: for layers that do not (UDP, Ethernet).
        congestion: bool = true,
        /// How congestion is avoided; from [`Builder::congestion_control`](crate::Builder::congestion_control).
        algorithm: Algorithm = Algorithm::default(),
    }
}

/// The largest message that can be agreed upon, bytes.
const MESSAGE_MAX: usize = 16 << 20;

impl Config {
    /// The largest message that this end can put together, bytes: a power of two, or 0.
    pub(crate) fn message_room(&self) -> usize {
        match self.max_message.min(MESSAGE_MAX) {
            0 => 0,
            bytes => bytes.next_power_of_two(),
        }
    }
}

/// [`Config`] in the units of the machine: nanoseconds. Flows of one kind share it.
#[derive(PartialEq, Eq)]
pub(crate) struct Params {
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
    /// The largest messages in fragments that are taken, and that are sent, bytes; 0: none.
    pub(super) message_in: u32,
    pub(super) message_out: u32,
}

impl Params {
    pub(super) fn new(c: &Config) -> Self {
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let legacy_window = c.legacy_window.clamp(1, 1 << 15);
        Self {
            reliable: c.reliable,
            o7s_peer: c.o7s_peer,
            congestion: c.congestion,
            a: ns(c.ack_delay_max),
            r: ns(c.retransmit_max),
            receiver_inactive: ns(c
                .mpl
                .saturating_mul(2)
                .saturating_add(c.ack_delay_max)
                .saturating_add(c.retransmit_max)),
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
            message_in: if c.o7s_peer { c.message_in.min(MESSAGE_MAX) as u32 } else { 0 },
            message_out: if c.o7s_peer { c.message_out.min(c.max_message).min(MESSAGE_MAX) as u32 } else { 0 },
        }
    }
}

/// Kinds of flows whose settings are shared at a time. A stack has a few; the one with the fewest flows gives way, so that a
/// peer that says another length of messages with each flow has only its own flows not share them.
const KINDS: usize = 8;

/// The settings that flows of a stack have, so that those of one kind share them.
#[derive(Default)]
pub(crate) struct SharedParams(Vec<Weak<Params>>);

impl SharedParams {
    /// The settings of a flow with this configuration.
    pub(crate) fn of(&mut self, config: &Config) -> Arc<Params> {
        let wanted = Params::new(config);
        if let Some(same) = self.0.iter().filter_map(Weak::upgrade).find(|params| **params == wanted) {
            return same;
        }
        self.0.retain(|params| params.strong_count() > 0);
        if self.0.len() >= KINDS
            && let Some((rarest, _)) = self.0.iter().enumerate().min_by_key(|(_, params)| params.strong_count())
        {
            self.0.remove(rarest);
        }
        let params = Arc::new(wanted);
        self.0.push(Arc::downgrade(&params));
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_of_one_kind_share_their_settings() {
        let mut kinds = SharedParams::default();
        let config = |message_out| Config { o7s_peer: true, message_out, ..Config::default() };
        let (a, b, other) = (kinds.of(&config(1)), kinds.of(&config(1)), kinds.of(&config(2)));
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &other));
        let many: Vec<_> = (3..100).map(|n| kinds.of(&config(n))).collect();
        assert!(kinds.0.len() <= KINDS, "{} are remembered of {}", kinds.0.len(), many.len());
        assert!(Arc::ptr_eq(&a, &kinds.of(&config(1))), "what several flows have stays");
        drop(many);
        let new = kinds.of(&config(200));
        assert!(new.message_out == 200 && kinds.0.len() <= 3, "those that no flow has are forgotten");
    }
}
