//! Two processes, each with its own stack, talk over an encrypted and reliable flow.
//!
//! `cargo run --bin quickstart` starts itself twice, as a server and as a client. What the two say is printed in the order
//! in which it happens. `--size MIB` sets how much each sends to the other.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use o7s::{Flow, QosSpec, SecurityConfig, Stack, Udp4};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the command line says.
struct Options {
    /// What this process is; both are started if it is not given.
    role: Option<Role>,
    /// Address of the server, for the client.
    at: String,
    /// Data that each sends, in MiB.
    size: u32,
}

enum Role {
    Server,
    Client,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { role: None, at: String::new(), size: 8 };
        let mut args = args.skip(1);
        while let Some(name) = args.next() {
            let value = args.next().unwrap_or_default();
            match (name.as_str(), value.as_str()) {
                ("--role", "server") => options.role = Some(Role::Server),
                ("--role", "client") => options.role = Some(Role::Client),
                ("--at", _) => options.at = value,
                ("--size", _) => {
                    let size = value.parse().ok().filter(|size| (1..=1024).contains(size));
                    options.size = size.ok_or("--size takes 1 to 1024 MiB")?;
                }
                _ => return Err("usage: quickstart [--size MIB]".into()),
            }
        }
        Ok(options)
    }
}

/// The name of the server; where it is, only the layer has to know.
const NAME: &str = "library";
const PATIENCE: Duration = Duration::from_secs(30);
/// The server announces its address with this.
const READY: &str = "ready at ";

fn main() -> ExitCode {
    let run = |options: Options| match options.role {
        None => both(options.size),
        Some(Role::Server) => server(options.size),
        Some(Role::Client) => client(options.size, &options.at),
    };
    match Options::parse(std::env::args()).and_then(run) {
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

    let flow = listener.accept_timeout(PATIENCE)?;
    describe(&flow);
    let start = stack.now();
    receive(&flow, &sample(size, 1))?;
    let time = stack.now() - start;
    say(&format!("received {}, all of it correct", speed(size, time)));
    send(&flow, &sample(size, 2))?;
    flow.close(PATIENCE)?;
    say("closed: the client has acknowledged everything");
    Ok(())
}

fn client(size: u32, at: &str) -> Result<()> {
    let stack = Stack::builder().security(security()?).build()?;
    stack.udp4(Udp4::bind("127.0.0.1:0").host(NAME, at))?;

    let start = stack.now();
    let flow = stack.flow(NAME).qos(QosSpec::DATA).timeout(PATIENCE).alloc()?;
    let time = (stack.now() - start).as_secs_f64() * 1e3;
    say(&format!("flow to \"{NAME}\" allocated, keys agreed, in {time:.2} ms"));
    describe(&flow);

    send(&flow, &sample(size, 1))?;
    let start = stack.now();
    receive(&flow, &sample(size, 2))?;
    let time = stack.now() - start;
    say(&format!("received {}, all of it correct", speed(size, time)));
    flow.close(PATIENCE)?;
    Ok(())
}

/// Sends data as a stream of bytes.
fn send(flow: &Flow, data: &[u8]) -> Result<()> {
    flow.set_write_timeout(Some(PATIENCE));
    let mut stream = flow.stream();
    stream.write_all(data)?;
    stream.flush()?;
    Ok(())
}

/// Receives what [`send`] sent, and compares it with what it should be.
fn receive(flow: &Flow, expected: &[u8]) -> Result<()> {
    flow.set_read_timeout(Some(PATIENCE));
    let mut data = vec![0; expected.len()];
    flow.stream().read_exact(&mut data)?;
    if data != expected {
        return Err("the data that arrived is not what was sent".into());
    }
    Ok(())
}

/// Data that looks different in every place.
fn sample(mib: u32, seed: u32) -> Vec<u8> {
    let words = (0..mib << 18).map(|i| i.wrapping_add(seed).wrapping_mul(0x9e37_79b1).rotate_left(i % 32));
    words.flat_map(u32::to_le_bytes).collect()
}

fn describe(flow: &Flow) {
    let reliable = if flow.qos().is_reliable() { "reliable" } else { "NOT reliable" };
    say(&format!("the flow is {}; {reliable}, over {:?}", flow.security(), flow.layer()));
}

fn speed(mib: u32, time: Duration) -> String {
    let megabytes = f64::from(mib) * f64::from(1 << 20) / 1e6;
    let build = if cfg!(debug_assertions) { " (a development build; try --release)" } else { "" };
    format!("{mib} MiB at {:.0} MB/s{build}", megabytes / time.as_secs_f64().max(1e-9))
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
