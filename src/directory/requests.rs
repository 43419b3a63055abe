//! Requests without an answer yet, and the times that answers take.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::base::timers::TimerId;
use crate::types::id::Address;
use crate::types::name::NameHash;

/// Time for which an answer is still taken: as long as the reference takes it.
pub(crate) const LIFETIME: Duration = Duration::from_secs(2);
/// Wait for an answer while none has ever come.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Contacts closest to the key.
    Node,
    /// Addresses of the name, or contacts closest to it.
    Value,
}

/// Reason for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The lookup of this kind for this key.
    Lookup,
    /// To find out who this is.
    Ping {
        /// It is the second of two tries.
        again: bool,
        /// It is as short as can be: it has not shown that it is there.
        short: bool,
    },
    /// To find out whether it has the name.
    Confirm {
        /// Claimed expiry; `None` if that is known.
        expires: Option<Instant>,
    },
    /// To get to know anybody.
    Join,
}

impl Reason {
    /// Returns `true` if the request goes to a member that may not have asked for it, and so has to be short.
    pub(super) fn is_short(self) -> bool {
        matches!(self, Self::Ping { short: true, .. } | Self::Confirm { .. })
    }
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) to: Address,
    pub(super) kind: Kind,
    pub(super) key: NameHash,
    pub(super) reason: Reason,
    /// Time at which it was sent.
    pub(super) asked: Instant,
    /// It has taken longer than answers take.
    pub(super) overdue: bool,
    /// There was no room for it to be as long as its answer.
    pub(super) squeezed: bool,
    /// Timer: when it is overdue, then when it cannot be answered any more.
    pub(super) timer: Option<TimerId>,
}

/// All requests under way, by their cookies. Each has one of its own, also when it is asked again.
#[derive(Debug)]
pub(super) struct Requests {
    open: BTreeMap<u64, Request>,
    limit: usize,
    times: AnswerTimes,
}

impl Requests {
    pub(super) fn new(limit: usize) -> Self {
        Self { open: BTreeMap::new(), limit, times: AnswerTimes::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Notes a request and makes a cookie for it, of eight bytes or fewer if it has to be short. `None` if there are
    /// too many.
    pub(super) fn ask(&mut self, rng: &mut Rng, request: Request) -> Option<u64> {
        if self.open.len() >= self.limit {
            return None;
        }
        // A number takes a byte for every seven bits: a short request must not be longer than a reference's, which may
        // have caused it.
        let bits = if request.reason.is_short() { SHORT_COOKIE } else { u64::BITS };
        let cookies = core::iter::repeat_with(|| signed(rng.u64() >> (u64::BITS - bits)));
        let cookie = cookies.into_iter().find(|cookie| !self.open.contains_key(cookie))?;
        self.open.insert(cookie, request);
        Some(cookie)
    }

    /// Makes room for one more request, if there is none and one is overdue: that one is given up for lost, the oldest
    /// first. Returns its timer.
    pub(super) fn make_room(&mut self) -> Option<TimerId> {
        if self.open.len() < self.limit {
            return None;
        }
        let overdue = self.open.iter().filter(|(_, request)| request.overdue);
        let oldest = overdue.min_by_key(|(_, request)| request.asked).map(|(cookie, _)| *cookie)?;
        self.open.remove(&oldest)?.timer
    }

    /// The request that an answer with this cookie, key and kind from this address answers. It answers no other.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        cookie: u64,
        from: Address,
        kind: Kind,
        key: &NameHash,
    ) -> Option<Request> {
        let request = self.open.get(&cookie)?;
        // The request stays open: a forged answer must not keep the true one out.
        if request.to != from || request.kind != kind || request.key != *key {
            return None;
        }
        // Each try has a cookie of its own, so that the time is always that of the try that was answered (RFC 6298, 3).
        self.times.sample(now.since(request.asked));
        self.open.remove(&cookie)
    }

    pub(super) fn get_mut(&mut self, cookie: u64) -> Option<&mut Request> {
        self.open.get_mut(&cookie)
    }

    /// Forgets a request.
    pub(super) fn remove(&mut self, cookie: u64) {
        self.open.remove(&cookie);
    }

    /// Returns `true` if a request to this member had no room to be as long as its answer.
    pub(super) fn is_squeezed(&self, address: Address) -> bool {
        self.open.values().any(|request| request.to == address && request.squeezed)
    }

    /// Takes out one of the requests to a member that cannot be reached.
    pub(super) fn take_to(&mut self, address: Address) -> Option<Request> {
        let cookie = self.open.iter().find(|(_, request)| request.to == address).map(|(cookie, _)| *cookie)?;
        self.open.remove(&cookie)
    }

    /// Wait for an answer before asking again, after so many tries before this one.
    pub(super) fn patience(&self, tries: u8) -> Duration {
        self.times.patience().saturating_mul(1 << tries.min(8)).min(LIFETIME / 2)
    }
}

/// Smoothed time until an answer comes, and how much it varies (RFC 6298).
#[derive(Debug, Default)]
struct AnswerTimes {
    smoothed: Option<Duration>,
    varies: Duration,
}

impl AnswerTimes {
    fn sample(&mut self, took: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(took);
            self.varies = took / 2;
            return;
        };
        self.varies = (self.varies * 3 + smoothed.abs_diff(took)) / 4;
        self.smoothed = Some((smoothed * 7 + took) / 8);
    }

    fn patience(&self) -> Duration {
        let wait = self.smoothed.map_or(FIRST_WAIT, |smoothed| smoothed + self.varies * 4);
        wait.clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }
}

const SIGNATURE: u32 = 16;
/// Bits of a short cookie: one of the reference's is hardly ever shorter.
pub(super) const SHORT_COOKIE: u32 = 56;

/// A cookie, from random bits, by which this implementation knows its kind: the last 16 bits follow from the others.
///
/// To others it is as random as any. A member of this kind learns from it that the requester looks up iteratively, so
/// that nothing has to be looked up for it.
pub(super) fn signed(random: u64) -> u64 {
    let secret = random >> SIGNATURE;
    // Never 0, which the reference never sends.
    secret.max(1) << SIGNATURE | signature(secret.max(1))
}

/// Returns `true` if a cookie was made by [`signed`].
pub(super) fn is_signed(cookie: u64) -> bool {
    let secret = cookie >> SIGNATURE;
    secret != 0 && cookie == secret << SIGNATURE | signature(secret)
}

fn signature(secret: u64) -> u64 {
    // Fibonacci hashing: the high bits of the product depend on all bits.
    (secret ^ 0x6f37_7300_6469_7200).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SIGNATURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_cookies_are_signed() {
        let mut rng = Rng::from_seed([3; 32]);
        assert!((0..1000).all(|_| is_signed(signed(rng.u64()))));
        assert!(is_signed(signed(0)) && !is_signed(0));
        let hits = (0..1_000_000).filter(|_| is_signed(rng.u64())).count();
        assert!((3..50).contains(&hits), "{hits}: about one in 65 536");
    }

    #[test]
    fn waits_adapt_to_answer_times() {
        let mut times = AnswerTimes::default();
        assert_eq!(times.patience(), FIRST_WAIT);
        for _ in 0..50 {
            times.sample(Duration::from_millis(1));
        }
        assert_eq!(times.patience(), SHORTEST_WAIT);
        for _ in 0..50 {
            times.sample(Duration::from_millis(80));
        }
        assert!((80..200).contains(&times.patience().as_millis()), "{:?}", times.patience());
    }
}
