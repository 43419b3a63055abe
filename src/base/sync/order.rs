//! Locks that are only taken in an order.
//!
//! A room that holds one of its locks while it takes another numbers them, and takes those with higher numbers later:
//! then no two threads wait for each other. A thread that breaks that, or takes one twice, is told at once in a debug
//! build, even if no other is there to wait; in others a lock with a number costs what one without does.
//!
//! ```
//! use o7s::base::sync::{Mutex, Ordered};
//!
//! let table: Ordered<Mutex<u32>, 1> = Ordered::new(Mutex::new(5));
//! let log: Ordered<Mutex<Vec<u32>>, 2> = Ordered::new(Mutex::new(Vec::new()));
//! let held = table.lock();
//! log.lock().push(*held);
//! ```

use core::ops::{Deref, DerefMut};

use super::{Mutex, RwLock};

/// A lock that is taken after those with lower numbers. Numbers go up to 63.
#[derive(Debug, Default)]
pub struct Ordered<L, const NUMBER: u8>(L);

/// Access to what a lock protects.
#[derive(Debug)]
pub struct Held<G, const NUMBER: u8>(G);

impl<L, const NUMBER: u8> Ordered<L, NUMBER> {
    /// `lock` with its place in the order.
    pub const fn new(lock: L) -> Self {
        const { assert!(NUMBER < 64, "there are not so many") };
        Self(lock)
    }
}

impl<T, const NUMBER: u8> Ordered<Mutex<T>, NUMBER> {
    /// Waits until the lock is free.
    #[inline]
    pub fn lock(&self) -> Held<impl DerefMut<Target = T>, NUMBER> {
        held::take(NUMBER);
        Held(self.0.lock())
    }
}

impl<T, const NUMBER: u8> Ordered<RwLock<T>, NUMBER> {
    /// Waits for the writer to finish. A thread that reads already must not: if another waits to write, both wait for
    /// each other.
    #[inline]
    pub fn read(&self) -> Held<impl Deref<Target = T>, NUMBER> {
        held::take(NUMBER);
        Held(self.0.read())
    }

    /// Waits for readers and writers to finish.
    #[inline]
    pub fn write(&self) -> Held<impl DerefMut<Target = T>, NUMBER> {
        held::take(NUMBER);
        Held(self.0.write())
    }
}

impl<G: Deref, const NUMBER: u8> Deref for Held<G, NUMBER> {
    type Target = G::Target;

    #[inline]
    fn deref(&self) -> &G::Target {
        &self.0
    }
}

impl<G: DerefMut, const NUMBER: u8> DerefMut for Held<G, NUMBER> {
    #[inline]
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.0
    }
}

#[cfg(all(debug_assertions, feature = "std", not(loom)))]
impl<G, const NUMBER: u8> Drop for Held<G, NUMBER> {
    fn drop(&mut self) {
        held::give_back(NUMBER);
    }
}

/// Checks, in debug builds, that this thread holds no lock with a number, and may call foreign code.
#[cfg(feature = "log")]
#[inline]
pub(crate) fn assert_none_held() {
    debug_assert!(held::is_none(), "foreign code is called under a lock");
}

/// Numbers that this thread holds.
#[cfg(all(debug_assertions, feature = "std", not(loom)))]
mod held {
    use core::cell::Cell;

    std::thread_local! {
        static HELD: Cell<u64> = const { Cell::new(0) };
    }

    #[expect(clippy::panic, reason = "in debug builds: what would be a deadlock one day")]
    pub(super) fn take(number: u8) {
        // A thread that ends has no such variable any more; what it does then is not checked.
        let held = HELD.try_with(|held| held.replace(held.get() | 1 << number)).unwrap_or(0);
        if held >> number != 0 {
            let _ = HELD.try_with(|now| now.set(held));
            panic!("lock {number} is taken by who holds one that comes later, or the same: {held:#b}");
        }
    }

    #[cfg(feature = "log")]
    pub(super) fn is_none() -> bool {
        HELD.try_with(|held| held.get() == 0).unwrap_or(true)
    }

    pub(super) fn give_back(number: u8) {
        let _ = HELD.try_with(|held| held.set(held.get() & !(1 << number)));
    }
}

#[cfg(not(all(debug_assertions, feature = "std", not(loom))))]
mod held {
    #[inline]
    pub(super) const fn take(_number: u8) {}

    #[cfg(feature = "log")]
    pub(super) const fn is_none() -> bool {
        true
    }
}

#[cfg(all(test, debug_assertions, feature = "std", not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    type Early = Ordered<Mutex<u8>, 1>;
    type Late = Ordered<RwLock<u8>, 2>;

    fn is_refused<R>(f: impl FnOnce() -> R) -> bool {
        catch_unwind(AssertUnwindSafe(f)).is_err()
    }

    #[test]
    fn locks_are_taken_in_order() {
        let (early, late) = (Early::new(Mutex::new(1)), Late::new(RwLock::new(2)));
        {
            let _early = early.lock();
            let _late = late.read();
        }
        {
            let _late = late.write();
            assert!(is_refused(|| *early.lock()), "an earlier one");
            assert!(is_refused(|| *late.read()), "the same");
        }
        {
            let _late = late.read();
            assert!(is_refused(|| *late.read()), "the same, to read: a writer may wait between");
        }
        // What was refused is forgotten, and what was given back.
        let mut early = early.lock();
        *early += *late.read();
        assert_eq!(*early, 3);
    }

    #[test]
    fn another_thread_has_its_own() {
        let (early, late) = (Early::new(Mutex::new(1)), Late::new(RwLock::new(2)));
        let _late = late.read();
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!((*early.lock(), *late.read()), (1, 2)));
        });
    }
}
