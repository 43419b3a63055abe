//! A drawing of throughput and queue over time.

use std::fmt::Write as _;

use super::experiment::{Outcome, SAMPLE, Setup};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933"];

/// A diagram: where it is, and what its axis says.
struct Diagram {
    top: f64,
    height: f64,
    most: f64,
    title: String,
}

impl Diagram {
    fn frame(&self, seconds: f64) -> String {
        let (right, bottom) = (WIDTH - 20.0, self.top + self.height);
        let mut out = format!(
            "<text x='{LEFT}' y='{}' font-weight='bold'>{}</text>\n\
             <path d='M{LEFT} {} V{bottom} H{right}' fill='none' stroke='black'/>\n",
            self.top - 8.0,
            self.title,
            self.top,
        );
        for part in 0..=4 {
            let value = self.most * f64::from(part) / 4.0;
            let y = self.y(value);
            let _ = writeln!(out, "<path d='M{LEFT} {y:.1} H{right}' stroke='#ddd'/>");
            let _ = writeln!(out, "<text x='{}' y='{:.1}' text-anchor='end'>{value:.0}</text>", LEFT - 6.0, y + 4.0);
        }
        let step = (seconds / 10.0).ceil().max(1.0);
        let mut second = 0.0;
        while second <= seconds {
            let x = LEFT + (right - LEFT) * second / seconds;
            let _ = writeln!(out, "<text x='{x:.1}' y='{}' text-anchor='middle'>{second} s</text>", bottom + 16.0);
            second += step;
        }
        out
    }

    fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - (value / self.most).min(1.0))
    }

    fn line(&self, values: &[f64], colour: &str) -> String {
        let step = (WIDTH - 20.0 - LEFT) / values.len().max(1) as f64;
        let points = values.iter().enumerate().fold(String::new(), |mut points, (n, value)| {
            let _ = write!(points, "{:.1},{:.1} ", LEFT + step * (n as f64 + 0.5), self.y(*value));
            points
        });
        format!("<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.2'/>\n")
    }
}

/// The drawing: the throughput of each flow and of all above, the queue below.
pub(crate) fn svg(setup: &Setup, outcome: &Outcome) -> String {
    let (samples, flows) = (outcome.queue.len(), setup.flows + setup.guests);
    let seconds = SAMPLE.as_secs_f64() * samples as f64;
    let megabits = |n: usize| -> Vec<f64> { (0..samples).map(|s| outcome.throughput(n, s) / 1e6).collect() };
    let each: Vec<_> = (0..flows).map(megabits).collect();
    let sum: Vec<f64> = (0..samples).map(|s| each.iter().filter_map(|flow| flow.get(s)).sum()).collect();
    let queue: Vec<_> = outcome.queue.iter().map(|packets| *packets as f64).collect();
    let throughput = Diagram {
        top: 40.0,
        height: 320.0,
        most: setup.rate as f64 / 1e6,
        title: format!("Payload of {} flows and of all (grey), Mbit/s", flows),
    };
    let longest = queue.iter().copied().fold(16.0, f64::max);
    let waiting = Diagram { top: 430.0, height: 140.0, most: longest, title: "Queue, packets".into() };

    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='610' font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='white'/>\n"
    );
    out += &throughput.frame(seconds);
    out += &throughput.line(&sum, "#bbbbbb");
    for (flow, colour) in each.iter().zip(COLOURS.iter().cycle()) {
        out += &throughput.line(flow, colour);
    }
    out += &waiting.frame(seconds);
    out += &waiting.line(&queue, COLOURS[0]);
    out += "</svg>\n";
    out
}
