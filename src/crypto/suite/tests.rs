use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;

#[test]
fn names_and_numbers_lead_back() {
    for &c in Cipher::ALL {
        assert_eq!((Cipher::from_nid(c.nid()), c.name().parse()), (Some(c), Ok(c)));
    }
    for &d in Digest::ALL {
        assert_eq!((Digest::from_nid(d.nid()), d.name().parse()), (Some(d), Ok(d)));
    }
    for &k in Kex::ALL {
        assert_eq!((Kex::from_nid(k.nid()), k.name().parse()), (Some(k), Ok(k)));
    }
}

#[test]
fn ranks_follow_the_order() {
    let ranks: Vec<u8> = Kex::ALL.iter().map(|k| k.rank()).collect();
    assert_eq!(ranks, (1..=13).collect::<Vec<u8>>());
    assert!(Kex::ALL.is_sorted() && Cipher::ALL.is_sorted() && Digest::ALL.is_sorted());
}

#[test]
fn unknown_names_are_refused() {
    // 1096 is SHA3-224 and 1036 HKDF for OpenSSL; both look plausible and neither is used.
    for nid in [0, 1, 1036, 1096, u16::MAX] {
        assert_eq!((Cipher::from_nid(nid), Digest::from_nid(nid), Kex::from_nid(nid)), (None, None, None));
    }
    assert_eq!("x25519".parse::<Kex>(), Err(AlgorithmKind::Kex.unknown("x25519")), "case counts");
    assert_eq!("".parse::<Cipher>(), Err(AlgorithmKind::Cipher.unknown("")));
    let unknown = "sha1".parse::<Digest>().unwrap_err().to_string();
    assert_eq!(
        unknown,
        "unknown hash \"sha1\": use blake2s256, sha256, sha3-256, sha384, sha3-384, blake2b512, sha512 or sha3-512"
    );
}

#[test]
fn available_algorithms() {
    for &c in Cipher::ALL {
        assert!(c.is_available(), "{c}");
    }
    for &k in Kex::ALL {
        assert!(k.is_available(), "{k}");
    }
}
