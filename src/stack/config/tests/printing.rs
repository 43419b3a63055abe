//! Printed configurations.

use super::good;
use crate::stack::config::NetworkConfig;
use crate::stack::config::error::Position;

/// A configuration without what depends on where things are in the file.
pub(super) fn content(mut config: NetworkConfig) -> NetworkConfig {
    let nowhere = Position { line: 0, column: 0 };
    config.names.iter_mut().for_each(|name| name.at = nowhere);
    config.ipcps.iter_mut().for_each(|ipcp| ipcp.at = nowhere);
    config.warnings.clear();
    config
}

#[test]
fn printed_configurations_parse_to_the_same() {
    let config = good(
        r#"
        [name."a \"b\" \u0007"]
        lb = "round-robin"
        prog = ["/usr/bin/oping", "c"]
        args = ["--listen  -v"]
        server_enc_file = "enc.conf"
        client_key_file = "key.pem"
        [udp4.u]
        bootstrap = "v4"
        ip = "10.0.0.1"
        port = 0
        dns = "10.0.0.2"
        [udp6.v]
        bootstrap = "v6"
        ip = "fd00::1"
        [udp6.w]
        bootstrap = "link"
        ip = "fe80::1%eth0"
        [eth-dix.d]
        bootstrap = "dix"
        dev = "eth0"
        ethertype = 0x0800
        hash = "SHA3_512"
        [eth-llc.e]
        bootstrap = "llc"
        dev = "eth1"
        [unicast.n]
        bootstrap = "net"
        autobind = true
        detection = 500
        reg = ["x", "y"]
        routing = "ecmp"
        congestion = "none"
        max_ttl = 3
        dht_k = 20
        ls_t_update = 5
        [unicast.m]
        enrol = "n"
        conn = ["n"]
        conn_over = ["u", "v"]
        [broadcast.b]
        bootstrap = "news"
        [local.l]
        "#,
    );
    let printed = config.to_string();
    assert_eq!(content(good(&printed)), content(config), "{printed}");
}
