//! Attacks on the allocation of flows, on their keys and on their packets, by what an attacker does.
//!
//! Each test has beside what is refused, and why, what is next to it and accepted. What other systems have been reported to do
//! wrong, and what shows that it is not so here:
//!
//! | situation | shown by, in this target unless it says otherwise |
//! |---|---|
//! | a certificate is renewed: in any order, at both ends at once, with running flows | `renewal`; from files: `policies` |
//! | a certificate expires while a flow is open | `renewal`: the flow goes on, none begins; nothing ends it at that moment |
//! | repeated refusals fill the log | `log`: `floods_are_told_in_few_records`; no warning comes before a certificate expires |
//! | an expired copy of an authority beside a valid one, two authorities of one name | `chains`, `certificates`: `chains` |
//! | only the first certificate of a file is read | `certificates`: `files` |
//! | certificate and key do not belong together | `certificates`: `files`, `certificate_and_key_must_belong_together` |
//! | lists of revoked certificates that are large or wrong | there are none: nothing is revoked but by time, as the manual says |
//! | NUL and other characters in a name | `chains`, `certificates`: `chains` |
//! | constraints on names that do not bind the common name | `chains`: refused |
//! | case, type of string and normal forms of a name | `chains`, `certificates`: `chains`: bytes are compared |
//! | no name, several names, an empty subject | `chains`, `certificates`: `chains` |
//! | a clock that is wrong, or not set | `clocks`; the clocks of flows are not those of the calendar |
//! | a computer that was suspended | `renewal`: `eight_hours_at_once...`, `paths`: `moves` |
//! | a first message that is larger than the carrier takes | `sizes` |
//! | a hybrid whose post-quantum half is lost | `downgrade`, `points` |
//! | the same randomness twice, by a fork or a copy of a machine | `fork`; the library's `node::shared::tests` |
//! | keys and certificates that are expensive before they are trusted | `chains`: sizes and depth; `certificates`: `chains` |
//! | a flood of requests | `floods`, `hostile`, `strangers`; references have no part in the proof of addresses |
//! | somebody else answers a request first | `answers`: the attempt fails, and nothing is taken; the next one does not fail |
//! | peers that are slow, or silent after the reply | `strangers`: `state`; `hostile`: `waiting` |
//! | state that changes before a tag is checked | `rotation`: `garbage_at_a_change_of_keys_changes_nothing` |
//! | races of changes of keys | `rotation`, `vectors`: `rotation` |
//! | windows against replay: first number, edges, restart | `ages`, `restart`; the library's `crypto::protect` |
//! | zeros in front of a secret of a finite field, numbers out of range | `points`, the library's `crypto::kex` |
//! | private keys in three encodings | `certificates`: `keys`; the library's `crypto::kex::static_key` |
//! | keys of ML-KEM that are not checked | `points`, `wycheproof` |
//! | a file that cannot be read turns protection off | `policies`, of the configuration; without files there is none to read |
//! | files of keys that everybody may read | of the programs that read files: the library is given bytes |
//! | secrets in the log | `secrets`; `log`: `neither_payload_nor_keys_are_told` |
//! | secrets that stay in memory | `wiped` |
//! | "authentication failed", without a reason | every table here asserts the reason; the peer is told a code |
//! | what time tells | no decryption by RSA; comparisons by `subtle`; of names `floods` and a row of the benchmarks |
#![cfg(all(feature = "sim", feature = "algorithms"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod ages;
mod answers;
mod chains;
mod clocks;
mod downgrade;
mod ends;
mod fields;
mod floods;
#[cfg(target_os = "linux")]
mod fork;
#[path = "../world/heap.rs"]
mod heap;
mod identity;
#[allow(dead_code, reason = "not all of it is asked for here")]
#[path = "../certificates/issue.rs"]
mod issue;
mod packets;
mod points;
mod renewal;
mod replies;
mod restart;
mod rotation;
mod secrets;
mod sizes;
