//! Attempts to have two ends agree on less than either asks for.

use o7s::crypto::CryptoError;
use o7s::crypto::suite::{Cipher, Digest, Kdf, Kex};
use o7s::oap::{CertificatePolicy, OapError, SecurityConfig};
use o7s::wire::oap::{Kex as Field, Message};

use crate::ends::{End, Ends, is_weak, set, unchanged};

fn x25519() -> SecurityConfig {
    SecurityConfig::encrypted(Kex::X25519)
}

/// Changes fields of a request.
fn request(change: fn(&mut Message<'_>)) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let before = std::mem::take(bytes);
        let mut message = Message::parse_request(&before).unwrap();
        change(&mut message);
        *bytes = message.to_vec().unwrap();
    }
}

fn response(change: fn(&mut Message<'_>)) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let before = std::mem::take(bytes);
        let mut message = Message::parse_response(&before, Digest::Sha256.nid()).unwrap();
        change(&mut message);
        *bytes = message.to_vec().unwrap();
    }
}

fn without_encryption(message: &mut Message<'_>) {
    (message.kex, message.cipher, message.kdf) = (Field::default(), 0, 0);
}

#[test]
fn encryption_cannot_be_taken_out() {
    // Of the request: the server refuses; or, if it would serve plain flows, the client does.
    let strict = Ends::alike(&x25519()).exchange(&request(without_encryption), &unchanged);
    assert!(matches!(strict, End::Server(OapError::Plain)), "{strict:?}");
    let lenient = Ends::new(x25519(), SecurityConfig::default());
    let end = lenient.exchange(&request(without_encryption), &unchanged);
    assert!(matches!(end, End::Client(OapError::RequestHash | OapError::Wire(_))), "{end:?}");
    // Of the response, and of both.
    let end = lenient.exchange(&unchanged, &response(without_encryption));
    assert!(matches!(end, End::Client(OapError::NoCipher)), "{end:?}");
    let end = lenient.exchange(&unchanged, &response(|message| message.kex = Field::default()));
    assert!(matches!(end, End::Client(OapError::NoKey)), "{end:?}");
    assert!(lenient.exchange(&unchanged, &unchanged).is_flow());
}

/// Of the client, of the server, and what must come of them.
type Settings = (&'static str, SecurityConfig, SecurityConfig, fn(&End) -> bool);

/// What is done to a message, and why it is refused then.
type Change = (&'static str, fn(&mut Message<'_>), OapError);

/// The least that is configured, what the other end or the attacker makes of it, and what that is refused as.
#[test]
fn nothing_weaker_than_configured_is_agreed_on() {
    let cases: Vec<Settings> = vec![
        (
            "the key exchange",
            x25519(),
            SecurityConfig::encrypted(Kex::Secp384r1),
            |e| matches!(e, End::Server(why) if is_weak(why, "key exchange")),
        ),
        ("post-quantum, of the server", x25519(), x25519().post_quantum(true), |e| {
            matches!(e, End::Server(OapError::NotPostQuantum(Kex::X25519)))
        }),
        ("a plain client", SecurityConfig::default(), x25519(), |e| matches!(e, End::Server(OapError::Plain))),
        ("a plain client, any encryption", SecurityConfig::default(), SecurityConfig::default().required(true), |e| {
            matches!(e, End::Server(OapError::Plain))
        }),
        (
            "a plain client, post-quantum",
            SecurityConfig::default(),
            SecurityConfig::default().post_quantum(true),
            |e| matches!(e, End::Server(OapError::Plain)),
        ),
        ("a certificate, of the client", x25519(), x25519().certificates(CertificatePolicy::Require), |e| {
            matches!(e, End::Server(OapError::PeerUnauthenticated))
        }),
        ("a certificate, of the server", x25519().certificates(CertificatePolicy::Require), x25519(), |e| {
            matches!(e, End::Client(OapError::PeerUnauthenticated))
        }),
        ("a weaker cipher of the client", x25519().cipher(Cipher::Aes128Gcm), x25519(), End::is_flow),
        ("a weaker hash of the client", x25519(), x25519().kdf(Kdf::Sha512), End::is_flow),
    ];
    for (what, client, server, is_expected) in cases {
        let end = Ends::new(client, server).exchange(&unchanged, &unchanged);
        assert!(is_expected(&end), "{what}: {end:?}");
    }
    // Of cipher and hash the stronger of both ends counts.
    let ends = Ends::new(x25519().cipher(Cipher::Aes128Gcm), x25519().kdf(Kdf::Sha512));
    let End::Both(both) = ends.exchange(&unchanged, &unchanged) else { panic!("no flow") };
    let agreed = both.0.security.encryption.unwrap();
    assert_eq!((agreed.cipher, agreed.kdf), (Cipher::Aes256Gcm, Kdf::Sha512));
}

/// A client's request is changed to a weaker one that the server would take; and the server's answer.
#[test]
fn what_is_changed_on_the_way_is_noticed() {
    let ends = Ends::alike(&x25519());
    for cipher in Cipher::ALL.iter().copied().filter(|cipher| *cipher != Cipher::Aes256Gcm) {
        let end = ends.exchange(&set(24, cipher.nid()), &unchanged);
        // Whatever the server takes, the client did not ask for that.
        assert!(matches!(end, End::Client(OapError::RequestHash)), "{cipher}: {end:?}");
        let end = ends.exchange(&unchanged, &set(24, cipher.nid()));
        match end {
            End::Client(OapError::Unauthenticated(refused)) => assert!(refused == cipher && !cipher.is_aead()),
            End::Client(why) if is_weak(&why, "cipher") => assert!(cipher < Cipher::Aes256Gcm),
            // More than it asked for, which no packet opens with.
            end => assert!(cipher > Cipher::Aes256Gcm && end.is_deaf(), "{cipher}: {end:?}"),
        }
    }
    for kdf in Kdf::ALL.iter().copied().filter(|kdf| *kdf != Kdf::Sha256) {
        let end = ends.exchange(&set(26, kdf.nid()), &unchanged);
        assert!(matches!(end, End::Client(OapError::RequestHash)), "{kdf}: {end:?}");
        match ends.exchange(&unchanged, &set(26, kdf.nid())) {
            End::Client(why) if is_weak(&why, "kdf") => assert!(kdf < Kdf::Sha256),
            end => assert!(kdf > Kdf::Sha256 && end.is_deaf(), "{kdf}: {end:?}"),
        }
    }
    // Ciphers without a tag, where both ends know nothing of them.
    for cipher in [Cipher::Aes128Ctr, Cipher::Aes192Ctr, Cipher::Aes256Ctr] {
        let lenient = Ends::new(x25519().cipher(Cipher::Aes128Gcm), SecurityConfig::default());
        let end = lenient.exchange(&set(24, cipher.nid()), &unchanged);
        assert!(matches!(end, End::Server(OapError::Unauthenticated(c)) if c == cipher), "{end:?}");
    }
}

/// "Required" is looked at in what has come of it, on both sides: a hybrid of which one half was lost is none.
#[test]
fn a_hybrid_is_not_made_of_one_half() {
    let hybrid = SecurityConfig::encrypted(Kex::X25519MlKem768).post_quantum(true);
    let ends = Ends::alike(&hybrid);
    let cases: [Change; 5] = [
        ("truncated", |m| m.kex.bytes = &m.kex.bytes[..1215], CryptoError::InvalidPublicKey.into()),
        ("X25519 alone", |m| m.kex.bytes = &m.kex.bytes[1184..], CryptoError::InvalidPublicKey.into()),
        ("ML-KEM alone", |m| m.kex.bytes = &m.kex.bytes[..1184], CryptoError::InvalidPublicKey.into()),
        ("nothing", |m| m.kex = Field::default(), OapError::Plain),
        ("another format", |m| m.kex.raw = false, CryptoError::InvalidPublicKey.into()),
    ];
    for (what, change, why) in cases {
        match ends.exchange(&request(change), &unchanged) {
            End::Server(error) => assert_eq!(error, why, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let invalid = OapError::Crypto(CryptoError::InvalidCiphertext);
    let cases: [Change; 4] = [
        ("truncated", |m| m.kex.bytes = &m.kex.bytes[..1119], invalid.clone()),
        ("X25519 alone", |m| m.kex.bytes = &m.kex.bytes[1088..], invalid.clone()),
        ("ML-KEM alone", |m| m.kex.bytes = &m.kex.bytes[..1088], invalid),
        ("nothing", |m| m.kex = Field::default(), OapError::NoKey),
    ];
    for (what, change, why) in cases {
        match ends.exchange(&unchanged, &response(change)) {
            End::Client(error) => assert_eq!(error, why, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let End::Both(both) = ends.exchange(&unchanged, &unchanged) else { panic!("no flow") };
    for outcome in [&both.0, &both.1] {
        assert_eq!(outcome.security.encryption.unwrap().kex, Kex::X25519MlKem768);
    }
    // A client that requires it does not begin with less.
    let mut rng = o7s::base::rng::Randomness::from_seed([1; 32]);
    let error = o7s::oap::client::Client::start(0, &x25519().post_quantum(true), b"", &mut rng).unwrap_err();
    assert_eq!(error, OapError::NotPostQuantum(Kex::X25519));
}
