//! Flows that share a bottleneck: whole stacks in virtual time.
//!
//! ```text
//! sender 0 ─╮
//! sender 1 ─┼─ west ══ bottleneck ══ east
//! ...      ─╯
//! ```

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use o7s::rib::Rib;
use o7s::sim::{Host, Link, Network, Queue};
use o7s::{IpcpHandle, QosSpec, UnicastLayer};

/// Between two samples.
pub(crate) const SAMPLE: Duration = Duration::from_millis(50);
/// Bytes around a payload on the wire: IP, UDP, the shim's EID and the data-transfer header.
const HEADERS: usize = 28 + 4 + 15;

/// What is to be tried out.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Bits per second that the bottleneck transmits.
    pub(crate) rate: u64,
    /// Bytes of a packet's payload.
    pub(crate) size: usize,
    /// Flows that are there all the time, and that come and go in between.
    pub(crate) flows: usize,
    pub(crate) guests: usize,
    /// The round-trip times of the flows, in turn; at least 2 ms each.
    pub(crate) rtts: Vec<Duration>,
    /// How long the guests are waited for, stay, and are missed.
    pub(crate) phase: Duration,
    /// Whether the flows have FRCT, with its own congestion control above the layer's.
    pub(crate) reliable: bool,
    pub(crate) seed: u64,
}

/// What came of it, sample by sample.
pub(crate) struct Outcome {
    setup: Setup,
    /// Packets delivered, by flow.
    pub(crate) delivered: Vec<Vec<u32>>,
    /// Packets that waited for the bottleneck, by sample.
    pub(crate) queue: Vec<u64>,
    /// Packets for which there was no room there.
    overflow: u64,
}

impl Outcome {
    /// What the link can carry, packets per second.
    pub(crate) fn capacity(&self) -> f64 {
        self.setup.rate as f64 / 8.0 / (self.setup.size + HEADERS) as f64
    }

    /// The bits per second of payload that flow `n` had in a sample.
    pub(crate) fn throughput(&self, n: usize, sample: usize) -> f64 {
        let packets = self.delivered.get(n).and_then(|flow| flow.get(sample)).copied().unwrap_or(0);
        f64::from(packets) * self.setup.size as f64 * 8.0 / SAMPLE.as_secs_f64()
    }

    /// The shares of the link that the first `n` flows had between two moments.
    pub(crate) fn shares(&self, n: usize, from: Duration, to: Duration) -> Vec<f64> {
        let (from, to) = (sample(from), sample(to));
        let carried = self.capacity() * SAMPLE.as_secs_f64() * (to - from) as f64;
        let packets = |flow: &Vec<u32>| flow.iter().skip(from).take(to - from).sum::<u32>();
        self.delivered.iter().take(n).map(|flow| f64::from(packets(flow)) / carried).collect()
    }

    /// The share of all packets that the bottleneck dropped.
    pub(crate) fn dropped(&self) -> f64 {
        let delivered: u64 = self.delivered.iter().flatten().copied().map(u64::from).sum();
        self.overflow as f64 / ((self.overflow + delivered) as f64).max(1.0)
    }

    /// The longest queue and the median between two moments, packets.
    pub(crate) fn queue(&self, from: Duration, to: Duration) -> (u64, u64) {
        let mut queue: Vec<_> = self.queue.iter().skip(sample(from)).take(sample(to) - sample(from)).copied().collect();
        queue.sort_unstable();
        (queue.last().copied().unwrap_or(0), queue.get(queue.len() / 2).copied().unwrap_or(0))
    }
}

/// Which sample a moment is in.
fn sample(at: Duration) -> usize {
    (at.as_nanos() / SAMPLE.as_nanos()) as usize
}

/// Jain's index: 1 if all have the same, 1/n if one has everything.
pub(crate) fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    if squares > 0.0 { sum * sum / (shares.len() as f64 * squares) } else { 0.0 }
}

/// A host with its member of the layer.
struct Node {
    host: Host,
    member: IpcpHandle,
}

fn node(net: &Network, name: &str, addr: &str, enroll: Option<&str>) -> Result<Node, Box<dyn Error + Send + Sync>> {
    let host = net.host(name).udp4(addr).build();
    let udp = host.udp4().first().ok_or("the host has no address")?;
    let builder = host.stack().unicast(name).over(udp);
    let member = match enroll {
        None => builder.bootstrap(UnicastLayer::new("net"))?,
        Some(by) => {
            let member = net.block_on(builder.enroll_async(by))?;
            net.block_on(member.connect_async(by))?;
            member
        }
    };
    Ok(Node { host, member })
}

/// Tries it out.
///
/// # Errors
/// What keeps the stacks from building the layer.
pub(crate) fn run(setup: &Setup) -> Result<Outcome, Box<dyn Error + Send + Sync>> {
    let net = Network::new(setup.seed);
    let west = node(&net, "west", "10.0.0.1", None)?;
    let east = node(&net, "east", "10.0.0.2", Some("west"))?;
    let half = Duration::from_micros(500);
    let mut senders = Vec::new();
    for (n, rtt) in setup.rtts.iter().enumerate() {
        let addr = format!("10.0.1.{}", n + 1);
        senders.push(node(&net, &format!("sender-{n}"), &addr, Some("west"))?);
        net.set_link_between(addr.as_str(), "10.0.0.1", Link::default().latency((*rtt / 2).saturating_sub(half)));
    }
    let bottleneck = Link::default().latency(half).rate(setup.rate).queue(Queue::Packets(2000));
    net.set_link("10.0.0.1", "10.0.0.2", bottleneck);
    net.set_link("10.0.0.2", "10.0.0.1", Link::default().latency(half));
    net.block_on(net.sleep(Duration::from_secs(1)));

    let all = setup.flows + setup.guests;
    let listener = east.host.stack().bind("sink")?;
    east.member.register("sink")?;
    net.block_on(net.sleep(Duration::from_secs(1)));
    let delivered: Vec<_> = (0..all).map(|_| Rc::new(Cell::new(0))).collect();
    let mut flows = Vec::new();
    for (count, sender) in delivered.iter().zip(senders.iter().cycle()) {
        let (sender, reliable) = (sender.host.stack().clone(), setup.reliable);
        let flow = net.spawn(async move {
            sender.flow("sink").qos(if reliable { QosSpec::DATA } else { QosSpec::RAW }).alloc_async().await
        });
        let sink = net.block_on(listener.accept_async())?;
        flows.push(net.block_on(flow)?);
        let count = Rc::clone(count);
        net.spawn(async move {
            while sink.read_bytes().await.is_ok() {
                count.set(count.get() + 1);
            }
        });
    }

    let began = net.now();
    for (n, flow) in flows.into_iter().enumerate() {
        let (comes, goes) = match n < setup.flows {
            true => (Duration::ZERO, setup.phase * 4),
            false => (setup.phase, setup.phase * 2),
        };
        let (start, clock) = (net.sleep_until(began + comes + Duration::from_millis(n as u64)), net.clock());
        let payload = vec![0; setup.size];
        net.spawn(async move {
            start.await;
            while clock.now() < began + goes && flow.write(&payload).await.is_ok() {}
            flow
        });
    }
    let samples = sample(setup.phase * if setup.guests > 0 { 3 } else { 1 });
    let mut outcome =
        Outcome { setup: setup.clone(), delivered: vec![Vec::new(); all], queue: Vec::new(), overflow: 0 };
    for n in 1..=samples {
        net.block_on(net.sleep_until(began + SAMPLE * n as u32));
        outcome.queue.push(sum(&west.member.rib(), "queued"));
        for (flow, count) in outcome.delivered.iter_mut().zip(&delivered) {
            flow.push(count.take());
        }
    }
    outcome.overflow = sum(&west.member.rib(), "overflow");
    Ok(outcome)
}

/// What is counted of all adjacencies of a member.
fn sum(rib: &Rib, what: &str) -> u64 {
    let own = if rib.sort() == Some("adjacency") { rib.get(what).unwrap_or(0) } else { 0 };
    own + rib.children.iter().map(|child| sum(child, what)).sum::<u64>()
}
