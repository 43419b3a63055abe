//! Waiting: the one way in which a thread blocks.
//!
//! A blocking call is the non-blocking one, a registered waker, and a parked thread. A thread whose packets come from a
//! device drives that device instead of parking, if no other does: in a ping-pong no thread is switched.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use super::Shared;
use crate::base::sync::Mutex;
use crate::base::time::{Clock, Instant};
use crate::flow::Drive;

/// Time for which a thread spins before it parks, if that has been worth while [of late](Spins). A few microseconds is
/// what a peer on another core needs to answer; parking and being woken costs as much.
const SPIN: Duration = Duration::from_micros(20);
/// The longest single wait; a wake-up is never missed, this only bounds what one would cost.
const LONG: Duration = Duration::from_secs(3600);

/// Wakes one thread, wherever it waits.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
    /// The device that the thread waits on, while it does.
    device: Mutex<Option<Arc<dyn Drive>>>,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::AcqRel) || self.thread.id() == std::thread::current().id() {
            return;
        }
        let device = self.device.lock().clone();
        match device {
            Some(device) => device.interrupt(),
            None => self.thread.unpark(),
        }
    }
}

thread_local! {
    static SPINS: Spins = const { Spins::new() };
    static PARKER: RefCell<Option<(Arc<Parker>, Waker)>> = const { RefCell::new(None) };
}

/// Returns this thread's waker, made once.
fn parker() -> (Arc<Parker>, Waker) {
    PARKER.with_borrow_mut(|slot| {
        slot.get_or_insert_with(|| {
            let parker = Arc::new(Parker {
                thread: std::thread::current(),
                woken: AtomicBool::new(false),
                device: Mutex::new(None),
            });
            (Arc::clone(&parker), Waker::from(parker))
        })
        .clone()
    })
}

/// Returns `true` if another thread can run while this one spins.
fn can_spin() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1))
}

/// A condition that a thread waits for.
pub(super) trait Awaited {
    /// The result of the wait.
    type Output;

    /// Looks; if there is nothing, has `waker` woken when looking again is worth while.
    fn poll(&mut self, waker: &Waker) -> Option<Self::Output>;

    /// Looks without leaving a waker behind.
    fn try_now(&mut self) -> Option<Self::Output>;

    /// Returns `true` if [`try_now`](Self::try_now) may succeed; costs next to nothing.
    fn hint(&self) -> bool;

    /// Called once before waiting: sends what is being held back.
    fn before_wait(&mut self) {}

    /// The device to wait on.
    fn device(&self) -> Option<Arc<dyn Drive>>;
}

/// Waits until `what` gives something, or `deadline`.
pub(super) fn block_on<A: Awaited>(clock: &dyn Clock, deadline: Option<Instant>, what: &mut A) -> Option<A::Output> {
    if let Some(out) = what.try_now() {
        return Some(out);
    }
    what.before_wait();
    let mut led = None;
    let out = wait_for(clock, deadline, what, &mut led);
    if let Some(device) = led {
        device.leave();
    }
    out
}

/// `led` is the device that this thread has driven.
fn wait_for<A: Awaited>(
    clock: &dyn Clock,
    deadline: Option<Instant>,
    what: &mut A,
    led: &mut Option<Arc<dyn Drive>>,
) -> Option<A::Output> {
    if can_spin() && SPINS.with(Spins::is_worth_while) {
        let (out, good) = spin(clock, what, led);
        SPINS.with(|spins| spins.note(good));
        if out.is_some() {
            return out;
        }
    }
    let (parker, waker) = parker();
    loop {
        parker.woken.store(false, Ordering::Release);
        if let Some(out) = what.poll(&waker) {
            return Some(out);
        }
        let left = match deadline {
            Some(at) => at.since(clock.now()),
            None => LONG,
        };
        if left.is_zero() {
            return None;
        }
        wait(&parker, what.device(), left, led);
    }
}

/// Waits for a future that ends by itself. In a polled stack, where it would not be woken: `None`, if it is not done at
/// once.
pub(super) fn block_on_future<T>(shared: &Shared, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    if !shared.may_block() {
        let mut cx = Context::from_waker(Waker::noop());
        return match future.as_mut().poll(&mut cx) {
            Poll::Ready(out) => Some(out),
            Poll::Pending => None,
        };
    }
    block_on(shared.clock(), None, &mut Until(future))
}

/// A future, which looks only when it was woken.
struct Until<F>(Pin<Box<F>>);

impl<F: Future> Awaited for Until<F> {
    type Output = F::Output;

    fn poll(&mut self, waker: &Waker) -> Option<F::Output> {
        match self.0.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(out) => Some(out),
            Poll::Pending => None,
        }
    }

    fn try_now(&mut self) -> Option<F::Output> {
        None
    }

    fn hint(&self) -> bool {
        false
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        None
    }
}

/// Record of whether spinning has been worth while of late. On busy cores it is not: a thread that spins keeps others
/// from the core, or gives it away and gets it back late.
struct Spins {
    /// Failures left before spinning stops.
    credit: Cell<u32>,
    /// Spins left out since the last.
    skipped: Cell<u32>,
}

impl Spins {
    /// The most failures that successes make up for.
    const MOST: u32 = 64;
    /// Failures that one success makes up for: it saves more than a failure costs.
    const WORTH: u32 = 4;
    /// Every so many waits one is tried all the same, because times change.
    const PROBE: u32 = 16;

    const fn new() -> Self {
        Self { credit: Cell::new(4), skipped: Cell::new(0) }
    }

    fn is_worth_while(&self) -> bool {
        if self.credit.get() > 0 {
            return true;
        }
        self.skipped.set((self.skipped.get() + 1) % Self::PROBE);
        self.skipped.get() == 0
    }

    fn note(&self, success: bool) {
        let credit = self.credit.get();
        if success {
            self.skipped.set(0);
        }
        self.credit.set(if success { (credit + Self::WORTH).min(Self::MOST) } else { credit.saturating_sub(1) });
    }
}

/// Spins. Returns the result, if any, and whether spinning was worth while.
fn spin<A: Awaited>(clock: &dyn Clock, what: &mut A, led: &mut Option<Arc<dyn Drive>>) -> (Option<A::Output>, bool) {
    let begun = clock.now();
    let device = what.device();
    let mut yielded = false;
    loop {
        match &device {
            Some(device) if device.drive(Duration::ZERO, &AtomicBool::new(false)) => {
                led.get_or_insert_with(|| Arc::clone(device));
            }
            // Another thread drives the device, and passes our packets on.
            Some(_) => std::hint::spin_loop(),
            None => {
                for _ in 0..32 {
                    if what.hint() {
                        break;
                    }
                    std::hint::spin_loop();
                }
            }
        }
        if what.hint()
            && let Some(out) = what.try_now()
        {
            // A result that came after another thread had the core would have come as soon to a parked thread.
            return (Some(out), !yielded || clock.now().since(begun) < SPIN * 2);
        }
        if clock.now().since(begun) >= SPIN {
            return (None, false);
        }
        // The thread that we wait for may be waiting for this core.
        std::thread::yield_now();
        yielded = true;
    }
}

fn wait(parker: &Arc<Parker>, device: Option<Arc<dyn Drive>>, left: Duration, led: &mut Option<Arc<dyn Drive>>) {
    // While it looked, the thread may have done what woke itself: then its waker is gone, and no unpark is coming.
    if parker.woken.load(Ordering::Acquire) {
        return;
    }
    if let Some(device) = device {
        *parker.device.lock() = Some(Arc::clone(&device));
        // A wake that came before the device was named has unparked a thread that is not parked.
        let driven = !parker.woken.load(Ordering::Acquire) && device.drive(left, &parker.woken);
        *parker.device.lock() = None;
        if driven {
            *led = Some(device);
        }
        if driven || parker.woken.load(Ordering::Acquire) {
            return;
        }
    }
    std::thread::park_timeout(left);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futile_spinning_stops_and_is_probed_again() {
        let spins = Spins::new();
        let tried = |waits: u32| {
            (0..waits)
                .filter(|_| {
                    let spun = spins.is_worth_while();
                    if spun {
                        spins.note(false);
                    }
                    spun
                })
                .count()
        };
        assert_eq!(tried(4), 4);
        assert_eq!(tried(160), 10);
        spins.note(true);
        assert_eq!(tried(16), Spins::WORTH as usize);
        for _ in 0..100 {
            spins.note(true);
        }
        assert_eq!(tried(70), Spins::MOST as usize, "what was good before is forgotten soon");
    }
}
