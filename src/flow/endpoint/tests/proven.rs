//! When a packet shows that the peer is there.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use super::*;
use crate::base::rng::Rng;
use crate::crypto::SessionKey;
use crate::crypto::backend::Backend;
use crate::crypto::protect::{Protection, Side};
use crate::crypto::suite::Cipher;

fn key() -> SessionKey {
    let mut key = SessionKey::zero();
    key.expose_mut().copy_from_slice(&[7; 32]);
    key
}

/// `None`: one key for both directions.
fn keys(side: Option<Side>, cipher: Cipher) -> Protection {
    match side {
        Some(side) => Protection::between_peers(Backend::preferred(), cipher, key(), side).unwrap(),
        None => Protection::new(cipher, key()).unwrap(),
    }
}

fn protected(side: Option<Side>, cipher: Cipher) -> World {
    let world = idle();
    let protection = Some((Box::new(keys(side, cipher)), Box::new(Rng::from_seed([1; 32]))));
    let params = Params { protection, ..params(RAW, None, Opening::default()) };
    world.endpoint.activate(world.clock.now(), Arc::clone(&world.wire) as Arc<dyn Port>, params);
    world
}

/// A packet of the other end.
fn sealed(side: Option<Side>, cipher: Cipher) -> PacketBuf {
    let mut pkt = PacketBuf::copy_of(b"me");
    keys(side, cipher).seal(&mut pkt, &mut Rng::from_seed([2; 32])).unwrap();
    pkt
}

fn receive(world: &World, pkt: PacketBuf) -> bool {
    world.endpoint.handle_packets(world.clock.now(), [pkt]);
    // It is looked at when somebody reads.
    let _ = world.endpoint.read(&mut [0; 64], ReadMode::Whole);
    world.endpoint.is_proven()
}

#[test]
fn a_packet_of_the_peer_shows_it() {
    let server = protected(Some(Side::Server), Cipher::Aes256Gcm);
    assert!(!receive(&server, PacketBuf::copy_of(&[0; 64])), "garbage");
    assert!(!receive(&server, PacketBuf::copy_of(&[])), "a keepalive in clear");
    server.endpoint.write(b"who is there?").unwrap();
    assert!(receive(&server, sealed(Some(Side::Client), Cipher::Aes256Gcm)));
}

/// With one key for both directions, what was sent comes back and opens.
#[test]
fn an_own_packet_that_comes_back_shows_nothing() {
    let server = protected(None, Cipher::Aes256Gcm);
    server.endpoint.write(b"who is there?").unwrap();
    let own = server.wire.sent.lock().first().map(|bytes| PacketBuf::copy_of(bytes)).unwrap();
    assert!(!receive(&server, own));
    assert_eq!(server.endpoint.counters().bad_crypt, 0, "it did open");
    assert!(!receive(&server, sealed(None, Cipher::Aes256Gcm)), "nor can others be told from it");
    // Who speaks first cannot be an echo.
    let server = protected(None, Cipher::Aes256Gcm);
    assert!(receive(&server, sealed(None, Cipher::Aes256Gcm)));
    server.endpoint.write(b"welcome").unwrap();
    assert!(server.endpoint.is_proven(), "it stays so");
}

#[test]
fn what_is_not_authentic_shows_nothing() {
    let server = protected(None, Cipher::Aes256Ctr);
    assert!(!receive(&server, sealed(None, Cipher::Aes256Ctr)));
    let plain = world(RAW, None);
    assert!(!receive(&plain, PacketBuf::copy_of(b"me")));
}
