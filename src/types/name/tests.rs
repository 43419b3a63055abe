use proptest::prelude::*;

use super::*;

#[test]
fn names_are_checked() {
    assert_eq!(Name::new(""), Err(NameError::Empty));
    assert_eq!(Name::new("a\0b"), Err(NameError::Nul { name: "a\0b".into(), at: 1 }));
    assert!(Name::new(&"x".repeat(255)).is_ok());
    let long = Name::new(&"x".repeat(256)).unwrap_err();
    assert_eq!(long, NameError::TooLong { start: "x".repeat(32).into(), len: 256 });
    let text = long.to_string();
    assert!(
        text.starts_with("invalid name \"xxxx") && text.ends_with("has 256 bytes, and a name has 1 to 255"),
        "{text}"
    );
}

#[test]
fn names_are_found_by_str_in_maps() {
    let map = alloc::collections::BTreeMap::from([(Name::new("a").unwrap(), 1)]);
    assert_eq!(map.get("a"), Some(&1));
}

/// "abc" is the example message of FIPS 202 and RFC 1321.
#[test]
fn hashes_of_known_names() {
    let oping = Name::new("oping").unwrap();
    let abc = Name::new("abc").unwrap();
    for (alg, name, want) in [
        (HashAlg::Sha3_224, &oping, "e098ae7fb0190561dffca699eccb4dcf605f900ee2fe18c71b5efee7"),
        (HashAlg::Sha3_256, &oping, "42dee3b0415b4f690fd91cbd99876f1e9bd8d9745ef7fa32b142773af0349d54"),
        (HashAlg::Md5, &oping, "7862c6fec5ecaef4aa2e3934725e23b3"),
        (HashAlg::Sha3_256, &abc, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        (HashAlg::Md5, &abc, "900150983cd24fb0d6963f7d28e17f72"),
        (
            HashAlg::Sha3_384,
            &abc,
            "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
        ),
        (
            HashAlg::Sha3_512,
            &abc,
            "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e39340\
             57340b4cf408d5a56592f8274eec53f0",
        ),
    ] {
        let hash = alg.hash(name);
        assert_eq!(hash.to_string(), want);
        assert_eq!(hash.as_bytes().len(), alg.len());
    }
}

#[test]
fn algorithms_have_numbers_and_names() {
    for alg in HashAlg::ALL {
        assert_eq!(HashAlg::from_number(alg.number()), Some(alg));
        assert_eq!(alg.to_string().parse(), Ok(alg));
    }
    assert_eq!(HashAlg::from_number(4), None, "CRC-32 is no hash of a name");
    assert_eq!("sha3-512".parse(), Ok(HashAlg::Sha3_512));
    let unknown = "sha3_5".parse::<HashAlg>().unwrap_err().to_string();
    assert_eq!(unknown, "unknown hash algorithm \"sha3_5\": use SHA3_224, SHA3_256, SHA3_384, SHA3_512 or MD5");
}

#[test]
fn hashes_have_bounds() {
    assert!(NameHash::new(&[]).is_none());
    assert!(NameHash::new(&[1; 64]).is_some());
    assert!(NameHash::new(&[1; 65]).is_none());
}

proptest! {
    #[test]
    fn hashes_compare_like_their_bytes(
        a in prop::collection::vec(0u8..3, 1..=64), b in prop::collection::vec(0u8..3, 1..=64),
    ) {
        let (x, y) = (NameHash::new(&a).unwrap(), NameHash::new(&b).unwrap());
        prop_assert_eq!(x.as_bytes(), &a[..]);
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x == y, a == b);
        prop_assert_eq!(format!("{x}").len(), 2 * a.len());
    }

    #[test]
    fn a_prefix_comes_first(a in prop::collection::vec(any::<u8>(), 1..=32), zeros in 1usize..32) {
        let mut longer = a.clone();
        longer.extend(vec![0; zeros]);
        prop_assert!(NameHash::new(&a).unwrap() < NameHash::new(&longer).unwrap());
    }

    #[test]
    fn any_string_is_a_name_or_an_error(s in "\\PC{0,300}|.{0,10}") {
        match Name::new(&s) {
            Ok(n) => prop_assert_eq!(n.as_str(), &s),
            Err(_) => prop_assert!(s.is_empty() || s.len() > 255 || s.contains('\0')),
        }
    }
}
