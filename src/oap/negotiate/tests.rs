use proptest::prelude::*;

use super::*;
use crate::crypto::suite::Digest;

fn config(kex: Option<Kex>, cipher: Cipher, kdf: Kdf) -> SecurityConfig {
    SecurityConfig { kex, cipher, kdf, ..SecurityConfig::default() }
}

const OFFER: Offer =
    Offer { kex: Kex::X25519, client_encapsulates: false, cipher: Some(Cipher::Aes128Gcm), kdf: Some(Kdf::Sha256) };

#[test]
fn plain_offers() {
    let open = SecurityConfig::default();
    assert_eq!(server(None, &open), Ok(None));
    assert_eq!(server(None, &SecurityConfig { required: true, ..open.clone() }), Err(OapError::Plain));
    assert_eq!(server(None, &config(Some(Kex::Ffdhe2048), open.cipher, open.kdf)), Err(OapError::Plain));
    assert_eq!(client(Some(Cipher::Aes128Gcm), None, &open), Ok(None));
}

#[test]
fn a_server_without_settings_accepts_any_offer() {
    let open = SecurityConfig::default();
    let agreed = server(Some(&OFFER), &open).unwrap().unwrap();
    assert_eq!(agreed, Agreed { kex: Kex::X25519, cipher: Cipher::Aes128Gcm, kdf: Some(Kdf::Sha256) });
    assert_eq!(server(Some(&Offer { cipher: None, ..OFFER }), &open), Err(OapError::NoCipher));
    let agreed = server(Some(&Offer { kdf: None, ..OFFER }), &open).unwrap().unwrap();
    assert_eq!((agreed.kdf, agreed.effective_kdf()), (None, Kdf::Sha256));
}

fn weak_kex(peer: Kex, own: Kex) -> Result<Option<Agreed>, OapError> {
    Err(OapError::KexTooWeak { peer, own })
}

fn weak_kdf(peer: Kdf, own: Kdf) -> Result<Option<Agreed>, OapError> {
    Err(OapError::KdfTooWeak { peer: Some(peer), own })
}

#[test]
fn encapsulating_clients() {
    let offer = Offer { kex: Kex::MlKem768, client_encapsulates: true, ..OFFER };
    let with = |kex, kdf| server(Some(&offer), &config(kex, Cipher::Aes256Gcm, kdf));
    assert_eq!(with(None, Kdf::Sha256), Err(OapError::ClientEncapsulation));
    assert_eq!(with(Some(Kex::X25519), Kdf::Sha256), Err(OapError::ClientEncapsulation));
    assert_eq!(with(Some(Kex::MlKem1024), Kdf::Sha256), weak_kex(Kex::MlKem768, Kex::MlKem1024));
    assert_eq!(with(Some(Kex::MlKem768), Kdf::Sha512), weak_kdf(Kdf::Sha256, Kdf::Sha512));
    assert_eq!(
        with(Some(Kex::MlKem512), Kdf::Blake2s256),
        Ok(Some(Agreed { kex: Kex::MlKem768, cipher: Cipher::Aes256Gcm, kdf: Some(Kdf::Sha256) }))
    );
}

#[test]
fn a_client_notices_downgrades() {
    let own = config(Some(Kex::X25519), Cipher::Aes256Gcm, Kdf::Sha384);
    let kdf = Some(Kdf::Sha384);
    assert_eq!(client(None, kdf, &own), Err(OapError::NoCipher));
    assert_eq!(
        client(Some(Cipher::Aes128Gcm), kdf, &own),
        Err(OapError::CipherTooWeak { peer: Cipher::Aes128Gcm, own: Cipher::Aes256Gcm })
    );
    assert_eq!(client(Some(Cipher::Aes256Gcm), Some(Kdf::Sha256), &own), weak_kdf(Kdf::Sha256, Kdf::Sha384));
    let kept = Agreed { kex: Kex::X25519, cipher: Cipher::ChaCha20Poly1305, kdf };
    assert_eq!(client(Some(Cipher::ChaCha20Poly1305), None, &own), Ok(Some(kept)));
}

fn cipher() -> impl Strategy<Value = Cipher> {
    prop::sample::select(Cipher::ALL)
}

fn hash() -> impl Strategy<Value = Digest> {
    prop::sample::select(Digest::ALL)
}

fn exchange() -> impl Strategy<Value = Kex> {
    prop::sample::select(Kex::ALL)
}

proptest! {
    /// Neither end is ever talked below its configuration, and both come to the same end.
    #[test]
    fn the_result_is_as_strong_as_both_configurations(
        (kex, cipher_c, kdf_c) in (exchange(), cipher(), hash()),
        (own, cipher_s, kdf_s) in (prop::option::of(exchange()), cipher(), hash()),
        client_mode: bool,
    ) {
        let client_encapsulates = client_mode && kex.is_kem();
        let kem_mode = if client_mode { KemMode::Client } else { KemMode::Server };
        let allow_unauthenticated = true;
        let here = SecurityConfig { kem_mode, allow_unauthenticated, ..config(Some(kex), cipher_c, kdf_c) };
        let there = SecurityConfig { allow_unauthenticated, ..config(own, cipher_s, kdf_s) };
        let offer = Offer { kex, client_encapsulates, cipher: here.own_cipher(), kdf: here.own_kdf() };
        match server(Some(&offer), &there) {
            Ok(agreed) => {
                let agreed = agreed.unwrap();
                prop_assert!(Some(kex) >= own);
                prop_assert!(Some(agreed.cipher) >= there.own_cipher() && agreed.cipher >= cipher_c);
                prop_assert!(agreed.kdf >= there.own_kdf() && agreed.kdf >= Some(kdf_c));
                prop_assert_eq!(client(Some(agreed.cipher), agreed.kdf, &here), Ok(Some(agreed)));
            }
            Err(OapError::KexTooWeak { .. }) => prop_assert!(Some(kex) < own),
            Err(OapError::KdfTooWeak { .. }) => prop_assert!(client_encapsulates && kdf_c < kdf_s),
            Err(OapError::ClientEncapsulation) => {
                prop_assert!(client_encapsulates && !own.is_some_and(Kex::is_kem));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
