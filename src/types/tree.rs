//! A tree of numbers and words, in which every room shows what it has counted and what state it is in.
//!
//! Nodes are made by the owner of the numbers and put together further up; the [`Rib`](crate::rib::Rib) of a stack is
//! the whole tree. A node is one of a kind ([`Tree::new`]), a list ([`Tree::list`]) or a member of a list
//! ([`Tree::item`]). The difference matters to exporters: the name of a member is a label there, and no part of the
//! metric's name.
//!
//! ```
//! use o7s::types::tree::{Number, Tree};
//!
//! let flow = Tree::item("flow", "3f").text("state", "active").counter("sent", 12).gauge("queued", 2);
//! let tree = Tree::new("").with(Tree::list("flows").with(flow));
//! assert_eq!(tree.get("flows/3f/sent"), Some(12));
//! assert_eq!(tree.number("flows/3f/queued"), Some(Number::Gauge(2)));
//! assert_eq!(tree.word("flows/3f/state"), Some("active"));
//! assert_eq!(tree.to_string(), "  flows\n    3f\n      state: active\n      sent: 12\n      queued: 2\n");
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// A node of the tree: words, numbers, and trees below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tree {
    /// Name in paths; empty for the root.
    pub name: String,
    /// Words.
    pub texts: Vec<(&'static str, String)>,
    /// Numbers.
    pub values: Vec<Value>,
    /// Nodes below.
    pub children: Vec<Self>,
    metric: Option<&'static str>,
    label: Option<&'static str>,
}

/// A number with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Value {
    /// Name in paths.
    pub name: &'static str,
    /// Description for exporters; empty if the name says it all.
    pub help: &'static str,
    /// The value.
    pub number: Number,
}

/// Value of a metric, with its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Number {
    /// Monotonic count, from zero at the start.
    Counter(u64),
    /// Current value, which may grow and shrink.
    Gauge(u64),
    /// Current length of time.
    Time(Duration),
}

impl Number {
    /// The number; lengths of time in nanoseconds.
    pub fn as_u64(self) -> u64 {
        match self {
            Self::Counter(n) | Self::Gauge(n) => n,
            Self::Time(time) => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(n) | Self::Gauge(n) => n.fmt(f),
            Self::Time(time) => fmt::Debug::fmt(time, f),
        }
    }
}

impl Tree {
    /// A part that there is one of.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A part whose children are [items](Self::item).
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn list(name: impl Into<String>) -> Self {
        Self::new(name).metric("")
    }

    /// One of several things of a sort; `name` is what tells it from the others.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn item(sort: &'static str, name: impl Into<String>) -> Self {
        Self { label: Some(sort), ..Self::new(name).metric(sort) }
    }

    /// Sets the part of this node in the names of metrics, if not its name: nothing, if empty. For names that are not
    /// the same everywhere.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn metric(mut self, part: &'static str) -> Self {
        self.metric = Some(part);
        self
    }

    /// Adds a word.
    pub fn text(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.texts.push((name, text.into()));
        self
    }

    /// Adds a number that only grows.
    pub fn counter(self, name: &'static str, count: u64) -> Self {
        self.value(name, "", Number::Counter(count))
    }

    /// Adds numbers that only grow: their names, what they count, and how many there are.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn counters(self, all: impl IntoIterator<Item = (&'static str, &'static str, u64)>) -> Self {
        let add = |tree: Self, (name, help, count)| tree.value(name, help, Number::Counter(count));
        all.into_iter().fold(self, add)
    }

    /// Adds a number that goes up and down.
    pub fn gauge(self, name: &'static str, now: u64) -> Self {
        self.value(name, "", Number::Gauge(now))
    }

    /// Adds a length of time.
    pub fn time(self, name: &'static str, now: Duration) -> Self {
        self.value(name, "", Number::Time(now))
    }

    fn value(mut self, name: &'static str, help: &'static str, number: Number) -> Self {
        self.values.push(Value { name, help: help.trim_ascii(), number });
        self
    }

    /// Adds a tree below.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn with(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Adds trees below.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn with_all(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    /// Returns the part of this node in the names of metrics; empty if it has none.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn metric_part(&self) -> &str {
        self.metric.unwrap_or(&self.name)
    }

    /// The sort of things of which this is one, if it is one of several.
    pub fn sort(&self) -> Option<&'static str> {
        self.label
    }

    /// The tree below, by name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|c| c.name == name)
    }

    /// A number, by its path: names of trees, then that of the number, separated by `/`. Lengths of time are in
    /// nanoseconds.
    pub fn get(&self, path: &str) -> Option<u64> {
        self.number(path).map(Number::as_u64)
    }

    /// As [`get`](Self::get), with how it may change.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn number(&self, path: &str) -> Option<Number> {
        match path.split_once('/') {
            Some((first, rest)) => self.child(first)?.number(rest),
            None => self.values.iter().find(|v| v.name == path).map(|v| v.number),
        }
    }

    /// A word, by its path. The first, if there are several of that name.
    pub fn word(&self, path: &str) -> Option<&str> {
        match path.split_once('/') {
            Some((first, rest)) => self.child(first)?.word(rest),
            None => self.texts.iter().find(|(name, _)| *name == path).map(|(_, text)| text.as_str()),
        }
    }

    /// The numbers of this node, without those below it.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.values.iter().map(|v| (v.name, v.number.as_u64()))
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
        for Value { name, number, .. } in &self.values {
            writeln!(f, "{:pad$}{name}: {number}", "")?;
        }
        self.children.iter().try_for_each(|c| c.write(f, depth + 1))
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}
