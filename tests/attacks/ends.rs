//! Two ends of an exchange, and an attacker between them who changes what they say. What servers of simulated networks do besides.

use std::cell::RefCell;
use std::rc::Rc;

use o7s::aio;
use o7s::base::rng::Randomness;
use o7s::oap::client::Client;
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::oap::{OapError, Outcome, SecurityConfig};
use o7s::sim::{Host, Network};
use o7s::types::name::Name;

/// Seconds since 1970: when the tests take place, and what certificates of tests are valid at.
pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const NOW: u64 = crate::issue::NOW * SECOND;

/// Who refused, and why; or both outcomes.
#[derive(Debug)]
pub(crate) enum End {
    Server(OapError),
    Client(OapError),
    Both(Box<(Outcome, Outcome)>),
}

impl End {
    /// Both have a flow, and the same key for it.
    pub(crate) fn is_flow(&self) -> bool {
        matches!(self, Self::Both(ends) if ends.0.protection == ends.1.protection)
    }

    /// Both take it that they have a flow, but with two keys: no packet opens.
    pub(crate) fn is_deaf(&self) -> bool {
        matches!(self, Self::Both(ends) if ends.0.protection != ends.1.protection)
    }
}

/// A client and a server, by their settings.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) client: SecurityConfig,
    pub(crate) server: SecurityConfig,
}

impl Ends {
    pub(crate) fn new(client: SecurityConfig, server: SecurityConfig) -> Self {
        Self { client, server }
    }

    /// Both with the same settings.
    pub(crate) fn alike(config: &SecurityConfig) -> Self {
        Self::new(config.clone(), config.clone())
    }

    /// A client that has sent its request to "bank", always the same one.
    pub(crate) fn asked(&self) -> (Client, Vec<u8>) {
        let mut rng = Randomness::from_seed([3; 32]);
        let (client, sent) = Client::start(NOW, &self.client, b"hello", &mut rng).unwrap();
        (client.with_name(&bank()), sent)
    }

    /// A server's answer to the first request that it gets.
    pub(crate) fn answer(&self, request: &[u8]) -> Result<(Vec<u8>, Outcome), OapError> {
        let mut rng = Randomness::from_seed([4; 32]);
        let checked = Request::check(NOW, request, &mut ReplayCache::default())?;
        checked.accept(&self.server)?.with_name(&bank()).respond(NOW, b"welcome", 0, &mut rng)
    }

    /// The exchange, with what becomes of the two messages on their way.
    pub(crate) fn exchange(&self, request: &dyn Fn(&mut Vec<u8>), response: &dyn Fn(&mut Vec<u8>)) -> End {
        let (client, mut sent) = self.asked();
        request(&mut sent);
        let (mut answer, there) = match self.answer(&sent) {
            Ok(done) => done,
            Err(error) => return End::Server(error),
        };
        response(&mut answer);
        match client.complete(&answer) {
            Ok(here) => End::Both(Box::new((here, there))),
            Err(error) => End::Client(error),
        }
    }
}

/// Something is weaker than configured: `what`, as the message says it.
pub(crate) fn is_weak(error: &OapError, what: &str) -> bool {
    let text = error.to_string();
    text.starts_with(&format!("the peer's {what} is ")) && text.contains("weaker than")
}

/// The name that is asked for.
pub(crate) fn bank() -> Name {
    "bank".parse().unwrap()
}

pub(crate) fn unchanged(_: &mut Vec<u8>) {}

pub(crate) fn set(at: usize, value: u16) -> impl Fn(&mut Vec<u8>) {
    move |bytes| bytes[at..at + 2].copy_from_slice(&value.to_be_bytes())
}

pub(crate) fn flip(at: usize) -> impl Fn(&mut Vec<u8>) {
    move |bytes| bytes[at] ^= 1
}

/// What is done, and what must come of it.
pub(crate) type Case = (&'static str, Box<dyn Fn(&mut Vec<u8>)>, fn(&End) -> bool);

pub(crate) fn check(cases: Vec<Case>, of: impl Fn(&dyn Fn(&mut Vec<u8>)) -> End) {
    for (what, change, is_expected) in cases {
        let end = of(&*change);
        assert!(is_expected(&end), "{what}: {end:?}");
    }
}

/// Accepts whatever comes to "vault" at this host, and keeps it.
pub(crate) fn serve(net: &Network, server: &Host) -> Rc<RefCell<Vec<aio::Flow>>> {
    let (listener, flows) = (server.listen("vault"), Rc::default());
    let kept: Rc<RefCell<Vec<aio::Flow>>> = Rc::clone(&flows);
    net.spawn(async move {
        while let Ok(flow) = listener.accept_async().await {
            kept.borrow_mut().push(flow);
        }
    });
    flows
}

/// A counter of the host's node.
pub(crate) fn count(host: &Host, what: &str) -> u64 {
    host.stack().rib().get(&format!("node/{what}")).unwrap()
}
