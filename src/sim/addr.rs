//! Addresses as scenarios write them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Conversion to a host's address: from an address, or its text.
pub trait ToIp {
    /// The address.
    ///
    /// # Panics
    ///
    /// If it is a text that is not an address: a scenario with such a mistake makes no sense.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[track_caller]
    fn to_ip(&self) -> IpAddr;
}

/// Conversion to the address of a socket: from a socket address, or its text (`10.0.0.1:3435`, `[fd00::1]:3435`).
pub trait ToSocketAddr {
    /// The address.
    ///
    /// # Panics
    ///
    /// If it is a text that is not a socket address: a scenario with such a mistake makes no sense.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[track_caller]
    fn to_socket_addr(&self) -> SocketAddr;
}

impl ToIp for str {
    #[track_caller]
    fn to_ip(&self) -> IpAddr {
        let parsed = self.parse().ok().or_else(|| self.parse().ok().map(|addr: SocketAddr| addr.ip()));
        #[expect(clippy::panic, reason = "a mistake in the scenario")]
        match parsed {
            Some(ip) => ip,
            None => panic!("\"{self}\" is not an IP address"),
        }
    }
}

impl ToSocketAddr for str {
    #[track_caller]
    fn to_socket_addr(&self) -> SocketAddr {
        #[expect(clippy::panic, reason = "a mistake in the scenario")]
        match self.parse() {
            Ok(addr) => addr,
            Err(_) => panic!("\"{self}\" is not a socket address, such as 10.0.0.1:3435"),
        }
    }
}

impl<T: ToIp + ?Sized> ToIp for &T {
    #[track_caller]
    fn to_ip(&self) -> IpAddr {
        (**self).to_ip()
    }
}

impl<T: ToSocketAddr + ?Sized> ToSocketAddr for &T {
    #[track_caller]
    fn to_socket_addr(&self) -> SocketAddr {
        (**self).to_socket_addr()
    }
}

macro_rules! addresses {
    ($trait:ident::$method:ident -> $out:ty: $($from:ty => $convert:expr),+ $(,)?) => {
        $(impl $trait for $from {
            fn $method(&self) -> $out {
                let convert: fn($from) -> $out = $convert;
                convert(*self)
            }
        })+
    };
}

addresses!(ToIp::to_ip -> IpAddr:
    IpAddr => |a| a, Ipv4Addr => IpAddr::V4, Ipv6Addr => IpAddr::V6, SocketAddr => |a| a.ip());
addresses!(ToSocketAddr::to_socket_addr -> SocketAddr:
    SocketAddr => |a| a, SocketAddrV4 => SocketAddr::V4, SocketAddrV6 => SocketAddr::V6);
