//! The writers of captures: on a thread of their own, or where a polled stack is polled.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use super::config::CaptureStats;
use super::tap::{Tap, Turn};
use super::waiting::Waiting;
use crate::base::sync::waiting::{Condvar, Mutex};

/// Pause of a writer between two writes: few system calls, and a reader that looks on is not kept waiting.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest sleep; only bounds what a missed wake-up could cost.
const LONG: Duration = Duration::from_secs(10);

/// The destination of a capture.
pub(super) type Sink = Box<dyn Write + Send>;

/// The result of a capture.
#[derive(Default)]
pub(super) struct Outcome {
    result: Mutex<Option<io::Result<CaptureStats>>>,
    is_set: Condvar,
}

impl Outcome {
    fn set(&self, outcome: io::Result<CaptureStats>) {
        *self.result.lock() = Some(outcome);
        self.is_set.notify_all();
    }

    /// Waits until the capture has ended: another thread may be writing what is left.
    pub(super) fn wait(&self) {
        let mut result = self.result.lock();
        while result.is_none() {
            self.is_set.wait(&mut result);
        }
    }

    fn panicked() -> io::Error {
        io::Error::other("the capture's sink panicked")
    }

    /// Takes the result; an error if the sink has panicked.
    pub(super) fn take(&self) -> io::Result<CaptureStats> {
        self.result.lock().take().unwrap_or_else(|| Err(Self::panicked()))
    }
}

/// Ends a capture, however its writer ends.
struct Abandons<'a>(&'a Tap, u64);

impl Drop for Abandons<'_> {
    fn drop(&mut self) {
        self.0.abandon(self.1);
    }
}

/// Writes a capture to its end.
pub(super) fn run(tap: &Tap, session: u64, mut sink: Sink, outcome: &Outcome) {
    let _abandons = Abandons(tap, session);
    let mut spare = Waiting::default();
    loop {
        let turn = tap.turn(session, &mut spare);
        if let Turn::Sleep = turn {
            std::thread::park_timeout(LONG);
            continue;
        }
        let written = sink.write_all(spare.bytes()).and_then(|()| sink.flush());
        spare.clear();
        match (written, turn) {
            (Err(error), _) => return outcome.set(Err(error)),
            (Ok(()), Turn::End(stats)) => return outcome.set(Ok(stats)),
            (Ok(()), _) => std::thread::park_timeout(PAUSE),
        }
    }
}

/// The writer of a capture that no thread writes.
pub(super) struct Polled {
    session: u64,
    sink: Sink,
    spare: Waiting,
    outcome: Arc<Outcome>,
}

impl Polled {
    pub(super) fn new(session: u64, sink: Sink, outcome: &Arc<Outcome>) -> Self {
        Self { session, sink, spare: Waiting::default(), outcome: Arc::clone(outcome) }
    }
}

/// Says that the sink has panicked, unless it is told not to.
struct Panics<'a>(&'a Tap, u64, &'a Outcome);

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        self.0.abandon(self.1);
        self.2.set(Err(Outcome::panicked()));
    }
}

/// Writes what waits for a polled capture, if there is one. The sink is called without a lock.
pub(super) fn flush(tap: &Tap) {
    loop {
        let Some(mut polled) = tap.polled.lock().take() else { return };
        let (session, outcome) = (polled.session, Arc::clone(&polled.outcome));
        let turn = tap.turn(session, &mut polled.spare);
        let panics = Panics(tap, session, &outcome);
        let written = polled.sink.write_all(polled.spare.bytes()).and_then(|()| polled.sink.flush());
        core::mem::forget(panics);
        polled.spare.clear();
        match (written, turn) {
            (Err(error), _) => {
                tap.abandon(session);
                return outcome.set(Err(error));
            }
            (Ok(()), Turn::End(stats)) => return outcome.set(Ok(stats)),
            (Ok(()), Turn::Write | Turn::Sleep) => {
                let before = tap.polled.lock().replace(polled);
                drop(before);
            }
        }
        // Who ended it meanwhile found that it was being written.
        if !tap.has_last(session) {
            return;
        }
    }
}
