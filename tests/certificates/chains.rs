//! Chains, good ones and such as no authority should issue: what becomes of each, and which reason is told.

use o7s::crypto::certificate::{
    Certificate, CertificateError, Date, LeftOut, Limits, NameFault, Signed, TrustStore, Unusable, VerifiedPeer,
};
use o7s::crypto::sign::{KeyError, KeyKind, PrivateKey, SignError, Signer};
use o7s::crypto::suite::Digest;

use crate::file;
use crate::issue::*;

const fn date(unix: u64) -> Date {
    Date::from_unix(unix)
}

/// The authority of most tests, whose key has the number 1.
fn root() -> Wanted {
    Wanted::authority("root", &key(1))
}

fn leaf() -> Wanted {
    Wanted::leaf("bank", &key(9))
}

/// A store of these authorities and intermediates, of which none may be left out.
fn store(authorities: &[Vec<u8>], intermediates: &[Vec<u8>]) -> TrustStore {
    let (store, left_out) = store_of(authorities, intermediates);
    assert_eq!(left_out, []);
    store
}

fn store_of(authorities: &[Vec<u8>], intermediates: &[Vec<u8>]) -> (TrustStore, Vec<LeftOut>) {
    let (mut store, mut left_out) = (TrustStore::new(), Vec::new());
    for der in authorities {
        left_out.extend(store.add_authorities(der).unwrap());
    }
    for der in intermediates {
        left_out.extend(store.add_intermediates(der).unwrap());
    }
    (store, left_out)
}

fn usual_store() -> TrustStore {
    store(&[root().issue_to_itself(&key(1))], &[])
}

/// A leaf that the authority issued.
fn issued(leaf: Wanted) -> Vec<u8> {
    leaf.issue(&cn("root"), &key(1))
}

fn verify(store: &TrustStore, leaf: &[u8]) -> Result<VerifiedPeer, CertificateError> {
    store.verify(leaf, Some("bank"), date(NOW), &Limits::default())
}

fn usual(leaf: Wanted) -> Result<VerifiedPeer, CertificateError> {
    verify(&usual_store(), &issued(leaf))
}

#[test]
fn a_peer_is_who_its_authority_says() {
    let store = usual_store();
    let peer = verify(&store, &issued(leaf())).unwrap();
    assert_eq!((&*peer.name, &*peer.subject), ("bank", "CN=bank"));
    assert_eq!((&*peer.path.authority, peer.path.len), ("CN=root", 2));
    assert_eq!(peer.path.public_key, *key(9).public_key());
    assert_eq!(peer.not_after, date(NOW + 100 * DAY));
    // A server does not know the name of its clients beforehand.
    let any = store.verify(&issued(leaf()), None, date(NOW), &Limits::default());
    assert_eq!(any, Ok(peer));
}

#[test]
fn the_message_must_be_signed_by_the_owner() {
    let (store, certificate) = (usual_store(), issued(leaf()));
    let mut rng = o7s::base::rng::Rng::from_seed([1; 32]);
    let message = b"message";
    let signature = key(9).sign(message, Some(Digest::Sha384), &mut rng).unwrap();
    let good = Signed { certificate: &certificate, digest: Some(Digest::Sha384), message, signature: &signature };
    let authenticate = |signed| store.authenticate(&signed, Some("bank"), date(NOW), &Limits::default());
    assert_eq!(&*authenticate(good).unwrap().name, "bank");
    let forged = || CertificateError::Message { subject: "CN=bank".into(), reason: SignError::Forged };
    assert_eq!(authenticate(Signed { digest: None, ..good }), Err(forged()));
    assert_eq!(authenticate(Signed { message: b"massage", ..good }), Err(forged()));
    assert_eq!(authenticate(Signed { signature: b"", ..good }), Err(forged()));
    let other = key(8).sign(message, Some(Digest::Sha384), &mut rng).unwrap();
    assert_eq!(authenticate(Signed { signature: &other, ..good }), Err(forged()));
}

#[test]
fn time_is_the_callers() {
    let store = usual_store();
    let certificate = issued(leaf().validity(NOW - DAY, NOW + DAY));
    let at = |now| store.verify(&certificate, Some("bank"), date(now), &Limits::default());
    for good in [NOW - DAY, NOW, NOW + DAY] {
        assert!(at(good).is_ok(), "both limits are inclusive");
    }
    let (subject, not_after, now) = ("CN=bank".into(), date(NOW + DAY), date(NOW + DAY + 1));
    assert_eq!(at(NOW + DAY + 1), Err(CertificateError::CertificateExpired { subject, not_after, now }));
    let (subject, not_before, now) = ("CN=bank".into(), date(NOW - DAY), date(NOW - DAY - 1));
    let early = at(NOW - DAY - 1).unwrap_err();
    assert_eq!(early, CertificateError::NotYetValid { subject, not_before, now });
    assert_eq!(
        early.to_string(),
        "certificate of CN=bank is not valid before 2026-09-20 14:13:20 UTC, it is 2026-09-20 14:13:19 UTC: set the \
         clock, or wait"
    );
    let backwards = usual(leaf().validity(NOW + DAY, NOW - DAY));
    assert_eq!(backwards, Err(CertificateError::Validity { subject: "CN=bank".into() }));
    assert!(usual(leaf().validity(NOW, 4_000_000_000)).is_ok(), "GeneralizedTime, beyond 2049");
}

/// The validity of authorities counts when they are used, not when they are loaded.
#[test]
fn authorities_expire() {
    let authority = |not_before, not_after| root().validity(not_before, not_after).issue_to_itself(&key(1));
    let old = store(&[authority(NOW - 2 * DAY, NOW - DAY)], &[]);
    let expired =
        CertificateError::CertificateExpired { subject: "CN=root".into(), not_after: date(NOW - DAY), now: date(NOW) };
    assert_eq!(verify(&old, &issued(leaf())), Err(expired.clone()));
    assert!(old.verify(&issued(leaf()), Some("bank"), date(NOW - DAY), &Limits::default()).is_ok());
    let future = store(&[authority(NOW + DAY, NOW + 2 * DAY)], &[]);
    assert!(matches!(verify(&future, &issued(leaf())), Err(CertificateError::NotYetValid { .. })));
    // An expired copy beside a valid one, in either order.
    let copies = [authority(NOW - 2 * DAY, NOW - DAY), authority(NOW - DAY, NOW + DAY)];
    for all in [copies.clone(), [copies[1].clone(), copies[0].clone()]] {
        let peer = verify(&store(&all, &[]), &issued(leaf())).unwrap();
        assert_eq!(peer.path.valid_until, date(NOW + DAY), "of the chain, not of the peer's certificate");
    }
    // Intermediates as well.
    let between = |not_before, not_after| {
        let wanted = Wanted::authority("between", &key(2)).validity(not_before, not_after);
        wanted.issue(&cn("root"), &key(1))
    };
    let certificate = leaf().issue(&cn("between"), &key(2));
    let old = store(&[root().issue_to_itself(&key(1))], &[between(NOW - 2 * DAY, NOW - DAY)]);
    let expired = CertificateError::CertificateExpired {
        subject: "CN=between".into(),
        not_after: date(NOW - DAY),
        now: date(NOW),
    };
    assert_eq!(verify(&old, &certificate), Err(expired));
    for all in [[(2, 1), (1, 0)], [(1, 0), (2, 1)]] {
        let copies = all.map(|(from, to)| between(NOW - from * DAY, NOW - to * DAY + DAY / 2));
        assert!(verify(&store(&[root().issue_to_itself(&key(1))], &copies), &certificate).is_ok());
    }
}

#[test]
fn the_name_is_the_only_common_name_byte_by_byte() {
    let store = usual_store();
    let named = |subject: Vec<u8>, expected| {
        store.verify(&issued(leaf().subject(subject)), Some(expected), date(NOW), &Limits::default())
    };
    let one = |string, value: &[u8]| subject(&[attribute(3, string, value)]);
    let other =
        |found: &str, expected: &str| CertificateError::WrongName { expected: expected.into(), found: found.into() };
    let fault = |subject: &str, fault| CertificateError::Name { subject: subject.into(), fault };

    assert!(named(one(UTF8, b"bank"), "bank").is_ok());
    assert!(named(one(PRINTABLE, b"bank"), "bank").is_ok(), "the same name in another string type");
    assert!(named(one(UTF8, "b\u{e4}nk".as_bytes()), "b\u{e4}nk").is_ok());
    assert!(named(one(UTF8, b"bank "), "bank ").is_ok());
    for (found, expected) in [
        ("Bank", "bank"),
        ("bank ", "bank"),
        (" bank", "bank"),
        ("bank.", "bank"),
        ("ban", "bank"),
        ("bank", "ban"),
        ("*", "bank"),
        ("*.bank", "my.bank"),
        ("ba\u{308}nk", "b\u{e4}nk"),
    ] {
        assert_eq!(named(one(UTF8, found.as_bytes()), expected).unwrap_err(), other(found, expected));
    }
    // What the reference would find by searching the text is not looked at.
    let hidden = subject(&[attribute(10, UTF8, b"CN=bank"), attribute(3, UTF8, b"evil")]);
    assert_eq!(named(hidden, "bank").unwrap_err(), other("evil", "bank"));
    let also = subject(&[attribute(6, PRINTABLE, b"BE"), attribute(10, UTF8, b"Example"), attribute(3, UTF8, b"bank")]);
    assert_eq!(&*named(also, "bank").unwrap().subject, "C=BE, O=Example, CN=bank");

    let none = subject(&[attribute(10, UTF8, b"bank")]);
    assert_eq!(named(none, "bank").unwrap_err(), fault("O=bank", NameFault::None));
    assert_eq!(named(tlv(0x30, &[]), "bank").unwrap_err(), fault("an empty subject", NameFault::None));
    let two = subject(&[attribute(3, UTF8, b"bank"), attribute(3, UTF8, b"evil")]);
    assert_eq!(named(two, "bank").unwrap_err(), fault("CN=bank, CN=evil", NameFault::Several));
    let both = [attribute(3, UTF8, b"bank"), attribute(3, UTF8, b"evil")].concat();
    assert_eq!(named(tlv(0x30, &tlv(0x31, &both)), "bank").unwrap_err(), fault("CN=bank, CN=evil", NameFault::Several));
    for (string, value) in [(BMP, &b"\0b\0a\0n\0k"[..]), (TELETEX, b"bank"), (0x16, b"bank"), (UTF8, b"b\xffnk")] {
        let error = named(one(string, value), "bank").unwrap_err();
        assert!(matches!(error, CertificateError::Name { fault: NameFault::Type, .. }), "{string}: {error}");
    }
    for value in ["bank\0", "\0bank", "bank\0evil", "ba\nnk", "bank\u{7f}", "bank\u{85}", "bank,evil", "bank/evil", ","]
    {
        let error = named(one(UTF8, value.as_bytes()), "bank").unwrap_err();
        assert!(matches!(error, CertificateError::Name { fault: NameFault::Character, .. }), "{value:?}: {error}");
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
    let long = |len| named(one(UTF8, &vec![b'x'; len]), "bank").unwrap_err();
    assert!(matches!(long(255), CertificateError::WrongName { .. }));
    for error in [long(256), long(20_000), named(one(UTF8, b""), "").unwrap_err()] {
        assert!(matches!(error, CertificateError::Name { fault: NameFault::Length, .. }), "{error}");
        assert!(error.to_string().len() < 400);
    }
}

/// Alternative names are not names of flows.
#[test]
fn alternative_names_do_not_count() {
    let alternative = |name: &[u8]| sequence(&[&tlv(0x82, name)]);
    assert!(usual(leaf().extension(ALTERNATIVE_NAME, false, &alternative(b"evil.example"))).is_ok());
    let other = leaf().subject(cn("evil")).extension(ALTERNATIVE_NAME, false, &alternative(b"bank"));
    assert!(matches!(usual(other), Err(CertificateError::WrongName { .. })));
}

#[test]
fn what_a_key_is_for_counts() {
    assert!(usual(leaf().without(KEY_USAGE)).is_ok(), "it says nothing");
    let usage = Err(CertificateError::Usage { subject: "CN=bank".into() });
    assert_eq!(usual(leaf().extension(KEY_USAGE, true, KEY_AGREEMENT)), usage);
    assert_eq!(usual(leaf().extension(KEY_USAGE, false, CERT_SIGN)), usage);
    let purpose = |id: &[u8]| sequence(&[&tlv(6, id)]);
    let code_signing = purpose(&[0x2b, 6, 1, 5, 5, 7, 3, 3]);
    assert!(usual(leaf().extension(EXTENDED_KEY_USAGE, false, &code_signing)).is_ok(), "as the reference");
    assert!(usual(leaf().extension(EXTENDED_KEY_USAGE, true, &code_signing)).is_ok());

    let authority = CertificateError::Authority { subject: "CN=bank".into() };
    assert_eq!(usual(leaf().extension(BASIC_CONSTRAINTS, true, &[0x30, 3, 1, 1, 0xff])), Err(authority));
    assert!(usual(leaf().extension(BASIC_CONSTRAINTS, true, &[0x30, 0])).is_ok());
}

/// Issuers that may not issue: left out when the store is filled, and named when something depends on them.
#[test]
fn what_is_no_issuer_is_left_out_and_told() {
    let usual = || Wanted::authority("root", &key(1));
    let key_of = |spki: &[u8]| Wanted { spki: spki.to_vec(), ..usual() };
    let rsa = KeyKind::Rsa
        .is_available()
        .then(|| (key_of(&file("keys/rsa1024.spki")), Unusable::Key(KeyError::RsaSize { bits: 1024 })));
    let permitted = sequence(&[&tlv(0xa0, &sequence(&[&tlv(0x82, b"example")]))]);
    let cases = [
        (usual().without(BASIC_CONSTRAINTS), Unusable::NotAuthority),
        (usual().extension(BASIC_CONSTRAINTS, true, &[0x30, 0]), Unusable::NotAuthority),
        (usual().extension(KEY_USAGE, true, DIGITAL_SIGNATURE), Unusable::NoCertSign),
        (usual().extension(KEY_USAGE, true, CRL_SIGN), Unusable::NoCertSign),
        (usual().extension(NAME_CONSTRAINTS, true, &permitted), Unusable::NameConstraints),
        (usual().extension(NAME_CONSTRAINTS, false, &permitted), Unusable::NameConstraints),
    ];
    for (wanted, reason) in cases.into_iter().chain(rsa) {
        let (store, left_out) = store_of(&[wanted.clone().issue_to_itself(&key(1))], &[]);
        assert_eq!(left_out, [left(reason)], "{reason}");
        assert_eq!(store.authorities(), []);
        let (subject, issuer) = ("CN=bank".into(), "CN=root".into());
        let error = CertificateError::Issuer { subject, issuer, reason };
        assert_eq!(verify(&store, &issued(leaf())), Err(error), "{reason}");
        // The same between the peer and an authority that is good.
        let top = Wanted::authority("top", &key(3)).issue_to_itself(&key(3));
        let (store, left_out) = store_of(&[top], &[wanted.issue(&cn("top"), &key(3))]);
        assert_eq!(left_out, [left(reason)], "{reason}");
        // It may be that nothing is left that leads anywhere.
        let error = verify(&store, &issued(leaf())).unwrap_err();
        assert!(matches!(error, CertificateError::Issuer { reason: told, .. } if told == reason), "{error}");
    }
}

fn left(reason: Unusable) -> LeftOut {
    let (_, mut left_out) = store_of(&[leaf().issue_to_itself(&key(9))], &[]);
    let mut one = left_out.pop().unwrap();
    (one.subject, one.reason) = ("CN=root".into(), reason);
    one
}

#[test]
fn only_self_signed_authorities_end_a_path() {
    let top = Wanted::authority("top", &key(3)).issue_to_itself(&key(3));
    let between = root().issue(&cn("top"), &key(3));
    // Alone, an intermediate among the authorities ends nothing.
    let (store, left_out) = store_of(std::slice::from_ref(&between), &[]);
    assert_eq!(left_out, [left(Unusable::NotSelfSigned)]);
    assert!(matches!(verify(&store, &issued(leaf())), Err(CertificateError::UnknownIssuer { .. })));
    // With its issuer there, it is on the way, whichever file it is in.
    let (store, _) = store_of(&[between.clone(), top.clone()], &[]);
    let peer = verify(&store, &issued(leaf())).unwrap();
    assert_eq!((&*peer.path.authority, peer.path.len), ("CN=top", 3));
    // Who can write among the intermediates cannot make authorities.
    let (store, left_out) = store_of(&[], &[root().issue_to_itself(&key(1))]);
    assert_eq!(left_out, [left(Unusable::SelfSigned)]);
    let error = verify(&store, &issued(leaf())).unwrap_err();
    assert!(matches!(error, CertificateError::Issuer { reason: Unusable::SelfSigned, .. }), "{error}");
    // Its own issuer by name only.
    let (_, left_out) = store_of(&[root().issue_to_itself(&key(2))], &[]);
    assert_eq!(left_out, [left(Unusable::Forged)]);
    // An authority is no peer, and a peer that is in the store is no authority.
    let named = Wanted::authority("bank", &key(1)).issue_to_itself(&key(1));
    let error = verify(&store_of(std::slice::from_ref(&named), &[]).0, &named).unwrap_err();
    assert_eq!(error, CertificateError::Authority { subject: "CN=bank".into() });
    let own = leaf().issue_to_itself(&key(9));
    let error = verify(&store_of(std::slice::from_ref(&own), &[]).0, &own).unwrap_err();
    assert!(matches!(error, CertificateError::Issuer { reason: Unusable::NotAuthority, .. }), "{error}");
}

#[test]
fn unknown_and_forged_issuers_are_told_apart() {
    let unknown = CertificateError::UnknownIssuer { subject: "CN=bank".into(), issuer: "CN=root".into() };
    assert_eq!(verify(&TrustStore::new(), &issued(leaf())), Err(unknown.clone()));
    let other = store(&[Wanted::authority("other", &key(1)).issue_to_itself(&key(1))], &[]);
    assert_eq!(verify(&other, &issued(leaf())), Err(unknown));
    let forged = CertificateError::Forged { subject: "CN=bank".into(), issuer: "CN=root".into() };
    assert_eq!(verify(&usual_store(), &leaf().issue(&cn("root"), &key(2))), Err(forged));
    // Two authorities of one name with different keys, in either order.
    let same_name = [1, 2].map(|n| Wanted::authority("root", &key(n)).issue_to_itself(&key(n)));
    for all in [same_name.clone(), [same_name[1].clone(), same_name[0].clone()]] {
        let store = store(&all, &[]);
        for n in [1, 2] {
            assert!(verify(&store, &leaf().issue(&cn("root"), &key(n))).is_ok());
        }
    }
}

/// A new key of an authority, signed by the old one, and the other way round.
#[test]
fn authorities_change_their_keys() {
    let old = root().issue_to_itself(&key(1));
    let new = Wanted::authority("root", &key(2)).issue_to_itself(&key(2));
    let new_by_old = Wanted::authority("root", &key(2)).issue(&cn("root"), &key(1));
    let old_by_new = root().issue(&cn("root"), &key(2));
    let (by_old, by_new) = (issued(leaf()), leaf().issue(&cn("root"), &key(2)));
    let before = store(&[old], std::slice::from_ref(&new_by_old));
    let after = store(&[new], &[old_by_new, new_by_old]);
    for store in [&before, &after] {
        assert!(verify(store, &by_old).is_ok());
        assert!(verify(store, &by_new).is_ok());
    }
}

/// A chain of so many intermediates between the authority and the peer, the first of which allows so many below itself.
fn deep(intermediates: u8, path_len: Option<u8>) -> (TrustStore, Vec<u8>) {
    let number = |n: u8| cn(&format!("number {n}"));
    let authority = |n: u8| Wanted::authority(&format!("number {n}"), &key(100 + n));
    let all = (1..=intermediates).map(|n| {
        let mut wanted = authority(n);
        if let Some(len) = path_len.filter(|_| n == 1) {
            wanted = wanted.extension(BASIC_CONSTRAINTS, true, &[0x30, 6, 1, 1, 0xff, 2, 1, len]);
        }
        wanted.issue(&number(n - 1), &key(99 + n))
    });
    let all: Vec<_> = all.collect();
    let store = store(&[authority(0).issue_to_itself(&key(100))], &all);
    (store, leaf().issue(&number(intermediates), &key(100 + intermediates)))
}

#[test]
fn depth_is_limited() {
    for (intermediates, limit, good) in
        [(0, 0, true), (1, 0, false), (1, 1, true), (4, 4, true), (5, 4, false), (6, 6, true), (7, 9, false)]
    {
        let (store, certificate) = deep(intermediates, None);
        let limits = Limits::default().intermediates(limit);
        let verified = store.verify(&certificate, Some("bank"), date(NOW), &limits);
        if good {
            assert_eq!(verified.unwrap().path.len, usize::from(intermediates) + 2);
        } else {
            let error = CertificateError::TooDeep { subject: "CN=bank".into(), max: limit.min(6) };
            assert_eq!(verified, Err(error), "{intermediates} with a limit of {limit}");
        }
    }
    assert!(verify(&deep(4, None).0, &deep(4, None).1).is_ok(), "the default");
    let (store, certificate) = deep(3, Some(2));
    assert!(verify(&store, &certificate).is_ok());
    let (store, certificate) = deep(3, Some(1));
    let error = CertificateError::PathLength { subject: "CN=bank".into() };
    assert_eq!(verify(&store, &certificate), Err(error));
}

/// Constraints do not bind common names, so that a chain with any of them promises more than it keeps.
#[test]
fn constrained_chains_are_refused() {
    let subtree = |name: &[u8]| sequence(&[&tlv(0xa0, &sequence(&[name]))]);
    for constraints in [subtree(&tlv(0x82, b"example")), subtree(&tlv(0xa4, &cn("other")))] {
        let error = CertificateError::NameConstraints { subject: "CN=bank".into() };
        assert_eq!(usual(leaf().extension(NAME_CONSTRAINTS, true, &constraints)), Err(error));
        let between = Wanted::authority("between", &key(2)).extension(NAME_CONSTRAINTS, true, &constraints);
        let (store, _) = store_of(&[root().issue_to_itself(&key(1))], &[between.issue(&cn("root"), &key(1))]);
        let error = verify(&store, &leaf().issue(&cn("between"), &key(2))).unwrap_err();
        assert!(error.to_string().contains("name constraints, which do not bind common names"), "{error}");
        // Another way to the same issuer is taken.
        let free = Wanted::authority("between", &key(2)).issue(&cn("root"), &key(1));
        let mut store = store;
        assert_eq!(store.add_intermediates(&free), Ok(vec![]));
        assert!(verify(&store, &leaf().issue(&cn("between"), &key(2))).is_ok());
    }
}

#[test]
fn extensions_that_are_not_known_are_refused_where_critical() {
    let unknown = |critical| Wanted { extensions: vec![(vec![0x2b, 6, 1, 4, 1, 99], critical, vec![5, 0])], ..leaf() };
    assert!(usual(unknown(false)).is_ok());
    let error = CertificateError::Extension { subject: "CN=bank".into() };
    assert_eq!(usual(unknown(true)), Err(error));
    let authority = Wanted { extensions: unknown(true).extensions, ..root() };
    let (_, left_out) = store_of(&[authority.issue_to_itself(&key(1))], &[]);
    assert_eq!(left_out, [left(Unusable::Unsupported)]);
    // The same one twice.
    let mut twice = leaf();
    twice.extensions.push(twice.extensions[0].clone());
    assert_eq!(usual(twice), Err(CertificateError::Malformed));
}

#[test]
fn certificates_are_exactly_one_of_version_3() {
    let good = issued(leaf());
    let store = usual_store();
    assert!(verify(&store, &good).is_ok());
    let malformed = |der: &[u8]| assert_eq!(verify(&store, der), Err(CertificateError::Malformed));
    malformed(b"");
    malformed(&[&good[..], &[0]].concat());
    malformed(&[&good[..], &good].concat());
    for len in 0..good.len() {
        malformed(&good[..len]);
    }
    malformed(&issued(Wanted { version: vec![], ..leaf() }));
    malformed(&issued(Wanted { version: vec![0xa0, 3, 2, 1, 1], ..leaf() }));
    malformed(&issued(Wanted { version: vec![0xa0, 3, 2, 1, 3], ..leaf() }));
    malformed(&issued(Wanted { serial: vec![2, 0], ..leaf() }));
    malformed(&issued(Wanted { serial: tlv(2, &[1; 40]), ..leaf() }));
}

/// No byte of a certificate can be changed without its being refused.
#[test]
fn every_changed_byte_is_found() {
    let (store, good) = (usual_store(), issued(leaf()));
    for at in 0..good.len() {
        for bit in [1, 0x80] {
            let mut changed = good.clone();
            changed[at] ^= bit;
            assert!(verify(&store, &changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn keys_of_peers_must_be_strong_and_known() {
    let weak = |spki: Vec<u8>| match usual(Wanted { spki, ..leaf() }) {
        Err(CertificateError::WeakKey { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(weak(file("keys/secp256k1.spki")), KeyError::Unknown);
    let mut off_the_curve = key(9).public_key().spki().to_vec();
    *off_the_curve.last_mut().unwrap() ^= 1;
    assert_eq!(weak(off_the_curve), KeyError::Malformed);
    if KeyKind::Rsa.is_available() {
        assert_eq!(weak(file("keys/rsa1024.spki")), KeyError::RsaSize { bits: 1024 });
    }
    let ed25519 = sequence(&[b"\x30\x05\x06\x03\x2b\x65\x70", &tlv(3, &[&[0, 1][..], &[0; 31]].concat())]);
    assert_eq!(weak(ed25519), KeyError::SmallOrder);
}

/// Every kind of key can sign certificates, with every hash.
#[test]
fn issuers_of_every_kind() {
    let p384 = PrivateKey::from_pem(&file("keys/p384.pem")).unwrap();
    let p521 = PrivateKey::from_pem(&file("keys/p521.pem")).unwrap();
    let ecdsa = |last: &[u8]| tlv(0x30, &tlv(6, last));
    let sha2 = |n| ecdsa(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, n]);
    let sha3 = |n| ecdsa(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, n]);
    let mut cases: Vec<(&PrivateKey, Vec<u8>, Option<Digest>)> = Vec::new();
    let p256 = key(1);
    for key in [&p256, &p384, &p521] {
        cases.push((key, sha2(2), Some(Digest::Sha256)));
        cases.push((key, sha2(3), Some(Digest::Sha384)));
        cases.push((key, sha2(4), Some(Digest::Sha512)));
        cases.push((key, sha3(10), Some(Digest::Sha3_256)));
        cases.push((key, sha3(11), Some(Digest::Sha3_384)));
        cases.push((key, sha3(12), Some(Digest::Sha3_512)));
    }
    let rsa = KeyKind::Rsa.is_available().then(|| PrivateKey::from_pem(&file("keys/rsa2048.pem")).unwrap());
    if let Some(rsa) = &rsa {
        let pkcs1 = |id: &[u8]| sequence(&[&tlv(6, id), &[5, 0]]);
        let sha2 = |n| pkcs1(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, n]);
        let sha3 = |n| pkcs1(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, n]);
        cases.push((rsa, sha2(11), Some(Digest::Sha256)));
        cases.push((rsa, sha2(12), Some(Digest::Sha384)));
        cases.push((rsa, sha2(13), Some(Digest::Sha512)));
        cases.push((rsa, sha3(14), Some(Digest::Sha3_256)));
        cases.push((rsa, sha3(15), Some(Digest::Sha3_384)));
        cases.push((rsa, sha3(16), Some(Digest::Sha3_512)));
    }
    let ed25519 = PrivateKey::from_pem(&file("keys/ed25519.pem")).unwrap();
    cases.push((&ed25519, ecdsa(&[0x2b, 0x65, 0x70]), None));
    let ed448 = KeyKind::Ed448.is_available().then(|| PrivateKey::from_pem(&file("keys/ed448.pem")).unwrap());
    if let Some(ed448) = &ed448 {
        cases.push((ed448, ecdsa(&[0x2b, 0x65, 0x71]), None));
    }
    for (key, algorithm, digest) in cases {
        let (what, algorithm_of) = (format!("{:?} {digest:?}", key.public_key().kind()), algorithm.clone());
        let signed = |wanted: Wanted| Wanted { algorithm: algorithm_of.clone(), digest, ..wanted };
        let root = signed(Wanted::authority("root", key)).issue_to_itself(key);
        let store = store(&[root], &[]);
        assert!(verify(&store, &signed(leaf()).issue(&cn("root"), key)).is_ok(), "{what}");
        // The identifier of another algorithm than that of the signature.
        let wrong = Wanted { algorithm: sha2(4), digest, ..leaf() }.issue(&cn("root"), key);
        if digest != Some(Digest::Sha512) {
            assert!(verify(&store, &wrong).is_err(), "{what}");
        }
    }
    // SHA-1 and the like.
    let old = Wanted { algorithm: ecdsa(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]), ..leaf() };
    assert_eq!(usual(old), Err(CertificateError::Algorithm { subject: "CN=bank".into() }));
}

/// What is absurdly large is refused before anything is computed with it.
#[test]
fn absurd_sizes_are_refused() {
    let store = usual_store();
    let names = |n: usize| {
        let all: Vec<_> = (0..n).map(|n| tlv(0x82, format!("name{n}.example").as_bytes())).collect();
        leaf().extension(ALTERNATIVE_NAME, false, &tlv(0x30, &all.concat()))
    };
    assert!(verify(&store, &issued(names(1000))).is_ok());
    let large = issued(names(3000));
    let error = CertificateError::TooLarge { len: large.len(), max: 32_768 };
    assert_eq!(verify(&store, &large), Err(error), "3000 alternative names");
    assert_eq!(verify(&store, &vec![0x30; 65_535]), Err(CertificateError::TooLarge { len: 65_535, max: 32_768 }));
    // Within the limit, but of parts that take quadratic time to put in order.
    let attributes =
        |n: usize| (0..n).rev().map(|n| attribute(11, UTF8, &[(n >> 7) as u8, (n & 127) as u8])).collect::<Vec<_>>();
    let crowd = leaf().subject(tlv(0x30, &tlv(0x31, &attributes(2000).concat())));
    assert_eq!(usual(crowd), Err(CertificateError::Malformed), "2000 attributes in one");
    let row = leaf().subject(subject(&attributes(2000)));
    assert_eq!(usual(row), Err(CertificateError::Malformed), "2000 names in a row");
    if KeyKind::Rsa.is_available() {
        let n = tlv(2, &[&[0], &[0xff; 2048][..]].concat());
        let key = sequence(&[&n, &[2, 3, 1, 0, 1]]);
        let spki = sequence(&[
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00",
            &tlv(3, &[&[0], &key[..]].concat()),
        ]);
        let error = usual(Wanted { spki, ..leaf() }).unwrap_err();
        let reason = KeyError::RsaSize { bits: 16_384 };
        assert_eq!(error, CertificateError::WeakKey { subject: "CN=bank".into(), reason });
    }
}

/// Many certificates of one name, each of which could be the issuer: the search ends.
#[test]
fn the_search_for_a_path_is_bounded() {
    let all = (0..200u8).map(|n| {
        let name = ["even", "odd"][usize::from(n % 2)];
        let issuer = cn(["odd", "even"][usize::from(n % 2)]);
        Wanted { serial: tlv(2, &[0, n | 0x80]), ..Wanted::authority(name, &key(20 + n % 100)) }.issue(&issuer, &key(7))
    });
    let top = Wanted::authority("even", &key(6)).issue_to_itself(&key(6));
    let store = store(&[top], &all.collect::<Vec<_>>());
    let error = verify(&store, &leaf().issue(&cn("odd"), &key(7))).unwrap_err();
    assert_eq!(error, CertificateError::TooComplex { subject: "CN=bank".into() });
}

#[test]
fn certificates_of_the_reference_are_accepted() {
    let mut rng = o7s::base::rng::Rng::from_seed([1; 32]);
    for (folder, kind) in [
        ("ec", KeyKind::EcdsaP256),
        ("ed", KeyKind::Ed25519),
        ("mldsa", KeyKind::MlDsa65),
        ("slhdsa", KeyKind::SlhDsaSha2_128s),
    ] {
        if !kind.is_available() {
            continue;
        }
        let file = |name: &str| file(&format!("reference/{folder}/{name}"));
        let mut store = TrustStore::new();
        assert_eq!(store.add_authorities(&file("ca.pem")), Ok(vec![]), "{folder}");
        for name in ["oping", "client"] {
            let (certificate, key) = (file(&format!("{name}.crt.pem")), file(&format!("{name}.key.pem")));
            let own = o7s::crypto::certificate::Credentials::from_pem(&certificate, &key).unwrap();
            assert_eq!(own.name(), Ok(name));
            let signature = own.sign(b"message", None, &mut rng).unwrap();
            let signed =
                Signed { certificate: own.certificate(), digest: None, message: b"message", signature: &signature };
            // They were made in November 2026.
            let peer = store.authenticate(&signed, Some(name), date(1_796_000_000), &Limits::default());
            assert_eq!(&*peer.unwrap().name, name, "{folder}");
        }
    }
}

#[test]
fn certificates_are_printed_for_people() {
    let wanted = leaf().subject(subject(&[
        attribute(10, UTF8, "a\n\u{e4}".as_bytes()),
        attribute(3, TELETEX, b"\xff"),
        attribute(99, UTF8, b"x"),
    ]));
    let certificate = Certificate::from_der(&issued(wanted), 10_000).unwrap();
    assert_eq!(certificate.subject(), "O=a\\n\u{e4}, CN=\\xff, 2.5.4.99=x");
    assert_eq!(format!("{certificate:?}"), "Certificate(O=a\\n\u{e4}, CN=\\xff, 2.5.4.99=x, issued by CN=root)");
}

/// Who issued whom, in ways that searches for a path have got lost in. The order of the certificates does not matter.
#[test]
fn graphs_of_issuers() {
    let key_of = |name: char| key(name as u8);
    let certificate = |issuer: char, subject: char, days: u64| {
        let wanted =
            Wanted::authority(&subject.to_string(), &key_of(subject)).validity(NOW - 9 * DAY, NOW - DAY + days * DAY);
        wanted.issue(&cn(&issuer.to_string()), &key_of(issuer))
    };
    // Issuer and subject of each certificate, small letters for those that have expired; the issuer of the peer; the length of the path.
    for (edges, of_peer, len) in [
        ("", 'R', Some(2)),
        ("RA", 'A', Some(3)),
        ("RA XA", 'A', Some(3)),
        ("XA", 'A', None),
        ("AB BA", 'A', None),
        ("AB BA RB", 'A', Some(4)),
        ("AB BA RA", 'A', Some(3)),
        ("AB BC CA", 'A', None),
        ("AB BC CA AC BA CB RA", 'C', Some(4)),
        ("RA AB BC CD", 'D', Some(6)),
        ("RA AB BC CD RD", 'D', Some(3)),
        ("RA AB XB YB BC", 'C', Some(5)),
        ("ra RA", 'A', Some(3)),
        ("ra", 'A', None),
        ("RA ab", 'B', None),
        ("RA ab CB RC", 'B', Some(4)),
        ("AR RA", 'A', Some(3)),
        ("AA RA", 'A', Some(3)),
    ] {
        let mut all: Vec<_> = edges
            .split_whitespace()
            .map(|edge| {
                let days = if edge.contains(char::is_lowercase) { 0 } else { 9 };
                let mut ends = edge.chars().map(|c| c.to_ascii_uppercase());
                certificate(ends.next().unwrap(), ends.next().unwrap(), days)
            })
            .collect();
        let root = Wanted::authority("R", &key_of('R')).issue_to_itself(&key_of('R'));
        let peer = leaf().issue(&cn(&of_peer.to_string()), &key_of(of_peer));
        for _ in 0..all.len().max(1) {
            let (store, _) = store_of(std::slice::from_ref(&root), &all);
            let found = verify(&store, &peer);
            // Where there are several paths, any of them will do.
            match (len, found) {
                (Some(len), Ok(peer)) => assert!((len..=6).contains(&peer.path.len), "{edges}: {}", peer.path.len),
                (None, Err(_)) => {}
                (_, found) => panic!("{edges}: {found:?}"),
            }
            let step = all.len().min(1);
            all.rotate_left(step);
        }
    }
}
