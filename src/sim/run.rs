//! The loop that makes the world go round.
//!
//! One turn passes what was sent to the paths, polls the hosts that asked for it, then the tasks that were woken. Only
//! when nothing of that is left, time moves on: to the next arrival, deadline or end of a sleep.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::task::{Context, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::ethernet::{Hop, hop};
use super::exec::{Exec, TaskId};
use super::hosts::{HostId, Hosts};
use super::names::Registered;
use super::path::{Fate, header_len};
use super::report::{Stuck, StuckReason};
use super::rules::{Packet, Rules, Verdict};
use super::sleep::Sleepers;
use super::socket::{Outgoing, Ports};
use super::trace::{DropReason, What};
use super::world::{Flying, World, summary};
use crate::base::time::{Clock, Instant, ManualClock};
use crate::capture::{NetworkRecorder, PacketKind, Tap};
use crate::ipcp::shim::resolve::HostTable;
use crate::types::device::Datagram;

/// Events kept for a report, unless the user records more.
const KEEP_EVENTS: usize = 16;
/// The wall clock at virtual time zero, nanoseconds since 1970: 2026-01-01 00:00:00 UTC.
pub const EPOCH_UNIX_NANOS: u64 = 1_767_225_600_000_000_000;

/// Polled tasks and hosts kept for a report of a livelock.
const KEEP_POLLED: usize = 8;

/// The whole network. Nothing in it stays borrowed while a task, a host, a rule or a waker runs: they may call into all
/// of it.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) seed: u64,
    pub(super) clock: Arc<ManualClock>,
    pub(super) ports: Arc<Ports>,
    /// Names that all hosts look up first.
    pub(super) names: Arc<HostTable>,
    /// Names that hosts have registered.
    pub(super) registered: Arc<Registered>,
    pub(super) exec: Rc<Exec>,
    pub(super) sleepers: Rc<RefCell<Sleepers>>,
    pub(super) world: RefCell<World>,
    pub(super) rules: Rules,
    pub(super) hosts: RefCell<Hosts>,
    /// The recorder of the network's packets.
    pub(super) wire: NetworkRecorder,
    pub(super) time_limit: Cell<Duration>,
    pub(super) poll_limit: Cell<u64>,
    running: Cell<bool>,
    /// Switches so far.
    pub(super) switches: Cell<u8>,
    /// Emptied outbox, kept for its memory.
    sent: RefCell<Vec<Outgoing>>,
    wakers: RefCell<Vec<Waker>>,
}

/// The task or host that was polled.
#[derive(Clone, Copy)]
enum Polled {
    Main,
    Task(TaskId),
    Host(HostId),
}

/// Counts polls that do not get time on.
struct Watchdog {
    polls: u64,
    limit: u64,
    last: VecDeque<Polled>,
}

impl Watchdog {
    /// Counts a poll; false if it was one too many.
    fn count(&mut self, who: Polled) -> bool {
        self.polls += 1;
        if self.polls + KEEP_POLLED as u64 > self.limit {
            self.last.push_back(who);
        }
        self.polls < self.limit
    }

    fn reset(&mut self) {
        self.polls = 0;
        self.last.clear();
    }
}

/// Marks the network as running, so that it is not run from inside.
struct Running<'a>(&'a Cell<bool>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Core {
    pub(super) fn new(seed: u64) -> Self {
        let world = World::new(seed, KEEP_EVENTS);
        let clock = Arc::new(ManualClock::new(EPOCH_UNIX_NANOS));
        let wire = NetworkRecorder::new(&Tap::new(Arc::clone(&clock) as Arc<dyn Clock>));
        Self {
            seed,
            ports: Ports::new(world.default_link().mtu, Arc::clone(&clock)),
            clock,
            names: HostTable::new(),
            registered: Arc::default(),
            exec: Exec::new(),
            sleepers: Rc::default(),
            world: RefCell::new(world),
            rules: Rules::default(),
            hosts: RefCell::default(),
            wire,
            time_limit: Cell::new(Duration::from_secs(24 * 3600)),
            poll_limit: Cell::new(1_000_000),
            running: Cell::new(false),
            switches: Cell::new(0),
            sent: RefCell::default(),
            wakers: RefCell::default(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Runs until `main` is true or, if given, until `until`; says whether `main` was.
    #[track_caller]
    pub(super) fn run(
        &self,
        main: &mut dyn FnMut(&mut Context<'_>) -> bool,
        until: Option<Instant>,
    ) -> Result<bool, Box<Stuck>> {
        assert!(!self.running.replace(true), "the network is running already: await the future instead");
        let _running = Running(&self.running);
        let mut watchdog = Watchdog { polls: 0, limit: self.poll_limit.get(), last: VecDeque::new() };
        let limit = until.unwrap_or_else(|| self.now() + self.time_limit.get());
        self.exec.wake_main();
        loop {
            let mut busy = self.pass_sent();
            busy |= self.poll_hosts(&mut watchdog)?;
            for _ in 0..self.exec.ready() {
                let Some(id) = self.exec.next_ready() else { break };
                busy = true;
                let who = if id == TaskId::MAIN { Polled::Main } else { Polled::Task(id) };
                if !watchdog.count(who) {
                    return Err(self.livelock(&watchdog));
                }
                if id != TaskId::MAIN {
                    self.exec.poll(id);
                } else if self.exec.poll_main(main) {
                    return Ok(true);
                }
            }
            if busy {
                continue;
            }
            match self.next_event() {
                Some(next) if next <= limit => self.advance(next, &mut watchdog),
                None if until.is_none() => return Err(self.stuck(StuckReason::Deadlock)),
                _ => {
                    self.clock.advance_to(limit);
                    return if until.is_some() {
                        Ok(false)
                    } else {
                        Err(self.stuck(StuckReason::TimeLimit(self.time_limit.get())))
                    };
                }
            }
        }
    }

    /// Moves time on to `next` and wakes the sleepers of that moment.
    fn advance(&self, next: Instant, watchdog: &mut Watchdog) {
        self.wire.tap().flush();
        if next > self.now() {
            self.clock.advance_to(next);
            watchdog.reset();
        }
        let now = self.now();
        let mut wakers = self.wakers.take();
        self.deliver_arrived(now, &mut wakers);
        self.hosts.borrow_mut().wake_due(now);
        while let Some(waker) = self.sleepers.borrow_mut().pop_due(now) {
            self.world.borrow_mut().trace.add(now, What::SleepOver, None);
            wakers.push(waker);
        }
        for waker in wakers.drain(..) {
            waker.wake();
        }
        self.wakers.replace(wakers);
    }

    /// Returns the time of the next event that no task or host has to cause.
    fn next_event(&self) -> Option<Instant> {
        let arrival = self.world.borrow().next_arrival();
        let deadline = self.hosts.borrow().next_deadline();
        let sleep = self.sleepers.borrow().first();
        [arrival, deadline, sleep].into_iter().flatten().min()
    }

    /// Polls the hosts that asked for it; says whether there were any.
    fn poll_hosts(&self, watchdog: &mut Watchdog) -> Result<bool, Box<Stuck>> {
        let woken = self.hosts.borrow().woken();
        for _ in 0..woken {
            let Some((id, turn)) = self.hosts.borrow_mut().next_woken() else { break };
            let Some(turn) = turn else { continue };
            if !watchdog.count(Polled::Host(id)) {
                return Err(self.livelock(watchdog));
            }
            let now = self.now();
            self.world.borrow_mut().trace.add(now, What::HostPolled(id), None);
            let deadline = turn.stack.poll(now);
            self.hosts.borrow_mut().polled(now, id, deadline, turn.unread);
        }
        Ok(woken > 0)
    }

    /// Passes what the sockets have sent to the paths; says whether there was anything.
    fn pass_sent(&self) -> bool {
        let mut sent = self.sent.take();
        self.ports.take_sent(&mut sent);
        let any = !sent.is_empty();
        for outgoing in sent.drain(..) {
            self.pass(outgoing);
        }
        self.sent.replace(sent);
        any
    }

    /// Lets the rules, then the path, decide about a datagram.
    fn pass(&self, outgoing: Outgoing) {
        let now = self.now();
        let Outgoing { src, dst, mut data } = outgoing;
        let verdict = self.rules.decide(&Packet { at: now, src, dst, data: &data });
        if let Verdict::Rewrite(bytes) = &verdict {
            let original = core::mem::replace(&mut data, self.ports.copy_of(bytes));
            self.ports.recycle(original);
        }
        let world = &mut *self.world.borrow_mut();
        let index = world.path_index(src.ip(), dst.ip());
        let packet = summary(src, dst, &data);
        let Some(path) = world.path(index) else { return };
        path.stats.sent += 1;
        path.stats.sent_bytes += packet.len as u64;
        let fate = match verdict {
            Verdict::Drop => Fate::Dropped(DropReason::Rule),
            Verdict::Deliver(after) => Fate::Arrives { at: now + after, corrupt: false, copy: None },
            Verdict::Pass | Verdict::Rewrite(_) => path.pass(now, packet.len + header_len(dst.ip())),
        };
        if let Some(until) = path.take_queued() {
            self.ports.note_queued((src.ip(), dst.ip()), until);
        }
        match fate {
            Fate::Dropped(reason) => {
                self.wire.dropped(|| carried(src, dst), &data, &reason);
                world.dropped(now, index, packet, reason);
                self.ports.recycle(data);
            }
            Fate::Arrives { at, corrupt, copy } => {
                let comment = match (copy.is_some(), corrupt) {
                    (false, false) => "",
                    (true, false) => "duplicated",
                    (false, true) => "corrupted",
                    (true, true) => "duplicated and corrupted",
                };
                // A frame is written when it is sent, and once more only if its copy is not what it was.
                let is_written = || hop(src, dst) != Some(Hop::FromSwitch) || !comment.is_empty();
                self.wire.sent(|| is_written().then(|| carried(src, dst)), &data, comment);
                world.trace.add(now, What::Sent, Some(packet));
                if let Some(copy_at) = copy {
                    let copy = Flying { packet, path: index, data: self.ports.copy_of(&data) };
                    world.duplicate(now, copy_at, copy);
                }
                let mut flying = Flying { packet, path: index, data };
                if corrupt {
                    world.corrupt(now, &mut flying);
                }
                world.launch(at, flying);
            }
        }
    }

    /// Hands the datagrams that have arrived to their sockets.
    fn deliver_arrived(&self, now: Instant, wakers: &mut Vec<Waker>) {
        let world = &mut *self.world.borrow_mut();
        while let Some(Flying { packet, path, data }) = world.pop_arrived(now) {
            match self.ports.deliver(packet.dst, Datagram::new(packet.src, data), wakers) {
                Ok(()) => world.delivered(now, path, packet),
                Err((reason, data)) => {
                    self.wire.dropped(|| carried(packet.src, packet.dst), &data, &reason);
                    world.dropped(now, path, packet, reason);
                    self.ports.recycle(data);
                }
            }
        }
    }

    fn livelock(&self, watchdog: &Watchdog) -> Box<Stuck> {
        let mut stuck = self.stuck(StuckReason::Livelock { polls: watchdog.polls });
        let name = |polled: &Polled| match *polled {
            Polled::Main => "the future given to block_on".into(),
            Polled::Host(host) => format!("host {}", host.0),
            Polled::Task(id) => match self.exec.spawned_at(id) {
                Some(at) => format!("the task spawned at {at}"),
                None => "a task that has ended".into(),
            },
        };
        stuck.busy = watchdog.last.iter().map(name).collect();
        stuck
    }

    fn stuck(&self, reason: StuckReason) -> Box<Stuck> {
        let world = self.world.borrow();
        let mut events: Vec<_> = world.trace.last().rev().take(KEEP_EVENTS).copied().collect();
        events.reverse();
        Box::new(Stuck {
            reason,
            seed: self.seed,
            at: self.now(),
            digest: world.trace.digest(),
            tasks: self.exec.unfinished().iter().map(ToString::to_string).collect(),
            busy: Vec::new(),
            sleeping: self.sleepers.borrow().len(),
            in_flight: world.in_flight(),
            hosts: self.hosts.borrow().describe(),
            events,
        })
    }
}

/// The kind of a datagram of the network: on the cables of switches they are frames.
fn carried(src: SocketAddr, dst: SocketAddr) -> PacketKind {
    if hop(src, dst).is_some() { PacketKind::Frame } else { PacketKind::Datagram(src, dst) }
}
