use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::sink::Sink;
use super::*;
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::sync::Mutex;
use crate::base::time::{Instant, ManualClock};
use crate::types::device::{Datagram, Datagrams, Frames, SendError};
use crate::types::mac::Mac;
use crate::wire::pcapng::{self, Packet};

#[path = "../../tests/world/sink.rs"]
mod sink;

/// A device that yields what the test has put into it.
#[derive(Default)]
struct Fake {
    arrived: Mutex<Vec<Vec<u8>>>,
    full: AtomicBool,
}

impl Datagrams for Fake {
    fn local_addr(&self) -> SocketAddr {
        "10.0.0.1:3435".parse().unwrap()
    }

    fn max_datagram(&self) -> usize {
        1400
    }

    fn send(&self, _: SocketAddr, _: &[u8], _: Option<usize>) -> Result<(), SendError> {
        if self.full.load(Ordering::Relaxed) { Err(SendError::Full) } else { Ok(()) }
    }

    fn recv(&self, out: &mut Vec<Datagram>, _: &mut BufCache) -> usize {
        let arrived = core::mem::take(&mut *self.arrived.lock());
        let n = arrived.len();
        out.extend(arrived.iter().map(|bytes| Datagram::new(peer(), PacketBuf::copy_of(bytes))));
        n
    }

    fn wait(&self, _: Duration) {}

    fn interrupt(&self) {}
}

/// An interface that takes frames, or does not.
#[derive(Default)]
struct Cable {
    full: AtomicBool,
}

impl Frames for Cable {
    fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, 0, 1])
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn send(&self, _: &[u8]) -> Result<(), SendError> {
        if self.full.load(Ordering::Relaxed) { Err(SendError::Full) } else { Ok(()) }
    }

    fn recv(&self, _: &mut Vec<PacketBuf>, _: &mut BufCache) -> usize {
        0
    }

    fn wait(&self, _: Duration) {}

    fn interrupt(&self) {}
}

fn peer() -> SocketAddr {
    "10.0.0.2:4000".parse().unwrap()
}

fn manual() -> (Arc<ManualClock>, Arc<Tap>) {
    let clock = Arc::new(ManualClock::new(1_000_000_000));
    (Arc::clone(&clock), Tap::new(clock))
}

fn read(file: &[u8]) -> Vec<CapturedPacket> {
    let mut reader = Reader::new(file).unwrap();
    core::iter::from_fn(|| reader.packet().unwrap()).collect()
}

#[test]
fn datagrams_are_written_behind_headers_with_what_became_of_them() {
    let ((clock, tap), sink) = (manual(), Sink::default());
    let device = Pcap::new(Fake::default(), &tap, "udp");
    device.send(peer(), b"before", None).unwrap();
    let capture = tap.capture_polled(sink.clone(), CaptureConfig::default()).unwrap();
    clock.advance_to(Instant::from_millis(5));
    device.send(peer(), b"onetwo3", Some(3)).unwrap();
    device.device.full.store(true, Ordering::Relaxed);
    assert_eq!(Datagrams::send(&device, peer(), b"full", None), Err(SendError::Full));
    device.device.arrived.lock().push(b"came".to_vec());
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(4)));
    assert_eq!(Datagrams::recv(&device, &mut out, &mut cache), 1);
    Datagrams::note_dropped(&device, &out[0], &"no flow has the EID");
    let stats = capture.stop().unwrap();
    device.send(peer(), b"after", None).unwrap_err();
    let packets = read(&sink.bytes());
    let seen: Vec<_> = packets
        .iter()
        .map(|p| (p.interface.as_str(), p.sent.unwrap(), p.data.get(28..).unwrap(), p.comments.join("")))
        .collect();
    let said = |text: &str| text.to_owned();
    assert_eq!(
        seen,
        [
            ("udp", true, &b"one"[..], said("")),
            ("udp", true, b"two", said("")),
            ("udp", true, b"3", said("")),
            ("udp", true, b"full", said("")),
            ("udp (dropped)", true, b"full", said("not sent: the device's queue is full")),
            ("udp", false, b"came", said("")),
            ("udp (dropped)", false, b"came", said("dropped: no flow has the EID")),
        ]
    );
    assert!(packets.iter().all(|p| p.link == 101 && p.unix_nanos == 1_005_000_000 && p.original == p.data.len()));
    assert_eq!((stats.packets, stats.lost), (7, 0));
}

#[test]
fn frames_are_written_as_they_are() {
    let ((_, tap), sink) = (manual(), Sink::default());
    let device = Pcap::new(Cable::default(), &tap, "eth0");
    let capture = tap.capture_polled(sink.clone(), CaptureConfig::default().snap(64)).unwrap();
    let frames = [PacketBuf::copy_of(&[1; 100]), PacketBuf::copy_of(&[2; 60])];
    assert_eq!(device.send_batch(&frames), Ok(2));
    device.device.full.store(true, Ordering::Relaxed);
    assert_eq!(device.send_batch(&frames), Err(SendError::Full));
    capture.stop().unwrap();
    let packets = read(&sink.bytes());
    let seen: Vec<_> = packets.iter().map(|p| (p.interface.as_str(), p.link, p.data.len(), p.original)).collect();
    let sent = [("eth0", 1, 64, 100), ("eth0", 1, 60, 60)];
    let unsent = [("eth0 (dropped)", 1, 64, 100), ("eth0 (dropped)", 1, 60, 60)];
    assert_eq!(seen, [sent, sent, unsent].concat());
}

#[test]
fn packets_dropped_by_a_capture_are_counted_in_the_file() {
    let ((_, tap), sink) = (manual(), Sink::default());
    let device = Pcap::new(Fake::default(), &tap, "udp");
    let capture = tap.capture_polled(sink.clone(), CaptureConfig::default().queue(0)).unwrap();
    // 64 KiB is the least.
    for _ in 0..100 {
        device.send(peer(), &[7; 1400], None).unwrap();
    }
    let before = capture.stats();
    assert!(before.packets > 30 && before.packets + before.lost == 100, "{before:?}");
    tap.flush();
    device.send(peer(), b"there is room again", None).unwrap();
    let stats = capture.stop().unwrap();
    assert_eq!((stats.packets, stats.lost), (before.packets + 1, before.lost));
    let file = sink.bytes();
    assert_eq!(read(&file).len() as u64, stats.packets);
    // The count of packets that are missing, in front of the last one.
    let option = [&[4, 0, 8, 0][..], &before.lost.to_le_bytes()].concat();
    assert!(file.windows(option.len()).any(|bytes| bytes == option));
}

/// Says that it is written to, and takes nothing until it is let go.
struct Slow(Arc<Mutex<()>>, Sink, Arc<AtomicBool>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.2.store(true, Ordering::Release);
        drop(self.0.lock());
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_hangs_stops_nobody() {
    let tap = Tap::new(Arc::new(ManualClock::default()));
    let device = Pcap::new(Fake::default(), &tap, "udp");
    let (gate, sink) = (Arc::new(Mutex::new(())), Sink::default());
    let held = gate.lock();
    let capture =
        tap.capture(Slow(Arc::clone(&gate), sink.clone(), Arc::default()), CaptureConfig::default().queue(0)).unwrap();
    for _ in 0..1000 {
        device.send(peer(), &[7; 1400], None).unwrap();
    }
    assert!(capture.stats().lost > 0);
    drop(held);
    let stats = capture.stop().unwrap();
    assert_eq!(stats.packets + stats.lost, 1000);
    assert_eq!(read(&sink.bytes()).len() as u64, stats.packets);
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_ends_its_capture_and_the_next_one_can_begin() {
    let tap = Tap::new(Arc::new(ManualClock::default()));
    let first = tap.capture(Broken, CaptureConfig::default()).unwrap();
    assert_eq!(first.stop().unwrap_err().kind(), io::ErrorKind::StorageFull);
    let second = tap.capture_polled(Broken, CaptureConfig::default()).unwrap();
    assert!(matches!(tap.capture(io::sink(), CaptureConfig::default()), Err(CaptureError::Running)));
    assert_eq!(second.stop().unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(!tap.is_on());
    assert_eq!(tap.capture(io::sink(), CaptureConfig::default()).unwrap().stop().unwrap(), CaptureStats::default());
}

#[test]
fn a_capture_that_failed_is_in_the_way_of_the_next_until_it_is_stopped() {
    // What was set up for it, tellers of keys for instance, is there as long.
    let tap = Tap::new(Arc::new(ManualClock::default()));
    let first = tap.capture_polled(Broken, CaptureConfig::default()).unwrap();
    tap.flush();
    assert!(!tap.is_on());
    assert!(matches!(tap.capture_polled(io::sink(), CaptureConfig::default()), Err(CaptureError::Running)));
    drop(first);
    assert!(tap.capture_polled(io::sink(), CaptureConfig::default()).is_ok());
}

#[test]
fn keys_of_a_capture_before_do_not_go_into_the_next() {
    let ((_, tap), sink) = (manual(), Sink::default());
    let first = tap.capture_polled(io::sink(), CaptureConfig::default().keys(true)).unwrap();
    let (late, line) = (first.session(), format!("O7S_PEER_SESSION_KEY {} {}", "01".repeat(16), "ab".repeat(32)));
    drop(first);
    let second = tap.capture_polled(sink.clone(), CaptureConfig::default()).unwrap();
    tap.record_key(late, &line);
    second.stop().unwrap();
    assert!(!sink.bytes().windows(line.len()).any(|bytes| bytes == line.as_bytes()));
}

#[test]
fn a_polled_capture_can_be_stopped_while_it_is_written() {
    let (tap, gate, sink) = (manual().1, Arc::new(Mutex::new(())), Sink::default());
    let device = Pcap::new(Fake::default(), &tap, "udp");
    let entered = Arc::new(AtomicBool::new(false));
    let slow = Slow(Arc::clone(&gate), sink.clone(), Arc::clone(&entered));
    let capture = tap.capture_polled(slow, CaptureConfig::default()).unwrap();
    let held = gate.lock();
    let stats = std::thread::scope(|threads| {
        threads.spawn(|| tap.flush());
        while !entered.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        device.send(peer(), b"behind what is being written", None).unwrap();
        let stopping = threads.spawn(|| capture.stop());
        while tap.is_on() {
            std::thread::yield_now();
        }
        drop(held);
        stopping.join().unwrap()
    });
    assert_eq!(stats.unwrap().packets, 1);
    assert_eq!(read(&sink.bytes()).len(), 1);
    assert!(tap.capture_polled(io::sink(), CaptureConfig::default()).is_ok());
}

/// Panics.
struct Panicking;

impl Write for Panicking {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        std::panic::resume_unwind(Box::new("a bad sink"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_polled_sink_that_panics_ends_its_capture() {
    let tap = manual().1;
    let capture = tap.capture_polled(Panicking, CaptureConfig::default()).unwrap();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tap.flush())).unwrap_err();
    assert!(!tap.is_on());
    capture.stop().unwrap_err();
    assert!(tap.capture_polled(io::sink(), CaptureConfig::default()).is_ok());
}

#[test]
fn a_frame_of_nothing_but_tags_takes_linear_time() {
    let mut frame = vec![2; 12];
    frame.extend([0x81, 0, 0, 1].repeat(1 << 20));
    // In time that grows with the square of the tags it would not end today.
    assert!(Follower::default().follow(1, &frame).to_string().is_empty());
}

#[test]
fn readers_take_any_bytes() {
    let sink = Sink::default();
    let (_, tap) = manual();
    let device = Pcap::new(Fake::default(), &tap, "udp");
    let capture = tap.capture_polled(sink.clone(), CaptureConfig::default()).unwrap();
    device.send(peer(), b"hello", None).unwrap();
    capture.stop().unwrap();
    let file = sink.bytes();
    let packets = |bytes: &[u8]| {
        let Ok(mut reader) = Reader::new(bytes) else { return 0 };
        core::iter::from_fn(|| reader.packet().ok().flatten()).count()
    };
    assert_eq!(packets(&file), 1);
    for at in 0..file.len() {
        // Cut off, and damaged.
        packets(&file[..at]);
        for change in [1, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= change;
            assert!(packets(&damaged) <= 1);
        }
    }
}

/// The places behind the blocks of a file, and whether each block is a packet.
fn blocks(file: &[u8]) -> Vec<(usize, bool)> {
    let (mut at, mut blocks) = (0, Vec::new());
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    while at < file.len() {
        let is_packet = word(at) == 6;
        at += word(at + 4) as usize;
        blocks.push((at, is_packet));
    }
    blocks
}

/// As of a program that was killed, or a disk that is full.
#[test]
fn a_file_that_is_cut_off_has_every_packet_before_the_cut() {
    let ((_, tap), sink) = (manual(), Sink::default());
    let device = Pcap::new(Fake::default(), &tap, "udp");
    let capture = tap.capture_polled(sink.clone(), CaptureConfig::default().keys(true)).unwrap();
    for n in 0..3 {
        device.send(peer(), &[n; 5], None).unwrap();
    }
    capture.stop().unwrap();
    let file = sink.bytes();
    let blocks = blocks(&file);
    assert_eq!(blocks.iter().filter(|(_, is_packet)| *is_packet).count(), 3);
    for at in 0..=file.len() {
        let whole = blocks.iter().filter(|(end, is_packet)| *is_packet && *end <= at).count();
        let mut found = 0;
        let cut = Reader::new(&file[..at]).map(|mut reader| {
            while reader.packet().unwrap().is_some() {
                found += 1;
            }
            reader.is_cut()
        });
        assert_eq!(found, whole, "cut off at {at} of {}", file.len());
        let within = !blocks.iter().any(|(end, _)| *end == at);
        assert_eq!(cut.ok(), (at >= blocks[0].0).then_some(within), "cut off at {at} of {}", file.len());
    }
}

/// Units of other programs: powers of ten and of two, and microseconds where nothing is said.
#[test]
fn times_of_any_resolution_are_read() {
    for (resolution, time, nanos) in [
        (None, 1_500_000, 1_500_000_000),
        (Some(0), 2, 2_000_000_000),
        (Some(3), 1500, 1_500_000_000),
        (Some(9), u64::MAX, u64::MAX),
        (Some(12), 1_500_000_000_000, 1_500_000_000),
        (Some(0x80), 2, 2_000_000_000),
        (Some(0x80 | 10), 1536, 1_500_000_000),
        (Some(0x80 | 30), 3 << 29, 1_500_000_000),
        // Beyond what a count of nanoseconds holds.
        (Some(0), u64::MAX, u64::MAX),
    ] {
        let mut file = Vec::new();
        pcapng::section("another", &mut file);
        let option = resolution.map_or(Vec::new(), |byte| vec![9, 0, 1, 0, byte, 0, 0, 0, 0, 0, 0, 0]);
        let len = (20 + option.len() as u32).to_le_bytes();
        file.extend([&[1, 0, 0, 0][..], &len, &[101, 0, 0, 0, 0, 0, 0, 0], &option, &len].concat());
        Packet { unix_nanos: time, data: b"ip", original: 2, ..Packet::default() }.emit(&mut file);
        assert_eq!(read(&file)[0].unix_nanos, nanos, "{resolution:?}");
    }
}

#[test]
fn keys_are_counted_and_lost_when_there_is_no_room() {
    let tap = Tap::new(Arc::new(ManualClock::new(0)));
    let sink = Sink::default();
    let capture = tap.capture_polled(sink.clone(), CaptureConfig::default().keys(true).queue(64 << 10)).unwrap();
    let line = format!("O7S_PEER_SESSION_KEY {} {}", "01".repeat(16), "ab".repeat(32));
    for _ in 0..1000 {
        tap.record_key(capture.session(), &line);
    }
    let stats = capture.stop().unwrap();
    assert!(stats.keys > 300 && stats.keys + stats.keys_lost == 1000, "{stats:?}");
    let file = sink.bytes();
    assert!(file.len() <= 65 << 10 && stats.bytes <= file.len() as u64 && stats.bytes > 100 * stats.keys);
    let mut reader = Reader::new(&file[..]).unwrap();
    assert!(reader.packet().unwrap().is_none());
    assert_eq!(reader.take_secrets().lines().filter(|found| *found == line).count() as u64, stats.keys);
}

#[cfg(feature = "sim")]
#[test]
fn nobody_asks_what_passes_a_network_that_is_not_captured() {
    use core::cell::Cell;

    let ((_, tap), sink, asked) = (manual(), Sink::default(), Cell::new(0));
    let recorder = NetworkRecorder::new(&tap);
    let frame = || {
        asked.set(asked.get() + 1);
        PacketKind::Frame
    };
    let record = || {
        recorder.sent(|| Some(frame()), b"sent", "");
        recorder.sent(|| None, b"not written", "");
        recorder.dropped(frame, b"dropped", &"lost");
    };
    record();
    assert_eq!(asked.get(), 0);
    let capture = tap.capture_polled(sink.clone(), CaptureConfig::default()).unwrap();
    record();
    capture.stop().unwrap();
    record();
    assert_eq!(asked.get(), 2);
    let packets: Vec<_> = read(&sink.bytes()).into_iter().map(|packet| packet.data).collect();
    assert_eq!(packets, [&b"sent"[..], b"dropped"]);
}
