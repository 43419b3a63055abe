//! A device whose packets are captured.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::headers;
use super::tap::{Passed, Tap};
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::delegate::delegate;
use crate::types::device::{Datagram, Datagrams, FrameLosses, Frames, Link, SendError};
use crate::types::mac::Mac;
use crate::wire::pcapng::{Direction, LINK_ETHERNET, LINK_RAW};

/// Wrapper of a device that records its traffic while a capture of its [`Tap`] runs. While none does, a call costs one
/// relaxed load more.
///
/// The devices that a stack makes itself, and those that it is given, are in one already. For others, see [`Tap`].
pub struct Pcap<D> {
    pub(super) device: D,
    tap: Arc<Tap>,
    name: String,
    passed: u64,
    dropped: u64,
}

impl<D> Pcap<D> {
    /// Wraps `device`; captures of `tap` call it `name`.
    pub fn new(device: D, tap: &Arc<Tap>, name: &str) -> Self {
        let (passed, dropped) = (tap.number(), tap.number());
        Self { device, tap: Arc::clone(tap), name: name.into(), passed, dropped }
    }

    fn record(&self, link: u16, direction: Direction, head: &[u8], data: &[u8]) {
        let name = || self.name.clone();
        let (interface, direction) = (self.passed, Some(direction));
        self.tap.record(&Passed { interface, link, name: &name, head, data, direction, comment: "" });
    }

    fn record_dropped(&self, link: u16, direction: Direction, head: &[u8], data: &[u8], comment: &str) {
        let name = || format!("{} (dropped)", self.name);
        let (interface, direction) = (self.dropped, Some(direction));
        self.tap.record(&Passed { interface, link, name: &name, head, data, direction, comment });
    }
}

/// The comment on a packet that the device does not take.
fn unsent(why: SendError) -> String {
    format!("not sent: {why}")
}

fn dropped(why: &dyn fmt::Display) -> String {
    format!("dropped: {why}")
}

/// The address of a datagram at this end: `local`, if known, of a device bound to `addr`.
fn own(addr: SocketAddr, local: Option<IpAddr>) -> SocketAddr {
    SocketAddr::new(local.unwrap_or(addr.ip()), addr.port())
}

impl<D: Datagrams> Pcap<D> {
    /// Calls `f` with each datagram of a batch, and the headers in front of it.
    fn each(
        &self,
        src: Option<IpAddr>,
        dst: SocketAddr,
        data: &[u8],
        segment: Option<usize>,
        f: impl Fn(&[u8], &[u8]),
    ) {
        let from = own(self.device.local_addr(), src);
        let size = segment.unwrap_or(data.len()).max(1);
        if data.is_empty() {
            f(&headers::udp(from, dst, data), data);
        }
        for datagram in data.chunks(size) {
            f(&headers::udp(from, dst, datagram), datagram);
        }
    }

    #[cold]
    fn send_recorded(
        &self,
        src: Option<IpAddr>,
        dst: SocketAddr,
        data: &[u8],
        segment: Option<usize>,
    ) -> Result<(), SendError> {
        // Before it is sent: the answer may be faster than we are.
        self.each(src, dst, data, segment, |head, datagram| self.record(LINK_RAW, Direction::Out, head, datagram));
        let sent = self.device.send_from(src, dst, data, segment);
        if let Err(error) = sent {
            let comment = unsent(error);
            self.each(src, dst, data, segment, |head, datagram| {
                self.record_dropped(LINK_RAW, Direction::Out, head, datagram, &comment);
            });
        }
        sent
    }
}

impl<D: Datagrams> Datagrams for Pcap<D> {
    delegate! {
        self => self.device;
        fn local_addr() -> SocketAddr;
        fn max_datagram() -> usize;
        fn max_segments() -> usize;
        fn queued(dst: SocketAddr) -> usize;
        fn rejected() -> u64;
        fn overrun() -> u64;
        fn wait(timeout: Duration);
        fn interrupt();
        fn guard(timeout: Duration);
        fn dismiss();
        fn close();
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.send_from(None, dst, data, segment)
    }

    #[inline]
    fn send_from(
        &self,
        src: Option<IpAddr>,
        dst: SocketAddr,
        data: &[u8],
        segment: Option<usize>,
    ) -> Result<(), SendError> {
        if self.tap.is_on() {
            return self.send_recorded(src, dst, data, segment);
        }
        self.device.send_from(src, dst, data, segment)
    }

    #[inline]
    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let before = out.len();
        let n = self.device.recv(out, cache);
        if self.tap.is_on() {
            let addr = self.device.local_addr();
            for datagram in out.iter().skip(before) {
                let head = headers::udp(datagram.src, own(addr, datagram.local), &datagram.data);
                self.record(LINK_RAW, Direction::In, &head, &datagram.data);
            }
        }
        n
    }

    fn note_dropped(&self, datagram: &Datagram, why: &dyn fmt::Display) {
        if self.tap.is_on() {
            let head = headers::udp(datagram.src, own(self.device.local_addr(), datagram.local), &datagram.data);
            self.record_dropped(LINK_RAW, Direction::In, &head, &datagram.data, &dropped(why));
        }
        self.device.note_dropped(datagram, why);
    }
}

impl<D: Frames> Frames for Pcap<D> {
    delegate! {
        self => self.device;
        fn mac() -> Mac;
        fn mtu() -> usize;
        fn link() -> Link;
        fn max_batch() -> usize;
        fn queued() -> usize;
        fn losses() -> FrameLosses;
        fn wait(timeout: Duration);
        fn interrupt();
        fn guard(timeout: Duration);
        fn dismiss();
        fn close();
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        let on = self.tap.is_on();
        if on {
            self.record(LINK_ETHERNET, Direction::Out, &[], frame);
        }
        let sent = self.device.send(frame);
        if let Err(error) = sent
            && on
        {
            self.record_dropped(LINK_ETHERNET, Direction::Out, &[], frame, &unsent(error));
        }
        sent
    }

    fn send_batch(&self, frames: &[PacketBuf]) -> Result<usize, SendError> {
        if !self.tap.is_on() {
            return self.device.send_batch(frames);
        }
        // What the device does not take is not sent yet, and may come again: all are written before the answer to one can be,
        // and those that were not taken once more.
        frames.iter().for_each(|frame| self.record(LINK_ETHERNET, Direction::Out, &[], frame));
        let sent = self.device.send_batch(frames);
        let comment = unsent(sent.err().unwrap_or(SendError::Full));
        for frame in frames.iter().skip(sent.unwrap_or(0)) {
            self.record_dropped(LINK_ETHERNET, Direction::Out, &[], frame, &comment);
        }
        sent
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let before = out.len();
        let n = self.device.recv(out, cache);
        if self.tap.is_on() {
            out.iter().skip(before).for_each(|frame| self.record(LINK_ETHERNET, Direction::In, &[], frame));
        }
        n
    }

    fn note_dropped(&self, frame: &[u8], why: &dyn fmt::Display) {
        if self.tap.is_on() {
            self.record_dropped(LINK_ETHERNET, Direction::In, &[], frame, &dropped(why));
        }
        self.device.note_dropped(frame, why);
    }
}

impl<D: fmt::Debug> fmt::Debug for Pcap<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pcap").field(&self.device).finish()
    }
}
