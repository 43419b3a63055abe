//! The programs in `examples/`, as processes on this host. `cargo test` builds them; for this test alone run
//! `cargo build --examples` first.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn program(name: &str) -> Command {
    let exe = std::env::current_exe().unwrap();
    // target/<profile>/deps/programs-… and target/<profile>/examples
    let path: PathBuf = exe.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.with_extension(std::env::consts::EXE_EXTENSION).exists(), "run cargo build --examples first");
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

/// A program that listens, until it is dropped.
struct Server {
    name: &'static str,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    addr: String,
    encrypt: Vec<&'static str>,
}

impl Server {
    fn start(name: &'static str, options: &[&str], encrypt: Option<&'static str>) -> Self {
        let encrypt: Vec<_> = encrypt.iter().flat_map(|suite| ["--encrypt", suite]).collect();
        let mut command = program(name);
        command.args(["--listen", "--udp4", "127.0.0.1:0"]).args(options).args(&encrypt).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let addr = first.rsplit_once(" at ").unwrap().1.trim_end_matches('.').to_owned();
        Self { name, child, lines, addr, encrypt }
    }

    /// Runs the same program as a client of `name` here.
    fn call(&self, name: &str, options: &[&str]) -> Output {
        let host = format!("{name}={}", self.addr);
        let mut command = program(self.name);
        command.args(["-n", name, "--udp4", "127.0.0.1:0", "--host", &host]).args(options).args(&self.encrypt);
        command.output().unwrap()
    }

    fn must(&self, options: &[&str]) -> String {
        let output = self.call(self.name, options);
        let text = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}: {}\n{text}", self.name, output.status);
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The number of packets in the line that starts with `start`.
fn packets(text: &str, start: &str) -> u32 {
    let line = text.lines().find_map(|line| line.strip_prefix(start)).unwrap();
    line.split_once(" packets (").unwrap().0.trim().parse().unwrap()
}

#[test]
fn quickstart() {
    let output = program("quickstart").args(["--size", "2"]).output().unwrap();
    let text = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("checksum correct").count(), 2, "{text}");
    assert_eq!(text.matches("is encrypted").count(), 2, "{text}");
}

#[test]
fn oping() {
    for encrypt in [None, Some("X25519,chacha20-poly1305")] {
        let server = Server::start("oping", &[], encrypt);
        for qos in ["raw", "best", "data"] {
            let text = server.must(&["-c", "3", "-i", "10ms", "-q", qos]);
            assert_eq!(text.matches("64 bytes from oping: seq=").count(), 3, "{text}");
            assert!(text.contains("3 packets transmitted, 3 received, 0 out-of-order, 0% packet loss"), "{text}");
            assert!(text.contains("rtt min/avg/max/mdev = "), "{text}");
        }
    }
}

#[test]
fn a_name_that_is_not_there_is_refused() {
    let output = Server::start("oping", &[], None).call("nobody", &["-c", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: "));
}

#[test]
fn encryption_is_not_optional() {
    let mut server = Server::start("oping", &[], Some("X25519"));
    server.encrypt.clear();
    assert_eq!(server.call("oping", &["-c", "1"]).status.code(), Some(1));
}

#[test]
fn without_a_layer_nobody_is_reached() {
    let output = program("oping").args(["-c", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--udp4"));
}

#[test]
fn ocbr() {
    let mut server = Server::start("ocbr", &["-i", "200ms", "-t", "500ms"], None);
    let sent = server.must(&["-d", "1", "-r", "4M", "-s", "500"]);
    let sent = packets(&sent, "Sent ");
    assert!((950..=1000).contains(&sent), "{sent} packets are not 95 % of the rate");
    let mut reports = Vec::new();
    for line in server.lines.by_ref().map_while(Result::ok) {
        if line.ends_with("timed out.") {
            break;
        }
        if line.contains(" packets (") {
            reports.push(packets(&line, "Flow 1: "));
        }
    }
    assert!(reports.len() >= 4, "{reports:?}");
    assert_eq!(reports.iter().filter(|packets| **packets == 0).count(), 1, "{reports:?}");
    assert_eq!(reports.last(), Some(&0), "{reports:?}");
    assert_eq!(reports.iter().sum::<u32>(), sent, "{reports:?}");
}

#[test]
fn operf() {
    let mut server = Server::start("operf", &[], None);
    let text = server.must(&["-t", "bi", "-d", "500ms", "-r", "4M", "-s", "500", "-q", "data"]);
    let sent = [packets(&text, "Sent "), packets(&server.must(&["-d", "500ms", "-r", "4M", "-q", "data"]), "Sent ")];
    assert_eq!(packets(&text, "Received "), sent[0], "{text}");
    let told = server.lines.by_ref().map_while(Result::ok).filter(|line| line.contains("Mbps")).take(2);
    let told: Vec<_> = told.collect();
    assert_eq!(packets(&told.join("\n"), "Flow 1: "), sent[0], "{told:?}");
    assert_eq!(packets(&told.join("\n"), "Flow 2: "), sent[1], "{told:?}");
}

#[test]
fn oecho() {
    let text = Server::start("oecho", &[], Some("prime256v1")).must(&[]);
    assert_eq!(text, "Server replied with Client says hi!\n");
}

#[test]
fn obc() {
    for encrypt in [None, Some("X25519")] {
        let mut first = Server::start("obc", &["--first"], encrypt);
        let host = format!("obc={}", first.addr);
        let mut other = Server::start("obc", &["--host", &host], encrypt);
        // Said at the first member, and at a member that came later, by way of a program that comes and goes.
        first.must(&["Hello"]);
        other.must(&[]);
        for listener in [&mut first, &mut other] {
            let heard: Vec<_> = listener.lines.by_ref().take(2).map(Result::unwrap).collect();
            assert_eq!(heard, ["Message is Hello.", "Message is Ouroboros multicast rocks!."]);
        }
    }
}
