//! Ethernet links in memory.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Bell;
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::sync::Mutex;
use crate::types::device::{FRAME_HEADER, Frames, Link, SendError};
use crate::types::mac::Mac;

/// Frames that one call of [`Frames::recv`] returns at most.
const RECV_BATCH: usize = 64;
/// Frames that wait at an end to be received, and their bytes; its peer is told that the device is full then.
const MAX_FRAMES: usize = 1024;
const MAX_BYTES: usize = 4 << 20;
/// Idle buffers kept for a link, at most: as many as may be on it.
const IDLE_BUFFERS: usize = 2 * MAX_FRAMES;

/// One end of an Ethernet link in memory, for tests and for stacks in one process. Nothing is lost on it while both ends are
/// up.
///
/// Its address, MTU and state can be changed at any time, as those of an interface can.
///
/// ```
/// use o7s::device::{Frames, Link, MemoryFrames, SendError};
///
/// let (a, b) = MemoryFrames::pair("02:00:00:00:00:01".parse()?, "02:00:00:00:00:02".parse()?);
/// a.send(&[0xff; 60])?;
/// b.set_link(Link::Down);
/// assert_eq!(b.send(&[0xff; 60]), Err(SendError::InterfaceDown));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemoryFrames {
    /// The queue of frames to the peer, and the queue of received ones.
    out: Arc<End>,
    own: Arc<End>,
    state: Mutex<State>,
    /// Of both ends: what one takes to send the other gives back, also if all goes in one direction.
    pool: Arc<BufPool>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    mac: Mac,
    mtu: usize,
    link: Link,
    closed: bool,
}

/// The receiving side of an end.
#[derive(Default)]
struct End {
    queue: Mutex<Queue>,
    bell: Bell,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<PacketBuf>,
    bytes: usize,
    /// It is down: what is sent to it is lost.
    deaf: bool,
}

impl MemoryFrames {
    fn new(mac: Mac, out: &Arc<End>, own: &Arc<End>, pool: &Arc<BufPool>) -> Arc<Self> {
        Arc::new(Self {
            out: Arc::clone(out),
            own: Arc::clone(own),
            state: Mutex::new(State { mac, mtu: 1500, link: Link::Up, closed: false }),
            pool: Arc::clone(pool),
        })
    }

    /// A link between two interfaces with these addresses and an MTU of 1500. What one end sends the other receives,
    /// whatever its destination is.
    pub fn pair(left: Mac, right: Mac) -> (Arc<Self>, Arc<Self>) {
        let (a, b) = (Arc::new(End::default()), Arc::new(End::default()));
        let pool = BufPool::new(IDLE_BUFFERS);
        (Self::new(left, &b, &a, &pool), Self::new(right, &a, &b, &pool))
    }

    /// An interface that receives what it sends, with the address zero and an MTU of 9000: a loopback interface.
    pub fn loopback() -> Arc<Self> {
        let end = Arc::new(End::default());
        let device = Self::new(Mac([0; 6]), &end, &end, &BufPool::new(IDLE_BUFFERS));
        device.set_mtu(9000);
        device
    }

    /// Changes the interface's address.
    pub fn set_mac(&self, mac: Mac) {
        self.change(|state| state.mac = mac);
    }

    /// Changes the MTU, bytes of payload. It says what may be sent; what is received may be larger.
    pub fn set_mtu(&self, mtu: usize) {
        self.change(|state| state.mtu = mtu);
    }

    /// Changes the state of the link, of this end alone. While it is not up nothing is sent, and what arrives is lost.
    pub fn set_link(&self, link: Link) {
        self.change(|state| state.link = link);
        let mut queue = self.own.queue.lock();
        queue.deaf = link != Link::Up;
        if queue.deaf {
            (queue.frames, queue.bytes) = (VecDeque::new(), 0);
        }
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.state.lock());
        self.own.bell.ring();
    }
}

impl Frames for MemoryFrames {
    fn mac(&self) -> Mac {
        self.state.lock().mac
    }

    fn mtu(&self) -> usize {
        self.state.lock().mtu
    }

    fn link(&self) -> Link {
        self.state.lock().link
    }

    fn queued(&self) -> usize {
        self.out.queue.lock().frames.len()
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        let State { mtu, link, closed, .. } = *self.state.lock();
        match link {
            _ if closed => return Err(SendError::Down),
            Link::Up => {}
            Link::Down => return Err(SendError::InterfaceDown),
            Link::Gone => return Err(SendError::Down),
        }
        if frame.len() > mtu + FRAME_HEADER {
            return Err(SendError::TooLarge);
        }
        let mut copy = self.pool.take(frame.len());
        // The room was just asked for.
        let _ = copy.extend_from_slice(frame);
        let mut queue = self.out.queue.lock();
        if queue.deaf {
            return Ok(());
        }
        if queue.frames.len() >= MAX_FRAMES || queue.bytes + copy.memory() > MAX_BYTES {
            return Err(SendError::Full);
        }
        queue.bytes += copy.memory();
        queue.frames.push_back(copy);
        drop(queue);
        self.out.bell.ring();
        Ok(())
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let mut queue = self.own.queue.lock();
        let n = queue.frames.len().min(RECV_BATCH);
        let from = out.len();
        out.extend(queue.frames.drain(..n));
        let taken: usize = out.iter().skip(from).map(PacketBuf::memory).sum();
        queue.bytes = queue.bytes.saturating_sub(taken);
        drop(queue);
        // Buffer for buffer, so that the stock does not run dry.
        self.pool.put_all((0..n).map(|_| cache.take(0)));
        n
    }

    fn wait(&self, timeout: Duration) {
        self.own.bell.wait(timeout);
    }

    fn interrupt(&self) {
        self.own.bell.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.own.bell.guard(timeout);
    }

    fn dismiss(&self) {
        self.own.bell.dismiss();
    }

    fn close(&self) {
        self.set_link(Link::Gone);
        self.state.lock().closed = true;
        self.own.bell.ring();
    }
}

impl fmt::Debug for MemoryFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFrames").field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn received(end: &MemoryFrames) -> Vec<Vec<u8>> {
        let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
        while end.recv(&mut out, &mut cache) > 0 {}
        out.iter().map(|frame| frame.to_vec()).collect()
    }

    #[test]
    fn frames_arrive_at_the_other_end_in_order() {
        let (a, b) = MemoryFrames::pair(A, B);
        let frames: Vec<Vec<u8>> = (0..200).map(|i| vec![i; 14 + usize::from(i)]).collect();
        for frame in &frames {
            a.send(frame).unwrap();
        }
        assert_eq!(received(&b), frames);
        assert!(received(&a).is_empty());
        let own = MemoryFrames::loopback();
        own.send(&frames[1]).unwrap();
        assert_eq!(received(&own), frames[1..2]);
    }

    #[test]
    fn a_full_end_is_told_and_a_link_that_is_down_loses() {
        let (a, b) = MemoryFrames::pair(A, B);
        let sent = (0..10_000).take_while(|_| a.send(&[0; 60]).is_ok()).count();
        assert_eq!((sent, a.queued()), (MAX_FRAMES, MAX_FRAMES));
        assert_eq!(a.send(&[0; 60]), Err(SendError::Full));
        assert_eq!(received(&b).len(), MAX_FRAMES);
        assert_eq!(a.send(&[0; 1515]), Err(SendError::TooLarge));
        b.set_link(Link::Down);
        assert_eq!(b.send(&[0; 60]), Err(SendError::InterfaceDown));
        a.send(&[0; 60]).unwrap();
        b.set_link(Link::Up);
        assert!(received(&b).is_empty());
    }

    #[test]
    fn waiters_are_told_of_frames_and_of_changes() {
        let (a, b) = MemoryFrames::pair(A, B);
        std::thread::scope(|s| {
            let waits = s.spawn(|| b.wait(Duration::from_secs(3600)));
            a.send(&[0; 60]).unwrap();
            waits.join().unwrap();
            let guards = s.spawn(|| b.guard(Duration::from_secs(3600)));
            b.set_mtu(1280);
            guards.join().unwrap();
        });
    }
}
