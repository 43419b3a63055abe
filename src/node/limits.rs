//! The bounds of a node.

use core::time::Duration;

use crate::base::settings::settings;
use crate::oap::replay::{MAX_AGE_MS, MAX_AHEAD_MS};
use crate::{frct, irm};

/// Limit on what is sent to an unproven address, as a multiple of the bytes that came from there.
pub(super) const AMPLIFICATION: u64 = 3;

settings! {
    /// Bounds and time limits of a [`Stack`](crate::Stack), set when it is [built](crate::Builder::limits).
    ///
    /// What is over a bound is refused, dropped or forgotten, as each says.
    ///
    /// ```
    /// use o7s::settings::Limits;
    ///
    /// let limits = Limits::default().flows(1000).handlers(64);
    /// ```
    #[derive(Clone, Debug)]
    pub struct Limits {
        /// Sets how many ends of flows there may be, pending and lingering ones included; more are not allocated, and refused
        /// to those who ask. Default: 1 048 576.
        flows: usize = 1 << 20,
        /// Sets how many idle packet buffers (2 KiB each) are kept. Default: 16 384.
        idle_buffers: usize = 16_384,
        /// Sets how many packets may wait for the application of a flow without FRCT, at least 1; more are dropped and
        /// counted. Twice as many may wait while this end has shut its writing direction and awaits the answer. Default:
        /// 1024.
        raw_queue: usize = 1024,
        /// Sets how much memory the packets that wait for the application of one flow may hold, bytes. Without FRCT more are
        /// dropped and counted, beyond twice as much while this end awaits the answer to its half-close; with it the peer's window is closed. Besides, 4.5 MiB may wait in front of the flow's
        /// protocols. Default: 8 MiB.
        flow_bytes: usize = 8 << 20,
        /// Sets the same for all flows together that one host, or one member of a layer, has asked for, bytes; what waits in
        /// front of an N-1 flow to be sent to it included. A flow may have one packet besides when nothing is left, or it
        /// would stand still, and 32 KiB may wait in front of each neighbour. Default: 64 MiB.
        peer_bytes: usize = 64 << 20,
        /// Sets the same for all flows of the stack, bytes. Default: 256 MiB.
        stack_bytes: usize = 256 << 20,
        /// Sets windows, queues and timers of every flow that has FRCT. How such flows avoid congestion is said with
        /// [`Builder::congestion_control`](crate::Builder::congestion_control).
        frct: frct::Config = frct::Config::default(),
        /// Sets how many threads serve flows to names without a listener, at a time. Default: 1024.
        handlers: usize = 1024,
        /// Sets the least timeout that is granted for a flow to a requester of this library, however short the one that it
        /// asks for: a shorter one would make this end send keepalives all the time. It counts where
        /// [`flow_timeout_max`](Self::flow_timeout_max) is shorter. A requester of the reference cannot be told, and gets
        /// the timeout that it asks for; keepalives are sent to it every 10 ms at most. Default: 1 s.
        flow_timeout_min: Duration = Duration::from_secs(1),
        /// Sets the longest timeout that is granted for a flow, also to a requester that asks for none: how long state
        /// here can live without a sign of life from the other end. Default: 10 min.
        flow_timeout_max: Duration = Duration::from_secs(600),
        /// Sets how long the peer of an accepted flow may be silent before it is heard for the first time; then the flow
        /// ends. One of this library says something at once, and again while it hears nothing; over a thin link with a queue
        /// that may be long on its way. The first word of a reference may be the keepalive after a quarter of the flow's
        /// timeout: 30 s with the presets. Default: 45 s.
        silence: Duration = Duration::from_secs(45),
        /// Sets how many accepted flows there may be whose peer has not been heard yet; beyond it the oldest make room.
        /// Default: 16 384.
        silent_flows: usize = 16_384,
        /// Sets the same for the flows that one host, or one member of a layer, asked for. Default: 4096.
        silent_flows_per_peer: usize = 4096,
        /// Sets how many flow requests are remembered against replay; beyond it the oldest are forgotten, and any request as
        /// old as those is refused. Default: 65 536.
        replay: usize = 65_536,
        /// Sets how old a request may be when it arrives, by its time stamp, 1 ms to 10 min: as long it is on its way, and as
        /// much the clock of its sender may be behind. Requests are remembered for as long, so that a longer time takes a
        /// larger [`replay`](Self::replay). Default: 20 s, as the reference has it.
        request_age: Duration = Duration::from_millis(MAX_AGE_MS as u64),
        /// Sets how far ahead of the clock here the time stamp of a request may be, up to 5 s: for hosts whose clocks are not
        /// set well, or show whole seconds alone. Somebody who has recorded a request of one whose clock is ahead can have it
        /// served once more when the stack is started anew within that time. Default: 100 ms, as the reference has it.
        clock_ahead: Duration = Duration::from_millis(MAX_AHEAD_MS as u64),
        /// Sets how many requests of a host, or of a member of a layer, are refused with an answer at a time; one more is every
        /// 250 ms. Beyond it, it is not answered for 1 s, then for 2 s, and so on up to 60 s. What can be served is served all
        /// the same. Default: 64.
        refusals: u32 = 64,
        /// Sets how many replies can be sent again to a requester that did not get them, each for as long as the flow may be
        /// [silent](Self::silence); beyond it the oldest are forgotten. Default: 4096.
        resend: usize = 4096,
        /// Sets how long an allocation without a time limit of its own takes at most. Default: 20 s.
        alloc_timeout: Duration = Duration::from_secs(20),
        /// Sets how long an allocation waits for layers that are looking for its name if it has something else: a layer of lower
        /// priority that knows the name, or a refusal to report. With nothing else it waits until its own timeout, except for
        /// layers in which perhaps nobody answers: a [shim](crate::shim::Shim) of the program's own, and a member that has lost all
        /// its neighbours. Default: 2 s.
        lookup_timeout: Duration = Duration::from_secs(2),
        /// Sets when a request that got no answer is repeated for the first time, at least 10 ms; then after twice as long,
        /// and so on. Default: 1.2 s, because the reference's IRM may take 1 s to find an acceptor.
        retry: Duration = Duration::from_millis(1200),
    }
    inside {
        /// The IRM's bounds.
        irm: irm::Limits = irm::Limits::default(),
    }
}

impl Limits {
    /// Sets how many names are known at a time; no more are bound. Default: 65 536.
    #[must_use]
    pub fn names(mut self, names: usize) -> Self {
        self.irm.names = names;
        self
    }

    /// Sets the number of requests for one name that may wait for an acceptor, at least 1, unless the name has a [limit
    /// of its own](crate::Stack::set_backlog). Beyond it, the newest request of the peer with the most is refused, to
    /// be tried again later: as long as others wait, no peer has more than a fair part. Over UDP those who have shown their
    /// address come before those who have not, such as references: as many of each host as are an eighth of all, and at least
    /// one. Default: 1024.
    #[must_use]
    pub fn backlog(mut self, requests: usize) -> Self {
        self.irm.backlog = requests;
        self
    }

    /// Sets how many bytes the requests for one name that wait may hold; beyond it as beyond [`backlog`](Self::backlog), but
    /// a single one always waits. Default: 4 MiB.
    #[must_use]
    pub fn backlog_bytes(mut self, bytes: usize) -> Self {
        self.irm.backlog_bytes = bytes;
        self
    }

    /// Sets how long a request waits at most before it is refused. It waits only for as long as its requester does, which a
    /// program of this stack shows, and one of another says in the request; a reference is taken to wait for 20 s. Default:
    /// 10 min.
    #[must_use]
    pub fn accept_wait(mut self, wait: Duration) -> Self {
        self.irm.accept_wait = wait;
        self
    }
}
