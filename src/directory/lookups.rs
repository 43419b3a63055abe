//! Asking others: lookups, their requests, and the answers.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::cache::Cache;
use super::distance::compare;
use super::lookup::{Lookup, Overdue, Purpose, Step};
use super::requests::{Kind, LIFETIME, Reason, Request, Requests};
use super::serving::VALUES;
use super::table::{Entered, Style};
use super::{Directory, Event, Found, Limits, Task};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension};

/// Fewer contacts than this in an answer say nothing about how they were chosen.
const TELLING: usize = 2;
/// Pause of a lookup before it asks silent members again.
const REST: Duration = Duration::from_millis(400);

/// Lookups under way, requests and results.
#[derive(Debug)]
pub(super) struct Lookups {
    pub(super) active: BTreeMap<(Kind, NameHash), Lookup>,
    /// Names to be looked up when there is room.
    pub(super) waiting: VecDeque<NameHash>,
    pub(super) requests: Requests,
    pub(super) cache: Cache,
    /// Nobody has answered the last one of the own member.
    pub(super) is_silent: bool,
}

impl Lookups {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            active: BTreeMap::new(),
            waiting: VecDeque::new(),
            requests: Requests::new(limits.outstanding),
            cache: Cache::new(limits.cache),
            is_silent: false,
        }
    }

    /// Lookups under way for the own member.
    pub(super) fn own(&self) -> usize {
        self.active.values().filter(|lookup| lookup.purpose.find).count()
    }

    /// Returns `true` if this name is being looked up for the own member.
    pub(super) fn is_looking(&self, name: &NameHash) -> bool {
        self.active.get(&(Kind::Value, *name)).is_some_and(|lookup| lookup.purpose.find)
    }

    /// Lookups of a kind under way.
    pub(super) fn of(&self, kind: Kind) -> usize {
        self.active.keys().filter(|(of, _)| *of == kind).count()
    }
}

impl Directory {
    /// Looks a name up for the own member.
    pub(super) fn find(&mut self, now: Instant, name: NameHash) -> Found {
        let id = (Kind::Value, name);
        if let Some(lookup) = self.lookups.active.get_mut(&id) {
            lookup.purpose.find = true;
            return Found::Pending;
        }
        // With an address to ask, the lookup waits: a program that starts together with its member would otherwise fail
        // at once.
        if self.contacts.table.len() == 0 && !self.contacts.joining.is_hopeful() {
            return Found::Unknown;
        }
        if self.lookups.waiting.contains(&name) {
            return Found::Pending;
        }
        if self.lookups.waiting.len() >= self.config.limits.waiting {
            self.counters.refused_lookups += 1;
            return Found::Unknown;
        }
        self.lookups.waiting.push_back(name);
        if self.contacts.table.len() == 0 {
            self.join_soon(now);
        }
        self.begin_lookups(now);
        Found::Pending
    }

    /// Begins the lookups that wait, as many as there may be.
    pub(super) fn begin_lookups(&mut self, now: Instant) {
        while !self.lookups.waiting.is_empty() && self.lookups.own() < self.config.limits.lookups.max(1) {
            let Some(name) = self.lookups.waiting.pop_front() else { break };
            self.begin_lookup(now, Kind::Value, name, Purpose { find: true, ..Purpose::default() });
        }
        self.begin_background(now);
    }

    /// Begins a lookup, or adds a purpose to a lookup that is under way.
    pub(super) fn begin_lookup(&mut self, now: Instant, kind: Kind, key: NameHash, purpose: Purpose) {
        let limits = self.config.limits;
        let lookup = self.lookups.active.entry((kind, key)).or_insert_with(|| {
            let mut lookup = Lookup::new(key, self.config.k(), limits.requests_per_lookup, now + limits.patience);
            lookup.timer = Some(self.timers.arm(lookup.deadline, Task::Lookup(kind, key)));
            lookup
        });
        // One lookup for each key, whatever its purposes: a name that is published and asked for costs one walk.
        lookup.purpose.add(purpose);
        // A lookup refreshes the bucket of its key (Kademlia, 2.3).
        self.contacts.table.touch(now, &key);
        // The buckets may hold more than k: starting with all that are near costs no request, and makes up for dead
        // ones.
        let count = self.config.k().max(self.config.bucket());
        let mut first = self.contacts.table.closest(&key, count);
        if first.len() < self.config.k() {
            // Too few live contacts: those that did not answer may be back, and asking is how that is found out.
            first.extend(self.contacts.table.stale(&key, self.config.k() - first.len()));
        }
        if kind == Kind::Value {
            // Addresses in doubt are asked themselves, whatever their ids.
            let doubted = self.lookups.cache.doubted(now, &key).filter(|address| *address != self.own.address);
            first.extend(doubted.map(|address| Contact { id: key, address }));
        }
        first.into_iter().for_each(|contact| lookup.add(contact, 1));
        self.go_on(now, kind, key);
    }

    /// Asks whom a lookup has to ask next, or ends it.
    pub(super) fn go_on(&mut self, now: Instant, kind: Kind, key: NameHash) {
        let alpha = self.config.alpha();
        while let Some(lookup) = self.lookups.active.get_mut(&(kind, key)) {
            match lookup.step(alpha) {
                Step::Ask(to) => {
                    let tries = lookup.asking(to);
                    // Without room for a request it counts as unreachable, or this loop would choose it again and
                    // again.
                    if !self.ask(now, to, kind, key, Reason::Lookup, tries)
                        && let Some(lookup) = self.lookups.active.get_mut(&(kind, key))
                    {
                        lookup.unreachable(to);
                    }
                }
                Step::Wait => return,
                // A contact may turn up in time.
                Step::Done if !lookup.is_answered() && now < lookup.deadline && kind == Kind::Value => return,
                Step::Done if self.widens(&kind, &key) => {}
                Step::Done if self.rests(now, kind, key) => return,
                Step::Done => return self.end(now, kind, key),
            }
        }
    }

    /// Waits a little to ask silent members again, if a name was not found without them: routes need a moment to lead
    /// around a member that is gone.
    fn rests(&mut self, now: Instant, kind: Kind, key: NameHash) -> bool {
        let Some(lookup) = self.lookups.active.get_mut(&(kind, key)) else { return false };
        let again = now + REST;
        if kind != Kind::Value || !lookup.may_have_missed_it() || again >= lookup.deadline {
            return false;
        }
        // The timer of the deadline serves for the pause as well; `out_of_time` arms it anew.
        if !core::mem::replace(&mut lookup.resting, true) {
            lookup.timer.take().map(|timer| self.timers.cancel(timer));
            lookup.timer = Some(self.timers.arm(again, Task::Lookup(kind, key)));
        }
        true
    }

    /// Goes on among members that may be references, if a lookup for a name has found nothing.
    fn widens(&mut self, kind: &Kind, key: &NameHash) -> bool {
        let limits = self.config.limits;
        let Some(lookup) = self.lookups.active.get_mut(&(*kind, *key)) else { return false };
        if *kind != Kind::Value || lookup.widened {
            return false;
        }
        // References store names at arbitrary contacts, so the k closest prove nothing where there are any. In a small
        // layer a contact of unknown style may be one; in a large one asking all of them would cost too much.
        let mixed = self.contacts.table.iter().any(|peer| peer.style == Style::SingleRound);
        if !mixed && self.contacts.table.len() > limits.spread {
            return false;
        }
        let mut others: Vec<_> = self.contacts.table.iter().filter(|peer| peer.style != Style::Iterative).collect();
        // Those known to be references first, then by distance.
        others.sort_by(|a, b| {
            let style = (a.style != Style::SingleRound).cmp(&(b.style != Style::SingleRound));
            style.then_with(|| compare(key, &a.contact.id, &b.contact.id))
        });
        lookup.widen(others.into_iter().map(|peer| peer.contact), limits.extra_requests);
        true
    }

    /// Sends a request. `false` if there are too many.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        to: Address,
        kind: Kind,
        key: NameHash,
        reason: Reason,
        tries: u8,
    ) -> bool {
        let request = Request { to, kind, key, reason, asked: now, overdue: false, squeezed: false, timer: None };
        // An overdue request gives way to a new one: its answer is unlikely, while the new one has all its chances.
        if let Some(timer) = self.lookups.requests.make_room() {
            self.overdue.cancel(timer);
        }
        let Some(cookie) = self.lookups.requests.ask(&mut self.rng, request) else { return false };
        let patience = self.lookups.requests.patience(tries);
        if let Some(request) = self.lookups.requests.get_mut(cookie) {
            request.timer = Some(self.overdue.arm(now + patience, cookie));
        }
        self.counters.requests += 1;
        self.counters.repeated += u64::from(tries > 0);
        let body = match kind {
            Kind::Node => Body::FindNode { cookie, key },
            Kind::Value => Body::FindValue { cookie, key },
        };
        let extension = Extension::pad(self.shortest_request(), self.request_len(to, kind, reason, tries));
        self.send(to, body, extension);
        true
    }

    /// Length of a request: that of the answer that it asks for.
    fn request_len(&self, to: Address, kind: Kind, reason: Reason, tries: u8) -> usize {
        match reason {
            // It answers the short ones of those who are there, and knows nothing of others.
            _ if self.contacts.table.get(to).is_some_and(|peer| peer.style == Style::SingleRound) => 0,
            _ if reason.is_short() => 0,
            // It may have been too long for the way. The shortest that is answered even to strangers.
            _ if tries > 0 => self.answer_len(kind, 1, VALUES) + self.longest_request(),
            // In a small layer the contacts in its answer may be news.
            Reason::Ping { .. } if self.contacts.table.len() > self.config.limits.spread => {
                self.answer_len(kind, 1, 0) + self.longest_request()
            }
            _ => {
                let answer = self.answer_len(kind, self.config.k(), VALUES) + self.longest_request();
                answer.min(self.config.limits.message)
            }
        }
    }

    /// The wait for an answer is over, for the first time or for good.
    pub(super) fn is_overdue(&mut self, now: Instant, cookie: u64) {
        let Some(open) = self.lookups.requests.get_mut(cookie) else { return };
        let request = *open;
        let end = request.asked + LIFETIME;
        if end <= now {
            self.lookups.requests.remove(cookie);
        } else {
            open.timer = Some(self.overdue.arm(end, cookie));
            // The cookie stays valid as long as a reference would take the answer: a late answer is still one.
            open.overdue = true;
        }
        match request.reason {
            _ if request.overdue => {}
            Reason::Lookup => self.lookup_overdue(now, &request),
            Reason::Ping { again, short } => self.ping_overdue(now, &request, again, short),
            Reason::Confirm { .. } => drop(self.storage.confirms.remove(&(request.key, request.to))),
            Reason::Join => {}
        }
    }

    fn lookup_overdue(&mut self, now: Instant, request: &Request) {
        let Request { to, kind, key, .. } = *request;
        let Some(lookup) = self.lookups.active.get_mut(&(kind, key)) else { return };
        match lookup.overdue(to) {
            Overdue::Again => {
                let tries = lookup.asking(to);
                self.ask(now, to, kind, key, Reason::Lookup, tries);
            }
            Overdue::Silent => self.silent(now, to),
            Overdue::Nothing => {}
        }
        self.go_on(now, kind, key);
    }

    /// There is no route for a request.
    pub(super) fn cannot_ask(&mut self, now: Instant, request: &Request) {
        match request.reason {
            Reason::Lookup => {
                if let Some(lookup) = self.lookups.active.get_mut(&(request.kind, request.key)) {
                    lookup.unreachable(request.to);
                    self.go_on(now, request.kind, request.key);
                }
            }
            Reason::Ping { .. } => {
                self.contacts.pinged.remove(&request.to);
                self.contacts.joining.postpone(request.to);
            }
            Reason::Confirm { .. } => drop(self.storage.confirms.remove(&(request.key, request.to))),
            Reason::Join => {}
        }
    }

    /// An answer has come.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        from: Contact,
        (cookie, kind, key): (u64, Kind, NameHash),
        token: Option<u64>,
        contacts: &[Contact],
        values: &[Address],
    ) {
        let Some(request) = self.lookups.requests.answered(now, cookie, from.address, kind, &key) else {
            self.counters.unsolicited += 1;
            return;
        };
        request.timer.map(|timer| self.overdue.cancel(timer));
        match request.reason {
            Reason::Ping { .. } => drop(self.contacts.pinged.remove(&from.address)),
            Reason::Join => self.contacts.joining.succeeded(),
            Reason::Confirm { expires } => {
                // One of our own kind, which the token shows, publishes for `lifetime` and again before that is over: a
                // longer claim is not its own.
                let expires = expires.map(|at| if token.is_some() { at.min(now + self.config.lifetime()) } else { at });
                self.confirmed(now, key, from.address, expires, values);
            }
            Reason::Lookup => {}
        }
        let entered = self.contacts.table.answered(now, from);
        token.into_iter().for_each(|token| self.contacts.table.set_token(&from, token));
        self.note_style(&from, &key, contacts);
        contacts.iter().for_each(|contact| self.contacts.table.hear(*contact));
        if let Some(lookup) = self.lookups.active.get_mut(&(kind, key)) {
            let own = self.own;
            let others: Vec<Contact> =
                contacts.iter().filter(|c| c.address != own.address && c.id != own.id).copied().collect();
            lookup.answered(from, token, &others);
        }
        self.hear_values(now, &from, &key, values);
        match entered {
            Entered::New => self.contact_added(now, from),
            Entered::Full => self.contacts.note_verified(from),
            Entered::Known => {}
        }
        self.answer_held(now, &from);
        self.fill(now);
        self.go_on(now, kind, key);
    }

    /// A member that does not sort contacts does not look up iteratively either.
    fn note_style(&mut self, from: &Contact, key: &NameHash, contacts: &[Contact]) {
        // The reference answers with contacts in the order of its buckets; sorting them by distance is what a member of
        // this kind does.
        let sorted = contacts.is_sorted_by(|a, b| compare(key, &a.id, &b.id).is_le());
        if contacts.len() >= TELLING && !sorted {
            self.contacts.table.set_style(from, Style::SingleRound);
        }
    }

    /// A member has said where a name is.
    fn hear_values(&mut self, now: Instant, from: &Contact, key: &NameHash, values: &[Address]) {
        let until = now + self.config.limits.remember;
        let mut found = false;
        for value in values.iter().take(VALUES).filter(|value| **value != self.own.address) {
            let itself = *value == from.address;
            match self.lookups.active.get_mut(&(Kind::Value, *key)) {
                Some(lookup) => {
                    found |= itself || !self.lookups.cache.is_doubted(now, key, *value);
                    lookup.found_value(*value, itself);
                }
                None => self.lookups.cache.add(now, key, *value, until),
            }
        }
        // The first believable address ends the lookup: the allocation of a flow finds out sooner than more answers
        // would whether it is right.
        if found {
            self.end(now, Kind::Value, *key);
        }
    }

    /// A new contact may be of use to lookups that do not know whom to ask.
    pub(super) fn join_lookups(&mut self, now: Instant, contact: Contact) {
        // Collected first: to go on may end a lookup, and that changes the map.
        let waiting = self.lookups.active.iter_mut().filter(|(_, lookup)| !lookup.is_answered());
        let waiting: Vec<(Kind, NameHash)> = waiting
            .map(|(id, lookup)| {
                lookup.add(contact, 1);
                *id
            })
            .collect();
        waiting.into_iter().for_each(|(kind, key)| self.go_on(now, kind, key));
    }

    /// Asks members again that could not be reached, where none has answered.
    pub(super) fn revive(&mut self, now: Instant) {
        let waiting = self.lookups.active.iter_mut().filter(|(_, lookup)| !lookup.is_answered());
        let waiting: Vec<(Kind, NameHash)> = waiting
            .map(|(id, lookup)| {
                lookup.revive();
                *id
            })
            .collect();
        waiting.into_iter().for_each(|(kind, key)| self.go_on(now, kind, key));
    }

    /// A lookup has taken too long, or has rested.
    pub(super) fn out_of_time(&mut self, now: Instant, kind: Kind, key: NameHash) {
        let Some(lookup) = self.lookups.active.get_mut(&(kind, key)) else { return };
        if lookup.deadline <= now {
            self.end(now, kind, key);
        } else if core::mem::replace(&mut lookup.resting, false) {
            lookup.timer = Some(self.timers.arm(lookup.deadline, Task::Lookup(kind, key)));
            lookup.go_on_after_rest();
            self.go_on(now, kind, key);
        }
    }

    /// A lookup is over.
    fn end(&mut self, now: Instant, kind: Kind, key: NameHash) {
        let Some(lookup) = self.lookups.active.remove(&(kind, key)) else { return };
        if let Some(timer) = lookup.timer {
            self.timers.cancel(timer);
        }
        match kind {
            Kind::Node => {
                self.deliver(now, &lookup);
            }
            Kind::Value => self.conclude(now, &lookup),
        }
    }

    /// A lookup is over: what was found is remembered and told.
    fn conclude(&mut self, now: Instant, lookup: &Lookup) {
        let key = lookup.key;
        let mut found = lookup.values.clone();
        // Owners first. The sort is stable, so the order of arrival, which favours members that answer soon, is kept among
        // equals.
        found.sort_by_key(|value| !value.itself);
        let seen = found.iter().filter(|s| s.itself || !self.lookups.cache.is_doubted(now, &key, s.address));
        let mut addresses: Vec<Address> = seen.map(|value| value.address).collect();
        for value in self.storage.store.get(now, &key) {
            if !addresses.contains(&value.address) && !self.lookups.cache.is_doubted(now, &key, value.address) {
                addresses.push(value.address);
            }
        }
        let limits = &self.config.limits;
        if !addresses.is_empty() {
            self.lookups.cache.put(now, &key, &addresses, now + limits.remember);
        // Unknown is remembered only if a member said so: silence proves nothing about the name.
        } else if lookup.is_answered() {
            self.lookups.cache.put(now, &key, &[], now + limits.remember_unknown);
        }
        if lookup.purpose.find {
            self.lookups.is_silent = addresses.is_empty() && !lookup.is_answered();
            let counter = if addresses.is_empty() { &mut self.counters.not_found } else { &mut self.counters.found };
            *counter += 1;
            let event = Event::LookupDone { hash: key, addresses: addresses.clone(), effort: lookup.effort() };
            self.events.push_back(event);
        }
        self.answer_relays(now, &key, &addresses);
    }
}
