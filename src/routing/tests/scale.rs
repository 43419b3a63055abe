//! Costs.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, random};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::routing::{Config, Dialect, LinkState};
use crate::types::id::{Address, N1FlowId};
use crate::wire::link_state::Lsu;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn starting_a_layer_is_cheap() {
    let n = 100;
    let edges = random(&mut Rng::from_seed([9; 32]), n, n);
    let mut net = Net::of(1, n, &edges);
    net.settle(5 * SECOND).expect("it settles");
    net.run(SECOND);
    let most = (0..n).map(|m| net.ours(m).stats().recalculations).max().unwrap();
    assert!(most < 25, "{most} computations of a member");
    // Every direction of a link is told over every connection, in both directions, once.
    let least = (2 * edges.len() * 2 * edges.len()) as u64;
    assert!(net.carried < 2 * least, "{} updates for {least}", net.carried);
    let before = net.carried;
    net.run(60 * SECOND);
    let refreshes = (net.carried - before) as f64 / least as f64;
    assert!((4.0..6.5).contains(&refreshes), "{refreshes} updates a direction, connection and minute");
}

/// Work for one neighbour does not visit the others: counted in visits, not in time.
#[test]
fn a_hub_visits_only_neighbours_with_work() {
    const NEIGHBOURS: u32 = 1000;
    let config = Config { max_management: NEIGHBOURS as usize, ..Config::new(Address(1)) };
    let mut hub = LinkState::new(config, Rng::from_seed([1; 32]));
    let mut now = Instant::from_millis(1000);
    let address = |n: u32| Address(1000 + u64::from(n));
    let said = |n: u32, seqno| Lsu { src: address(n), dst: Address(1), seqno };
    for n in 0..NEIGHBOURS {
        hub.management_up(now, N1FlowId(n), address(n), Dialect::Confirming);
        hub.adjacency_up(now, N1FlowId(NEIGHBOURS + n), address(n));
    }
    // They say their links in one packet each, and confirm what they hear.
    let confirm = |hub: &mut LinkState, now: Instant| {
        let mut packets = 0;
        while let Some((to, packet)) = hub.poll_packet(now, 1200) {
            packets += 1;
            hub.handle_packet(now, to, &packet);
        }
        packets
    };
    for n in 0..NEIGHBOURS {
        hub.handle_packet(now, N1FlowId(n), &said(n, 1 << 32).to_bytes());
    }
    while hub.next_deadline().is_some_and(|at| at < Instant::from_millis(1000) + 5 * SECOND) {
        now = hub.next_deadline().unwrap().max(now);
        hub.handle_timeout(now);
        confirm(&mut hub, now);
        hub.poll_routes(now);
    }
    assert_eq!(hub.routes().len(), NEIGHBOURS as usize);
    let before = hub.looks;
    hub.handle_packet(now, N1FlowId(7), &said(7, (1 << 32) + 1).to_bytes());
    let mut packets = 0;
    let limit = now + Duration::from_millis(50);
    while let Some(at) = hub.next_deadline().filter(|at| *at <= limit) {
        now = now.max(at);
        hub.handle_timeout(now);
        packets += confirm(&mut hub, now);
    }
    assert!(packets >= u64::from(NEIGHBOURS), "{packets}");
    assert!(hub.looks - before <= 3 * packets, "{} looks for {packets} packets", hub.looks - before);
}

#[test]
fn a_vanished_layer_leaves_nothing_behind() {
    let mut net = Net::of(2, 30, &random(&mut Rng::from_seed([3; 32]), 30, 20));
    net.settle(SECOND).expect("it settles");
    (0..net.edges.len()).for_each(|edge| net.disconnect(edge));
    net.run(200 * SECOND);
    let left: Vec<_> = (0..30).filter(|m| net.ours(*m).next_deadline().is_some()).collect();
    assert!(left.is_empty(), "{left:?} still wait for something");
    assert!((0..30).all(|m| net.ours(m).db.len() == 0 && net.ours(m).routes().is_empty()));
}

/// Half a minute when each member that came or went cost a look at all others.
#[test]
fn repeatedly_filled_databases_stay_cheap() {
    let (flow, me) = (N1FlowId(1), Address(1));
    let mut member = LinkState::new(Config::new(me), Rng::from_seed([1; 32]));
    let (mut now, mut rng) = (Instant::from_millis(1000), Rng::from_seed([2; 32]));
    member.management_up(now, flow, Address(2), Dialect::Confirming);
    member.adjacency_up(now, N1FlowId(2), Address(2));
    member.handle_packet(now, flow, &Lsu { src: Address(2), dst: me, seqno: 1 << 32 }.to_bytes());
    for _ in 0..10 {
        for _ in 0..1400 {
            let made_up = (0..50).map(|_| Lsu { src: Address(rng.u64()), dst: Address(rng.u64()), seqno: 1 << 32 });
            let packet: Vec<u8> = made_up.flat_map(|update| update.to_bytes()).collect();
            member.handle_packet(now, flow, &packet);
        }
        now += SECOND;
        member.handle_timeout(now);
        assert!(member.db.len() <= 65_536);
    }
    let routes = member.poll_routes(now).expect("there is a neighbour");
    assert_eq!((routes.len(), routes.get(Address(2))), (1, &[Address(2)][..]));
}
