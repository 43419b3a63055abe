//! The cost of a capture: a device that could be captured and is not, and flows at a steady rate while they are.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use o7s::capture::{CaptureConfig, Pcap, Tap};
use o7s::device::{Datagrams, UdpSocket};
use o7s::time::OsClock;
use o7s::{Flow, QosSpec, SecurityConfig};

use crate::measure::{self, each, in_turns};
use crate::table::{Bound, Row, time};
use crate::udp::Pair;

/// Packets a second, and their size.
const RATE: usize = 100_000;
const SIZE: usize = 1400;
/// Packets that are sent at a time: one batch every 0.1 ms.
const BATCH: usize = 10;
const RUN: Duration = Duration::from_secs(1);

/// The share of the packets that arrive, of those that are sent at the rate.
fn share(flow: &Flow, peer: &Flow) -> f64 {
    let total = RATE * RUN.as_millis() as usize / 1000;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut buf = vec![0; SIZE];
            let mut arrived = 0usize;
            while peer.read_timeout(&mut buf, Duration::from_millis(200)).is_ok() {
                arrived += 1;
            }
            arrived
        });
        let (start, data) = (Instant::now(), vec![7; SIZE]);
        for batch in 0..total / BATCH {
            let due = Duration::from_secs_f64((batch * BATCH) as f64 / RATE as f64);
            while start.elapsed() < due {
                std::thread::yield_now();
            }
            for _ in 0..BATCH {
                let _ = flow.write(&data);
            }
        }
        reader.join().unwrap() as f64 / total as f64
    })
}

fn sends(device: &dyn Datagrams, to: std::net::SocketAddr) -> f64 {
    each(100_000, || {
        let _ = device.send(to, &[7; 64], None);
    })
}

pub(crate) fn rows() -> Vec<Row> {
    let any = "127.0.0.1:0".parse().unwrap();
    let (bare, inner, sink) =
        (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
    let tap = Tap::new(Arc::new(OsClock::new()));
    let (wrapped, to) = (Pcap::new(inner, &tap, "loopback"), sink.local_addr());
    let [off, without] = in_turns(9, [&mut || sends(&wrapped, to), &mut || sends(&bare, to)]);

    let pair = Pair::new(SecurityConfig::default());
    let (flow, peer) = pair.flow(QosSpec::RAW);
    let file = std::env::temp_dir().join(format!("o7s-peers-{}.pcapng", std::process::id()));
    let (mut lost, mut times) = (0, [Duration::ZERO; 2]);
    let [time_off, time_on] = &mut times;
    let rounds = 5;
    let [quiet, captured] = in_turns(
        rounds,
        [&mut || measure::busy(time_off, || share(&flow, &peer)), &mut || {
            let capture = pair.client.capture(File::create(&file).unwrap(), CaptureConfig::default()).unwrap();
            let share = measure::busy(time_on, || share(&flow, &peer));
            lost += capture.stop().unwrap().lost;
            share
        }],
    );
    drop(std::fs::remove_file(&file));
    let packets = ((rounds + 1) * RATE) as f64;
    let [time_off, time_on] = times.map(|total| total.as_secs_f64() / packets);
    vec![
        Row::info("pcap off, a datagram of 64 B sent", time(off), format!("without {}", time(without)))
            .ratio(off, without)
            .must(Bound::AtMost(1.05)),
        Row::info(
            "pcap on, 100 000 packets/s of 1400 B, arrived",
            format!("{:.1} %", 100.0 * captured),
            format!("off {:.1} %; {lost} not written", 100.0 * quiet),
        )
        .ratio(captured, quiet)
        .must(Bound::AtLeast(0.95)),
        Row::info("  processor time a packet, all threads", time(time_on), format!("off {}", time(time_off)))
            .ratio(time_on, time_off),
    ]
}
