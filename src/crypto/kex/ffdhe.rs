//! Transmitted keys of the groups of finite fields, RFC 7919.
//!
//! They have no constant prefix: the public number is as short as it can be, and the reference also takes a length of the
//! private number behind the generator. So the group is found by its prime.

#[cfg(feature = "kex-ffdhe")]
use alloc::vec::Vec;

use crate::crypto::der::{self, BIT_STRING, INTEGER, OBJECT_IDENTIFIER, SEQUENCE};
use crate::crypto::suite::Kex;

/// Diffie-Hellman of PKCS #3: 1.2.840.113549.1.3.1.
const DH: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01";
/// Of every group.
pub(crate) const GENERATOR: u8 = 2;

/// A group: numbers modulo a prime.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) kex: Kex,
    /// The prime, big-endian.
    pub(crate) prime: &'static [u8],
}

pub(crate) static FFDHE2048: Group = Group { kex: Kex::Ffdhe2048, prime: &from_hex::<256>(PRIME_2048) };
pub(crate) static FFDHE3072: Group = Group { kex: Kex::Ffdhe3072, prime: &from_hex::<384>(PRIME_3072) };
pub(crate) static FFDHE4096: Group = Group { kex: Kex::Ffdhe4096, prime: &from_hex::<512>(PRIME_4096) };

impl Group {
    const ALL: [&Self; 3] = [&FFDHE2048, &FFDHE3072, &FFDHE4096];

    /// The transmitted form of a public number, big-endian.
    #[cfg(feature = "kex-ffdhe")]
    pub(crate) fn wrap(&self, public: &[u8]) -> Vec<u8> {
        let parameters = der::element(SEQUENCE, &[&der::integer(self.prime), &der::integer(&[GENERATOR])]);
        let algorithm = der::element(SEQUENCE, &[&der::element(OBJECT_IDENTIFIER, &[DH]), &parameters]);
        // No bit of the last byte is unused.
        let key = der::element(BIT_STRING, &[&[0], &der::integer(public)]);
        der::element(SEQUENCE, &[&algorithm, &key])
    }
}

/// The group of a transmitted key, and its public number, which may be any; `None` if it is not exactly such a key.
pub(crate) fn unwrap<'a>(transmitted: &'a [u8]) -> Option<(&'static Group, &'a [u8])> {
    let number = |from: &mut &'a [u8]| der::unsigned(der::take(from, INTEGER)?);
    let mut whole = der::only(transmitted, SEQUENCE)?;
    let mut algorithm = der::take(&mut whole, SEQUENCE)?;
    if der::take(&mut algorithm, OBJECT_IDENTIFIER)? != DH {
        return None;
    }
    let mut parameters = der::only(algorithm, SEQUENCE)?;
    let prime = number(&mut parameters)?;
    let group = *Group::ALL.iter().find(|group| group.prime == prime)?;
    if number(&mut parameters)? != [GENERATOR] {
        return None;
    }
    if !parameters.is_empty() {
        // The bits of the sender's private number, which are nobody's concern.
        number(&mut parameters)?;
    }
    let mut key = der::bits(der::only(whole, BIT_STRING)?)?;
    let public = number(&mut key)?;
    (parameters.is_empty() && key.is_empty()).then_some((group, public))
}

/// The bytes of digits in hex, with line ends and blanks between them. An index beyond the end fails to compile.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, of constants alone")]
const fn from_hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let (mut at, mut done) = (0, 0);
    while at < digits.len() {
        let digit = match digits[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            _ => 16,
        };
        if digit < 16 {
            out[done / 2] = out[done / 2] << 4 | digit;
            done += 1;
        }
        at += 1;
    }
    assert!(done == 2 * N);
    out
}

const PRIME_2048: &[u8] = b"
    ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef9
    7d2fe363630c75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935
    984f0c70e0e68b77e2a689daf3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fb
    b96adab760d7f4681d4f42a3de394df4ae56ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f61
    9172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad733bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa
    886b423861285c97ffffffffffffffff
";

const PRIME_3072: &[u8] = b"
    ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef9
    7d2fe363630c75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935
    984f0c70e0e68b77e2a689daf3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fb
    b96adab760d7f4681d4f42a3de394df4ae56ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f61
    9172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad733bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa
    886b4238611fcfdcde355b3b6519035bbc34f4def99c023861b46fc9d6e6c9077ad91d2691f7f7ee598cb0fac186d91c
    aefe130985139270b4130c93bc437944f4fd4452e2d74dd364f2e21e71f54bff5cae82ab9c9df69ee86d2bc522363a0d
    abc521979b0deada1dbf9a42d5c4484e0abcd06bfa53ddef3c1b20ee3fd59d7c25e41d2b66c62e37ffffffffffffffff
";

const PRIME_4096: &[u8] = b"
    ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef9
    7d2fe363630c75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935
    984f0c70e0e68b77e2a689daf3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fb
    b96adab760d7f4681d4f42a3de394df4ae56ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f61
    9172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad733bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa
    886b4238611fcfdcde355b3b6519035bbc34f4def99c023861b46fc9d6e6c9077ad91d2691f7f7ee598cb0fac186d91c
    aefe130985139270b4130c93bc437944f4fd4452e2d74dd364f2e21e71f54bff5cae82ab9c9df69ee86d2bc522363a0d
    abc521979b0deada1dbf9a42d5c4484e0abcd06bfa53ddef3c1b20ee3fd59d7c25e41d2b669e1ef16e6f52c3164df4fb
    7930e9e4e58857b6ac7d5f42d69f6d187763cf1d5503400487f55ba57e31cc7a7135c886efb4318aed6a1e012d9e6832
    a907600a918130c46dc778f971ad0038092999a333cb8b7a1a1db93d7140003c2a4ecea9f98d0acc0a8291cdcec97dcf
    8ec9b55a7f88a46b4db5a851f44182e1c68a007e5e655f6affffffffffffffff
";
