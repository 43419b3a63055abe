//! A switch between devices.

mod learning;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "sim")]
pub(crate) use self::learning::addresses;
pub(crate) use self::learning::{Learning, Way};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::base::time::Instant;
use crate::types::device::{FrameLosses, Frames, Link, SendError};
use crate::types::mac::Mac;

/// Idle buffers kept for all ports.
const IDLE_BUFFERS: usize = 256;

/// An Ethernet switch between devices: it learns where addresses are, and sends to all ports what is for a group or for an
/// address that it does not know.
///
/// A port that has no room loses what is sent to it. Frames for the addresses that bridges keep to themselves
/// (01:80:c2:00:00:00 to 0f, such as pauses and spanning tree) are not passed on, and there is no spanning tree: a loop of
/// switches floods itself. At most 8192 addresses are remembered, for five minutes each; if there are more, the oldest ones
/// are forgotten of a port that has more than its share.
///
/// The devices must hand up frames for all addresses: [`PacketSocket::all`](super::PacketSocket::all),
/// [`MemoryFrames`](super::MemoryFrames).
///
/// ```
/// use o7s::device::{Bridge, Frames, MemoryFrames};
/// use o7s::time::Instant;
///
/// let (a, left) = MemoryFrames::pair("02:00:00:00:00:01".parse()?, "02:00:00:00:00:02".parse()?);
/// let (b, right) = MemoryFrames::pair("02:00:00:00:00:03".parse()?, "02:00:00:00:00:04".parse()?);
/// let bridge = Bridge::new([("left", left as _), ("right", right as _)]);
/// a.send(&[[0xff; 6], a.mac().0, [0; 6]].concat())?;
/// assert_eq!(bridge.poll(Instant::from_millis(1), 0), 1);
/// assert_eq!(bridge.learned(Instant::from_millis(1)), [(a.mac(), "left")]);
/// assert_eq!(bridge.to_string(), "left: 1 frames received, 0 sent, 0 dropped\nright: 0 frames received, 1 sent, 0 dropped");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Bridge {
    ports: Vec<Port>,
    learned: Mutex<Learning<usize>>,
}

struct Port {
    name: String,
    device: Arc<dyn Frames>,
    receiving: Mutex<Receiving>,
    received: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// Working memory of whoever polls a port.
struct Receiving {
    frames: Vec<PacketBuf>,
    ways: Vec<Way<usize>>,
    cache: BufCache,
}

impl Bridge {
    /// A switch with these ports, by their names.
    pub fn new<N: Into<String>>(ports: impl IntoIterator<Item = (N, Arc<dyn Frames>)>) -> Self {
        let pool = BufPool::new(IDLE_BUFFERS);
        let port = |(name, device): (N, Arc<dyn Frames>)| Port {
            name: name.into(),
            device,
            receiving: Mutex::new(Receiving { frames: Vec::new(), ways: Vec::new(), cache: BufCache::new(&pool) }),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        };
        Self { ports: ports.into_iter().map(port).collect(), learned: Mutex::default() }
    }

    /// Passes on frames that have arrived at a port, and returns how many it has taken from there: 0 if there are none, or if
    /// another thread is about it. Bounded per call. Ports count from 0 in the order in which they were given.
    pub fn poll(&self, now: Instant, port: usize) -> usize {
        let Some(from) = self.ports.get(port) else { return 0 };
        let Some(mut receiving) = from.receiving.try_lock() else { return 0 };
        let Receiving { frames, ways, cache } = &mut *receiving;
        if from.device.link() != Link::Up {
            self.learned.lock().forget(port);
        }
        let taken = from.device.recv(frames, cache);
        if frames.is_empty() {
            cache.settle(now);
            return taken;
        }
        from.received.fetch_add(taken as u64, Ordering::Relaxed);
        ways.clear();
        let mut learned = self.learned.lock();
        ways.extend(frames.iter().map(|frame| match learned.handle_frame(now, port, frame) {
            Way::Others if is_reserved(frame) => Way::Nobody,
            way => way,
        }));
        drop(learned);
        let mut frames_left = &frames[..];
        for run in ways.chunk_by(PartialEq::eq) {
            let (together, rest) = frames_left.split_at_checked(run.len()).unwrap_or_default();
            frames_left = rest;
            self.pass_on(port, run.first().copied().unwrap_or(Way::Nobody), together);
        }
        frames.drain(..).for_each(|frame| cache.put(frame));
        cache.settle(now);
        taken
    }

    fn pass_on(&self, from: usize, way: Way<usize>, frames: &[PacketBuf]) {
        for (at, port) in self.ports.iter().enumerate() {
            let is_meant = match way {
                Way::Port(to) => at == to,
                Way::Others => at != from,
                Way::Nobody => false,
            };
            if is_meant {
                port.send(frames);
            }
        }
    }

    /// Returns the addresses learned, in their order, and the names of the ports where they are.
    pub fn learned(&self, now: Instant) -> Vec<(Mac, &str)> {
        let learned: Vec<_> = self.learned.lock().iter(now).collect();
        let named = |(mac, at): (Mac, usize)| Some((mac, self.ports.get(at)?.name.as_str()));
        learned.into_iter().filter_map(named).collect()
    }
}

impl Port {
    fn send(&self, mut frames: &[PacketBuf]) {
        let all = frames.len();
        let mut dropped = 0;
        while !frames.is_empty() {
            let done = match self.device.send_batch(frames) {
                Ok(sent) => sent.max(1),
                Err(error) => {
                    // One that is too large says nothing of the next one; a full queue does, as does a link that is down.
                    let lost = if error == SendError::TooLarge { 1 } else { frames.len() };
                    dropped += lost;
                    lost
                }
            };
            frames = frames.get(done..).unwrap_or_default();
        }
        self.sent.fetch_add((all - dropped) as u64, Ordering::Relaxed);
        self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
    }
}

/// Returns `true` for frames that no bridge passes on (IEEE 802.1D, table 7-10).
fn is_reserved(frame: &[u8]) -> bool {
    matches!(frame, [0x01, 0x80, 0xc2, 0, 0, 0..=0x0f, ..])
}

/// A line for each port: its name and its counts, and what its device has lost if it has lost anything.
impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, port) in self.ports.iter().enumerate() {
            let [received, sent, dropped] =
                [&port.received, &port.sent, &port.dropped].map(|counter| counter.load(Ordering::Relaxed));
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{}: {received} frames received, {sent} sent, {dropped} dropped", port.name)?;
            let FrameLosses { overrun, oversized, tagged, damaged } = port.device.losses();
            let lost = [(overrun, "overrun"), (oversized, "oversized"), (tagged, "tagged"), (damaged, "damaged")];
            lost.iter().filter(|(n, _)| *n > 0).try_for_each(|(n, what)| write!(f, ", {n} {what}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.ports.iter().map(|port| &port.name).collect();
        f.debug_struct("Bridge").field("ports", &names).finish_non_exhaustive()
    }
}
