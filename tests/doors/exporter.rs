//! An exporter: the tree of counters and state in a format of one's own.

use std::collections::BTreeMap;

use o7s::rib::{self, Exporter, Place, Rib};
use o7s::{LocalConfig, Stack};
use serde_json::{Value, json};

/// One JSON object for every node that says something.
#[derive(Default)]
struct Json(Vec<Value>);

impl Exporter for Json {
    fn node(&mut self, place: &Place<'_>, node: &Rib) {
        let numbers: BTreeMap<_, _> = node.numbers().collect();
        let words: BTreeMap<_, _> = node.texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        if numbers.is_empty() && words.is_empty() {
            return;
        }
        let labels: BTreeMap<_, _> = place.labels().collect();
        let metric: Vec<_> = place.metric_parts().collect();
        let metric = metric.join(".");
        self.0.push(json!({
            "path": place.path(), "metric": metric, "labels": labels, "numbers": numbers, "words": words,
        }));
    }
}

#[test]
fn an_exporter_sees_every_number_and_its_place() {
    let stack = Stack::new().unwrap();
    stack.local(LocalConfig::new("wire", "a layer")).register("a name").unwrap();
    let _listener = stack.bind("a name").unwrap();
    let rib = stack.rib();
    let mut json = Json::default();
    rib::export(&rib, &mut json);
    let mut seen = 0;
    for node in &json.0 {
        for (name, number) in node["numbers"].as_object().unwrap() {
            let path = format!("{}/{name}", node["path"].as_str().unwrap());
            assert_eq!(rib.get(&path), number.as_u64(), "{path}");
            seen += 1;
        }
    }
    fn count(node: &Rib) -> usize {
        node.values.len() + node.children.iter().map(count).sum::<usize>()
    }
    assert_eq!(seen, count(&rib));
    let of = |path: &str| json.0.iter().find(|node| node["path"] == path).unwrap();
    let name = of("names/a name");
    assert_eq!((&name["metric"], &name["labels"]), (&json!("name"), &json!({ "name": "a name" })));
    let info = of("ipcps/wire/info");
    assert_eq!((&info["labels"], &info["words"]["layer"]), (&json!({ "ipcp": "wire" }), &json!("a layer")));
}
