//! The words of the field: names, hashes, addresses, qualities of service, trees of counters, and the traits of the outside
//! world.

pub mod addr;
pub mod code;
pub mod device;
pub mod id;
pub mod layer;
pub mod mac;
pub mod name;
pub mod parse;
#[cfg(feature = "log")]
mod place;
pub mod qos;
pub mod resolve;
pub mod routes;
pub mod tap;
pub mod tree;
