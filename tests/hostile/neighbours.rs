//! Peers that have a flow to a member and misbehave before they are neighbours: none is connected or admitted that
//! should not be, silent ones hold up no others, and time limits hold.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use o7s::base::time::Instant;
use o7s::ipcp::connect::FIRST_STEP_TIMEOUT;
use o7s::types::id::Address;
use o7s::wire::cep::{Message as Cep, Terms};
use o7s::wire::enroll::{Ack, ID_LEN, Request, Response, Verdict};
use o7s::{Flow, IpcpHandle, LocalConfig, QosSpec, ReadError, Stack, UnicastLayer};

/// Time for which a member waits for a message, and for closing the flow on top.
const PATIENCE: Duration = Duration::from_secs(3);
const MOMENT: Duration = Duration::from_millis(50);

/// A member to whom flows lead through a layer that loses nothing.
struct Member {
    stack: Stack,
    ipcp: IpcpHandle,
    now: Instant,
}

impl Member {
    fn new() -> Self {
        let stack = Stack::builder().polled_at(crate::frames::UNIX).seed([5; 32]).build().unwrap();
        let below = stack.local(LocalConfig::new("below", "below"));
        let ipcp = stack.unicast("victim").over(&below).bootstrap(UnicastLayer::new("layer")).unwrap();
        let mut member = Self { stack, ipcp, now: Instant::ZERO };
        member.pass(MOMENT);
        member
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.stack.poll(self.now).filter(|next| *next <= until) {
            self.now = self.now.max(next);
        }
        self.now = until;
        self.stack.poll(self.now);
    }

    /// A flow to the member.
    #[track_caller]
    fn flow(&mut self) -> Flow {
        let stack = self.stack.clone();
        let mut alloc = Box::pin(async move { stack.flow("victim").qos(QosSpec::RAW).alloc_async().await });
        for _ in 0..100 {
            if let Poll::Ready(flow) = alloc.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return flow.expect("a flow").into_blocking();
            }
            self.pass(Duration::from_millis(1));
        }
        panic!("no flow to the member\n{}", self.stack.rib());
    }

    fn address(&self) -> Address {
        self.ipcp.address().unwrap()
    }

    fn tasks(&self) -> u64 {
        self.stack.rib().child("node").unwrap().get("tasks").unwrap()
    }

    /// Connects and enrolls as one should.
    #[track_caller]
    fn enrolls(&mut self) {
        let flow = self.flow();
        flow.try_write(&Cep::enrollment().encode().unwrap()).unwrap();
        self.pass(MOMENT);
        assert_eq!(Cep::decode(&read(&flow).unwrap()), Ok(Cep::enrollment()));
        let id = [7; ID_LEN];
        flow.try_write(&Request { id }.encode().unwrap()).unwrap();
        self.pass(MOMENT);
        let response = Response::decode(&read(&flow).unwrap()).unwrap();
        assert!(response.id == id && matches!(response.verdict, Verdict::Granted(_)));
        flow.try_write(&Ack { id, result: 0 }.encode().unwrap()).unwrap();
        self.pass(MOMENT);
    }
}

fn read(flow: &Flow) -> Result<Vec<u8>, ReadError> {
    let mut buf = [0; 2048];
    loop {
        match flow.try_read(&mut buf) {
            Ok(0) => {}
            Ok(len) => return Ok(buf[..len].to_vec()),
            Err(e) => return Err(e),
        }
    }
}

/// Checks the member's answer, if it gives one: a refusal.
#[track_caller]
fn is_refused(what: &str, message: &[u8]) {
    let mut member = Member::new();
    let tasks = member.tasks();
    let flow = member.flow();
    flow.try_write(message).unwrap();
    member.pass(PATIENCE);
    match read(&flow) {
        Ok(answer) => assert_eq!(Cep::decode(&answer), Ok(Cep::refusal()), "{what}"),
        Err(ReadError::WouldBlock) => panic!("{what}: the flow was not closed"),
        Err(_) => {}
    }
    assert!(!matches!(read(&flow), Ok(_) | Err(ReadError::WouldBlock)), "{what}: it is over");
    assert!(member.ipcp.connections().is_empty(), "{what}");
    assert_eq!(member.tasks(), tasks, "{what}");
    member.enrolls();
}

#[test]
fn malformed_connection_requests_are_refused() {
    let good = Cep::data_transfer(Address(0x0b0b_0b02));
    let own = Member::new().address();
    let rows: [(&str, Cep); 10] = [
        ("a component without a name", Cep { component: String::new(), ..good.clone() }),
        ("a component that there is not", Cep { component: "Data".into(), ..good.clone() }),
        ("no protocol", Cep { protocol: String::new(), ..good.clone() }),
        ("another protocol", Cep { protocol: "lstp".into(), ..good.clone() }),
        ("another version", Cep { version: good.version + 1, ..good.clone() }),
        ("another syntax", Cep { syntax: good.syntax + 1, ..good.clone() }),
        ("address 0", Cep { address: Address(0), ..good.clone() }),
        ("the member's own address", Cep { address: own, ..good.clone() }),
        ("an address of 33 bits", Cep { address: Address(1 << 32), ..good.clone() }),
        ("the greatest address", Cep { address: Address(u64::MAX), ..good.clone() }),
    ];
    for (what, message) in rows {
        is_refused(what, &message.encode().unwrap());
    }
    let good = good.encode().unwrap();
    is_refused("nothing but zeros", &[0; 60]);
    is_refused("half a message", &good[..good.len() / 2]);
    let mut long = good.clone();
    // An unknown field makes the message 128 bytes long, which the reference does not survive.
    let padding = 128 - good.len() - 2;
    long.extend([0x7a, padding as u8]);
    long.resize(128, b'x');
    is_refused("128 bytes", &long);
    long.resize(1400, b'x');
    is_refused("1400 bytes", &long);
}

#[test]
fn silent_neighbours_do_not_block_others() {
    let mut member = Member::new();
    let tasks = member.tasks();
    let silent: Vec<Flow> = (0..200).map(|_| member.flow()).collect();
    let before = member.now;
    member.enrolls();
    assert!(member.now - before < Duration::from_secs(1));
    // The reply may have been lost, so the first message is waited for longer than any other.
    member.pass(FIRST_STEP_TIMEOUT + Duration::from_secs(1));
    for flow in &silent {
        assert!(!matches!(read(flow), Ok(_) | Err(ReadError::WouldBlock)));
    }
    assert_eq!(member.tasks(), tasks);
}

#[test]
fn joiners_that_send_garbage_are_disconnected() {
    let mut member = Member::new();
    let tasks = member.tasks();
    let flows: Vec<Flow> = (0..20).map(|_| member.flow()).collect();
    for flow in &flows {
        flow.try_write(&Cep::enrollment().encode().unwrap()).unwrap();
    }
    // Ten have asked already, and never say what became of it.
    member.pass(MOMENT);
    for (i, flow) in flows.iter().enumerate().take(10) {
        let id = [i as u8; ID_LEN];
        flow.try_write(&Request { id }.encode().unwrap()).unwrap();
    }
    let end = member.now + Duration::from_secs(10);
    while member.now < end {
        for (i, flow) in flows.iter().enumerate() {
            let nonsense = [&[0xff; 40][..], &[0; 3], b"\x0a\x01x", &[0; 1400]][i % 4];
            let _ = flow.try_write(nonsense);
        }
        member.pass(Duration::from_millis(100));
        if member.now.as_nanos() % 1_000_000_000 < 100_000_000 {
            member.enrolls();
        }
    }
    for flow in &flows {
        while read(flow).is_ok() {}
        assert_ne!(read(flow), Err(ReadError::WouldBlock), "silence for ten seconds");
    }
    assert_eq!(member.tasks(), tasks);
    assert!(member.ipcp.connections().is_empty());
}

#[test]
fn honest_neighbours_connect_after_hostile_ones() {
    let mut member = Member::new();
    let _silent: Vec<Flow> = (0..20).map(|_| member.flow()).collect();
    let flow = member.flow();
    let peer = Address(0x0b0b_0b02);
    flow.try_write(&Cep::data_transfer(peer).encode().unwrap()).unwrap();
    member.pass(MOMENT);
    let answer = Cep::decode(&read(&flow).unwrap()).unwrap();
    assert!(Terms::of(&answer.versions).is_some(), "what the reference does not look at");
    assert_eq!(Cep { versions: Vec::new(), ..answer }, Cep::data_transfer(member.address()));
    let connections = member.ipcp.connections();
    assert_eq!(connections.iter().map(|c| c.peer).collect::<Vec<_>>(), [peer]);
    drop(flow);
    member.pass(PATIENCE);
    assert!(member.ipcp.connections().is_empty(), "it has gone");
}
