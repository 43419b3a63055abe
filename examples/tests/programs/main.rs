//! The programs of this package, as processes on this host. `cargo test` builds them; for this test alone run
//! `cargo build --profile test --bins --examples` first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod dissected;
mod odump;
mod one_host;
mod security;
mod session;
mod short;
#[cfg(unix)]
mod status;
#[cfg(target_os = "linux")]
mod switch;
#[cfg(unix)]
mod unix;

// What the dissector is compared with elsewhere.
#[path = "../../../tests/dissect/pdml.rs"]
mod pdml;
#[path = "../../../tests/dissect/tools.rs"]
mod tools;

/// The fields of a packet: for each name its values, in their order.
type Shown = std::collections::BTreeMap<String, Vec<String>>;

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use o7s::{Stack, Udp4};

/// Gives the programs signals that end them, whatever this test was started with: a shell has what it runs in the background
/// ignore SIGINT, which would be inherited, and what is handled here is not.
#[cfg(unix)]
fn handle_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let always = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, always).unwrap();
        }
    });
}

/// Says, past the capture of the test harness, that a test does nothing here.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr().lock(), "skipped: {why}");
}

fn program(name: &str) -> Command {
    #[cfg(unix)]
    handle_signals();
    let exe = std::env::current_exe().unwrap();
    // target/<profile>/deps/programs-… beside target/<profile>/quickstart and target/<profile>/examples
    let profile = exe.ancestors().nth(2).unwrap();
    let path: PathBuf = if name == "quickstart" {
        env!("CARGO_BIN_EXE_quickstart").into()
    } else {
        profile.join("examples").join(name)
    };
    assert!(
        path.with_extension(std::env::consts::EXE_EXTENSION).exists(),
        "run cargo build --profile test --bins --examples first"
    );
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
        // Some tests end it themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
    assert_eq!(text.matches("all of it correct").count(), 2, "{text}");
    assert_eq!(text.matches("is encrypted").count(), 2, "{text}");
}

#[test]
fn oping() {
    for encrypt in [None, Some("X25519,chacha20-poly1305")] {
        let server = Server::start("oping", &[], encrypt);
        for qos in ["raw", "best", "data"] {
            let text = server.must(&["-c", "3", "-i", "10ms", "-q", qos]);
            assert_eq!(text.matches("64 bytes from oping: seq=").count(), 3, "{text}");
            let protection = if encrypt.is_some() { "udp4: encrypted (X25519, " } else { "udp4: not encrypted, " };
            assert!(text.contains(protection) && text.contains("not authenticated"), "{text}");
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
    for tool in ["oping", "ocbr", "operf", "oecho", "obc"] {
        let output = program(tool).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{tool}: options are missing");
        assert!(text(&output.stderr).contains("--udp4"));
    }
}

#[test]
fn ocbr() {
    let mut server = Server::start("ocbr", &["-i", "200ms", "-t", "500ms"], None);
    let sent = server.must(&["-d", "1", "-r", "4M", "-s", "500"]);
    let sent = packets(&sent, "Sent ");
    assert!((950..=1000).contains(&sent), "{sent} packets are not 95 % of the rate");
    let mut reports = Vec::new();
    for line in server.lines.by_ref().map_while(Result::ok) {
        if line.ends_with("ended.") {
            break;
        }
        if line.contains(" packets (") {
            reports.push(packets(&line, "Flow 1: "));
        }
    }
    assert!(reports.len() >= 4, "{reports:?}");
    assert!(!reports.contains(&0), "a report of nothing: {reports:?}");
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
fn messages_larger_than_packets() {
    for (program, options) in [("operf", &[][..]), ("ocbr", &["-i", "10s", "-t", "500ms"])] {
        let mut server = Server::start(program, options, None);
        let sent = packets(&server.must(&["-d", "1", "-r", "16M", "-s", "100000", "-q", "data"]), "Sent ");
        assert!(sent > 0, "{program} sent nothing");
        let mut lines = server.lines.by_ref().map_while(Result::ok);
        let told = lines.find(|line| line.starts_with("Flow 1: ") && packets(line, "Flow 1: ") > 0);
        assert_eq!(packets(&told.unwrap_or_default(), "Flow 1: "), sent, "{program}");
    }
}

#[test]
fn oecho() {
    let text = Server::start("oecho", &[], Some("prime256v1")).must(&[]);
    let (flow, reply) = text.split_once('\n').unwrap();
    assert!(flow.starts_with("Flow to \"oecho\" over udp4: encrypted (prime256v1, "), "{flow}");
    assert!(flow.ends_with(", not authenticated."), "{flow}");
    assert_eq!(reply, "Server replied with Client says hi!\n");
}

#[test]
fn a_silent_client_keeps_no_other_waiting() {
    let mut server = Server::start("oecho", &[], None);
    let stack = Stack::new().unwrap();
    stack.udp4(Udp4::bind("127.0.0.1:0").host("oecho", &server.addr)).unwrap();
    let _silent = stack.flow("oecho").alloc().unwrap();
    server.must(&[]);
    assert_eq!(server.lines.next().unwrap().unwrap(), "Echoed \"Client says hi!\".");
}

#[test]
fn obc() {
    for encrypt in [None, Some("X25519")] {
        let mut first = Server::start("obc", &["--first"], encrypt);
        let host = format!("obc={}", first.addr);
        let mut other = Server::start("obc", &["--host", &host], encrypt);
        // Said at the first member, and at a member that came later, by way of a program that comes and goes.
        first.must(&["-m", "Hello"]);
        other.must(&[]);
        for listener in [&mut first, &mut other] {
            let heard: Vec<_> = listener.lines.by_ref().take(2).map(Result::unwrap).collect();
            assert_eq!(heard, ["Message is Hello.", "Message is Ouroboros multicast rocks!."]);
        }
    }
}

/// A file, until it is dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("o7s-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// Ends a process when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Some tests have waited for its end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> (Running, Lines<BufReader<ChildStdout>>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (Running(child), lines)
}

/// A member of a unicast layer over UDP on this host, at a port that was free.
fn member(name: &str, keys: &str) -> (File, u16) {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "[udp4.{name}-net]\nbootstrap = \"internet\"\nip = \"127.0.0.1\"\nport = {port}\nreg = [\"{name}\"]\n\n\
         [unicast.{name}]\nautobind = true\n{keys}\n"
    );
    (File::new(name, &text), port)
}

#[test]
fn a_router_between_two_programs() {
    let (file, port) = member("router", "bootstrap = \"campus\"\nls_t_recalc = 1\nls_t_update = 2");
    let mut command = program("router");
    command.args(["--config", file.path(), "--metrics", "127.0.0.1:0"]).stdin(Stdio::piped());
    let (mut router, mut lines) = start(&mut command);
    let metrics = lines.next().unwrap().unwrap();
    let metrics = metrics.strip_prefix("Metrics at http://").unwrap().strip_suffix("/metrics.").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "Routing in internet (udp4), campus (unicast).");

    let host = format!("router=127.0.0.1:{port}");
    let enrolled = "enrol = \"router\"\nconn = [\"router\"]\nreg = [\"oping\"]";
    let (file, _) = member("server", enrolled);
    let (_server, mut said) = start(program("oping").args(["--listen", "--config", file.path(), "--host", &host]));
    assert_eq!(said.next().unwrap().unwrap(), "Serving \"oping\".");
    let (file, _) = member("client", &enrolled.replace("oping", "unused"));
    let ping = ["-c", "3", "-i", "10ms", "-q", "data", "--config", file.path(), "--host", &host];
    let mut output = program("oping").args(ping).output().unwrap();
    // The first one may come before the routers know the way.
    for _ in 0..5 {
        if !output.status.success() {
            output = program("oping").args(ping).output().unwrap();
        }
    }
    assert!(text(&output.stdout).contains("3 packets transmitted, 3 received"), "{}", text(&output.stderr));

    let mut connection = TcpStream::connect(metrics).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: o7s\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\no7s_ipcp_info{hash=\"SHA3_256\",ipcp=\"router\",layer=\"campus\""), "{answer}");

    let stdin = router.0.stdin.as_mut().unwrap();
    stdin.write_all(b"adjacencies\nquit\n").unwrap();
    let table: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(table.iter().filter(|line| line.starts_with("router ")).count() % 2, 0, "{table:?}");
    assert!(table.iter().any(|line| line.contains("data transfer  by the neighbour")), "{table:?}");
}

/// Opens a connection and asks for the metrics.
fn scrape(metrics: &str) -> String {
    let mut connection = TcpStream::connect(metrics).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: o7s\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn slow_clients_do_not_block_the_metrics() {
    let (file, _) = member("metrics", "bootstrap = \"campus\"");
    let mut command = program("router");
    command.args(["--config", file.path(), "--metrics", "127.0.0.1:0"]).stdin(Stdio::piped());
    let (_router, mut lines) = start(&mut command);
    let metrics = lines.next().unwrap().unwrap();
    let metrics = metrics.strip_prefix("Metrics at http://").unwrap().strip_suffix("/metrics.").unwrap();
    // They begin a request, or ask and never read; one server thread would wait for one after the other.
    let slow: Vec<_> = (0..100)
        .map(|i| {
            let mut client = TcpStream::connect(metrics).unwrap();
            client.write_all(if i % 2 == 0 { b"GET /met" } else { b"G" }).unwrap();
            client
        })
        .collect();
    assert!(scrape(metrics).starts_with("HTTP/1.1 200 OK\r\n"));
    // All but the last few were told to go, so that memory and threads have a bound.
    let mut oldest = &slow[0];
    oldest.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(oldest.read(&mut [0; 16]).unwrap(), 0, "it has ended");
    drop(slow);
    assert!(scrape(metrics).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn verbose_tools_log_to_standard_error() {
    let output = program("oping").args(["-v", "-c", "1", "-n", "nobody", "--udp4", "127.0.0.1:0"]).output().unwrap();
    assert!(text(&output.stderr).contains("INFO  o7s::stack: stack started"), "{}", text(&output.stderr));
    let output = program("oping").args(["-c", "1", "-n", "nobody", "--udp4", "127.0.0.1:0"]).output().unwrap();
    assert!(!text(&output.stderr).contains("o7s::"), "{}", text(&output.stderr));
}

#[test]
fn routers_go_on_after_any_console_input() {
    let (file, _) = member("patient", "bootstrap = \"campus\"");
    let mut command = program("router");
    command.args(["--config", file.path()]).stdin(Stdio::piped());
    let (mut router, mut lines) = start(&mut command);
    assert_eq!(lines.next().unwrap().unwrap(), "Routing in internet (udp4), campus (unicast).");
    let mut stdin = router.0.stdin.take().unwrap();
    // No UTF-8, a line without end, and then something sensible.
    stdin.write_all(b"adj\xe9\n").unwrap();
    stdin.write_all(&[0xff; 10_000]).unwrap();
    stdin.write_all(b"\nadjacencies\n").unwrap();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.ends_with("connected to")), "it goes on");
    drop(stdin);
    std::thread::park_timeout(Duration::from_millis(200));
    assert!(router.0.try_wait().unwrap().is_none(), "nobody asks any more, and it goes on");
}

/// A shell with job control stops a program in the background that reads from the terminal.
#[cfg(target_os = "linux")]
#[test]
fn a_router_runs_in_the_background() {
    let (file, _) = member("background", "bootstrap = \"campus\"");
    let router = program("router").get_program().to_str().unwrap().to_owned();
    // `script` is there wherever there are terminals, but it is not the shell's.
    let job = format!("set -m; {router} --config {} & sleep 1; jobs; kill -9 %1; wait", file.path());
    let shell =
        Command::new("script").args(["-qec", &format!("sh -c '{job}'"), "/dev/null"]).stdin(Stdio::null()).output();
    let Ok(shell) = shell else { return skipped("no script(1)") };
    let said = text(&shell.stdout);
    assert!(said.contains("Routing in internet"), "{said}");
    assert!(said.contains("Running") && !said.contains("Stopped"), "{said}");
}

#[test]
fn configuration_errors_are_printed() {
    let file = File::new("wrong", "[udp4.a]\nbootstrap = \"l\"\nip = \"localhost\"\n");
    let output = program("router").args(["--config", file.path()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = "3:6: ip = \"localhost\" is not an IPv4 address; write it like 10.9.0.1";
    assert_eq!(text(&output.stderr), format!("error: {}:{expected}\n", file.path()));
    let (file, _) = member("alone", "bootstrap = \"l\"");
    let output = program("oping").args(["--listen", "--config", file.path()]).output().unwrap();
    assert!(text(&output.stderr).contains("add it to the list `reg`"), "{}", text(&output.stderr));
}

#[test]
fn tower() {
    for how in [&["--sim"][..], &["--count", "3"]] {
        let output = program("tower").args(["--floors", "3"]).args(how).output().unwrap();
        let said = text(&output.stdout);
        assert!(output.status.success(), "{said}{}", text(&output.stderr));
        assert_eq!(said.lines().filter(|line| line.contains(" bytes ")).count(), 4, "{said}");
    }
}
