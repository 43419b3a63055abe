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

/// Changes that are passed on in one go; more wait for the next time that the device is looked at.
const MAX_LOOKS: usize = 4;

const UP: u8 = 0;
const DOWN: u8 = 1;
const GONE: u8 = 2;

/// The last properties seen, readable without a lock.
pub(super) struct Status {
    mac: AtomicU64,
    mtu: AtomicUsize,
    link: AtomicU8,
    /// The same; whoever finds that it has changed says so, one at a time.
    seen: Mutex<Option<Seen>>,
}

impl Status {
    /// The status of a device that was `seen` at first; `None` if it panicked.
    pub(super) fn new(seen: Option<Seen>) -> Self {
        let status = Self {
            mac: AtomicU64::new(0),
            mtu: AtomicUsize::new(0),
            link: AtomicU8::new(GONE),
            seen: Mutex::new(seen),
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

    /// Takes note of what a device says now, and returns what it said before, if that was something else.
    fn replace(&self, now: Seen) -> Option<Option<Seen>> {
        let is_same = now.mac == self.mac() && now.mtu == self.mtu() && now.link == self.link();
        if is_same {
            return None;
        }
        let mut seen = self.seen.lock();
        if *seen == Some(now) {
            return None;
        }
        self.publish(now);
        Some(seen.replace(now))
    }
}

impl EthShim {
    /// Asks the device how it is, and passes on what has changed. Called without locks held.
    pub(super) fn handle_changes(&self) {
        // Another thread may have looked before and say so after this one: whoever has changed something looks again.
        for _ in 0..MAX_LOOKS {
            let Some(now) = self.on_device(|d| Some(look(d)), None) else { return };
            match self.status.replace(now) {
                Some(before) if !super::Shim::is_down(self) => self.handle_change(before, now),
                _ => return,
            }
        }
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
