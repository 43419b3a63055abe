use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A processor that takes a millisecond for ten messages, and neighbours that bring messages every millisecond.
struct Processor {
    inbox: Inbox<(usize, u32)>,
    now: u32,
    sent: Vec<u32>,
    handled: Vec<u32>,
    /// The longest wait, milliseconds.
    waited: Vec<u32>,
}

/// Messages of one kind: their class, who brings them, and how many a millisecond.
type Source = (Class, u32, u32);

impl Processor {
    fn run(sources: &[Source], millis: u32) -> Self {
        let none = || alloc::vec![0; sources.len()];
        let mut this = Self { inbox: Inbox::new(4096), now: 0, sent: none(), handled: none(), waited: none() };
        for _ in 0..millis {
            for (number, (class, from, count)) in sources.iter().enumerate() {
                for _ in 0..*count {
                    this.sent[number] += 1;
                    this.inbox.make_room(*class, N1FlowId(*from));
                    this.inbox.push(*class, N1FlowId(*from), (number, this.now));
                }
            }
            for (number, since) in core::iter::from_fn(|| this.inbox.pop()).take(10) {
                this.handled[number] += 1;
                this.waited[number] = this.waited[number].max(this.now - since);
            }
            this.now += 1;
        }
        this
    }
}

#[test]
fn a_flood_at_one_component_leaves_the_others_their_share() {
    for flooded in Class::ALL {
        // Ten times of what the processor can do, from as many neighbours as it takes to fill the class.
        let mut sources: Vec<Source> = (0..10).map(|n| (flooded, 100 + n, 10)).collect();
        let others = Class::ALL.into_iter().filter(|class| *class != flooded);
        let first = sources.len();
        sources.extend(others.map(|class| (class, 1, 1)));
        let done = Processor::run(&sources, 2000);
        for (n, (class, ..)) in sources.iter().enumerate().skip(first) {
            assert_eq!(done.handled[n], done.sent[n], "{flooded:?} floods, {class:?} suffers");
            assert!(done.waited[n] <= 1, "{} ms", done.waited[n]);
        }
        let flood: u32 = done.handled[..first].iter().sum();
        assert_eq!(flood, 2000 * (10 - 5), "it gets what is left");
    }
}

#[test]
fn a_flood_from_one_neighbour_leaves_the_others_their_share() {
    for class in Class::ALL {
        let sources = [(class, 1, 100), (class, 2, 1), (class, 3, 3)];
        let done = Processor::run(&sources, 2000);
        for n in 1..sources.len() {
            assert_eq!(done.handled[n], done.sent[n]);
            assert!(done.waited[n] <= 1, "{} ms", done.waited[n]);
        }
        assert!(done.inbox.len() <= 4096 / SHARE);
    }
}

#[test]
fn a_flood_over_many_flows_leaves_room_for_quiet_ones() {
    for class in Class::ALL {
        // As many as it takes to fill the class, and one who wants no more than an equal part of the processor.
        let mut sources: Vec<Source> = (0..8).map(|n| (class, 100 + n, 100)).collect();
        sources.push((class, 1, 1));
        let done = Processor::run(&sources, 2000);
        let last = sources.len() - 1;
        // What was brought last may wait still.
        assert!(done.handled[last] + 10 >= done.sent[last], "{} of {}", done.handled[last], done.sent[last]);
        assert!(done.waited[last] <= 10, "{} ms", done.waited[last]);
        assert!(done.inbox.len() <= 1024);
    }
}

#[test]
fn messages_give_way_only_to_flows_with_fewer() {
    let mut inbox = Inbox::new(8 * 16);
    for (from, message) in [(1, 10), (2, 20)].into_iter().flat_map(|(f, m)| (0..8).map(move |n| (f, m + n))) {
        assert_eq!(inbox.make_room(Class::Flows, N1FlowId(from)), None);
        assert!(inbox.push(Class::Flows, N1FlowId(from), message));
    }
    assert_eq!(inbox.make_room(Class::Flows, N1FlowId(1)), None);
    assert_eq!(inbox.make_room(Class::Directory, N1FlowId(3)), None, "there is room");
    let gave_way = inbox.make_room(Class::Flows, N1FlowId(3)).expect("another flow has more");
    assert!([17, 27].contains(&gave_way), "the newest of one of them: {gave_way}");
    assert!(inbox.push(Class::Flows, N1FlowId(3), 30));
    assert_eq!(inbox.len(), 16);
}

#[test]
fn the_smallest_inbox_holds_one_message() {
    let mut inbox = Inbox::new(0);
    assert!(inbox.push(Class::Directory, N1FlowId(1), 'a'));
    assert!(!inbox.push(Class::Directory, N1FlowId(2), 'b'));
    assert_eq!((inbox.pop(), inbox.pop(), inbox.is_empty()), (Some('a'), None, true));
}

#[test]
fn classes_have_room_whatever_the_limit() {
    for limit in [0, 7, 4096, 1 << (usize::BITS - 1), usize::MAX] {
        let mut inbox = Inbox::new(limit);
        for class in Class::ALL {
            assert!(inbox.push(class, N1FlowId(1), 'a'), "{class:?} of {limit}");
        }
        assert!(inbox.room(Class::LinkState) >= inbox.room(Class::Replies), "{limit}");
    }
}

proptest! {
    #[test]
    fn accepted_messages_are_not_lost(ops in proptest::collection::vec((0..=Class::ALL.len(), 0u32..4), 0..400)) {
        let mut inbox = Inbox::new(64);
        let (mut kept, mut popped) = (Vec::new(), Vec::new());
        for (number, (class, flow)) in ops.into_iter().enumerate() {
            match Class::ALL.get(class) {
                Some(class) if inbox.push(*class, N1FlowId(flow), (*class as usize, flow, number)) => {
                    kept.push((*class as usize, flow, number));
                }
                Some(_) => {}
                None => popped.extend(inbox.pop()),
            }
            prop_assert_eq!(inbox.len(), kept.len() - popped.len());
            prop_assert!(inbox.len() <= 64);
        }
        popped.extend(core::iter::from_fn(|| inbox.pop()));
        prop_assert!(inbox.is_empty());
        // In order for each class and flow.
        let key = |m: &(usize, u32, usize)| *m;
        kept.sort_by_key(key);
        let mut sorted = popped.clone();
        sorted.sort_by_key(key);
        prop_assert_eq!(kept, sorted);
        for (class, flow) in (0..Class::ALL.len()).flat_map(|c| (0..4).map(move |f| (c, f))) {
            let numbers: Vec<_> = popped.iter().filter(|m| (m.0, m.1) == (class, flow)).map(|m| m.2).collect();
            prop_assert!(numbers.is_sorted());
        }
    }
}
