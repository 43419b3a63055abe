//! Stores and credentials from files.

use std::sync::Arc;

use o7s::base::rng::{Randomness, Rng};
use o7s::crypto::certificate::{
    Certificate, CertificateError, Credentials, CredentialsError, MAX_CERTIFICATES, StoreError, TrustStore, Unusable,
};
use o7s::crypto::pem::PemError;
use o7s::crypto::sign::{KeyError, KeyKind, PrivateKey, PublicKey, SignError, Signer};
use o7s::crypto::suite::Digest;
use o7s::oap::client::Client;
use o7s::oap::{OapError, SecurityConfig};
use o7s::wire::oap::Message;
use rand_core::CryptoRng;

use crate::file;
use crate::issue::*;

fn authority(n: u8) -> Vec<u8> {
    Wanted::authority(&format!("authority {n}"), &key(n)).issue_to_itself(&key(n))
}

fn leaf() -> Vec<u8> {
    Wanted::leaf("bank", &key(9)).issue(&cn("authority 1"), &key(1))
}

fn added(file: &[u8]) -> Result<usize, StoreError> {
    let mut store = TrustStore::new();
    let added = store.add_authorities(file);
    if added.is_err() {
        assert_eq!(store.authorities().len(), 0, "all of a file, or nothing");
    }
    assert_eq!(added?, []);
    Ok(store.authorities().len())
}

#[test]
fn all_certificates_of_a_file_are_read() {
    let (one, two) = (pem(&authority(1)), pem(&authority(2)));
    assert_eq!(added(&authority(1)), Ok(1), "DER");
    assert_eq!(added(one.as_bytes()), Ok(1));
    assert_eq!(added(format!("{one}{two}").as_bytes()), Ok(2));
    assert_eq!(added(format!("\u{feff}subject: one\n{one}\n\nsubject: two\n{two}the end").as_bytes()), Ok(2));
    assert_eq!(added(format!("{one}{two}").replace('\n', "\r\n").as_bytes()), Ok(2));
    assert_eq!(added(one.trim_end().as_bytes()), Ok(1), "without a line end behind it");
}

#[test]
fn what_is_not_a_certificate_makes_the_file_an_error() {
    let one = pem(&authority(1));
    assert_eq!(added(b""), Err(StoreError::Empty));
    assert_eq!(added(b"text"), Err(StoreError::Empty));
    let other = |line, label: &str| Err(StoreError::Other { line, label: label.into() });
    let key = String::from_utf8(file("keys/p256.pem")).unwrap();
    let line = one.lines().count() + 1;
    assert_eq!(added(format!("{one}{key}").as_bytes()), other(line, "PRIVATE KEY"));
    let list = one.replace("CERTIFICATE", "X509 CRL");
    assert_eq!(added(list.as_bytes()), other(1, "X509 CRL"));
    let cut = &one[..one.len() - 30];
    let unfinished = PemError::Unfinished { line: 1, label: "CERTIFICATE".into() };
    assert_eq!(added(cut.as_bytes()), Err(StoreError::Pem(unfinished)));
    let damaged = one.replacen('M', "*", 1);
    let encoding = PemError::Encoding { line: 1, label: "CERTIFICATE".into() };
    assert_eq!(added(damaged.as_bytes()), Err(StoreError::Pem(encoding)));
    let behind = [one.as_bytes(), b"\n\0\x01"].concat();
    assert!(matches!(added(&behind), Err(StoreError::Pem(PemError::NotText { .. }))));
    let malformed = |line| Err(StoreError::Certificate { line, reason: CertificateError::Malformed });
    assert_eq!(added(format!("{one}{}", pem(&authority(2)[1..])).as_bytes()), malformed(line));
    assert_eq!(added(&[&authority(1)[..], &[0]].concat()), malformed(1));
    let trailing = pem(&[&authority(2)[..], &[0]].concat());
    assert_eq!(added(trailing.as_bytes()), malformed(1));
    let large = vec![b' '; (1 << 20) + 1];
    assert_eq!(added(&large), Err(StoreError::Pem(PemError::TooLarge { len: large.len() })));
}

#[test]
fn a_store_is_bounded_and_has_no_certificate_twice() {
    let one = pem(&authority(1));
    let mut store = TrustStore::new();
    let left_out = store.add_authorities(format!("{one}{one}").as_bytes()).unwrap();
    assert_eq!(left_out.len(), 1);
    assert_eq!((left_out[0].line, left_out[0].reason), (one.lines().count() + 1, Unusable::Duplicate));
    assert_eq!(
        left_out[0].to_string(),
        format!("line {}: CN=authority 1 is left out, it is in the store already", one.lines().count() + 1)
    );
    // Leaves are left out, but kept to be told of.
    let others = (0..MAX_CERTIFICATES - 1).map(|n| {
        let wanted = Wanted { serial: tlv(2, &[1, (n >> 8) as u8, n as u8]), ..Wanted::leaf("x", &key(9)) };
        Wanted { digest: None, ..wanted }.issue(&cn("authority 1"), &Unsigned)
    });
    let others = others.collect::<Vec<_>>();
    for part in others.chunks(1000) {
        let file: String = part.iter().map(|der| pem(der)).collect();
        assert_eq!(store.add_intermediates(file.as_bytes()).unwrap().len(), part.len());
    }
    let full = store.add_authorities(&authority(2));
    assert_eq!(full, Err(StoreError::Full { max: MAX_CERTIFICATES }));
}

/// Signs nothing, fast.
struct Unsigned;

impl Signer for Unsigned {
    fn public_key(&self) -> &PublicKey {
        unimplemented!("it has none")
    }

    fn sign(&self, _: &[u8], _: Option<Digest>, _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        Ok(vec![0; 70])
    }
}

#[test]
fn certificate_and_key_must_belong_together() {
    let folder = |name: &str| file(&format!("reference/ec/{name}"));
    let own = Credentials::from_pem(&folder("oping.crt.pem"), &folder("oping.key.pem")).unwrap();
    assert_eq!(own.name(), Ok("oping"));
    assert_eq!(format!("{own:?}"), "Credentials(C=BE, O=ref, CN=oping, ..)");
    let swapped = Credentials::from_pem(&folder("oping.crt.pem"), &folder("client.key.pem")).unwrap_err();
    assert_eq!(swapped, CredentialsError::Mismatch { subject: "C=BE, O=ref, CN=oping".into() });
    let other_kind = Credentials::from_pem(&folder("oping.crt.pem"), &file("keys/ed25519.pem")).unwrap_err();
    assert!(matches!(other_kind, CredentialsError::Mismatch { .. }));
    let no_key = Credentials::from_pem(&folder("oping.crt.pem"), &folder("oping.crt.pem")).unwrap_err();
    assert_eq!(no_key, CredentialsError::Key(KeyError::NoPrivateKey));
    let no_certificate = Credentials::from_pem(b"", &folder("oping.key.pem")).unwrap_err();
    assert_eq!(no_certificate, CredentialsError::File(StoreError::Empty));
    // A chain would not be sent, so that its owner should know.
    let chain = [folder("oping.crt.pem"), folder("ca.pem")].concat();
    let several = Credentials::from_pem(&chain, &folder("oping.key.pem")).unwrap_err();
    assert_eq!(several, CredentialsError::File(StoreError::Several { found: 2 }));
}

#[test]
fn ones_own_certificate_must_have_a_name() {
    let nameless = Wanted::leaf("a,b", &key(9)).issue(&cn("authority 1"), &key(1));
    let certificate = Certificate::from_der(&nameless, 10_000).unwrap();
    let error = Credentials::new(certificate, Arc::new(key(9))).unwrap_err();
    assert!(matches!(error, CredentialsError::Certificate(CertificateError::Name { .. })), "{error}");
}

/// A signer that lives elsewhere, and is away.
struct Away(PublicKey);

impl Signer for Away {
    fn public_key(&self) -> &PublicKey {
        &self.0
    }

    fn sign(&self, _: &[u8], _: Option<Digest>, _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        Err(SignError::Signer { reason: "the card was pulled out".into() })
    }
}

#[test]
fn signers_may_live_elsewhere() {
    let certificate = Certificate::from_der(&leaf(), 10_000).unwrap();
    let own = Credentials::new(certificate, Arc::new(Away(key(9).public_key().clone()))).unwrap();
    let error = own.sign(b"message", None, &mut Rng::from_seed([1; 32])).unwrap_err();
    assert_eq!(error.to_string(), "no signature from the signer: the card was pulled out");
}

#[test]
fn credentials_and_stores_can_be_shared() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Credentials>();
    shared::<TrustStore>();
    shared::<Certificate>();
}

/// A message names the digest that it is signed by. One that does not go with the key is an error, and not left out silently,
/// but for keys of Edwards curves, which take none.
#[test]
fn a_digest_has_to_go_with_the_key() {
    let blake2 = Digest::Blake2s256;
    let refused = SignError::Digest { key: KeyKind::Rsa, digest: blake2 };
    for (name, named) in [
        ("keys/p256.pem", Ok(blake2.nid())),
        ("keys/ed25519.pem", Ok(0)),
        ("reference/mldsa/oping.key.pem", Ok(blake2.nid())),
        ("keys/rsa2048.pem", Err(OapError::Sign(Box::new(refused)))),
    ] {
        // A build may be without the kind.
        let Ok(own) = PrivateKey::from_pem(&file(name)) else { continue };
        let certificate = Wanted::leaf("bank", &own).issue(&cn("authority 1"), &key(1));
        let certificate = Certificate::from_der(&certificate, 65_535).unwrap();
        let own = Credentials::new(certificate, Arc::new(own)).unwrap();
        let config = SecurityConfig::default().credentials(Some(own)).digest(Some(blake2));
        let asked = Client::start(1, &config, b"", &mut Randomness::from_seed([1; 32]));
        assert_eq!(asked.map(|(_, request)| Message::parse_request(&request).unwrap().digest), named, "{name}");
    }
}
