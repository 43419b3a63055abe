//! The states of an allocation as a table: what becomes of each by every event. It is made by driving allocations over a
//! layer that does what the test says, and compared with what is written down here.

use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;

use super::*;
use crate::base::rng::Randomness;
use crate::base::sync::Mutex;
use crate::base::time::{Clock, ManualClock};
use crate::flow::Outgoing;
use crate::ipcp::{Attempt, Info, Ipcp, Lookup, RegisterError, Request};
use crate::irm::NameSecurity;
use crate::node::{Limits, Parts};
use crate::oap::SecurityConfig;
use crate::oap::replay::ReplayCache;
use crate::oap::server::Request as OapRequest;
use crate::types::device::SendError;
use crate::types::name::NameHash;
use crate::types::tree::Tree;

const UNIX: u64 = 1_767_225_600_000_000_000;

/// Receiver of the answer, its token, and the security header.
type Asked = (Arc<dyn Answer>, u64, Vec<u8>);

/// A layer that finds names and carries requests as the test says.
struct Layer {
    info: Info,
    /// Number of places with the name; `None` while it is being looked for.
    places: Mutex<Option<usize>>,
    /// It looks for a name by calling all stations.
    calls: AtomicBool,
    /// The last request.
    asked: Mutex<Option<Asked>>,
}

impl Layer {
    fn new() -> Arc<Self> {
        let info = Info::new(Kind::Custom("test"), "test", "test");
        Arc::new(Self { info, places: Mutex::new(None), calls: AtomicBool::new(false), asked: Mutex::new(None) })
    }

    /// The token of the last request.
    fn token(&self) -> Option<u64> {
        self.asked.lock().as_ref().map(|(_, token, _)| *token)
    }
}

struct Pending;

impl Attempt for Pending {
    fn is_sent(&self) -> bool {
        true
    }
}

impl Ipcp for Layer {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, _: Instant, _: NameHash) -> Result<(), RegisterError> {
        Ok(())
    }

    fn unregister(&self, _: Instant, _: &NameHash) {}

    fn lookup(&self, _: Instant, _: &NameHash, _: &Waker) -> Lookup {
        match *self.places.lock() {
            None if self.calls.load(Ordering::Relaxed) => Lookup::Calling,
            None => Lookup::Pending,
            Some(0) => Lookup::Unknown,
            Some(n) => Lookup::Known((1..=n as u64).map(Location::Station).collect()),
        }
    }

    fn request(&self, _: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        *self.asked.lock() = Some((request.answer, request.token, request.data.to_vec()));
        Ok(Box::new(Pending))
    }

    fn shutdown(&self, _: Instant) {}

    fn rib(&self, _: Instant) -> Tree {
        Tree::new("layer")
    }
}

struct Down;

impl Port for Down {
    fn send(&self, _: Instant, _: &mut Outgoing) -> Result<(), SendError> {
        Ok(())
    }

    fn mtu(&self) -> usize {
        1400
    }

    fn release(&self, _: Instant) {}
}

/// The state of an allocation, as far as it decides what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request was made yet.
    Start,
    /// No place was asked: layers look for the name.
    Looking,
    /// A place was asked, and is silent so far.
    Asked,
    /// The place that was asked is busy, and is asked again after a pause.
    Pausing,
    Done,
}

const STAGES: [Stage; 5] = [Stage::Start, Stage::Looking, Stage::Asked, Stage::Pausing, Stage::Done];

#[derive(Clone, Copy, Debug)]
enum Event {
    Poll,
    NameFound,
    NameUnknown,
    Accepted,
    Garbled,
    Busy,
    Unregistered,
    Refused,
    Silence,
    /// Nothing for longer than layers are waited for if there is anything else.
    LongSilence,
    Deadline,
    StackDown,
}

const EVENTS: [Event; 12] = [
    Event::Poll,
    Event::NameFound,
    Event::NameUnknown,
    Event::Accepted,
    Event::Garbled,
    Event::Busy,
    Event::Unregistered,
    Event::Refused,
    Event::Silence,
    Event::LongSilence,
    Event::Deadline,
    Event::StackDown,
];

struct Driven {
    clock: Arc<ManualClock>,
    node: Arc<Node>,
    layer: Arc<Layer>,
    allocation: Allocation,
    result: Option<Result<Allocated, AllocError>>,
    /// Requests that were sent.
    requests: usize,
}

impl Driven {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::new(UNIX));
        let node = Node::new(Parts { limits, ..Parts::for_tests(Arc::clone(&clock)) });
        let layer = Layer::new();
        node.add_ipcp(Arc::clone(&layer) as Arc<dyn Ipcp>, 0).unwrap();
        let wanted = Wanted {
            name: Name::new("echo").unwrap(),
            qos: QosSpec::RAW,
            timeout: None,
            data: Vec::new(),
            via: Via::Any,
        };
        let allocation = Allocation::new(&node, wanted);
        Self { clock, node, layer, allocation, result: None, requests: 0 }
    }

    fn poll(&mut self) {
        if self.result.is_some() {
            return;
        }
        let before = self.layer.token();
        if let Poll::Ready(result) = self.allocation.poll(&mut Context::from_waker(Waker::noop())) {
            self.result = Some(result);
        }
        let after = self.layer.token();
        self.requests += usize::from(before != after);
    }

    fn wait(&mut self, time: Duration) {
        self.clock.advance_to(self.clock.now() + time);
        self.node.poll(self.clock.now());
        self.poll();
    }

    fn answer(&mut self, result: Result<(), Code>, data: &[u8]) {
        let asked = self.layer.asked.lock().as_ref().map(|(answer, token, _)| (Arc::clone(answer), *token));
        if let Some((answer, token)) = asked {
            let result = result.map(|()| Arc::new(Down) as Arc<dyn Port>);
            answer.answered(token, Reply { result, data: data.to_vec() });
        }
        self.poll();
    }

    /// Returns the answer of a place that accepts.
    fn response(&self) -> Vec<u8> {
        let asked = self.layer.asked.lock().clone();
        asked.map_or(Vec::new(), |asked| self.response_to(asked.2))
    }

    fn response_to(&self, request: Vec<u8>) -> Vec<u8> {
        let unix = self.clock.unix_nanos();
        let checked = OapRequest::check(unix, request, &mut ReplayCache::new(8)).unwrap();
        let negotiated = checked.accept(&SecurityConfig::default()).unwrap();
        negotiated.respond(unix, &[], 60_000, &mut Randomness::from_seed([9; 32])).unwrap().0
    }

    fn enter(stage: Stage) -> Self {
        let mut driven = Self::new();
        match stage {
            Stage::Start => {}
            Stage::Looking => driven.poll(),
            Stage::Asked | Stage::Pausing | Stage::Done => driven.happen(Event::NameFound),
        }
        match stage {
            Stage::Pausing => driven.happen(Event::Busy),
            Stage::Done => driven.happen(Event::Accepted),
            _ => {}
        }
        assert_eq!(driven.stage(), stage);
        driven.requests = 0;
        driven
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Poll => self.poll(),
            Event::NameFound | Event::NameUnknown => {
                *self.layer.places.lock() = Some(usize::from(matches!(event, Event::NameFound)));
                self.poll();
            }
            Event::Accepted => {
                let response = self.response();
                self.answer(Ok(()), &response);
            }
            Event::Garbled => {
                let mut response = self.response();
                response.truncate(response.len() / 2);
                self.answer(Ok(()), &response);
            }
            Event::Busy => self.answer(Err(Code::AGAIN), &[]),
            Event::Unregistered => self.answer(Err(Code::NAME), &[]),
            Event::Refused => self.answer(Err(Code::PERM), &[]),
            Event::Silence => self.wait(Duration::from_millis(1300)),
            Event::LongSilence => self.wait(Duration::from_millis(2100)),
            Event::Deadline => self.wait(Duration::from_secs(20)),
            Event::StackDown => {
                self.node.shutdown();
                self.poll();
            }
        }
    }

    fn stage(&self) -> Stage {
        match &self.allocation.phase {
            Phase::Start => Stage::Start,
            Phase::Done => Stage::Done,
            Phase::Asking(asking) if !asking.tries.is_empty() => Stage::Asked,
            Phase::Asking(asking) if asking.busy.is_some() => Stage::Pausing,
            Phase::Asking(_) => Stage::Looking,
        }
    }
}

/// Returns the outcome: the stage, requests that are sent, and the result if there is one.
fn after(stage: Stage, event: Event) -> String {
    let mut driven = Driven::enter(stage);
    driven.happen(event);
    let next = driven.stage();
    let result = driven.result.as_ref().filter(|_| stage != Stage::Done).map_or("", |result| match result {
        Ok(_) => " ok",
        Err(AllocError::Unreachable(_)) => " unreachable",
        Err(AllocError::TimedOut(_)) => " timed out",
        Err(AllocError::LookupTimedOut(_)) => " not found",
        Err(AllocError::Refused { .. }) => " refused",
        Err(AllocError::Security(_)) => " insecure",
        Err(AllocError::StackDown) => " stack down",
        Err(_) => " other",
    });
    let next = if next == stage { "=".into() } else { format!("{next:?}") };
    let requests = ["", " asks"][driven.requests.min(1)];
    format!("{next}{requests}{result}")
}

fn matrix() -> String {
    let row = |head: String, cells: [String; 5]| {
        let cells = cells.map(|cell| format!("{cell:<18}")).concat();
        String::from(format!("{head:<14}{cells}").trim_end()) + "\n"
    };
    let mut text = String::from("\n") + &row(String::new(), STAGES.map(|stage| format!("{stage:?}")));
    for event in EVENTS {
        text += &row(format!("{event:?}"), STAGES.map(|stage| after(stage, event)));
    }
    text
}

/// Each cell: the next stage, `=` if it is the same, whether a place is asked, and the result.
const TABLE: &str = "
              Start             Looking           Asked             Pausing           Done
Poll          Looking           =                 =                 =                 =
NameFound     Asked asks        Asked asks        =                 =                 =
NameUnknown   Done unreachable  Done unreachable  =                 =                 =
Accepted      Looking           =                 Done ok           =                 =
Garbled       Looking           =                 = asks            =                 =
Busy          Looking           =                 Pausing           =                 =
Unregistered  Looking           =                 Done refused      =                 =
Refused       Looking           =                 Done refused      =                 =
Silence       Looking           =                 = asks            Asked asks        =
LongSilence   Looking           =                 = asks            Asked asks        =
Deadline      Done not found    Done not found    Done timed out    Done refused      =
StackDown     Done stack down   Done stack down   Done stack down   Done stack down   =
";

/// Of a peer that says again to the first request what it has said to it before, because that was lost.
#[test]
fn a_lost_answer_makes_no_path_longer() {
    let ms = Duration::from_millis;
    for (silence, trip) in [(0, 20), (1300, 20), (4000, 20)] {
        let mut driven = Driven::enter(Stage::Asked);
        let (answer, token, _) = driven.layer.asked.lock().clone().unwrap();
        let response = driven.response();
        let mut waited = 0;
        while waited < silence {
            let before = driven.requests;
            driven.wait(ms(10));
            waited += 10;
            // The last repetition is answered.
            if driven.requests > before && waited + 1000 > silence {
                break;
            }
        }
        assert_eq!(driven.requests > 0, silence > 0, "{silence}");
        driven.clock.advance_to(driven.clock.now() + ms(trip));
        answer.answered(token, Reply { result: Ok(Arc::new(Down) as Arc<dyn Port>), data: response });
        driven.poll();
        assert!(matches!(driven.result, Some(Ok(_))), "{silence}");
        assert_eq!(driven.allocation.round_trip(), ms(trip), "after {silence} ms of silence");
    }
}

/// Requests are repeated sooner than an answer can be there, and what the peer says, to the first of them, comes behind a
/// repetition.
#[test]
fn repetitions_make_no_path_shorter() {
    let ms = Duration::from_millis;
    for (retry, trip, garbled) in [(10, 320, None), (10, 640, None), (10, 1000, None), (1200, 600, Some(590))] {
        let mut driven = Driven::with(Limits::default().retry(ms(retry)));
        driven.happen(Event::NameFound);
        let first = driven.layer.asked.lock().clone().unwrap();
        driven.requests = 0;
        for waited in (10..=trip).step_by(10) {
            driven.wait(ms(10));
            if garbled == Some(waited) {
                driven.happen(Event::Garbled);
            }
        }
        assert!(driven.requests > 0, "{retry} {trip}");
        let response = driven.response_to(first.2);
        first.0.answered(first.1, Reply { result: Ok(Arc::new(Down) as Arc<dyn Port>), data: response });
        driven.poll();
        assert!(matches!(driven.result, Some(Ok(_))), "{retry} {trip}");
        assert_eq!(driven.allocation.round_trip(), ms(trip), "repeated after {retry} ms");
    }
}

/// A place that is busy is asked again, and so is a silent one, which has not had the time to answer.
#[test]
fn another_busy_place_makes_no_path_shorter() {
    let ms = Duration::from_millis;
    let mut driven = Driven::new();
    let far = Layer::new();
    driven.node.add_ipcp(Arc::clone(&far) as Arc<dyn Ipcp>, -1).unwrap();
    *far.places.lock() = Some(1);
    driven.happen(Event::NameFound);
    let of_near = driven.layer.asked.lock().clone().unwrap();
    while far.token().is_none() {
        driven.wait(ms(10));
    }
    let (first, mut waited) = (far.asked.lock().clone().unwrap(), 0);
    for (answer, token, _) in [of_near, driven.layer.asked.lock().clone().unwrap()] {
        answer.answered(token, Reply { result: Err(Code::AGAIN), data: Vec::new() });
    }
    driven.poll();
    while far.token() == Some(first.1) || waited < 600 {
        driven.wait(ms(10));
        waited += 10;
    }
    assert_eq!(waited, 600, "it was not asked again because of the other one");
    let response = driven.response_to(first.2);
    first.0.answered(first.1, Reply { result: Ok(Arc::new(Down) as Arc<dyn Port>), data: response });
    driven.poll();
    assert!(matches!(driven.result, Some(Ok(_))));
    assert_eq!(driven.allocation.round_trip(), ms(600));
}

/// A clock whose real time is set back.
struct Stepped(Arc<ManualClock>, core::sync::atomic::AtomicU64);

impl Clock for Stepped {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn unix_nanos(&self) -> u64 {
        self.0.unix_nanos() - self.1.load(Ordering::Relaxed)
    }
}

/// As on a board whose clock was ahead until it heard of the time.
#[test]
fn a_clock_that_is_set_back_keeps_nobody_from_flows() {
    let clock = Arc::new(Stepped(Arc::new(ManualClock::new(UNIX)), core::sync::atomic::AtomicU64::new(0)));
    let node = Node::new(Parts::for_tests(Arc::clone(&clock)));
    clock.1.store(3600 * 1_000_000_000, Ordering::Relaxed);
    let name = Name::new("echo").unwrap();
    let listener = node.with_irm(|irm| irm.bind(&name)).unwrap();
    let mut accept = crate::node::accept::Accept::new(&node, listener, name.clone());
    let wanted = Wanted { name, qos: QosSpec::RAW, timeout: None, data: Vec::new(), via: Via::Any };
    let mut allocation = Allocation::new(&node, wanted);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(allocation.poll(&mut cx).is_pending());
    assert!(matches!(accept.poll(&mut cx, &mut |_| Vec::new()), Poll::Ready(Ok(_))));
    assert!(matches!(allocation.poll(&mut cx), Poll::Ready(Ok(_))));
}

/// The first request was lost: what is said to the second has the place asked again, with the second exchange.
#[test]
fn a_lost_request_does_not_keep_from_the_second_exchange() {
    let mut driven = Driven::new();
    let client = SecurityConfig::encrypted(crate::Kex::X25519).fallback(Some(crate::Kex::Prime256v1));
    driven.node.set_security(None, NameSecurity { server: client.clone(), client }).unwrap();
    driven.happen(Event::NameFound);
    driven.happen(Event::Silence);
    let asked = driven.layer.token();
    driven.answer(Err(Code::CRYPT), &[]);
    assert_ne!(driven.layer.token(), asked, "{:?}", driven.result);
}

/// The id of a request without its wait and mark, by which a server knows a repetition.
fn id_of(asked: &Asked) -> [u8; 16] {
    OapRequest::peek_id(&asked.2).unwrap()
}

/// What one place wants to be shown is nothing to the others, which know repetitions by their ids.
#[test]
fn a_proof_for_one_place_makes_no_other_request_for_another() {
    let mut driven = Driven::new();
    let far = Layer::new();
    driven.node.add_ipcp(Arc::clone(&far) as Arc<dyn Ipcp>, -1).unwrap();
    *far.places.lock() = Some(1);
    driven.happen(Event::NameFound);
    while far.token().is_none() {
        driven.wait(Duration::from_millis(10));
    }
    let mut ids = alloc::collections::BTreeSet::new();
    let mut tokens = alloc::collections::BTreeSet::new();
    for n in 0..400u32 {
        let of_far = far.asked.lock().clone().unwrap();
        ids.insert(id_of(&of_far));
        tokens.insert(of_far.1);
        // The near one has no room, each time, and says so with another number.
        let (answer, token, _) = driven.layer.asked.lock().clone().unwrap();
        let proof = [&n.to_be_bytes()[..], &[7; 4]].concat();
        answer.answered(token, Reply { result: Err(Code::AGAIN), data: proof });
        driven.poll();
        driven.wait(Duration::from_millis(10));
    }
    assert!(tokens.len() > 2, "asked again: {}", tokens.len());
    assert_eq!(ids.len(), 1, "of {} requests to the silent place", tokens.len());
}

/// A resolver that takes its time, and knows the name then.
#[test]
fn a_lookup_has_as_long_as_the_allocation() {
    let mut driven = Driven::enter(Stage::Looking);
    for _ in 1..20 {
        driven.wait(Duration::from_secs(1));
        let next = driven.node.next_deadline().unwrap() - driven.clock.now();
        assert!(next >= Duration::from_millis(500), "it has little to do: {next:?}");
    }
    // Nobody wakes it: others that wait for the name are enough for the layer.
    *driven.layer.places.lock() = Some(1);
    driven.wait(Duration::from_millis(500));
    assert_eq!(driven.stage(), Stage::Asked, "{:?}", driven.result);
}

/// Nobody answers for stations that do not have the name.
#[test]
fn a_call_for_a_name_that_nobody_answers_ends_before_the_allocation() {
    let mut driven = Driven::enter(Stage::Looking);
    driven.layer.calls.store(true, Ordering::Relaxed);
    driven.happen(Event::Silence);
    assert_eq!(driven.stage(), Stage::Looking);
    driven.happen(Event::Silence);
    assert!(matches!(driven.result, Some(Err(AllocError::Unreachable(_)))), "{:?}", driven.result);
}

/// A layer that looks for the name has others waited for it, but not for as long as the allocation takes.
#[test]
fn a_layer_that_looks_for_the_name_keeps_a_worse_one_waiting_for_a_while() {
    let mut driven = Driven::new();
    let worse = Layer::new();
    driven.node.add_ipcp(Arc::clone(&worse) as Arc<dyn Ipcp>, -1).unwrap();
    *worse.places.lock() = Some(1);
    driven.poll();
    driven.happen(Event::Silence);
    assert_eq!((driven.stage(), worse.token()), (Stage::Looking, None));
    driven.happen(Event::Silence);
    assert_eq!((driven.stage(), worse.token()), (Stage::Asked, Some(0)));
}

/// What is known to have failed is not kept from the program for as long as a lookup takes.
#[test]
fn a_refusal_is_told_though_a_layer_looks_for_the_name() {
    let mut driven = Driven::enter(Stage::Asked);
    *driven.layer.places.lock() = None;
    driven.happen(Event::Unregistered);
    driven.happen(Event::Silence);
    assert_eq!(driven.stage(), Stage::Looking, "another place is looked for");
    driven.happen(Event::Silence);
    assert!(matches!(driven.result, Some(Err(AllocError::Refused { .. }))), "{:?}", driven.result);
}

#[test]
fn transitions_of_an_allocation_match_the_table() {
    let found = matrix();
    assert!(found == TABLE, "found:\n{found}");
}
