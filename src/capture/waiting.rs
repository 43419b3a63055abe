//! Bytes that wait to be written.

use zeroize::Zeroize;

/// Bytes that wait to be written. If keys are among them they are wiped as soon as they are written or moved.
#[derive(Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    secret: bool,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, to append `len` more at most.
    pub(super) fn append(&mut self, len: usize) -> &mut Vec<u8> {
        let needed = self.bytes.len() + len;
        if self.secret && needed > self.bytes.capacity() {
            // A vector that grows leaves behind what it had.
            let mut grown = Vec::with_capacity(needed.max(2 * self.bytes.capacity()));
            grown.extend_from_slice(&self.bytes);
            core::mem::replace(&mut self.bytes, grown).zeroize();
        }
        &mut self.bytes
    }

    /// As [`append`](Self::append), for a key.
    pub(super) fn append_secret(&mut self, len: usize) -> &mut Vec<u8> {
        self.secret = true;
        self.append(len)
    }

    /// Empties it: everything has been written.
    pub(super) fn clear(&mut self) {
        if core::mem::take(&mut self.secret) {
            self.bytes.zeroize();
        }
        self.bytes.clear();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_secret_from_its_first_key_until_it_is_written() {
        let mut waiting = Waiting::default();
        waiting.append(4).extend_from_slice(b"head");
        waiting.append_secret(100).extend_from_slice(&[0xab; 100]);
        assert_eq!(waiting.len(), 104);
        let room = waiting.bytes.capacity();
        waiting.clear();
        assert!(waiting.is_empty() && waiting.bytes.capacity() == room);
        // What comes next is not wiped for it.
        assert!(!waiting.secret);
    }

    #[test]
    fn a_buffer_with_keys_does_not_grow_by_itself() {
        let mut waiting = Waiting::default();
        waiting.append_secret(10).extend_from_slice(&[0xab; 10]);
        for _ in 0..1000 {
            let bytes = waiting.append(7);
            let before = bytes.capacity();
            bytes.extend_from_slice(&[1; 7]);
            assert_eq!(bytes.capacity(), before);
        }
        assert_eq!((waiting.len(), &waiting.bytes()[..10]), (7010, &[0xab; 10][..]));
    }
}
