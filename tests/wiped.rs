//! Keys do not stay in memory that was given back: the allocator looks into every block that is freed. What grows is moved,
//! so that what it leaves behind is looked into as well.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64ct::{Base64, Encoding};
use o7s::base::buf::PacketBuf;
use o7s::base::rng::Rng;
use o7s::capture::{CaptureConfig, KeyLog, Reader};
use o7s::crypto::backend::Backend;
use o7s::crypto::kdf::hkdf;
use o7s::crypto::kex::KemKey;
use o7s::crypto::pem;
use o7s::crypto::protect::{Protection, Side};
use o7s::crypto::sign::{KeyError, PrivateKey, Signer};
use o7s::crypto::suite::{Cipher, Kdf, Kex};
use o7s::crypto::{SessionKey, hash};
use o7s::sim::Network;
use o7s::{QosSpec, SecurityConfig};

#[path = "world/sink.rs"]
mod sink;

use sink::Sink;

thread_local! {
    /// What must not be in freed memory, and how often it was. A simulation runs on the thread of its test.
    static SECRET: Cell<&'static [u8]> = const { Cell::new(&[]) };
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

struct Looking;

#[global_allocator]
static HEAP: Looking = Looking;

#[allow(unsafe_code, reason = "the trait of allocators is unsafe")]
// SAFETY: every call goes on to the system's allocator.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's obligations are the same. Memory that was zeroed can be looked into.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let secret = SECRET.try_with(Cell::get).unwrap_or_default();
        if !secret.is_empty() {
            // SAFETY: the block was allocated with this layout and is not freed yet.
            let block = unsafe { core::slice::from_raw_parts(ptr, layout.size()) };
            if block.windows(secret.len()).any(|bytes| bytes == secret) {
                let _ = LEFT.try_with(|left| left.set(left.get() + 1));
            }
        }
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Returns in how many freed blocks `secret` was while `f` ran.
fn left_behind(secret: Vec<u8>, f: impl FnOnce()) -> usize {
    LEFT.set(0);
    SECRET.set(secret.leak());
    f();
    SECRET.set(&[]);
    LEFT.get()
}

#[test]
fn the_allocator_finds_what_is_left() {
    let secret = || b"a secret".to_vec();
    assert_eq!(left_behind(secret(), || drop(b"not a secre".to_vec())), 0);
    assert_eq!(left_behind(secret(), || drop(b"not a secret".to_vec())), 1);
    let grows = || {
        let mut bytes = Vec::with_capacity(8);
        bytes.extend_from_slice(b"a secret");
        bytes.extend_from_slice(&[0; 100]);
        bytes.fill(0);
    };
    assert_eq!(left_behind(secret(), grows), 1, "where it was before");
}

/// Hands `sink` a capture, with the keys, of an encrypted flow with so many messages. All is the same each time.
fn capture(messages: usize, sink: impl Write + Send + 'static) -> io::Result<()> {
    let net = Network::new(3);
    let security: SecurityConfig = "X25519,aes-256-gcm".parse().unwrap();
    let [a, b] = [("a", "10.0.0.1"), ("b", "10.0.0.2")]
        .map(|(name, addr)| net.host(name).stack(|builder| builder.security(security.clone())).udp4(addr).build());
    let capture = a.stack().capture(sink, CaptureConfig::default().keys(true)).unwrap();
    let listener = b.listen("echo");
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        while let Ok(message) = flow.read_bytes().await {
            let _ = flow.write(&message).await;
        }
    });
    net.block_on(async {
        let flow = a.stack().flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap();
        for _ in 0..messages {
            flow.write(&[1; 1000]).await.unwrap();
            flow.read_bytes().await.unwrap();
        }
    });
    capture.stop().map(drop)
}

/// The key of the flow in [`capture`], as a key log has it.
fn key(messages: usize) -> Vec<u8> {
    let sink = Sink::default();
    capture(messages, sink.clone()).unwrap();
    let file = sink.bytes();
    let mut reader = Reader::new(&file[..]).unwrap();
    while reader.packet().unwrap().is_some() {}
    let lines = reader.take_secrets();
    let key = lines.split_ascii_whitespace().nth(2).unwrap().as_bytes().to_vec();
    assert_eq!(key.len(), 64, "{lines}");
    key
}

/// Counts the writes that a key is in, and keeps nothing; the `fails`th write and those behind it fail.
struct Counts {
    key: Vec<u8>,
    seen: Arc<AtomicUsize>,
    writes: usize,
    fails: usize,
}

impl Write for Counts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let seen = bytes.windows(self.key.len()).any(|bytes| bytes == self.key);
        self.seen.fetch_add(seen.into(), Ordering::Relaxed);
        self.writes += 1;
        if self.writes >= self.fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        self.key.fill(0);
    }
}

#[test]
fn keys_of_a_capture_are_wiped() {
    // Without a message nothing takes the place of the key in the buffer that is freed in the end.
    for messages in [0, 100] {
        // The last: none of them.
        for fails in [1, 2, 3, usize::MAX] {
            let (secret, seen) = (key(messages), Arc::new(AtomicUsize::new(0)));
            let sink = Counts { key: secret.clone(), seen: Arc::clone(&seen), writes: 0, fails };
            let all = fails == usize::MAX;
            let left = left_behind(secret, || {
                let result = capture(messages, sink);
                assert!(!all || result.is_ok());
            });
            assert_eq!(left, 0, "{messages} messages, write {fails} fails");
            assert!(!all || seen.load(Ordering::Relaxed) == 1, "it is written once");
        }
    }
}

#[test]
fn keys_of_a_log_are_wiped() {
    let line = |n: u8| format!("O7S_PEER_SESSION_KEY {} {}\n", "01".repeat(16), format!("{n:02x}").repeat(32));
    let lines: Vec<String> = (100..200).map(line).collect();
    let left = left_behind(vec![100; 32], || {
        let mut log = KeyLog::default();
        lines.iter().for_each(|line| log.add(line));
        let log = Rc::new(log);
        assert_eq!(log.len(), 100);
    });
    assert_eq!(left, 0);
}

const KEY: [u8; 32] = [8; 32];

/// The secret that follows from the session key through all of these purposes.
fn secret<'a>(purposes: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let salt = hash::sha256(&[&KEY]);
    let mut secret = KEY;
    for purpose in purposes {
        let before = secret;
        hkdf(Kdf::Sha256, &salt, &before, purpose, &mut secret);
    }
    secret.to_vec()
}

fn seal(sender: &mut Protection) -> PacketBuf {
    let mut packet = PacketBuf::copy_of(b"payload");
    sender.seal(&mut packet, &mut Rng::from_seed([4; 32])).unwrap();
    packet
}

#[test]
fn secrets_of_generations_to_come_are_wiped() {
    let end = |side| {
        let key = SessionKey::from_bytes(KEY);
        Protection::between_peers(Backend::preferred(), Cipher::Aes256Gcm, key, side).unwrap().with_rotation_bit(1)
    };
    // Two packets in each generation: the fifth is the first of the second after the first.
    let genuine = |n: usize| {
        let mut sender = end(Side::Client);
        (0..n).map(|_| seal(&mut sender)).last().unwrap()
    };
    let forged = |generation: u64| {
        let mut packet = genuine(1);
        packet[4..12].copy_from_slice(&(generation << 1).to_be_bytes());
        packet
    };
    for generation in [1, 2, 3, 5, 100, 256] {
        let next = std::iter::repeat_n(&b"o7s next"[..], generation);
        let secret = secret(std::iter::once(&b"o7s client"[..]).chain(next));
        let (mut small, mut large, mut second, mut last) = (forged(3), forged(256), genuine(5), genuine(513));
        let mut end = end(Side::Server);
        let left = left_behind(secret, || {
            // They come to be, become more, some are used, and in the end all are.
            assert!(end.open(&mut small).is_err() && end.open(&mut large).is_err());
            end.open(&mut second).unwrap();
            end.open(&mut last).unwrap();
            drop(end);
        });
        assert_eq!(left, 0, "generation {generation}");
    }
}

#[test]
fn keys_to_come_towards_a_reference_are_wiped() {
    let end = || Protection::new(Cipher::Aes256Gcm, SessionKey::from_bytes(KEY)).unwrap().with_rotation_bit(1);
    let mut sender = end();
    // Three in the first generation.
    let next = (0..4).map(|_| seal(&mut sender)).last().unwrap();
    assert_eq!(sender.generation(), 1);
    for generation in [1, 2] {
        let secret = secret(std::iter::repeat_n(&b"o7s-key-rotation"[..], generation));
        let (mut end, mut next) = (end(), PacketBuf::copy_of(&next));
        let left = left_behind(secret, || {
            end.open(&mut next).unwrap();
            drop(end);
        });
        assert_eq!(left, 0, "generation {generation}");
    }
}

/// Private bytes that a row takes.
fn private(kex: Kex) -> Vec<u8> {
    let len = match kex {
        Kex::Prime256v1 | Kex::X25519 | Kex::Ffdhe2048 => 32,
        Kex::Ffdhe3072 => 40,
        Kex::Secp384r1 | Kex::Ffdhe4096 => 48,
        Kex::X448 => 56,
        Kex::Secp521r1 => 66,
        _ => 64,
    };
    // All different, so that no other memory is like them.
    (0..len).map(|i| if i == 0 { 1 } else { 100 + i as u8 }).collect()
}

/// The private keys, and what is agreed on, of every key exchange: also the other way round, as numbers are kept.
#[test]
fn secrets_of_key_exchanges_are_wiped() {
    // A hybrid has the keys of two others.
    for kex in Kex::ALL.iter().copied().filter(|kex| !kex.is_hybrid()) {
        let row = Backend::preferred().exchange(kex).unwrap();
        let private = private(kex);
        let own = row.import(&private).unwrap();
        let other = row.generate(&mut Rng::from_seed([4; 32])).unwrap();
        let peer = if kex.is_kem() {
            row.respond(own.public(), &mut Rng::from_seed([5; 32])).unwrap().0
        } else {
            other.public().to_vec()
        };
        let shared = own.agree(&peer).unwrap().expose().to_vec();
        for secret in [&private, &shared] {
            for secret in [secret.clone(), secret.iter().rev().copied().collect()] {
                let left = left_behind(secret, || {
                    let key = row.import(&private).unwrap();
                    drop(key.agree(&peer).unwrap());
                });
                assert_eq!(left, 0, "{kex}");
            }
        }
    }
}

/// A file of a key, whose text is the caller's, and what becomes of it.
#[test]
fn static_keys_are_wiped() {
    let seed = private(Kex::MlKem512);
    // PKCS#8 around the seed alone.
    let head = b"\x30\x54\x02\x01\x00\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x01\x04\x42\x80\x40";
    let der = [&head[..], &seed].concat();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", Base64::encode_string(&der));
    let key = KemKey::from_pem(pem.as_bytes()).unwrap();
    let sent = key.public_key().encapsulate(Kdf::Sha256, &mut Rng::from_seed([5; 32])).unwrap();
    let session = key.decapsulate(sent.ciphertext(), Kdf::Sha256).unwrap().expose().to_vec();
    for secret in [seed, session] {
        let left = left_behind(secret, || {
            let key = KemKey::from_pem(pem.as_bytes()).unwrap();
            drop(key.decapsulate(sent.ciphertext(), Kdf::Sha256).unwrap());
        });
        assert_eq!(left, 0);
    }
}

/// Private keys, read from a file, used and dropped. Numbers are looked for in both orders of their bytes.
#[test]
fn private_keys_are_wiped() {
    let file = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/certificates").join(name);
        std::fs::read(path).unwrap()
    };
    // Where the secret is in PKCS #8: a scalar, seeds, the first prime.
    for (name, at, len) in [
        ("keys/p256.pem", 36, 32),
        ("keys/p384.pem", 35, 48),
        ("keys/p521.pem", 37, 64),
        ("keys/ed25519.pem", 16, 32),
        ("keys/ed448.pem", 16, 57),
        ("reference/mldsa/oping.key.pem", 34, 32),
        ("keys/rsa2048.pem", 0, 128),
    ] {
        let file = file(name);
        if matches!(PrivateKey::from_pem(&file), Err(KeyError::Unavailable(_))) {
            continue;
        }
        let mut secret = {
            let blocks = pem::blocks(&file).unwrap();
            let der = &blocks[0].content;
            // Behind the private exponent: an INTEGER of 129 bytes, the first of which is zero.
            let prime = || der.windows(4).position(|w| w == [2, 0x81, 0x81, 0]).unwrap() + 4;
            let at = if at == 0 { prime() } else { at };
            der[at..at + len].to_vec()
        };
        let mut left = 0;
        for _ in 0..2 {
            secret.reverse();
            left += left_behind(secret[..len.min(24)].to_vec(), || {
                let key = PrivateKey::from_pem(&file).unwrap();
                let signature = key.sign(b"message", None, &mut Rng::from_seed([1; 32])).unwrap();
                key.public_key().verify(b"message", None, &signature).unwrap();
            });
        }
        // The implementation of RSA computes with copies of the primes that it does not wipe: the documentation says so.
        assert_eq!(left > 0, name.contains("rsa"), "{name}: {left}");
        assert_eq!(left_behind(secret[..16].to_vec(), || drop(secret.clone())), 1, "{name}: it is looked for");
    }
}
