//! What the tools share: the options that make a stack, units, and how a program ends.
#![allow(dead_code, reason = "every program uses a part")]

pub(crate) mod rate;
pub(crate) mod units;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use o7s::node::alloc::AllocError as Failure;
use o7s::types::code::Code;
use o7s::{AllocError, Flow, IpcpHandle, Listener, QosSpec, SecurityConfig, Stack, Udp4};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Prints a line at once: whoever reads a log or a pipe wants it now, not when a buffer is full. A closed pipe is no
/// reason to fail.
macro_rules! say {
    ($($arg:tt)*) => { $crate::common::print_line(format_args!($($arg)*)) };
}
pub(crate) use say;

pub(crate) fn print_line(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The options that all programs build their stack from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Join a UDP/IPv4 layer at this address of this host. The port is 3435 if not given
    #[arg(long, value_name = "IP[:PORT]")]
    udp4: Option<String>,

    /// Where a name is, for names that this layer's resolver (a line `IP <MD5 of the name>` in the hosts file, or the
    /// DNS) does not know. May be given several times
    #[arg(long = "host", value_name = "NAME=IP[:PORT]", value_parser = name_and_addr)]
    hosts: Vec<(String, String)>,

    /// Encrypt flows, and neither ask for nor accept others: key exchange (prime256v1 or X25519), cipher (aes-128-gcm,
    /// aes-192-gcm, aes-256-gcm or chacha20-poly1305) and key derivation (such as sha256). A client without it asks
    /// for plain flows, a server without it takes either. [example: X25519,aes-256-gcm,sha256]
    #[arg(long, value_name = "KEX[,CIPHER[,KDF]]")]
    encrypt: Option<SecurityConfig>,
}

/// What only servers have.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct Service {
    /// Serve under this name, which is registered in every layer that was joined [default: the tool's own name]
    #[arg(long, requires = "listen")]
    name: Option<String>,
}

/// What all clients have that measure something.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Client")]
pub(crate) struct Target {
    /// The name of the server [default: the tool's own name]
    #[arg(short = 'n', long, value_name = "NAME", conflicts_with = "listen")]
    server_name: Option<String>,

    /// Quality of service: raw, best, video, voice or data
    #[arg(short, long, default_value = "raw")]
    qos: QosSpec,
}

impl Target {
    /// The name of the server.
    pub(crate) fn name<'a>(&'a self, default: &'a str) -> &'a str {
        self.server_name.as_deref().unwrap_or(default)
    }
}

impl Network {
    /// A stack that is a member of the layer that was asked for.
    pub(crate) fn stack(&self) -> Result<(Stack, IpcpHandle)> {
        let Some(udp4) = &self.udp4 else {
            return Err("without a layer nobody outside this program can be reached: \
                        join one with --udp4 IP[:PORT], an address of this host (127.0.0.1 to stay on it)"
                .into());
        };
        let stack = Stack::builder().security(self.encrypt.unwrap_or_default()).build()?;
        let config = self.hosts.iter().fold(Udp4::bind(udp4), |config, (name, addr)| config.host(name, addr));
        let layer = stack.udp4(config)?;
        Ok((stack, layer))
    }

    /// Starts to accept flows to the service's name, and says so.
    pub(crate) fn serve(&self, service: &Service, default_name: &str) -> Result<(Stack, Listener)> {
        let name = service.name.as_deref().unwrap_or(default_name);
        let (stack, layer) = self.stack()?;
        let listener = stack.bind(name)?;
        layer.register(name)?;
        match layer.local_addr() {
            Some(addr) => say!("Serving \"{name}\" at {addr}."),
            None => say!("Serving \"{name}\"."),
        }
        Ok((stack, listener))
    }

    /// Allocates a flow to the target that carries packets of `size` bytes.
    pub(crate) fn connect_to(&self, target: &Target, default_name: &str, size: usize) -> Result<(Stack, Flow)> {
        let (stack, flow) = self.connect(target.name(default_name), target.qos)?;
        let most = flow.max_packet();
        if size > most {
            return Err(format!("this flow carries packets of at most {most} bytes: use a smaller --size").into());
        }
        Ok((stack, flow))
    }

    /// Allocates a flow to `name`.
    pub(crate) fn connect(&self, name: &str, qos: QosSpec) -> Result<(Stack, Flow)> {
        let (stack, _) = self.stack()?;
        let flow = stack.flow(name).qos(qos).alloc().map_err(with_advice)?;
        Ok((stack, flow))
    }
}

/// The error, and which of these programs' options may help.
fn with_advice(error: AllocError) -> Box<dyn Error + Send + Sync> {
    match &error {
        AllocError::Failed(Failure::Unreachable(name)) => {
            format!("nobody knows where the name \"{name}\" is: say so with --host {name}=IP[:PORT]").into()
        }
        AllocError::Failed(Failure::Refused(Code::CRYPT)) => {
            format!("{error}: give this side the same --encrypt as the server").into()
        }
        _ => error.into(),
    }
}

fn name_and_addr(text: &str) -> std::result::Result<(String, String), &'static str> {
    let (name, addr) = text.split_once('=').ok_or("write NAME=IP or NAME=IP:PORT")?;
    Ok((name.to_owned(), addr.to_owned()))
}

/// Sends what is on its way and closes the flow.
pub(crate) fn close(flow: Flow) {
    // Programs have said by now what they have to say; the other end will notice what is missing.
    let _ = flow.close(Duration::from_secs(1));
}

/// The end of a program: 0 if it did what it is for, else 1, and the error with its causes.
pub(crate) fn finish(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(e) = cause {
                text += &format!(": {e}");
                cause = e.source();
            }
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}
