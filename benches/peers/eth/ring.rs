//! Receiving through a ring of memory that the kernel shares, as the device would have to: each frame is copied into a buffer
//! that lives on. There are rings of blocks, of which a frame is seen when its block is full or a millisecond old
//! (TPACKET_V3), and rings of slots, of which it is seen at once (TPACKET_V2).
#![allow(unsafe_code, reason = "the operating system's interface")]

use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::bare::{Bare, HEADER, frame};
use crate::measure::each;

/// Bytes of a block, and blocks.
const BLOCK: usize = 128 << 10;
const BLOCKS: usize = 32;
/// The longest that a block waits to be full, milliseconds.
const WAIT: u32 = 1;
const BUFFER: usize = 2048;
/// Frames that are taken at a time.
const BATCH: usize = 64;

/// The kind of a ring.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Blocks,
    Slots,
}

/// Memory that is shared with the kernel, for as long as this lives.
struct Ring {
    socket: Bare,
    memory: *mut u8,
    kind: Kind,
    /// The block or slot that comes next.
    next: usize,
    buffers: Vec<[u8; BUFFER]>,
}

// SAFETY: the memory is used by one thread at a time, to which this moves.
unsafe impl Send for Ring {}

impl Ring {
    fn new(socket: Bare, kind: Kind) -> Self {
        let fd = socket.as_raw_fd();
        let version = match kind {
            Kind::Blocks => libc::tpacket_versions::TPACKET_V3 as i32,
            Kind::Slots => libc::tpacket_versions::TPACKET_V2 as i32,
        };
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK as u32,
            tp_block_nr: BLOCKS as u32,
            tp_frame_size: BUFFER as u32,
            tp_frame_nr: (BLOCKS * BLOCK / BUFFER) as u32,
            tp_retire_blk_tov: WAIT,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        let set = |option, value: *const libc::c_void, len: usize| {
            // SAFETY: the pointer is to a value of `len` bytes that outlives the call.
            let result = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, value, len as u32) };
            assert_eq!(result, 0, "no ring: {}", std::io::Error::last_os_error());
        };
        set(libc::PACKET_VERSION, (&raw const version).cast(), size_of_val(&version));
        // That of the older version is the beginning of it.
        let len = if kind == Kind::Blocks { size_of_val(&request) } else { size_of::<libc::tpacket_req>() };
        set(libc::PACKET_RX_RING, (&raw const request).cast(), len);
        let (read_write, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping of the ring that was just made, at an address of the kernel's choice.
        let memory = unsafe { libc::mmap(core::ptr::null_mut(), BLOCK * BLOCKS, read_write, shared, fd, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        Self { socket, memory: memory.cast(), kind, next: 0, buffers: vec![[0; BUFFER]; BATCH] }
    }

    /// Takes frames that have arrived, and returns how many.
    fn take(&mut self) -> usize {
        match self.kind {
            Kind::Blocks => self.take_block().unwrap_or(0),
            Kind::Slots => (0..BATCH).take_while(|i| self.take_slot(*i)).count(),
        }
    }

    /// Takes the frame of the next slot, if it is ours, and gives the slot back to the kernel.
    fn take_slot(&mut self, buffer: usize) -> bool {
        // SAFETY: there are so many slots, and each begins with its header, which is aligned as slots are.
        let (start, status) = unsafe {
            let start = self.memory.add(self.next * BUFFER);
            (start, AtomicU32::from_ptr(&raw mut (*start.cast::<libc::tpacket2_hdr>()).tp_status))
        };
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return false;
        }
        // SAFETY: the slot is ours, so nobody writes to it until its status is set; the frame is within it.
        unsafe {
            let head = start.cast::<libc::tpacket2_hdr>();
            let at = usize::from((*head).tp_mac);
            let len = ((*head).tp_snaplen as usize).min(BUFFER - at);
            core::ptr::copy_nonoverlapping(start.add(at), self.buffers[buffer].as_mut_ptr(), len);
        }
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % (BLOCKS * BLOCK / BUFFER);
        true
    }

    /// Waits until there is something, for a moment.
    fn wait(&self) {
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, 5) };
    }

    /// Takes the frames of the next block, if it is ours, and gives it back to the kernel.
    fn take_block(&mut self) -> Option<usize> {
        // SAFETY: there are so many blocks, and each begins with its descriptor, which is aligned as blocks are.
        let (start, status) = unsafe {
            let start = self.memory.add(self.next * BLOCK);
            let status = &raw mut (*start.cast::<libc::tpacket_block_desc>()).hdr.bh1.block_status;
            (start, AtomicU32::from_ptr(status))
        };
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the block is ours, so nobody writes to it until its status is set.
        let (frames, first) = unsafe {
            let head = (*start.cast::<libc::tpacket_block_desc>()).hdr.bh1;
            (head.num_pkts as usize, head.offset_to_first_pkt as usize)
        };
        let mut at = first;
        for frame in 0..frames {
            let buffer = &mut self.buffers[frame % BATCH];
            // SAFETY: the kernel has put a frame there, with its header in front; both are within the block.
            unsafe {
                let head = start.add(at).cast::<libc::tpacket3_hdr>();
                let len = ((*head).tp_snaplen as usize).min(BUFFER);
                let from = start.add(at + usize::from((*head).tp_mac));
                core::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), len);
                at += (*head).tp_next_offset as usize;
            }
        }
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % BLOCKS;
        Some(frames)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and nobody uses it any more.
        unsafe { libc::munmap(self.memory.cast(), BLOCK * BLOCKS) };
    }
}

/// Counts what arrives at an interface.
pub(super) struct RingSink {
    pub(super) packets: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RingSink {
    pub(super) fn new(interface: &str, kind: Kind) -> Self {
        let mut ring = Ring::new(Bare::open(interface), kind);
        let (packets, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ends) = (Arc::clone(&packets), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                match ring.take() {
                    0 => ring.wait(),
                    frames => drop(count.fetch_add(frames, Ordering::Relaxed)),
                }
            }
        });
        Self { packets, stop, thread: Some(thread) }
    }
}

impl Drop for RingSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Seconds a round trip to an end that sends everything back, with a ring of slots at this one.
pub(super) fn round_trips([near, far]: [&str; 2], n: usize, payload: usize) -> f64 {
    let mut ring = Ring::new(Bare::pair([near, far]), Kind::Slots);
    let frame = frame(payload);
    let result = each(n, || {
        ring.socket.write(&frame);
        while ring.take() == 0 {
            ring.wait();
        }
    });
    // The other end stops at what is not of a ping.
    ring.socket.write(&frame[..HEADER]);
    result
}
