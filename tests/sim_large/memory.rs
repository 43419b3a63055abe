//! Costs of a member: memory, and the processor's time for each thing that happens.

use std::process::Command;

use o7s::sim::Network;
use o7s::{ConnectOptions, UnicastLayer};

use super::world::layer::{Kind, Layer};
use super::world::stopwatch::{Stopwatch, cpu, peak_memory};
use super::world::{large, secs, topology};

/// Number of members of the layer in the other process.
const MEMBERS: &str = "O7S_SIM_MEMBERS";
/// What the other process says at its end, before the bytes and the microseconds.
const COSTS: &str = "costs: ";
/// Memory limit of a thousand members, the program and the allocator's losses included.
const MUST: u64 = 400 << 20;
/// Processor time for each event of a layer of a thousand, microseconds, in release mode. Without, it takes 2 to 3 in a layer of
/// 200, and 4 while one of a thousand connects.
const EVENT: f64 = 20.0;

/// What a layer took that had a process of its own; what others did before would count otherwise.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// The most memory that it ever had, bytes.
    peak: u64,
    /// Processor time for each event, microseconds.
    event: f64,
}

impl Costs {
    /// Has a process run one of the tests that are run by others.
    fn of(test: &str, members: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let arguments = [test, "--exact", "--ignored", "--nocapture"];
        let output = Command::new(program).args(arguments).env(MEMBERS, members.to_string()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{members} members: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("running 1 test\n"), "it has no test {test}: {text}");
        text.lines().filter(|line| line.contains(" members: ")).for_each(|line| println!("{line}"));
        let line = text.lines().find_map(|line| line.strip_prefix(COSTS)).unwrap_or_else(|| panic!("no costs: {text}"));
        let (peak, event) = line.split_once(' ').unwrap();
        let costs = Self { peak: peak.parse().unwrap(), event: event.parse().unwrap() };
        let (mib, each) = (costs.peak >> 20, costs.each(members));
        println!(
            "{members} members: {mib} MiB in all, {each} KiB each, {:.2} us of processor time an event",
            costs.event
        );
        costs
    }

    /// KiB for each member, the program included.
    fn each(&self, members: usize) -> u64 {
        (self.peak >> 10) / members as u64
    }

    /// A member has at most so many KiB, and an event so many microseconds.
    #[track_caller]
    fn assert_below(&self, members: usize, kib: u64, event: f64) {
        assert!(self.peak > 0 && self.each(members) <= kib, "{} KiB for each of {members}", self.each(members));
        assert!(self.event > 0.0 && self.event <= event, "{} us of processor time for an event", self.event);
    }
}

/// It is found and says what it took; that everything below measures something is seen here.
#[test]
fn a_layer_in_another_process_is_measured() {
    // A processor's time is told in ticks, of which there must be some.
    for (test, members) in [(LAYER, 40), (HUB, 60)] {
        let costs = Costs::of(test, members);
        assert!(costs.peak > 1 << 20 && costs.event > 0.0, "{test}: {costs:?}");
    }
}

#[test]
fn two_hundred_members() {
    let costs = Costs::of(LAYER, 200);
    assert!(costs.each(200) <= 400, "{} KiB each", costs.each(200));
}

#[test]
#[ignore = "long; run it in release mode"]
fn memory_of_a_member() {
    let sizes = [25, 100, 1000];
    let costs = sizes.map(|members| Costs::of(LAYER, members));
    for (window, members) in costs.windows(2).zip(sizes.windows(2)) {
        let each = window[1].peak.saturating_sub(window[0].peak) / (members[1] - members[0]) as u64;
        println!("from {} to {} members: {} KiB each", members[0], members[1], each >> 10);
    }
    assert!(costs[2].peak <= MUST, "{} bytes", costs[2].peak);
    assert!(costs[2].event <= EVENT, "{costs:?}");
}

/// With announcements every two minutes: a layer of this size at the reference's 15 s is busy with nothing else. Each member
/// knows all links, so that memory grows with the square of their number: there were 8 216 MiB.
#[test]
#[ignore = "takes minutes and gigabytes; run it in release mode"]
fn five_thousand_members() {
    Costs::of(LAYER, 5000).assert_below(5000, 1700, 2.0 * EVENT);
}

/// A member that is the neighbour of all others: there were 5 589 MiB.
#[test]
#[ignore = "takes minutes and gigabytes; run it in release mode"]
fn five_thousand_neighbours() {
    Costs::of(HUB, 5001).assert_below(5001, 1200, 2.0 * EVENT);
}

/// The name of [`memory_of_a_layer_alone`] for the program of tests.
const LAYER: &str = "memory::memory_of_a_layer_alone";

/// Run by [`Costs::of`], and by itself with a number of members in the environment.
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

/// The name of [`memory_of_a_hub_alone`] for the program of tests.
const HUB: &str = "memory::memory_of_a_hub_alone";

/// Run by [`Costs::of`].
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
    let event = cpu().as_secs_f64() * 1e6 / layer.net.events() as f64;
    println!("{COSTS}{} {event:.3}", peak_memory());
}
