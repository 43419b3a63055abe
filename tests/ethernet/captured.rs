//! Captures of simulated segments: every frame that an interface sends, once, and what becomes of those that get lost.

use std::sync::Arc;

use o7s::capture::{Capture, CaptureConfig, CapturedPacket, Follower, Pcap, Reader, Tap};
use o7s::device::{BufCache, BufPool, Datagrams, FaultConfig, Faults, Frames, MemoryFrames};
use o7s::sim::{Link, Loss, Network};
use o7s::time::OsClock;
use o7s::wire::pcapng::{LINK_ETHERNET, LINK_RAW};
use o7s::{Eth, QosSpec};

use super::simulated::{CLIENT, Pair, SERVER};
use super::sink::Sink;
use super::world::ms;

/// Messages back and forth over a segment with such cables: the capture, and the frames that interfaces have sent.
fn captured(seed: u64, link: Link) -> (Vec<u8>, usize) {
    let pair = Pair::new(seed, link, &Eth::dix("eth0"), "");
    let sink = Sink::default();
    // Bystanders: what is for everybody reaches them, too.
    let others = [3, 4, 5].map(|n| pair.switch.plug(format!("02:00:00:00:00:0{n}").as_str()));
    let (a, b) = (pair.net.udp("10.0.0.1:1"), pair.net.udp("10.0.0.2:1"));
    let capture = pair.net.capture(sink.clone(), CaptureConfig::default()).unwrap();
    let members = [&pair.client, &pair.server].map(|host| {
        let own = Sink::default();
        (host.stack().capture(own.clone(), CaptureConfig::default()).unwrap(), own)
    });
    pair.net.block_on(async {
        a.send(b.local_addr(), b"a datagram", None).unwrap();
        b.receive().await;
        let (near, far) = pair.connect(QosSpec::DATA).await;
        for number in 0..50_u8 {
            near.write(&[number; 100]).await.unwrap();
            let message = far.read_bytes().await.unwrap();
            far.write(&message).await.unwrap();
            assert_eq!(near.read_bytes().await.unwrap()[..], [number; 100]);
        }
    });
    // What was handed to the interfaces leaves them.
    pair.net.run_for(ms(100));
    assert!(others.iter().all(|other| pair.switch.stats(other).0.sent == 0 && other.mtu() == 1500));
    capture.stop().unwrap();
    let sent_by = |(capture, own): (Capture, Sink)| {
        capture.stop().unwrap();
        packets(&own.bytes()).iter().filter(|packet| packet.sent == Some(true)).count()
    };
    (sink.bytes(), members.into_iter().map(sent_by).sum())
}

fn packets(file: &[u8]) -> Vec<CapturedPacket> {
    let mut reader = Reader::new(file).unwrap();
    std::iter::from_fn(|| reader.packet().unwrap()).collect()
}

#[test]
fn every_frame_is_captured_once() {
    let (file, sent) = captured(1, Link::default().latency(ms(1)));
    let packets = packets(&file);
    let (frames, rest): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| packet.link == LINK_ETHERNET);
    assert_eq!(frames.len(), sent);
    assert!(frames.iter().all(|frame| frame.interface == "ethernet" && frame.comments.is_empty()));
    assert_eq!(
        rest.iter().map(|packet| (packet.link, &packet.interface[..])).collect::<Vec<_>>(),
        [(LINK_RAW, "network")]
    );
    let mut follower = Follower::default();
    for frame in frames {
        let followed = follower.follow(frame.link, &frame.data);
        let said = followed.to_string();
        assert!(followed.is_o7s() && (said.contains(CLIENT) || said.contains(SERVER)), "{said}");
    }
}

#[test]
fn lost_frames_are_captured_with_the_reason_and_copies_with_what_was_done_to_them() {
    let (file, sent) = captured(2, Link::default().latency(ms(1)).loss(Loss::Random(0.05)).duplicate(0.05));
    let packets = packets(&file);
    let on = |name: &str| packets.iter().filter(|packet| packet.interface == name).collect::<Vec<_>>();
    let (passed, dropped) = (on("ethernet"), on("ethernet (dropped)"));
    assert!(dropped.len() > 5 && dropped.iter().all(|frame| frame.comments == ["dropped: Loss"]), "{}", dropped.len());
    assert!(passed.iter().any(|frame| frame.comments == ["duplicated"]));
    let plain = passed.iter().filter(|frame| frame.comments.is_empty()).count();
    assert!(plain < sent && plain > sent / 2, "{plain} of {sent}");
    let (again, _) = captured(2, Link::default().latency(ms(1)).loss(Loss::Random(0.05)).duplicate(0.05));
    assert!(file == again, "the same seed gives the same bytes");
}

/// Packets that a test sends to a device, and those that it has the device send.
const ARRIVING: usize = 500;
const LEAVING: usize = 40;

/// The order of the two wrappers of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nested {
    CaptureOfFaults,
    FaultsOfCapture,
}

/// The device in both wrappers, as either of the traits.
macro_rules! nest {
    ($nested:expr, $device:expr, $tap:expr, $as:ty) => {{
        let config = FaultConfig::default().loss(0.3).duplicate(0.1);
        let device: Arc<$as> = match $nested {
            Nested::CaptureOfFaults => Arc::new(Pcap::new(Faults::new($device, 5, config), $tap, "nested")),
            Nested::FaultsOfCapture => Faults::new(Arc::new(Pcap::new($device, $tap, "nested")), 5, config),
        };
        device
    }};
}

/// The packets that arrive through the device, in one of its traits, and what the capture has: of arriving and of sent ones.
fn frames(nested: Nested) -> (usize, [usize; 2]) {
    let (tap, sink) = (Tap::new(Arc::new(OsClock::new())), Sink::default());
    let capture = tap.capture(sink.clone(), CaptureConfig::default()).unwrap();
    let (wire, device) = MemoryFrames::pair(CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    let device = nest!(nested, device, &tap, dyn Frames);
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
    for n in 0..ARRIVING {
        wire.send(&[n as u8; 60]).unwrap();
        device.recv(&mut out, &mut cache);
    }
    let arrived = out.len();
    (0..LEAVING).for_each(|n| device.send(&[n as u8; 60]).unwrap());
    out.clear();
    while wire.recv(&mut out, &mut cache) > 0 {}
    assert_eq!(out.len(), LEAVING, "what is sent goes straight to the device");
    capture.stop().unwrap();
    (arrived, counts(&sink))
}

fn datagrams(nested: Nested) -> (usize, [usize; 2]) {
    let (tap, sink) = (Tap::new(Arc::new(OsClock::new())), Sink::default());
    let capture = tap.capture(sink.clone(), CaptureConfig::default()).unwrap();
    let net = Network::new(1);
    let (wire, device) = (net.udp("10.0.0.1:1"), net.udp("10.0.0.2:1"));
    let (here, there) = (wire.local_addr(), device.local_addr());
    let device = nest!(nested, device, &tap, dyn Datagrams);
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
    for n in 0..ARRIVING {
        wire.send(there, &[n as u8; 60], None).unwrap();
        net.run_for(ms(100));
        device.recv(&mut out, &mut cache);
    }
    let arrived = out.len();
    (0..LEAVING).for_each(|n| device.send(here, &[n as u8; 60], None).unwrap());
    net.run_for(ms(100));
    out.clear();
    while wire.recv(&mut out, &mut cache) > 0 {}
    assert_eq!(out.len(), LEAVING, "what is sent goes straight to the device");
    capture.stop().unwrap();
    (arrived, counts(&sink))
}

fn counts(sink: &Sink) -> [usize; 2] {
    let packets = packets(&sink.bytes());
    assert!(packets.iter().all(|packet| packet.interface == "nested" && packet.comments.is_empty()));
    [Some(false), Some(true)].map(|sent| packets.iter().filter(|packet| packet.sent == sent).count())
}

/// Outside of the faults a capture has what they let through and double; inside, what was on the wire.
#[test]
fn captures_and_faults_nest_in_either_order() {
    for of in [frames, datagrams] {
        let (arrived, outside) = of(Nested::CaptureOfFaults);
        assert!((300..450).contains(&arrived), "{arrived}: three of ten are lost, one of ten comes twice");
        assert_eq!(outside, [arrived, LEAVING]);
        let (again, inside) = of(Nested::FaultsOfCapture);
        assert_eq!(again, arrived, "the same seed");
        assert_eq!(inside, [ARRIVING, LEAVING]);
    }
}
