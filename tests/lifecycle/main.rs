//! Nothing hangs: whatever is dropped, closed or shut down, in whatever state, returns within a bound.
//!
//! The bounds are generous, because machines are busy; a call that hangs does so without end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod allocating;
mod brought;
mod driven;
mod flows;
mod foreign;
mod futures;
mod giving_back;
mod leaving;
mod listeners;
mod racing;
mod stacks;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use o7s::node::Limits;
use o7s::types::device::Datagrams;
use o7s::{Flow, Listener, LocalConfig, QosSpec, Stack, Udp4, UnicastLayer};

#[path = "../world/cable.rs"]
mod cable;
use cable::Cable;

/// Time limit of every call.
const BOUND: Duration = Duration::from_secs(10);

/// Runs `f` on a thread and fails if it takes longer than [`BOUND`].
#[track_caller]
fn within<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    finishes(what, spawn(f))
}

/// A thread whose end is noticed.
struct Running<T>(JoinHandle<()>, std::sync::mpsc::Receiver<T>);

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (tx, rx) = sync_channel(1);
    let run = move || {
        let _ = tx.send(f());
    };
    Running(Builder::new().spawn(run).unwrap(), rx)
}

#[track_caller]
fn finishes<T>(what: &str, running: Running<T>) -> T {
    match running.1.recv_timeout(BOUND) {
        Ok(result) => {
            running.0.join().unwrap();
            result
        }
        Err(RecvTimeoutError::Timeout) => panic!("{what}: still running after {BOUND:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("{what}: the thread panicked"),
    }
}

/// Long enough for a thread to block in what it was started for. A thread that is slower than that makes a test
/// weaker, never wrong.
fn settle() {
    std::thread::park_timeout(Duration::from_millis(30));
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn block_on<F: Future>(f: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut f = pin!(f);
    loop {
        if let Poll::Ready(r) = f.as_mut().poll(&mut Context::from_waker(&waker)) {
            return r;
        }
        std::thread::park();
    }
}

/// Reliable, and the peer's silence is noticed after this many milliseconds.
fn impatient(timeout_ms: u32) -> QosSpec {
    QosSpec { timeout: timeout_ms, ..QosSpec::DATA }
}

/// Places of the two ends of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// One stack.
    Direct,
    /// One stack, by way of a local layer.
    Local,
    /// Two stacks on the loopback interface.
    Udp,
    /// In two stacks that are members of a unicast layer on the loopback interface.
    Layer,
}

const PLACES: [Place; 4] = [Place::Direct, Place::Local, Place::Udp, Place::Layer];

/// A server's stack, a client's stack, and a way from the one to the other; "echo" is reachable as soon as it is bound.
fn stacks(place: Place) -> (Stack, Stack) {
    stacks_with(place, Limits::default())
}

/// The same with bounds for the server's.
fn stacks_with(place: Place, limits: Limits) -> (Stack, Stack) {
    let server = Stack::builder().limits(limits).build().unwrap();
    match place {
        Place::Direct => (server.clone(), server),
        Place::Local => {
            server.local(LocalConfig::new("local", "local")).register("echo").unwrap();
            (server.clone(), server)
        }
        Place::Udp => {
            let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
            net.register("echo").unwrap();
            let client = Stack::new().unwrap();
            let at = net.local_addr().unwrap().to_string();
            client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
            (server, client)
        }
        Place::Layer => {
            let below = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
            let member = server.unicast("a").over(&below).bootstrap(UnicastLayer::new("net")).unwrap();
            let at = below.local_addr().unwrap().to_string();
            let client = Stack::new().unwrap();
            let below = client.udp4(Udp4::bind("127.0.0.1:0").host("a", &at).system_resolver(false)).unwrap();
            client.unicast("b").over(&below).enroll("a").unwrap().connect("a").unwrap();
            member.register("echo").unwrap();
            (server, client)
        }
    }
}

struct Pair {
    server: Stack,
    client: Stack,
    listener: Listener,
    /// The client's end, then the server's.
    ends: (Flow, Flow),
}

fn pair(place: Place, qos: QosSpec) -> Pair {
    let (server, client) = stacks(place);
    pair_of(server, client, qos)
}

fn pair_of(server: Stack, client: Stack, qos: QosSpec) -> Pair {
    let listener = server.bind("echo").unwrap();
    let accepts = spawn(move || {
        let flow = listener.accept();
        (listener, flow)
    });
    let from = client.clone();
    let near = within("alloc", move || from.flow("echo").qos(qos).timeout(BOUND).alloc()).unwrap();
    let (listener, far) = finishes("accept", accepts);
    Pair { server, client, listener, ends: (near, far.unwrap()) }
}

/// A pair on the loopback interface whose server can be cut off, as if it had been killed.
fn mortal(qos: QosSpec) -> (Pair, Arc<Cable>) {
    let (server, client, cable) = (Stack::new().unwrap(), Stack::new().unwrap(), Cable::new());
    let net = server.udp4_over(Arc::clone(&cable) as Arc<dyn Datagrams>, Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
    (pair_of(server, client, qos), cable)
}

/// A UDP socket that never answers.
fn silent() -> (std::net::UdpSocket, String) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    (socket, addr)
}

fn to_silent() -> (std::net::UdpSocket, Stack) {
    let (socket, addr) = silent();
    let stack = Stack::new().unwrap();
    stack.udp4(Udp4::bind("127.0.0.1:0").host("echo", &addr).system_resolver(false)).unwrap();
    (socket, stack)
}
