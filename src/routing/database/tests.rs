use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::rng::Rng;

fn database() -> Database {
    Database::new(&mut Rng::from_seed([7; 32]))
}

/// A link in the model, which is a plain map.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Model {
    seqno: u64,
    live: bool,
    heard: u64,
    late: u64,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert,
    Remove,
    Live(bool),
    Fresh,
    Late(u64),
    Time(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Insert),
        2 => Just(Op::Remove),
        4 => any::<bool>().prop_map(Op::Live),
        2 => Just(Op::Fresh),
        1 => (0u64..100_000).prop_map(Op::Late),
        1 => (0u64..100_000).prop_map(Op::Time),
    ]
}

proptest! {
    #[test]
    fn the_database_agrees_with_a_map(ops in proptest::collection::vec((1u64..8, 1u64..8, op()), 0..300)) {
        let (mut db, mut model) = (database(), BTreeMap::<(u64, u64), Model>::new());
        let (mut now, mut count) = (0, 0);
        for (a, b, op) in ops {
            let (src, dst) = (Address(a), Address(b));
            let at = Instant::from_millis(now);
            let found = db.find(src, dst);
            prop_assert_eq!(found.is_some(), model.contains_key(&(a, b)));
            let mutual = |model: &BTreeMap<(u64, u64), Model>, a, b| {
                [(a, b), (b, a)].iter().all(|ends| model.get(ends).is_some_and(|link| link.live))
            };
            match (op, found) {
                (Op::Time(time), _) => now += time,
                (Op::Insert, None) if a != b => {
                    count += 1;
                    db.insert(src, dst, Seqno(count), at);
                    model.insert((a, b), Model { seqno: count, live: false, heard: now, late: 0 });
                }
                (Op::Remove, Some(index)) => {
                    db.set_live(index, false);
                    db.remove(index);
                    model.remove(&(a, b));
                    prop_assert!(db.get(index).is_none());
                }
                (Op::Live(live), Some(index)) => {
                    let before = mutual(&model, a, b);
                    model.get_mut(&(a, b)).unwrap().live = live;
                    prop_assert_eq!(db.set_live(index, live), before != mutual(&model, a, b));
                }
                (Op::Fresh, Some(index)) => {
                    db.get_mut(index).unwrap().fresh(at);
                    let link = model.get_mut(&(a, b)).unwrap();
                    (link.heard, link.late) = (now, 0);
                }
                (Op::Late(late), Some(index)) => {
                    db.get_mut(index).unwrap().set_late(Duration::from_millis(late));
                    model.get_mut(&(a, b)).unwrap().late = late;
                }
                _ => {}
            }
            let at = Instant::from_millis(now);
            let said: Vec<_> = db.sorted().into_iter().map(|link| {
                let (silence, late) = (link.silence(at).as_millis() as u64, link.late().as_millis() as u64);
                prop_assert_eq!(link.age(at).as_millis() as u64, silence + late);
                let link_is = Model { seqno: link.seqno.0, live: link.live(), heard: now - silence, late };
                Ok(((db.src(link).0, db.dst(link).0), link_is))
            }).collect::<Result<_, TestCaseError>>()?;
            let expected: Vec<_> = model.iter().map(|(ends, link)| (*ends, *link)).collect();
            prop_assert_eq!(said, expected);
            prop_assert_eq!(db.len(), model.len());
            // What may give way, from wherever it is looked for.
            let useless = |a: u64| model.keys().filter(|ends| ends.0 == a && !mutual(&model, ends.0, ends.1)).count();
            for a in 1..8 {
                let some = db.useless_of(Address(a), count as u32 % 5);
                prop_assert_eq!(some.is_some(), useless(a) > 0);
                let ends = some.and_then(|index| db.get(index)).map(|link| (db.src(link).0, db.dst(link).0));
                prop_assert!(ends.is_none_or(|ends| ends.0 == a && !mutual(&model, ends.0, ends.1)));
                prop_assert_eq!(db.graph().announced(Address(a)) as usize, model.keys().filter(|ends| ends.0 == a).count());
            }
        }
        let links = model.keys().filter(|(a, b)| a < b && [(*a, *b), (*b, *a)].iter().all(|e| model.get(e).is_some_and(|l| l.live)));
        prop_assert_eq!(db.graph().links(), links.count());
    }
}

#[test]
fn a_link_is_small() {
    assert_eq!(size_of::<Link>(), 24);
}

/// Time goes round after 49 days; links do not live for as long.
#[test]
fn ages_survive_wrapping_time() {
    let mut db = database();
    let born = Instant::ZERO + Duration::from_millis(u64::from(u32::MAX) - 10);
    let index = db.insert(Address(1), Address(2), Seqno(1), born);
    assert_eq!(db.get(index).unwrap().age(born + LONGEST), LONGEST);
    db.get_mut(index).unwrap().set_late(Duration::MAX);
    assert!(db.get(index).unwrap().late() > LONGEST);
}
