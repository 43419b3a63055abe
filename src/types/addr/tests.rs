use alloc::format;
use alloc::string::ToString as _;

use proptest::prelude::*;

use super::*;

fn interfaces(name: &str) -> Option<u32> {
    [("lo", 1), ("eth0", 2), ("eth0.7", 9), ("br:0", 11)].iter().find(|(n, _)| *n == name).map(|(_, i)| *i)
}

fn read(text: &str) -> Result<SocketAddr, AddrError> {
    parse(text, 3435, interfaces)
}

fn v6(ip: &str, port: u16, scope: u32) -> SocketAddr {
    SocketAddrV6::new(ip.parse().unwrap(), port, 0, scope).into()
}

#[test]
fn addresses_are_read_with_port_and_interface() {
    for (text, expected) in [
        ("10.0.0.1", SocketAddr::from(([10, 0, 0, 1], 3435))),
        ("10.0.0.1:7", SocketAddr::from(([10, 0, 0, 1], 7))),
        ("::1", v6("::1", 3435, 0)),
        ("[::1]", v6("::1", 3435, 0)),
        ("[::1]:7", v6("::1", 7, 0)),
        ("fe80::1", v6("fe80::1", 3435, 0)),
        ("fe80::1%eth0", v6("fe80::1", 3435, 2)),
        ("[fe80::1%eth0.7]", v6("fe80::1", 3435, 9)),
        ("[fe80::1%br:0]:7", v6("fe80::1", 7, 11)),
        ("fe80::1%42", v6("fe80::1", 3435, 42)),
        ("[fe80::1%42]:0", v6("fe80::1", 0, 42)),
        ("::ffff:10.0.0.1", SocketAddr::from(([10, 0, 0, 1], 3435))),
        ("[::ffff:10.0.0.1]:7", SocketAddr::from(([10, 0, 0, 1], 7))),
    ] {
        assert_eq!(read(text), Ok(expected), "{text}");
    }
}

#[test]
fn texts_that_are_no_addresses_are_refused() {
    for text in [
        "",
        "%",
        "10.0.0.1%eth0",
        "::1%eth0",
        "fe80::1%",
        "[fe80::1%eth0",
        "[fe80::1%eth0]7",
        "[fe80::1%eth0]:",
        "[fe80::1%eth0]:65536",
        "[fe80::1%eth0]:+7",
        "[fe80::1]%eth0",
        "host",
        "[10.0.0.1%eth0]:7",
    ] {
        assert_eq!(read(text), Err(AddrError::Malformed), "{text}");
    }
    for text in ["fe80::1%eth1", "[fe80::1%eth1]:7", "fe80::1%0", "fe80::1%4294967296", "fe80::1%-1"] {
        assert_eq!(read(text), Err(AddrError::Interface), "{text}");
    }
}

#[test]
fn one_peer_has_one_spelling() {
    let mapped = v6("::ffff:10.0.0.1", 7, 3);
    assert_eq!(canonical(mapped), SocketAddr::from(([10, 0, 0, 1], 7)));
    let labelled = SocketAddrV6::new("fd00::1".parse().unwrap(), 7, 0x1234, 5).into();
    assert_eq!(canonical(labelled), v6("fd00::1", 7, 0));
    let local = SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0x1234, 5).into();
    assert_eq!(canonical(local), v6("fe80::1", 7, 5), "another link has another fe80::1");
    assert!(lacks_scope(&v6("fe80::1", 7, 0)) && !lacks_scope(&local) && !lacks_scope(&v6("fd00::1", 7, 0)));
    assert_eq!(with_scope(v6("fe80::1", 7, 0), 4), v6("fe80::1", 7, 4));
    assert_eq!(with_scope(local, 4), local);
    assert_eq!(with_scope(v6("fd00::1", 7, 0), 4), v6("fd00::1", 7, 0));
}

#[test]
fn devices_send_to_addresses_of_their_families() {
    let (four, six) = (SocketAddr::from(([10, 0, 0, 1], 7)), v6("::1", 7, 0));
    let have = |families: Families| [families.have(&four), families.have(&six)];
    assert_eq!(have(Families::of(four, false)), [true, false]);
    assert_eq!(have(Families::of(six, false)), [false, true]);
    assert_eq!(have(Families::of(six, true)), [true, true]);
    // What a dual socket says of itself when it is bound to an IPv4 address.
    assert_eq!(have(Families::of(v6("::ffff:10.0.0.1", 7, 0), true)), [true, false]);
}

proptest! {
    #[test]
    fn printed_addresses_are_read_as_the_same(bits: u128, link_local: bool, port: u16, scope in 1_u32..) {
        let ip = Ipv6Addr::from_bits(if link_local { (0xfe80 << 112) | (bits & u128::from(u64::MAX)) } else { bits });
        let addr = canonical(SocketAddrV6::new(ip, port, 0, scope).into());
        prop_assert_eq!(read(&addr.to_string()), Ok(addr));
        if link_local {
            prop_assert_eq!(scope_of(&addr), scope);
            prop_assert_eq!(read(&format!("{ip}%{scope}")), Ok(SocketAddrV6::new(ip, 3435, 0, scope).into()));
        }
        prop_assert_eq!(canonical(addr), addr);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = read(&text);
    }
}
