//! Conditions on a flow that threads wait for.

use std::sync::Arc;
use std::task::Waker;

use crate::flow::{Drive, Endpoint, ReadError, ReadMode, State, Waiter, WriteError};
use crate::stack::wait::Awaited;

/// Mode of a call: without waiting, or with a waker for when it is worth repeating.
pub(super) type Call<'a> = Option<(&'a Waiter, &'a Waker)>;

pub(super) fn read_packet(
    endpoint: &Endpoint,
    call: Call<'_>,
    buf: &mut [u8],
    mode: ReadMode,
) -> Result<usize, ReadError> {
    match call {
        Some((waiter, waker)) => endpoint.poll_read(waiter, waker, buf, mode),
        None => endpoint.read(buf, mode),
    }
}

pub(super) struct Reading<'a, F> {
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) waiter: Option<Waiter>,
    pub(super) read: F,
}

impl<R, F: FnMut(&Endpoint, Call<'_>) -> Result<R, ReadError>> Awaited for Reading<'_, F> {
    type Output = Result<R, ReadError>;

    fn poll(&mut self, waker: &Waker) -> Option<Self::Output> {
        let waiter = self.waiter.get_or_insert_with(|| self.endpoint.reader());
        match (self.read)(self.endpoint, Some((waiter, waker))) {
            Err(ReadError::WouldBlock) => None,
            result => Some(result),
        }
    }

    fn try_now(&mut self) -> Option<Self::Output> {
        match (self.read)(self.endpoint, None) {
            Err(ReadError::WouldBlock) => None,
            result => Some(result),
        }
    }

    fn hint(&self) -> bool {
        self.endpoint.has_arrivals()
    }

    fn before_wait(&mut self) {
        self.endpoint.flush();
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.endpoint.device()
    }
}

pub(super) struct Writing<'a> {
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) waiter: Option<Waiter>,
    pub(super) data: &'a [u8],
}

impl Awaited for Writing<'_> {
    type Output = Result<usize, WriteError>;

    fn poll(&mut self, waker: &Waker) -> Option<Self::Output> {
        let waiter = self.waiter.get_or_insert_with(|| self.endpoint.writer());
        match self.endpoint.poll_write(waiter, waker, self.data) {
            Err(WriteError::WouldBlock) => None,
            result => Some(result),
        }
    }

    fn try_now(&mut self) -> Option<Self::Output> {
        match self.endpoint.write(self.data) {
            Err(WriteError::WouldBlock) => None,
            result => Some(result),
        }
    }

    fn hint(&self) -> bool {
        self.endpoint.has_arrivals() || self.endpoint.is_writable()
    }

    fn before_wait(&mut self) {
        self.endpoint.flush();
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.endpoint.device()
    }
}

pub(super) struct Closing<'a> {
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) waiter: Waiter,
}

impl Awaited for Closing<'_> {
    type Output = ();

    fn poll(&mut self, waker: &Waker) -> Option<()> {
        self.endpoint.poll_closed(&self.waiter, waker).then_some(())
    }

    fn try_now(&mut self) -> Option<()> {
        matches!(self.endpoint.state(), State::Quiet | State::Released).then_some(())
    }

    fn hint(&self) -> bool {
        true
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.endpoint.device()
    }
}

#[cfg(test)]
mod tests;
