//! The beginning of a flow: little is sent to a requester whose address is only claimed, and who has to be heard soon;
//! the requester greets until it hears the other end.

use core::time::Duration;

use crate::base::time::Instant;

/// Restrictions until the peer of a flow is heard for the first time, by a packet that the flow's protection accepts.
/// Then it is proven that the peer receives at the address from which the flow was requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Bytes that may be sent until then: a few times what the request had, so that a forged one brings its victim little
    /// more than it cost (RFC 9000, 8.1). `None`, the default: no limit.
    pub allowance: Option<u64>,
    /// Silence that ends the flow at first. `None`, the default: as long as later.
    pub silence: Option<Duration>,
    /// Send keepalives until the peer is heard, because it may be waiting for one: as soon as the application waits for
    /// something to read and has written nothing, and then ever less often. Default: `false`.
    pub greet: bool,
}

/// The state of an [`Opening`].
pub(super) struct Beginning {
    /// The peer was heard, and the host has been told, or need not be.
    heard: bool,
    told: bool,
    allowance: u64,
    silent_until: Instant,
    greet_at: Instant,
    greetings: u8,
    /// Keepalives are answered: the peer may be greeting.
    answer_until: Instant,
}

/// Work that is due at the beginning.
pub(super) enum Due {
    Nothing,
    /// A keepalive.
    Greeting,
    /// The end: the peer was to be heard by now.
    End,
}

impl Beginning {
    /// `None` if there is nothing to watch.
    pub(super) fn new(now: Instant, opening: Opening) -> Option<Self> {
        let Opening { allowance, silence, greet } = opening;
        (opening != Opening::default()).then(|| Self {
            heard: false,
            told: allowance.is_none(),
            allowance: allowance.unwrap_or(u64::MAX),
            silent_until: silence.map_or(Instant::FAR_FUTURE, |t| now + t),
            greet_at: now + GREETING_PAUSE,
            greetings: if greet { GREETINGS } else { 0 },
            // One side only: two that answered each other's keepalives would never end.
            answer_until: if allowance.is_some() { now + GREETED_FOR } else { now },
        })
    }

    #[inline]
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// The peer was heard; whether for the first time.
    #[inline]
    pub(super) fn hear(&mut self) -> bool {
        !core::mem::replace(&mut self.heard, true)
    }

    /// Returns `true` once, when the peer has been heard that was sent little until then.
    #[inline]
    pub(super) fn poll_heard(&mut self) -> bool {
        self.heard && !core::mem::replace(&mut self.told, true)
    }

    /// The peer has sent a keepalive, which may be a greeting, or the answer to one. Whether it is answered; if not, this
    /// beginning is over.
    pub(super) fn hear_keepalive(&mut self, now: Instant) -> bool {
        self.greetings = 0;
        now < self.answer_until
    }

    /// Returns `true` if a packet of `len` bytes may be sent to a peer whose address is unproven. After the first
    /// refusal all are refused.
    #[inline]
    pub(super) fn spend(&mut self, len: usize) -> bool {
        if self.heard {
            return true;
        }
        // The first refusal takes all that is left. A smaller packet would otherwise overtake the one that was refused.
        let left = self.allowance.checked_sub((len + BELOW) as u64);
        self.allowance = left.unwrap_or(0);
        left.is_some()
    }

    /// Returns `true` if a packet may be sent at all.
    #[inline]
    pub(super) fn may_spend(&self) -> bool {
        self.heard || self.allowance > 0
    }

    /// The application waits for the peer, to whom it has sent nothing. Whether to greet it now: once.
    pub(super) fn greet_first(&mut self) -> bool {
        let first = !self.heard && self.greetings == GREETINGS;
        self.greetings -= u8::from(first);
        first
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Due {
        if !self.heard && now >= self.silent_until {
            self.greetings = 0;
            return Due::End;
        }
        if now < self.greet_at || self.greetings == 0 {
            return Due::Nothing;
        }
        let sent = u32::from(GREETINGS - self.greetings);
        self.greet_at = now + GREETING_PAUSE * (1 << sent.min(GREETING_DOUBLES));
        self.greetings -= 1;
        Due::Greeting
    }

    pub(super) fn deadline(&self, peer_gone: bool) -> Instant {
        let greet = if self.greetings > 0 { self.greet_at } else { Instant::FAR_FUTURE };
        // A peer that was given up is not given up again.
        if peer_gone || self.heard { greet } else { greet.min(self.silent_until) }
    }
}

/// Greetings: keepalives at the beginning of a flow until one of the peer answers. Unless a reader waits, the first is
/// sent so long after the beginning, the others after each other. The pause doubles, as often as said: the path may be
/// broken for a while, and a peer with nothing to say waits for nothing.
const GREETINGS: u8 = 16;
const GREETING_PAUSE: Duration = Duration::from_millis(250);
const GREETING_DOUBLES: u32 = 3;
/// For so long a greeting may come.
const GREETED_FOR: Duration = Duration::from_secs(60);
/// Bytes that the layers below add to a packet at least: they count against the allowance.
const BELOW: usize = 16;
