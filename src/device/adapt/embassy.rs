//! Drivers of `embassy-net`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::task::{Context, Waker};
use core::time::Duration;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};

use super::queue::{FrameQueue, Receiving, Room, Sending};
use super::waiters::Waiters;
use super::{RECV_BATCH, WrongMedium};
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::sync::{AtomicBool, Mutex, Ordering};
use crate::base::waker::WakerCell;
use crate::types::device::{FRAME_HEADER, Frames, Link, SendError};
use crate::types::mac::Mac;

/// A driver for `embassy-net`, as a device for Ethernet layers.
///
/// The driver is called with its lock held, so it must not call the stack, nor must the [waker](Self::set_waker) do so at
/// once.
///
/// ```
/// use std::sync::Arc;
/// use o7s::device::{EmbassyDriver, EmbassyFrames, Frames, MemoryFrames};
/// use o7s::{Eth, Stack};
///
/// let (a, b) = MemoryFrames::pair("02:00:00:00:00:01".parse()?, "02:00:00:00:00:02".parse()?);
/// // Any driver will do in its place.
/// let driver = EmbassyDriver::new(b.clone());
/// let notifier = driver.notifier();
/// std::thread::spawn(move || loop {
///     b.wait(std::time::Duration::from_secs(1));
///     notifier.wake_by_ref();
/// });
///
/// let (server, client) = (Stack::new()?, Stack::new()?);
/// server.eth_over(a, Eth::dix("a"))?.register("echo")?;
/// client.eth_over(Arc::new(EmbassyFrames::new(driver)?), Eth::dix("b"))?;
/// server.bind_handler("echo", |flow| {
///     let mut buf = [0; 1500];
///     while let Ok(len) = flow.read(&mut buf) {
///         let _ = flow.write(&buf[..len]);
///     }
/// })?;
/// let flow = client.flow("echo").alloc()?;
/// flow.write(b"through a driver")?;
/// assert_eq!(flow.read(&mut [0; 64])?, 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EmbassyFrames<D> {
    driver: Mutex<D>,
    waiters: Arc<Waiters>,
    /// The waker that the driver is given; it notifies the waiters.
    waker: Waker,
    /// The driver may have more frames than were taken, and then it calls nobody. Whoever waits has taken over the device
    /// from the thread that received last, and sees what that has stored; a call of the driver after that is kept by the
    /// waiters.
    may_have_more: AtomicBool,
    /// Whoever waits and does not see it yet is told: that call comes after it, and is kept as well.
    closed: AtomicBool,
}

impl<D: Driver> EmbassyFrames<D> {
    /// The driver as a device.
    ///
    /// # Errors
    /// If it is none of Ethernet.
    pub fn new(driver: D) -> Result<Self, WrongMedium> {
        let HardwareAddress::Ethernet(_) = driver.hardware_address() else { return Err(WrongMedium) };
        let waiters = Arc::new(Waiters::default());
        let waker = Waker::from(Arc::clone(&waiters));
        Ok(Self {
            driver: Mutex::new(driver),
            waiters,
            waker,
            may_have_more: AtomicBool::new(true),
            closed: AtomicBool::new(false),
        })
    }

    /// Sets the waker that is called when the driver has received something, has room again, or its link changes: for stacks
    /// that are polled. The last one that was given is called.
    pub fn set_waker(&self, waker: &Waker) {
        self.waiters.set_waker(waker);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl<D: Driver + Send> Frames for EmbassyFrames<D> {
    fn mac(&self) -> Mac {
        match self.driver.lock().hardware_address() {
            HardwareAddress::Ethernet(mac) => Mac(mac),
            _ => Mac([0; 6]),
        }
    }

    fn mtu(&self) -> usize {
        self.driver.lock().capabilities().max_transmission_unit.saturating_sub(FRAME_HEADER)
    }

    fn link(&self) -> Link {
        if self.is_closed() {
            return Link::Gone;
        }
        match self.driver.lock().link_state(&mut Context::from_waker(&self.waker)) {
            LinkState::Up => Link::Up,
            LinkState::Down => Link::Down,
        }
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        let (mut driver, mut cx) = (self.driver.lock(), Context::from_waker(&self.waker));
        if self.is_closed() {
            return Err(SendError::Down);
        }
        if driver.link_state(&mut cx) == LinkState::Down {
            return Err(SendError::InterfaceDown);
        }
        if frame.len() > driver.capabilities().max_transmission_unit {
            return Err(SendError::TooLarge);
        }
        let token = driver.transmit(&mut cx).ok_or(SendError::Full)?;
        token.consume(frame.len(), |room| room.iter_mut().zip(frame).for_each(|(to, from)| *to = *from));
        Ok(())
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let (mut driver, mut cx) = (self.driver.lock(), Context::from_waker(&self.waker));
        if self.is_closed() {
            return 0;
        }
        let before = out.len();
        for _ in 0..RECV_BATCH {
            let Some((token, _)) = driver.receive(&mut cx) else {
                self.may_have_more.store(false, Ordering::Release);
                return out.len() - before;
            };
            out.extend(token.consume(|frame| {
                let mut copy = cache.take(frame.len());
                copy.extend_from_slice(frame).map(|()| copy)
            }));
        }
        self.may_have_more.store(true, Ordering::Release);
        out.len() - before
    }

    fn wait(&self, timeout: Duration) {
        if !self.may_have_more.load(Ordering::Acquire) && !self.is_closed() {
            self.waiters.wait(timeout);
        }
    }

    fn interrupt(&self) {
        self.waiters.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        if !self.may_have_more.load(Ordering::Acquire) && !self.is_closed() {
            self.waiters.guard(timeout);
        }
    }

    fn dismiss(&self) {
        self.waiters.dismiss();
    }

    fn close(&self) {
        // With the driver's lock: no call of it is under way when this returns, and none follows.
        let driver = self.driver.lock();
        self.closed.store(true, Ordering::Release);
        drop(driver);
        self.waiters.interrupt();
        self.waiters.dismiss();
    }
}

impl<D> fmt::Debug for EmbassyFrames<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbassyFrames")
    }
}

/// A device, as a driver for `embassy-net`.
///
/// Devices of threads tell nobody but whoever waits for them, so somebody has to wait, and to call the
/// [notifier](Self::notifier) then. While a frame waits for room in the device's queue the task above is woken at once, to
/// try again: nobody is told of room.
///
/// See [`EmbassyFrames`] for an example.
pub struct EmbassyDriver<F> {
    queue: FrameQueue<F>,
    task: Arc<WakerCell>,
    /// The task that was here last.
    caller: Option<Waker>,
}

impl<F: Frames> EmbassyDriver<F> {
    /// The device as a driver.
    pub fn new(device: F) -> Self {
        Self { queue: FrameQueue::new(device), task: Arc::default(), caller: None }
    }

    /// A waker that is to be called when frames have arrived at the device, or something about it has changed; from a handler
    /// of interrupts, too.
    pub fn notifier(&self) -> Waker {
        Waker::from(Arc::clone(&self.task))
    }

    /// Returns the number of frames that could not be sent.
    pub fn dropped(&self) -> u64 {
        self.queue.sending.dropped
    }

    fn note_caller(&mut self, waker: &Waker) {
        if !self.caller.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.caller = Some(waker.clone());
        }
    }

    /// Has the caller come back for what waits.
    fn note_room(&self, room: Room, waker: &Waker) {
        match room {
            Room::Yes => {}
            Room::Full => waker.wake_by_ref(),
            Room::Down => self.task.set(waker),
        }
    }
}

impl<F: Frames> Driver for EmbassyDriver<F> {
    type RxToken<'a>
        = EmbassyReceived<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = EmbassyRoom<'a, F>
    where
        Self: 'a;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(EmbassyReceived<'_>, EmbassyRoom<'_, F>)> {
        self.note_caller(cx.waker());
        let room = self.queue.poll_waiting();
        self.note_room(room, cx.waker());
        // Again, for what has come in the meantime: of that nobody was told.
        let frame = self.queue.poll_receive().or_else(|| {
            self.task.set(cx.waker());
            self.queue.poll_receive()
        })?;
        let FrameQueue { receiving, sending } = &mut self.queue;
        Some((EmbassyReceived { frame, receiving }, EmbassyRoom { sending, caller: self.caller.as_ref() }))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<EmbassyRoom<'_, F>> {
        self.note_caller(cx.waker());
        let room = self.queue.poll_room();
        self.note_room(room, cx.waker());
        let Self { queue, caller, .. } = self;
        (room == Room::Yes).then_some(EmbassyRoom { sending: &mut queue.sending, caller: caller.as_ref() })
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.task.set(cx.waker());
        if self.queue.sending.device.link() == Link::Up { LinkState::Up } else { LinkState::Down }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = self.queue.sending.device.mtu().saturating_add(FRAME_HEADER);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.queue.sending.device.mac().0)
    }
}

impl<F> fmt::Debug for EmbassyDriver<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbassyDriver")
    }
}

/// A frame that has arrived.
pub struct EmbassyReceived<'a> {
    frame: PacketBuf,
    receiving: &'a mut Receiving,
}

impl RxToken for EmbassyReceived<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        let result = f(&mut self.frame);
        self.receiving.put(self.frame);
        result
    }
}

/// Room for a frame.
pub struct EmbassyRoom<'a, F> {
    sending: &'a mut Sending<F>,
    caller: Option<&'a Waker>,
}

impl<D: Frames> TxToken for EmbassyRoom<'_, D> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let result = self.sending.transmit(len, f);
        // It may have nothing more to send, and then it does not ask for room.
        if let Some(caller) = self.caller.filter(|_| self.sending.is_waiting()) {
            caller.wake_by_ref();
        }
        result
    }
}

impl fmt::Debug for EmbassyReceived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbassyReceived({} bytes)", self.frame.len())
    }
}

impl<F> fmt::Debug for EmbassyRoom<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbassyRoom")
    }
}
