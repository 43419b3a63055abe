//! Ending a wait from another thread.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(unix)]
use smallvec::SmallVec;

/// Ends the wait of one thread on what is open in the operating system from another thread.
pub(super) struct Interrupt {
    raised: AtomicBool,
    #[cfg(unix)]
    pipe: (io::PipeReader, io::PipeWriter),
}

#[cfg(unix)]
impl Interrupt {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { raised: AtomicBool::new(false), pipe: io::pipe()? })
    }

    pub(super) fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            // Never more than two bytes are on their way, so this does not block.
            let _ = io::Write::write(&mut &self.pipe.1, &[1]);
        }
    }

    /// Waits until one of these has something to read or [`raise`](Self::raise) is called, `timeout` at most. Returns
    /// which of them have: the first is bit 0.
    pub(super) fn wait<S: std::os::fd::AsFd>(&self, sources: &[S], timeout: Duration) -> u32 {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = SmallVec::<[PollFd<'_>; 4]>::new();
        fds.push(PollFd::new(&self.pipe.0, PollFlags::IN));
        fds.extend(sources.iter().map(|source| PollFd::new(source, PollFlags::IN)));
        let timeout = Timespec { tv_sec: timeout.as_secs().min(86_400) as i64, tv_nsec: timeout.subsec_nanos().into() };
        // Interrupted by a signal, or out of memory: the caller looks again either way.
        let ended = poll(&mut fds, Some(&timeout));
        // What counts is the pipe and not the flag, whose byte may still be on the way: cleared now, it would leave the
        // pipe readable for good.
        if ended.is_ok() && fds.first().is_some_and(|pipe| pipe.revents().contains(PollFlags::IN)) {
            // At most one byte is ever in the pipe. A raise after the swap writes the next one; one before it is answered
            // by this very return.
            let _ = io::Read::read(&mut &self.pipe.0, &mut [0; 8]);
            self.raised.swap(false, Ordering::AcqRel);
        }
        let ready = fds.iter().skip(1).enumerate().filter(|(_, fd)| ended.is_ok() && !fd.revents().is_empty());
        ready.fold(0, |ready, (i, _)| ready | 1 << i)
    }
}

/// Without a way to wait for a socket and a signal at once the socket is looked at every millisecond.
#[cfg(not(unix))]
impl Interrupt {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { raised: AtomicBool::new(false) })
    }

    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
    }

    pub(super) fn wait<S>(&self, _sources: &[S], timeout: Duration) -> u32 {
        if !self.raised.swap(false, Ordering::AcqRel) {
            std::thread::park_timeout(timeout.min(Duration::from_millis(1)));
        }
        0
    }
}
