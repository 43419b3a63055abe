//! The state of the interface: its address, its MTU, its link.

use super::EthShim;
use crate::base::journal::record;
use crate::base::sync::{AtomicU8, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::flow::Event;
use crate::types::device::{Frames, Link, SendError};
use crate::types::mac::Mac;

/// A device's properties at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    mac: Mac,
    mtu: usize,
    link: Link,
}

/// Asks the device.
pub(super) fn look(device: &dyn Frames) -> Seen {
    Seen { mac: device.mac(), mtu: device.mtu(), link: device.link() }
}

/// Changes that are passed on in one go; more wait for the next thread that comes.
const MAX_LOOKS: usize = 4;

const UP: u8 = 0;
const DOWN: u8 = 1;
const GONE: u8 = 2;

/// The last properties seen, readable without a lock.
///
/// One thread at a time looks at the device and passes on what has changed, without a lock held: it has the *turn*. Others
/// that see a change meanwhile leave a note, and it looks again before it goes. So what is passed on last is what was seen
/// last, however long a thread takes between seeing something and saying so.
pub(super) struct Status {
    mac: AtomicU64,
    mtu: AtomicUsize,
    link: AtomicU8,
    turn: Mutex<Turn>,
}

struct Turn {
    /// The properties passed on last; `None` if the device has panicked until now.
    told: Option<Seen>,
    taken: bool,
    /// Somebody has seen a change since.
    again: bool,
}

/// The turn of a thread. Given back when it is dropped.
struct TurnGuard<'a>(&'a Status);

impl TurnGuard<'_> {
    /// Takes note of what the device says now, and returns what was passed on before, if that was something else.
    fn replace(&self, now: Seen) -> Option<Option<Seen>> {
        let mut turn = self.0.turn.lock();
        if turn.told == Some(now) {
            return None;
        }
        self.0.publish(now);
        Some(turn.told.replace(now))
    }

    /// Gives the turn back, unless somebody has seen a change and left it to this thread.
    fn end(self) -> Result<(), Self> {
        let mut turn = self.0.turn.lock();
        if core::mem::take(&mut turn.again) {
            drop(turn);
            return Err(self);
        }
        // In one step: a note that comes now is for the next one.
        turn.taken = false;
        drop(turn);
        core::mem::forget(self);
        Ok(())
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.0.turn.lock().taken = false;
    }
}

impl Status {
    /// The status of a device that was `seen` at first; `None` if it panicked.
    pub(super) fn new(seen: Option<Seen>) -> Self {
        let status = Self {
            mac: AtomicU64::new(0),
            mtu: AtomicUsize::new(0),
            link: AtomicU8::new(GONE),
            turn: Mutex::new(Turn { told: seen, taken: false, again: false }),
        };
        if let Some(seen) = seen {
            status.publish(seen);
        }
        status
    }

    fn publish(&self, seen: Seen) {
        self.mac.store(seen.mac.to_bits(), Ordering::Relaxed);
        self.mtu.store(seen.mtu, Ordering::Relaxed);
        let link = match seen.link {
            Link::Up => UP,
            Link::Down => DOWN,
            Link::Gone => GONE,
        };
        self.link.store(link, Ordering::Release);
    }

    pub(super) fn mac(&self) -> Mac {
        Mac::from_bits(self.mac.load(Ordering::Relaxed))
    }

    pub(super) fn mtu(&self) -> usize {
        self.mtu.load(Ordering::Relaxed)
    }

    pub(super) fn link(&self) -> Link {
        match self.link.load(Ordering::Acquire) {
            UP => Link::Up,
            DOWN => Link::Down,
            _ => Link::Gone,
        }
    }

    /// Checks that frames can be sent.
    pub(super) fn usable(&self) -> Result<(), SendError> {
        match self.link() {
            Link::Up => Ok(()),
            Link::Down => Err(SendError::InterfaceDown),
            Link::Gone => Err(SendError::Down),
        }
    }

    fn is(&self, now: Seen) -> bool {
        now.mac == self.mac() && now.mtu == self.mtu() && now.link == self.link()
    }

    /// Takes the turn; `None` if another thread has it, which looks again then.
    fn take_turn(&self) -> Option<TurnGuard<'_>> {
        let mut turn = self.turn.lock();
        if turn.taken {
            turn.again = true;
            return None;
        }
        // What was noted before is seen by the look that follows.
        (turn.taken, turn.again) = (true, false);
        Some(TurnGuard(self))
    }
}

impl EthShim {
    /// Asks the device how it is, and passes on what has changed. Called without locks held.
    pub(super) fn handle_changes(&self) {
        let look = || self.device.call(|d| Some(look(d)), None);
        // Whoever publishes something looks again afterwards, so what was overlooked here for one that is half published is
        // seen there.
        if look().is_none_or(|now| self.status.is(now)) {
            return;
        }
        let Some(mut turn) = self.status.take_turn() else { return };
        for _ in 0..MAX_LOOKS {
            let Some(now) = look() else { return };
            match turn.replace(now) {
                Some(before) if !super::Shim::is_down(self) => self.handle_change(before, now),
                Some(_) => return,
                None => match turn.end() {
                    Ok(()) => return,
                    Err(again) => turn = again,
                },
            }
        }
        drop(turn);
        // Whoever is about to wait, or waits, looks again.
        self.device.recall();
    }

    fn handle_change(&self, before: Option<Seen>, now: Seen) {
        let own = &self.info.name;
        let (mac, mtu) = (now.mac, now.mtu);
        if before.is_none_or(|before| before.mtu != mtu) {
            record!(self.panics, Interface, Info, [ipcp = own, mtu: mtu], "the MTU of {own:?} is {mtu} bytes");
        }
        if before.is_none_or(|before| before.link != now.link) {
            self.handle_link(now.link);
        }
        if before.is_some_and(|before| before.mac != mac) {
            record!(
                self.panics,
                Interface,
                Warn,
                [ipcp = own, address = mac],
                "the address of {own:?} is {mac} now; flows that were open are over"
            );
            // Their other ends accept packets from the address before, and send theirs there.
            for end in self.ends(|end| !end.is_requested()) {
                end.endpoint.mark_down(Event::Down);
            }
        }
    }

    fn handle_link(&self, link: Link) {
        let own = &self.info.name;
        let (what, fault) = match link {
            Link::Up => ("up", None),
            Link::Down => ("down", Some(SendError::InterfaceDown)),
            Link::Gone => ("gone", Some(SendError::Down)),
        };
        record!(self.panics, Interface, Warn, [ipcp = own, link = what], "the link of {own:?} is {what}");
        if fault.is_some() {
            self.counters.link_losses.count();
        } else {
            // What could not be asked while it was down.
            self.directory.lock().ask_again(self.clock.now());
            self.arm();
        }
        for end in self.ends(|_| true) {
            end.endpoint.note_fault(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_while_a_change_is_told_is_told_last() {
        let seen = |link| Seen { mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, link };
        let status = Status::new(Some(seen(Link::Up)));
        let turn = status.take_turn().unwrap();
        assert_eq!(turn.replace(seen(Link::Down)), Some(Some(seen(Link::Up))));
        // Before that has been told to all flows, another thread sees the link up again: it tells nobody.
        assert!(!status.is(seen(Link::Up)));
        assert!(status.take_turn().is_none());
        let Err(turn) = turn.end() else { panic!("what the other thread saw is forgotten") };
        assert_eq!(turn.replace(seen(Link::Up)), Some(Some(seen(Link::Down))));
        assert!(turn.end().is_ok());
        assert!(status.is(seen(Link::Up)));
        // Given back, also by a thread that panics while it tells.
        drop(status.take_turn().unwrap());
        assert!(status.take_turn().is_some());
    }
}
