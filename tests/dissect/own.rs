//! Captures of our own stacks: what tshark shows of them, and that they are the same for the same seed.

use std::time::Duration;

use o7s::capture::{CaptureConfig, CaptureStats, Follower, Reader};
use o7s::sim::{Link, Loss, Network};
use o7s::{Eth, QosSpec, SecurityConfig, UnicastLayer};

use crate::sink::Sink;
use crate::tools::{Scratch, Tshark};
use crate::{Shown, compare, ours};

struct Captured {
    /// Of the network, and of the client.
    wire: Vec<u8>,
    host: Vec<u8>,
    stats: CaptureStats,
}

/// Two members of a unicast layer, and an encrypted reliable flow between them, through a network that loses packets.
fn simulated(seed: u64, config: &CaptureConfig) -> Captured {
    let (wire, host) = (Sink::default(), Sink::default());
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(Duration::from_millis(5)).loss(Loss::Random(0.1)).duplicate(0.05));
    let security: SecurityConfig = "X25519,aes-256-gcm".parse().unwrap();
    let [a, b] = [("a", "10.0.0.1"), ("b", "10.0.0.2")]
        .map(|(name, addr)| net.host(name).stack(|builder| builder.security(security.clone())).udp4(addr).build());
    let on_wire = net.capture(wire.clone(), config.clone()).unwrap();
    let on_host = a.stack().capture(host.clone(), config.clone()).unwrap();
    assert!(a.stack().capture(std::io::sink(), config.clone()).is_err(), "one at a time");
    net.block_on(async {
        let member = b.stack().unicast("m-b").over(&b.udp4()[0]);
        let first = member.bootstrap(UnicastLayer::new("net")).unwrap();
        let second = a.stack().unicast("m-a").over(&a.udp4()[0]).enroll_async("m-b").await.unwrap();
        second.connect_async("m-b").await.unwrap();
        first.register("echo").unwrap();
        let listener = b.stack().bind("echo").unwrap();
        let echo = net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            for _ in 0..20 {
                let packet = flow.read_bytes().await.unwrap();
                flow.write(&packet).await.unwrap();
            }
            flow
        });
        net.sleep(Duration::from_secs(2)).await;
        let flow = a.stack().flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap();
        for number in 0..20u8 {
            flow.write(&[number; 100]).await.unwrap();
            assert_eq!(flow.read_bytes().await.unwrap()[..], [number; 100]);
        }
        let _ = echo.await;
    });
    let stats = on_host.stop().unwrap();
    on_wire.stop().unwrap();
    Captured { wire: wire.bytes(), host: host.bytes(), stats }
}

fn comments(file: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(file).unwrap();
    let mut comments = Vec::new();
    while let Some(packet) = reader.packet().unwrap() {
        comments.extend(packet.comments);
    }
    comments
}

#[test]
fn the_same_seed_gives_the_same_capture() {
    let config = CaptureConfig::default().flows(true).keys(true);
    let [one, again, other] = [7, 7, 8].map(|seed| simulated(seed, &config));
    assert!(one.wire == again.wire && one.host == again.host);
    assert!(one.wire != other.wire && one.host != other.host);
    assert_eq!(one.stats, again.stats);
    assert!(one.stats.packets > 100 && one.stats.lost == 0, "{:?}", one.stats);
}

#[test]
fn lost_datagrams_are_captured_with_the_reason() {
    let captured = simulated(7, &CaptureConfig::default());
    let said = comments(&captured.wire);
    assert!(said.iter().any(|comment| comment == "dropped: Loss"), "{said:?}");
    assert!(said.iter().any(|comment| comment == "duplicated"), "{said:?}");
}

#[test]
fn keys_in_a_capture_open_it_and_are_not_there_unasked() {
    let opened = |file: &[u8]| {
        let (mut reader, mut follower) = (Reader::new(file).unwrap(), Follower::default());
        let (mut opened, mut sealed) = (0, 0);
        while let Some(packet) = reader.packet().unwrap() {
            follower.add_keys(&reader.take_secrets());
            let line = follower.follow(packet.link, &packet.data).to_string();
            opened += usize::from(line.contains("| opened "));
            sealed += usize::from(line.contains("| sealed "));
        }
        (opened, sealed)
    };
    let (found, left) = opened(&simulated(7, &CaptureConfig::default().keys(true)).host);
    // Copies of packets are refused as replays.
    assert!(found > 50 && left < found / 4, "{found} opened, {left} not");
    let (found, left) = opened(&simulated(7, &CaptureConfig::default()).host);
    assert!(found == 0 && left > 50, "{found} opened, {left} not");
}

/// The lines of a capture that is opened with the keys in it; what could not be decoded fails the test.
fn lines(file: &[u8]) -> Vec<String> {
    let (mut reader, mut follower) = (Reader::new(file).unwrap(), Follower::default());
    let mut lines = Vec::new();
    while let Some(packet) = reader.packet().unwrap() {
        follower.add_keys(&reader.take_secrets());
        let followed = follower.follow(packet.link, &packet.data);
        assert!(followed.fields().iter().all(|field| field.name != "o7s.undecoded"), "{followed}");
        lines.push(followed.to_string());
    }
    lines
}

/// A member of a layer enrols, and raw flows of programs end, each on the next lower layer: what the capture of its host
/// shows.
fn endings(security: &str, config: CaptureConfig) -> Vec<u8> {
    let (host, net) = (Sink::default(), Network::new(5));
    let security: SecurityConfig =
        if security.is_empty() { SecurityConfig::default() } else { security.parse().unwrap() };
    let [a, b] = [("a", "10.0.0.1"), ("b", "10.0.0.2")]
        .map(|(name, addr)| net.host(name).stack(|builder| builder.security(security.clone())).udp4(addr).build());
    let capture = a.stack().capture(host.clone(), config).unwrap();
    net.block_on(async {
        let first = b.stack().unicast("m-b").over(&b.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
        let second = a.stack().unicast("m-a").over(&a.udp4()[0]).enroll_async("m-b").await.unwrap();
        second.connect_async("m-b").await.unwrap();
        first.register("over").unwrap();
        b.udp4()[0].register("under").unwrap();
        for name in ["under", "over"] {
            let listener = b.stack().bind(name).unwrap();
            let other = net.spawn(async move {
                let flow = listener.accept_async().await.unwrap();
                assert_eq!(flow.read_bytes().await.unwrap(), &b"seventeen bytes.."[..]);
                flow.read_bytes().await.unwrap_err()
            });
            net.sleep(Duration::from_secs(2)).await;
            let flow = a.stack().flow(name).qos(QosSpec::RAW).alloc_async().await.unwrap();
            flow.write(b"seventeen bytes..").await.unwrap();
            drop(flow);
            let _ = other.await;
        }
        second.leave();
        net.sleep(Duration::from_secs(5)).await;
    });
    capture.stop().unwrap();
    host.bytes()
}

#[test]
fn notices_of_flows_that_end_are_shown_as_such() {
    for security in ["", "X25519,aes-256-gcm"] {
        let config = CaptureConfig::default().keys(true);
        let lines = lines(&endings(security, config));
        let of = |what: &str| lines.iter().filter(|line| line.ends_with(what)).count();
        // Of the two raw flows, and of those between the members.
        assert!(of(" | notice: closed") >= 3, "{lines:#?}");
        assert!(of(" | 17 bytes") == 2, "data of that length is data: {lines:#?}");
    }
}

/// Captures of flows do not have the requests, so that it is not known what is said.
#[test]
fn notices_of_flows_whose_request_was_not_seen_are_not_taken_for_messages() {
    let lines = lines(&endings("", CaptureConfig::default().flows(true)));
    let said = lines.iter().filter(|line| line.starts_with("flow ") && line.ends_with(" | notice or probe")).count();
    assert!(said >= 3, "{lines:#?}");
}

#[test]
fn tshark_shows_flows_that_end_as_our_decoder_does() {
    let Some(tshark) = Tshark::find() else { return };
    for (name, security) in [("plain", ""), ("encrypted", "X25519,aes-256-gcm")] {
        let file = endings(security, CaptureConfig::default().keys(true).flows(true));
        let scratch = Scratch::new(&format!("endings-{name}.pcapng"), &file);
        compare(name, &tshark.read(scratch.path(), &[]), &ours(&file, Follower::default()));
    }
}

#[test]
fn tshark_shows_our_own_captures_as_our_decoder_does() {
    let Some(tshark) = Tshark::find() else { return };
    let captured = simulated(9, &CaptureConfig::default().flows(true).keys(true));
    for (name, file) in [("wire", &captured.wire), ("host", &captured.host)] {
        let scratch = Scratch::new(&format!("{name}.pcapng"), file);
        let theirs = tshark.read(scratch.path(), &[]);
        let names = compare(name, &theirs, &ours(file, Follower::default()));
        assert!(names.contains("o7s.sealed.iv"), "{names:?}");
        assert_eq!(name == "host", names.contains("o7s.capture.flow"), "{names:?}");
        assert_eq!(name == "host", names.contains("o7s.frct.seqno"), "what is encrypted is only seen from inside");
        let seen: usize = theirs.iter().filter(|packet: &&Shown| !packet.is_empty()).count();
        assert_eq!(seen, theirs.len(), "every packet is one of a layer");
    }
}

/// A flow over a segment, in either framing; the capture of the client.
fn on_a_segment(config: impl Fn(&str) -> Eth) -> Vec<u8> {
    let net = Network::new(3);
    let switch = net.switch();
    let a = net.host("a").eth_with(&switch, "02:00:00:00:00:0a", config("a0")).build();
    let b = net.host("b").eth_with(&switch, "02:00:00:00:00:0b", config("b0")).build();
    let sink = Sink::default();
    let capture = a.stack().capture(sink.clone(), CaptureConfig::default()).unwrap();
    let listener = b.listen("echo");
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        let packet = flow.read_bytes().await.unwrap();
        flow.write(&packet).await.unwrap();
        flow.read_bytes().await.unwrap_err();
    });
    net.block_on(async {
        let flow = a.stack().flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap();
        flow.write(b"over a cable").await.unwrap();
        assert_eq!(flow.read_bytes().await.unwrap(), &b"over a cable"[..]);
    });
    capture.stop().unwrap();
    sink.bytes()
}

#[test]
fn frames_of_our_own_are_shown_alike() {
    let Some(tshark) = Tshark::find() else { return };
    for (name, file) in [("dix", on_a_segment(Eth::dix)), ("llc", on_a_segment(Eth::llc))] {
        let scratch = Scratch::new(&format!("own-{name}.pcapng"), &file);
        let names = compare(name, &tshark.read(scratch.path(), &[]), &ours(&file, Follower::default()));
        for field in ["o7s.eth.hash", "o7s.oap.id", "o7s.frct.seqno", "o7s.payload"] {
            assert!(names.contains(field), "{name}: {field} is not in {names:?}");
        }
    }
}

/// A flow over a path that carries less than its ends think; the capture of the network.
fn on_a_narrow_path() -> Vec<u8> {
    let net = Network::new(3);
    let link = |mtu| Link::default().latency(Duration::from_millis(5)).mtu(mtu);
    net.set_default_link(link(1500));
    let [a, b] = [("a", "10.0.0.1"), ("b", "10.0.0.2")].map(|(name, addr)| net.host(name).udp4(addr).build());
    net.set_link_between("10.0.0.1", "10.0.0.2", link(1280));
    let sink = Sink::default();
    let capture = net.capture(sink.clone(), CaptureConfig::default()).unwrap();
    let listener = b.listen("narrow");
    let reads = net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        for _ in 0..10 {
            assert_eq!(flow.read_bytes().await.unwrap().len(), 5000);
        }
        flow
    });
    net.block_on(async {
        let flow = a.stack().flow("narrow").qos(QosSpec::DATA).alloc_async().await.unwrap();
        for n in 0..10 {
            flow.write(&[n; 5000]).await.unwrap();
        }
        drop(reads.await);
        net.sleep(Duration::from_secs(10)).await;
    });
    capture.stop().unwrap();
    sink.bytes()
}

#[test]
fn pieces_and_path_probes_are_shown_alike() {
    let Some(tshark) = Tshark::find() else { return };
    let file = on_a_narrow_path();
    let scratch = Scratch::new("narrow.pcapng", &file);
    let names = compare("narrow", &tshark.read(scratch.path(), &[]), &ours(&file, Follower::default()));
    for field in ["piece.offset", "piece.total", "probe", "probe.padding", "probe.answer"] {
        assert!(names.contains(&format!("o7s.frct.{field}")[..]), "{field} is not in {names:?}");
    }
}
