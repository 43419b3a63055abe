//! Whatever arrives, in whatever order anything is called: no panic, bounded memory, and the promises of the flow.

use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::net::{Link, Net};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::ranges::Ranges;
use crate::frct::{Config, Frct};
use crate::wire::frct::{Flags, Pci, Sack};

fn small(reliable: bool, congestion: bool) -> Config {
    Config { reliable, congestion, window: 64, legacy_window: 16, send_queue: 32, unsent: 16, ..Config::default() }
}

/// Something that happens to a machine.
#[derive(Clone, Debug)]
enum Op {
    Send(u8),
    Deliver,
    Pass(u32),
    Finish,
    Shrink,
    Raw(Vec<u8>),
    /// A packet near the machine's own numbers: flags, distances, window, blocks, data.
    Near {
        flags: u8,
        seq: i16,
        ack: i16,
        window: i16,
        blocks: Vec<(u8, u8)>,
        data: u8,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let near = (
        prop_oneof![Just(0x0eu8), Just(0x0f), Just(0x0d), Just(0x12), Just(0x0a), Just(0x0b), any::<u8>()],
        -40i16..80,
        -40i16..80,
        -100i16..300,
        proptest::collection::vec((1u8..20, 1u8..20), 0..6),
        0u8..4,
    );
    prop_oneof![
        8 => any::<u8>().prop_map(Op::Send),
        6 => Just(Op::Deliver),
        6 => (0u32..200_000_000).prop_map(Op::Pass),
        1 => (0u32..u32::MAX).prop_map(Op::Pass),
        1 => Just(Op::Shrink),
        1 => Just(Op::Finish),
        2 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Op::Raw),
        24 => near.prop_map(|(flags, seq, ack, window, blocks, data)| Op::Near { flags, seq, ack, window, blocks, data }),
    ]
}

/// The bytes of a packet whose numbers lie near those of the machine.
fn packet(f: &Frct, peer: Seq, op: &Op) -> Vec<u8> {
    let Op::Near { flags, seq, ack, window, blocks, data } = op else { return Vec::new() };
    let off = |base: Seq, d: i16| Seq(base.0.wrapping_add_signed(i32::from(d)));
    let ackno = off(f.tx.edge, *ack);
    let window = off(f.tx.next, *window).0 & 0x00ff_ffff;
    let pci = Pci { flags: Flags::from_bits(*flags), window, seqno: off(peer, *seq), ackno };
    let mut bytes = pci.to_bytes().to_vec();
    if pci.is_data() {
        bytes.resize(bytes.len() + usize::from(*data), 7);
        return bytes;
    }
    let mut sack = Sack::new(ackno);
    let mut at = ackno;
    for (gap, len) in blocks {
        sack.push(at + u32::from(*gap), at + u32::from(*gap) + u32::from(*len));
        at = at + u32::from(*gap) + u32::from(*len);
    }
    if !sack.is_empty() {
        let start = bytes.len();
        bytes.resize(start + sack.encoded_len(), 0);
        sack.emit(&mut bytes[start..]).unwrap();
    }
    bytes
}

/// Everything a machine holds is within what it was configured to hold.
fn check_bounds(f: &Frct) {
    let tx = &f.tx;
    assert!(
        tx.queue.len() <= 32 && tx.repairs.lost.len() <= 32 && tx.repairs.resent.len() <= 200,
        "{}",
        tx.repairs.resent.len()
    );
    assert!(tx.sacked.len() <= 16);
    assert!(tx.sacked_count + tx.repairs.lost_count <= tx.outstanding());
    let held = tx.queue.iter().filter(|s| s.state.has(crate::frct::segment::State::SACKED)).count();
    assert_eq!(held as u32, tx.sacked_count);
    let lost = tx.queue.iter().filter(|s| s.state.has(crate::frct::segment::State::LOST)).count();
    assert_eq!(lost as u32, tx.repairs.lost_count);
    assert!(!tx.next.before(tx.edge) && tx.outstanding() as usize <= tx.queue.len());
    let (ready, early, ranges) = f.rx.footprint();
    assert!(ready <= 64 && early <= 64 && ranges <= 32, "{ready} {early} {ranges}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_operation_breaks_a_machine(
        reliable in any::<bool>(), congestion in any::<bool>(), isn in any::<u32>(), peer in any::<u32>(),
        ops in proptest::collection::vec(op(), 1..200),
    ) {
        let mut cache = BufCache::new(&BufPool::new(16));
        let mut now = Instant::ZERO;
        let mut f = Frct::new(small(reliable, congestion), isn);
        let mut written = 0u64;
        for op in ops {
            match &op {
                Op::Send(n) => for _ in 0..*n % 40 {
                    written += u64::from(f.send(now, PacketBuf::copy_of(b"data")).is_ok());
                },
                Op::Deliver => { f.deliver(now, &mut cache); }
                Op::Pass(ns) => {
                    now += Duration::from_nanos(u64::from(*ns));
                    f.handle_timeout(now, &mut cache);
                }
                Op::Finish => f.finish(now),
                Op::Shrink => f.shrink(),
                Op::Raw(bytes) => f.handle_packet(now, PacketBuf::copy_of(bytes), &mut cache),
                Op::Near { .. } => {
                    let base = if f.rx.next == Seq(0) { Seq(peer) } else { f.rx.next };
                    let bytes = packet(&f, base, &op);
                    f.handle_packet(now, PacketBuf::copy_of(&bytes), &mut cache);
                }
            }
            let mut out = 0;
            while let Some(t) = f.poll_transmit(now) {
                out += 1;
                let pci = Pci::parse(t.header()).unwrap();
                prop_assert!(pci.is_data() != t.payload().is_empty() || pci.flags.contains(Flags::ACK));
                prop_assert!(pci.is_data() || pci.flags.contains(Flags::DRF));
                prop_assert!(out < 100, "a transmission that never ends");
            }
            if let Some(t) = f.next_deadline() && t <= now {
                f.handle_timeout(now, &mut cache);
                while f.poll_transmit(now).is_some() {}
                prop_assert!(f.next_deadline().is_none_or(|t| t > now), "a deadline that stays in the past");
            }
            check_bounds(&f);
        }
        prop_assert!(f.stats().sent <= written);
    }

    #[test]
    fn reads_return_what_was_written(
        seed in any::<u64>(), reliable in any::<bool>(), isns in any::<[u32; 2]>(),
        loss in 0.0..0.3f64, reorder in 0.0..0.5f64, duplicate in 0.0..0.3f64, messages in 1u64..150,
    ) {
        let link = Link { loss, reorder, duplicate, ..Link::new(3_000) };
        let mut net = Net::with_isns(&small(reliable, true), &link, seed, isns);
        net.sides[0].to_write = messages;
        net.sides[1].to_write = messages / 2;
        // The order is checked as it is read.
        let done = net.run(Duration::from_secs(119), |n| {
            if reliable { n.complete() } else { n.sides.iter().all(|s| s.frct.stats().sent == s.to_write) }
        });
        prop_assert!(done, "{:?} {:?}", net.sides[0].frct, net.sides[1].frct);
    }

    #[test]
    fn ranges_are_a_set(start in any::<u32>(), inserts in proptest::collection::vec((0u32..200, 0u32..20), 0..60), cut in 0u32..220) {
        let mut ranges = Ranges::default();
        let mut model = alloc::collections::BTreeSet::new();
        for (first, len) in inserts {
            let before = ranges.len();
            let mut added = Vec::new();
            let at = Seq(start) + first;
            let opened = ranges.insert(at, at + len, |s| added.push(s.0.wrapping_sub(start)));
            let fresh: Vec<_> = (first..first + len).filter(|n| model.insert(*n)).collect();
            prop_assert_eq!(added, fresh);
            prop_assert_eq!(opened, ranges.len() > before);
        }
        ranges.remove_below(Seq(start) + cut);
        model.retain(|n| *n >= cut);
        let mut flat = Vec::new();
        let mut last = None;
        for i in 0..ranges.len() {
            let (f, e) = ranges.get(i).unwrap();
            prop_assert!(last.is_none_or(|l: Seq| l.before(f)), "disjoint, ascending, not touching");
            last = Some(e);
            flat.extend((0..(e - f) as u32).map(|k| (f + k).0.wrapping_sub(start)));
        }
        prop_assert!(flat.iter().copied().eq(model.iter().copied()));
        prop_assert_eq!(ranges.is_empty(), model.is_empty());
    }
}

/// A machine with a run from number 1000 on, whose peer is o7s.
fn receiving() -> (Frct, BufCache) {
    let mut f = Frct::new(Config { o7s_peer: true, ..Config::default() }, 1);
    let mut cache = BufCache::new(&BufPool::new(16));
    take(&mut f, &mut cache, Flags::DATA | Flags::DRF, 1000);
    (f, cache)
}

/// Takes a packet of one byte. Returns the memory that is held, and how many packets beyond a gap.
fn take(f: &mut Frct, cache: &mut BufCache, flags: Flags, seqno: u32) -> (usize, usize) {
    let mut packet = Pci { flags, seqno: Seq(seqno), ..Pci::default() }.to_bytes().to_vec();
    packet.push(b'x');
    f.handle_packet(Instant::ZERO, PacketBuf::copy_of(&packet), cache);
    (f.held(), f.rx.footprint().1)
}

#[test]
fn a_packet_far_ahead_costs_what_a_packet_costs() {
    let (mut f, mut cache) = receiving();
    let before = f.held();
    let (held, early) = take(&mut f, &mut cache, Flags::DATA, 5000);
    // Its one byte, and places for the first few.
    assert!(held - before < 256 && early == 1, "{}", held - before);
    // Nor does what is missing between several cost anything.
    for n in 0..40 {
        take(&mut f, &mut cache, Flags::DATA, 4900 - 97 * n);
    }
    assert_eq!(f.rx.footprint().1, 41);
    assert!(f.held() - before < 41 * 128, "{}", f.held() - before);
}

#[test]
fn places_of_many_packets_count_as_memory_and_are_given_back() {
    let (mut f, mut cache) = receiving();
    // All but the first, then that.
    for seqno in 1002..5000 {
        take(&mut f, &mut cache, Flags::DATA, seqno);
    }
    let (full, early) = take(&mut f, &mut cache, Flags::DATA, 5000);
    assert_eq!(early, 3999);
    let (held, early) = take(&mut f, &mut cache, Flags::DATA, 1001);
    assert_eq!(early, 0);
    assert!(held <= full - 3700 * size_of::<PacketBuf>(), "{held} of {full} bytes are still held");
}

#[test]
fn no_order_of_packets_has_many_moved_for_each() {
    let config = Config { o7s_peer: true, window: 32_768, ..Config::default() };
    let mut f = Frct::new(config, 1);
    let mut cache = BufCache::new(&BufPool::new(16));
    take(&mut f, &mut cache, Flags::DATA | Flags::DRF, 1000);
    // From both ends of the window inwards: each goes between all those before it.
    for n in 0..16_000 {
        take(&mut f, &mut cache, Flags::DATA, 1002 + n);
        take(&mut f, &mut cache, Flags::DATA, 33_700 - n);
    }
    let refused = f.stats().out_of_window;
    assert!(f.rx.footprint().1 < 5000 && refused > 27_000, "{:?}, {refused} refused", f.rx.footprint());
    // What was refused is taken when it comes again, in order.
    let mut read = 0;
    for seqno in 1001..=33_700 {
        take(&mut f, &mut cache, Flags::DATA, seqno);
        while f.deliver(Instant::ZERO, &mut cache).is_some() {
            read += 1;
        }
    }
    assert_eq!(read, 1 + 32_700);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// In whatever order packets come, and how often, across the end of the numbers, each is read once and in its turn.
    #[test]
    fn early_packets_are_read_in_their_turn(
        isn in prop_oneof![Just(u32::MAX - 20), any::<u32>()],
        order in prop::collection::vec(0u32..64, 0..300),
    ) {
        let mut f = Frct::new(Config { o7s_peer: true, ..Config::default() }, 1);
        let mut cache = BufCache::new(&BufPool::new(16));
        let mut read = Vec::new();
        let all = core::iter::once(0).chain(order).chain(0..64);
        for (i, n) in all.enumerate() {
            let flags = if i == 0 { Flags::DATA | Flags::DRF } else { Flags::DATA };
            let mut packet = Pci { flags, seqno: Seq(isn.wrapping_add(n)), ..Pci::default() }.to_bytes().to_vec();
            packet.push(n as u8);
            f.handle_packet(Instant::ZERO, PacketBuf::copy_of(&packet), &mut cache);
            while let Some(packet) = f.deliver(Instant::ZERO, &mut cache) {
                read.push(packet[0]);
            }
        }
        prop_assert!(read.iter().copied().eq(0..64), "{:?}", read);
        prop_assert_eq!((f.held(), f.rx.footprint()), (0, (0, 0, 0)));
    }
}

#[test]
fn an_idle_machine_is_small() {
    let mut f = Frct::new(Config { congestion: false, ..Config::default() }, 1);
    assert!(size_of::<Frct>() <= 680, "{}", size_of::<Frct>());
    assert_eq!((f.tx.queue.capacity(), f.rx.footprint()), (0, (0, 0, 0)));
    let now = Instant::from_millis(5);
    let mut cache = BufCache::new(&BufPool::new(16));
    for _ in 0..200 {
        f.send(now, PacketBuf::copy_of(b"x")).unwrap();
        while f.poll_transmit(now).is_some() {}
    }
    let pci = Pci { flags: Flags::ACK | Flags::DRF, ackno: Seq(65), ..Pci::default() };
    f.handle_packet(now, PacketBuf::copy_of(&pci.to_bytes()), &mut cache);
    f.shrink();
    assert!(f.tx.queue.capacity() < 200);
}
