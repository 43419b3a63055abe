//! The short examples: each does what it is an example of.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// What an example prints.
fn run(name: &str, args: &[&str]) -> String {
    let output = program(name).args(args).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{name}: {}\n{said}{}", output.status, text(&output.stderr));
    said
}

#[test]
fn echo() {
    let said = run("echo", &[]);
    assert_eq!(said, "\"hello\" came back as \"hello\"\n\"is anybody there?\" came back as \"is anybody there?\"\n");
}

#[test]
fn send_file() {
    let path = std::env::temp_dir().join(format!("o7s-sent-{}", std::process::id()));
    let data: Vec<u8> =
        (0..3_000_000_u32).flat_map(|i| i.wrapping_mul(0x9e37_79b1).to_le_bytes().into_iter().take(1)).collect();
    std::fs::write(&path, &data).unwrap();
    let said = run("send_file", &[path.to_str().unwrap()]);
    let (protected, received) = said.split_once('\n').unwrap();
    assert!(protected.starts_with("the flow is encrypted (X25519, "), "{said}");
    let received = received.trim_end().strip_prefix("received 3000000 bytes as ").unwrap();
    assert!(std::fs::read(received).unwrap() == data);
    std::fs::remove_file(received).unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn send_file_says_what_it_cannot_send() {
    let folder = std::env::temp_dir();
    for (path, why) in [("/no such file", "/no such file: "), (folder.to_str().unwrap(), " is not a file")] {
        let output = program("send_file").arg(path).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(path) && error.contains(why), "{error}");
    }
}

#[test]
fn send_file_of_nothing_shows_no_progress_in_a_pipe() {
    let path = std::env::temp_dir().join(format!("o7s-empty-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let output = program("send_file").arg(&path).output().unwrap();
    std::fs::remove_file(path).unwrap();
    let said = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{said}");
    let received = said.trim_end().rsplit_once("received 0 bytes as ").unwrap().1;
    assert!(std::fs::read(received).unwrap().is_empty());
    std::fs::remove_file(received).unwrap();
}

#[test]
fn echo_does_not_panic_if_nobody_reads_it() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program("echo").stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn chat() {
    let enter = |args: &[&str]| {
        let (program, mut lines) = start(program("chat").args(args).stdin(Stdio::piped()));
        let first = lines.next().unwrap().unwrap();
        let at = first.rsplit_once(" is in the room, at ").unwrap().1.to_owned();
        (program, lines, at)
    };
    let (mut ann, mut ann_hears, at) = enter(&["ann", "127.0.0.1:0"]);
    let (mut bob, mut bob_hears, _) = enter(&["bob", "127.0.0.1:0", &at]);
    // Packets of a broadcast layer may get lost, so they say it until it is heard.
    let say = |who: &mut Running, text: &str, other: &mut Lines<BufReader<ChildStdout>>| {
        let heard = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !heard.load(Ordering::Acquire) {
                    who.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
                    std::thread::park_timeout(Duration::from_millis(100));
                }
            });
            let line = other.next().unwrap().unwrap();
            heard.store(true, Ordering::Release);
            line
        })
    };
    assert_eq!(say(&mut ann, "rain at noon\n", &mut bob_hears), "ann: rain at noon");
    assert_eq!(say(&mut bob, "not here\n", &mut ann_hears), "bob: not here");
    for mut one in [bob, ann] {
        drop(one.0.stdin.take());
        assert!(one.0.wait().unwrap().success());
    }
}

#[test]
fn async_echo() {
    assert_eq!(run("async_echo", &[]), "100 clients were served\n");
}

#[test]
fn http() {
    assert_eq!(run("http", &[]), "/: 200 OK: you have asked for /\n/news: 200 OK: you have asked for /news\n");
}

#[test]
fn ring() {
    let said = run("ring", &[]);
    assert_eq!(said, run("ring", &[]), "the same seed gives the same run");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    // Two links of 5 ms there and two back; the other way round the ring it is eighteen.
    assert!(lines[0].starts_with("by way of one node: there and back in 20ms"), "{said}");
    assert!(lines[2].starts_with("by way of all the others: there and back in 180ms"), "{said}");
}

#[test]
fn own_device() {
    assert_eq!(run("own_device", &[]), "hello through the cable\n");
}

#[test]
fn routed_layer() {
    let said = run("routed_layer", &[]);
    assert_eq!(said, "the clock says \"noon\"\nthrough the unicast layer, by way of a router with 2 neighbours\n");
}
