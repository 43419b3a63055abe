//! The cost of idle flows.

use std::time::{Duration, Instant};

use o7s::{Flow, QosSpec, SecurityConfig, Stack};

use crate::local::ENCRYPTED;
use crate::quic::Quic;
use crate::table::{Bound, Row};
use crate::{heap, measure, udp};

const FLOWS: usize = 10_000;
const CONNECTIONS: usize = 300;

/// Flows from `client` to a listener of `server`, both ends; each has carried a packet in both directions.
fn flows(client: &Stack, server: &Stack, qos: QosSpec, n: usize) -> Vec<(Flow, Flow)> {
    let listener = server.bind("peer").unwrap();
    let mut all = Vec::with_capacity(n);
    std::thread::scope(|scope| {
        let accepting = scope.spawn(|| listener.incoming().take(n).collect::<Vec<_>>());
        let ours: Vec<_> = (0..n).map(|_| client.flow("peer").qos(qos).alloc().unwrap()).collect();
        all.extend(ours.into_iter().zip(accepting.join().unwrap()));
    });
    let mut buf = [0; 100];
    for (a, b) in &all {
        for (from, to) in [(a, b), (b, a)] {
            from.write(b"once").unwrap();
            to.read_timeout(&mut buf, Duration::from_secs(5)).unwrap();
        }
    }
    all
}

/// Bytes an end of a flow, once everything that was on its way has settled and some keepalives have passed.
fn bytes_an_end(client: &Stack, server: &Stack, qos: QosSpec) -> f64 {
    // Keepalives every two seconds instead of every thirty: what they leave behind counts.
    let qos = QosSpec { timeout: 8000, ..qos };
    // What the stacks need once is there before the counting begins.
    drop(flows(client, server, qos, 100));
    std::thread::sleep(Duration::from_millis(200));
    let (flows, bytes) = heap::growth(|| {
        let flows = flows(client, server, qos, FLOWS);
        std::thread::sleep(Duration::from_secs(5));
        flows
    });
    drop(flows);
    bytes as f64 / (2 * FLOWS) as f64
}

pub(crate) fn memory() -> Vec<Row> {
    let plain = Stack::new().unwrap();
    let local = bytes_an_end(&plain, &plain, QosSpec::RAW);
    drop(plain);
    let pair = udp::Pair::new(ENCRYPTED.parse::<SecurityConfig>().unwrap());
    let over_udp = bytes_an_end(&pair.client, &pair.server, QosSpec::DATA);
    drop(pair);
    let quic = Quic::new();
    drop(quic.connect());
    let (connections, bytes) = heap::growth(|| (0..CONNECTIONS).map(|_| quic.connect()).collect::<Vec<_>>());
    drop(connections);
    let other = bytes as f64 / (2 * CONNECTIONS) as f64;
    let text = format!("quinn, an end {other:.0} B");
    let row = |what: &str, ours: f64| {
        Row::info(what, format!("{ours:.0} B"), &text)
            .ratio(ours, other)
            .absolute(ours)
            .must(Bound::AtMost(4096.0))
            .aim(Bound::AtMost(2048.0))
    };
    vec![
        row("10 000 idle flows, UDP, reliable, encrypted, an end", over_udp),
        row("10 000 idle flows, local, raw, an end", local),
    ]
}

pub(crate) fn keepalive() -> Vec<Row> {
    /// Far shorter than any real one, so that there is something to measure.
    const TIMEOUT: u32 = 4000;
    let span = Duration::from_secs(4);
    let stack = Stack::new().unwrap();
    let flows = flows(&stack, &stack, QosSpec { timeout: TIMEOUT, ..QosSpec::DATA }, FLOWS);
    let sent = || flows.iter().map(|(a, b)| a.counters().keepalives_sent + b.counters().keepalives_sent).sum::<u64>();
    std::thread::sleep(Duration::from_secs(1));
    let (sent_before, cpu_before, start) = (sent(), measure::cpu_time(), Instant::now());
    std::thread::sleep(span);
    let (cpu, elapsed) = (measure::cpu_time(), start.elapsed());
    let (Some(before), Some(after)) = (cpu_before, cpu) else {
        return vec![Row::info("10 000 idle flows, keepalives", "unknown", "the kernel does not tell")];
    };
    let keepalives = (sent() - sent_before) as f64;
    let each = (after - before).as_secs_f64() / keepalives;
    // An end sends one after a quarter of the timeout.
    let usual = f64::from(QosSpec::DATA.timeout) / 4000.0;
    let percent = 100.0 * each * (2 * FLOWS) as f64 / usual;
    vec![
        Row::info(
            "10 000 idle flows, timeout 120 s, % of a core",
            format!("{percent:.2} %"),
            format!("{:.2} us each, at {:.0}/s", each * 1e6, keepalives / elapsed.as_secs_f64()),
        )
        .absolute(percent)
        .must(Bound::AtMost(1.0)),
    ]
}
