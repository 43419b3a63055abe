//! The directory of a unicast layer: who has this name, without servers.
//!
//! A Kademlia (Maymounkov, Mazières 2002) with the messages of [`wire::dht`](crate::wire::dht). Every member draws a
//! random id as long as a hash; a name is kept by the k members whose ids are closest to its hash, where the distance
//! of two is their exclusive or. [`Directory`] is the part of one member: a machine without clock, packets or chance of
//! its own.
//!
//! | part | made of | what it does |
//! |---|---|---|
//! | contacts | table | contacts in buckets by common prefix; only who has answered becomes one, only who is dead leaves |
//! | | joining | gets to know the layer, and keeps in touch with it |
//! | lookups | walks | ask, alpha at a time, whoever is known closest to a key, until the k closest have answered |
//! | | questions | cookies, each for one address, key and kind, good for one answer; how long to wait |
//! | | cache | what lookups found, for half a minute, and what turned out to be wrong |
//! | keeping | store | what is kept for others: within limits, and by the account of whoever had it stored |
//! | publishing | names | what is registered here: walked for and stored at the k closest, again and again |
//! | | chores | walks that nobody waits for, some at a time |
//! | | handoffs | what new members have to keep |
//! | | withdrawals | names that are taken back |
//! | serving | | what others ask; who waits for an answer |
//! | | tokens | by which a member shows that it is at its address |
//!
//! # Beside the reference
//!
//! The reference asks once, alpha members of its choice, and keeps names anywhere. It can be told apart: the cookies of
//! this implementation carry a signature in their last 16 bits, which to the reference are as random as any, and its
//! answers are in order of distance. So members of both kinds find each other's names:
//!
//! - a question with an unsigned cookie for a name that is not kept here is looked up, and answered when that is done
//!   or 150 ms have passed, and once more if the name is found later;
//! - a walk that finds nothing goes on to members that may be references, as far as its budget allows;
//! - in a small layer, and to references, names are stored at all contacts, not just at the k closest.
//!
//! # Trust
//!
//! Nothing in the messages of the reference proves anything. A result is a hint: whoever allocates a flow finds out, and
//! says [`doubt`](Directory::doubt). What a member said of itself goes before what others said of it. Who says so is found
//! out as well:
//!
//! - Members of this kind put a token into their answers, a function of the asker's address and a secret, and into what
//!   they have stored the last one that they got there. What comes with it is on the account of its sender. It may also
//!   say that less time is left, or none: so its owner takes a name back.
//! - A name that comes without is kept on an account that all such share, and its owner is asked whether it has the name.
//!   That is also how a reference's name is taken back: when it is refused there, or when somebody says so.
//!
//! # Nothing is amplified
//!
//! A question may come from somebody who names another's address. Members of this kind make theirs as long as the answer. To
//! a member that asks with less, as a reference does, nothing goes but a question as short as its own, until it has answered
//! that; then its questions are answered, [so many a second](Limits::short_per_second), which is as far as the wire allows.
//!
//! # Bounds
//!
//! Every table has one, in [`Limits`] unless a number is given. What happens when it is full, in no more than logarithmic
//! time unless the table is small:
//!
//! | table | what gives way, and why |
//! |---|---|
//! | contacts | one that did not answer two requests; whoever is there is worth more than whoever comes |
//! | spares, those heard of | the one heard of first: the latest is the likeliest to be there still |
//! | 64 that answered and found no place | the oldest |
//! | questions | one that is overdue, the oldest first; if there is none, the new one, as if it were lost on the way |
//! | messages to be sent | the new one, as if it were lost on the way |
//! | lookups that wait | the new one: it counts as unknown |
//! | cache | what would be forgotten first |
//! | names kept for a member | of its own, the key farthest from the own id: near ones are looked for here |
//! | names kept in all | such a key of the member that has most: nobody pays for another's appetite |
//! | names kept for all that have shown nothing | the oldest: by now it would have been confirmed |
//! | addresses of a name | one that has shown nothing, hearsay, an owner that is overdue; owners that are there stay |
//! | questions held | of one that has 4, or else several, the oldest; those of whoever cannot be asked now are not held |
//! | lookups for references | the new one: it is answered with what is known |
//! | rates, of contacts and of others | of somebody idle for two seconds; if there is nobody, the new ones share one |
//! | names to be handed on | those for whoever starts anew; the new one: its owner publishes it as well |
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
//!     to_b.into_iter().for_each(|(_, message)| b.receive(now, unix, &message));
//!     to_a.into_iter().for_each(|(_, message)| a.receive(now, unix, &message));
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

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::base::timers::Timers;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension, Message};

mod cache;
mod config;
mod distance;
mod entries;
mod joining;
mod keeping;
mod names;
mod publishing;
mod questions;
mod rate;
mod serving;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod walk;
mod walking;
mod withdrawing;

pub use config::{Config, Limits};
pub use entries::{ContactEntry, Counters, Sizes, StoredEntry};
pub use table::Style;

use joining::Contacts;
use keeping::Keeping;
use publishing::Publishing;
use questions::Kind;
use serving::{Inquiry, Serving};
use walking::Lookups;

/// What is known of a name at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// It is at one of these addresses; the best to try comes first. Never empty, never the own address.
    Known(Vec<Address>),
    /// It is being looked up: [`Event::LookupDone`] will tell.
    Pending,
    /// It is not in the layer, as far as can be said.
    Unknown,
}

/// How much a lookup took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Questions one after the other that led to the result.
    pub rounds: u8,
    /// Questions in all, those included that were asked twice.
    pub questions: u16,
}

/// What the directory has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A lookup is over.
    LookupDone {
        /// The name that was looked up.
        hash: NameHash,
        /// Where it is, the best to try first; empty if it was not found.
        addresses: Vec<Address>,
        /// What it took.
        effort: Effort,
    },
}

/// Why a place at which a name is said to be is doubted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Whoever is there says that the name is not.
    Refused,
    /// Nobody has answered.
    Silent,
}

/// Why a name was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There are too many.
    #[error("the directory takes no more than {0} names; unregister one, or raise its limit")]
    Full(usize),
    /// The hash is not one of the layer's.
    #[error(
        "the hash has {len} bytes, but those of the layer have {expected}; hash the name with the layer's algorithm"
    )]
    Length {
        /// Bytes of the hash.
        len: usize,
        /// Bytes of the layer's hashes.
        expected: usize,
    },
}

/// Tasks that may follow from others in one go.
const SPARE_TASKS: usize = 64;

/// Something to be done at a moment.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// An answer is overdue, or cannot come any more.
    Question(u64),
    /// A walk has taken too long.
    Walk(Kind, NameHash),
    /// Ask somebody, as long as nobody is known.
    Join,
    /// Look around once more after joining.
    Settle,
    /// Look after a bucket.
    Refresh,
    /// Publish a name.
    Publish(NameHash),
    /// Hand on names.
    HandOff,
    /// Look after the names kept for others.
    Sweep,
    /// Answer somebody whose lookup takes too long.
    Relay,
    /// Go on with walks that nobody waits for.
    Rest,
    /// Say once more that a name is not registered here any more.
    Withdraw(NameHash),
}

/// One member's part of the directory.
///
/// All input comes through calls, each with the present moment and, where names may have to be published, the seconds
/// since 1970-01-01 UTC. After each call, [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event) and
/// [`next_timeout`](Self::next_timeout) tell what there is to do.
#[derive(Debug)]
pub struct Directory {
    config: Config,
    rng: Rng,
    own: Contact,
    /// Whom it knows.
    contacts: Contacts,
    /// Where names are.
    lookups: Lookups,
    /// What it keeps for others.
    keeping: Keeping,
    /// What others are to keep.
    publishing: Publishing,
    /// What others ask.
    serving: Serving,
    timers: Timers<Task>,
    outbox: VecDeque<(Address, Message, Extension)>,
    events: VecDeque<Event>,
    counters: Counters,
    /// A moment, and what the clock of the world showed then, seconds since 1970-01-01 UTC.
    clock: (Instant, u64),
}

impl Directory {
    /// The directory of a new member, with a random id from `rng`.
    pub fn new(now: Instant, config: Config, mut rng: Rng) -> Self {
        let config = config.checked();
        let limits = config.limits;
        let own = Contact { id: distance::random(&mut rng, config.hash), address: config.address };
        let mut directory = Self {
            contacts: Contacts::new(now, own, &config),
            lookups: Lookups::new(&limits),
            keeping: Keeping::new(now, own.id, &config),
            publishing: Publishing::new(now, &limits),
            serving: Serving::new(now, &limits, &mut rng),
            timers: Timers::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            clock: (now, 0),
            config,
            rng,
            own,
        };
        directory.start(now);
        directory
    }

    /// The own id and address.
    pub fn own(&self) -> Contact {
        self.own
    }

    /// Makes a name known in the layer as one that is to be found here, until [`unregister`](Self::unregister).
    ///
    /// It takes no notice of a name that is registered already.
    ///
    /// # Errors
    /// [`RegisterError::Full`] beyond [`Limits::names`], [`RegisterError::Length`] for a hash of another length.
    pub fn register(&mut self, now: Instant, unix: u64, name: NameHash) -> Result<(), RegisterError> {
        self.clock = (now, unix);
        let (len, expected) = (name.as_bytes().len(), self.config.hash.len());
        if len != expected {
            return Err(RegisterError::Length { len, expected });
        }
        if self.publishing.names.contains_key(&name) {
            return Ok(());
        }
        if self.publishing.names.len() >= self.config.limits.names {
            return Err(RegisterError::Full(self.config.limits.names));
        }
        self.no_more_withdrawn(&name);
        self.publishing.names.insert(name, names::Name::default());
        self.publish(name);
        self.begin_walks(now);
        Ok(())
    }

    /// Stops making a name known. Members of this kind that were told of it forget it at once; references, and whoever does
    /// not hear it, when what they have expires: within [`lifetime`](Limits::lifetime). `false` if it was not registered.
    pub fn unregister(&mut self, now: Instant, hash: &NameHash) -> bool {
        let Some(name) = self.publishing.names.remove(hash) else { return false };
        if let Some(timer) = name.timer {
            self.timers.cancel(timer);
        }
        self.withdraw(now, *hash, name.told);
        true
    }

    /// Where a name is, or starts to find out.
    ///
    /// [`Found::Pending`] is followed by exactly one [`Event::LookupDone`] for the name, however often it was asked
    /// for meanwhile.
    pub fn lookup(&mut self, now: Instant, unix: u64, name: NameHash) -> Found {
        self.clock = (now, unix);
        self.counters.lookups += 1;
        if let Some(addresses) = self.lookups.cache.get(now, &name).filter(|addresses| !addresses.is_empty()) {
            self.counters.known += 1;
            return Found::Known(addresses.to_vec());
        }
        let told: Vec<Address> =
            self.keeping.store.get(now, &name).iter().filter(|v| v.itself).map(|v| v.address).collect();
        let told: Vec<Address> =
            told.into_iter().filter(|to| !self.lookups.cache.is_doubted(now, &name, *to)).collect();
        // While it is being looked up, more is known soon: whoever only says again and again that it has the name, and then
        // refuses, does not keep others from being found.
        if !told.is_empty() && !self.lookups.is_looking(&name) {
            self.counters.known += 1;
            return Found::Known(told);
        }
        let wrong_length = name.as_bytes().len() != self.config.hash.len();
        if wrong_length || self.lookups.cache.get(now, &name).is_some() {
            return Found::Unknown;
        }
        self.find(now, name)
    }

    /// The name was not found at this address. The next lookup says something else, or asks anew; then others are not
    /// believed that it is there, only itself.
    pub fn doubt(&mut self, now: Instant, name: &NameHash, address: Address, why: Doubt) {
        self.counters.doubts += 1;
        self.lookups.cache.doubt(now, name, address);
        if why == Doubt::Refused && self.keeping.store.has(name, address) {
            // Others hear of it from here.
            self.confirm(now, *name, address, None);
        }
    }

    /// Takes a message: the payload of a packet for EID 1. Whatever is wrong with it is counted.
    pub fn receive(&mut self, now: Instant, unix: u64, message: &[u8]) {
        self.clock = (now, unix);
        self.counters.received += 1;
        let Ok((Message { src, body }, Extension { token, .. })) = Message::decode_extended(self.config.hash, message)
        else {
            self.counters.malformed += 1;
            return;
        };
        if src.address == self.own.address || src.id == self.own.id {
            self.counters.impostors += 1;
            return;
        }
        match body {
            Body::Store { key, value, expires } => {
                self.asked_to_store(now, src, (key, value, expires), token, message.len());
            }
            Body::FindNode { cookie, key } => {
                self.asked(now, Inquiry { from: src, cookie, key, kind: Kind::Node, len: message.len(), at: now });
            }
            Body::FindValue { cookie, key } => {
                self.asked(now, Inquiry { from: src, cookie, key, kind: Kind::Value, len: message.len(), at: now });
            }
            Body::FoundNode { cookie, key, contacts } => {
                self.answered(now, src, (cookie, Kind::Node, key), token, &contacts, &[]);
            }
            Body::FoundValue { cookie, key, contacts, values } => {
                self.answered(now, src, (cookie, Kind::Value, key), token, &contacts, &values);
            }
        }
        self.begin_walks(now);
    }

    /// A message to this address could not be sent: there is no route.
    pub fn unreachable(&mut self, now: Instant, address: Address) {
        self.counters.unreachable += 1;
        self.contacts.table.lost(address);
        while let Some(question) = self.lookups.questions.take_to(address) {
            question.timer.map(|timer| self.timers.cancel(timer));
            self.cannot_ask(now, &question);
        }
        self.begin_walks(now);
    }

    /// There are other routes than before: whoever could not be reached may be again.
    pub fn route_known(&mut self, now: Instant) {
        self.contacts.table.routes_changed();
        self.revive(now);
        self.join_soon(now);
        self.ask_postponed(now);
        self.begin_walks(now);
    }

    /// There is a member with this address, by other means than the directory: a neighbour, or a new one in the
    /// link-state database. Cheap for one that is known. It makes joining faster, and heals a layer that fell apart.
    pub fn suggest(&mut self, now: Instant, address: Address) {
        if address != self.own.address && address.0 != 0 && self.contacts.table.get(address).is_none() {
            self.suggested(now, address);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, unix: u64) {
        self.clock = (now, unix);
        // Few tasks arm others for the same moment; the bound is for what nobody thought of.
        for _ in 0..self.timers.len() + SPARE_TASKS {
            let Some((_, task)) = self.timers.pop_due(now) else { break };
            self.do_task(now, task);
        }
        self.begin_walks(now);
    }

    fn do_task(&mut self, now: Instant, task: Task) {
        match task {
            Task::Question(cookie) => self.overdue(now, cookie),
            Task::Walk(kind, key) => self.out_of_time(now, kind, key),
            Task::Join => self.join(now),
            Task::Settle => self.settle(now),
            Task::Refresh => self.refresh(now),
            Task::Publish(name) => self.publish(name),
            Task::HandOff => self.hand_off(now),
            Task::Sweep => self.sweep(now),
            Task::Relay => self.answer_late(now),
            Task::Rest => self.publishing.chores.resting = false,
            Task::Withdraw(name) => self.withdraw_again(now, name),
        }
    }

    /// The next message to send, as the payload of a packet for EID 1, and to whom.
    pub fn poll_transmit(&mut self) -> Option<(Address, Vec<u8>)> {
        loop {
            let (to, message, extension) = self.outbox.pop_front()?;
            if let Ok(bytes) = message.encode_extended(extension) {
                self.counters.sent += 1;
                return Some((to, bytes));
            }
        }
    }

    /// What there is to say.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn send(&mut self, to: Address, body: Body, extension: Extension) {
        if self.outbox.len() >= self.config.limits.outbox {
            self.counters.overflowed += 1;
            return;
        }
        self.outbox.push_back((to, Message { src: self.own, body }, extension));
    }

    /// Seconds since 1970-01-01 UTC.
    fn unix(&self, now: Instant) -> u64 {
        let (then, unix) = self.clock;
        unix.saturating_add(now.since(then).as_secs())
    }
}
