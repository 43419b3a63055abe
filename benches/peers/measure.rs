//! Taking turns, and the clock.

use std::time::{Duration, Instant};

/// Runs each of `contestants` once per round, in turns, and returns the median of what each returned. The first round
/// warms up and does not count.
pub(crate) fn in_turns<const N: usize>(rounds: usize, mut contestants: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    let mut results: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..=rounds {
        for (contestant, results) in contestants.iter_mut().zip(&mut results) {
            let result = contestant();
            if round > 0 {
                results.push(result);
            }
        }
    }
    results.map(median)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds that `n` runs of `f` take, each.
pub(crate) fn each(n: usize, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..n {
        f();
    }
    start.elapsed().as_secs_f64() / n as f64
}

/// What the kernel says about how busy the machine is.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| "unknown".into());
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Time on a processor of all threads of this process, where the kernel tells.
pub(crate) fn cpu_time() -> Option<Duration> {
    let mut nanos = 0u64;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanos += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
}

/// Runs `f` and adds the processor time that it took in this process to `total`, where the kernel tells.
pub(crate) fn busy<R>(total: &mut Duration, f: impl FnOnce() -> R) -> R {
    let before = cpu_time();
    let result = f();
    if let (Some(before), Some(after)) = (before, cpu_time()) {
        *total += after.saturating_sub(before);
    }
    result
}
