//! OAP, flow allocation with key agreement: one round trip, carried by a flow request and its reply.
//!
//! Sans-I/O: [`client::Client`] and [`server::Request`] turn bytes into bytes. Real time is handed in as nanoseconds
//! since 1970, chance as [`Randomness`](crate::base::rng::Randomness). Each step of a handshake is a value that the
//! next step consumes, so that none can be taken twice or out of order; whatever arrives, a failing step leaves nothing
//! behind but, on the server, the memory that the request was seen.
//!
//! ```text
//!  client                                                    server
//!  Client::start ── request: id, time, cipher, kdf, key a ──▶ Request::check    parse, time window, replay
//!                                                             Request::accept   policy, negotiation: no state yet
//!  Client::check ◀── response: id, cipher, kdf, key b, ────── Negotiated::respond    the expensive part
//!  Client::complete           hash of the request
//! ```
//!
//! The message layout is in [`crate::wire::oap`], the rules of the negotiation in [`negotiate`]. Either message may
//! carry application data, which is protected by nothing: it travels before there is a key.
//!
//! # What it protects, and what not
//!
//! Without certificates neither end is authenticated: an attacker who can change
//! packets can become a man in the middle. Nor is an end that does not [require](CertificatePolicy::Require) the certificate of the
//! other: whoever is on the path can take it out. A passive listener learns nothing of an encrypted flow, and cannot compute
//! its key later: both keys are fresh for each flow. The response is bound to its request by a hash, the request to its
//! time by the [replay cache](replay).
//!
//! A client that [encapsulates](KemMode::Client) to a static key of the server instead, which it was given beforehand, has the
//! key of the flow in common with nobody else: no man in the middle has it. But who learns the server's private key can read
//! what was recorded, and the key of the flow is made of what the client sent alone; a [`StaticKey`] therefore takes nothing
//! twice. The server is not told whether the client could open its packets, and does not know who the client is.
//!
//! A cipher without authentication is refused unless it is
//! [allowed](SecurityConfig::allow_unauthenticated): with one, packets are secret and nothing else.
//!
//! A message that carries a certificate is signed, and refused unless certificate and signature are good, or the
//! [policy](CertificatePolicy) says to treat its sender as anonymous. A response is signed together with the hash of the request that
//! it answers; a request with its time and a random id, not with the name that it is for. So a client is no more than claimed to be there
//! until a packet opens under the key of the flow, and on a plain flow nothing that follows is anybody's for certain.
//!
//! A request is remembered before its signature is verified. Who sends another with the same id and time before it arrives has it
//! refused: he has seen it, and could have sent the very same one.
//!
//! # Two ends of our own kind
//!
//! An end tells the other that it is o7s, by means which a reference takes for what it always gets:
//!
//! - The last 5 of the 16 bytes of a request's id are no chance: they are the first of SHA-256 over `o7s request 5` and
//!   the other 11. The first 2 say how long the requester waits for the response, in units of 10 ms, big endian, 0 if it does
//!   not say: a server that is busy keeps the request for as long, and no longer. The next 8 are random, and the same in all
//!   repetitions of a request. The byte behind them says how large a message the requester puts together from
//!   [fragments](crate::wire::frct#fragments): *n* for 2^*n* bytes, 0 for none. Where both ends say a number, both also put
//!   together packets that come in [pieces](crate::wire::frct#pieces-and-path-probes), and answer path probes.
//! - A server that has no room for a request refuses it with EAGAIN and, unlike a reference, 8 bytes behind that. The client
//!   takes them for the 8 random bytes of the id of its next request, which is another request with that: so the server knows
//!   that who sends from an address has heard there, and lets those requests wait first. It remembers nothing for it.
//!
//! - In the response to such a request, 21 bytes follow the application's data: the timeout granted for the flow,
//!   milliseconds, big endian; a byte whose lower five bits are *n* of the server, and whose others are what the server was
//!   asked for: FRCT (0x20), retransmission (0x40), a CRC (0x80); and the first 16 bytes of SHA-256 over `o7`, these 5 and the
//!   hash of the request. The client takes them off again, and refuses a flow for which the server understood another format
//!   of packets than it asked for: the QoS travels outside of the request that the hash covers. A response without them is a
//!   reference's.
//!
//! - The session key K of an encrypted flow becomes HKDF-SHA-256(salt, K, `o7s flow`), 32 bytes, where the salt is the SHA-256 of
//!   `o7s exchange`, the length of the name that was asked for (a byte), the name, and the response. With it the key is of the
//!   whole exchange, in which the hash of the request is, and of the name: a server that passes a request on to another, and
//!   who has a request that encapsulates to a static key answered once more, have no key that the flow is sealed with.
//!
//! A [`Peering`] is what comes of it. Both ends then use [keys for each direction](crate::crypto::protect), say when they
//! close, and may use whatever else a reference would not understand. It is decided here, before the first packet, and
//! nothing that arrives later changes it: only who has seen the request can make the bytes of the response. Who sits
//! between the two can take them out, and has two ends that treat each other as references: the server will then find
//! that no packet opens, so this gains nothing over dropping packets.
//!
//! What remains possible with a reference peer, because its wire has nothing against it: who changes the QoS of a request
//! on its way has two ends of which one takes the other's FRCT headers for messages, also on an encrypted flow; packets
//! recorded on an encrypted flow can be delivered again, also to their sender, for as long as their key is remembered, which
//! FRCT notices by their numbers except after a pause of more than 2 MPL + A + R (140 s over UDP), when a run of numbers may
//! begin anew; keepalives are not authenticated; a close is not told.
//!
//! # Example
//!
//! ```
//! use o7s::base::rng::Randomness;
//! use o7s::crypto::suite::Kex;
//! use o7s::oap::{SecurityConfig, client::Client, replay::ReplayCache, server::Request};
//!
//! let mut rng = Randomness::from_seed([7; 32]);
//! let now = 1_760_000_000_000_000_000;
//! let config = SecurityConfig::encrypted(Kex::X25519);
//!
//! let (client, request) = Client::start(now, &config, b"hello", &mut rng)?;
//!
//! let mut seen = ReplayCache::default();
//! let request = Request::check(now, request, &mut seen)?;
//! // The client may keep the flow for two minutes without being heard of.
//! let (response, there) = request.accept(&config)?.respond(now, b"welcome", 120_000, &mut rng)?;
//! assert_eq!(there.data, b"hello");
//!
//! let here = client.complete(&response)?;
//! assert_eq!(here.data, b"welcome");
//! assert_eq!(here.protection, there.protection, "the same cipher and the same key");
//! assert!(here.protection.is_some());
//! assert_eq!(here.peering.map(|p| p.timeout), Some(120_000));
//! # Ok::<(), o7s::oap::OapError>(())
//! ```

pub mod client;
mod config;
mod identity;
pub mod negotiate;
mod negotiated;
mod peering;
pub mod replay;
pub mod server;
mod static_key;
mod who;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use config::{CertificatePolicy, ConfigError, DEFAULT_MAX_DATA, KemMode, SecurityConfig};
pub use negotiated::{Encryption, FlowSecurity, PeerKind};
pub use peering::{PROOF_LEN, Peering, Proof, TOKEN_LEN, Tokens};
pub use static_key::{DEFAULT_CIPHERTEXTS, StaticKey};
pub use who::PeerIdentity;

use crate::crypto::certificate::{CertificateError, VerifiedPeer};
use crate::crypto::hash::{self, DigestOutput};
use crate::crypto::sign::SignError;
use crate::crypto::suite::{Cipher, Digest, Kdf, Kex};
use crate::crypto::{CryptoError, SessionKey};
use crate::wire::WireError;
use crate::wire::oap::ID_LEN;

/// Result of the exchange at one end of a flow.
#[derive(Debug)]
pub struct Outcome {
    /// Id of the request.
    pub id: [u8; ID_LEN],
    /// Cipher and key that protect the flow's packets; `None` for a plain flow.
    pub protection: Option<(Cipher, SessionKey)>,
    /// The application data that came with the peer's message, at most
    /// [`max_data`](SecurityConfig::max_data) bytes.
    pub data: Vec<u8>,
    /// Shared knowledge of two o7s ends; `None`: the peer is a reference, as far as it has said.
    pub peering: Option<Peering>,
    /// Algorithms agreed on, and the kind of the peer.
    pub security: FlowSecurity,
    /// Who the peer is, by its certificate; `None`: it is anonymous. That a *client* is there, and no recording of it, is shown
    /// by the first packet that opens.
    pub peer: Option<VerifiedPeer>,
}

/// Why the security exchange of a flow failed.
///
/// It is what this end has found out. The other end is told no more than one of two codes: [`Code::CRYPT`](crate::Code::CRYPT)
/// for encryption, [`Code::AUTH`](crate::Code::AUTH) for everything else; a client of this library whose clock is wrong,
/// [`Code::TIME`](crate::Code::TIME).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OapError {
    /// The bytes are no OAP message.
    #[error("not an OAP message: {0}")]
    Wire(WireError),
    /// The request is too old or from the future. Either it was delayed or recorded, or a clock is wrong.
    #[error(
        "request is {age_ms} ms old, which is outside of the window for requests (smaller under load): check the clocks of both hosts"
    )]
    Stale {
        /// Receiver's clock minus the timestamp, ms.
        age_ms: i64,
    },
    /// The request is fresh, but of before this end was started: it may have been seen then.
    #[error(
        "request is {age_ms} ms old, from before this stack was started, which does not know whether it was seen: repeat it"
    )]
    BeforeStart {
        /// Receiver's clock minus the timestamp, ms.
        age_ms: i64,
    },
    /// The same request was seen before.
    #[error("request was seen before: refused as a replay")]
    Replayed,
    /// The peer shows no certificate, and one is required.
    #[error(
        "the peer shows no certificate, which is required here: give it one, or somebody has taken it out on the way"
    )]
    PeerUnauthenticated,
    /// The peer shows a certificate, and nothing is configured to verify it with.
    #[error(
        "the peer shows a certificate, but no authorities are configured here: set them, or set the policy to ignore certificates"
    )]
    NoAuthorities,
    /// The peer's certificate or signature is not good.
    #[error(transparent)]
    Peer(Box<CertificateError>),
    /// The peer's certificate is good, but its name is not among those that are allowed.
    #[error("a client with the name {0} is not allowed here: add the name, if it should be")]
    PeerName(Box<str>),
    /// The message could not be signed with the credentials of this end.
    #[error("the message could not be signed: {0}")]
    Sign(Box<SignError>),
    /// A key exchange that a quantum computer would break, where others are required.
    #[error(
        "key exchange {0} does not withstand a quantum computer, which is required here: use X25519MLKEM768 or another with ML-KEM"
    )]
    NotPostQuantum(Kex),
    /// More application data than configured.
    #[error("{len} bytes of data for the acceptor, but max_data of the security settings is {max}")]
    Data {
        /// Bytes there are.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A plain flow, where encryption is configured.
    #[error("plain flow refused: this end requires encryption, configure a key exchange at the other")]
    Plain,
    /// The client's key exchange is weaker than this end's configuration.
    #[error("the peer's key exchange is {peer}, weaker than {own}, which is configured here")]
    KexTooWeak {
        /// That of the client.
        peer: Kex,
        /// The weakest that is taken here.
        own: Kex,
    },
    /// The server's cipher is weaker than this end's configuration.
    #[error("the peer's cipher is {peer}, weaker than {own}, which is configured here")]
    CipherTooWeak {
        /// That of the server.
        peer: Cipher,
        /// The weakest that is taken here.
        own: Cipher,
    },
    /// The peer's hash for deriving keys is weaker than this end's configuration.
    #[error("the peer's kdf is {peer}, weaker than {own}, which is configured here", peer = peer.map_or("none", Kdf::name))]
    KdfTooWeak {
        /// That of the peer, if it stated any.
        peer: Option<Kdf>,
        /// The weakest that is taken here.
        own: Kdf,
    },
    /// A key exchange for which no cipher is named on either side, or in the response.
    #[error("the peer named no cipher for its key exchange")]
    NoCipher,
    /// A cipher that does not authenticate packets, which is not allowed here.
    #[error("{0} does not authenticate packets, and is not allowed: use aes-128-gcm or better at the other end")]
    Unauthenticated(Cipher),
    /// The response to an encrypted request carries no key.
    #[error("the response carries no key")]
    NoKey,
    /// A request that encapsulates to a static key, which this end does not have.
    #[error("the client encapsulates to a static key, but this end has none configured")]
    ClientEncapsulation,
    /// A client is to encapsulate to the server's static key, but has no public key of it, or one for another key exchange.
    #[error("no public key of the server for {kex}, to which this end is to encapsulate: {}", RightKey(*.found))]
    ServerKey {
        /// The key exchange that is configured.
        kex: Kex,
        /// That of the key, if there is one.
        found: Option<Kex>,
    },
    /// Key agreement failed, or the algorithm is not available.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The response has another id than the request.
    #[error("the response answers another request")]
    OtherRequest,
    /// The response was made for another request with this id, or the request was changed on its way.
    #[error("the response does not match the request as it was sent")]
    RequestHash,
    /// The response carries this end's own key: it is the request, sent back.
    #[error("the response is this end's own request, which somebody sends back")]
    Reflected,
    /// The server was asked for a flow whose packets have another format than those of the one that was wanted.
    #[error("the server understood another quality of service than was asked for: the request was changed on its way")]
    Qos,
}

impl OapError {
    /// Number for a server's negative reply: -1008, ECRYPT, for encryption, otherwise -1009, EAUTH.
    ///
    /// A client that refuses a response sends nothing; the reference reports -1008 to its application whatever it was.
    pub const fn refusal_code(&self) -> i32 {
        match self {
            Self::Plain
            | Self::KexTooWeak { .. }
            | Self::CipherTooWeak { .. }
            | Self::KdfTooWeak { .. }
            | Self::NoCipher
            | Self::Unauthenticated(_)
            | Self::NoKey
            | Self::ClientEncapsulation
            | Self::ServerKey { .. }
            | Self::NotPostQuantum(_)
            | Self::Crypto(_) => -1008,
            Self::Wire(_)
            | Self::Stale { .. }
            | Self::BeforeStart { .. }
            | Self::Replayed
            | Self::PeerUnauthenticated
            | Self::NoAuthorities
            | Self::Peer(_)
            | Self::PeerName(_)
            | Self::Sign(_)
            | Self::Data { .. }
            | Self::OtherRequest
            | Self::RequestHash
            | Self::Reflected
            | Self::Qos => -1009,
        }
    }
}

/// Prints what to do about a key that is not the right one.
struct RightKey(Option<Kex>);

impl fmt::Display for RightKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("configure its key, or let the server encapsulate"),
            Some(found) => write!(f, "its key is for {found}"),
        }
    }
}

impl From<WireError> for OapError {
    fn from(e: WireError) -> Self {
        Self::Wire(e)
    }
}

/// The hash that binds a response to its request.
fn request_hash(request: &[u8], digest: u16) -> Result<DigestOutput, OapError> {
    Ok(hash::try_digest(Digest::from_nid(digest).unwrap_or(Digest::Sha384), &[request])?)
}

fn check_data(data: &[u8], config: &SecurityConfig) -> Result<(), OapError> {
    if data.len() > config.max_data {
        return Err(OapError::Data { len: data.len(), max: config.max_data });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
