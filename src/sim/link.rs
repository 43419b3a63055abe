//! Properties of a path through the simulated network.

use core::time::Duration;

/// Loss of datagrams on a path, on top of drops by a full [`Queue`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// None is lost.
    #[default]
    None,
    /// Each is lost with this probability, independently.
    Random(f64),
    /// The Gilbert-Elliott model: the path is in a good or a bad state and may change it before each datagram.
    Bursty {
        /// Probability of turning bad, per datagram.
        enter: f64,
        /// Probability of turning good again, per datagram; its inverse is the mean length of a bad spell.
        leave: f64,
        /// Probability of a loss while good.
        good: f64,
        /// Probability of a loss while bad.
        bad: f64,
    },
}

impl Loss {
    /// Bursty loss that takes the share `rate` of all datagrams (0.0 to below 1.0), in bursts of `mean_burst`
    /// datagrams on average (at least 1).
    ///
    /// ```
    /// use o7s::sim::Loss;
    ///
    /// let Loss::Bursty { enter, leave, .. } = Loss::bursty(0.05, 4.0) else { unreachable!() };
    /// assert!((enter / (enter + leave) - 0.05).abs() < 1e-9);
    /// ```
    pub fn bursty(rate: f64, mean_burst: f64) -> Self {
        let rate = probability(rate).min(0.999);
        let leave = 1.0 / mean_burst.max(1.0);
        Self::Bursty { enter: probability(rate * leave / (1.0 - rate)), leave, good: 0.0, bad: 1.0 }
    }
}

/// Length of the queue in front of a path of limited [`rate`](Link::rate); further datagrams are dropped (tail drop).
/// The datagram under transmission counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Queue {
    /// In datagrams.
    Packets(usize),
    /// In bytes, IP and UDP headers included.
    Bytes(usize),
}

/// The properties of a path from one address to another, in that direction.
///
/// The default is a perfect one: no delay, no loss, no limit but an MTU of 1500. A datagram meets them in this order: queue
/// and rate, loss, corruption, duplication, delay.
///
/// ```
/// use core::time::Duration;
/// use o7s::sim::{Link, Loss, Queue};
///
/// let dsl = Link::default()
///     .latency(Duration::from_millis(20))
///     .jitter(Duration::from_millis(3))
///     .loss(Loss::Random(0.01))
///     .rate(10_000_000)
///     .queue(Queue::Packets(100));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) loss: Loss,
    pub(super) duplicate: f64,
    pub(super) reorder: f64,
    pub(super) reorder_delay: Duration,
    pub(super) corrupt: f64,
    pub(super) rate: Option<u64>,
    pub(super) queue: Queue,
    pub(super) mtu: usize,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: Loss::None,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(10),
            corrupt: 0.0,
            rate: None,
            queue: Queue::Packets(1000),
            mtu: 1500,
        }
    }
}

impl Link {
    /// Time from the end of transmission to arrival. Default: none.
    pub fn latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// Further delay, drawn evenly between nothing and `jitter` for each datagram. It never changes their order:
    /// that is what [`reorder`](Self::reorder) is for. Default: none.
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Sets the loss of datagrams. Default: none.
    pub fn loss(self, loss: Loss) -> Self {
        let loss = match loss {
            Loss::None => Loss::None,
            Loss::Random(p) => Loss::Random(probability(p)),
            Loss::Bursty { enter, leave, good, bad } => Loss::Bursty {
                enter: probability(enter),
                leave: probability(leave),
                good: probability(good),
                bad: probability(bad),
            },
        };
        Self { loss, ..self }
    }

    /// Probability that a datagram arrives twice, each copy with a delay of its own. Default: 0.
    pub fn duplicate(self, p: f64) -> Self {
        Self { duplicate: probability(p), ..self }
    }

    /// Probability that a datagram is held up and overtaken by later ones, and the most it is held up, drawn evenly.
    /// Default: 0.
    pub fn reorder(self, p: f64, delay: Duration) -> Self {
        Self { reorder: probability(p), reorder_delay: delay, ..self }
    }

    /// Probability that one to four bits of a datagram are flipped. It is delivered all the same: the simulated
    /// network has no UDP checksum. Default: 0.
    pub fn corrupt(self, p: f64) -> Self {
        Self { corrupt: probability(p), ..self }
    }

    /// Bits per second that the path transmits, IP and UDP headers counted. 0 is taken for 1. Default: unlimited.
    pub fn rate(self, bits_per_second: u64) -> Self {
        Self { rate: Some(bits_per_second.max(1)), ..self }
    }

    /// Sets the limit of the transmission queue; matters only with a [`rate`](Self::rate). Default: 1000 datagrams.
    pub fn queue(self, queue: Queue) -> Self {
        Self { queue, ..self }
    }

    /// Largest IP packet, bytes. Larger ones disappear, as behind a router whose complaints are filtered.
    /// Default: 1500.
    pub fn mtu(self, mtu: usize) -> Self {
        Self { mtu, ..self }
    }
}

/// `p` as a probability; what is not a number is 0.
fn probability(p: f64) -> f64 {
    if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) }
}
