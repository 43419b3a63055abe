//! The steady state of the data path: no heap allocation per packet.
//!
//! The allocator counts for the whole process, so the tests take turns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Builder;
use std::time::Duration;

use o7s::device::MemoryFrames;
use o7s::{Eth, Flow, QosSpec, SecurityConfig, Stack, Udp4, Udp6};

#[path = "world/router.rs"]
mod router;

/// Counts what is asked of the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static HEAP: Counting = Counting;

#[allow(unsafe_code, reason = "the trait of allocators is unsafe; every call goes on to the system's, unchanged")]
// SAFETY: passes every call on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

const PACKET: usize = 1400;
/// Packets a round in each direction.
const ROUND: usize = 40_000;
/// Rounds until the steady state must have been reached: queues and the stock of buffers grow whenever a thread is
/// held up for longer than ever before.
const ROUNDS: usize = 10;
/// Allocations a packet in the steady state.
const BOUND: f64 = 0.01;
const PATIENCE: Duration = Duration::from_secs(30);

static TURN: Mutex<()> = Mutex::new(());

fn local(qos: QosSpec, security: &str) -> (Vec<Stack>, Flow, Flow) {
    let security = security.parse().unwrap_or_else(|_| SecurityConfig::default());
    let stack = Stack::builder().security(security.clone()).build().unwrap();
    let (a, b) = flow(&stack, &stack, qos);
    (vec![stack], a, b)
}

fn udp(qos: QosSpec, security: &str) -> (Vec<Stack>, Flow, Flow) {
    let security: SecurityConfig = security.parse().unwrap();
    let server = Stack::builder().security(security.clone()).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("peer").unwrap();
    let client = Stack::builder().security(security.clone()).build().unwrap();
    let addr = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("peer", &addr)).unwrap();
    let (a, b) = flow(&client, &server, qos);
    (vec![server, client], a, b)
}

/// `None` on a host without IPv6.
fn udp6(qos: QosSpec, security: &str) -> Option<(Vec<Stack>, Flow, Flow)> {
    let security: SecurityConfig = security.parse().unwrap();
    let server = Stack::builder().security(security.clone()).build().unwrap();
    let net = server.udp6(Udp6::bind("[::1]:0")).ok()?;
    net.register("peer").unwrap();
    let client = Stack::builder().security(security.clone()).build().unwrap();
    let addr = net.local_addr().unwrap().to_string();
    client.udp6(Udp6::bind("[::1]:0").host("peer", &addr)).unwrap();
    let (a, b) = flow(&client, &server, qos);
    Some((vec![server, client], a, b))
}

fn ethernet(eth: Eth, qos: QosSpec, security: &str) -> (Vec<Stack>, Flow, Flow) {
    let security = security.parse().unwrap_or_else(|_| SecurityConfig::default());
    let [server, client] = [(); 2].map(|()| Stack::builder().security(security.clone()).build().unwrap());
    let (near, far) = MemoryFrames::pair("02:00:00:00:00:01".parse().unwrap(), "02:00:00:00:00:02".parse().unwrap());
    client.eth_over(near, eth.clone()).unwrap();
    server.eth_over(far, eth).unwrap().register("peer").unwrap();
    let (a, b) = flow(&client, &server, qos);
    (vec![server, client], a, b)
}

fn flow(client: &Stack, server: &Stack, qos: QosSpec) -> (Flow, Flow) {
    let listener = server.bind("peer").unwrap();
    let accepting = Builder::new().spawn(move || listener.accept().unwrap()).unwrap();
    let flow = client.flow("peer").qos(qos).alloc().unwrap();
    (flow, accepting.join().unwrap())
}

fn write(flow: &Flow, n: usize) {
    for _ in 0..n {
        assert_eq!(flow.write_timeout(&[7; PACKET], PATIENCE).unwrap(), PACKET);
    }
    flow.flush();
}

fn read(flow: &Flow, n: usize) {
    let mut buf = [0; PACKET];
    for _ in 0..n {
        assert_eq!(flow.read_timeout(&mut buf, PATIENCE).unwrap(), PACKET);
    }
}

/// Both ends write and read at the same time.
fn both_ways(a: &Flow, b: &Flow) {
    std::thread::scope(|scope| {
        scope.spawn(|| write(a, ROUND));
        scope.spawn(|| read(b, ROUND));
        scope.spawn(|| write(b, ROUND));
        read(a, ROUND);
    });
}

/// A packet there and one back.
fn ping_pong(a: &Flow, b: &Flow) {
    for _ in 0..ROUND / 10 {
        for (from, to) in [(a, b), (b, a)] {
            write(from, 1);
            read(to, 1);
        }
    }
}

/// Allocations a packet, by anybody in the process, in the best of a few rounds of `packets` packets. A data path that
/// allocates per packet has no good round.
fn steady(packets: usize, mut round: impl FnMut()) -> f64 {
    round();
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        round();
        best = best.min((ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / packets as f64);
        if best < BOUND {
            break;
        }
    }
    best
}

fn check(what: &str, (stacks, a, b): (Vec<Stack>, Flow, Flow)) {
    let busy = steady(2 * ROUND, || both_ways(&a, &b));
    let one_by_one = steady(2 * ROUND / 10, || ping_pong(&a, &b));
    println!("{what}: {busy:.5} allocations a packet in both directions at once, {one_by_one:.5} one by one");
    assert!(busy < BOUND && one_by_one < BOUND, "{what}: {busy} and {one_by_one} allocations a packet");
    drop((a, b, stacks));
}

#[test]
fn a_raw_local_flow_does_not_allocate() {
    let _turn = TURN.lock();
    let (stacks, a, b) = local(QosSpec::RAW, "");
    assert!(!a.is_encrypted());
    check("local, raw", (stacks, a, b));
}

#[test]
fn a_reliable_encrypted_local_flow_does_not_allocate() {
    let _turn = TURN.lock();
    let (stacks, a, b) = local(QosSpec::DATA, "X25519,aes-256-gcm");
    assert!(a.is_encrypted());
    check("local, reliable, encrypted", (stacks, a, b));
}

#[test]
fn a_reliable_encrypted_flow_over_udp_does_not_allocate() {
    let _turn = TURN.lock();
    let (stacks, a, b) = udp(QosSpec::DATA, "X25519,aes-256-gcm");
    assert!(a.is_encrypted());
    check("UDP, reliable, encrypted", (stacks, a, b));
}

#[test]
fn a_reliable_encrypted_flow_over_ipv6_does_not_allocate() {
    let _turn = TURN.lock();
    let Some((stacks, a, b)) = udp6(QosSpec::DATA, "X25519,aes-256-gcm") else {
        // Past the capture of the test harness.
        let _ = writeln!(std::io::stderr().lock(), "skipped: there is no IPv6 on this host");
        return;
    };
    check("UDP over IPv6, reliable, encrypted", (stacks, a, b));
}

#[test]
fn flows_over_ethernet_do_not_allocate() {
    let _turn = TURN.lock();
    for (what, eth) in [("DIX", Eth::dix("eth0")), ("LLC", Eth::llc("eth0"))] {
        let (stacks, a, b) = ethernet(eth, QosSpec::DATA, "X25519,aes-256-gcm");
        assert!(a.is_encrypted());
        check(&format!("Ethernet ({what}), reliable, encrypted"), (stacks, a, b));
    }
}

#[test]
fn forwarding_does_not_allocate() {
    let _turn = TURN.lock();
    let mut router = router::Router::new();
    router.forward(10_000, PACKET, 64);
    for together in [1, 16, 64] {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        router.forward(64_000, PACKET, together);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        println!("{together} together: {allocations} allocations for 64000 packets");
        // The test harness may allocate at any time, but not for every packet.
        assert!(allocations < 64, "{allocations} allocations");
    }
}
