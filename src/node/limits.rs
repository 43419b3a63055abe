//! The bounds of a node.

use core::time::Duration;

use crate::{frct, irm};

/// Until the requester's address has proven to be its own, this many times the bytes that came from it are sent there.
pub(super) const AMPLIFICATION: u64 = 3;

/// Bounds and defaults of a node.
///
/// ```
/// use o7s::settings::Limits;
///
/// let limits = Limits::default().with_flows(1000).with_handlers(64);
/// assert_eq!((limits.flows, limits.replay), (1000, 65_536));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Ends of flows, pending and lingering ones included; more are not allocated, and refused to those who ask. Default
    /// 1 048 576.
    pub flows: usize,
    /// Idle packet buffers (2 KiB each) that are kept. Default 16 384.
    pub idle_buffers: usize,
    /// Packets that wait for the application of a flow without FRCT; more are dropped and counted. At least one may wait.
    /// Default 1024.
    pub raw_queue: usize,
    /// Memory that packets which wait for the application of one flow may hold, bytes. Without FRCT more are dropped and
    /// counted; with it the peer's window is closed. Besides, 4.5 MiB may wait in front of the flow's protocols. Default
    /// 8 MiB.
    pub flow_bytes: usize,
    /// The same for all flows together that one host, or one member of a layer, has asked for. Default 64 MiB.
    pub peer_bytes: usize,
    /// The same for all flows of the stack. Default 256 MiB.
    pub stack_bytes: usize,
    /// FRCT of every flow that has it: windows, queues, timers, and how congestion is avoided. What the flow's quality
    /// of service, its peer and its layer decide ([`reliable`](frct::Config::reliable),
    /// [`o7s_peer`](frct::Config::o7s_peer), [`mpl`](frct::Config::mpl), [`congestion`](frct::Config::congestion)) is not
    /// taken from here, and a layer may allow less of [`window`](frct::Config::window).
    pub frct: frct::Config,
    /// The IRM's bounds.
    pub irm: irm::Limits,
    /// Threads that serve flows to names without a listener, at a time. Default 1024.
    pub handlers: usize,
    /// Flow requests that are remembered against replay; beyond it the oldest are forgotten, and any request as old as
    /// those is refused. Default 65 536.
    pub replay: usize,
    /// The least timeout that is granted for a flow to a requester of our own kind, however short the one that it asks
    /// for: a shorter one would make this end send keepalives all the time. It counts where
    /// [`flow_timeout_max`](Self::flow_timeout_max) is shorter. A requester of the reference's kind cannot be told, and
    /// gets the timeout that it asks for; keepalives are sent to it every 10 ms at most. Default 1 s.
    pub flow_timeout_min: Duration,
    /// The longest timeout that is granted for a flow, also to a requester who asks for none: how long state here can
    /// live without a sign of life from the other end. Default 10 min.
    pub flow_timeout_max: Duration,
    /// How long the peer of an accepted flow may be silent before it is heard for the first time; then the flow ends. One
    /// of our own kind says something at once, and again while it hears nothing; over a thin link with a queue that may be
    /// long on its way. The first word of the reference's kind may be the keepalive after a quarter of the flow's timeout:
    /// 30 s with the presets. Default 45 s.
    pub silence: Duration,
    /// Accepted flows whose peer has not been heard yet. Beyond it the oldest make room. Default 16 384.
    pub silent_flows: usize,
    /// The same for the flows that one host, or one member of a layer, asked for. Default 4096.
    pub silent_flows_per_peer: usize,
    /// Replies that can be sent again to a requester that did not get them, each for as long as the flow may be
    /// [silent](Self::silence); beyond it the oldest are forgotten. Default 4096.
    pub resend: usize,
    /// How long an allocation without a time limit of its own takes at most. Default 20 s.
    pub alloc_timeout: Duration,
    /// How long an allocation waits for layers to find a name. Default 2 s.
    pub lookup_timeout: Duration,
    /// When a request that got no answer is repeated for the first time; then after twice as long, and so on. At least
    /// 10 ms. Default 1.2 s, because the reference's IRM may take 1 s to find an acceptor.
    pub retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 1 << 20,
            idle_buffers: 16_384,
            raw_queue: 1024,
            flow_bytes: 8 << 20,
            peer_bytes: 64 << 20,
            stack_bytes: 256 << 20,
            frct: frct::Config::default(),
            irm: irm::Limits::default(),
            handlers: 1024,
            flow_timeout_min: Duration::from_secs(1),
            flow_timeout_max: Duration::from_secs(600),
            silence: Duration::from_secs(45),
            silent_flows: 16_384,
            silent_flows_per_peer: 4096,
            replay: 65_536,
            resend: 4096,
            alloc_timeout: Duration::from_secs(20),
            lookup_timeout: Duration::from_secs(2),
            retry: Duration::from_millis(1200),
        }
    }
}

/// A method for each field, which sets it and gives the whole back.
macro_rules! setters {
    ($($setter:ident: $field:ident, $type:ty;)*) => {
        impl Limits {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

setters! {
    with_flows: flows, usize;
    with_idle_buffers: idle_buffers, usize;
    with_raw_queue: raw_queue, usize;
    with_flow_bytes: flow_bytes, usize;
    with_peer_bytes: peer_bytes, usize;
    with_stack_bytes: stack_bytes, usize;
    with_frct: frct, frct::Config;
    with_irm: irm, irm::Limits;
    with_handlers: handlers, usize;
    with_flow_timeout_min: flow_timeout_min, Duration;
    with_flow_timeout_max: flow_timeout_max, Duration;
    with_silence: silence, Duration;
    with_silent_flows: silent_flows, usize;
    with_silent_flows_per_peer: silent_flows_per_peer, usize;
    with_replay: replay, usize;
    with_resend: resend, usize;
    with_alloc_timeout: alloc_timeout, Duration;
    with_lookup_timeout: lookup_timeout, Duration;
    with_retry: retry, Duration;
}
