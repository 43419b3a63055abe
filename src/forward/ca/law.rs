//! The control law that all senders share: the mean mark at which a flow of a speed is at rest. [`ca`](super) derives
//! it.

use core::time::Duration;

/// A rate or a window halves with each of these in which nothing is sent, down to what it begins with.
pub(super) const FORGETTING: Duration = Duration::from_secs(1);

/// The speed from which octaves are counted, bytes per second: 100 Mbit/s.
const PIVOT: f64 = 12.5e6;
/// The mean mark at which a flow of that speed is at rest, what each octave below adds and each above takes away, and the
/// least.
const AT_PIVOT: f64 = 0.95;
const PER_OCTAVE_BELOW: f64 = 0.3;
const PER_OCTAVE_ABOVE: f64 = 0.2;
const LEAST: f64 = 0.2;
/// Packets per mark.
const MARK: f64 = super::PACKETS_PER_MARK as f64;
/// The share of what is too much in the queue that a round takes away, as far as one knows what the path holds: by what
/// the flow itself has in flight, and by the queue.
const GAIN_FLIGHT: f64 = 0.4;
const GAIN_QUEUE: f64 = 0.25;
/// The largest step, per second, and of a round; and of a round of growth that has become impatient.
const PER_SECOND: f64 = 5.0;
const PER_ROUND: f64 = 0.08;
const IMPATIENT: f64 = 0.2;
/// After so long without any mark growth is faster by its own measure with each time like the second, seconds.
const PATIENCE: f64 = 0.1;
const IMPATIENCE: f64 = 0.005;

/// The mean mark at which a flow that has `speed` bytes per second is at rest.
pub(super) fn target(speed: f64) -> f64 {
    let octaves = octaves(speed);
    let each = if octaves > 0.0 { PER_OCTAVE_BELOW } else { PER_OCTAVE_ABOVE };
    (AT_PIVOT + each * octaves).max(LEAST)
}

/// Relative change of a flow with `packets` in flight after a round of `seconds` in which its packets had the mean mark
/// `mark` and it had `speed`. The flow's own packets in flight and the queue are both less than the capacity of the
/// path, which is what the step has to be measured by.
pub(super) fn step(speed: f64, packets: f64, mark: f64, seconds: f64) -> f64 {
    let gain = (GAIN_FLIGHT * MARK / packets).min(GAIN_QUEUE / (mark + 0.5));
    bounded(gain * (target(speed) - mark), seconds)
}

/// The same way for all, however often they decide: a bound of time, and for long rounds of the round.
pub(super) fn bounded(step: f64, seconds: f64) -> f64 {
    let most = (PER_SECOND * seconds).min(PER_ROUND);
    step.clamp(-most, most)
}

/// A step after `clear` seconds without any mark.
pub(super) fn impatient(step: f64, clear: f64) -> f64 {
    let faster = step * (1.0 + (clear - PATIENCE).max(0.0) / IMPATIENCE);
    if faster > step { faster.min(IMPATIENT) } else { step }
}

/// Octaves that a speed is below the pivot, approximately: the logarithm is linear between powers of two.
fn octaves(speed: f64) -> f64 {
    log2(PIVOT) - log2(speed)
}

fn log2(x: f64) -> f64 {
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    // Exponent and mantissa of a number, read as one, are its logarithm but for a constant, which the difference above is
    // rid of.
    (x.to_bits() as f64) / (1_u64 << MANTISSA) as f64
}
