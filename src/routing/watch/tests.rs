use alloc::string::ToString;

use super::*;

const OWN: Address = Address(7);
const N: Address = Address(8);
const NOW: Instant = Instant::from_millis(5);
const MEMORY: Duration = Duration::from_secs(90);

fn lsu(src: Address, dst: Address, seqno: u64) -> Lsu {
    Lsu { dst, src, seqno }
}

fn conflict(evidence: Evidence) -> Option<AddressConflict> {
    Some(AddressConflict { address: OWN, evidence })
}

#[test]
fn own_news_that_come_back_are_no_conflict() {
    let mut watch = Watch::new(OWN, MEMORY);
    for seqno in 0..10 {
        watch.announcing(NOW, N, seqno);
        assert_eq!(watch.heard(NOW, &lsu(OWN, N, seqno)), None);
        assert_eq!(watch.heard(NOW, &lsu(OWN, N, seqno / 2)), None);
    }
    // Links of others are theirs, also those to this member.
    assert_eq!(watch.heard(NOW, &lsu(N, OWN, 1000)), None);
    assert_eq!(watch.heard(NOW, &lsu(N, Address(9), 1000)), None);
}

#[test]
fn a_link_that_this_member_never_had_is_a_sign() {
    let mut watch = Watch::new(OWN, MEMORY);
    let neighbour = Address(99);
    assert_eq!(watch.heard(NOW, &lsu(OWN, neighbour, 5)), conflict(Evidence::Announced { neighbour }));
    assert_eq!(watch.heard(NOW, &lsu(OWN, neighbour, 5)), None, "the same again");
    assert_eq!(watch.heard(NOW, &lsu(OWN, neighbour, 6)), conflict(Evidence::Alive { neighbour }));
    assert_eq!(watch.heard(NOW, &lsu(OWN, neighbour, 7)), None, "told already");
}

#[test]
fn an_own_link_that_somebody_else_announces_is_a_sign() {
    let mut watch = Watch::new(OWN, MEMORY);
    watch.announcing(NOW, N, 3);
    assert_eq!(watch.heard(NOW, &lsu(OWN, N, 40)), conflict(Evidence::Alive { neighbour: N }));
    let text = conflict(Evidence::Alive { neighbour: N }).unwrap().to_string();
    assert!(text.contains("07.00.00.00") && text.contains("08.00.00.00"), "{text}");
}

#[test]
fn announcements_of_an_earlier_life_are_no_conflict_but_answers_to_ours_are() {
    let mut watch = Watch::kept(OWN, MEMORY);
    // Neighbours remember several versions of links that are there again, or are not.
    let inc = 1u64 << 32;
    for (neighbour, ours) in [(N, 9 * inc), (Address(99), 3 * inc - 1)] {
        assert_eq!(watch.heard(NOW, &lsu(OWN, neighbour, 2 * inc)), None);
        watch.announcing(NOW, neighbour, ours);
        for left in [2 * inc + 5, inc, ours, ours - 1] {
            assert_eq!(watch.heard(NOW, &lsu(OWN, neighbour, left)), None);
        }
    }
    // Somebody does not leave it at that.
    let neighbour = Address(99);
    for (answer, alive) in [(3, false), (4, false), (5, true), (6, false)] {
        let expected = if alive { conflict(Evidence::Alive { neighbour }) } else { None };
        assert_eq!(watch.heard(NOW, &lsu(OWN, neighbour, answer * inc)), expected);
        watch.announcing(NOW, neighbour, (answer + 1) * inc - 1);
    }
}

#[test]
fn the_older_member_does_not_give_way() {
    let mut watch = Watch::kept(OWN, MEMORY);
    watch.announcing(NOW, N, 1);
    for answer in 1..20 {
        assert_eq!(watch.heard(NOW, &lsu(OWN, Address(99), 2 * answer)), None);
        watch.announcing(NOW, Address(99), 2 * answer + 1);
    }
}

#[test]
fn memory_is_bounded() {
    let mut watch = Watch::new(OWN, MEMORY);
    for n in 0..2 * LINKS_LIMIT as u64 {
        let told = watch.heard(NOW, &lsu(OWN, Address(n), 0)).is_some();
        assert_eq!(told, (n as usize) < LINKS_LIMIT);
    }
    assert_eq!(watch.links.len(), LINKS_LIMIT);
}

/// A reference that is connected anew is told of a link that it does not know, each time another.
#[test]
fn links_are_watched_after_any_number_of_others() {
    let (mut watch, mut now) = (Watch::new(OWN, MEMORY), NOW);
    for n in 0..3 * LINKS_LIMIT as u64 {
        watch.announcing(now, N, n);
        watch.announcing(now, Address(1000 + n), u64::from(u32::MAX));
        now += Duration::from_secs(1);
    }
    assert!(watch.links.len() < 200, "{} are remembered", watch.links.len());
    let neighbour = Address(99);
    assert_eq!(watch.heard(now, &lsu(OWN, neighbour, 5)), conflict(Evidence::Announced { neighbour }));
    assert_eq!(watch.heard(now, &lsu(OWN, N, 1)), None, "an own link is known as long as it is announced");
}

#[test]
fn links_are_remembered_as_long_as_somebody_may_speak_of_them() {
    let (mut watch, mut now) = (Watch::new(OWN, MEMORY), NOW);
    watch.announcing(now, N, 3);
    for _ in 0..10 {
        now += MEMORY - Duration::from_millis(1);
        assert_eq!(watch.heard(now, &lsu(OWN, N, 3)), None);
    }
    now += MEMORY;
    let announced = conflict(Evidence::Announced { neighbour: N });
    assert_eq!(watch.heard(now, &lsu(OWN, N, 3)), announced, "nobody who has it from here can have it still");
}

#[test]
fn a_full_watch_has_room_again() {
    let (mut watch, mut now) = (Watch::new(OWN, MEMORY), NOW);
    for n in 0..2 * LINKS_LIMIT as u64 {
        watch.heard(now, &lsu(OWN, Address(1000 + n), 0));
    }
    let neighbour = Address(99);
    assert_eq!(watch.heard(now, &lsu(OWN, neighbour, 5)), None);
    now += MEMORY;
    assert_eq!(watch.heard(now, &lsu(OWN, neighbour, 5)), conflict(Evidence::Announced { neighbour }));
    assert_eq!(watch.links.len(), 1);
}
