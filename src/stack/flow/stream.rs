//! A flow as a stream of bytes, and its halves.

use std::io;

use super::Flow;
use crate::flow::{ReadError, ReadMode, WriteError};

/// Reads a stream of bytes: the boundaries of packets are not seen. The stream ends (0) when the other end has
/// [closed](Flow#how-a-flow-ends) the flow or its writing direction.
impl io::Read for Flow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_stream(buf)
    }
}

/// Writes a stream of bytes, cut into packets that fit.
impl io::Write for Flow {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_stream(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self);
        Ok(())
    }
}

impl Flow {
    fn read_stream(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        match self.inner.read(buf, ReadMode::Stream, self.flags().nonblocking_read) {
            // The end of the stream. A flow that failed is an error.
            Err(ReadError::Closed) => Ok(0),
            result => Ok(result?),
        }
    }

    fn write_stream(&self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let packet = data.get(..self.stream_packet()).unwrap_or(data);
        Ok(Self::write(self, packet)?)
    }
}

/// How much of a stream goes into one packet: what fits into an Ethernet frame below whatever headers there are, so
/// that nothing is fragmented, or what was chosen for the stack, unless the flow carries less.
pub(in crate::stack) fn stream_packet(max: usize, most: usize) -> usize {
    max.min(most).max(1)
}

/// The reading half of a flow.
#[derive(Debug)]
pub struct ReadHalf(pub(super) Flow);

impl ReadHalf {
    /// The flow; its writing methods work too.
    pub fn flow(&self) -> &Flow {
        &self.0
    }

    /// As [`Flow::read`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.0.read(buf)
    }
}

impl io::Read for ReadHalf {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_stream(buf)
    }
}

/// The writing half of a flow. Dropping it ends the writing direction, as
/// [`shutdown`](Flow::shutdown)`(Shutdown::Write)`.
#[derive(Debug)]
pub struct WriteHalf(pub(super) Flow);

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.0.inner.endpoint.shut();
    }
}

impl WriteHalf {
    /// The flow; its reading methods work too.
    pub fn flow(&self) -> &Flow {
        &self.0
    }

    /// As [`Flow::write`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&self, data: &[u8]) -> Result<usize, WriteError> {
        self.0.write(data)
    }
}

impl io::Write for WriteHalf {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write_stream(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush();
        Ok(())
    }
}
