//! A bottleneck in virtual time: flows with paths of different lengths, one queue, marks, updates.

use alloc::boxed::Box;
use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;
use core::ops::Range;

use super::reference::{ReferenceReceiver, ReferenceSender};
use super::{ON, mark};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::forward::ca::{Feedback, Pacer, Receiver};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1000 * MS;
/// Bytes of a packet.
pub(super) const PACKET: u64 = 1000;
/// Packets that the queue takes.
const QUEUE: usize = 1023;
/// The most that a packet of ours is late.
const LATEST: u64 = 20_000;
/// Between two samples of throughput and of the queue.
const SAMPLE: u64 = 50 * MS;

/// Controller of a sender.
pub(super) enum Sender {
    Ours(Box<Pacer>),
    Reference(ReferenceSender),
}

/// A flow of packets of one size.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    /// Begin and end, nanoseconds.
    pub(super) during: (u64, u64),
    /// The round-trip time without queues, nanoseconds.
    pub(super) rtt: u64,
    /// The sender is a reference, and the feedback of its receiver: a reference tells levels.
    pub(super) reference: bool,
    pub(super) feedback: Feedback,
    /// Bytes per second that the application has to send, if not as many as it can.
    pub(super) wants: Option<u64>,
    /// The share of updates that get lost.
    pub(super) deaf: f64,
    pub(super) cut: Option<Cut>,
}

/// A path that is gone for a while, and another one that is found then.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) during: (u64, u64),
    /// The round-trip time from then on, nanoseconds.
    pub(super) rtt: u64,
}

impl Flow {
    /// A flow of ours without end that sends what it can.
    pub(super) const fn greedy(rtt: u64) -> Self {
        Self {
            during: (0, u64::MAX),
            rtt,
            reference: false,
            feedback: Feedback::Reports,
            wants: None,
            deaf: 0.0,
            cut: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The application has a packet.
    Offer(usize),
    /// A packet goes, and the next one can be offered.
    Go(usize),
    Enqueue(usize, Data),
    Transmitted,
    Deliver(usize, Data, u8),
    Update(usize, u16),
    Report(usize, Report),
    /// Another path is found.
    Reroute(usize),
}

/// Kind of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Data {
    Payload,
    /// A question to the receiver: so many packets have been sent.
    Question(u32),
}

/// Report of a receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Report {
    delivered: u32,
    marks: u32,
    answers: Option<u32>,
}

struct State {
    flow: Flow,
    sender: Sender,
    receiver: Receiver,
    reference: ReferenceReceiver,
    next_wanted: u64,
    /// Since when the application has had a packet that may not go, and when it is offered again.
    waiting: Option<(u64, u64)>,
    waited: u64,
}

impl State {
    fn is_cut(&self, now: u64) -> bool {
        self.flow.cut.is_some_and(|Cut { during: (from, to), .. }| from <= now && now < to)
    }
}

/// Result of a run.
pub(super) struct Outcome {
    /// Packets a second that the link carries.
    capacity: f64,
    /// Packets delivered in each sample, by flow.
    delivered: Vec<Vec<u32>>,
    /// The longest queue in each sample, packets.
    queue: Vec<usize>,
    pub(super) drops: u64,
    pub(super) packets: u64,
    pub(super) updates: u64,
    /// The longest that a packet waited for its turn, by flow, nanoseconds.
    pub(super) waited: Vec<u64>,
}

impl Outcome {
    fn samples(during: &Range<u64>) -> Range<usize> {
        (during.start / SAMPLE) as usize..(during.end / SAMPLE) as usize
    }

    /// The share of the link that each flow had.
    pub(super) fn shares(&self, during: Range<u64>) -> Vec<f64> {
        let seconds = (during.end - during.start) as f64 / SECOND as f64;
        let packets = |flow: &Vec<u32>| flow[Self::samples(&during)].iter().sum::<u32>();
        self.delivered.iter().map(|flow| f64::from(packets(flow)) / seconds / self.capacity).collect()
    }

    /// The share of the link that was used.
    pub(super) fn used(&self, during: Range<u64>) -> f64 {
        self.shares(during).iter().sum()
    }

    /// Jain's index of the first `flows` flows.
    pub(super) fn jain(&self, flows: usize, during: Range<u64>) -> f64 {
        jain(&self.shares(during)[..flows])
    }

    /// The median of the queue, and what was exceeded in one of a hundred samples, of the longest in each.
    pub(super) fn queue(&self, during: Range<u64>) -> (usize, usize) {
        let mut queue = self.queue[Self::samples(&during)].to_vec();
        queue.sort_unstable();
        (queue[queue.len() / 2], queue[(queue.len() - 1) * 99 / 100])
    }
}

/// Jain's index: 1 if all are equal, 1/n if one has everything.
pub(super) fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    if squares == 0.0 { 0.0 } else { sum * sum / (shares.len() as f64 * squares) }
}

struct World {
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    flows: Vec<State>,
    queue: VecDeque<(usize, Data, u8)>,
    /// Nanoseconds to transmit a packet.
    transmit: u64,
    rng: Rng,
    outcome: Outcome,
}

/// Lets `flows` share a link of `capacity` bytes of payload per second until `end`.
pub(super) fn run(capacity: u64, flows: &[Flow], end: u64) -> Outcome {
    run_with(7, capacity, flows, end)
}

/// The same with another beginning of chance.
pub(super) fn run_with(seed: u8, capacity: u64, flows: &[Flow], end: u64) -> Outcome {
    let mut world = World::new(seed, capacity, flows, end);
    while let Some(Reverse((at, _, event))) = world.events.pop() {
        if at >= end {
            break;
        }
        world.now = at;
        world.handle(event);
    }
    world.outcome.waited = world.flows.iter().map(|flow| flow.waited).collect();
    world.outcome
}

impl World {
    fn new(seed: u8, capacity: u64, flows: &[Flow], end: u64) -> Self {
        let samples = (end / SAMPLE + 1) as usize;
        let state = |flow: &Flow| State {
            flow: *flow,
            sender: match flow.reference {
                true => Sender::Reference(ReferenceSender::new(flow.during.0)),
                false => Sender::Ours(Box::new(Pacer::new(Instant::from_nanos(flow.during.0), ON, flow.feedback))),
            },
            receiver: Receiver::new(ON, flow.feedback),
            reference: ReferenceReceiver::default(),
            next_wanted: flow.during.0,
            waiting: None,
            waited: 0,
        };
        let mut world = Self {
            now: 0,
            order: 0,
            events: BinaryHeap::new(),
            flows: flows.iter().map(state).collect(),
            queue: VecDeque::new(),
            transmit: PACKET * SECOND / capacity,
            rng: Rng::from_seed([seed; 32]),
            outcome: Outcome {
                capacity: capacity as f64 / PACKET as f64,
                delivered: vec![vec![0; samples]; flows.len()],
                queue: vec![0; samples],
                drops: 0,
                packets: 0,
                updates: 0,
                waited: Vec::new(),
            },
        };
        for (n, flow) in flows.iter().enumerate() {
            let jitter = world.rng.below(MS);
            world.at(flow.during.0 + jitter, Event::Offer(n));
            if let Some(cut) = flow.cut {
                world.at(cut.during.1, Event::Reroute(n));
            }
        }
        world
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            // Not one that was meanwhile overtaken by a report.
            Event::Offer(n) if self.flows[n].waiting.is_some_and(|(_, at)| at != now) => {}
            Event::Offer(n) => self.offer(n),
            Event::Go(n) => self.go(n),
            Event::Enqueue(n, _) if self.flows[n].is_cut(now) => {}
            Event::Enqueue(n, data) => {
                let sample = &mut self.outcome.queue[(now / SAMPLE) as usize];
                *sample = (*sample).max(self.queue.len());
                let ecn = mark(ON, 0, self.queue.len());
                if self.queue.len() >= QUEUE {
                    self.outcome.drops += u64::from(data == Data::Payload);
                    return;
                }
                self.queue.push_back((n, data, ecn));
                if self.queue.len() == 1 {
                    self.transmit();
                }
            }
            Event::Transmitted => {
                let (n, data, ecn) = self.queue.pop_front().unwrap();
                self.transmit();
                self.at(now + self.flows[n].flow.rtt / 4, Event::Deliver(n, data, ecn));
            }
            Event::Deliver(n, data, ecn) => self.deliver(n, data, ecn),
            Event::Reroute(n) => self.reroute(n),
            Event::Update(n, level) => match &mut self.flows[n].sender {
                Sender::Ours(pacer) => pacer.update(Instant::from_nanos(now), level),
                Sender::Reference(sender) => sender.update(level),
            },
            Event::Report(n, Report { delivered, marks, answers }) => {
                if let Sender::Ours(pacer) = &mut self.flows[n].sender {
                    pacer.report(Instant::from_nanos(now), delivered, marks, answers);
                }
                if self.flows[n].waiting.is_some() {
                    self.offer(n);
                }
            }
        }
    }

    fn reroute(&mut self, n: usize) {
        let state = &mut self.flows[n];
        if let Some(cut) = state.flow.cut {
            state.flow.rtt = cut.rtt;
        }
        if let Sender::Ours(pacer) = &mut state.sender {
            pacer.handle_path_change(Instant::from_nanos(self.now));
            self.offer(n);
        }
    }

    /// The first packet of the queue begins to leave; a question is an eighth of the others.
    fn transmit(&mut self) {
        if let Some((_, data, _)) = self.queue.front() {
            let takes = if *data == Data::Payload { self.transmit } else { self.transmit / 8 };
            self.at(self.now + takes, Event::Transmitted);
        }
    }

    fn offer(&mut self, n: usize) {
        let (now, state) = (self.now, &mut self.flows[n]);
        if now >= state.flow.during.1 {
            return;
        }
        if state.flow.wants.is_some() && now < state.next_wanted {
            let next = state.next_wanted;
            return self.at(next, Event::Offer(n));
        }
        match &mut state.sender {
            Sender::Ours(pacer) => match pacer.may_send(Instant::from_nanos(now)) {
                Ok(()) => self.go(n),
                Err(again) => {
                    let again = again.as_nanos().max(now + 1);
                    let since = state.waiting.map_or(now, |(since, _)| since);
                    state.waiting = Some((since, again));
                    self.at(again, Event::Offer(n));
                    self.ask(n);
                }
            },
            Sender::Reference(sender) => {
                let at = now + sender.pause(now, PACKET);
                self.at(at, Event::Go(n));
            }
        }
    }

    /// Asks the receiver what has arrived, if it is time to.
    fn ask(&mut self, n: usize) {
        let rtt = self.flows[n].flow.rtt;
        if let Sender::Ours(pacer) = &mut self.flows[n].sender
            && let Some(sent) = pacer.ask(Instant::from_nanos(self.now))
        {
            self.at(self.now + rtt / 4 + LATEST, Event::Enqueue(n, Data::Question(sent)));
        }
    }

    fn go(&mut self, n: usize) {
        let now = self.now;
        let state = &mut self.flows[n];
        let flow = state.flow;
        if let Some((since, _)) = state.waiting.take() {
            state.waited = state.waited.max(now - since);
        }
        if let Some(rate) = flow.wants {
            state.next_wanted += PACKET * SECOND / rate;
        }
        // A reference needs some time for a packet: it has a thread that handles one after the other.
        let (pause, jitter) = match &mut state.sender {
            Sender::Ours(pacer) => {
                pacer.sent(Instant::from_nanos(now), PACKET as usize);
                (0, LATEST)
            }
            Sender::Reference(_) => (20_000 + self.rng.below(40_000), 0),
        };
        let late = self.rng.below(jitter);
        self.at(now + flow.rtt / 4 + late, Event::Enqueue(n, Data::Payload));
        self.ask(n);
        self.at(now + pause, Event::Offer(n));
    }

    fn deliver(&mut self, n: usize, data: Data, ecn: u8) {
        let now = Instant::from_nanos(self.now);
        let state = &mut self.flows[n];
        let reports = state.flow.feedback == Feedback::Reports && !state.flow.reference;
        let (level, answers) = match data {
            Data::Payload => {
                self.outcome.packets += 1;
                self.outcome.delivered[n][(self.now / SAMPLE) as usize] += 1;
                let of_reference = state.flow.reference;
                let told =
                    if of_reference { state.reference.delivered(ecn) } else { state.receiver.delivered(now, ecn) };
                (told, None)
            }
            Data::Question(sent) => (Some(0), Some(sent)),
        };
        let Some(level) = level else { return };
        self.outcome.updates += 1;
        let (delivered, marks) = state.receiver.report(now);
        let (at, lost) = (self.now + state.flow.rtt / 2, self.rng.chance(state.flow.deaf));
        if !lost {
            let report = Report { delivered, marks, answers };
            self.at(at, if reports { Event::Report(n, report) } else { Event::Update(n, level) });
        }
    }
}
