//! Configuration files: no text panics; what is wrong is in the file and said in words, and what is said in vain too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::stack::config::{Membership, NetworkConfig};

fuzz_target!(|text: &str| {
    let lines = text.lines().count() + 1;
    match NetworkConfig::parse(text) {
        Ok(config) => {
            for warning in &config.warnings {
                assert!(warning.at.line <= lines && !warning.to_string().is_empty());
            }
            for ipcp in &config.ipcps {
                let enrolled = matches!(ipcp.membership, Membership::Enrol { .. });
                assert!(!enrolled || ipcp.kind.is_recursive());
            }
        }
        Err(error) => {
            assert!(error.position().is_some_and(|at| at.line <= lines && at.column > 0));
            let said = error.to_string();
            assert!(!said.is_empty() && said.len() < 4096, "{} bytes", said.len());
        }
    }
});
