//! The table: paths, who uses them, what must come of it, and what the tree before had.

use std::time::Duration;

use o7s::congestion::Algorithm;
use o7s::settings::FrctConfig as Config;

use super::scenario::{Outcome, Setup, Transfer, ms, secs, share, transfer};
use super::tcp::Flavour;

/// What is done on a path.
pub(crate) enum Run {
    /// Flows without end.
    Share(Setup),
    /// So many bytes for each flow, on a path whose round trip may change.
    Transfer(Setup, usize, Option<(Duration, Duration)>),
}

/// What came of it.
pub(crate) enum Came {
    Shared(Outcome),
    Transferred(Transfer),
}

pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) flows: String,
    pub(crate) must: &'static str,
    /// The same with the controller of the tree before: window by loss and delay, at least 16 packets.
    pub(crate) before: &'static str,
    pub(crate) run: Run,
    pub(crate) holds: fn(&Came) -> bool,
    /// With how many seeds.
    pub(crate) seeds: u64,
    /// Left to `--ignored`.
    pub(crate) long: bool,
}

impl Row {
    pub(crate) fn run(&self, seed: u64) -> Came {
        match &self.run {
            Run::Share(setup) => Came::Shared(share(&Setup { seed, ..setup.clone() })),
            Run::Transfer(setup, total, change) => {
                Came::Transferred(transfer(&Setup { seed, ..setup.clone() }, *total, *change))
            }
        }
    }
}

impl Came {
    /// The figures, for a table.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Shared(o) => {
                let (least, most) = o.extremes();
                let mut text = format!(
                    "{:5.1} % used, {:4.1} % dropped ({:.1} with the start), Jain {:.3}, {least:.2} to {most:.2} of a fair share",
                    100.0 * o.used(),
                    100.0 * o.dropped,
                    100.0 * o.dropped_from_start,
                    o.jain(),
                );
                if !o.tcp.is_empty() {
                    let n = (o.tcp.len() + o.shares.len()) as f64;
                    text += &format!(", TCP {:.2}", o.tcp.iter().sum::<f64>() / o.tcp.len() as f64 * n);
                }
                if o.ping_longest > Duration::ZERO {
                    text += &format!(", pings: {:.1} % lost, at most {:.0?}", 100.0 * o.pings_lost, o.ping_longest);
                }
                text
            }
            Self::Transferred(t) => format!(
                "{}, {:5.1} % used, {:4.1} % sent again, {:.0} s",
                if t.complete { "complete" } else { "LOST" },
                100.0 * t.used,
                100.0 * t.retransmitted,
                t.took,
            ),
        }
    }

    /// A transfer of [`START`] bytes at 2 Mb/s over a round trip of so many seconds.
    fn starts_within(&self, rtt: u64) -> bool {
        let t = self.transferred();
        let link = START as f64 * 8.0 / 2_000_000.0;
        t.complete && t.took <= 1.3 * link + 8.0 * rtt as f64 && t.retransmitted <= 0.01
    }

    fn shared(&self) -> &Outcome {
        match self {
            Self::Shared(outcome) => outcome,
            Self::Transferred(_) => panic!("a transfer"),
        }
    }

    fn transferred(&self) -> Transfer {
        match self {
            Self::Transferred(transfer) => *transfer,
            Self::Shared(_) => panic!("flows without end"),
        }
    }
}

fn row(path: &str, flows: &str, must: &'static str, before: &'static str, run: Run, holds: fn(&Came) -> bool) -> Row {
    Row { path: path.into(), flows: flows.into(), must, before, run, holds, seeds: 1, long: false }
}

/// Settings, of both ends, with which a flow fills a gigabit over 100 ms.
fn large() -> Config {
    Config::default().window(1 << 15).send_queue(1 << 15).send_bytes(64 << 20)
}

/// Flows of their own kind on a link that is too narrow for them.
fn crowds(rows: &mut Vec<Row>) {
    let first = |n| Setup::new(10_000_000, ms(40), 100, n);
    let path = "10 Mb/s, 40 ms, queue 100";
    for (n, before) in [(1, BEFORE[0]), (2, BEFORE[1]), (10, BEFORE[2])] {
        rows.push(Row {
            seeds: 3,
            ..row(
                path,
                &n.to_string(),
                "used >= 95 %, dropped <= 2 %, Jain >= 0.95",
                before,
                Run::Share(first(n)),
                |c| c.shared().used() >= 0.95 && c.shared().dropped <= 0.02 && c.shared().jain() >= 0.95,
            )
        });
    }
    rows.push(Row {
        seeds: 3,
        ..row(
            path,
            "50",
            "used >= 93 %, dropped <= 15 %, Jain >= 0.9, least >= 1/3",
            BEFORE[3],
            Run::Share(first(50)),
            |c| {
                let o = c.shared();
                o.used() >= 0.93 && o.dropped <= 0.15 && o.jain() >= 0.9 && o.extremes().0 >= 1.0 / 3.0
            },
        )
    });
    rows.push(row(
        "100 Mb/s, 40 ms, queue 500",
        "200",
        "used >= 93 %, dropped <= 12 %, least >= 1/3",
        BEFORE[4],
        Run::Share(Setup { measure: secs(15), ..Setup::new(100_000_000, ms(40), 500, 200) }),
        |c| c.shared().used() >= 0.93 && c.shared().dropped <= 0.12 && c.shared().extremes().0 >= 1.0 / 3.0,
    ));
    rows.push(Row {
        seeds: 3,
        ..row(
            "1 Mb/s, 100 ms, queue 50",
            "20",
            "used >= 88 %, dropped <= 20 %",
            BEFORE[5],
            Run::Share(Setup { measure: secs(60), ..Setup::new(1_000_000, ms(100), 50, 20) }),
            |c| c.shared().used() >= 0.88 && c.shared().dropped <= 0.2,
        )
    });
    rows.push(Row {
        seeds: 3,
        ..row(
            "5 Mb/s, 40 ms, queue 20, 8.9 kB packets",
            "8",
            "dropped <= 10 %",
            BEFORE[6],
            Run::Share(Setup { size: 8900, ..Setup::new(5_000_000, ms(40), 20, 8) }),
            |c| c.shared().dropped <= 0.1,
        )
    });
    rows.push(Row {
        seeds: 3,
        ..row(
            path,
            "10 and 50 pings/s",
            "pings lost <= 3 %, delayed by the queue only",
            BEFORE[7],
            Run::Share(Setup { ping: true, ..first(10) }),
            // The way, the queue of 100 packets and the ping itself.
            |c| c.shared().pings_lost <= 0.03 && c.shared().ping_longest <= ms(20 + 117),
        )
    });
    rows.push(Row {
        seeds: 3,
        ..row(
            "10 Mb/s, 10 and 100 ms, queue 100",
            "2",
            "neither below a fifth of the link",
            BEFORE[8],
            Run::Share(Setup {
                rtts: vec![ms(10), ms(100)],
                measure: secs(60),
                ..Setup::new(10_000_000, ms(10), 100, 2)
            }),
            |c| c.shared().shares.iter().all(|s| *s >= 0.2),
        )
    });
}

/// Links on which a packet takes long.
fn thin(rows: &mut Vec<Row>) {
    let kb = |rate, rtt, size, n| Setup { size, both_ways: true, ..Setup::new(rate, rtt, 20, n) };
    let must = "every byte arrives, no flow dies, sent again <= 20 %";
    let holds = |c: &Came| c.transferred().complete && c.transferred().retransmitted <= 0.2;
    for (name, setup, total, before) in [
        ("64 kb/s, 300 ms, queue 20", kb(64_000, ms(300), 1200, 1), 240_000, BEFORE[9]),
        ("64 kb/s, 300 ms, queue 20", kb(64_000, ms(300), 1200, 4), 480_000, BEFORE[10]),
        ("38.4 kb/s, 100 ms, queue 20", kb(38_400, ms(100), 1200, 1), 240_000, BEFORE[11]),
        ("38.4 kb/s, 100 ms, queue 20", kb(38_400, ms(100), 1200, 4), 480_000, BEFORE[12]),
        ("9.6 kb/s, 100 ms, queue 20", kb(9600, ms(100), 1200, 1), 120_000, BEFORE[13]),
        ("9.6 kb/s, 100 ms, queue 20", kb(9600, ms(100), 1200, 4), 480_000, BEFORE[14]),
        ("1 kb/s, 2 s, queue 20, 128-byte packets", kb(1000, secs(2), 128, 1), 25_600, BEFORE[15]),
        ("1 kb/s, 2 s, queue 20, 128-byte packets", kb(1000, secs(2), 128, 4), 51_200, BEFORE[16]),
    ] {
        let flows = setup.flows.to_string();
        rows.push(Row { seeds: 5, ..row(name, &flows, must, before, Run::Transfer(setup, total, None), holds) });
    }
}

/// Bytes of a transfer that is over soon after its start.
const START: usize = 3_000_000;

/// Paths on which an answer takes long.
fn long(rows: &mut Vec<Row>) {
    let must = "used >= 70 %, sent again <= 3 %";
    let holds = |c: &Came| {
        let t = c.transferred();
        t.complete && t.used >= 0.7 && t.retransmitted <= 0.03
    };
    for (rtt, before) in [(3, BEFORE[17]), (5, BEFORE[18]), (8, BEFORE[19])] {
        let setup = Setup { size: 1200, ..Setup::new(2_000_000, secs(rtt), 1000, 1) };
        let name = format!("2 Mb/s, {rtt} s, queue 1000");
        // Slow start passes the queue by more than a thousand packets before it hears of it.
        // Long enough that the start does not decide.
        rows.push(row(&name, "1", must, before, Run::Transfer(setup, 90_000_000, None), holds));
    }
    // A few megabytes, of which the start is most. The queue never drops: what is sent again was not lost.
    let start = "complete in the time of the link * 1.3 + 8 round trips, sent again <= 1 %";
    let starts: [fn(&Came) -> bool; 3] = [|c| c.starts_within(3), |c| c.starts_within(5), |c| c.starts_within(8)];
    for (rtt, holds) in [3, 5, 8].into_iter().zip(starts) {
        let setup = Setup { size: 1200, ..Setup::new(2_000_000, secs(rtt), 100_000, 1) };
        let name = format!("2 Mb/s, {rtt} s, no loss, 3 MB");
        rows.push(row(&name, "1", start, "not measured", Run::Transfer(setup, START, None), holds));
    }
    let setup = Setup { size: 1200, ..Setup::new(2_000_000, ms(100), 1000, 1) };
    let run = Run::Transfer(setup, 90_000_000, Some((secs(20), secs(5))));
    rows.push(row("2 Mb/s, 100 ms becomes 5 s, queue 1000", "1", must, BEFORE[20], run, holds));
    for (mbit, n, before) in [(100, 1, BEFORE[21]), (100, 4, BEFORE[22]), (1000, 1, BEFORE[23]), (1000, 4, BEFORE[24])]
    {
        let queue = mbit * 100_000 / 8 / 1444;
        let frct = if mbit == 1000 { large() } else { Config::default() };
        let measure = if mbit == 1000 { secs(10) } else { secs(30) };
        let setup = Setup { frct, measure, ..Setup::new(mbit as u64 * 1_000_000, ms(100), queue, n) };
        let name =
            if mbit == 1000 { "1 Gb/s, 100 ms, queue 1 BDP, larger windows" } else { "100 Mb/s, 100 ms, queue 1 BDP" };
        rows.push(Row {
            long: mbit == 1000,
            ..row(name, &n.to_string(), "used >= 90 % from the tenth second on", before, Run::Share(setup), |c| {
                c.shared().used() >= 0.9
            })
        });
    }
}

/// Paths that lose by chance. CUBIC, the default, takes it for congestion; these are for BBR.
fn random_loss(rows: &mut Vec<Row>) {
    for (name, algorithm) in [("Bbr", Algorithm::Bbr), ("Cubic", Algorithm::Cubic)] {
        let must: [&str; 2] =
            if name == "Bbr" { ["used >= 60 %", "used >= 40 %"] } else { ["(for comparison)", "(for comparison)"] };
        let holds: [fn(&Came) -> bool; 2] = if name == "Bbr" {
            [|c| c.shared().used() >= 0.6, |c| c.shared().used() >= 0.4]
        } else {
            [|_| true, |_| true]
        };
        let setup = Setup { loss: 0.01, algorithm: algorithm.clone(), ..Setup::new(20_000_000, ms(600), 1000, 1) };
        let flows = format!("1, {name}");
        rows.push(row("20 Mb/s, 600 ms, 1 % lost by chance", &flows, must[0], BEFORE[25], Run::Share(setup), holds[0]));
        let setup = Setup { loss: 0.05, algorithm: algorithm.clone(), ..Setup::new(50_000_000, ms(30), 1000, 1) };
        rows.push(row("50 Mb/s, 30 ms, 5 % lost by chance", &flows, must[1], BEFORE[26], Run::Share(setup), holds[1]));
    }
}

/// Beside TCP.
fn beside_tcp(rows: &mut Vec<Row>) {
    let mut before = BEFORE[27..].iter();
    for (mbit, queue) in [(10, 100), (100, 500)] {
        for flavour in [Flavour::Reno, Flavour::Cubic] {
            for n in [1, 4] {
                let setup = Setup {
                    tcp: vec![flavour],
                    settle: secs(20),
                    measure: if mbit == 10 { secs(120) } else { secs(60) },
                    ..Setup::new(mbit * 1_000_000, ms(40), queue, n)
                };
                let name = format!("{mbit} Mb/s, 40 ms, queue {queue}, beside TCP {flavour:?}");
                let must = "each between 0.4 and 2 of a fair share";
                rows.push(Row {
                    seeds: if mbit == 10 { 3 } else { 1 },
                    ..row(&name, &format!("{n}:1"), must, before.next().unwrap_or(&""), Run::Share(setup), |c| {
                        let (least, most) = c.shared().extremes();
                        least >= 0.4 && most <= 2.0
                    })
                });
            }
        }
    }
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    crowds(&mut rows);
    thin(&mut rows);
    long(&mut rows);
    random_loss(&mut rows);
    beside_tcp(&mut rows);
    rows
}

/// Figures of the tree before this controller (a window by loss and delay in the manner of TCP-Illinois, of 16 packets at
/// least, without pacing), in the order of the rows, measured with this very file; but transfers were shorter, and every
/// packet beyond the data counted as sent again, keepalives and requests, too: up to a fifth of the data where a flow lives
/// for half an hour.
const BEFORE: [&str; 35] = [
    "100.0 % used, 0.1 % dropped",
    "100.0 % used, 0.8 % dropped, Jain 0.999",
    "98.8 % used, 52 to 53 % dropped, Jain 0.92 to 0.97",
    "99 % used, 78 to 79 % dropped, Jain 0.84 to 0.91, least 0.00",
    "99.3 % used, 71 % dropped, Jain 0.72, least 0.00",
    "71 to 83 % used, 78 to 88 % dropped",
    "72 to 75 % dropped",
    "pings: 30 % lost, at most 134 ms",
    "0.64 to 1.36 of a fair share",
    "complete, 173 % sent again",
    "complete, 320 % sent again",
    "LOST after 120 s, 187 % sent again",
    "LOST, 871 % sent again",
    "LOST, 1802 % sent again",
    "LOST, 1953 % sent again",
    "LOST, 1036 % sent again",
    "LOST, 1017 % sent again",
    "4.7 % used, 162 % sent again",
    "2.8 % used, 217 % sent again",
    "1.8 % used, 327 % sent again",
    "44.5 % used, 0.0 % sent again",
    "99.6 % used",
    "100.0 % used",
    "not reached: windows were no settings",
    "not reached: windows were no settings",
    "12.8 % used",
    "51.9 % used",
    "TCP 0.12",
    "TCP 0.09 to 0.11",
    "TCP 0.14",
    "TCP 0.09 to 0.11",
    "TCP 0.60",
    "TCP 0.41",
    "TCP 1.00",
    "TCP 0.67",
];
