//! A congestion controller: how much of a flow may be in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use o7s::congestion::{Ack, Algorithm, Controller, Loss};
use o7s::{Flow, QosSpec, Stack, Udp4};

use super::{BOUND, echo, round_trips};

/// Calls seen by all controllers of a stack.
#[derive(Debug, Default)]
struct Seen {
    acked: AtomicU64,
    most_in_flight: AtomicU64,
}

/// A fixed window of segments, whatever happens.
#[derive(Debug)]
struct Fixed {
    segments: u64,
    segment: u64,
    seen: Arc<Seen>,
}

impl Controller for Fixed {
    fn on_segment(&mut self, bytes: u64) {
        self.segment = bytes;
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.seen.acked.fetch_add(ack.bytes, Ordering::Relaxed);
        self.seen.most_in_flight.fetch_max(ack.in_flight + ack.bytes, Ordering::Relaxed);
    }

    fn on_loss(&mut self, _: &Loss) {}

    fn on_spurious(&mut self) {}

    fn on_idle(&mut self) {}

    fn window(&self) -> u64 {
        self.segments * self.segment
    }

    fn pacing_rate(&self, _: u64) -> u64 {
        u64::MAX
    }
}

/// Works until the first acknowledgement.
#[derive(Debug)]
struct Broken;

impl Controller for Broken {
    fn on_segment(&mut self, _: u64) {}

    fn on_ack(&mut self, _: &Ack) {
        panic!("a bug of a controller")
    }

    fn on_loss(&mut self, _: &Loss) {}

    fn on_spurious(&mut self) {}

    fn on_idle(&mut self) {}

    fn window(&self) -> u64 {
        1 << 20
    }

    fn pacing_rate(&self, _: u64) -> u64 {
        u64::MAX
    }
}

/// A flow from a stack with this controller to one that sends everything back.
fn flow_with(algorithm: Algorithm) -> (Stack, Stack, Flow) {
    let server = Stack::new().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false)).unwrap();
    net.register("echo").unwrap();
    server.bind_handler("echo", echo).unwrap();
    let client = Stack::builder().congestion_control(algorithm).build().unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
    let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
    (server, client, flow)
}

#[test]
fn flows_are_held_to_the_window_of_a_controller() {
    let seen = Arc::new(Seen::default());
    let sees = Arc::clone(&seen);
    let fixed =
        Algorithm::custom("fixed", move || Box::new(Fixed { segments: 4, segment: 1500, seen: Arc::clone(&sees) }));
    let (_server, _client, flow) = flow_with(fixed);
    // More than the window at once.
    for _ in 0..500 {
        flow.write_timeout(&[7; 1400], BOUND).unwrap();
    }
    let mut buf = [0; 1500];
    for _ in 0..500 {
        assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(1400));
    }
    let (acked, most) = (seen.acked.load(Ordering::Relaxed), seen.most_in_flight.load(Ordering::Relaxed));
    assert!(acked >= 400 * 1400, "{acked}");
    assert!(most <= 5 * 1500, "{most} bytes were in flight");
}

#[test]
fn panics_of_a_controller_are_counted_and_the_flow_goes_on() {
    for broken in [
        Algorithm::custom("broken", || Box::new(Broken)),
        Algorithm::custom("not made", || panic!("a bug of a factory")),
    ] {
        let (_server, client, flow) = flow_with(broken);
        round_trips(&flow, 100);
        assert!(client.rib().get("node/foreign_panics").unwrap() > 0);
    }
}
