//! Unicast layers of o7s and the reference, over UDP and over Ethernet.
//!
//! A setup is a line of nodes, each one of o7s or the reference. The first bootstraps the layer; each of the others enrolls
//! with, and connects to, the one before it. What is tried in a setup is tried one after the other in the same one; what
//! fails is tried again there, and then in a fresh one, because the reference loses an allocation now and then and some
//! of its clients abort.

use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

use crate::net::Lan;
use crate::nodes::{HANGS, Node, SOON, Setup, VERBOSE, build_over, excused, letter, logs, ours, served};
use crate::{ATTEMPTS, Bench, PINGS, SERIAL, STRIKES, Verdict, Who, ping_replies, say};

/// What a ping takes at most, if it is not lost for good: 2 s are spent waiting for a missing answer.
const PING_LIMIT: Duration = Duration::from_secs(4);
/// What is tried again in the same setup, and after which pause.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(700);

/// Pings from a node to a name that is served at another.
#[derive(Clone, Copy)]
struct Ping {
    from: usize,
    to: usize,
    qos: &'static str,
    encrypt: bool,
}

impl Ping {
    fn name(self) -> String {
        served(self.to, self.encrypt)
    }

    fn how(self) -> &'static str {
        if self.encrypt { "encrypted" } else { "plain" }
    }
}

impl fmt::Display for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} | {} | {}", letter(self.from), letter(self.to), self.qos, self.how())
    }
}

/// What at least passes a node in the middle for a flow: request, reply, pings and their answers.
const EXCHANGE: u64 = 2 + 2 * PINGS as u64;

/// Packets that a node of ours in the middle has forwarded, and those that it has dropped.
fn forwarded(nodes: &[Node<'_>]) -> Option<(u64, u64)> {
    let Some(Node::Ours(member)) = nodes.get(1).filter(|_| nodes.len() > 2) else { return None };
    let told = member.tell("forwarded").ok()?;
    let (passed, lost) = told.split_once(' ')?;
    Some((passed.parse().ok()?, lost.parse().ok()?))
}

/// Runs a ping in a setup that stands.
fn ping(nodes: &[Node<'_>], ping: Ping) -> Verdict {
    let name = ping.name();
    let answered = || match &nodes[ping.to] {
        Node::Ours(member) => member.tell(&format!("answered {}", ping.how())).ok()?.parse::<usize>().ok(),
        Node::Reference(_) => None,
    };
    let before = answered();
    let passed = forwarded(nodes);
    match &nodes[ping.from] {
        Node::Ours(member) => match member.tell(&format!("ping {name} {} {PINGS}", ping.qos)) {
            Ok(text) if text == format!("{PINGS} {}", ping.how()) => Verdict::Ok(format!("{PINGS}/{PINGS}")),
            Ok(text) => Verdict::Strike(format!("{text} of {PINGS}")),
            Err(e) => Verdict::Strike(e.to_string()),
        },
        Node::Reference(daemon) => {
            let count = PINGS.to_string();
            let options = ["-n", &name, "-c", &count, "-i", "50ms", "-q", ping.qos];
            let run = match daemon.run(PING_LIMIT, "bin/oping", &options, false) {
                Ok(run) => run,
                Err(e) => return e.into(),
            };
            let replies = ping_replies(&run.output);
            let ours = answered().zip(before).map(|(after, before)| after - before);
            let told = format!("{replies}/{PINGS} replies shown, {}", run.ending());
            let safe_passage = match (passed, forwarded(nodes)) {
                // Of a neighbour that was lost meanwhile nothing is known any more: then nothing is said about the way.
                (Some((passed, lost)), Some((now, gone))) => {
                    gone == lost && now.checked_sub(passed).is_some_and(|more| more >= EXCHANGE)
                }
                _ => false,
            };
            let enabled = !ping.encrypt || daemon.log().contains(&format!("Encryption enabled for {name}"));
            match ours {
                _ if !enabled => Verdict::Reference(format!("it did not ask for encryption; {told}")),
                Some(ours) if replies == PINGS && ours < PINGS => Verdict::Strike("answered on the wrong flow".into()),
                _ if replies == PINGS => Verdict::Ok(format!("{PINGS}/{PINGS}")),
                // On best-effort flows it shows as many of our answers as of its own: one of the tries has to show all.
                Some(ours) if ours >= PINGS && ping.qos != "best" => {
                    Verdict::OkOnWire(format!("{ours} answered; {told}"))
                }
                Some(ours) if ping.qos == "raw" => Verdict::Strike(format!("{ours} answered; {told}")),
                // Its clients hang and abort on flows with FRCT; whether ours had a part in it, the next tries tell.
                Some(ours) => Verdict::Reference(format!("{ours} answered; {told}")),
                // Between two references one answer in ten disappears on flows with FRCT.
                None if safe_passage && replies > 0 && ping.qos != "raw" => {
                    Verdict::OkOnWire(format!("nothing was lost between them; {told}"))
                }
                None => Verdict::Reference(told),
            }
        }
    }
}

/// A ping that has not worked yet.
struct Pending {
    ping: Ping,
    on_wire: Option<String>,
}

/// Runs pings in a setup, with repetitions, and prints a row for each. `check` says more of a setup that stands.
fn run(setup: Setup, pings: &[Ping], check: impl Fn(&[Node<'_>]) -> Result<String, Verdict>) {
    run_over(None, setup, pings, check);
}

/// As [`run`], over Ethernet layers of this type, if there is one.
fn run_over(
    ethernet: Option<&str>,
    setup: Setup,
    pings: &[Ping],
    check: impl Fn(&[Node<'_>]) -> Result<String, Verdict>,
) {
    let _alone = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::set_up() else { return };
    if let Some(kind) = ethernet {
        say(&format!("interop: over {kind}:"));
    }
    let mut pending: Vec<_> = pings.iter().map(|ping| Pending { ping: *ping, on_wire: None }).collect();
    let (mut strikes, mut checked) = (0, false);
    for attempt in 1..=ATTEMPTS {
        let lan = Lan::start(setup.nodes.len() as u8, &bench.view).expect("hosts can be made");
        let mut fault = |what: &str, verdict: Verdict| match verdict {
            Verdict::Ok(_) | Verdict::OkOnWire(_) => {}
            Verdict::Reference(why) => say(&format!("interop: {setup} | {what}, attempt {attempt}: reference: {why}")),
            Verdict::Strike(why) => {
                strikes += 1;
                say(&format!("interop: {setup} | {what}, attempt {attempt}: {why}"));
            }
        };
        let mut nodes = Vec::new();
        match build_over(ethernet, &bench, &lan, setup, &mut nodes) {
            Err(verdict) => fault("setting up", excused(verdict, &nodes)),
            Ok(()) => {
                if attempt == 1 {
                    say(&format!("interop: {setup} | enrolled and connected"));
                }
                if !checked {
                    match check(&nodes) {
                        Ok(text) => {
                            checked = true;
                            if !text.is_empty() {
                                say(&format!("interop: {setup} | {text}"));
                            }
                        }
                        Err(verdict) => fault("check", verdict),
                    }
                }
                // Where one has failed to the end, the reference often has nothing more to say.
                let mut hangs = false;
                pending.retain_mut(|pending| {
                    let settled = !hangs && settled(setup, &nodes, pending, &mut fault);
                    hangs |= !settled;
                    !settled
                });
                for member in ours(&nodes) {
                    let _ = member.tell("rib");
                }
            }
        }
        let done = pending.is_empty() && checked;
        if std::env::var_os(VERBOSE).is_some() || !done && strikes >= STRIKES {
            say(&lan.logs());
        }
        if done {
            return;
        }
        if strikes >= STRIKES {
            break;
        }
    }
    let failed: Vec<_> = pending
        .iter()
        .filter(|pending| match &pending.on_wire {
            Some(told) => {
                say(&format!("interop: {setup} | {} | ok by packets; reference: {told}", pending.ping));
                false
            }
            None => true,
        })
        .map(|pending| pending.ping.to_string())
        .collect();
    assert!(failed.is_empty() && checked, "{setup}: {} failed:\n{}", failed.len(), failed.join("\n"));
}

/// Tries a ping a few times. Whether it need not be tried again.
fn settled(setup: Setup, nodes: &[Node<'_>], pending: &mut Pending, fault: &mut impl FnMut(&str, Verdict)) -> bool {
    let what = pending.ping.to_string();
    for last in (0..TRIES).map(|i| i + 1 == TRIES) {
        let verdict = ping(nodes, pending.ping);
        // After that it never answers again.
        let last = last || logs(nodes).contains(HANGS);
        match verdict {
            Verdict::Ok(told) => {
                say(&format!("interop: {setup} | {what} | ok {told}"));
                return true;
            }
            Verdict::OkOnWire(told) => pending.on_wire = Some(told),
            verdict if last => fault(&what, excused(verdict, nodes)),
            Verdict::Strike(why) | Verdict::Reference(why) => {
                say(&format!("interop: {setup} | {what} | once more: {why}"));
            }
        }
        if last {
            break;
        }
        thread::sleep(PAUSE);
    }
    if let Some(told) = &pending.on_wire {
        say(&format!("interop: {setup} | {what} | ok by packets; reference: {told}"));
    }
    pending.on_wire.is_some()
}

/// All kinds of pings between two nodes, both ways.
fn all_pings(a: usize, b: usize) -> Vec<Ping> {
    let mut pings = Vec::new();
    for (from, to) in [(a, b), (b, a)] {
        for encrypt in [false, true] {
            pings.extend(["raw", "best", "data"].map(|qos| Ping { from, to, qos, encrypt }));
        }
    }
    pings
}

fn raw((from, to): (usize, usize)) -> Ping {
    Ping { from, to, qos: "raw", encrypt: false }
}

fn nothing_more(_: &[Node<'_>]) -> Result<String, Verdict> {
    Ok(String::new())
}

#[test]
fn reference_enrolls_with_o7s() {
    run(Setup::line(&[Who::Ours, Who::Reference], &[]), &all_pings(0, 1), nothing_more);
}

#[test]
fn o7s_enrolls_with_reference() {
    run(Setup::line(&[Who::Reference, Who::Ours], &[]), &all_pings(0, 1), nothing_more);
}

#[test]
fn reference_enrolls_with_o7s_over_ethernet() {
    run_over(Some("eth-dix"), Setup::line(&[Who::Ours, Who::Reference], &SOON), &all_pings(0, 1), nothing_more);
}

#[test]
fn o7s_enrolls_with_reference_over_ethernet() {
    run_over(Some("eth-dix"), Setup::line(&[Who::Reference, Who::Ours], &SOON), &all_pings(0, 1), nothing_more);
}

#[test]
fn o7s_between_references() {
    let nodes = &[Who::Reference, Who::Ours, Who::Reference];
    run(Setup::line(nodes, &SOON), &all_pings(0, 2), nothing_more);
}

#[test]
fn reference_between_o7s() {
    let nodes = &[Who::Ours, Who::Reference, Who::Ours];
    run(Setup::line(nodes, &SOON), &all_pings(0, 2), nothing_more);
}

/// The reference does not show its link-state database, if built without FUSE. But each of the two ends knows of all links
/// but its own only what the database of its reference tells, the last one everything from the replica that it got when
/// it connected; and the references have learnt from each other.
#[test]
fn link_state() {
    let nodes = &[Who::Ours, Who::Reference, Who::Reference, Who::Ours];
    run(Setup::line(nodes, &SOON), &[(0, 3), (3, 0)].map(raw), |nodes| {
        let links: Vec<_> = ours(nodes).map(|member| member.tell("links")).collect::<io::Result<_>>()?;
        if links.windows(2).all(|pair| pair[0] == pair[1]) {
            Ok(format!("both ends have the same links from their references: {}", links[0]))
        } else {
            Err(Verdict::Strike(format!("the ends have different links: {links:?}")))
        }
    });
}

#[test]
fn options() {
    const OPTIONS: [&[&str]; 3] = [
        &[SOON[0], SOON[1], "routing", "lfa", "congestion", "mb-ecn"],
        &[SOON[0], SOON[1], "routing", "ecmp", "congestion", "none"],
        &[SOON[0], SOON[1], "hash", "SHA3_512"],
    ];
    for options in OPTIONS {
        for nodes in [&[Who::Ours, Who::Reference], &[Who::Reference, Who::Ours]] {
            run(Setup::line(nodes, options), &[(0, 1), (1, 0)].map(raw), nothing_more);
        }
    }
}
