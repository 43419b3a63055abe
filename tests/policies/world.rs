//! Two hosts of a simulated network, an authority, and certificates of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use o7s::certificate::{Certificate, Credentials, TrustStore};
use o7s::keys::PrivateKey;
use o7s::sim::{EPOCH_UNIX_NANOS, Host, Link, Network};
use o7s::{AllocError, Builder, Kex, QosSpec, SecurityConfig, Udp4, aio};

use crate::collect;
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
    /// The name of the server's stack in log records.
    log: String,
}

impl Two {
    pub(crate) fn new(server: SecurityConfig, client: SecurityConfig) -> Self {
        Self::of(|stack| stack.security(server), |stack| stack.security(client))
    }

    pub(crate) fn of(server: impl FnOnce(Builder) -> Builder, client: impl FnOnce(Builder) -> Builder) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        collect::install();
        let log = format!("vault {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let net = Network::new(20);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        let at = |address| {
            let host = net.host(if address == SERVER { "server" } else { "client" });
            let udp = Udp4::bind(address).table(net.names());
            let name = if address == SERVER { log.as_str() } else { "client" };
            host.udp4_with(address, udp).stack(|stack| stack.name(name))
        };
        let (server, client) = (at(SERVER).stack(server).build(), at(CLIENT).stack(client).build());
        Self { net, server, client, log }
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

    /// Records of the server so far.
    pub(crate) fn log_of_the_server(&self) -> Vec<String> {
        collect::take(&self.log).into_iter().map(|record| record.all()).collect()
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

/// The certificate of the authority, in PEM.
pub(crate) fn authority_pem() -> String {
    pem(&authority(AUTHORITY))
}

/// A private key in PEM.
pub(crate) fn key_pem(number: u8) -> String {
    use crate::issue::{sequence, tlv};
    let private = sequence(&[&tlv(2, &[1]), &tlv(4, &[number; 32])]);
    let algorithm = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    pem(&sequence(&[&tlv(2, &[0]), algorithm, &tlv(4, &private)])).replace("CERTIFICATE", "PRIVATE KEY")
}

/// Certificate and key of `name` in PEM.
pub(crate) fn files_of(name: &str) -> (String, String) {
    (pem(&signed_by(AUTHORITY, name, |wanted| wanted).0), key_pem(100 + name.len() as u8))
}

/// A directory with files, until it is dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = Self(std::env::temp_dir().join(format!("o7s-policies-{}-{number}", std::process::id())));
        std::fs::create_dir_all(&folder.0).unwrap();
        files.iter().for_each(|(path, content)| folder.write(path, content));
        folder
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.0.join(path);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }

    /// Certificate and key for one side of `destination`, of `name`.
    pub(crate) fn identity(&self, side: &str, destination: &str, name: &str) {
        let (certificate, key) = files_of(name);
        self.write(&format!("{side}/{destination}/crt.pem"), &certificate);
        self.write(&format!("{side}/{destination}/key.pem"), &key);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
