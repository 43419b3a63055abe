//! o7s: Ouroboros as an embeddable library.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod base;
pub mod crypto;
#[cfg(feature = "std")]
pub mod device;
pub mod flow;
pub mod frct;
pub mod ipcp;
pub mod irm;
pub mod node;
pub mod oap;
pub mod rib;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "std")]
pub mod stack;
pub mod types;
pub mod wire;

pub use flow::{Event, ReadError, ReadMode, WriteError};
pub use irm::LoadBalancing;
pub use oap::SecurityConfig;
#[cfg(feature = "std")]
pub use stack::{
    AcceptError, AllocError, BindError, Builder, CloseError, Flow, FlowBuilder, FlowEvent, FlowFlags, FlowSet,
    IpcpHandle, Listener, LocalConfig, Stack, StackError, Token, Udp4, aio,
};
pub use types::name::Name;
pub use types::qos::{QosCube, QosSpec};
