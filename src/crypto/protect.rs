//! Protection of a flow's packets: sealing, opening, and the change of keys.
//!
//! ```text
//! +--------------------+----------------------+------------------+
//! | IV, 12 bytes       | ciphertext, n bytes  | tag, 16 bytes    |
//! +--------------------+----------------------+------------------+
//! ```
//!
//! The initialisation vector is random for every packet, except for its first bit. Both directions use the same key,
//! so it is those 95 random bits that keep nonces apart; never derive them from a counter. There are no additional
//! authenticated data, no sequence numbers and no marker of direction: duplicates are for FRCT to drop, and on a raw
//! flow a recorded packet can be delivered again, also to its sender, until its key is forgotten.
//!
//! # Generations
//!
//! From the session key K\[0\] follow the keys of later generations, K\[n+1\] = HKDF-SHA-256(salt = SHA-256(K\[0\]),
//! K\[n\], `o7s-key-rotation`). Nothing is said on the wire when an end changes to the next; the first bit of the IV
//! shows the generation modulo two, and the receiver finds the key by trying.
//!
//! The reference counts packets sent and received together, which drifts apart between two ends when packets are lost,
//! until they no longer understand each other. The rules here never lose step with an end of either kind:
//!
//! - Packets are sealed with the key of the current generation g, and the bit is g modulo 2.
//! - A packet may open with generation g, g-1, g+1 or g+2. Only a packet that opened moves g, and only forward.
//! - After 1.5 · 2^20 packets sent and opened in one generation, the next packet is sealed with g+1. A reference does
//!   that after 2^20 packets, so that it normally goes first.
//! - g-1 is forgotten once the peer has been heard in g and half an epoch has passed.
//!
//! # Packets that do not open
//!
//! They change nothing but the bookkeeping of the trials: usually the first bit tells which key to try first, and only
//! a damaged or forged packet costs all four trials. Each of those uses up a credit that packets which do open restore;
//! without credit a packet gets two trials, so that a flood of forgeries costs little, and a change of generation is
//! still noticed after a few packets. With [`RUST`](super::backend::RUST) a failing trial costs the check of the tag
//! only, about half of opening a packet.
//!
//! ```
//! use o7s::base::buf::PacketBuf;
//! use o7s::crypto::{CryptoError, SessionKey, protect::Protection, suite::Cipher};
//!
//! let mut flow = Protection::new(Cipher::Aes256Gcm, SessionKey::from_bytes([7; 32]))?;
//! let mut noise = PacketBuf::copy_of(&[0; 100]);
//! assert_eq!(flow.open(&mut noise), Err(CryptoError::Forged));
//! assert_eq!(noise.len(), 100, "a packet that does not open stays as it was");
//! assert_eq!(
//!     Protection::new(Cipher::Aes128Ctr, SessionKey::from_bytes([7; 32])).err(),
//!     Some(CryptoError::Unavailable("aes-128-ctr")),
//! );
//! # Ok::<(), CryptoError>(())
//! ```

use alloc::boxed::Box;
use core::fmt;

use rand_core::CryptoRng;

use super::backend::{Aead, AeadKey, Backend, Nonce, Tag};
use super::suite::{Cipher, Kdf};
use super::{CryptoError, SessionKey, hash, kdf};
use crate::base::buf::PacketBuf;

/// The bit of the packet count at which a reference changes keys: after 2^20 packets.
pub const ROTATION_BIT: u32 = 20;

const IV_LEN: usize = size_of::<Nonce>();
const TAG_LEN: usize = size_of::<Tag>();
/// The bit of the first IV byte that shows the generation modulo 2.
const PHASE: u8 = 0x80;
/// Packets that may fail under every key before the trials are limited.
const CREDIT: u8 = 32;
/// The keys of coming generations are dropped after so many packets that did not need them.
const LOOKAHEAD_KEPT: u16 = 1024;

/// A key, and its schedule from the first use on.
struct Generation {
    key: SessionKey,
    schedule: Option<Box<dyn AeadKey>>,
}

impl Generation {
    const fn new(key: SessionKey) -> Self {
        Self { key, schedule: None }
    }

    fn aead(&mut self, implementation: &Aead) -> &dyn AeadKey {
        &**self.schedule.get_or_insert_with(|| implementation.schedule(self.key.expose()))
    }
}

/// Which key to try, relative to the current generation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Candidate {
    Current,
    Previous,
    Next,
    AfterNext,
}

/// The keys of one flow at one end, and the state of their rotation.
///
/// About 200 bytes, and a key schedule of 32 bytes to 1.1 KiB by cipher and backend from the first packet on, which
/// [`release`](Self::release) frees. For half an epoch after a change of keys, and after packets that did not open,
/// up to three schedules more. Key material is wiped when it is dropped.
pub struct Protection {
    current: Generation,
    previous: Option<Generation>,
    /// The two generations after the current one, made when a packet did not open with the keys at hand.
    next: Option<Box<[Generation; 2]>>,
    implementation: &'static Aead,
    rotation_salt: [u8; 32],
    generation: u64,
    /// Packets sealed and opened in this generation.
    count: u64,
    rotation_bit: u32,
    /// Packets opened since `next` was of use.
    unneeded: u16,
    credit: u8,
    /// Whether the peer has been heard in the current generation: from then on it does not go back.
    peer_followed: bool,
}

impl Protection {
    /// Protection for a flow whose ends agreed on `cipher` and `key`.
    ///
    /// # Errors
    /// [`CryptoError::Unavailable`] if this build cannot do the cipher; never with an AEAD cipher.
    pub fn new(cipher: Cipher, key: SessionKey) -> Result<Self, CryptoError> {
        Self::with_backend(Backend::preferred(), cipher, key)
    }

    /// [`new`](Self::new) with a certain implementation.
    pub fn with_backend(backend: &Backend, cipher: Cipher, key: SessionKey) -> Result<Self, CryptoError> {
        let implementation = backend.aead(cipher)?;
        Ok(Self {
            rotation_salt: hash::sha256(&[key.expose()]),
            current: Generation::new(key),
            previous: None,
            next: None,
            implementation,
            generation: 0,
            count: 0,
            rotation_bit: ROTATION_BIT,
            unneeded: 0,
            credit: CREDIT,
            peer_followed: true,
        })
    }

    /// Changes keys at 2^`bit` packets (1.5 times that for the own initiative) instead of [`ROTATION_BIT`].
    ///
    /// For tests and simulations: it is a constant of the protocol, and both ends must use the same. 1 to 62.
    pub fn with_rotation_bit(mut self, bit: u32) -> Self {
        self.rotation_bit = bit.clamp(1, 62);
        self
    }

    /// The cipher in use.
    pub const fn cipher(&self) -> Cipher {
        self.implementation.cipher()
    }

    /// Bytes by which a sealed packet is longer: 12 in front and 16 behind.
    pub const fn overhead(&self) -> usize {
        IV_LEN + TAG_LEN
    }

    /// How often keys have changed.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Encrypts the packet in place, with an initialisation vector from `rng` in front and the tag behind.
    ///
    /// # Errors
    /// [`CryptoError::NoRoom`] or [`CryptoError::PacketTooLong`]; the packet is as it was.
    pub fn seal<R: CryptoRng + ?Sized>(&mut self, packet: &mut PacketBuf, rng: &mut R) -> Result<(), CryptoError> {
        if packet.headroom() < IV_LEN || packet.tailroom() < TAG_LEN {
            return Err(CryptoError::NoRoom);
        }
        if self.count >= 3 << (self.rotation_bit - 1) {
            self.advance();
        }
        let mut iv = Nonce::default();
        rng.fill_bytes(&mut iv);
        let phase = if self.generation.is_multiple_of(2) { 0 } else { PHASE };
        iv[0] = iv[0] & !PHASE | phase;
        let tag = self.current.aead(self.implementation).seal(&iv, packet)?;
        packet.push(IV_LEN).ok_or(CryptoError::NoRoom)?.copy_from_slice(&iv);
        packet.extend_from_slice(&tag).ok_or(CryptoError::NoRoom)?;
        self.counted();
        Ok(())
    }

    /// Decrypts the packet in place and takes off the initialisation vector and the tag.
    ///
    /// # Errors
    /// [`CryptoError::PacketTooShort`] or [`CryptoError::Forged`]; the packet is as it was, and is to be dropped.
    pub fn open(&mut self, packet: &mut PacketBuf) -> Result<(), CryptoError> {
        let rest = packet.split_first_chunk_mut().and_then(|(iv, rest)| Some((*iv, rest.split_last_chunk_mut()?)));
        let Some((iv, (data, tag))) = rest else {
            return Err(CryptoError::PacketTooShort);
        };
        let (tag, len): (Tag, usize) = (*tag, data.len());
        let order = self.trial_order(iv);
        let opened = order.0.iter().take(order.1).find(|&&candidate| self.try_key(candidate, &iv, data, &tag));
        let Some(&candidate) = opened else {
            self.credit = self.credit.saturating_sub(1);
            return Err(CryptoError::Forged);
        };
        self.opened_with(candidate);
        packet.truncate(IV_LEN + len);
        packet.pull(IV_LEN);
        Ok(())
    }

    /// Frees what the next packet can compute again, for a flow that will be idle. The first packet after it takes
    /// about half a microsecond longer.
    pub fn release(&mut self) {
        self.current.schedule = None;
        self.next = None;
        if let Some(previous) = &mut self.previous {
            previous.schedule = None;
        }
    }

    /// Which keys to try for a packet with this IV, likeliest first, and how many of them.
    fn trial_order(&self, iv: Nonce) -> ([Candidate; 4], usize) {
        use Candidate::{AfterNext, Current, Next, Previous};
        let [first, .., last] = iv;
        let phase_is_ours = (first & PHASE != 0) != self.generation.is_multiple_of(2);
        let mut order = match (phase_is_ours, self.peer_followed) {
            (true, _) => [Current, Previous, Next, AfterNext],
            // A reference may show the other phase while it uses our key, for half an epoch at a time.
            (false, true) => [Current, Next, Previous, AfterNext],
            (false, false) => [Previous, Current, Next, AfterNext],
        };
        if self.credit > 0 {
            return (order, 4);
        }
        // Which second key gets its chance is drawn by the sender's random IV, so that nobody can steer it past the
        // right one for long.
        let [_, others @ ..] = &mut order;
        others.rotate_left(usize::from(last % 3));
        (order, 2)
    }

    fn try_key(&mut self, candidate: Candidate, iv: &Nonce, data: &mut [u8], tag: &Tag) -> bool {
        let implementation = self.implementation;
        let generation = match candidate {
            Candidate::Current => &mut self.current,
            Candidate::Previous => match &mut self.previous {
                Some(previous) => previous,
                None => return false,
            },
            Candidate::Next | Candidate::AfterNext => {
                let [next, after_next] = self.lookahead();
                if candidate == Candidate::Next { next } else { after_next }
            }
        };
        generation.aead(implementation).open(iv, data, tag).is_ok()
    }

    /// A packet opened with this key: the proof of where the peer is.
    fn opened_with(&mut self, candidate: Candidate) {
        match candidate {
            Candidate::Current => self.peer_followed = true,
            Candidate::Previous => {}
            Candidate::Next => {
                self.advance();
                self.peer_followed = true;
            }
            Candidate::AfterNext => {
                self.advance();
                self.advance();
                self.peer_followed = true;
            }
        }
        if self.credit < CREDIT {
            self.credit += 1;
        }
        if self.next.is_some() {
            self.unneeded += 1;
            if self.unneeded >= LOOKAHEAD_KEPT {
                self.next = None;
            }
        }
        self.counted();
    }

    /// Counts a packet, and forgets the previous key when nothing can come with it any more.
    fn counted(&mut self) {
        self.count += 1;
        if self.previous.is_some() && self.peer_followed && self.count >= 1 << (self.rotation_bit - 1) {
            self.previous = None;
        }
    }

    /// Changes to the next generation. The peer may still be in the one before.
    fn advance(&mut self) {
        let next = match self.next.take() {
            Some(lookahead) => {
                let [next, _] = *lookahead;
                next
            }
            None => self.generation_after(&self.current.key),
        };
        self.previous = Some(core::mem::replace(&mut self.current, next));
        self.generation += 1;
        self.count = 0;
        self.peer_followed = false;
    }

    fn lookahead(&mut self) -> &mut [Generation; 2] {
        self.unneeded = 0;
        let lookahead = self.next.take().unwrap_or_else(|| {
            let next = self.generation_after(&self.current.key);
            let after_next = self.generation_after(&next.key);
            Box::new([next, after_next])
        });
        self.next.insert(lookahead)
    }

    fn generation_after(&self, key: &SessionKey) -> Generation {
        let mut next = SessionKey::zero();
        kdf::hkdf(Kdf::Sha256, &self.rotation_salt, key.expose(), b"o7s-key-rotation", next.expose_mut());
        Generation::new(next)
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cipher, generation) = (self.cipher(), self.generation);
        f.debug_struct("Protection").field("cipher", &cipher).field("generation", &generation).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
