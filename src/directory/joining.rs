//! Joining the layer, verifying contacts, and refreshing buckets.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use super::background::Job;
use super::distance::{random, random_in_bucket};
use super::rate::Rate;
use super::requests::{Kind, Reason, Request};
use super::table::{Style, Table};
use super::{Config, Directory, Task};
use crate::base::backoff::{Backoff, around};
use crate::base::time::Instant;
use crate::base::timers::TimerId;
use crate::types::id::Address;
use crate::wire::dht::Contact;

/// After how long the first request is asked again, doubling: it may have arrived where there is no way back yet.
const FIRST_RETRY: Duration = Duration::from_millis(75);
/// Longest pause between requests while a lookup may wait for a contact.
const EAGER_RETRY: Duration = Duration::from_secs(1);
const EAGER_TRIES: u32 = 24;
/// Longest pause after that.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Shortest pause between requests when routes have changed.
const SHORTEST_RETRY: Duration = Duration::from_millis(50);
/// Addresses remembered to join through.
const SEEDS: usize = 16;
/// Addresses remembered to ask when there are routes.
const POSTPONED: usize = 64;
/// Members remembered that have answered and are no contacts.
const VERIFIED: usize = 64;
/// Times after joining to look for further contacts: members that joined at the same time could not know each other at
/// first.
const SETTLE: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(10)];
/// The shortest time between two looks after buckets.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// Progress of joining.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// Addresses to ask while there is no contact, the next first.
    seeds: VecDeque<Address>,
    timer: Option<TimerId>,
    asked: Option<Instant>,
    /// Of asking; counts how often that was done.
    backoff: Backoff,
    /// A seed has answered. Until then the contacts may be others who have not got any further.
    joined: bool,
    /// Number of searches for contacts made.
    settled: usize,
    suggestions: Option<Rate>,
    /// Members that were to be asked who they are when there was no route to them.
    postponed: VecDeque<Address>,
}

impl Joining {
    /// Returns `true` if there is an address to ask.
    pub(super) fn is_hopeful(&self) -> bool {
        !self.seeds.is_empty()
    }

    /// A seed has answered.
    pub(super) fn succeeded(&mut self) {
        self.joined = true;
    }

    /// There is no route to a member that was heard of.
    pub(super) fn postpone(&mut self, address: Address) {
        if !self.postponed.contains(&address) {
            self.postponed.truncate(POSTPONED - 1);
            self.postponed.push_front(address);
        }
    }

    fn is_over(&self, contacts: usize) -> bool {
        self.seeds.is_empty() || (contacts > 0 && (self.joined || self.backoff.failures() > EAGER_TRIES))
    }

    fn remember(&mut self, address: Address) {
        if self.seeds.contains(&address) {
            return;
        }
        self.seeds.truncate(SEEDS - 1);
        self.seeds.push_front(address);
    }
}

/// Contacts of the directory, and the requests that verify them.
#[derive(Debug)]
pub(super) struct Contacts {
    pub(super) table: Table,
    pub(super) joining: Joining,
    /// Members that have answered of late and found no place in the table, the latest first.
    verified: VecDeque<Contact>,
    pub(super) pings: Rate,
    /// To whom pings are under way.
    pub(super) pinged: BTreeSet<Address>,
}

impl Contacts {
    pub(super) fn new(now: Instant, own: Contact, config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            table: Table::new(own, config.bucket(), limits.replacements, limits.buckets, now),
            joining: Joining { backoff: Backoff::new(FIRST_RETRY, LONGEST_RETRY), ..Joining::default() },
            verified: VecDeque::new(),
            pings: Rate::new(now, limits.pings_per_second),
            pinged: BTreeSet::new(),
        }
    }

    /// Returns `true` if this member has answered a request here, under this id and address.
    pub(super) fn knows(&self, contact: &Contact) -> bool {
        self.table.get(contact.address).is_some_and(|peer| peer.contact.id == contact.id)
            || self.verified.contains(contact)
    }

    /// A member has answered for which there is no place in the table.
    pub(super) fn note_verified(&mut self, contact: Contact) {
        if !self.verified.contains(&contact) {
            self.verified.truncate(VERIFIED - 1);
            self.verified.push_front(contact);
        }
    }
}

impl Directory {
    /// Arms what runs from the beginning.
    pub(super) fn start(&mut self, now: Instant) {
        let peer = self.config.dht.peer;
        if peer.0 != 0 && peer != self.own.address {
            self.contacts.joining.remember(peer);
            self.contacts.joining.timer = Some(self.timers.arm(now, Task::Join));
        }
        let refresh = self.jitter(self.config.refresh());
        self.timers.arm(now + refresh, Task::Refresh);
        let sweep = self.sweep_interval();
        self.timers.arm(now + sweep, Task::Sweep);
    }

    /// A time between seven and nine eighths of `time`, so that members do not move in step.
    pub(super) fn jitter(&mut self, time: Duration) -> Duration {
        around(&mut self.rng, time)
    }

    /// Asks an address, unless that has been done.
    pub(super) fn join(&mut self, now: Instant) {
        self.contacts.joining.timer = None;
        if self.contacts.joining.is_over(self.contacts.table.len()) {
            return;
        }
        // Every other time with less padding: there may be no room for it on the way.
        let tries = u8::from(self.contacts.joining.backoff.failures() % 2 == 1);
        for _ in 0..self.config.alpha().min(self.contacts.joining.seeds.len()) {
            // In turn, so that a dead address costs one pause and not the whole time.
            self.contacts.joining.seeds.rotate_left(1);
            let Some(seed) = self.contacts.joining.seeds.back().copied() else { break };
            self.ask(now, seed, Kind::Node, self.own.id, Reason::Join, tries);
        }
        let backoff = &mut self.contacts.joining.backoff;
        // At first lookups of programs wait for the result. Later the layer is taken to be down, and asking often is
        // of no use.
        let longest = if backoff.failures() < EAGER_TRIES { EAGER_RETRY } else { LONGEST_RETRY };
        let wait = backoff.failed_around(&mut self.rng, longest);
        self.contacts.joining.asked = Some(now);
        self.contacts.joining.timer = Some(self.timers.arm(now + wait, Task::Join));
    }

    /// Joins without further waiting, if that is still to be done.
    pub(super) fn join_soon(&mut self, now: Instant) {
        if self.contacts.joining.is_over(self.contacts.table.len()) {
            return;
        }
        self.contacts.joining.backoff.succeeded();
        if let Some(timer) = self.contacts.joining.timer.take() {
            self.timers.cancel(timer);
        }
        // While a layer forms, routes change many times a second: not each change is worth a request.
        let at = self.contacts.joining.asked.map_or(now, |asked| (asked + SHORTEST_RETRY).max(now));
        self.contacts.joining.timer = Some(self.timers.arm(at, Task::Join));
    }

    /// Looks around near the own id, a few times.
    pub(super) fn settle(&mut self, now: Instant) {
        self.contacts.joining.settled += 1;
        if let Some(next) = SETTLE.get(self.contacts.joining.settled) {
            let next = self.jitter(*next);
            self.timers.arm(now + next, Task::Settle);
        }
        self.look(self.own.id);
    }

    /// A member has become a contact.
    pub(super) fn contact_added(&mut self, now: Instant, contact: Contact) {
        self.counters.contacts_won += 1;
        // The lookup of the own id needs one contact to begin with, and tells the members near it that this one is
        // there.
        if self.contacts.table.len() == 1 && self.contacts.joining.settled == 0 {
            self.timers.arm(now, Task::Settle);
        }
        self.join_lookups(now, contact);
        self.tell(now, contact);
    }

    /// A contact has been given up.
    pub(super) fn contact_lost(&mut self, now: Instant, address: Address) {
        self.counters.contacts_lost += 1;
        // It may come back, and leads into the layer as well as any other.
        self.contacts.joining.remember(address);
        if self.contacts.table.len() == 0 {
            self.contacts.joining.settled = 0;
            self.contacts.joining.joined = false;
            self.join_soon(now);
        }
    }

    /// A member has sent a request.
    pub(super) fn heard_from(&mut self, now: Instant, contact: Contact, style: Style) {
        match self.contacts.table.get(contact.address) {
            Some(peer) if peer.contact.id == contact.id => {
                let well = peer.is_live();
                self.contacts.table.set_style(&contact, style);
                // Contacts are not taken back on their word: the request may be forged. The answer to a ping cannot be.
                if !well {
                    self.ping(now, contact.address, true);
                }
            }
            // It says that it has started anew.
            Some(_) => self.ping(now, contact.address, true),
            None => self.verify(now, contact),
        }
    }

    /// A member that is not a contact says that it is there. If there is a place for it, it is asked whether that is
    /// so: once, and with no more bytes than it has sent.
    pub(super) fn verify(&mut self, now: Instant, contact: Contact) {
        if self.contacts.table.has_place(&contact.id) {
            self.ping(now, contact.address, true);
        }
    }

    /// Finds out whether those heard of are there, if there is a place for them.
    pub(super) fn fill(&mut self, now: Instant) {
        while self.contacts.pings.has(now) {
            let Some(replacement) = self.contacts.table.take_replacement() else { break };
            self.ping(now, replacement.address, false);
        }
    }

    /// There are new routes: asks those to whom there was none.
    pub(super) fn ask_postponed(&mut self, now: Instant) {
        for address in core::mem::take(&mut self.contacts.joining.postponed) {
            if self.contacts.table.get(address).is_none() {
                self.ping(now, address, false);
            }
        }
    }

    /// Finds out which member has this address, unless that is under way. `short` if the reason is a message whose
    /// sender may be forged.
    pub(super) fn ping(&mut self, now: Instant, address: Address, short: bool) {
        if self.contacts.pinged.contains(&address) || !self.contacts.pings.take(now) {
            return;
        }
        // In a small layer anybody may be news; in a large one, those near the own id are.
        let small = self.contacts.table.len() <= self.config.limits.spread;
        let key = if small { random(&mut self.rng, self.config.hash) } else { self.own.id };
        if self.ask(now, address, Kind::Node, key, Reason::Ping { again: false, short }, 0) {
            self.contacts.pinged.insert(address);
        }
    }

    /// A ping has not been answered.
    pub(super) fn ping_overdue(&mut self, now: Instant, request: &Request, again: bool, short: bool) {
        let (to, key) = (request.to, request.key);
        if !self.contacts.pinged.contains(&to) {
            return;
        }
        // One that may not be there has been sent as much as it has sent.
        if !again && !short && self.ask(now, to, Kind::Node, key, Reason::Ping { again: true, short }, 1) {
            return;
        }
        self.contacts.pinged.remove(&to);
        self.silent(now, to);
    }

    /// A member has not answered a request that was asked more than once.
    pub(super) fn silent(&mut self, now: Instant, address: Address) {
        if self.contacts.table.failed(address) {
            self.contact_lost(now, address);
        }
        self.fill(now);
    }

    /// Another member has named this one.
    pub(super) fn suggested(&mut self, now: Instant, address: Address) {
        self.contacts.joining.remember(address);
        if self.contacts.table.len() == 0 {
            self.join_soon(now);
            return;
        }
        // Two parts of a layer that have formed apart know nothing of each other; a neighbour of the other part is the
        // only sign.
        let rate = self.contacts.joining.suggestions.get_or_insert_with(|| Rate::new(now, 1));
        if self.contacts.table.len() < 2 * self.config.k() || rate.take(now) {
            self.ping(now, address, false);
        }
    }

    /// Looks after the bucket that needs it most.
    pub(super) fn refresh(&mut self, now: Instant) {
        // Somewhat less: the timer has some play.
        let interval = self.config.refresh() * 3 / 4;
        let (bucket, touched) = self.contacts.table.oldest_bucket();
        if touched + interval <= now {
            // The last bucket has the own id in it, so that one finds the neighbourhood; the others need an id that
            // falls into them.
            let last = bucket + 1 == self.contacts.table.buckets();
            let key = if last { self.own.id } else { random_in_bucket(&mut self.rng, &self.own.id, bucket) };
            self.contacts.table.touch(now, &key);
            if self.contacts.table.len() > 0 {
                self.background.push(Job::Refresh(key));
            }
            // The lookup asks those near its key. The contact that was silent for longest may not be among them.
            let stale = self.contacts.table.oldest_in(bucket).filter(|peer| peer.seen + interval <= now);
            if let Some(address) = stale.map(|peer| peer.contact.address) {
                self.ping(now, address, false);
            }
        }
        let (_, oldest) = self.contacts.table.oldest_bucket();
        let next = (oldest + self.jitter(self.config.refresh())).max(now + REFRESH_PAUSE);
        self.timers.arm(next, Task::Refresh);
    }
}
