use alloc::vec::Vec;

use super::*;
use crate::base::time::ManualClock;

/// Messages that were kept, by what they say.
fn waiting<M: Clone>(management: &Management<M>) -> Vec<M> {
    management.messages.iter().map(|waiting| waiting.message.clone()).collect()
}

#[test]
fn messages_are_handled_in_the_order_in_which_they_came() {
    let (waiting, clock) = (Mutex::new(Management::default()), ManualClock::new(0));
    for n in 0..5 {
        assert_eq!(waiting.lock().push(n % 2, 100, false, n), None);
    }
    let mut handled = Vec::new();
    assert!(!handle_each(&waiting, &clock, |_, n| handled.push(n)));
    assert_eq!(handled, [0, 1, 2, 3, 4]);
    let waiting = waiting.lock();
    assert_eq!((waiting.bytes, waiting.peers.len()), (0, 0));
}

#[test]
fn a_peer_that_floods_leaves_room_for_others() {
    let mut management = Management::default();
    for (bytes, most) in [(2048, MAX_OF_PEER), (MAX_BYTES_OF_PEER / 4, 4)] {
        management = Management::default();
        let dropped = (0..10_000).filter(|_| management.push(1, bytes, false, 1).is_some()).count();
        assert_eq!(dropped, 10_000 - most, "messages of {bytes} bytes");
        assert_eq!(management.push(2, 2048, false, 2), None);
    }
    assert!(management.bytes <= MAX_BYTES_OF_PEER + 2048);
}

#[test]
fn without_room_the_newest_message_of_the_largest_peer_goes() {
    let mut management = Management::default();
    for n in 0..MAX_MESSAGES as u64 {
        assert_eq!(management.push(n % 8, 100, false, n), None);
    }
    let last = MAX_MESSAGES as u64 - 1;
    assert_eq!(management.push(100, 100, false, 1000), Some(last), "of peer 7, the last of those that have as many");
    assert_eq!(management.push(6, 100, false, 1001), Some(1001), "which has as much as any");
    assert_eq!(waiting(&management).last(), Some(&1000));
    assert_eq!(management.messages.len(), MAX_MESSAGES);
}

#[test]
fn memory_is_bounded_whatever_the_peers() {
    let mut management = Management::default();
    for peer in 0..10_000 {
        let _ = management.push(peer, 65_536, false, ());
        assert!(management.bytes <= MAX_BYTES && management.messages.len() <= MAX_MESSAGES);
    }
    assert_eq!(management.bytes, MAX_BYTES);
    // A small one makes up for none of them, but those that hold most are easily found.
    assert!(management.push(77_777, 2048, false, ()).is_some());
    assert!(management.peers.contains_key(&77_777));
}

#[test]
fn strangers_with_an_address_for_each_message_do_not_keep_out_what_was_asked_for() {
    let mut management = Management::default();
    for peer in 0..10_000u64 {
        let _ = management.push(peer, 2048, false, peer);
    }
    assert_eq!(management.push(77_777, 2048, false, 77_777), Some(77_777), "another stranger");
    assert_eq!(management.push(88_888, 2048, true, 88_888), Some(MAX_MESSAGES as u64 - 1));
    assert!(waiting(&management).contains(&88_888));
}

#[test]
fn a_thread_is_kept_for_its_turn_and_no_longer() {
    let (waiting, clock) = (Mutex::new(Management::default()), ManualClock::new(0));
    for n in 0..10 {
        assert_eq!(waiting.lock().push(n, 100, false, n), None);
    }
    let mut handled = Vec::new();
    let mut slowly = |now: Instant, n| {
        handled.push(n);
        clock.advance_to(now + TURN / 4);
    };
    assert!(handle_each(&waiting, &clock, &mut slowly), "some are left");
    assert!(handle_each(&waiting, &clock, &mut slowly));
    assert!(!handle_each(&waiting, &clock, &mut slowly));
    assert_eq!(handled, (0..10).collect::<Vec<_>>());
}

#[test]
fn messages_put_aside_meanwhile_are_left_to_other_threads() {
    let (waiting, clock) = (Mutex::new(Management::default()), ManualClock::new(0));
    assert_eq!(waiting.lock().push(1, 100, false, ()), None);
    let mut handled = 0;
    let more = handle_each(&waiting, &clock, |_, ()| {
        handled += 1;
        assert_eq!(waiting.lock().push(1, 100, false, ()), None);
    });
    assert!(!more && handled == 1 && waiting.lock().messages.len() == 1);
}
