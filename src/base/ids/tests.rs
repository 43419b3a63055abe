use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::rng::Rng;

/// The ids that `draw` has, one after the other.
fn drawn<const N: usize>(ids: [u64; N]) -> impl FnMut() -> u64 {
    let mut ids = ids.into_iter();
    move || ids.next().unwrap()
}

#[test]
fn an_id_that_is_taken_is_not_given_out_again() {
    let table = IdTable::new(10);
    assert_eq!(table.insert_with(drawn([7]), |id| id), Some(7));
    assert_eq!(table.insert_with(drawn([7, 7, u64::MAX]), |id| id), Some(u64::MAX));
    table.remove(7);
    assert_eq!(table.insert_with(drawn([7]), |id| id), Some(7));
}

#[test]
fn drawing_an_id_ends_if_none_is_free() {
    let table = IdTable::new(10);
    table.insert_with(|| 7, |_| ()).unwrap();
    assert_eq!(table.insert_with(|| 7, |_| unreachable!()), None);
    assert_eq!(table.len(), 1);
}

#[test]
fn an_entry_is_found_once_it_is_whole() {
    let table: IdTable<u64> = IdTable::new(10);
    let id = table.insert_with(
        || 7,
        |id| {
            assert_eq!((table.get(id), table.remove(id)), (None, None), "it is being made");
            id
        },
    );
    assert_eq!(id, Some(7));
    assert_eq!(table.get(7), Some(7));
}

#[test]
fn a_full_table_takes_no_more() {
    let table = IdTable::new(100);
    let mut rng = Rng::from_seed([3; 32]);
    let ids: Vec<u64> = (0..100).map(|_| table.insert_with(|| rng.u64(), |id| id).unwrap()).collect();
    assert_eq!(table.insert_with(|| unreachable!(), |_| unreachable!()), None);
    table.remove(ids[42]);
    assert_eq!(table.len(), 99);
    assert!(table.insert_with(|| rng.u64(), |id| id).is_some());
    assert_eq!(table.entries().len(), 100);
}

#[test]
fn a_closed_table_takes_no_more() {
    let table = IdTable::new(10);
    assert_eq!(table.insert_with(drawn([7]), |id| id), Some(7));
    // Closed while an insertion is under way: between its look at the table and its draw, and between that and its entry.
    let closing_draw = || {
        assert_eq!(table.close(), [(7, 7)]);
        8
    };
    assert_eq!(table.insert_with(closing_draw, |id| id), None);
    assert_eq!(table.insert_with(|| unreachable!(), |_| unreachable!()), None);
    assert_eq!((table.len(), table.get(7), table.get(8)), (1, Some(7), None));
    assert_eq!((table.remove(7), table.len()), (Some(7), 0));

    let empty: IdTable<u64> = IdTable::new(10);
    let made = empty.insert_with(
        || 7,
        |id| {
            assert_eq!(empty.close(), []);
            id
        },
    );
    assert_eq!((made, empty.len(), empty.get(7)), (None, 0, None));
}

#[test]
fn every_entry_is_made_before_the_table_is_closed() {
    for round in 0..200u64 {
        let table: IdTable<u64> = IdTable::new(1000);
        let (table, start) = (&table, &std::sync::Barrier::new(3));
        let (made, seen) = std::thread::scope(|s| {
            let inserting = [0, 1].map(|thread| {
                s.spawn(move || {
                    start.wait();
                    let ids = (0..50).map(|i| 100 * thread + i);
                    ids.filter_map(|id| table.insert_with(|| id, |id| id)).collect::<Vec<_>>()
                })
            });
            start.wait();
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            let seen: Vec<u64> = table.close().into_iter().map(|(id, _)| id).collect();
            (inserting.map(|thread| thread.join().unwrap()).concat(), seen)
        });
        assert_eq!(made.into_iter().collect::<BTreeSet<_>>(), seen.into_iter().collect());
        assert_eq!(table.len(), table.values().len());
    }
}

#[test]
fn memory_comes_back_when_many_entries_have_gone() {
    let table = IdTable::new(100_000);
    let mut rng = Rng::from_seed([4; 32]);
    let ids: Vec<u64> = (0..100_000).map(|_| table.insert_with(|| rng.u64(), |id| id).unwrap()).collect();
    let capacity =
        |t: &IdTable<u64>| t.shards.get().into_iter().flatten().map(|s| s.0.read().capacity()).sum::<usize>();
    assert!(capacity(&table) >= 100_000);
    for id in ids {
        table.remove(id);
    }
    assert!(capacity(&table) <= SHARDS * SHARDS);
}

#[test]
fn lookups_run_beside_changes() {
    let table: IdTable<Arc<u64>> = IdTable::new(256);
    std::thread::scope(|s| {
        for t in 0..4u8 {
            let table = &table;
            s.spawn(move || {
                let mut rng = Rng::from_seed([t; 32]);
                for _ in 0..5_000 {
                    // Few different ones, so that they collide.
                    let id = table.insert_with(|| rng.below(1000), Arc::new).unwrap();
                    assert_eq!(table.get(id).as_deref(), Some(&id));
                    assert_eq!(table.remove(id).as_deref(), Some(&id));
                }
            });
        }
    });
    assert!(table.is_empty());
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_map(ops in prop::collection::vec((any::<u8>(), any::<bool>()), 0..400), limit in 1usize..100) {
        let (table, mut model, mut gone) = (IdTable::new(limit), BTreeMap::new(), BTreeSet::new());
        for (n, remove) in ops {
            let nth = model.keys().nth(n as usize % model.len().max(1)).copied();
            match nth {
                Some(id) if remove => {
                    prop_assert_eq!(table.remove(id), model.remove(&id));
                    gone.insert(id);
                }
                _ => {
                    let mut next = u64::from(n);
                    let draw = || { next += 1; next };
                    match table.insert_with(draw, |id| (id, n)) {
                        Some(id) => prop_assert!(model.insert(id, (id, n)).is_none()),
                        None => prop_assert!(model.len() == limit || model.len() >= DRAWS),
                    }
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for id in model.keys().chain(&gone) {
                prop_assert_eq!(table.get(*id), model.get(id).copied());
            }
            prop_assert_eq!(table.entries().into_iter().collect::<BTreeMap<_, _>>(), model.clone());
        }
    }
}
