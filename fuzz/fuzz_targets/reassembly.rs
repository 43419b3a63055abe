//! Reassembly: whatever order fragments come in, how often and with what between them, what is read is what was written, and
//! no more memory is held than there is.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use o7s::base::buf::{BufCache, BufPool, PacketBuf};
use o7s::base::seq::Seq;
use o7s::base::time::Instant;
use o7s::frct::{Config, Frct, Memory};
use o7s::wire::frct::{Flags, Pci};

/// The largest message that the machine puts together, bytes.
const MESSAGE: usize = 1 << 14;
/// Memory from which on the window is closed, bytes, four times a message as on a real flow; nothing is held beyond twice as
/// much.
const ROOM: usize = 4 * MESSAGE;
/// The shortest fragments that messages are cut into, bytes.
const FRAGMENT: usize = 64;
/// The most that a single packet may add to that, bytes.
const PACKET: usize = MESSAGE + 4096;

#[derive(Arbitrary, Debug)]
enum Op {
    /// Packets of the messages, from this one on: in order, or backwards.
    Packets {
        first: u8,
        count: u8,
        backwards: bool,
    },
    /// The same packets in pieces of so many bytes and 64 more, every `lost`th of them lost.
    Pieces {
        first: u8,
        count: u8,
        len: u8,
        lost: u8,
        backwards: bool,
    },
    Deliver,
    /// Reads through a small buffer.
    Read(u8),
    Pass(u16),
    /// A packet that belongs to no message, with the number of one that does, or near it.
    Stranger {
        number: u8,
        flags: u8,
        len: u16,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    reliable: bool,
    run: u32,
    /// Length of each message, bytes, and of its fragments.
    messages: Vec<(u16, u8)>,
    ops: Vec<Op>,
}

struct Written {
    messages: Vec<Vec<u8>>,
    packets: Vec<Vec<u8>>,
}

/// The message number `n`: it begins with its number.
fn message(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| if i == 0 { n as u8 } else { (n * 31 + i * 7 + i / 251) as u8 }).collect()
}

fn write(input: &Input) -> Written {
    let (mut messages, mut packets) = (Vec::new(), Vec::new());
    for (n, (len, fragment)) in input.messages.iter().take(50).enumerate() {
        let message = message(n, 1 + usize::from(*len) % MESSAGE);
        let size = FRAGMENT + 8 * usize::from(*fragment);
        let count = message.chunks(size).len();
        for (i, bytes) in message.chunks(size).enumerate() {
            let part = match i {
                _ if count == 1 => Flags::NONE,
                0 => Flags::FRAGMENT,
                _ if i + 1 == count => Flags::FFGM,
                _ => Flags::MFGM,
            };
            // Any packet may be the first that comes of a best-effort flow.
            let drf = if packets.is_empty() || !input.reliable { Flags::DRF } else { Flags::NONE };
            let seqno = Seq(input.run.wrapping_add(packets.len() as u32));
            let pci = Pci { flags: Flags::DATA | drf | part, seqno, ..Pci::default() };
            packets.push([&pci.to_bytes()[..], bytes].concat());
        }
        messages.push(message);
    }
    Written { messages, packets }
}

/// The packet in pieces, if it is long enough.
fn pieces(packet: &[u8], len: usize) -> Vec<Vec<u8>> {
    let pci = Pci::parse(packet).expect("it was made here");
    let data = &packet[Pci::LEN..];
    let piece = |(n, bytes): (usize, &[u8])| {
        let head = Pci::piece(pci.flags, pci.seqno, (n * len) as u32, data.len() as u32).to_bytes();
        [&head[..], bytes].concat()
    };
    if data.len() <= len { vec![packet.to_vec()] } else { data.chunks(len).enumerate().map(piece).collect() }
}

struct Reader {
    machine: Frct,
    cache: BufCache,
    now: Instant,
    /// Number of the next message that may be read.
    next: usize,
    /// A stranger's packet may have taken the place of one.
    disturbed: bool,
    /// The part of a message read so far through a small buffer.
    part: Vec<u8>,
    reliable: bool,
}

impl Reader {
    fn take(&mut self, packet: &[u8]) {
        self.machine.set_memory(match self.machine.held() {
            held if held >= 2 * ROOM => Memory::Full,
            held if held >= ROOM => Memory::Tight,
            _ => Memory::Free,
        });
        self.machine.handle_packet(self.now, PacketBuf::copy_of(packet), &mut self.cache);
        let mut sent = 0;
        while self.machine.poll_transmit(self.now).is_some() {
            sent += 1;
            assert!(sent < 100, "transmissions without an end");
        }
        assert!(self.machine.held() <= 2 * ROOM + PACKET, "{} bytes", self.machine.held());
    }

    fn note_read(&mut self, written: &Written, got: &[u8]) {
        assert!(got.len() <= MESSAGE, "{} bytes", got.len());
        if self.disturbed {
            return;
        }
        let n = written.messages.iter().skip(self.next).position(|message| message == got);
        let n = n.expect("it was written, and not read before");
        assert!(n == 0 || !self.reliable, "message {} is missing", self.next);
        self.next += n + 1;
    }

    fn deliver(&mut self, written: &Written) -> bool {
        let Some(rest) = self.machine.deliver(self.now, &mut self.cache) else { return false };
        let mut whole = std::mem::take(&mut self.part);
        whole.extend_from_slice(&rest);
        self.note_read(written, &whole);
        true
    }

    fn read(&mut self, written: &Written, room: usize) {
        let mut buf = vec![0; room];
        let Some((n, over)) = self.machine.read(self.now, &mut buf, &mut self.cache) else { return };
        self.part.extend_from_slice(&buf[..n]);
        if over {
            let whole = std::mem::take(&mut self.part);
            self.note_read(written, &whole);
        }
    }
}

fuzz_target!(|input: Input| {
    let written = write(&input);
    let config = Config {
        reliable: input.reliable,
        o7s_peer: true,
        message_in: MESSAGE,
        congestion: false,
        ..Config::default().window(256).legacy_window(16)
    };
    let mut reader = Reader {
        machine: Frct::new(config, 1),
        cache: BufCache::new(&BufPool::new(16)),
        now: Instant::ZERO,
        next: 0,
        disturbed: false,
        part: Vec::new(),
        reliable: input.reliable,
    };
    for op in &input.ops {
        match *op {
            Op::Packets { first, count, backwards } => {
                let first = usize::from(first) * written.packets.len() / 256;
                let range = first..written.packets.len().min(first + usize::from(count));
                let packets = written.packets.get(range).unwrap_or_default();
                if backwards {
                    packets.iter().rev().for_each(|packet| reader.take(packet));
                } else {
                    packets.iter().for_each(|packet| reader.take(packet));
                }
            }
            Op::Pieces { first, count, len, lost, backwards } => {
                let first = usize::from(first) * written.packets.len() / 256;
                let range = first..written.packets.len().min(first + usize::from(count));
                let packets = written.packets.get(range).unwrap_or_default();
                let mut pieces: Vec<_> =
                    packets.iter().flat_map(|packet| pieces(packet, 64 + usize::from(len))).collect();
                if backwards {
                    pieces.reverse();
                }
                let passes = |n: usize| lost == 0 || n % usize::from(lost) != 0;
                pieces.iter().enumerate().filter(|(n, _)| passes(*n)).for_each(|(_, piece)| reader.take(piece));
            }
            Op::Deliver => {
                reader.deliver(&written);
            }
            Op::Read(room) => reader.read(&written, room.into()),
            Op::Pass(ms) => {
                reader.now += Duration::from_millis(u64::from(ms) / 16);
                reader.machine.handle_timeout(reader.now, &mut reader.cache);
            }
            Op::Stranger { number, flags, len } => {
                reader.disturbed = true;
                let flags = Flags::from_bits(flags) | Flags::DATA;
                let seqno = Seq(input.run.wrapping_add(number.into()));
                let mut packet = Pci { flags, seqno, ..Pci::default() }.to_bytes().to_vec();
                packet.resize(Pci::LEN + usize::from(len) % (MESSAGE + 1), 0xee);
                reader.take(&packet);
            }
        }
    }
    if !input.reliable || reader.disturbed {
        while reader.deliver(&written) {}
        return;
    }
    // Whatever has come before: a sender that repeats what was not taken brings everything.
    for packet in &written.packets {
        reader.take(packet);
        while reader.deliver(&written) {}
    }
    assert!(reader.next == written.messages.len() || reader.machine.is_down(), "{} read", reader.next);
    assert!(reader.machine.held() == 0 || reader.machine.is_down());
});
