//! A UDP socket in the hands of a test: its cable can be pulled, which is how a process that is killed looks from outside, and
//! it says when it is told to send.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use o7s::base::buf::BufCache;
use o7s::device::UdpSocket;
use o7s::types::device::{Datagram, Datagrams, SendError};

/// See the [module](self).
pub(crate) struct Cable {
    socket: Arc<UdpSocket>,
    pulled: AtomicBool,
    lose: AtomicUsize,
    on_send: Box<dyn Fn() + Send + Sync>,
}

impl Cable {
    /// A socket on the loopback interface.
    pub(crate) fn new() -> Arc<Self> {
        Self::hooked(|| {})
    }

    /// The same, which calls `on_send` before it sends, and drops it with itself.
    pub(crate) fn hooked(on_send: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (pulled, lose) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Self { socket, pulled, lose, on_send: Box::new(on_send) })
    }

    /// Nothing comes and goes from now on.
    pub(crate) fn pull(&self) {
        self.pulled.store(true, Ordering::SeqCst);
    }

    /// The next `n` datagrams do not leave.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) fn lose(&self, n: usize) {
        self.lose.store(n, Ordering::SeqCst);
    }

    fn is_pulled(&self) -> bool {
        self.pulled.load(Ordering::SeqCst)
    }
}

impl Datagrams for Cable {
    fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    fn max_datagram(&self) -> usize {
        self.socket.max_datagram()
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.send_from(None, dst, data, segment)
    }

    fn send_from(
        &self,
        src: Option<IpAddr>,
        dst: SocketAddr,
        data: &[u8],
        segment: Option<usize>,
    ) -> Result<(), SendError> {
        (self.on_send)();
        let lost = self.lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if lost || self.is_pulled() { Ok(()) } else { self.socket.send_from(src, dst, data, segment) }
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let before = out.len();
        let n = self.socket.recv(out, cache);
        if !self.is_pulled() {
            return n;
        }
        out.truncate(before);
        0
    }

    fn wait(&self, timeout: Duration) {
        self.socket.wait(timeout);
    }

    fn interrupt(&self) {
        self.socket.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.socket.guard(timeout);
    }

    fn dismiss(&self) {
        self.socket.dismiss();
    }

    fn close(&self) {
        self.socket.close();
    }
}
