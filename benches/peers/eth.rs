//! Flows over raw Ethernet on a pair of virtual interfaces, beside bare packet sockets and beside UDP.
//!
//! They need root and iproute2; without them the rows say so.
//!
//! Receive rings (`PACKET_RX_RING`) were measured here beside the batched calls that the device makes, and are no part of it: a
//! ring of blocks took 0.88 times as many packets a second on a machine at rest, as each frame is copied out of it all the
//! same.

mod bare;
pub(crate) mod reference;

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use o7s::device::{BufCache, Datagram, Datagrams, SendError, UdpSocket};
use o7s::{Eth, Flow, IpcpHandle, QosSpec, SecurityConfig, Stack, Udp4};

use self::bare::{Bare, Sink};
use crate::local::{ENCRYPTED, OneWay, PACKET, echo, round_trips};
use crate::measure::in_turns;
use crate::table::{Bound, Row, gigabits, rate, time};

const ENDS: [&str; 2] = ["o7s-bench-a", "o7s-bench-b"];
/// Of two layers at the same interfaces.
const TYPES: [u16; 2] = [0xa000, 0xa001];
const PING: usize = 64;

/// Two virtual interfaces, for as long as this lives.
struct Cable;

impl Cable {
    /// Nothing, where it cannot be laid.
    fn new() -> Option<Self> {
        let [a, b] = ENDS;
        // Left behind by a run that was killed.
        let _ = ip(&format!("link del {a}"));
        let laid = ip(&format!("link add {a} type veth peer name {b}"));
        let cable = laid.then_some(Self)?;
        for end in ENDS {
            // A kernel without IPv6 sends nothing of its own either.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1");
            assert!(ip(&format!("link set {end} up")), "{end} does not come up");
        }
        Some(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = ip(&format!("link del {}", ENDS[0]));
    }
}

fn ip(line: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(line.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn skipped(what: &str) -> Vec<Row> {
    vec![Row::info(what, "skipped", "needs root and iproute2")]
}

/// A stack at each end.
struct Pair {
    server: Stack,
    client: Stack,
    layers: [IpcpHandle; 2],
}

impl Pair {
    fn new(ethertype: u16, security: SecurityConfig) -> Self {
        let [server, client] = [(); 2].map(|()| Stack::builder().security(security.clone()).build().unwrap());
        let near = client.eth(Eth::dix(ENDS[0]).ethertype(ethertype)).unwrap();
        let far = server.eth(Eth::dix(ENDS[1]).ethertype(ethertype)).unwrap();
        far.register("peer").unwrap();
        let layers = [near, far];
        // A link that was just switched on takes a moment.
        while layers.iter().any(|layer| layer.rib().get("link_up") != Some(1)) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Self { server, client, layers }
    }

    fn flow(&self, qos: QosSpec) -> (Flow, Flow) {
        flow_between(&self.client, &self.server, qos)
    }

    /// Frames that the kernel had no room for.
    fn overrun(&self) -> u64 {
        let of = |layer: &IpcpHandle| layer.rib().get("device_overrun").unwrap_or(0);
        self.layers.iter().map(of).sum()
    }
}

fn flow_between(client: &Stack, server: &Stack, qos: QosSpec) -> (Flow, Flow) {
    let listener = server.bind("peer").unwrap();
    let accepting = std::thread::spawn(move || listener.accept().unwrap());
    let flow = client.flow("peer").qos(qos).timeout(Duration::from_secs(5)).alloc().unwrap();
    (flow, accepting.join().unwrap())
}

pub(crate) fn ping_pong() -> Vec<Row> {
    let Some(_cable) = Cable::new() else { return skipped("eth-dix over veth, ping-pong 64 B") };
    let (plain, sealed) =
        (Pair::new(TYPES[0], SecurityConfig::default()), Pair::new(TYPES[1], ENCRYPTED.parse().unwrap()));
    let ((raw, raw_peer), (data, data_peer)) = (plain.flow(QosSpec::RAW), sealed.flow(QosSpec::DATA));
    let echoes = [echo(raw_peer), echo(data_peer)];
    let bare = Bare::pair(ENDS);
    let n = 5000;
    let [ours, reliable, other] =
        in_turns(7, [&mut || round_trips(&raw, n), &mut || round_trips(&data, n), &mut || bare.round_trips(n, PING)]);
    drop((raw, data));
    plain.server.shutdown();
    sealed.server.shutdown();
    for echo in echoes {
        echo.join().unwrap();
    }
    let text = format!("bare AF_PACKET {}", time(other));
    vec![
        Row::info("eth-dix over veth, ping-pong 64 B", time(ours), &text)
            .ratio(ours, other)
            .must(Bound::AtMost(2.0))
            .aim(Bound::AtMost(1.3)),
        Row::info("  the same, encrypted and reliable", time(reliable), &text).ratio(reliable, other),
    ]
}

pub(crate) fn one_way() -> Vec<Row> {
    let Some(_cable) = Cable::new() else { return skipped("eth-dix over veth, raw 1400 B one way") };
    let pair = Pair::new(TYPES[0], SecurityConfig::default());
    let (flow, peer) = pair.flow(QosSpec::RAW);
    let ours = OneWay::new(flow, peer, false);
    let sink = Sink::new(ENDS[1]);
    let sender = Bare::open(ENDS[0]);
    let n = 200_000;
    let before = pair.overrun();
    let [speed, other] = in_turns(7, [&mut || ours.packets_a_second(n), &mut || sink.packets_a_second(&sender, n)]);
    let lost = (pair.overrun() - before) as f64 / (8 * n) as f64;
    let text = format!("bare AF_PACKET, batched {}", rate(other));
    vec![
        Row::info("eth-dix over veth, raw 1400 B one way", rate(speed), &text)
            .ratio(speed, other)
            .must(Bound::AtLeast(0.8))
            .aim(Bound::AtLeast(1.0)),
        Row::info("  of them lost in front of the receiver", format!("{:.1} %", 100.0 * lost), ""),
    ]
}

/// A UDP socket without segmentation offload.
struct OneByOne(Arc<UdpSocket>);

impl Datagrams for OneByOne {
    fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    fn max_datagram(&self) -> usize {
        self.0.max_datagram()
    }

    fn queued(&self, dst: SocketAddr) -> usize {
        self.0.queued(dst)
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.0.send(dst, data, segment)
    }

    fn send_from(
        &self,
        src: Option<IpAddr>,
        dst: SocketAddr,
        data: &[u8],
        segment: Option<usize>,
    ) -> Result<(), SendError> {
        self.0.send_from(src, dst, data, segment)
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        self.0.recv(out, cache)
    }

    fn wait(&self, timeout: Duration) {
        self.0.wait(timeout);
    }

    fn interrupt(&self) {
        self.0.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.0.guard(timeout);
    }

    fn dismiss(&self) {
        self.0.dismiss();
    }

    fn close(&self) {
        self.0.close();
    }
}

pub(crate) fn bulk() -> Vec<Row> {
    let Some(_cable) = Cable::new() else { return skipped("eth-dix over veth, bulk, reliable, encrypted") };
    let security: SecurityConfig = ENCRYPTED.parse().unwrap();
    let pair = Pair::new(TYPES[0], security.clone());
    let (flow, peer) = pair.flow(QosSpec::DATA);
    let ours = OneWay::new(flow, peer, true);
    let [server, client] = [(); 2].map(|()| Stack::builder().security(security.clone()).build().unwrap());
    let [there, here] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let addr = there.local_addr().to_string();
    let layer = server.udp4_over(Arc::new(OneByOne(there)), Udp4::bind("")).unwrap();
    layer.register("peer").unwrap();
    client.udp4_over(Arc::new(OneByOne(here)), Udp4::bind("").host("peer", &addr)).unwrap();
    let (flow, peer) = flow_between(&client, &server, QosSpec::DATA);
    let udp = OneWay::new(flow, peer, true);
    let n = (64 << 20) / PACKET;
    let [speed, other] = in_turns(5, [&mut || ours.packets_a_second(n), &mut || udp.packets_a_second(n)]);
    let bits = (8 * PACKET) as f64;
    vec![
        Row::info(
            "eth-dix over veth, bulk, reliable, encrypted",
            gigabits(bits * speed),
            format!("UDP loopback, no offload {}", gigabits(bits * other)),
        )
        .ratio(speed, other)
        .must(Bound::AtLeast(1.0))
        .aim(Bound::AtLeast(1.5)),
    ]
}
