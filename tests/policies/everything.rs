//! Demands on every flow of a stack, in one word.

use o7s::settings::CertificatePolicy::Ignore;
use o7s::{AllocError, Code, Kex, QosSpec, SecurityConfig, SecurityError};

use crate::world::{Folder, Two, authority_pem, store, with};

fn trusting(name: &str) -> SecurityConfig {
    with(name).kex(None)
}

#[test]
fn encrypted() {
    let two = Two::of(|stack| stack.encrypt_everything(), |stack| stack.encrypt_everything());
    let (near, _far) = two.flow(QosSpec::RAW).unwrap();
    let agreed = near.as_blocking().security().encryption.unwrap();
    assert_eq!(agreed.kex, Kex::X25519MlKem768);
    // Nobody gets around it, whatever he is set to.
    let two = Two::of(|stack| stack.encrypt_everything(), |stack| stack);
    assert!(matches!(two.refused(), AllocError::Refused { code: Code::CRYPT, .. }));
    // One that lets others be plain still encrypts for this one.
    let two = Two::of(|stack| stack, |stack| stack.encrypt_everything());
    assert!(two.flow(QosSpec::RAW).unwrap().0.as_blocking().is_encrypted());
    // A client with the defaults of the reference.
    let reference = SecurityConfig::encrypted(Kex::Prime256v1);
    let two = Two::of(|stack| stack.encrypt_everything(), |stack| stack.security(reference));
    assert!(two.flow(QosSpec::RAW).unwrap().0.as_blocking().is_encrypted());
    let weaker = SecurityConfig::encrypted(Kex::Ffdhe2048);
    let two = Two::of(|stack| stack.encrypt_everything(), |stack| stack.security(weaker));
    assert!(matches!(two.refused(), AllocError::Refused { code: Code::CRYPT, .. }));
}

#[test]
fn what_was_chosen_stays() {
    let chosen = SecurityConfig::encrypted(Kex::X448).cipher(o7s::Cipher::ChaCha20Poly1305);
    let two = Two::of(|stack| stack.encrypt_everything(), |stack| stack.security(chosen).encrypt_everything());
    let (near, _far) = two.flow(QosSpec::RAW).unwrap();
    assert_eq!(near.as_blocking().security().to_string(), "encrypted (X448, sha256, chacha20-poly1305), peer: o7s");
    let chosen = SecurityConfig::default().cipher(o7s::Cipher::ChaCha20Poly1305);
    let two = Two::of(|stack| stack.encrypt_everything(), |stack| stack.security(chosen).encrypt_everything());
    let (near, _far) = two.flow(QosSpec::RAW).unwrap();
    let agreed = near.as_blocking().security().encryption.unwrap();
    assert_eq!((agreed.kex, agreed.cipher), (Kex::X25519MlKem768, o7s::Cipher::ChaCha20Poly1305));
}

#[test]
fn encrypted_and_authenticated() {
    let two = Two::of(
        |stack| stack.security(trusting("vault")).authenticate_everything(),
        |stack| stack.security(trusting("alice")).authenticate_everything(),
    );
    let (near, far) = two.flow(QosSpec::RAW).unwrap();
    assert!(near.peer().is_confirmed() && far.peer().claimed().is_some());
    // The stronger of the two words counts, in whatever order.
    let anonymous = || SecurityConfig::default().authorities(Some(store()));
    let two = Two::of(
        |stack| stack.security(trusting("vault")).authenticate_everything().encrypt_everything(),
        |stack| stack.security(anonymous()).encrypt_everything(),
    );
    assert!(matches!(two.refused(), AllocError::Refused { code: Code::AUTH, .. }));
    let two = Two::of(
        |stack| stack.security(anonymous()).encrypt_everything(),
        |stack| stack.security(anonymous().certificates(Ignore)).authenticate_everything(),
    );
    assert!(matches!(two.refused(), AllocError::Security(SecurityError::PeerUnauthenticated)));
}

#[test]
fn with_a_directory() {
    let folder = |side: &str, name: &str| {
        let folder = Folder::new(&[("cacert/authority.pem", &authority_pem())]);
        folder.identity(side, "vault", name);
        folder
    };
    let (server, client) = (folder("server", "vault"), folder("client", "alice"));
    let two = Two::of(
        |stack| stack.security_dir(&server.0).authenticate_everything(),
        |stack| stack.security_dir(&client.0).authenticate_everything(),
    );
    let (near, _far) = two.flow(QosSpec::RAW).unwrap();
    assert_eq!(near.peer().to_string(), "vault, by CN=authority 1");
    assert!(near.as_blocking().is_encrypted());
}

fn agreed(two: &Two) -> Kex {
    two.flow(QosSpec::RAW).unwrap().0.as_blocking().security().encryption.unwrap().kex
}

/// A server without ML-KEM refuses it by the same code as every exchange that will not do. Here the key is spoilt on the way:
/// what counts is what the client makes of the code.
#[test]
fn a_server_without_the_best_exchange_is_asked_again_with_another() {
    let first_is_refused = |two: &Two| {
        let counts = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = std::rc::Rc::clone(&counts);
        let client: std::net::SocketAddr = crate::world::CLIENT.parse().unwrap();
        two.net
            .on_packet(move |packet| {
                // The request with the hybrid is the only packet of this size; its key is spoilt.
                if packet.src == client && packet.data.len() > 1200 {
                    seen.set(seen.get() + 1);
                    let mut data = packet.data.to_vec();
                    let at = data.len() - 1216;
                    data[at..at + 1184].fill(0xff);
                    return o7s::sim::Verdict::Rewrite(data);
                }
                o7s::sim::Verdict::Pass
            })
            .keep();
        counts
    };
    let two = Two::of(|stack| stack, |stack| stack.encrypt_everything());
    let refused = first_is_refused(&two);
    assert_eq!((agreed(&two), refused.get()), (Kex::X25519, 1));
    assert_eq!(two.counted(&two.server, "bad_oap"), 1);
    // Who demands one that withstands a quantum computer does not fall back.
    let post_quantum = SecurityConfig::default().post_quantum(true);
    let two = Two::of(|stack| stack, |stack| stack.security(post_quantum).encrypt_everything());
    let refused = first_is_refused(&two);
    assert!(matches!(two.refused(), AllocError::Refused { code: Code::CRYPT, .. }));
    assert_eq!(refused.get(), 1);
    // Nor is anybody asked a third time.
    let two = Two::of(|stack| stack.security(SecurityConfig::encrypted(Kex::X448)), |stack| stack.encrypt_everything());
    first_is_refused(&two);
    assert!(matches!(two.refused(), AllocError::Refused { code: Code::CRYPT, .. }));
    assert_eq!(two.counted(&two.server, "bad_oap"), 2);
}

/// A file that names an exchange names the least.
#[test]
fn a_file_has_no_fallback() {
    let folder = Folder::new(&[("client/vault/enc.conf", "kex = X25519MLKEM768\n")]);
    let strong = SecurityConfig::encrypted(Kex::X448MlKem1024);
    let two = Two::of(|stack| stack.security(strong), |stack| stack.security_dir(&folder.0).encrypt_everything());
    assert!(matches!(two.refused(), AllocError::Refused { code: Code::CRYPT, .. }));
    assert_eq!(two.counted(&two.server, "bad_oap"), 1);
}

/// A message of the layer has no room for it together with a certificate: here as much as fits into an Ethernet frame.
#[test]
fn what_does_not_fit_is_asked_for_with_another() {
    let two = Two::of(
        |stack| stack.security(trusting("vault")).authenticate_everything(),
        |stack| stack.security(trusting("alice")).authenticate_everything(),
    );
    assert_eq!(agreed(&two), Kex::X25519);
    // It is the answer of the server that does not fit.
    let trusts = SecurityConfig::default().authorities(Some(store()));
    let two = Two::of(
        |stack| stack.security(trusting("vault")).encrypt_everything(),
        |stack| stack.security(trusts).authenticate_everything(),
    );
    assert_eq!(agreed(&two), Kex::X25519);
}
