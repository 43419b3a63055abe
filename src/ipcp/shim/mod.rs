//! Shims: IPCPs over something that is not itself such a layer.

pub mod resolve;
pub mod udp;
