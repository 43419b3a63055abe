//! A flow as a stream of bytes, and its halves.

use std::io;
use std::sync::Arc;

use super::Flow;
use crate::flow::{ReadError, ReadMode, WriteError};

/// A flow as a stream of bytes: what [`io::Read`] and [`io::Write`] are implemented for. Made by [`Flow::stream`].
///
/// What is written is cut into packets that [fit](Flow::stream_packet), and reads do not see their boundaries. The stream
/// ends (0) when the other end has [closed](Flow#how-a-flow-ends) the flow or its writing direction. Timeouts and
/// nonblocking calls are set on the [flow](Self::flow).
///
/// Both traits are implemented for `&Stream` too, as for `&TcpStream`: two threads may read and write one stream at the
/// same time. Clones are cheap, and handles of the same flow, which is closed when the last handle of it is dropped,
/// streams and [`Flow`]s alike.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use o7s::{QosSpec, Stack};
///
/// let stack = Stack::new()?;
/// stack.bind_handler("lines", |flow| {
///     for line in BufReader::new(flow.stream()).lines().map_while(Result::ok) {
///         writeln!(flow.stream(), "you said {line}").unwrap();
///     }
/// })?;
/// let stream = stack.flow("lines").qos(QosSpec::DATA).alloc()?.stream();
/// writeln!(&stream, "hello")?;
/// let mut answer = String::new();
/// BufReader::new(&stream).read_line(&mut answer)?;
/// assert_eq!(answer, "you said hello\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stream(Flow);

impl Stream {
    pub(super) fn new(flow: Flow) -> Self {
        Self(flow)
    }

    /// The flow that carries the stream.
    pub fn flow(&self) -> &Flow {
        &self.0
    }

    fn read_bytes(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        match self.0.inner.read(buf, ReadMode::Stream) {
            // The end of the stream. A flow that failed is an error.
            Err(ReadError::Closed) => Ok(0),
            result => Ok(result?),
        }
    }

    fn write_bytes(&self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let packet = data.get(..self.0.stream_packet()).unwrap_or(data);
        Ok(self.0.write(packet)?)
    }
}

impl Clone for Stream {
    fn clone(&self) -> Self {
        self.0.stream()
    }
}

impl From<Flow> for Stream {
    fn from(flow: Flow) -> Self {
        Self(flow)
    }
}

impl io::Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_bytes(buf)
    }
}

impl io::Write for &Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_bytes(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush();
        Ok(())
    }
}

impl io::Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_bytes(buf)
    }
}

impl io::Write for Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_bytes(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush();
        Ok(())
    }
}

/// Bytes of a stream in one packet: the stack's setting, by default what fits into an Ethernet frame below common
/// headers so that nothing is fragmented, unless the flow carries less.
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

    /// As [`Flow::stream`].
    pub fn stream(&self) -> Stream {
        self.0.stream()
    }
}

/// The writing half of a flow. Dropping it ends the writing direction, as
/// [`shutdown`](Flow::shutdown)`(Shutdown::Write)`, also if there is a [stream](Self::stream) of it.
#[derive(Debug)]
pub struct WriteHalf(pub(super) Flow);

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if !self.0.inner.is_aborting() {
            self.0.inner.endpoint.shut();
        }
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

    /// As [`Flow::stream`].
    pub fn stream(&self) -> Stream {
        self.0.stream()
    }
}

impl Flow {
    pub(super) fn share(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}
