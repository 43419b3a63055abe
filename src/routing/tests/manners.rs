//! Behaviour of a single member: contents and times of its updates.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::routing::{Config, Dialect, LinkState};
use crate::types::id::{Address, N1FlowId};
use crate::wire::link_state::{Age, Lsu};

pub(super) const ME: Address = Address(100);
pub(super) const PEER: Address = Address(200);
pub(super) const DATA: N1FlowId = N1FlowId(1);
pub(super) const MANAGEMENT: N1FlowId = N1FlowId(2);
pub(super) const OTHER: N1FlowId = N1FlowId(3);
pub(super) const MILLI: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// The last count of an incarnation.
pub(super) const LAST: u64 = u32::MAX as u64;

pub(super) fn lsu(src: Address, dst: Address, seqno: u64) -> Lsu {
    Lsu { dst, src, seqno }
}

pub(super) struct Alone {
    pub(super) member: LinkState,
    pub(super) now: Instant,
}

impl Alone {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(ME);
        change(&mut config);
        Self { member: LinkState::new(config, Rng::from_seed([1; 32])), now: Instant::from_millis(5) }
    }

    /// With a management flow to a reference that nothing holds up, and nothing to say.
    pub(super) fn connected() -> Self {
        Self::connected_to(Dialect::Plain)
    }

    pub(super) fn connected_to(dialect: Dialect) -> Self {
        let mut alone = Self::new();
        alone.member.management_up(alone.now, MANAGEMENT, PEER, dialect);
        alone.after(SECOND);
        alone
    }

    pub(super) fn hear(&mut self, flow: N1FlowId, lsu: Lsu) {
        self.member.handle_packet(self.now, flow, &lsu.to_bytes());
    }

    /// Updates that it sends at once.
    pub(super) fn said(&mut self) -> Vec<(N1FlowId, Lsu)> {
        let (member, now) = (&mut self.member, self.now);
        core::iter::from_fn(|| member.poll_transmit(now)).map(|(f, bytes)| (f, Lsu::parse(&bytes).unwrap())).collect()
    }

    /// The packets that it sends at once.
    pub(super) fn packets(&mut self) -> Vec<(N1FlowId, Vec<u8>)> {
        core::iter::from_fn(|| self.member.poll_packet(self.now, 1200)).collect()
    }

    /// Updates that it sends within this time.
    pub(super) fn after(&mut self, time: Duration) -> Vec<(N1FlowId, Lsu)> {
        let limit = self.now + time;
        let mut said = self.said();
        self.member.poll_routes(self.now);
        while let Some(at) = self.member.next_deadline().filter(|at| *at <= limit) {
            assert!(at > self.now, "a deadline that does not move");
            self.now = at;
            self.member.handle_timeout(at);
            self.member.poll_routes(at);
            said.extend(self.said());
        }
        self.now = limit;
        said
    }
}

#[test]
fn a_reference_is_awaited_before_updates_are_sent() {
    let mut alone = Alone::new();
    alone.member.adjacency_up(alone.now, DATA, PEER);
    alone.member.management_up(alone.now, MANAGEMENT, PEER, Dialect::Plain);
    assert_eq!(alone.after(199 * MILLI), []);
    let announced = (MANAGEMENT, lsu(ME, PEER, 1 << 32));
    assert_eq!(alone.after(MILLI), [announced]);

    let mut alone = Alone::new();
    alone.member.management_up(alone.now, MANAGEMENT, PEER, Dialect::Plain);
    alone.member.adjacency_up(alone.now, DATA, PEER);
    assert_eq!(alone.after(20 * MILLI), []);
    alone.hear(MANAGEMENT, lsu(PEER, ME, 0));
    assert_eq!(alone.said(), [announced], "now it listens");
}

#[test]
fn everything_is_repeated_once_to_a_reference() {
    let mut alone = Alone::new();
    alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Plain);
    for n in 0..10 {
        alone.hear(OTHER, lsu(Address(300), Address(400 + n), 7));
    }
    alone.after(10 * SECOND);
    alone.member.management_up(alone.now, MANAGEMENT, PEER, Dialect::Plain);
    let told = |said: Vec<(N1FlowId, Lsu)>| said.into_iter().filter(|(flow, _)| *flow == MANAGEMENT).count();
    assert_eq!(told(alone.after(SECOND)), 10);
    assert_eq!(told(alone.after(SECOND)), 10);
    assert_eq!(told(alone.after(10 * SECOND)), 0);
}

#[test]
fn o7s_neighbours_confirm_and_updates_repeat_until_then() {
    let mut alone = Alone::connected_to(Dialect::Confirming);
    alone.hear(MANAGEMENT, lsu(PEER, Address(300), 1 << 32));
    assert_eq!(alone.after(21 * MILLI), [(MANAGEMENT, lsu(PEER, Address(300), 1 << 32))], "it is confirmed");
    alone.member.adjacency_up(alone.now, DATA, PEER);
    let announced = (MANAGEMENT, lsu(ME, PEER, 1 << 32));
    assert_eq!(alone.said(), [announced]);
    assert_eq!(alone.after(199 * MILLI), []);
    assert_eq!(alone.after(3 * SECOND), [announced; 4], "after 200, 600, 1400, 3000 ms");
    alone.hear(MANAGEMENT, announced.1);
    assert_eq!(alone.after(5 * SECOND), []);
}

#[test]
fn references_are_not_told_of_their_own_links() {
    let mut alone = Alone::new();
    alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Plain);
    alone.hear(OTHER, lsu(PEER, Address(300), 7));
    alone.hear(OTHER, lsu(Address(300), PEER, 7));
    alone.member.management_up(alone.now, MANAGEMENT, PEER, Dialect::Plain);
    alone.after(SECOND);
    alone.hear(OTHER, lsu(PEER, Address(300), 8));
    let said = alone.after(10 * SECOND);
    let to_peer = said.iter().filter(|(flow, _)| *flow == MANAGEMENT);
    assert!(to_peer.clone().count() == 1 && to_peer.clone().all(|(_, lsu)| lsu.src != PEER), "{said:?}");
    // But if it begins again from 0, it should go on from what others remember.
    alone.hear(MANAGEMENT, lsu(PEER, Address(300), 0));
    assert_eq!(alone.said(), [(MANAGEMENT, lsu(PEER, Address(300), 8))]);
}

#[test]
fn links_are_refreshed_and_withdrawn() {
    let mut alone = Alone::connected();
    alone.member.adjacency_up(alone.now, DATA, PEER);
    let mut last = 1 << 32;
    assert_eq!(alone.said(), [(MANAGEMENT, lsu(ME, PEER, last))]);
    // Also of the link by which it is made to compute its routes, and again.
    alone.after(3 * SECOND);
    for _ in 0..50 {
        let said = alone.after(16 * SECOND);
        assert!((1..=2).contains(&said.len()));
        for (_, update) in said {
            assert_eq!(update, lsu(ME, PEER, last + 1));
            last += 1;
        }
    }
    assert!(last >= (1 << 32) + 53, "a little more often than every 15 s");
    alone.member.adjacency_down(alone.now, DATA);
    assert_eq!(alone.said(), [(MANAGEMENT, lsu(ME, PEER, (1 << 32) + LAST))]);
    assert_eq!(alone.after(2 * SECOND).len(), 1, "news are repeated once");
    assert_eq!(alone.after(80 * SECOND), [], "and never announced again");
    assert_eq!(alone.member.entries(alone.now).count(), 1);
    alone.member.adjacency_up(alone.now, DATA, PEER);
    assert_eq!(alone.said(), [(MANAGEMENT, lsu(ME, PEER, 2 << 32))], "it overtakes the withdrawal");
}

#[test]
fn withdrawals_are_forgotten_with_the_last_copy_of_the_link() {
    let mut alone = Alone::connected();
    alone.member.adjacency_up(alone.now, DATA, PEER);
    alone.member.adjacency_down(alone.now, DATA);
    alone.after(89 * SECOND);
    assert_eq!(alone.member.entries(alone.now).count(), 1);
    alone.after(2 * SECOND);
    assert_eq!(alone.member.entries(alone.now).count(), 0);
    assert_eq!(alone.member.neighbours.len(), 0, "nothing is left");
}

#[test]
fn links_expire_to_the_second() {
    let mut alone = Alone::connected();
    alone.hear(MANAGEMENT, lsu(PEER, Address(300), 0));
    alone.after(40 * SECOND);
    alone.hear(MANAGEMENT, lsu(PEER, Address(300), 1));
    alone.after(60 * SECOND - MILLI);
    assert_eq!(alone.member.entries(alone.now).count(), 1);
    alone.after(MILLI);
    assert_eq!(alone.member.entries(alone.now).count(), 0);
    assert_eq!(alone.member.stats().expired, 1);
}

#[test]
fn a_link_withdrawn_in_between_expires_as_usual() {
    let mut alone = Alone::connected();
    alone.hear(MANAGEMENT, lsu(PEER, Address(300), 1));
    alone.hear(MANAGEMENT, lsu(PEER, Address(300), LAST));
    // The link is checked, and has to be remembered for a while yet.
    alone.after(61 * SECOND);
    alone.hear(MANAGEMENT, lsu(PEER, Address(300), LAST + 1));
    alone.after(60 * SECOND - MILLI);
    assert_eq!(alone.member.entries(alone.now).filter(|entry| !entry.withdrawn).count(), 1);
    alone.after(101 * MILLI);
    assert_eq!(alone.member.entries(alone.now).count(), 0);
}

/// However many expire one after the other, all are looked at now and then only.
#[test]
fn links_expiring_close_together_are_removed_together() {
    let mut alone = Alone::connected();
    for n in 0..1000 {
        alone.hear(MANAGEMENT, lsu(PEER, Address(300 + n), 1));
        alone.after(MILLI);
    }
    alone.after(59 * SECOND);
    let mut steps = BTreeSet::new();
    for _ in 0..2000 {
        alone.after(MILLI);
        steps.insert(alone.member.entries(alone.now).count());
    }
    assert_eq!(steps.first(), Some(&0));
    assert!(steps.len() <= 12, "{} steps", steps.len());
}

#[test]
fn foreign_updates_about_own_links_are_contradicted() {
    let mut alone = Alone::connected();
    // A link that never was.
    alone.hear(MANAGEMENT, lsu(ME, Address(300), 77));
    assert_eq!(alone.said(), [(MANAGEMENT, lsu(ME, Address(300), LAST))]);
    alone.after(5 * SECOND);
    alone.hear(MANAGEMENT, lsu(ME, Address(300), 99));
    assert_eq!(alone.said(), [(MANAGEMENT, lsu(ME, Address(300), LAST))], "the same again: it is outdated");
    // One that is there.
    alone.member.adjacency_up(alone.now, DATA, PEER);
    alone.after(5 * SECOND);
    for (forged, answer) in [
        (1 << 40, (1 << 40) + 1),
        ((1 << 40) + LAST, (1 << 40) + LAST + 1),
        ((1 << 50) + LAST - 1, (1 << 50) + LAST + 1),
    ] {
        alone.hear(MANAGEMENT, lsu(ME, PEER, forged));
        let said = alone.after(SECOND);
        assert_eq!(said[0], (MANAGEMENT, lsu(ME, PEER, answer)));
        alone.after(2 * SECOND);
    }
    assert!(alone.member.entries(alone.now).any(|e| e.dst == PEER && !e.withdrawn));
    assert_eq!(alone.member.stats().contested, 4);
}

#[test]
fn contradictions_are_rate_limited() {
    let mut alone = Alone::connected();
    alone.member.adjacency_up(alone.now, DATA, PEER);
    alone.after(5 * SECOND);
    let mut forged = 1 << 40;
    let mut said = 0;
    for _ in 0..1000 {
        forged += LAST + 1;
        alone.hear(MANAGEMENT, lsu(ME, PEER, forged));
        said += alone.after(10 * MILLI).len();
    }
    // Some at once, then so many a second; news are repeated once to a reference, unless they are overtaken.
    assert!((10..=32 + 160 + 2).contains(&said), "{said} updates in 10 s, for 1000 that were forged");
    let (_, last) = alone.after(2 * SECOND)[0];
    assert!(last.seqno > forged, "the last word is ours");
}

#[test]
fn implausible_updates_are_dropped() {
    let mut alone = Alone::connected();
    for bad in [lsu(PEER, PEER, 1), lsu(Address(0), PEER, 1), lsu(PEER, Address(0), 1), lsu(PEER, ME, u64::MAX)] {
        alone.hear(MANAGEMENT, bad);
    }
    for len in [0, 1, 23, 25, 1000] {
        alone.member.handle_packet(alone.now, MANAGEMENT, &alloc::vec![7; len]);
    }
    alone.hear(OTHER, lsu(PEER, ME, 1));
    assert_eq!(alone.member.entries(alone.now).count(), 0);
    let stats = alone.member.stats();
    assert_eq!((stats.received, stats.implausible, stats.malformed, stats.accepted), (9, 4, 5, 0));
}

#[test]
fn adjacencies_to_itself_or_to_address_0_are_ignored() {
    let mut alone = Alone::connected();
    alone.member.adjacency_up(alone.now, DATA, ME);
    alone.member.adjacency_up(alone.now, OTHER, Address(0));
    assert_eq!((alone.said().len(), alone.member.neighbours().count()), (0, 0));
}

#[test]
fn large_databases_are_sent_at_a_pace() {
    let mut alone = Alone::new();
    alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Plain);
    for n in 0..10_000 {
        alone.hear(OTHER, lsu(Address(1000 + n / 10), Address(5000 + n), 3));
    }
    alone.after(20 * SECOND);
    alone.member.management_up(alone.now, MANAGEMENT, PEER, Dialect::Plain);
    alone.after(199 * MILLI);
    assert_eq!(alone.after(MILLI).len(), 64, "a burst");
    let part = alone.after(100 * MILLI).len();
    assert!((495..=505).contains(&part), "{part} in 100 ms at 5000 a second");
    // What has changed goes before the rest.
    alone.member.adjacency_up(alone.now, DATA, PEER);
    assert_eq!(alone.after(MILLI)[0].1.src, ME);
}

#[test]
fn the_table_is_rebuilt_when_adjacencies_change() {
    let mut alone = Alone::connected();
    assert!(alone.member.poll_routes(alone.now).is_none());
    alone.member.adjacency_up(alone.now, DATA, PEER);
    assert!(alone.member.poll_routes(alone.now).unwrap().is_empty(), "the other end has not said anything");
    alone.hear(MANAGEMENT, lsu(PEER, ME, 0));
    assert_eq!(alone.member.poll_routes(alone.now).unwrap().get(PEER), [PEER]);
    assert!(alone.member.poll_routes(alone.now).is_none());
    alone.member.adjacency_up(alone.now, N1FlowId(9), PEER);
    assert_eq!(alone.member.poll_routes(alone.now).unwrap().len(), 1, "another adjacency, the same routes");
    alone.member.adjacency_down(alone.now, DATA);
    assert_eq!(alone.member.poll_routes(alone.now).unwrap().len(), 1);
    alone.member.adjacency_down(alone.now, N1FlowId(9));
    assert!(alone.member.poll_routes(alone.now).unwrap().is_empty(), "at once");
}

#[test]
fn distant_news_are_batched() {
    let mut alone = Alone::connected();
    alone.member.adjacency_up(alone.now, DATA, PEER);
    alone.hear(MANAGEMENT, lsu(PEER, ME, 0));
    alone.member.poll_routes(alone.now);
    alone.after(10 * SECOND);
    let before = alone.member.stats().recalculations;
    for n in 0..4000 {
        alone.hear(MANAGEMENT, lsu(PEER, Address(1000 + n), 0));
        alone.hear(MANAGEMENT, lsu(Address(1000 + n), PEER, 0));
        alone.member.poll_routes(alone.now);
        if n == 0 {
            assert_eq!(alone.member.routes().len(), 2, "the first is not waited with");
        }
        alone.after(MILLI);
    }
    let recalculations = alone.member.stats().recalculations - before;
    assert!(recalculations < 100, "{recalculations} in 4 s");
    alone.after(SECOND);
    assert_eq!(alone.member.routes().len(), 4001);
}

#[test]
fn failures_at_both_ends_are_announced_independently() {
    let mut alone = Alone::connected();
    alone.member.adjacency_up(alone.now, DATA, PEER);
    alone.hear(MANAGEMENT, lsu(PEER, ME, 1 << 32));
    assert_eq!(alone.member.poll_routes(alone.now).unwrap().len(), 1);
    alone.hear(MANAGEMENT, lsu(PEER, ME, (1 << 32) + LAST));
    alone.member.poll_routes(alone.now);
    assert_eq!(alone.member.routes().len(), 1, "news from afar wait so soon after others");
    alone.member.adjacency_down(alone.now, DATA);
    assert!(alone.member.poll_routes(alone.now).unwrap().is_empty(), "but not for a neighbour that is gone");
}

#[test]
fn updates_share_packets_only_towards_o7s_neighbours() {
    for dialect in [Dialect::Plain, Dialect::Confirming] {
        let mut alone = Alone::new();
        alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Plain);
        for dst in 1..=3 {
            alone.hear(OTHER, lsu(Address(300), Address(dst), 7));
        }
        alone.member.management_up(alone.now, MANAGEMENT, PEER, dialect);
        alone.now += 240 * MILLI;
        let mut lengths: Vec<_> = alone.packets().into_iter().map(|(_, packet)| packet.len()).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, if dialect == Dialect::Confirming { [3 * Lsu::LEN].as_slice() } else { &[Lsu::LEN; 3] });
    }
}

#[test]
fn updates_cannot_change_the_dialect_of_a_neighbour() {
    let mut alone = Alone::connected();
    // Forged by anybody beyond the reference, which passes on what it hears as it is.
    alone.hear(MANAGEMENT, lsu(PEER, Address(999), (1 << 32) + 1));
    assert_eq!(alone.after(SECOND), [], "nothing is confirmed");
    alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Confirming);
    for dst in 1..=40 {
        alone.hear(OTHER, lsu(Address(300), Address(dst), 1 << 32));
    }
    for _ in 0..1000 {
        for (to, packet) in alone.packets() {
            assert!(packet.len() == Lsu::LEN || to == OTHER);
        }
        alone.now += 10 * MILLI;
        alone.member.handle_timeout(alone.now);
    }
}

#[test]
fn late_updates_carry_their_age() {
    let hear_late = |dialect, age: Option<u64>| {
        let mut alone = Alone::connected_to(dialect);
        let mut packet = lsu(Address(77), Address(78), 1 << 32).to_bytes().to_vec();
        if let Some(millis) = age {
            packet.extend_from_slice(&Age(Duration::from_millis(millis)).to_lsu().to_bytes());
        }
        alone.member.handle_packet(alone.now, MANAGEMENT, &packet);
        let age = alone.member.entries(alone.now).next().map(|entry| entry.age.as_secs());
        (age, alone)
    };
    assert_eq!(hear_late(Dialect::Confirming, None).0, Some(0));
    assert_eq!(hear_late(Dialect::Confirming, Some(60_000)).0, None, "it has expired elsewhere");
    assert_eq!(hear_late(Dialect::Confirming, Some(u64::MAX)).0, None);
    let (reference, _) = hear_late(Dialect::Plain, Some(40_000));
    assert_eq!(reference, Some(0), "references do not say such things");
    let (age, mut alone) = hear_late(Dialect::Confirming, Some(40_000));
    assert_eq!(age, Some(40));
    // And is said to the next.
    alone.after(5 * SECOND);
    alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Confirming);
    let (_, packet) = alone.packets().into_iter().find(|(flow, _)| *flow == OTHER).unwrap();
    let records: Vec<_> = packet.chunks(Lsu::LEN).map(|record| Lsu::parse(record).unwrap()).collect();
    assert_eq!(records[0].src, Address(77));
    assert_eq!(Age::of(&records[1]), Some(Age(45 * SECOND)));
    alone.after(15 * SECOND);
    assert_eq!(alone.member.entries(alone.now).count(), 0, "a minute after it was said");
}

#[test]
fn new_links_replace_one_sided_ones() {
    let mut alone = Alone::with(|config| config.max_links_of_member = 20);
    alone.member.management_up(alone.now, MANAGEMENT, PEER, Dialect::Confirming);
    for n in 0..10 {
        alone.hear(MANAGEMENT, lsu(PEER, Address(1000 + n), 1 << 32));
        alone.hear(MANAGEMENT, lsu(Address(1000 + n), PEER, 1 << 32));
    }
    for n in 0..1000 {
        alone.hear(MANAGEMENT, lsu(PEER, Address(5000 + n), 1 << 32));
    }
    alone.hear(MANAGEMENT, lsu(PEER, Address(555), 1 << 32));
    let of_peer: Vec<_> = alone.member.entries(alone.now).filter(|entry| entry.src == PEER).map(|e| e.dst.0).collect();
    assert_eq!(of_peer.len(), 20);
    assert!(of_peer.contains(&555) && (1000..1010).all(|n| of_peer.contains(&n)), "{of_peer:?}");
}

#[test]
fn false_ages_are_corrected_by_other_neighbours() {
    let (liar, honest, third) = (MANAGEMENT, OTHER, N1FlowId(4));
    let said = |seqno: u64, age: Option<Duration>| {
        let update = lsu(Address(77), Address(78), seqno).to_bytes();
        let age = age.map(|age| Age(age).to_lsu().to_bytes());
        [&update[..], age.as_ref().map_or(&[][..], |age| age)].concat()
    };
    let known = |alone: &Alone| alone.member.entries(alone.now).any(|entry| entry.src == Address(77));
    let mut alone = Alone::connected_to(Dialect::Confirming);
    alone.member.management_up(alone.now, honest, Address(300), Dialect::Confirming);
    alone.member.management_up(alone.now, third, Address(400), Dialect::Confirming);
    // As often as the link is announced, the liar is a little faster.
    for round in 1..6 {
        alone.member.handle_packet(alone.now, liar, &said(round << 32, Some(59 * SECOND)));
        alone.after(100 * MILLI);
        alone.member.handle_packet(alone.now, honest, &said(round << 32, None));
        let told = |packet: &[u8]| packet.chunks(Lsu::LEN).map(|r| Lsu::parse(r).unwrap()).collect::<Vec<_>>();
        alone.now += 50 * MILLI;
        alone.member.handle_timeout(alone.now);
        let last = alone.packets().into_iter().rfind(|(flow, _)| *flow == third).map(|(_, packet)| told(&packet));
        let last = last.expect("others are told how old it is");
        assert!(last[0].src == Address(77) && last.get(1).and_then(Age::of).is_none(), "{last:?}");
        for _ in 0..14 {
            alone.after(SECOND);
            assert!(known(&alone), "round {round}");
        }
    }
    // The neighbour cannot make it younger than it was seen to be.
    for _ in 0..44 {
        alone.after(SECOND);
        alone.member.handle_packet(alone.now, honest, &said(5 << 32, None));
    }
    let ages: Vec<_> = alone.member.entries(alone.now).map(|entry| entry.age).collect();
    assert!(ages.len() == 1 && ages[0] > 55 * SECOND, "{ages:?}");
}

#[test]
fn invented_neighbours_leave_nothing_behind() {
    let mut alone = Alone::connected();
    for n in 0..100 {
        let address = Address(1000 + n);
        alone.member.adjacency_up(alone.now, DATA, address);
        // So high that the link cannot be taken back.
        alone.hear(MANAGEMENT, lsu(ME, address, u64::MAX - 2));
        alone.member.adjacency_down(alone.now, DATA);
    }
    alone.after(300 * SECOND);
    assert_eq!((alone.member.neighbours.len(), alone.member.db.len()), (0, 0));
}

/// A reference that has a neighbour connected anew goes on sending on the old flow until it hears of a link that is new to
/// it.
#[test]
fn a_connected_reference_is_told_of_an_unknown_link() {
    for (dialect, wanted) in [(Dialect::Plain, 1), (Dialect::Confirming, 0)] {
        let mut alone = Alone::connected_to(dialect);
        let mut seen = Vec::new();
        for flow in [DATA, OTHER] {
            alone.member.adjacency_up(alone.now, flow, PEER);
            let said = alone.after(5 * SECOND);
            let new = said.into_iter().map(|(_, lsu)| lsu.dst).filter(|dst| *dst != PEER && !seen.contains(dst));
            let mut new: Vec<_> = new.collect();
            new.sort();
            new.dedup();
            assert_eq!(new.len(), wanted, "{new:?}");
            seen.extend(new);
            alone.member.adjacency_down(alone.now, flow);
            alone.after(5 * SECOND);
        }
        assert!(alone.member.entries(alone.now).all(|entry| entry.dst == PEER || entry.withdrawn));
    }
}

/// One flow with a small MTU does not make packets small for the others, nor permanently.
#[test]
fn packets_are_as_large_as_each_flow_takes() {
    let mut alone = Alone::new();
    for n in 0..100 {
        alone.member.management_up(alone.now, OTHER, Address(300), Dialect::Confirming);
        alone.hear(OTHER, lsu(Address(1000 + n), Address(5000), 1 << 32));
    }
    alone.member.management_down(alone.now, OTHER);
    for (flow, takes) in [(OTHER, 100), (MANAGEMENT, 1200)] {
        alone.member.management_up(alone.now, flow, PEER, Dialect::Confirming);
        alone.member.limit_packets(flow, takes);
    }
    let mut longest = BTreeMap::new();
    while let Some((flow, packet)) = alone.member.poll_packet(alone.now, 1200) {
        let longest = longest.entry(flow).or_insert(0);
        *longest = packet.len().max(*longest);
    }
    // As long as there is room for one more, and its age.
    assert_eq!(longest, BTreeMap::from([(OTHER, 72), (MANAGEMENT, 1176)]));
}
