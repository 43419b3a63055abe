//! Layers that are left while a flow of theirs comes about.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use alloc::vec::Vec;

use super::local::LocalIpcp;
use super::shim::Ends;
use super::*;
use crate::base::buf::BufPool;
use crate::base::sync::Mutex;
use crate::base::time::ManualClock;
use crate::flow::{Env, FlowKey, Host, State};
use crate::types::code::Code;
use crate::types::name::Name;
use crate::types::qos::QosSpec;

struct NoHost;

impl Host for NoHost {
    fn arm(&self, _: Instant, _: FlowKey) {}

    fn tick(&self, _: FlowKey) {}

    fn released(&self, _: FlowKey) {}
}

/// An endpoint of a flow that is being allocated.
fn endpoint() -> Arc<Endpoint> {
    let env = Env {
        clock: Arc::new(ManualClock::new(0)),
        pool: BufPool::new(8),
        host: Arc::new(NoHost),
        panics: Arc::default(),
        inline: true,
    };
    Endpoint::new(1, &Arc::new(env))
}

/// Keeps what was answered: the token, and why there is no flow.
#[derive(Default)]
struct Answers(Mutex<Vec<(u64, Option<Code>)>>);

impl Answers {
    fn taken(&self) -> Vec<(u64, Option<Code>)> {
        core::mem::take(&mut *self.0.lock())
    }
}

impl Answer for Answers {
    fn answered(&self, token: u64, reply: Reply) {
        self.0.lock().push((token, reply.result.err()));
    }
}

fn hash() -> NameHash {
    HashAlg::Sha3_256.hash(&Name::new("echo").unwrap())
}

/// A request with the token 7.
fn request<'a>(endpoint: &'a Arc<Endpoint>, answers: &Arc<Answers>) -> Request<'a> {
    Request {
        dst: hash(),
        at: Location::Here,
        qos: QosSpec::RAW,
        endpoint,
        answer: Arc::clone(answers) as Arc<dyn Answer>,
        token: 7,
        data: &[],
    }
}

// ----- layers with a table of flows -----

#[test]
fn a_flow_accepted_while_its_layer_is_left_is_refused() {
    let (ends, endpoint) = (Ends::new(10), endpoint());
    // Left between the look at the table and the entry in it.
    let leaves = || {
        ends.give_up(Instant::ZERO);
        3
    };
    assert_eq!(ends.accept(&endpoint, 1u64, leaves), Err((Code::IPCPSTATE, RequestError::Down)));
    assert!(ends.is_empty() && ends.get(3).is_none());
    assert_eq!(ends.accept(&endpoint, 1, || unreachable!()), Err((Code::IPCPSTATE, RequestError::Down)));
}

#[test]
fn a_flow_accepted_before_its_layer_is_left_goes_down_with_it() {
    let (ends, endpoint) = (Ends::new(10), endpoint());
    assert_eq!(ends.accept(&endpoint, 1u64, || 3), Ok(3));
    ends.give_up(Instant::ZERO);
    assert_eq!(endpoint.state(), State::Released, "whoever is about to have it finds it over");
}

#[test]
fn a_request_made_while_its_layer_is_left_fails() {
    let (ends, endpoint, answers) = (Ends::new(10), endpoint(), Arc::new(Answers::default()));
    let leaves = || {
        ends.give_up(Instant::ZERO);
        3
    };
    let asked = ends.ask(&request(&endpoint, &answers), 1u64, leaves).map(|asking| asking.id());
    assert_eq!(asked, Err(RequestError::Down));
    assert!(ends.is_empty());
    assert_eq!(answers.taken(), [], "the error says it all");
}

#[test]
fn a_request_under_way_is_answered_when_its_layer_is_left_and_forgotten() {
    let (ends, endpoint, answers) = (Ends::new(10), endpoint(), Arc::new(Answers::default()));
    let asking = ends.ask(&request(&endpoint, &answers), 1u64, || 3).map_err(|_| ()).unwrap();
    ends.give_up(Instant::ZERO);
    assert_eq!(answers.taken(), [(7, Some(Code::IPCPSTATE))]);
    drop(asking);
    assert!(ends.is_empty(), "there is nothing left to release");
}

#[test]
fn a_full_table_of_flows_says_so() {
    let (ends, endpoint, answers) = (Ends::new(1), endpoint(), Arc::new(Answers::default()));
    assert_eq!(ends.accept(&endpoint, 1u64, || 3), Ok(3));
    assert_eq!(ends.accept(&endpoint, 1, || 4), Err((Code::NOMEM, RequestError::Full)));
    let asked = ends.ask(&request(&endpoint, &answers), 1, || 5).map(|asking| asking.id());
    assert_eq!(asked, Err(RequestError::Full));
}

// ----- layers in memory -----

/// Keeps the requests that arrive.
#[derive(Default)]
struct Inbox(Mutex<Vec<Incoming>>);

impl Requests for Inbox {
    fn incoming(&self, _: Instant, request: Incoming) {
        self.0.lock().push(request);
    }
}

/// A local layer, and where its requests arrive.
fn local() -> (Arc<LocalIpcp>, Arc<Inbox>) {
    let inbox = Arc::new(Inbox::default());
    let requests: Arc<dyn Requests> = Arc::clone(&inbox) as _;
    let layer = LocalIpcp::new(Info::new(Kind::Local, "local", "local"), Arc::downgrade(&requests));
    layer.register(Instant::ZERO, hash()).unwrap();
    (layer, inbox)
}

#[test]
fn a_request_that_waits_in_a_local_layer_is_refused_once_the_layer_is_left() {
    let ((layer, inbox), answers) = (local(), Arc::new(Answers::default()));
    let (asking, accepting) = (endpoint(), endpoint());
    let attempt = layer.request(Instant::ZERO, request(&asking, &answers)).map_err(|_| ()).unwrap();
    let waiting = inbox.0.lock().pop().unwrap();
    layer.shutdown(Instant::ZERO);
    let accepted = waiting.responder.accept(Instant::ZERO, &accepting, &[]).map(drop);
    assert_eq!(accepted, Err(RequestError::Down));
    assert_eq!(answers.taken(), [(7, Some(Code::IPCPSTATE))]);
    drop(attempt);
}

#[test]
fn a_local_layer_that_is_left_takes_no_requests() {
    let ((layer, inbox), answers, asking) = (local(), Arc::new(Answers::default()), endpoint());
    layer.shutdown(Instant::ZERO);
    assert_eq!(layer.request(Instant::ZERO, request(&asking, &answers)).map(drop), Err(RequestError::Down));
    assert!(inbox.0.lock().is_empty());
}

#[test]
fn a_flow_accepted_in_a_local_layer_goes_on_without_it() {
    let ((layer, inbox), answers) = (local(), Arc::new(Answers::default()));
    let (asking, accepting) = (endpoint(), endpoint());
    let _attempt = layer.request(Instant::ZERO, request(&asking, &answers)).map_err(|_| ()).unwrap();
    let waiting = inbox.0.lock().pop().unwrap();
    let accepted = waiting.responder.accept(Instant::ZERO, &accepting, &[]).map_err(|_| ()).unwrap();
    layer.shutdown(Instant::ZERO);
    accepted.reply.send(Instant::ZERO);
    assert_eq!(answers.taken(), [(7, None)]);
}

#[test]
fn the_properties_of_a_custom_layer_are_what_they_are_set_to_and_nothing_else_changes() {
    let shown = |info: &Info| format!("{info:?}");
    let info = || Info::new(Kind::Custom("serial"), "serial-0", "field bus");
    let default = info();
    assert_eq!((default.kind, &*default.name, &*default.layer), (Kind::Custom("serial"), "serial-0", "field bus"));
    assert_eq!((default.hash, default.mpl), (HashAlg::Sha3_256, Duration::from_secs(5)), "as documented");
    assert_eq!((default.congestible, default.window), (true, 32_768), "as documented");
    let (hash, mpl) = (HashAlg::Sha3_512, Duration::from_millis(7));
    for (set, expected) in [
        (info().hash(hash), Info { hash, ..info() }),
        (info().mpl(mpl), Info { mpl, ..info() }),
        (info().congestible(false), Info { congestible: false, ..info() }),
        (info().window(9), Info { window: 9, ..info() }),
    ] {
        assert_eq!(shown(&set), shown(&expected));
        assert_ne!(shown(&set), shown(&default));
    }
}
