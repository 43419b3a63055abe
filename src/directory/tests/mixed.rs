//! Layers of members of ours and references: either find the names of the other.

use core::time::Duration;

use super::layers::Tally;
use super::net::{Link, Net, hash};
use crate::types::id::Address;

/// A layer of `n` members, every second of them a reference; each registers a name once it has contacts.
fn mixed(seed: u8, link: Link, n: usize) -> Net {
    let mut net = Net::new(seed);
    net.link = link;
    for number in 0..n {
        if number % 2 == 0 {
            net.join()
        } else {
            net.join_reference()
        };
        net.run(Duration::from_millis(300));
    }
    for number in 0..n {
        net.register(number, hash(number));
        net.run(Duration::from_millis(50));
    }
    net.run(Duration::from_secs(4));
    net
}

/// Looks up, from `who` to `whose`, both `true` for ours, every name once.
fn tally(net: &mut Net, who: bool, whose: bool) -> Tally {
    let mut tally = Tally::default();
    let n = net.len();
    for from in (0..n).filter(|from| (from % 2 == 0) == who) {
        for to in (0..n).filter(|to| (to % 2 == 0) == whose && *to != from) {
            let outcome = net.lookup(from, hash(to));
            tally.take(&outcome, Address(to as u64 + 1));
        }
    }
    tally
}

#[test]
fn both_kinds_find_names_of_o7s_members() {
    for n in [2, 3, 4, 8, 12, 20, 40] {
        let mut net = mixed(n as u8, Link::default(), n);
        for (who, whose, least) in [(true, true, 1.0), (true, false, 1.0), (false, true, 1.0), (false, false, 0.9)] {
            let mut tally = tally(&mut net, who, whose);
            let name = |ours: bool| if ours { "ours" } else { "references" };
            let line = tally.report(&format!("{n} members, {} asking for {}", name(who), name(whose)));
            println!("{line}");
            assert_eq!(tally.wrong, 0, "{line}");
            assert!(tally.found as f64 >= least * tally.asked as f64, "{line}");
        }
    }
}

#[test]
fn unstored_names_are_found_at_their_owner() {
    let mut net = Net::new(1);
    let reference = net.join_reference();
    // Alone, it has no member to store at; and it does not try again.
    net.register(reference, hash("shy"));
    for _ in 0..6 {
        net.join();
        net.run(Duration::from_millis(300));
    }
    net.run(Duration::from_secs(3));
    for number in 1..net.len() {
        assert_eq!(net.lookup(number, hash("shy")).addresses, [Address(1)]);
    }
}

#[test]
fn an_o7s_member_bridges_references() {
    let mut net = Net::new(2);
    net.join();
    let references: Vec<usize> = (0..11)
        .map(|_| {
            let number = net.join_reference();
            net.run(Duration::from_millis(300));
            number
        })
        .collect();
    for number in &references {
        net.register(*number, hash(number));
        net.run(Duration::from_millis(50));
    }
    net.run(Duration::from_secs(2));
    for number in &references {
        assert_eq!(net.lookup(0, hash(number)).addresses, [Address(*number as u64 + 1)]);
    }
}
