//! The reference implementation as a peer: its daemon, its names and its programs, on one host.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use md5::{Digest as _, Md5};

use crate::net::{Family, Finished, Host, Service, wait_for};

const COMMAND_LIMIT: Duration = Duration::from_secs(8);
/// The layer that both hosts are in, and the UDP port of it.
pub(crate) const LAYER: &str = "interop";
pub(crate) const PORT: u16 = 3435;

/// Where the reference is installed and where it reads its keys and `enc.conf` files.
#[derive(Clone, Debug)]
pub(crate) struct Install {
    pub(crate) prefix: PathBuf,
    pub(crate) security: PathBuf,
}

impl Install {
    pub(crate) fn at(prefix: &Path) -> io::Result<Self> {
        let daemon = std::fs::read(prefix.join("sbin/irmd"))?;
        // The directory was fixed when it was built, and does not have to be below the prefix.
        let security =
            configured_directory(&daemon, b"/security/cacert").unwrap_or_else(|| prefix.join("etc/ouroboros/security"));
        Ok(Self { prefix: prefix.to_owned(), security })
    }

    fn program(&self, path: &str) -> String {
        self.prefix.join(path).to_string_lossy().into_owned()
    }
}

/// The absolute path in `binary` that ends in `tail`, without the last part of it.
fn configured_directory(binary: &[u8], tail: &[u8]) -> Option<PathBuf> {
    let at = binary.windows(tail.len()).position(|window| window == tail)?;
    let before = binary.get(..at)?;
    let start = before.iter().rposition(|byte| *byte == 0).map_or(0, |zero| zero + 1);
    let text = std::str::from_utf8(binary.get(start..at + tail.len())?).ok()?;
    let path = Path::new(text);
    path.is_absolute().then(|| path.parent().map(Path::to_owned)).flatten()
}

/// The 32 hexadecimal digits under which the UDP shim asks the resolver for a name.
pub(crate) fn resolver_name(name: &str) -> String {
    Md5::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reference's daemon on one host, a member of the layer over UDP.
pub(crate) struct Daemon<'a> {
    host: &'a Host,
    install: &'a Install,
    service: Service,
}

impl<'a> Daemon<'a> {
    pub(crate) fn start(host: &'a Host, install: &'a Install) -> io::Result<Self> {
        Self::start_over(Family::V4, host, install)
    }

    /// As [`start`](Self::start), over this family of addresses.
    pub(crate) fn start_over(family: Family, host: &'a Host, install: &'a Install) -> io::Result<Self> {
        let service = host.spawn(&[&install.program("sbin/irmd"), "--stdout"])?;
        let daemon = Daemon { host, install, service };
        wait_for(Duration::from_secs(10), || daemon.irm(&["ipcp", "list"]).ok())
            .ok_or_else(|| io::Error::other("the reference's daemon does not answer"))?;
        let (kind, address) = (family.layer(), host.at(family).to_string());
        daemon.irm(&["ipcp", "bootstrap", "type", kind, "name", "shim", "layer", LAYER, "ip", &address])?;
        wait_for(COMMAND_LIMIT, || host.udp_bound(family, PORT).then_some(()))
            .ok_or_else(|| io::Error::other("the reference opened no UDP socket"))?;
        Ok(daemon)
    }

    /// One of its commands.
    pub(crate) fn irm(&self, words: &[&str]) -> io::Result<Finished> {
        let irm = self.install.program("sbin/irm");
        let mut argv = vec![irm.as_str()];
        argv.extend(words);
        let done = self.host.run(COMMAND_LIMIT, &argv)?;
        if done.success() {
            return Ok(done);
        }
        Err(io::Error::other(format!("irm {}: {}: {}", words.join(" "), done.ending(), done.output.trim())))
    }

    /// As [`start`](Self::start), a member of an Ethernet layer of this type instead.
    pub(crate) fn start_ethernet(kind: &str, host: &'a Host, install: &'a Install) -> io::Result<Self> {
        let service = host.spawn(&[&install.program("sbin/irmd"), "--stdout"])?;
        let daemon = Daemon { host, install, service };
        wait_for(Duration::from_secs(10), || daemon.irm(&["ipcp", "list"]).ok())
            .ok_or_else(|| io::Error::other("the reference's daemon does not answer"))?;
        daemon.irm(&["ipcp", "bootstrap", "type", kind, "name", "shim", "layer", LAYER, "dev", "wire"])?;
        Ok(daemon)
    }

    /// Makes `name` known to this daemon. `role` is `client` or `server`; `encrypt` is key exchange and cipher, and
    /// behind a comma the hash for keys.
    pub(crate) fn name(&self, name: &str, role: &str, encrypt: Option<(&str, &str)>) -> io::Result<()> {
        self.unused_names()?;
        self.one_more_name(name, role, encrypt)
    }

    /// A daemon ignores the configuration of the first name it is told: tell it others first.
    pub(crate) fn unused_names(&self) -> io::Result<()> {
        self.irm(&["name", "create", "unused1"])?;
        self.irm(&["name", "create", "unused2"])?;
        Ok(())
    }

    /// As [`name`](Self::name), if it is not the first.
    pub(crate) fn one_more_name(&self, name: &str, role: &str, encrypt: Option<(&str, &str)>) -> io::Result<()> {
        if let Some((kex, cipher)) = encrypt {
            let (cipher, kdf) = cipher.split_once(',').unwrap_or((cipher, "sha256"));
            let text = format!("kex={kex}\ncipher={cipher}\nkdf={kdf}\n");
            self.host.write_private(&format!("{role}/{name}/enc.conf"), &text)?;
        }
        self.irm(&["name", "create", name])?;
        Ok(())
    }

    /// Starts a server program, bound to `name` and reachable from the layer.
    pub(crate) fn serve(&self, name: &str, program: &str, options: &[&str]) -> io::Result<Service> {
        self.serve_in(&[name], LAYER, program, options)
    }

    /// Starts a server program, bound to `names` and reachable from `layer`.
    pub(crate) fn serve_in(&self, names: &[&str], layer: &str, program: &str, options: &[&str]) -> io::Result<Service> {
        let service = self.spawn(program, options)?;
        // It is known to the daemon once it has announced itself.
        let announced = format!("Process added: {} ", service.pid);
        wait_for(COMMAND_LIMIT, || self.log().contains(&announced).then_some(()))
            .ok_or_else(|| io::Error::other(format!("{program} did not reach its daemon: {}", service.output())))?;
        for name in names {
            self.irm(&["bind", "process", &service.pid.to_string(), "name", name])?;
            self.irm(&["name", "register", name, "layer", layer])?;
        }
        Ok(service)
    }

    /// Runs a client program, on one processor if it is to be `pinned`.
    pub(crate) fn run(&self, limit: Duration, program: &str, options: &[&str], pinned: bool) -> io::Result<Finished> {
        let path = self.install.program(program);
        let mut argv = if pinned { vec!["taskset", "-c", "0"] } else { Vec::new() };
        argv.extend(["stdbuf", "-oL", path.as_str()]);
        argv.extend(options);
        self.host.run(limit, &argv)
    }

    /// Starts a program that runs until the host ends.
    pub(crate) fn spawn(&self, program: &str, options: &[&str]) -> io::Result<Service> {
        let path = self.install.program(program);
        let mut argv = vec!["stdbuf", "-oL", path.as_str()];
        argv.extend(options);
        self.host.spawn(&argv)
    }

    pub(crate) fn log(&self) -> String {
        self.service.output()
    }
}
