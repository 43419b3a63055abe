//! What security costs: handshakes beside those of rustls, packets beside the bare cipher, and requests that are refused beside
//! those that are served.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use o7s::base::buf::PacketBuf;
use o7s::base::rng::{Randomness, Rng};
use o7s::base::time::Clock as _;
use o7s::crypto::SessionKey;
use o7s::crypto::backend::Backend;
use o7s::crypto::certificate::{Certificate, Credentials, TrustStore};
use o7s::crypto::protect::{Protection, Side};
use o7s::crypto::sign::PrivateKey;
use o7s::crypto::suite::{Cipher, Kex};
use o7s::oap::CertificatePolicy;
use o7s::oap::client::Client;
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::sim::{Host, Network};
use o7s::types::name::{HashAlg, NameHash};
use o7s::wire::udp::FlowRequest;
use o7s::{QosSpec, SecurityConfig, Stack, Udp4};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::measure::{cpu_time, each, in_turns, median};
use crate::table::{Bound, Row, rate, time};

const PACKET: usize = 1400;

/// An authority, and a certificate of "peer" with a P-256 key.
struct Issued {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Issued {
    fn new() -> Self {
        let named = |name: &str| {
            let mut distinguished = DistinguishedName::new();
            distinguished.push(DnType::CommonName, name);
            distinguished
        };
        let (root, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        authority.distinguished_name = named("root");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let mut leaf = CertificateParams::new(vec!["peer".into()]).unwrap();
        leaf.distinguished_name = named("peer");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let own = authority.self_signed(&root).unwrap().der().to_vec();
        let certificate = leaf.signed_by(&key, &Issuer::new(authority, root)).unwrap().der().to_vec();
        Self { authority: own, certificate, key: key.serialize_der() }
    }

    fn credentials(&self) -> Credentials {
        let certificate = Certificate::from_der(&self.certificate, 1 << 15).unwrap();
        Credentials::new(certificate, Arc::new(PrivateKey::from_pkcs8(&self.key).unwrap())).unwrap()
    }

    /// Settings that show this certificate, and ask for one.
    fn shows(&self, config: SecurityConfig) -> SecurityConfig {
        config.credentials(Some(self.credentials()))
    }

    fn asks(&self, config: SecurityConfig) -> SecurityConfig {
        let mut store = TrustStore::new();
        assert_eq!(store.add_authorities(&self.authority).unwrap(), []);
        config.authorities(Some(Arc::new(store))).certificates(CertificatePolicy::Require)
    }
}

/// The two messages of an allocation, made and checked by both ends on one thread: handshakes a second.
fn oap(n: usize, client: &SecurityConfig, server: &SecurityConfig) -> f64 {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let (mut rng, mut seen, name) = (Randomness::from_seed([7; 32]), ReplayCache::default(), "peer".parse().unwrap());
    1.0 / each(n, || {
        let (waiting, request) = Client::start(unix, client, b"", &mut rng).unwrap();
        let negotiated = Request::check(unix, request, &mut seen).unwrap().accept(server).unwrap().with_name(&name);
        let (response, there) = negotiated.respond(unix, b"", 0, &mut rng).unwrap();
        let here = waiting.with_name(&name).complete(&response).unwrap();
        assert!(here.protection == there.protection);
    })
}

/// The same of TLS 1.3, with no resumption and no tickets.
struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    fn new(issued: &Issued, group: &'static dyn SupportedKxGroup, is_mutual: bool) -> Self {
        let provider = Arc::new(CryptoProvider { kx_groups: vec![group], ..ring::default_provider() });
        let certificate = || vec![CertificateDer::from(issued.certificate.clone())];
        let key = || PrivatePkcs8KeyDer::from(issued.key.clone()).into();
        let mut roots = RootCertStore::empty();
        roots.add(issued.authority.clone().into()).unwrap();
        let roots = Arc::new(roots);
        let versions = [&rustls::version::TLS13];
        let server =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions).unwrap();
        let server = if is_mutual {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
            server.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            server.with_no_client_auth()
        };
        let mut server = server.with_single_cert(certificate(), key()).unwrap();
        server.send_tls13_tickets = 0;
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).unwrap();
        let client = client.with_root_certificates(roots);
        let mut client = if is_mutual {
            client.with_client_auth_cert(certificate(), key()).unwrap()
        } else {
            client.with_no_client_auth()
        };
        client.resumption = Resumption::disabled();
        Self { client: Arc::new(client), server: Arc::new(server) }
    }

    fn handshakes_a_second(&self, n: usize) -> f64 {
        let mut wire = Vec::new();
        1.0 / each(n, || {
            let mut client = ClientConnection::new(Arc::clone(&self.client), "peer".try_into().unwrap()).unwrap();
            let mut server = ServerConnection::new(Arc::clone(&self.server)).unwrap();
            while client.is_handshaking() || server.is_handshaking() {
                wire.clear();
                while client.wants_write() {
                    client.write_tls(&mut wire).unwrap();
                }
                let mut left = &wire[..];
                while !left.is_empty() {
                    server.read_tls(&mut left).unwrap();
                    server.process_new_packets().unwrap();
                }
                wire.clear();
                while server.wants_write() {
                    server.write_tls(&mut wire).unwrap();
                }
                let mut left = &wire[..];
                while !left.is_empty() {
                    client.read_tls(&mut left).unwrap();
                    client.process_new_packets().unwrap();
                }
            }
        })
    }
}

/// Handshakes by key exchange, without certificates, with one of the server, and with both.
pub(crate) fn handshakes() -> Vec<Row> {
    let issued = Issued::new();
    let mut rows: Vec<_> = Kex::ALL.iter().copied().filter(|kex| kex.is_available()).map(anonymous).collect();
    for (kex, group) in [
        (Kex::X25519, ring::kx_group::X25519),
        (Kex::Prime256v1, ring::kx_group::SECP256R1),
        (Kex::Secp384r1, ring::kx_group::SECP384R1),
    ] {
        for is_mutual in [false, true] {
            let (client, server) = (SecurityConfig::encrypted(kex), SecurityConfig::encrypted(kex));
            let (mut client, mut server) = (issued.asks(client), issued.shows(server));
            if is_mutual {
                (client, server) = (issued.shows(client), issued.asks(server));
            }
            let tls = Tls::new(&issued, group, is_mutual);
            let [ours, other] = in_turns(5, [&mut || oap(100, &client, &server), &mut || tls.handshakes_a_second(100)]);
            let who = if is_mutual { "both ends" } else { "the server" };
            let text = format!("rustls (ring), in memory {}", rate(other));
            rows.push(Row::info(format!("handshakes, {kex}, P-256 of {who}"), rate(ours), text).ratio(ours, other));
        }
    }
    rows
}

fn anonymous(kex: Kex) -> Row {
    let config = SecurityConfig::encrypted(kex);
    let [ours] = in_turns(5, [&mut || oap(50, &config, &config)]);
    let row = Row::info(format!("handshakes, {kex}, both ends on a core"), rate(ours), "");
    match kex {
        Kex::X25519MlKem768 => row.absolute(ours).must(Bound::AtLeast(2500.0)),
        Kex::X25519 => row.absolute(ours).must(Bound::AtLeast(5600.0)),
        _ => row,
    }
}

/// Packets sealed, each with the work of a flow around the cipher, beside the cipher alone.
pub(crate) fn sealing() -> Vec<Row> {
    let backend = Backend::preferred();
    let ciphers = Cipher::ALL.iter().copied().filter(|cipher| cipher.is_aead() && backend.has_cipher(*cipher));
    ciphers
        .map(|cipher| {
            let key = SessionKey::from_bytes([5; 32]);
            let mut protection = Protection::between_peers(backend, cipher, key, Side::Client).unwrap();
            let schedule = backend.aead(cipher).unwrap().schedule(&[5; 32]);
            let (mut rng, front) = (Rng::from_seed([5; 32]), protection.overhead() - 16);
            let (mut packet, mut body, mut iv) = (PacketBuf::copy_of(&[7; PACKET]), [7_u8; PACKET], [0_u8; 12]);
            let [ours, bare] = in_turns(
                9,
                [
                    &mut || {
                        each(20_000, || {
                            protection.seal(&mut packet, &mut rng).unwrap();
                            packet.pull(front);
                            packet.truncate(PACKET);
                        })
                    },
                    &mut || {
                        each(20_000, || {
                            iv[0] = iv[0].wrapping_add(1);
                            std::hint::black_box(schedule.seal(&iv, &mut body).unwrap());
                        })
                    },
                ],
            );
            Row::info(
                format!("sealed packets, 1400 B, {cipher}"),
                rate(1.0 / ours),
                format!("cipher alone {}", rate(1.0 / bare)),
            )
            .ratio(ours, bare)
            .must(Bound::AtMost(1.15))
        })
        .collect()
}

fn hash(name: &str) -> NameHash {
    HashAlg::Md5.hash(&name.parse().unwrap())
}

/// Requests for a name, of as many as are made.
struct Requests {
    randomness: Randomness,
    encrypted: Vec<u8>,
    plain: Vec<u8>,
    next: u32,
}

impl Requests {
    fn new() -> Self {
        let mut randomness = Randomness::from_seed([6; 32]);
        let config = SecurityConfig::encrypted(Kex::X25519);
        let encrypted = Client::start(0, &config, b"", &mut randomness).unwrap().1;
        let plain = Client::start(0, &SecurityConfig::default(), b"", &mut randomness).unwrap().1;
        Self { randomness, encrypted, plain, next: 0x10_0000 }
    }

    /// A request in which nothing is wrong, or one without encryption where that is required.
    fn make(&mut self, unix: u64, name: &str, is_good: bool) -> Vec<u8> {
        let mut oap = if is_good { self.encrypted.clone() } else { self.plain.clone() };
        self.randomness.public.fill(&mut oap[2..10]);
        oap[16..24].copy_from_slice(&unix.to_be_bytes());
        self.next += 1;
        FlowRequest { s_eid: self.next, qos: QosSpec::RAW, dst: hash(name), data: &oap }.to_vec()
    }
}

const SERVER: &str = "10.0.0.2:3435";

/// A server in a simulated network, whose processing is timed: the network's own is in all figures.
struct Simulated {
    net: Network,
    server: Host,
    requests: Requests,
    /// Another for each request that is to be answered.
    host: u32,
}

impl Simulated {
    fn new() -> Self {
        let net = Network::new(9);
        let server = net.host("server").udp4(SERVER).stack(|s| s.security("X25519".parse().unwrap())).build();
        let listener = server.listen("vault");
        let sleeps = net.clone();
        net.spawn(async move {
            while let Ok(flow) = listener.accept_async().await {
                drop(flow);
                sleeps.sleep(Duration::ZERO).await;
            }
        });
        Self { net, server, requests: Requests::new(), host: 0 }
    }

    /// Seconds for each of `n` requests, of as many hosts or of one.
    fn each(&mut self, n: usize, name: &str, is_good: bool, is_one: bool) -> f64 {
        let unix = self.net.clock().unix_nanos();
        let datagrams: Vec<_> = (0..n)
            .map(|_| {
                self.host += u32::from(!is_one);
                let from = if is_one { [10, 9, 9, 9] } else { (0x0b00_0000 | (self.host % 4096)).to_be_bytes() };
                (SocketAddr::from((from, 4000)), self.requests.make(unix, name, is_good))
            })
            .collect();
        let start = Instant::now();
        for group in datagrams.chunks(100) {
            for (from, datagram) in group {
                self.net.inject(*from, SERVER, datagram);
            }
            self.net.run_for(Duration::from_millis(10));
        }
        let seconds = start.elapsed().as_secs_f64() / n as f64;
        // Flows end, and faults are forgiven.
        self.net.run_for(Duration::from_secs(90));
        seconds
    }
}

/// What a request costs that is refused, and whether it takes longer for a name that is here.
pub(crate) fn refusals() -> Vec<Row> {
    let mut simulated = Simulated::new();
    let mut all: [Vec<f64>; 4] = Default::default();
    for _ in 0..9 {
        let costs = [
            simulated.each(300, "vault", true, false),
            simulated.each(3000, "vault", false, false),
            simulated.each(3000, "nobody", false, false),
            simulated.each(3000, "vault", false, true),
        ];
        for (all, cost) in all.iter_mut().zip(costs) {
            all.push(cost);
        }
    }
    assert!(simulated.server.stack().rib().get("node/accepted").unwrap() >= 9 * 300);
    let spread = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
        (mean, variance.sqrt())
    };
    let ((here, here_by), (absent, absent_by)) = (spread(&all[1]), spread(&all[2]));
    let text = |mean: f64, by: f64| format!("{} +- {}", time(mean), time(by));
    let [handled, refused, _, ignored] = all.map(median);
    vec![
        Row::info("request refused, answered", time(refused), format!("served, X25519 {}", time(handled)))
            .ratio(refused, handled)
            .must(Bound::AtMost(0.05)),
        Row::info("  refused too often, not answered", time(ignored), format!("served, X25519 {}", time(handled)))
            .ratio(ignored, handled)
            .must(Bound::AtMost(0.05)),
        Row::info(
            "request refused, name is here",
            text(here, here_by),
            format!("not here {}", text(absent, absent_by)),
        )
        .ratio(here, absent),
    ]
}

/// 100 000 bogus requests a second at a socket for two seconds, and honest ones among them.
pub(crate) fn flood() -> Vec<Row> {
    let encrypted: SecurityConfig = "X25519".parse().unwrap();
    let server = Stack::builder().security(encrypted.clone()).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false)).unwrap();
    net.register("vault").unwrap();
    let (at, listener) = (net.local_addr().unwrap(), server.bind("vault").unwrap());
    let accepting = std::thread::spawn(move || for _flow in listener.incoming() {});
    let client = Stack::builder().security(encrypted).build().unwrap();
    client.udp4(Udp4::bind("127.0.0.1:0").host("vault", &at.to_string()).system_resolver(false)).unwrap();
    let flooding = std::thread::spawn(move || send_bogus(at, Duration::from_secs(2)));
    let (before, start) = (cpu_time(), Instant::now());
    let (mut asked, mut served, mut slowest) = (0, 0, Duration::ZERO);
    while start.elapsed() < Duration::from_millis(1900) {
        let begun = Instant::now();
        let flow = client.flow("vault").qos(QosSpec::RAW).timeout(Duration::from_secs(1)).alloc();
        (asked, served) = (asked + 1, served + usize::from(flow.is_ok()));
        slowest = slowest.max(begun.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    let sent = flooding.join().unwrap();
    let span = start.elapsed().as_secs_f64();
    // The thread that sends has ended, and is not counted.
    let busy = cpu_time().zip(before).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
    server.shutdown();
    accepting.join().unwrap();
    let cores = busy.unwrap_or(f64::NAN) / span;
    let share = f64::from(served as u32) / f64::from(asked.max(1) as u32);
    vec![
        Row::info(
            "bogus requests at a socket, processors busy",
            format!("{cores:.2}"),
            format!("{} sent", rate(sent as f64 / span)),
        )
        .absolute(cores)
        .must(Bound::AtMost(1.0)),
        Row::info(
            "  honest allocations meanwhile",
            format!("{served} of {asked}"),
            format!("slowest {}", time(slowest.as_secs_f64())),
        )
        .absolute(share)
        .must(Bound::AtLeast(0.99)),
    ]
}

/// Sends from 64 addresses of this host. Returns how many.
fn send_bogus(at: SocketAddr, span: Duration) -> u64 {
    let sockets: Vec<_> =
        (1..=64_u8).filter_map(|n| UdpSocket::bind((std::net::Ipv4Addr::new(127, 0, 1, n), 0)).ok()).collect();
    let (mut requests, clock, start, mut sent) = (Requests::new(), o7s::time::OsClock::new(), Instant::now(), 0_u64);
    while start.elapsed() < span {
        // Those that are due by now.
        let due = (start.elapsed().as_secs_f64() * 100_000.0) as u64;
        while sent < due {
            let name = if sent.is_multiple_of(2) { "vault" } else { "nobody" };
            let request = requests.make(clock.unix_nanos(), name, false);
            let _ = sockets[sent as usize % sockets.len()].send_to(&request, at);
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    sent
}
