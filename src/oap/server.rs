//! The server's side: the one that accepts the flow.
//!
//! ```
//! use o7s::base::rng::Randomness;
//! use o7s::crypto::suite::Kex;
//! use o7s::oap::{OapError, SecurityConfig, client::Client, replay::ReplayCache, server::Request};
//!
//! let now = 1_760_000_000_000_000_000; // real time, nanoseconds since 1970
//! let mut rng = Randomness::from_seed([7; 32]);
//! let (_, request) = Client::start(now, &SecurityConfig::default(), b"hello", &mut rng)?;
//!
//! let request = Request::check(now, request, &mut ReplayCache::default())?;
//! assert_eq!(request.data(), b"hello");
//!
//! // This name takes no plain flows; the code goes into the negative reply.
//! let refused = request.accept(&SecurityConfig::encrypted(Kex::X25519)).unwrap_err();
//! assert_eq!(refused.refusal_code(), -1008);
//! # Ok::<(), OapError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::negotiate::{self, Agreed, Offer};
use super::peering::{self, Format, Peering, Proof, Terms};
use super::replay::ReplayCache;
use super::static_key::StaticKey;
use super::{FlowSecurity, OapError, Outcome, SecurityConfig, check_data, identity, request_hash};
use crate::base::rng::Randomness;
use crate::crypto::certificate::VerifiedPeer;
use crate::crypto::kex::{self, KeyPair};
use crate::crypto::protect::Side;
use crate::crypto::suite::{Cipher, Digest, Kdf, Kex as Exchange};
use crate::crypto::{CryptoError, SessionKey};
use crate::types::name::Name;
use crate::types::qos::QosSpec;
use crate::wire::oap::{ID_LEN, Kex, Message};

/// A request that is well-formed, fresh and no replay.
///
/// It may wait for someone to accept it; its age does not matter any more.
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// The cheap checks of a request that arrived at real time `unix_nanos` (since 1970-01-01 UTC): its form, its
    /// time, and whether it was `seen` before. It counts as seen from now on, whatever becomes of it.
    ///
    /// # Errors
    /// [`OapError::Wire`], [`OapError::Stale`], [`OapError::BeforeStart`] or [`OapError::Replayed`].
    pub fn check(
        unix_nanos: u64,
        bytes: impl AsRef<[u8]> + Into<Vec<u8>>,
        seen: &mut ReplayCache,
    ) -> Result<Self, OapError> {
        let message = Message::parse_request(bytes.as_ref())?;
        // Before anything is kept or computed for it: whoever sends it, it has cost next to nothing.
        seen.admit(unix_nanos, message.id, message.timestamp)?;
        Ok(Self { bytes: bytes.into() })
    }

    /// What [`check`](Self::check) says of form and time, of a request that is not to be remembered.
    ///
    /// # Errors
    /// [`OapError::Wire`], [`OapError::Stale`] or [`OapError::BeforeStart`].
    pub fn check_time(unix_nanos: u64, bytes: &[u8], seen: &ReplayCache) -> Result<(), OapError> {
        seen.check(unix_nanos, Message::parse_request(bytes)?.timestamp)
    }

    /// What [`accept`](Self::accept) will say for certain, of a request that may wait for that: nothing is computed or remembered
    /// for it.
    ///
    /// # Errors
    /// As [`accept`](Self::accept), but for algorithms that are not available and what was encapsulated before.
    pub fn check_terms(bytes: &[u8], config: &SecurityConfig) -> Result<(), OapError> {
        let message = Message::parse_request(bytes)?;
        identity::check(&message, config)?;
        check_data(message.data, config)?;
        let offer = offer(&message, static_key(&message, config)?)?;
        negotiate::server(offer.as_ref(), config).map(drop)
    }

    /// The time of a request, nanoseconds since 1970; 0 if it is none.
    pub fn peek_timestamp(bytes: &[u8]) -> u64 {
        Message::parse_request(bytes).map_or(0, |message| message.timestamp)
    }

    /// Returns `true` if a request that has not been checked says that it is of this library.
    pub fn peek_is_o7s(bytes: &[u8]) -> bool {
        Message::parse_request(bytes).is_ok_and(|message| peering::is_marked(&message.id))
    }

    /// The [`id`](Self::id) of a request that has not been checked.
    pub fn peek_id(bytes: &[u8]) -> Option<[u8; ID_LEN]> {
        Message::parse_request(bytes).ok().map(|message| peering::without_wait(message.id))
    }

    /// Id that is the same in all repetitions of a request, and in no other: the one that the client chose, without the
    /// time that it still waits.
    pub fn id(&self) -> [u8; ID_LEN] {
        peering::without_wait(self.whole_id())
    }

    fn whole_id(&self) -> [u8; ID_LEN] {
        // Parsed again where it is needed, which is cheap: the message borrows the bytes, so it cannot be kept beside them.
        Message::parse_request(&self.bytes).map_or([0; ID_LEN], |message| message.id)
    }

    /// Returns `true` if the client says that it is this library.
    pub fn is_o7s(&self) -> bool {
        // Evaluated only when the request is going to be used: a stranger's costs no hash.
        peering::is_marked(&self.whole_id())
    }

    /// What shows, if it is that, that the client has heard the server before.
    pub fn proof(&self) -> Proof {
        peering::proof(&self.whole_id())
    }

    /// Time that the client waits for the response from this request on, if it is of this library and says so.
    pub fn wait(&self) -> Option<Duration> {
        peering::wait(&self.whole_id())
    }

    /// Bytes of the request.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The application data of the client. Nothing vouches for it.
    pub fn data(&self) -> &[u8] {
        Message::parse_request(&self.bytes).map_or(&[], |message| message.data)
    }

    /// Decides, by the configuration of the name asked for, whether and how to serve the request. Computes no keys:
    /// state for the flow need not exist before this.
    ///
    /// # Errors
    /// [`OapError::PeerUnauthenticated`], [`OapError::NoAuthorities`], [`OapError::Data`], the refusals of [`negotiate::server`], and [`OapError::Crypto`]
    /// for a key of unknown type or an algorithm that is not available. [`OapError::Replayed`] for something that was
    /// encapsulated to a static key before.
    pub fn accept(self, config: &SecurityConfig) -> Result<Negotiated, OapError> {
        let message = Message::parse_request(&self.bytes)?;
        identity::check(&message, config)?;
        check_data(message.data, config)?;
        let static_key = static_key(&message, config)?;
        let agreed = negotiate::server(offer(&message, static_key)?.as_ref(), config)?;
        if let Some(agreed) = &agreed {
            agreed.check_available(config.backend)?;
        }
        if static_key.is_some_and(|key| key.knows(message.kex.bytes)) {
            return Err(OapError::Replayed);
        }
        Ok(Negotiated {
            config: config.clone(),
            static_key: static_key.cloned(),
            agreed,
            request: self,
            known: false,
            message: 0,
            format: Format::of(&QosSpec::RAW),
            name: None,
            peer: None,
        })
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Message::parse_request(&self.bytes) {
            Ok(message) => write!(f, "Request({message})"),
            Err(error) => write!(f, "Request({error})"),
        }
    }
}

/// A request that will be served, and how.
#[derive(Debug)]
pub struct Negotiated {
    request: Request,
    config: SecurityConfig,
    /// The key that the client has encapsulated to.
    static_key: Option<StaticKey>,
    agreed: Option<Agreed>,
    known: bool,
    message: u32,
    format: Format,
    name: Option<Name>,
    /// Who the client is, once that has been looked at.
    peer: Option<Option<VerifiedPeer>>,
}

impl Negotiated {
    /// Looks who the client is, by its certificate and signature at real time `unix_nanos`, before a key is computed for it.
    /// That it is there, and no recording of it, is not shown by this.
    ///
    /// # Errors
    /// [`OapError::Peer`], [`OapError::PeerName`] and the others of a certificate or signature that is not good.
    pub fn identify(&mut self, unix_nanos: u64) -> Result<Option<&VerifiedPeer>, OapError> {
        if self.peer.is_none() {
            let message = Message::parse_request(&self.request.bytes)?;
            self.peer = Some(identity::authenticate(&message, &self.request.bytes, None, unix_nanos, &self.config)?);
        }
        Ok(self.peer.as_ref().and_then(Option::as_ref))
    }

    /// The protection that the flow will have.
    pub fn security(&self) -> FlowSecurity {
        FlowSecurity::new(self.agreed, self.known || self.request.is_o7s())
    }

    /// The client is known to be of our own kind because nothing lies between, and need not be told that so is the server:
    /// the counterpart of [`Client::start_known`](super::client::Client::start_known).
    pub fn with_known_client(self) -> Self {
        Self { known: true, ..self }
    }

    /// Tells a client of our own kind how large a message this end puts together from fragments, bytes, rounded down to a
    /// power of two; 0, as if it was never called: none.
    pub fn with_message(self, message: u32) -> Self {
        Self { message, ..self }
    }

    /// Tells a client of our own kind which format of packets it seems to have asked for, by the `qos` that arrived with the
    /// request; as if it was raw, if it was never called.
    pub fn with_qos(self, qos: &QosSpec) -> Self {
        Self { format: Format::of(qos), ..self }
    }

    /// Has the key of an encrypted flow be one for this name, if the client is of our own kind: the counterpart of
    /// [`Client::with_name`](super::client::Client::with_name).
    pub fn with_name(self, name: &Name) -> Self {
        Self { name: Some(name.clone()), ..self }
    }

    /// The application data of the client. Nothing vouches for it.
    pub fn data(&self) -> &[u8] {
        self.request.data()
    }

    /// Makes the response at real time `unix_nanos`, with `data` for the client's application, and the server's own
    /// outcome. A client of our own kind is told that the flow has this `timeout`, milliseconds.
    /// For an encrypted flow this takes some 100 µs: better not under a lock.
    ///
    /// # Errors
    /// [`OapError::Crypto`] for a key that is no valid one of its group, [`OapError::Data`], [`OapError::Peer`] and
    /// [`OapError::PeerName`] for a client that is not who it has to be, [`OapError::Sign`], [`OapError::Replayed`] for something
    /// that was encapsulated to a static key before.
    pub fn respond(
        self,
        unix_nanos: u64,
        data: &[u8],
        timeout: u32,
        rng: &mut Randomness,
    ) -> Result<(Vec<u8>, Outcome), OapError> {
        let backend = self.config.backend;
        self.finish(unix_nanos, data, timeout, rng, |kex, peer, kdf, rng| {
            kex::respond_with(backend, kex, peer, kdf, &mut rng.secret)
        })
    }

    /// [`respond`](Self::respond) with a given key pair, for known-answer tests. It must not be used twice.
    #[doc(hidden)]
    pub fn respond_with(
        self,
        unix_nanos: u64,
        data: &[u8],
        key: KeyPair,
        rng: &mut Randomness,
    ) -> Result<(Vec<u8>, Outcome), OapError> {
        self.finish(unix_nanos, data, 0, rng, |_, peer, kdf, _| {
            let public = key.public().to_vec();
            Ok((public, key.agree(peer, kdf)?))
        })
    }

    fn finish(
        self,
        unix_nanos: u64,
        data: &[u8],
        timeout: u32,
        rng: &mut Randomness,
        exchange: impl FnOnce(Exchange, &[u8], Kdf, &mut Randomness) -> Result<(Vec<u8>, SessionKey), CryptoError>,
    ) -> Result<(Vec<u8>, Outcome), OapError> {
        check_data(data, &self.config)?;
        let request = Message::parse_request(&self.request.bytes)?;
        // By the client's hash, not ours: it is the client that compares. First of all, as neither digest need be one of this build.
        let request_hash = request_hash(&self.request.bytes, request.digest)?;
        let digest = identity::digest(&self.config)?;
        let peer = match self.peer {
            Some(identified) => identified,
            None => identity::authenticate(&request, &self.request.bytes, None, unix_nanos, &self.config)?,
        };
        // Nothing is remembered of who is refused: others would be forgotten for it.
        if let Some(own) = &self.static_key {
            own.admit(request.kex.bytes)?;
        }
        let (field, protection) = match (self.agreed, &self.static_key) {
            (Some(agreed), Some(own)) => {
                let key = own.key().decapsulate(request.kex.bytes, agreed.effective_kdf())?;
                (Vec::new(), Some((agreed.cipher, key)))
            }
            (Some(agreed), None) => {
                let (field, key) = exchange(agreed.kex, request.kex.bytes, agreed.effective_kdf(), rng)?;
                (field, Some((agreed.cipher, key)))
            }
            (None, _) => (Vec::new(), None),
        };
        let mut data = data.to_vec();
        // Only for one that is marked: a reference would hand it to its application.
        let told = !self.known && peering::is_marked(&request.id);
        if told {
            let terms = Terms { timeout, message: self.message, format: self.format };
            peering::append_trailer(&mut data, terms, &request_hash);
        }
        // A client that is known is in this stack, and has the same limit.
        let message = if told { peering::message(&request.id) } else { self.message };
        let peering = Peering::new(Side::Server, timeout, &request_hash).with_message(message);
        let peering = (told || self.known).then_some(peering);
        let response = Message {
            id: request.id,
            timestamp: unix_nanos,
            cipher: self.agreed.map_or(0, |agreed| agreed.cipher.nid()),
            kdf: self.agreed.and_then(|agreed| agreed.kdf).map_or(0, Kdf::nid),
            digest: digest.map_or(0, Digest::nid),
            kex: Kex { raw: request.kex.raw && !field.is_empty(), client_encapsulates: false, bytes: &field },
            data: &data,
            request_hash: &request_hash,
            ..Message::default()
        };
        let security = FlowSecurity::new(self.agreed, peering.is_some());
        let bytes = identity::sign(&response, &self.config, rng)?;
        let protection = match protection {
            Some((cipher, key)) if told => Some((cipher, peering::bind(&key, self.name.as_ref(), &bytes))),
            other => other,
        };
        let outcome = Outcome { id: request.id, protection, data: request.data.to_vec(), peering, security, peer };
        Ok((bytes, outcome))
    }
}

/// The static key that a request is encapsulated to; `None` if it has none of its kind of fields.
fn static_key<'a>(message: &Message<'_>, config: &'a SecurityConfig) -> Result<Option<&'a StaticKey>, OapError> {
    let Kex { raw, client_encapsulates, bytes } = message.kex;
    if bytes.is_empty() || !client_encapsulates {
        return Ok(None);
    }
    // A server whose own key exchange is none or no KEM does not look further: so does the reference.
    if !config.kex.is_some_and(Exchange::is_kem) {
        return Err(OapError::ClientEncapsulation);
    }
    let mut keys = config.static_keys.iter().filter(|key| key.kex().is_hybrid() == raw).peekable();
    keys.peek().ok_or(OapError::ClientEncapsulation)?;
    let key = keys.find(|key| key.kex().ciphertext_len() == Some(bytes.len()));
    key.ok_or(CryptoError::InvalidCiphertext.into()).map(Some)
}

/// Offer in the key field of a request; `None` if it is empty.
fn offer(message: &Message<'_>, static_key: Option<&StaticKey>) -> Result<Option<Offer>, OapError> {
    if message.kex.bytes.is_empty() {
        return Ok(None);
    }
    let kex = match static_key {
        // The bytes do not tell the algorithm.
        Some(key) => key.kex(),
        None if message.kex.raw => kex::hybrid_of(message.kex.bytes)?,
        None => kex::algorithm_of(message.kex.bytes)?,
    };
    Ok(Some(Offer {
        kex,
        client_encapsulates: static_key.is_some(),
        cipher: Cipher::from_nid(message.cipher),
        kdf: Kdf::from_nid(message.kdf),
    }))
}
