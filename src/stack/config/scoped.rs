//! IPv6 addresses as files have them.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::types::addr::needs_scope;

/// The longest name of an interface, bytes.
const MAX_INTERFACE: usize = 15;

/// An IPv6 address, and the interface of a link-local one, by name or number: `fd00::1`, `fe80::1%eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scoped {
    pub(crate) ip: Ipv6Addr,
    pub(crate) interface: Option<String>,
}

/// The text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotScoped;

impl FromStr for Scoped {
    type Err = NotScoped;

    fn from_str(text: &str) -> Result<Self, NotScoped> {
        let (ip, interface) = text.split_once('%').map_or((text, None), |(ip, interface)| (ip, Some(interface)));
        let ip: Ipv6Addr = ip.parse().map_err(|_| NotScoped)?;
        let is_name = |name: &str| {
            let ends = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '%' | '[' | ']' | '"' | '\\');
            (1..=MAX_INTERFACE).contains(&name.len()) && !name.contains(ends)
        };
        if interface.is_some_and(|name| !is_name(name) || !needs_scope(&ip)) {
            return Err(NotScoped);
        }
        Ok(Self { ip, interface: interface.map(str::to_owned) })
    }
}

impl Display for Scoped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{}%{interface}", self.ip),
            None => self.ip.fmt(f),
        }
    }
}

impl From<Scoped> for IpAddr {
    fn from(address: Scoped) -> Self {
        address.ip.into()
    }
}
