//! Signals, and inputs and outputs that are closed, full or not text.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use o7s::{QosSpec, ReadError};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

const SIGPIPE: i32 = 13;

/// What ends programs in order here.
const ENDING: &[Signal] =
    if cfg!(target_os = "linux") { &[Signal::INT, Signal::TERM, Signal::HUP] } else { &[Signal::INT, Signal::TERM] };

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for the end of a program whose output is read to the end.
fn end(mut program: Running, lines: Lines<BufReader<ChildStdout>>) -> (ExitStatus, String) {
    let said: Vec<_> = lines.map_while(Result::ok).collect();
    (program.0.wait().unwrap(), said.join("\n"))
}

/// A client of a server, that does not end by itself.
fn client(server: &Server, options: &[&str]) -> (Running, Lines<BufReader<ChildStdout>>) {
    let host = format!("{}={}", server.name, server.addr);
    let mut command = program(server.name);
    start(command.args(["-n", server.name, "--udp4", "127.0.0.1:0", "--host", &host]).args(options))
}

#[test]
fn clients_end_with_a_summary_when_they_are_interrupted() {
    for &signal in ENDING {
        let server = Server::start("oping", &[], None);
        for how in [&["-i", "5ms"][..], &["-f"]] {
            let (pinging, mut lines) = client(&server, how);
            assert!(lines.by_ref().map(Result::unwrap).any(|line| line.contains("seq=3 ")));
            send(&pinging.0, signal);
            let (status, said) = end(pinging, lines);
            assert_eq!(status.code(), Some(0), "{said}");
            assert!(said.contains(" packets transmitted, ") && said.contains("rtt min/avg/max/mdev = "), "{said}");
        }
        let mut server = Server::start("ocbr", &["-i", "100ms"], None);
        let (sending, lines) = client(&server, &[]);
        assert!(server.lines.by_ref().map(Result::unwrap).any(|line| line.contains(" packets (")));
        send(&sending.0, signal);
        let (status, said) = end(sending, lines);
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(packets(&said, "Sent ") > 0, "{said}");
        // Whether it has begun to send when the signal comes or not.
        let server = Server::start("operf", &[], None);
        let (sending, mut lines) = client(&server, &["-t", "bi", "-q", "data"]);
        assert!(lines.next().unwrap().unwrap().starts_with("Flow to "));
        send(&sending.0, signal);
        let (status, said) = end(sending, lines);
        assert_eq!(status.code(), Some(i32::from(packets(&said, "Received ") == 0)), "{said}");
    }
}

#[test]
fn servers_end_in_order_when_they_are_told_to() {
    for &signal in ENDING {
        // What a client says until it is answered, so that both ends have heard of each other: a request, or that all is to
        // come back, and something that does.
        for (name, first) in [("oping", &[0; 64][..]), ("operf", &[1, 0, 0, 0])] {
            let mut server = Server::start(name, &[], None);
            let stack = Stack::new().unwrap();
            stack.udp4(Udp4::bind("127.0.0.1:0").host(name, &server.addr)).unwrap();
            let flow = stack.flow(name).qos(QosSpec::DATA).alloc().unwrap();
            let mut buf = [0; 2000];
            flow.write(first).unwrap();
            flow.write(&[0; 64]).unwrap();
            flow.read_timeout(&mut buf, Duration::from_secs(60)).unwrap();
            send(&server.child, signal);
            // It was told; otherwise it would find out after two minutes.
            let ended = loop {
                match flow.read_timeout(&mut buf, Duration::from_secs(60)) {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(ended, ReadError::Closed | ReadError::Reset), "{name}: {ended:?}");
            assert_eq!(server.child.wait().unwrap().code(), Some(0), "{name}");
        }
        for name in ["oecho", "ocbr"] {
            let mut server = Server::start(name, &[], None);
            send(&server.child, signal);
            assert_eq!(server.child.wait().unwrap().code(), Some(0), "{name}");
        }
        let mut listener = Server::start("obc", &["--first"], None);
        send(&listener.child, signal);
        assert_eq!(listener.child.wait().unwrap().code(), Some(0));
        let (file, _) = member("ended", "bootstrap = \"campus\"");
        let (router, mut lines) = start(program("router").args(["--config", file.path()]));
        lines.next().unwrap().unwrap();
        send(&router.0, signal);
        assert_eq!(end(router, lines).0.code(), Some(0));
    }
}

#[test]
fn programs_without_a_flow_end_at_once() {
    // Nobody answers there.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let host = format!("oping={}", socket.local_addr().unwrap());
    let (asking, lines) = start(program("oping").args(["--udp4", "127.0.0.1:0", "--host", &host]));
    // Its request is there.
    socket.recv(&mut [0; 2000]).unwrap();
    send(&asking.0, Signal::TERM);
    assert_eq!(end(asking, lines).0.signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn closed_pipes_end_programs_quietly() {
    let server = Server::start("oping", &[], None);
    let (mut pinging, lines) = client(&server, &["-i", "5ms"]);
    drop(lines);
    assert_eq!(pinging.0.wait().unwrap().signal(), Some(SIGPIPE));
    // One whose output nobody ever reads.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut tower = program("tower");
    let output = tower.args(["--sim", "--floors", "1", "--count", "1"]).stdout(writer).stderr(Stdio::piped());
    let output = output.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.signal(), text(&output.stderr)), (Some(SIGPIPE), String::new()));
    // A server notices when it has something to say.
    let (mut server, mut lines) = start(program("oecho").args(["--listen", "--udp4", "127.0.0.1:0"]));
    let first = lines.next().unwrap().unwrap();
    drop(lines);
    let host = format!("oecho={}", first.rsplit_once(" at ").unwrap().1.trim_end_matches('.'));
    assert!(program("oecho").args(["--udp4", "127.0.0.1:0", "--host", &host]).output().unwrap().status.success());
    assert_eq!(server.0.wait().unwrap().signal(), Some(SIGPIPE));
}

/// As the help of odump has it: `mkfifo tap; oping ... --pcap tap & odump tap`.
#[test]
fn a_named_pipe_shows_packets_as_they_pass() {
    let (server, tap) = (Server::start("oping", &[], None), File::new("tap", ""));
    std::fs::remove_file(tap.path()).unwrap();
    assert!(Command::new("mkfifo").arg(tap.path()).status().unwrap().success());
    let host = format!("oping={}", server.addr);
    let mut command = program("oping");
    command.args(["--udp4", "127.0.0.1:0", "--host", &host, "--pcap", tap.path()]).stderr(Stdio::piped());
    // Far more than what is looked at, so that it is still at it then, and less than what a pipe takes that nobody reads.
    let (mut pinging, mut replies) = start(command.args(["-c", "1000", "-i", "10ms"]));
    let mut replies = replies.by_ref().map(Result::unwrap).filter(|line| line.contains(" seq="));
    let (dumping, mut packets) = start(program("odump").arg(tap.path()));
    assert!(packets.next().unwrap().unwrap().contains(" | flow request "));
    replies.nth(100).unwrap();
    assert!(packets.next().unwrap().unwrap().contains(" | flow reply "));
    assert!(pinging.0.try_wait().unwrap().is_none(), "they are shown once it has ended");
    // The reader goes away: that is the end of the capture, and of nothing else.
    drop(dumping);
    replies.nth(100).expect("it goes on");
    send(&pinging.0, Signal::TERM);
    let said: Vec<_> = replies.collect();
    let mut told = String::new();
    pinging.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(pinging.0.wait().unwrap().code(), Some(0), "{said:?}\n{told}");
    assert!(told.contains("warning: the capture is not whole: "), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_takes_no_more_is_an_error() {
    let server = Server::start("oping", &[], None);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let host = format!("oping={}", server.addr);
    let mut command = program("oping");
    let output = command.args(["--udp4", "127.0.0.1:0", "--host", &host]).stdout(full).stderr(Stdio::piped());
    let output = output.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: standard output: "), "{}", text(&output.stderr));
}

/// Runs a command line; the programs are `$0`, and what `options` has `$1` and so on.
fn shell(line: &str, name: &str, options: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).arg(program(name).get_program()).args(options);
    command
}

#[test]
fn closed_inputs_and_outputs_are_no_reason_to_fail() {
    let server = Server::start("oping", &[], None);
    let host = format!("oping={}", server.addr);
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let line = format!("exec \"$0\" -c 1 -i 1ms --udp4 127.0.0.1:0 --host \"$1\" {closed}");
        let status = shell(&line, "oping", &[&host]).status().unwrap();
        assert_eq!(status.code(), Some(0), "{closed}");
    }
    let (file, _) = member("closed", "bootstrap = \"campus\"");
    let (mut router, mut lines) = start(&mut shell("exec \"$0\" --config \"$1\" <&-", "router", &[file.path()]));
    assert_eq!(lines.next().unwrap().unwrap(), "Routing in internet (udp4), campus (unicast).");
    std::thread::park_timeout(Duration::from_millis(200));
    assert!(router.0.try_wait().unwrap().is_none(), "it goes on");
}

#[cfg(target_os = "linux")]
#[test]
fn programs_in_the_background_of_a_script_are_not_interrupted() {
    // A shell without job control has them ignore SIGINT, and nohup SIGHUP.
    let mut script = shell("nohup \"$0\" --listen --udp4 127.0.0.1:0 & echo $!; wait", "oping", &[]);
    // Its output is read as long as the test runs: it would end without.
    let (_script, mut lines) = start(&mut script);
    let said: Vec<_> = lines.by_ref().take(3).map(Result::unwrap).collect();
    let pid: i32 = said.iter().find_map(|line| line.parse().ok()).unwrap();
    let addr = said.iter().find_map(|line| line.strip_prefix("Serving \"oping\" at ")).unwrap().trim_end_matches('.');
    let pid = Pid::from_raw(pid).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let mut ping = program("oping");
    let ping = ping.args(["-c", "3", "-i", "10ms", "--udp4", "127.0.0.1:0", "--host", &format!("oping={addr}")]);
    let output = ping.output().unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn the_status_at_the_end_is_documented() {
    let tools = ["oping", "oecho", "obc", "ocbr", "operf", "router", "tower", "odump", "switch"];
    for name in tools.into_iter().chain(["bottleneck", "congestion", "timeline"]) {
        let help = text(&program(name).arg("--help").output().unwrap().stdout);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("Ends with status 0 ") && help.contains(" 2 if the options are wrong"), "{name}: {help}");
        assert_eq!(program(name).arg("--no-such-option").output().unwrap().status.code(), Some(2), "{name}");
    }
}
