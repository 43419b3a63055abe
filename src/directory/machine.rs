//! One member's part of the directory: its state, and what calls do with it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::background::Background;
use super::distance;
use super::fitting::fitted;
use super::joining::Contacts;
use super::lookups::Lookups;
use super::names::Name;
use super::publishing::Publishing;
use super::requests::Kind;
use super::serving::{Query, Serving};
use super::storage::{Cause, Storage};
use super::{Config, Counters, Doubt, Event, Found, RegisterError};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::base::timers::Timers;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension, Message};

/// Tasks that may follow from others in one go.
const SPARE_TASKS: usize = 64;
/// Room for messages that is kept while none waits.
const IDLE_OUTBOX: usize = 8;

/// Something to be done at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// A lookup has taken too long.
    Lookup(Kind, NameHash),
    /// Ask an address, as long as there is no contact.
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
    /// Answer a request whose lookup takes too long.
    Relay,
    /// Go on with background lookups.
    Rest,
    /// Say once more that a name is not registered here any more.
    Withdraw(NameHash),
}

/// One member's part of the directory.
///
/// All input comes through calls, each with the present moment and, where names may have to be published, the seconds
/// since 1970-01-01 UTC. After each call, [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event) and
/// [`next_deadline`](Self::next_deadline) tell what there is to do.
#[derive(Debug)]
pub struct Directory {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) own: Contact,
    /// Contacts.
    pub(super) contacts: Contacts,
    /// Lookups under way, and their results.
    pub(super) lookups: Lookups,
    /// Names kept for others.
    pub(super) storage: Storage,
    /// Names that others have to keep.
    pub(super) publishing: Publishing,
    /// Background lookups.
    pub(super) background: Background,
    /// Requests of others.
    pub(super) serving: Serving,
    pub(super) timers: Timers<Task>,
    /// Requests whose answers are overdue then, or cannot come any more. There are many at times, and a task takes more
    /// memory.
    pub(super) overdue: Timers<u64>,
    pub(super) outbox: VecDeque<(Address, Message, Extension)>,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
    /// A moment, and what the clock of the world showed then, seconds since 1970-01-01 UTC.
    pub(super) clock: (Instant, u64),
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
            storage: Storage::new(now, own.id, &config),
            publishing: Publishing::default(),
            background: Background::new(now, &limits),
            serving: Serving::new(now, &limits, &mut rng),
            timers: Timers::new(),
            overdue: Timers::new(),
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

    /// Makes a name known in the layer as one of this member, until [`unregister`](Self::unregister).
    ///
    /// It takes no notice of a name that is registered already.
    ///
    /// # Errors
    /// [`RegisterError::Full`] beyond [`Limits::names`](super::Limits::names), [`RegisterError::Length`] for a hash of another length.
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
        // A withdrawal that is still to be repeated would reach members that are told of the name now.
        self.no_more_withdrawn(&name);
        self.publishing.names.insert(name, Name::default());
        self.publish(name);
        self.begin_lookups(now);
        Ok(())
    }

    /// Withdraws a name. Members of this kind that were told of it forget it at once; references, and members that do
    /// not hear it, when their copies expire: within [`lifetime`](super::Limits::lifetime). `false` if it was not
    /// registered.
    pub fn unregister(&mut self, now: Instant, hash: &NameHash) -> bool {
        let Some(name) = self.publishing.names.remove(hash) else { return false };
        if let Some(timer) = name.timer {
            self.timers.cancel(timer);
        }
        self.withdraw(now, *hash, name.holders);
        true
    }

    /// Returns the addresses of a name, or starts a lookup.
    ///
    /// [`Found::Pending`] is followed by exactly one [`Event::LookupDone`] for the name, however often it was asked
    /// for meanwhile.
    pub fn lookup(&mut self, now: Instant, unix: u64, name: NameHash) -> Found {
        self.clock = (now, unix);
        self.counters.lookups += 1;
        // First what a lookup has found: that includes what is stored here, and leaves out what is doubted.
        if let Some(addresses) = self.lookups.cache.get(now, &name).filter(|addresses| !addresses.is_empty()) {
            self.counters.known += 1;
            return Found::Known(addresses.to_vec());
        }
        // Hearsay is not enough for an answer without a lookup; the word of the member at the address is.
        let told: Vec<Address> =
            self.storage.store.get(now, &name).iter().filter(|v| v.itself).map(|v| v.address).collect();
        let told: Vec<Address> =
            told.into_iter().filter(|to| !self.lookups.cache.is_doubted(now, &name, *to)).collect();
        // While it is being looked up, more is known soon: a member that claims to have the name again and again, and
        // then refuses, does not keep others from being found.
        if !told.is_empty() && !self.lookups.is_looking(&name) {
            self.counters.known += 1;
            return Found::Known(told);
        }
        // An empty result in the cache says that the name was not found a moment ago: asking again so soon costs a
        // whole lookup and finds the same.
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
        // Silence may be a matter of the path from here. A refusal comes from the member itself, and concerns all who
        // are told of the name here.
        if why == Doubt::Refused && self.storage.store.has(name, address) {
            // Others hear of it from here.
            self.confirm(now, Cause::Own, *name, address, None);
        }
    }

    /// Takes a message: the payload of a packet for EID 1. Whatever is wrong with it is counted.
    pub fn handle_packet(&mut self, now: Instant, unix: u64, message: &[u8]) {
        self.clock = (now, unix);
        self.counters.received += 1;
        let Ok((Message { src, body }, Extension { token, .. })) = Message::decode_extended(self.config.hash, message)
        else {
            self.counters.malformed += 1;
            return;
        };
        // An echo, a forgery, or a member that shares our id: as a contact it would have this member ask itself.
        if src.address == self.own.address || src.id == self.own.id {
            self.counters.id_conflicts += 1;
            return;
        }
        match body {
            Body::Store { key, value, expires } => {
                self.asked_to_store(now, src, (key, value, expires), token, message.len());
            }
            Body::FindNode { cookie, key } => {
                self.asked(now, Query { from: src, cookie, key, kind: Kind::Node, len: message.len(), at: now });
            }
            Body::FindValue { cookie, key } => {
                self.asked(now, Query { from: src, cookie, key, kind: Kind::Value, len: message.len(), at: now });
            }
            Body::FoundNode { cookie, key, contacts } => {
                self.answered(now, src, (cookie, Kind::Node, key), token, &contacts, &[]);
            }
            Body::FoundValue { cookie, key, contacts, values } => {
                self.answered(now, src, (cookie, Kind::Value, key), token, &contacts, &values);
            }
        }
        self.begin_lookups(now);
    }

    /// A message to this address could not be sent: there is no route.
    pub fn unreachable(&mut self, now: Instant, address: Address) {
        self.counters.unreachable += 1;
        // Kept all the same: when there is a route again it is as good a contact as before.
        self.contacts.table.lost(address);
        while let Some(request) = self.lookups.requests.take_to(address) {
            request.timer.map(|timer| self.overdue.cancel(timer));
            self.cannot_ask(now, &request);
        }
        self.begin_lookups(now);
    }

    /// Routes have changed: unreachable members may be reachable again.
    pub fn route_known(&mut self, now: Instant) {
        self.contacts.table.routes_changed();
        self.revive(now);
        self.join_soon(now);
        self.ask_postponed(now);
        self.begin_lookups(now);
    }

    /// There is a member with this address, by other means than the directory: a neighbour, or a new one in the
    /// link-state database. Cheap for one that is known. It makes joining faster, and heals a layer that fell apart.
    pub fn suggest(&mut self, now: Instant, address: Address) {
        if address != self.own.address && address.0 != 0 && self.contacts.table.get(address).is_none() {
            self.suggested(now, address);
        }
    }

    /// Latest time of the next call of [`handle_timeout`](Self::handle_timeout).
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.overdue.next()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, unix: u64) {
        self.clock = (now, unix);
        // Few tasks arm others for the same moment; the bound is for unforeseen cases.
        for _ in 0..self.timers.len() + self.overdue.len() + SPARE_TASKS {
            if let Some((_, cookie)) = self.overdue.pop_due(now) {
                self.is_overdue(now, cookie);
            } else if let Some((_, task)) = self.timers.pop_due(now) {
                self.do_task(now, task);
            } else {
                break;
            }
        }
        self.begin_lookups(now);
    }

    fn do_task(&mut self, now: Instant, task: Task) {
        match task {
            Task::Lookup(kind, key) => self.out_of_time(now, kind, key),
            Task::Join => self.join(now),
            Task::Settle => self.settle(now),
            Task::Refresh => self.refresh(now),
            Task::Publish(name) => self.publish(name),
            Task::HandOff => self.hand_off(now),
            Task::Sweep => self.sweep(now),
            Task::Relay => self.answer_late(now),
            Task::Rest => self.background.resting = false,
            Task::Withdraw(name) => self.withdraw_again(now, name),
        }
    }

    /// The next message to send, as the payload of a packet for EID 1, and to whom.
    pub fn poll_transmit(&mut self) -> Option<(Address, Vec<u8>)> {
        self.poll_message(|_| usize::MAX)
    }

    /// As [`poll_transmit`](Self::poll_transmit), where a packet to a member has `room` for so many bytes. What is longer
    /// goes with less padding, fewer contacts, fewer addresses; and what is too long even so not at all.
    pub fn poll_message(&mut self, room: impl Fn(Address) -> usize) -> Option<(Address, Vec<u8>)> {
        loop {
            let Some((to, mut message, extension)) = self.outbox.pop_front() else {
                // Mostly it is empty, and much was in it at once when the member joined.
                if self.outbox.capacity() > IDLE_OUTBOX {
                    self.outbox = VecDeque::new();
                }
                return None;
            };
            let Some((bytes, squeezed)) = fitted(&mut message, extension, room(to)) else {
                self.counters.too_large += 1;
                continue;
            };
            if let Body::FindNode { cookie, .. } | Body::FindValue { cookie, .. } = message.body
                && let Some(request) = self.lookups.requests.get_mut(cookie)
            {
                request.squeezed = squeezed;
            }
            self.counters.sent += 1;
            return Some((to, bytes));
        }
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn send(&mut self, to: Address, body: Body, extension: Extension) {
        // Dropping is safe: a message that gets lost here is one that gets lost on the way, and requesters ask again.
        if self.outbox.len() >= self.config.limits.outbox {
            self.counters.overflowed += 1;
            return;
        }
        self.outbox.push_back((to, Message { src: self.own, body }, extension));
    }

    /// Seconds since 1970-01-01 UTC.
    pub(super) fn unix(&self, now: Instant) -> u64 {
        // Calls that are not given the time of the world count on from the last one that was.
        let (then, unix) = self.clock;
        unix.saturating_add(now.since(then).as_secs())
    }
}
