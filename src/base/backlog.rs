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

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

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

/// Bytes that an account may be wrong by: what is charged is brought up to date in steps of it, so that threads with
/// different flows do not write to one place with every packet.
const STEP: usize = 32 * 1024;

/// Memory that many backlogs hold together, with its limit.
pub struct Meter {
    used: AtomicUsize,
    limit: usize,
    over: Over,
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
        let over = Over::Whole(Mutex::default(), Arc::clone(clock));
        Arc::new(Self { used: AtomicUsize::new(0), limit, over })
    }

    /// A peer's part of `whole`: what is charged to it is charged there as well.
    pub fn part(limit: usize, whole: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, over: Over::Part(Arc::clone(whole)) })
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
        self.used() >= self.limit || self.above().is_some_and(Self::is_full)
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

    fn lend(&self) -> Option<Ticket> {
        let part = core::ptr::from_ref(self).addr();
        self.loan(|loan, now| loan.lend(part, now))
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

/// A loan lasts for so long if another account wants it: a peer that sends little by little, or a device that is slow, must
/// not keep it from others for as long as it likes.
const LOAN: Duration = Duration::from_secs(10);
/// A part that was refused because of another's loan has the next one if it asks again this soon: it does when its peer
/// sends again what was dropped. Known limit: a sender that has backed off tries less often than this, so two parts that ask
/// more often can keep the loan between them.
const RESERVED: Duration = Duration::from_secs(2);

/// One of all loans.
type Ticket = u64;

/// The loan of a whole: who may hold more than there is.
#[derive(Debug, Default)]
struct Loan {
    /// Of all loans so far; the last is the one that counts.
    last: Ticket,
    /// Which part has it, since when, and since when this account of it.
    lent: Option<(usize, Instant, Instant)>,
    /// Which part comes next, and when it has asked last.
    next: Option<(usize, Instant)>,
}

impl Loan {
    /// Lends to an account of `part`: if it is not lent, or has been for long enough, and no other part comes first.
    fn lend(&mut self, part: usize, now: Instant) -> Option<Ticket> {
        let is_over = |since: Instant| now.since(since) >= LOAN;
        let first = self.next.filter(|(next, asked)| *next != part && now.since(*asked) < RESERVED);
        let since = match self.lent {
            None if first.is_none() => now,
            // Accounts of one part take turns in the time of the part.
            Some((lent, since, own)) if lent == part && is_over(own) && (first.is_none() || !is_over(since)) => since,
            Some((lent, since, _)) if lent != part && is_over(since) && first.is_none() => now,
            lent => {
                if first.is_none() && lent.is_none_or(|(lent, ..)| lent != part) {
                    self.next = Some((part, now));
                }
                return None;
            }
        };
        self.next = self.next.filter(|(next, _)| *next != part);
        self.lent = Some((part, since, now));
        self.last += 1;
        Some(self.last)
    }

    fn counts(&self, ticket: Ticket) -> bool {
        self.lent.is_some() && self.last == ticket
    }

    fn take_back(&mut self, ticket: Ticket) {
        if self.counts(ticket) {
            self.lent = None;
        }
    }
}

/// Charges of one place to a meter. Gives them back when it is dropped.
#[derive(Debug, Default)]
pub struct Account {
    meter: Option<Arc<Meter>>,
    charged: usize,
    borrows: Option<Ticket>,
}

impl Account {
    /// An account at `meter`.
    pub fn new(meter: Option<Arc<Meter>>) -> Self {
        Self { meter, charged: 0, borrows: None }
    }

    /// `held` bytes are held now.
    pub fn set(&mut self, held: usize) {
        let Some(meter) = &self.meter else { return };
        if held.abs_diff(self.charged) >= STEP || (held == 0 && self.charged > 0) {
            meter.change(self.charged, held);
            self.charged = held;
        }
    }

    /// Returns `true` if a place that holds `held` bytes may hold no more. A little may always be held, so that none
    /// starves.
    pub fn is_full(&self, held: usize) -> bool {
        held >= STEP && self.meter.as_ref().is_some_and(|meter| meter.is_full())
    }
}

impl Account {
    /// Lets this account hold more although the meter is full, because what it holds is of no use without the rest, and
    /// returns `true` if it may. Of all accounts in the whole a single one may, until it [repays](Self::repay), or for ten
    /// seconds if another wants to: as many that wait for each other would wait for ever. Other peers come first.
    pub fn borrow(&mut self) -> bool {
        if !self.borrows() {
            self.borrows = self.meter.as_ref().and_then(|meter| meter.lend());
        }
        self.borrows.is_some()
    }

    /// Returns `true` if this account borrows.
    pub fn borrows(&self) -> bool {
        let counts = |ticket| self.meter.as_ref().is_some_and(|meter| meter.loan(|loan, _| loan.counts(ticket)));
        self.borrows.is_some_and(counts)
    }

    /// Leaves it to others to borrow.
    pub fn repay(&mut self) {
        if let Some((ticket, meter)) = self.borrows.take().zip(self.meter.as_ref()) {
            meter.loan(|loan, _| loan.take_back(ticket));
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
