//! The client's side: the one that allocates the flow.
//!
//! ```
//! use o7s::base::rng::Randomness;
//! use o7s::oap::client::Client;
//! use o7s::oap::{OapError, SecurityConfig};
//!
//! let now = 1_760_000_000_000_000_000; // real time, nanoseconds since 1970
//! let mut rng = Randomness::from_seed([7; 32]);
//! let (client, request) = Client::start(now, &SecurityConfig::default(), &[], &mut rng)?;
//! assert_eq!(request.len(), 36);
//!
//! // Something arrives that is no response to it: drop that, and keep waiting for one to complete the exchange with.
//! assert!(client.check(&request).is_err());
//! # Ok::<(), OapError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::negotiate::{self, Agreed};
use super::peering::{self, Format, Peering, Proof, Terms};
use super::{FlowSecurity, KemMode, OapError, Outcome, SecurityConfig, check_data, identity, request_hash};
use crate::base::rng::Randomness;
use crate::crypto::hash::DigestOutput;
use crate::crypto::kex::{Encapsulated, KemPublicKey, KeyPair};
use crate::crypto::protect::Side;
use crate::crypto::suite::{Cipher, Digest, Kdf};
use crate::types::name::Name;
use crate::types::qos::QosSpec;
use crate::wire::oap::{ID_LEN, Kex, Message};

/// A request that waits for its response.
///
/// Retrying means a new one: a server refuses the same request twice. Keep the older ones for as long as their
/// responses may still come.
pub struct Client {
    config: SecurityConfig,
    id: [u8; ID_LEN],
    /// The id says that this is o7s.
    peer: Peer,
    /// Of the flow that was asked for, if it is known.
    format: Option<Format>,
    digest: u16,
    /// Of a request to a server that is known, nothing is checked by it: the response comes through memory.
    request_hash: Option<DigestOutput>,
    /// Real time of the request, nanoseconds since 1970-01-01 UTC.
    asked: u64,
    /// Asked for, as far as it is known.
    name: Option<Name>,
    key: Option<Secret>,
}

/// What the client keeps to itself until the response is there.
#[derive(Debug)]
pub enum Secret {
    /// The private half of a key exchange.
    Pair(KeyPair),
    /// The session key already, as it was encapsulated to the server's static key.
    Encapsulated(Encapsulated),
}

/// Knowledge of the server before it has answered.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// It has been asked by a mark in the request whether it is of our own kind.
    Asked,
    /// It is of our own kind.
    Known(Terms),
    /// It is taken for a reference.
    Foreign,
}

impl Secret {
    /// A fresh one; `None` for a plain flow.
    fn fresh(config: &SecurityConfig, rng: &mut Randomness) -> Result<Option<Self>, OapError> {
        let Some(kex) = config.kex else { return Ok(None) };
        if !kex.is_kem() || config.kem_mode == KemMode::Server {
            return Ok(Some(Self::Pair(KeyPair::generate_with(config.backend, kex, &mut rng.secret)?)));
        }
        let found = config.server_key.as_ref().map(KemPublicKey::kex);
        let key =
            config.server_key.as_ref().filter(|key| key.kex() == kex).ok_or(OapError::ServerKey { kex, found })?;
        Ok(Some(Self::Encapsulated(key.encapsulate_with(config.backend, config.kdf, &mut rng.secret)?)))
    }

    /// What is sent of it.
    fn field(&self) -> Kex<'_> {
        match self {
            Self::Pair(key) => Kex { raw: key.kex().is_hybrid(), client_encapsulates: false, bytes: key.public() },
            Self::Encapsulated(own) => {
                Kex { raw: own.kex().is_hybrid(), client_encapsulates: true, bytes: own.ciphertext() }
            }
        }
    }
}

/// A response to the request.
struct Verified<'a> {
    message: Message<'a>,
    /// The application's part of its data.
    data: &'a [u8],
    /// What one of our own kind grants.
    terms: Option<Terms>,
    agreed: Option<Agreed>,
}

impl Client {
    /// Makes a request at real time `unix_nanos` (since 1970-01-01 UTC), with `data` for the server's application.
    ///
    /// Returns the state to complete it with, and the bytes to send.
    ///
    /// # Errors
    /// [`OapError::Plain`] if the configuration requires encryption but names no key exchange,
    /// [`OapError::Crypto`] if it names an algorithm that is not available, [`OapError::Data`].
    pub fn start(
        unix_nanos: u64,
        config: &SecurityConfig,
        data: &[u8],
        rng: &mut Randomness,
    ) -> Result<(Self, Vec<u8>), OapError> {
        Self::start_within(unix_nanos, config, data, None, 0, rng)
    }

    /// [`start`](Self::start), and tells a server of our own kind how long this client waits for the response, with all
    /// repetitions: to 10 ms, and up to 655 s. A server that is busy keeps the request for as long. Besides it is told how
    /// large a `message` this end puts together from fragments, bytes, rounded down to a power of two; 0: none.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_within(
        unix_nanos: u64,
        config: &SecurityConfig,
        data: &[u8],
        wait: Option<Duration>,
        message: u32,
        rng: &mut Randomness,
    ) -> Result<(Self, Vec<u8>), OapError> {
        let mut id = [0; ID_LEN];
        rng.public.fill(&mut id);
        // The mark comes last: it is a hash of what the id says.
        peering::say_message(&mut id, message);
        peering::mark(&mut id, wait);
        let key = Secret::fresh(config, rng)?;
        Self::begin(unix_nanos, config, data, (id, Peer::Asked), key, rng)
    }

    /// [`start`](Self::start) towards a server that is known to be of our own kind because nothing lies between, and known
    /// to grant a flow this `timeout`, milliseconds, and to put together messages of so many bytes: nothing needs to be said
    /// or looked for.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_known(
        unix_nanos: u64,
        config: &SecurityConfig,
        data: &[u8],
        (timeout, message): (u32, u32),
        rng: &mut Randomness,
    ) -> Result<(Self, Vec<u8>), OapError> {
        let mut id = [0; ID_LEN];
        rng.public.fill(&mut id);
        let key = Secret::fresh(config, rng)?;
        let terms = Terms { timeout, message, format: Format::of(&QosSpec::RAW) };
        Self::begin(unix_nanos, config, data, (id, Peer::Known(terms)), key, rng)
    }

    /// Refuses the response of a server of our own kind that was asked for packets of another format than those of a flow
    /// with this `qos`, because the request was changed on its way.
    pub fn with_qos(self, qos: &QosSpec) -> Self {
        Self { format: Some(Format::of(qos)), ..self }
    }

    /// The name that was called, which a certificate of the server has to be for: without it any name will do. Has the key of an
    /// encrypted flow be one for this name, if the server is of our own kind: with another, which somebody has passed the request on
    /// to, no packet opens.
    pub fn with_name(self, name: &Name) -> Self {
        Self { name: Some(name.clone()), ..self }
    }

    /// [`start`](Self::start) with a given id and secret, for known-answer tests. Neither must be used twice.
    #[doc(hidden)]
    pub fn start_with(
        unix_nanos: u64,
        config: &SecurityConfig,
        data: &[u8],
        id: [u8; ID_LEN],
        key: Option<Secret>,
        rng: &mut Randomness,
    ) -> Result<(Self, Vec<u8>), OapError> {
        let peer = if peering::is_marked(&id) { Peer::Asked } else { Peer::Foreign };
        Self::begin(unix_nanos, config, data, (id, peer), key, rng)
    }

    fn begin(
        unix_nanos: u64,
        config: &SecurityConfig,
        data: &[u8],
        (id, peer): ([u8; ID_LEN], Peer),
        key: Option<Secret>,
        rng: &mut Randomness,
    ) -> Result<(Self, Vec<u8>), OapError> {
        check_data(data, config)?;
        if key.is_some() {
            negotiate::authenticates(config.cipher, config)?;
            negotiate::available(config.cipher, config.kdf, config.backend)?;
        } else if config.required || config.kex.is_some() {
            return Err(OapError::Plain);
        }
        negotiate::withstands(config.kex, config)?;
        let digest = identity::digest(config)?.map_or(0, Digest::nid);
        let message = Message {
            id,
            timestamp: unix_nanos,
            cipher: config.own_cipher().map_or(0, Cipher::nid),
            kdf: config.own_kdf().map_or(0, Kdf::nid),
            digest,
            kex: key.as_ref().map_or_else(Kex::default, Secret::field),
            data,
            ..Message::default()
        };
        let request = identity::sign(&message, config, rng)?;
        let request_hash = (!matches!(peer, Peer::Known(_))).then(|| request_hash(&request, digest)).transpose()?;
        let (config, asked) = (config.clone(), unix_nanos);
        Ok((Self { config, id, peer, format: None, digest, request_hash, asked, name: None, key }, request))
    }

    /// Makes the request anew, with a fresh key and time stamp but the same id, for a peer that has not answered, and with
    /// what is left of the [wait](Self::start_within) of the client. The reference takes it for another request; a peer that
    /// knows the id sends its response again.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn again_within(
        &self,
        unix_nanos: u64,
        config: &SecurityConfig,
        data: &[u8],
        wait: Duration,
        rng: &mut Randomness,
    ) -> Result<(Self, Vec<u8>), OapError> {
        self.again_with(unix_nanos, config, data, wait, None, rng)
    }

    /// [`again_within`](Self::again_within) for a server that has asked to be shown this: another request, then.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn again_with(
        &self,
        unix_nanos: u64,
        config: &SecurityConfig,
        data: &[u8],
        wait: Duration,
        proof: Option<Proof>,
        rng: &mut Randomness,
    ) -> Result<(Self, Vec<u8>), OapError> {
        let mut id = self.id;
        if let Some(proof) = proof {
            peering::show(&mut id, proof);
        }
        // A server that is known does not look for a mark, and an id without one stays that of a reference.
        if matches!(self.peer, Peer::Asked) {
            peering::mark(&mut id, Some(wait));
        }
        let key = Secret::fresh(config, rng)?;
        Self::begin(unix_nanos, config, data, (id, self.peer), key, rng)
    }

    /// Returns `true` if the server was [known](Self::start_known) to be this library.
    pub fn knows_server(&self) -> bool {
        matches!(self.peer, Peer::Known(_))
    }

    /// Checks a possible response, without using anything up or computing keys.
    ///
    /// What fails here is better dropped, while the client keeps waiting: it may have been damaged on its way, or sent
    /// by someone who guessed that a request is under way.
    ///
    /// # Errors
    /// As [`complete`](Self::complete), except those of the key agreement itself.
    pub fn check(&self, response: &[u8]) -> Result<(), OapError> {
        self.verify(response).map(|_| ())
    }

    /// Takes the response and ends the exchange. A certificate in it must be valid at the time of the request.
    ///
    /// # Errors
    /// Whatever is wrong with the response; the flow must not be used then. The server is not told, its end times out.
    pub fn complete(self, response: &[u8]) -> Result<Outcome, OapError> {
        let Verified { message, data, terms, agreed } = self.verify(response)?;
        let peer = identity::authenticate(&message, response, self.name.as_ref(), self.asked, &self.config)?;
        let peering = terms
            .map(|terms| Peering::new(Side::Client, terms.timeout, message.request_hash).with_message(terms.message));
        let security = FlowSecurity::new(agreed, peering.is_some());
        // The agreement comes last, when nothing but itself can fail: it uses the key up, and takes longer than all the
        // rest.
        let protection = match (agreed, self.key) {
            (Some(agreed), Some(key)) => {
                let key = match key {
                    Secret::Pair(key) => key.agree(message.kex.bytes, agreed.effective_kdf())?,
                    Secret::Encapsulated(own) => own.into_key(),
                };
                let bound = matches!(self.peer, Peer::Asked) && peering.is_some();
                let key = if bound { peering::bind(&key, self.name.as_ref(), response) } else { key };
                Some((agreed.cipher, key))
            }
            _ => None,
        };
        Ok(Outcome { id: self.id, protection, data: data.to_vec(), peering, security, peer })
    }

    /// The application's data, and what a server of our own kind grants. One that answers the id of a reference, as in a
    /// known-answer test, does not look for any.
    fn split<'a>(&self, message: &Message<'a>) -> (&'a [u8], Option<Terms>) {
        match self.peer {
            Peer::Asked => peering::split_trailer(message.data, message.request_hash),
            Peer::Known(terms) => (message.data, Some(terms)),
            Peer::Foreign => (message.data, None),
        }
    }

    fn verify<'a>(&self, response: &'a [u8]) -> Result<Verified<'a>, OapError> {
        let message = Message::parse_response(response, self.digest)?;
        if message.id != self.id {
            return Err(OapError::OtherRequest);
        }
        let (data, terms) = self.split(&message);
        // Without the trailer, which is not the application's.
        check_data(data, &self.config)?;
        // All that this client has sent is in the hash. The QoS is not, as it is a field of the layer's request: so the
        // format that the server understood is compared below.
        if self.request_hash.is_some_and(|own| *message.request_hash != *own) {
            return Err(OapError::RequestHash);
        }
        // What does not answer the request is noise, whoever it is from.
        identity::check(&message, &self.config)?;
        if let (Peer::Asked, Some(terms), Some(format)) = (self.peer, terms, self.format)
            && terms.format != format
        {
            return Err(OapError::Qos);
        }
        let (cipher, kdf) = (Cipher::from_nid(message.cipher), Kdf::from_nid(message.kdf));
        let agreed = negotiate::client(cipher, kdf, &self.config)?;
        if let Some(agreed) = &agreed {
            agreed.check_available(self.config.backend)?;
            // Of a client that has encapsulated the server needs nothing else, and says nothing.
            if message.kex.bytes.is_empty() && !matches!(self.key, Some(Secret::Encapsulated(_))) {
                return Err(OapError::NoKey);
            }
            // The client would have a key in common with itself, and take what it has sent for the peer's.
            if matches!(&self.key, Some(Secret::Pair(own)) if own.public() == message.kex.bytes) {
                return Err(OapError::Reflected);
            }
        }
        Ok(Verified { message, data, terms, agreed })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("kex", &self.config.kex).finish_non_exhaustive()
    }
}
