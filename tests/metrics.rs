//! The export to Prometheus: names by convention, help that says something, and a dashboard that shows what there is.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use o7s::rib;

#[allow(dead_code, reason = "other test targets need more of it")]
#[path = "world/everything.rs"]
mod everything;
use everything::Everything;

/// A metric of the export.
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// Returns the metrics of a stack that is a member of a layer of each kind, and has flows through them.
fn exported() -> BTreeMap<String, Metric> {
    let everything = Everything::new();
    parse(&rib::prometheus(&everything.hosts[0].stack().rib()))
}

fn parse(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut help = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap().1.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let metric = Metric { kind: kind.to_owned(), help: help.clone(), labels: BTreeSet::new() };
            metrics.insert(name.to_owned(), metric);
        } else {
            let (name, labels) = line.split_once(['{', ' ']).unwrap();
            let names = labels.split("=\"").filter_map(|part| part.rsplit(['{', ',', '"']).next());
            metrics.get_mut(name).unwrap().labels.extend(names.map(str::to_owned));
        }
    }
    metrics
}

#[test]
fn names_and_help_follow_the_conventions() {
    let metrics = exported();
    assert!(metrics.len() > 150, "{}", metrics.len());
    let mut helps = BTreeSet::new();
    for (name, Metric { kind, help, .. }) in &metrics {
        assert!(name.starts_with("o7s_"), "{name}");
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(ok) && !name.contains("__") && !name.ends_with('_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        // Times are in seconds, sizes in bytes, and nothing in a part of them.
        for unit in ["_ms", "_us", "_ns", "_millis", "_micros", "_nanos", "_kib", "_kb", "_mb", "_bits"] {
            assert!(!name.trim_end_matches("_total").ends_with(unit), "{name}");
        }
        assert!(help.split(' ').count() >= 4 && help.ends_with('.'), "{name}: {help}");
        // It is read alone, not below the one before it.
        for word in ["Their", "Of", "That", "Those", "For", "The", "Not", "To"] {
            assert_ne!(help.split(' ').next(), Some(word), "{name}: {help}");
        }
        assert!(helps.insert(help), "{name} says what another does: {help}");
    }
    let doc = &metrics["o7s_node_alloc_failed_total"].help;
    assert_eq!(doc, "Allocations that failed. Counted at node.", "it is the documentation of the counter");
    assert!(metrics.contains_key("o7s_ipcp_dht_stats_waiting"), "lookups that wait for their turn");
}

/// The names of metrics in an expression.
fn named(expr: &str) -> impl Iterator<Item = &str> {
    expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("o7s_"))
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/router/dashboard.json");
    // The package that is published has no examples.
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let metrics = exported();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 6);
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let expr = target["expr"].as_str().unwrap();
            assert!(named(expr).count() > 0, "{expr}");
            for name in named(expr) {
                let metric = metrics.get(name).unwrap_or_else(|| panic!("{name} is not exported: {expr}"));
                assert_eq!(metric.kind == "counter", expr.contains("rate("), "{expr}");
                let legend = target["legendFormat"].as_str().unwrap();
                for label in legend.split("{{").skip(1).filter_map(|part| part.split_once("}}")) {
                    assert!(metric.labels.contains(label.0), "{name} has no {}: {:?}", label.0, metric.labels);
                }
            }
        }
    }
}
