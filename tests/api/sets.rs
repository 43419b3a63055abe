//! Sets of flows and listeners, for threads and for event loops of others.
#![cfg(unix)]

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::Builder;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use o7s::base::rng::Randomness;
use o7s::oap::PeerKind;
use o7s::oap::client::Client;
use o7s::stack::Pollable;
use o7s::types::name::{HashAlg, Name};
use o7s::wire::udp::FlowRequest;
use o7s::{AcceptError, Event, FlowSet, QosSpec, SecurityConfig, Stack, Udp4};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const BOUND: Duration = Duration::from_secs(20);

/// Returns `true` if the descriptor becomes readable within this time.
fn is_readable(pollable: &Pollable, seconds: i64) -> bool {
    let mut fds = [PollFd::new(pollable, PollFlags::IN)];
    let ready = poll(&mut fds, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap();
    ready == 1
}

#[test]
fn a_set_waits_for_listeners_and_flows() {
    let stack = Stack::new().unwrap();
    let (one, other) = (stack.bind("one").unwrap(), stack.bind("other").unwrap());
    let set = FlowSet::new();
    let (of_one, of_other) = (set.add_listener(&one), set.add_listener(&other));
    assert_eq!(set.len(), 2);
    assert!(set.try_wait().is_empty());
    let asks = stack.flow("other").qos(QosSpec::DATA).timeout(BOUND);
    let client = Builder::new().spawn(move || asks.alloc().unwrap()).unwrap();
    let events = set.wait(Some(BOUND));
    assert_eq!(events.iter().map(|e| (e.token, e.event)).collect::<Vec<_>>(), [(of_other, Event::Acceptable)]);
    assert!(matches!(one.try_accept(), Err(AcceptError::WouldBlock)));
    let server = other.try_accept().unwrap();
    let flow = set.add(&server);
    client.join().unwrap().write(b"hello").unwrap();
    while !set.wait(Some(BOUND)).iter().any(|e| (e.token, e.event) == (flow, Event::Packet)) {}
    assert_eq!(server.try_read(&mut [0; 8]), Ok(5));
    // A listener that is closed leaves the set, and so does everything when the stack is shut down.
    drop(one);
    while !set.wait(Some(BOUND)).iter().any(|e| (e.token, e.event) == (of_one, Event::Deallocated)) {}
    assert!(!set.contains(of_one));
    stack.shutdown();
    while set.contains(of_other) {
        assert!(!set.wait(Some(BOUND)).is_empty());
    }
}

#[test]
fn a_waiting_request_is_an_event() {
    let stack = Stack::new().unwrap();
    let listener = stack.bind("echo").unwrap();
    let asks = stack.flow("echo").timeout(BOUND);
    let client = Builder::new().spawn(move || asks.alloc().unwrap()).unwrap();
    while !listener.has_request() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let set = FlowSet::new();
    let token = set.add_listener(&listener);
    assert_eq!(set.try_wait().first().map(|e| (e.token, e.event)), Some((token, Event::Acceptable)));
    set.remove(token);
    listener.try_accept().unwrap();
    client.join().unwrap();
    assert!(set.is_empty() && set.try_wait().is_empty());
}

/// Without a time limit, and without turning round and round: the first event comes of what is added meanwhile.
#[test]
fn waiting_for_an_empty_set_ends_with_an_event_of_an_added_flow() {
    let stack = Stack::new().unwrap();
    let listener = stack.bind("echo").unwrap();
    let set = Arc::new(FlowSet::new());
    let (tx, rx) = sync_channel(1);
    let waited = Arc::clone(&set);
    let waits = Builder::new().spawn(move || tx.send(waited.wait(None))).unwrap();
    assert_eq!(rx.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout), "nothing has happened");
    let token = set.add_listener(&listener);
    let asks = stack.flow("echo").timeout(BOUND);
    let client = Builder::new().spawn(move || asks.alloc().map(drop)).unwrap();
    assert_eq!(rx.recv_timeout(BOUND).unwrap()[0].token, token);
    waits.join().unwrap().unwrap();
    listener.try_accept().unwrap();
    client.join().unwrap().unwrap();
}

#[test]
fn a_set_has_a_file_descriptor_that_is_readable_while_events_wait() {
    let stack = Stack::new().unwrap();
    let listener = stack.bind("echo").unwrap();
    let set = FlowSet::new();
    let pollable = set.pollable().unwrap();
    let pairs: Vec<_> = (0..2)
        .map(|_| {
            let asks = stack.flow("echo").qos(QosSpec::DATA).timeout(BOUND);
            let client = Builder::new().spawn(move || asks.alloc().unwrap()).unwrap();
            let server = listener.accept_timeout(BOUND).unwrap();
            (client.join().unwrap(), server)
        })
        .collect();
    let tokens: Vec<_> = pairs.iter().map(|(_, server)| set.add(server)).collect();
    set.try_wait();
    assert!(!is_readable(&pollable, 0));
    for (at, (client, server)) in pairs.iter().enumerate() {
        client.write(b"hello").unwrap();
        assert!(is_readable(&pollable, 20), "flow {at}");
        assert!(is_readable(&pollable, 0), "until the events are taken");
        assert!(set.try_wait().iter().all(|e| e.token == tokens[at]));
        assert!(!is_readable(&pollable, 0));
        assert_eq!(server.try_read(&mut [0; 8]), Ok(5));
    }
    // Events of a flow that is removed are gone with it.
    pairs[0].0.write(b"again").unwrap();
    assert!(is_readable(&pollable, 20));
    set.remove(tokens[0]);
    assert!(!is_readable(&pollable, 0));
    let other = set.pollable().unwrap();
    assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&other), std::os::fd::AsRawFd::as_raw_fd(&pollable.as_fd()));
}

#[test]
fn dropping_a_set_wakes_its_pollers() {
    let stack = Stack::new().unwrap();
    let listener = stack.bind("echo").unwrap();
    let set = FlowSet::new();
    set.add_listener(&listener);
    let pollable = set.pollable().unwrap();
    let polls = Builder::new().spawn(move || is_readable(&pollable, 20)).unwrap();
    std::thread::park_timeout(Duration::from_millis(30));
    drop(set);
    assert!(polls.join().unwrap());
    // A removed listener notifies no set.
    let asks = stack.flow("echo").timeout(BOUND);
    let client = Builder::new().spawn(move || asks.alloc().map(drop)).unwrap();
    listener.accept_timeout(BOUND).unwrap();
    client.join().unwrap().unwrap();
}

/// The reply to a requester whose EIDs are like the reference's is held back for a moment, and a caller that does not
/// wait is told when to try again.
#[test]
fn trying_does_not_lose_a_request_with_a_delayed_reply() {
    let server = Stack::new().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    let listener = server.bind("echo").unwrap();
    let set = FlowSet::new();
    set.add_listener(&listener);
    let unix = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let mut rng = Randomness::from_seed([2; 32]);
    let (_, oap) = Client::start(unix, &SecurityConfig::default(), &[], &mut rng).unwrap();
    let hash = HashAlg::Md5.hash(&Name::new("echo").unwrap());
    let request = FlowRequest { s_eid: 64, qos: QosSpec::RAW, dst: hash, data: &oap }.to_vec();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(BOUND)).unwrap();
    socket.send_to(&request, net.local_addr().unwrap()).unwrap();
    let flow = loop {
        let events = set.wait(Some(BOUND));
        assert!(events.iter().any(|e| e.event == Event::Acceptable), "it is worth while to try again: {events:?}");
        match listener.try_accept() {
            Err(AcceptError::WouldBlock) => {}
            result => break result.unwrap(),
        }
    };
    assert!(socket.recv(&mut [0; 1500]).is_ok());
    assert_eq!(flow.security().peer, PeerKind::O7s, "it says so in its request");
}
