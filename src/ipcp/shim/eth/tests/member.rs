//! A member on a cable of which the test has the other end: what it receives before it gets to handle any of it.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use alloc::boxed::Box;
use alloc::sync::Weak;

use super::*;
use crate::base::buf::BufPool;
use crate::base::foreign::Panics;
use crate::base::sync::Mutex;
use crate::base::time::ManualClock;
use crate::device::MemoryFrames;
use crate::flow::{Endpoint, Env, FlowKey, Host};
use crate::ipcp::shim::eth::{EthShim, Parts};
use crate::ipcp::shim::{ReceiveLoop, Shim as _, ShimContext};
use crate::ipcp::{Alarm, Answer, Incoming, Info, Ipcp as _, Kind, Reply, Request, Requests};
use crate::types::device::Frames;
use crate::types::qos::QosSpec;
use crate::wire::eth::{FlowReply, FlowRequest, Format, Frame, Mgmt, Port};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 7]);
const ETHERTYPE: u16 = 0xa000;

/// Takes requests, and does nothing about them.
struct Nobody;

impl Requests for Nobody {
    fn incoming(&self, _: Instant, _: Incoming) {}
}

impl Alarm for Nobody {
    fn set(&self, _: Instant) {}

    fn rang(&self) {}
}

impl Host for Nobody {
    fn arm(&self, _: Instant, _: FlowKey) {}

    fn tick(&self, _: FlowKey) {}

    fn released(&self, _: FlowKey) {}
}

/// The tokens of the requests that were answered.
#[derive(Default)]
struct Answered(Mutex<Vec<u64>>);

impl Answer for Answered {
    fn answered(&self, token: u64, _: Reply) {
        self.0.lock().push(token);
    }
}

struct Member {
    shim: Arc<EthShim>,
    wire: Arc<MemoryFrames>,
    env: Arc<Env>,
}

impl Member {
    fn new() -> Self {
        let (device, wire) = MemoryFrames::pair(OURS, Mac([2, 0, 0, 0, 0, 0xff]));
        let env = Env {
            clock: Arc::new(ManualClock::new(0)),
            pool: BufPool::new(8),
            host: Arc::new(Nobody),
            panics: Arc::<Panics>::default(),
            inline: false,
        };
        let context = ShimContext::new(
            Weak::<Nobody>::new(),
            Weak::<ReceiveLoop<EthShim>>::new(),
            Waker::noop().clone(),
            &env,
            Rng::from_seed([1; 32]),
            Box::new(|_| Arc::new(Nobody)),
        );
        let parts = Parts {
            info: Info::new(Kind::EthDix, "eth.test", "eth").hash(HashAlg::Sha3_256),
            device: device as Arc<dyn Frames>,
            framing: Framing::Dix { ethertype: ETHERTYPE },
            config: Config::default(),
        };
        Self { shim: EthShim::new(context, parts), wire, env: Arc::new(env) }
    }

    /// Has messages arrive, which it receives and does not handle yet.
    fn receive<'a>(&self, messages: impl IntoIterator<Item = (Mac, Mgmt<'a>)>) {
        let port = Port::Dix { ethertype: ETHERTYPE, eid: 0 };
        let mut receiver = self.shim.receiver();
        for (src, message) in messages {
            let payload = message.to_vec(Format::Dix).unwrap();
            self.wire.send(&Frame { dst: OURS, src, port, payload: &payload }.to_vec().unwrap()).unwrap();
            while self.shim.receive(ms(0), &mut receiver) > 0 {}
        }
    }

    fn count(&self, what: &str) -> u64 {
        self.shim.rib(ms(0)).get(what).unwrap()
    }
}

#[test]
fn what_is_waited_for_survives_answers_and_requests_of_strangers() {
    let (member, answered, woken) = (Member::new(), Arc::new(Answered::default()), Arc::new(Woken::default()));
    let endpoint = Endpoint::new(1, &member.env);
    let ask = |token| {
        let request = Request {
            dst: hash("theirs"),
            at: Location::Mac(B),
            qos: QosSpec::RAW,
            endpoint: &endpoint,
            answer: Arc::clone(&answered) as Arc<dyn Answer>,
            token,
            data: b"",
        };
        member.shim.request(ms(0), request).unwrap()
    };
    let _asked: Vec<_> = (0..3).map(ask).collect();
    let numbers: Vec<u16> = {
        let mut numbers = Vec::new();
        for id in 0..=u16::MAX {
            numbers.extend(member.shim.flows.get(id.into()).map(|_| id));
        }
        numbers
    };
    assert_eq!(member.shim.lookup(ms(0), &hash("echo"), &Waker::from(Arc::clone(&woken))), Lookup::Pending);
    let lies = || liars(2000).into_iter().map(|mac| (mac, Mgmt::Answer(hash("echo"))));
    let request = |s_eid| Mgmt::Request(FlowRequest { s_eid, qos: QosSpec::RAW, dst: hash("ours"), data: b"" });
    let requests = || liars(2000).into_iter().zip(1..).flat_map(|(mac, n)| [(mac, request(n)), (B, request(n))]);
    let refusal = |d_eid| (B, Mgmt::Reply(FlowReply { s_eid: 0, d_eid, response: -1003, data: b"" }));
    member.receive(lies().chain(requests()));
    member.receive(numbers.iter().map(|eid| refusal(*eid)));
    member.receive(lies().chain(requests()));
    // Also those that repeat what was waited for.
    member.receive((0..1000).map(|_| refusal(numbers[0])));
    assert!(member.count("management_drops") > 0);
    member.shim.handle_management();
    assert_eq!((answered.0.lock().len(), member.count("replies_in")), (3, 3));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    let found = member.shim.lookup(ms(0), &hash("echo"), Waker::noop());
    assert!(matches!(found, Lookup::Known(places) if places.len() == 8));
}
