//! The asynchronous face of a flow: runtime-neutral futures.
//!
//! Any executor will do. Several tasks may wait on one flow; all are woken and look again. `tokio`'s and `futures-io`'s
//! traits are implemented behind the features of these names.
//!
//! ```
//! # fn block_on<F: Future>(f: F) -> F::Output {
//! #     struct W(std::thread::Thread);
//! #     impl std::task::Wake for W { fn wake(self: std::sync::Arc<Self>) { self.0.unpark() } }
//! #     let waker = std::sync::Arc::new(W(std::thread::current())).into();
//! #     let mut f = std::pin::pin!(f);
//! #     loop {
//! #         if let std::task::Poll::Ready(r) = f.as_mut().poll(&mut std::task::Context::from_waker(&waker)) { return r }
//! #         std::thread::park();
//! #     }
//! # }
//! let stack = o7s::Stack::new()?;
//! let echo = stack.bind("echo")?;
//! std::thread::spawn(move || {
//!     let flow = echo.accept().unwrap();
//!     flow.write(b"hello").unwrap();
//!     flow.read(&mut [0; 8])
//! });
//! let got = block_on(async {
//!     let flow = stack.flow("echo").qos(o7s::QosSpec::DATA).alloc_async().await?;
//!     let mut buf = [0; 64];
//!     let n = flow.read(&mut buf).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(buf[..n].to_vec())
//! })?;
//! assert_eq!(got, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::flow::{Inner, lost};
use super::{CloseError, flow};
use crate::flow::{Endpoint, ReadError, ReadMode, Waiter, WriteError};
use crate::oap::PeerIdentity;

/// One end of a flow, for tasks. See the [module](self).
///
/// Clones share the flow, which is closed when the last handle of either face is gone; the other end
/// [is told](flow::Flow#how-a-flow-ends).
///
/// The `poll_` methods wake the task that called last with this handle: tasks that use them at the same time need a clone
/// each. The `async` ones have no such limit. All of them are about packets; [`stream`](Self::stream) is the flow as a
/// stream of bytes ([packets and streams](flow::Flow#packets-and-streams)).
#[derive(Debug)]
pub struct Flow {
    inner: Arc<Inner>,
    reader: Waiter,
    writer: Waiter,
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    closer: Waiter,
}

impl Clone for Flow {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.inner))
    }
}

impl Flow {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let endpoint = &inner.endpoint;
        Self {
            reader: endpoint.reader(),
            writer: endpoint.writer(),
            #[cfg(any(feature = "tokio", feature = "futures-io"))]
            closer: endpoint.closer(),
            inner,
        }
    }

    /// The blocking face of the same flow.
    pub fn into_blocking(self) -> flow::Flow {
        flow::Flow::from_inner(self.inner)
    }

    /// Who the other end is, as far as it has been shown until now: see [`Flow::peer`](flow::Flow::peer).
    pub fn peer(&self) -> PeerIdentity {
        self.inner.peer()
    }

    /// The flow as a stream of bytes: another handle of it, for the traits of `tokio` and `futures-io`.
    pub fn stream(&self) -> Stream {
        Stream { flow: self.clone() }
    }

    /// Reads one packet into `buf` and returns its length. A packet that does not fit is reported and stays.
    ///
    /// # Errors
    /// [`ReadError`]; never [`ReadError::WouldBlock`].
    ///
    /// # Cancel safety
    /// A read that is dropped has taken nothing.
    pub async fn read(&self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let reader = self.inner.endpoint.reader();
        poll_fn(|cx| self.poll_with(cx, |e, waker| e.poll_read(&reader, waker, buf, ReadMode::Whole))).await
    }

    /// Reads one packet without copying it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    /// A read that is dropped has taken nothing.
    pub async fn read_bytes(&self) -> Result<Bytes, ReadError> {
        let reader = self.inner.endpoint.reader();
        poll_fn(|cx| self.poll_with(cx, |e, waker| e.poll_read_packet(&reader, waker))).await.map(Bytes::from)
    }

    /// Writes one packet and returns its length.
    ///
    /// # Errors
    /// [`WriteError`]; never [`WriteError::WouldBlock`].
    ///
    /// # Cancel safety
    /// A write that is dropped has written nothing.
    pub async fn write(&self, data: &[u8]) -> Result<usize, WriteError> {
        let writer = self.inner.endpoint.writer();
        poll_fn(|cx| self.poll_write_as(&writer, cx, data)).await
    }

    /// Polls for a packet; see [`read`](Self::read).
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, ReadError>> {
        self.poll_read_mode(cx, buf, ReadMode::Whole)
    }

    fn poll_read_mode(&self, cx: &mut Context<'_>, buf: &mut [u8], mode: ReadMode) -> Poll<Result<usize, ReadError>> {
        self.poll_with(cx, |e, waker| e.poll_read(&self.reader, waker, buf, mode))
    }

    fn poll_with<R>(
        &self,
        cx: &mut Context<'_>,
        read: impl FnOnce(&Endpoint, &Waker) -> Result<R, ReadError>,
    ) -> Poll<Result<R, ReadError>> {
        match read(&self.inner.endpoint, cx.waker()) {
            Err(ReadError::WouldBlock) => {
                // A reader waits for an answer to what was written: held-back packets go out first.
                self.inner.endpoint.flush();
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    /// Polls for room and writes; see [`write`](Self::write).
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, WriteError>> {
        self.poll_write_as(&self.writer, cx, data)
    }

    fn poll_write_as(&self, writer: &Waiter, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, WriteError>> {
        match self.inner.endpoint.poll_write(writer, cx.waker(), data) {
            Err(WriteError::WouldBlock) => {
                self.inner.endpoint.flush();
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    /// Ends the writing direction and waits until the other end has everything that was written and knows that it is the
    /// end, as far as that can be [known](flow::Flow::close). The other direction goes on.
    ///
    /// # Errors
    /// [`CloseError`] says how many packets the other end does not have, if the flow is over before that.
    ///
    /// # Cancel safety
    /// The direction is ended even if the future is dropped.
    pub async fn shutdown(&self) -> Result<(), CloseError> {
        self.inner.endpoint.shut();
        let closer = self.inner.endpoint.closer();
        poll_fn(|cx| self.poll_closed(&closer, cx)).await;
        lost(&self.inner.endpoint)
    }

    /// Gives the flow up, as [`Flow::abort`](flow::Flow::abort) does.
    pub fn abort(self) {
        self.inner.endpoint.reset();
    }

    /// Closes the flow and waits, up to `timeout`, until the other end has everything that was written and knows of the
    /// close, as far as that can be [known](flow::Flow::close).
    ///
    /// # Errors
    /// [`CloseError`] says how many packets the other end does not have.
    ///
    /// # Cancel safety
    /// The flow is closed even if the future is dropped; what was lost is then not known.
    pub async fn close(self, timeout: Duration) -> Result<(), CloseError> {
        self.inner.endpoint.close(timeout);
        let closer = self.inner.endpoint.closer();
        poll_fn(|cx| self.poll_closed(&closer, cx)).await;
        lost(&self.inner.endpoint)
    }

    fn poll_closed(&self, closer: &Waiter, cx: &mut Context<'_>) -> Poll<()> {
        if self.inner.endpoint.poll_closed(closer, cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The blocking face, for everything that does not wait.
    pub fn as_blocking(&self) -> flow::Flow {
        flow::Flow::from_inner(Arc::clone(&self.inner))
    }
}

/// A flow as a stream of bytes, for tasks: what `AsyncRead` and `AsyncWrite` of `tokio` and of `futures-io` are implemented
/// for, behind the features of these names. Made by [`Flow::stream`].
///
/// What is written is cut into packets that [fit](flow::Flow::stream_packet), and reads do not see their boundaries.
/// `shutdown` of `tokio`'s `AsyncWrite` and `close` of `futures-io`'s end the writing direction only, as
/// [`Flow::shutdown`] does, so that `copy_bidirectional` and the like work.
///
/// The traits wake the task that called last with this handle: tasks that use a stream at the same time need a clone each.
#[derive(Clone, Debug)]
pub struct Stream {
    flow: Flow,
}

impl Stream {
    /// The flow that carries the stream.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }
}

impl From<Flow> for Stream {
    fn from(flow: Flow) -> Self {
        Self { flow }
    }
}

#[cfg(any(feature = "tokio", feature = "futures-io"))]
mod io_traits {
    use std::io;
    use std::pin::Pin;

    use super::*;

    impl Flow {
        pub(super) fn poll_read_stream(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            if buf.is_empty() {
                return Poll::Ready(Ok(0));
            }
            match self.poll_read_mode(cx, buf, ReadMode::Stream) {
                // The end of the stream. A flow that failed is an error.
                Poll::Ready(Err(ReadError::Closed)) => Poll::Ready(Ok(0)),
                other => other.map_err(io::Error::from),
            }
        }

        pub(super) fn poll_write_stream(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            if data.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let packet = data
                .get(..flow::stream::stream_packet(self.inner.endpoint.max_packet(), self.inner.shared.stream_packet))
                .unwrap_or(data);
            self.poll_write(cx, packet).map_err(io::Error::from)
        }

        /// Ends the writing direction. Idempotent.
        pub(super) fn poll_shutdown_stream(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.inner.endpoint.shut();
            match self.poll_closed(&self.closer, cx) {
                Poll::Ready(()) => Poll::Ready(lost(&self.inner.endpoint).map_err(io::Error::from)),
                Poll::Pending => Poll::Pending,
            }
        }
    }

    #[cfg(feature = "tokio")]
    impl tokio::io::AsyncRead for Stream {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.flow.poll_read_stream(cx, buf.initialize_unfilled()).map_ok(|n| buf.advance(n))
        }
    }

    #[cfg(feature = "tokio")]
    impl tokio::io::AsyncWrite for Stream {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            self.flow.poll_write_stream(cx, data)
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flow.inner.endpoint.flush();
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flow.poll_shutdown_stream(cx)
        }
    }

    #[cfg(feature = "futures-io")]
    impl futures_io::AsyncRead for Stream {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            self.flow.poll_read_stream(cx, buf)
        }
    }

    #[cfg(feature = "futures-io")]
    impl futures_io::AsyncWrite for Stream {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            self.flow.poll_write_stream(cx, data)
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flow.inner.endpoint.flush();
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flow.poll_shutdown_stream(cx)
        }
    }
}
