//! Reliable flows over UDP that share a link: the table of the test target `congestion`, printed and drawn.

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
#[path = "../../tests/congestion/tcp.rs"]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "shared with the tests")]
mod tcp;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Parser;
use rows::{Came, Row, rows};

/// Lets reliable flows share links, in virtual time, and prints what comes of it.
#[derive(Parser, Debug)]
#[command(after_help = "\
Examples:
  everything but the rows of a gigabit:  bottleneck
  what flows do beside TCP:              bottleneck --only TCP --svg tcp.svg")]
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

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut drawn = Vec::new();
    for row in rows().into_iter().filter(|r| r.path.contains(&options.only) && (options.long || !r.long)) {
        let came = row.run(options.seed);
        let holds = (row.holds)(&came);
        println!("{:55} {:18} {}", row.path, row.flows, row.must);
        println!("    {}   {}", if holds { "ok  " } else { "MISS" }, came.text());
        println!("    before {}", row.before);
        drawn.push((row, came, holds));
    }
    if let Some(path) = options.svg {
        std::fs::write(&path, svg(&drawn)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

const WIDTH: f64 = 1180.0;
const HEIGHT: f64 = 74.0;
const LEFT: f64 = 720.0;
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A line of text for each row, and what each flow had over time beside it.
fn svg(rows: &[(Row, Came, bool)]) -> String {
    let height = HEIGHT * rows.len() as f64 + 10.0;
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' font-family='sans-serif' font-size='11'>\n\
         <rect width='100%' height='100%' fill='white'/>\n"
    );
    for (n, (row, came, holds)) in rows.iter().enumerate() {
        let top = HEIGHT * n as f64 + 18.0;
        let colour = if *holds { "#007700" } else { "#cc0000" };
        let title = format!("{}, flows: {}", row.path, row.flows);
        let before = format!("before: {}", row.before);
        for (line, (text, colour)) in
            [(title.as_str(), "black"), (row.must, "#555"), (&came.text(), colour), (&before, "#999")]
                .iter()
                .enumerate()
        {
            let text = text.replace('<', "&lt;").replace('>', "&gt;");
            let _ = writeln!(out, "<text x='8' y='{}' fill='{colour}'>{text}</text>", top + 14.0 * line as f64);
        }
        if let Came::Shared(outcome) = came {
            out += &curves(&outcome.samples, top - 10.0);
        }
    }
    out += "</svg>\n";
    out
}

/// What each flow had, averaged over two seconds, as a share of the greatest.
fn curves(samples: &[Vec<u64>], top: f64) -> String {
    const EACH: usize = 8;
    let means = |flow: &Vec<u64>| -> Vec<u64> { flow.chunks_exact(EACH).map(|c| c.iter().sum()).collect() };
    let flows: Vec<Vec<u64>> = samples.iter().map(means).collect();
    let most = flows.iter().flatten().copied().max().unwrap_or(0).max(1) as f64;
    let mut out = format!("<path d='M{LEFT} {top} v54 H{}' fill='none' stroke='#888'/>\n", WIDTH - 10.0);
    for (flow, colour) in flows.iter().zip(COLOURS.iter().cycle()) {
        let step = (WIDTH - 10.0 - LEFT) / flow.len().max(1) as f64;
        let points = flow.iter().enumerate().fold(String::new(), |mut points, (n, bytes)| {
            let y = top + 54.0 * (1.0 - *bytes as f64 / most);
            let _ = write!(points, "{:.1},{y:.1} ", LEFT + step * (n as f64 + 0.5));
            points
        });
        let _ = writeln!(out, "<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='0.8'/>");
    }
    out
}
