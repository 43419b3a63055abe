use alloc::vec::Vec;

use super::*;
use crate::crypto::hash::digest;
use crate::crypto::protect::Side;
use crate::crypto::suite::Digest;

const NOW: Instant = Instant::from_millis(1000);

fn ends() -> [Moves; 2] {
    let request = digest(Digest::Sha384, &[b"a request"]);
    [Side::Client, Side::Server].map(|side| Moves::new(Peering::new(side, 1000, &request)))
}

fn route(last: u8) -> Route {
    Route { local: None, remote: ([10, 0, 0, last], 3435).into() }
}

fn probe(a: &mut Moves, now: Instant, at: Route) -> Option<[u8; LEN]> {
    a.handle_elsewhere(now, at);
    let (to, packet) = a.poll_transmit()?;
    assert_eq!(to, Some(at));
    Some(packet)
}

fn answer(b: &mut Moves, probe: &[u8]) -> [u8; LEN] {
    assert!(b.take(None, probe));
    let (to, packet) = b.poll_transmit().unwrap();
    assert_eq!((to, b.poll_transmit()), (None, None));
    packet
}

#[test]
fn an_answer_from_where_the_probe_went_moves_the_flow() {
    let [mut a, mut b] = ends();
    let asked = probe(&mut a, NOW, route(7)).unwrap();
    assert!(a.poll_transmit().is_none() && a.poll_moved().is_none());
    let answered = answer(&mut b, &asked);
    assert!(a.take(Some(route(7)), &answered) && a.is_due());
    assert_eq!(a.poll_moved(), Some(route(7)));
    assert!(!a.is_due() && a.poll_moved().is_none() && b.poll_moved().is_none());
    assert!(a.take(Some(route(7)), &answered) && !a.is_due(), "once");
}

#[test]
fn answers_from_elsewhere_or_unasked_move_nothing() {
    let [mut a, mut b] = ends();
    let asked = probe(&mut a, NOW, route(7)).unwrap();
    let answered = answer(&mut b, &asked);
    for from in [None, Some(route(8))] {
        assert!(a.take(from, &answered));
        assert_eq!(a.poll_moved(), None);
    }
    // A later probe to the same place leaves room for the answer to the earlier one, and for no older.
    let later = |n| NOW + PATIENCE * n;
    probe(&mut a, later(1), route(7)).unwrap();
    assert!(a.take(Some(route(7)), &answered) && a.poll_moved().is_some());
    let old = probe(&mut a, later(2), route(9)).unwrap();
    probe(&mut a, later(3), route(9)).unwrap();
    probe(&mut a, later(5), route(9)).unwrap();
    assert!(a.take(Some(route(9)), &answer(&mut b, &old)) && a.poll_moved().is_none());
}

#[test]
fn a_probe_that_somebody_passes_on_is_not_answered() {
    let [mut a, mut b] = ends();
    let asked = probe(&mut a, NOW, route(7)).unwrap();
    assert!(!b.take(Some(route(7)), &asked) && !b.is_due());
}

#[test]
fn forged_probes_and_answers_are_data() {
    let [mut a, mut b] = ends();
    let asked = probe(&mut a, NOW, route(7)).unwrap();
    let answered = answer(&mut b, &asked);
    for (end, packet, from) in [(&mut b, asked, None), (&mut a, answered, Some(route(7)))] {
        for bit in 0..8 * LEN {
            let mut forged = packet;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!end.take(from, &forged) && !end.is_due(), "bit {bit}");
        }
        assert!(!end.take(from, &packet[1..]) && !end.take(from, &[&packet[..], &[0]].concat()));
    }
    // What an end has sent itself, thrown back.
    assert!(!a.take(Some(route(7)), &asked) && !b.take(None, &answered));
    assert!(a.poll_moved().is_none());
}

#[test]
fn probes_are_few_whatever_comes() {
    let [mut a, _] = ends();
    let mut sent = 0;
    for ms in 0..1000 {
        for stranger in 0..100 {
            a.handle_elsewhere(NOW + Duration::from_millis(ms), route(stranger));
            sent += core::iter::from_fn(|| a.poll_transmit()).count();
        }
    }
    assert!(sent <= 1000 / PAUSE.as_millis() as usize, "{sent}");
    assert!(a.work.unwrap().places.len() <= PLACES);
}

#[test]
fn one_place_is_given_time_to_answer() {
    let [mut a, _] = ends();
    let sent = |a: &mut Moves, ms| probe(a, NOW + Duration::from_millis(ms), route(7)).is_some();
    let sent: Vec<u64> = (0..7000).filter(|ms| sent(&mut a, *ms)).collect();
    assert_eq!(sent, [0, 200, 600, 1400, 3000, 4600, 6200]);
}

#[test]
fn a_peer_far_away_that_sends_all_the_time_moves() {
    let [mut a, mut b] = ends();
    for rtt in [100, 500, 900, 1500] {
        let mut answers = Vec::new();
        let moved = (0..10_000).any(|ms| {
            let now = NOW + Duration::from_millis(ms);
            if let Some(asked) = probe(&mut a, now, route(rtt as u8)) {
                answers.push((ms + rtt, answer(&mut b, &asked)));
            }
            for (_, answered) in answers.iter().filter(|(at, _)| *at == ms) {
                a.take(Some(route(rtt as u8)), answered);
            }
            a.poll_moved().is_some()
        });
        assert!(moved, "{rtt} ms");
        a.rests_until = Instant::ZERO;
    }
}

#[test]
fn strangers_do_not_push_out_a_peer_that_is_far_away() {
    let [mut a, mut b] = ends();
    let asked = probe(&mut a, NOW, route(200)).unwrap();
    for ms in 1..500 {
        for stranger in 0..100 {
            a.handle_elsewhere(NOW + Duration::from_millis(ms), route(stranger));
            a.poll_transmit();
        }
    }
    assert!(a.take(Some(route(200)), &answer(&mut b, &asked)));
    assert_eq!(a.poll_moved(), Some(route(200)));
}

#[test]
fn answers_do_not_pile_up() {
    let [mut a, mut b] = ends();
    for n in 0..10 {
        let asked = probe(&mut a, NOW + LONGEST_PATIENCE * n, route(7)).unwrap();
        b.take(None, &asked);
    }
    assert_eq!(core::iter::from_fn(|| b.poll_transmit()).count(), ANSWERS);
}
