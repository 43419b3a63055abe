//! The switch: what it says when it cannot work, and a flow through it.

use std::io::Write as _;

use super::*;

#[test]
fn a_switch_says_what_it_needs() {
    let output = program("switch").arg("lo").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "one interface is none to switch between");
    let output = program("switch").args(["lo", "lo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "error: lo is given twice: a frame would come back to where it is from\n");
    let output = program("switch").args(["nosuch0", "nosuch1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.starts_with("error: nosuch0: "), "{said}");
    assert!(said.contains("no network interface of this name") || said.contains("CAP_NET_RAW"), "{said}");
}

/// Two cables, whose near ends the switch connects, and a program at each far end. Whatever fails, nothing is left running: it would
/// keep the output open.
const SCENE: &str = "
set -e
said=$(mktemp -d)
trap 'kill $switch $server 2> /dev/null || true; cat $said/*; rm -r $said' EXIT
says() {
    until grep -q \"$1\" $said/$2; do
        kill -0 $3
        sleep 0.05
    done
}
for port in a b; do
    ip link add near-$port type veth peer name far-$port
    for end in near-$port far-$port; do
        echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6 || true
        ip link set $end up
    done
done
$SWITCH near-a near-b > $said/switch & switch=$!
$OPING --listen --eth-dix far-b > $said/server & server=$!
says 'Switching between' switch $switch
says 'server started' server $server
$OPING -n oping --eth-dix far-a -c 3 -i 10ms -q data
kill $server
wait $server || true
kill $switch
wait $switch
";

#[test]
fn flows_pass_through_a_switch() {
    let mut command = Command::new("unshare");
    let path = |name| program(name).get_program().to_owned();
    command.env("SWITCH", path("switch")).env("OPING", path("oping")).stdin(Stdio::null());
    let unshare = |options: &[&str]| {
        Command::new("unshare")
            .args(options)
            .args(["--", "ip", "link", "add", "va", "type", "veth", "peer", "name", "vb"])
            .output()
    };
    let ways: [&[&str]; 2] = [&["--net", "--kill-child"], &["--map-root-user", "--net", "--kill-child"]];
    let Some(way) = ways.iter().find(|way| unshare(way).is_ok_and(|output| output.status.success())) else {
        // Past the capture of the test harness.
        let _ = writeln!(std::io::stderr().lock(), "skipped: needs root or user namespaces, and iproute2");
        return;
    };
    let output = command.args(*way).args(["--", "sh", "-c", SCENE]).output().unwrap();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("Switching between near-a, near-b."), "{said}");
    assert!(said.contains("3 packets transmitted, 3 received"), "{said}");
    for port in ["near-a", "near-b"] {
        assert!(said.contains(&format!(" is at {port}\n")), "{said}");
        let counts =
            said.lines().find(|line| line.starts_with(&format!("{port}: "))).unwrap_or_else(|| panic!("{said}"));
        assert!(counts.contains(" sent, 0 dropped") && !counts.contains(": 0 frames received"), "{counts}");
    }
}
