//! The handle of a simulated world.

use core::future::{Future, poll_fn};
use core::panic::Location;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use super::addr::{ToIp, ToSocketAddr};
use super::ethernet::Switch;
use super::exec::JoinHandle;
use super::host::HostBuilder;
use super::hosts::{HostId, Polled};
use super::link::Link;
use super::path::LinkStats;
use super::report::Stuck;
use super::rules::{Packet, RuleGuard, Verdict};
use super::run::Core;
use super::seeds::{self, SEED_VARIABLE};
use super::sleep::{Elapsed, Sleep};
use super::socket::UdpSocket;
use super::trace::Digest;
#[cfg(feature = "internals")]
use super::trace::Event;
use crate::base::buf::BufPool;
use crate::base::rng::Rng;
use crate::base::time::{Clock, Instant, ManualClock};
use crate::capture::{Capture, CaptureConfig, CaptureError};
use crate::ipcp::shim::resolve::{HostTable, Resolver};

/// A simulated world: virtual time, a network between addresses, the hosts on it, and an executor.
///
/// Clones are handles of the same world. The one that [`new`](Self::new) returned owns it: when that is dropped, tasks,
/// hosts and rules are dropped too. If that happens in a panic, the seed is printed.
///
/// See the [module](super) for how it fits together.
#[derive(Debug)]
pub struct Network {
    core: Rc<Core>,
    owner: bool,
}

/// # Running
impl Network {
    /// A world at virtual time zero, in which everything random follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { core: Rc::new(Core::new(seed)), owner: true }
    }

    /// Runs the world until `future` is done. The future may borrow from its surroundings; what is to go on beside it
    /// is [spawned](Self::spawn).
    ///
    /// # Panics
    ///
    /// With a report of all pending waits, where [`try_block_on`](Self::try_block_on) gives an error; and if the
    /// network is running already, that is, when called in a task.
    #[track_caller]
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        // No closure: the panic is to name the caller's line.
        #[expect(clippy::panic, reason = "a test that hangs has failed")]
        match self.try_block_on(future) {
            Ok(output) => output,
            Err(stuck) => panic!("{stuck}"),
        }
    }

    /// Runs the world until `future` is done.
    ///
    /// # Errors
    ///
    /// [`Stuck`] if nothing can ever happen again and the future is not done, if tasks or hosts are polled without
    /// end and time does not get on, or if it is not done after the [time limit](Self::set_time_limit).
    #[track_caller]
    pub fn try_block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Box<Stuck>> {
        let mut future = pin!(future);
        let mut output = None;
        let mut main = |cx: &mut core::task::Context<'_>| match future.as_mut().poll(cx) {
            Poll::Ready(value) => {
                output = Some(value);
                true
            }
            Poll::Pending => false,
        };
        self.core.run(&mut main, None)?;
        #[expect(
            clippy::expect_used,
            reason = "without a time to stop at, the run ends well only when the future is done"
        )]
        Ok(output.expect("the future is done"))
    }

    /// Runs the world until `time` has passed, even if nothing happens.
    ///
    /// # Panics
    ///
    /// If tasks or hosts are polled without end and time does not get on; and if the network is running already.
    #[track_caller]
    pub fn run_for(&self, time: Duration) {
        let until = self.now() + time;
        #[expect(clippy::panic, reason = "a test that hangs has failed")]
        if let Err(stuck) = self.core.run(&mut |_| false, Some(until)) {
            panic!("{stuck}");
        }
    }

    /// Starts a task beside the others. It first runs when the caller waits.
    #[track_caller]
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.core.exec.spawn(future, Location::caller())
    }

    /// Sets the virtual time that one [`block_on`](Self::block_on) may take; hosts with keepalives never run out of
    /// things to do. Default: one day.
    pub fn set_time_limit(&self, limit: Duration) {
        self.core.time_limit.set(limit);
    }
}

/// # Time and chance
impl Network {
    /// Virtual time; zero at the beginning.
    pub fn now(&self) -> Instant {
        self.core.now()
    }

    /// Waits for virtual time to pass. Those that wait for the same moment go on in the order in which they began to
    /// wait.
    pub fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(self.now() + time)
    }

    /// Waits until a moment in virtual time.
    pub fn sleep_until(&self, until: Instant) -> Sleep {
        Sleep::new(until, &self.core.clock, &self.core.sleepers)
    }

    /// Waits for `future`, but not longer than `time`.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if it was not done in time; the future is dropped.
    pub async fn timeout<T>(&self, time: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(time));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    /// The clock of this world. Its wall clock says 2026-01-01 00:00:00 UTC at virtual time zero.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.core.clock) as Arc<dyn Clock>
    }

    /// Packet buffers of all hosts.
    pub(super) fn pool(&self) -> &Arc<BufPool> {
        self.core.ports.pool()
    }

    /// Returns the same clock, to be shared with a polled stack.
    pub(super) fn manual_clock(&self) -> &Arc<ManualClock> {
        &self.core.clock
    }

    /// Returns the number of hosts ever attached under a name.
    pub(super) fn hosts_named(&self, name: &str) -> usize {
        self.core.hosts.borrow().named(name)
    }

    /// The seed that the world was made with.
    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// Randomness that follows from the seed and `purpose` alone: the same however often, and in whatever order, it is asked
    /// for. The network's own draws are another stream for each path, so a scenario that draws more changes nothing there.
    pub fn rng(&self, purpose: &str) -> Rng {
        seeds::rng(self.core.seed, &format!("user {purpose}"))
    }
}

/// # The network
impl Network {
    /// Binds a UDP socket to `addr`. Every socket can send to every other; the [`Link`] between them decides on the
    /// rest.
    ///
    /// # Panics
    ///
    /// If the address is taken, or is a text that is not one.
    #[track_caller]
    pub fn udp(&self, addr: impl ToSocketAddr) -> Arc<UdpSocket> {
        let addr = addr.to_socket_addr();
        #[expect(clippy::panic, reason = "a mistake in the scenario")]
        match self.core.ports.bind(addr) {
            Some(socket) => socket,
            None => panic!("there is a socket at {addr} already"),
        }
    }

    /// An Ethernet switch, with nothing plugged in. There may be 255 of them.
    ///
    /// # Panics
    ///
    /// If there are that many already.
    #[track_caller]
    pub fn switch(&self) -> Switch {
        let number = self.core.switches.get();
        #[expect(clippy::expect_used, reason = "a mistake in the scenario")]
        self.core.switches.set(number.checked_add(1).expect("there are 255 switches already"));
        Switch::new(self, number)
    }

    /// Sets what all paths are like that were not [set](Self::set_link) themselves, and what
    /// [`max_datagram`](crate::types::device::Datagrams::max_datagram) the sockets report.
    pub fn set_default_link(&self, link: Link) {
        self.core.ports.set_mtu(link.mtu);
        self.core.world.borrow_mut().set_default_link(link);
    }

    /// Sets what the path from one address to another is like, in that direction. Datagrams on their way are not
    /// affected.
    #[track_caller]
    pub fn set_link(&self, from: impl ToIp, to: impl ToIp, link: Link) {
        self.core.world.borrow_mut().set_link(from.to_ip(), to.to_ip(), link);
    }

    /// Sets what the paths between two addresses are like, in both directions.
    #[track_caller]
    pub fn set_link_between(&self, a: impl ToIp, b: impl ToIp, link: Link) {
        self.set_link(&a, &b, link);
        self.set_link(&b, &a, link);
    }

    /// Separates two groups of addresses: from now on, no datagram gets from one to the other, in either direction. Those on
    /// their way still arrive.
    #[track_caller]
    pub fn partition<A: ToIp, B: ToIp>(&self, left: &[A], right: &[B]) {
        let mut world = self.core.world.borrow_mut();
        for a in left {
            for b in right {
                let (a, b) = (a.to_ip(), b.to_ip());
                world.cut(a, b);
                world.cut(b, a);
            }
        }
    }

    /// Separates an address from all others.
    #[track_caller]
    pub fn isolate(&self, addr: impl ToIp) {
        self.core.world.borrow_mut().isolate(addr.to_ip());
    }

    /// Ends all partitions and isolations; to end one of several, make the others again behind it.
    pub fn heal(&self) {
        self.core.world.borrow_mut().heal();
    }

    /// Installs a rule: `decide` sees each datagram that is sent, before its path does. The first rule whose verdict is not
    /// [`Verdict::Pass`] decides; the rule is there until its guard is dropped.
    ///
    /// ```
    /// use o7s::sim::{Network, Verdict};
    /// use o7s::device::Datagrams;
    ///
    /// let net = Network::new(1);
    /// let (a, b) = (net.udp("10.0.0.1:1"), net.udp("10.0.0.2:1"));
    /// let mut seen = 0;
    /// net.on_packet(move |packet| {
    ///     seen += 1;
    ///     if packet.data == b"ping" && seen == 1 { Verdict::Drop } else { Verdict::Pass }
    /// })
    /// .keep();
    /// a.send(b.local_addr(), b"ping", None).unwrap();
    /// a.send(b.local_addr(), b"ping again", None).unwrap();
    /// assert_eq!(&net.block_on(b.receive()).data[..], b"ping again");
    /// ```
    pub fn on_packet(&self, decide: impl FnMut(&Packet<'_>) -> Verdict + 'static) -> RuleGuard {
        self.core.rules.install(Box::new(decide))
    }

    /// Writes the datagrams of the network and the frames of its [switches](Switch) to `sink`, as pcapng, until the
    /// [`Capture`] is stopped or dropped: each when it is sent, and those that do not arrive once more, with the reason as a
    /// comment; of a frame for several, those copies that do not arrive as they were sent. The same seed gives the same
    /// bytes. What a single host sends and receives is captured with its [stack](crate::Stack::capture).
    ///
    /// ```
    /// use o7s::capture::CaptureConfig;
    /// use o7s::device::Datagrams;
    /// use o7s::sim::Network;
    ///
    /// let net = Network::new(1);
    /// let capture = net.capture(std::io::sink(), CaptureConfig::default())?;
    /// let (a, b) = (net.udp("10.0.0.1:1"), net.udp("10.0.0.2:1"));
    /// a.send(b.local_addr(), b"hello", None)?;
    /// net.block_on(b.receive());
    /// assert_eq!(capture.stop()?.packets, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CaptureError::Running`] if there is one.
    pub fn capture(
        &self,
        sink: impl std::io::Write + Send + 'static,
        config: CaptureConfig,
    ) -> Result<Capture, CaptureError> {
        self.core.wire.tap().capture_polled(sink, config)
    }

    /// Returns the counters of datagrams from one address to another.
    #[track_caller]
    pub fn link_stats(&self, from: impl ToIp, to: impl ToIp) -> LinkStats {
        self.core.world.borrow().stats(from.to_ip(), to.to_ip())
    }

    /// Returns the counters of all datagrams.
    pub fn stats(&self) -> LinkStats {
        self.core.world.borrow().total_stats()
    }
}

/// # Hosts
impl Network {
    /// A host with a [`Stack`](crate::Stack), to be given its layers.
    ///
    /// ```
    /// use core::time::Duration;
    /// use o7s::sim::{Link, Network};
    ///
    /// let net = Network::new(1);
    /// net.set_default_link(Link::default().latency(Duration::from_millis(10)));
    /// let a = net.host("a").udp4("10.0.0.1").build();
    /// let b = net.host("b").udp4("10.0.0.2").build();
    ///
    /// let echo = b.listen("echo");
    /// net.spawn(async move {
    ///     let flow = echo.accept_async().await.unwrap();
    ///     let message = flow.read_bytes().await.unwrap();
    ///     flow.write(&message).await.unwrap();
    /// });
    /// net.block_on(async {
    ///     let flow = a.stack().flow("echo").alloc_async().await.unwrap();
    ///     flow.write(b"hello").await.unwrap();
    ///     assert_eq!(&flow.read_bytes().await.unwrap()[..], b"hello");
    /// });
    /// ```
    pub fn host(&self, name: &str) -> HostBuilder {
        HostBuilder::new(self.clone(), name)
    }

    /// Returns the table of names that all hosts look in first, for names that no host registers: a name at a socket of
    /// [its own](Self::udp), or one that leads astray. Names that the UDP layers of hosts
    /// [register](crate::IpcpHandle::register), among them those of members of layers above, are known to all hosts
    /// without it, wherever they were registered first.
    pub fn names(&self) -> &Arc<HostTable> {
        &self.core.names
    }

    /// The resolver of one more UDP layer.
    pub(super) fn resolver(&self) -> Arc<dyn Resolver> {
        self.core.registered.resolver()
    }

    /// Adds a host: from now on `stack` is polled when it asks for it, when its time has come and when something arrives at
    /// one of `sockets`.
    pub(super) fn attach(&self, name: &str, stack: Arc<dyn Polled>, sockets: &[Arc<UdpSocket>]) -> HostId {
        let (id, waker) = self.core.hosts.borrow_mut().add(name, Arc::clone(&stack));
        stack.set_wake(Arc::new(move || waker.wake()));
        for socket in sockets {
            self.give(id, socket);
        }
        id
    }

    /// Gives one more socket to a host.
    pub(super) fn give(&self, host: HostId, socket: &UdpSocket) {
        self.core.hosts.borrow_mut().own(host, socket.state());
    }

    /// Takes a host out of the world without warning: it is never polled again and its sockets are dead, while their
    /// addresses can be bound anew.
    pub(super) fn crash(&self, host: HostId) {
        let addresses = self.core.hosts.borrow().addresses(host);
        addresses.into_iter().for_each(|at| self.core.registered.forget(at));
        let stack = self.core.hosts.borrow_mut().crash(host);
        drop(stack);
    }
}

/// # Trace
impl Network {
    /// The fingerprint of everything that happened so far. The same program with the same seed gives the same.
    pub fn digest(&self) -> Digest {
        self.core.world.borrow().trace.digest()
    }
}

/// # For the crate's own tests
#[cfg(feature = "internals")]
impl Network {
    /// Sets the number of polls of tasks and hosts at one moment that counts as a livelock. Default: a million.
    pub fn set_poll_limit(&self, polls: u64) {
        self.core.poll_limit.set(polls);
    }

    /// Lets all other runnable tasks and hosts go first.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if core::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Sends a datagram as if the socket at `src` had, whether there is one or not.
    #[track_caller]
    pub fn inject(&self, src: impl ToSocketAddr, dst: impl ToSocketAddr, data: &[u8]) {
        // A full outbox drops, as a full device does.
        let _ = self.core.ports.send(src.to_socket_addr(), dst.to_socket_addr(), data, data.len());
    }

    /// Sets the number of datagrams of equal size that a socket takes at once (segmentation offload). Default: 16.
    pub fn set_max_segments(&self, segments: usize) {
        self.core.ports.set_segments(segments);
    }

    /// Sets the number of datagrams that wait in a socket to be read; further ones are dropped. Default: 16 384.
    pub fn set_receive_queue(&self, datagrams: usize) {
        self.core.ports.set_receive_queue(datagrams);
    }

    /// Returns the number of events so far.
    pub fn events(&self) -> u64 {
        self.core.world.borrow().trace.events()
    }

    /// Keeps the last `events` events from now on; 16 are kept for reports without it.
    pub fn record(&self, events: usize) {
        self.core.world.borrow_mut().trace.set_keep(events);
    }

    /// The events kept, oldest first; for [`diff`](super::diff).
    pub fn recorded(&self) -> Vec<Event> {
        self.core.world.borrow().trace.last().copied().collect()
    }
}

impl Clone for Network {
    fn clone(&self) -> Self {
        Self { core: Rc::clone(&self.core), owner: false }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if !self.owner {
            return;
        }
        if std::thread::panicking() {
            let (seed, now) = (self.core.seed, self.now());
            eprintln!("the simulation with seed {seed} failed at {now:?}; {SEED_VARIABLE}={seed} replays it");
        }
        // Tasks and stacks hold handles of this world; they go first, with nothing borrowed.
        self.core.exec.clear();
        self.core.rules.clear();
        let hosts = self.core.hosts.borrow_mut().clear();
        drop(hosts);
    }
}
