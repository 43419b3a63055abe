//! Status of programs at their end, of those that have no flow with another process: what was asked for, what
//! cannot be opened or written, and outputs that nobody reads.

use std::os::unix::process::ExitStatusExt as _;

use super::*;

/// SIGPIPE, by which a program ends whose output nobody reads.
const SIGPIPE: i32 = 13;

/// A capture of the repository.
fn captured() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/captures/auth-dix-ec.pcap").to_owned()
}

/// Programs with options with which they do something short and print it.
fn programs() -> Vec<(&'static str, Vec<String>)> {
    let options = |all: &[&str]| all.iter().map(|&option| option.to_owned()).collect::<Vec<_>>();
    vec![
        ("odump", vec![captured()]),
        ("odump", options(&["--dissector"])),
        ("bottleneck", options(&["--only", "1 Mb/s, 100 ms, queue 50"])),
        ("congestion", options(&["-n", "1", "-r", "1M", "-d", "1s"])),
        ("timeline", options(&["--duration", "1", "--rate", "1"])),
        ("timeline", options(&["--duration", "1", "--live"])),
    ]
}

#[test]
fn what_was_done_ends_with_status_0() {
    for (name, options) in programs() {
        let output = program(name).args(&options).output().unwrap();
        let said = text(&output.stdout);
        assert_eq!(
            (output.status.code(), text(&output.stderr)),
            (Some(0), String::new()),
            "{name} {options:?}: {said}"
        );
        assert!(!said.is_empty(), "{name} {options:?}");
    }
}

#[test]
fn what_cannot_be_opened_or_written_ends_with_status_1() {
    let cases: [(&str, &[&str]); 5] = [
        ("odump", &["/no such file"]),
        ("switch", &["nosuch0", "nosuch1"]),
        ("bottleneck", &["--only", "no such row", "--svg", "/no such directory/a.svg"]),
        ("congestion", &["-n", "1", "-r", "1M", "-d", "1s", "--svg", "/no such directory/a.svg"]),
        ("timeline", &["--duration", "1", "--rate", "1", "--svg", "/no such directory/a.svg"]),
    ];
    for (name, options) in cases {
        let output = program(name).args(options).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(
            said.starts_with("error: ") && (said.contains("no such") || said.contains("nosuch0")),
            "{name}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
    }
}

#[test]
fn outputs_that_nobody_reads_end_programs_quietly() {
    for (name, options) in programs() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(name).args(&options).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!(
            (output.status.signal(), text(&output.stderr)),
            (Some(SIGPIPE), String::new()),
            "{name} {options:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn outputs_that_take_no_more_are_errors() {
    for (name, options) in programs() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program(name).args(&options).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name} {options:?}: {said}");
        assert!(said.starts_with("error: standard output: "), "{name} {options:?}: {said}");
    }
}

#[test]
fn addresses_that_cannot_be_used_are_named() {
    for (addr, why) in [
        ("nowhere", "\"nowhere\" is not an address"),
        ("", "\"\" is not an address"),
        ("0.0.0.0", "\"0.0.0.0\" is every address of a host that listens"),
        ("[::]:3435", "\"[::]:3435\" is every address"),
    ] {
        let host = format!("oping={addr}");
        let output = program("oping").args(["-c", "1", "--udp4", "127.0.0.1:0", "--host", &host]).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(why), "{addr}: {said}");
    }
}
