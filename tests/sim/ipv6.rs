//! Layers over UDP/IPv6: the same shim, other addresses.

use std::net::{SocketAddr, SocketAddrV6};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use o7s::base::buf::BufCache;
use o7s::ipcp::shim::resolve::{Found, HostTable, Resolver};
use o7s::sim::{EPOCH_UNIX_NANOS, Host, Link, Network, UdpSocket};
use o7s::types::device::{Datagram, Datagrams, SendError};
use o7s::types::name::NameHash;
use o7s::{IpcpKind, Listener, Name, NetworkConfig, QosSpec, Stack, StackError, Udp4, Udp6, UnicastLayer};

use super::world::{ENCRYPTED, ms, secs};

const QOS: [QosSpec; 3] = [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA];

fn network(seed: u64) -> Network {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(1)));
    net
}

/// Serves `listener` with echoes, for ever.
fn echo(net: &Network, listener: Listener) {
    let spawner = net.clone();
    net.spawn(async move {
        while let Ok(flow) = listener.accept_async().await {
            spawner.spawn(async move {
                while let Ok(packet) = flow.read_bytes().await {
                    flow.write(&packet).await.unwrap();
                }
            });
        }
    });
}

/// Allocates a flow to `name` and sends a packet there and back. Returns the largest packet that the flow carries.
fn round_trip(net: &Network, from: &Stack, name: &str, qos: QosSpec) -> usize {
    net.block_on(async {
        let flow = from.flow(name).qos(qos).timeout(secs(5)).alloc_async().await.unwrap();
        for len in [1, 600, flow.as_blocking().max_packet()] {
            flow.write(&vec![7; len]).await.unwrap();
            assert_eq!(flow.read_bytes().await.unwrap().len(), len);
        }
        flow.as_blocking().max_packet()
    })
}

fn hosts(net: &Network, security: &str, addrs: [&str; 2]) -> [Host; 2] {
    ["client", "server"].map(|name| {
        let addr = addrs[usize::from(name == "server")];
        let builder = net.host(name).udp6(addr);
        if security.is_empty() {
            builder.build()
        } else {
            builder.stack(|s| s.security(security.parse().unwrap())).build()
        }
    })
}

#[test]
fn flows_of_all_qualities_pass() {
    for (seed, security) in ["", ENCRYPTED].into_iter().enumerate() {
        let net = network(seed as u64);
        let [client, server] = hosts(&net, security, ["fd00::1", "fd00::2"]);
        echo(&net, server.listen("echo"));
        assert_eq!(server.udp6()[0].info().kind, IpcpKind::Udp6);
        assert_eq!(server.udp6()[0].info().name, "udp6.[fd00::2]:3435");
        for qos in QOS {
            let most = round_trip(&net, client.stack(), "echo", qos);
            if security.is_empty() && qos == QosSpec::RAW {
                assert_eq!(most, 1500 - 40 - 8 - 4, "the headers of IPv6 are longer");
            }
        }
    }
}

#[test]
fn a_name_at_hosts_of_both_families_is_found_over_each() {
    let net = network(7);
    let server = net.host("server").udp4("10.0.0.2").udp6("fd00::2").build();
    echo(&net, server.listen("echo"));
    let four = net.host("four").udp4("10.0.0.1").build();
    let six = net.host("six").udp6("fd00::1").build();
    let both = net.host("both").udp4("10.0.0.3").udp6("fd00::3").build();
    for host in [&four, &six, &both] {
        round_trip(&net, host.stack(), "echo", QosSpec::DATA);
    }
    // Without the one, the other serves.
    net.isolate("10.0.0.3");
    round_trip(&net, both.stack(), "echo", QosSpec::DATA);
}

/// A resolver with both families of a name, the one that is of no use first.
struct Both([SocketAddr; 2]);

impl Resolver for Both {
    fn resolve(&self, _: &NameHash, found: Found) {
        found.answer(self.0);
    }
}

#[test]
fn resolvers_answer_layers_of_both_families() {
    let net = network(8);
    let server = net.host("server").udp4("10.0.0.2").udp6("fd00::2").build();
    let listener = server.stack().bind("svc").unwrap();
    server.udp4()[0].register("svc").unwrap();
    server.udp6()[0].register("svc").unwrap();
    echo(&net, listener);
    // Ports are those of the layer. The table knows the name only where this layer does not reach.
    let (table, name) = (HostTable::new(), Name::new("svc").unwrap());
    let resolver =
        || Arc::new(Both(["10.0.0.2:0".parse().unwrap(), "[fd00::2]:0".parse().unwrap()])) as Arc<dyn Resolver>;
    table.insert(&name, "10.9.9.9".parse().unwrap());
    let six = net.host("six").udp6_with("fd00::1", Udp6::bind("").table(&table).resolver(resolver())).build();
    round_trip(&net, six.stack(), "svc", QosSpec::RAW);
    table.remove(&name);
    table.insert(&name, "fd99::9".parse().unwrap());
    let four = net.host("four").udp4_with("10.0.0.1", Udp4::bind("").table(&table).resolver(resolver())).build();
    round_trip(&net, four.stack(), "svc", QosSpec::RAW);
}

#[test]
fn further_addresses_of_a_name_are_tried() {
    let net = network(9);
    let server = net.host("server").udp6("fd00::2").build();
    echo(&net, server.listen("svc"));
    let resolver = Arc::new(Both(["[fd00::99]:0".parse().unwrap(), "[fd00::2]:0".parse().unwrap()]));
    let client = net.host("client").udp6_with("fd00::1", Udp6::bind("").resolver(resolver)).build();
    round_trip(&net, client.stack(), "svc", QosSpec::RAW);
}

#[test]
fn layers_are_built_on_it() {
    let net = network(10);
    let hosts: Vec<_> =
        (0..3).map(|i| net.host(&format!("host {i}")).udp6(&format!("fd00::{}", i + 1)).build()).collect();
    let first =
        hosts[0].stack().unicast("node-0").over(&hosts[0].udp6()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    let mut members = vec![first];
    for (i, host) in hosts.iter().enumerate().skip(1) {
        let by = format!("node-{}", i - 1);
        let builder = host.stack().unicast(&format!("node-{i}")).over(&host.udp6()[0]);
        let member = net.block_on(builder.enroll_async(&by)).unwrap();
        net.block_on(member.connect_async(&by)).unwrap();
        members.push(member);
    }
    members[2].register("far").unwrap();
    echo(&net, hosts[2].stack().bind("far").unwrap());
    net.run_for(secs(5));
    round_trip(&net, hosts[0].stack(), "far", QosSpec::DATA);
}

#[test]
fn files_describe_such_layers() {
    let net = network(11);
    let hosts = ["a", "b"].map(|name| net.host(name).build());
    let configs = ["a", "b"].map(|name| -> NetworkConfig {
        let ip = if name == "a" { "fe80::1%eth0" } else { "fe80::2%eth0" };
        let text = format!("[udp6.net]\nbootstrap = \"link\"\nip = \"{ip}\"\nport = 4000\nreg = [\"{name}\"]");
        text.parse().unwrap()
    });
    for (host, config) in hosts.iter().zip(&configs) {
        assert!(config.warnings().is_empty());
        let made = net.block_on(host.configure(config)).unwrap();
        assert_eq!((made[0].info().kind, made[0].local_addr().unwrap().port()), (IpcpKind::Udp6, 4000));
    }
    echo(&net, hosts[1].stack().bind("b").unwrap());
    round_trip(&net, hosts[0].stack(), "b", QosSpec::BEST_EFFORT);
}

/// A device that spells the addresses of its datagrams in another way, as an operating system may.
struct Odd {
    inner: Arc<UdpSocket>,
    spell: fn(SocketAddr) -> SocketAddr,
    /// Who was sent to.
    sent_to: Mutex<Vec<SocketAddr>>,
}

impl Datagrams for Odd {
    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }

    fn max_datagram(&self) -> usize {
        self.inner.max_datagram()
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.sent_to.lock().unwrap().push(dst);
        let plain = match dst {
            SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, 0).into(),
            SocketAddr::V4(_) => dst,
        };
        self.inner.send(plain, data, segment)
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let before = out.len();
        let n = self.inner.recv(out, cache);
        out[before..].iter_mut().for_each(|datagram| datagram.src = (self.spell)(datagram.src));
        n
    }

    fn wait(&self, _: Duration) {}

    fn interrupt(&self) {}
}

/// A polled stack over such a device calls `peer`, and the packets that come back are those of its flow.
fn answers_count(
    peer: &str,
    host: &str,
    own: &str,
    dual: bool,
    spell: fn(SocketAddr) -> SocketAddr,
) -> Vec<SocketAddr> {
    let net = network(12);
    let peer = SocketAddr::new(peer.parse().unwrap(), 3435);
    let server = match peer {
        SocketAddr::V4(v4) => net.host("server").udp4(&v4.to_string()).build(),
        SocketAddr::V6(v6) => net.host("server").udp6(&format!("[{}]:3435", v6.ip())).build(),
    };
    let listener = server.stack().bind("svc").unwrap();
    for layer in server.udp4().iter().chain(server.udp6()) {
        layer.register("svc").unwrap();
    }
    echo(&net, listener);
    let inner = net.udp(SocketAddr::new(own.parse().unwrap(), 3435));
    let device = Arc::new(Odd { inner, spell, sent_to: Mutex::default() });
    let stack = Stack::builder().seed([7; 32]).polled_at(EPOCH_UNIX_NANOS).build().unwrap();
    let settings = Udp6::bind("").host("svc", host).dual_stack(dual);
    stack.udp6_over(Arc::clone(&device) as Arc<dyn Datagrams>, settings).unwrap();
    let driver = (stack.clone(), net.clone());
    net.spawn(async move {
        loop {
            driver.0.poll(driver.1.now());
            driver.1.sleep(ms(1)).await;
        }
    });
    round_trip(&net, &stack, "svc", QosSpec::RAW);
    let mut sent_to = device.sent_to.lock().unwrap().clone();
    sent_to.dedup();
    sent_to
}

#[test]
fn mapped_addresses_are_those_of_ipv4() {
    let mapped = |addr: SocketAddr| match addr {
        SocketAddr::V4(v4) => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        SocketAddr::V6(_) => addr,
    };
    let peer: SocketAddr = "10.0.0.2:3435".parse().unwrap();
    // Whichever way the user and the device spell it, there is one peer. The simulated socket sends to the IPv4 address.
    assert_eq!(answers_count("10.0.0.2", "::ffff:10.0.0.2", "fd00::1", true, mapped), [peer]);
    assert_eq!(answers_count("10.0.0.2", "10.0.0.2", "fd00::1", true, mapped), [peer]);
}

#[test]
fn flow_labels_are_no_part_of_an_address() {
    let labelled = |addr: SocketAddr| match addr {
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0xbeef, 5).into(),
        SocketAddr::V4(_) => addr,
    };
    assert_eq!(answers_count("fd00::2", "fd00::2", "fd00::1", false, labelled), ["[fd00::2]:3435".parse().unwrap()]);
}

#[test]
fn link_local_peers_keep_their_interface() {
    let on_link_5 = |addr: SocketAddr| match addr {
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, 5).into(),
        SocketAddr::V4(_) => addr,
    };
    let peer = SocketAddrV6::new("fe80::2".parse().unwrap(), 3435, 0, 5).into();
    assert_eq!(answers_count("fe80::2", "fe80::2%5", "fd00::1", false, on_link_5), [peer]);
}

#[test]
fn a_link_local_host_without_an_interface_is_refused() {
    let net = network(13);
    let stack = Stack::builder().seed([7; 32]).polled_at(EPOCH_UNIX_NANOS).build().unwrap();
    let socket = net.udp("[fd00::1]:3435");
    let made = stack.udp6_over(socket, Udp6::bind("").host("svc", "fe80::2"));
    assert!(matches!(made, Err(StackError::LinkLocal(_))), "{made:?}");
}
