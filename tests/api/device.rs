//! UDP layers over custom devices, and the limits of these; addresses, ports, sizes.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::thread::Builder;
use std::time::Duration;

use o7s::base::buf::BufCache;
use o7s::rib::Rib;
use o7s::types::device::{Datagram, Datagrams, SendError};
use o7s::{
    AllocError, Event, Flow, FlowSet, IpcpHandle, QosSpec, SecurityConfig, Stack, Udp4, UnicastLayer, WriteError,
};

const BOUND: Duration = Duration::from_secs(20);

/// A socket in memory, which refuses what it is told to.
struct Mem {
    addr: SocketAddr,
    peer: OnceLock<Weak<Self>>,
    fault: Mutex<Option<SendError>>,
    refused: AtomicU64,
    largest: AtomicU64,
    /// Datagrams of which it says that they wait to leave, and how often it was asked.
    waiting: AtomicUsize,
    asked: AtomicU64,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<(SocketAddr, Vec<u8>)>,
    interrupted: bool,
    dismissed: bool,
}

impl Mem {
    fn pair() -> [Arc<Self>; 2] {
        let make = |addr: &str| {
            Arc::new(Self {
                addr: addr.parse().unwrap(),
                peer: OnceLock::new(),
                fault: Mutex::new(None),
                refused: AtomicU64::new(0),
                largest: AtomicU64::new(0),
                waiting: AtomicUsize::new(0),
                asked: AtomicU64::new(0),
                inner: Mutex::default(),
                changed: Condvar::new(),
            })
        };
        let (a, b) = (make("10.0.0.1:3435"), make("10.0.0.2:3435"));
        a.peer.set(Arc::downgrade(&b)).unwrap();
        b.peer.set(Arc::downgrade(&a)).unwrap();
        [a, b]
    }

    fn fails(&self, with: Option<SendError>) {
        *self.fault.lock().unwrap() = with;
    }

    fn until(&self, timeout: Duration, done: impl Fn(&Inner) -> bool, reset: impl Fn(&mut Inner)) {
        let inner = self.inner.lock().unwrap();
        let (mut inner, _) =
            self.changed.wait_timeout_while(inner, timeout, |inner| inner.queue.is_empty() && !done(inner)).unwrap();
        reset(&mut inner);
    }

    fn set(&self, f: impl Fn(&mut Inner)) {
        f(&mut self.inner.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Datagrams for Mem {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn max_datagram(&self) -> usize {
        65_507
    }

    fn max_segments(&self) -> usize {
        16
    }

    fn queued(&self, _: SocketAddr) -> usize {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.waiting.load(Ordering::Relaxed)
    }

    fn send(&self, _: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        if let Some(fault) = *self.fault.lock().unwrap() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(fault);
        }
        let peer = self.peer.get().and_then(Weak::upgrade).ok_or(SendError::Down)?;
        peer.set(|inner| {
            for datagram in data.chunks(segment.unwrap_or(data.len()).max(1)) {
                self.largest.fetch_max(datagram.len() as u64, Ordering::Relaxed);
                inner.queue.push_back((self.addr, datagram.to_vec()));
            }
        });
        Ok(())
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut inner = self.inner.lock().unwrap();
        let n = inner.queue.len().min(256);
        for (src, bytes) in inner.queue.drain(..n) {
            let mut data = cache.take(bytes.len());
            data.extend_from_slice(&bytes).unwrap();
            out.push(Datagram::new(src, data));
        }
        n
    }

    fn wait(&self, timeout: Duration) {
        self.until(timeout, |i| i.interrupted, |i| i.interrupted = false);
    }

    fn interrupt(&self) {
        self.set(|i| i.interrupted = true);
    }

    fn guard(&self, timeout: Duration) {
        self.until(timeout, |i| i.dismissed, |i| i.dismissed = false);
    }

    fn dismiss(&self) {
        self.set(|i| i.dismissed = true);
    }
}

struct Over {
    client: Stack,
    net: IpcpHandle,
    device: Arc<Mem>,
    _server: Stack,
}

impl Over {
    /// A client over a device in memory, and a server that sends back the number of bytes of each packet.
    fn new(udp: impl FnOnce(Udp4) -> Udp4) -> Self {
        Self::of([Stack::new().unwrap(), Stack::new().unwrap()], udp)
    }

    /// The same with stacks that are given.
    fn of([server, client]: [Stack; 2], udp: impl FnOnce(Udp4) -> Udp4) -> Self {
        let [a, b] = Mem::pair();
        server.udp4_over(a, Udp4::bind("10.0.0.1")).unwrap().register("echo").unwrap();
        let serve = |flow: Flow| {
            let mut buf = vec![0; 65_507];
            while let Ok(n) = flow.read(&mut buf) {
                let _ = flow.write(&(n as u64).to_be_bytes());
            }
        };
        server.bind_handler("echo", serve).unwrap();
        let config = udp(Udp4::bind("10.0.0.2").host("echo", "10.0.0.1"));
        let net = client.udp4_over(Arc::clone(&b) as Arc<dyn Datagrams>, config).unwrap();
        Self { client, net, device: b, _server: server }
    }

    fn flow(&self, qos: QosSpec) -> Flow {
        self.client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        self.net.rib().get(name).unwrap()
    }
}

fn answers(flow: &Flow, n: usize, size: u64) {
    for i in 0..n {
        let mut buf = [0; 8];
        flow.read_timeout(&mut buf, BOUND).unwrap_or_else(|e| panic!("answer {i} of {n}: {e}"));
        assert_eq!(u64::from_be_bytes(buf), size);
    }
}

#[test]
fn a_full_device_makes_writers_wait_and_loses_nothing() {
    for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
        for fault in [SendError::Full, SendError::NoBuffers] {
            let over = Over::new(|udp| udp);
            let flow = over.flow(qos);
            flow.write(&[1; 100]).unwrap();
            answers(&flow, 1, 100);
            over.device.fails(Some(fault));
            let mut written = 0;
            let last = loop {
                match flow.try_write(&[1; 1000]) {
                    Ok(_) => written += 1,
                    Err(e) => break e,
                }
                assert!(written < 2000, "nothing says that the device is full");
            };
            assert_eq!(last, WriteError::WouldBlock);
            assert_eq!(over.count("send_drops"), 0);
            assert!(over.count("send_stalls") >= 1);
            // A writer that waits goes on when there is room.
            let flow = Arc::new(flow);
            let writes = Arc::clone(&flow);
            let writer = Builder::new().spawn(move || writes.write_timeout(&[1; 1000], BOUND)).unwrap();
            std::thread::park_timeout(Duration::from_millis(20));
            over.device.fails(None);
            assert_eq!(writer.join().unwrap(), Ok(1000));
            answers(&flow, written + 1, 1000);
            assert_eq!(over.count("send_drops"), 0);
        }
    }
}

#[test]
fn a_device_that_stays_full_is_tried_seldom() {
    let over = Over::new(|udp| udp);
    let flows: Vec<_> = (0..20).map(|_| over.flow(QosSpec::DATA)).collect();
    over.device.fails(Some(SendError::Full));
    let before = over.device.refused.load(Ordering::Relaxed);
    for flow in &flows {
        while flow.try_write(&[1; 1000]).is_ok() {}
    }
    std::thread::park_timeout(Duration::from_millis(300));
    // Each of 20 asks at 1, 3, 7, 15, 31 ms and every 16 ms then; retransmissions come behind.
    let asked = over.device.refused.load(Ordering::Relaxed) - before;
    assert!(asked < 20 * 100, "{asked}");
    over.device.fails(None);
    for flow in &flows {
        answers(flow, 1, 1000);
    }
}

/// The packets that wait in front of the adjacencies of a member and in their devices.
fn queued(rib: &Rib) -> u64 {
    let own = if rib.sort() == Some("adjacency") { rib.get("queued").unwrap_or(0) } else { 0 };
    own + rib.children.iter().map(queued).sum::<u64>()
}

/// Short bursts on a slow link end long before its queue is empty.
#[test]
fn a_layer_sees_the_queue_of_its_device_although_packets_come_one_by_one() {
    const GAP: Duration = Duration::from_millis(1);
    const PACKETS: usize = 80;
    let [a, b] = Mem::pair();
    let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
    let below = server.udp4_over(a, Udp4::bind("10.0.0.1")).unwrap();
    let first = server.unicast("first").over(&below).bootstrap(UnicastLayer::new("net")).unwrap();
    first.register("sink").unwrap();
    let sink = server.bind("sink").unwrap();
    let accepts = Builder::new().spawn(move || sink.accept().unwrap()).unwrap();
    let device = Arc::clone(&b);
    let below = client.udp4_over(b, Udp4::bind("10.0.0.2").host("first", "10.0.0.1")).unwrap();
    let second = client.unicast("second").over(&below).timeout(BOUND).enroll("first").unwrap();
    second.connect("first").unwrap();
    let flow = client.flow("sink").qos(QosSpec::RAW).timeout(BOUND).alloc().unwrap();
    let sunk = accepts.join().unwrap();
    let one_by_one = || {
        for _ in 0..PACKETS {
            std::thread::park_timeout(GAP);
            let _ = flow.try_write(&[1; 100]);
        }
    };
    let arrive = || (0..PACKETS).for_each(|_| assert_eq!(sunk.read_timeout(&mut [0; 100], BOUND), Ok(100)));
    // To be asked costs a device of the operating system a system call.
    let before = device.asked.load(Ordering::Relaxed);
    one_by_one();
    arrive();
    let asked = device.asked.load(Ordering::Relaxed) - before;
    assert!(asked <= PACKETS as u64 / 4, "asked {asked} times for {PACKETS} packets, and nothing waits");
    device.waiting.store(40, Ordering::Relaxed);
    one_by_one();
    let seen = queued(&second.rib());
    assert!(seen >= 40, "40 packets wait in the device, and {seen} are known of");
    // Those that were kept in front of it follow.
    device.waiting.store(0, Ordering::Relaxed);
    assert_eq!(sunk.read_timeout(&mut [0; 100], BOUND), Ok(100));
}

#[test]
fn send_errors_are_counted_by_reason() {
    for (fault, counter, kind) in [
        (SendError::Unreachable, "send_unreachable", std::io::ErrorKind::NetworkUnreachable),
        (SendError::Denied, "send_denied", std::io::ErrorKind::PermissionDenied),
        (SendError::InterfaceDown, "send_interface_down", std::io::ErrorKind::NetworkDown),
        (SendError::TooLarge, "send_too_large", std::io::ErrorKind::InvalidInput),
        (SendError::Down, "send_failed", std::io::ErrorKind::NotConnected),
    ] {
        let over = Over::new(|udp| udp);
        let flow = over.flow(QosSpec::RAW);
        over.device.fails(Some(fault));
        let _ = flow.try_write(b"lost");
        assert_eq!((over.count(counter), over.count("send_drops")), (1, 1), "{fault:?}");
        let failed = over.client.flow("echo").timeout(BOUND).alloc().map(drop).unwrap_err();
        assert_eq!(failed, AllocError::Unsent(fault));
        assert_eq!(std::io::Error::from(failed).kind(), kind);
        // It ends nothing.
        over.device.fails(None);
        flow.write(b"heard").unwrap();
        answers(&flow, 1, 5);
    }
}

#[test]
fn a_set_is_told_when_the_device_refuses_and_when_it_takes_packets_again() {
    for fault in [SendError::Unreachable, SendError::Denied, SendError::InterfaceDown, SendError::Down] {
        for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
            let over = Over::new(|udp| udp);
            let (flow, quiet) = (over.flow(qos), over.flow(qos));
            let set = FlowSet::new();
            let token = set.add(&flow);
            set.add(&quiet);
            let mut told = Vec::new();
            let mut until = |wanted| {
                while told.last() != Some(&(token, wanted)) {
                    let events = set.wait(Some(BOUND));
                    assert!(!events.is_empty(), "{fault:?} {qos:?}: nothing but {told:?}");
                    let events = events.into_iter().map(|e| (e.token, e.event));
                    told.extend(events.filter(|(_, event)| matches!(event, Event::Impaired | Event::Restored)));
                }
                told.len()
            };
            for times in 1..=2 {
                over.device.fails(Some(fault));
                let first = flow.try_write(b"lost").is_ok();
                assert_eq!(until(Event::Impaired), 2 * times - 1, "{fault:?} {qos:?}: only who has sent");
                let second = flow.try_write(b"lost").is_ok();
                over.device.fails(None);
                flow.write(b"heard").unwrap();
                assert_eq!(until(Event::Restored), 2 * times, "{fault:?} {qos:?}: once, and not for each packet");
                if qos.is_reliable() {
                    assert!(first && second);
                    answers(&flow, 2, 4);
                }
                answers(&flow, 1, 5);
            }
        }
    }
}

#[test]
fn raw_writes_fail_while_the_device_refuses() {
    let over = Over::new(|udp| udp);
    let flow = over.flow(QosSpec::RAW);
    // In bursts, whose packets are collected.
    for _ in 0..100 {
        flow.write(&[1; 100]).unwrap();
    }
    answers(&flow, 100, 100);
    over.device.fails(Some(SendError::Down));
    let written = (0..2000).filter(|_| flow.try_write(&[1; 1000]).is_ok()).count();
    // What was collected when the device began to refuse, one system call's worth at most.
    assert!(written <= 64, "{written} of 2000");
    over.device.fails(None);
    let _ = flow.try_write(&[1; 100]);
    flow.write(&[1; 100]).unwrap();
    answers(&flow, 1, 100);
}

#[test]
fn packets_fit_the_mtu_of_the_layer() {
    use std::io::Write as _;
    for mtu in [576, 1280, 1420] {
        let over = Over::new(|udp| udp.mtu(mtu));
        let flow = over.flow(QosSpec::DATA);
        assert!(flow.max_packet() <= mtu - 32 && flow.max_packet() > mtu - 80, "{}", flow.max_packet());
        flow.stream().write_all(&vec![7; 20_000]).unwrap();
        assert!(flow.write(&vec![7; flow.max_packet()]).is_ok());
        // In two fragments.
        assert!(flow.write(&vec![7; flow.max_packet() + 1]).is_ok());
        let max = flow.max_write();
        assert_eq!(flow.write(&vec![7; max + 1]), Err(WriteError::TooLarge { size: max + 1, max }));
        assert_eq!(flow.stream_packet(), flow.max_packet().min(1400));
        answers(&flow, 1, flow.stream_packet() as u64);
        flow.close(BOUND).unwrap();
        assert!(over.device.largest.load(Ordering::Relaxed) as usize <= mtu - 28);
    }
}

#[test]
fn streams_use_the_packet_size_of_the_stack() {
    use std::io::Write as _;
    for (most, size) in [(None, 1400), (Some(500), 500), (Some(4000), 4000)] {
        let server = Stack::new().unwrap();
        let listener = server.bind("echo").unwrap();
        let builder = most.map_or(Stack::builder(), |most| Stack::builder().stream_packet(most));
        let client = builder.build().unwrap();
        let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
        net.register("echo").unwrap();
        let at = net.local_addr().unwrap().to_string();
        client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at)).unwrap();
        let accepts = Builder::new().spawn(move || listener.accept().unwrap()).unwrap();
        let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
        let far = accepts.join().unwrap();
        assert_eq!(flow.stream_packet(), size);
        flow.stream().write_all(&[1; 10_000]).unwrap();
        assert_eq!(far.read_timeout(&mut [0; 9000], BOUND), Ok(size));
    }
}

#[test]
fn packets_of_streams_are_not_fragmented() {
    use std::io::Write as _;
    // 1500 bytes, without the headers of IP and UDP.
    const FRAME: u64 = 1472;
    for security in ["", "X25519,aes-256-gcm"] {
        for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
            let security_of =
                || if security.is_empty() { SecurityConfig::default() } else { security.parse().unwrap() };
            let stack = || Stack::builder().security(security_of()).checksum(true).build().unwrap();
            let over = Over::of([stack(), stack()], |udp| udp);
            let flow = over.flow(qos);
            assert_eq!((flow.stream_packet(), flow.is_encrypted()), (1400, !security.is_empty()));
            flow.stream().write_all(&[7; 5000]).unwrap();
            flow.write(&vec![7; flow.stream_packet()]).unwrap();
            answers(&flow, 1, 1400);
            let largest = over.device.largest.load(Ordering::Relaxed);
            assert!((1400..=FRAME).contains(&largest), "{security:?}, {qos:?}: {largest}");
            // Which cannot be said of the largest that may be written.
            assert!(flow.max_packet() as u64 > FRAME);
        }
    }
}

#[test]
fn replies_leave_from_the_address_that_was_asked() {
    let server = Stack::new().unwrap();
    let net = server.udp4(Udp4::bind("0.0.0.0:0").system_resolver(false)).unwrap();
    net.register("echo").unwrap();
    let port = net.local_addr().unwrap().port();
    let serve = |flow: Flow| {
        let mut buf = [0; 2000];
        while let Ok(n) = flow.read(&mut buf) {
            let _ = flow.write(&buf[..n]);
        }
    };
    server.bind_handler("echo", serve).unwrap();
    for ip in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
            // The client may have several addresses as well.
            for own in ["127.0.0.1:0", "0.0.0.0:0"] {
                let client = Stack::new().unwrap();
                let at = format!("{ip}:{port}");
                let net = client.udp4(Udp4::bind(own).host("echo", &at).system_resolver(false)).unwrap();
                let flow = client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
                for i in 0..40u8 {
                    flow.write(&[i; 1200]).unwrap();
                    let mut buf = [0; 2000];
                    assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(1200), "{ip}, {own}");
                }
                for counter in ["wrong_source", "replies_unexpected", "unknown_eid"] {
                    assert_eq!(net.rib().get(counter), Some(0), "{counter}");
                }
                flow.close(BOUND).unwrap();
            }
        }
    }
    // Refusals too.
    let client = Stack::new().unwrap();
    client.udp4(Udp4::bind("127.0.0.1:0").host("nobody", &format!("127.0.0.2:{port}")).system_resolver(false)).unwrap();
    let refused = client.flow("nobody").timeout(BOUND).alloc().map(drop);
    assert!(matches!(refused, Err(AllocError::Refused { .. })), "{refused:?}");
}

#[test]
fn outgoing_layers_draw_a_port() {
    let server = Stack::new().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false)).unwrap();
    net.register("echo").unwrap();
    let greet = |flow: Flow| {
        let _ = flow.write(b"hello");
    };
    server.bind_handler("echo", greet).unwrap();
    let port = net.local_addr().unwrap().port();
    let own: Vec<_> = ["127.0.0.1", "0.0.0.0"]
        .into_iter()
        .map(|ip| {
            let client = Stack::new().unwrap();
            let net = Udp4::outgoing(ip).port(port).host("echo", "127.0.0.1").system_resolver(false);
            let net = client.udp4(net).unwrap();
            let flow = client.flow("echo").timeout(BOUND).alloc().unwrap();
            assert_eq!(flow.read_timeout(&mut [0; 9], BOUND), Ok(5));
            let own = net.local_addr().unwrap();
            assert_eq!(own.ip(), ip.parse::<IpAddr>().unwrap());
            (client, own.port())
        })
        .collect();
    assert!(own.iter().all(|(_, p)| ![0, 3435, port].contains(p)) && own[0].1 != own[1].1);
}
