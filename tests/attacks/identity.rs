//! Messages with certificates: changed, stripped, and of those who have no business here. Through the whole exchange, in both
//! directions, so that each is refused for the reason that the end itself tells.

use std::sync::Arc;

use o7s::crypto::certificate::{Certificate, CertificateError, Credentials, TrustStore};
use o7s::crypto::sign::{SignError, Signer};
use o7s::crypto::suite::{Digest, Kex};
use o7s::oap::{CertificatePolicy, OapError, SecurityConfig};
use o7s::wire::oap::Message;

use crate::ends::{Case, End, Ends, bank, check, flip, is_weak, set, unchanged};
use crate::issue::{Wanted, cn, key};

/// Key of the peer, and that of somebody else whom the authority knows as well.
pub(crate) const OWNER: u8 = 9;
const STRANGER: u8 = 8;

pub(crate) fn root() -> Vec<u8> {
    Wanted::authority("root", &key(1)).issue_to_itself(&key(1))
}

pub(crate) fn leaf(name: &str, owner: u8) -> Wanted {
    Wanted::leaf(name, &key(owner))
}

pub(crate) fn issued(wanted: Wanted) -> Vec<u8> {
    wanted.issue(&cn("root"), &key(1))
}

/// The certificate that "bank" should have.
pub(crate) fn good() -> Vec<u8> {
    issued(leaf("bank", OWNER))
}

pub(crate) fn store(authorities: &[Vec<u8>], intermediates: &[Vec<u8>]) -> Arc<TrustStore> {
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
pub(crate) enum Role {
    Client,
    Server,
}

pub(crate) const ROLES: [Role; 2] = [Role::Client, Role::Server];

impl Role {
    pub(crate) fn ends(self, store: &Arc<TrustStore>) -> Ends {
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
    pub(crate) fn resigned<'a>(self, certificate: &'a [u8], owner: &'a dyn Signer) -> impl Fn(&mut Vec<u8>) + 'a {
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
    pub(crate) fn judged(self, ends: &Ends, change: &dyn Fn(&mut Vec<u8>)) -> Result<Option<Box<str>>, OapError> {
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
    let is_forged = |why: &CertificateError| matches!(why, CertificateError::Message { reason: SignError::Forged, .. });
    let forged = |error: &OapError| matches!(error, OapError::Peer(why) if is_forged(why));
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

#[expect(clippy::ptr_arg, reason = "it has the form of all that is done to messages")]
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
