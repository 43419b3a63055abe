//! Who the other end of a flow is, and from when on that is certain.

use std::time::Duration;

use o7s::settings::CertificatePolicy;
use o7s::{PeerIdentity, QosSpec, SecurityConfig, Stack, Udp4};

use crate::world::{Two, credentials, encrypted, store, with};

fn is_claimed(peer: &PeerIdentity, name: &str) -> bool {
    matches!(peer, PeerIdentity::Claimed(peer) if &*peer.name == name)
}

fn is_confirmed(peer: &PeerIdentity, name: &str) -> bool {
    peer.confirmed().is_some_and(|peer| &*peer.name == name && &*peer.path.authority == "CN=authority 1")
}

#[test]
fn a_client_is_claimed_until_something_has_come_from_it() {
    for qos in [QosSpec::RAW, QosSpec::DATA] {
        let two = Two::new(with("vault"), with("alice"));
        let (near, far) = two.flow(qos).unwrap();
        assert!(is_confirmed(&near.peer(), "vault"), "{:?}", near.peer());
        assert!(is_claimed(&far.peer(), "alice"), "{qos:?}: {:?}", far.peer());
        assert_eq!(far.peer().to_string(), "alice, by CN=authority 1 (claimed)");
        // What the server sends confirms nobody.
        two.net.block_on(async { far.write(b"who is there?").await.unwrap() });
        assert!(is_claimed(&far.peer(), "alice"));
        two.net.block_on(async {
            near.write(b"me").await.unwrap();
            far.read(&mut [0; 8]).await.unwrap();
        });
        assert!(is_confirmed(&far.peer(), "alice"), "{qos:?}: {:?}", far.peer());
        assert_eq!(far.peer().to_string(), "alice, by CN=authority 1");
        assert_eq!(far.peer(), far.as_blocking().peer());
        let key = credentials("alice").certificate().to_vec();
        let expected = o7s::certificate::Certificate::from_der(&key, 10_000).unwrap().public_key().unwrap();
        assert_eq!(far.peer().claimed().unwrap().path.public_key, expected);
    }
}

#[test]
fn garbage_confirms_nobody() {
    let two = Two::new(with("vault"), with("alice"));
    let (_near, far) = two.flow(QosSpec::RAW).unwrap();
    let far = far.into_blocking();
    for len in [28, 64, 200] {
        let garbage: Vec<u8> = (0..len).collect();
        far.endpoint().handle_packets(two.server.stack().now(), [o7s::base::buf::PacketBuf::copy_of(&garbage)]);
    }
    two.net.run_for(Duration::from_millis(100));
    assert!(far.counters().bad_crypt >= 3, "{:?}", far.counters());
    assert!(is_claimed(&far.peer(), "alice"));
}

#[test]
fn nobody_is_confirmed_where_packets_are_not_authentic() {
    let plain = |name: &str| SecurityConfig::default().authorities(Some(store())).credentials(Some(credentials(name)));
    let ctr = |name: &str| with(name).cipher(o7s::Cipher::Aes256Ctr).allow_unauthenticated(true);
    for (server, client) in [(plain("vault"), plain("alice")), (ctr("vault"), ctr("alice"))] {
        let two = Two::new(server, client);
        let (near, far) = two.flow(QosSpec::RAW).unwrap();
        two.net.block_on(async {
            near.write(b"me").await.unwrap();
            far.read(&mut [0; 8]).await.unwrap();
        });
        assert!(is_claimed(&far.peer(), "alice"), "{:?}", far.peer());
        assert!(is_claimed(&near.peer(), "vault"), "{:?}", near.peer());
    }
}

#[test]
fn who_shows_nothing_is_anonymous() {
    let ignored = with("vault").certificates(CertificatePolicy::Ignore);
    for (server, client) in [(encrypted(), encrypted()), (ignored, with("alice"))] {
        let two = Two::new(server, client);
        let (near, far) = two.flow(QosSpec::RAW).unwrap();
        two.net.block_on(async {
            near.write(b"me").await.unwrap();
            far.read(&mut [0; 8]).await.unwrap();
        });
        assert_eq!(far.peer(), PeerIdentity::Anonymous);
        assert_eq!(far.peer().to_string(), "not authenticated");
    }
}

/// Real sockets, blocking calls, and both directions.
#[test]
fn both_ends_know_each_other_over_sockets() {
    let stack = |security: SecurityConfig| Stack::builder().security(security).build().unwrap();
    // The real clock is past the beginning of simulations, and within the validity of certificates for a while only.
    let forever = |name: &str| crate::world::of(crate::world::signed_for_long(name));
    let of =
        |name: &str| encrypted().authorities(Some(crate::world::store_for_long())).credentials(Some(forever(name)));
    let (server, client) = (stack(of("vault")), stack(of("alice")));
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("vault").unwrap();
    let listener = server.bind("vault").unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("vault", &at)).unwrap();
    let asking = std::thread::Builder::new().spawn(move || client.flow("vault").qos(QosSpec::DATA).alloc()).unwrap();
    let far = listener.accept().unwrap();
    let near = asking.join().unwrap().unwrap();
    assert!(is_confirmed(&near.peer(), "vault"));
    near.write(b"me").unwrap();
    far.read(&mut [0; 8]).unwrap();
    assert!(is_confirmed(&far.peer(), "alice"), "{:?}", far.peer());
}

/// A dishonest server, "bank", passes what alice asks it on to the vault, with her good certificate and signature in it. The vault
/// has a claim, and nothing more: the key of the flow is of the name that was called.
#[test]
fn a_request_that_is_passed_on_is_a_claim_and_stays_one() {
    // A server that shows a certificate is found out by the client at once.
    let two = Two::new(encrypted(), with("alice"));
    two.net
        .names()
        .insert(&"bank".parse().unwrap(), crate::world::SERVER.parse::<std::net::SocketAddr>().unwrap().ip());
    let hash = |name: &str| o7s::HashAlg::Md5.hash(&name.parse().unwrap());
    let (bank, vault) = (hash("bank"), hash("vault"));
    two.net
        .on_packet(move |packet| {
            let at = packet.data.windows(bank.as_ref().len()).position(|part| part == bank.as_ref());
            let Some(at) = at else { return o7s::sim::Verdict::Pass };
            let mut data = packet.data.to_vec();
            data[at..at + vault.as_ref().len()].copy_from_slice(vault.as_ref());
            o7s::sim::Verdict::Rewrite(data)
        })
        .keep();
    let listener = two.server.listen("vault");
    let accepted = two.net.spawn(async move { listener.accept_async().await.ok() });
    let near = two.net.block_on(two.client.stack().flow("bank").qos(QosSpec::RAW).alloc_async()).unwrap();
    let far = two.net.block_on(accepted).unwrap();
    assert!(is_claimed(&far.peer(), "alice"));
    two.net.block_on(async { near.write(b"my order").await.unwrap() });
    two.net.run_for(Duration::from_secs(1));
    let far = far.into_blocking();
    assert!(far.try_read(&mut [0; 16]).is_err());
    assert!(far.counters().bad_crypt > 0, "{:?}", far.counters());
    assert!(is_claimed(&far.peer(), "alice"), "{:?}", far.peer());
}
