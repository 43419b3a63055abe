//! Paths that drop what is too large for them, and what a peer may do with pieces and probes.

use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::net::{Link, Net};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::{Config, Frct, Memory, Part};
use crate::wire::frct::{Flags, PathPacket, Pci};

const MESSAGE: usize = 1 << 16;
const RUN: u32 = 7000;

fn config() -> Config {
    Config { o7s_peer: true, message_in: MESSAGE, message_out: MESSAGE, ..Config::default() }
}

fn cache() -> BufCache {
    BufCache::new(&BufPool::new(64))
}

/// All that is to be sent now.
fn sent(frct: &mut Frct, now: Instant) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(transmit) = frct.poll_transmit(now) {
        packets.push([transmit.header(), transmit.payload()].concat());
    }
    packets
}

fn take(frct: &mut Frct, now: Instant, pci: Pci, data: &[u8], cache: &mut BufCache) {
    frct.handle_packet(now, PacketBuf::copy_of(&[&pci.to_bytes(), data].concat()), cache);
}

/// A receiver of which the packets before `RUN` have come.
fn receiver(config: Config, cache: &mut BufCache) -> Frct {
    let mut frct = Frct::new(config, 1);
    let pci = Pci { flags: Flags::DRF | Flags::RDVS, seqno: Seq(RUN), ..Pci::default() };
    take(&mut frct, Instant::ZERO, pci, &[], cache);
    sent(&mut frct, Instant::ZERO);
    frct
}

fn is_path(packet: &[u8]) -> bool {
    Pci::parse(packet).unwrap().path().is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whole packets up to 9000 bytes and fragments, on a path that becomes narrower, wider, and narrower still.
    #[test]
    fn everything_arrives_whatever_the_path_carries(
        seed in any::<u64>(), congestion in any::<bool>(), size in 1usize..9000, fragment in 1000usize..9000,
        mtus in [280usize..9100, 280usize..9100, 280usize..9100],
        loss in 0.0..0.1f64, duplicate in 0.0..0.2f64, reorder in 0.0..0.2f64,
    ) {
        let path = Link { loss, duplicate, reorder, ..Link::new(5000) };
        cross(&mut Net::new(&Config { congestion, ..config() }, &path, seed), (size, fragment), mtus);
    }
}

/// Both ends send messages up to `size` bytes, in fragments of so many, while the path changes what it carries.
fn cross(net: &mut Net, (size, fragment): (usize, usize), mtus: [usize; 3]) {
    for side in &mut net.sides {
        (side.to_write, side.size, side.fragment) = (300, size, fragment);
    }
    for mtu in mtus {
        net.links.iter_mut().for_each(|link| link.mtu = mtu);
        net.run(Duration::from_millis(300), Net::complete);
    }
    assert!(net.run(Duration::from_secs(3000), Net::complete));
    for side in &net.sides {
        assert_eq!((side.frct.held(), side.frct.is_down()), (0, false));
    }
}

/// Answers to small probes get lost as well, and come late.
#[test]
fn a_path_that_loses_does_not_hide_that_it_is_narrow() {
    let path = Link { loss: 0.0745, duplicate: 0.013, reorder: 0.166, ..Link::new(5000) };
    for n in 0..100 {
        for congestion in [false, true] {
            let mut net = Net::new(&Config { congestion, ..config() }, &path, 6_851_322_769_845_385_999 + n);
            cross(&mut net, (6506, 6503), [537, 280, 4232]);
        }
    }
    let path = Link { loss: 0.1, duplicate: 0.1, reorder: 0.2, ..Link::new(5000) };
    for seed in 0..100 {
        cross(&mut Net::new(&config(), &path, seed), (8000, 6000), [5000, 2500, 5000]);
    }
}

#[test]
fn nothing_is_probed_while_packets_arrive() {
    let mut net = Net::new(&config(), &Link { loss: 0.01, reorder: 0.1, ..Link::new(5000) }, 1);
    net.log = Some(Vec::new());
    (net.sides[0].to_write, net.sides[0].size) = (3000, 1400);
    assert!(net.run(Duration::from_secs(600), Net::complete));
    assert!(net.log.unwrap().iter().all(|(_, _, packet)| !is_path(packet)));
    assert_eq!(net.sides[0].frct.stats().lowered, 0);
}

#[test]
fn a_peer_without_memory_is_not_taken_for_a_narrow_path() {
    let mut net = Net::new(&config(), &Link::new(5000), 2);
    (net.sides[0].to_write, net.sides[0].size) = (10, 1400);
    // It answers everything, and takes nothing.
    net.sides[1].reading = false;
    net.sides[1].frct.set_memory(Memory::Full);
    net.log = Some(Vec::new());
    net.run(Duration::from_secs(100), |_| false);
    let again = net.sides[0].frct.stats().retransmitted;
    assert!(again > 10, "{again}");
    assert!(net.log.as_ref().unwrap().iter().all(|(_, _, packet)| !is_path(packet)));
    net.sides[1].frct.set_memory(Memory::Free);
    net.sides[1].reading = true;
    assert!(net.run(Duration::from_secs(600), Net::complete));
}

#[test]
fn a_peer_that_agreed_to_no_messages_gets_no_pieces() {
    for (message_in, message_out) in [(0, MESSAGE), (MESSAGE, 0)] {
        let config = Config { message_in, message_out, ..config() };
        let mut net = Net::new(&config, &Link { mtu: 1000, ..Link::new(5000) }, 3);
        net.log = Some(Vec::new());
        (net.sides[0].to_write, net.sides[0].size) = (10, 1400);
        assert!(!net.run(Duration::from_secs(600), Net::complete));
        let probes = net.log.unwrap().iter().filter(|(_, _, packet)| is_path(packet)).count();
        // Without answers to probes nothing is concluded from them.
        assert!(message_out > 0 || probes == 0, "{probes}");
        assert_eq!(net.sides[0].frct.stats().lowered, 0);
        assert!(net.sides[0].frct.is_down(), "as ever");
    }
}

#[test]
fn pieces_make_the_packet_that_was_cut() {
    let mut cache = cache();
    let mut frct = receiver(config(), &mut cache);
    let now = Instant::from_millis(1);
    let data: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    let piece = |part: Part, n: u32, at: u32| Pci::piece(Flags::DATA | part.flags(), Seq(RUN + n), at, 1000);
    // The second packet first, its last piece before the others; it is the end of a message.
    for at in [900, 0, 300, 600] {
        let bytes = &data[at..(at + 300).min(1000)];
        take(&mut frct, now, piece(Part::Last, 1, at as u32), bytes, &mut cache);
        assert!(!frct.can_deliver());
    }
    assert_eq!(frct.stats().out_of_order, 1);
    for at in [0, 600] {
        take(&mut frct, now, piece(Part::First, 0, at as u32), &data[at..(at + 600).min(1000)], &mut cache);
    }
    assert_eq!(frct.deliver(now, &mut cache).unwrap().to_vec(), [&data[..], &data].concat());
    assert_eq!(frct.held(), 0);
    // Copies of what has come are answered as copies of packets are.
    take(&mut frct, now, piece(Part::Last, 1, 0), &data[..300], &mut cache);
    assert_eq!(frct.stats().duplicates, 1);
    let answers = sent(&mut frct, now);
    assert!(answers.iter().any(|packet| Pci::parse(packet).unwrap().ackno == Seq(RUN + 2)));
}

#[test]
fn pieces_outside_of_the_window_hold_nothing() {
    let mut cache = cache();
    let mut frct = receiver(config(), &mut cache);
    let now = Instant::from_millis(1);
    for n in [-1_i32, -100, 4096, 5000, 60_000, 1 << 20] {
        let seqno = Seq(RUN.wrapping_add_signed(n));
        take(&mut frct, now, Pci::piece(Flags::DATA, seqno, 0, 9000), &[7; 1000], &mut cache);
        assert_eq!(frct.held(), 0, "{n}");
    }
    // Nor without memory, unless it is the one that all wait for.
    frct.set_memory(Memory::Tight);
    take(&mut frct, now, Pci::piece(Flags::DATA, Seq(RUN + 1), 0, 9000), &[7; 1000], &mut cache);
    assert_eq!(frct.held(), 0);
    take(&mut frct, now, Pci::piece(Flags::DATA, Seq(RUN), 0, 9000), &[7; 1000], &mut cache);
    assert!((1000..1300).contains(&frct.held()), "{}", frct.held());
    // It comes in one after all.
    let whole = Pci { flags: Flags::DATA, seqno: Seq(RUN), ..Pci::default() };
    take(&mut frct, now, whole, &[8; 9000], &mut cache);
    assert_eq!(frct.deliver(now, &mut cache).unwrap()[..], [8; 9000]);
    assert_eq!(frct.held(), 0);
}

#[test]
fn strange_pieces_and_probes_are_malformed() {
    let data = Flags::DATA;
    let strange = [
        (Pci::piece(data | Flags::ACK, Seq(RUN), 0, 9000), 1000),
        (Pci::piece(data | Flags::FC, Seq(RUN), 0, 9000), 1000),
        (Pci::piece(data, Seq(RUN), 0, 1 << 20), 17),
        (Pci::piece(data, Seq(RUN), 0, 9000), 17),
        (Pci::piece(data, Seq(RUN), 0, 1000), 1000),
        (Pci::piece(data, Seq(RUN), 500, 1000), 600),
        (Pci { flags: Flags::PATH | Flags::DRF, ..Pci::probe(Seq(1)) }, 0),
        (Pci::answer(Seq(1)), 1),
    ];
    let sound = [(Pci::piece(data, Seq(RUN), 0, 9000), 1000), (Pci::probe(Seq(1)), 500), (Pci::answer(Seq(1)), 0)];
    let agreed = |config| {
        move |(pci, len): (Pci, usize)| {
            let mut cache = cache();
            let mut frct = receiver(config, &mut cache);
            take(&mut frct, Instant::ZERO, pci, &[7; 2000][..len], &mut cache);
            assert!(frct.stats().malformed == 0 || frct.held() == 0);
            frct.stats().malformed
        }
    };
    assert!(strange.into_iter().all(|packet| agreed(config())(packet) == 1));
    assert!(sound.into_iter().all(|packet| agreed(config())(packet) == 0));
    // Where nothing was agreed upon there are none.
    for config in [
        Config { message_in: 0, ..config() },
        Config { o7s_peer: false, ..config() },
        Config { reliable: false, ..config() },
    ] {
        assert!(sound.into_iter().all(|packet| agreed(config.clone())(packet) == 1));
    }
}

#[test]
fn probes_are_answered_once_and_briefly() {
    let mut cache = cache();
    let mut frct = receiver(config(), &mut cache);
    for n in 0..100 {
        for copy in 0..3 {
            take(&mut frct, Instant::ZERO, Pci::probe(Seq(n * 3 + copy)), &[0; 500], &mut cache);
        }
        let answers = sent(&mut frct, Instant::ZERO);
        assert_eq!(answers.len(), 1, "however many come at a time");
        assert_eq!(Pci::parse(&answers[0]).unwrap().path(), Some(PathPacket::Answer(Seq(n * 3 + 2))));
        assert_eq!(answers[0].len(), Pci::LEN);
    }
    assert_eq!((frct.held(), frct.can_deliver()), (0, false));
}

#[test]
fn nothing_but_questions_goes_to_an_address_that_is_not_proven() {
    let now = Instant::from_millis(1);
    let mut frct = Frct::new(config(), 1);
    frct.hold(true);
    frct.send(now, PacketBuf::copy_of(&[7; 1400])).unwrap();
    let mut cache = cache();
    for n in 0..2000 {
        let now = now + Duration::from_millis(50 * n);
        frct.handle_timeout(now, &mut cache);
        assert!(sent(&mut frct, now).iter().all(|packet| packet.len() == Pci::LEN && !is_path(packet)));
    }
}
