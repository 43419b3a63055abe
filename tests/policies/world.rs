//! Two hosts of a simulated network, an authority, and certificates of it.

use std::sync::Arc;
use std::time::Duration;

use o7s::certificate::{Certificate, Credentials, TrustStore};
use o7s::keys::PrivateKey;
use o7s::sim::{EPOCH_UNIX_NANOS, Host, Link, Network};
use o7s::{AllocError, Kex, QosSpec, SecurityConfig, Udp4, aio};

use crate::issue::{DAY, Wanted, cn, key, pem};

pub(crate) const SERVER: &str = "10.0.0.2:3435";
pub(crate) const CLIENT: &str = "10.0.0.1:3435";
/// When simulations begin.
pub(crate) const NOW: u64 = EPOCH_UNIX_NANOS / 1_000_000_000;

/// Keys by number: those of the authority and of another one, and of everybody else.
pub(crate) const AUTHORITY: u8 = 1;
pub(crate) const OTHER_AUTHORITY: u8 = 2;

fn authority(number: u8) -> Vec<u8> {
    let name = format!("authority {number}");
    Wanted::authority(&name, &key(number)).validity(NOW - DAY, NOW + 100 * DAY).issue_to_itself(&key(number))
}

/// Those who are believed: the authority.
pub(crate) fn store() -> Arc<TrustStore> {
    let mut store = TrustStore::new();
    assert!(store.add_authorities(pem(&authority(AUTHORITY)).as_bytes()).unwrap().is_empty());
    Arc::new(store)
}

/// A certificate of `name` by an authority, and the key that goes with it.
pub(crate) fn signed_by(number: u8, name: &str, change: impl FnOnce(Wanted) -> Wanted) -> (Vec<u8>, PrivateKey) {
    let own = key(100 + name.len() as u8);
    let wanted = change(Wanted::leaf(name, &own).validity(NOW - DAY, NOW + 100 * DAY));
    (wanted.issue(&cn(&format!("authority {number}")), &key(number)), own)
}

/// Credentials of `name`.
pub(crate) fn credentials(name: &str) -> Credentials {
    of(signed_by(AUTHORITY, name, |wanted| wanted))
}

pub(crate) fn of((certificate, key): (Vec<u8>, PrivateKey)) -> Credentials {
    Credentials::new(Certificate::from_der(&certificate, 10_000).unwrap(), Arc::new(key)).unwrap()
}

/// Encryption, and certificates of the authority are believed.
pub(crate) fn encrypted() -> SecurityConfig {
    SecurityConfig::encrypted(Kex::X25519).authorities(Some(store()))
}

/// The same with one's own.
pub(crate) fn with(name: &str) -> SecurityConfig {
    encrypted().credentials(Some(credentials(name)))
}

/// A server with one name, "vault", and a client of it.
pub(crate) struct Two {
    pub(crate) net: Network,
    pub(crate) server: Host,
    pub(crate) client: Host,
}

impl Two {
    pub(crate) fn new(server: SecurityConfig, client: SecurityConfig) -> Self {
        let net = Network::new(20);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        let at = |address, security: SecurityConfig| {
            let host = net.host(if address == SERVER { "server" } else { "client" });
            let udp = Udp4::bind(address).table(net.names());
            host.udp4_with(address, udp).stack(move |stack| stack.security(security)).build()
        };
        let (server, client) = (at(SERVER, server), at(CLIENT, client));
        Self { net, server, client }
    }

    /// Has the client ask for a flow to the vault, and the server accept it. Both ends, or why the client has none.
    pub(crate) fn flow(&self, qos: QosSpec) -> Result<(aio::Flow, aio::Flow), AllocError> {
        let listener = self.server.listen("vault");
        let accepted = self.net.spawn(async move { listener.accept_async().await.ok() });
        let asked = self.net.block_on(async { self.client.stack().flow("vault").qos(qos).alloc_async().await });
        let asked = asked?;
        Ok((asked, self.net.block_on(accepted).unwrap()))
    }

    /// What the client is told where there is no flow.
    pub(crate) fn refused(&self) -> AllocError {
        match self.flow(QosSpec::RAW) {
            Ok(_) => panic!("it has a flow"),
            Err(error) => error,
        }
    }

    pub(crate) fn counted(&self, at: &Host, what: &str) -> u64 {
        at.stack().rib().get(&format!("node/{what}")).unwrap()
    }
}

const FAR: u64 = 4_000_000_000;

/// An authority, and a certificate of it, that are valid now as well.
pub(crate) fn store_for_long() -> Arc<TrustStore> {
    let authority = key(AUTHORITY);
    let authority = Wanted::authority("authority 1", &authority).validity(NOW - DAY, FAR).issue_to_itself(&authority);
    let mut store = TrustStore::new();
    assert!(store.add_authorities(pem(&authority).as_bytes()).unwrap().is_empty());
    Arc::new(store)
}

pub(crate) fn signed_for_long(name: &str) -> (Vec<u8>, PrivateKey) {
    signed_by(AUTHORITY, name, |wanted| wanted.validity(NOW - DAY, FAR))
}
