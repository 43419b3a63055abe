//! An Ethernet device whose frames have 60 bytes at least, as those of every real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use o7s::base::buf::{BufCache, PacketBuf};
use o7s::device::{Frames, Link, Mac, MemoryFrames, SendError};

/// The shortest frame, without its checksum.
const SHORTEST: usize = 60;

/// One end of a cable in memory.
pub(crate) struct Padded {
    end: Arc<MemoryFrames>,
    padded: AtomicU64,
}

impl Padded {
    /// Two stations on one cable.
    pub(crate) fn pair() -> [Arc<Self>; 2] {
        let (a, b) = MemoryFrames::pair(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        [a, b].map(|end| Arc::new(Self { end, padded: AtomicU64::new(0) }))
    }

    /// Frames that were shorter.
    pub(crate) fn padded(&self) -> u64 {
        self.padded.load(Ordering::Relaxed)
    }
}

impl Frames for Padded {
    fn mac(&self) -> Mac {
        self.end.mac()
    }

    fn mtu(&self) -> usize {
        self.end.mtu()
    }

    fn link(&self) -> Link {
        self.end.link()
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        if frame.len() >= SHORTEST {
            return self.end.send(frame);
        }
        self.padded.fetch_add(1, Ordering::Relaxed);
        let mut padded = frame.to_vec();
        padded.resize(SHORTEST, 0);
        self.end.send(&padded)
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        self.end.recv(out, cache)
    }

    fn wait(&self, timeout: Duration) {
        self.end.wait(timeout);
    }

    fn interrupt(&self) {
        self.end.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.end.guard(timeout);
    }

    fn dismiss(&self) {
        self.end.dismiss();
    }
}
