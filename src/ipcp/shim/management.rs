//! Management messages that have been received and wait to be handled: bounded in number, memory and time, and shared fairly.
//!
//! A member receives faster than it handles requests and replies, and anybody may send it some. So there is a bound on what
//! waits, and on what waits of one peer. When there is no room, the newest message of the peer that has most there goes; a
//! stranger who sends without end has most. One who makes up an address for each message has one message each; among peers
//! that have as many, what this member has asked for itself goes before what it has not.
//!
//! Known limit: a peer of whom several replies are waited for has more than each made-up address, which can push out all of
//! them but one; so can requests forged under its own address.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

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
    messages: VecDeque<Waiting<M>>,
    bytes: usize,
    peers: BTreeMap<u64, Held>,
}

struct Waiting<M> {
    peer: u64,
    bytes: usize,
    wanted: bool,
    message: M,
}

/// Messages of one peer that wait.
#[derive(Clone, Copy, Default)]
struct Held {
    messages: usize,
    bytes: usize,
}

impl<M> Default for Management<M> {
    fn default() -> Self {
        Self { messages: VecDeque::new(), bytes: 0, peers: BTreeMap::new() }
    }
}

impl<M> Management<M> {
    /// Keeps a message of `peer` that holds so much memory; `wanted`: this end waits for it. Returns what has to go, if
    /// there is no room: this one, or another.
    #[must_use]
    pub(super) fn push(&mut self, peer: u64, bytes: usize, wanted: bool, message: M) -> Option<M> {
        let held = self.peers.get(&peer).copied().unwrap_or_default();
        if held.messages >= MAX_OF_PEER || held.bytes + bytes > MAX_BYTES_OF_PEER {
            return Some(message);
        }
        let mut shed = None;
        if self.messages.len() >= MAX_MESSAGES || self.bytes + bytes > MAX_BYTES {
            // One makes room for one: a large message that needs the room of several small ones goes itself.
            let place = self.surplus(held, bytes, wanted).filter(|at| self.makes_room(*at, bytes));
            let Some(waiting) = place.and_then(|at| self.messages.remove(at)) else { return Some(message) };
            self.release(&waiting);
            shed = Some(waiting.message);
        }
        let held = self.peers.entry(peer).or_default();
        held.messages += 1;
        held.bytes += bytes;
        self.bytes += bytes;
        self.messages.push_back(Waiting { peer, bytes, wanted, message });
        shed
    }

    /// The message that goes for one of a peer that has `held` until now: the newest of the peer that has most, if that has
    /// more; else, for one that is wanted, the newest that is not.
    fn surplus(&self, held: Held, bytes: usize, wanted: bool) -> Option<usize> {
        let share = |held: Held| (held.messages * MAX_BYTES / MAX_MESSAGES).max(held.bytes);
        let own = share(Held { messages: held.messages + 1, bytes: held.bytes + bytes });
        let (most, of) = self.peers.iter().map(|(peer, held)| (share(*held), *peer)).max()?;
        let from_behind = |f: &dyn Fn(&Waiting<M>) -> bool| self.messages.iter().rposition(f);
        if most > own {
            return from_behind(&|waiting| waiting.peer == of);
        }
        wanted.then(|| from_behind(&|waiting| !waiting.wanted)).flatten()
    }

    fn makes_room(&self, at: usize, bytes: usize) -> bool {
        self.messages.get(at).is_some_and(|waiting| self.bytes - waiting.bytes + bytes <= MAX_BYTES)
    }

    /// The message that has waited for longest.
    fn pop(&mut self) -> Option<M> {
        let waiting = self.messages.pop_front()?;
        self.release(&waiting);
        Some(waiting.message)
    }

    /// A message waits no more.
    fn release(&mut self, waiting: &Waiting<M>) {
        self.bytes -= waiting.bytes;
        if let Some(held) = self.peers.get_mut(&waiting.peer) {
            held.messages -= 1;
            held.bytes -= waiting.bytes;
            if held.messages == 0 {
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
    let count = waiting.lock().messages.len();
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
