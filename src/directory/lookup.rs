//! A lookup: request by request towards a key, until the closest members have answered.

use alloc::vec::Vec;

use super::Effort;
use super::distance::compare;
use crate::base::time::Instant;
use crate::base::timers::TimerId;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::Contact;

/// Number of requests to a member before it counts as silent.
const TRIES: u8 = 2;
/// The same while no member has answered at all: then it is the way back that is missing.
const TRIES_IN_SILENCE: u8 = 6;
/// Contacts taken from one answer.
const TAKEN: usize = 20;
/// Candidates remembered.
const KEPT: usize = 96;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    /// It was asked so many times; the last time has not run out.
    Asked(u8),
    Answered,
    Silent,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    contact: Contact,
    state: State,
    /// Number of requests that led here, this one included.
    depth: u8,
    /// Token in its answer.
    token: Option<u64>,
}

/// Result of a lookup of a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundValue {
    pub(super) address: Address,
    /// It said so itself.
    pub(super) itself: bool,
}

/// Next step of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask this member.
    Ask(Address),
    /// Nothing until an answer comes or a wait is over.
    Wait,
    /// The closest have answered.
    Done,
}

/// Purposes of a lookup. It may have several.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Purpose {
    /// The own member asks where a name is.
    pub(super) find: bool,
    /// A name that is registered here goes to the closest.
    pub(super) publish: bool,
    /// A name that is kept here goes to the closest.
    pub(super) replicate: bool,
    /// A name that is not registered here any more is taken back from the closest.
    pub(super) withdraw: bool,
}

impl Purpose {
    /// Takes on another purpose as well.
    pub(super) fn add(&mut self, other: Self) {
        self.find |= other.find;
        self.publish |= other.publish;
        self.replicate |= other.replicate;
        self.withdraw |= other.withdraw;
    }
}

/// Step when the wait for an answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Ask again.
    Again,
    /// Give the member up.
    Silent,
    /// It has answered, or another request is under way.
    Nothing,
}

/// A lookup for a key.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) key: NameHash,
    pub(super) purpose: Purpose,
    pub(super) deadline: Instant,
    /// Timer of the deadline.
    pub(super) timer: Option<TimerId>,
    pub(super) values: Vec<FoundValue>,
    /// Members that may have a name out of place were added.
    pub(super) widened: bool,
    /// It waits to ask silent members again.
    pub(super) resting: bool,
    /// Candidates, in order of distance to the key.
    candidates: Vec<Candidate>,
    k: usize,
    requests_left: u16,
    effort: Effort,
}

impl Lookup {
    pub(super) fn new(key: NameHash, k: usize, requests: usize, deadline: Instant) -> Self {
        Self {
            key,
            purpose: Purpose::default(),
            deadline,
            timer: None,
            values: Vec::new(),
            widened: false,
            resting: false,
            candidates: Vec::new(),
            k,
            requests_left: requests.try_into().unwrap_or(u16::MAX),
            effort: Effort::default(),
        }
    }

    pub(super) fn effort(&self) -> Effort {
        self.effort
    }

    /// Returns `true` if a member has answered.
    pub(super) fn is_answered(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.state == State::Answered)
    }

    /// Returns `true` if nothing was found, but might have been by those of the closest that have not answered.
    pub(super) fn may_have_missed_it(&self) -> bool {
        let mut closest = self.candidates.iter().take(self.k);
        self.values.is_empty() && closest.any(|candidate| candidate.state != State::Answered)
    }

    /// Asks silent members again, for which there are a few more requests.
    pub(super) fn go_on_after_rest(&mut self) {
        self.revive();
        self.requests_left = self.requests_left.max(2 * self.k as u16);
    }

    /// The k closest that have answered, each with the token that it gave.
    pub(super) fn closest(&self) -> impl Iterator<Item = (Contact, Option<u64>)> {
        let answered = self.candidates.iter().filter(|candidate| candidate.state == State::Answered);
        answered.take(self.k).map(|candidate| (candidate.contact, candidate.token))
    }

    /// Adds a candidate, `depth` requests away.
    pub(super) fn add(&mut self, contact: Contact, depth: u8) {
        self.insert(Candidate { contact, state: State::New, depth, token: None });
    }

    fn insert(&mut self, new: Candidate) {
        // By address, not by id: a liar can name one member under many ids, each of which would cost a request.
        if self.candidates.iter().any(|known| known.contact.address == new.contact.address) {
            return;
        }
        let key = self.key;
        let at = self.candidates.partition_point(|known| compare(&key, &known.contact.id, &new.contact.id).is_le());
        self.candidates.insert(at, new);
        if self.candidates.len() > KEPT
            // The farthest that has not been asked gives way. Those that were asked stay, or they would be added, and
            // asked, again.
            && let Some(last) = self.candidates.iter().rposition(|candidate| candidate.state == State::New)
        {
            self.candidates.remove(last);
        }
    }

    fn of(&mut self, address: Address) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.contact.address == address)
    }

    /// Returns the next step, with `alpha` requests under way at most.
    pub(super) fn step(&mut self, alpha: usize) -> Step {
        // Only the k closest that are not silent count. Kademlia ends when they have answered, whatever farther ones
        // would say.
        let mut places = if self.widened { usize::MAX } else { self.k };
        // While no member has answered, silent ones do not keep others waiting.
        let strict = self.is_answered();
        let (mut asked, mut slow, mut next) = (0, 0, None);
        for candidate in self.candidates.iter().filter(|candidate| candidate.state != State::Silent) {
            if places == 0 {
                break;
            }
            let mut place = 1;
            match candidate.state {
                // Only first requests count towards alpha: one that was repeated is likely to be dead, and must not
                // keep the next candidate waiting.
                State::Asked(1) => asked += 1,
                State::Asked(_) => {
                    slow += 1;
                    place = usize::from(strict);
                }
                State::New if next.is_none() => next = Some(candidate.contact.address),
                State::New | State::Answered | State::Silent => {}
            }
            places -= place;
        }
        // Without requests left there is no next one: the lookup is done as soon as nothing is under way.
        match next.filter(|_| self.requests_left > 0) {
            Some(address) if asked < alpha => Step::Ask(address),
            None if asked + slow == 0 => Step::Done,
            Some(_) | None => Step::Wait,
        }
    }

    /// A member is being asked, for the how manieth time from 0.
    pub(super) fn asking(&mut self, address: Address) -> u8 {
        self.requests_left = self.requests_left.saturating_sub(1);
        self.effort.requests = self.effort.requests.saturating_add(1);
        // It may have been displaced meanwhile. Its answer is welcome all the same.
        let Some(candidate) = self.of(address) else { return 0 };
        let tries = if let State::Asked(tries) = candidate.state { tries } else { 0 };
        candidate.state = State::Asked(tries + 1);
        tries
    }

    /// The wait for a member's answer is over.
    pub(super) fn overdue(&mut self, address: Address) -> Overdue {
        let most = if self.is_answered() { TRIES } else { TRIES_IN_SILENCE };
        let Some(candidate) = self.of(address) else { return Overdue::Nothing };
        match candidate.state {
            State::Asked(tries) if tries < most => Overdue::Again,
            State::Asked(_) => {
                candidate.state = State::Silent;
                Overdue::Silent
            }
            State::New | State::Answered | State::Silent => Overdue::Nothing,
        }
    }

    /// Members that could not be asked or did not answer are as good as new.
    pub(super) fn revive(&mut self) {
        // Routes come up while a layer forms: silence then says more about the route than about the member.
        for candidate in self.candidates.iter_mut().filter(|candidate| candidate.state == State::Silent) {
            candidate.state = State::New;
        }
    }

    /// A member cannot be asked.
    pub(super) fn unreachable(&mut self, address: Address) {
        if let Some(candidate) = self.of(address).filter(|candidate| candidate.state != State::Answered) {
            candidate.state = State::Silent;
        }
    }

    /// A member has answered, with these contacts.
    pub(super) fn answered(&mut self, from: Contact, token: Option<u64>, contacts: &[Contact]) {
        let depth = self.of(from.address).map_or(1, |candidate| candidate.depth);
        self.effort.rounds = self.effort.rounds.max(depth);
        // Under its true id, whatever others said.
        self.candidates.retain(|known| known.contact.address != from.address);
        self.insert(Candidate { contact: from, state: State::Answered, depth, token });
        // A bound on what one answer can add: a liar could otherwise fill the list with invented members near the key.
        for contact in contacts.iter().take(TAKEN) {
            self.add(*contact, depth.saturating_add(1));
        }
    }

    /// A member has said where the name is.
    pub(super) fn found_value(&mut self, address: Address, itself: bool) {
        match self.values.iter_mut().find(|known| known.address == address) {
            // The word of the owner is worth more than hearsay, and is not lost when others repeat it.
            Some(known) => known.itself |= itself,
            None => self.values.push(FoundValue { address, itself }),
        }
    }

    /// Asks on among `others`, in their order, which may have the name out of place.
    pub(super) fn widen(&mut self, others: impl Iterator<Item = Contact>, requests: usize) {
        self.widened = true;
        self.requests_left = requests.try_into().unwrap_or(u16::MAX);
        for contact in others.take(requests) {
            self.add(contact, 1);
        }
    }
}
