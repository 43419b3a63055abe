//! N-1 flows whose other ends are in the hands of a test, which sees what is sent and says what arrives.

use std::sync::Arc;

use o7s::QosSpec;
use o7s::base::buf::BufPool;
use o7s::base::time::{Clock, Instant};
use o7s::flow::{Endpoint, Env, FlowKey, Host, Opening, Params, Port};
use o7s::ipcp::{Component, Connection};
use o7s::types::id::Address;

struct NoHost;

impl Host for NoHost {
    fn arm(&self, _: Instant, _: FlowKey) {}
    fn tick(&self, _: FlowKey) {}
    fn released(&self, _: FlowKey) {}
}

/// Surroundings of endpoints that do nothing.
pub(crate) fn env(clock: &Arc<dyn Clock>, pool: &Arc<BufPool>) -> Arc<Env> {
    Arc::new(Env {
        clock: Arc::clone(clock),
        pool: Arc::clone(pool),
        host: Arc::new(NoHost),
        panics: Arc::default(),
        inline: true,
    })
}

/// The near end of an N-1 flow over `port`.
pub(crate) fn endpoint(now: Instant, env: &Arc<Env>, key: u64, port: Arc<dyn Port>) -> Arc<Endpoint> {
    let endpoint = Endpoint::new(key, env);
    let params = Params {
        qos: QosSpec::NP1,
        frct: None,
        protection: None,
        peering: None,
        rx_limit: 1024,
        rx_bytes: 4 << 20,
        meter: None,
        opening: Opening::default(),
    };
    endpoint.activate(now, port, params);
    endpoint
}

/// A connection over it that we have asked for.
pub(crate) fn connection(component: Component, peer: Address, endpoint: &Arc<Endpoint>) -> Connection {
    let endpoint = Arc::clone(endpoint);
    let (versions, own_versions) = (Vec::new(), Vec::new());
    Connection { component, endpoint, peer, ours: true, versions, own_versions, early: Vec::new() }
}
