//! Several machines on one: each host has network, mounts and process ids of its own, joined by veth pairs.
//!
//! The namespaces have no names and hang on one process, which ends when its standard input closes. So nothing is
//! left behind, not even when the test itself is killed: the kernel then ends every process of the host and takes
//! the interfaces away with it.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The address of the host where clients run.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The address of the host where servers run.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// The same over IPv6.
pub(crate) const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);

/// What a layer of hosts is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The type of the layer, as both implementations call it.
    pub(crate) fn layer(self) -> &'static str {
        match self {
            Self::V4 => "udp4",
            Self::V6 => "udp6",
        }
    }
}

/// The programs without which no host can be made.
pub(crate) const TOOLS: [&str; 7] = ["ip", "unshare", "nsenter", "mount", "sh", "cat", "stdbuf"];

/// Starts the first line of every program's output, which tells its process id.
const PID: &str = "pid ";
/// Starts each line of a tap, whose output no report repeats.
pub(crate) const MARK: &str = "wire:";

/// Asks `probe` every few milliseconds until it yields something or `limit` is over.
pub(crate) fn wait_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// What every host is to see of the machine, and what it is to have for itself.
pub(crate) struct View {
    /// Directories with programs; they stay visible although `/tmp` is private.
    pub(crate) programs: Vec<PathBuf>,
    /// A directory that each host sees an own, empty version of.
    pub(crate) private: PathBuf,
}

/// How a program ended and what it wrote to both outputs.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Nothing if it had to be killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) output: String,
}

impl Finished {
    pub(crate) fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// In words, for the reports.
    pub(crate) fn ending(&self) -> String {
        match self.status {
            None => "killed after its time limit".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "unknown end".to_owned(),
            },
        }
    }
}

/// A program that runs until its host ends.
pub(crate) struct Service {
    /// Its process id as programs of the same host see it.
    pub(crate) pid: u32,
    child: Rc<RefCell<Child>>,
    log: PathBuf,
}

impl Service {
    /// Everything it has written so far.
    pub(crate) fn output(&self) -> String {
        let text = read_lossy(&self.log);
        match text.split_once('\n') {
            Some((first, rest)) if first.starts_with(PID) => rest.to_owned(),
            _ => text,
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child.borrow_mut().try_wait().ok().flatten()
    }
}

/// One of the machines.
pub(crate) struct Host {
    pub(crate) label: &'static str,
    pub(crate) address: Ipv4Addr,
    pub(crate) address6: Ipv6Addr,
    anchor: Child,
    dir: PathBuf,
    logs: Cell<u32>,
    /// The nsenter of each program. They have to stay until the host is gone: they collect what ends in it, and it
    /// is not gone before everything is collected.
    children: RefCell<Vec<Rc<RefCell<Child>>>>,
}

impl Host {
    fn start(label: &'static str, address: Ipv4Addr, dir: &Path, view: &View) -> io::Result<Self> {
        let dir = dir.join(label);
        fs::create_dir_all(dir.join("private"))?;
        fs::write(dir.join("hosts"), "127.0.0.1 localhost\n")?;
        let mut anchor = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = anchor.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        // The last part of both is the same.
        let address6 = Ipv6Addr::from_bits(NEAR6.to_bits() - 1 + u128::from(address.octets()[3]));
        let host = Self { label, address, address6, anchor, dir, logs: Cell::new(0), children: RefCell::default() };
        if line != "ready\n" {
            return Err(io::Error::other(format!("host {label}: no namespaces")));
        }
        // From here on things are mounted: never in the machine's own namespace.
        let own = fs::read_link("/proc/self/ns/mnt")?;
        let theirs = fs::read_link(format!("/proc/{}/ns/mnt", host.anchor.id()))?;
        assert_ne!(own, theirs, "host {label} shares the mounts of the machine");
        host.furnish(view)?;
        Ok(host)
    }

    /// Private directories, in an order in which no mount hides what a later one needs.
    fn furnish(&self, view: &View) -> io::Result<()> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        self.must(&["mount", "--bind", &text(&self.dir.join("hosts")), "/etc/hosts"])?;
        fs::create_dir_all(&view.private)?;
        self.must(&["mount", "--bind", &text(&self.dir.join("private")), &text(&view.private)])?;
        self.must(&["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"])?;
        self.must(&["mount", "-t", "tmpfs", "tmpfs", "/run"])?;
        // /run holds on to program directories below /tmp while /tmp is exchanged.
        let hidden: Vec<_> = view.programs.iter().filter(|dir| dir.starts_with("/tmp")).enumerate().collect();
        for (i, program) in &hidden {
            let kept = format!("/run/kept{i}");
            self.must(&["mkdir", &kept])?;
            self.must(&["mount", "--rbind", &text(program), &kept])?;
        }
        self.must(&["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp"])?;
        for (i, program) in &hidden {
            self.must(&["mkdir", "-p", &text(program)])?;
            self.must(&["mount", "--rbind", &format!("/run/kept{i}"), &text(program)])?;
        }
        self.must(&["ip", "link", "set", "lo", "up"])
    }

    /// Gives the host its addresses on the wire.
    fn connect(&self) -> io::Result<()> {
        self.must(&["ip", "addr", "add", &format!("{}/24", self.address), "dev", "wire"])?;
        // A kernel without IPv6 has none to give; what needs them says so.
        let _ = self.must(&["ip", "addr", "add", &format!("{}/64", self.address6), "dev", "wire", "nodad"]);
        self.must(&["ip", "link", "set", "wire", "up"])
    }

    /// Where the host is.
    pub(crate) fn at(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.address.into(),
            Family::V6 => self.address6.into(),
        }
    }

    /// A command that will run in this host.
    fn command(&self, argv: &[&str]) -> Command {
        let anchor = self.anchor.id();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{anchor}/ns/net"))
            .arg(format!("--mount=/proc/{anchor}/ns/mnt"))
            .arg(format!("--pid=/proc/{anchor}/ns/pid_for_children"))
            .arg("--wd=/")
            .arg("--")
            .args(argv)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn must(&self, argv: &[&str]) -> io::Result<()> {
        let done = self.run(Duration::from_secs(10), argv)?;
        if done.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("{}: {argv:?}: {}: {}", self.label, done.ending(), done.output)))
    }

    fn new_log(&self) -> io::Result<(PathBuf, File)> {
        self.logs.set(self.logs.get() + 1);
        let path = self.dir.join(format!("{}.log", self.logs.get()));
        let file = File::create(&path)?;
        Ok((path, file))
    }

    /// Runs a program to its end, but not longer than `limit`.
    pub(crate) fn run(&self, limit: Duration, argv: &[&str]) -> io::Result<Finished> {
        let service = self.spawn(argv)?;
        let status = wait_for(limit, || service.ended());
        if status.is_none() {
            self.end(&service)?;
        }
        Ok(Finished { status, output: service.output() })
    }

    /// Starts a program; it ends with the host if not before.
    pub(crate) fn spawn(&self, argv: &[&str]) -> io::Result<Service> {
        Ok(self.start_program(argv, Stdio::null())?.0)
    }

    /// Starts a program that is told what to do on its standard input.
    pub(crate) fn spawn_told(&self, argv: &[&str]) -> io::Result<(Service, ChildStdin)> {
        let (service, stdin) = self.start_program(argv, Stdio::piped())?;
        Ok((service, stdin.ok_or_else(|| io::Error::other("no pipe to a program"))?))
    }

    fn start_program(&self, argv: &[&str], stdin: Stdio) -> io::Result<(Service, Option<ChildStdin>)> {
        let (log, file) = self.new_log()?;
        // The shell becomes the program, so its process id is the program's.
        let shell = format!("echo \"{PID}$$\"; exec \"$@\"");
        let mut full = vec!["sh", "-c", &shell, "sh"];
        full.extend(argv);
        let mut child = self.command(&full).stdin(stdin).stdout(file.try_clone()?).stderr(file).spawn()?;
        let stdin = child.stdin.take();
        let child = Rc::new(RefCell::new(child));
        self.children.borrow_mut().push(Rc::clone(&child));
        let pid =
            wait_for(Duration::from_secs(10), || read_lossy(&log).split_once('\n')?.0.strip_prefix(PID)?.parse().ok());
        let pid = pid.ok_or_else(|| io::Error::other(format!("{}: {argv:?} did not start", self.label)))?;
        Ok((Service { pid, child, log }, stdin))
    }

    /// Makes `name` resolve to `address` in this host.
    pub(crate) fn resolve(&self, name: &str, address: impl Into<IpAddr>) -> io::Result<()> {
        let path = self.dir.join("hosts");
        // Written in place: the mount follows the file, not its name.
        let text = fs::read_to_string(&path)? + &format!("{} {name}\n", address.into());
        fs::write(path, text)
    }

    /// Writes a file into the directory that this host has for itself.
    pub(crate) fn write_private(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.dir.join("private").join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)
    }

    /// Has what goes to another host on the same switch vanish there, or arrive again. Nobody is told: the frames go to a
    /// station that does not exist.
    pub(crate) fn cut(&self, other: &Self, cut: bool) -> io::Result<()> {
        let to = other.address.to_string();
        if cut {
            self.must(&[
                "ip",
                "neigh",
                "replace",
                &to,
                "lladdr",
                "02:00:00:00:00:99",
                "dev",
                "wire",
                "nud",
                "permanent",
            ])
        } else {
            self.must(&["ip", "neigh", "del", &to, "dev", "wire"])
        }
    }

    /// Lets no more leave this host than so many Mb/s. What does not fit waits.
    pub(crate) fn limit(&self, mbits: u32) -> io::Result<()> {
        let rate = format!("{mbits}mbit");
        self.must(&[
            "tc", "qdisc", "replace", "dev", "wire", "root", "tbf", "rate", &rate, "burst", "16kb", "limit", "8mb",
        ])
    }

    /// Ends a program of this host.
    pub(crate) fn end(&self, service: &Service) -> io::Result<()> {
        self.command(&["sh", "-c", &format!("kill -KILL {}", service.pid)]).status()?;
        wait_for(Duration::from_secs(2), || service.ended());
        Ok(())
    }

    /// Ends all programs of this host at once, as a loss of power does, and takes away what they have left behind.
    pub(crate) fn crash(&self) -> io::Result<()> {
        // Neither the first process of the host nor the shell itself.
        self.command(&["sh", "-c", "kill -KILL -1"]).status()?;
        wait_for(Duration::from_secs(5), || (self.programs() == 0).then_some(()));
        // Built with FUSE it shows its state in a file system, which stays mounted.
        let clear = "umount -l /tmp/ouroboros 2>/dev/null; rm -rf /dev/shm/* /tmp/ouroboros* /run/ouroboros*";
        self.must(&["sh", "-c", clear])
    }

    /// Programs that have been started and have not ended.
    fn programs(&self) -> usize {
        let children = self.children.borrow();
        children.iter().filter(|child| matches!(child.borrow_mut().try_wait(), Ok(None))).count()
    }

    /// Whether somebody has a UDP socket on this host's address and `port`.
    pub(crate) fn udp_bound(&self, family: Family, port: u16) -> bool {
        let words = |octets: &[u8]| -> String {
            let word = |octets: &[u8; 4]| format!("{:08X}", u32::from_le_bytes(*octets));
            octets.as_chunks().0.iter().map(word).collect()
        };
        let (own, table) = match family {
            Family::V4 => (words(&self.address.octets()), "udp"),
            Family::V6 => (words(&self.address6.octets()), "udp6"),
        };
        let wanted = [format!("{own}:{port:04X}"), format!("{}:{port:04X}", "0".repeat(own.len()))];
        let table = fs::read_to_string(format!("/proc/{}/net/{table}", self.anchor.id())).unwrap_or_default();
        table.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|local| wanted.iter().any(|w| w == local))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.anchor.stdin.take());
        if wait_for(Duration::from_secs(3), || self.anchor.try_wait().ok().flatten()).is_none() {
            let _ = self.anchor.kill();
            let _ = self.anchor.wait();
        }
        for child in self.children.take() {
            let _ = child.borrow_mut().wait();
        }
    }
}

/// Both hosts and the wire between them.
pub(crate) struct Net {
    pub(crate) near: Host,
    pub(crate) far: Host,
    dir: TempDir,
}

impl Net {
    pub(crate) fn start(view: &View) -> io::Result<Self> {
        let dir = TempDir::new()?;
        let near = Host::start("near", NEAR, &dir.0, view)?;
        let far = Host::start("far", FAR, &dir.0, view)?;
        let peer = far.anchor.id().to_string();
        let made = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", near.anchor.id()))
            .args(["ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &peer])
            .status()?;
        if !made.success() {
            return Err(io::Error::other("no veth pair"));
        }
        near.connect()?;
        far.connect()?;
        Ok(Self { near, far, dir })
    }

    /// All that the programs of both hosts wrote, for a report.
    pub(crate) fn logs(&self) -> String {
        logs_of([&self.near, &self.far], &self.dir)
    }
}

/// Several hosts on one switch. Who is whose neighbour is for those to say who run on them.
pub(crate) struct Lan {
    pub(crate) hosts: Vec<Host>,
    dir: TempDir,
}

impl Lan {
    const LABELS: [&'static str; 5] = ["host 0", "host 1", "host 2", "host 3", "host 4"];

    /// As many hosts as are wanted, five at most. The switch is in the first.
    pub(crate) fn start(count: u8, view: &View) -> io::Result<Self> {
        let dir = TempDir::new()?;
        let mut hosts = Vec::new();
        for (i, label) in (1..=count).zip(Self::LABELS) {
            let host = Host::start(label, Ipv4Addr::new(10, 9, 0, i), &dir.0, view)?;
            match hosts.first() {
                None => {
                    host.must(&["ip", "link", "add", "wire", "type", "bridge"])?;
                }
                Some(switch) => {
                    let (switch, port): (&Host, _) = (switch, format!("port{i}"));
                    let peer = host.anchor.id().to_string();
                    let made = Command::new("nsenter")
                        .arg(format!("--net=/proc/{}/ns/net", switch.anchor.id()))
                        .args(["ip", "link", "add", &port, "type", "veth", "peer", "name", "wire", "netns", &peer])
                        .status()?;
                    if !made.success() {
                        return Err(io::Error::other("no veth pair"));
                    }
                    switch.must(&["ip", "link", "set", &port, "master", "wire", "up"])?;
                }
            }
            host.connect()?;
            hosts.push(host);
        }
        Ok(Self { hosts, dir })
    }

    /// All that the programs of all hosts wrote, for a report.
    pub(crate) fn logs(&self) -> String {
        logs_of(&self.hosts, &self.dir)
    }
}

fn logs_of<'a>(hosts: impl IntoIterator<Item = &'a Host>, dir: &TempDir) -> String {
    let mut text = String::new();
    for host in hosts {
        for i in 1..=host.logs.get() {
            let log = read_lossy(&dir.0.join(host.label).join(format!("{i}.log")));
            // The first line is the process id.
            if log.lines().count() > 1 && !log.contains(MARK) {
                text += &format!("--- {} {i}\n{}\n", host.label, log.trim_end());
            }
        }
    }
    text
}

struct TempDir(PathBuf);

impl TempDir {
    fn new() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("o7s-interop-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read_lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
