use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Waker;

use crate::base::time::{Instant, ManualClock};
use crate::node::{Node, Parts};

/// Counts how often it rings.
#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn node() -> Arc<Node> {
    node_with(&Arc::new(ManualClock::new(0)))
}

fn node_with(clock: &Arc<ManualClock>) -> Arc<Node> {
    Node::new(Parts::for_tests(Arc::clone(clock)))
}

fn at(micros: u64) -> Instant {
    Instant::from_nanos(micros * 1000)
}

/// Whoever polls the node does so as soon as it hears of an earlier deadline, so the alarm rings and is set again before
/// the first call has returned.
#[test]
fn an_alarm_set_while_it_is_being_set_rings() {
    let node = node();
    let rings = Arc::new(Rings::default());
    let alarm = node.alarm(Waker::from(Arc::clone(&rings)));
    let (driver, again, calls) = (Arc::clone(&node), Arc::clone(&alarm), AtomicUsize::new(0));
    node.on_earlier_deadline(Some(Arc::new(move || {
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            driver.poll(at(10));
            again.rang();
            again.set(at(20));
        }
    })));
    alarm.set(at(10));
    assert_eq!(rings.0.load(Ordering::Relaxed), 1, "at the first moment");
    node.poll(at(20));
    assert_eq!(rings.0.load(Ordering::Relaxed), 2, "at the second");
    node.on_earlier_deadline(None);
}

#[test]
fn an_alarm_rings_at_the_earliest_moment_and_not_after_its_end() {
    let node = node();
    let rings = Arc::new(Rings::default());
    let alarm = node.alarm(Waker::from(Arc::clone(&rings)));
    alarm.set(at(30));
    alarm.set(at(10));
    alarm.set(at(20));
    node.poll(at(9));
    assert_eq!(rings.0.load(Ordering::Relaxed), 0);
    node.poll(at(10));
    assert_eq!(rings.0.load(Ordering::Relaxed), 1);
    alarm.rang();
    alarm.set(at(20));
    drop(alarm);
    node.poll(at(40));
    assert_eq!((rings.0.load(Ordering::Relaxed), node.next_deadline()), (1, None));
}

/// More tasks than are polled in one go, which are due again as soon as they were polled: a flood of requests.
#[test]
fn timers_have_their_turn_between_any_number_of_tasks() {
    const TASKS: usize = 1000;
    const IN_ONE_GO: usize = 256;
    let (clock, rings, polls) =
        (Arc::new(ManualClock::new(0)), Arc::new(Rings::default()), Arc::new(AtomicUsize::new(0)));
    let node = node_with(&clock);
    for _ in 0..TASKS {
        let polls = Arc::clone(&polls);
        node.spawn(core::future::poll_fn(move |cx| {
            // Without a bound they would go on for ever.
            let often = polls.fetch_add(1, Ordering::Relaxed) > 100 * TASKS;
            cx.waker().wake_by_ref();
            if often { core::task::Poll::Ready(()) } else { core::task::Poll::Pending }
        }));
    }
    let alarm = node.alarm(Waker::from(Arc::clone(&rings)));
    for turn in 1..20 {
        alarm.rang();
        alarm.set(at(10 * turn as u64));
        clock.advance_to(at(10 * turn as u64));
        node.poll(at(10 * turn as u64));
        assert_eq!(rings.0.load(Ordering::Relaxed), turn, "who waits for time is woken in each turn");
        let polled = polls.load(Ordering::Relaxed);
        assert!(polled <= IN_ONE_GO * turn && polled >= turn, "{polled} polls in {turn} turns");
    }
}
