//! The network says that nobody has the peer's port (ICMP): that informs, and ends nothing.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use o7s::device::{Bell, BufCache, Datagram, Datagrams, SendError};
use o7s::{Flow, IpcpHandle, QosSpec, ReadError, Stack, Udp4, WriteError, device};

use super::world::ms;

/// Nothing takes so long; only a failure waits for it.
const BOUND: Duration = Duration::from_secs(100);
/// No other test has sockets there, whose ports could be the one that is given back.
const SERVER: &str = "127.7.7.1:0";
const QOS: [QosSpec; 3] = [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA];

/// A socket whose port can be given back, and taken again.
struct Socket {
    addr: SocketAddr,
    socket: RwLock<Option<Arc<device::UdpSocket>>>,
    /// For whoever waits while there is none.
    bell: Bell,
}

impl Socket {
    fn new() -> Arc<Self> {
        let socket = device::UdpSocket::bind(SERVER.parse().unwrap()).unwrap();
        Arc::new(Self { addr: socket.local_addr(), socket: RwLock::new(Some(socket)), bell: Bell::default() })
    }

    fn give_back(&self) {
        let socket = self.socket.write().unwrap().take();
        socket.unwrap().close();
    }

    fn take_again(&self) {
        let socket = device::UdpSocket::bind(self.addr).unwrap();
        assert!(self.socket.write().unwrap().replace(socket).is_none());
        self.bell.ring();
    }

    fn get(&self) -> Option<Arc<device::UdpSocket>> {
        self.socket.read().unwrap().clone()
    }
}

impl Datagrams for Socket {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn max_datagram(&self) -> usize {
        1400
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.send_from(None, dst, data, segment)
    }

    fn send_from(
        &self,
        src: Option<IpAddr>,
        dst: SocketAddr,
        data: &[u8],
        segment: Option<usize>,
    ) -> Result<(), SendError> {
        // Without a socket it is lost on the way.
        self.get().map_or(Ok(()), |socket| socket.send_from(src, dst, data, segment))
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        self.get().map_or(0, |socket| socket.recv(out, cache))
    }

    fn wait(&self, timeout: Duration) {
        match self.get() {
            Some(socket) => socket.wait(timeout),
            None => self.bell.wait(timeout.min(ms(10))),
        }
    }

    fn interrupt(&self) {
        self.bell.interrupt();
        self.get().iter().for_each(|socket| socket.interrupt());
    }

    fn guard(&self, timeout: Duration) {
        match self.get() {
            Some(socket) => socket.guard(timeout),
            None => self.bell.guard(timeout.min(ms(10))),
        }
    }

    fn dismiss(&self) {
        self.bell.dismiss();
        self.get().iter().for_each(|socket| socket.dismiss());
    }

    fn close(&self) {
        self.get().iter().for_each(|socket| socket.close());
    }
}

/// A flow to an echo whose socket is in the hands of the test.
struct Pair {
    socket: Arc<Socket>,
    _server: Stack,
    _client: Stack,
    at_client: IpcpHandle,
    flow: Flow,
}

impl Pair {
    fn new(qos: QosSpec) -> Self {
        let (socket, server, client) = (Socket::new(), Stack::new().unwrap(), Stack::new().unwrap());
        let device = Arc::clone(&socket) as Arc<dyn Datagrams>;
        let net = server.udp4_over(device, Udp4::bind(SERVER).system_resolver(false)).unwrap();
        net.register("echo").unwrap();
        let echo = |flow: Flow| {
            let mut buf = [0; 100];
            while let Ok(n) = flow.read(&mut buf) {
                let _ = flow.write(&buf[..n]);
            }
        };
        server.bind_handler("echo", echo).unwrap();
        // The kernel tells only those who are connected.
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(socket.addr).unwrap();
        let device = device::UdpSocket::from_std(connected).unwrap() as Arc<dyn Datagrams>;
        let config = Udp4::bind("127.0.0.1:0").host("echo", &socket.addr.to_string()).system_resolver(false);
        let at_client = client.udp4_over(device, config).unwrap();
        let flow = client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
        Self { socket, _server: server, _client: client, at_client, flow }
    }

    fn rejected(&self) -> u64 {
        self.at_client.rib().get("rejected").unwrap()
    }

    /// Writes one number after the other, from `first` on, until the network has said a few times that they do not arrive. Returns
    /// the next.
    fn write_until_rejected(&self, first: u32) -> u32 {
        let (mut next, mut reads) = (first, 0);
        while self.rejected() < 3 {
            reads += 1;
            assert!(reads < 10_000, "{next} are written, and {} rejected", self.rejected());
            match self.flow.try_write(&next.to_be_bytes()) {
                Ok(_) => next += 1,
                Err(e) => assert_eq!(e, WriteError::WouldBlock),
            }
            let read = self.flow.read_timeout(&mut [0; 4], ms(5));
            assert_eq!(read, Err(ReadError::TimedOut), "after {} rejections", self.rejected());
        }
        next
    }

    fn read(&self, timeout: Duration) -> Result<u32, ReadError> {
        let mut buf = [0; 4];
        self.flow.read_timeout(&mut buf, timeout).map(|_| u32::from_be_bytes(buf))
    }
}

#[test]
fn a_flow_goes_on_when_its_peers_port_is_there_again() {
    for qos in QOS {
        let pair = Pair::new(qos);
        pair.flow.write(&0u32.to_be_bytes()).unwrap();
        assert_eq!(pair.read(BOUND), Ok(0));
        assert_eq!(pair.rejected(), 0);
        pair.socket.give_back();
        let written = pair.write_until_rejected(1);
        pair.socket.take_again();
        if qos == QosSpec::DATA {
            for n in 1..written {
                assert_eq!(pair.read(BOUND), Ok(n), "of {written}, with {} rejections", pair.rejected());
            }
            continue;
        }
        // What was lost is lost; the next is not, or, on a busy machine, one of those after it.
        let answered = (written..written + 1000).any(|n| {
            pair.flow.write(&n.to_be_bytes()).unwrap();
            matches!(pair.read(ms(100)), Ok(echoed) if (written..=n).contains(&echoed))
        });
        assert!(answered, "{qos:?}");
    }
}

#[test]
fn a_flow_whose_peers_port_stays_away_ends_by_its_timeout() {
    for qos in QOS {
        let pair = Pair::new(QosSpec { timeout: 1500, ..qos });
        pair.flow.write(&0u32.to_be_bytes()).unwrap();
        assert_eq!(pair.read(BOUND), Ok(0));
        pair.socket.give_back();
        pair.flow.write(&1u32.to_be_bytes()).unwrap();
        assert_eq!(pair.read(BOUND), Err(ReadError::PeerGone), "{qos:?}, {} rejections", pair.rejected());
        assert!(pair.rejected() > 0);
    }
}
