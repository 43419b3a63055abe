//! o7s: Ouroboros as an embeddable library.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod base;
pub mod crypto;
pub mod frct;
pub mod oap;
#[cfg(feature = "sim")]
pub mod sim;
pub mod types;
pub mod wire;
