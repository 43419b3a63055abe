//! Locks: `parking_lot`'s with `std`, spinning ones without.
//!
//! No lock is held while another endpoint, a waker or a handler is called, or something is dropped that a caller handed
//! in: a machine's outputs are collected, the lock is released, then the outputs are passed on. That, and not an order of
//! locks, keeps recursion free of deadlock. Two locks are held across calls on purpose, because they keep packets in
//! order, and are safe because nothing below waits for them: the one of a device's receiver, which is only ever tried,
//! and the one of a flow's batch in front of its socket.

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
