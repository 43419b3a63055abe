//! What the network reports of datagrams that did not arrive (ICMP, RFC 792 and RFC 4443).

use std::io;
use std::sync::atomic::Ordering;

#[cfg(any(target_os = "linux", target_os = "android"))]
use quinn_udp::UdpSockRef;
use quinn_udp::UdpSocketState;

use crate::base::sync::AtomicU64;

/// Times that a call of the system is made again because reports on earlier datagrams were in its way.
const TRIES: usize = 8;
/// Reports that are taken at once. Anybody can forge them, and whoever takes them has other work.
const AT_ONCE: usize = 32;

/// Counts the reports, and keeps them out of the way of datagrams: the system tells each as the error of the next call, which
/// then neither sends nor receives.
pub(super) struct Reports {
    /// The kernel keeps each until it is taken (`IP_RECVERR`, see ip(7)). Otherwise only a connected socket is told, by the error
    /// alone.
    kept: bool,
    count: AtomicU64,
}

impl Reports {
    /// Asks the kernel for them.
    pub(super) fn ask(state: &UdpSocketState, socket: &std::net::UdpSocket) -> Self {
        Self { kept: keep(state, socket), count: AtomicU64::new(0) }
    }

    /// Returns how many there were since the socket was taken over.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Makes a call of the system, and again if an error may be that of an earlier datagram.
    pub(super) fn pass<T>(
        &self,
        state: &UdpSocketState,
        socket: &std::net::UdpSocket,
        mut call: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut tries = 0;
        loop {
            let error = match call() {
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => e,
                result => return result,
            };
            let reports = if self.kept { self.take(state, socket) } else { self.told_by(&error) };
            // The error of a report that the kernel had no room to keep is seen once. One of this very call comes again.
            let may_be_earlier = reports > 0 || (self.kept && tries == 0);
            if !may_be_earlier || tries == TRIES {
                return Err(error);
            }
            tries += 1;
        }
    }

    /// For whoever was woken by the socket without anything that it could read: as long as reports are there it wakes at once.
    pub(super) fn look(&self, state: &UdpSocketState, socket: &std::net::UdpSocket) {
        if self.kept {
            self.take(state, socket);
        }
    }

    /// Takes what the kernel has kept. Returns how many of them came from the network. The others are its own, and say what the
    /// call that failed has said as well.
    fn take(&self, state: &UdpSocketState, socket: &std::net::UdpSocket) -> u64 {
        let kept = std::iter::from_fn(|| next(state, socket));
        let reports = kept.take(AT_ONCE).filter(|origin| *origin == Origin::Network).count() as u64;
        self.count.fetch_add(reports, Ordering::Relaxed);
        reports
    }

    fn told_by(&self, error: &io::Error) -> u64 {
        let told = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset);
        self.count.fetch_add(u64::from(told), Ordering::Relaxed);
        u64::from(told)
    }
}

/// Who has made a report.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code, reason = "nothing is kept there"))]
enum Origin {
    Network,
    Kernel,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn keep(state: &UdpSocketState, socket: &std::net::UdpSocket) -> bool {
    state.enable_transport_errors(UdpSockRef::from(socket)).is_ok()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn next(state: &UdpSocketState, socket: &std::net::UdpSocket) -> Option<Origin> {
    let report = state.recv_transport_error(UdpSockRef::from(socket)).ok()??;
    // The kernel's own come from no host.
    Some(if report.addr.is_some() { Origin::Network } else { Origin::Kernel })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn keep(_: &UdpSocketState, _: &std::net::UdpSocket) -> bool {
    false
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn next(_: &UdpSocketState, _: &std::net::UdpSocket) -> Option<Origin> {
    None
}
