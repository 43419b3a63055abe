//! Flows directly over Ethernet, without any IP: the same combinations as over UDP, in both formats of frames, and what
//! becomes of a flow when the link goes down and comes up again.
//!
//! The tap tells who sent a frame by its address, so both hosts are given one.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use o7s::types::name::HashAlg;
use o7s::wire::eth::{DEFAULT_ETHERTYPE, Frame, Mac, Mgmt, Port};
use socket2::{Domain, Protocol, Socket, Type};

use crate::member::Member;
use crate::net::{Host, MARK, Net, wait_for};
use crate::nodes::VERBOSE;
use crate::reference::Daemon;
use crate::wire::Tap;
use crate::{
    ATTEMPTS, BOTH_WAYS, BULK_PACKET, BULK_RATE, BULK_SECONDS, BULK_SIZE, Bench, Combination, EVERY_QOS, Load,
    PING_LIMIT, PING_SIZE, PINGS, Run, SERIAL, SETTLE, STRIKES, Verdict, Who, bulk_reports, judge_bulk, judge_pings,
    rows, say,
};

/// The test that is not one: it runs in the far host and prints a line a frame.
const HELPER: &str = "frame_tap";
/// Tells the helper that it is wanted.
pub(crate) const SWITCH: &str = "O7S_INTEROP_FRAME_TAP";

const NEAR: Mac = Mac([2, 0, 0, 0, 0, 1]);
const FAR: Mac = Mac([2, 0, 0, 0, 0, 2]);
const ALL_PROTOCOLS: u16 = 3;
/// oping and ocbr fill the tail of their packets with zeros: that many in a row mean that it is readable.
const READABLE: usize = 24;
/// What the tap over UDP counts as part of a packet.
const EID_LEN: usize = 4;

const ENCRYPTED: Option<(&str, &str)> = Some(("prime256v1", "aes-256-gcm"));

/// Prints every frame of the two kinds of layers until it is killed, in the words of the tap over UDP.
pub(crate) fn tap() -> io::Result<()> {
    let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
    let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.set_recv_buffer_size(8 << 20)?;
    let mut out = io::stdout();
    writeln!(out, "{MARK} open")?;
    let mut bytes = [0_u8; 65536];
    loop {
        let len = socket.read(&mut bytes)?;
        if let Some(line) = bytes.get(..len).and_then(describe) {
            writeln!(out, "{MARK} {line}")?;
        }
    }
}

fn describe(bytes: &[u8]) -> Option<String> {
    let frame = Frame::parse(bytes).ok()?;
    let way = match (frame.src, frame.dst) {
        (NEAR, FAR) => '>',
        (FAR, NEAR) => '<',
        (NEAR, Mac::BROADCAST) => '>',
        (FAR, Mac::BROADCAST) => '<',
        _ => return None,
    };
    if matches!(frame.port, Port::Dix { ethertype, .. } if ethertype != DEFAULT_ETHERTYPE) {
        return None;
    }
    if !frame.port.is_mgmt() {
        let readable = frame.payload.windows(READABLE).any(|window| window.iter().all(|byte| *byte == 0));
        return Some(format!("{way} d {} {}", EID_LEN + frame.payload.len(), u8::from(readable)));
    }
    match Mgmt::parse(frame.port.format(), HashAlg::default(), frame.payload).ok()? {
        Mgmt::Request(_) => Some(format!("{way} m 1 0")),
        Mgmt::Reply(reply) => Some(format!("{way} m 2 {}", reply.response)),
        // For whoever reads it.
        Mgmt::Query(_) => Some(format!("{way} query")),
        Mgmt::Answer(_) => Some(format!("{way} answer")),
    }
}

fn start_tap(host: &Host) -> io::Result<Tap> {
    let exe = std::env::current_exe()?;
    let (exe, switch) = (exe.to_string_lossy(), format!("{SWITCH}=1"));
    let service =
        host.spawn(&["env", &switch, &exe, "--ignored", "--exact", HELPER, "--nocapture", "--test-threads=1"])?;
    let open = format!("{MARK} open");
    wait_for(Duration::from_secs(10), || service.output().contains(&open).then_some(()))
        .ok_or_else(|| io::Error::other(format!("no tap: {}", service.output())))?;
    Ok(Tap::of(service))
}

/// Has `ip` do something with the interface of a host.
fn ip(host: &Host, words: &str) -> io::Result<()> {
    let mut argv = vec!["ip", "link", "set", "wire"];
    argv.extend(words.split(' '));
    let done = host.run(Duration::from_secs(10), &argv)?;
    if done.success() { Ok(()) } else { Err(io::Error::other(format!("{argv:?}: {}", done.output))) }
}

fn start_net(bench: &Bench, mtu: usize) -> io::Result<Net> {
    let net = Net::start(&bench.view)?;
    for (host, mac) in [(&net.near, NEAR), (&net.far, FAR)] {
        ip(host, &format!("address {mac}"))?;
        ip(host, &format!("mtu {mtu}"))?;
    }
    Ok(net)
}

/// What both programs of a row are told.
struct Tool {
    name: &'static str,
    client: Vec<String>,
    reference_server: &'static [&'static str],
    limit: Duration,
    /// The smallest packet of theirs that the tap takes for one.
    size: usize,
}

impl Tool {
    fn of(row: Combination, packet: usize) -> Self {
        let words = |text: String| text.split(' ').map(str::to_owned).collect();
        match row.load {
            Load::Ping(qos) => Self {
                name: "oping",
                client: words(format!("-n oping -c {PINGS} -i 50ms -q {qos}")),
                reference_server: &["-l"],
                limit: PING_LIMIT,
                size: PING_SIZE,
            },
            Load::Bulk => {
                let unit = if row.client == Who::Ours { "s" } else { "" };
                let rate = BULK_RATE / 1_000_000;
                Self {
                    name: "ocbr",
                    client: words(format!("-n ocbr -d {BULK_SECONDS}{unit} -s {packet} -r {rate}M")),
                    reference_server: &["-l", "-i", "1", "-t", "2"],
                    limit: Duration::from_secs(15),
                    size: BULK_SIZE - BULK_PACKET + packet,
                }
            }
        }
    }
}

/// Starts the server of a row, runs its client and collects what can be seen.
fn exchange(bench: &Bench, net: &Net, kind: &str, row: Combination, tool: &Tool) -> Result<Run, Verdict> {
    let tap = start_tap(&net.far)?;
    let (name, program) = (tool.name, format!("bin/{}", tool.name));
    let ours = |listens: bool| {
        let mut argv = vec![bench.example(name), format!("--{kind}"), "wire".to_owned()];
        argv.extend(listens.then(|| "--listen".to_owned()));
        argv.extend(row.encrypt.iter().flat_map(|(kex, cipher)| ["--encrypt".to_owned(), format!("{kex},{cipher}")]));
        argv
    };
    fn words(argv: &[String]) -> Vec<&str> {
        argv.iter().map(String::as_str).collect()
    }
    let (server, server_daemon) = match row.server {
        Who::Reference => {
            let daemon = Daemon::start_ethernet(kind, &net.far, &bench.install)?;
            daemon.name(name, "server", row.encrypt)?;
            (daemon.serve(name, &program, tool.reference_server)?, Some(daemon))
        }
        Who::Ours => {
            let service = net.far.spawn(&words(&ours(true)))?;
            wait_for(Duration::from_secs(5), || service.output().contains("Serving").then_some(()))
                .ok_or_else(|| Verdict::Strike(format!("the server did not start: {}", service.output())))?;
            (service, None)
        }
    };
    let (client, client_daemon) = match row.client {
        Who::Reference => {
            let daemon = Daemon::start_ethernet(kind, &net.near, &bench.install)?;
            daemon.name(name, "client", row.encrypt)?;
            (daemon.run(tool.limit, &program, &words(&tool.client), false)?, Some(daemon))
        }
        Who::Ours => {
            let mut argv = ours(false);
            argv.extend(tool.client.iter().cloned());
            (net.near.run(tool.limit, &words(&argv))?, None)
        }
    };
    if let Load::Bulk = row.load {
        // A server reports each second; once one passed with nothing in it, all is told.
        wait_for(Duration::from_secs(5), || {
            let reports = bulk_reports(&server.output());
            (reports.len() > 1 && reports.last() == Some(&0)).then_some(())
        });
    }
    std::thread::sleep(SETTLE);
    if std::env::var_os(VERBOSE).is_some() {
        say(&tap.output());
    }
    let daemon_log = [server_daemon, client_daemon].iter().flatten().map(Daemon::log).collect();
    Ok(Run { client, seen: tap.seen(tool.size), server_output: server.output(), daemon_log })
}

fn attempt(bench: &Bench, kind: &str, mtu: usize, packet: usize, row: Combination) -> (Verdict, String) {
    let net = start_net(bench, mtu).expect("two hosts can be made");
    let judge = |run: Run| match row.load {
        Load::Ping(qos) => judge_pings(&run, row, qos),
        // How many are asked for depends on their size.
        Load::Bulk if packet == BULK_PACKET => judge_bulk(&run, row),
        Load::Bulk => judge_large(&run, row),
    };
    let verdict = exchange(bench, &net, kind, row, &Tool::of(row, packet)).and_then(judge);
    (verdict.unwrap_or_else(|failed| failed), net.logs())
}

/// Whether large packets have arrived, as many as were sent.
fn judge_large(run: &Run, row: Combination) -> Result<Verdict, Verdict> {
    let received: usize = bulk_reports(&run.server_output).iter().sum();
    let told = format!("{received} of {} packets, {}", run.seen.there, run.client.ending());
    if run.seen.there == 0 {
        return Err(if row.client == Who::Ours { Verdict::Strike(told) } else { Verdict::Reference(told) });
    }
    if received * 100 < run.seen.there * 99 {
        return Err(if row.server == Who::Ours { Verdict::Strike(told) } else { Verdict::Reference(told) });
    }
    Ok(Verdict::Ok(told))
}

/// Runs one row, with repetitions for what the reference breaks, and prints it.
fn passes(bench: &Bench, kind: &str, mtu: usize, packet: usize, row: Combination) -> bool {
    let (mut strikes, mut on_wire) = (0, None);
    let label = format!("{kind} | mtu {mtu} | {row}");
    for number in 1..=ATTEMPTS {
        let (verdict, logs) = attempt(bench, kind, mtu, packet, row);
        match verdict {
            Verdict::Ok(result) => {
                let after = if number > 1 { format!(" (attempt {number})") } else { String::new() };
                say(&format!("interop: {label} | ok {result}{after}"));
                return true;
            }
            Verdict::OkOnWire(result) => {
                say(&format!("interop: {label} | attempt {number}: reference: {result}"));
                on_wire = Some(result);
            }
            Verdict::Reference(fault) => {
                say(&format!("interop: {label} | attempt {number}: reference: {fault}"));
                if std::env::var_os(VERBOSE).is_some() || number == ATTEMPTS && on_wire.is_none() {
                    say(&logs);
                }
            }
            Verdict::Strike(fault) => {
                strikes += 1;
                say(&format!("interop: {label} | attempt {number}: o7s: {fault}\n{logs}"));
                if strikes >= STRIKES {
                    break;
                }
            }
        }
    }
    let on_wire = on_wire.filter(|_| strikes < STRIKES);
    match &on_wire {
        Some(result) => say(&format!("interop: {label} | ok by packets; reference: {result}")),
        None => say(&format!("interop: {label} | FAILED")),
    }
    on_wire.is_some()
}

fn run_all(kind: &str, mtu: usize, packet: usize, rows: &[Combination]) {
    let _alone = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::set_up() else { return };
    let failed: Vec<_> =
        rows.iter().filter(|row| !passes(&bench, kind, mtu, packet, **row)).map(ToString::to_string).collect();
    assert!(
        failed.is_empty(),
        "{kind}: {} of {} combinations failed:\n{}",
        failed.len(),
        rows.len(),
        failed.join("\n")
    );
}

#[test]
fn dix_flows() {
    run_all("eth-dix", 1500, BULK_PACKET, &rows(&BOTH_WAYS, &EVERY_QOS, &[None, ENCRYPTED]));
}

#[test]
fn llc_flows() {
    run_all("eth-llc", 1500, BULK_PACKET, &rows(&BOTH_WAYS, &EVERY_QOS, &[None, ENCRYPTED]));
}

#[test]
fn bulk_over_both() {
    for kind in ["eth-dix", "eth-llc"] {
        run_all(kind, 1500, BULK_PACKET, &rows(&BOTH_WAYS, &[Load::Bulk], &[None, ENCRYPTED]));
    }
}

#[test]
fn an_mtu_of_9000() {
    run_all("eth-dix", 9000, BULK_PACKET, &rows(&BOTH_WAYS, &EVERY_QOS, &[ENCRYPTED]));
    run_all("eth-dix", 9000, 4000, &rows(&BOTH_WAYS, &[Load::Bulk], &[None]));
}

/// How many pings of a flow of ours were answered, of those that were sent.
fn streamed(member: &Member) -> io::Result<(usize, usize)> {
    let told = member.tell("streamed")?;
    let (answered, sent) = told.split_once('/').ok_or_else(|| io::Error::other("no stream"))?;
    Ok((answered.parse().unwrap_or(0), sent.parse().unwrap_or(0)))
}

/// A flow to a server of the reference goes on after its link was down, at either end.
fn survives(bench: &Bench, kind: &str) -> Result<String, Verdict> {
    let net = start_net(bench, 1500)?;
    let daemon = Daemon::start_ethernet(kind, &net.far, &bench.install)?;
    daemon.name("oping", "server", None)?;
    daemon.serve("oping", "bin/oping", &["-l"])?;
    let member = Member::start_ethernet(kind, &net.near)?;
    member.tell("stream oping 10")?;
    let moves_on = |what: &str| {
        let (before, _) = streamed(&member)?;
        wait_for(Duration::from_secs(5), || streamed(&member).is_ok_and(|(now, _)| now > before + 10).then_some(()))
            .ok_or_else(|| Verdict::Strike(format!("no more answers {what}")))
    };
    moves_on("at first")?;
    for (host, what) in [(&net.near, "after the link of ours was down"), (&net.far, "after the carrier was away")] {
        // While the reference's own link is down its flows are, too; it says so and goes on.
        ip(host, "down")?;
        std::thread::sleep(Duration::from_millis(500));
        let (down, _) = streamed(&member)?;
        std::thread::sleep(Duration::from_millis(300));
        if streamed(&member)?.0 > down + 1 {
            return Err(Verdict::Strike("answers while the link is down".into()));
        }
        ip(host, "up")?;
        moves_on(what)?;
    }
    let (answered, sent) = streamed(&member)?;
    Ok(format!("{answered} of {sent} answered"))
}

#[test]
fn a_link_that_comes_back() {
    let _alone = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::set_up() else { return };
    for kind in ["eth-dix", "eth-llc"] {
        let mut strikes = 0;
        let came_back = (1..=ATTEMPTS).any(|attempt| match survives(&bench, kind) {
            Ok(told) => {
                say(&format!("interop: {kind} | link down and up, both ends | ok {told}"));
                true
            }
            Err(Verdict::Strike(why)) if strikes < STRIKES => {
                strikes += 1;
                say(&format!("interop: {kind} | link down and up | attempt {attempt}: {why}"));
                false
            }
            Err(Verdict::Strike(why) | Verdict::Reference(why) | Verdict::Ok(why) | Verdict::OkOnWire(why)) => {
                say(&format!("interop: {kind} | link down and up | attempt {attempt}: reference: {why}"));
                false
            }
        });
        assert!(came_back && strikes < STRIKES, "{kind}: a flow did not survive");
    }
}
