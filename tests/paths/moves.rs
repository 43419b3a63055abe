//! Flows over UDP whose peer turns up at another address: behind a NAT that forgets, or in another network.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use o7s::base::buf::BufCache;
use o7s::base::rng::Randomness;
use o7s::oap::client::Client;
use o7s::sim::{EPOCH_UNIX_NANOS, Host, Link, Network, UdpSocket, Verdict};
use o7s::types::device::{Datagram, Datagrams, SendError};
use o7s::wire::udp::FlowRequest;
use o7s::{HashAlg, IpcpHandle, Moves, Name, QosSpec, ReadError, SecurityConfig, Stack, Udp4, aio};

use super::world::{ENCRYPTED, SERVER, ms, secs};

const MIB: usize = 1 << 20;
const INSIDE: &str = "192.168.0.2:3435";
const NUMBER_OF_OUTSIDES: u8 = 20;

/// A device behind a NAT: others see it at another address than its own, and not always the same.
struct Nat {
    net: Mutex<Option<Arc<UdpSocket>>>,
}

impl Nat {
    fn outside(&self) -> Arc<UdpSocket> {
        Arc::clone(self.net.lock().unwrap().as_ref().unwrap())
    }

    /// From now on it is seen at this address, and no more at the one before.
    fn rebind(&self, socket: Arc<UdpSocket>) {
        let before = self.net.lock().unwrap().replace(socket);
        if let Some(before) = before {
            before.close();
        }
    }
}

impl Datagrams for Nat {
    fn local_addr(&self) -> SocketAddr {
        INSIDE.parse().unwrap()
    }

    fn max_datagram(&self) -> usize {
        self.outside().max_datagram()
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.outside().send(dst, data, segment)
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        self.outside().recv(out, cache)
    }

    fn wait(&self, _: Duration) {}

    fn interrupt(&self) {}
}

/// Where it is said which flows of the server may move.
enum Said {
    InCode(Moves),
    /// A line in the table of its layer.
    InFile(&'static str),
}

impl From<Moves> for Said {
    fn from(moves: Moves) -> Self {
        Self::InCode(moves)
    }
}

/// A server, and a client that moves.
pub(super) struct World {
    pub(super) net: Network,
    server: Host,
    layer: IpcpHandle,
    client: Stack,
    nat: Arc<Nat>,
    outside: Cell<u8>,
    /// The client's host does something, unlike one that is suspended.
    awake: Rc<Cell<bool>>,
}

pub(super) fn outside(n: u8) -> SocketAddr {
    ([203, 0, 113, n], 40_000 + u16::from(n)).into()
}

impl World {
    pub(super) fn new(seed: u64, security: &str) -> Self {
        Self::with(seed, security, Moves::All)
    }

    /// `moves`: where flows of the server may go.
    fn with(seed: u64, security: &str, moves: impl Into<Said>) -> Self {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(ms(5)).rate(200_000_000));
        let security = || if security.is_empty() { Default::default() } else { security.parse().unwrap() };
        let server = net.host("server").stack(|s| s.security(security()));
        let (server, layer) = match moves.into() {
            Said::InCode(moves) => {
                let at_server = Udp4::bind(SERVER).table(net.names()).moves(moves);
                let server = server.udp4_with(SERVER, at_server).build();
                let layer = server.udp4()[0].clone();
                (server, layer)
            }
            Said::InFile(line) => {
                let file = format!("[udp4.net]\nbootstrap = \"net\"\nip = \"{SERVER}\"\nreg = [\"service\"]\n{line}");
                let server = server.build();
                let made = net.block_on(server.configure(&file.parse().unwrap())).unwrap();
                (server, made[0].clone())
            }
        };
        let nat = Arc::new(Nat { net: Mutex::new(Some(net.udp(outside(0)))) });
        let seed = [seed as u8 + 1; 32];
        let client = Stack::builder().seed(seed).security(security()).polled_at(EPOCH_UNIX_NANOS).build().unwrap();
        let device = Arc::clone(&nat) as Arc<dyn Datagrams>;
        client.udp4_over(device, Udp4::bind("").host("service", SERVER)).unwrap();
        let (stack, clock, awake) = (client.clone(), net.clone(), Rc::new(Cell::new(true)));
        let runs = Rc::clone(&awake);
        net.spawn(async move {
            loop {
                if runs.get() {
                    stack.poll(clock.now());
                }
                clock.sleep(if runs.get() { Duration::from_micros(200) } else { secs(1) }).await;
            }
        });
        Self { net, server, layer, client, nat, outside: Cell::new(0), awake }
    }

    /// The NAT forgets: another port and address.
    pub(super) fn rebind(&self) {
        let n = self.outside.get() + 1;
        assert!(n < NUMBER_OF_OUTSIDES);
        self.outside.set(n);
        self.nat.rebind(self.net.udp(outside(n)));
    }

    /// Another port only.
    fn rebind_port(&self, port: u16) {
        self.nat.rebind(self.net.udp(SocketAddr::new(outside(self.outside.get()).ip(), port)));
    }

    /// Both ends of a flow.
    pub(super) fn flow(&self, qos: QosSpec) -> (aio::Flow, aio::Flow) {
        let listener = self.server.listen("service");
        let accepted = self.net.spawn(async move { listener.accept_async().await.unwrap() });
        let near = self.net.block_on(self.client.flow("service").qos(qos).alloc_async()).unwrap();
        (near, self.net.block_on(accepted))
    }

    fn counter(&self, name: &str) -> u64 {
        self.layer.rib().get(name).unwrap()
    }
}

fn data(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i.wrapping_mul(31) >> 3) as u8).collect()
}

/// Sends `n` bytes over a flow, while the NAT rebinds at these times. Returns the longest pause between two packets at the
/// receiver.
fn transfer(world: &World, from: aio::Flow, to: aio::Flow, n: usize, rebind_at: &[Duration]) -> Duration {
    let (sent, clock) = (data(n), world.net.clone());
    let sending = world.net.spawn(async move {
        for packet in sent.chunks(1000) {
            from.write(packet).await.unwrap();
        }
        from
    });
    let longest = Rc::new(Cell::new(Duration::ZERO));
    let pause = Rc::clone(&longest);
    let receiving = world.net.spawn(async move {
        let (mut got, mut last) = (Vec::new(), clock.now());
        while got.len() < n {
            got.extend_from_slice(&to.read_bytes().await.unwrap());
            pause.set(pause.get().max(clock.now() - last));
            last = clock.now();
        }
        (got, to)
    });
    let began = world.net.now();
    for at in rebind_at {
        world.net.block_on(world.net.sleep_until(began + *at));
        world.rebind();
    }
    let (got, to) = world.net.block_on(receiving);
    assert!(got == data(n), "{} bytes arrived, and not those that were sent", got.len());
    drop((world.net.block_on(sending), to));
    longest.get()
}

#[test]
fn transfers_survive_changes_of_the_address() {
    for (seed, security) in (0..3).flat_map(|seed| [(seed, ""), (seed, ENCRYPTED)]) {
        for upwards in [true, false] {
            let world = World::new(seed, security);
            let (near, far) = world.flow(QosSpec::DATA);
            let (from, to) = if upwards { (near, far) } else { (far, near) };
            // Who only receives shows itself when nothing has come for half a second: until then several changes are one.
            let (at, most) = if upwards { (vec![ms(50), ms(150), ms(300)], ms(300)) } else { (vec![ms(50)], ms(900)) };
            let pause = transfer(&world, from, to, 10 * MIB, &at);
            assert_eq!(world.counter("moved"), at.len() as u64, "{security} {upwards}");
            assert!(pause < most, "{pause:?} without a packet; {security} {upwards}");
        }
    }
}

/// Also when it moves on before the address before is proven: a round trip takes 10 ms.
#[test]
fn transfers_survive_an_address_that_changes_all_the_time() {
    for (security, every) in ["", ENCRYPTED].into_iter().flat_map(|s| [100, 20, 8].map(|every| (s, every))) {
        let world = World::new(6, security);
        let (near, far) = world.flow(QosSpec::DATA);
        let at: Vec<_> = (1..u64::from(NUMBER_OF_OUTSIDES)).map(|n| ms(n * every)).collect();
        transfer(&world, near, far, 10 * MIB, &at);
        assert!(world.counter("moved") > 0);
    }
}

/// A computer that is suspended for hours and wakes up in another network.
#[test]
fn a_client_that_slept_for_hours_is_told_and_asks_again() {
    for security in ["", ENCRYPTED] {
        let world = World::new(8, security);
        let (near, far) = world.flow(QosSpec::DATA);
        world.net.block_on(async {
            near.write(b"good night").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap()[..], b"good night"[..]);
        });
        // What is written is acknowledged.
        world.net.run_for(secs(1));
        world.awake.set(false);
        assert_eq!(world.net.block_on(far.read_bytes()), Err(ReadError::PeerGone));
        drop(far);
        world.net.run_for(secs(8 * 3600));
        world.rebind();
        world.awake.set(true);
        let told = world.net.block_on(world.net.timeout(secs(2), near.read_bytes()));
        assert_eq!(told.expect("in no time"), Err(ReadError::PeerGone));
        let (near, far) = world.flow(QosSpec::DATA);
        world.net.block_on(async {
            near.write(b"good morning").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap()[..], b"good morning"[..]);
        });
    }
}

#[test]
fn raw_flows_go_on_at_the_new_address() {
    for security in ["", ENCRYPTED] {
        let world = World::new(7, security);
        let (near, far) = world.flow(QosSpec::RAW);
        world.net.spawn(async move {
            while let Ok(packet) = far.read_bytes().await {
                far.write(&packet).await.unwrap();
            }
        });
        let answered = |n: u8| {
            world.net.block_on(async {
                near.write(&[n; 100]).await.unwrap();
                world.net.timeout(ms(100), near.read_bytes()).await.is_ok_and(|read| read.unwrap()[..] == [n; 100])
            })
        };
        assert!(answered(0));
        world.rebind();
        assert!(!answered(1), "the first shows that it has moved");
        assert!(answered(2));
        assert_eq!(world.counter("moved"), 1);
        // Even a flow that is only kept alive: the word for it is a packet, too.
        world.rebind();
        world.net.block_on(near.write(b"")).unwrap();
        world.net.run_for(ms(100));
        assert_eq!(world.counter("moved"), 2);
        assert!(answered(3));
    }
}

/// One end closes with data queued, and the client moves while it waits for the other to have everything.
#[test]
fn a_close_goes_on_at_the_new_address() {
    for (seed, upwards) in (0..4).flat_map(|seed| [(seed, true), (seed, false)]) {
        let world = World::new(seed, ENCRYPTED);
        let slow = Link::default().latency(ms(5)).rate(4_000_000);
        let (near, far) = world.flow(QosSpec::DATA);
        world.net.set_default_link(slow);
        let (from, to) = if upwards { (near, far) } else { (far, near) };
        let queue = from.as_blocking();
        let mut sent = 0;
        while queue.try_write(&data(1000 * (sent + 1))[1000 * sent..]).is_ok() {
            sent += 1;
        }
        let reading = world.net.spawn(async move {
            let mut got = Vec::new();
            loop {
                match to.read_bytes().await {
                    Ok(packet) => got.extend_from_slice(&packet),
                    Err(end) => return (got, end, to.close(secs(60)).await),
                }
            }
        });
        let closing = world.net.spawn(from.close(secs(60)));
        for at in [20, 100] {
            world.net.run_for(ms(at));
            assert!(queue.write_queue() > 0, "there is nothing left to bring to the other end");
            world.rebind();
        }
        let (got, end, closed) = world.net.block_on(reading);
        assert!(got == data(1000 * sent), "{} of {sent} packets, {upwards}", got.len() / 1000);
        assert_eq!((end, closed), (ReadError::Closed, Ok(())), "{upwards}");
        assert_eq!(world.net.block_on(closing), Ok(()), "{upwards}: it knows that the other end has everything");
        assert!(world.counter("moved") > 0);
        drop(queue);
        world.net.run_for(secs(200));
        for stack in [world.server.stack(), &world.client] {
            assert_eq!(stack.rib().get("node/flows"), Some(0), "{upwards}: all is released");
        }
    }
}

/// The result for a flow whose peer gets another port first, and then another address: how often it moved, and whether the
/// server took its packets for a stranger's.
fn moved(security: &str, moves: impl Into<Said>) -> [(u64, bool); 2] {
    let world = World::with(13, security, moves);
    let (near, far) = world.flow(QosSpec::RAW);
    world.net.spawn(async move { while far.read_bytes().await.is_ok() {} });
    world.net.block_on(near.write(b"from where it was")).unwrap();
    world.net.run_for(ms(100));
    let step = |rebind: &dyn Fn()| {
        let before = world.counter("wrong_source");
        rebind();
        for _ in 0..3 {
            world.net.block_on(near.write(b"from elsewhere")).unwrap();
            world.net.run_for(ms(300));
        }
        (world.counter("moved"), world.counter("wrong_source") >= before + 3)
    };
    [step(&|| world.rebind_port(50_000)), step(&|| world.rebind())]
}

#[test]
fn flows_go_where_their_layer_lets_them() {
    for security in ["", ENCRYPTED] {
        assert_eq!(moved(security, Moves::Never), [(0, true), (0, true)], "{security}");
        assert_eq!(moved(security, Moves::All), [(1, false), (2, false)], "{security}");
    }
    assert_eq!(moved(ENCRYPTED, Moves::Encrypted), [(1, false), (2, false)]);
    assert_eq!(moved("", Moves::default()), [(1, false), (1, true)], "to another port, and no further");
}

#[test]
fn a_file_says_which_flows_move() {
    for (security, line, expected) in [
        (ENCRYPTED, "moves = \"never\"", moved(ENCRYPTED, Moves::Never)),
        (ENCRYPTED, "moves = \"encrypted\"", moved(ENCRYPTED, Moves::Encrypted)),
        ("", "moves = \"encrypted\"", moved("", Moves::Encrypted)),
        ("", "moves = \"all\"", moved("", Moves::All)),
        ("", "", moved("", Moves::default())),
    ] {
        assert_eq!(moved(security, Said::InFile(line)), expected, "{security} {line}");
    }
}

/// What a stranger can do who sees packets of a flow, and sends from an address of its own.
fn stranger(security: &str, qos: QosSpec) {
    let world = World::new(9, security);
    let (near, far) = world.flow(qos);
    let server: SocketAddr = format!("{SERVER}:3435").parse().unwrap();
    let mallory = world.net.udp("198.51.100.66:3435");
    // The latest packets of either side.
    let seen = Rc::new(RefCell::new(Vec::<(SocketAddr, Vec<u8>)>::new()));
    let (keep, own) = (Rc::clone(&seen), mallory.local_addr());
    world
        .net
        .on_packet(move |packet| {
            let mut seen = keep.borrow_mut();
            if packet.src != own && packet.dst != own && seen.len() < 1000 {
                seen.push((packet.dst, packet.data.to_vec()));
            }
            Verdict::Pass
        })
        .keep();
    let (clock, tap) = (world.net.clone(), Rc::clone(&seen));
    let (spent, earned) = (Rc::new(Cell::new(0_usize)), Rc::new(Cell::new(0_usize)));
    let (spends, earns) = (Rc::clone(&spent), Rc::clone(&earned));
    let stranger = Arc::clone(&mallory);
    world.net.spawn(async move {
        loop {
            clock.sleep(ms(1)).await;
            let copies = core::mem::take(&mut *tap.borrow_mut());
            for (dst, packet) in copies {
                // As it was, cut, with another content, and to both ends.
                let mut forged = packet.clone();
                forged.iter_mut().skip(4).for_each(|byte| *byte ^= 0x55);
                for data in [&packet[..], &packet[..4.min(packet.len())], &forged[..]] {
                    spends.set(spends.get() + data.len() + 28);
                    stranger.send(dst, data, None).unwrap();
                }
            }
            // What it gets it throws back, and on to the other.
            let (mut got, mut cache) = (Vec::new(), BufCache::new(&o7s::base::buf::BufPool::new(4)));
            stranger.recv(&mut got, &mut cache);
            for datagram in got {
                earns.set(earns.get() + datagram.data.len() + 28);
                for dst in [server, outside(0)] {
                    stranger.send(dst, &datagram.data, None).unwrap();
                }
            }
        }
    });
    transfer(&world, near, far, MIB, &[]);
    assert_eq!(world.counter("moved"), 0);
    let (spent, earned) = (spent.get(), earned.get());
    assert!(spent > MIB && earned < spent / 20, "{earned} bytes for {spent}");
}

#[test]
fn a_forged_rebinding_does_nothing() {
    for security in ["", ENCRYPTED] {
        stranger(security, QosSpec::DATA);
    }
}

#[test]
fn a_lost_probe_is_sent_again() {
    let world = World::new(11, ENCRYPTED);
    let (near, far) = world.flow(QosSpec::DATA);
    // Everything to the second address is lost for a while.
    let (lost, until) = (outside(1), world.net.now() + ms(700));
    let clock = world.net.clone();
    let drops = move |packet: &o7s::sim::Packet<'_>| match packet.dst == lost && clock.now() < until {
        true => Verdict::Drop,
        false => Verdict::Pass,
    };
    world.net.on_packet(drops).keep();
    transfer(&world, near, far, 4 * MIB, &[ms(50)]);
    assert_eq!(world.counter("moved"), 1);
}

/// Whoever asks for a flow without the mark of this library is taken for a reference.
#[test]
fn a_reference_sees_nothing_of_it() {
    for (marked, probes) in [(true, 1), (false, 0)] {
        let net = Network::new(3);
        net.set_default_link(Link::default().latency(ms(1)));
        let anywhere = Udp4::bind(SERVER).moves(Moves::All);
        let server = net.host("server").udp4_with(SERVER, anywhere).build();
        let listener = server.listen("service");
        net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            while flow.read_bytes().await.is_ok() {}
        });
        let hash = HashAlg::Md5.hash(&"service".parse::<Name>().unwrap());
        let mut rng = Randomness::from_seed([9; 32]);
        let (_, mut oap) = Client::start(EPOCH_UNIX_NANOS, &SecurityConfig::default(), &[], &mut rng).unwrap();
        if !marked {
            oap[15] ^= 1;
        }
        let request = FlowRequest { s_eid: 64, qos: QosSpec::RAW, dst: hash, data: &oap }.to_vec();
        let (peer, elsewhere) = (net.udp("10.0.0.1:3435"), net.udp("10.0.0.7:3435"));
        let at = server.udp4()[0].local_addr().unwrap();
        peer.send(at, &request, None).unwrap();
        let reply = net.block_on(peer.receive());
        let eid: [u8; 4] = reply.data[8..12].try_into().unwrap();
        let packet = [&eid[..], b"the first packet of the flow"].concat();
        peer.send(at, &packet, None).unwrap();
        net.run_for(ms(100));
        elsewhere.send(at, &packet, None).unwrap();
        net.run_for(secs(5));
        let (mut got, mut cache) = (Vec::new(), BufCache::new(&o7s::base::buf::BufPool::new(4)));
        elsewhere.recv(&mut got, &mut cache);
        assert_eq!(got.len(), probes, "marked: {marked}");
        assert!(got.iter().all(|probe| probe.data.len() + 28 <= 3 * (packet.len() + 28)));
    }
}
