//! Two hosts, a flow between them, and what is written to it.

use std::time::Duration;

use o7s::settings::Limits;
use o7s::sim::{Host, Link, Network};
use o7s::{Listener, QosSpec, SecurityConfig, aio};

pub(crate) const CLIENT: &str = "10.0.0.1";
pub(crate) const SERVER: &str = "10.0.0.2";
pub(crate) const ENCRYPTED: &str = "X25519,aes-256-gcm";
pub(crate) const MIB: usize = 1 << 20;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) struct Ends {
    pub(crate) net: Network,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) listener: Listener,
}

impl Ends {
    pub(crate) fn new(seed: u64, link: Link, security: &str) -> Self {
        Self::with(seed, link, security, [Limits::default(), Limits::default()])
    }

    /// The limits are those of the client, and of the server.
    pub(crate) fn with(seed: u64, link: Link, security: &str, limits: [Limits; 2]) -> Self {
        let net = Network::new(seed);
        net.set_default_link(link);
        net.set_time_limit(Duration::from_secs(100_000));
        let security = if security.is_empty() { SecurityConfig::default() } else { security.parse().unwrap() };
        let [near, far] = limits;
        let host = |name: &str, at: &str, limits: Limits| {
            net.host(name).udp4(at).stack(|b| b.security(security.clone()).limits(limits)).build()
        };
        let (client, server) = (host("client", CLIENT, near), host("server", SERVER, far));
        let listener = server.listen("peer");
        Self { net, client, server, listener }
    }

    pub(crate) async fn connect(&self, qos: QosSpec) -> (aio::Flow, aio::Flow) {
        let from = self.client.stack().clone();
        let near = self.net.spawn(async move { from.flow("peer").qos(qos).alloc_async().await.unwrap() });
        let far = self.listener.accept_async().await.unwrap();
        (near.await, far)
    }

    /// Bytes of memory that packets hold at the server which wait for its applications, or a little more.
    pub(crate) fn held(&self) -> u64 {
        self.server.stack().rib().get("node/held_bytes").unwrap()
    }

    /// The same when the flows have had nothing to do for a while: what is charged in advance is given back then.
    pub(crate) fn held_at_rest(&self) -> u64 {
        self.net.run_for(ms(1000));
        self.held()
    }
}

/// The message number `n`, of `len` bytes: no two places of it look the same.
pub(crate) fn message(n: usize, len: usize) -> Vec<u8> {
    let mut state = (n as u32).wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Writes `count` messages of `len` bytes; the other end reads them, byte for byte. How long that takes.
pub(crate) async fn transfer(ends: &Ends, near: &aio::Flow, far: &aio::Flow, count: usize, len: usize) -> Duration {
    let (net, start, far) = (ends.net.clone(), ends.net.now(), far.as_blocking().into_async());
    let reader = ends.net.spawn(async move {
        for n in 0..count {
            let got = far.read_bytes().await.unwrap();
            assert!(got == message(n, len), "message {n}, {} bytes", got.len());
        }
        net.now()
    });
    for n in 0..count {
        assert_eq!(near.write(&message(n, len)).await, Ok(len));
    }
    reader.await.since(start)
}
