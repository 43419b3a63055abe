//! A snapshot of what users of the crate can name: `tests/data/public_api.txt` lists every item that rustdoc documents, with its
//! signature and the traits that it implements.
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

#[path = "public_api/signature.rs"]
mod signature;

/// The most items that the interface may have.
const MOST: usize = 1507;

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
    /// Items as `path (kind)`, and their signatures.
    items: BTreeMap<String, String>,
    /// Implementations of traits, written or derived.
    impls: BTreeSet<String>,
    /// Types, and which of the traits they implement that are looked for.
    types: BTreeMap<String, BTreeSet<&'a str>>,
    seen: BTreeSet<(String, String)>,
    /// The shortest path of each item.
    names: BTreeMap<String, String>,
}

impl<'a> Crate<'a> {
    fn item(&self, id: &Value) -> Option<(&'a str, &'a Value, &'a str)> {
        let item = self.index.get(&id.to_string())?;
        let (kind, inner) = item["inner"].as_object()?.iter().next()?;
        Some((kind, inner, item["name"].as_str().unwrap_or_default()))
    }

    /// Notes an item by the path under which it is found, and what is in it.
    fn visit(&mut self, path: &str, id: &Value, in_trait: bool) {
        let Some((kind, inner, name)) = self.item(id) else { return };
        match kind {
            "use" => {
                let name = inner["name"].as_str().unwrap_or_default();
                if inner["is_glob"] == true {
                    self.children(path, &inner["id"], "items");
                } else {
                    self.visit_as(path, name, &inner["id"], false);
                }
            }
            // What a trait demands is listed with the trait.
            "impl" if inner["trait"].is_null() => {
                // Of a type with parameters it may be for some of them only.
                let of = signature::ty(&inner["for"]);
                let path =
                    if of.contains('<') && !is_plain(inner) { format!("{path} as {of}") } else { path.to_owned() };
                inner["items"].as_array().into_iter().flatten().for_each(|id| self.visit(&path, id, false));
            }
            "impl" => self.note_impl(path, inner),
            _ => self.visit_as(path, name, id, in_trait),
        }
    }

    /// Notes an implementation of a trait, unless it is one that the compiler makes of its own accord, or for all types.
    fn note_impl(&mut self, path: &str, inner: &Value) {
        let made = inner["is_synthetic"] == true || !inner["blanket_impl"].is_null();
        let name = signature::path(&inner["trait"]);
        if made || name == "StructuralPartialEq" {
            return;
        }
        let generics = &inner["generics"];
        let not = if inner["is_negative"] == true { "!" } else { "" };
        let (params, conditions) = (signature::params(generics), signature::conditions(generics));
        let of = signature::ty(&inner["for"]);
        self.impls.insert(format!("{path} (impl{params}): {not}{name} for {of}{conditions}"));
    }

    fn visit_as(&mut self, path: &str, name: &str, id: &Value, in_trait: bool) {
        let Some((kind, inner, _)) = self.item(id) else { return };
        let path = format!("{path}::{name}");
        if !self.seen.insert((path.clone(), id.to_string())) {
            return;
        }
        let shorter = |known: &String| (known.len(), known.as_str()) <= (path.len(), path.as_str());
        if !self.names.get(&id.to_string()).is_some_and(shorter) {
            self.names.insert(id.to_string(), path.clone());
        }
        let mut signature = self.signature(kind, inner, in_trait);
        let attributes = self.index[&id.to_string()]["attrs"].to_string();
        if attributes.contains("non_exhaustive") {
            signature = format!("{signature}{}non_exhaustive", if signature.is_empty() { "" } else { " " });
        }
        self.items.insert(format!("{path} ({kind})"), signature);
        if matches!(kind, "struct" | "enum" | "union") {
            self.types.insert(path.clone(), self.traits(&inner["impls"]));
        }
        for list in ["items", "variants", "impls"] {
            let in_trait = kind == "trait" && list == "items";
            inner[list].as_array().into_iter().flatten().for_each(|id| self.visit(&path, id, in_trait));
        }
        // Fields, by the kind of struct or variant.
        let fields = [&inner["kind"]["plain"]["fields"], &inner["kind"]["struct"]["fields"]];
        fields.into_iter().flat_map(Value::as_array).flatten().for_each(|id| self.visit(&path, id, false));
    }

    /// What there is to say of an item beyond its name.
    fn signature(&self, kind: &str, inner: &Value, in_trait: bool) -> String {
        let generics =
            || format!("{}{}", signature::params(&inner["generics"]), signature::conditions(&inner["generics"]));
        match kind {
            "function" if !in_trait => signature::function(inner),
            // A new method without a body breaks implementations.
            "function" if inner["has_body"] == true => format!("{} {{ .. }}", signature::function(inner)),
            "function" => format!("{};", signature::function(inner)),
            "struct_field" => signature::ty(inner),
            "constant" | "assoc_const" | "static" => signature::ty(&inner["type"]),
            "type_alias" => format!("{} = {}", generics(), signature::ty(&inner["type"])).trim_start().to_owned(),
            "assoc_type" => signature::bounds(&inner["bounds"]),
            "trait" => format!("{}: {}", generics(), signature::bounds(&inner["bounds"])),
            "struct" => {
                let plain = &inner["kind"]["plain"];
                let hidden = if plain["has_stripped_fields"] == true { " { .. }" } else { "" };
                format!("{}{hidden}{}", generics(), self.tuple(&inner["kind"])).trim_start().to_owned()
            }
            "enum" => generics(),
            "variant" => self.tuple(&inner["kind"]),
            _ => String::new(),
        }
    }

    /// The fields of a tuple; private ones as `_`.
    fn tuple(&self, kind: &Value) -> String {
        let Some(fields) = kind["tuple"].as_array() else { return String::new() };
        let field = |id: &Value| self.item(id).map_or_else(|| "_".to_owned(), |(_, of, _)| signature::ty(of));
        format!("({})", fields.iter().map(field).collect::<Vec<_>>().join(", "))
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
        inner[list].as_array().into_iter().flatten().for_each(|id| self.visit(path, id, false));
    }

    /// A line for each item and implementation.
    fn lines(&self) -> BTreeSet<String> {
        let line = |(item, signature): (&String, &String)| match signature.as_str() {
            "" => item.clone(),
            signature => format!("{item}: {signature}"),
        };
        self.items.iter().map(line).chain(self.impls.iter().cloned()).collect()
    }
}

/// `true` if what is implemented is so for all parameters of the type.
fn is_plain(inner: &Value) -> bool {
    let given = inner["for"]["resolved_path"]["args"]["angle_bracketed"]["args"].as_array();
    given.into_iter().flatten().all(|arg| !arg["type"]["generic"].is_null() || !arg["lifetime"].is_null())
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
    let (items, impls, types) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    let mut found = Crate { index, items, impls, types, seen: BTreeSet::new(), names: BTreeMap::new() };
    found.children("o7s", &description["root"], "items");
    found
}

/// Has signatures name public types by their paths, because several have the same last segment.
fn qualify(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            let name = object.get("id").and_then(|id| names.get(&id.to_string()));
            if let (Some(name), Some(path)) = (name, object.get_mut("path")) {
                *path = Value::from(name.as_str());
            }
            object.values_mut().for_each(|inner| qualify(inner, names));
        }
        Value::Array(all) => all.iter_mut().for_each(|inner| qualify(inner, names)),
        _ => {}
    }
}

fn snapshot() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/public_api.txt")
}

#[test]
fn the_interface_matches_the_snapshot() {
    let mut description = describe();
    let names = interface(&description).names;
    qualify(&mut description["index"], &names);
    let found = interface(&description);
    // What several forms of a type have alike is one thing to learn.
    let learned = |item: &String| {
        item.split_once(" as ")
            .map_or(item.clone(), |(path, rest)| format!("{path}{}", rest.rsplit("::").next().unwrap()))
    };
    let (lines, count) = (found.lines(), found.items.keys().map(learned).collect::<BTreeSet<_>>().len());
    assert!(found.items.contains_key("o7s::Stack::bind (function)"), "rustdoc's format has changed: {count} items");
    assert!(count <= MOST, "{count} items are public");
    changes_show(&description, &lines);
    if std::env::var_os("O7S_BLESS").is_some() {
        std::fs::write(snapshot(), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
    let before = std::fs::read_to_string(snapshot()).unwrap();
    let before: BTreeSet<_> = before.lines().map(str::to_owned).collect();
    let (added, removed): (Vec<_>, Vec<_>) = (lines.difference(&before).collect(), before.difference(&lines).collect());
    println!("{count} public items");
    check_types(&found.types);
    assert!(added.is_empty() && removed.is_empty(), "added: {added:#?}\nremoved: {removed:#?}");
}

/// Changes the description as rustdoc would if the interface changed, and looks that the lines do.
fn changes_show(description: &Value, lines: &BTreeSet<String>) {
    let id_of = |path: &[&str]| {
        let paths = description["paths"].as_object().unwrap();
        paths.iter().find(|(_, item)| item["path"] == serde_json::json!(path)).map(|(id, _)| id.clone()).unwrap()
    };
    let flow = id_of(&["o7s", "stack", "flow", "Flow"]);
    let in_impls = |id: &str, of_trait: Option<&str>| -> Vec<String> {
        let item = &description["index"][id]["inner"]["struct"]["impls"];
        let ids = item.as_array().unwrap().iter().map(Value::to_string);
        ids.filter(|id| description["index"][id]["inner"]["impl"]["trait"]["path"].as_str() == of_trait).collect()
    };
    let of_flow = in_impls(&flow, None).into_iter().flat_map(|id| {
        let items = description["index"][id]["inner"]["impl"]["items"].as_array().unwrap();
        items.iter().map(Value::to_string).collect::<Vec<_>>()
    });
    let read = of_flow.into_iter().find(|id| description["index"][id]["name"] == "read").unwrap();
    let differs = |what: &str, gone: &str, change: &dyn Fn(&mut Value)| {
        let mut other = description.clone();
        change(&mut other);
        let other = interface(&other).lines();
        let gone_now: Vec<_> = lines.difference(&other).collect();
        assert!(gone_now.iter().any(|line| line.starts_with(gone)), "{what} shows as {gone_now:?}");
    };
    differs("another result", "o7s::Flow::read (function)", &|other| {
        other["index"][&read]["inner"]["function"]["sig"]["output"] = serde_json::json!({ "primitive": "u32" });
    });
    differs("another argument", "o7s::Flow::read (function)", &|other| {
        other["index"][&read]["inner"]["function"]["sig"]["inputs"][1][1] = serde_json::json!({ "primitive": "u32" });
    });
    let qos = id_of(&["o7s", "types", "qos", "QosSpec"]);
    let clone = in_impls(&qos, Some("Clone")).remove(0);
    differs("a trait that is implemented no more", "o7s::QosSpec (impl): Clone for QosSpec", &|other| {
        other["index"].as_object_mut().unwrap().remove(&clone);
    });
    let field = &description["index"][&qos]["inner"]["struct"]["kind"]["plain"]["fields"][0];
    differs("another type of a field", "o7s::QosSpec::", &|other| {
        other["index"][field.to_string()]["inner"]["struct_field"] = serde_json::json!({ "primitive": "i8" });
    });
    let error = id_of(&["o7s", "flow", "error", "ReadError"]);
    differs("an enumeration that is exhaustive", "o7s::ReadError (enum): non_exhaustive", &|other| {
        other["index"][&error]["attrs"] = serde_json::json!([]);
    });
}

/// The unreleased part of the list of changes, by section.
fn changes() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md")).unwrap();
    let unreleased = text.split("\n## ").find(|part| part.starts_with("[Unreleased]")).unwrap();
    let sections = unreleased.split("\n### ").skip(1);
    sections.filter_map(|part| part.split_once('\n')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// Paths with `::` in text between backticks, those in braces one by one.
fn paths_in(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for code in text.split('`').skip(1).step_by(2) {
        let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
        let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
        let path = code.split(end).next().unwrap();
        match code.strip_prefix(path).and_then(|rest| rest.strip_prefix('{')) {
            Some(names) if path.ends_with("::") => {
                let names = names.split('}').next().unwrap().split(',');
                paths.extend(names.map(|name| format!("{path}{}", name.trim())));
            }
            _ => paths.push(path.trim_end_matches(':').to_owned()),
        }
    }
    paths.retain(|path| path.contains("::"));
    paths
}

/// Whoever reads of a path in the list of changes can use it, unless it is one that was removed.
#[test]
fn paths_in_the_changelog_are_public() {
    const FOREIGN: [&str; 6] = ["std", "core", "alloc", "tokio", "futures_io", "smoltcp"];
    let snapshot = std::fs::read_to_string(snapshot()).unwrap();
    // What is there for some parameters of a type only is listed as that.
    let public: Vec<String> = snapshot
        .lines()
        .map(|line| line.split(" (").next().unwrap())
        .map(|path| match path.split_once(" as ") {
            Some((of, rest)) => format!("{of}::{}", rest.rsplit("::").next().unwrap()),
            None => path.to_owned(),
        })
        .collect();
    // Methods are listed with the type, not with its other names.
    let aliases: BTreeMap<&str, &str> = snapshot
        .lines()
        .filter_map(|line| {
            let (path, of) = line.split_once(" (type_alias): = ")?;
            Some((path.rsplit("::").next()?, of.split('<').next()?))
        })
        .collect();
    let is_public = |path: &str| {
        let path = path.strip_prefix("o7s::").unwrap_or(path);
        let (first, rest) = path.split_once("::").unwrap_or((path, ""));
        let alias = aliases.get(first).map(|of| format!("::{of}::{rest}"));
        let tails = [Some(format!("::{path}")), alias];
        public.iter().any(|known| tails.iter().flatten().any(|tail| known.ends_with(tail.as_str())))
    };
    let mut wrong = Vec::new();
    for (section, text) in changes() {
        for path in paths_in(&text) {
            let foreign = FOREIGN.contains(&path.split("::").next().unwrap());
            if !foreign && is_public(&path) == (section == "Removed") {
                wrong.push(format!("{section}: {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not public, or not removed: {wrong:#?}");
}
