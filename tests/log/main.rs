//! Log records: what an operator is told, how much of it, and that a logger is code of others.
#![cfg(all(feature = "log", feature = "sim"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

mod collect;
#[path = "../world/elsewhere.rs"]
mod elsewhere;
mod foreign;
mod promised;
mod told;

use std::time::Duration;

use o7s::sim::{Host, Network};
use o7s::{QosSpec, SecurityConfig};

const SERVER: &str = "10.0.0.1";
const CLIENT: &str = "10.0.0.2";

/// A security configuration, in the format of the reference.
fn security(text: &str) -> SecurityConfig {
    SecurityConfig::from_enc_conf(text.as_bytes()).unwrap()
}

/// Two hosts with a UDP layer between them, whose names in records begin with `test`.
fn hosts(net: &Network, test: &str, security: SecurityConfig) -> (Host, Host) {
    let host = |role: &str, addr: &str| {
        net.host(&format!("{test}-{role}")).udp4(addr).stack(|stack| stack.security(security.clone())).build()
    };
    (host("server", SERVER), host("client", CLIENT))
}

/// A flow that carries `payload` there and back, and is closed at both ends.
fn echo(net: &Network, server: &Host, client: &Host, payload: &'static [u8]) {
    let listener = server.listen("echo");
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        let packet = flow.read_bytes().await.unwrap();
        flow.write(&packet).await.unwrap();
    });
    net.block_on(async {
        let flow = client.stack().flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap();
        flow.write(payload).await.unwrap();
        assert_eq!(&*flow.read_bytes().await.unwrap(), payload);
    });
    net.run_for(Duration::from_secs(5));
}
