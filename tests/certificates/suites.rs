//! Public suites of chains: [x509-limbo](https://github.com/C2SP/x509-limbo) and NIST's PKITS.
//!
//! A case ends as the suite says, or it is in the list of differences, with the reason; one that is listed and ends as the suite
//! says fails the test as well. Names are not looked at: those in the suites are not of flows.

use std::collections::BTreeMap;

use o7s::crypto::certificate::{Certificate, Date, Limits, TrustStore};
use o7s::crypto::pem;
use serde_json::Value;

use crate::file;

/// The time of cases that name none.
const USUAL: u64 = 1_750_000_000;

struct Suite {
    certificates: Vec<Vec<u8>>,
    cases: Vec<Value>,
}

impl Suite {
    fn load(name: &str) -> Self {
        let suite: Value = serde_json::from_slice(&file(name)).unwrap();
        let der = |text: &Value| {
            let text = text.as_str().unwrap();
            let block = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
            pem::blocks(block.as_bytes()).unwrap()[0].content.to_vec()
        };
        let certificates = suite["certificates"].as_array().unwrap().iter().map(der).collect();
        Self { certificates, cases: suite["cases"].as_array().unwrap().clone() }
    }

    fn certificate(&self, index: &Value) -> &[u8] {
        &self.certificates[usize::try_from(index.as_u64().unwrap()).unwrap()]
    }

    /// What becomes of a case: `Ok`, or the reason.
    fn run(&self, case: &Value) -> Result<(), String> {
        let mut store = TrustStore::new();
        for index in case["authorities"].as_array().unwrap() {
            // What cannot be read at all is not in the store.
            let _ = store.add_authorities(self.certificate(index));
        }
        for index in case["intermediates"].as_array().unwrap() {
            let _ = store.add_intermediates(self.certificate(index));
        }
        let mut limits = Limits::default();
        if let Some(depth) = case["depth"].as_u64() {
            limits = limits.intermediates(usize::try_from(depth).unwrap());
        }
        let now = Date::from_unix(case["time"].as_u64().unwrap_or(USUAL));
        let peer = Certificate::from_der(self.certificate(&case["peer"]), 100_000).map_err(|e| format!("{e:?}"))?;
        store.path(&peer, now, &limits).map(drop).map_err(|e| format!("{e:?}"))
    }

    /// Runs all cases against a list of differences, one a line: the case, a tab, and the reason.
    fn check(&self, differences: &str, cases: usize) {
        let listed: BTreeMap<_, _> = differences
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| line.split_once('\t').unwrap_or_else(|| panic!("no reason in {line:?}")))
            .collect();
        let (mut unexpected, mut different) = (Vec::new(), 0);
        for case in &self.cases {
            let (id, valid) = (case["id"].as_str().unwrap(), case["valid"].as_bool().unwrap());
            let result = self.run(case);
            different += usize::from(result.is_ok() != valid);
            match (result.is_ok() == valid, listed.get(id)) {
                (true, None) | (false, Some(_)) => {}
                (true, Some(_)) => unexpected.push(format!("{id}: as the suite says, but listed")),
                (false, None) => unexpected.push(format!("{id}: valid {valid}, but {result:?}")),
            }
        }
        let unknown = listed.keys().filter(|id| !self.cases.iter().any(|case| case["id"] == **id));
        unexpected.extend(unknown.map(|id| format!("{id}: listed, but no such case")));
        assert!(unexpected.is_empty(), "{unexpected:#?}");
        println!("{} cases, of which {different} end otherwise than the suite says", self.cases.len());
        assert_eq!(self.cases.len(), cases, "cases of the suite");
    }
}

#[test]
fn limbo() {
    Suite::load("limbo.json").check(&String::from_utf8(file("limbo.differences")).unwrap(), 136);
}

#[test]
fn pkits() {
    Suite::load("pkits.json").check(&String::from_utf8(file("pkits.differences")).unwrap(), 95);
}
