//! What happens on a flow when nothing does: keepalives, a peer that is silent for too long, memory that is not needed.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::Pipeline;
use super::beginning::Due;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::Outgoing;
use crate::frct::Ending;

impl Pipeline {
    /// Does what is due. `false` if the peer has been silent for the flow's timeout.
    pub(in crate::flow) fn handle_timeout(&mut self, now: Instant, out: &mut Outgoing) -> bool {
        if let Some(frct) = &mut self.frct
            && frct.next_timeout().is_some_and(|t| t <= now)
        {
            frct.handle_timeout(now, &mut self.cache);
        }
        match self.beginning.as_mut().map(|b| b.handle_timeout(now)) {
            Some(Due::End) => return false,
            Some(Due::Greeting) => self.keepalive(now, out),
            Some(Due::Nothing) | None => {}
        }
        let Some(timeout) = self.qos.keepalive().filter(|_| !self.is_left()) else { return true };
        if now.since(self.last_received) > timeout {
            return false;
        }
        if now.since(self.last_sent) >= keepalive_interval(timeout) {
            self.keepalive(now, out);
        }
        true
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub(in crate::flow) fn next_timeout(&self, peer_gone: bool) -> Option<Instant> {
        let frct = self.frct.as_ref().and_then(|f| f.next_timeout());
        let alive = match self.qos.keepalive() {
            Some(timeout) if !peer_gone && !self.is_left() => {
                let silent = self.last_received + timeout + Duration::from_nanos(1);
                Some(silent.min(self.last_sent + keepalive_interval(timeout)))
            }
            _ => None,
        };
        let opening = self.beginning.as_ref().map(|b| b.next_timeout(peer_gone));
        let relax = (!self.relaxed).then(|| self.quiet_at());
        let notice = self.farewell.as_ref().and_then(|f| f.next_timeout());
        let all = [frct, alive, opening, relax, notice];
        all.into_iter().flatten().filter(|at| *at != Instant::FAR_FUTURE).min()
    }

    /// Whether there is nobody left to keep the flow up for.
    fn is_left(&self) -> bool {
        self.peer_ending() >= Some(Ending::Closed)
    }

    /// When the flow is taken for one that is not being used.
    fn quiet_at(&self) -> Instant {
        self.last_sent.max(self.last_received) + QUIET_AFTER
    }

    /// Gives spare memory back if the flow has been quiet for a while, or only keeps itself alive.
    pub(in crate::flow) fn relax_if_quiet(&mut self, now: Instant) {
        if self.relaxed {
            self.cache.release();
        } else if now >= self.quiet_at() {
            self.relax();
        }
    }

    /// Whether spare memory has been given back since the flow was last used.
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

    /// Gives spare memory back.
    pub(in crate::flow) fn relax(&mut self) {
        self.relaxed = true;
        if self.work.is_empty() && self.ready.is_empty() && self.tx_queue_len() == 0 {
            self.cache.release();
            if let Some(frct) = &mut self.frct {
                frct.shrink();
            }
            if let Some((protection, _)) = &mut self.protection {
                protection.release();
            }
            self.work = VecDeque::new();
            self.ready.shrink();
        }
    }

    /// An empty packet. Towards a reference it has neither FRCT nor encryption nor checksum; between o7s ends of an
    /// encrypted flow it is sealed as any other, so that nobody can keep up a flow whose peer is gone.
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

    pub(super) fn seals_keepalives(&self) -> bool {
        self.protection.as_ref().is_some_and(|(p, _)| p.refuses_replays())
    }
}

/// A flow that has been quiet for this long gives its spare memory back: packet buffers, key schedules, queues.
const QUIET_AFTER: Duration = Duration::from_millis(250);

/// A keepalive is sent when nothing else was for this long.
fn keepalive_interval(timeout: Duration) -> Duration {
    (timeout / 4).max(KEEPALIVE_MIN)
}

/// Keepalives are no more frequent, whatever timeout a requester asks for.
const KEEPALIVE_MIN: Duration = Duration::from_millis(10);
