//! The second table: flows of a unicast layer, which the layer's own congestion avoidance keeps apart.

use std::time::Duration;

use super::experiment::{Outcome, Setup, jain, run};
use super::scenario::{ms, secs};

/// What came of it.
pub(crate) struct Figures {
    /// Of the link in the first second, and once it has settled.
    first: f64,
    used: f64,
    jain: f64,
    /// The first second from which on Jain's index stays at 0.95 or more.
    even_after: Option<u64>,
    /// The queue once it has settled, packets and seconds, and the longest.
    median: u64,
    seconds: f64,
    longest: u64,
    dropped: f64,
    /// What the least of those that come late has of its fair share when their time is over.
    late: Option<f64>,
    /// Of the link, and Jain's index, for those that stay when they have gone again, from the second second on.
    after: Option<(f64, f64)>,
}

impl Figures {
    fn new(case: &Case, outcome: &Outcome) -> Self {
        let setup = &case.setup;
        let end = setup.phase * if setup.guests > 0 { 2 } else { 1 };
        let (n, from) = (setup.flows + setup.guests, if setup.guests > 0 { setup.phase } else { Duration::ZERO });
        let shares = outcome.shares(n, from + case.settle, end);
        let even = |second: u64| jain(&outcome.shares(n, from + secs(second), from + secs(second + 1))) >= 0.95;
        let seconds = (end - from).as_secs();
        let even_after = (0..seconds).find(|second| (*second..seconds).all(even));
        let (longest, median) = outcome.queue(from + case.settle, end);
        let last = outcome.shares(n, end - secs(1), end);
        Self {
            first: outcome.shares(n, Duration::ZERO, secs(1)).iter().sum(),
            used: shares.iter().sum(),
            jain: jain(&shares),
            even_after,
            median,
            seconds: median as f64 / outcome.capacity(),
            longest,
            dropped: outcome.dropped(),
            late: (setup.guests > 0)
                .then(|| last[setup.flows..].iter().copied().fold(f64::INFINITY, f64::min) * n as f64),
            after: (setup.guests > 0).then(|| {
                let shares = outcome.shares(setup.flows, end + secs(1), end + setup.phase);
                (shares.iter().sum(), jain(&shares))
            }),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "first second {:.2}, then {:.3} of the link, Jain {:.3}, even after {}, queue {} (at most {}) or {:.0} ms, {:.2} % dropped",
            self.first,
            self.used,
            self.jain,
            self.even_after.map_or("never".into(), |s| format!("{s} s")),
            self.median,
            self.longest,
            1000.0 * self.seconds,
            100.0 * self.dropped,
        );
        if let Some(late) = self.late {
            text += &format!(", the last one {late:.2} of its fair share");
        }
        if let Some((used, jain)) = self.after {
            text += &format!(", when they have gone {used:.3} of the link, Jain {jain:.3}");
        }
        text
    }
}

/// Flows of a layer on a path.
pub(crate) struct Case {
    path: String,
    setup: Setup,
    /// What is not judged at the start.
    settle: Duration,
    must: &'static str,
    /// The figures of the tree before.
    before: &'static str,
    holds: fn(&Figures) -> bool,
    pub(crate) long: bool,
}

impl Case {
    fn new(mbit: u64, flows: usize, seconds: (u64, u64), must: &'static str, before: &'static str) -> Self {
        let setup = Setup {
            rate: mbit * 1_000_000,
            size: 1000,
            flows,
            guests: 0,
            rtts: vec![ms(10)],
            phase: secs(seconds.1),
            reliable: false,
            seed: 1,
        };
        let path = if mbit == 1000 { "1 Gb/s, 10 ms".into() } else { format!("{mbit} Mb/s, 10 ms") };
        Self { path, setup, settle: secs(seconds.0), must, before, holds: |_| true, long: mbit == 1000 }
    }

    fn holds(self, holds: fn(&Figures) -> bool) -> Self {
        Self { holds, ..self }
    }

    /// One more comes when the others have settled.
    fn late(mut self) -> Self {
        self.setup.guests = 1;
        self.path += ", one more later";
        self.holds(|f| f.late.is_some_and(|late| late >= 0.5))
    }

    /// So many come when the others have settled, and go again.
    fn guests(mut self, guests: usize) -> Self {
        self.setup.guests = guests;
        self.path += &format!(", {guests} more come and go");
        self.holds(|f| {
            f.used >= 0.95 && f.jain >= 0.95 && f.after.is_some_and(|(used, jain)| used >= 0.95 && jain >= 0.95)
        })
    }

    /// Runs and prints it. Returns what was missed.
    pub(crate) fn check(&self, seed: u64) -> Option<String> {
        let outcome = run(&Setup { seed, ..self.setup.clone() }).expect("the layer stands");
        let figures = Figures::new(self, &outcome);
        let flows = self.setup.flows;
        let text = format!("{} | {flows} | {} | seed {seed}: {}", self.path, self.must, figures.text());
        let holds = (self.holds)(&figures);
        println!("{} {text} | before: {}", if holds { "ok  " } else { "MISS" }, self.before);
        (!holds).then_some(text)
    }
}

/// All cases. The figures before are those of the same programs with the controller that came before: a rate that
/// followed what was delivered, pulled by marks and by its distance from 100 Mbit/s, which grew with time.
pub(crate) fn cases() -> Vec<Case> {
    [fast(), slow(), late(), gigabit()].into_iter().flatten().collect()
}

fn fast() -> Vec<Case> {
    let mut cases = Vec::new();
    let must = "used >= 97 %, Jain >= 0.99, queue <= 100; a lone flow 0.85 in the first second";
    let before = [
        (1, "first second 0.68, Jain 1.000, queue 74"),
        (2, "first second 0.76, Jain 1.000, queue 113"),
        (8, "first second 0.93, Jain 1.000, queue 185"),
        (32, "Jain 0.953 in the first second, then 0.987 and 1.000, queue 807, then 255"),
    ];
    for (n, before) in before {
        let case = Case::new(100, n, (2, 12), must, before);
        let holds = |f: &Figures| f.used >= 0.97 && f.jain >= 0.99 && f.median <= 100;
        cases.push(case.holds(if n > 1 { holds } else { |f| f.used >= 0.97 && f.median <= 100 && f.first >= 0.85 }));
    }
    let mut reliable = Case::new(100, 2, (2, 12), "used >= 95 %, Jain >= 0.95, queue <= 100", "not measured");
    reliable.setup.reliable = true;
    reliable.path += ", reliable flows";
    cases.push(reliable.holds(|f| f.used >= 0.95 && f.jain >= 0.95 && f.median <= 100));
    // After slow start the long paths have a tenth of what the short ones have, and a round is a tenth of a second there:
    // it takes ten to twenty seconds to be even. From then on it is judged.
    let mut mixed =
        Case::new(100, 8, (20, 40), "Jain >= 0.95, queue <= 110", "Jain 0.999, queue 190 to 208, even after 1 s");
    mixed.setup.rtts = vec![ms(10), ms(100)];
    mixed.path = "100 Mb/s, 10 and 100 ms".into();
    cases.push(mixed.holds(|f| f.jain >= 0.95 && f.median <= 110));
    cases
}

fn slow() -> Vec<Case> {
    let must = [
        "queue <= 90 ms, even after 2 s",
        "queue <= 0.5 s, dropped <= 1 %",
        "queue <= 1 s, dropped <= 1 %, Jain >= 0.9 after 20 s",
        "queue <= 2 s, dropped <= 1 %, Jain >= 0.9 after 20 s",
    ];
    vec![
        Case::new(10, 4, (2, 12), must[0], "even after 3 s, queue 264 or 220 ms")
            .holds(|f| f.seconds <= 0.09 && f.even_after.is_some_and(|s| s <= 2)),
        Case::new(1, 1, (20, 40), must[1], "queue 1031 at first, 455 after 40 s: 8.6 and 3.8 s")
            .holds(|f| f.seconds <= 0.5 && f.dropped <= 0.01),
        Case::new(1, 4, (20, 40), must[2], "Jain 0.43 after 40 s, queue 499 or 4.2 s")
            .holds(|f| f.seconds <= 1.0 && f.dropped <= 0.01 && f.jain >= 0.9),
        Case::new(1, 8, (20, 40), must[3], "Jain 0.41 after 40 s, queue 818 or 6.8 s, 3 288 034 dropped in 20 s")
            .holds(|f| f.seconds <= 2.0 && f.dropped <= 0.01 && f.jain >= 0.9),
    ]
}

fn late() -> Vec<Case> {
    let mut cases = Vec::new();
    let must = "half of its fair share in the third second";
    for (mbit, n) in [(10, 1), (10, 3), (100, 1), (100, 7)] {
        cases.push(Case::new(mbit, n, (1, 3), must, "not measured").late());
    }
    for n in [1, 3] {
        cases.push(Case::new(1, n, (5, 10), "half of its fair share in the tenth second", "not measured").late());
    }
    let must = "used >= 95 %, Jain >= 0.95, from the second second on";
    for (n, guests, settle) in [(1, 1, 1), (1, 7, 1), (2, 30, 2)] {
        cases.push(Case::new(100, n, (settle, 5), must, "used 95 %, Jain 0.99").guests(guests));
    }
    cases
}

fn gigabit() -> Vec<Case> {
    let must = "first second >= 0.7, then >= 95 %";
    let holds = |f: &Figures| f.first >= 0.7 && f.used >= 0.95;
    vec![
        Case::new(1000, 1, (1, 4), must, "first second 0.30").holds(holds),
        Case::new(1000, 8, (1, 4), must, "not measured").holds(holds),
        Case::new(1000, 1, (1, 3), "half of its fair share in the third second", "not measured").late(),
    ]
}
