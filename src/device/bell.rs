//! Waiting for a device that is no file descriptor.

use std::time::Duration;

use crate::base::sync::waiting::{Condvar, Mutex};

/// Wake-up primitive for devices that have nothing to poll: a queue in memory, a driver that calls back. Up to two
/// threads wait on it. It has the waiting methods of [`Datagrams`](crate::types::device::Datagrams) and of
/// [`Shim`](crate::ipcp::shim::custom::Shim).
///
/// ```
/// use std::time::Duration;
/// use o7s::device::Bell;
///
/// let bell = Bell::default();
/// bell.ring();
/// // Each of the two is told once.
/// bell.wait(Duration::from_secs(60));
/// bell.guard(Duration::from_secs(60));
/// bell.interrupt();
/// bell.wait(Duration::from_secs(60));
/// ```
#[derive(Debug, Default)]
pub struct Bell {
    told: Mutex<Told>,
    leader: Condvar,
    standby: Condvar,
}

/// Who need not wait.
#[derive(Debug, Default)]
struct Told {
    leader: bool,
    standby: bool,
}

impl Bell {
    /// Something has arrived: whoever waits returns, and whoever comes next does not wait.
    pub fn ring(&self) {
        *self.told.lock() = Told { leader: true, standby: true };
        self.leader.notify_one();
        self.standby.notify_one();
    }

    /// Waits until something arrives, [`interrupt`](Self::interrupt) is called, or `timeout` has passed.
    pub fn wait(&self, timeout: Duration) {
        let mut told = self.told.lock();
        self.leader.wait_while_for(&mut told, |told| !told.leader, timeout);
        told.leader = false;
    }

    /// Ends a [`wait`](Self::wait) under way, or the next one.
    pub fn interrupt(&self) {
        self.told.lock().leader = true;
        self.leader.notify_one();
    }

    /// As [`wait`](Self::wait), for the device's background thread, which [`dismiss`](Self::dismiss) makes return.
    pub fn guard(&self, timeout: Duration) {
        let mut told = self.told.lock();
        self.standby.wait_while_for(&mut told, |told| !told.standby, timeout);
        told.standby = false;
    }

    /// Ends a [`guard`](Self::guard) under way, or the next one.
    pub fn dismiss(&self) {
        self.told.lock().standby = true;
        self.standby.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Bell;

    /// Who is not woken is stuck.
    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn an_interrupt_ends_a_wait_and_no_guard() {
        let bell = Bell::default();
        bell.interrupt();
        assert!(!bell.told.lock().standby);
        bell.wait(LONG);
        bell.dismiss();
        assert!(!bell.told.lock().leader);
        bell.guard(LONG);
    }

    #[test]
    fn arrivals_wake_both_waiters() {
        let bell = Bell::default();
        std::thread::scope(|s| {
            let threads = [s.spawn(|| bell.wait(LONG)), s.spawn(|| bell.guard(LONG))];
            bell.ring();
            for thread in threads {
                thread.join().unwrap();
            }
        });
        let told = bell.told.lock();
        assert!(!told.leader && !told.standby);
    }
}
