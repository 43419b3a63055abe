//! Elements of DER (X.690): enough to find the parts of a key or of a certificate within its bytes, and to wrap keys.
//!
//! Lengths must be in the shortest form, and an element must be whole. What is in an element is for others to judge.

use alloc::vec::Vec;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// Takes the first element off the front: its tag, its content, and all of its bytes.
pub(super) fn next<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let len = bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
            let shortest = len >= 0x80 && bytes.first() != Some(&0);
            (shortest.then_some(len)?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    let whole = input.get(..input.len() - rest.len())?;
    *input = rest;
    Some((tag, content, whole))
}

/// Takes an element with this tag off the front and returns its content; nothing is taken if another is there.
pub(super) fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let mut rest = *input;
    let (found, content, _) = next(&mut rest)?;
    (found == tag).then(|| *input = rest)?;
    Some(content)
}

/// The content of an element with this tag that has nothing behind it.
pub(super) fn only(mut input: &[u8], tag: u8) -> Option<&[u8]> {
    let content = take(&mut input, tag)?;
    input.is_empty().then_some(content)
}

/// The bytes of a BIT STRING's content, which must be whole bytes.
pub(super) fn bits(content: &[u8]) -> Option<&[u8]> {
    content.strip_prefix(&[0])
}

/// The magnitude of an INTEGER's content, without zeros in front; `None` for a negative one or another than the shortest form.
pub(super) fn unsigned(content: &[u8]) -> Option<&[u8]> {
    match content {
        [] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => None,
        [0, rest @ ..] => Some(rest),
        all => Some(all),
    }
}

/// An element of these parts, one after the other. At most 16 MiB: what is longer gets a length that nobody reads.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let [_, third, second, first] = (len as u32).to_be_bytes();
    let mut out = Vec::with_capacity(5 + len);
    match len {
        0..=0x7f => out.extend_from_slice(&[tag, first]),
        0x80..=0xff => out.extend_from_slice(&[tag, 0x81, first]),
        0x100..=0xffff => out.extend_from_slice(&[tag, 0x82, second, first]),
        _ => out.extend_from_slice(&[tag, 0x83, third, second, first]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// The element of a whole number that is not negative, big-endian; zeros in front of it are left out.
#[cfg(any(test, feature = "kex-ffdhe"))]
pub(super) fn integer(number: &[u8]) -> Vec<u8> {
    let number = without_zeros(number);
    let sign: &[u8] = if number.first().is_none_or(|first| *first > 0x7f) { &[0] } else { &[] };
    element(INTEGER, &[sign, number])
}

/// A big-endian number without the zeros in front.
#[cfg(any(test, feature = "kex-ffdhe"))]
pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_in_order() {
        let mut input: &[u8] = &[0x30, 2, 5, 0, 0x02, 1, 7, 9];
        assert_eq!(take(&mut input, INTEGER), None);
        assert_eq!(take(&mut input, SEQUENCE), Some(&[5, 0][..]));
        assert_eq!(next(&mut input), Some((INTEGER, &[7][..], &[2, 1, 7][..])));
        assert_eq!((next(&mut input), input), (None, &[9][..]));
    }

    #[test]
    fn only_the_shortest_length_is_one() {
        let long = |header: &[u8], len: usize| [header, &alloc::vec![1; len]].concat();
        assert_eq!(only(&long(&[4, 0x81, 0x80], 0x80), OCTET_STRING).map(<[u8]>::len), Some(0x80));
        assert_eq!(only(&long(&[4, 0x82, 1, 0], 0x100), OCTET_STRING).map(<[u8]>::len), Some(0x100));
        for wrong in [&[4, 0x81, 5][..], &[4, 0x82, 0, 5], &[4, 0x80], &[4, 0x84, 0, 0, 0, 5], &[4, 6], &[4], &[]] {
            assert_eq!(only(&long(wrong, 5), OCTET_STRING), None, "{wrong:x?}");
        }
        assert_eq!(only(&[4, 1, 1, 0], OCTET_STRING), None, "something is behind it");
    }

    #[test]
    fn integers_have_one_form() {
        assert_eq!(unsigned(&[0x7f]), Some(&[0x7f][..]));
        assert_eq!(unsigned(&[0, 0x80]), Some(&[0x80][..]));
        assert_eq!(unsigned(&[0]), Some(&[][..]));
        for wrong in [&[][..], &[0x80], &[0xff, 1], &[0, 1], &[0, 0], &[0, 0, 0x80]] {
            assert_eq!(unsigned(wrong), None, "{wrong:x?}");
        }
    }

    #[test]
    fn elements_lead_back() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = alloc::vec![7; len];
            let (first, second) = content.split_at(len / 2);
            let bytes = element(OCTET_STRING, &[first, second]);
            assert_eq!(only(&bytes, OCTET_STRING), Some(&content[..]));
            assert_eq!(only(&bytes, SEQUENCE), None);
            assert_eq!(only(&bytes[..bytes.len() - 1], OCTET_STRING), None);
        }
        for (number, bytes) in
            [(&b""[..], &b"\x02\x01\0"[..]), (b"\x7f", b"\x02\x01\x7f"), (b"\x80", b"\x02\x02\0\x80")]
        {
            assert_eq!(integer(number), bytes);
            assert_eq!(integer(&[b"\0\0", number].concat()), bytes);
            assert_eq!(only(bytes, INTEGER).and_then(unsigned), Some(number));
        }
    }
}
