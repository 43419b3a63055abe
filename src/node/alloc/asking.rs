//! Asking one place after the other, and what becomes of the answers.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Context;
use core::time::Duration;

use super::places::{Next, Places, Target};
use super::{AllocError, Allocated, Allocation, Phase, complete};
use crate::base::backoff::Backoff;
use crate::base::foreign::Causes;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::ipcp::connect::STEP_TIMEOUT;
use crate::ipcp::{Answer, Attempt, Doubt, Ipcp, Location, Reply, Request, RequestError};
use crate::node::Node;
use crate::oap::client::Client;
use crate::oap::{OapError, Proof};
use crate::types::code::Code;
use crate::types::name::Name;

/// Requests under way for one allocation; beyond it the oldest is withdrawn.
const MAX_TRIES: usize = 32;

/// Time of silence after which one more place is asked, and again after as much.
const STAGGER: Duration = Duration::from_millis(250);
const SHORTEST_STAGGER: Duration = Duration::from_millis(5);

/// A layer that is looking for the name is asked so often, once nothing else is waited for: it wakes a bounded number of tasks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Requests are repeated no faster than this, whatever the node's limits say.
const SHORTEST_RETRY: Duration = Duration::from_millis(10);

/// Garbled replies have the request repeated at once, with the usual doubled wait until the next time, up to this one.
const GARBLED_LIMIT: Duration = Duration::from_secs(10);

/// Longest time for a refusal with "try again" to count as that of a busy peer; a request that waited for an acceptor
/// in vain is refused later.
const BUSY: Duration = Duration::from_millis(500);
/// The pause after such a refusal, and the longest after several.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// State of an allocation.
pub(super) struct Asking {
    pub(super) places: Places,
    /// All are pending; the first positive answer wins.
    pub(super) tries: Vec<Try>,
    /// Client of the attempt refused last: the next attempt has the same id.
    pub(super) client: Option<Client>,
    pub(super) next_token: u64,
    /// Time until which a place is waited for that is better than another that is known, or than to fail: it is asked as soon
    /// as it is found. While nothing is known, there is no end to that but the allocation's.
    pub(super) wants: Option<Instant>,
    /// Time of the next repetition to silent places.
    pub(super) next_retry: Instant,
    /// Time at which another place is asked beside the silent ones.
    pub(super) widen: Option<Instant>,
    pub(super) backoff: Duration,
    /// Pauses before a busy place is asked again; set if one has refused because it is busy.
    pub(super) busy: Option<Backoff>,
    /// Reason of the failure if no other place accepts.
    pub(super) failure: Option<AllocError>,
    /// Places that are asked with the second key exchange.
    pub(super) fallen_back: Vec<(Arc<dyn Ipcp>, Location)>,
    /// What places without room want to be shown, the latest last.
    pub(super) proofs: Vec<(Arc<dyn Ipcp>, Location, Proof)>,
}

impl Asking {
    /// An endpoint for a request. If there is no room, the oldest request makes room: mostly the one that is repeated.
    fn new_endpoint(&mut self, node: &Node) -> Result<Arc<Endpoint>, AllocError> {
        let mut made = node.new_endpoint();
        if made.is_none() && !self.tries.is_empty() {
            self.tries.remove(0).withdraw();
            made = node.new_endpoint();
        }
        made.ok_or(AllocError::TooManyFlows)
    }
}

pub(super) struct Try {
    pub(super) token: u64,
    pub(super) ipcp: Arc<dyn Ipcp>,
    pub(super) at: Location,
    /// Time at which it was sent.
    pub(super) asked: Instant,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) client: Client,
    /// Withdraws the request when dropped.
    pub(super) attempt: Box<dyn Attempt>,
}

impl Allocation {
    pub(super) fn begin(&self, now: Instant) -> Asking {
        Asking {
            places: Places::new(&self.node, &self.wanted),
            tries: Vec::new(),
            client: None,
            next_token: 0,
            wants: Some(now + self.node.shared.limits.lookup_timeout),
            next_retry: Instant::FAR_FUTURE,
            widen: None,
            backoff: self.node.shared.limits.retry.max(SHORTEST_RETRY),
            busy: None,
            failure: None,
            fallen_back: Vec::new(),
            proofs: Vec::new(),
        }
    }

    /// Asks the places that are to be asked now.
    pub(super) fn go_on(&mut self, now: Instant, cx: &Context<'_>) -> Result<(), AllocError> {
        let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
        if asking.next_retry <= now {
            self.repeat(now, cx)?;
        }
        loop {
            let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
            let (until, beside) = (asking.wants, asking.widen.is_some_and(|at| at <= now));
            if until.is_none() && !beside {
                break;
            }
            let stagger = Some(now + stagger(self.deadline.since(now)));
            match asking.places.next(now, until, &self.node, &self.wanted, cx) {
                Next::Ask(target) => {
                    asking.widen = None;
                    self.ask(now, &target)?;
                    let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
                    if beside {
                        asking.widen = stagger;
                    }
                }
                Next::Look if until.is_none_or(|until| now < until) || asking.knows_nothing() => {
                    asking.widen = if until.is_none() { stagger } else { None };
                    break;
                }
                Next::Look | Next::None => {
                    (asking.wants, asking.widen) = (None, None);
                    if asking.tries.is_empty() && !asking.places.are_hopeful() {
                        let failure = asking.failure.take();
                        return Err(failure.unwrap_or_else(|| AllocError::Unreachable(self.wanted.name.clone())));
                    }
                    break;
                }
            }
        }
        let Phase::Asking(asking) = &self.phase else { return Ok(()) };
        // What is waited for beyond its time wakes the task, unless too many wait for it, or it is known by another way.
        let wants = asking.wants.map(|until| if now < until { until } else { now + LOOK_AGAIN });
        let next = [Some(asking.next_retry), asking.widen, wants].into_iter().flatten().min();
        self.sleep.set(next.map_or(self.deadline, |next| next.min(self.deadline)), cx.waker());
        Ok(())
    }

    /// Asks at a place. One that cannot be asked has the next one asked at once.
    pub(super) fn ask(&mut self, now: Instant, target: &Target) -> Result<(), AllocError> {
        let (ipcp, at) = (&target.ipcp, target.at);
        // In memory nothing gets lost.
        let lossy = is_lossy(&**ipcp);
        let mut asked = self.send(now, target);
        if matches!(asked, Err(AllocError::Layer(RequestError::Full))) && self.node.late.make_room() {
            asked = self.send(now, target);
        }
        if matches!(asked, Err(AllocError::Layer(RequestError::TooLarge { .. }))) && self.fall_back(ipcp, at) {
            asked = self.send(now, target);
        }
        let left = self.deadline.since(now);
        let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
        match asked {
            Ok(sent) => {
                if sent {
                    asking.wants = None;
                }
                if lossy {
                    asking.next_retry = asking.next_retry.min(now + asking.backoff);
                    asking.widen = Some(now + asking.backoff.min(left / 2));
                }
            }
            Err(AllocError::Layer(e)) => {
                let name = &self.wanted.name;
                record!(
                    self.node.panics(),
                    Asking,
                    Debug,
                    [name = name, peer = at, reason = e],
                    "request for a flow to {name:?} could not be sent to {at}, asking elsewhere: {e}"
                );
                let layer = matches!(e, RequestError::Full | RequestError::TooLarge { .. } | RequestError::Down);
                asking.places.failed(ipcp, (!layer).then_some(at));
                asking.fail(AllocError::Layer(e));
                asking.want(now + self.node.shared.limits.lookup_timeout);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Sends a request, with a fresh key, time stamp and EID, because the reference takes the same one for a replay and
    /// refuses it at the EID of the open flow, but with the same OAP id, by which a peer of our own kind knows it for a
    /// repetition and sends its reply again. `false` if it is as good as lost.
    fn send(&mut self, now: Instant, target: &Target) -> Result<bool, AllocError> {
        let Target { ipcp, at, hash } = target;
        let unix = self.node.shared.env.clock.unix_nanos();
        let security = self.security_at(target);
        let mut rng = self.node.shared.split_randomness("oap");
        let Phase::Asking(asking) = &mut self.phase else { return Ok(false) };
        let in_memory = !is_lossy(&**ipcp);
        // One that was sent in memory says nothing of itself.
        // The place itself comes first: what was shown to another is part of another id.
        let here = asking.tries.iter().rev().filter(|t| t.is_at(ipcp, *at)).map(|t| &t.client);
        let elsewhere = asking.tries.iter().rev().map(|t| &t.client).chain(&asking.client);
        let before = here.chain(elsewhere).find(|c| !c.knows_server());
        let (client, data) = match before {
            _ if in_memory => {
                let terms = (self.node.flows.granted(self.wanted.qos.timeout), self.node.flows.message());
                Client::start_known(unix, &security, &self.wanted.data, terms, &mut rng)?
            }
            Some(before) => {
                let wait = self.deadline.since(now);
                let mut proofs = asking.proofs.iter();
                let proof =
                    proofs.find(|(of, place, _)| place == at && Arc::ptr_eq(of, ipcp)).map(|(.., proof)| *proof);
                before.again_with(unix, &security, &self.wanted.data, wait, proof, &mut rng)?
            }
            None => {
                let (wait, message) = (Some(self.deadline.since(now)), self.node.flows.message());
                Client::start_within(unix, &security, &self.wanted.data, wait, message, &mut rng)?
            }
        };
        let client = client.with_qos(&self.wanted.qos).with_name(&self.wanted.name);
        let endpoint = asking.new_endpoint(&self.node)?;
        let token = asking.next_token;
        asking.next_token += 1;
        let request = Request {
            dst: *hash,
            at: *at,
            qos: self.wanted.qos,
            endpoint: &endpoint,
            answer: Arc::clone(&self.answers) as Arc<dyn Answer>,
            token,
            data: &data,
        };
        match ipcp.request(now, request) {
            Ok(attempt) => {
                if asking.tries.len() >= MAX_TRIES {
                    asking.tries.remove(0).withdraw();
                }
                let sent = attempt.is_sent();
                let ipcp = Arc::clone(ipcp);
                asking.tries.push(Try { token, ipcp, at: *at, asked: now, endpoint, client, attempt });
                Ok(sent)
            }
            Err(e) => {
                asking.client = Some(client);
                endpoint.abort();
                Err(e.into())
            }
        }
    }

    /// Time is over.
    pub(super) fn out_of_time(&mut self, now: Instant) -> AllocError {
        let timed_out = AllocError::TimedOut(self.wanted.name.clone());
        let busy = self.refusal(Code::AGAIN);
        let Phase::Asking(asking) = &mut self.phase else { return timed_out };
        for silent in &asking.tries {
            silent.doubt(now, &self.wanted.name, Doubt::Silent);
        }
        match asking.failure.take() {
            None if asking.places.are_none() => AllocError::Unreachable(self.wanted.name.clone()),
            None if asking.knows_nothing() => AllocError::LookupTimedOut(self.wanted.name.clone()),
            _ if asking.busy.is_some() => busy,
            Some(failure) if asking.tries.is_empty() => failure,
            _ => timed_out,
        }
    }

    /// `None` if the answer does not end the allocation.
    pub(super) fn take_answer(
        &mut self,
        now: Instant,
        token: u64,
        reply: Reply,
    ) -> Option<Result<Allocated, AllocError>> {
        let Phase::Asking(asking) = &mut self.phase else { return None };
        let at = asking.tries.iter().position(|t| t.token == token)?;
        let port = match reply.result {
            Ok(port) => port,
            Err(code) => {
                self.refused(now, at, code, reply.data.first_chunk().copied());
                return None;
            }
        };
        // Damaged on its way, or not from the peer at all: as good as lost, so ask again. What the peer really says may
        // be unacceptable too, but then asking again does not help.
        let garbled = |e: OapError| matches!(e, OapError::Wire(_) | OapError::OtherRequest | OapError::RequestHash);
        let is_garbled = |t: &Try| is_lossy(&*t.ipcp) && t.client.check(&reply.data).is_err_and(garbled);
        if is_garbled(asking.tries.get(at)?) && asking.backoff < GARBLED_LIMIT {
            asking.next_retry = now;
            return None;
        }
        let chosen = asking.tries.remove(at);
        let (ipcp, place) = (Arc::clone(&chosen.ipcp), chosen.at);
        // The answer may be to a repetition: a peer of our own kind sends to the first request what it has said to it before.
        let later = asking.tries.iter().filter(|t| t.is_at(&ipcp, place) && t.asked >= chosen.asked).map(|t| t.asked);
        self.round_trip = round_trip(now, later.chain([chosen.asked]));
        match complete(&self.node, self.wanted.terms(), now, chosen, port, &reply.data) {
            Ok(flow) => {
                flow.note("allocated", &self.wanted.name, place);
                // The other requests to the place were repetitions.
                let Phase::Asking(asking) = &mut self.phase else { return Some(Ok(flow)) };
                asking.tries.extract_if(.., |t| t.is_at(&ipcp, place)).for_each(|t| drop(t.withdraw()));
                Some(Ok(flow))
            }
            Err(e @ AllocError::Security(_)) => {
                self.refuse_reply(now, &ipcp, place, e);
                None
            }
            Err(e) => Some(Err(e)),
        }
    }

    /// The peer is not the one with the name. Another place may be.
    fn refuse_reply(&mut self, now: Instant, ipcp: &Arc<dyn Ipcp>, place: Location, why: AllocError) {
        let Phase::Asking(asking) = &mut self.phase else { return };
        let (name, reason) = (&self.wanted.name, Causes(&why));
        record!(
            self.node.panics(),
            Asking,
            Warn,
            [name = name, peer = place, reason = reason],
            "reply of {place} to a request for {name:?} refused, asking elsewhere: {reason}"
        );
        asking.places.failed(ipcp, Some(place));
        asking.fail(why);
        asking.want(now + self.node.shared.limits.lookup_timeout);
    }

    /// Handles the refusal of a place, which may want to be shown something.
    fn refused(&mut self, now: Instant, at: usize, code: Code, proof: Option<Proof>) {
        let why = self.refusal(code);
        let Phase::Asking(asking) = &mut self.phase else { return };
        let refused = asking.tries.remove(at);
        let (name, place) = (&self.wanted.name, refused.at);
        record!(
            self.node.panics(),
            Asking,
            Debug,
            [name = name, peer = place, reason = code],
            "flow to {name:?} refused by {place}: {code}"
        );
        // What was said to one request does not count while another is under way, which may be accepted. But neither one that
        // is lost keeps a place from being asked with another exchange, or after a pause.
        let others = || asking.tries.iter().filter(|t| t.is_at(&refused.ipcp, refused.at));
        let (again, later) = (others().next().is_some(), others().any(|t| t.token > refused.token));
        let proof = proof.filter(|_| code == Code::AGAIN);
        let is_first = proof.is_some_and(|proof| asking.show(&refused.ipcp, place, proof));
        if !later && code == Code::AGAIN && (proof.is_some() || now.since(refused.asked) < BUSY) {
            let backoff = asking.busy.get_or_insert(Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
            // With what it wants to see, there may be room at once.
            let pause = if is_first { Duration::ZERO } else { backoff.failed(&mut self.node.split_rng("pause")) };
            // It answers, so nothing is lost that a longer wait would spare.
            asking.backoff = self.node.shared.limits.retry.max(SHORTEST_RETRY);
            asking.next_retry = now + pause;
        } else if !later && self.ask_again(now, &refused, code) {
            refused.withdraw();
            return;
        } else if !again {
            let Phase::Asking(asking) = &mut self.phase else { return };
            if code == Code::NAME {
                // It has gone elsewhere, and what is known of where it is is out of date.
                refused.doubt(now, &self.wanted.name, Doubt::Refused);
            }
            asking.places.failed(&refused.ipcp, Some(refused.at));
            asking.fail(why);
            asking.want(now + self.node.shared.limits.lookup_timeout);
        }
        let Phase::Asking(asking) = &mut self.phase else { return };
        asking.client = Some(refused.withdraw());
    }

    /// Repeats the requests, which may have been lost like their replies, and asks another place a moment later: those
    /// asked so far may be gone.
    fn repeat(&mut self, now: Instant, cx: &Context<'_>) -> Result<(), AllocError> {
        let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
        let silent = !asking.tries.is_empty();
        for silent in &asking.tries {
            silent.doubt(now, &self.wanted.name, Doubt::Silent);
        }
        let mut again = asking.places.again(now, cx);
        // In memory nothing gets lost: only busy places are asked again.
        again.retain(|to| is_lossy(&*to.ipcp) || !asking.tries.iter().any(|t| Arc::ptr_eq(&t.ipcp, &to.ipcp)));
        asking.backoff = asking.backoff.saturating_mul(2);
        let lossy = again.is_empty() || again.iter().any(|to| is_lossy(&*to.ipcp));
        asking.next_retry = if lossy { now + asking.backoff } else { Instant::FAR_FUTURE };
        // A busy place has the name, and is there, unless it has fallen silent since.
        let widens = silent || asking.busy.is_none();
        asking.widen = widens.then(|| now + stagger(self.deadline.since(now)));
        for target in again {
            let (name, at) = (&self.wanted.name, target.at);
            record!(
                self.node.panics(),
                Asking,
                Debug,
                [name = name, peer = at],
                "request for a flow to {name:?} repeated at {at}"
            );
            // One that cannot be sent is a lost one.
            match self.send(now, &target) {
                Ok(_) => self.node.shared.counters.retried.count(),
                Err(AllocError::Layer(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Asking {
    /// Returns `true` if no place is known to have the name or to have had it, so that an allocation that ends now could only
    /// say that it did not find out.
    fn knows_nothing(&self) -> bool {
        self.tries.is_empty() && self.failure.is_none() && self.busy.is_none()
    }

    /// A place is to be shown this from now on. Returns `true` if it has not wanted anything before.
    fn show(&mut self, ipcp: &Arc<dyn Ipcp>, place: Location, proof: Proof) -> bool {
        let before = self.proofs.len();
        self.proofs.retain(|(of, other, _)| *other != place || !Arc::ptr_eq(of, ipcp));
        let is_first = self.proofs.len() == before;
        if self.proofs.len() >= MAX_TRIES {
            self.proofs.remove(0);
        }
        self.proofs.push((Arc::clone(ipcp), place, proof));
        is_first
    }

    /// Sets that another place is asked, for which layers may look until then.
    fn want(&mut self, until: Instant) {
        self.wants = Some(until);
    }

    /// A place failed. "Unknown name" is the least informative reason, and gives way to any other.
    pub(super) fn fail(&mut self, why: AllocError) {
        if self.failure.is_none() || !matches!(why, AllocError::Refused { code: Code::NAME, .. }) {
            self.failure = Some(why);
        }
    }
}

impl Try {
    pub(super) fn is_at(&self, ipcp: &Arc<dyn Ipcp>, at: Location) -> bool {
        self.at == at && Arc::ptr_eq(&self.ipcp, ipcp)
    }

    fn doubt(&self, now: Instant, name: &Name, why: Doubt) {
        self.ipcp.doubt(now, &self.ipcp.info().hash.hash(name), self.at, why);
    }

    /// Returns `false` if the request ends with its withdrawal, and nobody answers it any more.
    pub(super) fn may_be_answered(&self) -> bool {
        is_lossy(&*self.ipcp) && self.attempt.is_sent()
    }

    /// Withdraws the request.
    pub(super) fn withdraw(self) -> Client {
        drop(self.attempt);
        self.endpoint.abort();
        self.client
    }
}

/// The time from a request to its answer, which is to one of those asked at these times, it cannot be told which: to the
/// earliest on a path over which members can be connected. So it may be too long, but not too short, where requests are
/// repeated sooner than such a path needs.
fn round_trip(now: Instant, asked: impl Iterator<Item = Instant> + Clone) -> Duration {
    let possible = asked.clone().filter(|asked| now - *asked <= STEP_TIMEOUT).min();
    possible.or(asked.max()).map_or(Duration::ZERO, |asked| now - asked)
}

/// Between two places that are asked beside each other, when so much time is left: several fit in, and each is a pause.
fn stagger(left: Duration) -> Duration {
    (left / 4).clamp(SHORTEST_STAGGER, STAGGER)
}

/// Returns `true` if a request may get lost in a layer.
fn is_lossy(ipcp: &dyn Ipcp) -> bool {
    !ipcp.info().kind.is_in_memory()
}
