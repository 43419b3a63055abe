//! The first look at a request: what can be said of it without remembering or computing anything, and who is told.

use alloc::boxed::Box;
use core::fmt::{self, Display};

use super::{Names, Screened};
use crate::base::journal::record;
use crate::base::sync::Ordering;
use crate::base::time::Instant;
use crate::crypto::certificate::Date;
use crate::ipcp::{Incoming, Responder};
use crate::node::answered::Nothing;
use crate::oap::server::Request;
use crate::oap::{OapError, SecurityConfig};
use crate::types::code::Code;
use crate::types::name::Name;

impl Names {
    /// The checks that need no memory: form, time, and whether the settings of the name allow it, as far as that shows without
    /// computing anything. They are the same for a name that is not here, by the settings of those without any of their own: so
    /// that a refusal does not tell which names there are.
    pub(super) fn examine(&self, now: Instant, name: Option<&Name>, request: Incoming) -> Option<Incoming> {
        let unix = self.shared.env.clock.unix_nanos();
        let is_timely = Request::check_time(unix, &request.data, &self.replay.lock());
        match is_timely.and_then(|()| self.on_security(name, |config| Request::check_terms(&request.data, config))) {
            Ok(()) => Some(request),
            Err(why) => {
                let hash = request.dst;
                let name: &dyn Display = name.map_or(&hash, |name| name);
                self.refuse(now, name, request, why);
                None
            }
        }
    }

    /// Calls `f` with the settings of the server of a name. `f` must not call out.
    fn on_security<R>(&self, name: Option<&Name>, f: impl FnOnce(&SecurityConfig) -> R) -> R {
        if let Some(name) = name.filter(|_| self.own_security.load(Ordering::Acquire)) {
            let irm = self.irm.lock();
            if let Some(own) = irm.security(name) {
                return f(&own.server);
            }
        }
        f(&self.security.read().server)
    }

    /// Refuses a request for what is wrong with it.
    pub(super) fn refuse(&self, now: Instant, name: &dyn Display, request: Incoming, why: OapError) {
        if matches!(why, OapError::Replayed | OapError::BeforeStart { .. }) {
            self.ignore_copy(now, name, request, why);
            return;
        }
        let counters = &self.shared.counters;
        let is_stale = matches!(why, OapError::Stale { .. });
        let counter = if is_stale { &counters.stale } else { &counters.bad_oap };
        counter.count();
        if !self.is_answered(now, &request) {
            self.ignore(now, request);
            return;
        }
        let mut code = Code::from_response(why.refusal_code());
        if is_stale {
            let (theirs, ours) = (Request::peek_timestamp(&request.data), self.shared.env.clock.unix_nanos());
            self.note_refusal(&name, request.from, Clocks { theirs, ours, why });
            // A reference is told what its own kind would tell it.
            if Request::peek_is_o7s(&request.data) {
                code = Code::TIME;
            }
        } else {
            self.note_refusal(&name, request.from, why);
        }
        request.responder.refuse(now, code);
    }

    /// Does not answer a copy of a request that was here before: that would hit the flow that came of it. Or it may be one:
    /// whoever made it, with a clock that is behind, asks again.
    fn ignore_copy(&self, now: Instant, name: &dyn Display, request: Incoming, why: OapError) {
        self.shared.counters.replayed.count();
        let peer = request.from;
        record!(
            self.shared.panics(),
            Repeated,
            Debug,
            [name = name, peer = peer, reason = why],
            "request from {peer} ignored: {why}"
        );
        request.responder.resend(now, &Nothing);
    }

    /// Returns `true` if the host of a request that is refused is told so.
    pub(super) fn is_answered(&self, now: Instant, request: &Incoming) -> bool {
        request.host().is_none_or(|host| self.patience.lock().fault(now, host))
    }

    /// Refuses a request for which there is no room at the moment. A requester of this library is told how it can show that it
    /// is where it says, and comes before those who do not.
    pub(super) fn refuse_for_now(&self, now: Instant, request: Screened) {
        let Screened { incoming, oap, .. } = request;
        self.refuse_asking(now, incoming.peer, oap.is_o7s(), incoming.responder);
    }

    /// The same of `peer`, of this library or not.
    pub(in crate::node) fn refuse_asking(&self, now: Instant, peer: u64, is_o7s: bool, responder: Box<dyn Responder>) {
        if responder.asks_proof() && is_o7s {
            let proof = self.proofs.make(now, peer);
            responder.refuse_asking(now, Code::AGAIN, &proof);
        } else {
            responder.refuse(now, Code::AGAIN);
        }
    }

    /// Does not answer a request.
    pub(super) fn ignore(&self, now: Instant, request: Incoming) -> Option<Incoming> {
        self.shared.counters.ignored.count();
        request.responder.resend(now, &Nothing);
        None
    }
}

/// Prints both clocks of a request that was refused for its time.
struct Clocks {
    theirs: u64,
    ours: u64,
    why: OapError,
}

/// No clock is set that shows an earlier time, seconds since 1970: 2024.
const CLOCKS_ARE_SET: u64 = 1_704_067_200;

impl Display for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (theirs, ours) = (Date::from_unix_nanos(self.theirs), Date::from_unix_nanos(self.ours));
        write!(f, "{}; it is of {theirs}, and here it is {ours}", self.why)?;
        match (theirs.as_unix() < CLOCKS_ARE_SET, ours.as_unix() < CLOCKS_ARE_SET) {
            (_, true) => f.write_str(": the clock of this host is not set"),
            (true, false) => f.write_str(": the clock of its sender is not set"),
            (false, false) => Ok(()),
        }
    }
}
