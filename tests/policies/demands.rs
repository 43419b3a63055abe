//! What settings demand: each refused by the end that demands it, with the reason there and a code at the other.

use std::cell::Cell;
use std::rc::Rc;

use o7s::certificate::CertificateError;
use o7s::keys::PublicKey;
use o7s::settings::CertificatePolicy::{Ignore, Require};
use o7s::sim::Verdict;
use o7s::wire::oap::Message;
use o7s::{AllocError, Cipher, Code, Kex, Name, PeerIdentity, QosSpec, SecurityConfig, SecurityError, Stack, Udp4};

use crate::issue::{DAY, key};
use crate::world::{AUTHORITY, CLIENT, NOW, OTHER_AUTHORITY, SERVER, Two, credentials, encrypted, of, signed_by, with};

/// The client refuses what the server says.
#[track_caller]
fn client_refuses(server: SecurityConfig, client: SecurityConfig, is_expected: impl FnOnce(&SecurityError) -> bool) {
    match Two::new(server, client).refused() {
        AllocError::Security(why) if is_expected(&why) => {}
        other => panic!("{other:?}"),
    }
}

/// The server refuses the client, which learns no more than a code, and says why in its own log.
#[track_caller]
fn server_refuses(server: SecurityConfig, client: SecurityConfig, code: Code, reason: &str) {
    let two = Two::new(server, client);
    let error = two.refused();
    assert!(matches!(&error, AllocError::Refused { code: found, .. } if *found == code), "{error:?}");
    let log = two.log_of_the_server();
    assert!(log.iter().any(|line| line.contains(reason)), "{reason}: {log:#?}");
    assert_eq!(two.counted(&two.server, "bad_oap"), 1);
    assert!(!error.to_string().contains(reason), "{error}");
}

fn is_peer(why: &SecurityError, is_expected: impl FnOnce(&CertificateError) -> bool) -> bool {
    matches!(why, SecurityError::Peer(why) if is_expected(why))
}

fn requiring(security: SecurityConfig) -> SecurityConfig {
    security.certificates(Require)
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

#[test]
fn a_certificate() {
    client_refuses(encrypted(), requiring(with("alice")), |why| matches!(why, SecurityError::PeerUnauthenticated));
    server_refuses(
        requiring(with("vault")),
        encrypted(),
        Code::AUTH,
        "the peer shows no certificate, which is required",
    );
    let (near, far) = Two::new(requiring(with("vault")), requiring(with("alice"))).flow(QosSpec::DATA).unwrap();
    assert!(near.peer().is_confirmed() && far.peer().claimed().is_some());
}

/// On flows without encryption as well: they say who agreed to the flow.
#[test]
fn a_certificate_on_plain_flows() {
    let plain = || SecurityConfig::default().authorities(Some(crate::world::store()));
    client_refuses(plain(), requiring(plain()), |why| matches!(why, SecurityError::PeerUnauthenticated));
    server_refuses(requiring(plain()), plain(), Code::AUTH, "the peer shows no certificate");
}

#[test]
fn the_name_that_was_called() {
    client_refuses(with("bank"), requiring(with("alice")), |why| {
        is_peer(why, |why| {
            matches!(why, CertificateError::WrongName { expected, found }
            if &**expected == "vault" && &**found == "bank")
        })
    });
}

#[test]
fn one_of_the_names_of_clients() {
    let only_alice = || requiring(with("vault")).peer_names(vec![name("alice")]);
    server_refuses(only_alice(), with("bob"), Code::AUTH, "a client with the name bob is not allowed");
    assert!(Two::new(only_alice(), with("alice")).flow(QosSpec::RAW).is_ok());
}

#[test]
fn an_authority_that_is_known_and_a_time_at_which_it_is_valid() {
    let by = |number, name: &str| encrypted().credentials(Some(of(signed_by(number, name, |wanted| wanted))));
    client_refuses(by(OTHER_AUTHORITY, "vault"), requiring(encrypted()), |why| {
        is_peer(why, |why| matches!(why, CertificateError::UnknownIssuer { .. }))
    });
    server_refuses(with("vault"), by(OTHER_AUTHORITY, "alice"), Code::AUTH, "leads to no authority in the store");
    let valid = |name: &str, from, until| {
        let signed = signed_by(AUTHORITY, name, |wanted| wanted.validity(from, until));
        encrypted().credentials(Some(of(signed)))
    };
    client_refuses(valid("vault", NOW - 2 * DAY, NOW - DAY), requiring(encrypted()), |why| {
        is_peer(why, |why| matches!(why, CertificateError::CertificateExpired { .. }))
    });
    client_refuses(valid("vault", NOW + DAY, NOW + 2 * DAY), requiring(encrypted()), |why| {
        is_peer(why, |why| matches!(why, CertificateError::NotYetValid { .. }))
    });
    server_refuses(with("vault"), valid("alice", NOW - 2 * DAY, NOW - DAY), Code::AUTH, "expired at");
    // Without "require" one that is shown has to be good as well.
    client_refuses(valid("vault", NOW - 2 * DAY, NOW - DAY), encrypted(), |why| matches!(why, SecurityError::Peer(_)));
    let nobody = || SecurityConfig::encrypted(Kex::X25519);
    client_refuses(with("vault"), nobody(), |why| matches!(why, SecurityError::NoAuthorities));
    server_refuses(nobody(), with("alice"), Code::AUTH, "no authorities are configured here");
}

/// The key of somebody, as others know it.
fn public(name: &str) -> PublicKey {
    use o7s::keys::Signer as _;
    key(100 + name.len() as u8).public_key().clone()
}

/// Somebody who is his own authority.
fn alone(who: &str) -> SecurityConfig {
    let own = key(100 + who.len() as u8);
    let certificate = crate::issue::Wanted::leaf(who, &own).validity(NOW - DAY, NOW + DAY).issue_to_itself(&own);
    SecurityConfig::encrypted(Kex::X25519).credentials(Some(of((certificate, own))))
}

#[test]
fn a_pinned_key_without_any_authority() {
    let pins = |security: SecurityConfig, who: &str| security.pinned_keys(vec![(name(who), public(who))]);
    let two = Two::new(pins(alone("vault"), "alice"), pins(alone("alice"), "vault"));
    let (near, far) = two.flow(QosSpec::RAW).unwrap();
    assert_eq!(near.peer().to_string(), "vault, by its pinned key");
    assert_eq!(far.peer().to_string(), "alice, by its pinned key (claimed)");

    let not_pinned = |why: &SecurityError| is_peer(why, |why| matches!(why, CertificateError::NotPinned { .. }));
    let careless = || alone("vault").certificates(Ignore);
    // A key that is known for another name, and one that is not known.
    let other = pins(alone("alice"), "vault").pinned_keys(vec![(name("vault"), public("operator"))]);
    client_refuses(careless(), other, not_pinned);
    server_refuses(
        pins(alone("vault"), "alice"),
        alone("mallory"),
        Code::AUTH,
        "another key than those that are pinned",
    );
    // The owner of a key that is known must not take another name.
    let stolen =
        pins(alone("vault"), "alice").pinned_keys(vec![(name("alice"), public("alice")), (name("bob"), public("bob"))]);
    let bob_as_alice = {
        let own = key(100 + "bob".len() as u8);
        let wanted = crate::issue::Wanted::leaf("alice", &own).validity(NOW - DAY, NOW + DAY);
        let certificate = wanted.issue_to_itself(&own);
        SecurityConfig::encrypted(Kex::X25519).credentials(Some(of((certificate, own))))
    };
    server_refuses(stolen, bob_as_alice, Code::AUTH, "another key than those that are pinned");
    // Nor is it enough to show none.
    client_refuses(encrypted().certificates(Ignore), pins(alone("alice"), "vault"), |why| {
        matches!(why, SecurityError::PeerUnauthenticated)
    });
    server_refuses(pins(alone("vault"), "alice"), encrypted(), Code::AUTH, "the peer shows no certificate");
}

#[test]
fn a_pinned_key_and_an_authority() {
    let pinned = |who: &str| with("alice").pinned_keys(vec![(name("vault"), public(who))]);
    assert!(Two::new(with("vault"), pinned("vault")).flow(QosSpec::RAW).is_ok());
    client_refuses(with("vault"), pinned("bob"), |why| {
        is_peer(why, |why| matches!(why, CertificateError::NotPinned { .. }))
    });
    client_refuses(alone("vault").certificates(Ignore), pinned("vault"), |why| {
        is_peer(why, |why| matches!(why, CertificateError::UnknownIssuer { .. }))
    });
}

#[test]
fn the_least_key_exchange() {
    server_refuses(
        SecurityConfig::encrypted(Kex::X25519),
        SecurityConfig::encrypted(Kex::Prime256v1),
        Code::CRYPT,
        "the peer's key exchange is prime256v1, weaker than X25519",
    );
}

#[test]
fn one_that_withstands_a_quantum_computer() {
    let post_quantum = || SecurityConfig::encrypted(Kex::X25519MlKem768).post_quantum(true);
    server_refuses(
        SecurityConfig::default().post_quantum(true),
        SecurityConfig::encrypted(Kex::X448),
        Code::CRYPT,
        "X448 does not withstand a quantum computer",
    );
    server_refuses(post_quantum(), SecurityConfig::default(), Code::CRYPT, "plain flow refused");
    client_refuses(post_quantum(), SecurityConfig::encrypted(Kex::X25519).post_quantum(true), |why| {
        matches!(why, SecurityError::NotPostQuantum(Kex::X25519))
    });
    let (near, _far) = Two::new(post_quantum(), post_quantum()).flow(QosSpec::RAW).unwrap();
    assert_eq!(near.as_blocking().security().encryption.unwrap().kex, Kex::X25519MlKem768);
}

#[test]
fn encryption() {
    let required = || SecurityConfig::default().required(true);
    server_refuses(required(), SecurityConfig::default(), Code::CRYPT, "this end requires encryption");
    client_refuses(SecurityConfig::default(), required(), |why| matches!(why, SecurityError::Plain));
    let ctr = || SecurityConfig::encrypted(Kex::X25519).cipher(Cipher::Aes256Ctr).allow_unauthenticated(true);
    let (near, _far) = Two::new(required(), SecurityConfig::encrypted(Kex::X25519)).flow(QosSpec::RAW).unwrap();
    assert!(near.as_blocking().is_encrypted());
    let weak = SecurityConfig::default().required(true);
    server_refuses(weak, ctr(), Code::CRYPT, "aes-256-ctr does not authenticate packets");
}

/// Changes OAP messages of one end on their way, which have a certificate of `name` in them or a key of X25519.
fn on_the_way(
    two: &Two,
    from: &'static str,
    mark: Vec<u8>,
    change: impl Fn(&[u8]) -> Vec<u8> + 'static,
) -> Rc<Cell<usize>> {
    let from: std::net::SocketAddr = from.parse().unwrap();
    let changed = Rc::new(Cell::new(0));
    let count = Rc::clone(&changed);
    two.net
        .on_packet(move |packet| {
            let at = packet.data.windows(mark.len()).position(|part| part == mark);
            let Some(at) = at.filter(|_| packet.src == from) else { return Verdict::Pass };
            // The fixed part is in front of it.
            let (layer, message) = packet.data.split_at(at - 36);
            count.set(count.get() + 1);
            Verdict::Rewrite([layer, &change(message)].concat())
        })
        .keep();
    changed
}

/// Takes certificate and signature out.
fn strip(is_response: bool) -> impl Fn(&[u8]) -> Vec<u8> {
    move |bytes| {
        let message = match is_response {
            true => Message::parse_response(bytes, 672),
            false => Message::parse_request(bytes),
        };
        let message = message.unwrap();
        assert!(!message.certificate.is_empty() && !message.signature.is_empty());
        Message { certificate: &[], signature: &[], ..message }.to_vec().unwrap()
    }
}

#[test]
fn who_takes_the_certificate_out_of_a_response_is_noticed() {
    let mark = || credentials("vault").certificate().to_vec();
    let two = Two::new(with("vault"), requiring(with("alice")));
    let changed = on_the_way(&two, SERVER, mark(), strip(true));
    let error = two.refused();
    assert!(matches!(error, AllocError::Security(SecurityError::PeerUnauthenticated)), "{error:?}");
    assert!(changed.get() > 0);
    let pinned = with("alice").pinned_keys(vec![(name("vault"), public("vault"))]);
    let two = Two::new(with("vault"), pinned);
    on_the_way(&two, SERVER, mark(), strip(true));
    assert!(matches!(two.refused(), AllocError::Security(SecurityError::PeerUnauthenticated)));
    // This is what it is for: without, nobody notices.
    let two = Two::new(with("vault"), with("alice"));
    on_the_way(&two, SERVER, mark(), strip(true));
    let (near, _far) = two.flow(QosSpec::RAW).unwrap();
    assert_eq!(near.peer(), PeerIdentity::Anonymous);
}

#[test]
fn who_takes_the_certificate_out_of_a_request_is_noticed() {
    let mark = || credentials("alice").certificate().to_vec();
    let two = Two::new(requiring(with("vault")), with("alice"));
    let changed = on_the_way(&two, CLIENT, mark(), strip(false));
    let error = two.refused();
    assert!(matches!(error, AllocError::Refused { code: Code::AUTH, .. }), "{error:?}");
    assert!(changed.get() > 0);
    let log = two.log_of_the_server();
    assert!(log.iter().any(|line| line.contains("the peer shows no certificate")), "{log:#?}");
    // A server that asks for none does not notice. The client does, as its own request is in what the server signs.
    let two = Two::new(with("vault"), requiring(with("alice")));
    on_the_way(&two, CLIENT, mark(), strip(false));
    let error = two.refused();
    assert!(matches!(error, AllocError::Security(SecurityError::RequestHash) | AllocError::TimedOut(_)), "{error:?}");
}

/// A server that names a weaker cipher than it was asked for, or somebody on the way does.
#[test]
fn the_least_cipher() {
    // The beginning of an X25519 key.
    let mark = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00".to_vec();
    let two = Two::new(SecurityConfig::encrypted(Kex::X25519), SecurityConfig::encrypted(Kex::X25519));
    let weaker = |bytes: &[u8]| {
        let message = Message::parse_response(bytes, 672).unwrap();
        Message { cipher: Cipher::Aes128Gcm.nid(), ..message }.to_vec().unwrap()
    };
    on_the_way(&two, SERVER, mark, weaker);
    let error = two.refused();
    let expected = SecurityError::CipherTooWeak { peer: Cipher::Aes128Gcm, own: Cipher::Aes256Gcm };
    assert_eq!(error, AllocError::Security(expected));
}

/// The same over sockets: typed at one end, a code at the other.
#[test]
fn over_sockets() {
    let stack = |security: SecurityConfig| Stack::builder().security(security).build().unwrap();
    let call = |server: SecurityConfig, client: SecurityConfig| {
        let (server, client) = (stack(server), stack(client));
        let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
        net.register("vault").unwrap();
        server.bind_handler("vault", drop).unwrap();
        let at = net.local_addr().unwrap().to_string();
        client.udp4(Udp4::bind("127.0.0.1:0").host("vault", &at)).unwrap();
        client.flow("vault").alloc().map(drop).unwrap_err()
    };
    let anonymous = || SecurityConfig::encrypted(Kex::X25519);
    assert_eq!(call(anonymous(), requiring(anonymous())), AllocError::Security(SecurityError::PeerUnauthenticated));
    let refused = call(requiring(anonymous()), anonymous());
    assert!(matches!(refused, AllocError::Refused { code: Code::AUTH, .. }), "{refused:?}");
    let refused = call(SecurityConfig::default().required(true), SecurityConfig::default());
    assert!(matches!(refused, AllocError::Refused { code: Code::CRYPT, .. }), "{refused:?}");
}
