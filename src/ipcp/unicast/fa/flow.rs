//! One end of a flow, as the layer knows it: where it goes, how fast it may, what it has met.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicUsize, Ordering};

use smallvec::SmallVec;
use spin::Once;

use super::is_of_reference;
use crate::base::buf::PacketBuf;
use crate::base::sync::{AtomicU64, Mutex};
use crate::base::time::Instant;
use crate::base::timers::TimerId;
use crate::flow::{BURST, Drive, Endpoint, Event, Outgoing, Port};
use crate::forward::ca::{Feedback, Pacer, Receiver};
use crate::forward::shape::{Admission, Shaper};
use crate::ipcp::unicast::Unicast;
use crate::ipcp::unicast::dt::adjacency::Adjacency;
use crate::ipcp::{Answer, give_up};
use crate::types::device::SendError;
use crate::types::id::{Address, Eid};
use crate::types::qos::{QosCube, QosSpec};
use crate::wire::dt::FLOW_ALLOCATOR;
use crate::wire::fa::{FlowUpdate, Message, Report};

/// Packets that still go when an endpoint is gone: by which it says so, and what may come with them.
const LAST: usize = 4;

/// One end of an N+1 flow.
pub(in crate::ipcp::unicast) struct FaFlow {
    eid: Eid,
    peer: Address,
    cube: QosCube,
    endpoint: Arc<Endpoint>,
    unicast: Weak<Unicast>,
    /// The peer's EID, once it is known.
    remote: Once<Eid>,
    /// Who waits for the reply; `None` once it has come, and on the accepting side.
    requested: Mutex<Option<(Arc<dyn Answer>, u64)>>,
    tx: Mutex<Tx>,
    /// Packets that wait for their turn.
    waiting: AtomicUsize,
    /// The moment when the first of them may go is being waited for.
    timer: Mutex<Option<TimerId>>,
    rx: Mutex<Receiver>,
    pub(in crate::ipcp::unicast) counters: Counters,
}

struct Tx {
    pacer: Pacer,
    shaper: Shaper,
    queue: VecDeque<PacketBuf>,
}

/// What becomes of a packet.
enum Turn {
    Now,
    At(Instant),
    Never,
}

impl Tx {
    /// Whether it is the turn of a packet of `len` bytes; if so, it counts as sent.
    fn turn(&mut self, now: Instant, len: usize) -> Turn {
        if let Err(at) = self.pacer.may_send(now) {
            return Turn::At(at);
        }
        match self.shaper.admit(now, len) {
            Admission::Pass => {
                self.pacer.sent(now, len);
                Turn::Now
            }
            Admission::Wait(at) => Turn::At(at),
            Admission::Drop => Turn::Never,
        }
    }
}

/// What the flow has counted, as the reference does.
#[derive(Default)]
pub(in crate::ipcp::unicast) struct Counters {
    pub(in crate::ipcp::unicast) sent: AtomicU64,
    pub(in crate::ipcp::unicast) sent_bytes: AtomicU64,
    pub(in crate::ipcp::unicast) send_failed: AtomicU64,
    pub(in crate::ipcp::unicast) received: AtomicU64,
    pub(in crate::ipcp::unicast) received_bytes: AtomicU64,
    pub(in crate::ipcp::unicast) updates_sent: AtomicU64,
    pub(in crate::ipcp::unicast) updates_received: AtomicU64,
}

impl FaFlow {
    pub(super) fn new(
        unicast: &Unicast,
        eid: Eid,
        peer: Address,
        qos: &QosSpec,
        endpoint: &Arc<Endpoint>,
        requested: Option<(Arc<dyn Answer>, u64)>,
    ) -> Arc<Self> {
        let now = unicast.clock.now();
        let policy = unicast.unicast.congestion;
        Arc::new(Self {
            eid,
            peer,
            cube: QosCube::from(qos),
            endpoint: Arc::clone(endpoint),
            unicast: Weak::clone(&unicast.me),
            remote: Once::new(),
            requested: Mutex::new(requested),
            tx: Mutex::new(Tx {
                pacer: Pacer::new(now, policy, Feedback::Levels),
                shaper: Shaper::new(now, qos),
                queue: VecDeque::new(),
            }),
            waiting: AtomicUsize::new(0),
            timer: Mutex::new(None),
            rx: Mutex::new(Receiver::new(policy, Feedback::Levels)),
            counters: Counters::default(),
        })
    }

    pub(in crate::ipcp::unicast) fn eid(&self) -> Eid {
        self.eid
    }

    pub(in crate::ipcp::unicast) fn peer(&self) -> Address {
        self.peer
    }

    /// Who waits for the reply; nobody does a second time.
    pub(super) fn take_requested(&self) -> Option<(Arc<dyn Answer>, u64)> {
        self.requested.lock().take()
    }

    /// Ends the waiting for a reply. `false` if it has come.
    pub(super) fn withdraw(&self) -> bool {
        self.take_requested().is_some()
    }

    /// An open flow cannot go on: the layer knows us by another address now, or not at all. A request that has not been
    /// answered is repeated.
    pub(in crate::ipcp::unicast) fn mark_down(&self) {
        if self.remote.get().is_some() {
            self.endpoint.mark_down(Event::Down);
        }
    }

    /// The layer is left: whoever waits for a reply waits in vain, and the other end of an open flow is told.
    pub(in crate::ipcp::unicast) fn give_up(&self) {
        give_up(self.take_requested(), &self.endpoint);
    }

    // ----- up -----

    /// Takes packets from the layer, each with the congestion that it has met.
    pub(in crate::ipcp::unicast) fn receive(&self, now: Instant, pkts: &mut Outgoing, ecn: &[u8]) {
        let bytes: usize = pkts.iter().map(|p| p.len()).sum();
        self.counters.received.fetch_add(pkts.len() as u64, Ordering::Relaxed);
        self.counters.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let updates: SmallVec<[u16; 4]> = {
            let mut rx = self.rx.lock();
            ecn.iter().filter_map(|ecn| rx.delivered(now, *ecn)).collect()
        };
        self.endpoint.receive(now, pkts.drain(..));
        if updates.is_empty() {
            return;
        }
        let (Some(remote), Some(unicast)) = (self.remote.get(), self.unicast.upgrade()) else { return };
        if self.feedback(*remote) == Feedback::Reports {
            // The last of them says it all.
            return self.tell(now, &unicast, None, None);
        }
        // Every one of them is sent: the sender counts them.
        for ece in updates {
            self.originate(now, &unicast, FlowUpdate { r_eid: *remote, ece, report: None });
        }
    }

    fn originate(&self, now: Instant, unicast: &Unicast, update: FlowUpdate) {
        self.counters.updates_sent.fetch_add(1, Ordering::Relaxed);
        let message = Message::Update(update).to_vec();
        // A question must not overtake the packets that it is about; levels go as a reference sends them.
        let cube = if update.report.is_some() { self.cube } else { QosCube::BestEffort };
        unicast.originate_message_in(now, self.peer, cube, FLOW_ALLOCATOR, &message);
    }

    /// Reports to a peer of our own kind, which may be `asked` at the same time, or have `answers` to its question.
    fn tell(&self, now: Instant, unicast: &Unicast, asked: Option<u32>, answers: Option<u32>) {
        let Some(remote) = self.remote.get() else { return };
        let (ece, (delivered, marks)) = {
            let mut rx = self.rx.lock();
            (rx.level(), rx.report(now))
        };
        let report = Report { sent: asked.unwrap_or(0), delivered, marks, asks: asked.is_some(), answers };
        self.originate(now, unicast, FlowUpdate { r_eid: *remote, ece, report: Some(report) });
    }

    /// What a peer with this EID tells, and makes something of.
    fn feedback(&self, remote: Eid) -> Feedback {
        if is_of_reference(remote) { Feedback::Levels } else { Feedback::Reports }
    }

    /// The peer's EID is known now.
    fn meet(&self, now: Instant, unicast: &Unicast, remote: Eid) {
        self.remote.call_once(|| {
            let (policy, feedback) = (unicast.unicast.congestion, self.feedback(remote));
            self.tx.lock().pacer = Pacer::new(now, policy, feedback);
            *self.rx.lock() = Receiver::new(policy, feedback);
            remote
        });
    }

    /// The peer says how congested the way to it is, and, if it is of our own kind, what has arrived.
    pub(super) fn update(&self, now: Instant, unicast: &Unicast, update: &FlowUpdate) {
        self.counters.updates_received.fetch_add(1, Ordering::Relaxed);
        let Some(report) = update.report else { return self.tx.lock().pacer.update(now, update.ece) };
        if report.asks {
            self.tell(now, unicast, None, Some(report.sent));
        }
        self.tx.lock().pacer.report(now, report.delivered, report.marks, report.answers);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.release_due(now, unicast);
        }
    }

    // ----- down -----

    /// Sends what may go now; the rest waits for its turn, or is dropped if too much does.
    ///
    /// # Errors
    /// [`SendError::Unreachable`] if there is no way to the peer at the moment.
    fn send(&self, now: Instant, unicast: &Unicast, pkts: &mut Outgoing) -> Result<(), SendError> {
        let (allowed, asked) = if self.waiting.load(Ordering::Relaxed) > 0 {
            (0, None)
        } else {
            let mut tx = self.tx.lock();
            let tx = &mut *tx;
            let free = tx.queue.is_empty();
            let allowed = pkts.iter().take_while(|pkt| free && matches!(tx.turn(now, pkt.len()), Turn::Now)).count();
            (allowed, tx.pacer.ask(now))
        };
        let mut late: Outgoing = pkts.drain(allowed..).collect();
        let passed = self.pass(now, unicast, pkts);
        if asked.is_some() {
            self.tell(now, unicast, asked, None);
        }
        if !late.is_empty() {
            self.hold(now, unicast, &mut late);
            pkts.extend(late);
        }
        passed
    }

    /// Has packets wait. What there is no room for is left.
    fn hold(&self, now: Instant, unicast: &Unicast, pkts: &mut Outgoing) {
        let (first, dropped) = {
            let mut tx = self.tx.lock();
            let first = tx.queue.is_empty();
            let room = unicast.config.flow_queue.saturating_sub(tx.queue.len()).min(pkts.len());
            tx.queue.extend(pkts.drain(..room));
            self.waiting.store(tx.queue.len(), Ordering::Relaxed);
            (first, pkts.len())
        };
        self.counters.send_failed.fetch_add(dropped as u64, Ordering::Relaxed);
        // For others somebody waits already.
        if first {
            self.release_due(now, unicast);
        }
    }

    /// Sends packets whose turn it is, and sees to it that the next are.
    pub(in crate::ipcp::unicast) fn release_due(&self, now: Instant, unicast: &Unicast) {
        loop {
            let mut pkts = Outgoing::new();
            let (next, asked) = {
                let mut tx = self.tx.lock();
                let mut next = None;
                while pkts.len() < BURST {
                    let Some(len) = tx.queue.front().map(|p| p.len()) else { break };
                    match tx.turn(now, len) {
                        Turn::Now => pkts.extend(tx.queue.pop_front()),
                        Turn::Never => {
                            tx.queue.pop_front();
                            self.counters.send_failed.fetch_add(1, Ordering::Relaxed);
                        }
                        Turn::At(at) => {
                            next = Some(at);
                            break;
                        }
                    }
                }
                self.waiting.store(tx.queue.len(), Ordering::Relaxed);
                if tx.queue.is_empty() && tx.queue.capacity() > BURST {
                    tx.queue = VecDeque::new();
                }
                (next, tx.pacer.ask(now))
            };
            let full = pkts.len() >= BURST;
            if !pkts.is_empty() {
                // Nobody waits to be told; it is counted.
                let _ = self.pass(now, unicast, &mut pkts);
                unicast.recycle(&mut pkts);
            }
            if asked.is_some() {
                self.tell(now, unicast, asked, None);
            }
            if let Some(at) = next {
                unicast.pace_flow(at, self.eid, &mut self.timer.lock());
            } else if full {
                continue;
            }
            if self.waiting.load(Ordering::Relaxed) <= unicast.config.flow_queue / 4 {
                self.endpoint.notify_writable();
            }
            return;
        }
    }

    /// The endpoint is gone, and what waits is lost but for the last of it, by which the peer learns that.
    fn send_last(&self, now: Instant, unicast: &Unicast) {
        let mut queue = {
            let mut tx = self.tx.lock();
            self.waiting.store(0, Ordering::Relaxed);
            core::mem::take(&mut tx.queue)
        };
        let mut last: Outgoing = queue.drain(queue.len().saturating_sub(LAST)..).collect();
        self.counters.send_failed.fetch_add(queue.len() as u64, Ordering::Relaxed);
        // Nobody waits to be told.
        let _ = self.pass(now, unicast, &mut last);
    }

    /// Hands packets to the layer.
    fn pass(&self, now: Instant, unicast: &Unicast, pkts: &mut Outgoing) -> Result<(), SendError> {
        let Some(remote) = self.remote.get() else { return Ok(()) };
        if pkts.is_empty() {
            return Ok(());
        }
        let n = pkts.len() as u64;
        let bytes: usize = pkts.iter().map(|p| p.len()).sum();
        if unicast.originate(now, self.peer, self.cube, *remote, pkts) {
            self.counters.sent.fetch_add(n, Ordering::Relaxed);
            self.counters.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            Ok(())
        } else {
            self.counters.send_failed.fetch_add(n, Ordering::Relaxed);
            Err(SendError::Unreachable)
        }
    }

    /// Where packets of this flow leave.
    fn next_hop(&self, unicast: &Unicast) -> Option<Arc<Adjacency>> {
        unicast.table().lookup(self.peer, self.remote.get()?.0).cloned()
    }

    /// State of congestion avoidance, for the RIB.
    pub(in crate::ipcp::unicast) fn with_ca<R>(&self, look: impl FnOnce(&Pacer, &Receiver) -> R) -> R {
        let tx = self.tx.lock();
        look(&tx.pacer, &self.rx.lock())
    }

    /// The peer's EID, once it is known, and packets that wait for their turn.
    pub(in crate::ipcp::unicast) fn facts(&self) -> (Option<Eid>, usize) {
        (self.remote.get().copied(), self.waiting.load(Ordering::Relaxed))
    }
}

/// The way down for the endpoint of a flow.
pub(in crate::ipcp::unicast) struct FaPort {
    unicast: Arc<Unicast>,
    flow: Arc<FaFlow>,
}

impl FaPort {
    /// The way to the peer's end `remote`.
    pub(super) fn new(unicast: Arc<Unicast>, flow: &Arc<FaFlow>, remote: Eid) -> Arc<Self> {
        flow.meet(unicast.clock.now(), &unicast, remote);
        Arc::new(Self { unicast, flow: Arc::clone(flow) })
    }
}

impl Port for FaPort {
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        self.flow.send(now, &self.unicast, pkts)
    }

    fn flush(&self, _now: Instant) {
        if let Some(next) = self.flow.next_hop(&self.unicast) {
            next.endpoint.flush();
        }
    }

    fn is_congested(&self) -> bool {
        self.flow.waiting.load(Ordering::Relaxed) >= self.unicast.config.flow_queue / 2
    }

    fn queued(&self) -> usize {
        // Of a layer above, the queue is the one that its packets meet first.
        let below = self.flow.next_hop(&self.unicast).map_or(0, |next| next.endpoint.queued());
        below + self.flow.waiting.load(Ordering::Relaxed)
    }

    fn mtu(&self) -> usize {
        self.unicast.mtu()
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.flow.next_hop(&self.unicast)?.endpoint.device()
    }

    fn release(&self, now: Instant) {
        self.flow.send_last(now, &self.unicast);
        self.unicast.forget_flow(&self.flow);
    }
}

impl Drop for FaPort {
    fn drop(&mut self) {
        // A port that never got to an endpoint: an answer that came too late.
        self.unicast.forget_flow(&self.flow);
    }
}
