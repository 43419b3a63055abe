//! Captures of threaded stacks.

use std::io;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use o7s::capture::{CaptureConfig, CaptureError, CapturedPacket, Follower, KeyLog, Reader};
use o7s::{QosSpec, SecurityConfig, Stack, Udp4};

use super::sink::Sink;

fn packets(sink: &Sink) -> Vec<CapturedPacket> {
    let file = sink.bytes();
    let mut reader = Reader::new(&file[..]).unwrap();
    std::iter::from_fn(|| reader.packet().unwrap()).collect()
}

fn encrypted() -> SecurityConfig {
    "X25519,aes-256-gcm".parse().unwrap()
}

/// A message to an echo server and back.
fn talk(client: &Stack) {
    let flow = client.flow("echo").qos(QosSpec::DATA).alloc().unwrap();
    flow.write(b"a secret").unwrap();
    assert_eq!(flow.read(&mut [0; 64]).unwrap(), 8);
    flow.close(Duration::from_secs(5)).unwrap();
}

fn pair() -> (Stack, Stack) {
    let server = Stack::builder().security(encrypted()).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    server
        .bind_handler("echo", |flow| {
            let mut buf = [0; 64];
            while let Ok(len) = flow.read(&mut buf) {
                let _ = flow.write(&buf[..len]);
            }
        })
        .unwrap();
    let client = Stack::builder().security(encrypted()).build().unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::outgoing("127.0.0.1").host("echo", &at)).unwrap();
    (server, client)
}

#[test]
fn a_running_stack_is_captured_between_start_and_stop() {
    let (_server, client) = pair();
    talk(&client);
    let (first, second) = (Sink::default(), Sink::default());
    let capture = client.capture(first.clone(), CaptureConfig::default()).unwrap();
    assert!(matches!(client.capture(io::sink(), CaptureConfig::default()), Err(CaptureError::Running)));
    talk(&client);
    let stats = capture.stop().unwrap();
    assert!(stats.packets >= 4 && stats.lost == 0, "{stats:?}");
    assert_eq!(packets(&first).len() as u64, stats.packets);
    talk(&client);
    assert_eq!(packets(&first).len() as u64, stats.packets, "nothing more");
    let mut follower = Follower::default();
    let lines: Vec<_> = packets(&first).iter().map(|p| follower.follow(p.link, &p.data).to_string()).collect();
    assert!(lines[0].contains("| flow request ") && lines[1].contains("| flow reply "), "{lines:#?}");
    assert!(lines[2].contains("flow 1 (reliable), to the responder | sealed "), "{lines:#?}");

    let again = client.capture(second.clone(), CaptureConfig::default().flows(true)).unwrap();
    talk(&client);
    drop(again);
    client.shutdown();
    assert!(matches!(client.capture(io::sink(), CaptureConfig::default()), Err(CaptureError::Down)));
}

#[test]
fn packets_in_the_clear_are_there_when_asked_for_and_only_then() {
    for asked in [true, false] {
        let (server, client) = pair();
        // The flow is older than the capture.
        let flow = client.flow("echo").qos(QosSpec::DATA).alloc().unwrap();
        let sink = Sink::default();
        let capture = client.capture(sink.clone(), CaptureConfig::default().flows(asked)).unwrap();
        flow.write(b"a secret").unwrap();
        assert_eq!(flow.read(&mut [0; 64]).unwrap(), 8);
        capture.stop().unwrap();
        let packets = packets(&sink);
        let clear: Vec<_> = packets.iter().filter(|packet| packet.data.ends_with(b"a secret")).collect();
        assert_eq!(clear.len() >= 2, asked, "{packets:?}");
        assert!(asked || clear.is_empty());
        for packet in clear {
            assert!(packet.interface.starts_with("flow ") && packet.link == 147);
            let followed = Follower::default().follow(packet.link, &packet.data);
            assert_eq!(followed.payload(), b"a secret");
        }
        server.shutdown();
    }
}

#[test]
fn dropped_packets_are_captured_with_the_reason() {
    let stack = Stack::new().unwrap();
    let net = stack.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    let sink = Sink::default();
    let capture = stack.capture(sink.clone(), CaptureConfig::default()).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wrong = [&[1, 2, 3][..], &[0x77, 0x77, 0x77, 0x77, 1], &[0; 20]];
    for datagram in wrong {
        stranger.send_to(datagram, net.local_addr().unwrap()).unwrap();
    }
    while net.rib().get("malformed") != Some(2) || net.rib().get("unknown_eid") != Some(1) {
        std::thread::yield_now();
    }
    // The reason is told before the counter of the last one can be seen, or right after.
    while capture.stats().packets < 6 {
        std::thread::yield_now();
    }
    capture.stop().unwrap();
    let dropped: Vec<_> = packets(&sink).into_iter().filter(|p| p.interface.ends_with(" (dropped)")).collect();
    let mut reasons: Vec<_> = dropped.iter().map(|packet| packet.comments.join("; ")).collect();
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "dropped: message cut short: 20 bytes where at least 47 are needed",
            "dropped: no flow has the EID",
            "dropped: shorter than an EID"
        ]
    );
}

#[test]
fn a_program_is_told_keys_only_if_it_asks() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let stack = Stack::builder()
        .security(encrypted())
        .key_log(move |line| told.lock().unwrap().push(line.to_owned()))
        .build()
        .unwrap();
    stack
        .bind_handler("secret", |flow| {
            let _ = flow.read(&mut [0; 8]);
        })
        .unwrap();
    let flow = stack.flow("secret").alloc().unwrap();
    flow.write(b"hello").unwrap();
    let lines = lines.lock().unwrap().clone();
    // Both ends are here, and have the same key.
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], lines[1]);
    assert!(lines[0].starts_with("O7S_PEER_SESSION_KEY "), "{lines:?}");
    let log: KeyLog = lines[0].parse().unwrap();
    assert_eq!(log.len(), 1);
}
