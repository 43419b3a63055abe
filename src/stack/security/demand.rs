//! What a whole stack demands, in one word.

use crate::crypto::backend::Backend;
use crate::crypto::suite::{Cipher, Digest, Kex};
use crate::irm::NameSecurity;
use crate::oap::{CertificatePolicy, SecurityConfig};

/// What is demanded of every flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::stack) enum Demand {
    /// Encryption.
    Encryption,
    /// Encryption, and a certificate of the other end.
    Authentication,
}

impl Demand {
    /// The settings with it; what is set already stays. Flows are allocated with the best exchange of this build. Accepted are
    /// all that are not weaker than the reference's default.
    pub(in crate::stack) fn over(self, security: NameSecurity, backend: &'static Backend) -> NameSecurity {
        let NameSecurity { server, client } = security;
        let (client_kex, least) = (best(backend), Kex::Prime256v1);
        let fallback = client.fallback.or_else(|| (client.kex.is_none()).then(|| second(backend)).flatten());
        let client = self.on(client, client_kex).fallback(fallback);
        NameSecurity { server: self.on(server, least), client }
    }

    fn on(self, config: SecurityConfig, kex: Kex) -> SecurityConfig {
        let own = config.kex.is_none();
        let mut config = config.required(true);
        if own {
            // One that was chosen stays.
            let own_cipher = Some(config.cipher).filter(|own| *own != SecurityConfig::default().cipher);
            config = config.kex(Some(kex)).cipher(own_cipher.unwrap_or_else(cipher));
            config.digest = config.digest.or(Some(Digest::Sha256));
        }
        match self {
            Self::Encryption => config,
            Self::Authentication => config.certificates(CertificatePolicy::Require),
        }
    }
}

/// What withstands a quantum computer, if this build has it.
fn best(backend: &Backend) -> Kex {
    let all = [Kex::X25519MlKem768, Kex::X25519, Kex::Prime256v1];
    all.into_iter().find(|kex| backend.exchange(*kex).is_ok()).unwrap_or(Kex::X25519MlKem768)
}

/// What a server of the reference has that was built without ML-KEM.
fn second(backend: &Backend) -> Option<Kex> {
    let best = best(backend);
    [Kex::X25519, Kex::Prime256v1].into_iter().find(|kex| *kex < best && backend.exchange(*kex).is_ok())
}

/// The cipher that is fast on this processor.
fn cipher() -> Cipher {
    if has_aes() || !Cipher::ChaCha20Poly1305.is_available() { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}
