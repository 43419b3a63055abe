//! Layers over UDP/IPv6 with sockets of the operating system.

use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use o7s::resolve::HostTable;
use o7s::{Name, QosSpec, Stack, StackError, Udp4, Udp6};

use super::{QOS, echo_once, secure};

/// Whether the host has IPv6; says so past the capture of the harness if not.
fn has_ipv6() -> bool {
    let bound = UdpSocket::bind("[::1]:0");
    if let Err(error) = &bound {
        let _ = writeln!(std::io::stderr().lock(), "skipped: no IPv6 here: {error}");
    }
    bound.is_ok()
}

/// Sends packets of some sizes to "echo" and back.
fn round_trips(client: &Stack, server: &Stack, qos: QosSpec, sizes: &[usize]) {
    let echo = echo_once(server);
    let flow = client.flow("echo").qos(qos).timeout(Duration::from_secs(20)).alloc().unwrap();
    let mut buf = [0; 2048];
    for size in sizes {
        flow.write(&vec![7; *size]).unwrap();
        assert_eq!(flow.read_timeout(&mut buf, Duration::from_secs(20)).unwrap(), *size);
    }
    flow.write(b"bye").unwrap();
    drop(echo.join().unwrap());
}

#[test]
fn flows_over_ipv6() {
    if !has_ipv6() {
        return;
    }
    for config in secure() {
        let server = Stack::builder().security(config.clone()).build().unwrap();
        let net = server.udp6(Udp6::bind("[::1]:0")).unwrap();
        net.register("echo").unwrap();
        let client = Stack::builder().security(config.clone()).build().unwrap();
        let addr = net.local_addr().unwrap();
        assert!(addr.is_ipv6() && addr.ip().is_loopback());
        client.udp6(Udp6::outgoing("::1").host("echo", &addr.to_string())).unwrap();
        for qos in QOS {
            round_trips(&client, &server, qos, &[1, 64, 1400, 2048]);
        }
    }
}

#[test]
fn a_server_at_all_addresses_answers_from_the_one_that_was_asked() {
    if !has_ipv6() {
        return;
    }
    let server = Stack::new().unwrap();
    let net = server.udp6(Udp6::bind("[::]:0").dual_stack(true)).unwrap();
    net.register("echo").unwrap();
    let port = net.local_addr().unwrap().port();
    // Replies and data from any other address would not count.
    let client = Stack::new().unwrap();
    client.udp6(Udp6::outgoing("::1").host("echo", &format!("[::1]:{port}"))).unwrap();
    round_trips(&client, &server, QosSpec::DATA, &[64]);
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let client = Stack::new().unwrap();
        client.udp4(Udp4::outgoing("127.0.0.1").host("echo", &format!("{ip}:{port}"))).unwrap();
        round_trips(&client, &server, QosSpec::DATA, &[64]);
        // The other way round: who has a dual socket calls hosts of either family.
        let dual = Stack::new().unwrap();
        let at = format!("::ffff:{ip}");
        dual.udp6(Udp6::outgoing("::").dual_stack(true).host("echo", &format!("[{at}]:{port}"))).unwrap();
        round_trips(&dual, &server, QosSpec::RAW, &[64]);
    }
}

#[test]
fn a_stack_is_in_layers_of_both_families_at_one_port() {
    if !has_ipv6() {
        return;
    }
    let server = Stack::new().unwrap();
    let six = server.udp6(Udp6::bind("[::]:0")).unwrap();
    let port = six.local_addr().unwrap().port();
    let four = server.udp4(Udp4::bind(&format!("0.0.0.0:{port}"))).unwrap();
    six.register("echo").unwrap();
    four.register("echo").unwrap();
    let (table, name) = (HostTable::new(), Name::new("echo").unwrap());
    table.insert_at(&name, SocketAddr::new("127.0.0.1".parse().unwrap(), port));
    table.insert_at(&name, SocketAddr::new("::1".parse().unwrap(), port));
    let clients: [fn(&Stack, &Arc<HostTable>); 3] = [
        |stack, table| drop(stack.udp4(Udp4::outgoing("127.0.0.1").table(table)).unwrap()),
        |stack, table| drop(stack.udp6(Udp6::outgoing("::1").table(table)).unwrap()),
        |stack, table| {
            stack.udp4(Udp4::outgoing("127.0.0.1").table(table)).unwrap();
            stack.udp6(Udp6::outgoing("::1").table(table)).unwrap();
        },
    ];
    for join in clients {
        let client = Stack::new().unwrap();
        join(&client, &table);
        round_trips(&client, &server, QosSpec::DATA, &[64]);
    }
}

#[test]
fn wrong_addresses_are_refused_with_a_reason() {
    let stack = Stack::new().unwrap();
    assert!(matches!(stack.udp6(Udp6::bind("127.0.0.1")), Err(StackError::NotIpv6(_))));
    assert!(matches!(stack.udp6(Udp6::bind("::ffff:127.0.0.1")), Err(StackError::NotIpv6(_))));
    assert!(matches!(stack.udp4(Udp4::bind("::1")), Err(StackError::NotIpv4(_))));
    assert!(matches!(stack.udp6(Udp6::bind("fe80::1")), Err(StackError::LinkLocal(_))));
    assert!(matches!(stack.udp6(Udp6::bind("fe80::1%no such if")), Err(StackError::NoInterface(_))));
    assert!(matches!(stack.udp6(Udp6::bind("::1%lo")), Err(StackError::Address(_))));
    let elsewhere = Udp4::bind("127.0.0.1:0").interface("no such if");
    assert!(matches!(stack.udp4(elsewhere), Err(StackError::NoInterface(_))));
}

#[cfg(unix)]
#[test]
fn two_stacks_share_a_port_only_if_both_say_so() {
    let [one, other] = [Stack::new().unwrap(), Stack::new().unwrap()];
    let first = one.udp4(Udp4::bind("127.0.0.1:0").share_port(true)).unwrap();
    let addr = first.local_addr().unwrap().to_string();
    assert!(matches!(other.udp4(Udp4::bind(&addr)), Err(StackError::Bind { .. })));
    other.udp4(Udp4::bind(&addr).share_port(true)).unwrap();
}
