//! Flow allocations: one thread allocates, another accepts, both drop what they got.

use o7s::{Listener, SecurityConfig, Stack};

use crate::local::{ENCRYPTED, crossbeam_round_trip};
use crate::measure::{each, in_turns};
use crate::quic::Quic;
use crate::table::{Bound, Row, rate};
use crate::udp;

/// Accepts and drops flows until the stack is gone.
fn accept_all(listener: Listener) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || for _flow in listener.incoming() {})
}

fn allocations_a_second(stack: &Stack, n: usize) -> f64 {
    1.0 / each(n, || drop(stack.flow("peer").alloc().unwrap()))
}

pub(crate) fn local() -> Vec<Row> {
    let stack = Stack::new().unwrap();
    let accepting = accept_all(stack.bind("peer").unwrap());
    let [ours] = in_turns(7, [&mut || allocations_a_second(&stack, 10_000)]);
    stack.shutdown();
    accepting.join().unwrap();
    let text = format!("crossbeam round trips {}", rate(1.0 / crossbeam_round_trip()));
    vec![
        Row::info("flow allocations, local, plain", rate(ours), text)
            .absolute(ours)
            .must(Bound::AtLeast(50_000.0))
            .aim(Bound::AtLeast(200_000.0)),
    ]
}

pub(crate) fn udp() -> Vec<Row> {
    let encrypted: SecurityConfig = ENCRYPTED.parse().unwrap();
    let pairs = [encrypted, SecurityConfig::default()].map(udp::Pair::new);
    let accepting: Vec<_> = pairs.iter().map(|p| accept_all(p.server.bind("peer").unwrap())).collect();
    let quic = Quic::new();
    let [ours, plain, other] = in_turns(
        5,
        [
            &mut || allocations_a_second(&pairs[0].client, 500),
            &mut || allocations_a_second(&pairs[1].client, 500),
            &mut || quic.handshakes_a_second(300),
        ],
    );
    for pair in pairs {
        pair.server.shutdown();
    }
    for thread in accepting {
        thread.join().unwrap();
    }
    let text = format!("quinn handshakes {}", rate(other));
    vec![
        Row::info("flow allocations, UDP loopback, X25519", rate(ours), &text)
            .ratio(ours, other)
            .must(Bound::AtLeast(1.0))
            .aim(Bound::AtLeast(2.0)),
        Row::info("  the same, plain", rate(plain), &text).ratio(plain, other),
    ]
}
