//! Broadcast layers of o7s and the reference, over UDP and over Ethernet.
//!
//! A line of nodes, each one of o7s or the reference, in which every node listens and each says one word. Every word must
//! reach every listener, once. The reference's listener misses what is said before it has joined, so a word is said only
//! when all listeners are there.
//!
//! A reference loses its reply to a flow request once in about 70 allocations, more often beside other load: it answers
//! before it has stored who asks, and its daemon says so. Whoever enrolls with it then waits in vain. That is its fault, as
//! in the other tests, and such a layer gets a fresh start; what cannot be told from the log counts as ours.

use std::io;
use std::thread;
use std::time::Duration;

use crate::member::Member;
use crate::net::{Host, Lan, Service, wait_for};
use crate::nodes::{excused_by, strike};
use crate::reference::{self, Daemon, resolver_name};
use crate::{Bench, FRESH_STARTS, SERIAL, STRIKES, Verdict, Who, say};

const NAMES: [&str; 3] = ["speaker-a", "speaker-b", "speaker-c"];
const WORDS: [&str; 3] = ["alpha", "beta", "gamma"];
const LAYER: &str = "news";
/// How long a program of the reference may take to join, and a word to arrive.
const PATIENCE: Duration = Duration::from_secs(3);
/// A word said twice would have come by then.
const SETTLE: Duration = Duration::from_millis(300);

enum Node<'a> {
    Ours(Member),
    Reference(Daemon<'a>, Option<Service>),
}

impl<'a> Node<'a> {
    /// A node with an IPCP over UDP, or of an Ethernet layer of this type.
    fn start(ethernet: Option<&str>, who: Who, host: &'a Host, bench: &'a Bench) -> io::Result<Self> {
        Ok(match (who, ethernet) {
            (Who::Ours, None) => Self::Ours(Member::start(host)?),
            (Who::Ours, Some(kind)) => Self::Ours(Member::start_ethernet(kind, host)?),
            (Who::Reference, _) => {
                let daemon = match ethernet {
                    None => Daemon::start(host, &bench.install)?,
                    Some(kind) => Daemon::start_ethernet(kind, host, &bench.install)?,
                };
                daemon.unused_names()?;
                for name in NAMES {
                    daemon.one_more_name(name, "server", None)?;
                }
                Self::Reference(daemon, None)
            }
        })
    }

    fn join(&self, name: &str, by: Option<&str>) -> Result<(), Verdict> {
        match (self, by) {
            (Self::Ours(member), None) => {
                strike(member.tell(&format!("broadcast-bootstrap {name} {LAYER}")))?;
            }
            (Self::Ours(member), Some(by)) => {
                strike(member.tell(&format!("broadcast-enroll {name} {by}")))?;
                strike(member.tell(&format!("connect {by}")))?;
            }
            (Self::Reference(daemon, _), None) => {
                daemon.irm(&["ipcp", "bootstrap", "type", "broadcast", "name", name, "layer", LAYER, "autobind"])?;
                daemon.irm(&["name", "register", name, "layer", reference::LAYER])?;
            }
            (Self::Reference(daemon, _), Some(by)) => {
                let enroll =
                    ["ipcp", "enroll", "type", "broadcast", "name", name, "layer", LAYER, "dst", by, "autobind"];
                strike(daemon.irm(&enroll))?;
                daemon.irm(&["name", "register", name, "layer", reference::LAYER])?;
                strike(daemon.irm(&["ipcp", "connect", "name", name, "component", "dt", "dst", by]))?;
            }
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), Verdict> {
        match self {
            Self::Ours(member) => {
                strike(member.tell(&format!("listen {LAYER}")))?;
            }
            Self::Reference(daemon, listener) => {
                let service = daemon.spawn("bin/obc", &["-l", "-n", LAYER])?;
                wait_for(PATIENCE, || service.output().contains("New flow").then_some(()))
                    .ok_or_else(|| Verdict::Reference("its listener did not join".into()))?;
                *listener = Some(service);
            }
        }
        Ok(())
    }

    fn say(&self, word: &str) -> Result<(), Verdict> {
        match self {
            Self::Ours(member) => {
                strike(member.tell(&format!("say {LAYER} {word}")))?;
            }
            Self::Reference(daemon, _) => {
                daemon.run(PATIENCE, "bin/obc", &["-n", LAYER, "-m", word], false)?;
            }
        }
        Ok(())
    }

    /// What its daemon has said, if it is of the reference.
    fn daemon_log(&self) -> Option<String> {
        match self {
            Self::Ours(_) => None,
            Self::Reference(daemon, _) => Some(daemon.log()),
        }
    }

    /// The words that have come, in alphabetical order.
    fn heard(&self) -> Vec<String> {
        let text = match self {
            Self::Ours(member) => member.tell("heard").unwrap_or_default(),
            Self::Reference(_, listener) => listener.as_ref().map(Service::output).unwrap_or_default(),
        };
        let known = |word: &&str| WORDS.contains(word);
        let mut words: Vec<_> =
            text.split_whitespace().map(|word| word.trim_end_matches('.')).filter(known).map(str::to_owned).collect();
        words.sort();
        words
    }
}

/// Every node listens, each says a word: whether all have heard all.
fn talk(ethernet: Option<&str>, bench: &Bench, lan: &Lan, who: &[Who]) -> Result<String, Verdict> {
    let nodes = who.iter().zip(&lan.hosts).map(|(who, host)| Node::start(ethernet, *who, host, bench));
    let mut nodes = nodes.collect::<io::Result<Vec<_>>>()?;
    talk_among(&mut nodes, lan).map_err(|verdict| {
        let logs: String = nodes.iter().filter_map(Node::daemon_log).collect();
        excused_by(verdict, &logs)
    })
}

fn talk_among(nodes: &mut [Node<'_>], lan: &Lan) -> Result<String, Verdict> {
    for host in &lan.hosts {
        for (name, other) in NAMES.iter().zip(&lan.hosts) {
            host.resolve(&resolver_name(name), other.address)?;
        }
    }
    for (i, node) in nodes.iter().enumerate() {
        node.join(NAMES[i], i.checked_sub(1).map(|before| NAMES[before]))?;
    }
    for node in &mut *nodes {
        node.listen()?;
    }
    let words = &WORDS[..nodes.len()];
    for (node, word) in nodes.iter().zip(words) {
        node.say(word)?;
    }
    wait_for(PATIENCE, || nodes.iter().all(|node| node.heard() == words).then_some(()));
    thread::sleep(SETTLE);
    match nodes.iter().zip(NAMES).map(|(node, name)| (name, node.heard())).find(|(_, heard)| heard != words) {
        None => Ok(format!("{} words heard by each of {} nodes", words.len(), nodes.len())),
        Some((name, heard)) => Err(Verdict::Strike(format!("{name} heard {heard:?}"))),
    }
}

fn run(who: &[Who]) {
    run_over(None, who);
}

fn run_over(ethernet: Option<&str>, who: &[Who]) {
    let _alone = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::set_up() else { return };
    let mut row = who.iter().map(ToString::to_string).collect::<Vec<_>>().join(" - ");
    row.extend(ethernet.map(|kind| format!(" | {kind}")));
    let mut strikes = 0;
    for attempt in 1..=FRESH_STARTS {
        let lan = Lan::start(who.len() as u8, &bench.view).expect("hosts can be made");
        match talk(ethernet, &bench, &lan, who) {
            Ok(told) => {
                say(&format!("interop: broadcast {row} | ok {told}"));
                return;
            }
            Err(Verdict::Strike(why)) => {
                strikes += 1;
                say(&format!("interop: broadcast {row} | attempt {attempt}: {why}"));
            }
            Err(Verdict::Reference(why) | Verdict::Ok(why) | Verdict::OkOnWire(why)) => {
                say(&format!("interop: broadcast {row} | attempt {attempt}: reference: {why}"));
            }
        }
        if strikes >= STRIKES || attempt == FRESH_STARTS {
            say(&lan.logs());
            break;
        }
    }
    panic!("broadcast {row}: not everybody heard everything");
}

#[test]
fn o7s_enrolls() {
    run(&[Who::Reference, Who::Ours]);
}

#[test]
fn reference_enrolls() {
    run(&[Who::Ours, Who::Reference]);
}

#[test]
fn o7s_enrolls_over_ethernet() {
    run_over(Some("eth-dix"), &[Who::Reference, Who::Ours]);
}

#[test]
fn reference_enrolls_over_ethernet() {
    run_over(Some("eth-dix"), &[Who::Ours, Who::Reference]);
}

#[test]
fn o7s_in_the_middle() {
    run(&[Who::Reference, Who::Ours, Who::Reference]);
}

#[test]
fn reference_in_the_middle() {
    run(&[Who::Ours, Who::Reference, Who::Ours]);
}
