//! Model of a reference as sender and receiver, by the specification.

/// A receiver of the reference's: it tells levels as [`Receiver`](super::Receiver) does, but without a ration.
#[derive(Default)]
pub(super) struct ReferenceReceiver {
    level: u16,
    marked: u32,
}

impl ReferenceReceiver {
    /// A packet with this mark was delivered. Returns what is told.
    pub(super) fn delivered(&mut self, ecn: u8) -> Option<u16> {
        if ecn == 0 {
            let was = self.level;
            self.level >>= 2;
            return (was != 0 && self.level == 0).then_some(0);
        }
        let told = if self.level == 0 {
            (self.level, self.marked) = (ecn.into(), 0);
            true
        } else {
            self.level = self.level - (self.level >> 5) + u16::from(ecn);
            self.marked += 1;
            self.marked % 8 == 2
        };
        told.then_some(self.level)
    }
}

/// A sender of the reference's: a limit of bytes per slot of time.
pub(super) struct ReferenceSender {
    level: u64,
    since_update: u32,
    bytes: u64,
    packets: u64,
    limit: u64,
    slow_start: bool,
    /// The slot's length is 2 to the power of this, nanoseconds.
    shift: u32,
    step: u64,
    slot: u64,
}

impl ReferenceSender {
    pub(super) fn new(now: u64) -> Self {
        Self {
            level: 0,
            since_update: 0,
            bytes: 0,
            packets: 0,
            limit: 65_536,
            slow_start: true,
            shift: 24,
            step: 65_536,
            slot: now >> 24,
        }
    }

    pub(super) fn update(&mut self, level: u16) {
        self.level = level.min(8191).into();
        self.since_update = 0;
        self.slow_start = false;
    }

    /// Pause before a packet of `len` bytes, nanoseconds.
    pub(super) fn pause(&mut self, now: u64, len: u64) -> u64 {
        let slot = now >> self.shift;
        self.since_update += 1;
        self.packets += 1;
        self.bytes += len;
        if self.since_update > 32 {
            self.level = 0;
        }
        if slot > self.slot {
            self.slot = slot;
            self.adjust();
            if !self.rescale() {
                (self.bytes, self.packets) = (0, 0);
            }
        }
        if self.bytes <= self.limit {
            return 0;
        }
        ((self.slot + 1) << self.shift).saturating_sub(now).min(1_000_000_000)
    }

    fn adjust(&mut self) {
        if self.slow_start {
            if self.bytes > self.limit {
                self.limit *= 2;
            }
        } else if self.level != 0 {
            self.limit -= (self.limit * self.level) >> 13;
        } else {
            self.limit = self.bytes + self.step;
        }
    }

    /// Keeps 8 to 64 packets in a slot. Returns whether the count carries on.
    fn rescale(&mut self) -> bool {
        let mut carry = false;
        if self.packets < 8 {
            let mut by = 0;
            while self.packets << by < 8 {
                by += 1;
            }
            self.shift += by;
            self.slot >>= by;
            if self.slot & ((1 << by) - 1) == 0 {
                carry = true;
                self.slot += 1;
            }
            self.limit <<= by;
            self.step <<= by;
        } else if self.packets > 64 {
            let mut by = 0;
            while self.packets >> by > 64 {
                by += 1;
            }
            self.shift -= by;
            self.slot <<= by;
            self.limit >>= by;
            self.step >>= by;
        }
        carry
    }
}

/// The specification's traces: time, length, and the pause and limit that come of it.
#[test]
fn the_model_behaves_as_specified() {
    const SLOT: u64 = 1 << 24;
    let start = 1000 * SLOT;
    let mut sender = ReferenceSender::new(start);
    let pauses: Vec<_> = (0..60).map(|n| sender.pause(start + n * 1000, 1200)).collect();
    assert_eq!((pauses[53], pauses[54]), (0, 16_723_216));
    assert_eq!((sender.pause(start + SLOT, 1200), sender.limit), (0, 131_072));

    let mut idle = ReferenceSender::new(start);
    let limits: Vec<_> = (0..6)
        .map(|n| {
            idle.pause(start + n * 100_000_000, 100);
            (idle.limit, idle.shift)
        })
        .collect();
    assert_eq!((limits[1], limits[2], limits[5]), ((262_144, 26), (2_097_152, 29), (8_388_608, 31)));
}
