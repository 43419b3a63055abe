//! Packets from below that have not been through the pipeline yet, and whose turn it is to take them there.
//!
//! Producers take this lock and no other, so that they never wait for a thread that reads, writes or encrypts.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use crate::base::backlog::{Account, Backlog, Meter};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::crypto::protect::Protection;
use crate::flow::pipeline::Pipeline;

/// Packets that wait to be serviced; more are dropped and counted. A packet counts for each [`UNIT`] of its memory.
const LIMIT: usize = 2048;
/// Length from which the delivering thread helps, and ports that can push back do.
pub(super) const BUSY: usize = 512;
/// Memory that a packet in a buffer from the pool holds, about, bytes: the inbox is bounded by what [`LIMIT`] of these do.
const UNIT: usize = 2304;
/// Memory that packets may hold which wait for a thread and not for a reader, whatever the peer and the stack hold: it is for
/// a moment, and what comes in a burst would be lost otherwise. Bytes.
const MOMENT: usize = 32 * 1024;
/// The longest packet that says that this flow is over, or one of a layer over it, whose header is no longer than this one's
/// protection, bytes.
const LAST_WORD: usize = 2 * Pipeline::LAST_WORD + Protection::OVERHEAD;
/// Packets that wait while the flow is still being allocated.
const PENDING: usize = 64;

/// The party responsible for the packets in the inbox. As long as there are any, and the flow is allocated, there is
/// always exactly one.
///
/// ```text
///            packets, nobody expected: the deliverer            last burst taken
///      ┌────────────────────────────────────────────▶ Serviced ─────────────────┐
///      │    packets, a user waits or is expected                ▲  │ budget over │
///    Idle ──────────────────────────────────▶ Left ─────────────┘◀─┘             │
///      ▲ ▲                                     │    the tick, or the deliverer   │
///      │ └─────── a user took all in ──────────┘    of a busy inbox              │
///      │                                                                         │
///      └──────────────────────────────────────── Held ◀── no room above ─────────┤
///              a user took all in, because there was room again                  │
///      ◀─────────────────────────────────────────────────────────────────────────┘
/// ```
///
/// *Taking in*, that is moving packets through the pipeline, needs the endpoint's lock only, and any holder of it may
/// do it. The turn says who has to. The only work that is done in a turn and never besides is delivery to a sink, which
/// therefore comes in order and never twice at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// No party, for there are no packets.
    Idle,
    /// A thread that looks again before it leaves; at something that is no packet as well if `again` says so.
    Serviced { again: bool },
    /// A user who has been woken or is about to come back, and the tick that is armed, if the user does not.
    Left,
    /// A reader: the application's queue is full, so there is data to read, and a read that finds it empty takes in.
    Held,
}

/// Duty of a thread that has put packets into the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// None: another party is responsible already.
    Nothing,
    /// Service: the turn is taken.
    Service,
    /// Wake a user who waits, and arm the tick.
    Call,
    /// Arm the tick.
    Leave,
}

/// Next step of a thread that services, after a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one.
    Burst,
    /// It is free.
    Leave,
    /// It is free when it has armed the tick.
    Tick,
}

/// Purpose of taking packets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    /// The thread that has the turn; whether it delivers to a sink. If not, the turn is over with the last packet.
    Turn { delivers: bool },
    /// A holder of the endpoint's lock.
    Passing,
}

/// Result of taking packets out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Packets.
    pub(super) n: usize,
    /// The tick has to be armed.
    pub(super) tick: bool,
    /// The turn is over.
    pub(super) over: bool,
}

pub(super) struct Inbox {
    packets: Backlog,
    /// Memory that the packets hold, charged to the peer and the stack.
    account: Account,
    turn: Turn,
    limit: usize,
    /// Packets may be taken in.
    open: bool,
    /// Packets have to be serviced as they arrive.
    eager: bool,
    /// A reader or writer may be waiting. Never `false` while one is.
    awaited: bool,
    /// The last burst found no room above.
    full: bool,
    /// Time of the last arrival.
    pub(super) delivered: Instant,
    /// Dropped because the inbox was full.
    pub(super) overflow: u64,
}

impl Inbox {
    pub(super) fn new(eager: bool) -> Self {
        Self {
            packets: Backlog::default(),
            account: Account::default(),
            turn: Turn::Idle,
            limit: PENDING,
            open: false,
            eager,
            awaited: false,
            full: false,
            delivered: Instant::ZERO,
            overflow: 0,
        }
    }

    /// Packets, or what many large ones count as.
    pub(super) fn len(&self) -> usize {
        self.packets.len().max(self.packets.bytes() / UNIT)
    }

    /// Takes packets from below and says what comes next; `expected` is whether a user is about to come.
    pub(super) fn put(
        &mut self,
        now: Instant,
        pkts: impl IntoIterator<Item = PacketBuf>,
        expected: impl FnOnce() -> bool,
    ) -> Duty {
        let (most, most_bytes) = (self.limit, self.limit * UNIT);
        for pkt in pkts {
            let held = self.packets.bytes();
            // Three bounds: number and memory for this flow, memory for its peer and the stack. The first packet over a
            // limit of bytes is still taken, so that large packets are not refused permanently; where there is no memory at
            // all, the first of those that wait for a reader.
            let waits = held.saturating_sub(if self.turn == Turn::Held { 0 } else { MOMENT });
            if self.packets.len() < most && held < most_bytes && !self.account.is_full(waits) {
                self.packets.push_back(pkt);
            } else {
                self.overflow += 1;
                self.keep_last(pkt);
            }
        }
        self.account.set(self.packets.bytes());
        // The moment of arrival, not of reading: a slow application does not make the peer look silent.
        self.delivered = now;
        if self.packets.is_empty() || !self.open {
            return Duty::Nothing;
        }
        // A full inbox is taken over even from a user that is expected: the deliverer would only drop what comes next.
        let busy = self.eager || self.len() >= BUSY;
        match self.turn {
            Turn::Idle | Turn::Left if busy => self.serve(),
            // A waiting user services the flow itself, so that a ping-pong costs one wake-up and decryption runs on the
            // reader's core.
            Turn::Idle if self.awaited => {
                self.turn = Turn::Left;
                Duty::Call
            }
            // A user that was here a moment ago comes back without being woken; waking costs more than the wait.
            Turn::Idle if expected() => {
                self.turn = Turn::Left;
                Duty::Leave
            }
            Turn::Idle => self.serve(),
            Turn::Left | Turn::Held | Turn::Serviced { .. } => Duty::Nothing,
        }
    }

    /// Keeps a packet for which there is no room in place of the one that came before it, if it is short enough to say that
    /// the flow is over, for an end that is gone by now and repeats nothing, and unless that makes more of memory.
    fn keep_last(&mut self, pkt: PacketBuf) {
        if pkt.len() > LAST_WORD {
            return;
        }
        let held = self.packets.bytes();
        let Some(before) = self.packets.pop_back() else { return };
        self.packets.push_back(pkt);
        if self.packets.bytes() > held {
            self.packets.pop_back();
            self.packets.push_back(before);
        }
    }

    fn serve(&mut self) -> Duty {
        self.turn = Turn::Serviced { again: false };
        Duty::Service
    }

    /// No user waited after all: the duty for packets that were left to one.
    pub(super) fn nobody_waits(&mut self, expected: bool) -> Duty {
        self.awaited = false;
        match self.turn {
            Turn::Left if !expected && !self.packets.is_empty() => self.serve(),
            _ => Duty::Nothing,
        }
    }

    /// No user waits any more: packets that come are not left to a waiter.
    pub(super) fn all_called(&mut self) {
        self.awaited = false;
    }

    /// Notes that a user is about to wait. `false`, and nothing noted, if there are packets that may be taken in first, as
    /// far as there is `room` above.
    pub(super) fn await_packets(&mut self, room: bool) -> bool {
        // What only a reader can make room for is no reason for a writer or a closer to come back at once.
        let nothing = self.packets.is_empty() || !self.open || !room;
        self.awaited |= nothing;
        nothing
    }

    /// The flow is allocated.
    pub(super) fn open(&mut self, meter: Option<Arc<Meter>>) {
        self.open = true;
        self.limit = LIMIT;
        self.account = Account::new(meter);
    }

    /// The flow is over: takes no more packets.
    pub(super) fn close(&mut self) {
        self.open = false;
        self.limit = 0;
    }

    /// Gives back the packets that wait.
    pub(super) fn empty(&mut self) -> VecDeque<PacketBuf> {
        // A thread that services keeps its turn, and gives it back when it finds nothing.
        if matches!(self.turn, Turn::Left | Turn::Held) {
            self.turn = Turn::Idle;
        }
        self.account.settle(0);
        self.packets.take()
    }

    /// Sets whether packets are serviced as they arrive.
    pub(super) fn set_eager(&mut self, eager: bool) {
        self.eager = eager;
    }

    /// Takes the turn, if there are packets and no party has it.
    pub(super) fn claim(&mut self) -> bool {
        let free = self.open && !self.packets.is_empty() && !matches!(self.turn, Turn::Serviced { .. });
        if free {
            self.turn = Turn::Serviced { again: false };
        }
        free
    }

    /// Takes the turn if the packets were left to a user, who has not come.
    pub(super) fn claim_left(&mut self) -> bool {
        let left = self.open && self.turn == Turn::Left;
        if left {
            self.turn = Turn::Serviced { again: false };
        }
        left
    }

    /// Takes the turn even if there are no packets, or has its holder look again.
    pub(super) fn claim_or_ask(&mut self) -> bool {
        let free = self.open && !matches!(self.turn, Turn::Serviced { .. });
        if self.open {
            // Something other than a packet has to be looked at, so the thread that services must not end with the last
            // packet.
            self.turn = Turn::Serviced { again: !free };
        }
        free
    }

    /// Moves up to `limit` packets to `to`. What a thread that takes them [in passing](Taker::Passing) leaves is left to
    /// the tick.
    pub(super) fn take(&mut self, limit: usize, by: Taker, to: &mut VecDeque<PacketBuf>) -> Taken {
        let n = self.packets.move_to(limit, to);
        self.account.set(self.packets.bytes());
        let all = self.packets.is_empty();
        self.full = n == 0 && !all;
        let mut taken = Taken { n, tick: false, over: false };
        match (by, self.turn) {
            // In the critical section in which the last packet is taken: a packet that comes next finds the turn free,
            // and none is left without a responsible party. With a sink the delivery is still to come, so the turn goes
            // on.
            (Taker::Turn { delivers: false }, Turn::Serviced { again: false }) if all => {
                self.turn = Turn::Idle;
                taken.over = true;
            }
            (Taker::Turn { .. }, _) | (Taker::Passing, Turn::Serviced { .. }) => {}
            (Taker::Passing, _) if all => self.turn = Turn::Idle,
            (Taker::Passing, before) => {
                self.turn = Turn::Left;
                taken.tick = before != Turn::Left;
            }
        }
        taken
    }

    /// The thread whose turn it was has panicked: the packets are left to the tick, which has to be armed.
    pub(super) fn leave(&mut self) {
        if matches!(self.turn, Turn::Serviced { .. }) {
            self.turn = Turn::Left;
        }
    }

    /// Next step of the thread whose turn it is, after a burst.
    pub(super) fn after_burst(&mut self, may_go_on: bool) -> Next {
        let again = matches!(self.turn, Turn::Serviced { again: true });
        let more = self.open && (again || (!self.packets.is_empty() && !self.full));
        match more {
            true if may_go_on => {
                self.turn = Turn::Serviced { again: false };
                Next::Burst
            }
            true => {
                self.turn = Turn::Left;
                Next::Tick
            }
            false => {
                // Packets without room above wait for a read, which takes them in. Servicing on would only spin.
                self.turn = if self.packets.is_empty() { Turn::Idle } else { Turn::Held };
                Next::Leave
            }
        }
    }

    /// Gives spare memory back.
    pub(super) fn shrink(&mut self) {
        if self.packets.is_empty() {
            self.packets.shrink();
        }
    }

    /// Charges what is held, and nothing in advance.
    pub(super) fn settle(&mut self) {
        self.account.settle(self.packets.bytes());
    }
}
