//! Two processes, each with its own stack, talk over an encrypted and reliable flow.
//!
//! `cargo run --release --example quickstart` starts itself twice, as a server and as a client. What the two say is
//! printed in the order in which it happens.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use o7s::crypto::hash::sha256;
use o7s::{Flow, QosSpec, SecurityConfig, Stack, Udp4};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Starts a server and a client process and has them exchange data over an encrypted, reliable flow.
#[derive(Parser)]
struct Options {
    /// What this process is; without it, both are started
    #[arg(long, value_enum, requires_if("client", "at"))]
    role: Option<Role>,

    /// Where the server is
    #[arg(long, value_name = "IP:PORT")]
    at: Option<String>,

    /// How much to send each way, MiB
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    size: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Server,
    Client,
}

/// The name of the server; where it is, only the layer has to know.
const NAME: &str = "library";
const PATIENCE: Duration = Duration::from_secs(30);
/// The server announces its address with this.
const READY: &str = "ready at ";

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.role {
        None => both(options.size),
        Some(Role::Server) => server(options.size),
        Some(Role::Client) => client(options.size, &options.at.unwrap_or_default()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every flow of these stacks is encrypted, or it does not come to be.
fn security() -> Result<SecurityConfig> {
    Ok("X25519,aes-256-gcm".parse()?)
}

fn server(size: u32) -> Result<()> {
    let stack = Stack::builder().security(security()?).build()?;
    let layer = stack.udp4(Udp4::bind("127.0.0.1:0"))?;
    layer.register(NAME)?;
    let listener = stack.bind(NAME)?;
    let addr = layer.local_addr().ok_or("the layer has no socket")?;
    say(&format!("{READY}{addr}, serving the name \"{NAME}\""));

    let mut flow = listener.accept_timeout(PATIENCE)?;
    describe(&flow);
    let start = stack.now();
    let data = receive(&mut flow)?;
    let time = stack.now() - start;
    say(&format!("received {}, checksum correct", speed(data.len(), time)));
    send(&mut flow, &sample(size, 2))?;
    flow.close(PATIENCE)?;
    say("closed: the client has acknowledged everything");
    Ok(())
}

fn client(size: u32, at: &str) -> Result<()> {
    let stack = Stack::builder().security(security()?).build()?;
    stack.udp4(Udp4::bind("127.0.0.1:0").host(NAME, at))?;

    let start = stack.now();
    let mut flow = stack.flow(NAME).qos(QosSpec::DATA).timeout(PATIENCE).alloc()?;
    let time = (stack.now() - start).as_secs_f64() * 1e3;
    say(&format!("flow to \"{NAME}\" allocated, keys agreed, in {time:.2} ms"));
    describe(&flow);

    send(&mut flow, &sample(size, 1))?;
    let start = stack.now();
    let data = receive(&mut flow)?;
    let time = stack.now() - start;
    say(&format!("received {}, checksum correct", speed(data.len(), time)));
    flow.close(PATIENCE)?;
    Ok(())
}

/// Sends length, SHA-256 and data, as a stream of bytes.
fn send(flow: &mut Flow, data: &[u8]) -> Result<()> {
    flow.set_write_timeout(Some(PATIENCE));
    flow.write_all(&u32::try_from(data.len())?.to_be_bytes())?;
    flow.write_all(&sha256(&[data]))?;
    flow.write_all(data)?;
    flow.flush()?;
    Ok(())
}

/// Receives what [`send`] sent, and compares the checksum.
fn receive(flow: &mut Flow) -> Result<Vec<u8>> {
    flow.set_read_timeout(Some(PATIENCE));
    let (mut len, mut sum) = ([0; 4], [0; 32]);
    flow.read_exact(&mut len)?;
    flow.read_exact(&mut sum)?;
    let mut data = Vec::new();
    flow.take(u32::from_be_bytes(len).into()).read_to_end(&mut data)?;
    if sha256(&[&data]) != sum {
        return Err("the data that arrived is not what was sent".into());
    }
    Ok(data)
}

/// Data that looks different in every place.
fn sample(mib: u32, seed: u32) -> Vec<u8> {
    let words = (0..mib << 18).map(|i| i.wrapping_add(seed).wrapping_mul(0x9e37_79b1).rotate_left(i % 32));
    words.flat_map(u32::to_le_bytes).collect()
}

fn describe(flow: &Flow) {
    let encrypted = if flow.is_encrypted() { "encrypted" } else { "NOT encrypted" };
    let reliable = if flow.qos().is_reliable() { "reliable" } else { "NOT reliable" };
    say(&format!("the flow is {encrypted} (X25519, AES-256-GCM) and {reliable}, over {:?}", flow.layer()));
}

fn speed(bytes: usize, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(1e-9);
    format!("{:.1} MiB at {:.0} MB/s", bytes as f64 / f64::from(1 << 20), bytes as f64 / 1e6 / seconds)
}

/// Prints a line at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A process that does not outlive this one.
struct Process(Child);

impl Process {
    fn start(role: &str, more: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", role]).args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    fn lines(&mut self) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        Ok(BufReader::new(self.0.stdout.take().ok_or("the output is taken")?).lines())
    }

    fn end(&mut self, role: &str) -> Result<()> {
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the {role} failed: {status}").into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn both(size: u32) -> Result<()> {
    let size = size.to_string();
    let mut server = Process::start("server", &["--size", &size])?;
    let mut from_server = server.lines()?;
    let ready = from_server.next().ok_or("the server did not start")??;
    say(&format!("server: {ready}"));
    let at = ready.strip_prefix(READY).and_then(|rest| rest.split(',').next()).ok_or("the server is not ready")?;

    let mut client = Process::start("client", &["--at", at, "--size", &size])?;
    let from_client = client.lines()?;
    std::thread::scope(|scope| {
        scope.spawn(|| from_server.map_while(|line| line.ok()).for_each(|line| say(&format!("server: {line}"))));
        from_client.map_while(|line| line.ok()).for_each(|line| say(&format!("client: {line}")));
    });
    client.end("client")?;
    server.end("server")?;
    say(&format!("{size} MiB each way between two processes, encrypted and reliable: done"));
    Ok(())
}
