//! Clients and servers of one host.

use std::sync::LazyLock;

use super::*;

/// The port of UDP layers at the loopback addresses, held until the tests end. If that fails, somebody else has it.
static TAKEN: LazyLock<[std::io::Result<UdpSocket>; 2]> =
    LazyLock::new(|| ["127.0.0.1:3435", "[::1]:3435"].map(UdpSocket::bind));

/// Calls a server at `at` once, from the address that `own` says.
fn ping(own: [&str; 2], at: &str) -> Output {
    let host = format!("oping={at}");
    program("oping").args(["-c", "1", "-i", "10ms"]).args(own).args(["--host", &host]).output().unwrap()
}

#[test]
fn clients_take_any_port_if_that_of_the_layer_is_in_use() {
    LazyLock::force(&TAKEN);
    let server = Server::start("oping", &[], None);
    let output = ping(["--udp4", "127.0.0.1"], &server.addr);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn clients_and_servers_share_an_ipv6_address() {
    if UdpSocket::bind("[::1]:0").is_err() {
        skipped("this host has no IPv6");
        return;
    }
    LazyLock::force(&TAKEN);
    let (_server, mut lines) = start(program("oping").args(["--listen", "--udp6", "[::1]:0"]));
    let first = lines.next().unwrap().unwrap();
    let at = first.rsplit_once(" at ").unwrap().1.trim_end_matches('.').to_owned();
    let output = ping(["--udp6", "::1"], &at);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn servers_keep_to_the_port_of_the_layer() {
    LazyLock::force(&TAKEN);
    let output = program("oping").args(["--listen", "--udp4", "127.0.0.1"]).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("127.0.0.1:3435") && error.contains("give another port"), "{error}");
}
