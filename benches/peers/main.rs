//! The table of speed and memory: each row beside its alternative, measured in the same run.
//!
//! ```text
//! cargo bench -p o7s-benches                      # the whole table, about two minutes
//! cargo bench -p o7s-benches -- --only udp        # the rows whose group has "udp" in its name
//! cargo bench -p o7s-benches -- --check           # exits with 1 if a must is missed
//! cargo bench -p o7s-benches --features ring      # with that backend; or aws-lc-rs, or both, of which that is used
//! ```
//!
//! Ours and the alternative take turns, and medians are compared, so that what else the machine does hits both. The
//! numbers mean something on an otherwise idle machine only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a program that measures: it reads clocks and starts threads, and stops when anything is wrong"
)]

mod anchors;
mod backends;
#[cfg(target_os = "linux")]
mod eth;
mod flows;
mod forward;
mod framing;
mod heap;
mod idle;
mod local;
mod measure;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "hosts of the interoperability tests, which need more of them")]
#[path = "../../tests/interop/net.rs"]
mod net;
mod pcap;
mod quic;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the reference's daemon as the interoperability tests need it")]
#[path = "../../tests/interop/reference.rs"]
mod reference;
#[path = "../../tests/world/router.rs"]
mod router;
mod routing;
mod security;
mod table;
mod udp;

use clap::Parser;

use self::table::Row;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Measures o7s beside its alternatives.
#[derive(Parser)]
struct Options {
    /// Exit with 1 if a must is missed.
    #[arg(long)]
    check: bool,
    /// Measure only the groups whose name contains this.
    #[arg(long, value_name = "SUBSTR", default_value = "")]
    only: String,
    /// Print the names of the groups.
    #[arg(long)]
    list: bool,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A group of rows that are measured together.
type Group = (&'static str, fn() -> Vec<Row>);

const GROUPS: &[Group] = &[
    ("anchors", anchors::rows),
    ("local ping-pong", local::ping_pong),
    ("local raw", local::one_way),
    ("local reliable", local::reliable),
    ("udp ping-pong", udp::ping_pong),
    ("udp bulk", udp::bulk),
    ("udp over IPv6 and IPv4", udp::families),
    ("udp large writes", udp::large_writes),
    #[cfg(target_os = "linux")]
    ("ethernet ping-pong", eth::ping_pong),
    #[cfg(target_os = "linux")]
    ("ethernet raw", eth::one_way),
    #[cfg(target_os = "linux")]
    ("ethernet bulk", eth::bulk),
    #[cfg(target_os = "linux")]
    ("ethernet reference", eth::reference::rows),
    ("framing", framing::rows),
    ("allocation local", flows::local),
    ("allocation udp", flows::udp),
    ("forwarding", forward::forwarding),
    ("layer", forward::layer),
    ("pcap", pcap::rows),
    ("idle memory", idle::memory),
    ("idle keepalive", idle::keepalive),
    ("shortest paths", routing::shortest_paths),
    ("forwarding table", routing::forwarding_table),
    ("security handshakes", security::handshakes),
    ("security sealing", security::sealing),
    ("security backends", backends::rows),
    ("security refusals", security::refusals),
    ("security flood", security::flood),
];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    if options.list {
        GROUPS.iter().for_each(|(name, _)| println!("{name}"));
        return std::process::ExitCode::SUCCESS;
    }
    println!(
        "backend: {}; load before: {}",
        o7s::crypto::backend::Backend::preferred().name(),
        measure::load_average()
    );
    table::print_head();
    let mut missed = 0;
    for (_, run) in GROUPS.iter().filter(|(name, _)| name.contains(&options.only)) {
        for row in run() {
            missed += usize::from(row.is_missed());
            row.print();
        }
    }
    println!("musts missed: {missed}; load after: {}", measure::load_average());
    std::process::ExitCode::from(u8::from(options.check && missed > 0))
}
