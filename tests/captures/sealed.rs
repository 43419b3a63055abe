//! Encrypted flows of a capture, opened with the session keys that both hosts logged.

use std::convert::Infallible;
use std::path::Path;

use o7s::base::buf::PacketBuf;
use o7s::crypto::kdf::hkdf;
use o7s::crypto::protect::Protection;
use o7s::crypto::suite::{Cipher, Kdf};
use o7s::crypto::{SessionKey, hash, kex};
use o7s::wire::oap;
use rand_core::{TryCryptoRng, TryRng};

/// What both hosts logged.
#[derive(Default)]
pub(crate) struct Keys {
    /// What session keys were made of, in no particular order.
    pub(crate) session: Vec<Logged>,
    /// If the hosts were built to rotate keys more often than usual: after 2 to the power of this many packets.
    pub(crate) rotation_bit: Option<u32>,
}

impl Keys {
    /// The session keys in the logs of both hosts.
    pub(crate) fn logged(dir: &Path, name: &str) -> Self {
        let of_host = |host| {
            let log = std::fs::read_to_string(dir.join(format!("{name}.keylog{host}.txt"))).unwrap_or_default();
            log.lines().filter(|line| !line.contains("key-rotation")).map(Logged::of).collect::<Vec<_>>()
        };
        let (a, b) = (of_host('a'), of_host('b'));
        let rotation_bit = name.strip_prefix("enc-dix-keyrotation-kr").map(|bit| bit.parse().unwrap());
        Self { session: a.into_iter().filter(|key| b.contains(key)).collect(), rotation_bit }
    }
}

/// A line of a log.
#[derive(PartialEq)]
pub(crate) struct Logged {
    secret: Vec<u8>,
    salt: Vec<u8>,
    info: String,
    key: [u8; 32],
}

impl Logged {
    fn of(line: &str) -> Self {
        let field = |name| line.split(' ').find_map(|field| field.strip_prefix(name)).unwrap();
        let bytes = |name| {
            let hex: &str = field(name);
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect::<Vec<_>>()
        };
        let key = bytes("key=").try_into().unwrap();
        Self { secret: bytes("secret="), salt: bytes("salt="), info: field("info=").to_owned(), key }
    }
}

impl Keys {
    /// Takes the key of a flow with these fields of a key exchange, and makes it anew of the secret that was logged.
    pub(crate) fn take(&mut self, request: oap::Kex<'_>, response: oap::Kex<'_>, kdf: Kdf) -> [u8; 32] {
        let kex = if request.raw { kex::hybrid_of(request.bytes) } else { kex::algorithm_of(request.bytes) }.unwrap();
        assert_eq!((request.raw, response.raw), (kex.is_hybrid(), kex.is_hybrid()));
        // No capture has a client that encapsulates.
        assert!(!request.client_encapsulates);
        let (salt, info) = if kex.is_kem() {
            assert_eq!(Some(response.bytes.len()), kex.ciphertext_len());
            (hash::sha256(&[request.bytes]), "o7s-ossl-encap")
        } else {
            assert_eq!(kex::algorithm_of(response.bytes), Ok(kex));
            let mut both = [request.bytes, response.bytes];
            both.sort();
            (hash::sha256(&both), "o7s-ossl-dhe")
        };
        let at = self.session.iter().position(|logged| logged.salt == salt).expect("the key was logged");
        let logged = self.session.remove(at);
        assert_eq!(logged.info, info);
        let mut key = [0; 32];
        hkdf(kdf, &salt, &logged.secret, info.as_bytes(), &mut key);
        assert_eq!(key, logged.key);
        key
    }
}

/// Opens the packets of one direction of a flow.
pub(crate) struct Opener {
    cipher: Cipher,
    key: [u8; 32],
    /// For a flow whose keys rotate, which depends on the packets before.
    rotating: Option<Protection>,
}

impl Opener {
    pub(crate) fn new(cipher: Cipher, key: [u8; 32], rotation_bit: Option<u32>) -> Self {
        let protection = || Protection::new(cipher, SessionKey::from_bytes(key)).unwrap();
        Self { cipher, key, rotating: rotation_bit.map(|bit| protection().with_rotation_bit(bit)) }
    }

    /// What is in a packet, `None` if it is not genuine.
    pub(crate) fn open(&mut self, packet: &[u8]) -> Option<PacketBuf> {
        let Some(protection) = &mut self.rotating else {
            return open(self.cipher, self.key, packet);
        };
        let mut clear = PacketBuf::copy_of(packet);
        protection.open(&mut clear).ok().map(|()| clear)
    }
}

/// Opens a packet, and seals what was inside again with the same initialisation vector: it gives the same bytes.
/// `None` if the packet is not genuine.
pub(crate) fn open(cipher: Cipher, key: [u8; 32], packet: &[u8]) -> Option<PacketBuf> {
    let protection = || Protection::new(cipher, SessionKey::from_bytes(key)).unwrap();
    let mut clear = PacketBuf::copy_of(packet);
    protection().open(&mut clear).ok()?;
    let mut again = PacketBuf::copy_of(&clear);
    protection().seal(&mut again, &mut Replay(packet)).unwrap();
    assert_eq!(again[..], *packet);
    Some(clear)
}

/// A source of "random" bytes that yields those of a packet.
struct Replay<'a>(&'a [u8]);

impl TryRng for Replay<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let (taken, rest) = self.0.split_at(out.len());
        out.copy_from_slice(taken);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Replay<'_> {}
