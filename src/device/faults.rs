//! A device with a bad link in front of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::clock::OsClock;
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::delegate::delegate;
use crate::base::rng::Rng;
use crate::base::settings::settings;
use crate::base::sync::Mutex;
use crate::base::time::{Clock, Instant};
use crate::types::device::{Datagram, Datagrams, FrameLosses, Frames, Link, SendError};
use crate::types::mac::Mac;

settings! {
    /// Settings of [`Faults`]. By default nothing happens to packets.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct FaultConfig {
        /// Sets the probability that a packet is lost. Default: 0.
        loss: f64 = 0.0,
        /// Sets the probability that a packet arrives twice. Default: 0.
        duplicate: f64 = 0.0,
        /// Sets the probability that a bit of a packet is flipped. Default: 0.
        corrupt: f64 = 0.0,
        /// Sets how much later packets arrive. Default: not at all.
        delay: Duration = Duration::ZERO,
        /// Sets a further delay, drawn evenly between nothing and this for each packet, so that they overtake each other.
        /// Default: none.
        jitter: Duration = Duration::ZERO,
        /// Sets how many bits a second arrive, headers of the layer below not counted. Default: 0, which is no limit.
        rate: u64 = 0,
        /// Sets how many packets may be on their way; further ones are lost. Default: 1000.
        queue: usize = 1000,
    }
}

/// A device on which arriving packets are lost, doubled, damaged, delayed, or held up by a rate, for tests of programs on
/// links that are too good. What is sent goes straight to the device: put one at either end for both directions.
///
/// What happens follows from a seed and the order in which packets arrive; when it happens, from the clock. A polled stack
/// has to be polled again for packets that were delayed; in a simulation its [links](crate::sim::Link) do all of this.
///
/// ```
/// use o7s::device::{FaultConfig, Faults, MemoryFrames};
/// use o7s::{Eth, Stack};
///
/// let (left, right) = MemoryFrames::pair("02:00:00:00:00:01".parse()?, "02:00:00:00:00:02".parse()?);
/// let bad = Faults::new(left, 7, FaultConfig::default().loss(0.1));
/// Stack::new()?.eth_over(bad, Eth::dix("left"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Faults<D: ?Sized> {
    device: Arc<D>,
    clock: Arc<dyn Clock>,
    config: FaultConfig,
    datagrams: Mutex<Line<Datagram>>,
    frames: Mutex<Line<PacketBuf>>,
}

/// Packets on their way.
struct Line<P> {
    rng: Rng,
    busy_until: Instant,
    /// By when they arrive, and in which order they were sent.
    waiting: BTreeMap<(Instant, u64), P>,
    next: u64,
    /// The empty list that the device puts packets into; kept for its memory.
    arrived: Vec<P>,
}

impl<D: ?Sized> Faults<D> {
    /// The device with these faults, which follow from `seed`.
    pub fn new(device: Arc<D>, seed: u64, config: FaultConfig) -> Arc<Self> {
        Self::with_clock(device, seed, config, Arc::new(OsClock::new()))
    }

    /// As [`new`](Self::new), with a clock of the caller's.
    pub fn with_clock(device: Arc<D>, seed: u64, config: FaultConfig, clock: Arc<dyn Clock>) -> Arc<Self> {
        let [a, b, c, d, e, f, g, h] = seed.to_le_bytes();
        let mut key = [0; 32];
        key.iter_mut().zip([a, b, c, d, e, f, g, h]).for_each(|(to, from)| *to = from);
        let mut rng = Rng::from_seed(key);
        let (datagrams, frames) = (Line::new(rng.split("datagrams")), Line::new(rng.split("frames")));
        Arc::new(Self { device, clock, config, datagrams: Mutex::new(datagrams), frames: Mutex::new(frames) })
    }

    /// The device without its faults.
    pub fn inner(&self) -> &Arc<D> {
        &self.device
    }

    /// The longest wait: until the next delayed packet arrives.
    fn patience(&self, timeout: Duration) -> Duration {
        let datagrams = self.datagrams.lock().next_arrival();
        let next = self.frames.lock().next_arrival().min(datagrams);
        timeout.min(next.since(self.clock.now()))
    }
}

impl<P> Line<P> {
    fn new(rng: Rng) -> Self {
        Self { rng, busy_until: Instant::ZERO, waiting: BTreeMap::new(), next: 0, arrived: Vec::new() }
    }

    fn next_arrival(&self) -> Instant {
        self.waiting.first_key_value().map_or(Instant::FAR_FUTURE, |((at, _), _)| *at)
    }

    fn says(&mut self, p: f64) -> bool {
        p > 0.0 && self.rng.chance(p.min(1.0))
    }

    /// Decides about what has come in from the device.
    fn pass(
        &mut self,
        now: Instant,
        config: &FaultConfig,
        mut arrived: Vec<P>,
        bytes: fn(&mut P) -> &mut PacketBuf,
        copy: fn(&P) -> P,
    ) {
        for mut packet in arrived.drain(..) {
            let len = bytes(&mut packet).len();
            if self.waiting.len() >= config.queue || self.says(config.loss) {
                continue;
            }
            if self.says(config.corrupt) && len > 0 {
                let bit = self.rng.below(len as u64 * 8);
                if let Some(byte) = bytes(&mut packet).get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            if let Some(nanos) = (len as u64).saturating_mul(8_000_000_000).checked_div(config.rate) {
                self.busy_until = self.busy_until.max(now) + Duration::from_nanos(nanos);
            }
            let again = self.says(config.duplicate).then(|| copy(&packet));
            for packet in core::iter::once(packet).chain(again) {
                let most = u64::try_from(config.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
                let jitter = if most == 0 { 0 } else { self.rng.below(most + 1) };
                let at = self.busy_until.max(now) + config.delay + Duration::from_nanos(jitter);
                self.waiting.insert((at, self.next), packet);
                self.next += 1;
            }
        }
        self.arrived = arrived;
    }

    /// Moves what has arrived by now to `out`.
    fn deliver(&mut self, now: Instant, out: &mut Vec<P>) -> usize {
        let before = out.len();
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            out.push(first.remove());
        }
        out.len() - before
    }
}

impl<D: Datagrams + ?Sized> Datagrams for Faults<D> {
    delegate! {
        self => self.device;
        fn local_addr() -> SocketAddr;
        fn max_datagram() -> usize;
        fn max_segments() -> usize;
        fn queued(dst: SocketAddr) -> usize;
        fn send(dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError>;
        fn send_from(src: Option<IpAddr>, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError>;
        fn note_dropped(datagram: &Datagram, why: &dyn fmt::Display);
        fn rejected() -> u64;
        fn overrun() -> u64;
        fn interrupt();
        fn dismiss();
        fn close();
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut arrived = core::mem::take(&mut self.datagrams.lock().arrived);
        self.device.recv(&mut arrived, cache);
        let now = self.clock.now();
        let mut line = self.datagrams.lock();
        line.pass(
            now,
            &self.config,
            arrived,
            |datagram| &mut datagram.data,
            |datagram| Datagram { src: datagram.src, local: datagram.local, data: PacketBuf::copy_of(&datagram.data) },
        );
        line.deliver(now, out)
    }

    fn wait(&self, timeout: Duration) {
        self.device.wait(self.patience(timeout));
    }

    fn guard(&self, timeout: Duration) {
        self.device.guard(self.patience(timeout));
    }
}

impl<D: Frames + ?Sized> Frames for Faults<D> {
    delegate! {
        self => self.device;
        fn mac() -> Mac;
        fn mtu() -> usize;
        fn link() -> Link;
        fn max_batch() -> usize;
        fn queued() -> usize;
        fn send(frame: &[u8]) -> Result<(), SendError>;
        fn send_batch(frames: &[PacketBuf]) -> Result<usize, SendError>;
        fn note_dropped(frame: &[u8], why: &dyn fmt::Display);
        fn losses() -> FrameLosses;
        fn interrupt();
        fn dismiss();
        fn close();
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let mut arrived = core::mem::take(&mut self.frames.lock().arrived);
        self.device.recv(&mut arrived, cache);
        let now = self.clock.now();
        let mut line = self.frames.lock();
        line.pass(now, &self.config, arrived, |frame| frame, |frame| PacketBuf::copy_of(frame));
        line.deliver(now, out)
    }

    fn wait(&self, timeout: Duration) {
        self.device.wait(self.patience(timeout));
    }

    fn guard(&self, timeout: Duration) {
        self.device.guard(self.patience(timeout));
    }
}

impl<D: fmt::Debug + ?Sized> fmt::Debug for Faults<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("device", &&*self.device).field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{OnceLock, Weak};

    use super::*;
    use crate::base::buf::BufPool;
    use crate::base::time::ManualClock;
    use crate::device::MemoryFrames;

    /// When each of `n` frames of 100 bytes arrives, milliseconds, and its contents; they are sent a millisecond apart.
    fn run(n: usize, config: FaultConfig) -> Vec<(u64, Vec<u8>)> {
        let (a, b) = MemoryFrames::pair(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let clock = Arc::new(ManualClock::new(0));
        let bad = Faults::with_clock(b, 3, config, Arc::clone(&clock) as Arc<dyn Clock>);
        let (mut out, mut cache, mut got) = (Vec::new(), BufCache::new(&BufPool::new(10)), Vec::new());
        for i in 0..n + 1000 {
            clock.advance_to(Instant::from_millis(i as u64));
            if i < n {
                a.send(&[i as u8; 100]).unwrap();
            }
            Frames::recv(&*bad, &mut out, &mut cache);
            got.extend(out.drain(..).map(|frame| (i as u64, frame.to_vec())));
        }
        got
    }

    #[test]
    fn a_link_without_faults_changes_nothing() {
        let all = run(100, FaultConfig::default());
        assert_eq!(all, (0..100).map(|i| (i, vec![i as u8; 100])).collect::<Vec<_>>());
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let n = 2000;
        let lost = n - run(n, FaultConfig::default().loss(0.1)).len();
        assert!((150..250).contains(&lost), "{lost}");
        let doubled = run(n, FaultConfig::default().duplicate(0.1)).len() - n;
        assert!((150..250).contains(&doubled), "{doubled}");
        let damaged = run(n, FaultConfig::default().corrupt(0.1));
        let flipped = |(i, frame): &&(u64, Vec<u8>)| {
            let bits: u32 = frame.iter().map(|byte| (byte ^ *i as u8).count_ones()).sum();
            assert!(bits <= 1);
            bits == 1
        };
        let damaged = damaged.iter().filter(flipped).count();
        assert!((150..250).contains(&damaged), "{damaged}");
        let late = run(100, FaultConfig::default().delay(Duration::from_millis(30)));
        assert!(late.iter().enumerate().all(|(i, (at, _))| *at == i as u64 + 30));
        let swapped = run(100, FaultConfig::default().jitter(Duration::from_millis(10)));
        assert!(swapped.len() == 100 && !swapped.is_sorted_by_key(|(_, frame)| frame[0]));
        // 100 bytes take 8 ms.
        let slow = run(100, FaultConfig::default().rate(100_000));
        assert!(slow.iter().enumerate().all(|(i, (at, _))| *at == 8 * (i as u64 + 1)));
        let cut = run(100, FaultConfig::default().rate(100_000).queue(10));
        assert!((20..30).contains(&cut.len()), "{}", cut.len());
    }

    /// A device that looks whether its wrapper is locked while it is asked for frames.
    #[derive(Debug)]
    struct Looking {
        device: Arc<MemoryFrames>,
        wrapper: OnceLock<Weak<Faults<Self>>>,
        looked: AtomicUsize,
        locked: AtomicUsize,
    }

    impl Frames for Looking {
        delegate! {
            self => self.device;
            fn mac() -> Mac;
            fn mtu() -> usize;
            fn send(frame: &[u8]) -> Result<(), SendError>;
            fn wait(timeout: Duration);
            fn interrupt();
        }

        fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
            let wrapper = self.wrapper.get().and_then(Weak::upgrade).unwrap();
            self.looked.fetch_add(1, Ordering::Relaxed);
            if wrapper.frames.try_lock().is_none() || wrapper.datagrams.try_lock().is_none() {
                self.locked.fetch_add(1, Ordering::Relaxed);
            }
            self.device.recv(out, cache)
        }
    }

    #[test]
    fn the_device_is_called_without_a_lock() {
        let (_a, device) = MemoryFrames::pair(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let looking =
            Looking { device, wrapper: OnceLock::new(), looked: AtomicUsize::new(0), locked: AtomicUsize::new(0) };
        let bad = Faults::new(Arc::new(looking), 3, FaultConfig::default());
        bad.inner().wrapper.set(Arc::downgrade(&bad)).unwrap();
        Frames::recv(&*bad, &mut Vec::new(), &mut BufCache::new(&BufPool::new(10)));
        assert_eq!(bad.inner().looked.load(Ordering::Relaxed), 1);
        assert_eq!(bad.inner().locked.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_same_seed_does_the_same() {
        let config = FaultConfig::default().loss(0.2).duplicate(0.1).corrupt(0.1).jitter(Duration::from_millis(5));
        assert_eq!(run(500, config), run(500, config));
    }
}
