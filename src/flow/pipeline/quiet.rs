//! Idle flows: keepalives, a peer that is silent for too long, memory that is not needed.

use alloc::collections::VecDeque;
use core::num::NonZeroU64;
use core::time::Duration;

use super::Pipeline;
use super::beginning::Due;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::Outgoing;
use crate::frct::Ending;
use crate::types::qos::QosSpec;

impl Pipeline {
    /// Does what is due. `false` if the peer has been silent for the flow's timeout.
    pub(in crate::flow) fn handle_timeout(&mut self, now: Instant, out: &mut Outgoing) -> bool {
        if let Some(frct) = &mut self.frct
            && frct.next_deadline().is_some_and(|t| t <= now)
        {
            frct.handle_timeout(now, &mut self.cache);
            // What it has held of a message that never came to its end is free.
            self.charge();
        }
        self.pass_turn(now);
        match self.beginning.as_mut().map(|b| b.handle_timeout(now)) {
            Some(Due::End) => return false,
            Some(Due::Greeting) => self.keepalive(now, out),
            Some(Due::Nothing) | None => {}
        }
        // A peer that has closed is silent by right, and need not be kept from missing this end.
        let Some(patience) = self.patience.filter(|_| !self.is_left()) else { return true };
        if now > patience.ends(self.last_received) {
            return false;
        }
        if now >= patience.due(self.last_sent) {
            self.keepalive(now, out);
        } else if now >= self.nudge_at() {
            self.nudges.left -= 1;
            self.keepalive(now, out);
        }
        true
    }

    /// Time of the next call of [`handle_timeout`](Self::handle_timeout).
    pub(in crate::flow) fn next_deadline(&self, peer_gone: bool) -> Option<Instant> {
        let mut next = self.frct.as_ref().map_or(Instant::FAR_FUTURE, |f| f.deadline());
        if let Some(patience) = self.patience
            && !peer_gone
            && !self.is_left()
        {
            // The peer is gone a moment later than it may be silent.
            let gone = patience.ends(self.last_received) + Duration::from_nanos(1);
            next = next.min(gone).min(patience.due(self.last_sent)).min(self.nudge_at());
        }
        if let Some(beginning) = &self.beginning {
            next = next.min(beginning.deadline(peer_gone));
        }
        if !self.relaxed {
            next = next.min(self.quiet_at());
        } else if self.holds_schedules() {
            next = next.min(self.unneeded_at());
        }
        if let Some(farewell) = &self.farewell {
            next = next.min(farewell.deadline());
        }
        next = next.min(self.turn_until());
        (next != Instant::FAR_FUTURE).then_some(next)
    }

    /// Gives up waiting for the peer: whoever has its address now is asked for nothing, and gets nothing once more. That this
    /// end goes it is told all the same, for it may be only one direction in which nothing passes.
    pub(in crate::flow) fn resign(&mut self) {
        if let Some(frct) = &mut self.frct {
            frct.resign(&mut self.cache);
            self.charge();
        }
    }

    /// Time at which a keepalive shows a peer whose data has ceased to come where this end is now.
    fn nudge_at(&self) -> Instant {
        self.nudges.due(self.last_received)
    }

    /// Returns `true` if both users of the flow are gone.
    fn is_left(&self) -> bool {
        self.peer_ending() >= Some(Ending::Closed)
    }

    /// Time from which the flow counts as unused.
    fn quiet_at(&self) -> Instant {
        self.last_sent.max(self.last_received) + QUIET_AFTER
    }

    /// Time from which no packet is expected for which a schedule is worth keeping: none has come, true or made up, for a
    /// while.
    fn unneeded_at(&self) -> Instant {
        self.last_received.max(self.tried_at) + QUIET_AFTER
    }

    /// Gives spare memory back if the flow has been quiet for a while, or only keeps itself alive.
    pub(in crate::flow) fn relax_if_quiet(&mut self, now: Instant) {
        // What keepalives have left since.
        if self.relaxed {
            self.cache.release();
            let unneeded = now >= self.unneeded_at();
            if let Some((protection, _)) = self.protection.as_mut().filter(|_| unneeded) {
                protection.release();
            }
        } else if now >= self.quiet_at() {
            self.relax();
        } else {
            self.cache.settle(now);
        }
    }

    /// Returns `true` if spare memory has been given back since the flow was last used.
    pub(in crate::flow) fn is_relaxed(&self) -> bool {
        self.relaxed
    }

    /// A packet that has been sent. An idle flow would keep the buffer of each keepalive in its cache.
    pub(in crate::flow) fn take_back(&mut self, pkt: PacketBuf) {
        if self.relaxed {
            self.cache.pool().put(pkt);
        } else {
            self.cache.put(pkt);
        }
    }

    /// Gives back the memory of the list in which packets were taken in.
    pub(in crate::flow) fn drop_work(&mut self) {
        self.work = VecDeque::new();
    }

    /// Gives spare memory back.
    pub(in crate::flow) fn relax(&mut self) {
        self.relaxed = true;
        self.cache.release();
        // While something waits, what is given back would only be allocated again.
        if self.work.is_empty() && self.ready.is_empty() && self.tx_queue_len() == 0 {
            if let Some(frct) = &mut self.frct {
                frct.shrink();
            }
            if let Some((protection, _)) = &mut self.protection {
                protection.release();
            }
            self.drop_work();
            self.ready.shrink();
        }
        self.settle_charge();
    }

    /// After how long a silence of this end a keepalive is sent.
    pub(in crate::flow) fn keepalive_interval(&self) -> Option<Duration> {
        self.patience.map(|patience| Duration::from_nanos(patience.interval))
    }

    /// An empty packet. Towards a reference it has neither FRCT nor encryption nor checksum; between o7s ends of an
    /// encrypted flow it is sealed as any other, so that an attacker cannot keep up a flow whose peer is gone.
    pub(super) fn keepalive(&mut self, now: Instant, out: &mut Outgoing) {
        let mut pkt = self.cache.take(0);
        // One that may not be sent has had its turn as well.
        self.last_sent = now;
        if (self.seals_keepalives() && !self.seal(&mut pkt)) || !self.spend(pkt.len()) {
            self.cache.put(pkt);
            return;
        }
        out.push(pkt);
        self.counters.sent += 1;
        self.counters.keepalives_sent += 1;
    }

    /// An idle flow has opened a keepalive, after this silence of the peer. The next one is as far away, and computing the
    /// schedule anew takes a microsecond or two. One who sends them in quick succession does not have it computed for each:
    /// it is kept until they cease, as are those of keepalives sent in answer.
    pub(super) fn forget_schedules(&mut self, silence: Duration) {
        if self.relaxed
            && silence >= QUIET_AFTER
            && let Some((protection, _)) = &mut self.protection
        {
            protection.forget_schedules();
        }
    }

    /// Returns `true` if a key is ready for use, which takes memory that can be given back.
    pub(in crate::flow) fn holds_schedules(&self) -> bool {
        self.protection.as_ref().is_some_and(|(protection, _)| protection.holds_schedules())
    }

    pub(super) fn seals_keepalives(&self) -> bool {
        self.protection.as_ref().is_some_and(|(p, _)| p.refuses_replays())
    }
}

/// Keepalives of an end whose peer sends no more data: perhaps it sends to an address that is not this end's any more.
pub(super) const NUDGES: u8 = 2;
/// Silence before the first of them, at least. The second comes after four times as much.
const NUDGE_AFTER: Duration = Duration::from_millis(500);
/// Silence before the first, in pauses between packets as they were until now: on a thin link packets come seldom, and
/// keepalives would fill it.
const NUDGE_PAUSES: u32 = 4;

/// The keepalives of an end whose peer's data has ceased to come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nudges {
    /// How many there are in a silence; 0 on flows that do without.
    pub(super) of: u8,
    left: u8,
    /// Silence before the first.
    after: Duration,
}

impl Nudges {
    /// A packet has come after this silence; `drained`: this end has nothing on its way.
    pub(super) fn expect_more(&mut self, silence: Duration, drained: bool) {
        self.left = if drained { self.of } else { 0 };
        self.after = NUDGE_AFTER.max(silence * NUDGE_PAUSES);
    }

    /// Time of the next one, if the last packet came at `last`.
    fn due(&self, last: Instant) -> Instant {
        if self.left == 0 {
            return Instant::FAR_FUTURE;
        }
        last + self.after * (1 << (2 * self.of.saturating_sub(self.left).min(4)))
    }
}

/// A flow that has been quiet for this long gives its spare memory back: packet buffers, key schedules, queues.
const QUIET_AFTER: Duration = Duration::from_millis(250);

/// The timeout of a flow as it is needed with every packet: nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The peer may be silent for this long.
    silence: NonZeroU64,
    /// A keepalive is sent when nothing else was for this long.
    interval: u64,
}

impl Patience {
    /// `None`: the flow has no timeout.
    pub(super) fn new(qos: &QosSpec) -> Option<Self> {
        // Of four in the time of silence three may get lost.
        Self::every(qos.keepalive()?, qos.keepalive()? / 4)
    }

    /// The peer may be silent for `silence`, and this end is for no longer than `interval`. `None` if for no time at all.
    pub(super) fn every(silence: Duration, interval: Duration) -> Option<Self> {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Some(Self { silence: NonZeroU64::new(nanos(silence))?, interval: nanos(interval.max(KEEPALIVE_MIN)) })
    }

    /// The last moment at which the peer may be heard of again.
    const fn ends(self, last_received: Instant) -> Instant {
        Instant::from_nanos(last_received.as_nanos().saturating_add(self.silence.get()))
    }

    /// Time at which a keepalive is due.
    const fn due(self, last_sent: Instant) -> Instant {
        Instant::from_nanos(last_sent.as_nanos().saturating_add(self.interval))
    }
}

/// Keepalives are no more frequent, whatever timeout a requester asks for.
const KEEPALIVE_MIN: Duration = Duration::from_millis(10);
