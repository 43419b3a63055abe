//! An FRCT machine: no sequence of packets, calls and pauses panics, loops, or makes it hold more than it may.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use o7s::base::buf::{BufCache, BufPool, PacketBuf};
use o7s::base::time::Instant;
use o7s::frct::congestion::Algorithm;
use o7s::frct::{Config, Frct, Memory};

const QUEUE: u32 = 32;

#[derive(Arbitrary, Debug)]
enum Op {
    Send(u8),
    /// One packet of so many bytes.
    SendLarge(u16),
    Deliver,
    Pass(u32),
    Finish,
    Close,
    Abort,
    Hold(bool),
    Memory(u8),
    Shrink,
    Packet(Vec<u8>),
    /// A packet with numbers near the last ones that went either way.
    Near {
        flags: u8,
        seq: i8,
        ack: i8,
        window: i8,
        payload: Vec<u8>,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    reliable: bool,
    o7s_peer: bool,
    /// Messages in fragments were agreed upon, and with them pieces and probes of the path.
    messages: bool,
    congestion: bool,
    bbr: bool,
    isn: u32,
    peer: u32,
    ops: Vec<Op>,
}

fuzz_target!(|input: Input| {
    let cfg = Config {
        reliable: input.reliable,
        o7s_peer: input.o7s_peer,
        message_in: if input.messages { 1 << 16 } else { 0 },
        message_out: if input.messages { 1 << 16 } else { 0 },
        congestion: input.congestion,
        algorithm: if input.bbr { Algorithm::Bbr } else { Algorithm::Cubic },
        ..Config::default().window(64).legacy_window(16).send_queue(QUEUE).unsent(16)
    };
    let mut now = Instant::ZERO;
    let mut cache = BufCache::new(&BufPool::new(16));
    let mut machine = Frct::new(cfg, input.isn);
    let (mut ours, mut theirs) = (input.isn, input.peer);
    let mut readable = 0u64;
    for op in input.ops {
        match op {
            Op::Send(n) => {
                for _ in 0..n % 40 {
                    let _ = machine.send(now, PacketBuf::copy_of(b"data"));
                }
            }
            Op::SendLarge(len) => {
                let _ = machine.send(now, PacketBuf::copy_of(&vec![7; 1 + usize::from(len) % 9000]));
            }
            Op::Deliver => readable += u64::from(machine.deliver(now, &mut cache).is_some()),
            Op::Pass(nanos) => {
                now += Duration::from_nanos(u64::from(nanos) * 16);
                machine.handle_timeout(now, &mut cache);
            }
            Op::Finish => machine.finish(now),
            Op::Close => machine.close(now),
            Op::Abort => machine.abort(now, &mut cache),
            Op::Hold(held) => machine.hold(held),
            Op::Memory(n) => machine.set_memory(match n % 3 {
                0 => Memory::Free,
                1 => Memory::Tight,
                _ => Memory::Full,
            }),
            Op::Shrink => machine.shrink(),
            Op::Packet(bytes) => machine.handle_packet(now, PacketBuf::copy_of(&bytes), &mut cache),
            Op::Near { flags, seq, ack, window, payload } => {
                theirs = theirs.wrapping_add_signed(i32::from(seq));
                let ackno = ours.wrapping_add_signed(i32::from(ack));
                let edge = ours.wrapping_add_signed(4 * i32::from(window)) & 0x00ff_ffff;
                let first = u32::from(flags) << 24 | edge;
                let head = [first.to_be_bytes(), theirs.to_be_bytes(), ackno.to_be_bytes()].concat();
                let bytes = [head, payload].concat();
                machine.handle_packet(now, PacketBuf::copy_of(&bytes), &mut cache);
            }
        }
        let mut sent = 0;
        while let Some(transmit) = machine.poll_transmit(now) {
            if let [_, _, _, _, a, b, c, d, ..] = *transmit.header() {
                ours = u32::from_be_bytes([a, b, c, d]);
            }
            sent += 1;
            // A packet may go in a few dozens of pieces.
            assert!(sent < 40 * 200, "transmissions without an end");
        }
        if machine.next_deadline().is_some_and(|at| at <= now) {
            machine.handle_timeout(now, &mut cache);
            while machine.poll_transmit(now).is_some() {}
            assert!(machine.next_deadline().is_none_or(|at| at > now), "a deadline that stays in the past");
        }
        assert!(machine.unacked() <= QUEUE as usize);
    }
    while machine.deliver(now, &mut cache).is_some() {
        readable += 1;
    }
    assert!(readable <= machine.stats().received);
});
