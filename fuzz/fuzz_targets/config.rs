//! Configuration files: no text panics; what is wrong is in the file and said in words, and what is said in vain too; what a
//! configuration prints is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::NetworkConfig;

fuzz_target!(|text: &str| {
    let lines = text.lines().count() + 1;
    match text.parse::<NetworkConfig>() {
        Ok(config) => {
            for warning in config.warnings() {
                assert!(warning.line() <= lines && !warning.to_string().is_empty());
            }
            let printed = config.to_string();
            let again = printed.parse::<NetworkConfig>().unwrap_or_else(|error| panic!("{error}\n{printed}"));
            assert_eq!(again.to_string(), printed);
        }
        Err(error) => {
            assert!(error.line().is_some_and(|line| line <= lines) && error.column() > Some(0));
            let said = error.to_string();
            assert!(!said.is_empty() && said.len() < 4096, "{} bytes", said.len());
        }
    }
});
