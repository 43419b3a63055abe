//! A layer in virtual time: members, and a network between them that delays and loses.

use alloc::collections::{BTreeSet, BinaryHeap};
use core::cmp::Reverse;
use core::time::Duration;

use super::reference::Reference;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::directory::{Config, Directory, Effort, Event, Found};
use crate::types::id::Address;
use crate::types::layer::Dht;
use crate::types::name::{HashAlg, Name, NameHash};
use crate::wire::dht::Contact;

pub(super) const ALG: HashAlg = HashAlg::Sha3_256;
pub(super) const UNIX: u64 = 1_800_000_000;

/// The hash of a name.
pub(super) fn hash(name: impl core::fmt::Display) -> NameHash {
    ALG.hash(&Name::new(&name.to_string()).unwrap())
}

/// Implementation of a member.
pub(super) enum Machine {
    Ours(Box<Directory>),
    Reference(Box<Reference>),
}

/// Result of a lookup.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) addresses: Vec<Address>,
    pub(super) effort: Effort,
    pub(super) took: Duration,
}

struct Member {
    machine: Machine,
    alive: bool,
    timeout: Option<Instant>,
}

/// Properties of the network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) least: Duration,
    pub(super) most: Duration,
    pub(super) loss: f64,
}

impl Default for Link {
    fn default() -> Self {
        Self { least: Duration::from_millis(1), most: Duration::from_millis(20), loss: 0.0 }
    }
}

/// Time of arrival of a message, its number, its receiver, and its bytes.
type Flying = (Instant, u64, usize, Vec<u8>);

/// A layer. The member with number `n` has the address `n + 1`.
pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) link: Link,
    pub(super) dht: Dht,
    /// Bytes that a message of ours may have.
    pub(super) room: usize,
    /// Bytes of a message that arrives, which nobody knows.
    pub(super) path: usize,
    /// Messages sent by all.
    pub(super) messages: u64,
    members: Vec<Member>,
    flying: BinaryHeap<Reverse<Flying>>,
    timeouts: BTreeSet<(Instant, usize)>,
    events: Vec<(usize, NameHash, Vec<Address>, Effort)>,
    sequence: u64,
}

impl Net {
    pub(super) fn new(seed: u8) -> Self {
        Self {
            now: Instant::from_millis(1),
            rng: Rng::from_seed([seed; 32]),
            link: Link::default(),
            dht: Dht::default(),
            room: usize::MAX,
            path: usize::MAX,
            messages: 0,
            members: Vec::new(),
            flying: BinaryHeap::new(),
            timeouts: BTreeSet::new(),
            events: Vec::new(),
            sequence: 0,
        }
    }

    /// A layer of `n` members of ours that joined `pause` apart, each through a random earlier one.
    pub(super) fn grown(seed: u8, link: Link, n: usize, pause: Duration) -> Self {
        let mut net = Self::new(seed);
        net.link = link;
        for _ in 0..n {
            net.join();
            net.run(pause);
        }
        net
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    fn someone(&mut self) -> Address {
        let alive: Vec<usize> = self.alive();
        let at = self.rng.below(alive.len() as u64) as usize;
        alive.get(at).map_or(Address(0), |n| Address(*n as u64 + 1))
    }

    /// Adds a member of ours, which joins through a random other one.
    pub(super) fn join(&mut self) -> usize {
        let peer = self.someone();
        self.join_by(peer)
    }

    /// Adds a member of ours, which joins through this one.
    pub(super) fn join_through(&mut self, number: usize) -> usize {
        self.join_by(Address(number as u64 + 1))
    }

    /// Adds an o7s member that knows no other.
    pub(super) fn join_alone(&mut self) -> usize {
        self.join_by(Address(0))
    }

    fn join_by(&mut self, peer: Address) -> usize {
        let config = Config::new(Address(self.len() as u64 + 1), ALG, Dht { peer, ..self.dht });
        let rng = self.rng.split("member");
        self.add(Machine::Ours(Box::new(Directory::new(self.now, config, rng))))
    }

    /// Adds a reference.
    pub(super) fn join_reference(&mut self) -> usize {
        let peer = self.someone();
        let rng = self.rng.split("reference");
        let own = Address(self.len() as u64 + 1);
        self.add(Machine::Reference(Box::new(Reference::new(self.now, own, peer, self.dht, rng))))
    }

    pub(super) fn add(&mut self, machine: Machine) -> usize {
        let number = self.len();
        self.members.push(Member { machine, alive: true, timeout: None });
        self.attend(number);
        number
    }

    /// The numbers of those who are there.
    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.len()).filter(|n| self.members[*n].alive).collect()
    }

    /// A member goes without a word.
    pub(super) fn leave(&mut self, number: usize) {
        self.members[number].alive = false;
    }

    /// A share of the members goes without a word.
    pub(super) fn decimate(&mut self, share: f64) -> Vec<usize> {
        let mut alive = self.alive();
        let count = (alive.len() as f64 * share) as usize;
        let mut gone = Vec::new();
        for _ in 0..count {
            let at = self.rng.below(alive.len() as u64) as usize;
            gone.push(alive.swap_remove(at));
        }
        gone.iter().for_each(|number| self.leave(*number));
        gone
    }

    /// The machine of a member of ours.
    pub(super) fn ours(&mut self, number: usize) -> &mut Directory {
        match &mut self.members[number].machine {
            Machine::Ours(directory) => directory,
            Machine::Reference(_) => panic!("a reference"),
        }
    }

    /// All machines of ours that are there.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Directory> {
        self.members.iter().filter(|member| member.alive).filter_map(|member| match &member.machine {
            Machine::Ours(directory) => Some(&**directory),
            Machine::Reference(_) => None,
        })
    }

    pub(super) fn contact(&self, number: usize) -> Contact {
        match &self.members[number].machine {
            Machine::Ours(directory) => directory.own(),
            Machine::Reference(reference) => reference.own(),
        }
    }

    pub(super) fn unix(&self) -> u64 {
        UNIX + self.now.as_nanos() / 1_000_000_000
    }

    pub(super) fn register(&mut self, number: usize, name: NameHash) {
        let (now, unix) = (self.now, self.unix());
        match &mut self.members[number].machine {
            Machine::Ours(directory) => directory.register(now, unix, name).unwrap(),
            Machine::Reference(reference) => reference.register(now, unix, name),
        }
        self.attend(number);
    }

    /// A member of ours takes a name back.
    pub(super) fn unregister(&mut self, number: usize, name: NameHash) -> bool {
        let now = self.now;
        let was = self.ours(number).unregister(now, &name);
        self.attend(number);
        was
    }

    /// Tells a member of another one.
    pub(super) fn suggest(&mut self, number: usize, address: Address) {
        let now = self.now;
        self.ours(number).suggest(now, address);
        self.attend(number);
    }

    /// Starts a lookup. Its result comes later, or at once.
    pub(super) fn start_lookup(&mut self, number: usize, name: NameHash) -> Option<Vec<Address>> {
        let (now, unix) = (self.now, self.unix());
        let found = match &mut self.members[number].machine {
            Machine::Ours(directory) => directory.lookup(now, unix, name),
            Machine::Reference(reference) => reference.lookup(now, unix, name),
        };
        self.attend(number);
        match found {
            Found::Known(addresses) => Some(addresses),
            Found::Unknown => Some(Vec::new()),
            Found::Pending => None,
        }
    }

    /// Looks a name up and waits for the result.
    pub(super) fn lookup(&mut self, number: usize, name: NameHash) -> Outcome {
        let began = self.now;
        if let Some(addresses) = self.start_lookup(number, name) {
            return Outcome { addresses, effort: Effort::default(), took: Duration::ZERO };
        }
        let end = self.now + Duration::from_secs(3);
        loop {
            if let Some(at) = self.events.iter().position(|(who, what, ..)| (*who, *what) == (number, name)) {
                let (_, _, addresses, effort) = self.events.swap_remove(at);
                return Outcome { addresses, effort, took: self.now.since(began) };
            }
            assert!(self.step(end), "a lookup without an end");
        }
    }

    /// Hands a message to a member, as if it came from the network.
    pub(super) fn inject(&mut self, number: usize, message: &[u8]) {
        let (now, unix) = (self.now, self.unix());
        match &mut self.members[number].machine {
            Machine::Ours(directory) => directory.handle_packet(now, unix, message),
            Machine::Reference(reference) => reference.handle_packet(now, unix, message),
        }
        self.attend(number);
    }

    /// Passes time.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
    }

    /// Does what comes next, until `end`. `false` if that is reached.
    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.flying.peek().map(|Reverse((at, ..))| *at);
        let timeout = self.timeouts.first().map(|(at, _)| *at);
        let next = arrival.into_iter().chain(timeout).min().filter(|next| *next <= end);
        let Some(next) = next else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            if let Some(Reverse((_, _, to, message))) = self.flying.pop()
                && self.members[to].alive
            {
                self.inject(to, &message);
            }
        } else if let Some((_, number)) = self.timeouts.pop_first() {
            let (now, unix) = (self.now, self.unix());
            self.members[number].timeout = None;
            if self.members[number].alive {
                match &mut self.members[number].machine {
                    Machine::Ours(directory) => directory.handle_timeout(now, unix),
                    Machine::Reference(reference) => reference.handle_timeout(now, unix),
                }
                self.attend(number);
            }
        }
        true
    }

    /// Takes what a machine has to say.
    pub(super) fn attend(&mut self, number: usize) {
        loop {
            let sent = match &mut self.members[number].machine {
                Machine::Ours(directory) => directory.poll_message(|_| self.room),
                Machine::Reference(reference) => reference.poll_transmit(),
            };
            let Some((to, message)) = sent else { break };
            assert!(message.len() <= 1400.min(self.room) && to != Address(0) && to.0 != number as u64 + 1);
            self.messages += 1;
            let to = to.0 as usize - 1;
            if to < self.len() && message.len() <= self.path && !self.rng.chance(self.link.loss) {
                let range = (self.link.most - self.link.least).as_nanos() as u64;
                let delay = self.link.least + Duration::from_nanos(self.rng.below(range + 1));
                self.sequence += 1;
                self.flying.push(Reverse((self.now + delay, self.sequence, to, message)));
            }
        }
        let member = &mut self.members[number];
        let timeout = match &mut member.machine {
            Machine::Ours(directory) => {
                while let Some(Event::LookupDone { hash, addresses, effort }) = directory.poll_event() {
                    self.events.push((number, hash, addresses, effort));
                }
                directory.next_deadline()
            }
            Machine::Reference(reference) => {
                while let Some((hash, address)) = reference.poll_event() {
                    self.events.push((number, hash, address.into_iter().collect(), Effort::default()));
                }
                reference.next_deadline()
            }
        };
        if member.timeout != timeout {
            if let Some(old) = member.timeout {
                self.timeouts.remove(&(old, number));
            }
            member.timeout = timeout;
            self.timeouts.extend(timeout.map(|at| (at, number)));
        }
    }
}
