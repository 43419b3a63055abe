//! A member and a port of it, over a device that does as it is told.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;

use super::*;
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::time::ManualClock;
use crate::flow::{Endpoint, Env, FlowKey, Host, Opening, Outgoing, Params, Port, State};
use crate::ipcp::shim::resolve::{self, HostTable};
use crate::ipcp::{Alarm, Incoming, Kind};
use crate::types::qos::QosSpec;

const NOW: Instant = Instant::ZERO;

type Hook = Box<dyn FnOnce() + Send>;

/// An action that is run once, when something happens.
#[derive(Clone, Default)]
struct Then(Arc<Mutex<Option<Hook>>>);

impl Then {
    fn set(&self, f: impl FnOnce() + Send + 'static) {
        *self.0.lock() = Some(Box::new(f));
    }

    fn happens(&self) {
        let f = self.0.lock().take();
        if let Some(f) = f {
            f();
        }
    }
}

/// Takes no requests.
struct Nobody;

impl Requests for Nobody {
    fn incoming(&self, _: Instant, _: Incoming) {}
}

/// A host of one endpoint, which does something at a tick.
struct Ticks(Then);

impl Host for Ticks {
    fn arm(&self, _: Instant, _: FlowKey) {}

    fn tick(&self, _: FlowKey) {
        self.0.happens();
    }

    fn released(&self, _: FlowKey) {}
}

struct NoAlarm;

impl Alarm for NoAlarm {
    fn set(&self, _: Instant) {}

    fn rang(&self) {}
}

#[derive(Default)]
struct Device {
    full: AtomicBool,
    at_send: Then,
    sent: Mutex<Vec<(Option<IpAddr>, SocketAddr)>>,
    /// An address of ours that is gone.
    gone: Mutex<Option<IpAddr>>,
    /// The method that panics.
    bug: Mutex<&'static str>,
}

impl Device {
    fn at(&self, method: &str) {
        let has_bug = *self.bug.lock() == method;
        if has_bug {
            std::panic::resume_unwind(Box::new("a bug of a device"));
        }
    }
}

impl Datagrams for Device {
    fn local_addr(&self) -> SocketAddr {
        self.at("local_addr");
        ([10, 0, 0, 1], 3435).into()
    }

    fn max_datagram(&self) -> usize {
        self.at("max_datagram");
        1400
    }

    fn max_segments(&self) -> usize {
        self.at("max_segments");
        64
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.send_from(None, dst, data, segment)
    }

    fn send_from(&self, src: Option<IpAddr>, dst: SocketAddr, _: &[u8], _: Option<usize>) -> Result<(), SendError> {
        self.at("send_from");
        self.at_send.happens();
        if self.full.load(Ordering::SeqCst) {
            return Err(SendError::Full);
        }
        if src.is_some() && src == *self.gone.lock() {
            return Err(SendError::Unreachable);
        }
        self.sent.lock().push((src, dst));
        Ok(())
    }

    fn queued(&self, _: SocketAddr) -> usize {
        self.at("queued");
        0
    }

    fn rejected(&self) -> u64 {
        self.at("rejected");
        0
    }

    fn overrun(&self) -> u64 {
        self.at("overrun");
        0
    }

    fn note_dropped(&self, _: &Datagram, _: &dyn core::fmt::Display) {
        self.at("note_dropped");
    }

    fn recv(&self, _: &mut Vec<Datagram>, _: &mut BufCache) -> usize {
        self.at("recv");
        0
    }

    fn wait(&self, _: Duration) {
        self.at("wait");
    }

    fn interrupt(&self) {
        self.at("interrupt");
    }

    fn guard(&self, _: Duration) {
        self.at("guard");
    }

    fn dismiss(&self) {
        self.at("dismiss");
    }

    fn close(&self) {
        self.at("close");
    }
}

/// A member, and one flow of it.
struct World {
    device: Arc<Device>,
    shim: Arc<UdpShim>,
    port: Arc<UdpPort>,
    at_tick: Then,
    endpoint: Arc<Endpoint>,
}

fn route(local: u8, remote: u8) -> Route {
    Route { local: Some([10, 0, 0, local].into()), remote: ([10, 0, 1, remote], 3435).into() }
}

impl World {
    fn new() -> Self {
        Self::with(HostTable::new())
    }

    fn with(resolver: Arc<dyn Resolver>) -> Self {
        let (device, at_tick) = (Arc::new(Device::default()), Then::default());
        let env = Env {
            clock: Arc::new(ManualClock::new(0)),
            pool: BufPool::new(8),
            host: Arc::new(Ticks(at_tick.clone())),
            panics: Arc::default(),
            inline: false,
        };
        let context = ShimContext::new(
            Weak::<Nobody>::new(),
            Weak::<crate::ipcp::shim::ReceiveLoop<UdpShim>>::new(),
            Waker::noop().clone(),
            &env,
            Rng::from_seed([1; 32]),
            Box::new(|_| Arc::new(NoAlarm)),
        );
        let parts = Parts {
            info: Info::new(Kind::Udp4, "udp4.test", "udp4"),
            socket: Arc::clone(&device) as Arc<dyn Datagrams>,
            resolver,
            config: Config::default(),
        };
        let shim = UdpShim::new(context, parts);
        let endpoint = Endpoint::new(1, &Arc::new(env));
        let peer = Peer::on(route(1, 1));
        let eid = shim.flows.accept(&endpoint, Arc::clone(&peer), || 5000).unwrap() as u32;
        let port = UdpPort::new(&shim, &endpoint, &peer, eid, 6000);
        Self { device, shim, port, at_tick, endpoint }
    }
}

fn params() -> Params {
    Params {
        qos: QosSpec { ber: 1, ..QosSpec::RAW },
        frct: None,
        protection: None,
        peering: None,
        rx_limit: 8,
        rx_bytes: 1 << 20,
        meter: None,
        opening: Opening::default(),
    }
}

fn packets(n: usize) -> Outgoing {
    (0..n).map(|_| PacketBuf::copy_of(&[7; 100])).collect()
}

#[test]
fn a_port_that_stalls_while_another_thread_leaves_it_is_congested() {
    let world = World::new();
    // The thread that collects a burst has left the port, and says that it waits, when another one finds the device full.
    let (device, port) = (Arc::clone(&world.device), Arc::clone(&world.port));
    world.at_tick.set(move || {
        device.full.store(true, Ordering::SeqCst);
        port.flush(NOW);
        assert!(port.is_congested());
    });
    world.port.send(NOW, &mut packets(16)).unwrap();
    assert!(world.device.full.load(Ordering::SeqCst), "there was a tick");
    assert!(world.port.is_congested() && world.port.is_holding());
    world.device.full.store(false, Ordering::SeqCst);
    world.port.flush(NOW + Duration::from_millis(1));
    assert!(!world.port.is_congested() && !world.port.is_holding());
}

/// What was collected to be sent in one go is not lost with a flow that is closed while the device is full, and the flow does not
/// wait for more than that.
#[test]
fn a_flow_that_is_closed_waits_for_what_was_collected() {
    let world = World::new();
    let port = Arc::clone(&world.port) as Arc<dyn Port>;
    world.endpoint.activate(NOW, port, params());
    world.port.send(NOW, &mut packets(16)).unwrap();
    assert!(world.port.is_holding() && !world.port.is_congested(), "collected");
    world.device.full.store(true, Ordering::SeqCst);
    world.endpoint.close(Duration::from_secs(10));
    assert_eq!(world.endpoint.state(), State::Lingering);
    world.device.full.store(false, Ordering::SeqCst);
    world.endpoint.handle_tick(NOW + Duration::from_millis(1));
    assert_eq!(world.endpoint.state(), State::Released);
    assert!(!world.device.sent.lock().is_empty());

    let world = World::new();
    let port = Arc::clone(&world.port) as Arc<dyn Port>;
    world.endpoint.activate(NOW, port, params());
    world.port.send(NOW, &mut packets(16)).unwrap();
    world.endpoint.close(Duration::from_secs(10));
    assert_eq!(world.endpoint.state(), State::Released, "at once, where there is room");
}

#[test]
fn a_move_while_our_own_address_is_lost_is_not_undone() {
    let world = World::new();
    *world.device.gone.lock() = route(1, 1).local;
    let port = Arc::clone(&world.port);
    world.device.at_send.set(move || port.move_to(route(2, 2)));
    world.port.send(NOW, &mut packets(1)).unwrap();
    world.port.send(NOW + Duration::from_secs(1), &mut packets(1)).unwrap();
    let sent = world.device.sent.lock().clone();
    assert_eq!(sent, [(None, route(1, 1).remote), (route(2, 2).local, route(2, 2).remote)]);
    let flow = world.shim.flows.get(5000).unwrap();
    assert!(flow.peer.is_on(route(2, 2)) && !flow.peer.is_on(route(1, 1)) && !flow.peer.is_on(route(1, 2)));
}

#[test]
fn a_flow_whose_own_address_is_lost_goes_on_from_another() {
    let world = World::new();
    *world.device.gone.lock() = route(1, 1).local;
    for n in 0..2 {
        world.port.send(NOW + Duration::from_secs(n), &mut packets(1)).unwrap();
    }
    assert_eq!(*world.device.sent.lock(), [(None, route(1, 1).remote); 2]);
    assert!(world.shim.flows.get(5000).unwrap().peer.is_on(route(3, 1)));
}

#[test]
fn a_device_that_panics_unwinds_into_no_caller() {
    let methods = [
        "max_datagram",
        "max_segments",
        "send_from",
        "queued",
        "rejected",
        "overrun",
        "note_dropped",
        "interrupt",
        "dismiss",
        "close",
    ];
    for bug in methods {
        let world = World::new();
        let before = world.shim.panics.count();
        *world.device.bug.lock() = bug;
        let _ = world.port.send(NOW, &mut packets(1));
        let _ = world.port.send(NOW, &mut packets(16));
        world.port.flush(NOW);
        assert_eq!(world.port.mtu() == 0, bug == "max_datagram", "{bug}");
        for _ in 0..20 {
            let _ = world.port.queued();
        }
        let _ = world.shim.put_aside(Datagram::new(route(1, 1).remote, PacketBuf::copy_of(&[0; 7])));
        let _ = world.shim.rib(NOW);
        world.shim.interrupt();
        world.shim.dismiss();
        world.shim.shutdown(NOW);
        assert!(world.shim.panics.count() > before, "{bug} was not called");
        *world.device.bug.lock() = "";
        let before = world.device.sent.lock().len();
        let _ = world.port.send(NOW + Duration::from_secs(1), &mut packets(1));
        assert!(world.device.sent.lock().len() > before, "{bug}: it goes on");
    }
}

#[test]
fn the_receive_loop_is_told_of_a_device_that_panics_so_that_it_pauses() {
    for bug in ["recv", "wait", "guard"] {
        let world = World::new();
        *world.device.bug.lock() = bug;
        let shim = Arc::clone(&world.shim);
        let (clock, panics) = (Arc::clone(&shim.clock), Arc::clone(&shim.panics));
        let device = crate::ipcp::shim::ReceiveLoop::new(&clock, &panics, |_| shim);
        let led = Drive::drive(&*device, Duration::from_secs(1), &AtomicBool::new(false));
        let guarded = crate::ipcp::shim::Attended::guard(&*device, Duration::from_secs(1));
        assert_eq!((led, guarded), (bug == "guard", bug == "wait"), "{bug}");
    }
}

/// Does something when it is asked, and never answers.
#[derive(Default)]
struct Silent(Then);

impl Resolver for Silent {
    fn resolve(&self, _: &NameHash, found: resolve::Found) {
        // Dropped, it would answer that the name is nowhere.
        core::mem::forget(found);
    }

    fn at_hand(&self, _: &NameHash) -> Vec<SocketAddr> {
        self.0.happens();
        Vec::new()
    }
}

#[test]
fn nobody_waits_in_a_layer_that_is_left_meanwhile() {
    let silent = Arc::new(Silent::default());
    let world = World::with(Arc::<Silent>::clone(&silent));
    let hash = NameHash::new(&[7; 16]).unwrap();
    assert_eq!(world.shim.lookup(NOW, &hash, Waker::noop()), Lookup::Pending);
    let shim = Arc::clone(&world.shim);
    silent.0.set(move || shim.shutdown(NOW));
    let other = NameHash::new(&[8; 16]).unwrap();
    assert_eq!(world.shim.lookup(NOW, &other, Waker::noop()), Lookup::Unknown);
    assert_eq!(world.shim.directory.lock().len(), 0);
}
