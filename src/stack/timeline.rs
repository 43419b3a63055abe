//! Drawing of a reliable flow over time.

use self::plot::{COLOURS, Diagram, Picture, ceiling};
use super::Flow;
use crate::base::time::Instant;

mod plot;
#[cfg(test)]
mod tests;

/// Limit of kept samples. Beyond it, every second one is forgotten.
const MAX_SAMPLES: usize = 4096;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;

/// The state of a flow over time, sampled by the program and drawn as SVG: congestion window, bytes in flight, round trip,
/// throughput and retransmissions of this end's sending direction.
///
/// A flow of any stack will do, live or simulated. Samples are for one flow, in the order of time, and best at regular
/// intervals of a few milliseconds or more. Memory is bounded: of more than 4096 samples every second one is dropped.
///
/// ```
/// # #[cfg(feature = "sim")] {
/// use std::time::Duration;
/// use o7s::QosSpec;
/// use o7s::sim::{Link, Network, Queue};
/// use o7s::stats::Timeline;
///
/// let net = Network::new(1);
/// let link = Link::default().latency(Duration::from_millis(20)).rate(10_000_000).queue(Queue::Packets(50));
/// net.set_default_link(link);
/// let (a, b) = (net.host("a").udp4("10.0.0.1").build(), net.host("b").udp4("10.0.0.2").build());
/// let listener = b.listen("sink");
/// net.spawn(async move {
///     let flow = listener.accept_async().await.unwrap();
///     while flow.read_bytes().await.is_ok() {}
/// });
/// let svg = net.block_on(async {
///     let flow = a.stack().flow("sink").qos(QosSpec::DATA).alloc_async().await.unwrap().into_blocking();
///     let mut timeline = Timeline::new();
///     while timeline.duration() < Duration::from_secs(3) {
///         // As much as the flow takes, and a look at it every 10 ms.
///         while flow.try_write(&[0; 1400]).is_ok() {}
///         timeline.sample(&flow);
///         net.sleep(Duration::from_millis(10)).await;
///     }
///     timeline.svg()
/// });
/// assert!(svg.starts_with("<svg"));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    samples: Vec<Sample>,
}

/// One sample of a flow.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    /// Milliseconds.
    round_trip: f64,
    /// Kilobytes; none if there is no congestion control.
    window: Option<f64>,
    /// Kilobytes.
    in_flight: f64,
    /// Bytes that the program has written so far.
    written: u64,
    /// Retransmissions so far.
    retransmitted: u64,
}

impl Timeline {
    /// A time line without samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample: the state of `flow` now, by the clock of its stack. Flows without FRCT have nothing to show, and are
    /// ignored.
    pub fn sample(&mut self, flow: &Flow) {
        let (Some(path), Some(stats)) = (flow.frct_path(), flow.frct_stats()) else { return };
        self.push(Sample {
            at: flow.inner.shared.clock().now(),
            round_trip: path.round_trip.as_secs_f64() * 1e3,
            window: path.window.map(|bytes| bytes as f64 / 1e3),
            in_flight: path.in_flight as f64 / 1e3,
            written: flow.counters().tx_bytes,
            retransmitted: stats.retransmitted,
        });
    }

    fn push(&mut self, sample: Sample) {
        if self.samples.len() >= MAX_SAMPLES {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.samples.push(sample);
    }

    /// The time from the first sample to the last.
    pub fn duration(&self) -> std::time::Duration {
        match (self.samples.first(), self.samples.last()) {
            (Some(first), Some(last)) => last.at.since(first.at),
            _ => std::time::Duration::ZERO,
        }
    }

    /// The drawing, as the text of an SVG file.
    pub fn svg(&self) -> String {
        let mut picture = Picture::new(WIDTH, 640.0);
        let top = |values: &mut dyn Iterator<Item = f64>| ceiling(values.fold(0.1, f64::max));
        let most = top(&mut self.samples.iter().flat_map(|s| [s.in_flight, s.window.unwrap_or_default()]));
        let sizes = self.diagram(40.0, 220.0, most);
        sizes.frame(&mut picture, "Congestion window (blue) and bytes in flight (orange), kB");
        sizes.line(&mut picture, self.points(|s| s.in_flight), COLOURS[1]);
        sizes.line(&mut picture, self.points(|s| s.window.unwrap_or_default()), COLOURS[0]);

        let times = self.diagram(320.0, 110.0, top(&mut self.samples.iter().map(|s| s.round_trip)));
        times.frame(&mut picture, "Smoothed round trip, ms");
        times.line(&mut picture, self.points(|s| s.round_trip), COLOURS[2]);

        let rates: Vec<_> = self.rates().collect();
        let rate = self.diagram(490.0, 110.0, top(&mut rates.iter().map(|(_, rate)| *rate)));
        rate.frame(&mut picture, "Written, Mbit/s; retransmissions (red marks)");
        rate.line(&mut picture, rates, COLOURS[0]);
        rate.marks(&mut picture, self.losses(), "#cc0000");
        picture.finish()
    }

    fn diagram(&self, top: f64, height: f64, most: f64) -> Diagram {
        let seconds = self.duration().as_secs_f64().max(1e-3);
        Diagram { left: LEFT, right: WIDTH - 20.0, top, height, seconds, most }
    }

    /// The time of a sample, seconds from the first.
    fn seconds(&self, sample: &Sample) -> f64 {
        self.samples.first().map_or(0.0, |first| sample.at.since(first.at).as_secs_f64())
    }

    fn points(&self, value: impl Fn(&Sample) -> f64) -> impl Iterator<Item = (f64, f64)> {
        self.samples.iter().map(move |sample| (self.seconds(sample), value(sample)))
    }

    /// Pairs of neighbouring samples.
    fn pairs(&self) -> impl Iterator<Item = (&Sample, &Sample)> {
        self.samples.iter().zip(self.samples.iter().skip(1))
    }

    /// Megabits per second written between samples.
    fn rates(&self) -> impl Iterator<Item = (f64, f64)> {
        self.pairs().filter_map(|(before, sample)| {
            let time = sample.at.since(before.at).as_secs_f64();
            let bits = sample.written.saturating_sub(before.written) as f64 * 8.0;
            (time > 0.0).then(|| (self.seconds(sample), bits / time / 1e6))
        })
    }

    /// Times between which and the sample before packets were retransmitted.
    fn losses(&self) -> impl Iterator<Item = f64> {
        let lost = self.pairs().filter(|(before, sample)| sample.retransmitted > before.retransmitted);
        lost.map(|(_, sample)| self.seconds(sample))
    }
}
