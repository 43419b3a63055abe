//! The background threads of a stack: one for its timers, one for each device.
//!
//! All are stopped, and waited for by nobody, when the [`Background`] is dropped: they notice within a moment, because
//! whatever they wait on is interrupted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;

use crate::base::sync::Mutex;
use crate::base::time::Clock;
use crate::ipcp::Ipcp;
use crate::ipcp::shim::udp::UdpShim;
use crate::node::Node;

/// A device that a waiting thread drove this recently is left to it.
const LED_RECENTLY: Duration = Duration::from_millis(2);
/// How often the background thread looks whether that is still so.
const STANDBY: Duration = Duration::from_millis(1);
/// The longest wait; only bounds what a missed wake-up could cost.
const LONG: Duration = Duration::from_secs(10);

/// The threads of one stack.
pub struct Background {
    stop: Arc<AtomicBool>,
    timer: Thread,
    devices: Mutex<Vec<(Weak<UdpShim>, Thread)>>,
}

impl Background {
    /// Starts the thread that watches the node's timers.
    ///
    /// # Errors
    /// The operating system's, if it starts no more threads.
    pub fn start(node: &Arc<Node>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let timer = {
            let (stop, node) = (Arc::clone(&stop), Arc::downgrade(node));
            std::thread::Builder::new().name("o7s-timers".into()).spawn(move || watch_timers(&stop, &node))?
        };
        let timer = timer.thread().clone();
        let thread = timer.clone();
        node.on_earlier_deadline(Some(Arc::new(move || thread.unpark())));
        Ok(Self { stop, timer, devices: Mutex::new(Vec::new()) })
    }

    /// Starts a thread that receives from the socket of `shim` while nobody else does.
    ///
    /// # Errors
    /// The operating system's, if it starts no more threads.
    pub fn serve(&self, shim: &Arc<UdpShim>, clock: &Arc<dyn Clock>) -> io::Result<()> {
        let (stop, clock, weak) = (Arc::clone(&self.stop), Arc::clone(clock), Arc::downgrade(shim));
        let thread = std::thread::Builder::new()
            .name(format!("o7s-{}", shim.info().name))
            .spawn(move || receive(&stop, &weak, &*clock))?;
        self.devices.lock().push((Arc::downgrade(shim), thread.thread().clone()));
        Ok(())
    }

    /// Tells the threads to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.timer.unpark();
        for (shim, thread) in self.devices.lock().drain(..) {
            if let Some(shim) = shim.upgrade() {
                shim.socket().dismiss();
            }
            thread.unpark();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

fn watch_timers(stop: &AtomicBool, node: &Weak<Node>) {
    while !stop.load(Ordering::Acquire) {
        let wait = {
            let Some(node) = node.upgrade() else { return };
            let next = node.poll(node.clock().now());
            next.map_or(LONG, |at| at.since(node.clock().now()).min(LONG))
        };
        if !wait.is_zero() {
            std::thread::park_timeout(wait);
        }
    }
}

fn receive(stop: &AtomicBool, shim: &Weak<UdpShim>, clock: &dyn Clock) {
    let me = Waker::from(Arc::new(Unpark(std::thread::current())));
    while !stop.load(Ordering::Acquire) {
        let Some(shim) = shim.upgrade() else { return };
        if shim.is_down() {
            return;
        }
        if shim.led_within(clock.now(), LED_RECENTLY) {
            // Busy: whoever waits for packets comes back for more, and if not we see it in a moment.
            std::thread::park_timeout(STANDBY);
        } else if shim.stand_by(&me) {
            // Somebody waits on the socket already, and says when they stop.
            std::thread::park_timeout(LONG);
        } else {
            shim.socket().guard(LONG);
            shim.poll(clock.now());
        }
    }
}

struct Unpark(Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
