//! Captures by the tools, and what odump shows of them.

use super::{File, Server, program, text};

/// Prints a capture.
fn dump(options: &[&str]) -> String {
    let output = program("odump").args(options).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn captures_of_tools_are_shown_and_opened_with_the_key_log() {
    let (pcap, keys) = (File::new("capture", ""), File::new("capture-keys", ""));
    let server = Server::start("oping", &[], Some("X25519"));
    let client = |log: Option<&str>| {
        let mut command = program("oping");
        command.args(["-n", "oping", "-c", "2", "-i", "1ms", "-q", "data", "--encrypt", "X25519"]);
        command.args(["--udp4", "127.0.0.1:0", "--host", &format!("oping={}", server.addr), "--pcap", pcap.path()]);
        command.envs(log.map(|file| ("O7S_KEYLOGFILE", file)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    // Not asked for, there are no keys, and what is encrypted stays closed.
    client(None);
    let closed = dump(&[pcap.path()]);
    assert!(closed.contains("| flow request s_eid ") && closed.contains("| sealed "), "{closed}");
    assert!(!closed.contains("opened"), "{closed}");

    client(Some(keys.path()));
    let log = std::fs::read_to_string(keys.path()).unwrap();
    assert!(log.starts_with("O7S_PEER_SESSION_KEY "), "{log}");
    // The capture has them, too.
    for options in [&[pcap.path()][..], &["--keys", keys.path(), pcap.path()]] {
        let opened = dump(options);
        assert!(opened.contains("| opened ") && opened.contains("data|drf"), "{opened}");
    }
    let fields = dump(&["--fields", pcap.path()]);
    assert!(fields.contains("    o7s.udp.eid=0\n") && fields.contains("    o7s.frct.flags.data=1\n"), "{fields}");
}

#[test]
fn the_dissector_is_printed() {
    let lua = dump(&["--dissector"]);
    assert_eq!(lua.trim_end(), o7s::capture::DISSECTOR.trim_end());
}
