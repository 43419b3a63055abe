//! Simulated Ethernet: switches, and the interfaces that are plugged in.
//!
//! A switch is a task of the network, and cables are paths like any other, between addresses that nobody else uses: so what
//! a [`Link`] can do to datagrams it does to frames, and all of it is in the trace.

use core::cell::RefCell;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use super::link::Link;
use super::network::Network;
use super::path::{LinkStats, header_len};
use super::socket::UdpSocket;
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::sync::Mutex;
use crate::device::{Learning, Way, addresses};
use crate::types::device::{Datagram, Datagrams, FRAME_HEADER, Frames, Link as State, SendError};
use crate::types::mac::Mac;

/// A simulated Ethernet switch, into which [interfaces](Interface) are plugged: it learns where addresses are, sends to
/// everybody what is for everybody or for whom it does not know, and each cable has a [`Link`] of its own in each direction.
///
/// ```
/// use o7s::sim::Network;
///
/// let net = Network::new(1);
/// let switch = net.switch();
/// let a = net.host("a").eth(&switch, "02:00:00:00:00:01").build();
/// let b = net.host("b").eth(&switch, "02:00:00:00:00:02").build();
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
#[derive(Clone)]
pub struct Switch(Rc<Shared>);

struct Shared {
    net: Network,
    socket: Arc<UdpSocket>,
    state: RefCell<Ports>,
}

/// State of a switch.
struct Ports {
    default_link: Link,
    /// The interfaces, in the order in which they were plugged in.
    plugged: Vec<SocketAddr>,
    learned: Learning<SocketAddr>,
    number: u8,
}

impl Switch {
    /// The `number`th switch of a network.
    pub(super) fn new(net: &Network, number: u8) -> Self {
        let socket = net.udp(port_addr(number, 0));
        let state = Ports { default_link: Link::default(), plugged: Vec::new(), learned: Learning::default(), number };
        let shared = Rc::new(Shared { net: net.clone(), socket, state: RefCell::new(state) });
        // It works for as long as the network does, also when nobody has a handle of it any more.
        let works = Rc::clone(&shared);
        net.spawn(async move {
            loop {
                let frame = works.socket.receive().await;
                works.forward(&frame);
            }
        });
        Self(shared)
    }

    /// Sets what the cables are like of interfaces that are plugged in from now on; the MTU of a link is that of the
    /// interface, bytes of payload. Default: perfect ones, with an MTU of 1500.
    pub fn set_default_link(&self, link: Link) {
        self.0.state.borrow_mut().default_link = link;
    }

    /// Plugs in an interface with this address.
    ///
    /// # Panics
    ///
    /// If it is a text that is not an address, or 65 534 interfaces were plugged in before.
    #[track_caller]
    pub fn plug(&self, mac: impl ToMac) -> Arc<Interface> {
        let mac = mac.to_mac();
        let (addr, link) = {
            let mut state = self.0.state.borrow_mut();
            let number = u16::try_from(state.plugged.len() + 1);
            #[expect(clippy::expect_used, reason = "a mistake in the scenario")]
            let addr = port_addr(state.number, number.expect("a switch has 65 534 places"));
            state.plugged.push(addr);
            (addr, state.default_link)
        };
        let socket = self.0.net.udp(addr);
        let interface = Arc::new(Interface {
            socket,
            switch: self.0.socket.local_addr(),
            state: Mutex::new(Seen { mac, mtu: link.mtu, link: State::Up }),
            arrived: Mutex::default(),
        });
        self.set_link(&interface, link);
        interface
    }

    /// Sets what the cable of an interface is like, in both directions, and its MTU.
    pub fn set_link(&self, interface: &Interface, link: Link) {
        let (net, to) = (&self.0.net, interface.switch);
        // On the path, the MTU is that of whole frames with the headers that are made up.
        let mtu = link.mtu + FRAME_HEADER + header_len(to.ip());
        net.set_link_between(interface.addr(), to, link.mtu(mtu));
        interface.set_mtu(link.mtu);
    }

    /// Returns the statistics of the frames that an interface has sent, and of those that were sent to it.
    pub fn stats(&self, interface: &Interface) -> (LinkStats, LinkStats) {
        let (net, to) = (&self.0.net, interface.switch);
        (net.link_stats(interface.addr(), to), net.link_stats(to, interface.addr()))
    }

    /// Returns the number of addresses learned.
    pub fn learned(&self) -> usize {
        self.0.state.borrow().learned.len()
    }
}

impl core::fmt::Debug for Switch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = self.0.state.borrow();
        write!(f, "Switch({} interfaces, {} addresses learned)", state.plugged.len(), state.learned.len())
    }
}

impl Shared {
    /// Passes a frame on; what is too short to have addresses is lost.
    fn forward(&self, frame: &Datagram) {
        let to: Vec<SocketAddr> = {
            let mut state = self.state.borrow_mut();
            match state.learned.handle_frame(self.net.now(), frame.src, &frame.data) {
                Way::Port(at) => vec![at],
                Way::Others => state.plugged.iter().copied().filter(|at| *at != frame.src).collect(),
                Way::Nobody => return,
            }
        };
        for at in to {
            // A full outbox drops, as a full switch does.
            let _ = self.socket.post(at, &frame.data);
        }
    }
}

/// The address of the cable at a place of a switch; 0 is the switch itself. Nobody else uses this range (RFC 1112, 4).
fn port_addr(switch: u8, place: u16) -> SocketAddr {
    let [high, low] = place.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(240, switch, high, low)), 1)
}

/// A way over a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    ToSwitch,
    FromSwitch,
}

/// Returns the way that a datagram of the network takes over a cable, if it does.
pub(super) fn hop(src: SocketAddr, dst: SocketAddr) -> Option<Hop> {
    let place = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) if addr.port() == 1 => match ip.octets() {
            [240, switch, high, low] => Some((switch, u16::from_be_bytes([high, low]))),
            _ => None,
        },
        _ => None,
    };
    match (place(src)?, place(dst)?) {
        ((a, 0), (b, 1..)) if a == b => Some(Hop::FromSwitch),
        ((a, 1..), (b, 0)) if a == b => Some(Hop::ToSwitch),
        _ => None,
    }
}

/// A value that names an Ethernet address: the address, or its text.
pub trait ToMac {
    /// The address.
    ///
    /// # Panics
    ///
    /// If it is a text that is not an address: a scenario with such a mistake makes no sense.
    #[track_caller]
    fn to_mac(&self) -> Mac;
}

impl ToMac for Mac {
    fn to_mac(&self) -> Mac {
        *self
    }
}

impl ToMac for &str {
    #[track_caller]
    fn to_mac(&self) -> Mac {
        #[expect(clippy::panic, reason = "a mistake in the scenario")]
        match self.parse() {
            Ok(mac) => mac,
            Err(_) => panic!("\"{self}\" is not an Ethernet address, such as 02:00:00:00:00:01"),
        }
    }
}

/// A simulated Ethernet interface at a [`Switch`].
///
/// A stack uses it through [`Frames`]; a test can also use it as it is. It receives what is for its own address or for a
/// group, like any interface that is not promiscuous.
pub struct Interface {
    socket: Arc<UdpSocket>,
    switch: SocketAddr,
    state: Mutex<Seen>,
    /// Datagrams taken from the socket; kept for its memory.
    arrived: Mutex<Vec<Datagram>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    mac: Mac,
    mtu: usize,
    link: State,
}

impl Interface {
    /// The next frame. Any number may wait; each frame goes to one of them.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn receive(&self) -> PacketBuf {
        loop {
            let frame = self.socket.receive().await.data;
            if self.takes(&frame) {
                return frame;
            }
        }
    }

    /// Changes the address.
    pub fn set_mac(&self, mac: impl ToMac) {
        self.change(|state| state.mac = mac.to_mac());
    }

    /// Changes the MTU, bytes of payload: what the interface says, and lets pass. The cable has its own.
    pub fn set_mtu(&self, mtu: usize) {
        self.change(|state| state.mtu = mtu);
    }

    /// Changes the state of the link. While it is not up nothing is sent, and what arrives is lost.
    pub fn set_link(&self, link: State) {
        self.change(|state| state.link = link);
    }

    fn change(&self, f: impl FnOnce(&mut Seen)) {
        f(&mut self.state.lock());
        self.socket.wake_host();
    }

    pub(super) fn socket(&self) -> &Arc<UdpSocket> {
        &self.socket
    }

    fn addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// Returns `true` if the interface hands the frame up.
    fn takes(&self, frame: &[u8]) -> bool {
        let Seen { mac, link, .. } = *self.state.lock();
        link == State::Up && addresses(frame).is_some_and(|(dst, _)| dst == mac || dst.is_group())
    }
}

impl Frames for Interface {
    fn mac(&self) -> Mac {
        self.state.lock().mac
    }

    fn mtu(&self) -> usize {
        self.state.lock().mtu
    }

    fn link(&self) -> State {
        self.state.lock().link
    }

    fn queued(&self) -> usize {
        self.socket.queued(self.switch)
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        let Seen { mtu, link, .. } = *self.state.lock();
        match link {
            State::Up => {}
            State::Down => return Err(SendError::InterfaceDown),
            State::Gone => return Err(SendError::Down),
        }
        if frame.len() > mtu + FRAME_HEADER {
            return Err(SendError::TooLarge);
        }
        self.socket.post(self.switch, frame)
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let mut arrived = self.arrived.lock();
        let mut taken = 0;
        while taken == 0 && self.socket.recv(&mut arrived, cache) > 0 {
            for frame in arrived.drain(..) {
                if self.takes(&frame.data) {
                    out.push(frame.data);
                    taken += 1;
                } else {
                    cache.put(frame.data);
                }
            }
        }
        taken
    }

    fn wait(&self, _timeout: Duration) {}

    fn interrupt(&self) {}

    fn close(&self) {
        self.socket.close();
    }
}

impl core::fmt::Debug for Interface {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Interface").field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}
