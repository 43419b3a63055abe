//! The rooms of the crate and who may know whom.
//!
//! In a single crate one-way dependencies do not happen by discipline. A room is a folder (or file) of `src/`; it may
//! name rooms of a lower rank, itself, and nothing else. `unsafe` is for the rooms that touch the operating system.
//! The checker reads tokens, so comments, documentation and strings do not count, and macro bodies do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// Every room and its rank.
const ROOMS: &[(&str, u8)] = &[
    ("base", 0),
    ("types", 0),
    ("wire", 1),
    ("crypto", 2),
    ("frct", 3),
    ("oap", 3),
    ("routing", 3),
    ("directory", 3),
    ("forward", 3),
    ("flow", 4),
    ("irm", 5),
    ("ipcp", 5),
    ("node", 6),
    ("capture", 7),
    ("rib", 7),
    ("device", 7),
    ("stack", 8),
    ("sim", 9),
];

/// Rooms of one rank must not know each other, but for this: the traits in `types` speak of `base`'s packet buffers.
const NEIGHBOURS: &[(&str, &str)] = &[("types", "base")];

/// Parts of rooms that can be used and tested alone, by their paths. Each may know [`BELOW_MACHINES`], itself and the parts
/// that are given with it: neither flows nor IPCPs.
const MACHINES: &[(&str, &[&str])] = &[
    ("capture", &["crypto", "oap/Peering", "oap/TOKEN_LEN", "oap/Tokens"]),
    ("flow/moves", &["oap"]),
    ("frct", &[]),
    ("ipcp/connect", &["ipcp/Component"]),
    ("ipcp/broadcast/config", &[]),
    ("ipcp/broadcast/digest", &[]),
    (
        "ipcp/broadcast/flood",
        &["ipcp/broadcast/config", "ipcp/broadcast/digest", "ipcp/broadcast/memory", "ipcp/connect/STEP_TIMEOUT"],
    ),
    ("ipcp/broadcast/memory", &["ipcp/broadcast/config"]),
    ("ipcp/shim/eth/directory", &["ipcp/Location", "ipcp/Lookup", "ipcp/shim/eth/Config"]),
    ("ipcp/shim/eth/framing", &[]),
    ("oap", &["crypto"]),
    ("ipcp/shim/eth/limit", &[]),
    ("ipcp/shim/management", &[]),
    ("device/bridge/learning", &[]),
    ("directory", &[]),
    ("forward/ca", &[]),
    ("forward/pff", &[]),
    ("forward/sched", &[]),
    ("forward/shape", &[]),
    ("routing", &[]),
];

/// Rooms that all machines may know.
const BELOW_MACHINES: &[&str] = &["base", "types", "wire"];

/// Rooms that are put together from parts, which have ranks of their own: each may know those of a lower rank, and itself.
/// What else is in the room puts them together, and only that may know all.
const PARTS: &[(&str, &[(&str, u8)])] = &[
    ("ipcp/unicast", &[("config", 0), ("shared", 1), ("dt", 2), ("fa", 3), ("control", 4)]),
    (
        "node",
        &[
            ("limits", 0),
            ("shared", 1),
            ("timers", 2),
            ("tasks", 3),
            ("silent", 3),
            ("owed", 3),
            ("answered", 3),
            ("gate", 3),
            ("flows", 4),
            ("names", 5),
            ("layers", 6),
        ],
    ),
];

/// Parts that must not know each other, in neither direction: kinds of IPCPs, and of layers over devices.
const APART: &[&[&str]] = &[
    &["ipcp/shim", "ipcp/unicast", "ipcp/broadcast"],
    &["ipcp/shim", "ipcp/connect"],
    &["ipcp/shim/udp", "ipcp/shim/eth", "ipcp/shim/custom"],
];

/// Rooms with `unsafe` code.
const UNSAFE_ROOMS: &[&str] = &["device"];

/// Crates of locks, and the only module that may name them: it decides which of them serves.
const LOCKS: &[&str] = &["spin", "parking_lot"];
const LOCKS_ROOM: &str = "base/sync";

/// Longer files are pointed out.
const LONG: usize = 800;

#[test]
fn rooms_know_only_rooms_below_them() {
    let found = report(|file| file.references());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn machines_stand_alone() {
    let modules: Vec<_> = sources().iter().map(|(path, text)| Source::new(path, text).modules).collect();
    for (machine, _) in MACHINES {
        assert!(modules.iter().any(|m| is_within(m, machine)), "there is no {machine}: the test would prove nothing");
    }
    let found = report(|file| file.entanglements());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn parts_know_only_parts_below_them() {
    let modules: Vec<_> = sources().iter().map(|(path, text)| Source::new(path, text).modules).collect();
    for part in PARTS.iter().flat_map(|(room, parts)| parts.iter().map(move |(part, _)| format!("{room}/{part}"))) {
        assert!(modules.iter().any(|m| is_within(m, &part)), "there is no {part}: the test would prove nothing");
    }
    let found = report(|file| file.disorder());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn kinds_of_ipcps_do_not_know_each_other() {
    let modules: Vec<_> = sources().iter().map(|(path, text)| Source::new(path, text).modules).collect();
    for part in APART.iter().copied().flatten() {
        assert!(modules.iter().any(|m| is_within(m, part)), "there is no {part}: the test would prove nothing");
    }
    let found = report(|file| file.meetings());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_room_has_a_rank_and_is_there() {
    let found: BTreeSet<_> =
        sources().iter().filter_map(|(path, text)| Source::new(path, text).modules.into_iter().next()).collect();
    for (room, _) in ROOMS {
        assert!(found.contains(*room), "there is no {room}");
    }
}

#[test]
fn unsafe_stays_with_the_operating_system() {
    let found = report(|file| file.unsafe_code());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn locks_come_from_one_module() {
    let modules: Vec<_> = sources().iter().map(|(path, text)| Source::new(path, text).modules).collect();
    assert!(modules.iter().any(|m| is_within(m, LOCKS_ROOM)), "there is no {LOCKS_ROOM}: the test would prove nothing");
    let found = report(|file| file.foreign_locks());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn long_files_are_pointed_out() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > LONG {
            println!("note: src/{} has {lines} lines; consider splitting it", path.display());
        }
    }
}

/// A file that is not part of a module is not compiled, and the tests in it prove nothing.
#[test]
fn every_file_is_part_of_a_module() {
    for folder in ["src", "tests"] {
        let files = files(folder);
        assert!(files.len() > 100, "no files found: the test would prove nothing");
        assert_eq!(unnamed(&files), Vec::<PathBuf>::new(), "nobody names these files of {folder}/");
    }
}

#[test]
fn a_file_that_only_another_target_names_is_found() {
    let files = [
        ("one.rs", "#[path = \"shared/all.rs\"]\n#[allow(dead_code)]\nmod all;\nmod folder;"),
        ("two/main.rs", "mod a;\n#[path = \"../one/c.rs\"]\nmod other;\n// mod commented;"),
        ("two/a.rs", "pub(crate) mod b;"),
        ("two/a/b.rs", "mod d;"),
        ("two/d.rs", ""),
        ("two/commented.rs", ""),
        ("one/a.rs", ""),
        ("one/c.rs", ""),
        ("shared/all.rs", "mod beside;"),
        ("shared/beside.rs", ""),
        ("folder/mod.rs", "mod inside;"),
        ("folder/inside.rs", ""),
    ];
    let files: Vec<_> = files.map(|(path, text)| (PathBuf::from(path), text.to_owned())).into();
    assert_eq!(unnamed(&files), ["two/d.rs", "two/commented.rs", "one/a.rs"].map(PathBuf::from));
}

/// The files that no target is made of: not a target itself, nor named by a file of one, in the place that the name stands
/// for there.
fn unnamed(files: &[(PathBuf, String)]) -> Vec<PathBuf> {
    let is_target = |path: &Path| path.components().count() == 1 || path.ends_with("main.rs");
    let targets = files.iter().map(|(path, _)| path).filter(|path| is_target(path));
    let mut left: Vec<_> = targets.map(|path| (path.clone(), path.parent().unwrap().to_owned())).collect();
    let mut reached: BTreeSet<PathBuf> = left.iter().map(|(path, _)| path.clone()).collect();
    while let Some((path, inside)) = left.pop() {
        let Some((_, text)) = files.iter().find(|(other, _)| *other == path) else { continue };
        left.extend(modules(&path, &inside, text).into_iter().filter(|(module, _)| reached.insert(module.clone())));
    }
    files.iter().map(|(path, _)| path.clone()).filter(|path| !reached.contains(path)).collect()
}

/// The files that the modules of a file may be in, whose own modules are `inside` that folder, and the folders in which theirs
/// are: beside those that are named by a path or by their folder, for others in one of their own name.
fn modules(path: &Path, inside: &Path, text: &str) -> Vec<(PathBuf, PathBuf)> {
    let folder = path.parent().unwrap();
    let (mut named, mut found) = (None, Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            named = rest.split('"').next();
        } else if let Some((visibility, module)) = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")) {
            if !visibility.is_empty() && !visibility.starts_with("pub") {
                continue;
            }
            let own = inside.join(module);
            if let Some(named) = named.take() {
                let file = clean(&folder.join(named));
                found.push((file.clone(), file.parent().unwrap().to_owned()));
            } else {
                found.extend([(inside.join(format!("{module}.rs")), own.clone()), (own.join("mod.rs"), own)]);
            }
        }
    }
    found
}

/// A path without `..`.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean
}

/// The package has neither examples nor benchmarks: whoever tests it as it is published would miss what is taken from there.
#[test]
fn the_package_takes_no_code_from_outside_of_it() {
    let mut checked = 0;
    for folder in ["src", "tests"] {
        for (path, text) in files(folder) {
            for line in text.lines().filter(|line| line.trim_start().starts_with("#[path = ")) {
                checked += 1;
                let outside = ["examples/", "benches/", "fuzz/"].iter().find(|folder| line.contains(*folder));
                assert!(outside.is_none(), "{folder}/{} takes code from {outside:?}", path.display());
            }
        }
    }
    assert!(checked > 0, "no path is named: the test would prove nothing");
}

/// Returns the findings of `check` in every file of the crate.
fn report(check: impl Fn(&Source) -> Vec<Finding>) -> Vec<String> {
    let sources = sources();
    assert!(sources.iter().any(|(path, _)| path.ends_with("lib.rs")), "no sources found: the test would prove nothing");
    let all = sources.iter().flat_map(|(path, text)| {
        check(&Source::new(path, text)).into_iter().map(|finding| format!("src/{}:{finding}", path.display()))
    });
    all.collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    files("src")
}

/// The files of a folder, by their path in it.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Something that must not be, and where.
struct Finding {
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// A file of the crate.
struct Source {
    /// The modules that lead to it, the room first; none for the crate root.
    modules: Vec<String>,
    tokens: TokenStream,
}

impl Source {
    fn new(path: &Path, text: &str) -> Self {
        let mut modules: Vec<_> = path.with_extension("").iter().map(|m| m.to_str().unwrap().to_owned()).collect();
        if modules.last().is_some_and(|m| m == "mod" || m == "lib") {
            modules.pop();
        }
        let tokens = text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { modules, tokens }
    }

    fn room(&self) -> Option<&str> {
        self.modules.first().map(String::as_str)
    }

    /// Returns the references of this file within the crate. Tests may know anything.
    fn known(&self) -> Vec<Reference> {
        let mut seen = Vec::new();
        if !self.modules.iter().any(|m| m == "tests") {
            references(&self.tokens, &self.modules, &mut seen);
        }
        seen
    }

    /// References to rooms that this file's room must not know.
    fn references(&self) -> Vec<Finding> {
        let Some(room) = self.room() else { return Vec::new() };
        let objections =
            self.known().into_iter().filter_map(|r| Some(Finding { line: r.line, what: objection(room, r.room())? }));
        objections.collect()
    }

    /// References of a machine to what it must not know.
    fn entanglements(&self) -> Vec<Finding> {
        let Some((machine, friends)) = MACHINES.iter().find(|(machine, _)| is_within(&self.modules, machine)) else {
            return Vec::new();
        };
        // A module above may be named as such, to say what is visible there.
        let may = |to: &[String]| {
            BELOW_MACHINES.iter().chain(*friends).chain([machine]).any(|place| is_within(to, place))
                || self.modules.starts_with(to)
        };
        let strange = self.known().into_iter().filter(|r| !may(&r.to));
        let says = |r: Reference| Finding {
            line: r.line,
            what: format!("`{machine}` stands alone and must not know `{}`", r.to.join("::")),
        };
        strange.map(says).collect()
    }

    /// References of a part to parts of the same room that it must not know.
    fn disorder(&self) -> Vec<Finding> {
        let Some((room, parts)) = PARTS.iter().find(|(room, _)| is_within(&self.modules, room)) else {
            return Vec::new();
        };
        let depth = room.split('/').count();
        let rank = |path: &[String]| {
            let part = path.get(depth).map_or("", String::as_str);
            (part.to_owned(), parts.iter().find(|(name, _)| *name == part).map(|(_, rank)| *rank))
        };
        let (part, Some(own)) = rank(&self.modules) else { return Vec::new() };
        let within = self.known().into_iter().filter(|r| is_within(&r.to, room) && r.to.len() > depth);
        let strange = within.filter_map(|r| {
            let (to, other) = rank(&r.to);
            let what = match other {
                _ if to == part => return None,
                Some(other) if other < own => return None,
                Some(other) => format!("`{part}` (part {own} of {room}) refers up to `{to}` (part {other})"),
                None => format!("`{part}` is a part of {room} and must not know `{to}`, which puts it together"),
            };
            Some(Finding { line: r.line, what })
        });
        strange.collect()
    }

    /// References to parts that this file's part must not know, nor they it.
    fn meetings(&self) -> Vec<Finding> {
        let known = self.known();
        let mut found = Vec::new();
        for group in APART {
            let Some(own) = group.iter().find(|part| is_within(&self.modules, part)) else { continue };
            for reference in &known {
                if let Some(other) = group.iter().find(|part| *part != own && is_within(&reference.to, part)) {
                    found.push(Finding { line: reference.line, what: format!("`{own}` must not know `{other}`") });
                }
            }
        }
        found
    }

    /// `unsafe` where it must not be, tests included.
    fn unsafe_code(&self) -> Vec<Finding> {
        if self.room().is_some_and(|room| UNSAFE_ROOMS.contains(&room)) {
            return Vec::new();
        }
        let mut lines = Vec::new();
        lines_with_unsafe(&self.tokens, &mut lines);
        lines
            .into_iter()
            .map(|line| Finding { line, what: "`unsafe` outside device/ and device/".to_owned() })
            .collect()
    }

    /// Locks of other crates where they must not be named, tests included.
    fn foreign_locks(&self) -> Vec<Finding> {
        if is_within(&self.modules, LOCKS_ROOM) {
            return Vec::new();
        }
        let mut lines = Vec::new();
        lines_with_locks(&self.tokens, &mut lines);
        let finding = |line| Finding { line, what: format!("locks come from {LOCKS_ROOM}, not from their crate") };
        lines.into_iter().map(finding).collect()
    }
}

fn rank(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

/// Why `room` must not refer to `to`, if it must not.
fn objection(room: &str, to: &str) -> Option<String> {
    if room == to || NEIGHBOURS.contains(&(room, to)) {
        return None;
    }
    let Some(own) = rank(room) else { return Some(format!("the room `{room}` has no rank in tests/architecture.rs")) };
    match rank(to) {
        None => Some(format!("`crate::{to}` is no room; name the room where it is defined")),
        Some(other) if other < own => None,
        Some(other) if other == own => Some(format!("`{room}` and `{to}` (both rank {own}) must not know each other")),
        Some(other) => Some(format!("`{room}` (rank {own}) refers up to `{to}` (rank {other})")),
    }
}

/// Returns `true` if a path begins with the modules of `place`, which are written with slashes.
fn is_within(path: &[String], place: &str) -> bool {
    let mut path = path.iter();
    place.split('/').all(|module| path.next().is_some_and(|m| m == module))
}

/// A path from the crate root.
struct Reference {
    line: usize,
    to: Vec<String>,
}

impl Reference {
    fn room(&self) -> &str {
        self.to.first().map_or("", String::as_str)
    }
}

/// Collects the references from the crate root in `tokens`, which are in the module `here`, but for test code.
fn references(tokens: &TokenStream, here: &[String], out: &mut Vec<Reference>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [token, tail @ ..] = rest {
        rest = match token {
            TokenTree::Punct(p) if p.as_char() == '#' && is_test_attribute(tail) => after_item(tail),
            TokenTree::Ident(word) if word == "mod" => match tail {
                [TokenTree::Ident(name), TokenTree::Group(body), after @ ..] => {
                    references(&body.stream(), &below(here, &name.to_string()), out);
                    after
                }
                _ => tail,
            },
            TokenTree::Ident(word) => match start(word, here) {
                Some(from) => follow(tail, from, None, out),
                None => tail,
            },
            TokenTree::Group(group) => {
                references(&group.stream(), here, out);
                tail
            }
            _ => tail,
        };
    }
}

fn below(module: &[String], name: &str) -> Vec<String> {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

fn above(module: &[String]) -> Vec<String> {
    module.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default()
}

/// The module where a path that starts with `word` in the module `here` starts, if it is one that can leave it.
fn start(word: &Ident, here: &[String]) -> Option<Vec<String>> {
    match word.to_string().as_str() {
        "crate" | "o7s" => Some(Vec::new()),
        "super" => Some(above(here)),
        "self" => Some(here.to_vec()),
        _ => None,
    }
}

/// Follows a path whose segments so far lead to `at`, and notes where it ends, unless it has not `named` anything but
/// modules above. Returns what is after the path.
fn follow<'a>(
    mut rest: &'a [TokenTree],
    mut at: Vec<String>,
    mut named: Option<usize>,
    out: &mut Vec<Reference>,
) -> &'a [TokenTree] {
    while let [a, b, next, tail @ ..] = rest
        && is_colon(a)
        && is_colon(b)
    {
        rest = tail;
        match next {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
                for path in inner.split(is_comma) {
                    if let [first, more @ ..] = path {
                        let mut to = at.clone();
                        let named = step(first, &mut to);
                        follow(more, to, named, out);
                    }
                }
                return rest;
            }
            // Arguments of a generic type, which are looked at with what is after the path.
            TokenTree::Punct(p) if p.as_char() == '<' => break,
            next => named = step(next, &mut at).or(named),
        }
    }
    out.extend(named.map(|line| Reference { line, to: at }));
    rest
}

/// Takes one segment of a path from the module `at`. The line, unless it is a step up.
fn step(next: &TokenTree, at: &mut Vec<String>) -> Option<usize> {
    match next {
        TokenTree::Ident(word) if word == "super" => {
            at.pop();
            return None;
        }
        // In a group: the module itself.
        TokenTree::Ident(word) if word == "self" && !at.is_empty() => {}
        // `self` and `*` at the root name no room either, and are refused for that.
        name => at.push(name.to_string()),
    }
    Some(next.span().start().line)
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == ':')
}

/// Returns `true` if the tokens after a `#` are `[cfg(test)]` or `[cfg(all(test, ...))]`.
fn is_test_attribute(tail: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(attribute)) = tail.first() else { return false };
    let inner: Vec<TokenTree> = attribute.stream().into_iter().collect();
    matches!(inner.as_slice(), [TokenTree::Ident(cfg), TokenTree::Group(condition)]
        if cfg == "cfg" && needs_test(&condition.stream()))
}

fn needs_test(condition: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.clone().into_iter().collect();
    tokens.iter().any(|t| matches!(t, TokenTree::Ident(word) if word == "test"))
        || matches!(tokens.as_slice(), [TokenTree::Ident(all), TokenTree::Group(args)]
            if all == "all" && needs_test(&args.stream()))
}

/// Returns the tokens after the item to which an attribute belongs: behind its body in braces, or its semicolon.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let is_end = |t: &TokenTree| match t {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(p) => p.as_char() == ';',
        _ => false,
    };
    let end = tokens.iter().position(is_end).map_or(tokens.len(), |at| at + 1);
    tokens.get(end..).unwrap_or_default()
}

/// Collects the lines that name a crate of locks, as the start of a path or as a whole import.
fn lines_with_locks(tokens: &TokenStream, lines: &mut Vec<usize>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if LOCKS.iter().any(|name| word == name) => {
                let is_path = matches!(tokens.get(at + 1..), Some([a, b, ..]) if is_colon(a) && is_colon(b));
                let is_used =
                    matches!(tokens.get(at.wrapping_sub(1)), Some(TokenTree::Ident(before)) if before == "use");
                if is_path || is_used {
                    lines.push(word.span().start().line);
                }
            }
            TokenTree::Group(group) => lines_with_locks(&group.stream(), lines),
            _ => {}
        }
    }
}

fn lines_with_unsafe(tokens: &TokenStream, lines: &mut Vec<usize>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => lines.push(word.span().start().line),
            TokenTree::Group(group) => lines_with_unsafe(&group.stream(), lines),
            _ => {}
        }
    }
}

/// The checker must be able to fail: what it says about snippets, rule by rule.
mod checker {
    use super::*;

    fn references(path: &str, text: &str) -> Vec<String> {
        Source::new(Path::new(path), text).references().iter().map(Finding::to_string).collect()
    }

    fn unsafe_code(path: &str, text: &str) -> usize {
        Source::new(Path::new(path), text).unsafe_code().len()
    }

    #[test]
    fn refuses_every_pair_that_the_table_refuses() {
        let mut refused = 0;
        for (room, own) in ROOMS {
            for (to, other) in ROOMS {
                let allowed = room == to || other < own || (*room, *to) == ("types", "base");
                let found = references(&format!("{room}/x.rs"), &format!("use crate::{to}::Thing;"));
                assert_eq!(found.is_empty(), allowed, "{room} and {to}: {found:?}");
                refused += found.len();
            }
        }
        assert!(refused > ROOMS.len() * (ROOMS.len() - 1) / 2);
    }

    #[test]
    fn refuses_an_upward_reference_and_says_where() {
        assert_eq!(
            references("wire/udp.rs", "use core::fmt;\n\nuse crate::flow::Endpoint;"),
            ["3: `wire` (rank 1) refers up to `flow` (rank 4)"]
        );
    }

    #[test]
    fn refuses_neighbours() {
        let says = |a, b| format!("1: `{a}` and `{b}` (both rank {}) must not know each other", rank(a).unwrap());
        for (a, b) in [("frct", "oap"), ("oap", "frct"), ("irm", "ipcp"), ("ipcp", "irm"), ("base", "types")] {
            assert_eq!(references(&format!("{a}.rs"), &format!("use crate::{b};")), [says(a, b)]);
        }
    }

    #[test]
    fn finds_references_in_groups() {
        let text = "use crate::{\n base::time::Instant,\n irm::{self, names},\n types,\n};";
        let once = "3: `flow` (rank 4) refers up to `irm` (rank 5)";
        assert_eq!(references("flow/mod.rs", text), [once, once]);
        assert_eq!(references("flow/mod.rs", "use crate::irm::{self};").len(), 1);
    }

    #[test]
    fn finds_references_that_climb() {
        assert_eq!(references("frct/tx.rs", "use super::super::oap::Client;").len(), 1);
        assert_eq!(references("frct/tx.rs", "use super::{super::{oap, base}};").len(), 1);
        assert_eq!(references("frct/tx.rs", "use self::super::super::oap;").len(), 1);
        assert_eq!(references("frct/mod.rs", "use super::oap;").len(), 1);
        assert_eq!(references("frct/mod.rs", "mod inner { use super::super::oap; }").len(), 1);
        // One level less: names a module of its own room.
        assert_eq!(references("frct/tx.rs", "use super::oap;").len(), 0);
        assert_eq!(references("frct/mod.rs", "mod inner { use super::oap; }").len(), 0);
    }

    #[test]
    fn finds_references_in_code_and_macros() {
        assert_eq!(references("frct/tx.rs", "fn f() -> u32 { g(1, [crate::oap::LIMIT]) }").len(), 1);
        assert_eq!(references("frct/tx.rs", "macro_rules! m { () => { $crate::oap::LIMIT } }").len(), 1);
        assert_eq!(references("frct/tx.rs", "fn f(x: Vec<crate::oap::Client>, y: &dyn crate::stack::T) {}").len(), 2);
        assert_eq!(references("frct/tx.rs", "struct S { client: crate::oap::Client }").len(), 1);
        assert_eq!(references("frct/tx.rs", "#[derive(crate::oap::D)] struct S;").len(), 1);
    }

    #[test]
    fn refuses_names_of_the_root() {
        for text in ["use crate::Stack;", "use crate::*;", "use crate::{self as all};", "use super::super::*;"] {
            assert_eq!(references("flow/x.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn refuses_a_room_without_a_rank() {
        let found = references("attic/mod.rs", "use crate::base::time::Instant;");
        assert_eq!(found, ["1: the room `attic` has no rank in tests/architecture.rs"]);
    }

    #[test]
    fn ignores_comments_strings_and_tests() {
        for text in [
            "// use crate::stack::Flow;\n/* crate::stack */",
            "//! See [`crate::stack::Flow`].\n\n/// [`crate::stack`]\nstruct S;",
            "const S: &str = \"crate::stack\"; const R: &str = r#\"use crate::stack;\"#;",
            "#[cfg(test)]\nmod tests { use crate::stack::Flow; }",
            "#[cfg(test)] #[allow(dead_code)] fn helper(f: crate::stack::Flow) {}",
            "#[cfg(all(test, feature = \"sim\"))] use crate::sim::Network;",
            "pub(crate) fn f() {} pub(in crate::base) fn g() {} pub(super) fn h() {}",
            "use other::crate_::stack; use ::log::debug;",
        ] {
            assert_eq!(references("base/x.rs", text), Vec::<String>::new(), "{text}");
        }
        assert!(references("base/x/tests.rs", "use crate::stack::Flow;").is_empty());
        assert!(references("base/tests/faults.rs", "use crate::stack::Flow;").is_empty());
        assert!(references("lib.rs", "pub use crate::stack::Flow;").is_empty());
    }

    #[test]
    fn sees_what_is_behind_test_code() {
        let text = "#[cfg(test)] mod tests;\n#[cfg(not(test))] use crate::stack::A;\nuse crate::stack::B;";
        assert_eq!(references("base/x.rs", text).len(), 2);
    }

    #[test]
    fn refuses_machines_that_know_what_is_around_them() {
        let knows = |path: &str, text: &str| Source::new(Path::new(path), text).entanglements().len();
        for text in [
            "use crate::flow::Endpoint;",
            "use crate::ipcp::Ipcp;",
            "use crate::directory::Directory;",
            "use super::Table;",
            "use super::{pff, ca};",
            "use super::super::ipcp::Ipcp;",
            "fn f(x: &super::Table) {}",
            "mod inner { use super::super::*; }",
        ] {
            assert!(knows("forward/sched.rs", text) > 0, "{text}");
            assert_eq!(knows("ipcp/unicast/dt.rs", text), 0, "no machine: {text}");
        }
        for text in [
            "use crate::base::time::Instant; use crate::{types::id::Address, wire};",
            "use crate::routing::{Routes, graph::{self, Graph}};",
            "use super::{Found, table::Table}; use super::super::routing::Peer;",
            "pub(in crate::routing) fn f() { self::g() }",
        ] {
            assert_eq!(knows("routing/flood.rs", text), 0, "{text}");
        }
        assert_eq!(knows("forward/pff.rs", "use super::super::types::routes::Routes;"), 0);
        assert_eq!(knows("forward/pff.rs", "use super::super::routing::LinkState;"), 1);
    }

    #[test]
    fn refuses_parts_that_know_what_is_above_them() {
        let says = |path: &str, text: &str| {
            let found = Source::new(Path::new(path), text).disorder();
            found.iter().map(Finding::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            says("ipcp/unicast/fa/flow.rs", "use super::is_of_reference;\nuse crate::ipcp::unicast::control::Control;"),
            ["2: `fa` (part 3 of ipcp/unicast) refers up to `control` (part 4)"]
        );
        assert_eq!(
            says("ipcp/unicast/dt.rs", "use super::{Unicast, shared::Shared};"),
            ["1: `dt` is a part of ipcp/unicast and must not know `Unicast`, which puts it together"]
        );
        for (path, text) in [
            ("ipcp/unicast/shared.rs", "use super::dt::DataPath;"),
            ("ipcp/unicast/dt/adjacency.rs", "use super::super::fa::FaFlow;"),
            ("ipcp/unicast/dt/adjacency.rs", "fn f(u: &crate::ipcp::unicast::Unicast) {}"),
            ("ipcp/unicast/fa.rs", "use super::*;"),
            ("ipcp/unicast/control/names.rs", "use crate::ipcp::unicast::member::ring;"),
        ] {
            assert_eq!(says(path, text).len(), 1, "{path}: {text}");
        }
        for (path, text) in [
            ("ipcp/unicast/control/names.rs", "use super::{Control, machines::Machines}; use crate::ipcp::Doubt;"),
            ("ipcp/unicast/control.rs", "use super::{dt::DataPath, fa::{self, FaFlow}, shared};"),
            ("ipcp/unicast/fa/flow.rs", "pub(in crate::ipcp::unicast) fn f() {} use super::super::dt::Up;"),
            ("ipcp/unicast/member.rs", "use super::{Unicast, control::Control};"),
            ("ipcp/unicast/mod.rs", "use self::{control::Control, member::ring};"),
            ("ipcp/local.rs", "use super::unicast::Unicast;"),
        ] {
            assert_eq!(says(path, text), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn refuses_kinds_of_ipcps_that_know_each_other() {
        let says = |path: &str, text: &str| {
            let found = Source::new(Path::new(path), text).meetings();
            found.iter().map(Finding::to_string).collect::<Vec<_>>()
        };
        for (path, text, what) in [
            (
                "ipcp/shim/udp/port.rs",
                "use crate::ipcp::unicast::Unicast;",
                "1: `ipcp/shim` must not know `ipcp/unicast`",
            ),
            (
                "ipcp/unicast/dt.rs",
                "use super::super::broadcast::Flood;",
                "1: `ipcp/unicast` must not know `ipcp/broadcast`",
            ),
            ("ipcp/shim/eth.rs", "use super::udp::Config;", "1: `ipcp/shim/eth` must not know `ipcp/shim/udp`"),
            ("ipcp/connect/enroll.rs", "use super::super::shim::Shim;", "1: `ipcp/connect` must not know `ipcp/shim`"),
        ] {
            assert_eq!(says(path, text), [what], "{path}: {text}");
        }
        for (path, text) in [
            ("ipcp/shim/udp/port.rs", "use super::super::ends::Ends; use crate::ipcp::reply::Reply;"),
            ("ipcp/unicast/mod.rs", "use crate::ipcp::connect::manager::Manager;"),
            ("ipcp/mod.rs", "use self::unicast::Unicast; use self::shim::udp;"),
        ] {
            assert_eq!(says(path, text), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn refuses_locks_of_other_crates() {
        let named = |path: &str, text: &str| Source::new(Path::new(path), text).foreign_locks().len();
        for text in [
            "use spin::Once;",
            "use spin as turning;",
            "use {core::fmt, parking_lot::Mutex};",
            "struct S { once: spin::Once<u32> }",
            "fn f() { let lock = ::parking_lot::Mutex::new(0); }",
        ] {
            assert_eq!(named("node/member.rs", text), 1, "{text}");
            assert_eq!(named("base/sync.rs", text), 0, "{text}");
            assert_eq!(named("base/sync/order.rs", text), 0, "{text}");
        }
        for text in
            ["use crate::base::sync::Once;", "fn spin() { spin() }", "// spin::Once", "core::hint::spin_loop();"]
        {
            assert_eq!(named("node/member.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn refuses_unsafe_code() {
        for text in ["unsafe fn f() {}", "fn f() { let x = unsafe { g() }; }", "unsafe impl Send for S {}"] {
            assert_eq!(unsafe_code("base/buf.rs", text), 1, "{text}");
            assert_eq!(unsafe_code("lib.rs", text), 1, "{text}");
            assert_eq!(unsafe_code("device/socket.rs", text), 0, "{text}");
        }
        assert_eq!(unsafe_code("base/buf.rs", "// unsafe\n#![deny(unsafe_code)] const S: &str = \"unsafe\";"), 0);
    }
}
