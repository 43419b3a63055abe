//! What the scenarios in virtual time share: two hosts, flows between them, and data that can be checked.

#![allow(dead_code, reason = "each test target uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

use core::time::Duration;

use o7s::base::rng::Rng;
use o7s::sim::{Host, Link, Network};
use o7s::{AllocError, Listener, QosSpec, aio};

pub(crate) const CLIENT: &str = "10.0.0.1";
pub(crate) const SERVER: &str = "10.0.0.2";
pub(crate) const ENCRYPTED: &str = "X25519,aes-256-gcm";

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Two hosts in a world, and a name that the server accepts flows for.
pub(crate) struct Pair {
    pub(crate) net: Network,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) listener: Listener,
}

impl Pair {
    /// Both hosts encrypt every flow as `security` says, if it says anything.
    pub(crate) fn new(seed: u64, link: Link, security: &str) -> Self {
        let net = Network::new(seed);
        net.set_default_link(link);
        let host = |name: &str, addr: &str| {
            let builder = net.host(name).udp4(addr);
            match security {
                "" => builder.build(),
                text => builder.stack(|s| s.security(text.parse().unwrap())).build(),
            }
        };
        let (client, server) = (host("client", CLIENT), host("server", SERVER));
        let listener = server.listen("service");
        Self { net, client, server, listener }
    }

    /// A flow from the client to the server: both ends. Tries again when the layer is too bad for the first request.
    pub(crate) async fn connect(&self, qos: QosSpec) -> (aio::Flow, aio::Flow) {
        for _ in 0..20 {
            let request = self.client.stack().flow("service").qos(qos).timeout(secs(30)).alloc_async();
            let mut accept = core::pin::pin!(self.net.timeout(secs(31), self.listener.accept_async()));
            let Ok(near) = join(request, &mut accept).await else { continue };
            return near;
        }
        panic!("no flow in twenty attempts");
    }
}

/// Waits for both; the client's failure ends the attempt.
async fn join<E: core::fmt::Debug>(
    request: impl Future<Output = Result<aio::Flow, AllocError>>,
    accept: impl Future<Output = Result<Result<aio::Flow, E>, o7s::sim::Elapsed>> + Unpin,
) -> Result<(aio::Flow, aio::Flow), AllocError> {
    let mut request = core::pin::pin!(request);
    let mut accept = accept;
    let (mut near, mut far) = (None, None);
    core::future::poll_fn(|cx| {
        use core::task::Poll;
        if near.is_none()
            && let Poll::Ready(flow) = request.as_mut().poll(cx)
        {
            near = Some(flow?);
        }
        if far.is_none()
            && let Poll::Ready(flow) = core::pin::Pin::new(&mut accept).poll(cx)
        {
            far = Some(flow.expect("somebody asked").expect("the listener is open"));
        }
        match (near.take(), far.take()) {
            (Some(n), Some(f)) => Poll::Ready(Ok((n, f))),
            (n, f) => {
                (near, far) = (n, f);
                Poll::Pending
            }
        }
    })
    .await
}

/// Pseudo-random messages that sender and receiver make alike.
pub(crate) struct Script {
    rng: Rng,
    left: usize,
    largest: usize,
}

impl Script {
    /// `total` bytes in messages of 1 to `largest` bytes.
    pub(crate) fn new(net: &Network, purpose: &str, total: usize, largest: usize) -> Self {
        Self { rng: net.rng(purpose), left: total, largest }
    }
}

impl Iterator for Script {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.left == 0 {
            return None;
        }
        // Mostly full messages, as bulk data has; now and then a short one.
        let len = if self.rng.chance(0.9) { self.largest } else { 1 + self.rng.below(self.largest as u64) as usize };
        let mut message = vec![0; len.min(self.left)];
        self.left -= message.len();
        self.rng.fill(&mut message);
        Some(message)
    }
}

/// Writes the whole script.
pub(crate) async fn send(flow: &aio::Flow, script: Script) {
    for message in script {
        assert_eq!(flow.write(&message).await, Ok(message.len()));
    }
}

/// Reads the whole script, message by message.
pub(crate) async fn expect(flow: &aio::Flow, script: Script) {
    for (i, message) in script.enumerate() {
        let got = flow.read_bytes().await.unwrap_or_else(|e| panic!("message {i}: {e}"));
        assert!(got[..] == message[..], "message {i}: {} bytes, {} sent", got.len(), message.len());
    }
}

pub(crate) mod layer;
pub(crate) mod mix;
