//! Whole layers: every name is found at the first query.

use core::time::Duration;

use super::net::{ALG, Link, Net, Outcome, hash};
use crate::directory::least_message;
use crate::types::id::Address;

const LOSSY: Link = Link { least: Duration::from_millis(1), most: Duration::from_millis(20), loss: 0.2 };

/// Lookups of many names, and what they took.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) asked: usize,
    pub(super) found: usize,
    pub(super) wrong: usize,
    rounds: Vec<u64>,
    requests: Vec<u64>,
    millis: Vec<u64>,
}

impl Tally {
    pub(super) fn take(&mut self, outcome: &Outcome, right: Address) {
        self.asked += 1;
        self.found += usize::from(outcome.addresses.first() == Some(&right));
        self.wrong += usize::from(outcome.addresses.iter().any(|address| *address != right));
        self.rounds.push(u64::from(outcome.effort.rounds));
        self.requests.push(u64::from(outcome.effort.requests));
        self.millis.push(outcome.took.as_millis() as u64);
    }

    pub(super) fn report(&mut self, what: &str) -> String {
        let mut line = format!("{what}: {} of {} found, {} wrong", self.found, self.asked, self.wrong);
        for (name, values) in [("rounds", &mut self.rounds), ("requests", &mut self.requests), ("ms", &mut self.millis)]
        {
            values.sort_unstable();
            let at = |share: usize| values.get(values.len() * share / 100).or(values.last()).unwrap_or(&0);
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

#[test]
fn names_are_found_where_packets_are_small() {
    let least = least_message(ALG);
    assert_eq!(least, 169);
    for room in [600, 400, 300, 250, 240, 200, 180, least] {
        for members in [2, 3, 12, 60] {
            let mut net = Net::new(members as u8);
            net.room = room;
            for _ in 0..members {
                net.join();
                net.run(Duration::from_millis(100));
            }
            net.run(Duration::from_secs(20));
            register_all(&mut net, 2);
            net.run(Duration::from_secs(20));
            let mut tally = Tally::default();
            look_all(&mut net, 2, 200, &mut tally);
            check(&mut tally, &format!("{members} members, messages of {room} bytes"));
            assert!(net.directories().all(|directory| directory.counters().too_large == 0));
        }
    }
    // So that it is not the least of them.
    let mut net = Net::new(3);
    net.room = 80;
    net.join();
    net.join();
    net.run(Duration::from_secs(5));
    assert!(net.directories().any(|directory| directory.counters().too_large > 0));
}

#[test]
fn names_are_found_where_the_way_is_narrower_than_anybody_sees() {
    for members in [2, 3, 12] {
        let mut net = Net::new(members as u8);
        net.path = 400;
        for _ in 0..members {
            net.join();
            net.run(Duration::from_secs(1));
        }
        net.run(Duration::from_secs(20));
        register_all(&mut net, 2);
        net.run(Duration::from_secs(20));
        let mut tally = Tally::default();
        look_all(&mut net, 2, 200, &mut tally);
        check(&mut tally, &format!("{members} members, ways of 400 bytes"));
    }
}

/// Memory of the process, kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
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
    let keys: usize = net.directories().map(|directory| directory.sizes().keys).sum();
    let alive = net.alive().len();
    println!("{} contacts and {} names a member; {} kB in all", contacts / alive, keys / alive, resident());
}

#[test]
fn members_of_small_layers_know_each_other() {
    for members in 2..=20 {
        let mut net = Net::grown(members as u8, Link::default(), members, Duration::from_millis(50));
        net.run(Duration::from_secs(4));
        assert!(net.directories().all(|directory| directory.sizes().contacts == members - 1), "{members} members");
        register_all(&mut net, 1);
        net.run(Duration::from_secs(1));
        let keys: Vec<_> = net.directories().map(|d| (d.sizes().keys, d.counters())).collect();
        assert!(
            net.directories().all(|directory| directory.sizes().keys == members - 1),
            "{members} members {keys:#?}"
        );
        let mut tally = Tally::default();
        look_all(&mut net, 1, 40, &mut tally);
        check(&mut tally, &format!("{members} members"));
    }
}

#[test]
fn all_members_join_at_once_through_one() {
    let mut net = Net::grown(3, Link::default(), 100, Duration::ZERO);
    register_all(&mut net, 1);
    net.run(Duration::from_secs(5));
    println!("{} messages a member", net.messages / 100);
    let mut tally = Tally::default();
    look_all(&mut net, 1, 300, &mut tally);
    check(&mut tally, "100 members that join at once");
}

#[test]
fn names_follow_a_growing_layer() {
    let mut net = Net::grown(4, Link::default(), 5, Duration::from_millis(50));
    register_all(&mut net, 4);
    net.run(Duration::from_secs(1));
    let mut tally = Tally::default();
    for _ in 0..95 {
        net.join();
        net.run(Duration::from_millis(20));
        let (owner, name) = (net.rng.below(5) as usize, net.rng.below(4));
        let who = 5 + net.rng.below(net.len() as u64 - 5) as usize;
        let outcome = net.lookup(who, hash(format!("{owner}/{name}")));
        tally.take(&outcome, Address(owner as u64 + 1));
    }
    check(&mut tally, "a layer that grows from 5 to 100");
}

#[test]
fn names_survive_a_shrinking_layer() {
    let mut net = Net::grown(5, Link::default(), 40, Duration::from_millis(20));
    register_all(&mut net, 1);
    net.run(Duration::from_secs(2));
    for _ in 0..4 {
        net.decimate(0.3);
        net.run(Duration::from_secs(400));
        let mut tally = Tally::default();
        look_all(&mut net, 1, 100, &mut tally);
        check(&mut tally, &format!("{} members are left", net.alive().len()));
    }
}

#[test]
fn separate_halves_merge() {
    let mut net = Net::new(6);
    for number in 0..40_usize {
        if number == 1 {
            net.join_alone()
        } else {
            net.join_through(number % 2)
        };
        net.run(Duration::from_millis(20));
    }
    register_all(&mut net, 1);
    net.run(Duration::from_secs(3));
    // A link appears between two of them, and the link-state database tells all.
    for number in 0..40_usize {
        for other in (0..40_usize).filter(|other| (number + other) % 2 == 1) {
            net.suggest(number, Address(other as u64 + 1));
        }
    }
    net.run(Duration::from_secs(3));
    let mut tally = Tally::default();
    look_all(&mut net, 1, 300, &mut tally);
    check(&mut tally, "two halves of 20 become one");
}

#[test]
fn names_are_found_among_a_hundred_members() {
    run_layer(100, Link::default(), Duration::from_millis(20), 500);
}

#[test]
fn names_are_found_among_a_hundred_members_with_loss() {
    run_layer(100, LOSSY, Duration::from_millis(20), 500);
}

#[test]
#[ignore = "long: cargo test --lib directory::tests::layers -- --ignored --nocapture"]
fn names_are_found_among_a_thousand_members() {
    run_layer(1000, Link::default(), Duration::from_millis(20), 2000);
}

#[test]
#[ignore = "long: cargo test --lib directory::tests::layers -- --ignored --nocapture"]
fn names_are_found_among_a_thousand_members_with_loss() {
    run_layer(1000, LOSSY, Duration::from_millis(20), 2000);
}
