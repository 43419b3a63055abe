//! Packet sockets without any of this, in the ways that are known to be fast.
#![allow(unsafe_code, reason = "the operating system's interface")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::local::PACKET;
use crate::measure::each;

/// The type of its frames, so that it does not see ours.
const TYPE: u16 = 0x88b5;
const HEADER: usize = 14;
const BATCH: usize = 64;

/// A socket on an interface.
pub(super) struct Bare(File);

impl Bare {
    pub(super) fn open(interface: &str) -> Self {
        let name = std::ffi::CString::new(interface).unwrap();
        // SAFETY: the name ends with a NUL and outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        // SAFETY: no pointers; the number is checked before it is owned.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
            assert!(fd >= 0, "no packet socket");
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: a structure of numbers, for which all zeros are a value.
        let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
        (address.sll_family, address.sll_protocol) = (libc::AF_PACKET as u16, TYPE.to_be());
        address.sll_ifindex = index as i32;
        let len = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address has as many bytes as are told, and outlives the call.
        assert_eq!(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) }, 0);
        socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).unwrap();
        Self(File::from(socket))
    }

    /// A socket, at the other end of whose cable everything is sent back.
    pub(super) fn pair([a, b]: [&str; 2]) -> Self {
        let mut far = Self::open(b).0;
        std::thread::spawn(move || {
            let mut buf = [0; 2048];
            while let Ok(n) = far.read(&mut buf) {
                // Something that is not ours ends it.
                if n <= HEADER || far.write(&buf[..n]).is_err() {
                    return;
                }
            }
        });
        Self::open(a)
    }

    /// Sends a frame.
    fn write(&self, frame: &[u8]) {
        (&self.0).write_all(frame).unwrap();
    }

    /// Seconds a round trip.
    pub(super) fn round_trips(&self, n: usize, payload: usize) -> f64 {
        let (frame, mut buf) = (frame(payload), [0; 2048]);
        each(n, || {
            self.write(&frame);
            assert_eq!((&self.0).read(&mut buf).unwrap(), frame.len());
        })
    }

    /// Sends so many frames, in batches.
    fn send(&self, frame: &[u8], n: usize) {
        let mut slice = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        // SAFETY: structures of numbers and pointers, for which all zeros are a value.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { core::mem::zeroed() };
        for message in &mut messages {
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&raw mut slice, 1);
        }
        let mut left = n;
        while left > 0 {
            let count = left.min(BATCH) as u32;
            // SAFETY: as many messages as are told, each with the one slice of a frame that outlives the call.
            let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
            left -= usize::try_from(sent).unwrap_or(0);
        }
    }
}

/// A frame for everybody.
fn frame(payload: usize) -> Vec<u8> {
    [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &TYPE.to_be_bytes(), &vec![7; payload]].concat()
}

/// Counts what arrives at an interface.
pub(super) struct Sink {
    packets: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    pub(super) fn new(interface: &str) -> Self {
        let socket = Bare::open(interface).0;
        socket2::SockRef::from(&socket).set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut sink = Self { packets: Arc::default(), stop: Arc::default(), thread: None };
        let (packets, stop) = (Arc::clone(&sink.packets), Arc::clone(&sink.stop));
        let counting = std::thread::spawn(move || {
            let mut bufs = vec![[0_u8; 2048]; BATCH];
            let mut slices: Vec<_> =
                bufs.iter_mut().map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() }).collect();
            // SAFETY: structures of numbers and pointers, for which all zeros are a value.
            let mut messages: [libc::mmsghdr; BATCH] = unsafe { core::mem::zeroed() };
            for (message, slice) in messages.iter_mut().zip(&mut slices) {
                (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&raw mut *slice, 1);
            }
            while !stop.load(Ordering::Relaxed) {
                let (fd, flags) = (socket.as_raw_fd(), libc::MSG_WAITFORONE);
                // SAFETY: each message has a slice of its own, whose bytes live as long as the thread.
                let n =
                    unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), BATCH as u32, flags, core::ptr::null_mut()) };
                packets.fetch_add(usize::try_from(n).unwrap_or(0), Ordering::Relaxed);
            }
            drop(slices);
        });
        sink.thread = Some(counting);
        sink
    }

    /// Has so many packets sent, and returns how many arrived each second.
    pub(super) fn packets_a_second(&self, sender: &Bare, n: usize) -> f64 {
        let (frame, before) = (frame(PACKET + 4), self.packets.load(Ordering::Relaxed));
        let start = Instant::now();
        sender.send(&frame, n);
        // What waits at the receiver counts, and the time that it takes.
        let (mut last, mut seen) = (Instant::now(), 0);
        while last.elapsed() < Duration::from_millis(20) {
            let now = self.packets.load(Ordering::Relaxed) - before;
            if now != seen {
                (last, seen) = (Instant::now(), now);
            }
            if seen == n {
                break;
            }
            std::thread::yield_now();
        }
        seen as f64 / (last - start).as_secs_f64()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}
