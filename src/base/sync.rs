//! Locks: `parking_lot`'s with `std`, spinning ones without.
//!
//! No lock of this crate is held while another room is called: a machine's outputs are collected, the lock is
//! released, then the outputs are passed on. That, and not an order of locks, keeps recursion free of deadlock.

/// A counter of 64 bits, also where the processor has none that is atomic.
pub use portable_atomic::AtomicU64;

#[cfg(feature = "std")]
pub use parking_lot::{Mutex, MutexGuard, RwLock};

#[cfg(not(feature = "std"))]
pub use no_std::{Mutex, MutexGuard, RwLock};

#[cfg(not(feature = "std"))]
mod no_std {
    pub use spin::MutexGuard;

    /// A spinning mutex with the interface that the crate uses of `parking_lot`.
    #[derive(Debug, Default)]
    pub struct Mutex<T: ?Sized>(spin::Mutex<T>);

    impl<T> Mutex<T> {
        /// A mutex around `value`.
        pub const fn new(value: T) -> Self {
            Self(spin::Mutex::new(value))
        }

        /// Spins until the lock is free.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock()
        }

        /// The lock, if it is free.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock()
        }
    }

    pub use spin::RwLock;
}
