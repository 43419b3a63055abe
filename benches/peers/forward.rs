//! The cost of a unicast layer: forwarding in memory, and what a hop and a layer add to a ping-pong.

use std::hint::black_box;
use std::time::Instant;

use o7s::{QosSpec, SecurityConfig};

use crate::local::{echo, round_trips};
use crate::measure::in_turns;
use crate::router::Router;
use crate::table::{Bound, Row, rate, time};
use crate::udp::Pair;

/// Packets that arrive together.
const TOGETHER: usize = 64;

/// Seconds a packet. Making the packets counts.
fn forward(router: &mut Router, n: usize, len: usize, together: usize) -> f64 {
    let start = Instant::now();
    router.forward(n, len, together);
    start.elapsed().as_secs_f64() / n as f64
}

/// Copies `n` times `len` bytes, seconds each.
fn copy(n: usize, len: usize) -> f64 {
    let (from, mut to) = (vec![7u8; len], vec![0u8; len]);
    let start = Instant::now();
    for _ in 0..n {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    start.elapsed().as_secs_f64() / n as f64
}

pub(crate) fn forwarding() -> Vec<Row> {
    let mut router = Router::new();
    let n = 64_000;
    let mut rows = Vec::new();
    for len in [64, 1400] {
        let [ours, other] = in_turns(11, [&mut || forward(&mut router, n, len, TOGETHER), &mut || copy(n, len)]);
        rows.push(
            Row::info(format!("forwarding in memory, {len} B"), rate(1.0 / ours), format!("memcpy {}", time(other)))
                .absolute(1.0 / ours)
                .must(Bound::AtLeast(3e6)),
        );
    }
    let one = in_turns(11, [&mut || forward(&mut router, n / 4, 64, 1)])[0];
    rows.push(
        Row::info("ping-pong 64 B, what a hop adds in memory", time(2.0 * one), "twice a packet by itself")
            .absolute(2.0 * one * 1e6)
            .must(Bound::AtMost(1.0)),
    );
    rows
}

/// Two members over UDP, and a flow through the layer beside one of the layer below.
pub(crate) fn layer() -> Vec<Row> {
    let pair = Pair::new(SecurityConfig::default());
    let (raw, raw_peer) = pair.flow(QosSpec::RAW);
    let (above, above_peer) = pair.flow_above(QosSpec::RAW);
    let echoes = [echo(raw_peer), echo(above_peer)];
    let n = 5000;
    let [below, above_it] = in_turns(25, [&mut || round_trips(&raw, n), &mut || round_trips(&above, n)]);
    drop((raw, above));
    pair.server.shutdown();
    for echo in echoes {
        echo.join().unwrap();
    }
    let added = above_it - below;
    vec![
        Row::info("ping-pong 64 B over a layer over UDP, raw", time(above_it), format!("UDP alone {}", time(below)))
            .ratio(above_it, below)
            .absolute(added * 1e6)
            .must(Bound::AtMost(1.0)),
    ]
}
