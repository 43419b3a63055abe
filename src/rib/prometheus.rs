//! The tree in the text format that Prometheus scrapes, version 0.0.4.
//!
//! | in the tree | in the text |
//! |---|---|
//! | names of parts | joined by `_` behind `o7s`: the beginning of the metric's name |
//! | the name of a list | nothing |
//! | an item of a list | its sort in the metric's name, and a label: the sort, with the item's name as value |
//! | a counter | a counter, with `_total` behind |
//! | a gauge | a gauge |
//! | a length of time | a gauge in seconds, with `_seconds` behind |
//! | the words of a node | labels of a gauge that is always 1, with `_info` behind |

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;
use core::iter;

use super::Rib;
use super::export::{Exporter, Place, export};
use crate::types::tree::{Number, Value};

/// Prefix of all names of metrics.
const PREFIX: &str = "o7s";

/// The text that an HTTP server answers Prometheus with; its type is `text/plain; version=0.0.4`.
///
/// Metrics come in the order of their names, and the samples of one in the order of their labels.
///
/// ```
/// let stack = o7s::Stack::new()?;
/// let _listener = stack.bind("echo")?;
/// let text = o7s::rib::prometheus(&stack.rib());
/// assert!(text.contains("# TYPE o7s_node_accepted_total counter\no7s_node_accepted_total 0\n"));
/// assert!(text.contains("o7s_name_listeners{name=\"echo\"} 1\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prometheus(rib: &Rib) -> String {
    let mut families = Families::default();
    export(rib, &mut families);
    families.write()
}

/// All metrics by name.
#[derive(Default)]
struct Families(BTreeMap<String, Family>);

/// A metric: its samples by their labels.
struct Family {
    counter: bool,
    help: String,
    samples: BTreeMap<String, String>,
}

/// As in [`Rib::get`], with the sorts of items in place of their names.
fn path(place: &Place<'_>) -> String {
    let mut path = String::new();
    for node in place.nodes() {
        if !path.is_empty() {
            path.push('/');
        }
        match (node.sort(), node.metric_part()) {
            (Some(sort), _) => {
                let _ = write!(path, "<{sort}>");
            }
            (None, "") => path.push_str(&node.name),
            (None, part) => path.push_str(part),
        }
    }
    path
}

impl Exporter for Families {
    fn node(&mut self, place: &Place<'_>, node: &Rib) {
        let (mut family, path, mut own) = (PREFIX.to_owned(), path(place), Labels::default());
        for part in place.metric_parts() {
            let _ = write!(family, "_{}", identifier(part));
        }
        place.labels().for_each(|(sort, name)| own.push(sort, name));
        if !node.texts.is_empty() {
            let mut labels = own.clone();
            node.texts.iter().for_each(|(name, text)| labels.push(name, text));
            let help = format!("What does not change, or seldom, at {path}.");
            self.sample(format!("{family}_info"), false, help, &labels, "1".to_owned());
        }
        for Value { name, help, number } in &node.values {
            let metric = format!("{family}_{}", identifier(name));
            let (metric, counter, value) = match number {
                Number::Counter(n) => (metric + "_total", true, format!("{n}")),
                Number::Gauge(n) => (metric, false, format!("{n}")),
                Number::Time(time) => {
                    (metric + "_seconds", false, format!("{}.{:09}", time.as_secs(), time.subsec_nanos()))
                }
            };
            let help = help_of(name, help, *number, &path);
            self.sample(metric, counter, help, &own, value);
        }
    }
}

impl Families {
    /// Adds a sample. A series must have one value and a metric one type: what comes first is kept.
    fn sample(&mut self, metric: String, counter: bool, help: String, labels: &Labels, value: String) {
        let new = || Family { counter, help, samples: BTreeMap::new() };
        let family = self.0.entry(metric).or_insert_with(new);
        if family.counter == counter {
            family.samples.entry(labels.to_text()).or_insert(value);
        }
    }

    fn write(&self) -> String {
        let mut out = String::new();
        for (name, Family { counter, help, samples }) in &self.0 {
            let kind = if *counter { "counter" } else { "gauge" };
            let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(help, false));
            for (labels, value) in samples {
                let _ = writeln!(out, "{name}{labels} {value}");
            }
        }
        out
    }
}

/// Names and values, with no name twice.
#[derive(Clone, Default)]
struct Labels(BTreeMap<String, String>);

impl Labels {
    fn push(&mut self, name: &str, value: &str) {
        let name = identifier(name);
        let numbered = (2..).map(|n| format!("{name}{n}"));
        let free = iter::once(name.clone()).chain(numbered).find(|n| !self.0.contains_key(n));
        self.0.insert(free.unwrap_or(name), value.to_owned());
    }

    fn to_text(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.0 {
            let before = if out.is_empty() { '{' } else { ',' };
            let _ = write!(out, "{before}{name}=\"{}\"", escaped(value, true));
        }
        if !out.is_empty() {
            out.push('}');
        }
        out
    }
}

/// Help text of a metric: its meaning, and its place in the tree.
fn help_of(name: &str, what: &str, number: Number, path: &str) -> String {
    let name = name.replace(['_', '-'], " ");
    match number {
        Number::Counter(_) if !what.is_empty() => format!("{what} Counted at {path}."),
        Number::Counter(_) => format!("Number of {name} since the start, at {path}."),
        Number::Gauge(_) => format!("Number of {name} at the moment, at {path}."),
        Number::Time(_) => format!("Duration of {name} at the moment, at {path}."),
    }
}

/// `text` as part of the name of a metric, or as that of a label: ASCII letters, digits and `_`, not a digit first,
/// and not `__`, which names of labels must not begin with.
fn identifier(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' => out.push(c),
            '0'..='9' if !out.is_empty() => out.push(c),
            _ if out.ends_with('_') => {}
            _ => out.push('_'),
        }
    }
    if out.is_empty() {
        out.push('_');
    }
    out
}

/// `text` without line ends, and without quotation marks if it stands in some.
fn escaped(text: &str, quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(feature = "std")]
#[cfg(test)]
mod tests;
