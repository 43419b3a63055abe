//! Addresses of hosts: their one spelling, their text, and the families that a device carries.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The one spelling of an address, in which addresses are compared, stored and hashed: IPv4 addresses that are mapped into
/// IPv6 (`::ffff:a.b.c.d`) as IPv4, no flow label, and a scope id only where it belongs to the address.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => addr,
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::from((ip, v6.port())),
            IpAddr::V6(ip) => {
                let scope = if needs_scope(&ip) { v6.scope_id() } else { 0 };
                SocketAddrV6::new(ip, v6.port(), 0, scope).into()
            }
        },
    }
}

/// Returns `true` if the address means something only together with a network interface.
pub fn needs_scope(ip: &Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

/// Returns `true` if the address is link-local and does not say on which link.
pub fn lacks_scope(addr: &SocketAddr) -> bool {
    matches!(addr, SocketAddr::V6(v6) if needs_scope(v6.ip()) && v6.scope_id() == 0)
}

/// The scope id of an address, 0 if it has none.
pub fn scope_of(addr: &SocketAddr) -> u32 {
    match addr {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

/// The address, at this scope if it is link-local and does not say on which link.
pub fn with_scope(addr: SocketAddr, scope: u32) -> SocketAddr {
    match addr {
        SocketAddr::V6(mut v6) if lacks_scope(&addr) => {
            v6.set_scope_id(scope);
            v6.into()
        }
        _ => addr,
    }
}

/// Between which two addresses datagrams go. A host with several addresses is several peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Ours; `None` if the device has only one, or whichever it takes.
    pub local: Option<IpAddr>,
    /// The peer's.
    pub remote: SocketAddr,
}

/// Families of addresses that a device can send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    /// The families of a device bound to `local`; one of IPv6 that is `dual` carries both.
    pub fn of(local: SocketAddr, dual: bool) -> Self {
        let v4 = canonical(local).is_ipv4();
        Self { v4: v4 || dual, v6: !v4 }
    }

    /// Returns `true` if the device can send to this address, which is [`canonical`].
    pub fn have(self, addr: &SocketAddr) -> bool {
        if addr.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// Error of reading an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddrError {
    /// It is not written like one.
    Malformed,
    /// There is no network interface of the name behind the percent sign.
    Interface,
}

/// Reads an address, in its [`canonical`] spelling: `IP` or `IP:PORT`, an IPv6 address with a port in brackets. Behind a
/// percent sign is the network interface of a link-local address, by its number or by its name, which `index` looks up:
/// `fe80::1%eth0`, `[fe80::1%2]:3435`. Without a port it is `port`.
///
/// # Errors
/// [`AddrError`].
pub fn parse(text: &str, port: u16, index: impl FnOnce(&str) -> Option<u32>) -> Result<SocketAddr, AddrError> {
    let malformed = AddrError::Malformed;
    let Some((ip, rest)) = text.split_once('%') else {
        let ip = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let bare = || ip.parse().map(|ip: IpAddr| SocketAddr::new(ip, port));
        return text.parse().or_else(|_| bare()).map(canonical).map_err(|_| malformed);
    };
    let (ip, zone, port) = match ip.strip_prefix('[') {
        Some(ip) => match rest.rsplit_once(']').ok_or(malformed)? {
            (zone, "") => (ip, zone, port),
            (zone, after) => {
                let digits = after.strip_prefix(':').filter(|digits| !digits.starts_with('+')).ok_or(malformed)?;
                (ip, zone, digits.parse().map_err(|_| malformed)?)
            }
        },
        None => (ip, rest, port),
    };
    let ip: Ipv6Addr = ip.parse().map_err(|_| malformed)?;
    if zone.is_empty() || !needs_scope(&ip) {
        return Err(malformed);
    }
    let number = zone.bytes().all(|byte| byte.is_ascii_digit()).then(|| zone.parse().ok()).flatten();
    let scope = number.or_else(|| index(zone)).filter(|scope| *scope != 0).ok_or(AddrError::Interface)?;
    Ok(SocketAddrV6::new(ip, port, 0, scope).into())
}

#[cfg(test)]
mod tests;
