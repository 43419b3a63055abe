//! The same over UDP/IPv6: with the reference, and between link-local addresses, which only o7s can use.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::{Family, Net, View, wait_for};
use crate::{BOTH_WAYS, EVERY_QOS, Load, PING_LIMIT, PINGS, Who, on_path, ping_replies, rows, run_all, say};

type Encryption = Option<(&'static str, &'static str)>;

const ENCRYPTED: Encryption = Some(("prime256v1", "aes-256-gcm"));

fn over_ipv6(ways: &[(Who, Who)], loads: &[Load], encrypt: &[Encryption]) {
    let mut rows = rows(ways, loads, encrypt);
    rows.iter_mut().for_each(|row| row.family = Family::V6);
    run_all(&rows);
}

#[test]
fn plain_flows_over_ipv6() {
    over_ipv6(&BOTH_WAYS, &EVERY_QOS, &[None]);
}

#[test]
fn encrypted_flows_over_ipv6() {
    over_ipv6(&BOTH_WAYS, &EVERY_QOS, &[ENCRYPTED]);
}

#[test]
fn bulk_transfer_over_ipv6() {
    over_ipv6(&BOTH_WAYS, &[Load::Bulk], &[None, ENCRYPTED]);
}

/// The harness and the reference without us.
#[test]
#[ignore = "tests the bench, not o7s"]
fn control_over_ipv6() {
    over_ipv6(&[(Who::Reference, Who::Reference)], &EVERY_QOS, &[None, ENCRYPTED]);
}

/// Two hosts with nothing but o7s, and where its programs are. Nothing, and a line about it, where there can be none.
fn hosts() -> Option<(Net, PathBuf)> {
    let skip = |why: &str| {
        say(&format!("skipped: {why}"));
        None
    };
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let missing: Vec<_> = crate::net::TOOLS.into_iter().filter(|tool| !on_path(tool)).collect();
    if !root || !missing.is_empty() {
        return skip(&format!("needs root and iproute2 (missing: {})", missing.join(" ")));
    }
    let exe = std::env::current_exe().expect("the test knows where it is");
    let profile = exe.ancestors().nth(2).expect("the test lies in the target directory").to_owned();
    let private = profile.join("interop-private");
    let net = Net::start(&View { programs: vec![profile.clone()], private }).expect("two hosts can be made");
    if net.near.must(&["test", "-e", "/proc/sys/net/ipv6/conf/wire"]).is_err() {
        return skip("the kernel has no IPv6");
    }
    Some((net, profile.join("examples")))
}

/// A second wire with the same address at its far end as the first: only the interface tells the peers apart.
fn with_second_wire(net: &Net) -> io::Result<()> {
    for host in [&net.near, &net.far] {
        // Nothing but link-local addresses, and those that are wanted.
        host.must(&["ip", "-6", "addr", "flush", "dev", "wire"])?;
        host.must(&["ip", "-4", "addr", "flush", "dev", "wire"])?;
    }
    net.near.must(&["ip", "link", "add", "other", "type", "veth", "peer", "name", "nowhere"])?;
    net.near.must(&["ip", "link", "set", "nowhere", "up"])?;
    net.near.must(&["ip", "link", "set", "other", "up"])?;
    net.near.must(&["ip", "addr", "add", "fe80::1/64", "dev", "wire", "nodad"])?;
    net.near.must(&["ip", "addr", "add", "fe80::1/64", "dev", "other", "nodad"])?;
    net.far.must(&["ip", "addr", "add", "fe80::2/64", "dev", "wire", "nodad"])
}

/// Pings "oping" at the far host, whose server is at `server`, from `client`, calling it at `host`.
fn ping(net: &Net, programs: &std::path::Path, server: &str, client: &str, host: &str, qos: &str) -> io::Result<usize> {
    let oping = programs.join("oping");
    assert!(oping.exists(), "{} is missing: run cargo build --profile test --bins --examples", oping.display());
    let oping = oping.to_string_lossy();
    let service = net.far.spawn(&[&oping, "--listen", "--udp6", server])?;
    let serves = wait_for(Duration::from_secs(5), || service.output().contains("Serving").then_some(()));
    assert!(serves.is_some(), "the server did not start: {}", service.output());
    let (count, host) = (PINGS.to_string(), format!("oping={host}"));
    // Larger than the path's MTU with all headers: the kernel has to cut them up, which of IPv6 it is only told to.
    let size = "1500";
    let argv =
        [&oping, "-n", "oping", "-c", &count, "-i", "20ms", "-q", qos, "-s", size, "--udp6", client, "--host", &host];
    let done = net.near.run(PING_LIMIT, &argv)?;
    net.far.end(&service)?;
    let replies = ping_replies(&done.output);
    if replies < PINGS {
        say(&format!("{}\n{}", done.output, net.logs()));
    }
    Ok(replies)
}

#[test]
fn link_local_peers_are_reached_over_their_interface() {
    let _alone = crate::SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some((net, programs)) = hosts() else { return };
    with_second_wire(&net).expect("the hosts have wires");
    for (server, client, host) in [
        ("fe80::2%wire", "fe80::1%wire", "fe80::2%wire"),
        // Bound to all addresses; the reply comes from the one that was asked.
        ("::", "::", "fe80::2%wire"),
        // The interface of a member stands for that of the others.
        ("[fe80::2%wire]:4000", "fe80::1%wire", "[fe80::2]:4000"),
    ] {
        for qos in ["raw", "data"] {
            let replies = ping(&net, &programs, server, client, host, qos).expect("programs run");
            say(&format!("interop: link-local | {client} -> {host} | {qos} | {replies}/{PINGS}"));
            assert_eq!(replies, PINGS, "{server} {client} {host} {qos}");
        }
    }
}

#[test]
fn the_second_address_of_an_interface_answers_for_itself() {
    let _alone = crate::SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some((net, programs)) = hosts() else { return };
    net.far.must(&["ip", "addr", "add", "fd09::22/64", "dev", "wire", "nodad"]).expect("a second address");
    for host in ["fd09::2", "fd09::22"] {
        let replies = ping(&net, &programs, "::", "fd09::1", host, "data").expect("programs run");
        assert_eq!(replies, PINGS, "{host}");
    }
}

#[test]
fn a_flow_survives_the_loss_of_its_own_address() {
    let _alone = crate::SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some((net, programs)) = hosts() else { return };
    // The first is the one that the kernel takes for the way to the far host.
    net.near.must(&["ip", "addr", "add", "fd09::11/64", "dev", "wire", "nodad"]).expect("a second address");
    let oping = programs.join("oping");
    let oping = oping.to_string_lossy();
    let server = net.far.spawn(&[&oping, "--listen", "--udp6", "::"]).expect("programs run");
    let serves = wait_for(Duration::from_secs(5), || server.output().contains("Serving").then_some(()));
    assert!(serves.is_some(), "the server did not start: {}", server.output());
    let argv =
        [&*oping, "-n", "oping", "-c", "8", "-i", "200ms", "-q", "data", "--udp6", "::", "--host", "oping=fd09::2"];
    let client = net.near.spawn(&argv).expect("programs run");
    let flows = wait_for(Duration::from_secs(5), || client.output().contains("seq=1 ").then_some(()));
    assert!(flows.is_some(), "no flow: {}", client.output());
    net.near.must(&["ip", "addr", "del", "fd09::1/64", "dev", "wire"]).expect("an address to be taken away");
    let ended = wait_for(Duration::from_secs(15), || client.ended());
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {}", client.output());
    assert_eq!(ping_replies(&client.output()), 8, "{}", client.output());
}

#[test]
fn a_host_without_ipv6_says_so() {
    let _alone = crate::SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some((net, programs)) = hosts() else { return };
    net.near
        .must(&["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"])
        .expect("IPv6 can be switched off");
    let oping = programs.join("oping");
    let oping = oping.to_string_lossy();
    for address in ["fd09::1", "::1"] {
        let done = net.near.run(PING_LIMIT, &[&oping, "--listen", "--udp6", address]).expect("programs run");
        assert!(!done.success() && done.output.contains("could not be bound"), "{}", done.output);
    }
    // The other family is not affected.
    let service = net.near.spawn(&[&oping, "--listen", "--udp4", "10.9.0.1"]).expect("programs run");
    let serves = wait_for(Duration::from_secs(5), || service.output().contains("Serving").then_some(()));
    assert!(serves.is_some(), "{}", service.output());
}
