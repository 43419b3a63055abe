//! The program `timeline`. `cargo test` builds it; for this test alone run `cargo build --profile test --examples` first.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::process::Command;

fn drawing(options: &[&str]) -> String {
    let exe = std::env::current_exe().unwrap();
    // target/<profile>/deps/timeline-… beside target/<profile>/examples
    let path = exe.ancestors().nth(2).unwrap().join("examples/timeline");
    let output = Command::new(path).args(options).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn losses_are_drawn_and_drawings_are_repeatable() {
    let lossless = drawing(&["--duration", "2", "--rate", "1000"]);
    assert!(lossless.starts_with("<svg") && lossless.ends_with("</svg>\n"), "{lossless}");
    let lossy = drawing(&["--duration", "2", "--rate", "1000", "--loss", "1"]);
    assert!(lossy.contains("#cc0000"), "no retransmission is marked: {lossy}");
    assert_eq!(lossy, drawing(&["--duration", "2", "--rate", "1000", "--loss", "1"]));
}

#[test]
fn a_live_flow_is_drawn() {
    let live = drawing(&["--duration", "1", "--live"]);
    assert!(live.starts_with("<svg") && live.ends_with("</svg>\n"), "{live}");
    let lines = |drawing: &str| drawing.matches("<polyline").count() + drawing.matches("<path").count();
    // The axes alone are fewer; how many marks of lost packets there are is a matter of chance.
    assert!(lines(&live) > 10, "{live}");
}
