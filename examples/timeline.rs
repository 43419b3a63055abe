//! A time line of one reliable flow: window, round trip, throughput and retransmissions, as SVG.

#[path = "common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Result, say, stop};
use o7s::sim::{Link, Loss, Network, Queue};
use o7s::stats::Timeline;
use o7s::{Flow, QosSpec, Stack, Udp4, WriteError};

/// Sends over one reliable flow as fast as it takes data, and draws what the flow does.
#[derive(Parser, Debug)]
#[command(after_help = "\
Examples:
  a slow link with a queue:  timeline --svg flow.svg
  a long and lossy path:     timeline --rate 100 --delay 50 --loss 0.5 --svg flow.svg
  over this host's loopback: timeline --live --svg flow.svg

Ends with status 0 if there is a drawing, 1 if not, 2 if the options are wrong. Signals end it at once; with --live, what there
was until then is drawn.")]
struct Options {
    /// How long to send, seconds
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    duration: u64,

    /// Rate of the simulated link, Mbit/s
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,

    /// Delay of the simulated link in each direction, ms
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    delay: u64,

    /// Datagrams that the simulated link loses, per cent
    #[arg(long, default_value_t = 0.0)]
    loss: f64,

    /// Use this host's loopback interface instead of a simulated link
    #[arg(long)]
    live: bool,

    /// Write the drawing to this file; to standard output if not given
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Time between two samples.
const STEP: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| run(&options))
}

fn run(options: &Options) -> Result<bool> {
    let timeline = if options.live { live(options)? } else { simulated(options)? };
    match &options.svg {
        Some(path) => std::fs::write(path, timeline.svg()).map_err(|e| format!("{}: {e}", path.display()))?,
        None => say!("{}", timeline.svg().trim_end()),
    }
    Ok(true)
}

/// Fills the flow's window and queue.
fn fill(flow: &Flow) {
    let packet = vec![0; flow.stream_packet()];
    while flow.try_write(&packet).is_ok() {}
}

fn simulated(options: &Options) -> Result<Timeline> {
    let net = Network::new(1);
    let link = Link::default().latency(Duration::from_millis(options.delay)).rate(options.rate * 1_000_000);
    net.set_default_link(link.loss(Loss::Random(options.loss / 100.0)).queue(Queue::Packets(100)));
    let (sender, receiver) =
        (net.host("sender").udp4("10.0.0.1").build(), net.host("receiver").udp4("10.0.0.2").build());
    let listener = receiver.listen("sink");
    net.spawn(async move {
        if let Ok(flow) = listener.accept_async().await {
            while flow.read_bytes().await.is_ok() {}
        }
    });
    net.block_on(async {
        let mut timeline = Timeline::new();
        let flow = sender.stack().flow("sink").qos(QosSpec::DATA).alloc_async().await?;
        let flow = flow.into_blocking();
        while timeline.duration() < Duration::from_secs(options.duration) {
            fill(&flow);
            timeline.sample(&flow);
            net.sleep(STEP).await;
        }
        Ok(timeline)
    })
}

fn live(options: &Options) -> Result<Timeline> {
    // A drawing of what there was until then is drawn.
    stop::on_request(|| {});
    let server = Stack::new()?;
    let net = server.udp4(Udp4::bind("127.0.0.1:0"))?;
    net.register("sink")?;
    server.bind_handler("sink", |flow| while flow.read_bytes().is_ok() {})?;
    let at = net.local_addr().ok_or("the layer has no address")?.to_string();

    let client = Stack::new()?;
    client.udp4(Udp4::outgoing("127.0.0.1").host("sink", &at))?;
    let flow = client.flow("sink").qos(QosSpec::DATA).alloc()?;
    let (mut timeline, packet) = (Timeline::new(), vec![0; flow.stream_packet()]);
    while timeline.duration() < Duration::from_secs(options.duration) && !stop::requested() {
        let until = client.now() + STEP;
        while client.now() < until {
            match flow.write_timeout(&packet, STEP) {
                Ok(_) | Err(WriteError::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
        timeline.sample(&flow);
    }
    flow.abort();
    Ok(timeline)
}
