//! Bandwidth of a flow, one way or there and back; talks to the reference's `operf` server.

mod client;
#[path = "../common/mod.rs"]
mod common;
mod server;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use common::rate::Load;
use common::{Network, Service, Target};

/// Sends packets to a server for some time, and measures the bandwidth.
#[derive(Parser, Debug)]
#[command(after_help = common::after_help("\
Rates are in bits per second, with k, M or G behind; durations are in seconds, or have a unit: ms, s, m, h or d.
One way, the server says what arrived; both ways, the client does.

Examples:
  a server:                operf --listen --udp4 10.9.0.2
  10 Mb/s there and back:  operf -t bi -d 5 -r 10M --udp4 10.9.0.1 --host operf=10.9.0.2
  as much as it takes:     operf -d 5 -f -q data --udp4 10.9.0.1 --host operf=10.9.0.2"))]
struct Options {
    /// Be the server
    #[arg(short, long)]
    listen: bool,

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

    /// One way, or there and back
    #[arg(short, long, value_enum, default_value = "uni")]
    test: Test,

    /// Size of the packets, 64 to 1048576 bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    size: u32,

    /// Sleep between packets instead of spinning: less even, and leaves the processor to others
    #[arg(long)]
    sleep: bool,
}

/// What is measured. The number is the first packet from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Test {
    /// From the client to the server
    Uni,
    /// There and back
    Bi,
}

impl Test {
    fn to_packet(self) -> [u8; 4] {
        u32::from(self == Self::Bi).to_le_bytes()
    }

    fn from_packet(packet: &[u8]) -> Option<Self> {
        [Self::Uni, Self::Bi].into_iter().find(|test| test.to_packet() == *packet)
    }
}

/// What the server is called if nothing else is said.
const NAME: &str = "operf";
/// The largest packet.
const ROOM: usize = 1 << 20;

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| if options.listen { server::run(&options) } else { client::run(&options.client, &options.network) })
}
