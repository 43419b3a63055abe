//! Flows that share a bottleneck: who gets what, and how long the queue is.

#[path = "../common/mod.rs"]
mod common;

#[path = "../../src/stack/timeline/plot.rs"]
#[allow(dead_code, reason = "shared with the library")]
mod svg;

#[path = "../../tests/congestion/experiment.rs"]
mod experiment;
mod plot;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Result, say, units};
use experiment::{Outcome, Setup, jain};

/// Lets flows of a unicast layer share a bottleneck, in virtual time, and prints what each gets.
#[derive(Parser, Debug)]
#[command(after_help = "\
Rates are in bits per second, with k, M or G behind; durations are in seconds, or have a unit: ms, s, m, h or d.

Examples:
  two flows at 100 Mb/s:               congestion
  seven come to one and leave again:   congestion -n 1 --guests 7 --svg out.svg
  long paths beside short ones:        congestion -n 8 --rtt 10ms --rtt 100ms

Ends with status 0 if the experiment was made, 1 if not or if the drawing or the output could not be written, 2 if the options
are wrong. Signals end it at once.")]
struct Options {
    /// Flows that are there all the time
    #[arg(short = 'n', long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    flows: u16,

    /// Flows that come when a third of the time is over, and leave after two
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    guests: u16,

    /// Rate of the bottleneck
    #[arg(short, long, value_name = "RATE", default_value = "100M", value_parser = units::rate)]
    rate: f64,

    /// Round-trip time; several are given to the flows in turn
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = units::seconds)]
    rtt: Vec<Duration>,

    /// Size of the packets
    #[arg(short, long, value_name = "BYTES", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(8..=1400))]
    size: u16,

    /// How long it takes; three times as long with guests
    #[arg(short, long, value_name = "TIME", default_value = "5s", value_parser = units::seconds)]
    duration: Duration,

    /// Reliable flows, which have congestion control of their own
    #[arg(long)]
    reliable: bool,

    /// What chance begins with
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Draw throughput and queue into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let setup = Setup {
        rate: options.rate as u64,
        size: options.size.into(),
        flows: options.flows.into(),
        guests: options.guests.into(),
        rtts: options.rtt,
        phase: options.duration,
        reliable: options.reliable,
        seed: options.seed,
    };
    common::run(|| try_out(&setup, options.svg.as_deref()))
}

fn try_out(setup: &Setup, svg: Option<&Path>) -> Result<bool> {
    let outcome = experiment::run(setup)?;
    print(setup, &outcome);
    if let Some(path) = svg {
        std::fs::write(path, plot::svg(setup, &outcome)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(true)
}

/// A line for each second: who has what of the link.
fn print(setup: &Setup, outcome: &Outcome) {
    say!("second  flows  of the link  Jain's index   least    most  queue (median)");
    let second = Duration::from_secs(1);
    let (mut from, end) = (Duration::ZERO, setup.phase * if setup.guests > 0 { 3 } else { 1 });
    while from + second <= end {
        let with_guests = setup.guests > 0 && from >= setup.phase && from < setup.phase * 2;
        let flows = setup.flows + if with_guests { setup.guests } else { 0 };
        let shares = outcome.shares(flows, from, from + second);
        let (used, least) = (shares.iter().sum::<f64>(), shares.iter().copied().fold(f64::INFINITY, f64::min));
        let most = shares.iter().copied().fold(0.0, f64::max);
        let (longest, median) = outcome.queue(from, from + second);
        say!(
            "{:6}  {flows:5}  {:10.1} %  {:12.4}  {:4.1} %  {:4.1} %  {longest:5} {:>8}",
            from.as_secs(),
            100.0 * used,
            jain(&shares),
            100.0 * least,
            100.0 * most,
            format!("({median})"),
        );
        from += second;
    }
    say!("{:.2} % of the packets were dropped", 100.0 * outcome.dropped());
}
