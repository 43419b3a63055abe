//! What flows make of a bottleneck, in the model: the figures that the layer promises.

use core::ops::Range;

use super::model::{Flow, MS, Outcome, SECOND, run};

/// What 100 Mbit/s carry of packets of 1000 bytes with their headers, bytes per second.
const LINK: u64 = 11_800_000;

/// `n` greedy flows that begin shortly one after the other, with these round-trip times in turn.
fn flows(n: usize, rtts: &[u64]) -> Vec<Flow> {
    let flow = |n: usize| Flow { during: (n as u64 * 3 * MS, u64::MAX), ..Flow::greedy(rtts[n % rtts.len()]) };
    (0..n).map(flow).collect()
}

/// `n` flows all the time, `more` between 5 and 10 s.
fn coming_and_going(n: usize, more: usize, rtt: u64) -> Outcome {
    let guest = |n: usize| Flow { during: (5 * SECOND + n as u64 * MS, 10 * SECOND), ..Flow::greedy(rtt) };
    let all: Vec<_> = flows(n, &[rtt]).into_iter().chain((0..more).map(guest)).collect();
    run(LINK, &all, 15 * SECOND)
}

/// The least of something over all windows of a second.
fn least(during: Range<u64>, of: impl Fn(Range<u64>) -> f64) -> f64 {
    let mut from = during.start;
    let mut least = f64::INFINITY;
    while from + SECOND <= during.end {
        least = least.min(of(from..from + SECOND));
        from += SECOND / 4;
    }
    least
}

#[test]
fn the_link_is_used_and_shared_evenly() {
    for rtt in [MS, 10 * MS, 40 * MS] {
        for n in [1, 2, 8, 32] {
            let outcome = run(LINK, &flows(n, &[rtt]), 8 * SECOND);
            let during = 3 * SECOND..8 * SECOND;
            let (used, jain) = (outcome.used(during.clone()), outcome.jain(n, during.clone()));
            let queue = outcome.queue(during.clone());
            println!("{n:2} flows, {:3} ms: {used:.3} of the link, Jain {jain:.4}, queue {queue}", rtt / MS);
            assert!(used >= 0.97, "{n} flows of {} ms use {used} of the link", rtt / MS);
            assert!(jain >= 0.99, "{n} flows of {} ms: Jain {jain}", rtt / MS);
            assert!(least(during.clone(), |w| outcome.used(w)) >= 0.95);
            assert!(least(during, |w| outcome.jain(n, w)) >= 0.97);
            assert!(queue < 800);
            assert!((outcome.updates as f64) < outcome.packets as f64 / 7.5);
        }
    }
}

#[test]
fn also_on_long_paths_and_beside_them() {
    for rtts in [&[100 * MS][..], &[10 * MS, 100 * MS]] {
        for n in [2, 8, 32] {
            let outcome = run(LINK, &flows(n, rtts), 12 * SECOND);
            let during = 4 * SECOND..12 * SECOND;
            let (used, jain) = (outcome.used(during.clone()), outcome.jain(n, during.clone()));
            let queue = outcome.queue(during);
            println!("{n:2} flows, {rtts:?} ns: {used:.3} of the link, Jain {jain:.4}, queue {queue}");
            assert!(used >= 0.95, "{n} flows of {rtts:?} ns use {used} of the link");
            assert!(jain >= if rtts.len() > 1 { 0.99 } else { 0.98 }, "{n} flows of {rtts:?} ns: Jain {jain}");
        }
    }
}

#[test]
fn soon_even_again_after_flows_come_and_go() {
    for (n, more, rtt, within) in [
        (1, 1, MS, SECOND),
        (1, 1, 10 * MS, SECOND),
        (4, 4, 10 * MS, SECOND),
        (1, 7, 10 * MS, SECOND),
        (1, 31, MS, 2 * SECOND),
        (16, 16, 10 * MS, 2 * SECOND),
        (31, 1, 10 * MS, 2 * SECOND),
    ] {
        let outcome = coming_and_going(n, more, rtt);
        for (from, flows) in [(5 * SECOND, n + more), (10 * SECOND, n)] {
            let during = from + within..from + 5 * SECOND;
            let jain = least(during.clone(), |w| outcome.jain(flows, w));
            let used = least(during, |w| outcome.used(w));
            println!("{n} and {more} flows, {} ms: {used:.3} of the link, Jain {jain:.4}", rtt / MS);
            assert!(used >= 0.95 && jain >= 0.99, "{n} and {more} flows: {used} of the link, Jain {jain}");
        }
    }
}

/// A megabit per second has a queue of eight seconds: several flows take minutes to be even.
#[test]
fn at_any_speed() {
    for (megabits, n, least, settled, end) in
        [(1, 1, 1.0, 15, 40), (1, 4, 0.7, 60, 90), (10, 4, 0.97, 4, 12), (1000, 1, 1.0, 1, 3), (10_000, 1, 1.0, 2, 3)]
    {
        let rtt = if megabits > 1000 { MS } else { 10 * MS };
        let outcome = run(LINK / 100 * megabits, &flows(n, &[rtt]), end * SECOND);
        let during = settled * SECOND..end * SECOND;
        let (used, jain) = (outcome.used(during.clone()), outcome.jain(n, during.clone()));
        println!("{megabits} Mbit/s, {n} flows: {used:.3}, Jain {jain:.4}, queue {}", outcome.queue(during));
        assert!(used >= 0.9 && jain >= least, "{n} flows at {megabits} Mbit/s: {used} of the link, Jain {jain}");
    }
}

#[test]
fn who_asks_for_little_gets_it_at_once() {
    let mut all = flows(8, &[10 * MS]);
    all.push(Flow { during: (3 * SECOND, u64::MAX), wants: Some(10_000), ..Flow::greedy(10 * MS) });
    all.push(Flow { during: (3 * SECOND, u64::MAX), wants: Some(500_000), ..Flow::greedy(10 * MS) });
    let outcome = run(LINK, &all, 10 * SECOND);
    let shares = outcome.shares(4 * SECOND..10 * SECOND);
    let wanted = |bytes: f64| bytes / LINK as f64;
    assert!(shares[8] >= 0.98 * wanted(10_000.0) && shares[9] >= 0.97 * wanted(500_000.0), "{shares:?}");
    assert!(outcome.waited[8] < 1000, "the slow one waited {} ns", outcome.waited[8]);
    assert!(outcome.jain(8, 4 * SECOND..10 * SECOND) > 0.99);
}

#[test]
fn lost_updates_cost_little() {
    let deaf: Vec<_> = flows(4, &[10 * MS]).into_iter().map(|flow| Flow { deaf: 0.1, ..flow }).collect();
    let outcome = run(LINK, &deaf, 10 * SECOND);
    let during = 2 * SECOND..10 * SECOND;
    let (used, jain) = (outcome.used(during.clone()), outcome.jain(4, during));
    println!("one update in ten lost: {used:.3} of the link, Jain {jain:.4}");
    assert!(used >= 0.95 && jain >= 0.98, "{used} of the link, Jain {jain}");
}

/// What the module says of references: they back off from a queue that stands, but nobody is locked out of the link,
/// which stays in use.
#[test]
fn references_beside_us() {
    for (references, ours, rtt) in [(1, 1, MS), (1, 1, 10 * MS), (2, 2, 10 * MS), (4, 4, 10 * MS)] {
        let mut all = flows(references + ours, &[rtt]);
        all.iter_mut().take(references).for_each(|flow| flow.reference = true);
        let outcome = run(LINK, &all, 12 * SECOND);
        let shares = outcome.shares(2 * SECOND..12 * SECOND);
        println!("{references} references, {ours} of ours: {shares:.3?}");
        assert!(shares.iter().sum::<f64>() > 0.9 && shares.iter().all(|share| *share > 0.001), "{shares:?}");
    }
}
