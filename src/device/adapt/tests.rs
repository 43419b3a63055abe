//! Devices that become drivers, which become devices again: what goes through both adapters of a kind is as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::sync::Mutex;
use crate::device::MemoryFrames;
use crate::types::device::{FRAME_HEADER, Frames, Link, SendError};
use crate::types::mac::Mac;

const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// Who is not woken is stuck.
const LONG: Duration = Duration::from_secs(3600);

/// The other end, the device, and what it is through both adapters.
type Ends = (Arc<MemoryFrames>, Arc<MemoryFrames>, Arc<dyn Frames>);

#[cfg(feature = "embassy-net-driver")]
#[expect(clippy::unwrap_used, reason = "this is a test")]
fn embassy() -> Ends {
    let (a, b) = MemoryFrames::pair(A, B);
    (a, b.clone(), Arc::new(EmbassyFrames::new(EmbassyDriver::new(b)).unwrap()))
}

#[cfg(feature = "smoltcp")]
#[expect(clippy::unwrap_used, reason = "this is a test")]
fn smoltcp() -> Ends {
    let (a, b) = MemoryFrames::pair(A, B);
    (
        a,
        b.clone(),
        Arc::new(SmoltcpFrames::new(SmoltcpDevice::new(b), B, Arc::new(crate::device::clock::OsClock::new())).unwrap()),
    )
}

const KINDS: &[fn() -> Ends] = &[
    #[cfg(feature = "embassy-net-driver")]
    embassy,
    #[cfg(feature = "smoltcp")]
    smoltcp,
];

fn received(end: &dyn Frames) -> Vec<Vec<u8>> {
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
    while end.recv(&mut out, &mut cache) > 0 {}
    out.iter().map(|frame| frame.to_vec()).collect()
}

#[test]
fn frames_pass_both_ways_as_they_are() {
    for (a, _, b) in KINDS.iter().map(|ends| ends()) {
        assert_eq!((b.mac(), b.mtu(), b.link()), (B, 1500, Link::Up));
        let frames: Vec<Vec<u8>> = (0..200).map(|i| vec![i as u8; FRAME_HEADER + i * 7]).collect();
        for frame in &frames {
            a.send(frame).unwrap();
            b.send(frame).unwrap();
        }
        assert_eq!(received(&*a), frames);
        assert_eq!(received(&*b), frames);
        assert!(received(&*b).is_empty());
    }
}

#[test]
fn a_full_queue_is_told_and_what_was_taken_is_sent() {
    for (a, _, b) in KINDS.iter().map(|ends| ends()) {
        let frame = |i: u32| [&[0; FRAME_HEADER][..], &i.to_be_bytes()].concat();
        let taken = (0..10_000).take_while(|i| b.send(&frame(*i)).is_ok()).count();
        assert_eq!(b.send(&frame(0)), Err(SendError::Full));
        let mut got = received(&*a);
        // One is in the adapter.
        assert_eq!(got.len() + 1, taken);
        b.send(&frame(taken as u32)).unwrap();
        got.extend(received(&*a));
        assert_eq!(got, (0..=taken as u32).map(frame).collect::<Vec<_>>());
    }
}

#[test]
fn the_mtu_is_followed() {
    for (a, device, b) in KINDS.iter().map(|ends| ends()) {
        assert_eq!(b.send(&[0; FRAME_HEADER + 1501]), Err(SendError::TooLarge));
        device.set_mtu(9000);
        assert_eq!(b.mtu(), 9000);
        let large = vec![7; FRAME_HEADER + 9000];
        b.send(&large).unwrap();
        assert_eq!(received(&*a), [large]);
        device.set_mtu(1280);
        assert_eq!(b.send(&[0; FRAME_HEADER + 1281]), Err(SendError::TooLarge));
    }
}

#[test]
fn nothing_is_sent_on_a_link_that_is_down() {
    for (a, device, b) in KINDS.iter().map(|ends| ends()) {
        device.set_link(Link::Down);
        a.send(&[0; 60]).unwrap();
        // Of the two traits one knows links.
        let error = b.send(&[0; 60]).unwrap_err();
        assert!(matches!(error, SendError::InterfaceDown | SendError::Full), "{error}");
        device.set_link(Link::Up);
        assert!(received(&*a).is_empty() && received(&*b).is_empty());
        b.send(&[0; 60]).unwrap();
        assert_eq!(received(&*a), [[0; 60]]);
    }
}

#[cfg(feature = "embassy-net-driver")]
#[test]
fn the_link_of_a_driver_is_followed() {
    let (_, device, b) = embassy();
    device.set_link(Link::Down);
    assert_eq!(b.link(), Link::Down);
    assert_eq!(b.send(&[0; 60]), Err(SendError::InterfaceDown));
}

/// A device whose queue is as full as it is told to be, and which remembers what was sent.
#[derive(Default)]
struct Fussy {
    fault: Mutex<Option<SendError>>,
    arriving: Mutex<Vec<PacketBuf>>,
    sent: Mutex<Vec<Vec<u8>>>,
}

impl Frames for Fussy {
    fn mac(&self) -> Mac {
        B
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        match *self.fault.lock() {
            Some(error) => Err(error),
            None => {
                self.sent.lock().push(frame.to_vec());
                Ok(())
            }
        }
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, _: &mut BufCache) -> usize {
        let mut arriving = self.arriving.lock();
        let n = arriving.len();
        out.append(&mut arriving);
        n
    }

    fn wait(&self, _: Duration) {}

    fn interrupt(&self) {}
}

#[cfg(feature = "smoltcp")]
#[test]
fn answers_wait_for_room_within_a_bound() {
    use ::smoltcp::phy::{Device as _, RxToken as _, TxToken as _};
    use ::smoltcp::time::Instant;

    let fussy = Arc::new(Fussy::default());
    let mut device = SmoltcpDevice::new(Arc::clone(&fussy));
    *fussy.fault.lock() = Some(SendError::NoBuffers);
    let total = 2 * MAX_WAITING;
    for i in 0..total {
        fussy.arriving.lock().push(PacketBuf::copy_of(&[i as u8; 60]));
        let (frame, answer) = device.receive(Instant::ZERO).unwrap();
        let copy = frame.consume(|frame| frame.to_vec());
        answer.consume(copy.len(), |room| room.copy_from_slice(&copy));
    }
    assert!(device.transmit(Instant::ZERO).is_none());
    assert_eq!((device.dropped(), fussy.sent.lock().len()), (MAX_WAITING as u64, 0));
    *fussy.fault.lock() = None;
    assert!(device.transmit(Instant::ZERO).is_some());
    let expected: Vec<_> = (0..MAX_WAITING).map(|i| vec![i as u8; 60]).collect();
    assert_eq!(*fussy.sent.lock(), expected);
    // What cannot be sent at all does not wait.
    *fussy.fault.lock() = Some(SendError::TooLarge);
    device.transmit(Instant::ZERO).unwrap().consume(60, |_| ());
    assert_eq!(device.dropped(), 1 + MAX_WAITING as u64);
    assert!(device.transmit(Instant::ZERO).is_some());
}

#[cfg(feature = "smoltcp")]
#[test]
fn room_for_a_frame_has_no_bytes_of_other_frames() {
    use ::smoltcp::phy::{Device as _, RxToken as _, TxToken as _};
    use ::smoltcp::time::Instant;

    let fussy = Arc::new(Fussy::default());
    let mut device = SmoltcpDevice::new(Arc::clone(&fussy));
    for _ in 0..3 {
        fussy.arriving.lock().push(PacketBuf::copy_of(&[0xaa; 60]));
        let (frame, answer) = device.receive(Instant::ZERO).unwrap();
        frame.consume(|_| ());
        answer.consume(60, |room| assert_eq!(room, [0; 60]));
    }
    assert_eq!(fussy.sent.lock().len(), 3);
}

#[cfg(feature = "embassy-net-driver")]
#[test]
fn waiters_for_a_driver_are_told_of_frames() {
    let (a, b) = MemoryFrames::pair(A, B);
    let driver = EmbassyDriver::new(b.clone());
    let notifier = driver.notifier();
    let frames = EmbassyFrames::new(driver).unwrap();
    // Until it has said that there is nothing, it is not waited for.
    frames.wait(LONG);
    assert!(received(&frames).is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            b.wait(LONG);
            notifier.wake_by_ref();
        });
        let guards = scope.spawn(|| frames.guard(LONG));
        a.send(&[1; 60]).unwrap();
        frames.wait(LONG);
        guards.join().unwrap();
    });
    assert_eq!(received(&frames), [[1; 60]]);
}

/// A task that remembers that it was woken.
#[derive(Default)]
struct Noted(AtomicBool);

impl std::task::Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[cfg(feature = "embassy-net-driver")]
#[test]
fn a_task_is_woken_for_frames_and_for_room() {
    use embassy_net_driver::{Driver as _, TxToken as _};

    let fussy = Arc::new(Fussy::default());
    let mut driver = EmbassyDriver::new(Arc::clone(&fussy));
    let noted = Arc::new(Noted::default());
    let waker = std::task::Waker::from(Arc::clone(&noted));
    let mut cx = std::task::Context::from_waker(&waker);
    let was_woken = || noted.0.swap(false, Ordering::SeqCst);
    // Told before anybody has asked: not forgotten.
    driver.notifier().wake();
    assert!(!was_woken());
    assert!(driver.receive(&mut cx).is_none() && was_woken());
    assert!(driver.receive(&mut cx).is_none() && !was_woken());
    driver.notifier().wake();
    assert!(was_woken());
    *fussy.fault.lock() = Some(SendError::Full);
    driver.transmit(&mut cx).unwrap().consume(60, |room| room.fill(1));
    assert!(driver.transmit(&mut cx).is_none() && was_woken());
    *fussy.fault.lock() = None;
    assert!(driver.transmit(&mut cx).is_some());
    assert_eq!(*fussy.sent.lock(), [[1; 60]]);
}

#[cfg(feature = "embassy-net-driver")]
#[test]
fn a_task_is_woken_for_room_for_what_waits() {
    use embassy_net_driver::{Driver as _, RxToken as _, TxToken as _};

    let fussy = Arc::new(Fussy::default());
    let mut driver = EmbassyDriver::new(Arc::clone(&fussy));
    let noted = Arc::new(Noted::default());
    let waker = std::task::Waker::from(Arc::clone(&noted));
    let mut cx = std::task::Context::from_waker(&waker);
    let was_woken = || noted.0.swap(false, Ordering::SeqCst);
    // An answer, and a frame of its own, with nothing to send behind either.
    fussy.arriving.lock().push(PacketBuf::copy_of(&[1; 60]));
    let (frame, answer) = driver.receive(&mut cx).unwrap();
    *fussy.fault.lock() = Some(SendError::Full);
    frame.consume(|_| ());
    answer.consume(60, |room| room.fill(1));
    assert!(was_woken(), "the device had no room");
    assert!(driver.receive(&mut cx).is_none() && was_woken(), "it has none yet");
    *fussy.fault.lock() = None;
    assert!(driver.receive(&mut cx).is_none() && !was_woken());
    assert_eq!(*fussy.sent.lock(), [[1; 60]]);
    let room = driver.transmit(&mut cx).unwrap();
    *fussy.fault.lock() = Some(SendError::Full);
    room.consume(60, |room| room.fill(2));
    assert!(was_woken(), "the device had no room");
    *fussy.fault.lock() = None;
    assert!(driver.receive(&mut cx).is_none() && !was_woken());
    assert_eq!(*fussy.sent.lock(), [[1; 60], [2; 60]]);
}

#[cfg(feature = "smoltcp")]
#[test]
fn what_waits_is_sent_when_a_device_is_polled() {
    use ::smoltcp::phy::{Device as _, TxToken as _};
    use ::smoltcp::time::Instant;

    let fussy = Arc::new(Fussy::default());
    let mut device = SmoltcpDevice::new(Arc::clone(&fussy));
    let room = device.transmit(Instant::ZERO).unwrap();
    *fussy.fault.lock() = Some(SendError::Full);
    room.consume(60, |room| room.fill(1));
    assert!(device.receive(Instant::ZERO).is_none());
    assert!(fussy.sent.lock().is_empty() && device.waiting() == 1);
    *fussy.fault.lock() = None;
    assert!(device.receive(Instant::ZERO).is_none() && device.waiting() == 0);
    assert_eq!(*fussy.sent.lock(), [[1; 60]]);
}

#[cfg(feature = "smoltcp")]
#[test]
fn the_link_of_a_device_is_what_it_is_set_to() {
    let (a, end) = MemoryFrames::pair(A, B);
    let clock = Arc::new(crate::device::clock::OsClock::new());
    let frames = SmoltcpFrames::new(SmoltcpDevice::new(end), B, clock).unwrap();
    assert_eq!(frames.link(), Link::Up);
    assert!(received(&frames).is_empty());
    // Who waits is told of it.
    let (noted, _notifier) = (Arc::new(Noted::default()), frames.notifier());
    frames.set_waker(&std::task::Waker::from(Arc::clone(&noted)));
    std::thread::scope(|scope| {
        let waiters = [scope.spawn(|| frames.wait(LONG)), scope.spawn(|| frames.guard(LONG))];
        frames.set_link(Link::Down);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
    assert!(noted.0.swap(false, Ordering::SeqCst));
    assert_eq!((frames.link(), frames.send(&[1; 60])), (Link::Down, Err(SendError::InterfaceDown)));
    a.send(&[2; 60]).unwrap();
    assert!(received(&frames).is_empty(), "what arrives at a link that is down is lost");
    frames.set_link(Link::Up);
    assert!(noted.0.swap(false, Ordering::SeqCst));
    a.send(&[3; 60]).unwrap();
    assert_eq!(received(&frames), [[3; 60]], "and not handed up later");
    frames.send(&[4; 60]).unwrap();
    assert_eq!(received(&*a), [[4; 60]]);
}

#[cfg(feature = "embassy-net-driver")]
#[test]
fn the_task_of_a_polled_stack_is_woken() {
    let (a, b) = MemoryFrames::pair(A, B);
    let driver = EmbassyDriver::new(b);
    let notifier = driver.notifier();
    let frames = EmbassyFrames::new(driver).unwrap();
    let noted = Arc::new(Noted::default());
    frames.set_waker(&std::task::Waker::from(Arc::clone(&noted)));
    assert!(received(&frames).is_empty());
    a.send(&[1; 60]).unwrap();
    notifier.wake();
    assert!(noted.0.load(Ordering::SeqCst));
}

#[cfg(feature = "embassy-net-driver")]
#[test]
fn a_closed_driver_is_not_called() {
    let (a, b) = MemoryFrames::pair(A, B);
    let frames = EmbassyFrames::new(EmbassyDriver::new(b.clone())).unwrap();
    a.send(&[1; 60]).unwrap();
    std::thread::scope(|scope| {
        assert_eq!(received(&frames), [[1; 60]]);
        let guards = scope.spawn(|| frames.guard(LONG));
        let waits = scope.spawn(|| frames.wait(LONG));
        frames.close();
        guards.join().unwrap();
        waits.join().unwrap();
    });
    a.send(&[2; 60]).unwrap();
    assert!(received(&frames).is_empty());
    assert_eq!((frames.link(), frames.send(&[0; 60])), (Link::Gone, Err(SendError::Down)));
    frames.wait(LONG);
    frames.close();
    assert_eq!(received(&*b), [[2; 60]], "left to the driver");
}

#[cfg(feature = "smoltcp")]
#[test]
fn waits_are_short_without_a_notifier() {
    let (a, b) = MemoryFrames::pair(A, B);
    let clock = Arc::new(crate::device::clock::OsClock::new());
    let frames = SmoltcpFrames::new(SmoltcpDevice::new(b), B, clock).unwrap();
    assert!(received(&frames).is_empty());
    frames.wait(LONG);
    frames.guard(LONG);
    let notifier = frames.notifier();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| frames.wait(LONG));
        a.send(&[1; 60]).unwrap();
        notifier.wake();
        waits.join().unwrap();
    });
    assert_eq!(received(&frames), [[1; 60]]);
    frames.set_mac(A);
    frames.close();
    assert_eq!((frames.mac(), frames.link()), (A, Link::Gone));
    assert_eq!(frames.send(&[0; 60]), Err(SendError::Down));
}
