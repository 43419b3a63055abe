//! A device that may be a user's own: what it panics in ends there.
//!
//! There is one rule for all shims. A call whose panic would tear something that the caller is about (a send under the lock
//! of a port, a leave half done) ends here: it is counted, and the device has done *nothing*, of which each call says what
//! that is. What the receive loop calls, and only that, goes through: the [loop](super::ReceiveLoop) counts it just the
//! same, and pauses, as a device that panics whenever it is asked would otherwise be asked without end.

use alloc::sync::Arc;
use core::time::Duration;

use crate::base::foreign::Panics;
use crate::types::device::{Datagrams, Frames};

/// A device and where its panics are counted.
pub(super) struct Guarded<D: ?Sized> {
    device: Arc<D>,
    panics: Arc<Panics>,
}

/// The calls that devices of all kinds have.
pub(super) trait Device {
    fn wait(&self, timeout: Duration);
    fn interrupt(&self);
    fn guard(&self, timeout: Duration);
    fn dismiss(&self);
    fn close(&self);
}

macro_rules! devices {
    ($($Kind:ident)*) => {$(
        impl Device for dyn $Kind {
            fn wait(&self, timeout: Duration) {
                $Kind::wait(self, timeout);
            }

            fn interrupt(&self) {
                $Kind::interrupt(self);
            }

            fn guard(&self, timeout: Duration) {
                $Kind::guard(self, timeout);
            }

            fn dismiss(&self) {
                $Kind::dismiss(self);
            }

            fn close(&self) {
                $Kind::close(self);
            }
        }
    )*};
}

devices!(Datagrams Frames);

impl<D: Device + ?Sized> Guarded<D> {
    pub(super) fn new(device: Arc<D>, panics: &Arc<Panics>) -> Self {
        Self { device, panics: Arc::clone(panics) }
    }

    /// Calls the device. One that panics has done `nothing`.
    pub(super) fn call<R>(&self, f: impl FnOnce(&D) -> R, nothing: R) -> R {
        // A port calls it under its lock, where no record may be made.
        self.panics.guard(|| f(&self.device)).unwrap_or(nothing)
    }

    /// The device itself, for what the receive loop calls.
    pub(super) fn for_loop(&self) -> &D {
        &self.device
    }

    /// Waits, for the receive loop.
    pub(super) fn wait(&self, timeout: Duration) {
        self.device.wait(timeout);
    }

    /// Waits as the second one, for the receive loop.
    pub(super) fn guard(&self, timeout: Duration) {
        self.device.guard(timeout);
    }

    pub(super) fn interrupt(&self) {
        self.call(D::interrupt, ());
    }

    pub(super) fn dismiss(&self) {
        self.call(D::dismiss, ());
    }

    pub(super) fn close(&self) {
        self.call(D::close, ());
    }

    /// Has whoever waits, or is about to, come back: there is work left.
    pub(super) fn recall(&self) {
        self.interrupt();
        self.dismiss();
    }
}
