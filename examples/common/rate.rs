//! Sending at a rate, and saying how much has arrived.

use std::fmt;
use std::time::Duration;

use o7s::time::Instant;
use o7s::{Flow, Stack, WriteError};

use super::stop;
use super::units::{self, as_millis};

/// How a sender waits for the moment of its next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Gives the processor away; several packets may leave together afterwards.
    Sleep,
    /// Looks at the clock again and again: evenly spaced packets, for the price of a processor.
    Spin,
}

/// How long packets that are late are sent behind the end.
const GRACE: Duration = Duration::from_millis(100);

/// Spaces packets evenly from a start. What one wait takes too long, the next waits are shorter, so that the rate
/// holds whatever the system's timers are like.
#[derive(Clone, Copy, Debug)]
struct Pace {
    start: Instant,
    /// Seconds from packet to packet; 0 for no pause at all.
    gap: f64,
    wait: Wait,
}

impl Pace {
    /// Packets of `size` bytes at `bits` per second, or at any rate.
    fn new(start: Instant, size: usize, bits: Option<f64>, wait: Wait) -> Self {
        let gap = bits.map_or(0.0, |bits| size as f64 * 8.0 / bits);
        Self { start, gap, wait }
    }

    /// Waits until packet number `n`, counted from 0, is due; `false` if that is not before `end`, or the program ends
    /// before it.
    fn due_before(&self, end: Instant, n: u64, now: impl Fn() -> Instant) -> bool {
        // Whoever sends at a rate makes up for a late wake-up in the end.
        let last = if self.gap > 0.0 { end + GRACE } else { end };
        let due = self.start + Duration::try_from_secs_f64(self.gap * n as f64).unwrap_or(Duration::MAX);
        loop {
            let now = now();
            let left = due.since(now);
            match self.wait {
                _ if now >= last || due >= end || stop::requested() => return false,
                _ if left.is_zero() => return true,
                // Whoever ends the program unparks the thread.
                Wait::Sleep => std::thread::park_timeout(left),
                Wait::Spin => std::hint::spin_loop(),
            }
        }
    }
}

/// How much a client sends, and for how long.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Client")]
pub(crate) struct Load {
    /// How long to send
    #[arg(short, long, value_name = "TIME", default_value = "60s", value_parser = units::seconds)]
    duration: Duration,

    /// The rate, without headers
    #[arg(short, long, default_value = "1M", value_parser = units::rate)]
    rate: f64,

    /// Send as fast as the flow takes it
    #[arg(short, long)]
    pub(crate) flood: bool,
}

impl Load {
    /// Sends packets of `size` bytes. `number` writes into a packet how many went before it.
    pub(crate) fn send(
        &self,
        (stack, flow): (&Stack, &Flow),
        size: usize,
        wait: Wait,
        number: impl Fn(&mut [u8], u64),
    ) -> super::Result<Tally> {
        let mut packet = vec![0; size];
        let start = stack.now();
        let pace = Pace::new(start, size, Some(self.rate).filter(|_| !self.flood), wait);
        let end = start + self.duration;
        let mut tally = Tally::default();
        while pace.due_before(end, tally.packets, || stack.now()) {
            number(&mut packet, tally.packets);
            // A flow whose other end is gone may have no room for long after the end.
            match flow.write_timeout(&packet, (end + GRACE).since(stack.now())) {
                Ok(_) => tally.count(size),
                Err(WriteError::TimedOut) => break,
                Err(_) if stop::requested() => break,
                Err(error) => return Err(error.into()),
            }
        }
        flow.flush();
        tally.time = stack.now() - start;
        Ok(tally)
    }
}

/// Packets and bytes in some time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Tally {
    pub(crate) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets, bytes, time } = self;
        let seconds = time.as_secs_f64().max(1e-9);
        let (pps, mbps) = (*packets as f64 / seconds, *bytes as f64 * 8e-6 / seconds);
        write!(f, "{packets} packets ({bytes} bytes) in {:.0} ms => {pps:.0} pps, {mbps:.4} Mbps", as_millis(*time))
    }
}
