//! What tools say and do when something is not there: servers that go, layers that nobody can join, ports that are taken.

use std::time::Instant;

use super::*;

/// Waits for the end of a program; kills it if that takes too long.
fn ended(mut child: Running, within: Duration) -> Option<(Option<i32>, String, String)> {
    #[allow(clippy::disallowed_methods, reason = "the time of a process")]
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            let (mut said, mut told) = (String::new(), String::new());
            child.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
            child.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            return Some((status.code(), said, told));
        }
        #[allow(clippy::disallowed_methods, reason = "the time of a process")]
        if Instant::now() > until {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn spawn(command: &mut Command) -> Running {
    Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn a_killed_server_ends_a_reliable_measurement_in_time_and_with_status_1() {
    for tool in ["ocbr", "operf"] {
        let mut server = Server::start(tool, &[], None);
        let host = format!("{tool}={}", server.addr);
        let mut command = program(tool);
        command.args(["-q", "data", "-d", "3", "-r", "10M", "--udp4", "127.0.0.1:0", "--host", &host]);
        let client = spawn(&mut command);
        assert!(
            server
                .lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| line.starts_with("New flow") || line.contains("low 1"))
        );
        std::thread::park_timeout(Duration::from_millis(1500));
        server.child.kill().unwrap();
        let end = ended(client, Duration::from_secs(30));
        let (status, said, told) = end.unwrap_or_else(|| panic!("{tool} goes on without its server"));
        assert_eq!(status, Some(1), "{tool}: {said}{told}");
        assert!(said.contains("Sent "), "{tool}: {said}");
        assert!(told.contains("error: the server does not have everything"), "{tool}: {told}");
    }
}

#[test]
fn requests_that_find_no_way_are_lost_ones_and_a_reply_makes_a_ping_a_success() {
    let (file, port) = member("hub", "bootstrap = \"campus\"\nls_t_recalc = 1\nls_t_update = 2");
    let (_router, mut lines) = start(program("router").args(["--config", file.path()]).stdin(Stdio::piped()));
    assert!(lines.next().unwrap().unwrap().starts_with("Routing in "));
    let host = format!("hub=127.0.0.1:{port}");
    let enrolled = "enrol = \"hub\"\nconn = [\"hub\"]\nreg = [\"oping\"]";
    let (file, _) = member("goes", enrolled);
    let (server, mut lines) = start(program("oping").args(["--listen", "--config", file.path(), "--host", &host]));
    assert_eq!(lines.next().unwrap().unwrap(), "Serving \"oping\".");
    let (file, _) = member("stays", &enrolled.replace("oping", "unused"));
    let mut command = program("oping");
    command.args(["-c", "14", "-i", "500ms", "--config", file.path(), "--host", &host]);
    let (mut client, mut lines) = start(&mut command);
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("seq=0 ")), "a reply");
    drop(server);
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line.contains(" was not sent: ")), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("14 packets transmitted, ")), "{rest:?}");
    assert_eq!(client.0.wait().unwrap().code(), Some(0), "{rest:?}");
}

#[test]
fn a_name_that_no_layer_of_a_file_has_is_looked_for_in_its_layers() {
    let (file, _) = member("lone", "bootstrap = \"campus\"");
    let output = program("oping").args(["-c", "1", "--config", file.path()]).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("`reg`") && told.contains("`conn`") && !told.contains("--host"), "{told}");
}

/// A client of a member that is not there, or is not bound, at `port`.
fn enrolling(name: &str, port: u16) -> (Option<i32>, String, String) {
    let (file, _) = member(name, "enrol = \"router\"\nconn = [\"router\"]");
    let host = format!("router=127.0.0.1:{port}");
    let mut command = program("oping");
    command.args(["-c", "1", "--config", file.path(), "--host", &host]);
    ended(spawn(&mut command), Duration::from_secs(60)).expect("it gives up")
}

#[test]
fn whoever_waits_for_a_member_says_so_and_what_it_lacks() {
    let (file, port) = member("router", "bootstrap = \"campus\"");
    let text = std::fs::read_to_string(file.path()).unwrap().replace("autobind = true", "autobind = false");
    std::fs::write(file.path(), text).unwrap();
    let mut command = program("router");
    command.args(["--config", file.path()]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let (mut router, mut lines) = start(&mut command);
    assert!(lines.next().unwrap().unwrap().starts_with("Routing in "));
    let (status, _, told) = enrolling("waiting", port);
    assert_eq!(status, Some(1), "{told}");
    let (first, rest) = told.split_once('\n').unwrap();
    assert!(first.starts_with("waiting for \"router\": ") && first.contains("ENAME"), "{told}");
    assert!(!rest.contains("waiting for"), "once: {told}");
    assert!(rest.starts_with("error: ") && rest.contains("autobind = true") && rest.contains("`reg`"), "{told}");
    router.0.kill().unwrap();
    let mut warned = String::new();
    router.0.stderr.take().unwrap().read_to_string(&mut warned).unwrap();
    assert!(warned.contains("nobody can enroll with this IPCP"), "{warned}");
}

#[test]
fn whoever_waits_for_a_server_says_so() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let host = format!("oping={}", silent.local_addr().unwrap());
    let output = program("oping").args(["-c", "1", "--udp4", "127.0.0.1:0", "--host", &host]).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.matches("waiting for \"oping\": ").count(), 1, "{told}");
    assert!(told.lines().last().unwrap().starts_with("error: no answer from \"oping\""), "{told}");
}

#[test]
fn a_router_says_what_it_cannot_be() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let (file, _) = member("metered", "bootstrap = \"campus\"");
    let output = program("router").args(["--config", file.path(), "--metrics", &at]).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("--metrics {at}: ")), "{told}");
    let empty = File::new("nothing", "# nothing\n");
    let end = ended(spawn(program("router").args(["--config", empty.path()])), Duration::from_secs(10));
    let (status, _, told) = end.expect("it routes in nothing");
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("there is no layer in it"), "{told}");
}

#[test]
fn names_of_hosts_are_not_addresses() {
    let host = ["--udp4", "127.0.0.1:0", "--host", "oping=localhost"];
    let output = program("oping").args(["-c", "1"]).args(host).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("names of hosts are not looked up"), "{told}");
}

#[test]
fn help_says_what_is_read_and_where_clients_are() {
    let help = |tool: &str| text(&program(tool).arg("--help").output().unwrap().stdout);
    for tool in ["obc", "oecho"] {
        assert!(help(tool).contains("standard input is not read"), "{tool}");
    }
    for tool in ["oping", "oecho"] {
        assert!(!help(tool).contains("127.0.0.1:4000"), "{tool}: a client takes any port");
    }
}
