//! A configuration as text: what was read, with everything that the file left out.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use super::layers::{DEMANDS, MOVING};
use super::{IpcpConfig, Layer, Membership, NameConfig, NetworkConfig, SecurityFiles, SecurityTable};
use crate::irm::LoadBalancing;
use crate::types::layer::{CongestionAvoidance, RoutePolicy, Unicast};

impl Display for NetworkConfig {
    /// Writes a file that says the same, defaults included.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.security.iter().try_for_each(|security| security.fmt(f))?;
        self.names.iter().try_for_each(|name| name.fmt(f))?;
        self.ipcps.iter().try_for_each(|ipcp| ipcp.fmt(f))
    }
}

impl Display for SecurityTable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "[security]")?;
        if let Some(directory) = &self.directory {
            writeln!(f, "dir = {}", Quoted(&directory.to_string_lossy()))?;
        }
        match DEMANDS.iter().find(|(_, demand)| Some(*demand) == self.require) {
            Some((demand, _)) => writeln!(f, "require = \"{demand}\""),
            None => Ok(()),
        }
    }
}

impl Display for NameConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "[name.{}]", Quoted(self.name.as_str()))?;
        let balancing = match self.balancing {
            LoadBalancing::Spillover => "spill",
            LoadBalancing::RoundRobin => "round-robin",
        };
        writeln!(f, "lb = \"{balancing}\"")?;
        let path = |path: &Path| path.to_string_lossy().into_owned();
        list(f, "prog", self.programs.iter().map(|program| path(&program.path)))?;
        list(f, "args", self.programs.iter().filter_map(|program| Some(program.arguments.as_ref()?.join(" "))))?;
        for (side, SecurityFiles { encryption, certificate, key }) in
            [("server", &self.server), ("client", &self.client)]
        {
            for (what, file) in [("enc", encryption), ("crt", certificate), ("key", key)] {
                if let Some(file) = file {
                    writeln!(f, "{side}_{what}_file = {}", Quoted(&path(file)))?;
                }
            }
        }
        Ok(())
    }
}

impl Display for IpcpConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "[{}.{}]", self.kind.name(), Quoted(self.name.as_str()))?;
        match &self.membership {
            Membership::None => {}
            Membership::Enroll { with } => writeln!(f, "enrol = {}", Quoted(with.as_str()))?,
            Membership::Bootstrap { layer, parameters } => {
                writeln!(f, "bootstrap = {}", Quoted(layer.as_str()))?;
                parameters.fmt(f)?;
            }
        }
        writeln!(f, "autobind = {}", self.autobind)?;
        if let Some(detection) = self.detection {
            writeln!(f, "detection = {}", detection.as_millis())?;
        }
        if let Some((moves, _)) = MOVING.iter().find(|(_, moves)| Some(*moves) == self.moves) {
            writeln!(f, "moves = \"{moves}\"")?;
        }
        list(f, "reg", self.register.iter().map(|name| name.as_str()))?;
        list(f, "conn", self.connect.iter().map(|name| name.as_str()))?;
        list(f, "conn_over", self.connect_over.iter().map(|name| name.as_str()))
    }
}

impl Display for Layer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        fn udp(f: &mut Formatter<'_>, ip: impl Display, port: u16, dns: Option<impl Display>) -> fmt::Result {
            writeln!(f, "ip = \"{ip}\"\nport = {port}")?;
            dns.map_or(Ok(()), |dns| writeln!(f, "dns = \"{dns}\""))
        }
        match self {
            Self::Local { hash } => writeln!(f, "hash = \"{hash}\""),
            Self::Udp4 { ip, port, dns } => udp(f, ip, *port, *dns),
            Self::Udp6 { ip, port, dns } => udp(f, ip, *port, *dns),
            Self::EthDix { device, ethertype, hash } => {
                writeln!(f, "dev = {}\nethertype = {ethertype:#06X}\nhash = \"{hash}\"", Quoted(device))
            }
            Self::EthLlc { device, hash } => writeln!(f, "dev = {}\nhash = \"{hash}\"", Quoted(device)),
            Self::Unicast { hash, parameters } => {
                writeln!(f, "hash = \"{hash}\"")?;
                unicast(f, parameters)
            }
            Self::Broadcast => Ok(()),
        }
    }
}

fn unicast(f: &mut Formatter<'_>, parameters: &Unicast) -> fmt::Result {
    let Unicast { addr_size, eid_size, max_ttl, routing, directory, congestion } = parameters;
    let policy = RoutePolicy::names().find(|(_, policy)| *policy == routing.policy).map_or("", |(name, _)| name);
    let congestion = match congestion {
        CongestionAvoidance::None => "none",
        CongestionAvoidance::MbEcn => "mb-ecn",
    };
    writeln!(f, "routing = \"{policy}\"\ncongestion = \"{congestion}\"")?;
    let numbers = [
        ("addr_size", u32::from(*addr_size)),
        ("eid_size", u32::from(*eid_size)),
        ("max_ttl", u32::from(*max_ttl)),
        ("ls_t_recalc", routing.t_recalc),
        ("ls_t_update", routing.t_update),
        ("ls_t_timeo", routing.t_timeo),
        ("dht_alpha", directory.alpha),
        ("dht_k", directory.k),
        ("dht_t_expire", directory.t_expire),
        ("dht_t_refresh", directory.t_refresh),
        ("dht_t_replicate", directory.t_replicate),
    ];
    numbers.iter().try_for_each(|(key, number)| writeln!(f, "{key} = {number}"))
}

/// An array of strings, if there are any.
fn list<T: AsRef<str>>(f: &mut Formatter<'_>, key: &str, texts: impl Iterator<Item = T>) -> fmt::Result {
    let mut before = format!("{key} = [");
    for text in texts {
        write!(f, "{before}{}", Quoted(text.as_ref()))?;
        before = ", ".to_owned();
    }
    if before == ", " { writeln!(f, "]") } else { Ok(()) }
}

/// A string as TOML has it.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}
