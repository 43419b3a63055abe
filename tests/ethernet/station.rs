//! A polled stack with an Ethernet layer, and the other end of its cable in the hands of the test.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use o7s::base::buf::{BufCache, BufPool};
use o7s::device::{Frames, Mac, MemoryFrames};
use o7s::time::Instant;
use o7s::types::name::{HashAlg, NameHash};
use o7s::wire::eth::{Format, Frame, Mgmt, Port};
use o7s::{Eth, IpcpHandle, Stack};

/// The wall clock of stations at the beginning, nanoseconds since 1970.
pub(crate) const UNIX: u64 = 1_767_225_600_000_000_000;

pub(crate) struct Station {
    pub(crate) stack: Stack,
    pub(crate) layer: IpcpHandle,
    pub(crate) device: Arc<MemoryFrames>,
    wire: Arc<MemoryFrames>,
    cache: BufCache,
    now: Instant,
}

impl Station {
    pub(crate) fn new(mac: Mac, config: &Eth) -> Self {
        Self::at(mac, config, UNIX, |builder| builder)
    }

    pub(crate) fn at(mac: Mac, config: &Eth, unix: u64, change: impl FnOnce(o7s::Builder) -> o7s::Builder) -> Self {
        let (device, wire) = MemoryFrames::pair(mac, Mac([2, 0, 0, 0, 0, 0xff]));
        // What a test sends may be larger than any frame should be.
        wire.set_mtu(100_000);
        let stack = change(Stack::builder().polled_at(unix).seed([7; 32])).build().unwrap();
        // What is looked at here is what is answered, and not when.
        let config = config.clone().answer_delay(Duration::ZERO);
        let layer = stack.eth_over(Arc::clone(&device) as Arc<dyn Frames>, config).unwrap();
        Self { stack, layer, device, wire, cache: BufCache::new(&BufPool::new(64)), now: Instant::ZERO }
    }

    /// Has a frame arrive.
    pub(crate) fn inject(&mut self, frame: &[u8]) {
        if self.wire.send(frame).is_err() {
            self.poll();
            self.wire.send(frame).unwrap();
        }
    }

    /// Does everything that is due.
    pub(crate) fn poll(&mut self) {
        for _ in 0..10_000 {
            let next = self.stack.poll(self.now);
            if self.wire.queued() == 0 && next.is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("polled without end\n{}", self.stack.rib());
    }

    /// What it has sent since the last time.
    pub(crate) fn sent(&mut self) -> Vec<Vec<u8>> {
        self.poll();
        let mut frames = Vec::new();
        while self.wire.recv(&mut frames, &mut self.cache) > 0 {
            self.poll();
        }
        frames.iter().map(|frame| frame.to_vec()).collect()
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.poll();
            match self.stack.poll(self.now).filter(|next| *next < until) {
                Some(next) => self.now = next.max(self.now + Duration::from_nanos(1)),
                None => break,
            }
        }
        self.now = until;
        self.poll();
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.layer.rib().get(name).unwrap_or_else(|| panic!("{name}: {}", self.layer.rib()))
    }

    /// Frames that were received and have become nothing.
    pub(crate) fn dropped(&self) -> u64 {
        let reasons = [
            "foreign",
            "tagged",
            "not_ours",
            "own_address",
            "unknown_eid",
            "wrong_source",
            "malformed",
            "management_drops",
            "answers_unexpected",
            "replies_unexpected",
        ];
        reasons.iter().map(|reason| self.counter(reason)).sum()
    }
}

/// Polls a future once.
pub(crate) fn now_or_never<T>(future: &mut Pin<Box<dyn Future<Output = T>>>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

pub(crate) fn hash(name: &str) -> NameHash {
    HashAlg::Sha3_256.hash(&name.parse().unwrap())
}

/// The management of a layer of that format.
pub(crate) fn management(format: Format) -> Port {
    match format {
        Format::Dix => Port::Dix { ethertype: 0xa000, eid: 0 },
        Format::Llc => Port::Llc { dsap: 1, ssap: 1 },
    }
}

/// A frame of management.
pub(crate) fn mgmt(format: Format, src: Mac, dst: Mac, message: &Mgmt<'_>) -> Vec<u8> {
    let payload = message.to_vec(format).unwrap();
    Frame { dst, src, port: management(format), payload: &payload }.to_vec().unwrap()
}

/// A frame of a flow that the receiver knows by `to` and the sender by `from`.
pub(crate) fn data(format: Format, src: Mac, dst: Mac, (from, to): (u16, u16), payload: &[u8]) -> Vec<u8> {
    let port = match format {
        Format::Dix => Port::Dix { ethertype: 0xa000, eid: to },
        Format::Llc => Port::Llc { dsap: to as u8, ssap: from as u8 },
    };
    Frame { dst, src, port, payload }.to_vec().unwrap()
}
