//! What waits in front of an N-1 flow.

use core::time::Duration;

use crate::base::backlog::{Account, SNUG_FROM};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::Outgoing;
use crate::forward::sched::{Gate, Limits, Scheduler};
use crate::types::qos::QosCube;

/// Packets for which the flow's window has no room are tried again when it says that it has some. So much later they are in
/// any case.
const STUCK: Duration = Duration::from_millis(250);

/// Memory that may be held in front of each neighbour, whatever programs of the stack hold, bytes: others rely on what is
/// passed on.
const FLOOR: usize = 32 * 1024;

/// Packets in front of the flow, while the device below is busy.
pub(super) struct Queue {
    pub(super) packets: Scheduler<PacketBuf>,
    gate: Gate,
    /// Nothing is made to wait for the device.
    pub(super) hasty: bool,
    /// Packets whose turn it was, but for which the flow's window had no room.
    pub(super) stuck: Outgoing,
    /// How often the flow has said that there is room again.
    pub(super) told: u64,
    /// Memory that all of them hold, bytes, charged to the neighbour, if it has asked for the flow, and the stack.
    bytes: usize,
    account: Account,
}

impl Queue {
    pub(super) fn new(limits: Limits, account: Account) -> Self {
        let packets = Scheduler::new(limits);
        Self { packets, gate: Gate::new(), hasty: false, stuck: Outgoing::new(), told: 0, bytes: 0, account }
    }

    /// Looks at the device, in which `ahead` packets wait: so many more may go there now.
    pub(super) fn look(&mut self, now: Instant, ahead: usize) -> usize {
        if self.hasty { usize::MAX } else { self.gate.look(now, ahead) }
    }

    /// Packets that may wait in the device.
    pub(super) fn limit(&self) -> usize {
        if self.hasty { usize::MAX } else { self.gate.limit() }
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len() + self.stuck.len()
    }

    /// Keeps a packet. As an error, one that is dropped: this one, or for voice an older one.
    pub(super) fn keep(&mut self, cube: QosCube, packet: PacketBuf) -> Result<(), PacketBuf> {
        if self.account.is_full(self.bytes.saturating_sub(FLOOR)) {
            return Err(packet);
        }
        self.bytes += packet.memory();
        let kept = self.packets.enqueue(cube, packet.len(), packet);
        if let Err(dropped) = &kept {
            self.bytes = self.bytes.saturating_sub(dropped.memory());
        }
        kept
    }

    /// Takes the next packet.
    pub(super) fn take(&mut self) -> Option<PacketBuf> {
        let (_, packet) = self.packets.dequeue()?;
        self.bytes = self.bytes.saturating_sub(packet.memory());
        Some(packet)
    }

    /// Takes the packets that the flow had no room for.
    pub(super) fn take_stuck(&mut self) -> Outgoing {
        let memory: usize = self.stuck.iter().map(PacketBuf::memory).sum();
        self.bytes = self.bytes.saturating_sub(memory);
        core::mem::take(&mut self.stuck)
    }

    /// Keeps the packets that the flow has no room for.
    pub(super) fn put_stuck(&mut self, pkts: &mut Outgoing) {
        self.bytes += pkts.iter().map(PacketBuf::memory).sum::<usize>();
        self.stuck.append(pkts);
    }

    /// Returns `true` if what comes now will wait for long, and in small pieces of memory: the neighbour takes no more for
    /// now, and much waits already. A device that is only slower than others is given what it gets without a copy.
    pub(super) fn is_slow(&self) -> bool {
        !self.stuck.is_empty() && self.packets.len() >= SNUG_FROM
    }

    pub(super) fn charge(&mut self) {
        if self.len() > 0 {
            self.account.set(self.bytes);
        } else {
            self.account.settle(0);
        }
    }

    /// When to look again, if nobody says anything before.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        if self.stuck.is_empty() { self.gate.deadline() } else { now + STUCK }
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::*;
    use crate::base::backlog::Meter;
    use crate::base::rng::Rng;
    use crate::base::time::{Clock, ManualClock};

    fn meter(limit: usize) -> Arc<Meter> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(0));
        Meter::whole(limit, &clock)
    }

    /// Programs of the stack have filled its memory: what is passed on for others waits all the same, up to the floor.
    #[test]
    fn full_memory_leaves_each_neighbour_a_floor() {
        let memory = meter(1 << 20);
        let mut programs = Account::new(Some(Arc::clone(&memory)));
        programs.set(1 << 20);
        assert!(memory.is_full());
        let mut queue = Queue::new(Limits::default(), Account::new(Some(memory)));
        let mut kept = 0;
        loop {
            let packet = PacketBuf::copy_of(&[7; 1000]);
            let size = packet.memory();
            if queue.keep(QosCube::BestEffort, packet).is_err() {
                break;
            }
            queue.charge();
            kept += size;
        }
        assert!((FLOOR..FLOOR + 2048).contains(&kept), "{kept} bytes");
    }

    /// What is charged is what waits, whatever is kept, refused, taken, put back and taken again.
    #[test]
    fn memory_is_that_of_the_packets() {
        let mut rng = Rng::from_seed([1; 32]);
        let limits = Limits { best_effort: 20, video: 10, voice: 5 };
        let mut queue = Queue::new(limits, Account::new(None));
        let cubes = [QosCube::BestEffort, QosCube::Video, QosCube::Voice];
        for _ in 0..10_000 {
            match rng.below(4) {
                0 | 1 => {
                    let packet = PacketBuf::copy_of(&alloc::vec![7; rng.below(3000) as usize]);
                    let _ = queue.keep(cubes[rng.below(3) as usize], packet);
                }
                2 => {
                    if let Some(packet) = queue.take() {
                        let mut pkts = Outgoing::new();
                        pkts.push(packet);
                        queue.put_stuck(&mut pkts);
                    }
                }
                _ => drop(queue.take_stuck()),
            }
            if queue.len() == 0 {
                assert_eq!(queue.bytes, 0);
            }
        }
        drop(queue.take_stuck());
        while queue.take().is_some() {}
        assert_eq!(queue.bytes, 0);
    }
}
