//! The machine's speed without any of this: for scale.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use crate::local::{PACKET, bare_aead};
use crate::measure::in_turns;
use crate::table::{Row, gigabits, rate};

/// How long each measurement of packets takes.
const SPAN: Duration = Duration::from_millis(250);

/// A socket that counts what it receives.
struct Sink {
    addr: SocketAddr,
    packets: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Sink {
    fn new(offload: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).unwrap();
        let sink = Self {
            addr: socket.local_addr().unwrap(),
            packets: Arc::new(AtomicUsize::new(0)),
            stop: Arc::new(AtomicBool::new(false)),
        };
        let (packets, stop) = (Arc::clone(&sink.packets), Arc::clone(&sink.stop));
        std::thread::spawn(move || {
            let state = offload.then(|| UdpSocketState::new(UdpSockRef::from(&socket)).unwrap());
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut buf = vec![0; BATCH_SIZE * 65_536];
            while !stop.load(Ordering::Relaxed) {
                packets.fetch_add(receive(&socket, state.as_ref(), &mut buf), Ordering::Relaxed);
            }
        });
        sink
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn receive(socket: &UdpSocket, state: Option<&UdpSocketState>, buf: &mut [u8]) -> usize {
    let Some(state) = state else {
        return usize::from(socket.recv(buf).is_ok());
    };
    let mut meta = [RecvMeta::default(); BATCH_SIZE];
    let mut slices: Vec<_> = buf.chunks_exact_mut(65_536).map(IoSliceMut::new).collect();
    let n = state.recv(UdpSockRef::from(socket), &mut slices, &mut meta).unwrap_or(0);
    meta[..n].iter().map(|m| m.len.div_ceil(m.stride.max(1))).sum()
}

/// Packets a second that arrive, sent one by one or in segmented batches.
fn packets_a_second(offload: bool) -> f64 {
    let sink = Sink::new(offload);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.connect(sink.addr).unwrap();
    let segments = if offload { state.max_gso_segments().min(64_000 / PACKET) } else { 1 };
    let data = vec![7; segments * PACKET];
    let start = Instant::now();
    while start.elapsed() < SPAN {
        for _ in 0..16 {
            if offload {
                let transmit = Transmit {
                    destination: sink.addr,
                    ecn: None,
                    contents: &data,
                    segment_size: Some(PACKET),
                    src_ip: None,
                };
                let _ = state.try_send(UdpSockRef::from(&socket), &transmit);
            } else {
                let _ = socket.send(&data);
            }
        }
    }
    sink.packets.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

/// Bits a second of copying within the cache.
fn copying() -> f64 {
    let (a, mut b) = (vec![1; PACKET], vec![0; PACKET]);
    let n = 500_000;
    let seconds = crate::measure::each(n, || {
        b.copy_from_slice(std::hint::black_box(&a));
        std::hint::black_box(&mut b);
    });
    (PACKET * 8) as f64 / seconds
}

pub(crate) fn rows() -> Vec<Row> {
    let [single, offload, copy, aead] = in_turns(
        5,
        [&mut || packets_a_second(false), &mut || packets_a_second(true), &mut copying, &mut || {
            bare_aead(30_000) * (PACKET * 8) as f64
        }],
    );
    vec![
        Row::info("anchor: raw UDP loopback, 1400 B, received", rate(single), "where musts are from 394 k/s"),
        Row::info("  with segmentation offload on both sides", rate(offload), "4.4 M/s"),
        Row::info("anchor: copying 1400 B within the cache", gigabits(copy), ""),
        Row::info("anchor: aes-256-gcm, slower of seal and open", gigabits(aead), ""),
    ]
}
