//! Ports and sinks that panic once: the endpoint goes on, and no turn is lost.

use super::*;
use crate::flow::{Drive, Port, Sink};

/// Ends the caller as a bug would, without the noise.
fn bug() {
    std::panic::resume_unwind(Box::new("a bug of a layer below"));
}

/// A port that panics once, in the method of that name, and counts what it has sent and released.
#[derive(Default)]
struct Fragile {
    panics_in: Mutex<&'static str>,
    sent: AtomicUsize,
    released: AtomicUsize,
}

impl Fragile {
    fn at(&self, method: &str) {
        let mut place = self.panics_in.lock();
        if *place == method {
            *place = "";
            drop(place);
            bug();
        }
    }
}

impl Port for Fragile {
    fn send(&self, _now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        self.at("send");
        self.sent.fetch_add(pkts.len(), Ordering::SeqCst);
        Ok(())
    }

    fn flush(&self, _now: Instant) {
        self.at("flush");
    }

    fn is_congested(&self) -> bool {
        self.at("is_congested");
        false
    }

    fn is_holding(&self) -> bool {
        self.at("is_holding");
        false
    }

    fn queued(&self) -> usize {
        self.at("queued");
        0
    }

    fn is_lossy(&self) -> bool {
        self.at("is_lossy");
        false
    }

    fn tells_end(&self) -> bool {
        self.at("tells_end");
        false
    }

    fn drained(&self) {
        self.at("drained");
    }

    fn mtu(&self) -> usize {
        self.at("mtu");
        1400
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.at("device");
        None
    }

    fn release(&self, _now: Instant) {
        self.released.fetch_add(1, Ordering::SeqCst);
        self.at("release");
    }
}

/// An endpoint over a port that panics once in `method`.
fn over_fragile(qos: QosSpec, method: &'static str) -> (World, Arc<Fragile>) {
    let world = idle();
    let port = Arc::new(Fragile { panics_in: Mutex::new(method), ..Fragile::default() });
    let now = world.clock.now();
    world.endpoint.activate(now, Arc::clone(&port) as Arc<dyn Port>, params(qos, None, Opening::default()));
    (world, port)
}

#[test]
fn a_panic_in_any_method_of_a_port_is_counted_and_the_flow_goes_on() {
    let methods = "send flush is_congested queued is_lossy tells_end drained mtu device release";
    for (qos, method) in [RAW, DATA].iter().flat_map(|qos| methods.split(' ').map(move |method| (*qos, method))) {
        let (World { endpoint, clock, .. }, port) = over_fragile(qos, method);
        let now = clock.now();
        // One of these may be refused; those after it are not.
        let first = [endpoint.write(b"a"), endpoint.write(b"b")];
        assert!(first.iter().filter(|written| written.is_err()).count() <= 1, "{method}: {first:?}");
        let (_, _, _) = (endpoint.queued(), endpoint.max_packet(), endpoint.device().is_some());
        endpoint.flush();
        endpoint.handle_tick(now);
        endpoint.handle_timeout(now);
        let before = port.sent.load(Ordering::SeqCst);
        assert_eq!(endpoint.write(b"c"), Ok(1), "{method}");
        assert!(port.sent.load(Ordering::SeqCst) > before, "the turn to send is free again after {method}");
        endpoint.handle_packets(now, packets(600));
        while endpoint.read(&mut [0; 8], ReadMode::Whole).is_ok() {}
        if method == "drained" && qos.has_frct() {
            // The packets are none of FRCT's; taken in they are all the same.
            endpoint.handle_tick(now);
        }
        endpoint.abort();
        assert_eq!((endpoint.state(), port.released.load(Ordering::SeqCst)), (State::Released, 1), "{method}");
        assert_eq!(endpoint.panics().count(), 1, "{method} of {qos:?}");
    }
}

#[test]
fn a_port_that_panics_when_asked_what_it_holds_is_released() {
    let (World { endpoint, .. }, port) = over_fragile(RAW, "is_holding");
    endpoint.close(Duration::from_secs(10));
    assert_eq!((endpoint.state(), port.released.load(Ordering::SeqCst)), (State::Released, 1));
    assert_eq!(endpoint.panics().count(), 1);
}

#[test]
fn a_panic_while_sending_refuses_the_packet() {
    let (World { endpoint, .. }, _port) = over_fragile(RAW, "send");
    assert_eq!(endpoint.write(b"lost"), Err(WriteError::Refused(SendError::Down)));
    assert_eq!(endpoint.write(b"sent"), Ok(4));
}

/// Takes what is delivered; the first delivery is a bug.
#[derive(Default)]
struct FragileSink {
    deliveries: AtomicUsize,
    packets: AtomicUsize,
}

impl Watcher for FragileSink {
    fn notify(&self, _token: u64, _event: Event) {}
}

impl Sink for FragileSink {
    fn deliver(&self, _token: u64, _now: Instant, pkts: &mut VecDeque<PacketBuf>) {
        if self.deliveries.fetch_add(1, Ordering::SeqCst) == 0 {
            bug();
        }
        self.packets.fetch_add(pkts.len(), Ordering::SeqCst);
    }
}

#[test]
fn a_panic_of_the_layer_above_frees_the_turn() {
    let world = world(RAW, None);
    let (e, now) = (&world.endpoint, world.clock.now());
    let fragile = Arc::new(FragileSink::default());
    let sink: Arc<dyn Sink> = Arc::clone(&fragile) as _;
    e.attach(&sink, 1);
    let ticks = world.host.ticks.load(Ordering::SeqCst);
    assert_eq!(e.panics().call(|| e.handle_packets(now, packets(1))), None, "who delivers is told");
    assert!(world.host.ticks.load(Ordering::SeqCst) > ticks, "somebody will come for what is left");
    e.handle_tick(now);
    e.handle_packets(now, packets(3));
    assert_eq!(fragile.packets.load(Ordering::SeqCst), 3);
}
