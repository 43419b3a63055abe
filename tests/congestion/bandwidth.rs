//! Flows of a unicast layer that ask for a bandwidth: they have it, no more, and what is over waits or is dropped.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use o7s::sim::{Host, Link, Network, Queue};
use o7s::time::Instant;
use o7s::{IpcpHandle, Listener, QosSpec, UnicastLayer, aio};

use super::experiment::jain;
use super::scenario::{ms, secs};

const SIZE: usize = 1000;

/// Two members, and a link from the first to the second.
struct World {
    net: Network,
    west: (Host, IpcpHandle),
    _east: (Host, IpcpHandle),
    listener: Listener,
}

/// What came: when, after how long, and how many bytes.
type Arrived = Rc<RefCell<Vec<(Instant, Duration, usize)>>>;

impl World {
    fn new(link: Link) -> Self {
        let net = Network::new(1);
        let node = |name: &str, at: &str| net.host(name).udp4(at).build();
        let (west, east) = (node("west", "10.0.0.1"), node("east", "10.0.0.2"));
        let first = west.stack().unicast("west").over(&west.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
        let builder = east.stack().unicast("east").over(&east.udp4()[0]);
        let second = net.block_on(builder.enroll_async("west")).unwrap();
        net.block_on(second.connect_async("west")).unwrap();
        net.set_link("10.0.0.1", "10.0.0.2", link);
        net.set_link("10.0.0.2", "10.0.0.1", Link::default().latency(ms(5)));
        let listener = east.stack().bind("sink").unwrap();
        second.register("sink").unwrap();
        net.block_on(net.sleep(secs(2)));
        Self { net, west: (west, first), _east: (east, second), listener }
    }

    /// A flow, and what comes of the packets that are written to it: they begin with the time.
    fn flow(&self, qos: QosSpec) -> (aio::Flow, Arrived) {
        let stack = self.west.0.stack().clone();
        let flow = self.net.spawn(async move { stack.flow("sink").qos(qos).alloc_async().await.unwrap() });
        let sink = self.net.block_on(self.listener.accept_async()).unwrap();
        let arrived = Arrived::default();
        let (log, net) = (Rc::clone(&arrived), self.net.clone());
        self.net.spawn(async move {
            while let Ok(bytes) = sink.read_bytes().await {
                let sent = u64::from_be_bytes(bytes[..8].try_into().unwrap());
                let took = Duration::from_nanos(net.now().as_nanos() - sent);
                log.borrow_mut().push((net.now(), took, bytes.len()));
            }
        });
        (self.net.block_on(flow), arrived)
    }

    /// Packets that flows of the first member have dropped for want of a turn.
    fn dropped(&self) -> u64 {
        let rib = self.west.1.rib();
        let flows = &rib.child("flow-allocator").unwrap().children;
        assert!(!flows.is_empty(), "{rib}");
        flows.iter().map(|flow| flow.get("send_failed").unwrap()).sum()
    }
}

fn packet(net: &Network, size: usize) -> Vec<u8> {
    let mut packet = vec![7; size];
    packet[..8].copy_from_slice(&net.now().as_nanos().to_be_bytes());
    packet
}

/// Writes as fast as the flow takes it, forever.
async fn write(net: Network, flow: aio::Flow) {
    while flow.write(&packet(&net, SIZE)).await.is_ok() {}
}

/// Payload bits a second in this time.
fn rate(arrived: &Arrived, from: Instant, to: Instant) -> f64 {
    let bytes: usize = arrived.borrow().iter().filter(|(at, ..)| *at >= from && *at < to).map(|(.., n)| n).sum();
    bytes as f64 * 8.0 / to.since(from).as_secs_f64()
}

#[test]
fn a_flow_has_the_bandwidth_that_it_asked_for() {
    for preset in [QosSpec::RAW, QosSpec::BEST_EFFORT] {
        let world = World::new(Link::default().latency(ms(5)).rate(10_000_000).queue(Queue::Packets(2000)));
        let limited = QosSpec { bandwidth: 1_000_000, delay: 1000, ..preset };
        let flows: Vec<_> = [limited, preset, preset, preset].map(|qos| world.flow(qos)).into_iter().collect();
        let arrived: Vec<_> = flows.iter().map(|(_, arrived)| Rc::clone(arrived)).collect();
        for (flow, _) in flows {
            world.net.spawn(write(world.net.clone(), flow));
        }
        world.net.run_for(secs(5));
        let from = world.net.now();
        world.net.run_for(secs(20));
        let rates: Vec<_> = arrived.iter().map(|flow| rate(flow, from, world.net.now())).collect();
        println!("{preset:?}: {rates:?} b/s");
        assert!((950_000.0..=1_030_000.0).contains(&rates[0]), "{rates:?}");
        assert!(jain(&rates[1..]) >= 0.95, "{rates:?}");
        // What is left of the link, its headers not counted.
        assert!(rates.iter().sum::<f64>() >= 9_000_000.0, "{rates:?}");
    }
}

/// What came of some packets.
struct Offered {
    /// How long it took to write them.
    took: Duration,
    arrived: Vec<(Instant, Duration, usize)>,
    /// Those that the layer dropped for want of a turn.
    dropped: u64,
}

/// Writes 200 packets of `size` bytes at this distance.
fn offer(world: &World, qos: QosSpec, size: usize, every: Duration) -> Offered {
    let (flow, arrived) = world.flow(qos);
    let (net, began) = (world.net.clone(), world.net.now());
    let written = world.net.spawn(async move {
        for _ in 0..200 {
            let packet = packet(&net, size);
            flow.write(&packet).await.unwrap();
            net.sleep(every).await;
        }
        (net.now() - began, flow)
    });
    let (took, _flow) = world.net.block_on(written);
    world.net.run_for(secs(60));
    Offered { took, arrived: arrived.borrow().clone(), dropped: world.dropped() }
}

/// Twice and a half of what a call may have.
#[test]
fn what_a_call_has_too_much_is_dropped() {
    let world = World::new(Link::default().latency(ms(5)));
    let Offered { took, arrived, dropped } = offer(&world, QosSpec::VOICE, 160, ms(5));
    let latest = arrived.iter().map(|(_, took, _)| *took).max().unwrap();
    println!("{} of 200 arrived, after {latest:?} at most, {dropped} dropped, written in {took:?}", arrived.len());
    assert!(took <= secs(1) + ms(10), "the writer does not wait: {took:?}");
    // A burst of 3000 bytes, then 100 kbit/s for a second; with the header of FRCT and a checksum.
    assert!((60..=110).contains(&arrived.len()), "{} of 200", arrived.len());
    assert_eq!(dropped as usize, 200 - arrived.len());
    assert!(latest <= ms(50) + ms(10), "what comes later is of no use: {latest:?}");
}

#[test]
fn what_a_transfer_has_too_much_waits() {
    let world = World::new(Link::default().latency(ms(5)));
    let Offered { arrived, dropped, .. } =
        offer(&world, QosSpec { bandwidth: 100_000, ..QosSpec::DATA }, SIZE, Duration::ZERO);
    assert_eq!((arrived.len(), dropped), (200, 0));
    let took = arrived[199].0.since(arrived[0].0).as_secs_f64();
    // 200 packets of 1000 bytes at 12 500 bytes a second, but for a burst of 3000.
    assert!((15.0..=18.0).contains(&took), "{took} s");
}

#[test]
fn a_raw_flow_is_not_limited() {
    let world = World::new(Link::default().latency(ms(5)));
    let Offered { took, arrived, dropped } = offer(&world, QosSpec::RAW, SIZE, ms(1));
    assert_eq!((arrived.len(), dropped), (200, 0));
    assert!(took <= ms(200), "{took:?}");
    assert!(arrived.iter().all(|(_, took, _)| *took <= ms(6)));
}
