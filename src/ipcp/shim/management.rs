//! Management messages that have been received and wait to be handled: bounded in number, memory and time, and shared fairly.
//!
//! A member receives faster than it handles requests and replies, and anybody may send it some. So there is a bound on what
//! waits, and on what waits of one peer.
//!
//! Replies that this end waits for come first, in their turn as well: all of the room is theirs, and what gives way to them
//! is requests, which anybody can make up, under any address. Nobody can make up replies: each answers a request of this
//! end, comes from where that went, and is the only one; a second reply to the same request is of no use.
//!
//! Requests share what is left. When there is no room, the newest of the peer that has most there goes; a stranger who sends
//! without end has most. One who makes up an address for each message has one message each.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use smallvec::SmallVec;

use crate::base::sync::Mutex;
use crate::base::time::{Clock, Instant};

/// Messages that wait, and the memory that they may hold, bytes.
const MAX_MESSAGES: usize = 512;
const MAX_BYTES: usize = 2 << 20;
/// The same of one peer: more than a device hands up at a time, as many hosts ask for many flows at once.
const MAX_OF_PEER: usize = MAX_MESSAGES / 2;
const MAX_BYTES_OF_PEER: usize = MAX_BYTES / 2;
/// A thread handles messages for no longer than this before it goes back to its own work.
const TURN: Duration = Duration::from_millis(1);

/// Messages of type `M` that wait.
pub(super) struct Management<M> {
    replies: VecDeque<Waiting<M>>,
    requests: VecDeque<Waiting<M>>,
    bytes: usize,
    peers: BTreeMap<u64, Held>,
    /// The requests of this end whose replies wait: the peer, and the number, which may be that of another peer's request
    /// later.
    answered: BTreeSet<(u64, u64)>,
}

struct Waiting<M> {
    peer: u64,
    bytes: usize,
    /// The request of this end that it answers, by its number. What answers none is a request of the peer.
    answers: Option<u64>,
    message: M,
}

/// Messages of one peer that wait.
#[derive(Clone, Copy, Default)]
struct Held {
    replies: Share,
    requests: Share,
}

/// Messages of one kind, and their memory.
#[derive(Clone, Copy, Default)]
struct Share {
    messages: usize,
    bytes: usize,
}

impl Share {
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn take(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
    }

    /// The part of all of the room that it is, whichever it has more of, bytes.
    fn size(self) -> usize {
        (self.messages * MAX_BYTES / MAX_MESSAGES).max(self.bytes)
    }

    /// The size with one message more.
    fn size_with(self, bytes: usize) -> usize {
        Self { messages: self.messages + 1, bytes: self.bytes + bytes }.size()
    }
}

impl Held {
    fn of(&mut self, answers: Option<u64>) -> &mut Share {
        if answers.is_some() { &mut self.replies } else { &mut self.requests }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.replies.messages + self.requests.messages < MAX_OF_PEER
            && self.replies.bytes + self.requests.bytes + bytes <= MAX_BYTES_OF_PEER
    }

    fn is_empty(&self) -> bool {
        self.replies.messages + self.requests.messages == 0
    }
}

/// Messages that have to go.
pub(super) type Shed<M> = SmallVec<[M; 1]>;

impl<M> Default for Management<M> {
    fn default() -> Self {
        Self {
            replies: VecDeque::new(),
            requests: VecDeque::new(),
            bytes: 0,
            peers: BTreeMap::new(),
            answered: BTreeSet::new(),
        }
    }
}

impl<M> Management<M> {
    /// Keeps a message of `peer` that holds so much memory, and answers the request of this number, for whose reply this end
    /// waits, or none. Returns what has to go, if there is no room: this one, or others.
    ///
    /// # Errors
    /// The message, if it is of no use: a reply to the same request waits.
    pub(super) fn push(&mut self, peer: u64, bytes: usize, answers: Option<u64>, message: M) -> Result<Shed<M>, M> {
        if answers.is_some_and(|answered| self.answered.contains(&(peer, answered))) {
            return Err(message);
        }
        let mut shed = Shed::new();
        if bytes > MAX_BYTES_OF_PEER {
            shed.push(message);
            return Ok(shed);
        }
        while !self.has_room(peer, bytes) {
            let Some(waiting) = self.give_way(peer, bytes, answers) else {
                shed.push(message);
                return Ok(shed);
            };
            self.release(&waiting);
            shed.push(waiting.message);
        }
        self.peers.entry(peer).or_default().of(answers).add(bytes);
        self.answered.extend(answers.map(|answered| (peer, answered)));
        self.bytes += bytes;
        let queue = if answers.is_some() { &mut self.replies } else { &mut self.requests };
        queue.push_back(Waiting { peer, bytes, answers, message });
        Ok(shed)
    }

    fn len(&self) -> usize {
        self.replies.len() + self.requests.len()
    }

    /// Returns `true` if `peer` may have a message more, and all peers together.
    fn has_room(&self, peer: u64, bytes: usize) -> bool {
        let of_all = self.len() < MAX_MESSAGES && self.bytes + bytes <= MAX_BYTES;
        of_all && self.peers.get(&peer).is_none_or(|held| held.has_room(bytes))
    }

    /// Takes out the message that goes for one of `peer`.
    fn give_way(&mut self, peer: u64, bytes: usize, answers: Option<u64>) -> Option<Waiting<M>> {
        let held = self.peers.get(&peer).copied().unwrap_or_default();
        let is_own = !held.has_room(bytes);
        if answers.is_none() {
            // One makes room for one: a large message that needs the room of several small ones goes itself.
            let place =
                if is_own { None } else { self.surplus(|held| held.requests, held.requests.size_with(bytes), false) };
            return place
                .filter(|at| self.makes_room(&self.requests, *at, bytes))
                .and_then(|at| self.requests.remove(at));
        }
        if is_own {
            let own = self.requests.iter().rposition(|waiting| waiting.peer == peer)?;
            return self.requests.remove(own);
        }
        if let Some(at) = self.surplus(|held| held.requests, 0, false) {
            return self.requests.remove(at);
        }
        let reply = self.surplus(|held| held.replies, held.replies.size_with(bytes), true);
        reply.filter(|at| self.makes_room(&self.replies, *at, bytes)).and_then(|at| self.replies.remove(at))
    }

    /// The newest message of the peer that has most of a kind, if that is more than `own`.
    fn surplus(&self, kind: impl Fn(&Held) -> Share, own: usize, are_replies: bool) -> Option<usize> {
        let sizes = self.peers.iter().map(|(peer, held)| (kind(held).size(), *peer));
        let (_, of) = sizes.max().filter(|(most, _)| *most > own)?;
        let queue = if are_replies { &self.replies } else { &self.requests };
        queue.iter().rposition(|waiting| waiting.peer == of)
    }

    fn makes_room(&self, queue: &VecDeque<Waiting<M>>, at: usize, bytes: usize) -> bool {
        queue.get(at).is_some_and(|waiting| self.bytes - waiting.bytes + bytes <= MAX_BYTES)
    }

    /// The message that has waited for longest: a reply if there is any. There are no more of these than this end has asked.
    fn pop(&mut self) -> Option<M> {
        let waiting = self.replies.pop_front().or_else(|| self.requests.pop_front())?;
        self.release(&waiting);
        Some(waiting.message)
    }

    /// A message waits no more.
    fn release(&mut self, waiting: &Waiting<M>) {
        self.bytes -= waiting.bytes;
        if let Some(answered) = waiting.answers {
            self.answered.remove(&(waiting.peer, answered));
        }
        if let Some(held) = self.peers.get_mut(&waiting.peer) {
            held.of(waiting.answers).take(waiting.bytes);
            if held.is_empty() {
                self.peers.remove(&waiting.peer);
            }
        }
    }
}

/// Handles what waits now, without a lock held: what others put aside meanwhile is theirs, so that nobody is kept here by a
/// flood. Returns `true` if the time was over before: somebody has to come again.
#[must_use]
pub(super) fn handle_each<M>(
    waiting: &Mutex<Management<M>>,
    clock: &dyn Clock,
    mut handle: impl FnMut(Instant, M),
) -> bool {
    let count = waiting.lock().len();
    if count == 0 {
        return false;
    }
    let begun = clock.now();
    let mut now = begun;
    for _ in 0..count {
        if now.since(begun) >= TURN {
            return true;
        }
        let Some(message) = waiting.lock().pop() else { return false };
        handle(now, message);
        now = clock.now();
    }
    false
}

#[cfg(test)]
mod tests;
