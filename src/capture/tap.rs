//! The switch, and what waits to be written.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};

use super::config::{CaptureConfig, CaptureError, CaptureStats};
use super::waiting::Waiting;
use super::writing::{self, Outcome, Polled};
use crate::base::sync::Mutex;
use crate::base::time::Clock;
use crate::wire::pcapng::{self, Direction, Packet};

/// Interfaces of a capture at most: each flow may be one. Packets of further ones are not written, and counted.
const MAX_INTERFACES: usize = 1 << 16;
/// Room for the description of an interface, bytes.
const DESCRIPTION: usize = 160;
/// Room for a key beyond its line, bytes.
const KEY: usize = 32;
/// The program named in a file as its writer.
const PROGRAM: &str = concat!("o7s ", env!("CARGO_PKG_VERSION"));

/// A switch for captures: what passes the devices that it was given to, by [`Pcap`](super::Pcap), is written while a capture
/// runs. Each stack has one, which is [`Stack::capture`](crate::Stack::capture); others are for devices outside a stack.
///
/// ```
/// use std::sync::Arc;
/// use o7s::capture::{CaptureConfig, Pcap, Tap};
/// use o7s::device::{Datagrams, UdpSocket};
/// use o7s::time::OsClock;
///
/// let tap = Tap::new(Arc::new(OsClock::new()));
/// let socket = Pcap::new(UdpSocket::bind("127.0.0.1:0".parse()?)?, &tap, "loopback");
/// let capture = tap.capture(std::io::sink(), CaptureConfig::default())?;
/// socket.send(socket.local_addr(), b"to myself", None)?;
/// assert_eq!(capture.stop()?.packets, 1);
/// // Nobody is interested any more.
/// socket.send(socket.local_addr(), b"to myself", None)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tap {
    on: AtomicBool,
    recording: Mutex<Option<Recording>>,
    /// The writer of a capture that no thread writes.
    pub(super) polled: Mutex<Option<Polled>>,
    /// For interfaces, and captures.
    numbers: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// A capture that runs.
struct Recording {
    /// Number of the capture: whoever ends it may come late, when another one is running.
    session: u64,
    waiting: Waiting,
    limit: usize,
    snap: usize,
    /// By their numbers.
    interfaces: BTreeMap<u64, Interface>,
    stats: CaptureStats,
    /// Packets lost since the last one that was written.
    lost: u64,
    /// The thread that writes, if one does, and whether it sleeps for want of work.
    writer: Option<Thread>,
    idle: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    /// The sink has failed, and nobody has ended it yet.
    Failed,
}

#[derive(Default)]
struct Interface {
    index: u32,
    passed: u64,
    lost: u64,
}

/// A packet, and where it passed.
pub(super) struct Passed<'a> {
    /// Number of the interface, and what it is.
    pub(super) interface: u64,
    pub(super) link: u16,
    pub(super) name: &'a dyn Fn() -> String,
    /// Headers that were made up.
    pub(super) head: &'a [u8],
    pub(super) data: &'a [u8],
    pub(super) direction: Option<Direction>,
    pub(super) comment: &'a str,
}

/// The next task of a writer.
pub(super) enum Turn {
    /// Write, and come again.
    Write,
    /// Nothing: sleep until woken.
    Sleep,
    /// Write: it was the last.
    End(CaptureStats),
}

impl Tap {
    /// A switch that is off. Times in captures are those of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            on: AtomicBool::new(false),
            recording: Mutex::new(None),
            polled: Mutex::new(None),
            numbers: AtomicU64::new(0),
            clock,
        })
    }

    /// Starts a capture that a thread writes to `sink`, a few milliseconds after a packet has passed.
    ///
    /// # Errors
    /// [`CaptureError::Running`] if there is one, [`CaptureError::Thread`] if the operating system starts no thread.
    pub fn capture(
        self: &Arc<Self>,
        sink: impl Write + Send + 'static,
        config: CaptureConfig,
    ) -> Result<Capture, CaptureError> {
        let session = self.begin(&config)?;
        let (tap, outcome) = (Arc::clone(self), Arc::new(Outcome::default()));
        let told = Arc::clone(&outcome);
        let writer = std::thread::Builder::new().name("o7s-capture".into());
        match writer.spawn(move || writing::run(&tap, session, Box::new(sink), &told)) {
            Ok(thread) => {
                self.switch_on(session, Some(thread.thread().clone()));
                Ok(Capture::new(self, session, outcome, Some(thread)))
            }
            Err(error) => {
                self.abandon(session);
                self.end(session);
                Err(CaptureError::Thread(error))
            }
        }
    }

    /// Starts a capture that is written to `sink` when [`flush`](Self::flush) is called, and at its end: without threads, and
    /// the same bytes whenever the same happens.
    ///
    /// # Errors
    /// [`CaptureError::Running`] if there is one.
    pub fn capture_polled(
        self: &Arc<Self>,
        sink: impl Write + Send + 'static,
        config: CaptureConfig,
    ) -> Result<Capture, CaptureError> {
        let session = self.begin(&config)?;
        let outcome = Arc::new(Outcome::default());
        let polled = Polled::new(session, Box::new(sink), &outcome);
        let before = self.polled.lock().replace(polled);
        // A sink is the program's, dropped where nothing is locked.
        drop(before);
        self.switch_on(session, None);
        Ok(Capture::new(self, session, outcome, None))
    }

    /// Returns `true` if a capture is running: one relaxed load.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Writes what waits, if a [polled](Self::capture_polled) capture is running.
    pub fn flush(&self) {
        if self.is_on() {
            writing::flush(self);
        }
    }

    /// A number for an interface, which is no other's.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes a packet that passes.
    pub(super) fn record(&self, passed: &Passed<'_>) {
        let wake = {
            let mut recording = self.recording.lock();
            let Some(recording) = recording.as_mut().filter(|r| r.state == State::Running) else { return };
            recording.push(self.clock.unix_nanos(), passed)
        };
        if let Some(thread) = wake {
            thread.unpark();
        }
    }

    /// Writes a line of a key log to this capture, before the packets that it opens.
    pub(crate) fn record_key(&self, session: u64, line: &str) {
        let mut recording = self.recording.lock();
        let takes = |r: &&mut Recording| r.session == session && r.state == State::Running;
        let Some(recording) = recording.as_mut().filter(takes) else { return };
        if recording.waiting.len() + line.len() + KEY > recording.limit {
            recording.stats.keys_lost += 1;
            return;
        }
        let before = recording.waiting.len();
        let line = zeroize::Zeroizing::new([line, "\n"].concat());
        pcapng::secrets(line.as_bytes(), recording.waiting.append_secret(line.len() + KEY));
        recording.stats.keys += 1;
        recording.stats.bytes += (recording.waiting.len() - before) as u64;
    }

    /// The next task of the writer; bytes to write are put into `spare`, which is empty.
    pub(super) fn turn(&self, session: u64, spare: &mut Waiting) -> Turn {
        let mut place = self.recording.lock();
        let recording = place.as_mut().filter(|recording| recording.session == session);
        let Some(recording) = recording else { return Turn::End(CaptureStats::default()) };
        if recording.state == State::Ended {
            let Some(mut recording) = place.take() else { return Turn::Sleep };
            recording.close(self.clock.unix_nanos());
            *spare = recording.waiting;
            return Turn::End(recording.stats);
        }
        if recording.waiting.is_empty() {
            recording.idle = true;
            return Turn::Sleep;
        }
        core::mem::swap(&mut recording.waiting, spare);
        Turn::Write
    }

    /// Ends the capture: its writer writes what waits.
    fn end(&self, session: u64) {
        let writer = {
            let mut place = self.recording.lock();
            let Some(recording) = place.as_mut().filter(|recording| recording.session == session) else { return };
            self.on.store(false, Ordering::Release);
            if recording.state == State::Failed {
                *place = None;
                return;
            }
            recording.state = State::Ended;
            recording.writer.clone()
        };
        match writer {
            Some(thread) => thread.unpark(),
            None => writing::flush(self),
        }
    }

    /// Forgets what was captured, which nobody can write any more. There is no other capture until this one is ended: what
    /// was set up for it, tellers of keys for instance, would take that for their own.
    pub(super) fn abandon(&self, session: u64) {
        let mut place = self.recording.lock();
        let Some(recording) = place.as_mut().filter(|recording| recording.session == session) else { return };
        self.on.store(false, Ordering::Release);
        if recording.state == State::Ended {
            *place = None;
        } else {
            recording.state = State::Failed;
            recording.waiting = Waiting::default();
            recording.interfaces = BTreeMap::new();
        }
    }

    /// Returns `true` if the capture is ended, and what waits was not taken to be written yet.
    pub(super) fn has_last(&self, session: u64) -> bool {
        self.recording.lock().as_ref().is_some_and(|r| r.session == session && r.state == State::Ended)
    }

    fn begin(&self, config: &CaptureConfig) -> Result<u64, CaptureError> {
        let mut recording = self.recording.lock();
        if recording.is_some() {
            return Err(CaptureError::Running);
        }
        let session = self.number();
        *recording = Some(Recording::new(session, config));
        Ok(session)
    }

    fn switch_on(&self, session: u64, writer: Option<Thread>) {
        // Its sink may have failed by now.
        let runs = |r: &&mut Recording| r.session == session && r.state == State::Running;
        if let Some(recording) = self.recording.lock().as_mut().filter(runs) {
            recording.writer = writer;
            self.on.store(true, Ordering::Release);
        }
    }

    fn stats(&self, session: u64) -> Option<CaptureStats> {
        self.recording.lock().as_ref().filter(|r| r.session == session).map(|r| r.stats)
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Recording {
    fn new(session: u64, config: &CaptureConfig) -> Self {
        let mut waiting = Waiting::default();
        pcapng::section(PROGRAM, waiting.append(DESCRIPTION));
        Self {
            session,
            waiting,
            limit: config.queue,
            snap: config.snap,
            interfaces: BTreeMap::new(),
            stats: CaptureStats::default(),
            lost: 0,
            writer: None,
            idle: false,
            state: State::Running,
        }
    }

    /// Writes a packet, or counts it as lost. Returns whom to wake.
    fn push(&mut self, unix_nanos: u64, passed: &Passed<'_>) -> Option<Thread> {
        let before = self.waiting.len();
        let original = passed.head.len() + passed.data.len();
        let room = self.snap.saturating_sub(passed.head.len());
        let data = passed.data.get(..room).unwrap_or(passed.data);
        let mut packet = Packet {
            unix_nanos,
            head: passed.head,
            data,
            original: u32::try_from(original).unwrap_or(u32::MAX),
            direction: passed.direction,
            lost: self.lost,
            comment: passed.comment,
            interface: 0,
        };
        let full = before + packet.max_len() + DESCRIPTION > self.limit;
        if full || !self.describe(passed) {
            if let Some(interface) = self.interfaces.get_mut(&passed.interface) {
                interface.lost += 1;
            }
            self.lost += 1;
            self.stats.lost += 1;
            return None;
        }
        if let Some(interface) = self.interfaces.get_mut(&passed.interface) {
            interface.passed += 1;
            packet.interface = interface.index;
        }
        let len = packet.max_len();
        packet.emit(self.waiting.append(len));
        self.lost = 0;
        self.stats.packets += 1;
        self.stats.bytes += (self.waiting.len() - before) as u64;
        let half = self.limit / 2;
        let hurry = before < half && self.waiting.len() >= half;
        (core::mem::take(&mut self.idle) || hurry).then(|| self.writer.clone())?
    }

    /// Describes an interface when it is first used. `false` if there are too many.
    fn describe(&mut self, passed: &Passed<'_>) -> bool {
        if !self.interfaces.contains_key(&passed.interface) {
            if self.interfaces.len() >= MAX_INTERFACES {
                return false;
            }
            let index = self.interfaces.len() as u32;
            let name = (passed.name)();
            let what = match passed.link {
                pcapng::LINK_RAW => "datagrams of an o7s layer over UDP",
                pcapng::LINK_FLOW => "packets of an o7s flow, in the clear",
                _ => "frames of an o7s layer over Ethernet",
            };
            pcapng::interface(passed.link, 0, &name, what, self.waiting.append(DESCRIPTION + name.len()));
            self.interfaces.insert(passed.interface, Interface { index, ..Interface::default() });
        }
        true
    }

    /// Says what became of the packets.
    fn close(&mut self, unix_nanos: u64) {
        for Interface { index, passed, lost } in self.interfaces.values() {
            pcapng::statistics(*index, unix_nanos, passed + lost, *lost, self.waiting.append(DESCRIPTION));
        }
    }
}

/// A capture that is running. It ends when this is [stopped](Self::stop) or dropped.
#[must_use = "a capture ends when this is dropped"]
pub struct Capture {
    tap: Arc<Tap>,
    session: u64,
    outcome: Arc<Outcome>,
    thread: Option<JoinHandle<()>>,
    at_end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Capture {
    fn new(tap: &Arc<Tap>, session: u64, outcome: Arc<Outcome>, thread: Option<JoinHandle<()>>) -> Self {
        Self { tap: Arc::clone(tap), session, outcome, thread, at_end: None }
    }

    /// Has `at_end` called when it ends.
    pub(crate) fn at_end(mut self, at_end: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.at_end = Some(Box::new(at_end));
        self
    }

    /// Returns the number of the capture.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// Returns the statistics so far.
    pub fn stats(&self) -> CaptureStats {
        self.tap.stats(self.session).unwrap_or_default()
    }

    /// Ends it, waits until everything is written, and returns what was captured. Without this, dropping it does the same,
    /// but a thread that writes is not waited for. Of a polled stack there is none: what is left is written by whoever drops
    /// the capture, who waits for the sink.
    ///
    /// # Errors
    /// That of the sink; packets behind it are missing in the file.
    pub fn stop(mut self) -> io::Result<CaptureStats> {
        self.finish();
        match self.thread.take() {
            // One that panicked, in the sink, has left no outcome.
            Some(thread) => drop(thread.join()),
            None => self.outcome.wait(),
        }
        self.outcome.take()
    }

    fn finish(&mut self) {
        if let Some(at_end) = self.at_end.take() {
            at_end();
        }
        self.tap.end(self.session);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
