//! OAP as a formal model, and as the real machines in every situation that a small world has.
//!
//! The models (`*.pv`, for [ProVerif](https://proverif.inria.fr)) take cryptography for perfect and the network for the
//! attacker's: it reads, changes, drops, repeats and makes up messages, has certificates of its own for every name but the two
//! honest ones, and meets any number of flows of them. Each file is one query, run with each key exchange (`dh.pvl`,
//! `server_kem.pvl`, `client_kem.pvl`) and the ends of `oap.pvl`. Its first comment is the claim, and the attack where there is
//! one; the second says what ProVerif has to find:
//!
//! ```text
//! (* What the client sends, without certificates. A man in the middle has an exchange of his own with each end. *)
//! (* expect: dh false, server_kem false, client_kem true *)
//! ```
//!
//! They run where `proverif` is on the path, or `PROVERIF` names it. By hand:
//!
//! ```text
//! proverif -lib dh.pvl -lib oap.pvl client_data_none.pv
//! ```
//!
//! What the models leave out: sizes, times (so the window of the replay memory; `search.rs` has it), the choice of algorithms
//! (`negotiation.rs` has it), the content of packets, and all that breaks cryptography itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod negotiation;
mod proverif;
mod search;
