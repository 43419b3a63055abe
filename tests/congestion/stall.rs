//! Retransmissions that are lost, too: what an answer proves is repaired at once, not one packet a timeout.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use o7s::aio::Flow;
use o7s::sim::{Host, Link, Network, Packet, Queue, Verdict};
use o7s::time::Instant;
use o7s::{Listener, QosSpec};

use super::scenario::{ms, secs};

const PAYLOAD: usize = 1400;

/// The path of the packets, which drops some of them, and knows them by their sequence numbers.
#[derive(Default)]
struct Path {
    /// The numbers of all packets so far: what comes twice is sent again.
    seen: BTreeSet<[u8; 4]>,
    /// So many of those that are sent for the first time are still to be dropped.
    left: usize,
    /// Everything that is sent again is dropped.
    dropping: bool,
    /// What was dropped when it was sent for the first time, and the message in it.
    lost: BTreeMap<[u8; 4], u32>,
    /// Packets that were dropped when they were sent again.
    again: usize,
    /// After the path is free it lets one packet that is sent again pass in this time. Zero: all.
    pause: Duration,
    free_at: Option<Instant>,
    /// When the packets that were lost were let through.
    through: BTreeMap<[u8; 4], Instant>,
}

impl Path {
    fn decide(&mut self, packet: &Packet<'_>) -> Verdict {
        if packet.data.len() < PAYLOAD {
            return Verdict::Pass;
        }
        let number: [u8; 4] = packet.data[8..12].try_into().unwrap();
        if self.seen.insert(number) {
            if self.left == 0 {
                return Verdict::Pass;
            }
            self.left -= 1;
            self.lost.insert(number, u32::from_be_bytes(packet.data[16..20].try_into().unwrap()));
            return Verdict::Drop;
        }
        if self.dropping {
            self.again += 1;
            return Verdict::Drop;
        }
        if self.pause > Duration::ZERO && self.lost.contains_key(&number) {
            if self.free_at.is_some_and(|at| packet.at < at) {
                return Verdict::Drop;
            }
            self.free_at = Some(packet.at + self.pause);
        }
        if self.lost.contains_key(&number) {
            self.through.entry(number).or_insert(packet.at);
        }
        Verdict::Pass
    }
}

/// What came of it.
#[derive(Debug)]
struct Repair {
    /// From when the path was free until the last of the packets was let through, and until it was read.
    sent: Duration,
    read: Duration,
    /// The sender's smoothed round trip when the path became free.
    round_trip: Duration,
}

/// Writes messages that begin with their number, for as long as the simulation runs.
async fn write(flow: Rc<Flow>) {
    let mut message = [7; PAYLOAD];
    for number in 0u32.. {
        message[..4].copy_from_slice(&number.to_be_bytes());
        flow.write(&message).await.unwrap();
    }
}

/// Reads them: they come in order, and none is missing. Says when each was read.
async fn read(net: Network, listener: Listener, at: Rc<RefCell<Vec<Instant>>>) {
    let flow = listener.accept_async().await.unwrap();
    while let Ok(message) = flow.read_bytes().await {
        let number = u32::from_be_bytes(message[..4].try_into().unwrap());
        assert_eq!(number as usize, at.borrow().len(), "in order");
        at.borrow_mut().push(net.now());
    }
}

fn hosts(net: &Network) -> (Host, Host) {
    let link = Link::default().latency(ms(20));
    net.set_default_link(link);
    net.set_link("10.0.0.2", "10.0.0.1", link.rate(10_000_000).queue(Queue::Packets(100)));
    (net.host("server").udp4("10.0.0.1").build(), net.host("client").udp4("10.0.0.2").build())
}

/// A run of packets is lost, and with them everything that is sent again within a second. Then the path is free.
fn repair(seed: u64, run: usize, pause: Duration) -> Repair {
    let net = Network::new(seed);
    let (server, client) = hosts(&net);
    let path = Rc::new(RefCell::new(Path { pause, ..Path::default() }));
    let rule = Rc::clone(&path);
    net.on_packet(move |packet| rule.borrow_mut().decide(packet)).keep();
    let arrived = Rc::<RefCell<Vec<Instant>>>::default();
    net.spawn(read(net.clone(), server.listen("sink"), Rc::clone(&arrived)));
    let stack = client.stack().clone();
    let flow = net.block_on(async move { stack.flow("sink").qos(QosSpec::DATA).alloc_async().await.unwrap() });
    let flow = Rc::new(flow);
    net.spawn(write(Rc::clone(&flow)));
    net.run_for(secs(5));
    path.borrow_mut().dropping = true;
    path.borrow_mut().left = run;
    net.run_for(secs(1));
    let stuck = arrived.borrow().len();
    net.run_for(ms(100));
    assert_eq!(arrived.borrow().len(), stuck, "the reader waits for the gap");
    path.borrow_mut().dropping = false;
    let (free, round_trip) = (net.now(), flow.as_blocking().frct_path().unwrap().round_trip);
    let last = {
        let path = path.borrow();
        assert_eq!((path.left, path.lost.len()), (0, run), "all of the run were dropped");
        assert!(path.again >= run, "each of them once more: {} of {run}", path.again);
        assert_eq!(path.lost.values().min(), Some(&(stuck as u32)), "the reader waits for the first of them");
        *path.lost.values().max().unwrap() as usize
    };
    while arrived.borrow().len() <= last {
        assert!(net.now().since(free) < secs(60), "{run}: {} of {run} repaired", path.borrow().through.len());
        net.run_for(ms(1));
    }
    let path = path.borrow();
    assert_eq!(path.through.len(), run);
    let sent = path.through.values().max().unwrap().since(free);
    Repair { sent, read: arrived.borrow()[last].since(free), round_trip }
}

#[test]
fn lost_retransmissions_are_repaired_within_two_round_trips() {
    for (seed, run) in [(1, 4), (2, 12), (3, 40)] {
        let repair = repair(seed, run, Duration::ZERO);
        println!("{run} packets and their retransmissions lost for 1.1 s: {repair:?}");
        assert!(repair.round_trip <= ms(40 + 116), "40 ms and a queue of 100 packets of 1.16 ms: {repair:?}");
        assert!(repair.read <= repair.round_trip * 2, "{run}: {repair:?}");
    }
}

/// What the test above is about: a sender whose repairs get through one by one is seen to miss what it demands.
#[test]
fn one_repair_in_200_ms_is_seen() {
    for (seed, run) in [(1, 4), (2, 12)] {
        let repair = repair(seed, run, ms(200));
        assert!(repair.sent >= ms(200) * (run as u32 - 1), "{run}: {repair:?}");
        assert!(repair.read > repair.round_trip * 2, "{run}: {repair:?}");
    }
}
