//! The resource information base: what every room has counted, as a tree.
//!
//! A [`Rib`] is a snapshot, made while everything runs: each number is right for a moment of its own. It can be asked
//! ([`get`](Rib::get)), printed, exported in the text format of Prometheus ([`prometheus()`]), and in any other by an
//! [`Exporter`]. [`graphviz()`] draws the links and routes of its unicast layers.
//!
//! | path | what is there |
//! |---|---|
//! | `node` | flow allocation and the tables of the stack |
//! | `ipcps/<name>` | what an IPCP has counted, and its components below |
//! | `ipcps/<name>/info` | its type, its layer and the layer's parameters |
//! | `ipcps/<name>/registered` | the names that are registered with it |
//! | `ipcps/<name>/dt.<address>/<flow>` | of a member of a unicast layer: what went to and came from a neighbour, by cube |
//! | `ipcps/<name>/routes/<address>` | the neighbours on the way to a member |
//! | `ipcps/<name>/lsdb/<from>--<to>`, `ipcps/<name>/routing` | links between members; how they were learnt |
//! | `ipcps/<name>/flow-allocator/<eid>` | flows that begin or end here, and their congestion avoidance |
//! | `ipcps/<name>/dht` | the directory: names registered, names kept for others, contacts |
//! | `names/<name>` | listeners and waiting requests |
//! | `flows/<key>` | a flow's end: packets, bytes, queues |
//! | `flows/<key>/frct` | its FRCT, if it has one: counters, round trip, window, bytes in flight |
//!
//! ```
//! let stack = o7s::Stack::new()?;
//! let rib = stack.rib();
//! assert_eq!(rib.get("node/accepted"), Some(0));
//! println!("{rib}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod export;
mod graphviz;
mod prometheus;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::flow::Endpoint;
use crate::frct::{FrctPath, Stats};
use crate::ipcp::Info;
use crate::node::Node;

pub use crate::types::tree::{Number, Tree as Rib, Value};
pub use export::{Exporter, Place, export};
pub use graphviz::graphviz;
pub use prometheus::prometheus;

/// The tree of a node.
pub(crate) fn snapshot(node: &Node) -> Rib {
    Rib::new("").with(node.rib()).with(ipcps(node)).with(names(node)).with(flows(node))
}

fn ipcps(node: &Node) -> Rib {
    let now = node.clock().now();
    let mut taken = BTreeSet::new();
    let mut list = Rib::list("ipcps");
    for (id, ipcp) in node.ipcps() {
        let mut rib = ipcp.rib(now);
        rib.name = unique(&mut taken, &rib.name);
        let registered = node.registered(id).into_iter().map(|n| Rib::item("name", n.as_str()));
        rib.children.insert(0, info(ipcp.info()));
        rib.children.insert(1, Rib::list("registered").with_all(registered));
        list.children.push(rib);
    }
    list
}

fn info(info: &Info) -> Rib {
    let rib = Rib::new("info").metric("").text("type", format!("{}", info.kind)).text("layer", &*info.layer);
    rib.text("hash", info.hash.name()).time("mpl", info.mpl)
}

/// Makes a name unique: IPCPs may have the same, paths and labels must not.
fn unique(taken: &mut BTreeSet<String>, name: &str) -> String {
    let numbered = (2..).map(|n| format!("{name}#{n}"));
    let free = core::iter::once(String::from(name)).chain(numbered).find(|n| !taken.contains(n));
    let free = free.unwrap_or_default();
    taken.insert(free.clone());
    free
}

fn names(node: &Node) -> Rib {
    let names = node.with_irm(|irm| {
        let bound = irm.bound().map(|(name, listeners, accepting, waiting)| {
            Rib::item("name", name.as_str())
                .gauge("listeners", listeners as u64)
                .gauge("accepting", accepting as u64)
                .gauge("waiting", waiting as u64)
        });
        bound.collect::<Vec<_>>()
    });
    Rib::list("names").with_all(names)
}

fn flows(node: &Node) -> Rib {
    Rib::list("flows").with_all(node.endpoints().iter().map(|e| flow(e)))
}

fn flow(endpoint: &Endpoint) -> Rib {
    let (rx, tx) = endpoint.queue_lengths();
    let rib = Rib::item("flow", format!("{:x}", endpoint.key()))
        .text("state", format!("{:?}", endpoint.state()))
        .gauge("encrypted", u64::from(endpoint.is_encrypted()))
        .counters(endpoint.counters().rows())
        .gauge("rx_queue", rx as u64)
        .gauge("tx_queue", tx as u64);
    match (endpoint.frct_stats(), endpoint.frct_path()) {
        (Some(stats), Some(path)) => rib.with(frct(stats, path)),
        _ => rib,
    }
}

fn frct(stats: Stats, path: FrctPath) -> Rib {
    let rib = Rib::new("frct").counters(stats.rows()).time("round_trip", path.round_trip);
    let rib = rib.gauge("in_flight_bytes", path.in_flight);
    let rib = match path.packet_limit {
        Some(limit) => rib.gauge("packet_limit", limit as u64),
        None => rib,
    };
    match path.window {
        Some(window) => rib.gauge("window_bytes", window),
        None => rib,
    }
}
