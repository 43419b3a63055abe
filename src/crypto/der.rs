//! The little of DER (X.690) that keys are wrapped in: elements of definite length, each in its one canonical form.

use alloc::vec::Vec;

const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// Reads elements one after the other.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The content of the next element, which must have this tag; `None` if it is another, or not in canonical form.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&short, rest) = rest.split_first()?;
        // Nothing here is longer than 64 KiB. A length takes as few bytes as it can.
        let (len, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            0x81 => rest.split_first().map(|(&len, rest)| (usize::from(len), rest)).filter(|(len, _)| *len > 0x7f)?,
            0x82 => rest
                .split_first_chunk()
                .map(|(&len, rest)| (usize::from(u16::from_be_bytes(len)), rest))
                .filter(|(len, _)| *len > 0xff)?,
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len).filter(|_| found == tag)?;
        self.0 = rest;
        Some(content)
    }

    /// The elements inside the next one, a sequence.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.take(SEQUENCE).map(Reader)
    }

    /// The next element, a whole number that is not negative: big-endian, without zeros in front.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.take(INTEGER)? {
            [0] => Some(&[]),
            // A zero in front keeps the sign away, and is there for nothing else.
            [0, rest @ ..] => rest.first().is_some_and(|first| *first > 0x7f).then_some(rest),
            number => number.first().is_some_and(|first| *first <= 0x7f).then_some(number),
        }
    }

    /// Returns `true` if the next element has this tag.
    pub(super) fn is_next(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// Returns `true` if there are no more elements.
    pub(super) const fn is_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// An element of these parts, one after the other. At most 64 KiB: what is longer gets a length that nobody reads.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let [high, low] = (len as u16).to_be_bytes();
    let mut out = Vec::with_capacity(4 + len);
    match len {
        0..=0x7f => out.extend_from_slice(&[tag, low]),
        0x80..=0xff => out.extend_from_slice(&[tag, 0x81, low]),
        _ => out.extend_from_slice(&[tag, 0x82, high, low]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// The element of a whole number that is not negative, big-endian; zeros in front of it are left out.
pub(super) fn unsigned(number: &[u8]) -> Vec<u8> {
    let number = without_zeros(number);
    let sign: &[u8] = if number.first().is_none_or(|first| *first > 0x7f) { &[0] } else { &[] };
    element(INTEGER, &[sign, number])
}

/// A big-endian number without the zeros in front.
pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_lead_back() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let content = alloc::vec![7; len];
            let bytes = element(OCTET_STRING, &[&content]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.take(OCTET_STRING), Some(&content[..]));
            assert!(reader.is_end());
            assert_eq!(Reader::new(&bytes).take(SEQUENCE), None);
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).take(OCTET_STRING), None);
        }
    }

    #[test]
    fn only_the_shortest_length_is_read() {
        let longer: [&[u8]; 6] =
            [b"\x04\x81\x01a", b"\x04\x82\x00\x01a", b"\x04\x80a\0\0", b"\x04", b"", b"\x04\x83\0\0\x01a"];
        assert!(longer.iter().all(|bytes| Reader::new(bytes).take(OCTET_STRING).is_none()));
        let mut exactly = alloc::vec![0x04, 0x82, 0, 0xff];
        exactly.extend([0; 0xff]);
        assert_eq!(Reader::new(&exactly).take(OCTET_STRING), None);
    }

    #[test]
    fn numbers_have_one_form() {
        for (number, bytes) in
            [(&b""[..], &b"\x02\x01\0"[..]), (b"\x7f", b"\x02\x01\x7f"), (b"\x80", b"\x02\x02\0\x80")]
        {
            assert_eq!(unsigned(number), bytes);
            assert_eq!(unsigned(&[b"\0\0", number].concat()), bytes);
            assert_eq!(Reader::new(bytes).unsigned(), Some(number));
        }
        for other in [&b"\x02\0"[..], b"\x02\x01\x80", b"\x02\x02\0\x7f", b"\x02\x02\0\0"] {
            assert_eq!(Reader::new(other).unsigned(), None, "{other:02x?}");
        }
    }
}
