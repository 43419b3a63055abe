//! Opening with ciphers that write over a packet before they know whether it is genuine.

use alloc::vec::Vec;
use core::cell::RefCell;

use crate::crypto::CryptoError;

std::thread_local! {
    /// Buffer for the ciphertext while a key is tried on it. It grows to the longest packet and holds no secret.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Has `open` decrypt `data` in place, and puts the ciphertext back if that returns `false`, so that another key can be tried.
///
/// `ring` and AWS-LC decrypt while they authenticate, and wipe the buffer when the tag turns out wrong, so the ciphertext is
/// copied first: 4 percent of the time that opening takes, as the rows `open 1400 B` of the benchmark `peers --only backends` are
/// with and without it.
pub(super) fn open_or_restore(data: &mut [u8], open: impl FnOnce(&mut [u8]) -> bool) -> Result<(), CryptoError> {
    SPARE.with_borrow_mut(|spare| {
        spare.clear();
        spare.extend_from_slice(data);
        if !open(data) {
            data.copy_from_slice(spare);
            return Err(CryptoError::Forged);
        }
        Ok(())
    })
}
