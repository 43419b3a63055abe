//! Senders of ours and of the reference on one bottleneck: the link from a node in the middle to the receiver.

use std::thread;
use std::time::{Duration, Instant};

use crate::heals::{Scene, row};
use crate::net::wait_for;
use crate::nodes::{Node, Setup, Shape, strike};
use crate::{Verdict, Who, say};

const OPTIONS: [&str; 4] = ["ls_t_recalc", "1", "congestion", "mb-ecn"];
/// The receiver, in a star whose centre is in the middle.
const RECEIVER: usize = 3;
/// From the start of the last flow, and then.
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);
const SECONDS: &str = "15";
/// Mb/s at which all flows can be allocated.
const ENOUGH: u32 = 100;
const SIZE: &str = "1000";
/// References that send so many times what the link carries do not avoid congestion.
const OVERLOAD: f64 = 1.2;
/// Of a fair share, what everybody has at least.
const LEAST: f64 = 0.1;
/// Jain's index of shares that are even.
const EVEN: f64 = 0.95;

/// What is asked of the shares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    /// Nothing; a measurement.
    Nothing,
    /// Everybody has some part of a fair share.
    Part,
    /// The same, unless references send more than the link carries, whatever they hear.
    PartUnlessDeaf,
    /// Everybody has the same.
    Even,
}

/// What one run came to, Mb/s for each flow.
struct Shares {
    received: Vec<(Who, f64)>,
    /// What the references have sent, as they say themselves.
    sent: Vec<f64>,
}

impl Shares {
    /// Jain's index: 1 if all have the same, 1/n if one has everything, 0 if nobody has anything.
    fn jain(&self) -> f64 {
        let squares: f64 = self.received.iter().map(|(_, rate)| rate * rate).sum();
        if squares > 0.0 { self.sum().powi(2) / (self.received.len() as f64 * squares) } else { 0.0 }
    }

    fn sum(&self) -> f64 {
        self.received.iter().map(|(_, rate)| rate).sum()
    }

    /// The least that a kind has of its fair share; 0 if nobody has anything.
    fn least(&self, of: Who) -> Option<f64> {
        let fair = self.sum() / self.received.len() as f64;
        let own = self.received.iter().filter(|(who, _)| *who == of);
        own.map(|(_, rate)| if fair > 0.0 { rate / fair } else { 0.0 }).min_by(f64::total_cmp)
    }
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rates: Vec<_> = self.received.iter().map(|(who, rate)| format!("{who} {rate:.2}")).collect();
        write!(f, "{} | sum {:.2} Mb/s | Jain {:.2}", rates.join(", "), self.sum(), self.jain())?;
        write!(f, " | least of a fair share:")?;
        for who in [Who::Ours, Who::Reference] {
            if let Some(least) = self.least(who) {
                write!(f, " {who} {least:.2}")?;
            }
        }
        let sent: Vec<_> = self.sent.iter().map(|rate| format!("{rate:.1}")).collect();
        if sent.is_empty() { Ok(()) } else { write!(f, " | references sent {} Mb/s", sent.join(", ")) }
    }
}

/// So many flows from each of two nodes, both as greedy as they can be.
fn compete(scene: &mut Scene<'_, '_>, mbits: u32, each: usize) -> Result<Shares, Verdict> {
    // What allocates the last flow would be lost where the others are greedy already.
    scene.lan.hosts[0].limit(mbits.max(ENOUGH))?;
    let rate = format!("{}", u64::from(mbits) * 2_000_000);
    let mut flows = Vec::new();
    for at in 1..RECEIVER {
        for n in 0..each {
            let name = format!("sink-{at}-{n}");
            strike(scene.ours(RECEIVER).tell(&format!("sink {name}")))?;
            let who = match &scene.nodes[at] {
                Node::Ours(member) => {
                    strike(member.tell(&format!("flood {name} {SECONDS} {SIZE}")))?;
                    Who::Ours
                }
                Node::Reference(daemon) => {
                    daemon.one_more_name(&name, "server", None)?;
                    let options = ["-n", &name, "-d", SECONDS, "-s", SIZE, "-r", &rate, "--sleep"];
                    let client = daemon.spawn("bin/ocbr", &options)?;
                    scene.clients.push((at, client));
                    Who::Reference
                }
            };
            flows.push((who, name));
        }
    }
    let sunk = |scene: &Scene<'_, '_>, name: &str| -> Result<f64, Verdict> {
        Ok(strike(scene.ours(RECEIVER).tell(&format!("sunk {name}")))?.parse().unwrap_or(0.0))
    };
    let comes = |name: &String| sunk(scene, name).is_ok_and(|bytes| bytes > 0.0);
    wait_for(2 * WARM_UP, || flows.iter().all(|(_, name)| comes(name)).then_some(()));
    if let Some((who, name)) = flows.iter().find(|(_, name)| !comes(name)) {
        let why = format!("nothing came for {name}");
        return Err(if *who == Who::Ours { Verdict::Strike(why) } else { Verdict::Reference(why) });
    }
    scene.lan.hosts[0].limit(mbits)?;
    thread::sleep(WARM_UP);
    let began = Instant::now();
    let before = flows.iter().map(|(_, name)| sunk(scene, name)).collect::<Result<Vec<_>, _>>()?;
    thread::sleep(MEASURED);
    let took = began.elapsed().as_secs_f64();
    let after = flows.iter().map(|(_, name)| sunk(scene, name)).collect::<Result<Vec<_>, _>>()?;
    let rates = before.iter().zip(&after).map(|(before, after)| (after - before) * 8e-6 / took);
    let received = flows.iter().map(|(who, _)| *who).zip(rates).collect();
    let sent = scene.clients.iter().filter_map(|(_, client)| {
        wait_for(WARM_UP * 4, || client.ended());
        sent_rate(&client.output())
    });
    Ok(Shares { received, sent: sent.collect() })
}

/// What an ocbr says that it has sent, Mb/s.
fn sent_rate(output: &str) -> Option<f64> {
    let line = output.lines().find(|line| line.starts_with("sent statistics"))?;
    line.rsplit_once(", ")?.1.split_whitespace().next()?.parse().ok()
}

fn table(nodes: &'static [Who], mbits: u32, each: usize, must: Must) {
    let setup = Setup { nodes, shape: Shape::Star, options: &OPTIONS };
    row(&format!("mb-ecn, {mbits} Mb/s, {each}:{each}"), setup, |scene| {
        let shares = compete(scene, mbits, each)?;
        let told = shares.to_string();
        let least = [Who::Ours, Who::Reference].iter().filter_map(|who| shares.least(*who)).min_by(f64::total_cmp);
        let part = least.is_some_and(|least| least >= LEAST);
        // What references send does not become less, whatever they hear: who gives way at all gets next to nothing.
        let deaf = shares.sent.iter().sum::<f64>() > OVERLOAD * f64::from(mbits);
        let failed = match must {
            Must::Part if !part => Some(LEAST),
            Must::PartUnlessDeaf if !part && !deaf => Some(LEAST),
            Must::Even if shares.jain() < EVEN => Some(EVEN),
            _ => None,
        };
        failed.map_or(Ok(told.clone()), |must| Err(Verdict::Strike(format!("{told} (must: {must})"))))
    });
}

const MIXED: &[Who] = &[Who::Ours, Who::Ours, Who::Reference, Who::Ours];
const REFERENCES: &[Who] = &[Who::Ours, Who::Reference, Who::Reference, Who::Ours];
const OURS: &[Who] = &[Who::Ours, Who::Ours, Who::Ours, Who::Ours];

#[test]
fn beside_a_reference_at_100_mbits() {
    for each in [1, 2] {
        table(MIXED, 100, each, Must::Part);
    }
}

/// A reference sends more into this link than it carries, also beside others of its kind: a must only where it does not.
#[test]
fn beside_a_reference_at_10_mbits() {
    for each in [1, 2] {
        table(MIXED, 10, each, Must::PartUnlessDeaf);
    }
}

/// The queue is where only the operating system sees it: in the buffer of the socket in front of the link.
#[test]
fn two_of_ours_at_10_and_100_mbits() {
    for mbits in [10, 100] {
        table(OURS, mbits, 1, Must::Even);
    }
}

/// What references do among themselves, and ours among themselves, on the same bench.
#[test]
#[ignore = "a measurement, of minutes"]
fn each_alone() {
    for nodes in [REFERENCES, OURS] {
        for (mbits, each) in [(10, 1), (10, 2), (100, 1), (100, 2)] {
            table(nodes, mbits, each, Must::Nothing);
        }
    }
    say("interop: mb-ecn alone | done");
}
