//! First messages that are large: every key exchange, with and without certificates, over carriers of every size. They fit, or the
//! allocation fails at once and says by how much; nothing is sent that a reference has no room for, and nothing is silent.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use o7s::crypto::certificate::{Certificate, Credentials, TrustStore};
use o7s::crypto::sign::{PrivateKey, Signer};
use o7s::crypto::suite::Kex;
use o7s::sim::{Host, Link, Network, Verdict};
use o7s::{AllocError, Eth, IpcpHandle, QosSpec, SecurityConfig, UnicastLayer};

use crate::issue::{DAY, Wanted, cn, key};
use crate::renewal::reasons;

struct World {
    net: Network,
    server: Host,
    client: Host,
    _members: Vec<IpcpHandle>,
    /// The largest datagram.
    largest: Rc<RefCell<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Carrier {
    Udp,
    Ethernet,
    Unicast,
}

impl World {
    fn new(carrier: Carrier) -> Self {
        let net = Network::new(81);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)).mtu(9000));
        let hosts = |n: u8| {
            let host = net.host(&format!("host {n}"));
            host.udp4(&format!("10.0.0.{n}"))
        };
        let (server, client, mut members) = match carrier {
            Carrier::Ethernet => {
                let switch = net.switch();
                let host = |n: u8| {
                    let mac = o7s::device::Mac([2, 0, 0, 0, 0, n]);
                    net.host(&format!("host {n}")).eth_with(&switch, mac, Eth::dix("wire")).build()
                };
                (host(1), host(2), Vec::new())
            }
            _ => (hosts(1).build(), hosts(2).build(), Vec::new()),
        };
        if carrier == Carrier::Unicast {
            let first =
                server.stack().unicast("a").over(&server.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
            let second = client.stack().unicast("b").over(&client.udp4()[0]);
            let second = net.block_on(second.enroll_async("a")).unwrap();
            net.block_on(second.connect_async("a")).unwrap();
            first.register("bank").unwrap();
            members.extend([first, second]);
        }
        net.run_for(Duration::from_secs(5));
        let largest: Rc<RefCell<usize>> = Rc::default();
        let seen = Rc::clone(&largest);
        net.on_packet(move |packet| {
            let mut largest = seen.borrow_mut();
            *largest = packet.data.len().max(*largest);
            Verdict::Pass
        })
        .keep();
        Self { net, server, client, _members: members, largest }
    }
}

/// Who shows a certificate, and how large that is.
fn credentials(unix: u64, what: &str) -> Option<(Credentials, Arc<TrustStore>)> {
    let valid = |wanted: Wanted| wanted.validity(unix - DAY, unix + DAY);
    let file = |name: &str| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certificates/reference/mldsa/");
        std::fs::read(format!("{path}{name}")).unwrap()
    };
    let owner = match what {
        "none" => return None,
        "ECDSA" => key(9),
        _ => PrivateKey::from_pem(&file("client.key.pem")).unwrap(),
    };
    let root = valid(Wanted::authority("root", &key(1))).issue_to_itself(&key(1));
    let leaf = valid(Wanted::leaf("bank", &owner as &dyn Signer)).issue(&cn("root"), &key(1));
    let own = Credentials::new(Certificate::from_der(&leaf, 32_768).unwrap(), Arc::new(owner)).unwrap();
    let mut store = TrustStore::new();
    store.add_authorities(&root).unwrap();
    Some((own, Arc::new(store)))
}

/// The largest messages that a reference takes: of UDP, of a flow allocator, and of a frame.
fn limit(carrier: Carrier) -> usize {
    match carrier {
        Carrier::Udp => 2048,
        // With the headers of data transfer and of the UDP layer around it.
        Carrier::Unicast => 2048 + 100,
        Carrier::Ethernet => 1500,
    }
}

#[test]
fn what_does_not_fit_fails_at_once_and_says_so() {
    let (mut fitted, mut failed) = (0, 0);
    for carrier in [Carrier::Udp, Carrier::Ethernet, Carrier::Unicast] {
        let world = World::new(carrier);
        let (listener, net) = (world.server.stack().bind("bank").unwrap(), world.net.clone());
        let layers: Vec<_> = world.server.udp4().iter().chain(world.server.eth()).cloned().collect();
        if carrier != Carrier::Unicast {
            layers[0].register("bank").unwrap();
        }
        net.spawn(async move {
            while let Ok(flow) = listener.accept_async().await {
                drop(flow);
            }
        });
        world.net.run_for(Duration::from_secs(5));
        let unix = world.net.clock().unix_nanos() / 1_000_000_000;
        for kex in Kex::ALL.iter().copied().filter(|kex| kex.is_available()) {
            for shown in ["none", "ECDSA", "ML-DSA"] {
                let mut config = SecurityConfig::encrypted(kex);
                if let Some((own, store)) = credentials(unix, shown) {
                    config = config.credentials(Some(own)).authorities(Some(store));
                }
                world.server.stack().set_default_security(config.clone());
                world.client.stack().set_default_security(config);
                let (begun, what) = (world.net.now(), format!("{kex}, {shown}, {carrier:?}"));
                let stack = world.client.stack().clone();
                let flow = world.net.block_on(async move {
                    stack.flow("bank").qos(QosSpec::RAW).timeout(Duration::from_secs(9)).alloc_async().await.map(drop)
                });
                let took = world.net.now().since(begun);
                match flow {
                    Ok(()) => fitted += 1,
                    // The answer of the server, which has found out by itself.
                    Err(AllocError::Refused { .. }) => failed += 1,
                    Err(why) => {
                        let text = reasons(&why);
                        assert!(text.contains("bytes, and the layer's messages take"), "{what}: {text}");
                        failed += 1;
                    }
                }
                assert!(took < Duration::from_secs(3), "{what}: {took:?}");
                assert!(*world.largest.borrow() <= limit(carrier), "{what}: {} bytes", world.largest.borrow());
            }
        }
    }
    println!("{fitted} fit, {failed} do not");
    assert!(fitted >= 30 && failed >= 30, "{fitted} fit, {failed} do not");
}
