//! Certificates that are renewed while flows are open, and that expire meanwhile.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use o7s::crypto::certificate::{Certificate, Credentials, TrustStore};
use o7s::crypto::suite::Kex;
use o7s::oap::CertificatePolicy;
use o7s::sim::{Host, Link, Network};
use o7s::{AllocError, QosSpec, SecurityConfig, aio};

use crate::issue::{DAY, Wanted, cn, key};

const HOUR: u64 = 3600;

/// What a message says, with the reasons behind it.
pub(crate) fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(why) = source {
        text = format!("{text}: {why}");
        source = why.source();
    }
    text
}

pub(crate) struct World {
    pub(crate) net: Network,
    pub(crate) server: Host,
    pub(crate) client: Host,
}

impl World {
    pub(crate) fn new() -> Self {
        let net = Network::new(71);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        let server = net.host("server").udp4("10.0.0.2").build();
        let client = net.host("client").udp4("10.0.0.1").build();
        Self { net, server, client }
    }

    fn unix(&self) -> u64 {
        self.net.clock().unix_nanos() / 1_000_000_000
    }

    /// The server shows a certificate of this authority, which is valid for so long.
    pub(crate) fn show(&self, authority: u8, seconds: u64) {
        self.show_more(authority, seconds, |leaf| leaf);
    }

    /// The same of a certificate with `more`.
    pub(crate) fn show_more(&self, authority: u8, seconds: u64, more: fn(Wanted) -> Wanted) {
        let leaf = Wanted::leaf("bank", &key(authority + 50)).validity(self.unix() - DAY, self.unix() + seconds);
        let leaf = more(leaf);
        let certificate = Certificate::from_der(&leaf.issue(&cn("root"), &key(authority)), 32_768).unwrap();
        let own = Credentials::new(certificate, Arc::new(key(authority + 50))).unwrap();
        let config = SecurityConfig::encrypted(Kex::X25519).credentials(Some(own));
        self.server.stack().set_security("bank", config, SecurityConfig::default()).unwrap();
    }

    /// The client believes this authority.
    pub(crate) fn believe(&self, authority: u8) {
        let root = Wanted::authority("root", &key(authority)).validity(self.unix() - DAY, self.unix() + 1000 * DAY);
        let mut store = TrustStore::new();
        store.add_authorities(&root.issue_to_itself(&key(authority))).unwrap();
        let config = SecurityConfig::encrypted(Kex::X25519).authorities(Some(Arc::new(store)));
        let config = config.certificates(CertificatePolicy::Require);
        self.client.stack().set_security("bank", SecurityConfig::default(), config).unwrap();
    }

    pub(crate) fn allocate(&self) -> Result<aio::Flow, AllocError> {
        let stack = self.client.stack().clone();
        let qos = QosSpec { timeout: 60_000, ..QosSpec::DATA };
        self.net
            .block_on(async move { stack.flow("bank").qos(qos).timeout(Duration::from_secs(1)).alloc_async().await })
    }

    /// Echoes.
    pub(crate) fn serve(&self) {
        let (listener, net) = (self.server.listen("bank"), self.net.clone());
        self.net.spawn(async move {
            while let Ok(flow) = listener.accept_async().await {
                net.spawn(async move {
                    while let Ok(data) = flow.read_bytes().await {
                        if flow.write(&data).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    pub(crate) fn works(&self, flow: &aio::Flow) -> bool {
        self.net.block_on(async {
            flow.write(b"still there?").await.is_ok()
                && flow.read_bytes().await.is_ok_and(|data| &data[..] == b"still there?")
        })
    }
}

/// In whichever order the two ends are told, and at once: running flows are unharmed, and new ones are refused for as long as the
/// two do not go together, with the reason.
#[test]
fn certificates_are_renewed_under_running_flows() {
    for order in [&[0, 1][..], &[1, 0], &[2]] {
        let world = World::new();
        world.serve();
        world.show(1, 100 * DAY);
        world.believe(1);
        let first = world.allocate().unwrap();
        for (n, step) in order.iter().enumerate() {
            match step {
                0 => world.show(2, 100 * DAY),
                1 => world.believe(2),
                _ => (world.show(2, 100 * DAY), world.believe(2)).0,
            }
            let is_done = n + 1 == order.len();
            match world.allocate() {
                Ok(flow) => assert!(is_done && world.works(&flow), "{order:?}"),
                Err(error) => {
                    let why = reasons(&error);
                    assert!(!is_done && why.contains("is not signed by"), "{order:?}: {why}");
                }
            }
            assert!(world.works(&first), "{order:?}");
        }
    }
}

/// A flow lives as long as its ends want it to; a new one needs a certificate that is valid now.
#[test]
fn a_certificate_that_expires_ends_no_flow_and_begins_none() {
    let world = World::new();
    world.serve();
    world.show(1, HOUR);
    world.believe(1);
    let flow = world.allocate().unwrap();
    world.net.run_for(Duration::from_secs(2 * HOUR));
    assert!(world.works(&flow));
    let why = reasons(&world.allocate().map(drop).unwrap_err());
    assert!(why.contains("CN=bank expired at"), "{why}");
    world.show(1, HOUR);
    assert!(world.allocate().is_ok());
}

/// Time that passes at once, as after a sleep: what is due is done, and the flow has the same keys as before or is over, on both
/// sides.
#[test]
fn eight_hours_at_once_leave_no_half_of_a_flow() {
    let world = World::new();
    world.serve();
    world.show(1, DAY);
    world.believe(1);
    let flow = world.allocate().unwrap();
    // The peer is gone for as long, and the packets of both with it.
    let cut = world.net.on_packet(|_| o7s::sim::Verdict::Drop);
    world.net.run_for(Duration::from_secs(8 * HOUR));
    drop(cut);
    assert_eq!(flow.as_blocking().try_write(b"x"), Err(o7s::WriteError::PeerGone));
    let again = world.allocate().unwrap();
    assert!(world.works(&again), "and a new one comes about at once");
    assert_eq!(world.server.stack().rib().get("node/flows"), Some(1));
}
