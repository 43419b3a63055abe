//! Who may have a flow: what settings and gates demand of the other end, through two whole stacks. Each refusal has the right
//! reason at the end that refuses, and no more than the reference's code at the other.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails panics")]

#[path = "../log/collect.rs"]
#[allow(dead_code, reason = "shared with the tests of records")]
mod collect;
mod demands;
mod everything;
mod files;
mod gates;
#[path = "../certificates/issue.rs"]
#[allow(dead_code, reason = "shared with the tests of certificates")]
mod issue;
mod peers;
mod recursion;
mod world;
