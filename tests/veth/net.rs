//! Namespaces, interfaces, and frames on them.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use o7s::device::{BufCache, BufPool, Frames, Mac, PacketSocket};

pub(crate) use crate::elsewhere::{BOUND, wait_until};

/// Says that the process is the one in the namespace.
const SWITCH: &str = "O7S_VETH";

/// The type of the frames that the tests send, and one that they do not want.
pub(crate) const TYPE: u16 = 0xa000;
pub(crate) const OTHER: u16 = 0x88b5;

/// Runs a test in a namespace where `va` and `vb` are the ends of a cable, both up, with an MTU of 1500.
pub(crate) fn on_cable<F: FnOnce()>(test: F) {
    if std::env::var_os(SWITCH).is_some() {
        cable("va", "vb");
        test();
        return;
    }
    // veth::device::name::{{closure}}
    let path = std::any::type_name::<F>();
    let name = path.trim_end_matches("::{{closure}}").split_once("::").map(|(_, rest)| rest).unwrap();
    let Some(unshare) = unshare() else { return };
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(unshare).arg("--").arg(exe).args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let output = command.env(SWITCH, "1").stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{name} in a namespace: {}\n{text}", output.status);
    text.lines().filter(|line| line.starts_with("skipped:")).for_each(say);
}

/// The options with which `unshare` makes a network namespace; `None`, and a line about it, if it cannot.
fn unshare() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["--net", "--kill-child"], &["--map-root-user", "--net", "--kill-child"]];
    let works = |way: &&&[&str]| {
        let mut command = Command::new("unshare");
        command.args(way.iter()).args(["--", "ip", "link", "add", "va", "type", "veth", "peer", "name", "vb"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    let way = WAYS.iter().find(works).copied();
    if way.is_none() {
        say("skipped: needs root or user namespaces, and iproute2");
    }
    way
}

/// Writes a line past the capture of the test harness.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether `ip` can do that here.
pub(crate) fn try_ip(line: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(line.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}

pub(crate) fn ip(line: &str) {
    assert!(try_ip(line), "ip {line}");
}

/// Two interfaces that are the ends of a cable, with frames passing. Nothing but the test sends on them.
pub(crate) fn cable(a: &str, b: &str) {
    ip(&format!("link add {a} type veth peer name {b}"));
    quiet(a);
    quiet(b);
    ip(&format!("link set {a} up"));
    ip(&format!("link set {b} up"));
    let [a, b] = [a, b].map(|interface| PacketSocket::dix(interface, OTHER).unwrap());
    passes(OTHER, &a, &b);
    passes(OTHER, &b, &a);
}

/// Sends frames until one arrives: what is sent just after a link has come up may get lost.
pub(crate) fn passes(ethertype: u16, from: &PacketSocket, to: &PacketSocket) {
    let sent = of_type(ethertype, from, to.mac(), b"through");
    wait_until("a frame passes", || {
        let _ = from.send(&sent);
        look(to).contains(&sent)
    });
    while !look(to).is_empty() {}
}

fn quiet(interface: &str) {
    // A kernel without IPv6 has nothing to say either.
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1");
}

/// A socket for [`TYPE`].
pub(crate) fn open(interface: &str) -> Arc<PacketSocket> {
    PacketSocket::dix(interface, TYPE).unwrap()
}

/// A frame of [`TYPE`].
pub(crate) fn frame(from: &PacketSocket, to: Mac, payload: &[u8]) -> Vec<u8> {
    of_type(TYPE, from, to, payload)
}

/// A frame of any type.
pub(crate) fn of_type(ethertype: u16, from: &PacketSocket, to: Mac, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.mac().0, &ethertype.to_be_bytes(), payload].concat()
}

/// Looks at what has arrived, once, after waiting for a moment.
pub(crate) fn look(socket: &PacketSocket) -> Vec<Vec<u8>> {
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(100)));
    socket.wait(Duration::from_millis(20));
    while socket.recv(&mut out, &mut cache) > 0 {}
    out.iter().map(|frame| frame.to_vec()).collect()
}

/// The next `n` frames, and whatever came with the last of them.
pub(crate) fn receive(socket: &PacketSocket, n: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    wait_until("frames", || {
        frames.extend(look(socket));
        frames.len() >= n
    });
    frames
}
