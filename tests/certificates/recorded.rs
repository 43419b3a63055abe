//! Handshakes that were recorded with the reference: who signed them.

use o7s::crypto::certificate::{Date, Limits, Signed, TrustStore, VerifiedPeer};
use o7s::crypto::sign::KeyKind;
use o7s::crypto::suite::Digest;
use o7s::wire::oap::Message;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../data/vectors/oap.json")).unwrap()
}

fn bytes(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The signature covers all that is in front of it.
fn signer(store: &TrustStore, whole: &[u8], message: &Message<'_>) -> Option<VerifiedPeer> {
    if message.certificate.is_empty() {
        return None;
    }
    let signed = Signed {
        certificate: message.certificate,
        digest: Digest::from_nid(message.digest),
        message: &whole[..whole.len() - message.signature.len()],
        signature: message.signature,
    };
    let now = Date::from_unix_nanos(message.timestamp);
    let peer = store.authenticate(&signed, None, now, &Limits::default());
    // A byte of whatever is signed.
    for at in [0, 20, 40, whole.len() - message.signature.len() - 1] {
        let mut changed = signed.message.to_vec();
        changed[at] ^= 1;
        assert!(store.authenticate(&Signed { message: &changed, ..signed }, None, now, &Limits::default()).is_err());
    }
    Some(peer.unwrap())
}

#[test]
fn recorded_messages_are_of_who_signed_them() {
    let vectors = vectors();
    let mut store = TrustStore::new();
    assert_eq!(store.add_authorities(&bytes(&vectors["trust_store"]["root_ca_der"])), Ok(vec![]));
    assert_eq!(store.add_intermediates(&bytes(&vectors["trust_store"]["intermediate_ca_der"])), Ok(vec![]));
    let mut kinds = Vec::new();
    let mut unsigned = 0;
    for entry in vectors["oap_exchanges"].as_array().unwrap() {
        let (request, response) = (bytes(&entry["request"]), bytes(&entry["response"]));
        let asked = Message::parse_request(&request).unwrap();
        let answer = Message::parse_response(&response, asked.digest).unwrap();
        for (whole, message) in [(&request, asked), (&response, answer)] {
            match signer(&store, whole, &message) {
                Some(peer) => {
                    println!("{}: {} by {}", entry["name"], peer.path.public_key.kind(), peer.subject);
                    assert_eq!(peer.path.len, 3);
                    kinds.push(peer.path.public_key.kind());
                }
                None => unsigned += 1,
            }
        }
    }
    use KeyKind::{EcdsaP256, Ed25519, MlDsa65, Rsa};
    let expected = [EcdsaP256, EcdsaP256, EcdsaP256, Ed25519, Rsa, MlDsa65];
    assert_eq!(kinds, expected);
    assert_eq!(unsigned, 2 * 12 - expected.len());
}
