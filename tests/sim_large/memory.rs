//! Costs of a member: memory, and the processor's time for each thing that happens.

use std::process::Command;

use o7s::sim::Network;
use o7s::{ConnectOptions, UnicastLayer};

use super::world::layer::{Kind, Layer};
use super::world::stopwatch::{Stopwatch, cpu, peak_memory};
use super::world::{large, secs, topology};

/// Number of members of the layer in the other process.
const MEMBERS: &str = "O7S_SIM_MEMBERS";
/// Memory limit of a thousand members, the program and the allocator's losses included.
const MUST: u64 = 400 << 20;

/// The most memory that a process of its own ever had for a layer of so many members; what others did before would count
/// otherwise.
fn peak(members: usize) -> u64 {
    peak_of("memory::a_layer_by_itself", members)
}

fn peak_of(test: &str, members: usize) -> u64 {
    let program = std::env::current_exe().unwrap();
    let arguments = [test, "--exact", "--ignored", "--nocapture"];
    let output = Command::new(program).args(arguments).env(MEMBERS, members.to_string()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{members} members: {text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines()
        .filter(|line| line.contains(" members: ") || line.contains(" us "))
        .for_each(|line| println!("{line}"));
    let line = text.lines().find_map(|line| line.strip_prefix("peak: "));
    line.unwrap_or_else(|| panic!("{members} members: {text}")).parse().unwrap()
}

#[test]
#[ignore = "long; run it in release mode"]
fn memory_of_a_member() {
    let sizes = [25, 100, 1000];
    let peaks = sizes.map(peak);
    for (window, members) in peaks.windows(2).zip(sizes.windows(2)) {
        let each = window[1].saturating_sub(window[0]) / (members[1] - members[0]) as u64;
        println!("from {} to {} members: {} KiB each", members[0], members[1], each >> 10);
    }
    println!("1000 members: {} MiB in all; must: {} MiB", peaks[2] >> 20, MUST >> 20);
    assert!(peaks[2] <= MUST, "{} bytes", peaks[2]);
}

/// With announcements every two minutes: a layer of this size at the reference's 15 s is busy with nothing else.
#[test]
#[ignore = "takes minutes and gigabytes; run it in release mode"]
fn five_thousand_members() {
    let peak = peak(5000);
    println!("5000 members: {} MiB in all, {} KiB each", peak >> 20, (peak >> 10) / 5000);
}

/// A member that is the neighbour of all others.
#[test]
#[ignore = "takes minutes and gigabytes; run it in release mode"]
fn five_thousand_neighbours() {
    let peak = peak_of("memory::a_hub_by_itself", 5001);
    println!("a hub and 5000 neighbours: {} MiB in all, {} KiB each", peak >> 20, (peak >> 10) / 5001);
}

/// Run by [`bytes_of_a_member`], and by itself with a number of members in the environment.
#[test]
#[ignore = "run by another"]
fn memory_of_a_layer_alone() {
    let Some(members) = std::env::var(MEMBERS).ok().and_then(|n| n.parse().ok()) else { return };
    let stopwatch = Stopwatch::start();
    let config = if members > 1000 { large::quiet() } else { UnicastLayer::new("net") };
    let layer = large::layer(1, members, config, ConnectOptions::new());
    stopwatch.lap(&format!("{members} members: connected"), &layer.net);
    large::converge(&layer);
    stand(&layer, &stopwatch);
}

/// Run by [`five_thousand_neighbours`].
#[test]
#[ignore = "run by another"]
fn memory_of_a_hub_alone() {
    let Some(members) = std::env::var(MEMBERS).ok().and_then(|n| n.parse().ok()) else { return };
    let stopwatch = Stopwatch::start();
    let net = Network::new(1);
    let kind = Kind { max_connections: 4 * members, ..Kind::default() };
    let layer = Layer::build_of(net, members, &topology::star(members), large::quiet(), ConnectOptions::new(), kind);
    stopwatch.lap(&format!("{members} members: connected"), &layer.net);
    large::converge(&layer);
    stand(&layer, &stopwatch);
}

/// For half a minute nothing happens, and then what it took is printed.
fn stand(layer: &Layer, stopwatch: &Stopwatch) {
    layer.net.run_for(secs(30));
    stopwatch.lap(&format!("{} members: half a minute later", layer.len()), &layer.net);
    let each = cpu().as_secs_f64() * 1e6 / layer.net.events() as f64;
    println!("{each:.2} us of processor time an event");
    println!("peak: {}", peak_memory());
}
