//! Accepts that are given up, and requests whose answer is held back for a moment, because a requester that numbers its
//! flows as a reference does loses one that comes at once. Nobody's request is refused for that.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::UdpSocket;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::Builder;
use std::time::Duration;

use o7s::wire::udp::Mgmt;
use o7s::{AcceptError, QosSpec, Stack, Udp4};

use super::*;

const RAW: QosSpec = QosSpec { ber: 1, ..QosSpec::RAW };

/// The number of a flow, as a reference has it.
const EID: u32 = 64;

/// What is answered to strangers: the codes of all replies that pass.
fn answers(net: &Network) -> Rc<RefCell<Vec<i32>>> {
    let answers: Rc<RefCell<Vec<i32>>> = Rc::default();
    let seen = Rc::clone(&answers);
    let rule = net.on_packet(move |p| {
        if let Ok(Mgmt::Reply(reply)) = Mgmt::parse(p.data) {
            seen.borrow_mut().push(reply.response);
        }
        Verdict::Pass
    });
    rule.keep();
    answers
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A server whose answers are seen, and which a request of a reference's kind reaches at once.
struct Asked {
    net: Network,
    server: Host,
    answers: Rc<RefCell<Vec<i32>>>,
}

fn asked(seed: u64) -> Asked {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(Duration::ZERO));
    let (server, answers) = (net.host("server").udp4("10.0.0.1").build(), answers(&net));
    let unix = server.stack().node().clock().unix_nanos();
    net.inject("10.0.1.1:3435", SERVER, &request(unix, "s", RAW, EID, &mut Randomness::from_seed([9; 32])));
    Asked { net, server, answers }
}

#[test]
fn an_accept_that_is_given_up_has_refused_nobody() {
    let Asked { net, server, answers } = asked(31);
    let listener = server.listen("s");
    // Many give up, at whatever moment, as the branches of a `select!` do.
    for _ in 0..10 {
        net.run_for(Duration::from_micros(100));
        assert!(poll_once(listener.accept_async()).is_pending());
    }
    net.run_for(Duration::from_millis(10));
    assert!(listener.try_accept().is_ok(), "the request is there");
    net.run_for(Duration::from_millis(10));
    assert_eq!(*answers.borrow(), [0]);
}

#[test]
fn what_an_accept_leaves_goes_to_another_that_waits() {
    let Asked { net, server, answers } = asked(32);
    let listener = Rc::new(server.listen("s"));
    net.run_for(Duration::from_micros(100));
    let mut first = Box::pin(listener.accept_async());
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let there = Rc::clone(&listener);
    let waits = net.spawn(async move { there.accept_async().await.map(|_| ()) });
    net.run_for(Duration::from_micros(100));
    // It has seen the request before the other.
    drop(first);
    let limited = net.clone();
    let done = net.block_on(async move { limited.timeout(Duration::from_secs(1), waits).await });
    assert!(matches!(done, Ok(Ok(()))), "{done:?}");
    net.run_for(Duration::from_millis(10));
    assert_eq!(*answers.borrow(), [0]);
}

#[test]
fn an_answer_is_held_back_from_the_request_on() {
    let Asked { net, server, answers } = asked(33);
    let listener = server.listen("s");
    let accepted = net.spawn(async move { listener.accept_async().await.map(|_| ()) });
    net.run_for(Duration::from_micros(1900));
    assert_eq!(*answers.borrow(), [], "sooner, the requester would lose it");
    net.run_for(Duration::from_micros(200));
    assert_eq!(*answers.borrow(), [0]);
    assert_eq!(net.block_on(accepted), Ok(()));
    // One that has waited is answered at once.
    let Asked { net, server, answers } = asked(34);
    let listener = server.listen("s");
    net.run_for(Duration::from_millis(100));
    assert!(listener.try_accept().is_ok());
    net.run_for(Duration::from_micros(1));
    assert_eq!(*answers.borrow(), [0]);
}

#[test]
fn a_handler_is_given_what_was_held_back() {
    let (server, at) = server();
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    server.bind_handler("s", move |_flow| _ = count.fetch_add(1, Ordering::SeqCst)).unwrap();
    let mut stranger = Stranger::new(at, 41);
    stranger.ask(&server, EID);
    assert_eq!(stranger.told(1), BTreeMap::from([(EID, 0)]));
    while called.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
}

/// A threaded server, and its address.
fn server() -> (Stack, SocketAddr) {
    let server = Stack::new().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false)).unwrap();
    net.register("s").unwrap();
    let at = net.local_addr().unwrap();
    (server, at)
}

/// Asks a threaded server for flows.
struct Stranger {
    socket: UdpSocket,
    server: SocketAddr,
    rng: Randomness,
    told: BTreeMap<u32, i32>,
}

impl Stranger {
    fn new(server: SocketAddr, seed: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { socket, server, rng: Randomness::from_seed([seed; 32]), told: BTreeMap::new() }
    }

    fn ask(&mut self, stack: &Stack, eid: u32) {
        let unix = stack.node().clock().unix_nanos();
        self.socket.send_to(&request(unix, "s", RAW, eid, &mut self.rng), self.server).unwrap();
    }

    /// The first answers to this many requests.
    fn told(&mut self, requests: usize) -> BTreeMap<u32, i32> {
        let mut buf = [0; 2048];
        while self.told.len() < requests {
            let Ok((n, _)) = self.socket.recv_from(&mut buf) else { break };
            if let Ok(Mgmt::Reply(reply)) = Mgmt::parse(&buf[..n]) {
                self.told.entry(reply.s_eid).or_insert(reply.response);
            }
        }
        self.told.clone()
    }
}

#[test]
fn a_time_limit_that_ends_too_soon_refuses_nobody() {
    let (server, at) = server();
    let (listener, mut stranger) = (server.bind("s").unwrap(), Stranger::new(at, 42));
    for eid in EID..EID + 5 {
        stranger.ask(&server, eid);
        let flow = loop {
            match listener.accept_timeout(Duration::from_micros(50)) {
                Err(AcceptError::TimedOut) => {}
                done => break done.unwrap(),
            }
            assert!(!stranger_was_refused(&stranger));
        };
        drop(flow);
    }
    assert_eq!(stranger.told(5), (EID..EID + 5).map(|eid| (eid, 0)).collect());
}

/// Looks whether a refusal waits to be read, and leaves it there.
fn stranger_was_refused(stranger: &Stranger) -> bool {
    let mut buf = [0; 2048];
    stranger.socket.set_nonblocking(true).unwrap();
    let peeked = stranger.socket.peek_from(&mut buf);
    stranger.socket.set_nonblocking(false).unwrap();
    let Ok((n, _)) = peeked else { return false };
    matches!(Mgmt::parse(&buf[..n]), Ok(Mgmt::Reply(reply)) if reply.response != 0)
}

#[test]
fn threads_that_try_at_once_take_nothing_from_each_other() {
    const ASKED: u32 = 600;
    let (server, at) = server();
    let (listener, mut stranger) = (Arc::new(server.bind("s").unwrap()), Stranger::new(at, 43));
    let taken = Arc::new(AtomicUsize::new(0));
    let tries = [0, 1].map(|_| {
        let (listener, taken) = (Arc::clone(&listener), Arc::clone(&taken));
        let run = move || {
            let mut flows = Vec::new();
            loop {
                match listener.try_accept() {
                    Ok(flow) => {
                        taken.fetch_add(1, Ordering::SeqCst);
                        flows.push(flow);
                    }
                    Err(AcceptError::WouldBlock) => std::thread::yield_now(),
                    Err(_) => return flows,
                }
            }
        };
        Builder::new().spawn(run).unwrap()
    });
    // As many at a time as its socket keeps answers.
    for first in (0..ASKED).step_by(50) {
        (first..first + 50).for_each(|n| stranger.ask(&server, EID + n));
        stranger.told(first as usize + 50);
    }
    let told = stranger.told;
    assert_eq!(told.len(), ASKED as usize, "none is left without an answer");
    let refused: Vec<_> = told.iter().filter(|(_, response)| **response != 0).collect();
    assert!(refused.is_empty(), "{} of {ASKED} are refused", refused.len());
    server.shutdown();
    for thread in tries {
        drop(thread.join().unwrap());
    }
    assert_eq!(taken.load(Ordering::SeqCst), ASKED as usize);
}
