//! Ends of streams and flows: told, in their turn, whatever the path does.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Link, Net};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::{Config, Ending, Frct};
use crate::wire::frct::{Flags, Pci, Sack};

fn reliable() -> Config {
    Config::default()
}

fn best_effort() -> Config {
    Config { reliable: false, ..Config::default() }
}

fn bad_link() -> Link {
    Link { loss: 0.2, duplicate: 0.1, reorder: 0.2, jitter: Duration::from_millis(5), ..Link::new(10_000) }
}

#[test]
fn the_end_comes_behind_all_data_and_the_other_direction_goes_on() {
    for seed in 0..50 {
        let mut net = Net::new(&reliable(), &bad_link(), seed);
        net.sides[0].to_write = 300;
        assert!(net.run(Duration::from_secs(60), |n| n.sides[0].written == 300));
        let now = net.now;
        net.sides[0].frct.finish(now);
        assert!(!net.sides[0].frct.can_send());
        let ended = net.run(Duration::from_secs(60), |n| {
            assert!(!n.sides[1].frct.at_end() || n.sides[1].read == 300, "seed {seed}: the end came too early");
            n.sides[1].frct.at_end()
        });
        assert!(ended, "seed {seed}");
        assert_eq!(net.sides[1].frct.peer_ending(), Some(Ending::Writing));
        assert!(!net.sides[1].frct.peer_closed());

        net.sides[1].to_write = 300;
        assert!(net.run(Duration::from_secs(60), |n| n.complete()), "seed {seed}: both know everything");
        assert_eq!((net.sides[0].read, net.sides[0].frct.at_end()), (300, false));
        assert_eq!(net.sides[0].frct.unacked() + net.sides[1].frct.unacked(), 0);
    }
}

#[test]
fn an_end_needs_no_data_before_it() {
    let mut net = Net::new(&reliable(), &Link::new(10_000), 1);
    net.sides[0].frct.finish(Instant::from_millis(1));
    assert!(net.run(Duration::from_secs(1), |n| n.sides[1].frct.at_end() && n.sides[0].frct.is_drained()));
    assert!(net.now - Instant::from_millis(1) <= Duration::from_millis(21), "a round trip");
}

#[test]
fn the_end_passes_a_window_that_the_reader_has_shut() {
    let config = Config { window: 16, legacy_window: 16, ..reliable() };
    let mut net = Net::new(&config, &Link::new(1000), 1);
    net.sides[1].reading = false;
    net.sides[0].to_write = 16;
    assert!(net.run(Duration::from_secs(5), |n| n.sides[0].frct.is_drained() && n.sides[0].written == 16));
    let now = net.now;
    net.sides[0].frct.close(now);
    net.run(Duration::from_secs(5), |n| n.sides[0].frct.is_drained());
    net.sides[1].reading = true;
    assert!(net.run(Duration::from_secs(20), |n| n.sides[1].frct.at_end() && n.sides[0].frct.is_drained()));
    assert_eq!(net.sides[1].read, 16);
}

#[test]
fn the_end_passes_a_window_that_is_full_to_the_last_packet() {
    // More than may be sent blindly.
    let config = Config { window: 128, legacy_window: 128, o7s_peer: true, ..reliable() };
    let mut net = Net::new(&config, &Link::new(1000), 1);
    net.sides[1].reading = false;
    net.sides[0].to_write = 128;
    assert!(net.run(Duration::from_secs(5), |n| n.sides[0].frct.is_drained() && n.sides[0].written == 128));
    let now = net.now;
    net.sides[0].frct.close(now);
    assert!(net.run(Duration::from_secs(5), |n| n.sides[0].frct.is_drained()), "nobody reads, and nobody is told");
    assert_eq!(net.sides[1].frct.peer_ending(), Some(Ending::Closed));
    net.sides[1].reading = true;
    assert!(net.run(Duration::from_secs(5), |n| n.sides[1].frct.at_end()));
    assert_eq!(net.sides[1].read, 128);
}

#[test]
fn a_closed_end_takes_no_data_and_tells_the_peer() {
    for seed in 0..20 {
        let mut net = Net::new(&reliable(), &bad_link(), seed);
        net.sides[0].to_write = 20;
        net.sides[1].to_write = 10;
        assert!(net.run(Duration::from_secs(60), |n| n.complete()));
        let now = net.now;
        // One more is on its way to the end that closes: it is lost, and counted.
        net.sides[1].to_write = 11;
        net.pump(1);
        net.sides[0].frct.close(now);
        net.sides[0].reading = false;
        assert!(net.run(Duration::from_secs(60), |n| n.sides[0].frct.is_drained() && n.sides[1].frct.is_drained()));
        let told = &net.sides[1].frct;
        assert!(told.at_end() && told.peer_closed() && !told.can_send(), "seed {seed}");
        assert!(told.unacked() <= 1);
    }
}

#[test]
fn half_and_then_all() {
    let mut net = Net::new(&reliable(), &bad_link(), 3);
    net.sides[0].to_write = 5;
    assert!(net.run(Duration::from_secs(60), |n| n.sides[0].written == 5));
    let now = net.now;
    net.sides[0].frct.finish(now);
    net.sides[0].frct.finish(now);
    net.sides[0].frct.close(now);
    net.sides[0].frct.finish(now);
    assert!(net.run(Duration::from_secs(60), |n| n.sides[0].frct.is_drained() && n.sides[1].frct.peer_closed()));
    assert_eq!(net.sides[1].read, 5);
}

#[test]
fn both_may_close_at_once() {
    for seed in 0..50 {
        for config in [reliable(), best_effort()] {
            let mut net = Net::new(&config, &bad_link(), seed);
            net.sides[0].to_write = 3;
            net.run(Duration::from_secs(1), |n| n.sides[0].written == 3);
            let now = net.now;
            net.sides.iter_mut().for_each(|side| side.frct.close(now));
            let over = net.run(Duration::from_secs(60), |n| n.sides.iter().all(|side| side.frct.is_drained()));
            assert!(over, "seed {seed}");
        }
    }
}

#[test]
fn an_abort_is_told_and_drops_data_under_way() {
    for config in [reliable(), best_effort()] {
        let mut net = Net::new(&config, &Link::new(10_000), 4);
        net.sides[0].to_write = 40;
        net.sides[1].to_write = 1;
        net.run(Duration::from_millis(100), |n| n.sides[1].read > 0);
        let now = net.now;
        let side = &mut net.sides[0];
        side.frct.abort(now, &mut side.cache);
        assert!(net.run(Duration::from_secs(5), |n| n.sides[1].frct.peer_ending().is_some()));
        assert!(net.now - now <= Duration::from_millis(10));
        assert_eq!(net.sides[1].frct.peer_ending(), Some(Ending::Aborted));
        assert!(net.run(Duration::from_secs(5), |n| n.sides.iter().all(|side| side.frct.is_drained())));
        assert!(net.now - now <= Duration::from_millis(20), "the answer ends the repetitions");
    }
}

#[test]
fn notices_are_repeated_and_then_given_up() {
    let mut net = Net::new(&best_effort(), &Link::new(10_000), 5);
    net.sides[0].to_write = 3;
    assert!(net.run(Duration::from_secs(1), |n| n.sides[1].read == 3));
    net.links[0].loss = 1.0;
    let (now, before) = (net.now, net.carried[0]);
    net.sides[0].frct.close(now);
    assert!(net.run(Duration::from_secs(60), |n| n.sides[0].frct.is_drained()));
    assert_eq!(net.carried[0] - before, 5);
    assert!(net.now - now <= Duration::from_secs(3));
    assert!(!net.sides[1].frct.at_end());
}

#[test]
fn a_lost_notice_is_made_up_for() {
    for seed in 0..50 {
        let mut net = Net::new(&best_effort(), &Link { loss: 0.3, ..Link::new(10_000) }, seed);
        net.sides[0].to_write = 3;
        net.run(Duration::from_millis(50), |n| n.sides[0].written == 3);
        let now = net.now;
        net.sides[0].frct.close(now);
        net.run(Duration::from_secs(10), |n| n.sides[0].frct.is_drained());
        // 0.3^5: one in four hundred may stay uninformed.
        assert!(net.sides[1].frct.at_end(), "seed {seed}");
    }
}

/// What was written before the end is no more lost than anything else that is sent: it may wait for the window, and the notice
/// behind it.
#[test]
fn a_notice_comes_behind_data_that_waits() {
    for (ending, end) in [(Ending::Writing, Frct::finish as fn(&mut Frct, Instant)), (Ending::Closed, Frct::close)] {
        let mut net = Net::new(&best_effort(), &Link::new(300_000), 6);
        net.sides[0].to_write = 400;
        net.pump(0);
        let (written, now) = (net.sides[0].written, net.now);
        assert!(written > 100, "more than may be sent blindly");
        end(&mut net.sides[0].frct, now);
        net.pump(0);
        assert!(net.run(Duration::from_secs(20), |n| n.sides[1].frct.at_end()));
        assert_eq!((net.sides[1].read, net.sides[1].frct.peer_ending()), (written, Some(ending)));
        assert!(net.run(Duration::from_secs(5), |n| n.sides[0].frct.is_drained()));
    }
}

/// It does not wait for one who reads nothing.
#[test]
fn a_notice_does_not_wait_for_a_reader_that_has_stopped() {
    let mut net = Net::new(&Config { window: 64, legacy_window: 64, ..best_effort() }, &Link::new(1000), 7);
    net.sides[1].reading = false;
    net.sides[0].to_write = 400;
    net.pump(0);
    let now = net.now;
    net.sides[0].frct.close(now);
    net.pump(0);
    assert!(net.run(Duration::from_secs(3), |n| n.sides[1].frct.peer_ending() == Some(Ending::Closed)));
    assert!(net.now - now >= Duration::from_millis(500), "not before it could have read");
    assert!(!net.sides[0].frct.is_drained(), "what it has not read goes on waiting");
}

/// A layer without room holds data back, with the notice behind it, and nothing else; and nothing is due meanwhile.
#[test]
fn data_and_the_notice_behind_it_wait_for_room_below() {
    let (mut frct, mut cache) = machine(true, false);
    let mut now = Instant::from_millis(1);
    for byte in 0..3 {
        frct.send(now, PacketBuf::copy_of(&[byte])).unwrap();
    }
    frct.set_room(false);
    frct.close(now);
    let sent = |frct: &mut Frct, now| {
        let mut sent = Vec::new();
        while let Some(packet) = frct.poll_transmit(now) {
            sent.push(packet.payload().to_vec());
        }
        sent
    };
    assert_eq!(sent(&mut frct, now), [Vec::<u8>::new()], "the rendez-vous that opens the flow");
    for _ in 0..100 {
        let Some(at) = frct.next_deadline() else { break };
        assert!(at > now, "nothing is due that does not happen");
        now = at;
        frct.handle_timeout(now, &mut cache);
        assert!(sent(&mut frct, now).iter().all(Vec::is_empty), "rendez-vous only");
    }
    // The peer closes as well, and wants to know that this end has heard.
    frct.handle_packet(now, packet(Flags::END | Flags::DRF, 90, &[0]), &mut cache);
    assert_eq!(sent(&mut frct, now), [[3]]);
    assert!(!frct.is_drained());
    frct.set_room(true);
    assert_eq!(sent(&mut frct, now), [[0], [1], [2], [1]], "data, and the notice of the end");

    // An abort waits for nothing.
    let (mut frct, mut cache) = machine(true, false);
    frct.send(now, PacketBuf::copy_of(&[7])).unwrap();
    frct.set_room(false);
    frct.close(now);
    frct.abort(now, &mut cache);
    assert_eq!(sent(&mut frct, now).last(), Some(&vec![2]));
}

fn machine(o7s_peer: bool, reliable: bool) -> (Frct, BufCache) {
    let config = Config { o7s_peer, reliable, ..Config::default() };
    (Frct::new(config, 7), BufCache::new(&BufPool::new(8)))
}

fn packet(flags: Flags, seqno: u32, body: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::copy_of(&Pci { flags, seqno: Seq(seqno), ..Pci::default() }.to_bytes());
    packet.extend_from_slice(body).unwrap();
    packet
}

#[test]
fn an_answer_to_an_earlier_word_is_none_to_the_last() {
    let (mut frct, mut cache) = machine(true, false);
    let said = |frct: &mut Frct, now| frct.poll_transmit(now).map(|t| t.payload().to_vec());
    let now = Instant::from_millis(1);
    frct.handle_packet(now, packet(Flags::DATA | Flags::DRF, 100, b"data"), &mut cache);
    while said(&mut frct, now).is_some() {}
    frct.finish(now);
    assert_eq!(said(&mut frct, now), Some([0].to_vec()));
    frct.close(now);
    assert_eq!(said(&mut frct, now), Some([1].to_vec()), "which is lost");
    let known = |frct: &mut Frct, cache: &mut BufCache| {
        frct.handle_packet(now, packet(Flags::END | Flags::DRF, 101, &[3]), cache);
    };
    known(&mut frct, &mut cache);
    assert!(!frct.is_drained());
    let later = frct.next_deadline().unwrap();
    frct.handle_timeout(later, &mut cache);
    assert_eq!(said(&mut frct, later), Some([1].to_vec()));
    known(&mut frct, &mut cache);
    assert!(frct.is_drained());
}

#[test]
fn a_reference_is_told_nothing_and_believed_nothing() {
    let now = Instant::from_millis(1);
    for reliable in [true, false] {
        let (mut frct, mut cache) = machine(false, reliable);
        for (flags, body) in [(Flags::END | Flags::DATA | Flags::DRF, 1), (Flags::END | Flags::DRF, 2)] {
            frct.handle_packet(now, packet(flags, 100, &[body]), &mut cache);
        }
        assert_eq!((frct.peer_ending(), frct.stats().malformed), (None, 2));
        frct.close(now);
        assert!(frct.poll_transmit(now).is_none() && frct.is_drained());
        frct.abort(now, &mut cache);
        assert!(frct.poll_transmit(now).is_none() && frct.is_drained());
    }
}

#[test]
fn ends_that_nobody_sends_change_nothing() {
    let now = Instant::from_millis(1);
    let (mut frct, mut cache) = machine(true, true);
    frct.handle_packet(now, packet(Flags::DATA | Flags::DRF, 100, b"data"), &mut cache);
    for (flags, seqno, body) in [
        (Flags::END | Flags::DRF, 100, &[][..]),
        (Flags::END | Flags::DRF, 100, &[2, 2][..]),
        (Flags::END | Flags::DRF, 100, &[9][..]),
        (Flags::END | Flags::DRF, 100 + (1 << 20), &[2][..]),
        (Flags::END | Flags::DATA, 100 + 5000, &[1][..]),
        (Flags::END | Flags::DATA, 99, &[1][..]),
        (Flags::END | Flags::DATA | Flags::FFGM, 101, &[1][..]),
    ] {
        frct.handle_packet(now, packet(flags, seqno, body), &mut cache);
        assert_eq!(frct.peer_ending(), None, "{flags:?} {seqno} {body:?}");
    }
    assert_eq!(&frct.deliver(now, &mut cache).unwrap()[..], b"data");
}

#[test]
fn a_run_never_begins_behind_the_one_before() {
    let mut now = Instant::from_millis(1);
    let recorded: Vec<_> =
        (0..3).map(|n| packet(Flags::DATA | if n == 0 { Flags::DRF } else { Flags::NONE }, 100 + n, b"open")).collect();
    let replay = |frct: &mut Frct, cache: &mut BufCache, now| {
        let mut got = 0;
        for one in &recorded {
            frct.handle_packet(now, PacketBuf::copy_of(one), cache);
        }
        while frct.deliver(now, cache).is_some() {
            got += 1;
        }
        got
    };
    for reliable in [true, false] {
        let (mut frct, mut cache) = machine(true, reliable);
        assert_eq!(replay(&mut frct, &mut cache, now), 3);
        for _ in 0..3 {
            now += Duration::from_secs(200);
            assert_eq!(replay(&mut frct, &mut cache, now), 0, "recorded, and delivered again");
            // The peer itself goes on where it was, pause or not.
            let next = packet(Flags::DATA | Flags::DRF, frct.stats().received as u32 + 100, b"new");
            frct.handle_packet(now, next, &mut cache);
            assert_eq!(&frct.deliver(now, &mut cache).unwrap()[..], b"new");
        }
        // A reference may begin anew, so nothing can be said against it there.
        let (mut frct, mut cache) = machine(false, reliable);
        assert_eq!(replay(&mut frct, &mut cache, now), 3);
        assert_eq!(replay(&mut frct, &mut cache, now + Duration::from_secs(200)), 3);
    }
}

#[test]
fn an_end_held_by_the_peer_is_not_lost_data() {
    let now = Instant::from_millis(1);
    let (mut frct, mut cache) = machine(true, true);
    frct.finish(now);
    frct.close(now);
    while frct.poll_transmit(now).is_some() {}
    // The first end is missing, the second has arrived; then the peer goes as well.
    let pci = Pci { flags: Flags::ACK | Flags::FC | Flags::DRF, seqno: Seq(100), ackno: Seq(7), window: 300 };
    let mut sack = Sack::new(Seq(7));
    assert!(sack.push(Seq(8), Seq(9)));
    let mut report = pci.to_bytes().to_vec();
    report.resize(Pci::LEN + sack.encoded_len(), 0);
    sack.emit(&mut report[Pci::LEN..]).unwrap();
    frct.handle_packet(now, PacketBuf::copy_of(&report), &mut cache);
    frct.handle_packet(now, packet(Flags::END | Flags::DATA | Flags::DRF, 100, &[1]), &mut cache);
    assert_eq!((frct.peer_ending(), frct.unacked()), (Some(Ending::Closed), 0));
}
