//! Locks, atomics and values that are set once: `parking_lot`'s, the processor's and the standard library's with `std`,
//! spinning ones without, and those of the model checker with `--cfg loom`. No other module names a crate of locks,
//! which `tests/architecture.rs` checks: a lock that spins beside a scheduler has a thread burn the time of the one it
//! waits for.
//!
//! No lock is held while another endpoint, a waker or a handler is called, or something is dropped that a caller handed
//! in: a machine's outputs are collected, the lock is released, then the outputs are passed on. That, and not an order of
//! locks, keeps recursion free of deadlock. Where a room holds one of its own locks while it takes another, these are
//! [`Ordered`]. Two locks are held across calls on purpose, because they keep packets in
//! order, and are safe because nothing below waits for them: the one of a device's receiver, which is only ever tried,
//! and the one of a flow's batch in front of its socket.
//!
//! # Foreign code with a lock held
//!
//! Some of what a program can bring along takes part in what a lock protects, and is called with that held. It must be
//! short, and must not call the flow, the member or the stack; nor must what runs when a controller or a key is dropped,
//! which happens under the same lock. There is nothing else:
//!
//! | what | lock |
//! |---|---|
//! | [`Controller`](crate::frct::congestion::Controller) | the flow's |
//! | [`AeadKey`](crate::crypto::backend::AeadKey) | the flow's |
//! | [`Port::mtu`](crate::flow::Port::mtu), [`is_congested`](crate::flow::Port::is_congested), [`is_holding`](crate::flow::Port::is_holding), [`queued`](crate::flow::Port::queued) | the flow's |
//! | [`Port::queued`](crate::flow::Port::queued) of a unicast layer, [`mtu`](crate::flow::Port::mtu) of a broadcast layer, which ask the flows below it, and they theirs: downwards only, as no layer [stands on](crate::flow::Port::stands_on) itself | theirs |
//! | [`Ipcp::info`](crate::ipcp::Ipcp::info), which returns what is fixed | any |
//! | the driver behind `device::EmbassyFrames`, the device behind `device::SmoltcpFrames` | the adapter's |
//! | [`Frames`](crate::types::device::Frames) that a `device::Bridge` joins | the bridge's |
//!
//! Rooms whose interleavings are model-checked (`flow`, see `tests/loom.rs`) take their atomics from here too, because
//! the checker can only reorder what goes through it.

mod order;

/// Lets another thread go on, if there are threads.
pub fn yield_now() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(all(feature = "std", not(loom)))]
    std::thread::yield_now();
    #[cfg(all(not(feature = "std"), not(loom)))]
    core::hint::spin_loop();
}

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
pub use plain::AtomicU64;

#[cfg(feature = "log")]
pub(crate) use order::assert_none_held;
pub use order::{Held, Ordered};

#[cfg(all(feature = "std", not(loom)))]
pub use parking_lot::{Mutex, MutexGuard, RwLock};

#[cfg(all(not(feature = "std"), not(loom)))]
pub use no_std::{Mutex, MutexGuard, RwLock};

#[cfg(loom)]
pub use checked::{Mutex, RwLock};
#[cfg(loom)]
pub use loom::sync::MutexGuard;
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};

/// A value that is set once, by the first who does.
#[cfg(feature = "std")]
pub use std::sync::OnceLock as Once;

#[cfg(not(feature = "std"))]
pub use no_std_once::Once;

/// What is no part of any model, and is real with `--cfg loom`, too.
pub mod plain {
    #[cfg(target_has_atomic = "64")]
    pub use core::sync::atomic::AtomicU64;
    /// A counter of 64 bits where the processor has none that is atomic.
    #[cfg(not(target_has_atomic = "64"))]
    pub use portable_atomic::AtomicU64;
}

/// Locks for threads that wait for a device, which are no part of any model.
#[cfg(feature = "std")]
pub mod waiting {
    pub use parking_lot::{Condvar, Mutex};
}

#[cfg(not(feature = "std"))]
mod no_std_once {
    /// A value that is set once, with the interface that the crate uses of the standard library's.
    #[derive(Debug, Default)]
    pub struct Once<T>(spin::Once<T>);

    impl<T> Once<T> {
        /// One that is not set.
        pub const fn new() -> Self {
            Self(spin::Once::new())
        }

        /// The value, if it is set.
        pub fn get(&self) -> Option<&T> {
            self.0.get()
        }

        /// The value, which is what `make` makes if it is not set.
        pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            self.0.call_once(make)
        }

        /// Sets it.
        ///
        /// # Errors
        /// `value`, if it is set.
        pub fn set(&self, value: T) -> Result<(), T> {
            let mut value = Some(value);
            let _ = self.0.try_call_once(|| value.take().ok_or(()));
            value.map_or(Ok(()), Err)
        }
    }

    impl<T> From<T> for Once<T> {
        fn from(value: T) -> Self {
            Self(spin::Once::initialized(value))
        }
    }
}

#[cfg(all(not(feature = "std"), not(loom)))]
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

#[cfg(loom)]
mod checked {
    use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    /// The model checker's mutex with the interface that the crate uses of `parking_lot`.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A mutex around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Waits until the lock is free.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        /// The lock, if it is free.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// The model checker's lock for one writer or many readers, in the same way.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        /// A lock around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        /// Waits for the writer to finish.
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        /// Waits for readers and writers to finish.
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}
