//! Link-state routing: no updates, failures and pauses panic, loop, or make it hold more than it may; nobody else has a
//! say about its own links.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use o7s::base::rng::Rng;
use o7s::base::time::Instant;
use o7s::forward::pff::{ForwardingTable, NextHop};
use o7s::routing::{Config, Dialect, LinkState};
use o7s::types::id::{Address, N1FlowId};
use o7s::types::layer::RoutePolicy;
use o7s::wire::link_state::Lsu;

const ME: Address = Address(1);
const LINKS: usize = 40;

#[derive(Arbitrary, Debug)]
enum Op {
    Adjacency {
        flow: u8,
        address: u8,
    },
    AdjacencyGone {
        flow: u8,
    },
    AdjacencyState {
        flow: u8,
        up: bool,
    },
    Management {
        flow: u8,
        address: u8,
        confirms: bool,
    },
    ManagementGone {
        flow: u8,
    },
    Bytes {
        flow: u8,
        bytes: Vec<u8>,
    },
    Update {
        flow: u8,
        src: u8,
        dst: u8,
        incarnation: u8,
        count: i8,
    },
    Highest {
        flow: u8,
        src: u8,
        dst: u8,
        less: u8,
    },
    /// What it has said last comes back.
    Echo {
        flow: u8,
    },
    Pass(u32),
}

#[derive(Arbitrary, Debug)]
struct Input {
    policy: u8,
    seed: u8,
    ops: Vec<Op>,
}

struct Up;

impl NextHop for Up {
    fn is_up(&self) -> bool {
        true
    }
}

fn flow(n: u8) -> N1FlowId {
    N1FlowId(u32::from(n % 8))
}

fn address(n: u8) -> Address {
    Address(u64::from(n % 12))
}

fuzz_target!(|input: Input| {
    let mut config = Config::new(ME);
    config.timers.policy = match input.policy % 3 {
        0 => RoutePolicy::Simple,
        1 => RoutePolicy::LoopFreeAlternates,
        _ => RoutePolicy::EqualCostMultipath,
    };
    (config.max_links, config.max_links_of_member, config.max_management) = (LINKS, 8, 6);
    let mut now = Instant::ZERO;
    let mut member = LinkState::new(config, Rng::from_seed([input.seed; 32]));
    let mut adjacencies = BTreeMap::new();
    let mut last = [0; Lsu::LEN];
    for op in input.ops {
        let said = |src, dst, seqno| Lsu { dst, src, seqno }.to_bytes();
        match op {
            Op::Adjacency { flow: f, address: a } => {
                adjacencies.remove(&flow(f));
                if address(a) != ME && address(a) != Address(0) {
                    adjacencies.insert(flow(f), (address(a), true));
                }
                member.adjacency_up(now, flow(f), address(a));
            }
            Op::AdjacencyGone { flow: f } => {
                adjacencies.remove(&flow(f));
                member.adjacency_down(now, flow(f));
            }
            Op::AdjacencyState { flow: f, up } => {
                adjacencies.entry(flow(f)).and_modify(|adjacency| adjacency.1 = up);
                member.adjacency_state(now, flow(f), up);
            }
            Op::Management { flow: f, address: a, confirms } => {
                let dialect = if confirms { Dialect::Confirming } else { Dialect::Plain };
                member.management_up(now, flow(f), address(a), dialect);
            }
            Op::ManagementGone { flow: f } => member.management_down(now, flow(f)),
            Op::Bytes { flow: f, bytes } => member.handle_packet(now, flow(f), &bytes),
            Op::Update { flow: f, src, dst, incarnation, count } => {
                let seqno = (u64::from(incarnation % 4) << 32) + u64::from(count as u32);
                member.handle_packet(now, flow(f), &said(address(src), address(dst), seqno));
            }
            Op::Highest { flow: f, src, dst, less } => {
                member.handle_packet(now, flow(f), &said(address(src), address(dst), u64::MAX - u64::from(less)));
            }
            Op::Echo { flow: f } => member.handle_packet(now, flow(f), &last),
            Op::Pass(millis) => {
                let limit = now + Duration::from_millis(u64::from(millis % 200_000));
                let mut steps = 0;
                while let Some(at) = member.next_deadline().filter(|at| *at <= limit) {
                    assert!(at > now, "a deadline in the past");
                    now = at;
                    member.handle_timeout(now);
                    while let Some((_, bytes)) = member.poll_transmit(now) {
                        last = bytes;
                    }
                    member.poll_routes(now);
                    steps += 1;
                    assert!(steps < 200_000, "it never rests");
                }
                now = limit;
            }
        }
        let mut sent = 0;
        while let Some((_, bytes)) = member.poll_transmit(now) {
            last = bytes;
            sent += 1;
            assert!(sent < 10_000, "updates without an end");
        }
        member.poll_routes(now);
        assert!(member.next_deadline().is_none_or(|at| at > now), "a deadline that stays in the past");

        // Own links are never refused: one for each neighbour, gone ones included.
        assert!(member.entries(now).count() <= LINKS + 11);
        for entry in member.entries(now).filter(|entry| entry.src == ME && !entry.withdrawn) {
            let up = adjacencies.values().any(|(address, up)| *address == entry.dst && *up);
            assert!(up, "a link without an adjacency is announced");
        }
        let routes = member.routes().clone();
        let table = ForwardingTable::new(&routes, 3, |_| [Up]);
        for (dst, hops) in routes.iter() {
            assert!(dst != ME && table.lookup(dst, 7).is_some());
            for hop in hops {
                assert!(adjacencies.values().any(|(address, up)| address == hop && *up), "a route to nowhere");
            }
        }
    }
});
