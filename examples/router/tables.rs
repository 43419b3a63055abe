//! The tables of a router, as text.

use std::fmt::Write as _;

use o7s::rib::{Rib, graphviz};
use o7s::{IpcpHandle, Stack};

/// The commands that print a part of the metric tree: what that part is called, and what is in it.
const PARTS: [(&str, &str, &str); 6] = [
    ("names", "registered", "names that IPCPs have registered"),
    ("routes", "routes", "forwarding tables"),
    ("lsdb", "lsdb", "links between members, as they were announced"),
    ("dht", "dht", "directories"),
    ("packets", "dt", "what went where"),
    ("flows", "flow-allocator", "flows that begin or end here"),
];

/// What is printed for a line of input.
pub(crate) fn answer(command: &str, stack: &Stack, layers: &[IpcpHandle]) -> String {
    match (command, PARTS.iter().find(|(name, ..)| *name == command)) {
        ("" | "adjacencies", _) => adjacencies(layers),
        ("rib", _) => stack.rib().to_string(),
        ("graph", _) => graphviz([&stack.rib()]),
        (_, Some((_, part, _))) => parts(&stack.rib(), part),
        _ => help(),
    }
}

fn help() -> String {
    let mut out = String::from("adjacencies  connections to neighbours (also an empty line)\n");
    for (name, _, what) in PARTS {
        let _ = writeln!(out, "{name:<12} {what}");
    }
    out + "graph        links and routes, for Graphviz\nrib          everything\nquit         the end\n"
}

/// The layers' names, for people.
pub(crate) fn layer_names(layers: &[IpcpHandle]) -> String {
    let name = |layer: &IpcpHandle| format!("{} ({})", layer.info().layer, layer.info().kind);
    layers.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn adjacencies(layers: &[IpcpHandle]) -> String {
    let mut out =
        format!("{:<16} {:<12} {:<4} {:<12} {:<14} connected to\n", "ipcp", "address", "flow", "neighbour", "for");
    for layer in layers {
        let own = layer.address().map(|address| address.to_string()).unwrap_or_default();
        for connection in layer.connections() {
            let by = connection.destination.map_or_else(|| "by the neighbour".to_owned(), |name| name.to_string());
            let (name, flow) = (&layer.info().name, connection.flow.to_string());
            let (peer, what) = (connection.peer.to_string(), connection.component.to_string());
            let _ = writeln!(out, "{name:<16} {own:<12} {flow:<4} {peer:<12} {what:<14} {by}");
        }
    }
    out
}

/// The parts of this name, whatever is behind a dot in it, of all IPCPs.
fn parts(rib: &Rib, name: &str) -> String {
    let mut out = String::new();
    for ipcp in rib.child("ipcps").into_iter().flat_map(|list| &list.children) {
        let wanted = |tree: &&Rib| tree.name.split('.').next() == Some(name) && !is_empty(tree);
        for tree in ipcp.children.iter().filter(wanted) {
            let _ = write!(out, "{}:\n{tree}", ipcp.name);
        }
    }
    if out.is_empty() { "nothing\n".to_owned() } else { out }
}

fn is_empty(tree: &Rib) -> bool {
    tree.texts.is_empty() && tree.values.is_empty() && tree.children.is_empty()
}
