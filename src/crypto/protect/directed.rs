//! Protection between two ends of our own kind: a key for each direction, numbered packets, nothing opens twice.
//!
//! # Keys
//!
//! From the session key K follow the secrets of each direction, S\[0\] = HKDF-SHA-256(salt = SHA-256(K), K,
//! `o7s client` or `o7s server`) and S\[n+1\] = HKDF-SHA-256(salt, S\[n\], `o7s next`), and from each of them the key of
//! a generation, HKDF-SHA-256(salt, S\[n\], `o7s packets`). A direction forgets what it has left behind, so that a key
//! which leaks opens nothing older.
//!
//! # Nonces
//!
//! The initialisation vector is four zero bytes and the number of the packet in its direction, 64 bits from 0 on, big
//! endian. A number is used once, and each key by one end only, so no nonce is ever used twice under a key: there is no
//! birthday bound to keep. The number also tells the generation, number / 2^20, which stays far below what AES-GCM and
//! ChaCha20-Poly1305 may seal under a key (RFC 9001, 6.6: 2^23 packets).
//!
//! # What is refused
//!
//! A packet whose number was opened before, or is further behind the newest than the window of numbers remembered
//! ([`WINDOW`]) reaches, is refused before any key is tried (the algorithm of RFC 6479). A packet further ahead than
//! [`MAX_AHEAD`] generations is refused as forged. The secrets up to there are computed once, when the first packet
//! names such a generation, so that a forger cannot have them computed over and over; each further forgery costs one
//! failing trial.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::{Generation, ROTATION_BIT, Side, frame, unframe};
use crate::base::buf::PacketBuf;
use crate::base::lazy_queue::LazyQueue;
use crate::crypto::backend::{Aead, AeadKey, Nonce};
use crate::crypto::suite::Kdf;
use crate::crypto::{CryptoError, SessionKey, hash, kdf};

/// Generations ahead of the newest that a packet may be: what may be lost in a row without stopping a direction.
pub(super) const MAX_AHEAD: u64 = 256;
/// Numbers behind the newest at which a packet is still told from one that was opened before.
pub(super) const WINDOW: u64 = (BLOCKS as u64 - 1) * 64;
const BLOCKS: usize = 32;

pub(super) struct Directed {
    implementation: &'static Aead,
    salt: [u8; 32],
    bit: u32,
    tx: Sending,
    rx: Receiving,
}

/// The key of the present generation, ready for use; made from the secret when it is needed.
type Schedule = Option<Box<dyn AeadKey>>;

struct Sending {
    secret: SessionKey,
    generation: u64,
    schedule: Schedule,
    /// Number of the next packet.
    number: u64,
}

struct Receiving {
    secret: SessionKey,
    generation: u64,
    schedule: Schedule,
    previous: Option<Box<Generation>>,
    /// Secrets of the generations after this one, as far as a packet has made us compute them. There is a place for each
    /// that may be, 8 KiB, as long as there is one.
    ahead: LazyQueue<SessionKey>,
    seen: Seen,
}

impl Directed {
    pub(super) fn new(implementation: &'static Aead, key: &SessionKey, side: Side) -> Self {
        let salt = hash::sha256(&[key.expose()]);
        let secret_of = |side| match side {
            Side::Client => derive(&salt, key, b"o7s client"),
            Side::Server => derive(&salt, key, b"o7s server"),
        };
        let (own, theirs) = (secret_of(side), secret_of(side.other()));
        Self {
            implementation,
            bit: ROTATION_BIT,
            tx: Sending { secret: own, generation: 0, schedule: None, number: 0 },
            rx: Receiving {
                secret: theirs,
                generation: 0,
                schedule: None,
                previous: None,
                ahead: LazyQueue::default(),
                seen: Seen::default(),
            },
            salt,
        }
    }

    pub(super) fn set_rotation_bit(&mut self, bit: u32) {
        self.bit = bit;
    }

    pub(super) const fn implementation(&self) -> &'static Aead {
        self.implementation
    }

    pub(super) const fn generation(&self) -> u64 {
        self.tx.generation
    }

    pub(super) fn seal(&mut self, packet: &mut PacketBuf) -> Result<(), CryptoError> {
        let number = self.tx.number;
        while self.tx.generation < number >> self.bit {
            self.tx.secret = derive(&self.salt, &self.tx.secret, b"o7s next");
            self.tx.schedule = None;
            self.tx.generation += 1;
        }
        // Used up before it is used: a number that failed is not tried again.
        self.tx.number = number.checked_add(1).ok_or(CryptoError::PacketTooLong)?;
        let Sending { secret, schedule, .. } = &mut self.tx;
        frame(packet, &iv_of(number), scheduled(schedule, &self.salt, secret, self.implementation))
    }

    pub(super) fn open(&mut self, packet: &mut PacketBuf) -> Result<(), CryptoError> {
        let (salt, implementation, bit, rx) = (&self.salt, self.implementation, self.bit, &mut self.rx);
        unframe(packet, |iv, data, tag| {
            let number = number_of(iv).ok_or(CryptoError::Forged)?;
            if rx.seen.contains(number) {
                return Err(CryptoError::Replayed);
            }
            let generation = number >> bit;
            match generation.checked_sub(rx.generation) {
                Some(0) => scheduled(&mut rx.schedule, salt, &rx.secret, implementation).open(iv, data, tag)?,
                Some(ahead) => {
                    let mut key = rx.key_ahead(salt, ahead)?;
                    key.aead(implementation).open(iv, data, tag)?;
                    rx.advance(salt, ahead, key);
                }
                None if generation + 1 == rx.generation => {
                    let previous = rx.previous.as_mut().ok_or(CryptoError::Forged)?;
                    previous.aead(implementation).open(iv, data, tag)?;
                }
                None => return Err(CryptoError::Forged),
            }
            rx.seen.insert(number);
            if rx.previous.is_some() && rx.seen.oldest() >> bit >= rx.generation {
                // Whatever was sealed with it would be refused.
                rx.previous = None;
            }
            Ok(())
        })
    }

    pub(super) fn release(&mut self) {
        self.forget_schedules();
        self.rx.seen.release();
    }

    pub(super) fn forget_schedules(&mut self) {
        self.tx.schedule = None;
        self.rx.schedule = None;
        // Not those of generations to come: a forger would have them computed again and again.
        if let Some(previous) = &mut self.rx.previous {
            previous.schedule = None;
        }
    }

    pub(super) fn holds_schedules(&self) -> bool {
        let previous = self.rx.previous.as_ref().is_some_and(|previous| previous.schedule.is_some());
        self.tx.schedule.is_some() || self.rx.schedule.is_some() || previous
    }
}

impl Receiving {
    /// The key of a generation `ahead` of the current one, at least 1.
    fn key_ahead(&mut self, salt: &[u8; 32], ahead: u64) -> Result<Generation, CryptoError> {
        if ahead > MAX_AHEAD {
            return Err(CryptoError::Forged);
        }
        let secrets = self.ahead.get_or_make();
        if (secrets.capacity() as u64) < ahead {
            // In steps, because what is made up takes memory as well; and by hand, because a queue that grew would leave
            // secrets in the memory it was in.
            let mut more = VecDeque::with_capacity(ahead.next_power_of_two().max(16) as usize);
            more.extend(secrets.iter_mut().map(|secret| core::mem::replace(secret, SessionKey::zero())));
            *secrets = more;
        }
        while (secrets.len() as u64) < ahead {
            let next = derive(salt, secrets.back().unwrap_or(&self.secret), b"o7s next");
            secrets.push_back(next);
        }
        let secret = secrets.get(ahead as usize - 1).ok_or(CryptoError::Forged)?;
        Ok(key_of(salt, secret))
    }

    /// The peer is `ahead` generations further, and this is its key.
    fn advance(&mut self, salt: &[u8; 32], ahead: u64, key: Generation) {
        let mut before = key_of(salt, &self.secret);
        before.schedule = core::mem::replace(&mut self.schedule, key.schedule);
        for step in 1..=ahead {
            let Some(secret) = self.take_ahead() else { break };
            if step + 1 == ahead {
                before = key_of(salt, &secret);
            }
            self.secret = secret;
        }
        // Nor is it moved into less memory.
        if self.ahead.is_empty() {
            self.ahead.shrink();
        }
        self.generation += ahead;
        self.previous = Some(Box::new(before));
    }

    /// The secret of the next generation, which is not left in the place that it had in the queue.
    fn take_ahead(&mut self) -> Option<SessionKey> {
        let secrets = self.ahead.get_mut()?;
        let secret = core::mem::replace(secrets.front_mut()?, SessionKey::zero());
        secrets.pop_front();
        Some(secret)
    }
}

/// The schedule of a secret's key, made if there is none: the key itself is not kept.
fn scheduled<'a>(
    schedule: &'a mut Schedule,
    salt: &[u8; 32],
    secret: &SessionKey,
    implementation: &Aead,
) -> &'a dyn AeadKey {
    &**schedule.get_or_insert_with(|| implementation.schedule(key_of(salt, secret).key.expose()))
}

fn derive(salt: &[u8; 32], secret: &SessionKey, purpose: &[u8]) -> SessionKey {
    let mut key = SessionKey::zero();
    kdf::hkdf(Kdf::Sha256, salt, secret.expose(), purpose, key.expose_mut());
    key
}

fn key_of(salt: &[u8; 32], secret: &SessionKey) -> Generation {
    Generation::new(derive(salt, secret, b"o7s packets"))
}

fn iv_of(number: u64) -> Nonce {
    let mut iv = Nonce::default();
    if let Some(place) = iv.last_chunk_mut() {
        *place = number.to_be_bytes();
    }
    iv
}

fn number_of(iv: &Nonce) -> Option<u64> {
    let [0, 0, 0, 0, number @ ..] = *iv else { return None };
    Some(u64::from_be_bytes(number))
}

/// Set of opened numbers: a ring of bits that moves with the newest, if one is needed.
#[derive(Default)]
struct Seen {
    /// One behind the highest number.
    next: u64,
    /// `None` as long as packets come in order: all before `next` count as opened.
    bits: Option<Box<[u64; BLOCKS]>>,
}

impl Seen {
    fn place(number: u64) -> (usize, u64) {
        ((number / 64) as usize % BLOCKS, 1 << (number % 64))
    }

    /// The least number that can still be told from those opened.
    fn oldest(&self) -> u64 {
        self.next.saturating_sub(WINDOW)
    }

    /// Returns `true` if the number was opened, or is too old to tell.
    fn contains(&self, number: u64) -> bool {
        let (block, bit) = Self::place(number);
        let is_set = |ring: &[u64; BLOCKS]| ring.get(block).is_none_or(|bits| bits & bit != 0);
        number < self.oldest() || (number < self.next && self.bits.as_deref().is_none_or(is_set))
    }

    fn insert(&mut self, number: u64) {
        if self.bits.is_none() {
            if number <= self.next {
                self.next = self.next.max(number.saturating_add(1));
                return;
            }
            // The first gap.
            let mut ring = Box::new([!0; BLOCKS]);
            let (block, bit) = Self::place(self.next);
            if let Some(bits) = ring.get_mut(block) {
                *bits = bit - 1;
            }
            self.bits = Some(ring);
        }
        let Some(ring) = &mut self.bits else { return };
        if number >= self.next {
            // Blocks that the window enters are blank; after the whole ring there is nothing more to clear.
            let first = self.next.div_ceil(64);
            for block in (first..=number / 64).take(BLOCKS) {
                if let Some(bits) = ring.get_mut(block as usize % BLOCKS) {
                    *bits = 0;
                }
            }
            self.next = number.saturating_add(1);
        }
        let (block, bit) = Self::place(number);
        if let Some(bits) = ring.get_mut(block) {
            *bits |= bit;
        }
    }

    /// Gives the ring back if nothing is missing in it.
    fn release(&mut self) {
        if self.bits.is_some() && (self.oldest()..self.next).all(|number| self.contains(number)) {
            self.bits = None;
        }
    }
}

#[cfg(test)]
mod tests;
