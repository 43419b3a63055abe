//! The resource information base: what every room has counted, as a tree.
//!
//! A [`Rib`] is a snapshot, made while everything runs: each number is right for a moment of its own.
//!
//! ```
//! let stack = o7s::Stack::new()?;
//! let rib = stack.rib();
//! assert_eq!(rib.get("node/accepted"), Some(0));
//! println!("{rib}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::flow::Endpoint;
use crate::node::Node;

/// A node of the tree: values, and trees below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rib {
    /// What it is called; empty for the root.
    pub name: String,
    /// Numbers.
    pub values: Vec<(&'static str, u64)>,
    /// Words.
    pub texts: Vec<(&'static str, String)>,
    /// What is below.
    pub children: Vec<Self>,
}

impl Rib {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The tree below, by name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|c| c.name == name)
    }

    /// A number, by its path: names of trees, then that of the number, separated by `/`.
    pub fn get(&self, path: &str) -> Option<u64> {
        match path.split_once('/') {
            Some((first, rest)) => self.child(first)?.get(rest),
            None => self.values.iter().find(|(n, _)| *n == path).map(|(_, v)| *v),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let pad = 2 * depth;
        if !self.name.is_empty() {
            writeln!(f, "{:pad$}{}", "", self.name)?;
        }
        let pad = pad + 2;
        for (name, text) in &self.texts {
            writeln!(f, "{:pad$}{name}: {text}", "")?;
        }
        for (name, value) in &self.values {
            writeln!(f, "{:pad$}{name}: {value}", "")?;
        }
        self.children.iter().try_for_each(|c| c.write(f, depth + 1))
    }
}

impl fmt::Display for Rib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// The tree of a node.
pub fn snapshot(node: &Node) -> Rib {
    let mut root = Rib::default();
    let mut own = Rib::new("node");
    own.values = node.counters();
    root.children.push(own);

    let mut ipcps = Rib::new("ipcps");
    for (id, ipcp) in node.ipcps() {
        let info = ipcp.info();
        let mut rib = Rib::new(&*info.name);
        rib.texts.push(("type", format!("{}", info.kind)));
        rib.texts.push(("layer", info.layer.clone()));
        rib.texts.extend(node.registered(id).iter().map(|n| ("registered", format!("{n}"))));
        rib.values = ipcp.counters();
        ipcps.children.push(rib);
    }
    root.children.push(ipcps);

    let mut names = Rib::new("names");
    node.with_irm(|irm| {
        for (name, listeners, accepting, waiting) in irm.bound() {
            let mut rib = Rib::new(format!("{name}"));
            rib.values = alloc::vec![
                ("listeners", listeners as u64),
                ("accepting", accepting as u64),
                ("waiting", waiting as u64)
            ];
            names.children.push(rib);
        }
    });
    root.children.push(names);

    let mut flows = Rib::new("flows");
    flows.children = node.endpoints().iter().map(|e| flow(e)).collect();
    root.children.push(flows);
    root
}

fn flow(endpoint: &Endpoint) -> Rib {
    let mut rib = Rib::new(format!("{:x}", endpoint.key()));
    rib.texts.push(("state", format!("{:?}", endpoint.state())));
    let c = endpoint.counters();
    let (rx, tx) = endpoint.queue_lengths();
    rib.values = alloc::vec![
        ("encrypted", u64::from(endpoint.is_encrypted())),
        ("tx_packets", c.tx_packets),
        ("tx_bytes", c.tx_bytes),
        ("rx_packets", c.rx_packets),
        ("rx_bytes", c.rx_bytes),
        ("sent", c.sent),
        ("received", c.received),
        ("keepalives_sent", c.keepalives_sent),
        ("keepalives_received", c.keepalives_received),
        ("bad_checksum", c.bad_checksum),
        ("bad_crypt", c.bad_crypt),
        ("overflow", c.overflow),
        ("rx_queue", rx as u64),
        ("tx_queue", tx as u64),
    ];
    if let Some(stats) = endpoint.frct_stats() {
        let mut frct = Rib::new("frct");
        frct.values = frct_values(&stats);
        rib.children.push(frct);
    }
    rib
}

fn frct_values(s: &crate::frct::Stats) -> Vec<(&'static str, u64)> {
    alloc::vec![
        ("sent", s.sent),
        ("retransmitted", s.retransmitted),
        ("control_sent", s.control_sent),
        ("received", s.received),
        ("control_received", s.control_received),
        ("duplicates", s.duplicates),
        ("out_of_order", s.out_of_order),
        ("late", s.late),
        ("skipped", s.skipped),
        ("out_of_window", s.out_of_window),
        ("no_run", s.no_run),
        ("malformed", s.malformed),
        ("implausible", s.implausible),
        ("loss_episodes", s.loss_episodes),
        ("timeouts", s.timeouts),
    ]
}
