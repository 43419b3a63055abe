//! Errors in the words of a command line: which option may help.

use std::error::Error;
use std::io::ErrorKind;
use std::net::IpAddr;

use o7s::{AllocError, Code, ConfigError, IpcpHandle, MemberError, StackError};

use super::Result;

type Failure = Box<dyn Error + Send + Sync>;

/// The error of a flow that a client asked for.
pub(crate) fn on_calling(error: AllocError, on_ethernet: bool) -> Failure {
    match &error {
        AllocError::Unreachable(name) if on_ethernet => {
            format!("nobody on this network has the name \"{name}\": is its server in the same layer?").into()
        }
        AllocError::Unreachable(name) => {
            format!("no layer knows where the name \"{name}\" is: say so with --host {name}=IP[:PORT]").into()
        }
        AllocError::Refused { code: Code::CRYPT, .. } => {
            format!("{error}; give this side the same --encrypt as the server").into()
        }
        _ => error.into(),
    }
}

/// The error of a network that a file describes.
pub(crate) fn on_configuring(error: ConfigError) -> Failure {
    match error.source().and_then(|cause| cause.downcast_ref()) {
        Some(MemberError::Alloc(AllocError::Unreachable(name))) => {
            format!("{error}; --host {name}=IP[:PORT] does the former").into()
        }
        _ => error.into(),
    }
}

/// Joins a UDP layer at the address that an option gave. A client whose port a server of the same host has draws another
/// one: nobody calls a client.
pub(crate) fn join_udp(
    at: &str,
    is_client: bool,
    join: impl Fn(&str) -> std::result::Result<IpcpHandle, StackError>,
) -> Result<IpcpHandle> {
    match (join(at), at_any_port(at)) {
        (Err(StackError::Bind { error, .. }), Some(any)) if is_client && error.kind() == ErrorKind::AddrInUse => {
            Ok(join(&any)?)
        }
        (joined, _) => Ok(joined?),
    }
}

/// The address with port 0, if it has none.
fn at_any_port(at: &str) -> Option<String> {
    let (ip, _interface) = at.split_once('%').unwrap_or((at, ""));
    match ip.parse().ok()? {
        IpAddr::V4(_) => Some(format!("{at}:0")),
        IpAddr::V6(_) => Some(format!("[{at}]:0")),
    }
}
