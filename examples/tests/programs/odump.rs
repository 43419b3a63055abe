//! Captures by the tools, and what odump shows of them.

use std::collections::BTreeSet;
use std::process::Stdio;

use o7s::capture::CaptureStats;

use super::{File, Server, program, text};

#[path = "../../common/losses.rs"]
mod losses;

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
    #[cfg(unix)]
    for file in [&pcap, &keys] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}: whoever can read it can read the flows", file.path());
    }
    // The capture has them, too.
    for options in [&[pcap.path()][..], &["--keys", keys.path(), pcap.path()]] {
        let opened = dump(options);
        assert!(opened.contains("| opened ") && opened.contains("data|drf"), "{opened}");
    }
    let fields = dump(&["--fields", pcap.path()]);
    assert!(fields.contains("    o7s.udp.eid=0\n") && fields.contains("    o7s.frct.flags.data=1\n"), "{fields}");
}

/// Programs that share a key log do not write into each other's lines.
#[test]
fn a_key_log_is_shared_by_programs() {
    let (keys, server) = (File::new("shared-keys", ""), Server::start("oping", &[], Some("X25519")));
    let start = |_| {
        let mut command = program("oping");
        command.args(["-n", "oping", "-c", "1", "-q", "data", "--encrypt", "X25519", "--udp4", "127.0.0.1:0"]);
        command.args(["--host", &format!("oping={}", server.addr)]).env("O7S_KEYLOGFILE", keys.path());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for mut client in (0..8).map(start).collect::<Vec<_>>() {
        assert!(client.wait().unwrap().success());
    }
    let log = std::fs::read_to_string(keys.path()).unwrap();
    let mut flows = BTreeSet::new();
    for line in log.lines() {
        let words: Vec<_> = line.split(' ').collect();
        assert!(words.len() == 3 && words[0] == "O7S_PEER_SESSION_KEY", "{line}");
        assert!(words[1].len() == 32 && words[2].len() == 64, "{line}");
        flows.insert(words[1]);
    }
    assert_eq!(flows.len(), 8, "{log}");
}

#[test]
fn what_a_capture_lacks_is_told_in_words() {
    let mut stats = CaptureStats::default();
    assert!(losses::warnings(&stats, 0).is_empty());
    (stats.lost, stats.keys_lost) = (7, 3);
    let told = losses::warnings(&stats, 5);
    for (told, (of, count)) in told.iter().zip([("packets ", 7), ("keys ", 3), ("keys ", 5)]) {
        assert!(told.starts_with(&format!("warning: {of}")) && told.ends_with(&format!(": {count}")), "{told}");
    }
    assert_eq!(told.len(), 3);
}

#[cfg(target_os = "linux")]
#[test]
fn keys_that_the_key_log_did_not_take_are_told_at_the_end() {
    let server = Server::start("oping", &[], Some("X25519"));
    let host = format!("oping={}", server.addr);
    let mut command = program("oping");
    command.args([
        "-n",
        "oping",
        "-c",
        "2",
        "-i",
        "1ms",
        "--encrypt",
        "X25519",
        "--udp4",
        "127.0.0.1:0",
        "--host",
        &host,
    ]);
    let output = command.env("O7S_KEYLOGFILE", "/dev/full").output().unwrap();
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    let key = "warning: keys that could not be written to the key log, which does not open their flows: 1\n";
    assert!(told.ends_with(key), "{told}");
}

/// A flow between two ends of this library, encrypted, that has nothing to send for a while.
const IDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/captures/o7s-idle.pcapng");

#[test]
fn an_address_is_printed_once_and_keepalives_as_such() {
    let shown = dump(&[IDLE]);
    for line in shown.lines() {
        assert_eq!(line.matches("10.0.0.1:3435").count(), 1, "{line}");
        assert!(line.contains(" udp4 < 10.0.0.2:3435 > ") || line.contains(" udp4 > 10.0.0.1:3435 > "), "{line}");
    }
    assert!(shown.lines().filter(|line| line.ends_with("| opened 0 bytes | keepalive")).count() >= 4, "{shown}");
    assert!(!shown.contains("not understood"), "{shown}");
}

/// What odump prints of a file with these bytes: status, output, errors.
fn dumped(name: &str, bytes: &[u8], options: &[&str]) -> (Option<i32>, String, String) {
    let file = File::new(name, "");
    std::fs::write(file.path(), bytes).unwrap();
    let output = program("odump").args(options).arg(file.path()).output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn files_without_packets_and_cut_ones_are_told() {
    let whole = std::fs::read(IDLE).unwrap();
    let (status, shown, said) = dumped("whole", &whole, &[]);
    assert_eq!((status, said.as_str()), (Some(0), ""));
    let lines = shown.lines().count();
    let (status, _, said) = dumped("empty", b"", &[]);
    assert!(status == Some(1) && said.contains("not a capture: it is empty"), "{status:?}: {said}");
    let (status, _, said) = dumped("head", &whole[..10], &[]);
    assert!(status == Some(1) && said.contains("not a capture: it ends in its header"), "{status:?}: {said}");
    let (status, shown, said) = dumped("cut", &whole[..whole.len() - 7], &[]);
    assert!(shown.lines().count() <= lines, "{shown}");
    assert!(status == Some(0) && said.contains("it is cut off in the middle of a packet"), "{status:?}: {said}");
    // A section and no more.
    let section = u32::from_le_bytes(*whole[4..].first_chunk().unwrap()) as usize;
    let (status, shown, said) = dumped("section", &whole[..section], &[]);
    assert_eq!((status, shown.as_str()), (Some(1), ""));
    assert!(said.contains("there is no packet in it"), "{said}");
}

#[test]
fn a_key_log_without_keys_is_told() {
    let log = File::new("no-keys", "CLIENT_RANDOM 00 11\n");
    let (status, _, said) = dumped("keyless", &std::fs::read(IDLE).unwrap(), &["--keys", log.path()]);
    assert_eq!(status, Some(0));
    assert!(said.contains(log.path()) && said.contains("there is no key"), "{said}");
}

#[test]
fn the_help_of_odump_is_about_odump() {
    let help = dump(&["--help"]);
    assert!(!help.contains("the other ends of flows") && !help.contains("layers are left"), "{help}");
    assert!(help.contains("SIGPIPE"), "{help}");
}

#[test]
fn the_dissector_is_printed() {
    let lua = dump(&["--dissector"]);
    assert_eq!(lua.trim_end(), o7s::capture::DISSECTOR.trim_end());
}
