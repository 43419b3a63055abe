//! Certificates for both ends of a row, in the directories from which either implementation reads them.

use std::fmt;
use std::io;
use std::time::SystemTime;

use o7s::base::rng::Rng;
use o7s::crypto::sign::PrivateKey;

use crate::issue::{DAY, Wanted, block, cn, pem};
use crate::net::Host;

/// Whom both ends trust. Those of its certificates that a row may show are told by [`Shows`].
pub(crate) const AUTHORITY: &str = "authority";
/// Whom nobody trusts.
pub(crate) const STRANGER: &str = "stranger";
/// Whose name the server does not have.
pub(crate) const OTHER: &str = "vault";
const INTERMEDIATE: &str = "department";

/// sha256WithRSAEncryption.
const RSA_WITH_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";

/// What all keys of a row are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ecdsa,
    Rsa,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
        })
    }
}

/// The certificate that an end has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Nothing,
    /// By the authority, for the end's name.
    Good,
    /// By an intermediate of the authority, which the other end has.
    Chained,
    /// By the authority, for another name.
    OtherName,
    /// By somebody whom nobody trusts.
    Strange,
    /// By somebody with the authority's name and another key.
    Forged,
}

/// A private key, and its file.
struct Key {
    key: PrivateKey,
    file: String,
}

impl Key {
    /// The same for the same number.
    fn new(kind: Kind, number: u8) -> Self {
        let der = match kind {
            Kind::Ecdsa => {
                use p256::pkcs8::EncodePrivateKey as _;
                let key = p256::SecretKey::from_slice(&[number; 32]).expect("a number below the order");
                key.to_pkcs8_der().expect("a key can be written").to_bytes()
            }
            Kind::Rsa => {
                use rsa::pkcs8::EncodePrivateKey as _;
                let key = rsa::PrivateKey::new(&mut Rng::from_seed([number; 32]), 2048).expect("there are primes");
                key.to_pkcs8_der().expect("a key can be written").to_bytes()
            }
        };
        let key = PrivateKey::from_pkcs8(&der).expect("what was written is a key");
        Self { key, file: block("PRIVATE KEY", &der) }
    }
}

/// All keys of one kind, and the certificates that everybody has.
pub(crate) struct Authorities {
    kind: Kind,
    authority: Key,
    stranger: Key,
    intermediate: Key,
    ends: [Key; 2],
    now: u64,
}

impl Authorities {
    pub(crate) fn new(kind: Kind) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is set").as_secs();
        let key = |number| Key::new(kind, number);
        Self { kind, authority: key(1), stranger: key(2), intermediate: key(3), ends: [key(4), key(5)], now }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The certificate that `wanted` tells of, signed by `issuer`.
    fn issue(&self, mut wanted: Wanted, issuer: &str, key: &Key) -> String {
        if self.kind == Kind::Rsa {
            wanted.algorithm = RSA_WITH_SHA256.to_vec();
        }
        pem(&wanted.validity(self.now - DAY, self.now + DAY).issue(&cn(issuer), &key.key))
    }

    /// Writes what an end of flows to `destination` has: whom it trusts, and what it shows, for `own`.
    pub(crate) fn furnish(
        &self,
        host: &Host,
        (role, destination): (&str, &str),
        own: &str,
        shows: Shows,
    ) -> io::Result<()> {
        let authority = self.issue(Wanted::authority(AUTHORITY, &self.authority.key), AUTHORITY, &self.authority);
        host.write_private("cacert/authority.pem", &authority)?;
        let between = Wanted::authority(INTERMEDIATE, &self.intermediate.key);
        host.write_private("untrusted/between.pem", &self.issue(between, AUTHORITY, &self.authority))?;
        let (name, issuer, by) = match shows {
            Shows::Nothing => return Ok(()),
            Shows::Good => (own, AUTHORITY, &self.authority),
            Shows::Chained => (own, INTERMEDIATE, &self.intermediate),
            Shows::OtherName => (OTHER, AUTHORITY, &self.authority),
            Shows::Strange => (own, STRANGER, &self.stranger),
            Shows::Forged => (own, AUTHORITY, &self.stranger),
        };
        let end = &self.ends[usize::from(role == "server")];
        let certificate = self.issue(Wanted::leaf(name, &end.key), issuer, by);
        host.write_private(&format!("{role}/{destination}/crt.pem"), &certificate)?;
        host.write_private(&format!("{role}/{destination}/key.pem"), &end.file)
    }
}
