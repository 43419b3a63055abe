//! A model of the C reference as a peer, with its faults, after the description of its behaviour.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

const SECOND: u64 = 1_000_000_000;
const TICK: u64 = 5_000_000;
const RING: u32 = 256;

fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

struct Unacked {
    seq: u32,
    bytes: Vec<u8>,
    first: u64,
    due: u64,
}

/// One end of the reference. Times are nanoseconds.
pub(super) struct Reference {
    reliable: bool,
    inactive: u64,
    snd_lwe: u32,
    snd_seq: u32,
    pub(super) snd_rwe: u32,
    snd_act: Option<u64>,
    rcv_act: Option<u64>,
    rcv_lwe: u32,
    pub(super) rcv_rwe: u32,
    rcv_seq: u32,
    ring: Vec<Option<Vec<u8>>>,
    srtt: i64,
    mdev: i64,
    rto: u64,
    probe: Option<(u32, u64)>,
    unacked: Vec<Unacked>,
    acks: Vec<u64>,
    /// Packets that arrived and were not taken out of the receive ring yet.
    pub(super) arrived: VecDeque<Vec<u8>>,
    pub(super) out: VecDeque<Vec<u8>>,
    random: u64,
    next_tick: u64,
    /// On an encrypted flow its retransmissions do not survive; nor do they without a checksum that was asked for.
    pub(super) resends_are_garbage: bool,
    /// A quarter of its retransmissions is what it has received last, cut or filled to length: the buffer was used again.
    pub(super) resends_are_stale: bool,
    last_received: Vec<u8>,
    pub(super) resent: u64,
    pub(super) down: bool,
    closing: bool,
}

impl Reference {
    pub(super) fn new(reliable: bool, random: u64) -> Self {
        Self {
            reliable,
            inactive: 131,
            snd_lwe: 0,
            snd_seq: 0,
            snd_rwe: 64,
            snd_act: None,
            rcv_act: None,
            rcv_lwe: 0,
            rcv_rwe: 0,
            rcv_seq: 0,
            ring: vec![None; RING as usize],
            srtt: 0,
            mdev: 10_000_000,
            rto: SECOND,
            probe: None,
            unacked: Vec::new(),
            acks: Vec::new(),
            arrived: VecDeque::new(),
            out: VecDeque::new(),
            random,
            next_tick: 0,
            resends_are_garbage: false,
            resends_are_stale: false,
            last_received: Vec::new(),
            resent: 0,
            down: false,
            closing: false,
        }
    }

    fn silent(&self, act: Option<u64>, now: u64) -> bool {
        act.is_none_or(|t| now / SECOND - t / SECOND > self.inactive)
    }

    fn packet(flags: u8, window: u32, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
        let mut p = ((u32::from(flags) << 24) | (window & 0xff_ffff)).to_be_bytes().to_vec();
        p.extend(seq.to_be_bytes());
        p.extend(ack.to_be_bytes());
        p.extend(data);
        p
    }

    /// Writes without blocking; `false` is EAGAIN. Before the first window ever it never asks for one.
    pub(super) fn write(&mut self, now: u64, data: &[u8]) -> bool {
        if !before(self.snd_seq, self.snd_rwe) {
            return false;
        }
        self.tick(now);
        let mut flags = 1;
        if self.snd_seq == self.snd_lwe {
            flags |= 2;
        }
        if self.silent(self.snd_act, now) {
            self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            self.snd_seq = (self.random >> 32) as u32;
            self.snd_lwe = self.snd_seq;
            self.snd_rwe = self.snd_lwe.wrapping_add(64);
        }
        let (mut window, mut ack) = (0, 0);
        if self.rcv_act.is_some_and(|t| now / SECOND - t / SECOND < self.inactive) {
            flags |= 8;
            window = self.rcv_rwe;
        }
        if self.reliable {
            self.probe.get_or_insert((self.snd_seq, now));
            if self.rcv_act.is_some_and(|t| now / SECOND - t / SECOND <= 10) {
                flags |= 4;
                ack = self.rcv_lwe;
                self.rcv_seq = self.rcv_lwe;
            }
        } else {
            self.snd_lwe = self.snd_lwe.wrapping_add(1);
        }
        let bytes = Self::packet(flags, window, self.snd_seq, ack, data);
        if self.reliable {
            let due = now + (self.rto >> 20 << 20);
            self.unacked.push(Unacked { seq: self.snd_seq, bytes: bytes.clone(), first: now, due });
        }
        self.out.push_back(bytes);
        self.snd_seq = self.snd_seq.wrapping_add(1);
        self.snd_act = Some(now);
        true
    }

    pub(super) fn asks(&mut self) {
        self.out.push_back(Self::packet(0x10, 0, 0, 0, &[]));
    }

    /// One packet of user data, taking packets from the ring until there is one: the reference works as its
    /// application reads.
    pub(super) fn read(&mut self, now: u64) -> Option<Vec<u8>> {
        loop {
            if let Some(p) = self.ring[(self.rcv_lwe % RING) as usize].take() {
                self.rcv_lwe = self.rcv_lwe.wrapping_add(1);
                self.rcv_rwe = self.rcv_rwe.wrapping_add(1);
                return Some(p);
            }
            let p = self.arrived.pop_front()?;
            self.receive(now, &p);
        }
    }

    fn receive(&mut self, now: u64, p: &[u8]) {
        self.last_received = p.to_vec();
        let word = |i: usize| u32::from_be_bytes(p[i..i + 4].try_into().unwrap());
        let (flags, window, seq, ack) = (p[0], word(0) & 0xff_ffff, word(4), word(8));
        if self.silent(self.rcv_act, now) {
            if flags & 2 != 0 {
                self.rcv_lwe = seq;
                self.rcv_rwe = seq.wrapping_add(RING);
                self.rcv_seq = seq;
            } else if flags & 1 != 0 {
                return self.pure_ack(now);
            }
        }
        self.rcv_act = Some(now);
        if flags & 0x10 != 0 {
            self.out.push_back(Self::packet(8, self.rcv_rwe, 0, 0, &[]));
            return;
        }
        if flags & 4 != 0 {
            if before(self.snd_lwe, ack) {
                self.snd_lwe = ack;
            }
            if let Some((probe, at)) = self.probe
                && before(probe, ack)
            {
                self.measure((now - at) as i64);
                self.probe = None;
            }
        }
        if flags & 8 != 0 {
            let mut r = window | (self.snd_rwe & 0xff00_0000);
            if before(r, self.snd_rwe) && self.snd_rwe.wrapping_sub(r) > 0x7f_ffff {
                r = r.wrapping_add(0x0100_0000);
            }
            self.snd_rwe = r;
        }
        if flags & 1 != 0 && !self.take(now, seq, &p[12..]) {
            return;
        }
        self.pure_ack(now);
    }

    /// Stores data; `true` when the packet ends in the drop path.
    fn take(&mut self, now: u64, seq: u32, data: &[u8]) -> bool {
        let slot = (seq % RING) as usize;
        if before(seq, self.rcv_lwe) {
            self.rcv_seq = seq;
            return true;
        }
        if self.reliable {
            let fits = before(seq, self.rcv_rwe) && before(seq, self.rcv_lwe.wrapping_add(RING));
            if !fits || self.ring[slot].is_some() {
                return true;
            }
            self.acks.push(now + 10_000_000);
        } else {
            self.rcv_lwe = seq;
        }
        self.ring[slot] = Some(data.to_vec());
        false
    }

    fn measure(&mut self, m: i64) {
        if self.srtt == 0 {
            self.srtt = m;
            self.mdev = m >> 1;
        } else {
            let d = m - self.srtt;
            self.srtt += d >> 3;
            let e = (d.abs() - self.mdev) >> 2;
            self.mdev += if e < 0 { e >> 3 } else { e };
        }
        self.rto = (self.srtt.max(1000) + (self.mdev.max(100) << 2)).max(250_000) as u64;
    }

    fn pure_ack(&mut self, now: u64) {
        let news = before(self.rcv_seq, self.rcv_lwe);
        let fresh = self.rcv_act.is_some_and(|t| now - t <= 10 * SECOND);
        let quiet = self.snd_act.is_none_or(|t| now - t >= TICK);
        if news && fresh && quiet {
            self.out.push_back(Self::packet(0x0c, self.rcv_rwe, 0, self.rcv_lwe, &[]));
            self.rcv_seq = self.rcv_lwe;
        }
    }

    /// The application closes: from now on the last acknowledgement is repeated.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// The timer wheel: does something every 5 ms.
    pub(super) fn tick(&mut self, now: u64) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        if self.closing && self.rcv_lwe != self.rcv_seq {
            self.out.push_back(Self::packet(4, 0, 0, self.rcv_lwe, &[]));
        }
        let due = self.acks.iter().filter(|t| **t <= now).count();
        self.acks.retain(|t| *t > now);
        if due > 0 {
            self.pure_ack(now);
        }
        let mut all = core::mem::take(&mut self.unacked);
        all.retain(|u| !before(u.seq, self.snd_lwe));
        for u in &mut all {
            if u.due > now {
                continue;
            }
            if now - u.first > 120 * SECOND {
                self.down = true;
            }
            if self.probe.is_some_and(|(seq, _)| seq == u.seq) {
                self.rto *= 2;
                self.probe = None;
            }
            u.due = now + self.rto;
            self.resent += 1;
            let mut bytes = u.bytes.clone();
            let unlucky = self.resent.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 == 0;
            if self.resends_are_stale && unlucky && self.last_received.len() >= 12 {
                let length = bytes.len();
                bytes = self.last_received.clone();
                bytes.resize(length, 0);
            }
            bytes[8..12].copy_from_slice(&self.rcv_lwe.to_be_bytes());
            if !self.resends_are_garbage {
                self.out.push_back(bytes);
            }
        }
        self.unacked = all;
    }
}
