//! Two machines and a seeded link between them, in virtual time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::time::Instant;
use crate::frct::{Config, Frct, fragments};

/// Splitmix: enough chance for a link.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(super) fn hit(&mut self, p: f64) -> bool {
        p > 0.0 && (self.next() >> 11) as f64 / ((1u64 << 53) as f64) < p
    }
}

/// One direction of the path. Probabilities are per packet.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) loss: f64,
    pub(super) duplicate: f64,
    /// Delays a packet by up to three latencies.
    pub(super) reorder: f64,
    /// Damages a packet: it is dropped by the checksum, and noise is fed to the machine in its place.
    pub(super) corrupt: f64,
    /// Bits a second, and packets that wait for the line at most.
    pub(super) rate: Option<(u64, usize)>,
    /// Larger packets are dropped, bytes with the header.
    pub(super) mtu: usize,
    /// Nothing passes within.
    pub(super) broken: Option<(Instant, Instant)>,
}

impl Link {
    pub(super) fn new(latency_us: u64) -> Self {
        let zero = 0.0;
        Self {
            latency: Duration::from_micros(latency_us),
            jitter: Duration::ZERO,
            loss: zero,
            duplicate: zero,
            reorder: zero,
            corrupt: zero,
            rate: None,
            mtu: usize::MAX,
            broken: None,
        }
    }
}

/// A machine and its application, which writes numbered messages and checks the numbers of what it reads.
pub(super) struct Side {
    pub(super) frct: Frct,
    pub(super) cache: BufCache,
    pub(super) to_write: u64,
    pub(super) size: usize,
    /// Length of the fragments of messages, bytes.
    pub(super) fragment: usize,
    pub(super) written: u64,
    pub(super) read: u64,
    /// Number of the next message (reliable), or least number of it.
    pub(super) expected: u64,
    pub(super) reliable: bool,
    pub(super) reading: bool,
    pub(super) busy_until: Instant,
    pub(super) waiting: Vec<Instant>,
}

impl Side {
    fn new(cfg: &Config, isn: u32) -> Self {
        Self {
            // Both ends are o7s and know it.
            frct: Frct::new(Config { o7s_peer: true, ..cfg.clone() }, isn),
            cache: BufCache::new(&BufPool::new(256)),
            to_write: 0,
            size: 100,
            fragment: usize::MAX,
            written: 0,
            read: 0,
            expected: 0,
            reliable: cfg.reliable,
            reading: true,
            busy_until: Instant::ZERO,
            waiting: Vec::new(),
        }
    }

    fn read_all(&mut self, now: Instant) -> bool {
        let mut any = false;
        while self.reading
            && let Some(p) = self.frct.deliver(now, &mut self.cache)
        {
            any = true;
            let n = u64::from_be_bytes(p[..8].try_into().unwrap());
            if self.reliable {
                assert_eq!(n, self.expected, "a prefix of what was written");
            } else {
                assert!(n >= self.expected, "a subsequence of what was written");
            }
            let len = u32::from_be_bytes(p[8..12].try_into().unwrap());
            assert_eq!(p.len(), len as usize, "whole messages");
            if self.fragment < usize::MAX {
                assert_eq!(&p[..], message(n, p.len()), "byte for byte");
            }
            self.expected = n + 1;
            self.read += 1;
            self.cache.put(p);
        }
        any
    }

    fn write_all(&mut self, now: Instant) {
        while self.to_write > self.written && self.frct.can_send() {
            let len = 12 + (self.written as usize * 7919) % self.size;
            if self.fragment < usize::MAX {
                for (part, bytes) in fragments(&message(self.written, len), self.fragment) {
                    self.frct.push(now, PacketBuf::copy_of(bytes), part);
                }
                self.written += 1;
                continue;
            }
            let mut p = self.cache.take(len);
            p.extend_from_slice(&self.written.to_be_bytes()).unwrap();
            p.extend_from_slice(&(len as u32).to_be_bytes()).unwrap();
            p.append(len - 12).unwrap();
            self.frct.send(now, p).unwrap();
            self.written += 1;
        }
    }
}

/// The message number `n`, of `len` bytes.
fn message(n: u64, len: usize) -> Vec<u8> {
    let mut message = n.to_be_bytes().to_vec();
    message.extend_from_slice(&(len as u32).to_be_bytes());
    message.extend((12..len).map(|i| (n as usize * 31 + i * 7 + i / 251) as u8));
    message
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) sides: [Side; 2],
    /// `links[i]` leads away from side `i`.
    pub(super) links: [Link; 2],
    pub(super) chance: Chance,
    queue: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    count: u64,
    pub(super) carried: [u64; 2],
    /// Packets seen, as (sender, time, bytes), if wanted.
    pub(super) log: Option<Vec<(usize, Instant, Vec<u8>)>>,
}

impl Net {
    pub(super) fn new(cfg: &Config, link: &Link, seed: u64) -> Self {
        Self::with_isns(cfg, link, seed, [0x1000, 0x8000_2000])
    }

    pub(super) fn with_isns(cfg: &Config, link: &Link, seed: u64, isns: [u32; 2]) -> Self {
        Self {
            now: Instant::from_millis(1),
            sides: isns.map(|isn| Side::new(cfg, isn)),
            links: [link.clone(), link.clone()],
            chance: Chance(seed),
            queue: BTreeMap::new(),
            count: 0,
            carried: [0; 2],
            log: None,
        }
    }

    fn put(&mut self, from: usize, at: Instant, bytes: Vec<u8>) {
        self.count += 1;
        self.queue.insert((at, self.count), (1 - from, bytes));
    }

    fn carry(&mut self, from: usize, bytes: Vec<u8>) {
        let now = self.now;
        self.carried[from] += 1;
        if let Some(log) = &mut self.log {
            log.push((from, now, bytes.clone()));
        }
        let link = self.links[from].clone();
        if link.broken.is_some_and(|(a, b)| a <= now && now < b) || bytes.len() > link.mtu {
            return;
        }
        let mut at = now;
        if let Some((rate, room)) = link.rate {
            let side = &mut self.sides[from];
            side.waiting.retain(|t| *t > now);
            if side.waiting.len() >= room {
                return;
            }
            let takes = Duration::from_nanos((bytes.len() as u64 + 60) * 8_000_000_000 / rate);
            side.busy_until = side.busy_until.max(now) + takes;
            at = side.busy_until;
            side.waiting.push(at);
        }
        if self.chance.hit(link.loss) {
            return;
        }
        at += link.latency;
        at += Duration::from_nanos(self.chance.below(link.jitter.as_nanos() as u64 + 1));
        if self.chance.hit(link.reorder) {
            at += Duration::from_nanos(self.chance.below(3 * link.latency.as_nanos() as u64 + 1));
        }
        if self.chance.hit(link.duplicate) {
            let again = at + Duration::from_nanos(self.chance.below(2 * link.latency.as_nanos() as u64 + 1));
            self.put(from, again, bytes.clone());
        }
        if self.chance.hit(link.corrupt) {
            return;
        }
        self.put(from, at, bytes);
    }

    /// Lets side `i` write, send and read until it has nothing more to do.
    pub(super) fn pump(&mut self, i: usize) {
        loop {
            let now = self.now;
            self.sides[i].write_all(now);
            while let Some(t) = self.sides[i].frct.poll_transmit(now) {
                let mut bytes = t.header().to_vec();
                bytes.extend_from_slice(t.payload());
                self.carry(i, bytes);
            }
            let read = self.sides[i].read_all(now);
            let side = &self.sides[i];
            let more = side.to_write > side.written && side.frct.can_send();
            if !read && !more {
                return;
            }
        }
    }

    /// When something happens next.
    pub(super) fn next_at(&self) -> Instant {
        let packet = self.queue.first_key_value().map(|(k, _)| k.0);
        let timers = self.sides.iter().filter_map(|s| s.frct.next_deadline());
        packet.into_iter().chain(timers).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// One step: to the next packet or deadline. `false` if nothing will ever happen again.
    pub(super) fn step(&mut self) -> bool {
        let packet = self.queue.first_key_value().map(|(k, _)| k.0);
        let timer = self.sides.iter().filter_map(|s| s.frct.next_deadline()).min();
        let Some(next) = packet.into_iter().chain(timer).min() else { return false };
        self.now = self.now.max(next);
        let now = self.now;
        if packet == Some(next) {
            let (_, (to, bytes)) = self.queue.pop_first().unwrap();
            let side = &mut self.sides[to];
            side.frct.handle_packet(now, PacketBuf::copy_of(&bytes), &mut side.cache);
            self.pump(to);
            return true;
        }
        for i in 0..2 {
            if self.sides[i].frct.next_deadline().is_some_and(|t| t <= now) {
                let side = &mut self.sides[i];
                side.frct.handle_timeout(now, &mut side.cache);
                self.pump(i);
                assert!(self.sides[i].frct.next_deadline().is_none_or(|t| t > now), "a timer that does not move");
            }
        }
        true
    }

    /// Runs until `done` or for `limit` of virtual time; whether it was done.
    pub(super) fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        self.pump(0);
        self.pump(1);
        while !done(self) {
            if self.now >= end || !self.step() {
                return done(self);
            }
        }
        true
    }

    /// Both directions have brought everything, and both ends know it.
    pub(super) fn complete(&self) -> bool {
        (0..2).all(|i| self.sides[1 - i].read == self.sides[i].to_write && self.sides[i].frct.is_drained())
    }
}
