//! Protection by a cipher in counter mode: nothing is authenticated, and keys change by the reference's rules to the letter.
//!
//! ```text
//! +--------------------+----------------------+
//! | IV, 16 bytes       | ciphertext, n bytes  |
//! +--------------------+----------------------+
//! ```
//!
//! Every packet that is long enough opens, under whatever key, so that no key can be found by trying. Whoever is on the path
//! can flip bits of what is inside, repeat packets, and make them up; by the first bit of a made-up one it also has the
//! receiver change keys, from three quarters of a generation on. And two ends that send each other packets, of which some
//! are lost, count differently until they no longer understand each other. It is for peers that have nothing else.
//!
//! The rules: an end counts the packets that it has sealed and opened. When the bit of the count at which keys change flips
//! as it seals one, it goes on to the next key for those that follow; the first bit of an IV is that bit of the count. When
//! the first bit of a packet that arrives differs from the parity of the changes so far, and three quarters of a generation
//! have passed since the last one, it does so before it opens that packet.

use alloc::boxed::Box;

use rand_core::CryptoRng;

use super::ROTATION_BIT;
use crate::base::buf::PacketBuf;
use crate::crypto::backend::{Iv, Stream, StreamKey};
use crate::crypto::suite::Kdf;
use crate::crypto::{CryptoError, SessionKey, hash, kdf};

/// The bit of the first IV byte that shows when keys change.
const PHASE: u8 = 0x80;
pub(super) const IV_LEN: usize = size_of::<Iv>();

/// The key of one flow at one end, and the state of its rotation.
pub(super) struct Counter {
    implementation: &'static Stream,
    rotation_salt: [u8; 32],
    key: SessionKey,
    schedule: Option<Box<dyn StreamKey>>,
    generation: u64,
    bit: u32,
    /// Packets sealed, and packets opened.
    count: u64,
    /// Of these, since the last change of the key.
    age: u64,
}

impl Counter {
    pub(super) fn new(implementation: &'static Stream, key: SessionKey) -> Self {
        let rotation_salt = hash::sha256(&[key.expose()]);
        Self { implementation, rotation_salt, key, schedule: None, generation: 0, bit: ROTATION_BIT, count: 0, age: 0 }
    }

    pub(super) const fn set_rotation_bit(&mut self, bit: u32) {
        self.bit = bit;
    }

    pub(super) const fn implementation(&self) -> &'static Stream {
        self.implementation
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn seal<R: CryptoRng + ?Sized>(
        &mut self,
        packet: &mut PacketBuf,
        rng: &mut R,
    ) -> Result<(), CryptoError> {
        let mut iv = Iv::default();
        rng.fill_bytes(&mut iv);
        let before = self.phase();
        iv[0] = iv[0] & !PHASE | if before { PHASE } else { 0 };
        self.apply(&iv, packet);
        packet.push(IV_LEN).ok_or(CryptoError::NoRoom)?.copy_from_slice(&iv);
        self.counted();
        if self.phase() != before {
            self.rotate();
        }
        Ok(())
    }

    pub(super) fn open(&mut self, packet: &mut PacketBuf) -> Result<(), CryptoError> {
        let Some((iv, _)) = packet.split_first_chunk::<IV_LEN>() else {
            return Err(CryptoError::PacketTooShort);
        };
        let iv = *iv;
        let differs = (iv[0] & PHASE != 0) != (self.generation % 2 == 1);
        let most = 1_u64 << self.bit;
        if differs && self.age >= most - most / 4 {
            self.rotate();
        }
        packet.pull(IV_LEN);
        self.apply(&iv, packet);
        self.counted();
        Ok(())
    }

    /// Frees the key schedule until the next packet.
    pub(super) fn release(&mut self) {
        self.schedule = None;
    }

    pub(super) const fn holds_schedules(&self) -> bool {
        self.schedule.is_some()
    }

    fn apply(&mut self, iv: &Iv, data: &mut [u8]) {
        let key = self.schedule.get_or_insert_with(|| self.implementation.schedule(self.key.expose()));
        key.apply(iv, data);
    }

    const fn phase(&self) -> bool {
        self.count >> self.bit & 1 == 1
    }

    const fn counted(&mut self) {
        self.count += 1;
        self.age += 1;
    }

    fn rotate(&mut self) {
        let mut next = SessionKey::zero();
        kdf::hkdf(Kdf::Sha256, &self.rotation_salt, self.key.expose(), b"o7s-key-rotation", next.expose_mut());
        self.key = next;
        self.schedule = None;
        self.generation += 1;
        self.age = 0;
    }
}

#[cfg(test)]
mod tests;
