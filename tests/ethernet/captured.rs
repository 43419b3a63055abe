//! Captures of simulated segments: every frame that an interface sends, once, and what becomes of those that get lost.

use o7s::capture::{Capture, CaptureConfig, CapturedPacket, Follower, Reader};
use o7s::device::{Datagrams as _, Frames as _};
use o7s::sim::{Link, Loss};
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
