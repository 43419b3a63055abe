//! Unicast layers of some nodes of o7s and the reference, over UDP or Ethernet: who they are, how they come up, and whose fault it is
//! if they do not.

use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

use crate::member::Member;
use crate::net::{Host, Lan, wait_for};
use crate::reference::{self, Daemon, resolver_name};
use crate::{Bench, Verdict, Who};

pub(crate) const NAMES: [&str; 5] = ["node-a", "node-b", "node-c", "node-d", "node-e"];
pub(crate) const LAYER: &str = "campus";
pub(crate) const ENCRYPT: (&str, &str) = ("prime256v1", "aes-256-gcm");

/// Has the logs of all nodes printed in any case.
pub(crate) const VERBOSE: &str = "O7S_INTEROP_VERBOSE";

/// How long it may take until every node knows every link.
const CONVERGENCE: Duration = Duration::from_secs(10);
/// What the reference takes to compute routes, and both to find contacts.
const SETTLE: Duration = Duration::from_millis(4500);
/// The same, if it computes them every second.
const SETTLE_SOON: Duration = Duration::from_millis(1800);
pub(crate) const SOON: [&str; 2] = ["ls_t_recalc", "1"];

/// Who is connected to whom.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each to the one before it, at which it has enrolled.
    Line,
    /// As a line, and the last to the first as well. A node of ours allocates the flows to its neighbours, so that they have
    /// its time of detection.
    Ring,
    /// All to the first.
    Star,
}

/// Some nodes, and what the first says of the layer.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) nodes: &'static [Who],
    pub(crate) shape: Shape,
    pub(crate) options: &'static [&'static str],
}

impl Setup {
    pub(crate) fn line(nodes: &'static [Who], options: &'static [&'static str]) -> Self {
        Self { nodes, shape: Shape::Line, options }
    }

    /// At whom a node enrolls.
    fn before(self, node: usize) -> Option<usize> {
        node.checked_sub(1).map(|before| if self.shape == Shape::Star { 0 } else { before })
    }

    /// Who allocates the flows to whom.
    fn links(self) -> Vec<(usize, usize)> {
        let mut links: Vec<_> = (1..self.nodes.len()).filter_map(|node| Some((node, self.before(node)?))).collect();
        if self.shape == Shape::Ring {
            links.push((self.nodes.len() - 1, 0));
            let turn = |link: &mut (usize, usize)| {
                if self.nodes[link.0] == Who::Reference {
                    *link = (link.1, link.0);
                }
            };
            links.iter_mut().for_each(turn);
        }
        links
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(ToString::to_string).collect();
        match self.shape {
            Shape::Line => {}
            Shape::Ring => f.write_str("ring ")?,
            Shape::Star => f.write_str("star ")?,
        }
        f.write_str(&nodes.join(" - "))?;
        match self.options {
            [] => Ok(()),
            options => write!(f, " | {}", options.join(" ")),
        }
    }
}

pub(crate) fn letter(node: usize) -> char {
    ('a'..).nth(node).unwrap_or('?')
}

pub(crate) fn served(node: usize, encrypt: bool) -> String {
    format!("ping-{}{}", letter(node), if encrypt { "-safe" } else { "" })
}

/// One node of a setup.
pub(crate) enum Node<'a> {
    Ours(Member),
    Reference(Daemon<'a>),
}

impl<'a> Node<'a> {
    /// A node with an IPCP over UDP, which knows all names.
    pub(crate) fn start(who: Who, place: (usize, usize), host: &'a Host, bench: &'a Bench) -> io::Result<Self> {
        Self::start_over(None, who, place, host, bench)
    }

    /// As [`start`](Self::start), with an IPCP of an Ethernet layer of this type, if there is one.
    fn start_over(
        ethernet: Option<&str>,
        who: Who,
        (own, nodes): (usize, usize),
        host: &'a Host,
        bench: &'a Bench,
    ) -> io::Result<Self> {
        Ok(match (who, ethernet) {
            (Who::Ours, None) => Self::Ours(Member::start(host)?),
            (Who::Ours, Some(kind)) => Self::Ours(Member::start_ethernet(kind, host)?),
            (Who::Reference, _) => {
                let daemon = match ethernet {
                    None => Daemon::start(host, &bench.install)?,
                    Some(kind) => Daemon::start_ethernet(kind, host, &bench.install)?,
                };
                daemon.unused_names()?;
                // Early: of later names it forgets the configuration, too, now and then.
                for node in 0..nodes {
                    let role = if node == own { "server" } else { "client" };
                    daemon.one_more_name(&served(node, true), role, Some(ENCRYPT))?;
                }
                for (node, name) in NAMES.iter().enumerate().take(nodes) {
                    daemon.one_more_name(&served(node, false), "server", None)?;
                    daemon.one_more_name(name, "server", None)?;
                }
                Self::Reference(daemon)
            }
        })
    }

    fn bootstrap(&self, name: &str, options: &[&str]) -> Result<(), Verdict> {
        match self {
            Self::Ours(member) => {
                strike(member.tell(&format!("bootstrap {name} {LAYER} {}", options.join(" "))))?;
            }
            Self::Reference(daemon) => {
                let mut words = vec!["ipcp", "bootstrap", "type", "unicast", "name", name, "layer", LAYER, "autobind"];
                words.extend(options);
                daemon.irm(&words)?;
                daemon.irm(&["name", "register", name, "layer", reference::LAYER])?;
            }
        }
        Ok(())
    }

    /// A failure is said to be ours: one of the two nodes is.
    pub(crate) fn enroll(&self, name: &str, by: &str) -> Result<(), Verdict> {
        match self {
            Self::Ours(member) => {
                strike(member.tell(&format!("enroll {name} {by}")))?;
            }
            Self::Reference(daemon) => {
                strike(daemon.irm(&["ipcp", "enroll", "name", name, "layer", LAYER, "dst", by, "autobind"]))?;
                daemon.irm(&["name", "register", name, "layer", reference::LAYER])?;
            }
        }
        Ok(())
    }

    pub(crate) fn connect(&self, name: &str, to: &str) -> Result<(), Verdict> {
        match self {
            Self::Ours(member) => {
                strike(member.tell(&format!("connect {to}")))?;
            }
            Self::Reference(daemon) => {
                strike(daemon.irm(&["ipcp", "connect", "name", name, "dst", to]))?;
            }
        }
        Ok(())
    }

    /// Answers pings under two names of node number `own`, and makes it possible to ask all others.
    pub(crate) fn serve(&self, own: usize, nodes: usize) -> Result<(), Verdict> {
        let (plain, safe) = (served(own, false), served(own, true));
        match self {
            Self::Ours(member) => {
                for node in 0..nodes {
                    let (kex, cipher) = ENCRYPT;
                    strike(member.tell(&format!("encrypt {} {kex},{cipher}", served(node, true))))?;
                }
                for name in [&plain, &safe] {
                    strike(member.tell(&format!("serve {name}")))?;
                }
            }
            Self::Reference(daemon) => {
                daemon.serve_in(&[&plain, &safe], LAYER, "bin/oping", &["-l"])?;
            }
        }
        Ok(())
    }
}

pub(crate) fn strike<T>(result: io::Result<T>) -> Result<T, Verdict> {
    result.map_err(|e| Verdict::Strike(e.to_string()))
}

/// Brings a layer up in which every node serves and every node of ours knows every link.
pub(crate) fn build<'a>(
    bench: &'a Bench,
    lan: &'a Lan,
    setup: Setup,
    nodes: &mut Vec<Node<'a>>,
) -> Result<(), Verdict> {
    build_over(None, bench, lan, setup, nodes)
}

/// As [`build`], over Ethernet layers of this type, if there is one.
pub(crate) fn build_over<'a>(
    ethernet: Option<&str>,
    bench: &'a Bench,
    lan: &'a Lan,
    setup: Setup,
    nodes: &mut Vec<Node<'a>>,
) -> Result<(), Verdict> {
    for host in &lan.hosts {
        for (name, other) in NAMES.iter().zip(&lan.hosts) {
            host.resolve(&resolver_name(name), other.address)?;
        }
    }
    for (i, (who, host)) in setup.nodes.iter().zip(&lan.hosts).enumerate() {
        nodes.push(Node::start_over(ethernet, *who, (i, lan.hosts.len()), host, bench)?);
    }
    let links = setup.links();
    for (i, node) in nodes.iter().enumerate() {
        match setup.before(i) {
            None => node.bootstrap(NAMES[i], setup.options)?,
            Some(before) => node.enroll(NAMES[i], NAMES[before])?,
        }
        // Only who is connected can be enrolled with by others.
        for (from, to) in links.iter().filter(|(from, to)| i == *from.max(to)) {
            nodes[*from].connect(NAMES[*from], NAMES[*to])?;
        }
    }
    let wanted = 2 * links.len();
    for member in ours(nodes) {
        let known = || member.tell("links").unwrap_or_default().split_whitespace().count();
        wait_for(CONVERGENCE, || (known() == wanted).then_some(()))
            .ok_or_else(|| Verdict::Strike(format!("{} of {wanted} links known", known())))?;
    }
    thread::sleep(if setup.options.starts_with(&SOON) { SETTLE_SOON } else { SETTLE });
    for (i, node) in nodes.iter().enumerate() {
        node.serve(i, nodes.len())?;
    }
    Ok(())
}

/// It answered a flow request before it had noted whose it was, and waits for ever for what it has missed.
pub(crate) const HANGS: &str = "alloc_resp timed out";

/// What the reference's daemons say of faults that look like ours from outside.
const EXCUSES: [(&str, &str); 4] = [
    (HANGS, "an IPCP of it hangs in a reply to a flow request"),
    ("Failed to respond to flow", "it lost its reply to a flow request"),
    ("Failed to send flow allocation response", "it lost its reply to a flow request"),
    ("from wrong source", "it took a reply for somebody else's"),
];

/// Has the reference take the blame for what one of its daemons complains of.
pub(crate) fn excused(verdict: Verdict, nodes: &[Node<'_>]) -> Verdict {
    excused_by(verdict, &logs(nodes))
}

/// As [`excused`], by what the daemons have said.
pub(crate) fn excused_by(verdict: Verdict, logs: &str) -> Verdict {
    let Verdict::Strike(why) = verdict else { return verdict };
    match EXCUSES.iter().find(|(complaint, _)| logs.contains(complaint)) {
        Some((_, excuse)) => Verdict::Reference(format!("{excuse} ({why})")),
        None => Verdict::Strike(why),
    }
}

/// What all daemons of the reference have said.
pub(crate) fn logs(nodes: &[Node<'_>]) -> String {
    let logs = nodes.iter().filter_map(|node| match node {
        Node::Reference(daemon) => Some(daemon.log()),
        Node::Ours(_) => None,
    });
    logs.collect()
}

pub(crate) fn ours<'n>(nodes: &'n [Node<'_>]) -> impl Iterator<Item = &'n Member> {
    nodes.iter().filter_map(|node| match node {
        Node::Ours(member) => Some(member),
        Node::Reference(_) => None,
    })
}
