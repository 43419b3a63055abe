//! Errors in the words of a command line: which option may help.

use std::error::Error;
use std::io::ErrorKind;
use std::net::IpAddr;

use o7s::{AllocError, Code, ConfigError, IpcpHandle, MemberError, SecurityError, StackError};

use super::Result;

type Failure = Box<dyn Error + Send + Sync>;

/// How the layers of a program find a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup {
    /// They are told, or a resolver is asked.
    Table,
    /// Everybody on the network is asked.
    Question,
    /// A layer has a directory.
    Directory,
}

/// The error of a flow that a client asked for.
pub(crate) fn on_calling(error: AllocError, lookup: Lookup) -> Failure {
    match (&error, lookup) {
        (AllocError::Unreachable(name), Lookup::Question) => {
            format!("nobody on this network has the name \"{name}\": is its server in the same layer?").into()
        }
        (AllocError::Unreachable(name), Lookup::Directory) => format!(
            "no layer of the file has the name \"{name}\": is its server running, is the name in `reg` of the server's \
             IPCP, and has the IPCP of this file a `conn`?"
        )
        .into(),
        (AllocError::Unreachable(name), Lookup::Table) => {
            format!("no layer knows where the name \"{name}\" is: say so with --host {name}=IP[:PORT]").into()
        }
        (AllocError::Refused { code: Code::CRYPT, .. }, _) => {
            format!("{error}; give this side the same --encrypt as the server").into()
        }
        (AllocError::Refused { code: Code::AUTH, .. }, _) => {
            format!("{error}; give this side a certificate, with --security DIR").into()
        }
        (AllocError::Security(SecurityError::NoAuthorities), _) => {
            format!("{error}; --security DIR has them in DIR/cacert").into()
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
        // The layer below has the name of the member, or a table says so, and the member is not there under it.
        Some(MemberError::Alloc(AllocError::Refused { name, code: Code::NAME, .. })) => format!(
            "{error}: there, \"{name}\" has to be in `reg` of the IPCP below, and its own IPCP needs `autobind = true`"
        )
        .into(),
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
