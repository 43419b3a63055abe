//! A server's static key, and the memory of what was encapsulated to it.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::fmt;

use super::OapError;
use crate::base::sync::Mutex;
use crate::crypto::hash;
use crate::crypto::kex::KemKey;
use crate::crypto::suite::Kex;

/// Ciphertexts remembered, unless configured otherwise: about 4 MiB, from the first one on as many as there were.
pub const DEFAULT_CIPHERTEXTS: usize = 65_536;

/// Bytes of a hash that are kept: nobody finds two ciphertexts that share them.
type Mark = [u8; 16];

/// A server's own key, to which clients encapsulate. Copies share it, and the memory of what was encapsulated.
///
/// The session key follows from the ciphertext alone. Whoever repeats one, in a request with another id and another time,
/// would have the server set up a flow with the same session key, in which the packets of the first one open again. So each
/// ciphertext is taken once in the life of the key. The memory is bounded: beyond it the oldest are forgotten, and could be
/// repeated, which takes as many requests by others. A new key, of which nothing was recorded, begins with an empty memory;
/// one that is read again from the same file should therefore stay the same `StaticKey`.
#[derive(Clone)]
pub struct StaticKey(Arc<Inner>);

struct Inner {
    key: KemKey,
    seen: Mutex<Seen>,
}

struct Seen {
    marks: BTreeSet<Mark>,
    /// The same, the oldest first.
    order: VecDeque<Mark>,
    limit: usize,
}

impl StaticKey {
    /// A key that takes each of the last 65 536 ciphertexts once.
    pub fn new(key: KemKey) -> Self {
        Self::with_limit(key, DEFAULT_CIPHERTEXTS)
    }

    /// A key that remembers so many ciphertexts, at least one.
    pub fn with_limit(key: KemKey, ciphertexts: usize) -> Self {
        let seen = Seen { marks: BTreeSet::new(), order: VecDeque::new(), limit: ciphertexts.max(1) };
        Self(Arc::new(Inner { key, seen: Mutex::new(seen) }))
    }

    /// The key exchange it is for.
    pub fn kex(&self) -> Kex {
        self.0.key.kex()
    }

    /// The key itself.
    pub fn key(&self) -> &KemKey {
        &self.0.key
    }

    /// Ciphertexts remembered.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn remembered(&self) -> usize {
        self.0.seen.lock().order.len()
    }

    /// Returns `true` if a ciphertext was taken before.
    pub(super) fn knows(&self, ciphertext: &[u8]) -> bool {
        self.0.seen.lock().marks.contains(&mark(ciphertext))
    }

    /// Takes a ciphertext for the first time, and remembers it.
    ///
    /// # Errors
    /// [`OapError::Replayed`] if it was taken before.
    pub(super) fn admit(&self, ciphertext: &[u8]) -> Result<(), OapError> {
        let mark = mark(ciphertext);
        let mut seen = self.0.seen.lock();
        if !seen.marks.insert(mark) {
            return Err(OapError::Replayed);
        }
        seen.order.push_back(mark);
        if seen.order.len() > seen.limit
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.marks.remove(&oldest);
        }
        Ok(())
    }
}

fn mark(ciphertext: &[u8]) -> Mark {
    hash::sha256(&[ciphertext]).first_chunk().copied().unwrap_or_default()
}

impl PartialEq for StaticKey {
    /// Of the same key and memory.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for StaticKey {}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticKey({}, ..)", self.kex())
    }
}
