//! Private keys in PKCS #8 (RFC 5958): what is around them.

use super::der;

/// The parts of a structure that is not encrypted. Attributes are for others.
pub(super) struct Pkcs8<'a> {
    /// Content of the AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    /// The key, in the form of its algorithm.
    pub(super) private: &'a [u8],
    /// The public key, if there is one.
    pub(super) public: Option<&'a [u8]>,
}

impl<'a> Pkcs8<'a> {
    /// The parts in exactly these bytes; `None` if they are anything else.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        const ATTRIBUTES: u8 = 0xa0;
        const PUBLIC: u8 = 0x81;
        let mut content = der::only(bytes, der::SEQUENCE)?;
        let version = der::take(&mut content, der::INTEGER)?;
        let algorithm = der::take(&mut content, der::SEQUENCE)?;
        let private = der::take(&mut content, der::OCTET_STRING)?;
        let _ = der::take(&mut content, ATTRIBUTES);
        let public = match der::take(&mut content, PUBLIC) {
            Some(bits) => Some(der::bits(bits)?),
            None => None,
        };
        // A public key is there from version 1 on.
        let known = matches!((version, public), ([0], None) | ([1], _));
        (known && content.is_empty()).then_some(Self { algorithm, private, public })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::der::{INTEGER, OCTET_STRING, SEQUENCE, element};
    use super::*;

    fn structure(version: &[u8], behind: &[&[u8]]) -> Vec<u8> {
        let parts = [element(INTEGER, &[version]), element(SEQUENCE, &[b"id"]), element(OCTET_STRING, &[b"key"])];
        element(SEQUENCE, &[&parts.concat(), &behind.concat()])
    }

    #[test]
    fn all_of_it_is_told_apart_and_nothing_else_is_there() {
        let (attributes, public) = (element(0xa0, &[b"any"]), element(0x81, &[b"\0public"]));
        let parse = |version: &[u8], behind: &[&[u8]]| {
            let bytes = structure(version, behind);
            Pkcs8::parse(&bytes).map(|parts| {
                assert_eq!((parts.algorithm, parts.private), (&b"id"[..], &b"key"[..]));
                parts.public.map(<[u8]>::to_vec)
            })
        };
        let there = Some(Some(b"public".to_vec()));
        assert_eq!(
            (parse(&[0], &[]), parse(&[1], &[]), parse(&[0], &[&attributes])),
            (Some(None), Some(None), Some(None))
        );
        assert_eq!((parse(&[1], &[&public]), parse(&[1], &[&attributes, &public])), (there.clone(), there));
        for (version, behind) in [
            (&[0][..], &[&public[..]][..]),
            (&[2], &[]),
            (&[], &[]),
            (&[0, 1], &[]),
            (&[1], &[&public, &attributes]),
            (&[1], &[&public, &public]),
            (&[1], &[&element(0x81, &[b"\x01bits"])]),
            (&[1], &[&element(0x81, &[])]),
            (&[0], &[b"\0"]),
        ] {
            assert_eq!(parse(version, behind), None, "{version:?} {behind:?}");
        }
        let whole = structure(&[0], &[]);
        assert!((0..whole.len()).all(|len| Pkcs8::parse(&whole[..len]).is_none()));
        assert!(Pkcs8::parse(&[&whole[..], b"\0"].concat()).is_none());
    }
}
