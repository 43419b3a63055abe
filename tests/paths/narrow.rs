//! A layer of one's own with packets of 100 bytes.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use o7s::device::{BufCache, SendError};
use o7s::shim::{Lookup, Message, Outgoing, Shim};
use o7s::time::Instant;
use o7s::{NameHash, Stack};

use crate::world::everything::pipe::{PipeEnd, PipeShim};

/// Bytes of a packet that its device takes.
pub(crate) const MTU: usize = 100;

/// A member whose device refuses what is larger.
struct Narrow(Arc<PipeShim>);

impl Shim for Narrow {
    type Receiver = BufCache;

    fn lookup(&self, name: &NameHash, waker: &Waker) -> Lookup {
        self.0.lookup(name, waker)
    }

    fn send_message(&self, station: u64, message: &Message<'_>) -> Result<(), SendError> {
        self.0.send_message(station, message)
    }

    fn send(&self, station: u64, flow: u32, packets: &mut Outgoing) -> Result<(), SendError> {
        if packets.iter().any(|packet| packet.len() > MTU) {
            return Err(SendError::TooLarge);
        }
        self.0.send(station, flow, packets)
    }

    fn mtu(&self) -> usize {
        MTU
    }

    fn receiver(&self) -> BufCache {
        self.0.receiver()
    }

    fn receive(&self, now: Instant, cache: &mut BufCache) -> usize {
        self.0.receive(now, cache)
    }

    fn wait(&self, timeout: Duration) {
        self.0.wait(timeout);
    }

    fn interrupt(&self) {
        self.0.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.0.guard(timeout);
    }

    fn dismiss(&self) {
        self.0.dismiss();
    }
}

/// Makes a member of each of two stacks, at the ends of one pipe, and registers a name at the first.
pub(crate) fn join(server: &Stack, client: &Stack, name: &str) {
    let (here, there) = (Arc::new(PipeEnd::default()), Arc::new(PipeEnd::default()));
    let add = |stack: &Stack, own: &Arc<PipeEnd>, peer: &Arc<PipeEnd>| {
        stack.add(PipeShim::info(), |layer| Arc::new(Narrow(PipeShim::new(layer, own, peer)))).unwrap()
    };
    add(server, &here, &there).register(name).unwrap();
    add(client, &there, &here);
}
