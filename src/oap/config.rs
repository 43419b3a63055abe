//! Security of the flows to a name: [`SecurityConfig`], and its two textual forms.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::negotiated::Encryption;
use super::static_key::StaticKey;
use crate::base::debug::debug_by_text;
use crate::base::settings::settings;
use crate::crypto::backend::Backend;
use crate::crypto::certificate::{Credentials, TrustStore};
use crate::crypto::kex::KemPublicKey;
use crate::crypto::sign::PublicKey;
use crate::crypto::suite::{Cipher, Digest, Kdf, Kex};
use crate::crypto::{AlgorithmKind, Available, CryptoError};
use crate::types::name::Name;
use crate::types::parse::ParseError;

/// Application data in one direction of the exchange, bytes, unless configured otherwise.
///
/// With it every exchange without certificate fits the smallest carrier, 1955 bytes in a unicast layer, except for the
/// largest hybrid key exchange.
pub const DEFAULT_MAX_DATA: usize = 1024;

/// The longest line of an `enc.conf`, bytes with its end; the rest is read as another line.
const MAX_LINE: usize = 255;

settings! {
    /// Security of the flows to one name, on one side: as a server, or as a client of it.
    ///
    /// The default asks for nothing: as a client it makes plain flows, as a server it takes plain flows and also encrypted
    /// ones. With a [`kex`](Self::kex) a client makes only encrypted flows and a server refuses plain ones and weaker
    /// key exchanges than its own.
    ///
    /// What is set is the least that is accepted, and the other end may have more. The key exchange is the client's. Of the
    /// ciphers, and of the hashes for key derivation, of both ends the stronger is used: a client that asks for
    /// `aes-128-gcm`, because that is faster on its processor, gets `aes-256-gcm` from a server with the defaults, and no
    /// error. For the weaker one both ends have to be set to it, with [`Stack::set_security`](crate::Stack::set_security)
    /// for a name or [`Builder::security`](crate::Builder::security) for all of them.
    /// [`Flow::security`](crate::Flow::security) tells what a flow has got.
    ///
    /// As text it is `KEX[,CIPHER[,KDF]]`, which [`parse`](str::parse) reads: encryption is required, with the reference's
    /// defaults for what is left out. The names are those of [`Kex`], [`Cipher`] and [`Kdf`].
    ///
    /// ```
    /// use o7s::{Cipher, Kex, SecurityConfig};
    ///
    /// let config = SecurityConfig::encrypted(Kex::X25519).cipher(Cipher::ChaCha20Poly1305);
    /// assert_eq!("X25519,chacha20-poly1305".parse(), Ok(config));
    ///
    /// // An enc.conf file; without a line for it, each setting has the reference's default.
    /// let config = SecurityConfig::from_enc_conf(b"# faster\nkex = X25519\n")?;
    /// assert_eq!(config.required(true), SecurityConfig::encrypted(Kex::X25519));
    /// # Ok::<(), o7s::cause::SecurityConfigError>(())
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SecurityConfig {
        /// Sets the key exchange: the client's choice, and the weakest that a server takes. One that this build does not have
        /// makes every flow fail. Default: `None`, none of one's own.
        kex: Option<Kex> = None,
        /// Sets the key exchange that a client asks with again where the [`kex`](Self::kex) comes to nothing: a server refuses it
        /// with [`Code::CRYPT`](crate::Code::CRYPT), as a reference that was built without it does, or the layer's messages have no
        /// room for it. A refusal is protected by nothing: who can change packets on the way has the weaker one of the two used.
        /// Only together with a `kex`, and never weaker than what is [demanded](Self::post_quantum). Default: none.
        fallback: Option<Kex> = None,
        /// Sets the packet cipher: the weakest to accept, and the one to use unless the peer's is stronger. Only with a
        /// [`kex`](Self::kex). Default: AES-256-GCM.
        cipher: Cipher = Cipher::Aes256Gcm,
        /// Sets the hash for deriving keys: the weakest to accept, and the one to use unless the peer's is stronger. Only
        /// with a [`kex`](Self::kex). Default: SHA-256.
        kdf: Kdf = Kdf::Sha256,
        /// Sets the digest of one's own signatures, and of a client's request for binding the response to it. Default:
        /// `None`, the message names none, and SHA-384 binds the response; [`encrypted`](Self::encrypted) has SHA-256.
        digest: Option<Digest> = None,
        /// Sets which side encapsulates, if the [`kex`](Self::kex) is a KEM: a client's choice, without effect on Diffie-Hellman
        /// and on a server. Default: the server.
        kem_mode: KemMode = KemMode::Server,
        /// Sets the server's public key, to which a client encapsulates in [`KemMode::Client`]. It has to be one for the
        /// [`kex`](Self::kex). Default: none.
        server_key: Option<KemPublicKey> = None,
        /// Sets a server's own keys, to which clients may encapsulate if its [`kex`](Self::kex) is a KEM that is not stronger.
        /// The length of what a client sends tells the key that it is for. Default: none.
        static_keys: Vec<StaticKey> = Vec::new(),
        /// Sets whether plain flows are refused although no [`kex`](Self::kex) is set: a client fails before it sends
        /// anything, a server refuses the request. With a `kex` plain flows are refused in any case. Default: `false`.
        required: bool = false,
        /// Sets whether ciphers are used that do not authenticate packets, `aes-128-ctr` and those like it: whoever is on the path
        /// can change what is inside of them, and make up others. They are weaker than every other cipher, so that it takes both
        /// ends to agree on one. Default: `false`, what names such a cipher is refused.
        allow_unauthenticated: bool = false,
        /// Sets one's own certificate and key, with which messages are signed. Default: none, this end is anonymous.
        credentials: Option<Credentials> = None,
        /// Sets the authorities that vouch for peers. Default: none, a peer that shows a certificate is refused, unless
        /// [`certificates`](Self::certificates) says otherwise.
        authorities: Option<Arc<TrustStore>> = None,
        /// Sets what is asked of a peer. Default: it may be anonymous, but a certificate that it shows must be good.
        certificates: CertificatePolicy = CertificatePolicy::Verify,
        /// Sets the names that clients may have, for a server: any other is refused, whoever vouches for it. It says nothing of
        /// those without a certificate, which [`certificates`](Self::certificates) does. Default: none, any name will do. The
        /// server of a client always has the name that the client asked for.
        peer_names: Vec<Name> = Vec::new(),
        /// Sets the keys that peers may have, each with the name that it is for: a peer that shows none of them with its name is
        /// refused, one without a certificate as well. Nobody needs to vouch for such a key, so that a certificate which the peer
        /// has made itself will do; with [`authorities`](Self::authorities) they have to vouch for it besides. Default: none, any
        /// key will do that the authorities vouch for.
        pinned_keys: Vec<(Name, PublicKey)> = Vec::new(),
        /// Sets whether only key exchanges are used that withstand a quantum computer: those with ML-KEM. Default: `false`.
        post_quantum: bool = false,
        /// Sets how much application data is sent with, or taken from, a request or a response, bytes. At most 65 535 fit;
        /// more makes no difference. Default: 1024.
        max_data: usize = DEFAULT_MAX_DATA,
    }
    inside {
        /// The implementation to compute with: that of the stack.
        backend: &'static Backend = Backend::preferred().repeatable(),
    }
}

/// The side of a KEM key exchange that encapsulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "one of the two sides, there is no third")]
pub enum KemMode {
    /// The server, to a fresh key of the client.
    #[default]
    Server,
    /// The client, to the server's static key.
    Client,
}

/// What is asked of a peer's certificate.
///
/// The protocol lets either end leave it out, and whoever is on the path can take it out of a response. So only
/// [`Require`](Self::Require) says who is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificatePolicy {
    /// One that is sent must be good, with a signature of its key; a peer that sends none is anonymous.
    #[default]
    Verify,
    /// A peer that sends none is refused.
    Require,
    /// Certificate and signature are ignored: the peer is anonymous, exactly as one that sends none.
    Ignore,
}

impl SecurityConfig {
    /// Encryption with this key exchange, and the reference's defaults for the rest: AES-256-GCM, SHA-256.
    pub fn encrypted(kex: Kex) -> Self {
        Self { kex: Some(kex), digest: Some(Digest::Sha256), required: true, ..Self::default() }
    }

    /// Reads an `enc.conf` file of the reference.
    ///
    /// | key | values | default |
    /// |---|---|---|
    /// | `kex` | the names of [`Kex`] | `prime256v1` |
    /// | `cipher` | the names of [`Cipher`] | `aes-256-gcm` |
    /// | `kdf` | the names of [`Kdf`] | `sha256` |
    /// | `digest` | the names of [`Digest`] | `sha256` |
    /// | `kem_mode` | `server`, `client` | `server` |
    /// | `none` | stands alone: no key exchange and no digest; nothing behind it is read | |
    ///
    /// A line is `key=value` with any white space around either; the last one for a key counts. Names are
    /// case-sensitive. Unknown keys, lines without `=`, empty lines and lines that start with `#` are skipped; a `#`
    /// further on is an ordinary character. An empty file means the defaults: *encryption*. If there is no file, use
    /// [`SecurityConfig::default`]; a file that cannot be read should be an error.
    ///
    /// Algorithms that this build does not have are read like the others; using them fails.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value, unless a `none` comes before it.
    pub fn from_enc_conf(text: &[u8]) -> Result<Self, ConfigError> {
        let mut config = Self { required: false, ..Self::encrypted(Kex::Prime256v1) };
        for (line, text) in lines(text).enumerate() {
            if text.starts_with(b"#") {
                continue;
            }
            let text = trim(text);
            if text == b"none" {
                return Ok(Self::default());
            }
            if let Some(equals) = text.iter().position(|byte| *byte == b'=') {
                let (key, value) = text.split_at(equals);
                let value = trim(value.get(1..).unwrap_or_default());
                config.set(trim(key), value).map_err(|key| ConfigError::value(line + 1, key, value))?;
            }
        }
        Ok(config)
    }

    /// Sets one key of an `enc.conf`; fails with the key if its value is unknown.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        fn named<T: FromStr>(key: &'static str, value: &[u8]) -> Result<T, &'static str> {
            core::str::from_utf8(value).ok().and_then(|name| name.parse().ok()).ok_or(key)
        }
        match key {
            b"kex" => self.kex = Some(named("kex", value)?),
            b"cipher" => self.cipher = named("cipher", value)?,
            b"kdf" => self.kdf = named("kdf", value)?,
            b"digest" => self.digest = Some(named("digest", value)?),
            b"kem_mode" => {
                self.kem_mode = match value {
                    b"server" => KemMode::Server,
                    b"client" => KemMode::Client,
                    _ => return Err("kem_mode"),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The algorithms that a client asks for; `None` if for a plain flow.
    pub(crate) fn offered(&self) -> Option<Encryption> {
        self.kex.map(|kex| Encryption { kex, kdf: self.kdf, cipher: self.cipher })
    }

    /// The same with the [fallback](Self::fallback), if there is one that may be used.
    pub(crate) fn second(&self) -> Option<Self> {
        let second = self.fallback.filter(|second| self.kex.is_some_and(|first| first != *second))?;
        if self.post_quantum && !second.is_kem() {
            return None;
        }
        Some(Self { kex: Some(second), fallback: None, kem_mode: KemMode::Server, ..self.clone() })
    }

    /// The same, to compute with the implementation of a stack.
    pub(crate) fn with_backend(self, backend: &'static Backend) -> Self {
        Self { backend, ..self }
    }

    /// The cipher, if there is a key exchange to make its key.
    pub(super) fn own_cipher(&self) -> Option<Cipher> {
        self.kex.map(|_| self.cipher)
    }

    /// The hash for deriving keys, if there is a key exchange.
    pub(super) fn own_kdf(&self) -> Option<Kdf> {
        self.kex.map(|_| self.kdf)
    }
}

/// `KEX[,CIPHER[,KDF]]`, as the tools' `--encrypt` takes it.
impl FromStr for SecurityConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut names = text.split(',').map(str::trim);
        let mut config = Self::encrypted(algorithm(names.next().unwrap_or_default())?);
        if let Some(cipher) = names.next() {
            config.cipher = algorithm(cipher)?;
        }
        if let Some(kdf) = names.next() {
            config.kdf = algorithm(kdf)?;
        }
        if names.next().is_some() {
            return Err(Problem::Form.into());
        }
        if let Some(kex) = config.kex.filter(|kex| !kex.is_available()) {
            return Err(Problem::Unavailable(CryptoError::KexUnavailable(kex)).into());
        }
        if !config.kdf.is_available() {
            return Err(Problem::Unavailable(CryptoError::DigestUnavailable(config.kdf)).into());
        }
        if !config.cipher.is_aead() {
            return Err(Problem::Unauthenticated(config.cipher).into());
        }
        Ok(config)
    }
}

fn algorithm<A: FromStr<Err = ParseError>>(name: &str) -> Result<A, ConfigError> {
    name.parse().map_err(|error| Problem::Algorithm(error).into())
}

/// Error of parsing a security configuration: says what is wrong, and what would be right.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ConfigError(#[from] Problem);

debug_by_text!(ConfigError);

impl ConfigError {
    /// The line of an `enc.conf` that is wrong, from 1. A line longer than 255 bytes counts as several.
    pub fn line(&self) -> Option<usize> {
        match &self.0 {
            Problem::Value { line, .. } => Some(*line),
            Problem::Algorithm(_) | Problem::Unavailable(_) | Problem::Unauthenticated(_) | Problem::Form => None,
        }
    }

    fn value(line: usize, key: &'static str, value: &[u8]) -> Self {
        Problem::Value { line, key, value: String::from_utf8_lossy(value).into_owned() }.into()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    /// A value of an `enc.conf` that its key does not have. The reference reports EINVAL (22).
    #[error("line {line}: {value:?} is not a value of {key}: use one of {}", Values(key))]
    Value { line: usize, key: &'static str, value: String },
    /// The string is not the name of an algorithm.
    #[error(transparent)]
    Algorithm(ParseError),
    /// This build does not have the algorithm.
    #[error(transparent)]
    Unavailable(CryptoError),
    /// A cipher that is not for everyday use.
    #[error(
        "{0} does not authenticate packets: use one of {list}, or allow it in the settings",
        list = Available(AlgorithmKind::Cipher)
    )]
    Unauthenticated(Cipher),
    /// More names than `KEX[,CIPHER[,KDF]]`.
    #[error("more than three names: give KEX[,CIPHER[,KDF]]")]
    Form,
}

/// Prints the values that a key takes.
struct Values<'a>(&'a str);

impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            "kex" => AlgorithmKind::Kex,
            "cipher" => AlgorithmKind::Cipher,
            "kem_mode" => return f.write_str("server, client"),
            _ => AlgorithmKind::Digest,
        };
        f.write_str(&kind.available().join(", "))
    }
}

/// The lines of a file without their ends, cut after [`MAX_LINE`] bytes.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| line.chunks(MAX_LINE))
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// Without the white space (that of C: the vertical tab is some) at both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    while let Some((_, rest)) = text.split_first().filter(|(first, _)| blank(first)) {
        text = rest;
    }
    while let Some((_, rest)) = text.split_last().filter(|(last, _)| blank(last)) {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests;
