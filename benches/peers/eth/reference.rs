//! The reference implementation on the same kind of link: its own programs, between two hosts.
//!
//! `O7S_REFERENCE` names the prefix where it is installed; without it the rows say so. None of its programs sends without
//! a pause on a reliable flow, so ours, encrypted and reliable, are beside its own encrypted and unreliable ones.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use o7s::{QosSpec, SecurityConfig};

use super::{Cable, PING, Pair, TYPES, skipped};
use crate::local::{ENCRYPTED, OneWay, PACKET, echo, round_trips};
use crate::measure::{in_turns, median};
use crate::net::{Net, View, wait_for};
use crate::reference::{Daemon, Install, LAYER};
use crate::table::{Bound, Row, rate, time};

/// Names of its server programs: of ping-pong, of packets one way, and of encrypted ones.
const ECHO: &str = "echo";
const SINK: &str = "sink";
const SEALED: &str = "sealed";
const SECONDS: u32 = 3;
const ROUNDS: usize = 3;
/// It loses an allocation now and then.
const ATTEMPTS: usize = 5;

/// What its programs say of themselves: seconds a round trip, packets that arrive in a second.
struct Figures {
    ping: f64,
    one_way: f64,
    sealed: f64,
}

pub(crate) fn rows() -> Vec<Row> {
    let what = "eth-dix over veth, beside the reference";
    let Some(prefix) = std::env::var_os("O7S_REFERENCE").filter(|prefix| !prefix.is_empty()) else {
        return vec![Row::info(what, "skipped", "O7S_REFERENCE is not set")];
    };
    let Some(ours) = ours() else { return skipped(what) };
    let theirs = match theirs(&prefix) {
        Ok(theirs) => theirs,
        Err(error) => return vec![Row::info(what, "skipped", error.to_string())],
    };
    let row = |what: &str, ours: f64, other: f64| {
        Row::info(what, rate(ours), format!("reference {}", rate(other)))
            .ratio(ours, other)
            .must(Bound::AtLeast(3.0))
            .aim(Bound::AtLeast(5.0))
    };
    vec![
        Row::info("eth-dix over veth, ping-pong 64 B", time(ours.ping), format!("reference {}", time(theirs.ping)))
            .ratio(ours.ping, theirs.ping)
            .must(Bound::AtMost(1.0 / 3.0))
            .aim(Bound::AtMost(1.0 / 5.0)),
        row("  raw 1400 B one way", ours.one_way, theirs.one_way),
        row("  encrypted, ours reliable as well", ours.sealed, theirs.sealed),
    ]
}

/// The same flows as in the rows beside bare sockets.
fn ours() -> Option<Figures> {
    let _cable = Cable::new()?;
    let plain = Pair::new(TYPES[0], SecurityConfig::default());
    let sealed = Pair::new(TYPES[1], ENCRYPTED.parse().unwrap());
    let ((flow, peer), (one_way, sink)) = (plain.flow(QosSpec::RAW), plain.flow(QosSpec::RAW));
    let (data, reader) = sealed.flow(QosSpec::DATA);
    let echo = echo(peer);
    let (one_way, data) = (OneWay::new(one_way, sink, false), OneWay::new(data, reader, true));
    let n = (64 << 20) / PACKET;
    let [ping, one_way, sealed] = in_turns(
        ROUNDS,
        [&mut || round_trips(&flow, 5000), &mut || one_way.packets_a_second(200_000), &mut || data.packets_a_second(n)],
    );
    drop(flow);
    plain.server.shutdown();
    echo.join().unwrap();
    Some(Figures { ping, one_way, sealed })
}

fn theirs(prefix: &OsString) -> io::Result<Figures> {
    let install = Install::at(Path::new(prefix))?;
    // After a few allocations its daemons allocate no more, so each figure is of hosts of its own.
    let fresh = |measure: &dyn Fn(&Daemon<'_>, &Daemon<'_>) -> io::Result<f64>| {
        let once = || {
            let net = Net::start(&View { programs: vec![install.prefix.clone()], private: install.security.clone() })?;
            let [near, far] = [&net.near, &net.far].map(|host| Daemon::start_ethernet("eth-dix", host, &install));
            let (near, far) = (near?, far?);
            let cipher = |name| (name == SEALED).then_some(("X25519", "aes-256-gcm"));
            for (daemon, role) in [(&near, "client"), (&far, "server")] {
                daemon.unused_names()?;
                [ECHO, SINK, SEALED].into_iter().try_for_each(|name| daemon.one_more_name(name, role, cipher(name)))?;
            }
            measure(&near, &far)
        };
        (1..ATTEMPTS).find_map(|_| once().ok()).map_or_else(once, Ok)
    };
    let pings = [(); ROUNDS].map(|()| fresh(&ping));
    let one_way = fresh(&|near, far| arrived(near, far, SINK))?;
    let sealed = fresh(&|near, far| arrived(near, far, SEALED))?;
    Ok(Figures { ping: median(pings.into_iter().collect::<io::Result<_>>()?), one_way, sealed })
}

/// The mean of round trips without a pause.
fn ping(near: &Daemon<'_>, far: &Daemon<'_>) -> io::Result<f64> {
    let _echo = far.serve_in(&[ECHO], LAYER, "bin/oping", &["--listen"])?;
    let size = PING.to_string();
    let options = ["-n", ECHO, "-c", "2000", "--flood", "-s", &size, "--quiet"];
    let done = near.run(Duration::from_secs(20), "bin/oping", &options, false)?;
    let line = done.output.lines().find_map(|line| line.trim().strip_prefix("rtt min/avg/max/mdev = "));
    let mean = line.and_then(|line| line.split('/').nth(1)?.parse::<f64>().ok());
    let unit = if done.output.contains("\u{b5}s") { 1e-6 } else { 1e-3 };
    mean.map(|mean| mean * unit).ok_or_else(|| io::Error::other(format!("its ping said {}", done.output.trim())))
}

/// Packets a second at its server, the best of the seconds of a run.
fn arrived(near: &Daemon<'_>, far: &Daemon<'_>, name: &str) -> io::Result<f64> {
    let sink = far.serve_in(&[name], LAYER, "bin/ocbr", &["--listen", "-t", "1"])?;
    let (seconds, size) = (SECONDS.to_string(), PACKET.to_string());
    let options = ["-n", name, "-d", &seconds, "-s", &size, "--flood"];
    let sent = near.run(Duration::from_secs(20), "bin/ocbr", &options, false)?;
    let best = || {
        let output = sink.output();
        let rates = output.lines().filter_map(|line| line.split_once("=> ")?.1.trim().split(' ').next()?.parse().ok());
        rates.max_by(f64::total_cmp)
    };
    wait_for(Duration::from_secs(5), || sink.output().contains("timed out").then_some(()));
    let none = || format!("none of its packets to {name} arrived: {}", sent.output.trim());
    best().ok_or_else(|| io::Error::other(none()))
}
