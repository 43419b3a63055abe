//! The broadcast layer: what one sends, all others receive.

mod digest;
pub mod flood;
mod memory;
