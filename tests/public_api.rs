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

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

/// The most items that the interface may have.
const MOST: usize = 1600;

/// Has rustdoc describe the crate as users see it: without the feature that shows the inside.
fn describe() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In the target directory of this test, but apart from what other commands build there.
    let exe = std::env::current_exe().unwrap();
    let target: PathBuf = exe.ancestors().nth(3).unwrap().join("public-api");
    let status = Command::new(env!("CARGO"))
        .args(["rustdoc", "--locked", "--quiet", "--lib", "--features", "tokio,futures-io", "--manifest-path"])
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
        for list in ["items", "variants", "impls"] {
            inner[list].as_array().into_iter().flatten().for_each(|id| self.visit(&path, id));
        }
        // Fields, by the kind of struct or variant.
        let fields = [&inner["kind"]["plain"]["fields"], &inner["kind"]["struct"]["fields"]];
        fields.into_iter().flat_map(Value::as_array).flatten().for_each(|id| self.visit(&path, id));
    }

    fn children(&mut self, path: &str, id: &Value, list: &str) {
        let Some((_, inner, _)) = self.item(id) else { return };
        inner[list].as_array().into_iter().flatten().for_each(|id| self.visit(path, id));
    }
}

/// Every item of the interface, a line each.
fn items(description: &Value) -> BTreeSet<String> {
    let index = description["index"].as_object().unwrap();
    let mut found = Crate { index, items: BTreeSet::new(), seen: BTreeSet::new() };
    found.children("o7s", &description["root"], "items");
    found.items
}

#[test]
fn the_interface_is_what_the_snapshot_says() {
    let items = items(&describe());
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
    assert!(added.is_empty() && removed.is_empty(), "added: {added:#?}\nremoved: {removed:#?}");
}
