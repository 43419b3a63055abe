//! Something for `poll` and `epoll`: a file descriptor that is readable while it is raised.

#[cfg(not(target_os = "linux"))]
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::{fmt, io};

/// A file descriptor that is readable from [`raise`](Self::raise) to [`lower`](Self::lower): an eventfd on Linux, a pipe
/// elsewhere. The caller keeps the two from happening at once, and from happening twice in a row.
pub(crate) struct Signal {
    #[cfg(target_os = "linux")]
    fd: std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    pipe: (PipeReader, PipeWriter),
}

#[cfg(target_os = "linux")]
impl Signal {
    /// One that is not raised.
    ///
    /// # Errors
    /// Those of the operating system: that the process has too many open files.
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self { fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Makes it readable.
    pub(crate) fn raise(&self) {
        // A counter that is 0 takes a 1.
        let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable.
    pub(crate) fn lower(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

#[cfg(target_os = "linux")]
impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(not(target_os = "linux"))]
impl Signal {
    /// One that is not raised.
    ///
    /// # Errors
    /// Those of the operating system: that the process has too many open files.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { pipe: io::pipe()? })
    }

    /// Makes it readable.
    pub(crate) fn raise(&self) {
        // Never more than one byte is on its way, so this does not block.
        let _ = io::Write::write(&mut &self.pipe.1, &[1]);
    }

    /// Makes it unreadable.
    pub(crate) fn lower(&self) {
        let _ = io::Read::read(&mut &self.pipe.0, &mut [0; 1]);
    }
}

#[cfg(not(target_os = "linux"))]
impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.0.as_fd()
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signal").field(&self.as_fd()).finish()
    }
}
