//! Messages for the control plane that wait to be handled.
//!
//! A flood at one component must not push out the messages of another, nor what anybody can send that for which this member
//! waits, nor a flood from one neighbour the messages of the others: they are of [classes](Class), each with a share of the
//! room, and within a class they are told apart by the N-1 flow that brought them, of which each has a share as well.
//! Classes take turns, and so do the N-1 flows within one; so what waits in front of a message is what others have a right
//! to, and not what they have sent. In a class that several have filled, the N-1 flow with more messages than others gives
//! way to them.
//!
//! What came from afar over the same N-1 flow as a flood shares its lot, if it is of the same class: the header of data
//! transfer does not say who sent a packet. Nobody can flood the classes of what this member waits for,
//! [replies](Class::Replies) and [answers](Class::Answers): each has an EID or a cookie of ours, and is the first with it.

use alloc::collections::{BTreeMap, VecDeque};

use crate::base::buf::PacketBuf;
use crate::base::counter::counters;
use crate::base::sync::{Mutex, Ordered};
use crate::ipcp::unicast::shared::order;
use crate::types::id::N1FlowId;

/// A message that waits to be handled.
pub(super) enum Message {
    /// A request for a flow.
    Request(PacketBuf),
    /// The reply that is waited for.
    Reply(PacketBuf),
    /// An update of a flow that there is.
    Update(PacketBuf),
    /// An answer to a question of the directory.
    Answer(PacketBuf),
    /// Whatever else there is for the directory.
    Directory(PacketBuf),
    LinkState(N1FlowId, PacketBuf),
}

impl Message {
    fn class(&self) -> Class {
        match self {
            Self::Request(_) => Class::Requests,
            Self::Reply(_) => Class::Replies,
            Self::Update(_) => Class::Flows,
            Self::Answer(_) => Class::Answers,
            Self::Directory(_) => Class::Directory,
            Self::LinkState(..) => Class::LinkState,
        }
    }
}

counters! {
    /// Counters of drops.
    pub(super) struct Counters {
        /// Messages that were dropped, the new one or one that gave way to it.
        full => "inbox_full",
    }
}

/// The messages that wait, which any thread brings and one at a time takes.
pub(super) struct Mailbox {
    inbox: Ordered<Mutex<Inbox<Message>>, { order::INBOX }>,
    counters: Counters,
}

impl Mailbox {
    /// Makes a mailbox for `limit` messages.
    pub(super) fn new(limit: usize) -> Self {
        Self { inbox: Ordered::new(Mutex::new(Inbox::new(limit))), counters: Counters::default() }
    }

    /// Keeps a message that `from` has brought. `false` if it was dropped.
    pub(super) fn keep(&self, from: N1FlowId, message: Message) -> bool {
        let class = message.class();
        let (gave_way, kept) = {
            let mut inbox = self.inbox.lock();
            (inbox.make_room(class, from), inbox.push(class, from, message))
        };
        if !kept || gave_way.is_some() {
            self.counters.full.count();
        }
        kept
    }

    pub(super) fn pop(&self) -> Option<Message> {
        self.inbox.lock().pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inbox.lock().is_empty()
    }

    /// Messages that wait, and what was counted.
    pub(super) fn facts(&self) -> (usize, impl Iterator<Item = (&'static str, &'static str, u64)>) {
        (self.inbox.lock().len(), self.counters.rows())
    }

    pub(super) fn clear(&self) {
        self.inbox.lock().clear();
    }
}

/// Class of a message, by its purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Link state: without it nothing else arrives.
    LinkState,
    /// Replies: one for each request of this member at most, which its EID says.
    Replies,
    /// Congestion updates of flows that exist.
    Flows,
    /// Requests for flows: each may cost a key exchange.
    Requests,
    /// Answers of the directory: one for each of its questions at most, which its cookie says.
    Answers,
    /// Questions to the directory, what it is to store, and answers that nobody waits for.
    Directory,
}

impl Class {
    const ALL: [Self; 6] =
        [Self::LinkState, Self::Replies, Self::Flows, Self::Requests, Self::Answers, Self::Directory];

    /// Its part of the room of the inbox, in eighths.
    const fn eighths(self) -> usize {
        match self {
            Self::LinkState | Self::Requests => 2,
            Self::Replies | Self::Flows | Self::Answers | Self::Directory => 1,
        }
    }
}

/// Number of queues examined for a message to give way.
const LOOKED_AT: usize = 8;

/// In each class an N-1 flow may have one part in so many of all the room, but a few messages in any case.
const SHARE: usize = 32;
const LEAST: usize = 8;

/// Messages by class.
#[derive(Debug)]
struct Inbox<T> {
    classes: [Waiting<T>; Class::ALL.len()],
    /// The class whose turn it is.
    turn: usize,
    /// Room of all classes.
    limit: usize,
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
    /// Makes an inbox for `limit` messages.
    fn new(limit: usize) -> Self {
        Self { classes: Class::ALL.map(|_| Waiting::default()), turn: 0, limit }
    }

    /// Room of a class.
    fn room(&self, class: Class) -> usize {
        // In two steps: a limit may be as large as a number can be.
        let eighths = class.eighths();
        ((self.limit / 8).saturating_mul(eighths) + self.limit % 8 * eighths / 8).max(1)
    }

    /// Messages that wait.
    fn len(&self) -> usize {
        self.classes.iter().map(|class| class.len).sum()
    }

    fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.len == 0)
    }

    /// If the class is full, has a message give way to one that `from` brings: the newest of an N-1 flow that has more
    /// of them waiting, so that a flood over several at once does not shut the others out. Returns it.
    fn make_room(&mut self, class: Class, from: N1FlowId) -> Option<T> {
        let room = self.room(class);
        let waiting = self.classes.get_mut(class as usize).filter(|waiting| waiting.len >= room)?;
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
    fn push(&mut self, class: Class, from: N1FlowId, message: T) -> bool {
        let (room, share) = (self.room(class), (self.limit / SHARE).max(LEAST));
        let Some(waiting) = self.classes.get_mut(class as usize) else { return false };
        if waiting.len >= room {
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
    fn pop(&mut self) -> Option<T> {
        for _ in 0..self.classes.len() {
            self.turn = (self.turn + 1) % self.classes.len();
            if let Some(message) = self.classes.get_mut(self.turn).and_then(Waiting::pop) {
                return Some(message);
            }
        }
        None
    }

    /// Forgets everything.
    fn clear(&mut self) {
        self.classes = Class::ALL.map(|_| Waiting::default());
    }
}

#[cfg(test)]
mod tests;
