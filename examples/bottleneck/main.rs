//! Reliable flows over UDP that share a link: the table of the test target `congestion`, printed and drawn.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/congestion/rows.rs"]
#[allow(dead_code, clippy::panic, clippy::indexing_slicing, reason = "shared with the tests")]
mod rows;
#[path = "../../tests/congestion/scenario.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "shared with the tests"
)]
mod scenario;
#[path = "../../src/stack/timeline/plot.rs"]
#[allow(dead_code, reason = "shared with the library")]
mod svg;
#[path = "../../tests/congestion/tcp.rs"]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "shared with the tests")]
mod tcp;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::{Result, say};
use rows::{Came, Row, rows};
use svg::{COLOURS, Diagram, Picture};

/// Lets reliable flows share links, in virtual time, and prints what comes of it.
#[derive(Parser, Debug)]
#[command(after_help = "\
Examples:
  everything but the rows of a gigabit:  bottleneck
  what flows do beside TCP:              bottleneck --only TCP --svg tcp.svg

Ends with status 0 if the rows were run, whatever came of them, 1 if the drawing or the output could not be written,
and 2 if the options are wrong. Signals end it at once.")]
struct Options {
    /// Only rows whose path has this in its name
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// The rows of a gigabit, too
    #[arg(long)]
    long: bool,

    /// What chance begins with
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Draw the table into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| run(options))
}

fn run(options: Options) -> Result<bool> {
    let mut drawn = Vec::new();
    for row in rows().into_iter().filter(|r| r.path.contains(&options.only) && (options.long || !r.long)) {
        let came = row.run(options.seed);
        let holds = (row.holds)(&came);
        say!("{:55} {:18} {}", row.path, row.flows, row.must);
        say!("    {}   {}", if holds { "ok  " } else { "MISS" }, came.text());
        say!("    before {}", row.before);
        drawn.push((row, came, holds));
    }
    if let Some(path) = options.svg {
        std::fs::write(&path, drawing(&drawn)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(true)
}

const WIDTH: f64 = 1180.0;
const HEIGHT: f64 = 74.0;
const LEFT: f64 = 720.0;

/// Lines of text for each row, and what each flow had over time beside them.
fn drawing(rows: &[(Row, Came, bool)]) -> String {
    let mut picture = Picture::new(WIDTH, HEIGHT * rows.len() as f64 + 10.0);
    for (n, (row, came, holds)) in rows.iter().enumerate() {
        let top = HEIGHT * n as f64 + 18.0;
        let colour = if *holds { "font-size='11' fill='#007700'" } else { "font-size='11' fill='#cc0000'" };
        let title = format!("{}, flows: {}", row.path, row.flows);
        let before = format!("before: {}", row.before);
        picture.text(8.0, top, "font-size='11' fill='black'", &title);
        picture.text(8.0, top + 14.0, "font-size='11' fill='#555'", row.must);
        picture.text(8.0, top + 28.0, colour, &came.text());
        picture.text(8.0, top + 42.0, "font-size='11' fill='#999'", &before);
        if let Came::Shared(outcome) = came {
            curves(&mut picture, &outcome.samples, top - 10.0);
        }
    }
    picture.finish()
}

/// What each flow had, averaged over two seconds, as a share of the greatest.
fn curves(picture: &mut Picture, samples: &[Vec<u64>], top: f64) {
    const EACH: usize = 8;
    let means = |flow: &Vec<u64>| -> Vec<u64> { flow.chunks_exact(EACH).map(|c| c.iter().sum()).collect() };
    let flows: Vec<Vec<u64>> = samples.iter().map(means).collect();
    let most = flows.iter().flatten().copied().max().unwrap_or(0).max(1) as f64;
    let longest = flows.iter().map(Vec::len).max().unwrap_or(0).max(1) as f64;
    // In units of a mean, not of seconds: there are no numbers at the axis.
    let diagram = Diagram { left: LEFT, right: WIDTH - 10.0, top, height: 54.0, seconds: longest, most };
    diagram.axes(picture);
    for (flow, colour) in flows.iter().zip(COLOURS.iter().cycle()) {
        let points = (0..).zip(flow).map(|(n, bytes)| (f64::from(n) + 0.5, *bytes as f64));
        diagram.line(picture, points, colour);
    }
}
