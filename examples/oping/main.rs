//! Liveness and round-trip time of a flow; talks to the reference's `oping`.

mod client;
#[path = "../common/mod.rs"]
mod common;
mod packet;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Network, Service, Target, units};

/// Sends requests over a flow to a name and measures how long the answers take.
#[derive(Parser, Debug)]
#[command(after_help = common::after_help("\
The unit of a duration is ms, s, m, h or d. A client has done what it is for if a reply came.

Examples:
  a server on one host:     oping --listen --udp4 10.9.0.2
  three pings from another: oping -n oping -c 3 --udp4 10.9.0.1 --host oping=10.9.0.2
  both on one host:         oping --listen --udp4 127.0.0.1
                            oping -c 3 --udp4 127.0.0.1 --host oping=127.0.0.1
  reliable and encrypted:   add --encrypt X25519 to both, and -q data to the client"))]
struct Options {
    /// Be the server: answer requests
    #[arg(short, long)]
    listen: bool,

    /// Server: look for packets again and again instead of waiting for them
    #[arg(long, visible_alias = "poll", requires = "listen")]
    busy: bool,

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

    /// Requests to send [default: no end]
    #[arg(short, long, value_name = "N")]
    count: Option<u32>,

    /// Time from request to request; in milliseconds, unless it has a unit
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = units::millis)]
    interval: Duration,

    /// Size of the packets, 64 to 1500 bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=1500))]
    size: u16,

    /// Stop after this time; in seconds, unless it has a unit
    #[arg(short, long, value_name = "TIME", value_parser = units::seconds)]
    duration: Option<Duration>,

    /// Send the next request as soon as the last was answered
    #[arg(short, long)]
    flood: bool,

    /// Likewise, looking for the answer again and again instead of waiting for it
    #[arg(short = 'F', long)]
    flood_busy: bool,

    /// Print only the summary
    #[arg(short = 'Q', long)]
    quiet: bool,

    /// Print the time of day before each line
    #[arg(short = 'D', long)]
    timeofday: bool,
}

/// What the server is called if nothing else is said.
const NAME: &str = "oping";

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| if options.listen { server::run(&options) } else { client::run(&options.client, &options.network) })
}
