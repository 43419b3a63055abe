//! The directory of a unicast layer: who has this name, without servers.
//!
//! A Kademlia (Maymounkov, Mazières 2002) with the messages of [`wire::dht`](crate::wire::dht). Every member draws a
//! random id as long as a hash; a name is kept by the k members whose ids are closest to its hash, where the distance
//! of two is their exclusive or. [`Directory`] is the part of one member: a machine without clock, packets or chance of
//! its own.
//!
//! # Terms
//!
//! They are those of Kademlia: a *contact* is an id with the address it is at; contacts are in *k-buckets*, each with a
//! *replacement cache* of those that wait for a place; an iterative *lookup* sends FIND_NODE or FIND_VALUE *requests*, alpha
//! at a time, to ever closer contacts; names are *stored* at the k closest, *republished* by their owners, and *replicated*
//! by those who keep them if their owners do not; a bucket without lookups is *refreshed* by one. The *tokens* are those of
//! BitTorrent's Kademlia (BEP 5).
//!
//! | part | made of | what it does |
//! |---|---|---|
//! | contacts | table | k-buckets and their replacement caches; only who has answered becomes a contact, only who is dead leaves |
//! | | joining | looks up the own id, verifies who was heard of, refreshes buckets |
//! | lookups | lookup | one of them: asks the closest known contacts to a key, until the k closest have answered |
//! | | requests | cookies, each for one address, key and kind, good for one answer; how long to wait |
//! | | cache | what lookups found, for half a minute, and what turned out to be wrong |
//! | storage | store | names kept for others: within limits, and on the account of the member that stored them |
//! | publishing | names | what is registered here: looked up and stored at the k closest, again and again |
//! | | handoffs | what new members have to keep |
//! | | withdrawals | names that are taken back |
//! | background | | lookups to publish, replicate, withdraw, refresh; so many at a time |
//! | serving | | what others ask; who waits for an answer |
//! | | tokens | by which a member shows that it is at its address |
//!
//! # Beside the reference
//!
//! The reference asks once, alpha members of its choice, and keeps names anywhere. It can be told apart: the cookies of
//! this implementation carry a signature in their last 16 bits, which to the reference are as random as any, and its
//! answers are in order of distance. So members of both kinds find each other's names:
//!
//! - a request with an unsigned cookie for a name that is not kept here is looked up, and answered when that is done
//!   or 150 ms have passed, and once more if the name is found later;
//! - a lookup that finds nothing goes on to members that may be references, as far as its budget allows;
//! - in a small layer, and to references, names are stored at all contacts, not just at the k closest.
//!
//! # Trust
//!
//! Nothing in the messages of the reference proves anything. A result is a hint: the allocation of a flow finds out,
//! and says [`doubt`](Directory::doubt). Claims of a member about itself go before those of others about it. The
//! claimant is found out as well:
//!
//! - Members of this kind put a token into their answers, a function of the asker's address and a secret, and into what
//!   they have stored the last one that they got there. What comes with it is on the account of its sender. It may also
//!   say that less time is left, or none: so its owner takes a name back.
//! - A name that comes without is kept on an account that all such share, and its owner is asked whether it has the
//!   name. That is also how a reference's name is withdrawn: when it is refused there, or when a message says so.
//!
//! # Nothing is amplified
//!
//! The sender of a request may be forged. Members of this kind make their requests as long as the answer. To a member
//! that asks with less, as a reference does, only a request as short as its own is sent, until it has answered that;
//! then its requests are answered, [so many a second](Limits::short_per_second), which is as far as the wire allows.
//!
//! # Small packets
//!
//! How long a message may be is said when it is [polled](Directory::poll_message). On a narrow way a request is padded with
//! less, so that its answer has fewer contacts, and a lookup takes more steps; where there is not even room for one contact
//! and what shows that the asker is there, it is asked that first, like a reference. The least is 169 bytes with SHA3-256: an
//! answer with one contact and one address. Whoever asks does not see how narrow the way is further on: a request that is
//! repeated is only as long as is of use.
//!
//! # Bounds
//!
//! Every table has one, in [`Limits`] unless a number is given. What happens when it is full, in no more than logarithmic
//! time unless the table is small:
//!
//! | table | what gives way, and why |
//! |---|---|
//! | contacts | one that did not answer two requests; a live contact is worth more than a new one |
//! | replacement caches | the one heard of first: the latest is the likeliest to be there still |
//! | 64 that answered and found no place | the oldest |
//! | requests | one that is overdue, the oldest first; if there is none, the new one, as if it were lost on the way |
//! | messages to be sent | the new one, as if it were lost on the way |
//! | lookups that wait | the new one: it counts as unknown |
//! | cache | what would be forgotten first |
//! | names kept for a member | of its own, the key farthest from the own id: near ones are looked for here |
//! | names kept in all | such a key of the member that has most, so that each pays for its own |
//! | names kept for all that have shown nothing | the oldest: by now it would have been confirmed |
//! | addresses of a name | one that has shown nothing, hearsay, an owner that is overdue; owners that are there stay |
//! | requests held | of a member that has 4, or else several, the oldest; those of members that cannot be asked now are not held |
//! | lookups for references | the new one: it is answered with what is known |
//! | rates, of contacts and of others | of a member idle for two seconds; if there is none, the new ones share one |
//! | new contacts to be handed names | a member that starts anew has its place anew; the new one: owners publish as well |
//! | members that have a name from here | the oldest of 128 that were told, and of 32 that have asked whether it is here |
//! | names being taken back | the oldest: it was said before |
//!
//! # Example
//!
//! Two members; the second was enrolled by the first.
//!
//! ```
//! use o7s::base::rng::Rng;
//! use o7s::base::time::Instant;
//! use o7s::directory::{Config, Directory, Event, Found};
//! use o7s::types::id::Address;
//! use o7s::types::name::HashAlg;
//! use o7s::types::layer::Dht;
//!
//! let (now, unix) = (Instant::from_millis(1), 1_800_000_000);
//! let member = |address, peer| {
//!     let dht = Dht { peer: Address(peer), ..Dht::default() };
//!     let config = Config::new(Address(address), HashAlg::Sha3_256, dht);
//!     Directory::new(now, config, Rng::from_seed([address as u8; 32]))
//! };
//! let (mut a, mut b) = (member(1, 0), member(2, 1));
//! let exchange = |a: &mut Directory, b: &mut Directory| loop {
//!     let (to_b, to_a) = (a.poll_transmit(), b.poll_transmit());
//!     if to_b.is_none() && to_a.is_none() {
//!         break;
//!     }
//!     to_b.into_iter().for_each(|(_, message)| b.handle_packet(now, unix, &message));
//!     to_a.into_iter().for_each(|(_, message)| a.handle_packet(now, unix, &message));
//! };
//!
//! b.handle_timeout(now, unix);
//! exchange(&mut a, &mut b);
//! let oping = HashAlg::Sha3_256.hash(&"oping".parse()?);
//! a.register(now, unix, oping)?;
//! assert_eq!(b.lookup(now, unix, oping), Found::Pending);
//! exchange(&mut a, &mut b);
//! let Some(Event::LookupDone { hash, addresses, .. }) = b.poll_event() else { panic!("not found") };
//! assert_eq!((hash, addresses), (oping, vec![Address(1)]));
//! assert_eq!(b.lookup(now, unix, oping), Found::Known(vec![Address(1)]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod background;
mod cache;
mod config;
mod distance;
mod entries;
mod events;
mod fitting;
mod handoffs;
mod joining;
mod lookup;
mod lookups;
mod machine;
mod names;
mod publishing;
mod rate;
mod requests;
mod serving;
mod storage;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod withdrawals;

pub use config::{Config, Limits};
pub use entries::{ContactEntry, Counters, Sizes, StoredEntry};
pub use events::{Doubt, Effort, Event, Found, RegisterError};
pub(crate) use fitting::least_message;
pub use machine::Directory;
pub(crate) use requests::LIFETIME;
pub use table::Style;

use machine::Task;
