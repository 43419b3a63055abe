//! Messages with certificates: changed, stripped, and of those who have no business here. Through the whole exchange, in both
//! directions, so that each is refused for the reason that the end itself tells.

use std::sync::Arc;

use o7s::crypto::certificate::{Certificate, CertificateError, Credentials, NameFault, TrustStore, Unusable};
use o7s::crypto::sign::{KeyError, SignError, Signer};
use o7s::crypto::suite::{Digest, Kex};
use o7s::oap::{CertificatePolicy, OapError, SecurityConfig};
use o7s::wire::oap::Message;

use crate::ends::{Case, End, Ends, bank, check, flip, is_weak, set, unchanged};
use crate::issue::{
    ALTERNATIVE_NAME, BASIC_CONSTRAINTS, CERT_SIGN, DAY, DIGITAL_SIGNATURE, KEY_AGREEMENT, KEY_USAGE, NAME_CONSTRAINTS,
    NOW, UTF8, Wanted, attribute, cn, key, sequence, subject, tlv,
};

/// Key of the peer, and that of somebody else whom the authority knows as well.
const OWNER: u8 = 9;
const STRANGER: u8 = 8;

fn root() -> Vec<u8> {
    Wanted::authority("root", &key(1)).issue_to_itself(&key(1))
}

fn leaf(name: &str, owner: u8) -> Wanted {
    Wanted::leaf(name, &key(owner))
}

fn issued(wanted: Wanted) -> Vec<u8> {
    wanted.issue(&cn("root"), &key(1))
}

/// The certificate that "bank" should have.
fn good() -> Vec<u8> {
    issued(leaf("bank", OWNER))
}

fn store(authorities: &[Vec<u8>], intermediates: &[Vec<u8>]) -> Arc<TrustStore> {
    let mut store = TrustStore::new();
    // Of some, nothing is taken: that is what the cases are about.
    for der in authorities {
        store.add_authorities(der).unwrap();
    }
    for der in intermediates {
        store.add_intermediates(der).unwrap();
    }
    Arc::new(store)
}

/// One that shows "bank"'s certificate.
fn owner() -> SecurityConfig {
    let certificate = Certificate::from_der(&good(), 32_768).unwrap();
    let own = Credentials::new(certificate, Arc::new(key(OWNER))).unwrap();
    SecurityConfig::encrypted(Kex::X25519).credentials(Some(own))
}

/// One that asks for a certificate, by these authorities, and shows none.
fn asking(store: &Arc<TrustStore>) -> SecurityConfig {
    let config = SecurityConfig::encrypted(Kex::X25519).authorities(Some(Arc::clone(store)));
    config.certificates(CertificatePolicy::Require)
}

/// Which end shows the certificate that is tampered with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Client,
    Server,
}

const ROLES: [Role; 2] = [Role::Client, Role::Server];

impl Role {
    fn ends(self, store: &Arc<TrustStore>) -> Ends {
        match self {
            Self::Client => Ends::new(owner(), asking(store).peer_names(vec![bank()])),
            Self::Server => Ends::new(asking(store), owner()),
        }
    }

    fn exchange(self, ends: &Ends, change: &dyn Fn(&mut Vec<u8>)) -> End {
        match self {
            Self::Client => ends.exchange(change, &unchanged),
            Self::Server => ends.exchange(&unchanged, change),
        }
    }

    /// The message, as it was parsed by the end that has to judge it.
    fn parse(self, bytes: &[u8]) -> Message<'_> {
        match self {
            Self::Client => Message::parse_request(bytes).unwrap(),
            Self::Server => Message::parse_response(bytes, Digest::Sha256.nid()).unwrap(),
        }
    }

    /// Has the message be that of the owner of another certificate: signed, as it should be.
    fn resigned<'a>(self, certificate: &'a [u8], owner: &'a dyn Signer) -> impl Fn(&mut Vec<u8>) + 'a {
        move |bytes| {
            let message = Message { certificate, signature: b"", ..self.parse(bytes) };
            let mut signed = message.to_vec().unwrap();
            let mut rng = o7s::base::rng::Rng::from_seed([6; 32]);
            let signature = owner.sign(&signed, Digest::from_nid(message.digest), &mut rng).unwrap();
            signed.extend_from_slice(&signature);
            *bytes = signed;
        }
    }

    /// Who the end that asks takes the other for, or why it refuses it.
    fn judged(self, ends: &Ends, change: &dyn Fn(&mut Vec<u8>)) -> Result<Option<Box<str>>, OapError> {
        let (client, mut request) = ends.asked();
        if self == Self::Client {
            change(&mut request);
        }
        let (mut response, there) = ends.answer(&request)?;
        if self == Self::Client {
            return Ok(there.peer.map(|peer| peer.name));
        }
        change(&mut response);
        Ok(client.complete(&response)?.peer.map(|peer| peer.name))
    }
}

fn forged(end: &End) -> bool {
    let forged = |error: &OapError| matches!(error, OapError::Peer(e) if matches!(**e, CertificateError::Message { reason: SignError::Forged, .. }));
    matches!(end, End::Server(e) | End::Client(e) if forged(e))
}

#[test]
fn a_good_certificate_is_accepted() {
    for role in ROLES {
        let ends = role.ends(&store(&[root()], &[]));
        let end = role.exchange(&ends, &unchanged);
        assert!(end.is_flow(), "{role:?}: {end:?}");
        assert_eq!(role.judged(&ends, &unchanged), Ok(Some("bank".into())));
        // Signed anew with the same key it is as good.
        let (certificate, owner) = (good(), key(OWNER));
        assert_eq!(role.judged(&ends, &role.resigned(&certificate, &owner)), Ok(Some("bank".into())));
    }
}

/// Where the fields of a message begin that has this certificate.
struct Places {
    certificate: usize,
    kex: usize,
    data: usize,
}

fn places() -> Places {
    let kex = 36 + good().len();
    Places { certificate: 36, kex, data: kex + 44 }
}

fn last(bytes: &mut Vec<u8>) {
    *bytes.last_mut().unwrap() ^= 1;
}

fn wire(end: &End) -> bool {
    matches!(end, End::Server(OapError::Wire(_)) | End::Client(OapError::Wire(_)))
}

fn peer(end: &End) -> bool {
    matches!(end, End::Server(OapError::Peer(_)) | End::Client(OapError::Peer(_)))
}

fn other_request(end: &End) -> bool {
    matches!(end, End::Client(OapError::OtherRequest))
}

#[test]
fn every_field_of_a_signed_request() {
    let at = places();
    let cases: Vec<Case> = vec![
        ("the id", Box::new(flip(0)), forged),
        ("the mark", Box::new(flip(15)), forged),
        ("the time", Box::new(flip(23)), forged),
        ("the time, by an hour", Box::new(flip(18)), |e| matches!(e, End::Server(OapError::Stale { .. }))),
        ("a stronger cipher", Box::new(set(24, 1018)), forged),
        ("a weaker cipher", Box::new(set(24, 895)), forged),
        ("no cipher", Box::new(set(24, 0)), forged),
        ("a stronger hash", Box::new(set(26, 674)), forged),
        ("no hash", Box::new(set(26, 0)), forged),
        ("another digest", Box::new(set(28, 673)), forged),
        ("no digest", Box::new(set(28, 0)), forged),
        ("the length of the certificate", Box::new(flip(31)), |e| peer(e) || wire(e) || e_is_crypto(e)),
        ("no certificate", Box::new(set(30, 0)), wire),
        ("the length of the key", Box::new(set(32, 43)), e_is_crypto),
        ("the length of the data", Box::new(set(34, 4)), forged),
        ("more data", Box::new(set(34, 6)), forged),
        ("the certificate", Box::new(flip(at.certificate + 20)), peer),
        ("the key", Box::new(flip(at.kex + 20)), forged),
        ("the data", Box::new(flip(at.data)), forged),
        ("the signature", Box::new(last), forged),
        ("a shorter signature", Box::new(|r| r.truncate(r.len() - 1)), forged),
        ("a longer signature", Box::new(|r| r.push(0)), forged),
        ("no signature", Box::new(move |r| r.truncate(at.data + 5)), forged),
    ];
    let ends = Role::Client.ends(&store(&[root()], &[]));
    check(cases, |change| Role::Client.exchange(&ends, change));
}

fn e_is_crypto(end: &End) -> bool {
    matches!(end, End::Server(OapError::Crypto(_)) | End::Client(OapError::Crypto(_)))
}

#[test]
fn every_field_of_a_signed_response() {
    let at = places();
    // Application's data, and what an o7s server says of itself.
    let hash = at.data + 7 + 21;
    let cases: Vec<Case> = vec![
        ("the id", Box::new(flip(3)), other_request),
        ("the time", Box::new(flip(18)), forged),
        ("a stronger cipher", Box::new(set(24, 1018)), forged),
        ("a weaker cipher", Box::new(set(24, 895)), |e| matches!(e, End::Client(why) if is_weak(why, "cipher"))),
        ("no cipher", Box::new(set(24, 0)), |e| matches!(e, End::Client(OapError::NoCipher))),
        ("a stronger hash", Box::new(set(26, 674)), forged),
        ("no hash", Box::new(set(26, 0)), forged),
        ("another digest", Box::new(set(28, 673)), forged),
        ("no digest", Box::new(set(28, 0)), forged),
        ("no certificate", Box::new(set(30, 0)), |e| {
            matches!(e, End::Client(OapError::Wire(_) | OapError::PeerUnauthenticated))
        }),
        ("the format of the key", Box::new(set(32, 0x8000 | 44)), forged),
        ("the role of the key", Box::new(set(32, 0x4000 | 44)), forged),
        ("the length of the data", Box::new(set(34, 4)), |e| matches!(e, End::Client(OapError::RequestHash))),
        ("the certificate", Box::new(flip(at.certificate + 20)), peer),
        ("the key", Box::new(flip(at.kex + 20)), forged),
        ("the data", Box::new(flip(at.data)), forged),
        ("the terms", Box::new(flip(at.data + 7)), forged),
        ("the mark", Box::new(flip(at.data + 7 + 5)), forged),
        ("the hash of the request", Box::new(flip(hash)), |e| matches!(e, End::Client(OapError::RequestHash))),
        ("the signature", Box::new(last), forged),
        ("no signature", Box::new(move |r| r.truncate(hash + 32)), forged),
    ];
    let ends = Role::Server.ends(&store(&[root()], &[]));
    check(cases, |change| Role::Server.exchange(&ends, change));
}

/// Whatever bit of a signed message is changed, there is no flow.
#[test]
fn no_bit_of_a_signed_message_can_be_changed() {
    let store = store(&[root()], &[]);
    for role in ROLES {
        let ends = role.ends(&store);
        let (_, request) = ends.asked();
        let len = if role == Role::Client { request.len() } else { ends.answer(&request).unwrap().0.len() };
        for at in 0..len {
            let end = role.exchange(&ends, &|bytes| bytes[at] ^= 1 << (at % 8));
            assert!(matches!(end, End::Server(_) | End::Client(_)), "{role:?}, byte {at}: {end:?}");
        }
    }
}

/// Takes the certificate out of a message, and the signature with it: nothing else has to be changed.
fn strip(role: Role) -> impl Fn(&mut Vec<u8>) {
    move |bytes| *bytes = Message { certificate: b"", signature: b"", ..role.parse(bytes) }.to_vec().unwrap()
}

#[test]
fn a_stripped_certificate_is_missed_where_one_is_required() {
    let store = store(&[root()], &[]);
    for role in ROLES {
        let ends = role.ends(&store);
        assert_eq!(role.judged(&ends, &strip(role)), Err(OapError::PeerUnauthenticated));
        // The signature alone, and the certificate alone.
        let unsigned = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - role.parse(bytes).signature.len());
        assert!(forged(&role.exchange(&ends, &unsigned)));
        let nameless = |bytes: &mut Vec<u8>| {
            let len = role.parse(bytes).certificate.len();
            set(30, 0)(bytes);
            bytes.drain(36..36 + len);
        };
        assert!(wire(&role.exchange(&ends, &nameless)));
        // By policy, who shows none is anonymous. A client's request is then another than the one that it sent.
        let ends = match role {
            Role::Client => Ends { server: ends.server.certificates(CertificatePolicy::Verify), ..ends },
            Role::Server => Ends { client: ends.client.certificates(CertificatePolicy::Verify), ..ends },
        };
        let end = role.exchange(&ends, &strip(role));
        match role {
            Role::Client => assert!(matches!(end, End::Client(OapError::RequestHash)), "{end:?}"),
            Role::Server => assert!(matches!(&end, End::Both(ends) if ends.0.peer.is_none()), "{end:?}"),
        }
    }
}

/// Somebody whom the same authority vouches for takes the place of the one who is meant.
#[test]
fn the_certificate_of_somebody_else_is_not_taken() {
    let store = store(&[root()], &[]);
    let (other, stranger) = (issued(leaf("other", STRANGER)), key(STRANGER));
    for role in ROLES {
        let error = role.judged(&role.ends(&store), &role.resigned(&other, &stranger)).unwrap_err();
        match (role, error) {
            (Role::Client, OapError::PeerName(name)) => assert_eq!(&*name, "other"),
            (Role::Server, OapError::Peer(error)) => {
                assert_eq!(*error, CertificateError::WrongName { expected: "bank".into(), found: "other".into() });
            }
            (_, error) => panic!("{error:?}"),
        }
        // The right certificate, without its key; and under the signature of the right one another certificate.
        let certificate = good();
        assert!(forged(&role.exchange(&role.ends(&store), &role.resigned(&certificate, &stranger))));
        let swapped = |bytes: &mut Vec<u8>| {
            let before = std::mem::take(bytes);
            *bytes = Message { certificate: &other, ..role.parse(&before) }.to_vec().unwrap();
        };
        let end = role.exchange(&role.ends(&store), &swapped);
        assert!(peer(&end), "{end:?}");
    }
}

/// A certificate, the authorities and intermediates of the end that judges it, and the reason for which it is refused.
struct Chain {
    what: &'static str,
    certificate: Vec<u8>,
    authorities: Vec<Vec<u8>>,
    intermediates: Vec<Vec<u8>>,
    refused: fn(&CertificateError) -> bool,
}

impl Chain {
    fn new(what: &'static str, certificate: Vec<u8>, refused: fn(&CertificateError) -> bool) -> Self {
        Self { what, certificate, authorities: vec![root()], intermediates: Vec::new(), refused }
    }

    fn of(mut self, authorities: Vec<Vec<u8>>) -> Self {
        self.authorities = authorities;
        self
    }

    fn by_way_of(mut self, intermediates: Vec<Vec<u8>>) -> Self {
        self.intermediates = intermediates;
        self
    }
}

fn named(name: &[u8]) -> Vec<u8> {
    issued(leaf("bank", OWNER).subject(subject(&[attribute(3, UTF8, name)])))
}

fn between(wanted: impl FnOnce(Wanted) -> Wanted) -> Vec<u8> {
    wanted(Wanted::authority("between", &key(2))).issue(&cn("root"), &key(1))
}

fn by_between() -> Vec<u8> {
    leaf("bank", OWNER).issue(&cn("between"), &key(2))
}

/// So many intermediates, one below the other, and a leaf below the last.
fn deep(intermediates: u8) -> (Vec<Vec<u8>>, Vec<u8>) {
    let name = |n: u8| if n == 0 { "root".to_owned() } else { format!("number {n}") };
    let of = |n: u8| if n == 0 { key(1) } else { key(100 + n) };
    let all =
        (1..=intermediates).map(|n| Wanted::authority(&name(n), &of(n)).issue(&cn(&name(n - 1)), &of(n - 1))).collect();
    (all, leaf("bank", OWNER).issue(&cn(&name(intermediates)), &of(intermediates)))
}

fn wrong_chains() -> Vec<Chain> {
    use CertificateError as E;
    let other = || Wanted::authority("root", &key(7)).issue_to_itself(&key(7));
    let valid = |from, to| issued(leaf("bank", OWNER).validity(from, to));
    vec![
        Chain::new("an authority that is not known", good(), |e| matches!(e, E::UnknownIssuer { .. })).of(vec![]),
        Chain::new("an authority of the same name", good(), |e| matches!(e, E::Forged { .. })).of(vec![other()]),
        Chain::new("no authority above the issuer", by_between(), |e| matches!(e, E::UnknownIssuer { .. })),
        Chain::new("its own issuer", leaf("bank", OWNER).issue_to_itself(&key(OWNER)), |e| {
            matches!(e, E::UnknownIssuer { .. })
        }),
        Chain::new("expired", valid(NOW - 9 * DAY, NOW - 1), |e| matches!(e, E::CertificateExpired { .. })),
        Chain::new("not yet valid", valid(NOW + 1, NOW + 9 * DAY), |e| matches!(e, E::NotYetValid { .. })),
        Chain::new("over before it begins", valid(NOW + DAY, NOW - DAY), |e| matches!(e, E::Validity { .. })),
        Chain::new("an expired authority", good(), |e| matches!(e, E::CertificateExpired { .. }))
            .of(vec![Wanted::authority("root", &key(1)).validity(NOW - 9 * DAY, NOW - DAY).issue_to_itself(&key(1))]),
        Chain::new("an expired intermediate", by_between(), |e| matches!(e, E::CertificateExpired { .. }))
            .by_way_of(vec![between(|w| w.validity(NOW - 9 * DAY, NOW - DAY))]),
    ]
}

fn wrong_names() -> Vec<Chain> {
    use CertificateError as E;
    fn character(e: &CertificateError) -> bool {
        matches!(e, CertificateError::Name { fault: NameFault::Character, .. })
    }
    fn wrong(e: &CertificateError) -> bool {
        matches!(e, CertificateError::WrongName { .. })
    }
    let alternative = sequence(&[&tlv(0x82, b"bank")]);
    vec![
        Chain::new("another name", named(b"other"), wrong),
        Chain::new("a wildcard", named(b"*"), wrong),
        Chain::new("a wildcard with a dot", named(b"*.bank"), wrong),
        Chain::new("a name with a beginning", named(b"ban"), wrong),
        Chain::new("a name with an end", named(b"bank.evil"), wrong),
        Chain::new("capitals", named(b"BANK"), wrong),
        Chain::new("a NUL and more", named(b"bank\0evil"), character),
        Chain::new("a NUL at the end", named(b"bank\0"), character),
        Chain::new("a NUL alone", named(b"\0"), character),
        Chain::new("a comma", named(b"bank,evil"), character),
        Chain::new(
            "an alternative name",
            issued(leaf("other", OWNER).extension(ALTERNATIVE_NAME, false, &alternative)),
            wrong,
        ),
        Chain::new(
            "two names",
            {
                issued(
                    leaf("bank", OWNER).subject(subject(&[attribute(3, UTF8, b"bank"), attribute(3, UTF8, b"evil")])),
                )
            },
            |e| matches!(e, E::Name { fault: NameFault::Several, .. }),
        ),
        Chain::new("no name", issued(leaf("bank", OWNER).subject(subject(&[attribute(10, UTF8, b"bank")]))), |e| {
            matches!(e, E::Name { fault: NameFault::None, .. })
        }),
        Chain::new(
            "the name in another attribute",
            {
                issued(
                    leaf("x", OWNER).subject(subject(&[attribute(10, UTF8, b"CN=bank"), attribute(3, UTF8, b"evil")])),
                )
            },
            wrong,
        ),
    ]
}

fn wrong_usages() -> Vec<Chain> {
    use CertificateError as E;
    let permitted = sequence(&[&tlv(0xa0, &sequence(&[&tlv(0x82, b"example")]))]);
    let not_ca = between(|w| w.extension(BASIC_CONSTRAINTS, true, &[0x30, 0]));
    let no_sign = between(|w| w.extension(KEY_USAGE, true, DIGITAL_SIGNATURE));
    let constrained = between(|w| w.extension(NAME_CONSTRAINTS, true, &permitted));
    let short = between(|w| w.extension(BASIC_CONSTRAINTS, true, &[0x30, 6, 1, 1, 0xff, 2, 1, 0]));
    let below = Wanted::authority("below", &key(3)).issue(&cn("between"), &key(2));
    // A program's certificate is no authority, though it is signed by one.
    let program = leaf("program", 2).issue(&cn("root"), &key(1));
    vec![
        Chain::new("a key for agreement", issued(leaf("bank", OWNER).extension(KEY_USAGE, true, KEY_AGREEMENT)), |e| {
            matches!(e, E::Usage { .. })
        }),
        Chain::new("a key for certificates", issued(leaf("bank", OWNER).extension(KEY_USAGE, true, CERT_SIGN)), |e| {
            matches!(e, E::Usage { .. })
        }),
        Chain::new("an authority as a peer", issued(Wanted::authority("bank", &key(OWNER))), |e| {
            matches!(e, E::Authority { .. })
        }),
        Chain::new(
            "constraints on names",
            issued(leaf("bank", OWNER).extension(NAME_CONSTRAINTS, true, &permitted)),
            |e| matches!(e, E::NameConstraints { .. }),
        ),
        Chain::new("an issuer that is none", by_between(), |e| {
            matches!(e, E::Issuer { reason: Unusable::NotAuthority, .. })
        })
        .by_way_of(vec![not_ca]),
        Chain::new("an issuer that may not issue", by_between(), |e| {
            matches!(e, E::Issuer { reason: Unusable::NoCertSign, .. })
        })
        .by_way_of(vec![no_sign]),
        Chain::new("an issuer with constraints", by_between(), |e| {
            matches!(e, E::Issuer { reason: Unusable::NameConstraints, .. })
        })
        .by_way_of(vec![constrained]),
        Chain::new("a program as an issuer", leaf("bank", OWNER).issue(&cn("program"), &key(2)), |e| {
            matches!(e, E::Issuer { reason: Unusable::NotAuthority, .. })
        })
        .by_way_of(vec![program]),
        Chain::new("an issuer below one that allows none", leaf("bank", OWNER).issue(&cn("below"), &key(3)), |e| {
            matches!(e, E::PathLength { .. })
        })
        .by_way_of(vec![short, below]),
    ]
}

fn absurd_sizes() -> Vec<Chain> {
    use CertificateError as E;
    let names = |n: usize| {
        let all: Vec<_> = (0..n).map(|n| tlv(0x82, format!("name{n}.example").as_bytes())).collect();
        issued(leaf("bank", OWNER).extension(ALTERNATIVE_NAME, false, &tlv(0x30, &all.concat())))
    };
    let attributes =
        |n: usize| (0..n).map(|n| attribute(11, UTF8, &[(n >> 7) as u8, (n & 127) as u8])).collect::<Vec<_>>();
    let (too_many, at_the_end) = deep(5);
    let (far_too_many, at_their_end) = deep(40);
    let huge = {
        let n = tlv(2, &[&[0], &[0xff; 2048][..]].concat());
        let rsa = sequence(&[&n, &[2, 3, 1, 0, 1]]);
        let bits = tlv(3, &[&[0], &rsa[..]].concat());
        sequence(&[b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00", &bits])
    };
    let mut all = vec![
        Chain::new("the largest that a message has room for", vec![0x30; 65_535], |e| {
            matches!(e, E::TooLarge { len: 65_535, max: 32_768 })
        }),
        Chain::new("3000 alternative names", names(3000), |e| matches!(e, E::TooLarge { .. })),
        Chain::new("2000 attributes", issued(leaf("x", OWNER).subject(subject(&attributes(2000)))), |e| {
            matches!(e, E::Malformed)
        }),
        Chain::new("not quite a certificate", good()[..good().len() - 1].to_vec(), |e| matches!(e, E::Malformed)),
        Chain::new("five issuers in a row", at_the_end, |e| matches!(e, E::TooDeep { max: 4, .. })).by_way_of(too_many),
        Chain::new("forty issuers in a row", at_their_end, |e| matches!(e, E::TooDeep { .. } | E::TooComplex { .. }))
            .by_way_of(far_too_many),
    ];
    if cfg!(feature = "sign-rsa") {
        let rsa = issued(Wanted { spki: huge, ..leaf("bank", OWNER) });
        all.push(Chain::new("a key of 16384 bits", rsa, |e| {
            matches!(e, E::WeakKey { reason: KeyError::RsaSize { bits: 16_384 }, .. })
        }));
    }
    all
}

/// Has an end show this certificate, and sign as it should. The one that shows it need not believe in it.
fn shown(chain: &Chain, role: Role) -> Result<Option<Box<str>>, OapError> {
    let ends = role.ends(&store(&chain.authorities, &chain.intermediates));
    role.judged(&ends, &role.resigned(&chain.certificate, &key(OWNER)))
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    for chain in [wrong_chains(), wrong_names(), wrong_usages(), absurd_sizes()].into_iter().flatten() {
        for role in ROLES {
            let error = shown(&chain, role).expect_err(chain.what);
            // The peer learns no more than that it is not known here.
            assert_eq!(error.refusal_code(), -1009, "{}", chain.what);
            match &error {
                OapError::Peer(why) => assert!((chain.refused)(why), "{}: {why:?}", chain.what),
                // A server has no name that it wants, but may have several that it allows.
                OapError::PeerName(_) if role == Role::Client => {
                    let (expected, found) = ("bank".into(), "".into());
                    assert!((chain.refused)(&CertificateError::WrongName { expected, found }), "{}", chain.what);
                }
                other => panic!("{} of a {role:?}: {other:?}", chain.what),
            }
        }
    }
}

/// What is next to the limits is taken: they are no pretext.
#[test]
fn what_is_next_to_wrong_is_accepted() {
    let valid = |from, to| issued(leaf("bank", OWNER).validity(from, to));
    let never = |_: &CertificateError| false;
    let (as_deep_as_allowed, at_the_end) = deep(4);
    let copies = [(NOW - 9 * DAY, NOW - DAY), (NOW - DAY, NOW + DAY)];
    let copies =
        copies.map(|(from, to)| Wanted::authority("root", &key(1)).validity(from, to).issue_to_itself(&key(1)));
    let roots = [7, 1].map(|n| Wanted::authority("root", &key(n)).issue_to_itself(&key(n)));
    let chains = vec![
        Chain::new("the usual", good(), never),
        Chain::new("in its last second", valid(NOW - DAY, NOW), never),
        Chain::new("in its first second", valid(NOW, NOW + DAY), never),
        Chain::new("an intermediate", by_between(), never).by_way_of(vec![between(|w| w)]),
        Chain::new("four issuers in a row", at_the_end, never).by_way_of(as_deep_as_allowed),
        Chain::new("no word of usage", issued(leaf("bank", OWNER).without(KEY_USAGE)), never),
        Chain::new("an expired copy of the authority", good(), never).of(copies.to_vec()),
        Chain::new("and in the other order", good(), never).of(copies.iter().rev().cloned().collect()),
        Chain::new("two authorities of one name", good(), never).of(roots.to_vec()),
        Chain::new("and in the other order", good(), never).of(roots.iter().rev().cloned().collect()),
    ];
    for chain in chains {
        for role in ROLES {
            assert_eq!(shown(&chain, role), Ok(Some("bank".into())), "{} of a {role:?}", chain.what);
        }
    }
}

/// A signed response is no request, and a signed request no response to another, though both have the form of the other.
#[test]
fn signed_messages_do_not_change_their_direction() {
    let store = store(&[root()], &[]);
    let both = owner().authorities(Some(Arc::clone(&store))).certificates(CertificatePolicy::Require);
    let ends = Ends::alike(&both);
    let (client, request) = ends.asked();
    let (response, _) = ends.answer(&request).unwrap();
    let error = ends.answer(&response).unwrap_err();
    assert!(forged(&End::Server(error.clone())), "{error:?}");
    let error = client.check(&request).unwrap_err();
    assert!(matches!(error, OapError::Wire(_) | OapError::RequestHash), "{error:?}");
    assert!(client.complete(&response).is_ok());
}
