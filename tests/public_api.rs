//! A snapshot of what users of the crate can name: `tests/data/public_api.txt` lists every item that rustdoc documents.
//!
//! A change of the interface shows as a difference of that file. `O7S_BLESS=1 cargo test --test public_api` writes it anew.
#![cfg(feature = "std")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

/// The most items that the interface may have.
const MOST: usize = 1190;

/// Has rustdoc describe the crate as users see it: without the feature that shows the inside.
fn describe() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In the target directory of this test, but apart from what other commands build there.
    let exe = std::env::current_exe().unwrap();
    let target: PathBuf = exe.ancestors().nth(3).unwrap().join("public-api");
    let status = Command::new(env!("CARGO"))
        .args([
            "rustdoc",
            "--locked",
            "--quiet",
            "--lib",
            "--features",
            "tokio,futures-io,embassy-net-driver,smoltcp",
            "--manifest-path",
        ])
        .arg(root.join("Cargo.toml"))
        .args(["--", "-Zunstable-options", "--output-format", "json", "--cap-lints", "allow"])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTFLAGS")
        .status()
        .unwrap();
    assert!(status.success(), "rustdoc failed");
    serde_json::from_slice(&std::fs::read(target.join("doc/o7s.json")).unwrap()).unwrap()
}

struct Crate<'a> {
    index: &'a Map<String, Value>,
    items: BTreeSet<String>,
    /// Types, and which of the traits they implement that are looked for.
    types: BTreeMap<String, BTreeSet<&'a str>>,
    seen: BTreeSet<(String, String)>,
}

impl<'a> Crate<'a> {
    fn item(&self, id: &Value) -> Option<(&'a str, &'a Value, &'a str)> {
        let item = self.index.get(&id.to_string())?;
        let (kind, inner) = item["inner"].as_object()?.iter().next()?;
        Some((kind, inner, item["name"].as_str().unwrap_or_default()))
    }

    /// Notes an item by the path under which it is found, and what is in it.
    fn visit(&mut self, path: &str, id: &Value) {
        let Some((kind, inner, name)) = self.item(id) else { return };
        match kind {
            "use" => {
                let name = inner["name"].as_str().unwrap_or_default();
                if inner["is_glob"] == true {
                    self.children(path, &inner["id"], "items");
                } else {
                    self.visit_as(path, name, &inner["id"]);
                }
            }
            "impl" => {
                // What a trait demands is listed with the trait.
                if inner["trait"].is_null() {
                    inner["items"].as_array().into_iter().flatten().for_each(|id| self.visit(path, id));
                }
            }
            _ => self.visit_as(path, name, id),
        }
    }

    fn visit_as(&mut self, path: &str, name: &str, id: &Value) {
        let Some((kind, inner, _)) = self.item(id) else { return };
        let path = format!("{path}::{name}");
        if !self.seen.insert((path.clone(), id.to_string())) {
            return;
        }
        self.items.insert(format!("{path} ({kind})"));
        if matches!(kind, "struct" | "enum" | "union") {
            self.types.insert(path.clone(), self.traits(&inner["impls"]));
        }
        for list in ["items", "variants", "impls"] {
            inner[list].as_array().into_iter().flatten().for_each(|id| self.visit(&path, id));
        }
        // Fields, by the kind of struct or variant.
        let fields = [&inner["kind"]["plain"]["fields"], &inner["kind"]["struct"]["fields"]];
        fields.into_iter().flat_map(Value::as_array).flatten().for_each(|id| self.visit(&path, id));
    }

    /// The traits among those that matter that these are implementations of.
    fn traits(&self, impls: &Value) -> BTreeSet<&'a str> {
        let impls = impls.as_array().into_iter().flatten().filter_map(|id| self.item(id));
        let positive = impls.filter(|(_, inner, _)| inner["is_negative"] != true);
        let names = positive.filter_map(|(_, inner, _)| inner["trait"]["path"].as_str()?.rsplit("::").next());
        names.filter(|name| matches!(*name, "Send" | "Sync" | "Debug")).collect()
    }

    fn children(&mut self, path: &str, id: &Value, list: &str) {
        let Some((_, inner, _)) = self.item(id) else { return };
        inner[list].as_array().into_iter().flatten().for_each(|id| self.visit(path, id));
    }
}

/// Types that stay on the thread that made them: the simulated world and what leads to it.
const STAY: [&str; 7] = [
    "o7s::sim::Host",
    "o7s::sim::HostBuilder",
    "o7s::sim::JoinHandle",
    "o7s::sim::Network",
    "o7s::sim::RuleGuard",
    "o7s::sim::Sleep",
    "o7s::sim::Switch",
];
/// Types that move between threads and are not shared: what is answered once.
const MOVE: [&str; 1] = ["o7s::resolve::Found"];

/// Every public type can be sent to another thread and shared, unless it is listed, and shows itself.
fn check_types(types: &BTreeMap<String, BTreeSet<&str>>) {
    let missing = |name: &str, except: &[&str]| -> Vec<&str> {
        let without = types.iter().filter(|(_, traits)| !traits.contains(name));
        let without: Vec<_> = without.map(|(path, _)| path.as_str()).collect();
        let forgotten: Vec<_> = except.iter().filter(|path| !without.contains(path)).collect();
        assert!(forgotten.is_empty(), "these are {name}, or are not there: {forgotten:?}");
        without.into_iter().filter(|path| !except.contains(path)).collect()
    };
    assert!(types.len() > 50, "rustdoc's format has changed: {} types", types.len());
    assert_eq!(missing("Send", &STAY), [""; 0], "types that cannot be sent");
    assert_eq!(missing("Sync", &[&STAY[..], &MOVE].concat()), [""; 0], "types that cannot be shared");
    assert_eq!(missing("Debug", &[]), [""; 0], "types that do not show themselves");
}

/// The interface.
fn interface(description: &Value) -> Crate<'_> {
    let index = description["index"].as_object().unwrap();
    let mut found = Crate { index, items: BTreeSet::new(), types: BTreeMap::new(), seen: BTreeSet::new() };
    found.children("o7s", &description["root"], "items");
    found
}

#[test]
fn the_interface_matches_the_snapshot() {
    let description = describe();
    let Crate { items, types, .. } = interface(&description);
    assert!(items.contains("o7s::Stack::bind (function)"), "rustdoc's format has changed: {} items", items.len());
    assert!(items.len() <= MOST, "{} items are public", items.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/public_api.txt");
    if std::env::var_os("O7S_BLESS").is_some() {
        std::fs::write(&path, items.iter().map(|item| format!("{item}\n")).collect::<String>()).unwrap();
    }
    let snapshot = std::fs::read_to_string(&path).unwrap();
    let before: BTreeSet<_> = snapshot.lines().map(str::to_owned).collect();
    let (added, removed): (Vec<_>, Vec<_>) = (items.difference(&before).collect(), before.difference(&items).collect());
    println!("{} public items", items.len());
    check_types(&types);
    assert!(added.is_empty() && removed.is_empty(), "added: {added:#?}\nremoved: {removed:#?}");
}
