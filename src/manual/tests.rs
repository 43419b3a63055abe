//! The README and the manual say the same, and what they show works.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use alloc::format;
use alloc::vec::Vec;

use crate::NetworkConfig;

const README: &str = include_str!("../../README.md");

/// The lines of the first profile for dependencies in a text.
fn profile(text: &str) -> Vec<&str> {
    let lines = text.lines().skip_while(|line| *line != "[profile.dev.package]");
    lines.take_while(|line| *line != "```").collect()
}

#[test]
fn readme_and_manual_advise_the_same_profile() {
    let advised = profile(README);
    assert_eq!(advised, profile(include_str!("getting_started.md")));
    // Cargo warns of names that nothing has.
    let lock = include_str!("../../Cargo.lock");
    let names: Vec<_> = advised.iter().filter_map(|line| line.strip_suffix(" = { opt-level = 0 }")).collect();
    assert!(names.len() > 2 && names.iter().all(|name| lock.contains(&format!("name = \"{name}\"\n"))), "{names:?}");
}

#[test]
fn network_files_of_the_readme_are_valid() {
    let blocks = README.split("```toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    let files: Vec<_> = blocks.filter(|block| block.contains("bootstrap")).collect();
    assert_eq!(files.len(), 3, "a router, a server, a client");
    for file in files {
        let config: NetworkConfig = file.parse().unwrap();
        assert!(config.warnings().is_empty(), "{:?} in {file}", config.warnings());
    }
}
