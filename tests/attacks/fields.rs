//! Each field of a request and of its response, changed on the way between two ends without certificates: who notices, by
//! what, and what nobody notices.
//!
//! A request is covered by its hash in the response. A response is covered by nothing before the first packet: between two o7s
//! ends the key is made of it, so that what is changed here has no packet open, and a signature is what refuses it at once.

use o7s::crypto::CryptoError;
use o7s::crypto::suite::{Cipher, Kex};
use o7s::oap::{OapError, SecurityConfig};

use crate::ends::{Case, End, Ends, check, flip, is_weak, set, unchanged};

/// Where the key begins, behind the fixed part.
const KEX: usize = 36;
/// An X25519 key: 12 bytes say that it is one.
const KEX_LEN: usize = 44;
const DATA: usize = KEX + KEX_LEN;

fn config() -> SecurityConfig {
    SecurityConfig::encrypted(Kex::X25519)
}

fn exchange(request: &dyn Fn(&mut Vec<u8>), response: &dyn Fn(&mut Vec<u8>)) -> End {
    Ends::alike(&config()).exchange(request, response)
}

#[test]
fn every_field_of_a_request() {
    use End::{Client as C, Server as S};
    let changes: Vec<Case> = vec![
        ("the wait, in the id", Box::new(flip(0)), |e| matches!(e, C(OapError::OtherRequest))),
        ("chance, in the id", Box::new(flip(5)), |e| matches!(e, C(OapError::OtherRequest))),
        ("the mark, in the id", Box::new(flip(15)), |e| matches!(e, C(OapError::OtherRequest))),
        ("the time", Box::new(flip(23)), |e| matches!(e, C(OapError::RequestHash))),
        ("the time, by an hour", Box::new(flip(18)), |e| matches!(e, S(OapError::Stale { .. }))),
        ("a stronger cipher", Box::new(set(24, 1018)), |e| matches!(e, C(OapError::RequestHash))),
        ("a weaker cipher", Box::new(set(24, 895)), |e| matches!(e, C(OapError::RequestHash))),
        ("no cipher", Box::new(set(24, 0)), |e| matches!(e, C(OapError::RequestHash))),
        ("an unknown cipher", Box::new(set(24, 1)), |e| matches!(e, S(OapError::Wire(_)))),
        ("a stronger hash", Box::new(set(26, 674)), |e| matches!(e, C(OapError::RequestHash))),
        ("a weaker hash", Box::new(set(26, 1057)), |e| matches!(e, C(OapError::RequestHash))),
        ("no hash", Box::new(set(26, 0)), |e| matches!(e, C(OapError::RequestHash))),
        ("an unknown hash", Box::new(set(26, 1096)), |e| matches!(e, S(OapError::Wire(_)))),
        ("a longer digest", Box::new(set(28, 674)), |e| matches!(e, C(OapError::Wire(_)))),
        ("another digest", Box::new(set(28, 1057)), |e| matches!(e, C(OapError::RequestHash))),
        ("an unknown digest", Box::new(set(28, 9)), |e| matches!(e, S(OapError::Wire(_)))),
        ("a length of a certificate", Box::new(set(30, 1)), |e| {
            matches!(e, S(OapError::Wire(_) | OapError::NoAuthorities))
        }),
        ("a shorter key", Box::new(set(32, 43)), |e| matches!(e, S(OapError::Wire(_)))),
        ("no key", Box::new(set(32, 0)), |e| matches!(e, S(OapError::Wire(_)))),
        ("a key that is a hybrid's", Box::new(set(32, 0x8000 | 44)), |e| {
            matches!(e, S(OapError::Crypto(CryptoError::InvalidPublicKey)))
        }),
        ("a key that is a ciphertext", Box::new(set(32, 0x4000 | 44)), |e| {
            matches!(e, S(OapError::ClientEncapsulation))
        }),
        ("the length of the data", Box::new(set(34, 4)), |e| matches!(e, S(OapError::Wire(_)))),
        ("the kind of the key", Box::new(flip(KEX + 8)), |e| matches!(e, S(OapError::Crypto(_)))),
        ("the key", Box::new(flip(KEX + 20)), |e| matches!(e, C(OapError::RequestHash))),
        ("a key of small order", Box::new(|r| r[KEX + 12..DATA].fill(0)), |e| matches!(e, S(OapError::Crypto(_)))),
        ("the data", Box::new(flip(DATA)), |e| matches!(e, C(OapError::RequestHash))),
        ("bytes behind", Box::new(|r| r.push(0)), |e| matches!(e, S(OapError::Wire(_)))),
        ("a byte less", Box::new(|r| r.truncate(r.len() - 1)), |e| matches!(e, S(OapError::Wire(_)))),
    ];
    check(changes, |change| exchange(change, &unchanged));
}

/// Both have a flow, with the same key or with two; the client takes the server for o7s or not.
fn both(end: &End, same_key: bool, is_o7s: bool) -> bool {
    let End::Both(ends) = end else { return false };
    let (here, there) = &**ends;
    (here.protection == there.protection) == same_key && here.peering.is_some() == is_o7s
}

#[test]
fn every_field_of_a_response() {
    use End::Client as C;
    // Data of the application, terms and mark of the server, hash of the request.
    let (data, terms, mark, hash) = (DATA, DATA + 7, DATA + 7 + 5, DATA + 7 + 21);
    let changes: Vec<Case> = vec![
        ("nothing", Box::new(unchanged), |e| both(e, true, true)),
        ("the id", Box::new(flip(3)), |e| matches!(e, C(OapError::OtherRequest))),
        // Nobody reads it, but it is in the key, as all of the response is: no packet opens.
        ("the time", Box::new(flip(18)), |e| both(e, false, true)),
        // No weaker than configured; then no packet opens.
        ("a stronger cipher", Box::new(set(24, 1018)), |e| both(e, false, true)),
        ("a weaker cipher", Box::new(set(24, 895)), |e| matches!(e, C(why) if is_weak(why, "cipher"))),
        ("a cipher without a tag", Box::new(set(24, Cipher::Aes256Ctr.nid())), |e| {
            matches!(e, C(OapError::Unauthenticated(_)))
        }),
        ("no cipher", Box::new(set(24, 0)), |e| matches!(e, C(OapError::NoCipher))),
        ("an unknown cipher", Box::new(set(24, 1)), |e| matches!(e, C(OapError::Wire(_)))),
        ("a stronger hash", Box::new(set(26, 674)), |e| both(e, false, true)),
        ("a weaker hash", Box::new(set(26, 1057)), |e| matches!(e, C(why) if is_weak(why, "kdf"))),
        // The client's own, which is that of the server here; but the response is another.
        ("no hash", Box::new(set(26, 0)), |e| both(e, false, true)),
        ("the digest", Box::new(set(28, 674)), |e| both(e, false, true)),
        ("a length of a certificate", Box::new(set(30, 1)), |e| {
            matches!(e, C(OapError::Wire(_) | OapError::NoAuthorities | OapError::RequestHash))
        }),
        ("a shorter key", Box::new(set(32, 43)), |e| matches!(e, C(OapError::Wire(_)))),
        ("the format of the key", Box::new(set(32, 0x8000 | 44)), |e| both(e, false, true)),
        ("the role of the key", Box::new(set(32, 0x4000 | 44)), |e| both(e, false, true)),
        ("the length of the data", Box::new(set(34, 4)), |e| matches!(e, C(OapError::Wire(_)))),
        ("the kind of the key", Box::new(flip(KEX + 8)), |e| matches!(e, C(OapError::Crypto(_)))),
        // No packet opens.
        ("the key", Box::new(flip(KEX + 20)), |e| both(e, false, true)),
        // Data that travel before there is a key are protected by nothing, until the first packet does not open.
        ("the data", Box::new(flip(data)), |e| both(e, false, true)),
        // The server has another idea of the client than the client of the server: no packet opens.
        ("the terms", Box::new(flip(terms)), |e| both(e, false, false)),
        ("the mark", Box::new(flip(mark)), |e| both(e, false, false)),
        ("the hash of the request", Box::new(flip(hash)), |e| matches!(e, C(OapError::RequestHash))),
        ("bytes behind", Box::new(|r| r.push(0)), |e| matches!(e, C(OapError::Wire(_)))),
        ("a byte less", Box::new(|r| r.truncate(r.len() - 1)), |e| matches!(e, C(OapError::Wire(_)))),
    ];
    check(changes, |change| exchange(&unchanged, change));
}
