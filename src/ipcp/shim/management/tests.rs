use alloc::vec::Vec;

use super::*;
use crate::base::time::ManualClock;

const NONE: [u64; 0] = [];

impl<M> Management<M> {
    /// What has to go, as if one that is of no use were one for which there is no room.
    fn put(&mut self, peer: u64, bytes: usize, answers: Option<u64>, message: M) -> Shed<M> {
        self.push(peer, bytes, answers, message).unwrap_or_else(|message| Shed::from([message]))
    }

    fn all(&self) -> impl Iterator<Item = &Waiting<M>> + Clone {
        self.replies.iter().chain(&self.requests)
    }
}

/// Messages that were kept, by what they say: replies, then requests.
fn waiting<M: Clone>(management: &Management<M>) -> Vec<M> {
    management.all().map(|waiting| waiting.message.clone()).collect()
}

#[test]
fn messages_are_handled_in_the_order_in_which_they_came() {
    let (waiting, clock) = (Mutex::new(Management::default()), ManualClock::new(0));
    for n in 0..5 {
        assert_eq!(waiting.lock().put(n % 2, 100, None, n).into_vec(), NONE);
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
        let dropped = (0..10_000).filter(|_| !management.put(1, bytes, None, 1).is_empty()).count();
        assert_eq!(dropped, 10_000 - most, "messages of {bytes} bytes");
        assert!(management.put(2, 2048, None, 2).is_empty());
    }
    assert!(management.bytes <= MAX_BYTES_OF_PEER + 2048);
}

#[test]
fn without_room_the_newest_message_of_the_largest_peer_goes() {
    let mut management = Management::default();
    for n in 0..MAX_MESSAGES as u64 {
        assert_eq!(management.put(n % 8, 100, None, n).into_vec(), NONE);
    }
    let last = MAX_MESSAGES as u64 - 1;
    assert_eq!(management.put(100, 100, None, 1000)[..], [last], "of peer 7, the last of those that have as many");
    assert_eq!(management.put(6, 100, None, 1001)[..], [1001], "which has as much as any");
    assert_eq!(waiting(&management).last(), Some(&1000));
    assert_eq!(management.len(), MAX_MESSAGES);
}

#[test]
fn memory_is_bounded_whatever_the_peers() {
    let mut management = Management::default();
    for peer in 0..10_000 {
        let _ = management.put(peer, 65_536, None, ());
        assert!(management.bytes <= MAX_BYTES && management.len() <= MAX_MESSAGES);
    }
    assert_eq!(management.bytes, MAX_BYTES);
    // A small one makes up for none of them, but those that hold most are easily found.
    assert!(!management.put(77_777, 2048, None, ()).is_empty());
    assert!(management.peers.contains_key(&77_777));
}

#[test]
fn strangers_with_an_address_for_each_message_do_not_keep_out_what_was_asked_for() {
    let mut management = Management::default();
    for peer in 0..10_000u64 {
        let _ = management.put(peer, 2048, None, peer);
    }
    assert_eq!(management.put(77_777, 2048, None, 77_777)[..], [77_777], "another stranger");
    assert_eq!(management.put(88_888, 2048, Some(1), 88_888)[..], [MAX_MESSAGES as u64 - 1]);
    assert!(waiting(&management).contains(&88_888));
}

#[test]
fn a_thread_is_kept_for_its_turn_and_no_longer() {
    let (waiting, clock) = (Mutex::new(Management::default()), ManualClock::new(0));
    for n in 0..10 {
        assert_eq!(waiting.lock().put(n, 100, None, n).into_vec(), NONE);
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
    assert!(waiting.lock().put(1, 100, None, ()).is_empty());
    let mut handled = 0;
    let more = handle_each(&waiting, &clock, |_, ()| {
        handled += 1;
        assert!(waiting.lock().put(1, 100, None, ()).is_empty());
    });
    assert!(!more && handled == 1 && waiting.lock().len() == 1);
}

/// The address of who is asked.
const SERVER: u64 = 1 << 40;

/// Keeps a message of `peer`, which answers the request of this number or none; what has to go.
fn keep<M>(management: &mut Management<M>, peer: u64, bytes: usize, answers: Option<u64>, message: M) -> Vec<M> {
    management.put(peer, bytes, answers, message).into_vec()
}

#[test]
fn strangers_push_out_none_of_the_replies_of_one_server() {
    let mut management = Management::default();
    for n in 0..20 {
        assert_eq!(keep(&mut management, SERVER, 2048, Some(n), n), NONE);
    }
    // Some have more than one message there, and others more memory.
    for peer in 100..10_100 {
        let _ = keep(&mut management, peer / 2, 2048 + (peer as usize % 7) * 1000, None, peer);
    }
    let kept = waiting(&management);
    assert_eq!(kept[..20], (0..20).collect::<Vec<_>>(), "of {}", kept.len());
}

#[test]
fn requests_under_the_address_of_a_server_keep_out_none_of_its_replies() {
    for (bytes, strangers) in [2048, MAX_BYTES_OF_PEER / 200, 65_536].into_iter().flat_map(|b| [(b, 0), (b, 1000)]) {
        let mut management = Management::default();
        for n in 0..1000 {
            let _ = keep(&mut management, SERVER, bytes, None, 1000 + n);
        }
        for peer in 0..strangers {
            let _ = keep(&mut management, peer, bytes, None, 2000 + peer);
        }
        for n in 0..8 {
            let gone = keep(&mut management, SERVER, 65_536, Some(n), n);
            assert!(gone.iter().all(|gone| *gone >= 1000), "reply {n} among requests of {bytes} bytes: {gone:?}");
        }
        let kept = waiting(&management);
        assert!((0..8).all(|n| kept.contains(&n)), "{bytes} bytes");
    }
}

#[test]
fn the_second_reply_to_a_request_has_no_place_of_its_own() {
    let mut management = Management::default();
    assert_eq!(keep(&mut management, SERVER, 2048, Some(7), 1), NONE);
    assert_eq!(keep(&mut management, SERVER, 2048, Some(7), 2), [2]);
    assert_eq!(management.pop(), Some(1));
    assert_eq!(keep(&mut management, SERVER, 2048, Some(7), 3), NONE, "it waits no more");
}

#[test]
fn replies_share_what_is_left_to_them() {
    let mut management = Management::default();
    for n in 0..MAX_OF_PEER as u64 {
        assert_eq!(keep(&mut management, SERVER, 2048, Some(n), n), NONE);
    }
    assert_eq!(
        keep(&mut management, SERVER, 2048, Some(1 << 20), 7777),
        [7777],
        "half of the room is that of one peer"
    );
    for n in MAX_OF_PEER as u64..MAX_MESSAGES as u64 {
        assert_eq!(keep(&mut management, SERVER + n % 4 + 1, 2048, Some(n), n), NONE);
    }
    assert_eq!(keep(&mut management, 1, 2048, None, 8888), [8888]);
    let last = MAX_OF_PEER as u64 - 1;
    assert_eq!(keep(&mut management, SERVER + 9, 2048, Some(1 << 21), 9999), [last], "the newest of the largest peer");
}

#[test]
fn whatever_comes_what_is_wanted_stays() {
    let mut rng = crate::base::rng::Rng::from_seed([5; 32]);
    let mut management = Management::default();
    for n in 0..50_000u64 {
        let (peer, bytes) = (rng.below(40), 1 + rng.below(90_000) as usize);
        let answers = (rng.below(5) == 0).then(|| rng.below(300));
        let own = answers.map(|number| (peer, number));
        let gone = keep(&mut management, peer, bytes, answers, (own, n));
        let wanted_gone = gone.iter().any(|(answers, _)| answers.is_some());
        assert!(!wanted_gone || answers.is_some(), "a request has pushed out a reply");
        let left: Vec<_> = management.requests.iter().map(|waiting| waiting.peer).collect();
        let left_of_peer = left.iter().filter(|other| **other == peer).count();
        let twice = own.is_some()
            && gone.iter().any(|(_, m)| *m == n)
            && waiting(&management).iter().any(|(other, _)| *other == own);
        assert!(!wanted_gone || twice || left.is_empty() || left_of_peer == 0, "while requests wait");
        assert!(management.bytes <= MAX_BYTES && management.len() <= MAX_MESSAGES);
        for held in management.peers.values() {
            assert!(held.replies.messages + held.requests.messages <= MAX_OF_PEER);
            assert!(held.replies.bytes + held.requests.bytes <= MAX_BYTES_OF_PEER);
        }
        if rng.below(3) == 0 {
            let _ = management.pop();
        }
    }
}

#[test]
fn replies_are_handled_before_requests_that_came_before() {
    let mut management = Management::default();
    (0..100).for_each(|n| assert!(management.put(9, 100, None, n).is_empty()));
    assert!(management.put(1, 100, Some(1), 1000).is_empty());
    assert!(management.put(2, 100, Some(2), 1001).is_empty());
    let order: Vec<_> = core::iter::from_fn(|| management.pop()).collect();
    assert_eq!(order, [1000, 1001].into_iter().chain(0..100).collect::<Vec<_>>());
}

#[test]
fn a_second_reply_is_of_no_use_and_no_lack_of_room() {
    let mut management = Management::default();
    assert_eq!(management.push(1, 100, Some(7), 'a').map(|shed| shed.len()), Ok(0));
    assert_eq!(management.push(1, 100, Some(7), 'b').map(|shed| shed.len()), Err('b'));
    // The number may be that of a request to another peer by now.
    assert_eq!(management.push(2, 100, Some(7), 'c').map(|shed| shed.len()), Ok(0));
    assert_eq!(management.push(2, 100, Some(7), 'd').map(|shed| shed.len()), Err('d'));
    assert_eq!((management.pop(), management.pop(), management.pop()), (Some('a'), Some('c'), None));
    assert_eq!(management.push(1, 100, Some(7), 'e').map(|shed| shed.len()), Ok(0), "the first was handled");
}
