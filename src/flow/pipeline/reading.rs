//! Reads of the application.

use alloc::collections::VecDeque;

use super::Pipeline;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::{ReadError, moves, notice};

/// Treatment of a packet that is larger than the buffer it is read into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadMode {
    /// One read is one packet. A packet that does not fit is left where it is and reported
    /// ([`ReadError::TooSmall`]), so that it can be read with a larger buffer: no data is lost.
    #[default]
    Whole,
    /// The part that fits is returned, the rest by the next reads: a stream of bytes.
    Stream,
}

impl Pipeline {
    /// Returns `true` if a read would return data.
    pub(in crate::flow) fn is_readable(&self) -> bool {
        self.partial.is_some() || !self.ready.is_empty() || self.frct.as_ref().is_some_and(|f| f.can_deliver())
    }

    /// Packets that the application could read.
    pub(in crate::flow) fn rx_queue_len(&self) -> usize {
        self.ready.len()
            + usize::from(self.frct.as_ref().is_some_and(|f| f.can_deliver()))
            + usize::from(self.partial.is_some())
    }

    /// The next packet for the application, whole: a message of several fragments is put together.
    pub(in crate::flow) fn take_packet(&mut self, now: Instant) -> Option<PacketBuf> {
        if let Some(rest) = self.partial.take() {
            self.charge();
            return Some(rest);
        }
        let memory = self.memory();
        let pkt = match &mut self.frct {
            Some(frct) => {
                frct.set_memory(memory);
                frct.deliver(now, &mut self.cache)?
            }
            None => self.ready.pop_front()?,
        };
        self.counters.rx_packets += 1;
        self.counters.rx_bytes += pkt.len() as u64;
        self.charge();
        Some(pkt)
    }

    /// Passes what was taken from the inbox on to `out` as it is, if this flow does nothing with packets and nothing is in
    /// the way: what does not wait need not be counted. `false` if it does, or some packet is none for the application; then
    /// nothing has happened.
    pub(in crate::flow) fn pass_on(&mut self, now: Instant, out: &mut VecDeque<PacketBuf>) -> bool {
        let plain = self.frct.is_none() && self.protection.is_none() && !self.crc && !self.deaf;
        // Nothing may overtake what waits already.
        let next = out.is_empty() && self.ready.is_empty() && self.partial.is_none();
        let is_data = |pkt: &PacketBuf| !matches!(pkt.len(), 0 | notice::LEN | moves::LEN);
        if !plain || !next || self.work.is_empty() || !self.work.iter().all(is_data) {
            return false;
        }
        core::mem::swap(&mut self.work, out);
        let n = out.len() as u64;
        self.relaxed = false;
        self.hear(now);
        self.counters.received += n;
        self.counters.rx_packets += n;
        self.counters.rx_bytes += out.iter().map(|pkt| pkt.len() as u64).sum::<u64>();
        true
    }

    /// Moves all packets for the application to `out`.
    pub(in crate::flow) fn take_all(&mut self, now: Instant, out: &mut VecDeque<PacketBuf>) {
        if self.frct.is_none() && self.partial.is_none() {
            if self.ready.is_empty() {
                return;
            }
            self.counters.rx_packets += self.ready.len() as u64;
            self.counters.rx_bytes += self.ready.iter().map(|p| p.len() as u64).sum::<u64>();
            // The whole queue at once, as nothing is to be done to each packet.
            self.ready.move_to(usize::MAX, out);
            self.charge();
            return;
        }
        while let Some(pkt) = self.take_packet(now) {
            out.push_back(pkt);
        }
    }

    /// Copies the next packet, or the next part of one, to `buf`. `None`: there is nothing.
    pub(in crate::flow) fn read(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        mode: ReadMode,
    ) -> Option<Result<usize, ReadError>> {
        if self.frct.is_some() {
            return self.read_frct(now, buf, mode);
        }
        let mut pkt = self.take_packet(now)?;
        let n = pkt.len().min(buf.len());
        if n < pkt.len() && mode == ReadMode::Whole {
            let size = pkt.len();
            // It stays in front. The next read gets it without counting it again.
            self.partial = Some(pkt);
            self.charge();
            return Some(Err(ReadError::TooSmall { size, room: buf.len() }));
        }
        if let (Some(to), Some(from)) = (buf.get_mut(..n), pkt.get(..n)) {
            to.copy_from_slice(from);
        }
        if n < pkt.len() {
            pkt.pull(n);
            self.partial = Some(pkt);
            self.charge();
        } else {
            self.cache.put(pkt);
        }
        Some(Ok(n))
    }

    /// As [`read`](Self::read), of a flow with FRCT: each fragment of a message is copied to where it belongs.
    fn read_frct(&mut self, now: Instant, buf: &mut [u8], mode: ReadMode) -> Option<Result<usize, ReadError>> {
        let memory = self.memory();
        let frct = self.frct.as_mut()?;
        let size = frct.next_len()?;
        if size > buf.len() && mode == ReadMode::Whole {
            return Some(Err(ReadError::TooSmall { size, room: buf.len() }));
        }
        frct.set_memory(memory);
        let (n, over) = frct.read(now, buf, &mut self.cache)?;
        self.counters.rx_packets += u64::from(over);
        self.counters.rx_bytes += n as u64;
        self.charge();
        Some(Ok(n))
    }
}
