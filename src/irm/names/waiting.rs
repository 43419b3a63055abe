//! Requests that wait, and who gets them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use core::time::Duration;

use super::entry::{Entry, NOBODY, Queued, Waiter};
use super::{Calls, Irm, ListenerId, Placed, Refused, WaiterId};
use crate::base::time::Instant;
use crate::flow::Event;
use crate::irm::Caller;
use crate::types::name::Name;

/// Time for which a request is kept for the acceptor that was woken for it. One that lives takes much less; one that is
/// not polled any more costs the request this much.
pub(in crate::irm) const OFFER: Duration = Duration::from_millis(100);

/// A request that an acceptor has taken.
pub struct Taken<R> {
    /// The request.
    pub request: R,
    /// The waker that was kept for the acceptor: code of others, to be dropped where no lock is held.
    pub waker: Option<Waker>,
}

impl<R> Irm<R> {
    /// Places a request for a flow to `name` that has come from `caller`. It is offered to an acceptor that waits, or
    /// waits for one, from the moment on until which it is [held back](Caller::held_until). A repetition takes the place of
    /// the earlier request.
    ///
    /// # Errors
    /// [`Refused`] with the request, to be refused.
    pub fn place(
        &mut self,
        now: Instant,
        name: &Name,
        request: R,
        caller: Caller,
        calls: &mut Calls,
    ) -> Result<Placed<R>, Refused<R>> {
        let id = self.id();
        let limits = self.limits;
        let mut placed = Placed::default();
        let Some(entry) = self.names.get_mut(name).filter(|e| e.is_bound()) else {
            return Err(Refused::Unknown(request));
        };
        if let Some(earlier) = entry.queue.iter_mut().find(|q| caller.repeats(&q.caller)) {
            let bytes = entry.bytes.saturating_sub(earlier.caller.bytes).saturating_add(caller.bytes);
            if caller.bytes > earlier.caller.bytes && bytes > limits.backlog_bytes {
                // What is larger has to come as any other request, and finds no room: the earlier one stays.
                placed.repeated = Some(request);
                return Ok(placed);
            }
            // It keeps its turn and its time: the requester has waited since then.
            placed.repeated = Some(core::mem::replace(&mut earlier.request, request));
            (entry.bytes, earlier.caller.bytes) = (bytes, caller.bytes);
            return Ok(placed);
        }
        if !self.make_room(name, &caller, &mut placed.shed) {
            return Err(Refused::Full(request, placed.shed));
        }
        let Some(entry) = self.names.get_mut(name) else { return Err(Refused::Unknown(request)) };
        let until = now + limits.accept_wait.min(caller.patience());
        let held_until = caller.held_until.filter(|at| *at > now).map(|at| at.min(until));
        let (offered, due) = (held_until.map(|_| NOBODY), held_until.unwrap_or(until));
        entry.put(Queued { id, request, caller, until, offered, due });
        if held_until.is_some() {
            self.due.insert((due, id), name.clone());
            calls.due_at(due);
        } else {
            self.offer(now, name, id, calls);
        }
        Ok(placed)
    }

    /// Makes room for one more request of `caller`, if others can be `shed`: those that were given up, and else [one
    /// that gives way](Entry::gives_way).
    fn make_room(&mut self, name: &Name, caller: &Caller, shed: &mut Vec<R>) -> bool {
        let limits = self.limits;
        let Some(entry) = self.names.get_mut(name) else { return false };
        let most = entry.backlog.unwrap_or(limits.backlog).max(1);
        // Those on offer count as well: their acceptors may not come for them. A single request may always wait,
        // however large.
        let is_full = |entry: &Entry<R>| {
            let bytes = entry.bytes.saturating_add(caller.bytes);
            entry.queue.len() >= most || (bytes > limits.backlog_bytes && !entry.queue.is_empty())
        };
        let mut drop_one = |entry: &mut Entry<R>, at| {
            if let Some(taken) = entry.take(at) {
                self.due.remove(&(taken.due, taken.id));
                shed.push(taken.request);
            }
        };
        if is_full(entry) {
            while let Some(at) = entry.queue.iter().position(|q| q.caller.is_gone()) {
                drop_one(entry, at);
            }
        }
        // In a queue that was made smaller than it is, one is not enough.
        if is_full(entry) && entry.queue.len() <= most {
            let bytes = entry.bytes.saturating_add(caller.bytes);
            let fits = |of: &Caller| bytes.saturating_sub(of.bytes) <= limits.backlog_bytes;
            // One at a time: what is larger than that has to come again. What a host has proven is not taken for nothing.
            let may = |of: &Caller| of.is_unproven || !caller.is_unproven;
            if let Some(at) = entry.gives_way(caller, fits).or_else(|| entry.gives_way(caller, may)) {
                drop_one(entry, at);
            }
        }
        !is_full(entry)
    }

    /// The next request for `listener`, `None` once it has been unbound. `waiter` is the accept's own and must be
    /// passed to every poll of it, and to [`cancel`](Self::cancel) if it is given up.
    ///
    /// If there is none, `waker` is kept, in exchange for the one that was kept before: code of others, to be dropped
    /// where no lock is held.
    pub fn poll_accept(
        &mut self,
        listener: ListenerId,
        waiter: &mut Option<WaiterId>,
        waker: &mut Option<Waker>,
    ) -> Poll<Option<Taken<R>>> {
        // Drawn before the entry is borrowed, needed or not: numbers do not run out.
        let next = WaiterId(self.id());
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get_mut(n)) else {
            return Poll::Ready(None);
        };
        let at = waiter.and_then(|id| entry.waiters.iter().position(|w| w.id == id));
        // What nobody was woken for goes to whoever comes first.
        let Some(taken) = entry.next_for(*waiter).and_then(|at| entry.take(at)) else {
            // It was woken in vain, or is polled again: with a waker in its place it counts as idle.
            if let Some(w) = at.and_then(|at| entry.waiters.get_mut(at)) {
                core::mem::swap(&mut w.waker, waker);
            } else {
                *waiter = Some(next);
                entry.waiters.push_back(Waiter { id: next, listener, waker: waker.take() });
            }
            return Poll::Pending;
        };
        let kept = at.and_then(|at| entry.waiters.remove(at)).and_then(|w| w.waker);
        *waiter = None;
        self.due.remove(&(taken.due, taken.id));
        Poll::Ready(Some(Taken { request: taken.request, waker: kept }))
    }

    /// Returns `true` if [`poll_accept`](Self::poll_accept) would return something.
    pub fn has_work(&self, listener: ListenerId, waiter: Option<WaiterId>) -> bool {
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get(n)) else { return true };
        entry.next_for(waiter).is_some()
    }

    /// An accept has been given up. What it was offered goes to the next. Its waker comes back, to be dropped where no
    /// lock is held: it may hold the last of a task.
    pub fn cancel(&mut self, now: Instant, listener: ListenerId, waiter: WaiterId, calls: &mut Calls) -> Option<Waker> {
        let name = self.listeners.get(&listener)?.clone();
        let entry = self.names.get_mut(&name)?;
        let at = entry.waiters.iter().position(|w| w.id == waiter)?;
        let gone = entry.waiters.remove(at)?;
        self.withdraw(now, &name, waiter, calls);
        gone.waker
    }

    /// Offers the request of a waiter that is gone to the next.
    pub(super) fn withdraw(&mut self, now: Instant, name: &Name, waiter: WaiterId, calls: &mut Calls) {
        let Some(entry) = self.names.get_mut(name) else { return };
        let offered = entry.queue.iter_mut().find(|q| q.offered == Some(waiter));
        let Some(id) = offered.map(|q| q.id) else { return };
        self.offer(now, name, id, calls);
    }

    /// Offers a request to the next acceptor that waits; if there is none, the first that comes may have it, and a
    /// factory is started.
    fn offer(&mut self, now: Instant, name: &Name, id: u64, calls: &mut Calls) {
        let Some(entry) = self.names.get_mut(name) else { return };
        let Ok(at) = entry.queue.binary_search_by_key(&id, |q| q.id) else { return };
        let chosen = entry.choose();
        let factory = entry.factory.clone();
        let Some(queued) = entry.queue.get_mut(at) else { return };
        // The index is by time: the entry leaves it under the old one, and enters it below under the new one.
        self.due.remove(&(queued.due, id));
        entry.offers -= usize::from(queued.offered.take().is_some());
        queued.due = queued.until;
        match (chosen, factory) {
            (Some((waiter, waker)), _) => {
                queued.offered = Some(waiter);
                queued.due = queued.until.min(now + OFFER);
                entry.offers += 1;
                calls.wake.push(waker);
            }
            (None, factory) => calls.start.extend(factory),
        }
        if queued.offered.is_none() {
            let told = entry.watches.iter().map(|w| (Arc::clone(&w.watcher), w.token, Event::Acceptable));
            calls.tell.extend(told);
        }
        self.due.insert((queued.due, id), name.clone());
        calls.due_at(queued.due);
    }

    /// Requests that have waited too long, to be refused, no more than `max` at a time. Those whose acceptor did not
    /// come, and those that were held back, are offered to the next. [`Calls::due`] says when to look again.
    pub fn expire(&mut self, now: Instant, max: usize, calls: &mut Calls) -> Vec<R> {
        let mut out = Vec::new();
        for _ in 0..max {
            let Some(first) = self.due.first_entry().filter(|e| e.key().0 <= now) else { break };
            let ((_, id), name) = first.remove_entry();
            let Some(entry) = self.names.get_mut(&name) else { continue };
            let Ok(at) = entry.queue.binary_search_by_key(&id, |q| q.id) else { continue };
            if entry.queue.get(at).is_some_and(|q| q.until > now) {
                self.offer(now, &name, id, calls);
            } else if let Some(late) = entry.take(at) {
                out.push(late.request);
            }
        }
        if let Some(((next, _), _)) = self.due.first_key_value() {
            calls.due_at(*next);
        }
        out
    }
}
