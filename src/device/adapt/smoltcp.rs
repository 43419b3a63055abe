//! Devices of `smoltcp`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::task::Waker;
use core::time::Duration;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::queue::{FrameQueue, Receiving, Room, Sending};
use super::waiters::Waiters;
use super::{RECV_BATCH, WrongMedium};
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::sync::{AtomicBool, Mutex, Ordering};
use crate::base::time::Clock;
use crate::types::device::{FRAME_HEADER, Frames, Link, SendError};
use crate::types::mac::Mac;

/// The interval of looks at a device that nobody tells of.
const LOOK: Duration = Duration::from_millis(1);

/// A device of `smoltcp`, as one for Ethernet layers.
///
/// Such devices know neither their address nor the state of their link, and tell nobody what they receive: without a
/// [notifier](Self::notifier) that is called, a stack with threads looks every millisecond.
///
/// The device is called with its lock held, so it must not call the stack, nor must the [waker](Self::set_waker) do so at
/// once.
///
/// ```
/// use std::sync::Arc;
/// use o7s::device::{MemoryFrames, SmoltcpDevice, SmoltcpFrames};
/// use o7s::time::OsClock;
/// use o7s::{Eth, Stack};
///
/// let (a, b) = MemoryFrames::pair("02:00:00:00:00:01".parse()?, "02:00:00:00:00:02".parse()?);
/// // Any device of smoltcp will do in its place.
/// let device = SmoltcpDevice::new(b);
/// let frames = SmoltcpFrames::new(device, "02:00:00:00:00:02".parse()?, Arc::new(OsClock::new()))?;
///
/// let (server, client) = (Stack::new()?, Stack::new()?);
/// server.eth_over(a, Eth::dix("a"))?.register("echo")?;
/// client.eth_over(Arc::new(frames), Eth::dix("b"))?;
/// server.bind_handler("echo", |flow| {
///     let mut buf = [0; 1500];
///     while let Ok(len) = flow.read(&mut buf) {
///         let _ = flow.write(&buf[..len]);
///     }
/// })?;
/// let flow = client.flow("echo").alloc()?;
/// flow.write(b"through a device of smoltcp")?;
/// assert_eq!(flow.read(&mut [0; 64])?, 27);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SmoltcpFrames<D> {
    device: Mutex<D>,
    clock: Arc<dyn Clock>,
    state: Mutex<(Mac, Link)>,
    waiters: Arc<Waiters>,
    /// Somebody calls when frames have arrived. Who does not see it yet looks once more in a moment.
    is_notified: AtomicBool,
    /// The device may have more frames than were taken. Whoever waits has taken over the device from the thread that received
    /// last, and sees what that has stored; a call of the notifier after that is kept by the waiters.
    may_have_more: AtomicBool,
}

impl<D: Device> SmoltcpFrames<D> {
    /// The device of an interface with this address. The clock tells the device what time it is.
    ///
    /// # Errors
    /// If it is none of Ethernet.
    pub fn new(device: D, mac: Mac, clock: Arc<dyn Clock>) -> Result<Self, WrongMedium> {
        if device.capabilities().medium != Medium::Ethernet {
            return Err(WrongMedium);
        }
        Ok(Self {
            device: Mutex::new(device),
            clock,
            state: Mutex::new((mac, Link::Up)),
            waiters: Arc::default(),
            is_notified: AtomicBool::new(false),
            may_have_more: AtomicBool::new(true),
        })
    }

    /// Changes the address.
    pub fn set_mac(&self, mac: Mac) {
        self.state.lock().0 = mac;
        Waker::from(Arc::clone(&self.waiters)).wake();
    }

    /// Changes the state of the link, [`Link::Up`] at first.
    pub fn set_link(&self, link: Link) {
        self.state.lock().1 = link;
        Waker::from(Arc::clone(&self.waiters)).wake();
    }

    /// A waker that is called from now on whenever frames have arrived, or there is room again, so that nobody looks in
    /// between; from a handler of interrupts, too, if there is no standard library.
    pub fn notifier(&self) -> Waker {
        self.is_notified.store(true, Ordering::Release);
        Waker::from(Arc::clone(&self.waiters))
    }

    /// Sets the waker that is called when the [notifier](Self::notifier) is: for stacks that are polled. The last one that
    /// was given is called.
    pub fn set_waker(&self, waker: &Waker) {
        self.waiters.set_waker(waker);
    }

    fn now(&self) -> Instant {
        Instant::from_micros(i64::try_from(self.clock.now().as_nanos() / 1000).unwrap_or(i64::MAX))
    }

    /// For how long to wait.
    fn patience(&self, timeout: Duration) -> Duration {
        match (self.may_have_more.load(Ordering::Acquire), self.is_notified.load(Ordering::Acquire)) {
            (true, _) => Duration::ZERO,
            (false, true) => timeout,
            (false, false) => timeout.min(LOOK),
        }
    }
}

impl<D: Device + Send> Frames for SmoltcpFrames<D> {
    fn mac(&self) -> Mac {
        self.state.lock().0
    }

    fn mtu(&self) -> usize {
        self.device.lock().capabilities().max_transmission_unit.saturating_sub(FRAME_HEADER)
    }

    fn link(&self) -> Link {
        self.state.lock().1
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        match self.link() {
            Link::Up => {}
            Link::Down => return Err(SendError::InterfaceDown),
            Link::Gone => return Err(SendError::Down),
        }
        let (now, mut device) = (self.now(), self.device.lock());
        if frame.len() > device.capabilities().max_transmission_unit {
            return Err(SendError::TooLarge);
        }
        let token = device.transmit(now).ok_or(SendError::Full)?;
        token.consume(frame.len(), |room| room.iter_mut().zip(frame).for_each(|(to, from)| *to = *from));
        Ok(())
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let is_up = self.link() == Link::Up;
        let (now, mut device) = (self.now(), self.device.lock());
        let before = out.len();
        for _ in 0..RECV_BATCH {
            let Some((token, _)) = device.receive(now) else {
                self.may_have_more.store(false, Ordering::Release);
                return out.len() - before;
            };
            let copy = token.consume(|frame| {
                let mut copy = cache.take(frame.len());
                copy.extend_from_slice(frame).map(|()| copy)
            });
            // What arrives at a link that is down is lost.
            out.extend(copy.filter(|_| is_up));
        }
        self.may_have_more.store(true, Ordering::Release);
        out.len() - before
    }

    fn wait(&self, timeout: Duration) {
        self.waiters.wait(self.patience(timeout));
    }

    fn interrupt(&self) {
        self.waiters.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.waiters.guard(self.patience(timeout));
    }

    fn dismiss(&self) {
        self.waiters.dismiss();
    }

    fn close(&self) {
        self.set_link(Link::Gone);
    }
}

impl<D> fmt::Debug for SmoltcpFrames<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmoltcpFrames").field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}

/// A device, as one of `smoltcp`.
///
/// While its link is not up it takes nothing. Frames for which it had no room [wait](Self::waiting) for the next time that it
/// is polled. See [`SmoltcpFrames`] for an example.
pub struct SmoltcpDevice<F>(FrameQueue<F>);

impl<F: Frames> SmoltcpDevice<F> {
    /// The device as one of `smoltcp`.
    pub fn new(device: F) -> Self {
        Self(FrameQueue::new(device))
    }

    /// Returns the number of frames that wait for room. The interface above does not know of them: as long as there are any
    /// it is to be polled again soon, whatever it says itself of when that is.
    pub fn waiting(&self) -> usize {
        self.0.sending.waiting()
    }

    /// Returns the number of frames that could not be sent.
    pub fn dropped(&self) -> u64 {
        self.0.sending.dropped
    }
}

impl<F: Frames> Device for SmoltcpDevice<F> {
    type RxToken<'a>
        = SmoltcpReceived<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = SmoltcpRoom<'a, F>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(SmoltcpReceived<'_>, SmoltcpRoom<'_, F>)> {
        self.0.poll_waiting();
        let frame = self.0.poll_receive()?;
        let FrameQueue { receiving, sending } = &mut self.0;
        Some((SmoltcpReceived { frame, receiving }, SmoltcpRoom(sending)))
    }

    fn transmit(&mut self, _: Instant) -> Option<SmoltcpRoom<'_, F>> {
        (self.0.poll_room() == Room::Yes).then_some(SmoltcpRoom(&mut self.0.sending))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.0.sending.device.mtu().saturating_add(FRAME_HEADER);
        capabilities
    }
}

impl<F> fmt::Debug for SmoltcpDevice<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmoltcpDevice")
    }
}

/// A frame that has arrived.
pub struct SmoltcpReceived<'a> {
    frame: PacketBuf,
    receiving: &'a mut Receiving,
}

impl RxToken for SmoltcpReceived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.frame);
        self.receiving.put(self.frame);
        result
    }
}

/// Room for a frame.
pub struct SmoltcpRoom<'a, F>(&'a mut Sending<F>);

impl<D: Frames> TxToken for SmoltcpRoom<'_, D> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.0.transmit(len, f)
    }
}

impl fmt::Debug for SmoltcpReceived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmoltcpReceived({} bytes)", self.frame.len())
    }
}

impl<F> fmt::Debug for SmoltcpRoom<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmoltcpRoom")
    }
}
