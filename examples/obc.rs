//! One message to everybody in a broadcast layer, and everybody who listens to them.
//!
//! The reference's tool joins a layer of the host that it runs on; this one brings its own member along, or has one in
//! its configuration file.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::{Network, Result, say, stop};
use o7s::IpcpKind;
use o7s::{BroadcastBuilder, BroadcastLayer, Flow, IpcpHandle, ReadError, Stack};

/// Sends a message to a broadcast layer, or prints those that others send.
#[derive(Parser)]
#[command(after_help = common::after_help("\
Examples:
  obc --listen --first --udp4 127.0.0.1
  obc --listen --udp4 127.0.0.1:4000 --host obc=127.0.0.1
  obc --udp4 127.0.0.1:4001 --host obc=127.0.0.1 -m 'Rain at noon'

What to say is an option; standard input is not read."))]
struct Options {
    /// What to say
    #[arg(short, long, default_value = "Ouroboros multicast rocks!", conflicts_with = "listen")]
    message: String,

    /// Print what is said
    #[arg(short, long)]
    listen: bool,

    /// The name of the layer
    #[arg(short = 'n', long = "name", value_name = "LAYER", default_value = "obc")]
    layer: String,

    /// Be the first member of the layer
    #[arg(long, conflicts_with = "via", requires = "listen")]
    first: bool,

    /// Enroll with this member, and connect to it [default: any, by the name of the layer]
    #[arg(long, value_name = "MEMBER")]
    via: Option<String>,

    /// The name of this member [default: obc. and the number of this process]
    #[arg(long, value_name = "NAME")]
    member: Option<String>,

    #[command(flatten)]
    network: Network,
}

/// How much of a message is printed, bytes.
const ROOM: usize = 256;
/// How long the message may take to leave: some are held back for a moment, to be sent in one go.
const LINGER: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| run(&options))
}

fn run(options: &Options) -> Result<bool> {
    let (stack, layers) = options.network.stack()?;
    let is_member = layers.iter().any(|l| l.info().kind == IpcpKind::Broadcast && l.info().layer == options.layer);
    let member = if is_member { None } else { Some(become_member(options, &stack, &layers)?) };
    let flow = stack.join(&options.layer)?;
    common::logger::is_there();
    let ends = stack.clone();
    stop::on_request(move || ends.shutdown());
    if options.listen {
        let addr = layers.first().and_then(IpcpHandle::local_addr);
        let addr = addr.map(|addr| format!(" at {addr}")).unwrap_or_default();
        say!("Listening to \"{}\"{addr}.", options.layer);
        return listen(&flow);
    }
    flow.write(&[options.message.as_bytes(), b"\0"].concat())?;
    // Whatever others say meanwhile is not for this program.
    let _ = flow.read_timeout(&mut [0; ROOM], LINGER);
    common::close(flow);
    if let Some(member) = member {
        member.leave();
    }
    Ok(true)
}

fn become_member(options: &Options, stack: &Stack, below: &[IpcpHandle]) -> Result<IpcpHandle> {
    let name = options.member.clone().unwrap_or_else(|| format!("obc.{}", std::process::id()));
    let builder = below.iter().fold(stack.broadcast(&name), BroadcastBuilder::over);
    if options.first {
        return Ok(builder.bootstrap(BroadcastLayer::new(&options.layer))?);
    }
    let via = options.via.as_deref().unwrap_or(&options.layer);
    let member = builder.enroll(via)?;
    member.connect(via)?;
    Ok(member)
}

fn listen(flow: &Flow) -> Result<bool> {
    let mut buf = [0; BroadcastLayer::MAX_PACKET];
    loop {
        match flow.read(&mut buf) {
            Ok(len) => say!("Message is {}.", text(buf.get(..len.min(ROOM)).unwrap_or_default())),
            Err(ReadError::Closed | ReadError::Reset | ReadError::Down) => return Ok(true),
            Err(_) if stop::requested() => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The text in a message, up to its zero byte.
fn text(message: &[u8]) -> String {
    let text = message.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
