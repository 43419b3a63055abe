//! Flows between two threads of one program, beside a bounded crossbeam channel.

use std::hint::black_box;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use o7s::crypto::backend::Backend;
use o7s::crypto::suite::Cipher;
use o7s::{Flow, QosSpec, SecurityConfig, Stack};

use crate::measure::{each, in_turns};
use crate::table::{Bound, Row, gigabits, rate, time};

pub(crate) const PACKET: usize = 1400;
pub(crate) const ENCRYPTED: &str = "X25519,aes-256-gcm";
const PING: usize = 64;
const ROUNDS: usize = 7;
/// What the machine that the absolute figures are from makes of a crossbeam channel with a copy, messages a second.
const ANCHOR_CROSSBEAM: f64 = 5.2e6;

/// A stack, and both ends of a flow in it.
fn local_flow(qos: QosSpec, security: SecurityConfig) -> (Stack, Flow, Flow) {
    let stack = Stack::builder().security(security.clone()).build().unwrap();
    let listener = stack.bind("peer").unwrap();
    let accepting = std::thread::spawn(move || listener.accept().unwrap());
    let flow = stack.flow("peer").qos(qos).alloc().unwrap();
    (stack, flow, accepting.join().unwrap())
}

/// Sends every packet back until the flow ends.
pub(crate) fn echo(flow: Flow) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buf = [0; 2048];
        while let Ok(n) = flow.read(&mut buf) {
            if flow.write(&buf[..n]).is_err() {
                return;
            }
        }
    })
}

/// Seconds a round trip.
pub(crate) fn round_trips(flow: &Flow, n: usize) -> f64 {
    let mut buf = [0; PING];
    each(n, || {
        flow.write(&[7; PING]).unwrap();
        assert_eq!(flow.read(&mut buf).unwrap(), PING);
    })
}

/// A thread behind two channels that sends messages back.
struct Reflector {
    there: Sender<[u8; PING]>,
    back: Receiver<[u8; PING]>,
}

impl Reflector {
    fn new() -> Self {
        let ((there, there_rx), (back_tx, back)) = (bounded(64), bounded(64));
        std::thread::spawn(move || {
            while let Ok(message) = there_rx.recv() {
                if back_tx.send(message).is_err() {
                    return;
                }
            }
        });
        Self { there, back }
    }

    fn round_trips(&self, n: usize) -> f64 {
        each(n, || {
            self.there.send([7; PING]).unwrap();
            black_box(self.back.recv().unwrap());
        })
    }
}

/// Seconds a round trip between two threads over crossbeam channels, for scale.
pub(crate) fn crossbeam_round_trip() -> f64 {
    let reflector = Reflector::new();
    let [median] = in_turns(5, [&mut || reflector.round_trips(20_000)]);
    median
}

pub(crate) fn ping_pong() -> Vec<Row> {
    let (_raw, raw, raw_peer) = local_flow(QosSpec::RAW, SecurityConfig::default());
    let (_data, data, data_peer) = local_flow(QosSpec::DATA, ENCRYPTED.parse().unwrap());
    let echoes = [echo(raw_peer), echo(data_peer)];
    let reflector = Reflector::new();
    let n = 40_000;
    let [ours, encrypted, other] = in_turns(
        ROUNDS,
        [&mut || round_trips(&raw, n), &mut || round_trips(&data, n / 4), &mut || reflector.round_trips(n)],
    );
    drop((raw, data));
    for echo in echoes {
        echo.join().unwrap();
    }
    let other_text = format!("crossbeam {}", time(other));
    vec![
        Row::info("local flow, ping-pong 64 B", time(ours), &other_text)
            .ratio(ours, other)
            .must(Bound::AtMost(3.0))
            .aim(Bound::AtMost(1.5)),
        Row::info("  the same, reliable and encrypted", time(encrypted), &other_text).ratio(encrypted, other),
    ]
}

/// One direction of a flow, with a thread that reads.
pub(crate) struct OneWay {
    flow: Flow,
    /// Start counting; answered with how many packets came and when the last one did.
    start: Sender<()>,
    done: Receiver<(usize, Instant)>,
}

/// Ends a round. Sent until the reader has seen it, because raw flows may lose packets.
const END: &[u8] = &[0];

impl OneWay {
    pub(crate) fn new(flow: Flow, peer: Flow, copy: bool) -> Self {
        let ((start, start_rx), (done_tx, done)) = (bounded(1), bounded(1));
        std::thread::spawn(move || {
            let mut buf = [0; 2048];
            while start_rx.recv().is_ok() {
                let (mut packets, mut last) = (0, Instant::now());
                loop {
                    let len = if copy { peer.read(&mut buf).unwrap() } else { peer.read_bytes().unwrap().len() };
                    if len == PACKET {
                        packets += 1;
                    } else if packets > 0 {
                        break;
                    }
                    if packets % 64 == 0 {
                        last = Instant::now();
                    }
                }
                done_tx.send((packets, last)).unwrap();
            }
        });
        Self { flow, start, done }
    }

    /// Sends `n` packets and returns how many arrived each second.
    pub(crate) fn packets_a_second(&self, n: usize) -> f64 {
        let data = [7; PACKET];
        self.start.send(()).unwrap();
        let start = Instant::now();
        for _ in 0..n {
            self.flow.write(&data).unwrap();
        }
        loop {
            self.flow.write(END).unwrap();
            self.flow.flush();
            let Ok((packets, last)) = self.done.recv_timeout(Duration::from_millis(20)) else { continue };
            return packets as f64 / (last - start).as_secs_f64();
        }
    }
}

/// Messages a second over a bounded channel, copied in and copied out; `boxed`: as vectors instead of arrays.
fn crossbeam_one_way(n: usize, boxed: bool) -> f64 {
    let data = [7u8; PACKET];
    let start = Instant::now();
    if boxed {
        let (tx, rx) = bounded::<Vec<u8>>(1024);
        let reader = std::thread::spawn(move || {
            let mut buf = [0; PACKET];
            while let Ok(message) = rx.recv() {
                buf.copy_from_slice(&message);
                black_box(&buf);
            }
        });
        for _ in 0..n {
            tx.send(black_box(&data).to_vec()).unwrap();
        }
        drop(tx);
        reader.join().unwrap();
    } else {
        let (tx, rx) = bounded::<[u8; PACKET]>(1024);
        let reader = std::thread::spawn(move || {
            while let Ok(message) = rx.recv() {
                black_box(&message);
            }
        });
        for _ in 0..n {
            tx.send(*black_box(&data)).unwrap();
        }
        drop(tx);
        reader.join().unwrap();
    }
    n as f64 / start.elapsed().as_secs_f64()
}

/// Packets a second that can be encrypted by one thread and decrypted by another: the slower of the two.
pub(crate) fn bare_aead(n: usize) -> f64 {
    let key = Backend::preferred().aead(Cipher::Aes256Gcm).unwrap().schedule(&[7; 32]);
    let (mut data, mut nonce) = ([7; PACKET], 0u64);
    let mut next = || {
        nonce += 1;
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&nonce.to_le_bytes());
        bytes
    };
    let sealing = each(n, || {
        black_box(key.seal(&next(), black_box(&mut data)).unwrap());
    });
    let tag = key.seal(&[9; 12], &mut data).unwrap();
    let sealed = data;
    let opening = each(n, || {
        data = sealed;
        key.open(&[9; 12], black_box(&mut data), &tag).unwrap();
    });
    1.0 / sealing.max(opening)
}

/// Packets a second that can be copied twice.
fn copy_twice(n: usize) -> f64 {
    let (a, mut b, mut c) = (vec![1; PACKET], vec![0; PACKET], vec![0; PACKET]);
    1.0 / each(n, || {
        b.copy_from_slice(black_box(&a));
        c.copy_from_slice(black_box(&b));
        black_box(&mut c);
    })
}

/// A stack, and a flow in it that is used in one direction.
fn lane(qos: QosSpec, security: SecurityConfig, copy: bool) -> (Stack, OneWay) {
    let (stack, flow, peer) = local_flow(qos, security);
    (stack, OneWay::new(flow, peer, copy))
}

const MESSAGES: usize = 300_000;

fn bits(packets: f64) -> f64 {
    packets * (PACKET * 8) as f64
}

pub(crate) fn one_way() -> Vec<Row> {
    let (_copied, copied) = lane(QosSpec::RAW, SecurityConfig::default(), true);
    let (_taken, taken) = lane(QosSpec::RAW, SecurityConfig::default(), false);
    let [array, crossbeam, copied, taken] = in_turns(
        ROUNDS,
        [
            &mut || crossbeam_one_way(MESSAGES, false),
            &mut || crossbeam_one_way(MESSAGES, true),
            &mut || copied.packets_a_second(MESSAGES),
            &mut || taken.packets_a_second(MESSAGES),
        ],
    );
    let text = format!("crossbeam, copied {}", rate(crossbeam));
    vec![
        Row::info("local flow, one way, raw, 1400 B", rate(copied), &text)
            .ratio(copied, crossbeam)
            .must(Bound::AtLeast(1.0))
            .aim(Bound::AtLeast(2.0)),
        Row::info("  the same, read without a copy", rate(taken), &text).ratio(taken, crossbeam),
        Row::info("  crossbeam with arrays of 1400 B", "", rate(array)),
    ]
}

pub(crate) fn reliable() -> Vec<Row> {
    let (_plain, plain) = lane(QosSpec::DATA, SecurityConfig::default(), true);
    let (_sealed, sealed) = lane(QosSpec::DATA, ENCRYPTED.parse().unwrap(), true);
    let [crossbeam, plain, sealed, copies, aead] = in_turns(
        ROUNDS,
        [
            &mut || crossbeam_one_way(MESSAGES, true),
            &mut || plain.packets_a_second(MESSAGES),
            &mut || sealed.packets_a_second(MESSAGES / 2),
            &mut || copy_twice(MESSAGES),
            &mut || bare_aead(MESSAGES / 10),
        ],
    );
    let factor = crossbeam / ANCHOR_CROSSBEAM;
    // A slower machine need not do as much; a faster one does not have to do more.
    let scale = factor.min(1.0);
    let (plain_text, sealed_text) = (gigabits(bits(copies)), gigabits(bits(aead)));
    vec![
        Row::info("local flow, one way, reliable", gigabits(bits(plain)), format!("two copies {plain_text}"))
            .ratio(plain, copies)
            .absolute(bits(plain) / 1e9)
            .must(Bound::AtLeast(16.0 * scale)),
        Row::info("  the same, encrypted", gigabits(bits(sealed)), format!("bare aes-256-gcm {sealed_text}"))
            .ratio(sealed, aead)
            .absolute(bits(sealed) / 1e9)
            .must(Bound::AtLeast(8.0 * scale))
            .aim(Bound::AtLeast(0.9 * bits(aead) / 1e9)),
        Row::info(
            "  this machine by its crossbeam messages",
            format!("{factor:.2}"),
            "where musts are from 5.2 M/s: 1",
        ),
    ]
}
