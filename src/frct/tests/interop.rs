//! Flows with the model of the reference, in steps of a quarter of a millisecond.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::net::Chance;
use super::reference::Reference;
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::time::Instant;
use crate::frct::{Config, Frct};

const STEP: u64 = 250_000;

struct Mixed {
    ours: Frct,
    theirs: Reference,
    cache: BufCache,
    now: u64,
    latency: u64,
    loss: f64,
    chance: Chance,
    to_theirs: VecDeque<(u64, Vec<u8>)>,
    to_ours: VecDeque<(u64, Vec<u8>)>,
    /// Messages to write in each direction, and how many a step theirs writes.
    write: u32,
    they_write: u32,
    they_write_per_step: u32,
    /// Their application reads one message in so many nanoseconds.
    they_read_every: u64,
    they_read_at: u64,
    written: u32,
    they_wrote: u32,
    got: Vec<u32>,
    they_got: Vec<u32>,
    reading: bool,
    /// Its writer waits with a deadline; without one it never asks for the window.
    they_ask: bool,
    asked_at: u64,
}

impl Mixed {
    fn new(reliable: bool, isn: u32, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let cfg = Config { reliable, mpl: Duration::from_millis(100), ..Config::default() };
        Self {
            ours: Frct::new(cfg, isn),
            theirs: Reference::new(reliable, chance.next()),
            cache: BufCache::new(&BufPool::new(64)),
            now: 1_000_000,
            latency: 300_000,
            loss: 0.0,
            chance,
            to_theirs: VecDeque::new(),
            to_ours: VecDeque::new(),
            write: 0,
            they_write: 0,
            they_write_per_step: 1,
            they_read_every: 0,
            they_read_at: 0,
            written: 0,
            they_wrote: 0,
            got: Vec::new(),
            they_got: Vec::new(),
            reading: true,
            they_ask: true,
            asked_at: 0,
        }
    }

    fn drain(&mut self) {
        let now = Instant::from_nanos(self.now);
        loop {
            while self.written < self.write && self.ours.can_send() {
                self.ours.send(now, PacketBuf::copy_of(&self.written.to_be_bytes())).unwrap();
                self.written += 1;
            }
            while let Some(t) = self.ours.poll_transmit(now) {
                if !self.chance.hit(self.loss) {
                    self.to_theirs.push_back((self.now + self.latency, [t.header(), t.payload()].concat()));
                }
            }
            let Some(p) = self.reading.then(|| self.ours.deliver(now, &mut self.cache)).flatten() else { return };
            self.got.push(u32::from_be_bytes(p[..].try_into().unwrap()));
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let now = Instant::from_nanos(self.now);
        while self.to_ours.front().is_some_and(|p| p.0 <= self.now) {
            let (_, p) = self.to_ours.pop_front().unwrap();
            self.ours.handle_packet(now, PacketBuf::copy_of(&p), &mut self.cache);
            self.drain();
        }
        if self.ours.next_deadline().is_some_and(|t| t <= now) {
            self.ours.handle_timeout(now, &mut self.cache);
        }
        self.drain();
        while self.to_theirs.front().is_some_and(|p| p.0 <= self.now) {
            self.theirs.arrived.push_back(self.to_theirs.pop_front().unwrap().1);
        }
        while self.now >= self.they_read_at
            && let Some(p) = self.theirs.read(self.now)
        {
            self.they_read_at = self.now + self.they_read_every;
            self.they_got.push(u32::from_be_bytes(p[..].try_into().unwrap()));
        }
        for _ in 0..self.they_write_per_step {
            if self.they_wrote == self.they_write {
                break;
            }
            if self.theirs.write(self.now, &self.they_wrote.to_be_bytes()) {
                self.they_wrote += 1;
            } else {
                if self.they_ask && self.now - self.asked_at > 100_000_000 {
                    self.asked_at = self.now;
                    self.theirs.asks();
                }
                break;
            }
        }
        self.theirs.tick(self.now);
        while let Some(p) = self.theirs.out.pop_front() {
            if !self.chance.hit(self.loss) {
                self.to_ours.push_back((self.now + self.latency, p));
            }
        }
    }

    /// Runs for `millis`, or until everything has arrived both ways; milliseconds taken.
    fn run(&mut self, millis: u64) -> Option<u64> {
        let start = self.now;
        while self.now < start + millis * 1_000_000 {
            self.step();
            let all = self.they_got.len() as u32 == self.write && self.got.len() as u32 == self.they_write;
            if all && self.ours.is_drained() {
                return Some((self.now - start) / 1_000_000);
            }
        }
        None
    }

    fn check(&self) {
        assert!(self.they_got.iter().copied().eq(0..self.they_got.len() as u32), "their reader sees a prefix");
        assert!(self.got.iter().copied().eq(0..self.got.len() as u32), "our reader sees a prefix");
    }
}

/// Isns on all sides of the wraps.
const ISNS: [u32; 6] = [0, 7, 0x00ff_fff0, 0x7fff_fff0, 0x8000_1234, 0xffff_fff0];

#[test]
fn bulk_to_the_reference() {
    for isn in ISNS {
        let mut m = Mixed::new(true, isn, 1);
        m.write = 5000;
        let ms = m.run(5_000).unwrap();
        m.check();
        assert_eq!(m.ours.stats().timeouts, 0, "its acknowledgements come late, not never");
        assert!(ms < 1000, "{ms}");
    }
}

#[test]
fn bulk_from_the_reference() {
    for isn in ISNS {
        let mut m = Mixed::new(true, isn, 2);
        m.they_write = 5000;
        m.they_write_per_step = 50;
        let ms = m.run(5_000).unwrap();
        m.check();
        assert_eq!(m.theirs.resent, 0, "acknowledged before it resends");
        assert!(ms < 1000, "{ms}");
    }
}

#[test]
fn ping_pong_with_the_reference() {
    for isn in ISNS {
        for first_ours in [true, false] {
            let mut m = Mixed::new(true, isn, 3);
            for round in 0..50 {
                if first_ours {
                    m.write = round + 1;
                    assert!(m.run(100).is_some());
                }
                m.they_write = round + 1;
                assert!(m.run(100).is_some());
                m.write = round + 1;
                assert!(m.run(100).is_some());
                // Long enough for its lone acknowledgements.
                for _ in 0..200 {
                    m.step();
                }
            }
            m.check();
            assert_eq!(m.ours.stats().retransmitted, 0);
        }
    }
}

#[test]
fn its_late_first_word_is_heard() {
    // After a long one-way phase, its lone acknowledgements have told us numbers that mean nothing.
    for isn in ISNS {
        let mut m = Mixed::new(true, isn, 4);
        m.write = 200;
        assert!(m.run(2_000).is_some());
        for _ in 0..400_000 {
            m.step();
        }
        m.they_write = 100;
        assert!(m.run(2_000).is_some(), "{:?} {:?}", m.ours, m.ours.stats());
        m.write = 400;
        assert!(m.run(2_000).is_some());
        m.check();
    }
}

#[test]
fn state_is_forgotten_and_a_run_starts_anew() {
    let mut m = Mixed::new(true, 0x8000_0000, 5);
    for round in 1..4 {
        m.write = 50 * round;
        m.they_write = 50 * round;
        assert!(m.run(2_000).is_some(), "{round} {:?} {:?}", m.ours, m.ours.stats());
        m.check();
        for _ in 0..100 {
            m.step();
        }
        m.now += 140_000_000_000;
    }
}

#[test]
fn losses_towards_the_reference() {
    for (seed, (loss, limit)) in (0..12).zip([(0.01, 4_000), (0.05, 8_000), (0.2, 40_000)].into_iter().cycle()) {
        let mut m = Mixed::new(true, ISNS[seed as usize % 6], seed);
        m.loss = loss;
        m.write = 2000;
        let ms = m.run(limit);
        m.check();
        assert!(ms.is_some(), "{loss} {:?} {:?}", m.ours, m.ours.stats());
    }
}

#[test]
fn losses_in_both_directions() {
    // Its own losses it repairs ever more slowly, as the timeout doubles without a bound: that it goes on is enough.
    for (seed, (loss, limit)) in (0..12).zip([(0.01, 20_000), (0.05, 60_000)].into_iter().cycle()) {
        let mut m = Mixed::new(true, ISNS[seed as usize % 6], seed);
        m.loss = loss;
        m.write = 2000;
        m.they_write = 2000;
        m.run(limit);
        m.check();
        assert!(m.ours.is_drained(), "{loss} {:?} {:?}", m.ours, m.ours.stats());
        assert!(m.got.len() > 500, "{loss} {} {:?}", m.got.len(), m.ours.stats());
    }
}

#[test]
fn resends_that_are_garbage_stop_only_its_direction() {
    let mut m = Mixed::new(true, 9, 6);
    m.theirs.resends_are_garbage = true;
    m.loss = 0.02;
    m.write = 1000;
    m.they_write = 1000;
    assert!(m.run(20_000).is_none());
    m.check();
    assert_eq!(m.they_got.len(), 1000);
    assert!(m.ours.is_drained() && !m.ours.is_down());
}

#[test]
fn resends_that_are_our_own_packets_are_not_believed() {
    let (mut malformed, mut stray) = (0, 0);
    for seed in 0..60 {
        let mut m = Mixed::new(true, Chance(seed).next() as u32, seed);
        m.theirs.resends_are_stale = true;
        m.loss = 0.05;
        m.write = 300;
        m.they_write = 300;
        m.run(100_000);
        m.check();
        assert!(m.ours.is_drained() && m.they_got.len() == 300, "{seed} {:?} {:?}", m.ours, m.ours.stats());
        assert!(m.got.len() == 300, "{seed} {} {:?} {:?}", m.got.len(), m.ours, m.ours.stats());
        malformed += m.ours.stats().malformed;
        stray += m.ours.stats().stray;
    }
    assert!(malformed > 100 && stray > 100, "{malformed} {stray}");
}

#[test]
fn a_reader_that_takes_its_time() {
    let mut m = Mixed::new(true, 9, 7);
    m.write = 600;
    m.they_read_every = 20_000_000;
    let ms = m.run(30_000).unwrap();
    m.check();
    assert!((11_900..14_000).contains(&ms), "as fast as it reads: {ms}");
    assert!(m.ours.stats().retransmitted < 50, "{:?}", m.ours.stats());
}

#[test]
fn our_reader_stops_and_goes_on() {
    let mut m = Mixed::new(true, 9, 8);
    m.they_write = 1000;
    m.they_write_per_step = 100;
    m.reading = false;
    assert!(m.run(5_000).is_none());
    assert_eq!(m.they_wrote, 256, "the window is closed");
    assert!(m.theirs.resent < 5, "everything is acknowledged");
    m.reading = true;
    assert!(m.run(1_000).is_some());
    m.check();
}

#[test]
fn its_last_acknowledgements_are_taken_calmly() {
    for reliable in [true, false] {
        let mut m = Mixed::new(reliable, 9, 9);
        m.write = 20;
        m.run(5);
        m.theirs.close();
        m.run(3_000);
        assert_eq!(m.they_got.len(), 20);
        assert!(m.ours.stats().control_sent < 5, "{:?}", m.ours.stats());
        assert_eq!(m.ours.stats().malformed, 0);
    }
}

#[test]
fn best_effort_one_way_does_not_stall() {
    for loss in [0.0, 0.01, 0.2] {
        for isn in ISNS {
            let mut m = Mixed::new(false, isn, 10);
            m.loss = loss;
            m.write = 20_000;
            while m.written < 20_000 && m.now < 60_000_000_000 {
                m.step();
            }
            assert_eq!(m.written, 20_000, "{loss} {isn:x} {:?} {:?}", m.ours, m.ours.stats());
            assert!(m.they_got.is_sorted());
            let mut m = Mixed::new(false, isn, 11);
            m.loss = loss;
            m.they_write = 20_000;
            m.they_write_per_step = 20;
            while m.they_wrote < 20_000 && m.now < 60_000_000_000 {
                m.step();
            }
            assert_eq!(m.they_wrote, 20_000, "{loss} {isn:x}");
            assert!(m.got.is_sorted() && m.got.len() as f64 > 20_000.0 * (0.95 - loss));
        }
    }
}

#[test]
fn a_writer_that_never_asks_is_told_again() {
    for seed in 0..20 {
        for reliable in [true, false] {
            let mut m = Mixed::new(reliable, ISNS[seed as usize % 6], seed);
            m.they_write = 3_000;
            m.they_write_per_step = 200;
            m.they_ask = false;
            for round in 0..40 {
                // Nothing gets through just when the window opens again.
                m.reading = false;
                m.run(30);
                m.loss = if round % 2 == 0 { 1.0 } else { 0.1 };
                m.reading = true;
                m.run(20);
                m.loss = 0.02;
                m.run(100);
            }
            m.loss = 0.0;
            while m.they_wrote < 3_000 && m.now < 200_000_000_000 {
                m.step();
            }
            assert_eq!(m.they_wrote, 3_000, "seed {seed} {reliable} {:?} {:?}", m.ours, m.ours.stats());
        }
    }
}
