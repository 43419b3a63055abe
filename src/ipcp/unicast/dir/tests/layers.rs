//! Whole layers: every name is found at the first query.

use core::time::Duration;

use super::net::{Link, Net, Outcome, hash};
use crate::types::id::Address;

const LOSSY: Link = Link { least: Duration::from_millis(1), most: Duration::from_millis(20), loss: 0.2 };

/// Lookups of many names, and what they took.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) asked: usize,
    pub(super) found: usize,
    pub(super) wrong: usize,
    rounds: Vec<u64>,
    questions: Vec<u64>,
    millis: Vec<u64>,
}

impl Tally {
    pub(super) fn take(&mut self, outcome: &Outcome, right: Address) {
        self.asked += 1;
        self.found += usize::from(outcome.addresses.first() == Some(&right));
        self.wrong += usize::from(outcome.addresses.iter().any(|address| *address != right));
        self.rounds.push(u64::from(outcome.effort.rounds));
        self.questions.push(u64::from(outcome.effort.questions));
        self.millis.push(outcome.took.as_millis() as u64);
    }

    pub(super) fn report(&mut self, what: &str) -> String {
        let mut line = format!("{what}: {} of {} found, {} wrong", self.found, self.asked, self.wrong);
        for (name, values) in
            [("rounds", &mut self.rounds), ("questions", &mut self.questions), ("ms", &mut self.millis)]
        {
            values.sort_unstable();
            let at = |share: usize| values.get((values.len() * share / 100).min(values.len() - 1)).unwrap();
            line += &format!("; {name} median {} p99 {} max {}", at(50), at(99), at(100));
        }
        line
    }
}

/// Every member registers `each` names; then `lookups` random members look up random names of live others.
fn look_all(net: &mut Net, each: usize, lookups: usize, tally: &mut Tally) {
    let alive = net.alive();
    for _ in 0..lookups {
        let pick = |net: &mut Net| alive[net.rng.below(alive.len() as u64) as usize];
        let (who, owner) = (pick(net), pick(net));
        if who == owner {
            continue;
        }
        let name = hash(format!("{owner}/{}", net.rng.below(each as u64)));
        let outcome = net.lookup(who, name);
        tally.take(&outcome, Address(owner as u64 + 1));
    }
}

fn register_all(net: &mut Net, each: usize) {
    for number in net.alive() {
        (0..each).for_each(|n| net.register(number, hash(format!("{number}/{n}"))));
    }
}

fn check(tally: &mut Tally, what: &str) {
    let line = tally.report(what);
    println!("{line}");
    assert_eq!((tally.found, tally.wrong), (tally.asked, 0), "{line}");
}

fn run_layer(members: usize, link: Link, pause: Duration, lookups: usize) {
    let mut net = Net::grown(members as u8, link, members, pause);
    net.run(Duration::from_secs(2));
    println!("{members} members joined: {} messages a member", net.messages / members as u64);
    register_all(&mut net, 1);
    net.run(Duration::from_secs(5));
    println!("and published: {} messages a member", net.messages / members as u64);
    let mut tally = Tally::default();
    look_all(&mut net, 1, lookups, &mut tally);
    check(&mut tally, &format!("{members} members, {} % loss", link.loss * 100.0));
    net.decimate(0.1);
    let mut tally = Tally::default();
    look_all(&mut net, 1, lookups, &mut tally);
    check(&mut tally, &format!("{members} members, {} % loss, a tenth has left", link.loss * 100.0));
    let contacts: usize = net.directories().map(|directory| directory.sizes().contacts).sum();
    println!("{} contacts a member", contacts / net.alive().len());
}

#[test]
fn a_hundred() {
    run_layer(100, Link::default(), Duration::from_millis(20), 500);
}

#[test]
fn a_hundred_that_lose_a_fifth() {
    run_layer(100, LOSSY, Duration::from_millis(20), 500);
}

#[test]
#[ignore = "long: cargo test --lib dir::tests -- --ignored --nocapture"]
fn a_thousand() {
    run_layer(1000, Link::default(), Duration::from_millis(20), 2000);
}

#[test]
#[ignore = "long: cargo test --lib dir::tests -- --ignored --nocapture"]
fn a_thousand_that_lose_a_fifth() {
    run_layer(1000, LOSSY, Duration::from_millis(20), 2000);
}
