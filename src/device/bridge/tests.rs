//! A switch between links in memory.

use std::sync::{OnceLock, Weak};
use std::time::Duration;

use super::*;
use crate::device::MemoryFrames;

const NOW: Instant = Instant::from_millis(1);

fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

fn frame(dst: Mac, src: Mac, payload: &[u8]) -> Vec<u8> {
    [&dst.0[..], &src.0, &[0xa0, 0], payload].concat()
}

fn received(end: &MemoryFrames) -> Vec<Vec<u8>> {
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
    while end.recv(&mut out, &mut cache) > 0 {}
    out.iter().map(|frame| frame.to_vec()).collect()
}

/// Three hosts, with the addresses 1 to 3, at the ports 0 to 2, and the switch's ends of their links.
struct Segment {
    hosts: Vec<Arc<MemoryFrames>>,
    ends: Vec<Arc<MemoryFrames>>,
    bridge: Bridge,
}

impl Segment {
    fn new() -> Self {
        let (hosts, ends): (Vec<_>, Vec<_>) = (1..=3).map(|n| MemoryFrames::pair(mac(n), mac(10 + n))).unzip();
        let ports = ends.iter().enumerate().map(|(i, end)| (format!("p{i}"), Arc::clone(end) as Arc<dyn Frames>));
        let bridge = Bridge::new(ports);
        Self { hosts, ends, bridge }
    }

    /// Polls all ports until nothing moves, and returns what each host got.
    fn settle(&self) -> Vec<Vec<Vec<u8>>> {
        while (0..3).map(|port| self.bridge.poll(NOW, port)).sum::<usize>() > 0 {}
        self.hosts.iter().map(|host| received(host)).collect()
    }
}

#[test]
fn frames_go_where_their_destination_was_seen() {
    let segment = Segment::new();
    let question = frame(Mac::BROADCAST, mac(1), b"who is 2?");
    segment.hosts[0].send(&question).unwrap();
    assert_eq!(segment.settle(), [vec![], vec![question.clone()], vec![question]]);
    let answer = frame(mac(1), mac(2), b"I am");
    segment.hosts[1].send(&answer).unwrap();
    assert_eq!(segment.settle(), [vec![answer], vec![], vec![]]);
    // An address that nobody has seen.
    let lost = frame(mac(3), mac(1), b"are you there?");
    segment.hosts[0].send(&lost).unwrap();
    assert_eq!(segment.settle(), [vec![], vec![lost.clone()], vec![lost]]);
    assert_eq!(segment.bridge.learned(NOW), [(mac(1), "p0"), (mac(2), "p1")]);
    let counts = "p0: 2 frames received, 1 sent, 0 dropped\np1: 1 frames received, 2 sent, 0 dropped\n\
        p2: 0 frames received, 2 sent, 0 dropped";
    assert_eq!(segment.bridge.to_string(), counts);
}

#[test]
fn batches_keep_their_order_for_each_destination() {
    let segment = Segment::new();
    for n in [2, 3] {
        segment.hosts[usize::from(n) - 1].send(&frame(Mac::BROADCAST, mac(n), b"here")).unwrap();
    }
    segment.settle();
    let sent: Vec<Vec<u8>> = (0..200_u8).map(|i| frame(mac(2 + u8::from(i % 7 < 3)), mac(1), &[i; 50])).collect();
    sent.iter().for_each(|frame| segment.hosts[0].send(frame).unwrap());
    let to = |n: u8| sent.iter().filter(|frame| frame[5] == n).cloned().collect::<Vec<_>>();
    assert_eq!(segment.settle(), [vec![], to(2), to(3)]);
}

#[test]
fn frames_for_reserved_addresses_are_not_passed_on() {
    let segment = Segment::new();
    for last in [0, 1, 0x0e, 0x0f] {
        segment.hosts[0].send(&frame(Mac([1, 0x80, 0xc2, 0, 0, last]), mac(1), b"spanning tree")).unwrap();
    }
    segment.hosts[0].send(&[1; 11]).unwrap();
    assert!(segment.settle().iter().all(Vec::is_empty));
    let group = frame(Mac([1, 0x80, 0xc2, 0, 0, 0x10]), mac(1), b"any other group");
    segment.hosts[0].send(&group).unwrap();
    assert_eq!(segment.settle(), [vec![], vec![group.clone()], vec![group]]);
}

#[test]
fn frames_without_room_at_a_port_are_counted_and_other_ports_are_served() {
    let segment = Segment::new();
    segment.ends[1].set_mtu(1000);
    let [large, small] = [1200, 1000].map(|len| frame(Mac::BROADCAST, mac(1), &vec![7; len]));
    for sent in [&large, &small, &large, &small] {
        segment.hosts[0].send(sent).unwrap();
    }
    let got = segment.settle();
    assert_eq!(got[1], [small.clone(), small.clone()]);
    assert_eq!(got[2], [large.clone(), small.clone(), large, small]);
    assert!(segment.bridge.to_string().contains("p1: 0 frames received, 2 sent, 2 dropped"), "{}", segment.bridge);
    // A queue that nobody empties.
    let noise = frame(Mac::BROADCAST, mac(1), &[0; 50]);
    for _ in 0..2000 {
        segment.hosts[0].send(&noise).unwrap();
        segment.bridge.poll(NOW, 0);
        received(&segment.hosts[2]);
    }
    assert_eq!(received(&segment.hosts[1]).len(), 1024);
    assert!(segment.bridge.to_string().contains("p1: 0 frames received, 1026 sent, 978 dropped"), "{}", segment.bridge);
}

#[test]
fn addresses_behind_a_link_that_goes_down_are_forgotten() {
    let segment = Segment::new();
    segment.hosts[0].send(&frame(Mac::BROADCAST, mac(1), b"here")).unwrap();
    segment.settle();
    assert_eq!(segment.bridge.learned(NOW), [(mac(1), "p0")]);
    segment.ends[0].set_link(Link::Down);
    let to = frame(mac(1), mac(2), b"where are you?");
    segment.settle();
    segment.hosts[1].send(&to).unwrap();
    // It may have moved to any other port.
    assert_eq!(segment.settle(), [vec![], vec![], vec![to]]);
}

/// A device in whose `recv` the switch is polled once more, as another thread may do meanwhile.
struct Polled {
    inner: Arc<MemoryFrames>,
    bridge: OnceLock<Weak<Bridge>>,
    took: Mutex<Vec<usize>>,
}

impl Frames for Polled {
    fn mac(&self) -> Mac {
        self.inner.mac()
    }

    fn mtu(&self) -> usize {
        self.inner.mtu()
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        self.inner.send(frame)
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        if let Some(bridge) = self.bridge.get().and_then(Weak::upgrade) {
            self.took.lock().push(bridge.poll(NOW, 0));
        }
        self.inner.recv(out, cache)
    }

    fn wait(&self, _: Duration) {}

    fn interrupt(&self) {}
}

#[test]
fn a_poll_of_a_port_that_is_polled_or_of_none_takes_nothing() {
    let (host, inner) = MemoryFrames::pair(mac(1), mac(11));
    let (other, end) = MemoryFrames::pair(mac(2), mac(12));
    let polled = Arc::new(Polled { inner, bridge: OnceLock::new(), took: Mutex::default() });
    let bridge = Arc::new(Bridge::new([("a", Arc::clone(&polled) as Arc<dyn Frames>), ("b", end)]));
    assert_eq!((bridge.poll(NOW, 0), bridge.poll(NOW, 1)), (0, 0), "nothing has arrived");
    polled.bridge.set(Arc::downgrade(&bridge)).unwrap();
    let sent = frame(mac(2), mac(1), b"once");
    host.send(&sent).unwrap();
    assert_eq!(bridge.poll(NOW, 2), 0, "there is no such port");
    assert!(received(&other).is_empty());
    assert_eq!(bridge.poll(NOW, 0), 1);
    assert_eq!(*polled.took.lock(), [0], "it is being polled");
    assert_eq!(received(&other), [sent]);
    assert_eq!(bridge.poll(NOW, 0), 0, "it was taken");
}
