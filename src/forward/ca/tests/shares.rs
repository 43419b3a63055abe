//! Shares of flows at a bottleneck, in the model: the figures that the layer promises.

use core::ops::Range;

use super::model::{Cut, Flow, MS, Outcome, SECOND, run, run_with};
use crate::forward::ca::Feedback;

/// Capacity of 100 Mbit/s in packets of 1000 bytes with their headers, bytes per second.
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
            let outcome = run(LINK, &flows(n, &[rtt]), 12 * SECOND);
            let during = 2 * SECOND..12 * SECOND;
            let (used, jain) = (outcome.used(during.clone()), outcome.jain(n, during.clone()));
            let (median, most) = outcome.queue(during.clone());
            println!("{n:2} flows, {:3} ms: {used:.3} of the link, Jain {jain:.4}, queue {median} ({most})", rtt / MS);
            assert!(used >= 0.97, "{n} flows of {} ms use {used} of the link", rtt / MS);
            // What must be is at 10 ms. Of 32 flows on a short path each has two or three packets on the way, and on a
            // long one the queue swings.
            let even = if rtt == 10 * MS { 0.99 } else { 0.95 };
            assert!(jain >= even, "{n} flows of {} ms: Jain {jain}", rtt / MS);
            assert!(least(during, |w| outcome.used(w)) >= 0.93);
            assert!(median <= 100 && most <= 200, "a queue of {median}, and of {most}");
            assert_eq!(outcome.drops, 0);
        }
    }
}

#[test]
fn a_lone_flow_soon_has_the_link() {
    for (megabits, must) in [(1, 0.85), (10, 0.85), (100, 0.85), (1000, 0.7)] {
        let outcome = run(LINK / 100 * megabits, &flows(1, &[10 * MS]), 3 * SECOND);
        let (first, then) = (outcome.used(0..SECOND), outcome.used(SECOND..3 * SECOND));
        println!("{megabits} Mbit/s: {first:.2} of the link in the first second, then {then:.3}");
        assert!(first >= must && then >= 0.95, "{megabits} Mbit/s: {first}, then {then}");
    }
}

#[test]
fn long_and_short_paths_share_evenly() {
    for rtts in [&[100 * MS][..], &[10 * MS, 100 * MS]] {
        for n in [2, 8, 32] {
            let outcome = run(LINK, &flows(n, rtts), 24 * SECOND);
            let during = 8 * SECOND..24 * SECOND;
            let (used, jain) = (outcome.used(during.clone()), outcome.jain(n, during.clone()));
            let (median, most) = outcome.queue(during);
            println!("{n:2} flows, {rtts:?} ns: {used:.3} of the link, Jain {jain:.4}, queue {median} ({most})");
            assert!(used >= 0.95, "{n} flows of {rtts:?} ns use {used} of the link");
            // Of two with so different paths, the short one has a little more of what the swings leave.
            assert!(jain >= if n == 2 { 0.9 } else { 0.95 }, "{n} flows of {rtts:?} ns: Jain {jain}");
            assert!(median <= 110, "a queue of {median}");
        }
    }
}

#[test]
fn fairness_returns_after_flows_join_and_leave() {
    for (n, more, rtt) in [(1, 1, MS), (1, 1, 10 * MS), (4, 4, 10 * MS), (1, 7, 10 * MS), (16, 16, 10 * MS)] {
        let outcome = coming_and_going(n, more, rtt);
        for (from, flows) in [(5 * SECOND, n + more), (10 * SECOND, n)] {
            let during = from + 2 * SECOND..from + 5 * SECOND;
            let (used, jain) = (outcome.used(during.clone()), outcome.jain(flows, during));
            println!("{n} and {more} flows, {} ms: {used:.3} of the link, Jain {jain:.4}", rtt / MS);
            assert!(used >= 0.95 && jain >= 0.97, "{n} and {more} flows: {used} of the link, Jain {jain}");
        }
    }
}

/// Half of its fair share within three seconds, or ten at 1 Mbit/s.
#[test]
fn a_latecomer_has_its_share_soon() {
    for (megabits, n, within) in
        [(1, 1, 10), (1, 3, 10), (10, 1, 3), (10, 3, 3), (100, 1, 3), (100, 7, 3), (1000, 1, 3), (1000, 3, 3)]
    {
        let mut all = flows(n + 1, &[10 * MS]);
        all[n].during.0 = 5 * SECOND;
        let outcome = run(LINK / 100 * megabits, &all, (6 + within) * SECOND);
        let share = outcome.shares((4 + within) * SECOND..(5 + within) * SECOND)[n] * (n + 1) as f64;
        println!("{megabits} Mbit/s, {n} flows and one later: {share:.2} of its fair share before {within} s are over");
        assert!(share >= 0.5, "{megabits} Mbit/s, {n} flows and one later: {share}");
    }
}

/// On a thin link a packet takes eight milliseconds: the queue is short and nothing is dropped all the same.
#[test]
fn shares_are_even_at_any_speed() {
    for (megabits, n, seconds) in
        [(1, 1, 0.5), (1, 4, 1.0), (1, 8, 2.0), (10, 4, 0.09), (10, 8, 0.09), (1000, 1, 0.01), (1000, 8, 0.01)]
    {
        let (capacity, settled) = (LINK / 100 * megabits, if megabits == 1 { 20 } else { 2 });
        let outcome = run(capacity, &flows(n, &[10 * MS]), (settled + 8) * SECOND);
        let during = settled * SECOND..(settled + 8) * SECOND;
        let (used, jain) = (outcome.used(during.clone()), outcome.jain(n, during.clone()));
        let queue = outcome.queue(during).0 as f64 * 1000.0 / capacity as f64;
        println!(
            "{megabits} Mbit/s, {n} flows: {used:.3}, Jain {jain:.4}, queue {queue:.3} s, {} drops",
            outcome.drops
        );
        assert!(used >= 0.95 && jain >= 0.9, "{n} flows at {megabits} Mbit/s: {used} of the link, Jain {jain}");
        assert!(queue <= seconds, "{n} flows at {megabits} Mbit/s: {queue} s");
        assert!(outcome.drops as f64 <= 0.01 * outcome.packets as f64);
    }
}

/// A failover: nothing arrives for two seconds, then the path is another one. What was lost says nothing of the queue.
#[test]
fn a_new_path_is_used_and_shared_evenly() {
    for (megabits, n, rtts) in
        [(10, 1, [1, 40]), (10, 2, [1, 15]), (10, 2, [10, 10]), (10, 4, [1, 40]), (10, 2, [40, 1]), (20, 2, [1, 20])]
    {
        let mut all = flows(n, &[rtts[0] * MS]);
        let cut = Cut { during: (10 * SECOND, 12 * SECOND), rtt: rtts[1] * MS };
        all.iter_mut().for_each(|flow| flow.cut = Some(cut));
        let outcome = run(LINK / 100 * megabits, &all, 80 * SECOND);
        for from in (20..80).step_by(10) {
            let during = from * SECOND..(from + 10) * SECOND;
            let (used, jain) = (outcome.used(during.clone()), outcome.jain(n, during));
            println!("{megabits} Mbit/s, {n} flows, {rtts:?} ms: {used:.3} from {from} s, Jain {jain:.4}");
            assert!(used >= 0.97 && jain >= 0.95, "{megabits} Mbit/s, {n} flows, {rtts:?} ms: {used}, Jain {jain}");
        }
    }
}

#[test]
fn small_demands_are_met_at_once() {
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
fn lost_reports_cost_little() {
    let deaf: Vec<_> = flows(4, &[10 * MS]).into_iter().map(|flow| Flow { deaf: 0.1, ..flow }).collect();
    let outcome = run(LINK, &deaf, 10 * SECOND);
    let during = 2 * SECOND..10 * SECOND;
    let (used, jain) = (outcome.used(during.clone()), outcome.jain(4, during));
    println!("one report in ten lost: {used:.3} of the link, Jain {jain:.4}");
    assert!(used >= 0.95 && jain >= 0.98, "{used} of the link, Jain {jain}");
}

/// Flows of which nothing arrives send next to nothing: a window does not grow without reports.
#[test]
fn windows_do_not_grow_without_reports() {
    let deaf: Vec<_> = flows(8, &[10 * MS]).into_iter().map(|flow| Flow { deaf: 1.0, ..flow }).collect();
    let outcome = run(LINK / 100, &deaf, 20 * SECOND);
    println!("without news: {} packets in 20 s, {} dropped", outcome.packets, outcome.drops);
    assert!(outcome.packets <= 8 * (16 + 20 * 8) && outcome.drops == 0);
}

/// To receivers that tell only levels: the same law, by less.
#[test]
fn shares_with_level_feedback() {
    for (megabits, n) in [(100, 1), (100, 2), (100, 8), (100, 32), (10, 4)] {
        let levels = |flow| Flow { feedback: Feedback::Levels, ..flow };
        let all: Vec<_> = flows(n, &[10 * MS]).into_iter().map(levels).collect();
        let capacity = LINK / 100 * megabits;
        let outcome = run(capacity, &all, 20 * SECOND);
        let during = 10 * SECOND..20 * SECOND;
        let (used, jain) = (outcome.used(during.clone()), outcome.jain(n, during.clone()));
        let (median, most) = outcome.queue(during);
        println!("levels only, {megabits} Mbit/s, {n} flows: {used:.3}, Jain {jain:.4}, queue {median} ({most})");
        assert!(used >= 0.95 && jain >= 0.9, "{n} flows: {used} of the link, Jain {jain}");
        assert!(median <= 100, "a queue of {median}");
    }
}

/// All flows' shares of their fair share, beside references and for references alone, if each reference `wants` so much.
fn beside(
    megabits: u64,
    (references, ours): (usize, usize),
    (rtt, wants): (u64, Option<u64>),
    seed: u8,
) -> (Vec<f64>, Outcome) {
    let mut all = flows(references + ours, &[rtt]);
    all.iter_mut().take(references).for_each(|flow| (flow.reference, flow.wants) = (true, wants));
    let outcome = run_with(seed, LINK / 100 * megabits, &all, 60 * SECOND);
    let n = (references + ours) as f64;
    (outcome.shares(20 * SECOND..60 * SECOND).iter().map(|share| share * n).collect(), outcome)
}

/// The least of these shares.
fn least_of(shares: &[f64]) -> f64 {
    shares.iter().copied().fold(f64::INFINITY, f64::min)
}

/// A path of 10 ms, and references that want all that they can have.
const GREEDY: (u64, Option<u64>) = (10 * MS, None);

/// A reference grows by 31 Mbit/s within a slot as soon as there is no mark, and shrinks by less. Where that leaves
/// anything to others, all have at least a tenth of a fair share; where it does not, references are no better off among
/// themselves.
#[test]
fn shares_beside_references() {
    let mut alone = f64::INFINITY;
    for seed in [1, 2, 3] {
        for (references, ours) in [(1, 1), (2, 2), (1, 3), (3, 1)] {
            let (shares, outcome) = beside(100, (references, ours), GREEDY, seed);
            println!("100 Mbit/s, {references} references, {ours} of ours: {shares:.3?}, {} drops", outcome.drops);
            // Of three references one may be starved by the others, with us or without.
            let judged = if references == 3 { &shares[3..] } else { &shares[..] };
            assert!(least_of(judged) >= 0.1, "{references} references, {ours} of ours: {shares:.3?}");
        }
        let (shares, _) = beside(100, (4, 0), GREEDY, seed);
        println!("100 Mbit/s, 4 references alone: {shares:.3?}");
        alone = alone.min(least_of(&shares));
    }
    assert!(alone < 0.1, "of references alone the least has {alone}");
    for (references, ours) in [(1, 1), (2, 2), (1, 3), (3, 1)] {
        let (shares, outcome) = beside(10, (references, ours), GREEDY, 1);
        println!("10 Mbit/s, {references} references, {ours} of ours: {shares:.3?}, {} drops", outcome.drops);
    }
    // A reference alone sends twenty times what the link carries: who gives way at all has nothing.
    let (_, alone) = beside(10, (1, 0), GREEDY, 1);
    let dropped = alone.drops as f64 / (alone.drops + alone.packets) as f64;
    println!("10 Mbit/s, a reference alone: {:.0} % of its packets are dropped", 100.0 * dropped);
    assert!(dropped > 0.9);
}

/// References that want twice what a thin link carries, as live, are not deaf: beside a queue that always makes marks they
/// shrink for ever. One has its share beside ours, whenever those come; several starve each other, with us or without.
#[test]
fn shares_beside_references_on_a_thin_link() {
    let mut alone = f64::INFINITY;
    for rtt in [MS, 10 * MS] {
        let path = (rtt, Some(2 * LINK / 10));
        for seed in [1, 2, 3] {
            for (references, ours) in [(1, 1), (1, 3), (2, 2), (3, 1)] {
                let (shares, outcome) = beside(10, (references, ours), path, seed);
                let (rtt, used) = (rtt / MS, outcome.used(20 * SECOND..60 * SECOND));
                println!("10 Mbit/s, {rtt} ms, {references} references, {ours} of ours: {shares:.3?}, {used:.3} used");
                let mean = |shares: &[f64]| shares.iter().sum::<f64>() / shares.len() as f64;
                let kinds = [mean(&shares[..references]), mean(&shares[references..])];
                let judged = match references {
                    1 => least_of(&shares),
                    2 => least_of(&kinds),
                    // Three starve each other all at once.
                    _ => kinds[1],
                };
                assert!(used >= 0.97 && judged >= 0.1, "{references} references, {ours} of ours: {shares:.3?}, {used}");
                assert!(references > 1 || judged >= 0.3, "one reference, {ours} of ours: {shares:.3?}");
            }
            alone = alone.min(least_of(&beside(10, (2, 0), path, seed).0));
        }
    }
    assert!(alone < 0.1, "of two references alone the least has {alone}");
}

/// Ours begin when the reference has all of the link, and shrink it before they meet it.
#[test]
fn shares_beside_a_reference_that_was_there_before() {
    for (from, rtt) in [(5, 1), (5, 3), (5, 10), (13, 1), (13, 3), (13, 10)] {
        for seed in [1, 2, 3] {
            let mut all = flows(2, &[rtt * MS]);
            (all[0].reference, all[0].wants, all[1].during.0) = (true, Some(2 * LINK / 10), from * SECOND);
            let outcome = run_with(seed, LINK / 10, &all, 80 * SECOND);
            let shares: Vec<_> = outcome.shares(30 * SECOND..80 * SECOND).iter().map(|share| 2.0 * share).collect();
            println!("10 Mbit/s, {rtt} ms, a reference, one of ours from {from} s: {shares:.3?}");
            assert!(least_of(&shares) >= 0.3, "{rtt} ms, ours from {from} s: {shares:.3?}");
        }
    }
}

/// What was done for a reference does not last longer than it.
#[test]
fn shares_are_even_when_a_reference_has_left() {
    for megabits in [1, 10] {
        let mut all = flows(3, &[10 * MS]);
        (all[0].reference, all[0].wants, all[0].during.1) = (true, Some(2 * megabits * LINK / 100), 15 * SECOND);
        let outcome = run(LINK / 100 * megabits, &all, 100 * SECOND);
        for from in (20..100).step_by(10) {
            let during = from * SECOND..(from + 10) * SECOND;
            // One of the three has nothing any more.
            let (used, jain) = (outcome.used(during.clone()), 1.5 * outcome.jain(3, during));
            println!("{megabits} Mbit/s, two of ours, a reference left: {used:.3} from {from} s, Jain {jain:.4}");
            assert!(used >= 0.97 && jain >= 0.95, "{megabits} Mbit/s, from {from} s: {used}, Jain {jain}");
        }
    }
}
