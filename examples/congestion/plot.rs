//! A drawing of throughput and queue over time.

use super::experiment::{Outcome, SAMPLE, Setup};
use super::svg::{COLOURS, Diagram, Picture};

const WIDTH: f64 = 900.0;

/// The drawing: the throughput of each flow and of all above, the queue below.
pub(crate) fn svg(setup: &Setup, outcome: &Outcome) -> String {
    let (samples, flows) = (outcome.queue.len(), setup.flows + setup.guests);
    let each = SAMPLE.as_secs_f64();
    // In the middle of its sample.
    let points = |values: Vec<f64>| (0..).zip(values).map(move |(n, value)| (each * (f64::from(n) + 0.5), value));
    let megabits = |n: usize| -> Vec<f64> { (0..samples).map(|s| outcome.throughput(n, s) / 1e6).collect() };
    let throughputs: Vec<_> = (0..flows).map(megabits).collect();
    let sum = (0..samples).map(|s| throughputs.iter().filter_map(|flow| flow.get(s)).sum()).collect();
    let queue: Vec<_> = outcome.queue.iter().map(|packets| *packets as f64).collect();
    let diagram = |top, height, most| Diagram {
        left: 70.0,
        right: WIDTH - 20.0,
        top,
        height,
        seconds: each * samples as f64,
        most,
    };

    let mut picture = Picture::new(WIDTH, 610.0);
    let throughput = diagram(40.0, 320.0, setup.rate as f64 / 1e6);
    throughput.frame(&mut picture, &format!("Payload of {flows} flows and of all (grey), Mbit/s"));
    throughput.line(&mut picture, points(sum), "#bbbbbb");
    for (flow, colour) in throughputs.into_iter().zip(COLOURS.iter().cycle()) {
        throughput.line(&mut picture, points(flow), colour);
    }
    let waiting = diagram(430.0, 140.0, queue.iter().copied().fold(16.0, f64::max));
    waiting.frame(&mut picture, "Queue, packets");
    waiting.line(&mut picture, points(queue), COLOURS[0]);
    picture.finish()
}
