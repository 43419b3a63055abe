//! How a flow begins, and how its window leaves: in rounds, and not in bursts.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use o7s::QosSpec;
use o7s::congestion::Algorithm;
use o7s::sim::{Link, Network, Verdict};
use o7s::time::Instant;

use super::scenario::AROUND;

const ROUND_TRIP: Duration = Duration::from_millis(100);

/// When packets of data left, and their bytes on the wire, for a flow that has all the time something to send.
fn departures(size: usize, algorithm: Algorithm, rounds: u32) -> Vec<(Instant, usize)> {
    let net = Network::new(1);
    net.set_default_link(Link::default().latency(ROUND_TRIP / 2).mtu(65_535));
    let server = net.host("server").udp4("10.0.0.1").build();
    let client = net.host("client").udp4("10.0.0.2").stack(|s| s.congestion_control(algorithm)).build();
    let listener = server.listen("sink");
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        while flow.read_bytes().await.is_ok() {}
    });
    let left: Rc<RefCell<Vec<(Instant, usize)>>> = Rc::default();
    let stack = client.stack().clone();
    let flow = net.block_on(async move { stack.flow("sink").qos(QosSpec::DATA).alloc_async().await.unwrap() });
    let log = Rc::clone(&left);
    net.on_packet(move |packet| {
        if packet.src.ip().to_string() == "10.0.0.2" && packet.data.len() >= size {
            log.borrow_mut().push((packet.at, packet.data.len() - 16 + AROUND));
        }
        Verdict::Pass
    })
    .keep();
    net.spawn(async move {
        loop {
            flow.write(&vec![7; size]).await.unwrap();
        }
    });
    net.run_for(ROUND_TRIP * rounds);
    left.take()
}

fn algorithms() -> [Algorithm; 2] {
    [Algorithm::Cubic, Algorithm::Bbr]
}

/// RFC 6928: at most 10 packets, and no more bytes than 14 600 or two packets.
#[test]
fn the_first_flight_is_that_of_the_standard() {
    for algorithm in algorithms() {
        for size in [100, 536, 1400, 4000, 8900] {
            let left = departures(size, algorithm.clone(), 2);
            let first = left[0].0;
            let flight: Vec<_> = left.iter().filter(|(at, _)| at.since(first) < ROUND_TRIP).collect();
            let bytes: usize = flight.iter().map(|(_, bytes)| bytes).sum();
            let most = (10 * (size + AROUND)).min(14_600.max(2 * (size + AROUND)));
            println!(
                "{algorithm:?}, {size} bytes: {} packets, {bytes} bytes before the first acknowledgement",
                flight.len()
            );
            assert!(flight.len() <= 10, "{size}: {} packets", flight.len());
            assert!(bytes <= most, "{size}: {bytes} bytes");
            assert!(bytes + size + AROUND > most || flight.len() == 10, "{size}: only {bytes} bytes");
        }
    }
}

/// Answers come in bursts if packets leave in bursts, so it is the sender that has to spread them.
#[test]
fn a_window_is_spread_over_a_round_trip() {
    const TENTHS: usize = 10;
    for algorithm in algorithms() {
        let left = departures(1400, algorithm.clone(), 7);
        let first = left[0].0;
        for round in 3..6u32 {
            let (mut tenths, begin) = ([0usize; TENTHS], first + ROUND_TRIP * round);
            for (at, _) in left.iter().filter(|(at, _)| *at >= begin && *at < begin + ROUND_TRIP) {
                tenths[(at.since(begin).as_nanos() * TENTHS as u128 / ROUND_TRIP.as_nanos()) as usize] += 1;
            }
            let all: usize = tenths.iter().sum();
            println!("{algorithm:?}, round {round}: {tenths:?}");
            assert!(all >= 40, "{algorithm:?}, round {round}: it does not grow: {tenths:?}");
            // At twice the window in a round trip they take half of it.
            let most = tenths.iter().max().unwrap();
            assert!(most * 3 <= all, "{algorithm:?}, round {round}: a burst: {tenths:?}");
        }
    }
}

/// A best-effort flow waits for news of its peer's window and for no timer: on a link without a bottleneck, to a reader who
/// reads at once, that is a round trip, and one more if the window was used up before it asked.
#[test]
fn best_effort_writes_wait_for_news_of_the_peer_and_no_longer() {
    const PACKETS: usize = 2_000;
    for (latency, timeout) in [(2, 120_000), (2, 0), (20, 120_000), (20, 0)] {
        let latency = Duration::from_millis(latency);
        let net = Network::new(8);
        net.set_default_link(Link::default().latency(latency));
        let server = net.host("server").udp4("10.0.0.1").build();
        let client = net.host("client").udp4("10.0.0.2").build();
        let listener = server.listen("sink");
        let reader = net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            for n in 0..PACKETS {
                assert_eq!(flow.read_bytes().await.unwrap()[..2], (n as u16).to_be_bytes());
            }
            flow
        });
        let (clock, stack) = (net.clone(), client.stack().clone());
        let (longest, all) = net.block_on(async move {
            let qos = QosSpec { timeout, ..QosSpec::BEST_EFFORT };
            let flow = stack.flow("sink").qos(qos).alloc_async().await.unwrap();
            let (start, mut longest) = (clock.now(), Duration::ZERO);
            for n in 0..PACKETS {
                let before = clock.now();
                flow.write(&[&(n as u16).to_be_bytes()[..], &[1; 998]].concat()).await.unwrap();
                longest = longest.max(clock.now() - before);
            }
            let all = clock.now() - start;
            drop(reader.await);
            (longest, all)
        });
        println!("{latency:?} one way, timeout {timeout}: the longest write {longest:?}, all {all:?}");
        assert!(longest <= latency * 4, "{latency:?} one way, timeout {timeout}: a write took {longest:?}");
        assert!(longest >= latency * 2, "{longest:?}: the window was never used up");
    }
}
