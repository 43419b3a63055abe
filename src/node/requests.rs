//! Requests for flows that come up from IPCPs, until somebody accepts them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Display;

use super::answered::Nothing;
use super::{Node, count};
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::ipcp::{Incoming, Location, Requests, Resend};
use crate::irm::{Caller, Calls, Refused};
use crate::oap::OapError;
use crate::oap::server::Request;
use crate::types::code::Code;
use crate::types::name::Name;

/// A request that has passed the checks that cost little.
pub struct Screened {
    pub(super) incoming: Incoming,
    pub(super) oap: Request,
}

/// Requests whose time is over that are refused in one go, before other timers get their turn.
const EXPIRED_AT_A_TIME: usize = 64;

impl Requests for Node {
    fn incoming(&self, now: Instant, request: Incoming) {
        count(&self.counters.incoming);
        let name = self.irm.lock().by_hash(request.hash, &request.dst).cloned();
        let Some(name) = name else {
            count(&self.counters.unknown_name);
            let (name, peer) = (request.dst, request.from);
            record!(
                self.panics(),
                Refused,
                Debug,
                [hash = name, peer = peer],
                "request for a flow from {peer} refused: nobody listens to the name with hash {name}"
            );
            request.responder.refuse(now, Code::NAME);
            return;
        };
        if let Some(request) = self.screen(now, &name, request) {
            self.place(now, &name, request);
        }
    }
}

impl Node {
    /// Gives a request to somebody who accepts flows to `name`, or has it wait for one.
    pub(super) fn place(&self, now: Instant, name: &Name, request: Screened) {
        let mut calls = Calls::default();
        let caller = Caller {
            peer: request.incoming.peer,
            id: Some(request.oap.id()),
            wait: request.oap.wait(),
            bytes: request.oap.size(),
            withdrawn: request.incoming.withdrawn.clone(),
        };
        let placed = self.irm.lock().place(now, name, request, caller, &mut calls);
        self.perform(calls);
        match placed {
            Ok(placed) => {
                if let Some(earlier) = placed.repeated {
                    // Its requester still waits: for the answer to the later one as well.
                    earlier.incoming.responder.resend(now, &Nothing);
                }
                for request in placed.shed {
                    if !request.incoming.is_withdrawn() {
                        count(&self.counters.backlog_full);
                    }
                    request.incoming.responder.refuse(now, Code::AGAIN);
                }
            }
            Err(Refused::Unknown(request)) => {
                count(&self.counters.unknown_name);
                self.note_refusal(name, request.incoming.from, "nobody listens to the name any more");
                request.incoming.responder.refuse(now, Code::NAME);
            }
            Err(Refused::Full(request)) => {
                count(&self.counters.backlog_full);
                self.note_refusal(name, request.incoming.from, "the backlog of the name is full");
                request.incoming.responder.refuse(now, Code::AGAIN);
            }
        }
    }

    /// The checks that cost little and come before any state: form, time window, replay. A request that repeats one
    /// that was answered has the answer sent again instead.
    pub(super) fn screen(&self, now: Instant, name: &Name, mut request: Incoming) -> Option<Screened> {
        let unix = self.env.clock.unix_nanos();
        let checked = Request::check(unix, core::mem::take(&mut request.data), &mut self.replay.lock());
        let oap = match checked {
            Ok(oap) => oap,
            Err(OapError::Replayed) => {
                // A copy of a datagram that was here before. Answering it would hit the flow that came of it.
                count(&self.counters.replayed);
                let peer = request.from;
                record!(
                    self.panics(),
                    Repeated,
                    Debug,
                    [name = name, peer = peer],
                    "copy of a request from {peer} ignored"
                );
                request.responder.resend(now, &Nothing);
                return None;
            }
            Err(e) => {
                count(&self.counters.bad_oap);
                self.note_refusal(name, request.from, e);
                request.responder.refuse(now, Code::from_response(e.refusal_code()));
                return None;
            }
        };
        let received = request.origin.map(|origin| origin.received);
        let again = self.answered.lock().get(now, request.peer, oap.id(), received);
        match again {
            Some(reply) => {
                count(&self.counters.resent);
                let peer = request.from;
                record!(
                    self.panics(),
                    Repeated,
                    Debug,
                    [name = name, peer = peer],
                    "reply to {peer} sent again: request repeated"
                );
                request.responder.resend(now, &*reply);
                None
            }
            None => Some(Screened { incoming: request, oap }),
        }
    }

    /// Says why a request is refused.
    pub(super) fn note_refusal(&self, name: &Name, peer: Location, why: impl Display) {
        record!(
            self.panics(),
            Refused,
            Warn,
            [name = name, peer = peer, reason = why],
            "request for a flow to {name:?} from {peer} refused: {why}"
        );
    }

    /// Remembers a reply that can be sent again.
    pub(super) fn remember_reply(&self, now: Instant, peer: u64, id: [u8; 16], reply: Arc<dyn Resend>, size: usize) {
        let outdated = self.answered.lock().insert(now, self.limits.resend, (peer, id), reply, size);
        drop(outdated);
    }

    pub(super) fn expire_requests(&self, now: Instant) {
        let mut calls = Calls::default();
        let late = self.irm.lock().expire(now, EXPIRED_AT_A_TIME, &mut calls);
        self.perform(calls);
        for request in late {
            count(&self.counters.not_accepted);
            let peer = request.incoming.from;
            record!(
                self.panics(),
                Refused,
                Warn,
                [peer = peer],
                "request for a flow from {peer} refused: no listener accepted it in time"
            );
            if request.oap.wait().is_some_and(|wait| wait <= self.limits.irm.accept_wait) {
                // Its requester gives up at the same moment, and knows why better than from a refusal.
                request.incoming.responder.resend(now, &Nothing);
            } else {
                request.incoming.responder.refuse(now, Code::AGAIN);
            }
        }
    }

    /// Refuses requests that nobody will accept.
    pub fn refuse_all(&self, requests: Vec<Screened>, code: Code) {
        let now = self.env.clock.now();
        for request in requests {
            request.incoming.responder.refuse(now, code);
        }
    }

    /// Does what the IRM wants done outside of its lock. A factory that panics has started nobody: the request waits for
    /// somebody else.
    pub(super) fn perform(&self, calls: Calls) {
        if let Some(due) = calls.due {
            self.timers.arm_expiry(due);
        }
        let panics = &self.env.panics;
        panics.wake_all(calls.wake);
        for (watcher, token, event) in calls.tell {
            panics.call(|| watcher.notify(token, event));
            panics.discard(watcher);
        }
        for factory in calls.start {
            panics.call(|| factory.start());
            panics.discard(factory);
        }
    }
}
