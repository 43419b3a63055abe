use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn at(n: u64) -> Instant {
    Instant::from_nanos(n)
}

#[test]
fn equal_deadlines_come_out_as_they_went_in() {
    let mut timers = Timers::new();
    for n in 0..1000 {
        timers.arm(at(n % 2), n);
    }
    let out: Vec<u64> = core::iter::from_fn(|| timers.pop_due(at(1))).map(|(_, n)| n).collect();
    assert!(out[..500].iter().eq((0..1000).step_by(2).collect::<Vec<_>>().iter()));
    assert!(out[500..].iter().eq((1..1000).step_by(2).collect::<Vec<_>>().iter()));
}

#[test]
fn an_id_is_spent_with_its_entry() {
    let mut timers = Timers::new();
    let first = timers.arm(at(1), 'a');
    assert_eq!(timers.pop_due(at(1)), Some((at(1), 'a')));
    let second = timers.arm(at(1), 'b');
    assert!(!timers.cancel(first), "its slot is the second's now");
    assert!(timers.cancel(second));
    assert!(!timers.cancel(second));
}

#[test]
fn cancelled_entries_leave_nothing_behind() {
    let mut timers = Timers::new();
    for n in 0..1_000_000u64 {
        let id = timers.arm(at(n), n);
        timers.cancel(id);
    }
    assert!(timers.slots.capacity() <= KEPT && timers.heap.capacity() <= KEPT);
}

#[test]
fn an_empty_queue_gives_its_memory_back() {
    let mut timers = Timers::new();
    let old = timers.arm(at(0), 0);
    for n in 1..10_000 {
        timers.arm(at(n), n);
    }
    while timers.pop_due(at(10_000)).is_some() {}
    assert!(timers.slots.capacity() <= KEPT && timers.heap.capacity() <= KEPT);
    let new = timers.arm(at(0), 0);
    assert!(!timers.cancel(old), "its slot is somebody else's");
    assert!(timers.cancel(new));
}

#[test]
fn the_end_of_time_is_never_due_before_it() {
    let mut timers = Timers::new();
    timers.arm(Instant::FAR_FUTURE, ());
    assert_eq!(timers.pop_due(at(u64::MAX - 1)), None);
    assert_eq!(timers.next(), Some(Instant::FAR_FUTURE));
}

#[derive(Clone, Debug)]
enum Op {
    Arm(u64),
    Cancel(usize),
    Pop(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(
        prop_oneof![
            3 => (0u64..50).prop_map(Op::Arm),
            1 => any::<usize>().prop_map(Op::Cancel),
            1 => (0u64..60).prop_map(Op::Pop),
        ],
        0..400,
    )
}

fn check_heap<K: Copy>(t: &Timers<K>) {
    for (place, e) in t.heap.iter().enumerate() {
        assert_eq!(t.slots[e.slot as usize].place as usize, place);
        assert_eq!(t.slots[e.slot as usize].serial, e.serial);
        assert!(place == 0 || t.heap[(place - 1) / ARITY] < *e);
    }
}

proptest! {
    /// Against a sorted map.
    #[test]
    fn the_timer_queue_agrees_with_a_sorted_one(ops in ops()) {
        let (mut timers, mut model, mut given) = (Timers::new(), BTreeMap::new(), Vec::new());
        for (n, op) in ops.into_iter().enumerate() {
            match op {
                Op::Arm(t) => {
                    given.push((timers.arm(at(t), n), (at(t), n)));
                    model.insert((at(t), n), ());
                }
                Op::Cancel(_) if given.is_empty() => {}
                Op::Cancel(i) => {
                    let (id, key) = given[i % given.len()];
                    prop_assert_eq!(timers.cancel(id), model.remove(&key).is_some());
                }
                Op::Pop(now) => {
                    let want = model.first_key_value().map(|(k, ())| *k).filter(|k| k.0 <= at(now));
                    prop_assert_eq!(timers.pop_due(at(now)), want);
                    want.map(|k| model.remove(&k));
                }
            }
            check_heap(&timers);
            prop_assert_eq!(timers.len(), model.len());
            prop_assert_eq!(timers.next(), model.first_key_value().map(|(k, ())| k.0));
        }
    }
}
