use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

#[test]
fn ids_stay_in_their_range() {
    for limit in [1, 2, 63, 64, 65, 1000, 1 << 24] {
        let table = SlotTable::new(limit);
        for random in [0, u32::MAX, 1, 1 << 31, 0x7fff_ffff] {
            let id = table.insert_with(random, |id| id).unwrap();
            assert!((64..=ID_MASK).contains(&id), "{id:#x} of {limit}");
            assert_eq!(table.get(id), Some(id));
            assert_eq!(table.remove(id), Some(id));
        }
    }
}

#[test]
fn a_slot_never_repeats_its_id_at_once() {
    for random in [0, 1, 7, u32::MAX] {
        let table = SlotTable::new(1);
        let mut last = 0;
        for _ in 0..10 {
            let id = table.insert_with(random, |id| id).unwrap();
            assert_ne!(id, last);
            assert_eq!(table.get(last), None);
            last = id;
            table.remove(id);
        }
    }
}

#[test]
fn freed_slots_rest() {
    let table = SlotTable::new(1000);
    let index = |id: u32| id & table.index_mask();
    let first = table.insert_with(1, |_| ()).unwrap();
    table.remove(first);
    let mut others = 0;
    loop {
        let id = table.insert_with(1, |_| ()).unwrap();
        if index(id) == index(first) {
            break;
        }
        table.remove(id);
        others += 1;
    }
    assert_eq!(others, QUARANTINE);
    assert!(table.chunks[2..].iter().all(|c| !c.is_completed()), "coming and going takes no more memory");
}

#[test]
fn a_full_table_takes_no_more() {
    let table = SlotTable::new(100);
    let ids: Vec<u32> = (0..100).map(|n| table.insert_with(n, |id| id).unwrap()).collect();
    assert_eq!(table.insert_with(5, |_| unreachable!()), None);
    table.remove(ids[42]);
    assert_eq!(table.len(), 99);
    assert!(table.insert_with(5, |id| id).is_some(), "the only free slot is used however short it rested");
    assert_eq!(table.entries().len(), 100);
}

#[test]
fn lookups_run_beside_changes() {
    let table: SlotTable<Arc<u32>> = SlotTable::new(256);
    std::thread::scope(|s| {
        for t in 0..4u32 {
            let table = &table;
            s.spawn(move || {
                for n in 0..5_000 {
                    let id = table.insert_with(n * 7 + t, Arc::new).unwrap();
                    assert_eq!(table.get(id).as_deref(), Some(&id));
                    assert_eq!(table.remove(id).as_deref(), Some(&id));
                    assert_eq!(table.get(id), None);
                }
            });
        }
    });
    assert!(table.is_empty());
}

proptest! {
    #[test]
    fn it_is_a_map(ops in prop::collection::vec((any::<u32>(), any::<bool>()), 0..400), limit in 1usize..100) {
        let (table, mut model, mut gone) = (SlotTable::new(limit), BTreeMap::new(), BTreeSet::new());
        for (n, remove) in ops {
            let nth = model.keys().nth(n as usize % model.len().max(1)).copied();
            match nth {
                Some(id) if remove => {
                    prop_assert_eq!(table.remove(id), model.remove(&id));
                    gone.insert(id);
                }
                _ => match table.insert_with(n, |id| (id, n)) {
                    Some(id) => prop_assert!(model.insert(id, (id, n)).is_none()),
                    None => prop_assert_eq!(model.len(), limit),
                },
            }
            prop_assert_eq!(table.len(), model.len());
            for id in model.keys().chain(&gone) {
                prop_assert_eq!(table.get(*id), model.get(id).copied());
            }
            prop_assert_eq!(table.entries().into_iter().collect::<BTreeMap<_, _>>(), model.clone());
        }
    }

    #[test]
    fn any_id_may_be_asked_for(id: u32, limit in 1usize..5000) {
        let table = SlotTable::new(limit);
        prop_assert_eq!(table.get(id), None);
        prop_assert_eq!(table.remove(id), None);
        let have = table.insert_with(id, |id| id).unwrap();
        prop_assert_eq!(table.get(id).is_some(), id == have);
    }
}
