//! Writes larger than a packet: fragments on the wire, and messages out of them.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::net::{Link, Net};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::{Config, Ending, Frct, Memory, Part, fragments};
use crate::wire::frct::{Flags, Pci};

pub(super) const MESSAGE: usize = 1 << 16;
/// The first number of the peer's run.
const RUN: u32 = 5000;

pub(super) fn config(reliable: bool) -> Config {
    Config { reliable, o7s_peer: true, message_in: MESSAGE, message_out: MESSAGE, ..Config::default() }
}

pub(super) fn cache() -> BufCache {
    BufCache::new(&BufPool::new(64))
}

/// Takes the packet numbered `RUN + n`, with the data-run flag if it is the first, with `len` bytes that are its number.
pub(super) fn take(frct: &mut Frct, now: Instant, n: u32, part: Part, len: usize, cache: &mut BufCache) {
    let first = if n == 0 { Flags::DRF } else { Flags::NONE };
    let pci = Pci { flags: Flags::DATA | first | part.flags(), seqno: Seq(RUN + n), ..Pci::default() };
    let mut packet = pci.to_bytes().to_vec();
    packet.resize(Pci::LEN + len, n as u8);
    frct.handle_packet(now, PacketBuf::copy_of(&packet), cache);
}

/// All that is to be sent now.
pub(super) fn sent(frct: &mut Frct, now: Instant) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(transmit) = frct.poll_transmit(now) {
        packets.push([transmit.header(), transmit.payload()].concat());
    }
    packets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn messages_of_any_size_arrive_over_any_link(
        seed in any::<u64>(), reliable in any::<bool>(), congestion in any::<bool>(),
        size in 1usize..40_000, fragment in 64usize..1400, count in 1u64..30,
        loss in 0.0..0.12f64, duplicate in 0.0..0.3f64, reorder in 0.0..0.3f64,
    ) {
        let link = Link { loss, duplicate, reorder, ..Link::new(2000) };
        let mut net = Net::new(&Config { congestion, ..config(reliable) }, &link, seed);
        for side in &mut net.sides {
            (side.to_write, side.size, side.fragment) = (count, size, fragment);
        }
        let complete = net.run(Duration::from_secs(600), |net| reliable && net.complete());
        prop_assert_eq!(complete, reliable);
        for side in &net.sides {
            prop_assert_eq!(side.frct.held(), 0, "nothing is kept of messages that are not complete");
            prop_assert!(!reliable || side.frct.stats().incomplete == 0);
            prop_assert!(!side.frct.is_down());
        }
    }
}

#[test]
fn fragments_are_told_by_two_flags() {
    for reliable in [false, true] {
        let (now, mut cache) = (Instant::ZERO, cache());
        let mut frct = Frct::new(config(reliable), 100);
        for (part, bytes) in fragments(&[7; 25], 10) {
            frct.push(now, PacketBuf::copy_of(bytes), part);
        }
        frct.push(now, PacketBuf::copy_of(&[8; 5]), Part::Whole);
        let packets = sent(&mut frct, now);
        let flags = |flag: u8| packets.iter().skip(1).map(move |p| p[0] & flag).collect::<Vec<_>>();
        assert_eq!(packets[0][0], 0x12, "a rendez-vous first");
        assert_eq!(flags(0x61), [0x61, 0x41, 0x21, 0x01], "first, more, last, and a packet of its own");
        let numbers: Vec<u8> = packets.iter().skip(1).map(|p| p[7]).collect();
        assert_eq!(numbers, [100, 101, 102, 103]);
        assert_eq!(packets.iter().skip(1).map(|p| p.len() - Pci::LEN).collect::<Vec<_>>(), [10, 10, 5, 5]);
        let mut again = Vec::new();
        for _ in 0..3 {
            let later = frct.next_deadline().unwrap_or(now);
            frct.handle_timeout(later, &mut cache);
            again.extend(sent(&mut frct, later));
        }
        assert!(!reliable || again.iter().any(|p| p[0] & 0x61 == 0x61 && p[7] == 100), "also when it is sent again");
    }
}

#[test]
fn fragments_are_malformed_where_none_were_agreed_upon() {
    let agreed = config(true);
    let kinds = [
        Config { o7s_peer: false, ..agreed.clone() },
        Config { message_in: 0, ..agreed.clone() },
        Config { reliable: false, message_in: 0, ..agreed.clone() },
    ];
    for config in kinds {
        let (now, mut cache) = (Instant::ZERO, cache());
        let mut frct = Frct::new(config, 1);
        for (n, part) in [Part::First, Part::Middle, Part::Last].into_iter().enumerate() {
            take(&mut frct, now, n as u32, part, 10, &mut cache);
        }
        assert_eq!((frct.stats().malformed, frct.held(), frct.can_deliver()), (3, 0, false));
        assert!(sent(&mut frct, now).is_empty(), "and provoke nothing");
    }
    // Only data is ever cut, and the end of a stream is none.
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(agreed, 1);
    for flags in [0x4e, 0x6e, 0x2a, 0x52, 0xe3, 0xc3] {
        let pci = Pci { flags: Flags::from_bits(flags), ..Pci::default() };
        let mut packet = pci.to_bytes().to_vec();
        packet.resize(Pci::LEN + usize::from(flags & 0x80 != 0), 0);
        frct.handle_packet(now, PacketBuf::copy_of(&packet), &mut cache);
    }
    assert_eq!(frct.stats().malformed, 6);
}

#[test]
fn nothing_of_a_message_is_read_before_all_of_it_has_come() {
    for reliable in [false, true] {
        let (now, mut cache) = (Instant::ZERO, cache());
        let mut frct = Frct::new(config(reliable), 1);
        take(&mut frct, now, 0, Part::First, 10, &mut cache);
        take(&mut frct, now, 1, Part::Middle, 10, &mut cache);
        assert!(!frct.can_deliver() && frct.deliver(now, &mut cache).is_none() && frct.next_len().is_none());
        take(&mut frct, now, 2, Part::Last, 3, &mut cache);
        assert!(frct.can_deliver());
        assert_eq!(frct.next_len(), Some(23));
        let mut buf = [0; 15];
        assert_eq!(frct.read(now, &mut buf, &mut cache), Some((15, false)));
        assert_eq!(buf, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(&frct.deliver(now, &mut cache).unwrap()[..], [1, 1, 1, 1, 1, 2, 2, 2]);
        assert_eq!(frct.held(), 0);
    }
}

#[test]
fn a_best_effort_message_with_a_gap_is_dropped_and_its_memory_free() {
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(false), 1);
    for (n, part) in [(0, Part::First), (1, Part::Middle), (3, Part::Middle), (4, Part::Last)] {
        take(&mut frct, now, n, part, 10, &mut cache);
    }
    assert_eq!((frct.can_deliver(), frct.held(), frct.stats().incomplete), (false, 0, 4));
    // A fragment that comes late is none of the next message.
    for (n, part) in [(5, Part::First), (2, Part::Middle), (6, Part::Last)] {
        take(&mut frct, now, n, part, 10, &mut cache);
    }
    assert_eq!(frct.deliver(now, &mut cache).unwrap().len(), 20);
    // The first fragment is what is missing: the rest is no message.
    take(&mut frct, now, 8, Part::Last, 10, &mut cache);
    take(&mut frct, now, 9, Part::Whole, 7, &mut cache);
    assert_eq!(frct.deliver(now, &mut cache).unwrap().len(), 7);
    assert_eq!((frct.deliver(now, &mut cache).is_none(), frct.held()), (true, 0));
}

#[test]
fn a_best_effort_message_does_not_wait_for_ever() {
    let (mut now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(false), 1);
    for n in 0..3 {
        take(&mut frct, now, n, if n == 0 { Part::First } else { Part::Middle }, 1000, &mut cache);
        now += Duration::from_secs(9);
        frct.handle_timeout(now, &mut cache);
        assert!(frct.held() > 0, "another fragment came in time");
    }
    let until = frct.next_deadline().unwrap();
    assert!(until <= now + Duration::from_secs(1));
    frct.handle_timeout(until, &mut cache);
    assert_eq!((frct.held(), frct.stats().incomplete, frct.is_down()), (0, 3, false));
    // What follows is no part of it.
    take(&mut frct, now, 3, Part::Last, 10, &mut cache);
    assert!(!frct.can_deliver() && frct.held() == 0);
}

#[test]
fn a_reliable_message_that_stops_ends_the_flow() {
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(true), 1);
    take(&mut frct, now, 0, Part::First, 1000, &mut cache);
    let patience = Duration::from_secs(140);
    frct.handle_timeout(now + patience - Duration::from_secs(1), &mut cache);
    assert!(!frct.is_down() && frct.held() > 0);
    assert!(frct.next_deadline().is_some_and(|at| at <= now + patience));
    frct.handle_timeout(now + patience, &mut cache);
    assert!(frct.is_down() && frct.held() == 0);
}

#[test]
fn a_reader_that_takes_its_time_within_a_message_does_not_end_the_flow() {
    let (mut now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(true), 1);
    take(&mut frct, now, 0, Part::Whole, 10, &mut cache);
    take(&mut frct, now, 1, Part::First, 1000, &mut cache);
    // What is not read fills the memory: the window is shut, and the peer asks for it again and again.
    frct.set_memory(Memory::Tight);
    let asks = Pci { flags: Flags::RDVS | Flags::DRF, seqno: Seq(RUN + 2), ..Pci::default() }.to_bytes();
    for _ in 0..60 {
        now += Duration::from_secs(6);
        frct.handle_packet(now, PacketBuf::copy_of(&asks), &mut cache);
        sent(&mut frct, now);
        frct.handle_timeout(now, &mut cache);
        assert!(!frct.is_down(), "at {now:?}");
    }
    frct.set_memory(Memory::Free);
    assert_eq!(frct.deliver(now, &mut cache).unwrap().len(), 10);
    take(&mut frct, now, 2, Part::Last, 10, &mut cache);
    assert_eq!(frct.deliver(now, &mut cache).unwrap().len(), 1010);
}

#[test]
fn a_window_that_is_shut_for_hours_does_not_end_a_message() {
    let (mut now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(Config { window: 64, legacy_window: 64, ..config(true) }, 1);
    for n in 0..63 {
        take(&mut frct, now, n, Part::Whole, 10, &mut cache);
    }
    take(&mut frct, now, 63, Part::First, 1000, &mut cache);
    frct.set_memory(Memory::Tight);
    let asks = Pci { flags: Flags::RDVS | Flags::DRF, seqno: Seq(RUN + 64), ..Pci::default() }.to_bytes();
    for _ in 0..100 {
        now += Duration::from_secs(100);
        frct.handle_packet(now, PacketBuf::copy_of(&asks), &mut cache);
        sent(&mut frct, now);
        frct.handle_timeout(now, &mut cache);
        assert!(!frct.is_down(), "at {now:?}");
    }
    // From now on the message can go on, and has time for it.
    frct.set_memory(Memory::Free);
    while frct.deliver(now, &mut cache).is_some() {}
    assert!(!sent(&mut frct, now).is_empty());
    now += Duration::from_secs(100);
    frct.handle_timeout(now, &mut cache);
    take(&mut frct, now, 64, Part::Last, 10, &mut cache);
    assert_eq!(frct.deliver(now, &mut cache).unwrap().len(), 1010);
}

#[test]
fn a_peer_that_only_talks_does_not_keep_a_message_open() {
    let (mut now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(true), 1);
    take(&mut frct, now, 0, Part::First, 1000, &mut cache);
    take(&mut frct, now, 1, Part::Middle, 1000, &mut cache);
    let asks = Pci { flags: Flags::RDVS | Flags::DRF, seqno: Seq(RUN + 2), ..Pci::default() }.to_bytes();
    for n in 0..100 {
        now += Duration::from_secs(100);
        // Questions, copies of what has come, and what lies beyond the gap: all of it near the run.
        match n % 3 {
            0 => frct.handle_packet(now, PacketBuf::copy_of(&asks), &mut cache),
            1 => take(&mut frct, now, 1, Part::Middle, 1000, &mut cache),
            _ => take(&mut frct, now, 3 + n, Part::Middle, 10, &mut cache),
        }
        sent(&mut frct, now);
        while frct.next_deadline().is_some_and(|at| at <= now) && !frct.is_down() {
            frct.handle_timeout(now, &mut cache);
        }
    }
    assert!(frct.is_down(), "{} bytes for ever", frct.held());
}

#[test]
fn fragments_within_the_window_that_was_told_are_taken() {
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(true), 1);
    // Of each message the last fragment completes it, which takes the places of all at once.
    let (mut n, mut told) = (0, 64);
    while n < 8192 && n < told {
        let part = [Part::First, Part::Middle, Part::Last][(n % 700).min(1) as usize + usize::from(n % 700 == 699)];
        take(&mut frct, now, n, part, 10, &mut cache);
        for packet in sent(&mut frct, now) {
            let edge = u32::from_be_bytes([0, packet[1], packet[2], packet[3]]).wrapping_sub(RUN);
            assert!(edge >= told, "what was told stays told");
            told = edge;
        }
        n += 1;
    }
    assert!((4096..5000).contains(&told), "{told}");
    assert_eq!((frct.stats().received, frct.stats().out_of_window), (told.into(), 0));
}

#[test]
fn short_fragments_hold_little_more_than_the_message() {
    for reliable in [false, true] {
        let (now, mut cache) = (Instant::ZERO, cache());
        let mut frct = Frct::new(config(reliable), 1);
        for n in 0..100 {
            take(&mut frct, now, n, if n == 0 { Part::First } else { Part::Middle }, 64, &mut cache);
        }
        assert!(frct.held() < 200 * 64, "{}", frct.held());
    }
}

#[test]
fn a_message_larger_than_was_told_ends_the_flow() {
    // The receiver refuses it for ever, which is not for want of memory.
    let mut net = Net::new(&config(true), &Link::new(1000), 3);
    let smaller = Config { message_in: 1024, ..config(true) };
    net.sides[1].frct = Frct::new(smaller, 7);
    (net.sides[0].to_write, net.sides[0].size, net.sides[0].fragment) = (3, 9000, 100);
    assert!(net.run(Duration::from_secs(150), |net| net.sides[0].frct.is_down()));
    assert!(net.sides[1].frct.stats().out_of_window > 0);
}

#[test]
fn a_peer_without_memory_says_so_and_when_it_has_some() {
    let (mut now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(Config { congestion: false, ..config(true) }, 1);
    take(&mut frct, now, 0, Part::Whole, 10, &mut cache);
    take(&mut frct, now, 1, Part::Whole, 10, &mut cache);
    sent(&mut frct, now);
    frct.set_memory(Memory::Full);
    let window = |packet: &[u8]| u32::from_be_bytes([0, packet[1], packet[2], packet[3]]).wrapping_sub(RUN);
    for _ in 0..20 {
        now += Duration::from_secs(30);
        take(&mut frct, now, 2, Part::Whole, 10, &mut cache);
        let answers = sent(&mut frct, now);
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0][0] & 0x0c, window(&answers[0])), (0x0c, 2), "an acknowledgement, and no window");
    }
    // One packet of many was read: still too little.
    assert!(frct.deliver(now, &mut cache).is_some() && sent(&mut frct, now).is_empty());
    frct.set_memory(Memory::Free);
    assert!(frct.deliver(now, &mut cache).is_some());
    let told = sent(&mut frct, now);
    assert_eq!((told.len(), window(&told[0])), (1, 2 + 4096));
    take(&mut frct, now, 2, Part::Whole, 10, &mut cache);
    assert!(frct.can_deliver());
}

#[test]
fn first_fragments_without_followers_hold_no_more_than_one() {
    let mut cache = cache();
    for reliable in [false, true] {
        let now = Instant::ZERO;
        let mut frct = Frct::new(config(reliable), 1);
        for n in 0..10_000 {
            take(&mut frct, now, n, Part::First, 1400, &mut cache);
            assert!(frct.held() < 3000, "{} bytes after {n}", frct.held());
        }
        assert_eq!(frct.stats().incomplete, 9999);
    }
}

#[test]
fn a_message_is_no_larger_than_was_told() {
    let mut cache = cache();
    for reliable in [false, true] {
        let now = Instant::ZERO;
        let mut frct = Frct::new(config(reliable), 1);
        let mut n = 0;
        while (n as usize + 1) * 1024 <= MESSAGE {
            take(&mut frct, now, n, if n == 0 { Part::First } else { Part::Middle }, 1024, &mut cache);
            n += 1;
        }
        let held = frct.held();
        assert!(held > MESSAGE && held < 3 * MESSAGE);
        // Now it has all that it may have.
        for part in [Part::Middle, Part::Last] {
            take(&mut frct, now, n, part, 1, &mut cache);
            assert!(!frct.can_deliver());
        }
        assert!(frct.stats().out_of_window >= 1);
        assert_eq!(frct.held(), if reliable { held } else { 0 });
        let mut other = Frct::new(config(reliable), 1);
        take(&mut other, now, 0, Part::First, MESSAGE + 1, &mut cache);
        assert_eq!((other.held(), other.stats().received), (0, 0));
    }
}

#[test]
fn what_an_abort_has_lost_counts_after_a_message_was_given_up() {
    let (now, mut cache) = (Instant::from_millis(1), cache());
    let mut frct = Frct::new(config(true), 1);
    take(&mut frct, now, 0, Part::First, 1024, &mut cache);
    (0..3).for_each(|_| frct.send(now, PacketBuf::copy_of(b"x")).unwrap());
    sent(&mut frct, now);
    frct.noticed = Some(Ending::Aborted);
    frct.heed_close(&mut cache);
    assert_eq!((frct.unacked(), frct.is_down()), (3, false));
    let late = frct.rx.open_until(&frct.params);
    frct.handle_timeout(late, &mut cache);
    assert_eq!((frct.unacked(), frct.is_down()), (3, true));
}

#[test]
fn a_message_is_no_larger_either_if_it_comes_over_a_gap() {
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(true), 1);
    take(&mut frct, now, 0, Part::First, 1024, &mut cache);
    let last = 2 * MESSAGE as u32 / 1024;
    for n in 2..last {
        take(&mut frct, now, n, Part::Middle, 1024, &mut cache);
    }
    take(&mut frct, now, last, Part::Last, 1024, &mut cache);
    take(&mut frct, now, last + 1, Part::Whole, 7, &mut cache);
    take(&mut frct, now, 1, Part::Middle, 1024, &mut cache);
    assert_eq!(frct.next_len(), Some(7));
    assert_eq!(frct.stats().incomplete, u64::from(last) + 1);
    assert!(frct.deliver(now, &mut cache).is_some() && frct.held() == 0);
}

#[test]
fn short_memory_lets_a_message_come_to_its_end() {
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(true), 1);
    take(&mut frct, now, 0, Part::First, 100, &mut cache);
    let window = |frct: &mut Frct, cache: &mut BufCache| {
        frct.handle_packet(now, PacketBuf::copy_of(&[0x10; Pci::LEN]), cache);
        let last = sent(frct, now).pop().expect("an answer");
        u32::from_be_bytes([0, last[1], last[2], last[3]]).wrapping_sub(RUN)
    };
    let told = window(&mut frct, &mut cache);
    frct.set_memory(Memory::Tight);
    for n in 1..3 * told {
        take(&mut frct, now, n, Part::Middle, 3, &mut cache);
        if n % 8 == 0 {
            assert!(window(&mut frct, &mut cache) > n, "the peer may send on");
        }
    }
    frct.set_memory(Memory::Full);
    take(&mut frct, now, 3 * told, Part::Middle, 10, &mut cache);
    assert_eq!(frct.stats().received, u64::from(3 * told), "until there is no memory at all");
    frct.set_memory(Memory::Tight);
    take(&mut frct, now, 3 * told, Part::Last, 10, &mut cache);
    assert!(frct.can_deliver());
    let shut = window(&mut frct, &mut cache);
    for n in 3 * told + 1..3 * told + 20 {
        take(&mut frct, now, n, Part::Whole, 10, &mut cache);
    }
    assert_eq!(window(&mut frct, &mut cache), shut.max(3 * told + 20), "the application can make room now");
}

#[test]
fn a_stream_that_ends_within_a_message_has_no_more_of_it() {
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(true), 1);
    take(&mut frct, now, 0, Part::First, 100, &mut cache);
    let pci = Pci { flags: Flags::DATA | Flags::END, seqno: Seq(RUN + 1), ..Pci::default() };
    frct.handle_packet(now, PacketBuf::copy_of(&[&pci.to_bytes()[..], &[0]].concat()), &mut cache);
    assert!(frct.at_end() && frct.held() == 0);
}

#[test]
fn more_fragments_than_the_window_holds_arrive() {
    let config = Config { window: 64, legacy_window: 16, unsent: 16, send_queue: 32, ..config(true) };
    let mut net = Net::new(&config, &Link::new(1000), 7);
    for side in &mut net.sides {
        (side.to_write, side.size, side.fragment) = (4, 60_000, 100);
    }
    assert!(net.run(Duration::from_secs(60), |net| net.complete()));
    let empty: Vec<u8> = vec![];
    assert_eq!(net.sides[0].frct.unacked(), empty.len());
}

/// Where memory is short, a reader that has read everything lets its peer send on, packet by packet.
#[test]
fn a_reader_that_has_read_all_lets_the_peer_send_whatever_the_memory() {
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(true), 1);
    take(&mut frct, now, 0, Part::Whole, 100, &mut cache);
    let window = |packets: &[Vec<u8>]| {
        packets.last().map(|last| u32::from_be_bytes([0, last[1], last[2], last[3]]).wrapping_sub(RUN))
    };
    // It asks.
    frct.handle_packet(now, PacketBuf::copy_of(&[0x10; Pci::LEN]), &mut cache);
    let told = window(&sent(&mut frct, now)).expect("a window");
    for n in 1..told {
        take(&mut frct, now, n, Part::Whole, 100, &mut cache);
    }
    // The window is used up, and the memory gone to others.
    frct.set_memory(Memory::Full);
    drop(sent(&mut frct, now));
    while frct.deliver(now, &mut cache).is_some() {}
    assert_eq!(window(&sent(&mut frct, now)), Some(told + 1));
}

/// A message of a best-effort flow that has begun may come to its end where memory is short.
#[test]
fn short_memory_lets_a_best_effort_message_come_to_its_end() {
    let (now, mut cache) = (Instant::ZERO, cache());
    let mut frct = Frct::new(config(false), 1);
    take(&mut frct, now, 0, Part::First, 100, &mut cache);
    frct.set_memory(Memory::Tight);
    take(&mut frct, now, 1, Part::Middle, 100, &mut cache);
    take(&mut frct, now, 2, Part::Last, 100, &mut cache);
    assert_eq!(frct.deliver(now, &mut cache).map(|message| message.len()), Some(300));
    take(&mut frct, now, 3, Part::Whole, 100, &mut cache);
    assert!(!frct.can_deliver(), "nothing new is taken");
}
