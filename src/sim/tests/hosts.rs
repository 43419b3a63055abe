use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::base::buf::{BufCache, BufPool};
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::sim::hosts::Polled;
use crate::sim::{Link, StuckReason};
use crate::types::device::SendError;

type Wake = Arc<dyn Fn() + Send + Sync>;

/// Sends everything back, and a beat to a peer every 100 ms once it was told one.
struct Echo {
    socket: Arc<UdpSocket>,
    cache: Mutex<BufCache>,
    wake: Mutex<Option<Wake>>,
    beat: Mutex<Option<(SocketAddr, Instant)>>,
    polls: AtomicU64,
    batch: usize,
}

impl Echo {
    fn new(socket: Arc<UdpSocket>, batch: usize) -> Arc<Self> {
        Arc::new(Self {
            socket,
            cache: Mutex::new(BufCache::new(&BufPool::new(100))),
            wake: Mutex::new(None),
            beat: Mutex::new(None),
            polls: AtomicU64::new(0),
            batch,
        })
    }

    /// A call of the application.
    fn beat_to(&self, peer: SocketAddr, first: Instant) {
        *self.beat.lock() = Some((peer, first));
        self.wake.lock().as_ref().unwrap()();
    }
}

impl Polled for Echo {
    fn poll(&self, now: Instant) -> Option<Instant> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        let mut cache = self.cache.lock();
        let mut got = Vec::new();
        for _ in 0..self.batch {
            self.socket.recv(&mut got, &mut cache);
            for d in got.drain(..) {
                self.socket.send(d.src, &d.data, None).unwrap();
                cache.put(d.data);
            }
        }
        let mut beat = self.beat.lock();
        let (peer, at) = beat.as_mut()?;
        while *at <= now {
            self.socket.send(*peer, b"beat", None).unwrap();
            *at += ms(100);
        }
        Some(*at)
    }

    fn set_wake(&self, wake: Wake) {
        *self.wake.lock() = Some(wake);
    }
}

#[test]
fn a_host_is_polled_when_something_arrives() {
    let (net, a, b) = pair(1);
    net.set_default_link(Link::default().latency(ms(5)));
    let echo = Echo::new(Arc::clone(&b), 1);
    net.attach("echo", Arc::clone(&echo) as Arc<dyn Polled>, &[b]);
    net.block_on(async {
        for i in 1..=10 {
            a.send(B.parse().unwrap(), b"hello", None).unwrap();
            assert_eq!(&a.receive().await.data[..], b"hello");
            assert_eq!(net.now(), Instant::from_millis(10 * i));
        }
    });
    assert_eq!(echo.polls.load(Ordering::Relaxed), 11, "once to begin with, once for each datagram");
}

#[test]
fn a_host_is_polled_at_its_deadline_and_when_it_is_woken() {
    let (net, a, b) = pair(1);
    let echo = Echo::new(Arc::clone(&b), 1);
    net.attach("echo", Arc::clone(&echo) as Arc<dyn Polled>, &[b]);
    net.block_on(async {
        net.sleep(ms(7)).await;
        echo.beat_to(a.local_addr(), net.now() + ms(3));
        for i in 0..50 {
            a.receive().await;
            assert_eq!(net.now(), Instant::from_millis(10 + 100 * i));
        }
    });
    assert_eq!(echo.polls.load(Ordering::Relaxed), 52);
}

#[test]
fn bounded_polls_are_repeated_until_all_is_read() {
    let (net, a, b) = pair(1);
    net.attach("echo", Echo::new(Arc::clone(&b), 1), &[b]);
    for _ in 0..1000 {
        a.send(B.parse().unwrap(), b"x", None).unwrap();
    }
    net.run_for(ms(1));
    assert_eq!(a.unread(), 1000);
}

#[test]
fn a_host_that_does_not_read_stops_no_others() {
    let (net, a, b) = pair(1);
    net.attach("deaf", Echo::new(Arc::clone(&b), 0), &[Arc::clone(&b)]);
    for _ in 0..10 {
        a.send(B.parse().unwrap(), b"x", None).unwrap();
    }
    let stuck = net.try_block_on(a.receive()).unwrap_err();
    assert_eq!(stuck.reason(), StuckReason::Deadlock);
    assert!(stuck.to_string().contains("host 0 \"deaf\": no deadline, 10 datagrams unread"), "{stuck}");
}

#[test]
fn a_deadline_that_stays_in_the_past_is_a_livelock() {
    struct Hasty;
    impl Polled for Hasty {
        fn poll(&self, now: Instant) -> Option<Instant> {
            Some(now)
        }
        fn set_wake(&self, _: Wake) {}
    }
    let net = Network::new(1);
    net.set_poll_limit(100);
    net.attach("hasty", Arc::new(Hasty), &[]);
    let stuck = net.try_block_on(net.sleep(ms(1))).unwrap_err();
    assert_eq!(stuck.reason(), StuckReason::Livelock { polls: 100 });
    assert!(stuck.to_string().contains("polled last:\n  host 0"), "{stuck}");
}

#[test]
fn a_crashed_host_is_silent_and_its_address_is_free() {
    let (net, a, b) = pair(1);
    let echo = Echo::new(Arc::clone(&b), 1);
    let host = net.attach("echo", Arc::clone(&echo) as Arc<dyn Polled>, &[Arc::clone(&b)]);
    net.run_for(ms(1));
    echo.beat_to(a.local_addr(), net.now());
    net.run_for(ms(250));
    assert_eq!(a.unread(), 3);
    net.crash(host);
    a.send(b.local_addr(), b"anybody?", None).unwrap();
    net.run_for(ms(1000));
    assert_eq!(a.unread(), 3);
    assert_eq!(b.send(a.local_addr(), b"from beyond", None), Err(SendError::Down));
    assert_eq!(Arc::strong_count(&echo), 1, "the network has let go of it");

    let again = net.udp(B);
    drop((b, echo));
    net.attach("echo", Echo::new(Arc::clone(&again), 1), &[again]);
    a.send(B.parse().unwrap(), b"anybody?", None).unwrap();
    net.run_for(ms(1));
    assert_eq!(a.unread(), 4);
}

#[test]
fn dropped_networks_free_their_hosts() {
    let (net, _a, b) = pair(1);
    let echo = Echo::new(Arc::clone(&b), 1);
    net.attach("echo", Arc::clone(&echo) as Arc<dyn Polled>, &[b]);
    let handle = net.clone();
    drop(net);
    assert_eq!((Arc::strong_count(&echo), handle.now()), (1, Instant::ZERO));
}
