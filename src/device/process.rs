//! Which process this is: one that was forked has all memory of its parent, keys included, and is another.
//!
//! A page of memory that the system hands to a fork as zeros (`MADV_WIPEONFORK`, Linux 4.14) has a number in it, so that to
//! look costs no system call, for each packet that is sent. Where there is no such page it is the id of the process.

/// The process in which this value was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(usize);

impl Process {
    /// This process.
    pub(crate) fn current() -> Self {
        Self(number::make())
    }

    /// Returns `false` in a process that was forked since.
    pub(crate) fn is_current(self) -> bool {
        self.0 == number::look()
    }
}

/// A number that is another in each process. It is 0 in a fork until one is made there.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod number {
    use std::ptr::null_mut;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Larger than a number; the system rounds it up to a page.
    const LEN: usize = 4096;

    /// How many numbers there were: a fork goes on from there, so that none comes twice.
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static PAGE: OnceLock<Option<&'static AtomicUsize>> = OnceLock::new();

    pub(super) fn make() -> usize {
        let Some(page) = PAGE.get_or_init(map) else { return std::process::id() as usize };
        if page.load(Ordering::Relaxed) == 0 {
            let number = MADE.fetch_add(1, Ordering::Relaxed) + 1;
            // Another thread may have been first.
            let _ = page.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        }
        page.load(Ordering::Relaxed)
    }

    pub(super) fn look() -> usize {
        match PAGE.get() {
            Some(Some(page)) => page.load(Ordering::Relaxed),
            _ => std::process::id() as usize,
        }
    }

    #[allow(unsafe_code, reason = "the operating system's interface")]
    fn map() -> Option<&'static AtomicUsize> {
        // SAFETY: a new mapping at an address that the system chooses touches no memory that is in use.
        let page = unsafe {
            libc::mmap(
                null_mut(),
                LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: these are the address and the length of the mapping.
        if unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) } != 0 {
            // SAFETY: nobody else knows of the mapping.
            unsafe { libc::munmap(page, LEN) };
            return None;
        }
        // SAFETY: it begins on a page, is long enough, zeroed, valid for reads and writes, and is never unmapped.
        Some(unsafe { AtomicUsize::from_ptr(page.cast()) })
    }
}

/// The id of the process; it is never 0.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod number {
    pub(super) fn make() -> usize {
        std::process::id() as usize
    }

    pub(super) fn look() -> usize {
        make()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stays_the_same() {
        let here = Process::current();
        assert!(here.is_current() && Process::current().is_current());
        assert_eq!(here.0, Process::current().0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_page_is_wiped_in_forks_here() {
        // Since Linux 4.14; below it the id of the process serves, which costs a system call for each packet.
        assert!(Process::current().0 < 1000, "{:?} is the id of the process", Process::current());
    }
}
