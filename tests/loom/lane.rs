//! Layers that send what they have taken in their own time: what is left of a message waits, and the end of the flow for that.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use o7s::QosSpec;
use o7s::base::buf::PacketBuf;
use o7s::base::time::Instant;
use o7s::flow::{Endpoint, Outgoing, Params, Port, State};
use o7s::frct::{Config, Frct};
use o7s::types::device::SendError;
use o7s::wire::frct::{Flags, Pci};

use super::{NOW, check, closed, params, pending, spawn};

/// A layer that takes a packet at a time.
#[derive(Default)]
struct Lane {
    waiting: AtomicBool,
    sent: Mutex<Vec<usize>>,
}

impl Port for Lane {
    fn send(&self, _now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        self.sent.lock().unwrap().extend(pkts.iter().map(|pkt| pkt.len()));
        self.waiting.store(true, Ordering::Release);
        Ok(())
    }

    fn is_congested(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    fn is_holding(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    fn mtu(&self) -> usize {
        1000
    }

    fn release(&self, _now: Instant) {}
}

impl Lane {
    /// Sends what waits, and says so.
    fn drain(&self, endpoint: &Endpoint) {
        self.waiting.store(false, Ordering::Release);
        endpoint.notify_writable();
    }
}

/// Whatever the layer sends in which moment, the rest of a message follows, and the flow is released when all has gone.
#[test]
fn fragments_wait_for_room_in_the_layer_and_the_end_for_them() {
    check(|| {
        let world = pending(0);
        let lane = Arc::new(Lane::default());
        let config = Config { reliable: false, o7s_peer: true, message_out: 100_000, ..Config::default() };
        let qos = QosSpec { ber: 1, timeout: 0, ..QosSpec::BEST_EFFORT };
        let frct = Some(Box::new(Frct::new(config, 7)));
        world.endpoint.activate(NOW, Arc::clone(&lane) as Arc<dyn Port>, Params { qos, frct, ..params(None) });
        let layer = {
            let lane = Arc::clone(&lane);
            spawn(&world, move |e| lane.drain(e))
        };
        let message = [7; 20_000];
        let fragments = message.len().div_ceil(984);
        assert_eq!(world.endpoint.write(&message).map_err(|e| e.to_string()), Ok(message.len()));
        world.endpoint.close(Duration::from_secs(1));
        layer.join().unwrap();
        for _ in 0..3 {
            lane.drain(&world.endpoint);
        }
        let sent = lane.sent.lock().unwrap().clone();
        assert!(
            sent.len() > fragments && sent.last() == Some(&(Pci::LEN + 1)),
            "all, and the notice behind them: {sent:?}"
        );
        // The peer knows; the layer has the notice still.
        let mut known = Pci { flags: Flags::END | Flags::DRF, ..Pci::default() }.to_bytes().to_vec();
        known.push(3);
        world.endpoint.handle_packets(NOW, [PacketBuf::copy_of(&known)]);
        assert_eq!(world.endpoint.state(), State::Lingering);
        lane.drain(&world.endpoint);
        closed(&world.endpoint);
    });
}
