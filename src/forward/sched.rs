//! Queues by QoS cube in front of a device, and the bound of the device's own queue.
//!
//! A queue belongs in front of every device that can be outrun, and there only. Here it can be ordered by cube, its
//! length can be told to the senders ([`Scheduler::queued_before`] is what [`mark`](super::ca::mark) takes), and it is
//! bounded; what the device has already taken can no longer be overtaken by anything. So the two halves of this
//! module: [`Scheduler`], the queues, and [`Gate`], which lets the device have just as much as keeps it busy.
//!
//! # Order
//!
//! Voice goes before video, video before best effort, but each of the upper two only as long as it leaves the others
//! their part: of the bytes that are sent while others wait, voice has at most [`VOICE_SHARE`] and best effort at least
//! [`BEST_EFFORT_SHARE`]. Both are counted in bytes that were sent, not in time: no clock is needed, the shares hold at
//! any speed of the device, and an unused part goes to the others.
//!
//! # When a queue is full
//!
//! Of voice the *oldest* packet is dropped: it is the one nearest to being of no use any more, and who plays the voice
//! bridges one gap sooner rather than later. Of the others the *new* one is dropped: retransmission and order above
//! fare better if what is lost is the end of a burst, and the sender that makes the queue overflow is the one that
//! loses.
//!
//! ```
//! use o7s::forward::sched::{Limits, Scheduler};
//! use o7s::types::qos::QosCube;
//!
//! let mut queue = Scheduler::new(Limits::default());
//! queue.enqueue(QosCube::BestEffort, 1000, "a file").unwrap();
//! queue.enqueue(QosCube::Voice, 160, "a word").unwrap();
//! assert_eq!(queue.queued_before(QosCube::Voice), 1);
//! assert_eq!(queue.queued_before(QosCube::BestEffort), 2);
//! assert_eq!(queue.dequeue(), Some((QosCube::Voice, "a word")));
//! assert_eq!(queue.dequeue(), Some((QosCube::BestEffort, "a file")));
//! ```

mod gate;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;

pub use self::gate::Gate;
use crate::types::qos::QosCube;

/// The most that voice has of a device that others wait for: one part in so many.
pub const VOICE_SHARE: i64 = 2;
/// The least that best effort has of a device that it waits for: one part in so many.
pub const BEST_EFFORT_SHARE: i64 = 8;
/// Bytes that a cube may be ahead of its share: a few packets.
const AHEAD: i64 = 16_384;

/// Limits of the queues, packets; users set them with [`UnicastConfig::queue`](crate::settings::UnicastConfig::queue).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Best effort. Default 1023, what a reference has before each device: a mark of 63 and no more.
    pub best_effort: usize,
    /// Video. Default 512.
    pub video: usize,
    /// Voice. Default 64: what waits behind more is too late.
    pub voice: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { best_effort: 1023, video: 512, voice: 64 }
    }
}

impl Limits {
    const fn of(&self, cube: QosCube) -> usize {
        match cube {
            QosCube::BestEffort => self.best_effort,
            QosCube::Video => self.video,
            QosCube::Voice => self.voice,
        }
    }

    /// Returns the limit of this cube.
    pub(crate) const fn of_mut(&mut self, cube: QosCube) -> &mut usize {
        match cube {
            QosCube::BestEffort => &mut self.best_effort,
            QosCube::Video => &mut self.video,
            QosCube::Voice => &mut self.voice,
        }
    }
}

/// The queues in front of one device.
#[derive(Debug)]
pub struct Scheduler<P> {
    limits: Limits,
    best_effort: VecDeque<(usize, P)>,
    video: VecDeque<(usize, P)>,
    voice: VecDeque<(usize, P)>,
    /// Bytes that voice may send before others that wait.
    voice_credit: i64,
    /// Bytes that best effort may send before video that waits.
    best_effort_credit: i64,
}

impl<P> Scheduler<P> {
    /// Empty queues.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            best_effort: VecDeque::new(),
            video: VecDeque::new(),
            voice: VecDeque::new(),
            voice_credit: AHEAD,
            best_effort_credit: 0,
        }
    }

    /// Puts a packet of `len` bytes at the end of its queue.
    ///
    /// # Errors
    /// The packet that was dropped for lack of room: this one, or for voice an older one.
    pub fn enqueue(&mut self, cube: QosCube, len: usize, packet: P) -> Result<(), P> {
        let limit = self.limits.of(cube);
        let queue = self.queue_mut(cube);
        if queue.len() < limit {
            queue.push_back((len, packet));
            return Ok(());
        }
        if cube != QosCube::Voice {
            return Err(packet);
        }
        let Some((_, oldest)) = queue.pop_front() else { return Err(packet) };
        queue.push_back((len, packet));
        Err(oldest)
    }

    /// Takes the next packet to send, with the cube that it waited in.
    pub fn dequeue(&mut self) -> Option<(QosCube, P)> {
        let cube = self.next()?;
        let (len, packet) = self.queue_mut(cube).pop_front()?;
        self.account(cube, len as i64);
        Some((cube, packet))
    }

    /// Cube whose turn it is.
    fn next(&self) -> Option<QosCube> {
        let first = |queue: &VecDeque<(usize, P)>| queue.front().map(|(len, _)| *len as i64);
        match (first(&self.voice), first(&self.video), first(&self.best_effort)) {
            (Some(_), _, _) if self.voice_credit > 0 => Some(QosCube::Voice),
            // No credit is larger than that: a longer packet would otherwise never go.
            (_, Some(_), Some(len)) if self.best_effort_credit >= len.min(AHEAD) => Some(QosCube::BestEffort),
            (_, Some(_), _) => Some(QosCube::Video),
            (_, None, Some(_)) => Some(QosCube::BestEffort),
            (Some(_), None, None) => Some(QosCube::Voice),
            (None, None, None) => None,
        }
    }

    /// `len` bytes of `cube` are sent. Each credit is worth what the share is of all that was sent, less what was had.
    fn account(&mut self, cube: QosCube, len: i64) {
        let had = |of: QosCube| if cube == of { len } else { 0 };
        let voice = self.voice_credit + len / VOICE_SHARE - had(QosCube::Voice);
        // Bounded both ways: after a time without voice others wait for no more than a few packets of it, and after a time
        // with nothing but voice it waits for no more than a few of theirs.
        self.voice_credit = voice.clamp(-AHEAD, AHEAD);
        let best_effort = self.best_effort_credit + len / BEST_EFFORT_SHARE - had(QosCube::BestEffort);
        // What best effort did not wait for it does not get later.
        self.best_effort_credit = if self.best_effort.is_empty() { 0 } else { best_effort.clamp(-AHEAD, AHEAD) };
    }

    /// Packets that wait.
    pub fn len(&self) -> usize {
        self.best_effort.len() + self.video.len() + self.voice.len()
    }

    /// Returns `true` if no packet waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Packets that wait in one cube.
    pub fn len_of(&self, cube: QosCube) -> usize {
        match cube {
            QosCube::BestEffort => self.best_effort.len(),
            QosCube::Video => self.video.len(),
            QosCube::Voice => self.voice.len(),
        }
    }

    /// Packets behind which a new one of this cube waits: those of its own and of the more urgent ones. With what
    /// waits in the device, it is the queue that the packet is marked with.
    pub fn queued_before(&self, cube: QosCube) -> usize {
        QosCube::ALL.into_iter().filter(|&other| other >= cube).map(|other| self.len_of(other)).sum()
    }

    const fn queue_mut(&mut self, cube: QosCube) -> &mut VecDeque<(usize, P)> {
        match cube {
            QosCube::BestEffort => &mut self.best_effort,
            QosCube::Video => &mut self.video,
            QosCube::Voice => &mut self.voice,
        }
    }
}
