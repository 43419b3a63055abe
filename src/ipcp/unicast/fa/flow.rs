//! One end of a flow in the layer: its route, its rate, and the congestion that it has met.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use smallvec::SmallVec;

use super::is_of_reference;
use super::ways::Way;
use crate::base::buf::PacketBuf;
use crate::base::counter::counters;
use crate::base::sync::{Mutex, Once, Ordered};
use crate::base::time::Instant;
use crate::base::timers::{TimerId, Timers};
use crate::flow::{BURST, Endpoint, Event, Outgoing};
use crate::forward::ca::{Feedback, Pacer, Receiver};
use crate::forward::shape::{Admission, Shaper};
use crate::ipcp::unicast::dt::adjacency::Adjacency;
use crate::ipcp::unicast::dt::{DataPath, Up};
use crate::ipcp::unicast::shared::{Shared, order};
use crate::ipcp::{Answer, give_up};
use crate::types::device::SendError;
use crate::types::id::{Address, Eid};
use crate::types::layer::CongestionAvoidance;
use crate::types::qos::{QosCube, QosSpec};
use crate::wire::dt::FLOW_ALLOCATOR;
use crate::wire::fa::{FlowUpdate, Message, Report};

/// Packets that still go when an endpoint is gone: by which it says so, and what may come with them.
const LAST: usize = 4;

/// Parts below the flows: the data path, and a queue of the times at which flows may use it.
pub(in crate::ipcp::unicast) struct Below {
    pub(super) shared: Arc<Shared>,
    pub(super) data: Arc<DataPath>,
    paced: Ordered<Mutex<Timers<Eid>>, { order::PACED }>,
}

impl Below {
    pub(super) fn new(shared: &Arc<Shared>, data: &Arc<DataPath>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), data: Arc::clone(data), paced: Ordered::default() })
    }

    /// Has a flow served when its next packet may go, instead of at the time of `timer`.
    fn pace(&self, at: Instant, eid: Eid, timer: &mut Option<TimerId>) {
        let mut paced = self.paced.lock();
        if let Some(before) = timer.take() {
            paced.cancel(before);
        }
        *timer = Some(paced.arm(at, eid));
    }

    /// The next flow that may send.
    pub(super) fn pop_due(&self, now: Instant) -> Option<Eid> {
        self.paced.lock().pop_due(now).map(|(_, eid)| eid)
    }

    /// Returns the time at which the next flow may send.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.paced.lock().next()
    }
}

/// Receiver of the reply of a peer, and its token.
pub(super) type Requested = (Arc<dyn Answer>, u64);

/// One end of an N+1 flow.
pub(in crate::ipcp::unicast) struct FaFlow {
    eid: Eid,
    peer: Address,
    cube: QosCube,
    endpoint: Arc<Endpoint>,
    below: Arc<Below>,
    /// The peer's EID, once it is known.
    remote: Once<Eid>,
    /// Receiver of the reply; `None` once it has come, and on the accepting side.
    requested: Ordered<Mutex<Option<Requested>>, { order::REQUESTED }>,
    /// A reply has come. What becomes of it does not matter: a request is repeated under another EID.
    replied: AtomicBool,
    tx: Ordered<Mutex<Tx>, { order::SENDING }>,
    /// Packets that wait for their turn.
    waiting: AtomicUsize,
    /// The moment when the first of them may go is being waited for.
    timer: Ordered<Mutex<Option<TimerId>>, { order::TIMER }>,
    rx: Ordered<Mutex<Receiver>, { order::RECEIVING }>,
    /// A packet went to the peer since the last came from it: the next is likely to be answered, too.
    answering: AtomicBool,
    /// A report goes behind the next packets to the peer, so that no answer waits for it.
    owed: AtomicBool,
    pub(super) way: Way,
    pub(in crate::ipcp::unicast) counters: Counters,
}

struct Tx {
    pacer: Pacer,
    shaper: Shaper,
    /// Packets, each with the last moment at which it is of use.
    queue: VecDeque<(Instant, PacketBuf)>,
}

/// Decision on a packet.
enum Turn {
    Now,
    At(Instant),
    Never,
}

impl Tx {
    /// Decides on a packet of `len` bytes; with [`Turn::Now`] it counts as sent.
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

counters! {
    /// Counters of a flow, as the reference has them.
    pub(in crate::ipcp::unicast) struct Counters {
        /// Packets that went to the peer.
        sent => "sent",
        /// Bytes of packets that went to the peer.
        sent_bytes => "sent_bytes",
        /// Packets for the peer that were dropped here.
        send_failed => "send_failed",
        /// Packets that came from the peer.
        received => "received",
        /// Bytes of packets that came from the peer.
        received_bytes => "received_bytes",
        /// Congestion updates that went to the peer.
        updates_sent => "updates_sent",
        /// Congestion updates that came from the peer.
        updates_received => "updates_received",
    }
}

impl FaFlow {
    pub(super) fn new(
        below: &Arc<Below>,
        eid: Eid,
        peer: Address,
        qos: &QosSpec,
        endpoint: &Arc<Endpoint>,
        requested: Option<Requested>,
    ) -> Arc<Self> {
        let now = below.shared.clock.now();
        let policy = below.shared.unicast.congestion;
        Arc::new(Self {
            eid,
            peer,
            cube: QosCube::from(qos),
            endpoint: Arc::clone(endpoint),
            below: Arc::clone(below),
            remote: Once::new(),
            requested: Ordered::new(Mutex::new(requested)),
            replied: AtomicBool::new(false),
            tx: Ordered::new(Mutex::new(Tx {
                pacer: Pacer::new(now, policy, Feedback::Levels),
                shaper: Shaper::new(now, qos),
                queue: VecDeque::new(),
            })),
            waiting: AtomicUsize::new(0),
            timer: Ordered::default(),
            rx: Ordered::new(Mutex::new(Receiver::new(policy, Feedback::Levels))),
            answering: AtomicBool::new(false),
            owed: AtomicBool::new(false),
            way: Way::default(),
            counters: Counters::default(),
        })
    }

    pub(in crate::ipcp::unicast) fn eid(&self) -> Eid {
        self.eid
    }

    pub(in crate::ipcp::unicast) fn peer(&self) -> Address {
        self.peer
    }

    /// A reply has come: `true` if somebody waits for it, and none has come before. Only the first counts.
    pub(super) fn claim_reply(&self) -> bool {
        self.requested.lock().is_some() && !self.replied.swap(true, Ordering::AcqRel)
    }

    /// Takes the receiver of the reply, once.
    pub(super) fn take_requested(&self) -> Option<Requested> {
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

    /// The layer is left: whoever waits for a reply waits in vain, and the other end of an open flow is told. `true` if
    /// somebody waited: then nobody else forgets the flow.
    pub(super) fn give_up(&self) -> bool {
        let requested = self.take_requested();
        let waited = requested.is_some();
        give_up(requested, &self.endpoint);
        waited
    }

    // ----- up -----

    fn originate(&self, now: Instant, update: FlowUpdate) {
        self.counters.updates_sent.count();
        let message = Message::Update(update).to_vec();
        // A question must not overtake the packets that it is about; levels go as a reference sends them.
        let cube = if update.report.is_some() { self.cube } else { QosCube::BestEffort };
        self.below.data.originate_message_in(now, self.peer, cube, FLOW_ALLOCATOR, &message);
    }

    /// Reports to a peer of our own kind, which may be `asked` at the same time, or have `answers` to its question.
    fn tell(&self, now: Instant, asked: Option<u32>, answers: Option<u32>) {
        let Some(remote) = self.remote.get() else { return };
        self.owed.store(false, Ordering::Relaxed);
        let (ece, (delivered, marks)) = {
            let mut rx = self.rx.lock();
            (rx.level(), rx.report(now))
        };
        let report = Report { sent: asked.unwrap_or(0), delivered, marks, asks: asked.is_some(), answers };
        self.originate(now, FlowUpdate { r_eid: *remote, ece, report: Some(report) });
    }

    /// Reports behind packets that have gone, if the peer is to be asked, or a report is owed.
    fn tell_behind(&self, now: Instant, asked: Option<u32>) {
        if asked.is_some() || self.owed.load(Ordering::Relaxed) {
            self.tell(now, asked, None);
        }
    }

    /// Returns the kind of feedback that a peer with this EID gives and understands.
    fn feedback(&self, remote: Eid) -> Feedback {
        if is_of_reference(remote) { Feedback::Levels } else { Feedback::Reports }
    }

    /// The peer's EID is known now.
    pub(super) fn meet(&self, now: Instant, remote: Eid) {
        // Threads that see the EID wait for these until they are made for that peer.
        let (mut tx, mut rx) = (self.tx.lock(), self.rx.lock());
        if self.remote.set(remote).is_ok() {
            let (policy, feedback) = (self.below.shared.unicast.congestion, self.feedback(remote));
            tx.pacer = Pacer::new(now, policy, feedback);
            *rx = Receiver::new(policy, feedback);
        }
    }

    /// The peer says how congested the way to it is, and, if it is of our own kind, what has arrived.
    pub(super) fn update(&self, now: Instant, update: &FlowUpdate) {
        self.counters.updates_received.count();
        let Some(report) = update.report else { return self.tx.lock().pacer.update(now, update.ece) };
        if report.asks {
            self.tell(now, None, Some(report.sent));
        }
        self.tx.lock().pacer.report(now, report.delivered, report.marks, report.answers);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.release_due(now);
        }
    }

    // ----- down -----

    /// Sends what may go now; the rest waits for its turn, or is dropped if too much does.
    ///
    /// # Errors
    /// [`SendError::Unreachable`] if there is no way to the peer at the moment.
    pub(super) fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
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
        let passed = self.pass(now, pkts);
        self.tell_behind(now, asked);
        if !late.is_empty() {
            self.hold(now, &mut late);
            pkts.extend(late);
        }
        passed
    }

    /// Queues packets. Those without room are left.
    fn hold(&self, now: Instant, pkts: &mut Outgoing) {
        let (first, dropped) = {
            let mut tx = self.tx.lock();
            let first = tx.queue.is_empty();
            let room = self.room().saturating_sub(tx.queue.len()).min(pkts.len());
            let until = tx.shaper.patience().map_or(Instant::FAR_FUTURE, |patience| now + patience);
            tx.queue.extend(pkts.drain(..room).map(|pkt| (until, pkt)));
            self.waiting.store(tx.queue.len(), Ordering::Relaxed);
            (first, pkts.len())
        };
        self.counters.send_failed.add(dropped as u64);
        // Behind others it goes when they do: a deadline is armed already.
        if first {
            self.release_due(now);
        }
    }

    /// Sends packets whose turn it is, and sees to it that the next are.
    pub(in crate::ipcp::unicast) fn release_due(&self, now: Instant) {
        loop {
            let mut pkts = Outgoing::new();
            let (next, asked) = {
                let mut tx = self.tx.lock();
                let mut next = None;
                while pkts.len() < BURST {
                    let Some((until, len)) = tx.queue.front().map(|(until, pkt)| (*until, pkt.len())) else { break };
                    // It has waited behind others, besides what it would wait for its own turn.
                    let turn = if until < now { Turn::Never } else { tx.turn(now, len) };
                    match turn {
                        Turn::Now => pkts.extend(tx.queue.pop_front().map(|(_, pkt)| pkt)),
                        Turn::Never => {
                            tx.queue.pop_front();
                            self.counters.send_failed.count();
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
                // The writer has gone on; a failure is counted.
                let _ = self.pass(now, &mut pkts);
                self.below.shared.recycle(pkts);
            }
            self.tell_behind(now, asked);
            if let Some(at) = next {
                self.below.pace(at, self.eid, &mut self.timer.lock());
                self.below.shared.alarm.set(at);
            } else if full {
                continue;
            }
            if self.waiting.load(Ordering::Relaxed) <= self.room() / 4 {
                self.endpoint.notify_writable();
            }
            return;
        }
    }

    /// Drops what waits, and lets everything else go at once.
    pub(super) fn hasten(&self, now: Instant) {
        {
            let mut tx = self.tx.lock();
            tx.pacer = Pacer::new(now, CongestionAvoidance::None, Feedback::Reports);
            tx.shaper = Shaper::new(now, &QosSpec::RAW);
        }
        self.drop_waiting();
    }

    /// The endpoint is gone, and what waits is lost but for the last of it, by which the peer learns that.
    pub(super) fn send_last(&self, now: Instant) {
        let mut queue = self.take_waiting();
        let mut last: Outgoing = queue.drain(queue.len().saturating_sub(LAST)..).map(|(_, pkt)| pkt).collect();
        self.counters.send_failed.add(queue.len() as u64);
        // The endpoint is gone; a failure is counted.
        let _ = self.pass(now, &mut last);
    }

    /// The way that packets went is gone, and there is another.
    pub(super) fn handle_path_change(&self, now: Instant) {
        if self.endpoint.would_retry(now) {
            // It begins with the oldest packet again, which is not to wait behind what comes after it. If an answer comes in this
            // moment, what is dropped is lost like any other packet, and sent again.
            self.drop_waiting();
        }
        self.tx.lock().pacer.handle_path_change(now);
        self.endpoint.handle_path_change(now);
        self.release_due(now);
    }

    fn take_waiting(&self) -> VecDeque<(Instant, PacketBuf)> {
        let mut tx = self.tx.lock();
        self.waiting.store(0, Ordering::Relaxed);
        core::mem::take(&mut tx.queue)
    }

    /// Drops what waits for its turn.
    fn drop_waiting(&self) {
        let dropped = self.take_waiting();
        self.counters.send_failed.add(dropped.len() as u64);
        self.below.shared.recycle(dropped.into_iter().map(|(_, pkt)| pkt));
    }

    /// Hands packets to the layer.
    fn pass(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        let Some(remote) = self.remote.get() else { return Ok(()) };
        if pkts.is_empty() {
            return Ok(());
        }
        let n = pkts.len() as u64;
        let bytes: usize = pkts.iter().map(|p| p.len()).sum();
        if let Some(via) = self.below.data.originate(now, self.peer, self.cube, *remote, pkts) {
            self.way.note(via);
            self.counters.sent.add(n);
            self.counters.sent_bytes.add(bytes as u64);
            self.answering.store(true, Ordering::Relaxed);
            Ok(())
        } else {
            self.counters.send_failed.add(n);
            Err(SendError::Unreachable)
        }
    }

    /// Returns the adjacency that packets of this flow leave by.
    pub(super) fn next_hop(&self) -> Option<Arc<Adjacency>> {
        self.below.data.next_hop(self.peer, *self.remote.get()?)
    }

    /// State of congestion avoidance, for the RIB.
    pub(in crate::ipcp::unicast) fn with_ca<R>(&self, look: impl FnOnce(&Pacer, &Receiver) -> R) -> R {
        let tx = self.tx.lock();
        look(&tx.pacer, &self.rx.lock())
    }

    /// How many packets may wait for their turn.
    pub(super) fn room(&self) -> usize {
        self.below.shared.config.flow_queue.max(2 * BURST)
    }

    /// Packets that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The peer's EID, once it is known, and packets that wait for their turn.
    pub(in crate::ipcp::unicast) fn facts(&self) -> (Option<Eid>, usize) {
        (self.remote.get().copied(), self.waiting.load(Ordering::Relaxed))
    }
}

impl Up for FaFlow {
    fn handle_packets(&self, now: Instant, pkts: &mut Outgoing, ecn: &[u8]) {
        let bytes: usize = pkts.iter().map(|p| p.len()).sum();
        self.counters.received.add(pkts.len() as u64);
        self.counters.received_bytes.add(bytes as u64);
        let (updates, late): (SmallVec<[u16; 4]>, bool) = {
            let mut rx = self.rx.lock();
            (ecn.iter().filter_map(|ecn| rx.delivered(now, *ecn)).collect(), rx.is_late(now))
        };
        let answering = self.answering.swap(false, Ordering::Relaxed);
        self.endpoint.handle_packets(now, pkts.drain(..));
        if updates.is_empty() {
            return;
        }
        let Some(remote) = self.remote.get() else { return };
        if self.feedback(*remote) == Feedback::Reports {
            // An answer is awaited, a report is not: it goes behind the answer, or at the latest with the next packet.
            let answered = self.answering.load(Ordering::Relaxed);
            if answering && !answered && !late && !self.owed.swap(true, Ordering::Relaxed) {
                return;
            }
            // The last of them says it all.
            return self.tell(now, None, None);
        }
        // Every one of them is sent: the sender counts them.
        for ece in updates {
            self.originate(now, FlowUpdate { r_eid: *remote, ece, report: None });
        }
    }
}
