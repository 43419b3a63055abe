//! Messages for the control plane that wait to be handled.
//!
//! A flood at one component must not push out the messages of another, nor a flood from one neighbour those of the others:
//! messages are of [classes](Class), each with a share of the room, and within a class they are told apart by the N-1 flow
//! that brought them, of which none may have more than an eighth of the class's room. Classes take turns, and so do the N-1
//! flows within one; so what waits in front of a message is what others have a right to, and not what they have sent. In a
//! class that several have filled, who has more messages than others gives way to them.
//!
//! What came from afar over the same N-1 flow as a flood shares its lot: the header of data transfer does not say who sent
//! a packet.

use alloc::collections::{BTreeMap, VecDeque};

use crate::types::id::N1FlowId;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ipcp::unicast) enum Class {
    /// Link state: without it nothing else arrives.
    LinkState,
    /// What flows that exist, or were asked for here, wait for: replies and congestion updates.
    Flows,
    /// Requests for flows: each may cost a key exchange.
    Requests,
    /// The directory.
    Directory,
}

impl Class {
    const ALL: [Self; 4] = [Self::LinkState, Self::Flows, Self::Requests, Self::Directory];
}

/// Queues that are looked at for a message to give way.
const LOOKED_AT: usize = 8;

/// An N-1 flow may have one part in so many of the room of a class, but a few messages in any case.
const SHARE: usize = 8;
const LEAST: usize = 8;

/// Messages by class.
#[derive(Debug)]
pub(in crate::ipcp::unicast) struct Inbox<T> {
    classes: [Waiting<T>; 4],
    /// Whose turn it is.
    turn: usize,
    /// Room of a class.
    room: usize,
}

/// Messages of a class.
#[derive(Debug)]
struct Waiting<T> {
    queues: BTreeMap<N1FlowId, VecDeque<T>>,
    /// The flows that have messages, in the order of their turns.
    turns: VecDeque<N1FlowId>,
    len: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { queues: BTreeMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<T> Waiting<T> {
    fn pop(&mut self) -> Option<T> {
        let flow = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&flow)?;
        let message = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&flow);
        } else {
            self.turns.push_back(flow);
        }
        self.len -= usize::from(message.is_some());
        message
    }
}

impl<T> Inbox<T> {
    /// One for so many messages.
    pub(in crate::ipcp::unicast) fn new(limit: usize) -> Self {
        Self { classes: Class::ALL.map(|_| Waiting::default()), turn: 0, room: (limit / Class::ALL.len()).max(1) }
    }

    /// Messages that wait.
    pub(in crate::ipcp::unicast) fn len(&self) -> usize {
        self.classes.iter().map(|class| class.len).sum()
    }

    pub(in crate::ipcp::unicast) fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.len == 0)
    }

    /// If the class is full, has a message give way to one that `from` brings: the newest of an N-1 flow that has more of
    /// them waiting, so that nobody who floods over several at once shuts the others out. Returns it.
    pub(in crate::ipcp::unicast) fn make_room(&mut self, class: Class, from: N1FlowId) -> Option<T> {
        let waiting = self.classes.get_mut(class as usize).filter(|waiting| waiting.len >= self.room)?;
        let len = |flow: &N1FlowId| waiting.queues.get(flow).map_or(0, VecDeque::len);
        let longest = waiting.turns.iter().rev().take(LOOKED_AT).copied().max_by_key(len)?;
        if len(&longest) <= len(&from) + 1 {
            return None;
        }
        let message = waiting.queues.get_mut(&longest)?.pop_back();
        waiting.len -= usize::from(message.is_some());
        message
    }

    /// Keeps a message that `from` has brought. `false` if there was no room.
    pub(in crate::ipcp::unicast) fn push(&mut self, class: Class, from: N1FlowId, message: T) -> bool {
        let share = (self.room / SHARE).max(LEAST);
        let Some(waiting) = self.classes.get_mut(class as usize) else { return false };
        if waiting.len >= self.room {
            return false;
        }
        let queue = waiting.queues.entry(from).or_default();
        if queue.len() >= share {
            return false;
        }
        if queue.is_empty() {
            waiting.turns.push_back(from);
        }
        queue.push_back(message);
        waiting.len += 1;
        true
    }

    /// The next message.
    pub(in crate::ipcp::unicast) fn pop(&mut self) -> Option<T> {
        for _ in 0..self.classes.len() {
            self.turn = (self.turn + 1) % self.classes.len();
            if let Some(message) = self.classes.get_mut(self.turn).and_then(Waiting::pop) {
                return Some(message);
            }
        }
        None
    }

    /// Forgets everything.
    pub(in crate::ipcp::unicast) fn clear(&mut self) {
        self.classes = Class::ALL.map(|_| Waiting::default());
    }
}

#[cfg(test)]
mod tests;
