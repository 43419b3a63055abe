//! A node of o7s in a host of its own, that does what it is told, line by line, and what tells it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::process::ChildStdin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use o7s::settings::{CongestionAvoidance, RoutePolicy};
use o7s::{BroadcastLayer, ConnectOptions, Eth, Flow, IpcpHandle, SecurityConfig, Stack, Udp4, UnicastLayer};

use crate::net::{Host, Service, wait_for};

/// The test that is not one: it runs in a host and is a node.
pub(crate) const HELPER: &str = "o7s_node";
/// Tells the helper that it is wanted.
pub(crate) const SWITCH: &str = "O7S_INTEROP_NODE";
/// Starts the last line of each answer.
const DONE: &str = "done:";
/// The smallest packet of oping, and what is in its beginning.
const PING: usize = 64;
const REQUEST: [u8; 4] = [0, 0, 0, 0];
const REPLY: [u8; 4] = [0, 0, 0, 1];
/// How long it may take to join and to connect, with what is lost on the way. A reference that hangs does so for good.
const LIMIT: Duration = Duration::from_secs(6);
/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(1);

type Told<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Does what the lines of its standard input say, until there are no more. It is at an address, or at the wire itself.
pub(crate) fn obey(place: &str) -> Told<()> {
    let stack = Stack::new()?;
    let below = match place {
        "eth-dix" => stack.eth(Eth::dix("wire"))?,
        "eth-llc" => stack.eth(Eth::llc("wire"))?,
        address => stack.udp4(Udp4::bind(address))?,
    };
    let mut node = Node {
        streams: Vec::new(),
        sinks: BTreeMap::new(),
        stack,
        below,
        member: None,
        answered: Arc::default(),
        heard: Arc::default(),
    };
    answer(&Ok(String::new()));
    for line in io::stdin().lock().lines() {
        answer(&node.tell(&line?));
    }
    Ok(())
}

fn answer(outcome: &Told<String>) {
    match outcome {
        Ok(text) => println!("{DONE} ok {text}"),
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(e) = cause {
                text += &format!(": {e}");
                cause = e.source();
            }
            println!("{DONE} failed {text}");
        }
    }
}

/// Pings of a flow that go on.
#[derive(Default)]
struct Stream {
    sent: AtomicUsize,
    answered: AtomicUsize,
}

struct Node {
    /// Since the start.
    streams: Vec<Arc<Stream>>,
    /// Bytes that have come for a name.
    sinks: BTreeMap<String, Arc<AtomicUsize>>,
    stack: Stack,
    below: IpcpHandle,
    member: Option<IpcpHandle>,
    /// Pings answered on flows that are not encrypted, and on those that are.
    answered: Arc<[AtomicUsize; 2]>,
    /// What was said in a broadcast layer.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Node {
    fn member(&self) -> Told<&IpcpHandle> {
        self.member.as_ref().ok_or_else(|| "neither bootstrapped nor enrolled".into())
    }

    fn tell(&mut self, line: &str) -> Told<String> {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["bootstrap", name, layer, ref options @ ..] => {
                let member = self.stack.unicast(name).over(&self.below).bootstrap(layer_of(layer, options)?)?;
                self.member = Some(member);
            }
            ["enroll", name, by] => {
                self.member = Some(self.stack.unicast(name).over(&self.below).timeout(LIMIT).enroll(by)?);
            }
            ["broadcast-bootstrap", name, layer] => {
                let layer = BroadcastLayer::new(layer);
                self.member = Some(self.stack.broadcast(name).over(&self.below).bootstrap(layer)?);
            }
            ["broadcast-enroll", name, by] => {
                self.member = Some(self.stack.broadcast(name).over(&self.below).timeout(LIMIT).enroll(by)?);
            }
            ["connect", to] => self.member()?.connect_with(to, ConnectOptions::new().timeout(LIMIT))?,
            ["listen", layer] => self.listen(layer)?,
            ["say", layer, what] => self.say(layer, what)?,
            ["heard"] => return Ok(self.heard.lock().map_err(|_| "a listener has failed")?.join(" ")),
            ["encrypt", name, how] => {
                let config: SecurityConfig = how.parse()?;
                self.stack.set_security(name, config.clone(), config)?;
            }
            ["serve", name] => self.serve(name)?,
            ["ping", name, qos, count] => return self.ping(name, qos, count.parse()?),
            ["stop", name] => self.member()?.unregister(name),
            ["stream", name, millis] => self.stream(name, Duration::from_millis(millis.parse()?))?,
            ["streamed"] => {
                let told = |stream: &Arc<Stream>| {
                    format!("{}/{}", stream.answered.load(Ordering::Relaxed), stream.sent.load(Ordering::Relaxed))
                };
                return Ok(self.streams.iter().map(told).collect::<Vec<_>>().join(" "));
            }
            ["sink", name] => self.sink(name)?,
            ["sunk", name] => {
                let sink = self.sinks.get(name).ok_or("no such sink")?;
                return Ok(sink.load(Ordering::Relaxed).to_string());
            }
            ["flood", name, seconds, size] => self.flood(name, Duration::from_secs(seconds.parse()?), size.parse()?)?,
            ["answered", "plain"] => return Ok(self.answered[0].load(Ordering::Relaxed).to_string()),
            ["answered", "encrypted"] => return Ok(self.answered[1].load(Ordering::Relaxed).to_string()),
            ["forwarded"] => return self.forwarded(),
            ["links"] => return self.links(),
            // For whoever reads the log.
            ["rib"] => println!("{}", self.stack.rib()),
            _ => return Err(format!("no such command: {line}").into()),
        }
        Ok(String::new())
    }

    /// Answers pings to `name`, which is registered in the layer.
    fn serve(&self, name: &str) -> Told<()> {
        let listener = self.stack.bind(name)?;
        self.member()?.register(name)?;
        let answered = Arc::clone(&self.answered);
        thread::spawn(move || {
            while let Ok(flow) = listener.accept() {
                let answered = Arc::clone(&answered);
                thread::spawn(move || echo(&flow, &answered[usize::from(flow.is_encrypted())]));
            }
        });
        Ok(())
    }

    /// Notes what is said in a broadcast layer.
    fn listen(&self, layer: &str) -> Told<()> {
        let flow = self.stack.join(layer)?;
        let heard = Arc::clone(&self.heard);
        thread::spawn(move || {
            let mut buf = [0; 2048];
            while let Ok(n) = flow.read(&mut buf) {
                let text = String::from_utf8_lossy(&buf[..n]);
                if let Ok(mut heard) = heard.lock() {
                    heard.push(text.trim_end_matches('\0').to_owned());
                }
            }
        });
        Ok(())
    }

    /// Says one word, as obc does: with a zero behind it.
    fn say(&self, layer: &str, what: &str) -> Told<()> {
        let flow = self.stack.join(layer)?;
        flow.write(&[what.as_bytes(), b"\0"].concat())?;
        let _ = flow.close(Duration::from_millis(500));
        Ok(())
    }

    fn ping(&self, name: &str, qos: &str, count: u32) -> Told<String> {
        let flow = self.stack.flow(name).qos(qos.parse()?).timeout(Duration::from_secs(4)).alloc()?;
        let mut replies = 0;
        for seq in 0..count {
            let mut packet = [0; PING];
            packet[..4].copy_from_slice(&REQUEST);
            packet[4..8].copy_from_slice(&seq.to_be_bytes());
            flow.write(&packet)?;
            let mut buf = [0; 2048];
            if flow
                .read_timeout(&mut buf, PATIENCE)
                .is_ok_and(|n| n == PING && buf[..4] == REPLY && buf[4..8] == packet[4..8])
            {
                replies += 1;
            }
        }
        let how = if flow.is_encrypted() { "encrypted" } else { "plain" };
        let _ = flow.close(Duration::from_millis(500));
        Ok(format!("{replies} {how}"))
    }

    /// Pings a name over one flow, until the end, whatever becomes of them.
    fn stream(&mut self, name: &str, pause: Duration) -> Told<()> {
        let flow = self.stack.flow(name).qos("raw".parse()?).timeout(Duration::from_secs(4)).alloc()?;
        let stream = Arc::new(Stream::default());
        self.streams.push(Arc::clone(&stream));
        thread::spawn(move || {
            let mut buf = [0; 2048];
            let mut last = None;
            for seq in 0_u32.. {
                let mut packet = [0; PING];
                packet[4..8].copy_from_slice(&seq.to_be_bytes());
                if flow.write_timeout(&packet, pause).is_ok() {
                    stream.sent.fetch_add(1, Ordering::Relaxed);
                }
                // Answers may be late, but not come twice.
                let next = Instant::now() + pause;
                while let Some(left) = next.checked_duration_since(Instant::now()) {
                    if flow.read_timeout(&mut buf, left).is_ok_and(|n| n == PING && buf[..4] == REPLY) {
                        let of = u32::from_be_bytes([buf[4], buf[5], buf[6], buf[7]]);
                        if last.is_none_or(|last| last < of) {
                            last = Some(of);
                            stream.answered.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
        });
        Ok(())
    }

    /// Counts what comes for a name, which is registered in the layer.
    fn sink(&mut self, name: &str) -> Told<()> {
        let listener = self.stack.bind(name)?;
        self.member()?.register(name)?;
        let sink = Arc::new(AtomicUsize::new(0));
        self.sinks.insert(name.to_owned(), Arc::clone(&sink));
        thread::spawn(move || {
            while let Ok(flow) = listener.accept() {
                let sink = Arc::clone(&sink);
                thread::spawn(move || {
                    let mut buf = [0; 2048];
                    while let Ok(n) = flow.read(&mut buf) {
                        sink.fetch_add(n, Ordering::Relaxed);
                    }
                });
            }
        });
        Ok(())
    }

    /// Sends as much to a name as the flow takes.
    fn flood(&self, name: &str, time: Duration, size: usize) -> Told<()> {
        let flow = self.stack.flow(name).qos("raw".parse()?).timeout(Duration::from_secs(4)).alloc()?;
        thread::spawn(move || {
            let (end, packet) = (Instant::now() + time, vec![0; size]);
            while Instant::now() < end {
                let _ = flow.write_timeout(&packet, Duration::from_millis(100));
            }
        });
        Ok(())
    }

    /// How many packets have passed from one neighbour to another, and how many have not.
    fn forwarded(&self) -> Told<String> {
        let rib = self.member()?.rib();
        let dt = rib.children.iter().find(|part| part.name.starts_with("dt.")).ok_or("no data transfer")?;
        let (mut passed, mut lost) = (0, rib.get("no_route").unwrap_or(0));
        for neighbour in &dt.children {
            let count = |path: &str| neighbour.get(path).unwrap_or(0);
            lost += ["expired", "unroutable", "failed", "overflow"].map(count).iter().sum::<u64>();
            passed += neighbour
                .children
                .iter()
                .map(|cube| ["sent", "local_sent"].map(|n| cube.get(n).unwrap_or(0)))
                .map(|[sent, own]| sent - own)
                .sum::<u64>();
        }
        Ok(format!("{passed} {lost}"))
    }

    /// All that is known of who is next to whom, in an order that does not depend on who asks.
    fn links(&self) -> Told<String> {
        let rib = self.member()?.rib();
        let lsdb = rib.child("lsdb").ok_or("no link-state database")?;
        let stands = |link: &&o7s::rib::Rib| link.name.contains("--") && link.get("withdrawn") == Some(0);
        let mut links: Vec<_> = lsdb.children.iter().filter(stands).map(|link| link.name.clone()).collect();
        links.sort();
        Ok(links.join(" "))
    }
}

fn layer_of(name: &str, options: &[&str]) -> Told<UnicastLayer> {
    let mut layer = UnicastLayer::new(name);
    for pair in options.chunks(2) {
        layer = match *pair {
            ["ls_t_recalc", secs] => layer.recalculation_interval(Duration::from_secs(secs.parse()?)),
            ["routing", "lfa"] => layer.routing(RoutePolicy::LoopFreeAlternates),
            ["routing", "ecmp"] => layer.routing(RoutePolicy::EqualCostMultipath),
            ["congestion", "none"] => layer.congestion(CongestionAvoidance::None),
            ["congestion", "mb-ecn"] => layer.congestion(CongestionAvoidance::MbEcn),
            ["hash", "SHA3_512"] => layer.hash(o7s::types::name::HashAlg::Sha3_512),
            _ => return Err(format!("no such option: {pair:?}").into()),
        };
    }
    Ok(layer)
}

fn echo(flow: &Flow, answered: &AtomicUsize) {
    let mut buf = [0; 2048];
    while let Ok(n) = flow.read(&mut buf) {
        if buf.starts_with(&REQUEST) {
            buf[..4].copy_from_slice(&REPLY);
            if flow.write(&buf[..n]).is_ok() {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A node of o7s that runs in a host.
pub(crate) struct Member {
    service: Service,
    stdin: RefCell<ChildStdin>,
}

impl Member {
    /// A stack with an IPCP over UDP. Names are in the host's own file.
    pub(crate) fn start(host: &Host) -> io::Result<Self> {
        Self::start_at(&host.address.to_string(), host)
    }

    /// As [`start`](Self::start), with an IPCP of an Ethernet layer of this type instead.
    pub(crate) fn start_ethernet(kind: &str, host: &Host) -> io::Result<Self> {
        Self::start_at(kind, host)
    }

    fn start_at(place: &str, host: &Host) -> io::Result<Self> {
        let exe = std::env::current_exe()?;
        let exe = exe.to_string_lossy();
        let switch = format!("{SWITCH}={place}");
        let (service, stdin) = host.spawn_told(&[
            "env",
            &switch,
            &exe,
            "--ignored",
            "--exact",
            HELPER,
            "--nocapture",
            "--test-threads=1",
        ])?;
        let member = Self { service, stdin: RefCell::new(stdin) };
        member.answer_after(0, Duration::from_secs(10))?;
        Ok(member)
    }

    /// Has it do something, and gives what it says.
    pub(crate) fn tell(&self, line: &str) -> io::Result<String> {
        let before = self.answers().len();
        {
            let mut stdin = self.stdin.borrow_mut();
            writeln!(stdin, "{line}")?;
            stdin.flush()?;
        }
        self.answer_after(before, Duration::from_secs(25)).map_err(|e| io::Error::other(format!("o7s: {line}: {e}")))
    }

    fn answers(&self) -> Vec<String> {
        let output = self.service.output();
        // Whoever is asked while it writes a line has no answer yet.
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.split(DONE).skip(1).map(str::to_owned).collect()
    }

    fn answer_after(&self, before: usize, limit: Duration) -> io::Result<String> {
        let answer = wait_for(limit, || self.answers().into_iter().nth(before))
            .ok_or_else(|| io::Error::other("no answer in time"))?;
        match answer.trim_start().split_once(' ').unwrap_or((answer.trim(), "")) {
            ("ok", text) => Ok(text.trim_end().to_owned()),
            (_, text) => Err(io::Error::other(text.trim_end().to_owned())),
        }
    }
}
