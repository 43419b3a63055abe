//! Who the other end is: what signs one's own messages, and what is asked of those of the peer.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{CertificatePolicy, OapError, SecurityConfig};
use crate::base::rng::Randomness;
use crate::crypto::certificate::{
    CertificateError, Credentials, Date, Limits, Signed, VerifiedPeer, authenticate_pinned,
};
use crate::crypto::sign::{KeyKind, PublicKey};
use crate::crypto::suite::Digest;
use crate::types::name::Name;
use crate::wire::oap::Message;

/// The digest that one's own messages name. A key that takes none, as Ed25519, is used without: the reference would not verify
/// it otherwise. Any other that does not go with the key is an error: nothing is signed by another one than was set.
pub(super) fn digest(config: &SecurityConfig) -> Result<Option<Digest>, OapError> {
    let named = config.digest;
    match config.credentials.as_ref().map(Credentials::kind) {
        Some(KeyKind::Ed25519 | KeyKind::Ed448) => Ok(None),
        Some(kind) => kind.digest(named).map(|_| named).map_err(|e| OapError::Sign(Box::new(e))),
        None => Ok(named),
    }
}

/// The bytes of a message that names [`digest`], with certificate and signature if there are credentials.
pub(super) fn sign(message: &Message<'_>, config: &SecurityConfig, rng: &mut Randomness) -> Result<Vec<u8>, OapError> {
    let Some(own) = &config.credentials else { return Ok(message.to_vec()?) };
    let mut bytes = Message { certificate: own.certificate(), ..*message }.to_vec()?;
    let signature = own.sign(&bytes, digest(config)?, &mut rng.secret).map_err(|e| OapError::Sign(Box::new(e)))?;
    bytes.extend_from_slice(&signature);
    Ok(bytes)
}

/// Whoever is shown is not looked at.
fn is_ignored(config: &SecurityConfig) -> bool {
    config.certificates == CertificatePolicy::Ignore && config.pinned_keys.is_empty()
}

/// The part that costs nothing: refuses a peer that shows no certificate where one is required, or one that is too large.
pub(super) fn check(message: &Message<'_>, config: &SecurityConfig) -> Result<(), OapError> {
    let pins = !config.pinned_keys.is_empty();
    let (len, max) = (message.certificate.len(), Limits::default().size);
    match (message.certificate.is_empty(), config.certificates) {
        // Whoever takes the certificate out would get around the pins.
        (true, _) if pins => Err(OapError::PeerUnauthenticated),
        (true, CertificatePolicy::Require) => Err(OapError::PeerUnauthenticated),
        (false, CertificatePolicy::Verify | CertificatePolicy::Require) if config.authorities.is_none() && !pins => {
            Err(OapError::NoAuthorities)
        }
        (false, _) if len > max && !is_ignored(config) => {
            Err(OapError::Peer(Box::new(CertificateError::TooLarge { len, max })))
        }
        _ => Ok(()),
    }
}

/// Who has sent these bytes, of which `message` was read; `None` if it is anonymous. `expected` is the name that was called.
pub(super) fn authenticate(
    message: &Message<'_>,
    bytes: &[u8],
    expected: Option<&Name>,
    unix_nanos: u64,
    config: &SecurityConfig,
) -> Result<Option<VerifiedPeer>, OapError> {
    check(message, config)?;
    let pins = &config.pinned_keys;
    if message.certificate.is_empty() || is_ignored(config) {
        return Ok(None);
    }
    let (signed, _) = bytes.split_at_checked(bytes.len() - message.signature.len()).unwrap_or_default();
    let signed = Signed {
        certificate: message.certificate,
        digest: Digest::from_nid(message.digest),
        message: signed,
        signature: message.signature,
    };
    let now = Date::from_unix_nanos(unix_nanos);
    let (expected, limits) = (expected.map(Name::as_str), Limits::default());
    let is_pinned = |name: &str, key: &PublicKey| pins.iter().any(|(of, pin)| of.as_str() == name && pin == key);
    let refused = |e| OapError::Peer(Box::new(e));
    let peer = match &config.authorities {
        Some(store) => {
            let peer = store.authenticate(&signed, expected, now, &limits).map_err(refused)?;
            if !pins.is_empty() && !is_pinned(&peer.name, &peer.path.public_key) {
                return Err(refused(CertificateError::NotPinned { subject: peer.subject }));
            }
            peer
        }
        None => authenticate_pinned(&signed, expected, is_pinned, now, &limits).map_err(refused)?,
    };
    // The server of a client has the name that was called.
    if expected.is_none()
        && !config.peer_names.is_empty()
        && !config.peer_names.iter().any(|name| *name.as_str() == *peer.name)
    {
        return Err(OapError::PeerName(peer.name));
    }
    Ok(Some(peer))
}
