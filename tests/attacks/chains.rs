//! Chains of certificates that lead nowhere, or should not, in the messages of both ends: who shows them is refused by the end that
//! asks, for the reason that it is told.

use o7s::crypto::certificate::{CertificateError, NameFault, Unusable};
use o7s::crypto::sign::KeyError;
use o7s::oap::OapError;

use crate::identity::{OWNER, ROLES, Role, good, issued, leaf, root, store};
use crate::issue::{
    ALTERNATIVE_NAME, BASIC_CONSTRAINTS, CERT_SIGN, DAY, DIGITAL_SIGNATURE, KEY_AGREEMENT, KEY_USAGE, NAME_CONSTRAINTS,
    NOW, UTF8, Wanted, attribute, cn, key, sequence, subject, tlv,
};

/// A certificate, the authorities and intermediates of the end that judges it, and the reason for which it is refused.
struct Chain {
    what: &'static str,
    certificate: Vec<u8>,
    authorities: Vec<Vec<u8>>,
    intermediates: Vec<Vec<u8>>,
    refused: fn(&CertificateError) -> bool,
}

impl Chain {
    fn new(what: &'static str, certificate: Vec<u8>, refused: fn(&CertificateError) -> bool) -> Self {
        Self { what, certificate, authorities: vec![root()], intermediates: Vec::new(), refused }
    }

    fn of(mut self, authorities: Vec<Vec<u8>>) -> Self {
        self.authorities = authorities;
        self
    }

    fn by_way_of(mut self, intermediates: Vec<Vec<u8>>) -> Self {
        self.intermediates = intermediates;
        self
    }
}

fn named(name: &[u8]) -> Vec<u8> {
    issued(leaf("bank", OWNER).subject(subject(&[attribute(3, UTF8, name)])))
}

fn between(wanted: impl FnOnce(Wanted) -> Wanted) -> Vec<u8> {
    wanted(Wanted::authority("between", &key(2))).issue(&cn("root"), &key(1))
}

fn by_between() -> Vec<u8> {
    leaf("bank", OWNER).issue(&cn("between"), &key(2))
}

/// So many intermediates, one below the other, and a leaf below the last.
fn deep(intermediates: u8) -> (Vec<Vec<u8>>, Vec<u8>) {
    let name = |n: u8| if n == 0 { "root".to_owned() } else { format!("number {n}") };
    let of = |n: u8| if n == 0 { key(1) } else { key(100 + n) };
    let all =
        (1..=intermediates).map(|n| Wanted::authority(&name(n), &of(n)).issue(&cn(&name(n - 1)), &of(n - 1))).collect();
    (all, leaf("bank", OWNER).issue(&cn(&name(intermediates)), &of(intermediates)))
}

fn wrong_chains() -> Vec<Chain> {
    use CertificateError as E;
    let other = || Wanted::authority("root", &key(7)).issue_to_itself(&key(7));
    let valid = |from, to| issued(leaf("bank", OWNER).validity(from, to));
    vec![
        Chain::new("an authority that is not known", good(), |e| matches!(e, E::UnknownIssuer { .. })).of(vec![]),
        Chain::new("an authority of the same name", good(), |e| matches!(e, E::Forged { .. })).of(vec![other()]),
        Chain::new("no authority above the issuer", by_between(), |e| matches!(e, E::UnknownIssuer { .. })),
        Chain::new("its own issuer", leaf("bank", OWNER).issue_to_itself(&key(OWNER)), |e| {
            matches!(e, E::UnknownIssuer { .. })
        }),
        Chain::new("expired", valid(NOW - 9 * DAY, NOW - 1), |e| matches!(e, E::CertificateExpired { .. })),
        Chain::new("not yet valid", valid(NOW + 1, NOW + 9 * DAY), |e| matches!(e, E::NotYetValid { .. })),
        Chain::new("over before it begins", valid(NOW + DAY, NOW - DAY), |e| matches!(e, E::Validity { .. })),
        Chain::new("an expired authority", good(), |e| matches!(e, E::CertificateExpired { .. }))
            .of(vec![Wanted::authority("root", &key(1)).validity(NOW - 9 * DAY, NOW - DAY).issue_to_itself(&key(1))]),
        Chain::new("an expired intermediate", by_between(), |e| matches!(e, E::CertificateExpired { .. }))
            .by_way_of(vec![between(|w| w.validity(NOW - 9 * DAY, NOW - DAY))]),
    ]
}

fn wrong_names() -> Vec<Chain> {
    use CertificateError as E;
    fn character(e: &CertificateError) -> bool {
        matches!(e, CertificateError::Name { fault: NameFault::Character, .. })
    }
    fn wrong(e: &CertificateError) -> bool {
        matches!(e, CertificateError::WrongName { .. })
    }
    let alternative = sequence(&[&tlv(0x82, b"bank")]);
    vec![
        Chain::new("another name", named(b"other"), wrong),
        Chain::new("a wildcard", named(b"*"), wrong),
        Chain::new("a wildcard with a dot", named(b"*.bank"), wrong),
        Chain::new("a name with a beginning", named(b"ban"), wrong),
        Chain::new("a name with an end", named(b"bank.evil"), wrong),
        Chain::new("capitals", named(b"BANK"), wrong),
        Chain::new("a NUL and more", named(b"bank\0evil"), character),
        Chain::new("a NUL at the end", named(b"bank\0"), character),
        Chain::new("a NUL alone", named(b"\0"), character),
        Chain::new("a comma", named(b"bank,evil"), character),
        Chain::new(
            "an alternative name",
            issued(leaf("other", OWNER).extension(ALTERNATIVE_NAME, false, &alternative)),
            wrong,
        ),
        Chain::new(
            "two names",
            {
                issued(
                    leaf("bank", OWNER).subject(subject(&[attribute(3, UTF8, b"bank"), attribute(3, UTF8, b"evil")])),
                )
            },
            |e| matches!(e, E::Name { fault: NameFault::Several, .. }),
        ),
        Chain::new("no name", issued(leaf("bank", OWNER).subject(subject(&[attribute(10, UTF8, b"bank")]))), |e| {
            matches!(e, E::Name { fault: NameFault::None, .. })
        }),
        Chain::new(
            "the name in another attribute",
            {
                issued(
                    leaf("x", OWNER).subject(subject(&[attribute(10, UTF8, b"CN=bank"), attribute(3, UTF8, b"evil")])),
                )
            },
            wrong,
        ),
    ]
}

fn wrong_usages() -> Vec<Chain> {
    use CertificateError as E;
    let permitted = sequence(&[&tlv(0xa0, &sequence(&[&tlv(0x82, b"example")]))]);
    let not_ca = between(|w| w.extension(BASIC_CONSTRAINTS, true, &[0x30, 0]));
    let no_sign = between(|w| w.extension(KEY_USAGE, true, DIGITAL_SIGNATURE));
    let constrained = between(|w| w.extension(NAME_CONSTRAINTS, true, &permitted));
    let short = between(|w| w.extension(BASIC_CONSTRAINTS, true, &[0x30, 6, 1, 1, 0xff, 2, 1, 0]));
    let below = Wanted::authority("below", &key(3)).issue(&cn("between"), &key(2));
    // A program's certificate is no authority, though it is signed by one.
    let program = leaf("program", 2).issue(&cn("root"), &key(1));
    vec![
        Chain::new("a key for agreement", issued(leaf("bank", OWNER).extension(KEY_USAGE, true, KEY_AGREEMENT)), |e| {
            matches!(e, E::Usage { .. })
        }),
        Chain::new("a key for certificates", issued(leaf("bank", OWNER).extension(KEY_USAGE, true, CERT_SIGN)), |e| {
            matches!(e, E::Usage { .. })
        }),
        Chain::new("an authority as a peer", issued(Wanted::authority("bank", &key(OWNER))), |e| {
            matches!(e, E::Authority { .. })
        }),
        Chain::new(
            "constraints on names",
            issued(leaf("bank", OWNER).extension(NAME_CONSTRAINTS, true, &permitted)),
            |e| matches!(e, E::NameConstraints { .. }),
        ),
        Chain::new("an issuer that is none", by_between(), |e| {
            matches!(e, E::Issuer { reason: Unusable::NotAuthority, .. })
        })
        .by_way_of(vec![not_ca]),
        Chain::new("an issuer that may not issue", by_between(), |e| {
            matches!(e, E::Issuer { reason: Unusable::NoCertSign, .. })
        })
        .by_way_of(vec![no_sign]),
        Chain::new("an issuer with constraints", by_between(), |e| {
            matches!(e, E::Issuer { reason: Unusable::NameConstraints, .. })
        })
        .by_way_of(vec![constrained]),
        Chain::new("a program as an issuer", leaf("bank", OWNER).issue(&cn("program"), &key(2)), |e| {
            matches!(e, E::Issuer { reason: Unusable::NotAuthority, .. })
        })
        .by_way_of(vec![program]),
        Chain::new("an issuer below one that allows none", leaf("bank", OWNER).issue(&cn("below"), &key(3)), |e| {
            matches!(e, E::PathLength { .. })
        })
        .by_way_of(vec![short, below]),
    ]
}

fn absurd_sizes() -> Vec<Chain> {
    use CertificateError as E;
    let names = |n: usize| {
        let all: Vec<_> = (0..n).map(|n| tlv(0x82, format!("name{n}.example").as_bytes())).collect();
        issued(leaf("bank", OWNER).extension(ALTERNATIVE_NAME, false, &tlv(0x30, &all.concat())))
    };
    let attributes =
        |n: usize| (0..n).map(|n| attribute(11, UTF8, &[(n >> 7) as u8, (n & 127) as u8])).collect::<Vec<_>>();
    let (too_many, at_the_end) = deep(5);
    let (far_too_many, at_their_end) = deep(40);
    let huge = {
        let n = tlv(2, &[&[0], &[0xff; 2048][..]].concat());
        let rsa = sequence(&[&n, &[2, 3, 1, 0, 1]]);
        let bits = tlv(3, &[&[0], &rsa[..]].concat());
        sequence(&[b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00", &bits])
    };
    let mut all = vec![
        Chain::new("the largest that a message has room for", vec![0x30; 65_535], |e| {
            matches!(e, E::TooLarge { len: 65_535, max: 32_768 })
        }),
        Chain::new("3000 alternative names", names(3000), |e| matches!(e, E::TooLarge { .. })),
        Chain::new("2000 attributes", issued(leaf("x", OWNER).subject(subject(&attributes(2000)))), |e| {
            matches!(e, E::Malformed)
        }),
        Chain::new("not quite a certificate", good()[..good().len() - 1].to_vec(), |e| matches!(e, E::Malformed)),
        Chain::new("five issuers in a row", at_the_end, |e| matches!(e, E::TooDeep { max: 4, .. })).by_way_of(too_many),
        Chain::new("forty issuers in a row", at_their_end, |e| matches!(e, E::TooDeep { .. } | E::TooComplex { .. }))
            .by_way_of(far_too_many),
    ];
    if cfg!(feature = "sign-rsa") {
        let rsa = issued(Wanted { spki: huge, ..leaf("bank", OWNER) });
        all.push(Chain::new("a key of 16384 bits", rsa, |e| {
            matches!(e, E::WeakKey { reason: KeyError::RsaSize { bits: 16_384 }, .. })
        }));
    }
    all
}

/// Has an end show this certificate, and sign as it should. The one that shows it need not believe in it.
fn shown(chain: &Chain, role: Role) -> Result<Option<Box<str>>, OapError> {
    let ends = role.ends(&store(&chain.authorities, &chain.intermediates));
    role.judged(&ends, &role.resigned(&chain.certificate, &key(OWNER)))
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    for chain in [wrong_chains(), wrong_names(), wrong_usages(), absurd_sizes()].into_iter().flatten() {
        for role in ROLES {
            let error = shown(&chain, role).expect_err(chain.what);
            // The peer learns no more than that it is not known here.
            assert_eq!(error.refusal_code(), -1009, "{}", chain.what);
            match &error {
                OapError::Peer(why) => assert!((chain.refused)(why), "{}: {why:?}", chain.what),
                // A server has no name that it wants, but may have several that it allows.
                OapError::PeerName(_) if role == Role::Client => {
                    let (expected, found) = ("bank".into(), "".into());
                    assert!((chain.refused)(&CertificateError::WrongName { expected, found }), "{}", chain.what);
                }
                other => panic!("{} of a {role:?}: {other:?}", chain.what),
            }
        }
    }
}

/// What is next to the limits is taken: they are no pretext.
#[test]
fn what_is_next_to_wrong_is_accepted() {
    let valid = |from, to| issued(leaf("bank", OWNER).validity(from, to));
    let never = |_: &CertificateError| false;
    let (as_deep_as_allowed, at_the_end) = deep(4);
    let copies = [(NOW - 9 * DAY, NOW - DAY), (NOW - DAY, NOW + DAY)];
    let copies =
        copies.map(|(from, to)| Wanted::authority("root", &key(1)).validity(from, to).issue_to_itself(&key(1)));
    let roots = [7, 1].map(|n| Wanted::authority("root", &key(n)).issue_to_itself(&key(n)));
    let chains = vec![
        Chain::new("the usual", good(), never),
        Chain::new("in its last second", valid(NOW - DAY, NOW), never),
        Chain::new("in its first second", valid(NOW, NOW + DAY), never),
        Chain::new("an intermediate", by_between(), never).by_way_of(vec![between(|w| w)]),
        Chain::new("four issuers in a row", at_the_end, never).by_way_of(as_deep_as_allowed),
        Chain::new("no word of usage", issued(leaf("bank", OWNER).without(KEY_USAGE)), never),
        Chain::new("an expired copy of the authority", good(), never).of(copies.to_vec()),
        Chain::new("and in the other order", good(), never).of(copies.iter().rev().cloned().collect()),
        Chain::new("two authorities of one name", good(), never).of(roots.to_vec()),
        Chain::new("and in the other order", good(), never).of(roots.iter().rev().cloned().collect()),
    ];
    for chain in chains {
        for role in ROLES {
            assert_eq!(shown(&chain, role), Ok(Some("bank".into())), "{} of a {role:?}", chain.what);
        }
    }
}
