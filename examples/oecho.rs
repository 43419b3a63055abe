//! The smallest client and server: one message there and back.

mod common;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use common::{Network, Result, Service, say};
use o7s::{Flow, QosSpec};

/// Sends one message to a server, which sends it back.
#[derive(Parser)]
#[command(after_help = common::after_help("\
Examples:
  oecho --listen --udp4 127.0.0.1
  oecho --udp4 127.0.0.1 --host oecho=127.0.0.1

It sends a text of its own; standard input is not read."))]
struct Options {
    /// Be the server
    #[arg(short, long)]
    listen: bool,

    /// The name of the server
    #[arg(short = 'n', long, value_name = "NAME", default_value = "oecho", conflicts_with = "listen")]
    server_name: String,

    #[command(flatten)]
    service: Service,

    #[command(flatten)]
    network: Network,
}

/// A client says this, with the zero byte that ends a string elsewhere.
const MESSAGE: &[u8] = b"Client says hi!\0";
/// How long the other end may take for its packet.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest message.
const ROOM: usize = 1500;

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| if options.listen { serve(&options) } else { call(&options) })
}

fn serve(options: &Options) -> Result<bool> {
    let (_stack, listener) = options.network.serve(&options.service, "oecho")?;
    thread::scope(|scope| {
        while let Some(flow) = common::accept(&listener)? {
            // On a thread of its own, so that a client that says nothing keeps no other waiting.
            scope.spawn(|| match echo(flow) {
                Ok((text, whose)) => say!("Echoed {text:?}{whose}."),
                Err(error) => say!("Flow ended: {error}."),
            });
        }
        Ok(true)
    })
}

fn echo(flow: Flow) -> Result<(String, String)> {
    let mut buf = [0; ROOM];
    let len = flow.read_timeout(&mut buf, PATIENCE)?;
    let message = buf.get(..len).unwrap_or_default();
    // Something has come: who says so is there.
    let whose = common::whose(&flow);
    flow.write(message)?;
    common::close(flow);
    Ok((text(message), whose))
}

fn call(options: &Options) -> Result<bool> {
    let (_stack, flow) = options.network.connect(&options.server_name, QosSpec::RAW)?;
    common::describe(&flow, &options.server_name);
    flow.write(MESSAGE)?;
    let mut buf = [0; ROOM];
    let len = flow.read_timeout(&mut buf, PATIENCE)?;
    let reply = buf.get(..len).unwrap_or_default();
    say!("Server replied with {}", text(reply));
    let same = reply == MESSAGE;
    // The reply is there, so that the server had everything.
    let _ = common::hang_up(flow);
    Ok(same)
}

/// The text in a message, up to its zero byte.
fn text(message: &[u8]) -> String {
    let text = message.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
