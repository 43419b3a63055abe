//! The interface that applications meet: blocking, asynchronous, polled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods, reason = "peers of the real stack live in real time")]

#[path = "api/asynchronous.rs"]
mod asynchronous;
#[path = "api/capture.rs"]
mod capture;
#[path = "api/config.rs"]
mod config;
#[path = "api/data.rs"]
mod data;
#[path = "api/device.rs"]
mod device;
#[path = "world/elsewhere.rs"]
mod elsewhere;
#[path = "api/ipv6.rs"]
mod ipv6;
#[path = "api/members.rs"]
mod members;
#[path = "api/polled.rs"]
mod polled;
#[path = "api/sets.rs"]
mod sets;
#[path = "world/sink.rs"]
mod sink;
#[path = "api/threads.rs"]
mod threads;

use std::io::{Read as _, Write as _};
use std::thread::Builder;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use o7s::base::rng::Randomness;
use o7s::keys::{KemKey, StaticKey};
use o7s::oap::client::Client;
use o7s::settings::KemMode;
use o7s::types::name::{HashAlg, Name};
use o7s::wire::udp::FlowRequest;
use o7s::{Cipher, Encryption, Flow, Kex, QosSpec, ReadError, SecurityConfig, Stack, Udp4};

const QOS: [QosSpec; 3] = [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA];

fn secure() -> [SecurityConfig; 3] {
    [SecurityConfig::default(), "X25519,chacha20-poly1305".parse().unwrap(), "prime256v1,aes-256-gcm".parse().unwrap()]
}

/// Two stacks on the loopback interface; the second knows where "echo" of the first is.
fn udp_pair(config: &SecurityConfig) -> (Stack, Stack) {
    let server = Stack::builder().security(config.clone()).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    let client = Stack::builder().security(config.clone()).build().unwrap();
    let addr = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &addr)).unwrap();
    (server, client)
}

/// Serves one flow: sends every packet back.
fn echo_once(stack: &Stack) -> std::thread::JoinHandle<Flow> {
    let listener = stack.bind("echo").unwrap();
    Builder::new()
        .spawn(move || {
            let flow = listener.accept().unwrap();
            let mut buf = [0; 2048];
            loop {
                match flow.read_timeout(&mut buf, Duration::from_secs(20)) {
                    Ok(n) if &buf[..n] == b"bye" => return flow,
                    Ok(n) => assert_eq!(flow.write(&buf[..n]).unwrap(), n),
                    Err(e) => panic!("echo: {e}"),
                }
            }
        })
        .unwrap()
}

fn talk(flow: &Flow) {
    let mut buf = [0; 2048];
    for i in 0..50u8 {
        let message = vec![i; 1 + usize::from(i) * 28];
        assert_eq!(flow.write(&message).unwrap(), message.len());
        let n = flow.read_timeout(&mut buf, Duration::from_secs(20)).unwrap();
        assert_eq!(&buf[..n], message);
    }
    flow.write(b"bye").unwrap();
}

/// Talks over a flow that is allocated with this security of either end, and returns what was agreed on.
fn agreed(server: SecurityConfig, client: SecurityConfig) -> Encryption {
    let (there, here) = udp_pair(&SecurityConfig::default());
    there.set_security("echo", server, SecurityConfig::default()).unwrap();
    here.set_security("echo", SecurityConfig::default(), client).unwrap();
    let server = echo_once(&there);
    let flow = here.flow("echo").qos(QosSpec::DATA).alloc().unwrap();
    talk(&flow);
    let accepted = server.join().unwrap().security();
    assert_eq!(flow.security(), accepted);
    accepted.encryption.unwrap()
}

#[test]
fn every_key_exchange_makes_flows() {
    for &kex in Kex::ALL {
        let config = SecurityConfig::encrypted(kex);
        assert_eq!(agreed(config.clone(), config).kex, kex);
    }
}

#[test]
fn clients_encapsulate_to_keys_that_they_were_given() {
    for kex in [Kex::MlKem768, Kex::X25519MlKem768, Kex::X448MlKem1024] {
        let key = StaticKey::new(KemKey::generate(kex, &mut Randomness::from_seed([7; 32]).secret).unwrap());
        let client = SecurityConfig::encrypted(kex).kem_mode(KemMode::Client).server_key(Some(key.key().public_key()));
        let server = SecurityConfig::encrypted(Kex::MlKem512).static_keys(vec![key.clone()]);
        assert_eq!(agreed(server, client).kex, kex);
        assert_eq!(key.remembered(), 1);
    }
}

#[test]
fn ciphers_without_authentication_make_flows_where_they_are_allowed() {
    for cipher in [Cipher::Aes128Ctr, Cipher::Aes192Ctr, Cipher::Aes256Ctr] {
        let config = SecurityConfig::encrypted(Kex::X25519).cipher(cipher).allow_unauthenticated(true);
        assert_eq!(agreed(config.clone(), config).cipher, cipher);
    }
}

#[test]
fn programs_of_one_stack_reach_each_other() {
    for qos in QOS {
        for security in secure() {
            let stack = Stack::builder().security(security.clone()).build().unwrap();
            let server = echo_once(&stack);
            let flow = stack.flow("echo").qos(qos).alloc().unwrap();
            assert_eq!(flow.is_encrypted(), security.kex.is_some());
            talk(&flow);
            server.join().unwrap();
        }
    }
}

#[test]
fn programs_of_two_stacks_reach_each_other_over_udp() {
    for qos in QOS {
        for security in secure() {
            let (a, b) = udp_pair(&security);
            let server = echo_once(&a);
            let flow = b.flow("echo").qos(qos).timeout(Duration::from_secs(10)).alloc().unwrap();
            assert_eq!(flow.is_encrypted(), security.kex.is_some());
            talk(&flow);
            server.join().unwrap();
        }
    }
}

#[test]
fn a_stream_of_bytes_arrives_in_bulk() {
    for security in secure() {
        let (a, b) = udp_pair(&security);
        let listener = a.bind("echo").unwrap();
        let data: Vec<u8> = (0..4_000_000u32).map(|i| (i * 7 + (i >> 8)) as u8).collect();
        let expected = data.clone();
        let server = Builder::new()
            .spawn(move || {
                let flow = listener.accept().unwrap();
                flow.set_read_timeout(Some(Duration::from_secs(20)));
                let mut got = vec![0; expected.len()];
                flow.stream().read_exact(&mut got).unwrap();
                assert!(got == expected);
            })
            .unwrap();
        let flow = b.flow("echo").qos(QosSpec::DATA).alloc().unwrap();
        flow.stream().write_all(&data).unwrap();
        flow.close(Duration::from_secs(20)).unwrap();
        server.join().unwrap();
    }
}

#[test]
fn both_ends_of_a_local_flow_notice_the_end() {
    let stack = Stack::new().unwrap();
    let server = echo_once(&stack);
    let flow = stack.flow("echo").qos(QosSpec::DATA).alloc().unwrap();
    flow.write(b"bye").unwrap();
    drop(server.join().unwrap());
    assert_eq!(flow.read(&mut [0; 10]), Err(ReadError::Closed));
}

/// The replies to a requester whose EIDs are like the reference's are held back for a moment, so that the thread that
/// accepts waits for the time and for the socket at once.
#[test]
fn a_reply_that_is_held_back_is_sent() {
    let hash = HashAlg::Md5.hash(&Name::new("echo").unwrap());
    let mut rng = Randomness::from_seed([1; 32]);
    for round in 0..200 {
        let server = Stack::new().unwrap();
        let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
        net.register("echo").unwrap();
        let listener = server.bind("echo").unwrap();
        let accepting = Builder::new().spawn(move || listener.accept().map(|_| ())).unwrap();
        // Sooner or later after the threads have begun to wait.
        std::thread::park_timeout(Duration::from_millis(round % 8));

        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let unix = u64::try_from(unix).unwrap();
        let (_, oap) = Client::start(unix, &SecurityConfig::default(), &[], &mut rng).unwrap();
        let request = FlowRequest { s_eid: 64, qos: QosSpec::RAW, dst: hash, data: &oap }.to_vec();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(&request, net.local_addr().unwrap()).unwrap();
        let reply = socket.recv(&mut [0; 1500]);
        assert!(reply.is_ok(), "no reply in round {round}: {reply:?}");
        accepting.join().unwrap().unwrap();
    }
}

/// The other end reads and goes away at once: what it acknowledged on the way out is not lost.
#[test]
fn a_local_flow_that_was_read_to_the_end_lost_nothing() {
    let stack = Stack::new().unwrap();
    for _ in 0..300 {
        let listener = stack.bind("sink").unwrap();
        let reader = Builder::new()
            .spawn(move || {
                let flow = listener.accept().unwrap();
                flow.read(&mut [0; 16]).unwrap()
            })
            .unwrap();
        let flow = stack.flow("sink").qos(QosSpec::DATA).alloc().unwrap();
        flow.write(b"all").unwrap();
        assert_eq!(flow.close(Duration::from_secs(5)), Ok(()));
        assert_eq!(reader.join().unwrap(), 3);
    }
}

/// A factory may own whatever it likes of its own stack.
#[test]
fn a_factory_that_owns_a_listener_is_dropped_without_a_lock() {
    let stack = Stack::new().unwrap();
    let other = stack.bind("other").unwrap();
    stack.bind_factory("name", move |_| _ = other.name()).unwrap();
    let third = stack.bind("third").unwrap();
    stack.bind_factory("name", move |_| _ = third.name()).unwrap();
    stack.unbind_factory("name");
    let fourth = stack.bind("fourth").unwrap();
    stack.bind_factory("name", move |_| _ = fourth.name()).unwrap();
    stack.shutdown();
}

#[test]
fn a_flow_says_what_was_negotiated() {
    let cases = [
        ("", "not encrypted, peer: o7s"),
        ("X25519,chacha20-poly1305", "encrypted (X25519, sha256, chacha20-poly1305), peer: o7s"),
        ("prime256v1,aes-256-gcm,sha512", "encrypted (prime256v1, sha512, aes-256-gcm), peer: o7s"),
    ];
    for (config, said) in cases {
        let config = if config.is_empty() { SecurityConfig::default() } else { config.parse().unwrap() };
        let (server, client) = udp_pair(&config);
        let accepts = echo_once(&server);
        let flow = client.flow("echo").qos(QosSpec::DATA).alloc().unwrap();
        flow.write(b"bye").unwrap();
        let far = accepts.join().unwrap();
        assert_eq!(flow.security().to_string(), said);
        assert_eq!(far.security(), flow.security());
        assert_eq!(flow.security().encryption.is_some(), flow.is_encrypted());
    }
}

/// Two threads, one flow, no second handle.
#[test]
fn a_stream_is_read_and_written_by_two_threads() {
    let (server, client) = udp_pair(&SecurityConfig::default());
    server
        .bind_handler("echo", |flow| {
            let stream = flow.stream();
            let _ = std::io::copy(&mut &stream, &mut &stream);
            flow.shutdown(std::net::Shutdown::Write);
        })
        .unwrap();
    let flow = client.flow("echo").qos(QosSpec::DATA).alloc().unwrap();
    flow.set_read_timeout(Some(Duration::from_secs(20)));
    let stream = flow.stream();
    let data: Vec<u8> = (0..2_000_000u32).map(|i| (i ^ (i >> 7)) as u8).collect();
    let mut got = Vec::new();
    std::thread::scope(|s| {
        s.spawn(|| {
            (&stream).write_all(&data).unwrap();
            flow.shutdown(std::net::Shutdown::Write);
        });
        (&stream).read_to_end(&mut got).unwrap();
    });
    assert!(got == data);
}

/// The meaning of a name does not depend on the imported traits, nor on how the flow is borrowed.
#[test]
fn packets_stay_packets_with_the_traits_of_streams_imported() {
    let stack = Stack::new().unwrap();
    let accepts = stack.bind("echo").unwrap();
    let asks = stack.flow("echo").qos(QosSpec::DATA);
    let client = Builder::new().spawn(move || asks.alloc().unwrap()).unwrap();
    let mut far = accepts.accept().unwrap();
    let mut near = client.join().unwrap();
    fn write(flow: &mut Flow) {
        flow.write(b"one").unwrap();
    }
    write(&mut near);
    near.stream().write_all(b"two").unwrap();
    fn read(flow: &mut Flow, buf: &mut [u8]) -> Result<usize, ReadError> {
        flow.read(buf)
    }
    assert!(matches!(read(&mut far, &mut [0; 1]), Err(ReadError::TooSmall { .. })), "a packet that does not fit");
    assert_eq!(read(&mut far, &mut [0; 9]), Ok(3));
    assert_eq!(far.stream().read(&mut [0; 1]).unwrap(), 1, "a part of a packet");
    assert_eq!(far.stream().read(&mut [0; 9]).unwrap(), 2);
}
