//! The client: sends, listens, counts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use o7s::time::Instant;
use o7s::{Flow, ReadError, Stack, WriteError};

use crate::common::{self, Network, Result, say, stop, units::as_millis};
use crate::packet;
use crate::{Client as Options, NAME};

/// The longest interval; the server drops a flow that is silent for longer.
const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// How much longer than an interval the server may be silent.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn run(options: &Options, network: &Network) -> Result<bool> {
    let (stack, flow) = network.connect_to(&options.target, NAME, options.size.into())?;
    if !options.quiet {
        common::describe(&flow, options.target.name(NAME));
    }
    let interval = options.interval.min(MAX_INTERVAL);
    let start = stack.now();
    let mut client =
        Client { options, stack: &stack, flow: &flow, interval, start, sent: 0, unsent: 0, stats: Stats::default() };
    let result = if options.flood || options.flood_busy { client.flood() } else { client.ping() };
    let time = stack.now() - start;
    client.stats.print(options.target.name(NAME), client.sent, time);
    let answered = client.stats.received > 0;
    match result {
        // A program that is to end closes its flow, and that is what the last call found.
        Err(_) if stop::requested() => {}
        // It has done what it is for.
        Err(error) if answered => common::complain(format_args!("error: {error}")),
        result => result?,
    }
    // What is on its way would be a reply that nobody waits for.
    let _ = common::hang_up(flow);
    Ok(answered)
}

struct Client<'a> {
    options: &'a Options,
    stack: &'a Stack,
    flow: &'a Flow,
    interval: Duration,
    start: Instant,
    sent: u32,
    /// Those of the sent ones that did not leave this host.
    unsent: u32,
    stats: Stats,
}

impl Client<'_> {
    /// One request an interval, the first after one interval.
    fn ping(&mut self) -> Result<()> {
        let mut next = self.start + self.interval;
        let mut heard = self.start;
        while !stop::requested() {
            let now = self.stack.now();
            let sending = self.goes_on(now);
            if sending && now >= next {
                self.send()?;
                // After a pause of the whole process there is nothing to catch up with.
                next = (next + self.interval).max(now);
            }
            if !sending && self.stats.received + self.unsent >= self.sent {
                return Ok(());
            }
            let silence_ends = heard.max(self.start + self.interval) + self.interval + PATIENCE;
            if self.stack.now() >= silence_ends {
                say!("Server timed out.");
                if !sending {
                    return Ok(());
                }
                heard = self.stack.now();
                continue;
            }
            let until = if sending { next.min(silence_ends) } else { silence_ends };
            if self.receive(until.since(self.stack.now()))? {
                heard = self.stack.now();
            }
        }
        Ok(())
    }

    /// One request an answer.
    fn flood(&mut self) -> Result<()> {
        while self.goes_on(self.stack.now()) && !stop::requested() {
            if !self.send()? {
                // There is no answer to pace it.
                self.receive(self.interval)?;
                continue;
            }
            let deadline = self.stack.now() + self.interval + PATIENCE;
            while self.stats.received + self.unsent < self.sent {
                let left = deadline.since(self.stack.now());
                if left.is_zero() {
                    say!("Server timed out.");
                    return Ok(());
                }
                self.receive(if self.options.flood_busy { Duration::ZERO } else { left })?;
            }
        }
        Ok(())
    }

    /// Whether there are requests to send.
    fn goes_on(&self, now: Instant) -> bool {
        self.options.count.is_none_or(|count| self.sent < count)
            && self.options.duration.is_none_or(|duration| now.since(self.start) < duration)
    }

    /// Sends a request, and says whether it has left: one that finds no way is a lost one.
    fn send(&mut self) -> Result<bool> {
        let mut buf = [0; packet::MAX];
        let packet = buf.get_mut(..usize::from(self.options.size)).unwrap_or_default();
        packet::write_request(packet, self.sent, Duration::from_nanos(self.stack.now().as_nanos()));
        let written = self.flow.write(packet);
        let seq = self.sent;
        match written {
            Ok(_) => self.flow.flush(),
            Err(WriteError::Refused(error)) => {
                self.unsent += 1;
                if !self.options.quiet {
                    say!("seq={seq} was not sent: {error}");
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.sent = self.sent.wrapping_add(1);
        Ok(written.is_ok())
    }

    /// Receives a packet if one comes in time, and says whether it was a reply.
    fn receive(&mut self, wait: Duration) -> Result<bool> {
        let mut buf = [0; packet::MAX];
        let read = if wait.is_zero() { self.flow.try_read(&mut buf) } else { self.flow.read_timeout(&mut buf, wait) };
        let len = match read {
            Ok(len) => len,
            Err(ReadError::TimedOut | ReadError::WouldBlock) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let now = self.stack.now();
        let Some((seq, clock)) = packet::read_reply(buf.get(..len).unwrap_or_default()) else { return Ok(false) };
        let rtt = Duration::from_nanos(now.as_nanos()).saturating_sub(clock);
        let in_order = self.stats.count(seq, rtt);
        if !self.options.quiet {
            let time = if self.options.timeofday { time_of_day() } else { String::new() };
            let (name, rtt) = (self.options.target.name(NAME), as_millis(rtt));
            let order = if in_order { "" } else { " [out-of-order]" };
            say!("{time}{len} bytes from {name}: seq={seq} time={rtt:.3} ms{order}");
        }
        Ok(true)
    }
}

#[allow(clippy::disallowed_methods, reason = "the time of day is what was asked for")]
fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("[{}.{:06}] ", now.as_secs(), now.subsec_micros())
}

/// What the summary tells; times in milliseconds.
#[derive(Debug, Default)]
struct Stats {
    received: u32,
    out_of_order: u32,
    /// The sequence number after the highest so far.
    expected: u32,
    min: f64,
    max: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Stats {
    /// Counts a reply and says whether it came in order.
    fn count(&mut self, seq: u32, rtt: Duration) -> bool {
        let rtt = as_millis(rtt);
        self.min = if self.received == 0 { rtt } else { self.min.min(rtt) };
        self.max = self.max.max(rtt);
        self.sum += rtt;
        self.sum_of_squares += rtt * rtt;
        self.received = self.received.saturating_add(1);
        let in_order = seq >= self.expected;
        if in_order {
            self.expected = seq.saturating_add(1);
        } else {
            self.out_of_order += 1;
        }
        in_order
    }

    fn print(&self, name: &str, sent: u32, time: Duration) {
        let Self { received, out_of_order, min, max, .. } = self;
        let lost = 100 * u64::from(sent.saturating_sub(*received)) / u64::from(sent.max(1));
        say!("\n--- {name} ping statistics ---");
        say!(
            "{sent} packets transmitted, {received} received, {out_of_order} out-of-order, {lost}% packet loss, \
             time: {:.3} ms",
            as_millis(time)
        );
        if *received > 0 {
            let n = f64::from(*received);
            let avg = self.sum / n;
            let mdev = (self.sum_of_squares / n - avg * avg).max(0.0).sqrt();
            say!("rtt min/avg/max/mdev = {min:.3}/{avg:.3}/{max:.3}/{mdev:.3} ms");
        }
    }
}
