//! Flows over UDP on the loopback interface, beside bare UDP and QUIC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use o7s::{Flow, IpcpHandle, QosSpec, SecurityConfig, Stack, Udp4, Udp6, UnicastLayer};

use crate::local::{ENCRYPTED, OneWay, PACKET, echo, round_trips};
use crate::measure::{self, each, in_turns};
use crate::quic::Quic;
use crate::table::{Bound, Row, gigabits, time};

const PING: usize = 64;

/// Two stacks, and both ends of a flow between them.
pub(crate) struct Pair {
    pub(crate) server: Stack,
    pub(crate) client: Stack,
    below: [IpcpHandle; 2],
}

impl Pair {
    pub(crate) fn new(security: SecurityConfig) -> Self {
        let server = Stack::builder().security(security.clone()).build().unwrap();
        let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
        net.register("peer").unwrap();
        let client = Stack::builder().security(security.clone()).build().unwrap();
        let addr = net.local_addr().unwrap().to_string();
        let below = client.udp4(Udp4::bind("127.0.0.1:0").host("peer", &addr).host("node", &addr)).unwrap();
        Self { server, client, below: [net, below] }
    }

    /// The same over IPv6; `None` on a host without it.
    fn over_ipv6(security: SecurityConfig) -> Option<Self> {
        let server = Stack::builder().security(security.clone()).build().unwrap();
        let net = server.udp6(Udp6::bind("[::1]:0")).ok()?;
        net.register("peer").unwrap();
        let client = Stack::builder().security(security.clone()).build().unwrap();
        let addr = net.local_addr().unwrap().to_string();
        let below = client.udp6(Udp6::bind("[::1]:0").host("peer", &addr)).unwrap();
        Some(Self { server, client, below: [net, below] })
    }

    /// As [`flow`](Self::flow), through a unicast layer over UDP, with two members.
    pub(crate) fn flow_above(&self, qos: QosSpec) -> (Flow, Flow) {
        let [there, here] = &self.below;
        let server = self.server.unicast("node").over(there).bootstrap(UnicastLayer::new("net")).unwrap();
        let client = self.client.unicast("other").over(here).enroll("node").unwrap();
        client.connect("node").unwrap();
        server.register("above").unwrap();
        let listener = self.server.bind("above").unwrap();
        let accepting = std::thread::spawn(move || listener.accept().unwrap());
        // The other half of the link may still be on its way.
        let allocate = || self.client.flow("above").qos(qos).timeout(Duration::from_secs(5)).alloc();
        let flow = (0..10).find_map(|_| allocate().ok()).unwrap();
        (flow, accepting.join().unwrap())
    }

    pub(crate) fn flow(&self, qos: QosSpec) -> (Flow, Flow) {
        let listener = self.server.bind("peer").unwrap();
        let accepting = std::thread::spawn(move || listener.accept().unwrap());
        let flow = self.client.flow("peer").qos(qos).alloc().unwrap();
        (flow, accepting.join().unwrap())
    }
}

/// A socket, connected to one that sends everything back.
fn bare_echo() -> UdpSocket {
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (a, b) = (bind(), bind());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    std::thread::spawn(move || {
        let mut buf = [0; 2048];
        while let Ok(n) = b.recv(&mut buf) {
            if n == 0 || b.send(&buf[..n]).is_err() {
                return;
            }
        }
    });
    a
}

pub(crate) fn ping_pong() -> Vec<Row> {
    let pair = Pair::new(ENCRYPTED.parse().unwrap());
    let (raw, raw_peer) = pair.flow(QosSpec::RAW);
    let (data, data_peer) = pair.flow(QosSpec::DATA);
    let echoes = [echo(raw_peer), echo(data_peer)];
    let socket = bare_echo();
    let mut buf = [0; PING];
    let n = 5000;
    let [ours, reliable, bare] = in_turns(
        7,
        [&mut || round_trips(&raw, n), &mut || round_trips(&data, n), &mut || {
            each(n, || {
                socket.send(&[7; PING]).unwrap();
                assert_eq!(socket.recv(&mut buf).unwrap(), PING);
            })
        }],
    );
    socket.send(&[]).unwrap();
    drop((raw, data));
    // The other side of a UDP layer does not hear of the end.
    pair.server.shutdown();
    for echo in echoes {
        echo.join().unwrap();
    }
    let text = format!("bare UDP {}", time(bare));
    vec![
        Row::info("UDP loopback, ping-pong 64 B, encrypted", time(ours), &text)
            .ratio(ours, bare)
            .must(Bound::AtMost(2.5))
            .aim(Bound::AtMost(1.5)),
        Row::info("  the same, reliable", time(reliable), &text).ratio(reliable, bare),
    ]
}

pub(crate) fn bulk() -> Vec<Row> {
    let bytes = 256 << 20;
    let pair = Pair::new(ENCRYPTED.parse().unwrap());
    let (flow, peer) = pair.flow(QosSpec::DATA);
    let ours = OneWay::new(flow, peer, true);
    let quic = Quic::new();
    let connection = quic.connect();
    let (mut our_time, mut other_time) = (Duration::ZERO, Duration::ZERO);
    let rounds = 5;
    let [speed, other_speed] = in_turns(
        rounds,
        [&mut || measure::busy(&mut our_time, || ours.packets_a_second(bytes / PACKET)) * PACKET as f64, &mut || {
            measure::busy(&mut other_time, || connection.bytes_a_second(&quic, bytes))
        }],
    );
    let text = format!("quinn {}", gigabits(8.0 * other_speed));
    let each = |total: Duration| total.as_secs_f64() / ((rounds + 1) * (bytes / PACKET)) as f64;
    vec![
        Row::info("UDP loopback, bulk, reliable, encrypted", gigabits(8.0 * speed), text)
            .ratio(speed, other_speed)
            .must(Bound::AtLeast(1.0))
            .aim(Bound::AtLeast(2.0)),
        Row::info(
            "  processor time for 1400 B, all threads",
            time(each(our_time)),
            format!("quinn {}", time(each(other_time))),
        )
        .ratio(each(our_time), each(other_time)),
    ]
}

/// Round trips between two bare sockets that nobody waits for in the kernel, as flows have them: what a family costs by itself.
struct Spinning {
    socket: UdpSocket,
    peer: SocketAddr,
    echo: Option<JoinHandle<()>>,
}

impl Spinning {
    fn at(host: IpAddr) -> Self {
        let [socket, other] = [(); 2].map(|()| {
            let socket = UdpSocket::bind((host, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        let peer = other.local_addr().unwrap();
        let echo = std::thread::spawn(move || {
            let mut buf = [0; PING];
            loop {
                match other.recv_from(&mut buf) {
                    Ok((0, _)) => return,
                    Ok((n, from)) => drop(other.send_to(&buf[..n], from)),
                    Err(_) => std::hint::spin_loop(),
                }
            }
        });
        Self { socket, peer, echo: Some(echo) }
    }

    fn round_trips(&self, n: usize) -> f64 {
        let mut buf = [0; PING];
        each(n, || {
            self.socket.send_to(&[7; PING], self.peer).unwrap();
            while self.socket.recv_from(&mut buf).is_err() {
                std::hint::spin_loop();
            }
        })
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.socket.send_to(&[], self.peer).unwrap();
        self.echo.take().into_iter().for_each(|echo| echo.join().unwrap());
    }
}

/// The same flows over IPv4 and over IPv6, in turns: nothing but the addresses differs.
pub(crate) fn families() -> Vec<Row> {
    let what = "UDP/IPv6 loopback, ping-pong 64 B, encrypted";
    let Some(six) = Pair::over_ipv6(ENCRYPTED.parse().unwrap()) else {
        return vec![Row::info(what, "skipped", "needs IPv6 on this host")];
    };
    let four = Pair::new(ENCRYPTED.parse().unwrap());
    let (near, peers): (Vec<_>, Vec<_>) = [&six, &four].map(|pair| pair.flow(QosSpec::RAW)).into_iter().unzip();
    let echoes: Vec<_> = peers.into_iter().map(echo).collect();
    let n = 5000;
    let [ping6, ping4] = in_turns(7, [&mut || round_trips(&near[0], n), &mut || round_trips(&near[1], n)]);
    drop(near);
    let bare = |host| Spinning::at(host).round_trips(n);
    let [bare6, bare4] =
        in_turns(7, [&mut || bare(Ipv6Addr::LOCALHOST.into()), &mut || bare(Ipv4Addr::LOCALHOST.into())]);
    let [bulk6, bulk4] = [&six, &four].map(|pair| {
        let (flow, peer) = pair.flow(QosSpec::DATA);
        OneWay::new(flow, peer, true)
    });
    let packets = (128 << 20) / PACKET;
    let [speed6, speed4] =
        in_turns(7, [&mut || bulk6.packets_a_second(packets), &mut || bulk4.packets_a_second(packets)]);
    six.server.shutdown();
    four.server.shutdown();
    for echo in echoes {
        echo.join().unwrap();
    }
    let bits = (8 * PACKET) as f64;
    vec![
        Row::info(what, time(ping6), format!("IPv4 {}", time(ping4))).ratio(ping6, ping4).must(Bound::AtMost(1.05)),
        Row::info("  bare sockets, of which nobody sleeps", time(bare6), format!("IPv4 {}", time(bare4)))
            .ratio(bare6, bare4),
        Row::info(
            "UDP/IPv6 loopback, bulk, reliable, encrypted",
            gigabits(bits * speed6),
            format!("IPv4 {}", gigabits(bits * speed4)),
        )
        .ratio(speed6, speed4)
        .must(Bound::AtLeast(0.95)),
    ]
}

const LARGE: usize = 1 << 20;

/// Bytes a second in writes of `size` bytes, each of which is read as one.
fn in_writes_of(size: usize, total: usize, (flow, peer): &(Flow, Flow)) -> f64 {
    let (data, writes) = (vec![7; size], total / size);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut buf = vec![0; size];
            for _ in 0..writes {
                assert_eq!(peer.read(&mut buf).unwrap(), size);
            }
            Instant::now()
        });
        let start = Instant::now();
        for _ in 0..writes {
            assert_eq!(flow.write(&data).unwrap(), size);
        }
        flow.flush();
        (writes * size) as f64 / (reader.join().unwrap() - start).as_secs_f64()
    })
}

/// Writes of 1 MiB, which go in fragments, beside writes of a packet each.
pub(crate) fn large_writes() -> Vec<Row> {
    let pair = Pair::new(ENCRYPTED.parse().unwrap());
    let (large, small) = (pair.flow(QosSpec::DATA), pair.flow(QosSpec::DATA));
    let total = 128 << 20;
    let [speed, other] =
        in_turns(5, [&mut || in_writes_of(LARGE, total, &large), &mut || in_writes_of(PACKET, total, &small)]);
    vec![
        Row::info(
            "UDP loopback, 1 MiB writes, reliable, encrypted",
            gigabits(8.0 * speed),
            format!("1400 B writes {}", gigabits(8.0 * other)),
        )
        .ratio(speed, other)
        .must(Bound::AtLeast(0.9))
        .aim(Bound::AtLeast(1.1)),
    ]
}
