use alloc::collections::BTreeSet;
use core::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::types::layer::RoutePolicy;

/// An adjacency: the neighbour and the number of the adjacency; whether it is up.
#[derive(Debug)]
struct Wire {
    id: (u64, u32),
    up: Cell<bool>,
}

impl NextHop for Wire {
    fn is_up(&self) -> bool {
        self.up.get()
    }
}

fn wires(neighbour: Address, n: u32) -> Vec<Wire> {
    (0..n).map(|i| Wire { id: (neighbour.0, i), up: Cell::new(true) }).collect()
}

/// Returns `true` if a policy spreads flows.
fn spreads(policy: RoutePolicy) -> bool {
    policy == RoutePolicy::EqualCostMultipath
}

fn table(policy: RoutePolicy, rows: &[(u64, &[u64])], adjacencies: u32) -> ForwardingTable<Wire> {
    let mut routes = Routes::new(spreads(policy));
    for (dst, hops) in rows {
        routes.push(Address(*dst), hops.iter().map(|hop| Address(*hop)).collect::<Vec<_>>());
    }
    ForwardingTable::new(&routes, 99, |neighbour| wires(neighbour, adjacencies))
}

fn set(table: &ForwardingTable<Wire>, id: (u64, u32), up: bool) {
    table.handles().iter().filter(|wire| wire.id == id).for_each(|wire| wire.up.set(up));
}

fn ask(table: &ForwardingTable<Wire>, dst: u64, flow: u64) -> Option<(u64, u32)> {
    table.lookup(Address(dst), flow).map(|wire| wire.id)
}

#[test]
fn an_empty_table_has_no_routes() {
    let table = ForwardingTable::<Wire>::default();
    assert!((0..1000).all(|dst| ask(&table, dst, 0).is_none()));
}

#[test]
fn simple_routes_have_no_alternative() {
    let table = table(RoutePolicy::Simple, &[(5, &[2]), (6, &[3])], 1);
    assert_eq!((ask(&table, 5, 7), ask(&table, 6, 7), ask(&table, 7, 7)), (Some((2, 0)), Some((3, 0)), None));
    set(&table, (2, 0), false);
    assert_eq!(ask(&table, 5, 7), None);
    set(&table, (2, 0), true);
    assert_eq!(ask(&table, 5, 7), Some((2, 0)));
}

#[test]
fn alternates_take_over_at_once_and_give_back() {
    let table = table(RoutePolicy::LoopFreeAlternates, &[(5, &[2, 3, 4])], 1);
    assert_eq!(ask(&table, 5, 7), Some((2, 0)));
    set(&table, (2, 0), false);
    assert_eq!(ask(&table, 5, 7), Some((3, 0)));
    set(&table, (3, 0), false);
    assert_eq!(ask(&table, 5, 7), Some((4, 0)));
    set(&table, (4, 0), false);
    assert_eq!(ask(&table, 5, 7), None);
    set(&table, (2, 0), true);
    assert_eq!(ask(&table, 5, 7), Some((2, 0)));
}

#[test]
fn flows_are_spread_evenly_and_only_those_of_a_lost_neighbour_move() {
    let table = table(RoutePolicy::EqualCostMultipath, &[(9, &[2, 3, 4, 5])], 1);
    let all = |table: &ForwardingTable<Wire>| -> Vec<_> { (0..4000).map(|f| ask(table, 9, f).unwrap().0).collect() };
    let before = all(&table);
    for n in 2..6 {
        let share = before.iter().filter(|hop| **hop == n).count();
        assert!((850..1150).contains(&share), "{share} of 4000 flows through {n}");
    }
    set(&table, (3, 0), false);
    let during = all(&table);
    for (before, during) in before.iter().zip(&during) {
        assert!(*during != 3 && (*before == 3 || before == during));
    }
    let moved: BTreeSet<_> = before.iter().zip(&during).filter(|(b, _)| **b == 3).map(|(_, d)| *d).collect();
    assert_eq!(moved.len(), 3, "the others share them");
    set(&table, (3, 0), true);
    assert_eq!(all(&table), before);
}

#[test]
fn flows_are_spread_over_the_adjacencies_of_a_neighbour() {
    for policy in [RoutePolicy::Simple, RoutePolicy::LoopFreeAlternates, RoutePolicy::EqualCostMultipath] {
        let table = table(policy, &[(9, &[2])], 3);
        let all = |table: &ForwardingTable<Wire>| -> Vec<_> { (0..3000).map(|f| ask(table, 9, f).unwrap()).collect() };
        let before = all(&table);
        for n in 0..3 {
            let share = before.iter().filter(|wire| wire.1 == n).count();
            assert!((850..1150).contains(&share), "{share} of 3000 flows over adjacency {n}");
        }
        set(&table, (2, 1), false);
        let during = all(&table);
        assert!(before.iter().zip(&during).all(|(b, d)| d.1 != 1 && (b.1 == 1 || b == d)));
    }
}

#[test]
fn neighbours_without_adjacencies_are_left_out() {
    let mut routes = Routes::new(false);
    routes.push(Address(5), [Address(2), Address(3)]);
    routes.push(Address(6), [Address(2)]);
    let table = ForwardingTable::new(&routes, 0, |neighbour| wires(neighbour, u32::from(neighbour != Address(2))));
    assert_eq!((ask(&table, 5, 0), ask(&table, 6, 0)), (Some((3, 0)), None));
}

#[test]
fn next_hops_are_shared_and_the_table_is_small() {
    let mut routes = Routes::new(false);
    (0..1000u64).for_each(|n| routes.push(Address(1000 + n), [Address(n % 4), Address(8)]));
    let table = ForwardingTable::new(&routes, 0, |neighbour| wires(neighbour, 1));
    assert_eq!(table.handles().len(), 5);
    assert_eq!(table.groups.len(), 4);
    assert_eq!(12 * table.keys.len(), 24_576);
}

proptest! {
    /// The table says what the routes say, whatever the addresses.
    #[test]
    fn the_table_agrees_with_a_map(
        rows in proptest::collection::btree_map(1..=u64::MAX, proptest::collection::vec(0u64..6, 0..4), 0..200),
        policy in prop::sample::select(vec![
            RoutePolicy::Simple, RoutePolicy::LoopFreeAlternates, RoutePolicy::EqualCostMultipath,
        ]),
        salt: u64,
        flow: u64,
        others in proptest::collection::vec(any::<u64>(), 0..50),
        down in proptest::collection::btree_set(0u64..6, 0..5),
    ) {
        let mut routes = Routes::new(spreads(policy));
        for (dst, hops) in &rows {
            routes.push(Address(*dst), hops.iter().map(|hop| Address(*hop)).collect::<Vec<_>>());
        }
        let table = ForwardingTable::new(&routes, salt, |neighbour| wires(neighbour, 2));
        down.iter().for_each(|neighbour| (0..2).for_each(|n| set(&table, (*neighbour, n), false)));
        for (dst, hops) in &rows {
            let up: Vec<_> = hops.iter().filter(|hop| !down.contains(hop)).copied().collect();
            let got = ask(&table, *dst, flow).map(|id| id.0);
            match policy {
                RoutePolicy::EqualCostMultipath => prop_assert!(got.map_or(up.is_empty(), |got| up.contains(&got))),
                _ => prop_assert_eq!(got, up.first().copied()),
            }
            prop_assert_eq!(got, ask(&table, *dst, flow).map(|id| id.0));
        }
        for dst in others.iter().filter(|dst| !rows.contains_key(dst)) {
            prop_assert_eq!(ask(&table, *dst, flow), None);
        }
    }
}
