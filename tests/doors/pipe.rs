// A shim of one's own: a layer of two members, one at each end of a pipe in memory.
//
// A packet begins with the number of the flow at its receiver, 4 bytes, and number 0 marks messages about flows. These are
// encoded as the library does it; any other way would do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use o7s::device::{Bell, BufCache, SendError};
use o7s::shim::{Layer, Lookup, Message, Outgoing, Shim};
use o7s::time::Instant;
use o7s::{HashAlg, IpcpInfo, IpcpKind, NameHash};

/// One end of a pipe, from which one member reads and to which the other writes. This is the "device".
#[derive(Default)]
pub(crate) struct PipeEnd {
    queue: Mutex<VecDeque<Vec<u8>>>,
    bell: Bell,
    layer: Mutex<Option<Layer>>,
}

impl PipeEnd {
    fn put(&self, flow: u32, data: &[u8]) -> Result<(), SendError> {
        let mut queue = self.queue.lock().unwrap();
        if queue.len() >= 1024 {
            return Err(SendError::Full);
        }
        queue.push_back([&flow.to_be_bytes(), data].concat());
        drop(queue);
        // Threaded stacks wait for the device, polled ones are told.
        self.bell.ring();
        self.layer.lock().unwrap().iter().for_each(Layer::wake);
        Ok(())
    }
}

/// The number of the only other station.
const PEER: u64 = 0;
/// Hash of names.
const HASH: HashAlg = HashAlg::Md5;

/// The member at one end.
pub(crate) struct PipeShim {
    layer: Layer,
    here: Arc<PipeEnd>,
    there: Arc<PipeEnd>,
}

impl PipeShim {
    /// Returns the properties of the layer.
    pub(crate) fn info() -> IpcpInfo {
        IpcpInfo::new(IpcpKind::Custom("pipe"), "pipe", "pipe").hash(HASH)
    }

    /// A member that reads from `here` and writes to `there`.
    pub(crate) fn new(layer: Layer, here: &Arc<PipeEnd>, there: &Arc<PipeEnd>) -> Arc<Self> {
        *here.layer.lock().unwrap() = Some(layer.clone());
        Arc::new(Self { layer, here: Arc::clone(here), there: Arc::clone(there) })
    }
}

impl Shim for PipeShim {
    type Receiver = BufCache;

    fn lookup(&self, _: &NameHash, _: &Waker) -> Lookup {
        Lookup::Known(vec![PEER])
    }

    fn send_message(&self, _: u64, message: &Message<'_>) -> Result<(), SendError> {
        self.there.put(0, &message.to_vec())
    }

    fn send(&self, _: u64, flow: u32, packets: &mut Outgoing) -> Result<(), SendError> {
        packets.iter().try_for_each(|packet| self.there.put(flow, packet))
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn receiver(&self) -> BufCache {
        self.layer.buffers()
    }

    fn receive(&self, now: Instant, cache: &mut BufCache) -> usize {
        let mut queue = self.here.queue.lock().unwrap();
        let batch: Vec<_> = (0..64).map_while(|_| queue.pop_front()).collect();
        let more = !queue.is_empty();
        drop(queue);
        for packet in &batch {
            let Some((flow, data)) = packet.split_first_chunk() else { continue };
            match u32::from_be_bytes(*flow) {
                0 => {
                    if let Ok(message) = Message::parse(HASH, data) {
                        self.layer.on_message(PEER, &message);
                    }
                }
                flow => {
                    let mut buf = cache.take(data.len());
                    let taken = buf.extend_from_slice(data).map(|()| buf);
                    self.layer.deliver(now, PEER, flow, taken);
                }
            }
        }
        cache.settle(now);
        if more {
            self.layer.wake();
        }
        batch.len()
    }

    fn wait(&self, timeout: Duration) {
        self.here.bell.wait(timeout);
    }

    fn interrupt(&self) {
        self.here.bell.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.here.bell.guard(timeout);
    }

    fn dismiss(&self) {
        self.here.bell.dismiss();
    }
}
