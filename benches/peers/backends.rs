//! Backends beside RustCrypto: packet ciphers, and both ends of a key exchange.

use o7s::base::rng::Rng;
use o7s::crypto::backend::{AeadKey, Backend, RUST, all};
use o7s::crypto::suite::{Cipher, Kex};

use crate::measure::{each, in_turns};
use crate::table::{Row, time};

/// What each backend has beside that. There is nothing to compare without the feature of one.
pub(crate) fn rows() -> Vec<Row> {
    let others = || all().iter().copied().filter(|backend| *backend != &RUST);
    let ciphers = || Cipher::ALL.iter().copied().filter(|cipher| cipher.is_aead() && RUST.has_cipher(*cipher));
    let exchanges = || Kex::ALL.iter().copied().filter(|kex| kex.is_available());
    let mut rows = Vec::new();
    for backend in others() {
        for cipher in ciphers().filter(|cipher| has_own_cipher(backend, *cipher)) {
            rows.extend([64, 1400].map(|len| sealed(backend, cipher, len)));
            rows.push(opened(backend, cipher, 1400));
        }
        rows.extend(exchanges().filter(|kex| has_own_exchange(backend, *kex)).map(|kex| exchanged(backend, kex)));
    }
    rows
}

fn has_own_cipher(backend: &Backend, cipher: Cipher) -> bool {
    !std::ptr::eq(backend.aead(cipher).unwrap(), RUST.aead(cipher).unwrap())
}

fn has_own_exchange(backend: &Backend, kex: Kex) -> bool {
    !std::ptr::addr_eq(backend.exchange(kex).unwrap(), RUST.exchange(kex).unwrap())
}

fn row(what: String, ours: f64, rust: f64) -> Row {
    Row::info(what, time(ours), format!("rust {}", time(rust))).ratio(ours, rust)
}

fn schedule(backend: &Backend, cipher: Cipher) -> Box<dyn AeadKey> {
    backend.aead(cipher).unwrap().schedule(&[5; 32])
}

fn sealed(backend: &Backend, cipher: Cipher, len: usize) -> Row {
    let measured = |backend| {
        let (key, mut body, mut iv) = (schedule(backend, cipher), vec![7; len], [0_u8; 12]);
        move || {
            each(20_000, || {
                iv[0] = iv[0].wrapping_add(1);
                std::hint::black_box(key.seal(&iv, &mut body).unwrap());
            })
        }
    };
    let [ours, rust] = in_turns(9, [&mut measured(backend), &mut measured(&RUST)]);
    row(format!("seal {len} B, {cipher}, {}", backend.name()), ours, rust)
}

/// With a copy of the packet each time, in either: what was opened does not open again.
fn opened(backend: &Backend, cipher: Cipher, len: usize) -> Row {
    let measured = |backend| {
        let (key, mut packet) = (schedule(backend, cipher), vec![7; len]);
        let tag = key.seal(&[1; 12], &mut packet).unwrap();
        let mut body = packet.clone();
        move || {
            each(20_000, || {
                body.copy_from_slice(&packet);
                key.open(&[1; 12], &mut body, &tag).unwrap();
            })
        }
    };
    let [ours, rust] = in_turns(9, [&mut measured(backend), &mut measured(&RUST)]);
    row(format!("open {len} B, {cipher}, {}", backend.name()), ours, rust)
}

/// A key of the client's, the server's part, and the client's secret.
fn exchanged(backend: &Backend, kex: Kex) -> Row {
    let measured = |backend: &Backend| {
        let (row, mut rng) = (backend.exchange(kex).unwrap(), Rng::from_seed([5; 32]));
        move || {
            each(20, || {
                let own = row.generate(&mut rng).unwrap();
                let (field, _) = row.respond(own.public(), &mut rng).unwrap();
                std::hint::black_box(own.agree(&field).unwrap());
            })
        }
    };
    let [ours, rust] = in_turns(9, [&mut measured(backend), &mut measured(&RUST)]);
    row(format!("both ends of {kex}, {}", backend.name()), ours, rust)
}
