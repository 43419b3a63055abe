//! Protection towards a reference: one key for both directions, random nonces, keys that change by counting.
//!
//! The initialisation vector is random for every packet, except for its first bit. Both directions use the same key,
//! so it is those 95 random bits that keep nonces apart; never derive them from a counter. A generation seals and opens
//! at most about 2^21 packets, so the chance that two of its nonces are equal stays below 2^-53. There are no additional
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
//! until they no longer understand each other. The rules here stay in step with an end of either kind as long as less
//! than two generations in a row are lost in one direction, three million packets; after that the direction is dead,
//! and a flow whose peer has a timeout ends by it:
//!
//! - Packets are sealed with the key of the current generation g, and the bit is g modulo 2.
//! - A packet may open with generation g, g-1, g+1 or g+2. Only a packet that opened moves g, and only forward. Where g has
//!   moved twice within half an epoch, g-2 opens as well: a reference may change keys because it has been told to, and again
//!   by its own count, while packets of before are still on their way.
//! - After 1.5 · 2^20 packets sent and opened in one generation, the next packet is sealed with g+1. A reference does
//!   that after 2^20 packets, so that it normally goes first.
//! - g-1, and g-2, is forgotten once the peer has been heard in g and half an epoch has passed.
//!
//! # Packets that do not open
//!
//! They change nothing but the bookkeeping of the trials: usually the first bit tells which key to try first, and only
//! a damaged or forged packet costs all trials, four or five. Each of those uses up a credit that packets which do open restore;
//! without credit a packet gets two trials, so that a flood of forgeries costs little, and a change of generation is
//! still noticed after a few packets. With [`RUST`](crate::crypto::backend::RUST) a failing trial costs the check of the
//! tag only, about half of opening a packet.

use alloc::boxed::Box;

use rand_core::CryptoRng;

use super::{Generation, ROTATION_BIT, frame, unframe};
use crate::base::buf::PacketBuf;
use crate::crypto::backend::{Aead, Nonce, Tag};
use crate::crypto::suite::Kdf;
use crate::crypto::{CryptoError, SessionKey, hash, kdf};

/// The bit of the first IV byte that shows the generation modulo 2.
const PHASE: u8 = 0x80;
/// Packets that may fail under every key before the trials are limited.
const CREDIT: u8 = 32;
/// The keys of coming generations are dropped after so many packets that did not need them.
const LOOKAHEAD_KEPT: u16 = 1024;

/// Candidate key for a trial, relative to the current generation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Candidate {
    Current,
    Previous,
    Older,
    Next,
    AfterNext,
}

/// Generations that late packets may open with.
struct Past {
    previous: Generation,
    /// The one before that, if it was in use just now: when the keys have changed twice in a row.
    older: Option<Box<Generation>>,
}

/// The keys of one flow at one end, and the state of their rotation.
///
/// About 130 bytes, and a key schedule of 32 bytes to 1.1 KiB by cipher and backend from the first packet on, which
/// [`release`](Self::release) frees. For half an epoch after a change of keys, and after packets that did not open,
/// up to three schedules more. Key material is wiped when it is dropped.
pub(super) struct Shared {
    current: Generation,
    past: Option<Box<Past>>,
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
    /// The peer has been heard in the current generation: from then on it does not go back.
    peer_followed: bool,
}

impl Shared {
    pub(super) fn new(implementation: &'static Aead, key: SessionKey) -> Self {
        Self {
            rotation_salt: hash::sha256(&[key.expose()]),
            current: Generation::new(key),
            past: None,
            next: None,
            implementation,
            generation: 0,
            count: 0,
            rotation_bit: ROTATION_BIT,
            unneeded: 0,
            credit: CREDIT,
            peer_followed: true,
        }
    }

    pub(super) fn set_rotation_bit(&mut self, bit: u32) {
        self.rotation_bit = bit;
    }

    pub(super) const fn implementation(&self) -> &'static Aead {
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
        if self.count >= 3 << (self.rotation_bit - 1) {
            self.advance();
        }
        let mut iv = Nonce::default();
        rng.fill_bytes(&mut iv);
        let phase = if self.generation.is_multiple_of(2) { 0 } else { PHASE };
        iv[0] = iv[0] & !PHASE | phase;
        frame(packet, &iv, self.current.aead(self.implementation))?;
        self.counted();
        Ok(())
    }

    pub(super) fn open(&mut self, packet: &mut PacketBuf) -> Result<(), CryptoError> {
        unframe(packet, |iv, data, tag| {
            let order = self.trial_order(*iv);
            let opened = order.0.iter().take(order.1).find(|&&candidate| self.try_key(candidate, iv, data, tag));
            let Some(&candidate) = opened else {
                self.credit = self.credit.saturating_sub(1);
                return Err(CryptoError::Forged);
            };
            self.opened_with(candidate);
            Ok(())
        })
    }

    pub(super) fn release(&mut self) {
        self.current.schedule = None;
        self.next = None;
        if let Some(past) = &mut self.past {
            past.previous.schedule = None;
            past.older.iter_mut().for_each(|older| older.schedule = None);
        }
    }

    pub(super) fn holds_schedules(&self) -> bool {
        let is_held = |past: &Past| {
            past.previous.schedule.is_some() || past.older.as_ref().is_some_and(|older| older.schedule.is_some())
        };
        self.current.schedule.is_some() || self.past.as_deref().is_some_and(is_held) || self.next.is_some()
    }

    /// Keys to try for a packet with this IV, likeliest first, and their number.
    fn trial_order(&self, iv: Nonce) -> ([Candidate; 5], usize) {
        use Candidate::{AfterNext, Current, Next, Older, Previous};
        let [first, .., last] = iv;
        let phase_is_ours = (first & PHASE != 0) != self.generation.is_multiple_of(2);
        let mut order = match (phase_is_ours, self.peer_followed) {
            (true, _) => [Current, Previous, Next, AfterNext, Older],
            // A reference may show the other phase while it uses our key, for half an epoch at a time.
            (false, true) => [Current, Next, Previous, AfterNext, Older],
            (false, false) => [Previous, Current, Next, AfterNext, Older],
        };
        let has_older = self.past.as_ref().is_some_and(|past| past.older.is_some());
        let known = if has_older { order.len() } else { order.len() - 1 };
        if self.credit > 0 {
            return (order, known);
        }
        // The sender's random IV draws which second key gets its chance, so that an attacker cannot steer it past the
        // right one for long.
        if let Some(others) = order.get_mut(1..known) {
            others.rotate_left(usize::from(last) % others.len());
        }
        (order, 2)
    }

    fn try_key(&mut self, candidate: Candidate, iv: &Nonce, data: &mut [u8], tag: &Tag) -> bool {
        let implementation = self.implementation;
        let generation = match candidate {
            Candidate::Current => &mut self.current,
            Candidate::Previous => match &mut self.past {
                Some(past) => &mut past.previous,
                None => return false,
            },
            Candidate::Older => match self.past.as_mut().and_then(|past| past.older.as_deref_mut()) {
                Some(older) => older,
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
            Candidate::Previous | Candidate::Older => {}
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
        if self.past.is_some() && self.peer_followed && self.count >= 1 << (self.rotation_bit - 1) {
            self.past = None;
        }
    }

    /// Changes to the next generation. The peer may still be in the one before.
    fn advance(&mut self) {
        let next = match self.next.take() {
            Some(mut lookahead) => {
                let [next, _] = &mut *lookahead;
                next.take()
            }
            None => self.generation_after(&self.current.key),
        };
        // Out of the box, which is freed without a look.
        let older = self.past.as_mut().map(|past| Box::new(past.previous.take()));
        self.past = Some(Box::new(Past { previous: core::mem::replace(&mut self.current, next), older }));
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

#[cfg(test)]
mod tests;
