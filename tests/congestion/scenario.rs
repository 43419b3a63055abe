//! Senders that share a bottleneck: whole stacks, and simulated TCP, in virtual time.
//!
//! ```text
//! 10.0.0.2, a port for each group of senders ══ bottleneck ══> 10.0.0.1
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use o7s::congestion::Algorithm;
use o7s::settings::FrctConfig;
use o7s::sim::{Host, Link, Loss, Network, Queue, Verdict};
use o7s::stats::FrctStats as Stats;
use o7s::{QosSpec, aio};

use super::tcp::{self, Flavour};

const SENDER: &str = "10.0.0.2";
const RECEIVER: &str = "10.0.0.1";
/// Bytes around the payload of a packet: FRCT, EID, UDP, IP.
pub(crate) const AROUND: usize = 12 + 4 + 28;
/// Between two samples of what has arrived.
pub(crate) const SAMPLE: Duration = Duration::from_millis(250);
/// Between two packets of the program that only pings, and their size.
const PING: Duration = Duration::from_millis(20);
const PING_SIZE: usize = 64;
/// Between the starts of two flows.
const STAGGER: Duration = Duration::from_millis(37);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A path and who uses it.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Bits a second, IP and UDP counted.
    pub(crate) rate: u64,
    /// The round trip without a queue, for each group of flows in turn.
    pub(crate) rtts: Vec<Duration>,
    /// Packets that wait for the link.
    pub(crate) queue: usize,
    /// The way back is as narrow.
    pub(crate) both_ways: bool,
    pub(crate) loss: f64,
    pub(crate) flows: usize,
    pub(crate) tcp: Vec<Flavour>,
    pub(crate) ping: bool,
    /// Payload of a packet, bytes.
    pub(crate) size: usize,
    /// When measuring begins, after the last flow has started, and for how long.
    pub(crate) settle: Duration,
    pub(crate) measure: Duration,
    pub(crate) frct: FrctConfig,
    pub(crate) algorithm: Algorithm,
    pub(crate) seed: u64,
}

impl Setup {
    pub(crate) fn new(rate: u64, rtt: Duration, queue: usize, flows: usize) -> Self {
        Self {
            rate,
            rtts: vec![rtt],
            queue,
            both_ways: false,
            loss: 0.0,
            flows,
            tcp: Vec::new(),
            ping: false,
            size: 1400,
            settle: secs(10),
            measure: secs(30),
            frct: FrctConfig::default(),
            algorithm: Algorithm::default(),
            seed: 1,
        }
    }

    /// Payload that the link can carry, bytes a second.
    fn capacity(&self) -> f64 {
        self.rate as f64 / 8.0 * self.size as f64 / (self.size + AROUND) as f64
    }

    fn network(&self) -> (Network, Host, Vec<Host>) {
        let net = Network::new(self.seed);
        net.set_time_limit(secs(1_000_000));
        let rtt = self.rtts[0];
        let plain = Link::default().latency(rtt / 2).mtu(65_535);
        let loss = if self.loss > 0.0 { Loss::Random(self.loss) } else { Loss::None };
        let narrow = plain.rate(self.rate).queue(Queue::Packets(self.queue));
        net.set_default_link(plain);
        net.set_link(SENDER, RECEIVER, narrow.loss(loss));
        net.set_link(RECEIVER, SENDER, if self.both_ways { narrow } else { plain });
        let host = |name: &str, address: &str| {
            let limits = o7s::settings::Limits::default().frct(self.frct.clone());
            net.host(name).udp4(address).stack(|s| s.limits(limits).congestion_control(self.algorithm.clone())).build()
        };
        let server = host("server", RECEIVER);
        let client = |n: usize| host(&format!("client {n}"), &format!("{SENDER}:{}", 4000 + n));
        let clients: Vec<Host> = (0..self.rtts.len()).map(client).collect();
        let others: Vec<_> = self.rtts.iter().map(|other| *other - rtt / 2).collect();
        if others.len() > 1 {
            // The way back is what differs: the bottleneck is one for all.
            let back = move |p: &o7s::sim::Packet<'_>| match others.get(usize::from(p.dst.port()).wrapping_sub(4000)) {
                Some(after) => Verdict::Deliver(*after),
                None => Verdict::Pass,
            };
            net.on_packet(back).keep();
        }
        (net, server, clients)
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The share of what the link can carry that each flow and each TCP had.
    pub(crate) shares: Vec<f64>,
    pub(crate) tcp: Vec<f64>,
    /// Of the packets sent while it was measured, and of all, the share that the queue dropped.
    pub(crate) dropped: f64,
    pub(crate) dropped_from_start: f64,
    /// Of the flows, from their start.
    pub(crate) retransmitted: f64,
    /// Pings lost, and the longest way of one.
    pub(crate) pings_lost: f64,
    pub(crate) ping_longest: Duration,
    /// Bytes that each flow and each TCP had, by sample, from the start.
    pub(crate) samples: Vec<Vec<u64>>,
}

impl Outcome {
    pub(crate) fn used(&self) -> f64 {
        self.shares.iter().chain(&self.tcp).sum()
    }

    /// Jain's index: 1 if all have the same, 1/n if one has everything.
    pub(crate) fn jain(&self) -> f64 {
        let (sum, squares) = self.shares.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
        if squares > 0.0 { sum * sum / (self.shares.len() as f64 * squares) } else { 0.0 }
    }

    /// The least and the greatest share of all, times the number of them: 1 is fair.
    pub(crate) fn extremes(&self) -> (f64, f64) {
        let n = (self.shares.len() + self.tcp.len()) as f64;
        let all = || self.shares.iter().chain(&self.tcp).copied();
        (all().fold(f64::INFINITY, f64::min) * n, all().fold(0.0, f64::max) * n)
    }
}

type Counts = Rc<RefCell<Vec<u64>>>;

/// Accepts flows whose first packet is their number, and counts what each brings.
fn sink(net: &Network, server: &Host, counts: &Counts) {
    let (listener, inner, counts) = (server.listen("sink"), net.clone(), Rc::clone(counts));
    net.spawn(async move {
        while let Ok(flow) = listener.accept_async().await {
            let counts = Rc::clone(&counts);
            inner.spawn(async move {
                let Ok(first) = flow.read_bytes().await else { return };
                let number = usize::from(first[0]) << 8 | usize::from(first[1]);
                loop {
                    let Ok(bytes) = flow.read_bytes().await else { return };
                    counts.borrow_mut()[number] += bytes.len() as u64;
                }
            });
        }
    });
}

async fn connect(host: &Host, number: usize) -> aio::Flow {
    let flow = loop {
        let request = host.stack().flow("sink").qos(QosSpec::DATA).timeout(secs(600)).alloc_async();
        if let Ok(flow) = request.await {
            break flow;
        }
    };
    flow.write(&[(number >> 8) as u8, number as u8]).await.unwrap();
    flow
}

/// Small packets through the same bottleneck: how many arrived, and the longest way.
type Heard = Rc<Cell<(u64, Duration)>>;

fn ping(net: &Network, server: &Host, client: &Host) -> (Heard, Rc<Cell<u64>>) {
    let (heard, sent): (Heard, _) = (Rc::default(), Rc::new(Cell::new(0u64)));
    let (listener, inner, count) = (server.listen("ping"), net.clone(), Rc::clone(&heard));
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        while let Ok(bytes) = flow.read_bytes().await {
            let at = u64::from_be_bytes(bytes[..8].try_into().unwrap());
            let took = Duration::from_nanos(inner.now().as_nanos() - at);
            let (n, longest) = count.get();
            count.set((n + 1, longest.max(took)));
        }
    });
    let (stack, inner, count) = (client.stack().clone(), net.clone(), Rc::clone(&sent));
    net.spawn(async move {
        let flow = stack.flow("ping").alloc_async().await.unwrap();
        loop {
            let mut bytes = [0; PING_SIZE];
            bytes[..8].copy_from_slice(&inner.now().as_nanos().to_be_bytes());
            count.set(count.get() + 1);
            let _ = flow.write(&bytes).await;
            inner.sleep(PING).await;
        }
    });
    (heard, sent)
}

/// Flows without end: what each has of the link.
pub(crate) fn share(setup: &Setup) -> Outcome {
    let (net, server, clients) = setup.network();
    let counts: Counts = Rc::new(RefCell::new(vec![0; setup.flows]));
    sink(&net, &server, &counts);
    let began = net.now();
    let last = STAGGER * (setup.flows + setup.tcp.len()) as u32;
    let (from, end) = (began + last + setup.settle, began + last + setup.settle + setup.measure);
    let pings = setup.ping.then(|| ping(&net, &server, &clients[0]));
    let stats: Rc<RefCell<Vec<Stats>>> = Rc::default();
    let clients = Rc::new(clients);
    for number in 0..setup.flows {
        let (inner, clients, size, stats) = (net.clone(), Rc::clone(&clients), setup.size, Rc::clone(&stats));
        // Senders that start in step would stay in step.
        let late = Duration::from_micros(net.rng(&format!("start {number}")).below(37_000));
        net.spawn(async move {
            inner.sleep(STAGGER * number as u32 + late).await;
            let flow = connect(&clients[number % clients.len()], number).await;
            let data = vec![7; size];
            while inner.now() < end {
                match inner.timeout(end.since(inner.now()), flow.write(&data)).await {
                    Ok(written) => drop(written.expect("the flow is up")),
                    Err(_) => break,
                }
            }
            stats.borrow_mut().extend(flow.as_blocking().frct_stats());
            core::mem::forget(flow);
        });
    }
    let mut tcps = Vec::new();
    for (n, flavour) in setup.tcp.iter().enumerate() {
        net.block_on(net.sleep(STAGGER));
        let (from, to) = (format!("{SENDER}:{}", 7000 + n), format!("{RECEIVER}:{}", 7000 + n));
        tcps.push(tcp::start(&net, &from, &to, *flavour, setup.size + 16));
    }
    let mut outcome = Outcome { samples: vec![Vec::new(); setup.flows + tcps.len()], ..Outcome::default() };
    let (mut before, mut at_start) = (vec![0; setup.flows + tcps.len()], None);
    let now_all = || -> Vec<u64> {
        let tcp = tcps.iter().map(|t| t.get() * setup.size as u64);
        counts.borrow().iter().copied().chain(tcp).collect()
    };
    while net.now() < end {
        if at_start.is_none() && net.now() >= from {
            let heard = pings.as_ref().map(|(heard, sent)| (heard.get().0, sent.get()));
            at_start = Some((now_all(), net.link_stats(SENDER, RECEIVER), heard));
            if let Some((heard, _)) = &pings {
                heard.set((heard.get().0, Duration::ZERO));
            }
        }
        let next = net.now() + SAMPLE;
        let next = if at_start.is_none() { next.min(from) } else { next.min(end) };
        net.block_on(net.sleep_until(next));
        let now = now_all();
        for ((samples, now), before) in outcome.samples.iter_mut().zip(&now).zip(&before) {
            samples.push(now - before);
        }
        before = now;
    }
    let (first, link, heard) = at_start.expect("it has begun");
    let now = net.link_stats(SENDER, RECEIVER);
    let carried = setup.capacity() * setup.measure.as_secs_f64();
    let shares: Vec<f64> = before.iter().zip(&first).map(|(b, a)| (b - a) as f64 / carried).collect();
    outcome.shares = shares[..setup.flows].to_vec();
    outcome.tcp = shares[setup.flows..].to_vec();
    outcome.dropped = (now.queue_full - link.queue_full) as f64 / (now.sent - link.sent) as f64;
    outcome.dropped_from_start = now.queue_full as f64 / now.sent as f64;
    if let (Some((heard, sent)), Some((heard_before, sent_before))) = (pings, heard) {
        let (arrived, sent) = (heard.get().0 - heard_before, sent.get() - sent_before);
        // One that was never sent is not lost either.
        assert!(sent >= 45 * setup.measure.as_secs(), "only {sent} pings were sent");
        outcome.pings_lost = (1.0 - arrived as f64 / sent as f64).max(0.0);
        outcome.ping_longest = heard.get().1;
    }
    net.block_on(net.sleep(ms(1)));
    let stats = stats.borrow();
    // However full the queue, the path carries what it did: nothing of it is taken for a path that is narrow.
    let lowered: u64 = stats.iter().map(|flow| flow.lowered).sum();
    assert_eq!(lowered, 0, "flows lowered the size of their packets: {setup:?}");
    let (sent, again) = stats.iter().fold((0, 0), |(s, r), x| (s + x.sent, r + x.retransmitted));
    outcome.retransmitted = again as f64 / (sent as f64).max(1.0);
    outcome
}

/// What a transfer took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transfer {
    /// Whether every byte arrived and every flow lived.
    pub(crate) complete: bool,
    /// Goodput, as a share of what the link can carry in the time of the slowest.
    pub(crate) used: f64,
    pub(crate) retransmitted: f64,
    pub(crate) took: f64,
}

/// Each flow brings `total` bytes across. After `change.0` the round trip is `change.1`.
pub(crate) fn transfer(setup: &Setup, total: usize, change: Option<(Duration, Duration)>) -> Transfer {
    let (net, server, clients) = setup.network();
    let counts: Counts = Rc::new(RefCell::new(vec![0; setup.flows]));
    sink(&net, &server, &counts);
    if let Some((after, rtt)) = change {
        let inner = net.clone();
        let link = Link::default().latency(rtt / 2).mtu(65_535);
        let narrow = link.rate(setup.rate).queue(Queue::Packets(setup.queue));
        net.spawn(async move {
            inner.sleep(after).await;
            inner.set_link(SENDER, RECEIVER, narrow);
            inner.set_link(RECEIVER, SENDER, link);
        });
    }
    let (sent, size) = (Rc::new(Cell::new(0u32)), setup.size);
    let count = Rc::clone(&sent);
    // Packets of data are the large ones; they go one way only.
    net.on_packet(move |p: &o7s::sim::Packet<'_>| {
        count.set(count.get() + u32::from(p.data.len() >= size));
        Verdict::Pass
    })
    .keep();
    let clients = Rc::new(clients);
    let mut tasks = Vec::new();
    let packets = total / setup.size;
    for number in 0..setup.flows {
        let (inner, clients) = (net.clone(), Rc::clone(&clients));
        // Of a few packets.
        let apart = STAGGER.as_micros() as u64 + 4 * setup.size as u64 * 8_000_000 / setup.rate;
        let late = Duration::from_micros(net.rng(&format!("start {number}")).below(apart));
        tasks.push(net.spawn(async move {
            inner.sleep(STAGGER * number as u32 + late).await;
            let flow = connect(&clients[0], number).await;
            let began = inner.now();
            for _ in 0..packets {
                if flow.write(&vec![7; size]).await.is_err() {
                    break;
                }
            }
            let closed = flow.close(secs(100_000)).await.is_ok();
            (closed, inner.now().since(began).as_secs_f64())
        }));
    }
    let mut done = Transfer { complete: true, ..Transfer::default() };
    for task in tasks {
        let (closed, took) = net.block_on(task);
        done.complete &= closed;
        done.took = done.took.max(took);
    }
    done.complete &= counts.borrow().iter().all(|n| *n == (packets * setup.size) as u64);
    done.used = (packets * setup.size * setup.flows) as f64 / done.took / setup.capacity();
    // The first packet of a flow, which is its number, is a small one.
    let data = (packets * setup.flows) as f64;
    done.retransmitted = f64::from(sent.get()) / data - 1.0;
    done
}
