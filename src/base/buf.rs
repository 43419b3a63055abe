//! Packet buffers with room at both ends, and the pool they come from.
//!
//! A packet is one buffer from the application to the device: each layer pushes its header into the head room in place
//! and the tag or checksum into the tail room, and pulls them off again on the way up. Nothing is copied between
//! layers.
//!
//! Buffers own their memory and may be dropped anywhere. On the data path they are handed back instead: a
//! [`BufCache`] belongs to one lock-protected place (one end of a flow, one device) and trades whole batches with the
//! shared [`BufPool`], so the steady state neither allocates nor takes the pool's lock per packet. A batch is one buffer
//! at first. It grows while a cache trades often, and shrinks when it does not: of thousands of caches that see a packet
//! now and then, none keeps a stock of its own. What the pool has had to spare for a while is freed, half of it at a time.

mod pool;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use self::pool::{BufCache, BufPool};

/// Head room of a fresh buffer, bytes: the headers of several layers, each with an initialisation vector.
pub const HEADROOM: usize = 160;
/// Tail room of a fresh buffer, bytes: an AEAD tag and a CRC for several layers.
pub const TAILROOM: usize = 96;
/// Payload that a pooled buffer takes, bytes. Larger packets get memory of their own.
pub const POOLED_PAYLOAD: usize = 1792;

const POOLED_BYTES: usize = HEADROOM + POOLED_PAYLOAD + TAILROOM;

/// A packet: a window into a block of memory, with room before and behind.
///
/// ```
/// use o7s::device::PacketBuf;
///
/// let mut p = PacketBuf::copy_of(b"payload");
/// p.push(4).unwrap().copy_from_slice(b"head");
/// assert_eq!(&p[..], b"headpayload");
/// assert_eq!(p.pull(4), Some(&b"head"[..]));
/// assert_eq!(&p[..], b"payload");
/// assert!(p.pull(8).is_none(), "there are only seven bytes");
/// ```
pub struct PacketBuf {
    mem: Box<[u8]>,
    head: u32,
    tail: u32,
}

impl PacketBuf {
    /// An empty packet with the standard head and tail room and space for `payload` bytes between them.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn with_capacity(payload: usize) -> Self {
        let room = payload.max(POOLED_PAYLOAD).saturating_add(HEADROOM + TAILROOM);
        Self { mem: alloc::vec![0; room].into_boxed_slice(), head: HEADROOM as u32, tail: HEADROOM as u32 }
    }

    /// A packet with these bytes and the standard room around them.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut p = Self::with_capacity(bytes.len());
        // The capacity was just made for it.
        let _ = p.extend_from_slice(bytes);
        p
    }

    /// Empties the packet and restores the head room.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn reset(&mut self) {
        self.head = HEADROOM as u32;
        self.tail = HEADROOM as u32;
    }

    /// Bytes in the packet.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn len(&self) -> usize {
        (self.tail - self.head) as usize
    }

    /// Returns `true` if the packet has no bytes: a keepalive.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn is_empty(&self) -> bool {
        self.tail == self.head
    }

    /// Bytes that [`push`](Self::push) can still prepend.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn headroom(&self) -> usize {
        self.head as usize
    }

    /// Bytes that can still be appended.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn tailroom(&self) -> usize {
        self.mem.len() - self.tail as usize
    }

    /// Prepends `n` bytes and returns them, contents unspecified; `None` if there is no room.
    pub fn push(&mut self, n: usize) -> Option<&mut [u8]> {
        let new = (self.head as usize).checked_sub(n)?;
        self.head = new as u32;
        self.mem.get_mut(new..new + n)
    }

    /// Removes `n` bytes from the front and returns them; `None`, and nothing removed, if the packet is shorter.
    pub fn pull(&mut self, n: usize) -> Option<&[u8]> {
        if n > self.len() {
            return None;
        }
        let at = self.head as usize;
        self.head += n as u32;
        self.mem.get(at..at + n)
    }

    /// Appends `n` bytes and returns them, contents unspecified; `None` if there is no room.
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        let at = self.tail as usize;
        let end = at.checked_add(n).filter(|&e| e <= self.mem.len())?;
        self.tail = end as u32;
        self.mem.get_mut(at..end)
    }

    /// Appends `bytes`; `None`, and nothing appended, if there is no room.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> Option<()> {
        self.append(bytes.len())?.copy_from_slice(bytes);
        Some(())
    }

    /// Shortens the packet to `n` bytes; no effect if it is not longer.
    pub fn truncate(&mut self, n: usize) {
        if n < self.len() {
            self.tail = self.head + n as u32;
        }
    }

    /// Memory that the packet holds, bytes: much more than its length, if it is small.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.mem.len()
    }

    /// Returns a copy in memory of just its length, without room for headers; `None` if the packet fills a quarter of
    /// its buffer or more. For packets that wait: a small one in a large buffer costs its sender next to nothing.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn snug(&self) -> Option<Self> {
        if self.len() >= self.mem.len() / 4 {
            return None;
        }
        Some(Self::snug_of(self))
    }

    /// These bytes in memory of just their length.
    pub(crate) fn snug_of(bytes: &[u8]) -> Self {
        Self { mem: bytes.into(), head: 0, tail: bytes.len() as u32 }
    }

    /// As [`snug`](Self::snug), but with the standard room for headers: for packets that go on.
    pub(crate) fn roomy(&self) -> Option<Self> {
        (HEADROOM + self.len() + TAILROOM < self.mem.len() / 4).then(|| Self::roomy_of(self))
    }

    /// These bytes with the standard room around them, in memory of just that length.
    pub(crate) fn roomy_of(bytes: &[u8]) -> Self {
        let mut mem = Vec::with_capacity(HEADROOM + bytes.len() + TAILROOM);
        mem.resize(HEADROOM, 0);
        mem.extend_from_slice(bytes);
        mem.resize(HEADROOM + bytes.len() + TAILROOM, 0);
        let (head, tail) = (HEADROOM as u32, (HEADROOM + bytes.len()) as u32);
        Self { mem: mem.into_boxed_slice(), head, tail }
    }

    /// Returns `true` if the buffer is one that pools keep, with the standard room.
    fn is_pooled(&self) -> bool {
        self.mem.len() == POOLED_BYTES
    }
}

impl core::ops::Deref for PacketBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // The edges are kept inside the memory by every method above.
        self.mem.get(self.head as usize..self.tail as usize).unwrap_or_default()
    }
}

impl core::ops::DerefMut for PacketBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.mem.get_mut(self.head as usize..self.tail as usize).unwrap_or_default()
    }
}

impl AsRef<[u8]> for PacketBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketBuf({} bytes)", self.len())
    }
}

impl From<PacketBuf> for bytes::Bytes {
    fn from(p: PacketBuf) -> Self {
        Self::from_owner(p)
    }
}
