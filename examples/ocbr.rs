//! A constant bit rate in one direction, and what arrives of it; talks to the reference's `ocbr`.

mod common;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use common::rate::{Load, Tally, Wait};
use common::{Network, Result, Service, Target, say, units};
use o7s::time::Instant;
use o7s::{Flow, ReadError, Stack};

/// Sends packets at a constant rate; the server prints the rate at which they arrive.
#[derive(Parser, Debug)]
#[command(after_help = common::after_help("\
Rates are in bits per second, with k, M or G behind; durations are in seconds, or have a unit: ms, s, m, h or d.
Packets are numbered, unless --flood is given.

Examples:
  a server:            ocbr --listen --udp4 10.9.0.2
  10 Mb/s for 5 s:     ocbr -n ocbr -d 5 -r 10M --udp4 10.9.0.1 --host ocbr=10.9.0.2
  as much as it takes: ocbr -n ocbr -d 5 -f --udp4 10.9.0.1 --host ocbr=10.9.0.2"))]
struct Options {
    /// Be the server: receive, and report
    #[arg(short, long)]
    listen: bool,

    /// Server: time from report to report
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = units::seconds)]
    interval: Duration,

    /// Server: end a flow on which nothing comes for this time
    #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = units::seconds)]
    timeout: Duration,

    #[command(flatten)]
    client: Client,

    #[command(flatten)]
    service: Service,

    #[command(flatten)]
    network: Network,
}

/// What only clients have.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Client")]
struct Client {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    load: Load,

    /// Size of the packets, 8 bytes at least
    #[arg(short, long, value_name = "BYTES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    size: u32,

    /// Sleep between packets (the default)
    #[arg(long, conflicts_with = "spin")]
    sleep: bool,

    /// Do not sleep between packets, but spin: more even, and takes a processor
    #[arg(long)]
    spin: bool,
}

/// What the server is called if nothing else is said.
const NAME: &str = "ocbr";
/// The largest packet that the server takes.
const ROOM: usize = 1 << 20;

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| if options.listen { serve(&options) } else { send(&options.client, &options.network) })
}

fn send(options: &Client, network: &Network) -> Result<bool> {
    let size = usize::try_from(options.size)?;
    let (stack, flow) = network.connect_to(&options.target, NAME, size)?;
    common::describe(&flow, options.target.name(NAME));
    let wait = if options.spin { Wait::Spin } else { Wait::Sleep };
    let tally = options.load.send((&stack, &flow), size, wait, |packet, number| {
        if !options.load.flood
            && let Some(seq) = packet.first_chunk_mut()
        {
            *seq = number.to_le_bytes();
        }
    })?;
    say!("Sent {tally}");
    common::hang_up(flow)?;
    Ok(tally.packets > 0)
}

fn serve(options: &Options) -> Result<bool> {
    let (stack, listener) = options.network.serve(&options.service, NAME)?;
    thread::scope(|scope| {
        for number in 1.. {
            let Some(flow) = common::accept(&listener)? else { break };
            say!("New flow {number}{}.", common::whose(&flow));
            let report = Report::new(number, options, stack.now());
            let stack = &stack;
            scope.spawn(move || report.serve(stack, &flow));
        }
        Ok(true)
    })
}

/// What arrives on one flow.
struct Report {
    number: u64,
    interval: Duration,
    timeout: Duration,
    /// Since the last report.
    tally: Tally,
    reported: Instant,
    heard: Instant,
}

impl Report {
    fn new(number: u64, options: &Options, now: Instant) -> Self {
        Self {
            number,
            interval: options.interval.max(Duration::from_millis(1)),
            timeout: options.timeout,
            tally: Tally::default(),
            reported: now,
            heard: now,
        }
    }

    fn serve(mut self, stack: &Stack, flow: &Flow) {
        let mut buf = vec![0; ROOM.min(flow.max_write())];
        let why = loop {
            let now = stack.now();
            if now >= self.reported + self.interval {
                self.print(now);
            }
            if now >= self.heard + self.timeout {
                break "timed out".to_owned();
            }
            let next = (self.reported + self.interval).min(self.heard + self.timeout);
            match flow.read_timeout(&mut buf, next.since(now)) {
                Ok(len) => {
                    self.tally.count(len);
                    self.heard = stack.now();
                }
                Err(ReadError::TimedOut) => {}
                Err(ReadError::Closed | ReadError::Reset | ReadError::Down) => break "ended".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        self.print(stack.now());
        say!("Flow {}: {why}.", self.number);
    }

    /// Prints what came since the last report, if anything did.
    fn print(&mut self, now: Instant) {
        self.tally.time = now.since(self.reported);
        if self.tally.packets > 0 {
            say!("Flow {}: {}", self.number, self.tally);
        }
        self.tally = Tally::default();
        self.reported = now;
    }
}
