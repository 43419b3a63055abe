//! The common part of drivers made from devices: received frames, and sent ones that wait for room.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{IDLE_BUFFERS, MAX_WAITING};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::types::device::{Frames, Link};

/// A device, as something that hands out frames one by one and takes what it is given.
pub(super) struct FrameQueue<F> {
    pub(super) receiving: Receiving,
    pub(super) sending: Sending<F>,
}

/// Frames that have arrived.
pub(super) struct Receiving {
    /// The next one is the last.
    arrived: Vec<PacketBuf>,
    /// Buffers that are done with.
    spent: Vec<PacketBuf>,
}

/// The device, and frames that wait for room in its queue.
pub(super) struct Sending<F> {
    pub(super) device: F,
    cache: BufCache,
    waiting: VecDeque<PacketBuf>,
    pub(super) dropped: u64,
}

/// The room of a device for another frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is room.
    Yes,
    /// Its queue is full. Nobody tells when it is no more.
    Full,
    /// Its link is not up.
    Down,
}

impl<F: Frames> FrameQueue<F> {
    pub(super) fn new(device: F) -> Self {
        let cache = BufCache::new(&BufPool::new(IDLE_BUFFERS));
        Self {
            receiving: Receiving { arrived: Vec::new(), spent: Vec::new() },
            sending: Sending { device, cache, waiting: VecDeque::new(), dropped: 0 },
        }
    }

    /// The next frame that has arrived.
    pub(super) fn poll_receive(&mut self) -> Option<PacketBuf> {
        let Receiving { arrived, spent } = &mut self.receiving;
        spent.drain(..).for_each(|frame| self.sending.cache.put(frame));
        if arrived.is_empty() {
            self.sending.device.recv(arrived, &mut self.sending.cache);
            arrived.reverse();
        }
        arrived.pop()
    }

    /// Hands the device the frames that wait, if there are any: the task above may have nothing else to send, and not come
    /// back for room.
    pub(super) fn poll_waiting(&mut self) -> Room {
        if self.sending.is_waiting() { self.poll_room() } else { Room::Yes }
    }

    /// Hands the device the frames that wait, and returns its room for another one.
    pub(super) fn poll_room(&mut self) -> Room {
        if self.sending.device.link() != Link::Up {
            return Room::Down;
        }
        self.sending.send_waiting();
        if self.sending.is_waiting() { Room::Full } else { Room::Yes }
    }
}

impl Receiving {
    /// Takes back a buffer that is done with.
    pub(super) fn put(&mut self, frame: PacketBuf) {
        self.spent.push(frame);
    }
}

impl<F> Sending<F> {
    /// Returns `true` if there are frames for which the device had no room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Their number.
    #[cfg(feature = "smoltcp")]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl<F: Frames> Sending<F> {
    /// Sends a frame of `len` bytes, which `fill` writes.
    pub(super) fn transmit<R>(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut frame = self.cache.take(len);
        let mut nothing = [];
        let room = frame.append(len).unwrap_or(&mut nothing);
        // What is not written is not to tell of other frames.
        room.fill(0);
        let result = fill(room);
        self.send_waiting();
        // Behind those that wait.
        if !self.is_waiting() {
            match self.device.send(&frame) {
                Ok(()) => return self.done(frame, result),
                Err(error) if !error.is_temporary() => return self.lost(frame, result),
                Err(_) => {}
            }
        }
        if self.waiting.len() >= MAX_WAITING {
            return self.lost(frame, result);
        }
        self.waiting.push_back(frame);
        result
    }

    fn send_waiting(&mut self) {
        while let Some(frame) = self.waiting.pop_front() {
            match self.device.send(&frame) {
                Ok(()) => self.cache.put(frame),
                Err(error) if error.is_temporary() => return self.waiting.push_front(frame),
                Err(_) => self.lost(frame, ()),
            }
        }
    }

    fn done<R>(&mut self, frame: PacketBuf, result: R) -> R {
        self.cache.put(frame);
        result
    }

    fn lost<R>(&mut self, frame: PacketBuf, result: R) -> R {
        self.dropped += 1;
        self.done(frame, result)
    }
}
