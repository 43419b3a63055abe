//! Packets that wait, the memory that they hold, and bounds on it.
//!
//! Bounds are in bytes of memory and not in packets: a packet of one byte sits in a buffer of two kilobytes, and one of
//! 64 KiB takes as much as thirty others. A [`Backlog`] knows what it holds, and copies small packets out of large buffers
//! once more than a few wait. A [`Meter`] adds up what many backlogs hold, for a peer and for a stack.
//!
//! ```
//! use o7s::base::backlog::Backlog;
//! use o7s::base::buf::PacketBuf;
//!
//! let mut backlog = Backlog::default();
//! for _ in 0..1000 {
//!     backlog.push_back(PacketBuf::copy_of(b"x"));
//! }
//! assert!(backlog.bytes() < 1000 * 300, "and not two kilobytes each: {}", backlog.bytes());
//! assert_eq!(backlog.pop_front().as_deref(), Some(&b"x"[..]));
//! ```

mod loan;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use self::loan::{Loan, Place, Ticket, Waiting};
use super::buf::PacketBuf;
use super::sync::Mutex;
use super::time::{Clock, Instant};

/// Number of waiting packets from which on new ones are [copied out](PacketBuf::snug) of buffers that are more than
/// four times as large. A reader that keeps up never has as many.
pub const SNUG_FROM: usize = 128;

/// A queue of packets that knows how much memory it holds.
#[derive(Default)]
pub struct Backlog {
    packets: VecDeque<PacketBuf>,
    bytes: usize,
}

impl Backlog {
    /// Packets in the queue.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Returns `true` if there are none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Memory that the packets hold, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a packet, in less memory if [`SNUG_FROM`] or more wait.
    pub fn push_back(&mut self, packet: PacketBuf) {
        let packet = if self.packets.len() >= SNUG_FROM { packet.snug().unwrap_or(packet) } else { packet };
        self.bytes += packet.memory();
        self.packets.push_back(packet);
    }

    /// Takes the packet that has waited for longest.
    pub fn pop_front(&mut self) -> Option<PacketBuf> {
        let packet = self.packets.pop_front()?;
        self.bytes = self.bytes.saturating_sub(packet.memory());
        Some(packet)
    }

    /// Takes the packet that came last.
    pub fn pop_back(&mut self) -> Option<PacketBuf> {
        let packet = self.packets.pop_back()?;
        self.bytes = self.bytes.saturating_sub(packet.memory());
        Some(packet)
    }

    /// The packet that has waited for longest.
    pub fn front(&self) -> Option<&PacketBuf> {
        self.packets.front()
    }

    /// Removes `n` bytes from the front of the packet that has waited for longest; none if it has fewer.
    pub fn pull_front(&mut self, n: usize) {
        if let Some(packet) = self.packets.front_mut() {
            packet.pull(n);
        }
    }

    /// The packets, from the front.
    pub fn iter(&self) -> impl Iterator<Item = &PacketBuf> {
        self.packets.iter()
    }

    /// Moves up to `n` packets from the front to the end of `to`, and says how many. All of them go to an empty queue
    /// without being touched: the two trade their memory.
    pub fn move_to(&mut self, n: usize, to: &mut VecDeque<PacketBuf>) -> usize {
        let len = self.packets.len();
        if n >= len {
            self.bytes = 0;
            if to.is_empty() {
                core::mem::swap(to, &mut self.packets);
            } else {
                to.append(&mut self.packets);
            }
            return len;
        }
        let taken: usize = self.packets.iter().take(n).map(PacketBuf::memory).sum();
        self.bytes = self.bytes.saturating_sub(taken);
        to.extend(self.packets.drain(..n));
        n
    }

    /// Takes all packets.
    pub fn take(&mut self) -> VecDeque<PacketBuf> {
        self.bytes = 0;
        core::mem::take(&mut self.packets)
    }

    /// Gives back memory that the queue itself has grown to.
    pub fn shrink(&mut self) {
        self.packets.shrink_to(self.packets.len());
    }
}

/// What is charged is at least what is held, and more by up to two steps as long as there is enough for all: it is charged in
/// advance and not given back at once, so that threads with different flows do not write to one place with every packet. An
/// account whose flow has had nothing to do for a while [settles](Account::settle).
const STEP: usize = 32 * 1024;
/// What is charged in advance at first.
const FIRST: usize = 4096;
/// Of a limit one part in so many is for those that hold less than a step.
const RESERVE: usize = 16;

/// Memory that many backlogs hold together, with its limit.
pub struct Meter {
    used: AtomicUsize,
    limit: usize,
    over: Over,
    waiting: Mutex<Waiting>,
}

enum Over {
    /// It is all of the memory: who [borrows](Account::borrow) is decided here.
    Whole(Mutex<Loan>, Arc<dyn Clock>),
    /// It is a peer's part of it.
    Part(Arc<Meter>),
}

impl Meter {
    /// A meter for up to `limit` bytes, which are lent by the time of `clock`.
    pub fn whole(limit: usize, clock: &Arc<dyn Clock>) -> Arc<Self> {
        Self::new(limit, Over::Whole(Mutex::default(), Arc::clone(clock)))
    }

    /// A peer's part of `whole`: what is charged to it is charged there as well.
    pub fn part(limit: usize, whole: &Arc<Self>) -> Arc<Self> {
        Self::new(limit, Over::Part(Arc::clone(whole)))
    }

    fn new(limit: usize, over: Over) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, over, waiting: Mutex::default() })
    }

    fn above(&self) -> Option<&Self> {
        match &self.over {
            Over::Whole(..) => None,
            Over::Part(whole) => Some(whole),
        }
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns `true` if the limit is reached, here or in the whole.
    pub fn is_full(&self) -> bool {
        self.has_reached(|limit| limit)
    }

    /// Returns `true` if that much of the limit is used, here or in the whole.
    fn has_reached(&self, part: impl Fn(usize) -> usize + Copy) -> bool {
        self.used() >= part(self.limit) || self.above().is_some_and(|whole| whole.has_reached(part))
    }

    /// Returns `true` if there is enough for all, so that accounts need not be exact: what they have in advance never makes a
    /// meter more than half full.
    fn is_ample(&self) -> bool {
        !self.has_reached(|limit| limit / 2)
    }

    /// What is charged for `held` bytes while there is enough.
    fn in_advance(&self, held: usize) -> usize {
        let step = STEP.min(self.limit / RESERVE).max(1);
        match held {
            0 => 0,
            held if held < step => held.max(FIRST).next_power_of_two().min(step),
            held => held.next_multiple_of(step),
        }
    }

    /// Calls `f` with the loan of the whole, and the time.
    fn loan<R>(&self, f: impl FnOnce(&mut Loan, Instant) -> R) -> R {
        match &self.over {
            Over::Whole(loan, clock) => {
                let now = clock.now();
                f(&mut loan.lock(), now)
            }
            Over::Part(whole) => whole.loan(f),
        }
    }

    /// Lends to the account that has `place` in the line of this part, if it is its turn.
    fn lend(&self, place: &mut Option<Place>) -> Option<Ticket> {
        let part = core::ptr::from_ref(self).addr();
        self.loan(|loan, now| loan.lend(part, &mut self.waiting.lock(), place, now))
    }

    /// An account waits no more.
    fn leave(&self, place: &mut Option<Place>) {
        self.loan(|loan, _| loan.leave(&mut self.waiting.lock(), place));
    }

    fn change(&self, before: usize, now: usize) {
        if now >= before {
            self.used.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
        }
        if let Some(whole) = self.above() {
            whole.change(before, now);
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("used", &self.used()).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Charges of one place to a meter. Gives them back when it is dropped.
#[derive(Debug, Default)]
pub struct Account {
    meter: Option<Arc<Meter>>,
    charged: usize,
    /// What it has to do with the loan: mostly nothing.
    borrowing: Option<Box<Borrowing>>,
}

/// What an account has to do with the loan.
#[derive(Debug)]
enum Borrowing {
    /// It was refused, and has a place in the line of its part.
    Waits(Place),
    /// It had it, and has it still if the ticket counts.
    Borrows(Ticket),
}

impl Account {
    /// An account at `meter`.
    pub fn new(meter: Option<Arc<Meter>>) -> Self {
        Self { meter, charged: 0, borrowing: None }
    }

    /// `held` bytes are held now.
    #[inline]
    pub fn set(&mut self, held: usize) {
        if held != self.charged {
            self.adjust(held);
        }
    }

    fn adjust(&mut self, held: usize) {
        let Some(meter) = &self.meter else { return };
        let is_ample = meter.is_ample();
        let has_enough = self.charged.checked_sub(held).is_some_and(|spare| spare <= 2 * STEP);
        if !(is_ample && has_enough) {
            let charge = if is_ample { meter.in_advance(held) } else { held };
            self.charge(charge);
        }
    }

    /// `held` bytes are held now, and will be for a while.
    pub fn settle(&mut self, held: usize) {
        self.charge(held);
    }

    fn charge(&mut self, bytes: usize) {
        if let Some(meter) = self.meter.as_ref().filter(|_| bytes != self.charged) {
            meter.change(self.charged, bytes);
            self.charged = bytes;
        }
    }

    /// Returns `true` if a place that holds `held` bytes may hold no more. One that holds nothing may always take a packet,
    /// so that none starves, and who holds much leaves a little to those who do not.
    pub fn is_full(&self, held: usize) -> bool {
        let reserve = if held >= STEP { RESERVE } else { usize::MAX };
        held > 0 && self.meter.as_ref().is_some_and(|meter| meter.has_reached(|limit| limit - limit / reserve))
    }

    /// The meter that is charged.
    pub(crate) fn meter(&self) -> Option<&Arc<Meter>> {
        self.meter.as_ref()
    }
}

impl Account {
    /// Lets this account hold more although the meter is full, because what it holds is of no use without the rest, and
    /// returns `true` if it may. Of all accounts in the whole a single one may, until it [repays](Self::repay), or for ten
    /// seconds if another wants to: as many that wait for each other would wait for ever. Whoever is refused comes before
    /// those that ask later, if it asks again within twenty seconds.
    pub fn borrow(&mut self) -> bool {
        if self.borrows() {
            return true;
        }
        let Some(meter) = &self.meter else { return false };
        let mut place = match self.borrowing.as_deref() {
            Some(Borrowing::Waits(place)) => Some(*place),
            None | Some(Borrowing::Borrows(_)) => None,
        };
        let ticket = meter.lend(&mut place);
        let now = match (ticket, place) {
            (Some(ticket), _) => Some(Borrowing::Borrows(ticket)),
            (None, place) => place.map(Borrowing::Waits),
        };
        match (&mut self.borrowing, now) {
            (Some(before), Some(now)) => **before = now,
            (before, now) => *before = now.map(Box::new),
        }
        ticket.is_some()
    }

    /// Returns `true` if this account borrows.
    pub fn borrows(&self) -> bool {
        let Some(Borrowing::Borrows(ticket)) = self.borrowing.as_deref() else { return false };
        self.meter.as_ref().is_some_and(|meter| meter.loan(|loan, _| loan.counts(*ticket)))
    }

    /// Returns `true` if this account has asked to borrow, with or without success, and not [repaid](Self::repay) since.
    pub fn has_asked(&self) -> bool {
        self.borrowing.is_some()
    }

    /// Leaves it to others to borrow.
    pub fn repay(&mut self) {
        let Some(meter) = &self.meter else { return };
        match self.borrowing.take().map(|borrowing| *borrowing) {
            None => {}
            Some(Borrowing::Waits(place)) => meter.leave(&mut Some(place)),
            Some(Borrowing::Borrows(ticket)) => meter.loan(|loan, _| loan.take_back(ticket)),
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.repay();
        if let Some(meter) = &self.meter {
            meter.change(self.charged, 0);
        }
    }
}

#[cfg(test)]
mod tests;
