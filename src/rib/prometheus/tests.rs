//! The text is what a strict reader of the format takes, whatever is in the tree.

use std::collections::BTreeSet;
use std::format;
use std::string::{String, ToString as _};
use std::time::Duration;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A sample as a reader understands it.
#[derive(Debug, PartialEq)]
struct Sample {
    metric: String,
    labels: Vec<(String, String)>,
    value: f64,
}

fn is_metric(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(ok) && name.starts_with(|c: char| ok(c) && !c.is_ascii_digit())
}

fn is_label(name: &str) -> bool {
    is_metric(name) && !name.contains(':') && !name.starts_with("__")
}

/// Reads the labels behind `{` and returns what is behind `}`.
fn labels(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut out = Vec::new();
    loop {
        let (name, rest) = text.split_once("=\"").unwrap();
        assert!(is_label(name), "{name:?}");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("a quotation mark") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("\\{c} is no escape"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(out.iter().all(|(n, _)| n != name), "{name} twice");
        out.push((name.to_string(), value));
        let rest = &rest[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => text = more,
            None => return (out, rest.strip_prefix('}').unwrap()),
        }
    }
}

/// Reads a text as strictly as the format allows, and more: what `promtool check metrics` objects to, is refused.
fn read(text: &str) -> Vec<Sample> {
    assert!(text.is_empty() || text.ends_with('\n'));
    let (mut samples, mut metrics, mut series) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut lines = text.split_terminator('\n').peekable();
    while let Some(line) = lines.next() {
        let (metric, help) = line.strip_prefix("# HELP ").expect(line).split_once(' ').unwrap();
        assert!(is_metric(metric), "{metric}");
        assert!(metrics.insert(metric), "{metric} twice");
        assert!(!help.is_empty());
        let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap().strip_prefix(metric).unwrap();
        assert!(matches!(kind, " counter" | " gauge"), "{kind}");
        if kind == " counter" {
            assert!(metric.ends_with("_total"));
        }
        let before = samples.len();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            assert!(series.insert(line.rsplit_once(' ').unwrap().0), "{line} twice");
            let rest = line.strip_prefix(metric).expect(line);
            let (labels, rest) = rest.strip_prefix('{').map_or((Vec::new(), rest), labels);
            let value = rest.strip_prefix(' ').expect(line).parse().unwrap();
            samples.push(Sample { metric: metric.to_string(), labels, value });
        }
        assert!(samples.len() > before, "{metric} has no samples");
    }
    let names: Vec<_> = samples.iter().map(|s| s.metric.as_str()).collect();
    assert!(names.is_sorted());
    samples
}

#[test]
fn every_kind_of_node_and_number() {
    let flow = |name: &str, sent| Rib::item("flow", name).counter("sent", sent).gauge("queue-length", 2);
    let dt = Rib::new("dt.01.02.03.04").metric("dt").with(flow("64", 7)).with(flow("9", 8));
    let info = Rib::new("info").metric("").text("type", "unicast").text("layer", "l\"1\\\n");
    let ipcp = Rib::item("ipcp", "a").time("mpl", Duration::from_millis(1500)).with(info).with(dt);
    let rib = Rib::new("").with(Rib::list("ipcps").with(ipcp));
    let text = prometheus(&rib);
    assert_eq!(
        text,
        "# HELP o7s_ipcp_dt_flow_queue_length Number of queue length at the moment, at ipcps/<ipcp>/dt/<flow>.\n\
         # TYPE o7s_ipcp_dt_flow_queue_length gauge\n\
         o7s_ipcp_dt_flow_queue_length{flow=\"64\",ipcp=\"a\"} 2\n\
         o7s_ipcp_dt_flow_queue_length{flow=\"9\",ipcp=\"a\"} 2\n\
         # HELP o7s_ipcp_dt_flow_sent_total Number of sent since the start, at ipcps/<ipcp>/dt/<flow>.\n\
         # TYPE o7s_ipcp_dt_flow_sent_total counter\n\
         o7s_ipcp_dt_flow_sent_total{flow=\"64\",ipcp=\"a\"} 7\n\
         o7s_ipcp_dt_flow_sent_total{flow=\"9\",ipcp=\"a\"} 8\n\
         # HELP o7s_ipcp_info What does not change, or seldom, at ipcps/<ipcp>/info.\n\
         # TYPE o7s_ipcp_info gauge\n\
         o7s_ipcp_info{ipcp=\"a\",layer=\"l\\\"1\\\\\\n\",type=\"unicast\"} 1\n\
         # HELP o7s_ipcp_mpl_seconds Duration of mpl at the moment, at ipcps/<ipcp>.\n\
         # TYPE o7s_ipcp_mpl_seconds gauge\n\
         o7s_ipcp_mpl_seconds{ipcp=\"a\"} 1.500000000\n"
    );
    let layer = read(&text).into_iter().find(|s| s.metric == "o7s_ipcp_info").unwrap().labels.remove(1);
    assert_eq!(layer.1, "l\"1\\\n");
}

#[test]
fn one_type_a_metric_and_one_value_a_series() {
    let twice = || Rib::item("flow", "1").counter("sent", 1);
    let rib = Rib::list("flows").with(twice()).with(twice()).with(Rib::item("flow", "2").gauge("sent_total", 3));
    assert_eq!(read(&prometheus(&Rib::new("").with(rib))).len(), 1);
    // An item within an item of the same sort.
    let nested = Rib::item("flow", "1").with(Rib::item("flow", "2").text("flow", "3").gauge("n", 1));
    let samples = read(&prometheus(&Rib::new("").with(nested)));
    assert!(samples.iter().any(|s| s.labels.len() == 3));
}

#[test]
fn the_tree_of_a_stack() {
    use crate::stack::Stack;
    let stack = Stack::new().unwrap();
    stack.local(crate::stack::LocalConfig::new("quote\"", "l"));
    stack.local(crate::stack::LocalConfig::new("quote\"", "l"));
    let _listener = stack.bind("a \\ name\n").unwrap();
    let samples = read(&prometheus(&stack.rib()));
    let named = samples.iter().find(|s| s.metric == "o7s_name_listeners").unwrap();
    assert_eq!(named.labels, [("name".to_string(), "a \\ name\n".to_string())]);
    let infos: Vec<_> = samples.iter().filter(|s| s.metric == "o7s_ipcp_info").map(|s| &s.labels[1].1).collect();
    assert_eq!(infos, ["quote\"", "quote\"#2"]);
}

fn any_tree() -> impl Strategy<Value = Rib> {
    let words = prop::sample::select(std::vec!["a", "a_total", "b-c", "", "__x", "0", "info", "ä"]);
    let number = (words.clone(), 0..3, any::<u64>()).prop_map(|(name, kind, n)| (name, kind, n));
    let node = (words.clone(), ".{0,6}", 0..3, prop::collection::vec(number, 0..4), words);
    let leaf = node.prop_map(|(sort, name, kind, numbers, text)| {
        let tree = match kind {
            0 => Rib::new(name),
            1 => Rib::list(name),
            _ => Rib::item(sort, name.clone()).text(text, name),
        };
        numbers.into_iter().fold(tree, |tree, (name, kind, n)| match kind {
            0 => tree.counter(name, n),
            1 => tree.gauge(name, n),
            _ => tree.time(name, Duration::from_nanos(n)),
        })
    });
    leaf.prop_recursive(4, 32, 4, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..4)).prop_map(|(tree, below)| tree.with_all(below))
    })
}

proptest! {
    #[test]
    fn any_tree_can_be_read(tree in any_tree()) {
        let text = prometheus(&tree);
        read(&text);
        prop_assert_eq!(&text, &prometheus(&tree), "{}", format!("{tree}"));
    }
}
