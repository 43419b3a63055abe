//! Memory of links: its duration, and influences of others on it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::manners::{Alone, DATA, LAST, MANAGEMENT, ME, MILLI, OTHER, PEER, SECOND, lsu};
use crate::routing::Dialect;
use crate::types::id::{Address, N1FlowId};
use crate::wire::link_state::{Age, Lsu};

/// Left over from an earlier life of this member, or forged.
#[test]
fn withdrawals_of_own_links_expire() {
    for dialect in [Dialect::Plain, Dialect::Confirming] {
        let mut alone = Alone::connected_to(dialect);
        for n in 0..100 {
            alone.hear(MANAGEMENT, lsu(ME, Address(1000 + n), (5 << 32) + LAST));
        }
        alone.after(89 * SECOND);
        assert_eq!(alone.member.entries(alone.now).count(), 100, "others may have heard of the link");
        alone.after(2 * SECOND);
        assert_eq!(alone.member.entries(alone.now).count(), 0);
        assert_eq!((alone.member.own_due.len(), alone.member.next_deadline()), (0, None));
    }
}

fn with_age(update: Lsu, age: Duration) -> Vec<u8> {
    [update.to_bytes(), Age(age).to_lsu().to_bytes()].concat()
}

/// An attacker that announces a higher number with a great age would have the link forgotten before it is contradicted.
#[test]
fn a_later_announcement_is_no_older_than_the_one_before() {
    let (a, b) = (Address(77), Address(78));
    let mut alone = Alone::connected_to(Dialect::Confirming);
    alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Confirming);
    alone.hear(OTHER, lsu(a, b, 1 << 32));
    alone.after(5 * SECOND);
    for (n, age) in [(1, 59), (2, 60), (3, 3600), (4, u64::MAX / 1000)] {
        let forged = lsu(a, b, (1 << 32) + n);
        alone.member.handle_packet(alone.now, MANAGEMENT, &with_age(forged, Duration::from_secs(age)));
        let entry = alone.member.entries(alone.now).next().expect("it is remembered");
        assert!(!entry.withdrawn && entry.age <= 6 * SECOND, "{entry:?}");
        let told = alone.after(30 * MILLI).into_iter().any(|(flow, lsu)| flow == OTHER && lsu == forged);
        assert!(told, "so that whoever has the link hears of it");
    }
    // What was taken back is not forgotten because of an announcement that is over.
    alone.hear(OTHER, lsu(a, b, (1 << 32) + LAST));
    alone.after(70 * SECOND);
    alone.member.handle_packet(alone.now, MANAGEMENT, &with_age(lsu(a, b, 2 << 32), 65 * SECOND));
    let entry = alone.member.entries(alone.now).next().expect("it is remembered");
    assert!(entry.withdrawn && entry.seqno == (1 << 32) + LAST, "{entry:?}");
}

/// A reference notes the flows of a connection one after the other, and computes routes when it hears of a new link: it
/// has to be told when the last of them stands, also if another was connected a moment before.
#[test]
fn a_reference_recomputes_after_the_last_new_flow() {
    let mut alone = Alone::connected();
    alone.member.adjacency_up(alone.now, DATA, PEER);
    alone.after(900 * MILLI);
    let again = N1FlowId(9);
    alone.member.adjacency_up(alone.now, again, PEER);
    let is_new = |(_, lsu): &(N1FlowId, Lsu)| lsu.src == ME && lsu.dst != PEER;
    assert_eq!(alone.after(999 * MILLI).into_iter().filter(is_new).count(), 0, "too early");
    assert_eq!(alone.after(MILLI).into_iter().filter(is_new).count(), 1);
}

/// Unknown links that a reference is told of within some seconds.
fn unknown(alone: &mut Alone) -> Vec<Address> {
    let said = alone.after(5 * SECOND).into_iter().map(|(_, lsu)| lsu);
    let new: BTreeSet<_> = said.filter(|lsu| lsu.src == ME && lsu.dst != PEER).map(|lsu| lsu.dst).collect();
    new.into_iter().collect()
}

/// Otherwise it would send on the flow that is gone for as long as the database is full.
#[test]
fn a_reference_recomputes_although_the_database_is_full() {
    for (links, links_of_member) in [(3, 100), (100, 1)] {
        let mut alone = Alone::with(|config| {
            config.max_links = links;
            config.max_links_of_member = links_of_member;
        });
        alone.member.management_up(alone.now, MANAGEMENT, PEER, Dialect::Plain);
        alone.member.adjacency_up(alone.now, DATA, PEER);
        alone.hear(MANAGEMENT, lsu(PEER, ME, 1));
        (1..10).for_each(|n| alone.hear(MANAGEMENT, lsu(PEER, Address(n), 1)));
        let mut told = BTreeSet::new();
        for n in 1..10 {
            let new = unknown(&mut alone);
            assert!(new.len() == 1 && told.insert(new[0]), "connection {n}: {new:?}");
            alone.member.adjacency_up(alone.now, N1FlowId(10 + n), PEER);
            alone.hear(MANAGEMENT, lsu(PEER, ME, 1 + u64::from(n)));
        }
        let own = alone.member.entries(alone.now).filter(|entry| entry.src == ME).count();
        assert_eq!(own, 2, "the link, and one that the reference did not know");
    }
}

/// A flow that is seen not to work when the moment has come is the one to use once it works again.
#[test]
fn a_reference_recomputes_after_a_short_outage() {
    let mut alone = Alone::connected();
    alone.member.adjacency_up(alone.now, DATA, PEER);
    alone.member.adjacency_state(alone.now, DATA, false);
    assert_eq!(unknown(&mut alone), []);
    alone.member.adjacency_state(alone.now, DATA, true);
    assert_eq!(unknown(&mut alone).len(), 1);
    assert_eq!(unknown(&mut alone), [], "once");
    alone.member.adjacency_up(alone.now, OTHER, PEER);
    alone.member.adjacency_down(alone.now, DATA);
    alone.member.adjacency_down(alone.now, OTHER);
    assert_eq!(unknown(&mut alone), [], "nobody is there");
}

/// Number of links sent at once over the management flow, and the packets.
fn links_at_once(alone: &mut Alone) -> (usize, Vec<Vec<u8>>) {
    let packets = alone.packets().into_iter().filter(|(flow, _)| *flow == MANAGEMENT).map(|(_, packet)| packet);
    let packets: Vec<_> = packets.collect();
    (packets.iter().map(|packet| packet.len() / Lsu::LEN).sum(), packets)
}

/// Thousands of links that all of a layer have just heard of would wait at each neighbour of each member for a confirmation.
#[test]
fn updates_are_windowed_by_confirmations() {
    const LINKS: u64 = 2000;
    for news in [true, false] {
        let mut alone = Alone::new();
        let hear =
            |alone: &mut Alone| (0..LINKS).for_each(|n| alone.hear(OTHER, lsu(PEER, Address(1000 + n), 1 << 32)));
        alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Plain);
        if !news {
            hear(&mut alone);
        }
        alone.member.management_up(alone.now, MANAGEMENT, PEER, Dialect::Confirming);
        if news {
            hear(&mut alone);
        }
        let (mut told, mut rounds) = (0, 0);
        while told < LINKS as usize {
            let (links, packets) = links_at_once(&mut alone);
            assert!((1..=440).contains(&links), "news: {news}, round {rounds}: {links} links");
            told += links;
            rounds += 1;
            alone.now += 30 * MILLI;
            packets.iter().for_each(|packet| alone.member.handle_packet(alone.now, MANAGEMENT, packet));
        }
        assert_eq!((told, links_at_once(&mut alone).0), (LINKS as usize, 0), "each once");
    }
}
