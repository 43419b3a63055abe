//! Project Wycheproof: signatures that implementations got wrong.
//!
//! What the suite calls acceptable is refused here. Each family counts what it ran: a file that is renamed or emptied fails the
//! test.

use o7s::crypto::sign::{KeyKind, PublicKey};
use o7s::crypto::suite::Digest;
use wycheproof::{HashFunction, Mgf, TestResult, ecdsa, eddsa, mldsa_verify, rsa_pkcs1_verify, rsa_pss_verify};

fn digest(hash: HashFunction) -> Option<Digest> {
    match hash {
        HashFunction::Sha2_256 => Some(Digest::Sha256),
        HashFunction::Sha2_384 => Some(Digest::Sha384),
        HashFunction::Sha2_512 => Some(Digest::Sha512),
        HashFunction::Sha3_256 => Some(Digest::Sha3_256),
        HashFunction::Sha3_384 => Some(Digest::Sha3_384),
        HashFunction::Sha3_512 => Some(Digest::Sha3_512),
        _ => None,
    }
}

fn verifies(spki: &[u8], digest: Option<Digest>, message: &[u8], signature: &[u8]) -> bool {
    PublicKey::from_spki(spki).is_ok_and(|key| key.verify(message, digest, signature).is_ok())
}

/// Results that are not as expected, of all.
#[derive(Default)]
struct Tally {
    run: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: &str, case: usize, comment: &str, expected: bool, found: bool) {
        self.run += 1;
        if found != expected {
            self.wrong.push(format!("{what} {case} ({comment}): {found}"));
        }
    }

    #[track_caller]
    fn check(&self, run: usize) {
        assert_eq!(self.wrong, Vec::<String>::new());
        println!("{} cases", self.run);
        assert_eq!(self.run, run, "cases that were run");
    }
}

/// ECDSA with the hashes of the protocol. Others, and other curves, are not its own.
#[test]
fn ecdsa() {
    use ecdsa::TestName;
    let mut tally = Tally::default();
    for name in TestName::all() {
        let what = format!("{name:?}");
        let ours = ["Secp256r1Sha", "Secp384r1Sha", "Secp521r1Sha"].iter().any(|curve| what.contains(curve));
        if !ours || what.contains("P1363") || what.contains("Shake") {
            continue;
        }
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let digest = digest(group.hash).unwrap_or_else(|| panic!("{what} {:?}", group.hash));
            for case in group.tests {
                let found = verifies(&group.der, Some(digest), &case.msg, &case.sig);
                tally.count(&what, case.tc_id, &case.comment, case.result == TestResult::Valid, found);
            }
        }
    }
    tally.check(5702);
}

#[test]
fn eddsa() {
    let mut tally = Tally::default();
    let mut run = 0;
    for (name, kind, cases) in
        [(eddsa::TestName::Ed25519, KeyKind::Ed25519, 151), (eddsa::TestName::Ed448, KeyKind::Ed448, 87)]
    {
        if !kind.is_available() {
            continue;
        }
        run += cases;
        for group in eddsa::TestSet::load(name).unwrap().test_groups {
            for case in group.tests {
                let found = verifies(&group.der, None, &case.msg, &case.sig);
                tally.count(kind.name(), case.tc_id, &case.comment, case.result == TestResult::Valid, found);
            }
        }
    }
    tally.check(run);
}

/// ML-DSA. A signature with a context is none for the protocol, which has an empty one.
#[test]
fn ml_dsa() {
    if !KeyKind::MlDsa65.is_available() {
        return;
    }
    let mut tally = Tally::default();
    for name in mldsa_verify::TestName::all() {
        for group in mldsa_verify::TestSet::load(name).unwrap().test_groups {
            for case in group.tests {
                let found = verifies(&group.der, None, &case.msg, &case.sig);
                let empty = case.ctx.as_ref().is_none_or(|context| context.is_empty());
                let expected = case.result == TestResult::Valid && empty;
                tally.count(&format!("{name:?}"), case.tc_id, &case.comment, expected, found);
            }
        }
    }
    tally.check(631);
}

/// RSA with PKCS #1 v1.5, of 2048 to 8192 bits.
#[test]
fn rsa() {
    if !KeyKind::Rsa.is_available() {
        return;
    }
    let mut tally = Tally::default();
    for name in rsa_pkcs1_verify::TestName::all() {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let Some(digest) = digest(group.hash) else { continue };
            for case in group.tests {
                let found = verifies(&group.der, Some(digest), &case.msg, &case.sig);
                tally.count(&format!("{name:?}"), case.tc_id, &case.comment, case.result == TestResult::Valid, found);
            }
        }
    }
    tally.check(4655);
}

/// RSA with PSS, as certificates may be signed: of the parameters that are supported.
#[cfg(feature = "sign-rsa")]
#[test]
fn rsa_pss() {
    let mut tally = Tally::default();
    for name in rsa_pss_verify::TestName::all() {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let Some(digest) = digest(group.hash) else { continue };
            let same = matches!(group.mgf, Mgf::Mgf1) && group.mgf_hash == Some(group.hash);
            if !same || group.salt_size != digest.len() {
                continue;
            }
            for case in group.tests {
                let found = o7s::crypto::sign::verify_pss(&group.asn_key, digest, &case.msg, &case.sig).is_ok();
                tally.count(&format!("{name:?}"), case.tc_id, &case.comment, case.result == TestResult::Valid, found);
            }
        }
    }
    tally.check(1186);
}
