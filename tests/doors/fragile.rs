//! A shim with a bug: it panics once, and what goes through it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use o7s::device::{BufCache, SendError};
use o7s::shim::{Lookup, Message, Outgoing, Shim};
use o7s::time::Instant;
use o7s::{Flow, NameHash, QosSpec, Stack, UnicastLayer};

use super::pipe::{PipeEnd, PipeShim};
use super::{BOUND, echo, round_trips, wait_until};

/// A pipe that panics once in the next packet after it is told to.
struct Fragile {
    pipe: Arc<PipeShim>,
    panics_next: Arc<AtomicBool>,
}

impl Shim for Fragile {
    type Receiver = BufCache;

    fn lookup(&self, name: &NameHash, waker: &Waker) -> Lookup {
        self.pipe.lookup(name, waker)
    }

    fn send_message(&self, station: u64, message: &Message<'_>) -> Result<(), SendError> {
        self.pipe.send_message(station, message)
    }

    fn send(&self, station: u64, flow: u32, packets: &mut Outgoing) -> Result<(), SendError> {
        if self.panics_next.swap(false, Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("a bug of a shim"));
        }
        self.pipe.send(station, flow, packets)
    }

    fn mtu(&self) -> usize {
        self.pipe.mtu()
    }

    fn receiver(&self) -> BufCache {
        self.pipe.receiver()
    }

    fn receive(&self, now: Instant, cache: &mut BufCache) -> usize {
        self.pipe.receive(now, cache)
    }

    fn wait(&self, timeout: Duration) {
        self.pipe.wait(timeout);
    }

    fn interrupt(&self) {
        self.pipe.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.pipe.guard(timeout);
    }

    fn dismiss(&self) {
        self.pipe.dismiss();
    }
}

/// Two stacks at the ends of a pipe; the shim of the second panics once when it is told to.
struct Pair {
    server: Stack,
    at_server: o7s::IpcpHandle,
    client: Stack,
    at_client: o7s::IpcpHandle,
    panics_next: Arc<AtomicBool>,
}

impl Pair {
    fn new() -> Self {
        let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
        let (one, other) = (Arc::new(PipeEnd::default()), Arc::new(PipeEnd::default()));
        let panics_next = Arc::new(AtomicBool::new(false));
        let at_server = server.add(PipeShim::info(), |layer| PipeShim::new(layer, &one, &other)).unwrap();
        let fragile = |layer| {
            let pipe = PipeShim::new(layer, &other, &one);
            Arc::new(Fragile { pipe, panics_next: Arc::clone(&panics_next) })
        };
        let at_client = client.add(PipeShim::info(), fragile).unwrap();
        Self { server, at_server, client, at_client, panics_next }
    }

    /// Has the next packet of the client panic, and waits until one has.
    fn panics(&self, send: impl FnOnce()) {
        let before = self.counted();
        self.panics_next.store(true, Ordering::SeqCst);
        send();
        wait_until("the panic is counted", || self.counted() > before);
        assert_eq!(self.counted(), before + 1);
    }

    fn counted(&self) -> u64 {
        self.client.rib().get("node/foreign_panics").unwrap()
    }
}

#[test]
fn a_flow_goes_on_after_a_panic_of_its_shim() {
    let pair = Pair::new();
    pair.at_server.register("echo").unwrap();
    pair.server.bind_handler("echo", echo).unwrap();
    for qos in [QosSpec::RAW, QosSpec::DATA] {
        let flow = pair.client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
        round_trips(&flow, 5);
        pair.panics(|| _ = flow.write(b"hit"));
        if qos == QosSpec::DATA {
            // Sent again.
            assert_eq!(flow.read_timeout(&mut [0; 9], BOUND), Ok(3));
        }
        round_trips(&flow, 20);
        flow.close(BOUND).unwrap();
    }
}

/// A flow to a name that has been registered a moment ago.
fn found(stack: &Stack, name: &str) -> Flow {
    let mut flow = None;
    wait_until("the name is known in the layer", || {
        flow = stack.flow(name).qos(QosSpec::DATA).timeout(BOUND).alloc().ok();
        flow.is_some()
    });
    flow.unwrap()
}

#[test]
fn a_member_goes_on_after_a_panic_of_the_shim_below() {
    let pair = Pair::new();
    let near = pair.server.unicast("near").over(&pair.at_server).bootstrap(UnicastLayer::new("net")).unwrap();
    let far = pair.client.unicast("far").over(&pair.at_client).enroll("near").unwrap();
    far.connect("near").unwrap();
    near.register("echo").unwrap();
    pair.server.bind_handler("echo", echo).unwrap();
    let flow = found(&pair.client, "echo");
    round_trips(&flow, 5);
    pair.panics(|| _ = flow.write(b"hit"));
    assert_eq!(flow.read_timeout(&mut [0; 9], BOUND), Ok(3), "sent again");
    round_trips(&flow, 20);
    // The control plane sends, too: what is registered there is found here.
    far.register("other").unwrap();
    pair.client.bind_handler("other", echo).unwrap();
    round_trips(&found(&pair.server, "other"), 20);
}
