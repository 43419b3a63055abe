//! A router: makes the layers that a configuration file describes, and forwards.

#[path = "../common/mod.rs"]
mod common;
mod console;
mod metrics;
mod tables;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::{Result, Surroundings, stop};

/// Makes the layers that a file describes, and forwards what comes for others. Runs until it is ended.
#[derive(Parser, Debug)]
#[command(after_help = after_help())]
struct Options {
    /// The layers
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Answer Prometheus at this address with everything that is counted
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,

    #[command(flatten)]
    surroundings: Surroundings,
}

const HELP: &str = "\
The file is in the format of the reference's configuration. A router between two UDP networks:

  [udp4.left]
  bootstrap = \"left\"
  ip = \"10.1.0.1\"
  reg = [\"router\"]

  [udp4.right]
  bootstrap = \"right\"
  ip = \"10.2.0.1\"
  reg = [\"router\"]

  [unicast.router]
  bootstrap = \"campus\"
  autobind = true

A line on standard input, such as `adjacencies` or `lsdb`, prints a table; `help` says which there are. Whatever becomes
of its input and output, a router goes on.";

fn after_help() -> String {
    format!("{HELP}\n\n{}", common::STATUS)
}

/// Prints a line if somebody reads it.
macro_rules! tell {
    ($($arg:tt)*) => { drop(common::try_print_line(format_args!($($arg)*))) };
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| run(&options))
}

fn run(options: &Options) -> Result<bool> {
    // First, because it fails at once if it does.
    let bind = |addr| TcpListener::bind(addr).map_err(|error| format!("--metrics {addr}: {error}"));
    let metrics = options.metrics.map(bind).transpose()?;
    let (stack, layers) = options.surroundings.configured(&options.config)?;
    common::logger::is_there();
    if layers.is_empty() {
        return Err(format!("{}: there is no layer in it, and so nothing to route in", options.config.display()).into());
    }
    let ends = stack.clone();
    stop::on_request(move || {
        ends.shutdown();
        common::capture::finish();
        // The console may wait for a line that never comes.
        common::end();
    });
    if let Some(listener) = metrics {
        tell!("Metrics at http://{}/metrics.", listener.local_addr()?);
        let stack = stack.clone();
        std::thread::Builder::new().name("metrics".into()).spawn(move || metrics::serve(&listener, &stack))?;
    }
    tell!("Routing in {}.", tables::layer_names(&layers));
    let quit = console::serve(|command| {
        if command != "quit" {
            tell!("{}", tables::answer(command, &stack, &layers).trim_end());
        }
        command == "quit"
    });
    if quit {
        return Ok(true);
    }
    // Nobody asks any more, and the stack does the rest.
    loop {
        std::thread::park();
    }
}
