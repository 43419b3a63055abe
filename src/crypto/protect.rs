//! Protection of a flow's packets: sealing, opening, and the change of keys.
//!
//! ```text
//! +--------------------+----------------------+------------------+
//! | IV, 12 bytes       | ciphertext, n bytes  | tag, 16 bytes    |
//! +--------------------+----------------------+------------------+
//! ```
//!
//! There are two kinds, which look the same on the wire, and a [third](self#without-authentication) that is refused unless it
//! is allowed by name:
//!
//! | | [towards a reference](Protection::new) | [between o7s ends](Protection::between_peers) |
//! |---|---|---|
//! | key | one for both directions | one for each direction |
//! | IV | random, the first bit shows the generation of the key | number of the packet |
//! | keys change | after 1.5 · 2^20 packets sent and received; the receiver tries | every 2^20 packets; the number tells |
//! | lost packets that stop a direction | all of two generations, 3 million in a row | all of 256 generations, 268 million in a row |
//! | a recorded packet, delivered again | opens while its key is remembered | is refused |
//! | an own packet, sent back | opens | is refused |
//!
//! Which of them it is follows from the security exchange, see [`oap`](crate::oap#two-ends-of-our-own-kind).
//!
//! # Without authentication
//!
//! With a cipher in counter mode there is no tag, an IV has 16 random bytes, and nothing that arrives is ever found to be
//! forged: bits can be flipped, packets repeated and made up. Both ends count packets by the reference's own rules to change
//! keys, and lose each other when packets are lost in both directions.
//!
//! ```
//! use o7s::base::buf::PacketBuf;
//! use o7s::base::rng::Rng;
//! use o7s::crypto::{CryptoError, SessionKey, backend::Backend, protect::{Protection, Side}, suite::Cipher};
//!
//! let key = || SessionKey::from_bytes([7; 32]);
//! let mut client = Protection::between_peers(Backend::preferred(), Cipher::Aes256Gcm, key(), Side::Client)?;
//! let mut server = Protection::between_peers(Backend::preferred(), Cipher::Aes256Gcm, key(), Side::Server)?;
//!
//! let mut packet = PacketBuf::copy_of(b"hello");
//! client.seal(&mut packet, &mut Rng::from_seed([1; 32]))?;
//! let mut again = PacketBuf::copy_of(&packet);
//! server.open(&mut packet)?;
//! assert_eq!(&packet[..], b"hello");
//! assert_eq!(server.open(&mut again), Err(CryptoError::Replayed));
//!
//! let mut noise = PacketBuf::copy_of(&[0; 100]);
//! assert_eq!(client.open(&mut noise), Err(CryptoError::Forged));
//! assert_eq!(noise.len(), 100, "a packet that does not open stays as it was");
//! # Ok::<(), CryptoError>(())
//! ```

mod counter;
mod directed;
mod shared;

use alloc::boxed::Box;
use core::fmt;

use rand_core::CryptoRng;

use self::counter::Counter;
use self::directed::Directed;
use self::shared::Shared;
use super::backend::{Aead, AeadKey, Backend, Nonce, Tag};
use super::suite::Cipher;
use super::{CryptoError, SessionKey};
use crate::base::buf::PacketBuf;

/// The bit of the packet count at which keys change: after 2^20 packets, as a reference does.
pub const ROTATION_BIT: u32 = 20;

const IV_LEN: usize = size_of::<Nonce>();
const TAG_LEN: usize = size_of::<Tag>();

/// End of a flow: each seals with a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that allocated the flow.
    Client,
    /// The end that accepted it.
    Server,
}

impl Side {
    /// The other end's.
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A key, and its schedule from the first use on.
struct Generation {
    key: SessionKey,
    schedule: Option<Box<dyn AeadKey>>,
}

impl Generation {
    const fn new(key: SessionKey) -> Self {
        Self { key, schedule: None }
    }

    /// The generation, out of memory that will be freed without a look: what was moved away would stay there.
    fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new(SessionKey::zero()))
    }

    fn aead(&mut self, implementation: &Aead) -> &dyn AeadKey {
        &**self.schedule.get_or_insert_with(|| implementation.schedule(self.key.expose()))
    }
}

/// The keys of one flow at one end, and the state of their rotation.
///
/// About 200 bytes; between o7s ends as many again where packets do not come in order; and a key schedule of 32 bytes
/// to 1.1 KiB by cipher and backend for each key in use, from the first packet on, which [`release`](Self::release) frees.
/// Key material is wiped when it is dropped.
pub struct Protection(Kind);

enum Kind {
    Shared(Shared),
    Directed(Directed),
    Counter(Counter),
}

impl Protection {
    /// Protection for a flow to a reference, whose ends agreed on `cipher` and `key`.
    ///
    /// # Errors
    /// [`CryptoError::CipherUnavailable`] if this build cannot do the cipher.
    pub fn new(cipher: Cipher, key: SessionKey) -> Result<Self, CryptoError> {
        Self::with_backend(Backend::preferred(), cipher, key)
    }

    /// [`new`](Self::new) with a certain implementation.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_backend(backend: &Backend, cipher: Cipher, key: SessionKey) -> Result<Self, CryptoError> {
        let kind = if cipher.is_aead() {
            Kind::Shared(Shared::new(backend.aead(cipher)?, key))
        } else {
            Kind::Counter(Counter::new(backend.stream(cipher)?, key))
        };
        Ok(Self(kind))
    }

    /// Protection for a flow between two ends of our own kind, of which this is `side`. Without authentication there is nothing
    /// better than towards a reference.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn between_peers(backend: &Backend, cipher: Cipher, key: SessionKey, side: Side) -> Result<Self, CryptoError> {
        if !cipher.is_aead() {
            return Self::with_backend(backend, cipher, key);
        }
        Ok(Self(Kind::Directed(Directed::new(backend.aead(cipher)?, &key, side))))
    }

    /// Changes keys at 2^`bit` packets (1.5 times that for the own initiative towards a reference) instead of
    /// [`ROTATION_BIT`].
    ///
    /// For tests and simulations: it is a constant of the protocol, and both ends must use the same. 1 to 62.
    pub fn with_rotation_bit(mut self, bit: u32) -> Self {
        let bit = bit.clamp(1, 62);
        match &mut self.0 {
            Kind::Shared(keys) => keys.set_rotation_bit(bit),
            Kind::Directed(keys) => keys.set_rotation_bit(bit),
            Kind::Counter(keys) => keys.set_rotation_bit(bit),
        }
        self
    }

    /// The cipher in use.
    pub const fn cipher(&self) -> Cipher {
        match &self.0 {
            Kind::Shared(keys) => keys.implementation().cipher(),
            Kind::Directed(keys) => keys.implementation().cipher(),
            Kind::Counter(keys) => keys.implementation().cipher(),
        }
    }

    /// Bytes by which a sealed packet is longer at most: 12 in front and 16 behind.
    pub const OVERHEAD: usize = IV_LEN + TAG_LEN;

    /// Bytes by which a sealed packet is longer with this cipher: [`OVERHEAD`](Self::OVERHEAD), and 16 in front without
    /// authentication.
    pub const fn overhead(&self) -> usize {
        match &self.0 {
            Kind::Shared(_) | Kind::Directed(_) => Self::OVERHEAD,
            Kind::Counter(_) => counter::IV_LEN,
        }
    }

    /// Number of times that the key of this end's packets has changed.
    pub const fn generation(&self) -> u64 {
        match &self.0 {
            Kind::Shared(keys) => keys.generation(),
            Kind::Directed(keys) => keys.generation(),
            Kind::Counter(keys) => keys.generation(),
        }
    }

    /// Returns `true` if a packet opens only once, and never at its own sender.
    pub const fn refuses_replays(&self) -> bool {
        self.numbers_packets()
    }

    /// Returns `true` if initialisation vectors are the numbers of packets: nothing random is needed.
    pub(crate) const fn numbers_packets(&self) -> bool {
        matches!(self.0, Kind::Directed(_))
    }

    /// As [`seal`](Self::seal), where nothing random is needed; `None`, and nothing done, where something is.
    pub(crate) fn seal_numbered(&mut self, packet: &mut PacketBuf) -> Option<Result<(), CryptoError>> {
        match &mut self.0 {
            Kind::Shared(_) | Kind::Counter(_) => None,
            Kind::Directed(_) if !has_room(packet) => Some(Err(CryptoError::NoRoom)),
            Kind::Directed(keys) => Some(keys.seal(packet)),
        }
    }

    /// Encrypts the packet in place, with an initialisation vector in front and the tag behind. Random bits, where they
    /// are needed, come from `rng`.
    ///
    /// # Errors
    /// [`CryptoError::NoRoom`] or [`CryptoError::PacketTooLong`]; the packet is as it was.
    pub fn seal<R: CryptoRng + ?Sized>(&mut self, packet: &mut PacketBuf, rng: &mut R) -> Result<(), CryptoError> {
        match &mut self.0 {
            Kind::Counter(keys) if packet.headroom() >= counter::IV_LEN => keys.seal(packet, rng),
            Kind::Shared(keys) if has_room(packet) => keys.seal(packet, rng),
            Kind::Directed(keys) if has_room(packet) => keys.seal(packet),
            _ => Err(CryptoError::NoRoom),
        }
    }

    /// Decrypts the packet in place and takes off the initialisation vector and the tag.
    ///
    /// # Errors
    /// [`CryptoError::PacketTooShort`], [`CryptoError::Replayed`] or [`CryptoError::Forged`]; the packet is unchanged,
    /// and has to be dropped.
    pub fn open(&mut self, packet: &mut PacketBuf) -> Result<(), CryptoError> {
        match &mut self.0 {
            Kind::Shared(keys) => keys.open(packet),
            Kind::Directed(keys) => keys.open(packet),
            Kind::Counter(keys) => keys.open(packet),
        }
    }

    /// Frees what the next packet can compute again, for a flow that will be idle. The first packet after it takes
    /// a microsecond or two longer.
    pub fn release(&mut self) {
        match &mut self.0 {
            Kind::Shared(keys) => keys.release(),
            Kind::Directed(keys) => keys.release(),
            Kind::Counter(keys) => keys.release(),
        }
    }

    /// As [`release`](Self::release), as far as it takes no time: key schedules only.
    pub(crate) fn forget_schedules(&mut self) {
        match &mut self.0 {
            Kind::Shared(keys) => keys.release(),
            Kind::Directed(keys) => keys.forget_schedules(),
            Kind::Counter(keys) => keys.release(),
        }
    }

    /// Returns `true` if there is a key schedule that [`release`](Self::release) frees.
    pub(crate) fn holds_schedules(&self) -> bool {
        match &self.0 {
            Kind::Shared(keys) => keys.holds_schedules(),
            Kind::Directed(keys) => keys.holds_schedules(),
            Kind::Counter(keys) => keys.holds_schedules(),
        }
    }
}

/// Returns `true` if a packet can be sealed where it is.
fn has_room(packet: &PacketBuf) -> bool {
    packet.headroom() >= IV_LEN && packet.tailroom() >= TAG_LEN
}

/// Seals the packet with this key and initialisation vector.
fn frame(packet: &mut PacketBuf, iv: &Nonce, key: &dyn AeadKey) -> Result<(), CryptoError> {
    let tag = key.seal(iv, packet)?;
    packet.push(IV_LEN).ok_or(CryptoError::NoRoom)?.copy_from_slice(iv);
    packet.extend_from_slice(&tag).ok_or(CryptoError::NoRoom)
}

/// Has `open` decrypt what is between initialisation vector and tag, and takes these off if it did.
fn unframe(
    packet: &mut PacketBuf,
    open: impl FnOnce(&Nonce, &mut [u8], &Tag) -> Result<(), CryptoError>,
) -> Result<(), CryptoError> {
    let rest = packet.split_first_chunk_mut().and_then(|(iv, rest)| Some((*iv, rest.split_last_chunk_mut()?)));
    let Some((iv, (data, tag))) = rest else {
        return Err(CryptoError::PacketTooShort);
    };
    let (tag, len): (Tag, usize) = (*tag, data.len());
    open(&iv, data, &tag)?;
    packet.truncate(IV_LEN + len);
    packet.pull(IV_LEN);
    Ok(())
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cipher, generation) = (self.cipher(), self.generation());
        f.debug_struct("Protection").field("cipher", &cipher).field("generation", &generation).finish_non_exhaustive()
    }
}
