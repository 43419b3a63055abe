//! Common parts of the tools: the options that make a stack, units, and the end of a program.
#![allow(dead_code, unused_imports, reason = "every program uses a part")]

mod advice;
pub(crate) mod capture;
pub(crate) mod logger;
mod losses;
pub(crate) mod rate;
pub(crate) mod stop;
pub(crate) mod units;

use std::error::Error;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::{ArgAction, Args};
use o7s::resolve::HostTable;
use o7s::{
    Eth, Flow, IpcpHandle, IpcpKind, Listener, Name, NameError, NetworkConfig, QosSpec, SecurityConfig, Stack, Udp4,
    Udp6,
};
use stop::Why;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What `--help` says of the end of a program.
pub(crate) const STATUS: &str = "\
Ends with status 0 if it did what it is for, 1 if not or after an error, 2 if the options are wrong. SIGINT (Ctrl-C),
SIGTERM and, on Linux, SIGHUP end it early, in order and with the same status: a client tells what came until then, the
other ends of flows are told, layers are left. Before it has a flow or serves, and the second time, they end it at once.
A script that starts it in the background with & has it ignore SIGINT: send it SIGTERM.";

/// The last part of a tool's `--help`.
pub(crate) fn after_help(text: &str) -> String {
    format!("{text}\n\n{STATUS}\nIf nobody reads what it prints any more, it ends as by SIGPIPE (141 in a shell).")
}

/// As [`after_help`], of a tool that has no flows and layers of its own.
pub(crate) fn after_help_of_reader(text: &str) -> String {
    format!(
        "{text}\n\nEnds with status 0 if there was something to read, 1 if not or after an error, 2 if the options are wrong.\n\
         If nobody reads what it prints any more, it ends as by SIGPIPE (141 in a shell)."
    )
}

/// Prints a line at once: whoever reads a log or a pipe wants it now, not when a buffer is full. If nobody takes it any
/// more, the program ends early.
macro_rules! say {
    ($($arg:tt)*) => { $crate::common::print_line(format_args!($($arg)*)) };
}
pub(crate) use say;

pub(crate) fn print_line(line: Arguments<'_>) {
    let Err(error) = try_print_line(line) else { return };
    let why = if error.kind() == ErrorKind::BrokenPipe { Why::Pipe } else { Why::Output(error) };
    // What is printed on the way to the end nobody needs to take.
    if !stop::requested() && !stop::request(why) {
        end_for_output();
    }
}

pub(crate) fn try_print_line(line: Arguments<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

/// Prints a line on standard error. A closed pipe there is no reason to fail.
pub(crate) fn complain(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Ends the program if what is wrong with its output is why it should.
fn end_for_output() {
    match stop::why() {
        Some(Why::Pipe) => stop::end_as_by_sigpipe(),
        Some(Why::Output(error)) => {
            complain(format_args!("error: standard output: {error}"));
            std::process::exit(1)
        }
        Some(Why::Signal) | None => {}
    }
}

/// Ends the program as it is to: in order, unless its output is what is wrong.
pub(crate) fn end() -> ! {
    end_for_output();
    std::process::exit(0)
}

/// The options that all programs build their stack from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Join a UDP/IPv4 layer at this address of this host. The port is 3435 if not given; a client takes any other one if
    /// that is in use. Hosts are called at port 3435 in any case
    #[arg(long, value_name = "IP[:PORT]", conflicts_with = "config")]
    udp4: Option<String>,

    /// Join a UDP/IPv6 layer at this address of this host, with the interface of a link-local one (fe80::1%eth0). Ports are
    /// as with --udp4. Several layers may be joined
    #[arg(long, value_name = "IP|[IP]:PORT", conflicts_with = "config")]
    udp6: Option<String>,

    /// Join an Ethernet layer, without any IP, at this network interface, with DIX framing (Ethernet II). Needs Linux and
    /// the right CAP_NET_RAW
    #[arg(long, value_name = "DEV", conflicts_with = "config")]
    eth_dix: Option<String>,

    /// The EtherType of the Ethernet layer, which all its members use, 0x0600 to 0xfffe [default: 0xa000]
    #[arg(long, value_name = "N", requires = "eth_dix", value_parser = units::ethertype)]
    ethertype: Option<u16>,

    /// As --eth-dix, with LLC framing (IEEE 802.2), whose packets are no larger than 1497 bytes
    #[arg(long, value_name = "DEV", conflicts_with_all = ["config", "eth_dix"])]
    eth_llc: Option<String>,

    /// Make the layers that this TOML file describes, in the reference's format. Each enrollment in it waits up to 20 s
    /// for the member that it is with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    surroundings: Surroundings,
}

/// What there is around the layers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct Surroundings {
    /// Where a name is. Names given here are looked up first; others are asked of the system's resolver (a line
    /// `IP <MD5 of the name>` in the hosts file, or the DNS). An IPv6 address is in brackets if a port follows. The port is
    /// 3435 if not given, that of the layer with --config. May be given several times, for a name once for each family
    #[arg(long = "host", value_name = "NAME=IP[:PORT]", value_parser = name_and_addr)]
    hosts: Vec<(Name, SocketAddr)>,

    /// Encrypt flows, and neither ask for nor accept others: key exchange (such as X25519 or X25519MLKEM768), cipher
    /// (aes-128-gcm, aes-192-gcm, aes-256-gcm or chacha20-poly1305) and key derivation (such as sha256). The stronger cipher
    /// of both ends is used; nobody is authenticated by it. A client without it asks for plain flows, a server without it
    /// takes either. [example: X25519,aes-256-gcm,sha256]
    #[arg(long, value_name = "KEX[,CIPHER[,KDF]]")]
    encrypt: Option<SecurityConfig>,

    /// Take settings, certificates and keys from this directory, in the reference's layout: server/NAME and client/NAME with
    /// enc.conf, crt.pem and key.pem, cacert and untrusted with certificates. okey makes one. SIGHUP does not read it again
    #[arg(long, value_name = "DIR")]
    security: Option<PathBuf>,

    /// Encrypt all flows, and refuse every other end that does not show a good certificate
    #[arg(long, requires = "security")]
    require_auth: bool,

    /// Write what passes to this file, for Wireshark and odump; a named pipe shows it as it passes. Keys of encrypted flows
    /// are in it only if the environment variable O7S_KEYLOGFILE names a file, to which they are appended as well
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Tell what goes on, on standard error: layers, neighbours and flows; twice for decisions, three times for packets
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// What only servers have.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct Service {
    /// Serve under this name; with --config, some IPCP in the file has to register it [default: the tool's own name]
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

impl Surroundings {
    fn stack(&self) -> Result<Stack> {
        logger::install(self.verbose);
        let mut builder = Stack::builder().security(self.encrypt.clone().unwrap_or_default());
        if let Some(directory) = &self.security {
            builder = builder.security_dir(directory);
        }
        if self.require_auth {
            builder = builder.authenticate_everything();
        }
        let stack = capture::with_key_log(builder)?.build()?;
        if let Some(file) = &self.pcap {
            capture::start(file, &stack)?;
        }
        Ok(stack)
    }

    fn table(&self) -> Arc<HostTable> {
        let table = HostTable::new();
        self.hosts.iter().for_each(|(name, addr)| table.insert_at(name, *addr));
        table
    }

    /// A stack with the layers that a file describes, and what is wrong with the file on standard error.
    pub(crate) fn configured(&self, file: &Path) -> Result<(Stack, Vec<IpcpHandle>)> {
        let config = NetworkConfig::read(file)?;
        for warning in config.warnings() {
            complain(format_args!("warning: {}: {warning}", file.display()));
        }
        let stack = self.stack()?;
        let layers = stack.network(&config).hosts(&self.table()).build().map_err(advice::on_configuring)?;
        Ok((stack, layers))
    }
}

/// Whether a name is known in a layer.
fn is_registered(stack: &Stack, name: &str) -> bool {
    let rib = stack.rib();
    let mut ipcps = rib.child("ipcps").into_iter().flat_map(|list| &list.children);
    ipcps.any(|ipcp| ipcp.child("registered").is_some_and(|names| names.child(name).is_some()))
}

impl Network {
    /// The Ethernet layer that was asked for.
    fn ethernet(&self) -> Option<Eth> {
        let dix = self.eth_dix.as_deref().map(|dev| self.ethertype.into_iter().fold(Eth::dix(dev), Eth::ethertype));
        dix.or_else(|| self.eth_llc.as_deref().map(Eth::llc))
    }

    /// How the names of servers are found.
    fn lookup(&self, layers: &[IpcpHandle]) -> advice::Lookup {
        let is_routed = |layer: &IpcpHandle| layer.info().kind == IpcpKind::Unicast;
        match () {
            () if self.config.is_some() && layers.iter().any(is_routed) => advice::Lookup::Directory,
            () if self.ethernet().is_some() => advice::Lookup::Question,
            () => advice::Lookup::Table,
        }
    }

    /// A stack with the layers that were asked for.
    pub(crate) fn stack(&self) -> Result<(Stack, Vec<IpcpHandle>)> {
        self.stack_of(false)
    }

    /// The stack of a client, or of a program that others call.
    fn stack_of(&self, is_client: bool) -> Result<(Stack, Vec<IpcpHandle>)> {
        let around = &self.surroundings;
        if let Some(file) = &self.config {
            return around.configured(file);
        }
        let eth = self.ethernet();
        if self.udp4.is_none() && self.udp6.is_none() && eth.is_none() {
            return Err(Usage(
                "without a layer nobody outside this program can be reached: \
                join one with --udp4 IP[:PORT], an address of this host (127.0.0.1 to stay on it), --udp6 IP, \
                or --eth-dix DEV, a network interface, or describe them in a file, with --config FILE",
            )
            .into());
        }
        let (stack, table) = (around.stack()?, around.table());
        let mut layers = Vec::new();
        if let Some(eth) = eth {
            layers.push(stack.eth(eth)?);
        }
        if let Some(addr) = &self.udp6 {
            layers.push(advice::join_udp(addr, is_client, |at| stack.udp6(Udp6::bind(at).table(&table)))?);
        }
        if let Some(addr) = &self.udp4 {
            layers.push(advice::join_udp(addr, is_client, |at| stack.udp4(Udp4::bind(at).table(&table)))?);
        }
        Ok((stack, layers))
    }

    /// Starts to accept flows to the service's name, and says so. When the program is to end, the stack is shut down.
    pub(crate) fn serve(&self, service: &Service, default_name: &str) -> Result<(Stack, Listener)> {
        let name = service.name.as_deref().unwrap_or(default_name);
        let (stack, layers) = self.stack()?;
        let listener = stack.bind(name)?;
        let at = match &self.config {
            None => {
                layers.iter().try_for_each(|layer| layer.register(name))?;
                let at = layers.iter().filter_map(|layer| Some(layer.local_addr()?.to_string()));
                let at: Vec<_> = at.chain(self.eth_dix.clone()).chain(self.eth_llc.clone()).collect();
                Some(format!(" at {}", at.join(" and ")))
            }
            Some(_) if is_registered(&stack, name) => None,
            Some(_) => {
                let such_as = |layer: &IpcpHandle| format!(", such as [{}.{}]", layer.info().kind, layer.info().name);
                let such_as = layers.last().map(such_as).unwrap_or_default();
                return Err(format!(
                    "the name \"{name}\" is registered in no layer, so no client would find it: \
                     add it to the list `reg` of an IPCP in the file{such_as}"
                )
                .into());
            }
        };
        let ends = stack.clone();
        stop::on_request(move || ends.shutdown());
        logger::is_there();
        say!("Serving \"{name}\"{}.", at.unwrap_or_default());
        Ok((stack, listener))
    }

    /// Allocates a flow to the target that carries messages of `size` bytes.
    pub(crate) fn connect_to(&self, target: &Target, default_name: &str, size: usize) -> Result<(Stack, Arc<Flow>)> {
        let (stack, flow) = self.connect(target.name(default_name), target.qos)?;
        let most = flow.max_write();
        if size > most {
            return Err(format!("this flow carries messages of at most {most} bytes: use a smaller --size").into());
        }
        Ok((stack, flow))
    }

    /// Allocates a flow to `name`. When the program is to end, the flow is closed, so that its calls return, and the thread
    /// that asked for it is unparked.
    pub(crate) fn connect(&self, name: &str, qos: QosSpec) -> Result<(Stack, Arc<Flow>)> {
        let (stack, layers) = self.stack_of(true)?;
        let flow = stack.flow(name).qos(qos).alloc();
        logger::is_there();
        let how = self.lookup(&layers);
        let flow = Arc::new(flow.map_err(|error| advice::on_calling(error, how))?);
        let (ends, waits) = (Arc::clone(&flow), thread::current());
        stop::on_request(move || {
            ends.shutdown(Shutdown::Both);
            waits.unpark();
        });
        Ok((stack, flow))
    }
}

/// Says how a flow is protected, and who the other end is.
pub(crate) fn describe(flow: &Flow, name: &str) {
    let (layer, security, peer) = (flow.layer(), flow.security(), flow.peer());
    match peer.claimed() {
        Some(_) => say!("Flow to \"{name}\" over {layer}: {security}, authenticated as {peer}."),
        None => say!("Flow to \"{name}\" over {layer}: {security}, {peer}."),
    }
}

/// Of whom an accepted flow is: nothing if nobody says so.
pub(crate) fn whose(flow: &Flow) -> String {
    let peer = flow.peer();
    if peer.claimed().is_some() { format!(" of {peer}") } else { String::new() }
}

/// Waits for the next flow; `None` if the program is to end.
pub(crate) fn accept(listener: &Listener) -> Result<Option<Flow>> {
    match listener.accept() {
        Ok(flow) => Ok(Some(flow)),
        Err(_) if stop::requested() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `NAME=IP` or `NAME=IP:PORT`; without a port, at that of the layer.
fn name_and_addr(text: &str) -> std::result::Result<(Name, SocketAddr), String> {
    let (name, text) = text.split_once('=').ok_or("write NAME=IP or NAME=IP:PORT")?;
    let with_port = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)));
    let addr = with_port.ok().or_else(|| on_interface(text));
    let addr = addr.ok_or_else(|| {
        format!("{text:?} is not an address, and names of hosts are not looked up: write NAME=IP or NAME=IP:PORT")
    })?;
    if addr.ip().is_unspecified() {
        return Err(format!("{text:?} is every address of a host that listens, and none to send to"));
    }
    Ok((name.parse().map_err(|error: NameError| error.to_string())?, addr))
}

/// A link-local address with the name of an interface, which the system's resolver reads: `fe80::1%eth0`,
/// `[fe80::1%eth0]:3435`, `[fe80::1%eth0]`.
fn on_interface(text: &str) -> Option<SocketAddr> {
    let (ip, port) = match text.strip_prefix('[') {
        Some(text) => {
            let (ip, port) = text.split_once(']')?;
            (ip, if port.is_empty() { 0 } else { port.strip_prefix(':')?.parse().ok()? })
        }
        None => (text, 0),
    };
    let is_on_link = ip.split_once('%')?.0.parse::<std::net::Ipv6Addr>().is_ok();
    is_on_link.then(|| (ip, port).to_socket_addrs().ok()?.next()).flatten()
}

/// Sends what is on its way and closes the flow.
pub(crate) fn close(flow: Flow) {
    // Programs have said by now what they have to say; the other end will notice what is missing.
    let _ = flow.close(Duration::from_secs(1));
}

/// How long a server may take for what is on its way when a client is done.
const TAKES: Duration = Duration::from_secs(5);

/// Closes the flow of a client, which has nothing more to do. An error if the flow is reliable and the server does not have
/// everything.
pub(crate) fn hang_up(flow: Arc<Flow>) -> Result<()> {
    stop::is_over();
    // If it is not the last handle, the flow is being closed by whoever ends the program.
    let Some(flow) = Arc::into_inner(flow) else { return Ok(()) };
    match flow.close(TAKES) {
        Err(error) if !stop::requested() => Err(format!("the server does not have everything: {error}").into()),
        _ => Ok(()),
    }
}

/// What is wrong with the options, though each of them is right.
#[derive(Debug)]
struct Usage(&'static str);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Usage {}

/// A program from its start to its end: status 0 if it did what it is for, else 1, and the error.
pub(crate) fn run(program: impl FnOnce() -> Result<bool>) -> ExitCode {
    stop::watch();
    let result = program();
    stop::settle();
    capture::finish();
    end_for_output();
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever ended it knows why its flow was closed.
        Err(_) if stop::requested() => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("error: {error}"));
            if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
