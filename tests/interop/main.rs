//! o7s against the reference implementation, over UDP and over Ethernet between network namespaces.
//!
//! `O7S_REFERENCE` names the install prefix of the reference (0.23.0); without it, or without root and iproute2, the
//! tests say so and do nothing. `cargo test --test interop` alone does not build the examples that stand for o7s
//! here: run `cargo build --profile test --bins --examples` before it.
//!
//! Each attempt has two fresh hosts and a fresh daemon. The reference has faults of its own that end in lost packets,
//! failed allocations or aborted programs, so a run is judged by what passed on the wire between the two: an attempt
//! that failed on the reference's side is named and repeated, one that failed on ours counts. A row of the table is
//! printed for each combination.
#![cfg(all(target_os = "linux", feature = "std"))]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "real programs in real time; a harness that cannot go on says so"
)]

#[cfg(all(feature = "sign-ecdsa", feature = "sign-rsa"))]
mod authorities;
mod broadcast;
#[cfg(all(feature = "sign-ecdsa", feature = "sign-rsa"))]
mod certificates;
mod congestion;
mod ethernet;
mod heals;
mod ipv6;
#[cfg(all(feature = "sign-ecdsa", feature = "sign-rsa"))]
#[path = "../certificates/issue.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "it is of other tests, and issues more than is needed here")]
mod issue;
mod member;
mod names;
mod net;
mod nodes;
mod reference;
mod shown;
mod unicast;
mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use net::{Family, Finished, Net, View, wait_for};
use reference::{Daemon, Install, PORT, resolver_name};
use wire::{Seen, Tap};

/// Fresh starts that a combination gets for faults of the reference.
const ATTEMPTS: usize = 6;
/// The same, for layers of several, of which more do not come up.
const FRESH_STARTS: usize = 12;
/// Attempts in which ours was at fault, or nobody could be named, that end a combination.
const STRIKES: usize = 2;

const PINGS: usize = 3;
const SETTLE: Duration = Duration::from_millis(200);
/// An allocation that the reference lost ends after 20 s; there is no use in waiting for it.
const PING_LIMIT: Duration = Duration::from_secs(9);
/// Endpoint id and the smallest packet of oping: every header, and whatever carries only a header, is smaller or on top.
const PING_SIZE: usize = 4 + 64;

const BULK_SECONDS: usize = 2;
const BULK_PACKET: usize = 1000;
const BULK_RATE: usize = 5_000_000;
const BULK_SIZE: usize = 4 + BULK_PACKET;

/// What becomes of answers that reached the reference's host and were not shown.
const TWO_READERS: &str = "likely a thread of its library and the program take packets from one queue, and what the thread \
                           takes on a best-effort flow is not handed on";

/// Two tests at once would take the processor from each other.
static SERIAL: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Ours,
    Reference,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "o7s",
            Self::Reference => "reference",
        })
    }
}

#[derive(Clone, Copy)]
enum Load {
    Ping(&'static str),
    Bulk,
}

/// One row of the table.
#[derive(Clone, Copy)]
struct Combination {
    client: Who,
    server: Who,
    load: Load,
    encrypt: Option<(&'static str, &'static str)>,
    family: Family,
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, server, load, encrypt, family } = self;
        let load = match load {
            Load::Ping(qos) => qos,
            Load::Bulk => "bulk",
        };
        write!(f, "{client} client -> {server} server | {} | {load} | ", family.layer())?;
        match encrypt {
            Some((kex, cipher)) => write!(f, "{kex},{cipher}"),
            None => f.write_str("plain"),
        }
    }
}

/// What one attempt came to.
enum Verdict {
    Ok(String),
    /// Everything that ours had to do was seen on the wire; the reference lost it afterwards.
    OkOnWire(String),
    /// A fault of the reference.
    Reference(String),
    /// A fault of ours, or one that cannot be told.
    Strike(String),
}

/// The bench could not be made ready. That is nearly always the reference: its commands time out now and then.
impl From<io::Error> for Verdict {
    fn from(error: io::Error) -> Self {
        Self::Reference(error.to_string())
    }
}

/// Writes past the capture of the test harness.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

struct Bench {
    install: Install,
    examples: PathBuf,
    view: View,
}

impl Bench {
    /// Nothing, and a line about it, where these tests cannot run.
    fn set_up() -> Option<Self> {
        let skip = |why: &str| {
            println!("skipped: {why}");
            say(&format!("skipped: {why}"));
            None
        };
        let Some(prefix) = std::env::var_os("O7S_REFERENCE").filter(|value| !value.is_empty()) else {
            return skip("no reference");
        };
        let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let missing: Vec<_> = net::TOOLS.into_iter().filter(|tool| !on_path(tool)).collect();
        if !root || !missing.is_empty() {
            let missing = if missing.is_empty() { String::new() } else { format!(" (missing: {})", missing.join(" ")) };
            return skip(&format!("needs root and iproute2{missing}"));
        }
        let install = Install::at(Path::new(&prefix)).expect("O7S_REFERENCE is the install prefix of the reference");
        let exe = std::env::current_exe().expect("the test knows where it is");
        // target/<profile>/deps/interop-… and target/<profile>/examples
        let profile = exe.ancestors().nth(2).expect("the test lies in the target directory").to_owned();
        let programs = vec![install.prefix.clone(), profile.clone()];
        let view = View { programs, private: install.security.clone() };
        Some(Self { install, examples: profile.join("examples"), view })
    }

    fn example(&self, name: &str) -> String {
        let path = self.examples.join(name);
        assert!(path.exists(), "{} is missing: run cargo build --profile test --bins --examples", path.display());
        path.to_string_lossy().into_owned()
    }
}

fn on_path(tool: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).exists()))
}

/// Runs rows one after the other and fails at the end, when the table is complete.
fn run_all(rows: &[Combination]) {
    let _alone = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::set_up() else { return };
    let failed: Vec<_> = rows.iter().filter(|row| !run(&bench, **row)).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{} of {} combinations failed:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

fn run(bench: &Bench, row: Combination) -> bool {
    repeat(&row, || attempt_once(bench, row))
}

/// Runs one row, with repetitions for what the reference breaks, and prints it.
fn repeat(row: &dyn fmt::Display, attempt_once: impl Fn() -> (Verdict, String)) -> bool {
    let (mut strikes, mut on_wire) = (0, None);
    for attempt in 1..=ATTEMPTS {
        let (verdict, logs) = attempt_once();
        match verdict {
            Verdict::Ok(result) => {
                let after = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
                say(&format!("interop: {row} | ok {result}{after}"));
                return true;
            }
            Verdict::OkOnWire(result) => {
                say(&format!("interop: {row} | attempt {attempt}: reference: {result}"));
                on_wire = Some(result);
            }
            Verdict::Reference(fault) => {
                say(&format!("interop: {row} | attempt {attempt}: reference: {fault}"));
                if attempt == ATTEMPTS && on_wire.is_none() {
                    say(&logs);
                }
            }
            Verdict::Strike(fault) => {
                strikes += 1;
                say(&format!("interop: {row} | attempt {attempt}: o7s: {fault}\n{logs}"));
                if strikes >= STRIKES {
                    break;
                }
            }
        }
    }
    if let (Some(result), true) = (on_wire, strikes < STRIKES) {
        say(&format!("interop: {row} | ok by packets; reference: {result}"));
        return true;
    }
    say(&format!("interop: {row} | FAILED"));
    false
}

fn attempt_once(bench: &Bench, row: Combination) -> (Verdict, String) {
    let net = Net::start(&bench.view).expect("two hosts can be made");
    let verdict = match row.load {
        Load::Ping(qos) => ping(bench, &net, row, qos),
        Load::Bulk => bulk(bench, &net, row),
    };
    (verdict.unwrap_or_else(|failed| failed), net.logs())
}

/// What an attempt looks like from outside.
struct Run {
    client: Finished,
    seen: Seen,
    server_output: String,
    /// Both daemons of the reference.
    daemon_log: String,
}

/// Starts the server of a row, runs its client and collects what can be seen.
///
/// `settle` says when the server has seen everything, from its output.
fn exchange(
    bench: &Bench,
    net: &Net,
    row: Combination,
    tool: &Tool<'_>,
    settle: impl Fn(&str) -> bool,
) -> Result<Run, Verdict> {
    let Tool { name, limit, size, .. } = *tool;
    let tap = Tap::start(&net.far, PORT)?;
    let encrypt = row.encrypt.map(|(kex, cipher)| format!("{kex},{cipher}"));
    let program = format!("bin/{name}");
    let strings = |words: &[String]| words.to_vec();
    let (join, far) = (format!("--{}", row.family.layer()), net.far.at(row.family));

    let (server, server_daemon) = match row.server {
        Who::Reference => {
            let daemon = Daemon::start_over(row.family, &net.far, &bench.install)?;
            daemon.name(name, "server", row.encrypt)?;
            let service = daemon.serve(name, &program, tool.reference_server)?;
            (service, Some(daemon))
        }
        Who::Ours => {
            let mut argv = strings(&[bench.example(name), "--listen".into(), join.clone(), far.to_string()]);
            if let Some(encrypt) = &encrypt {
                argv.extend(["--encrypt".into(), encrypt.clone()]);
            }
            let argv: Vec<_> = argv.iter().map(String::as_str).collect();
            let service = net.far.spawn(&argv)?;
            let bound = wait_for(Duration::from_secs(5), || net.far.udp_bound(row.family, PORT).then_some(()));
            let ended = service.ended();
            if bound.is_none() || ended.is_some() {
                return Err(Verdict::Strike(format!("the server did not start ({ended:?})")));
            }
            (service, None)
        }
    };

    let (client, client_daemon) = match row.client {
        Who::Reference => {
            let daemon = Daemon::start_over(row.family, &net.near, &bench.install)?;
            net.near.resolve(&resolver_name(name), far)?;
            daemon.name(name, "client", row.encrypt)?;
            let client = daemon.run(limit, &program, tool.client, tool.pinned)?;
            (client, Some(daemon))
        }
        Who::Ours => {
            let mut argv = strings(&[bench.example(name)]);
            argv.extend(tool.client.iter().map(|word| (*word).to_owned()));
            argv.extend([join, net.near.at(row.family).to_string(), "--host".into(), format!("{name}={far}")]);
            if let Some(encrypt) = &encrypt {
                argv.extend(["--encrypt".into(), encrypt.clone()]);
            }
            let argv: Vec<_> = argv.iter().map(String::as_str).collect();
            (net.near.run(limit, &argv)?, None)
        }
    };

    wait_for(Duration::from_secs(5), || settle(&server.output()).then_some(()));
    std::thread::sleep(SETTLE);
    let daemon_log = [server_daemon, client_daemon].iter().flatten().map(Daemon::log).collect();
    Ok(Run { client, seen: tap.seen(size), server_output: server.output(), daemon_log })
}

/// A pair of programs with their options.
struct Tool<'a> {
    /// Of the program and of the name that it serves.
    name: &'a str,
    client: &'a [&'a str],
    reference_server: &'a [&'a str],
    limit: Duration,
    /// The smallest datagram that carries one of its packets.
    size: usize,
    /// A client of the reference has one processor for all its threads.
    pinned: bool,
}

/// What both loads have in common: whether a flow came to be, and whether it is as closed to others as it should be.
fn judge_flow(run: &Run, row: Combination) -> Result<(), Verdict> {
    let Run { client, seen, daemon_log, .. } = run;
    let ours_asks = row.client == Who::Ours;
    if seen.flow_requests == 0 {
        let what = format!("no flow request was sent ({})", client.ending());
        return Err(if ours_asks { Verdict::Strike(what) } else { Verdict::Reference(what) });
    }
    if seen.flow_accepts == 0 {
        let what = match &seen.flow_refusal {
            // Whose fault a refusal is, the wire does not tell.
            Some(code) => return Err(Verdict::Strike(format!("flow request refused with {code}"))),
            None => "no reply to a flow request".to_owned(),
        };
        let server_is_ours = row.server == Who::Ours;
        return Err(if server_is_ours { Verdict::Strike(what) } else { Verdict::Reference(what) });
    }
    if seen.there == 0 && seen.back == 0 {
        let what = format!("flow accepted but never used ({})", client.ending());
        // The reference's "wrong source": the reply overtook its own note of the request.
        return Err(if ours_asks { Verdict::Strike(what) } else { Verdict::Reference(what) });
    }
    let readable = |who: Who| match (row.client == who, row.server == who) {
        (true, true) => seen.there_readable + seen.back_readable,
        (true, false) => seen.there_readable,
        (false, true) => seen.back_readable,
        (false, false) => 0,
    };
    match row.encrypt {
        Some(_) if readable(Who::Ours) > 0 => Err(Verdict::Strike("sent in clear on an encrypted flow".to_owned())),
        // Ours would have to refuse what comes in clear, so this ends in missing packets, if at all.
        Some(_) if !daemon_log.contains("Encryption enabled for") => {
            Err(Verdict::Strike("the reference did not enable encryption".to_owned()))
        }
        _ => Ok(()),
    }
}

fn ping(bench: &Bench, net: &Net, row: Combination, qos: &str) -> Result<Verdict, Verdict> {
    let count = PINGS.to_string();
    let tool = Tool {
        name: "oping",
        client: &["-n", "oping", "-c", &count, "-i", "50ms", "-q", qos],
        reference_server: &["-l"],
        limit: PING_LIMIT,
        size: PING_SIZE,
        pinned: false,
    };
    judge_pings(&exchange(bench, net, row, &tool, |_| true)?, row, qos)
}

/// Whether all pings were answered, and whose fault it is if not.
fn judge_pings(run: &Run, row: Combination, qos: &str) -> Result<Verdict, Verdict> {
    let replies = ping_replies(&run.client.output);
    judge_flow(run, row)?;
    let (there, back) = (run.seen.there, run.seen.back);
    let told = format!(
        "{replies}/{PINGS} replies shown, {there} packets there and {back} back on the wire, {}",
        run.client.ending()
    );
    let ours_answers = row.client == Who::Reference && row.server == Who::Ours;
    Ok(if ours_answers && qos == "best" && run.seen.back_beside > 0 {
        // Two packets at once leave the readers of its client one behind.
        Verdict::Strike(format!("{} packets beside the answers; {told}", run.seen.back_beside))
    } else if replies == PINGS {
        Verdict::Ok(format!("{replies}/{PINGS}"))
    } else if there < PINGS {
        // Not even all requests were sent.
        if row.client == Who::Ours { Verdict::Strike(told) } else { Verdict::Reference(told) }
    } else if back < PINGS {
        // The server owes answers. On a raw flow over a clean wire it has no excuse.
        if row.server == Who::Ours || qos == "raw" { Verdict::Strike(told) } else { Verdict::Reference(told) }
    } else if row.client == Who::Ours {
        Verdict::Strike(told)
    } else if qos == "best" {
        // The answers were there, and some disappear between two references, too: as many, says the table of `shown`. So
        // another attempt is due, but one of them has to show all.
        Verdict::Reference(format!("{told}; {TWO_READERS}"))
    } else {
        // As above; the explanation is the likely one, from what is known of the reference, and not proven for each.
        Verdict::OkOnWire(format!("{told}; {}", if qos == "raw" { "answers disappeared" } else { TWO_READERS }))
    })
}

/// How many different replies an oping printed.
fn ping_replies(output: &str) -> usize {
    let seq = |line: &str| -> Option<u32> {
        let (_, rest) = line.split_once(" bytes from ")?;
        rest.split_once("seq=")?.1.split_whitespace().next()?.parse().ok()
    };
    output.lines().filter_map(seq).collect::<BTreeSet<_>>().len()
}

fn bulk(bench: &Bench, net: &Net, row: Combination) -> Result<Verdict, Verdict> {
    let (size, rate) = (BULK_PACKET.to_string(), format!("{}M", BULK_RATE / 1_000_000));
    let duration = if row.client == Who::Ours { format!("{BULK_SECONDS}s") } else { BULK_SECONDS.to_string() };
    let tool = Tool {
        name: "ocbr",
        client: &["-n", "ocbr", "-d", &duration, "-s", &size, "-r", &rate],
        reference_server: &["-l", "-i", "1", "-t", "2"],
        limit: Duration::from_secs(15),
        size: BULK_SIZE,
        pinned: false,
    };
    // A server reports each second; once one passed with nothing in it, all is told.
    let run = exchange(bench, net, row, &tool, |output| {
        let reports = bulk_reports(output);
        reports.len() > 1 && reports.last() == Some(&0)
    })?;
    judge_bulk(&run, row)
}

/// Whether as much has arrived as should have, and whose fault it is if not.
fn judge_bulk(run: &Run, row: Combination) -> Result<Verdict, Verdict> {
    let received: usize = bulk_reports(&run.server_output).iter().sum();
    judge_flow(run, row)?;
    let asked = BULK_RATE * BULK_SECONDS / 8 / BULK_PACKET;
    // Packets of ours that leave together pass the tap as one.
    let sent = run.seen.there.max(received);
    let told = format!("{received} of {sent} packets ({asked} asked for), {}", run.client.ending());
    Ok(if sent * 10 < asked * 8 {
        if row.client == Who::Ours { Verdict::Strike(told) } else { Verdict::Reference(told) }
    } else if received * 100 < sent * 99 {
        if row.server == Who::Ours { Verdict::Strike(told) } else { Verdict::Reference(told) }
    } else {
        Verdict::Ok(format!("{received}/{sent}"))
    })
}

/// The packet counts of a server's reports, in order.
fn bulk_reports(output: &str) -> Vec<usize> {
    let packets = |line: &str| -> Option<usize> {
        let (_, rest) = line.strip_prefix("Flow ")?.split_once(':')?;
        rest.split_once(" packets")?.0.trim().parse().ok()
    };
    output.lines().filter_map(packets).collect()
}

const BOTH_WAYS: [(Who, Who); 2] = [(Who::Ours, Who::Reference), (Who::Reference, Who::Ours)];

fn rows(ways: &[(Who, Who)], loads: &[Load], encrypt: &[Option<(&'static str, &'static str)>]) -> Vec<Combination> {
    let mut rows = Vec::new();
    for &(client, server) in ways {
        for &encrypt in encrypt {
            rows.extend(loads.iter().map(|&load| Combination { client, server, load, encrypt, family: Family::V4 }));
        }
    }
    rows
}

const EVERY_QOS: [Load; 3] = [Load::Ping("raw"), Load::Ping("best"), Load::Ping("data")];

#[test]
fn plain_flows() {
    run_all(&rows(&BOTH_WAYS, &EVERY_QOS, &[None]));
}

#[test]
fn encrypted_flows() {
    run_all(&rows(&BOTH_WAYS, &EVERY_QOS, &[Some(("prime256v1", "aes-256-gcm"))]));
}

#[test]
fn other_algorithms() {
    let algorithms = [Some(("X25519", "aes-256-gcm")), Some(("prime256v1", "chacha20-poly1305"))];
    run_all(&rows(&BOTH_WAYS, &[Load::Ping("raw")], &algorithms));
}

/// Every key exchange that an installed reference has whatever its OpenSSL, each AEAD cipher, and each hash for keys.
#[test]
fn every_group() {
    let algorithms = [
        Some(("ffdhe2048", "aes-128-gcm,sha384")),
        Some(("ffdhe3072", "aes-192-gcm,sha512")),
        Some(("ffdhe4096", "aes-256-gcm,sha3-256")),
        Some(("secp384r1", "chacha20-poly1305,sha3-384")),
        Some(("secp521r1", "aes-256-gcm,sha3-512")),
        Some(("X448", "aes-256-gcm,blake2s256")),
        Some(("X25519", "aes-256-gcm,blake2b512")),
    ];
    run_all(&rows(&BOTH_WAYS, &[Load::Ping("raw")], &algorithms));
}

#[test]
fn bulk_transfer() {
    run_all(&rows(&BOTH_WAYS, &[Load::Bulk], &[None, Some(("prime256v1", "aes-256-gcm"))]));
}

/// The harness and the reference without us; for telling whose fault a failure is.
#[test]
#[ignore = "tests the bench, not o7s"]
fn control() {
    let alone = [(Who::Reference, Who::Reference)];
    let encrypted = Some(("prime256v1", "aes-256-gcm"));
    let mut all = rows(&alone, &EVERY_QOS, &[None, encrypted, Some(("X25519", "chacha20-poly1305"))]);
    all.extend(rows(&alone, &[Load::Bulk], &[None, encrypted]));
    run_all(&all);
}

/// Not a test: what the others run on a host that is a node of o7s.
#[test]
#[ignore = "a helper of the other tests"]
fn o7s_node() {
    if let Ok(place) = std::env::var(member::SWITCH) {
        member::obey(&place).expect("a stack, and lines to read");
    }
}

/// Not a test: what those over Ethernet run on the far host to see the wire.
#[test]
#[ignore = "a helper of the other tests"]
fn frame_tap() {
    if std::env::var_os(ethernet::SWITCH).is_some() {
        ethernet::tap().expect("a packet socket can be opened and read");
    }
}

/// Not a test: what the others run on the far host to see the wire.
#[test]
#[ignore = "a helper of the other tests"]
fn wire_tap() {
    if let Some(port) = std::env::var(wire::SWITCH).ok().and_then(|port| port.parse().ok()) {
        wire::tap(port).expect("a packet socket can be opened and read");
    }
}
