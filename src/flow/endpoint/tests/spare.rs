//! Memory of what waits and of what is idle.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panics")]

use super::*;
use crate::base::backlog::Meter;
use crate::base::rng::Rng;
use crate::crypto::SessionKey;
use crate::crypto::backend::Backend;
use crate::crypto::protect::Protection;
use crate::crypto::suite::Cipher;

#[test]
fn a_half_close_is_answered_behind_unread_packets() {
    for (encrypted, unread) in [(false, 1000), (false, 1500), (true, 1500)] {
        let peering = Peering::new(Side::Client, 60_000, &digest(Digest::Sha256, &[b"a request"]));
        let Tokens { own: own_token, peer: peer_token } = peering.tokens();
        let said = |token: [u8; 16], byte: u8| [&token[..], &[byte]].concat();
        let (w, mut peer) =
            if encrypted { sealed(peering, Opening::default()) } else { (world(RAW, Some(peering)), None) };
        let mut seal = |data: &[u8]| {
            let mut packet = PacketBuf::copy_of(data);
            if let Some(keys) = &mut peer {
                keys.seal(&mut packet, &mut Rng::from_seed([1; 32])).unwrap();
            }
            packet
        };
        let (e, now) = (&w.endpoint, w.clock.now());
        // More than the application's queue takes, 1000 packets, which nobody reads.
        (0..unread).for_each(|n: u32| e.handle_packets(now, [seal(&n.to_be_bytes())]));
        let woken = Arc::new(Woken::default());
        let (closer, waker) = (e.closer(), Waker::from(Arc::clone(&woken)));
        e.shut();
        assert!(encrypted || *w.wire.sent.lock() == [said(own_token, 0)]);
        assert!(!e.poll_closed(&closer, &waker), "it is not answered yet");
        // The answer, and what the peer, who writes on, has written behind it.
        e.handle_packets(now, [seal(&said(peer_token, 3))]);
        (unread..unread + 20).for_each(|n| e.handle_packets(now, [seal(&n.to_be_bytes())]));
        assert!(e.poll_closed(&closer, &waker), "{unread} packets before it");
        // All of which can be read.
        for n in 0..unread + 20 {
            assert_eq!(e.read_packet().as_deref(), Ok(&n.to_be_bytes()[..]), "{unread}");
        }
        assert_eq!((e.read_packet().unwrap_err(), e.counters().overflow), (ReadError::WouldBlock, 0));
    }
}

/// An end of an encrypted raw flow, and the other's protection.
fn sealed(peering: Peering, opening: Opening) -> (World, Option<Protection>) {
    let world = idle();
    let now = world.clock.now();
    let keys = |side| {
        let key = SessionKey::from_bytes([7; 32]);
        Protection::between_peers(Backend::preferred(), Cipher::Aes256Gcm, key, side).unwrap()
    };
    let ivs = Rng::from_seed([9; 32]);
    let (side, protection) = (peering.side, Some((Box::new(keys(peering.side)), Box::new(ivs))));
    let params = Params { protection, ..params(RAW, Some(peering), opening) };
    world.endpoint.activate(now, Arc::clone(&world.wire) as Arc<dyn Port>, params);
    (world, Some(keys(side.other())))
}

/// An end that is relaxed, after a packet from its peer, whose protection it is.
fn relaxed(opening: Opening) -> (World, Protection) {
    let peering = Peering::new(Side::Client, 60_000, &digest(Digest::Sha256, &[b"a request"]));
    let (w, peer) = sealed(peering, opening);
    let mut peer = peer.unwrap();
    bring(&w, &mut peer, b"data");
    assert_eq!(w.endpoint.read_packet().as_deref(), Ok(&b"data"[..]));
    assert!(!w.endpoint.inner.lock().pipe.is_relaxed());
    assert!(holds_schedules(&w), "of the packet");
    rest(&w, 1000);
    assert!(w.endpoint.inner.lock().pipe.is_relaxed() && !holds_schedules(&w));
    (w, peer)
}

fn bring(w: &World, peer: &mut Protection, data: &[u8]) {
    let mut packet = PacketBuf::copy_of(data);
    peer.seal(&mut packet, &mut Rng::from_seed([1; 32])).unwrap();
    w.endpoint.handle_packets(w.clock.now(), [packet]);
}

/// So many milliseconds pass, and the flow does what is due then.
fn rest(w: &World, ms: u64) {
    w.clock.advance_to(w.clock.now() + Duration::from_millis(ms));
    w.endpoint.handle_timeout(w.clock.now());
}

fn holds_schedules(w: &World) -> bool {
    w.endpoint.inner.lock().pipe.holds_schedules()
}

#[test]
fn keepalives_leave_nothing_behind() {
    let (w, mut peer) = relaxed(Opening::default());
    for n in 1..=3 {
        w.clock.advance_to(w.clock.now() + Duration::from_secs(2));
        bring(&w, &mut peer, b"");
        assert_eq!(w.endpoint.counters().keepalives_received, n);
        let inner = w.endpoint.inner.lock();
        assert!(inner.pipe.is_relaxed(), "a keepalive is no use of the flow");
        assert_eq!(inner.pipe.work.capacity(), 0, "the list of packets in work");
        assert!(!inner.pipe.holds_schedules(), "neither its own nor the peer's");
        let due = inner.next_deadline().unwrap();
        assert!(due > w.clock.now() + Duration::from_secs(10), "and there is nothing to give back later");
    }
}

#[test]
fn keepalives_in_quick_succession_share_a_schedule() {
    let (w, mut peer) = relaxed(Opening::default());
    // The first comes after a silence, and knows nothing of those that follow.
    bring(&w, &mut peer, b"");
    // One is missing: the ring of numbers is there as well.
    peer.seal(&mut PacketBuf::copy_of(b""), &mut Rng::from_seed([1; 32])).unwrap();
    let mut computed = 0;
    for _ in 0..100 {
        w.clock.advance_to(w.clock.now() + Duration::from_millis(5));
        let held = holds_schedules(&w);
        bring(&w, &mut peer, b"");
        computed += u32::from(!held || !holds_schedules(&w));
    }
    assert_eq!(computed, 1, "by the first of them, and kept");
    assert!(w.endpoint.inner.lock().pipe.is_relaxed(), "for all that, they are no use of the flow");
    // Nothing else is due soon.
    let due = w.endpoint.inner.lock().next_deadline().unwrap();
    assert_eq!(due, w.clock.now() + Duration::from_millis(250));
    rest(&w, 250);
    assert!(!holds_schedules(&w));
    assert!(w.endpoint.inner.lock().next_deadline().unwrap() > w.clock.now() + Duration::from_secs(10));
}

/// Of somebody who knows where the flow is, and nothing else.
#[test]
fn made_up_packets_in_quick_succession_share_a_schedule() {
    let (w, mut peer) = relaxed(Opening::default());
    let mut computed = 0;
    for _ in 0..100 {
        w.clock.advance_to(w.clock.now() + Duration::from_millis(5));
        let held = holds_schedules(&w);
        let mut packet = PacketBuf::copy_of(b"data");
        peer.seal(&mut packet, &mut Rng::from_seed([1; 32])).unwrap();
        let last = packet.len() - 1;
        packet[last] ^= 1;
        w.endpoint.handle_packets(w.clock.now(), [packet]);
        w.endpoint.handle_timeout(w.clock.now());
        computed += u32::from(!held || !holds_schedules(&w));
    }
    assert_eq!((computed, w.endpoint.counters().bad_crypt), (1, 100), "by the first of them, and kept");
    assert!(w.endpoint.inner.lock().pipe.is_relaxed(), "they are no use of the flow");
    rest(&w, 250);
    assert!(!holds_schedules(&w));
}

#[test]
fn own_keepalives_leave_nothing_to_be_given_back_later() {
    let (w, _) = relaxed(Opening::default());
    let sent = w.endpoint.counters().keepalives_sent;
    let due = w.endpoint.inner.lock().next_deadline().unwrap();
    w.clock.advance_to(due);
    w.endpoint.handle_timeout(due);
    assert_eq!(w.endpoint.counters().keepalives_sent, sent + 1);
    assert!(!holds_schedules(&w));
    let armed = w.host.armed.lock().unwrap();
    assert!(armed > due + Duration::from_secs(5), "{:?} later", armed - due);
}

/// Those of a peer who may still ask for a sign of life, and gets one for each.
#[test]
fn answers_to_keepalives_share_a_schedule() {
    let (w, mut peer) = relaxed(Opening { allowance: Some(10_000), ..Opening::default() });
    bring(&w, &mut peer, b"");
    let sent = w.endpoint.counters().keepalives_sent;
    for n in 1..=100 {
        w.clock.advance_to(w.clock.now() + Duration::from_millis(5));
        bring(&w, &mut peer, b"");
        assert_eq!(w.endpoint.counters().keepalives_sent, sent + n);
        assert!(holds_schedules(&w), "kept for the next answer");
    }
    rest(&w, 250);
    assert!(!holds_schedules(&w));
}

/// Each of them brings its flow one packet as far ahead as its window reaches, and nothing else.
#[test]
fn packets_far_ahead_leave_a_peer_its_share_of_the_memory() {
    let clock = Arc::new(ManualClock::new(0)) as Arc<dyn Clock>;
    // Of 4 MiB, for flows of which each may have a window of 4096 packets.
    let share = Meter::part(4 << 20, &Meter::whole(64 << 20, &clock));
    let flow = || {
        let world = idle();
        let now = world.clock.now();
        let peering = Peering::new(Side::Server, 60_000, &digest(Digest::Sha256, &[b"a request"]));
        let params = Params { meter: Some(Arc::clone(&share)), ..params(DATA, Some(peering), Opening::default()) };
        world.endpoint.activate(now, Arc::clone(&world.wire) as Arc<dyn Port>, params);
        world
    };
    let bring = |world: &World, flags: Flags, n: u32| {
        let mut packet = Pci { flags, seqno: Seq(n), ..Pci::default() }.to_bytes().to_vec();
        packet.extend_from_slice(&n.to_be_bytes());
        world.endpoint.handle_packets(world.clock.now(), [PacketBuf::copy_of(&packet)]);
    };
    let far: Vec<_> = (0..1000).map(|_| flow()).collect();
    for world in &far {
        bring(world, Flags::DATA | Flags::DRF, 0);
        assert!(world.endpoint.read_packet().is_ok());
        bring(world, Flags::DATA, 4000);
        assert_eq!(world.endpoint.frct_stats().unwrap().out_of_order, 1, "it is taken");
    }
    let honest = flow();
    bring(&honest, Flags::DATA | Flags::DRF, 0);
    // All but the second, which comes last.
    (2..500).for_each(|n| bring(&honest, Flags::DATA, n));
    bring(&honest, Flags::DATA, 1);
    assert_eq!(honest.endpoint.frct_stats().unwrap().out_of_window, 0, "{} bytes are held", share.used());
    for n in 0..500u32 {
        assert_eq!(honest.endpoint.read_packet().as_deref(), Ok(&n.to_be_bytes()[..]));
    }
}
