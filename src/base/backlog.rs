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
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::buf::PacketBuf;

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
#[derive(Debug)]
pub struct Meter {
    used: AtomicUsize,
    limit: usize,
    /// Somebody [borrows](Account::borrow).
    lent: AtomicBool,
    /// The meter that this one is a part of.
    whole: Option<Arc<Self>>,
}

impl Meter {
    /// A meter for up to `limit` bytes. What is charged to it is charged to `whole` as well.
    pub fn new(limit: usize, whole: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, lent: AtomicBool::new(false), whole })
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns `true` if the limit is reached, here or in the whole.
    pub fn is_full(&self) -> bool {
        self.used() >= self.limit || self.whole.as_ref().is_some_and(|whole| whole.is_full())
    }

    fn lend(&self) -> bool {
        if self.lent.swap(true, Ordering::Relaxed) {
            return false;
        }
        let lent = self.whole.as_ref().is_none_or(|whole| whole.lend());
        if !lent {
            self.lent.store(false, Ordering::Relaxed);
        }
        lent
    }

    fn take_back(&self) {
        self.lent.store(false, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.take_back();
        }
    }

    fn change(&self, before: usize, now: usize) {
        if now >= before {
            self.used.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
        }
        if let Some(whole) = &self.whole {
            whole.change(before, now);
        }
    }
}

/// Charges of one place to a meter. Gives them back when it is dropped.
#[derive(Debug, Default)]
pub struct Account {
    meter: Option<Arc<Meter>>,
    charged: usize,
    borrows: bool,
}

impl Account {
    /// An account at `meter`.
    pub fn new(meter: Option<Arc<Meter>>) -> Self {
        Self { meter, charged: 0, borrows: false }
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
    /// Whether somebody may hold more although the meter is full, because what it holds is of no use without the rest. Of all
    /// accounts at one meter, and of all in the whole, a single one may, until it [repays](Self::repay): as many that wait
    /// for each other would wait for ever.
    pub fn borrow(&mut self) -> bool {
        self.borrows = self.borrows || self.meter.as_ref().is_some_and(|meter| meter.lend());
        self.borrows
    }

    /// Whether this account borrows.
    pub fn borrows(&self) -> bool {
        self.borrows
    }

    /// Leaves it to others to borrow.
    pub fn repay(&mut self) {
        if core::mem::take(&mut self.borrows)
            && let Some(meter) = &self.meter
        {
            meter.take_back();
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
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_known() {
        let mut backlog = Backlog::default();
        for n in 0..3 * SNUG_FROM {
            backlog.push_back(PacketBuf::copy_of(&alloc::vec![7; n]));
        }
        let sum = |b: &Backlog| b.iter().map(PacketBuf::memory).sum::<usize>();
        assert_eq!(backlog.bytes(), sum(&backlog));
        for n in 0..SNUG_FROM {
            assert_eq!(backlog.pop_front().unwrap().len(), n);
        }
        assert_eq!(backlog.bytes(), sum(&backlog));
        let mut taken = VecDeque::new();
        assert_eq!(backlog.move_to(SNUG_FROM, &mut taken), SNUG_FROM);
        assert_eq!((taken.len(), backlog.bytes()), (SNUG_FROM, sum(&backlog)));
        assert_eq!(backlog.move_to(1, &mut taken), 1);
        let mut others = VecDeque::new();
        assert_eq!(backlog.move_to(usize::MAX, &mut others), SNUG_FROM - 1);
        assert_eq!((taken.len() + others.len(), backlog.bytes(), backlog.len()), (2 * SNUG_FROM, 0, 0));
        backlog.push_back(PacketBuf::copy_of(b"x"));
        assert_eq!((backlog.take().len(), backlog.bytes(), backlog.len()), (1, 0, 0));
    }

    #[test]
    fn a_meter_adds_up_and_is_given_back() {
        let whole = Meter::new(1 << 20, None);
        let part = Meter::new(1 << 18, Some(Arc::clone(&whole)));
        let mut one = Account::new(Some(Arc::clone(&part)));
        let mut two = Account::new(Some(Arc::clone(&part)));
        one.set(1 << 17);
        two.set(1 << 17);
        assert_eq!((part.used(), whole.used()), (1 << 18, 1 << 18));
        assert!(part.is_full() && !whole.is_full());
        assert!(one.is_full(1 << 17) && !one.is_full(1000));
        one.set((1 << 17) + 1000);
        assert_eq!(part.used(), 1 << 18, "not for every packet");
        one.set(0);
        drop(two);
        assert_eq!((part.used(), whole.used()), (0, 0));
    }

    #[test]
    fn one_account_at_a_time_borrows() {
        let whole = Meter::new(1 << 20, None);
        let parts = [0, 1].map(|_| Meter::new(1 << 18, Some(Arc::clone(&whole))));
        let [mut one, mut two] = [0, 1].map(|_| Account::new(Some(Arc::clone(&parts[0]))));
        let mut other = Account::new(Some(Arc::clone(&parts[1])));
        assert!(one.borrow() && one.borrow() && !two.borrow());
        assert!(!other.borrow(), "of another peer, but of the same stack");
        one.repay();
        assert!(other.borrow() && !one.borrow());
        drop(other);
        assert!(two.borrow() && !one.borrow());
    }

    #[test]
    fn the_ends_of_a_backlog_are_reached() {
        let mut backlog = Backlog::default();
        for packet in [&b"first"[..], b"last"] {
            backlog.push_back(PacketBuf::copy_of(packet));
        }
        let whole = backlog.bytes();
        backlog.pull_front(2);
        assert_eq!((backlog.front().map(|p| &p[..]), backlog.bytes()), (Some(&b"rst"[..]), whole));
        assert_eq!(backlog.pop_back().as_deref(), Some(&b"last"[..]));
        assert_eq!((backlog.len(), backlog.bytes()), (1, whole / 2));
    }
}
