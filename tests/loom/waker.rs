//! The waker of a task that anything may wake: what happened before a call is seen by the task, or the task is woken.
//!
//! Of the lock the checker shows less than there is: it is in the order of all threads' steps, and nobody comes between the
//! last thing that is done with it held and its release. That whoever finds it taken leaves a mark that is seen is the model
//! `a_device_is_handed_over_with_a_fence_and_not_without`.

use std::sync::Arc;
use std::task::Waker;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use o7s::base::waker::WakerCell;

use super::{Sleeper, check};

/// A cell, and how often something has happened.
#[derive(Default)]
struct Device {
    cell: WakerCell,
    happened: AtomicUsize,
}

impl Device {
    fn happens(&self) {
        self.happened.fetch_add(1, Ordering::Relaxed);
        self.cell.wake();
    }

    /// Sleeps until it has happened so often.
    fn wait(&self, times: usize) {
        let sleeper = Arc::new(Sleeper::default());
        self.cell.set(&Waker::from(Arc::clone(&sleeper)));
        while self.happened.load(Ordering::Relaxed) < times {
            sleeper.sleep();
        }
    }
}

#[test]
fn a_task_that_sets_its_waker_meanwhile_is_woken() {
    check(|| {
        let device = Arc::new(Device::default());
        let happens = Arc::clone(&device);
        let other = thread::spawn(move || happens.happens());
        device.wait(1);
        other.join().unwrap();
    });
}

#[test]
fn a_task_is_woken_for_each_of_two_that_wake_it_at_once() {
    check(|| {
        let device = Arc::new(Device::default());
        let others = [0; 2].map(|_| {
            let happens = Arc::clone(&device);
            thread::spawn(move || happens.happens())
        });
        device.wait(2);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn the_waker_that_was_set_last_is_woken() {
    check(|| {
        let device = Arc::new(Device::default());
        let gone = Waker::from(Arc::new(Sleeper::default()));
        device.cell.set(&gone);
        let others = [0; 2].map(|_| {
            let happens = Arc::clone(&device);
            thread::spawn(move || happens.happens())
        });
        device.wait(2);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
